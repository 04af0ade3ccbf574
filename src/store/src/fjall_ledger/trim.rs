//! Removing what has become too old, in bounded steps beside running commits.
//!
//! A step looks first, without the writer's lock, and then writes what it found as one commit: it keeps messages waiting for
//! that commit only. What it looked at may change in between only by a change, a hide or a receipt; the ledger counts those,
//! and the step looks again, now with the lock, if one came.
//!
//! A place is `c` and the id of the conversation to go on with, or `u` and the name of a user, as they stand in `ids`.

use std::collections::{BTreeMap, HashMap};
use std::ops::Bound;
use std::sync::PoisonError;
use std::sync::atomic::Ordering;
use std::time::Instant;

use fjall::Keyspace;
use nearport_chat::key::ConvKey;
use nearport_chat::ledger::{LedgerError, Retention, TrimBudget, TrimPlace, Trimmed};

use super::FjallLedger;
use super::keys::{self, ConvId, Floor, Message, UserId};
use super::read;

const CONV: u8 = b'c';
const USER: u8 = b'u';

/// What a step is going to do.
struct Plan {
    rows_max: usize,
    until: Instant,
    done: Trimmed,
    floors: BTreeMap<[u8; 9], Floor>,
    log_floors: BTreeMap<[u8; 5], u64>,
    messages: Vec<[u8; 16]>,
    idem: Vec<[u8; 20]>,
    edits: Vec<[u8; 16]>,
    receipts: Vec<Vec<u8>>,
    skips: Vec<[u8; 16]>,
    recalls: Vec<[u8; 16]>,
    logs: Vec<[u8; 12]>,
    hides: Vec<[u8; 20]>,
    /// Floors of conversations that were looked up, those that this step makes included.
    known: HashMap<ConvId, u64>,
}

impl Plan {
    fn rows(&self) -> usize {
        let Self { messages, idem, edits, receipts, skips, recalls, logs, hides, .. } = self;
        let marks = skips.len() + recalls.len();
        [messages.len(), idem.len(), edits.len(), receipts.len(), marks, logs.len(), hides.len()]
            .into_iter()
            .sum()
    }

    fn is_full(&self) -> bool {
        let rows = self.rows();
        rows > 0 && rows >= self.rows_max
    }
}

/// The keys of a range, one at a time.
struct Keys(fjall::Iter);

impl Keys {
    fn next(&mut self) -> Result<Option<fjall::UserKey>, LedgerError> {
        self.0.next().map(|row| row.key().map_err(|e| read::error(&e))).transpose()
    }
}

impl FjallLedger {
    pub(super) fn trim_step(
        &self,
        retention: Retention<'_>,
        from: &TrimPlace,
        budget: TrimBudget,
    ) -> Result<Trimmed, LedgerError> {
        let _one = self.trimming.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(stopped) = self.stopped.get() {
            return Err(stopped.error());
        }
        let seen = self.amendments.load(Ordering::Acquire);
        let mut plan = self.plan(retention, from, budget)?;
        if plan.rows() == 0 {
            return Ok(plan.done);
        }
        let mut writer = self.writer();
        let started = Instant::now();
        if self.amendments.load(Ordering::Acquire) != seen {
            plan = self.plan(retention, from, budget)?;
        }
        let done = self.or_stop(|| {
            self.wait_for_room()?;
            let mut out = self.rows(plan.rows() + 8);
            let rows = &self.keyspaces;
            for (key, floor) in &plan.floors {
                out.insert(&rows.floors, key, &floor.encode());
            }
            for (key, floor) in &plan.log_floors {
                out.insert(&rows.floors, key, &floor.to_be_bytes());
            }
            plan.logs.iter().for_each(|key| out.remove(&rows.logs, key));
            plan.messages.iter().for_each(|key| out.remove(&rows.messages, key));
            plan.idem.iter().for_each(|key| out.remove(&rows.idem, key));
            plan.edits.iter().for_each(|key| out.remove(&rows.edits, key));
            plan.receipts.iter().for_each(|key| out.remove(&rows.receipts, key));
            plan.skips.iter().for_each(|key| out.remove(&rows.skips, key));
            plan.recalls.iter().for_each(|key| out.remove(&rows.recalls, key));
            plan.hides.iter().for_each(|key| out.remove(&rows.hides, key));
            self.seal(&mut writer, out)?;
            Ok(plan.done)
        })?;
        self.metrics.trim_seconds.record(started.elapsed());
        self.metrics.trimmed_messages.increment(done.messages);
        Ok(done)
    }

    fn plan(
        &self,
        retention: Retention<'_>,
        from: &TrimPlace,
        budget: TrimBudget,
    ) -> Result<Plan, LedgerError> {
        let mut plan = Plan {
            rows_max: budget.rows,
            until: Instant::now() + budget.time,
            done: Trimmed::default(),
            floors: BTreeMap::new(),
            log_floors: BTreeMap::new(),
            messages: Vec::new(),
            idem: Vec::new(),
            edits: Vec::new(),
            receipts: Vec::new(),
            skips: Vec::new(),
            recalls: Vec::new(),
            logs: Vec::new(),
            hides: Vec::new(),
            known: HashMap::new(),
        };
        let mut users_from: &[u8] = &[];
        match from.0.split_first() {
            Some((&USER, name)) => users_from = name,
            Some((_, id)) => self.plan_convs(retention, id, &mut plan)?,
            None => self.plan_convs(retention, &[], &mut plan)?,
        }
        if plan.done.next.is_none() {
            self.plan_users(users_from, &mut plan)?;
        }
        Ok(plan)
    }

    /// The rows of `ids` that begin with `kind`, from `kind` and `from` on. One step takes at least one of them, so that a
    /// machine that is slower than the budget still comes to the end.
    fn each(
        &self,
        kind: u8,
        from: &[u8],
        plan: &mut Plan,
        mut take: impl FnMut(&[u8], &[u8], &mut Plan) -> Result<(), LedgerError>,
    ) -> Result<Option<Vec<u8>>, LedgerError> {
        let start = [&[kind], from].concat();
        let rows = self.keyspaces.ids.range((Bound::Included(start), Bound::Excluded(vec![kind + 1])));
        for (index, row) in rows.enumerate() {
            let (key, value) = row.into_inner().map_err(|e| read::error(&e))?;
            if plan.is_full() || (index > 0 && Instant::now() >= plan.until) {
                return Ok(Some(key[1..].to_vec()));
            }
            take(&key[1..], &value, plan)?;
            if plan.is_full() {
                // Perhaps not all of it: its floor tells the next step where to go on.
                return Ok(Some(key[1..].to_vec()));
            }
        }
        Ok(None)
    }

    fn plan_convs(&self, retention: Retention<'_>, from: &[u8], plan: &mut Plan) -> Result<(), LedgerError> {
        let next = self.each(b'n', from, plan, |id, name, plan| {
            let unreadable = || LedgerError::Damaged("a name is unreadable".to_owned());
            let id = keys::conv_id(id).ok_or_else(unreadable)?;
            let name = ConvKey::from_bytes(name).ok_or_else(unreadable)?;
            match retention(&name) {
                0 => Ok(()),
                cutoff_ms => self.plan_conv(id, &name, cutoff_ms, plan),
            }
        })?;
        plan.done.next = next.map(|id| TrimPlace([&[CONV], &id[..]].concat()));
        Ok(())
    }

    fn plan_conv(
        &self,
        id: ConvId,
        name: &ConvKey,
        cutoff_ms: u64,
        plan: &mut Plan,
    ) -> Result<(), LedgerError> {
        let mut floor = read::floor(&self.keyspaces, id)?;
        let before = floor.seq;
        let rest = |keyspace: &Keyspace| {
            let first = keys::message_key(id, before.saturating_add(1));
            // Readers of the last message stand behind its own key.
            keyspace.range((
                Bound::Included(first.to_vec()),
                Bound::Included([&keys::message_key(id, u64::MAX)[..], &[0xff]].concat()),
            ))
        };
        let mut receipts: Option<Keys> = None;
        let mut next_receipt = None;
        for row in rest(&self.keyspaces.messages) {
            let (key, value) = row.into_inner().map_err(|e| read::error(&e))?;
            let seq = read::key_number(&key)?;
            let message = Message::parse(&value).ok_or_else(|| read::damaged("message", name, seq))?;
            if message.time_ms >= cutoff_ms || plan.is_full() {
                break;
            }
            floor = Floor { seq, edit: floor.edit.max(message.edit), time_ms: message.time_ms };
            plan.messages.push(keys::message_key(id, seq));
            plan.idem.push(message.idem);
            if message.edit > 0 {
                plan.edits.push(keys::edit_key(id, message.edit));
            }
            if receipts.is_none() {
                let mut keys = Keys(rest(&self.keyspaces.receipts));
                next_receipt = keys.next()?;
                receipts = Some(keys);
            }
            while let (Some(receipt), Some(keys)) = (&next_receipt, &mut receipts)
                && keys::receipt_parts(receipt).is_some_and(|(of, _)| of <= seq)
            {
                plan.receipts.push(receipt.to_vec());
                next_receipt = keys.next()?;
            }
            plan.done.messages += 1;
        }
        if floor.seq > before {
            // Not counted when it is asked whether the step is full: there are fewer than messages.
            let gone = keys::skip_key(id, before.saturating_add(1))..=keys::skip_key(id, floor.seq);
            let marks =
                [(&self.keyspaces.skips, &mut plan.skips), (&self.keyspaces.recalls, &mut plan.recalls)];
            for (keyspace, out) in marks {
                let mut rows = Keys(keyspace.range(gone.clone()));
                while let Some(key) = rows.next()? {
                    out.push(keys::skip_key(id, read::key_number(&key)?));
                }
            }
            plan.floors.insert(keys::conv_floor_key(id), floor);
            plan.known.insert(id, floor.seq);
        }
        Ok(())
    }

    fn plan_users(&self, from: &[u8], plan: &mut Plan) -> Result<(), LedgerError> {
        let next = self.each(b'u', from, plan, |_name, id, plan| {
            let unreadable = || LedgerError::Damaged("an id is unreadable".to_owned());
            let id = keys::user_id(id).ok_or_else(unreadable)?;
            self.plan_log(id, plan)?;
            self.plan_hides(id, plan)
        })?;
        plan.done.next = next.map(|name| TrimPlace([&[USER], &name[..]].concat()));
        Ok(())
    }

    /// Entries at the front of a log whose messages are gone. One behind an entry that stays, as a change of an old message
    /// leaves it, waits for its turn; readers leave it out.
    fn plan_log(&self, user: UserId, plan: &mut Plan) -> Result<(), LedgerError> {
        let before = read::log_floor(&self.keyspaces, user)?;
        let first = before.saturating_add(1);
        let rows = self.keyspaces.logs.range(keys::log_key(user, first)..=keys::log_key(user, u64::MAX));
        let mut floor = before;
        for row in rows {
            let (key, value) = row.into_inner().map_err(|e| read::error(&e))?;
            let position = read::key_number(&key)?;
            let (seq, conv, _) =
                keys::log_parts(&value).ok_or_else(|| read::damaged("log entry", &user, position))?;
            if seq > self.known_floor(conv, plan)? || plan.is_full() {
                break;
            }
            floor = position;
            plan.logs.push(keys::log_key(user, position));
            plan.done.log_entries += 1;
        }
        if floor > before {
            plan.log_floors.insert(keys::log_floor_key(user), floor);
        }
        Ok(())
    }

    fn plan_hides(&self, user: UserId, plan: &mut Plan) -> Result<(), LedgerError> {
        let last = keys::hide_key(user, ConvId(u64::MAX), u64::MAX);
        let mut start = Bound::Included(keys::hide_key(user, ConvId(0), 0));
        loop {
            let mut rows = Keys(self.keyspaces.hides.range((start, Bound::Included(last))));
            let Some(first) = rows.next()? else { return Ok(()) };
            let unreadable = || LedgerError::Damaged("a hidden message is unreadable".to_owned());
            let (conv, mut seq) = keys::hide_parts(&first).ok_or_else(unreadable)?;
            let floor = self.known_floor(conv, plan)?;
            while seq <= floor && !plan.is_full() {
                plan.hides.push(keys::hide_key(user, conv, seq));
                let Some(key) = rows.next()? else { break };
                match keys::hide_parts(&key).ok_or_else(unreadable)? {
                    (next, number) if next == conv => seq = number,
                    _ => break,
                }
            }
            if plan.is_full() {
                return Ok(());
            }
            start = Bound::Excluded(keys::hide_key(user, conv, u64::MAX));
        }
    }

    fn known_floor(&self, conv: ConvId, plan: &mut Plan) -> Result<u64, LedgerError> {
        if let Some(floor) = plan.known.get(&conv) {
            return Ok(*floor);
        }
        let floor = read::floor(&self.keyspaces, conv)?.seq;
        plan.known.insert(conv, floor);
        Ok(floor)
    }
}
