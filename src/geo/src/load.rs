//! Load: how much a PoP's fullness costs, and where it stops.
//!
//! Consistent hashing with bounded loads (Mirrokni, Thorup, Zadimoghaddam 2016): nobody takes more than
//! (1 + [`EPSILON`]) of its fair share, which is the sessions of all times its part of the capacity. A PoP that is less
//! than [`FREE`] full may take more than that: where all is empty, there is nothing to share. Those who were sent there
//! before stay.
//!
//! Between two looks at the loads clients keep coming. So a PoP is not named to everybody until its bound and to nobody
//! from there on: what is left of its room, by what is expected to come, is the [`Room::share`] of clients to which it is
//! still named.

/// How far above its fair share a PoP is filled.
pub const EPSILON: f64 = 0.25;

/// Up to this part of its capacity load costs nothing, and no bound holds.
pub const FREE: f64 = 0.7;

/// Milliseconds at full capacity.
const FULL_MS: f64 = 50.0;

/// What is known of a PoP's load.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Load {
    /// Sessions that it has.
    pub sessions: f64,
    /// Sessions that it may have, above 0.
    pub capacity: f64,
    /// Clients that are expected to come before the next look, if it is named to all as before.
    pub coming: f64,
}

/// What is left of a PoP.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Room {
    /// Of the clients that would be sent there, how many still are: 0 to 1.
    pub share: f32,
    /// What its load costs, in milliseconds.
    pub penalty_ms: f32,
}

/// What all of them have together: sessions and capacity.
#[must_use]
pub fn sum(loads: impl Iterator<Item = Load>) -> (f64, f64) {
    loads.fold((0.0, 0.0), |(sessions, capacity), load| (sessions + load.sessions, capacity + load.capacity))
}

impl Load {
    /// The sessions at which it is passed over, where all that are up have `sessions` and `capacity`.
    #[must_use]
    pub fn bound(self, (sessions, capacity): (f64, f64)) -> f64 {
        let fair = sessions * self.capacity / capacity.max(1.0);
        ((1.0 + EPSILON) * fair).max(FREE * self.capacity).min(self.capacity)
    }

    /// What is left of it.
    #[must_use]
    #[expect(clippy::cast_possible_truncation, reason = "0 to 1, and at most 50 times the square of 10")]
    pub fn room(self, all: (f64, f64)) -> Room {
        let left = self.bound(all) - self.sessions;
        // Nobody comes: all or nothing.
        let share = if left < 1.0 { 0.0 } else { (left / self.coming.max(1.0)).min(1.0) };
        Room { share: share as f32, penalty_ms: penalty_ms(self.sessions / self.capacity) as f32 }
    }
}

/// What a part of capacity costs: nothing up to [`FREE`], then rising as the square.
fn penalty_ms(used: f64) -> f64 {
    let over = ((used - FREE) / (1.0 - FREE)).clamp(0.0, 10.0);
    FULL_MS * over * over
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(sessions: f64, coming: f64) -> Load {
        Load { sessions, capacity: 1_000.0, coming }
    }

    #[test]
    fn load_costs_nothing_until_it_matters() {
        let cost = |sessions| load(sessions, 0.0).room((10_000.0, 10_000.0)).penalty_ms;
        assert_eq!((cost(0.0), cost(700.0)), (0.0, 0.0));
        assert!(cost(850.0) > 5.0 && (cost(1_000.0) - 50.0).abs() < 0.01);
    }

    #[test]
    fn the_bound_is_a_quarter_above_the_fair_share() {
        // Ten PoPs that are 20, 80 and 95 % full.
        for (all, bound) in [(2_000.0, 700.0), (8_000.0, 1_000.0), (6_400.0, 800.0), (9_500.0, 1_000.0)] {
            assert!((load(0.0, 0.0).bound((all, 10_000.0)) - bound).abs() < 1e-6, "{all}");
        }
    }

    #[test]
    fn what_is_left_is_shared_by_those_who_come() {
        let share = |sessions, coming| load(sessions, coming).room((6_400.0, 10_000.0)).share;
        assert_eq!((share(0.0, 10.0), share(700.0, 100.0)), (1.0, 1.0));
        assert!((share(750.0, 100.0) - 0.5).abs() < 1e-6);
        assert_eq!((share(799.5, 0.0), share(900.0, 0.0)), (0.0, 0.0));
    }
}
