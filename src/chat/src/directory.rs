//! The trait [`Directory`]: what is looked up and changed rarely. Engines live in `nearport-store`.
//!
//! It is the sum of parts, one for each area with a file of its own here: [`Accounts`], [`AppStore`], [`AuditStore`],
//! [`GroupStore`], [`NumberStore`], [`PeopleStore`]. An area that
//! comes adds its trait to the supertraits of [`Directory`] and to the blanket implementation below it; an engine is whatever has all of
//! them.

mod accounts;
mod apps;
mod audit;
pub mod conversations;
pub mod events;
pub mod extensions;
mod groups;
pub mod history;
pub mod imports;
pub mod numbers;
pub mod people;
pub mod push;

pub use accounts::{Account, Accounts, App, Mutes};
pub use apps::{APP_KEYS_MAX, AppKey, AppStore, AppsState, KEY_NAME_BYTES_MAX, KeyKind, SettingRow};
pub use audit::AuditStore;
pub use groups::{Counted, GroupStore, Joined, JoinedTopic, ListPlace, ListedGroup};
pub use numbers::NumberStore;
pub use people::PeopleStore;

/// Why the directory did not do as asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DirectoryError {
    /// No space left on the disk.
    #[error("the disk is full: {0}")]
    Full(String),
    /// Another process holds the store.
    #[error("the store is in use by another process: {0}")]
    Locked(String),
    /// An App with this id exists.
    #[error("app {0} exists already")]
    AppExists(u32),
    /// No App has this id.
    #[error("app {0} does not exist")]
    NoApp(u32),
    /// The App has a key of this name.
    #[error("the app has a key {0:?} already: give the new one another name")]
    KeyExists(String),
    /// The App has no key of this name.
    #[error("the app has no key {0:?}")]
    NoKey(String),
    /// The App has as many keys as it may.
    #[error("the app has {APP_KEYS_MAX} keys already: withdraw one first")]
    TooManyKeys,
    /// Nobody could log in any more.
    #[error("this is the app's only key: add another one first")]
    LastKey,
    /// The database cannot be reached, or gave up a call half way. A change may or may not have been made; the next call
    /// connects again.
    #[error("the directory's database is not there: {0}")]
    Unavailable(String),
    /// Whoever asked for the transaction gave it up: nothing has changed.
    #[error("the transaction was given up")]
    Abandoned,
    /// What is stored makes no sense.
    #[error("{0}")]
    Damaged(String),
    /// Anything else the engine said.
    #[error("directory: {0}")]
    Engine(String),
}

/// All that is looked up and changed rarely. All methods block; none is called on a shard's thread.
pub trait Directory: Accounts + AppStore + AuditStore + GroupStore + NumberStore + PeopleStore {}

impl<T: Accounts + AppStore + AuditStore + GroupStore + NumberStore + PeopleStore> Directory for T {}
