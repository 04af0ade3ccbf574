//! Where the groups of a user stand: one question at login instead of one for each group.

use std::collections::BTreeSet;

use nearport_wire::body::{GroupHead, GroupHeads, GroupHeadsCall};
use nearport_wire::code::group as code;

use super::turn::Turn;
use super::unreadable;
use crate::desk::Caller;
use crate::group::Role;
use crate::key::GroupKey;
use crate::ledger::{CursorName, Heads, LedgerError};
use crate::reply::Failure;

/// Groups that a device may name: nobody is in more by far.
const NAMED_MAX: usize = 10_000;

/// Where all groups are that the caller is in, and which of those that the device has it is not in any more.
pub(super) fn answer(
    turn: &Turn<'_>,
    caller: &Caller,
    asked: &GroupHeadsCall,
) -> Result<GroupHeads, Failure> {
    if asked.items.len() > NAMED_MAX {
        return Err(Failure::new(code::PAGE, "too many groups are named"));
    }
    let user = &caller.user;
    let joined = turn.shared.directory.groups_of(std::slice::from_ref(user));
    let joined: Vec<_> = joined.map_err(|error| unreadable(&error))?.into_iter().flatten().collect();
    let convs: Vec<_> = joined.iter().map(|joined| joined.group.conv()).collect();
    let (ledger, types) = (&turn.shared.ledger, &turn.shared.groups.rules().types);
    let heads = ledger.heads(&convs).map_err(|error| unread(&error))?;
    let mut items = Vec::with_capacity(joined.len());
    for ((joined, conv), head) in joined.iter().zip(convs).zip(heads) {
        let kind = types.find(&joined.kind);
        let hides = kind.as_ref().is_some_and(|kind| kind.hidden_until_message);
        if hides && joined.owned && joined.role != Role::Owner && head.seq <= joined.first_seq {
            continue;
        }
        let cursor = |name: &CursorName| ledger.cursor(user, name).map_err(|error| unread(&error));
        let shown = cursor(&CursorName::Shown((*caller.device).into(), conv.clone()))?.unwrap_or_default();
        let read = cursor(&CursorName::Read(conv))?.unwrap_or_default();
        let before = kind.as_ref().is_some_and(|kind| kind.history_before_joining);
        let history_after = if before { joined.first_seq } else { joined.first_seq.max(joined.joined_seq) };
        let counted = kind.is_none_or(|kind| kind.unread);
        let unread = head.seq.saturating_sub(read.max(joined.joined_seq).max(joined.first_seq));
        items.push(GroupHead {
            group: joined.group.id().to_owned(),
            seq: head.seq,
            edit: head.edit,
            read,
            unread: if counted { unread } else { 0 },
            time_ms: head.time_ms,
            info_seq: joined.info_seq,
            history_after,
            shown,
            joined: joined.first_seq.max(joined.joined_seq),
        });
    }
    let known: BTreeSet<_> = items.iter().map(|item| item.group.as_str()).collect();
    let gone = asked.items.iter().map(|item| &item.group).filter(|group| !known.contains(group.as_str()));
    let gone = gone.cloned().collect();
    Ok(GroupHeads { items, gone })
}

/// Where the conversations of groups stand, in the order of `keys`.
pub(super) fn newest(turn: &Turn<'_>, keys: &[GroupKey]) -> Result<Vec<Heads>, Failure> {
    let convs: Vec<_> = keys.iter().map(GroupKey::conv).collect();
    turn.shared.ledger.heads(&convs).map_err(|error| unread(&error))
}

fn unread(error: &LedgerError) -> Failure {
    tracing::error!(%error, "cannot read heads of groups");
    Failure::later(code::INTERNAL, "the store cannot be read, try again", 1000)
}
