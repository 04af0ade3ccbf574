//! Rows of history files.

use std::collections::BTreeMap;

use nearport_chat::directory::DirectoryError;
use nearport_chat::directory::history::{HistoryKey, HistoryRow, HistoryTx};
use nearport_chat::key::{AppId, Talk};

#[derive(Debug, Default, Clone)]
pub(super) struct Tables {
    files: BTreeMap<HistoryKey, HistoryRow>,
}

impl Tables {
    /// Rows of an App and one kind of conversation, the earliest first.
    fn of(&self, app: AppId, talk: Talk) -> impl DoubleEndedIterator<Item = (u64, &HistoryRow)> {
        let key = |hour| HistoryKey { app, talk, hour };
        self.files.range(key(0)..=key(u64::MAX)).map(|(key, row)| (key.hour, row))
    }
}

impl HistoryTx for super::people::Tables {
    fn history(&mut self, key: &HistoryKey) -> Result<Option<HistoryRow>, DirectoryError> {
        Ok(self.history.files.get(key).cloned())
    }

    fn put_history(&mut self, key: &HistoryKey, row: &HistoryRow) -> Result<(), DirectoryError> {
        self.history.files.insert(*key, row.clone());
        Ok(())
    }

    fn next_history(&mut self, app: AppId, talk: Talk, stale_ms: u64) -> Result<Option<u64>, DirectoryError> {
        let is_stale = |row: &HistoryRow| row.done_ms == 0 && row.started_ms < stale_ms;
        let stale = self.history.of(app, talk).find(|(_, row)| is_stale(row)).map(|(hour, _)| hour);
        let newest = self.history.of(app, talk).next_back();
        Ok(stale.or_else(|| newest.map(|(hour, _)| hour.saturating_add(1))))
    }

    fn old_history(&mut self, hour: u64, limit: u32) -> Result<Vec<(HistoryKey, String)>, DirectoryError> {
        let old = self.history.files.iter().filter(|(key, _)| key.hour < hour);
        let mut old: Vec<_> = old.map(|(key, row)| (*key, row.media.clone())).collect();
        old.sort_by_key(|(key, _)| (key.hour, *key));
        old.truncate(limit as usize);
        Ok(old)
    }

    fn remove_history(&mut self, key: &HistoryKey) -> Result<(), DirectoryError> {
        self.history.files.remove(key);
        Ok(())
    }
}
