//! A network between one server and many devices, each with its own path: what becomes of a datagram.
//!
//! [`Network::send`] decides and returns arrival times; the world keeps the datagram until then. There is no link
//! rate: the promise does not depend on it, and congestion control sees loss and delay in any case.

use std::time::Duration;

use crate::agenda::Time;
use crate::rng::Rng;

/// How one direction of a path treats datagrams.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Conditions {
    /// Lost, in a thousand.
    pub loss_permille: u32,
    /// Delivered twice, in a thousand.
    pub duplicate_permille: u32,
    /// Held back by up to `hold_back`, in a thousand, so that later ones overtake.
    pub reorder_permille: u32,
    /// Shortest delay.
    pub delay: Duration,
    /// Added to it, evenly spread. Neighbours overtake each other when it is long.
    pub jitter: Duration,
    /// Longest time that a reordered or repeated datagram comes late.
    pub hold_back: Duration,
}

impl Conditions {
    /// A good path: nothing is lost, 5 ms and a little.
    #[must_use]
    pub fn calm() -> Self {
        Self {
            loss_permille: 0,
            duplicate_permille: 0,
            reorder_permille: 0,
            delay: Duration::from_millis(5),
            jitter: Duration::from_micros(500),
            hold_back: Duration::ZERO,
        }
    }

    /// A path of a mobile user: up to 30 % loss, 1 to 200 ms, jitter, repeats and overtaking.
    pub fn draw(rng: &mut Rng) -> Self {
        // Half of all paths lose little: at 30 % both ways a handshake takes longer than a chaos phase, and then
        // nothing of interest happens behind it.
        let worst = if rng.chance(500) { 30 } else { 300 };
        let delay = rng.duration(Duration::from_millis(1)..=Duration::from_millis(200));
        Self {
            loss_permille: u32::try_from(rng.within(0..=worst)).expect("at most 300"),
            duplicate_permille: u32::try_from(rng.within(0..=50)).expect("at most 50"),
            reorder_permille: u32::try_from(rng.within(0..=100)).expect("at most 100"),
            delay,
            jitter: rng.duration(Duration::ZERO..=delay / 2),
            hold_back: rng.duration(Duration::from_millis(1)..=Duration::from_millis(300)),
        }
    }
}

/// Which way a datagram goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// Device to server.
    Up,
    /// Server to device.
    Down,
}

#[derive(Debug)]
struct Path {
    up: Conditions,
    down: Conditions,
    /// Nothing passes until then; each way on its own, so that a partition can be one-way.
    dark_up: Time,
    dark_down: Time,
}

/// What happened to the datagrams of a run.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Datagrams given to the network.
    pub sent: u64,
    /// Lost on the way, black-outs included.
    pub lost: u64,
    /// Delivered twice.
    pub duplicated: u64,
    /// Held back.
    pub reordered: u64,
}

/// The paths of all devices.
#[derive(Debug)]
pub struct Network {
    rng: Rng,
    paths: Vec<Path>,
    traffic: Traffic,
}

impl Network {
    /// A network of calm paths, one for each of `devices`.
    #[must_use]
    pub fn new(rng: Rng, devices: usize) -> Self {
        let calm = || Path {
            up: Conditions::calm(),
            down: Conditions::calm(),
            dark_up: Time::ZERO,
            dark_down: Time::ZERO,
        };
        Self { rng, paths: std::iter::repeat_with(calm).take(devices).collect(), traffic: Traffic::default() }
    }

    /// Sets both directions of a device's path.
    pub fn set(&mut self, device: usize, up: Conditions, down: Conditions) {
        self.paths[device].up = up;
        self.paths[device].down = down;
    }

    /// Cuts one direction of a device's path until a time.
    pub fn cut(&mut self, device: usize, direction: Direction, until: Time) {
        match direction {
            Direction::Up => self.paths[device].dark_up = until,
            Direction::Down => self.paths[device].dark_down = until,
        }
    }

    /// Makes every path calm and ends all cuts.
    pub fn heal(&mut self) {
        for path in &mut self.paths {
            (path.up, path.down) = (Conditions::calm(), Conditions::calm());
            (path.dark_up, path.dark_down) = (Time::ZERO, Time::ZERO);
        }
    }

    /// When a datagram that leaves now arrives: never, once, or twice.
    pub fn send(&mut self, now: Time, device: usize, direction: Direction) -> [Option<Time>; 2] {
        self.traffic.sent += 1;
        let path = &self.paths[device];
        let (conditions, dark_until) = match direction {
            Direction::Up => (&path.up, path.dark_up),
            Direction::Down => (&path.down, path.dark_down),
        };
        if now < dark_until || self.rng.chance(conditions.loss_permille) {
            self.traffic.lost += 1;
            return [None, None];
        }
        let mut arrival = now + conditions.delay + self.rng.duration(Duration::ZERO..=conditions.jitter);
        if self.rng.chance(conditions.reorder_permille) {
            self.traffic.reordered += 1;
            arrival += self.rng.duration(Duration::ZERO..=conditions.hold_back);
        }
        let again = self.rng.chance(conditions.duplicate_permille).then(|| {
            self.traffic.duplicated += 1;
            arrival + self.rng.duration(Duration::ZERO..=conditions.hold_back)
        });
        [Some(arrival), again]
    }

    /// What happened so far.
    #[must_use]
    pub fn traffic(&self) -> Traffic {
        self.traffic
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn conditions_do_what_they_say() {
        let mut network = Network::new(Rng::new(1), 2);
        let bad = Conditions { loss_permille: 300, duplicate_permille: 100, ..Conditions::calm() };
        network.set(0, bad.clone(), bad);
        let now = Duration::from_secs(1);
        let mut counts = [0; 3];
        for _ in 0..10_000 {
            let arrivals = network.send(now, 0, Direction::Up);
            counts[arrivals.iter().flatten().count()] += 1;
            for arrival in arrivals.into_iter().flatten() {
                let delay = arrival - now;
                assert!(delay >= Duration::from_millis(5) && delay <= Duration::from_micros(5_500));
            }
        }
        assert!((2_700..3_300).contains(&counts[0]), "lost {}", counts[0]);
        assert!((550..850).contains(&counts[2]), "twice {}", counts[2]);
        network.cut(1, Direction::Down, now + Duration::from_secs(1));
        assert_eq!(network.send(now, 1, Direction::Down), [None, None]);
        assert!(network.send(now, 1, Direction::Up)[0].is_some(), "one way only");
        network.heal();
        assert!(network.send(now, 1, Direction::Down)[0].is_some());
    }
}
