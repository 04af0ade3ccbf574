use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;

/// What happens to a message of sender 0, in the words of the tables below.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Op {
    Post(u64),
    Ack(u64),
    GiveUp(u64),
    Deliver(u64),
}

use Op::{Ack, Deliver, GiveUp, Post};

fn play(scheduled: u64, ops: &[Op]) -> Tally {
    let mut tally = Tally::new(1);
    for counter in 0..scheduled {
        assert_eq!(tally.schedule(0, counter * 10), counter);
    }
    for op in ops {
        match *op {
            Post(counter) => tally.post(0, counter),
            Ack(counter) => drop(tally.ack(0, counter)),
            GiveUp(counter) => tally.give_up(0, counter),
            Deliver(counter) => drop(tally.deliver(0, counter)),
        }
    }
    tally
}

#[test]
fn each_fault_is_found() {
    let counts = Counts::default();
    let cases: &[(&str, u64, &[Op], Counts)] = &[
        (
            "all is well",
            2,
            &[Post(0), Post(1), Ack(0), Deliver(0), Deliver(1), Ack(1)],
            Counts { sent: 2, acked: 2, delivered: 2, ..counts },
        ),
        (
            "acknowledged and not shown",
            2,
            &[Post(0), Post(1), Ack(0), Ack(1), Deliver(1)],
            Counts { sent: 2, acked: 2, delivered: 1, lost: 1, ..counts },
        ),
        (
            "shown twice, complete by then",
            1,
            &[Post(0), Ack(0), Deliver(0), Deliver(0)],
            Counts { sent: 1, acked: 1, delivered: 1, duplicated: 1, ..counts },
        ),
        (
            "shown three times before its acknowledgement",
            1,
            &[Post(0), Deliver(0), Deliver(0), Deliver(0), Ack(0)],
            Counts { sent: 1, acked: 1, delivered: 1, duplicated: 2, ..counts },
        ),
        (
            "shown behind a later one",
            3,
            &[Post(0), Post(1), Post(2), Ack(0), Ack(1), Ack(2), Deliver(2), Deliver(0), Deliver(1)],
            Counts { sent: 3, acked: 3, delivered: 3, reordered: 2, ..counts },
        ),
        (
            "a late duplicate is no reordering",
            2,
            &[Post(0), Post(1), Ack(0), Ack(1), Deliver(0), Deliver(1), Deliver(0)],
            Counts { sent: 2, acked: 2, delivered: 2, duplicated: 1, ..counts },
        ),
        (
            "a gap is no reordering",
            3,
            &[Post(0), Post(1), Post(2), Deliver(0), Deliver(2), GiveUp(1)],
            Counts { sent: 3, delivered: 2, failed: 1, ..counts },
        ),
        (
            "never taken by the client",
            2,
            &[Post(0), Ack(0), Deliver(0), GiveUp(1)],
            Counts { sent: 1, acked: 1, delivered: 1, never_sent: 1, ..counts },
        ),
        (
            "given up, and shown all the same",
            1,
            &[Post(0), GiveUp(0), Deliver(0)],
            Counts { sent: 1, delivered: 1, ..counts },
        ),
        ("neither answer nor delivery", 1, &[Post(0)], Counts { sent: 1, unanswered: 1, ..counts }),
        (
            "shown without an acknowledgement",
            1,
            &[Post(0), Deliver(0)],
            Counts { sent: 1, delivered: 1, ..counts },
        ),
        (
            "acknowledged twice",
            1,
            &[Post(0), Ack(0), Ack(0), Deliver(0), Ack(0)],
            Counts { sent: 1, acked: 1, delivered: 1, ..counts },
        ),
    ];
    for (what, scheduled, ops, want) in cases {
        assert_eq!(play(*scheduled, ops).counts(), *want, "{what}");
    }
}

#[test]
fn a_delivery_of_what_nobody_sent_is_unknown() {
    let mut tally = play(2, &[Post(0)]);
    assert_eq!(tally.deliver(0, 1), Arrival::Unknown, "scheduled, not posted");
    assert_eq!(tally.deliver(0, 2), Arrival::Unknown, "beyond the schedule");
    assert_eq!(tally.deliver(7, 0), Arrival::Unknown, "no such sender");
    assert_eq!(tally.counts().delivered, 0);
    assert_eq!(tally.deliver(0, 0), Arrival::First { due_ns: 0 });
    assert_eq!(tally.deliver(0, 0), Arrival::Duplicate);
}

#[test]
fn settled_means_that_nothing_is_awaited() {
    assert!(Tally::new(3).is_settled());
    assert!(!play(1, &[]).is_settled());
    assert!(!play(1, &[Post(0), Ack(0)]).is_settled());
    assert!(!play(1, &[Post(0), Deliver(0)]).is_settled());
    assert!(play(1, &[Post(0), Deliver(0), Ack(0)]).is_settled());
    assert!(play(1, &[Post(0), GiveUp(0)]).is_settled());
    assert!(play(1, &[GiveUp(0), GiveUp(0)]).is_settled(), "counted once");
}

#[test]
fn memory_follows_what_is_under_way() {
    let mut tally = Tally::new(1);
    for counter in 0..10_000 {
        tally.schedule(0, counter);
        tally.post(0, counter);
        tally.ack(0, counter);
        tally.deliver(0, counter);
    }
    assert!(tally.senders[0].entries.is_empty());
    assert_eq!(tally.deliver(0, 17), Arrival::Duplicate, "and still nothing is forgotten");
}

/// The same questions, answered from the whole history.
fn model(scheduled: u64, history: &[Op]) -> Counts {
    let mut counts = Counts::default();
    let (mut posted, mut acked, mut given_up, mut shown) =
        (BTreeSet::new(), BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
    for op in history {
        match *op {
            Post(counter) if counter < scheduled => drop(posted.insert(counter)),
            Ack(counter) if posted.contains(&counter) => drop(acked.insert(counter)),
            GiveUp(counter) if counter < scheduled => drop(given_up.insert(counter)),
            Deliver(counter) if posted.contains(&counter) => {
                let later_was_shown = shown.range(counter + 1..).next().is_some();
                if !shown.insert(counter) {
                    counts.duplicated += 1;
                } else if later_was_shown {
                    counts.reordered += 1;
                }
            }
            Post(_) | Ack(_) | GiveUp(_) | Deliver(_) => {}
        }
    }
    counts.sent = posted.len() as u64;
    counts.acked = acked.len() as u64;
    counts.delivered = shown.len() as u64;
    counts.lost = acked.difference(&shown).count() as u64;
    let silent = |counter: &u64| !acked.contains(counter) && !shown.contains(counter);
    counts.never_sent = (0..scheduled).filter(|counter| !posted.contains(counter)).count() as u64;
    counts.failed = posted.intersection(&given_up).filter(|counter| silent(counter)).count() as u64;
    counts.unanswered = posted.difference(&given_up).filter(|counter| silent(counter)).count() as u64;
    counts
}

fn op() -> impl Strategy<Value = Op> {
    (0u64..10, 0u32..8).prop_map(|(counter, kind)| match kind {
        0..=2 => Post(counter),
        3 | 4 => Ack(counter),
        5 => GiveUp(counter),
        _ => Deliver(counter),
    })
}

proptest! {
    #[test]
    fn the_books_agree_with_the_history(scheduled in 0u64..10, history in prop::collection::vec(op(), 0..80)) {
        let tally = play(scheduled, &history);
        prop_assert_eq!(tally.counts(), model(scheduled, &history));
        let counts = tally.counts();
        if tally.is_settled() {
            prop_assert_eq!(counts.unanswered, 0);
        }
    }

    #[test]
    fn one_sender_does_not_disturb_another(
        left in prop::collection::vec(op(), 0..40), right in prop::collection::vec(op(), 0..40), mix: u64,
    ) {
        let mut both = Tally::new(2);
        for counter in 0..10 {
            both.schedule(0, counter);
            both.schedule(1, counter);
        }
        let (mut a, mut b) = (left.iter(), right.iter());
        for turn in 0..80 {
            let first = (mix >> (turn % 64)) & 1 == 0;
            let (sender, op) = match if first { (0, a.next()) } else { (1, b.next()) } {
                (sender, Some(op)) => (sender, op),
                (0, None) => match b.next() { Some(op) => (1, op), None => break },
                (_, None) => match a.next() { Some(op) => (0, op), None => break },
            };
            match *op {
                Post(counter) => both.post(sender, counter),
                Ack(counter) => drop(both.ack(sender, counter)),
                GiveUp(counter) => both.give_up(sender, counter),
                Deliver(counter) => drop(both.deliver(sender, counter)),
            }
        }
        let (l, r) = (play(10, &left).counts(), play(10, &right).counts());
        let sum = Counts {
            sent: l.sent + r.sent,
            acked: l.acked + r.acked,
            delivered: l.delivered + r.delivered,
            lost: l.lost + r.lost,
            duplicated: l.duplicated + r.duplicated,
            reordered: l.reordered + r.reordered,
            never_sent: l.never_sent + r.never_sent,
            failed: l.failed + r.failed,
            unanswered: l.unanswered + r.unanswered,
        };
        prop_assert_eq!(both.counts(), sum);
    }
}
