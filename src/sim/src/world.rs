//! The world: one server node, a few devices, the network between them, and the loop that makes time pass.
//!
//! A world is a single thread and has one source of chance, its seed. It runs in two phases. In the first one
//! everything in the plan happens, faults included. Then all is healed, and within [`HEAL_MAX`] of virtual time every
//! queue must be empty and every device must have caught up. At last the store is read back as a restarted process
//! would find it, and the checker judges.

mod faults;
mod outcome;
mod server;

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use nearport_chat::directory::{Account, Accounts as _, App, AppKey};
use nearport_chat::key::{AppId, UserKey};
use nearport_store::{MemoryDirectory, MemoryLedger};

use crate::agenda::{Agenda, Time};
use crate::device::Device;
use crate::history::{Record, What, Who};
use crate::network::{Direction, Network};
use crate::node::{Node, SHARDS};
use crate::plan::{Kind, Plan, Step};
use crate::rng::Rng;
use crate::tls::Tls;
use crate::trace::Trace;
pub use outcome::{Outcome, Proof, Totals};

/// Virtual time after the last fault in which the world has to come to rest. The longest lawful wait is a back-off of
/// 30 s behind a handshake that just failed after 10 s.
pub const HEAL_MAX: Duration = Duration::from_secs(120);

/// How often the end of the second phase is looked for.
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// The App of every world.
pub(crate) const APP: u32 = 1_400_000_000;
/// Its secret.
pub(crate) const SECRET: &str = "5f1c0a3e9b7d48265f1c0a3e9b7d48265f1c0a3e9b7d48265f1c0a3e9b7d4826";

/// Where the server listens.
pub(crate) const SERVER: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)), 4433);

/// What waits in the agenda. What belongs to one life of the server carries its number: the dead do nothing.
#[derive(Debug)]
enum Event {
    ToServer { from: SocketAddr, datagram: Vec<u8> },
    ToDevice { device: usize, to: SocketAddr, datagram: Vec<u8> },
    Turn { life: u32, shard: usize },
    Front { life: u32 },
    Writer { life: u32 },
    Synced { life: u32 },
    Wake { device: usize },
    Step(Step),
    Crash { life: u32, kept: bool, off: Duration },
    StartServer { life: u32 },
    Attach { life: u32 },
    StartDevice { device: usize },
    Rooms { life: u32 },
}

/// The one planned wake-up of somebody. Later ones that were planned before are ignored when they come.
#[derive(Debug, Default, Clone, Copy)]
struct Alarm(Option<Time>);

impl Alarm {
    /// Whether an event has to be made for `at`.
    fn set(&mut self, at: Time) -> bool {
        let earlier = self.0.is_none_or(|planned| at < planned);
        if earlier {
            self.0 = Some(at);
        }
        earlier
    }

    /// Whether an event that comes now is the planned one.
    fn fires(&mut self, now: Time) -> bool {
        let fires = self.0.is_some_and(|planned| planned <= now);
        if fires {
            self.0 = None;
        }
        fires
    }
}

/// See the module documentation.
#[derive(Debug)]
pub struct World {
    seed: u64,
    tls: Tls,
    agenda: Agenda<Event>,
    network: Network,
    /// Times that threads and disks take.
    pace: Rng,
    fate: Rng,
    directory: MemoryDirectory,
    ledger: MemoryLedger,
    node: Option<Node>,
    /// Lives of the server so far.
    life: u32,
    /// Epoch of the newest secret on the server's disk.
    epoch: u32,
    devices: Vec<Device>,
    plan: Plan,
    /// When the present process began.
    started: Instant,
    slow_disk_until: Time,
    crash_in_commit: Option<(bool, Duration)>,
    /// The ledger fails, or will with its next commit, until the server is restarted.
    disk_full: bool,
    healed: bool,
    turns: [Alarm; SHARDS],
    front: Alarm,
    writer: Alarm,
    wakes: Vec<Alarm>,
    history: Vec<Record>,
    totals: Totals,
    trace: Trace,
}

impl World {
    /// The world of a seed. `keep_trace` keeps the event log in words, for people.
    #[must_use]
    pub fn new(seed: u64, tls: &Tls, keep_trace: bool) -> Self {
        Self::of(seed, tls, keep_trace, Plan::draw)
    }

    /// A world whose people are in a group: they join and leave, take back and change what they said, and confirm what they read.
    #[must_use]
    pub fn in_group(seed: u64, tls: &Tls, keep_trace: bool) -> Self {
        Self::of(seed, tls, keep_trace, Plan::draw_group)
    }

    /// A world whose people are in a live room.
    #[must_use]
    pub fn in_room(seed: u64, tls: &Tls, keep_trace: bool) -> Self {
        Self::of(seed, tls, keep_trace, Plan::draw_room)
    }

    fn of(seed: u64, tls: &Tls, keep_trace: bool, draw: impl FnOnce(&mut Rng) -> Plan) -> Self {
        let mut rng = Rng::new(seed);
        let plan = draw(&mut rng.fork(1));
        let network = Network::new(rng.fork(2), plan.devices.len());
        let directory = MemoryDirectory::new();
        directory.create_app(&app()).expect("an empty directory");
        if rng.chance(700) {
            // In the other worlds users come into being with their first login, and cannot be written to before.
            register(&directory, &plan);
        }
        let agenda = Agenda::new();
        let started = agenda.instant();
        let mut world = Self {
            seed,
            tls: tls.clone(),
            network,
            pace: rng.fork(3),
            fate: rng.fork(4),
            directory,
            ledger: MemoryLedger::new(),
            node: None,
            life: 0,
            epoch: 0,
            devices: Vec::new(),
            started,
            slow_disk_until: Time::ZERO,
            crash_in_commit: None,
            disk_full: false,
            healed: false,
            turns: [Alarm::default(); SHARDS],
            front: Alarm::default(),
            writer: Alarm::default(),
            wakes: vec![Alarm::default(); plan.devices.len()],
            history: Vec::new(),
            totals: Totals::default(),
            trace: Trace::new(keep_trace),
            plan,
            agenda,
        };
        for (index, owned) in world.plan.devices.iter().enumerate() {
            world.devices.push(Device::new(index, owned, world.plan.kind, rng.fork(100 + index as u64)));
        }
        world
    }

    /// Runs both phases and judges.
    #[must_use]
    pub fn run(mut self) -> Outcome {
        let begun = Instant::now();
        self.start_server();
        for device in 0..self.devices.len() {
            let at = self.pace.duration(Duration::ZERO..=Duration::from_millis(500));
            self.agenda.at(at, Event::StartDevice { device });
        }
        for (at, step) in self.plan.steps.clone() {
            self.agenda.at(at, Event::Step(step));
        }
        self.run_until(self.plan.chaos);
        self.heal();
        let rest = self.run_to_rest();
        self.finish(rest, begun.elapsed())
    }

    fn run_until(&mut self, until: Time) {
        while let Some(event) = self.agenda.next(until) {
            self.handle(event);
        }
    }

    fn run_to_rest(&mut self) -> Result<Duration, String> {
        let begun = self.agenda.now();
        while self.agenda.now() < begun + HEAL_MAX {
            self.run_until(self.agenda.now() + LOOK_EVERY);
            let rest = self.agenda.now() - begun;
            if self.unrest().is_none() {
                // What comes late would come now: a client tells what it showed at most half a second late, and the
                // server stores that a second later.
                self.run_until(self.agenda.now() + Duration::from_secs(3));
                if self.unrest().is_none() {
                    return Ok(rest);
                }
            }
        }
        Err(self.unrest().unwrap_or_else(|| "it was about to".to_owned()))
    }

    /// What keeps the world from being at rest.
    fn unrest(&self) -> Option<String> {
        let Some(node) = &self.node else { return Some("the server is down".to_owned()) };
        if !node.is_idle() {
            return Some("the server has work in its queues".to_owned());
        }
        if let Some(shard) = (0..SHARDS).find(|shard| node.has_work(*shard)) {
            return Some(format!("shard {shard} has work"));
        }
        if self.plan.kind != Kind::Pairs
            && let Some(why) = self.groups_unrest()
        {
            return Some(why);
        }
        self.devices.iter().find_map(|device| {
            let beyond = self.log_after(&device.who().user, device.cursor().unwrap_or(0));
            let beyond: Vec<_> = beyond.iter().map(|(_, message)| message.id).collect();
            device.unrest(&beyond).map(|why| format!("{}: {why}", device.who()))
        })
    }

    fn handle(&mut self, event: Event) {
        let now = self.agenda.now();
        match event {
            Event::ToServer { from, datagram } => self.deliver(from, &datagram),
            Event::ToDevice { device, to, datagram } => {
                // The address was given up meanwhile: nobody, or somebody else, is there.
                if self.devices[device].address() == to && self.devices[device].is_on() {
                    self.trace.note(now, format_args!("device {device} gets {}", datagram.len()));
                    let instant = self.agenda.instant();
                    self.devices[device].handle_datagram(instant, &datagram);
                    self.step_device(device);
                }
            }
            Event::Turn { life, shard } => {
                if life == self.life && self.turns[shard].fires(now) {
                    self.turn(shard);
                }
            }
            Event::Front { life } => {
                if life == self.life && self.front.fires(now) {
                    self.run_front();
                }
            }
            Event::Writer { life } => {
                if life == self.life && self.writer.fires(now) {
                    self.run_writer();
                }
            }
            Event::Synced { life } => {
                if life == self.life {
                    self.finish_commit();
                }
            }
            Event::Wake { device } => {
                if self.wakes[device].fires(now) {
                    self.step_device(device);
                }
            }
            Event::Step(step) => self.take_step(step),
            Event::Crash { life, kept, off } => {
                if life == self.life && !self.healed {
                    self.crash(kept, off);
                }
            }
            Event::Attach { life } => {
                if life == self.life {
                    self.attach();
                }
            }
            Event::StartServer { life } => {
                if life == self.life && self.node.is_none() {
                    self.start_server();
                }
            }
            Event::StartDevice { device } => self.start_device(device),
            Event::Rooms { life } => {
                if life == self.life {
                    self.turn_rooms();
                }
            }
        }
    }

    fn start_device(&mut self, device: usize) {
        if self.devices[device].is_on() {
            return;
        }
        let (instant, unix_s) = (self.agenda.instant(), self.agenda.unix_ms() / 1000);
        let mut seen = Vec::new();
        self.devices[device].start(&self.tls, instant, unix_s, &mut seen);
        self.record_all(device, seen);
        self.step_device(device);
    }

    fn step_device(&mut self, index: usize) {
        let (now, instant) = (self.agenda.now(), self.agenda.instant());
        let device = &mut self.devices[index];
        let mut seen = Vec::new();
        device.step(instant, &mut seen);
        let from = device.address();
        while let Some(datagram) = device.poll_transmit(instant) {
            let arrivals = self.network.send(now, index, Direction::Up, datagram.len());
            for at in arrivals.into_iter().flatten() {
                self.agenda.at(at, Event::ToServer { from, datagram: datagram.clone() });
            }
        }
        if let Some(at) = device.poll_timeout() {
            let at = self.agenda.time_of(at).max(now + Duration::from_micros(20));
            if self.wakes[index].set(at) {
                self.agenda.at(at, Event::Wake { device: index });
            }
        }
        self.record_all(index, seen);
    }

    fn record_all(&mut self, device: usize, seen: Vec<What>) {
        let who = self.devices[device].who().clone();
        for what in seen {
            self.record(who.clone(), what);
        }
    }

    fn record(&mut self, who: Who, what: What) {
        let record = Record { at: self.agenda.now(), who, what };
        self.trace.note(record.at, format_args!("{} {}", record.who, record.what));
        self.history.push(record);
    }
}

/// The device behind an address: its last octet.
fn device_at(address: SocketAddr) -> usize {
    match address.ip() {
        IpAddr::V4(ip) => usize::from(ip.octets()[3]),
        IpAddr::V6(_) => unreachable!("worlds are IPv4"),
    }
}

fn app() -> App {
    App {
        id: AppId(APP),
        name: "sim".to_owned(),
        keys: vec![AppKey::hmac("first", SECRET, crate::agenda::START_UNIX_MS)],
        proved_from_s: 0,
        admins: Vec::new(),
        disabled: false,
        created_ms: crate::agenda::START_UNIX_MS,
    }
}

fn register(directory: &MemoryDirectory, plan: &Plan) {
    let accounts = plan.devices.iter().map(|owned| Account {
        key: UserKey::new(AppId(APP), owned.user).expect("names of a plan are short and plain"),
        created_ms: crate::agenda::START_UNIX_MS,
        valid_from_s: 0,
        mutes: nearport_chat::directory::Mutes::default(),
    });
    directory.register(&accounts.collect::<Vec<_>>()).expect("a directory in memory");
}

impl Totals {
    fn add_faults(&mut self, history: &[Record]) {
        let mut kinds: BTreeMap<&'static str, u64> = BTreeMap::new();
        for record in history {
            if let What::Fault { kind } = record.what {
                *kinds.entry(kind).or_default() += 1;
            }
        }
        self.faults = kinds;
    }
}
