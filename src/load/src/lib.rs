//! The load tool: many clients against one server, and a report of what came of it.
//!
//! It is made from the SDK, so it measures what applications get: reconnects, retries and exactly-once display
//! included. Only the many who read along in a live room are leaner (`crowd`), or the tool would cost more than the
//! server. It keeps books of its own about every message and so checks the promise of the system while it measures:
//! nothing acknowledged is lost, nothing is shown twice, nothing overtakes.
//!
//! - [`Scenario::Connect`]: logins per second.
//! - [`Scenario::Idle`]: memory per session.
//! - [`Scenario::Echo`]: the edge alone.
//! - [`Scenario::Chat`]: durable messages between pairs of users.
//! - [`Scenario::Weak`]: the same on a bad network.
//! - [`Scenario::Roam`]: the same while addresses change.
//! - [`Scenario::Storm`]: the same while the server dies and comes back.
//! - [`Scenario::Live`]: a live room of any size, and users in pairs beside it.
//! - [`Scenario::Locate`]: the addressing service over HTTP.
//!
//! # Open loop
//!
//! Messages are due at times that are fixed before the run, at the asked rate, whether or not the server keeps up. Latency
//! counts from the time at which a message was due. A stalled server shows up with the full length of its stall in
//! every message that was due meanwhile; a closed loop would send less and call that fast (coordinated omission).
//!
//! # One thread
//!
//! All clients run on one thread, unless [`Options::threads`] says more, with a second one that keeps the time: server
//! and load tool often share a small machine, and a load tool that spreads over all cores measures itself. `send_lag_ms`
//! in the report says when that thread was the bottleneck. The readers of a live room have threads of their own, at a
//! lower priority.

use std::sync::Arc;

use tokio::task::JoinSet;

mod clock;
mod crowd;
mod error;
mod fleet;
mod latency;
mod open_loop;
mod ops;
mod options;
mod pacer;
mod payload;
mod process;
mod progress;
mod relay;
mod report;
mod scenario;
mod schedule;
mod stop;
mod tally;
mod timeline;

pub use error::Error;
pub use latency::Quantiles;
pub use nearport_impair::Spec;
pub use options::{Credentials, LiveClass, Options, Pattern, RebindBy, Scenario, Transport, Tuned};
pub use progress::Progress;
pub use relay::{Relay, RelayCounts};
pub use report::{Connect, ErrorCounts, LiveRoom, Located, Report, Roam, Server, Storm};
pub use timeline::{ByTransport, Slot};

/// Runs a scenario to its end and reports. Blocks the calling thread and runs its own runtime on it, or on [`Options::threads`] of its own:
/// from async code call it on a blocking thread.
///
/// Ctrl-C ends the sending early and the report covers what was; a second Ctrl-C ends the waiting for messages
/// that are still missing, which are then reported as such.
///
/// # Errors
/// [`Error`], if there is nothing to report. A server that loses messages, or dies half-way, is a report, not an
/// error: look at [`Report::is_clean`].
pub fn run(options: &Options, credentials: Credentials, progress: &Progress) -> Result<Report, Error> {
    options.check()?;
    // A crowd has its threads apart.
    let threads = if options.has_crowd(&credentials) { 1 } else { options.threads };
    let mut builder = match threads {
        1 => tokio::runtime::Builder::new_current_thread(),
        _ => tokio::runtime::Builder::new_multi_thread(),
    };
    let runtime = builder.worker_threads(threads).enable_all().build().map_err(Error::Start)?;
    let result = runtime.block_on(async {
        let mut tasks = JoinSet::new();
        let stop = stop::Stop::on_ctrl_c(&mut tasks);
        scenario::run(options, Arc::new(credentials), progress, stop).await
    });
    progress.finish();
    result
}
