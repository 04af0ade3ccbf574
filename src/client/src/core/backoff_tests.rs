use super::*;
use proptest::prelude::*;

proptest! {
    #[test]
    fn delays_stay_between_the_floor_and_the_cap_above_it(
        seed: u64,
        failures in proptest::collection::vec((any::<bool>(), 0u64..100_000, any::<bool>()), 1..60),
    ) {
        let mut backoff = Backoff::new(SplitMix(seed));
        let mut in_a_row = 0u32;
        for (now, floor_ms, healthy) in failures {
            if healthy {
                backoff.reset();
                in_a_row = 0;
            }
            let floor = Duration::from_millis(floor_ms);
            let delay = backoff.next(if now { Return::Now } else { Return::Later }, floor);
            prop_assert!(delay > floor, "never at once after a failure");
            let cap = if now { CAP } else { CAP_LATER };
            prop_assert!(delay <= floor + cap);
            if now && in_a_row == 0 {
                prop_assert!(delay <= floor + BASE, "the first return is short");
            }
            in_a_row += 1;
        }
    }
}

#[test]
fn no_roll_gives_zero_or_more_than_the_ceiling() {
    assert_eq!(jitter(0, BASE), Duration::from_micros(1));
    assert_eq!(jitter(249_999, BASE), BASE);
    assert_eq!(jitter(250_000, BASE), Duration::from_micros(1));
}

#[test]
fn ceilings_double_up_to_the_cap() {
    for (returns, start, cap) in [(Return::Now, 0, CAP), (Return::Later, LATER_STEPS, CAP_LATER)] {
        let mut longest = [Duration::ZERO; 10];
        for seed in 0..2000 {
            let mut backoff = Backoff::new(SplitMix(seed));
            for seen in &mut longest {
                *seen = backoff.next(returns, Duration::ZERO).max(*seen);
            }
        }
        for (step, seen) in (start..).zip(longest) {
            let ceiling = (BASE * (1 << step)).min(cap);
            assert!(seen <= ceiling && seen > ceiling * 9 / 10, "step {step}: {seen:?} of {ceiling:?}");
        }
    }
}

#[test]
fn a_server_that_keeps_saying_go_away_does_not_make_a_busy_loop() {
    let mut backoff = Backoff::new(SplitMix(1));
    assert_eq!(backoff.next_after_go_away(), Duration::ZERO);
    assert!((0..5).all(|_| !backoff.next_after_go_away().is_zero()));
}

/// A crowd whose server dies at time zero and is back after `outage`. `window` is what the server had told them. Returns
/// the attempts in each tenth of a second, and when the last client was back. An attempt on a dead server fails after
/// `notice`; the server serves what comes.
fn storm(clients: u64, outage: Duration, notice: Duration, window: Duration) -> (Vec<u32>, Duration) {
    let (mut attempts, mut last) = (Vec::new(), Duration::ZERO);
    for seed in 0..clients {
        let mut backoff = Backoff::new(SplitMix(seed));
        let mut at = if window.is_zero() {
            backoff.next(Return::Now, Duration::ZERO)
        } else {
            backoff.next_within(window)
        };
        loop {
            let slot = usize::try_from(at.as_millis() / 100).unwrap();
            attempts.resize(attempts.len().max(slot + 1), 0);
            attempts[slot] += 1;
            if at >= outage {
                break;
            }
            at += notice + backoff.next(Return::Now, Duration::ZERO);
        }
        last = last.max(at);
    }
    (attempts, last)
}

const SECOND: Duration = Duration::from_secs(1);

/// The busiest tenth of a second, as a share of the crowd.
fn peak(attempts: &[u32], clients: u32) -> f64 {
    f64::from(*attempts.iter().max().unwrap()) / f64::from(clients)
}

#[test]
fn a_crowd_that_waited_for_its_server_comes_back_spread_and_within_the_cap() {
    // Ten seconds of outage, attempts on the dead server fail at once or after a second.
    for notice in [Duration::ZERO, SECOND] {
        let (attempts, last) = storm(10_000, 10 * SECOND, notice, Duration::ZERO);
        let after = &attempts[100..];
        let peak = peak(after, 10_000);
        // Spread evenly over the cap of 8 s, a tenth of a second would see 1.25 %.
        assert!(peak < 0.035, "{peak}");
        assert!(last <= 10 * SECOND + notice + CAP, "{last:?}");
    }
}

#[test]
fn a_server_that_is_back_at_once_is_protected_by_its_window() {
    let (attempts, _) = storm(10_000, Duration::ZERO, SECOND, Duration::ZERO);
    assert!(peak(&attempts, 10_000) > 0.3, "without a window they come within a quarter of a second");
    let (attempts, last) = storm(10_000, Duration::ZERO, SECOND, 5 * SECOND);
    assert!(peak(&attempts, 10_000) < 0.03 && last <= 5 * SECOND, "{last:?}");
    let mut backoff = Backoff::new(SplitMix(1));
    assert!((0..100).all(|_| backoff.next_within(Duration::from_hours(1)) <= WINDOW_MAX));
}

/// Fifty kills, each two seconds after the clients were back, down for half a second: the wait stays short.
#[test]
fn a_server_that_dies_again_and_again_is_not_waited_for_longer_and_longer() {
    let mut waits = Vec::new();
    for seed in 0..100 {
        let mut backoff = Backoff::new(SplitMix(seed));
        for _ in 0..50 {
            let (mut waited, mut attempts) = (Duration::ZERO, 0);
            while attempts == 0 || waited < SECOND / 2 {
                waited += backoff.next(Return::Now, Duration::ZERO);
                attempts += 1;
            }
            backoff.welcomed();
            waits.push(waited);
        }
    }
    waits.sort();
    let [p50, p99] = [waits[waits.len() / 2], waits[waits.len() * 99 / 100]];
    assert!(p50 < SECOND * 3 / 2 && p99 < 5 * SECOND, "{p50:?} {p99:?}");
}
