//! One batch, one transaction.

use std::collections::{BTreeMap, BTreeSet};
use std::pin::Pin;
use std::time::{Duration, Instant};

use deadpool_postgres::Client;
use futures_util::future::{join_all, join5};
use nearport_chat::ledger::{Batch, Committed, LedgerError};
use tokio_postgres::types::ToSql;
use tokio_postgres::{Error, Row};

use super::plan::{BatchIds, ConvHead, Found, Plan, Planned, signed};
use super::{PATIENCE, PgLedger};
use crate::postgres::PgError;

/// Times that a batch is tried again because of another core, without a pause of the server.
const CONFLICTS_MAX: u32 = 5;

const LOCK_CONVS: &str =
    "SELECT id, head, head_ms, edit_head FROM ledger_conversations WHERE id = ANY($1::bigint[])
     ORDER BY id FOR NO KEY UPDATE";
const LOCK_USERS: &str =
    "SELECT id, head FROM ledger_users WHERE id = ANY($1::bigint[]) ORDER BY id FOR NO KEY UPDATE";
const FIND_IDEM: &str = "SELECT m.sender, m.client_msg_id, m.conv, m.seq, m.time_ms
     FROM unnest($1::bigint[], $2::bytea[]) AS k (sender, id)
     JOIN ledger_messages m ON m.sender = k.sender AND m.client_msg_id = k.id";
const FIND_EDITED: &str =
    "SELECT m.conv, m.seq, m.edit, m.body FROM unnest($1::bigint[], $2::bigint[]) AS k (conv, seq)
     JOIN ledger_messages m ON m.conv = k.conv AND m.seq = k.seq";
const FIND_THERE: &str = "SELECT m.conv, m.seq FROM unnest($1::bigint[], $2::bigint[]) AS k (conv, seq)
     JOIN ledger_messages m ON m.conv = k.conv AND m.seq = k.seq";

const ADD_MESSAGES: &str = "INSERT INTO ledger_messages (conv, seq, time_ms, edit, sender, client_msg_id, body)
     SELECT c, s, t, 0, f, i, b FROM unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::bigint[], $5::bytea[],
     $6::bytea[]) AS r (c, s, t, f, i, b)";
const ADD_LOGS: &str = "INSERT INTO ledger_logs (user_id, position, conv, seq, change)
     SELECT * FROM unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::bigint[], $5::bigint[])";
const ADD_PAIRS: &str =
    "INSERT INTO ledger_pairs (user_key, conv_key) SELECT * FROM unnest($1::bytea[], $2::bytea[])
     ON CONFLICT (user_key, conv_key) DO NOTHING";
/// Each counts on from the last one before the batch, which the lock on the conversation keeps the last.
const ADD_SKIPS: &str = "INSERT INTO ledger_skips (conv, seq, number)
     SELECT c, s, n + COALESCE((SELECT t.number FROM ledger_skips t WHERE t.conv = c ORDER BY t.seq DESC LIMIT 1), 0)
     FROM unnest($1::bigint[], $2::bigint[], $3::bigint[]) AS r (c, s, n)";
const EDIT: &str = "UPDATE ledger_messages m SET edit = r.e, body = r.b
     FROM unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::bytea[]) AS r (c, s, e, b)
     WHERE m.conv = r.c AND m.seq = r.s";
/// One that was sent so has a row already, and is left out once.
const ADD_RECALLS: &str = "INSERT INTO ledger_recalls (conv, seq)
     SELECT c, s FROM unnest($1::bigint[], $2::bigint[]) AS r (c, s)
     WHERE NOT EXISTS (SELECT 1 FROM ledger_skips t WHERE t.conv = r.c AND t.seq = r.s)
     ON CONFLICT (conv, seq) DO NOTHING";
const ADD_HIDES: &str = "INSERT INTO ledger_hides (user_id, conv, seq)
     SELECT * FROM unnest($1::bigint[], $2::bigint[], $3::bigint[]) AS r (u, c, s) ORDER BY u, c, s
     ON CONFLICT (user_id, conv, seq) DO NOTHING";
const ADD_RECEIPTS: &str = "WITH added AS (
         INSERT INTO ledger_receipts (conv, seq, user_key)
         SELECT * FROM unnest($1::bigint[], $2::bigint[], $3::bytea[])
         ON CONFLICT (conv, seq, user_key) DO NOTHING RETURNING conv, seq)
     INSERT INTO ledger_receipt_counts AS t (conv, seq, readers) SELECT conv, seq, count(*) FROM added GROUP BY conv, seq
     ON CONFLICT (conv, seq) DO UPDATE SET readers = t.readers + excluded.readers";
const MOVE_CURSORS: &str = "INSERT INTO ledger_cursors AS t (user_id, name, position)
     SELECT * FROM unnest($1::bigint[], $2::bytea[], $3::bigint[]) AS r (u, n, p) ORDER BY u, n
     ON CONFLICT (user_id, name) DO UPDATE SET position = GREATEST(t.position, excluded.position)
     WHERE excluded.position > t.position";
const SET_CURSORS: &str = "INSERT INTO ledger_cursors (user_id, name, position)
     SELECT * FROM unnest($1::bigint[], $2::bytea[], $3::bigint[]) AS r (u, n, p) ORDER BY u, n
     ON CONFLICT (user_id, name) DO UPDATE SET position = excluded.position";
const MOVE_CONVS: &str = "UPDATE ledger_conversations c SET head = r.h, head_ms = r.t, edit_head = r.e
     FROM unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::bigint[]) AS r (i, h, t, e) WHERE c.id = r.i";
const MOVE_USERS: &str =
    "UPDATE ledger_users u SET head = r.h FROM unnest($1::bigint[], $2::bigint[]) AS r (i, h)
     WHERE u.id = r.i";

impl PgLedger {
    pub(super) fn commit_batch(&self, batch: &Batch) -> Result<Committed, LedgerError> {
        if batch.is_empty() {
            return Ok(Committed::default());
        }
        let started = Instant::now();
        let outcome = self.server.wait(self.commit_patiently(batch));
        match &outcome {
            Ok(done) => {
                self.metrics.commits.increment(1);
                self.metrics.commit_seconds.record(started.elapsed());
                self.metrics.batch_items.record(batch.items() as f64);
                let duplicates = done.appended.iter().filter(|done| done.duplicate).count();
                self.metrics.duplicates.increment(duplicates as u64);
                self.state.set(None);
            }
            Err(error) => {
                self.metrics.write_failures.increment(1);
                self.state.set(Some(error.clone()));
            }
        }
        Ok(outcome?)
    }

    async fn commit_patiently(&self, batch: &Batch) -> Result<Committed, PgError> {
        let until = Instant::now() + PATIENCE;
        let (mut doubt, mut wait, mut conflicts) = (None, Duration::from_millis(5), 0);
        loop {
            let error = match self.attempt(batch, &mut doubt).await {
                Ok(done) => return Ok(done),
                Err(error) => error,
            };
            let again = match error {
                PgError::Conflict(_) | PgError::Exists(_) => {
                    // The server has undone it. A key that another core used just now is a duplicate the next time.
                    conflicts += 1;
                    self.server.metrics().conflicts.increment(1);
                    conflicts < CONFLICTS_MAX
                }
                PgError::Unavailable(_) => Instant::now() + wait < until,
                PgError::Full(_) | PgError::Other(_) => false,
            };
            if !again {
                return Err(error);
            }
            tokio::time::sleep(wait).await;
            wait = (wait * 2).min(Duration::from_millis(250));
        }
    }

    /// One try. `doubt` holds what was under way when a connection broke in the last one.
    async fn attempt(&self, batch: &Batch, doubt: &mut Option<Planned>) -> Result<Committed, PgError> {
        let client = self.server.writer().await?;
        let outcome = self.transact(&client, batch, doubt).await;
        if outcome.is_err() {
            // In whatever state it is: the server undoes what is not committed, and nobody gets this connection again.
            drop(Client::take(client));
        }
        outcome
    }

    async fn transact(
        &self,
        client: &Client,
        batch: &Batch,
        doubt: &mut Option<Planned>,
    ) -> Result<Committed, PgError> {
        let ids = self.ids(client, batch).await?;
        let found = self.server.within(find(client, batch, &ids)).await?;
        if let Some(planned) = doubt.take()
            && Plan::was_committed(&planned, batch, &ids, &found)
        {
            self.metrics.resolved.increment(1);
            tracing::info!("a commit whose answer was lost had been made");
            // Nothing was changed in this transaction; an error would hide what is known now.
            let _ = self.server.within(client.batch_execute("ROLLBACK")).await;
            return Ok(planned.done);
        }
        let plan = Plan::new(batch, &ids, &found);
        *doubt = Some(Planned { done: plan.done.clone(), first: plan.first });
        let written = self.server.within(write(client, &plan)).await;
        if !matches!(written, Err(PgError::Unavailable(_))) {
            // The server has said what became of it. An error before this, of another try, says nothing about an earlier one.
            *doubt = None;
        }
        written.map(|()| plan.done)
    }

    async fn ids<'a>(&self, client: &Client, batch: &'a Batch) -> Result<BatchIds<'a>, PgError> {
        let convs: BTreeSet<&[u8]> = batch.appends.iter().map(|append| append.conv.as_bytes()).collect();
        let edited = batch.edits.iter().map(|edit| edit.conv.as_bytes());
        let hidden = batch.hides.iter().map(|hide| hide.conv.as_bytes());
        let read = batch.receipts.iter().map(|receipt| receipt.conv.as_bytes());
        let found: BTreeSet<&[u8]> =
            edited.chain(hidden).chain(read).filter(|conv| !convs.contains(conv)).collect();
        let appends = batch.appends.iter().flat_map(|append| {
            std::iter::once(append.idem.sender.as_bytes())
                .chain(append.logs.iter().map(|user| user.as_bytes()))
        });
        let edits = batch.edits.iter().flat_map(|edit| edit.logs.iter().map(|user| user.as_bytes()));
        let hides = batch.hides.iter().map(|hide| hide.user.as_bytes());
        let cursors = batch.cursors.iter().chain(&batch.resets).map(|cursor| cursor.user.as_bytes());
        let users: BTreeSet<&[u8]> = appends.chain(edits).chain(hides).chain(cursors).collect();
        Ok(BatchIds {
            convs: self.convs.ids(&self.server, client, &convs, &found).await?,
            users: self.users.ids(&self.server, client, &users, &BTreeSet::new()).await?,
        })
    }
}

/// Begins, locks the heads that the batch moves, and looks up what it is about. One round trip.
async fn find(client: &Client, batch: &Batch, ids: &BatchIds<'_>) -> Result<Found, Error> {
    let conv = |key: &[u8]| ids.convs.get(key).copied();
    let appended = batch.appends.iter().filter_map(|append| conv(append.conv.as_bytes()));
    let edited = batch.edits.iter().filter_map(|edit| conv(edit.conv.as_bytes()));
    let read = batch.receipts.iter().filter_map(|receipt| conv(receipt.conv.as_bytes()));
    let convs: Vec<i64> = appended.chain(edited).chain(read).collect::<BTreeSet<_>>().into_iter().collect();
    let logs = batch.appends.iter().flat_map(|append| &append.logs);
    let logs = logs.chain(batch.edits.iter().flat_map(|edit| &edit.logs));
    let users: Vec<i64> =
        logs.map(|user| ids.users[user.as_bytes()]).collect::<BTreeSet<_>>().into_iter().collect();
    let senders: Vec<i64> =
        batch.appends.iter().map(|append| ids.users[append.idem.sender.as_bytes()]).collect();
    let client_ids: Vec<&[u8]> = batch.appends.iter().map(|append| &append.idem.client_msg_id[..]).collect();
    let refs = |refs: &mut dyn Iterator<Item = (&[u8], u64)>| -> (Vec<i64>, Vec<i64>) {
        refs.filter_map(|(key, seq)| Some((conv(key)?, signed(seq))))
            .collect::<BTreeSet<_>>()
            .into_iter()
            .unzip()
    };
    let edits = refs(&mut batch.edits.iter().map(|edit| (edit.conv.as_bytes(), edit.seq)));
    let hides = batch.hides.iter().map(|hide| (hide.conv.as_bytes(), hide.seq));
    let receipts = batch.receipts.iter().map(|receipt| (receipt.conv.as_bytes(), receipt.seq));
    let there = refs(&mut hides.chain(receipts));

    prepare(client, &[LOCK_CONVS, LOCK_USERS, FIND_IDEM, FIND_EDITED, FIND_THERE]).await?;
    // Polled, and so sent, in this order: what is looked up is looked up under the locks.
    let (begun, (locked, heads, idem, edited, there)) = futures_util::future::join(
        client.batch_execute("BEGIN ISOLATION LEVEL READ COMMITTED"),
        join5(
            rows(client, LOCK_CONVS, convs.is_empty(), vec![&convs]),
            rows(client, LOCK_USERS, users.is_empty(), vec![&users]),
            rows(client, FIND_IDEM, senders.is_empty(), vec![&senders, &client_ids]),
            rows(client, FIND_EDITED, edits.0.is_empty(), vec![&edits.0, &edits.1]),
            rows(client, FIND_THERE, there.0.is_empty(), vec![&there.0, &there.1]),
        ),
    )
    .await;
    begun?;
    let mut found = Found::default();
    for row in locked? {
        let head = ConvHead { seq: row.try_get(1)?, time_ms: row.try_get(2)?, edit: row.try_get(3)? };
        found.convs.insert(row.try_get(0)?, head);
    }
    for row in heads? {
        found.users.insert(row.try_get(0)?, row.try_get(1)?);
    }
    for row in idem? {
        let Ok(client_id) = <[u8; 16]>::try_from(row.try_get::<_, &[u8]>(1)?) else { continue };
        let place = (row.try_get(2)?, row.try_get(3)?, row.try_get(4)?);
        found.idem.insert((row.try_get(0)?, client_id), place);
    }
    for row in edited? {
        let key = (row.try_get(0)?, row.try_get(1)?);
        found.edited.insert(key, (row.try_get(2)?, row.try_get(3)?));
    }
    for row in there? {
        found.there.insert((row.try_get(0)?, row.try_get(1)?));
    }
    Ok(found)
}

/// So that nothing has to be asked for between statements that travel together.
async fn prepare(client: &Client, statements: &[&str]) -> Result<(), Error> {
    for sql in statements {
        client.prepare_cached(sql).await?;
    }
    Ok(())
}

async fn rows(
    client: &Client,
    sql: &str,
    nothing: bool,
    params: Vec<&(dyn ToSql + Sync)>,
) -> Result<Vec<Row>, Error> {
    if nothing {
        return Ok(Vec::new());
    }
    let statement = client.prepare_cached(sql).await?;
    client.query(&statement, &params).await
}

/// Statements that travel together.
pub(super) type Sent<'a> = Vec<Pin<Box<dyn Future<Output = Result<(), Error>> + Send + 'a>>>;

pub(super) fn send<'a>(
    client: &'a Client,
    sql: &'static str,
    params: Vec<&'a (dyn ToSql + Sync)>,
    to: &mut Sent<'a>,
) {
    to.push(Box::pin(async move {
        let statement = client.prepare_cached(sql).await?;
        client.execute(&statement, &params).await.map(drop)
    }));
}

/// Writes the plan and commits. One round trip and the server's sync.
async fn write(client: &Client, plan: &Plan<'_>) -> Result<(), Error> {
    prepare(
        client,
        &[
            ADD_MESSAGES,
            ADD_LOGS,
            ADD_PAIRS,
            ADD_SKIPS,
            EDIT,
            ADD_RECALLS,
            ADD_HIDES,
            ADD_RECEIPTS,
            MOVE_CURSORS,
            MOVE_CONVS,
            MOVE_USERS,
        ],
    )
    .await?;
    if !plan.outbox.is_empty() {
        prepare(client, &super::outbox::STATEMENTS).await?;
    }
    let mut edits = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for ((conv, seq), (number, body)) in &plan.edits {
        edits.0.push(*conv);
        edits.1.push(*seq);
        edits.2.push(*number);
        edits.3.push(*body);
    }
    let mut convs = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for (id, head) in &plan.convs {
        convs.0.push(*id);
        convs.1.push(head.seq);
        convs.2.push(head.time_ms);
        convs.3.push(head.edit);
    }
    let recalls: (Vec<i64>, Vec<i64>) = plan.recalls.iter().copied().unzip();
    let users: (Vec<i64>, Vec<i64>) = plan.users.iter().map(|(id, head)| (*id, *head)).unzip();
    let (cursors, resets) = (columns(&plan.cursors), columns(&plan.resets));
    let mut sent: Sent<'_> = Vec::with_capacity(19);
    let Plan { messages, logs, skips, pairs, hides, receipts, .. } = plan;
    if !messages.conv.is_empty() {
        let params: Vec<&(dyn ToSql + Sync)> = vec![
            &messages.conv,
            &messages.seq,
            &messages.time_ms,
            &messages.sender,
            &messages.client_msg_id,
            &messages.body,
        ];
        send(client, ADD_MESSAGES, params, &mut sent);
    }
    if !logs.user.is_empty() {
        let params: Vec<&(dyn ToSql + Sync)> =
            vec![&logs.user, &logs.position, &logs.conv, &logs.seq, &logs.change];
        send(client, ADD_LOGS, params, &mut sent);
    }
    if !skips.0.is_empty() {
        send(client, ADD_SKIPS, vec![&skips.0, &skips.1, &skips.2], &mut sent);
    }
    if !pairs.0.is_empty() {
        send(client, ADD_PAIRS, vec![&pairs.0, &pairs.1], &mut sent);
    }
    if !edits.0.is_empty() {
        send(client, EDIT, vec![&edits.0, &edits.1, &edits.2, &edits.3], &mut sent);
    }
    if !recalls.0.is_empty() {
        send(client, ADD_RECALLS, vec![&recalls.0, &recalls.1], &mut sent);
    }
    if !hides.0.is_empty() {
        send(client, ADD_HIDES, vec![&hides.0, &hides.1, &hides.2], &mut sent);
    }
    if !receipts.0.is_empty() {
        send(client, ADD_RECEIPTS, vec![&receipts.0, &receipts.1, &receipts.2], &mut sent);
    }
    if !convs.0.is_empty() {
        send(client, MOVE_CONVS, vec![&convs.0, &convs.1, &convs.2, &convs.3], &mut sent);
    }
    if !users.0.is_empty() {
        send(client, MOVE_USERS, vec![&users.0, &users.1], &mut sent);
    }
    plan.outbox.send(client, &mut sent);
    // Last, so that no lock is asked for behind theirs.
    if !cursors.0.is_empty() {
        send(client, MOVE_CURSORS, vec![&cursors.0, &cursors.1, &cursors.2], &mut sent);
    }
    if !resets.0.is_empty() {
        send(client, SET_CURSORS, vec![&resets.0, &resets.1, &resets.2], &mut sent);
    }
    // Behind a statement that failed it undoes everything and says so to nobody: the statement's error counts.
    sent.push(Box::pin(client.batch_execute("COMMIT")));
    for outcome in join_all(sent).await {
        outcome?;
    }
    Ok(())
}

/// Users, names and positions of cursors.
fn columns(cursors: &BTreeMap<(i64, Vec<u8>), i64>) -> (Vec<i64>, Vec<&[u8]>, Vec<i64>) {
    let mut columns = (Vec::new(), Vec::new(), Vec::new());
    for ((user, name), position) in cursors {
        columns.0.push(*user);
        columns.1.push(&name[..]);
        columns.2.push(*position);
    }
    columns
}
