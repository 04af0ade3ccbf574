//! The development CA and its server certificate.

use std::fs::{self, File};
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};
use rustls::pki_types::PrivateKeyDer;
use rustls::sign::CertifiedKey;

use crate::files::{self, FileError};
use crate::tls::{TlsError, pem_error, provider};
use crate::tls_pem::{Certificate, chain, verify};

/// The CA outlives every checkout; it is renewed by deleting its directory.
const CA_LIFE: Duration = Duration::from_hours(24 * 3650);
/// Below 398 days, the most that some TLS stacks accept.
const SERVER_LIFE: Duration = Duration::from_hours(24 * 365);
/// The server certificate is replaced this long before its end.
pub(crate) const RENEW_BEFORE: Duration = Duration::from_hours(24 * 30);
/// Certificates begin a day ago: clocks of other machines may be late.
const BACKDATE: Duration = Duration::from_hours(24);

/// The certificate of the CA in `dir`.
pub(crate) fn ca(dir: &Path) -> PathBuf {
    dir.join("ca.pem")
}

/// The server certificate of `dir` and its key.
pub(crate) fn server(dir: &Path) -> (PathBuf, PathBuf) {
    (dir.join("server.pem"), dir.join("server-key.pem"))
}

/// Loads the server certificate, after making whatever is missing, has nearly ended or does not cover `listen`.
pub(crate) fn make(dir: &Path, listen: IpAddr, now: SystemTime) -> Result<Certificate, TlsError> {
    files::private_dir(dir)?;
    // Nodes with different data may share the directory: one of them makes the files. Freed when `_lock` goes.
    let lock_path = dir.join(".lock");
    let at = FileError::at(&lock_path);
    let _lock = File::create(&lock_path).and_then(|file| file.lock().map(|()| file)).map_err(at)?;

    let (ca, (cert, key)) = (ca(dir), server(dir));
    let ca_key = dir.join("ca-key.pem");
    let names = names(listen);
    if !ca.exists() {
        // The certificate is written last: without it, whatever else is there is from a start that was cut off.
        let (certificate, signer) = make_ca(now)?;
        files::replace(&ca_key, signer.serialize_pem().as_bytes(), files::PRIVATE)?;
        files::replace(&ca, certificate.pem().as_bytes(), files::PUBLIC)?;
    } else if let Ok(loaded) = Certificate::load(&cert, &key)
        && verify(&ca, &loaded.key.cert[0], &names, now + RENEW_BEFORE).is_ok()
    {
        return Ok(loaded);
    }
    let signer = fs::read_to_string(&ca_key).map_err(FileError::at(&ca_key))?;
    let signer = KeyPair::from_pem(&signer).map_err(|error| pem_error(&ca_key, error))?;
    let (certificate, leaf_key) = make_server(&names, &signer, now)?;
    files::replace(&key, leaf_key.serialize_pem().as_bytes(), files::PRIVATE)?;
    files::replace(&cert, certificate.pem().as_bytes(), files::PUBLIC)?;
    let loaded = Certificate::load(&cert, &key)?;
    verify(&ca, &loaded.key.cert[0], &names, now)
        .map_err(|reason| pem_error(&ca, format!("{reason}; delete {} to start over", dir.display())))?;
    Ok(loaded)
}

/// Whether the server certificate in `dir` is good under its CA for at least `ahead` from now. `Err` says why not.
pub(crate) fn check(dir: &Path, ahead: Duration) -> Result<(), String> {
    let chain = chain(&server(dir).0).map_err(|error| error.to_string())?;
    verify(&ca(dir), &chain[0], &names(IpAddr::from([127, 0, 0, 1])), SystemTime::now() + ahead)
}

/// A certificate that nobody trusts, for a gateway that nobody is to reach.
pub(crate) fn throwaway() -> Result<CertifiedKey, TlsError> {
    let key = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256)?;
    let certificate = CertificateParams::new(names(IpAddr::from([127, 0, 0, 1])))?.self_signed(&key)?;
    let private = PrivateKeyDer::try_from(key.serialize_der());
    let private = private.map_err(|error| pem_error(Path::new("-"), error))?;
    CertifiedKey::from_der(vec![certificate.der().clone()], private, &provider())
        .map_err(|error| pem_error(Path::new("-"), error))
}

fn names(listen: IpAddr) -> Vec<String> {
    let mut names = vec!["localhost".to_owned(), "127.0.0.1".to_owned(), "::1".to_owned()];
    if !listen.is_loopback() && !listen.is_unspecified() {
        names.push(listen.to_string());
    }
    names
}

fn make_ca(now: SystemTime) -> Result<(rcgen::Certificate, KeyPair), rcgen::Error> {
    let key = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256)?;
    Ok((ca_params(now).self_signed(&key)?, key))
}

/// The same each time but for the dates, so that a CA can sign again with nothing but its key.
fn ca_params(now: SystemTime) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, "Nearport development CA");
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    set_life(&mut params, now, CA_LIFE);
    params
}

fn make_server(
    names: &[String],
    signer: &KeyPair,
    now: SystemTime,
) -> Result<(rcgen::Certificate, KeyPair), rcgen::Error> {
    let key = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256)?;
    let mut params = CertificateParams::new(names)?;
    params.distinguished_name.push(DnType::CommonName, "Nearport development server");
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params.use_authority_key_identifier_extension = true;
    set_life(&mut params, now, SERVER_LIFE);
    let issuer = Issuer::new(ca_params(now), signer);
    Ok((params.signed_by(&key, &issuer)?, key))
}

/// From a day ago, for clocks of other machines may be late, until `life` from now.
pub(crate) fn set_life(params: &mut CertificateParams, now: SystemTime, life: Duration) {
    let epoch = rcgen::date_time_ymd(1970, 1, 1);
    let now = now.duration_since(UNIX_EPOCH).unwrap_or_default();
    params.not_before = epoch + now.saturating_sub(BACKDATE);
    params.not_after = epoch + now + life;
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    const LOCAL: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

    fn start(dir: &Path, now: SystemTime) -> Vec<u8> {
        make(dir, LOCAL, now).unwrap().key.cert[0].to_vec()
    }

    #[test]
    fn the_ca_stays_and_the_server_certificate_is_renewed_in_time() {
        let dir = tempfile::tempdir().unwrap();
        let now = SystemTime::now();
        let first = start(dir.path(), now);
        let ca = fs::read(dir.path().join("ca.pem")).unwrap();
        assert_eq!(start(dir.path(), now), first, "nothing to do");
        assert_eq!(start(dir.path(), now + SERVER_LIFE - RENEW_BEFORE - Duration::from_mins(1)), first);
        let later = now + SERVER_LIFE - RENEW_BEFORE + Duration::from_mins(1);
        let second = start(dir.path(), later);
        assert_ne!(second, first);
        assert_eq!(start(dir.path(), later), second);
        assert_eq!(fs::read(dir.path().join("ca.pem")).unwrap(), ca);
        for name in ["ca-key.pem", "server-key.pem"] {
            let mode = fs::metadata(dir.path().join(name)).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600, "{name}");
        }
    }

    #[test]
    fn a_start_cut_off_anywhere_is_finished_by_the_next() {
        for missing in [
            &["ca.pem"][..],
            &["ca.pem", "server.pem", "server-key.pem"],
            &["server.pem"],
            &["server-key.pem"],
            &["server.pem", "server-key.pem"],
        ] {
            let dir = tempfile::tempdir().unwrap();
            let now = SystemTime::now();
            start(dir.path(), now);
            missing.iter().for_each(|name| fs::remove_file(dir.path().join(name)).unwrap());
            start(dir.path(), now);
            assert_eq!(check(dir.path(), Duration::ZERO), Ok(()), "{missing:?}");
        }
    }

    #[test]
    fn a_new_address_gets_a_new_certificate() {
        let dir = tempfile::tempdir().unwrap();
        let now = SystemTime::now();
        let first = start(dir.path(), now);
        let public = IpAddr::from([192, 0, 2, 7]);
        let second = make(dir.path(), public, now).unwrap();
        assert_ne!(second.key.cert[0].to_vec(), first);
        assert_eq!(verify(&ca(dir.path()), &second.key.cert[0], &names(public), now), Ok(()));
    }

    #[test]
    fn a_lost_ca_key_matters_only_when_something_has_to_be_signed() {
        let dir = tempfile::tempdir().unwrap();
        let now = SystemTime::now();
        start(dir.path(), now);
        fs::remove_file(dir.path().join("ca-key.pem")).unwrap();
        start(dir.path(), now);
        let error = make(dir.path(), LOCAL, now + SERVER_LIFE).unwrap_err().to_string();
        assert!(error.contains("ca-key.pem"), "{error}");
    }
}
