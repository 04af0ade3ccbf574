//! [`SqliteDirectory`]: apps and accounts in one SQLite file, in WAL mode.
//!
//! One connection writes, behind a mutex; two read, so that a lookup never waits for a commit. A write is on disk
//! when it returns (`synchronous=FULL` syncs the WAL at each commit).

use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError, TryLockError};
use std::time::Duration;

use nearport_chat::directory::{Account, App, Directory, DirectoryError};
use nearport_chat::key::{AppId, UserKey};
use rusqlite::{Connection, ErrorCode, OpenFlags, Row, Transaction, params};

/// Each numbered file in `migrations/`, in order. A file that was released is never changed.
const MIGRATIONS: [(&str, &str); 1] =
    [("V1__apps_accounts", include_str!("../migrations/V1__apps_accounts.sql"))];

/// Read connections: lookups happen at login and by admins, on the few threads of the chat backend.
const READERS: usize = 2;

/// How long a statement waits for another process, such as an operator's `sqlite3` shell, before it fails.
const BUSY_TIMEOUT: Duration = Duration::from_millis(500);

/// Statements kept compiled per connection: all there are, with room.
const STATEMENTS_CACHED: usize = 32;

/// The directory on SQLite; made by [`SqliteDirectory::open`].
#[derive(Debug)]
pub struct SqliteDirectory {
    writer: Mutex<Connection>,
    readers: [Mutex<Connection>; READERS],
}

impl SqliteDirectory {
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
        Ok(Self { writer: Mutex::new(writer), readers })
    }

    /// A free reader, or the first one when all are busy.
    fn reader(&self) -> MutexGuard<'_, Connection> {
        let free = self.readers.iter().find_map(|reader| match reader.try_lock() {
            Ok(reader) => Some(reader),
            Err(TryLockError::Poisoned(poisoned)) => Some(poisoned.into_inner()),
            Err(TryLockError::WouldBlock) => None,
        });
        free.unwrap_or_else(|| self.readers[0].lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Runs `work` in one transaction: durable when this returns `Ok`, undone otherwise.
    fn write<T>(
        &self,
        work: impl FnOnce(&Transaction<'_>) -> Result<T, DirectoryError>,
    ) -> Result<T, DirectoryError> {
        let mut writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        let transaction = writer.transaction().map_err(engine)?;
        let value = work(&transaction)?;
        transaction.commit().map_err(engine)?;
        Ok(value)
    }
}

fn prepare(connection: &Connection) -> rusqlite::Result<()> {
    connection.busy_timeout(BUSY_TIMEOUT)?;
    connection.set_prepared_statement_cache_capacity(STATEMENTS_CACHED);
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "foreign_keys", true)
}

fn migrate(writer: &mut Connection) -> Result<(), DirectoryError> {
    let failed = |error: refinery::Error| DirectoryError::Engine(format!("migration: {error}"));
    let migrations = MIGRATIONS.iter().map(|(name, sql)| refinery::Migration::unapplied(name, sql));
    let migrations = migrations.collect::<Result<Vec<_>, _>>().map_err(failed)?;
    refinery::Runner::new(&migrations).run(writer).map_err(failed)?;
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

/// SQL integers are signed. Times fit for 292 million years.
fn signed(number: u64) -> Result<i64, DirectoryError> {
    i64::try_from(number).map_err(|_| DirectoryError::Engine(format!("{number} does not fit a column")))
}

fn unsigned(row: &Row<'_>, column: usize) -> rusqlite::Result<u64> {
    let number: i64 = row.get(column)?;
    u64::try_from(number).map_err(|_| rusqlite::Error::IntegralValueOutOfRange(column, number))
}

fn app(row: &Row<'_>) -> rusqlite::Result<App> {
    Ok(App {
        id: AppId(row.get(0)?),
        name: row.get(1)?,
        secret: row.get(2)?,
        public_key_pem: row.get(3)?,
        disabled: row.get(4)?,
        created_ms: unsigned(row, 5)?,
        admins: Vec::new(),
    })
}

impl Directory for SqliteDirectory {
    fn apps(&self) -> Result<Vec<App>, DirectoryError> {
        let mut reader = self.reader();
        let load = |transaction: &Transaction<'_>| -> rusqlite::Result<Vec<App>> {
            let mut apps = transaction
                .prepare_cached(
                    "SELECT id, name, secret, public_key_pem, disabled, created_ms FROM apps ORDER BY id",
                )?
                .query_map([], app)?
                .collect::<Result<Vec<_>, _>>()?;
            let mut admins = transaction
                .prepare_cached("SELECT user_name FROM app_admins WHERE app_id = $1 ORDER BY ordinal")?;
            for app in &mut apps {
                app.admins = admins.query_map([app.id.0], |row| row.get(0))?.collect::<Result<_, _>>()?;
            }
            Ok(apps)
        };
        // One transaction, so that an App is never seen without its administrators.
        let transaction = reader.transaction().map_err(engine)?;
        load(&transaction).map_err(engine)
    }

    fn create_app(&self, app: &App) -> Result<(), DirectoryError> {
        let created_ms = signed(app.created_ms)?;
        self.write(|transaction| {
            let added = transaction
                .prepare_cached(
                    "INSERT INTO apps (id, name, secret, public_key_pem, disabled, created_ms)
                     VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (id) DO NOTHING",
                )
                .and_then(|mut insert| {
                    insert.execute(params![
                        app.id.0,
                        app.name,
                        app.secret,
                        app.public_key_pem,
                        i32::from(app.disabled),
                        created_ms
                    ])
                })
                .map_err(engine)?;
            if added == 0 {
                return Err(DirectoryError::AppExists(app.id.0));
            }
            let mut insert = transaction
                .prepare_cached("INSERT INTO app_admins (app_id, ordinal, user_name) VALUES ($1, $2, $3)")
                .map_err(engine)?;
            for (ordinal, admin) in (0i64..).zip(&app.admins) {
                insert.execute(params![app.id.0, ordinal, admin]).map_err(engine)?;
            }
            Ok(())
        })
    }

    fn accounts(&self, keys: &[UserKey]) -> Result<Vec<Option<Account>>, DirectoryError> {
        let reader = self.reader();
        let mut select = reader
            .prepare_cached("SELECT created_ms, valid_from_s FROM accounts WHERE app_id = $1 AND name = $2")
            .map_err(engine)?;
        let account = |key: &UserKey| {
            let mut rows = select.query(params![key.app().0, key.name()])?;
            let Some(row) = rows.next()? else { return Ok(None) };
            let (created_ms, valid_from_s) = (unsigned(row, 0)?, unsigned(row, 1)?);
            Ok(Some(Account { key: key.clone(), created_ms, valid_from_s }))
        };
        keys.iter().map(account).collect::<rusqlite::Result<_>>().map_err(engine)
    }

    fn register(&self, accounts: &[Account]) -> Result<(), DirectoryError> {
        self.write(|transaction| {
            let mut insert = transaction
                .prepare_cached(
                    "INSERT INTO accounts (app_id, name, created_ms, valid_from_s) VALUES ($1, $2, $3, $4)
                     ON CONFLICT (app_id, name) DO NOTHING",
                )
                .map_err(engine)?;
            for Account { key, created_ms, valid_from_s } in accounts {
                let row = params![key.app().0, key.name(), signed(*created_ms)?, signed(*valid_from_s)?];
                insert.execute(row).map_err(engine)?;
            }
            Ok(())
        })
    }

    fn set_valid_from(&self, key: &UserKey, unix_s: u64) -> Result<(), DirectoryError> {
        let unix_s = signed(unix_s)?;
        self.write(|transaction| {
            // Two kicks may arrive out of order: the later moment stays.
            transaction
                .prepare_cached(
                    "UPDATE accounts SET valid_from_s = $1
                     WHERE app_id = $2 AND name = $3 AND valid_from_s < $1",
                )
                .and_then(|mut update| update.execute(params![unix_s, key.app().0, key.name()]))
                .map_err(engine)?;
            Ok(())
        })
    }
}
