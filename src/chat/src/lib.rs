//! The chat backend: accounts, conversations, the promise.
//!
//! Domain logic over two traits: [`ledger::Ledger`], what is written per message, and
//! [`directory::Directory`], what is looked up and changed rarely.
//!
//! [`service::Chat`] is the shell: a `trunk` backend with eight threads. What three of them do stands in synchronous cores
//! that take a batch and the time, and that a simulator runs without threads; the others keep the time of live rooms
//! ([`shared::Shared::turn_rooms`]), watch the Apps ([`apps::Apps`]) and write the audit log ([`audit::log`]):
//!
//! - [`front::Front`] opens and closes sessions and answers what only reads (SYNC, HISTORY).
//! - [`writer::Writer`] does all that writes messages (SEND, MARK_READ, AMEND, acks, FLUSH). It is the only one that commits.
//! - [`desk::Desk`] does all that changes the directory (GROUP, PEOPLE).
//!
//! What they need is in [`shared::Shared`]: above all the registry of live sessions behind one mutex, which each
//! core locks briefly, a bounded number of times per batch. Rules that hold everywhere:
//!
//! - No answer that promises durability leaves before the commit that makes it true has returned.
//! - What a session gets on its link stands in this order: `Join`, then `Accept` or `Reject`, then at most one
//!   `Kick`. For that these four are pushed to the link's queue while the registry is locked.
//! - No order of output depends on a hash map's order, so the same input gives the same output.

pub mod account;
pub mod actor;
pub mod admin;
pub mod apps;
pub mod audit;
pub mod callback;
pub mod config;
pub mod desk;
pub mod directory;
pub mod downs;
mod error;
pub mod front;
pub mod group;
pub mod history;
pub mod kept;
pub mod key;
mod lately;
pub mod ledger;
pub mod media;
mod metrics;
mod msg_key;
pub mod numbers;
pub mod people;
pub mod posts;
pub mod pushes;
mod registry;
mod reply;
mod resting;
pub mod retention;
mod room;
pub mod service;
pub mod shared;
mod tasks;
mod text;
mod throttle;
pub mod usersig;
pub mod writer;

use std::sync::Arc;

pub use config::{Config, MultiDevice};
pub use error::Error;
pub use reply::Failure;
pub use service::Chat;

/// Milliseconds since the Unix epoch, from wherever the node has its time.
pub type Clock = Arc<dyn Fn() -> u64 + Send + Sync>;
