//! How many users of each App are online. Guests are none of them.

use std::collections::HashMap;

use super::Registry;
use crate::key::{AppId, UserKey};
use crate::numbers::{self, Online};

/// Of each App that has or had some.
#[derive(Debug, Default)]
pub(super) struct OnlineUsers(HashMap<AppId, Online>);

impl OnlineUsers {
    /// A user has a first session.
    pub(super) fn come(&mut self, user: &UserKey) {
        if !user.is_guest() {
            let online = self.0.entry(user.app()).or_default();
            online.now += 1;
            online.most = online.most.max(online.now);
        }
    }

    /// A user has no session any more.
    pub(super) fn go(&mut self, user: &UserKey) {
        let online = self.0.get_mut(&user.app()).filter(|_| !user.is_guest());
        if let Some(online) = online {
            online.now = online.now.saturating_sub(1);
        }
    }
}

impl Registry {
    /// Users online, by App, and the most since the last call.
    pub(crate) fn take_online(&mut self) -> Vec<(AppId, Online)> {
        let mut all: Vec<_> = self.online.0.iter().map(|(app, online)| (*app, *online)).collect();
        all.sort_unstable_by_key(|(app, _)| *app);
        self.online.0.retain(|_, online| {
            online.most = online.now;
            online.now > 0
        });
        all
    }

    /// All users online, by the hashes under which they are counted. Looks at each of them.
    pub(crate) fn here(&self) -> Vec<(AppId, u64)> {
        let users = self.users.keys().filter(|user| !user.is_guest());
        users.map(|user| (user.app(), numbers::hash(user.as_bytes()))).collect()
    }
}
