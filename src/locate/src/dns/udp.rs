//! Datagrams: a thread and a socket for each core, batches in both directions.

use std::io::{IoSlice, IoSliceMut};
use std::net::{IpAddr, UdpSocket};
use std::os::fd::AsRawFd as _;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::socket::{MsgFlags, MultiHeaders, SockaddrStorage, recvmmsg, sendmmsg};

use super::metrics::Tally;
use super::respond::{Transport, UDP_BYTES_MAX, respond};
use super::responder::Responder;
use crate::limit::Limiter;
use crate::network::Network;

/// Datagrams that one system call reads or writes.
const BATCH: usize = 64;
/// What is asked for while calls bring fewer: each place costs some nanoseconds to prepare, used or not.
const BATCH_QUIET: usize = 8;
/// Octets of a query that are read; what is cut off is malformed. Queries have some hundred at most.
const QUERY_BYTES_MAX: usize = 1_232;
/// Of the answers that a network does not get any more, every n-th tells it to come over TCP: who is forged hears little, who is real
/// gets through.
const SLIP: u64 = 2;
/// How long reading rests when it does not work.
const REST: Duration = Duration::from_millis(100);

/// One thread's part.
pub(crate) struct Worker {
    socket: UdpSocket,
    gate: Gate,
    started: Instant,
    received: Vec<u8>,
    answers: Vec<u8>,
    reading: MultiHeaders<SockaddrStorage>,
    writing: MultiHeaders<SockaddrStorage>,
    /// Datagrams that the next call asks for.
    max: usize,
}

impl Worker {
    /// `socket` blocks, with a time limit after which [`Worker::run`] looks whether it is to stop. `rate`: answers of one network in a
    /// second; 0: unlimited.
    pub(crate) fn new(socket: UdpSocket, rate: u16) -> Self {
        Self {
            socket,
            gate: Gate::new(rate),
            started: Instant::now(),
            received: vec![0; BATCH * QUERY_BYTES_MAX],
            answers: vec![0; BATCH * UDP_BYTES_MAX],
            reading: MultiHeaders::preallocate(BATCH, None),
            writing: MultiHeaders::preallocate(BATCH, None),
            max: BATCH_QUIET,
        }
    }

    /// Answers until it is told to stop.
    pub(crate) fn run(mut self, responder: &Responder, stop: &AtomicBool) {
        let mut tally = Tally::default();
        while !stop.load(Ordering::Relaxed) {
            // A panic costs one batch, and is a bug to hear of.
            let turn = catch_unwind(AssertUnwindSafe(|| self.turn(responder, &mut tally)));
            let rest = rest_after(&turn);
            tally.failed += u64::from(rest.is_some());
            tally.flush(&responder.metrics);
            if let Some(rest) = rest {
                std::thread::park_timeout(rest);
            }
        }
    }

    /// One batch: waits for the first datagram, takes what is there, answers all.
    fn turn(&mut self, responder: &Responder, tally: &mut Tally) -> nix::Result<()> {
        let mut places = self.received.chunks_exact_mut(QUERY_BYTES_MAX);
        let mut slices: [[IoSliceMut<'_>; 1]; BATCH] =
            std::array::from_fn(|_| [IoSliceMut::new(places.next().unwrap_or_default())]);
        let slices = slices.iter_mut().take(self.max);
        let flags = MsgFlags::MSG_WAITFORONE;
        let batch = recvmmsg(self.socket.as_raw_fd(), &mut self.reading, slices, flags, None)?;
        let now_ms = u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX);
        let view = responder.view();
        let mut to = [None; BATCH];
        let mut lengths = [0; BATCH];
        let (mut count, mut seen) = (0, 0);
        for message in batch {
            seen += 1;
            let Some((address, source)) =
                message.address.and_then(|address| Some((address, ip_of(&address)?)))
            else {
                continue;
            };
            let packet = message.iovs().next().unwrap_or_default();
            let Some(transport) = self.gate.admit(source, now_ms, tally) else { continue };
            let out = &mut self.answers[count * UDP_BYTES_MAX..(count + 1) * UDP_BYTES_MAX];
            let answered = respond(packet, source, transport, &view.zone, &view, out);
            tally.count(answered.as_ref());
            if let Some(answered) = answered {
                (to[count], lengths[count]) = (Some(address), answered.bytes);
                count += 1;
            }
        }
        self.max = if seen >= BATCH_QUIET { BATCH } else { BATCH_QUIET };
        // Who has an answer finds it counted.
        tally.flush(&responder.metrics);
        self.send(&to[..count], &lengths[..count], tally);
        Ok(())
    }

    /// Sends the batch; what the system does not take now is lost, as on the way: resolvers ask again.
    fn send(&mut self, to: &[Option<SockaddrStorage>], lengths: &[usize], tally: &mut Tally) {
        let mut sent = 0;
        while sent < to.len() {
            let answers = self.answers.chunks_exact(UDP_BYTES_MAX).zip(lengths).skip(sent);
            let mut answers = answers.map(|(place, length)| &place[..*length]);
            let slices: [[IoSlice<'_>; 1]; BATCH] =
                std::array::from_fn(|_| [IoSlice::new(answers.next().unwrap_or_default())]);
            let left = &to[sent..];
            let slices = slices.iter().take(left.len());
            let flags = MsgFlags::MSG_DONTWAIT;
            match sendmmsg(self.socket.as_raw_fd(), &mut self.writing, slices, left, [], flags) {
                Ok(results) => sent += results.count().max(1),
                Err(Errno::EAGAIN) => {
                    tally.unsent += (to.len() - sent) as u64;
                    return;
                }
                // About this one: a port 0, a network that cannot be reached.
                Err(_) => {
                    tally.unsent += 1;
                    sent += 1;
                }
            }
        }
    }
}

/// Says what went wrong with a batch, and for how long reading rests: what fails at once would fail at once again, and take a core for it.
fn rest_after(turn: &std::thread::Result<nix::Result<()>>) -> Option<Duration> {
    match turn {
        // A signal, the time limit, and what the network said about an answer: all no reason to rest.
        Ok(Ok(()) | Err(Errno::EINTR | Errno::EAGAIN | Errno::ECONNREFUSED)) => return None,
        // No memory, say.
        Ok(Err(error)) => tracing::warn!(%error, "dns: reading datagrams"),
        Err(_) => tracing::error!("dns: a batch was given up"),
    }
    Some(REST)
}

fn ip_of(address: &SockaddrStorage) -> Option<IpAddr> {
    if let Some(v4) = address.as_sockaddr_in() {
        return Some(v4.ip().into());
    }
    Some(IpAddr::V6(address.as_sockaddr_in6()?.ip()).to_canonical())
}

/// Who is answered how.
struct Gate {
    limiter: Limiter,
    limited: u64,
}

impl Gate {
    fn new(rate: u16) -> Self {
        Self { limiter: Limiter::new(rate, rate), limited: 0 }
    }

    /// `None`: not at all.
    fn admit(&mut self, source: IpAddr, now_ms: u64, tally: &mut Tally) -> Option<Transport> {
        if source.is_loopback() || self.limiter.take(Network::of(source), now_ms) {
            return Some(Transport::Udp);
        }
        self.limited += 1;
        if self.limited.is_multiple_of(SLIP) {
            tally.truncated += 1;
            return Some(Transport::UdpLimited);
        }
        tally.dropped += 1;
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reading_rests_when_it_does_not_work() {
        for quiet in [Ok(()), Err(Errno::EINTR), Err(Errno::EAGAIN), Err(Errno::ECONNREFUSED)] {
            assert_eq!(rest_after(&Ok(quiet)), None, "{quiet:?}");
        }
        for error in [Errno::ENOBUFS, Errno::ENOMEM, Errno::EBADF] {
            assert_eq!(rest_after(&Ok(Err(error))), Some(REST), "{error}");
        }
        assert_eq!(rest_after(&Err(Box::new("a panic"))), Some(REST));
    }

    #[test]
    fn who_is_over_the_rate_hears_every_second_time_to_come_over_tcp() {
        let (mut gate, mut tally) = (Gate::new(10), Tally::default());
        let victim: IpAddr = "192.0.2.1".parse().unwrap();
        let mut said = |source, now_ms| {
            let all = (0..30).map(|_| gate.admit(source, now_ms, &mut tally));
            let all: Vec<_> = all.collect();
            let count = |one| all.iter().filter(|said| **said == one).count();
            (count(Some(Transport::Udp)), count(Some(Transport::UdpLimited)), count(None))
        };
        assert_eq!(said(victim, 0), (10, 10, 10));
        assert_eq!(said("192.0.2.200".parse().unwrap(), 0), (0, 15, 15), "the same network");
        assert_eq!(said("198.51.100.1".parse().unwrap(), 0), (10, 10, 10), "another one has its own");
        assert_eq!(said("::1".parse().unwrap(), 0), (30, 0, 0));
        assert_eq!(said(victim, 1_000), (10, 10, 10), "a second later");
        assert_eq!((tally.dropped, tally.truncated), (45, 45));
        let mut open = Gate::new(0);
        assert!((0..1_000).all(|_| open.admit(victim, 0, &mut tally) == Some(Transport::Udp)));
    }
}
