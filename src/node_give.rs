//! A hand-over, seen from the process that gives.
//!
//! ```text
//!  new                                    old
//!   │── TakeOver{listen, shards, …} ──────►│  compares; nothing is disturbed yet
//!   │◄── Offer + sockets ──────────────────│
//!   │── Release ──────────────────────────►│  reads no more; its backend finishes; closes the store
//!   │◄── Released + channels ──────────────│
//!   │  opens the store, starts its shards  │
//!   │── Attach + links ───────────────────►│  its sessions go on with the new backend
//!   │◄── Attached ─────────────────────────│
//!   │── Serving ──────────────────────────►│  from here on it only drains
//! ```
//!
//! Until `Serving` the old process can go back: if the new one dies, says nothing for too long or fails, the old one opens
//! the store again and reads its sockets as before. It hangs up first, and a new process that finds itself hung up on ends.

use std::os::fd::{AsFd as _, OwnedFd};
use std::sync::Arc;
use std::time::{Duration, Instant};

use nearport_edge::{Attachment, Edge};
use nearport_trunk::Backend as _;
use nearport_trunk::codec::VERSIONS;

use crate::config::Config;
use crate::control::{Answer, Channel, Claim, ControlError, Offer, Order};
use crate::node::{BackendKind, Error};
use crate::node_backend::Slot;
use crate::node_predecessor::{Predecessor, borrowed, take_links};

/// How long the new process may take to compare the offer with what it has.
const DECISION_MAX: Duration = Duration::from_secs(10);

/// How long the new process may take to open the store and start. Sessions are closed after 30 s without a backend
/// (`edge::shard::switch`), so going back must begin before.
const TAKING_MAX: Duration = Duration::from_secs(20);

/// How long the old process may take to stop reading.
const FREEZE_MAX: Duration = Duration::from_secs(5);

/// How long going back waits for the lock of a new process that is ending.
const GOING_BACK_MAX: Duration = Duration::from_secs(20);

/// Live generations, this one included: session ids tell eight apart, and one is for the process that comes.
pub(crate) const GENERATIONS_MAX: usize = 7;

/// What a node gives away.
#[derive(Debug, Clone)]
pub(crate) struct Estate {
    pub(crate) config: Arc<Config>,
    pub(crate) generation: u32,
    pub(crate) edge: Arc<Edge>,
    pub(crate) backend: Arc<Slot>,
    /// Bound address of the operations server.
    pub(crate) ops: std::net::SocketAddr,
}

/// How a hand-over ended for the one that gives.
#[derive(Debug)]
pub(crate) enum Given {
    /// Everything is the other process's now. The channel leads to it.
    Away(Channel),
    /// It came to nothing and this node serves as before.
    Kept(Vec<Predecessor>),
}

impl Estate {
    pub(crate) fn new(config: &Config, generation: u32, edge: Edge, backend: Slot) -> Self {
        let ops = config.ops.listen;
        Self {
            config: Arc::new(config.clone()),
            generation,
            edge: Arc::new(edge),
            backend: Arc::new(backend),
            ops,
        }
    }

    /// First half: makes an offer and waits for the decision. `None`: thought better of; nothing was disturbed.
    pub(crate) fn offer(
        &self,
        channel: Channel,
        ops: Option<OwnedFd>,
        predecessors: &[u32],
    ) -> Option<Channel> {
        let outcome = self.send_offer(&channel, ops, predecessors).and_then(|()| {
            let (order, _): (Order, _) = channel.recv(DECISION_MAX)?;
            match order {
                Order::Release => Ok(()),
                other => Err(ControlError::Garbled(format!("{other:?}"))),
            }
        });
        match outcome {
            Ok(()) => Some(channel),
            Err(error) => {
                tracing::info!(%error, "the process that wanted to take over did not");
                None
            }
        }
    }

    /// Whether a claim can be met, or why not.
    pub(crate) fn examine(&self, claim: &Claim, predecessors: usize) -> Result<(), String> {
        if self.backend.kind() == BackendKind::Core {
            return Err(
                "an edge without a core of its own cannot be taken over yet: drain it and restart".into()
            );
        }
        let (edge, ops) = (self.edge.local_addr(), self.ops);
        let differs = |asked: std::net::SocketAddr, key: &str, bound: std::net::SocketAddr| {
            let same = asked == bound || (asked.port() == 0 && asked.ip() == bound.ip());
            if same {
                return Ok(());
            }
            Err(format!(
                "{key} is {bound} here and {asked} there: a hand-over keeps it, a restart changes it"
            ))
        };
        if claim.trunk.0 > VERSIONS.1 || claim.trunk.1 < VERSIONS.0 {
            let (oldest, newest) = claim.trunk;
            return Err(format!(
                "the trunk is spoken in versions {} to {} here and {oldest} to {newest} there: restart instead",
                VERSIONS.0, VERSIONS.1
            ));
        }
        differs(claim.edge, "edge.listen", edge)?;
        differs(claim.ops, "ops.listen", ops)?;
        if let Some(shards) = claim.shards.filter(|shards| *shards != self.edge.shards()) {
            let here = self.edge.shards();
            return Err(format!("edge.shards is {here} here and {shards} there: a hand-over keeps it"));
        }
        if claim.tcp != self.config.edge.tcp {
            let here = self.config.edge.tcp;
            return Err(format!("edge.tcp is {here} here and {} there: a hand-over keeps it", claim.tcp));
        }
        if claim.backend != backend_name(self.backend.kind()) {
            let here = backend_name(self.backend.kind());
            return Err(format!("the backend is {here} here and {} there", claim.backend));
        }
        if predecessors + 1 >= GENERATIONS_MAX {
            return Err(format!(
                "{predecessors} processes still drain from earlier hand-overs: wait for them"
            ));
        }
        Ok(())
    }

    fn send_offer(
        &self,
        channel: &Channel,
        ops: Option<OwnedFd>,
        predecessors: &[u32],
    ) -> Result<(), ControlError> {
        let handles = self.edge.handles()?;
        let offer = Offer {
            pid: std::process::id(),
            generation: self.generation,
            predecessors: predecessors.to_vec(),
            edge: self.edge.local_addr(),
            ops: self.ops,
            shards: handles.udp.len(),
            steered: handles.steered,
            tcp: !handles.tcp.is_empty(),
        };
        let udp = handles.udp.into_iter().map(OwnedFd::from);
        let sockets: Vec<_> = udp.chain(handles.tcp.into_iter().map(OwnedFd::from)).chain(ops).collect();
        channel.send(&Answer::Offer(offer), &borrowed(&sockets))
    }

    /// Second half: lets go, or takes back. Blocks for as long as the other process takes.
    ///
    /// # Errors
    /// If going back failed too: then nothing serves here any more.
    pub(crate) fn give(&self, channel: Channel, mut predecessors: Vec<Predecessor>) -> Result<Given, Error> {
        let begun = Instant::now();
        let outcome = self.release(&channel, &mut predecessors).and_then(|()| {
            tracing::info!(ms = begun.elapsed().as_millis(), "hand-over: the store is released");
            match channel.recv(TAKING_MAX)? {
                (Order::Attach, descriptors) => {
                    take_links(&self.edge, descriptors).map_err(ControlError::Garbled)?;
                    channel.send(&Answer::Attached, &[])?;
                    tracing::info!(ms = begun.elapsed().as_millis(), "hand-over: the sessions are attached");
                }
                (other, _) => return Err(ControlError::Garbled(format!("{other:?}"))),
            }
            match channel.recv(TAKING_MAX)? {
                (Order::Serving, _) => Ok(()),
                (other, _) => Err(ControlError::Garbled(format!("{other:?}"))),
            }
        });
        match outcome {
            Ok(()) => {
                tracing::info!(ms = begun.elapsed().as_millis(), "hand-over: the other process serves");
                Ok(Given::Away(channel))
            }
            Err(error) => {
                tracing::error!(%error, "hand-over failed, going back");
                // It ends when it sees this, and its lock goes with it.
                drop(channel);
                self.take_back(&mut predecessors)?;
                tracing::warn!(ms = begun.elapsed().as_millis(), "hand-over: this process serves again");
                Ok(Given::Kept(predecessors))
            }
        }
    }

    fn release(&self, channel: &Channel, predecessors: &mut Vec<Predecessor>) -> Result<(), ControlError> {
        let stuck = |error: nearport_edge::Error| ControlError::Garbled(error.to_string());
        self.edge.freeze(Instant::now() + FREEZE_MAX).map_err(stuck)?;
        tracing::info!("hand-over: the sockets are not read any more");
        // One that has gone meanwhile is no reason to fail; its sessions went with it.
        predecessors.retain(|predecessor| match predecessor.park() {
            Ok(()) => true,
            Err(error) => {
                let generation = predecessor.generation;
                tracing::warn!(generation, %error, "hand-over: a predecessor does not answer");
                false
            }
        });
        if let Err(error) = self.backend.close() {
            tracing::error!(%error, "hand-over: the backend did not end cleanly");
        }
        predecessors.iter_mut().for_each(Predecessor::finish);
        let generations = predecessors.iter().map(|predecessor| predecessor.generation).collect();
        let channels: Vec<_> = predecessors.iter().map(|predecessor| predecessor.channel.as_fd()).collect();
        channel.send(&Answer::Released { predecessors: generations }, &channels)
    }

    fn take_back(&self, predecessors: &mut Vec<Predecessor>) -> Result<(), Error> {
        // Whatever came of it: nothing is sent to a backend that may be gone.
        let deadline = Instant::now() + FREEZE_MAX;
        self.edge.freeze(deadline).map_err(Error::Edge)?;
        self.backend.close()?;
        self.backend.reopen(&self.config, GOING_BACK_MAX)?;
        let attachments = (0..self.edge.shards())
            .map(|shard| Attachment { link: self.backend.link(self.edge.waker(shard)), inlet: None })
            .collect();
        self.edge.attach(attachments, Instant::now() + GOING_BACK_MAX).map_err(Error::Edge)?;
        predecessors.retain_mut(|predecessor| {
            let attached = predecessor.attach(&self.edge, &*self.backend);
            if let Err(error) = &attached {
                let generation = predecessor.generation;
                tracing::warn!(generation, %error, "a predecessor could not be taken back");
            }
            attached.is_ok()
        });
        self.edge.read(true);
        Ok(())
    }
}

pub(crate) fn backend_name(kind: BackendKind) -> &'static str {
    match kind {
        BackendKind::Chat => "chat",
        BackendKind::Echo => "echo",
        BackendKind::Core => "core",
    }
}
