//! Groups of other systems: nobody is told of them.

use nearport_wire::body::{
    Content, GroupCreate, GroupInviteResult, GroupInvited, GroupTopicCreate, group_answer::Answer,
};
use nearport_wire::code::group as code;

use super::messages::in_groups;
use super::{group_key, user_key};
use crate::admin::imports::{Bringing, Historic, HistoricTo};
use crate::admin::{Admin, Asker, Pending, busy};
use crate::desk::group::{Answered, Call, Import};
use crate::desk::{Caller, Who};
use crate::group::NewMember;
use crate::key::{AppId, GroupKey, UserKey};
use crate::ledger::{CursorMove, CursorName};
use crate::posts::orders::{GroupOrder, MARKS_MAX};
use crate::reply::{Failure, unreadable};
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
    /// The back end's own; `None`: it follows from what is said.
    pub random: Option<u32>,
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

    /// Makes a topic that another system has had since `created_s`; `None`: since now.
    pub fn import_topic(
        &self,
        asker: &Asker,
        asked: GroupTopicCreate,
        created_s: Option<u64>,
    ) -> Pending<Result<Answer, Failure>> {
        let created_ms = created_s.map_or_else(|| self.now_ms(), |created_s| created_s.saturating_mul(1000));
        self.import(asker, Import::Topic(Box::new(asked), created_ms))
    }

    /// Whether there is a group that is what this import would make: of its type, and made at its time.
    ///
    /// # Errors
    /// 10002, 10015.
    pub fn is_imported(
        &self,
        app: AppId,
        asked: &GroupCreate,
        created_s: Option<u64>,
    ) -> Result<bool, Failure> {
        let key = group_key(app, &asked.group)?;
        let same = self.of_group(&key, |group| {
            let made_s = group.info().created_ms / 1000;
            let kind = group.kind();
            let named = kind.name == asked.r#type || kind.aliases.contains(&asked.r#type.as_str());
            named && created_s.is_none_or(|created_s| created_s == made_s)
        });
        match same {
            Err(failure) if failure.code == code::GONE => Ok(false),
            same => same,
        }
    }

    fn import(&self, asker: &Asker, import: Import) -> Pending<Result<Answer, Failure>> {
        let who = Who::Admin(asker.admin.clone());
        let caller = Caller { app: asker.app, who, seat: None, origin: asker.origin() };
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
            Some(CursorMove { user, name, position: *read, append: None })
        });
        self.mark(added.collect(), false)?;
        Ok(invited)
    }

    /// The same as [`Self::set_unread_of_group`] for the owner of a group, whom its import has made a member in front of the messages,
    /// as long as the owner has read nothing. Does nothing for others.
    ///
    /// # Errors
    /// Those of [`Self::set_unread_of_group`].
    pub fn set_unread_of_owner(
        &self,
        app: AppId,
        group: &str,
        user: &str,
        unread: u64,
    ) -> Result<(), Failure> {
        let (key, owner) = (group_key(app, group)?, user_key(app, user)?);
        if !self.of_group(&key, |group| group.info().owner.as_ref() == Some(&owner))? {
            return Ok(());
        }
        let read = self.shared.ledger.cursor(&owner, &CursorName::Read(key.conv()));
        match read.map_err(|error| unreadable(&error))? {
            Some(_) => Ok(()),
            None => self.set_unread_of_group(app, group, user, unread),
        }
    }

    /// Says how many messages of a group a member has not read, whether that is more or less than it was; as many as the group has at
    /// most. Waits for the writer.
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
        let (first, counted, stored, member) = self.of_talk(&key, |group, first| {
            let kind = group.kind();
            (first, kind.unread, kind.stored_members, group.member(&user).is_some())
        })?;
        if stored && !member {
            return Err(Failure::new(code::BAD_PARAMETER, "the user is not a member"));
        }
        if !counted {
            return Ok(());
        }
        let head = self.shared.ledger.head(&key.conv()).map_err(|error| unreadable(&error))?;
        let position = head.saturating_sub(unread.min(head.saturating_sub(first)));
        let name = CursorName::Read(key.conv());
        let read = self.shared.ledger.cursor(&user, &name).map_err(|error| unreadable(&error))?;
        match read.unwrap_or_default() == position {
            true => Ok(()),
            false => self.mark(vec![CursorMove { user, name, position, append: None }], true),
        }
    }

    /// Moves cursors and waits until that is on disk.
    fn mark(&self, moves: Vec<CursorMove>, back: bool) -> Result<(), Failure> {
        for some in moves.chunks(MARKS_MAX) {
            let (pending, done) = Pending::new();
            let done = Box::new(move |stored| done.tell(stored));
            let moves = some.to_vec();
            let stored = self.shared.posts.order(vec![GroupOrder::Marks { moves, back, done }]);
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
        if !self.of_group(&key, |group| group.kind().import)? {
            return Err(Failure::new(code::NO_PERMISSION, "messages of this type of group are not imported"));
        }
        let to = || HistoricTo::Group(group.to_owned());
        let history =
            messages.into_iter().map(|ImportMessage { from, time_s, random, content, priority }| Historic {
                to: to(),
                from,
                time_s,
                seq: 0,
                random,
                content,
                priority,
            });
        let brought =
            self.bring_history(app, history.collect()).and_then(Bringing::wait).map_err(in_groups)?;
        let outcomes: Vec<_> = brought
            .into_iter()
            .map(|outcome| outcome.map(|it| it.seq).map_err(|failure| failure.code))
            .collect();
        if let Some(newest) = outcomes.iter().flatten().max() {
            self.read_by_all(&key, *newest)?;
        }
        Ok(outcomes)
    }

    /// Nothing of a group up to here is unread for its members: what was imported is history. In a group of more than
    /// [`READ_BY_MAX`] it is, until somebody says otherwise.
    fn read_by_all(&self, key: &GroupKey, position: u64) -> Result<(), Failure> {
        let members = self.of_group(key, |group| match group.member_count() {
            0..=READ_BY_MAX => group.members().map(|(user, _)| user.clone()).collect(),
            _ => Vec::new(),
        })?;
        let name = CursorName::Read(key.conv());
        let to = |user| CursorMove { user, name: name.clone(), position, append: None };
        self.mark(members.into_iter().map(to).collect(), false)
    }
}

/// Members whose cursors an import moves: as many as a group has that is no community, of the public contract.
const READ_BY_MAX: usize = 6000;
