//! What the behaviour tables share: cells, a running node with devices on it, and the reading of the contract's own tables.
//!
//! A table is data: for each row of the public contract what is tried, by whom, and what comes of it. A small interpreter tries it with
//! the SDK on the real program. Where the contract's pages stand beside this repository ([`spec`]), each row of theirs must have
//! one here.

mod codes;
pub(crate) mod spec;
pub(crate) mod stage;

use std::fmt;

use nearport_client::{Failure, PostError, RequestError, SendError};

/// What a table says that comes of something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cell {
    /// It is done.
    Done,
    /// It waits for somebody's approval.
    Waits,
    /// It is refused with this code.
    Code(u32),
    /// So many, or this number.
    Is(u64),
    /// This text.
    Says(&'static str),
    /// There is nobody who could try, or nothing to try it on.
    Nobody,
}

impl Cell {
    /// The code that it is, if it is one.
    pub(crate) fn code(&self) -> Option<u32> {
        if let Self::Code(code) = self { Some(*code) } else { None }
    }
}

/// No permission, or not for this type of group.
pub(crate) const NO: Cell = Cell::Code(10007);
/// There is no such group, or not for the asker.
pub(crate) const GONE: Cell = Cell::Code(10010);
/// A parameter of a group is wrong.
pub(crate) const BAD: Cell = Cell::Code(10004);

/// What came of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Got {
    Done,
    Waits,
    Code(u32),
    Is(u64),
    Says(String),
    Nobody,
}

impl PartialEq<Cell> for Got {
    fn eq(&self, cell: &Cell) -> bool {
        match (self, cell) {
            (Self::Done, Cell::Done) | (Self::Waits, Cell::Waits) | (Self::Nobody, Cell::Nobody) => true,
            (Self::Code(got), Cell::Code(want)) => got == want,
            (Self::Is(got), Cell::Is(want)) => got == want,
            (Self::Says(got), Cell::Says(want)) => got == want,
            _ => false,
        }
    }
}

impl From<&str> for Got {
    fn from(text: &str) -> Self {
        Self::Says(text.to_owned())
    }
}

impl From<String> for Got {
    fn from(text: String) -> Self {
        Self::Says(text)
    }
}

impl From<u64> for Got {
    fn from(number: u64) -> Self {
        Self::Is(number)
    }
}

impl From<usize> for Got {
    fn from(number: usize) -> Self {
        Self::Is(number as u64)
    }
}

impl From<bool> for Got {
    fn from(yes: bool) -> Self {
        Self::from(if yes { "yes" } else { "no" })
    }
}

impl From<()> for Got {
    fn from((): ()) -> Self {
        Self::Done
    }
}

impl<T: Into<Self>> From<Result<T, RequestError>> for Got {
    /// A refusal is an outcome; anything else that goes wrong is a broken test.
    fn from(result: Result<T, RequestError>) -> Self {
        match result {
            Ok(value) => value.into(),
            Err(RequestError::Failed(Failure::Refused { code, .. })) => Self::Code(code),
            Err(other) => panic!("no answer: {other}"),
        }
    }
}

impl<T: Into<Self>> From<Result<T, SendError>> for Got {
    fn from(result: Result<T, SendError>) -> Self {
        match result {
            Ok(value) => value.into(),
            Err(SendError::Failed(Failure::Refused { code, .. })) => Self::Code(code),
            // The SDK knows the rules of contents, too.
            Err(SendError::Post(PostError::Content(error))) => Self::Code(error.code()),
            Err(other) => panic!("not sent: {other}"),
        }
    }
}

/// A text of a table: written out, or long.
#[derive(Clone, Copy)]
pub(crate) enum Text {
    /// As it stands.
    Of(&'static str),
    /// So many bytes.
    Bytes(usize),
    /// So many characters of three bytes.
    Wide(usize),
}

impl Text {
    pub(crate) fn text(self) -> String {
        match self {
            Self::Of(text) => text.to_owned(),
            Self::Bytes(count) => "x".repeat(count),
            Self::Wide(count) => "家".repeat(count),
        }
    }
}

impl fmt::Debug for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Of(text) => write!(f, "{text:?}"),
            Self::Bytes(count) => write!(f, "{count} bytes"),
            Self::Wide(count) => write!(f, "{count} wide characters"),
        }
    }
}

/// All that is wrong, at once: a table is read as a whole.
#[derive(Debug, Default)]
pub(crate) struct Wrong(Vec<String>);

impl Wrong {
    pub(crate) fn expect(&mut self, row: &dyn fmt::Display, got: &Got, want: Cell) {
        if *got != want {
            self.0.push(format!("{row}: want {want:?}, got {got:?}"));
        }
    }

    pub(crate) fn append(&mut self, other: Self) {
        self.0.extend(other.0);
    }

    pub(crate) fn check(self) {
        assert!(self.0.is_empty(), "{} cells are wrong:\n{}", self.0.len(), self.0.join("\n"));
    }
}
