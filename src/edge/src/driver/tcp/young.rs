//! How many handshakes over TCP are taken from the kernel's queue at once.
//!
//! After a crash everybody comes at the same moment. Taken in together, 10,000 handshakes made the peak of memory 1.7 times
//! what the sessions need afterwards, and the first of them was served after 3 s. In the kernel's queue they cost neither
//! memory nor turns here.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// Young handshakes that may be in progress: as many as QUIC's before it asks for proof.
const YOUNG_MAX: usize = 512;

/// How long a handshake is young. A peer that never goes on holds a place no longer than this; the deadline of the
/// handshake sees to the rest.
const YOUNG: Duration = Duration::from_secs(1);

/// How soon to ask again after a no.
pub(super) const RETRY: Duration = Duration::from_millis(2);

/// Connections that came lately.
#[derive(Debug, Default)]
pub(super) struct Young {
    /// In the order in which they came; those that are grown up are only swept out when there is no room.
    list: VecDeque<(Instant, u32)>,
}

impl Young {
    pub(super) fn insert(&mut self, now: Instant, index: u32) {
        self.list.push_back((now, index));
    }

    /// Whether another handshake may begin. `is_fresh`: whether a connection is in its handshake.
    pub(super) fn has_room(&mut self, now: Instant, mut is_fresh: impl FnMut(u32) -> bool) -> bool {
        if self.list.len() >= YOUNG_MAX {
            self.list.retain(|&(since, index)| now < since + YOUNG && is_fresh(index));
        }
        self.list.len() < YOUNG_MAX
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn full(now: Instant) -> Young {
        let mut young = Young::default();
        for index in 0.. {
            if !young.has_room(now, |_| true) {
                break;
            }
            young.insert(now, index);
        }
        young
    }

    #[test]
    fn those_that_are_done_or_grown_up_make_room() {
        let start = Instant::now();
        let mut young = full(start);
        assert_eq!(young.list.len(), YOUNG_MAX);
        assert!(!young.has_room(start + YOUNG / 2, |_| true));
        // One is established.
        assert!(young.has_room(start + YOUNG / 2, |index| index != 7));
        young.insert(start + YOUNG / 2, 7);
        assert!(!young.has_room(start + YOUNG / 2, |_| true));
        // All but the last say nothing and hold their places no longer.
        assert!(young.has_room(start + YOUNG, |_| true));
        assert_eq!(young.list.len(), 1);
    }
}
