//! Groups and live rooms by seed: joining and leaving, edits, recalls and confirmations under the faults of `seeds`, messages of users to
//! each other that are edited, and the account of a room that is louder than its rate. See `nearport_sim` for what is in a world and
//! `checker` for what is judged.
//!
//! `NEARPORT_SEEDS=n` runs `n` seeds of each; `NEARPORT_GROUP_SEED=x` and `NEARPORT_ROOM_SEED=x` run one and print what happened. Bugs
//! planted in production code end red:
//!
//! ```text
//! RUSTFLAGS='--cfg nearport_bug="group_gap"' cargo test -p nearport-sim --test groups
//! RUSTFLAGS='--cfg nearport_bug="room_fold"' cargo test -p nearport-sim --test groups
//! ```

use nearport_sim::World;
use worlds::Worlds;

#[path = "support/worlds.rs"]
mod worlds;

/// Of each kind in a plain `cargo test`.
const SEEDS: u64 = 60;

const GROUPS: Worlds =
    Worlds { make: World::in_group, one: "NEARPORT_GROUP_SEED", test: "groups", nothing_percent_max: 10 };
/// A room that the faults keep its people out of proves nothing.
const ROOMS: Worlds =
    Worlds { make: World::in_room, one: "NEARPORT_ROOM_SEED", test: "groups", nothing_percent_max: 10 };

#[test]
fn the_promise_is_kept_in_groups() {
    let Some(sum) = GROUPS.run(SEEDS) else { return };
    if sum.seeds >= SEEDS {
        sum.had(&["crash", "cut", "device restart", "device wiped", "hand-over"], 5);
    }
}

#[test]
fn live_rooms_account_for_everything() {
    let Some(sum) = ROOMS.run(SEEDS) else { return };
    if sum.seeds >= SEEDS {
        sum.had(&["crash", "cut", "device restart", "hand-over"], 5);
    }
}

#[test]
fn the_same_seed_gives_the_same_run_in_groups_and_rooms() {
    GROUPS.run_twice(0..3);
    ROOMS.run_twice(0..3);
}
