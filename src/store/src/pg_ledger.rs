//! [`PgLedger`]: the ledger in PostgreSQL, for several cores at once.
//!
//! One commit is one transaction of two round trips: first the rows that hold the heads are locked, conversations before
//! users and each in the order of their ids, so that cores wait for each other and never in a circle; then everything is
//! written with one statement per table (`unnest`), and committed. Sequence numbers and positions are given out between the
//! two, so they have no holes, and become visible in their order.
//!
//! **When the connection is lost in COMMIT** the outcome is unknown. The next try locks the same rows, which waits for the
//! former transaction to end, if the server still runs it, and then looks whether what it had planned is there: the
//! idempotency key of a message of it under the same number, or a change under its number. If so it was committed, and
//! is answered as such. The same keys find it if the client comes again, after whatever time.
//!
//! **A restart of the server** is waited for, [`PATIENCE`] long, with the batch in hand. After that the commit fails, and the
//! next one tries anew: unlike a disk, a server that is back has told what it has.

mod commit;
mod metrics;
mod names;
mod outbox;
mod plan;
mod read;
mod trim;

use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use deadpool_postgres::Client;
use nearport_chat::ledger::LedgerError;
use tokio_postgres::Row;
use tokio_postgres::types::ToSql;

use crate::postgres::{PgError, Postgres, WeakPostgres};
use metrics::Metrics;
use names::Names;

/// How long a commit goes on trying while the server is away. Requests wait meanwhile in the writer's bounded queue.
const PATIENCE: Duration = Duration::from_secs(5);

/// How often the server is asked whether it takes writes, for `/readyz`.
const LOOK: Duration = Duration::from_secs(2);

/// Connections that may turn out to be closed when a read begins; after a restart of the server all of them are.
const STALE_MAX: u32 = 64;

/// The ledger in PostgreSQL; made by [`PgLedger::open`].
#[derive(Debug)]
pub struct PgLedger {
    server: Postgres,
    convs: Names,
    users: Names,
    state: Arc<State>,
    metrics: Metrics,
}

/// Why the server takes no writes, as far as is known.
#[derive(Debug, Default)]
struct State(Mutex<Option<PgError>>);

impl State {
    fn set(&self, known: Option<PgError>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = known;
    }

    fn get(&self) -> Option<PgError> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl PgLedger {
    /// Brings the tables up to date and gives the ledger in them.
    ///
    /// # Errors
    /// [`LedgerError::Unavailable`] if the server is not there, [`LedgerError::Io`], also when a newer version of this
    /// program has changed the tables.
    pub fn open(server: &Postgres) -> Result<Self, LedgerError> {
        let runner = crate::sql::migrations::ledger().map_err(|error| LedgerError::Io(error.to_string()))?;
        let refused = |runner: &refinery::Runner, error| {
            LedgerError::Io(crate::sql::migrations::refused(runner, error).to_string())
        };
        server.migrate(&runner, refused, LedgerError::from)?;
        crate::transfer::refuse_unfinished(server)?;
        let ledger = Self {
            server: server.clone(),
            convs: Names::new(&names::CONVERSATIONS),
            users: Names::new(&names::USERS),
            state: Arc::default(),
            metrics: Metrics::new(),
        };
        let fsync = "SELECT current_setting('fsync') = 'on'";
        let rows = ledger.server.wait(ledger.rows(fsync, &[]))?;
        if !rows[0].get::<_, bool>(0) {
            tracing::warn!(
                "PostgreSQL runs with fsync = off: what it acknowledges does not survive the machine"
            );
        }
        server.spawn(look(server.downgrade(), Arc::downgrade(&ledger.state)));
        Ok(ledger)
    }

    /// Rows of a query that changes nothing. A connection that the server closed while it lay in the pool is replaced.
    async fn rows(&self, sql: &'static str, params: &[&(dyn ToSql + Sync)]) -> Result<Vec<Row>, PgError> {
        let mut tries = STALE_MAX;
        loop {
            let client = self.server.reader().await?;
            let done = self
                .server
                .within(async {
                    let statement = client.prepare_cached(sql).await?;
                    client.query(&statement, params).await
                })
                .await;
            tries -= 1;
            match done {
                Err(PgError::Unavailable(_)) if client.is_closed() && tries > 0 => {}
                Err(error @ PgError::Unavailable(_)) => {
                    // Perhaps an answer is still on its way: nobody gets this connection again.
                    drop(Client::take(client));
                    return Err(error);
                }
                done => return done,
            }
        }
    }

    fn query(&self, sql: &'static str, params: &[&(dyn ToSql + Sync)]) -> Result<Vec<Row>, LedgerError> {
        Ok(self.server.wait(self.rows(sql, params))?)
    }
}

/// Asks now and then whether the server takes writes, as long as the ledger lives.
async fn look(server: WeakPostgres, state: Weak<State>) {
    loop {
        tokio::time::sleep(LOOK).await;
        let (Some(server), Some(state)) = (server.upgrade(), state.upgrade()) else { return };
        let found = match server.writer().await {
            Ok(client) => {
                let ask = "SELECT 1 WHERE pg_is_in_recovery()";
                match server.within(client.query(ask, &[])).await {
                    Ok(rows) if rows.is_empty() => None,
                    Ok(_) => Some(PgError::Unavailable("the server is a standby".to_owned())),
                    Err(error) => Some(error),
                }
            }
            Err(error) => Some(error),
        };
        state.set(found);
    }
}

impl From<PgError> for LedgerError {
    fn from(error: PgError) -> Self {
        match error {
            PgError::Full(text) => Self::Full(text),
            PgError::Unavailable(text) | PgError::Conflict(text) => Self::Unavailable(text),
            PgError::Exists(text) => Self::Damaged(text),
            PgError::Other(text) => Self::Io(text),
        }
    }
}
