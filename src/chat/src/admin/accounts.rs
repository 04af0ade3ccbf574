//! Accounts.

use std::collections::BTreeSet;

use nearport_wire::code;

use super::{Admin, Asker, Pending};
use crate::Error;
use crate::actor::Actor;
use crate::callback::Origin;
use crate::desk::group::leave_some;
use crate::desk::people::publish;
use crate::directory::people::FieldValue;
use crate::downs::Downs;
use crate::key::{AppId, UserKey};
use crate::people::Effects;
use crate::reply::Failure;
use crate::shared::Shared;

/// "Internal error; retry" of the account service, of the public contract.
const INTERNAL: u32 = 70500;

/// An account to be registered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewAccount {
    /// Its name.
    pub user: String,
    /// Nickname, for its profile.
    pub nick: Option<String>,
    /// URL of a picture, for its profile.
    pub face_url: Option<String>,
}

impl Admin {
    /// Registers accounts and sets what is given of their profiles; those that exist stay, their profiles change; those that were
    /// deleted begin anew. The outcome is in
    /// the order of `accounts`. One whose profile was refused is registered all the same.
    pub fn import_accounts(
        &self,
        asker: &Asker,
        accounts: Vec<NewAccount>,
    ) -> Pending<Result<Vec<Result<(), Failure>>, Failure>> {
        let asker = asker.clone();
        self.on_desk(move |shared, now_ms, out| {
            let key = |account: &NewAccount| {
                UserKey::new(asker.app, &account.user)
                    .map_err(|error| Failure::new(code::BAD_PARAMETER, format!("the user: {error}")))
            };
            let keys: Vec<_> = accounts.iter().map(key).collect();
            let good: BTreeSet<_> = keys.iter().flatten().cloned().collect();
            shared.accounts.import(good, now_ms).map_err(|error| {
                tracing::error!(%error, "cannot register accounts");
                Failure::later(INTERNAL, "accounts cannot be registered, try again", 1000)
            })?;
            // Imports tell back ends nothing.
            let mut effects = Effects::default();
            let outcomes = accounts.iter().zip(keys).map(|(account, key)| {
                let key = key?;
                let fields: Vec<_> =
                    [("Tag_Profile_IM_Nick", &account.nick), ("Tag_Profile_IM_Image", &account.face_url)]
                        .into_iter()
                        .filter_map(|(tag, value)| {
                            value.clone().map(|value| (tag.to_owned(), FieldValue::Text(value)))
                        })
                        .collect();
                if fields.is_empty() {
                    return Ok(());
                }
                shared.people.set_profile(&Actor::Admin(&asker.admin), &key, &fields, &mut effects)
            });
            let outcomes = outcomes.collect();
            publish(shared, effects, None, Origin::REST, out);
            Ok(outcomes)
        })
    }

    /// Deletes an account: profile, relations in both directions, settings of conversations and memberships end with it, logins are
    /// refused until it is imported again. Messages stay with those they were exchanged with. It goes in steps between which the
    /// desk has time for others, the account itself last: after a failure the same call goes on, as after one that was dropped.
    /// `None` as for [`Pending`].
    ///
    /// The outcome is 70107 if it does not exist, 30006, 30008 or 70500.
    pub async fn delete_account(&self, asker: &Asker, user: &str) -> Option<Result<(), Failure>> {
        loop {
            let (asker, user) = (asker.clone(), user.to_owned());
            let step =
                self.on_desk(move |shared, now_ms, out| delete_some(shared, &asker, &user, now_ms, out));
            match step.await? {
                Ok(true) => {}
                Ok(false) => return Some(Ok(())),
                Err(failure) => return Some(Err(failure)),
            }
        }
    }

    /// Which accounts exist, in the order of `users`; what cannot be a name does not.
    ///
    /// # Errors
    /// 70500.
    pub fn accounts_exist(&self, app: AppId, users: &[String]) -> Result<Vec<bool>, Failure> {
        let keys: Vec<_> = users.iter().map(|user| UserKey::new(app, user).ok()).collect();
        let good: Vec<_> = keys.iter().flatten().cloned().collect();
        let found = self.shared.accounts.find(&good).map_err(|error| {
            tracing::error!(%error, "cannot look accounts up");
            Failure::later(INTERNAL, "accounts cannot be looked up, try again", 1000)
        })?;
        let mut found = found.accounts.into_iter();
        Ok(keys.iter().map(|key| key.is_some() && found.next().flatten().is_some()).collect())
    }

    /// Keeps a user from sending; see [`Shared::set_account_mutes`](crate::shared::Shared::set_account_mutes).
    ///
    /// # Errors
    /// `unknown` for what is no account, 130014.
    pub fn set_mutes(
        &self,
        app: AppId,
        user: &str,
        users_s: Option<u32>,
        groups_s: Option<u32>,
        unknown: u32,
    ) -> Result<(), Failure> {
        let user = UserKey::new(app, user).map_err(|error| not_muted(error.into(), unknown))?;
        let set = self.shared.set_account_mutes(&user, users_s, groups_s, self.now_ms());
        set.map_err(|error| not_muted(error, unknown))
    }

    /// Seconds that are left in which a user may not send to users, and to groups.
    ///
    /// # Errors
    /// As [`Self::set_mutes`].
    pub fn mutes(&self, app: AppId, user: &str, unknown: u32) -> Result<(u32, u32), Failure> {
        let user = UserKey::new(app, user).map_err(|error| not_muted(error.into(), unknown))?;
        self.shared.account_mutes(&user, self.now_ms()).map_err(|error| not_muted(error, unknown))
    }

    /// Ends all sessions of a user and refuses UserSigs issued before now; see [`Shared::kick_user`](crate::shared::Shared::kick_user).
    ///
    /// # Errors
    /// 70402, 70107, 70500.
    pub fn kick(&self, app: AppId, user: &str) -> Result<usize, Failure> {
        self.shared.kick_user(app, user, self.now_ms()).map_err(|error| match error {
            Error::Name(error) => Failure::new(code::BAD_PARAMETER, format!("the user: {error}")),
            Error::NoAccount => {
                Failure::new(code::ACCOUNT_NOT_FOUND, "Err_TLS_PT_Open_Login_Account_Not_Exist")
            }
            error => {
                tracing::error!(%error, "cannot kick");
                Failure::later(INTERNAL, "the account cannot be changed, try again", 1000)
            }
        })
    }
}

/// A step of the end of an account. Whether there is another one.
fn delete_some(
    shared: &Shared,
    asker: &Asker,
    user: &str,
    now_ms: u64,
    out: &mut Downs,
) -> Result<bool, Failure> {
    let nobody = || Failure::new(code::ACCOUNT_NOT_FOUND, "Err_TLS_PT_Open_Login_Account_Not_Exist");
    let internal = |error: Error| match error {
        Error::NoAccount => nobody(),
        error => {
            tracing::error!(%error, "cannot delete an account");
            Failure::later(INTERNAL, "the account cannot be deleted, try again", 1000)
        }
    };
    let user = UserKey::new(asker.app, user).map_err(|_| nobody())?;
    shared.accounts.known(&user).map_err(internal)?;
    let left = leave_some(shared, &asker.admin, &user, now_ms, out);
    if left.map_err(|failure| Failure { code: INTERNAL, ..failure })? {
        return Ok(true);
    }
    let mut effects = Effects::told_by(&shared.callbacks, asker.origin(), now_ms);
    let more = shared.people.erase(&user, &mut effects);
    publish(shared, effects, None, asker.origin(), out);
    if more? {
        return Ok(true);
    }
    match shared.end_account(&user, now_ms).map_err(internal)? {
        true => Ok(false),
        false => Err(nobody()),
    }
}

fn not_muted(error: Error, unknown: u32) -> Failure {
    match error {
        Error::Name(_) | Error::NoAccount => Failure::new(unknown, "the account does not exist"),
        error => {
            tracing::error!(%error, "cannot read or set who is muted");
            Failure::later(130_014, "the account cannot be looked up, try again", 1000)
        }
    }
}
