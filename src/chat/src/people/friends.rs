//! Friends: adding, importing, changing, deleting.

use std::collections::{BTreeMap, BTreeSet};

use nearport_wire::body::people_event::Event;

use super::heads::Heads;
use super::{
    AllowType, Area, Befriending, Effects, ITEMS_MAX, Item, Items, People, Stop, Told, check_count, codes,
};
use crate::Failure;
use crate::actor::Actor;
use crate::callback::Command;
use crate::directory::people::{ApplicationRow, FieldValue, FriendRow, PeopleTx, RelationHead};
use crate::key::{AppId, UserKey};
use crate::numbers::Count;

/// Who is to be added.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AddFriend {
    /// Name of the peer.
    pub user: String,
    /// `AddSource_Type_` and letters; may be empty.
    pub source: String,
    /// For the peer to read, at most 256 bytes.
    pub wording: String,
    /// The user's name for the peer, at most 96 bytes.
    pub remark: String,
    /// A friend group, or empty. Made if there is none of that name.
    pub group: String,
}

/// A call that adds friends.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AddFriends {
    /// In order; at most [`ITEMS_MAX`].
    pub items: Vec<AddFriend>,
    /// Only the user gets the peer as a friend.
    pub single: bool,
    /// Nobody is asked to confirm. For admins.
    pub force: bool,
}

/// A friend as an App brings it from elsewhere.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ImportFriend {
    /// Name of the peer.
    pub user: String,
    /// As it will be kept; `added_s` 0: now.
    pub row: FriendRow,
    /// Friend groups, made if they are not there.
    pub groups: Vec<String>,
    /// Custom fields.
    pub custom: Vec<(String, FieldValue)>,
}

/// What changes about one friend.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct UpdateFriend {
    /// Name of the friend.
    pub user: String,
    /// The remark and custom fields.
    pub fields: Vec<(String, FieldValue)>,
    /// The groups that the friend is to be in, all others not; `None`: as they are.
    pub groups: Option<Vec<String>>,
}

/// One transaction over the relations of `user`: rows, locked counters, and what the rest of the program is told.
pub(super) struct Ledgered<'a> {
    pub(super) tx: &'a mut dyn PeopleTx,
    pub(super) heads: Heads,
    pub(super) user: &'a UserKey,
    /// Who has got whom as a friend, and who has lost whom.
    pub(super) added: Vec<(UserKey, UserKey)>,
    pub(super) parted: Vec<(UserKey, UserKey)>,
    /// Who has blocked whom, and who has ceased to.
    pub(super) blocked: Vec<(UserKey, UserKey)>,
    pub(super) unblocked: Vec<(UserKey, UserKey)>,
    /// How who was added came to be.
    pub(super) befriending: Option<Befriending>,
}

impl<'a> Ledgered<'a> {
    fn new(tx: &'a mut dyn PeopleTx, heads: Heads, user: &'a UserKey) -> Self {
        let none = Vec::new;
        let (added, parted, blocked, unblocked) = (none(), none(), none(), none());
        Self { tx, heads, user, added, parted, blocked, unblocked, befriending: None }
    }

    /// What back ends may hear of it.
    fn told(&self) -> Vec<Told> {
        let mut added = Told::pairs(Command::FriendAdd, &self.added);
        if let (Some(told), Some(befriending)) = (&mut added, &self.befriending) {
            befriending.describe(self.user, told);
        }
        let others = [
            (Command::FriendDelete, &self.parted),
            (Command::BlackListAdd, &self.blocked),
            (Command::BlackListDelete, &self.unblocked),
        ];
        let others = others.into_iter().filter_map(|(command, pairs)| Told::pairs(command, pairs));
        added.into_iter().chain(others).collect()
    }

    /// Friendships that have come to be or have ended.
    fn counted(&self) -> Vec<(AppId, Count, u64)> {
        let app = self.user.app();
        let counts = [(Count::ChainUp, &self.added), (Count::ChainDown, &self.parted)];
        let counts = counts.into_iter().filter(|(_, pairs)| !pairs.is_empty());
        counts.map(|(count, pairs)| (app, count, pairs.len() as u64)).collect()
    }
}

impl Ledgered<'_> {
    /// Puts `friend` into the list of `user`. Whether that is new.
    pub(super) fn befriend(
        &mut self,
        user: &UserKey,
        friend: &UserKey,
        row: &FriendRow,
    ) -> Result<bool, Stop> {
        let known = self.tx.friend(user, friend.name())?;
        if known.is_some() {
            return Ok(false);
        }
        self.tx.put_friend(user, friend.name(), row)?;
        self.heads.friends(user, 1);
        self.added.push((user.clone(), friend.clone()));
        Ok(true)
    }

    /// Takes `friend` out of the list of `user`. Whether there was one.
    pub(super) fn part(&mut self, user: &UserKey, friend: &UserKey) -> Result<bool, Stop> {
        let grouped = !self.tx.groups_of_friend(user, friend.name())?.is_empty();
        let was = self.tx.delete_friend(user, friend.name())?;
        if was {
            self.heads.friends(user, -1);
            self.parted.push((user.clone(), friend.clone()));
            if grouped {
                self.heads.groups(user);
            }
        }
        Ok(was)
    }

    /// Puts a friend of `user` into a group, which is made if it is new.
    pub(super) fn put_into(
        &mut self,
        user: &UserKey,
        friend: &str,
        group: &str,
        groups_max: u32,
    ) -> Result<(), Stop> {
        self.make_group(user, group, groups_max)?;
        self.set_in_group(user, friend, group, true)
    }

    /// Puts a friend of `user` into a group that is there, or takes one out. Groups are among the friend's standard fields.
    pub(super) fn set_in_group(
        &mut self,
        user: &UserKey,
        friend: &str,
        group: &str,
        member: bool,
    ) -> Result<(), Stop> {
        if self.tx.set_group_member(user, group, friend, member)? {
            self.heads.groups(user);
            self.heads.friends(user, 0);
        }
        Ok(())
    }

    /// Makes a group of `user` unless there is one of that name.
    pub(super) fn make_group(&mut self, user: &UserKey, group: &str, groups_max: u32) -> Result<(), Stop> {
        let groups = self.tx.friend_groups(user)?;
        if groups.iter().any(|known| known == group) {
            return Ok(());
        }
        if groups.len() >= groups_max as usize {
            return Err(friend_groups_full(groups_max).into());
        }
        self.tx.add_friend_group(user, group)?;
        self.heads.groups(user);
        Ok(())
    }

    /// Takes an application away, whoever has sent it. Whether there was one.
    pub(super) fn drop_application(&mut self, receiver: &UserKey, sender: &UserKey) -> Result<bool, Stop> {
        let was = self.tx.delete_application(receiver, sender.name())?;
        if was {
            self.heads.applications(receiver);
            self.heads.applications(sender);
        }
        Ok(was)
    }
}

fn friend_groups_full(max: u32) -> Failure {
    Failure::new(codes::FRIEND_GROUPS_FULL, format!("at most {max} friend groups"))
}

impl People {
    /// Refuses what one user wants to do to the relations of another one.
    pub(super) fn own(&self, actor: &Actor<'_>, user: &UserKey) -> Result<(), Failure> {
        match actor {
            Actor::User(caller) if *caller != user => {
                Err(Failure::new(codes::RELATION_ADMIN, "those are another user's relations"))
            }
            Actor::User(_) | Actor::Admin(_) => self.registered(user, Area::Relations),
        }
    }

    /// Runs `work` with `user` and all good `peers` locked, forgets what is remembered of those that have changed, and
    /// notes the events. Gives the value and the counters of `user`.
    pub(super) fn change<T>(
        &self,
        user: &UserKey,
        peers: &[Result<UserKey, Failure>],
        effects: &mut Effects,
        mut work: impl FnMut(&mut Ledgered<'_>) -> Result<T, Stop>,
    ) -> Result<(T, RelationHead), Failure> {
        let concerned: BTreeSet<UserKey> = peers.iter().flatten().chain([user]).cloned().collect();
        let outcome = self.write(Area::Relations, |tx| {
            let heads = Heads::lock(tx, &concerned)?;
            let mut ledgered = Ledgered::new(tx, heads, user);
            let value = work(&mut ledgered)?;
            let (told, counted) = (ledgered.told(), ledgered.counted());
            let Ledgered { tx, heads, .. } = ledgered;
            let before = heads.get(user);
            let stored: BTreeMap<UserKey, RelationHead> = heads.store(tx)?;
            let head = stored.get(user).copied().unwrap_or(before);
            let pending = effects.keep(tx, &told)?;
            Ok((value, head, stored, (pending, counted)))
        });
        // Also after an error: it may have been stored all the same.
        self.verdicts.forget(concerned.iter());
        let (value, head, stored, (pending, counted)) = outcome?;
        effects.relations(&stored);
        effects.pending.extend(pending);
        effects.counted.extend(counted);
        Ok((value, head))
    }

    /// As [`Self::change`] for a call with one item for each peer: an item that fails leaves the others alone.
    pub(super) fn change_each(
        &self,
        user: &UserKey,
        names: &[&str],
        effects: &mut Effects,
        mut one: impl FnMut(&mut Ledgered<'_>, usize, &UserKey) -> Result<(), Stop>,
    ) -> Result<Items, Failure> {
        check_count(names.len(), ITEMS_MAX, codes::RELATION_BAD)?;
        let peers = self.users(user.app(), names, Area::Relations)?;
        let (items, head) = self.change(user, &peers, effects, |ledgered| {
            let mut items = Vec::with_capacity(names.len());
            for (at, (name, peer)) in names.iter().zip(&peers).enumerate() {
                let outcome = match peer {
                    Ok(peer) => match one(ledgered, at, peer) {
                        Ok(()) => Ok(()),
                        Err(Stop::Failure(failure)) => Err(failure),
                        Err(stop) => return Err(stop),
                    },
                    Err(failure) => Err(failure.clone()),
                };
                items.push(Item::of(name, outcome));
            }
            Ok(items)
        })?;
        Ok(Items { items, head })
    }

    /// Adds friends of `user`, or asks them.
    ///
    /// An item of 30539 waits for the peer's answer. One who is a friend already is left as she is and counts as added.
    /// The blocklists count for admins too; `force` passes over everything else.
    ///
    /// # Errors
    /// For the call 30001, 30003, 30004, 30006, 30008; for an item also 30005, 30009 to 30012, 30014, 30515, 30516,
    /// 30525 and 30539.
    pub fn add_friends(
        &self,
        actor: &Actor<'_>,
        user: &UserKey,
        call: &AddFriends,
        now_ms: u64,
        effects: &mut Effects,
    ) -> Result<Items, Failure> {
        self.own(actor, user)?;
        if call.force && !actor.is_admin() {
            return Err(Failure::new(codes::RELATION_ADMIN, "only an administrator adds without asking"));
        }
        let names: Vec<_> = call.items.iter().map(|item| item.user.as_str()).collect();
        let tags = self.tags(user.app());
        let now_s = now_ms / 1000;
        let mut applied = Vec::new();
        let items = self.change_each(user, &names, effects, |ledgered, at, peer| {
            if at == 0 {
                applied.clear();
            }
            ledgered.befriending = Some(Befriending::of(actor, false, call.force));
            let item = &call.items[at];
            tags.check_source(&item.source)?;
            tags.check_wording(&item.wording)?;
            tags.check_remark(&item.remark)?;
            if !item.group.is_empty() {
                tags.check_group(&item.group)?;
            }
            let row = FriendRow {
                added_s: now_s,
                source: item.source.clone(),
                wording: item.wording.clone(),
                remark: item.remark.clone(),
                remark_s: if item.remark.is_empty() { 0 } else { now_s },
            };
            let applied_for = self.add_one(ledgered, peer, call, row, &item.group)?;
            if let Some(row) = applied_for {
                applied.push((peer.clone(), row));
                return Err(Failure::new(codes::PENDING, "the application waits for an answer").into());
            }
            Ok(())
        })?;
        for (peer, row) in applied {
            let shown = super::reads::application_to_wire(user.name(), &row, row.id, false);
            effects.push(peer, Event::Application(shown));
        }
        Ok(items)
    }

    /// Adds one peer, or leaves an application, which is given back.
    fn add_one(
        &self,
        ledgered: &mut Ledgered<'_>,
        peer: &UserKey,
        call: &AddFriends,
        row: FriendRow,
        group: &str,
    ) -> Result<Option<ApplicationRow>, Stop> {
        let user = ledgered.user;
        let fail = |code, info: &'static str| Err(Stop::Failure(Failure::new(code, info)));
        if user == peer {
            return fail(codes::RELATION_BAD, "nobody is a friend of herself");
        }
        if ledgered.tx.block(user, peer.name())?.is_some() {
            return fail(codes::BLOCKED_BY_SELF, "the user is in your blocklist");
        }
        if ledgered.tx.block(peer, user.name())?.is_some() {
            return fail(codes::BLOCKED_BY_PEER, "you are in the user's blocklist");
        }
        let mine = ledgered.tx.friend(user, peer.name())?.is_some();
        let theirs = ledgered.tx.friend(peer, user.name())?.is_some();
        if mine && (theirs || call.single) {
            return Ok(None);
        }
        if !call.force && !self.manners(ledgered.tx, user)?.may_apply {
            return fail(codes::FORBIDDEN_TO_APPLY, "you may not ask for friendships");
        }
        if !mine && ledgered.heads.get(user).friends >= self.config(user.app()).friends_max {
            return fail(codes::FRIENDS_FULL, "your friend list is full");
        }
        let peer_gets = !call.single && !theirs;
        if peer_gets && ledgered.heads.get(peer).friends >= self.config(peer.app()).friends_max {
            return fail(codes::PEER_FRIENDS_FULL, "the user's friend list is full");
        }
        let allow = if call.force { AllowType::AllowAny } else { self.manners(ledgered.tx, peer)?.allow };
        match allow {
            AllowType::DenyAny => fail(codes::PEER_DENIES, "the user takes no applications"),
            AllowType::NeedConfirm => self.apply(ledgered, peer, call.single, row, group).map(Some),
            AllowType::AllowAny => {
                // Before anything is written: an item that fails must leave nothing.
                if !group.is_empty() {
                    ledgered.make_group(user, group, self.config(user.app()).friend_groups_max)?;
                }
                let back = FriendRow {
                    added_s: row.added_s,
                    source: row.source.clone(),
                    wording: row.wording.clone(),
                    ..FriendRow::default()
                };
                ledgered.befriend(user, peer, &row)?;
                if !group.is_empty() {
                    ledgered.put_into(user, peer.name(), group, self.config(user.app()).friend_groups_max)?;
                }
                if peer_gets {
                    ledgered.befriend(peer, user, &back)?;
                }
                ledgered.drop_application(user, peer)?;
                ledgered.drop_application(peer, user)?;
                Ok(None)
            }
        }
    }

    /// Brings friends from elsewhere: one way, nobody is asked. For admins. Who is a friend already is replaced.
    ///
    /// # Errors
    /// For the call 30001, 30003, 30004, 30006, 30008; for an item also 30005, 30010 and 30011.
    pub fn import_friends(
        &self,
        actor: &Actor<'_>,
        user: &UserKey,
        friends: &[ImportFriend],
        now_ms: u64,
        effects: &mut Effects,
    ) -> Result<Items, Failure> {
        if !actor.is_admin() {
            return Err(Failure::new(codes::RELATION_ADMIN, "only an administrator imports friends"));
        }
        self.own(actor, user)?;
        let names: Vec<_> = friends.iter().map(|friend| friend.user.as_str()).collect();
        let tags = self.tags(user.app());
        self.change_each(user, &names, effects, |ledgered, at, peer| {
            let ImportFriend { row, groups, custom, .. } = &friends[at];
            tags.check_source(&row.source)?;
            tags.check_wording(&row.wording)?;
            tags.check_remark(&row.remark)?;
            groups.iter().try_for_each(|group| tags.check_group(group))?;
            custom.iter().try_for_each(|(tag, value)| tags.check_friend(actor, tag, value))?;
            if user == peer {
                return Err(Failure::new(codes::RELATION_BAD, "nobody is a friend of herself").into());
            }
            if ledgered.tx.block(user, peer.name())?.is_some() {
                return Err(Failure::new(codes::RELATION_BAD, "the user is in the blocklist").into());
            }
            let known = ledgered.tx.friend(user, peer.name())?.is_some();
            if !known && ledgered.heads.get(user).friends >= self.config(user.app()).friends_max {
                return Err(Failure::new(codes::FRIENDS_FULL, "the friend list is full").into());
            }
            self.room_for_groups(ledgered, groups)?;
            let mut row = row.clone();
            if row.added_s == 0 {
                row.added_s = now_ms / 1000;
            }
            ledgered.tx.put_friend(user, peer.name(), &row)?;
            ledgered.heads.friends(user, i32::from(!known));
            for group in groups {
                ledgered.put_into(user, peer.name(), group, self.config(user.app()).friend_groups_max)?;
            }
            for (tag, value) in custom {
                ledgered.tx.set_friend_field(user, peer.name(), tag, value)?;
                ledgered.heads.custom(user);
            }
            Ok(())
        })
    }

    /// Changes remarks, groups and custom fields of friends.
    ///
    /// # Errors
    /// For the call 30001, 30003, 30004, 30006, 30008; for an item also 30005 and 30011.
    pub fn update_friends(
        &self,
        actor: &Actor<'_>,
        user: &UserKey,
        updates: &[UpdateFriend],
        now_ms: u64,
        effects: &mut Effects,
    ) -> Result<Items, Failure> {
        self.own(actor, user)?;
        let names: Vec<_> = updates.iter().map(|update| update.user.as_str()).collect();
        let tags = self.tags(user.app());
        self.change_each(user, &names, effects, |ledgered, at, peer| {
            let UpdateFriend { fields, groups, .. } = &updates[at];
            let known = ledgered.tx.friend(user, peer.name())?;
            let Some(mut row) = known else {
                return Err(Failure::new(codes::RELATION_BAD, "the user is not your friend").into());
            };
            for (tag, value) in fields {
                match value {
                    FieldValue::Text(remark) if tag == super::tags::REMARK => tags.check_remark(remark)?,
                    _ if tag == super::tags::REMARK => {
                        return Err(Failure::new(codes::RELATION_BAD, "the remark holds text").into());
                    }
                    _ => tags.check_friend(actor, tag, value)?,
                }
            }
            if let Some(groups) = groups {
                groups.iter().try_for_each(|group| tags.check_group(group))?;
                self.room_for_groups(ledgered, groups)?;
            }
            for (tag, value) in fields {
                match value {
                    FieldValue::Text(remark) if tag == super::tags::REMARK => {
                        row.remark.clone_from(remark);
                        row.remark_s = now_ms / 1000;
                        ledgered.tx.put_friend(user, peer.name(), &row)?;
                        ledgered.heads.friends(user, 0);
                    }
                    _ => {
                        ledgered.tx.set_friend_field(user, peer.name(), tag, value)?;
                        ledgered.heads.custom(user);
                    }
                }
            }
            if let Some(groups) = groups {
                for former in ledgered.tx.groups_of_friend(user, peer.name())? {
                    if !groups.contains(&former) {
                        ledgered.set_in_group(user, peer.name(), &former, false)?;
                    }
                }
                for group in groups {
                    ledgered.put_into(user, peer.name(), group, self.config(user.app()).friend_groups_max)?;
                }
            }
            Ok(())
        })
    }

    /// Whether `groups` fit beside those that `user` has, before anything is written.
    fn room_for_groups(&self, ledgered: &mut Ledgered<'_>, groups: &[String]) -> Result<(), Stop> {
        let known: BTreeSet<String> = ledgered.tx.friend_groups(ledgered.user)?.into_iter().collect();
        let new = groups.iter().filter(|group| !known.contains(*group)).collect::<BTreeSet<_>>().len();
        let max = self.config(ledgered.user.app()).friend_groups_max;
        match new > 0 && known.len() + new > max as usize {
            true => Err(friend_groups_full(max).into()),
            false => Ok(()),
        }
    }

    /// Ends friendships: only in the list of `user`, or in both.
    ///
    /// # Errors
    /// For the call 30001, 30003, 30004, 30006, 30008; for an item 31704.
    pub fn delete_friends(
        &self,
        actor: &Actor<'_>,
        user: &UserKey,
        names: &[String],
        both: bool,
        effects: &mut Effects,
    ) -> Result<Items, Failure> {
        self.own(actor, user)?;
        let names: Vec<_> = names.iter().map(String::as_str).collect();
        self.change_each(user, &names, effects, |ledgered, _, peer| {
            let mine = ledgered.part(user, peer)?;
            let theirs = both && ledgered.part(peer, user)?;
            match mine || theirs {
                true => Ok(()),
                false => Err(Failure::new(codes::NOT_A_FRIEND, "there is no such friend").into()),
            }
        })
    }

    /// Ends all friendships of `user`, in one transaction.
    ///
    /// # Errors
    /// 30001, 30003, 30004, 30006, 30008.
    pub fn delete_all_friends(
        &self,
        actor: &Actor<'_>,
        user: &UserKey,
        both: bool,
        effects: &mut Effects,
    ) -> Result<RelationHead, Failure> {
        self.own(actor, user)?;
        let known = self.read(Area::Relations, |tx| Ok(tx.friends(user, 0, u32::MAX)?))?;
        let peers: Vec<_> = known
            .iter()
            .filter_map(|(name, _)| UserKey::new(user.app(), name).ok().map(Ok::<_, Failure>))
            .collect();
        let ((), head) = self.change(user, &peers, effects, |ledgered| {
            // Read again: now nobody adds one. Whoever was added between the two reads is a friend of later.
            for (name, _) in ledgered.tx.friends(user, 0, u32::MAX)? {
                let Ok(peer) = UserKey::new(user.app(), &name) else { continue };
                if !ledgered.heads.holds(&peer) {
                    continue;
                }
                ledgered.part(user, &peer)?;
                if both {
                    ledgered.part(&peer, user)?;
                }
            }
            Ok(())
        })?;
        Ok(head)
    }
}
