//! The server node of a world: two whole shards, and the chat backend with its two workers, without threads.
//!
//! Everything in here is production code except for three things: who calls it and when (the world does), the disk
//! (a ledger in memory that can lose what was not synced), and a link that may drop pushes, as the contract of the
//! seam allows.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use nearport_chat::desk::Desk;
use nearport_chat::directory::Directory;
use nearport_chat::downs::Downs;
use nearport_chat::front::Front;
use nearport_chat::ledger::{Committed, LedgerError};
use nearport_chat::service::route;
use nearport_chat::shared::Shared;
use nearport_chat::writer::{Prepared, Writer};
use nearport_edge::cid::{Owner, steer};
use nearport_edge::quic::{endpoint_config, server_config};
use nearport_edge::shard::{Admission, ResumeConfig, Shard, ShardConfig};
use nearport_edge::{KeyRing, Keys, Secret, Stats};
use nearport_session::ServerLimits;
use nearport_store::{MemoryLedger, PendingCommit};
use nearport_trunk::local::{DownQueue, LinkId, LocalLink};
use nearport_trunk::queue::{Bound, Receiver, Sender, bounded};
use nearport_trunk::{Down, Link, Received, Up, Waker};

use crate::rng::Rng;
use crate::tls::Tls;

/// Shards of a node: two, so that messages cross from one to the other.
pub(crate) const SHARDS: usize = 2;

/// Life of a resume token: shorter than a world, so that some expire in it.
const RESUME_TTL: Duration = Duration::from_secs(20);

/// Bounds of one life of a node. Small ones make the answers at each bound happen.
#[derive(Debug, Clone)]
pub(crate) struct Bounds {
    pub(crate) queue_items: usize,
    pub(crate) push_bytes_max: usize,
    pub(crate) session_sends_per_batch: u32,
    /// Above this many handshakes at once, a shard asks for a Retry.
    pub(crate) handshakes_soft: usize,
    /// Pushes that the link drops, in a thousand.
    pub(crate) push_loss_permille: u32,
}

impl Bounds {
    /// What production has.
    pub(crate) fn calm() -> Self {
        Self {
            queue_items: 16_384,
            push_bytes_max: 64 * 1024,
            session_sends_per_batch: 128,
            handshakes_soft: 512,
            push_loss_permille: 0,
        }
    }

    /// Any mixture of tight and comfortable ones.
    pub(crate) fn draw(rng: &mut Rng) -> Self {
        let mut bounds = Self::calm();
        if rng.chance(300) {
            bounds.queue_items = rng.index(6) + 2;
        }
        if rng.chance(300) {
            bounds.push_bytes_max = rng.index(600) + 100;
        }
        if rng.chance(200) {
            bounds.session_sends_per_batch = 2;
        }
        if rng.chance(300) {
            bounds.handshakes_soft = rng.index(2);
        }
        if rng.chance(400) {
            bounds.push_loss_permille = 200;
        }
        bounds
    }
}

/// What a process finds when it starts.
pub(crate) struct Host<'a> {
    pub(crate) tls: &'a Tls,
    pub(crate) ledger: &'a MemoryLedger,
    pub(crate) directory: Arc<dyn Directory>,
    /// Which start this is.
    pub(crate) generation: u32,
    /// Of the newest secret in its file.
    pub(crate) epoch: u32,
}

/// One point in time on both clocks of a process.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Moment {
    pub(crate) instant: Instant,
    pub(crate) unix_time: Duration,
}

/// One life of the server process.
#[derive(Debug)]
pub(crate) struct Node {
    shards: Vec<Shard>,
    core: Core,
    front_batch: Vec<(LinkId, Up)>,
    writer_batch: Vec<(LinkId, Up)>,
    ledger: MemoryLedger,
    committing: Option<Commit>,
    /// The backend has ended; the next one is about to come.
    released: bool,
    push_loss: Arc<Mutex<PushLoss>>,
    keys: Keys,
}

/// The backend: what a hand-over replaces.
#[derive(Debug)]
struct Core {
    shared: Shared,
    front: Front,
    writer: Writer,
    desk: Desk,
    front_queue: Receiver<(LinkId, Up)>,
    writer_queue: Receiver<(LinkId, Up)>,
    desk_queue: Receiver<(LinkId, Up)>,
    /// For the links, and for looking at how full the queues are.
    senders: [Sender<(LinkId, Up)>; 3],
    downs: Downs,
}

impl Core {
    fn new(ledger: &MemoryLedger, directory: Arc<dyn Directory>, bounds: &Bounds) -> Self {
        let config = nearport_chat::Config {
            front_queue_items: bounds.queue_items,
            writer_queue_items: bounds.queue_items,
            session_sends_per_batch: bounds.session_sends_per_batch,
            ..nearport_chat::Config::default()
        };
        let queue = |bytes| Bound { items: bounds.queue_items, bytes };
        let (front_sender, front_queue) = bounded(queue(config.front_queue_bytes));
        let (writer_sender, writer_queue) = bounded(queue(config.writer_queue_bytes));
        let (desk_sender, desk_queue) = bounded(queue(config.desk_queue_bytes));
        let shared =
            Shared::new(Arc::new(ledger.clone()), directory, config).expect("bounds that pass the check");
        Self {
            front: Front::new(shared.clone()),
            writer: Writer::new(shared.clone()),
            desk: Desk::new(shared.clone()),
            front_queue,
            writer_queue,
            desk_queue,
            senders: [front_sender, writer_sender, desk_sender],
            downs: Downs::new(shared.links().clone()),
            shared,
        }
    }

    fn link(&self, push_loss: &Arc<Mutex<PushLoss>>) -> Box<dyn Link> {
        let down = DownQueue::new(Waker::noop());
        let id = self.shared.links().add(down.clone());
        let inner = LocalLink::new(id, self.senders.to_vec(), route, down);
        Box::new(LossyLink { inner, push_loss: push_loss.clone() })
    }
}

/// The secrets of an epoch and of the one before.
fn ring(epoch: u32) -> KeyRing {
    let secret = |epoch: u32| Secret { epoch, bytes: [0x17 ^ epoch.to_be_bytes()[3]; 32] };
    let previous = epoch.checked_sub(1).map(secret);
    KeyRing::new(&secret(epoch), previous.as_ref()).expect("one after the other")
}

#[derive(Debug)]
struct Commit {
    prepared: Prepared,
    written: Result<Option<PendingCommit>, LedgerError>,
}

impl Node {
    /// The process starts: new generation, nothing in memory, the store as the disk has it.
    pub(crate) fn start(host: &Host<'_>, bounds: &Bounds, now: Moment, rng: &mut Rng) -> Self {
        let Host { tls, ledger, directory, generation, epoch } = host;
        let core = Core::new(ledger, directory.clone(), bounds);
        let push_loss =
            Arc::new(Mutex::new(PushLoss { rng: rng.fork(1), permille: bounds.push_loss_permille }));

        // The cluster's secret outlives the process: a restarted node resets the connections of its former life.
        let keys = Keys::new(ring(*epoch));
        let stream_tls = nearport_edge::shard::stream_tls(&tls.server);
        let server = Arc::new(
            server_config(tls.server.clone(), &keys, Duration::ZERO).expect("the provider fits QUIC"),
        );
        let session =
            Arc::new(ServerLimits { push_bytes_max: bounds.push_bytes_max, ..ServerLimits::default() });
        let shards = (0..SHARDS).map(|index| {
            let index = u8::try_from(index).expect("two shards");
            let owner = Owner { node: 1, shard: index, generation: *generation };
            let config = ShardConfig {
                index,
                node: 1,
                generation: *generation,
                backend_away_max: nearport_edge::shard::BACKEND_AWAY_MAX,
                endpoint: Arc::new(endpoint_config(&keys, owner, Some(rng.bytes32()))),
                server: server.clone(),
                stream_tls: stream_tls.clone(),
                session: session.clone(),
                admission: Admission { handshakes_soft: bounds.handshakes_soft, ..Admission::default() },
                resume: ResumeConfig { keys: keys.clone(), ttl: RESUME_TTL, unix_time: now.unix_time },
            };
            Shard::new(config, core.link(&push_loss), now.instant)
        });
        Self {
            shards: shards.collect(),
            core,
            front_batch: Vec::new(),
            writer_batch: Vec::new(),
            ledger: (*ledger).clone(),
            committing: None,
            released: false,
            push_loss,
            keys,
        }
    }

    /// The secret file was changed and the process told so.
    pub(crate) fn rotate(&self, epoch: u32) {
        self.keys.replace(ring(epoch)).expect("epochs of a world only grow");
    }

    /// The backend carries out and answers all that it has got, and ends. Returns how many messages it stored on the way.
    pub(crate) fn release(&mut self, now: Instant, now_ms: u64) -> usize {
        self.shards.iter_mut().for_each(|shard| shard.park(now));
        let mut stored = self.finish_commit().unwrap_or_default();
        while !self.is_idle() {
            self.run_front(now_ms);
            self.run_desk(now_ms);
            self.begin_commit(now_ms);
            stored += self.finish_commit().unwrap_or_default();
        }
        self.core.writer.expire_acks();
        self.begin_commit(now_ms);
        stored += self.finish_commit().unwrap_or_default();
        self.released = true;
        stored
    }

    /// Whether there is no backend just now.
    pub(crate) fn is_released(&self) -> bool {
        self.released
    }

    /// Another backend goes on.
    pub(crate) fn attach(
        &mut self,
        ledger: &MemoryLedger,
        directory: Arc<dyn Directory>,
        bounds: &Bounds,
        now: Instant,
    ) {
        self.core = Core::new(ledger, directory, bounds);
        for shard in &mut self.shards {
            shard.switch_link(self.core.link(&self.push_loss), now);
        }
        self.released = false;
    }

    /// Ends the loss of pushes.
    pub(crate) fn heal(&self) {
        self.push_loss.lock().unwrap_or_else(PoisonError::into_inner).permille = 0;
    }

    /// The kernel's part: steers a datagram to a shard. Returns which.
    pub(crate) fn handle_datagram(&mut self, now: Instant, from: SocketAddr, datagram: &[u8]) -> usize {
        let index = steer(datagram, SHARDS);
        self.shards[index].handle_datagram(now, from, None, datagram);
        index
    }

    /// One turn of a shard; its datagrams are taken with [`Self::pop_transmit`].
    pub(crate) fn turn(&mut self, index: usize, now: Instant) {
        self.shards[index].turn(now);
        self.shards[index].take_aside(now);
        self.shards[index].visit_rooms(now, false);
        self.shards[index].handshakes(now, false);
    }

    pub(crate) fn pop_transmit(&mut self, index: usize) -> Option<(SocketAddr, Vec<u8>)> {
        self.shards[index].transmits().pop()
    }

    pub(crate) fn has_work(&self, index: usize) -> bool {
        self.shards[index].has_work()
    }

    pub(crate) fn shard_timeout(&self, index: usize) -> Option<Instant> {
        self.shards[index].poll_timeout()
    }

    /// One round of the front worker. Returns whether there was anything to do.
    pub(crate) fn run_front(&mut self, now_ms: u64) -> bool {
        let taken = self
            .core
            .front_queue
            .drain(&mut self.front_batch, nearport_chat::Config::default().front_batch_items);
        self.core.front.handle(&mut self.front_batch, now_ms, &mut self.core.downs);
        self.core.downs.flush();
        taken > 0
    }

    /// One round of the desk. Returns whether there was anything to do.
    pub(crate) fn run_desk(&mut self, now_ms: u64) -> bool {
        let taken = self
            .core
            .desk_queue
            .drain(&mut self.front_batch, nearport_chat::Config::default().desk_batch_items);
        self.core.desk.handle(&mut self.front_batch, now_ms, &mut self.core.downs);
        self.core.downs.flush();
        taken > 0
    }

    /// One round of the thread that looks after live rooms.
    pub(crate) fn turn_rooms(&mut self, now_ms: u64) {
        if !self.released {
            self.core.shared.turn_rooms(now_ms, &mut self.core.downs);
            self.core.downs.flush();
        }
    }

    /// First half of a round of the writer: takes what waits and writes it, without syncing. `None`: it had nothing
    /// to do or is in the middle of a commit. Otherwise the messages that are now at the mercy of the disk.
    pub(crate) fn begin_commit(&mut self, now_ms: u64) -> Option<usize> {
        if self.committing.is_some() {
            return None;
        }
        let items = nearport_chat::Config::default().writer_batch_items;
        let taken = self.core.writer_queue.drain(&mut self.writer_batch, items);
        if taken == 0 && self.core.writer.deadline_ms().is_none_or(|due| due > now_ms) {
            return None;
        }
        let prepared = self.core.writer.prepare(&mut self.writer_batch, now_ms, &mut self.core.downs);
        self.core.downs.flush();
        let written = match prepared.needs_commit() {
            true => self.ledger.split_commit(&prepared.batch).map(Some),
            false => Ok(None),
        };
        let messages = prepared.batch.appends.len();
        self.committing = Some(Commit { prepared, written });
        Some(messages)
    }

    /// Second half: the disk has answered. Returns how many messages were stored, duplicates not counted.
    pub(crate) fn finish_commit(&mut self) -> Result<usize, String> {
        let Some(Commit { prepared, written }) = self.committing.take() else { return Ok(0) };
        let outcome: Result<Committed, LedgerError> =
            written.map(|pending| pending.map(PendingCommit::sync).unwrap_or_default());
        let stored = match &outcome {
            Ok(done) => Ok(done.appended.iter().filter(|appended| !appended.duplicate).count()),
            Err(error) => Err(error.to_string()),
        };
        self.core.writer.finish(prepared, outcome, &mut self.core.downs);
        self.core.downs.flush();
        stored
    }

    /// When the writer wants a round although nothing came.
    pub(crate) fn writer_deadline_ms(&self) -> Option<u64> {
        self.core.writer.deadline_ms()
    }

    pub(crate) fn front_has_work(&self) -> bool {
        !self.core.senders[0].is_empty() || !self.core.senders[2].is_empty()
    }

    pub(crate) fn writer_has_work(&self) -> bool {
        !self.core.senders[1].is_empty() || !self.core.shared.posts().is_empty()
    }

    pub(crate) fn is_committing(&self) -> bool {
        self.committing.is_some()
    }

    /// Whether no work waits anywhere: the queues of both workers are empty and nothing is being committed.
    pub(crate) fn is_idle(&self) -> bool {
        let posts = self.core.shared.posts();
        self.core.senders.iter().all(Sender::is_empty) && posts.is_empty() && self.committing.is_none()
    }

    /// Figures of a shard.
    pub(crate) fn stats(&self, index: usize) -> Stats {
        self.shards[index].stats()
    }
}

#[derive(Debug)]
struct PushLoss {
    rng: Rng,
    permille: u32,
}

/// A link that loses pushes and says so, as a full one does.
#[derive(Debug)]
struct LossyLink {
    inner: LocalLink,
    push_loss: Arc<Mutex<PushLoss>>,
}

impl Link for LossyLink {
    fn send(&mut self, ups: &mut Vec<Up>) {
        self.inner.send(ups);
    }

    fn recv(&mut self, downs: &mut Vec<Down>, max: usize) -> Received {
        let before = downs.len();
        let mut received = self.inner.recv(downs, max);
        let mut loss = self.push_loss.lock().unwrap_or_else(PoisonError::into_inner);
        if loss.permille > 0 {
            let permille = loss.permille;
            let mut kept = downs.split_off(before);
            let arrived = kept.len();
            kept.retain(|down| !matches!(down, Down::Publish { .. }) || !loss.rng.chance(permille));
            received.lost |= kept.len() < arrived;
            downs.append(&mut kept);
        }
        received
    }
}
