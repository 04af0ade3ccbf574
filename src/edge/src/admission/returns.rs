//! How long the sessions of a shard take to come back if all lose it at the same moment.
//!
//! A crowd that comes back faster than its handshakes can be made meets full queues, and tries again in an order that
//! nobody planned; one that comes more slowly waits for nothing. So each welcome says a window in which the client picks
//! its moment, of the length that the handshakes of all sessions take:
//!
//! ```text
//! window = sessions × cost of a handshake ÷ (share of a core)
//! ```
//!
//! The cost is what handshakes took of late, in CPU time of the shard's thread, full and resumed ones as they came. A
//! fifth of the core is counted for it: the rest of a login (the last flight, the hello, the backend) takes as much, and
//! the rest is left for those who do not draw their moment evenly.

use std::time::Duration;

/// CPU time of a handshake before any was measured: with X25519MLKEM768 on the machine of our figures
/// (`docs/decisions/0002-edge-figures.md`).
const COST_US: f32 = 300.0;

/// What a measurement may say. A thread that was stopped in the middle is no expensive handshake.
const COST_US_MIN: f32 = 20.0;
const COST_US_MAX: f32 = 20_000.0;

/// Of the CPU time of a shard, what is for handshakes while a crowd comes back.
const SHARE: f32 = 0.2;

/// Handshakes that make one measurement, and how much it weighs against those before.
const SAMPLE: u32 = 16;
const WEIGHT: f32 = 0.125;

/// Clients spread over so much by themselves (docs/protocol.md §3, "Ending"): a shorter window is not worth its bytes.
const WINDOW_MIN: Duration = Duration::from_millis(250);

/// What handshakes cost, and the windows that follow from it.
#[derive(Debug)]
pub(super) struct Returns {
    /// As configured; `None`: as measured.
    per_s: Option<f32>,
    core: f32,
    window_max: Duration,
    cost_us: f32,
    /// Of the measurement that goes on.
    spent: Duration,
    begun: u32,
}

impl Returns {
    /// `per_s`: handshakes of a second, as measured if `None`; `core`: how much of a core the shard has.
    pub(super) fn new(per_s: Option<u32>, core: f32, window_max: Duration) -> Self {
        // u32 to f32: nobody makes more than 16 million handshakes in a second.
        let per_s = per_s.map(|per_s| per_s as f32);
        Self { per_s, core, window_max, cost_us: COST_US, spent: Duration::ZERO, begun: 0 }
    }

    /// So many handshakes took so much CPU time.
    pub(super) fn record(&mut self, spent: Duration, begun: usize) {
        self.spent += spent;
        self.begun = self.begun.saturating_add(u32::try_from(begun).unwrap_or(u32::MAX));
        if self.begun >= SAMPLE {
            let sample = self.spent.as_secs_f32() * 1e6 / self.begun as f32;
            self.cost_us += (sample.clamp(COST_US_MIN, COST_US_MAX) - self.cost_us) * WEIGHT;
            (self.spent, self.begun) = (Duration::ZERO, 0);
        }
    }

    /// What one handshake costs.
    pub(super) fn cost(&self) -> Duration {
        Duration::from_secs_f32(self.cost_us / 1e6)
    }

    /// The window for one of so many sessions. `network` is how long its network alone needs, by the rate that it is
    /// given. Zero: none is needed.
    pub(super) fn window(&self, sessions: u64, network: Duration) -> Duration {
        let per_s = self.per_s.unwrap_or(self.core * SHARE * 1e6 / self.cost_us);
        let all = Duration::try_from_secs_f32(sessions as f32 / per_s).unwrap_or(Duration::MAX);
        let window = all.max(network).min(self.window_max);
        if window < WINDOW_MIN { Duration::ZERO } else { window }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    #[test]
    fn the_window_is_what_the_handshakes_of_all_need() {
        let returns = Returns::new(None, 1.0, MINUTE);
        assert_eq!(returns.window(10_000, Duration::ZERO), Duration::from_secs(15));
        assert_eq!(returns.window(1_000_000, Duration::ZERO), MINUTE, "its bound");
        assert_eq!(returns.window(150, Duration::ZERO), Duration::ZERO, "clients spread that by themselves");
        assert_eq!(
            returns.window(400, Duration::from_secs(3)),
            Duration::from_secs(3),
            "its network is slower"
        );
        let shared = Returns::new(None, 0.5, MINUTE);
        assert_eq!(shared.window(10_000, Duration::ZERO), Duration::from_secs(30));
        let configured = Returns::new(Some(1_000), 0.5, MINUTE);
        assert_eq!(configured.window(10_000, Duration::ZERO), Duration::from_secs(10));
        assert_eq!(Returns::new(None, 1.0, Duration::ZERO).window(10_000, Duration::ZERO), Duration::ZERO);
        assert_eq!(Returns::new(Some(0), 1.0, MINUTE).window(10_000, Duration::ZERO), MINUTE);
    }

    #[test]
    fn the_cost_follows_what_handshakes_take_and_one_stopped_thread_is_not_believed() {
        let mut returns = Returns::new(None, 1.0, MINUTE);
        for _ in 0..1_000 {
            returns.record(Duration::from_micros(100), 1);
        }
        assert!((95..=105).contains(&returns.cost().as_micros()), "{:?}", returns.cost());
        returns.record(Duration::from_secs(100), 16);
        assert!(returns.cost() < Duration::from_millis(3), "{:?}", returns.cost());
        // What began nothing belongs to what begins next: the second packet of a large ClientHello.
        let mut halves = Returns::new(None, 1.0, MINUTE);
        for _ in 0..1_000 {
            halves.record(Duration::from_micros(50), 1);
            halves.record(Duration::from_micros(50), 0);
        }
        assert!((95..=105).contains(&halves.cost().as_micros()), "{:?}", halves.cost());
    }
}
