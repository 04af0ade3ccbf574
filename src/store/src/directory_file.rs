//! Copies and checks of a SQLite directory file, beside whatever uses it.

use std::path::Path;
use std::time::Duration;

use nearport_chat::directory::DirectoryError;
use rusqlite::{Connection, OpenFlags};

pub(crate) fn open(path: &Path) -> rusqlite::Result<Connection> {
    let connection = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
    connection.busy_timeout(Duration::from_secs(5))?;
    Ok(connection)
}

#[expect(clippy::needless_pass_by_value, reason = "shape of `map_err`")]
pub(crate) fn failed(error: rusqlite::Error) -> DirectoryError {
    match error.sqlite_error_code() {
        Some(rusqlite::ErrorCode::DiskFull) => DirectoryError::Full(error.to_string()),
        _ => DirectoryError::Engine(error.to_string()),
    }
}

/// Writes the directory as it is at one moment to the new file `to`, on disk when it returns. Readers and writers go on.
///
/// # Errors
/// [`DirectoryError::Full`] or [`DirectoryError::Engine`], also if the file exists.
pub fn copy_directory(from: &Path, to: &Path) -> Result<(), DirectoryError> {
    let name = to.to_str().ok_or_else(|| DirectoryError::Engine("the path is not UTF-8".to_owned()))?;
    // One read transaction; the copy is compact and has no journal beside it.
    open(from).and_then(|from| from.execute("VACUUM INTO ?1", [name])).map_err(failed)?;
    let synced = std::fs::File::open(to).and_then(|file| file.sync_all());
    synced.map_err(|error| DirectoryError::Engine(error.to_string()))
}

/// What SQLite finds wrong with a directory file: pages, indexes, references. Empty if nothing is.
///
/// # Errors
/// [`DirectoryError::Engine`] if it is no database at all.
pub fn check_directory(path: &Path) -> Result<Vec<String>, DirectoryError> {
    let find = |pragma: &str| -> rusqlite::Result<Vec<String>> {
        let connection = open(path)?;
        let mut rows = connection.prepare(pragma)?;
        let found = rows.query_map([], |row| row.get::<_, String>(0))?.collect::<Result<Vec<_>, _>>()?;
        Ok(found)
    };
    let mut wrong = find("PRAGMA integrity_check(20)").map_err(failed)?;
    wrong.retain(|line| line != "ok");
    let orphans = find("PRAGMA foreign_key_check").map_err(failed)?;
    wrong.extend(orphans.into_iter().map(|table| format!("a row of {table} refers to one that is missing")));
    Ok(wrong)
}
