//! A network between one server and many devices, each with its own path: what becomes of a datagram.
//!
//! What a path does is [`nearport_impair`]'s; this adds what a world needs around it: paths that change, cuts of one
//! direction, and an end of all faults. [`Network::send`] decides and returns arrival times; the world keeps the datagram
//! until then.

use std::time::Duration;

use nearport_impair::{Burst, Chance, Conditions, Fate, Packet, Path, Protocol, Rate, Spec};

pub use nearport_impair::Direction;

use crate::agenda::Time;
use crate::rng::Rng;

/// Headers of IPv4 and UDP, which a narrow link carries too.
const HEADERS: usize = 28;

/// A good path: nothing is lost, 5 ms and a little.
#[must_use]
pub fn calm() -> Conditions {
    Conditions { delay: Duration::from_millis(5), jitter: Duration::from_micros(500), ..free() }
}

/// A path of a mobile user: up to 30 % loss, bursts, 1 to 200 ms, jitter, repeats, overtaking, a narrow link.
pub fn draw(rng: &mut Rng) -> Conditions {
    // Half of all paths lose little: at 30 % both ways a handshake takes longer than a chaos phase, and then
    // nothing of interest happens behind it.
    let worst = if rng.chance(500) { 30 } else { 300 };
    let delay = rng.duration(Duration::from_millis(1)..=Duration::from_millis(200));
    let mut permille =
        |most: u64| Chance::ppm(u32::try_from(rng.within(0..=most)).expect("at most 300") * 1_000);
    Conditions {
        loss: permille(worst),
        duplicate: permille(50),
        reorder: permille(100),
        delay,
        jitter: rng.duration(Duration::ZERO..=delay / 2),
        hold_back: rng.duration(Duration::from_millis(1)..=Duration::from_millis(300)),
        burst: rng.chance(200).then(|| draw_burst(rng)).flatten(),
        rate: rng.chance(200).then(|| Rate::new(rng.within(64_000..=2_000_000))),
        ..free()
    }
}

fn draw_burst(rng: &mut Rng) -> Option<Burst> {
    let mut number = |low, high| u32::try_from(rng.within(low..=high)).expect("small");
    Burst::new(Chance::percent(number(1, 20)), number(2, 10), Chance::percent(number(50, 100)))
}

/// Neighbours may overtake each other by jitter alone.
fn free() -> Conditions {
    Conditions { order_free: true, ..Conditions::default() }
}

#[derive(Debug)]
struct Way {
    path: Path,
    /// Nothing passes until then; each way on its own, so that a partition can be one-way.
    dark_up: Time,
    dark_down: Time,
}

/// What happened to the datagrams of a run.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Datagrams given to the network.
    pub sent: u64,
    /// Lost on the way, black-outs and full queues included.
    pub lost: u64,
    /// Delivered twice.
    pub duplicated: u64,
    /// Held back.
    pub reordered: u64,
}

/// The paths of all devices.
#[derive(Debug)]
pub struct Network {
    ways: Vec<Way>,
    /// Given to a path that is cut, and so never seen by it.
    cut_off: u64,
}

impl Network {
    /// A network of calm paths, one for each of `devices`.
    #[must_use]
    pub fn new(mut rng: Rng, devices: usize) -> Self {
        let way = || Way {
            path: Path::new(&Spec { up: calm(), down: calm(), rebind: None, seed: rng.next_u64() }),
            dark_up: Time::ZERO,
            dark_down: Time::ZERO,
        };
        Self { ways: std::iter::repeat_with(way).take(devices).collect(), cut_off: 0 }
    }

    /// Sets both directions of a device's path.
    pub fn set(&mut self, device: usize, up: Conditions, down: Conditions) {
        self.ways[device].path.set(up, down);
    }

    /// Cuts one direction of a device's path until a time.
    pub fn cut(&mut self, device: usize, direction: Direction, until: Time) {
        match direction {
            Direction::Up => self.ways[device].dark_up = until,
            Direction::Down => self.ways[device].dark_down = until,
        }
    }

    /// Makes every path calm and ends all cuts.
    pub fn heal(&mut self) {
        for way in &mut self.ways {
            way.path.set(calm(), calm());
            (way.dark_up, way.dark_down) = (Time::ZERO, Time::ZERO);
        }
    }

    /// When a datagram of `bytes` that leaves now arrives: never, once, or twice.
    pub fn send(
        &mut self,
        now: Time,
        device: usize,
        direction: Direction,
        bytes: usize,
    ) -> [Option<Time>; 2] {
        let way = &mut self.ways[device];
        let dark_until = match direction {
            Direction::Up => way.dark_up,
            Direction::Down => way.dark_down,
        };
        if now < dark_until {
            self.cut_off += 1;
            return [None, None];
        }
        match way.path.send(now, direction, Packet { bytes: bytes + HEADERS, protocol: Protocol::Udp }) {
            Fate::Arrives { at, again } => [Some(at), again],
            Fate::Dropped(_) => [None, None],
        }
    }

    /// What happened so far.
    #[must_use]
    pub fn traffic(&self) -> Traffic {
        let mut traffic = Traffic { sent: self.cut_off, lost: self.cut_off, ..Traffic::default() };
        for way in &self.ways {
            for counts in [Direction::Up, Direction::Down].map(|direction| way.path.counts(direction)) {
                traffic.sent += counts.sent;
                traffic.lost += counts.sent - counts.arrived;
                traffic.duplicated += counts.repeated;
                traffic.reordered += counts.held_back;
            }
        }
        traffic
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn conditions_do_what_they_say() {
        let mut network = Network::new(Rng::new(1), 2);
        let bad = Conditions { loss: Chance::percent(30), duplicate: Chance::percent(10), ..calm() };
        network.set(0, bad.clone(), bad);
        let now = Duration::from_secs(1);
        let mut counts = [0; 3];
        for _ in 0..10_000 {
            let arrivals = network.send(now, 0, Direction::Up, 200);
            counts[arrivals.iter().flatten().count()] += 1;
            for arrival in arrivals.into_iter().flatten() {
                let delay = arrival - now;
                assert!(delay >= Duration::from_millis(5) && delay <= Duration::from_micros(5_500));
            }
        }
        assert!((2_700..3_300).contains(&counts[0]), "lost {}", counts[0]);
        assert!((550..850).contains(&counts[2]), "twice {}", counts[2]);
        network.cut(1, Direction::Down, now + Duration::from_secs(1));
        assert_eq!(network.send(now, 1, Direction::Down, 200), [None, None]);
        assert!(network.send(now, 1, Direction::Up, 200)[0].is_some(), "one way only");
        let lost = network.traffic().lost;
        assert_eq!(lost, counts[0] + 1);
        network.heal();
        assert!(network.send(now, 1, Direction::Down, 200)[0].is_some());
    }
}
