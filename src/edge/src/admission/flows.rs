//! Handshakes that were let in a moment ago, so that what follows of them goes first and pays nothing.
//!
//! A client's handshake brings several Initials: two for a hello with a post-quantum key share, one after a Retry, one
//! that acknowledges ours, and repetitions. They have the client's address and the client's own connection id in common.

use std::net::{IpAddr, SocketAddr};

use super::prefixes::keyed_hash;

/// Places: 64 KiB. A handshake that finds its place taken replaces the other, whose next Initial then counts as new.
const SLOTS: usize = 4096;

/// How long a handshake may take: as long as its hello (`session::ServerLimits::frame_timeout`).
const LIFETIME_MS: u32 = 10_000;

/// Initials of one handshake that pass: two to begin, two after a Retry, an acknowledgement, and each of them lost and
/// repeated twice. It also bounds what somebody gets who puts many beginnings under one address and id.
const INITIALS_MAX: u8 = 16;

#[derive(Debug, Clone, Copy, Default)]
struct Flow {
    /// Keyed hash of address and id; 0 for a free place.
    print: u64,
    began_ms: u32,
    left: u8,
}

/// The table.
#[derive(Debug)]
pub(super) struct Flows {
    key: [u64; 2],
    slots: Box<[Flow]>,
}

impl Flows {
    pub(super) fn new(key: [u64; 2]) -> Self {
        Self { key, slots: vec![Flow::default(); SLOTS].into() }
    }

    /// Whether this Initial belongs to a handshake that was let in; counts it if so.
    pub(super) fn goes_on(&mut self, now_ms: u32, remote: SocketAddr, source: &[u8]) -> bool {
        let print = self.print(remote, source);
        let flow = self.slot(print);
        let goes_on =
            flow.print == print && flow.left > 0 && now_ms.wrapping_sub(flow.began_ms) < LIFETIME_MS;
        if goes_on {
            flow.left -= 1;
        }
        goes_on
    }

    /// A handshake was let in with this Initial.
    pub(super) fn begin(&mut self, now_ms: u32, remote: SocketAddr, source: &[u8]) {
        let print = self.print(remote, source);
        *self.slot(print) = Flow { print, began_ms: now_ms, left: INITIALS_MAX - 1 };
    }

    fn slot(&mut self, print: u64) -> &mut Flow {
        let at = usize::try_from(print & (SLOTS as u64 - 1)).expect("below 4096");
        &mut self.slots[at]
    }

    fn print(&self, remote: SocketAddr, source: &[u8]) -> u64 {
        let mut bytes = [0; 40];
        let ip = match remote.ip() {
            IpAddr::V4(v4) => v4.to_ipv6_mapped(),
            IpAddr::V6(v6) => v6,
        };
        bytes[..16].copy_from_slice(&ip.octets());
        bytes[16..18].copy_from_slice(&remote.port().to_be_bytes());
        // Longer than 20 octets is no connection id; the length keeps ids apart that end in zeros.
        let len = source.len().min(20);
        bytes[18] = u8::try_from(len).expect("at most 20");
        bytes[19..19 + len].copy_from_slice(&source[..len]);
        keyed_hash(self.key, &bytes).max(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_handshake_goes_on_for_its_time_and_number_and_only_from_its_address() {
        let mut flows = Flows::new([1, 2]);
        let at = |port| SocketAddr::from(([192, 0, 2, 1], port));
        assert!(!flows.goes_on(0, at(1), b"id"));
        flows.begin(0, at(1), b"id");
        assert!(!flows.goes_on(0, at(2), b"id"), "another port");
        assert!(!flows.goes_on(0, at(1), b"id\0"), "another id");
        for _ in 1..INITIALS_MAX {
            assert!(flows.goes_on(9_999, at(1), b"id"));
        }
        assert!(!flows.goes_on(9_999, at(1), b"id"), "its number is used up");
        flows.begin(u32::MAX, at(1), b"");
        assert!(flows.goes_on(5_000, at(1), b""), "across the wrap");
        assert!(!flows.goes_on(10_000, at(1), b""), "its time is over");
    }
}
