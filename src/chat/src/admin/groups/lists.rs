//! Lists of groups: of an App, and of a user.

use std::sync::PoisonError;

use nearport_wire::body::GroupInfo;
use nearport_wire::code::group as code;

use super::group_key;
use crate::actor::Actor;
use crate::admin::{Admin, Asker};
use crate::desk::group::info;
use crate::directory::{Counted, ListPlace};
use crate::group::GroupType;
use crate::key::{AppId, GroupKey};
use crate::ledger::Heads;
use crate::reply::{Failure, no_groups, unreadable};

/// Groups that were made in the same millisecond and between which a list can be cut. So the place stays a number that every
/// client reads exactly, until the year 2248.
const SAME_MS_MAX: u64 = 1024;

/// Where a list of groups goes on: a number for the back end, 0 at the beginning.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ListFrom(pub u64);

impl ListFrom {
    fn place(self) -> ListPlace {
        let skip = u32::try_from(self.0 % SAME_MS_MAX).unwrap_or_default();
        ListPlace { created_ms: self.0 / SAME_MS_MAX, skip }
    }

    fn of(place: ListPlace) -> Option<Self> {
        let skip = u64::from(place.skip);
        (skip < SAME_MS_MAX).then(|| Self(place.created_ms * SAME_MS_MAX + skip))
    }
}

/// Groups of an App.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupList {
    /// Groups of the App, or of the type that was asked for.
    pub total: u64,
    /// Ids, oldest group first.
    pub ids: Vec<String>,
    /// Where it goes on; `None`: that was all.
    pub next: Option<ListFrom>,
}

/// Which groups of a user, and what of them.
#[derive(Debug, Clone, Default)]
pub struct JoinedQuery {
    /// The user.
    pub user: String,
    /// Only of this type.
    pub kind: Option<String>,
    /// Live rooms that the user is in now, too.
    pub rooms: bool,
    /// Groups that have not had their first message, too.
    pub inactive: bool,
    /// So many are left out.
    pub offset: usize,
    /// Most groups.
    pub limit: usize,
    /// With their profiles; else these have but an id.
    pub profiles: bool,
}

/// A group of a user.
#[derive(Debug, Clone)]
pub struct Joined {
    /// Its profile, with how the user stands to it.
    pub info: GroupInfo,
    /// How far the user has read.
    pub read: u64,
}

/// Groups of a user.
#[derive(Debug, Clone)]
pub struct JoinedPage {
    /// How many there are.
    pub total: u32,
    /// By name.
    pub groups: Vec<Joined>,
}

impl Admin {
    /// Groups of an App.
    ///
    /// # Errors
    /// 10004 for a type that does not exist, 10002.
    pub fn list_groups(
        &self,
        app: AppId,
        kind: Option<&str>,
        from: ListFrom,
        limit: usize,
    ) -> Result<GroupList, Failure> {
        let kind = kind.map(|kind| self.group_type(kind)).transpose()?;
        let kind = kind.as_ref().map(|kind| kind.name);
        let directory = &self.shared.directory;
        let total = directory.count_groups(app, Counted { kind, since_ms: 0 });
        let total = total.map_err(|error| no_groups(&error))?;
        // One more than asked for says whether there are more.
        let listed = directory.list_groups(app, kind, from.place(), limit.saturating_add(1));
        let mut listed = listed.map_err(|error| no_groups(&error))?;
        let more = listed.len() > limit;
        listed.truncate(limit);
        let next = match listed.last().filter(|_| more) {
            None => None,
            Some(last) => {
                let created_ms = last.created_ms;
                let same = listed.iter().rev().take_while(|group| group.created_ms == created_ms).count();
                let before = if from.place().created_ms == created_ms { from.place().skip } else { 0 };
                let skip = u32::try_from(same).unwrap_or(u32::MAX).saturating_add(before);
                let info =
                    "too many groups of the app were made in the same millisecond: ask for more at once";
                let next = ListFrom::of(ListPlace { created_ms, skip });
                Some(next.ok_or_else(|| Failure::new(code::PAGE, info))?)
            }
        };
        Ok(GroupList { total, ids: listed.into_iter().map(|group| group.id).collect(), next })
    }

    /// Groups that a user is in.
    ///
    /// # Errors
    /// 10019 for an account that does not exist, 10004 for a type that does not exist, 10002.
    pub fn joined_groups(&self, asker: &Asker, query: &JoinedQuery) -> Result<JoinedPage, Failure> {
        let user = self.existing(asker.app, &query.user)?;
        let kind = query.kind.as_deref().map(|kind| self.group_type(kind)).transpose()?;
        let kind = kind.as_ref().map(|kind| kind.name);
        let types = &self.shared.groups.rules().types;
        let joined = self.shared.directory.groups_of(std::slice::from_ref(&user));
        let joined = joined.map_err(|error| no_groups(&error))?.into_iter().flatten();
        let mut joined: Vec<_> =
            joined.filter(|joined| kind.is_none_or(|kind| joined.kind == kind)).collect();
        if !query.inactive {
            let hides = |kind: &str| types.find(kind).is_some_and(|kind| kind.hidden_until_message);
            let hiding: Vec<_> = joined
                .iter()
                .filter(|joined| hides(&joined.kind))
                .map(|joined| joined.group.clone())
                .collect();
            let heads = self.heads(&hiding)?;
            let heads: std::collections::HashMap<_, _> = hiding.into_iter().zip(heads).collect();
            joined.retain(|joined| heads.get(&joined.group).is_none_or(|head| head.seq > joined.first_seq));
        }
        let mut keys: Vec<_> = joined.into_iter().map(|joined| joined.group).collect();
        if query.rooms {
            let sessions: Vec<_> =
                self.shared.registry().sessions_of(&user).map(|(session, _)| session).collect();
            let rooms = self.shared.rooms.of_sessions(&sessions);
            let is_kind = |key: &GroupKey| match kind {
                None => Ok(true),
                Some(kind) => {
                    let group = self.group(key)?;
                    let group = group.read().unwrap_or_else(PoisonError::into_inner);
                    Ok(group.kind().name == kind)
                }
            };
            for room in rooms {
                if is_kind(&room)? {
                    keys.push(room);
                }
            }
        }
        let total = u32::try_from(keys.len()).unwrap_or(u32::MAX);
        let keys: Vec<_> = keys.into_iter().skip(query.offset).take(query.limit).collect();
        if !query.profiles {
            let bare = |key: GroupKey| GroupInfo { group: key.id().to_owned(), ..GroupInfo::default() };
            let groups = keys.into_iter().map(|key| Joined { info: bare(key), read: 0 }).collect();
            return Ok(JoinedPage { total, groups });
        }
        let found = self.shared.groups.find_all(&keys).map_err(|error| no_groups(&error))?;
        let heads = self.heads(&keys)?;
        let mut groups = Vec::with_capacity(keys.len());
        for ((key, group), head) in keys.iter().zip(found).zip(heads) {
            // Dismissed meanwhile.
            let Some(group) = group else { continue };
            let info = {
                let group = group.read().unwrap_or_else(PoisonError::into_inner);
                let own = group.own(&user, self.now_ms());
                let by = Actor::Admin(&asker.admin);
                let info = self.with_ctx(|ctx| info(&self.shared, &group, ctx, by, head));
                GroupInfo { own, ..info }
            };
            groups.push(Joined { info, read: self.read_of(&user, key)? });
        }
        Ok(JoinedPage { total, groups })
    }

    /// Profiles of groups, in the order of `ids`: an error of one is its own.
    ///
    /// # Errors
    /// 10002.
    pub fn group_infos(
        &self,
        asker: &Asker,
        ids: &[String],
    ) -> Result<Vec<Result<GroupInfo, Failure>>, Failure> {
        let keys: Vec<_> = ids.iter().map(|id| group_key(asker.app, id)).collect();
        let good: Vec<_> = keys.iter().flatten().cloned().collect();
        let found = self.shared.groups.find_all(&good).map_err(|error| no_groups(&error))?;
        let mut found = found.into_iter().zip(self.heads(&good)?);
        let info = |key: Result<GroupKey, Failure>| {
            key?;
            let (group, head) = found.next().unwrap_or_default();
            let group = group.ok_or_else(crate::group::gone)?;
            let group = group.read().unwrap_or_else(PoisonError::into_inner);
            let by = Actor::Admin(&asker.admin);
            Ok(self.with_ctx(|ctx| info(&self.shared, &group, ctx, by, head)))
        };
        Ok(keys.into_iter().map(info).collect())
    }

    fn heads(&self, keys: &[GroupKey]) -> Result<Vec<Heads>, Failure> {
        let convs: Vec<_> = keys.iter().map(GroupKey::conv).collect();
        self.shared.ledger.heads(&convs).map_err(|error| unreadable(&error))
    }

    fn group_type(&self, name: &str) -> Result<std::sync::Arc<GroupType>, Failure> {
        let found = self.shared.groups.rules().types.find(name);
        found.ok_or_else(|| Failure::new(code::BAD_PARAMETER, "there is no group type of this name"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_becomes_a_number_and_back() {
        let place = ListPlace { created_ms: 1_700_000_000_123, skip: 1023 };
        let number = ListFrom::of(place).unwrap();
        assert_eq!(number.place(), place);
        assert!(number.0 < 1 << 53, "a number that JavaScript reads exactly");
        assert_eq!(ListFrom::of(ListPlace { skip: 1024, ..place }), None);
        assert_eq!(ListFrom::default().place(), ListPlace::default());
    }
}
