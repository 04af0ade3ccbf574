//! Messages of groups as they are kept, and who has read them.

use std::sync::PoisonError;

use nearport_wire::body::Message;
use nearport_wire::code::group as code;

use super::group_key;
use crate::admin::Admin;
use crate::front::readers::{Readers, readers};
use crate::group::gone_at;
use crate::kept::Kept;
use crate::key::{AppId, UserKey};
use crate::ledger::{PageLimit, Range};
use crate::reply::{Failure, unreadable};

/// Messages of one page, of the public contract.
const PAGE_MAX: u64 = 20;

/// Bytes of one page.
const PAGE_BYTES: usize = 512 << 10;

/// A place of a group's conversation.
#[derive(Debug, Clone)]
pub struct Slot {
    /// Which.
    pub seq: u64,
    /// Its time, milliseconds; 0 for a hole.
    pub time_ms: u64,
    /// What is there.
    pub what: InSlot,
}

/// What is at a place.
#[derive(Debug, Clone)]
pub enum InSlot {
    /// A message.
    Message(Box<Message>),
    /// A message that was taken back.
    Recalled(Box<Message>),
    /// Nothing any more.
    Hole,
}

/// A page of a group's conversation.
#[derive(Debug, Clone)]
pub struct GroupHistory {
    /// Newest first, without gaps.
    pub slots: Vec<Slot>,
    /// All that was asked for.
    pub whole: bool,
}

/// How many have read a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReadCounts {
    /// Those who have.
    pub read: usize,
    /// Those who have not.
    pub unread: usize,
}

impl Admin {
    /// A page of a group's conversation up to `newest` (absent: its end), `count` places and at most 20.
    ///
    /// # Errors
    /// 10010, 10015, 10002.
    pub fn group_history(
        &self,
        app: AppId,
        group: &str,
        newest: Option<u64>,
        count: u64,
    ) -> Result<GroupHistory, Failure> {
        let key = group_key(app, group)?;
        let first = self.of_talk(&key, |_, first| first)?;
        let conv = key.conv();
        let head = self.shared.ledger.head(&conv).map_err(|error| unreadable(&error))?;
        let newest = newest.unwrap_or(head).min(head);
        let asked = newest.saturating_sub(count).max(first);
        let lowest = newest.saturating_sub(count.min(PAGE_MAX)).max(first);
        let places = newest.saturating_sub(lowest);
        let limit =
            PageLimit { entries: usize::try_from(places).unwrap_or_default().max(1), bytes: PAGE_BYTES };
        let entries = match places {
            0 => Vec::new(),
            _ => self
                .shared
                .ledger
                .read(&conv, Range::Before(newest + 1), limit)
                .map_err(|error| unreadable(&error))?,
        };
        let cut = entries.len() < limit.entries
            && entries.iter().map(|entry| entry.body.len()).sum::<usize>() >= PAGE_BYTES;
        let end = if cut { entries.last().map_or(lowest, |last| last.seq - 1) } else { lowest };
        let now_ms = self.now_ms();
        let mut entries = entries.into_iter().peekable();
        let slots = (end.max(lowest) + 1..=newest).rev().map(|seq| {
            let hole = Slot { seq, time_ms: 0, what: InSlot::Hole };
            let Some(entry) = entries.next_if(|entry| entry.seq == seq) else { return hole };
            let kept = Kept::open(&entry.body);
            let time_ms = entry.time_ms;
            match kept.decode() {
                Ok(message) if message.recalled.is_some() => {
                    Slot { seq, time_ms, what: InSlot::Recalled(Box::new(message)) }
                }
                Ok(message) if !kept.is_over(time_ms, now_ms) => {
                    Slot { seq, time_ms, what: InSlot::Message(Box::new(message)) }
                }
                _ => hole,
            }
        });
        Ok(GroupHistory { slots: slots.collect(), whole: lowest == asked && !cut })
    }

    /// How many have read messages of a group, in the order of `seqs`; `None`: there are no receipts of it.
    ///
    /// # Errors
    /// 10007 for a type without receipts, 10010, 10015, 10002.
    pub fn group_receipts(
        &self,
        app: AppId,
        group: &str,
        seqs: &[u64],
    ) -> Result<Vec<Option<ReadCounts>>, Failure> {
        let counts = |seq: &u64| {
            Ok(self
                .readers_of(app, group, *seq)?
                .map(|Readers { readers, unread }| ReadCounts { read: readers.len(), unread: unread.len() }))
        };
        seqs.iter().map(counts).collect()
    }

    /// Who has, or has not, read a message of a group: names behind `after`, at most `limit`, and whether that is all.
    ///
    /// # Errors
    /// 10062 without receipts, 10007 for a type that has none, 10010, 10015, 10002.
    pub fn group_readers(
        &self,
        app: AppId,
        group: &str,
        seq: u64,
        unread: bool,
        (after, limit): (&str, usize),
    ) -> Result<(Vec<String>, bool), Failure> {
        let found = self.readers_of(app, group, seq)?;
        let found = found.ok_or_else(|| Failure::new(code::NO_RECEIPTS, "the message has no receipts"))?;
        let all: Vec<UserKey> = if unread { found.unread } else { found.readers.into_iter().collect() };
        let mut all = all.iter().map(UserKey::name).filter(|name| *name > after);
        let names = all.by_ref().take(limit).map(str::to_owned).collect();
        Ok((names, all.next().is_none()))
    }

    fn readers_of(&self, app: AppId, group: &str, seq: u64) -> Result<Option<Readers>, Failure> {
        let key = group_key(app, group)?;
        let group = self.home(&key)?;
        let (receipts, first) = {
            let group = group.read().unwrap_or_else(PoisonError::into_inner);
            (group.kind().receipts, group.first_seq(&key).ok_or_else(|| gone_at(&key))?)
        };
        if !receipts {
            return Err(Failure::new(
                code::NO_PERMISSION,
                "messages to groups of this type have no receipts",
            ));
        }
        let conv = key.conv();
        let entry = self.shared.ledger.entry(&conv, seq).map_err(|error| unreadable(&error))?;
        let kept = entry.filter(|_| seq > first).map(|entry| Kept::open(&entry.body));
        let Some(kept) = kept.filter(|kept| kept.head.need_receipt) else { return Ok(None) };
        let sender = std::str::from_utf8(&kept.head.from).ok().and_then(|name| UserKey::new(app, name).ok());
        let Some(sender) = sender else { return Ok(None) };
        readers(&*self.shared.ledger, &sender, &conv, &group, seq).map(Some)
    }
}
