//! Requests about live rooms, whose members are in memory: nothing of them is written.

use std::sync::PoisonError;

use nearport_wire::Class;
use nearport_wire::body::{
    self, Content, Element, GroupMember, GroupMembers, GroupRole, Target, Tip, element, target,
};
use nearport_wire::code::group as code;

use super::turn::{SYSTEM, Turn};
use crate::desk::Caller;
use crate::downs::Downs;
use crate::group::{Actor, gone};
use crate::key::{GroupKey, UserKey};
use crate::reply::Failure;
use crate::room::{JoinRefused, Member, Saying};
use crate::shared::Shared;

/// Messages in a second if the group is a live room; `None`: it is another group.
pub(super) fn rate(turn: &Turn<'_>, key: &GroupKey) -> Result<Option<u32>, Failure> {
    let group = turn.find(key)?.ok_or_else(gone)?;
    let group = group.read().unwrap_or_else(PoisonError::into_inner);
    Ok((!group.kind().stored_members).then(|| group.kind().messages_per_s))
}

/// The session of `caller` joins. A second time is answered alike, so that a client that had no answer may ask again.
pub(super) fn join(
    turn: &Turn<'_>,
    caller: &Caller,
    key: &GroupKey,
    rate_per_s: u32,
    out: &mut Downs,
) -> Result<body::LiveJoined, Failure> {
    let group = turn.find(key)?.ok_or_else(gone)?;
    group.read().unwrap_or_else(PoisonError::into_inner).check_join(&caller.user, turn.now_ms)?;
    let member = Member { user: caller.user.clone(), session: caller.session, link: caller.link };
    let mut registry = turn.shared.registry();
    let joined = turn.shared.rooms.join(&mut registry, (key, rate_per_s), &member, turn.now_ms, out);
    joined.map_err(|refused| match refused {
        // Nobody hears this answer.
        JoinRefused::Gone => Failure::new(code::INTERNAL, "the session has ended"),
        JoinRefused::TooMany => {
            Failure::new(code::JOINED_TOO_MANY, "this session is in as many live rooms as it may")
        }
    })
}

/// `caller` leaves, with all devices.
pub(super) fn quit(turn: &Turn<'_>, caller: &Caller, key: &GroupKey, out: &mut Downs) -> Result<(), Failure> {
    let owner_stays = turn.look(key, |group, _| {
        Ok(!group.kind().owner_may_quit && group.info().owner.as_ref() == Some(&caller.user))
    })?;
    if owner_stays {
        let info = "the owner may not quit: dismiss the room, or just end the session";
        return Err(Failure::new(code::OWNER_MAY_NOT_QUIT, info));
    }
    match turn.shared.rooms.leave(key, &caller.user, turn.now_ms, out) {
        true => Ok(()),
        false => Err(Failure::new(code::NO_PERMISSION, "you are not a member")),
    }
}

/// Who joined last; of so many the others are a number.
pub(super) fn members(turn: &Turn<'_>, caller: &Caller, key: &GroupKey) -> Result<GroupMembers, Failure> {
    let rooms = &turn.shared.rooms;
    turn.look(key, |group, ctx| {
        let present = rooms.is_in(key, &caller.user);
        group.may_read(Actor::User(&caller.user), present)?;
        let latest = rooms.latest(key).into_iter().map(|user| GroupMember {
            role: match group.info().owner.as_ref() == Some(&user) {
                true => GroupRole::Owner.into(),
                false => GroupRole::Member.into(),
            },
            muted_until_s: group.muted_until_s(&user, ctx.now_ms / 1000),
            user: user.name().to_owned(),
            ..GroupMember::default()
        });
        Ok(GroupMembers { members: latest.collect(), next: String::new(), total: rooms.online(key) })
    })
}

/// What an operation on the group means for who is in the room: users who were banned leave, tips are said.
pub(super) fn tell(
    shared: &Shared,
    key: &GroupKey,
    left: &[UserKey],
    tips: Vec<Tip>,
    now_ms: u64,
    out: &mut Downs,
) {
    for user in left {
        shared.rooms.leave(key, user, now_ms, out);
    }
    let Ok(from) = UserKey::new(key.app(), SYSTEM) else { return };
    for tip in tips {
        let mut client_msg_id = [0; 16];
        client_msg_id[..8].copy_from_slice(&now_ms.to_be_bytes());
        client_msg_id[8..].copy_from_slice(&shared.groups.next_number().to_be_bytes());
        let message = body::Message {
            from: SYSTEM.to_owned(),
            to: Some(Target { target: Some(target::Target::Group(key.id().to_owned())) }),
            client_msg_id: client_msg_id.to_vec().into(),
            content: Some(Content {
                elements: vec![Element { element: Some(element::Element::Tip(tip)) }],
                ..Content::default()
            }),
            ..body::Message::default()
        };
        let delivery =
            body::Delivery { message: Some(message), time_ms: now_ms, ..body::Delivery::default() };
        let saying = Saying { from: &from, class: Class::System, exempt: true, client_msg_id, delivery };
        shared.rooms.say(key, saying, now_ms, out);
    }
}
