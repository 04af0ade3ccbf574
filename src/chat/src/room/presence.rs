//! Who is in a room: users with their sessions, how many are shown, who came last.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::fmt;

use nearport_trunk::SessionId;

use crate::key::UserKey;

/// A user whose last session has gone stays a member this long (of the public contract).
pub(super) const GRACE_MS: u64 = 20_000;

/// Below this many users the number shown is exact; from here on it is looked at again only after [`SHOWN_FOR_MS`].
pub(super) const EXACT_BELOW: usize = 300;

/// How old the number shown may be (of the public contract).
pub(super) const SHOWN_FOR_MS: u64 = 10_000;

/// Users that are remembered to have gone without a word: those beyond come as if for the first time.
const AWAY_MAX: usize = 256;

/// Names of those who came last (of the public contract).
const LATEST_MAX: usize = 30;

/// Of so many who came last a back end is told, in pages (of the public contract).
const LISTED_MAX: usize = 1_000;
const LISTED_PAGE: usize = 500;

/// Marks of a room, and users that have the same (of the public contract).
const MARKS_MAX: usize = 10;
const MARKED_MAX: usize = 1_000;

/// Who has it is in no list, unless it is asked for by it (of the public contract).
const HIDDEN: u32 = 600;

/// Who has it stays when the last session goes, as if it were online, for three days (of the public contract).
const ALWAYS_ONLINE: u32 = 500;
const ALWAYS_ONLINE_MS: u64 = 3 * 86_400_000;

/// Marks of an App's own begin here (of the public contract).
const OWN_MARKS: u32 = 1_000;

#[derive(Debug, Default)]
struct User {
    sessions: Vec<SessionId>,
    /// The last session went then, without a word.
    gone_ms: Option<u64>,
    joined_ms: u64,
    /// Where it stands in the order of coming.
    place: u64,
    marks: BTreeSet<u32>,
    /// Until then it stays without a session; 0: it does not.
    stays_ms: u64,
}

/// How a user comes with a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Coming {
    /// They were not here.
    New,
    /// They were, went without a word, and were counted out since then.
    Back,
    /// They are here.
    Known,
}

/// Some of those who are in a room.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct RoomPage {
    /// Newest first, each with when it came.
    pub(crate) members: Vec<(UserKey, u64)>,
    /// Where it goes on; 0: that was all.
    pub(crate) next: u64,
}

/// Why marks are refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum MarkRefused {
    /// A number that is none.
    Number,
    /// The room has too many.
    Marks,
    /// Too many users have the same.
    Users,
}

impl fmt::Display for MarkRefused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Number => "marks are 500, 600, or 1000 and more",
            Self::Marks => "a room has at most 10 marks",
            Self::Users => "at most 1000 users of a room have the same mark",
        })
    }
}

/// The users of a room.
#[derive(Debug, Default)]
pub(super) struct Presence {
    users: HashMap<UserKey, User>,
    /// Who has gone and when, in the order of time. Who has come back meanwhile stands here still.
    gone: VecDeque<(u64, UserKey)>,
    /// Who stays without a session, by when that ends. Who has come back, or is marked no more, stands here still.
    staying: BTreeSet<(u64, UserKey)>,
    /// In the order of coming: by the time, or the next number if that is taken.
    order: BTreeMap<u64, UserKey>,
    /// How many have each mark.
    marks: BTreeMap<u32, usize>,
    /// Who was counted out and has not come back, oldest first.
    away: VecDeque<UserKey>,
    shown: usize,
    shown_ms: u64,
}

impl Presence {
    /// Adds a session.
    pub(super) fn come(&mut self, user: &UserKey, session: SessionId, now_ms: u64) -> Coming {
        let entry = self.users.entry(user.clone()).or_default();
        let new = entry.sessions.is_empty() && entry.gone_ms.is_none();
        entry.gone_ms = None;
        if !entry.sessions.contains(&session) {
            entry.sessions.push(session);
        }
        if new {
            entry.joined_ms = now_ms;
            // Guests are counted and not named.
            if !user.is_guest() {
                let place = self.order.last_key_value().map_or(0, |(last, _)| last + 1).max(now_ms.max(1));
                entry.place = place;
                self.order.insert(place, user.clone());
            }
            self.show(now_ms);
        }
        let away = if new { self.away.iter().position(|away| away == user) } else { None };
        match (new, away) {
            (false, _) => Coming::Known,
            (true, None) => Coming::New,
            (true, Some(at)) => {
                self.away.remove(at);
                Coming::Back
            }
        }
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
        self.order.remove(&gone.place);
        for mark in gone.marks {
            self.unmark(mark);
        }
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
            let Some(entry) = self.users.get(&user).filter(|entry| entry.gone_ms == Some(at_ms)) else {
                continue;
            };
            if entry.stays_ms > now_ms {
                self.staying.insert((entry.stays_ms, user));
            } else {
                self.leave(&user, now_ms);
                if self.away.len() >= AWAY_MAX {
                    self.away.pop_front();
                }
                if !user.is_guest() {
                    self.away.push_back(user.clone());
                }
                expired.push(user);
            }
        }
        while expired.len() < max && self.staying.first().is_some_and(|(until_ms, _)| *until_ms <= now_ms) {
            let Some((_, user)) = self.staying.pop_first() else { break };
            match self.users.get(&user).filter(|entry| entry.gone_ms.is_some()).map(|entry| entry.stays_ms) {
                // It was marked again.
                Some(until_ms) if until_ms > now_ms => {
                    self.staying.insert((until_ms, user));
                }
                Some(_) => {
                    self.leave(&user, now_ms);
                    expired.push(user);
                }
                None => {}
            }
        }
        expired
    }

    /// When [`Self::expire`] has something.
    pub(super) fn expires_ms(&self) -> Option<u64> {
        let gone = self.gone.front().map(|(at_ms, _)| at_ms + GRACE_MS);
        gone.into_iter().chain(self.staying.first().map(|(until_ms, _)| *until_ms)).min()
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
        self.order.values().rev().take(LATEST_MAX)
    }

    /// Those behind `from` (0: the beginning), of the newest 1,000 or of those with a mark.
    pub(super) fn page(&self, from: u64, mark: Option<u32>) -> RoomPage {
        let listed = |user: &UserKey| {
            let marks = self.users.get(user).map(|user| &user.marks);
            marks.is_some_and(|marks| match mark {
                Some(mark) => marks.contains(&mark),
                None => !marks.contains(&HIDDEN),
            })
        };
        let all = self.order.iter().rev().filter(|(_, user)| listed(user)).take(LISTED_MAX);
        let mut behind = all.skip_while(|(place, _)| from > 0 && **place >= from);
        let (mut members, mut last) = (Vec::new(), 0);
        for (place, user) in behind.by_ref().take(LISTED_PAGE) {
            last = *place;
            members.push((user.clone(), self.users.get(user).map_or(0, |user| user.joined_ms)));
        }
        RoomPage { members, next: if behind.next().is_some() { last } else { 0 } }
    }

    /// Sets marks of users, or takes them, and gives those who are here.
    pub(super) fn mark(
        &mut self,
        set: bool,
        users: &[(UserKey, Vec<u32>)],
        now_ms: u64,
    ) -> Result<Vec<UserKey>, MarkRefused> {
        let here: Vec<_> = users.iter().filter(|(user, _)| self.users.contains_key(user)).collect();
        let known = |mark: u32| matches!(mark, ALWAYS_ONLINE | HIDDEN | OWN_MARKS..);
        if users.iter().flat_map(|(_, marks)| marks).any(|mark| !known(*mark)) {
            return Err(MarkRefused::Number);
        }
        if set {
            let mut counts = self.marks.clone();
            for (user, marks) in &here {
                let known = self.users.get(user).map(|user| &user.marks);
                let new = marks.iter().collect::<BTreeSet<_>>();
                for mark in new.into_iter().filter(|mark| known.is_none_or(|known| !known.contains(mark))) {
                    *counts.entry(*mark).or_default() += 1;
                }
            }
            if counts.len() > MARKS_MAX {
                return Err(MarkRefused::Marks);
            }
            if counts.values().any(|count| *count > MARKED_MAX) {
                return Err(MarkRefused::Users);
            }
        }
        for (user, marks) in &here {
            for mark in marks {
                let Some(entry) = self.users.get_mut(user) else { continue };
                if *mark == ALWAYS_ONLINE {
                    entry.stays_ms = if set { now_ms + ALWAYS_ONLINE_MS } else { 0 };
                    if !set && entry.gone_ms.is_some() {
                        // It goes as if its session had gone just now.
                        entry.gone_ms = Some(now_ms);
                        self.gone.push_back((now_ms, user.clone()));
                    }
                }
                match set {
                    true if entry.marks.insert(*mark) => *self.marks.entry(*mark).or_default() += 1,
                    false if entry.marks.remove(mark) => self.unmark(*mark),
                    _ => {}
                }
            }
        }
        Ok(here.into_iter().map(|(user, _)| user.clone()).collect())
    }

    fn unmark(&mut self, mark: u32) {
        if let Some(count) = self.marks.get_mut(&mark) {
            *count -= 1;
            if *count == 0 {
                self.marks.remove(&mark);
            }
        }
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
        assert_eq!(room.come(&user(1), SessionId(1), 0), Coming::New);
        assert_eq!(room.come(&user(1), SessionId(2), 0), Coming::Known, "another device");
        room.lose(&user(1), SessionId(1), 5);
        assert_eq!(room.expires_ms(), None);
        room.lose(&user(1), SessionId(2), 10);
        assert_eq!(room.expires_ms(), Some(20_010));
        assert_eq!(room.come(&user(1), SessionId(3), 20_009), Coming::Known, "it was here all the time");
        assert!(room.expire(20_010, 9).is_empty());
        room.lose(&user(1), SessionId(3), 30_000);
        assert!(room.expire(49_999, 9).is_empty());
        assert_eq!(room.expire(50_000, 9), [user(1)]);
        assert!(room.is_empty() && room.expires_ms().is_none());
        assert_eq!(room.come(&user(1), SessionId(4), 50_001), Coming::Back, "it never said that it leaves");
        assert!(room.leave(&user(1), 50_002).is_some());
        assert_eq!(room.come(&user(1), SessionId(5), 50_003), Coming::New);
    }

    #[test]
    fn pages_go_from_the_newest_to_the_thousandth() {
        let mut room = Presence::default();
        for n in 0..1_200 {
            room.come(&user(n), SessionId(n as u64), 7);
        }
        let first = room.page(0, None);
        assert_eq!((first.members.len(), &first.members[0]), (500, &(user(1_199), 7)));
        // Whoever comes or goes meanwhile, nobody stands twice.
        room.come(&user(5_000), SessionId(5_000), 8);
        room.leave(&first.members[499].0, 8);
        let second = room.page(first.next, None);
        assert_eq!(second.members.first(), Some(&(user(699), 7)));
        assert_eq!((second.members.len(), second.next), (500, 0));
    }

    #[test]
    fn marks_are_bounded_and_end_with_the_presence() {
        let mut room = Presence::default();
        for n in 0..3 {
            room.come(&user(n), SessionId(n as u64), 1);
        }
        let of = |n, marks: &[u32]| (user(n), marks.to_vec());
        assert_eq!(room.mark(true, &[of(0, &[1000, HIDDEN]), of(9, &[1000])], 0), Ok(vec![user(0)]));
        assert_eq!(room.page(0, None).members.len(), 2);
        assert_eq!(room.page(0, Some(1000)).members, [(user(0), 1)]);
        assert_eq!(room.mark(true, &[of(1, &[999])], 0), Err(MarkRefused::Number));
        let many: Vec<_> = (2000..2009).collect();
        assert_eq!(room.mark(true, &[(user(1), many.clone())], 0), Err(MarkRefused::Marks));
        assert_eq!(room.mark(true, &[(user(1), many[1..].to_vec())], 0), Ok(vec![user(1)]));
        room.leave(&user(1), 2);
        assert_eq!(room.marks.len(), 2);
        assert_eq!(room.mark(false, &[of(0, &[HIDDEN])], 0), Ok(vec![user(0)]));
        assert_eq!(room.page(0, None).members.len(), 2);
    }

    #[test]
    fn who_is_marked_as_always_online_stays_for_three_days() {
        let mut room = Presence::default();
        for n in 0..3 {
            room.come(&user(n), SessionId(n as u64), 0);
        }
        let of = |n: usize| (user(n), vec![ALWAYS_ONLINE]);
        assert_eq!(room.mark(true, &[of(0), of(1), of(9)], 1_000), Ok(vec![user(0), user(1)]));
        for n in 0..3 {
            room.lose(&user(n), SessionId(n as u64), 2_000);
        }
        let grace = 2_000 + GRACE_MS;
        assert_eq!(room.expire(grace, 9), [user(2)]);
        let until = 1_000 + ALWAYS_ONLINE_MS;
        assert_eq!((room.expires_ms(), room.expire(until - 1, 9)), (Some(until), vec![]));
        // One is marked again, the other no more.
        room.mark(true, &[of(0)], 5_000).unwrap();
        room.mark(false, &[of(1)], 6_000).unwrap();
        assert_eq!(room.expire(6_000 + GRACE_MS, 9), [user(1)]);
        assert_eq!(room.expire(until, 9), []);
        assert_eq!(room.expires_ms(), Some(until + 4_000));
        // Who comes back is there by itself.
        room.come(&user(0), SessionId(7), until + 1);
        assert_eq!((room.expire(until + 4_000, 9), room.expires_ms()), (vec![], None));
        room.lose(&user(0), SessionId(7), until + 5_000);
        assert_eq!(room.expire(until + 5_000 + GRACE_MS, 9), [user(0)]);
        assert!(room.is_empty() && room.expires_ms().is_none());
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
