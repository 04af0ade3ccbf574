//! The Apps, read from the directory now and then.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::directory::{App, Directory};
use crate::metrics::Metrics;
use crate::usersig::{Keys, PublicKey};

/// The least time between two reads, milliseconds: made-up App ids must not become directory load.
const READ_INTERVAL_MS: u64 = 1000;

/// An App with its parsed key.
#[derive(Debug)]
pub(crate) struct KnownApp {
    pub(crate) app: App,
    public_key: Option<PublicKey>,
}

impl KnownApp {
    /// Whether what one of the two took, the other takes too: the keys are the same.
    pub(crate) fn has_keys_of(&self, other: &Self) -> bool {
        self.app.secret == other.app.secret && self.app.public_key_pem == other.app.public_key_pem
    }

    pub(crate) fn keys(&self) -> Keys<'_> {
        Keys { secret: self.app.secret.as_deref(), public_key: self.public_key.as_ref() }
    }
}

/// Why there is no App to check against.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum NoApp {
    /// It does not exist.
    Unknown,
    /// The directory cannot be read and the App was not known before.
    Unavailable,
}

/// All Apps. If the directory cannot be read, those that are known stay good.
#[derive(Debug)]
pub(crate) struct Apps {
    directory: Arc<dyn Directory>,
    metrics: Arc<Metrics>,
    age_max_ms: u64,
    known: BTreeMap<u32, Arc<KnownApp>>,
    /// When the directory was last asked, and whether it answered.
    read: Option<(u64, bool)>,
}

impl Apps {
    pub(crate) fn new(directory: Arc<dyn Directory>, age_max_ms: u64, metrics: Arc<Metrics>) -> Self {
        Self { directory, metrics, age_max_ms, known: BTreeMap::new(), read: None }
    }

    /// The App with this id. Reads the directory if what is known is too old, or the id is not known; at most once
    /// per [`READ_INTERVAL_MS`].
    pub(crate) fn find(&mut self, id: u32, now_ms: u64) -> Result<&Arc<KnownApp>, NoApp> {
        let wanted_after_ms = if self.known.contains_key(&id) { self.age_max_ms } else { 0 };
        // A clock that was set back counts as "long ago": otherwise nothing is read until it has caught up.
        let age_ms = self.read.map_or(u64::MAX, |(at_ms, _)| now_ms.checked_sub(at_ms).unwrap_or(u64::MAX));
        if age_ms >= wanted_after_ms.max(READ_INTERVAL_MS) {
            self.read(now_ms);
        }
        let answered = self.read.is_some_and(|(_, answered)| answered);
        self.known.get(&id).ok_or(if answered { NoApp::Unknown } else { NoApp::Unavailable })
    }

    fn read(&mut self, now_ms: u64) {
        match self.directory.apps() {
            Ok(apps) => {
                self.known = apps.into_iter().map(|app| (app.id.0, Arc::new(know(app)))).collect();
                self.metrics.apps_cached.set(self.known.len() as f64);
                self.read = Some((now_ms, true));
            }
            Err(error) => {
                tracing::warn!(%error, known = self.known.len(), "cannot read the apps, going on with those known");
                self.read = Some((now_ms, false));
            }
        }
    }
}

fn know(app: App) -> KnownApp {
    let parse = |pem: &String| match PublicKey::from_pem(pem) {
        Ok(key) => Some(key),
        Err(error) => {
            tracing::warn!(app = app.id.0, %error, "the app's public key cannot be used, version 1 usersigs are off");
            None
        }
    };
    let public_key = app.public_key_pem.as_ref().and_then(parse);
    KnownApp { app, public_key }
}

/// An App with this secret.
#[cfg(test)]
pub(crate) fn know_for_tests(secret: &str) -> Arc<KnownApp> {
    let app = App {
        id: crate::key::AppId(1),
        name: "test".to_owned(),
        created_ms: 0,
        secret: Some(secret.to_owned()),
        public_key_pem: None,
        admins: vec!["admin".to_owned()],
        disabled: false,
    };
    Arc::new(know(app))
}
