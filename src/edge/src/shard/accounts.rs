//! What the shard's counts say about each connection, and what goes when it goes.

use quinn_proto::{ConnectionHandle, EndpointEvent};

use super::conn::Conn;
use super::stream::Carrier;
use super::{STREAM_BIT, Shard};

impl Shard {
    /// The step of a connection panicked: it is dropped without a word, its client learns by a reset or an end.
    pub(super) fn remove_panicked(&mut self, index: u32) {
        self.stats.panics += 1;
        tracing::error!(connection = index, "connection dropped after a panic in its step");
        if index & STREAM_BIT == 0 {
            self.endpoint.handle_event(ConnectionHandle(index as usize), EndpointEvent::drained());
        } else {
            // Its socket has to go too.
            self.sockets.push_back(index);
        }
        self.remove(index);
    }

    pub(super) fn remove(&mut self, index: u32) {
        self.deferred.take(index);
        let Some(mut conn) = self.conns.remove(index) else { return };
        self.budget.change(conn.counted_output, 0);
        if let Some(prefix) = conn.prefix {
            self.gate.closed(prefix);
        }
        // Most have ended before. One whose socket broke has left; one that panicked has done nothing.
        conn.end(None, &mut self.ups);
        self.count(&mut conn);
        if let Some(carrier) = conn.counted.carrier {
            *self.carriers(carrier) -= 1;
        }
    }

    /// Brings counts and topics in step with what a call may have changed.
    pub(super) fn account(&mut self, index: u32) {
        if self.conns.get_mut(index).is_some_and(|conn| conn.phase() != conn.counted)
            && let Some(mut conn) = self.conns.borrow(index)
        {
            self.count(&mut conn);
            self.conns.put_back(index, conn);
        }
    }

    fn count(&mut self, conn: &mut Conn) {
        let (before, after) = (conn.counted, conn.phase());
        conn.counted = after;
        self.handshaking -= usize::from(before.handshaking && !after.handshaking);
        match (before.live, after.live) {
            (false, true) => self.stats.sessions += 1,
            (true, false) => self.stats.sessions -= 1,
            _ => {}
        }
        if let (None, Some(carrier)) = (before.carrier, after.carrier) {
            *self.carriers(carrier) += 1;
        }
        if after.ended && !before.ended {
            self.stats.closed += 1;
            self.leave_all(conn);
        }
    }

    /// The gauge of open connections of a kind.
    fn carriers(&mut self, carrier: Carrier) -> &mut u64 {
        match carrier {
            Carrier::Tls => &mut self.stats.connections_tls,
            Carrier::WebSocket => &mut self.stats.connections_websocket,
            Carrier::WebTransport => &mut self.stats.connections_webtransport,
        }
    }

    pub(super) fn leave_all(&mut self, conn: &mut Conn) {
        while let Some(topic) = conn.joined.first() {
            let conns = &mut self.conns;
            self.topics.leave(&mut conn.joined, &topic, |other, topic, place| {
                if let Some(other) = conns.get_mut(other) {
                    other.joined.moved(topic, place);
                }
            });
        }
    }
}
