//! Whether a path is dead: pure, so that its clock can be moved by tests.
//!
//! A server that has much to do may answer late, and nobody shall run away from it for that. But QUIC acknowledges
//! below the application: if not one packet comes although something waits for an answer, and QUIC has asked again, the
//! path is gone. That shows within seconds, long before an answer is late.
//!
//! Silence alone proves nothing: QUIC repeats a packet after three round trips, then six, then twelve. On a path with 10 % of loss
//! and a round trip of 400 ms one answer in fifty takes longer than three seconds. So the verdict waits for a packet that
//! went out under suspicion, and for the time that its answer takes; and who falls under suspicion is sent something to
//! answer.
//!
//! Nor is it silence if nobody listens: a process that gets more than it can read, over all its connections, finds packets that have
//! waited in the kernel for seconds. So the time that counts is that up to which the socket is read.

use std::time::{Duration, Instant};

use crate::link::Packets;

/// Without a frame for this long the packets are looked at.
const SUSPECT_AFTER: Duration = Duration::from_secs(2);

/// Without a packet for this long after that the path is dead, if one went out meanwhile.
const CONFIRM_AFTER: Duration = Duration::from_secs(1);

/// Round trips that it takes at least: on a long path two rounds of probes have gone out by then.
const LONG_PATH: u32 = 8;

/// How often packets are looked at under suspicion.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// The watch over one connection.
#[derive(Debug, Default)]
pub(crate) struct Silence {
    /// Since when something waits for an answer.
    waiting_since: Option<Instant>,
    last_frame: Option<Instant>,
    suspicion: Option<Suspicion>,
}

#[derive(Debug)]
struct Suspicion {
    since: Instant,
    /// When it began.
    packets: Packets,
    /// When packets were seen to have gone out since.
    asked_at: Option<Instant>,
    look_at: Instant,
}

/// What the packets say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Nothing, or it is not time to ask.
    Alive,
    /// It has just fallen under suspicion: send something that has to be answered.
    Suspect,
    /// Give it up.
    Dead,
}

impl Silence {
    /// Bytes of the session came.
    pub(crate) fn heard(&mut self, now: Instant) {
        self.last_frame = Some(now);
        self.suspicion = None;
    }

    /// Whether something waits for an answer.
    pub(crate) fn awaits(&mut self, now: Instant, waiting: bool) {
        if !waiting {
            (self.waiting_since, self.suspicion) = (None, None);
        } else if self.waiting_since.is_none() {
            self.waiting_since = Some(now);
        }
    }

    /// When [`Self::look`] is to be called.
    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        let since = self.waiting_since?;
        match &self.suspicion {
            Some(suspicion) => Some(suspicion.look_at),
            None => Some(self.last_frame.map_or(since, |last| last.max(since)) + SUSPECT_AFTER),
        }
    }

    /// Looks at the connection when it is time to: its packets so far, and its round trip.
    pub(crate) fn look(&mut self, now: Instant, packets: impl FnOnce() -> Packets, rtt: Duration) -> Verdict {
        if self.poll_timeout().is_none_or(|at| now < at) {
            return Verdict::Alive;
        }
        let packets = packets();
        let begin = Suspicion { since: now, packets, asked_at: None, look_at: now + LOOK_EVERY };
        let suspicion = match &mut self.suspicion {
            Some(suspicion) if suspicion.packets.received == packets.received => suspicion,
            // The answer is late, not the packets.
            Some(heard) => {
                *heard = Suspicion { look_at: now + CONFIRM_AFTER, ..begin };
                return Verdict::Alive;
            }
            None => {
                self.suspicion = Some(begin);
                return Verdict::Suspect;
            }
        };
        suspicion.look_at = now + LOOK_EVERY;
        if packets.sent > suspicion.packets.sent {
            suspicion.asked_at.get_or_insert(now);
        }
        let heard_until = packets.read_until.unwrap_or(now).min(now);
        let unanswered = suspicion.asked_at.is_some_and(|at| heard_until >= at + 2 * rtt);
        if unanswered && heard_until >= suspicion.since + CONFIRM_AFTER.max(LONG_PATH * rtt) {
            return Verdict::Dead;
        }
        Verdict::Alive
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    /// When a path with this round trip is given up, if packets go out at `sent` and come at `received`, both in ms since
    /// something began to wait, within 20 s.
    fn dead_after(rtt: Duration, sent: &[u32], received: &[u32]) -> Option<Duration> {
        dead_after_reading(rtt, sent, received, u32::MAX)
    }

    /// The same with a socket that has not been found empty since `read_until`.
    fn dead_after_reading(
        rtt: Duration,
        sent: &[u32],
        received: &[u32],
        read_until: u32,
    ) -> Option<Duration> {
        let (mut silence, start) = (Silence::default(), Instant::now());
        let count =
            |times: &[u32], now: Instant| times.iter().filter(|at| start + MS * **at <= now).count() as u64;
        silence.awaits(start, true);
        let mut suspected = false;
        loop {
            let now = silence.poll_timeout().expect("a question is due");
            if now > start + 20_000 * MS {
                return None;
            }
            assert_eq!(
                silence.look(now.checked_sub(MS).unwrap(), || panic!("too early"), rtt),
                Verdict::Alive
            );
            let (sent, received) = (count(sent, now), count(received, now));
            let read_until = (read_until < u32::MAX).then(|| start + MS * read_until);
            let packets = Packets { sent, received, read_until, ..Packets::default() };
            match silence.look(now, || packets, rtt) {
                Verdict::Alive => assert!(suspected),
                Verdict::Suspect => assert!(!std::mem::replace(&mut suspected, true), "asked once"),
                Verdict::Dead => return Some(now - start),
            }
        }
    }

    /// Probes of QUIC after a packet of which nothing is heard: RFC 9002 §6.2, two each, with 25 ms for the acknowledgement.
    fn probes(rtt: Duration) -> Vec<u32> {
        let pto = u32::try_from(rtt.as_millis()).unwrap() * 3 + 25;
        [0, 1, 3, 7, 15, 31].iter().flat_map(|times| [pto * times; 2]).collect()
    }

    #[test]
    fn a_path_without_a_packet_is_dead_once_it_was_asked_again() {
        for (rtt_ms, dead_ms) in
            [(20, 3_000), (50, 3_000), (100, 3_000), (200, 4_800), (400, 5_200), (1_000, 10_000)]
        {
            let rtt = MS * rtt_ms;
            assert_eq!(dead_after(rtt, &probes(rtt), &[]), Some(MS * dead_ms), "{rtt_ms}");
        }
        assert_eq!(dead_after(50 * MS, &[0], &[]), None, "nothing was asked");
    }

    #[test]
    fn a_path_is_not_dead_for_what_waits_in_this_process() {
        let rtt = 20 * MS;
        for read_until in [0, 1_000, 2_900] {
            assert_eq!(dead_after_reading(rtt, &probes(rtt), &[], read_until), None, "{read_until}");
        }
        assert_eq!(dead_after_reading(rtt, &probes(rtt), &[], 3_000), Some(3_000 * MS));
    }

    #[test]
    fn packets_keep_it_though_the_answer_is_late() {
        let each_second: Vec<u32> = (0..20).map(|second| 900 + 1_000 * second).collect();
        assert_eq!(dead_after(50 * MS, &each_second, &each_second), None);
        let dead = dead_after(50 * MS, &each_second, &each_second[..10]);
        assert!(dead.is_some_and(|dead| (11_000 * MS..13_000 * MS).contains(&dead)), "{dead:?}");
        // The repetition that got through: 400 ms, three packets lost.
        let late = dead_after(400 * MS, &probes(400 * MS), &[4_100]);
        assert!(late.is_some_and(|late| late > 8_000 * MS), "{late:?}");
    }

    #[test]
    fn a_frame_or_the_answer_ends_suspicion() {
        let (mut silence, start) = (Silence::default(), Instant::now());
        assert_eq!(silence.poll_timeout(), None, "nothing is waited for");
        silence.awaits(start, true);
        silence.awaits(start + MS, true);
        assert_eq!(silence.look(start + SUSPECT_AFTER, Packets::default, MS), Verdict::Suspect);
        let now = start + Duration::from_secs(60);
        silence.heard(now);
        assert_eq!(silence.poll_timeout(), Some(now + SUSPECT_AFTER));
        silence.awaits(now, false);
        assert_eq!(silence.poll_timeout(), None);
    }
}
