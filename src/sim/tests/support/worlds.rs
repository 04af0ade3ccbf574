//! Runs worlds of one kind, many or one, and says how to run one again.

use std::cell::Cell;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, Once};
use std::time::{Duration, Instant};

use nearport_sim::{Outcome, Proof, Tls, Totals, World};

/// Threads that run seeds. Worlds share nothing, so this changes no run.
const THREADS: usize = 2;

/// A few failures tell as much as all of them.
const FAILURES_MAX: usize = 5;

/// A debug assertion of quinn-proto 0.11.19 (`pto_time_and_space`) that a server reaches when a client changes its
/// address while nothing is in flight on the new path. Release builds do not have it; here it costs one connection,
/// as any panic in a step does, and the promise must hold. Every other panic fails the test.
const KNOWN_PANIC: &str = "peer_completed_address_validation";

thread_local! {
    static KNOWN_PANICS: Cell<u64> = const { Cell::new(0) };
}

fn count_known_panics() {
    static COUNTING: Once = Once::new();
    COUNTING.call_once(|| {
        let report = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            let known = info.payload_as_str().is_some_and(|words| words.contains(KNOWN_PANIC));
            match known {
                true => KNOWN_PANICS.with(|count| count.set(count.get() + 1)),
                false => report(info),
            }
        }));
    });
}

/// A number that the environment asks for.
fn number(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name}={text} is not a number")))
}

/// A kind of worlds.
pub(crate) struct Worlds {
    /// Makes one of them.
    pub(crate) make: fn(u64, &Tls, bool) -> World,
    /// Variable with the seed of one that is to be run alone.
    pub(crate) one: &'static str,
    /// The test that runs them.
    pub(crate) test: &'static str,
    /// Worlds that prove nothing (see `checker::Judgement`) may be this many in a hundred.
    pub(crate) nothing_percent_max: u64,
}

/// What many worlds came to.
#[derive(Default)]
pub(crate) struct Sum {
    pub(crate) totals: Totals,
    pub(crate) seeds: u64,
    proved_nothing: u64,
    simulated: Duration,
    slowest_rest: Duration,
    failures: Vec<String>,
}

impl Worlds {
    /// Runs so many seeds from 0 up, or as many as `NEARPORT_SEEDS` says; fails with those that broke the promise. `None`: one seed was
    /// asked for, and what happened in it is printed.
    pub(crate) fn run(&self, seeds: u64) -> Option<Sum> {
        let tls = Tls::new();
        count_known_panics();
        if let Some(seed) = number(self.one) {
            let (outcome, verdict) = self.run_one(seed, &tls, true);
            println!("{}", outcome.trace.join("\n"));
            println!("{}\n{}\nrest after {:?}", outcome.totals, outcome.summary, outcome.rest);
            if let Err(why) = verdict {
                panic!("{why}");
            }
            return None;
        }
        let seeds = number("NEARPORT_SEEDS").unwrap_or(seeds);
        let (next, stop, sum) = (AtomicU64::new(0), AtomicBool::new(false), Mutex::new(Sum::default()));
        let begun = Instant::now();
        std::thread::scope(|scope| {
            for _ in 0..THREADS {
                scope.spawn(|| {
                    while !stop.load(Ordering::Relaxed) {
                        let seed = next.fetch_add(1, Ordering::Relaxed);
                        if seed >= seeds {
                            break;
                        }
                        let (outcome, verdict) = self.run_one(seed, &tls, false);
                        let mut sum = sum.lock().expect("no panic while it is held");
                        sum.add(&outcome, verdict);
                        if sum.failures.len() >= FAILURES_MAX {
                            stop.store(true, Ordering::Relaxed);
                        }
                    }
                });
            }
        });
        let sum = sum.into_inner().expect("no panic while it was held");
        sum.print(begun.elapsed());
        assert!(sum.failures.is_empty(), "{}", sum.failures.join("\n"));
        let nothing = sum.proved_nothing;
        assert!(nothing * 100 <= seeds * self.nothing_percent_max, "{nothing} worlds proved nothing");
        Some(sum)
    }

    /// Runs a seed. `Err` holds the reason and the command that runs it again.
    fn run_one(&self, seed: u64, tls: &Tls, keep_trace: bool) -> (Outcome, Result<Proof, String>) {
        KNOWN_PANICS.with(|count| count.set(0));
        let outcome = (self.make)(seed, tls, keep_trace).run();
        let verdict = match outcome.totals.panics - KNOWN_PANICS.with(Cell::get) {
            0 => outcome.verdict(),
            panics => Err(format!("{panics} steps of a shard panicked")),
        };
        let verdict = verdict.map_err(|why| {
            let Self { one, test, .. } = self;
            let again = format!("{one}={seed} cargo test -p nearport-sim --test {test} -- --nocapture");
            format!("seed {seed}: {why}\n  again: {again}\n")
        });
        (outcome, verdict)
    }

    /// Chance comes from the seed alone: not from the randomness of TLS, not from hash maps, not from the wall clock.
    pub(crate) fn run_twice(&self, seeds: std::ops::Range<u64>) {
        let tls = Tls::new();
        for seed in seeds {
            let [first, second] = [(); 2].map(|()| (self.make)(seed, &tls, true).run());
            let differs = first.trace.iter().zip(&second.trace).find(|(a, b)| a != b);
            assert_eq!(differs, None, "seed {seed}");
            assert_eq!(first.trace_hash, second.trace_hash, "seed {seed}");
            assert_eq!(first.summary, second.summary, "seed {seed}");
        }
    }
}

impl Sum {
    fn add(&mut self, outcome: &Outcome, verdict: Result<Proof, String>) {
        self.seeds += 1;
        self.simulated += outcome.simulated;
        self.totals.add(&outcome.totals);
        if let Ok(rest) = outcome.rest {
            self.slowest_rest = self.slowest_rest.max(rest);
        }
        match verdict {
            Ok(Proof::Kept) => {}
            Ok(Proof::Nothing(_)) => self.proved_nothing += 1,
            Err(why) => self.failures.push(why),
        }
    }

    fn print(&self, real: Duration) {
        println!(
            "{} seeds ({} proved nothing) in {:.1} s for {:.0} s of virtual time (ratio {:.0}); slowest rest {:.1} s\n{}",
            self.seeds,
            self.proved_nothing,
            real.as_secs_f64(),
            self.simulated.as_secs_f64(),
            self.simulated.as_secs_f64() / real.as_secs_f64(),
            self.slowest_rest.as_secs_f64(),
            self.totals,
        );
    }

    /// A fault that never happens is a fault that is not tested.
    pub(crate) fn had(&self, kinds: &[&str], least: u64) {
        let few = |kind: &&&str| self.totals.faults.get(**kind).is_none_or(|count| *count < least);
        let missing: Vec<_> = kinds.iter().filter(few).collect();
        assert!(missing.is_empty(), "few faults of kinds {missing:?}");
    }
}
