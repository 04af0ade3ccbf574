//! The server's side of a world: when its threads run, how long its disk takes, where its datagrams go.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use super::{Alarm, Event, World, device_at};
use crate::agenda::Time;
use crate::network::Direction;
use crate::node::{Bounds, Host, Moment, Node, SHARDS};
use crate::plan::Kind;

/// How often live rooms are looked after, as the thread of theirs does it.
const ROOMS_EVERY: Duration = Duration::from_millis(250);

impl World {
    pub(super) fn turn_rooms(&mut self) {
        let now_ms = self.agenda.unix_ms();
        if let Some(node) = &mut self.node {
            node.turn_rooms(now_ms);
            self.after_worker();
            self.agenda.after(ROOMS_EVERY, Event::Rooms { life: self.life });
        }
    }

    pub(super) fn start_server(&mut self) {
        self.life += 1;
        self.started = self.agenda.instant();
        let bounds = Bounds::draw(&mut self.fate);
        self.trace.note(self.agenda.now(), format_args!("server starts, life {} {bounds:?}", self.life));
        self.node = Some(Node::start(
            &Host {
                tls: &self.tls,
                ledger: &self.ledger,
                directory: Arc::new(self.directory.clone()),
                generation: self.life,
                epoch: self.epoch,
            },
            &bounds,
            Moment {
                instant: self.agenda.instant(),
                unix_time: Duration::from_millis(self.agenda.unix_ms()),
            },
            &mut self.fate,
        ));
        if self.plan.kind == Kind::Room {
            self.agenda.after(ROOMS_EVERY, Event::Rooms { life: self.life });
        }
        self.turns = [Alarm::default(); SHARDS];
        (self.front, self.writer) = (Alarm::default(), Alarm::default());
        if self.healed {
            self.node.iter().for_each(Node::heal);
        }
    }

    /// The next backend has opened the store.
    pub(super) fn attach(&mut self) {
        let (now, instant) = (self.agenda.now(), self.agenda.instant());
        let bounds = Bounds::draw(&mut self.fate);
        self.trace.note(now, format_args!("another backend {bounds:?}"));
        let directory = Arc::new(self.directory.clone());
        let Some(node) = &mut self.node else { return };
        node.attach(&self.ledger, directory, &bounds, instant);
        self.after_worker();
    }

    pub(super) fn deliver(&mut self, from: SocketAddr, datagram: &[u8]) {
        let (now, instant) = (self.agenda.now(), self.agenda.instant());
        let Some(node) = &mut self.node else { return };
        let shard = node.handle_datagram(instant, from, datagram);
        self.trace.note(now, format_args!("shard {shard} gets {} from {from}", datagram.len()));
        // A turn takes what came within a few microseconds, as a batch of the kernel would hold it.
        let soon = self.pace.duration(Duration::ZERO..=Duration::from_micros(50));
        self.plan_turn(shard, now + soon);
    }

    pub(super) fn turn(&mut self, shard: usize) {
        let (now, instant) = (self.agenda.now(), self.agenda.instant());
        let Some(node) = &mut self.node else { return };
        node.turn(shard, instant);
        while let Some((to, datagram)) = node.pop_transmit(shard) {
            let device = device_at(to);
            let arrivals = self.network.send(now, device, Direction::Down, datagram.len());
            for at in arrivals.into_iter().flatten() {
                self.agenda.at(at, Event::ToDevice { device, to, datagram: datagram.clone() });
            }
        }
        let more = node.has_work(shard).then(|| now + Duration::from_micros(20));
        // A timer is due when its tick has passed; asking again within the same tick would not move the clock.
        let timer =
            node.shard_timeout(shard).map(|at| self.agenda.time_of(at).max(now + Duration::from_micros(20)));
        if let Some(at) = more.into_iter().chain(timer).min() {
            self.plan_turn(shard, at);
        }
        self.plan_workers();
    }

    fn plan_turn(&mut self, shard: usize, at: Time) {
        if self.turns[shard].set(at) {
            self.agenda.at(at, Event::Turn { life: self.life, shard });
        }
    }

    /// Something may wait in the workers' queues: their threads wake up.
    fn plan_workers(&mut self) {
        let now = self.agenda.now();
        let Some(node) = &self.node else { return };
        if node.front_has_work() {
            let at = now + self.pace.duration(Duration::from_micros(10)..=Duration::from_micros(300));
            if self.front.set(at) {
                self.agenda.at(at, Event::Front { life: self.life });
            }
        }
        let Some(node) = &self.node else { return };
        let due = match node.writer_has_work() {
            true => Some(now + self.pace.duration(Duration::from_micros(10)..=Duration::from_micros(300))),
            false => node
                .writer_deadline_ms()
                .map(|due_ms| now + Duration::from_millis(due_ms.saturating_sub(self.agenda.unix_ms()))),
        };
        if let Some(at) = due.filter(|_| !node.is_committing())
            && self.writer.set(at)
        {
            self.agenda.at(at, Event::Writer { life: self.life });
        }
    }

    pub(super) fn run_front(&mut self) {
        let now_ms = self.agenda.unix_ms();
        if let Some(node) = &mut self.node {
            node.run_front(now_ms);
            node.run_desk(now_ms);
        }
        self.after_worker();
    }

    pub(super) fn run_writer(&mut self) {
        let (now, now_ms) = (self.agenda.now(), self.agenda.unix_ms());
        let Some(node) = &mut self.node else { return };
        if let Some(messages) = node.begin_commit(now_ms) {
            let slow = now < self.slow_disk_until || self.pace.chance(10);
            let sync = match slow {
                true => Duration::from_millis(200),
                false => self.pace.duration(Duration::from_micros(100)..=Duration::from_millis(5)),
            };
            self.trace.note(now, format_args!("commit of {messages} begins"));
            self.agenda.after(sync, Event::Synced { life: self.life });
            if messages > 0
                && let Some((kept, off)) = self.crash_in_commit.take()
            {
                let at = now + self.pace.duration(Duration::ZERO..=sync);
                self.agenda.at(at, Event::Crash { life: self.life, kept, off });
            }
        }
        self.after_worker();
    }

    pub(super) fn finish_commit(&mut self) {
        let now = self.agenda.now();
        let Some(node) = &mut self.node else { return };
        match node.finish_commit() {
            Ok(stored) => {
                self.totals.messages += stored as u64;
                self.trace.note(now, format_args!("commit done, {stored} new"));
            }
            Err(error) => {
                self.totals.failed_commits += 1;
                self.trace.note(now, format_args!("commit failed: {error}"));
            }
        }
        self.after_worker();
    }

    /// The links' wakers: every shard looks what came down. Then the workers look whether more waits.
    pub(super) fn after_worker(&mut self) {
        let now = self.agenda.now();
        for shard in 0..SHARDS {
            let at = now + self.pace.duration(Duration::from_micros(1)..=Duration::from_micros(30));
            self.plan_turn(shard, at);
        }
        self.plan_workers();
    }
}
