//! The conversation list.

use std::sync::PoisonError;

use nearport_wire::body::people_answer::Answer;
use nearport_wire::body::people_call::Call;
use nearport_wire::body::{self, Disturb};
use nearport_wire::code;

use super::done;
use crate::directory::DirectoryError;
use crate::directory::conversations::Peer;
use crate::group::Reception;
use crate::kept::Kept;
use crate::key::{ConvKey, ConvKind, GroupKey, UserKey};
use crate::ledger::{CursorName, Heads, LedgerError, PageLimit, Range};
use crate::people::Effects;
use crate::people::conversations::{Known, Settings, Wanted, to_peer, to_peers};
use crate::reply::Failure;
use crate::shared::Shared;

pub(super) fn carry_out(
    shared: &Shared,
    user: &UserKey,
    call: Call,
    now_ms: u64,
    effects: &mut Effects,
) -> Result<Answer, Failure> {
    let people = &*shared.people;
    match call {
        Call::ConversationList(call) => return list(shared, user, call).map(Answer::Conversations),
        Call::ConversationGet(call) => {
            let with = to_peers(user, call.with)?;
            return get(shared, user, &with).map(Answer::Conversations);
        }
        Call::UnreadTotal(_) => {
            let settings = people.conversation_settings(user)?;
            let all = known(shared, user, &settings)?;
            let count = settings.page(all, &Wanted::default()).unread;
            return Ok(Answer::Unread(body::UnreadCount { count }));
        }
        Call::ConversationPin(call) => {
            let with = to_peers(user, call.with)?;
            people.pin_conversations(user, &with, call.pinned, now_ms, effects)?;
        }
        Call::ConversationMark(call) => {
            let with = to_peers(user, call.with)?;
            people.mark_conversations(user, &with, (call.set, call.clear), effects)?;
        }
        Call::ConversationMute(call) => {
            let quiet = call.mute() == Disturb::Quiet;
            let with = to_peers(user, call.with)?;
            people.mute_conversations(user, &with, quiet, effects)?;
        }
        Call::ConversationDraft(call) => {
            let with = to_peer(user, call.with.unwrap_or_default())?;
            people.set_draft(user, &with, &call.text, now_ms, effects)?;
        }
        Call::ConversationDelete(call) => {
            let with = to_peers(user, call.with)?;
            let mut heads = Vec::with_capacity(with.len());
            for peer in with {
                let head = shared.ledger.head(&conv(user, &peer)?).map_err(unreadable)?;
                heads.push((peer, head));
            }
            people.delete_conversations(user, &heads, effects)?;
        }
        Call::ConversationGroupCreate(call) => {
            let with = if call.with.is_empty() { Vec::new() } else { to_peers(user, call.with)? };
            people.create_conversation_group(user, &call.name, &with, effects)?;
        }
        Call::ConversationGroupDelete(call) => people.delete_conversation_group(user, &call.name, effects)?,
        Call::ConversationGroupRename(call) => {
            people.rename_conversation_group(user, (&call.name, &call.new_name), effects)?;
        }
        Call::ConversationGroupMembers(call) => {
            let add = if call.add.is_empty() { Vec::new() } else { to_peers(user, call.add)? };
            // Without any, the call is empty: that is said by the check of the second list.
            let remove = if call.remove.is_empty() && !add.is_empty() {
                Vec::new()
            } else {
                to_peers(user, call.remove)?
            };
            people.set_conversation_group_members(user, &call.name, (&add, &remove), effects)?;
        }
        Call::ConversationGroupList(_) => {
            let settings = people.conversation_settings(user)?;
            let groups = body::ConversationGroups { names: settings.groups, sequence: settings.sequence };
            return Ok(Answer::ConversationGroups(groups));
        }
        _ => return Err(Failure::new(code::UNKNOWN_REQUEST, "this server does not offer it")),
    }
    Ok(done())
}

/// Most conversations in a page. Each has one message of at most 16 KiB, but a page ends before what a client reads.
const PAGE_MAX: u32 = 100;

/// Bytes of last messages after which a page has none: 256 KiB less the rest of 100 conversations.
const LAST_BYTES_MAX: usize = 160 * 1024;

/// Pairs that are looked at for a list. Whoever has more sees the newest among these.
const PAIRS_MAX: usize = 10_000;

/// Pairs read at once.
const PAIRS_AT_ONCE: usize = 1000;

fn list(
    shared: &Shared,
    user: &UserKey,
    call: body::ConversationList,
) -> Result<body::ConversationPage, Failure> {
    let settings = shared.people.conversation_settings(user)?;
    let limit = if call.limit == 0 { PAGE_MAX } else { call.limit.min(PAGE_MAX) } as usize;
    let wanted = Wanted { after: call.after, limit, group: call.group, marks: call.marks };
    let page = settings.page(known(shared, user, &settings)?, &wanted);
    let next = page.conversations.last().map(|(key, _)| key.clone()).unwrap_or_default();
    Ok(body::ConversationPage {
        conversations: with_last(shared, user, &settings, page.conversations)?,
        next,
        complete: page.complete,
        sequence: settings.sequence,
        unread: page.unread,
    })
}

fn get(shared: &Shared, user: &UserKey, with: &[Peer]) -> Result<body::ConversationPage, Failure> {
    let settings = shared.people.conversation_settings(user)?;
    let (mut peers, mut convs, mut keys) = (Vec::new(), Vec::new(), Vec::new());
    for peer in with {
        match peer {
            Peer::User(_) => {
                convs.push(conv(user, peer)?);
                peers.push(peer.clone());
            }
            Peer::Group(id) => keys.push(group_key(user, id)?),
        }
    }
    let mut known = heads(shared, peers, &convs)?;
    known.extend(groups(shared, user, keys)?);
    read_cursors(shared, user, &mut known)?;
    // In the order of the call.
    known.sort_by_key(|known| with.iter().position(|peer| *peer == known.peer));
    let found = known.into_iter().map(|known| (settings.order_key(&known), known)).collect();
    Ok(body::ConversationPage {
        conversations: with_last(shared, user, &settings, found)?,
        complete: true,
        sequence: settings.sequence,
        ..body::ConversationPage::default()
    })
}

/// The list of `user` with all read cursors.
fn known(shared: &Shared, user: &UserKey, settings: &Settings) -> Result<Vec<(String, Known)>, Failure> {
    let (mut peers, mut convs) = (Vec::new(), Vec::new());
    loop {
        let page = shared.ledger.conversations(user, convs.last(), PAIRS_AT_ONCE).map_err(unreadable)?;
        let last = page.len() < PAIRS_AT_ONCE;
        for conv in page {
            if let ConvKind::Pair(a, b) = conv.kind() {
                let other = if a == *user { b } else { a };
                peers.push(Peer::User(other.name().to_owned()));
                convs.push(conv);
            }
        }
        if last || convs.len() >= PAIRS_MAX {
            break;
        }
    }
    let mut known = heads(shared, peers, &convs)?;
    let keys = shared.groups.of_users(std::slice::from_ref(user)).map_err(no_directory)?;
    known.extend(groups(shared, user, keys.into_iter().flatten().collect())?);
    let mut all = settings.list(known, shared.people.config().conversations_max);
    for (_, known) in &mut all {
        read_cursors(shared, user, std::slice::from_mut(known))?;
    }
    Ok(all)
}

/// Groups of these that `user` is a member of and sees, as conversations. Where a type shows no history to its members, there is
/// nothing to list.
fn groups(shared: &Shared, user: &UserKey, keys: Vec<GroupKey>) -> Result<Vec<Known>, Failure> {
    let found = shared.groups.find_all(&keys).map_err(no_directory)?;
    let (mut seen, mut convs) = (Vec::new(), Vec::new());
    for (key, group) in keys.into_iter().zip(found) {
        let Some(group) = group else { continue };
        let group = group.read().unwrap_or_else(PoisonError::into_inner);
        let (Some(member), Some(after)) = (group.member(user), group.history_after(user)) else { continue };
        let hidden = !group.is_active() && group.info().owner.as_ref() != Some(user);
        if group.is_dismissed() || hidden || !group.kind().history {
            continue;
        }
        let quiet = member.reception != Reception::Notify;
        let known = Known {
            peer: Peer::Group(key.id().to_owned()),
            head: 0,
            // What came before joining was never to be read.
            read: member.joined_seq,
            time_ms: 0,
            counts: group.kind().unread,
            quiet,
        };
        seen.push((known, after));
        convs.push(key.conv());
    }
    let heads = shared.ledger.heads(&convs).map_err(unreadable)?;
    let alive = seen.into_iter().zip(heads).filter(|((_, after), heads)| heads.seq > heads.floor.max(*after));
    let one = |((known, _), heads): ((Known, u64), Heads)| Known {
        head: heads.seq,
        time_ms: heads.time_ms,
        ..known
    };
    Ok(alive.map(one).collect())
}

/// Conversations with their ends. Those whose messages have all been trimmed are over.
fn heads(shared: &Shared, peers: Vec<Peer>, convs: &[ConvKey]) -> Result<Vec<Known>, Failure> {
    let heads = shared.ledger.heads(convs).map_err(unreadable)?;
    let alive = peers.into_iter().zip(heads).filter(|(_, heads)| heads.seq > heads.floor);
    let one = |(peer, heads): (Peer, Heads)| Known {
        peer,
        head: heads.seq,
        read: 0,
        time_ms: heads.time_ms,
        counts: true,
        quiet: false,
    };
    Ok(alive.map(one).collect())
}

fn read_cursors(shared: &Shared, user: &UserKey, known: &mut [Known]) -> Result<(), Failure> {
    for known in known {
        let name = CursorName::Read(conv(user, &known.peer)?);
        let read = shared.ledger.cursor(user, &name).map_err(unreadable)?.unwrap_or_default();
        known.read = known.read.max(read);
    }
    Ok(())
}

/// Newest messages of a conversation of which one may be shown as its last.
const LAST_LOOKED_AT: usize = 8;

/// Conversations with their last messages, as far as the user has not deleted them.
fn with_last(
    shared: &Shared,
    user: &UserKey,
    settings: &Settings,
    known: Vec<(String, Known)>,
) -> Result<Vec<body::Conversation>, Failure> {
    let mut bytes = 0;
    let mut conversations = Vec::with_capacity(known.len());
    for (key, known) in known {
        let conv = conv(user, &known.peer)?;
        let last = match last_shown(shared, user, &conv)? {
            Some((entry, kept)) if bytes + entry.body.len() <= LAST_BYTES_MAX => {
                bytes += entry.body.len();
                let message = kept.decode().ok();
                let (seq, time_ms, edit) = (entry.seq, entry.time_ms, entry.edit);
                Some(body::Delivery { message, seq, time_ms, edit, ..body::Delivery::default() })
            }
            _ => None,
        };
        conversations.push(settings.to_wire(key, &known, last));
    }
    Ok(conversations)
}

/// The newest message that shows as the last one of a conversation: not what the user has deleted or may not see, nor what was sent
/// so as not to show here. Mostly the newest of all.
fn last_shown(
    shared: &Shared,
    user: &UserKey,
    conv: &ConvKey,
) -> Result<Option<(crate::ledger::Entry, Kept)>, Failure> {
    let ledger = &shared.ledger;
    for count in [1, LAST_LOOKED_AT] {
        let limit = PageLimit { entries: count, bytes: LAST_BYTES_MAX };
        let entries = ledger.read(conv, Range::Before(u64::MAX), limit).map_err(unreadable)?;
        let (Some(newest), Some(oldest)) = (entries.first(), entries.last()) else { return Ok(None) };
        let cleared = ledger.cursor(user, &CursorName::Cleared(conv.clone())).map_err(unreadable)?;
        let hidden = ledger.hidden(user, conv, oldest.seq, newest.seq).map_err(unreadable)?;
        let shown = entries.into_iter().find_map(|entry| {
            let kept = Kept::open(&entry.body);
            let shown = entry.seq > cleared.unwrap_or_default()
                && !hidden.contains(&entry.seq)
                && kept.is_for(user)
                && kept.may_be_last();
            shown.then_some((entry, kept))
        });
        if shown.is_some() {
            return Ok(shown);
        }
    }
    Ok(None)
}

/// The conversation of `user` with a peer that was checked.
fn conv(user: &UserKey, peer: &Peer) -> Result<ConvKey, Failure> {
    let bad = |error: crate::key::BadName| Failure::new(code::BAD_REQUEST, error.to_string());
    match peer {
        Peer::User(name) => Ok(ConvKey::pair(user, &UserKey::new(user.app(), name).map_err(bad)?)),
        Peer::Group(id) => ConvKey::group(user.app(), id).map_err(bad),
    }
}

fn group_key(user: &UserKey, id: &str) -> Result<GroupKey, Failure> {
    GroupKey::new(user.app(), id).map_err(|error| Failure::new(code::BAD_REQUEST, error.to_string()))
}

fn no_directory(error: DirectoryError) -> Failure {
    tracing::error!(%error, "cannot look groups up for a list of conversations");
    Failure::later(crate::people::codes::CONVERSATION_INTERNAL, "the store does not answer, try again", 1000)
}

fn unreadable(error: LedgerError) -> Failure {
    tracing::error!(%error, "cannot read the ledger for a list of conversations");
    Failure::later(crate::people::codes::CONVERSATION_INTERNAL, "the store cannot be read, try again", 1000)
}
