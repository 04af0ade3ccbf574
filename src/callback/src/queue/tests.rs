use proptest::prelude::*;

use super::*;

fn queue(config: Config) -> Queue {
    Queue::new(config)
}

fn key(name: &str) -> Bytes {
    Bytes::copy_from_slice(name.as_bytes())
}

fn all(queue: &mut Queue, now_ms: u64) -> Vec<u64> {
    std::iter::from_fn(|| queue.next(now_ms)).collect()
}

#[test]
fn one_of_each_key_at_a_time_in_order() {
    let mut queue = queue(Config::default());
    for (number, name) in [(1, "a"), (2, "a"), (3, "b"), (4, "a")] {
        queue.push(number, key(name), 0, 10);
    }
    assert_eq!(all(&mut queue, 0), [1, 3]);
    assert_eq!(queue.done(3, Outcome::Told, 1, 0), Fate::Told);
    assert_eq!(all(&mut queue, 1), [0u64; 0]);
    assert_eq!(queue.done(1, Outcome::Told, 1, 0), Fate::Told);
    assert_eq!(all(&mut queue, 1), [2]);
    assert_eq!(queue.done(2, Outcome::Bad, 1, 0), Fate::Again);
    assert_eq!(all(&mut queue, 2), [0u64; 0], "4 waits behind 2, and 2 for its pause");
    assert_eq!(queue.deadline_ms(), Some(201));
    assert_eq!(all(&mut queue, 201), [2]);
}

#[test]
fn so_many_at_once_and_so_many_held() {
    let mut queue = queue(Config { concurrency: 2, window: 4, ..Config::default() });
    for number in 1..=4 {
        queue.push(number, key(&number.to_string()), 0, 10);
    }
    assert_eq!(queue.room(), 0);
    assert_eq!(all(&mut queue, 0), [1, 2]);
    queue.done(1, Outcome::Told, 0, 0);
    assert_eq!((queue.room(), all(&mut queue, 0)), (1, vec![3]));
}

#[test]
fn bad_answers_are_counted_and_silence_is_not() {
    let mut queue =
        queue(Config { tries_max: 2, failures_max: 100, age_max_ms: 1_000_000, ..Config::default() });
    queue.push(1, key("a"), 0, 10);
    let mut now = 0;
    let mut fail = |queue: &mut Queue, outcome| {
        now += 100_000;
        assert_eq!(queue.next(now), Some(1));
        queue.done(1, outcome, now, 7)
    };
    for _ in 0..5 {
        assert_eq!(fail(&mut queue, Outcome::Unreachable), Fate::Again);
    }
    assert_eq!(fail(&mut queue, Outcome::Bad), Fate::Again);
    assert_eq!(fail(&mut queue, Outcome::Bad), Fate::Dead);
    assert!(queue.is_empty());
    // Age ends it in either case.
    queue.push(2, key("a"), 0, 10);
    assert_eq!(queue.next(1_000_001), Some(2));
    assert_eq!(queue.done(2, Outcome::Unreachable, 1_000_001, 0), Fate::Dead);
}

#[test]
fn without_retries_the_first_failure_ends_it() {
    let mut queue = queue(Config { retry: false, ..Config::default() });
    queue.push(1, key("a"), 0, 10);
    queue.push(2, key("a"), 0, 10);
    assert_eq!(queue.next(0), Some(1));
    assert_eq!(queue.done(1, Outcome::Unreachable, 0, 0), Fate::Dead);
    assert_eq!(queue.next(0), Some(2), "the next one of its key goes on");
}

#[test]
fn a_target_that_is_down_gets_probes_and_then_everything() {
    let mut queue = queue(Config { failures_max: 3, ..Config::default() });
    for number in 1..=8 {
        queue.push(number, key(&number.to_string()), 0, 10);
    }
    assert_eq!(all(&mut queue, 0).len(), 8);
    for number in 1..=8 {
        queue.done(number, Outcome::Unreachable, 10, 0);
    }
    assert!(queue.is_open());
    assert_eq!(all(&mut queue, 11), [0u64; 0]);
    assert_eq!(queue.deadline_ms(), Some(210), "opened by the third failure");
    let probe = all(&mut queue, 210);
    assert_eq!(probe.len(), 1);
    assert_eq!(queue.deadline_ms(), None, "the probe will say");
    queue.done(probe[0], Outcome::Unreachable, 220, 0);
    assert_eq!(queue.deadline_ms(), Some(620), "twice as long");
    let probe = all(&mut queue, 620);
    assert_eq!(queue.done(probe[0], Outcome::Told, 630, 0), Fate::Told);
    assert!(!queue.is_open());
    assert_eq!(all(&mut queue, 630).len(), 7);
}

#[test]
fn another_target_is_told_at_once_as_it_wants_to_be() {
    let mut queue = queue(Config { failures_max: 1, ..Config::default() });
    for number in 1..=3 {
        queue.push(number, key(&number.to_string()), 0, 10);
    }
    assert_eq!(all(&mut queue, 0), [1, 2, 3]);
    assert_eq!(queue.done(1, Outcome::Unreachable, 0, 0), Fate::Again);
    assert!(queue.is_open());
    queue.switch(3, false);
    assert_eq!((queue.is_open(), all(&mut queue, 0)), (false, vec![1]));
    // What was sent to the one before is not lost, and the next failure is the last.
    assert_eq!(queue.done(2, Outcome::Told, 0, 0), Fate::Told);
    assert_eq!(queue.done(1, Outcome::Bad, 0, 0), Fate::Dead);
}

#[test]
fn what_is_too_old_leaves_while_the_target_is_away() {
    let mut queue = queue(Config { failures_max: 1, age_max_ms: 1000, ..Config::default() });
    for number in 1..=3 {
        queue.push(number, key("a"), number * 1000, 10);
    }
    assert_eq!(queue.next(3000), Some(1));
    assert_eq!(queue.done(1, Outcome::Unreachable, 3000, 0), Fate::Dead);
    assert_eq!(queue.expire(3001), [2]);
    assert_eq!(queue.expire(4001), [3]);
    assert!(queue.is_empty());
    queue.push(4, key("b"), 9000, 10);
    queue.push(5, key("b"), 9000, 10);
    assert_eq!(queue.shed(1), [4]);
    assert_eq!(queue.len(), 1);
}

proptest! {
    /// Whatever fails and in whichever order answers come: entries of a key are told in order, never two at once, none is
    /// forgotten, and the number under way is bounded.
    #[test]
    fn order_and_bounds_hold(
        keys in proptest::collection::vec(0..5u8, 1..60),
        steps in proptest::collection::vec((any::<u8>(), 0..4u8, 0..2000u64), 0..400),
    ) {
        let config = Config { concurrency: 3, window: 20, tries_max: 3, failures_max: 4, ..Config::default() };
        let mut queue = Queue::new(config);
        let (mut next, mut now, mut under_way) = (0, 0, Vec::new());
        let mut ended: Vec<(u8, u64)> = Vec::new();
        let key_of = |number: u64| keys[usize::try_from(number).expect("few") - 1];
        let mut step = |queue: &mut Queue, pick: u8, outcome: u8, later: u64, next: &mut usize| {
            now += later;
            while queue.room() > 0 && *next < keys.len() {
                queue.push(*next as u64 + 1, Bytes::copy_from_slice(&[keys[*next]]), now, 10);
                *next += 1;
            }
            while let Some(number) = queue.next(now) {
                under_way.push(number);
            }
            assert!(under_way.len() <= 3 && under_way.len() == queue.under_way());
            let mut busy: Vec<u8> = under_way.iter().map(|number| key_of(*number)).collect();
            busy.sort_unstable();
            assert!(busy.windows(2).all(|two| two[0] != two[1]), "one of a key");
            if under_way.is_empty() {
                return;
            }
            let number = under_way.swap_remove(usize::from(pick) % under_way.len());
            let outcome = match outcome {
                0 => Outcome::Bad,
                1 => Outcome::Unreachable,
                _ => Outcome::Told,
            };
            if queue.done(number, outcome, now, u64::from(pick)) != Fate::Again {
                ended.push((key_of(number), number));
            }
        };
        for (pick, outcome, later) in steps {
            step(&mut queue, pick, outcome, later, &mut next);
        }
        // Then the target is well.
        for _ in 0..1000 {
            step(&mut queue, 0, 3, 40_000, &mut next);
        }
        prop_assert_eq!(ended.len(), keys.len());
        for key in 0..5 {
            let of: Vec<_> = ended.iter().filter(|(of, _)| *of == key).map(|(_, number)| *number).collect();
            prop_assert!(of.is_sorted(), "key {}: {:?}", key, of);
        }
    }
}
