//! Many worlds, each from one number. See `nearport_sim` for what is in a world and what is judged.
//!
//! | variable | meaning |
//! | --- | --- |
//! | `NEARPORT_SEEDS=n` | run `n` seeds instead of [`SEEDS`] |
//! | `NEARPORT_SEED=x` | run this seed only, and print its event log and its history |
//!
//! A failure prints the command that runs its seed again. That the judgement can fail is shown by bugs planted in
//! production code; each of these commands ends red:
//!
//! ```text
//! RUSTFLAGS='--cfg nearport_bug="ack_before_commit"' cargo test -p nearport-sim --test seeds
//! RUSTFLAGS='--cfg nearport_bug="skip_dedup"' cargo test -p nearport-sim --test seeds
//! ```

use std::cell::Cell;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use nearport_sim::{Outcome, Proof, Tls, Totals, World};

/// Seeds of a plain `cargo test`, always the same ones: from 0 up.
const SEEDS: u64 = 600;

/// Threads that run seeds. Worlds share nothing, so this changes no run.
const THREADS: usize = 2;

/// Worlds that prove nothing (see `checker::Judgement`) may be this many in a hundred.
const NOTHING_PERCENT_MAX: u64 = 5;

/// A debug assertion of quinn-proto 0.11.19 (`pto_time_and_space`) that a server reaches when a client changes its
/// address while nothing is in flight on the new path. Release builds do not have it; here it costs one connection,
/// as any panic in a step does, and the promise must hold. Every other panic fails the test.
const KNOWN_PANIC: &str = "peer_completed_address_validation";

thread_local! {
    static KNOWN_PANICS: Cell<u64> = const { Cell::new(0) };
}

fn count_known_panics() {
    let report = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        let known = info.payload_as_str().is_some_and(|words| words.contains(KNOWN_PANIC));
        match known {
            true => KNOWN_PANICS.with(|count| count.set(count.get() + 1)),
            false => report(info),
        }
    }));
}

/// Runs a seed. `Err` holds the reason and the command that runs it again.
fn run(seed: u64, tls: &Tls, keep_trace: bool) -> (Outcome, Result<Proof, String>) {
    KNOWN_PANICS.with(|count| count.set(0));
    let outcome = World::new(seed, tls, keep_trace).run();
    let verdict = match outcome.totals.panics - KNOWN_PANICS.with(Cell::get) {
        0 => outcome.verdict(),
        panics => Err(format!("{panics} steps of a shard panicked")),
    };
    let verdict = verdict.map_err(|why| {
        let again = format!("NEARPORT_SEED={seed} cargo test -p nearport-sim --test seeds -- --nocapture");
        format!("seed {seed}: {why}\n  again: {again}\n")
    });
    (outcome, verdict)
}

#[derive(Default)]
struct Sum {
    totals: Totals,
    seeds: u64,
    proved_nothing: u64,
    simulated: Duration,
    slowest_rest: Duration,
    failures: Vec<String>,
}

fn number(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name}={text} is not a number")))
}

#[test]
fn the_promise_is_kept_in_every_world() {
    let tls = Tls::new();
    count_known_panics();
    if let Some(seed) = number("NEARPORT_SEED") {
        let (outcome, verdict) = run(seed, &tls, true);
        println!("{}", outcome.trace.join("\n"));
        println!("{}\n{}\nrest after {:?}", outcome.totals, outcome.summary, outcome.rest);
        if let Err(why) = verdict {
            panic!("{why}");
        }
        return;
    }
    let seeds = number("NEARPORT_SEEDS").unwrap_or(SEEDS);
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
                    let (outcome, verdict) = run(seed, &tls, false);
                    let mut sum = sum.lock().unwrap();
                    sum.add(&outcome, verdict);
                    // A few failures tell as much as all of them.
                    if sum.failures.len() >= 5 {
                        stop.store(true, Ordering::Relaxed);
                    }
                }
            });
        }
    });
    let sum = sum.into_inner().unwrap();
    let real = begun.elapsed();
    println!(
        "{} seeds ({} proved nothing) in {:.1} s for {:.0} s of virtual time (ratio {:.0}); slowest rest {:.1} s\n{}",
        sum.seeds,
        sum.proved_nothing,
        real.as_secs_f64(),
        sum.simulated.as_secs_f64(),
        sum.simulated.as_secs_f64() / real.as_secs_f64(),
        sum.slowest_rest.as_secs_f64(),
        sum.totals,
    );
    assert!(sum.failures.is_empty(), "{}", sum.failures.join("\n"));
    assert!(
        sum.proved_nothing * 100 <= seeds * NOTHING_PERCENT_MAX,
        "{} worlds proved nothing",
        sum.proved_nothing
    );
    // A fault that never happens is a fault that is not tested.
    if seeds >= SEEDS {
        for kind in [
            "crash",
            "cut",
            "device restart",
            "device wiped",
            "disk full",
            "hand-over",
            "move",
            "path",
            "rotation",
            "slow disk",
        ] {
            assert!(
                sum.totals.faults.get(kind).is_some_and(|count| *count >= 20),
                "few faults of kind {kind}"
            );
        }
        let Totals { retries, busy, pushes_dropped, failed_commits, .. } = sum.totals;
        assert!(retries.min(busy).min(pushes_dropped).min(failed_commits) > 0, "a bound was never reached");
        let Totals { resumed, tokens_refused, .. } = sum.totals;
        assert!(resumed.min(tokens_refused) > 0, "{resumed} tokens taken, {tokens_refused} refused");
    }
}

/// Chance comes from the seed alone: not from the randomness of TLS, not from hash maps, not from the wall clock.
#[test]
fn the_same_seed_gives_the_same_run_datagram_by_datagram() {
    let tls = Tls::new();
    for seed in 0..12 {
        let first = World::new(seed, &tls, true).run();
        let second = World::new(seed, &tls, true).run();
        let differs = first.trace.iter().zip(&second.trace).find(|(a, b)| a != b);
        assert_eq!(differs, None, "seed {seed}");
        assert_eq!(first.trace_hash, second.trace_hash, "seed {seed}");
        assert_eq!(first.summary, second.summary, "seed {seed}");
    }
    let (one, other) = (World::new(1, &tls, false).run(), World::new(2, &tls, false).run());
    assert_ne!(one.trace_hash, other.trace_hash, "another seed is another run");
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
}
