//! Pages, heads and cursors: everything that reads without the writer's lock.

use std::collections::HashMap;

use bytes::Bytes;
use fjall::{Guard, Keyspace};
use nearport_chat::key::{ConvKey, UserKey};
use nearport_chat::ledger::{Entry, LedgerError, LogEntry, PageLimit, Range};

use super::FjallLedger;
use super::keys::{self, ConvId, UserId};

/// What an error of the engine means for a read.
pub(super) fn error(error: &fjall::Error) -> LedgerError {
    match error {
        fjall::Error::Io(_) | fjall::Error::Storage(fjall::LsmError::Io(_)) => {
            LedgerError::Io(error.to_string())
        }
        _ => LedgerError::Damaged(error.to_string()),
    }
}

fn damaged(what: &str, owner: &dyn std::fmt::Debug, number: u64) -> LedgerError {
    LedgerError::Damaged(format!("{what} {number} of {owner:?} is unreadable or missing"))
}

/// The id under a key of `ids`, read by `parse`.
pub(super) fn id<I>(
    ids: &Keyspace,
    key: &[u8],
    parse: fn(&[u8]) -> Option<I>,
) -> Result<Option<I>, LedgerError> {
    let unreadable = || LedgerError::Damaged("an id is unreadable".to_owned());
    let value = ids.get(key).map_err(|e| error(&e))?;
    value.map(|value| parse(&value).ok_or_else(unreadable)).transpose()
}

/// The last sequence number of a conversation, 0 if it has no message.
pub(super) fn conv_head(messages: &Keyspace, conv: ConvId) -> Result<u64, LedgerError> {
    last_number(messages.range(keys::message_key(conv, 0)..=keys::message_key(conv, u64::MAX)))
}

/// The last position of a user log, 0 if it is empty.
pub(super) fn log_head(logs: &Keyspace, user: UserId) -> Result<u64, LedgerError> {
    last_number(logs.range(keys::log_key(user, 0)..=keys::log_key(user, u64::MAX)))
}

fn last_number(mut rows: fjall::Iter) -> Result<u64, LedgerError> {
    let Some(last) = rows.next_back() else { return Ok(0) };
    let key = last.key().map_err(|e| error(&e))?;
    keys::last_number(&key).ok_or_else(|| LedgerError::Damaged("a key is too short".to_owned()))
}

/// Collects entries until the page is full: at least one, whatever its size.
fn fill<T>(
    rows: impl Iterator<Item = Guard>,
    limit: PageLimit,
    mut entry: impl FnMut(Guard) -> Result<(T, usize), LedgerError>,
) -> Result<Vec<T>, LedgerError> {
    let (mut page, mut bytes) = (Vec::new(), 0);
    for row in rows {
        let (item, size) = entry(row)?;
        page.push(item);
        bytes += size;
        if page.len() >= limit.entries || bytes >= limit.bytes {
            break;
        }
    }
    Ok(page)
}

impl FjallLedger {
    pub(super) fn conv_id(&self, conv: &ConvKey) -> Result<Option<ConvId>, LedgerError> {
        let mut key = Vec::with_capacity(80);
        keys::conv_name(&mut key, conv);
        id(&self.keyspaces.ids, &key, keys::conv_id)
    }

    pub(super) fn user_id(&self, user: &UserKey) -> Result<Option<UserId>, LedgerError> {
        let mut key = Vec::with_capacity(40);
        keys::user_name(&mut key, user);
        id(&self.keyspaces.ids, &key, keys::user_id)
    }

    pub(super) fn page(
        &self,
        conv: &ConvKey,
        range: Range,
        limit: PageLimit,
    ) -> Result<Vec<Entry>, LedgerError> {
        let Some(id) = self.conv_id(conv)? else { return Ok(Vec::new()) };
        let rows = |first: u64, last: u64| {
            self.keyspaces.messages.range(keys::message_key(id, first)..=keys::message_key(id, last))
        };
        let entry = |row: Guard| {
            let (key, value) = row.into_inner().map_err(|e| error(&e))?;
            let seq = keys::last_number(&key).unwrap_or(0);
            let entry = stored(seq, &value).ok_or_else(|| damaged("message", conv, seq))?;
            let size = entry.body.len();
            Ok((entry, size))
        };
        match range {
            Range::After(u64::MAX) | Range::Before(0) => Ok(Vec::new()),
            Range::After(seq) => fill(rows(seq + 1, u64::MAX), limit, entry),
            Range::Before(seq) => fill(rows(0, seq - 1).rev(), limit, entry),
        }
    }

    pub(super) fn log_page(
        &self,
        user: &UserKey,
        after: u64,
        limit: PageLimit,
    ) -> Result<Vec<LogEntry>, LedgerError> {
        let Some(first) = after.checked_add(1) else { return Ok(Vec::new()) };
        let Some(id) = self.user_id(user)? else { return Ok(Vec::new()) };
        let rows = self.keyspaces.logs.range(keys::log_key(id, first)..=keys::log_key(id, u64::MAX));
        let mut names: HashMap<ConvId, ConvKey> = HashMap::new();
        fill(rows, limit, |row| {
            let (key, value) = row.into_inner().map_err(|e| error(&e))?;
            let position = keys::last_number(&key).unwrap_or(0);
            let (seq, conv) = keys::log_parts(&value).ok_or_else(|| damaged("log entry", user, position))?;
            let name = match names.get(&conv) {
                Some(name) => name.clone(),
                None => names.entry(conv).or_insert(self.conv_name(conv)?).clone(),
            };
            let value = self.keyspaces.messages.get(keys::message_key(conv, seq)).map_err(|e| error(&e))?;
            let entry =
                value.and_then(|value| stored(seq, &value)).ok_or_else(|| damaged("message", &name, seq))?;
            let size = entry.body.len();
            Ok((LogEntry { position, conv: name, entry }, size))
        })
    }

    fn conv_name(&self, conv: ConvId) -> Result<ConvKey, LedgerError> {
        let name = self.keyspaces.ids.get(keys::conv_by_id(conv)).map_err(|e| error(&e))?;
        let missing = || LedgerError::Damaged(format!("the name of conversation {} is missing", conv.0));
        name.and_then(|name| ConvKey::from_bytes(&name)).ok_or_else(missing)
    }

    /// The cursor under a key that [`keys::cursor`] made.
    pub(super) fn cursor_at(&self, key: &[u8]) -> Result<Option<u64>, LedgerError> {
        let unreadable = || LedgerError::Damaged("a cursor is unreadable".to_owned());
        let value = self.keyspaces.cursors.get(key).map_err(|e| error(&e))?;
        value.map(|value| keys::cursor_position(&value).ok_or_else(unreadable)).transpose()
    }
}

fn stored(seq: u64, value: &[u8]) -> Option<Entry> {
    let (time_ms, body) = keys::message_parts(value)?;
    Some(Entry { seq, time_ms, body: Bytes::copy_from_slice(body) })
}
