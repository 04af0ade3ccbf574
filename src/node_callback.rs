//! Callbacks: settings to a running service, and what `nearport callbacks` asks of it.

use std::path::Path;
use std::sync::Arc;

use nearport_callback::queue::Config as Bounds;
use nearport_callback::render::Elements;
use nearport_callback::{Service, Start, Target, Targets, target};
use nearport_chat::callback::Event;
use nearport_chat::key::AppId;
use nearport_chat::ledger::{Ledger, LedgerError, OutboxEntry, PageLimit, Settle, Settled, Shelf};
use nearport_chat::{Chat, Clock};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};
use serde::{Deserialize, Serialize};

use crate::config::{self, Callback, CallbackApp, Config};
use crate::config_callback::commands;
use crate::node::Error;
use crate::{files, tls};

/// Entries that one answer over the control socket holds.
/// 64 KiB: a reason may be all escapes.
pub(crate) const ROWS_MAX: usize = 32;

/// Starts telling and asking, if a back end is configured.
pub(crate) fn start(
    config: &Config,
    chat: &Chat,
    ledger: Arc<dyn Ledger>,
    clock: Clock,
) -> Result<Option<Service>, Error> {
    let targets = targets(&config.callback)?;
    if targets.default.is_none() && targets.apps.values().all(Option::is_none) {
        return Ok(None);
    }
    let (of_apps, of_users, now) = (chat.shared().clone(), chat.shared().clone(), clock.clone());
    let start = Start {
        callbacks: chat.callbacks().clone(),
        ledger,
        apps: Arc::new(move || {
            of_apps.app_ids().unwrap_or_else(|error| {
                tracing::error!(%error, "cannot look apps up");
                Vec::new()
            })
        }),
        clock,
        targets,
        elements: Elements { out: nearport_rest::msg_body, read: nearport_rest::read_msg_body },
        unread: Arc::new(move |app, user| of_users.unread_of_pairs(app, user, now())),
        queue: Bounds::default(),
    };
    Service::start(start).map(Some).map_err(|error| Error::Callback(error.to_string()))
}

/// The back ends that the settings name.
fn targets(settings: &Callback) -> Result<Targets, Error> {
    let wrong = |why: String| Error::Callback(why);
    let tls = client_tls(settings)?;
    let one = |url: &Option<String>, of: Option<&CallbackApp>| -> Result<Option<Arc<Target>>, Error> {
        let Some(url) = url else { return Ok(None) };
        let events = of.and_then(|app| app.events.as_ref()).unwrap_or(&settings.events);
        let token = of.and_then(|app| app.token.as_ref()).or(settings.token.as_ref());
        Ok(Some(Arc::new(Target {
            url: target::url(url).map_err(|why| wrong(format!("callback.url {why}")))?,
            commands: commands(events).map_err(wrong)?,
            on_failure: of.and_then(|app| app.before_failure).unwrap_or(settings.before_failure).into(),
            retry: of.and_then(|app| app.retry_after).unwrap_or(settings.retry_after),
            token: token.map(|token| token.0.clone()),
            allow_private: settings.allow_private,
            concurrency: settings.concurrency,
            tls: tls.clone(),
        })))
    };
    let apps = settings.apps.iter().map(|app| Ok((app.app, one(&app.url, Some(app))?)));
    Ok(Targets { default: one(&settings.url, None)?, apps: apps.collect::<Result<_, Error>>()? })
}

/// Whom back ends are checked by, and what is shown to them.
fn client_tls(settings: &config::Callback) -> Result<Arc<ClientConfig>, Error> {
    let bad =
        |path: &Path, why: &dyn std::fmt::Display| Error::Callback(format!("{}: {why}", path.display()));
    let read = |path: &Path| {
        let pem = files::read_if_there(path).map_err(|error| Error::Data(error.into()))?;
        pem.ok_or_else(|| bad(path, &"is not there"))
    };
    let certificates = |path: &Path| {
        let pem = read(path)?;
        let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem).collect();
        let found = found.map_err(|error| bad(path, &error))?;
        if found.is_empty() { Err(bad(path, &"holds no certificate")) } else { Ok(found) }
    };
    let urls = settings.apps.iter().map(|app| &app.url).chain([&settings.url]).flatten();
    let secure = urls.into_iter().any(|url| url.starts_with("https://"));
    let mut roots = RootCertStore::empty();
    match &settings.ca {
        Some(path) => {
            for certificate in certificates(path)? {
                roots.add(certificate).map_err(|error| bad(path, &error))?;
            }
        }
        // No TLS, nobody to trust.
        None if !secure => {}
        None => roots = tls::system_roots().map_err(Error::Callback)?,
    }
    let tls = ClientConfig::builder_with_provider(tls::provider());
    let tls =
        tls.with_safe_default_protocol_versions().map_err(|error| Error::Callback(error.to_string()))?;
    let tls = tls.with_root_certificates(roots);
    let tls = match (&settings.client_cert, &settings.client_key) {
        (Some(chain), Some(key)) => {
            let pem = read(key)?;
            let secret = PrivateKeyDer::from_pem_slice(&pem).map_err(|error| bad(key, &error))?;
            tls.with_client_auth_cert(certificates(chain)?, secret).map_err(|error| bad(chain, &error))?
        }
        _ => tls.with_no_client_auth(),
    };
    Ok(Arc::new(tls))
}

/// What `nearport callbacks` wants.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Order {
    /// Whose; `None`: of all Apps.
    pub(crate) app: Option<u32>,
    /// What waits instead of what was given up.
    pub(crate) waiting: bool,
    /// Entries behind this one, of the App [`Self::after_app`] and those behind it.
    pub(crate) after: u64,
    /// See [`Self::after`].
    pub(crate) after_app: u32,
    /// These are told again; `None`: they are listed only.
    pub(crate) replay: Option<Replay>,
}

/// Which of the dead are told again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Replay {
    /// All.
    All,
    /// Those with these numbers.
    Numbers(Vec<u64>),
}

/// An entry, as it is shown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Row {
    pub(crate) app: u32,
    pub(crate) number: u64,
    pub(crate) command: String,
    pub(crate) time_ms: u64,
    pub(crate) died_ms: u64,
    pub(crate) reason: String,
}

impl Row {
    fn new(app: AppId, entry: OutboxEntry) -> Self {
        let command = Event::read(entry.body).map(|event| event.command).unwrap_or_default();
        let OutboxEntry { number, time_ms, died_ms, reason, .. } = entry;
        Self { app: app.0, number, command, time_ms, died_ms, reason }
    }
}

/// Looks at the outbox: a page of rows, and what is to be settled if they are to be told again. Blocks.
pub(crate) fn look(
    ledger: &dyn Ledger,
    mut apps: Vec<AppId>,
    order: &Order,
) -> Result<(Vec<Row>, Vec<Settle>), LedgerError> {
    apps.sort_unstable_by_key(|app| app.0);
    apps.retain(|app| order.app.is_none_or(|only| only == app.0) && app.0 >= order.after_app);
    let shelf = if order.waiting && order.replay.is_none() { Shelf::Waiting } else { Shelf::Dead };
    let (mut rows, mut settles) = (Vec::new(), Vec::new());
    for app in apps {
        let mut after = if app.0 == order.after_app { order.after } else { 0 };
        while rows.len() < ROWS_MAX {
            let limit = PageLimit { entries: ROWS_MAX - rows.len(), bytes: 4 << 20 };
            let page = ledger.outbox(app, shelf, after, limit)?;
            let Some(last) = page.last() else { break };
            after = last.number;
            for entry in page {
                let wanted = match &order.replay {
                    None | Some(Replay::All) => true,
                    Some(Replay::Numbers(numbers)) => numbers.contains(&entry.number),
                };
                if !wanted {
                    continue;
                }
                if order.replay.is_some() {
                    settles.push(Settle { app, number: entry.number, what: Settled::Again });
                }
                rows.push(Row::new(app, entry));
            }
        }
    }
    Ok((rows, settles))
}
