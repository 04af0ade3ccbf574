//! Reads: history, messages by their keys.

use nearport_wire::body::Message;

use super::super::Admin;
use crate::kept::Kept;
use crate::key::{ConvKey, ConvKind, UserKey};
use crate::ledger::{CursorName, Deleted, Entry, IdemKey, LedgerError, PageLimit, Range};
use crate::msg_key::MsgKey;
use crate::reply::{Failure, unreadable};

/// Messages read at once.
const AT_ONCE: usize = 100;
/// Bytes of them.
const BYTES_AT_ONCE: usize = 64 * 1024;
/// Reads for one page: each may find nothing but what the user has deleted.
const READS_MAX: usize = 8;

/// Which part of a conversation is asked for, from the newest backwards.
#[derive(Debug, Clone)]
pub struct Roaming {
    /// Whose copy.
    pub user: UserKey,
    /// With whom.
    pub peer: UserKey,
    /// From this Unix second, included.
    pub from_s: u64,
    /// To this one, included; it says nothing if `last` names a message.
    pub to_s: u64,
    /// The message in front of which the page begins.
    pub last: Option<MsgKey>,
    /// Most messages.
    pub limit: usize,
}

/// A message as its user sees it.
#[derive(Debug, Clone, PartialEq)]
pub struct Roamed {
    /// Position in the conversation.
    pub seq: u64,
    /// What back ends call it.
    pub key: MsgKey,
    /// It, as it stands now: without content if it was recalled.
    pub message: Message,
    /// Its receiver has read it.
    pub peer_read: bool,
}

impl Admin {
    /// Messages of a pair, newest first, and whether there is nothing in front of the last one. Blocks.
    ///
    /// # Errors
    /// 20005.
    pub fn roaming(&self, asked: &Roaming) -> Result<(Vec<Roamed>, bool), Failure> {
        self.read_roaming(asked).map_err(|error| unreadable(&error))
    }

    fn read_roaming(&self, asked: &Roaming) -> Result<(Vec<Roamed>, bool), LedgerError> {
        let Roaming { user, peer, from_s, to_s, last, limit } = asked;
        let (ledger, now_ms) = (&self.shared.ledger, self.now_ms());
        let conv = ConvKey::pair(user, peer);
        let last = match last {
            Some(key) => self.message_by_key(&conv, key)?.map(|found| found.seq),
            None => None,
        };
        let mut at = match last {
            Some(seq) => seq,
            None => ledger.seq_at(&conv, to_s.saturating_add(1).saturating_mul(1000))?,
        };
        let since_ms = self.shared.since_ms(user.app(), now_ms).max(from_s.saturating_mul(1000));
        let read = |user: &UserKey| ledger.cursor(user, &CursorName::Read(conv.clone()));
        let reads = [read(user)?.unwrap_or_default(), read(peer)?.unwrap_or_default()];
        let mut found = Vec::new();
        for _ in 0..READS_MAX {
            let page = PageLimit { entries: AT_ONCE.min(limit + 1), bytes: BYTES_AT_ONCE };
            let entries = ledger.read(&conv, Range::Before(at), page)?;
            let (Some(newest), Some(oldest)) = (entries.first(), entries.last()) else {
                return Ok((found, true));
            };
            let range = (conv.clone(), oldest.seq, newest.seq);
            let deleted = ledger.deleted(user, &[range])?;
            let Deleted { cleared, hidden } = deleted.into_iter().next().unwrap_or_default();
            let view = self.shared.view_of(user, cleared, hidden, now_ms);
            at = oldest.seq;
            for entry in entries {
                if entry.time_ms < since_ms || entry.seq <= cleared {
                    return Ok((found, true));
                }
                let kept = Kept::open(&entry.body);
                if !view.shows(&entry, &kept) {
                    continue;
                }
                if found.len() == *limit {
                    return Ok((found, false));
                }
                found.push(self.roamed(&conv, &entry, &kept, user, reads)?);
            }
            if at <= 1 {
                return Ok((found, true));
            }
        }
        Ok((found, false))
    }

    fn roamed(
        &self,
        conv: &ConvKey,
        entry: &Entry,
        kept: &Kept,
        user: &UserKey,
        [read, peer_read]: [u64; 2],
    ) -> Result<Roamed, LedgerError> {
        let message = decoded(kept);
        let cursor = if kept.is_from(user) { peer_read } else { read };
        let confirmed = message.need_receipt && self.shared.ledger.receipt_count(conv, entry.seq)? > 0;
        Ok(Roamed {
            seq: entry.seq,
            key: MsgKey::of(&message, entry.seq, entry.time_ms),
            message,
            peer_read: confirmed || cursor >= entry.seq,
        })
    }

    /// The message of a pair with this key, as it stands now. Blocks.
    pub(super) fn message_by_key(&self, conv: &ConvKey, key: &MsgKey) -> Result<Option<Found>, LedgerError> {
        let ledger = &self.shared.ledger;
        let entry = |seq: u64| {
            let found = ledger.entry(conv, seq)?.map(|entry| {
                let message = decoded(&Kept::open(&entry.body));
                let is_it = MsgKey::of(&message, entry.seq, entry.time_ms) == *key;
                is_it.then_some(Found { seq: entry.seq, message })
            });
            Ok::<_, LedgerError>(found.flatten())
        };
        // What a client sent stands at the place that its key names.
        if let Some(found) = entry(key.seq)? {
            return Ok(Some(found));
        }
        let ConvKind::Pair(a, b) = conv.kind() else { return Ok(None) };
        let client_msg_id = key.client_msg_id(conv);
        let keys = [a, b].map(|sender| IdemKey { sender, client_msg_id });
        match ledger.duplicates(&keys)?.into_iter().flatten().next() {
            Some(place) => entry(place.seq),
            None => Ok(None),
        }
    }
}

/// A message and its place.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) seq: u64,
    pub(super) message: Message,
}

/// A body that is no message, which nothing here writes, is an empty one.
fn decoded(kept: &Kept) -> Message {
    kept.decode().unwrap_or_default()
}
