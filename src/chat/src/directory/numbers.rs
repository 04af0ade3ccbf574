//! [`NumberStore`]: the part of the directory that keeps the numbers of days.

use super::DirectoryError;
use crate::key::AppId;
use crate::numbers::{Count, Crowd, Sketch};

/// What a process has counted since it wrote last. Bounded: see [`crate::numbers`].
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NumbersBatch {
    /// The process, by a number that it has drawn.
    pub writer: [u8; 16],
    /// Of its batches, ascending.
    pub number: u64,
    /// Today, in days since the Unix epoch.
    pub day: u32,
    /// What is added.
    pub adds: Vec<NumbersAdd>,
    /// Users online at the beginning of a minute (minutes since the Unix epoch) at this process.
    pub online: Vec<(AppId, u64, u64)>,
    /// Days before this one are forgotten.
    pub forget_before: Option<u32>,
}

/// Of one App and day.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NumbersAdd {
    /// Whose.
    pub app: AppId,
    /// Days since the Unix epoch.
    pub day: u32,
    /// How often it happened.
    pub counts: Vec<(Count, u64)>,
    /// Who; what is known already may be there again.
    pub crowds: Vec<(Crowd, Sketch)>,
    /// The most users online at once at this process.
    pub online_most: u64,
}

/// The numbers of one day.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DayNumbers {
    /// Days since the Unix epoch.
    pub day: u32,
    /// By [`Count`].
    pub counts: [u64; Count::ALL.len()],
    /// By [`Crowd`].
    pub crowds: [Sketch; Crowd::ALL.len()],
    /// The most users online at once: at one process, or at all of them at the beginning of a minute.
    pub online_most: u64,
}

impl DayNumbers {
    /// A day of which nothing is known.
    #[must_use]
    pub fn none(day: u32) -> Self {
        Self { day, counts: Default::default(), crowds: Default::default(), online_most: 0 }
    }
}

/// Minutes for which the users of single processes are kept until they have been added up.
pub const ONLINE_MINUTES: u64 = 10;
/// Days after which the last batch of a process is forgotten: it is not repeated any more.
pub const WRITER_DAYS: u32 = 2;

/// Numbers of days. All methods block.
pub trait NumberStore: Send + Sync + std::fmt::Debug {
    /// Adds a batch in one durable transaction, **once**: one whose writer has added it, or a later one, changes nothing. So a batch
    /// may be repeated after [`DirectoryError::Unavailable`].
    ///
    /// # Errors
    /// [`DirectoryError`] of the engine; then nothing has changed, but for [`DirectoryError::Unavailable`], which does not know.
    fn add_numbers(&self, batch: &NumbersBatch) -> Result<(), DirectoryError>;

    /// The days of an App from `from` to `to` of which something is known, ascending.
    ///
    /// # Errors
    /// [`DirectoryError`] of the engine.
    fn numbers(&self, app: AppId, from: u32, to: u32) -> Result<Vec<DayNumbers>, DirectoryError>;

    /// How many accounts of an App there are that were made before each of `times_ms`, which ascend.
    ///
    /// # Errors
    /// [`DirectoryError`] of the engine.
    fn accounts_made_before(&self, app: AppId, times_ms: &[u64]) -> Result<Vec<u64>, DirectoryError>;
}
