//! Who is in a room: users with their sessions, how many are shown, who came last.

use std::collections::{HashMap, VecDeque};

use nearport_trunk::SessionId;

use crate::key::UserKey;

/// A user whose last session has gone stays a member this long (of the public contract).
pub(super) const GRACE_MS: u64 = 20_000;

/// Below this many users the number shown is exact; from here on it is looked at again only after [`SHOWN_FOR_MS`].
pub(super) const EXACT_BELOW: usize = 300;

/// How old the number shown may be (of the public contract).
pub(super) const SHOWN_FOR_MS: u64 = 10_000;

/// Names of those who came last (of the public contract).
const LATEST_MAX: usize = 30;

#[derive(Debug, Default)]
struct User {
    sessions: Vec<SessionId>,
    /// The last session went then, without a word.
    gone_ms: Option<u64>,
}

/// The users of a room.
#[derive(Debug, Default)]
pub(super) struct Presence {
    users: HashMap<UserKey, User>,
    /// Who has gone and when, in the order of time. Who has come back meanwhile stands here still.
    gone: VecDeque<(u64, UserKey)>,
    latest: VecDeque<UserKey>,
    shown: usize,
    shown_ms: u64,
}

impl Presence {
    /// Adds a session. Returns whether its user is new.
    pub(super) fn come(&mut self, user: &UserKey, session: SessionId, now_ms: u64) -> bool {
        let entry = self.users.entry(user.clone()).or_default();
        let new = entry.sessions.is_empty() && entry.gone_ms.is_none();
        entry.gone_ms = None;
        if !entry.sessions.contains(&session) {
            entry.sessions.push(session);
        }
        if new {
            // Guests are counted and not named.
            if !user.is_guest() {
                self.latest.retain(|known| known != user);
                self.latest.push_front(user.clone());
                self.latest.truncate(LATEST_MAX);
            }
            self.show(now_ms);
        }
        new
    }

    /// A session has ended. Its user stays for [`GRACE_MS`] if it was the last.
    pub(super) fn lose(&mut self, user: &UserKey, session: SessionId, now_ms: u64) {
        let Some(entry) = self.users.get_mut(user) else { return };
        entry.sessions.retain(|known| *known != session);
        if entry.sessions.is_empty() && entry.gone_ms.is_none() {
            entry.gone_ms = Some(now_ms);
            self.gone.push_back((now_ms, user.clone()));
        }
    }

    /// A user leaves, with all sessions, which are given back. `None`: it was not here.
    pub(super) fn leave(&mut self, user: &UserKey, now_ms: u64) -> Option<Vec<SessionId>> {
        let gone = self.users.remove(user)?;
        self.latest.retain(|known| known != user);
        self.show(now_ms);
        Some(gone.sessions)
    }

    /// Takes out who has been gone for too long, up to `max` of them.
    pub(super) fn expire(&mut self, now_ms: u64, max: usize) -> Vec<UserKey> {
        let mut expired = Vec::new();
        while expired.len() < max
            && let Some((at_ms, _)) = self.gone.front()
            && at_ms + GRACE_MS <= now_ms
        {
            let Some((at_ms, user)) = self.gone.pop_front() else { break };
            if self.users.get(&user).is_some_and(|entry| entry.gone_ms == Some(at_ms)) {
                self.leave(&user, now_ms);
                expired.push(user);
            }
        }
        expired
    }

    /// When [`Self::expire`] has something.
    pub(super) fn expires_ms(&self) -> Option<u64> {
        self.gone.front().map(|(at_ms, _)| at_ms + GRACE_MS)
    }

    pub(super) fn contains(&self, user: &UserKey) -> bool {
        self.users.contains_key(user)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.users.is_empty()
    }

    /// The number of users to show.
    pub(super) fn shown(&self) -> u32 {
        u32::try_from(self.shown).unwrap_or(u32::MAX)
    }

    /// Brings the number in step where it is time.
    pub(super) fn show(&mut self, now_ms: u64) {
        if self.users.len() < EXACT_BELOW || now_ms >= self.shown_ms + SHOWN_FOR_MS || self.shown == 0 {
            (self.shown, self.shown_ms) = (self.users.len(), now_ms);
        }
    }

    /// When the number is looked at again, if there are so many that this is every ten seconds only.
    pub(super) fn shows_ms(&self) -> Option<u64> {
        (self.users.len() >= EXACT_BELOW).then_some(self.shown_ms + SHOWN_FOR_MS)
    }

    /// Who came last, newest first.
    pub(super) fn latest(&self) -> impl Iterator<Item = &UserKey> {
        self.latest.iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key::AppId;

    fn user(n: usize) -> UserKey {
        UserKey::new(AppId(1), &format!("u{n}")).unwrap()
    }

    #[test]
    fn who_comes_back_in_time_has_not_been_away() {
        let mut room = Presence::default();
        assert!(room.come(&user(1), SessionId(1), 0));
        assert!(!room.come(&user(1), SessionId(2), 0), "another device");
        room.lose(&user(1), SessionId(1), 5);
        assert_eq!(room.expires_ms(), None);
        room.lose(&user(1), SessionId(2), 10);
        assert_eq!(room.expires_ms(), Some(20_010));
        assert!(!room.come(&user(1), SessionId(3), 20_009), "it was here all the time");
        assert!(room.expire(20_010, 9).is_empty());
        room.lose(&user(1), SessionId(3), 30_000);
        assert!(room.expire(49_999, 9).is_empty());
        assert_eq!(room.expire(50_000, 9), [user(1)]);
        assert!(room.is_empty() && room.expires_ms().is_none());
        assert!(room.come(&user(1), SessionId(4), 50_001));
    }

    #[test]
    fn the_number_is_exact_while_small_and_ten_seconds_old_when_large() {
        let mut room = Presence::default();
        for n in 0..EXACT_BELOW - 1 {
            room.come(&user(n), SessionId(n as u64), 0);
            assert_eq!(room.shown() as usize, n + 1);
        }
        for n in EXACT_BELOW - 1..400 {
            room.come(&user(n), SessionId(n as u64), 1);
        }
        assert_eq!(room.shown(), 299);
        room.show(9_999);
        assert_eq!(room.shown(), 299);
        room.show(10_000);
        assert_eq!(room.shown(), 400);
        assert_eq!(room.latest().count(), 30);
        assert_eq!(room.latest().next(), Some(&user(399)));
    }
}
