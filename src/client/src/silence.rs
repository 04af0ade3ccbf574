//! Whether a path is dead: pure, so that its clock can be moved by tests.
//!
//! A server that has much to do may answer late, and nobody shall run away from it for that. But QUIC acknowledges
//! below the application: if not one packet comes although something waits for an answer, and QUIC has repeated it
//! several times by then, the path is gone. That shows within seconds, long before an answer is late.

use std::time::{Duration, Instant};

/// Without a frame for this long the packets are looked at.
const SUSPECT_AFTER: Duration = Duration::from_secs(2);

/// Without a packet for this long after that, and for three round trips, the path is dead.
const CONFIRM_AFTER: Duration = Duration::from_secs(1);

/// The watch over one connection.
#[derive(Debug, Default)]
pub(crate) struct Silence {
    /// Since when something waits for an answer.
    waiting_since: Option<Instant>,
    last_frame: Option<Instant>,
    /// Packets received when the connection fell under suspicion, and when that becomes a verdict.
    suspected: Option<(u64, Instant)>,
}

impl Silence {
    /// Bytes of the session came.
    pub(crate) fn heard(&mut self, now: Instant) {
        self.last_frame = Some(now);
        self.suspected = None;
    }

    /// Whether something waits for an answer.
    pub(crate) fn awaits(&mut self, now: Instant, waiting: bool) {
        if !waiting {
            (self.waiting_since, self.suspected) = (None, None);
        } else if self.waiting_since.is_none() {
            self.waiting_since = Some(now);
        }
    }

    /// When [`Self::is_dead`] is to be asked.
    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        let since = self.waiting_since?;
        match self.suspected {
            Some((_, verdict_at)) => Some(verdict_at),
            None => Some(self.last_frame.map_or(since, |last| last.max(since)) + SUSPECT_AFTER),
        }
    }

    /// Looks at the connection when it is time to: `packets` received so far, and its round trip.
    pub(crate) fn is_dead(&mut self, now: Instant, packets: impl FnOnce() -> u64, rtt: Duration) -> bool {
        if self.poll_timeout().is_none_or(|at| now < at) {
            return false;
        }
        let packets = packets();
        if let Some((before, _)) = self.suspected
            && packets == before
        {
            return true;
        }
        self.suspected = Some((packets, now + CONFIRM_AFTER.max(3 * rtt)));
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RTT: Duration = Duration::from_millis(50);

    /// Lets the clock run to the next question and asks it.
    fn ask(silence: &mut Silence, packets: u64) -> (Instant, bool) {
        let at = silence.poll_timeout().expect("a question is due");
        assert!(!silence.is_dead(at.checked_sub(RTT).unwrap(), || panic!("too early"), RTT));
        (at, silence.is_dead(at, || packets, RTT))
    }

    #[test]
    fn a_path_without_a_packet_is_dead_after_three_seconds() {
        let (mut silence, start) = (Silence::default(), Instant::now());
        assert_eq!(silence.poll_timeout(), None, "nothing is waited for");
        silence.awaits(start, true);
        silence.awaits(start + RTT, true);
        assert_eq!(ask(&mut silence, 7), (start + SUSPECT_AFTER, false));
        assert_eq!(ask(&mut silence, 7), (start + SUSPECT_AFTER + CONFIRM_AFTER, true));
    }

    #[test]
    fn packets_or_frames_or_the_answer_keep_it() {
        let (mut silence, start) = (Silence::default(), Instant::now());
        silence.awaits(start, true);
        let (_, dead) = ask(&mut silence, 7);
        assert!(!dead);
        for packets in 8..20 {
            // A slow server: acknowledgements, but no answer.
            let (_, dead) = ask(&mut silence, packets);
            assert!(!dead);
        }
        let now = start + Duration::from_secs(60);
        silence.heard(now);
        assert_eq!(silence.poll_timeout(), Some(now + SUSPECT_AFTER));
        silence.awaits(now, false);
        assert_eq!(silence.poll_timeout(), None);
    }

    #[test]
    fn a_long_path_gets_more_time() {
        let (mut silence, start) = (Silence::default(), Instant::now());
        silence.awaits(start, true);
        let (at, _) = ask(&mut silence, 1);
        silence.suspected = None;
        assert!(!silence.is_dead(at, || 1, Duration::from_secs(2)));
        assert_eq!(silence.poll_timeout(), Some(at + Duration::from_secs(6)));
    }
}
