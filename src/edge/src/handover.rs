//! Handing an edge's sockets to another process, and its sessions to another backend.
//!
//! | the process that gives | the process that takes |
//! | --- | --- |
//! | [`Edge::freeze`]: reads no more, its backend can finish | |
//! | | [`Edge::start`] on the sockets, [`crate::Inherited::reading`] unset |
//! | [`Edge::attach`]: the sessions go on with the new backend | [`Edge::forward`]: knows whose packets to send on |
//! | | [`Edge::read`]: reads |
//! | [`Edge::leave`]: the clients leave, slot by slot | |
//!
//! What comes between `freeze` and `read` waits in the kernel's queues. A process that gives and gets nobody to take goes
//! back by `attach` to a backend of its own and `read`.

use std::io;
use std::net::{TcpListener, UdpSocket};
use std::os::fd::OwnedFd;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use nearport_trunk::{Link, Waker};

use crate::driver::{Control, Done};
use crate::shard::Departure;
use crate::{Edge, Error, going_away};

/// Sockets that another process has bound.
#[derive(Debug)]
pub struct Inherited {
    /// UDP sockets, one per shard and in shard order: the kernel steers by that order.
    pub udp: Vec<UdpSocket>,
    /// TCP listeners, one per shard, or none.
    pub tcp: Vec<TcpListener>,
    /// Whether the kernel steers.
    pub steered: bool,
    /// Whether to read from the start, or only after [`Edge::read`].
    pub reading: bool,
}

/// Handles of an edge's sockets, beside those that the shards have.
#[derive(Debug)]
pub(crate) struct Handles {
    udp: Vec<UdpSocket>,
    tcp: Mutex<Vec<TcpListener>>,
}

impl Handles {
    pub(crate) fn of(udp: &[UdpSocket], tcp: &[TcpListener]) -> io::Result<Self> {
        let udp = udp.iter().map(UdpSocket::try_clone).collect::<io::Result<_>>()?;
        let tcp = tcp.iter().map(TcpListener::try_clone).collect::<io::Result<_>>()?;
        Ok(Self { udp, tcp: Mutex::new(tcp) })
    }
}

/// A shard's way to another backend.
#[derive(Debug)]
pub struct Attachment {
    /// The link.
    pub link: Box<dyn Link>,
    /// The receiving end of a [`crate::forwarding_pair`], if another process reads the sockets.
    pub inlet: Option<OwnedFd>,
}

impl Edge {
    /// Stops reading and sends the backend nothing more. When it returns, all that clients had sent before is with the
    /// backend; what they send on connections that stay waits here.
    ///
    /// # Errors
    /// [`Error::Stuck`] if a shard does not answer by `deadline`.
    pub fn freeze(&self, deadline: Instant) -> Result<(), Error> {
        self.read(false);
        self.park(deadline)
    }

    /// Sends the backend nothing more; see [`Self::freeze`].
    ///
    /// # Errors
    /// [`Error::Stuck`] if a shard does not answer by `deadline`.
    pub fn park(&self, deadline: Instant) -> Result<(), Error> {
        self.tell_all(deadline, |_, done| Control::Park(done))
    }

    /// Reads from the sockets, or stops.
    pub fn read(&self, reading: bool) {
        self.shards.iter().for_each(|shard| shard.control(Control::Read(reading)));
    }

    /// Goes on with another backend. When it returns, that knows every session.
    ///
    /// # Errors
    /// [`Error::Stuck`] if a shard does not get there by `deadline`.
    ///
    /// # Panics
    /// If there are not as many attachments as shards.
    pub fn attach(&self, attachments: Vec<Attachment>, deadline: Instant) -> Result<(), Error> {
        assert_eq!(attachments.len(), self.shards.len(), "one attachment per shard");
        let mut attachments = attachments.into_iter();
        self.tell_all(deadline, |_, done| {
            let Attachment { link, inlet } = attachments.next().expect("counted above");
            Control::Attach { link, inlet, done }
        })
    }

    /// Gives one shard another link, after the one before has ended by itself. Returns at once; the backend learns of the
    /// shard's sessions before anything else comes from it.
    ///
    /// # Panics
    /// If there is no such shard.
    pub fn relink(&self, shard: usize, link: Box<dyn Link>) {
        let (done, _) = sync_channel(1);
        self.shards[shard].control(Control::Attach { link, inlet: None, done });
    }

    /// What wakes a shard, for the link of an [`Attachment`].
    ///
    /// # Panics
    /// If there is no such shard.
    #[must_use]
    pub fn waker(&self, shard: usize) -> Waker {
        self.shards[shard].waker()
    }

    /// How many shards.
    #[must_use]
    pub fn shards(&self) -> usize {
        self.shards.len()
    }

    /// Packets of connections of an earlier generation go into these from now on, the sending ends of one
    /// [`crate::forwarding_pair`] per shard. As long as the other process holds its ends, they are not reset.
    pub fn forward(&self, generation: u32, sockets: Vec<OwnedFd>) {
        for (shard, socket) in self.shards.iter().zip(sockets) {
            shard.control(Control::Forward { generation, socket });
        }
    }

    /// Handles of the sockets, for another process, which does not read them at first.
    ///
    /// # Errors
    /// Of the operating system.
    pub fn handles(&self) -> io::Result<Inherited> {
        let tcp = self.handles.tcp.lock().unwrap_or_else(PoisonError::into_inner);
        let Handles { udp, tcp } = Handles::of(&self.handles.udp, &tcp)?;
        let tcp = tcp.into_inner().unwrap_or_else(PoisonError::into_inner);
        Ok(Inherited { udp, tcp, steered: self.steered, reading: false })
    }

    /// Lets go of the listeners: new connections are the other process's for good, even when that one ends.
    pub fn close_listeners(&self) {
        self.handles.tcp.lock().unwrap_or_else(PoisonError::into_inner).clear();
        self.shards.iter().for_each(|shard| shard.control(Control::CloseListener));
    }

    /// Asks every client to leave as `departure` says, and those that still come. Returns at once.
    pub fn leave(&self, departure: &Departure) {
        self.shards.iter().for_each(|shard| shard.control(Control::Drain(departure.clone())));
    }

    /// Closes every session, resumably. New ones are taken or not as before.
    pub fn close_sessions(&self) {
        self.shards.iter().for_each(|shard| shard.control(Control::Close(going_away())));
    }

    /// Takes clients again.
    pub fn stay(&self) {
        self.shards.iter().for_each(|shard| shard.control(Control::Undrain));
    }

    /// After [`Self::leave`], waits until no session is left or the time is up. Blocks. Returns how many are left.
    #[must_use]
    pub fn wait_for_empty(&self, deadline: Instant) -> u64 {
        self.shards.iter().map(|shard| shard.wait_for_empty(deadline)).sum()
    }

    fn tell_all(
        &self,
        deadline: Instant,
        mut control: impl FnMut(usize, Done) -> Control,
    ) -> Result<(), Error> {
        let tell = |(index, shard): (usize, &std::sync::Arc<crate::driver::Shared>)| {
            let (done, heard): (SyncSender<()>, Receiver<()>) = sync_channel(1);
            shard.control(control(index, done));
            heard
        };
        let heard: Vec<_> = self.shards.iter().enumerate().map(tell).collect();
        for (shard, heard) in heard.into_iter().enumerate() {
            let left = deadline.saturating_duration_since(Instant::now()).max(Duration::from_millis(1));
            heard.recv_timeout(left).map_err(|_| Error::Stuck(shard))?;
        }
        Ok(())
    }
}
