//! Accounts.

use std::collections::BTreeSet;

use nearport_wire::code;

use super::{Admin, Asker, Pending};
use crate::Error;
use crate::actor::Actor;
use crate::desk::people::publish;
use crate::directory::people::FieldValue;
use crate::key::{AppId, UserKey};
use crate::people::Effects;
use crate::reply::Failure;

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
    /// Registers accounts and sets what is given of their profiles; those that exist stay, their profiles change. The outcome is in
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
            shared.accounts.register(good, now_ms).map_err(|error| {
                tracing::error!(%error, "cannot register accounts");
                Failure::later(INTERNAL, "accounts cannot be registered, try again", 1000)
            })?;
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
            publish(shared, effects, None, out);
            Ok(outcomes)
        })
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
