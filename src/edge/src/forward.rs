//! Packets of an earlier generation, carried to the process that owns their connections.
//!
//! A process that has taken over reads the sockets alone; its predecessor goes on sending from its copies of them. What comes
//! in with a connection id of the predecessor travels over a pair of Unix sockets, one pair per shard:
//!
//! ```text
//! message  = (length:u16 family:u8 ip:4|16 port:u16 bytes:length)*
//! ```
//!
//! Messages keep their borders (`SOCK_SEQPACKET`), so one call carries what a batch of the UDP socket brought, and the end of
//! the other process is seen at once. The kernel bounds what waits; beyond that a message is dropped and counted, and QUIC
//! repeats what was in it.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsRawFd as _, OwnedFd, RawFd};

use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, MsgFlags, SockFlag, SockType, recv, send, setsockopt, socketpair, sockopt,
};

/// Bytes in one message. The kernel keeps a message in one piece, and larger pieces of its memory are rare.
const MESSAGE_BYTES_MAX: usize = 32 * 1024;

/// Room asked for on the way; `net.core.wmem_max` may give less. Half a second of 10,000 datagrams/s.
const SOCKET_BYTES: usize = 4 << 20;

/// Length, family, address and port of the longest entry.
const HEAD_BYTES_MAX: usize = 2 + 1 + 16 + 2;

/// Both ends of a way: what is written into the first comes out of the second.
///
/// # Errors
/// Of the operating system.
pub fn forwarding_pair() -> io::Result<(OwnedFd, OwnedFd)> {
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let (near, far) = socketpair(AddressFamily::Unix, SockType::SeqPacket, None, flags)?;
    // Less room drops more; it is not worth a failure.
    let _ = setsockopt(&near, sockopt::SndBuf, &SOCKET_BYTES);
    Ok((near, far))
}

/// The sending end, towards one predecessor.
#[derive(Debug)]
pub(crate) struct Forwarder {
    generation: u32,
    socket: OwnedFd,
    message: Vec<u8>,
    entries: u64,
    /// Datagrams that went, and that found no room.
    pub(crate) sent: u64,
    pub(crate) dropped: u64,
    gone: bool,
}

impl Forwarder {
    pub(crate) fn new(generation: u32, socket: OwnedFd) -> Self {
        let message = Vec::with_capacity(MESSAGE_BYTES_MAX);
        Self { generation, socket, message, entries: 0, sent: 0, dropped: 0, gone: false }
    }

    /// Whose packets it carries.
    pub(crate) fn generation(&self) -> u32 {
        self.generation
    }

    /// Whether the other process has ended: its connections are gone too.
    pub(crate) fn is_gone(&self) -> bool {
        self.gone
    }

    /// Adds a datagram; call [`Self::flush`] when no more are at hand.
    pub(crate) fn push(&mut self, from: SocketAddr, datagram: &[u8]) {
        let Ok(length) = u16::try_from(datagram.len()) else { return };
        if self.message.len() + HEAD_BYTES_MAX + datagram.len() > MESSAGE_BYTES_MAX {
            self.flush();
        }
        self.message.extend(length.to_be_bytes());
        match from.ip() {
            IpAddr::V4(ip) => {
                self.message.push(4);
                self.message.extend(ip.octets());
            }
            IpAddr::V6(ip) => {
                self.message.push(6);
                self.message.extend(ip.octets());
            }
        }
        self.message.extend(from.port().to_be_bytes());
        self.message.extend(datagram);
        self.entries += 1;
    }

    /// Sends what was added.
    pub(crate) fn flush(&mut self) {
        let entries = std::mem::take(&mut self.entries);
        if entries == 0 {
            return;
        }
        let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL;
        match send(self.socket.as_raw_fd(), &self.message, flags) {
            Ok(_) => self.sent += entries,
            // Whom they were for is gone too.
            Err(Errno::EPIPE | Errno::ECONNRESET | Errno::ENOTCONN | Errno::ECONNREFUSED) => self.gone = true,
            Err(_) => self.dropped += entries,
        }
        self.message.clear();
    }
}

/// The receiving end, in the predecessor.
#[derive(Debug)]
pub(crate) struct Inlet {
    socket: OwnedFd,
}

impl std::os::fd::AsRawFd for Inlet {
    fn as_raw_fd(&self) -> RawFd {
        self.socket.as_raw_fd()
    }
}

/// What [`Inlet::receive`] found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Received {
    /// One message; more may be there.
    Message,
    /// Nothing now.
    Nothing,
    /// The other process has ended, or has closed this way.
    End,
}

impl Inlet {
    pub(crate) fn new(socket: OwnedFd) -> Self {
        Self { socket }
    }

    /// A buffer for [`Self::receive`].
    pub(crate) fn buffer() -> Box<[u8]> {
        vec![0; MESSAGE_BYTES_MAX].into()
    }

    /// Reads one message and gives each datagram of it to `handle`.
    pub(crate) fn receive(&self, buffer: &mut [u8], mut handle: impl FnMut(SocketAddr, &[u8])) -> Received {
        match recv(self.socket.as_raw_fd(), buffer, MsgFlags::MSG_DONTWAIT) {
            Ok(0) => Received::End,
            Ok(length) => {
                let mut rest = &buffer[..length];
                while let Some((from, datagram, tail)) = split(rest) {
                    handle(from, datagram);
                    rest = tail;
                }
                Received::Message
            }
            Err(Errno::EAGAIN | Errno::EINTR) => Received::Nothing,
            Err(error) => {
                tracing::warn!(%error, "forwarded packets");
                Received::End
            }
        }
    }
}

/// The first entry and the rest.
fn split(bytes: &[u8]) -> Option<(SocketAddr, &[u8], &[u8])> {
    let (length, rest) = bytes.split_first_chunk::<2>()?;
    let (family, rest) = rest.split_first()?;
    let (ip, rest) = match family {
        4 => rest.split_first_chunk::<4>().map(|(ip, rest)| (IpAddr::from(*ip), rest))?,
        6 => rest.split_first_chunk::<16>().map(|(ip, rest)| (IpAddr::from(*ip), rest))?,
        _ => return None,
    };
    let (port, rest) = rest.split_first_chunk::<2>()?;
    let (datagram, rest) = rest.split_at_checked(usize::from(u16::from_be_bytes(*length)))?;
    Some((SocketAddr::new(ip, u16::from_be_bytes(*port)), datagram, rest))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn drain(inlet: &Inlet) -> (Vec<(SocketAddr, Vec<u8>)>, Received) {
        let (mut got, mut buffer) = (Vec::new(), Inlet::buffer());
        loop {
            match inlet.receive(&mut buffer, |from, datagram| got.push((from, datagram.to_vec()))) {
                Received::Message => {}
                other => return (got, other),
            }
        }
    }

    proptest! {
        #[test]
        fn datagrams_come_out_as_they_went_in(
            datagrams in proptest::collection::vec(
                (any::<bool>(), any::<u16>(), proptest::collection::vec(any::<u8>(), 0..1500)), 0..90),
        ) {
            let (near, far) = forwarding_pair().unwrap();
            let (mut forwarder, inlet) = (Forwarder::new(3, near), Inlet::new(far));
            let from = |v6: bool, port: u16| match v6 {
                true => SocketAddr::from(([0, 1, 2, 3, 4, 5, 6, port], port)),
                false => SocketAddr::from(([192, 0, 2, 1], port)),
            };
            let mut want = Vec::new();
            for (v6, port, bytes) in datagrams {
                forwarder.push(from(v6, port), &bytes);
                want.push((from(v6, port), bytes));
            }
            forwarder.flush();
            prop_assert_eq!(drain(&inlet), (want.clone(), Received::Nothing));
            prop_assert_eq!((forwarder.sent, forwarder.dropped), (want.len() as u64, 0));
        }

        #[test]
        fn noise_on_the_way_is_harmless(noise in proptest::collection::vec(any::<u8>(), 1..200)) {
            let (near, far) = forwarding_pair().unwrap();
            send(near.as_raw_fd(), &noise, MsgFlags::empty()).unwrap();
            let mut buffer = Inlet::buffer();
            prop_assert_eq!(Inlet::new(far).receive(&mut buffer, |_, _| ()), Received::Message);
        }
    }

    #[test]
    fn what_finds_no_room_is_dropped_whole_and_counted() {
        let (near, far) = forwarding_pair().unwrap();
        let (mut forwarder, inlet) = (Forwarder::new(1, near), Inlet::new(far));
        let from = SocketAddr::from(([127, 0, 0, 1], 1));
        let mut pushed = 0u64;
        while forwarder.dropped == 0 {
            forwarder.push(from, &[7; 1200]);
            pushed += 1;
            assert!(pushed < 100_000, "the kernel has no bound?");
        }
        forwarder.flush();
        let (got, _) = drain(&inlet);
        assert_eq!(got.len() as u64, forwarder.sent);
        assert_eq!(forwarder.sent + forwarder.dropped, pushed);
        assert!(got.iter().all(|(_, datagram)| datagram[..] == [7; 1200]));
        forwarder.push(from, b"again");
        forwarder.flush();
        assert_eq!(drain(&inlet).0.len(), 1);
    }

    #[test]
    fn either_end_sees_that_the_other_has_gone() {
        let from = SocketAddr::from(([127, 0, 0, 1], 1));
        let (near, far) = forwarding_pair().unwrap();
        let mut forwarder = Forwarder::new(1, near);
        drop(far);
        forwarder.push(from, b"x");
        forwarder.flush();
        assert!(forwarder.is_gone());
        let (near, far) = forwarding_pair().unwrap();
        let mut forwarder = Forwarder::new(1, near);
        forwarder.push(from, b"last words");
        forwarder.flush();
        drop(forwarder);
        let (got, end) = drain(&Inlet::new(far));
        assert_eq!((got.len(), end), (1, Received::End));
    }
}
