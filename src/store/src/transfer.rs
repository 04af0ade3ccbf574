//! A move of an embedded store, ledger and directory, to PostgreSQL: [`copy_to_postgres`].
//!
//! Table by table, in pages of bounded size. A page and the place behind it are one transaction of the target, so whoever
//! starts again after an end of any kind goes on with the page that is missing, and none is written twice. When all is
//! there, everything is read from the source once more, and from the target by its keys, and compared by checksums, page by page; then
//! the rows are counted. Equal rows under all keys and equal numbers of them mean equal tables.
//!
//! The target must be empty at first. As long as the copy is not verified its row in `nearport_copy` says so, and engines
//! refuse to open such a database ([`refuse_unfinished`]).

mod progress;
mod sqlite;
mod table;

use std::collections::HashMap;
use std::path::Path;

use nearport_chat::directory::DirectoryError;
use nearport_chat::ledger::LedgerError;

use crate::fjall_ledger::{FjallLedger, Page, PageMax, Part, State};
use crate::postgres::{PgError, Postgres};
use crate::sql::{SqlDirectory, Sqlite, Value, migrations};
use progress::Progress;
pub(crate) use progress::refuse_unfinished;
use table::{Kind, Table, checksum};

/// Rows of one transaction.
const PAGE_MAX: PageMax = PageMax { rows: 1000, bytes: 1 << 20 };

/// Why a copy ended.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TransferError {
    /// The ledger, or the database as a ledger's.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// The directory, or the database as a directory's.
    #[error(transparent)]
    Directory(#[from] DirectoryError),
    /// The target holds something else, or the source is another one than before. Nothing was changed.
    #[error("{0}")]
    Refused(String),
    /// The target does not hold what was copied.
    #[error("the copy differs from its source: {0}; empty the database and copy again")]
    Differs(String),
    /// The caller wanted it to end. Another call goes on.
    #[error("the copy was stopped")]
    Stopped,
}

impl From<PgError> for TransferError {
    fn from(error: PgError) -> Self {
        Self::Ledger(error.into())
    }
}

/// How far it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct At<'a> {
    /// The table.
    pub table: &'a str,
    /// Whether its rows are being compared; before, they are written.
    pub verifying: bool,
    /// Rows of it that this call has written, or compared, so far.
    pub rows: u64,
}

/// A table that was copied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Moved {
    /// Its name.
    pub table: String,
    /// Its rows.
    pub rows: u64,
    /// The sum of the checksums of its rows, modulo 2^64: equal on both sides.
    pub checksum: u64,
}

/// What was copied and verified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transferred {
    /// Number of the last commit of the source.
    pub commit: u64,
    /// Whether an earlier call had begun it.
    pub resumed: bool,
    /// All tables, in the order in which they were copied.
    pub tables: Vec<Moved>,
}

/// Where the rows of a table come from.
#[derive(Debug, Clone, Copy)]
enum Source {
    Ledger(Part),
    Directory,
}

/// Copies the ledger and the SQLite directory in the file `directory` to an empty database, or goes on with a copy that was
/// begun, and verifies it. Both must be at rest: the caller holds the lock of the store. `tell` is called once per page and
/// ends the copy by `false`; blocks until then. The directory's tables are brought up to date first, on both sides.
///
/// # Errors
/// [`TransferError`]. Whatever it is but [`TransferError::Differs`]: another call goes on where this one ended.
pub fn copy_to_postgres(
    ledger: &FjallLedger,
    directory: &Path,
    server: &Postgres,
    tell: &mut dyn FnMut(At<'_>) -> bool,
) -> Result<Transferred, TransferError> {
    drop(SqlDirectory::<Sqlite>::open(directory)?);
    let rows = sqlite::Source::open(directory)?;
    let state = ledger.state()?;
    let mut tables = ledger_tables(&state);
    tables.extend(rows.tables()?.into_iter().map(|table| (Source::Directory, table)));
    let page = |source: Source, table: &Table, after: &[u8]| -> Result<Page, TransferError> {
        match source {
            Source::Ledger(part) => Ok(ledger.export(part, after, PAGE_MAX)?),
            Source::Directory => Ok(rows.page(table, after, PAGE_MAX)?),
        }
    };

    migrate(server)?;
    let client = server.wait(server.connect())?;
    let (mut progress, resumed) = on(server, Progress::begin(&client, &state, &tables))??;
    while let Some((source, table)) = usize::try_from(progress.step).ok().and_then(|step| tables.get(step)) {
        let mut written = 0;
        let step = progress.step;
        while progress.step == step {
            if !tell(At { table: &table.name, verifying: false, rows: written }) {
                return Err(TransferError::Stopped);
            }
            let page = page(*source, table, &progress.place)?;
            written += page.rows.len() as u64;
            progress = on(server, progress.write(&client, table, page))??;
        }
    }

    let mut moved = Vec::with_capacity(tables.len());
    for (source, table) in &tables {
        let mut sum = Moved { table: table.name.clone(), rows: 0, checksum: 0 };
        let mut next = Some(Vec::new());
        while let Some(place) = next {
            if !tell(At { table: &table.name, verifying: true, rows: sum.rows }) {
                return Err(TransferError::Stopped);
            }
            let page = page(*source, table, &place)?;
            let found = on(server, table.find(&client, &page.rows))?;
            sum.checksum = sum.checksum.wrapping_add(compare(table, &page.rows, &found)?);
            sum.rows += page.rows.len() as u64;
            next = page.next;
        }
        let count = on(server, client.query_one(&table.count, &[]))?.get::<_, i64>(0);
        if u64::try_from(count) != Ok(sum.rows) {
            let why = format!("{} has {count} rows, its source has {}", table.name, sum.rows);
            return Err(TransferError::Differs(why));
        }
        moved.push(sum);
    }
    on(server, progress.finish(&client))?;
    Ok(Transferred { commit: state.commit, resumed, tables: moved })
}

/// Runs a future of the client. No limit of time: a copy that hangs is ended by whoever started it, and goes on later.
fn on<T: Send>(
    server: &Postgres,
    work: impl Future<Output = Result<T, tokio_postgres::Error>> + Send,
) -> Result<T, PgError> {
    server.wait(work).map_err(|error| server.error(&error))
}

fn migrate(server: &Postgres) -> Result<(), TransferError> {
    let directory = migrations::directory(migrations::Dialect::Postgres)?;
    server.migrate(&directory, migrations::refused, DirectoryError::from)?;
    let ledger = migrations::ledger()?;
    Ok(server.migrate(&ledger, migrations::refused, DirectoryError::from)?)
}

/// Compares rows of the source with those that the target has under their keys, and gives the sum of their checksums.
fn compare(table: &Table, rows: &[Vec<Value>], found: &[Vec<Value>]) -> Result<u64, TransferError> {
    let sum = |rows: &[Vec<Value>]| rows.iter().map(|row| checksum(row)).fold(0, u64::wrapping_add);
    let wanted = sum(rows);
    if rows.len() == found.len() && wanted == sum(found) {
        return Ok(wanted);
    }
    let mut there = HashMap::new();
    for row in found {
        *there.entry(checksum(row)).or_insert(0) += 1;
    }
    let missing = rows.iter().find(|row| !there.contains_key(&checksum(row)));
    let which = missing.map_or_else(|| "a row too many".to_owned(), |row| table.name_of(row));
    Err(TransferError::Differs(format!("{}: {which}", table.name)))
}

/// The ledger's tables: what messages need first.
fn ledger_tables(state: &State) -> Vec<(Source, Table)> {
    use Kind::{Blob, Int};
    let table = |part, name: &str, columns: &[(&str, Kind)], keys: &[usize]| {
        let columns = columns.iter().map(|(name, kind)| ((*name).to_owned(), *kind)).collect();
        (Source::Ledger(part), Table::new(name, columns, keys.to_vec()))
    };
    let mut tables = vec![
        table(
            Part::Conversations,
            "ledger_conversations",
            &[
                ("id", Int),
                ("key", Blob),
                ("head", Int),
                ("head_ms", Int),
                ("edit_head", Int),
                ("floor", Int),
            ],
            &[0],
        ),
        table(
            Part::Users,
            "ledger_users",
            &[("id", Int), ("key", Blob), ("head", Int), ("floor", Int)],
            &[0],
        ),
        table(
            Part::Messages,
            "ledger_messages",
            &[
                ("conv", Int),
                ("seq", Int),
                ("time_ms", Int),
                ("edit", Int),
                ("sender", Int),
                ("client_msg_id", Blob),
                ("body", Blob),
            ],
            &[0, 1],
        ),
        table(
            Part::Logs,
            "ledger_logs",
            &[("user_id", Int), ("position", Int), ("conv", Int), ("seq", Int), ("change", Int)],
            &[0, 1],
        ),
        table(Part::Pairs, "ledger_pairs", &[("user_key", Blob), ("conv_key", Blob)], &[0, 1]),
        table(Part::Cursors, "ledger_cursors", &[("user", Blob), ("name", Blob), ("position", Int)], &[0, 1]),
        table(Part::Hides, "ledger_hides", &[("user_id", Int), ("conv", Int), ("seq", Int)], &[0, 1, 2]),
        table(
            Part::Receipts,
            "ledger_receipts",
            &[("conv", Int), ("seq", Int), ("user_key", Blob)],
            &[0, 1, 2],
        ),
        table(
            Part::ReceiptCounts,
            "ledger_receipt_counts",
            &[("conv", Int), ("seq", Int), ("readers", Int)],
            &[0, 1],
        ),
        table(Part::Skips, "ledger_skips", &[("conv", Int), ("seq", Int), ("number", Int)], &[0, 1]),
        table(Part::Recalls, "ledger_recalls", &[("conv", Int), ("seq", Int)], &[0, 1]),
        table(
            Part::Outbox,
            "ledger_outbox",
            &[
                ("app", Int),
                ("shelf", Int),
                ("number", Int),
                ("seq", Int),
                ("time_ms", Int),
                ("died_ms", Int),
                ("reason", Kind::Text),
                ("body", Blob),
            ],
            &[0, 1, 2],
        ),
        table(
            Part::OutboxHeads,
            "ledger_outbox_heads",
            &[("app", Int), ("shelf", Int), ("head", Int)],
            &[0, 1],
        ),
    ];
    for (source, table) in &mut tables {
        match source {
            Source::Ledger(Part::Conversations) => {
                table.last = Some(next_id(&table.name, state.conversations));
            }
            Source::Ledger(Part::Users) => {
                table.last = Some(next_id(&table.name, state.users));
                // Those with cursors only come later.
                table.count = format!("SELECT count(*) FROM ledger_users WHERE id <= {}", state.users);
            }
            // The embedded ledger names users in cursors by their keys, and who has nothing else has no id.
            Source::Ledger(Part::Cursors) => {
                table.before = Some(
                    "INSERT INTO ledger_users (key) SELECT DISTINCT k FROM unnest($1::bytea[]) AS k
                     ON CONFLICT (key) DO NOTHING",
                );
                "INSERT INTO ledger_cursors (user_id, name, position) SELECT u.id, r.n, r.p
                 FROM unnest($1::bytea[], $2::bytea[], $3::bigint[]) AS r (k, n, p)
                 JOIN ledger_users u ON u.key = r.k"
                    .clone_into(&mut table.insert);
                "SELECT u.key, t.name, t.position FROM unnest($1::bytea[], $2::bytea[]) AS r (k, n)
                 JOIN ledger_users u ON u.key = r.k
                 JOIN ledger_cursors t ON t.user_id = u.id AND t.name = r.n"
                    .clone_into(&mut table.find);
            }
            _ => {}
        }
    }
    tables
}

/// Ids go on behind those that were copied.
fn next_id(table: &str, last: u64) -> String {
    format!("SELECT setval(pg_get_serial_sequence('{table}', 'id'), {}, false)", last.saturating_add(1))
}
