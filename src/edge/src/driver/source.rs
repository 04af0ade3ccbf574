//! Where a shard's datagrams come from: its socket, or, when another process reads that, what this one sends on.

use std::io;
use std::net::{SocketAddr, UdpSocket};

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use super::register;
use crate::cid::{Owner, ShardCids, destination};
use crate::forward::{Forwarder, Inlet, Received};
use crate::socket::Receiver;

/// The socket of a shard, read or not. It is written to in either case.
pub(super) enum Source {
    Reading(AsyncFd<UdpSocket>),
    /// Datagrams wait in the kernel, for whoever reads next.
    Silent(UdpSocket),
}

impl Source {
    pub(super) fn new(socket: UdpSocket, reading: bool) -> io::Result<Self> {
        Ok(if reading { Self::Reading(register(socket)?) } else { Self::Silent(socket) })
    }

    pub(super) fn socket(&self) -> &UdpSocket {
        match self {
            Self::Reading(socket) => socket.get_ref(),
            Self::Silent(socket) => socket,
        }
    }

    /// Begins or stops to read.
    pub(super) fn set_reading(self, reading: bool) -> io::Result<Self> {
        match (self, reading) {
            (Self::Silent(socket), true) => Ok(Self::Reading(register(socket)?)),
            (Self::Reading(socket), false) => Ok(Self::Silent(socket.into_inner())),
            (same, _) => Ok(same),
        }
    }

    /// Waits until there is something to read. Cancel safe.
    pub(super) async fn readable(&self) -> io::Result<()> {
        match self {
            Self::Reading(socket) => {
                socket.readable().await?.retain_ready();
                Ok(())
            }
            Self::Silent(_) => std::future::pending().await,
        }
    }

    /// Reads one batch. Returns whether more may wait.
    pub(super) fn receive(&self, receiver: &mut Receiver, handle: impl FnMut(SocketAddr, &[u8])) -> bool {
        let Self::Reading(socket) = self else { return false };
        let more = match receiver.receive(socket.get_ref(), handle) {
            Ok(more) => more,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => false,
            // An ICMP error of an earlier send, reported here; the socket is fine.
            Err(error) => {
                tracing::debug!(%error, "receive");
                return false;
            }
        };
        if !more {
            // The queue was empty at the end of the call, and what comes later raises a new edge of epoll. Telling
            // tokio so saves every wake-up a second system call that finds nothing.
            let nothing = |_: &UdpSocket| Err::<(), _>(io::ErrorKind::WouldBlock.into());
            let _ = socket.try_io(Interest::READABLE, nothing);
        }
        more
    }
}

/// What comes from the process that reads the socket.
pub(super) struct Forwarded {
    inlet: AsyncFd<Inlet>,
    buffer: Box<[u8]>,
}

/// Messages of forwarded datagrams read in one turn; each holds what one batch of the other process had for this shard.
const MESSAGES_PER_TURN: usize = 4;

impl Forwarded {
    pub(super) fn new(inlet: Inlet) -> io::Result<Self> {
        Ok(Self { inlet: register(inlet)?, buffer: Inlet::buffer() })
    }

    /// Reads what is there, within a turn's share. `false`: nothing will come any more.
    pub(super) fn receive(&mut self, mut handle: impl FnMut(SocketAddr, &[u8])) -> bool {
        for _ in 0..MESSAGES_PER_TURN {
            match self.inlet.get_ref().receive(&mut self.buffer, &mut handle) {
                Received::Message => {}
                Received::Nothing => {
                    let nothing = |_: &Inlet| Err::<(), _>(io::ErrorKind::WouldBlock.into());
                    let _ = self.inlet.try_io(Interest::READABLE, nothing);
                    return true;
                }
                Received::End => return false,
            }
        }
        true
    }
}

/// Waits until forwarded datagrams are there; for ever without such a way. Cancel safe.
pub(super) async fn forwarded(forwarded: Option<&Forwarded>) -> io::Result<()> {
    match forwarded {
        Some(forwarded) => {
            forwarded.inlet.readable().await?.retain_ready();
            Ok(())
        }
        None => std::future::pending().await,
    }
}

/// The ways to processes that still hold connections of earlier generations.
pub(super) struct Predecessors {
    owner: Owner,
    cids: ShardCids,
    forwarders: Vec<Forwarder>,
    /// What forwarders that are gone have counted.
    sent: u64,
    dropped: u64,
}

impl Predecessors {
    pub(super) fn new(cids: ShardCids, owner: Owner) -> Self {
        Self { owner, cids, forwarders: Vec::new(), sent: 0, dropped: 0 }
    }

    /// Adds a way, or replaces the one of the same generation.
    pub(super) fn add(&mut self, forwarder: Forwarder) {
        let generation = forwarder.generation();
        self.remove(|known| known.generation() == generation);
        self.forwarders.push(forwarder);
    }

    /// Takes a datagram that belongs to one of them. `false`: it is this process's.
    ///
    /// Only the id decides, decrypted: who has not seen one of ours cannot make one, and who has can reach its owner and
    /// nobody else.
    pub(super) fn take(&mut self, from: SocketAddr, datagram: &[u8]) -> bool {
        if self.forwarders.is_empty() {
            return false;
        }
        let Some(Owner { node, shard, generation }) =
            destination(datagram).and_then(|cid| self.cids.owner_of(cid))
        else {
            return false;
        };
        if (node, shard) != (self.owner.node, self.owner.shard) {
            return false;
        }
        match self.forwarders.iter_mut().find(|forwarder| forwarder.generation() == generation) {
            Some(forwarder) => {
                forwarder.push(from, datagram);
                true
            }
            None => false,
        }
    }

    /// Sends what was taken. A process that has ended is forgotten: its connections are reset from now on.
    pub(super) fn flush(&mut self) {
        self.forwarders.iter_mut().for_each(Forwarder::flush);
        self.remove(Forwarder::is_gone);
    }

    fn remove(&mut self, which: impl Fn(&Forwarder) -> bool) {
        let (sent, dropped) = (&mut self.sent, &mut self.dropped);
        self.forwarders.retain(|forwarder| {
            let remove = which(forwarder);
            if remove {
                *sent += forwarder.sent;
                *dropped += forwarder.dropped;
            }
            !remove
        });
    }

    /// Datagrams that went to them, and that found no room.
    pub(super) fn counts(&self) -> (u64, u64) {
        let sum = |count: fn(&Forwarder) -> u64| self.forwarders.iter().map(count).sum::<u64>();
        (self.sent + sum(|forwarder| forwarder.sent), self.dropped + sum(|forwarder| forwarder.dropped))
    }
}
