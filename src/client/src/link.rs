//! One transport connection under a session: bytes and datagrams in, bytes and datagrams out.
//!
//! A link knows no frame. The driver gives it what the session wants to write and asks it to move on; everything
//! that it does while it waits is cancel-safe, because the driver drops the wait whenever something else happens.

use std::time::Duration;

use bytes::Bytes;
use nearport_session::Closing;
use nearport_wire::close::CloseCode;
use tokio::time::timeout;
use tracing::debug;

use crate::core::{Core, Path};
use crate::transport::Transport;

mod bytes_link;
mod quic;
mod websocket;
mod webtransport;

pub(crate) use bytes_link::BytesLink;
pub(crate) use quic::{Packets, QuicLink, closing_of};
pub(crate) use websocket::{Capped, WebSocketLink};

/// How long a good-bye may take: the rest of the output and the server's own close.
const GOOD_BYE: Duration = Duration::from_secs(1);

/// Chunks taken from a transport in one go.
pub(crate) const CHUNKS: usize = 8;

/// Chunks handed to one vectored write.
const SLICES: usize = 16;

/// Output that the link has not taken yet.
#[derive(Debug, Default)]
pub(crate) struct Unwritten {
    /// Of the main stream.
    pub(crate) main: Vec<Bytes>,
    /// Of the bulk lane's own stream, on a link that has one.
    pub(crate) bulk: Vec<Bytes>,
    /// On a link that has datagrams. What the link does not take at once is lost.
    pub(crate) datagrams: Vec<Bytes>,
}

impl Unwritten {
    /// Takes from the core what it wants to write, stream by stream as the link has taken what was there.
    pub(crate) fn refill(&mut self, core: &mut Core) {
        if self.main.is_empty() {
            self.main = core.poll_output().take();
        }
        if self.bulk.is_empty()
            && let Some(output) = core.poll_bulk_output()
        {
            self.bulk = output.take();
        }
        self.datagrams.extend(std::iter::from_fn(|| core.poll_datagram()));
    }

    pub(crate) fn clear(&mut self) {
        *self = Self::default();
    }
}

/// What a link did.
#[derive(Debug)]
pub(crate) enum Progress {
    /// So many chunks of the main stream were read.
    Read(usize),
    /// So many of the bulk lane's own stream.
    ReadBulk(usize),
    /// A datagram came.
    Datagram(Bytes),
    /// Some output was taken.
    Wrote,
    /// The connection is over.
    Lost(Closing),
}

/// A connection that is up.
#[derive(Debug)]
pub(crate) enum Link {
    /// QUIC, or WebTransport on it.
    Quic(QuicLink),
    /// TLS over TCP.
    Tls(Box<BytesLink>),
    /// WebSocket over TLS over TCP.
    WebSocket(Box<WebSocketLink>),
}

impl Link {
    /// What a session can do over it.
    pub(crate) fn path(&self) -> Path {
        match self {
            Self::Quic(link) => link.path(),
            Self::Tls(_) => Path::one_stream(Transport::Tls),
            Self::WebSocket(_) => Path::one_stream(Transport::WebSocket),
        }
    }

    /// Writes, and reads if `reads`, until one of them has got somewhere. Without `reads` nothing is taken from the
    /// connection, so that the server stops as well; QUIC still notices the end of the connection.
    ///
    /// Cancel-safe: what was written is gone from `out`, what was read is in `chunks`, and nothing is in between.
    pub(crate) async fn progress(
        &mut self,
        reads: bool,
        out: &mut Unwritten,
        chunks: &mut [Bytes; CHUNKS],
    ) -> Progress {
        match self {
            Self::Quic(link) => link.progress(reads, out, chunks).await,
            Self::Tls(link) => link.progress(reads, out, chunks).await,
            Self::WebSocket(link) => link.progress(reads, out, chunks).await,
        }
    }

    /// Closes at once, without a word to the session at the other end but this code where the transport has one.
    pub(crate) fn abandon(self, code: CloseCode) {
        if let Self::Quic(link) = self {
            link.abandon(code);
        }
    }

    /// Whether it runs over UDP.
    pub(crate) fn is_udp(&self) -> bool {
        self.path().transport.is_udp()
    }

    /// The round trip, as far as the transport knows it.
    pub(crate) fn rtt(&self) -> Option<Duration> {
        match self {
            Self::Quic(link) => Some(link.rtt()),
            Self::Tls(_) | Self::WebSocket(_) => None,
        }
    }

    /// Packets so far, where the transport counts them. They come although no frame does, as long as the path lives.
    pub(crate) fn packets(&self) -> Option<Packets> {
        match self {
            Self::Quic(link) => Some(link.packets()),
            Self::Tls(_) | Self::WebSocket(_) => None,
        }
    }

    /// Writes what is left and closes. After a good-bye it lets the server close, for a bounded time; otherwise it
    /// does not wait for anybody.
    pub(crate) async fn close(self, mut out: Unwritten, code: CloseCode) {
        let orderly = code == CloseCode::BYE;
        let closing = async {
            match self {
                Self::Quic(link) => return link.close(&mut out, code).await,
                Self::Tls(mut link) => link.close(&mut out).await,
                Self::WebSocket(mut link) => link.close(&mut out).await,
            }
        };
        // A transport that does not finish is dropped, which the server sees as a reset.
        let patience = if orderly { GOOD_BYE } else { Duration::ZERO };
        if timeout(patience, closing).await.is_err() && orderly {
            debug!("the server did not answer the good-bye");
        }
    }
}
