//! A process that has handed over and still has clients: its sessions live on this process's backend, its packets
//! come through this process's sockets.

use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use nearport_edge::{Attachment, Edge, forwarding_pair};
use nearport_trunk::Backend;
use nearport_trunk::remote::{RemoteLink, Served, serve};

use crate::control::{Answer, Channel, ControlError, Order};

/// How long a shard of the other process may take for what it is told. It adopts some 100,000 sessions in a second.
const ORDER_MAX: Duration = Duration::from_secs(15);

/// A process of an earlier generation.
#[derive(Debug)]
pub(crate) struct Predecessor {
    pub(crate) generation: u32,
    pub(crate) channel: Channel,
    served: Vec<Served>,
}

impl Predecessor {
    pub(crate) fn new(generation: u32, channel: Channel) -> Self {
        Self { generation, channel, served: Vec::new() }
    }

    /// Gives its shards links to `backend`, and its packets a way through `edge`. When it returns, the backend knows all
    /// its sessions.
    pub(crate) fn attach(&mut self, edge: &Edge, backend: &dyn Backend) -> Result<(), ControlError> {
        let (mut given, mut ways) = (Vec::new(), Vec::new());
        self.served.clear();
        for shard in 0..edge.shards() {
            let (theirs, ours) = UnixStream::pair()?;
            let name = format!("g{}-{shard}", self.generation);
            self.served.push(serve(ours, &name, backend)?);
            let (near, far) = forwarding_pair()?;
            given.extend([OwnedFd::from(theirs), far]);
            ways.push(near);
        }
        // Before its sessions are told: what they send comes through us.
        edge.forward(self.generation, ways);
        self.channel.send(&Order::Attach, &borrowed(&given))?;
        drop(given);
        match self.channel.answer(ORDER_MAX)?.0 {
            Answer::Attached => Ok(()),
            other => Err(ControlError::Garbled(format!("{other:?}"))),
        }
    }

    /// Has its shards send nothing more to our backend. When it returns, all that they sent is with it.
    pub(crate) fn park(&self) -> Result<(), ControlError> {
        self.channel.send(&Order::Park, &[])?;
        match self.channel.answer(ORDER_MAX)?.0 {
            Answer::Parked => {}
            other => return Err(ControlError::Garbled(format!("{other:?}"))),
        }
        let deadline = Instant::now() + ORDER_MAX;
        match self.served.iter().all(|served| served.wait_for_finish(deadline)) {
            true => Ok(()),
            false => Err(ControlError::Timeout),
        }
    }

    /// Sends it what the backend has still said. Call it when the backend has ended.
    pub(crate) fn finish(&mut self) {
        self.served.drain(..).for_each(Served::finish);
    }

    /// Whether it has gone, with all its sessions.
    pub(crate) fn is_gone(&self) -> bool {
        self.served.iter().all(Served::is_ended)
    }
}

/// The other side of [`Predecessor::attach`]: takes the links and goes on with them.
pub(crate) fn take_links(edge: &Edge, descriptors: Vec<OwnedFd>) -> Result<(), String> {
    if descriptors.len() != 2 * edge.shards() {
        return Err(format!("{} descriptors for {} shards", descriptors.len(), edge.shards()));
    }
    let (mut attachments, mut descriptors) = (Vec::new(), descriptors.into_iter());
    for shard in 0..edge.shards() {
        let (Some(stream), inlet) = (descriptors.next(), descriptors.next()) else { break };
        let link = RemoteLink::start(UnixStream::from(stream), &format!("link-{shard}"), edge.waker(shard));
        let link = Box::new(link.map_err(|error| error.to_string())?);
        attachments.push(Attachment { link, inlet });
    }
    edge.attach(attachments, Instant::now() + ORDER_MAX).map_err(|error| error.to_string())
}

pub(crate) fn borrowed(descriptors: &[OwnedFd]) -> Vec<BorrowedFd<'_>> {
    descriptors.iter().map(OwnedFd::as_fd).collect()
}
