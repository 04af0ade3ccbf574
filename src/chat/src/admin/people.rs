//! Profiles and relations: the calls of [`People`] by the rights of an administrator.

use nearport_wire::body::UserStatus;

use super::{Admin, Asker, Pending};
use crate::actor::Actor;
use crate::desk::people::publish;
use crate::key::{AppId, UserKey};
use crate::people::{Effects, FollowCounts, People, Profile};
use crate::reply::Failure;

/// Whom a call of a back end is about, and when.
#[derive(Debug, Clone, Copy)]
pub struct For<'a> {
    /// The administrator.
    pub actor: Actor<'a>,
    /// Whose profile or relations.
    pub user: &'a UserKey,
    /// Milliseconds since the Unix epoch.
    pub now_ms: u64,
}

impl Admin {
    /// Lets `work` change the profile or the relations of `user`, on the desk's thread. Clients hear of what it notes as [`Effects`],
    /// once it has returned. A name that nobody can have is refused with `no_account`.
    pub fn change_people<T: Send + 'static>(
        &self,
        asker: &Asker,
        user: &str,
        no_account: u32,
        work: impl FnOnce(&People, For<'_>, &mut Effects) -> Result<T, Failure> + Send + 'static,
    ) -> Pending<Result<T, Failure>> {
        let user = match named(asker, user, no_account) {
            Ok(user) => user,
            Err(failure) => return Pending::ready(Err(failure)),
        };
        let (admin, origin) = (asker.admin.clone(), asker.origin());
        self.on_desk(move |shared, now_ms, out| {
            let mut effects = Effects::told_by(&shared.callbacks, origin, now_ms);
            let about = For { actor: Actor::Admin(&admin), user: &user, now_ms };
            let done = work(&shared.people, about, &mut effects);
            // Also after a failure: what was noted has happened.
            publish(shared, effects, None, origin, out);
            done
        })
    }

    /// Lets `work` read the profile or the relations of `user`.
    ///
    /// # Errors
    /// `no_account` for a name that nobody can have, and those of `work`.
    pub fn read_people<T>(
        &self,
        asker: &Asker,
        user: &str,
        no_account: u32,
        work: impl FnOnce(&People, For<'_>) -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        let user = named(asker, user, no_account)?;
        let about = For { actor: Actor::Admin(&asker.admin), user: &user, now_ms: self.now_ms() };
        work(&self.shared.people, about)
    }

    /// How users are, in the order of `users`; 70107 for one that is no account.
    ///
    /// # Errors
    /// 40001 (none, or more than 500), 40006.
    pub fn statuses(&self, app: AppId, users: &[String]) -> Result<Vec<UserStatus>, Failure> {
        self.shared.statuses(app, users, self.now_ms())
    }

    /// Numbers of followers; see [`People::count_follows`].
    ///
    /// # Errors
    /// Those of [`People::count_follows`].
    pub fn count_follows(
        &self,
        app: AppId,
        users: &[String],
    ) -> Result<Vec<Result<FollowCounts, Failure>>, Failure> {
        self.shared.people.count_follows(app, users)
    }

    /// Fields of profiles; see [`People::profiles`].
    ///
    /// # Errors
    /// Those of [`People::profiles`].
    pub fn profiles(
        &self,
        asker: &Asker,
        users: &[String],
        tags: &[String],
    ) -> Result<Vec<Profile>, Failure> {
        self.shared.people.profiles(&Actor::Admin(&asker.admin), asker.app, users, tags)
    }
}

fn named(asker: &Asker, user: &str, no_account: u32) -> Result<UserKey, Failure> {
    UserKey::new(asker.app, user).map_err(|error| Failure::new(no_account, format!("the user: {error}")))
}
