//! History files: what was said in an hour of UTC, one file for each App and kind of conversation (`get_history` of the public
//! contract).
//!
//! A thread of its own makes them when their hour is over ([`Maker`]): it walks over the conversations, reads of each what is of that
//! hour, and gives it to [`Files`], which the root provides. It rests three times as long as each step took, so that it costs a
//! quarter of a core at most. Nothing is written with a message for it (docs/decisions/0014-history-files.md).
//!
//! Several processes on one store share the work: who makes a file says so in its row first, and what one leaves unfinished another
//! one begins anew.

mod maker;

use std::fmt;
use std::io;

use nearport_wire::body::Message;

use crate::Clock;
pub use crate::directory::history::{HistoryKey, HistoryRow};
use crate::key::{AppId, ConvKey};
use crate::msg_key::MsgKey;
use crate::resting::Resting;
use crate::shared::Shared;

pub use maker::Maker;

/// Milliseconds of an hour.
pub const HOUR_MS: u64 = 3_600_000;

/// How long a file is kept, behind the end of its hour: seven days, of the public contract.
pub const KEPT_HOURS: u64 = 7 * 24;

/// How many times as long as a step the thread rests after it.
const REST: u32 = 3;

/// A message of a file.
#[derive(Debug, Clone, PartialEq)]
pub struct Said {
    /// Where.
    pub conv: ConvKey,
    /// What back ends call it: of a message in a group `seq` is its place there.
    pub key: MsgKey,
    /// It, as it stands now.
    pub message: Message,
}

/// What a file turned out to be.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Made {
    /// Octets of its text.
    pub bytes: u64,
    /// MD5 of its text, in hexadecimal digits.
    pub md5: String,
    /// Octets as it is stored.
    pub gzip_bytes: u64,
    /// MD5 of what is stored.
    pub gzip_md5: String,
}

/// Where files go.
pub trait Files: fmt::Debug + Send {
    /// Begins one under a name that no other has. Nothing of it is there before it is finished.
    ///
    /// # Errors
    /// What the system said.
    fn begin(&self, key: &HistoryKey, now_ms: u64) -> io::Result<Box<dyn Sheet>>;

    /// Removes a file, if it is there.
    ///
    /// # Errors
    /// What the store said.
    fn remove(&self, app: AppId, media: &str) -> io::Result<()>;
}

/// A file that is being made. Dropping it leaves nothing.
pub trait Sheet: Send {
    /// Its name in the store: [`HistoryRow::media`].
    fn media(&self) -> String;

    /// The next message.
    ///
    /// # Errors
    /// What the system said.
    fn add(&mut self, said: &Said) -> io::Result<()>;

    /// It is whole. Durable when this returns.
    ///
    /// # Errors
    /// What the store said; nothing is left of it.
    fn finish(self: Box<Self>) -> io::Result<Made>;
}

/// The thread. Dropping it ends it, after the step that it is at.
#[derive(Debug)]
pub struct Historian(#[expect(dead_code, reason = "held for its end")] Resting);

impl Historian {
    /// Starts it.
    ///
    /// # Errors
    /// If the system has no thread.
    pub fn start(shared: Shared, files: Box<dyn Files>, clock: Clock) -> io::Result<Self> {
        let mut maker = Maker::new(shared, files);
        Resting::start("historian", REST, move || maker.turn(clock())).map(Self)
    }
}
