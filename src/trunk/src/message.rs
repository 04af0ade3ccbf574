//! The messages of the seam.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use nearport_wire::close::CloseCode;
use nearport_wire::{Kind, Lane};

use crate::codec;

/// A session as the backend knows it: unique among all shards of all edges that one backend serves.
///
/// ```text
/// node u16 | generation modulo 8, 3 bits | shard, 5 bits | counter, 20 bits | connection, 20 bits
/// ```
///
/// The upper three octets say whose it is ([`Self::owner`]): a link carries sessions of one owner only.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SessionId(pub u64);

/// Connections of a shard that session ids can tell apart, of either kind: numbers of byte streams have the next bit.
pub const CONNECTIONS_MAX: u32 = 1 << 19;

const CONNECTION_MASK: u64 = 2 * CONNECTIONS_MAX as u64 - 1;

/// Whose sessions: what the upper three octets of their ids hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Owner(u32);

impl Owner {
    /// A shard (below 32) of one start of a node's edge.
    #[must_use]
    pub fn new(node: u16, generation: u32, shard: u8) -> Self {
        Self(u32::from(node) << 8 | (generation & 7) << 5 | u32::from(shard & 0x1f))
    }
}

impl SessionId {
    /// The id of the `count`th session of an owner, on its connection number `connection`, which is below
    /// twice [`CONNECTIONS_MAX`]. Ids repeat when the same connection number meets the same count again, a million sessions later.
    #[must_use]
    pub fn new(owner: Owner, count: u64, connection: u32) -> Self {
        let connection = u64::from(connection) & CONNECTION_MASK;
        Self(u64::from(owner.0) << 40 | (count & 0xf_ffff) << 20 | connection)
    }

    /// Whose session it is.
    #[must_use]
    pub fn owner(self) -> Owner {
        Owner((self.0 >> 40) as u32)
    }

    /// The connection's number at its shard.
    #[must_use]
    pub fn connection(self) -> u32 {
        (self.0 & CONNECTION_MASK) as u32
    }
}

impl fmt::Debug for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "s{:x}", self.0)
    }
}

/// Which edge process a link belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct EdgeId {
    /// Its node.
    pub node: u16,
    /// Drawn at random by each process.
    pub instance: u64,
}

/// A link whose edge hands on what is meant for several of its shards.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sharing {
    /// The process.
    pub edge: EdgeId,
    /// The shard whose link it is, below 32.
    pub shard: u8,
}

/// A fan-out address: the devices of a user, a group, a live room. The backend chooses the bytes.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Topic(pub Arc<[u8]>);

impl From<&[u8]> for Topic {
    fn from(bytes: &[u8]) -> Self {
        Self(bytes.into())
    }
}

impl fmt::Debug for Topic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0.escape_ascii())
    }
}

/// Who a session belongs to, and for how long: what the backend finds at a login by UserSig, what the edge seals into
/// a resume token, and what it vouches for when that token comes back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// App (`sdkappid`).
    pub app: u32,
    /// User.
    pub user: String,
    /// Device.
    pub device: String,
    /// When it was proved, Unix seconds: a minute before the UserSig was checked, or that of its issue if that is later. A kick withdraws
    /// what is older, and so does a key that is withdrawn.
    pub issued_s: u64,
    /// When the UserSig ends, Unix seconds. A token never outlives it, however often it is renewed.
    pub expires_s: u64,
}

impl Identity {
    /// Bytes that it holds in a queue.
    fn cost(&self) -> usize {
        size_of::<Self>() + self.user.len() + self.device.len()
    }

    /// In as few bytes as it takes: an edge keeps one for every session.
    #[must_use]
    pub fn pack(&self) -> Box<[u8]> {
        let mut out = BytesMut::with_capacity(64);
        codec::put_identity(self, &mut out);
        (&out[..]).into()
    }

    /// What [`Self::pack`] made; `None` for other bytes.
    #[must_use]
    pub fn unpack(packed: &[u8]) -> Option<Self> {
        codec::read_identity(packed)
    }
}

/// Edge to backend.
#[derive(Debug, Clone)]
pub enum Up {
    /// A client said hello. The backend answers with [`Down::Accept`] or [`Down::Reject`].
    Open {
        /// The new session.
        session: SessionId,
        /// Undecoded `Hello`.
        hello: Bytes,
        /// Where it comes from.
        peer: SocketAddr,
        /// The hello carries a resume token that the edge has opened: no UserSig to check, but app, user and device
        /// must be these.
        vouched: Option<Box<Identity>>,
    },
    /// A request. The backend answers with one [`Down::Reply`] of the same id.
    Frame {
        /// Who asks.
        session: SessionId,
        /// Lane to answer on.
        lane: Lane,
        /// A request kind.
        kind: Kind,
        /// Request id, chosen by the client.
        id: u64,
        /// Undecoded body.
        body: Bytes,
    },
    /// Everything up to `position` of the user log is shown on this device.
    Ack {
        /// Which device's session.
        session: SessionId,
        /// User log position.
        position: u64,
    },
    /// A session that is live at the edge and new to this backend: another backend has accepted it and has handed over
    /// since. No login and no hello: it takes its place beside the sessions of its user, and where a rule allows only
    /// one of two, the adopted one goes, for it is the older. The backend answers with [`Down::Adopted`], or ends the
    /// session with [`Down::Kick`]. Frames of the session follow only after that answer.
    Adopt {
        /// The session, under the id that it has had all along.
        session: SessionId,
        /// As the other backend gave it in [`Down::Accept`].
        identity: Box<Identity>,
        /// What its hello said of its platform, as a number of the wire; 0 if nothing is known.
        platform: u8,
    },
    /// The session ended, by whatever side. Sent once for every session that was opened or adopted.
    Close {
        /// The session.
        session: SessionId,
        /// `None`: its client has said so, or its process has ended. Else nobody has: the client was last heard so many milliseconds
        /// ago, or the server has broken off, and it may still be there and come back.
        lost_ms: Option<u32>,
    },
}

/// Backend to edge.
#[derive(Debug, Clone)]
pub enum Down {
    /// The session is live and joins `topics`. What is published to them after this message reaches it.
    Accept {
        /// The session.
        session: SessionId,
        /// Encoded `Welcome`.
        welcome: Bytes,
        /// Topics to join.
        topics: Vec<Topic>,
        /// What the edge may seal into a resume token; `None`: the client gets none.
        identity: Option<Box<Identity>>,
    },
    /// A live session is known here now and joins `topics`. The edge marks it behind, so that its client asks for what was
    /// published while no backend had it.
    Adopted {
        /// The session.
        session: SessionId,
        /// Topics to join.
        topics: Vec<Topic>,
    },
    /// The hello is refused: the client gets the close frame and the connection ends.
    Reject {
        /// The session.
        session: SessionId,
        /// Why, by range whether to come back.
        code: CloseCode,
        /// For people; holds the error code of the public contract.
        reason: String,
        /// When to come back at the earliest, in milliseconds; 0: as the range of the code says.
        retry_after_ms: u32,
    },
    /// Answer to a request: kind REPLY or ERROR.
    Reply {
        /// Who asked.
        session: SessionId,
        /// The request's lane.
        lane: Lane,
        /// REPLY or ERROR.
        kind: Kind,
        /// The request's id.
        id: u64,
        /// Encoded body.
        body: Bytes,
    },
    /// One copy per shard, fanned out there to the sessions that joined. A hint: it may be dropped on the way, and
    /// the receiver finds what it missed by position.
    Publish {
        /// Where to.
        topic: Topic,
        /// Lane to write on.
        lane: Lane,
        /// A push kind.
        kind: Kind,
        /// Position, or 0.
        id: u64,
        /// Encoded body.
        body: Bytes,
        /// A session that knows already (the sender's, which has its reply) and gets nothing.
        except: Option<SessionId>,
    },
    /// A publish for several shards of one edge process, of which it crosses the link of one: see [`Sharing`]. It is a hint that nobody
    /// asks for again: it may overtake a [`Self::Join`] of another shard's link.
    Share {
        /// Which shards, a bit for each.
        shards: u32,
        /// Where to.
        topic: Topic,
        /// Lane to write on.
        lane: Lane,
        /// A push kind.
        kind: Kind,
        /// Position, class, or 0.
        id: u64,
        /// Encoded body.
        body: Bytes,
    },
    /// The session joins another topic. Also for a session that is not accepted yet: what is published before the
    /// accept marks it behind, so that nothing falls between subscribing and reading the head.
    Join {
        /// The session.
        session: SessionId,
        /// The topic.
        topic: Topic,
    },
    /// The session leaves a topic.
    Leave {
        /// The session.
        session: SessionId,
        /// The topic.
        topic: Topic,
    },
    /// Ends a live session.
    Kick {
        /// The session.
        session: SessionId,
        /// Why.
        code: CloseCode,
        /// For people.
        reason: String,
    },
}

/// Fixed cost of a queued message beside its body, a rounded-up size of the largest variant.
const MESSAGE_BYTES: usize = 96;

impl Up {
    /// Whose it is.
    #[must_use]
    pub fn session(&self) -> SessionId {
        match self {
            Self::Open { session, .. }
            | Self::Frame { session, .. }
            | Self::Ack { session, .. }
            | Self::Adopt { session, .. }
            | Self::Close { session, .. } => *session,
        }
    }

    /// Bytes that it holds in a queue.
    #[must_use]
    pub fn cost(&self) -> usize {
        MESSAGE_BYTES
            + match self {
                Self::Open { hello, vouched, .. } => {
                    hello.len() + vouched.as_ref().map_or(0, |identity| identity.cost())
                }
                Self::Frame { body, .. } => body.len(),
                Self::Adopt { identity, .. } => identity.cost(),
                Self::Ack { .. } | Self::Close { .. } => 0,
            }
    }
}

impl Down {
    /// Bytes that it holds in a queue.
    #[must_use]
    pub fn cost(&self) -> usize {
        MESSAGE_BYTES
            + match self {
                Self::Accept { welcome, topics, identity, .. } => {
                    let identity = identity.as_ref().map_or(0, |identity| identity.cost());
                    welcome.len() + topics.len() * MESSAGE_BYTES + identity
                }
                Self::Adopted { topics, .. } => topics.len() * MESSAGE_BYTES,
                Self::Reply { body, .. } | Self::Publish { body, .. } | Self::Share { body, .. } => {
                    body.len()
                }
                Self::Reject { reason, .. } | Self::Kick { reason, .. } => reason.len(),
                Self::Join { .. } | Self::Leave { .. } => 0,
            }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn ids_of_different_owners_never_meet_and_are_read_back(
            (a, b) in ((any::<u16>(), 0..8u32, 0..32u8), (any::<u16>(), 0..8u32, 0..32u8)),
            (count, connection) in (any::<u64>(), 0..2 * CONNECTIONS_MAX),
            (other_count, other_connection) in (any::<u64>(), any::<u32>()),
        ) {
            let (mine, other) = (Owner::new(a.0, a.1, a.2), Owner::new(b.0, b.1, b.2));
            let id = SessionId::new(mine, count, connection);
            prop_assert_eq!((id.owner(), id.connection()), (mine, connection));
            prop_assert_eq!(mine == other, a == b);
            if a != b {
                prop_assert_ne!(id, SessionId::new(other, other_count, other_connection));
            }
        }
    }
}
