//! The rows of the ledger as PostgreSQL's tables have them, in pages, for a move to there.
//!
//! Ids stay, plus one: those of PostgreSQL begin with 1. Idempotency keys and change logs are columns of a message there.

use std::ops::Bound;

use fjall::Keyspace;
use nearport_chat::key::{ConvKey, ConvKind};
use nearport_chat::ledger::{LedgerError, OutboxEntry};

use super::keys::{self, COMMIT_KEY, Commit, ConvId, Message, UserId};
use super::{FjallLedger, read};
use crate::sql::Value;

/// One of PostgreSQL's tables.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Part {
    /// id, key, head, time of the head, head of the change log, floor.
    Conversations,
    /// id, key, head, floor.
    Users,
    /// Conversation, seq, time, edit, sender, client id, body.
    Messages,
    /// User, position, conversation, seq, 1 if it is not known to be the message itself.
    Logs,
    /// Key of the user, key of the conversation.
    Pairs,
    /// Key of the user (it may have no id yet), name, position.
    Cursors,
    /// User, conversation, seq.
    Hides,
    /// Conversation, seq, key of the reader.
    Receipts,
    /// Conversation, seq, how many.
    ReceiptCounts,
    /// Conversation, seq, how many there were.
    Skips,
    /// Conversation, seq.
    Recalls,
    /// App, shelf, number, seq, time, time of death, reason, body.
    Outbox,
    /// App, shelf, last number.
    OutboxHeads,
}

/// Some rows, and the place behind them; none: these were the last.
#[derive(Debug, Default)]
pub(crate) struct Page {
    pub(crate) rows: Vec<Vec<Value>>,
    pub(crate) next: Option<Vec<u8>>,
}

/// Bounds of a page. It may exceed the bytes by one row.
#[derive(Debug, Clone, Copy)]
pub(crate) struct PageMax {
    pub(crate) rows: usize,
    pub(crate) bytes: usize,
}

/// Which state of which store it is, and which ids were given out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct State {
    pub(crate) store: [u8; 16],
    pub(crate) commit: u64,
    /// Users have the ids from 1 to this one.
    pub(crate) users: u64,
    /// Conversations have the ids from 1 to this one.
    pub(crate) conversations: u64,
}

/// Numbers beyond 63 bits are "the end", as the ledger in PostgreSQL reads them.
fn int(number: u64) -> Value {
    Value::Int(i64::try_from(number).unwrap_or(i64::MAX))
}

fn user(id: UserId) -> Value {
    Value::Int(i64::from(id) + 1)
}

fn conv(id: ConvId) -> Value {
    int(id.0.saturating_add(1))
}

fn blob(bytes: &[u8]) -> Value {
    Value::Blob(bytes.to_vec())
}

/// The letter that a kind of cursors has in PostgreSQL; what follows it is the same.
fn cursor_letter(kind: u8) -> Option<u8> {
    match kind {
        keys::CURSOR_DEVICE => Some(b'd'),
        keys::CURSOR_READ => Some(b'r'),
        keys::CURSOR_SHOWN => Some(b's'),
        keys::CURSOR_CLEARED => Some(b'c'),
        keys::CURSOR_SPOKE => Some(b't'),
        _ => None,
    }
}

/// App, shelf and number of a key of `outbox`.
fn outbox_place(key: &[u8]) -> Option<(Value, Value, u64)> {
    let (app, rest) = key.split_first_chunk::<4>()?;
    let (shelf, number) = rest.split_first()?;
    let app = Value::Int(i64::from(u32::from_be_bytes(*app)));
    Some((app, Value::Int(i64::from(*shelf)), keys::number(number)?))
}

impl FjallLedger {
    pub(crate) fn state(&self) -> Result<State, LedgerError> {
        let commit = read::row(&self.keyspaces.meta, COMMIT_KEY, "the commit row", Commit::decode)?
            .unwrap_or_else(|| Commit {
                number: 0,
                store: self.writer().watermark.record().store,
                next_user: 0,
                next_conv: 0,
            });
        Ok(State {
            store: commit.store,
            commit: commit.number,
            users: commit.next_user.into(),
            conversations: commit.next_conv,
        })
    }

    /// The rows of `part` behind `after`, a place that an earlier page gave, or empty. Nothing may be committed meanwhile.
    pub(crate) fn export(&self, part: Part, after: &[u8], most: PageMax) -> Result<Page, LedgerError> {
        let (keyspace, prefix) = self.source(part);
        let from = if after.is_empty() { Bound::Included(prefix) } else { Bound::Excluded(after) };
        let (mut page, mut bytes) = (Page::default(), 0);
        for row in keyspace.range::<&[u8], _>((from, Bound::Unbounded)) {
            let (key, value) = row.into_inner().map_err(|e| read::error(&e))?;
            if !key.starts_with(prefix) {
                break;
            }
            if let Some(row) = self.exported(part, &key, &value)? {
                bytes += key.len() + value.len();
                page.rows.push(row);
            }
            if page.rows.len() >= most.rows || bytes >= most.bytes {
                page.next = Some(key.to_vec());
                break;
            }
        }
        Ok(page)
    }

    fn source(&self, part: Part) -> (&Keyspace, &'static [u8]) {
        let spaces = &self.keyspaces;
        match part {
            Part::Conversations => (&spaces.ids, b"n"),
            Part::Users => (&spaces.ids, b"u"),
            Part::Messages => (&spaces.messages, b""),
            Part::Logs => (&spaces.logs, b""),
            Part::Pairs => (&spaces.pairs, b""),
            Part::Cursors => (&spaces.cursors, b""),
            Part::Hides => (&spaces.hides, b""),
            Part::Receipts | Part::ReceiptCounts => (&spaces.receipts, b""),
            Part::Skips => (&spaces.skips, b""),
            Part::Recalls => (&spaces.recalls, b""),
            Part::Outbox | Part::OutboxHeads => (&spaces.outbox, b""),
        }
    }

    /// The row of `part` that a row of its keyspace becomes, if it becomes one.
    fn exported(&self, part: Part, key: &[u8], value: &[u8]) -> Result<Option<Vec<Value>>, LedgerError> {
        let unreadable =
            || LedgerError::Damaged(format!("a row is unreadable ({part:?}): {}", key.escape_ascii()));
        let row = match part {
            Part::Conversations => {
                let id = key.get(1..).and_then(keys::conv_id).ok_or_else(unreadable)?;
                let heads = self.ends(&ConvKey::from_bytes(value).ok_or_else(unreadable)?)?;
                let [seq, time_ms, edit] = [heads.seq, heads.time_ms, heads.edit].map(int);
                vec![conv(id), blob(value), seq, time_ms, edit, int(heads.floor)]
            }
            Part::Users => {
                let id = keys::user_id(value).ok_or_else(unreadable)?;
                let head = read::log_head(&self.keyspaces, id)?;
                let floor = read::log_floor(&self.keyspaces, id)?;
                vec![user(id), blob(&key[1..]), int(head), int(floor)]
            }
            Part::Messages => {
                let (id, seq) = keys::message_place(key).ok_or_else(unreadable)?;
                let message = Message::parse(value).ok_or_else(unreadable)?;
                let (sender, client_msg_id) = message.idem.split_first_chunk::<4>().ok_or_else(unreadable)?;
                let sender = UserId::from_be_bytes(*sender);
                let [time_ms, edit] = [message.time_ms, message.edit].map(int);
                vec![conv(id), int(seq), time_ms, edit, user(sender), blob(client_msg_id), blob(message.body)]
            }
            Part::Logs => {
                let (owner, position) = keys::log_place(key).ok_or_else(unreadable)?;
                let (seq, id, first) = keys::log_parts(value).ok_or_else(unreadable)?;
                vec![user(owner), int(position), conv(id), int(seq), if first { Value::Null } else { int(1) }]
            }
            Part::Pairs => {
                let (owner, name) = key.split_first_chunk::<4>().ok_or_else(unreadable)?;
                let pair = ConvKey::from_bytes(name).ok_or_else(unreadable)?;
                let ConvKind::Pair(a, b) = pair.kind() else { return Err(unreadable()) };
                let owner = UserId::from_be_bytes(*owner);
                let owner = if self.user_id(&a)? == Some(owner) { a } else { b };
                vec![blob(owner.as_bytes()), blob(name)]
            }
            Part::Cursors => {
                let (length, rest) = key.split_first().ok_or_else(unreadable)?;
                let (owner, rest) = rest.split_at_checked(usize::from(*length)).ok_or_else(unreadable)?;
                let (kind, about) = rest.split_first().ok_or_else(unreadable)?;
                let letter = cursor_letter(*kind).ok_or_else(unreadable)?;
                let position = keys::number(value).ok_or_else(unreadable)?;
                vec![blob(owner), Value::Blob([&[letter], about].concat()), int(position)]
            }
            Part::Hides => {
                let owner = key.first_chunk::<4>().ok_or_else(unreadable)?;
                let (id, seq) = keys::hide_parts(key).ok_or_else(unreadable)?;
                vec![user(UserId::from_be_bytes(*owner)), conv(id), int(seq)]
            }
            Part::Skips => {
                let (id, seq) = keys::message_place(key).ok_or_else(unreadable)?;
                vec![conv(id), int(seq), int(keys::number(value).ok_or_else(unreadable)?)]
            }
            Part::Recalls => {
                let (id, seq) = keys::message_place(key).ok_or_else(unreadable)?;
                vec![conv(id), int(seq)]
            }
            Part::Outbox => {
                let (app, shelf, number) = outbox_place(key).ok_or_else(unreadable)?;
                let entry = OutboxEntry::decode(number, value).ok_or_else(unreadable)?;
                let [seq, time_ms, died_ms] = [entry.seq, entry.time_ms, entry.died_ms].map(int);
                let (reason, body) = (Value::Text(entry.reason), blob(&entry.body));
                vec![app, shelf, int(number), seq, time_ms, died_ms, reason, body]
            }
            Part::OutboxHeads => {
                let (app, shelf, number) = outbox_place(key).ok_or_else(unreadable)?;
                // The last of its shelf alone.
                let next = [key.get(..5).ok_or_else(unreadable)?, &[0xff; 8]].concat();
                let behind = (Bound::Excluded(key), Bound::Included(&next[..]));
                if self.keyspaces.outbox.range::<&[u8], _>(behind).next().is_some() {
                    return Ok(None);
                }
                vec![app, shelf, int(number)]
            }
            Part::Receipts | Part::ReceiptCounts => {
                let (id, seq) = keys::message_place(key).ok_or_else(unreadable)?;
                let reader = &key[16..];
                match (part, reader.is_empty()) {
                    (Part::Receipts, false) => vec![conv(id), int(seq), blob(reader)],
                    (Part::ReceiptCounts, true) => {
                        vec![conv(id), int(seq), int(keys::number(value).ok_or_else(unreadable)?)]
                    }
                    _ => return Ok(None),
                }
            }
        };
        Ok(Some(row))
    }
}
