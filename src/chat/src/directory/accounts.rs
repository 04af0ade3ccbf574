//! Apps and accounts: the part of the directory that a login needs.

use super::{AppKey, DirectoryError, KeyKind};
use crate::key::{AppId, UserKey};

/// An App, with what its UserSigs are checked against.
#[derive(Clone, PartialEq, Eq)]
pub struct App {
    /// `sdkappid`.
    pub id: AppId,
    /// A name for people.
    pub name: String,
    /// What UserSigs are checked against, oldest first; at most [`APP_KEYS_MAX`](super::APP_KEYS_MAX). A kind without a key is
    /// switched off.
    pub keys: Vec<AppKey>,
    /// Resume tokens that were proved before this Unix second are not taken: by a key, perhaps, that was withdrawn.
    pub proved_from_s: u64,
    /// Accounts that may call the admin API.
    pub admins: Vec<String>,
    /// A disabled App answers 60016.
    pub disabled: bool,
    /// Milliseconds since the Unix epoch.
    pub created_ms: u64,
}

impl App {
    /// The secret that was made last, to sign UserSigs with.
    #[must_use]
    pub fn secret(&self) -> Option<&str> {
        let newest = self.keys.iter().rfind(|key| key.kind == KeyKind::Hmac);
        newest.map(|key| key.material.as_str())
    }
}

impl std::fmt::Debug for App {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // The secret must never reach a log.
        f.debug_struct("App").field("id", &self.id).field("name", &self.name).finish_non_exhaustive()
    }
}

/// A registered user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    /// App and name.
    pub key: UserKey,
    /// Milliseconds since the Unix epoch.
    pub created_ms: u64,
    /// UserSigs issued before this Unix second are refused (set by a kick). 0 = all are good.
    pub valid_from_s: u64,
    /// What an administrator keeps the user from saying.
    pub mutes: Mutes,
}

/// Until when a user may not send, Unix milliseconds; 0: may. A time that is over needs no change.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Mutes {
    /// To users.
    pub users_until_ms: u64,
    /// To groups and live rooms.
    pub groups_until_ms: u64,
}

impl Mutes {
    /// For ever: the largest time that every engine holds.
    pub const FOR_EVER_MS: u64 = i64::MAX as u64;
}

/// Apps and accounts.
pub trait Accounts: Send + Sync + std::fmt::Debug {
    /// All Apps, by id.
    ///
    /// # Errors
    /// [`DirectoryError`] of the engine.
    fn apps(&self) -> Result<Vec<App>, DirectoryError>;

    /// Adds an App with its keys; durable when it returns. Its settings are those of the files.
    ///
    /// # Errors
    /// [`DirectoryError::AppExists`] if the id is taken.
    fn create_app(&self, app: &App) -> Result<(), DirectoryError>;

    /// The accounts that exist among `keys`, in the order of `keys`. One that was deleted does not.
    ///
    /// # Errors
    /// [`DirectoryError`] of the engine.
    fn accounts(&self, keys: &[UserKey]) -> Result<Vec<Option<Account>>, DirectoryError>;

    /// Accounts of an App with names above the first of `names`, up to the second, made at `made_ms` or earlier, by name, `limit` at most.
    ///
    /// # Errors
    /// [`DirectoryError`] of the engine.
    fn members(
        &self,
        app: AppId,
        names: (&str, &str),
        made_ms: u64,
        limit: u32,
    ) -> Result<Vec<UserKey>, DirectoryError>;

    /// Registers accounts in one durable transaction; those that exist stay as they are. Gives those that were deleted, which
    /// stay so: a UserSig that is still good brings nobody back.
    ///
    /// # Errors
    /// [`DirectoryError`] of the engine; then none was registered.
    fn register(&self, accounts: &[Account]) -> Result<Vec<UserKey>, DirectoryError>;

    /// The same as the App's back end does it: those that were deleted begin anew.
    ///
    /// # Errors
    /// [`DirectoryError`] of the engine; then none was registered.
    fn import(&self, accounts: &[Account]) -> Result<(), DirectoryError>;

    /// Deletes an account, durable when it returns, and remembers that there was one. Whether it existed.
    ///
    /// # Errors
    /// [`DirectoryError`] of the engine; then nothing has changed.
    fn delete_account(&self, key: &UserKey, now_ms: u64) -> Result<bool, DirectoryError>;

    /// Refuses UserSigs of `key` issued before `unix_s`. Does nothing if the account does not exist.
    ///
    /// # Errors
    /// [`DirectoryError`] of the engine.
    fn set_valid_from(&self, key: &UserKey, unix_s: u64) -> Result<(), DirectoryError>;

    /// Until when `key` may not send to users and to groups, as in [`Mutes`]; `None` stays as it is. Durable when it returns. Does
    /// nothing if the account does not exist.
    ///
    /// # Errors
    /// [`DirectoryError`] of the engine; then nothing has changed.
    fn set_mutes(
        &self,
        key: &UserKey,
        users_until_ms: Option<u64>,
        groups_until_ms: Option<u64>,
    ) -> Result<(), DirectoryError>;
}
