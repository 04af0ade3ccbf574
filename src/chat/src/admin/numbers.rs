//! What has happened in an App in the last days.

use super::Admin;
use crate::directory::numbers::DayNumbers;
use crate::directory::{Counted, DirectoryError};
use crate::key::AppId;
use crate::numbers::{Count, Crowd, DAY_MS, Sketch, day_of};
use crate::reply::Failure;

/// Days that are shown.
const DAYS_SHOWN: u32 = 30;

/// The store cannot be opened, is not there, does not answer, or answers what makes no sense; of the public contract.
const NOT_OPEN: u32 = 130009;
const NOT_THERE: u32 = 130010;
const NO_ANSWER: u32 = 130011;
const NO_SENSE: u32 = 130012;

/// An App and its days.
#[derive(Debug, Clone)]
pub struct AppNumbers {
    /// Its name.
    pub name: String,
    /// The oldest first; the last one is today.
    pub days: Vec<AppDay>,
}

/// One day of an App.
#[derive(Debug, Clone)]
pub struct AppDay {
    /// Days since the Unix epoch.
    pub day: u32,
    /// Accounts that were made on it and that there are.
    pub registered: u64,
    /// Accounts that there are and that were made until its end.
    pub registered_total: u64,
    /// Groups at its end.
    pub groups: u64,
    numbers: DayNumbers,
}

impl AppDay {
    /// How often it happened.
    #[must_use]
    pub fn count(&self, what: Count) -> u64 {
        self.numbers.counts[what as usize]
    }

    /// How many there were.
    #[must_use]
    pub fn crowd(&self, crowd: Crowd) -> u64 {
        self.numbers.crowds[crowd as usize].count()
    }

    /// How many users have sent, to users or to groups.
    #[must_use]
    pub fn senders(&self) -> u64 {
        let mut senders: Sketch = self.numbers.crowds[Crowd::PairSenders as usize].clone();
        senders.merge(&self.numbers.crowds[Crowd::GroupSenders as usize]);
        senders.count()
    }

    /// The most users online at once.
    #[must_use]
    pub fn online_most(&self) -> u64 {
        self.numbers.online_most
    }
}

impl Admin {
    /// The last 30 days of an App, with what this process has counted up to now. Blocks for some looks into the store.
    ///
    /// # Errors
    /// 130009 to 130012.
    pub fn app_numbers(&self, app: AppId) -> Result<AppNumbers, Failure> {
        let now_ms = self.now_ms();
        self.shared.write_numbers(now_ms).map_err(|error| failure(&error))?;
        self.read_numbers(app, day_of(now_ms)).map_err(|error| failure(&error))
    }

    fn read_numbers(&self, app: AppId, today: u32) -> Result<AppNumbers, DirectoryError> {
        let directory = &self.shared.directory;
        let first = today.saturating_sub(DAYS_SHOWN - 1);
        let mut known = directory.numbers(app, first, today)?.into_iter().peekable();
        let days: Vec<_> = (first..=today)
            .map(|day| known.next_if(|known| known.day == day).unwrap_or_else(|| DayNumbers::none(day)))
            .collect();
        let ends = (first..=today + 1).map(|day| u64::from(day) * DAY_MS).collect::<Vec<_>>();
        let accounts = directory.accounts_made_before(app, &ends)?;
        // How many groups there were follows from how many there are and what has become of them since.
        let now = directory.count_groups(app, Counted::default())?;
        let mut groups = Vec::with_capacity(days.len());
        let mut at_end = now;
        for day in days.iter().rev() {
            groups.push(at_end);
            let count = |what: Count| day.counts[what as usize];
            at_end = (at_end + count(Count::GroupsEnded)).saturating_sub(count(Count::GroupsMade));
        }
        groups.reverse();
        let name = directory.apps()?.into_iter().find(|known| known.id == app).map(|app| app.name);
        let days = days.into_iter().zip(groups).zip(accounts.windows(2)).map(|((numbers, groups), made)| {
            let (before, registered_total) = (made[0], made[1]);
            let registered = registered_total.saturating_sub(before);
            AppDay { day: numbers.day, registered, registered_total, groups, numbers }
        });
        Ok(AppNumbers { name: name.unwrap_or_default(), days: days.collect() })
    }
}

fn failure(error: &DirectoryError) -> Failure {
    tracing::error!(%error, "numbers of days cannot be read");
    let code = match error {
        DirectoryError::Full(_) | DirectoryError::Locked(_) => NOT_OPEN,
        DirectoryError::Unavailable(_) => NOT_THERE,
        DirectoryError::Damaged(_) => NO_SENSE,
        _ => NO_ANSWER,
    };
    Failure::later(code, "the numbers cannot be read now, try again", 1000)
}
