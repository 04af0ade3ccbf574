//! QUIC, bare or with a WebTransport session on it: quinn does the work, and a lost connection says why.

use std::future::pending;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use nearport_session::Closing;
use nearport_wire::close::CloseCode;
use quinn::{Connection, ConnectionError, ReadError, RecvStream, SendStream, VarInt, WriteError};

use super::webtransport::{H3_NO_ERROR, WebTransport};
use super::{CHUNKS, Progress, Unwritten};
use crate::core::Path;
use crate::network::Backlog;
use crate::transport::Transport;

/// A connection with its main stream, and the bulk lane's own stream once that is used.
#[derive(Debug)]
pub(crate) struct QuicLink {
    connection: Connection,
    /// Of the socket that it shares with others.
    backlog: Arc<Backlog>,
    send: SendStream,
    recv: RecvStream,
    bulk_send: Option<SendStream>,
    bulk_recv: Option<RecvStream>,
    web: Option<Box<WebTransport>>,
    /// Whether this side has any use for datagrams; quinn only says whether the server has.
    datagrams: bool,
    /// What the server is told when the link goes.
    code: CloseCode,
}

impl Drop for QuicLink {
    fn drop(&mut self) {
        let code = if self.web.is_some() { H3_NO_ERROR } else { self.code.0 };
        // Without effect on a connection that has ended already.
        self.connection.close(VarInt::from_u32(code), b"");
    }
}

/// Packets of a connection so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Packets {
    pub(crate) sent: u64,
    /// Of those sent.
    pub(crate) lost: u64,
    pub(crate) received: u64,
    /// Those that had come by then were read; `None`: all.
    pub(crate) read_until: Option<Instant>,
}

impl QuicLink {
    /// Opens the main stream.
    pub(crate) async fn open(
        connection: Connection,
        backlog: Arc<Backlog>,
        datagrams: bool,
    ) -> Result<Self, Closing> {
        let (send, recv) = connection.open_bi().await.map_err(closing_of)?;
        let code = CloseCode::LOST;
        let (bulk_send, bulk_recv) = (None, None);
        Ok(Self { connection, backlog, send, recv, bulk_send, bulk_recv, web: None, datagrams, code })
    }

    /// Opens a WebTransport session and its main stream.
    pub(crate) async fn open_web(
        connection: Connection,
        backlog: Arc<Backlog>,
        url: &str,
        datagrams: bool,
    ) -> Result<Self, Closing> {
        let web = WebTransport::open(&connection, url).await?;
        let mut link = Self::open(connection, backlog, datagrams).await?;
        let header = link.send.write_all_chunks(&mut [web.stream_header()]).await;
        header.map_err(|error| Closing::new(CloseCode::LOST, error.to_string()))?;
        link.web = Some(Box::new(web));
        Ok(link)
    }

    pub(super) fn path(&self) -> Path {
        let (transport, overhead) = match &self.web {
            Some(web) => (Transport::WebTransport, web.datagram_overhead()),
            None => (Transport::Quic, 0),
        };
        let datagram_bytes_max = self.connection.max_datagram_size().filter(|_| self.datagrams);
        let datagram_bytes_max = datagram_bytes_max.map(|max| max.saturating_sub(overhead));
        Path { transport, bulk_stream: true, datagram_bytes_max }
    }

    pub(super) async fn progress(
        &mut self,
        reads: bool,
        out: &mut Unwritten,
        chunks: &mut [Bytes; CHUNKS],
    ) -> Progress {
        for datagram in out.datagrams.drain(..) {
            let datagram = match &self.web {
                Some(web) => web.wrap(&datagram),
                None => datagram,
            };
            // One that the path has become too small for is lost, as any may be.
            let _ = self.connection.send_datagram(datagram);
        }
        let mut bulk_chunks: [Bytes; CHUNKS] = Default::default();
        let writing = async {
            match out.main.is_empty() {
                true => pending().await,
                false => write(&mut self.send, &mut out.main).await,
            }
        };
        let writing_bulk = async {
            match &mut self.bulk_send {
                _ if out.bulk.is_empty() => pending().await,
                Some(send) => Ok(write(send, &mut out.bulk).await),
                None => Err(self.connection.open_bi().await),
            }
        };
        let reading = async {
            match reads {
                true => read(&mut self.recv, chunks).await.map_or_else(Progress::Lost, Progress::Read),
                false => Progress::Lost(closing_of(self.connection.closed().await)),
            }
        };
        let reading_bulk = async {
            match &mut self.bulk_recv {
                Some(recv) if reads => read(recv, &mut bulk_chunks).await,
                _ => pending().await,
            }
        };
        let receiving = async {
            if !reads {
                return pending().await;
            }
            match self.connection.read_datagram().await {
                Ok(datagram) => datagram,
                // The streams say so too, after what came before the end.
                Err(_) => pending().await,
            }
        };
        let ending = async {
            match &mut self.web {
                Some(web) => web.ended().await,
                None => pending().await,
            }
        };
        let bulk = tokio::select! {
            biased;
            progress = writing => return progress,
            opened = writing_bulk => match opened {
                Ok(progress) => return progress,
                Err(Ok((send, recv))) => {
                    if let Some(web) = &self.web {
                        out.bulk.insert(0, web.stream_header());
                    }
                    (self.bulk_send, self.bulk_recv) = (Some(send), Some(recv));
                    return Progress::Wrote;
                }
                Err(Err(error)) => return Progress::Lost(closing_of(error)),
            },
            progress = reading => return progress,
            datagram = receiving => {
                let datagram = match &self.web {
                    Some(web) => web.unwrap(datagram).unwrap_or_default(),
                    None => datagram,
                };
                return Progress::Datagram(datagram);
            }
            closing = ending => return Progress::Lost(closing),
            bulk = reading_bulk => bulk,
        };
        match bulk {
            Ok(count) => {
                *chunks = bulk_chunks;
                Progress::ReadBulk(count)
            }
            Err(closing) => Progress::Lost(closing),
        }
    }

    pub(super) fn abandon(mut self, code: CloseCode) {
        self.code = code;
    }

    pub(super) fn rtt(&self) -> Duration {
        self.connection.rtt()
    }

    pub(super) fn packets(&self) -> Packets {
        let stats = self.connection.stats();
        let (sent, lost) = (stats.path.sent_packets, stats.path.lost_packets);
        let read_until = Some(self.backlog.read_until(Instant::now()));
        Packets { sent, lost, received: stats.udp_rx.datagrams, read_until }
    }

    pub(super) async fn close(mut self, out: &mut Unwritten, code: CloseCode) {
        self.code = code;
        let written = self.send.write_all_chunks(&mut out.main).await.is_ok();
        if code == CloseCode::BYE && written && self.send.finish().is_ok() {
            match &mut self.web {
                // A server of WebTransport leaves the end of the connection to the client.
                Some(web) => {
                    web.finish();
                    web.ended().await;
                }
                None => drop(self.connection.closed().await),
            }
        }
    }
}

async fn write(send: &mut SendStream, chunks: &mut Vec<Bytes>) -> Progress {
    match send.write_chunks(chunks).await {
        Ok(written) => {
            chunks.drain(..written.chunks);
            Progress::Wrote
        }
        Err(WriteError::ConnectionLost(error)) => Progress::Lost(closing_of(error)),
        Err(error) => Progress::Lost(Closing::new(CloseCode::LOST, error.to_string())),
    }
}

async fn read(recv: &mut RecvStream, chunks: &mut [Bytes; CHUNKS]) -> Result<usize, Closing> {
    match recv.read_chunks(chunks).await {
        Ok(Some(count)) => Ok(count),
        Ok(None) => Err(Closing::new(CloseCode::LOST, "the server ended the stream")),
        Err(ReadError::ConnectionLost(error)) => Err(closing_of(error)),
        Err(error) => Err(Closing::new(CloseCode::LOST, error.to_string())),
    }
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
