//! Where the groups of a user stand: one question at login instead of one for each group.

use std::collections::BTreeSet;

use nearport_wire::body::{GroupHead, GroupHeads, GroupHeadsCall};
use nearport_wire::code::group as code;

use super::turn::Turn;
use super::unreadable;
use crate::desk::Caller;
use crate::group::Role;
use crate::key::{ConvKey, GroupKey};
use crate::ledger::{CursorName, Heads, LedgerError, Span};
use crate::reply::Failure;

/// Groups that a device may name: nobody is in more by far.
const NAMED_MAX: usize = 10_000;

/// So many messages of a group at most that were not read are looked at, to leave out those of the caller's own.
const OWN_LOOKED_AT: u64 = 30;

/// The same in all groups of one answer.
const OWN_LOOKED_AT_IN_ALL: u64 = 1_000;

/// Where all groups are that the caller is in, and which of those that the device has it is not in any more.
pub(super) fn answer(
    turn: &Turn<'_>,
    caller: &Caller,
    asked: &GroupHeadsCall,
) -> Result<GroupHeads, Failure> {
    if asked.items.len() > NAMED_MAX {
        return Err(Failure::new(code::PAGE, "too many groups are named"));
    }
    let user = caller.user(code::BAD_PARAMETER)?;
    let device = &caller.seat(code::BAD_PARAMETER)?.device;
    let joined = turn.shared.directory.groups_of(std::slice::from_ref(user));
    let joined: Vec<_> = joined.map_err(|error| unreadable(&error))?.into_iter().flatten().collect();
    let convs: Vec<_> = joined.iter().map(|joined| joined.group.conv()).collect();
    let (ledger, types) = (&turn.shared.ledger, &turn.shared.groups.rules().types);
    let heads = ledger.heads(&convs).map_err(|error| unread(&error))?;
    let names =
        |conv: &ConvKey| [CursorName::Shown((**device).into(), conv.clone()), CursorName::Read(conv.clone())];
    let names: Vec<_> = convs.iter().flat_map(names).collect();
    let cursors = ledger.cursors(user, &names).map_err(|error| unread(&error))?;
    let (mut items, mut spans) = (Vec::with_capacity(joined.len()), Vec::new());
    let mut looked_at = 0;
    for (((joined, conv), head), cursors) in joined.iter().zip(convs).zip(heads).zip(cursors.chunks(2)) {
        let kind = types.find(&joined.kind);
        let hides = kind.as_ref().is_some_and(|kind| kind.hidden_until_message);
        if hides && joined.owned && joined.role != Role::Owner && head.seq <= joined.first_seq {
            continue;
        }
        let [shown, read] = [0, 1].map(|at| cursors.get(at).copied().flatten());
        let read = read.unwrap_or_default();
        let before = kind.as_ref().is_some_and(|kind| kind.history_before_joining);
        let history_after = if before { joined.first_seq } else { joined.first_seq.max(joined.joined_seq) };
        let counted = kind.is_none_or(|kind| kind.unread);
        // What was trimmed nobody can read any more.
        let from = read.max(joined.joined_seq).max(joined.first_seq).max(head.floor);
        let unread = if counted { head.seq.saturating_sub(from) } else { 0 };
        if unread > 0 {
            let own = unread <= OWN_LOOKED_AT && looked_at + unread <= OWN_LOOKED_AT_IN_ALL;
            looked_at += if own { unread } else { 0 };
            spans.push((items.len(), Span { conv, first: from + 1, last: head.seq, own }));
        }
        items.push(GroupHead {
            group: joined.group.id().to_owned(),
            seq: head.seq,
            edit: head.edit,
            read,
            unread,
            time_ms: head.time_ms,
            info_seq: joined.info_seq,
            history_after,
            known: shown.is_some(),
            shown: shown.unwrap_or_default(),
            joined: joined.first_seq.max(joined.joined_seq),
            discarded: !joined.receives,
        });
    }
    let (places, spans): (Vec<_>, Vec<_>) = spans.into_iter().unzip();
    let uncounted = ledger.uncounted(user, &spans).map_err(|error| unread(&error))?;
    for (place, uncounted) in places.into_iter().zip(uncounted) {
        let item: &mut GroupHead = &mut items[place];
        item.unread = item.unread.saturating_sub(uncounted);
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
