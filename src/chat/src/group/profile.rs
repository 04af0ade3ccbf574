//! The profile: who reads and changes it.

use nearport_wire::body::{GroupEdit, GroupField, GroupJoinOption, Tip, TipChange, group_event};
use nearport_wire::code::group as code;

use super::effects::{Effects, TipKind, count, tip};
use super::record::{Change, Fields, GroupInfo, JoinOption};
use super::rules::FieldOf;
use super::state::{Ctx, Group, bad, denied};
use super::types::{GroupType, Joining, Rank};
use crate::actor::Actor;
use crate::key::AppId;
use crate::reply::Failure;
use crate::text::{BadText, check_label, check_line, check_text};

/// Bytes of the public contract.
const NAME_BYTES_MAX: usize = 30;
const INTRODUCTION_BYTES_MAX: usize = 240;
const NOTIFICATION_BYTES_MAX: usize = 300;
const FACE_BYTES_MAX: usize = 100;
const GROUP_FIELD_BYTES_MAX: usize = 512;
const MEMBER_FIELD_BYTES_MAX: usize = 64;

impl Group {
    /// Whether `actor` may read the profile.
    ///
    /// # Errors
    /// 10010, 10007.
    pub(crate) fn may_read(&self, actor: Actor<'_>, present: bool) -> Result<(), Failure> {
        self.visible(actor)?;
        if self.rank(actor, present) == Rank::Anyone && !self.kind.find_by_id {
            return Err(denied("groups of this type are known to their members only"));
        }
        Ok(())
    }

    /// The fields of the group that `actor` may read.
    pub(crate) fn readable_fields(&self, ctx: &Ctx<'_>, actor: Actor<'_>) -> Vec<GroupField> {
        let rank = self.rank(actor, ctx.present);
        readable(ctx, self.key().app(), FieldOf::Group, &self.kind, &self.record.info.fields, rank, false)
    }

    /// Changes the profile.
    pub(crate) fn edit(
        &self,
        ctx: &Ctx<'_>,
        actor: Actor<'_>,
        asked: &GroupEdit,
        fx: &mut Effects,
    ) -> Result<(), Failure> {
        self.visible(actor)?;
        let rank = self.rank(actor, ctx.present);
        if rank == Rank::Anyone {
            return Err(denied("only members change the group"));
        }
        let mut info = self.record.info.clone();
        let mut changes = Vec::new();
        check_profile(
            asked.name.as_deref(),
            asked.introduction.as_deref(),
            asked.notification.as_deref(),
            asked.face_url.as_deref(),
        )?;
        let texts = [
            ("Name", &asked.name, &mut info.name),
            ("Introduction", &asked.introduction, &mut info.introduction),
            ("Notification", &asked.notification, &mut info.notification),
            ("FaceUrl", &asked.face_url, &mut info.face_url),
        ];
        for (what, wanted, value) in texts {
            let Some(wanted) = wanted else { continue };
            if rank < self.kind.edit_info {
                return Err(denied("you may not change the profile of this group"));
            }
            if value != wanted {
                value.clone_from(wanted);
                changes.push(change(what, wanted));
            }
        }
        self.edit_options(rank, asked, &mut info, &mut changes)?;
        if !asked.fields.is_empty() {
            let app = self.key().app();
            put_fields(ctx, app, FieldOf::Group, &self.kind, &mut info.fields, &asked.fields, rank, false)?;
            for field in &asked.fields {
                if info.fields.0.get(&field.key) != self.record.info.fields.0.get(&field.key) {
                    // A value is bytes; those that are no text show as having changed.
                    let value = std::str::from_utf8(&field.value).unwrap_or_default();
                    changes.push(change(&field.key, value));
                }
            }
        }
        if info == self.record.info {
            return Ok(());
        }
        self.put_info(ctx, info, fx);
        if !changes.is_empty() {
            fx.tip(
                self,
                Tip { changes, member_count: count(self.member_count()), ..tip(TipKind::Info, actor, &[]) },
            );
        }
        Ok(())
    }

    fn edit_options(
        &self,
        rank: Rank,
        asked: &GroupEdit,
        info: &mut GroupInfo,
        changes: &mut Vec<TipChange>,
    ) -> Result<(), Failure> {
        let (join, invite) = (join_option(asked.join()), join_option(asked.invite()));
        if join.is_none() && invite.is_none() && asked.members_max.is_none() && asked.muted_all.is_none() {
            return Ok(());
        }
        if rank < Rank::Admin {
            return Err(denied("only owner and administrators change options of the group"));
        }
        // Where the type leaves no choice the option means nothing, and setting it is no mistake: an App sets it for all.
        if let (Some(join), Joining::Option) = (join, self.kind.joining) {
            if info.join != join {
                changes.push(change("ApplyJoinOption", option_name(join, "DisableApply")));
            }
            info.join = join;
        }
        if let (Some(invite), false) = (invite, self.kind.invite_fixed) {
            if info.invite != invite {
                changes.push(change("InviteJoinOption", option_name(invite, "DisableInvite")));
            }
            info.invite = invite;
        }
        if let Some(members_max) = asked.members_max {
            let most = self.kind.members_max;
            // A live room has no limit, whatever is asked for.
            if most > 0 {
                if members_max == 0 || members_max > most {
                    return Err(Failure::new(
                        code::MEMBERS_MAX,
                        format!("groups of this type have 1 to {most} members"),
                    ));
                }
                info.members_max = members_max;
            }
        }
        if let Some(muted) = asked.muted_all {
            if !rank.has(self.kind.mute) {
                return Err(denied("you may not mute the members of this group"));
            }
            if info.muted_all != muted {
                changes.push(change("ShutUpAllMember", if muted { "On" } else { "Off" }));
            }
            info.muted_all = muted;
        }
        Ok(())
    }

    /// The profile is `info` now, with the next number.
    pub(super) fn put_info(&self, ctx: &Ctx<'_>, info: GroupInfo, fx: &mut Effects) {
        let info = GroupInfo { info_seq: self.record.info.info_seq + 1, info_ms: ctx.now_ms, ..info };
        fx.changes.push(Change::Info(Box::new(info)));
        fx.event = Some(group_event::What::Info);
    }
}

pub(super) fn change(field: &str, value: &str) -> TipChange {
    TipChange { field: field.to_owned(), value: value.to_owned() }
}

fn option_name(option: JoinOption, closed: &'static str) -> &'static str {
    match option {
        JoinOption::Free => "FreeAccess",
        JoinOption::Approval => "NeedPermission",
        JoinOption::Closed => closed,
    }
}

/// What the wire says; `None`: nothing.
pub(super) fn join_option(asked: GroupJoinOption) -> Option<JoinOption> {
    match asked {
        GroupJoinOption::GroupJoinDefault => None,
        GroupJoinOption::GroupJoinFree => Some(JoinOption::Free),
        GroupJoinOption::GroupJoinApproval => Some(JoinOption::Approval),
        GroupJoinOption::GroupJoinClosed => Some(JoinOption::Closed),
    }
}

/// The same the other way.
pub(crate) fn join_option_body(option: JoinOption) -> GroupJoinOption {
    match option {
        JoinOption::Free => GroupJoinOption::GroupJoinFree,
        JoinOption::Approval => GroupJoinOption::GroupJoinApproval,
        JoinOption::Closed => GroupJoinOption::GroupJoinClosed,
    }
}

/// Checks the texts of a profile.
pub(super) fn check_profile(
    name: Option<&str>,
    introduction: Option<&str>,
    notification: Option<&str>,
    face_url: Option<&str>,
) -> Result<(), Failure> {
    type Check = fn(&str, usize) -> Result<(), BadText>;
    let texts: [(&str, Option<&str>, usize, Check); 4] = [
        ("name", name, NAME_BYTES_MAX, check_label),
        ("introduction", introduction, INTRODUCTION_BYTES_MAX, check_text),
        ("notification", notification, NOTIFICATION_BYTES_MAX, check_text),
        ("face_url", face_url, FACE_BYTES_MAX, check_line),
    ];
    for (what, text, max, check) in texts {
        if let Some(text) = text {
            check(text, max).map_err(|error| bad(format!("{what} {error}")))?;
        }
    }
    Ok(())
}

/// Puts `asked` into `fields`, as far as `rank` may and the operator has declared.
#[expect(clippy::too_many_arguments, reason = "two callers; a struct would only name them twice")]
pub(super) fn put_fields(
    ctx: &Ctx<'_>,
    app: AppId,
    of: FieldOf,
    kind: &GroupType,
    fields: &mut Fields,
    asked: &[GroupField],
    rank: Rank,
    own: bool,
) -> Result<(), Failure> {
    if !asked.is_empty() && of == FieldOf::Member && !kind.member_fields {
        return Err(denied("members of this type of group have no custom fields"));
    }
    for GroupField { key, value } in asked {
        let Some(rule) = ctx.rules.field(app, of, kind.name, key) else {
            return Err(bad("a custom field of this key is not declared"));
        };
        if rank < rule.write && !(own && rule.own) {
            return Err(denied("you may not write this custom field"));
        }
        let max = if of == FieldOf::Group { GROUP_FIELD_BYTES_MAX } else { MEMBER_FIELD_BYTES_MAX };
        if value.len() > max {
            return Err(bad(format!("values of custom fields have at most {max} bytes")));
        }
        match value.is_empty() {
            true => fields.0.remove(key),
            false => fields.0.insert(key.clone(), value.clone()),
        };
    }
    Ok(())
}

/// The fields that `rank` may read.
pub(super) fn readable(
    ctx: &Ctx<'_>,
    app: AppId,
    of: FieldOf,
    kind: &GroupType,
    fields: &Fields,
    rank: Rank,
    own: bool,
) -> Vec<GroupField> {
    let may = |key: &str| {
        ctx.rules.field(app, of, kind.name, key).is_some_and(|rule| rank >= rule.read || (own && rule.own))
    };
    let readable = fields.0.iter().filter(|(key, _)| may(key));
    readable.map(|(key, value)| GroupField { key: key.clone(), value: value.clone() }).collect()
}
