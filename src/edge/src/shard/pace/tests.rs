use super::*;

const US: Duration = Duration::from_micros(1);

#[test]
fn a_room_alone_takes_what_a_turn_has() {
    let (now, mut pace) = (Instant::now(), Pace::default());
    pace.gave_way(now, US * 10_000);
    assert_eq!((pace.visits(now, 10_000, false), pace.visits(now, 10_000, true)), (64, 8));
    assert_eq!((pace.next(), pace.batch(now)), (None, 64));
}

#[test]
fn beside_requests_turns_are_short_and_where_cores_are_short_too_a_pause_follows() {
    let (now, mut pace) = (Instant::now(), Pace::default());
    pace.handed_on(now);
    pace.gave_way(now, US * 99);
    assert_eq!((pace.visits(now, 10_000, false), pace.batch(now)), (16, 16));
    assert_eq!((pace.visits(now, 10_000, true), pace.next()), (8, None));
    pace.gave_way(now, US * 100);
    assert_eq!(pace.visits(now, 8_191, false), 16);
    assert_eq!(pace.visits(now + US * 499, 8_191, false), 0, "it is early");
    assert_eq!(pace.next(), Some(now + US * 500));
    assert_eq!(pace.visits(now + US * 500, 20_000, false), 39, "a larger room has longer turns");
    assert_eq!(pace.visits(now + US * 1_000, 20_000, true), 19);
    assert_eq!(pace.visits(now + US * 1_500, 65_536, false), 64);
    // Nobody asks any more; what was said of the next visit holds.
    assert_eq!(pace.visits(now + US * 1_999, 1, false), 0);
    assert_eq!(pace.visits(now + BESIDE, 1, false), 64);
    assert!(pace.is_due(now + BESIDE));
}

#[test]
fn cores_are_short_for_a_while() {
    let (now, mut pace) = (Instant::now(), Pace::default());
    pace.gave_way(now, US * 4_000);
    pace.handed_on(now + SHORT - US);
    assert_eq!(pace.visits(now + SHORT - US, 1, false), 16);
    assert!(pace.next().is_some());
    assert_eq!(pace.visits(now + SHORT + PAUSE, 1, false), 16);
    assert_eq!(pace.next(), None);
}
