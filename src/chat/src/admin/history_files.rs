//! Files of what was said in an hour.

use super::Admin;
use crate::directory::DirectoryError;
use crate::history::{HOUR_MS, HistoryKey, HistoryRow, KEPT_HOURS};
use crate::key::{AppId, Talk};
use crate::reply::Failure;

/// Something went wrong here.
const INTERNAL: u32 = 1003;
/// It is not made yet, or nothing was said.
const NONE: u32 = 1004;
/// It is not kept any more.
const EXPIRED: u32 = 1005;

/// A file and where it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HistoryFile {
    /// What is known of it.
    pub row: HistoryRow,
    /// Where it is downloaded from.
    pub url: String,
    /// Until when that is good, Unix seconds.
    pub ends_s: u64,
}

impl Admin {
    /// The file of an hour, counted from the Unix epoch. Blocks for a look into the store.
    ///
    /// # Errors
    /// 1003, 1004, 1005.
    pub fn history_file(&self, app: AppId, talk: Talk, hour: u64) -> Result<HistoryFile, Failure> {
        let now_ms = self.now_ms();
        let ends_ms = hour.saturating_add(1 + KEPT_HOURS).saturating_mul(HOUR_MS);
        if now_ms >= ends_ms {
            return Err(expired());
        }
        let key = HistoryKey { app, talk, hour };
        let mut row = None;
        self.shared
            .directory
            .read_people(&mut |tx| {
                row = tx.history(&key)?;
                Ok(())
            })
            .map_err(|error| failure(&error))?;
        let row = row.filter(|row| row.done_ms > 0 && !row.media.is_empty());
        let row = row.ok_or_else(|| {
            Failure::new(NONE, "nothing was said in that hour, or its file is not made yet")
        })?;
        let store = self.shared.media.get();
        let store = store.ok_or_else(|| Failure::new(INTERNAL, "this server keeps no files"))?;
        let (url, ends_s) = store.url_of(app, &row.media, ends_ms / 1000, now_ms).ok_or_else(expired)?;
        Ok(HistoryFile { row, url, ends_s })
    }
}

fn failure(error: &DirectoryError) -> Failure {
    tracing::error!(%error, "cannot look a history file up");
    Failure::later(INTERNAL, "history files cannot be looked up, try again", 1000)
}

fn expired() -> Failure {
    Failure::new(EXPIRED, "the file is not kept any more")
}
