//! Who came and went, until somebody looks.

use nearport_wire::body::Platform;

use crate::callback::Origin;
use crate::key::UserKey;

/// A session came or went: the presence of its user may have changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Touched {
    pub(crate) user: UserKey,
    pub(crate) platform: Platform,
    /// It went by itself: where that is a phone, it can still be pushed to.
    pub(crate) lost: bool,
    /// It came.
    pub(crate) came: bool,
    /// Somebody else has ended it.
    pub(crate) kicked: bool,
    /// Nothing was heard of it for so long that it counts as gone.
    pub(crate) silent: bool,
    /// Where its client is, or was.
    pub(crate) origin: Origin,
}

/// Sessions that came or went and that nobody has looked at. The desk does so twice a second; presence of what is beyond is found
/// by asking, as after any hint that was dropped.
pub(super) const TOUCHED_MAX: usize = 65_536;
