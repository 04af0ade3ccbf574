//! Whether a chain is whole.

use std::fmt;

use super::{Entry, Hash, Mark, Marks, Record};

/// What is wrong at one place of a chain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Broken {
    /// Text or hash of a record are not what was written.
    Changed {
        /// The record.
        seq: u64,
    },
    /// Records are not there.
    Missing {
        /// The first one.
        first: u64,
        /// The last one.
        last: u64,
    },
    /// A record stands in the place of another.
    Moved {
        /// Where it stands.
        at: u64,
        /// Which one it says that it is.
        says: u64,
    },
    /// A record cannot be read.
    Unreadable {
        /// The record.
        seq: u64,
        /// Why.
        why: String,
    },
    /// The mark of the newest record does not fit the records.
    Head {
        /// What the mark says.
        marked: Mark,
        /// What the records say.
        found: Mark,
    },
    /// A record stands before the beginning.
    Early {
        /// The record.
        seq: u64,
    },
    /// Records were removed from the beginning, and no record says so.
    Floor {
        /// What the mark says.
        marked: Mark,
    },
    /// The record that was noted elsewhere is not in the chain, or another one is in its place.
    NotAsNoted {
        /// What was noted.
        noted: Mark,
    },
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Changed { seq } => write!(f, "record {seq}: its text or its hash was changed"),
            Self::Missing { first, last } if first == last => write!(f, "record {first} is missing"),
            Self::Missing { first, last } => write!(f, "records {first} to {last} are missing"),
            Self::Moved { at, says } => write!(f, "record {at}: stands here and says that it is {says}"),
            Self::Unreadable { seq, why } => write!(f, "record {seq}: cannot be read: {why}"),
            Self::Head { marked, found } => {
                write!(f, "the end: the log is marked to end with {marked}, its records end with {found}")
            }
            Self::Early { seq } => write!(f, "record {seq}: stands before the beginning"),
            Self::Floor { marked } => {
                write!(f, "the beginning: records up to {} are gone and no record says so", marked.seq)
            }
            Self::NotAsNoted { noted } => write!(f, "record {}: is not the one that was noted", noted.seq),
        }
    }
}

/// What a whole chain is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Verified {
    /// Records that were looked at.
    pub records: u64,
    /// Its marks.
    pub marks: Marks,
}

/// Act of the record that a trim leaves.
pub(super) const TRIMMED: &str = "audit trim";

/// The record that a trim leaves, made of `act`: what is gone, so that the floor can be checked.
#[must_use]
pub fn trimmed(act: &Entry, floor: &Mark) -> Entry {
    let entry = Entry { act: TRIMMED.to_owned(), ..act.clone() };
    entry.with("floor_seq", floor.seq.to_string()).with("floor_hash", floor.hash.to_string())
}

/// Looks at all records in their order. Feed it with [`Self::take`], then ask [`Self::end`].
#[derive(Debug)]
pub struct Verifier {
    marks: Marks,
    noted: Option<Mark>,
    last: Mark,
    records: u64,
    /// The floor as the last trim that is in the chain says it.
    trimmed: Option<(String, String)>,
    noted_found: bool,
}

impl Verifier {
    /// Of a chain with these marks, and if somebody noted a mark elsewhere, whether it is in the chain.
    #[must_use]
    pub fn new(marks: Marks, noted: Option<Mark>) -> Self {
        let noted_found = noted.is_none_or(|noted| noted == marks.floor);
        Self { marks, noted, last: marks.floor, records: 0, trimmed: None, noted_found }
    }

    /// The next record; what is wrong with it goes to `broken`. Later records are looked at all the same, from what this one has as its
    /// hash.
    pub fn take(&mut self, record: &Record, broken: &mut Vec<Broken>) {
        let Record { seq, hash, .. } = record;
        self.records += 1;
        if *seq <= self.marks.floor.seq {
            broken.push(Broken::Early { seq: *seq });
            return;
        }
        let expected = self.last.seq + 1;
        if *seq > expected {
            broken.push(Broken::Missing { first: expected, last: seq - 1 });
        }
        match record.entry() {
            Err(why) => broken.push(Broken::Unreadable { seq: *seq, why }),
            Ok((says, _)) if says != *seq => broken.push(Broken::Moved { at: *seq, says }),
            Ok((_, entry)) => self.note_trim(&entry),
        }
        // What stands behind a gap cannot be checked against what is missing.
        if *seq == expected && !record.follows(&self.last.hash) {
            broken.push(Broken::Changed { seq: *seq });
        }
        // A hash of another length is nobody's: the next record will say so too.
        self.last = Mark { seq: *seq, hash: Hash::read(hash).unwrap_or_default() };
        if self.noted == Some(self.last) {
            self.noted_found = true;
        }
    }

    fn note_trim(&mut self, entry: &Entry) {
        if entry.act == TRIMMED {
            let of = |name: &str| entry.detail.get(name).cloned().unwrap_or_default();
            self.trimmed = Some((of("floor_seq"), of("floor_hash")));
        }
    }

    /// After the last record.
    pub fn end(self, broken: &mut Vec<Broken>) -> Verified {
        let Marks { floor, head } = self.marks;
        if self.last != head {
            broken.push(Broken::Head { marked: head, found: self.last });
        }
        let said = (floor.seq.to_string(), floor.hash.to_string());
        if floor != Mark::default() && self.trimmed != Some(said) {
            broken.push(Broken::Floor { marked: floor });
        }
        if let Some(noted) = self.noted.filter(|_| !self.noted_found) {
            broken.push(Broken::NotAsNoted { noted });
        }
        Verified { records: self.records, marks: self.marks }
    }
}
