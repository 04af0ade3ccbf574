//! How far a copy is: one row in the target.

use tokio_postgres::{Client, Error};

use super::table::Table;
use super::{Source, TransferError};
use crate::fjall_ledger::{Page, State};
use crate::postgres::{DURABLE, PgError, Postgres};

const MAKE: &str = "CREATE TABLE IF NOT EXISTS nearport_copy (
         one         BIGINT  NOT NULL PRIMARY KEY CHECK (one = 1),
         store       BYTEA   NOT NULL,
         commit      BIGINT  NOT NULL,
         step        BIGINT  NOT NULL,
         place       BYTEA   NOT NULL,
         verified    BOOLEAN NOT NULL
     )";
const FIND: &str = "SELECT store, commit, step, place, verified FROM nearport_copy";
const BEGIN: &str = "INSERT INTO nearport_copy VALUES (1, $1, $2, 0, '', false)";
const MOVE: &str = "UPDATE nearport_copy SET step = $1, place = $2
     WHERE store = $3 AND step = $4 AND place = $5 AND NOT verified";
const FINISH: &str = "UPDATE nearport_copy SET verified = true WHERE store = $1";

/// A session as this work needs it; see `PostgresOptions` on plans and durability.
const SESSION: &str = "SET enable_seqscan = off; SET enable_hashjoin = off;
     SET enable_mergejoin = off; SET jit = off; SET idle_in_transaction_session_timeout = '60s'";

/// The next page to write: `place` in the table `step`. Behind the last table everything is written.
#[derive(Debug)]
pub(super) struct Progress {
    store: [u8; 16],
    pub(super) step: i64,
    pub(super) place: Vec<u8>,
}

impl Progress {
    /// What an earlier copy of this state has left, and whether there was one; or the first one, in a database without data.
    pub(super) async fn begin(
        client: &Client,
        state: &State,
        tables: &[(Source, Table)],
    ) -> Result<Result<(Self, bool), TransferError>, Error> {
        let refused = |why: String| Ok(Err(TransferError::Refused(why)));
        client.batch_execute(SESSION).await?;
        client.batch_execute(DURABLE).await?;
        // Two that begin at once: one of them finds the other's row. Made in the transaction, so that a refusal leaves nothing.
        client.batch_execute("BEGIN").await?;
        client.batch_execute(MAKE).await?;
        client.batch_execute("LOCK TABLE nearport_copy IN EXCLUSIVE MODE").await?;
        let commit = i64::try_from(state.commit).unwrap_or(i64::MAX);
        let Some(row) = client.query_opt(FIND, &[]).await? else {
            for (_, table) in tables {
                let any = format!("SELECT 1 FROM \"{}\" LIMIT 1", table.name);
                if client.query_opt(&any, &[]).await?.is_some() {
                    client.batch_execute("ROLLBACK").await?;
                    return refused(format!(
                        "the database holds data already (table {}): copy into an empty one",
                        table.name
                    ));
                }
            }
            client.execute(BEGIN, &[&&state.store[..], &commit]).await?;
            client.batch_execute("COMMIT").await?;
            return Ok(Ok((Self { store: state.store, step: 0, place: Vec::new() }, false)));
        };
        client.batch_execute("COMMIT").await?;
        if row.try_get::<_, &[u8]>(0)? != state.store {
            return refused("the database holds a copy of another store: copy into an empty one".to_owned());
        }
        if row.try_get(4)? {
            return refused(
                "the database holds a complete copy of this store already, which may be in use: nothing to do"
                    .to_owned(),
            );
        }
        let begun: i64 = row.try_get(1)?;
        if begun != commit {
            return refused(format!(
                "the store has changed since the copy was begun (commit {begun} then, {commit} now): empty the \
                 database and copy again"
            ));
        }
        Ok(Ok((Self { store: state.store, step: row.try_get(2)?, place: row.try_get(3)? }, true)))
    }

    /// Writes a page and the place behind it, both or none.
    pub(super) async fn write(
        self,
        client: &Client,
        table: &Table,
        page: Page,
    ) -> Result<Result<Self, TransferError>, Error> {
        client.batch_execute("BEGIN").await?;
        let (step, place) = match page.next {
            Some(place) => (self.step, place),
            None => (self.step + 1, Vec::new()),
        };
        let moved = client.execute(MOVE, &[&step, &place, &&self.store[..], &self.step, &self.place]).await?;
        if moved != 1 {
            let why = "somebody else copies into this database at the same time".to_owned();
            client.batch_execute("ROLLBACK").await?;
            return Ok(Err(TransferError::Refused(why)));
        }
        let written = table.write(client, &page.rows).await?;
        if written != page.rows.len() as u64 {
            client.batch_execute("ROLLBACK").await?;
            let why = format!("{} took {written} of {} rows", table.name, page.rows.len());
            return Ok(Err(TransferError::Differs(why)));
        }
        if let (Some(last), true) = (&table.last, step > self.step) {
            client.batch_execute(last).await?;
        }
        client.batch_execute("COMMIT").await?;
        Ok(Ok(Self { step, place, ..self }))
    }

    /// From now on the database may be used.
    pub(super) async fn finish(&self, client: &Client) -> Result<(), Error> {
        client.execute(FINISH, &[&&self.store[..]]).await.map(drop)
    }
}

/// Says no to a database whose copy has not come to its end.
///
/// # Errors
/// [`PgError::Other`] then, or what the server said.
pub(crate) fn refuse_unfinished(server: &Postgres) -> Result<(), PgError> {
    server.wait(async {
        let client = server.reader().await?;
        let there = client.query_one("SELECT to_regclass('nearport_copy') IS NOT NULL", &[]);
        if !server.within(there).await?.get::<_, bool>(0) {
            return Ok(());
        }
        let unfinished = client.query_opt("SELECT 1 FROM nearport_copy WHERE NOT verified", &[]);
        match server.within(unfinished).await? {
            None => Ok(()),
            Some(_) => Err(PgError::Other(
                "the database holds a copy of a store that has not come to its end: `nearport store copy` goes on with it"
                    .to_owned(),
            )),
        }
    })
}
