//! Writing datagrams in batches.
//!
//! One `sendmmsg` serves many clients. Datagrams of one size to one client that follow each other, as those of a page
//! do, go as a train: one message that the kernel (or the network card) cuts up again (`UDP_SEGMENT`). A system that does not take trains says
//! so by an error, and then the same datagrams go singly, now and from then on.

use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::os::fd::AsRawFd;

use nix::errno::Errno;
use nix::sys::socket::{ControlMessage, MsgFlags, MultiHeaders, SockaddrStorage, sendmmsg};

use super::BATCH;

/// Datagrams in a train: the least that kernels take (`UDP_MAX_SEGMENTS`). A batch has no more anyway.
const TRAIN_MAX: usize = 64;

/// Bytes in a train: below what an IPv4 packet holds.
const TRAIN_BYTES_MAX: usize = 65_000;

/// One datagram to send.
#[derive(Debug)]
pub(crate) struct Outgoing {
    pub(crate) to: SocketAddr,
    pub(crate) bytes: Vec<u8>,
}

/// Headers for writing a batch, allocated once.
pub(crate) struct Sender {
    plain: MultiHeaders<SockaddrStorage>,
    /// With room for the size of trains.
    trains: MultiHeaders<SockaddrStorage>,
    addresses: Vec<Option<SockaddrStorage>>,
    /// How many datagrams each message of the batch has.
    lengths: Vec<usize>,
    /// Whether the system takes trains, as far as is known.
    segments: bool,
    /// For the test of what an error does.
    #[cfg(test)]
    refuse_trains: Option<Errno>,
}

impl Sender {
    pub(crate) fn new() -> Self {
        Self {
            plain: MultiHeaders::preallocate(BATCH, None),
            trains: MultiHeaders::preallocate(BATCH, Some(nix::cmsg_space!(u16))),
            addresses: Vec::with_capacity(BATCH),
            lengths: Vec::with_capacity(BATCH),
            segments: true,
            #[cfg(test)]
            refuse_trains: None,
        }
    }

    /// Whether datagrams of one size to one client go as trains. Once the system has refused one they do not.
    pub(crate) fn sends_trains(&self) -> bool {
        self.segments
    }

    /// Writes datagrams from the front with one call, at most [`BATCH`]. Returns how many the kernel took: fewer
    /// than offered means that the next one failed, or has to wait for a call of its own; the next call says which.
    ///
    /// # Errors
    /// `WouldBlock` if the socket buffer is full; otherwise the error of the first datagram, which is then skipped
    /// by the caller: QUIC repeats what matters.
    pub(crate) fn send(&mut self, socket: &impl AsRawFd, batch: &[Outgoing]) -> io::Result<usize> {
        let batch = &batch[..batch.len().min(BATCH)];
        let size = plan(batch, self.segments, &mut self.lengths);
        let mut sent = self.send_planned(socket, batch, size);
        // EIO: the device cannot checksum trains. EINVAL: its packets are smaller than ours, or the system has no trains. But EINVAL is also
        // a port that nobody can send to: one datagram alone tells.
        if let (Err(Errno::EIO | Errno::EINVAL), true) = (sent, size.is_some()) {
            let was_train = self.lengths[0] > 1;
            self.lengths.clear();
            self.lengths.push(1);
            sent = self.send_planned(socket, &batch[..1], None);
            if was_train && sent.is_ok() {
                tracing::info!("the system does not take trains of datagrams: they go singly");
                self.segments = false;
            }
        }
        match sent {
            Ok(messages) => Ok(self.lengths[..messages].iter().sum()),
            Err(Errno::EAGAIN) => Err(io::ErrorKind::WouldBlock.into()),
            Err(error) => Err(error.into()),
        }
    }

    /// Writes the messages of `lengths`; returns how many the kernel took.
    fn send_planned(
        &mut self,
        socket: &impl AsRawFd,
        batch: &[Outgoing],
        size: Option<u16>,
    ) -> nix::Result<usize> {
        #[cfg(test)]
        if let (Some(error), true) = (self.refuse_trains, size.is_some()) {
            return Err(error);
        }
        let slices: Vec<IoSlice<'_>> = batch.iter().map(|outgoing| IoSlice::new(&outgoing.bytes)).collect();
        self.addresses.clear();
        let mut messages = Vec::with_capacity(self.lengths.len());
        let mut at = 0;
        for length in &self.lengths {
            self.addresses.push(Some(SockaddrStorage::from(batch[at].to)));
            messages.push(&slices[at..at + length]);
            at += length;
        }
        let (fd, flags, addresses) = (socket.as_raw_fd(), MsgFlags::MSG_DONTWAIT, &self.addresses[..]);
        let sent = match &size {
            None => sendmmsg(fd, &mut self.plain, &messages, addresses, [], flags)?,
            Some(size) => {
                let size = [ControlMessage::UdpGsoSegments(size)];
                sendmmsg(fd, &mut self.trains, &messages, addresses, size, flags)?
            }
        };
        Ok(sent.count())
    }
}

/// Makes messages of the datagrams in front: puts how many each has into `lengths`, and returns the size of their
/// trains, if there are any.
///
/// One call has one size for all its messages. A datagram that is larger, or a train of another size, waits for the
/// next call; a single smaller one is not cut up by it.
fn plan(batch: &[Outgoing], segments: bool, lengths: &mut Vec<usize>) -> Option<u16> {
    lengths.clear();
    if !segments {
        lengths.resize(batch.len(), 1);
        return None;
    }
    let mut size = None;
    let mut largest = 0;
    let mut at = 0;
    while let Some(first) = batch.get(at) {
        let len = first.bytes.len();
        let train = train(&batch[at..]);
        let fits = match size {
            None => train == 1 || len >= largest,
            Some(size) => len <= size && (train == 1 || len == size),
        };
        if !fits {
            break;
        }
        if train > 1 {
            size = Some(len);
        }
        largest = largest.max(len);
        lengths.push(train);
        at += train;
    }
    size.map(|size| u16::try_from(size).expect("a train is bounded by bytes"))
}

/// How many of the datagrams in front can go as one: all of one size, but for a smaller last one.
fn train(batch: &[Outgoing]) -> usize {
    let (to, len) = (batch[0].to, batch[0].bytes.len());
    let max = TRAIN_MAX.min(TRAIN_BYTES_MAX / len.max(1)).max(1);
    let mut count = 1;
    while count < max
        && let Some(next) = batch.get(count)
        && next.to == to
        && next.bytes.len() <= len
        && !next.bytes.is_empty()
    {
        count += 1;
        if next.bytes.len() < len {
            break;
        }
    }
    count
}

#[cfg(test)]
mod tests {
    use std::net::UdpSocket;

    use proptest::prelude::*;

    use super::*;

    fn address(port: u16) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], port))
    }

    proptest! {
        /// Whatever the sizes and receivers, a plan covers the front of the batch in order, and what the kernel makes of
        /// it is the datagrams themselves.
        #[test]
        fn what_the_kernel_cuts_up_is_what_was_sent(
            batch in proptest::collection::vec((1u16..3, prop_oneof![Just(1200usize), 1usize..1500]), 1..64),
        ) {
            let batch: Vec<Outgoing> = batch
                .into_iter()
                .map(|(port, len)| Outgoing { to: address(port), bytes: vec![0; len] })
                .collect();
            let mut lengths = Vec::new();
            let (mut at, mut calls) = (0, 0);
            while at < batch.len() {
                calls += 1;
                let size = plan(&batch[at..], true, &mut lengths);
                prop_assert!(!lengths.is_empty(), "a call makes progress");
                for length in &lengths {
                    let message = &batch[at..at + length];
                    let total: usize = message.iter().map(|outgoing| outgoing.bytes.len()).sum();
                    prop_assert!(message.iter().all(|outgoing| outgoing.to == message[0].to));
                    prop_assert!(total <= TRAIN_BYTES_MAX.max(message[0].bytes.len()));
                    // The kernel cuts a message every `size` bytes.
                    let size = size.map_or(total, usize::from);
                    let cut: Vec<usize> = (0..total).step_by(size).map(|from| size.min(total - from)).collect();
                    let sent: Vec<usize> = message.iter().map(|outgoing| outgoing.bytes.len()).collect();
                    prop_assert_eq!(cut, sent);
                    at += length;
                }
            }
            prop_assert!(calls <= batch.len());
        }
    }

    /// What arrives of `batch` at sockets that `to` gives, and whether trains were still sent afterwards.
    fn deliver(refuse_trains: Option<Errno>) -> bool {
        let receivers = [(); 2].map(|()| UdpSocket::bind(address(0)).unwrap());
        let socket = UdpSocket::bind(address(0)).unwrap();
        let mut sender = Sender { refuse_trains, ..Sender::new() };
        let to = |at: usize| receivers[at].local_addr().unwrap();
        // Two trains with a shorter end each, single datagrams between, one that is larger than the trains.
        let sizes: [(usize, usize); 13] = [
            (0, 40),
            (0, 1200),
            (0, 1200),
            (0, 1200),
            (0, 700),
            (1, 30),
            (1, 1200),
            (1, 1200),
            (1, 1300),
            (0, 9),
            (0, 500),
            (0, 500),
            (0, 500),
        ];
        let mut batch: Vec<Outgoing> = sizes
            .iter()
            .zip(0u8..)
            .map(|((receiver, len), number)| Outgoing { to: to(*receiver), bytes: vec![number; *len] })
            .collect();
        let mut calls = 0;
        while !batch.is_empty() {
            let sent = sender.send(&socket, &batch).unwrap();
            assert!(sent > 0);
            batch.drain(..sent);
            calls += 1;
        }
        assert!(calls <= 4, "{calls} calls");
        for (at, receiver) in receivers.iter().enumerate() {
            for ((_, len), number) in sizes.iter().zip(0u8..).filter(|((receiver, _), _)| *receiver == at) {
                let mut buffer = [0; 2000];
                let received = receiver.recv(&mut buffer).unwrap();
                assert_eq!(buffer[..received], vec![number; *len][..]);
            }
            receiver.set_nonblocking(true).unwrap();
            assert!(receiver.recv(&mut [0; 2000]).is_err(), "and nothing twice");
        }
        sender.sends_trains()
    }

    #[test]
    fn trains_arrive_as_datagrams_in_order() {
        // Where the kernel has no trains this is the test of the fall-back.
        deliver(None);
    }

    #[test]
    fn an_error_for_trains_loses_nothing_and_ends_them() {
        assert!(!deliver(Some(Errno::EIO)));
        assert!(!deliver(Some(Errno::EINVAL)));
    }

    #[test]
    fn a_receiver_that_nobody_can_send_to_does_not_end_trains() {
        let able = deliver(None);
        let (socket, receiver) = (UdpSocket::bind(address(0)).unwrap(), UdpSocket::bind(address(0)).unwrap());
        let mut sender = Sender::new();
        let of = |to, number| Outgoing { to, bytes: vec![number; 1200] };
        let somewhere = receiver.local_addr().unwrap();
        for nowhere in [vec![of(address(0), 1)], vec![of(address(0), 1), of(address(0), 1)]] {
            let lost = nowhere.len();
            let mut batch = nowhere;
            batch.extend([of(somewhere, 2), of(somewhere, 3)]);
            for _ in 0..lost {
                let error = sender.send(&socket, &batch).unwrap_err();
                assert_eq!(error.raw_os_error(), Some(libc::EINVAL));
                batch.remove(0);
            }
            while !batch.is_empty() {
                let sent = sender.send(&socket, &batch).unwrap();
                batch.drain(..sent);
            }
            for number in [2, 3] {
                let mut buffer = [0; 2000];
                let received = receiver.recv(&mut buffer).unwrap();
                assert_eq!(buffer[..received], [number; 1200]);
            }
        }
        assert_eq!(sender.sends_trains(), able, "that was about the port");
        sender.refuse_trains = Some(Errno::EINVAL);
        sender.send(&socket, &[of(address(0), 1), of(somewhere, 2), of(somewhere, 3)]).unwrap_err();
        assert_eq!(sender.sends_trains(), able);
    }
}
