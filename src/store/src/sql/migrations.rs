//! The versions of the directory's tables, in both dialects.

use nearport_chat::directory::DirectoryError;
use refinery::error::Kind;
use refinery::{Migration, Runner};

/// One version: its name and its text for each database.
struct Version {
    name: &'static str,
    sqlite: &'static str,
    postgres: &'static str,
}

macro_rules! versions {
    ($($name:literal),* $(,)?) => {
        &[$(Version {
            name: $name,
            sqlite: include_str!(concat!("../../migrations/sqlite/", $name, ".sql")),
            postgres: include_str!(concat!("../../migrations/postgres/", $name, ".sql")),
        }),*]
    };
}

/// All versions, in order. A file that was released is never changed.
const VERSIONS: &[Version] = versions![
    "V1__apps_accounts",
    "V2__groups",
    "V3__people",
    "V4__conversations",
    "V5__account_mutes",
    "V6__deleted_and_follows",
    "V7__marks_and_extensions",
    "V9__apps_and_audit",
    "V11__imports",
    "V12__push",
    "V13__pushes",
    "V14__numbers",
    "V15__topics",
    "V16__history",
    "V17__pending_events",
];

/// Which text of a version.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Dialect {
    Sqlite,
    Postgres,
}

/// What brings the directory's tables up to date.
pub(crate) fn directory(dialect: Dialect) -> Result<Runner, DirectoryError> {
    let text = |version: &Version| match dialect {
        Dialect::Sqlite => Migration::unapplied(version.name, version.sqlite),
        Dialect::Postgres => Migration::unapplied(version.name, version.postgres),
    };
    let migrations = VERSIONS.iter().map(text).collect::<Result<Vec<_>, _>>().map_err(failed)?;
    Ok(Runner::new(&migrations))
}

/// What brings the ledger's tables in PostgreSQL up to date. They have a history of their own: ledger and directory may be
/// in different databases.
pub(crate) fn ledger() -> Result<Runner, DirectoryError> {
    let versions = [
        ("V1__ledger", include_str!("../../migrations/postgres_ledger/V1__ledger.sql")),
        ("V2__skips", include_str!("../../migrations/postgres_ledger/V2__skips.sql")),
        ("V3__outbox", include_str!("../../migrations/postgres_ledger/V3__outbox.sql")),
        ("V4__recalls", include_str!("../../migrations/postgres_ledger/V4__recalls.sql")),
        ("V5__log_changes", include_str!("../../migrations/postgres_ledger/V5__log_changes.sql")),
    ];
    let migrations = versions.iter().map(|(name, sql)| Migration::unapplied(name, sql));
    let migrations = migrations.collect::<Result<Vec<_>, _>>().map_err(failed)?;
    let mut runner = Runner::new(&migrations);
    runner.set_migration_table_name("ledger_schema_history");
    Ok(runner)
}

/// What a run of `runner` that failed means. Tables that a newer program made are refused with what to do.
pub(crate) fn refused(runner: &Runner, error: refinery::Error) -> DirectoryError {
    let known = runner.get_migrations().iter().map(Migration::version).max().unwrap_or(0);
    match error.kind() {
        Kind::MissingVersion(found) if found.version() > known => DirectoryError::Engine(format!(
            "a newer version of this program has changed the tables (version {}, {}), this program knows them up to \
             version {known}: start the newer program, or restore a backup from before the upgrade",
            found.version(),
            found.name(),
        )),
        _ => failed(error),
    }
}

#[expect(clippy::needless_pass_by_value, reason = "shape of `map_err`")]
fn failed(error: refinery::Error) -> DirectoryError {
    DirectoryError::Engine(format!("migration: {error}"))
}
