//! What has worked where: per network and edge, with an expiry. It decides who starts a race.
//!
//! QUIC that worked is trusted for a week, so that one bad moment does not demote it. QUIC that did not is left out of
//! the front row for an hour; then it is probed beside a live session, or simply tried first by the next connect.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::race::{Plan, QUIET};
use crate::transport::Transport;

/// Pairs of network and edge that are remembered; the one that was used least recently makes room.
const ENTRIES_MAX: usize = 256;

/// How long success with QUIC counts.
const QUIC_GOOD_FOR: Duration = Duration::from_hours(7 * 24);

/// How long QUIC stays in the second row after it failed, and between two probes.
const QUIC_BAD_FOR: Duration = Duration::from_hours(1);

/// Failures in a row after which QUIC is demoted although it has worked here.
const FAILURES_MAX: u8 = 2;

/// Longest silence on UDP that is granted because the round trip is known to be long.
const QUIET_MAX: Duration = Duration::from_millis(400);

/// A network that the device is in, and an edge seen from there.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Place {
    /// Named by the application, or made from the local address.
    pub(crate) network: Arc<str>,
    pub(crate) edge: SocketAddr,
}

#[derive(Debug, Default)]
struct Entry {
    used: u64,
    /// QUIC has worked; trust it until then.
    good_until: Option<Instant>,
    /// QUIC has failed; not in the front row until then.
    bad_until: Option<Instant>,
    failures: u8,
    /// The TCP transport that won last, and until when it goes before the other.
    tcp: Option<(Transport, Instant)>,
    probing: bool,
    rtt: Option<Duration>,
    lossy: bool,
}

/// See the module documentation.
#[derive(Debug, Default)]
pub(crate) struct Memory {
    entries: HashMap<Place, Entry>,
    clock: u64,
}

impl Memory {
    /// Who runs, if `transports` may: QUIC in front unless it has failed here lately.
    pub(crate) fn plan(&self, place: &Place, transports: &[Transport], now: Instant) -> Plan {
        let mut candidates = transports.to_vec();
        let mut quiet = QUIET;
        if let Some(entry) = self.entries.get(place) {
            if let Some((winner, _)) = entry.tcp.filter(|(_, until)| now < *until) {
                candidates.sort_by_key(|transport| !transport.is_udp() && *transport != winner);
            }
            if entry.bad_until.is_some_and(|until| now < until) {
                candidates.sort_by_key(|transport| transport.is_udp());
            }
            if let (true, Some(rtt)) = (entry.is_good(now), entry.rtt) {
                quiet = (rtt * 3 / 2).clamp(QUIET, QUIET_MAX);
            }
        }
        Plan { candidates, quiet }
    }

    /// The round trip to the edge, from the last visit.
    pub(crate) fn rtt(&self, place: &Place) -> Option<Duration> {
        self.entries.get(place)?.rtt
    }

    /// Whether the path to the edge was lossy at the last visit.
    pub(crate) fn was_lossy(&self, place: &Place) -> bool {
        self.entries.get(place).is_some_and(|entry| entry.lossy)
    }

    pub(crate) fn note_path(&mut self, place: &Place, rtt: Duration, lossy: bool) {
        let entry = self.entry(place);
        (entry.rtt, entry.lossy) = (Some(rtt), lossy);
    }

    /// A session was opened over this transport.
    pub(crate) fn won(&mut self, place: &Place, transport: Transport, now: Instant) {
        if transport.is_udp() {
            self.quic_works(place, now);
        } else {
            self.entry(place).tcp = Some((transport, now + QUIC_BAD_FOR));
        }
    }

    /// A QUIC handshake went through.
    pub(crate) fn quic_works(&mut self, place: &Place, now: Instant) {
        let entry = self.entry(place);
        entry.good_until = Some(now + QUIC_GOOD_FOR);
        entry.bad_until = None;
        entry.failures = 0;
        entry.probing = false;
    }

    /// QUIC brought nothing while another transport did, or it died in the middle of a session.
    pub(crate) fn quic_failed(&mut self, place: &Place, now: Instant) {
        let entry = self.entry(place);
        entry.failures = entry.failures.saturating_add(1);
        entry.probing = false;
        if !entry.is_good(now) || entry.failures >= FAILURES_MAX {
            entry.bad_until = Some(now + QUIC_BAD_FOR);
            entry.good_until = None;
        }
    }

    /// When QUIC wants to be tried again beside a session over TCP; `None` if it is trusted, or being tried.
    pub(crate) fn probe_at(&self, place: &Place) -> Option<Instant> {
        let entry = self.entries.get(place)?;
        entry.bad_until.filter(|_| !entry.probing)
    }

    /// Takes the right to probe, if it is time. [`Self::quic_works`] or [`Self::quic_failed`] gives it back.
    pub(crate) fn take_probe(&mut self, place: &Place, now: Instant) -> bool {
        let due = self.probe_at(place).is_some_and(|at| at <= now);
        if due {
            self.entry(place).probing = true;
        }
        due
    }

    /// The probe was given up without an outcome; somebody else may try.
    pub(crate) fn return_probe(&mut self, place: &Place) {
        if let Some(entry) = self.entries.get_mut(place) {
            entry.probing = false;
        }
    }

    /// The hour of a demotion is over.
    #[cfg(test)]
    pub(crate) fn expire(&mut self, place: &Place) {
        self.entry(place).bad_until = Some(Instant::now());
    }

    fn entry(&mut self, place: &Place) -> &mut Entry {
        self.clock += 1;
        if self.entries.len() >= ENTRIES_MAX && !self.entries.contains_key(place) {
            let oldest = self.entries.iter().min_by_key(|(_, entry)| entry.used);
            if let Some(oldest) = oldest.map(|(place, _)| place.clone()) {
                self.entries.remove(&oldest);
            }
        }
        let entry = self.entries.entry(place.clone()).or_default();
        entry.used = self.clock;
        entry
    }
}

impl Entry {
    fn is_good(&self, now: Instant) -> bool {
        self.good_until.is_some_and(|until| now < until)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Transport::{Quic, Tls, WebSocket};

    const ALL: [Transport; 3] = [Quic, Tls, WebSocket];
    const HOUR: Duration = Duration::from_hours(1);

    fn place(port: u16) -> Place {
        Place { network: "wifi".into(), edge: ([192, 0, 2, 1], port).into() }
    }

    #[test]
    fn quic_is_first_until_it_fails_and_again_after_an_hour() {
        let (mut memory, here, now) = (Memory::default(), place(1), Instant::now());
        assert_eq!(memory.plan(&here, &ALL, now).candidates, ALL);
        memory.won(&here, Tls, now);
        memory.quic_failed(&here, now);
        assert_eq!(memory.plan(&here, &ALL, now).candidates, [Tls, WebSocket, Quic]);
        assert_eq!(memory.plan(&place(2), &ALL, now).candidates, ALL, "another edge is another matter");
        memory.won(&here, WebSocket, now);
        assert_eq!(memory.plan(&here, &ALL, now).candidates, [WebSocket, Tls, Quic]);
        assert_eq!(memory.plan(&here, &ALL, now + HOUR).candidates, ALL);
    }

    #[test]
    fn one_bad_moment_does_not_demote_quic_that_has_worked() {
        let (mut memory, here, now) = (Memory::default(), place(1), Instant::now());
        memory.won(&here, Quic, now);
        memory.quic_failed(&here, now);
        assert_eq!(memory.plan(&here, &ALL, now).candidates, ALL);
        memory.quic_failed(&here, now);
        assert_eq!(memory.plan(&here, &ALL, now).candidates, [Tls, WebSocket, Quic]);
        memory.quic_works(&here, now);
        assert_eq!(memory.plan(&here, &ALL, now).candidates, ALL);
        // After a week it is a stranger.
        memory.quic_failed(&here, now + 8 * 24 * HOUR);
        let later = memory.plan(&here, &ALL, now + 8 * 24 * HOUR);
        assert_eq!(later.candidates, [Tls, WebSocket, Quic]);
    }

    #[test]
    fn one_at_a_time_probes_when_the_hour_is_over() {
        let (mut memory, here, now) = (Memory::default(), place(1), Instant::now());
        assert_eq!(memory.probe_at(&here), None);
        memory.quic_failed(&here, now);
        assert!(!memory.take_probe(&here, now));
        let due = memory.probe_at(&here).unwrap();
        assert!(memory.take_probe(&here, due));
        assert!(!memory.take_probe(&here, due), "somebody probes already");
        memory.quic_failed(&here, due);
        assert_eq!(memory.probe_at(&here), Some(due + HOUR));
        assert!(memory.take_probe(&here, due + HOUR));
        memory.return_probe(&here);
        assert!(memory.take_probe(&here, due + HOUR));
        memory.quic_works(&here, due + HOUR);
        assert_eq!(memory.probe_at(&here), None);
    }

    #[test]
    fn a_long_round_trip_that_is_known_delays_tcp_a_little() {
        let (mut memory, here, now) = (Memory::default(), place(1), Instant::now());
        memory.note_path(&here, Duration::from_millis(200), false);
        assert_eq!(memory.plan(&here, &ALL, now).quiet, QUIET, "quic has not worked yet");
        memory.won(&here, Quic, now);
        assert_eq!(memory.plan(&here, &ALL, now).quiet, Duration::from_millis(300));
        memory.note_path(&here, Duration::from_secs(2), false);
        assert_eq!(memory.plan(&here, &ALL, now).quiet, QUIET_MAX);
        memory.note_path(&here, Duration::from_millis(3), false);
        assert_eq!(memory.plan(&here, &ALL, now).quiet, QUIET);
    }

    #[test]
    fn the_least_recently_used_place_is_forgotten() {
        let (mut memory, now) = (Memory::default(), Instant::now());
        for port in 0..=u16::try_from(ENTRIES_MAX).unwrap() {
            memory.quic_failed(&place(port), now);
            memory.quic_failed(&place(1), now);
        }
        assert_eq!(memory.entries.len(), ENTRIES_MAX);
        assert!(memory.entries.contains_key(&place(1)) && !memory.entries.contains_key(&place(0)));
    }
}
