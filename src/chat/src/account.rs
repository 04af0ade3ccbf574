//! Accounts: what an operator does with them, and the cache that logins and sends ask.

mod cache;

use std::collections::BTreeSet;

pub(crate) use cache::Accounts;

use crate::Error;
use crate::directory::Account;
use crate::downs::Downs;
use crate::key::{AppId, UserKey};
use crate::shared::Shared;

impl Shared {
    /// Registers accounts, durable when it returns. Those that exist stay as they are.
    ///
    /// # Errors
    /// [`Error::Name`] for the first bad name and [`Error::Directory`]; then none was registered.
    pub fn register(&self, app: AppId, names: &[&str], now_ms: u64) -> Result<(), Error> {
        let keys = names.iter().map(|name| UserKey::new(app, name)).collect::<Result<BTreeSet<_>, _>>()?;
        Ok(self.accounts.register(keys, now_ms)?)
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
        // A login that is half way has either seen the new bound or registered its session by now; see `admit` in
        // `front`. So nothing slips through between the two.
        let mut downs = Downs::new(self.links.clone());
        let mut registry = self.registry();
        let removed = registry.remove_user(&user);
        for session in &removed {
            self.kick(session, "ended by an administrator, log in with a new usersig", &mut downs);
        }
        downs.flush();
        self.metrics.sessions.set(registry.len() as f64);
        Ok(removed.len())
    }
}

/// A new account as the first login or an operator makes it.
fn new_account(key: UserKey, created_ms: u64) -> Account {
    Account { key, created_ms, valid_from_s: 0 }
}
