//! What back ends bring over from other systems.

use nearport_wire::body::{GroupCreate, GroupInvited, GroupTopicCreate, group_answer::Answer};
use nearport_wire::code::group as code;

use super::calls::{Answered, create, named};
use super::topics;
use super::turn::Turn;
use crate::desk::Caller;
use crate::group::NewMember;
use crate::key::GroupKey;
use crate::reply::Failure;

/// Something to be imported.
pub(crate) enum Import {
    /// A group that has existed since then, milliseconds.
    Group(Box<GroupCreate>, u64),
    /// A topic of a community that has existed since then, milliseconds.
    Topic(Box<GroupTopicCreate>, u64),
    /// Members of a group.
    Members(GroupKey, Vec<NewMember>),
}

/// Carries out an import.
pub(super) fn answer(turn: &mut Turn<'_>, caller: &Caller, import: Import) -> Answered {
    match import {
        Import::Group(asked, created_ms) => {
            if created_ms > turn.now_ms {
                return Err(Failure::new(code::BAD_PARAMETER, "CreateTime is in the future"));
            }
            create(turn, caller, &asked, Some(created_ms))
        }
        Import::Topic(asked, created_ms) => {
            let community = GroupKey::new(caller.app, &asked.group)
                .map_err(|error| Failure::new(code::BAD_ID, format!("the group's id: {error}")))?;
            topics::create(turn, caller, &community, &asked, Some(created_ms))
        }
        Import::Members(key, members) => {
            let people = named(turn, caller.app, members.iter().map(|member| &member.name))?;
            let (items, after) = turn
                .change(caller, &key, &people, |group, ctx, _, fx| group.import_members(ctx, &members, fx))?;
            Ok((Answer::Invited(GroupInvited { items }), after))
        }
    }
}
