//! UserSigs that were verified before: a back end sends the same one with every request.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::apps::KnownApp;
use crate::key::UserKey;

/// Most that are remembered, in two generations: a full young one becomes the old one, whose entries go unless they are asked for
/// again. Back ends have a few.
const HALF: usize = 512;

/// Longer ones are verified each time; those of the libraries have about 200 bytes.
const SIG_BYTES_MAX: usize = 1024;

/// How long it is remembered that an administrator has no account, and so no kick that counts: most have none, and each request would
/// ask the directory. One that gets an account is kicked with effect after this time at the latest.
const ABSENT_MS: u64 = 1000;

/// Verified UserSigs by their whole text. What makes one bad later is looked at by whoever asks: the time, a kick, the App's keys.
#[derive(Default)]
pub(super) struct Seen(Mutex<Generations>);

#[derive(Default)]
struct Generations {
    young: HashMap<Box<str>, Sig>,
    old: HashMap<Box<str>, Sig>,
    /// Administrators without an account, with when that was looked up. As many as there are administrators.
    absent: HashMap<UserKey, u64>,
}

#[derive(Clone)]
struct Sig {
    user: UserKey,
    /// With whose keys it was verified.
    app: Arc<KnownApp>,
    issued_s: u64,
    expires_s: u64,
}

impl Seen {
    /// When a UserSig of `user` was issued that was verified with the keys that `app` has and is good still.
    pub(super) fn issued_s(&self, usersig: &str, user: &UserKey, app: &KnownApp, now_s: u64) -> Option<u64> {
        let mut sigs = self.lock();
        let sig = match sigs.young.get(usersig) {
            Some(sig) => sig,
            None => {
                let (text, sig) = sigs.old.remove_entry(usersig)?;
                sigs.insert(text.clone(), sig);
                sigs.young.get(&text)?
            }
        };
        let good = sig.user == *user && now_s < sig.expires_s && sig.app.has_keys_of(app);
        good.then_some(sig.issued_s)
    }

    /// One that was verified now.
    pub(super) fn remember(
        &self,
        usersig: &str,
        user: &UserKey,
        app: &Arc<KnownApp>,
        (issued_s, expires_s): (u64, u64),
    ) {
        if usersig.len() <= SIG_BYTES_MAX {
            let sig = Sig { user: user.clone(), app: app.clone(), issued_s, expires_s };
            self.lock().insert(usersig.into(), sig);
        }
    }

    /// Whether this administrator had no account a moment ago.
    pub(super) fn is_absent(&self, admin: &UserKey, now_ms: u64) -> bool {
        // A clock that was set back makes it unknown.
        let age_ms = self.lock().absent.get(admin).and_then(|at_ms| now_ms.checked_sub(*at_ms));
        age_ms.is_some_and(|age_ms| age_ms < ABSENT_MS)
    }

    /// This administrator has no account now.
    pub(super) fn absent(&self, admin: &UserKey, now_ms: u64) {
        self.lock().absent.insert(admin.clone(), now_ms);
    }

    fn lock(&self) -> MutexGuard<'_, Generations> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Generations {
    fn insert(&mut self, text: Box<str>, sig: Sig) {
        if self.young.len() >= HALF && !self.young.contains_key(&text) {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(text, sig);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::apps::know_for_tests;
    use crate::key::AppId;

    #[test]
    fn what_was_verified_counts_for_its_user_time_and_keys_alone() {
        let (seen, app) = (Seen::default(), know_for_tests("secret"));
        let user = |name| UserKey::new(AppId(1), name).unwrap();
        let admin = user("admin");
        assert_eq!(seen.issued_s("sig", &admin, &app, 10), None);
        seen.remember("sig", &admin, &app, (5, 20));
        assert_eq!(seen.issued_s("sig", &admin, &app, 19), Some(5));
        assert_eq!(seen.issued_s("sig", &admin, &app, 20), None, "its time is over");
        assert_eq!(seen.issued_s("sig", &user("other"), &app, 10), None, "somebody else's");
        assert_eq!(seen.issued_s("sig", &admin, &know_for_tests("new"), 10), None, "the key was changed");
        assert_eq!(seen.issued_s("sig", &admin, &know_for_tests("secret"), 10), Some(5), "only read again");
        let long = "x".repeat(SIG_BYTES_MAX + 1);
        seen.remember(&long, &admin, &app, (5, 20));
        assert_eq!(seen.issued_s(&long, &admin, &app, 10), None);
    }

    #[test]
    fn an_administrator_without_an_account_is_looked_up_once_a_second() {
        let (seen, admin) = (Seen::default(), UserKey::new(AppId(1), "admin").unwrap());
        assert!(!seen.is_absent(&admin, 5_000));
        seen.absent(&admin, 5_000);
        assert!(seen.is_absent(&admin, 5_999) && !seen.is_absent(&admin, 6_000));
        assert!(!seen.is_absent(&admin, 4_999), "the clock was set back");
    }

    #[test]
    fn the_bound_holds_and_what_is_used_stays() {
        let (seen, app) = (Seen::default(), know_for_tests("secret"));
        let admin = UserKey::new(AppId(1), "admin").unwrap();
        for n in 0..4 * HALF {
            seen.remember(&n.to_string(), &admin, &app, (5, 20));
            assert_eq!(seen.issued_s("0", &admin, &app, 10), Some(5), "{n}");
            let sigs = seen.lock();
            assert!(sigs.young.len() <= HALF && sigs.old.len() <= HALF);
        }
        assert_eq!(seen.issued_s("1", &admin, &app, 10), None);
    }
}
