//! What members are, to the group and to each other.

use nearport_wire::body::{
    self, GroupMember, GroupMemberEdit, GroupReception, GroupRole, GroupSelf, Notice, Tip, TipMemberChange,
    group_event,
};
use nearport_wire::code::group as code;

use super::effects::{Effects, NoticeKind, TipKind, count, notice, tip};
use super::leaving::until_s;
use super::profile::{put_fields, readable};
use super::record::{Application, Change, Member, Penalty, Reception, Role};
use super::rules::FieldOf;
use super::state::{Ctx, Group, bad, denied};
use super::types::Rank;
use crate::actor::Actor;
use crate::key::UserKey;
use crate::reply::Failure;
use crate::text::check_line;

/// Of the public contract.
const NAME_CARD_BYTES_MAX: usize = 50;
const MUTE_MAX: usize = 500;
const ROLES_MAX: usize = 500;

/// Members that one answer has at most, and as a rule.
const PAGE_MAX: usize = 200;
const PAGE: usize = 100;

/// Members that are asked for by name in one request.
pub(crate) const NAMED_PAGE_MAX: usize = PAGE;

impl Group {
    /// Mutes users for a time, or ends it.
    pub(crate) fn mute(
        &self,
        ctx: &Ctx<'_>,
        actor: Actor<'_>,
        names: &[String],
        seconds: u32,
        fx: &mut Effects,
    ) -> Result<(), Failure> {
        self.visible(actor)?;
        let users = self.named(names, MUTE_MAX)?;
        let rank = self.rank(actor, ctx.present);
        if !rank.has(self.kind.mute) {
            return Err(denied("you may not mute users of this group"));
        }
        let until_s = until_s(ctx, seconds);
        for user in &users {
            let muted = self.muted_until_s(user, ctx.now_s()) > 0;
            if self.kind.stored_members && self.member(user).is_none() && !muted && rank != Rank::App {
                return Err(bad("only members are muted"));
            }
            if !self.may(rank, self.kind.mute, self.rank(Actor::User(user), false)) {
                return Err(denied("you may not mute this user"));
            }
            fx.changes.push(Change::Penalty(Penalty::Mute, user.clone(), until_s));
            fx.notice(self, user, Notice { until_s, ..notice(NoticeKind::Muted, actor, "") });
        }
        let shown = tip(TipKind::MemberInfo, actor, &users);
        let change = |member: &String| TipMemberChange { member: member.clone(), mute_s: seconds };
        let member_changes = shown.members.iter().map(change).collect();
        fx.tip(self, Tip { member_changes, member_count: count(self.member_count()), ..shown });
        Ok(())
    }

    /// Changes what a member is, has, or wants.
    pub(crate) fn edit_member(
        &self,
        ctx: &Ctx<'_>,
        actor: Actor<'_>,
        asked: &GroupMemberEdit,
        fx: &mut Effects,
    ) -> Result<(), Failure> {
        self.visible(actor)?;
        let user = match (asked.user.as_str(), actor.user()) {
            ("", Some(user)) => user.clone(),
            (name, _) => {
                UserKey::new(self.key().app(), name).map_err(|error| bad(format!("the user: {error}")))?
            }
        };
        let rank = self.rank(actor, ctx.present);
        if !self.kind.stored_members {
            return Err(denied("members of a live room have nothing that could be changed"));
        }
        if rank == Rank::Anyone {
            return Err(denied("only members change members"));
        }
        let Some(before) = self.member(&user) else {
            return Err(bad("the user is not a member"));
        };
        let (own, target) = (actor.is(&user), self.rank(Actor::User(&user), false));
        let mut member = before.clone();
        self.edit_role(actor, rank, target, &user, asked.role(), &mut member, fx)?;
        if let Some(name_card) = &asked.name_card {
            if !own && (rank < Rank::Admin || rank <= target) {
                return Err(denied("you may not change the name card of this member"));
            }
            check_line(name_card, NAME_CARD_BYTES_MAX).map_err(|error| bad(format!("name_card {error}")))?;
            member.name_card = name_card.as_str().into();
        }
        if let Some(reception) = reception(asked.reception()) {
            if !own && rank != Rank::App {
                return Err(denied("how a member receives is theirs to say"));
            }
            member.reception = reception;
        }
        if !asked.fields.is_empty() {
            // The rank to write a field of somebody else's must be above theirs, too.
            let rank = if own || rank > target { rank } else { Rank::Anyone };
            let app = self.key().app();
            put_fields(ctx, app, FieldOf::Member, &self.kind, &mut member.fields, &asked.fields, rank, own)?;
        }
        if let Some(seconds) = asked.mute_s {
            self.mute(ctx, actor, &[user.name().to_owned()], seconds, fx)?;
        }
        if member == *before {
            return Ok(());
        }
        match (before.reception, member.reception) {
            (before, now) if before == now => {}
            (_, Reception::Discard) => fx.left.push(user.clone()),
            (Reception::Discard, _) => fx.joined.push(user.clone()),
            _ => {}
        }
        if before.reception != member.reception {
            fx.notice(self, &user, notice(NoticeKind::Reception, actor, reception_name(member.reception)));
        }
        fx.event = fx.event.or(Some(group_event::What::Members));
        fx.changes.push(Change::PutMember(user, Box::new(member)));
        Ok(())
    }

    #[expect(clippy::too_many_arguments, reason = "one part of `edit_member`, which has them all")]
    fn edit_role(
        &self,
        actor: Actor<'_>,
        rank: Rank,
        target: Rank,
        user: &UserKey,
        role: GroupRole,
        member: &mut Member,
        fx: &mut Effects,
    ) -> Result<(), Failure> {
        let role = match role {
            GroupRole::None => return Ok(()),
            GroupRole::Member => Role::Member,
            GroupRole::Admin => Role::Admin,
            GroupRole::Owner => return Err(bad("a group gets another owner by being handed over")),
        };
        if !self.kind.admins {
            return Err(denied("groups of this type have no administrators"));
        }
        if rank < Rank::Owner {
            return Err(denied("only the owner names administrators"));
        }
        if target == Rank::Owner {
            return Err(bad("the owner stays the owner until the group is handed over"));
        }
        if role == member.role {
            return Ok(());
        }
        member.role = role;
        let (told, shown) = match role {
            Role::Admin => (NoticeKind::AdminSet, TipKind::AdminSet),
            _ => (NoticeKind::AdminRemoved, TipKind::AdminRemoved),
        };
        fx.notice(self, user, notice(told, actor, ""));
        let member_count = count(self.member_count());
        fx.tip(self, Tip { member_count, ..tip(shown, actor, std::slice::from_ref(user)) });
        Ok(())
    }

    /// Whether `actor` may see who the members are.
    fn may_list(&self, actor: Actor<'_>, present: bool) -> Result<Rank, Failure> {
        self.visible(actor)?;
        let rank = self.rank(actor, present);
        if !self.kind.member_list || rank == Rank::Anyone {
            return Err(denied("you may not see the members of this group"));
        }
        Ok(rank)
    }

    /// A page of members by name, and behind whom the next one starts.
    pub(crate) fn member_page(
        &self,
        ctx: &Ctx<'_>,
        actor: Actor<'_>,
        asked: &body::GroupMembersPage,
    ) -> Result<body::GroupMembers, Failure> {
        let rank = self.may_list(actor, ctx.present)?;
        let total = count(self.member_count());
        if !asked.users.is_empty() {
            let users = self.named(&asked.users, NAMED_PAGE_MAX)?;
            let members = users.iter().filter_map(|user| Some((user, self.member(user)?)));
            let members = members.map(|(user, member)| self.shown(ctx, actor, rank, user, member)).collect();
            return Ok(body::GroupMembers { members, next: String::new(), total });
        }
        let limit = page_limit(asked.limit, PAGE, PAGE_MAX)?;
        let roles: Vec<_> = asked.roles().filter(|role| *role != GroupRole::None).collect();
        let wanted = |member: &Member| roles.is_empty() || roles.contains(&role_body(member.role));
        let mut members = Vec::new();
        let mut next = String::new();
        let after = after(self, &asked.after)?;
        // Who leads is known apart: that page walks nobody else.
        let leaders_only = !roles.is_empty() && !roles.contains(&GroupRole::Member);
        let of = |user: &UserKey| self.record.members.get_key_value(user);
        let all: Box<dyn Iterator<Item = (&UserKey, &Member)> + '_> = match leaders_only {
            true => Box::new(self.leaders.range((after, std::ops::Bound::Unbounded)).filter_map(of)),
            false => Box::new(self.record.members.range((after, std::ops::Bound::Unbounded))),
        };
        for (user, member) in all.filter(|(_, member)| wanted(member)) {
            if members.len() == limit {
                next = members.last().map(|last: &GroupMember| last.user.clone()).unwrap_or_default();
                break;
            }
            members.push(self.shown(ctx, actor, rank, user, member));
        }
        Ok(body::GroupMembers { members, next, total })
    }

    pub(super) fn shown(
        &self,
        ctx: &Ctx<'_>,
        actor: Actor<'_>,
        rank: Rank,
        user: &UserKey,
        member: &Member,
    ) -> GroupMember {
        let (app, own) = (self.key().app(), actor.is(user));
        GroupMember {
            user: user.name().to_owned(),
            role: role_body(member.role).into(),
            joined_ms: member.joined_ms,
            reception: reception_body(member.reception).into(),
            name_card: member.name_card.to_string(),
            muted_until_s: self.muted_until_s(user, ctx.now_s()),
            fields: readable(ctx, app, FieldOf::Member, &self.kind, &member.fields, rank, own),
        }
    }

    /// How `user` stands to the group.
    pub(crate) fn own(&self, user: &UserKey, now_ms: u64) -> Option<GroupSelf> {
        let member = self.member(user)?;
        Some(GroupSelf {
            role: role_body(member.role).into(),
            joined_ms: member.joined_ms,
            reception: reception_body(member.reception).into(),
            name_card: member.name_card.to_string(),
            muted_until_s: self.muted_until_s(user, now_ms / 1000),
            history_after: self.history_after(self.key(), user).unwrap_or_default(),
        })
    }

    /// What users are here.
    pub(crate) fn roles(
        &self,
        ctx: &Ctx<'_>,
        actor: Actor<'_>,
        names: &[String],
    ) -> Result<Vec<body::GroupRoleItem>, Failure> {
        self.may_list(actor, ctx.present)?;
        let role =
            |user: &UserKey| self.member(user).map_or(GroupRole::None, |member| role_body(member.role));
        let users = self.named(names, ROLES_MAX)?;
        let item =
            |user: UserKey| body::GroupRoleItem { role: role(&user).into(), user: user.name().to_owned() };
        Ok(users.into_iter().map(item).collect())
    }

    /// Who is muted or banned, by name.
    pub(crate) fn penalties(
        &self,
        ctx: &Ctx<'_>,
        actor: Actor<'_>,
        what: Penalty,
        asked: &body::GroupPage,
    ) -> Result<body::GroupPenalties, Failure> {
        self.visible(actor)?;
        let least = if what == Penalty::Mute { self.kind.mute } else { self.kind.ban };
        let rank = self.rank(actor, ctx.present);
        if !rank.has(least) {
            return Err(denied("you may not see who is muted or banned here"));
        }
        let limit = page_limit(asked.limit, PAGE, PAGE)?;
        let after = match after(self, &asked.after)? {
            std::ops::Bound::Excluded(user) => std::ops::Bound::Excluded((what, user)),
            _ => std::ops::Bound::Unbounded,
        };
        let all = self.record.penalties.range((after, std::ops::Bound::Unbounded));
        let mut all = all.filter(|((kind, _), until_s)| *kind == what && **until_s > ctx.now_s());
        let item = |((_, user), until_s): (&(Penalty, UserKey), &u64)| body::GroupPenalty {
            user: user.name().to_owned(),
            until_s: *until_s,
        };
        let items: Vec<_> = all.by_ref().take(limit).map(item).collect();
        let next = all.next().and_then(|_| items.last()).map(|last| last.user.clone()).unwrap_or_default();
        Ok(body::GroupPenalties { items, next })
    }

    /// Applications: all of them for who decides, one's own for others.
    pub(crate) fn application_page(
        &self,
        ctx: &Ctx<'_>,
        actor: Actor<'_>,
        asked: &body::GroupPage,
    ) -> Result<body::GroupApplications, Failure> {
        if self.is_dismissed() {
            return Err(super::state::gone());
        }
        let all = self.rank(actor, ctx.present) >= Rank::Admin;
        let limit = page_limit(asked.limit, PAGE, PAGE)?;
        let range = (after(self, &asked.after)?, std::ops::Bound::Unbounded);
        let mine = |known: &Application| actor.user().is_some() && known.inviter.as_ref() == actor.user();
        let mut shown = self
            .record
            .applications
            .range(range)
            .filter(|(user, known)| all || actor.is(user) || mine(known));
        let item = |(user, known): (&UserKey, &Application)| body::GroupApplication {
            user: user.name().to_owned(),
            inviter: known.inviter.as_ref().map(|inviter| inviter.name().to_owned()).unwrap_or_default(),
            time_ms: known.time_ms,
            text: known.text.clone(),
            consent: known.consent,
            handled_by: known.handled.as_ref().map(|handled| handled.by.clone()).unwrap_or_default(),
            agreed: known.handled.as_ref().is_some_and(|handled| handled.agreed),
            answer: known.handled.as_ref().map(|handled| handled.text.clone()).unwrap_or_default(),
        };
        let items: Vec<_> = shown.by_ref().take(limit).map(item).collect();
        let next = shown.next().and_then(|_| items.last()).map(|last| last.user.clone()).unwrap_or_default();
        Ok(body::GroupApplications { items, next })
    }
}

/// How long a page is.
///
/// # Errors
/// 10004, or 10054 for more than `max`.
pub(crate) fn page_limit(asked: u32, usual: usize, max: usize) -> Result<usize, Failure> {
    match asked as usize {
        0 => Ok(usual),
        limit if limit <= max => Ok(limit),
        _ => Err(Failure::new(code::PAGE, format!("a page has at most {max} items"))),
    }
}

fn after(group: &Group, name: &str) -> Result<std::ops::Bound<UserKey>, Failure> {
    if name.is_empty() {
        return Ok(std::ops::Bound::Unbounded);
    }
    let user = UserKey::new(group.key().app(), name).map_err(|error| bad(format!("after: {error}")))?;
    Ok(std::ops::Bound::Excluded(user))
}

pub(crate) fn role_body(role: Role) -> GroupRole {
    match role {
        Role::Member => GroupRole::Member,
        Role::Admin => GroupRole::Admin,
        Role::Owner => GroupRole::Owner,
    }
}

pub(super) fn reception(asked: GroupReception) -> Option<Reception> {
    match asked {
        GroupReception::Default => None,
        GroupReception::Notify => Some(Reception::Notify),
        GroupReception::Quiet => Some(Reception::Quiet),
        GroupReception::Discard => Some(Reception::Discard),
    }
}

pub(super) fn reception_body(reception: Reception) -> GroupReception {
    match reception {
        Reception::Notify => GroupReception::Notify,
        Reception::Quiet => GroupReception::Quiet,
        Reception::Discard => GroupReception::Discard,
    }
}

/// As the public contract has it.
fn reception_name(reception: Reception) -> &'static str {
    match reception {
        Reception::Notify => "AcceptAndNotify",
        Reception::Quiet => "AcceptNotNotify",
        Reception::Discard => "Discard",
    }
}
