//! The window in slots: what was due, done and late when, and what carried the sessions.

use std::ops::Range;
use std::time::Duration;

use hdrhistogram::Histogram;
use nearport_client::Transport;
use serde::Serialize;

use crate::report::rounded;

/// Slots of a window at most; each is a second long, or longer.
const SLOTS_MAX: u64 = 300;

const SECOND_NS: u64 = 1_000_000_000;

/// An hour in microseconds; what takes longer counts as this.
const LONGEST_US: u64 = 3_600_000_000;

/// One stretch of the window.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize)]
pub struct Slot {
    /// Its begin, in seconds since the window's.
    pub at_s: f64,
    /// Messages that were due in it.
    pub due: u64,
    /// Messages that were acknowledged in it.
    pub acked: u64,
    /// Messages that were shown in it.
    pub delivered: u64,
    /// Median latency of the messages that were due in it, in milliseconds.
    pub p50_ms: Option<f64>,
    /// 99 % of them.
    pub p99_ms: Option<f64>,
    /// The slowest of them.
    pub max_ms: Option<f64>,
    /// Logins after a lost connection.
    pub reconnects: u64,
    /// Sessions at its end, by what carries them.
    pub sessions: ByTransport,
}

/// A count for each transport.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct ByTransport {
    /// QUIC.
    pub quic: u64,
    /// TLS over TCP.
    pub tls: u64,
    /// WebSocket.
    pub ws: u64,
    /// WebTransport.
    pub wt: u64,
}

impl ByTransport {
    pub(crate) fn of(&mut self, transport: Transport) -> &mut u64 {
        match transport {
            Transport::Quic => &mut self.quic,
            Transport::Tls => &mut self.tls,
            Transport::WebSocket => &mut self.ws,
            Transport::WebTransport => &mut self.wt,
        }
    }

    /// Adds others.
    pub(crate) fn add(&mut self, other: &Self) {
        self.quic += other.quic;
        self.tls += other.tls;
        self.ws += other.ws;
        self.wt += other.wt;
    }

    /// Over all of them.
    #[must_use]
    pub fn total(&self) -> u64 {
        let Self { quic, tls, ws, wt } = *self;
        quic + tls + ws + wt
    }

    /// Name and count of each, in the order of the fields.
    #[must_use]
    pub fn each(&self) -> [(&'static str, u64); 4] {
        [("quic", self.quic), ("tls", self.tls), ("ws", self.ws), ("wt", self.wt)]
    }
}

/// Takes notes while the window runs.
#[derive(Debug)]
pub(crate) struct Timeline {
    window: Range<u64>,
    slot_ns: u64,
    slots: Vec<Open>,
    /// Sessions now.
    sessions: ByTransport,
    /// Slots whose end has passed, as far as sessions are concerned.
    closed: usize,
}

#[derive(Debug)]
struct Open {
    slot: Slot,
    /// Microseconds, two digits: a slot has few messages, and a run many slots.
    latency: Histogram<u32>,
}

impl Timeline {
    pub(crate) fn new() -> Self {
        Self {
            window: 0..0,
            slot_ns: SECOND_NS,
            slots: Vec::new(),
            sessions: ByTransport::default(),
            closed: 0,
        }
    }

    /// Notes are taken of this window.
    pub(crate) fn measure(&mut self, window: Range<u64>) {
        let length = window.end.saturating_sub(window.start);
        self.slot_ns = length.div_ceil(SLOTS_MAX).max(SECOND_NS);
        let open = |number: u64| Open {
            slot: Slot { at_s: rounded((number * self.slot_ns) as f64 / 1e9), ..Slot::default() },
            latency: Histogram::new_with_bounds(1, LONGEST_US, 2)
                .expect("the bounds are constants that the crate accepts"),
        };
        self.slots = (0..length.div_ceil(self.slot_ns)).map(open).collect();
        (self.window, self.closed) = (window, 0);
    }

    fn at(&mut self, ns: u64) -> Option<&mut Open> {
        let inside = self.window.contains(&ns);
        let number = ns.checked_sub(self.window.start)? / self.slot_ns;
        self.slots.get_mut(usize::try_from(number).ok()?).filter(|_| inside)
    }

    pub(crate) fn due(&mut self, due_ns: u64) {
        if let Some(open) = self.at(due_ns) {
            open.slot.due += 1;
        }
    }

    pub(crate) fn acked(&mut self, now_ns: u64) {
        if let Some(open) = self.at(now_ns) {
            open.slot.acked += 1;
        }
    }

    /// A message that was due at `due_ns` is shown.
    pub(crate) fn arrived(&mut self, due_ns: u64, now_ns: u64) {
        if let Some(open) = self.at(now_ns) {
            open.slot.delivered += 1;
        }
        if let Some(open) = self.at(due_ns) {
            open.latency.saturating_record((now_ns.saturating_sub(due_ns) / 1_000).min(LONGEST_US));
        }
    }

    /// A session of one transport ends, one of another begins, or both.
    pub(crate) fn session(
        &mut self,
        from: Option<Transport>,
        to: Option<Transport>,
        again: bool,
        now_ns: u64,
    ) {
        self.close(now_ns);
        if let Some(from) = from {
            let count = self.sessions.of(from);
            *count = count.saturating_sub(1);
        }
        if let Some(to) = to {
            *self.sessions.of(to) += 1;
        }
        if again && let Some(open) = self.at(now_ns) {
            open.slot.reconnects += 1;
        }
    }

    /// Notes the sessions of the slots that have ended.
    fn close(&mut self, now_ns: u64) {
        let ended = now_ns.saturating_sub(self.window.start) / self.slot_ns;
        let ended = usize::try_from(ended).unwrap_or(usize::MAX).min(self.slots.len());
        for open in self.slots.get_mut(self.closed..ended).unwrap_or_default() {
            open.slot.sessions = self.sessions;
        }
        self.closed = self.closed.max(ended);
    }

    /// The slots up to now.
    pub(crate) fn slots(&mut self, now_ns: u64) -> Vec<Slot> {
        self.close(now_ns);
        let slot_s = Duration::from_nanos(self.slot_ns).as_secs_f64();
        let seen_s = Duration::from_nanos(now_ns.saturating_sub(self.window.start)).as_secs_f64();
        let begun = self.slots.iter().take_while(|open| open.slot.at_s < seen_s.max(slot_s));
        begun.map(Open::finished).collect()
    }
}

impl Open {
    fn finished(&self) -> Slot {
        let at = |quantile| {
            let us = self.latency.value_at_quantile(quantile).min(self.latency.max());
            (!self.latency.is_empty()).then(|| us as f64 / 1e3)
        };
        Slot { p50_ms: at(0.5), p99_ms: at(0.99), max_ms: at(1.0), ..self.slot }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: u64 = SECOND_NS;

    #[test]
    fn each_thing_stands_in_its_second() {
        let mut timeline = Timeline::new();
        timeline.session(None, Some(Transport::Quic), false, 1);
        timeline.session(None, Some(Transport::Quic), false, 2);
        timeline.measure(10 * S..13 * S);
        timeline.due(9 * S); // warm-up
        timeline.due(10 * S);
        timeline.due(11 * S);
        timeline.arrived(10 * S, 10 * S + 5_000_000);
        timeline.arrived(11 * S, 12 * S + S / 2);
        timeline.acked(12 * S);
        timeline.session(Some(Transport::Quic), None, false, 11 * S + 1);
        timeline.session(None, Some(Transport::Tls), true, 12 * S + 1);
        timeline.due(13 * S); // after it
        timeline.acked(99 * S);
        let slots = timeline.slots(20 * S);
        assert_eq!(slots.len(), 3);
        assert_eq!([slots[0].due, slots[1].due, slots[2].due], [1, 1, 0]);
        assert_eq!([slots[0].delivered, slots[1].delivered, slots[2].delivered], [1, 0, 1]);
        assert_eq!(slots.iter().map(|slot| slot.acked).sum::<u64>(), 1);
        assert!((slots[0].max_ms.unwrap() - 5.0).abs() < 0.05);
        let late = slots[1].p50_ms.unwrap();
        assert!((1_485.0..=1_515.0).contains(&late), "in the slot in which it was due: {late}");
        assert_eq!(slots[2].p50_ms, None);
        let sessions = slots.iter().map(|slot| slot.sessions).collect::<Vec<_>>();
        let at = |quic, tls| ByTransport { quic, tls, ..ByTransport::default() };
        assert_eq!(sessions, [at(2, 0), at(1, 0), at(1, 1)]);
        assert_eq!([slots[1].reconnects, slots[2].reconnects], [0, 1]);
    }

    #[test]
    fn a_long_window_has_longer_slots_and_a_short_run_fewer() {
        let mut timeline = Timeline::new();
        timeline.measure(0..3_000 * S);
        assert_eq!(timeline.slots(u64::MAX).len(), 300);
        assert_eq!(timeline.slots(25 * S).len(), 3, "10 s each, the third has begun");
    }
}
