//! What is older than it is to be kept goes, slowly.
//!
//! A thread of its own takes one bounded step of [`Ledger::trim`] after the other and rests ten times as long as each took,
//! so that trimming costs a tenth of a core at most and a commit waits for one step at most. A pass over everything begins
//! some minutes after the last one ended. Where it is does not survive a restart: the floors do, so a new pass comes quickly
//! to what is left.

use std::sync::Arc;
use std::time::{Duration, Instant};

use metrics::{Unit, counter, describe_counter, describe_histogram, histogram};

use crate::Clock;
use crate::key::ConvKey;
use crate::ledger::{Ledger, LedgerError, TrimBudget, TrimPlace, Trimmed};
use crate::resting::Resting;

const DAY_MS: u64 = 24 * 60 * 60 * 1000;

/// Nothing that is pushed to all members lives longer: seven days, of the public contract.
const PUSHES_DAYS: u32 = 7;

/// How long messages are kept, and how they are removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retention {
    /// Days for which messages of pairs, and what the system tells users, are kept; 0: for ever.
    pub days: u32,
    /// The same of groups.
    pub group_days: u32,
    /// Bounds of one step.
    pub budget: TrimBudget,
    /// From the end of a pass to the next one: a message may become so much older than it is kept.
    pub pause: Duration,
}

impl Default for Retention {
    /// Seven days, as the public contract has it. A step of 512 messages holds commits up for some milliseconds.
    fn default() -> Self {
        Self {
            days: 7,
            group_days: 7,
            budget: TrimBudget { rows: 2048, time: Duration::from_millis(20) },
            pause: Duration::from_mins(10),
        }
    }
}

impl Retention {
    /// Messages of `conv` that are older than this may go.
    #[must_use]
    pub fn cutoff_ms(&self, conv: &ConvKey, now_ms: u64) -> u64 {
        let days = match self.days {
            0 if conv.is_pushes() => PUSHES_DAYS,
            days if conv.is_pushes() => days.min(PUSHES_DAYS),
            _ if conv.is_group() => self.group_days,
            days => days,
        };
        match days {
            0 => 0,
            days => now_ms.saturating_sub(u64::from(days) * DAY_MS),
        }
    }

    /// One step from `place`, which moves on; at the end it is back at the start.
    ///
    /// # Errors
    /// As [`Ledger::trim`]; the place stays.
    pub fn step(
        &self,
        ledger: &dyn Ledger,
        now_ms: u64,
        place: &mut TrimPlace,
    ) -> Result<Trimmed, LedgerError> {
        let done = ledger.trim(&|conv| self.cutoff_ms(conv, now_ms), place, self.budget)?;
        *place = done.next.clone().unwrap_or_default();
        Ok(done)
    }
}

/// How many times as long as a step the thread rests after it.
const REST: u32 = 10;

/// The thread. Dropping it ends it, after the step that it is at.
#[derive(Debug)]
pub struct Trimmer(#[expect(dead_code, reason = "held for its end")] Option<Resting>);

impl Trimmer {
    /// Starts it; nothing runs if everything is kept for ever.
    ///
    /// # Errors
    /// If the system has no thread.
    pub fn start(ledger: Arc<dyn Ledger>, clock: Clock, retention: Retention) -> std::io::Result<Self> {
        describe_counter!(
            "nearport_trim_passes_total",
            Unit::Count,
            "passes over all conversations for what is too old"
        );
        describe_counter!(
            "nearport_trim_messages_total",
            Unit::Count,
            "messages removed because of their age"
        );
        describe_counter!("nearport_trim_failures_total", Unit::Count, "steps of a pass that failed");
        describe_histogram!("nearport_trim_step_seconds", Unit::Seconds, "one step of a pass");
        if retention.days == 0 && retention.group_days == 0 {
            return Ok(Self(None));
        }
        let mut place = TrimPlace::default();
        Resting::start("trimmer", REST, move || step(&*ledger, &clock, retention, &mut place))
            .map(|it| Self(Some(it)))
    }
}

/// One step, and how long to rest at least.
fn step(ledger: &dyn Ledger, clock: &Clock, retention: Retention, place: &mut TrimPlace) -> Duration {
    let started = Instant::now();
    match retention.step(ledger, clock(), place) {
        Ok(done) => {
            histogram!("nearport_trim_step_seconds").record(started.elapsed());
            counter!("nearport_trim_messages_total").increment(done.messages);
            if done.next.is_some() {
                return Duration::ZERO;
            }
            counter!("nearport_trim_passes_total").increment(1);
        }
        Err(error) => {
            counter!("nearport_trim_failures_total").increment(1);
            tracing::warn!(%error, "cannot remove old messages; tried again later");
        }
    }
    retention.pause
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key::{AppId, UserKey};

    #[test]
    fn pairs_and_groups_have_ages_of_their_own_and_0_keeps() {
        let user = |name| UserKey::new(AppId(1), name).unwrap();
        let pair = ConvKey::pair(&user("a"), &user("b"));
        let group = ConvKey::group(AppId(1), "g").unwrap();
        let retention = Retention { days: 2, group_days: 3, ..Retention::default() };
        assert_eq!(retention.cutoff_ms(&pair, 10 * DAY_MS), 8 * DAY_MS);
        assert_eq!(retention.cutoff_ms(&ConvKey::notices(&user("a")), 10 * DAY_MS), 8 * DAY_MS);
        assert_eq!(retention.cutoff_ms(&group, 10 * DAY_MS), 7 * DAY_MS);
        assert_eq!(retention.cutoff_ms(&group, DAY_MS), 0, "before there was anything");
        for (days, pushes) in [(0, 7), (1, 1), (7, 7), (8, 7)] {
            let retention = Retention { days, ..retention };
            assert_eq!(retention.cutoff_ms(&ConvKey::pushes(AppId(1)), 10 * DAY_MS), (10 - pushes) * DAY_MS);
        }
        let kept = Retention { group_days: 0, ..retention };
        assert_eq!(kept.cutoff_ms(&group, 10 * DAY_MS), 0);
    }
}
