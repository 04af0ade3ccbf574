//! What back ends are to be told: rows that come with messages, and go once it was told.
//!
//! A shelf is read from the front and removed there, so markers of removed rows gather in front of it until a compaction drops
//! them. Readers begin behind what they know.

use std::collections::HashMap;
use std::ops::Bound;

use nearport_chat::key::AppId;
use nearport_chat::ledger::{Batch, Committed, LedgerError, OutboxEntry, PageLimit, Settle, Shelf};

use super::append::Rows;
use super::options::Keyspaces;
use super::{FjallLedger, Writer, keys, read};

impl FjallLedger {
    /// Adds what a batch says of the outbox. An entry that the batch itself adds is not there for what it settles.
    pub(super) fn put_outbox(
        &self,
        writer: &mut Writer,
        batch: &Batch,
        done: &Committed,
        out: &mut Rows,
    ) -> Result<(), LedgerError> {
        for (app, entry) in batch.outbox_entries(done) {
            self.put_entry(&mut writer.outbox, app, Shelf::Waiting, &entry, out)?;
        }
        for Settle { app, number, what } in &batch.settles {
            let key = keys::outbox_key(*app, what.from(), *number);
            let parse = |value: &[u8]| OutboxEntry::decode(*number, value);
            let Some(entry) = read::row(&self.keyspaces.outbox, &key, "an entry of the outbox", parse)?
            else {
                continue;
            };
            out.remove(&self.keyspaces.outbox, &key);
            if let (Some(entry), Some(shelf)) = (entry.settled(what), what.to()) {
                self.put_entry(&mut writer.outbox, *app, shelf, &entry, out)?;
            }
        }
        Ok(())
    }

    fn put_entry(
        &self,
        heads: &mut HashMap<(AppId, Shelf), u64>,
        app: AppId,
        shelf: Shelf,
        entry: &OutboxEntry,
        out: &mut Rows,
    ) -> Result<(), LedgerError> {
        let head = match heads.get(&(app, shelf)) {
            Some(head) => *head,
            None => last(&self.keyspaces, app, shelf)?,
        };
        heads.insert((app, shelf), head + 1);
        out.insert(&self.keyspaces.outbox, &keys::outbox_key(app, shelf, head + 1), &entry.encode());
        Ok(())
    }

    pub(super) fn outbox_page(
        &self,
        app: AppId,
        shelf: Shelf,
        after: u64,
        limit: PageLimit,
    ) -> Result<Vec<OutboxEntry>, LedgerError> {
        let from = Bound::Excluded(keys::outbox_key(app, shelf, after));
        let to = Bound::Included(keys::outbox_key(app, shelf, u64::MAX));
        let (mut page, mut bytes) = (Vec::new(), 0);
        for row in self.keyspaces.outbox.range((from, to)) {
            let (key, value) = row.into_inner().map_err(|e| read::error(&e))?;
            let number = read::key_number(&key)?;
            let entry = OutboxEntry::decode(number, &value)
                .ok_or_else(|| read::damaged("entry of the outbox", &app, number))?;
            bytes += entry.body.len();
            page.push(entry);
            if page.len() >= limit.entries || bytes >= limit.bytes {
                break;
            }
        }
        Ok(page)
    }
}

/// The largest number that stands on a shelf, 0 if it is empty.
pub(super) fn last(keyspaces: &Keyspaces, app: AppId, shelf: Shelf) -> Result<u64, LedgerError> {
    let (from, to) = (keys::outbox_key(app, shelf, 0), keys::outbox_key(app, shelf, u64::MAX));
    let row = keyspaces.outbox.range(from..=to).next_back();
    row.map_or(Ok(0), |row| read::key_number(&row.key().map_err(|e| read::error(&e))?))
}
