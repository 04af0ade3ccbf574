//! Users whose sessions went without a word, and who count as online for a while.

use std::collections::{BTreeSet, HashMap};

use nearport_wire::body::Platform;

use crate::key::UserKey;

/// Most that are kept, about 150 bytes each. Whoever goes beyond it counts as if its client had said so.
const LINGERING_MAX: usize = 131_072;

/// Most that go at one look, which the message path waits for: an edge that is lost takes all of its users with it at once.
const EXPIRED_AT_ONCE: usize = 4096;

/// Until when users count as online on platforms without having a session there.
#[derive(Debug, Default)]
pub(super) struct Lingering {
    users: HashMap<UserKey, Vec<(Platform, u64)>>,
    /// The same by time, with the number of the platform on the wire.
    due: BTreeSet<(u64, UserKey, i32)>,
}

impl Lingering {
    /// Keeps a user until then, or longer where another session says so. `false`: there is no room.
    pub(super) fn keep(&mut self, user: &UserKey, platform: Platform, until_ms: u64) -> bool {
        let known = self.users.get_mut(user).and_then(|all| all.iter_mut().find(|one| one.0 == platform));
        match known {
            Some((_, known_ms)) if *known_ms >= until_ms => return true,
            Some((_, known_ms)) => {
                self.due.remove(&(*known_ms, user.clone(), platform as i32));
                *known_ms = until_ms;
            }
            None if self.due.len() >= LINGERING_MAX => return false,
            None => self.users.entry(user.clone()).or_default().push((platform, until_ms)),
        }
        self.due.insert((until_ms, user.clone(), platform as i32));
        true
    }

    /// The platforms of a user, each once.
    pub(super) fn platforms(&self, user: &UserKey) -> impl Iterator<Item = Platform> {
        self.users.get(user).into_iter().flatten().map(|(platform, _)| *platform)
    }

    /// The user is there again on a platform, or is not wanted on it any more.
    pub(super) fn forget(&mut self, user: &UserKey, platform: Platform) {
        let Some(all) = self.users.get_mut(user) else { return };
        let Some(at) = all.iter().position(|one| one.0 == platform) else { return };
        let (_, until_ms) = all.swap_remove(at);
        if all.is_empty() {
            self.users.remove(user);
        }
        self.due.remove(&(until_ms, user.clone(), platform as i32));
    }

    /// Takes out who has not come back until now, in the order of time, as far as one look goes.
    pub(super) fn expired(&mut self, now_ms: u64) -> Vec<(UserKey, Platform)> {
        let mut expired = Vec::new();
        while expired.len() < EXPIRED_AT_ONCE
            && let Some((until_ms, ..)) = self.due.first()
            && *until_ms <= now_ms
            && let Some((_, user, platform)) = self.due.pop_first()
        {
            let platform = Platform::try_from(platform).unwrap_or_default();
            self.forget(&user, platform);
            expired.push((user, platform));
        }
        expired
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key::AppId;

    fn user(n: usize) -> UserKey {
        UserKey::new(AppId(1), &n.to_string()).unwrap()
    }

    #[test]
    fn the_longest_time_counts_and_each_platform_has_its_own() {
        let mut lingering = Lingering::default();
        for (platform, until_ms) in [(Platform::Iphone, 50), (Platform::Web, 20), (Platform::Iphone, 40)] {
            assert!(lingering.keep(&user(1), platform, until_ms));
        }
        assert!(lingering.keep(&user(2), Platform::Mac, 20));
        assert_eq!(lingering.expired(19), []);
        assert_eq!(lingering.expired(20), [(user(1), Platform::Web), (user(2), Platform::Mac)]);
        assert_eq!(lingering.platforms(&user(1)).collect::<Vec<_>>(), [Platform::Iphone]);
        assert_eq!(lingering.expired(49), []);
        assert!(lingering.keep(&user(1), Platform::Iphone, 60));
        assert_eq!(lingering.expired(59), []);
        lingering.forget(&user(1), Platform::Iphone);
        lingering.forget(&user(1), Platform::Iphone);
        assert_eq!(lingering.expired(u64::MAX), []);
        assert!(lingering.users.is_empty() && lingering.due.is_empty());
    }

    #[test]
    fn the_bound_holds() {
        let mut lingering = Lingering::default();
        for n in 0..LINGERING_MAX {
            assert!(lingering.keep(&user(n), Platform::Web, 9));
        }
        assert!(!lingering.keep(&user(LINGERING_MAX), Platform::Web, 9));
        assert!(lingering.keep(&user(0), Platform::Web, 10), "who is kept may be kept for longer");
        assert_eq!(lingering.due.len(), LINGERING_MAX);
        let looks = std::iter::from_fn(|| Some(lingering.expired(9).len()).filter(|gone| *gone > 0));
        let looks: Vec<_> = looks.collect();
        assert!(looks.iter().all(|gone| *gone <= EXPIRED_AT_ONCE), "{looks:?}");
        assert_eq!(looks.iter().sum::<usize>(), LINGERING_MAX - 1);
    }
}
