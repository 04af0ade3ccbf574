//! Presence: who is online, who can be pushed to, who watches whom.
//!
//! **Online is never stored.** Who is online follows from the sessions that are live in this process, and for a while from those that
//! went without a word (`Config::presence_native_s`, `presence_web_s`): a network that comes back in that time changes nothing, and
//! whoever closes or logs out is gone at once. So a crash leaves no ghost: a core that starts knows nobody, until clients log in or their edge announces them. What is stored is a lease for
//! each phone: when it was last known to have a session, under the epoch of the core that saw it (its start). A phone without a
//! session whose lease is younger than [`Config::push_online_s`] is PushOnline; nothing a crashed core has written can make it
//! more than that, and its lease runs out by itself. A log-out takes the lease away. So does a kick: what was sent away is not
//! to be pushed to.
//!
//! A lease is written when it is new, and when it is older than [`LEASE_S`]: a reconnect storm writes nothing.
//!
//! [`Config::push_online_s`]: super::Config::push_online_s

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};

use nearport_wire::body::{self, Platform, Presence, people_event};
use serde_json::json;

use super::{Effects, Told, check_count, codes};
use crate::Failure;
use crate::callback::{Command, platform_name};
use crate::directory::people::PhoneRow;
use crate::key::{AppId, UserKey};
use crate::registry::Touched;
use crate::shared::Shared;
use crate::text::check_line;

/// How much older than the truth a lease may be, seconds.
const LEASE_S: u64 = 3600;

/// Users in one look-up.
const USERS_MAX: usize = 500;

/// Longest custom text, bytes.
const TEXT_BYTES_MAX: usize = 100;

/// Leases remembered, to know which are young. Beyond it all are forgotten, and each is written once more.
const LEASES_REMEMBERED: usize = 131_072;

/// Phones in one transaction.
const PHONES_AT_ONCE: usize = 1024;

/// Phones whose lease waits to be written, or written again. Beyond it the news of a phone is lost: it keeps the lease that it has.
const WAITING_MAX: usize = 65_536;

/// What is known of presence beside the live sessions. All of it may be lost.
#[derive(Default)]
pub(crate) struct Watching(Mutex<State>);

#[derive(Default)]
struct State {
    /// When the first look was taken, milliseconds: the epoch of this process's leases.
    epoch: u64,
    /// Custom texts of users who are online.
    texts: HashMap<UserKey, String>,
    /// Who watches a user, and what they were told last.
    watched: HashMap<UserKey, Watched>,
    /// Whom a user watches.
    watches: HashMap<UserKey, BTreeSet<UserKey>>,
    /// When a phone's lease was written, Unix seconds.
    leases: HashMap<(UserKey, Platform), u64>,
    /// What is still to be written: a lease, or that there is none.
    waiting: BTreeMap<(UserKey, i32), Option<u64>>,
}

#[derive(Default)]
struct Watched {
    by: BTreeSet<UserKey>,
    told: Option<body::UserStatus>,
}

impl Watching {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Watching {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watching").finish_non_exhaustive()
    }
}

/// Only these can be pushed to (`client-behaviour.md` §2).
fn is_phone(platform: Platform) -> bool {
    matches!(platform, Platform::Android | Platform::Iphone | Platform::Ipad)
}

impl State {
    /// Notes what became of a session's platform, whose user now has sessions on `live`.
    fn note(&mut self, touched: &Touched, live: &[Platform], now_s: u64) {
        let Touched { user, platform, lost, .. } = touched;
        if !is_phone(*platform) {
            return;
        }
        let key = (user.clone(), *platform);
        if live.contains(platform) || *lost {
            let written = self.leases.get(&key).copied().unwrap_or_default();
            if now_s >= written.saturating_add(LEASE_S) {
                self.wait((user.clone(), *platform as i32), Some(now_s));
            }
        } else {
            self.leases.remove(&key);
            self.wait((user.clone(), *platform as i32), None);
        }
    }

    /// The newest of what is to be written for a phone counts, however many wait.
    fn wait(&mut self, phone: (UserKey, i32), lease: Option<u64>) {
        if self.waiting.len() < WAITING_MAX || self.waiting.contains_key(&phone) {
            self.waiting.insert(phone, lease);
        }
    }

    /// Stops all watching of a user who has no session any more.
    fn forget(&mut self, user: &UserKey) {
        self.texts.remove(user);
        for other in self.watches.remove(user).unwrap_or_default() {
            self.unwatch(user, &other);
        }
    }

    /// `user` stops watching the others that are named, or all.
    fn stop(&mut self, user: &UserKey, names: &[String], all: bool) {
        let stopped: Vec<_> = match all {
            true => self.watches.get(user).into_iter().flatten().cloned().collect(),
            false => names.iter().filter_map(|name| UserKey::new(user.app(), name).ok()).collect(),
        };
        for other in &stopped {
            self.unwatch(user, other);
            if let Some(watches) = self.watches.get_mut(user) {
                watches.remove(other);
            }
        }
    }

    fn unwatch(&mut self, user: &UserKey, other: &UserKey) {
        if let Some(watched) = self.watched.get_mut(other) {
            watched.by.remove(user);
            if watched.by.is_empty() {
                self.watched.remove(other);
            }
        }
    }
}

impl Shared {
    /// Looks at whose sessions came and went since the last call: writes leases and tells those who watch. For the desk, twice a
    /// second.
    pub(crate) fn look_at_presence(&self, now_ms: u64) -> Effects {
        let mut effects = Effects::default();
        let (touched, live) = {
            let mut registry = self.registry();
            let touched = registry.touched(now_ms);
            let live: Vec<_> = touched.iter().map(|touched| registry.platforms(&touched.user)).collect();
            (touched, live)
        };
        effects.told = self.tell_states(&touched);
        let mut watching = self.watching.lock();
        if watching.epoch == 0 {
            watching.epoch = now_ms;
        }
        let mut changed = BTreeSet::new();
        for (touched, live) in touched.iter().zip(&live) {
            watching.note(touched, live, now_ms / 1000);
            if live.is_empty() {
                watching.forget(&touched.user);
            }
            if watching.watched.contains_key(&touched.user) {
                changed.insert(touched.user.clone());
            }
        }
        let waiting: Vec<_> =
            watching.waiting.iter().take(PHONES_AT_ONCE).map(|(key, at)| (key.clone(), *at)).collect();
        let epoch = watching.epoch;
        drop(watching);
        if !waiting.is_empty() {
            self.write_leases(&waiting, epoch);
        }
        if !changed.is_empty() {
            self.tell(&changed.into_iter().collect::<Vec<_>>(), now_ms, &mut effects);
        }
        effects
    }

    /// What back ends hear of who came and went. Who made place for another session of its user is told of with that one.
    fn tell_states(&self, touched: &[Touched]) -> Vec<Told> {
        let mut told = Vec::new();
        for (at, now) in touched.iter().enumerate() {
            let user = &now.user;
            if !self.callbacks.wants(user.app(), Command::StateChange) {
                continue;
            }
            let of_user = |other: &&Touched| other.user == *user;
            let mut kicked = Vec::new();
            let (action, reason) = if now.came {
                let before = touched[..at].iter().rev().filter(of_user);
                kicked.extend(before.take_while(|other| !other.came).filter(|other| other.kicked));
                ("Login", "Register")
            } else if now.kicked && touched[at..].iter().filter(of_user).any(|other| other.came) {
                continue;
            } else if now.silent {
                ("Disconnect", "TimeOut")
            } else if now.lost {
                ("Disconnect", "LinkClose")
            } else {
                ("Logout", "Unregister")
            };
            let info = json!({ "Action": action, "To_Account": user.name(), "Reason": reason });
            let mut fields = json!({ "Info": info });
            if !kicked.is_empty() {
                let platform = |other: &Touched| match other.platform {
                    // Spelt otherwise here.
                    Platform::Ipad => "iPad",
                    platform => platform_name(platform),
                };
                let devices = kicked.into_iter().map(|other| json!({ "Platform": platform(other) }));
                fields["KickedDevice"] = devices.collect();
            }
            let (user, origin) = (user.clone(), Some(now.origin));
            told.push(Told { command: Command::StateChange, user, fields, origin });
        }
        told
    }

    fn write_leases(&self, waiting: &[((UserKey, i32), Option<u64>)], epoch: u64) {
        let written = self.directory.write_people(&mut |tx| {
            for ((user, platform), lease) in waiting {
                let platform = u32::try_from(*platform).unwrap_or_default();
                match *lease {
                    Some(seen_s) => tx.put_phone(user, &PhoneRow { platform, epoch, seen_s })?,
                    None => tx.delete_phone(user, platform)?,
                }
            }
            Ok(())
        });
        if let Err(error) = written {
            tracing::error!(%error, leases = waiting.len(), "cannot write who can be pushed to");
            return;
        }
        let mut watching = self.watching.lock();
        if watching.leases.len() + waiting.len() > LEASES_REMEMBERED {
            watching.leases.clear();
        }
        for ((user, platform), lease) in waiting {
            let key = (user.clone(), *platform);
            // What was noted meanwhile waits on.
            if watching.waiting.get(&key) == Some(lease) {
                watching.waiting.remove(&key);
            }
            if let (Some(seen_s), Ok(platform)) = (*lease, Platform::try_from(*platform)) {
                watching.leases.insert((user.clone(), platform), seen_s);
            }
        }
    }

    /// Tells those who watch `users` what has changed.
    fn tell(&self, users: &[UserKey], now_ms: u64, effects: &mut Effects) {
        let statuses = match self.status_of(users, now_ms) {
            Ok(statuses) => statuses,
            Err(failure) => {
                // A hint is lost. Whoever asks hears the truth.
                tracing::warn!(code = failure.code, "presence cannot be told");
                return;
            }
        };
        let mut watching = self.watching.lock();
        for (user, status) in users.iter().zip(statuses) {
            let Some(watched) = watching.watched.get_mut(user) else { continue };
            if watched.told.as_ref() == Some(&status) {
                continue;
            }
            watched.told = Some(status.clone());
            effects.push_all(watched.by.iter().cloned().collect(), people_event::Event::Status(status));
        }
    }

    /// How users are, in the order of `names`.
    ///
    /// # Errors
    /// 40001 (none or more than 500), 40006; 70107 for a user who has no account.
    pub fn statuses(
        &self,
        app: AppId,
        names: &[String],
        now_ms: u64,
    ) -> Result<Vec<body::UserStatus>, Failure> {
        check_count(names.len(), USERS_MAX, codes::PROFILE_BAD)?;
        let names: Vec<_> = names.iter().map(String::as_str).collect();
        let users = self.people.accounts_of(app, &names)?;
        let good: Vec<UserKey> = users.iter().flatten().cloned().collect();
        let mut statuses = self.status_of(&good, now_ms)?.into_iter();
        let one = |(name, user): (&&str, Option<UserKey>)| match user {
            Some(_) => statuses.next().unwrap_or_default(),
            None => body::UserStatus {
                user: (*name).to_owned(),
                code: codes::STATUS_NO_ACCOUNT,
                ..body::UserStatus::default()
            },
        };
        Ok(names.iter().zip(users).map(one).collect())
    }

    fn status_of(&self, users: &[UserKey], now_ms: u64) -> Result<Vec<body::UserStatus>, Failure> {
        let live: Vec<_> = {
            let registry = self.registry();
            users.iter().map(|user| registry.platforms(user)).collect()
        };
        let (phones, texts) = {
            let phones = self.people.phones(users)?;
            let watching = self.watching.lock();
            let texts: Vec<_> = users.iter().map(|user| watching.texts.get(user).cloned()).collect();
            (phones, texts)
        };
        // All of one App.
        let push_s = users.first().map_or(0, |user| self.people.config(user.app()).push_online_s);
        let mut statuses = Vec::with_capacity(users.len());
        for (((user, live), phones), text) in users.iter().zip(live).zip(phones).zip(texts) {
            let mut platforms: BTreeMap<i32, Presence> = BTreeMap::new();
            for PhoneRow { platform, seen_s, .. } in phones {
                let fresh = (now_ms / 1000).saturating_sub(seen_s) < push_s;
                if let (true, Ok(platform)) = (fresh, i32::try_from(platform)) {
                    platforms.insert(platform, Presence::PushOnline);
                }
            }
            for platform in live {
                platforms.insert(platform as i32, Presence::Online);
            }
            let online = platforms.values().any(|presence| *presence == Presence::Online);
            let presence = match (online, platforms.is_empty()) {
                (true, _) => Presence::Online,
                (false, false) => Presence::PushOnline,
                (false, true) => Presence::Offline,
            };
            let one = |(platform, presence): (i32, Presence)| body::PlatformStatus {
                platform,
                presence: presence as i32,
            };
            statuses.push(body::UserStatus {
                user: user.name().to_owned(),
                presence: presence as i32,
                text: text.filter(|_| online).unwrap_or_default(),
                platforms: platforms.into_iter().map(one).collect(),
                code: 0,
            });
        }
        Ok(statuses)
    }

    /// Sets the custom text of a user who is online. It is one line that shows as it was written, for others read it.
    ///
    /// # Errors
    /// 40001 for more than 100 bytes, or control characters.
    pub fn set_status_text(
        &self,
        user: &UserKey,
        text: &str,
        now_ms: u64,
        effects: &mut Effects,
    ) -> Result<(), Failure> {
        if let Err(error) = check_line(text, TEXT_BYTES_MAX) {
            return Err(Failure::new(codes::PROFILE_BAD, format!("the text {error}")));
        }
        // With the registry locked, as in `watch`: nothing would take away the text of a session that has ended.
        let registry = self.registry();
        if registry.platforms(user).is_empty() {
            return Ok(());
        }
        let mut watching = self.watching.lock();
        match text.is_empty() {
            true => watching.texts.remove(user),
            false => watching.texts.insert(user.clone(), text.to_owned()),
        };
        let watched = watching.watched.contains_key(user);
        drop(watching);
        drop(registry);
        if watched {
            self.tell(std::slice::from_ref(user), now_ms, effects);
        }
        Ok(())
    }

    /// Watches users and stops watching others, and gives how those are that are newly watched. It ends with the last session of
    /// `user`.
    ///
    /// # Errors
    /// 40001 (too many at once, or in all), 40006, 60018 (a user has as many watchers as there may be); 70107 for a user who has
    /// no account.
    pub fn watch(
        &self,
        user: &UserKey,
        names: &[String],
        stop: &[String],
        stop_all: bool,
        now_ms: u64,
    ) -> Result<Vec<body::UserStatus>, Failure> {
        check_count(names.len() + stop.len() + usize::from(stop_all), USERS_MAX, codes::PROFILE_BAD)?;
        self.watching.lock().stop(user, stop, stop_all);
        if names.is_empty() {
            return Ok(Vec::new());
        }
        let statuses = self.statuses(user.app(), names, now_ms)?;
        let config = self.people.config(user.app());
        // With the registry locked, so that the session which asks cannot end unnoticed in between.
        let registry = self.registry();
        if registry.platforms(user).is_empty() {
            return Ok(statuses);
        }
        let mut watching = self.watching.lock();
        let good = |status: &body::UserStatus| UserKey::new(user.app(), &status.user).ok();
        let others: BTreeSet<_> =
            statuses.iter().filter(|status| status.code == 0).filter_map(good).collect();
        let none = BTreeSet::new();
        if watching.watches.get(user).unwrap_or(&none).union(&others).count() > config.watched_max {
            let info = format!("at most {} users can be watched", config.watched_max);
            return Err(Failure::new(codes::PROFILE_BAD, info));
        }
        for status in statuses.iter().filter(|status| status.code == 0) {
            let Ok(other) = UserKey::new(user.app(), &status.user) else { continue };
            let watched = watching.watched.entry(other.clone()).or_default();
            if watched.by.len() >= config.watchers_max && !watched.by.contains(user) {
                let info = "the user has as many watchers as there may be";
                return Err(Failure::later(nearport_wire::code::TOO_MANY_REQUESTS, info, 60_000));
            }
            // The others have been told something else: the look that is due tells all of them.
            let same = watched.by.is_empty() || watched.told.as_ref() == Some(status);
            watched.told = same.then(|| status.clone());
            watched.by.insert(user.clone());
            watching.watches.entry(user.clone()).or_default().insert(other);
        }
        Ok(statuses)
    }
}
