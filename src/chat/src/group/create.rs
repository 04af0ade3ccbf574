//! Groups come to be.

use std::collections::BTreeSet;

use nearport_wire::body::{GroupCreate, GroupField, GroupJoinOption, Tip};
use nearport_wire::code::group as code;

use super::effects::{Effects, NoticeKind, TipKind, count, notice, tip};
use super::profile::{check_profile, join_option, put_fields};
use super::record::{Change, Fields, GroupInfo, GroupRecord, JoinOption, Role};
use super::rules::{FieldOf, Limits};
use super::state::{Ctx, Group, bad, denied};
use super::types::{GroupType, Joining, Rank};
use crate::actor::Actor;
use crate::key::{AppId, BadName, GroupKey, TOPIC_MARK, UserKey};
use crate::reply::Failure;

/// Members that a new group may be given, of the public contract.
const MEMBERS_MAX: usize = 100;

/// What an App has already, as far as a limit asks for it.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Counts {
    /// Groups that were made today and still exist.
    pub(crate) today: u64,
    pub(crate) groups: u64,
    pub(crate) communities: u64,
    pub(crate) rooms: u64,
}

/// Checks an id that somebody chose. A group that is `imported` keeps the one that it has, also where another server gave it.
///
/// # Errors
/// 10015.
pub(crate) fn check_id(app: AppId, kind: &GroupType, id: &str, imported: bool) -> Result<GroupKey, Failure> {
    let wrong = |info: String| Failure::new(code::BAD_ID, info);
    let key = GroupKey::new(app, id).map_err(|error: BadName| wrong(format!("the group's id: {error}")))?;
    if id.contains(TOPIC_MARK) {
        return Err(wrong(format!("ids with {TOPIC_MARK} are those of topics")));
    }
    match kind.own_id_prefix {
        Some(prefix) if !id.starts_with(prefix) || id.len() == prefix.len() => {
            Err(wrong(format!("ids of this type of group begin with {prefix}")))
        }
        None if !imported && id.starts_with("@TGS#") => {
            Err(wrong("ids that begin with @TGS# are the server's".into()))
        }
        _ => Ok(key),
    }
}

/// Checks the limits of the App for one more group of this type.
///
/// # Errors
/// 10006, 10036, 10058.
pub(crate) fn check_counts(kind: &GroupType, limits: &Limits, counts: Counts) -> Result<(), Failure> {
    let over = |count: u64, max: u32| max > 0 && count >= u64::from(max);
    if over(counts.groups, limits.groups_max) {
        return Err(Failure::new(code::GROUPS_MAX, "the app has as many groups as it may"));
    }
    if over(counts.today, limits.created_per_day) {
        return Err(Failure::new(code::TOO_OFTEN, "the app has made as many groups as it may today"));
    }
    if kind.community && over(counts.communities, limits.communities_max) {
        return Err(Failure::new(code::TOO_MANY_OF_TYPE, "the app has as many communities as it may"));
    }
    if !kind.stored_members && over(counts.rooms, limits.rooms_max) {
        return Err(Failure::new(code::TOO_MANY_OF_TYPE, "the app has as many live rooms as it may"));
    }
    Ok(())
}

/// A new group, with all that goes with it in `fx`; the first change is [`Change::Create`].
pub(crate) fn create(
    ctx: &Ctx<'_>,
    key: GroupKey,
    actor: Actor<'_>,
    owner: Option<&UserKey>,
    asked: &GroupCreate,
    fx: &mut Effects,
) -> Result<Group, Failure> {
    let kind =
        ctx.rules.types.find(&asked.r#type).ok_or_else(|| bad("there is no group type of this name"))?;
    check_profile(
        Some(&asked.name),
        Some(&asked.introduction),
        Some(&asked.notification),
        Some(&asked.face_url),
    )?;
    if owner.is_some_and(|owner| ctx.has_no_room(owner)) {
        return Err(Failure::new(code::JOINED_TOO_MANY, "the owner is in as many groups as they may"));
    }
    let members_max = match (asked.members_max, kind.members_max) {
        (0, most) => most,
        (_, 0) => 0,
        (wanted, most) if wanted > most => {
            return Err(Failure::new(
                code::MEMBERS_MAX,
                format!("groups of this type have at most {most} members"),
            ));
        }
        (wanted, _) => wanted,
    };
    let mut info = GroupInfo {
        kind: kind.name.to_owned(),
        name: asked.name.clone(),
        introduction: asked.introduction.clone(),
        notification: asked.notification.clone(),
        face_url: asked.face_url.clone(),
        owner: owner.cloned(),
        created_ms: ctx.now_ms,
        info_seq: 1,
        info_ms: ctx.now_ms,
        members_max,
        join: options(&kind, asked.join(), true),
        invite: options(&kind, asked.invite(), false),
        muted_all: false,
        first_seq: ctx.head,
        attributes_version: 0,
        fields: Fields::default(),
        topics: asked.topics && kind.community,
    };
    let app = key.app();
    let rank = if let Actor::Admin(_) = actor { Rank::App } else { Rank::Owner };
    put_fields(ctx, app, FieldOf::Group, &kind, &mut info.fields, &asked.fields, rank, false)?;

    let mut group = Group::new(GroupRecord::new(key, info), ctx.rules, ctx.head);
    fx.changes.push(Change::Create(Box::new(group.record.info.clone())));
    if let (Some(owner), true) = (owner, kind.stored_members) {
        fx.add(&group, ctx, owner, Role::Owner);
    }
    let added = first_members(ctx, &group, owner, asked, fx)?;
    for change in &fx.changes {
        group.apply(change, ctx.now_ms);
    }
    if members_max > 0 && group.member_count() > members_max as usize {
        return Err(Failure::new(code::MEMBERS_MAX, format!("the group has at most {members_max} members")));
    }
    if let Some(owner) = owner {
        fx.notice(&group, owner, notice(NoticeKind::Created, actor, ""));
    }
    if !added.is_empty() && group.is_active() {
        for user in &added {
            fx.notice(&group, user, notice(NoticeKind::Invited, actor, ""));
        }
        let total = group.member_count();
        let invited = tip(TipKind::Invited, actor, &added);
        if kind.change_tips {
            fx.tip(&group, Tip { member_count: count(total), ..invited });
        }
    }
    Ok(group)
}

fn first_members(
    ctx: &Ctx<'_>,
    group: &Group,
    owner: Option<&UserKey>,
    asked: &GroupCreate,
    fx: &mut Effects,
) -> Result<Vec<UserKey>, Failure> {
    if asked.members.is_empty() {
        return Ok(Vec::new());
    }
    if !group.kind.stored_members {
        return Err(denied("members of a live room join on their own"));
    }
    if asked.members.len() > MEMBERS_MAX {
        return Err(Failure::new(code::TOO_MANY_ACCOUNTS, "a new group is given at most 100 members"));
    }
    let (app, mut seen, mut added) = (group.key().app(), BTreeSet::new(), Vec::new());
    for wanted in &asked.members {
        let user = UserKey::new(app, &wanted.user).ok().filter(|user| ctx.people.contains_key(user));
        let Some(user) = user else {
            return Err(Failure::new(code::NO_ACCOUNT, "one of the members does not exist"));
        };
        if Some(&user) == owner || !seen.insert(user.clone()) {
            continue;
        }
        if ctx.has_no_room(&user) {
            return Err(Failure::new(
                code::JOINED_TOO_MANY,
                "one of the members is in as many groups as they may",
            ));
        }
        if wanted.admin && !group.kind.admins {
            return Err(denied("groups of this type have no administrators"));
        }
        fx.add(group, ctx, &user, if wanted.admin { Role::Admin } else { Role::Member });
        member_fields(ctx, group, &wanted.fields, fx)?;
        added.push(user);
    }
    Ok(added)
}

/// Puts fields into the row that was pushed last.
fn member_fields(
    ctx: &Ctx<'_>,
    group: &Group,
    fields: &[GroupField],
    fx: &mut Effects,
) -> Result<(), Failure> {
    let (app, kind) = (group.key().app(), &group.kind);
    match fx.changes.last_mut() {
        Some(Change::PutMember(_, member)) => {
            put_fields(ctx, app, FieldOf::Member, kind, &mut member.fields, fields, Rank::Owner, false)
        }
        _ => Ok(()),
    }
}

/// The option of a new group: what was asked for where the type leaves a choice.
fn options(kind: &GroupType, asked: GroupJoinOption, joining: bool) -> JoinOption {
    let (fixed, default) = match joining {
        true => (kind.joining != Joining::Option, kind.join_default),
        false => (kind.invite_fixed, kind.invite_default),
    };
    if fixed { default } else { join_option(asked).unwrap_or(default) }
}
