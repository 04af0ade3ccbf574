//! Directories in SQL, whatever the database: [`SqlDirectory`] over an [`Engine`].
//!
//! An engine runs a piece of work in a transaction ([`Engine::read`], [`Engine::write`]) and the work speaks SQL through
//! [`Tx`], text that SQLite and PostgreSQL both take. What the two understand differently is settled here, so that an area
//! writes each statement once:
//!
//! - **Placeholders** are `$1` to `$16`, any number of times, in any order. A statement uses every one that it is given.
//! - **Values** are [`Value`]: NULL, whole numbers, text, bytes. Truth is 0 or 1; times are numbers, `_ms` or `_s`.
//!   Text holds no U+0000 (PostgreSQL has none): `params!` refuses it before either engine sees it.
//! - **Columns** are `INTEGER`, `TEXT`, `BLOB` of a STRICT table in SQLite, and `BIGINT`, `TEXT COLLATE "C"`, `BYTEA` in
//!   PostgreSQL, so that names compare and sort by their bytes in both.
//! - **Writes are serializable**: SQLite has one writer; PostgreSQL runs them SERIALIZABLE, and again when another core got
//!   in the way. So what a write reads is true until it has committed, and **its work may run more than once**: it changes
//!   nothing but through its [`Tx`] (a result it collects is made anew at each run).
//! - **Reads see one moment**, however many statements they have.
//! - Both know `ON CONFLICT … DO NOTHING | DO UPDATE`, `RETURNING`, `LIMIT $n`, row values in comparisons
//!   (`(a, b) > ($1, $2)`), `COALESCE`, `CASE`, common table expressions. Not shared: `LIKE` (SQLite's ignores case),
//!   `GREATEST` and `max(a, b)` (write `CASE`), `SUM` of BIGINT is NUMERIC in PostgreSQL (write
//!   `CAST(SUM(…) AS BIGINT)`), and integer division.
//!
//! # A new table
//!
//! 1. `migrations/sqlite/Vn__area.sql` and `migrations/postgres/Vn__area.sql`: the same tables in both dialects, the next
//!    free `n`; then its name in `sql/migrations.rs`. A file that was released is never changed: the next change is a new file.
//! 2. The area's trait in `nearport-chat`, `directory/area.rs`.
//! 3. `sql/area.rs`: `impl<E: Engine> AreaStore for SqlDirectory<E>`, with `self.read(…)`, `self.write(…)` and
//!    `params!`; `sql/accounts.rs` is the model. `memory/area.rs`: the same in memory.
//! 4. `conformance/area.rs`: what every engine must do; it runs on SQLite, PostgreSQL and in memory.

mod accounts;
mod apps;
mod audit;
mod conversations;
mod directory;
mod events;
mod extensions;
mod groups;
mod history;
mod imports;
pub(crate) mod migrations;
mod numbers;
mod people;
mod postgres;
mod push;
mod sqlite;
mod value;

use nearport_chat::directory::DirectoryError;

pub use directory::SqlDirectory;
pub use sqlite::Sqlite;
pub(crate) use sqlite::{Bound, value as from_sqlite};
pub(crate) use value::{Param, params, params_each};
pub use value::{Row, Value};

/// Most placeholders of one statement.
pub const PARAMS_MAX: usize = 16;

/// One transaction.
pub trait Tx {
    /// Runs a statement and says how many rows it changed.
    ///
    /// # Errors
    /// [`DirectoryError`] of the engine. The transaction is void then: the work ends with the error.
    fn execute(&mut self, sql: &'static str, params: &[Value]) -> Result<u64, DirectoryError>;

    /// Runs a query, or a statement with `RETURNING`, and gives all its rows. A query whose answer may be long has a LIMIT.
    ///
    /// # Errors
    /// As [`Self::execute`].
    fn query(&mut self, sql: &'static str, params: &[Value]) -> Result<Vec<Row>, DirectoryError>;

    /// [`Self::execute`] once for each of `rows`, in order, in one round trip where the database is elsewhere.
    ///
    /// # Errors
    /// As [`Self::execute`].
    fn execute_each(&mut self, sql: &'static str, rows: &[Vec<Value>]) -> Result<Vec<u64>, DirectoryError> {
        rows.iter().map(|params| self.execute(sql, params)).collect()
    }

    /// [`Self::query`] once for each of `rows`, in order, in one round trip where the database is elsewhere.
    ///
    /// # Errors
    /// As [`Self::execute`].
    fn query_each(
        &mut self,
        sql: &'static str,
        rows: &[Vec<Value>],
    ) -> Result<Vec<Vec<Row>>, DirectoryError> {
        rows.iter().map(|params| self.query(sql, params)).collect()
    }
}

/// What a transaction does. It may be called more than once, see the module documentation.
pub type Work<'a> = dyn FnMut(&mut dyn Tx) -> Result<(), DirectoryError> + 'a;

/// A database. All methods block.
pub trait Engine: Send + Sync + std::fmt::Debug {
    /// Runs `work` on one state of the database; it may not write.
    ///
    /// # Errors
    /// Those of `work` and of the engine.
    fn read(&self, work: &mut Work<'_>) -> Result<(), DirectoryError>;

    /// Runs `work` in one transaction: durable when this returns `Ok`, undone when `work` failed.
    ///
    /// # Errors
    /// Those of `work` and of the engine. After [`DirectoryError::Unavailable`] the change may or may not have been made.
    fn write(&self, work: &mut Work<'_>) -> Result<(), DirectoryError>;
}
