//! The shard's side of byte streams: what a driver tells it about their sockets, and what it has to do with them.
//!
//! The driver owns the sockets, under the numbers that [`Shard::open_stream`] gives. It brings bytes with
//! [`Shard::read_stream`] while [`Shard::reads_stream`] says so, and after each turn asks [`Shard::poll_stream`] whose socket
//! to serve and calls [`Shard::write_stream`] for it. A number is used again after [`Shard::drop_stream`]: when the driver
//! still has a socket for a number that it is to drop, or its socket broke, it drops it and says so, once.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use super::conn::{Conn, Transport};
use super::stream::{Proxied, SocketFate, StreamTransport, tls};
use super::{Shard, caught};
use crate::admission::Verdict;

impl Shard {
    /// Takes a new TCP connection, with the address of its socket's peer. `proxied`: that peer is a proxy which is trusted
    /// to tell the client's address, and has to. `None` if there is no room: close the socket.
    pub fn open_stream(&mut self, now: Instant, peer: SocketAddr, proxied: bool) -> Option<u32> {
        // A proxy is not the client: only the shard's own bounds count for it.
        let ip = (!proxied).then_some(peer.ip());
        let (draining, load) = (self.draining, self.load());
        let welcome = !draining && self.gate.accept_stream(now, ip, load) == Verdict::Accept;
        let stream = welcome
            .then(|| StreamTransport::new(peer, proxied, self.config.stream_tls.clone()).ok())
            .flatten();
        let Some(stream) = stream else {
            self.stats.streams_refused += 1;
            return None;
        };
        self.stats.streams_accepted += 1;
        self.handshaking += 1;
        let index = self.conns.next_stream();
        let id = self.session_id(index);
        let mut conn = Conn::new(Transport::Stream(Box::new(stream)), id, &self.config.session, now);
        conn.prefix = ip.map(|ip| self.gate.opened(ip));
        self.conns.insert_stream(conn);
        self.arm(index, now);
        Some(index)
    }

    /// Takes bytes that a socket gave. They are decrypted where they lie. What they ask of the backend goes up with the
    /// next turn.
    pub fn read_stream(&mut self, now: Instant, index: u32, mut bytes: &mut [u8]) {
        if self.read_proxy(now, index, &mut bytes) {
            let Some(conn) = self.conns.get_mut(index) else { return };
            let limits = if conn.is_web() { &self.web_limits } else { &self.config.session };
            let (ups, stats) = (&mut self.ups, &mut self.stats);
            if caught(|| conn.read_stream(bytes, limits, now, ups, stats)).is_none() {
                return self.remove_panicked(index);
            }
        }
        self.account(index);
        self.touch(index);
    }

    /// Takes the header of a proxy, where one is awaited; its client passes the gate as if it had come by itself. Returns
    /// whether the connection goes on with what is left of `bytes`.
    fn read_proxy(&mut self, now: Instant, index: u32, bytes: &mut &mut [u8]) -> bool {
        let Some(conn) = self.conns.get_mut(index) else { return false };
        let Transport::Stream(stream) = &mut conn.transport else { return false };
        let refused = match stream.read_proxy(bytes) {
            Proxied::No => return true,
            Proxied::Incomplete => return false,
            Proxied::Refused => &mut self.stats.proxy_refusals,
            Proxied::Client(ip) => {
                let load = self.load();
                if self.gate.accept_stream(now, Some(ip), load) == Verdict::Accept {
                    if let Some(conn) = self.conns.get_mut(index) {
                        conn.prefix = Some(self.gate.opened(ip));
                    }
                    return true;
                }
                &mut self.stats.streams_refused
            }
        };
        *refused += 1;
        if let Some(conn) = self.conns.get_mut(index) {
            conn.end(None, &mut self.ups);
            if let Transport::Stream(stream) = &mut conn.transport {
                stream.abort();
            }
        }
        false
    }

    /// The peer ended its side of a socket: everything that it sent was read.
    pub fn end_stream(&mut self, index: u32) {
        let Some(conn) = self.conns.get_mut(index) else { return };
        conn.end_stream(&mut self.ups);
        self.account(index);
        self.touch(index);
    }

    /// Whether a socket is to be read: not while the answers to what it brought wait in large amount.
    #[must_use]
    pub fn reads_stream(&mut self, index: u32) -> bool {
        let limits = &self.config.session;
        self.conns.get_mut(index).is_some_and(|conn| match &conn.transport {
            Transport::Stream(stream) => stream.wants_read(&conn.session, limits),
            Transport::Quic(_) => false,
        })
    }

    /// Whether a connection is still in its handshake, whose steps cost more than others.
    #[must_use]
    pub fn is_fresh_stream(&mut self, index: u32) -> bool {
        self.conns.get_mut(index).is_some_and(|conn| conn.phase().handshaking)
    }

    /// A socket that was full takes bytes again. Harmless if it was not.
    pub fn unblock_stream(&mut self, index: u32) {
        if let Some(conn) = self.conns.get_mut(index)
            && let Transport::Stream(stream) = &mut conn.transport
            && stream.unblock()
        {
            self.touch(index);
        }
    }

    /// The next byte stream whose socket is to be served with [`Self::write_stream`].
    pub fn poll_stream(&mut self) -> Option<u32> {
        self.sockets.pop_front()
    }

    /// Writes what a byte stream has. `put` writes to its socket and says how many bytes that took: fewer than offered
    /// means that it is full until [`Self::unblock_stream`], `None` that it is broken.
    pub fn write_stream(
        &mut self,
        now: Instant,
        index: u32,
        put: impl FnMut(&[u8]) -> Option<usize>,
    ) -> SocketFate {
        let Some(conn) = self.conns.get_mut(index) else { return SocketFate::Drop };
        let Transport::Stream(stream) = &mut conn.transport else { return SocketFate::Keep };
        stream.queued = false;
        let (session, scratch) = (&mut conn.session, &mut self.scratch);
        let Some((fate, more)) = caught(|| stream.write(session, now, scratch, put)) else {
            self.remove_panicked(index);
            return SocketFate::Drop;
        };
        if fate == SocketFate::Drop {
            self.remove(index);
        } else {
            self.settle(index, now);
            if more {
                self.touch(index);
            }
            self.arm(index, now);
        }
        fate
    }

    /// The driver has dropped the socket of a byte stream, once for each. The session ends if it has not.
    pub fn drop_stream(&mut self, index: u32) {
        self.remove(index);
        self.conns.free_stream(index);
    }

    /// Puts a byte stream on the list of sockets to serve, if it has something for its socket.
    pub(super) fn queue_socket(&mut self, index: u32) {
        if let Some(conn) = self.conns.get_mut(index)
            && let Transport::Stream(stream) = &mut conn.transport
            && !stream.queued
            && stream.wants_write(&conn.session)
        {
            stream.queued = true;
            self.sockets.push_back(index);
        }
    }
}

/// TLS of byte streams, from that of QUIC: the same certificates, tickets and key exchange under other protocol names.
#[must_use]
pub fn stream_tls(quic: &rustls::ServerConfig) -> Arc<rustls::ServerConfig> {
    tls::config(quic)
}
