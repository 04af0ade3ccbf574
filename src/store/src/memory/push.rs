//! Tags and attributes of users.

use std::collections::{BTreeMap, BTreeSet};

use nearport_chat::directory::DirectoryError;
use nearport_chat::directory::push::{Attrs, PushTx};
use nearport_chat::key::{AppId, UserKey};

#[derive(Debug, Default, Clone)]
pub(super) struct Tables {
    names: BTreeMap<AppId, Attrs>,
    attrs: BTreeMap<UserKey, Attrs>,
    tags: BTreeMap<UserKey, BTreeSet<String>>,
}

impl Tables {
    pub(super) fn erase(&mut self, user: &UserKey) {
        self.attrs.remove(user);
        self.tags.remove(user);
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
}
