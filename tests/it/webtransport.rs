//! WebTransport by somebody else's client, web-transport-quinn, on a real socket with the echo backend.

use std::sync::Arc;

use bytes::Bytes;
use nearport_session::ServerLimits;
use nearport_trunk::echo::Echo;
use nearport_wire::body::Hello;
use nearport_wire::close::CloseCode;
use nearport_wire::{Decoder, Frame, Kind, Lane, Limits, body};
use prost::Message as _;
use quinn::crypto::rustls::QuicClientConfig;
use url::Url;
use web_transport_quinn::{RecvStream, SendStream, Session, SessionError, WebTransportError};

use crate::raw::Server;

const H3_NO_ERROR: quinn::VarInt = quinn::VarInt::from_u32(0x100);

/// A session with its main stream.
struct Web {
    session: Session,
    send: SendStream,
    recv: RecvStream,
    decoder: Decoder,
}

async fn connection(server: &Server) -> quinn::Connection {
    let tls = Arc::new(QuicClientConfig::try_from(server.client_tls(b"h3")).unwrap());
    let endpoint = quinn::Endpoint::client(std::net::SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
    let config = quinn::ClientConfig::new(tls);
    endpoint.connect_with(config, server.edge.local_addr(), "edge").unwrap().await.unwrap()
}

fn url(path: &str) -> Url {
    Url::parse(&format!("https://edge:4433{path}")).unwrap()
}

impl Web {
    async fn login(server: &Server, user: &str) -> Self {
        let session = Session::connect(connection(server).await, url("/np")).await.unwrap();
        let (send, recv) = session.open_bi().await.unwrap();
        let mut web = Self { session, send, recv, decoder: Decoder::new(Limits::client()) };
        let hello = Hello { app: 1, user: user.into(), device: "web".into(), ..Hello::default() };
        web.send(Frame::new(Lane::Control, Kind::HELLO, 0, hello.encode_to_vec().into())).await;
        assert_eq!(web.next().await.kind, Kind::WELCOME);
        web
    }

    async fn send(&mut self, frame: Frame) {
        self.send.write_all(&frame.encode()).await.unwrap();
    }

    async fn next(&mut self) -> Frame {
        next_frame(&mut self.recv, &mut self.decoder).await
    }
}

async fn next_frame(recv: &mut RecvStream, decoder: &mut Decoder) -> Frame {
    loop {
        if let Some(frame) = decoder.next_frame().unwrap() {
            return frame;
        }
        decoder.feed(recv.read_chunk(usize::MAX, true).await.unwrap().expect("the stream goes on").bytes);
    }
}

#[tokio::test]
async fn a_session_echoes_on_two_lanes_and_takes_a_broadcast_as_a_datagram() {
    let server = Server::start(2, ServerLimits::default(), &Echo::default());
    let mut web = Web::login(&server, "web").await;
    for id in 1..20 {
        let body = Bytes::from(vec![7; 500 * usize::try_from(id).unwrap()]);
        web.send(Frame::new(Lane::Chat, Kind::ECHO, id, body.clone())).await;
        assert_eq!(web.next().await, Frame::new(Lane::Chat, Kind::REPLY, id, body));
    }
    let (mut send, mut recv) = web.session.open_bi().await.unwrap();
    let request = Frame::new(Lane::Bulk, Kind::ECHO, 30, Bytes::from_static(b"history"));
    send.write_all(&request.encode()).await.unwrap();
    let answer = next_frame(&mut recv, &mut Decoder::new(Limits::client())).await;
    assert_eq!((answer.lane, answer.kind, answer.id), (Lane::Bulk, Kind::REPLY, 30));

    web.send(Frame::new(Lane::Chat, Kind::BROADCAST, 31, Bytes::from_static(b"to all"))).await;
    let mut datagram = Decoder::new(Limits::client());
    datagram.feed(web.session.read_datagram().await.unwrap());
    let push = datagram.next_frame().unwrap().unwrap();
    assert_eq!(push, Frame::new(Lane::Chat, Kind::PUSH, 0, Bytes::from_static(b"to all")));
    assert_eq!(web.next().await.kind, Kind::REPLY);
    let ping = Frame::new(Lane::Control, Kind::PING, 32, Bytes::new());
    web.session.send_datagram(ping.encode()).unwrap();
    assert_eq!(web.next().await, Frame::new(Lane::Control, Kind::PONG, 32, Bytes::new()));
}

#[tokio::test]
async fn either_side_closes_and_the_other_learns_it() {
    let server = Server::start(1, ServerLimits::default(), &Echo::default());
    // We say good-bye on the stream; the server closes with code and reason.
    let mut web = Web::login(&server, "one").await;
    web.send(Frame::new(Lane::Control, Kind::CLOSE, 0, Bytes::new())).await;
    let close = web.next().await;
    assert_eq!(close.kind, Kind::CLOSE);
    assert_eq!(body::Close::decode(close.body).unwrap().code, CloseCode::BYE.0);
    let closed = web.session.closed().await;
    assert!(
        matches!(&closed, SessionError::WebTransportError(WebTransportError::Closed(code, _)) if *code == CloseCode::BYE.0),
        "{closed:?}"
    );
    // A broken rule, with its own code.
    let mut web = Web::login(&server, "two").await;
    web.send(Frame::new(Lane::Chat, Kind(0xee), 0, Bytes::new())).await;
    let closed = web.session.closed().await;
    assert!(
        matches!(&closed, SessionError::WebTransportError(WebTransportError::Closed(code, _)) if *code == CloseCode::BAD_KIND.0),
        "{closed:?}"
    );
    // And the client's own close ends the session at once.
    let connection = connection(&server).await;
    let session = Session::connect(connection.clone(), url("/np")).await.unwrap();
    session.close(0, b"done");
    let closed = connection.closed().await;
    assert!(
        matches!(&closed, quinn::ConnectionError::ApplicationClosed(close) if close.error_code == H3_NO_ERROR),
        "{closed:?}"
    );
}

#[tokio::test]
async fn another_path_is_not_found_and_the_connection_stays() {
    let server = Server::start(1, ServerLimits::default(), &Echo::default());
    let refused = Session::connect(connection(&server).await, url("/other")).await;
    assert!(refused.unwrap_err().to_string().contains("404"), "the status is in the error");
}
