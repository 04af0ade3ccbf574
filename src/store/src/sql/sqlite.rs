//! [`Sqlite`]: one SQLite file, in WAL mode.
//!
//! One connection writes, behind a mutex; two read, so that a lookup never waits for a commit. A write is on disk
//! when it returns (`synchronous=FULL` syncs the WAL at each commit).

use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError, TryLockError};
use std::time::Duration;

use nearport_chat::directory::DirectoryError;
use rusqlite::types::{ToSqlOutput, ValueRef};
use rusqlite::{CachedStatement, Connection, ErrorCode, OpenFlags, ToSql, Transaction, TransactionBehavior};

use super::migrations::{self, Dialect};
use super::{Engine, PARAMS_MAX, Row, SqlDirectory, Tx, Value, Work};

/// Read connections: lookups happen at login, on the few threads of the chat backend.
const READERS: usize = 2;

/// How long a statement waits for another process, such as an operator's `sqlite3` shell, before it fails.
const BUSY_TIMEOUT: Duration = Duration::from_millis(500);

/// Statements kept compiled per connection: all there are, with room.
const STATEMENTS_CACHED: usize = 256;

/// A database file; made by [`SqlDirectory::open`].
#[derive(Debug)]
pub struct Sqlite {
    writer: Mutex<Connection>,
    readers: [Mutex<Connection>; READERS],
}

impl SqlDirectory<Sqlite> {
    /// Opens the database file, or makes one, and brings its tables up to date.
    ///
    /// # Errors
    /// [`DirectoryError::Locked`] when another process holds it, [`DirectoryError::Full`], or
    /// [`DirectoryError::Engine`], also when a newer version of this program has changed the tables.
    pub fn open(path: &Path) -> Result<Self, DirectoryError> {
        let mut writer = Connection::open(path).map_err(engine)?;
        prepare(&writer).map_err(engine)?;
        let mode: String =
            writer.query_row("PRAGMA journal_mode = WAL", [], |row| row.get(0)).map_err(engine)?;
        if !mode.eq_ignore_ascii_case("wal") {
            return Err(DirectoryError::Engine(format!(
                "{}: no WAL mode on this file system",
                path.display()
            )));
        }
        migrate(&mut writer)?;
        let reader = || {
            let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
            let reader = Connection::open_with_flags(path, flags)?;
            prepare(&reader)?;
            Ok(Mutex::new(reader))
        };
        let readers = [reader().map_err(engine)?, reader().map_err(engine)?];
        Ok(Self::new(Sqlite { writer: Mutex::new(writer), readers }))
    }
}

impl Sqlite {
    /// A free reader, or the first one when all are busy.
    fn reader(&self) -> MutexGuard<'_, Connection> {
        let free = self.readers.iter().find_map(|reader| match reader.try_lock() {
            Ok(reader) => Some(reader),
            Err(TryLockError::Poisoned(poisoned)) => Some(poisoned.into_inner()),
            Err(TryLockError::WouldBlock) => None,
        });
        free.unwrap_or_else(|| self.readers[0].lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Engine for Sqlite {
    fn read(&self, work: &mut Work<'_>) -> Result<(), DirectoryError> {
        let mut reader = self.reader();
        let transaction = reader.transaction().map_err(engine)?;
        work(&mut SqliteTx(&transaction))
    }

    fn write(&self, work: &mut Work<'_>) -> Result<(), DirectoryError> {
        let mut writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        // Immediate: what the work reads must not change under it, not even by another process.
        let transaction = writer.transaction_with_behavior(TransactionBehavior::Immediate).map_err(engine)?;
        work(&mut SqliteTx(&transaction))?;
        transaction.commit().map_err(engine)
    }
}

/// A transaction on the writer or a reader. Dropped without a commit it is undone.
#[derive(Debug)]
struct SqliteTx<'a>(&'a Transaction<'a>);

impl SqliteTx<'_> {
    fn bound(&self, sql: &str, params: &[Value]) -> Result<CachedStatement<'_>, DirectoryError> {
        let mut statement = self.0.prepare_cached(sql).map_err(engine)?;
        bind(&mut statement, params)?;
        Ok(statement)
    }
}

/// SQLite takes `$1` for a name and counts parameters as they first appear; PostgreSQL takes it for a number. So
/// parameters are bound by name, and a statement that leaves one out is refused, as PostgreSQL does.
fn bind(statement: &mut CachedStatement<'_>, params: &[Value]) -> Result<(), DirectoryError> {
    const NAMES: [&str; PARAMS_MAX] = [
        "$1", "$2", "$3", "$4", "$5", "$6", "$7", "$8", "$9", "$10", "$11", "$12", "$13", "$14", "$15", "$16",
    ];
    if statement.parameter_count() != params.len() || params.len() > PARAMS_MAX {
        let (has, given) = (statement.parameter_count(), params.len());
        return Err(DirectoryError::Engine(format!("a statement with {has} parameters was given {given}")));
    }
    for (name, value) in NAMES.iter().zip(params) {
        let index = statement.parameter_index(name).map_err(engine)?;
        let index =
            index.ok_or_else(|| DirectoryError::Engine(format!("a statement does not use {name}")))?;
        statement.raw_bind_parameter(index, Bound(value)).map_err(engine)?;
    }
    Ok(())
}

/// A value as a parameter.
pub(crate) struct Bound<'a>(pub(crate) &'a Value);

impl ToSql for Bound<'_> {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::Borrowed(match self.0 {
            Value::Null => ValueRef::Null,
            Value::Int(number) => ValueRef::Integer(*number),
            Value::Text(text) => ValueRef::Text(text.as_bytes()),
            Value::Blob(bytes) => ValueRef::Blob(bytes),
        }))
    }
}

/// A stored value.
pub(crate) fn value(value: ValueRef<'_>) -> Result<Value, DirectoryError> {
    Ok(match value {
        ValueRef::Null => Value::Null,
        ValueRef::Integer(number) => Value::Int(number),
        ValueRef::Text(text) => Value::Text(
            String::from_utf8(text.to_vec())
                .map_err(|_| DirectoryError::Engine("stored text is not UTF-8".to_owned()))?,
        ),
        ValueRef::Blob(bytes) => Value::Blob(bytes.to_vec()),
        ValueRef::Real(_) => return Err(DirectoryError::Engine("a column holds a fraction".to_owned())),
    })
}

impl Tx for SqliteTx<'_> {
    fn execute(&mut self, sql: &'static str, params: &[Value]) -> Result<u64, DirectoryError> {
        let changed = self.bound(sql, params)?.raw_execute().map_err(engine)?;
        Ok(changed as u64)
    }

    fn query(&mut self, sql: &'static str, params: &[Value]) -> Result<Vec<Row>, DirectoryError> {
        let mut statement = self.bound(sql, params)?;
        let columns = statement.column_count();
        let mut rows = statement.raw_query();
        let mut answer = Vec::new();
        while let Some(row) = rows.next().map_err(engine)? {
            let values = (0..columns).map(|column| value(row.get_ref(column).map_err(engine)?));
            answer.push(Row::new(values.collect::<Result<_, _>>()?));
        }
        Ok(answer)
    }
}

fn prepare(connection: &Connection) -> rusqlite::Result<()> {
    connection.busy_timeout(BUSY_TIMEOUT)?;
    connection.set_prepared_statement_cache_capacity(STATEMENTS_CACHED);
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "foreign_keys", true)
}

fn migrate(writer: &mut Connection) -> Result<(), DirectoryError> {
    let runner = migrations::directory(Dialect::Sqlite)?;
    runner.run(writer).map_err(|error| migrations::refused(&runner, error))?;
    Ok(())
}

#[expect(clippy::needless_pass_by_value, reason = "shape of `map_err`")]
fn engine(error: rusqlite::Error) -> DirectoryError {
    match error.sqlite_error_code() {
        Some(ErrorCode::DiskFull) => DirectoryError::Full(error.to_string()),
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => {
            DirectoryError::Locked(error.to_string())
        }
        _ => DirectoryError::Engine(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sql::params;

    fn open(dir: &tempfile::TempDir) -> SqlDirectory<Sqlite> {
        SqlDirectory::open(&dir.path().join("directory.sqlite")).unwrap()
    }

    #[test]
    fn parameters_are_bound_by_number_and_not_by_first_appearance() {
        let dir = tempfile::tempdir().unwrap();
        let answer = open(&dir).read(|tx| tx.query("SELECT $2, $1, $2", &params!["first", 2]));
        let second = Value::Int(2);
        assert_eq!(answer.unwrap(), [Row::new(vec![second.clone(), Value::Text("first".into()), second])]);
    }

    #[test]
    fn what_only_one_engine_would_take_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let directory = open(&dir);
        for (sql, params) in [("SELECT $1", 0), ("SELECT $1", 2), ("SELECT $2", 1), ("SELECT $1, $3", 2)] {
            let params = vec![Value::Int(1); params];
            let error = directory.read(|tx| tx.query(sql, &params)).unwrap_err();
            assert!(matches!(error, DirectoryError::Engine(_)), "{sql}: {error}");
        }
        let nul = directory.read(|tx| tx.query("SELECT $1", &params!["a\0b"]));
        assert!(nul.unwrap_err().to_string().contains("U+0000"));
        let large = directory.read(|tx| tx.query("SELECT $1", &params![u64::MAX]));
        assert!(large.unwrap_err().to_string().contains("does not fit"));
    }

    #[test]
    fn a_failed_write_leaves_nothing_and_a_reader_cannot_write() {
        let dir = tempfile::tempdir().unwrap();
        let directory = open(&dir);
        let insert = "INSERT INTO accounts (app_id, name, created_ms, valid_from_s) VALUES ($1, $2, 0, 0)";
        let failed: Result<(), _> = directory.write(|tx| {
            tx.execute(insert, &params![1, "alice"])?;
            Err(DirectoryError::AppExists(1))
        });
        assert!(matches!(failed, Err(DirectoryError::AppExists(1))));
        assert!(directory.read(|tx| tx.execute(insert, &params![1, "alice"])).is_err());
        let rows = directory.read(|tx| tx.query("SELECT name FROM accounts", &[])).unwrap();
        assert_eq!(rows, []);
    }

    #[test]
    fn tables_of_a_newer_program_are_refused_with_what_to_do() {
        let dir = tempfile::tempdir().unwrap();
        drop(open(&dir));
        let path = dir.path().join("directory.sqlite");
        let connection = Connection::open(&path).unwrap();
        let newer = "INSERT INTO refinery_schema_history (version, name, applied_on, checksum)
                     VALUES (9999, 'from_the_future', '2030-01-01T00:00:00Z', '1')";
        connection.execute(newer, []).unwrap();
        let error = SqlDirectory::open(&path).unwrap_err().to_string();
        assert!(error.contains("(version 9999, from_the_future)"), "{error}");
        assert!(error.contains("start the newer program"), "{error}");
    }
}
