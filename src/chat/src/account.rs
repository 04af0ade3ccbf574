//! Accounts: what an operator does with them, and the cache that logins and sends ask.

mod cache;

use std::collections::BTreeSet;

pub(crate) use cache::{Accounts, Standing};

use crate::Error;
use crate::directory::{Account, Mutes};
use crate::downs::Downs;
use crate::key::{AppId, UserKey};
use crate::shared::Shared;

impl Shared {
    /// Registers accounts, durable when it returns. Those that exist stay as they are, those that were deleted begin anew.
    ///
    /// # Errors
    /// [`Error::Name`] for the first bad name and [`Error::Directory`]; then none was registered.
    pub fn register(&self, app: AppId, names: &[&str], now_ms: u64) -> Result<(), Error> {
        let keys = names.iter().map(|name| UserKey::new(app, name)).collect::<Result<BTreeSet<_>, _>>()?;
        Ok(self.accounts.import(keys, now_ms)?)
    }

    /// Ends all sessions of a user and refuses UserSigs issued before now: a login needs a new one. Returns how many
    /// sessions it ended.
    ///
    /// UserSigs carry whole seconds, so one issued in the second of the kick is still good: refusing it too would
    /// refuse the new one that the App's back end makes right after the kick.
    ///
    /// # Errors
    /// [`Error::Name`], [`Error::NoAccount`], [`Error::Directory`]; then nothing has changed.
    pub fn kick_user(&self, app: AppId, name: &str, now_ms: u64) -> Result<usize, Error> {
        let user = UserKey::new(app, name)?;
        self.accounts.refuse_before(&user, now_ms / 1000)?;
        Ok(self.end_sessions(&user, "ended by an administrator, log in with a new usersig"))
    }

    /// Deletes an account and ends its sessions; durable when it returns. From here on a login is refused until an App's back end
    /// registers the account again. What else there is of the user has been taken away before. Whether the account existed.
    ///
    /// # Errors
    /// [`Error::Directory`]; then nothing has changed.
    pub(crate) fn end_account(&self, user: &UserKey, now_ms: u64) -> Result<bool, Error> {
        let existed = self.accounts.delete(user, now_ms)?;
        self.end_sessions(user, "the account was deleted");
        Ok(existed)
    }

    /// Ends all sessions of a user, whose answers in [`Accounts`] were withdrawn. Gives how many they were.
    fn end_sessions(&self, user: &UserKey, reason: &str) -> usize {
        // A login that is half way has either seen the change or registered its session by now; see `admit` in
        // `front`. So nothing slips through between the two.
        let mut downs = Downs::new(self.links.clone());
        let mut registry = self.registry();
        let removed = registry.remove_user(user);
        for session in &removed {
            self.kick(session, reason, &mut downs);
        }
        downs.flush();
        self.metrics.sessions.set(registry.len() as f64);
        removed.len()
    }

    /// Keeps a user from sending to users (refused with 20012) and to groups and live rooms (10017) for so many seconds from now, durable
    /// when it returns and from the next message on; 0 ends it, [`u32::MAX`] is for ever, `None` stays as it is. It ends by itself.
    /// What an administrator sends in the user's name goes out.
    ///
    /// # Errors
    /// [`Error::NoAccount`], [`Error::Directory`]; then nothing has changed.
    pub fn set_account_mutes(
        &self,
        user: &UserKey,
        users_s: Option<u32>,
        groups_s: Option<u32>,
        now_ms: u64,
    ) -> Result<(), Error> {
        let until_ms = |seconds: u32| match seconds {
            0 => 0,
            u32::MAX => Mutes::FOR_EVER_MS,
            seconds => now_ms.saturating_add(u64::from(seconds) * 1000),
        };
        self.accounts.set_mutes(user, users_s.map(until_ms), groups_s.map(until_ms))
    }

    /// How many seconds are left in which a user may not send to users, and to groups and live rooms: rounded up, 0 for none,
    /// [`u32::MAX`] for ever.
    ///
    /// # Errors
    /// [`Error::NoAccount`], [`Error::Directory`].
    pub fn account_mutes(&self, user: &UserKey, now_ms: u64) -> Result<(u32, u32), Error> {
        let Mutes { users_until_ms, groups_until_ms } = self.accounts.known(user)?.mutes;
        let left_s = |until_ms: u64| match until_ms {
            Mutes::FOR_EVER_MS.. => u32::MAX,
            until_ms => {
                let left_s = until_ms.saturating_sub(now_ms).div_ceil(1000);
                // A clock that was set back must not make it endless.
                u32::try_from(left_s).unwrap_or(u32::MAX).min(u32::MAX - 1)
            }
        };
        Ok((left_s(users_until_ms), left_s(groups_until_ms)))
    }
}

/// A new account as the first login or an operator makes it.
fn new_account(key: UserKey, created_ms: u64) -> Account {
    Account { key, created_ms, valid_from_s: 0, mutes: Mutes::default() }
}
