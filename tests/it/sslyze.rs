//! The TLS of a real node's TCP port, judged by sslyze against Mozilla's "modern" configuration; and by rustls, what sslyze
//! does not know yet.

use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose};
use rustls::pki_types::CertificateDer;
use rustls::{ClientConnection, NamedGroup};
use serde_json::Value;

use crate::node::{Node, STUCK, output_within};
use crate::python::python;
use crate::raw::client_tls;

/// A scan takes some seconds; it has time limits of its own.
const SCAN: Duration = Duration::from_secs(120);

/// A CA and a server certificate as a production node has them: Mozilla's configuration wants less than 90 days, which
/// the development CA's has not. Paths of CA, chain and key.
fn certificate(dir: &Path) -> ([PathBuf; 3], CertificateDer<'static>) {
    let end = |days| rcgen::date_time_ymd(1970, 1, 1) + std::time::UNIX_EPOCH.elapsed().unwrap() + days;
    let day = Duration::from_hours(24);
    let mut ca = CertificateParams::default();
    ca.distinguished_name.push(DnType::CommonName, "A production CA");
    ca.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    ca.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    (ca.not_before, ca.not_after) = (end(Duration::ZERO) - day, end(day * 365));
    let ca_key = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap();
    let ca_certificate = ca.self_signed(&ca_key).unwrap();

    let key = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap();
    let mut leaf = CertificateParams::new(["localhost".to_owned()]).unwrap();
    leaf.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    leaf.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::ServerAuth];
    leaf.use_authority_key_identifier_extension = true;
    (leaf.not_before, leaf.not_after) = (end(Duration::ZERO) - day, end(day * 80));
    let leaf = leaf.signed_by(&key, &Issuer::new(ca, &ca_key)).unwrap();

    let paths = ["ca.pem", "chain.pem", "key.pem"].map(|name| dir.join(name));
    for (path, text) in paths.iter().zip([ca_certificate.pem(), leaf.pem(), key.serialize_pem()]) {
        std::fs::write(path, text).unwrap();
    }
    (paths, ca_certificate.der().clone())
}

#[test]
fn the_tcp_port_passes_sslyze_at_the_modern_level() {
    let dir = tempfile::tempdir().unwrap();
    let ([ca, chain, key], root) = certificate(dir.path());
    let set = |name: &str, path: &Path| format!("{name}={}", path.display());
    let (chain, key) = (set("tls.cert", &chain), set("tls.key", &key));
    let node = Node::start(dir.path(), &["--backend", "echo", "--set", &chain, "--set", &key]);

    let json = dir.path().join("sslyze.json");
    let mut scan = Command::new(python("sslyze", &["sslyze==6.3.1"]));
    scan.args(["-m", "sslyze", "--mozilla_config=modern", "--certinfo_ca_file"]).arg(&ca);
    scan.arg("--json_out").arg(&json).arg(format!("localhost:{}", node.edge.port()));
    let scanned = output_within(&mut scan, SCAN);
    let said = String::from_utf8_lossy(&scanned.stdout);
    // It ends with 1 if anything is not compliant, and then says what.
    assert_eq!(scanned.status.code(), Some(0), "{said}{}", String::from_utf8_lossy(&scanned.stderr));
    assert!(said.contains("OK - Compliant."), "{said}");

    let found: Value = serde_json::from_slice(&std::fs::read(&json).unwrap()).unwrap();
    let found = &found["server_scan_results"][0]["scan_result"];
    let suites = |version: &str| -> Vec<String> {
        let scan = &found[format!("{version}_cipher_suites")];
        assert_eq!(scan["status"], "COMPLETED", "{version}");
        let accepted = scan["result"]["accepted_cipher_suites"].as_array().unwrap();
        let mut names: Vec<_> =
            accepted.iter().map(|suite| suite["cipher_suite"]["name"].as_str().unwrap().to_owned()).collect();
        names.sort();
        names
    };
    for version in ["ssl_2_0", "ssl_3_0", "tls_1_0", "tls_1_1", "tls_1_2"] {
        assert_eq!(suites(version), [""; 0], "{version} is spoken");
    }
    let modern = ["TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384", "TLS_CHACHA20_POLY1305_SHA256"];
    assert_eq!(suites("tls_1_3"), modern);
    let deployment = &found["certificate_info"]["result"]["certificate_deployments"][0];
    let public_key = &deployment["received_certificate_chain"][0]["public_key"];
    assert_eq!(public_key["ec_curve_name"], "secp256r1", "{public_key}");

    // sslyze knows no hybrid key exchange, so a client of ours says what it got.
    let name = "localhost".try_into().unwrap();
    let mut client = ClientConnection::new(Arc::new(client_tls(root)), name).unwrap();
    let mut stream = TcpStream::connect(node.edge).unwrap();
    stream.set_read_timeout(Some(STUCK)).unwrap();
    while client.is_handshaking() {
        client.complete_io(&mut stream).unwrap();
    }
    let group = client.negotiated_key_exchange_group().unwrap();
    assert_eq!(group.name(), NamedGroup::X25519MLKEM768);
}
