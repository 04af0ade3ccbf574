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

use nearport_sim::{Tls, Totals, World};
use worlds::Worlds;

#[path = "support/worlds.rs"]
mod worlds;

/// Seeds of a plain `cargo test`, always the same ones: from 0 up.
const SEEDS: u64 = 600;

const WORLDS: Worlds =
    Worlds { make: World::new, one: "NEARPORT_SEED", test: "seeds", nothing_percent_max: 5 };

#[test]
fn the_promise_is_kept_in_every_world() {
    let Some(sum) = WORLDS.run(SEEDS) else { return };
    if sum.seeds < SEEDS {
        return;
    }
    sum.had(
        &["crash", "cut", "device restart", "device wiped", "disk full", "hand-over", "move", "path"],
        20,
    );
    sum.had(&["rotation", "slow disk"], 20);
    let Totals { retries, busy, pushes_dropped, failed_commits, .. } = sum.totals;
    assert!(retries.min(busy).min(pushes_dropped).min(failed_commits) > 0, "a bound was never reached");
    let Totals { resumed, tokens_refused, .. } = sum.totals;
    assert!(resumed.min(tokens_refused) > 0, "{resumed} tokens taken, {tokens_refused} refused");
}

#[test]
fn the_same_seed_gives_the_same_run_datagram_by_datagram() {
    WORLDS.run_twice(0..12);
    let tls = Tls::new();
    let (one, other) = (World::new(1, &tls, false).run(), World::new(2, &tls, false).run());
    assert_ne!(one.trace_hash, other.trace_hash, "another seed is another run");
}
