//! Acknowledgements that wait for company.
//!
//! Whoever gets one message acknowledges it with a datagram of its own, a moment later, and there is nothing to do about it: nothing else is under way, nothing
//! waits to be sent. Worked on at once it costs as much as the message did, since with more connections than the cache holds the price is the first touch of
//! the connection's state, and that is paid twice for each message. Paid once, a delivery to 5,000 members takes 0.56 of what it takes default quinn, instead of 0.65 (decision 0008).
//!
//! So when a connection has sent one datagram with what was published and has nothing else to say, the first short datagram that comes back is kept beside the
//! connection until the connection is touched for another reason, and is worked on in front of that, with the time at which it came: round trips are measured as ever.
//! Another datagram of the client, whatever it is, is such a reason; so is a second of time.
//!
//! What it costs: nobody knows that it is an acknowledgement before it is decrypted. Something else of its size (a heartbeat, the close of a
//! connection without a reason) that comes between a message and its acknowledgement waits for the latter, which is not deferred then. And if a message is lost while
//! such a datagram waits, the probe for it (RFC 9002 §6.2) goes out when that second is over. So for most messages it is done only if nothing else is under way.
//! To members of live rooms something often is, when the shard is late; there the loss timer is one of the reasons too.

use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use bytes::BytesMut;
use quinn_proto::{ConnectionEvent, DatagramEvent};

use super::quic::Arrival;
use super::{Shard, index_of};

/// The longest datagram that is taken for an acknowledgement and nothing else: flags, our connection id, three octets of packet number, a frame of ten and
/// the tag. One that a request rides with is longer.
pub(super) const ACK_BYTES_MAX: usize = 1 + crate::cid::CID_LEN + 3 + 10 + 16;

/// How long one waits. In a room of one message a second and more, each waits for the next message.
const WAIT_MAX: Duration = Duration::from_secs(1);

/// What is nearly due when one is due goes along, so that a shard with little to do does not wake up for each.
const ALONG: Duration = Duration::from_millis(250);

/// Those that nothing has come for are worked on so many a turn.
const DUE_PER_TURN: usize = 64;

/// Places in the queue: 10 MB at most. Beyond it they are worked on as they come.
const PLACES_MAX: usize = 32 * 1024;

/// Room that is kept when none waits.
const KEPT: usize = 256;

/// A connection whose loss timer is further away than this has nothing under way that is not acknowledged.
pub(super) const AT_REST: Duration = Duration::from_secs(2);

/// What a connection waits for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Place {
    #[default]
    Nothing,
    /// One acknowledgement. `only`: of all that is under way.
    Expected { only: bool },
    /// It has come, and has this number.
    Waits(u32),
}

/// What waits for its connection to be touched.
#[derive(Debug)]
pub(super) struct Waiting<T> {
    index: u32,
    since: Instant,
    what: T,
    /// It is the acknowledgement of all that is under way, as far as is known.
    only: bool,
    /// The wheel's entry that came due meanwhile.
    fired: Option<u64>,
}

/// A datagram, as the endpoint gave it for its connection.
#[derive(Debug)]
pub(super) struct Ack {
    remote: SocketAddr,
    arrival: Arrival,
    event: ConnectionEvent,
}

/// See the module documentation. What waits is of no interest here.
#[derive(Debug)]
pub(super) struct Deferred<T> {
    /// By number of the connection.
    places: Vec<Place>,
    /// In the order in which they came. Those that were taken leave a hole.
    queue: VecDeque<Option<Waiting<T>>>,
    /// Number of the one in front, wrapping.
    first: u32,
    len: usize,
    /// Connections that expect one.
    expected: usize,
}

impl<T> Default for Deferred<T> {
    fn default() -> Self {
        Self { places: Vec::new(), queue: VecDeque::new(), first: 0, len: 0, expected: 0 }
    }
}

impl<T> Deferred<T> {
    /// The connection has sent one datagram, and has nothing else to say. `only`: nothing else was under way.
    pub(super) fn expect(&mut self, index: u32, only: bool) {
        let at = index as usize;
        if self.places.len() <= at {
            self.places.resize(at + 1, Place::Nothing);
        }
        match self.places[at] {
            Place::Waits(_) => return,
            Place::Nothing => self.expected += 1,
            Place::Expected { .. } => {}
        }
        self.places[at] = Place::Expected { only };
    }

    /// Whether any connection expects one.
    pub(super) fn expects_any(&self) -> bool {
        self.expected > 0
    }

    fn expects(&self, index: u32) -> bool {
        matches!(self.places.get(index as usize), Some(Place::Expected { .. }))
            && self.queue.len() < PLACES_MAX
    }

    /// What a connection that [`Self::expects`] one got.
    fn put(&mut self, index: u32, now: Instant, what: T) {
        let number = self.first.wrapping_add(u32::try_from(self.queue.len()).expect("it is bounded"));
        let place = std::mem::replace(&mut self.places[index as usize], Place::Waits(number));
        let only = place == Place::Expected { only: true };
        self.expected -= 1;
        self.len += 1;
        self.queue.push_back(Some(Waiting { index, since: now, what, only, fired: None }));
    }

    fn waiting_mut(&mut self, index: u32) -> Option<&mut Option<Waiting<T>>> {
        let Some(Place::Waits(number)) = self.places.get(index as usize) else { return None };
        self.queue.get_mut(number.wrapping_sub(self.first) as usize)
    }

    /// Whether one waits for the connection to be touched.
    pub(super) fn waits(&self, index: u32) -> bool {
        matches!(self.places.get(index as usize), Some(Place::Waits(_)))
    }

    /// The connection is touched, or gone: takes what waits for it. It expects nothing any more.
    pub(super) fn take(&mut self, index: u32) -> Option<Waiting<T>> {
        let taken = match self.places.get(index as usize)? {
            Place::Nothing => return None,
            Place::Expected { .. } => {
                self.expected -= 1;
                None
            }
            Place::Waits(_) => self.waiting_mut(index).and_then(Option::take),
        };
        self.places[index as usize] = Place::Nothing;
        self.len -= usize::from(taken.is_some());
        while let Some(None) = self.queue.front() {
            self.queue.pop_front();
            self.first = self.first.wrapping_add(1);
        }
        if self.queue.is_empty() {
            self.queue.shrink_to(KEPT);
        }
        taken
    }

    /// The wheel's entry of a connection came due. `true`: what waits will say whether it matters.
    pub(super) fn takes_timer(&mut self, index: u32, tick: u64) -> bool {
        let Some(Some(waiting)) = self.waiting_mut(index) else { return false };
        // A second one is not the loss timer's.
        waiting.only && waiting.fired.replace(tick).is_none()
    }

    /// The connection of the next one that has waited long enough.
    fn due(&self, now: Instant, along: Duration) -> Option<u32> {
        let front = self.queue.front()?.as_ref()?;
        (front.since + WAIT_MAX <= now + along).then_some(front.index)
    }

    /// When the next one has waited long enough.
    pub(super) fn next(&self) -> Option<Instant> {
        Some(self.queue.front()?.as_ref()?.since + WAIT_MAX)
    }

    /// How many wait.
    pub(super) fn len(&self) -> usize {
        self.len
    }
}

impl Shard {
    /// Lays a datagram aside that is as long as an acknowledgement, if its connection expects one. `false`: it is to be worked on.
    pub(super) fn defer(
        &mut self,
        now: Instant,
        remote: SocketAddr,
        local_ip: Option<IpAddr>,
        datagram: &[u8],
    ) -> bool {
        let mut response = self.transmits.buffer();
        let arrival = Arrival::of(datagram);
        let data = BytesMut::from(datagram);
        let Some(event) = self.show_endpoint(now, (remote, local_ip), data, &mut response) else {
            return true;
        };
        match event {
            Some(DatagramEvent::ConnectionEvent(handle, event)) => {
                self.transmits.recycle(response);
                let index = index_of(handle);
                let deferred = self.deferred.expects(index);
                if deferred {
                    self.stats.datagrams_deferred += 1;
                    self.deferred.put(index, now, Ack { remote, arrival, event });
                }
                deferred
            }
            Some(DatagramEvent::Response(transmit)) => {
                self.transmits.push(transmit.destination, response);
                true
            }
            Some(DatagramEvent::NewConnection(incoming)) => {
                self.endpoint.ignore(incoming);
                self.transmits.recycle(response);
                true
            }
            None => {
                self.transmits.recycle(response);
                true
            }
        }
    }

    /// Works on what waits for a connection that is about to be touched. Returns whether something did.
    pub(super) fn release(&mut self, index: u32) -> bool {
        let Some(Waiting { what, fired, .. }) = self.deferred.take(index) else { return false };
        if let (Some(tick), Some(conn)) = (fired, self.conns.get_mut(index)) {
            conn.armed.fired(tick);
        }
        self.deliver(index, what.remote, what.arrival, what.event)
    }

    /// Touches the connections whose acknowledgements have waited long enough, some in each turn.
    pub(super) fn take_deferred(&mut self, now: Instant) {
        if self.deferred.due(now, Duration::ZERO).is_none() {
            return;
        }
        for _ in 0..DUE_PER_TURN {
            let Some(index) = self.deferred.due(now, ALONG) else { return };
            if self.release(index) {
                self.touch(index);
            }
        }
    }

    /// Whether some have waited long enough.
    pub(super) fn has_deferred_due(&self) -> bool {
        self.deferred.due(self.now, Duration::ZERO).is_some()
    }
}

#[cfg(test)]
mod tests;
