//! Pages of user logs.

use std::collections::BTreeMap;

use bytes::Bytes;
use nearport_wire::body::{self, RawDelivery, encode_sync_page};

use super::Front;
use crate::kept::{Kept, addressed};
use crate::key::{ConvKey, UserKey};
use crate::ledger::{Deleted, LedgerError, LogEntry, PageLimit};
use crate::reply::{Failure, decode, unreadable};

/// Most entries of a page, as the protocol says.
const PAGE_ENTRIES_MAX: u32 = 200;

/// Bytes of messages after which a page ends. With one more message (at most 16 KiB) and some 30 bytes beside each
/// of 200 messages it stays below the 256 KiB that a client reads.
pub(super) const PAGE_BYTES_MAX: usize = 200 * 1024;

/// Bounds of the page in a welcome: what a device misses in an ordinary absence. With one more message (16 KiB) a batch
/// of 128 logins holds 6 MiB.
pub(super) const MISSED: PageLimit = PageLimit { entries: 100, bytes: 32 * 1024 };

/// A page of a user log.
pub(super) struct LogPage {
    entries: Vec<RawDelivery>,
    /// End of the log, read after the entries.
    pub(super) head: u64,
    complete: bool,
}

impl LogPage {
    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    pub(super) fn encode(&self) -> Bytes {
        encode_sync_page(&self.entries, self.head, self.complete)
    }
}

impl Front {
    /// Reads what lies after a position. What is not to be shown any more has its place and no message.
    pub(super) fn log_page(
        &self,
        user: &UserKey,
        after: u64,
        limit: PageLimit,
        now_ms: u64,
    ) -> Result<LogPage, LedgerError> {
        let ledger = &self.shared.ledger;
        let entries = ledger.read_log(user, after, limit)?;
        // Read after the page, so that "complete" is true of the moment at which the page was read.
        let head = ledger.log_head(user)?;
        let last = entries.last().map_or(after, |entry| entry.position);
        // What lies behind the last entry may have been trimmed. Only asking tells; it is rare.
        let complete =
            last >= head || ledger.read_log(user, last, PageLimit { entries: 1, bytes: 0 })?.is_empty();
        let entries = self.shown(user, entries, now_ms)?;
        Ok(LogPage { entries, head, complete })
    }

    /// Entries of a log as their owner may see them.
    fn shown(
        &self,
        user: &UserKey,
        entries: Vec<LogEntry>,
        now_ms: u64,
    ) -> Result<Vec<RawDelivery>, LedgerError> {
        let mut ranges: BTreeMap<&ConvKey, (u64, u64)> = BTreeMap::new();
        for LogEntry { conv, entry, .. } in &entries {
            let (first, last) = ranges.entry(conv).or_insert((entry.seq, entry.seq));
            (*first, *last) = (entry.seq.min(*first), entry.seq.max(*last));
        }
        let ranges: Vec<_> =
            ranges.into_iter().map(|(conv, (first, last))| (conv.clone(), first, last)).collect();
        // All conversations of the page at once: of an ordinary absence they are many.
        let deleted = self.shared.ledger.deleted(user, &ranges)?;
        let view = |((conv, ..), Deleted { cleared, hidden }): ((ConvKey, u64, u64), Deleted)| {
            (conv, self.shared.view_of(user, cleared, hidden, now_ms))
        };
        let views: BTreeMap<_, _> = ranges.into_iter().zip(deleted).map(view).collect();
        let raw = |LogEntry { position, first, conv, entry }: LogEntry| {
            let kept = Kept::open(&entry.body);
            let shown = views.get(&conv).is_some_and(|view| view.shows(&entry, &kept));
            // A change of a message whose life is over is still one of a message that may be on the screen.
            let over = entry.edit == 0 && kept.is_over(entry.time_ms, now_ms);
            let (seq, message) = match conv.is_pushes() {
                true => (0, addressed(&kept.message, user)),
                false => (entry.seq, kept.message),
            };
            RawDelivery {
                position,
                seq,
                time_ms: entry.time_ms,
                edit: entry.edit,
                receipts: 0,
                first: first && entry.edit > 0,
                message: (shown && !over).then_some(message),
            }
        };
        Ok(entries.into_iter().map(raw).collect())
    }

    /// Answers SYNC. A limit outside 1..=200 is clamped. A position beyond the head gets an empty, complete page, whose
    /// smaller head tells the client so: an error would make it ask again for ever.
    pub(super) fn sync(&self, user: &UserKey, body: Bytes, now_ms: u64) -> Result<Bytes, Failure> {
        let request: body::Sync = decode(body, "sync")?;
        let page = self
            .log_page(user, request.after, page_limit(request.limit), now_ms)
            .map_err(|error| unreadable(&error))?;
        if request.after > page.head {
            self.shared.metrics.cursors_clamped.increment(1);
        }
        Ok(page.encode())
    }
}

pub(super) fn page_limit(asked: u32) -> PageLimit {
    PageLimit { entries: asked.clamp(1, PAGE_ENTRIES_MAX) as usize, bytes: PAGE_BYTES_MAX }
}
