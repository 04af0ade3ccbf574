//! Profiles, relations and phones. The conversation list is in [`super::conversations`].

use nearport_chat::directory::DirectoryError;
use nearport_chat::directory::people::{
    ApplicationRow, FieldValue, Follows, FriendRow, PeopleStore, PeopleTx, PeopleWork, PhoneRow, RelationHead,
};
use nearport_chat::key::UserKey;

use super::{Engine, Row, SqlDirectory, Tx, Value, params};

/// Rows of people in one transaction.
pub(super) struct PeopleRows<'a>(pub(super) &'a mut dyn Tx);

impl<E: Engine> PeopleStore for SqlDirectory<E> {
    fn read_people(&self, work: &mut PeopleWork<'_>) -> Result<(), DirectoryError> {
        self.read(|tx| work(&mut PeopleRows(tx)))
    }

    fn write_people(&self, work: &mut PeopleWork<'_>) -> Result<(), DirectoryError> {
        self.write(|tx| work(&mut PeopleRows(tx)))
    }
}

/// `kind`, `number`, `text`, `data`.
fn columns(value: &FieldValue) -> Result<[Value; 4], DirectoryError> {
    let null = Value::Null;
    Ok(match value {
        FieldValue::Number(number) => params![0i64, number, null, null],
        FieldValue::Text(text) => params![1i64, null, text, null],
        FieldValue::Data(data) => params![2i64, null, null, data],
    })
}

/// A tag and its value, from the column after `at`.
fn field(row: &Row) -> Result<(String, FieldValue), DirectoryError> {
    let value = match row.int::<i64>(1)? {
        0 => FieldValue::Number(row.int(2)?),
        1 => FieldValue::Text(row.text(3)?.to_owned()),
        2 => FieldValue::Data(row.blob(4)?.to_vec().into()),
        kind => return Err(DirectoryError::Engine(format!("a field is of kind {kind}"))),
    };
    Ok((row.text(0)?.to_owned(), value))
}

/// A friend, from column `at`.
fn friend(row: &Row, at: usize) -> Result<FriendRow, DirectoryError> {
    Ok(FriendRow {
        added_s: row.int(at)?,
        source: row.text(at + 1)?.to_owned(),
        wording: row.text(at + 2)?.to_owned(),
        remark: row.text(at + 3)?.to_owned(),
        remark_s: row.int(at + 4)?,
    })
}

/// A name, then an application.
fn application(row: &Row) -> Result<(String, ApplicationRow), DirectoryError> {
    let application = ApplicationRow {
        id: row.int(1)?,
        sent_id: row.int(2)?,
        time_s: row.int(3)?,
        source: row.text(4)?.to_owned(),
        wording: row.text(5)?.to_owned(),
        remark: row.text(6)?.to_owned(),
        group: row.text(7)?.to_owned(),
        single: row.flag(8)?,
    };
    Ok((row.text(0)?.to_owned(), application))
}

/// A position that no row reaches, for readers who ask without a bound.
pub(super) fn bound(position: u64) -> i64 {
    i64::try_from(position).unwrap_or(i64::MAX)
}

pub(super) fn names(rows: &[Row]) -> Result<Vec<String>, DirectoryError> {
    rows.iter().map(|row| row.text(0).map(str::to_owned)).collect()
}

impl PeopleTx for PeopleRows<'_> {
    fn profile(&mut self, user: &UserKey) -> Result<Vec<(String, FieldValue)>, DirectoryError> {
        let rows = self.0.query(
            "SELECT tag, kind, number, text, data FROM profile_fields
             WHERE app_id = $1 AND user_name = $2 ORDER BY tag",
            &params![user.app().0, user.name()],
        )?;
        rows.iter().map(field).collect()
    }

    fn set_profile(&mut self, user: &UserKey, tag: &str, value: &FieldValue) -> Result<(), DirectoryError> {
        let [kind, number, text, data] = columns(value)?;
        self.0.execute(
            "INSERT INTO profile_fields (app_id, user_name, tag, kind, number, text, data)
             VALUES ($1, $2, $3, $4, $5, $6, $7)
             ON CONFLICT (app_id, user_name, tag) DO UPDATE SET kind = $4, number = $5, text = $6, data = $7",
            &params![user.app().0, user.name(), tag, kind, number, text, data],
        )?;
        Ok(())
    }

    fn relation_head(&mut self, user: &UserKey) -> Result<RelationHead, DirectoryError> {
        let rows = self.0.query(
            "SELECT friends, standard_seq, custom_seq, blocks, blocks_seq, groups_seq, applications_seq,
                    applications_read
             FROM relation_heads WHERE app_id = $1 AND user_name = $2",
            &params![user.app().0, user.name()],
        )?;
        let Some(row) = rows.first() else { return Ok(RelationHead::default()) };
        Ok(RelationHead {
            friends: row.int(0)?,
            standard_seq: row.int(1)?,
            custom_seq: row.int(2)?,
            blocks: row.int(3)?,
            blocks_seq: row.int(4)?,
            groups_seq: row.int(5)?,
            applications_seq: row.int(6)?,
            applications_read: row.int(7)?,
        })
    }

    fn lock_relations(&mut self, user: &UserKey) -> Result<RelationHead, DirectoryError> {
        // Writes are serializable: what is read stays as it is until the end.
        self.relation_head(user)
    }

    fn set_relation_head(&mut self, user: &UserKey, head: &RelationHead) -> Result<(), DirectoryError> {
        self.0.execute(
            "INSERT INTO relation_heads (app_id, user_name, friends, standard_seq, custom_seq, blocks, blocks_seq,
                                         groups_seq, applications_seq, applications_read)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)
             ON CONFLICT (app_id, user_name) DO UPDATE SET
                 friends = $3, standard_seq = $4, custom_seq = $5, blocks = $6, blocks_seq = $7, groups_seq = $8,
                 applications_seq = $9, applications_read = $10",
            &params![
                user.app().0,
                user.name(),
                head.friends,
                head.standard_seq,
                head.custom_seq,
                head.blocks,
                head.blocks_seq,
                head.groups_seq,
                head.applications_seq,
                head.applications_read
            ],
        )?;
        Ok(())
    }

    fn friend(&mut self, user: &UserKey, name: &str) -> Result<Option<FriendRow>, DirectoryError> {
        let rows = self.0.query(
            "SELECT added_s, source, wording, remark, remark_s FROM friends
             WHERE app_id = $1 AND user_name = $2 AND friend_name = $3",
            &params![user.app().0, user.name(), name],
        )?;
        rows.first().map(|row| friend(row, 0)).transpose()
    }

    fn put_friend(&mut self, user: &UserKey, name: &str, row: &FriendRow) -> Result<(), DirectoryError> {
        self.0.execute(
            "INSERT INTO friends (app_id, user_name, friend_name, added_s, source, wording, remark, remark_s)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
             ON CONFLICT (app_id, user_name, friend_name) DO UPDATE SET
                 added_s = $4, source = $5, wording = $6, remark = $7, remark_s = $8",
            &params![
                user.app().0,
                user.name(),
                name,
                row.added_s,
                row.source,
                row.wording,
                row.remark,
                row.remark_s
            ],
        )?;
        Ok(())
    }

    fn delete_friend(&mut self, user: &UserKey, name: &str) -> Result<bool, DirectoryError> {
        let key = params![user.app().0, user.name(), name];
        self.0.execute(
            "DELETE FROM friend_fields WHERE app_id = $1 AND user_name = $2 AND friend_name = $3",
            &key,
        )?;
        self.0.execute(
            "DELETE FROM friend_group_members WHERE app_id = $1 AND user_name = $2 AND friend_name = $3",
            &key,
        )?;
        let gone = self
            .0
            .execute("DELETE FROM friends WHERE app_id = $1 AND user_name = $2 AND friend_name = $3", &key)?;
        Ok(gone > 0)
    }

    fn friends(
        &mut self,
        user: &UserKey,
        start: u32,
        limit: u32,
    ) -> Result<Vec<(String, FriendRow)>, DirectoryError> {
        let rows = self.0.query(
            "SELECT friend_name, added_s, source, wording, remark, remark_s FROM friends
             WHERE app_id = $1 AND user_name = $2 ORDER BY friend_name LIMIT $3 OFFSET $4",
            &params![user.app().0, user.name(), limit, start],
        )?;
        rows.iter().map(|row| Ok((row.text(0)?.to_owned(), friend(row, 1)?))).collect()
    }

    fn friend_fields(
        &mut self,
        user: &UserKey,
        name: &str,
    ) -> Result<Vec<(String, FieldValue)>, DirectoryError> {
        let rows = self.0.query(
            "SELECT tag, kind, number, text, data FROM friend_fields
             WHERE app_id = $1 AND user_name = $2 AND friend_name = $3 ORDER BY tag",
            &params![user.app().0, user.name(), name],
        )?;
        rows.iter().map(field).collect()
    }

    fn set_friend_field(
        &mut self,
        user: &UserKey,
        name: &str,
        tag: &str,
        value: &FieldValue,
    ) -> Result<(), DirectoryError> {
        let [kind, number, text, data] = columns(value)?;
        self.0.execute(
            "INSERT INTO friend_fields (app_id, user_name, friend_name, tag, kind, number, text, data)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
             ON CONFLICT (app_id, user_name, friend_name, tag)
             DO UPDATE SET kind = $5, number = $6, text = $7, data = $8",
            &params![user.app().0, user.name(), name, tag, kind, number, text, data],
        )?;
        Ok(())
    }

    fn friend_groups(&mut self, user: &UserKey) -> Result<Vec<String>, DirectoryError> {
        let rows = self.0.query(
            "SELECT group_name FROM friend_groups WHERE app_id = $1 AND user_name = $2 ORDER BY group_name",
            &params![user.app().0, user.name()],
        )?;
        names(&rows)
    }

    fn add_friend_group(&mut self, user: &UserKey, name: &str) -> Result<bool, DirectoryError> {
        let added = self.0.execute(
            "INSERT INTO friend_groups (app_id, user_name, group_name) VALUES ($1, $2, $3)
             ON CONFLICT (app_id, user_name, group_name) DO NOTHING",
            &params![user.app().0, user.name(), name],
        )?;
        Ok(added > 0)
    }

    fn delete_friend_group(&mut self, user: &UserKey, name: &str) -> Result<bool, DirectoryError> {
        let key = params![user.app().0, user.name(), name];
        self.0.execute(
            "DELETE FROM friend_group_members WHERE app_id = $1 AND user_name = $2 AND group_name = $3",
            &key,
        )?;
        let gone = self.0.execute(
            "DELETE FROM friend_groups WHERE app_id = $1 AND user_name = $2 AND group_name = $3",
            &key,
        )?;
        Ok(gone > 0)
    }

    fn friend_group_members(&mut self, user: &UserKey, name: &str) -> Result<Vec<String>, DirectoryError> {
        let rows = self.0.query(
            "SELECT friend_name FROM friend_group_members
             WHERE app_id = $1 AND user_name = $2 AND group_name = $3 ORDER BY friend_name",
            &params![user.app().0, user.name(), name],
        )?;
        names(&rows)
    }

    fn groups_of_friend(&mut self, user: &UserKey, name: &str) -> Result<Vec<String>, DirectoryError> {
        let rows = self.0.query(
            "SELECT group_name FROM friend_group_members
             WHERE app_id = $1 AND user_name = $2 AND friend_name = $3 ORDER BY group_name",
            &params![user.app().0, user.name(), name],
        )?;
        names(&rows)
    }

    fn set_group_member(
        &mut self,
        user: &UserKey,
        group: &str,
        name: &str,
        member: bool,
    ) -> Result<bool, DirectoryError> {
        let key = params![user.app().0, user.name(), group, name];
        let changed = match member {
            true => self.0.execute(
                "INSERT INTO friend_group_members (app_id, user_name, group_name, friend_name)
                 VALUES ($1, $2, $3, $4)
                 ON CONFLICT (app_id, user_name, group_name, friend_name) DO NOTHING",
                &key,
            )?,
            false => self.0.execute(
                "DELETE FROM friend_group_members
                 WHERE app_id = $1 AND user_name = $2 AND group_name = $3 AND friend_name = $4",
                &key,
            )?,
        };
        Ok(changed > 0)
    }

    fn block(&mut self, user: &UserKey, other: &str) -> Result<Option<u64>, DirectoryError> {
        let rows = self.0.query(
            "SELECT added_s FROM blocked_users WHERE app_id = $1 AND user_name = $2 AND blocked_name = $3",
            &params![user.app().0, user.name(), other],
        )?;
        rows.first().map(|row| row.int(0)).transpose()
    }

    fn add_block(&mut self, user: &UserKey, other: &str, added_s: u64) -> Result<bool, DirectoryError> {
        let added = self.0.execute(
            "INSERT INTO blocked_users (app_id, user_name, blocked_name, added_s) VALUES ($1, $2, $3, $4)
             ON CONFLICT (app_id, user_name, blocked_name) DO NOTHING",
            &params![user.app().0, user.name(), other, added_s],
        )?;
        Ok(added > 0)
    }

    fn delete_block(&mut self, user: &UserKey, other: &str) -> Result<bool, DirectoryError> {
        let gone = self.0.execute(
            "DELETE FROM blocked_users WHERE app_id = $1 AND user_name = $2 AND blocked_name = $3",
            &params![user.app().0, user.name(), other],
        )?;
        Ok(gone > 0)
    }

    fn blocks(
        &mut self,
        user: &UserKey,
        start: u32,
        limit: u32,
    ) -> Result<Vec<(String, u64)>, DirectoryError> {
        let rows = self.0.query(
            "SELECT blocked_name, added_s FROM blocked_users
             WHERE app_id = $1 AND user_name = $2 ORDER BY blocked_name LIMIT $3 OFFSET $4",
            &params![user.app().0, user.name(), limit, start],
        )?;
        rows.iter().map(|row| Ok((row.text(0)?.to_owned(), row.int(1)?))).collect()
    }

    fn application(
        &mut self,
        receiver: &UserKey,
        sender: &str,
    ) -> Result<Option<ApplicationRow>, DirectoryError> {
        let rows = self.0.query(
            "SELECT sender_name, id, sent_id, time_s, source, wording, remark, group_name, single
             FROM friend_applications WHERE app_id = $1 AND receiver_name = $2 AND sender_name = $3",
            &params![receiver.app().0, receiver.name(), sender],
        )?;
        rows.first().map(|row| application(row).map(|(_, row)| row)).transpose()
    }

    fn put_application(
        &mut self,
        receiver: &UserKey,
        sender: &str,
        row: &ApplicationRow,
    ) -> Result<(), DirectoryError> {
        self.0.execute(
            "INSERT INTO friend_applications (app_id, receiver_name, sender_name, id, sent_id, time_s, source,
                                              wording, remark, group_name, single)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)
             ON CONFLICT (app_id, receiver_name, sender_name) DO UPDATE SET
                 id = $4, sent_id = $5, time_s = $6, source = $7, wording = $8, remark = $9, group_name = $10,
                 single = $11",
            &params![
                receiver.app().0,
                receiver.name(),
                sender,
                row.id,
                row.sent_id,
                row.time_s,
                row.source,
                row.wording,
                row.remark,
                row.group,
                row.single
            ],
        )?;
        Ok(())
    }

    fn delete_application(&mut self, receiver: &UserKey, sender: &str) -> Result<bool, DirectoryError> {
        let gone = self.0.execute(
            "DELETE FROM friend_applications WHERE app_id = $1 AND receiver_name = $2 AND sender_name = $3",
            &params![receiver.app().0, receiver.name(), sender],
        )?;
        Ok(gone > 0)
    }

    fn applications(
        &mut self,
        receiver: &UserKey,
        before: u64,
        limit: u32,
    ) -> Result<Vec<(String, ApplicationRow)>, DirectoryError> {
        let rows = self.0.query(
            "SELECT sender_name, id, sent_id, time_s, source, wording, remark, group_name, single
             FROM friend_applications WHERE app_id = $1 AND receiver_name = $2 AND id < $3
             ORDER BY id DESC LIMIT $4",
            &params![receiver.app().0, receiver.name(), bound(before), limit],
        )?;
        rows.iter().map(application).collect()
    }

    fn sent_applications(
        &mut self,
        sender: &UserKey,
        before: u64,
        limit: u32,
    ) -> Result<Vec<(String, ApplicationRow)>, DirectoryError> {
        let rows = self.0.query(
            "SELECT receiver_name, id, sent_id, time_s, source, wording, remark, group_name, single
             FROM friend_applications WHERE app_id = $1 AND sender_name = $2 AND sent_id < $3
             ORDER BY sent_id DESC LIMIT $4",
            &params![sender.app().0, sender.name(), bound(before), limit],
        )?;
        rows.iter().map(application).collect()
    }

    fn count_applications(&mut self, receiver: &UserKey, read: u64) -> Result<(u32, u32), DirectoryError> {
        let rows = self.0.query(
            "SELECT COUNT(*), COUNT(CASE WHEN id > $3 THEN 1 END) FROM friend_applications
             WHERE app_id = $1 AND receiver_name = $2",
            &params![receiver.app().0, receiver.name(), bound(read)],
        )?;
        let row = rows.first().ok_or_else(|| DirectoryError::Engine("a count has no row".to_owned()))?;
        Ok((row.int(0)?, row.int(1)?))
    }

    fn follow(&mut self, user: &UserKey, other: &str) -> Result<Option<u64>, DirectoryError> {
        let rows = self.0.query(
            "SELECT added_s FROM follows WHERE app_id = $1 AND user_name = $2 AND followed_name = $3",
            &params![user.app().0, user.name(), other],
        )?;
        rows.first().map(|row| row.int(0)).transpose()
    }

    fn add_follow(&mut self, user: &UserKey, other: &str, added_s: u64) -> Result<bool, DirectoryError> {
        let added = self.0.execute(
            "INSERT INTO follows (app_id, user_name, followed_name, added_s) VALUES ($1, $2, $3, $4)
             ON CONFLICT (app_id, user_name, followed_name) DO NOTHING",
            &params![user.app().0, user.name(), other, added_s],
        )?;
        Ok(added > 0)
    }

    fn delete_follow(&mut self, user: &UserKey, other: &str) -> Result<bool, DirectoryError> {
        let gone = self.0.execute(
            "DELETE FROM follows WHERE app_id = $1 AND user_name = $2 AND followed_name = $3",
            &params![user.app().0, user.name(), other],
        )?;
        Ok(gone > 0)
    }

    fn follows(
        &mut self,
        user: &UserKey,
        which: Follows,
        after: &str,
        limit: u32,
    ) -> Result<Vec<(String, u64)>, DirectoryError> {
        let sql = match which {
            Follows::Followers => {
                "SELECT user_name, added_s FROM follows
                 WHERE app_id = $1 AND followed_name = $2 AND user_name > $3 ORDER BY user_name LIMIT $4"
            }
            Follows::Following => {
                "SELECT followed_name, added_s FROM follows
                 WHERE app_id = $1 AND user_name = $2 AND followed_name > $3 ORDER BY followed_name LIMIT $4"
            }
            Follows::Mutual => {
                "SELECT f.followed_name, f.added_s FROM follows f
                 JOIN follows b ON b.app_id = f.app_id AND b.user_name = f.followed_name
                     AND b.followed_name = f.user_name
                 WHERE f.app_id = $1 AND f.user_name = $2 AND f.followed_name > $3
                 ORDER BY f.followed_name LIMIT $4"
            }
        };
        let rows = self.0.query(sql, &params![user.app().0, user.name(), after, limit])?;
        rows.iter().map(|row| Ok((row.text(0)?.to_owned(), row.int(1)?))).collect()
    }

    fn count_follows(&mut self, user: &UserKey, which: Follows) -> Result<u64, DirectoryError> {
        let sql = match which {
            Follows::Followers => "SELECT COUNT(*) FROM follows WHERE app_id = $1 AND followed_name = $2",
            Follows::Following => "SELECT COUNT(*) FROM follows WHERE app_id = $1 AND user_name = $2",
            Follows::Mutual => {
                "SELECT COUNT(*) FROM follows f
                 JOIN follows b ON b.app_id = f.app_id AND b.user_name = f.followed_name
                     AND b.followed_name = f.user_name
                 WHERE f.app_id = $1 AND f.user_name = $2"
            }
        };
        let rows = self.0.query(sql, &params![user.app().0, user.name()])?;
        rows.first().ok_or_else(|| DirectoryError::Engine("a count has no row".to_owned()))?.int(0)
    }

    fn related(&mut self, user: &UserKey, limit: u32) -> Result<Vec<String>, DirectoryError> {
        let rows = self.0.query(
            // Each by its index, and no more rows of one than of all: somebody may have a million followers.
            "SELECT name FROM (SELECT friend_name AS name FROM friends
                 WHERE app_id = $1 AND user_name = $2 ORDER BY friend_name LIMIT $3) a0
             UNION SELECT name FROM (SELECT user_name AS name FROM friends
                 WHERE app_id = $1 AND friend_name = $2 ORDER BY user_name LIMIT $3) a1
             UNION SELECT name FROM (SELECT blocked_name AS name FROM blocked_users
                 WHERE app_id = $1 AND user_name = $2 ORDER BY blocked_name LIMIT $3) a2
             UNION SELECT name FROM (SELECT user_name AS name FROM blocked_users
                 WHERE app_id = $1 AND blocked_name = $2 ORDER BY user_name LIMIT $3) a3
             UNION SELECT sender_name FROM friend_applications WHERE app_id = $1 AND receiver_name = $2
             UNION SELECT receiver_name FROM friend_applications WHERE app_id = $1 AND sender_name = $2
             UNION SELECT name FROM (SELECT followed_name AS name FROM follows
                 WHERE app_id = $1 AND user_name = $2 ORDER BY followed_name LIMIT $3) a4
             UNION SELECT name FROM (SELECT user_name AS name FROM follows
                 WHERE app_id = $1 AND followed_name = $2 ORDER BY user_name LIMIT $3) a5
             ORDER BY 1 LIMIT $3",
            &params![user.app().0, user.name(), limit],
        )?;
        names(&rows)
    }

    fn erase(&mut self, user: &UserKey) -> Result<(), DirectoryError> {
        let key = params![user.app().0, user.name()];
        for sql in [
            "DELETE FROM profile_fields WHERE app_id = $1 AND user_name = $2",
            "DELETE FROM friend_group_members WHERE app_id = $1 AND user_name = $2",
            "DELETE FROM friend_groups WHERE app_id = $1 AND user_name = $2",
            "DELETE FROM phones WHERE app_id = $1 AND user_name = $2",
            "DELETE FROM conversation_group_members WHERE app_id = $1 AND user_name = $2",
            "DELETE FROM conversation_groups WHERE app_id = $1 AND user_name = $2",
            "DELETE FROM conversation_settings WHERE app_id = $1 AND user_name = $2",
            "DELETE FROM user_attrs WHERE app_id = $1 AND user_name = $2",
            "DELETE FROM user_tags WHERE app_id = $1 AND user_name = $2",
        ] {
            self.0.execute(sql, &key)?;
        }
        Ok(())
    }

    fn phones(&mut self, user: &UserKey) -> Result<Vec<PhoneRow>, DirectoryError> {
        let rows = self.0.query(
            "SELECT platform, epoch, seen_s FROM phones WHERE app_id = $1 AND user_name = $2 ORDER BY platform",
            &params![user.app().0, user.name()],
        )?;
        let phone =
            |row: &Row| Ok(PhoneRow { platform: row.int(0)?, epoch: row.int(1)?, seen_s: row.int(2)? });
        rows.iter().map(phone).collect()
    }

    fn put_phone(&mut self, user: &UserKey, row: &PhoneRow) -> Result<(), DirectoryError> {
        // Two cores may say it out of order: the later moment stays.
        self.0.execute(
            "INSERT INTO phones (app_id, user_name, platform, epoch, seen_s) VALUES ($1, $2, $3, $4, $5)
             ON CONFLICT (app_id, user_name, platform) DO UPDATE SET epoch = $4, seen_s = $5
             WHERE phones.seen_s <= $5",
            &params![user.app().0, user.name(), row.platform, row.epoch, row.seen_s],
        )?;
        Ok(())
    }

    fn delete_phone(&mut self, user: &UserKey, platform: u32) -> Result<(), DirectoryError> {
        self.0.execute(
            "DELETE FROM phones WHERE app_id = $1 AND user_name = $2 AND platform = $3",
            &params![user.app().0, user.name(), platform],
        )?;
        Ok(())
    }
}
