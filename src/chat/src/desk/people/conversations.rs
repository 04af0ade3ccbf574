//! The conversation list.

use std::sync::PoisonError;

use nearport_wire::body::people_answer::Answer;
use nearport_wire::body::people_call::Call;
use nearport_wire::body::{self, Disturb, Mention};
use nearport_wire::code;
use prost::Message as _;

use super::done;
use crate::directory::DirectoryError;
use crate::directory::conversations::Peer;
use crate::group::Reception;
use crate::kept::Kept;
use crate::key::{ConvKey, ConvKind, GroupKey, UserKey};
use crate::ledger::{CursorName, Deleted, Entry, Heads, LedgerError, PageLimit, Range, Span};
use crate::people::conversations::{Known, Settings, Wanted, to_peer, to_peers};
use crate::people::{Effects, PAGE_BYTES_MAX, codes};
use crate::reply::Failure;
use crate::shared::Shared;

pub(crate) fn carry_out(
    shared: &Shared,
    user: &UserKey,
    call: Call,
    now_ms: u64,
    effects: &mut Effects,
) -> Result<Answer, Failure> {
    let people = &*shared.people;
    match call {
        Call::ConversationList(call) => return list(shared, user, call, now_ms).map(Answer::Conversations),
        Call::ConversationGet(call) => {
            let with = to_peers(user, call.with)?;
            return get(shared, user, &with, now_ms).map(Answer::Conversations);
        }
        Call::UnreadTotal(_) => {
            let settings = people.conversation_settings(user)?;
            let all = known(shared, user, &settings, now_ms)?;
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

/// Most conversations in a page.
const PAGE_MAX: u32 = 100;

/// Bytes of last messages after which a page has none: the rest is for what stands beside them.
const LAST_BYTES_MAX: usize = 160 * 1024;

/// Pairs that are looked at for a list. Whoever has more sees the newest among these.
const PAIRS_MAX: usize = 10_000;

/// Unread messages that count of one conversation where numbers are added up, of the public contract.
pub(crate) const UNREAD_MAX: u64 = 100;

/// Pairs read at once.
const PAIRS_AT_ONCE: usize = 1000;

fn list(
    shared: &Shared,
    user: &UserKey,
    call: body::ConversationList,
    now_ms: u64,
) -> Result<body::ConversationPage, Failure> {
    let settings = shared.people.conversation_settings(user)?;
    let limit = if call.limit == 0 { PAGE_MAX } else { call.limit.min(PAGE_MAX) } as usize;
    let wanted = Wanted { after: call.after, limit, group: call.group, marks: call.marks };
    let page = settings.page(known(shared, user, &settings, now_ms)?, &wanted);
    let found = page.conversations.len();
    let conversations = with_last(shared, user, &settings, page.conversations, now_ms)?;
    Ok(body::ConversationPage {
        next: conversations.last().map(|last| last.order_key.clone()).unwrap_or_default(),
        complete: page.complete && conversations.len() == found,
        conversations,
        sequence: settings.sequence,
        unread: page.unread,
    })
}

fn get(
    shared: &Shared,
    user: &UserKey,
    with: &[Peer],
    now_ms: u64,
) -> Result<body::ConversationPage, Failure> {
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
    look_at_all(shared, user, known.iter_mut(), now_ms)?;
    // In the order of the call.
    known.sort_by_key(|known| with.iter().position(|peer| *peer == known.peer));
    let found: Vec<_> = known.into_iter().map(|known| (settings.order_key(&known), known)).collect();
    let count = found.len();
    let conversations = with_last(shared, user, &settings, found, now_ms)?;
    if conversations.len() < count {
        let info = "the answer would be too long: ask about fewer conversations at once";
        return Err(Failure::new(codes::CONVERSATION_COUNT, info));
    }
    Ok(body::ConversationPage {
        conversations,
        complete: true,
        sequence: settings.sequence,
        ..body::ConversationPage::default()
    })
}

/// Messages of other users to `user` that are unread, over all pairs.
pub(crate) fn unread_of_pairs(shared: &Shared, user: &UserKey, now_ms: u64) -> Result<u64, Failure> {
    let (peers, convs) = pairs(shared, user)?;
    let mut known = heads(shared, peers, &convs)?;
    look_at_all(shared, user, known.iter_mut(), now_ms)?;
    Ok(known.iter().map(|known| known.unread.min(UNREAD_MAX)).sum())
}

/// The pairs that `user` is in.
fn pairs(shared: &Shared, user: &UserKey) -> Result<(Vec<Peer>, Vec<ConvKey>), Failure> {
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
            return Ok((peers, convs));
        }
    }
}

/// The list of `user`, with what was read and what shows.
pub(crate) fn known(
    shared: &Shared,
    user: &UserKey,
    settings: &Settings,
    now_ms: u64,
) -> Result<Vec<(String, Known)>, Failure> {
    let (peers, convs) = pairs(shared, user)?;
    let mut known = heads(shared, peers, &convs)?;
    let keys = shared.groups.of_users(std::slice::from_ref(user)).map_err(no_directory)?;
    known.extend(groups(shared, user, keys.into_iter().flatten().collect())?);
    let max = shared.people.config(user.app()).conversations_max;
    let mut known: Vec<_> = settings.list(known, max).into_iter().map(|(_, known)| known).collect();
    look_at_all(shared, user, known.iter_mut(), now_ms)?;
    // Again: what does not show has moved some of them.
    Ok(settings.list(known, max))
}

/// How many messages of each of these users are unread for `user`.
pub(crate) fn unread_of(
    shared: &Shared,
    user: &UserKey,
    peers: &[UserKey],
    now_ms: u64,
) -> Result<Vec<u64>, Failure> {
    let name = |peer: &UserKey| Peer::User(peer.name().to_owned());
    let convs: Vec<_> = peers.iter().map(|peer| ConvKey::pair(user, peer)).collect();
    let mut known = heads(shared, peers.iter().map(name).collect(), &convs)?;
    look_at_all(shared, user, known.iter_mut(), now_ms)?;
    let of = |peer| known.iter().find(|known| known.peer == name(peer)).map_or(0, |known| known.unread);
    Ok(peers.iter().map(of).collect())
}

/// Groups of these that `user` is a member of and sees, as conversations. Where a type shows no history to its members, there is
/// nothing to list.
fn groups(shared: &Shared, user: &UserKey, keys: Vec<GroupKey>) -> Result<Vec<Known>, Failure> {
    let found = shared.groups.find_all(&keys).map_err(no_directory)?;
    let (mut seen, mut convs) = (Vec::new(), Vec::new());
    for (key, group) in keys.into_iter().zip(found) {
        let Some(group) = group else { continue };
        let group = group.read().unwrap_or_else(PoisonError::into_inner);
        let (Some(member), Some(after)) = (group.member(user), group.history_after(&key, user)) else {
            continue;
        };
        let hidden = !group.is_active() && group.info().owner.as_ref() != Some(user);
        if group.is_dismissed() || hidden || !group.kind().history {
            continue;
        }
        let quiet = member.reception != Reception::Notify;
        let known = Known {
            peer: Peer::Group(key.id().to_owned()),
            head: 0,
            floor: 0,
            shown: 0,
            // What came before joining was never to be read.
            read: member.joined_seq,
            time_ms: 0,
            counts: group.kind().unread,
            unread: 0,
            mentions: Vec::new(),
            quiet,
        };
        seen.push((known, after));
        convs.push(key.conv());
    }
    let heads = shared.ledger.heads(&convs).map_err(unreadable)?;
    let alive = seen.into_iter().zip(heads).filter(|((_, after), heads)| heads.seq > heads.floor.max(*after));
    let one = |((known, after), heads): ((Known, u64), Heads)| Known {
        head: heads.seq,
        floor: heads.floor.max(after),
        shown: heads.seq,
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
        floor: heads.floor,
        shown: heads.seq,
        time_ms: heads.time_ms,
        counts: true,
        unread: 0,
        mentions: Vec::new(),
        quiet: false,
    };
    Ok(alive.map(one).collect())
}

/// Reads how far the user is in each conversation, and looks at it.
fn look_at_all<'k>(
    shared: &Shared,
    user: &UserKey,
    all: impl Iterator<Item = &'k mut Known>,
    now_ms: u64,
) -> Result<(), Failure> {
    let all: Vec<_> =
        all.map(|known| Ok((conv(user, &known.peer)?, known))).collect::<Result<_, Failure>>()?;
    let names: Vec<_> = all.iter().map(|(conv, _)| CursorName::Read(conv.clone())).collect();
    let read = shared.ledger.cursors(user, &names).map_err(unreadable)?;
    for ((conv, known), read) in all.into_iter().zip(read) {
        known.read = known.read.max(read.unwrap_or_default());
        look(shared, user, &conv, known, now_ms)?;
    }
    Ok(())
}

/// Which of the newest messages of a conversation show and count for the user: not those that she does not get, for she has blocked
/// who sent them.
fn look(
    shared: &Shared,
    user: &UserKey,
    conv: &ConvKey,
    known: &mut Known,
    now_ms: u64,
) -> Result<(), Failure> {
    let ledger = &shared.ledger;
    let new = usize::try_from(known.head.saturating_sub(known.read)).unwrap_or(usize::MAX);
    let page = |entries| {
        let limit = PageLimit { entries, bytes: UNREAD_BYTES_LOOKED_AT };
        let entries = ledger.read(conv, Range::Before(u64::MAX), limit).map_err(unreadable)?;
        Ok::<Vec<_>, Failure>(entries.into_iter().map(|entry| (Kept::open(&entry.body), entry)).collect())
    };
    let shows = |(kept, _): &&(Kept, Entry)| kept.is_for(user) && kept.may_be_last();
    let entries = new.clamp(LAST_LOOKED_AT, NEWEST_LOOKED_AT);
    let mut looked = page(entries)?;
    if entries < NEWEST_LOOKED_AT && !looked.iter().any(|one| shows(&one)) {
        looked = page(NEWEST_LOOKED_AT)?;
    }
    let (Some((_, newest)), Some((_, oldest))) = (looked.first(), looked.last()) else { return Ok(()) };
    let before = (oldest.seq.saturating_sub(1), oldest.time_ms);
    (known.shown, known.time_ms) =
        looked.iter().find(shows).map_or(before, |(_, entry)| (entry.seq, entry.time_ms));
    let mentioned = looked.iter().any(|(kept, _)| kept.head.mentions.is_some());
    if new > 0 && (known.counts || mentioned) {
        let Deleted { cleared, hidden } = deleted(shared, user, conv, (oldest.seq, newest.seq))?;
        let floor = known.read.max(known.floor).max(cleared);
        let view = shared.view_of(user, floor, hidden, now_ms);
        let unread = looked.iter().filter(|(kept, entry)| view.shows(entry, kept) && kept.counts_for(user));
        let mention = |(kept, entry): &(Kept, Entry)| {
            let (me, all) = kept.mentions(user);
            (me || all).then_some(Mention { seq: entry.seq, me, all })
        };
        known.mentions = unread.clone().filter_map(mention).take(MENTIONS_MAX).collect();
        if !known.counts {
            return Ok(());
        }
        known.unread = unread.count() as u64;
        let more = before.0.saturating_sub(floor);
        if more > 0 {
            // Of what lies before them, what was sent so as not to count, or taken back.
            let span = Span { conv: conv.clone(), first: floor + 1, last: before.0, own: false };
            let uncounted = ledger.uncounted(user, &[span]).map_err(unreadable)?;
            known.unread += more.saturating_sub(uncounted.first().copied().unwrap_or_default());
        }
    }
    Ok(())
}

/// Messages that mean the user, of one conversation.
const MENTIONS_MAX: usize = 10;

/// Newest messages of a conversation that are looked at, to count what was not read and to find what shows as its last message. Of
/// what lies before them all counts that was not sent so as not to, and not taken back.
const NEWEST_LOOKED_AT: usize = 100;

/// Bytes of them after which no more are looked at.
const UNREAD_BYTES_LOOKED_AT: usize = 64 * 1024;

/// As many are looked at first for the one that shows: mostly it is the newest.
const LAST_LOOKED_AT: usize = 8;

/// As many conversations as fit into a page, with their last messages.
fn with_last(
    shared: &Shared,
    user: &UserKey,
    settings: &Settings,
    known: Vec<(String, Known)>,
    now_ms: u64,
) -> Result<Vec<body::Conversation>, Failure> {
    let (mut bytes, mut last_bytes) = (0, 0);
    let mut conversations = Vec::with_capacity(known.len());
    for (key, known) in known {
        let conv = conv(user, &known.peer)?;
        let mut one = settings.to_wire(key, &known);
        bytes += one.encoded_len();
        if bytes > PAGE_BYTES_MAX {
            break;
        }
        if let Some((entry, kept)) = last_shown(shared, user, &conv, now_ms)?
            && last_bytes + entry.body.len() <= LAST_BYTES_MAX
            && bytes + entry.body.len() <= PAGE_BYTES_MAX
        {
            last_bytes += entry.body.len();
            bytes += entry.body.len();
            let message = kept.decode().ok();
            let (seq, time_ms, edit) = (entry.seq, entry.time_ms, entry.edit);
            one.last = Some(body::Delivery { message, seq, time_ms, edit, ..body::Delivery::default() });
        }
        conversations.push(one);
    }
    Ok(conversations)
}

/// The newest message that shows as the last one of a conversation: not what the user has deleted or may not see, nor what was sent
/// so as not to show here. Mostly the newest of all.
fn last_shown(
    shared: &Shared,
    user: &UserKey,
    conv: &ConvKey,
    now_ms: u64,
) -> Result<Option<(Entry, Kept)>, Failure> {
    for count in [1, LAST_LOOKED_AT, NEWEST_LOOKED_AT] {
        let limit = PageLimit { entries: count, bytes: LAST_BYTES_MAX };
        let entries = shared.ledger.read(conv, Range::Before(u64::MAX), limit).map_err(unreadable)?;
        let (Some(newest), Some(oldest)) = (entries.first(), entries.last()) else { return Ok(None) };
        let Deleted { cleared, hidden } = deleted(shared, user, conv, (oldest.seq, newest.seq))?;
        let view = shared.view_of(user, cleared, hidden, now_ms);
        let shown = entries.into_iter().find_map(|entry| {
            let kept = Kept::open(&entry.body);
            (view.shows(&entry, &kept) && kept.may_be_last()).then_some((entry, kept))
        });
        if shown.is_some() {
            return Ok(shown);
        }
    }
    Ok(None)
}

/// What `user` has deleted of the messages `first` to `last`.
fn deleted(
    shared: &Shared,
    user: &UserKey,
    conv: &ConvKey,
    (first, last): (u64, u64),
) -> Result<Deleted, Failure> {
    let found = shared.ledger.deleted(user, &[(conv.clone(), first, last)]).map_err(unreadable)?;
    Ok(found.into_iter().next().unwrap_or_default())
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
    Failure::later(codes::CONVERSATION_INTERNAL, "the store does not answer, try again", 1000)
}

fn unreadable(error: LedgerError) -> Failure {
    tracing::error!(%error, "cannot read the ledger for a list of conversations");
    Failure::later(codes::CONVERSATION_INTERNAL, "the store cannot be read, try again", 1000)
}
