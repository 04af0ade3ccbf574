//! Callbacks: settings to a running service, and what `nearport callbacks` asks of it.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, OnceLock};

use nearport_callback::queue::Config as Bounds;
use nearport_callback::render::Elements;
use nearport_callback::{Service, Start, Target, Targets};
use nearport_chat::apps::AppSettings;
use nearport_chat::callback::{CallbackSettings, Event, url};
use nearport_chat::key::AppId;
use nearport_chat::ledger::{Ledger, LedgerError, OutboxEntry, PageLimit, Settle, Settled, Shelf};
use nearport_chat::{Chat, Clock};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};
use serde::{Deserialize, Serialize};

use crate::config::{self, Config};
use crate::node::Error;
use crate::{files, tls};

/// Entries that one answer over the control socket holds.
/// 64 KiB: a reason may be all escapes.
pub(crate) const ROWS_MAX: usize = 32;

/// Starts telling and asking: back ends come and go with the settings of their Apps.
pub(crate) fn start(
    config: &Config,
    chat: &Chat,
    ledger: Arc<dyn Ledger>,
    clock: Clock,
) -> Result<Service, Error> {
    let (of_apps, of_users, now) = (chat.shared().clone(), chat.shared().clone(), clock.clone());
    let start = Start {
        callbacks: chat.callbacks().clone(),
        ledger,
        apps: Arc::new(move || of_apps.app_ids()),
        clock: clock.clone(),
        elements: Elements { out: nearport_rest::msg_body, read: nearport_rest::read_msg_body },
        unread: Arc::new(move |app, user| of_users.unread_of_pairs(app, user, now())),
        queue: Bounds::default(),
    };
    let tls = Tls::new(config)?;
    let service = Service::start(start).map_err(|error| Error::Callback(error.to_string()))?;
    let switch = service.switch();
    chat.shared().apps().on_change(clock(), move |all, apps| switch.to(&targets(all, apps, &tls)));
    Ok(service)
}

/// The back ends that settings name.
fn targets(all: &AppSettings, apps: &BTreeMap<u32, Arc<AppSettings>>, tls: &Tls) -> Targets {
    let target = |of: &CallbackSettings| {
        // Whatever sets one has read it by the same rules.
        let url = url(&of.url).ok()?;
        let token = Some(of.token.0.clone()).filter(|token| of.sign && !token.is_empty());
        Some(Arc::new(Target {
            commands: of.events,
            on_failure: of.before_failure,
            retry: of.retry_after,
            token,
            allow_private: of.allow_private,
            concurrency: of.concurrency,
            tls: tls.of(url.scheme_str() == Some("https")),
            url,
        }))
    };
    let other = apps.iter().filter(|(_, settings)| settings.callback() != all.callback());
    Targets {
        default: target(all.callback()),
        apps: other.map(|(app, settings)| (*app, target(settings.callback()))).collect(),
    }
}

/// Whom back ends are checked by, and what is shown to them.
struct Tls {
    settings: config::Callback,
    /// Of those with TLS, once there is one: what a system trusts takes time to read.
    secure: OnceLock<Arc<ClientConfig>>,
    plain: Arc<ClientConfig>,
}

impl Tls {
    /// Reads what the settings name.
    fn new(config: &Config) -> Result<Self, Error> {
        let settings = config.callback.clone();
        let tls = Self { plain: client_tls(&settings, false)?, settings, secure: OnceLock::new() };
        let of_apps = config.apps.iter().filter_map(|app| app.settings.get("callback.url"));
        if of_apps.chain(&tls.settings.url).any(|url| url.starts_with("https://")) {
            let _ = tls.secure.set(client_tls(&tls.settings, true)?);
        }
        Ok(tls)
    }

    fn of(&self, secure: bool) -> Arc<ClientConfig> {
        if !secure {
            return self.plain.clone();
        }
        let made = self.secure.get_or_init(|| {
            client_tls(&self.settings, true).unwrap_or_else(|error| {
                // Nobody is trusted then, and nothing is lost: it is told after the next start.
                tracing::error!(%error, "back ends with TLS cannot be reached");
                self.plain.clone()
            })
        });
        made.clone()
    }
}

fn client_tls(settings: &config::Callback, secure: bool) -> Result<Arc<ClientConfig>, Error> {
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
