//! The backend of a node with the store under it: opened, closed, and opened again when a hand-over fails.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use nearport_callback::Service;
use nearport_chat::admin::Admin;
use nearport_chat::directory::{App, Directory};
use nearport_chat::history::Historian;
use nearport_chat::ledger::Ledger;
use nearport_chat::retention::Trimmer;
use nearport_chat::{Chat, Clock};
use nearport_edge::Edge;
use nearport_media::Media;
use nearport_store::{FjallLedger, LockError, StoreLock};
use nearport_trunk::dial::{Dial, Dialers, NotYet};
use nearport_trunk::echo::Echo;
use nearport_trunk::remote::Timing;
use nearport_trunk::{Backend, Link, Sharing, Waker};
use tokio::runtime::Handle;

use crate::backup::{self, Page};
use crate::config::{Config, Engine};
use crate::first_run::{self, DataError, Layout};
use crate::node::{BackendKind, Error, now_ms};
use crate::node_callback::{self, Order, Row};
use crate::node_history::History;
use crate::node_media::Signer;
use crate::node_storage::Storage;
use crate::reload::Reloads;
use crate::trunk_tls;

/// How often a lock that another process holds is looked at.
const LOCK_RETRY: Duration = Duration::from_millis(20);

/// What runs.
#[derive(Debug, Clone)]
enum Running {
    Chat(Arc<Serving>),
    Echo(Echo),
    /// A core on another host, once it is dialled.
    Core(Option<Arc<Dialers>>),
}

/// The chat backend and what works on its store beside it.
#[derive(Debug)]
struct Serving {
    // These are dropped first: what is left of the ledger goes with the chat.
    callbacks: Mutex<Option<Service>>,
    /// Where there are files.
    historian: Mutex<Option<Historian>>,
    _trimmer: Trimmer,
    chat: Chat,
    admin: Admin,
    /// What back ends are to be told.
    outbox: Arc<dyn Ledger>,
    /// Where ledger and directory are embedded: what a backup is made of.
    ledger: Option<Arc<FjallLedger>>,
    /// One backup at a time.
    backing_up: Mutex<()>,
    /// The store is about to be closed: a backup gives up.
    closing: AtomicBool,
}

#[derive(Debug)]
struct Opened {
    // The lock goes last.
    running: Running,
    _lock: StoreLock,
}

impl Serving {
    fn serve_media(&self, media: &Arc<Media>, runtime: &Handle) -> Result<(), Error> {
        self.chat.serve_media(Arc::new(Signer(media.clone())));
        let files = Box::new(History::new(media.clone(), runtime.clone()));
        let historian = Historian::start(self.chat.shared().clone(), files, Arc::new(now_ms));
        let historian = historian.map_err(|error| nearport_chat::Error::Spawn("historian", error))?;
        *self.historian.lock().unwrap_or_else(PoisonError::into_inner) = Some(historian);
        Ok(())
    }
}

/// The backend, or the place where it was.
#[derive(Debug)]
pub(crate) struct Slot {
    kind: BackendKind,
    opened: Mutex<Option<Opened>>,
    /// For a backend that is opened again.
    media: OnceLock<(Arc<Media>, Handle)>,
}

impl Slot {
    /// Opens the store and starts the backend. Waits for another process's lock up to `patience`: one that was just killed
    /// may hold it for a moment. Gives the first App too, where Apps are kept.
    pub(crate) fn open(
        config: &Config,
        kind: BackendKind,
        patience: Duration,
    ) -> Result<(Self, Option<App>), Error> {
        let (opened, app) = open(config, kind, patience)?;
        Ok((Self { kind, opened: Mutex::new(Some(opened)), media: OnceLock::new() }, app))
    }

    /// After [`Self::close`]: as before.
    pub(crate) fn reopen(&self, config: &Config, patience: Duration) -> Result<(), Error> {
        let (opened, _) = open(config, self.kind, patience)?;
        if let (Running::Chat(serving), Some((media, runtime))) = (&opened.running, self.media.get()) {
            serving.serve_media(media, runtime)?;
        }
        *self.lock() = Some(opened);
        Ok(())
    }

    /// Finishes everything that was sent, closes the store and releases its lock. Links keep what was answered. What
    /// panicked is told, and closed all the same.
    pub(crate) fn close(&self) -> Result<(), Error> {
        let Some(Opened { running, _lock: lock }) = self.lock().take() else { return Ok(()) };
        let ended = match running {
            // Ends the dialling; the links went with the edge.
            Running::Echo(_) | Running::Core(_) => Ok(()),
            Running::Chat(mut serving) => {
                serving.closing.store(true, Ordering::Release);
                // Back ends are told and asked no more; what waits for their answers is refused by the chat.
                drop(serving.callbacks.lock().unwrap_or_else(PoisonError::into_inner).take());
                drop(serving.historian.lock().unwrap_or_else(PoisonError::into_inner).take());
                let ended = serving.chat.shutdown().map_err(|error| Error::Unclean(error.to_string()));
                // A check of readiness or a call of a back end may hold it for a moment. Nobody can get hold of it any more.
                loop {
                    match Arc::try_unwrap(serving) {
                        Ok(last) => break drop(last),
                        Err(shared) => serving = shared,
                    }
                    std::thread::yield_now();
                }
                ended
            }
        };
        drop(lock);
        ended
    }

    /// Has the backend answer media calls, and make history files. To be called on a runtime.
    pub(crate) fn serve_media(&self, media: &Arc<Media>) -> Result<(), Error> {
        let (media, runtime) = self.media.get_or_init(|| (media.clone(), Handle::current()));
        match &*self.lock() {
            Some(Opened { running: Running::Chat(serving), .. }) => serving.serve_media(media, runtime),
            _ => Ok(()),
        }
    }

    /// What back ends of Apps call; `None` where there is no chat backend, and while it is closed. Closing waits for handles that
    /// were given out.
    pub(crate) fn admin(&self) -> Option<Admin> {
        match &self.lock().as_ref()?.running {
            Running::Chat(serving) => Some(serving.admin.clone().holding(serving.clone())),
            Running::Echo(_) | Running::Core(_) => None,
        }
    }

    /// Which backend.
    pub(crate) fn kind(&self) -> BackendKind {
        self.kind
    }

    /// For `/readyz`.
    pub(crate) fn ready(&self) -> Result<(), String> {
        let running = self.lock().as_ref().map(|opened| opened.running.clone());
        match running {
            Some(Running::Chat(serving)) => serving.chat.ready(),
            Some(Running::Echo(_)) => Ok(()),
            Some(Running::Core(Some(dialers))) => dialers.ready(),
            Some(Running::Core(None)) => Err("not dialled yet".to_owned()),
            None => Err("closed".to_owned()),
        }
    }

    /// Copies the store to the directory `to` while it is used. Blocks for as long as that takes.
    pub(crate) fn backup(&self, data: &Layout, to: &Path) -> Result<Page, String> {
        let serving = match self.lock().as_ref().map(|opened| opened.running.clone()) {
            Some(Running::Chat(serving)) => serving,
            Some(_) => return Err("this node has no store".to_owned()),
            None => return Err("the store is closed".to_owned()),
        };
        let Ok(_one) = serving.backing_up.try_lock() else {
            return Err("another backup is being made".to_owned());
        };
        let Some(ledger) = &serving.ledger else { return Err(backup::NOT_EMBEDDED.to_owned()) };
        backup::make(ledger, data, to, &serving.closing)
    }

    /// Shows the outbox, or has what was given up told again. Blocks for some looks into the store.
    pub(crate) fn callbacks(&self, order: &Order) -> Result<Vec<Row>, String> {
        let serving = match self.lock().as_ref().map(|opened| opened.running.clone()) {
            Some(Running::Chat(serving)) => serving,
            Some(_) => return Err("this node has no store".to_owned()),
            None => return Err("the store is closed".to_owned()),
        };
        let apps = serving.chat.shared().app_ids();
        let (rows, settles) =
            node_callback::look(&*serving.outbox, apps, order).map_err(|error| error.to_string())?;
        let wanted = settles.len();
        match serving.chat.callbacks().settle(settles) {
            taken if taken == wanted => Ok(rows),
            _ => Err("too much is waiting to be written, try again".to_owned()),
        }
    }

    /// Begins to dial the core, for an edge without a backend of its own. Nothing happens for others.
    pub(crate) fn dial(
        &self,
        config: &Config,
        generation: u32,
        edge: &Arc<Edge>,
        reloads: &mut Reloads,
    ) -> Result<(), Error> {
        if self.kind != BackendKind::Core {
            return Ok(());
        }
        let core = config.trunk.core.clone().ok_or(Error::Missing("trunk.core", "--role edge"))?;
        let tls = trunk_tls::edge(config)?;
        let dial = Dial {
            core,
            tls,
            node: config.edge.node,
            generation,
            instance: first_run::random_u64()?,
            timing: Timing::between_hosts(config.trunk.silence),
        };
        let wakers = (0..edge.shards()).map(|shard| edge.waker(shard)).collect();
        let weak = Arc::downgrade(edge);
        let attach = move |shard, link| {
            if let Some(edge) = weak.upgrade() {
                edge.relink(shard, link);
            }
        };
        let dialers = Dialers::start(dial, wakers, Arc::new(attach)).map_err(Error::Trunk)?;
        let dialers = Arc::new(dialers);
        let (shown, config) = (Arc::downgrade(&dialers), config.clone());
        reloads.add("trunk", move || {
            let dialers = shown.upgrade().ok_or("the edge has stopped")?;
            dialers.set_tls(trunk_tls::edge(&config).map_err(|error| error.to_string())?);
            Ok("for the next link".to_owned())
        });
        if let Some(opened) = &mut *self.lock() {
            opened.running = Running::Core(Some(dialers));
        }
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, Option<Opened>> {
        self.opened.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Backend for Slot {
    /// # Panics
    /// If the backend is closed: links are made by whoever opens it.
    fn link(&self, waker: Waker) -> Box<dyn Link> {
        match &self.lock().as_ref().expect("a link is asked of an open backend").running {
            Running::Chat(serving) => serving.chat.link(waker),
            Running::Echo(echo) => echo.link(waker),
            Running::Core(_) => Box::new(NotYet),
        }
    }

    /// # Panics
    /// As [`Self::link`].
    fn link_sharing(&self, waker: Waker, sharing: Sharing) -> Box<dyn Link> {
        match &self.lock().as_ref().expect("a link is asked of an open backend").running {
            Running::Chat(serving) => serving.chat.link_sharing(waker, sharing),
            Running::Echo(echo) => echo.link_sharing(waker, sharing),
            Running::Core(_) => Box::new(NotYet),
        }
    }
}

fn open(config: &Config, kind: BackendKind, patience: Duration) -> Result<(Opened, Option<App>), Error> {
    let layout = Layout(config.data.clone());
    let lock = acquire(&config.data, patience)?;
    if kind == BackendKind::Core {
        // No store and no Apps: those are the core's.
        return Ok((Opened { running: Running::Core(None), _lock: lock }, None));
    }
    let storage = Storage::new(config).map_err(Error::Storage)?;
    let directory = storage.directory(&layout).map_err(DataError::from)?;
    let app = first_run::first_app(&*directory, now_ms())?;
    let running = match kind {
        BackendKind::Echo => Running::Echo(Echo::default()),
        BackendKind::Chat => {
            let serving = start_chat(config, &layout, &storage, directory)?;
            if !layout.client_file().exists() {
                serving.chat.register(app.id, &first_run::FIRST_USERS)?;
            }
            Running::Chat(Arc::new(serving))
        }
        BackendKind::Core => Running::Core(None),
    };
    Ok((Opened { running, _lock: lock }, Some(app)))
}

fn start_chat(
    config: &Config,
    layout: &Layout,
    storage: &Storage<'_>,
    directory: Arc<dyn Directory>,
) -> Result<Serving, Error> {
    let (shared, embedded) = storage.ledger(layout).map_err(nearport_chat::Error::from)?;
    // A copy of one without the other is no backup.
    let ledger = embedded.filter(|_| config.storage.directory == Engine::Embedded);
    let clock: Clock = Arc::new(now_ms);
    let chat = Chat::start(shared.clone(), directory, clock.clone(), config.backend())?;
    let kept = shared.clone();
    let trimmer = Trimmer::start(shared, clock.clone(), config.chat.retention());
    let trimmer = trimmer.map_err(|error| nearport_chat::Error::Spawn("trimmer", error))?;
    let (backing_up, closing) = (Mutex::new(()), AtomicBool::new(false));
    let admin = chat.admin();
    let callbacks = Mutex::new(Some(node_callback::start(config, &chat, kept.clone(), clock)?));
    let historian = Mutex::default();
    Ok(Serving {
        callbacks,
        historian,
        _trimmer: trimmer,
        chat,
        admin,
        outbox: kept,
        ledger,
        backing_up,
        closing,
    })
}

/// Takes the data directory's lock.
fn acquire(data: &Path, patience: Duration) -> Result<StoreLock, Error> {
    let deadline = Instant::now() + patience;
    loop {
        match StoreLock::acquire(data) {
            Err(LockError::Held { .. }) if Instant::now() < deadline => {
                std::thread::park_timeout(LOCK_RETRY);
            }
            outcome => return outcome.map_err(Error::Locked),
        }
    }
}
