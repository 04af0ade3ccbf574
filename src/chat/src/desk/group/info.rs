//! The profile of a group, as it is told.

use nearport_wire::body;

use crate::actor::Actor;
use crate::group::{self, Ctx, Group};
use crate::ledger::Heads;
use crate::shared::Shared;

/// The profile as `actor` sees it. `newest`: where the conversation of the group stands.
pub(crate) fn info(
    shared: &Shared,
    group: &Group,
    ctx: &Ctx<'_>,
    actor: Actor<'_>,
    newest: Heads,
) -> body::GroupInfo {
    let info = group.info();
    body::GroupInfo {
        group: group.key().id().to_owned(),
        error: 0,
        r#type: info.kind.clone(),
        name: info.name.clone(),
        introduction: info.introduction.clone(),
        notification: info.notification.clone(),
        face_url: info.face_url.clone(),
        owner: info.owner.as_ref().map(|owner| owner.name().to_owned()).unwrap_or_default(),
        created_ms: info.created_ms,
        info_seq: info.info_seq,
        info_ms: info.info_ms,
        last_message_ms: if newest.seq > info.first_seq { newest.time_ms } else { 0 },
        next_seq: newest.seq + 1,
        members: match group.kind().stored_members {
            true => u32::try_from(group.member_count()).unwrap_or(u32::MAX),
            false => shared.rooms.online(group.key()),
        },
        members_max: info.members_max,
        join: group::join_option_body(info.join).into(),
        invite: group::join_option_body(info.invite).into(),
        muted_all: info.muted_all,
        topics: info.topics,
        fields: group.readable_fields(ctx, actor),
        own: actor.user().and_then(|user| group.own(user, ctx.now_ms)),
    }
}
