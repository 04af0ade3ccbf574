//! Where the groups of a user stand: one question at login instead of one for each group.

use std::collections::BTreeSet;

use nearport_wire::body::{GroupHead, GroupHeads, GroupHeadsCall};
use nearport_wire::code::group as code;

use super::turn::Turn;
use super::unreadable;
use crate::desk::Caller;
use crate::group::Role;
use crate::key::{ConvKey, GroupKey, UserKey};
use crate::ledger::{CursorName, Heads, LedgerError, Span};
use crate::reply::Failure;

/// Groups that a device may name: nobody is in more by far.
const NAMED_MAX: usize = 10_000;

/// So many messages of a group at most that were not read are looked at, to leave out those of the caller's own.
const OWN_LOOKED_AT: u64 = 30;

/// The same in all groups of one answer.
const OWN_LOOKED_AT_IN_ALL: u64 = 1_000;

/// Topics of one answer, which says so if there are more. Of those a device knows nothing until it asks for a community's.
const TOPICS_MAX: usize = 1_000;

/// So many topics of one answer at most are looked up in time: where they stood when the user joined the community. Of others that
/// the device knows nothing of, nothing is unread.
const LOOKED_UP_MAX: usize = 500;

/// A group that the user is in, or a topic of one.
struct Item {
    key: GroupKey,
    info_seq: u64,
    /// Messages up to here belong to an earlier one of the same id.
    first_seq: u64,
    /// Newest message when the user joined; of a topic it is looked up.
    joined: Joined,
    /// It shows to its owner alone until it has a message.
    hides: bool,
    /// It shows messages from before one joined.
    history: bool,
    counted: bool,
    receives: bool,
}

enum Joined {
    Seq(u64),
    /// A topic that was there when the user joined, at this time in milliseconds.
    Time(u64),
}

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
    let (items, topics_cut) = items_of(turn, user)?;
    let convs: Vec<_> = items.iter().map(|item| item.key.conv()).collect();
    let ledger = &turn.shared.ledger;
    let heads = ledger.heads(&convs).map_err(|error| unread(&error))?;
    let names =
        |conv: &ConvKey| [CursorName::Shown((**device).into(), conv.clone()), CursorName::Read(conv.clone())];
    let names: Vec<_> = convs.iter().flat_map(names).collect();
    let cursors = ledger.cursors(user, &names).map_err(|error| unread(&error))?;
    let (mut found, mut spans) = (Vec::with_capacity(items.len()), Vec::new());
    let (mut looked_at, mut looked_up) = (0, 0);
    for (((item, conv), head), cursors) in items.iter().zip(convs).zip(heads).zip(cursors.chunks(2)) {
        if item.hides && head.seq <= item.first_seq {
            continue;
        }
        let [shown, read] = [0, 1].map(|at| cursors.get(at).copied().flatten());
        let joined = match item.joined {
            Joined::Seq(seq) => seq,
            // Whoever has read something and shown something needs no other place to begin at.
            Joined::Time(_) if read.is_some() && shown.is_some() || head.seq <= item.first_seq => {
                item.first_seq
            }
            // Nothing was said since.
            Joined::Time(time_ms) if head.time_ms <= time_ms => head.seq,
            Joined::Time(_) if looked_up >= LOOKED_UP_MAX => head.seq,
            Joined::Time(time_ms) => {
                looked_up += 1;
                ledger.seq_at(&conv, time_ms + 1).map_err(|error| unread(&error))?.saturating_sub(1)
            }
        };
        let read = read.unwrap_or_default();
        let history_after = if item.history { item.first_seq } else { item.first_seq.max(joined) };
        // What was trimmed nobody can read any more.
        let from = read.max(joined).max(item.first_seq).max(head.floor);
        let unread = if item.counted { head.seq.saturating_sub(from) } else { 0 };
        if unread > 0 {
            let own = unread <= OWN_LOOKED_AT && looked_at + unread <= OWN_LOOKED_AT_IN_ALL;
            looked_at += if own { unread } else { 0 };
            spans.push((found.len(), Span { conv, first: from + 1, last: head.seq, own }));
        }
        found.push(GroupHead {
            group: item.key.id().to_owned(),
            seq: head.seq,
            edit: head.edit,
            read,
            unread,
            time_ms: head.time_ms,
            info_seq: item.info_seq,
            history_after,
            known: shown.is_some(),
            shown: shown.unwrap_or_default(),
            joined: item.first_seq.max(joined),
            discarded: !item.receives,
        });
    }
    let mut items = found;
    let (places, spans): (Vec<_>, Vec<_>) = spans.into_iter().unzip();
    let uncounted = ledger.uncounted(user, &spans).map_err(|error| unread(&error))?;
    for (place, uncounted) in places.into_iter().zip(uncounted) {
        let item: &mut GroupHead = &mut items[place];
        item.unread = item.unread.saturating_sub(uncounted);
    }
    let known: BTreeSet<_> = items.iter().map(|item| item.group.as_str()).collect();
    let gone = asked.items.iter().map(|item| &item.group).filter(|group| !known.contains(group.as_str()));
    let gone = gone.cloned().collect();
    Ok(GroupHeads { items, gone, topics_cut })
}

/// The groups of a user, and the topics of those that are communities; and whether there are more topics than these.
fn items_of(turn: &Turn<'_>, user: &UserKey) -> Result<(Vec<Item>, bool), Failure> {
    let (directory, types) = (&turn.shared.directory, &turn.shared.groups.rules().types);
    let joined = directory.groups_of(std::slice::from_ref(user)).map_err(|error| unreadable(&error))?;
    // Most users are in none, and everybody asks at login. A type that was taken out of the configuration may have been one.
    let is_community = |kind: &str| types.find(kind).is_none_or(|kind| kind.community);
    let mut topics = match joined.iter().flatten().any(|joined| is_community(&joined.kind)) {
        true => directory.topics_of(user, TOPICS_MAX + 1).map_err(|error| unreadable(&error))?,
        false => Vec::new(),
    };
    let cut = topics.len() > TOPICS_MAX;
    topics.truncate(TOPICS_MAX);
    let groups = joined.into_iter().flatten().map(|joined| {
        let kind = types.find(&joined.kind);
        let hides = kind.as_ref().is_some_and(|kind| kind.hidden_until_message);
        Item {
            key: joined.group,
            info_seq: joined.info_seq,
            first_seq: joined.first_seq,
            joined: Joined::Seq(joined.joined_seq),
            hides: hides && joined.owned && joined.role != Role::Owner,
            history: kind.as_ref().is_some_and(|kind| kind.history_before_joining),
            counted: kind.is_none_or(|kind| kind.unread),
            receives: joined.receives,
        }
    });
    let topics = topics.into_iter().map(|topic| Item {
        key: topic.topic,
        info_seq: topic.info_seq,
        first_seq: topic.first_seq,
        joined: match topic.created_ms < topic.joined_ms {
            true => Joined::Time(topic.joined_ms),
            false => Joined::Seq(topic.first_seq),
        },
        hides: false,
        history: true,
        counted: true,
        receives: topic.receives,
    });
    Ok((groups.chain(topics).collect(), cut))
}

/// Where the conversations of groups stand, in the order of `keys`.
pub(super) fn newest(turn: &Turn<'_>, keys: &[GroupKey]) -> Result<Vec<Heads>, Failure> {
    let convs: Vec<_> = keys.iter().map(GroupKey::conv).collect();
    turn.shared.ledger.heads(&convs).map_err(|error| unread(&error))
}

pub(super) fn unread(error: &LedgerError) -> Failure {
    tracing::error!(%error, "cannot read heads of groups");
    Failure::later(code::INTERNAL, "the store cannot be read, try again", 1000)
}
