//! Apps: their keys, and what each has other than the files of settings say.

use super::{App, DirectoryError};
use crate::audit::Entry;
use crate::key::AppId;

/// Keys that an App has at once: the one that back ends sign with, and the one that takes its place or has had it.
pub const APP_KEYS_MAX: usize = 2;

/// Longest name of a key, bytes.
pub const KEY_NAME_BYTES_MAX: usize = 32;

/// What a key of an App checks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyKind {
    /// Version 2: HMAC-SHA256 by a secret. The text itself is the key, it is not decoded.
    Hmac,
    /// Version 1: ECDSA on P-256 with SHA-256, by a public key in PEM.
    Ecdsa,
}

impl KeyKind {
    /// As stores and people write it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Hmac => "hmac",
            Self::Ecdsa => "ecdsa",
        }
    }

    /// The kind of this name.
    #[must_use]
    pub fn of(name: &str) -> Option<Self> {
        [Self::Hmac, Self::Ecdsa].into_iter().find(|kind| kind.name() == name)
    }
}

/// What UserSigs of an App are checked against. One that verifies under any key of its App is good.
#[derive(Clone, PartialEq, Eq)]
pub struct AppKey {
    /// Of its App's own, 1 to [`KEY_NAME_BYTES_MAX`] bytes.
    pub name: String,
    /// What it checks.
    pub kind: KeyKind,
    /// The secret (64 hex characters by default), or the PEM.
    pub material: String,
    /// Milliseconds since the Unix epoch.
    pub created_ms: u64,
}

impl AppKey {
    /// A secret.
    #[must_use]
    pub fn hmac(name: &str, secret: impl Into<String>, created_ms: u64) -> Self {
        Self { name: name.to_owned(), kind: KeyKind::Hmac, material: secret.into(), created_ms }
    }

    /// A public key.
    #[must_use]
    pub fn ecdsa(name: &str, pem: impl Into<String>, created_ms: u64) -> Self {
        Self { name: name.to_owned(), kind: KeyKind::Ecdsa, material: pem.into(), created_ms }
    }
}

impl std::fmt::Debug for AppKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // The secret must never reach a log.
        f.debug_struct("AppKey").field("name", &self.name).field("kind", &self.kind).finish_non_exhaustive()
    }
}

/// A setting that an App has of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SettingRow {
    /// Whose.
    pub app: AppId,
    /// Which.
    pub name: String,
    /// As in a file of settings.
    pub value: String,
}

/// All Apps at one moment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AppsState {
    /// As [`AppStore::apps_version`].
    pub version: u64,
    /// By id.
    pub apps: Vec<App>,
    /// By App and name.
    pub settings: Vec<SettingRow>,
}

/// Keys and settings of Apps. Each change is one durable transaction with its record in the audit log.
pub trait AppStore: Send + Sync + std::fmt::Debug {
    /// Counts changes of Apps, their keys and their settings; 0: there was none.
    ///
    /// # Errors
    /// [`DirectoryError`] of the engine.
    fn apps_version(&self) -> Result<u64, DirectoryError>;

    /// Apps and settings as they are at one moment, with the version then.
    ///
    /// # Errors
    /// [`DirectoryError`] of the engine.
    fn apps_state(&self) -> Result<AppsState, DirectoryError>;

    /// Gives an App one more key.
    ///
    /// # Errors
    /// [`DirectoryError::NoApp`], [`DirectoryError::KeyExists`], [`DirectoryError::TooManyKeys`]; then nothing has changed.
    fn add_app_key(&self, app: AppId, key: &AppKey, act: &Entry) -> Result<(), DirectoryError>;

    /// Takes a key away. Resume tokens that were proved before `proved_from_s` are not taken from then on; that second only goes
    /// forward.
    ///
    /// # Errors
    /// [`DirectoryError::NoApp`], [`DirectoryError::NoKey`], [`DirectoryError::LastKey`]; then nothing has changed.
    fn withdraw_app_key(
        &self,
        app: AppId,
        name: &str,
        proved_from_s: u64,
        act: &Entry,
    ) -> Result<(), DirectoryError>;

    /// Sets (`Some`) or unsets (`None`) settings of an App, all or none. The audit log gets a record for each, made of `act` with the
    /// value before and after.
    ///
    /// # Errors
    /// [`DirectoryError::NoApp`]; then nothing has changed.
    fn set_app_settings(
        &self,
        app: AppId,
        changes: &[(&str, Option<&str>)],
        act: &Entry,
    ) -> Result<(), DirectoryError>;
}
