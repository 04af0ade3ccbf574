//! Row layouts. All numbers are big endian, so that byte order is number order.
//!
//! | keyspace | key | value |
//! | --- | --- | --- |
//! | `ids` | `u` and user, or `c` and conversation | id of the user (4) or conversation (8) |
//! | `ids` | `n` and conversation id (8) | conversation |
//! | `messages` | conversation id (8), seq (8) | version (1), time ms (7), sender id (4), client id (16), body |
//! | `idem` | sender id (4), client id (16) | seq (8), time ms (8) |
//! | `logs` | user id (4), position (8) | seq (8; the largest bit set: a message, not a change of one), conversation id (8) |
//! | `cursors` | user\*, kind (1), then device name, conversation, or device name\* and conversation | position (8) |
//! | `edits` | conversation id (8), number (8) | seq (8) |
//! | `hides` | user id (4), conversation id (8), seq (8) | |
//! | `receipts` | conversation id (8), seq (8) | how many there are (8) |
//! | `receipts` | conversation id (8), seq (8), user | |
//! | `skips` | conversation id (8), seq (8) of a message that is unread for nobody | how many there were, it included (8) |
//! | `recalls` | conversation id (8), seq (8) of another one that is unread for nobody since it was changed | |
//! | `pairs` | user id (4), conversation | |
//! | `floors` | `c` and conversation id (8) | seq (8), number of the change log (8), time ms (8) |
//! | `floors` | `u` and user id (4) | position (8) |
//! | `outbox` | App (4), shelf (1: 0 waiting, 1 dead), number (8) | `OutboxEntry::encode` |
//! | `meta` | `commit` | commit number (8), store id (16), next user id (4), next conversation id (8) |
//!
//! Names become numbers once, when a user or conversation first has a message. So the keys that every message writes
//! have a fixed length, none is a prefix of another, and at most 20 bytes, which fjall keeps inside its index nodes:
//! longer keys, and values, cost an allocation each, and longer keys a cache miss per comparison
//! (docs/decisions/0001-fjall.md). A message keeps its idempotency key so that both can be trimmed together.
//!
//! The version of a message row is 0 for a message as it was sent. In version 1 the number of its last change (8) stands
//! before the body. An ordinary message pays nothing for what few need, and stores from before there were changes are
//! read as they are.
//!
//! \* = one length byte, then the bytes, so that the users `al` and `alice` never share a key.

use nearport_chat::key::{AppId, ConvKey, Talk, UserKey};
use nearport_chat::ledger::{Append, CursorName, Shelf};

/// Key of the one row of `meta`.
pub(super) const COMMIT_KEY: &[u8] = b"commit";

/// 16 random bytes made with the store. They tell our commit rows from bytes that look like one.
pub(super) type StoreId = [u8; 16];

pub(super) const CURSOR_DEVICE: u8 = 0;
pub(super) const CURSOR_READ: u8 = 1;
pub(super) const CURSOR_SHOWN: u8 = 2;
pub(super) const CURSOR_CLEARED: u8 = 3;
pub(super) const CURSOR_SPOKE: u8 = 4;

/// The version of a message row that was changed, where its place is: in the first octet of the time.
const CHANGED: u64 = 1 << 56;

/// Milliseconds that a row has room for: two million years.
const TIME_MS_MAX: u64 = CHANGED - 1;

fn put_prefixed(out: &mut Vec<u8>, bytes: &[u8]) {
    out.push(u8::try_from(bytes.len()).expect("user keys have at most 36 bytes, device names at most 32"));
    out.extend_from_slice(bytes);
}

fn take<const N: usize>(bytes: &[u8]) -> Option<([u8; N], &[u8])> {
    bytes.split_first_chunk::<N>().map(|(head, rest)| (*head, rest))
}

/// Number of a user, from 0.
pub(super) type UserId = u32;

/// Number of a conversation, from 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct ConvId(pub(super) u64);

impl ConvId {
    /// The low half stands first: the order of conversations means nothing, and most comparisons then end within
    /// the first four bytes, which fjall looks at before the rest.
    pub(super) fn bytes(self) -> [u8; 8] {
        self.0.rotate_left(32).to_be_bytes()
    }

    fn from_bytes(bytes: [u8; 8]) -> Self {
        Self(u64::from_be_bytes(bytes).rotate_right(32))
    }
}

/// Key of a row of `ids` for a user.
pub(super) fn user_name(out: &mut Vec<u8>, user: &UserKey) {
    out.clear();
    out.push(b'u');
    out.extend_from_slice(user.as_bytes());
}

/// Value of a row of `ids` for a user.
pub(super) fn user_id(value: &[u8]) -> Option<UserId> {
    value.try_into().ok().map(UserId::from_be_bytes)
}

/// Key of a row of `ids` for a conversation.
pub(super) fn conv_name(out: &mut Vec<u8>, conv: &ConvKey) {
    out.clear();
    out.push(b'c');
    out.extend_from_slice(conv.as_bytes());
}

/// What the keys of rows of `ids` begin with for all such conversations of an App.
pub(super) fn conv_names(app: AppId, talk: Talk) -> [u8; 6] {
    let mut prefix = [b'c'; 6];
    prefix[1..].copy_from_slice(&talk.prefix(app));
    prefix
}

/// Value of a row of `ids` for a conversation.
pub(super) fn conv_id(value: &[u8]) -> Option<ConvId> {
    value.try_into().ok().map(ConvId::from_bytes)
}

/// Key of the row of `ids` that leads from a conversation's id back to its name.
pub(super) fn conv_by_id(conv: ConvId) -> [u8; 9] {
    let mut key = [b'n'; 9];
    key[1..].copy_from_slice(&conv.bytes());
    key
}

/// Key of a row of `messages`.
pub(super) fn message_key(conv: ConvId, seq: u64) -> [u8; 16] {
    let mut key = [0; 16];
    key[..8].copy_from_slice(&conv.bytes());
    key[8..].copy_from_slice(&seq.to_be_bytes());
    key
}

/// Key of a row of `logs`.
pub(super) fn log_key(user: UserId, position: u64) -> [u8; 12] {
    let mut key = [0; 12];
    key[..4].copy_from_slice(&user.to_be_bytes());
    key[4..].copy_from_slice(&position.to_be_bytes());
    key
}

/// Key of a row of `outbox`.
pub(super) fn outbox_key(app: AppId, shelf: Shelf, number: u64) -> [u8; 13] {
    let mut key = [0; 13];
    key[..4].copy_from_slice(&app.0.to_be_bytes());
    key[4] = match shelf {
        Shelf::Waiting => 0,
        Shelf::Dead => 1,
    };
    key[5..].copy_from_slice(&number.to_be_bytes());
    key
}

/// The number at the end of a key of `messages` or `logs`.
pub(super) fn last_number(key: &[u8]) -> Option<u64> {
    key.last_chunk::<8>().map(|bytes| u64::from_be_bytes(*bytes))
}

/// Conversation and sequence number that a key of `messages`, `edits` or `receipts` begins with.
pub(super) fn message_place(key: &[u8]) -> Option<(ConvId, u64)> {
    let (conv, rest) = take::<8>(key)?;
    let (seq, _) = take::<8>(rest)?;
    Some((ConvId::from_bytes(conv), u64::from_be_bytes(seq)))
}

/// User and position of a key of `logs`.
pub(super) fn log_place(key: &[u8]) -> Option<(UserId, u64)> {
    let (user, position) = take::<4>(key)?;
    Some((UserId::from_be_bytes(user), number(position)?))
}

/// Value of a row of `messages` for a message as it is sent.
pub(super) fn message(out: &mut Vec<u8>, append: &Append, sender: UserId) {
    out.clear();
    out.extend_from_slice(&append.time_ms.min(TIME_MS_MAX).to_be_bytes());
    out.extend_from_slice(&sender.to_be_bytes());
    out.extend_from_slice(&append.idem.client_msg_id);
    out.extend_from_slice(&append.body);
}

/// A row of `messages`, read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Message<'a> {
    pub(super) time_ms: u64,
    /// Sender and client id as they stand in a key of `idem`.
    pub(super) idem: [u8; 20],
    /// Number of the last change, 0 if it is as it was sent.
    pub(super) edit: u64,
    pub(super) body: &'a [u8],
}

impl Message<'_> {
    pub(super) fn parse(value: &[u8]) -> Option<Message<'_>> {
        let (time_ms, rest) = take::<8>(value)?;
        let time_ms = u64::from_be_bytes(time_ms);
        let (idem, rest) = take::<20>(rest)?;
        let (edit, body) = match time_ms & !TIME_MS_MAX {
            0 => (0, rest),
            CHANGED => {
                let (edit, body) = take::<8>(rest)?;
                (u64::from_be_bytes(edit), body)
            }
            _ => return None,
        };
        Some(Message { time_ms: time_ms & TIME_MS_MAX, idem, edit, body })
    }

    /// The value of the row after change `edit`, which leaves `body`.
    pub(super) fn changed(&self, edit: u64, body: &[u8]) -> Vec<u8> {
        let version_and_time = (self.time_ms | CHANGED).to_be_bytes();
        [&version_and_time[..], &self.idem, &edit.to_be_bytes(), body].concat()
    }
}

/// Key of a row of `edits`.
pub(super) fn edit_key(conv: ConvId, edit: u64) -> [u8; 16] {
    message_key(conv, edit)
}

/// Value of a row that holds one number: of `cursors` and `edits`, a count of receipts, the floor of a user log.
pub(super) fn number(value: &[u8]) -> Option<u64> {
    value.try_into().ok().map(u64::from_be_bytes)
}

/// Key of a row of `hides`.
pub(super) fn hide_key(user: UserId, conv: ConvId, seq: u64) -> [u8; 20] {
    let mut key = [0; 20];
    key[..4].copy_from_slice(&user.to_be_bytes());
    key[4..].copy_from_slice(&message_key(conv, seq));
    key
}

/// Conversation and sequence number of a key of `hides`.
pub(super) fn hide_parts(key: &[u8]) -> Option<(ConvId, u64)> {
    let (_user, rest) = take::<4>(key)?;
    let (conv, seq) = take::<8>(rest)?;
    Some((ConvId::from_bytes(conv), number(seq)?))
}

/// Key of a row of `receipts` for a reader. How many there are stands under [`message_key`].
pub(super) fn receipt_key(conv: ConvId, seq: u64, user: &UserKey) -> Vec<u8> {
    [&message_key(conv, seq)[..], user.as_bytes()].concat()
}

/// Sequence number and reader of a key of `receipts`; no reader: the key of the row that counts.
pub(super) fn receipt_parts(key: &[u8]) -> Option<(u64, &[u8])> {
    let (_conv, rest) = take::<8>(key)?;
    let (seq, user) = take::<8>(rest)?;
    Some((u64::from_be_bytes(seq), user))
}

/// Key of a row of `pairs`.
pub(super) fn pair_key(user: UserId, conv: &[u8]) -> Vec<u8> {
    [&user.to_be_bytes()[..], conv].concat()
}

/// Key of a row of `skips` or `recalls`.
pub(super) fn skip_key(conv: ConvId, seq: u64) -> [u8; 16] {
    message_key(conv, seq)
}

/// Key of the floor of a conversation.
pub(super) fn conv_floor_key(conv: ConvId) -> [u8; 9] {
    let mut key = conv_by_id(conv);
    key[0] = b'c';
    key
}

/// Key of the floor of a user log.
pub(super) fn log_floor_key(user: UserId) -> [u8; 5] {
    let mut key = [b'u'; 5];
    key[1..].copy_from_slice(&user.to_be_bytes());
    key
}

/// What is remembered of the part of a conversation that was trimmed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Floor {
    /// The last message that was trimmed, 0 if none was.
    pub(super) seq: u64,
    /// The largest number of a change of a trimmed message.
    pub(super) edit: u64,
    /// Time of the message `seq`.
    pub(super) time_ms: u64,
}

impl Floor {
    pub(super) fn encode(&self) -> [u8; 24] {
        let mut value = [0; 24];
        value[..8].copy_from_slice(&self.seq.to_be_bytes());
        value[8..16].copy_from_slice(&self.edit.to_be_bytes());
        value[16..].copy_from_slice(&self.time_ms.to_be_bytes());
        value
    }

    pub(super) fn decode(value: &[u8]) -> Option<Self> {
        let (seq, rest) = take::<8>(value)?;
        let (edit, time_ms) = take::<8>(rest)?;
        Some(Self { seq: u64::from_be_bytes(seq), edit: u64::from_be_bytes(edit), time_ms: number(time_ms)? })
    }
}

/// Key of a row of `idem`.
pub(super) fn idem_key(sender: UserId, client_msg_id: &[u8; 16]) -> [u8; 20] {
    let mut key = [0; 20];
    key[..4].copy_from_slice(&sender.to_be_bytes());
    key[4..].copy_from_slice(client_msg_id);
    key
}

/// Value of a row of `idem`.
pub(super) fn idem_value(seq: u64, time_ms: u64) -> [u8; 16] {
    let mut value = [0; 16];
    value[..8].copy_from_slice(&seq.to_be_bytes());
    value[8..].copy_from_slice(&time_ms.to_be_bytes());
    value
}

/// Sequence number and time of a row of `idem`.
pub(super) fn idem_parts(value: &[u8]) -> Option<(u64, u64)> {
    let (seq, time_ms) = take::<8>(value)?;
    Some((u64::from_be_bytes(seq), u64::from_be_bytes(time_ms.try_into().ok()?)))
}

/// Value of a row of `logs`.
pub(super) fn log_value(seq: u64, conv: ConvId, first: bool) -> [u8; 16] {
    let mut value = [0; 16];
    value[..8].copy_from_slice(&(seq | if first { FIRST } else { 0 }).to_be_bytes());
    value[8..].copy_from_slice(&conv.bytes());
    value
}

/// A row of `logs` that stands there because its message was sent. Rows from before that was kept have it neither for messages nor for
/// changes. No conversation comes to so many messages.
const FIRST: u64 = 1 << 63;

/// Sequence number and conversation of a row of `logs`, and whether it is known to be that of the message, not of a change.
pub(super) fn log_parts(value: &[u8]) -> Option<(u64, ConvId, bool)> {
    let (seq, conv) = take::<8>(value)?;
    let seq = u64::from_be_bytes(seq);
    Some((seq & !FIRST, ConvId::from_bytes(conv.try_into().ok()?), seq & FIRST != 0))
}

/// Key of a row of `cursors`.
pub(super) fn cursor(out: &mut Vec<u8>, user: &UserKey, name: &CursorName) {
    out.clear();
    put_prefixed(out, user.as_bytes());
    match name {
        CursorName::Device(device) => {
            out.push(CURSOR_DEVICE);
            out.extend_from_slice(device.as_bytes());
        }
        CursorName::Read(conv) => {
            out.push(CURSOR_READ);
            out.extend_from_slice(conv.as_bytes());
        }
        CursorName::Shown(device, conv) => {
            out.push(CURSOR_SHOWN);
            put_prefixed(out, device.as_bytes());
            out.extend_from_slice(conv.as_bytes());
        }
        CursorName::Cleared(conv) => {
            out.push(CURSOR_CLEARED);
            out.extend_from_slice(conv.as_bytes());
        }
        CursorName::Spoke(conv) => {
            out.push(CURSOR_SPOKE);
            out.extend_from_slice(conv.as_bytes());
        }
    }
}

/// The row of `meta`, part of every commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Commit {
    pub(super) number: u64,
    pub(super) store: StoreId,
    pub(super) next_user: UserId,
    pub(super) next_conv: u64,
}

impl Commit {
    pub(super) fn encode(&self) -> [u8; 36] {
        let mut value = [0; 36];
        value[..8].copy_from_slice(&self.number.to_be_bytes());
        value[8..24].copy_from_slice(&self.store);
        value[24..28].copy_from_slice(&self.next_user.to_be_bytes());
        value[28..].copy_from_slice(&self.next_conv.to_be_bytes());
        value
    }

    pub(super) fn decode(value: &[u8]) -> Option<Self> {
        let (number, rest) = take::<8>(value)?;
        let (store, rest) = take::<16>(rest)?;
        let (next_user, rest) = take::<4>(rest)?;
        Some(Self {
            number: u64::from_be_bytes(number),
            store,
            next_user: UserId::from_be_bytes(next_user),
            next_conv: u64::from_be_bytes(rest.try_into().ok()?),
        })
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use nearport_chat::key::AppId;
    use nearport_chat::ledger::IdemKey;
    use proptest::prelude::*;

    use super::*;

    fn user() -> impl Strategy<Value = UserKey> {
        (0..3u32, "[ -~]{1,32}").prop_map(|(app, name)| UserKey::new(AppId(app), &name).unwrap())
    }

    fn conv() -> impl Strategy<Value = ConvKey> {
        prop_oneof![
            ("[ -~]{1,32}", "[ -~]{1,32}").prop_map(|(a, b)| {
                let user = |name: &str| UserKey::new(AppId(7), name).unwrap();
                ConvKey::pair(&user(&a), &user(&b))
            }),
            "[ -~]{1,32}".prop_map(|id| ConvKey::group(AppId(7), &id).unwrap()),
        ]
    }

    proptest! {
        #[test]
        fn values_come_back(
            conv in conv(), sender in user(), id in any::<[u8; 16]>(), seq in any::<u64>(), time_ms in any::<u64>(),
            body in proptest::collection::vec(any::<u8>(), 0..400), number in any::<u32>(), conv_number in any::<u64>(),
        ) {
            let mut out = Vec::new();
            let append = Append {
                conv,
                idem: IdemKey { sender, client_msg_id: id },
                logs: vec![],
                time_ms,
                body: Bytes::from(body.clone()),
                uncounted: false,
            };
            message(&mut out, &append, number);
            let idem = idem_key(number, &id);
            let time_ms = time_ms.min(TIME_MS_MAX);
            let sent = Message { time_ms, idem, edit: 0, body: &body[..] };
            prop_assert_eq!(Message::parse(&out), Some(sent));
            let changed = sent.changed(seq, b"changed");
            prop_assert_eq!(Message::parse(&changed), Some(Message { edit: seq, body: b"changed", ..sent }));
            let by_number = ConvId(conv_number);
            prop_assert_eq!(hide_parts(&hide_key(number, by_number, seq)), Some((by_number, seq)));
            let reader = receipt_key(by_number, seq, &append.idem.sender);
            prop_assert_eq!(receipt_parts(&reader), Some((seq, append.idem.sender.as_bytes())));
            let counts = message_key(by_number, seq);
            prop_assert_eq!(receipt_parts(&counts), Some((seq, &[][..])));
            let floor = Floor { seq, edit: conv_number, time_ms };
            prop_assert_eq!(Floor::decode(&floor.encode()), Some(floor));
            prop_assert_eq!(idem_parts(&idem_value(seq, time_ms)), Some((seq, time_ms)));
            for (first, seq) in [(true, seq >> 1), (false, seq >> 1)] {
                prop_assert_eq!(log_parts(&log_value(seq, by_number, first)), Some((seq, by_number, first)));
            }
            prop_assert_eq!(conv_id(&by_number.bytes()), Some(by_number));
            prop_assert_eq!(last_number(&message_key(by_number, seq)), Some(seq));
            prop_assert_eq!(last_number(&log_key(number, seq)), Some(seq));
            let commit = Commit { number: seq, store: id, next_user: number, next_conv: conv_number };
            prop_assert_eq!(Commit::decode(&commit.encode()), Some(commit));
        }

        #[test]
        fn rows_of_one_conversation_or_user_are_ordered_and_apart_from_every_other(
            a in 0..3u64, b in 0..3u64, high in any::<bool>(), n in any::<u64>(), m in any::<u64>(),
        ) {
            let id = |low: u64| ConvId(if high { low << 32 } else { low });
            let all = message_key(id(a), 0)..=message_key(id(a), u64::MAX);
            prop_assert_eq!(all.contains(&message_key(id(b), m)), a == b);
            prop_assert_eq!(message_key(id(b), n).cmp(&message_key(id(b), m)), n.cmp(&m));
            let (a, b) = (u32::try_from(a).unwrap(), u32::try_from(b).unwrap());
            prop_assert_eq!((log_key(a, 0)..=log_key(a, u64::MAX)).contains(&log_key(b, m)), a == b);
            prop_assert_eq!(log_key(b, n).cmp(&log_key(b, m)), n.cmp(&m));
        }

        #[test]
        fn names_have_keys_of_their_own(a in user(), b in user(), c in conv(), d in conv()) {
            let key = |write: &dyn Fn(&mut Vec<u8>)| { let mut out = Vec::new(); write(&mut out); out };
            prop_assert_eq!(key(&|out| user_name(out, &a)) == key(&|out| user_name(out, &b)), a == b);
            prop_assert_eq!(key(&|out| conv_name(out, &c)) == key(&|out| conv_name(out, &d)), c == d);
            prop_assert_ne!(key(&|out| user_name(out, &a)), key(&|out| conv_name(out, &c)));
            let device = || a.name().into();
            let names = [
                CursorName::Device(device()),
                CursorName::Read(c.clone()),
                CursorName::Shown(device(), c.clone()),
                CursorName::Cleared(c.clone()),
                CursorName::Spoke(c),
            ];
            let cursors: std::collections::HashSet<_> = [&a, &b]
                .into_iter()
                .flat_map(|user| names.iter().map(move |name| key(&|out| cursor(out, user, name))))
                .collect();
            prop_assert_eq!(cursors.len(), if a == b { 5 } else { 10 });
        }

        #[test]
        fn damaged_values_are_refused_without_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..60)) {
            let _ = Message::parse(&bytes);
            let _ = hide_parts(&bytes);
            let _ = receipt_parts(&bytes);
            let _ = Floor::decode(&bytes);
            let _ = idem_parts(&bytes);
            let _ = log_parts(&bytes);
            let _ = super::number(&bytes);
            let _ = Commit::decode(&bytes);
            let _ = last_number(&bytes);
        }
    }

    #[test]
    fn keys_and_small_values_of_every_message_stay_inside_index_nodes() {
        // 20 bytes: `byteview`, which holds fjall's keys.
        assert!(size_of_val(&idem_key(0, &[0; 16])) <= 20);
        assert!(size_of_val(&message_key(ConvId(0), 0)) <= 20);
        assert!(size_of_val(&log_key(0, 0)) <= 20);
        assert!(size_of_val(&idem_value(0, 0)) <= 20);
        assert!(size_of_val(&log_value(0, ConvId(0), true)) <= 20);
    }
}
