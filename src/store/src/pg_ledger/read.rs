//! The trait. Its reads are here: each one statement, on one snapshot. Ids are looked up by scalar subqueries, so that the plan is a walk along one
//! index and stops at its LIMIT.

use bytes::Bytes;
use nearport_chat::key::{AppId, ConvKey, Talk, UserKey};
use nearport_chat::ledger::{
    Appended, Batch, Committed, CursorName, Deleted, Entry, Heads, IdemKey, Ledger, LedgerError, LogEntry,
    OutboxEntry, PageLimit, Range, Retention, Shelf, Span, TAKEN_BACK_MAX, TrimBudget, TrimPlace, Trimmed,
    Walked,
};
use tokio_postgres::Row;

use super::PgLedger;
use super::plan::{signed, unsigned};

/// Rows that one statement brings at most: the rest of a page that is full by its bytes would travel for nothing.
const ROWS_MAX: usize = 256;

/// Conversations whose heads, or cursors whose positions, one statement asks for.
const HEADS_MAX: usize = 4096;

/// Spans that one statement counts in.
const SPANS_MAX: usize = 1024;

const AFTER: &str = "SELECT seq, time_ms, edit, body FROM ledger_messages
     WHERE conv = (SELECT id FROM ledger_conversations WHERE key = $1)
     AND seq > (SELECT GREATEST(floor, $2::bigint) FROM ledger_conversations WHERE key = $1)
     ORDER BY seq LIMIT $3";
const BEFORE: &str = "SELECT seq, time_ms, edit, body FROM ledger_messages
     WHERE conv = (SELECT id FROM ledger_conversations WHERE key = $1)
     AND seq > (SELECT floor FROM ledger_conversations WHERE key = $1) AND seq < $2
     ORDER BY seq DESC LIMIT $3";
const DUPLICATES: &str = "SELECT k.at, m.seq, m.time_ms
     FROM unnest($1::bytea[], $2::bytea[]) WITH ORDINALITY AS k (sender, id, at)
     JOIN ledger_users u ON u.key = k.sender JOIN ledger_messages m ON m.sender = u.id AND m.client_msg_id = k.id";
const ENTRY: &str = "SELECT seq, time_ms, edit, body FROM ledger_messages
     WHERE conv = (SELECT id FROM ledger_conversations WHERE key = $1) AND seq = $2";
const HEADS: &str =
    "SELECT key, head, edit_head, head_ms, floor FROM ledger_conversations WHERE key = ANY($1::bytea[])";
const EDITS: &str = "SELECT edit, seq FROM ledger_messages
     WHERE conv = (SELECT id FROM ledger_conversations WHERE key = $1) AND edit > $2 AND edit > 0 ORDER BY edit LIMIT $3";
/// Halves the range between floor and head until its ends meet, or at a message that is missing.
const SEQ_AT: &str = "WITH RECURSIVE s (conv, low, high) AS (
         SELECT id, floor + 1, head + 1 FROM ledger_conversations WHERE key = $1
     UNION ALL
         SELECT h.conv, CASE WHEN m.time_ms >= $2 THEN h.low ELSE h.middle + 1 END,
             CASE WHEN m.time_ms >= $2 THEN h.middle ELSE h.high END
         FROM (SELECT conv, low, high, (low + high) / 2 AS middle FROM s WHERE low < high) h
         JOIN ledger_messages m ON m.conv = h.conv AND m.seq = h.middle)
     SELECT low, high FROM s ORDER BY high - low LIMIT 1";
const HIDDEN: &str = "SELECT seq FROM ledger_hides WHERE user_id = (SELECT id FROM ledger_users WHERE key = $1)
     AND conv = (SELECT id FROM ledger_conversations WHERE key = $2) AND seq >= $3 AND seq <= $4 ORDER BY seq";
const HIDDEN_IN: &str = "SELECT k.at, h.seq
     FROM unnest($2::bytea[], $3::bigint[], $4::bigint[]) WITH ORDINALITY AS k (key, first, last, at)
     JOIN ledger_conversations c ON c.key = k.key
     JOIN ledger_hides h ON h.user_id = (SELECT id FROM ledger_users WHERE key = $1)
     AND h.conv = c.id AND h.seq >= k.first AND h.seq <= k.last ORDER BY k.at, h.seq";
const RECEIPTS: &str = "SELECT user_key FROM ledger_receipts
     WHERE conv = (SELECT id FROM ledger_conversations WHERE key = $1) AND seq = $2 AND user_key > $3
     ORDER BY user_key LIMIT $4";
const RECEIPT_COUNT: &str = "SELECT readers FROM ledger_receipt_counts
     WHERE conv = (SELECT id FROM ledger_conversations WHERE key = $1) AND seq = $2";
const PAIRS: &str =
    "SELECT conv_key FROM ledger_pairs WHERE user_key = $1 AND conv_key > $2 ORDER BY conv_key LIMIT $3";
/// A name may have no message: the commit that made it came to nothing.
const WALK: &str = "SELECT key, head > 0 AND head_ms >= $3 FROM ledger_conversations
     WHERE key > $1 AND key < $2 ORDER BY key LIMIT $4";
const LOG: &str =
    "SELECT l.position, c.key, m.seq, m.time_ms, m.edit, m.body, l.seq, l.seq <= c.floor, l.change IS NULL
     FROM (SELECT position, conv, seq, change FROM ledger_logs
         WHERE user_id = (SELECT id FROM ledger_users WHERE key = $1)
         AND position > (SELECT GREATEST(floor, $2::bigint) FROM ledger_users WHERE key = $1)
         ORDER BY position LIMIT $3) l
     JOIN ledger_conversations c ON c.id = l.conv
     LEFT JOIN ledger_messages m ON m.conv = l.conv AND m.seq = l.seq
     ORDER BY l.position";
const LOG_HEAD: &str = "SELECT head FROM ledger_users WHERE key = $1";
const CURSOR: &str = "SELECT position FROM ledger_cursors
     WHERE user_id = (SELECT id FROM ledger_users WHERE key = $1) AND name = $2";

const CURSORS: &str = "SELECT k.at, u.position FROM unnest($2::bytea[]) WITH ORDINALITY AS k (name, at)
     JOIN ledger_cursors u ON u.user_id = (SELECT id FROM ledger_users WHERE key = $1) AND u.name = k.name";
/// Numbers grow by one from row to row, so the ends of a span tell how many are in it.
const UNCOUNTED: &str = "SELECT k.at,
         COALESCE((SELECT s.number FROM ledger_skips s WHERE s.conv = c.id AND s.seq >= k.first AND s.seq <= k.last
                 ORDER BY s.seq DESC LIMIT 1)
             - (SELECT s.number FROM ledger_skips s WHERE s.conv = c.id AND s.seq >= k.first AND s.seq <= k.last
                 ORDER BY s.seq LIMIT 1) + 1, 0)
         + (SELECT count(*) FROM (SELECT 1 FROM ledger_recalls r WHERE r.conv = c.id AND r.seq >= k.first AND r.seq <= k.last
                 LIMIT $6) r)
         + CASE WHEN k.own = 0 THEN 0 ELSE (SELECT count(*) FROM ledger_messages m
             WHERE m.conv = c.id AND m.seq >= k.first AND m.seq <= k.last
             AND m.sender = (SELECT id FROM ledger_users WHERE key = $1)
             AND NOT EXISTS (SELECT 1 FROM ledger_skips s WHERE s.conv = m.conv AND s.seq = m.seq)
             AND NOT EXISTS (SELECT 1 FROM ledger_recalls r WHERE r.conv = m.conv AND r.seq = m.seq)) END
     FROM unnest($2::bytea[], $3::bigint[], $4::bigint[], $5::bigint[]) WITH ORDINALITY AS k (key, first, last, own, at)
     JOIN ledger_conversations c ON c.key = k.key";

/// Name of a cursor inside its user: a letter, then what it is about.
pub(super) fn cursor_name(name: &CursorName) -> Vec<u8> {
    match name {
        CursorName::Device(device) => [b"d", device.as_bytes()].concat(),
        CursorName::Read(conv) => [b"r", conv.as_bytes()].concat(),
        CursorName::Cleared(conv) => [b"c", conv.as_bytes()].concat(),
        CursorName::Spoke(conv) => [b"t", conv.as_bytes()].concat(),
        CursorName::Shown(device, conv) => {
            let length = [u8::try_from(device.len()).expect("device names have at most 32 bytes")];
            [b"s", &length[..], device.as_bytes(), conv.as_bytes()].concat()
        }
    }
}

/// A bound of rows as LIMIT takes it: at least one.
fn limit(rows: usize) -> i64 {
    i64::try_from(rows.max(1)).unwrap_or(i64::MAX)
}

fn entry(row: &Row, column: usize) -> Result<Entry, tokio_postgres::Error> {
    Ok(Entry {
        seq: unsigned(row.try_get(column)?),
        time_ms: unsigned(row.try_get(column + 1)?),
        edit: unsigned(row.try_get(column + 2)?),
        body: Bytes::copy_from_slice(row.try_get(column + 3)?),
    })
}

#[expect(clippy::needless_pass_by_value, reason = "shape of `map_err`")]
fn unreadable(error: tokio_postgres::Error) -> LedgerError {
    LedgerError::Damaged(format!("a row is unreadable: {error}"))
}

/// Which question a row answers, from 0, and the number that it answers it with.
fn numbered(row: &Row) -> Result<(usize, u64), LedgerError> {
    let at: i64 = row.try_get(0).map_err(unreadable)?;
    let number = row.try_get(1).map(unsigned).map_err(unreadable)?;
    Ok((usize::try_from(at - 1).unwrap_or(usize::MAX), number))
}

fn missing(conv: &ConvKey, seq: i64) -> LedgerError {
    LedgerError::Damaged(format!("message {seq} of {conv:?} is missing"))
}

fn user_key(bytes: &[u8]) -> Result<UserKey, LedgerError> {
    let parts =
        bytes.split_first_chunk::<4>().and_then(|(app, name)| Some((app, std::str::from_utf8(name).ok()?)));
    parts
        .and_then(|(app, name)| UserKey::new(AppId(u32::from_be_bytes(*app)), name).ok())
        .ok_or_else(|| LedgerError::Damaged("the name of a user is unreadable".to_owned()))
}

fn conv_key(bytes: &[u8]) -> Result<ConvKey, LedgerError> {
    ConvKey::from_bytes(bytes)
        .ok_or_else(|| LedgerError::Damaged("the name of a conversation is unreadable".to_owned()))
}

impl Ledger for PgLedger {
    fn commit(&self, batch: &Batch) -> Result<Committed, LedgerError> {
        self.commit_batch(batch)
    }

    fn duplicates(&self, keys: &[IdemKey]) -> Result<Vec<Option<Appended>>, LedgerError> {
        let senders: Vec<&[u8]> = keys.iter().map(|key| key.sender.as_bytes()).collect();
        let ids: Vec<&[u8]> = keys.iter().map(|key| &key.client_msg_id[..]).collect();
        let rows = self.query(DUPLICATES, &[&senders, &ids])?;
        let mut found = vec![None; keys.len()];
        for row in &rows {
            let number = |column| row.try_get(column).map(unsigned).map_err(unreadable);
            let at = usize::try_from(number(0)?).ok().and_then(|at| found.get_mut(at.wrapping_sub(1)));
            if let Some(found) = at {
                *found = Some(Appended::duplicate_of(number(1)?, number(2)?));
            }
        }
        Ok(found)
    }

    fn read(&self, conv: &ConvKey, range: Range, limits: PageLimit) -> Result<Vec<Entry>, LedgerError> {
        let (sql, mut from) = match range {
            Range::After(after) => (AFTER, signed(after)),
            Range::Before(before) => (BEFORE, signed(before)),
        };
        let (mut page, mut bytes) = (Vec::new(), 0);
        loop {
            let rows_max = ROWS_MAX.min(limits.entries.saturating_sub(page.len()).max(1));
            let rows = self.query(sql, &[&conv.as_bytes(), &from, &limit(rows_max)])?;
            for row in &rows {
                let entry = entry(row, 0).map_err(unreadable)?;
                (from, bytes) = (signed(entry.seq), bytes + entry.body.len());
                page.push(entry);
                if page.len() >= limits.entries || bytes >= limits.bytes {
                    return Ok(page);
                }
            }
            if rows.len() < rows_max {
                return Ok(page);
            }
        }
    }

    fn entry(&self, conv: &ConvKey, seq: u64) -> Result<Option<Entry>, LedgerError> {
        let rows = self.query(ENTRY, &[&conv.as_bytes(), &signed(seq)])?;
        rows.first().map(|row| entry(row, 0).map_err(unreadable)).transpose()
    }

    fn head(&self, conv: &ConvKey) -> Result<u64, LedgerError> {
        Ok(self.heads(std::slice::from_ref(conv))?[0].seq)
    }

    fn heads(&self, convs: &[ConvKey]) -> Result<Vec<Heads>, LedgerError> {
        let mut all = Vec::with_capacity(convs.len());
        for some in convs.chunks(HEADS_MAX) {
            let keys: Vec<&[u8]> = some.iter().map(ConvKey::as_bytes).collect();
            let rows = self.query(HEADS, &[&keys])?;
            let mut known = std::collections::HashMap::with_capacity(rows.len());
            for row in &rows {
                let number = |column| row.try_get(column).map(unsigned).map_err(unreadable);
                let heads =
                    Heads { seq: number(1)?, edit: number(2)?, time_ms: number(3)?, floor: number(4)? };
                known.insert(row.try_get::<_, &[u8]>(0).map_err(unreadable)?, heads);
            }
            all.extend(some.iter().map(|conv| known.get(conv.as_bytes()).copied().unwrap_or_default()));
        }
        Ok(all)
    }

    fn seq_at(&self, conv: &ConvKey, time_ms: u64) -> Result<u64, LedgerError> {
        let rows = self.query(SEQ_AT, &[&conv.as_bytes(), &signed(time_ms)])?;
        let Some(row) = rows.first() else { return Ok(1) };
        let (low, high): (i64, i64) =
            (row.try_get(0).map_err(unreadable)?, row.try_get(1).map_err(unreadable)?);
        // A statement sees floor and messages of one moment.
        if low < high { Err(missing(conv, low + (high - low) / 2)) } else { Ok(unsigned(low)) }
    }

    fn edits(&self, conv: &ConvKey, after: u64, rows: usize) -> Result<Vec<(u64, u64)>, LedgerError> {
        let rows = self.query(EDITS, &[&conv.as_bytes(), &signed(after), &limit(rows)])?;
        let change = |row: &Row| Ok((unsigned(row.try_get(0)?), unsigned(row.try_get(1)?)));
        rows.iter().map(|row| change(row).map_err(unreadable)).collect()
    }

    fn edit_head(&self, conv: &ConvKey) -> Result<u64, LedgerError> {
        Ok(self.heads(std::slice::from_ref(conv))?[0].edit)
    }

    fn hidden(&self, user: &UserKey, conv: &ConvKey, first: u64, last: u64) -> Result<Vec<u64>, LedgerError> {
        let params: [&(dyn tokio_postgres::types::ToSql + Sync); 4] =
            [&user.as_bytes(), &conv.as_bytes(), &signed(first), &signed(last)];
        let rows = self.query(HIDDEN, &params)?;
        rows.iter().map(|row| row.try_get(0).map(unsigned).map_err(unreadable)).collect()
    }

    fn deleted(&self, user: &UserKey, ranges: &[(ConvKey, u64, u64)]) -> Result<Vec<Deleted>, LedgerError> {
        let mut deleted = vec![Deleted::default(); ranges.len()];
        if ranges.is_empty() {
            return Ok(deleted);
        }
        let keys: Vec<&[u8]> = ranges.iter().map(|(conv, ..)| conv.as_bytes()).collect();
        let names: Vec<_> = ranges.iter().map(|(conv, ..)| CursorName::Cleared(conv.clone())).collect();
        let (firsts, lasts): (Vec<_>, Vec<_>) =
            ranges.iter().map(|(_, first, last)| (signed(*first), signed(*last))).unzip();
        let hidden = self.query(HIDDEN_IN, &[&user.as_bytes(), &keys, &firsts, &lasts])?;
        for row in &hidden {
            let (at, seq) = numbered(row)?;
            deleted.get_mut(at).into_iter().for_each(|deleted| deleted.hidden.push(seq));
        }
        for (deleted, cleared) in deleted.iter_mut().zip(self.cursors(user, &names)?) {
            deleted.cleared = cleared.unwrap_or_default();
        }
        Ok(deleted)
    }

    fn uncounted(&self, user: &UserKey, spans: &[Span]) -> Result<Vec<u64>, LedgerError> {
        let mut counts = vec![0; spans.len()];
        for (counts, spans) in counts.chunks_mut(SPANS_MAX).zip(spans.chunks(SPANS_MAX)) {
            let keys: Vec<&[u8]> = spans.iter().map(|span| span.conv.as_bytes()).collect();
            let (firsts, lasts): (Vec<_>, Vec<_>) =
                spans.iter().map(|span| (signed(span.first), signed(span.last))).unzip();
            let own: Vec<_> = spans.iter().map(|span| i64::from(span.own)).collect();
            let most = limit(TAKEN_BACK_MAX);
            for row in &self.query(UNCOUNTED, &[&user.as_bytes(), &keys, &firsts, &lasts, &own, &most])? {
                let (at, count) = numbered(row)?;
                counts.get_mut(at).into_iter().for_each(|slot| *slot = count);
            }
        }
        Ok(counts)
    }

    fn receipts(
        &self,
        conv: &ConvKey,
        seq: u64,
        after: Option<&UserKey>,
        rows: usize,
    ) -> Result<Vec<UserKey>, LedgerError> {
        let after = after.map_or(&[][..], UserKey::as_bytes);
        let rows = self.query(RECEIPTS, &[&conv.as_bytes(), &signed(seq), &after, &limit(rows)])?;
        rows.iter().map(|row| user_key(row.try_get(0).map_err(unreadable)?)).collect()
    }

    fn receipt_count(&self, conv: &ConvKey, seq: u64) -> Result<u64, LedgerError> {
        let rows = self.query(RECEIPT_COUNT, &[&conv.as_bytes(), &signed(seq)])?;
        rows.first().map_or(Ok(0), |row| row.try_get(0).map(unsigned).map_err(unreadable))
    }

    fn conversations(
        &self,
        user: &UserKey,
        after: Option<&ConvKey>,
        rows: usize,
    ) -> Result<Vec<ConvKey>, LedgerError> {
        let after = after.map_or(&[][..], ConvKey::as_bytes);
        let rows = self.query(PAIRS, &[&user.as_bytes(), &after, &limit(rows)])?;
        rows.iter().map(|row| conv_key(row.try_get(0).map_err(unreadable)?)).collect()
    }

    fn walk(
        &self,
        app: AppId,
        talk: Talk,
        after: Option<&ConvKey>,
        since_ms: u64,
        looks: usize,
    ) -> Result<Walked, LedgerError> {
        let of_talk = talk.prefix(app);
        // The kind stands last: behind all keys of one kind come those of the next.
        let mut end = of_talk;
        end[4] += 1;
        let after = after.map_or(&of_talk[..], |conv| conv.as_bytes().max(&of_talk[..]));
        let rows = self.query(WALK, &[&after, &end.as_slice(), &signed(since_ms), &limit(looks)])?;
        let (mut convs, mut last) = (Vec::new(), None);
        for row in &rows {
            let conv = conv_key(row.try_get(0).map_err(unreadable)?)?;
            if row.try_get::<_, bool>(1).map_err(unreadable)? {
                convs.push(conv.clone());
            }
            last = Some(conv);
        }
        Ok(Walked { convs, next: last.filter(|_| rows.len() >= looks) })
    }

    fn read_log(&self, user: &UserKey, after: u64, limits: PageLimit) -> Result<Vec<LogEntry>, LedgerError> {
        let (mut page, mut bytes, mut from) = (Vec::new(), 0, signed(after));
        loop {
            let rows_max = ROWS_MAX.min(limits.entries.saturating_sub(page.len()).max(1));
            let rows = self.query(LOG, &[&user.as_bytes(), &from, &limit(rows_max)])?;
            for row in &rows {
                from = row.try_get(0).map_err(unreadable)?;
                let conv = conv_key(row.try_get(1).map_err(unreadable)?)?;
                if row.try_get::<_, Option<i64>>(2).map_err(unreadable)?.is_none() {
                    match row.try_get(7).map_err(unreadable)? {
                        // It was trimmed.
                        true => continue,
                        false => return Err(missing(&conv, row.try_get(6).map_err(unreadable)?)),
                    }
                }
                let entry = entry(row, 2).map_err(unreadable)?;
                bytes += entry.body.len();
                let first = row.try_get(8).map_err(unreadable)?;
                page.push(LogEntry { position: unsigned(from), first, conv, entry });
                if page.len() >= limits.entries || bytes >= limits.bytes {
                    return Ok(page);
                }
            }
            if rows.len() < rows_max {
                return Ok(page);
            }
        }
    }

    fn log_head(&self, user: &UserKey) -> Result<u64, LedgerError> {
        let rows = self.query(LOG_HEAD, &[&user.as_bytes()])?;
        rows.first().map_or(Ok(0), |row| row.try_get(0).map(unsigned).map_err(unreadable))
    }

    fn cursor(&self, user: &UserKey, name: &CursorName) -> Result<Option<u64>, LedgerError> {
        let rows = self.query(CURSOR, &[&user.as_bytes(), &cursor_name(name)])?;
        rows.first().map(|row| row.try_get(0).map(unsigned).map_err(unreadable)).transpose()
    }

    fn cursors(&self, user: &UserKey, names: &[CursorName]) -> Result<Vec<Option<u64>>, LedgerError> {
        let mut positions = vec![None; names.len()];
        for (positions, names) in positions.chunks_mut(HEADS_MAX).zip(names.chunks(HEADS_MAX)) {
            let names: Vec<_> = names.iter().map(cursor_name).collect();
            for row in &self.query(CURSORS, &[&user.as_bytes(), &names])? {
                let (at, position) = numbered(row)?;
                positions.get_mut(at).into_iter().for_each(|slot| *slot = Some(position));
            }
        }
        Ok(positions)
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
        self.last_of_outbox(app, shelf)
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
        self.state.get().map_or(Ok(()), |error| Err(error.into()))
    }
}
