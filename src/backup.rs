//! Backups: a directory that is laid out as a data directory, with the ledger, the directory of accounts and a page that
//! says what it is.
//!
//! The page is written last: a directory without it is a backup that did not come to its end. The ledger is copied first,
//! so that every user and group that a message speaks of is in the directory.

use std::fs;
use std::io;
use std::path::Path;
use std::sync::atomic::AtomicBool;

use nearport_store::{FjallLedger, copy_directory};
use serde::{Deserialize, Serialize};

use crate::files;
use crate::first_run::Layout;
use crate::node::now_ms;

/// Name of the page.
const PAGE_FILE: &str = "backup.json";

/// The form of a backup. Another one is refused.
const FORM: u32 = 1;

/// What is said where ledger or directory are in PostgreSQL.
pub(crate) const NOT_EMBEDDED: &str =
    "ledger or directory are in PostgreSQL: back that up with its own tools (pg_dump, pg_basebackup)";

/// What a backup is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Page {
    /// [`FORM`].
    pub(crate) form: u32,
    /// Version of the program that made it.
    pub(crate) program: String,
    /// When it was begun, milliseconds since the Unix epoch.
    pub(crate) time_ms: u64,
    /// The ledger's commit after which it was taken.
    pub(crate) commit: u64,
    /// Messages in it.
    pub(crate) messages: u64,
}

/// Makes a backup in `to`, which is made, or is there and empty. Ends early when `stop` becomes true.
///
/// # Errors
/// A sentence for people. What was written stays, without a page.
pub(crate) fn make(
    ledger: &FjallLedger,
    data: &Layout,
    to: &Path,
    stop: &AtomicBool,
) -> Result<Page, String> {
    let at = |path: &Path, error: &dyn std::fmt::Display| format!("{}: {error}", path.display());
    files::private_dir(to).map_err(|error| error.to_string())?;
    if fs::read_dir(to).map_err(|error| at(to, &error))?.next().is_some() {
        return Err(at(to, &"is not empty"));
    }
    let time_ms = now_ms();
    let copy = Layout(to.to_owned());
    let copied = ledger.copy_to(&copy.ledger(), stop).map_err(|error| error.to_string())?;
    copy_directory(&data.directory(), &copy.directory()).map_err(|error| error.to_string())?;
    let page = Page {
        form: FORM,
        program: env!("CARGO_PKG_VERSION").to_owned(),
        time_ms,
        commit: copied.commit,
        messages: copied.messages,
    };
    let json = serde_json::to_vec_pretty(&page).map_err(|error| error.to_string())?;
    let path = to.join(PAGE_FILE);
    fs::write(&path, json).and_then(|()| sync(to)).map_err(|error| at(&path, &error))?;
    Ok(page)
}

/// Puts a backup into a data directory that has neither ledger nor directory yet. The caller holds its lock.
///
/// # Errors
/// A sentence for people. Nothing that was there has changed.
pub(crate) fn restore(from: &Path, data: &Layout) -> Result<Page, String> {
    let path = from.join(PAGE_FILE);
    let page = fs::read(&path).map_err(|error| {
        format!("{}: {error}: not a backup, or one that did not come to its end", path.display())
    })?;
    let page: Page = serde_json::from_slice(&page).map_err(|error| format!("{}: {error}", path.display()))?;
    if page.form != FORM {
        return Err(format!("{} has form {}, this program reads {FORM}", path.display(), page.form));
    }
    let copy = Layout(from.to_owned());
    for there in [data.ledger(), data.directory()] {
        if there.exists() {
            return Err(format!("{} is there already: move it away first", there.display()));
        }
    }
    // The ledger comes to its place last: a restore that broke off leaves a directory that may be removed.
    let coming = data.0.join("ledger.restoring");
    let placed = (|| {
        if coming.exists() {
            fs::remove_dir_all(&coming)?;
        }
        copy_all(&copy.ledger(), &coming)?;
        fs::copy(copy.directory(), data.directory())?;
        sync(&coming)?;
        fs::File::open(data.directory())?.sync_all()?;
        fs::rename(&coming, data.ledger())?;
        fs::File::open(&data.0)?.sync_all()
    })();
    placed.map_err(|error: io::Error| format!("cannot restore to {}: {error}", data.0.display()))?;
    Ok(page)
}

fn copy_all(from: &Path, to: &Path) -> io::Result<()> {
    fs::create_dir(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy_all(&entry.path(), &target)?;
        } else {
            fs::copy(entry.path(), target)?;
        }
    }
    Ok(())
}

/// Makes a directory with all that is below it durable.
fn sync(path: &Path) -> io::Result<()> {
    if path.is_dir() {
        for entry in fs::read_dir(path)? {
            sync(&entry?.path())?;
        }
    }
    fs::File::open(path)?.sync_all()
}
