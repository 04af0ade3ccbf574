//! Tags and attributes of users, and pushes to them.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

use nearport_chat::directory::DirectoryError;
use nearport_chat::directory::push::{Attrs, PushCounts, PushPlace, PushRow, PushTx};
use nearport_chat::key::{AppId, UserKey};

#[derive(Debug, Default, Clone)]
pub(super) struct Tables {
    names: BTreeMap<AppId, Attrs>,
    attrs: BTreeMap<UserKey, Attrs>,
    tags: BTreeMap<UserKey, BTreeSet<String>>,
    pushes: BTreeMap<(AppId, u64), PushRow>,
}

impl Tables {
    pub(super) fn erase(&mut self, user: &UserKey) {
        self.attrs.remove(user);
        self.tags.remove(user);
    }
}

impl Tables {
    fn of(&self, app: AppId) -> impl DoubleEndedIterator<Item = &PushRow> {
        self.pushes.range((app, 0)..=(app, u64::MAX)).map(|(_, push)| push)
    }
}

impl PushTx for super::people::Tables {
    fn attr_names(&mut self, app: AppId) -> Result<Attrs, DirectoryError> {
        Ok(self.push.names.get(&app).cloned().unwrap_or_default())
    }

    fn set_attr_names(&mut self, app: AppId, names: &Attrs) -> Result<(), DirectoryError> {
        self.push.names.entry(app).or_default().extend(names.clone());
        Ok(())
    }

    fn attrs(&mut self, users: &[UserKey]) -> Result<Vec<Attrs>, DirectoryError> {
        let attrs = &self.push.attrs;
        Ok(users.iter().map(|user| attrs.get(user).cloned().unwrap_or_default()).collect())
    }

    fn set_attrs(&mut self, attrs: &[(&UserKey, u8, &str)]) -> Result<(), DirectoryError> {
        for (user, slot, value) in attrs {
            self.push.attrs.entry((*user).clone()).or_default().insert(*slot, (*value).to_owned());
        }
        Ok(())
    }

    fn delete_attrs(&mut self, attrs: &[(&UserKey, u8)]) -> Result<(), DirectoryError> {
        for (user, slot) in attrs {
            self.push.attrs.entry((*user).clone()).or_default().remove(slot);
        }
        Ok(())
    }

    fn tags(&mut self, users: &[UserKey]) -> Result<Vec<Vec<String>>, DirectoryError> {
        let tags = &self.push.tags;
        Ok(users.iter().map(|user| tags.get(user).into_iter().flatten().cloned().collect()).collect())
    }

    fn add_tags(&mut self, tags: &[(&UserKey, &str)]) -> Result<(), DirectoryError> {
        for (user, tag) in tags {
            self.push.tags.entry((*user).clone()).or_default().insert((*tag).to_owned());
        }
        Ok(())
    }

    fn delete_tags(&mut self, tags: &[(&UserKey, &str)]) -> Result<(), DirectoryError> {
        for (user, tag) in tags {
            self.push.tags.entry((*user).clone()).or_default().remove(*tag);
        }
        Ok(())
    }

    fn clear_tags(&mut self, users: &[UserKey]) -> Result<(), DirectoryError> {
        for user in users {
            self.push.tags.remove(user);
        }
        Ok(())
    }

    fn push_by_random(
        &mut self,
        app: AppId,
        random: u32,
        since_ms: u64,
    ) -> Result<Option<(u64, u64)>, DirectoryError> {
        let mut newest = self.push.of(app).rev();
        let found = newest.find(|push| push.random == random && push.created_ms >= since_ms);
        Ok(found.map(|push| (push.number, push.created_ms)))
    }

    fn push_counts(&mut self, app: AppId, since_ms: u64) -> Result<PushCounts, DirectoryError> {
        let mut counts = PushCounts::default();
        for push in self.push.of(app) {
            counts.last = counts.last.max(push.number);
            counts.last_ms = counts.last_ms.max(push.created_ms);
            counts.since += u64::from(push.created_ms >= since_ms);
            counts.open += u64::from(push.place.done_ms == 0);
        }
        Ok(counts)
    }

    fn add_push(&mut self, app: AppId, push: &PushRow) -> Result<(), DirectoryError> {
        match self.push.pushes.insert((app, push.number), push.clone()) {
            None => Ok(()),
            Some(_) => Err(DirectoryError::Engine(format!("push {} is there", push.number))),
        }
    }

    fn trim_pushes(&mut self, app: AppId, before_ms: u64) -> Result<(), DirectoryError> {
        let old = |push: &PushRow| push.place.done_ms > 0 && push.created_ms < before_ms;
        self.push.pushes.retain(|(of, _), push| *of != app || !old(push));
        Ok(())
    }

    fn open_push(&mut self, after: Option<AppId>) -> Result<Option<(AppId, PushRow)>, DirectoryError> {
        let from = after.map_or(Bound::Unbounded, |app| Bound::Excluded((app, u64::MAX)));
        let mut later = self.push.pushes.range((from, Bound::Unbounded));
        let open = later.find(|(_, push)| push.place.done_ms == 0);
        Ok(open.map(|((app, _), push)| (*app, push.clone())))
    }

    fn move_push(
        &mut self,
        app: AppId,
        number: u64,
        from: &PushPlace,
        to: &PushPlace,
    ) -> Result<bool, DirectoryError> {
        let place = |place: &PushPlace| (place.after.clone(), place.until.clone(), place.done_ms);
        match self.push.pushes.get_mut(&(app, number)) {
            Some(push) if place(&push.place) == place(from) => {
                push.place = to.clone();
                Ok(true)
            }
            _ => Ok(false),
        }
    }
}
