//! Rows of history files.

use nearport_chat::directory::DirectoryError;
use nearport_chat::directory::history::{HistoryKey, HistoryRow, HistoryTx};
use nearport_chat::key::{AppId, Talk};

use super::people::{PeopleRows, bound};
use super::{Row, params};

/// The number that stands for it in a row.
fn number(talk: Talk) -> i64 {
    match talk {
        Talk::Pairs => 1,
        Talk::Groups => 2,
    }
}

fn talk(number: i64) -> Result<Talk, DirectoryError> {
    match number {
        1 => Ok(Talk::Pairs),
        2 => Ok(Talk::Groups),
        _ => Err(DirectoryError::Engine(format!("a history file is of kind {number}"))),
    }
}

impl HistoryTx for PeopleRows<'_> {
    fn history(&mut self, key: &HistoryKey) -> Result<Option<HistoryRow>, DirectoryError> {
        let rows = self.0.query(
            "SELECT media, started_ms, done_ms, messages, bytes, md5, gzip_bytes, gzip_md5 FROM history_files
             WHERE app_id = $1 AND talk = $2 AND hour = $3",
            &params![key.app.0, number(key.talk), key.hour],
        )?;
        let history = |row: &Row| {
            Ok(HistoryRow {
                media: row.text(0)?.to_owned(),
                started_ms: row.int(1)?,
                done_ms: row.int(2)?,
                messages: row.int(3)?,
                bytes: row.int(4)?,
                md5: row.text(5)?.to_owned(),
                gzip_bytes: row.int(6)?,
                gzip_md5: row.text(7)?.to_owned(),
            })
        };
        rows.first().map(history).transpose()
    }

    fn put_history(&mut self, key: &HistoryKey, row: &HistoryRow) -> Result<(), DirectoryError> {
        let HistoryRow { media, started_ms, done_ms, messages, bytes, md5, gzip_bytes, gzip_md5 } = row;
        self.0.execute(
            "INSERT INTO history_files (app_id, talk, hour, media, started_ms, done_ms, messages, bytes, md5, gzip_bytes,
                                        gzip_md5)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)
             ON CONFLICT (app_id, talk, hour) DO UPDATE
             SET media = $4, started_ms = $5, done_ms = $6, messages = $7, bytes = $8, md5 = $9, gzip_bytes = $10,
                 gzip_md5 = $11",
            &params![
                key.app.0,
                number(key.talk),
                key.hour,
                media,
                started_ms,
                done_ms,
                messages,
                bytes,
                md5,
                gzip_bytes,
                gzip_md5
            ],
        )?;
        Ok(())
    }

    fn next_history(&mut self, app: AppId, talk: Talk, stale_ms: u64) -> Result<Option<u64>, DirectoryError> {
        let rows = self.0.query(
            "SELECT MIN(CASE WHEN done_ms = 0 AND started_ms < $3 THEN hour END), MAX(hour) FROM history_files
             WHERE app_id = $1 AND talk = $2",
            &params![app.0, number(talk), bound(stale_ms)],
        )?;
        let Some(row) = rows.first() else { return Ok(None) };
        let newest: Option<u64> = row.opt_int(1)?;
        Ok(row.opt_int(0)?.or_else(|| newest.map(|hour| hour.saturating_add(1))))
    }

    fn old_history(&mut self, hour: u64, limit: u32) -> Result<Vec<(HistoryKey, String)>, DirectoryError> {
        let rows = self.0.query(
            "SELECT app_id, talk, hour, media FROM history_files WHERE hour < $1
             ORDER BY hour, app_id, talk LIMIT $2",
            &params![bound(hour), limit],
        )?;
        let old = |row: &Row| {
            let key = HistoryKey { app: AppId(row.int(0)?), talk: talk(row.int(1)?)?, hour: row.int(2)? };
            Ok((key, row.text(3)?.to_owned()))
        };
        rows.iter().map(old).collect()
    }

    fn remove_history(&mut self, key: &HistoryKey) -> Result<(), DirectoryError> {
        self.0.execute(
            "DELETE FROM history_files WHERE app_id = $1 AND talk = $2 AND hour = $3",
            &params![key.app.0, number(key.talk), key.hour],
        )?;
        Ok(())
    }
}
