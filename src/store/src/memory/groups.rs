//! Groups in memory.

use std::collections::{BTreeMap, BTreeSet};

use nearport_chat::directory::events::PendingEvent;
use nearport_chat::directory::{
    Counted, DirectoryError, GroupStore, Joined, JoinedTopic, ListPlace, ListedGroup,
};
use nearport_chat::group::{Change, GroupChange, GroupRecord, Reception};
use nearport_chat::key::{AppId, GroupKey, UserKey};

use super::MemoryDirectory;

#[derive(Debug, Default)]
pub(super) struct Tables {
    records: BTreeMap<GroupKey, GroupRecord>,
    of_users: BTreeMap<UserKey, BTreeSet<GroupKey>>,
}

impl Tables {
    fn apply(&mut self, key: &GroupKey, change: &Change) {
        match change {
            Change::Create(info) => {
                self.records.insert(key.clone(), GroupRecord::new(key.clone(), (**info).clone()));
                return;
            }
            Change::Dismiss => {
                let members =
                    self.records.remove(key).into_iter().flat_map(|record| record.members.into_keys());
                members.for_each(|user| self.forget(&user, key));
                return;
            }
            _ => {}
        }
        let Some(record) = self.records.get_mut(key) else { return };
        record.apply(change);
        match change {
            Change::PutMember(user, _) => {
                self.of_users.entry(user.clone()).or_default().insert(key.clone());
            }
            Change::RemoveMember(user) => self.forget(user, key),
            _ => {}
        }
    }

    fn forget(&mut self, user: &UserKey, key: &GroupKey) {
        if let Some(groups) = self.of_users.get_mut(user) {
            groups.remove(key);
            if groups.is_empty() {
                self.of_users.remove(user);
            }
        }
    }

    /// Whether every creation finds its id free when its turn comes.
    fn check(&self, changes: &[GroupChange]) -> Result<(), DirectoryError> {
        let mut fate: BTreeMap<&GroupKey, bool> = BTreeMap::new();
        for GroupChange { group, changes } in changes {
            for change in changes {
                let exists = fate.entry(group).or_insert_with(|| self.records.contains_key(group));
                match change {
                    Change::Create(_) if *exists => {
                        return Err(DirectoryError::Engine(format!("group {group:?} exists already")));
                    }
                    Change::Create(_) => *exists = true,
                    Change::Dismiss => *exists = false,
                    _ => {}
                }
            }
        }
        Ok(())
    }
}

impl GroupStore for MemoryDirectory {
    fn groups(&self, keys: &[GroupKey]) -> Result<Vec<Option<GroupRecord>>, DirectoryError> {
        let tables = self.tables();
        Ok(keys.iter().map(|key| tables.groups.records.get(key).cloned()).collect())
    }

    fn groups_of(&self, users: &[UserKey]) -> Result<Vec<Vec<Joined>>, DirectoryError> {
        let tables = self.tables();
        let groups = &tables.groups;
        let of = |user: &UserKey| {
            let keys = groups.of_users.get(user).into_iter().flatten();
            let joined = |key: &GroupKey| {
                let record = &groups.records[key];
                let member = &record.members[user];
                Joined {
                    group: key.clone(),
                    kind: record.info.kind.clone(),
                    info_seq: record.info.info_seq,
                    first_seq: record.info.first_seq,
                    owned: record.info.owner.is_some(),
                    role: member.role,
                    joined_seq: member.joined_seq,
                    receives: member.reception != Reception::Discard,
                }
            };
            keys.map(joined).collect()
        };
        Ok(users.iter().map(of).collect())
    }

    fn count_groups_of(&self, users: &[UserKey]) -> Result<Vec<u32>, DirectoryError> {
        let tables = self.tables();
        let count = |user: &UserKey| tables.groups.of_users.get(user).map_or(0, BTreeSet::len);
        Ok(users.iter().map(|user| u32::try_from(count(user)).unwrap_or(u32::MAX)).collect())
    }

    fn topics_of(&self, user: &UserKey, limit: usize) -> Result<Vec<JoinedTopic>, DirectoryError> {
        let tables = self.tables();
        let groups = &tables.groups;
        let of = |key: &GroupKey| {
            let record = &groups.records[key];
            let member = &record.members[user];
            record.topics.iter().map(|(topic, info)| {
                let own = record.receptions.get(&(user.clone(), topic.clone()));
                JoinedTopic {
                    topic: topic.clone(),
                    info_seq: info.info_seq,
                    first_seq: info.first_seq,
                    created_ms: info.created_ms,
                    joined_ms: member.joined_ms,
                    // `Discard` of the community stops all.
                    receives: member.reception != Reception::Discard && own != Some(&Reception::Discard),
                }
            })
        };
        let mut all: Vec<_> = groups.of_users.get(user).into_iter().flatten().flat_map(of).collect();
        all.sort_by_key(|joined| joined.topic.clone());
        all.truncate(limit);
        Ok(all)
    }

    fn count_topics(&self, app: AppId) -> Result<u64, DirectoryError> {
        let tables = self.tables();
        let of_app = tables.groups.records.values().filter(|record| record.key.app() == app);
        Ok(of_app.map(|record| record.topics.len() as u64).sum())
    }

    fn change_groups_and_tell(
        &self,
        changes: &[GroupChange],
        events: &[PendingEvent],
    ) -> Result<(), DirectoryError> {
        let super::directory::Tables { groups, people, .. } = &mut *self.tables();
        groups.check(changes)?;
        for GroupChange { group, changes } in changes {
            changes.iter().for_each(|change| groups.apply(group, change));
        }
        people.events.add(events);
        Ok(())
    }

    fn count_groups(&self, app: AppId, which: Counted<'_>) -> Result<u64, DirectoryError> {
        let tables = self.tables();
        let counted = tables.groups.records.values().filter(|record| {
            record.key.app() == app
                && which.kind.is_none_or(|kind| record.info.kind == kind)
                && record.info.created_ms >= which.since_ms
        });
        Ok(counted.count() as u64)
    }

    fn list_groups(
        &self,
        app: AppId,
        kind: Option<&str>,
        from: ListPlace,
        limit: usize,
    ) -> Result<Vec<ListedGroup>, DirectoryError> {
        let tables = self.tables();
        let wanted = tables.groups.records.values().filter(|record| {
            record.key.app() == app
                && kind.is_none_or(|kind| record.info.kind == kind)
                && record.info.created_ms >= from.created_ms
        });
        let mut listed: Vec<_> = wanted
            .map(|record| ListedGroup { id: record.key.id().to_owned(), created_ms: record.info.created_ms })
            .collect();
        // By id they stand already.
        listed.sort_by_key(|group| group.created_ms);
        Ok(listed.into_iter().skip(from.skip as usize).take(limit).collect())
    }
}
