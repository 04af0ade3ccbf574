//! Pages of user logs and conversations.

use bytes::Bytes;
use nearport_wire::body::{self, HistoryMarks, RawDelivery, encode_history_page, encode_sync_page};

use super::Front;
use crate::key::{ConvKey, UserKey};
use crate::ledger::{CursorName, LedgerError, LogEntry, PageLimit, Range};
use crate::reply::{Failure, decode, peer};

/// Most entries of a page, as the protocol says.
const PAGE_ENTRIES_MAX: u32 = 200;

/// Bytes of messages after which a page ends. With one more message (at most 16 KiB) and some 30 bytes beside each
/// of 200 messages it stays below the 256 KiB that a client reads.
const PAGE_BYTES_MAX: usize = 200 * 1024;

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
    /// Reads what lies after a position.
    pub(super) fn log_page(
        &self,
        user: &UserKey,
        after: u64,
        limit: PageLimit,
    ) -> Result<LogPage, LedgerError> {
        let ledger = &self.shared.ledger;
        let entries = ledger.read_log(user, after, limit)?;
        // Read after the page, so that "complete" is true of the moment at which the page was read.
        let head = ledger.log_head(user)?;
        let last = entries.last().map_or(after, |entry| entry.position);
        // What lies behind the last entry may have been trimmed. Only asking tells; it is rare.
        let complete =
            last >= head || ledger.read_log(user, last, PageLimit { entries: 1, bytes: 0 })?.is_empty();
        let raw = |entry: LogEntry| RawDelivery {
            position: entry.position,
            seq: entry.entry.seq,
            time_ms: entry.entry.time_ms,
            message: Some(entry.entry.body),
            ..RawDelivery::default()
        };
        let entries = entries.into_iter().map(raw).collect();
        Ok(LogPage { entries, head, complete })
    }

    /// Answers SYNC. A limit outside 1..=200 is clamped. A position beyond the head gets an empty, complete page, whose
    /// smaller head tells the client so: an error would make it ask again for ever.
    pub(super) fn sync(&self, user: &UserKey, body: Bytes) -> Result<Bytes, Failure> {
        let request: body::Sync = decode(body, "sync")?;
        let page = self.log_page(user, request.after, page_limit(request.limit)).map_err(unreadable)?;
        if request.after > page.head {
            self.shared.metrics.cursors_clamped.increment(1);
        }
        Ok(page.encode())
    }

    /// Answers HISTORY of a 1:1 conversation. One that has no message, whoever the other side is, gives an empty,
    /// complete page.
    pub(super) fn history(&self, user: &UserKey, body: Bytes) -> Result<Bytes, Failure> {
        let request: body::History = decode(body, "history")?;
        let peer = peer(user, request.with)?;
        let conv = ConvKey::pair(user, &peer);
        let range = match (request.after, request.before) {
            (Some(after), _) => Range::After(after),
            (None, 0) => Range::Before(u64::MAX),
            (None, before) => Range::Before(before),
        };
        let ledger = &self.shared.ledger;
        let entries = ledger.read(&conv, range, page_limit(request.limit)).map_err(unreadable)?;
        let ends = ledger.heads(std::slice::from_ref(&conv)).map_err(unreadable)?;
        let (head, floor) = ends.first().map_or((0, 0), |ends| (ends.seq, ends.floor));
        let read = |user| {
            let cursor = ledger.cursor(user, &CursorName::Read(conv.clone()));
            cursor.map(Option::unwrap_or_default).map_err(unreadable)
        };
        let last = entries.last().map(|entry| entry.seq);
        let complete = match range {
            Range::After(after) => last.unwrap_or(after).max(floor) >= head,
            Range::Before(_) => last.is_none_or(|seq| seq <= floor + 1),
        };
        let marks = HistoryMarks {
            complete,
            head,
            read: read(user)?,
            peer_read: read(&peer)?,
            next: last.unwrap_or_default(),
            edit: 0,
        };
        let entries: Vec<_> = entries
            .into_iter()
            .map(|entry| RawDelivery {
                seq: entry.seq,
                time_ms: entry.time_ms,
                message: Some(entry.body),
                ..RawDelivery::default()
            })
            .collect();
        Ok(encode_history_page(&entries, marks))
    }
}

fn page_limit(asked: u32) -> PageLimit {
    PageLimit { entries: asked.clamp(1, PAGE_ENTRIES_MAX) as usize, bytes: PAGE_BYTES_MAX }
}

fn unreadable(error: LedgerError) -> Failure {
    tracing::error!(%error, "cannot read the ledger");
    Failure::unreadable()
}
