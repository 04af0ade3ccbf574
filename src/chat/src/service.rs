//! The shell: threads that run the cores, one that watches the Apps, one that writes the audit log and one that writes numbers of days, and the links that feed them.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use nearport_trunk::local::{DownQueue, LinkId, LocalLink};
use nearport_trunk::queue::{Receiver, Sender, Waited, bounded};
use nearport_trunk::{Backend, Link, Sharing, Up, Waker};
use nearport_wire::Kind;

use crate::admin::Admin;
use crate::callback::Callbacks;
use crate::desk::Desk;
use crate::directory::Directory;
use crate::downs::Downs;
use crate::front::Front;
use crate::key::AppId;
use crate::ledger::Ledger;
use crate::media::MediaSigner;
use crate::pushes::Courier;
use crate::shared::Shared;
use crate::writer::Writer;
use crate::{Clock, Config, Error};

/// How long a thread sleeps when it has no deadline. Only an upper bound: an arriving item wakes it.
const IDLE: Duration = Duration::from_secs(60);

/// How often the desk looks at who came and went when nobody asks for anything.
const PRESENCE: Duration = Duration::from_millis(500);

/// Workers of a link, as [`route`] numbers them.
const FRONT: usize = 0;
const WRITER: usize = 1;
const DESK: usize = 2;

type Item = (LinkId, Up);

/// The chat backend, running. Dropping it is a [`Chat::shutdown`] whose outcome nobody hears.
pub struct Chat {
    shared: Shared,
    clock: Clock,
    queues: [Sender<Item>; 3],
    threads: Mutex<Vec<Thread>>,
}

struct Thread {
    name: &'static str,
    handle: JoinHandle<()>,
}

impl Chat {
    /// Starts the threads **front**, **desk**, **rooms**, **apps**, **audit**, **pushes**, **numbers** and **writer**.
    ///
    /// # Errors
    /// [`Error::Config`], [`Error::Spawn`], [`Error::Directory`], [`Error::Ledger`].
    pub fn start(
        ledger: Arc<dyn Ledger>,
        directory: Arc<dyn Directory>,
        clock: Clock,
        config: Config,
    ) -> Result<Self, Error> {
        let shared = Shared::new(ledger, directory, config)?;
        shared.tell_left()?;
        let config = shared.config.clone();
        let (front_sender, front_queue) = bounded(config.front_queue());
        let (writer_sender, writer_queue) = bounded(config.writer_queue());
        let (desk_sender, desk_queue) = bounded(config.desk_queue());
        let (writer_waker, desk_waker) = (writer_sender.clone(), desk_sender.clone());
        let waker = desk_waker.clone();
        shared.callbacks.wake_desk_by(move || waker.nudge());
        shared.tasks.wake_by(move || desk_waker.nudge());
        let waker = writer_waker.clone();
        shared.callbacks.wake_writer_by(move || waker.nudge());
        shared.posts.wake_by(move || writer_waker.nudge());
        let chat = Self {
            shared: shared.clone(),
            clock: clock.clone(),
            queues: [front_sender, writer_sender, desk_sender],
            threads: Mutex::new(Vec::new()),
        };
        let (front, writer) = (Front::new(shared.clone()), Writer::new(shared.clone()));
        let (downs, front_clock) = (Downs::new(shared.links.clone()), clock.clone());
        let items = config.front_batch_items;
        chat.spawn("front", move || run_front(front, &front_queue, downs, &front_clock, items))?;
        let downs = Downs::new(shared.links.clone());
        let (desk, desk_clock) = (Desk::new(shared.clone()), clock.clone());
        let desk_downs = Downs::new(shared.links.clone());
        let items = config.desk_batch_items;
        chat.spawn("desk", move || run_desk(desk, &desk_queue, desk_downs, &desk_clock, items))?;
        let (rooms, rooms_clock) = (shared.clone(), clock.clone());
        let rooms_downs = Downs::new(shared.links.clone());
        chat.spawn("rooms", move || run_rooms(&rooms, rooms_downs, &rooms_clock))?;
        let (apps, apps_clock) = (shared.apps.clone(), clock.clone());
        chat.spawn("apps", move || apps.watch(&apps_clock))?;
        let (audit, audit_clock) = (shared.audit.clone(), clock.clone());
        chat.spawn("audit", move || audit.run(&*audit_clock))?;
        let (pushes, pushes_clock) = (shared.clone(), clock.clone());
        chat.spawn("pushes", move || run_pushes(&pushes, &pushes_clock))?;
        let (counting, numbers_clock) = (shared.clone(), clock.clone());
        shared.numbers.it_is(clock());
        chat.spawn("numbers", move || {
            counting.numbers.run(|| counting.write_numbers(numbers_clock()));
        })?;
        let items = config.writer_batch_items;
        chat.spawn("writer", move || run_writer(writer, &writer_queue, downs, &clock, items))?;
        Ok(chat)
    }

    /// Registers accounts at the first start or for an operator; those that exist stay as they are. Durable when it
    /// returns.
    ///
    /// # Errors
    /// [`Error::Name`], [`Error::Directory`]; then none was registered.
    pub fn register(&self, app: AppId, names: &[&str]) -> Result<(), Error> {
        self.shared.register(app, names, (self.clock)())
    }

    /// Ends all sessions of a user and refuses UserSigs issued before now; see [`Shared::kick_user`]. Returns how
    /// many sessions it ended.
    ///
    /// # Errors
    /// [`Error::Name`], [`Error::NoAccount`], [`Error::Directory`]; then nothing has changed.
    pub fn kick(&self, app: AppId, name: &str) -> Result<usize, Error> {
        self.shared.kick_user(app, name, (self.clock)())
    }

    /// What works beside the threads: for whoever tells back ends.
    #[must_use]
    pub fn shared(&self) -> &Shared {
        &self.shared
    }

    /// What the back end of an App calls.
    #[must_use]
    pub fn admin(&self) -> Admin {
        self.shared.admin(self.clock.clone())
    }

    /// What back ends hear of, and decide.
    #[must_use]
    pub fn callbacks(&self) -> &Arc<Callbacks> {
        &self.shared.callbacks
    }

    /// Media calls are answered by `signer` from now on; before, they are refused. The first one stays.
    pub fn serve_media(&self, signer: Arc<dyn MediaSigner>) {
        self.shared.serve_media(signer);
    }

    /// Whether it can serve: all threads run and the ledger takes writes. For `/readyz`; cheap.
    ///
    /// # Errors
    /// What is wrong, for people.
    pub fn ready(&self) -> Result<(), String> {
        let threads = self.threads.lock().unwrap_or_else(PoisonError::into_inner);
        for name in ["front", "writer", "desk", "rooms", "apps", "audit", "pushes", "numbers"] {
            if !threads.iter().any(|thread| thread.name == name && !thread.handle.is_finished()) {
                return Err(Error::NotRunning(name).to_string());
            }
        }
        self.shared.ledger.writable().map_err(|error| error.to_string())
    }

    /// Refuses new work, finishes what is queued, commits waiting acks and joins the threads. Answers are in the links'
    /// queues when it returns. Shut the edge down first: what it sends later is refused as busy. A second call does nothing.
    ///
    /// # Errors
    /// [`Error::Panicked`] if a thread had ended in a panic.
    pub fn shutdown(&self) -> Result<(), Error> {
        self.queues.iter().for_each(Sender::close);
        self.shared.tasks.end();
        self.shared.rooms.end();
        self.shared.apps.end();
        self.shared.audit.end();
        self.shared.pushes.end();
        let threads = std::mem::take(&mut *self.threads.lock().unwrap_or_else(PoisonError::into_inner));
        // The writer behind them: it stores what the others have posted. Last who counts what all have done.
        let (numbers, threads): (Vec<_>, Vec<_>) =
            threads.into_iter().partition(|thread| thread.name == "numbers");
        let (writer, others): (Vec<_>, Vec<_>) =
            threads.into_iter().partition(|thread| thread.name == "writer");
        let join = |thread: Thread| thread.handle.join().map_err(|_| Error::Panicked(thread.name));
        let mut ended: Vec<_> = others.into_iter().map(join).collect();
        self.shared.posts.end();
        ended.extend(writer.into_iter().map(join));
        self.shared.remove_told();
        self.shared.numbers.end();
        ended.extend(numbers.into_iter().map(join));
        // All are joined before the first error is told.
        ended.into_iter().collect()
    }

    fn spawn(&self, name: &'static str, run: impl FnOnce() + Send + 'static) -> Result<(), Error> {
        let thread = std::thread::Builder::new().name(format!("chat-{name}"));
        let handle = thread.spawn(run).map_err(|error| Error::Spawn(name, error))?;
        self.threads.lock().unwrap_or_else(PoisonError::into_inner).push(Thread { name, handle });
        Ok(())
    }
}

impl Backend for Chat {
    fn link(&self, waker: Waker) -> Box<dyn Link> {
        let down = DownQueue::new(waker);
        let id = self.shared.links.add(down.clone());
        self.linked(id, down)
    }

    fn link_sharing(&self, waker: Waker, sharing: Sharing) -> Box<dyn Link> {
        let down = DownQueue::new(waker);
        let id = self.shared.links.add_sharing(down.clone(), sharing);
        self.linked(id, down)
    }
}

impl Chat {
    fn linked(&self, id: LinkId, down: DownQueue) -> Box<dyn Link> {
        let links = self.shared.links.clone();
        Box::new(LocalLink::new(id, self.queues.to_vec(), route, down).telling(move |id| links.remove(id)))
    }
}

impl Drop for Chat {
    fn drop(&mut self) {
        if let Err(error) = self.shutdown() {
            tracing::error!(%error, "chat did not end cleanly");
        }
    }
}

impl fmt::Debug for Chat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Chat").field("shared", &self.shared).finish_non_exhaustive()
    }
}

/// Which worker a message is for. All that writes goes to the writer, in order per session.
#[must_use]
pub fn route(up: &Up) -> usize {
    match up {
        Up::Ack { .. } => WRITER,
        Up::Frame { kind, .. }
            if matches!(*kind, Kind::SEND | Kind::MARK_READ | Kind::FLUSH | Kind::AMEND) =>
        {
            WRITER
        }
        Up::Frame { kind, .. } if matches!(*kind, Kind::GROUP | Kind::PEOPLE) => DESK,
        Up::Open { .. } | Up::Adopt { .. } | Up::Close { .. } | Up::Frame { .. } => FRONT,
    }
}

fn run_front(mut front: Front, queue: &Receiver<Item>, mut downs: Downs, clock: &Clock, batch_items: usize) {
    let mut batch = Vec::with_capacity(batch_items);
    while queue.wait(&mut batch, batch_items, IDLE) != Waited::Closed {
        front.handle(&mut batch, clock(), &mut downs);
        downs.flush();
    }
}

fn run_desk(mut desk: Desk, queue: &Receiver<Item>, mut downs: Downs, clock: &Clock, batch_items: usize) {
    let mut batch = Vec::with_capacity(batch_items);
    while queue.wait(&mut batch, batch_items, PRESENCE) != Waited::Closed {
        desk.handle(&mut batch, clock(), &mut downs);
        downs.flush();
    }
    desk.let_go(&mut downs);
    downs.flush();
}

/// Live rooms want to be looked after as long as there are some.
fn run_rooms(shared: &Shared, mut downs: Downs, clock: &Clock) {
    while shared.rooms.wait() {
        shared.turn_rooms(clock(), &mut downs);
        downs.flush();
    }
}

/// Pushes to all members, a page after the other.
fn run_pushes(shared: &Shared, clock: &Clock) {
    let mut courier = Courier::new(shared.clone());
    while shared.pushes.wait(courier.turn(clock())) {}
}

fn run_writer(
    mut writer: Writer,
    queue: &Receiver<Item>,
    mut downs: Downs,
    clock: &Clock,
    batch_items: usize,
) {
    let mut batch = Vec::with_capacity(batch_items);
    loop {
        let posts_ended = writer.posts_ended();
        let due = writer.deadline_ms().map(|at_ms| Duration::from_millis(at_ms.saturating_sub(clock())));
        let waited = queue.wait(&mut batch, batch_items, due.unwrap_or(IDLE).min(IDLE));
        if waited == Waited::Closed {
            writer.expire_acks();
            writer.let_go(&mut downs);
        }
        writer.turn(&mut batch, clock(), &mut downs);
        downs.flush();
        if waited == Waited::Closed && writer.expire_callbacks() {
            continue;
        }
        if waited == Waited::Closed && posts_ended {
            return;
        }
        if waited == Waited::Closed {
            writer.wait_for_posts(IDLE);
        }
    }
}
