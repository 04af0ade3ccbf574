//! When and what the server sends twice: small frames of the chat lane, again as datagrams, while the path loses packets.
//!
//! A lost packet of a stream is found out a round trip later at the earliest, and the last one of a burst only by a
//! probe. A copy in a datagram of its own, sent a little later, gets through in most of these cases at the price of
//! one small packet. So it is worth its while on lossy paths only, and the path has to show that it is one.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use bytes::Bytes;
use nearport_session::{Server, ServerLimits};
use quinn_proto::Connection;

/// Time between two looks at the path's figures, which cost a copy of 600 bytes that no cache holds.
const SAMPLE: Duration = Duration::from_secs(1);

/// Datagrams that make a look worth it. A path that carries fewer is looked at after [`SAMPLE_AT_LATEST`]: in a live room of two
/// messages a second every second delivery would pay for a look.
const SAMPLE_DATAGRAMS: u16 = 16;

/// How old the last look gets while anything is sent.
const SAMPLE_AT_LATEST: Duration = Duration::from_secs(5);

/// A copy waits at least this long, so that it neither shares a packet with the stream's copy nor its burst of losses.
const DELAY_MIN: Duration = Duration::from_millis(5);

/// Copies that wait. More are not worth sending: the path is short of more than one packet.
const WAITING_MAX: usize = 64;

/// The hedging of one connection.
#[derive(Debug)]
pub(super) struct Hedger {
    sampled_at: Instant,
    /// Datagrams that went out since.
    datagrams: u16,
    /// `None` until the path has lost a packet.
    active: Option<Box<Active>>,
}

#[derive(Debug)]
struct Active {
    loss: Loss,
    waiting: VecDeque<(Instant, Bytes)>,
    /// Copies sent that the shard has not counted yet.
    sent: u64,
}

impl Hedger {
    pub(super) fn new(now: Instant) -> Self {
        Self { sampled_at: now, datagrams: 0, active: None }
    }

    /// A datagram goes out.
    pub(super) fn count_datagram(&mut self) {
        self.datagrams = self.datagrams.saturating_add(1);
    }

    /// Whether the path has lost packets of late.
    pub(super) fn is_active(&self) -> bool {
        self.active.as_ref().is_some_and(|active| active.loss.is_high)
    }

    fn is_sample_due(&self, now: Instant) -> bool {
        let age = now.saturating_duration_since(self.sampled_at);
        age >= SAMPLE
            && (self.datagrams >= SAMPLE_DATAGRAMS || (age >= SAMPLE_AT_LATEST && self.datagrams > 0))
    }

    /// Looks at the path once in a while and takes the copies of what was written.
    pub(super) fn write(
        &mut self,
        quic: &mut Connection,
        session: &mut Server,
        limits: &ServerLimits,
        now: Instant,
    ) {
        if self.is_sample_due(now) {
            (self.sampled_at, self.datagrams) = (now, 0);
            self.sample(quic, session, limits);
        }
        let Some(active) = &mut self.active else { return };
        if active.loss.is_high {
            let due = now + DELAY_MIN.max(quic.rtt() / 8);
            for frame in session.take_copies() {
                if active.waiting.len() < WAITING_MAX {
                    active.waiting.push_back((due, frame));
                }
            }
        }
    }

    fn sample(&mut self, quic: &mut Connection, session: &mut Server, limits: &ServerLimits) {
        let path = quic.stats().path;
        if self.active.is_none() && path.lost_packets == 0 {
            return;
        }
        let active = self.active.get_or_insert_with(|| {
            // The packets before the first loss count: it is one of so many.
            Box::new(Active { loss: Loss::default(), waiting: VecDeque::new(), sent: 0 })
        });
        let was_high = active.loss.is_high;
        active.loss.update(path.sent_packets, path.lost_packets);
        let is_high = active.loss.is_high && quic.datagrams().max_size().is_some();
        if was_high != is_high {
            session.set_hedging(is_high, limits);
            tracing::debug!(loss = active.loss.rate, hedging = is_high, "the path's loss crossed a line");
        }
        active.loss.is_high = is_high;
    }

    /// Sends the copies that are due. One that finds no room is dropped: its stream is on the way.
    pub(super) fn handle_timeout(&mut self, now: Instant, mut send: impl FnMut(Bytes) -> bool) {
        let Some(active) = &mut self.active else { return };
        while let Some((_, frame)) = active.waiting.pop_front_if(|(due, _)| *due <= now) {
            active.sent += u64::from(send(frame));
        }
    }

    /// When [`Self::handle_timeout`] has work.
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        Some(self.active.as_ref()?.waiting.front()?.0)
    }

    /// Copies sent since the last call.
    pub(super) fn take_sent(&mut self) -> u64 {
        self.active.as_mut().map_or(0, |active| std::mem::take(&mut active.sent))
    }
}

/// How much of what was sent is lost, of late.
#[derive(Debug, Default)]
struct Loss {
    sent: u64,
    lost: u64,
    /// Lost of sent, over the last hundred packets or so.
    rate: f32,
    is_high: bool,
}

impl Loss {
    /// Loss from which on hedging pays.
    const HIGH: f32 = 0.02;
    /// Loss below which it is given up again.
    const LOW: f32 = 0.005;
    /// Packets over which the rate is taken. Two of them lost are 2 %.
    const MEMORY: f32 = 100.0;

    /// Takes the counts of the whole path. After a change of path they begin anew.
    fn update(&mut self, sent_total: u64, lost_total: u64) {
        let (sent, lost) = (sent_total.saturating_sub(self.sent), lost_total.saturating_sub(self.lost));
        (self.sent, self.lost) = (sent_total, lost_total);
        if sent > 0 {
            #[expect(clippy::cast_precision_loss, reason = "packets of a second")]
            let (sent, lost) = (sent as f32, lost.min(sent) as f32);
            let weight = (sent / Self::MEMORY).min(1.0);
            self.rate += (lost / sent - self.rate) * weight;
        }
        self.is_high = self.rate >= if self.is_high { Self::LOW } else { Self::HIGH };
    }
}

#[cfg(test)]
mod tests;
