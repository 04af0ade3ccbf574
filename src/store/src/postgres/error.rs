//! What went wrong, in the classes that a caller may do something about.

use std::time::Duration;

use deadpool_postgres::{HookError, PoolError};
use nearport_chat::directory::DirectoryError;
use tokio_postgres::error::SqlState;

/// An error of the server or of the way to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum PgError {
    /// Another transaction was in the way, and this one was undone: run it again.
    Conflict(String),
    /// The server cannot be reached, is starting or ending, or gave the statement up. Later it may work.
    Unavailable(String),
    /// No space left.
    Full(String),
    /// A row with this key exists. The transaction was undone.
    Exists(String),
    /// Anything else.
    Other(String),
}

/// A server error says "db error" and has the text in its source.
fn text(error: &tokio_postgres::Error) -> String {
    let source = std::error::Error::source(error);
    match (error.as_db_error(), source) {
        (Some(db), _) => format!("{} ({})", db.message(), db.code().code()),
        (None, Some(source)) => format!("{error}: {source}"),
        (None, None) => error.to_string(),
    }
}

impl PgError {
    pub(super) fn from_server(error: &tokio_postgres::Error, server: &str) -> Self {
        let text = text(error);
        let Some(code) = error.code() else {
            // Not from the server: the way to it. Encoding and decoding errors are ours.
            return match std::error::Error::source(error) {
                Some(source) if !source.is::<std::io::Error>() && !error.is_closed() => {
                    Self::Other(format!("{server}: {text}"))
                }
                _ => Self::Unavailable(format!("{server}: {text}")),
            };
        };
        let text = format!("{server}: {text}");
        match *code {
            SqlState::T_R_SERIALIZATION_FAILURE | SqlState::T_R_DEADLOCK_DETECTED => Self::Conflict(text),
            SqlState::UNIQUE_VIOLATION => Self::Exists(text),
            SqlState::DISK_FULL => Self::Full(text),
            SqlState::QUERY_CANCELED
            | SqlState::TOO_MANY_CONNECTIONS
            | SqlState::READ_ONLY_SQL_TRANSACTION
            | SqlState::IDLE_IN_TRANSACTION_SESSION_TIMEOUT => Self::Unavailable(text),
            ref code if code.code().starts_with("08") || code.code().starts_with("57P") => {
                Self::Unavailable(text)
            }
            _ => Self::Other(text),
        }
    }

    pub(super) fn from_pool(error: &PoolError, server: &str) -> Self {
        match error {
            PoolError::Backend(error) | PoolError::PostCreateHook(HookError::Backend(error)) => {
                Self::from_server(error, server)
            }
            PoolError::Timeout(_) => Self::Unavailable(format!("{server}: no connection in time")),
            error => Self::Unavailable(format!("{server}: {error}")),
        }
    }

    pub(super) fn silent(limit: Duration, server: &str) -> Self {
        Self::Unavailable(format!("{server}: no answer within {} s", limit.as_secs()))
    }

    /// For metrics.
    pub(super) fn class(&self) -> &'static str {
        match self {
            Self::Conflict(_) => "conflict",
            Self::Unavailable(_) => "unavailable",
            Self::Full(_) => "full",
            Self::Exists(_) => "exists",
            Self::Other(_) => "other",
        }
    }
}

impl From<PgError> for DirectoryError {
    fn from(error: PgError) -> Self {
        match error {
            PgError::Full(text) => Self::Full(text),
            PgError::Unavailable(text) | PgError::Conflict(text) => Self::Unavailable(text),
            PgError::Exists(text) | PgError::Other(text) => Self::Engine(text),
        }
    }
}
