//! What QUIC does for small messages on bad networks, each part with a switch: for measurements of what it buys.

use std::time::Duration;

/// Parts of the SDK's tuning for bad networks. Nobody but a benchmark changes them:
/// `cargo bench --bench matrix -- --tuning` shows what each buys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Tuning {
    /// Datagrams, and with them second copies of small messages on lossy paths, in both directions: a server sends
    /// none to a client that takes none. What is online-only goes on streams without them.
    pub datagrams: bool,
    /// The round trip of the last visit is the first guess of the next one, for the repetition of lost first packets.
    pub remembered_rtt: bool,
    /// The guess without a last visit. `None`: quinn's (333 ms, RFC 9002 §6.2.2).
    pub initial_rtt: Option<Duration>,
    /// The longest that the server is asked to wait with an acknowledgement (the ACK frequency extension). It is part of the
    /// time after which a lost last packet is repeated. `None`: the server's own, 25 ms by default (RFC 9000 §18.2). Off:
    /// 10 ms bought nothing that could be measured at round trips of 100 and 400 ms, and cost a packet in fifteen.
    pub ack_delay: Option<Duration>,
}

impl Default for Tuning {
    /// 100 ms: quinn's own guess of the round trip repeats a lost first packet after a second, this after 300 ms. A longer
    /// path sees its first packets twice, which costs it two datagrams.
    fn default() -> Self {
        Self {
            datagrams: true,
            remembered_rtt: true,
            initial_rtt: Some(Duration::from_millis(100)),
            ack_delay: None,
        }
    }
}
