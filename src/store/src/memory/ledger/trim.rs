//! Trimming in memory.

use std::ops::Bound;

use nearport_chat::key::{ConvKey, UserKey};
use nearport_chat::ledger::{Retention, TrimPlace, Trimmed};

use super::image::{Floor, Image, all};

/// What a place begins with: conversations come first, then users.
const CONV: u8 = b'c';
const USER: u8 = b'u';

impl Image {
    /// One step. Bounded by rows alone: a simulation must not depend on how fast its machine is.
    pub(super) fn trim(&mut self, retention: Retention<'_>, from: &TrimPlace, rows_max: usize) -> Trimmed {
        let mut step = Step { done: Trimmed::default(), rows: 0, rows_max };
        let mut users_from = None;
        match from.0.split_first() {
            Some((&USER, user)) => users_from = Some(user.to_vec()),
            Some((&CONV, conv)) => self.trim_convs(retention, Some(conv.to_vec()), &mut step),
            _ => self.trim_convs(retention, None, &mut step),
        }
        if step.done.next.is_none() {
            self.trim_users(users_from, &mut step);
        }
        step.done
    }

    /// Conversations from the one with the bytes `from` on.
    fn trim_convs(&mut self, retention: Retention<'_>, from: Option<Vec<u8>>, step: &mut Step) {
        let mut next = match from {
            Some(bytes) => ConvKey::from_bytes(&bytes),
            None => self.messages.keys().next().map(|(conv, _)| conv.clone()),
        };
        while let Some(conv) = next {
            if step.is_full() {
                step.done.next = Some(TrimPlace([&[CONV], conv.as_bytes()].concat()));
                return;
            }
            let cutoff_ms = retention(&conv);
            while let Some((key, message)) = self.messages.range(all(&conv)).next()
                && message.time_ms < cutoff_ms
                && !step.is_full()
            {
                let (key, message) = (key.clone(), message.clone());
                let seq = key.1;
                let floor = self.floors.entry(conv.clone()).or_default();
                *floor = Floor { seq, edit: floor.edit.max(message.edit), time_ms: message.time_ms };
                self.messages.remove(&key);
                self.idem.remove(&(message.idem.sender, message.idem.client_msg_id));
                self.edits.remove(&(conv.clone(), message.edit));
                let readers = self.receipts.remove(&key).map_or(0, |readers| readers.len());
                step.done.messages += 1;
                step.rows += 2 + readers;
            }
            let behind = (Bound::Excluded((conv.clone(), u64::MAX)), Bound::Unbounded);
            next = if step.is_full() {
                Some(conv)
            } else {
                self.messages.range(behind).next().map(|((conv, _), _)| conv.clone())
            };
        }
    }

    /// Users with the bytes `from` and behind.
    fn trim_users(&mut self, from: Option<Vec<u8>>, step: &mut Step) {
        let known = self.logs.keys().map(|(user, _)| user).chain(self.hides.keys().map(|(user, _)| user));
        let mut known: Vec<UserKey> = known
            .filter(|user| from.as_ref().is_none_or(|from| user.as_bytes() >= &from[..]))
            .cloned()
            .collect();
        known.sort();
        known.dedup();
        for user in known {
            if step.is_full() {
                step.done.next = Some(TrimPlace([&[USER], user.as_bytes()].concat()));
                return;
            }
            while let Some((key, (conv, seq, _))) = self.logs.range(all(&user)).next()
                && !self.messages.contains_key(&(conv.clone(), *seq))
            {
                let key = key.clone();
                self.log_floors.insert(user.clone(), key.1);
                self.logs.remove(&key);
                step.done.log_entries += 1;
                step.rows += 1;
            }
            let floors = &self.floors;
            for ((_, conv), seqs) in self.hides.iter_mut().filter(|((of, _), _)| *of == user) {
                let floor = floors.get(conv).map_or(0, |floor| floor.seq);
                let kept = seqs.split_off(&(floor + 1));
                step.rows += std::mem::replace(seqs, kept).len();
            }
            self.hides.retain(|_, seqs| !seqs.is_empty());
        }
    }
}

struct Step {
    done: Trimmed,
    rows: usize,
    rows_max: usize,
}

impl Step {
    fn is_full(&self) -> bool {
        self.rows > 0 && self.rows >= self.rows_max
    }
}
