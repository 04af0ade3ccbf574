//! What back ends are to be told: rows that come with messages, and go once it was told.
//!
//! Numbers are given out under the lock of the shelf's row of `ledger_outbox_heads`, so they become visible in their order.

use std::collections::HashMap;

use nearport_chat::key::AppId;
use nearport_chat::ledger::{Batch, LedgerError, OutboxEntry, PageLimit, Settle, Settled, Shelf};
use tokio_postgres::Row;
use tokio_postgres::types::ToSql;

use super::PgLedger;
use super::commit::{Sent, send};
use super::plan::{signed, unsigned};

/// Rows that one statement brings at most.
const ROWS_MAX: usize = 1024;

const WAITING: i64 = 0;
const DEAD: i64 = 1;

const ADD: &str = "WITH n AS (SELECT a, count(*) AS c FROM unnest($1::bigint[]) AS a GROUP BY a),
     h AS (INSERT INTO ledger_outbox_heads AS t (app, shelf, head) SELECT a, 0, c FROM n ORDER BY a
         ON CONFLICT (app, shelf) DO UPDATE SET head = t.head + excluded.head RETURNING app, head)
     INSERT INTO ledger_outbox (app, shelf, number, seq, time_ms, died_ms, reason, body)
     SELECT r.a, 0, h.head - n.c + r.i, r.s, r.t, 0, '', r.b
     FROM unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::bigint[], $5::bytea[]) AS r (a, i, s, t, b)
     JOIN h ON h.app = r.a JOIN n ON n.a = r.a";
const REMOVE: &str =
    "DELETE FROM ledger_outbox o USING unnest($1::bigint[], $2::bigint[], $3::bigint[]) AS s (a, f, n)
     WHERE o.app = s.a AND o.shelf = s.f AND o.number = s.n";
/// From one shelf to the end of the other one.
const MOVE: &str = "WITH s AS (SELECT * FROM unnest($2::bigint[], $3::bigint[], $4::bigint[], $5::text[]) AS s (a, n, d, why)),
     g AS (DELETE FROM ledger_outbox o USING s WHERE o.app = s.a AND o.shelf = 1 - $1::bigint AND o.number = s.n
         RETURNING o.app, o.number, o.seq, o.time_ms, o.body, s.d, s.why),
     n AS (SELECT app, count(*) AS c FROM g GROUP BY app),
     h AS (INSERT INTO ledger_outbox_heads AS t (app, shelf, head) SELECT app, $1, c FROM n ORDER BY app
         ON CONFLICT (app, shelf) DO UPDATE SET head = t.head + excluded.head RETURNING app, head)
     INSERT INTO ledger_outbox (app, shelf, number, seq, time_ms, died_ms, reason, body)
     SELECT g.app, $1, h.head - n.c + row_number() OVER (PARTITION BY g.app ORDER BY g.number), g.seq, g.time_ms, g.d,
         g.why, g.body
     FROM g JOIN h ON h.app = g.app JOIN n ON n.app = g.app";
const PAGE: &str = "SELECT number, seq, time_ms, died_ms, reason, body FROM ledger_outbox
     WHERE app = $1 AND shelf = $2 AND number > $3 ORDER BY number LIMIT $4";
const LAST: &str =
    "SELECT number FROM ledger_outbox WHERE app = $1 AND shelf = $2 ORDER BY number DESC LIMIT 1";

/// Columns of what a batch changes.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    add: Added,
    remove: (Vec<i64>, Vec<i64>, Vec<i64>),
    dead: Moved,
    again: Moved,
}

#[derive(Debug, Default)]
struct Added {
    app: Vec<i64>,
    /// Which of the batch's it is of its App, from 1.
    at: Vec<i64>,
    seq: Vec<i64>,
    time_ms: Vec<i64>,
    body: Vec<Vec<u8>>,
}

#[derive(Debug, Default)]
struct Moved {
    app: Vec<i64>,
    number: Vec<i64>,
    died_ms: Vec<i64>,
    reason: Vec<String>,
}

fn shelf_number(shelf: Shelf) -> i64 {
    match shelf {
        Shelf::Waiting => WAITING,
        Shelf::Dead => DEAD,
    }
}

impl Outbox {
    pub(super) fn new(batch: &Batch, entries: Vec<(AppId, OutboxEntry)>) -> Self {
        let mut outbox = Self::default();
        let mut counts = HashMap::new();
        for (app, entry) in entries {
            let at = counts.entry(app).or_insert(0);
            *at += 1;
            outbox.add.app.push(app.0.into());
            outbox.add.at.push(*at);
            outbox.add.seq.push(signed(entry.seq));
            outbox.add.time_ms.push(signed(entry.time_ms));
            outbox.add.body.push(entry.body.to_vec());
        }
        for Settle { app, number, what } in &batch.settles {
            let (app, number) = (i64::from(app.0), signed(*number));
            match what {
                Settled::Told | Settled::Forgotten => {
                    outbox.remove.0.push(app);
                    outbox.remove.1.push(shelf_number(what.from()));
                    outbox.remove.2.push(number);
                }
                Settled::Dead { .. } | Settled::Again => {
                    let blank = OutboxEntry {
                        number: 0,
                        seq: 0,
                        time_ms: 0,
                        died_ms: 0,
                        reason: String::new(),
                        body: bytes::Bytes::new(),
                    };
                    let Some(entry) = blank.settled(what) else { continue };
                    let to =
                        if matches!(what, Settled::Again) { &mut outbox.again } else { &mut outbox.dead };
                    to.app.push(app);
                    to.number.push(number);
                    to.died_ms.push(signed(entry.died_ms));
                    // PostgreSQL keeps no NUL in a text.
                    to.reason.push(entry.reason.replace('\0', " "));
                }
            }
        }
        outbox
    }

    pub(super) fn is_empty(&self) -> bool {
        self.add.app.is_empty()
            && self.remove.0.is_empty()
            && self.dead.app.is_empty()
            && self.again.app.is_empty()
    }

    pub(super) fn send<'a>(&'a self, client: &'a deadpool_postgres::Client, sent: &mut Sent<'a>) {
        let Self { add, remove, dead, again } = self;
        if !add.app.is_empty() {
            let params: Vec<&(dyn ToSql + Sync)> = vec![&add.app, &add.at, &add.seq, &add.time_ms, &add.body];
            send(client, ADD, params, sent);
        }
        if !remove.0.is_empty() {
            send(client, REMOVE, vec![&remove.0, &remove.1, &remove.2], sent);
        }
        for (to, moved) in [(&DEAD, dead), (&WAITING, again)] {
            if !moved.app.is_empty() {
                let Moved { app, number, died_ms, reason } = moved;
                send(client, MOVE, vec![to, app, number, died_ms, reason], sent);
            }
        }
    }
}

/// The statements, for whoever prepares them.
pub(super) const STATEMENTS: [&str; 3] = [ADD, REMOVE, MOVE];

impl PgLedger {
    pub(super) fn outbox_page(
        &self,
        app: AppId,
        shelf: Shelf,
        after: u64,
        limit: PageLimit,
    ) -> Result<Vec<OutboxEntry>, LedgerError> {
        let rows_max = signed(limit.entries.clamp(1, ROWS_MAX) as u64);
        let (app, shelf) = (i64::from(app.0), shelf_number(shelf));
        let rows = self.query(PAGE, &[&app, &shelf, &signed(after), &rows_max])?;
        let (mut page, mut bytes) = (Vec::with_capacity(rows.len()), 0);
        for row in &rows {
            let entry = entry(row).map_err(|error| LedgerError::Damaged(error.to_string()))?;
            bytes += entry.body.len();
            page.push(entry);
            if bytes >= limit.bytes {
                break;
            }
        }
        Ok(page)
    }

    pub(super) fn last_of_outbox(&self, app: AppId, shelf: Shelf) -> Result<u64, LedgerError> {
        let rows = self.query(LAST, &[&i64::from(app.0), &shelf_number(shelf)])?;
        let number = |row: &Row| row.try_get(0).map(unsigned);
        rows.first().map_or(Ok(0), number).map_err(|error| LedgerError::Damaged(error.to_string()))
    }
}

fn entry(row: &Row) -> Result<OutboxEntry, tokio_postgres::Error> {
    Ok(OutboxEntry {
        number: unsigned(row.try_get(0)?),
        seq: unsigned(row.try_get(1)?),
        time_ms: unsigned(row.try_get(2)?),
        died_ms: unsigned(row.try_get(3)?),
        reason: row.try_get(4)?,
        body: row.try_get::<_, Vec<u8>>(5)?.into(),
    })
}
