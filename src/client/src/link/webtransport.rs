//! WebTransport over HTTP/3 (draft-ietf-webtrans-http3): what makes a session out of a QUIC connection, and what its
//! streams and datagrams carry in front.
//!
//! One session per connection. The stream of the CONNECT request stays open as long as the session; a capsule on it ends
//! the session with a code.

use std::fmt;
use std::pin::Pin;

use bytes::{Bytes, BytesMut};
use nearport_session::Closing;
use nearport_wire::close::CloseCode;
use quinn::{Connection, RecvStream, SendStream};
use url::Url;
use web_transport_proto::{
    Capsule, ConnectRequest, ConnectResponse, Frame, Http3CapsuleReader, Settings, SettingsError, VarInt,
};

use super::closing_of;

/// Streams in one direction that an HTTP/3 server has: control, QPACK encoder and decoder.
const SERVER_STREAMS_MAX: usize = 3;

/// HTTP/3's "no error", RFC 9114 §8.1.
pub(super) const H3_NO_ERROR: u32 = 0x100;

/// A session on a connection.
pub(crate) struct WebTransport {
    /// In front of every stream: what it is, and of which session.
    stream_header: Bytes,
    /// In front of every datagram.
    datagram_header: Bytes,
    connect: SendStream,
    /// The session is over, by what the server says on the CONNECT's stream.
    ended: Pin<Box<dyn Future<Output = Closing> + Send>>,
    /// To close one of these would break HTTP/3.
    _control: SendStream,
    _theirs: Vec<RecvStream>,
}

impl fmt::Debug for WebTransport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WebTransport").field("connect", &self.connect.id()).finish_non_exhaustive()
    }
}

impl WebTransport {
    /// Opens a session at `https://{host}:{port}{path}`; `host` as it stands in a URL.
    pub(crate) async fn open(connection: &Connection, url: &str) -> Result<Self, Closing> {
        let refused =
            |error: &dyn fmt::Display| Closing::new(CloseCode::UNAVAILABLE, format!("webtransport: {error}"));
        let url = Url::parse(url).map_err(|error| refused(&error))?;
        let mut control = connection.open_uni().await.map_err(closing_of)?;
        let mut settings = Settings::default();
        settings.enable_webtransport(1);
        settings.write(&mut control).await.map_err(|error| refused(&error))?;
        let (settings, theirs) = read_settings(connection).await?;
        if settings.supports_webtransport() == 0 {
            return Err(refused(&"the server does not offer it"));
        }
        let (mut connect, mut answer) = connection.open_bi().await.map_err(closing_of)?;
        ConnectRequest::new(url).write(&mut connect).await.map_err(|error| refused(&error))?;
        ConnectResponse::read(&mut answer).await.map_err(|error| refused(&error))?;

        let session = quinn::VarInt::from(connect.id()).into_inner();
        let varint = |value: u64| VarInt::from_u64(value).expect("a stream id is a varint");
        let (mut stream_header, mut datagram_header) = (BytesMut::new(), BytesMut::new());
        Frame::WEBTRANSPORT.encode(&mut stream_header);
        varint(session).encode(&mut stream_header);
        // RFC 9297 §2.1: the id of a stream that a client opened in both directions, divided by four.
        varint(session / 4).encode(&mut datagram_header);
        Ok(Self {
            stream_header: stream_header.freeze(),
            datagram_header: datagram_header.freeze(),
            connect,
            ended: Box::pin(end_of(answer)),
            _control: control,
            _theirs: theirs,
        })
    }

    pub(super) fn stream_header(&self) -> Bytes {
        self.stream_header.clone()
    }

    /// Room that a datagram's header takes.
    pub(super) fn datagram_overhead(&self) -> usize {
        self.datagram_header.len()
    }

    pub(super) fn wrap(&self, datagram: &Bytes) -> Bytes {
        [&self.datagram_header[..], &datagram[..]].concat().into()
    }

    /// What a datagram of this session holds; `None` for one of another.
    pub(super) fn unwrap(&self, mut datagram: Bytes) -> Option<Bytes> {
        // Compared as numbers: any form of a varint is allowed.
        let session = VarInt::decode(&mut datagram).ok()?;
        (VarInt::decode(&mut self.datagram_header.clone()).ok()? == session).then_some(datagram)
    }

    /// Ends when the server ends the session. Cancel-safe; not to be called again afterwards.
    pub(super) async fn ended(&mut self) -> Closing {
        self.ended.as_mut().await
    }

    /// Says that nothing follows.
    pub(super) fn finish(&mut self) {
        // Fails on a connection that is over, where nobody minds.
        let _ = self.connect.finish();
    }
}

/// The server's settings, and its streams that have to stay.
async fn read_settings(connection: &Connection) -> Result<(Settings, Vec<RecvStream>), Closing> {
    let mut theirs = Vec::new();
    while theirs.len() < SERVER_STREAMS_MAX {
        let mut stream = connection.accept_uni().await.map_err(closing_of)?;
        let settings = Settings::read(&mut stream).await;
        theirs.push(stream);
        match settings {
            Ok(settings) => return Ok((settings, theirs)),
            // Of another type: those of QPACK say nothing, as the dynamic table is not used.
            Err(SettingsError::UnexpectedStreamType(_)) => {}
            Err(error) => return Err(Closing::new(CloseCode::UNAVAILABLE, format!("webtransport: {error}"))),
        }
    }
    Err(Closing::new(CloseCode::UNAVAILABLE, "webtransport: the server says nothing about itself"))
}

async fn end_of(stream: RecvStream) -> Closing {
    let mut capsules = Http3CapsuleReader::new(stream);
    loop {
        match capsules.read().await {
            Ok(Some(Capsule::CloseWebTransportSession { code, reason })) => {
                return Closing::new(CloseCode(code), reason);
            }
            Ok(Some(_)) => {}
            Ok(None) => return Closing::new(CloseCode::LOST, "the server ended the session"),
            Err(error) => return Closing::new(CloseCode::LOST, format!("webtransport: {error}")),
        }
    }
}
