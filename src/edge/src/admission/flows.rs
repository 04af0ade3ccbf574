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

/// For how long a flow that was sent a Retry is not sent another: the second datagram of the same hello asks for none. A
/// Retry that is lost is asked for again by the client's repetition, which comes later.
const RETRY_AGAIN_MS: u32 = 50;

/// Initials of one handshake that pass: two to begin, two after a Retry, an acknowledgement, and each of them lost and
/// repeated twice. It also bounds what somebody gets who puts many beginnings under one address and id.
const INITIALS_MAX: u8 = 16;

#[derive(Debug, Clone, Copy, Default)]
struct Flow {
    /// Keyed hash of address and id; 0 for a free place.
    print: u64,
    began_ms: u32,
    left: u8,
    /// A connection began with it.
    accepted: bool,
    /// When it was sent a Retry.
    retried_ms: Option<u32>,
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

    /// Whether an Initial of the flow `print` belongs to a handshake that was let in; counts it if so.
    pub(super) fn goes_on(&mut self, now_ms: u32, print: u64) -> bool {
        let flow = self.slot(print);
        let goes_on =
            flow.print == print && flow.left > 0 && now_ms.wrapping_sub(flow.began_ms) < LIFETIME_MS;
        if goes_on {
            flow.left -= 1;
        }
        goes_on
    }

    /// A handshake was let in with an Initial of this flow.
    pub(super) fn begin(&mut self, now_ms: u32, print: u64) {
        *self.slot(print) =
            Flow { print, began_ms: now_ms, left: INITIALS_MAX - 1, accepted: false, retried_ms: None };
    }

    /// A connection began with this flow.
    pub(super) fn accepted(&mut self, print: u64) {
        let flow = self.slot(print);
        flow.accepted |= flow.print == print;
    }

    /// Whether a connection began with this flow.
    pub(super) fn is_accepted(&mut self, print: u64) -> bool {
        let flow = self.slot(print);
        flow.print == print && flow.accepted
    }

    /// Forgets the flow: its next Initial is a new beginning.
    pub(super) fn forget(&mut self, print: u64) {
        let flow = self.slot(print);
        if flow.print == print {
            *flow = Flow::default();
        }
    }

    /// Whether the flow was sent a Retry. Its client follows that from then on, and would never look at what a connection
    /// answers that another datagram of the same hello began.
    pub(super) fn was_retried(&mut self, print: u64) -> bool {
        let flow = self.slot(print);
        flow.print == print && flow.retried_ms.is_some()
    }

    /// Whether the flow is to be sent a Retry now; notes it if so.
    pub(super) fn may_retry(&mut self, now_ms: u32, print: u64) -> bool {
        let flow = self.slot(print);
        let ours = flow.print == print;
        let retried = ours && flow.retried_ms.is_some_and(|at| now_ms.wrapping_sub(at) < RETRY_AGAIN_MS);
        if ours && !retried {
            flow.retried_ms = Some(now_ms);
        }
        !retried
    }

    fn slot(&mut self, print: u64) -> &mut Flow {
        let at = usize::try_from(print & (SLOTS as u64 - 1)).expect("below 4096");
        &mut self.slots[at]
    }

    /// Name of the flow of an Initial, never 0.
    pub(super) fn print(&self, remote: SocketAddr, source: &[u8]) -> u64 {
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
        let print = |flows: &Flows, port, id| flows.print(SocketAddr::from(([192, 0, 2, 1], port)), id);
        let flow = print(&flows, 1, b"id");
        let (other_port, other_id) = (print(&flows, 2, b"id"), print(&flows, 1, b"id\0"));
        assert!(!flows.goes_on(0, flow));
        flows.begin(0, flow);
        assert!(!flows.goes_on(0, other_port));
        assert!(!flows.goes_on(0, other_id));
        for _ in 1..INITIALS_MAX {
            assert!(flows.goes_on(9_999, flow));
        }
        assert!(!flows.goes_on(9_999, flow), "its number is used up");
        let flow = print(&flows, 1, b"");
        flows.begin(u32::MAX, flow);
        assert!(flows.goes_on(5_000, flow), "across the wrap");
        assert!(!flows.goes_on(10_000, flow), "its time is over");
    }
}
