//! Pages of conversations, by seq, by time, and of what was changed.

use bytes::Bytes;
use nearport_wire::body::{self, HistoryMarks, RawDelivery, encode_history_page};

use super::Front;
use super::pages::{PAGE_BYTES_MAX, page_limit};
use crate::kept::Kept;
use crate::key::{ConvKey, UserKey};
use crate::ledger::{CursorName, Entry, Heads, LedgerError, PageLimit, Range};
use crate::reply::{Failure, With, decode, unreadable};

/// Reads for one page. Each may find nothing but what the reader has deleted; after the last one the page goes out as it is.
const READS_MAX: usize = 8;

/// A page as it grows.
#[derive(Default)]
struct Page {
    deliveries: Vec<RawDelivery>,
    bytes: usize,
    /// Where the next one begins.
    next: u64,
    complete: bool,
}

/// The part of a conversation that is asked for: above `low`, below `high`.
struct Bounds {
    low: u64,
    high: u64,
    since_ms: u64,
}

impl Front {
    /// Answers HISTORY. A conversation that has no message, whoever the other side is, gives an empty, complete page.
    pub(super) fn history(&self, user: &UserKey, body: Bytes, now_ms: u64) -> Result<Bytes, Failure> {
        let request: body::History = decode(body, "history")?;
        let with = With::of(user, request.with.clone())?;
        let conv = with.conv(user);
        let floor = self.floor(user, &with)?;
        let page = match request.changes_after {
            Some(after) => self.changes(user, &conv, floor, after, request.limit, now_ms),
            None => self.messages(user, &conv, floor, &request, now_ms),
        };
        let (page, heads) = page.map_err(|error| unreadable(&error))?;
        let read = |user: &UserKey| {
            let cursor = self.shared.ledger.cursor(user, &CursorName::Read(conv.clone()));
            cursor.map(Option::unwrap_or_default).map_err(|error| unreadable(&error))
        };
        let peer_read = match &with {
            With::User(peer) => read(peer)?,
            With::Group(_) | With::Notices => 0,
        };
        let marks = HistoryMarks {
            complete: page.complete,
            head: heads.seq,
            read: read(user)?,
            peer_read,
            next: page.next,
            edit: heads.edit,
        };
        Ok(encode_history_page(&page.deliveries, marks))
    }

    fn messages(
        &self,
        user: &UserKey,
        conv: &ConvKey,
        floor: u64,
        request: &body::History,
        now_ms: u64,
    ) -> Result<(Page, Heads), LedgerError> {
        let ledger = &self.shared.ledger;
        let floor = floor.max(self.cleared(user, conv)?);
        let bounds = self.bounds((user, conv), floor, request, now_ms)?;
        let entries = page_limit(request.limit).entries;
        let mut page = Page::default();
        let (ascending, mut at) = match (request.after, request.before) {
            (Some(after), _) => (true, after.max(bounds.low)),
            (None, 0) => (false, bounds.high),
            (None, before) => (false, before.min(bounds.high)),
        };
        for _ in 0..READS_MAX {
            page.next = at;
            let limit = PageLimit {
                entries: entries - page.deliveries.len(),
                bytes: PAGE_BYTES_MAX.saturating_sub(page.bytes),
            };
            let range = if ascending { Range::After(at) } else { Range::Before(at) };
            let read = ledger.read(conv, range, limit)?;
            let Some(last) = read.last().map(|entry| entry.seq) else {
                page.complete = true;
                break;
            };
            page.complete = !self.take(user, conv, read, &bounds, now_ms, &mut page)?;
            at = last;
            page.next = at;
            if page.complete || page.deliveries.len() >= entries || page.bytes >= PAGE_BYTES_MAX {
                break;
            }
        }
        // Read after the page, so that "complete" is true of the moment at which the page was read.
        let heads = ledger.heads(std::slice::from_ref(conv))?.pop().unwrap_or_default();
        page.complete |= match ascending {
            true => page.next >= heads.seq.min(bounds.high.saturating_sub(1)),
            false => page.next <= bounds.low.max(heads.floor) + 1,
        };
        Ok((page, heads))
    }

    /// Adds what is shown of `entries`. `false`: the end of what is asked for was among them.
    fn take(
        &self,
        user: &UserKey,
        conv: &ConvKey,
        entries: Vec<Entry>,
        bounds: &Bounds,
        now_ms: u64,
        page: &mut Page,
    ) -> Result<bool, LedgerError> {
        let (first, last) = match (entries.first(), entries.last()) {
            (Some(a), Some(b)) => (a.seq.min(b.seq), a.seq.max(b.seq)),
            _ => return Ok(false),
        };
        let view = self.view(user, conv, bounds.low, (first, last), now_ms)?;
        for entry in entries {
            // Times do not go back: in front of what is too old, everything is.
            if entry.seq <= bounds.low || entry.seq >= bounds.high || entry.time_ms < bounds.since_ms {
                return Ok(false);
            }
            page.bytes += entry.body.len();
            let kept = Kept::open(&entry.body);
            if view.shows(&entry, &kept) {
                page.deliveries.push(self.raw(user, conv, &entry, kept)?);
            }
        }
        Ok(true)
    }

    /// A message of a page. Its sender hears how many have read it.
    fn raw(
        &self,
        user: &UserKey,
        conv: &ConvKey,
        entry: &Entry,
        kept: Kept,
    ) -> Result<RawDelivery, LedgerError> {
        let receipts = match kept.head.need_receipt && kept.is_from(user) {
            true => self.shared.ledger.receipt_count(conv, entry.seq)?,
            false => 0,
        };
        Ok(RawDelivery {
            position: 0,
            seq: entry.seq,
            time_ms: entry.time_ms,
            edit: entry.edit,
            receipts: u32::try_from(receipts).unwrap_or(u32::MAX),
            first: false,
            message: Some(kept.message),
        })
    }

    fn bounds(
        &self,
        (user, conv): (&UserKey, &ConvKey),
        floor: u64,
        request: &body::History,
        now_ms: u64,
    ) -> Result<Bounds, LedgerError> {
        let ledger = &self.shared.ledger;
        let since_ms = self.shared.since_ms(user.app(), now_ms).max(request.from_ms);
        // From the newest backwards what is too old is met at the end; a page that goes forward begins behind it.
        let low = match request.from_ms > 0 || (request.after.is_some() && since_ms > 0) {
            true => ledger.seq_at(conv, since_ms)?.saturating_sub(1),
            false => 0,
        };
        let high = match request.to_ms {
            0 => u64::MAX,
            to_ms => ledger.seq_at(conv, to_ms.saturating_add(1))?,
        };
        Ok(Bounds { low: low.max(floor), high, since_ms })
    }

    /// Messages whose newest change has a number above `after`, as they stand now.
    fn changes(
        &self,
        user: &UserKey,
        conv: &ConvKey,
        floor: u64,
        after: u64,
        limit: u32,
        now_ms: u64,
    ) -> Result<(Page, Heads), LedgerError> {
        let ledger = &self.shared.ledger;
        let floor = floor.max(self.cleared(user, conv)?);
        let limit = page_limit(limit);
        let mut page = Page { next: after, ..Page::default() };
        // Read in front of the changes, so that all up to its number are among them.
        let heads = ledger.heads(std::slice::from_ref(conv))?.pop().unwrap_or_default();
        let edits = ledger.edits(conv, after, limit.entries)?;
        page.complete = edits.len() < limit.entries;
        for (edit, seq) in edits {
            if page.bytes >= limit.bytes {
                page.complete = false;
                break;
            }
            page.next = edit;
            // Trimmed, or changed once more meanwhile: then it stands further behind, and comes again.
            let Some(entry) = ledger.entry(conv, seq)? else { continue };
            let kept = Kept::open(&entry.body);
            let view = self.view(user, conv, floor, (seq, seq), now_ms)?;
            page.bytes += entry.body.len();
            if view.shows(&entry, &kept) {
                page.deliveries.push(self.raw(user, conv, &entry, kept)?);
            }
        }
        if page.complete {
            // Numbers of what was trimmed or changed again are in no page.
            page.next = page.next.max(heads.edit);
        }
        Ok((page, heads))
    }
}
