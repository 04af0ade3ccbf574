//! What a batch comes to, once the heads are locked and what is stored is known. No I/O.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use nearport_chat::key::{ConvKind, UserKey};
use nearport_chat::ledger::{Appended, Batch, Committed, Edited};

use super::names::Ids;
use super::outbox::Outbox;

/// Heads of a conversation, as locked and as they move.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct ConvHead {
    pub(super) seq: i64,
    pub(super) time_ms: i64,
    pub(super) edit: i64,
}

/// What was found under the locks.
#[derive(Debug, Default)]
pub(super) struct Found {
    pub(super) convs: BTreeMap<i64, ConvHead>,
    pub(super) users: BTreeMap<i64, i64>,
    /// (sender, client's id) to conversation, sequence number, time.
    pub(super) idem: HashMap<(i64, [u8; 16]), (i64, i64, i64)>,
    /// Messages that edits are about: number of the last change and body.
    pub(super) edited: HashMap<(i64, i64), (i64, Vec<u8>)>,
    /// Messages that hides and receipts are about, as far as they are there.
    pub(super) there: std::collections::HashSet<(i64, i64)>,
}

/// Columns of the rows to write.
#[derive(Debug, Default)]
pub(super) struct Plan<'a> {
    pub(super) done: Committed,
    pub(super) messages: Messages<'a>,
    pub(super) logs: Logs,
    /// Messages that are unread for nobody: conversation, seq, which of the batch in its conversation it is.
    pub(super) skips: (Vec<i64>, Vec<i64>, Vec<i64>),
    /// User key and conversation key.
    pub(super) pairs: (Vec<Vec<u8>>, Vec<Vec<u8>>),
    pub(super) edits: BTreeMap<(i64, i64), (i64, &'a [u8])>,
    /// Messages that are unread for nobody from now on.
    pub(super) recalls: BTreeSet<(i64, i64)>,
    pub(super) hides: (Vec<i64>, Vec<i64>, Vec<i64>),
    pub(super) receipts: (Vec<i64>, Vec<i64>, Vec<&'a [u8]>),
    pub(super) cursors: BTreeMap<(i64, Vec<u8>), i64>,
    /// Those that are set, of which none is in `cursors`.
    pub(super) resets: BTreeMap<(i64, Vec<u8>), i64>,
    pub(super) outbox: Outbox,
    pub(super) convs: BTreeMap<i64, ConvHead>,
    pub(super) users: BTreeMap<i64, i64>,
    /// Where its first new message went: conversation and number.
    pub(super) first: Option<(i64, i64)>,
}

#[derive(Debug, Default)]
pub(super) struct Messages<'a> {
    pub(super) conv: Vec<i64>,
    pub(super) seq: Vec<i64>,
    pub(super) time_ms: Vec<i64>,
    pub(super) sender: Vec<i64>,
    pub(super) client_msg_id: Vec<&'a [u8]>,
    pub(super) body: Vec<&'a [u8]>,
}

#[derive(Debug, Default)]
pub(super) struct Logs {
    pub(super) user: Vec<i64>,
    pub(super) position: Vec<i64>,
    pub(super) conv: Vec<i64>,
    pub(super) seq: Vec<i64>,
    pub(super) change: Vec<Option<i64>>,
}

/// Times, numbers and positions beyond 63 bits are "the end" to whoever sends them.
pub(super) fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// The other way. What was the end stays the end.
pub(super) fn unsigned(number: i64) -> u64 {
    if number == i64::MAX { u64::MAX } else { u64::try_from(number).unwrap_or(0) }
}

/// Rows of ids that a batch needs, see [`super::names`].
#[derive(Debug)]
pub(super) struct BatchIds<'a> {
    pub(super) convs: Ids<'a>,
    pub(super) users: Ids<'a>,
}

impl<'a> Plan<'a> {
    /// # Panics
    /// If `ids` or `found` leave out what the batch writes to: whoever calls has asked for all of it.
    pub(super) fn new(batch: &'a Batch, ids: &BatchIds<'a>, found: &Found) -> Self {
        let mut plan = Plan { convs: found.convs.clone(), users: found.users.clone(), ..Plan::default() };
        plan.appends(batch, ids, found);
        for edit in &batch.edits {
            let conv = ids.convs.get(edit.conv.as_bytes()).copied();
            let key = conv.map(|conv| (conv, signed(edit.seq))).filter(|key| found.edited.contains_key(key));
            let Some(key @ (conv, seq)) = key else {
                plan.done.edited.push(None);
                continue;
            };
            let head = plan.convs.get_mut(&conv).expect("conversations of edits are locked");
            head.edit += 1;
            let number = head.edit;
            plan.edits.insert(key, (number, &edit.body));
            if edit.uncounted {
                plan.recalls.insert(key);
            }
            let positions = plan.point(&edit.logs, ids, (conv, seq), Some(1));
            plan.done.edited.push(Some(Edited { edit: unsigned(number), positions }));
        }
        let there = |conv: &nearport_chat::key::ConvKey, seq: u64| {
            let key = (*ids.convs.get(conv.as_bytes())?, signed(seq));
            found.there.contains(&key).then_some(key)
        };
        for hide in &batch.hides {
            if let Some((conv, seq)) = there(&hide.conv, hide.seq) {
                plan.hides.0.push(ids.users[hide.user.as_bytes()]);
                plan.hides.1.push(conv);
                plan.hides.2.push(seq);
            }
        }
        for receipt in &batch.receipts {
            if let Some((conv, seq)) = there(&receipt.conv, receipt.seq) {
                plan.receipts.0.push(conv);
                plan.receipts.1.push(seq);
                plan.receipts.2.push(receipt.user.as_bytes());
            }
        }
        for cursor in batch.moves(&plan.done) {
            let key = (ids.users[cursor.user.as_bytes()], super::read::cursor_name(&cursor.name));
            let position = plan.cursors.entry(key).or_insert(0);
            *position = (*position).max(signed(cursor.position));
        }
        for reset in &batch.resets {
            let key = (ids.users[reset.user.as_bytes()], super::read::cursor_name(&reset.name));
            plan.cursors.remove(&key);
            plan.resets.insert(key, signed(reset.position));
        }
        plan.outbox = Outbox::new(batch, batch.outbox_entries(&plan.done).collect());
        plan.convs.retain(|id, head| found.convs.get(id) != Some(head));
        plan.users.retain(|id, head| found.users.get(id) != Some(head));
        plan
    }

    fn appends(&mut self, batch: &'a Batch, ids: &BatchIds<'a>, found: &Found) {
        let (mut new, mut skipped) = (HashMap::new(), HashMap::new());
        for append in &batch.appends {
            let (conv, sender) =
                (ids.convs[append.conv.as_bytes()], ids.users[append.idem.sender.as_bytes()]);
            let idem = (sender, append.idem.client_msg_id);
            if let Some(&(_, seq, time_ms)) = found.idem.get(&idem).or_else(|| new.get(&idem)) {
                self.done.appended.push(Appended::duplicate_of(unsigned(seq), unsigned(time_ms)));
                continue;
            }
            let head = self.convs.get_mut(&conv).expect("conversations of messages are locked");
            head.seq += 1;
            head.time_ms = signed(append.time_ms);
            let (seq, time_ms) = (head.seq, head.time_ms);
            new.insert(idem, (conv, seq, time_ms));
            self.first.get_or_insert((conv, seq));
            self.messages.conv.push(conv);
            self.messages.seq.push(seq);
            self.messages.time_ms.push(time_ms);
            self.messages.sender.push(sender);
            self.messages.client_msg_id.push(&append.idem.client_msg_id);
            self.messages.body.push(&append.body);
            if append.uncounted {
                let number = skipped.entry(conv).and_modify(|number| *number += 1).or_insert(1);
                self.skips.0.push(conv);
                self.skips.1.push(seq);
                self.skips.2.push(*number);
            }
            if seq == 1
                && append.conv.is_pair()
                && let ConvKind::Pair(a, b) = append.conv.kind()
            {
                for user in [a, b] {
                    self.pairs.0.push(user.as_bytes().to_vec());
                    self.pairs.1.push(append.conv.as_bytes().to_vec());
                }
            }
            let positions = self.point(&append.logs, ids, (conv, seq), None);
            self.done.appended.push(Appended {
                seq: unsigned(seq),
                time_ms: append.time_ms,
                positions,
                duplicate: false,
            });
        }
    }

    /// Adds an entry to each log.
    fn point(
        &mut self,
        logs: &[UserKey],
        ids: &BatchIds<'a>,
        (conv, seq): (i64, i64),
        change: Option<i64>,
    ) -> Vec<u64> {
        let mut positions = Vec::with_capacity(logs.len());
        for user in logs {
            let user = ids.users[user.as_bytes()];
            let head = self.users.get_mut(&user).expect("users of logs are locked");
            *head += 1;
            self.logs.user.push(user);
            self.logs.position.push(*head);
            self.logs.conv.push(conv);
            self.logs.seq.push(seq);
            self.logs.change.push(change);
            positions.push(unsigned(*head));
        }
        positions
    }

    /// Whether `planned`, whose outcome is unknown, was committed, by what is stored now.
    pub(super) fn was_committed(planned: &Planned, batch: &Batch, ids: &BatchIds<'_>, found: &Found) -> bool {
        let new = batch.appends.iter().zip(&planned.done.appended).find(|(_, done)| !done.duplicate);
        if let Some((append, _)) = new {
            let idem = (ids.users[append.idem.sender.as_bytes()], append.idem.client_msg_id);
            let stored = found.idem.get(&idem).map(|(conv, seq, _)| (*conv, *seq));
            return stored.is_some() && stored == planned.first;
        }
        // No message: a change under its number, with its body. The last change of a message is the one that stays.
        let edit = batch.edits.iter().zip(&planned.done.edited).rev().find(|(_, done)| done.is_some());
        if let Some((edit, Some(done))) = edit {
            let stored = ids.convs.get(edit.conv.as_bytes()).map(|conv| (*conv, signed(edit.seq)));
            let stored = stored.and_then(|key| found.edited.get(&key));
            return stored
                .is_some_and(|(number, body)| unsigned(*number) == done.edit && body[..] == edit.body[..]);
        }
        // Hides, receipts and cursors are the same whether they are written once or twice.
        false
    }
}

/// What is remembered of a try whose outcome is unknown.
#[derive(Debug, Clone)]
pub(super) struct Planned {
    pub(super) done: Committed,
    pub(super) first: Option<(i64, i64)>,
}
