//! The numbers of days.

use std::collections::BTreeMap;

use nearport_chat::directory::numbers::{DayNumbers, NumbersBatch, ONLINE_MINUTES, WRITER_DAYS};
use nearport_chat::directory::{DirectoryError, NumberStore};
use nearport_chat::key::AppId;
use nearport_chat::numbers::day_of;

use super::MemoryDirectory;

#[derive(Debug, Default)]
pub(super) struct Tables {
    days: BTreeMap<(AppId, u32), DayNumbers>,
    online: BTreeMap<(AppId, u64), u64>,
    /// Newest batch and its day.
    writers: BTreeMap<[u8; 16], (u64, u32)>,
}

impl Tables {
    fn day(&mut self, app: AppId, day: u32) -> &mut DayNumbers {
        self.days.entry((app, day)).or_insert_with(|| DayNumbers::none(day))
    }
}

impl NumberStore for MemoryDirectory {
    fn add_numbers(&self, batch: &NumbersBatch) -> Result<(), DirectoryError> {
        let tables = &mut self.tables().numbers;
        if tables.writers.get(&batch.writer).is_some_and(|(newest, _)| *newest >= batch.number) {
            return Ok(());
        }
        tables.writers.insert(batch.writer, (batch.number, batch.day));
        for add in &batch.adds {
            let day = tables.day(add.app, add.day);
            add.counts.iter().for_each(|(count, n)| day.counts[*count as usize] += n);
            for (crowd, more) in &add.crowds {
                day.crowds[*crowd as usize].merge(more);
            }
            day.online_most = day.online_most.max(add.online_most);
        }
        for (app, minute, users) in &batch.online {
            let sum = tables.online.entry((*app, *minute)).or_default();
            *sum += users;
            let sum = *sum;
            let day = tables.day(*app, day_of(minute * 60_000));
            day.online_most = day.online_most.max(sum);
        }
        if let Some(newest) = batch.online.iter().map(|(_, minute, _)| *minute).max() {
            tables.online.retain(|(_, minute), _| *minute >= newest.saturating_sub(ONLINE_MINUTES));
        }
        if let Some(before) = batch.forget_before {
            tables.days.retain(|(_, day), _| *day >= before);
            tables.writers.retain(|_, (_, day)| *day >= batch.day.saturating_sub(WRITER_DAYS));
        }
        Ok(())
    }

    fn numbers(&self, app: AppId, from: u32, to: u32) -> Result<Vec<DayNumbers>, DirectoryError> {
        let tables = &self.tables().numbers;
        Ok(tables.days.range((app, from)..=(app, to)).map(|(_, day)| day.clone()).collect())
    }

    fn accounts_made_before(&self, app: AppId, times_ms: &[u64]) -> Result<Vec<u64>, DirectoryError> {
        let made = self.tables().accounts.made(app);
        let before = |time: &u64| made.iter().filter(|made| *made < time).count() as u64;
        Ok(times_ms.iter().map(before).collect())
    }
}
