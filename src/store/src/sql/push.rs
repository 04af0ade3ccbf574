//! Tags and attributes of users.

use nearport_chat::directory::DirectoryError;
use nearport_chat::directory::push::{Attrs, PushTx};
use nearport_chat::key::{AppId, UserKey};

use super::people::{PeopleRows, names};
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
        let rows =
            self.0.query("SELECT slot, name FROM attr_names WHERE app_id = $1 ORDER BY slot", &params![app.0])?;
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
        let rows =
            params_each(attrs, |(user, slot)| Ok(params![user.app().0, user.name(), slot].into()))?;
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
}
