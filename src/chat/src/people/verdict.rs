//! Who may write to whom, remembered: every 1:1 message asks.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};

use nearport_wire::code;

use super::{Limits, People};
use crate::Failure;
use crate::directory::DirectoryError;
use crate::key::{AppId, UserKey};

/// Whether a 1:1 message goes out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It does.
    Allowed,
    /// The sender is told that it did, and it goes nowhere.
    Silently,
    /// The sender is told this code: 20007, 20009, 20010 or 20011.
    Refused(u32),
}

impl Verdict {
    /// What the sender is told, if anything.
    pub(crate) fn failure(self) -> Option<Failure> {
        let Self::Refused(number) = self else { return None };
        let info = match number {
            code::BLOCKED => "the receiver has blocked you",
            code::NOT_FRIENDS => "you and the receiver are not friends",
            code::NOT_THEIR_FRIEND => "you are not in the receiver's friend list",
            _ => "the receiver is not in your friend list",
        };
        Some(Failure::new(number, info))
    }
}

/// What two users have to do with each other, from the first to the second.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Tie {
    /// The second has blocked the first.
    blocked: bool,
    /// The first has the second.
    mine: bool,
    /// The second has the first.
    theirs: bool,
}

/// Bounded memory of ties, and of users who have blocked nobody: most of them, so that most messages need no look-up of the
/// pair.
///
/// Whoever changes relations in this process makes it forget. Another process on the same directory is not heard
/// (`docs/storage.md`).
///
/// Two generations: a full young one becomes the old one, whose entries are dropped unless they were asked for again.
#[derive(Debug)]
pub(super) struct Verdicts(Mutex<Memory>);

#[derive(Debug)]
struct Memory {
    /// Counts what was forgotten. Whoever read the directory before somebody changed it must not remember what it read.
    version: u64,
    young: Generation,
    old: Generation,
    half: usize,
}

#[derive(Debug, Default)]
struct Generation {
    /// By receiver, then sender: a change of a user takes all ties to her at once.
    ties: HashMap<UserKey, HashMap<UserKey, Tie>>,
    /// Users whose blocklist is empty.
    open: BTreeSet<UserKey>,
    len: usize,
}

impl Verdicts {
    pub(super) fn new(entries_max: usize) -> Self {
        let half = entries_max.div_ceil(2).max(1);
        Self(Mutex::new(Memory {
            version: 0,
            young: Generation::default(),
            old: Generation::default(),
            half,
        }))
    }

    /// The relations of these users have changed: what is remembered of them, in either direction, is not true any more.
    pub(super) fn forget<'a>(&self, users: impl Iterator<Item = &'a UserKey>) {
        let mut memory = self.lock();
        memory.version += 1;
        for user in users {
            memory.young.forget(user);
            memory.old.forget(user);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Memory> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Memory {
    fn tie(&mut self, from: &UserKey, to: &UserKey) -> Option<Tie> {
        if let Some(tie) = self.young.tie(from, to) {
            return Some(tie);
        }
        let tie = self.old.tie(from, to)?;
        self.remember_tie(from, to, tie);
        Some(tie)
    }

    fn is_open(&mut self, user: &UserKey) -> bool {
        if self.young.open.contains(user) {
            return true;
        }
        let known = self.old.open.contains(user);
        if known {
            self.remember_open(user);
        }
        known
    }

    fn remember_tie(&mut self, from: &UserKey, to: &UserKey, tie: Tie) {
        self.turn();
        let ties = self.young.ties.entry(to.clone()).or_default();
        if ties.insert(from.clone(), tie).is_none() {
            self.young.len += 1;
        }
    }

    fn remember_open(&mut self, user: &UserKey) {
        self.turn();
        if self.young.open.insert(user.clone()) {
            self.young.len += 1;
        }
    }

    fn turn(&mut self) {
        if self.young.len >= self.half {
            self.old = std::mem::take(&mut self.young);
        }
    }
}

impl Generation {
    fn tie(&self, from: &UserKey, to: &UserKey) -> Option<Tie> {
        self.ties.get(to)?.get(from).copied()
    }

    /// A change of relations concerns both sides, so whoever is in a changed tie is forgotten as its receiver.
    fn forget(&mut self, user: &UserKey) {
        let ties = self.ties.remove(user).map_or(0, |ties| ties.len());
        self.len -= ties + usize::from(self.open.remove(user));
    }
}

impl People {
    /// Whether a 1:1 message of `from` goes to `to`: blocklist, and friends where only friends may write. No look-up in the
    /// directory where both are known of late.
    ///
    /// A note to oneself always goes.
    ///
    /// # Errors
    /// [`DirectoryError`]: then nothing is known and nothing should go out.
    pub fn may_message(&self, from: &UserKey, to: &UserKey) -> Result<Verdict, DirectoryError> {
        if from == to {
            return Ok(Verdict::Allowed);
        }
        let limits = self.config(from.app());
        let friends_only = limits.friend_check;
        let version = {
            let mut memory = self.verdicts.lock();
            if let Some(verdict) = remembered(&limits, &mut memory, from, to) {
                return Ok(verdict);
            }
            memory.version
        };
        let (mut tie, mut open) = (Tie::default(), false);
        self.directory.read_people(&mut |tx| {
            open = tx.relation_head(to)?.blocks == 0;
            tie.blocked = !open && tx.block(to, from.name())?.is_some();
            if friends_only || !open {
                // What is remembered is whole, for the switch may be turned later.
                tie.mine = tx.friend(from, to.name())?.is_some();
                tie.theirs = tx.friend(to, from.name())?.is_some();
            }
            Ok(())
        })?;
        let mut memory = self.verdicts.lock();
        if memory.version == version {
            if open {
                memory.remember_open(to);
            }
            if !open || friends_only {
                memory.remember_tie(from, to, tie);
            }
        }
        Ok(judge(&limits, tie))
    }

    /// [`Self::may_message`] of a whole batch, in its order: one lock for all that is known of late.
    ///
    /// # Errors
    /// As there.
    pub fn may_all_message(&self, pairs: &[(UserKey, UserKey)]) -> Result<Vec<Verdict>, DirectoryError> {
        // Pairs of one App mostly follow each other.
        let mut limits: Option<(AppId, Limits)> = None;
        let mut memory = self.verdicts.lock();
        let mut known = Vec::with_capacity(pairs.len());
        for (from, to) in pairs {
            let app = from.app();
            let of = match &limits {
                Some((last, limits)) if *last == app => limits,
                _ => &limits.insert((app, self.config(app))).1,
            };
            known.push(remembered(of, &mut memory, from, to));
        }
        drop(memory);
        let ask = |((from, to), known): (&(UserKey, UserKey), Option<Verdict>)| match known {
            Some(verdict) => Ok(verdict),
            None => self.may_message(from, to),
        };
        pairs.iter().zip(known).map(ask).collect()
    }
}

fn remembered(limits: &Limits, memory: &mut Memory, from: &UserKey, to: &UserKey) -> Option<Verdict> {
    if from == to || (!limits.friend_check && memory.is_open(to)) {
        return Some(Verdict::Allowed);
    }
    memory.tie(from, to).map(|tie| judge(limits, tie))
}

fn judge(limits: &Limits, tie: Tie) -> Verdict {
    if tie.blocked {
        return match limits.block_silently {
            true => Verdict::Silently,
            false => Verdict::Refused(code::BLOCKED),
        };
    }
    match (limits.friend_check, tie.mine, tie.theirs) {
        (false, ..) | (true, true, true) => Verdict::Allowed,
        (true, false, false) => Verdict::Refused(code::NOT_FRIENDS),
        (true, true, false) => Verdict::Refused(code::NOT_THEIR_FRIEND),
        (true, false, true) => Verdict::Refused(code::NOT_OWN_FRIEND),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key::AppId;

    #[test]
    fn the_bound_holds_and_a_change_takes_all_ties_to_a_user() {
        let verdicts = Verdicts::new(8);
        let user = |n: u64| UserKey::new(AppId(1), &n.to_string()).unwrap();
        let tie = Tie { blocked: true, ..Tie::default() };
        for n in 0..100 {
            let mut memory = verdicts.lock();
            memory.remember_tie(&user(n), &user(n % 3), tie);
            memory.remember_open(&user(n));
            assert!(memory.young.len <= 4 && memory.old.len <= 4);
        }
        verdicts.forget([user(0), user(1), user(2), user(99)].iter());
        let mut memory = verdicts.lock();
        assert_eq!(memory.tie(&user(99), &user(0)), None);
        assert!(!memory.is_open(&user(99)));
        assert!(memory.is_open(&user(98)));
        let counted = |generation: &Generation| {
            generation.open.len() + generation.ties.values().map(HashMap::len).sum::<usize>()
        };
        assert_eq!((memory.young.len, memory.old.len), (counted(&memory.young), counted(&memory.old)));
    }
}
