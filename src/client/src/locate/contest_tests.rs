use super::*;
use proptest::prelude::*;

const MS: Duration = Duration::from_millis(1);

fn drain(contest: &mut Contest) -> Vec<Action> {
    std::iter::from_fn(|| contest.poll_action()).collect()
}

#[test]
fn all_are_asked_at_once_and_the_first_to_answer_wins() {
    let begun = Instant::now();
    let mut contest = Contest::new(&[false; 3], begun);
    assert_eq!(drain(&mut contest), [0, 1, 2].map(Action::Probe));
    contest.answered(begun + 20 * MS, 2, 20 * MS, true);
    assert_eq!(drain(&mut contest), [Action::Won(2)]);
    contest.answered(begun + 30 * MS, 0, 30 * MS, true);
    // The one that is silent is asked again, but not by TCP: UDP works here.
    let at = contest.poll_timeout().unwrap();
    assert_eq!(at, begun + 250 * MS);
    contest.handle_timeout(at);
    assert_eq!(drain(&mut contest), [Action::Probe(1)]);
    contest.handle_timeout(begun + OVER_AFTER);
    assert_eq!(drain(&mut contest), [Action::Over]);
    assert_eq!((contest.order(), contest.rtt(1), contest.rtt(2)), (vec![2, 0], None, Some(20 * MS)));
    assert_eq!(contest.poll_timeout(), None);
}

#[test]
fn reserves_stand_by_round_trips_not_by_when_an_answer_came() {
    let begun = Instant::now();
    let mut contest = Contest::new(&[false; 3], begun);
    contest.answered(begun + 10 * MS, 0, 10 * MS, true);
    contest.answered(begun + 120 * MS, 1, 120 * MS, true);
    // To the second probe, since the first was lost.
    contest.answered(begun + 300 * MS, 2, 50 * MS, true);
    assert_eq!(contest.order(), [0, 2, 1]);
}

#[test]
fn where_nobody_answers_on_udp_tcp_decides() {
    let begun = Instant::now();
    let mut contest = Contest::new(&[false; 2], begun);
    drain(&mut contest);
    let at = contest.poll_timeout().unwrap();
    assert_eq!(at, begun + TCP_AFTER);
    contest.handle_timeout(at);
    assert_eq!(drain(&mut contest), [0, 1].map(Action::Connect));
    contest.answered(at + 5 * MS, 1, 5 * MS, false);
    contest.answered(at + 9 * MS, 0, 9 * MS, false);
    assert_eq!(drain(&mut contest), [Action::Won(1), Action::Over]);
}

#[test]
fn one_that_was_left_a_moment_ago_wins_only_if_there_is_no_other() {
    let begun = Instant::now();
    let mut contest = Contest::new(&[true, false], begun);
    drain(&mut contest);
    contest.answered(begun + MS, 0, MS, true);
    assert_eq!(drain(&mut contest), []);
    contest.answered(begun + 9 * MS, 1, 9 * MS, true);
    assert_eq!(drain(&mut contest), [Action::Won(1), Action::Over]);
    assert_eq!(contest.order(), [1, 0]);
    let mut alone = Contest::new(&[true, false], begun);
    alone.answered(begun + MS, 0, MS, true);
    drain(&mut alone);
    alone.handle_timeout(begun + OVER_AFTER);
    assert_eq!(drain(&mut alone), [Action::Won(0), Action::Over]);
}

proptest! {
    /// Whoever answers when and how: a bounded number of packets, one winner at most, the first that may, and one end.
    #[test]
    fn any_order_of_answers_has_one_winner_and_one_end(
        answers in proptest::collection::vec((0..RUNNERS_MAX, 0..2_000_u32, any::<bool>()), 0..40),
        avoided in proptest::collection::vec(any::<bool>(), 1..RUNNERS_MAX + 3),
    ) {
        let begun = Instant::now();
        let mut contest = Contest::new(&avoided, begun);
        let mut answers = answers;
        answers.sort_by_key(|(_, at, _)| *at);
        let mut actions = drain(&mut contest);
        for (runner, at_ms, udp) in answers {
            let at = begun + at_ms * MS;
            while let Some(timer) = contest.poll_timeout().filter(|timer| *timer <= at) {
                contest.handle_timeout(timer);
                actions.extend(drain(&mut contest));
            }
            contest.answered(at, runner, at_ms * MS, udp);
            actions.extend(drain(&mut contest));
        }
        for _ in 0..10 {
            let Some(timer) = contest.poll_timeout() else { break };
            contest.handle_timeout(timer);
            actions.extend(drain(&mut contest));
        }
        let runners = avoided.len().min(RUNNERS_MAX);
        let count = |wanted: fn(&Action) -> bool| actions.iter().filter(|action| wanted(action)).count();
        prop_assert_eq!(count(|action| matches!(action, Action::Over)), 1);
        prop_assert_eq!(actions.last(), Some(&Action::Over));
        prop_assert!(count(|action| matches!(action, Action::Probe(_))) <= SENDS.len() * runners);
        prop_assert!(count(|action| matches!(action, Action::Connect(_))) <= runners);
        let order = contest.order();
        let won = usize::from(!order.is_empty());
        prop_assert_eq!(count(|action| matches!(action, Action::Won(_))), won);
        if let Some(first) = order.first() {
            prop_assert!(actions.contains(&Action::Won(*first)));
            prop_assert!(!avoided[*first] || order.iter().all(|at| avoided[*at]));
        }
    }
}
