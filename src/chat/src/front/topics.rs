//! A session hears the groups of its user from its login on.

use std::collections::BTreeSet;

use nearport_trunk::{SessionId, Topic};

use super::Front;
use crate::directory::DirectoryError;
use crate::key::UserKey;
use crate::registry::Registry;

impl Front {
    /// Notes in the registry that sessions, which are in it, hear the groups of their users. What tells the edge is the list of
    /// topics in `Accept` and `Adopted`: a client asks for the heads of its groups after that, so what is published before is not
    /// missed.
    ///
    /// The desk may change who is in a group meanwhile. Who becomes a member after the look-up is found in the registry by the
    /// desk. Who ceases to be one before the note is made would not be: so if anything was changed since the look-up,
    /// there is a second one after the note, and what it does not name is withdrawn. A change after that finds the note.
    pub(super) fn hear_groups(&self, sessions: &[(SessionId, UserKey)]) -> Result<(), DirectoryError> {
        if sessions.is_empty() {
            return Ok(());
        }
        let groups = &self.shared.groups;
        let users: Vec<_> = sessions.iter().map(|(_, user)| user.clone()).collect();
        let version = groups.version();
        let found = groups.of_users(&users)?;
        if found.iter().all(Vec::is_empty) {
            return Ok(());
        }
        let mut registry = self.shared.registry();
        for ((session, _), groups) in sessions.iter().zip(&found) {
            for group in groups {
                registry.join_topic(*session, &group.topic());
            }
        }
        drop(registry);
        if groups.version() == version {
            return Ok(());
        }
        let now = groups.of_users(&users)?;
        let mut withdrawn = Vec::new();
        for (((session, _), before), now) in sessions.iter().zip(found).zip(now) {
            let now: BTreeSet<_> = now.into_iter().collect();
            withdrawn.extend(
                before.into_iter().filter(|group| !now.contains(group)).map(|group| (session, group)),
            );
        }
        let mut registry = self.shared.registry();
        for (session, group) in withdrawn {
            registry.leave_topic(*session, &group.topic());
        }
        Ok(())
    }
}

/// All topics of a session, its user's first.
pub(super) fn topics(registry: &Registry, session: SessionId, user: &UserKey) -> Vec<Topic> {
    let mut topics: Vec<_> = registry.topic(user).into_iter().collect();
    topics.extend(registry.topics_of(session).cloned());
    topics
}
