//! The crate's error.

use crate::directory::DirectoryError;
use crate::key::BadName;
use crate::ledger::LedgerError;

/// Why the chat backend did not start, or did not do what an operator asked. What a client is told instead is an
/// ERROR frame or a close code.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A value of [`Config`](crate::Config) cannot work; says which and what is allowed.
    #[error("chat configuration: {0}")]
    Config(String),
    /// A user name that cannot exist.
    #[error(transparent)]
    Name(#[from] BadName),
    /// No account of that name.
    #[error("the account does not exist")]
    NoAccount,
    /// The ledger said no.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// The directory said no.
    #[error(transparent)]
    Directory(#[from] DirectoryError),
    /// The operating system gave no thread.
    #[error("cannot start the thread {0}: {1}")]
    Spawn(&'static str, std::io::Error),
    /// A worker thread ended in a panic: a bug. What it had not answered was not acknowledged.
    #[error("the thread {0} ended in a panic")]
    Panicked(&'static str),
    /// A worker thread is not running, because of a panic or a shutdown.
    #[error("the thread {0} is not running")]
    NotRunning(&'static str),
}
