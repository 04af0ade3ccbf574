//! Names of users and conversations, in the one byte form that every map and every engine uses.

use std::fmt;
use std::sync::Arc;

/// Longest user, group or device name, in bytes (`Identifier` in the public contract).
pub const NAME_BYTES_MAX: usize = 32;

/// An App, the tenant: `sdkappid` of the public contract.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AppId(pub u32);

/// A name that cannot be used, with the reason.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadName {
    /// No characters at all.
    #[error("name is empty")]
    Empty,
    /// More than [`NAME_BYTES_MAX`] bytes.
    #[error("name is longer than 32 bytes")]
    TooLong,
    /// A byte outside printable ASCII (0x20 to 0x7e), which no client of the contract accepts.
    #[error("name holds a byte outside printable ASCII")]
    NotPrintable,
}

pub(crate) fn check_name(name: &str) -> Result<(), BadName> {
    match name.len() {
        0 => Err(BadName::Empty),
        n if n > NAME_BYTES_MAX => Err(BadName::TooLong),
        _ if !name.bytes().all(|b| (0x20..=0x7e).contains(&b)) => Err(BadName::NotPrintable),
        _ => Ok(()),
    }
}

/// A user of one App.
///
/// Shape: App id (4 bytes, big endian), then the name (1 to 32 bytes of printable ASCII).
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct UserKey(Arc<[u8]>);

impl UserKey {
    /// The key of `name` in `app`.
    ///
    /// # Errors
    /// [`BadName`] if the name is empty, longer than 32 bytes or not printable ASCII.
    pub fn new(app: AppId, name: &str) -> Result<Self, BadName> {
        check_name(name)?;
        Ok(Self([&app.0.to_be_bytes(), name.as_bytes()].concat().into()))
    }

    /// The App that the user belongs to.
    #[must_use]
    pub fn app(&self) -> AppId {
        AppId(u32::from_be_bytes([self.0[0], self.0[1], self.0[2], self.0[3]]))
    }

    /// The name inside the App.
    #[must_use]
    pub fn name(&self) -> &str {
        std::str::from_utf8(&self.0[4..]).expect("checked to be ASCII when the key was made")
    }

    /// The byte form, 5 to 36 bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for UserKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.app().0, self.name())
    }
}

const CONV_C2C: u8 = 1;
const CONV_GROUP: u8 = 2;

/// A conversation: a pair of users, or a group.
///
/// Shape: App id (4 bytes, big endian), kind (1 = pair, 2 = group), then for a pair the length of the smaller
/// name and both names in byte order, for a group its id. At most 70 bytes.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ConvKey(Arc<[u8]>);

impl ConvKey {
    /// The conversation of two users of one App; the order of the arguments does not matter.
    ///
    /// # Panics
    /// If the users belong to different Apps: callers build both keys from one session's App.
    #[must_use]
    pub fn pair(a: &UserKey, b: &UserKey) -> Self {
        assert_eq!(a.app(), b.app(), "a conversation never crosses Apps");
        let (small, large) = if a.name() <= b.name() { (a, b) } else { (b, a) };
        let mut key = Vec::with_capacity(6 + small.name().len() + large.name().len());
        key.extend_from_slice(&a.app().0.to_be_bytes());
        key.push(CONV_C2C);
        key.push(u8::try_from(small.name().len()).expect("names have at most 32 bytes"));
        key.extend_from_slice(small.name().as_bytes());
        key.extend_from_slice(large.name().as_bytes());
        Self(key.into())
    }

    /// The conversation of a group.
    ///
    /// # Errors
    /// [`BadName`] as for users.
    pub fn group(app: AppId, id: &str) -> Result<Self, BadName> {
        check_name(id)?;
        Ok(Self([&app.0.to_be_bytes()[..], &[CONV_GROUP], id.as_bytes()].concat().into()))
    }

    /// Reads back a key that [`Self::as_bytes`] gave, as engines do for the entries of a user log.
    #[must_use]
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let valid = match (bytes.get(4), bytes.get(5)) {
            (Some(&CONV_C2C), Some(&small)) => bytes.len() > 6 + usize::from(small),
            (Some(&CONV_GROUP), Some(_)) => true,
            _ => false,
        };
        valid.then(|| Self(bytes.into()))
    }

    /// The byte form.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for ConvKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0.escape_ascii())
    }
}
