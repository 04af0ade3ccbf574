//! Steps of the plan, as they happen to the world, and the end of them all.

use std::time::Duration;

use nearport_chat::ledger::LedgerError;

use super::{Event, World};
use crate::agenda::Time;
use crate::history::{What, Who};
use crate::plan::Step;

impl World {
    pub(super) fn take_step(&mut self, step: Step) {
        let now = self.agenda.now();
        let fault = step.fault();
        let happened = match step {
            Step::Send { device, to, count } => {
                self.send(device, to, count);
                true
            }
            Step::Say { device, to, count } => {
                let (instant, mut seen) = (self.agenda.instant(), Vec::new());
                for _ in 0..count {
                    self.devices[device].say(instant, to, &mut seen);
                }
                self.record_all(device, seen);
                self.step_device(device);
                true
            }
            Step::Act { device, act } => {
                let instant = self.agenda.instant();
                self.devices[device].act(instant, act);
                self.step_device(device);
                true
            }
            Step::Path { device, up, down } => {
                self.network.set(device, *up, *down);
                true
            }
            Step::Cut { device, directions, lasts } => {
                for direction in directions {
                    self.network.cut(device, direction, now + lasts);
                }
                true
            }
            Step::Move { device, network } => {
                self.devices[device].change_address(network);
                true
            }
            Step::Restart { device, remembers, off } => self.stop_device(device, remembers, off),
            Step::Crash { kept, off } => {
                self.crash(kept, off);
                true
            }
            Step::CrashInCommit { kept, off } => {
                self.crash_in_commit = Some((kept, off));
                true
            }
            Step::DiskFull { noticed } => self.fill_disk(noticed),
            Step::Rotate { secrets } => {
                self.epoch += secrets;
                if let Some(node) = &self.node {
                    node.rotate(self.epoch);
                }
                true
            }
            Step::HandOver { gap } => self.hand_over(gap),
            Step::SlowDisk { lasts } => {
                self.slow_disk_until = now + lasts;
                true
            }
        };
        if let Some(kind) = fault.filter(|_| happened) {
            self.record(server(), What::Fault { kind });
        }
    }

    fn send(&mut self, device: usize, to: &str, count: usize) {
        let (instant, mut seen) = (self.agenda.instant(), Vec::new());
        for _ in 0..count {
            self.devices[device].send(instant, to, &mut seen);
        }
        self.record_all(device, seen);
        self.step_device(device);
    }

    fn stop_device(&mut self, device: usize, remembers: bool, off: Duration) -> bool {
        if !self.devices[device].is_on() {
            return false;
        }
        let mut seen = Vec::new();
        self.devices[device].stop(remembers, &mut seen);
        self.record_all(device, seen);
        self.agenda.after(off, Event::StartDevice { device });
        true
    }

    /// The process dies: shards, sessions and queues are gone, and of the store what was not synced.
    pub(super) fn crash(&mut self, kept: bool, off: Duration) {
        let Some(node) = self.node.take() else { return };
        self.totals.add_life(&node);
        match kept {
            true => self.ledger.crash_after_write(),
            false => self.ledger.crash(),
        }
        self.disk_full = false;
        self.record(server(), What::Fault { kind: "crash" });
        self.agenda.after(off, Event::StartServer { life: self.life });
    }

    /// The backend finishes what it has and goes; another one comes later.
    fn hand_over(&mut self, gap: Duration) -> bool {
        let (instant, now_ms) = (self.agenda.instant(), self.agenda.unix_ms());
        let Some(node) = self.node.as_mut().filter(|node| !self.disk_full && !node.is_released()) else {
            return false;
        };
        self.totals.messages += node.release(instant, now_ms) as u64;
        self.agenda.after(gap, Event::Attach { life: self.life });
        self.after_worker();
        true
    }

    fn fill_disk(&mut self, noticed: Duration) -> bool {
        if self.node.is_none() {
            return false;
        }
        self.disk_full = true;
        self.ledger.fail_next(LedgerError::Full("no space left on device".to_owned()));
        self.agenda
            .after(noticed, Event::Crash { life: self.life, kept: false, off: Duration::from_millis(500) });
        true
    }

    /// Ends all faults: from here on the world must come to rest by itself.
    pub(super) fn heal(&mut self) {
        let now = self.agenda.now();
        self.trace.note(now, format_args!("healed"));
        self.healed = true;
        self.network.heal();
        (self.slow_disk_until, self.crash_in_commit) = (Time::ZERO, None);
        self.node.iter().for_each(super::Node::heal);
        // An operator restarts what stopped taking writes.
        if self.disk_full {
            self.crash(false, Duration::ZERO);
        }
        if self.node.is_none() {
            self.start_server();
        }
        for device in 0..self.devices.len() {
            self.start_device(device);
        }
    }
}

fn server() -> Who {
    Who { user: "server".into(), device: "1".into() }
}
