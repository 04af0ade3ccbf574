//! QUIC: quinn does the work, and a lost connection says why.

use std::future::pending;
use std::time::Duration;

use bytes::Bytes;
use nearport_session::Closing;
use nearport_wire::close::CloseCode;
use quinn::{Connection, ConnectionError, ReadError, RecvStream, SendStream, VarInt, WriteError};

use super::{CHUNKS, Progress, Unwritten};

/// A connection with its main stream.
#[derive(Debug)]
pub(crate) struct QuicLink {
    connection: Connection,
    send: SendStream,
    recv: RecvStream,
    /// What the server is told when the link goes.
    code: CloseCode,
}

impl Drop for QuicLink {
    fn drop(&mut self) {
        // Without effect on a connection that has ended already.
        self.connection.close(VarInt::from_u32(self.code.0), b"");
    }
}

impl QuicLink {
    /// Opens the main stream.
    pub(crate) async fn open(connection: Connection) -> Result<Self, Closing> {
        let (send, recv) = connection.open_bi().await.map_err(closing_of)?;
        Ok(Self { connection, send, recv, code: CloseCode::LOST })
    }

    pub(super) async fn progress(
        &mut self,
        reads: bool,
        out: &mut Unwritten,
        chunks: &mut [Bytes; CHUNKS],
    ) -> Progress {
        let write = async {
            if out.main.is_empty() {
                return pending().await;
            }
            match self.send.write_chunks(&mut out.main).await {
                Ok(written) => {
                    out.main.drain(..written.chunks);
                    Progress::Wrote
                }
                Err(WriteError::ConnectionLost(error)) => Progress::Lost(closing_of(error)),
                Err(error) => lost(error.to_string()),
            }
        };
        let read = async {
            if !reads {
                return Progress::Lost(closing_of(self.connection.closed().await));
            }
            match self.recv.read_chunks(chunks).await {
                Ok(Some(count)) => Progress::Read(count),
                Ok(None) => lost("the server ended the stream"),
                Err(ReadError::ConnectionLost(error)) => Progress::Lost(closing_of(error)),
                Err(error) => lost(error.to_string()),
            }
        };
        tokio::select! {
            biased;
            progress = write => progress,
            progress = read => progress,
        }
    }

    pub(super) fn abandon(mut self, code: CloseCode) {
        self.code = code;
    }

    pub(super) fn rtt(&self) -> Duration {
        self.connection.rtt()
    }

    pub(super) fn packets_received(&self) -> u64 {
        self.connection.stats().udp_rx.datagrams
    }

    pub(super) async fn close(mut self, out: &mut Unwritten, code: CloseCode) {
        self.code = code;
        let written = self.send.write_all_chunks(&mut out.main).await.is_ok();
        if code == CloseCode::BYE && written && self.send.finish().is_ok() {
            self.connection.closed().await;
        }
    }
}

fn lost(reason: impl Into<String>) -> Progress {
    Progress::Lost(Closing::new(CloseCode::LOST, reason))
}

/// What the end of a connection means to the session.
pub(crate) fn closing_of(error: ConnectionError) -> Closing {
    /// RFC 9001 §4.8: 0x0100 plus the TLS alert; 120 is `no_application_protocol`.
    const NO_APPLICATION_PROTOCOL: u64 = 0x100 + 120;
    match error {
        ConnectionError::ApplicationClosed(close) => {
            let code = u32::try_from(close.error_code.into_inner()).unwrap_or(u32::MAX);
            Closing::new(CloseCode(code), String::from_utf8_lossy(&close.reason))
        }
        ConnectionError::VersionMismatch => Closing::new(CloseCode::VERSION, error.to_string()),
        ConnectionError::ConnectionClosed(ref close) => {
            let version = u64::from(close.error_code) == NO_APPLICATION_PROTOCOL;
            let code = if version { CloseCode::VERSION } else { CloseCode::UNAVAILABLE };
            Closing::new(code, error.to_string())
        }
        // Also a certificate that is not trusted: later, because a captive portal causes it too.
        ConnectionError::TransportError(_) => Closing::new(CloseCode::UNAVAILABLE, error.to_string()),
        ConnectionError::Reset
        | ConnectionError::TimedOut
        | ConnectionError::LocallyClosed
        | ConnectionError::CidsExhausted => Closing::new(CloseCode::LOST, error.to_string()),
    }
}
