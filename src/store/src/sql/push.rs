//! Tags and attributes of users, and pushes to them.

use nearport_chat::directory::DirectoryError;
use nearport_chat::directory::push::{Attrs, PushCounts, PushPlace, PushRow, PushTx};
use nearport_chat::key::{AppId, UserKey};

use super::people::{PeopleRows, bound, names};
use super::{Row, Value, params, params_each};

/// A number and a text each.
fn numbered(rows: &[Row]) -> Result<Attrs, DirectoryError> {
    rows.iter().map(|row| Ok((row.int(0)?, row.text(1)?.to_owned()))).collect()
}

fn keys(users: &[UserKey]) -> Result<Vec<Vec<Value>>, DirectoryError> {
    params_each(users, |user| Ok(params![user.app().0, user.name()].into()))
}

fn tags_of(tags: &[(&UserKey, &str)]) -> Result<Vec<Vec<Value>>, DirectoryError> {
    params_each(tags, |(user, tag)| Ok(params![user.app().0, user.name(), tag].into()))
}

impl PushTx for PeopleRows<'_> {
    fn attr_names(&mut self, app: AppId) -> Result<Attrs, DirectoryError> {
        let rows = self
            .0
            .query("SELECT slot, name FROM attr_names WHERE app_id = $1 ORDER BY slot", &params![app.0])?;
        numbered(&rows)
    }

    fn set_attr_names(&mut self, app: AppId, names: &Attrs) -> Result<(), DirectoryError> {
        let rows = params_each(names, |(slot, name)| Ok(params![app.0, slot, name].into()))?;
        self.0.execute_each(
            "INSERT INTO attr_names (app_id, slot, name) VALUES ($1, $2, $3)
             ON CONFLICT (app_id, slot) DO UPDATE SET name = $3",
            &rows,
        )?;
        Ok(())
    }

    fn attrs(&mut self, users: &[UserKey]) -> Result<Vec<Attrs>, DirectoryError> {
        let found = self.0.query_each(
            "SELECT slot, value FROM user_attrs WHERE app_id = $1 AND user_name = $2 ORDER BY slot",
            &keys(users)?,
        )?;
        found.iter().map(|rows| numbered(rows)).collect()
    }

    fn set_attrs(&mut self, attrs: &[(&UserKey, u8, &str)]) -> Result<(), DirectoryError> {
        let rows = params_each(attrs, |(user, slot, value)| {
            Ok(params![user.app().0, user.name(), slot, value].into())
        })?;
        self.0.execute_each(
            "INSERT INTO user_attrs (app_id, user_name, slot, value) VALUES ($1, $2, $3, $4)
             ON CONFLICT (app_id, user_name, slot) DO UPDATE SET value = $4",
            &rows,
        )?;
        Ok(())
    }

    fn delete_attrs(&mut self, attrs: &[(&UserKey, u8)]) -> Result<(), DirectoryError> {
        let rows = params_each(attrs, |(user, slot)| Ok(params![user.app().0, user.name(), slot].into()))?;
        self.0.execute_each(
            "DELETE FROM user_attrs WHERE app_id = $1 AND user_name = $2 AND slot = $3",
            &rows,
        )?;
        Ok(())
    }

    fn tags(&mut self, users: &[UserKey]) -> Result<Vec<Vec<String>>, DirectoryError> {
        let found = self.0.query_each(
            "SELECT tag FROM user_tags WHERE app_id = $1 AND user_name = $2 ORDER BY tag",
            &keys(users)?,
        )?;
        found.iter().map(|rows| names(rows)).collect()
    }

    fn add_tags(&mut self, tags: &[(&UserKey, &str)]) -> Result<(), DirectoryError> {
        self.0.execute_each(
            "INSERT INTO user_tags (app_id, user_name, tag) VALUES ($1, $2, $3)
             ON CONFLICT (app_id, user_name, tag) DO NOTHING",
            &tags_of(tags)?,
        )?;
        Ok(())
    }

    fn delete_tags(&mut self, tags: &[(&UserKey, &str)]) -> Result<(), DirectoryError> {
        self.0.execute_each(
            "DELETE FROM user_tags WHERE app_id = $1 AND user_name = $2 AND tag = $3",
            &tags_of(tags)?,
        )?;
        Ok(())
    }

    fn clear_tags(&mut self, users: &[UserKey]) -> Result<(), DirectoryError> {
        self.0.execute_each("DELETE FROM user_tags WHERE app_id = $1 AND user_name = $2", &keys(users)?)?;
        Ok(())
    }

    fn push_by_random(
        &mut self,
        app: AppId,
        random: u32,
        since_ms: u64,
    ) -> Result<Option<(u64, u64)>, DirectoryError> {
        let rows = self.0.query(
            "SELECT push, created_ms FROM pushes WHERE app_id = $1 AND random = $2 AND created_ms >= $3
             ORDER BY push DESC LIMIT 1",
            &params![app.0, random, bound(since_ms)],
        )?;
        rows.first().map(|row| Ok((row.int(0)?, row.int(1)?))).transpose()
    }

    fn push_counts(&mut self, app: AppId, since_ms: u64) -> Result<PushCounts, DirectoryError> {
        let rows = self.0.query(
            "SELECT COALESCE(MAX(push), 0), COALESCE(MAX(created_ms), 0),
                    COUNT(CASE WHEN created_ms >= $2 THEN 1 END), COUNT(CASE WHEN done_ms = 0 THEN 1 END)
             FROM pushes WHERE app_id = $1",
            &params![app.0, bound(since_ms)],
        )?;
        let Some(row) = rows.first() else { return Ok(PushCounts::default()) };
        Ok(PushCounts { last: row.int(0)?, last_ms: row.int(1)?, since: row.int(2)?, open: row.int(3)? })
    }

    fn add_push(&mut self, app: AppId, push: &PushRow) -> Result<(), DirectoryError> {
        let PushRow { number, random, created_ms, from, life_time_s, condition, message, place } = push;
        let PushPlace { after, until, sent, done_ms } = place;
        self.0.execute(
            "INSERT INTO pushes (app_id, push, random, created_ms, done_ms, after_name, until_name, sent, from_name,
                                 life_time_s, conditions, message)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)",
            &params![
                app.0, number, random, created_ms, done_ms, after, until, sent, from, life_time_s, condition, message
            ],
        )?;
        Ok(())
    }

    fn trim_pushes(&mut self, app: AppId, before_ms: u64) -> Result<(), DirectoryError> {
        self.0.execute(
            "DELETE FROM pushes WHERE app_id = $1 AND created_ms < $2 AND done_ms > 0",
            &params![app.0, bound(before_ms)],
        )?;
        Ok(())
    }

    fn open_push(&mut self, after: Option<AppId>) -> Result<Option<(AppId, PushRow)>, DirectoryError> {
        // In front of all ids, of which the least is 0.
        let after = after.map_or(-1, |app| i64::from(app.0));
        let rows = self.0.query(
            "SELECT app_id, push, random, created_ms, done_ms, after_name, until_name, sent, from_name, life_time_s,
                    conditions, message
             FROM pushes
             WHERE done_ms = 0 AND app_id > $1
             ORDER BY app_id, push LIMIT 1",
            &params![after],
        )?;
        let push = |row: &Row| {
            let place = PushPlace {
                after: row.text(5)?.to_owned(),
                until: row.text(6)?.to_owned(),
                sent: row.int(7)?,
                done_ms: row.int(4)?,
            };
            let push = PushRow {
                number: row.int(1)?,
                random: row.int(2)?,
                created_ms: row.int(3)?,
                from: row.text(8)?.to_owned(),
                life_time_s: row.int(9)?,
                condition: row.text(10)?.to_owned(),
                message: row.blob(11)?.to_vec().into(),
                place,
            };
            Ok((AppId(row.int(0)?), push))
        };
        rows.first().map(push).transpose()
    }

    fn move_push(
        &mut self,
        app: AppId,
        number: u64,
        from: &PushPlace,
        to: &PushPlace,
    ) -> Result<bool, DirectoryError> {
        let moved = self.0.execute(
            "UPDATE pushes SET after_name = $3, until_name = $4, sent = $5, done_ms = $6
             WHERE app_id = $1 AND push = $2 AND after_name = $7 AND until_name = $8 AND done_ms = $9",
            &params![
                app.0,
                number,
                to.after,
                to.until,
                to.sent,
                to.done_ms,
                from.after,
                from.until,
                from.done_ms
            ],
        )?;
        Ok(moved > 0)
    }
}
