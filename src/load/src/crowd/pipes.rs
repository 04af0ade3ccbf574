//! The sockets of a thread, read and written in batches.
//!
//! One message is a burst to every member at once, so a socket is shared by some hundred of them and has a large buffer. Members take
//! sockets in turn: neighbours have different addresses, as strangers do, and a server cannot send to several of them as to one.

use std::io::{self, IoSlice, IoSliceMut};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::os::fd::AsRawFd as _;
use std::time::Duration;

use nix::sys::socket::{MsgFlags, MultiHeaders, recvmmsg, sendmmsg};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use socket2::{Domain, Protocol, Socket, Type};

/// Datagrams read or written by one system call.
const BATCH: usize = 64;

/// Longest datagram that is read; our limit towards the server is 1,472.
const DATAGRAM_BYTES_MAX: usize = 2048;

/// Asked for, per socket and direction; `net.core.rmem_max` may give less.
const BUFFER_BYTES: usize = 4 << 20;

/// Waits for a full buffer to empty, in turn: a second in all, then the datagram is lost, as datagrams are.
const FULL_WAIT: Duration = Duration::from_millis(50);
const FULL_WAITS: u32 = 20;

/// Buffers kept for the next datagrams.
const SPARE_MAX: usize = 4 * BATCH;

/// What is to leave, by socket. The pure part fills it, the thread empties it.
#[derive(Debug)]
pub(super) struct Outgoing {
    queues: Vec<Vec<Vec<u8>>>,
    /// Those with something in them.
    filled: Vec<u16>,
    spare: Vec<Vec<u8>>,
}

impl Outgoing {
    pub(super) fn new(pipes: usize) -> Self {
        let queues = std::iter::repeat_with(Vec::new).take(pipes).collect();
        Self { queues, filled: Vec::new(), spare: Vec::new() }
    }

    /// An empty buffer.
    pub(super) fn buffer(&mut self) -> Vec<u8> {
        self.spare.pop().unwrap_or_default()
    }

    /// Gives a buffer back.
    pub(super) fn recycle(&mut self, mut buffer: Vec<u8>) {
        if self.spare.len() < SPARE_MAX {
            buffer.clear();
            self.spare.push(buffer);
        }
    }

    pub(super) fn push(&mut self, pipe: u16, datagram: Vec<u8>) {
        let queue = &mut self.queues[usize::from(pipe)];
        if queue.is_empty() {
            self.filled.push(pipe);
        }
        queue.push(datagram);
    }

    /// The next socket with something to send, and what.
    pub(super) fn take(&mut self) -> Option<(u16, Vec<Vec<u8>>)> {
        let pipe = self.filled.pop()?;
        Some((pipe, std::mem::take(&mut self.queues[usize::from(pipe)])))
    }

    /// Gives back what [`Self::take`] gave, sent.
    pub(super) fn sent(&mut self, pipe: u16, mut datagrams: Vec<Vec<u8>>) {
        datagrams.drain(..).for_each(|datagram| self.recycle(datagram));
        self.queues[usize::from(pipe)] = datagrams;
    }
}

/// A socket towards the server.
///
/// # Errors
/// The operating system's.
pub(super) fn bind(server: SocketAddr) -> io::Result<UdpSocket> {
    let socket = Socket::new(Domain::for_address(server), Type::DGRAM, Some(Protocol::UDP))?;
    socket.set_recv_buffer_size(BUFFER_BYTES)?;
    socket.set_send_buffer_size(BUFFER_BYTES)?;
    socket.set_nonblocking(true)?;
    let any: SocketAddr = match server {
        SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
        SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
    };
    socket.bind(&any.into())?;
    // Saves a look for the route with each datagram, and the sender's address.
    socket.connect(&server.into())?;
    Ok(socket.into())
}

/// Buffers of batches, allocated once.
pub(super) struct Batches {
    incoming: MultiHeaders<()>,
    outgoing: MultiHeaders<()>,
    buffers: Vec<u8>,
}

impl Batches {
    pub(super) fn new() -> Self {
        Self {
            incoming: MultiHeaders::preallocate(BATCH, None),
            outgoing: MultiHeaders::preallocate(BATCH, None),
            buffers: vec![0; BATCH * DATAGRAM_BYTES_MAX],
        }
    }

    /// Reads a batch and gives each datagram to `handle`. `false`: the socket is empty.
    pub(super) fn receive(&mut self, socket: &UdpSocket, mut handle: impl FnMut(&[u8])) -> bool {
        let mut slices: Vec<[IoSliceMut<'_>; 1]> = self
            .buffers
            .chunks_exact_mut(DATAGRAM_BYTES_MAX)
            .map(|buffer| [IoSliceMut::new(buffer)])
            .collect();
        let flags = MsgFlags::MSG_DONTWAIT;
        // An error is news of what was sent (nobody listens there), or that nothing is there. QUIC finds out by itself.
        let Ok(received) = recvmmsg(socket.as_raw_fd(), &mut self.incoming, slices.iter_mut(), flags, None)
        else {
            return false;
        };
        let mut count = 0;
        for message in received {
            count += 1;
            message.iovs().for_each(&mut handle);
        }
        count == BATCH
    }

    /// Sends all of them, waiting for the socket if its buffer is full. What cannot be sent is lost: QUIC repeats what matters.
    pub(super) fn send(&mut self, socket: &UdpSocket, datagrams: &[Vec<u8>]) {
        let (mut at, mut waits) = (0, 0);
        while at < datagrams.len() {
            let batch = &datagrams[at..datagrams.len().min(at + BATCH)];
            let slices: Vec<[IoSlice<'_>; 1]> =
                batch.iter().map(|datagram| [IoSlice::new(datagram)]).collect();
            let to = [None::<()>; BATCH];
            let flags = MsgFlags::MSG_DONTWAIT;
            match sendmmsg(socket.as_raw_fd(), &mut self.outgoing, &slices, &to[..batch.len()], [], flags) {
                Ok(sent) => (at, waits) = (at + sent.count(), 0),
                Err(nix::errno::Errno::EAGAIN) if waits < FULL_WAITS => {
                    waits += 1;
                    let wait = Timespec::try_from(FULL_WAIT).expect("a constant");
                    let _ = poll(&mut [PollFd::new(socket, PollFlags::OUT)], Some(&wait));
                }
                Err(_) => at += 1,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn batches_arrive_whole_and_in_order() {
        let server = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = server.local_addr().unwrap();
        let (here, mut batches, mut outgoing) = (bind(address).unwrap(), Batches::new(), Outgoing::new(3));
        for number in 0..90u8 {
            let mut buffer = outgoing.buffer();
            buffer.extend(std::iter::repeat_n(number, 1 + usize::from(number) * 3));
            outgoing.push(2, buffer);
        }
        let (pipe, datagrams) = outgoing.take().unwrap();
        assert_eq!((pipe, datagrams.len()), (2, 90));
        batches.send(&here, &datagrams);
        outgoing.sent(pipe, datagrams);
        assert!(outgoing.take().is_none() && outgoing.buffer().is_empty());
        let (mut buffer, mut from) = ([0; 2000], None);
        for number in 0..90u8 {
            let (bytes, sender) = server.recv_from(&mut buffer).unwrap();
            assert_eq!(buffer[..bytes], vec![number; 1 + usize::from(number) * 3]);
            from = Some(sender);
        }
        assert!(!batches.receive(&here, |_| panic!("nothing came")));
        for number in 0..70u8 {
            server.send_to(&vec![number; 1 + usize::from(number)], from.unwrap()).unwrap();
        }
        let mut seen = Vec::new();
        while batches.receive(&here, |datagram| seen.push(datagram.to_vec())) {}
        assert_eq!(seen, (0..70u8).map(|number| vec![number; 1 + usize::from(number)]).collect::<Vec<_>>());
    }

    #[test]
    fn nobody_there_is_no_end() {
        let gone = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap();
        let (here, mut batches) = (bind(gone).unwrap(), Batches::new());
        for _ in 0..3 {
            batches.send(&here, &[vec![1; 10], vec![2; 10]]);
            batches.receive(&here, |_| panic!("nothing came"));
        }
    }
}
