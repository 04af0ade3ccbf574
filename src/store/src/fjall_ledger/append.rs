//! Messages and what they need: ids, numbers, the rows of a batch.

use fjall::OwnedWriteBatch;
use nearport_chat::key::{ConvKey, ConvKind, UserKey};
use nearport_chat::ledger::{Append, Appended, IdemKey, LedgerError};

use super::keys::{self, ConvId, UserId};
use super::owners::Owner;
use super::{FjallLedger, Writer, read};

/// fjall counts a row as its key and value; a skip-list node, sequence number and two slices come on top.
const ROW_OVERHEAD_BYTES: usize = 96;

/// The batch being built, and its size in memory. A key stands in it once: fjall gives all rows of a batch one sequence
/// number, and of two rows with the same key it would not say which one counts.
pub(super) struct Rows {
    pub(super) batch: OwnedWriteBatch,
    pub(super) bytes: u64,
}

impl Rows {
    pub(super) fn insert(&mut self, keyspace: &fjall::Keyspace, key: &[u8], value: &[u8]) {
        self.bytes += (key.len() + value.len() + ROW_OVERHEAD_BYTES) as u64;
        self.batch.insert(keyspace, key, value);
    }

    pub(super) fn remove(&mut self, keyspace: &fjall::Keyspace, key: &[u8]) {
        self.bytes += (key.len() + ROW_OVERHEAD_BYTES) as u64;
        self.batch.remove(keyspace, key);
    }
}

impl FjallLedger {
    pub(super) fn append(
        &self,
        writer: &mut Writer,
        append: &Append,
        several: bool,
        out: &mut Rows,
    ) -> Result<Appended, LedgerError> {
        let Writer { last, convs, users, key, value, seen, skipped, .. } = writer;
        let from = &append.idem.sender;
        let sender = users.of(from, || self.user(from, key, &mut last.next_user, out))?.id;
        let idem = (sender, append.idem.client_msg_id);
        let first = match seen.get(&idem) {
            Some(first) => Some(*first),
            None => self.first(sender, &append.idem.client_msg_id)?,
        };
        if let Some((seq, time_ms)) = first {
            self.metrics.duplicates.increment(1);
            return Ok(Appended::duplicate_of(seq, time_ms));
        }

        let mut positions = Vec::with_capacity(append.logs.len());
        let conv = convs.of(&append.conv, || self.conv(&append.conv, key, &mut last.next_conv, out))?;
        let seq = conv.next(|id| read::conv_head(&self.keyspaces, *id))?;
        out.insert(
            &self.keyspaces.idem,
            &keys::idem_key(sender, &append.idem.client_msg_id),
            &keys::idem_value(seq, append.time_ms),
        );
        // The message before the log entries that point at it: fjall shows a reader the rows of a batch in this
        // order, and a log entry without its message would look like damage.
        keys::message(value, append, sender);
        out.insert(&self.keyspaces.messages, &keys::message_key(conv.id, seq), value);
        if append.uncounted {
            let count = match skipped.get(&conv.id) {
                Some(count) => *count,
                None => read::skipped(&self.keyspaces, conv.id)?,
            };
            skipped.insert(conv.id, count + 1);
            let key = keys::skip_key(conv.id, seq);
            out.insert(&self.keyspaces.skips, &key, &(count + 1).to_be_bytes());
        }
        let entry = keys::log_value(seq, conv.id, true);
        if seq == 1
            && append.conv.is_pair()
            && let ConvKind::Pair(a, b) = append.conv.kind()
        {
            for user in std::iter::once(&a).chain((a != b).then_some(&b)) {
                let id = users.of(user, || self.user(user, key, &mut last.next_user, out))?.id;
                out.insert(&self.keyspaces.pairs, &keys::pair_key(id, append.conv.as_bytes()), &[]);
            }
        }
        for user in &append.logs {
            let log = users.of(user, || self.user(user, key, &mut last.next_user, out))?;
            let position = log.next(|id| read::log_head(&self.keyspaces, *id))?;
            out.insert(&self.keyspaces.logs, &keys::log_key(log.id, position), &entry);
            positions.push(position);
        }
        if several {
            seen.insert(idem, (seq, append.time_ms));
        }
        Ok(Appended { seq, time_ms: append.time_ms, positions, duplicate: false })
    }

    /// What a message with this key is answered with, if it is a duplicate.
    pub(super) fn duplicate(&self, key: &IdemKey) -> Result<Option<Appended>, LedgerError> {
        let Some(sender) = self.user_id(&key.sender)? else { return Ok(None) };
        let first = self.first(sender, &key.client_msg_id)?;
        Ok(first.map(|(seq, time_ms)| Appended::duplicate_of(seq, time_ms)))
    }

    /// The first message with this idempotency key, if there is one: its sequence number and time.
    fn first(&self, sender: UserId, client_msg_id: &[u8; 16]) -> Result<Option<(u64, u64)>, LedgerError> {
        let key = keys::idem_key(sender, client_msg_id);
        read::row(&self.keyspaces.idem, &key, "an idempotency row", keys::idem_parts)
    }

    /// Looks up a user, or adds one to the batch.
    pub(super) fn user(
        &self,
        user: &UserKey,
        key: &mut Vec<u8>,
        next: &mut UserId,
        out: &mut Rows,
    ) -> Result<Owner<UserId>, LedgerError> {
        keys::user_name(key, user);
        if let Some(id) = read::row(&self.keyspaces.ids, key, "an id", keys::user_id)? {
            return Ok(Owner { id, head: None });
        }
        let id = *next;
        // 4 billion users: their names alone would fill 200 GB.
        *next = id.checked_add(1).ok_or_else(|| LedgerError::Failed("no user id left".to_owned()))?;
        out.insert(&self.keyspaces.ids, key, &id.to_be_bytes());
        Ok(Owner { id, head: Some(0) })
    }

    /// Looks up a conversation, or adds one to the batch.
    fn conv(
        &self,
        conv: &ConvKey,
        key: &mut Vec<u8>,
        next: &mut u64,
        out: &mut Rows,
    ) -> Result<Owner<ConvId>, LedgerError> {
        keys::conv_name(key, conv);
        if let Some(id) = read::row(&self.keyspaces.ids, key, "an id", keys::conv_id)? {
            return Ok(Owner { id, head: None });
        }
        let id = ConvId(*next);
        *next += 1;
        out.insert(&self.keyspaces.ids, key, &id.bytes());
        out.insert(&self.keyspaces.ids, &keys::conv_by_id(id), conv.as_bytes());
        Ok(Owner { id, head: Some(0) })
    }
}
