//! A watch on clients that keep every rule of QUIC and use it to make work.
//!
//! A client may send as many path challenges, connection ids, pings or acknowledgements as it likes: each is legal, each
//! costs something here, and none carries a message. Every connection has an account in points: each such frame puts some
//! on it, time takes [`POINTS_PER_S`] off. Above [`POINTS_MAX`] the connection is closed with ABUSE.
//!
//! What is looked at is the difference of `quinn_proto::ConnectionStats` between two samples, at most one a second and only
//! of a connection that has sent [`DATAGRAMS_PER_SAMPLE`] datagrams since the last, so a quiet client is never looked at.
//!
//! What an honest client does, and why it stays far below: see `Weights` and the tests.

use std::time::{Duration, Instant};

use quinn_proto::ConnectionStats;

/// What time takes off.
pub const POINTS_PER_S: u32 = 100;

/// What ends a connection: ten seconds of what is allowed for ever, at once.
pub const POINTS_MAX: u32 = 1_000;

/// Datagrams of a client after which it is looked at again.
///
/// A datagram of 1,472 bytes holds at most some 160 of the frames that count, so at most 10,000 of them come between two looks.
pub const DATAGRAMS_PER_SAMPLE: u16 = 64;

/// Time between two looks at a connection: a copy of 600 bytes each.
pub const SAMPLE_EVERY: Duration = Duration::from_secs(1);

/// Points of one frame.
#[derive(Debug, Clone, Copy)]
struct Weights;

impl Weights {
    /// Answered with a datagram of its own. A client sends them when it tries another path: one or two, repeated by
    /// PTO, at each change of address.
    const PATH_CHALLENGE: u64 = 10;
    /// We answer each with a new id, made with AES, and a frame. One at each change of address; five to eight ids of
    /// the client at the start, one for each that we retire.
    const CONNECTION_ID: u64 = 10;
    /// A stream opened and thrown away. Our own SDK resets none; a download that a user cancels resets one.
    const STREAM_END: u64 = 10;
    /// A stream that we allow in the place of one that is over, told to the client by a frame of ours: it may open and end
    /// them without a byte. One for each page on a stream of its own.
    const STREAM: u64 = 10;
    /// A piece of a stream in a datagram that has many: each is put into order and perhaps copied, may hold a single byte,
    /// and may come for ever, also to where a hole is left. A datagram has one for each of four streams, and somewhat more
    /// when it repeats what was lost.
    const PIECE: u64 = 1;
    /// Handshake messages after the handshake. A client has none: there is no post-handshake authentication here.
    const CRYPTO: u64 = 10;
    /// Window updates and complaints about windows: one for every half window that it reads, see [`Counts::of`].
    const WINDOW: u64 = 1;
    /// Answered with an acknowledgement. Two for each loss probe, one per keep-alive.
    const PING: u64 = 1;
    /// Acknowledgements beyond those that our datagrams ask for.
    const ACK: u64 = 1;
}

/// Pieces of streams in a datagram that cost nothing.
const PIECES_FREE: u64 = 16;

/// Frames of a client up to some moment.
#[derive(Debug, Clone, Copy, Default)]
struct Counts {
    path: u64,
    ids: u64,
    stream_ends: u64,
    /// Frames of ours that allow streams in the place of others.
    streams: u64,
    pieces: u64,
    crypto: u64,
    window: u64,
    ping: u64,
    ack: u64,
    /// Datagrams that came.
    datagrams: u64,
    /// Datagrams that we sent: each may be acknowledged once.
    sent: u64,
    /// Frames with data from the client: each may bring an acknowledgement along.
    data: u64,
}

impl Counts {
    fn of(stats: &ConnectionStats) -> Self {
        let rx = &stats.frame_rx;
        Self {
            path: rx.path_challenge + rx.path_response,
            ids: rx.new_connection_id + rx.retire_connection_id,
            stream_ends: rx.reset_stream + rx.stop_sending,
            streams: stats.frame_tx.max_streams_bidi + stats.frame_tx.max_streams_uni,
            pieces: rx.stream,
            crypto: rx.crypto,
            window: rx.max_data
                + rx.max_stream_data
                + rx.max_streams_bidi
                + rx.max_streams_uni
                + rx.data_blocked
                + rx.stream_data_blocked
                + rx.streams_blocked_bidi
                + rx.streams_blocked_uni,
            ping: rx.ping + rx.immediate_ack + rx.ack_frequency,
            ack: rx.acks,
            datagrams: stats.udp_rx.datagrams,
            sent: stats.udp_tx.datagrams,
            data: rx.stream + rx.datagram,
        }
    }

    /// Points of what came since `before`.
    fn points_since(&self, before: &Self) -> u64 {
        let since = |of: fn(&Self) -> u64| of(self).saturating_sub(of(before));
        // Acknowledgements are for what we sent, or ride on what the client sends. Windows move with what we sent too.
        let sent = since(|counts| counts.sent);
        let acks = since(|counts| counts.ack).saturating_sub(sent + since(|counts| counts.data));
        let windows = since(|counts| counts.window).saturating_sub(2 * sent);
        let free = PIECES_FREE * since(|counts| counts.datagrams);
        let pieces = since(|counts| counts.pieces).saturating_sub(free);
        Weights::PATH_CHALLENGE * since(|counts| counts.path)
            + Weights::CONNECTION_ID * since(|counts| counts.ids)
            + Weights::STREAM_END * since(|counts| counts.stream_ends)
            + Weights::STREAM * since(|counts| counts.streams)
            + Weights::PIECE * pieces
            + Weights::CRYPTO * since(|counts| counts.crypto)
            + Weights::WINDOW * windows
            + Weights::PING * since(|counts| counts.ping)
            + Weights::ACK * acks
    }
}

/// The account of one connection. Boxed, for it exists only once the connection has been looked at.
#[derive(Debug)]
struct Account {
    counts: Counts,
    points: u64,
    sampled_at: Instant,
}

/// The watch on one connection: ten bytes until the first look.
#[derive(Debug, Default)]
pub struct Watch {
    /// Datagrams of the client since the last look.
    datagrams: u16,
    account: Option<Box<Account>>,
}

impl Watch {
    /// A datagram of this connection came.
    pub fn count_datagram(&mut self) {
        self.datagrams = self.datagrams.saturating_add(1);
    }

    /// Whether [`Self::sample`] has something to look at. Cheap enough for every step of a connection.
    #[must_use]
    pub fn is_due(&self, now: Instant) -> bool {
        self.datagrams >= DATAGRAMS_PER_SAMPLE
            && self.account.as_ref().is_none_or(|account| now >= account.sampled_at + SAMPLE_EVERY)
    }

    /// Looks at what came since the last time. Returns whether the client has to go.
    pub fn sample(&mut self, now: Instant, stats: &ConnectionStats) -> bool {
        self.datagrams = 0;
        let counts = Counts::of(stats);
        // The first look sees the handshake: a dozen CRYPTO frames and the first connection ids, which the full account of
        // a new connection covers.
        let account = self.account.get_or_insert_with(|| {
            Box::new(Account { counts: Counts::default(), points: 0, sampled_at: now })
        });
        let passed_ms = now.saturating_duration_since(account.sampled_at).as_millis();
        let off = u64::try_from(passed_ms).unwrap_or(u64::MAX).saturating_mul(POINTS_PER_S.into()) / 1000;
        let put_on = counts.points_since(&account.counts);
        // Time takes off first: what came in a burst after a long silence is a burst.
        account.points = account.points.saturating_sub(off).saturating_add(put_on);
        account.counts = counts;
        account.sampled_at = now;
        account.points > POINTS_MAX.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A client that does `step` to its figures each second; the second at which it had to go.
    fn watched(seconds: u64, step: impl Fn(u64, &mut ConnectionStats)) -> Option<u64> {
        let (start, mut watch, mut stats) = (Instant::now(), Watch::default(), ConnectionStats::default());
        // A handshake, as high-level quinn makes it, with everything lost and repeated once.
        stats.frame_rx.crypto = 8;
        stats.frame_rx.acks = 12;
        stats.frame_rx.new_connection_id = 14;
        stats.udp_tx.datagrams = 8;
        for second in 0..seconds {
            let datagrams = stats.udp_rx.datagrams;
            step(second, &mut stats);
            let now = start + Duration::from_secs(second);
            (datagrams..stats.udp_rx.datagrams).take(64).for_each(|_| watch.count_datagram());
            if watch.is_due(now) && watch.sample(now, &stats) {
                return Some(second);
            }
        }
        None
    }

    #[test]
    fn honest_clients_stay() {
        let day = 24 * 3600;
        let chat = |stats: &mut ConnectionStats, messages: u64| {
            stats.udp_rx.datagrams += 2 * messages;
            stats.frame_rx.stream += messages;
            stats.frame_rx.acks += 2 * messages;
            stats.udp_tx.datagrams += messages;
        };
        assert_eq!(watched(day, |_, stats| chat(stats, 1)), None, "a message a second");
        assert_eq!(watched(day, |_, stats| chat(stats, 5_000)), None, "a load generator");
        let moving = |second, stats: &mut ConnectionStats| {
            chat(stats, 10);
            // A new address: a retired id, a new one, a challenge of its own, the answer to ours, each lost twice.
            if second % 10 == 0 {
                stats.frame_rx.retire_connection_id += 3;
                stats.frame_rx.new_connection_id += 3;
                stats.frame_rx.path_challenge += 3;
                stats.frame_rx.path_response += 3;
            }
        };
        assert_eq!(watched(day, moving), None, "a new address every ten seconds");
        let lossy = |_, stats: &mut ConnectionStats| {
            chat(stats, 20);
            // Half of all packets are probes, and half of our datagrams are lost and never acknowledged.
            stats.frame_rx.ping += 40;
            // What was lost comes again in small pieces.
            stats.frame_rx.stream += 20 * 10;
        };
        assert_eq!(watched(day, lossy), None, "a bad path");
        let download = |_, stats: &mut ConnectionStats| {
            // 10 MB/s of history: an acknowledgement for two datagrams, window updates as the reader reads.
            stats.udp_tx.datagrams += 7_000;
            stats.udp_rx.datagrams += 3_500;
            stats.frame_rx.acks += 3_500;
            stats.frame_rx.max_data += 300;
            stats.frame_rx.max_stream_data += 1_200;
            // Five pages a second, each on a stream of its own.
            stats.frame_tx.max_streams_bidi += 5;
        };
        assert_eq!(watched(day, download), None, "a download");
    }

    #[test]
    fn each_kind_of_noise_ends_the_connection_within_seconds() {
        type Noise = fn(&mut ConnectionStats);
        let kinds: [(&str, Noise); 11] = [
            ("path challenges", |stats| stats.frame_rx.path_challenge += 200),
            ("path responses", |stats| stats.frame_rx.path_response += 200),
            ("new ids", |stats| stats.frame_rx.new_connection_id += 200),
            ("retired ids", |stats| stats.frame_rx.retire_connection_id += 200),
            ("resets", |stats| stats.frame_rx.reset_stream += 200),
            ("streams", |stats| stats.frame_tx.max_streams_bidi += 200),
            ("pieces", |stats| stats.frame_rx.stream += 100 * (PIECES_FREE + 10)),
            ("crypto", |stats| stats.frame_rx.crypto += 200),
            ("pings", |stats| stats.frame_rx.ping += 500),
            ("acknowledgements", |stats| stats.frame_rx.acks += 500),
            ("window updates", |stats| stats.frame_rx.max_data += 500),
        ];
        for (name, noise) in kinds {
            let went = watched(60, |_, stats| {
                stats.udp_rx.datagrams += 100;
                noise(stats);
            });
            assert!(went.is_some_and(|second| second <= 3), "{name}: {went:?}");
        }
    }

    #[test]
    fn a_quiet_connection_is_never_looked_at_and_a_busy_one_once_a_second() {
        let (now, mut watch) = (Instant::now(), Watch::default());
        (1..DATAGRAMS_PER_SAMPLE).for_each(|_| watch.count_datagram());
        assert!(!watch.is_due(now));
        watch.count_datagram();
        assert!(watch.is_due(now));
        assert!(!watch.sample(now, &ConnectionStats::default()));
        (0..DATAGRAMS_PER_SAMPLE).for_each(|_| watch.count_datagram());
        assert!(!watch.is_due(now + SAMPLE_EVERY - Duration::from_millis(1)));
        assert!(watch.is_due(now + SAMPLE_EVERY));
    }
}
