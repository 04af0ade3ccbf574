//! The outbox: what the back ends of Apps are still to be told, written with the message that it is about.
//!
//! Each App has two shelves, [`Shelf::Waiting`] and [`Shelf::Dead`], each with numbers of its own that grow. What waits is read in
//! order and leaves by [`Settle`]: told, put among the dead, or brought back from there.
//!
//! [`callback`](crate::callback) says what is put in, and who reads it. A batch without entries pays two empty loops for it.

use bytes::Bytes;

use super::{Batch, Committed};
use crate::key::AppId;

/// Longest reason that is kept, bytes.
const REASON_BYTES_MAX: usize = 256;

/// Something that the back end of an App is to be told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outbound {
    /// Whose back end.
    pub app: AppId,
    /// The message that it is about, as an index of [`Batch::appends`]. It is written together with it, with its sequence number,
    /// and not at all if the message is a duplicate. `None`: it is about something else.
    pub append: Option<usize>,
    /// When it happened, milliseconds since the Unix epoch.
    pub time_ms: u64,
    /// What is to be told. The ledger does not look inside.
    pub body: Bytes,
}

/// Where an entry of the outbox stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Shelf {
    /// It is to be told.
    Waiting,
    /// It was given up, and is kept to be looked at and brought back.
    Dead,
}

/// An entry of the outbox.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutboxEntry {
    /// Its number on its shelf, from 1, larger than those of all that stand there. Numbers may be missing; a store that is opened
    /// again may begin again on an empty shelf.
    pub number: u64,
    /// Sequence number of the message that it is about, 0 for none.
    pub seq: u64,
    /// [`Outbound::time_ms`].
    pub time_ms: u64,
    /// Of a dead one: when it was given up. 0 otherwise.
    pub died_ms: u64,
    /// Of a dead one: why, for people.
    pub reason: String,
    /// [`Outbound::body`].
    pub body: Bytes,
}

/// What becomes of an entry. One that is not there (any more) is left alone, so saying it twice is harmless.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settle {
    /// Whose.
    pub app: AppId,
    /// Its number on the shelf that [`Self::what`] takes it from.
    pub number: u64,
    /// What becomes of it.
    pub what: Settled,
}

/// See [`Settle`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Settled {
    /// It was told: it leaves [`Shelf::Waiting`].
    Told,
    /// It is given up: it goes from [`Shelf::Waiting`] to the end of [`Shelf::Dead`].
    Dead {
        /// Now, milliseconds.
        now_ms: u64,
        /// Why; cut at 256 bytes.
        reason: String,
    },
    /// It is to be told after all: it goes from [`Shelf::Dead`] to the end of [`Shelf::Waiting`].
    Again,
    /// Nobody wants it any more: it leaves [`Shelf::Dead`].
    Forgotten,
}

impl Settled {
    /// The shelf that the entry is taken from.
    #[must_use]
    pub fn from(&self) -> Shelf {
        match self {
            Self::Told | Self::Dead { .. } => Shelf::Waiting,
            Self::Again | Self::Forgotten => Shelf::Dead,
        }
    }

    /// The shelf that it is put on.
    #[must_use]
    pub fn to(&self) -> Option<Shelf> {
        match self {
            Self::Told | Self::Forgotten => None,
            Self::Dead { .. } => Some(Shelf::Dead),
            Self::Again => Some(Shelf::Waiting),
        }
    }
}

impl OutboxEntry {
    /// The entry as it stands once it was settled, where it stays at all. Its number is still the old one.
    #[must_use]
    pub fn settled(self, what: &Settled) -> Option<Self> {
        match what {
            Settled::Told | Settled::Forgotten => None,
            Settled::Dead { now_ms, reason } => {
                let mut end = reason.len().min(REASON_BYTES_MAX);
                while !reason.is_char_boundary(end) {
                    end -= 1;
                }
                Some(Self { died_ms: *now_ms, reason: reason[..end].to_owned(), ..self })
            }
            Settled::Again => Some(Self { died_ms: 0, reason: String::new(), ..self }),
        }
    }

    /// The bytes that engines keep of it, without its number: sequence number, time, time of death (8 each), length of the reason
    /// (2), reason, body.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let reason = &self.reason.as_bytes()[..self.reason.len().min(REASON_BYTES_MAX)];
        let mut out = Vec::with_capacity(26 + reason.len() + self.body.len());
        for number in [self.seq, self.time_ms, self.died_ms] {
            out.extend_from_slice(&number.to_be_bytes());
        }
        out.extend_from_slice(&u16::try_from(reason.len()).unwrap_or(0).to_be_bytes());
        out.extend_from_slice(reason);
        out.extend_from_slice(&self.body);
        out
    }

    /// Reads back what [`Self::encode`] gave; `None` for other bytes.
    #[must_use]
    pub fn decode(number: u64, bytes: &[u8]) -> Option<Self> {
        let (seq, rest) = bytes.split_first_chunk::<8>()?;
        let (time_ms, rest) = rest.split_first_chunk::<8>()?;
        let (died_ms, rest) = rest.split_first_chunk::<8>()?;
        let (length, rest) = rest.split_first_chunk::<2>()?;
        let (reason, body) = rest.split_at_checked(usize::from(u16::from_be_bytes(*length)))?;
        Some(Self {
            number,
            seq: u64::from_be_bytes(*seq),
            time_ms: u64::from_be_bytes(*time_ms),
            died_ms: u64::from_be_bytes(*died_ms),
            reason: std::str::from_utf8(reason).ok()?.to_owned(),
            body: Bytes::copy_from_slice(body),
        })
    }
}

impl Batch {
    /// What of [`Batch::outbox`] is written, given what became of the messages: in order, with number 0.
    pub fn outbox_entries(&self, done: &Committed) -> impl Iterator<Item = (AppId, OutboxEntry)> {
        self.outbox.iter().filter_map(|outbound| {
            let seq = match outbound.append {
                None => 0,
                // A duplicate was told with its first one.
                Some(at) => done.appended.get(at).filter(|done| !done.duplicate)?.seq,
            };
            let Outbound { app, time_ms, body, .. } = outbound;
            let (time_ms, body, reason) = (*time_ms, body.clone(), String::new());
            Some((*app, OutboxEntry { number: 0, seq, time_ms, died_ms: 0, reason, body }))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_survives_its_bytes_and_a_long_reason_is_cut_at_a_character() {
        let entry = OutboxEntry {
            number: 7,
            seq: 3,
            time_ms: 5,
            died_ms: 0,
            reason: String::new(),
            body: Bytes::from_static(b"body"),
        };
        assert_eq!(OutboxEntry::decode(7, &entry.encode()), Some(entry.clone()));
        let dead = Settled::Dead { now_ms: 9, reason: "é".repeat(200) };
        let dead = entry.settled(&dead).unwrap();
        assert_eq!((dead.reason.len(), dead.died_ms), (256, 9));
        assert_eq!(OutboxEntry::decode(7, &dead.encode()), Some(dead.clone()));
        assert_eq!(OutboxEntry::decode(7, &dead.encode()[..30]), None);
        assert_eq!(dead.settled(&Settled::Forgotten), None);
    }
}
