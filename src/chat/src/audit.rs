//! The audit log: what administrators and operators did, and who was not let in.
//!
//! A record is text, one JSON object, and never changes. Its hash is SHA-256 over the hash of the record before it and the text, so
//! whoever changes, removes or reorders records has to make all later hashes anew, up to the head. Whoever may write all of the
//! store can do that; who has noted a head elsewhere (`nearport audit verify` prints it) sees it.
//!
//! All of this module is pure but [`log`], which writes.

pub mod log;
mod verify;

use std::collections::BTreeMap;
use std::fmt;

use aws_lc_rs::digest::{Context, SHA256};
use serde::{Deserialize, Serialize};

pub use verify::{Broken, Verified, Verifier, trimmed};

/// Form of records. A program that reads another one says so.
const VERSION: u32 = 1;

/// Longest text in a record, bytes: what is longer is cut, so that a record has a bound.
const TEXT_BYTES_MAX: usize = 512;

/// What happened, before it has a place in the chain.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// Milliseconds since the Unix epoch, by the clock of whoever saw it. Those of several processes need not ascend.
    pub time_ms: u64,
    /// `sdkappid`; 0: no App.
    pub app: u32,
    /// Whose act: an administrator, a user, or who sat at the command line.
    pub who: String,
    /// Where it came from: an address, or `command line`.
    pub from: String,
    /// What: `rest SERVICE/COMMAND`, `app set`, `login refused` …
    pub act: String,
    /// How it went, by the codes of the contract; 0: done.
    pub code: u32,
    /// What else there is to say, by name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub detail: BTreeMap<String, String>,
}

impl Entry {
    /// The same with one more detail.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl Into<String>) -> Self {
        self.detail.insert(name.to_owned(), value.into());
        self
    }

    /// The same about a setting, with its value before and after. One that is not set is left out, and a secret is not written down.
    #[must_use]
    pub fn about_setting(&self, setting: &str, old: Option<&str>, new: Option<&str>) -> Self {
        let mut entry = self.clone().with("setting", setting);
        for (name, value) in [("old", old), ("new", new)] {
            if let Some(value) = value {
                entry.detail.insert(name.to_owned(), crate::apps::shown(setting, value).to_owned());
            }
        }
        entry
    }
}

/// A record as text.
#[derive(Debug, Serialize, Deserialize)]
struct Written<'a> {
    v: u32,
    seq: u64,
    #[serde(flatten)]
    entry: std::borrow::Cow<'a, Entry>,
}

/// SHA-256.
#[derive(Clone, Copy, PartialEq, Eq, Default, Hash)]
pub struct Hash(pub [u8; 32]);

impl Hash {
    /// From what a store kept.
    #[must_use]
    pub fn read(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(Self)
    }

    /// Of these bytes.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        Self::over(&[bytes])
    }

    fn over(parts: &[&[u8]]) -> Self {
        let mut context = Context::new(&SHA256);
        parts.iter().for_each(|part| context.update(part));
        Self(context.finish().as_ref().try_into().expect("SHA-256 has 32 bytes"))
    }
}

impl fmt::Display for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A place in the chain: a record and its hash. [`Default`] is where it begins, before the first record.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Mark {
    /// The record; 0: none.
    pub seq: u64,
    /// Its hash.
    pub hash: Hash,
}

impl fmt::Display for Mark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.seq, self.hash)
    }
}

impl std::str::FromStr for Mark {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parsed = text.split_once(':').and_then(|(seq, hash)| {
            if hash.len() != 64 || !hash.is_ascii() {
                return None;
            }
            let mut bytes = [0; 32];
            for (at, byte) in bytes.iter_mut().enumerate() {
                *byte = u8::from_str_radix(&hash[2 * at..2 * at + 2], 16).ok()?;
            }
            Some(Self { seq: seq.parse().ok()?, hash: Hash(bytes) })
        });
        parsed.ok_or_else(|| "write SEQ:HASH, as `nearport audit verify` prints it".to_owned())
    }
}

/// Where a chain begins and ends.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Marks {
    /// The newest record that was removed by age.
    pub floor: Mark,
    /// The newest record.
    pub head: Mark,
}

/// A record as it is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// Its place, from 1.
    pub seq: u64,
    /// The text.
    pub text: Vec<u8>,
    /// What a store keeps as its hash: 32 bytes, unless somebody was there.
    pub hash: Vec<u8>,
}

impl Record {
    /// The next record behind `before`.
    #[must_use]
    pub fn next(before: &Mark, entry: &Entry) -> (Self, Mark) {
        let seq = before.seq + 1;
        let entry = std::borrow::Cow::Owned(bounded(entry));
        let text = serde_json::to_vec(&Written { v: VERSION, seq, entry }).expect("plain text and numbers");
        let hash = Hash::over(&[&before.hash.0, &text]);
        (Self { seq, text, hash: hash.0.to_vec() }, Mark { seq, hash })
    }

    /// What it says, and which record it says that it is.
    ///
    /// # Errors
    /// Why it cannot be read.
    pub fn entry(&self) -> Result<(u64, Entry), String> {
        let written: Written<'_> = serde_json::from_slice(&self.text).map_err(|error| error.to_string())?;
        match written.v {
            VERSION => Ok((written.seq, written.entry.into_owned())),
            other => Err(format!("it has the form {other}, this program reads {VERSION}")),
        }
    }

    fn follows(&self, before: &Hash) -> bool {
        Hash::over(&[&before.0, &self.text]).0[..] == self.hash[..]
    }
}

/// With all texts cut to their bound, and without U+0000, which nobody prints.
fn bounded(entry: &Entry) -> Entry {
    let mut entry = entry.clone();
    let cut = |text: &mut String| {
        if text.len() > TEXT_BYTES_MAX {
            let end = (0..=TEXT_BYTES_MAX).rev().find(|end| text.is_char_boundary(*end)).unwrap_or(0);
            text.truncate(end);
            text.push('…');
        }
    };
    [&mut entry.who, &mut entry.from, &mut entry.act].into_iter().for_each(cut);
    entry.detail.values_mut().for_each(cut);
    entry
}

#[cfg(test)]
mod tests;
