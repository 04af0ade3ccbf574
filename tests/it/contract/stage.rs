//! The real program with its settings, and devices of users on it.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use nearport_chat::usersig::sign_v2;
use nearport_client::{Client, Config, Event, Network, NetworkConfig, Platform, Transport, text, user};
use tempfile::TempDir;
use tokio::sync::Notify;
use tokio::task::JoinHandle;

use crate::node::{Node, STUCK};

/// A node, with the keys of its first App.
pub(crate) struct Stage {
    pub(crate) node: Node,
    pub(crate) network: Network,
    pub(crate) app: u32,
    pub(crate) secret: String,
    /// Is gone with the stage.
    _dir: TempDir,
}

impl Stage {
    /// Starts the program with settings `KEY=VALUE`.
    pub(crate) fn start(settings: &[&str]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        // A table asks more of one session than users do.
        let settings = settings.iter().copied().chain(["edge.session_rate=0"]);
        let args: Vec<_> = settings.flat_map(|setting| ["--set", setting]).collect();
        let node = Node::start(dir.path(), &args);
        let file: toml::Table =
            std::fs::read_to_string(dir.path().join("data/client.toml")).unwrap().parse().unwrap();
        let app = u32::try_from(file["app"].as_integer().unwrap()).unwrap();
        let ca = std::fs::read(dir.path().join(file["ca"].as_str().unwrap())).unwrap();
        let network = Network::new(NetworkConfig::from_ca_pem(&ca).unwrap()).unwrap();
        let secret = key(&node, &["app", "show", &app.to_string()]);
        Self { node, network, app, secret, _dir: dir }
    }

    /// One more App; gives its key.
    pub(crate) fn app(&self, id: u32) -> String {
        key(&self.node, &["app", "create", "--id", &id.to_string()])
    }

    /// A pass for a user of the first App.
    pub(crate) fn usersig(&self, name: &str) -> String {
        sign_v2(&self.secret, self.app, name, now_s(), 3600, None)
    }

    /// What a device of `name` logs in with.
    pub(crate) fn config(&self, name: &str) -> Config {
        let config = Config::new(self.node.edge, "localhost", self.app, name, self.usersig(name));
        Config { transports: vec![Transport::Quic], ..config }
    }

    pub(crate) async fn login(&self, name: &str) -> Device {
        self.login_with(self.config(name)).await
    }

    /// A further device, of a platform.
    pub(crate) async fn login_on(&self, name: &str, device: &str, platform: Platform) -> Device {
        self.login_with(Config { device: device.into(), platform, ..self.config(name) }).await
    }

    pub(crate) async fn login_with(&self, config: Config) -> Device {
        let name = config.user.clone();
        let client = Client::connect(&self.network, config);
        client.ready(STUCK).await.unwrap();
        Device::new(name, client)
    }
}

fn key(node: &Node, args: &[&str]) -> String {
    let shown = node.nearport(args);
    let shown: serde_json::Value = serde_json::from_slice(&shown.stdout)
        .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&shown.stderr)));
    shown["key"].as_str().unwrap().to_owned()
}

pub(crate) fn now_s() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

#[derive(Default)]
struct Log {
    events: Mutex<Vec<Event>>,
    changed: Notify,
}

/// A logged-in device, whose events are taken as they come and kept.
pub(crate) struct Device {
    pub(crate) name: String,
    pub(crate) client: Client,
    log: Arc<Log>,
    reader: JoinHandle<()>,
}

impl Device {
    fn new(name: String, client: Client) -> Self {
        let log = Arc::new(Log::default());
        let (source, kept) = (client.clone(), log.clone());
        let reader = tokio::spawn(async move {
            while let Some(event) = source.next_event().await {
                kept.events.lock().unwrap_or_else(PoisonError::into_inner).push(event);
                kept.changed.notify_waiters();
            }
        });
        Self { name, client, log, reader }
    }

    /// What has come so far.
    pub(crate) fn events(&self) -> Vec<Event> {
        self.log.events.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Forgets what has come.
    pub(crate) fn forget(&self) {
        self.log.events.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// Waits until `find` finds something in what has come; a stuck wait fails the test.
    pub(crate) async fn until<T>(&self, what: &str, mut find: impl FnMut(&[Event]) -> Option<T>) -> T {
        let waiting = async {
            loop {
                let changed = self.log.changed.notified();
                tokio::pin!(changed);
                changed.as_mut().enable();
                let found = find(&self.log.events.lock().unwrap_or_else(PoisonError::into_inner));
                if let Some(found) = found {
                    return found;
                }
                changed.await;
            }
        };
        match tokio::time::timeout(STUCK, waiting).await {
            Ok(found) => found,
            Err(_) => panic!("{} never saw {what}; what came last: {:#?}", self.name, self.events().last()),
        }
    }

    /// Returns once everything that the server had for this device is here: `sender` tells it something on the same way, and last.
    pub(crate) async fn fence(&self, sender: &Self) {
        let sent = sender.client.send(user(&self.name), text("fence")).await.unwrap();
        self.until("a fence", |events| {
            let here = |event: &Event| matches!(event, Event::Message(m) if m.seq == sent.seq && m.from == sender.name && m.text() == "fence");
            events.iter().any(here).then_some(())
        })
        .await;
    }

    pub(crate) async fn close(self) {
        self.client.close().await;
        let _ = self.reader.await;
    }
}
