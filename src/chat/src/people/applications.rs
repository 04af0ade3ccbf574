//! Applications for a friendship: they wait for the peer's answer.

use super::friends::Ledgered;
use super::{Area, Befriending, Effects, Items, People, Stop, codes};
use crate::Failure;
use crate::actor::Actor;
use crate::directory::people::{ApplicationRow, FriendRow};
use crate::key::UserKey;

/// What somebody says to an application.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// The sender gets the answerer as a friend.
    Accept,
    /// Each gets the other.
    AcceptAndAdd,
    /// Nobody gets anybody.
    Reject,
}

/// A page of applications, newest first.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ReceivedPage {
    /// With the name of the other one.
    pub applications: Vec<(String, ApplicationRow)>,
    /// Where the next page starts; 0: there is none.
    pub next: u64,
    /// Received and not read.
    pub unread: u32,
    /// Up to here they are read.
    pub read: u64,
    /// Of the user's applications.
    pub sequence: u64,
}

/// Most applications in a page.
pub(super) const PAGE_MAX: u32 = 100;

impl People {
    /// Leaves an application of `ledgered.user` with `peer`. A second one takes the place of the first.
    pub(super) fn apply(
        &self,
        ledgered: &mut Ledgered<'_>,
        peer: &UserKey,
        single: bool,
        row: FriendRow,
        group: &str,
    ) -> Result<ApplicationRow, Stop> {
        let user = ledgered.user;
        let read = ledgered.heads.get(peer).applications_read;
        let former = ledgered.tx.application(peer, user.name())?;
        let (all, unread) = ledgered.tx.count_applications(peer, read)?;
        let takes_unread = former.as_ref().is_none_or(|former| former.id <= read);
        if takes_unread && unread >= self.config(user.app()).applications_unread_max {
            let info = "the user has too many applications that wait";
            return Err(Failure::new(codes::APPLICATIONS_FULL, info).into());
        }
        if former.is_none() && all >= self.config(user.app()).applications_max {
            self.drop_oldest(ledgered, peer)?;
        }
        let application = ApplicationRow {
            id: ledgered.heads.next_application(peer),
            sent_id: ledgered.heads.next_application(user),
            time_s: row.added_s,
            source: row.source,
            wording: row.wording,
            remark: row.remark,
            group: group.to_owned(),
            single,
        };
        ledgered.tx.put_application(peer, user.name(), &application)?;
        ledgered.heads.applications(peer);
        ledgered.heads.applications(user);
        Ok(application)
    }

    /// Makes room among applications that were read: there are more than may be unread.
    fn drop_oldest(&self, ledgered: &mut Ledgered<'_>, receiver: &UserKey) -> Result<(), Stop> {
        let all = ledgered.tx.applications(receiver, u64::MAX, u32::MAX)?;
        if let Some((sender, _)) = all.last() {
            ledgered.tx.delete_application(receiver, sender)?;
        }
        Ok(())
    }

    /// Answers applications that `user` has received. `remark` and `group` are for friends that `user` adds.
    ///
    /// # Errors
    /// For the call 30001, 30003, 30004, 30006, 30008; for an item 30010, 30011, 30014, 30614.
    pub fn answer_applications(
        &self,
        actor: &Actor<'_>,
        user: &UserKey,
        senders: &[String],
        (answer, remark, group): (Answer, &str, &str),
        now_ms: u64,
        effects: &mut Effects,
    ) -> Result<Items, Failure> {
        self.own(actor, user)?;
        let tags = self.tags(user.app());
        tags.check_remark(remark)?;
        if !group.is_empty() {
            tags.check_group(group)?;
        }
        let now_s = now_ms / 1000;
        let names: Vec<_> = senders.iter().map(String::as_str).collect();
        self.change_each(user, &names, effects, |ledgered, _, sender| {
            ledgered.befriending = Some(Befriending::of(actor, true, false));
            let Some(application) = ledgered.tx.application(user, sender.name())? else {
                let info = "there is no application of that user";
                return Err(Failure::new(codes::NO_APPLICATION, info).into());
            };
            if answer != Answer::Reject {
                let mutual = answer == Answer::AcceptAndAdd;
                let theirs = ledgered.tx.friend(sender, user.name())?.is_some();
                let mine = ledgered.tx.friend(user, sender.name())?.is_some();
                let max = self.config(user.app()).friends_max;
                if !theirs && ledgered.heads.get(sender).friends >= max {
                    let info = "the user's friend list is full";
                    return Err(Failure::new(codes::PEER_FRIENDS_FULL, info).into());
                }
                if mutual && !mine && ledgered.heads.get(user).friends >= max {
                    return Err(Failure::new(codes::FRIENDS_FULL, "your friend list is full").into());
                }
                if mutual && !group.is_empty() {
                    ledgered.make_group(user, group, self.config(user.app()).friend_groups_max)?;
                }
                let row = FriendRow {
                    added_s: now_s,
                    source: application.source.clone(),
                    wording: application.wording.clone(),
                    remark: application.remark.clone(),
                    remark_s: if application.remark.is_empty() { 0 } else { now_s },
                };
                ledgered.befriend(sender, user, &row)?;
                if !application.group.is_empty() {
                    // The sender may have made other groups meanwhile: the friendship does not fail for that.
                    let max = self.config(user.app()).friend_groups_max;
                    match ledgered.put_into(sender, user.name(), &application.group, max) {
                        Ok(()) | Err(Stop::Failure(_)) => {}
                        Err(stop) => return Err(stop),
                    }
                }
                if mutual {
                    let row = FriendRow {
                        remark: remark.to_owned(),
                        remark_s: if remark.is_empty() { 0 } else { now_s },
                        ..row
                    };
                    ledgered.befriend(user, sender, &row)?;
                    if !group.is_empty() {
                        ledgered.put_into(
                            user,
                            sender.name(),
                            group,
                            self.config(user.app()).friend_groups_max,
                        )?;
                    }
                    ledgered.drop_application(sender, user)?;
                }
            }
            ledgered.drop_application(user, sender)?;
            Ok(())
        })
    }

    /// Marks what `user` has received up to number `id` as read.
    ///
    /// # Errors
    /// 30003, 30004, 30006, 30008.
    pub fn read_applications(
        &self,
        actor: &Actor<'_>,
        user: &UserKey,
        id: u64,
        effects: &mut Effects,
    ) -> Result<(), Failure> {
        self.own(actor, user)?;
        self.change(user, &[], effects, |ledgered| {
            ledgered.heads.read_applications(user, id);
            Ok(())
        })?;
        Ok(())
    }

    /// Takes applications away that `user` has received, or takes back those that `user` has sent.
    ///
    /// # Errors
    /// For the call 30001, 30003, 30004, 30006, 30008; for an item 30614.
    pub fn delete_applications(
        &self,
        actor: &Actor<'_>,
        user: &UserKey,
        others: &[String],
        sent: bool,
        effects: &mut Effects,
    ) -> Result<Items, Failure> {
        self.own(actor, user)?;
        let names: Vec<_> = others.iter().map(String::as_str).collect();
        self.change_each(user, &names, effects, |ledgered, _, other| {
            let (receiver, sender) = if sent { (other, user) } else { (user, other) };
            match ledgered.drop_application(receiver, sender)? {
                true => Ok(()),
                false => {
                    Err(Failure::new(codes::NO_APPLICATION, "there is no application of that user").into())
                }
            }
        })
    }

    /// A page of applications that `user` has received, or sent, with numbers below `before` (0: from the newest).
    ///
    /// # Errors
    /// 30003, 30004, 30006.
    pub fn applications(
        &self,
        actor: &Actor<'_>,
        user: &UserKey,
        before: u64,
        limit: u32,
        sent: bool,
    ) -> Result<ReceivedPage, Failure> {
        self.own(actor, user)?;
        let before = if before == 0 { u64::MAX } else { before };
        let limit = if limit == 0 { PAGE_MAX } else { limit.min(PAGE_MAX) };
        self.read(Area::Relations, |tx| {
            let head = tx.relation_head(user)?;
            let (_, unread) = tx.count_applications(user, head.applications_read)?;
            let mut applications = match sent {
                true => tx.sent_applications(user, before, limit + 1)?,
                false => tx.applications(user, before, limit + 1)?,
            };
            let more = applications.len() > limit as usize;
            applications.truncate(limit as usize);
            let number = |row: &ApplicationRow| if sent { row.sent_id } else { row.id };
            let next = applications.last().filter(|_| more).map_or(0, |(_, row)| number(row));
            let (read, sequence) = (head.applications_read, head.applications_seq);
            Ok(ReceivedPage { applications, next, unread, read, sequence })
        })
    }
}
