//! The private CA of a cluster's trunk, and the certificates that it signs for cores, edges and processes that locate.
//!
//! Whoever reads `ca-key.pem` can be the core to every edge and an edge to every core: it stays where certificates are made, and
//! goes to no node. A certificate says what it is for, see `nearport_trunk::tls`.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use nearport_trunk::tls::{CORE_NAME, LOCATE_NAME, edge_name};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};

use crate::files::{self, FileError};
use crate::tls::{TlsError, pem_error};
use crate::tls_dev::set_life;

const CA_LIFE: Duration = Duration::from_hours(24 * 3650);

/// Whom a certificate is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Holder {
    Core,
    /// The edge of this node.
    Edge(u16),
    /// A process that locates; with a node, one that is its edge too.
    Locate(Option<u16>),
}

impl Holder {
    /// How its files begin.
    fn stem(self) -> String {
        match self {
            Self::Core => "core".to_owned(),
            Self::Edge(node) => format!("edge-{node}"),
            Self::Locate(None) => "locate".to_owned(),
            Self::Locate(Some(node)) => format!("locate-{node}"),
        }
    }
}

/// Makes the CA in `dir`, which must not have one.
pub(crate) fn make_ca(dir: &Path, now: SystemTime) -> Result<PathBuf, TlsError> {
    files::private_dir(dir)?;
    let (ca, ca_key) = (dir.join("ca.pem"), dir.join("ca-key.pem"));
    if ca.exists() || ca_key.exists() {
        return Err(pem_error(dir, "holds a CA already; its certificates would not be trusted any more"));
    }
    let key = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256)?;
    let certificate = ca_params(now).self_signed(&key)?;
    files::replace(&ca_key, key.serialize_pem().as_bytes(), files::PRIVATE)?;
    files::replace(&ca, certificate.pem().as_bytes(), files::PUBLIC)?;
    Ok(ca)
}

/// Makes a key and a certificate by the CA in `dir`, beside it. Those that are there are replaced: this renews, too.
pub(crate) fn make(
    dir: &Path,
    holder: Holder,
    life: Duration,
    now: SystemTime,
) -> Result<(PathBuf, PathBuf), TlsError> {
    let ca_key = dir.join("ca-key.pem");
    let text = fs::read_to_string(&ca_key).map_err(FileError::at(&ca_key))?;
    let signer = KeyPair::from_pem(&text).map_err(|error| pem_error(&ca_key, error))?;
    let issuer = Issuer::new(ca_params(now), signer);
    let key = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256)?;
    let (server, client) = (ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth);
    let (names, usages) = match holder {
        Holder::Core => (vec![CORE_NAME.to_owned()], vec![server]),
        Holder::Edge(node) => (vec![edge_name(node)], vec![client]),
        Holder::Locate(None) => (vec![LOCATE_NAME.to_owned()], vec![server]),
        Holder::Locate(Some(node)) => (vec![LOCATE_NAME.to_owned(), edge_name(node)], vec![server, client]),
    };
    let mut params = CertificateParams::new(names)?;
    params.distinguished_name.push(DnType::CommonName, format!("Nearport trunk {}", holder.stem()));
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = usages;
    params.use_authority_key_identifier_extension = true;
    set_life(&mut params, now, life);
    let certificate = params.signed_by(&key, &issuer)?;
    let stem = holder.stem();
    let (cert_path, key_path) = (dir.join(format!("{stem}.pem")), dir.join(format!("{stem}-key.pem")));
    files::replace(&key_path, key.serialize_pem().as_bytes(), files::PRIVATE)?;
    files::replace(&cert_path, certificate.pem().as_bytes(), files::PUBLIC)?;
    Ok((cert_path, key_path))
}

/// The same each time but for the dates, so that a CA can sign with nothing but its key.
fn ca_params(now: SystemTime) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, "Nearport trunk CA");
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    set_life(&mut params, now, CA_LIFE);
    params
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;
    use crate::trunk_tls;
    use std::os::unix::fs::PermissionsExt as _;

    const YEAR: Duration = Duration::from_hours(24 * 365);

    #[test]
    fn certificates_are_for_one_role_and_one_node_and_keys_are_private() {
        let dir = tempfile::tempdir().unwrap();
        let now = SystemTime::now();
        let ca = make_ca(dir.path(), now).unwrap();
        assert!(make_ca(dir.path(), now).unwrap_err().to_string().contains("holds a CA already"));
        let (cert, key) = make(dir.path(), Holder::Edge(3), YEAR, now).unwrap();
        for key in ["ca-key.pem", "edge-3-key.pem"] {
            let mode = fs::metadata(dir.path().join(key)).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600, "{key}");
        }
        let mut config = Config::default();
        config.edge.node = 3;
        assert!(trunk_tls::edge(&config).unwrap_err().to_string().contains("trunk.ca is not set"));
        (config.trunk.ca, config.trunk.cert, config.trunk.key) = (Some(ca), Some(cert), Some(key));
        trunk_tls::edge(&config).unwrap();
        config.edge.node = 4;
        let said = trunk_tls::edge(&config).unwrap_err().to_string();
        assert!(said.contains("edge-3.pem: is not for edge-4") && said.contains("edge --node 4"), "{said}");
        assert!(trunk_tls::core(&config).unwrap_err().to_string().contains("`nearport trunk cert core`"));
        let said = trunk_tls::locate(&config).unwrap_err().to_string();
        assert!(said.contains("`nearport trunk cert locate`"), "{said}");
        // One that is both.
        let (cert, key) = make(dir.path(), Holder::Locate(Some(4)), YEAR, now).unwrap();
        (config.trunk.cert, config.trunk.key) = (Some(cert), Some(key));
        trunk_tls::locate(&config).unwrap();
        trunk_tls::steered(&config).unwrap();
    }
}
