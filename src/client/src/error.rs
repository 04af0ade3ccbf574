//! Errors of the SDK's calls.

use std::io;
use std::time::Duration;

use nearport_wire::ContentError;
use nearport_wire::close::CloseCode;

use crate::event::Failure;

/// The queue that a call would have joined is at its bound ([`Limits`](crate::Limits)). Nothing was queued: try again
/// after an outcome.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("queue is full: {entries} entries, {bytes} bytes")]
pub struct QueueFull {
    /// Entries that wait or are in flight.
    pub entries: usize,
    /// Their encoded bytes.
    pub bytes: usize,
}

/// A message that was not queued.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PostError {
    /// Too many messages wait for their acknowledgement.
    #[error(transparent)]
    QueueFull(#[from] QueueFull),
    /// The content breaks a rule of the contract; the server would refuse it.
    #[error(transparent)]
    Content(#[from] ContentError),
    /// The target's name is empty or longer than 256 bytes.
    #[error("target name must have 1 to 256 bytes, it has {0}")]
    Target(usize),
    /// An online-only message needs a live session.
    #[error("not connected: an online-only message is not kept for later")]
    Offline,
    /// The client has stopped.
    #[error("the client has stopped")]
    Stopped,
}

/// A message that was not acknowledged.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SendError {
    /// It was not queued.
    #[error(transparent)]
    Post(#[from] PostError),
    /// It will not be sent again.
    #[error(transparent)]
    Failed(#[from] Failure),
    /// The client stopped until something changes. The message stays queued and goes out after
    /// [`Client::reconnect`](crate::Client::reconnect).
    #[error("{code}: {reason}")]
    Stopped {
        /// Why.
        code: CloseCode,
        /// For people.
        reason: String,
    },
}

/// A request other than a send that has no good answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RequestError {
    /// Too many requests wait for their answers.
    #[error(transparent)]
    QueueFull(#[from] QueueFull),
    /// The server would end the session for it: not a request kind, or a body above 16 KiB.
    #[error("not a request: kind {kind:#04x} with {bytes} bytes")]
    NotARequest {
        /// Frame kind.
        kind: u8,
        /// Length of the body.
        bytes: usize,
    },
    /// Refused, timed out or lost.
    #[error(transparent)]
    Failed(#[from] Failure),
    /// The server's answer is not one to this request: it is younger than this client, or broken.
    #[error("the server's answer cannot be read")]
    Unreadable,
    /// Nobody is to confirm that message: it was sent without [`SendOptions::need_receipt`](crate::SendOptions::need_receipt), or is not one's own.
    #[error("nobody was asked to confirm that message")]
    NoReceipts,
    /// The group is no live room. The user is a member of it now all the same, or has applied.
    #[error("the group is no live room")]
    NotLive,
}

/// Not logged in.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// The client goes on trying.
    #[error("not logged in after {waited:?}: {last}")]
    Timeout {
        /// The time that was given.
        waited: Duration,
        /// Why the last attempt failed, as far as one has.
        last: String,
    },
    /// The client does not try again.
    #[error("{code}: {reason}")]
    Stopped {
        /// Why.
        code: CloseCode,
        /// For people. For a refused login it begins with the 70xxx code of the contract.
        reason: String,
    },
}

/// No network to connect through.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NetworkError {
    /// The certificates cannot be used.
    #[error("certificate authority cannot be read: {0}")]
    Roots(String),
    /// The TLS settings contradict each other.
    #[error("tls configuration: {0}")]
    Tls(#[from] rustls::Error),
    /// A socket cannot be made.
    #[error("udp socket: {0}")]
    Socket(#[from] io::Error),
}
