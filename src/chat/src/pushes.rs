//! Pushes to all members of an App.
//!
//! A push is one row of the directory. [`Courier`] goes through the accounts in the order of their names, a page after the other: each page is
//! **one** message in the ledger, in a conversation of the App that nobody reads ([`ConvKey::pushes`]), and one entry in the log of each
//! user of the page. So a device gets it like any message, at its place in the log and once, and no history, no unread count and no
//! conversation list has it.
//!
//! The end of a page is written down before the page is sent, and its idempotency key follows from where it begins: whoever goes on after a
//! crash sends the same page, and the ledger finds that it stands already. Between two pages the courier rests, so that users
//! get pushes at a bounded rate and what they write waits for one page at most.
//!
//! [`ConvKey::pushes`]: crate::key::ConvKey::pushes

pub(crate) mod condition;
mod courier;

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::task::Wake;
use std::time::Duration;

pub use courier::Courier;

/// Longest life of a push, seconds: seven days, of the public contract. As long its `MsgRandom` names it.
pub const LIFE_TIME_MAX_S: u32 = 7 * 86_400;

/// Limits of pushes; all but the last of each App.
#[derive(Debug, Clone, PartialEq, Eq, serde::Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// There are pushes (90045).
    pub enabled: bool,
    /// Pushes in a day, UTC (90047); 100, of the public contract.
    pub per_day: u32,
    /// The least time between two, seconds (90024); 1, of the public contract.
    pub interval_s: u64,
    /// Pushes that are under way or wait for that (60018). Each has a row with its message.
    pub waiting_max: u32,
    /// Users that get messages in a second, of all Apps. At 5,000 a million have theirs after 200 s; the more, the less
    /// of the writer's time is left to others.
    pub accounts_per_s: u32,
}

impl Default for Config {
    fn default() -> Self {
        Self { enabled: false, per_day: 100, interval_s: 1, waiting_max: 16, accounts_per_s: 5_000 }
    }
}

/// Wakes the courier.
#[derive(Debug, Default)]
pub(crate) struct Pushes {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    nudged: bool,
    ended: bool,
}

impl Pushes {
    /// There is something to look at.
    pub(crate) fn nudge(&self) {
        self.lock().nudged = true;
        self.changed.notify_all();
    }

    /// Ends who waits.
    pub(crate) fn end(&self) {
        self.lock().ended = true;
        self.changed.notify_all();
    }

    /// Waits for so long, or until it is nudged. `false`: nothing comes any more.
    pub(crate) fn wait(&self, most: Duration) -> bool {
        let idle = |state: &mut State| !state.nudged && !state.ended;
        let waited = self.changed.wait_timeout_while(self.lock(), most, idle);
        let (mut state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        state.nudged = false;
        !state.ended
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What was sent is on disk, or not.
impl Wake for Pushes {
    fn wake(self: Arc<Self>) {
        self.nudge();
    }
}
