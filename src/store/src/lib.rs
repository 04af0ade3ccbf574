//! Engines behind the chat backend: the ledger on fjall, the directory on SQLite, and both in memory.
//!
//! | trait of `nearport-chat` | durable | for simulations |
//! | --- | --- | --- |
//! | `Ledger` | [`FjallLedger`] | [`MemoryLedger`] |
//! | `Directory` | [`SqliteDirectory`] | [`MemoryDirectory`] |
//!
//! Directories in SQL share one text, see [`sql`]. Every engine runs the suites in [`conformance`]; a new one starts there. [`bare`] is a yardstick, not an engine.

pub mod bare;
pub mod conformance;
mod directory_file;
mod fjall_ledger;
mod lock;
mod memory;
mod pg_ledger;
mod postgres;
pub mod sql;
mod transfer;

pub use directory_file::{check_directory, copy_directory};
pub use fjall_ledger::{Checked, Copied, FjallLedger, Options};
pub use lock::{LockError, StoreLock};
pub use memory::{MemoryDirectory, MemoryLedger, PendingCommit};
pub use pg_ledger::PgLedger;
pub use postgres::{BadUrl, Postgres, PostgresOptions, url_without_password};
pub use transfer::{At, Moved, TransferError, Transferred, copy_to_postgres};

/// The directory in one SQLite file.
pub type SqliteDirectory = sql::SqlDirectory<sql::Sqlite>;

/// The directory in PostgreSQL.
pub type PgDirectory = sql::SqlDirectory<Postgres>;
