//! How connections begin: Initials wait at the gate and are worked on after the turn's live connections were served.

use std::time::{Duration, Instant};

use quinn_proto::{ConnectionEvent, ConnectionHandle, DatagramEvent, Incoming};

use super::conn::{Conn, Transport};
use super::quic::{Arrival, QuicTransport, Unproved};
use super::{Shard, caught, index_of};
use crate::admission::{Load, Pressure, Verdict, Waiting};
use crate::stats::Stats;

impl Shard {
    /// Works on as many waiting Initials as the turn's budget allows. Call it after the datagrams of [`Self::turn`] were
    /// sent, and send what it adds. `backlog`: more datagrams wait in the socket, so be quick. Returns how many
    /// connections began; `None` if some were turned away, so that the time it took says nothing about what one costs.
    pub fn handshakes(&mut self, now: Instant, backlog: bool) -> Option<usize> {
        if !self.gate.has_work() {
            return Some(0);
        }
        self.gate.begin_turn(match (backlog, self.served_live) {
            (true, _) => Pressure::Backlog,
            (false, true) => Pressure::Live,
            (false, false) => Pressure::Idle,
        });
        let before = self.stats;
        while let Some(mut waiting) = self.gate.take() {
            let data = std::mem::take(&mut waiting.data);
            self.feed(now, waiting.remote, waiting.local_ip, data, Some(&waiting));
        }
        let turned_away =
            |stats: &Stats| stats.ignored + stats.retries + stats.refused + stats.handshake_failures;
        let begun = usize::try_from(self.stats.accepted - before.accepted).unwrap_or(usize::MAX);
        (turned_away(&self.stats) == turned_away(&before)).then_some(begun)
    }

    /// Whether [`Self::handshakes`] has something to do.
    #[must_use]
    pub fn has_handshakes(&self) -> bool {
        self.gate.has_work()
    }

    /// Says what handshakes took: what [`Self::handshakes`] returned, or how many byte streams finished theirs, and the
    /// CPU time. The clients' windows for coming back follow from it.
    pub fn handshakes_took(&mut self, spent: Duration, begun: usize) {
        self.gate.handshakes_took(spent, begun);
    }

    /// TLS handshakes that byte streams have finished so far.
    #[must_use]
    pub fn stream_handshakes(&self) -> u64 {
        self.stats.tls_handshakes
    }

    /// How full the shard is, for the gate.
    pub(super) fn load(&self) -> Load {
        Load { connections: self.connections(), handshakes: self.handshaking }
    }

    /// Decides about a connection that an Initial began.
    pub(super) fn admit(
        &mut self,
        now: Instant,
        incoming: Incoming,
        waiting: &Waiting,
        arrival: Arrival,
        mut response: Vec<u8>,
    ) {
        if self.draining {
            self.stats.refused += 1;
            let transmit = self.endpoint.refuse(incoming, &mut response);
            return self.transmits.push(transmit.destination, response);
        }
        let (validated, may_retry) = (incoming.remote_address_validated(), incoming.may_retry());
        match self.gate.judge(now, waiting, self.load(), validated, may_retry) {
            Verdict::Ignore => {
                self.stats.ignored += 1;
                self.endpoint.ignore(incoming);
                self.transmits.recycle(response);
            }
            Verdict::Retry => {
                self.stats.retries += 1;
                match self.endpoint.retry(incoming, &mut response) {
                    Ok(transmit) => self.transmits.push(transmit.destination, response),
                    Err(error) => self.endpoint.ignore(error.into_incoming()),
                }
            }
            Verdict::Accept => match self.endpoint.accept(incoming, now, &mut response, None) {
                Ok((handle, quic)) => {
                    self.transmits.recycle(response);
                    let unproved = (!validated).then(|| Unproved::new(arrival));
                    self.insert(handle, QuicTransport::new(quic, unproved, now), waiting, now);
                }
                Err(error) => {
                    self.stats.handshake_failures += 1;
                    match error.response {
                        Some(transmit) => self.transmits.push(transmit.destination, response),
                        None => self.transmits.recycle(response),
                    }
                }
            },
        }
    }

    fn insert(&mut self, handle: ConnectionHandle, quic: QuicTransport, waiting: &Waiting, now: Instant) {
        self.stats.accepted += 1;
        self.handshaking += 1;
        let index = index_of(handle);
        let transport = Transport::Quic(Box::new(quic));
        let mut conn = Conn::new(transport, self.session_id(index), &self.config.session, now);
        conn.prefix = Some(self.gate.opened(waiting.remote.ip()));
        self.conns.insert_quic(index, conn);
        self.touch(index);
    }

    /// What the endpoint makes of a datagram. `None`: it panicked, and the datagram is dropped, for one must not take the shard down, whatever is in
    /// it.
    pub(super) fn show_endpoint(
        &mut self,
        now: Instant,
        (remote, local_ip): (std::net::SocketAddr, Option<std::net::IpAddr>),
        data: bytes::BytesMut,
        response: &mut Vec<u8>,
    ) -> Option<Option<DatagramEvent>> {
        let endpoint = &mut self.endpoint;
        let handled = caught(|| endpoint.handle(now, remote, local_ip, None, data, response));
        if handled.is_none() {
            self.stats.panics += 1;
            tracing::error!("datagram dropped after a panic in the endpoint");
        }
        handled
    }

    /// Gives a datagram to its connection. `false`: it is gone, or has panicked and is gone now.
    pub(super) fn deliver(
        &mut self,
        index: u32,
        remote: std::net::SocketAddr,
        arrival: Arrival,
        event: ConnectionEvent,
    ) -> bool {
        let Some(quic) = self.quic_mut(index) else { return false };
        quic.arrived(remote, arrival);
        let handled = caught(|| quic.quic.handle_event(event)).is_some();
        if !handled {
            self.remove_panicked(index);
        }
        handled
    }

    /// Gives one datagram to the endpoint; `waiting` if it came from the gate. `false`: it would begin a connection and did
    /// not come from there.
    pub(super) fn feed(
        &mut self,
        now: Instant,
        remote: std::net::SocketAddr,
        local_ip: Option<std::net::IpAddr>,
        data: bytes::BytesMut,
        waiting: Option<&Waiting>,
    ) -> bool {
        let mut response = self.transmits.buffer();
        let arrival = Arrival::of(&data);
        let Some(event) = self.show_endpoint(now, (remote, local_ip), data, &mut response) else {
            return true;
        };
        let mut expected = true;
        match event {
            Some(DatagramEvent::ConnectionEvent(handle, event)) => {
                let index = index_of(handle);
                self.release(index);
                if self.deliver(index, remote, arrival, event) {
                    self.touch(index);
                }
            }
            Some(DatagramEvent::NewConnection(incoming)) => match waiting {
                Some(waiting) => {
                    self.admit(now, incoming, waiting, arrival, response);
                    return true;
                }
                None => {
                    self.endpoint.ignore(incoming);
                    expected = false;
                }
            },
            Some(DatagramEvent::Response(transmit)) => {
                // To an Initial: a token that was made for another address.
                self.stats.handshake_failures += u64::from(waiting.is_some());
                self.transmits.push(transmit.destination, response);
                return true;
            }
            // An Initial that no key of its id opens.
            None => self.stats.handshake_failures += u64::from(waiting.is_some()),
        }
        self.transmits.recycle(response);
        expected
    }
}
