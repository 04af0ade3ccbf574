//! Groups and live rooms by seed: joining and leaving, edits, recalls and confirmations under the faults of `seeds`, and the account of
//! a room that is louder than its rate. See `nearport_sim` for what is in a world and `checker` for what is judged.
//!
//! `NEARPORT_SEEDS=n` runs `n` seeds of each; `NEARPORT_GROUP_SEED=x` and `NEARPORT_ROOM_SEED=x` run one and print what happened. Bugs
//! planted in production code end red:
//!
//! ```text
//! RUSTFLAGS='--cfg nearport_bug="group_gap"' cargo test -p nearport-sim --test groups
//! RUSTFLAGS='--cfg nearport_bug="room_fold"' cargo test -p nearport-sim --test groups
//! ```

use std::time::Instant;

use nearport_sim::{Outcome, Proof, Tls, Totals, World};

/// Of each kind in a plain `cargo test`.
const SEEDS: u64 = 60;

/// As in `seeds`: a debug assertion of quinn-proto that costs a connection.
const KNOWN_PANIC: &str = "peer_completed_address_validation";

type Make = fn(u64, &Tls, bool) -> World;

fn number(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name}={text} is not a number")))
}

fn verdict(outcome: &Outcome, again: &str) -> Result<Proof, String> {
    let seed = outcome.seed;
    outcome.verdict().map_err(|why| {
        format!("seed {seed}: {why}\n  again: {again}={seed} cargo test -p nearport-sim --test groups -- --nocapture\n")
    })
}

/// Runs the worlds of a kind. Panics of a shard's steps other than the known one fail the test by themselves.
fn run(make: Make, again: &str) -> Totals {
    let report = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        if !info.payload_as_str().is_some_and(|words| words.contains(KNOWN_PANIC)) {
            report(info);
        }
    }));
    let tls = Tls::new();
    if let Some(seed) = number(again) {
        let outcome = make(seed, &tls, true).run();
        println!("{}", outcome.trace.join("\n"));
        println!("{}\n{}\nrest after {:?}", outcome.totals, outcome.summary, outcome.rest);
        if let Err(why) = verdict(&outcome, again) {
            panic!("{why}");
        }
        return outcome.totals;
    }
    let (begun, mut totals, mut failures, mut nothing) = (Instant::now(), Totals::default(), Vec::new(), 0);
    let (mut acknowledged, mut shown) = (0, 0);
    let seeds = number("NEARPORT_SEEDS").unwrap_or(SEEDS);
    for seed in 0..seeds {
        let outcome = make(seed, &tls, false).run();
        totals.add(&outcome.totals);
        acknowledged += outcome.summary.acknowledged;
        shown += outcome.summary.shown;
        match verdict(&outcome, again) {
            Ok(Proof::Kept) => {}
            Ok(Proof::Nothing(_)) => nothing += 1,
            Err(why) => failures.push(why),
        }
        if failures.len() >= 3 {
            break;
        }
    }
    let real = begun.elapsed().as_secs_f64();
    println!(
        "{seeds} worlds ({nothing} proved nothing) in {real:.1} s: {acknowledged} acknowledged, {shown} shown\n{totals}"
    );
    assert!(failures.is_empty(), "{}", failures.join("\n"));
    assert!(nothing * 10 <= seeds, "{nothing} worlds proved nothing");
    totals
}

#[test]
fn the_promise_is_kept_in_groups() {
    let totals = run(World::in_group, "NEARPORT_GROUP_SEED");
    if number("NEARPORT_GROUP_SEED").is_none() {
        let few = |kind: &str| totals.faults.get(kind).is_none_or(|count| *count < 5);
        let missing = ["crash", "cut", "device restart", "device wiped", "hand-over"];
        let missing: Vec<_> = missing.into_iter().filter(|kind| few(kind)).collect();
        assert!(missing.is_empty(), "few faults of {missing:?}");
    }
}

#[test]
fn live_rooms_account_for_everything() {
    run(World::in_room, "NEARPORT_ROOM_SEED");
}

#[test]
fn the_same_seed_gives_the_same_run_in_groups_and_rooms() {
    let tls = Tls::new();
    for make in [World::in_group as Make, World::in_room] {
        for seed in 0..3 {
            let (first, second) = (make(seed, &tls, true).run(), make(seed, &tls, true).run());
            let differs = first.trace.iter().zip(&second.trace).find(|(a, b)| a != b);
            assert_eq!(differs, None, "seed {seed}");
            assert_eq!((first.trace_hash, first.summary), (second.trace_hash, second.summary), "seed {seed}");
        }
    }
}
