//! A hand-over, seen from the process that takes; `node_give` has the whole story.

use std::net::{TcpListener, UdpSocket};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use nearport_edge::Inherited;
use nearport_trunk::codec::VERSIONS;
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::config::Config;
use crate::control::{Answer, Channel, Claim, ControlError, Offer, Order, What};
use crate::control_server::ask;
use crate::node::BackendKind;
use crate::node_give::backend_name;
use crate::node_predecessor::Predecessor;

/// How long the running process may take to answer a claim.
const OFFER_MAX: Duration = Duration::from_secs(10);

/// How long the running process may take to finish and to close its store.
const RELEASE_MAX: Duration = Duration::from_secs(60);

/// What a running process offers.
#[derive(Debug)]
pub(crate) struct Inheritance {
    pub(crate) offer: Offer,
    pub(crate) sockets: Inherited,
    pub(crate) ops: TcpListener,
    channel: Channel,
}

impl Inheritance {
    /// Asks the process that runs on `config.data`. Nothing has been disturbed there when it returns.
    pub(crate) fn claim(config: &Config, kind: BackendKind) -> Result<Self, ControlError> {
        let claim = Claim {
            trunk: VERSIONS,
            edge: config.edge.listen,
            ops: config.ops.listen,
            shards: config.edge.shards.map(|shards| usize::from(shards.get())),
            tcp: config.edge.tcp,
            backend: backend_name(kind).to_owned(),
        };
        let channel = ask(&config.data, &What::TakeOver(claim))?;
        let (answer, descriptors) = channel.answer(OFFER_MAX)?;
        let Answer::Offer(offer) = answer else { return Err(ControlError::Garbled(format!("{answer:?}"))) };
        let listeners = if offer.tcp { offer.shards } else { 0 };
        if descriptors.len() != offer.shards + listeners + 1 {
            let count = descriptors.len();
            return Err(ControlError::Garbled(format!("{count} descriptors for {} shards", offer.shards)));
        }
        let mut descriptors = descriptors.into_iter();
        let udp = descriptors.by_ref().take(offer.shards).map(UdpSocket::from).collect();
        let tcp = descriptors.by_ref().take(listeners).map(TcpListener::from).collect();
        let ops = descriptors.next().map(TcpListener::from);
        let ops = ops.ok_or_else(|| ControlError::Garbled("no listener".to_owned()))?;
        let sockets = Inherited { udp, tcp, steered: offer.steered, reading: false };
        Ok(Self { offer, sockets, ops, channel })
    }

    /// Has the running process let go. When it returns, its store is closed, and it must be served or it goes back.
    pub(crate) fn take(self) -> Result<Taken, ControlError> {
        let Self { offer, sockets, ops, channel } = self;
        let watch = Watch::start(&channel)?;
        channel.send(&Order::Release, &[])?;
        let (answer, channels) = channel.answer(RELEASE_MAX)?;
        let Answer::Released { predecessors: generations } = answer else {
            return Err(ControlError::Garbled(format!("{answer:?}")));
        };
        let older = generations.into_iter().zip(channels);
        let older =
            older.map(|(generation, channel): (u32, OwnedFd)| Predecessor::new(generation, channel.into()));
        let predecessors =
            std::iter::once(Predecessor::new(offer.generation, channel)).chain(older).collect();
        Ok(Taken { sockets, ops, predecessors, watch })
    }
}

/// What a process has let go of.
#[derive(Debug)]
pub(crate) struct Taken {
    pub(crate) sockets: Inherited,
    pub(crate) ops: TcpListener,
    /// The one that has let go first.
    pub(crate) predecessors: Vec<Predecessor>,
    pub(crate) watch: Watch,
}

/// Ends this process if the one that let go hangs up before it was told that this one serves: it then goes back, and needs the
/// store. A thread does so, because opening a store may take its time.
#[derive(Debug)]
pub(crate) struct Watch(Arc<AtomicBool>);

impl Watch {
    fn start(channel: &Channel) -> Result<Self, ControlError> {
        let (channel, done) = (channel.try_clone()?, Arc::new(AtomicBool::new(false)));
        let watching = done.clone();
        let run = move || {
            let tick = Timespec { tv_sec: 0, tv_nsec: 100_000_000 };
            while !watching.load(Ordering::Acquire) {
                let mut hung_up = [PollFd::new(&channel, PollFlags::RDHUP)];
                let ready = poll(&mut hung_up, Some(&tick));
                if ready.is_ok_and(|count| count > 0) && !watching.load(Ordering::Acquire) {
                    tracing::error!("the process to take over from has hung up: ending");
                    std::process::exit(1);
                }
            }
        };
        std::thread::Builder::new().name("hand-over-watch".to_owned()).spawn(run)?;
        Ok(Self(done))
    }

    /// From now on this process is the one that serves.
    pub(crate) fn end(&self) {
        self.0.store(true, Ordering::Release);
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.end();
    }
}

/// Tells every predecessor that this process serves.
pub(crate) fn announce(predecessors: &[Predecessor]) -> Result<(), ControlError> {
    for (at, predecessor) in predecessors.iter().enumerate() {
        let told = predecessor.channel.send(&Order::Serving, &[]);
        if at == 0 {
            told?;
        }
    }
    Ok(())
}
