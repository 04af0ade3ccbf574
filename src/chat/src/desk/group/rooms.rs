//! Requests about live rooms, whose members are in memory: nothing of them is written.

use std::sync::PoisonError;

use nearport_wire::Class;
use nearport_wire::body::{self, GroupMember, GroupMembers, GroupRole, Tip, element};
use nearport_wire::code::group as code;

use super::told::Crossed;
use super::turn::{SystemMessage, Turn, to_group};
use crate::desk::Caller;
use crate::downs::Downs;
use crate::group::{self, Group, gone};
use crate::key::{GroupKey, UserKey};
use crate::reply::Failure;
use crate::room::{Coming, JoinRefused, Member, Saying, Settings};

/// Messages in a second if the group is a live room; `None`: it is another group.
pub(super) fn rate(turn: &Turn<'_>, key: &GroupKey) -> Result<Option<u32>, Failure> {
    let group = turn.find(key)?.ok_or_else(gone)?;
    let group = group.read().unwrap_or_else(PoisonError::into_inner);
    Ok((!group.kind().stored_members).then(|| group.kind().messages_per_s))
}

/// The session of `caller` joins. A second time is answered alike, so that a client that had no answer may ask again.
pub(super) fn join(
    turn: &mut Turn<'_>,
    caller: &Caller,
    key: &GroupKey,
    rate_per_s: u32,
    out: &mut Downs,
) -> Result<body::LiveJoined, Failure> {
    let (user, seat) = (caller.user(code::BAD_PARAMETER)?, caller.seat(code::BAD_PARAMETER)?);
    let group = turn.find(key)?.ok_or_else(gone)?;
    let kind = {
        let group = group.read().unwrap_or_else(PoisonError::into_inner);
        if caller.is_guest() && !group.kind().guests {
            return Err(Failure::new(code::NO_PERMISSION, "groups of this type have no guests"));
        }
        group.check_join(user, turn.now_ms)?;
        group.kind().name
    };
    let last_n = turn.shared.settings(key.app()).config.live_last_n;
    let settings = Settings { rate_per_s, last_n };
    let member = Member { user: user.clone(), session: seat.session, link: seat.link };
    let joined = {
        let mut registry = turn.shared.registry();
        turn.shared.rooms.join(&mut registry, (key, settings), &member, turn.now_ms, out)
    };
    let crossed = match &joined {
        Ok((_, Coming::New)) => Some(Crossed::Came),
        Ok((_, Coming::Back)) => Some(Crossed::CameBack),
        Ok((_, Coming::Known)) | Err(_) => None,
    };
    // Guests are counted and not named.
    if let Some(crossed) = crossed.filter(|_| !caller.is_guest()) {
        turn.tell_back_end(caller, key, |telling| telling.crossed(kind, crossed, user));
    }
    joined.map(|(joined, _)| joined).map_err(|refused| match refused {
        // Nobody hears this answer.
        JoinRefused::Gone => Failure::new(code::INTERNAL, "the session has ended"),
        JoinRefused::TooMany => {
            Failure::new(code::JOINED_TOO_MANY, "this session is in as many live rooms as it may")
        }
    })
}

/// `caller` leaves, with all devices.
pub(super) fn quit(
    turn: &mut Turn<'_>,
    caller: &Caller,
    key: &GroupKey,
    out: &mut Downs,
) -> Result<(), Failure> {
    let user = caller.user(code::BAD_PARAMETER)?;
    let (owner_stays, kind) = turn.look(caller, key, |group, _| {
        let owner = group.info().owner.as_ref() == Some(user);
        Ok((!group.kind().owner_may_quit && owner, group.kind().name))
    })?;
    if owner_stays {
        let info = "the owner may not quit: dismiss the room, or just end the session";
        return Err(Failure::new(code::OWNER_MAY_NOT_QUIT, info));
    }
    match turn.shared.rooms.leave(key, user, turn.now_ms, out) {
        true => {
            if !caller.is_guest() {
                turn.tell_back_end(caller, key, |telling| telling.crossed(kind, Crossed::Quit, user));
            }
            Ok(())
        }
        false => Err(Failure::new(code::NO_PERMISSION, "you are not a member")),
    }
}

/// Who joined last; of so many the others are a number. Or those who are named, as far as they are in the room.
pub(super) fn members(
    turn: &Turn<'_>,
    caller: &Caller,
    asked: &body::GroupMembersPage,
    key: &GroupKey,
) -> Result<GroupMembers, Failure> {
    let rooms = &turn.shared.rooms;
    turn.look(caller, key, |group, ctx| {
        group.may_read(caller.actor(), ctx.present)?;
        let mut shown = match asked.users.is_empty() {
            true => rooms.latest(key),
            false => group.named(&asked.users, group::NAMED_PAGE_MAX)?,
        };
        shown.retain(|user| asked.users.is_empty() || rooms.is_in(key, user));
        let wanted: Vec<_> = asked.roles().filter(|role| *role != GroupRole::None).collect();
        let role = |user: &UserKey| match group.info().owner.as_ref() == Some(user) {
            true => GroupRole::Owner,
            false => GroupRole::Member,
        };
        shown.retain(|user| wanted.is_empty() || wanted.contains(&role(user)));
        let latest = shown.into_iter().map(|user| GroupMember {
            role: role(&user).into(),
            muted_until_s: group.muted_until_s(&user, ctx.now_s()),
            user: user.name().to_owned(),
            ..GroupMember::default()
        });
        Ok(GroupMembers { members: latest.collect(), next: String::new(), total: rooms.online(key) })
    })
}

/// What an operation on the group means for who is in the room: users who were banned leave, tips are said.
pub(super) fn tell(
    turn: &mut Turn<'_>,
    (caller, group): (&Caller, &Group),
    left: &[UserKey],
    tips: Vec<Tip>,
    out: &mut Downs,
) {
    let (key, kind) = (group.key(), group.kind().name);
    let (rooms, time_ms) = (&turn.shared.rooms, turn.now_ms);
    for user in left {
        if rooms.leave(key, user, time_ms, out) && !user.is_guest() {
            turn.tell_back_end(caller, key, |telling| telling.crossed(kind, Crossed::Banned, user));
        }
    }
    for tip in tips {
        let said = turn.system_says(key, to_group(key), element::Element::Tip(tip));
        let Some(SystemMessage { sender, client_msg_id, message }) = said else { return };
        let delivery = body::Delivery { message: Some(message), time_ms, ..body::Delivery::default() };
        // Not exempt from the rate: any user may have a room and edit it all day.
        let saying = Saying { from: &sender, class: Class::System, exempt: false, client_msg_id, delivery };
        rooms.say(key, saying, time_ms, out);
    }
}
