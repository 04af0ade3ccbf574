//! What will happen in a world: its people, what they send, and the faults. Drawn from the seed before anything runs,
//! so that a plan can be printed, and so that no outcome changes what is yet to come.

use std::time::Duration;

use nearport_impair::{Conditions, Direction};

use crate::agenda::Time;
use crate::device::{GROUP, ROOM};
use crate::network;
use crate::rng::Rng;

const USERS: [&str; 4] = ["alice", "bob", "carol", "dave"];
const DEVICES: [&str; 3] = ["phone", "desk", "tablet"];

/// A world's script.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    pub(crate) devices: Vec<Owned>,
    /// Faults and sends happen in this time. Then everything is healed.
    pub(crate) chaos: Duration,
    /// In no order; the agenda sorts.
    pub(crate) steps: Vec<(Time, Step)>,
    pub(crate) kind: Kind,
}

/// What people do in a world.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// They write to each other.
    Pairs,
    /// They are in a group, which some join late and leave.
    Group,
    /// They are in a live room, louder than its rate.
    Room,
}

/// What somebody does in a group beside writing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Act {
    Join,
    Leave,
    /// Takes an own message back, or changes what it says.
    Recall,
    Edit,
    /// Changes what an own message to a user says.
    EditPair,
}

/// A device and its user.
#[derive(Debug, Clone)]
pub(crate) struct Owned {
    pub(crate) user: &'static str,
    pub(crate) device: &'static str,
}

/// One thing that is going to happen.
#[derive(Debug, Clone)]
pub(crate) enum Step {
    /// Presses send, `count` times without waiting.
    Send { device: usize, to: &'static str, count: usize },
    /// As `Send`, in the group or live room of the world.
    Say { device: usize, to: &'static str, count: usize },
    /// Does something else in the group.
    Act { device: usize, act: Act },
    /// A device's path changes.
    Path { device: usize, up: Box<Conditions>, down: Box<Conditions> },
    /// Nothing passes for a while, in one direction or both.
    Cut { device: usize, directions: Vec<Direction>, lasts: Duration },
    /// The device has another address from now on: a new port, or a new network.
    Move { device: usize, network: bool },
    /// The device's software dies and comes back later, with what it showed on its own disk or without.
    Restart { device: usize, remembers: bool, off: Duration },
    /// The server process dies. `kept`: the disk had taken the unsynced commit nevertheless.
    Crash { kept: bool, off: Duration },
    /// As `Crash`, in the middle of the next commit.
    CrashInCommit { kept: bool, off: Duration },
    /// The next commit finds no space; an operator makes room and restarts the server later.
    DiskFull { noticed: Duration },
    /// The cluster gets new secrets; a running server reads them at once, another one when it starts. After two of them
    /// no token of before is good.
    Rotate { secrets: u32 },
    /// The backend hands over to a new one on the same store, which takes `gap` to start; connections and sessions stay.
    HandOver { gap: Duration },
    /// Every sync takes 200 ms for a while.
    SlowDisk { lasts: Duration },
}

impl Plan {
    /// The plan of a seed's generator.
    pub(crate) fn draw(rng: &mut Rng) -> Self {
        let users = &USERS[..rng.index(3) + 2];
        let mut devices: Vec<Owned> = users.iter().map(|user| Owned { user, device: DEVICES[0] }).collect();
        let wanted = (rng.index(4) + 3).max(devices.len());
        while devices.len() < wanted {
            let user = users[rng.index(users.len())];
            let owned = devices.iter().filter(|device| device.user == user).count();
            if owned < DEVICES.len() {
                devices.push(Owned { user, device: DEVICES[owned] });
            }
        }
        let chaos = rng.duration(Duration::from_secs(10)..=Duration::from_secs(40));
        let mut plan = Self { devices, chaos, steps: Vec::new(), kind: Kind::Pairs };
        plan.draw_sends(rng, users);
        plan.draw_paths(rng);
        for _ in 0..rng.index(4) + 1 {
            let step = plan.draw_device_fault(rng);
            plan.add(rng, step);
        }
        for _ in 0..rng.index(4) {
            let step = draw_server_fault(rng);
            plan.add(rng, step);
        }
        plan
    }

    /// A world whose people are in a group.
    pub(crate) fn draw_group(rng: &mut Rng) -> Self {
        let mut plan = Self::with_devices(rng, Kind::Group);
        let early = plan.chaos / 4;
        let firsts: Vec<usize> =
            (0..plan.devices.len()).filter(|at| plan.devices[*at].device == DEVICES[0]).collect();
        for device in firsts.iter().copied().skip(1) {
            plan.steps.push((rng.duration(Duration::ZERO..=early), Step::Act { device, act: Act::Join }));
        }
        // The owner cannot leave. Who leaves may come back, or not.
        for _ in 0..rng.index(3) {
            let device = firsts[rng.index(firsts.len() - 1) + 1];
            plan.add(rng, Step::Act { device, act: Act::Leave });
            if rng.chance(700) {
                plan.add(rng, Step::Act { device, act: Act::Join });
            }
        }
        for device in 0..plan.devices.len() {
            for _ in 0..rng.index(6) + 3 {
                // One in so many is above the group's rate of 40 in a second.
                let count = if rng.chance(60) { rng.index(60) + 20 } else { rng.index(3) + 1 };
                plan.add(rng, Step::Say { device, to: GROUP, count });
            }
            for _ in 0..rng.index(3) {
                let act = if rng.chance(500) { Act::Recall } else { Act::Edit };
                plan.add(rng, Step::Act { device, act });
            }
            // Beside it they write to each other, and change what they said.
            for _ in 0..rng.index(4) {
                let to = plan.devices[rng.index(plan.devices.len())].user;
                let count = rng.index(3) + 1;
                plan.add(rng, Step::Send { device, to, count });
                plan.add(rng, Step::Act { device, act: Act::EditPair });
            }
        }
        plan.draw_faults(rng);
        plan
    }

    /// A world whose people are in a live room.
    pub(crate) fn draw_room(rng: &mut Rng) -> Self {
        let mut plan = Self::with_devices(rng, Kind::Room);
        for device in 0..plan.devices.len() {
            for _ in 0..rng.index(5) + 2 {
                let count = if rng.chance(300) { rng.index(60) + 20 } else { rng.index(5) + 1 };
                plan.add(rng, Step::Say { device, to: ROOM, count });
            }
        }
        plan.draw_faults(rng);
        plan
    }

    fn with_devices(rng: &mut Rng, kind: Kind) -> Self {
        let users = &USERS[..rng.index(3) + 2];
        let mut devices: Vec<Owned> = users.iter().map(|user| Owned { user, device: DEVICES[0] }).collect();
        if rng.chance(600) {
            devices.push(Owned { user: users[rng.index(users.len())], device: DEVICES[1] });
        }
        let chaos = rng.duration(Duration::from_secs(8)..=Duration::from_secs(25));
        Self { devices, chaos, steps: Vec::new(), kind }
    }

    fn draw_faults(&mut self, rng: &mut Rng) {
        self.draw_paths(rng);
        for _ in 0..rng.index(3) + 1 {
            let step = self.draw_device_fault(rng);
            self.add(rng, step);
        }
        for _ in 0..rng.index(3) {
            let step = draw_server_fault(rng);
            self.add(rng, step);
        }
    }

    fn add(&mut self, rng: &mut Rng, step: Step) {
        self.steps.push((rng.duration(Duration::ZERO..=self.chaos), step));
    }

    fn draw_sends(&mut self, rng: &mut Rng, users: &[&'static str]) {
        for device in 0..self.devices.len() {
            for _ in 0..rng.index(8) + 2 {
                // One in so many is a note to oneself.
                let to = users[rng.index(users.len())];
                let count = if rng.chance(100) { rng.index(80) + 1 } else { rng.index(3) + 1 };
                self.add(rng, Step::Send { device, to, count });
            }
        }
    }

    fn draw_paths(&mut self, rng: &mut Rng) {
        for device in 0..self.devices.len() {
            let (up, down) = (Box::new(network::draw(rng)), Box::new(network::draw(rng)));
            self.steps.push((Time::ZERO, Step::Path { device, up, down }));
            if rng.chance(300) {
                let (up, down) = (Box::new(network::draw(rng)), Box::new(network::draw(rng)));
                self.add(rng, Step::Path { device, up, down });
            }
        }
    }

    fn draw_device_fault(&self, rng: &mut Rng) -> Step {
        let device = rng.index(self.devices.len());
        match rng.index(3) {
            0 => Step::Move { device, network: rng.chance(500) },
            1 => {
                let directions = match rng.index(3) {
                    0 => vec![Direction::Up],
                    1 => vec![Direction::Down],
                    _ => vec![Direction::Up, Direction::Down],
                };
                let lasts = rng.duration(Duration::from_millis(100)..=Duration::from_secs(20));
                Step::Cut { device, directions, lasts }
            }
            _ => {
                let off = rng.duration(Duration::ZERO..=Duration::from_secs(8));
                Step::Restart { device, remembers: rng.chance(500), off }
            }
        }
    }
}

fn draw_server_fault(rng: &mut Rng) -> Step {
    let kept = rng.chance(300);
    let off = rng.duration(Duration::from_millis(50)..=Duration::from_secs(5));
    match rng.index(9) {
        7..=8 => Step::HandOver { gap: rng.duration(Duration::ZERO..=Duration::from_secs(3)) },
        6 => Step::Rotate { secrets: if rng.chance(500) { 1 } else { 2 } },
        0 => Step::Crash { kept, off },
        1..=3 => Step::CrashInCommit { kept, off },
        4 => Step::DiskFull { noticed: rng.duration(Duration::from_millis(200)..=Duration::from_secs(8)) },
        _ => Step::SlowDisk { lasts: rng.duration(Duration::from_secs(1)..=Duration::from_secs(15)) },
    }
}

impl Step {
    /// What the history calls it, if it is a fault. Crashes are recorded when they happen, which may be later.
    pub(crate) fn fault(&self) -> Option<&'static str> {
        match self {
            Self::Send { .. }
            | Self::Say { .. }
            | Self::Act { .. }
            | Self::Crash { .. }
            | Self::CrashInCommit { .. } => None,
            Self::Path { .. } => Some("path"),
            Self::Cut { .. } => Some("cut"),
            Self::Move { .. } => Some("move"),
            Self::Restart { remembers: true, .. } => Some("device restart"),
            Self::Restart { remembers: false, .. } => Some("device wiped"),
            Self::DiskFull { .. } => Some("disk full"),
            Self::Rotate { .. } => Some("rotation"),
            Self::HandOver { .. } => Some("hand-over"),
            Self::SlowDisk { .. } => Some("slow disk"),
        }
    }
}
