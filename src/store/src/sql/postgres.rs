//! The directory's engine on PostgreSQL.
//!
//! A write runs SERIALIZABLE: as if it were alone, like SQLite's one writer. When another core got in its way the server
//! undoes it, and it runs again, a bounded number of times. A read runs on one snapshot. BEGIN travels with the first
//! statement.

use std::time::Duration;

use bytes::BytesMut;
use deadpool_postgres::Client;
use futures_util::future::join_all;
use nearport_chat::directory::DirectoryError;
use tokio_postgres::Statement;
use tokio_postgres::types::{FromSql, IsNull, ToSql, Type, to_sql_checked};

use super::migrations::{self, Dialect};
use super::{Engine, Row, SqlDirectory, Tx, Value, Work};
use crate::postgres::{PgError, Postgres};

/// Times that a write runs before it gives way for good. Each waits longer than the one before, 2 ms at first.
const TRIES_MAX: u32 = 10;

/// Connections that may turn out to be closed when a transaction begins; after a restart of the server all of them are.
const STALE_MAX: u32 = 64;

/// Statements under way at once. `join_all` sends up to 30 in their order.
const PIPELINE_MAX: usize = 30;

impl SqlDirectory<Postgres> {
    /// Brings the tables up to date and gives the directory in them.
    ///
    /// # Errors
    /// [`DirectoryError::Unavailable`] if the server is not there, [`DirectoryError::Engine`], also when a newer version of
    /// this program has changed the tables.
    pub fn postgres(server: &Postgres) -> Result<Self, DirectoryError> {
        let runner = migrations::directory(Dialect::Postgres)?;
        server.migrate(&runner, migrations::refused, DirectoryError::from)?;
        crate::transfer::refuse_unfinished(server)?;
        Ok(Self::new(server.clone()))
    }
}

impl Engine for Postgres {
    fn read(&self, work: &mut Work<'_>) -> Result<(), DirectoryError> {
        let mut tx = PgTx::new(self, "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY");
        let outcome = work(&mut tx);
        tx.end(outcome).map_err(|failure| failure.error)
    }

    fn write(&self, work: &mut Work<'_>) -> Result<(), DirectoryError> {
        let mut wait = Duration::from_millis(2);
        for left in (0..TRIES_MAX).rev() {
            let mut tx = PgTx::new(self, "BEGIN ISOLATION LEVEL SERIALIZABLE");
            let outcome = work(&mut tx);
            match tx.end(outcome) {
                Err(failure) if failure.conflict && left > 0 => {
                    self.metrics().conflicts.increment(1);
                    self.wait(tokio::time::sleep(jittered(wait)));
                    wait *= 2;
                }
                done => return done.map_err(|failure| failure.error),
            }
        }
        unreachable!("the last try returns")
    }
}

/// Between half of `wait` and all of it: two cores that got in each other's way do not meet again.
fn jittered(wait: Duration) -> Duration {
    let random = std::hash::BuildHasher::hash_one(&std::hash::RandomState::new(), 0);
    wait.mul_f64(0.5 + (random % 1024) as f64 / 2048.0)
}

struct Failure {
    error: DirectoryError,
    /// The server undid the transaction because of another one.
    conflict: bool,
}

/// A transaction that begins with its first statement. Dropped before its end it takes its connection along, and the
/// server undoes it.
struct PgTx<'a> {
    server: &'a Postgres,
    begin: &'static str,
    client: Option<Client>,
    /// Why the server has undone it, if it has.
    undone: Option<PgError>,
}

impl<'a> PgTx<'a> {
    fn new(server: &'a Postgres, begin: &'static str) -> Self {
        Self { server, begin, client: None, undone: None }
    }

    /// Runs the statement once for each of `rows`.
    fn run(&mut self, sql: &str, rows: &[Vec<Value>], want: Want) -> Result<Vec<Answer>, DirectoryError> {
        if let Some(error) = &self.undone {
            return Err(error.clone().into());
        }
        if rows.is_empty() {
            return Ok(Vec::new());
        }
        let server = self.server;
        let outcome = match &self.client {
            Some(client) => server.wait(server.within(statements(client, None, sql, rows, want))),
            None => server.wait(async {
                // A connection that the server closed while it lay in the pool shows it only now.
                let mut tries = STALE_MAX;
                loop {
                    let client = server.reader().await?;
                    let done = server.within(statements(&client, Some(self.begin), sql, rows, want)).await;
                    tries -= 1;
                    if matches!(done, Err(PgError::Unavailable(_))) && client.is_closed() && tries > 0 {
                        continue;
                    }
                    self.client = Some(client);
                    return done;
                }
            }),
        };
        outcome.map_err(|error| {
            self.undone = Some(error.clone());
            error.into()
        })
    }

    fn end(mut self, outcome: Result<(), DirectoryError>) -> Result<(), Failure> {
        let conflict = matches!(self.undone, Some(PgError::Conflict(_)));
        let Some(client) = self.client.take() else {
            return outcome.map_err(|error| Failure { error, conflict });
        };
        let end = if outcome.is_ok() && self.undone.is_none() { "COMMIT" } else { "ROLLBACK" };
        let ended = self.server.wait(self.server.within(client.batch_execute(end)));
        if ended.is_err() {
            // Whatever state it is in: nobody gets this connection again.
            drop(Client::take(client));
        }
        match (outcome, self.undone.take(), ended) {
            (Err(error), ..) => Err(Failure { error, conflict }),
            // Work that goes on after an error believes in changes that are gone.
            (Ok(()), Some(error), _) => Err(Failure { error: error.into(), conflict }),
            (Ok(()), None, Ok(())) => Ok(()),
            (Ok(()), None, Err(error)) => {
                let conflict = matches!(error, PgError::Conflict(_));
                Err(Failure { error: error.into(), conflict })
            }
        }
    }
}

impl Drop for PgTx<'_> {
    fn drop(&mut self) {
        if let Some(client) = self.client.take() {
            drop(Client::take(client));
        }
    }
}

#[derive(Clone, Copy)]
enum Want {
    Count,
    Rows,
}

enum Answer {
    Count(u64),
    Rows(Vec<tokio_postgres::Row>),
}

async fn one(
    client: &Client,
    statement: &Statement,
    params: &[Value],
    want: Want,
) -> Result<Answer, tokio_postgres::Error> {
    let params: Vec<_> = params.iter().map(|value| value as &(dyn ToSql + Sync)).collect();
    match want {
        Want::Count => client.execute(statement, &params).await.map(Answer::Count),
        Want::Rows => client.query(statement, &params).await.map(Answer::Rows),
    }
}

/// Sends them all before it waits for the first answer, in portions; the first error in their order counts.
async fn statements(
    client: &Client,
    begin: Option<&str>,
    sql: &str,
    rows: &[Vec<Value>],
    want: Want,
) -> Result<Vec<Answer>, tokio_postgres::Error> {
    let statement = client.prepare_cached(sql).await?;
    let mut begin = begin;
    let mut answers = Vec::with_capacity(rows.len());
    for portion in rows.chunks(PIPELINE_MAX) {
        let begun = async {
            match begin.take() {
                Some(begin) => client.batch_execute(begin).await,
                None => Ok(()),
            }
        };
        let (begun, done) = futures_util::future::join(
            begun,
            join_all(portion.iter().map(|params| one(client, &statement, params, want))),
        )
        .await;
        begun?;
        for answer in done {
            answers.push(answer?);
        }
    }
    Ok(answers)
}

impl Tx for PgTx<'_> {
    fn execute(&mut self, sql: &'static str, params: &[Value]) -> Result<u64, DirectoryError> {
        let changed = self.execute_each(sql, &[params.to_vec()])?;
        Ok(changed.into_iter().sum())
    }

    fn query(&mut self, sql: &'static str, params: &[Value]) -> Result<Vec<Row>, DirectoryError> {
        Ok(self.query_each(sql, &[params.to_vec()])?.into_iter().flatten().collect())
    }

    fn execute_each(&mut self, sql: &'static str, rows: &[Vec<Value>]) -> Result<Vec<u64>, DirectoryError> {
        let count = |answer| match answer {
            Answer::Count(count) => count,
            Answer::Rows(rows) => rows.len() as u64,
        };
        Ok(self.run(sql, rows, Want::Count)?.into_iter().map(count).collect())
    }

    fn query_each(
        &mut self,
        sql: &'static str,
        rows: &[Vec<Value>],
    ) -> Result<Vec<Vec<Row>>, DirectoryError> {
        let decoded = |answer| match answer {
            Answer::Rows(rows) => rows.iter().map(row).collect(),
            Answer::Count(_) => Ok(Vec::new()),
        };
        self.run(sql, rows, Want::Rows)?.into_iter().map(decoded).collect()
    }
}

fn row(row: &tokio_postgres::Row) -> Result<Row, DirectoryError> {
    let value = |column| {
        let stored: Result<Stored, _> = row.try_get(column);
        stored.map(|stored| stored.0).map_err(|error| {
            let why =
                std::error::Error::source(&error).map_or_else(|| error.to_string(), ToString::to_string);
            DirectoryError::Engine(format!("column {column}: {why}"))
        })
    };
    (0..row.len()).map(value).collect::<Result<_, _>>().map(Row::new)
}

impl ToSql for Value {
    fn to_sql(
        &self,
        kind: &Type,
        out: &mut BytesMut,
    ) -> Result<IsNull, Box<dyn std::error::Error + Sync + Send>> {
        match self {
            Self::Null => Ok(IsNull::Yes),
            // An expression with a literal makes PostgreSQL take a parameter for one of the narrow types.
            Self::Int(number) if *kind == Type::INT4 => i32::try_from(*number)?.to_sql(kind, out),
            Self::Int(number) if *kind == Type::INT2 => i16::try_from(*number)?.to_sql(kind, out),
            Self::Int(number) if *kind == Type::INT8 => number.to_sql(kind, out),
            Self::Text(text) if <&str as ToSql>::accepts(kind) => text.as_str().to_sql(kind, out),
            Self::Blob(bytes) if *kind == Type::BYTEA => bytes.as_slice().to_sql(kind, out),
            other => Err(format!("{other:?} for a parameter of type {kind}").into()),
        }
    }

    fn accepts(_: &Type) -> bool {
        true
    }

    to_sql_checked!();
}

struct Stored(Value);

impl<'a> FromSql<'a> for Stored {
    fn from_sql(kind: &Type, raw: &'a [u8]) -> Result<Self, Box<dyn std::error::Error + Sync + Send>> {
        Ok(Self(match *kind {
            Type::INT8 => Value::Int(i64::from_sql(kind, raw)?),
            Type::INT4 => Value::Int(i32::from_sql(kind, raw)?.into()),
            Type::INT2 => Value::Int(i16::from_sql(kind, raw)?.into()),
            Type::BOOL => Value::Int(bool::from_sql(kind, raw)?.into()),
            Type::BYTEA => Value::Blob(raw.to_vec()),
            ref text if <&str as FromSql<'_>>::accepts(text) => Value::Text(String::from_sql(kind, raw)?),
            ref other => return Err(format!("a column of type {other}: cast it").into()),
        }))
    }

    fn from_sql_null(_: &Type) -> Result<Self, Box<dyn std::error::Error + Sync + Send>> {
        Ok(Self(Value::Null))
    }

    fn accepts(_: &Type) -> bool {
        true
    }
}
