//! The shell around a shard: its thread, its sockets, its clock.

mod gather;
mod source;
mod tcp;

use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::mpsc::SyncSender;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use nearport_session::Closing;
use nearport_trunk::{Link, Waker};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::sync::Notify;

use crate::cid::{Owner, ShardCids, steer};
use crate::forward::{Forwarder, Inlet};
use crate::shard::{Departure, Shard, ShardConfig};
use crate::socket::{Receiver, Sender};
use crate::stats::{Exporter, Stats};
use gather::Gather;
use source::{Forwarded, Predecessors, Source, forwarded};
use tcp::Tcp;
pub(crate) use tcp::TcpConfig;

/// Datagrams for another shard that may wait there; more are dropped and counted, QUIC repeats them. Only used
/// where the kernel does not steer.
const HANDED_OVER_MAX: usize = 4096;

/// Batches read in one turn of a crowd; few make a message wait in the socket for several turns.
const BATCHES_PER_TURN: usize = 16;

/// How often figures are published while anything happens.
const PUBLISH_EVERY: Duration = Duration::from_secs(1);

/// Pause when the socket's buffer is full. 4 MiB leave a 1 Gbit/s link in 34 ms.
const SEND_RETRY: Duration = Duration::from_millis(1);

/// What the edge tells a shard.
#[derive(Debug)]
pub(crate) enum Control {
    Drain(Departure),
    Undrain,
    Close(Closing),
    Stop(Closing),
    /// Read from the UDP socket and accept from the listener, or leave what comes to whoever does so next.
    Read(bool),
    /// New TCP connections are another process's for good.
    CloseListener,
    /// Send the backend nothing more. Told when what was read is on its way there.
    Park(Done),
    /// Go on with another backend. Told when it knows every session.
    Attach {
        link: Box<dyn Link>,
        inlet: Option<OwnedFd>,
        done: Done,
    },
    /// A process of an earlier generation takes its packets here.
    Forward {
        generation: u32,
        socket: OwnedFd,
    },
}

/// Hears once that something is done. Dropped without a word, it never will be.
pub(crate) type Done = SyncSender<()>;

/// What other threads may touch of a shard.
#[derive(Debug, Default)]
pub(crate) struct Shared {
    wake: Arc<Notify>,
    control: Mutex<Vec<Control>>,
    handed_over: Mutex<Vec<(SocketAddr, Box<[u8]>)>>,
    stats: Mutex<Stats>,
    published: Condvar,
}

impl Shared {
    pub(crate) fn waker(&self) -> Waker {
        let wake = self.wake.clone();
        Waker::new(move || wake.notify_one())
    }

    pub(crate) fn control(&self, control: Control) {
        lock(&self.control).push(control);
        self.wake.notify_one();
    }

    pub(crate) fn stats(&self) -> Stats {
        *lock(&self.stats)
    }

    /// Waits until no session is left, at most until `deadline`; returns how many are.
    pub(crate) fn wait_for_empty(&self, deadline: Instant) -> u64 {
        let left = deadline.saturating_duration_since(Instant::now());
        let not_empty = |stats: &mut Stats| stats.sessions > 0 || !stats.draining;
        let waited = self.published.wait_timeout_while(lock(&self.stats), left, not_empty);
        waited.unwrap_or_else(PoisonError::into_inner).0.sessions
    }

    fn publish(&self, stats: Stats) {
        *lock(&self.stats) = stats;
        self.published.notify_all();
    }

    /// Takes a datagram that the kernel gave to the wrong shard. Returns whether there was room.
    fn hand_over(&self, from: SocketAddr, datagram: &[u8]) -> bool {
        let mut queue = lock(&self.handed_over);
        let room = queue.len() < HANDED_OVER_MAX;
        if room {
            queue.push((from, datagram.into()));
        }
        drop(queue);
        self.wake.notify_one();
        room
    }
}

/// What the wall clock reads, as time since the Unix epoch.
pub(crate) fn unix_time() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

/// CPU time of this thread: other processes on the core do not make a handshake expensive.
fn cpu_time() -> Duration {
    nix::time::clock_gettime(nix::time::ClockId::CLOCK_THREAD_CPUTIME_ID)
        .map_or(Duration::ZERO, Duration::from)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // What is inside is valid after every statement, so a panic elsewhere does not spoil it.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The sockets of a shard.
#[derive(Debug)]
pub(crate) struct Sockets {
    pub(crate) udp: UdpSocket,
    pub(crate) tcp: Option<TcpConfig>,
    /// Whether they are read from the start.
    pub(crate) reading: bool,
}

/// Runs a shard until it is told to stop. `shards` are all of the edge, in order.
pub(crate) fn run(
    config: ShardConfig,
    owner: Owner,
    link: Box<dyn Link>,
    sockets: Sockets,
    shards: &[Arc<Shared>],
) {
    let index = usize::from(config.index);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().enable_time().build();
    let outcome = runtime.and_then(|runtime| {
        runtime.block_on(async {
            let source = Some(Source::new(sockets.udp, sockets.reading)?);
            let tcp = sockets.tcp.map(|tcp| Tcp::new(tcp, sockets.reading)).transpose()?;
            let predecessors = Predecessors::new(ShardCids::new(&config.resume.keys, owner, 0), owner);
            let exporter = Exporter::new(config.index);
            let shard = Shard::new(config, link, Instant::now());
            let driver = Driver {
                shard,
                source,
                tcp,
                forwarded: None,
                predecessors,
                attaching: None,
                index,
                shards,
                receiver: Receiver::new(),
                sender: Sender::new(),
                exporter,
                stats: Stats::default(),
                published_at: None,
                told_draining: false,
                stopping: false,
                gather: Gather::default(),
            };
            driver.run().await
        })
    });
    if let Err(error) = outcome {
        tracing::error!(shard = index, %error, "shard stopped");
    }
}

/// Registers a descriptor for reading only. With writing too, which `tokio::net::UdpSocket` always asks for, every
/// datagram that leaves raises an event that wakes the thread for nothing: 0.7 times per turn in our own figures.
fn register<T: AsRawFd>(socket: T) -> io::Result<AsyncFd<T>> {
    #[expect(
        deprecated,
        reason = "its successor is unsafe for types that lie about their descriptor; sockets and epolls do not"
    )]
    AsyncFd::with_interest(socket, Interest::READABLE)
}

struct Driver<'a> {
    shard: Shard,
    /// Taken out only while it changes how it is read.
    source: Option<Source>,
    tcp: Option<Tcp>,
    /// What the process sends that reads our socket.
    forwarded: Option<Forwarded>,
    /// Where this process sends what it reads for others.
    predecessors: Predecessors,
    /// Who waits for the new backend to know every session.
    attaching: Option<Done>,
    index: usize,
    shards: &'a [Arc<Shared>],
    receiver: Receiver,
    sender: Sender,
    exporter: Exporter,
    /// What the driver itself counts: hand-over and sending.
    stats: Stats,
    published_at: Option<Instant>,
    /// What was published last says that the shard drains.
    told_draining: bool,
    stopping: bool,
    gather: Gather,
}

impl Driver<'_> {
    async fn run(mut self) -> io::Result<()> {
        let wake = self.shards[self.index].wake.clone();
        let far = tokio::time::Instant::now() + Duration::from_secs(3600);
        let sleep = tokio::time::sleep_until(far);
        tokio::pin!(sleep);
        loop {
            let source = self.source.as_ref().expect("there is one between turns");
            let mut readable = false;
            let wait = !self.has_work();
            if wait {
                let deadline = self.deadline().map_or(far, tokio::time::Instant::from_std);
                if sleep.deadline() != deadline {
                    sleep.as_mut().reset(deadline);
                }
                tokio::select! {
                    biased;
                    ready = source.readable() => { ready?; readable = true; }
                    ready = forwarded(self.forwarded.as_ref()) => { ready?; readable = true; }
                    ready = tcp::readable(self.tcp.as_ref()) => ready?,
                    () = wake.notified() => {}
                    () = sleep.as_mut() => {}
                }
            }
            if readable && self.gather.is_worth_it() {
                rustix::thread::sched_yield();
            }
            // One clock reading per turn.
            let now = Instant::now();
            self.take_control(now)?;
            let more = (readable || !wait || self.shard.has_work()) && self.receive(now);
            if let Some(tcp) = &mut self.tcp {
                tcp.receive(&mut self.shard, now, wait);
            }
            self.take_handed_over(now);
            let backlog = self.shard.settle_backlog(more);
            self.shard.turn(now);
            self.flush().await?;
            if let Some(tcp) = &mut self.tcp {
                tcp.flush(&mut self.shard, now);
            }
            // Who has something to say has an answer; now acknowledgements, rooms, and then those who want to become clients.
            self.shard.take_aside(now);
            self.shard.visit_rooms(now, backlog);
            if let Some(tcp) = &mut self.tcp {
                tcp.flush(&mut self.shard, now);
            }
            self.handshakes(now, backlog);
            self.flush().await?;
            self.tell_attached();
            self.publish(now);
            if self.shard.gives_way(now) {
                let given = Instant::now();
                rustix::thread::sched_yield();
                self.shard.gave_way(now, given.elapsed());
            }
            if self.stopping {
                // What close_all queued is out. Peers that miss it see a reset from the next process.
                return Ok(());
            }
        }
    }

    /// Works on what wants to begin, and tells the shard what that cost.
    fn handshakes(&mut self, now: Instant, backlog: bool) {
        let Self { shard, tcp, .. } = self;
        if let Some(tcp) = tcp.as_mut().filter(|tcp| tcp.has_handshakes()) {
            let start = cpu_time();
            let begun = tcp.handshakes(shard, now);
            shard.handshakes_took(cpu_time().saturating_sub(start), begun);
        }
        if shard.has_handshakes() {
            let start = cpu_time();
            if let Some(begun) = shard.handshakes(now, backlog) {
                shard.handshakes_took(cpu_time().saturating_sub(start), begun);
            }
        }
    }

    /// Whether another turn has work at once.
    fn has_work(&self) -> bool {
        self.shard.has_work() || self.tcp.as_ref().is_some_and(Tcp::has_work)
    }

    fn deadline(&self) -> Option<Instant> {
        let publish = self.published_at.map(|at| at + PUBLISH_EVERY);
        let accept = self.tcp.as_ref().and_then(Tcp::deadline);
        [self.shard.poll_timeout(), publish, accept].into_iter().flatten().min()
    }

    /// Reads one batch. More than that waits until this one is answered: the batch stays in the cache and latency
    /// stays low (our own figure: 64 beats 256). In a crowd it reads on, for what is not just an acknowledgement. Returns whether
    /// more may wait.
    fn receive(&mut self, now: Instant) -> bool {
        let mut more = self.receive_batch(now);
        for _ in 1..BATCHES_PER_TURN {
            if !more || !self.shard.reads_on() {
                break;
            }
            more = self.receive_batch(now);
        }
        let Self { shard, stats, forwarded, .. } = self;
        if let Some(link) = forwarded {
            let handle = |from: SocketAddr, datagram: &[u8]| {
                stats.foreign += 1;
                shard.handle_datagram(now, from, None, datagram);
            };
            if !link.receive(handle) {
                *forwarded = None;
            }
        }
        more
    }

    fn receive_batch(&mut self, now: Instant) -> bool {
        let Self { shard, shards, index, receiver, stats, predecessors, .. } = self;
        let Some(source) = &self.source else { return false };
        let mut count = 0;
        let more = source.receive(receiver, |from, datagram| {
            count += 1;
            let owner = steer(datagram, shards.len());
            if owner != *index {
                let taken = shards[owner].hand_over(from, datagram);
                if taken { stats.handed_over += 1 } else { stats.hand_over_dropped += 1 }
            } else if !predecessors.take(from, datagram) {
                shard.handle_datagram(now, from, None, datagram);
            }
        });
        self.gather.note(count);
        more
    }

    /// Sends everything. Waits when the socket's buffer is full: nothing is lost, and nothing new is made meanwhile.
    async fn flush(&mut self) -> io::Result<()> {
        let Some(source) = &self.source else { return Ok(()) };
        loop {
            let batch = self.shard.transmits().front();
            if batch.is_empty() {
                return Ok(());
            }
            match self.sender.send(source.socket(), batch) {
                Ok(sent) => self.shard.transmits().sent(sent),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.stats.send_blocked += 1;
                    tokio::time::sleep(SEND_RETRY).await;
                }
                Err(error) => {
                    // The first datagram cannot be sent (its route is gone, say). QUIC repeats what matters.
                    tracing::debug!(%error, "send");
                    self.stats.send_failed += 1;
                    self.shard.transmits().sent(1);
                }
            }
        }
    }

    fn take_control(&mut self, now: Instant) -> io::Result<()> {
        for control in std::mem::take(&mut *lock(&self.shards[self.index].control)) {
            match control {
                Control::Drain(departure) => self.shard.drain(&departure, now),
                Control::Undrain => self.shard.undrain(),
                Control::Close(closing) => self.shard.close_sessions(&closing),
                Control::Stop(closing) => {
                    self.shard.close_all(&closing);
                    self.stopping = true;
                }
                Control::Read(reading) => {
                    self.source = self.source.take().map(|source| source.set_reading(reading)).transpose()?;
                    if let Some(tcp) = &mut self.tcp {
                        tcp.set_accepting(reading)?;
                    }
                }
                Control::CloseListener => self.tcp.iter_mut().for_each(Tcp::close_listener),
                Control::Park(done) => {
                    self.shard.park(now);
                    let _ = done.try_send(());
                }
                Control::Attach { link, inlet, done } => {
                    self.shard.switch_link(link, now);
                    self.attaching = Some(done);
                    if let Some(inlet) = inlet {
                        self.forwarded = Some(Forwarded::new(Inlet::new(inlet))?);
                    }
                }
                Control::Forward { generation, socket } => {
                    self.predecessors.add(Forwarder::new(generation, socket));
                }
            }
        }
        Ok(())
    }

    fn take_handed_over(&mut self, now: Instant) {
        if self.shards.len() > 1 {
            let datagrams = std::mem::take(&mut *lock(&self.shards[self.index].handed_over));
            for (from, datagram) in datagrams {
                if !self.predecessors.take(from, &datagram) {
                    self.shard.handle_datagram(now, from, None, &datagram);
                }
            }
        }
        self.predecessors.flush();
    }

    fn tell_attached(&mut self) {
        if self.attaching.is_some()
            && self.shard.is_attached()
            && let Some(done) = self.attaching.take()
        {
            let _ = done.try_send(());
        }
    }

    fn publish(&mut self, now: Instant) {
        let due = self.published_at.is_none_or(|at| now >= at + PUBLISH_EVERY);
        if due {
            self.shard.set_unix_time(now, unix_time());
        }
        // A drain that was undone is told at once too: who asks next must not see the former one.
        if !due && !self.shard.is_draining() && !self.told_draining && !self.stopping {
            return;
        }
        let (forwarded, forward_dropped) = self.predecessors.counts();
        let stats = Stats {
            handed_over: self.stats.handed_over,
            hand_over_dropped: self.stats.hand_over_dropped,
            send_blocked: self.stats.send_blocked,
            send_failed: self.stats.send_failed,
            trains_refused: u64::from(!self.sender.sends_trains()),
            accept_errors: self.tcp.as_ref().map_or(0, |tcp| tcp.accept_errors),
            forwarded,
            forward_dropped,
            foreign: self.stats.foreign,
            ..self.shard.stats()
        };
        self.exporter.export(&stats);
        self.shards[self.index].publish(stats);
        self.told_draining = stats.draining;
        self.published_at = Some(now);
    }
}
