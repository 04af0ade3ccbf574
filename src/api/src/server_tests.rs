use super::*;
use crate::serve::HEAD_BYTES_MAX;
use axum::body::Body;
use axum::http::Request;
use axum::routing::get;
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::pki_types::{PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

async fn server() -> ApiServer {
    ApiServer::bind(SocketAddr::from(([127, 0, 0, 1], 0))).await.unwrap()
}

fn app() -> Router {
    Router::new()
        .route("/whoami", get(|ConnectInfo(peer): ConnectInfo<SocketAddr>| async move { peer.to_string() }))
}

/// Asks twice on one connection; returns what was said.
async fn ask(mut stream: impl AsyncRead + AsyncWrite + Unpin) -> String {
    for close in ["keep-alive", "close"] {
        let request = format!("GET /whoami HTTP/1.1\r\nhost: x\r\nconnection: {close}\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
    }
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

#[tokio::test]
async fn routes_know_the_peer_and_long_heads_are_refused() {
    let server = server().await;
    let addr = server.local_addr();
    assert!(matches!(ApiServer::bind(addr).await, Err(Error::AddrInUse(at)) if at == addr));
    let asking = async {
        let stream = TcpStream::connect(addr).await.unwrap();
        let own = stream.local_addr().unwrap().to_string();
        let answer = ask(stream).await;
        assert_eq!(answer.matches(&own).count(), 2, "{answer}");

        let mut stream = TcpStream::connect(addr).await.unwrap();
        let request = format!("GET / HTTP/1.1\r\nx: {}\r\n\r\n", "y".repeat(2 * HEAD_BYTES_MAX));
        let _ = stream.write_all(request.as_bytes()).await;
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer).await;
        let answer = String::from_utf8_lossy(&answer);
        assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 431"), "{answer}");
    };
    tokio::select! {
        ended = server.run(app()) => panic!("{ended:?}"),
        () = asking => {}
    }
}

/// A server's settings, and what a client trusts.
fn certificate() -> (ServerConfig, RootCertStore) {
    let made = rcgen::generate_simple_self_signed(["api.test".to_owned()]).unwrap();
    let key = PrivateKeyDer::Pkcs8(made.signing_key.serialize_der().into());
    let chain = vec![made.cert.der().clone()];
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let server = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let server = server.with_no_client_auth().with_single_cert(chain.clone(), key).unwrap();
    let mut roots = RootCertStore::empty();
    roots.add(chain[0].clone()).unwrap();
    (server, roots)
}

async fn connect(addr: SocketAddr, roots: &RootCertStore, alpn: &[&[u8]]) -> TlsStream<TcpStream> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let client = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let mut client = client.with_root_certificates(roots.clone()).with_no_client_auth();
    client.alpn_protocols = alpn.iter().map(|name| name.to_vec()).collect();
    let tcp = TcpStream::connect(addr).await.unwrap();
    let name = ServerName::try_from("api.test").unwrap();
    TlsConnector::from(Arc::new(client)).connect(name, tcp).await.unwrap()
}

#[tokio::test]
async fn with_tls_it_speaks_both_versions_and_a_client_without_tls_is_told_nothing() {
    let (config, roots) = certificate();
    let server = server().await.with_tls(config);
    let addr = server.local_addr();
    assert!(server.is_tls());
    let asking = async {
        for alpn in [&[b"http/1.1" as &[u8]][..], &[]] {
            let stream = connect(addr, &roots, alpn).await;
            let own = stream.get_ref().0.local_addr().unwrap().to_string();
            let answer = ask(stream).await;
            assert_eq!(answer.matches(&own).count(), 2, "{alpn:?}: {answer}");
        }

        let stream = connect(addr, &roots, &[b"h2", b"http/1.1"]).await;
        let own = stream.get_ref().0.local_addr().unwrap().to_string();
        assert_eq!(stream.get_ref().1.alpn_protocol(), Some(b"h2" as &[u8]));
        let handshake = hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream));
        let (mut sender, connection) = handshake.await.unwrap();
        let asked = async {
            for _ in 0..2 {
                let request = Request::get("https://api.test/whoami").body(Body::empty()).unwrap();
                let answer = sender.send_request(request).await.unwrap();
                let body = axum::body::to_bytes(Body::new(answer.into_body()), 100).await.unwrap();
                assert_eq!(body, own.as_bytes());
            }
        };
        tokio::select! {
            ended = connection => panic!("{ended:?}"),
            () = asked => {}
        }

        let mut stream = TcpStream::connect(addr).await.unwrap();
        stream.write_all(b"GET /whoami HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer).await;
        assert!(!answer.starts_with(b"HTTP"), "{answer:?}");
    };
    tokio::select! {
        ended = server.run(app()) => panic!("{ended:?}"),
        () = asking => {}
    }
}
