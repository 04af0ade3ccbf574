//! Uploads that have begun and are not complete: whose they are, and how many bytes they may still take.
//!
//! Bytes count from the beginning of an upload, with the size that was announced, so that a disk cannot be filled by promises. A user
//! at a bound gets room from those of the own uploads on which nothing happened for a while: an application that was killed in
//! the middle of one begins another.

use std::collections::HashMap;

use crate::id::MediaId;
use crate::sign::Claims;

/// An upload on which nothing happened for so long makes room for another of its user, in seconds.
const IDLE_S: u64 = 600;
/// Uploads of one user that have begun.
const USER_UPLOADS_MAX: usize = 64;
/// Requests of one user that carry content at once.
const USER_ACTIVE_MAX: usize = 8;
/// All uploads that have begun.
const UPLOADS_MAX: usize = 65_536;

/// Whose bytes.
type Owner = (u32, String);

#[derive(Debug)]
struct Entry {
    owner: Owner,
    size: u64,
    /// Unix seconds at which something happened.
    last_s: u64,
    expires_s: u64,
    active: usize,
}

#[derive(Debug, Default)]
struct Share {
    bytes: u64,
    uploads: usize,
    active: usize,
}

/// The books. Pure: the caller has the time.
#[derive(Debug)]
pub(crate) struct Underway {
    uploads: HashMap<MediaId, Entry>,
    users: HashMap<Owner, Share>,
    apps: HashMap<u32, u64>,
    user_bytes_max: u64,
    app_bytes_max: u64,
    /// Given up to make room: their files go with the next sweep.
    given_up: Vec<MediaId>,
}

/// Why there is no room.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Full {
    #[error("too much of yours is being uploaded: finish or give up another upload first")]
    User,
    #[error("too much of this App is being uploaded, try again later")]
    App,
    #[error("too many uploads have begun, try again later")]
    All,
}

impl Full {
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::User => "user_full",
            Self::App => "app_full",
            Self::All => "full",
        }
    }
}

impl Underway {
    pub(crate) fn new(user_bytes_max: u64, app_bytes_max: u64) -> Self {
        let (uploads, users, apps) = Default::default();
        Self { uploads, users, apps, user_bytes_max, app_bytes_max, given_up: Vec::new() }
    }

    pub(crate) fn len(&self) -> usize {
        self.uploads.len()
    }

    /// Bytes that were announced and are not complete.
    pub(crate) fn bytes(&self) -> u64 {
        self.apps.values().sum()
    }

    /// Takes an upload into the books, unless it is there.
    pub(crate) fn begin(&mut self, claims: &Claims, now_s: u64) -> Result<(), Full> {
        if self.uploads.contains_key(&claims.id) {
            return Ok(());
        }
        let owner = (claims.app, claims.user.clone());
        while let Err(full) = self.room(&owner, claims.size) {
            let idle = |entry: &&Entry| entry.owner == owner && entry.active == 0;
            let stale = |entry: &&Entry| now_s.saturating_sub(entry.last_s) >= IDLE_S;
            let candidates = self.uploads.iter().filter(|(_, entry)| idle(entry) && stale(entry));
            let oldest = candidates.min_by_key(|(id, entry)| (entry.last_s, **id)).map(|(id, _)| *id);
            let Some(oldest) = oldest.filter(|_| full == Full::User) else { return Err(full) };
            self.end(oldest);
            self.given_up.push(oldest);
        }
        self.enter(claims.id, owner, claims.size, claims.expires_s, now_s);
        Ok(())
    }

    /// Takes one in that an earlier process had: whatever the bounds say, for its bytes are there.
    pub(crate) fn found(&mut self, id: MediaId, app: u32, user: &str, size: u64, expires_s: u64, now_s: u64) {
        if !self.uploads.contains_key(&id) {
            self.enter(id, (app, user.to_owned()), size, expires_s, now_s);
        }
    }

    fn enter(&mut self, id: MediaId, owner: Owner, size: u64, expires_s: u64, last_s: u64) {
        let share = self.users.entry(owner.clone()).or_default();
        share.bytes += size;
        share.uploads += 1;
        *self.apps.entry(owner.0).or_default() += size;
        self.uploads.insert(id, Entry { owner, size, last_s, expires_s, active: 0 });
    }

    fn room(&self, owner: &Owner, size: u64) -> Result<(), Full> {
        let user = self.users.get(owner);
        let bytes = user.map_or(0, |share| share.bytes);
        if user.map_or(0, |share| share.uploads) >= USER_UPLOADS_MAX
            || bytes.saturating_add(size) > self.user_bytes_max
        {
            return Err(Full::User);
        }
        if self.apps.get(&owner.0).copied().unwrap_or_default().saturating_add(size) > self.app_bytes_max {
            return Err(Full::App);
        }
        if self.uploads.len() >= UPLOADS_MAX { Err(Full::All) } else { Ok(()) }
    }

    /// A request for an upload begins to carry content.
    pub(crate) fn enter_request(&mut self, claims: &Claims, now_s: u64) -> Result<(), Full> {
        self.begin(claims, now_s)?;
        let Some(entry) = self.uploads.get_mut(&claims.id) else { return Err(Full::All) };
        let Some(share) = self.users.get_mut(&entry.owner) else { return Err(Full::All) };
        if share.active >= USER_ACTIVE_MAX {
            return Err(Full::User);
        }
        share.active += 1;
        entry.active += 1;
        entry.last_s = now_s;
        Ok(())
    }

    /// It has ended.
    pub(crate) fn leave_request(&mut self, claims: &Claims, now_s: u64) {
        if let Some(entry) = self.uploads.get_mut(&claims.id) {
            entry.active = entry.active.saturating_sub(1);
            entry.last_s = now_s;
            if let Some(share) = self.users.get_mut(&entry.owner) {
                share.active = share.active.saturating_sub(1);
            }
        }
    }

    /// Takes an upload out: complete, or given up.
    pub(crate) fn end(&mut self, id: MediaId) {
        let Some(entry) = self.uploads.remove(&id) else { return };
        if let Some(share) = self.users.get_mut(&entry.owner) {
            share.bytes = share.bytes.saturating_sub(entry.size);
            share.uploads = share.uploads.saturating_sub(1);
            share.active = share.active.saturating_sub(entry.active);
            if share.uploads == 0 {
                self.users.remove(&entry.owner);
            }
        }
        if let Some(bytes) = self.apps.get_mut(&entry.owner.0) {
            *bytes = bytes.saturating_sub(entry.size);
            if *bytes == 0 {
                self.apps.remove(&entry.owner.0);
            }
        }
    }

    /// Ends those whose time is over, and names them with those that were given up.
    pub(crate) fn expire(&mut self, now_s: u64) -> Vec<MediaId> {
        let over = |entry: &Entry| entry.active == 0 && now_s > entry.expires_s;
        let expired: Vec<_> =
            self.uploads.iter().filter(|(_, entry)| over(entry)).map(|(id, _)| *id).collect();
        expired.iter().for_each(|id| self.end(*id));
        // One that was taken up again since is not given up any more.
        let mut gone = std::mem::take(&mut self.given_up);
        gone.retain(|id| !self.uploads.contains_key(id));
        gone.extend(expired);
        gone
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kind::Kind;
    use proptest::prelude::*;

    const NOW: u64 = 1_800_000_000;

    fn claims(user: &str, size: u64) -> Claims {
        Claims {
            app: 7,
            user: user.into(),
            id: MediaId::new(NOW * 1000).unwrap(),
            kind: Kind::File,
            size,
            sha256: None,
            name: String::new(),
            content_type: String::new(),
            expires_s: NOW + 5000,
        }
    }

    #[test]
    fn bytes_count_until_an_upload_ends() {
        let mut books = Underway::new(100, 150);
        let first = claims("alice", 60);
        books.begin(&first, NOW).unwrap();
        books.begin(&first, NOW).unwrap();
        assert_eq!(books.bytes(), 60);
        assert_eq!(books.begin(&claims("alice", 41), NOW), Err(Full::User));
        books.begin(&claims("bob", 90), NOW).unwrap();
        assert_eq!(books.begin(&claims("carol", 1), NOW), Err(Full::App));
        books.end(first.id);
        books.end(first.id);
        assert_eq!(books.bytes(), 90);
        books.begin(&claims("carol", 60), NOW).unwrap();
    }

    #[test]
    fn the_own_uploads_that_rest_make_room_and_those_at_work_do_not() {
        let mut books = Underway::new(100, 1000);
        let (busy, idle) = (claims("alice", 50), claims("alice", 50));
        books.enter_request(&busy, NOW).unwrap();
        books.begin(&idle, NOW).unwrap();
        let next = claims("alice", 50);
        assert_eq!(books.begin(&next, NOW + IDLE_S - 1), Err(Full::User));
        books.begin(&next, NOW + IDLE_S).unwrap();
        assert_eq!(books.expire(NOW + IDLE_S), [idle.id]);
        assert_eq!(
            books.begin(&claims("alice", 50), NOW + IDLE_S),
            Err(Full::User),
            "one is at work, one is new"
        );
        assert_eq!(books.expire(NOW + 5001), [next.id], "and what is at work does not expire");
        books.leave_request(&busy, NOW + 5001);
        assert_eq!(books.expire(NOW + 5001), [busy.id]);
        assert_eq!((books.bytes(), books.users.len(), books.apps.len()), (0, 0, 0));
    }

    #[test]
    fn requests_of_a_user_at_once_are_bounded() {
        let mut books = Underway::new(1000, 1000);
        let upload = claims("alice", 1);
        for _ in 0..USER_ACTIVE_MAX {
            books.enter_request(&upload, NOW).unwrap();
        }
        assert_eq!(books.enter_request(&upload, NOW), Err(Full::User));
        books.leave_request(&upload, NOW);
        books.enter_request(&upload, NOW).unwrap();
    }

    proptest! {
        #[test]
        fn the_books_balance(steps in proptest::collection::vec((0..4u8, 0..3usize, 0..8usize, 1..60u64), 0..80)) {
            let mut books = Underway::new(100, 150);
            let mut known: Vec<Claims> = Vec::new();
            for (at, (step, user, which, size)) in (0..).zip(steps) {
                let now = NOW + at * 100;
                let chosen = known.get(which).cloned();
                match (step, chosen) {
                    (0, _) => {
                        let claims = claims(["a", "b", "c"][user], size);
                        if books.begin(&claims, now).is_ok() {
                            known.push(claims);
                        }
                    }
                    (1, Some(claims)) => {
                        if books.enter_request(&claims, now).is_ok() {
                            books.leave_request(&claims, now);
                        }
                    }
                    (2, Some(claims)) => books.end(claims.id),
                    _ => drop(books.expire(now)),
                }
                prop_assert!(books.bytes() <= 150);
                prop_assert_eq!(books.bytes(), books.uploads.values().map(|entry| entry.size).sum::<u64>());
                prop_assert_eq!(books.bytes(), books.users.values().map(|share| share.bytes).sum::<u64>());
                prop_assert!(books.users.values().all(|share| share.bytes <= 100 && share.active == 0));
            }
        }
    }
}
