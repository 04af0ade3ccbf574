//! Callbacks: the back ends of Apps hear what happened, and are asked before it does.
//!
//! Two ways lead out, both over [`sender`]:
//!
//! - **After** something happened: [`service`] reads the outbox of the ledger, App by App, and tells each back end what is in it. Which
//!   entry may go when is decided by the pure [`queue`]: one of each key at a time, in order; a bounded number at once; again after a
//!   pause that grows; nothing but a probe while the target is down. What was told leaves the outbox, what is given up goes to its dead.
//! - **Before** something happens: [`ask`] asks, within two seconds for everything, and takes what is configured if no good answer comes;
//!   at once, but for a probe now and then, while the target gives none.
//!
//! When a target is held for down, the pure [`breaker`] says for both.
//! [`render`] says what a request looks like, [`verdict`] what an answer means, [`nearport_chat::callback::guard`] where nothing is sent to.

pub mod ask;
pub mod breaker;
mod dice;
mod metrics;
mod questions;
pub mod queue;
pub mod render;
pub mod sender;
pub mod service;
pub mod target;
pub mod verdict;

pub use service::{Service, Start};
pub use target::{Target, Targets};
