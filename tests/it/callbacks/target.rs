//! Where back ends may be, and how each side knows the other.

use std::path::Path;

use nearport_client::{Transport, text, user};
use rustls::RootCertStore;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;

use super::back_end::{BackEnd, fine};
use super::configure;
use crate::node::Node;
use crate::sdk::Access;

const BEFORE: &str = "C2C.CallbackBeforeSendMsg";
const AFTER: &str = "C2C.CallbackAfterSendMsg";

/// Loopback is not public: nothing is sent there unless it is allowed, and what was to be told is kept.
#[tokio::test]
async fn a_back_end_in_a_private_network_is_not_connected_to() {
    let dir = tempfile::tempdir().unwrap();
    let mut back_end = BackEnd::new(|_| fine()).await;
    back_end.start().await;
    let settings = format!(
        "[callback]\nurl = 'http://localhost:{}/'\nevents = ['{BEFORE}', '{AFTER}']\nretry_after = false\n",
        back_end.addr.port()
    );
    std::fs::write(dir.path().join("nearport.toml"), settings).unwrap();
    let node = Node::start(dir.path(), &[]);
    let access = Access::of(&node, dir.path());
    let alice = access.login("alice", &[Transport::Tls]).await;
    alice.send(user("bob"), text("hello")).await.unwrap();
    let dead = loop {
        let output = node.nearport(&["callbacks", "list"]);
        let text = String::from_utf8(output.stdout).unwrap();
        if let Some(line) = text.lines().next() {
            break serde_json::from_str::<serde_json::Value>(line).unwrap();
        }
    };
    assert_eq!(dead["reason"], "its address is not public");
    assert_eq!(back_end.connections(), 0);
    alice.close().await;
}

/// A certificate with its key, in files.
fn certificate(dir: &Path, name: &str) -> (CertificateDer<'static>, PrivateKeyDer<'static>) {
    let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
    std::fs::write(dir.join(format!("{name}.pem")), made.cert.pem()).unwrap();
    std::fs::write(dir.join(format!("{name}.key")), made.signing_key.serialize_pem()).unwrap();
    let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
    (made.cert.der().clone(), key)
}

/// A back end that takes nobody without its certificate, and one that nobody knows.
#[tokio::test]
async fn tls_is_mutual_and_a_back_end_with_another_certificate_is_told_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let (server, key) = certificate(dir.path(), "server");
    let (client, _) = certificate(dir.path(), "client");
    let _ = certificate(dir.path(), "other");
    let mut clients = RootCertStore::empty();
    clients.add(client).unwrap();
    let provider = std::sync::Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let verifier = WebPkiClientVerifier::builder_with_provider(clients.into(), provider.clone());
    let tls = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_client_cert_verifier(verifier.build().unwrap())
        .with_single_cert(vec![server], key)
        .unwrap();
    let mut back_end = BackEnd::new(|_| fine()).await.with_tls(tls);
    back_end.start().await;
    let shows = "client_cert = 'client.pem'\nclient_key = 'client.key'\n";
    for (ca, shows, told) in [
        ("server.pem", shows, true),
        // It would not be let in, and it would not let in.
        ("server.pem", "", false),
        ("other.pem", shows, false),
    ] {
        let before = back_end.heard().len();
        configure(dir.path(), back_end.addr, &[BEFORE], "");
        let file = dir.path().join("nearport.toml");
        let settings = std::fs::read_to_string(&file).unwrap().replace("http://", "https://");
        std::fs::write(&file, format!("{settings}ca = '{ca}'\n{shows}before_failure = 'refuse'\n")).unwrap();
        let node = Node::start(dir.path(), &[]);
        let access = Access::of(&node, dir.path());
        let alice = access.login("alice", &[Transport::Tls]).await;
        let sent = alice.send(user("bob"), text("hello")).await;
        assert_eq!(
            (sent.is_ok(), back_end.heard().len() - before),
            (told, usize::from(told)),
            "{ca} {shows}"
        );
        alice.close().await;
    }
}
