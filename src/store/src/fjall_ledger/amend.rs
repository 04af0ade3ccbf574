//! What a batch does to messages of earlier commits: changes, hides, receipts.
//!
//! One batch may touch a row several times, and a key may stand in a fjall batch only once. So everything is worked out in
//! maps first. They are ordered: equal batches make equal rows.

use std::collections::{BTreeMap, BTreeSet};

use nearport_chat::key::ConvKey;
use nearport_chat::ledger::{Batch, Edit, Edited, LedgerError};

use super::append::Rows;
use super::keys::{self, ConvId, Message, UserId};
use super::{FjallLedger, Writer, read};

#[derive(Default)]
struct Amendments {
    /// Messages after their last change, by key.
    messages: BTreeMap<[u8; 16], Vec<u8>>,
    /// Rows of change logs by key; `None` are removed.
    edits: BTreeMap<[u8; 16], Option<u64>>,
    /// The last number given out in each change log, by conversation.
    edit_heads: BTreeMap<[u8; 8], u64>,
    /// Entries of user logs.
    entries: Vec<(UserId, u64, [u8; 16])>,
    hides: BTreeSet<[u8; 20]>,
    recalls: BTreeSet<[u8; 16]>,
    receipts: BTreeSet<Vec<u8>>,
    /// How many receipts each message has then.
    counts: BTreeMap<[u8; 16], u64>,
}

impl FjallLedger {
    /// Adds the edits, hides and receipts of `batch` to the rows.
    pub(super) fn amend(
        &self,
        writer: &mut Writer,
        batch: &Batch,
        out: &mut Rows,
    ) -> Result<Vec<Option<Edited>>, LedgerError> {
        let mut new = Amendments::default();
        let edited = batch.edits.iter().map(|edit| self.edit(writer, edit, &mut new, out));
        let edited = edited.collect::<Result<Vec<_>, _>>()?;
        for hide in &batch.hides {
            if let Some(conv) = self.conv_with(&hide.conv, hide.seq)? {
                let Writer { last, users, key, .. } = &mut *writer;
                let user = users.of(&hide.user, || self.user(&hide.user, key, &mut last.next_user, out))?.id;
                new.hides.insert(keys::hide_key(user, conv, hide.seq));
            }
        }
        for receipt in &batch.receipts {
            let Some(conv) = self.conv_with(&receipt.conv, receipt.seq)? else { continue };
            let key = keys::receipt_key(conv, receipt.seq, &receipt.user);
            let known = self.keyspaces.receipts.contains_key(&key).map_err(|e| read::error(&e))?;
            if known || !new.receipts.insert(key) {
                continue;
            }
            let of_message = keys::message_key(conv, receipt.seq);
            let count = match new.counts.get(&of_message) {
                Some(count) => *count,
                None => {
                    let rows = &self.keyspaces.receipts;
                    read::row(rows, &of_message, "a count of receipts", keys::number)?.unwrap_or(0)
                }
            };
            new.counts.insert(of_message, count + 1);
        }
        self.emit(&new, out);
        Ok(edited)
    }

    /// The id of a conversation, if it has this message.
    fn conv_with(&self, conv: &ConvKey, seq: u64) -> Result<Option<ConvId>, LedgerError> {
        let Some(id) = self.conv_id(conv)? else { return Ok(None) };
        let key = keys::message_key(id, seq);
        let found = self.keyspaces.messages.contains_key(key).map_err(|e| read::error(&e))?;
        Ok(found.then_some(id))
    }

    fn edit(
        &self,
        writer: &mut Writer,
        edit: &Edit,
        new: &mut Amendments,
        out: &mut Rows,
    ) -> Result<Option<Edited>, LedgerError> {
        let Some(conv) = self.conv_id(&edit.conv)? else { return Ok(None) };
        let key = keys::message_key(conv, edit.seq);
        let row = match new.messages.get(&key) {
            Some(row) => Some(row.clone()),
            None => self.keyspaces.messages.get(key).map_err(|e| read::error(&e))?.map(|row| row.to_vec()),
        };
        let Some(row) = row else { return Ok(None) };
        let message = Message::parse(&row).ok_or_else(|| read::damaged("message", &edit.conv, edit.seq))?;
        let head = match new.edit_heads.get(&conv.bytes()) {
            Some(head) => *head,
            None => read::edit_head(&self.keyspaces, conv)?,
        };
        let number = head + 1;
        new.edit_heads.insert(conv.bytes(), number);
        if message.edit > 0 {
            let former = keys::edit_key(conv, message.edit);
            // One that was to be written by this batch is not there to be removed.
            if new.edits.remove(&former).is_none() {
                new.edits.insert(former, None);
            }
        }
        new.edits.insert(keys::edit_key(conv, number), Some(edit.seq));
        new.messages.insert(key, message.changed(number, &edit.body));
        if edit.uncounted {
            let key = keys::skip_key(conv, edit.seq);
            // One that was sent so has a row already, and is left out once.
            if !self.keyspaces.skips.contains_key(key).map_err(|e| read::error(&e))? {
                new.recalls.insert(key);
            }
        }

        let Writer { last, users, key, .. } = writer;
        let mut positions = Vec::with_capacity(edit.logs.len());
        for user in &edit.logs {
            let log = users.of(user, || self.user(user, key, &mut last.next_user, out))?;
            let position = log.next(|id| read::log_head(&self.keyspaces, *id))?;
            new.entries.push((log.id, position, keys::log_value(edit.seq, conv, false)));
            positions.push(position);
        }
        Ok(Some(Edited { edit: number, positions }))
    }

    /// The message before what points at it, as everywhere.
    fn emit(&self, new: &Amendments, out: &mut Rows) {
        let keyspaces = &self.keyspaces;
        for (key, value) in &new.messages {
            out.insert(&keyspaces.messages, key, value);
        }
        for (key, seq) in &new.edits {
            match seq {
                Some(seq) => out.insert(&keyspaces.edits, key, &seq.to_be_bytes()),
                None => out.remove(&keyspaces.edits, key),
            }
        }
        for (user, position, value) in &new.entries {
            out.insert(&keyspaces.logs, &keys::log_key(*user, *position), value);
        }
        for key in &new.hides {
            out.insert(&keyspaces.hides, key, &[]);
        }
        for key in &new.recalls {
            out.insert(&keyspaces.recalls, key, &[]);
        }
        for key in &new.receipts {
            out.insert(&keyspaces.receipts, key, &[]);
        }
        for (key, count) in &new.counts {
            out.insert(&keyspaces.receipts, key, &count.to_be_bytes());
        }
    }
}
