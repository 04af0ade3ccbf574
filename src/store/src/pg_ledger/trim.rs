//! Removing what has become too old, in bounded steps beside running commits.
//!
//! A step looks first, without locks: a portion of conversations in the order of their ids, which of them begin with a
//! message that is old enough, and how far. Then it removes what it found in one transaction that locks those
//! conversations as a commit does. Entries of user logs follow when all conversations were looked at: those at the front of
//! a log whose message is below its conversation's floor.
//!
//! A place is `c` and the id of the conversation to go on with, or `u` and that of a user.

use std::time::Instant;

use deadpool_postgres::Client;
use nearport_chat::key::ConvKey;
use nearport_chat::ledger::{LedgerError, Retention, TrimBudget, TrimPlace, Trimmed};

use super::PgLedger;
use super::plan::signed;
use crate::postgres::PgError;

const CONV: u8 = b'c';
const USER: u8 = b'u';

/// Conversations or users that one statement looks at.
const PORTION: i64 = 500;

/// Most messages that one step removes: what waits for the conversations it locks should not wait long.
const MESSAGES_MAX: i64 = 5_000;

/// Conversations from an id on, with the time of their oldest message.
const CONVS: &str = "SELECT c.id, c.key, c.floor, (SELECT m.time_ms FROM ledger_messages m
         WHERE m.conv = c.id AND m.seq > c.floor ORDER BY m.seq LIMIT 1)
     FROM ledger_conversations c WHERE c.id >= $1 ORDER BY c.id LIMIT $2";
/// The messages at the front of a conversation.
const FRONT: &str =
    "SELECT seq, time_ms FROM ledger_messages WHERE conv = $1 AND seq > $2 ORDER BY seq LIMIT $3";
/// Users from an id on, with how many entries at the front of their logs may point at nothing: whether the first does.
const USERS: &str = "SELECT u.id, u.floor,
         (SELECT l.seq <= c.floor FROM ledger_logs l JOIN ledger_conversations c ON c.id = l.conv
          WHERE l.user_id = u.id AND l.position > u.floor ORDER BY l.position LIMIT 1),
         EXISTS (SELECT 1 FROM ledger_hides h JOIN ledger_conversations c ON c.id = h.conv
          WHERE h.user_id = u.id AND h.seq <= c.floor)
     FROM ledger_users u WHERE u.id >= $1 ORDER BY u.id LIMIT $2";
const LOG_FRONT: &str =
    "SELECT l.position, l.seq <= c.floor FROM ledger_logs l JOIN ledger_conversations c ON c.id = l.conv
     WHERE l.user_id = $1 AND l.position > $2 ORDER BY l.position LIMIT $3";

const LOCK: &str =
    "SELECT id FROM ledger_conversations WHERE id = ANY($1::bigint[]) ORDER BY id FOR NO KEY UPDATE";
const LOCK_USERS: &str =
    "SELECT id FROM ledger_users WHERE id = ANY($1::bigint[]) ORDER BY id FOR NO KEY UPDATE";
const REMOVE_MESSAGES: &str =
    "DELETE FROM ledger_messages m USING unnest($1::bigint[], $2::bigint[], $3::bigint[])
     AS r (c, f, l) WHERE m.conv = r.c AND m.seq > r.f AND m.seq <= r.l";
const REMOVE_RECEIPTS: &str =
    "DELETE FROM ledger_receipts m USING unnest($1::bigint[], $2::bigint[], $3::bigint[])
     AS r (c, f, l) WHERE m.conv = r.c AND m.seq > r.f AND m.seq <= r.l";
const REMOVE_COUNTS: &str =
    "DELETE FROM ledger_receipt_counts m USING unnest($1::bigint[], $2::bigint[], $3::bigint[])
     AS r (c, f, l) WHERE m.conv = r.c AND m.seq > r.f AND m.seq <= r.l";
const REMOVE_SKIPS: &str = "DELETE FROM ledger_skips m USING unnest($1::bigint[], $2::bigint[], $3::bigint[])
     AS r (c, f, l) WHERE m.conv = r.c AND m.seq > r.f AND m.seq <= r.l";
const REMOVE_RECALLS: &str =
    "DELETE FROM ledger_recalls m USING unnest($1::bigint[], $2::bigint[], $3::bigint[])
     AS r (c, f, l) WHERE m.conv = r.c AND m.seq > r.f AND m.seq <= r.l";
const MOVE_FLOORS: &str = "UPDATE ledger_conversations c SET floor = GREATEST(c.floor, r.l)
     FROM unnest($1::bigint[], $2::bigint[]) AS r (i, l) WHERE c.id = r.i";
const REMOVE_LOGS: &str = "DELETE FROM ledger_logs m USING unnest($1::bigint[], $2::bigint[], $3::bigint[])
     AS r (u, f, l) WHERE m.user_id = r.u AND m.position > r.f AND m.position <= r.l";
const REMOVE_HIDES: &str = "DELETE FROM ledger_hides h USING ledger_conversations c
     WHERE h.user_id = ANY($1::bigint[]) AND c.id = h.conv AND h.seq <= c.floor";
const MOVE_LOG_FLOORS: &str = "UPDATE ledger_users u SET floor = GREATEST(u.floor, r.l)
     FROM unnest($1::bigint[], $2::bigint[]) AS r (i, l) WHERE u.id = r.i";

/// Fronts that a step removes: owner, floor, last number that goes.
#[derive(Debug, Default)]
struct Fronts {
    owner: Vec<i64>,
    floor: Vec<i64>,
    last: Vec<i64>,
    rows: i64,
}

impl Fronts {
    fn push(&mut self, owner: i64, floor: i64, last: i64, rows: usize) {
        self.owner.push(owner);
        self.floor.push(floor);
        self.last.push(last);
        self.rows += signed(rows as u64);
    }
}

/// How far a step may go.
struct Bounds {
    rows_max: i64,
    until: Instant,
}

impl Bounds {
    /// Rows that are left, of which an owner of `fronts` may take at least one if it is the first.
    fn left(&self, fronts: &Fronts) -> i64 {
        (self.rows_max - fronts.rows).max(i64::from(fronts.owner.is_empty()))
    }
}

fn place(kind: u8, id: i64) -> Option<TrimPlace> {
    Some(TrimPlace([&[kind], &id.to_be_bytes()[..]].concat()))
}

impl PgLedger {
    pub(super) fn trim_step(
        &self,
        retention: Retention<'_>,
        from: &TrimPlace,
        budget: TrimBudget,
    ) -> Result<Trimmed, LedgerError> {
        let rows = signed(budget.rows as u64).clamp(1, MESSAGES_MAX * 4);
        let until = Instant::now() + budget.time;
        let id = |bytes: &[u8]| bytes.try_into().map_or(0, i64::from_be_bytes);
        let mut done = Trimmed::default();
        let users_from = match from.0.split_first() {
            Some((&USER, bytes)) => id(bytes),
            other => {
                let from = other.map_or(0, |(_, bytes)| id(bytes));
                // A message has four rows: its own, its key's, and two of logs.
                let bounds = Bounds { rows_max: (rows / 4).max(1), until };
                let (fronts, next) = self.conv_fronts(retention, from, &bounds)?;
                if !fronts.owner.is_empty() {
                    done.messages = self.server.wait(self.remove_messages(&fronts))?;
                    self.metrics.trimmed_messages.increment(done.messages);
                }
                if next.is_some() || done.messages > 0 {
                    // Logs are for a step of their own.
                    done.next = next.and_then(|id| place(CONV, id)).or_else(|| place(USER, 0));
                    return Ok(done);
                }
                0
            }
        };
        let bounds = Bounds { rows_max: rows, until };
        let (fronts, hides, next) = self.log_fronts(users_from, &bounds)?;
        if !fronts.owner.is_empty() || !hides.is_empty() {
            done.log_entries = self.server.wait(self.remove_entries(&fronts, &hides))?;
        }
        done.next = next.and_then(|id| place(USER, id));
        Ok(done)
    }

    /// What goes of the conversations from `from` on, and where the next step goes on.
    fn conv_fronts(
        &self,
        retention: Retention<'_>,
        mut from: i64,
        bounds: &Bounds,
    ) -> Result<(Fronts, Option<i64>), LedgerError> {
        let mut fronts = Fronts::default();
        let mut first = true;
        loop {
            let rows = self.query(CONVS, &[&from, &PORTION])?;
            for row in &rows {
                let (id, floor, oldest_ms): (i64, i64, Option<i64>) = (row.get(0), row.get(2), row.get(3));
                if !first && (bounds.left(&fronts) == 0 || Instant::now() >= bounds.until) {
                    return Ok((fronts, Some(id)));
                }
                first = false;
                from = id + 1;
                let Some(oldest_ms) = oldest_ms else { continue };
                let key = ConvKey::from_bytes(row.get(1)).ok_or_else(|| {
                    LedgerError::Damaged("the name of a conversation is unreadable".to_owned())
                })?;
                let cutoff_ms = signed(retention(&key));
                if oldest_ms >= cutoff_ms {
                    continue;
                }
                let left = bounds.left(&fronts);
                let front = self.query(FRONT, &[&id, &floor, &left])?;
                let old = front.iter().take_while(|row| row.get::<_, i64>(1) < cutoff_ms).count();
                if let Some(last) = old.checked_sub(1) {
                    fronts.push(id, floor, front[last].get(0), old);
                }
                if signed(old as u64) == left {
                    // Perhaps there is more of it.
                    return Ok((fronts, Some(id)));
                }
            }
            if signed(rows.len() as u64) < PORTION {
                return Ok((fronts, None));
            }
        }
    }

    /// What goes of the logs of users from `from` on, of whom hides go, and where the next step goes on.
    fn log_fronts(
        &self,
        mut from: i64,
        bounds: &Bounds,
    ) -> Result<(Fronts, Vec<i64>, Option<i64>), LedgerError> {
        let (mut fronts, mut hides) = (Fronts::default(), Vec::new());
        let mut first = true;
        loop {
            let rows = self.query(USERS, &[&from, &PORTION])?;
            for row in &rows {
                let (id, floor): (i64, i64) = (row.get(0), row.get(1));
                if !first && (bounds.left(&fronts) == 0 || Instant::now() >= bounds.until) {
                    return Ok((fronts, hides, Some(id)));
                }
                first = false;
                from = id + 1;
                if row.get(3) {
                    hides.push(id);
                }
                if row.get::<_, Option<bool>>(2) != Some(true) {
                    continue;
                }
                let left = bounds.left(&fronts);
                let front = self.query(LOG_FRONT, &[&id, &floor, &left])?;
                let gone = front.iter().take_while(|row| row.get(1)).count();
                if let Some(last) = gone.checked_sub(1) {
                    fronts.push(id, floor, front[last].get(0), gone);
                }
                if signed(gone as u64) == left {
                    return Ok((fronts, hides, Some(id)));
                }
            }
            if signed(rows.len() as u64) < PORTION {
                return Ok((fronts, hides, None));
            }
        }
    }

    async fn remove_messages(&self, fronts: &Fronts) -> Result<u64, PgError> {
        let client = self.server.writer().await?;
        let Fronts { owner, floor, last, .. } = fronts;
        let work = async {
            client.batch_execute("BEGIN ISOLATION LEVEL READ COMMITTED").await?;
            client.query(&client.prepare_cached(LOCK).await?, &[owner]).await?;
            let gone =
                client.execute(&client.prepare_cached(REMOVE_MESSAGES).await?, &[owner, floor, last]).await?;
            for sql in [REMOVE_RECEIPTS, REMOVE_COUNTS, REMOVE_SKIPS, REMOVE_RECALLS] {
                client.execute(&client.prepare_cached(sql).await?, &[owner, floor, last]).await?;
            }
            client.execute(&client.prepare_cached(MOVE_FLOORS).await?, &[owner, last]).await?;
            client.batch_execute("COMMIT").await?;
            Ok(gone)
        };
        let done = self.server.within(work).await;
        Self::finish(client, done)
    }

    async fn remove_entries(&self, fronts: &Fronts, hides: &Vec<i64>) -> Result<u64, PgError> {
        let client = self.server.writer().await?;
        let Fronts { owner, floor, last, .. } = fronts;
        let work = async {
            client.batch_execute("BEGIN ISOLATION LEVEL READ COMMITTED").await?;
            client.query(&client.prepare_cached(LOCK_USERS).await?, &[owner]).await?;
            let gone =
                client.execute(&client.prepare_cached(REMOVE_LOGS).await?, &[owner, floor, last]).await?;
            client.execute(&client.prepare_cached(REMOVE_HIDES).await?, &[hides]).await?;
            client.execute(&client.prepare_cached(MOVE_LOG_FLOORS).await?, &[owner, last]).await?;
            client.batch_execute("COMMIT").await?;
            Ok(gone)
        };
        let done = self.server.within(work).await;
        Self::finish(client, done)
    }

    fn finish<T>(client: Client, done: Result<T, PgError>) -> Result<T, PgError> {
        if done.is_err() {
            drop(Client::take(client));
        }
        done
    }
}
