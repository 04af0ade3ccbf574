//! [`Group`]: a group in memory, and the questions that other parts of the backend ask of it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use nearport_wire::code::group as code;

use super::record::{Change, GroupInfo, GroupRecord, Member, Penalty, Role};
use super::rules::{Limits, Rules};
use super::topics::topic_gone;
use super::types::{GroupType, Rank};
use crate::actor::Actor;
use crate::apps::Apps;
use crate::key::{AppId, GroupKey, UserKey};
use crate::reply::Failure;

/// Until when a penalty holds that never ends.
pub(crate) const FOR_EVER_S: u64 = u64::MAX >> 1;

/// What an operation knows beside the group.
#[derive(Debug)]
pub(crate) struct Ctx<'a> {
    pub(crate) rules: &'a Rules,
    pub(crate) apps: &'a Apps,
    pub(crate) now_ms: u64,
    /// Newest message of the group's conversation.
    pub(crate) head: u64,
    /// Accounts among those that the request names, each with the number of groups that it is in.
    pub(crate) people: &'a BTreeMap<UserKey, u32>,
    /// The asker has joined the live room.
    pub(crate) present: bool,
}

impl Ctx<'_> {
    pub(crate) fn now_s(&self) -> u64 {
        self.now_ms / 1000
    }

    /// Limits of groups of an App.
    pub(crate) fn limits(&self, app: AppId) -> Limits {
        self.apps.settings(app).config.groups.limits()
    }

    /// Whether one more group is too many for this user.
    pub(crate) fn has_no_room(&self, user: &UserKey) -> bool {
        let max = self.limits(user.app()).joined_max;
        max > 0 && self.people.get(user).is_some_and(|joined| *joined >= max)
    }
}

/// A group as everybody in the process sees it. The desk alone changes it.
#[derive(Debug)]
pub(crate) struct Group {
    pub(super) record: GroupRecord,
    pub(super) kind: Arc<GroupType>,
    /// Owner and administrators: a community of 100,000 is not walked to find five.
    pub(super) leaders: BTreeSet<UserKey>,
    /// The second of the newest write of attributes, and how many there were in it.
    pub(super) attribute_writes: (u64, u32),
    dismissed: bool,
    /// It has had its first message, or is of a type that does not hide before it.
    active: AtomicBool,
}

impl Group {
    /// What a store keeps, with the head of its conversation. A group whose type was taken out of the configuration gets the row of
    /// `Public`, so that it can still be read.
    pub(crate) fn new(record: GroupRecord, rules: &Rules, head: u64) -> Self {
        let kind = rules.types.find(&record.info.kind).unwrap_or_else(|| {
            tracing::warn!(kind = record.info.kind, "group of a type that is not configured");
            rules.types.find("Public").expect("a preset")
        });
        let leaders = record
            .members
            .iter()
            .filter(|(_, member)| member.role > Role::Member)
            .map(|(user, _)| user.clone());
        let leaders = leaders.collect();
        let active = !kind.hidden_until_message || head > record.info.first_seq;
        Self { record, kind, leaders, attribute_writes: (0, 0), dismissed: false, active: active.into() }
    }

    /// Carries out a step that the store has or will have.
    pub(crate) fn apply(&mut self, change: &Change, now_ms: u64) {
        match change {
            Change::Dismiss => self.dismissed = true,
            Change::PutMember(user, member) if member.role > Role::Member => {
                self.leaders.insert(user.clone());
            }
            Change::PutMember(user, _) | Change::RemoveMember(user) => {
                self.leaders.remove(user);
            }
            Change::Info(info) if info.attributes_version != self.record.info.attributes_version => {
                let (second, count) = self.attribute_writes;
                self.attribute_writes =
                    if second == now_ms / 1000 { (second, count + 1) } else { (now_ms / 1000, 1) };
            }
            _ => {}
        }
        self.record.apply(change);
    }

    pub(crate) fn key(&self) -> &GroupKey {
        &self.record.key
    }

    /// Its row of the capability table.
    pub(crate) fn kind(&self) -> &GroupType {
        &self.kind
    }

    pub(crate) fn info(&self) -> &GroupInfo {
        &self.record.info
    }

    pub(crate) fn member(&self, user: &UserKey) -> Option<&Member> {
        self.record.members.get(user)
    }

    /// By name.
    pub(crate) fn members(&self) -> impl Iterator<Item = (&UserKey, &Member)> {
        self.record.members.iter()
    }

    pub(crate) fn member_count(&self) -> usize {
        self.record.members.len()
    }

    pub(crate) fn is_dismissed(&self) -> bool {
        self.dismissed
    }

    /// Whether others than its owner see it.
    pub(crate) fn is_active(&self) -> bool {
        self.active.load(Ordering::Relaxed)
    }

    /// It has its first message.
    pub(crate) fn activate(&self) {
        self.active.store(true, Ordering::Relaxed);
    }

    /// What `actor` is here. In a live room whoever has joined is a member: see [`Ctx::present`].
    pub(crate) fn rank(&self, actor: Actor<'_>, present: bool) -> Rank {
        let user = match actor {
            Actor::Admin(_) => return Rank::App,
            Actor::User(user) => user,
        };
        if self.record.info.owner.as_ref() == Some(user) {
            return Rank::Owner;
        }
        match self.member(user) {
            Some(member) if member.role == Role::Admin => Rank::Admin,
            Some(_) => Rank::Member,
            None if present && !self.kind.stored_members => Rank::Member,
            None => Rank::Anyone,
        }
    }

    /// Unix seconds until which `user` is muted; 0: not muted.
    pub(crate) fn muted_until_s(&self, user: &UserKey, now_s: u64) -> u64 {
        self.penalty_s(Penalty::Mute, user, now_s)
    }

    /// The same of a ban.
    pub(crate) fn banned_until_s(&self, user: &UserKey, now_s: u64) -> u64 {
        self.penalty_s(Penalty::Ban, user, now_s)
    }

    fn penalty_s(&self, what: Penalty, user: &UserKey, now_s: u64) -> u64 {
        if self.record.penalties.is_empty() {
            return 0;
        }
        self.record
            .penalties
            .get(&(what, user.clone()))
            .copied()
            .filter(|until_s| *until_s > now_s)
            .unwrap_or(0)
    }

    /// Whether `user` may send now, to the group or to the topic of it that `at` is. For live rooms `present` says whether they have
    /// joined.
    ///
    /// # Errors
    /// 10010, 110003, 10007, 10017.
    pub(crate) fn check_send(
        &self,
        at: &GroupKey,
        user: &UserKey,
        present: bool,
        now_ms: u64,
    ) -> Result<(), Failure> {
        let rank = self.rank(Actor::User(user), present);
        let muted = self.muted_all(at)?;
        if self.dismissed || (!self.is_active() && rank != Rank::Owner && self.record.info.owner.is_some()) {
            return Err(gone());
        }
        if rank == Rank::Anyone || (rank == Rank::Owner && !self.kind.stored_members && !present) {
            return Err(Failure::new(code::NO_PERMISSION, "only members send to the group"));
        }
        if rank == Rank::Member && muted {
            return Err(Failure::new(code::MUTED, "all members of the group are muted"));
        }
        if self.muted_until_s(user, now_ms / 1000) > 0 {
            return Err(Failure::new(code::MUTED, "you are muted in this group"));
        }
        Ok(())
    }

    /// Whether the back end of the App may send in the name of `user`, member or not.
    ///
    /// # Errors
    /// 10010, 110003, 10017.
    pub(crate) fn check_back_end_send(
        &self,
        at: &GroupKey,
        user: &UserKey,
        now_ms: u64,
    ) -> Result<(), Failure> {
        let muted = self.muted_all(at)?;
        if self.dismissed {
            return Err(gone());
        }
        if self.muted_until_s(user, now_ms / 1000) > 0 {
            return Err(Failure::new(code::MUTED, "the sender is muted in this group"));
        }
        if muted && self.rank(Actor::User(user), true) == Rank::Member {
            return Err(Failure::new(code::MUTED, "all members of the group are muted"));
        }
        Ok(())
    }

    /// Messages of `at`, the group or a topic of it, up to this seq are not shown to `user`. `None`: nothing is, for they are not a
    /// member, or there is no such topic.
    pub(crate) fn history_after(&self, at: &GroupKey, user: &UserKey) -> Option<u64> {
        let member = self.member(user)?;
        let first = self.first_seq(at)?;
        let all = self.kind.history_before_joining || at.is_topic();
        Some(if all { first } else { first.max(member.joined_seq) })
    }

    /// Messages of `at`, the group or a topic of it, up to this seq belong to an earlier one of the same id. `None`: there is no such
    /// topic.
    pub(crate) fn first_seq(&self, at: &GroupKey) -> Option<u64> {
        match at.is_topic() {
            true => self.record.topics.get(at).map(|topic| topic.first_seq),
            false => Some(self.record.info.first_seq),
        }
    }

    /// Whether plain members may not send to `at`. Who is silenced in the community is in its topics.
    fn muted_all(&self, at: &GroupKey) -> Result<bool, Failure> {
        let topic = match at.is_topic() {
            true => self.topic(at)?.muted_all,
            false => false,
        };
        Ok(topic || self.record.info.muted_all)
    }

    /// Whether `actor` may do what takes `least` to somebody of rank `target`: it is above both.
    pub(super) fn may(&self, actor: Rank, least: Option<Rank>, target: Rank) -> bool {
        actor.has(least) && actor > target
    }

    /// Refuses what nobody can ask of a group that is gone, or of one that they do not see.
    pub(crate) fn visible(&self, actor: Actor<'_>) -> Result<(), Failure> {
        let hidden = !self.is_active()
            && self.record.info.owner.is_some()
            && matches!(actor, Actor::User(_))
            && self.rank(actor, false) != Rank::Owner;
        if self.dismissed || hidden { Err(gone()) } else { Ok(()) }
    }
}

/// The group does not exist, or no longer, or not for the asker.
pub(crate) fn gone() -> Failure {
    Failure::new(code::GONE, "the group does not exist, or was dismissed")
}

/// The group or the topic that `at` is does not exist, or no longer.
pub(crate) fn gone_at(at: &GroupKey) -> Failure {
    match at.is_topic() {
        true => topic_gone(),
        false => gone(),
    }
}

/// No permission.
pub(super) fn denied(info: &'static str) -> Failure {
    Failure::new(code::NO_PERMISSION, info)
}

/// A parameter is wrong.
pub(super) fn bad(info: impl Into<std::borrow::Cow<'static, str>>) -> Failure {
    Failure::new(code::BAD_PARAMETER, info)
}
