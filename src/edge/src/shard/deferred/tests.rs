//! Deferred acknowledgements beside a map.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

proptest! {
    /// Against a map: each connection has at most one that waits, gets that one and once, and the one that came first is due first.
    #[test]
    fn what_waits_is_found_by_its_connection_and_by_its_age(
        steps in proptest::collection::vec((0u8..5, 0u32..6, 0u64..700), 1..200),
        first in prop_oneof![Just(0), Just(u32::MAX - 20)],
    ) {
        let mut deferred = Deferred { first, ..Deferred::default() };
        let mut expected = [None; 6];
        let mut waiting: BTreeMap<u64, (u32, Instant, bool, Option<u64>)> = BTreeMap::new();
        let mut now = Instant::now();
        for (what, (step, index, ms)) in (0u64..).zip(steps) {
            let has = waiting.iter().find(|(_, (other, ..))| *other == index).map(|(what, _)| *what);
            match step {
                0 => {
                    let only = ms % 2 == 0;
                    deferred.expect(index, only);
                    if has.is_none() {
                        expected[index as usize] = Some(only);
                    }
                }
                1 => {
                    prop_assert_eq!(deferred.expects(index), expected[index as usize].is_some());
                    if let Some(only) = expected[index as usize].take() {
                        deferred.put(index, now, what);
                        waiting.insert(what, (index, now, only, None));
                    }
                }
                2 => {
                    let taken = deferred.take(index).map(|taken| (taken.index, taken.what, taken.fired));
                    let fired = has.and_then(|what| waiting.remove(&what)).and_then(|(.., fired)| fired);
                    prop_assert_eq!(taken, has.map(|what| (index, what, fired)));
                    expected[index as usize] = None;
                }
                3 => {
                    let taken = match has.and_then(|what| waiting.get_mut(&what)) {
                        Some((.., true, fired)) => fired.replace(ms).is_none(),
                        _ => false,
                    };
                    prop_assert_eq!(deferred.takes_timer(index, ms), taken);
                }
                _ => now += Duration::from_millis(ms),
            }
            let front = waiting.values().next();
            prop_assert_eq!(deferred.next(), front.map(|(_, since, ..)| *since + WAIT_MAX));
            let due = front.filter(|(_, since, ..)| *since + WAIT_MAX <= now).map(|(index, ..)| *index);
            prop_assert_eq!(deferred.due(now, Duration::ZERO), due);
            prop_assert_eq!(deferred.len(), waiting.len());
            prop_assert_eq!(deferred.waits(index), waiting.values().any(|(other, ..)| *other == index));
            prop_assert_eq!(deferred.expects_any(), expected.iter().any(Option::is_some));
        }
    }
}

#[test]
fn at_the_bound_the_next_ones_are_worked_on_as_they_come() {
    let mut deferred = Deferred::default();
    let now = Instant::now();
    let last = u32::try_from(PLACES_MAX).unwrap();
    for index in 0..=last {
        deferred.expect(index, true);
        assert_eq!(deferred.expects(index), index < last);
        if index < last {
            deferred.put(index, now, ());
        }
    }
    // A hole is a place too, until those in front of it are gone.
    assert!(deferred.take(5).is_some() && !deferred.expects(last));
    assert!(deferred.take(0).is_some() && deferred.expects(last));
}
