//! Proofs that a name is ours: a text over HTTP (RFC 8555 §8.3), or a certificate in a handshake (RFC 8737).

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use metrics::counter;
use rcgen::{CertificateParams, CustomExtension, KeyPair};
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::sign::CertifiedKey;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use crate::tls::provider;

const PATH: &str = "/.well-known/acme-challenge/";
/// Directories ask from some places at once; whoever else comes to port 80 gets what is left.
const CONNECTIONS_MAX: usize = 64;
const REQUEST_BYTES_MAX: usize = 4096;
const HEADERS_MAX: usize = 64;
/// For one connection from its first to its last byte.
const CONNECTION_LIMIT: Duration = Duration::from_secs(5);
/// After a failed accept (no descriptor left, mostly).
const ACCEPT_RETRY: Duration = Duration::from_millis(100);

/// Texts to answer with, by token, while an order is under way. At most one for each of its names.
#[derive(Debug, Clone, Default)]
pub(crate) struct Tokens(Arc<Mutex<HashMap<String, String>>>);

/// A token that is answered as long as this lives.
#[derive(Debug)]
pub(crate) struct Shown {
    tokens: Tokens,
    token: String,
}

impl Tokens {
    pub(crate) fn show(&self, token: &str, text: &str) -> Shown {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(token.to_owned(), text.to_owned());
        Shown { tokens: self.clone(), token: token.to_owned() }
    }

    fn find(&self, token: &str) -> Option<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(token).cloned()
    }
}

impl Drop for Shown {
    fn drop(&mut self) {
        self.tokens.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.token);
    }
}

/// Listens for the time of an order: a port that is open for minutes in two months is attacked for minutes.
pub(crate) async fn bind(addr: SocketAddr) -> Result<TcpListener, String> {
    TcpListener::bind(addr).await.map_err(|error| {
        let way_out = match error.kind() {
            io::ErrorKind::AddrInUse => {
                "stop what has it, or let that one pass the challenge path on to acme.http_listen"
            }
            io::ErrorKind::PermissionDenied => "ports below 1024 need CAP_NET_BIND_SERVICE",
            _ => "set acme.http_listen to an address of this machine",
        };
        format!("acme.http_listen {addr}: {error}: {way_out}")
    })
}

/// Answers until the future is dropped, which also ends every connection.
pub(crate) async fn serve(listener: TcpListener, tokens: Tokens) {
    serve_with(listener, tokens, CONNECTION_LIMIT).await;
}

async fn serve_with(listener: TcpListener, tokens: Tokens, limit: Duration) {
    let room = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let mut connections = JoinSet::new();
    loop {
        // Beyond the bound the kernel's backlog waits; no connection lasts longer than its limit.
        let permit = Arc::clone(&room).acquire_owned().await.expect("never closed");
        match listener.accept().await {
            Ok((stream, from)) => {
                let tokens = tokens.clone();
                connections.spawn(async move {
                    let outcome = tokio::time::timeout(limit, answer(stream, &tokens)).await;
                    let status = outcome.unwrap_or(Ok(408)).unwrap_or(400);
                    tracing::debug!(%from, status, "challenge port");
                    counter!("nearport_acme_http_requests_total", "status" => status.to_string())
                        .increment(1);
                    drop(permit);
                });
            }
            Err(error) => {
                tracing::warn!(%error, "challenge port cannot accept");
                tokio::time::sleep(ACCEPT_RETRY).await;
            }
        }
        while connections.try_join_next().is_some() {}
    }
}

async fn answer(mut stream: TcpStream, tokens: &Tokens) -> io::Result<u16> {
    let mut head = Vec::with_capacity(512);
    let reply = loop {
        if let Some(reply) = reply(&head, tokens) {
            break reply;
        }
        let mut part = [0; 1024];
        let got = stream.read(&mut part).await?;
        if got == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        head.extend_from_slice(&part[..got]);
    };
    let (status, body) = reply.map_or_else(|status| (status, String::new()), |text| (200, text));
    let reason = match status {
        200 => "OK",
        404 => "Not Found",
        _ => "Bad Request",
    };
    let text = format!(
        "HTTP/1.1 {status} {reason}\r\ncontent-type: application/octet-stream\r\ncontent-length: {}\r\nconnection: \
         close\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(text.as_bytes()).await?;
    stream.shutdown().await?;
    Ok(status)
}

/// The text or the refusal for a request; `None` if there is more of it to come.
fn reply(head: &[u8], tokens: &Tokens) -> Option<Result<String, u16>> {
    let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
    let mut request = httparse::Request::new(&mut headers);
    match request.parse(head) {
        Ok(httparse::Status::Partial) if head.len() < REQUEST_BYTES_MAX => return None,
        Ok(httparse::Status::Complete(_)) => {}
        _ => return Some(Err(400)),
    }
    let path = request.path.filter(|_| request.method == Some("GET"));
    let token = path.and_then(|path| path.strip_prefix(PATH));
    Some(token.and_then(|token| tokens.find(token)).ok_or(404))
}

/// The certificate that proves `name` in a handshake: self-signed, with the digest of the key authorization in a
/// critical extension (RFC 8737 §3).
pub(crate) fn certificate(name: &str, digest: &[u8]) -> Result<CertifiedKey, rcgen::Error> {
    let key = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256)?;
    let mut params = CertificateParams::new([name.to_owned()])?;
    params.custom_extensions.push(CustomExtension::new_acme_identifier(digest));
    let certificate = params.self_signed(&key)?;
    let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let key = provider().key_provider.load_private_key(key).expect("a P-256 key is one of this provider");
    // Not `from_der`, which reads the certificate and refuses a critical extension that is meant for directories.
    Ok(CertifiedKey::new(vec![certificate.der().clone()], key))
}

#[cfg(test)]
mod tests {
    use super::*;
    use x509_parser::prelude::{FromDer as _, X509Certificate};

    async fn ask(addr: SocketAddr, request: &[u8]) -> String {
        let mut stream = TcpStream::connect(addr).await.unwrap();
        stream.write_all(request).await.unwrap();
        let mut answer = String::new();
        let _ = stream.read_to_string(&mut answer).await;
        answer
    }

    #[tokio::test]
    async fn only_tokens_that_are_shown_are_answered() {
        let listener = bind(SocketAddr::from(([127, 0, 0, 1], 0))).await.unwrap();
        let addr = listener.local_addr().unwrap();
        let tokens = Tokens::default();
        let shown = tokens.show("tok-en_1", "tok-en_1.thumb");
        let asking = async {
            let get = |path: &str| format!("GET {path} HTTP/1.1\r\nhost: a.test\r\nuser-agent: x\r\n\r\n");
            let path = format!("{PATH}tok-en_1");
            let answer = ask(addr, get(&path).as_bytes()).await;
            assert!(
                answer.starts_with("HTTP/1.1 200 OK\r\n") && answer.ends_with("\r\n\r\ntok-en_1.thumb"),
                "{answer}"
            );
            for other in [PATH, "/", "/.well-known/acme-challenge", "/.well-known/acme-challenge/../tok-en_1"]
            {
                assert!(ask(addr, get(other).as_bytes()).await.starts_with("HTTP/1.1 404"), "{other}");
            }
            let post = get(&path).replacen("GET", "POST", 1);
            assert!(ask(addr, post.as_bytes()).await.starts_with("HTTP/1.1 404"));
            for bad in ["\x16\x03\x01\x02\0\r\n\r\n", "GET\r\n\r\n", "GET / SMTP/1.0\r\n\r\n"] {
                assert!(ask(addr, bad.as_bytes()).await.starts_with("HTTP/1.1 400"), "{bad:?}");
            }
            let endless = format!("GET {path} HTTP/1.1\r\nx: {}", "y".repeat(REQUEST_BYTES_MAX));
            assert!(ask(addr, endless.as_bytes()).await.starts_with("HTTP/1.1 400"));
            drop(shown);
            assert!(ask(addr, get(&path).as_bytes()).await.starts_with("HTTP/1.1 404"));
        };
        tokio::select! {
            () = serve(listener, tokens.clone()) => {}
            () = asking => {}
        }
    }

    #[tokio::test]
    async fn a_slow_client_is_let_go_and_keeps_nobody_out() {
        let listener = bind(SocketAddr::from(([127, 0, 0, 1], 0))).await.unwrap();
        let addr = listener.local_addr().unwrap();
        let tokens = Tokens::default();
        let _shown = tokens.show("t", "text");
        let asking = async {
            let mut slow = Vec::new();
            for _ in 0..CONNECTIONS_MAX {
                let mut stream = TcpStream::connect(addr).await.unwrap();
                stream.write_all(b"GET /").await.unwrap();
                slow.push(stream);
            }
            let answer = ask(addr, format!("GET {PATH}t HTTP/1.0\r\n\r\n").as_bytes()).await;
            assert!(answer.ends_with("text"), "{answer}");
            for mut stream in slow {
                assert_eq!(stream.read(&mut [0; 8]).await.unwrap_or(0), 0);
            }
        };
        tokio::select! {
            () = serve_with(listener, tokens.clone(), Duration::from_millis(50)) => {}
            () = asking => {}
        }
    }

    #[tokio::test]
    async fn a_port_in_use_is_told_with_the_setting() {
        let listener = bind(SocketAddr::from(([127, 0, 0, 1], 0))).await.unwrap();
        let error = bind(listener.local_addr().unwrap()).await.unwrap_err();
        assert!(
            error.starts_with("acme.http_listen 127.0.0.1:") && error.contains("stop what has it"),
            "{error}"
        );
    }

    #[test]
    fn the_challenge_certificate_has_the_digest_in_a_critical_extension() {
        let digest = [7; 32];
        let key = certificate("a.test", &digest).unwrap();
        let (_, parsed) = X509Certificate::from_der(&key.cert[0]).unwrap();
        // id-pe-acmeIdentifier
        let extension =
            parsed.extensions().iter().find(|ext| ext.oid.to_id_string() == "1.3.6.1.5.5.7.1.31").unwrap();
        assert!(extension.critical);
        assert_eq!(extension.value, [&[4, 32][..], &digest].concat(), "an OCTET STRING");
        let names = parsed.subject_alternative_name().unwrap().unwrap();
        assert_eq!(names.value.general_names.len(), 1, "one name and no other");
    }

    proptest::proptest! {
        #[test]
        fn no_request_panics(head: Vec<u8>, rest in "[ -~\r\n]{0,200}") {
            let tokens = Tokens::default();
            let _ = reply(&head, &tokens);
            let _ = reply(format!("GET {PATH}{rest}").as_bytes(), &tokens);
        }
    }
}
