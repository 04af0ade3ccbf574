//! The trait. Its reads, of pages, heads and cursors, are here: they do without the writer's lock.
//!
//! A trim removes rows while readers are at it. It writes the floor first, so whoever misses a row and then looks at the
//! floor knows whether it was trimmed or is damage. Ranges begin at the floor: behind it lie the markers of removed rows, which
//! cost as much to skip as rows until a compaction drops them.

use std::collections::{BTreeSet, HashMap};
use std::ops::Bound;

use bytes::Bytes;
use fjall::{Guard, Keyspace};
use nearport_chat::key::{AppId, ConvKey, Talk, UserKey};
use nearport_chat::ledger::{
    Appended, Batch, Committed, CursorName, Entry, Heads, IdemKey, Ledger, LedgerError, LogEntry,
    OutboxEntry, PageLimit, Range, Retention, Shelf, Span, TAKEN_BACK_MAX, TrimBudget, TrimPlace, Trimmed,
    Walked,
};

use super::FjallLedger;
use super::keys::{self, ConvId, Floor, Message, UserId};
use super::options::Keyspaces;
use super::outbox;

/// What an error of the engine means for a read.
pub(super) fn error(error: &fjall::Error) -> LedgerError {
    match error {
        fjall::Error::Io(_) | fjall::Error::Storage(fjall::LsmError::Io(_)) => {
            LedgerError::Io(error.to_string())
        }
        _ => LedgerError::Damaged(error.to_string()),
    }
}

pub(super) fn damaged(what: &str, owner: &dyn std::fmt::Debug, number: u64) -> LedgerError {
    LedgerError::Damaged(format!("{what} {number} of {owner:?} is unreadable or missing"))
}

/// The row under a key, read by `parse`; `what` names it in the error.
pub(super) fn row<T>(
    keyspace: &Keyspace,
    key: &[u8],
    what: &str,
    parse: impl Fn(&[u8]) -> Option<T>,
) -> Result<Option<T>, LedgerError> {
    let value = keyspace.get(key).map_err(|e| error(&e))?;
    let unreadable = || LedgerError::Damaged(format!("{what} is unreadable"));
    value.map(|value| parse(&value).ok_or_else(unreadable)).transpose()
}

/// The floor of a conversation, all 0 if nothing of it was trimmed.
pub(super) fn floor(keyspaces: &Keyspaces, conv: ConvId) -> Result<Floor, LedgerError> {
    let floor = row(&keyspaces.floors, &keys::conv_floor_key(conv), "a floor", Floor::decode)?;
    Ok(floor.unwrap_or_default())
}

/// The floor of a user log, 0 if nothing of it was trimmed.
pub(super) fn log_floor(keyspaces: &Keyspaces, user: UserId) -> Result<u64, LedgerError> {
    let floor = row(&keyspaces.floors, &keys::log_floor_key(user), "a floor", keys::number)?;
    Ok(floor.unwrap_or_default())
}

/// The last sequence number of a conversation, 0 if it never had a message.
pub(super) fn conv_head(keyspaces: &Keyspaces, conv: ConvId) -> Result<u64, LedgerError> {
    let first = floor(keyspaces, conv)?.seq.saturating_add(1);
    let rows = keyspaces.messages.range(keys::message_key(conv, first)..=keys::message_key(conv, u64::MAX));
    match last_number(rows)? {
        Some(seq) => Ok(seq),
        // Asked for again: it may have risen to the head meanwhile.
        None => Ok(floor(keyspaces, conv)?.seq),
    }
}

/// The last number of a change log, 0 if nothing was ever changed.
pub(super) fn edit_head(keyspaces: &Keyspaces, conv: ConvId) -> Result<u64, LedgerError> {
    let rows = keyspaces.edits.range(keys::edit_key(conv, 0)..=keys::edit_key(conv, u64::MAX));
    let last = last_number(rows)?.unwrap_or(0);
    Ok(last.max(floor(keyspaces, conv)?.edit))
}

/// How many messages of a conversation are unread for nobody, of those that are kept and perhaps of those that were trimmed: good
/// for differences only.
pub(super) fn skipped(keyspaces: &Keyspaces, conv: ConvId) -> Result<u64, LedgerError> {
    let mut rows = keyspaces.skips.range(keys::skip_key(conv, 0)..=keys::skip_key(conv, u64::MAX));
    rows.next_back().map_or(Ok(0), |row| skip(row).map(|(_, count)| count))
}

/// A row of `skips`: the message, and how many there were.
fn skip(row: Guard) -> Result<(u64, u64), LedgerError> {
    let (key, value) = row.into_inner().map_err(|e| error(&e))?;
    let unreadable = || LedgerError::Damaged(format!("a skip is unreadable: {}", key.escape_ascii()));
    Ok((key_number(&key)?, keys::number(&value).ok_or_else(unreadable)?))
}

/// The last position of a user log, 0 if it never had an entry.
pub(super) fn log_head(keyspaces: &Keyspaces, user: UserId) -> Result<u64, LedgerError> {
    let first = log_floor(keyspaces, user)?.saturating_add(1);
    let rows = keyspaces.logs.range(keys::log_key(user, first)..=keys::log_key(user, u64::MAX));
    match last_number(rows)? {
        Some(position) => Ok(position),
        None => log_floor(keyspaces, user),
    }
}

fn last_number(mut rows: fjall::Iter) -> Result<Option<u64>, LedgerError> {
    let Some(last) = rows.next_back() else { return Ok(None) };
    let key = last.key().map_err(|e| error(&e))?;
    key_number(&key).map(Some)
}

/// The number at the end of a key.
pub(super) fn key_number(key: &[u8]) -> Result<u64, LedgerError> {
    keys::last_number(key).ok_or_else(|| LedgerError::Damaged("a key is too short".to_owned()))
}

/// Collects entries until the page is full: at least one, whatever its size. Rows without an entry are left out.
fn fill<T>(
    rows: impl Iterator<Item = Guard>,
    limit: PageLimit,
    mut entry: impl FnMut(Guard) -> Result<Option<(T, usize)>, LedgerError>,
) -> Result<Vec<T>, LedgerError> {
    let (mut page, mut bytes) = (Vec::new(), 0);
    for row in rows {
        let Some((item, size)) = entry(row)? else { continue };
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
        row(&self.keyspaces.ids, &key, "an id", keys::conv_id)
    }

    pub(super) fn user_id(&self, user: &UserKey) -> Result<Option<UserId>, LedgerError> {
        let mut key = Vec::with_capacity(40);
        keys::user_name(&mut key, user);
        row(&self.keyspaces.ids, &key, "an id", keys::user_id)
    }

    pub(super) fn ends(&self, conv: &ConvKey) -> Result<Heads, LedgerError> {
        let Some(id) = self.conv_id(conv)? else { return Ok(Heads::default()) };
        let newest = self.newest(conv, id)?;
        Ok(Heads { edit: edit_head(&self.keyspaces, id)?, ..newest })
    }

    /// The ends of a conversation, all but that of its change log.
    pub(super) fn newest(&self, conv: &ConvKey, id: ConvId) -> Result<Heads, LedgerError> {
        let before = floor(&self.keyspaces, id)?;
        let first = before.seq.saturating_add(1);
        let mut rows =
            self.keyspaces.messages.range(keys::message_key(id, first)..=keys::message_key(id, u64::MAX));
        let (seq, time_ms) = match rows.next_back() {
            Some(last) => {
                let (key, value) = last.into_inner().map_err(|e| error(&e))?;
                let seq = key_number(&key)?;
                let message = Message::parse(&value).ok_or_else(|| damaged("message", conv, seq))?;
                (seq, message.time_ms)
            }
            None => {
                let now = floor(&self.keyspaces, id)?;
                (now.seq, now.time_ms)
            }
        };
        let floor = before.seq.min(seq);
        Ok(Heads { seq, time_ms, floor, ..Heads::default() })
    }

    pub(super) fn conv_name(&self, conv: ConvId) -> Result<ConvKey, LedgerError> {
        let name = row(&self.keyspaces.ids, &keys::conv_by_id(conv), "a name", ConvKey::from_bytes)?;
        name.ok_or_else(|| LedgerError::Damaged(format!("the name of conversation {} is missing", conv.0)))
    }

    fn uncounted_in(&self, user: Option<UserId>, span: &Span) -> Result<u64, LedgerError> {
        let Some(id) = self.conv_id(&span.conv)? else { return Ok(0) };
        let first = span.first.max(floor(&self.keyspaces, id)?.seq.saturating_add(1));
        if first > span.last {
            return Ok(0);
        }
        let places = keys::skip_key(id, first)..=keys::skip_key(id, span.last);
        let mut skips = self.keyspaces.skips.range(places.clone());
        let recalls = self.keyspaces.recalls.range(places);
        let Some(user) = user.filter(|_| span.own) else {
            let mut recalled = 0;
            for row in recalls.take(TAKEN_BACK_MAX) {
                row.key().map_err(|e| error(&e))?;
                recalled += 1;
            }
            // Counts grow by one from row to row, so the ends tell how many there are.
            let Some(oldest) = skips.next().map(skip).transpose()? else { return Ok(recalled) };
            let newest = skips.next_back().map_or(Ok(oldest), skip)?;
            return Ok(newest.1.saturating_sub(oldest.1) + 1 + recalled);
        };
        let recalled = recalls.map(|row| key_number(&row.key().map_err(|e| error(&e))?));
        let skipped = skips.map(|row| skip(row).map(|(seq, _)| seq));
        let skipped = skipped.chain(recalled).collect::<Result<BTreeSet<_>, _>>()?;
        let mut count = skipped.len() as u64;
        let rows =
            self.keyspaces.messages.range(keys::message_key(id, first)..=keys::message_key(id, span.last));
        for row in rows {
            let (key, value) = row.into_inner().map_err(|e| error(&e))?;
            let seq = key_number(&key)?;
            let message = Message::parse(&value).ok_or_else(|| damaged("message", &span.conv, seq))?;
            count += u64::from(message.idem.starts_with(&user.to_be_bytes()) && !skipped.contains(&seq));
        }
        Ok(count)
    }

    /// The cursor under a key that [`keys::cursor`] made.
    pub(super) fn cursor_at(&self, key: &[u8]) -> Result<Option<u64>, LedgerError> {
        row(&self.keyspaces.cursors, key, "a cursor", keys::number)
    }
}

impl Ledger for FjallLedger {
    fn commit(&self, batch: &Batch) -> Result<Committed, LedgerError> {
        self.commit_batch(batch)
    }

    fn duplicates(&self, keys: &[IdemKey]) -> Result<Vec<Option<Appended>>, LedgerError> {
        keys.iter().map(|key| self.duplicate(key)).collect()
    }

    fn read(&self, conv: &ConvKey, range: Range, limit: PageLimit) -> Result<Vec<Entry>, LedgerError> {
        let Some(id) = self.conv_id(conv)? else { return Ok(Vec::new()) };
        let first_kept = floor(&self.keyspaces, id)?.seq.saturating_add(1);
        let (first, last) = match range {
            Range::After(u64::MAX) | Range::Before(0) => return Ok(Vec::new()),
            Range::After(seq) => (first_kept.max(seq + 1), u64::MAX),
            Range::Before(seq) => (first_kept, seq - 1),
        };
        if first > last {
            return Ok(Vec::new());
        }
        let rows = self.keyspaces.messages.range(keys::message_key(id, first)..=keys::message_key(id, last));
        let entry = |row: Guard| {
            let (key, value) = row.into_inner().map_err(|e| error(&e))?;
            let seq = key_number(&key)?;
            let entry = stored(seq, &value).ok_or_else(|| damaged("message", conv, seq))?;
            let size = entry.body.len();
            Ok(Some((entry, size)))
        };
        match range {
            Range::After(_) => fill(rows, limit, entry),
            Range::Before(_) => fill(rows.rev(), limit, entry),
        }
    }

    fn entry(&self, conv: &ConvKey, seq: u64) -> Result<Option<Entry>, LedgerError> {
        let Some(id) = self.conv_id(conv)? else { return Ok(None) };
        let key = keys::message_key(id, seq);
        row(&self.keyspaces.messages, &key, "a message", |value| stored(seq, value))
    }

    fn head(&self, conv: &ConvKey) -> Result<u64, LedgerError> {
        self.conv_id(conv)?.map_or(Ok(0), |id| conv_head(&self.keyspaces, id))
    }

    fn heads(&self, convs: &[ConvKey]) -> Result<Vec<Heads>, LedgerError> {
        convs.iter().map(|conv| self.ends(conv)).collect()
    }

    /// A binary search in the times.
    fn seq_at(&self, conv: &ConvKey, time_ms: u64) -> Result<u64, LedgerError> {
        let Some(id) = self.conv_id(conv)? else { return Ok(1) };
        let mut low = floor(&self.keyspaces, id)?.seq.saturating_add(1);
        let mut high = conv_head(&self.keyspaces, id)?.saturating_add(1);
        while low < high {
            let middle = low + (high - low) / 2;
            let time = |value: &[u8]| Message::parse(value).map(|message| message.time_ms);
            let key = keys::message_key(id, middle);
            match row(&self.keyspaces.messages, &key, "a message", time)? {
                Some(time) if time >= time_ms => high = middle,
                Some(_) => low = middle + 1,
                None if middle <= floor(&self.keyspaces, id)?.seq => low = middle + 1,
                None => return Err(damaged("message", conv, middle)),
            }
        }
        Ok(low)
    }

    fn edits(&self, conv: &ConvKey, after: u64, limit: usize) -> Result<Vec<(u64, u64)>, LedgerError> {
        let Some(first) = after.checked_add(1) else { return Ok(Vec::new()) };
        let Some(id) = self.conv_id(conv)? else { return Ok(Vec::new()) };
        let rows = self.keyspaces.edits.range(keys::edit_key(id, first)..=keys::edit_key(id, u64::MAX));
        let change = |row: Guard| {
            let (key, value) = row.into_inner().map_err(|e| error(&e))?;
            let edit = key_number(&key)?;
            Ok((edit, keys::number(&value).ok_or_else(|| damaged("change", conv, edit))?))
        };
        rows.take(limit.max(1)).map(change).collect()
    }

    fn edit_head(&self, conv: &ConvKey) -> Result<u64, LedgerError> {
        self.conv_id(conv)?.map_or(Ok(0), |id| edit_head(&self.keyspaces, id))
    }

    fn hidden(&self, user: &UserKey, conv: &ConvKey, first: u64, last: u64) -> Result<Vec<u64>, LedgerError> {
        let (Some(user), Some(conv)) = (self.user_id(user)?, self.conv_id(conv)?) else {
            return Ok(Vec::new());
        };
        if first > last {
            return Ok(Vec::new());
        }
        let rows = keys::hide_key(user, conv, first)..=keys::hide_key(user, conv, last);
        let seq = |row: Guard| key_number(&row.key().map_err(|e| error(&e))?);
        self.keyspaces.hides.range(rows).map(seq).collect()
    }

    fn uncounted(&self, user: &UserKey, spans: &[Span]) -> Result<Vec<u64>, LedgerError> {
        let own = spans.iter().any(|span| span.own);
        let user = if own { self.user_id(user)? } else { None };
        spans.iter().map(|span| self.uncounted_in(user, span)).collect()
    }

    fn receipts(
        &self,
        conv: &ConvKey,
        seq: u64,
        after: Option<&UserKey>,
        limit: usize,
    ) -> Result<Vec<UserKey>, LedgerError> {
        let Some(id) = self.conv_id(conv)? else { return Ok(Vec::new()) };
        let of_message = keys::message_key(id, seq);
        let behind = after.map_or_else(|| of_message.to_vec(), |user| keys::receipt_key(id, seq, user));
        let rows = self.keyspaces.receipts.range((Bound::Excluded(behind), Bound::Unbounded));
        let mut readers = Vec::new();
        for row in rows {
            let key = row.key().map_err(|e| error(&e))?;
            let Some(user) = key.strip_prefix(&of_message[..]) else { break };
            readers.push(user_key(user).ok_or_else(|| damaged("reader of message", conv, seq))?);
            if readers.len() >= limit {
                break;
            }
        }
        Ok(readers)
    }

    fn receipt_count(&self, conv: &ConvKey, seq: u64) -> Result<u64, LedgerError> {
        let Some(id) = self.conv_id(conv)? else { return Ok(0) };
        let key = keys::message_key(id, seq);
        let count = row(&self.keyspaces.receipts, &key, "a count of receipts", keys::number)?;
        Ok(count.unwrap_or(0))
    }

    fn conversations(
        &self,
        user: &UserKey,
        after: Option<&ConvKey>,
        limit: usize,
    ) -> Result<Vec<ConvKey>, LedgerError> {
        let Some(id) = self.user_id(user)? else { return Ok(Vec::new()) };
        let of_user = keys::pair_key(id, &[]);
        let behind = after.map_or_else(|| of_user.clone(), |conv| keys::pair_key(id, conv.as_bytes()));
        let mut pairs = Vec::new();
        for row in self.keyspaces.pairs.range((Bound::Excluded(behind), Bound::Unbounded)) {
            let key = row.key().map_err(|e| error(&e))?;
            let Some(conv) = key.strip_prefix(&of_user[..]) else { break };
            let unreadable = || LedgerError::Damaged(format!("a conversation of {user:?} is unreadable"));
            pairs.push(ConvKey::from_bytes(conv).ok_or_else(unreadable)?);
            if pairs.len() >= limit {
                break;
            }
        }
        Ok(pairs)
    }

    fn walk(
        &self,
        app: AppId,
        talk: Talk,
        after: Option<&ConvKey>,
        since_ms: u64,
        looks: usize,
    ) -> Result<Walked, LedgerError> {
        self.walk_step(app, talk, after, since_ms, looks)
    }

    fn read_log(&self, user: &UserKey, after: u64, limit: PageLimit) -> Result<Vec<LogEntry>, LedgerError> {
        let Some(first) = after.checked_add(1) else { return Ok(Vec::new()) };
        let Some(id) = self.user_id(user)? else { return Ok(Vec::new()) };
        let first = first.max(log_floor(&self.keyspaces, id)?.saturating_add(1));
        let rows = self.keyspaces.logs.range(keys::log_key(id, first)..=keys::log_key(id, u64::MAX));
        let mut names: HashMap<ConvId, ConvKey> = HashMap::new();
        fill(rows, limit, |row| {
            let (key, value) = row.into_inner().map_err(|e| error(&e))?;
            let position = key_number(&key)?;
            let parts = keys::log_parts(&value);
            let (seq, conv, first) = parts.ok_or_else(|| damaged("log entry", user, position))?;
            let name = match names.get(&conv) {
                Some(name) => name.clone(),
                None => names.entry(conv).or_insert(self.conv_name(conv)?).clone(),
            };
            let value = self.keyspaces.messages.get(keys::message_key(conv, seq)).map_err(|e| error(&e))?;
            let entry = match value {
                Some(value) => stored(seq, &value),
                None if seq <= floor(&self.keyspaces, conv)?.seq => return Ok(None),
                None => None,
            };
            let entry = entry.ok_or_else(|| damaged("message", &name, seq))?;
            let size = entry.body.len();
            Ok(Some((LogEntry { position, first, conv: name, entry }, size)))
        })
    }

    fn log_head(&self, user: &UserKey) -> Result<u64, LedgerError> {
        self.user_id(user)?.map_or(Ok(0), |id| log_head(&self.keyspaces, id))
    }

    fn cursor(&self, user: &UserKey, name: &CursorName) -> Result<Option<u64>, LedgerError> {
        let mut key = Vec::with_capacity(128);
        keys::cursor(&mut key, user, name);
        self.cursor_at(&key)
    }

    fn outbox(
        &self,
        app: AppId,
        shelf: Shelf,
        after: u64,
        limit: PageLimit,
    ) -> Result<Vec<OutboxEntry>, LedgerError> {
        self.outbox_page(app, shelf, after, limit)
    }

    fn outbox_last(&self, app: AppId, shelf: Shelf) -> Result<u64, LedgerError> {
        outbox::last(&self.keyspaces, app, shelf)
    }

    fn trim(
        &self,
        retention: Retention<'_>,
        from: &TrimPlace,
        budget: TrimBudget,
    ) -> Result<Trimmed, LedgerError> {
        self.trim_step(retention, from, budget)
    }

    fn writable(&self) -> Result<(), LedgerError> {
        match self.stopped.get() {
            Some(stopped) => Err(stopped.error()),
            // Workers may have stopped since the last commit.
            None => self.alive().inspect_err(|error| self.stop(error)),
        }
    }
}

fn stored(seq: u64, value: &[u8]) -> Option<Entry> {
    let Message { time_ms, edit, body, .. } = Message::parse(value)?;
    Some(Entry { seq, time_ms, edit, body: Bytes::copy_from_slice(body) })
}

/// A user from the bytes of its key.
pub(super) fn user_key(bytes: &[u8]) -> Option<UserKey> {
    let (app, name) = bytes.split_first_chunk::<4>()?;
    UserKey::new(AppId(u32::from_be_bytes(*app)), std::str::from_utf8(name).ok()?).ok()
}
