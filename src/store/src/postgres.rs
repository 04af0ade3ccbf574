//! Connections to PostgreSQL: bounded, made when they are needed, made again after a loss.
//!
//! The engines on it block, as all engines do: [`Postgres::wait`] runs their futures on the caller's thread, while one
//! thread of a runtime of its own moves the bytes of all connections. What every session of ours has set is in
//! [`options`]; nothing but that and the statements is asked of the server, so that what speaks PostgreSQL's protocol will do
//! (a pooler in transaction mode will not: statements are prepared once per connection).

mod error;
mod metrics;
mod options;

use std::future::Future;
use std::sync::{Arc, Weak};
use std::time::Duration;

use deadpool_postgres::{
    Client, Hook, HookError, Manager, ManagerConfig, Pool, RecyclingMethod, Runtime as PoolRuntime,
};
use tokio::runtime::{Builder, Runtime};

pub(crate) use error::PgError;
pub(crate) use metrics::Metrics;
pub(crate) use options::DURABLE;
pub use options::{BadUrl, PostgresOptions, url_without_password};

/// More than a statement may take, for its answer to come before the connection is given up for dead.
const ANSWER_SLACK: Duration = Duration::from_secs(2);

/// Connections for commits and trims of the ledger.
const WRITERS: usize = 2;

/// A database server and the connections to it. Clones share them.
#[derive(Clone)]
pub struct Postgres(Arc<Inner>);

struct Inner {
    // Dropped in this order: connections before the runtime that drives them.
    pool: Pool,
    /// For commits of the ledger: reads of everybody else never keep them waiting.
    writers: Pool,
    runtime: Option<Runtime>,
    statement_timeout: Duration,
    migrator: tokio_postgres::Config,
    tls: options::Tls,
    server: String,
    metrics: Metrics,
}

impl std::fmt::Debug for Postgres {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // The password must never reach a log.
        f.debug_struct("Postgres").field("server", &self.0.server).finish_non_exhaustive()
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.pool.close();
        self.writers.close();
        if let Some(runtime) = self.runtime.take() {
            // May happen on a thread of another runtime, where waiting for threads is forbidden.
            runtime.shutdown_background();
        }
    }
}

/// A server that its last user may let go.
pub(crate) struct WeakPostgres(Weak<Inner>);

impl WeakPostgres {
    pub(crate) fn upgrade(&self) -> Option<Postgres> {
        self.0.upgrade().map(Postgres)
    }
}

impl Postgres {
    /// Prepares connections; the first one is made when it is needed.
    ///
    /// # Errors
    /// [`BadUrl`] if the URL or what belongs to it makes no sense, or the operating system gives no thread.
    pub fn new(options: &PostgresOptions) -> Result<Self, BadUrl> {
        let runtime = Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("postgres")
            .enable_io()
            .enable_time()
            .build()
            .map_err(|error| BadUrl(format!("no thread for connections: {error}")))?;
        let config = options.config()?;
        let tls = options.connector(&config);
        let migrator = options.migrator()?;
        let durable = PostgresOptions::durable(&migrator);
        let server = options::server(&config);
        let pool = |config: tokio_postgres::Config, size: usize| {
            let recycling = ManagerConfig { recycling_method: RecyclingMethod::Fast };
            let manager = match &tls {
                Some(tls) => Manager::from_config(config, tls.clone(), recycling),
                None => Manager::from_config(config, tokio_postgres::NoTls, recycling),
            };
            Pool::builder(manager)
                .max_size(size)
                .post_create(first_words(durable, options.connect_timeout))
                .runtime(PoolRuntime::Tokio1)
                .wait_timeout(Some(options.statement_timeout))
                .create_timeout(Some(options.connect_timeout))
                .recycle_timeout(Some(options.connect_timeout))
                .build()
                .map_err(|error| BadUrl(error.to_string()))
        };
        Ok(Self(Arc::new(Inner {
            pool: pool(config.clone(), options.connections.max(2))?,
            writers: pool(config, WRITERS)?,
            runtime: Some(runtime),
            statement_timeout: options.statement_timeout,
            migrator,
            tls,
            server,
            metrics: Metrics::new(),
        })))
    }

    /// Runs `future` to its end and blocks meanwhile, also on a thread that belongs to another runtime.
    pub(crate) fn wait<F>(&self, future: F) -> F::Output
    where
        F: Future + Send,
        F::Output: Send,
    {
        let runtime = self.0.runtime.as_ref().expect("taken when the last clone is dropped");
        if tokio::runtime::Handle::try_current().is_err() {
            return runtime.block_on(future);
        }
        std::thread::scope(|scope| scope.spawn(|| runtime.block_on(future)).join())
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }

    /// For tasks of the runtime, which must not keep it.
    pub(crate) fn downgrade(&self) -> WeakPostgres {
        WeakPostgres(Arc::downgrade(&self.0))
    }

    /// A task of the runtime, for what goes on beside calls.
    pub(crate) fn spawn(&self, future: impl Future<Output = ()> + Send + 'static) {
        if let Some(runtime) = &self.0.runtime {
            drop(runtime.spawn(future));
        }
    }

    /// A free connection for reads and for the directory.
    pub(crate) async fn reader(&self) -> Result<Client, PgError> {
        self.client(&self.0.pool).await
    }

    /// A free connection for the ledger's commits and trims.
    pub(crate) async fn writer(&self) -> Result<Client, PgError> {
        self.client(&self.0.writers).await
    }

    async fn client(&self, pool: &Pool) -> Result<Client, PgError> {
        let started = std::time::Instant::now();
        let client = pool.get().await;
        self.0.metrics.wait_seconds.record(started.elapsed());
        let open = self.0.pool.status().size + self.0.writers.status().size;
        self.0.metrics.connections.set(open as f64);
        client.map_err(|error| self.count(PgError::from_pool(&error, &self.0.server)))
    }

    /// `future`, but no longer than a statement may take and its answer needs: a connection on which nothing comes back is
    /// given up by dropping its client.
    pub(crate) async fn within<T>(
        &self,
        future: impl Future<Output = Result<T, tokio_postgres::Error>>,
    ) -> Result<T, PgError> {
        let limit = self.0.statement_timeout + ANSWER_SLACK;
        match tokio::time::timeout(limit, future).await {
            Ok(done) => done.map_err(|error| self.count(PgError::from_server(&error, &self.0.server))),
            Err(_) => Err(self.count(PgError::silent(limit, &self.0.server))),
        }
    }

    /// What an error of a connection that [`Self::connect`] made means.
    pub(crate) fn error(&self, error: &tokio_postgres::Error) -> PgError {
        self.count(PgError::from_server(error, &self.0.server))
    }

    fn count(&self, error: PgError) -> PgError {
        self.0.metrics.count(&error);
        error
    }

    /// Metrics of all connections.
    pub(crate) fn metrics(&self) -> &Metrics {
        &self.0.metrics
    }

    /// Runs migrations: one process at a time, under an advisory lock that goes with its connection.
    ///
    /// # Errors
    /// What the server said, or what [`refinery`] found, as `refused` words it.
    pub(crate) fn migrate<E>(
        &self,
        runner: &refinery::Runner,
        refused: impl Fn(&refinery::Runner, refinery::Error) -> E + Send + Sync,
        failed: impl Fn(PgError) -> E + Send + Sync,
    ) -> Result<(), E>
    where
        E: Send,
    {
        self.wait(async {
            let mut client = self.connect().await.map_err(&failed)?;
            let lock = format!("SELECT pg_advisory_lock({})", options::MIGRATION_LOCK);
            client
                .batch_execute(&lock)
                .await
                .map_err(|error| failed(PgError::from_server(&error, &self.0.server)))?;
            let outcome = runner.run_async(&mut client).await;
            // The lock goes with the connection in any case.
            let _ = client.batch_execute("SELECT pg_advisory_unlock_all()").await;
            outcome.map(drop).map_err(|error| refused(runner, error))
        })
    }

    /// A connection of its own, without a limit on how long a statement takes: an index on many rows is not quick.
    pub(crate) async fn connect(&self) -> Result<tokio_postgres::Client, PgError> {
        let failed = |error| PgError::from_server(&error, &self.0.server);
        match &self.0.tls {
            Some(tls) => {
                let (client, connection) = self.0.migrator.connect(tls.clone()).await.map_err(failed)?;
                self.spawn(async { drop(connection.await) });
                Ok(client)
            }
            None => {
                let (client, connection) =
                    self.0.migrator.connect(tokio_postgres::NoTls).await.map_err(failed)?;
                self.spawn(async { drop(connection.await) });
                Ok(client)
            }
        }
    }
}

/// Runs a statement on each connection that is made.
fn first_words(statement: Option<&'static str>, limit: Duration) -> Hook {
    Hook::async_fn(move |client, _| {
        Box::pin(async move {
            let Some(statement) = statement else { return Ok(()) };
            match tokio::time::timeout(limit, client.batch_execute(statement)).await {
                Ok(done) => done.map_err(HookError::Backend),
                Err(_) => Err(HookError::message("a new connection does not answer")),
            }
        })
    })
}
