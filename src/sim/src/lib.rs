//! Worlds by seed: whole shards, the chat backend and SDK clients in one thread, with a virtual clock, a bad network
//! and a disk that forgets, judged by the words of the promise.
//!
//! Everything that decides is production code: `edge::shard::Shard` with its QUIC endpoint, `chat`'s front and writer,
//! the SDK's core. The simulator owns what is around it: time ([`agenda`]), chance ([`rng`]), the [`network`], the disk
//! (`store`'s ledger in memory), and when which thread runs.
//!
//! ```text
//!            sends, reads                                    steers, turns
//!   plan ──────────────► Device ×3..6 ──► network ──► Shard ×2 ──► queues ──► Front, Writer ──► ledger
//!     │                  (Core, QUIC) ◄── loss, delay ◄──┘ ◄───── downs ◄────┘     └── write … sync ──┘
//!     └── faults: paths, cuts, moves, restarts, crashes between write and sync, full and slow disks
//!                               │
//!                            history ──► checker: lost? unexpected? duplicated? reordered? gap?
//! ```
//!
//! A seed is a world: [`World::new`], then [`World::run`]. The same seed gives the same run, datagram by datagram
//! ([`Outcome::trace_hash`]). The [`history`] and the [`checker`] know nothing of simulation; tests of real processes
//! use them too.

pub mod agenda;
pub mod checker;
mod device;
pub mod history;
pub mod network;
mod node;
mod plan;
mod quic;
pub mod tls;
mod trace;
mod world;

pub use nearport_impair::rng;
pub use tls::Tls;
pub use world::{HEAL_MAX, Outcome, Proof, Totals, World};
