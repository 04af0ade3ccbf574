//! What is said over the control socket of a running node, `DIR/control.sock`: by `nearport drain`, and by a process that
//! takes over.
//!
//! ```text
//! message = length:u32 JSON          ; descriptors ride with the first byte
//! ```
//!
//! The first message of a client is an [`Ask`]. What cannot be done is answered with [`Answer::Refused`], which every version
//! of this protocol reads, so that two programs of different versions part with a sentence and not with a broken pipe.

use std::io::{self, IoSlice, IoSliceMut, Read as _, Write as _};
use std::mem::MaybeUninit;
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::Duration;

use nearport_steer::{Row, Wish};
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::backup::Page;

/// Version of this protocol. Another one is refused.
pub(crate) const PROTOCOL: u32 = 1;

/// Longest message.
const MESSAGE_BYTES_MAX: usize = 64 * 1024;

/// Most descriptors with one message: what Linux carries (`SCM_MAX_FD`). 32 shards need 65.
const DESCRIPTORS_MAX: usize = 253;

/// The first message of a client.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Ask {
    /// [`PROTOCOL`] of the client.
    pub(crate) protocol: u32,
    /// Its version, for people.
    pub(crate) program: String,
    /// What it wants; another protocol may have other wishes.
    pub(crate) what: serde_json::Value,
}

/// What a client may want.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum What {
    /// The listeners and the store; see `node_take_over`.
    TakeOver(Claim),
    /// Send the clients away.
    Drain(DrainOrder),
    /// Take clients again.
    Undrain,
    /// Copy the store.
    Backup(BackupOrder),
    /// Show what back ends could not be told, or tell it again; see `cli_callbacks`.
    Callbacks(crate::node_callback::Order),
    /// Show the PoPs; see `cli_pop`.
    Pops,
    /// Have something of a PoP.
    Pop(PopOrder),
}

impl Ask {
    pub(crate) fn new(what: &What) -> Self {
        let what = serde_json::to_value(what).unwrap_or_default();
        Self { protocol: PROTOCOL, program: env!("CARGO_PKG_VERSION").to_owned(), what }
    }

    /// The wish, or what to answer instead.
    pub(crate) fn understood(self) -> Result<What, String> {
        if self.protocol != PROTOCOL {
            return Err(format!(
                "this server ({}) speaks control protocol {PROTOCOL}, the other program ({}) speaks {}",
                env!("CARGO_PKG_VERSION"),
                self.program,
                self.protocol
            ));
        }
        serde_json::from_value(self.what).map_err(|error| format!("not understood: {error}"))
    }
}

/// What a process that takes over brings along. The running one compares before anything is disturbed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Claim {
    /// Versions of the trunk that it speaks, oldest and newest.
    pub(crate) trunk: (u16, u16),
    /// Its `edge.listen`; port 0 takes whatever there is.
    pub(crate) edge: SocketAddr,
    /// Its `ops.listen`.
    pub(crate) ops: SocketAddr,
    /// Its `edge.shards`; `None`: as many as the running one has.
    pub(crate) shards: Option<usize>,
    /// Whether it serves clients over TCP.
    pub(crate) tcp: bool,
    /// `chat` or `echo`.
    pub(crate) backend: String,
}

/// How clients are to be sent away.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct DrainOrder {
    /// Time for them; `None`: as in the settings.
    pub(crate) within_ms: Option<u64>,
    /// Where to; empty: as in the settings.
    pub(crate) targets: Vec<String>,
    /// Whether the process ends then.
    pub(crate) exit: bool,
}

/// Where a copy of the store is to be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct BackupOrder {
    /// An absolute path.
    pub(crate) to: PathBuf,
}

/// What an operator wants of a PoP.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct PopOrder {
    /// Its id.
    pub(crate) pop: String,
    /// What.
    pub(crate) wish: Wish,
    /// Who wants it, for people.
    pub(crate) by: String,
}

/// What a node answers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Answer {
    /// No, and why. Nothing has changed.
    Refused {
        /// For people.
        reason: String,
    },
    /// A drain goes on.
    Draining {
        /// Sessions that are left.
        sessions: u64,
    },
    /// It is over, or undone.
    Done {
        /// Sessions that are left.
        sessions: u64,
    },
    /// The copy is made.
    BackedUp {
        /// What it is.
        page: Page,
    },
    /// Entries of the outbox.
    Callbacks {
        /// In the order of Apps and numbers; none: there are no more.
        rows: Vec<crate::node_callback::Row>,
    },
    /// The PoPs.
    Pops {
        /// In the order of their table.
        rows: Vec<Row>,
        /// Edges that are linked to this process.
        edges: usize,
    },
    /// A process may take over. With it come the descriptors: UDP sockets and TCP listeners in shard order, then the
    /// listener of the operations server.
    Offer(Offer),
    /// The store is closed and its lock released. With it come the channels to [`Self::Released::predecessors`].
    Released {
        /// Generations of processes that still drain from hand-overs before this one.
        predecessors: Vec<u32>,
    },
    /// The shards wait: they send nothing more to the backend.
    Parked,
    /// The shards are on their new links, and every session is known there.
    Attached,
    /// It did not work, and why.
    Failed {
        /// For people.
        reason: String,
    },
}

/// What the running process is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Offer {
    /// Its process id.
    pub(crate) pid: u32,
    /// Its generation.
    pub(crate) generation: u32,
    /// Generations of processes that still drain.
    pub(crate) predecessors: Vec<u32>,
    /// Bound address of the edge.
    pub(crate) edge: SocketAddr,
    /// Bound address of the operations server.
    pub(crate) ops: SocketAddr,
    /// How many shards.
    pub(crate) shards: usize,
    /// Whether the kernel steers.
    pub(crate) steered: bool,
    /// Whether there are TCP listeners.
    pub(crate) tcp: bool,
}

/// What the process that takes over says after the offer, and later, as long as the former one drains.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Order {
    /// Stop reading, finish, close the store.
    Release,
    /// Go on with these links. With it come, in shard order, a stream for the trunk and a way for packets each.
    Attach,
    /// The new process serves: the former one drains.
    Serving,
    /// Another process takes over in turn: send nothing more to the backend.
    Park,
}

/// Why a message did not pass.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ControlError {
    /// Nobody answered in time.
    #[error("no answer in time")]
    Timeout,
    /// The other side has gone.
    #[error("the other process has gone")]
    Gone,
    /// Something that is no message.
    #[error("not understood: {0}")]
    Garbled(String),
    /// The other side said no.
    #[error("{0}")]
    Refused(String),
    /// The operating system said no.
    #[error("control socket: {0}")]
    Io(io::Error),
}

impl From<io::Error> for ControlError {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => Self::Timeout,
            io::ErrorKind::UnexpectedEof
            | io::ErrorKind::BrokenPipe
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionRefused => Self::Gone,
            _ => Self::Io(error),
        }
    }
}

/// One end of a connection to or from a control socket. Blocks.
#[derive(Debug)]
pub(crate) struct Channel(UnixStream);

impl Channel {
    pub(crate) fn new(stream: UnixStream) -> Self {
        Self(stream)
    }

    /// Another handle of the same connection.
    pub(crate) fn try_clone(&self) -> io::Result<Self> {
        self.0.try_clone().map(Self)
    }

    /// Sends a message, with descriptors that the other side gets copies of.
    pub(crate) fn send<T: Serialize>(
        &self,
        message: &T,
        descriptors: &[BorrowedFd<'_>],
    ) -> Result<(), ControlError> {
        let json = serde_json::to_vec(message).map_err(|error| ControlError::Garbled(error.to_string()))?;
        let length = u32::try_from(json.len()).map_err(|error| ControlError::Garbled(error.to_string()))?;
        let head = length.to_be_bytes();
        self.0.set_write_timeout(Some(Duration::from_secs(5)))?;

        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS_MAX))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        if !descriptors.is_empty() && !control.push(SendAncillaryMessage::ScmRights(descriptors)) {
            return Err(ControlError::Garbled(format!("{} descriptors at once", descriptors.len())));
        }
        // The head alone, so that what follows need not care how much of it went along.
        let sent = sendmsg(&self.0, &[IoSlice::new(&head)], &mut control, SendFlags::NOSIGNAL);
        let sent = sent.map_err(io::Error::from)?;
        (&self.0).write_all(&head[sent..])?;
        Ok((&self.0).write_all(&json)?)
    }

    /// Waits for a message and its descriptors. `patience` counts anew for each piece that arrives.
    pub(crate) fn recv<T: DeserializeOwned>(
        &self,
        patience: Duration,
    ) -> Result<(T, Vec<OwnedFd>), ControlError> {
        self.0.set_read_timeout(Some(patience.max(Duration::from_millis(1))))?;
        self.read()
    }

    /// As [`Self::recv`], without an end of patience.
    pub(crate) fn recv_forever<T: DeserializeOwned>(&self) -> Result<(T, Vec<OwnedFd>), ControlError> {
        self.0.set_read_timeout(None)?;
        self.read()
    }

    fn read<T: DeserializeOwned>(&self) -> Result<(T, Vec<OwnedFd>), ControlError> {
        let (mut head, mut descriptors) = ([0; 4], Vec::new());
        let mut filled = 0;
        while filled < head.len() {
            let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS_MAX))];
            let mut control = RecvAncillaryBuffer::new(&mut space);
            let mut slices = [IoSliceMut::new(&mut head[filled..])];
            let got = match recvmsg(&self.0, &mut slices, &mut control, RecvFlags::CMSG_CLOEXEC) {
                Err(rustix::io::Errno::INTR) => continue,
                got => got.map_err(io::Error::from)?,
            };
            for message in control.drain() {
                if let RecvAncillaryMessage::ScmRights(rights) = message {
                    descriptors.extend(rights);
                }
            }
            if got.flags.contains(ReturnFlags::CTRUNC) {
                return Err(ControlError::Garbled("descriptors were cut off: raise ulimit -n".to_owned()));
            }
            if got.bytes == 0 {
                return Err(ControlError::Gone);
            }
            filled += got.bytes;
        }
        let length = u32::from_be_bytes(head) as usize;
        if length > MESSAGE_BYTES_MAX {
            return Err(ControlError::Garbled(format!("a message of {length} bytes")));
        }
        let mut json = vec![0; length];
        (&self.0).read_exact(&mut json)?;
        let message =
            serde_json::from_slice(&json).map_err(|error| ControlError::Garbled(error.to_string()))?;
        Ok((message, descriptors))
    }

    /// Waits for an answer other than a refusal.
    pub(crate) fn answer(&self, patience: Duration) -> Result<(Answer, Vec<OwnedFd>), ControlError> {
        match self.recv(patience)? {
            (Answer::Refused { reason } | Answer::Failed { reason }, _) => Err(ControlError::Refused(reason)),
            answer => Ok(answer),
        }
    }
}

impl AsFd for Channel {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl From<OwnedFd> for Channel {
    fn from(descriptor: OwnedFd) -> Self {
        Self(UnixStream::from(descriptor))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::io::{Seek as _, SeekFrom};

    const SOON: Duration = Duration::from_secs(60);

    fn pair() -> (Channel, UnixStream) {
        let (near, far) = UnixStream::pair().unwrap();
        (Channel::new(near), far)
    }

    #[test]
    fn messages_and_descriptors_arrive_together_and_in_order() {
        let (near, far) = pair();
        let far = Channel::new(far);
        let mut files: Vec<_> = (0..65u8)
            .map(|number| {
                let mut file = tempfile::tempfile().unwrap();
                file.write_all(&[number]).unwrap();
                file
            })
            .collect();
        near.send(&Order::Park, &[]).unwrap();
        near.send(&Order::Attach, &files.iter().map(AsFd::as_fd).collect::<Vec<_>>()).unwrap();
        near.send(&Answer::Draining { sessions: 7 }, &[]).unwrap();
        assert!(matches!(far.recv(SOON).unwrap(), (Order::Park, none) if none.is_empty()));
        let (order, descriptors): (Order, _) = far.recv(SOON).unwrap();
        assert_eq!(order, Order::Attach);
        assert_eq!(descriptors.len(), files.len());
        for (number, descriptor) in (0..).zip(descriptors) {
            let (mut file, mut byte) = (std::fs::File::from(descriptor), [0]);
            file.seek(SeekFrom::Start(0)).unwrap();
            file.read_exact(&mut byte).unwrap();
            assert_eq!(byte, [number]);
            let flags = rustix::io::fcntl_getfd(&file).unwrap();
            assert!(flags.contains(rustix::io::FdFlags::CLOEXEC));
        }
        files.clear();
        assert!(matches!(far.answer(SOON).unwrap().0, Answer::Draining { sessions: 7 }));
        drop(near);
        assert!(matches!(far.recv::<Order>(SOON), Err(ControlError::Gone)));
    }

    #[test]
    fn a_program_of_another_version_gets_a_sentence() {
        let mut ask = Ask::new(&What::Undrain);
        assert_eq!(ask.clone().understood(), Ok(What::Undrain));
        ask.what = serde_json::json!({ "fly": 1 });
        assert!(ask.clone().understood().unwrap_err().contains("fly"));
        (ask.protocol, ask.program) = (2, "9.9.9".to_owned());
        let refused = ask.understood().unwrap_err();
        assert!(refused.contains("protocol 1") && refused.contains("(9.9.9) speaks 2"), "{refused}");
    }

    #[test]
    fn lengths_and_refusals_are_told() {
        let (near, mut far) = pair();
        far.write_all(&[0xff; 4]).unwrap();
        assert!(matches!(near.recv::<Order>(SOON), Err(ControlError::Garbled(_))));
        let (near, far) = pair();
        Channel::new(far).send(&Answer::Refused { reason: "no".to_owned() }, &[]).unwrap();
        assert!(matches!(near.answer(SOON), Err(ControlError::Refused(no)) if no == "no"));
        assert!(matches!(near.recv::<Order>(Duration::from_millis(1)), Err(ControlError::Gone)));
        let (near, _far) = pair();
        assert!(matches!(near.recv::<Order>(Duration::from_millis(1)), Err(ControlError::Timeout)));
    }

    proptest! {
        #[test]
        fn noise_is_refused(noise in proptest::collection::vec(any::<u8>(), 0..200)) {
            let (near, mut far) = pair();
            far.write_all(&noise).unwrap();
            drop(far);
            prop_assert!(near.recv::<Ask>(SOON).is_err());
        }
    }
}
