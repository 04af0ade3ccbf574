//! The thread between two TUN devices: it reads packets, asks each flow's path what becomes of them, and writes them when they are due.
//!
//! It waits with a nanosecond timeout for whatever comes first, so a packet leaves within the kernel's timer slack
//! (50 µs) of its time on an idle machine.

use std::collections::HashMap;
use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use nearport_impair::{Cause, Counts, DelayLine, Direction, Fate, Packet, Path, Protocol, Spec};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use tun_rs::SyncDevice;

use crate::nat::Nat;
use crate::packet::{Layout, fragmentation_needed, layout};

/// Packets on their way, over all flows; more are dropped and counted.
const LINE_PACKETS_MAX: usize = 100_000;
const LINE_BYTES_MAX: usize = 64 << 20;

/// Flows with a path of their own; a packet of one more is dropped and counted. A run has far fewer.
const FLOWS_MAX: usize = 50_000;

/// Packets read from one device before the other has its turn and what is due goes out.
const BATCH: usize = 64;

/// Longest IP packet of a device with an MTU of 1,500, and some.
const PACKET_BYTES_MAX: usize = 2_048;

/// What happened in a laboratory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct LabCounts {
    /// Client to server, over all flows.
    pub up: Counts,
    /// Server to client.
    pub down: Counts,
    /// Flows: protocol and port of a client.
    pub flows: u64,
    /// Packets to an address that the NAT has forgotten.
    pub unmapped: u64,
    /// ICMP messages that a packet was too long.
    pub too_long_told: u64,
    /// Dropped because of the emulator's own bounds, or refused by a device: not part of what was asked for, so a run
    /// with any of these says nothing.
    pub overrun: u64,
    /// The longest time that a packet left after it was due.
    pub late_max: Duration,
}

/// A packet on its way.
type InFlight = (Direction, Vec<u8>);

/// A protocol and a client's port.
type Flow = (Protocol, u16);

#[derive(Debug)]
struct State {
    spec: Spec,
    zero: Instant,
    paths: HashMap<Flow, Path>,
    nat: Option<Nat>,
    counts: LabCounts,
    /// Of paths that are no more.
    former: (Counts, Counts),
    line: DelayLine<InFlight>,
    /// Zero of the line's times, which outlive a change of the spec.
    start: Instant,
}

/// A running emulator. Ends when dropped.
#[derive(Debug)]
pub(crate) struct Emulator {
    state: Arc<Mutex<State>>,
    /// Its end tells the thread to stop.
    stop: Option<OwnedFd>,
    thread: Option<JoinHandle<()>>,
}

impl Emulator {
    /// Starts between the device of the clients' namespace and that of the server's.
    pub(crate) fn start(clients: SyncDevice, server: SyncDevice) -> io::Result<Self> {
        clients.set_nonblocking(true)?;
        server.set_nonblocking(true)?;
        let (stopped, stop) = io::pipe()?;
        let state = Arc::new(Mutex::new(State::new()));
        let shared = Arc::clone(&state);
        let stopped = OwnedFd::from(stopped);
        let thread = std::thread::Builder::new()
            .name("lab-emulator".to_owned())
            .spawn(move || run(&shared, &clients, &server, &stopped))?;
        Ok(Self { state, stop: Some(OwnedFd::from(stop)), thread: Some(thread) })
    }

    /// Another network from now on, at its time zero. What is on its way still arrives.
    pub(crate) fn set(&self, spec: Spec) {
        lock(&self.state).set(spec);
    }

    pub(crate) fn counts(&self) -> LabCounts {
        lock(&self.state).counts()
    }
}

impl Drop for Emulator {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // It only fails if the thread panicked, which has printed its message.
            let _ = thread.join();
        }
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

impl State {
    fn new() -> Self {
        let now = Instant::now();
        Self {
            spec: Spec::default(),
            zero: now,
            paths: HashMap::new(),
            nat: None,
            counts: LabCounts::default(),
            former: <(Counts, Counts)>::default(),
            line: DelayLine::new(LINE_PACKETS_MAX, LINE_BYTES_MAX),
            start: now,
        }
    }

    fn set(&mut self, spec: Spec) {
        for path in std::mem::take(&mut self.paths).into_values() {
            add(&mut self.former.0, path.counts(Direction::Up));
            add(&mut self.former.1, path.counts(Direction::Down));
        }
        self.nat = spec.rebind.map(|_| Nat::default());
        (self.spec, self.zero) = (spec, Instant::now());
    }

    fn counts(&self) -> LabCounts {
        let mut counts = LabCounts { up: self.former.0, down: self.former.1, ..self.counts };
        for path in self.paths.values() {
            add(&mut counts.up, path.counts(Direction::Up));
            add(&mut counts.down, path.counts(Direction::Down));
        }
        counts
    }

    /// A packet has come from one side. Returns what the router answers to its sender.
    fn enter(&mut self, now: Instant, direction: Direction, mut packet: Vec<u8>) -> Option<Vec<u8>> {
        let found = layout(&packet)?;
        let time = now.saturating_duration_since(self.zero);
        let Some((path, mapping)) = self.path(direction, found, time) else {
            self.counts.overrun += 1;
            return None;
        };
        match path.send(time, direction, Packet { bytes: packet.len(), protocol: found.protocol }) {
            Fate::Arrives { at, again } => {
                if direction == Direction::Up
                    && let Some(nat) = &mut self.nat
                    && !nat.outbound(&mut packet, found, mapping)
                {
                    self.counts.overrun += 1;
                    return None;
                }
                if let Some(again) = again {
                    self.put(again, direction, packet.clone());
                }
                self.put(at, direction, packet);
                None
            }
            Fate::Dropped(Cause::TooLong { mtu }) => {
                let answer = fragmentation_needed(&packet, found, mtu)?;
                self.counts.too_long_told += 1;
                Some(answer)
            }
            Fate::Dropped(_) => None,
        }
    }

    /// The path of a packet's flow, and the NAT's round at a time.
    fn path(&mut self, direction: Direction, found: Layout, time: Duration) -> Option<(&mut Path, u64)> {
        let client = match (direction, found.ports) {
            (_, None) => 0,
            (Direction::Up, Some((source, _))) => source,
            // What the NAT does not know belongs to no flow; it goes its way and is dropped at the NAT.
            (Direction::Down, Some((_, destination))) => match &self.nat {
                Some(nat) => nat.client(found.protocol, destination).unwrap_or(0),
                None => destination,
            },
        };
        let full = self.paths.len() >= FLOWS_MAX;
        let (spec, counts) = (&self.spec, &mut self.counts);
        let path = match self.paths.entry((found.protocol, client)) {
            std::collections::hash_map::Entry::Occupied(entry) => entry.into_mut(),
            std::collections::hash_map::Entry::Vacant(_) if full => return None,
            std::collections::hash_map::Entry::Vacant(entry) => {
                let seed = spec.seed.wrapping_add(counts.flows);
                counts.flows += 1;
                entry.insert(Path::new(&Spec { seed, ..spec.clone() }))
            }
        };
        let mapping = path.mapping(time);
        Some((path, mapping))
    }

    /// Puts a packet on its way: `at` counts from the zero of the spec.
    fn put(&mut self, at: Duration, direction: Direction, packet: Vec<u8>) {
        let at = at + self.zero.saturating_duration_since(self.start);
        if self.line.push(at, packet.len(), (direction, packet)).is_err() {
            self.counts.overrun += 1;
        }
    }

    /// The next packet that is due, translated back if a NAT stands in its way.
    fn leave(&mut self, now: Instant) -> Option<InFlight> {
        let time = now.saturating_duration_since(self.start);
        loop {
            let due = self.line.due()?;
            let (direction, mut packet) = self.line.pop(time)?;
            self.counts.late_max = self.counts.late_max.max(time.saturating_sub(due));
            if direction == Direction::Down
                && let Some(nat) = &self.nat
                && let Some(found) = layout(&packet)
                && !nat.inbound(&mut packet, found)
            {
                self.counts.unmapped += 1;
                continue;
            }
            return Some((direction, packet));
        }
    }
}

fn add(sum: &mut Counts, more: Counts) {
    sum.sent += more.sent;
    sum.arrived += more.arrived;
    sum.arrived_bytes += more.arrived_bytes;
    sum.lost += more.lost;
    sum.lost_in_bursts += more.lost_in_bursts;
    sum.closed += more.closed;
    sum.too_long += more.too_long;
    sum.queue_full += more.queue_full;
    sum.held_back += more.held_back;
    sum.repeated += more.repeated;
}

fn run(state: &Mutex<State>, clients: &SyncDevice, server: &SyncDevice, stopped: &OwnedFd) {
    let mut buffer = [0; PACKET_BYTES_MAX];
    loop {
        let mut locked = lock(state);
        let more = read(&mut locked, Direction::Up, clients, &mut buffer)
            | read(&mut locked, Direction::Down, server, &mut buffer);
        while let Some((direction, packet)) = locked.leave(Instant::now()) {
            let device = if direction == Direction::Up { server } else { clients };
            // A device that is down, or a socket queue that is full, drops packets as any network does.
            if device.send(&packet).is_err() {
                locked.counts.overrun += 1;
            }
        }
        let due = locked.line.due().map(|due| due.saturating_sub(locked.start.elapsed()));
        drop(locked);
        let wait = if more { Some(Duration::ZERO) } else { due };
        let wait = wait.and_then(|wait| Timespec::try_from(wait).ok());
        let readable = PollFlags::IN;
        let mut fds = [
            PollFd::from_borrowed_fd(clients.as_fd(), readable),
            PollFd::from_borrowed_fd(server.as_fd(), readable),
            PollFd::from_borrowed_fd(stopped.as_fd(), readable),
        ];
        // An interrupted wait is a short one.
        let _ = poll(&mut fds, wait.as_ref());
        if !fds[2].revents().is_empty() {
            return;
        }
    }
}

/// Takes a batch from a device. `true`: there may be more.
fn read(state: &mut State, direction: Direction, device: &SyncDevice, buffer: &mut [u8]) -> bool {
    for _ in 0..BATCH {
        let Ok(length) = device.recv(buffer) else { return false };
        if let Some(answer) = state.enter(Instant::now(), direction, buffer[..length].to_vec())
            && device.send(&answer).is_err()
        {
            state.counts.overrun += 1;
        }
    }
    true
}
