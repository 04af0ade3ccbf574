//! Groups.

use nearport_chat::directory::events::PendingEvent;
use nearport_chat::directory::{
    Counted, DirectoryError, GroupStore, Joined, JoinedTopic, ListPlace, ListedGroup,
};
use nearport_chat::group::{
    Application, Change, Fields, GroupChange, GroupInfo, GroupRecord, Handled, JoinOption, Member, Penalty,
    Reception, Role, TopicInfo,
};
use nearport_chat::key::{AppId, GroupKey, UserKey};

use super::{Engine, Row, SqlDirectory, Tx, Value, params, params_each};

/// A statement with its parameters.
type Step = (&'static str, Vec<Value>);

const INSERT: &str = "INSERT INTO chat_groups (app_id, id, type, created_ms, first_seq, name, introduction,
        notification, face_url, owner, info_seq, info_ms, members_max, join_option, invite_option, muted_all,
        attributes_version, fields, topics)
     VALUES ($1, $2, $3, $4, $5, '', '', '', '', NULL, 0, 0, 0, 0, 0, 0, 0, $6, 0)";
const UPDATE: &str = "UPDATE chat_groups SET name = $3, introduction = $4, notification = $5, face_url = $6,
        owner = $7, info_seq = $8, info_ms = $9, members_max = $10, join_option = $11, invite_option = $12,
        muted_all = $13, attributes_version = $14, fields = $15, topics = $16
     WHERE app_id = $1 AND id = $2";
const DISMISS: [&str; 8] = [
    "DELETE FROM chat_groups WHERE app_id = $1 AND id = $2",
    "DELETE FROM group_members WHERE app_id = $1 AND group_id = $2",
    "DELETE FROM group_attributes WHERE app_id = $1 AND group_id = $2",
    "DELETE FROM group_counters WHERE app_id = $1 AND group_id = $2",
    "DELETE FROM group_penalties WHERE app_id = $1 AND group_id = $2",
    "DELETE FROM group_applications WHERE app_id = $1 AND group_id = $2",
    "DELETE FROM group_topics WHERE app_id = $1 AND group_id = $2",
    "DELETE FROM group_topic_receptions WHERE app_id = $1 AND group_id = $2",
];
const PUT_MEMBER: &str = "INSERT INTO group_members
        (app_id, group_id, user_name, role, joined_ms, joined_seq, reception, name_card, fields)
     VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)
     ON CONFLICT (app_id, group_id, user_name) DO UPDATE SET role = excluded.role, joined_ms = excluded.joined_ms,
        joined_seq = excluded.joined_seq, reception = excluded.reception, name_card = excluded.name_card,
        fields = excluded.fields";
const REMOVE_MEMBER: &str =
    "DELETE FROM group_members WHERE app_id = $1 AND group_id = $2 AND user_name = $3";
const PUT_ATTRIBUTE: &str =
    "INSERT INTO group_attributes (app_id, group_id, name, value) VALUES ($1, $2, $3, $4)
     ON CONFLICT (app_id, group_id, name) DO UPDATE SET value = excluded.value";
const REMOVE_ATTRIBUTE: &str =
    "DELETE FROM group_attributes WHERE app_id = $1 AND group_id = $2 AND name = $3";
const PUT_COUNTER: &str = "INSERT INTO group_counters (app_id, group_id, name, value) VALUES ($1, $2, $3, $4)
     ON CONFLICT (app_id, group_id, name) DO UPDATE SET value = excluded.value";
const REMOVE_COUNTER: &str = "DELETE FROM group_counters WHERE app_id = $1 AND group_id = $2 AND name = $3";
const PUT_PENALTY: &str = "INSERT INTO group_penalties (app_id, group_id, what, user_name, until_s)
     VALUES ($1, $2, $3, $4, $5)
     ON CONFLICT (app_id, group_id, what, user_name) DO UPDATE SET until_s = excluded.until_s";
const REMOVE_PENALTY: &str =
    "DELETE FROM group_penalties WHERE app_id = $1 AND group_id = $2 AND what = $3 AND user_name = $4";
const PUT_APPLICATION: &str = "INSERT INTO group_applications
        (app_id, group_id, user_name, inviter, consent, time_ms, text, handled_by, agreed, answer)
     VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)
     ON CONFLICT (app_id, group_id, user_name) DO UPDATE SET inviter = excluded.inviter, consent = excluded.consent,
        time_ms = excluded.time_ms, text = excluded.text, handled_by = excluded.handled_by, agreed = excluded.agreed,
        answer = excluded.answer";
const REMOVE_APPLICATION: &str =
    "DELETE FROM group_applications WHERE app_id = $1 AND group_id = $2 AND user_name = $3";
const PUT_TOPIC: &str = "INSERT INTO group_topics (app_id, group_id, topic_id, name, introduction, notification, face_url,
        custom, created_ms, info_seq, muted_all, first_seq)
     VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)
     ON CONFLICT (app_id, group_id, topic_id) DO UPDATE SET name = excluded.name, introduction = excluded.introduction,
        notification = excluded.notification, face_url = excluded.face_url, custom = excluded.custom,
        created_ms = excluded.created_ms, info_seq = excluded.info_seq, muted_all = excluded.muted_all,
        first_seq = excluded.first_seq";
const REMOVE_TOPIC: [&str; 2] = [
    "DELETE FROM group_topics WHERE app_id = $1 AND group_id = $2 AND topic_id = $3",
    "DELETE FROM group_topic_receptions WHERE app_id = $1 AND group_id = $2 AND topic_id = $3",
];
const PUT_RECEPTION: &str =
    "INSERT INTO group_topic_receptions (app_id, group_id, user_name, topic_id, reception) VALUES ($1, $2, $3, $4, $5)
     ON CONFLICT (app_id, group_id, user_name, topic_id) DO UPDATE SET reception = excluded.reception";
const REMOVE_RECEPTION: &str = "DELETE FROM group_topic_receptions
     WHERE app_id = $1 AND group_id = $2 AND user_name = $3 AND topic_id = $4";

impl<E: Engine> GroupStore for SqlDirectory<E> {
    fn groups(&self, keys: &[GroupKey]) -> Result<Vec<Option<GroupRecord>>, DirectoryError> {
        let asked = params_each(keys, |key| Ok(params![key.app().0, key.id()].into()))?;
        self.read(|tx| {
            let rows = tx.query_each(
                "SELECT type, name, introduction, notification, face_url, owner, created_ms, info_seq, info_ms,
                    members_max, join_option, invite_option, muted_all, first_seq, attributes_version, fields, topics
                 FROM chat_groups WHERE app_id = $1 AND id = $2",
                &asked,
            )?;
            let mut records = Vec::with_capacity(keys.len());
            for (key, rows) in keys.iter().zip(rows) {
                let info = rows.first().map(|row| info(key.app(), row)).transpose()?;
                records.push(info.map(|info| GroupRecord::new(key.clone(), info)));
            }
            let mut found: Vec<_> = records.iter_mut().flatten().collect();
            let asked = params_each(&found, |record| Ok(params![record.key.app().0, record.key.id()].into()))?;
            let mut each = |sql| tx.query_each(sql, &asked);
            let members = each(
                "SELECT user_name, role, joined_ms, joined_seq, reception, name_card, fields
                 FROM group_members WHERE app_id = $1 AND group_id = $2",
            )?;
            let attributes =
                each("SELECT name, value FROM group_attributes WHERE app_id = $1 AND group_id = $2")?;
            let counters =
                each("SELECT name, value FROM group_counters WHERE app_id = $1 AND group_id = $2")?;
            let penalties =
                each("SELECT what, user_name, until_s FROM group_penalties WHERE app_id = $1 AND group_id = $2")?;
            let applications = each(
                "SELECT user_name, inviter, consent, time_ms, text, handled_by, agreed, answer
                 FROM group_applications WHERE app_id = $1 AND group_id = $2",
            )?;
            let topics = each(
                "SELECT topic_id, name, introduction, notification, face_url, custom, created_ms, info_seq, muted_all,
                    first_seq
                 FROM group_topics WHERE app_id = $1 AND group_id = $2",
            )?;
            let receptions = each(
                "SELECT user_name, topic_id, reception FROM group_topic_receptions WHERE app_id = $1 AND group_id = $2",
            )?;
            for (record, (topics, receptions)) in found.iter_mut().zip(topics.into_iter().zip(receptions)) {
                let app = record.key.app();
                record.topics = topics.iter().map(|row| topic(app, row)).collect::<Result<_, _>>()?;
                record.receptions = receptions
                    .iter()
                    .map(|row| {
                        let of = (user(app, row.text(0)?)?, group(app, row.text(1)?)?);
                        Ok((of, numbered(row, 2, Reception::from_number)?))
                    })
                    .collect::<Result<_, DirectoryError>>()?;
            }
            let parts = members.into_iter().zip(attributes).zip(counters).zip(penalties).zip(applications);
            for (record, ((((members, attributes), counters), penalties), applications)) in
                found.iter_mut().zip(parts)
            {
                let app = record.key.app();
                record.members = members.iter().map(|row| member(app, row)).collect::<Result<_, _>>()?;
                record.attributes = attributes
                    .iter()
                    .map(|row| Ok((row.text(0)?.to_owned(), row.text(1)?.to_owned())))
                    .collect::<Result<_, DirectoryError>>()?;
                record.counters = counters
                    .iter()
                    .map(|row| Ok((row.text(0)?.to_owned(), row.int(1)?)))
                    .collect::<Result<_, DirectoryError>>()?;
                record.penalties = penalties
                    .iter()
                    .map(|row| {
                        let what = numbered(row, 0, Penalty::from_number)?;
                        Ok(((what, user(app, row.text(1)?)?), row.int(2)?))
                    })
                    .collect::<Result<_, DirectoryError>>()?;
                record.applications =
                    applications.iter().map(|row| application(app, row)).collect::<Result<_, _>>()?;
            }
            Ok(records)
        })
    }

    fn groups_of(&self, users: &[UserKey]) -> Result<Vec<Vec<Joined>>, DirectoryError> {
        let asked = params_each(users, |user| Ok(params![user.app().0, user.name()].into()))?;
        self.read(|tx| {
            let rows = tx.query_each(
                "SELECT m.group_id, g.type, g.info_seq, g.first_seq, g.owner, m.role, m.joined_seq, m.reception
                 FROM group_members m JOIN chat_groups g ON g.app_id = m.app_id AND g.id = m.group_id
                 WHERE m.app_id = $1 AND m.user_name = $2 ORDER BY m.group_id",
                &asked,
            )?;
            let of = |(user, rows): (&UserKey, Vec<Row>)| {
                rows.iter().map(|row| joined(user.app(), row)).collect::<Result<Vec<_>, _>>()
            };
            users.iter().zip(rows).map(of).collect()
        })
    }

    fn count_groups_of(&self, users: &[UserKey]) -> Result<Vec<u32>, DirectoryError> {
        let asked = params_each(users, |user| Ok(params![user.app().0, user.name()].into()))?;
        self.read(|tx| {
            let rows = tx.query_each(
                "SELECT COUNT(*) FROM group_members WHERE app_id = $1 AND user_name = $2",
                &asked,
            )?;
            rows.iter().map(|rows| rows.first().map_or(Ok(0), |row| row.int(0))).collect()
        })
    }

    fn topics_of(&self, user: &UserKey, limit: usize) -> Result<Vec<JoinedTopic>, DirectoryError> {
        self.read(|tx| {
            let rows = tx.query(
                "SELECT t.topic_id, t.info_seq, t.first_seq, t.created_ms, m.joined_ms, m.reception,
                    COALESCE(r.reception, m.reception)
                 FROM group_members m
                 JOIN group_topics t ON t.app_id = m.app_id AND t.group_id = m.group_id
                 LEFT JOIN group_topic_receptions r ON r.app_id = m.app_id AND r.group_id = m.group_id
                    AND r.user_name = m.user_name AND r.topic_id = t.topic_id
                 WHERE m.app_id = $1 AND m.user_name = $2 ORDER BY t.topic_id LIMIT $3",
                &params![user.app().0, user.name(), limit],
            )?;
            let joined = |row: &Row| {
                let community = numbered(row, 5, Reception::from_number)?;
                let own = numbered(row, 6, Reception::from_number)?;
                Ok(JoinedTopic {
                    topic: group(user.app(), row.text(0)?)?,
                    info_seq: row.int(1)?,
                    first_seq: row.int(2)?,
                    created_ms: row.int(3)?,
                    joined_ms: row.int(4)?,
                    // `Discard` of the community stops all.
                    receives: ![community, own].contains(&Reception::Discard),
                })
            };
            rows.iter().map(joined).collect()
        })
    }

    fn count_topics(&self, app: AppId) -> Result<u64, DirectoryError> {
        self.read(|tx| {
            let rows = tx.query("SELECT COUNT(*) FROM group_topics WHERE app_id = $1", &params![app.0])?;
            rows.first().map_or(Ok(0), |row| row.int(0))
        })
    }

    fn change_groups_and_tell(
        &self,
        changes: &[GroupChange],
        events: &[PendingEvent],
    ) -> Result<(), DirectoryError> {
        self.write(|tx| {
            changes.iter().try_for_each(|change| write(tx, change))?;
            super::events::add(tx, events)
        })
    }

    fn count_groups(&self, app: AppId, which: Counted<'_>) -> Result<u64, DirectoryError> {
        self.read(|tx| {
            let rows = match which.kind {
                Some(kind) => tx.query(
                    "SELECT COUNT(*) FROM chat_groups WHERE app_id = $1 AND type = $2 AND created_ms >= $3",
                    &params![app.0, kind, which.since_ms],
                )?,
                None => tx.query(
                    "SELECT COUNT(*) FROM chat_groups WHERE app_id = $1 AND created_ms >= $2",
                    &params![app.0, which.since_ms],
                )?,
            };
            rows.first().map_or(Ok(0), |row| row.int(0))
        })
    }

    fn list_groups(
        &self,
        app: AppId,
        kind: Option<&str>,
        from: ListPlace,
        limit: usize,
    ) -> Result<Vec<ListedGroup>, DirectoryError> {
        let ListPlace { created_ms, skip } = from;
        self.read(|tx| {
            let rows = match kind {
                Some(kind) => tx.query(
                    "SELECT id, created_ms FROM chat_groups WHERE app_id = $1 AND created_ms >= $2 AND type = $5
                     ORDER BY created_ms, id LIMIT $3 OFFSET $4",
                    &params![app.0, created_ms, limit, skip, kind],
                )?,
                None => tx.query(
                    "SELECT id, created_ms FROM chat_groups WHERE app_id = $1 AND created_ms >= $2
                     ORDER BY created_ms, id LIMIT $3 OFFSET $4",
                    &params![app.0, created_ms, limit, skip],
                )?,
            };
            rows.iter().map(|row| Ok(ListedGroup { id: row.text(0)?.to_owned(), created_ms: row.int(1)? })).collect()
        })
    }
}

/// Carries out one change. Steps that stand in a row and differ in their parameters only go together.
fn write(tx: &mut dyn Tx, GroupChange { group, changes }: &GroupChange) -> Result<(), DirectoryError> {
    let begins = matches!(changes.first(), Some(Change::Create(_)));
    let exists = begins
        || !tx
            .query(
                "SELECT 1 FROM chat_groups WHERE app_id = $1 AND id = $2",
                &params![group.app().0, group.id()],
            )?
            .is_empty();
    if !exists {
        return Ok(());
    }
    let mut steps: Vec<Step> = Vec::new();
    for change in changes {
        step(group, change, &mut steps)?;
        if *change == Change::Dismiss {
            break;
        }
    }
    for steps in steps.chunk_by(|(one, _), (two, _)| one == two) {
        let rows: Vec<_> = steps.iter().map(|(_, params)| params.clone()).collect();
        tx.execute_each(steps[0].0, &rows)?;
    }
    Ok(())
}

fn step(group: &GroupKey, change: &Change, steps: &mut Vec<Step>) -> Result<(), DirectoryError> {
    let (app, id) = (group.app().0, group.id());
    match change {
        Change::Create(info) => {
            let row = params![app, id, info.kind, info.created_ms, info.first_seq, info.fields.encode()];
            steps.push((INSERT, row.into()));
            steps.push((UPDATE, update(group, info)?));
        }
        Change::Info(info) => steps.push((UPDATE, update(group, info)?)),
        Change::Dismiss => {
            for sql in DISMISS {
                steps.push((sql, params![app, id].into()));
            }
        }
        Change::PutMember(user, member) => {
            let row = params![
                app,
                id,
                user.name(),
                member.role.number(),
                member.joined_ms,
                member.joined_seq,
                member.reception.number(),
                *member.name_card,
                member.fields.encode()
            ];
            steps.push((PUT_MEMBER, row.into()));
        }
        Change::RemoveMember(user) => steps.push((REMOVE_MEMBER, params![app, id, user.name()].into())),
        Change::PutAttribute(key, value) => steps.push((PUT_ATTRIBUTE, params![app, id, key, value].into())),
        Change::RemoveAttribute(key) => steps.push((REMOVE_ATTRIBUTE, params![app, id, key].into())),
        Change::PutCounter(key, value) => steps.push((PUT_COUNTER, params![app, id, key, value].into())),
        Change::RemoveCounter(key) => steps.push((REMOVE_COUNTER, params![app, id, key].into())),
        Change::Penalty(what, user, 0) => {
            steps.push((REMOVE_PENALTY, params![app, id, what.number(), user.name()].into()));
        }
        Change::Penalty(what, user, until_s) => {
            steps.push((PUT_PENALTY, params![app, id, what.number(), user.name(), until_s].into()));
        }
        Change::PutApplication(user, application) => {
            let handled = application.handled.as_ref();
            let row = params![
                app,
                id,
                user.name(),
                application.inviter.as_ref().map(UserKey::name),
                application.consent,
                application.time_ms,
                application.text,
                handled.map(|handled| handled.by.as_str()),
                handled.is_some_and(|handled| handled.agreed),
                handled.map_or("", |handled| handled.text.as_str())
            ];
            steps.push((PUT_APPLICATION, row.into()));
        }
        Change::RemoveApplication(user) => {
            steps.push((REMOVE_APPLICATION, params![app, id, user.name()].into()));
        }
        Change::PutTopic(topic, info) => {
            let row = params![
                app,
                id,
                topic.id(),
                info.name,
                info.introduction,
                info.notification,
                info.face_url,
                info.custom,
                info.created_ms,
                info.info_seq,
                info.muted_all,
                info.first_seq
            ];
            steps.push((PUT_TOPIC, row.into()));
        }
        Change::RemoveTopic(topic) => {
            for sql in REMOVE_TOPIC {
                steps.push((sql, params![app, id, topic.id()].into()));
            }
        }
        Change::Receive(user, topic, None) => {
            steps.push((REMOVE_RECEPTION, params![app, id, user.name(), topic.id()].into()));
        }
        Change::Receive(user, topic, Some(reception)) => {
            let row = params![app, id, user.name(), topic.id(), reception.number()];
            steps.push((PUT_RECEPTION, row.into()));
        }
    }
    Ok(())
}

fn update(group: &GroupKey, info: &GroupInfo) -> Result<Vec<Value>, DirectoryError> {
    Ok(params![
        group.app().0,
        group.id(),
        info.name,
        info.introduction,
        info.notification,
        info.face_url,
        info.owner.as_ref().map(UserKey::name),
        info.info_seq,
        info.info_ms,
        info.members_max,
        info.join.number(),
        info.invite.number(),
        info.muted_all,
        info.attributes_version,
        info.fields.encode(),
        info.topics
    ]
    .into())
}

fn info(app: AppId, row: &Row) -> Result<GroupInfo, DirectoryError> {
    Ok(GroupInfo {
        kind: row.text(0)?.to_owned(),
        name: row.text(1)?.to_owned(),
        introduction: row.text(2)?.to_owned(),
        notification: row.text(3)?.to_owned(),
        face_url: row.text(4)?.to_owned(),
        owner: row.opt_text(5)?.map(|name| user(app, name)).transpose()?,
        created_ms: row.int(6)?,
        info_seq: row.int(7)?,
        info_ms: row.int(8)?,
        members_max: row.int(9)?,
        join: numbered(row, 10, JoinOption::from_number)?,
        invite: numbered(row, 11, JoinOption::from_number)?,
        muted_all: row.flag(12)?,
        first_seq: row.int(13)?,
        attributes_version: row.int(14)?,
        fields: fields(row, 15)?,
        topics: row.flag(16)?,
    })
}

fn topic(app: AppId, row: &Row) -> Result<(GroupKey, TopicInfo), DirectoryError> {
    let info = TopicInfo {
        name: row.text(1)?.to_owned(),
        introduction: row.text(2)?.to_owned(),
        notification: row.text(3)?.to_owned(),
        face_url: row.text(4)?.to_owned(),
        custom: row.text(5)?.to_owned(),
        created_ms: row.int(6)?,
        info_seq: row.int(7)?,
        muted_all: row.flag(8)?,
        first_seq: row.int(9)?,
    };
    Ok((group(app, row.text(0)?)?, info))
}

fn member(app: AppId, row: &Row) -> Result<(UserKey, Member), DirectoryError> {
    let member = Member {
        role: numbered(row, 1, Role::from_number)?,
        joined_ms: row.int(2)?,
        joined_seq: row.int(3)?,
        reception: numbered(row, 4, Reception::from_number)?,
        name_card: row.text(5)?.into(),
        fields: fields(row, 6)?,
    };
    Ok((user(app, row.text(0)?)?, member))
}

fn joined(app: AppId, row: &Row) -> Result<Joined, DirectoryError> {
    Ok(Joined {
        group: group(app, row.text(0)?)?,
        kind: row.text(1)?.to_owned(),
        info_seq: row.int(2)?,
        first_seq: row.int(3)?,
        owned: row.opt_text(4)?.is_some(),
        role: numbered(row, 5, Role::from_number)?,
        joined_seq: row.int(6)?,
        receives: numbered(row, 7, Reception::from_number)? != Reception::Discard,
    })
}

fn application(app: AppId, row: &Row) -> Result<(UserKey, Application), DirectoryError> {
    let (agreed, text) = (row.flag(6)?, row.text(7)?.to_owned());
    let application = Application {
        inviter: row.opt_text(1)?.map(|name| user(app, name)).transpose()?,
        consent: row.flag(2)?,
        time_ms: row.int(3)?,
        text: row.text(4)?.to_owned(),
        handled: row.opt_text(5)?.map(|by| Handled { by: by.to_owned(), agreed, text }),
    };
    Ok((user(app, row.text(0)?)?, application))
}

fn user(app: AppId, name: &str) -> Result<UserKey, DirectoryError> {
    UserKey::new(app, name).map_err(|error| damaged(&format!("user {name:?}: {error}")))
}

fn group(app: AppId, id: &str) -> Result<GroupKey, DirectoryError> {
    GroupKey::new(app, id).map_err(|error| damaged(&format!("group {id:?}: {error}")))
}

fn fields(row: &Row, column: usize) -> Result<Fields, DirectoryError> {
    Fields::decode(row.blob(column)?).ok_or_else(|| damaged("custom fields that nobody packed"))
}

fn numbered<T>(row: &Row, column: usize, of: impl Fn(u8) -> Option<T>) -> Result<T, DirectoryError> {
    of(row.int(column)?).ok_or_else(|| damaged(&format!("column {column} holds a number without a meaning")))
}

fn damaged(what: &str) -> DirectoryError {
    DirectoryError::Engine(format!("groups: {what}"))
}
