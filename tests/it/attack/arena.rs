//! A real server under attack, and two people who go on talking.

use std::path::Path;
use std::time::{Duration, Instant};

use nearport_client::{Client, Transport, text, user};
use tempfile::TempDir;

use tokio::time::{Interval, MissedTickBehavior, interval};

use crate::node::{Node, STUCK};
use crate::sdk::{Access, message};

/// Between two messages: people do not write faster, and a session that does is told to wait (`edge.session_rate`).
const PACE: Duration = Duration::from_millis(20);

/// `nearport serve`, and Alice and Bob on it.
pub(crate) struct Arena {
    pub(crate) node: Node,
    pub(crate) access: Access,
    alice: Client,
    bob: Client,
    dir: TempDir,
    pace: Interval,
    /// Messages so far.
    said: u64,
    latencies: Vec<Duration>,
    /// RSS when both had talked and nobody attacked yet.
    quiet_kib: u64,
}

impl Arena {
    /// With `args` after `serve`.
    pub(crate) async fn start(args: &[&str]) -> Self {
        Self::start_over(Transport::Quic, args).await
    }

    pub(crate) async fn start_over(transport: Transport, args: &[&str]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let node = Node::start(dir.path(), args);
        let access = Access::of(&node, dir.path());
        let alice = access.login("alice", &[transport]).await;
        let bob = access.login("bob", &[transport]).await;
        let (said, latencies) = (0, Vec::new());
        let mut pace = interval(PACE);
        pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut arena = Self { node, access, alice, bob, dir, pace, said, latencies, quiet_kib: 0 };
        // Whatever a server makes for its first messages is not the attack's.
        for _ in 0..20 {
            arena.talk().await;
        }
        arena.latencies.clear();
        arena.quiet_kib = arena.status_kib("VmRSS:");
        arena
    }

    /// The directory that the server was started in.
    pub(crate) fn path(&self) -> &Path {
        self.dir.path()
    }

    /// One message of Alice's: it is acknowledged, and the next that Bob shows.
    pub(crate) async fn talk(&mut self) {
        self.pace.tick().await;
        let words = format!("message {}", self.said);
        let begun = Instant::now();
        let sent = tokio::time::timeout(STUCK, self.alice.send(user("bob"), text(&*words))).await;
        sent.expect("an answer").expect("taken");
        assert_eq!(message(&self.bob).await.text(), words, "none lost, none twice, all in order");
        self.latencies.push(begun.elapsed());
        self.said += 1;
    }

    /// Goes on talking until `attack` is over, and for `more` messages then.
    pub(crate) async fn talk_during<T: Send + 'static>(
        &mut self,
        attack: impl FnOnce() -> T + Send + 'static,
        more: u32,
    ) -> T {
        let attack = tokio::task::spawn_blocking(attack);
        while !attack.is_finished() {
            self.talk().await;
        }
        for _ in 0..more {
            self.talk().await;
        }
        attack.await.unwrap()
    }

    /// Goes on talking until the server's figures are as `wanted`. They are published once a second, and a drop is only worth
    /// something if somebody sees it.
    pub(crate) async fn talk_until(&mut self, what: &str, wanted: impl Fn(&Figures) -> bool) -> Figures {
        let begun = Instant::now();
        loop {
            let figures = self.figures();
            if wanted(&figures) {
                return figures;
            }
            assert!(begun.elapsed() < STUCK, "never seen: {what}\n{}", figures.text);
            self.talk().await;
        }
    }

    pub(crate) fn figures(&self) -> Figures {
        Figures { text: self.node.get("/metrics").1 }
    }

    /// The most that the attack has added to the server's memory at any time.
    pub(crate) fn growth_kib(&self) -> u64 {
        self.status_kib("VmHWM:").saturating_sub(self.quiet_kib)
    }

    fn status_kib(&self, line: &str) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.node.pid())).unwrap();
        let line = status.lines().find_map(|shown| shown.strip_prefix(line)).unwrap();
        line.trim().trim_end_matches(" kB").parse().unwrap()
    }

    /// Says good-bye, prints what the two felt of `attack`, and holds the server to its bound of memory.
    pub(crate) async fn end(mut self, attack: &str, growth_kib_max: u64) {
        self.talk().await;
        let growth_kib = self.growth_kib();
        self.latencies.sort_unstable();
        let at = |percent| self.latencies[(self.latencies.len() - 1) * percent / 100];
        println!(
            "{attack}: {} messages, p50 {:?}, p99 {:?}, most {:?}; server grew by {growth_kib} KiB of {} at rest",
            self.latencies.len(),
            at(50),
            at(99),
            at(100),
            self.quiet_kib,
        );
        assert!(growth_kib <= growth_kib_max, "{attack}: {growth_kib} KiB, allowed are {growth_kib_max}");
        assert_eq!(self.figures().sum("nearport_edge_panics_total"), 0);
        tokio::join!(self.alice.close(), self.bob.close());
    }
}

/// What `/metrics` shows.
pub(crate) struct Figures {
    text: String,
}

impl Figures {
    /// A figure over all shards; 0 if it is not there yet.
    pub(crate) fn sum(&self, name: &str) -> u64 {
        let lines = self.text.lines().filter_map(|line| line.strip_prefix(name));
        let values = lines.filter(|rest| rest.starts_with(['{', ' ']));
        values.map(|rest| rest.rsplit(' ').next().unwrap().parse::<u64>().unwrap()).sum()
    }
}
