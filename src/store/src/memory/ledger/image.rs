//! The rows of a ledger in memory, and what a batch makes of them.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use nearport_chat::key::{AppId, ConvKey, ConvKind, UserKey};
use nearport_chat::ledger::{
    Append, Appended, Batch, Committed, CursorName, Edit, Edited, Entry, Heads, IdemKey, OutboxEntry, Settle,
    Shelf,
};

#[derive(Debug, Default)]
pub(super) struct Image {
    pub(super) messages: BTreeMap<(ConvKey, u64), Message>,
    pub(super) idem: BTreeMap<(UserKey, [u8; 16]), (u64, u64)>,
    /// The message, and whether the entry is its own, not one of a change.
    pub(super) logs: BTreeMap<(UserKey, u64), (ConvKey, u64, bool)>,
    pub(super) cursors: BTreeMap<(UserKey, CursorName), u64>,
    /// Change logs: number to sequence number.
    pub(super) edits: BTreeMap<(ConvKey, u64), u64>,
    pub(super) hides: BTreeMap<(UserKey, ConvKey), BTreeSet<u64>>,
    pub(super) receipts: BTreeMap<(ConvKey, u64), BTreeSet<UserKey>>,
    pub(super) conversations: BTreeMap<UserKey, BTreeSet<ConvKey>>,
    pub(super) floors: BTreeMap<ConvKey, Floor>,
    pub(super) log_floors: BTreeMap<UserKey, u64>,
    pub(super) outbox: BTreeMap<((AppId, Shelf), u64), OutboxEntry>,
    /// The largest number that was ever given out on a shelf.
    pub(super) outbox_heads: BTreeMap<(AppId, Shelf), u64>,
}

#[derive(Debug, Clone)]
pub(super) struct Message {
    pub(super) time_ms: u64,
    pub(super) idem: IdemKey,
    pub(super) edit: u64,
    pub(super) body: Bytes,
    pub(super) uncounted: bool,
}

/// What is remembered of the trimmed part of a conversation.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Floor {
    pub(super) seq: u64,
    pub(super) edit: u64,
    pub(super) time_ms: u64,
}

/// The rows that one commit adds or replaces, and what it answers.
#[derive(Debug, Default)]
pub(super) struct Changes {
    rows: Image,
    /// Rows of change logs that a later change has taken the place of.
    superseded: Vec<(ConvKey, u64)>,
    outbound: Vec<(AppId, OutboxEntry)>,
    settles: Vec<Settle>,
    pub(super) done: Committed,
}

/// Every key of a map of (owner, number) that belongs to one owner.
pub(super) fn all<K: Clone>(owner: &K) -> std::ops::RangeInclusive<(K, u64)> {
    (owner.clone(), 0)..=(owner.clone(), u64::MAX)
}

pub(super) fn last<K: Ord + Clone, V>(map: &BTreeMap<(K, u64), V>, owner: &K) -> u64 {
    map.range(all(owner)).next_back().map_or(0, |((_, number), _)| *number)
}

impl Image {
    pub(super) fn floor(&self, conv: &ConvKey) -> Floor {
        self.floors.get(conv).copied().unwrap_or_default()
    }

    pub(super) fn head(&self, conv: &ConvKey) -> u64 {
        last(&self.messages, conv).max(self.floor(conv).seq)
    }

    pub(super) fn edit_head(&self, conv: &ConvKey) -> u64 {
        last(&self.edits, conv).max(self.floor(conv).edit)
    }

    pub(super) fn log_head(&self, user: &UserKey) -> u64 {
        last(&self.logs, user).max(self.log_floors.get(user).copied().unwrap_or(0))
    }

    pub(super) fn heads(&self, conv: &ConvKey) -> Heads {
        let floor = self.floor(conv);
        let newest = self.messages.range(all(conv)).next_back();
        let (seq, time_ms) =
            newest.map_or((floor.seq, floor.time_ms), |((_, seq), message)| (*seq, message.time_ms));
        Heads { seq, edit: self.edit_head(conv), time_ms, floor: floor.seq }
    }

    pub(super) fn entry(&self, conv: &ConvKey, seq: u64) -> Option<Entry> {
        self.messages.get(&(conv.clone(), seq)).map(|message| message.entry(seq))
    }

    fn has(&self, conv: &ConvKey, seq: u64) -> bool {
        self.messages.contains_key(&(conv.clone(), seq))
    }

    pub(super) fn plan(&self, batch: &Batch) -> Changes {
        let mut new = Changes::default();
        for append in &batch.appends {
            let appended = self.append(append, &mut new.rows);
            new.done.appended.push(appended);
        }
        for edit in &batch.edits {
            let edited = self.edit(edit, &mut new);
            new.done.edited.push(edited);
        }
        for hide in &batch.hides {
            if self.has(&hide.conv, hide.seq) {
                new.rows.hides.entry((hide.user.clone(), hide.conv.clone())).or_default().insert(hide.seq);
            }
        }
        for receipt in &batch.receipts {
            if self.has(&receipt.conv, receipt.seq) {
                let readers = new.rows.receipts.entry((receipt.conv.clone(), receipt.seq)).or_default();
                readers.insert(receipt.user.clone());
            }
        }
        for cursor in batch.moves(&new.done) {
            let key = (cursor.user.clone(), cursor.name.clone());
            let stored = self.cursors.get(&key).max(new.rows.cursors.get(&key));
            if stored.is_none_or(|stored| cursor.position > *stored) {
                new.rows.cursors.insert(key, cursor.position);
            }
        }
        for reset in &batch.resets {
            new.rows.cursors.insert((reset.user.clone(), reset.name.clone()), reset.position);
        }
        new.outbound = batch.outbox_entries(&new.done).collect();
        new.settles.clone_from(&batch.settles);
        new
    }

    fn put_outbox(&mut self, app: AppId, shelf: Shelf, entry: OutboxEntry) {
        let head = self.outbox_heads.entry((app, shelf)).or_default();
        *head += 1;
        self.outbox.insert(((app, shelf), *head), OutboxEntry { number: *head, ..entry });
    }

    fn settle(&mut self, settle: &Settle) {
        let Settle { app, number, what } = settle;
        let entry = self.outbox.remove(&((*app, what.from()), *number));
        if let (Some(entry), Some(shelf)) = (entry.and_then(|entry| entry.settled(what)), what.to()) {
            self.put_outbox(*app, shelf, entry);
        }
    }

    fn append(&self, append: &Append, rows: &mut Self) -> Appended {
        let idem = (append.idem.sender.clone(), append.idem.client_msg_id);
        if let Some(&(seq, time_ms)) = self.idem.get(&idem).or_else(|| rows.idem.get(&idem)) {
            return Appended::duplicate_of(seq, time_ms);
        }
        let seq = self.head(&append.conv).max(rows.head(&append.conv)) + 1;
        let message = Message {
            time_ms: append.time_ms,
            idem: append.idem.clone(),
            edit: 0,
            body: append.body.clone(),
            uncounted: append.uncounted,
        };
        rows.messages.insert((append.conv.clone(), seq), message);
        rows.idem.insert(idem, (seq, append.time_ms));
        if seq == 1
            && append.conv.is_pair()
            && let ConvKind::Pair(a, b) = append.conv.kind()
        {
            for user in [a, b] {
                rows.conversations.entry(user).or_default().insert(append.conv.clone());
            }
        }
        let positions = self.point(&append.logs, (&append.conv, seq, true), rows);
        Appended { seq, time_ms: append.time_ms, positions, duplicate: false }
    }

    fn edit(&self, edit: &Edit, new: &mut Changes) -> Option<Edited> {
        let key = (edit.conv.clone(), edit.seq);
        let stored = self.messages.get(&key)?;
        let mut message = new.rows.messages.get(&key).unwrap_or(stored).clone();
        let number = self.edit_head(&edit.conv).max(new.rows.edit_head(&edit.conv)) + 1;
        new.rows.edits.insert((edit.conv.clone(), number), edit.seq);
        if message.edit > 0 {
            new.superseded.push((edit.conv.clone(), message.edit));
        }
        message.edit = number;
        message.body = edit.body.clone();
        message.uncounted |= edit.uncounted;
        new.rows.messages.insert(key, message);
        let positions = self.point(&edit.logs, (&edit.conv, edit.seq, false), &mut new.rows);
        Some(Edited { edit: number, positions })
    }

    /// Adds an entry to each log.
    fn point(
        &self,
        logs: &[UserKey],
        (conv, seq, first): (&ConvKey, u64, bool),
        rows: &mut Self,
    ) -> Vec<u64> {
        let next = |user: &UserKey| {
            let position = self.log_head(user).max(rows.log_head(user)) + 1;
            rows.logs.insert((user.clone(), position), (conv.clone(), seq, first));
            position
        };
        logs.iter().map(next).collect()
    }

    pub(super) fn apply(&mut self, changes: Changes) -> Committed {
        let Changes { mut rows, superseded, outbound, settles, done } = changes;
        self.messages.append(&mut rows.messages);
        self.idem.append(&mut rows.idem);
        self.logs.append(&mut rows.logs);
        self.cursors.append(&mut rows.cursors);
        self.edits.append(&mut rows.edits);
        for (owner, seqs) in rows.hides {
            self.hides.entry(owner).or_default().extend(seqs);
        }
        for (message, readers) in rows.receipts {
            self.receipts.entry(message).or_default().extend(readers);
        }
        for (user, convs) in rows.conversations {
            self.conversations.entry(user).or_default().extend(convs);
        }
        for change in superseded {
            self.edits.remove(&change);
        }
        for (app, entry) in outbound {
            self.put_outbox(app, Shelf::Waiting, entry);
        }
        settles.iter().for_each(|settle| self.settle(settle));
        done
    }
}

impl Message {
    pub(super) fn entry(&self, seq: u64) -> Entry {
        Entry { seq, time_ms: self.time_ms, edit: self.edit, body: self.body.clone() }
    }
}
