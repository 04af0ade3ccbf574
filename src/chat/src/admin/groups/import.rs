//! Groups of other systems: nobody is told of them.

use aws_lc_rs::digest;
use nearport_wire::body::{
    Content, GroupCreate, GroupInviteResult, GroupInvited, Message, element, group_answer::Answer,
};
use nearport_wire::code::group as code;

use super::messages::in_groups;
use super::{group_key, user_key};
use crate::admin::{Admin, Asker, Pending, busy};
use crate::desk::group::{Answered, Call, Import};
use crate::desk::{Caller, Who};
use crate::group::NewMember;
use crate::kept::{Audience, seal};
use crate::key::{AppId, GroupKey, UserKey};
use crate::ledger::{Append, CursorMove, CursorName, IdemKey};
use crate::posts::orders::{GroupOrder, MARKS_MAX};
use crate::reply::{Failure, With, unreadable};
use crate::tasks::Task;

/// A member of another system.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImportMember {
    /// Name of an account.
    pub user: String,
    /// An administrator of the group.
    pub admin: bool,
    /// Unix seconds; `None`: now.
    pub joined_s: Option<u64>,
    /// Messages that are unread.
    pub unread: u64,
}

/// A message of another system.
#[derive(Debug, Clone, PartialEq)]
pub struct ImportMessage {
    /// Name of an account.
    pub from: String,
    /// Unix seconds.
    pub time_s: u64,
    /// The back end's own.
    pub random: u32,
    /// What it says, checked.
    pub content: Content,
    /// Which go first.
    pub priority: nearport_wire::body::Priority,
}

impl Admin {
    /// Makes a group that another system has had since `created_s`; `None`: since now.
    pub fn import_group(
        &self,
        asker: &Asker,
        asked: GroupCreate,
        created_s: Option<u64>,
    ) -> Pending<Result<Answer, Failure>> {
        // The milliseconds are free: they keep groups of the same second apart in lists.
        let now_ms = self.now_ms();
        let created_ms = created_s.map_or(now_ms, |created_s| {
            let spread = self.shared.groups.next_number() % 1000;
            let created_ms = created_s.saturating_mul(1000);
            if created_ms + spread <= now_ms { created_ms + spread } else { created_ms }
        });
        self.import(asker, Import::Group(Box::new(asked), created_ms))
    }

    fn import(&self, asker: &Asker, import: Import) -> Pending<Result<Answer, Failure>> {
        let who = Who::Admin(asker.admin.clone());
        let caller = Caller { app: asker.app, who, seat: None };
        let (pending, done) = Pending::new();
        let answered: Answered = Box::new(move |answer| done.tell(answer));
        let task = Task::Group(Box::new(Call::of_import(caller, import, answered)));
        match self.shared.tasks.push(vec![task]) {
            Ok(()) => pending,
            Err(_) => Pending::ready(Err(in_groups(busy()))),
        }
    }

    /// Adds members as they were in another system, with what they have not read. Blocks for looks into the ledger and waits for the
    /// desk and the writer.
    ///
    /// # Errors
    /// 10004, 10005, 10007, 10010, 10014, 10015, 10002.
    pub fn import_members(
        &self,
        asker: &Asker,
        group: &str,
        members: Vec<ImportMember>,
    ) -> Result<GroupInvited, Failure> {
        let key = group_key(asker.app, group)?;
        let conv = key.conv();
        let first = self.of_group(&key, |group| group.info().first_seq)?;
        let head = self.shared.ledger.head(&conv).map_err(|error| unreadable(&error))?;
        let (mut new, mut reads) = (Vec::with_capacity(members.len()), Vec::with_capacity(members.len()));
        for ImportMember { user, admin, joined_s, unread } in members {
            // Who was in it then has read all but what is unread.
            let read = head.saturating_sub(unread.min(head.saturating_sub(first)));
            let joined_seq = match joined_s {
                Some(joined_s) => {
                    let at = self.shared.ledger.seq_at(&conv, joined_s.saturating_mul(1000));
                    at.map_err(|error| unreadable(&error))?.saturating_sub(1)
                }
                None => head,
            };
            let joined_seq = joined_seq.min(read).max(first);
            reads.push((user.clone(), read));
            new.push(NewMember {
                name: user,
                admin,
                joined_ms: joined_s.map(|s| s.saturating_mul(1000)),
                joined_seq,
            });
        }
        let outcome = self.import(asker, Import::Members(key.clone(), new)).wait();
        let invited = match outcome.ok_or_else(|| in_groups(busy()))?? {
            Answer::Invited(invited) => invited,
            _ => return Err(in_groups(busy())),
        };
        let added = invited.items.iter().zip(&reads).filter_map(|(item, (user, read))| {
            let added = item.result() == GroupInviteResult::GroupInviteAdded;
            let user = UserKey::new(asker.app, user).ok().filter(|_| added && *read > 0)?;
            let name = CursorName::Read(conv.clone());
            Some(CursorMove { user, name, position: *read })
        });
        self.mark(added.collect())?;
        Ok(invited)
    }

    /// Says how many messages of a group a member has not read. Cursors only go forward: it cannot become more than it is.
    /// Waits for the writer.
    ///
    /// # Errors
    /// 10004 for who is no member, 10010, 10015, 10002.
    pub fn set_unread_of_group(
        &self,
        app: AppId,
        group: &str,
        user: &str,
        unread: u64,
    ) -> Result<(), Failure> {
        let (key, user) = (group_key(app, group)?, user_key(app, user)?);
        let (first, counted, stored, member) = self.of_group(&key, |group| {
            let kind = group.kind();
            (group.info().first_seq, kind.unread, kind.stored_members, group.member(&user).is_some())
        })?;
        if stored && !member {
            return Err(Failure::new(code::BAD_PARAMETER, "the user is not a member"));
        }
        if !counted {
            return Ok(());
        }
        let head = self.shared.ledger.head(&key.conv()).map_err(|error| unreadable(&error))?;
        let position = head.saturating_sub(unread.min(head.saturating_sub(first)));
        match position {
            0 => Ok(()),
            _ => self.mark(vec![CursorMove { user, name: CursorName::Read(key.conv()), position }]),
        }
    }

    /// Moves cursors and waits until that is on disk.
    fn mark(&self, moves: Vec<CursorMove>) -> Result<(), Failure> {
        for some in moves.chunks(MARKS_MAX) {
            let (pending, done) = Pending::new();
            let done = Box::new(move |stored| done.tell(stored));
            let stored = self.shared.posts.order(vec![GroupOrder::Marks { moves: some.to_vec(), done }]);
            if !stored || pending.wait() != Some(true) {
                return Err(in_groups(busy()));
            }
        }
        Ok(())
    }

    /// Stores messages of another system at their own times, oldest first; the outcome of each is its place, or a code. Blocks
    /// for looks at accounts, and waits for the writer.
    ///
    /// # Errors
    /// 10007, 10010, 10015, 10002.
    pub fn import_messages(
        &self,
        app: AppId,
        group: &str,
        messages: Vec<ImportMessage>,
    ) -> Result<Vec<Result<u64, u32>>, Failure> {
        let key = group_key(app, group)?;
        let (import, created_ms, first) = self
            .of_group(&key, |group| (group.kind().import, group.info().created_ms, group.info().first_seq))?;
        if !import {
            return Err(Failure::new(code::NO_PERMISSION, "messages of this type of group are not imported"));
        }
        let heads = self.shared.ledger.heads(&[key.conv()]).map_err(|error| unreadable(&error))?;
        let newest_ms = heads.first().filter(|heads| heads.seq > first).map_or(0, |heads| heads.time_ms);
        let mut after_s = (created_ms / 1000).max(newest_ms / 1000);
        let names: Vec<_> = messages.iter().map(|message| message.from.clone()).collect();
        let exist = self.accounts_exist(app, &names).map_err(in_groups)?;
        let (mut outcomes, mut orders) = (Vec::with_capacity(messages.len()), Vec::new());
        let now_s = self.now_ms() / 1000;
        for (message, exists) in messages.into_iter().zip(exist) {
            let good =
                exists && (after_s..=now_s).contains(&message.time_s) && is_importable(&message.content);
            let from = UserKey::new(app, &message.from).ok().filter(|_| good);
            let Some(from) = from else {
                outcomes.push(Pending::ready(Err(code::BAD_PARAMETER)));
                continue;
            };
            after_s = message.time_s;
            let (pending, done) = Pending::new();
            let done =
                Box::new(move |outcome: Result<&crate::ledger::Appended, &crate::ledger::LedgerError>| {
                    done.tell(outcome.map(|outcome| outcome.seq).map_err(|_| code::INTERNAL));
                });
            orders.push(GroupOrder::Import { append: append(&key, from, message, newest_ms), done });
            outcomes.push(pending);
        }
        if !self.shared.posts.order(orders) {
            return Err(in_groups(busy()));
        }
        Ok(outcomes.into_iter().map(|outcome| outcome.wait().unwrap_or(Err(code::INTERNAL))).collect())
    }
}

fn append(key: &GroupKey, from: UserKey, message: ImportMessage, newest_ms: u64) -> Append {
    let ImportMessage { from: name, time_s, random, content, priority } = message;
    let mut digest = digest::Context::new(&digest::SHA256);
    digest.update(b"import");
    digest.update(key.as_bytes());
    digest.update(&time_s.to_be_bytes());
    let mut client_msg_id = [0; 16];
    client_msg_id[..4].copy_from_slice(&random.to_be_bytes());
    client_msg_id[4..].copy_from_slice(&digest.finish().as_ref()[..12]);
    let body = Message {
        from: name,
        to: Some(With::Group(key.clone()).target()),
        client_msg_id: client_msg_id.to_vec().into(),
        content: Some(content),
        priority: priority.into(),
        ..Message::default()
    };
    Append {
        conv: key.conv(),
        idem: IdemKey { sender: from, client_msg_id },
        logs: Vec::new(),
        // Times of a conversation do not go back, and the back end has seconds.
        time_ms: (time_s * 1000).max(newest_ms),
        body: seal(&body, Audience::All),
        uncounted: false,
    }
}

/// Text, faces, places and custom elements come over, of the public contract.
fn is_importable(content: &Content) -> bool {
    use element::Element;
    content.elements.iter().all(|element| {
        matches!(
            element.element,
            Some(Element::Text(_) | Element::Face(_) | Element::Location(_) | Element::Custom(_))
        )
    })
}
