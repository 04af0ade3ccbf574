use super::*;
use proptest::prelude::*;

const ALL: [(Source, usize); 5] =
    [(Source::Https, 3), (Source::Doh, 2), (Source::Resolver, 1), (Source::Map, 1), (Source::List, 1)];

fn tried(source: Source, server: usize) -> Try {
    Try { source, server }
}

fn drain(chain: &mut Chain) -> Vec<Action> {
    std::iter::from_fn(|| chain.poll_action()).collect()
}

#[test]
fn failures_bring_the_next_server_and_then_the_next_step_at_once() {
    let now = Instant::now();
    let mut chain = Chain::new(&ALL, now);
    let order = [(Source::Https, 3), (Source::Doh, 2), (Source::Resolver, 1), (Source::Map, 1)];
    for (source, server) in
        order.into_iter().flat_map(|(source, servers)| (0..servers).map(move |at| (source, at)))
    {
        assert_eq!(drain(&mut chain), [Action::Start(tried(source, server))]);
        chain.failed(now, tried(source, server), format!("{source} {server} refused"));
    }
    assert_eq!(drain(&mut chain), [Action::Start(tried(Source::List, 0))]);
    chain.answered(tried(Source::List, 0));
    assert_eq!(drain(&mut chain), [Action::Take(tried(Source::List, 0))]);
    assert_eq!(chain.poll_timeout(), None);
}

#[test]
fn what_hangs_is_passed_after_a_second_and_its_late_answer_still_counts() {
    let begun = Instant::now();
    let mut chain = Chain::new(&[(Source::Https, 1), (Source::Doh, 1), (Source::Map, 1)], begun);
    let mut started = drain(&mut chain);
    for _ in 0..2 {
        let at = chain.poll_timeout().unwrap();
        chain.handle_timeout(at);
        started.extend(drain(&mut chain));
    }
    let expected = [Source::Https, Source::Doh, Source::Map].map(|source| Action::Start(tried(source, 0)));
    assert_eq!(started, expected);
    // The map is not there, and doh answers before https has had its time.
    chain.failed(begun + 2 * STEP_STAGGER, tried(Source::Map, 0), "no map".into());
    assert_eq!(chain.poll_timeout(), Some(begun + TRY_MAX));
    chain.answered(tried(Source::Doh, 0));
    assert_eq!(
        drain(&mut chain),
        [Action::Cancel(tried(Source::Https, 0)), Action::Take(tried(Source::Doh, 0))]
    );
}

#[test]
fn the_error_names_every_step() {
    let now = Instant::now();
    let mut chain = Chain::new(&[(Source::Https, 2), (Source::Map, 1)], now);
    chain.failed(now, tried(Source::Https, 0), "192.0.2.1: refused".into());
    chain.failed(now, tried(Source::Https, 1), "192.0.2.2: wrong name".into());
    chain.failed(now, tried(Source::Map, 0), "none on the disk".into());
    let Some(Action::Fail(failures)) = drain(&mut chain).pop() else { panic!("not over") };
    let told: Vec<_> = failures.iter().map(ToString::to_string).collect();
    assert_eq!(told, ["https: 192.0.2.1: refused; 192.0.2.2: wrong name", "map: none on the disk"]);
}

/// What happens to a server that is asked: after so many milliseconds it answers, fails, or never does anything.
#[derive(Debug, Clone, Copy)]
struct Fate {
    after_ms: u64,
    answers: Option<bool>,
}

fn fate() -> impl Strategy<Value = Fate> {
    (0..6_000_u64, proptest::option::of(any::<bool>()))
        .prop_map(|(after_ms, answers)| Fate { after_ms, answers })
}

proptest! {
    /// Whatever answers, fails or hangs: each server is asked once at most, the chain ends once, in bounded time, with an answer
    /// of somebody who was asked or with an error that names every step.
    #[test]
    fn any_order_of_fates_ends_in_an_answer_or_a_full_error(
        servers in proptest::collection::vec(1..4_usize, 1..5),
        fates in proptest::collection::vec(fate(), 20),
    ) {
        let steps: Vec<_> = Source::ALL.into_iter().zip(servers).collect();
        let begun = Instant::now();
        let mut chain = Chain::new(&steps, begun);
        let (mut now, mut asked, mut running, mut ends) = (begun, Vec::new(), Vec::<(Instant, Try, bool)>::new(), Vec::new());
        for _ in 0..500 {
            while let Some(action) = chain.poll_action() {
                match action {
                    Action::Start(tried) => {
                        prop_assert!(ends.is_empty() && !asked.contains(&tried), "asked twice, or after the end");
                        let fate = fates[asked.len() % fates.len()];
                        asked.push(tried);
                        if let Some(answers) = fate.answers {
                            running.push((now + Duration::from_millis(fate.after_ms), tried, answers));
                        }
                    }
                    Action::Cancel(tried) => running.retain(|(_, other, _)| *other != tried),
                    end => ends.push(end),
                }
            }
            running.sort_by_key(|(at, ..)| *at);
            let due = running.first().copied();
            let timer = chain.poll_timeout();
            match (due, timer) {
                (None, None) => break,
                (Some((at, tried, answers)), timer) if timer.is_none_or(|timer| at <= timer) => {
                    running.remove(0);
                    now = now.max(at);
                    if answers { chain.answered(tried) } else { chain.failed(now, tried, "no".into()) }
                }
                (_, Some(timer)) => {
                    now = now.max(timer);
                    chain.handle_timeout(now);
                }
                (Some(_), None) => unreachable!("guarded above"),
            }
        }
        prop_assert_eq!(ends.len(), 1);
        // Four servers of TRY_MAX each would hang one after the other at worst; they are staggered.
        prop_assert!(now - begun <= 5 * STEP_STAGGER + 5 * 4 * TRY_STAGGER + TRY_MAX);
        match &ends[0] {
            Action::Take(tried) => prop_assert!(asked.contains(tried)),
            Action::Fail(failures) => {
                let named: Vec<_> = failures.iter().map(|failure| failure.source).collect();
                let all: Vec<_> = steps.iter().map(|(source, _)| *source).collect();
                prop_assert_eq!(named, all);
                prop_assert!(failures.iter().all(|failure| !failure.reason.is_empty()));
                prop_assert_eq!(asked.len(), steps.iter().map(|(_, servers)| servers).sum::<usize>());
            }
            other => prop_assert!(false, "{:?}", other),
        }
    }
}
