//! Engines in memory, for simulations: deterministic, with a disk that can lose what was not synced.

mod accounts;
mod apps;
mod directory;
mod events;
mod groups;
mod history;
mod ledger;
mod numbers;
mod people;
mod push;

pub use directory::MemoryDirectory;
pub use ledger::{MemoryLedger, PendingCommit};
