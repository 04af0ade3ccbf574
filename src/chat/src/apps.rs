//! The Apps: their keys, and what each has other than the settings of the process.
//!
//! All of it stands in the directory, under a version that every change counts up. A process asks for the version once a second and
//! reads when it has changed, so that what one process or a command beside it changes is in effect everywhere a second later; what this
//! process changes itself is in effect at once. If the directory cannot be read, what is known stays good.

mod settings;

use std::collections::BTreeMap;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError, RwLock, TryLockError};
use std::time::Duration;

pub use settings::{
    AppSettings, HIDDEN, Kind, Origin, RestLimits, SETTINGS, Setting, Shown, canonical, setting, shown,
};
pub(crate) use settings::{CALLBACK_SIGN, CALLBACK_TOKEN, CALLBACK_URL};

use crate::Clock;
use crate::config::Config;
use crate::directory::{App, AppKey, AppsState, Directory, DirectoryError, KeyKind};
use crate::key::AppId;
use crate::metrics::Metrics;
use crate::usersig::{Keys, PublicKey};

/// The least time between two reads, milliseconds: made-up App ids must not become directory load.
const READ_INTERVAL_MS: u64 = 1000;

/// How often it is asked whether anything has changed: how late this process notices what others did.
const POLL: Duration = Duration::from_secs(1);

/// An App with its parsed keys.
#[derive(Debug)]
pub(crate) struct KnownApp {
    pub(crate) app: App,
    /// In the order of `app.keys`; `None` for a secret, and for a public key that cannot be used.
    public_keys: Vec<Option<PublicKey>>,
}

impl KnownApp {
    /// Whether what one of the two took, the other takes too: the keys are the same.
    pub(crate) fn has_keys_of(&self, other: &Self) -> bool {
        self.app.keys == other.app.keys
    }

    /// Each key by itself.
    pub(crate) fn keys(&self) -> Vec<Keys<'_>> {
        let each = self.app.keys.iter().zip(&self.public_keys);
        each.map(|(key, public_key)| keys_of(key, public_key.as_ref())).collect()
    }
}

fn keys_of<'a>(key: &'a AppKey, public_key: Option<&'a PublicKey>) -> Keys<'a> {
    match key.kind {
        KeyKind::Hmac => Keys { secret: Some(&key.material), public_key: None },
        KeyKind::Ecdsa => Keys { secret: None, public_key },
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

/// What is known at one moment.
#[derive(Debug, Default)]
struct Known {
    version: Option<u64>,
    apps: BTreeMap<u32, Arc<KnownApp>>,
    /// Of Apps that have settings of their own.
    settings: BTreeMap<u32, Arc<AppSettings>>,
}

/// Hears what has changed.
#[expect(clippy::type_complexity, reason = "it stands once")]
struct Heard(Box<dyn Fn(&AppSettings, &BTreeMap<u32, Arc<AppSettings>>) + Send + Sync>);

impl std::fmt::Debug for Heard {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Heard")
    }
}

/// All Apps.
#[derive(Debug)]
pub struct Apps {
    directory: Arc<dyn Directory>,
    metrics: Arc<Metrics>,
    age_max_ms: u64,
    /// Of Apps that have none of their own.
    all: Arc<AppSettings>,
    /// What Apps have in the file of settings, by id: names and values.
    files: BTreeMap<u32, Vec<(String, String)>>,
    heard: OnceLock<Heard>,
    /// Held for a pointer copy.
    known: RwLock<Arc<Known>>,
    /// When the directory was last asked, and whether it answered.
    read: Mutex<Option<(u64, bool)>>,
    /// When an App that is not known was looked for.
    sought: Mutex<Option<u64>>,
    /// One asks at a time.
    asking: Mutex<()>,
    /// Whether [`Self::watch`] is to end.
    ended: Mutex<bool>,
    ending: Condvar,
}

impl Apps {
    /// Nothing is read yet. Settings of the file that are wrong are left out and logged: whoever loads the file has checked them.
    pub(crate) fn new(directory: Arc<dyn Directory>, config: &Config, metrics: Arc<Metrics>) -> Self {
        let all = Arc::new(AppSettings::of(config));
        let of_file = |(app, values): (&u32, &Vec<_>)| (*app, own(*app, &all, pairs(values)));
        let settings = config.apps.iter().map(of_file).collect();
        Self {
            directory,
            metrics,
            age_max_ms: config.apps_age_ms,
            all,
            files: config.apps.clone(),
            heard: OnceLock::new(),
            known: RwLock::new(Arc::new(Known { settings, ..Known::default() })),
            read: Mutex::default(),
            sought: Mutex::default(),
            asking: Mutex::default(),
            ended: Mutex::default(),
            ending: Condvar::new(),
        }
    }

    /// What holds for an App: its own settings, then those of the file for it, then those of the process. Cheap: a pointer is copied
    /// under a lock that is held for no longer than that.
    #[must_use]
    pub fn settings(&self, app: AppId) -> Arc<AppSettings> {
        self.known().settings.get(&app.0).unwrap_or(&self.all).clone()
    }

    /// Whether an App of this id was there when Apps were read last.
    #[must_use]
    pub(crate) fn knows(&self, app: u32) -> bool {
        self.known().apps.contains_key(&app)
    }

    /// All Apps, as they were read last.
    pub(crate) fn ids(&self) -> Vec<AppId> {
        self.known().apps.keys().copied().map(AppId).collect()
    }

    /// Every setting of an App as it holds now, with where it is from.
    #[must_use]
    pub fn shown(&self, app: AppId, live: &BTreeMap<String, String>) -> Vec<Shown> {
        let now = self.settings(app);
        SETTINGS.iter().map(|setting| Shown::of(setting, &now, self.file(app), live)).collect()
    }

    /// What an App would have with these changes of its own settings, of which it has `live` now.
    #[must_use]
    pub(crate) fn changed(
        &self,
        app: AppId,
        live: &BTreeMap<String, String>,
        changes: &[(&'static str, Option<String>)],
    ) -> Arc<AppSettings> {
        let mut live: BTreeMap<_, _> = live.iter().map(|(name, value)| (&**name, &**value)).collect();
        for (name, value) in changes {
            match value {
                Some(value) => drop(live.insert(name, value)),
                None => drop(live.remove(name)),
            }
        }
        own(app.0, &self.all, pairs(self.file(app)).chain(live))
    }

    /// Has `heard` called with the settings of all Apps that have none of their own, and of those that have, by id: now, and when they have
    /// changed, before anybody is told that they have. It must not wait for long. The first one stays.
    pub fn on_change(
        &self,
        now_ms: u64,
        heard: impl Fn(&AppSettings, &BTreeMap<u32, Arc<AppSettings>>) + Send + Sync + 'static,
    ) {
        let _asking = self.ask();
        self.refresh(now_ms);
        if self.heard.set(Heard(Box::new(heard))).is_ok() {
            self.tell();
        }
    }

    fn tell(&self) {
        if let Some(Heard(heard)) = self.heard.get() {
            heard(&self.all, &self.known().settings);
        }
    }

    /// A value of the file of settings for this App.
    pub(crate) fn in_file(&self, app: AppId, name: &str) -> Option<String> {
        self.file(app).iter().find(|(of, _)| of == name).map(|(_, value)| value.clone())
    }

    fn file(&self, app: AppId) -> &[(String, String)] {
        self.files.get(&app.0).map(Vec::as_slice).unwrap_or_default()
    }

    /// The App with this id. Reads the directory if what is known is too old, or the id is not known; at most once
    /// per [`READ_INTERVAL_MS`].
    pub(crate) fn find(&self, id: u32, now_ms: u64) -> Result<Arc<KnownApp>, NoApp> {
        let known = self.known().apps.get(&id).cloned();
        let wanted = || match known {
            Some(_) => {
                age_ms(self.last().map(|(at_ms, _)| at_ms), now_ms) >= self.age_max_ms.max(READ_INTERVAL_MS)
            }
            // Whatever else was read meanwhile: it may have been made a moment ago.
            None => age_ms(*self.sought(), now_ms) >= READ_INTERVAL_MS,
        };
        if wanted() {
            // Who knows the App goes on with it while somebody else asks.
            let asking = match (self.asking.try_lock(), &known) {
                (Ok(asking), _) => Some(asking),
                (Err(TryLockError::Poisoned(poisoned)), _) => Some(poisoned.into_inner()),
                (Err(TryLockError::WouldBlock), Some(_)) => None,
                (Err(TryLockError::WouldBlock), None) => Some(self.ask()),
            };
            if let Some(_asking) = asking
                && wanted()
            {
                if known.is_none() {
                    *self.sought() = Some(now_ms);
                }
                self.refresh(now_ms);
            }
        }
        let answered = self.last().is_some_and(|(_, answered)| answered);
        let known = self.known().apps.get(&id).cloned();
        known.ok_or(if answered { NoApp::Unknown } else { NoApp::Unavailable })
    }

    /// Asks the directory whether anything has changed, and reads it then. Blocks for that.
    pub fn poll(&self, now_ms: u64) {
        let _asking = self.ask();
        self.refresh(now_ms);
    }

    /// [`Self::poll`] once a second, until [`Self::end`].
    pub(crate) fn watch(&self, clock: &Clock) {
        loop {
            self.poll(clock());
            let ended = self.ended.lock().unwrap_or_else(PoisonError::into_inner);
            let waited = self.ending.wait_timeout_while(ended, POLL, |ended| !*ended);
            if *waited.unwrap_or_else(PoisonError::into_inner).0 {
                return;
            }
        }
    }

    pub(crate) fn end(&self) {
        *self.ended.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.ending.notify_all();
    }

    /// With [`Self::asking`] locked.
    fn refresh(&self, now_ms: u64) {
        let version = self.known().version;
        let read = || -> Result<Option<AppsState>, DirectoryError> {
            if version == Some(self.directory.apps_version()?) {
                return Ok(None);
            }
            self.directory.apps_state().map(Some)
        };
        let answered = match read() {
            Ok(None) => true,
            Ok(Some(state)) => {
                self.metrics.apps_cached.set(state.apps.len() as f64);
                self.metrics.apps_version.set(state.version as f64);
                let known = Arc::new(self.know(state));
                *self.known.write().unwrap_or_else(PoisonError::into_inner) = known;
                self.tell();
                true
            }
            Err(error) => {
                self.metrics.apps_unread.increment(1);
                let known = self.known().apps.len();
                tracing::warn!(%error, known, "cannot read the apps, going on with those known");
                false
            }
        };
        *self.read.lock().unwrap_or_else(PoisonError::into_inner) = Some((now_ms, answered));
    }

    fn know(&self, state: AppsState) -> Known {
        let AppsState { version, apps, settings } = state;
        let of_files = self.files.iter().map(|(app, values)| (*app, pairs(values).collect()));
        let mut of_apps: BTreeMap<u32, Vec<(&str, &str)>> = of_files.collect();
        for row in &settings {
            of_apps.entry(row.app.0).or_default().push((&row.name, &row.value));
        }
        let settings =
            of_apps.into_iter().map(|(app, values)| (app, own(app, &self.all, values.into_iter()))).collect();
        let apps = apps.into_iter().map(|app| (app.id.0, Arc::new(know(app)))).collect();
        Known { version: Some(version), apps, settings }
    }

    fn known(&self) -> Arc<Known> {
        self.known.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn last(&self) -> Option<(u64, bool)> {
        *self.read.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn sought(&self) -> MutexGuard<'_, Option<u64>> {
        self.sought.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn ask(&self) -> MutexGuard<'_, ()> {
        self.asking.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A clock that was set back counts as "long ago": otherwise nothing is read until it has caught up.
fn age_ms(at_ms: Option<u64>, now_ms: u64) -> u64 {
    at_ms.map_or(u64::MAX, |at_ms| now_ms.checked_sub(at_ms).unwrap_or(u64::MAX))
}

fn pairs(values: &[(String, String)]) -> impl Iterator<Item = (&str, &str)> {
    values.iter().map(|(name, value)| (&**name, &**value))
}

/// `all` with these over it. What this program does not take, another version may have written.
fn own<'a>(
    app: u32,
    all: &AppSettings,
    values: impl Iterator<Item = (&'a str, &'a str)>,
) -> Arc<AppSettings> {
    let (settings, wrong) = all.with_own(values);
    for error in wrong {
        tracing::error!(app, error, "a setting of the app is not used");
    }
    Arc::new(settings)
}

fn know(app: App) -> KnownApp {
    let parse = |key: &AppKey| {
        let parsed = (key.kind == KeyKind::Ecdsa).then(|| PublicKey::from_pem(&key.material))?;
        if let Err(error) = &parsed {
            tracing::warn!(app = app.id.0, key = key.name, %error, "a public key of the app cannot be used");
        }
        parsed.ok()
    };
    let public_keys = app.keys.iter().map(parse).collect();
    KnownApp { app, public_keys }
}

/// An App with this secret.
#[cfg(test)]
pub(crate) fn know_for_tests(secret: &str) -> Arc<KnownApp> {
    let app = App {
        id: AppId(1),
        name: "test".to_owned(),
        created_ms: 0,
        keys: vec![AppKey::hmac("first", secret, 0)],
        proved_from_s: 0,
        admins: vec!["admin".to_owned()],
        disabled: false,
    };
    Arc::new(know(app))
}
