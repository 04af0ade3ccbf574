//! The client's datagrams: what may be lost, and copies of what may not.

use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use nearport_wire::{Decoder, Kind, Lane, Limits, encode_into};

use super::{Client, Event, Owner, REQUESTS_MAX, State, decode, refused};

/// Datagrams that wait for the transport; at the bound a copy is not made and an online-only message takes the stream.
pub(super) const DATAGRAMS_MAX: usize = 64;

/// How long an entry that came in a datagram may wait for the stream to bring what is in front of it.
pub(super) const PATIENCE: Duration = Duration::from_millis(200);

/// The same on a path with a long round trip, at most.
const PATIENCE_MAX: Duration = Duration::from_secs(1);

/// Shortest time between a send and its copy: long enough to leave in another packet.
const HEDGE_DELAY_MIN: Duration = Duration::from_millis(5);

impl Client {
    /// Takes a datagram. What does not belong into one is dropped without a word, and so is everything before the
    /// welcome: a datagram may be late or doubled.
    pub fn handle_datagram(&mut self, now: Instant, datagram: Bytes) {
        self.last_received = now;
        let mut decoder = Decoder::new(Limits::client());
        decoder.feed(datagram);
        while self.state == State::Live
            && let Ok(Some(frame)) = decoder.next_frame()
        {
            match frame.kind {
                Kind::PUSH => {
                    let Ok(delivery) = decode(frame.body) else { continue };
                    match frame.id {
                        0 => self.events.push_back(Event::Transient(delivery)),
                        position => self.arrive(now, position, Some(delivery), true),
                    }
                }
                Kind::REPLY => self.finish(now, frame.id, Ok(frame.body)),
                Kind::ERROR => {
                    if let Ok(error) = decode(frame.body) {
                        self.finish(now, frame.id, Err(refused(error)));
                    }
                }
                _ => {}
            }
        }
    }

    /// Sends a request in a datagram, outside the order of the chat lane: it may be lost, and nothing repeats it.
    ///
    /// `None` if the transport has no datagrams or this one does not fit, or as [`Self::request`] does.
    pub fn request_in_datagram(&mut self, now: Instant, kind: Kind, body: &[u8]) -> Option<u64> {
        let bytes_max = self.config.datagram_bytes_max?;
        if self.state != State::Live
            || self.requests.len() >= REQUESTS_MAX
            || self.datagrams.len() >= DATAGRAMS_MAX
        {
            return None;
        }
        let mut frame = BytesMut::new();
        encode_into(Lane::Chat, kind, self.next_id, body, &mut frame);
        (frame.len() <= bytes_max).then(|| {
            self.datagrams.push_back(frame.freeze());
            self.last_written = now;
            self.new_request(now, Owner::Caller)
        })
    }

    /// Says how the path is: its round trip, and whether so much is lost on it that small sends are to be copied into
    /// datagrams. Without datagrams nothing follows from it.
    pub fn set_path(&mut self, rtt: Duration, lossy: bool) {
        let delay = (rtt / 8).max(HEDGE_DELAY_MIN);
        self.hedges.set_delay((lossy && self.config.datagram_bytes_max.is_some()).then_some(delay));
        self.patience = (rtt * 2).clamp(PATIENCE, PATIENCE_MAX);
    }

    /// The next datagram to send. What does not go out at once may be thrown away.
    pub fn poll_datagram(&mut self) -> Option<Bytes> {
        self.datagrams.pop_front()
    }

    /// Copies whose time has come.
    pub(super) fn queue_hedges(&mut self, now: Instant) {
        while let Some(hedge) = self.hedges.next_due(now, |id| self.requests.contains_key(&id)) {
            if self.datagrams.len() < DATAGRAMS_MAX {
                self.datagrams.push_back(hedge);
            }
        }
    }
}
