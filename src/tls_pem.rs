//! PEM files: a chain and its key become something to serve with, or an error that says what to do.

use std::fs::File;
use std::io::Read as _;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustls::RootCertStore;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::ServerCertVerifier as _;
use rustls::pki_types::pem::{Error as PemError, PemObject as _};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::sign::CertifiedKey;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer as _, X509Certificate};

use crate::files::FileError;
use crate::tls::{TlsError, pem_error, provider};

/// A chain with its key is some kilobytes; a path that was mistaken may lead to anything.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// A chain with its key, and what has to be known of it.
#[derive(Debug, Clone)]
pub(crate) struct Certificate {
    /// For rustls. The chain is not empty.
    pub(crate) key: Arc<CertifiedKey>,
    /// DNS names that the certificate covers, in lower case; `*.example.org` for every name one level below.
    pub(crate) names: Vec<String>,
    /// It is good from here
    pub(crate) not_before: SystemTime,
    /// to here.
    pub(crate) not_after: SystemTime,
}

impl Certificate {
    /// Reads both files, which may be one.
    ///
    /// # Errors
    /// [`TlsError`], with the file that is at fault and what to do. A key that belongs to another certificate is one.
    pub(crate) fn load(chain_path: &Path, key_path: &Path) -> Result<Self, TlsError> {
        let chain = chain(chain_path)?;
        let bytes = read(key_path)?;
        let key = PrivateKeyDer::from_pem_slice(&bytes).map_err(|error| match error {
            PemError::NoItemsFound if bytes.windows(9).any(|word| word == b"ENCRYPTED") => pem_error(
                key_path,
                "the key is protected by a passphrase, which a server cannot type: decrypt it with `openssl pkey`",
            ),
            PemError::NoItemsFound => pem_error(key_path, "holds no private key (PKCS#8, SEC1 or PKCS#1)"),
            other => pem_error(key_path, other),
        })?;
        Self::new(chain, key).map_err(|error| match error {
            Unfit::Key(reason) => pem_error(key_path, reason),
            Unfit::Mismatch => pem_error(
                key_path,
                format!(
                    "does not belong to the first certificate in {}: give its key; in the chain the server's own \
                     certificate comes first, then its issuers",
                    chain_path.display()
                ),
            ),
            Unfit::Certificate(reason) => pem_error(chain_path, reason),
        })
    }

    /// From text that holds a chain, and a key of our own.
    pub(crate) fn from_pem(chain_pem: &str, key: PrivateKeyDer<'static>) -> Result<Self, String> {
        let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(chain_pem.as_bytes()).collect();
        let chain = chain.map_err(|error| error.to_string())?;
        if chain.is_empty() {
            return Err("there is no certificate in it".to_owned());
        }
        Self::new(chain, key).map_err(|error| match error {
            Unfit::Key(reason) | Unfit::Certificate(reason) => reason,
            Unfit::Mismatch => "it is for another key".to_owned(),
        })
    }

    fn new(chain: Vec<CertificateDer<'static>>, key: PrivateKeyDer<'static>) -> Result<Self, Unfit> {
        let unreadable =
            |error: &dyn std::fmt::Display| Unfit::Certificate(format!("not a certificate: {error}"));
        let (_, leaf) = X509Certificate::from_der(&chain[0]).map_err(|error| unreadable(&error))?;
        let names = leaf.subject_alternative_name().map_err(|error| unreadable(&error))?;
        let names = names.iter().flat_map(|names| &names.value.general_names);
        let names = names.filter_map(|name| match name {
            GeneralName::DNSName(name) => Some(name.to_ascii_lowercase()),
            _ => None,
        });
        let names = names.collect();
        let (not_before, not_after) = (time(leaf.validity.not_before), time(leaf.validity.not_after));
        let key = CertifiedKey::from_der(chain, key, &provider()).map_err(|error| match error {
            rustls::Error::InconsistentKeys(_) => Unfit::Mismatch,
            other => Unfit::Key(other.to_string()),
        })?;
        Ok(Self { key: Arc::new(key), names, not_before, not_after })
    }

    /// The first name, for people. A certificate without one is for addresses.
    pub(crate) fn title(&self) -> &str {
        self.names.first().map_or("no DNS name", String::as_str)
    }

    /// How long it is good from `now` on; zero if it has ended.
    pub(crate) fn left(&self, now: SystemTime) -> Duration {
        self.not_after.duration_since(now).unwrap_or_default()
    }

    /// Whether clients that ask for `name` are content with it.
    pub(crate) fn covers(&self, name: &str) -> bool {
        let name = name.to_ascii_lowercase();
        let parent = name.split_once('.').map(|(_, parent)| parent);
        self.names
            .iter()
            .any(|own| *own == name || own.strip_prefix("*.").is_some_and(|own| Some(own) == parent))
    }
}

/// Why a chain and a key cannot be served.
enum Unfit {
    Certificate(String),
    Key(String),
    Mismatch,
}

fn time(at: x509_parser::time::ASN1Time) -> SystemTime {
    // Before 1970 nothing was signed.
    UNIX_EPOCH + Duration::from_secs(u64::try_from(at.timestamp()).unwrap_or(0))
}

/// The certificates of a PEM file, at least one.
pub(crate) fn chain(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let bytes = read(path)?;
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&bytes).collect();
    match chain {
        Ok(chain) if chain.is_empty() => Err(pem_error(path, "holds no certificate")),
        Ok(chain) => Ok(chain),
        Err(error) => Err(pem_error(path, error)),
    }
}

/// The certificates of a PEM file as roots of trust.
pub(crate) fn roots(path: &Path) -> Result<RootCertStore, TlsError> {
    let mut roots = RootCertStore::empty();
    for certificate in chain(path)? {
        roots.add(certificate).map_err(|error| pem_error(path, error))?;
    }
    Ok(roots)
}

/// Whether `leaf` is good for `names` under the roots in `ca` at a time. `Err` says why not.
pub(crate) fn verify(
    ca: &Path,
    leaf: &CertificateDer<'_>,
    names: &[String],
    at: SystemTime,
) -> Result<(), String> {
    let roots = roots(ca).map_err(|error| error.to_string())?;
    let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider()).build();
    let verifier = verifier.map_err(|error| error.to_string())?;
    let at = UnixTime::since_unix_epoch(at.duration_since(UNIX_EPOCH).unwrap_or_default());
    names.iter().try_for_each(|name| {
        let name = ServerName::try_from(name.as_str()).map_err(|error| error.to_string())?;
        verifier.verify_server_cert(leaf, &[], &name, &[], at).map(|_| ()).map_err(|error| error.to_string())
    })
}

fn read(path: &Path) -> Result<Vec<u8>, TlsError> {
    let at = FileError::at(path);
    let mut bytes = Vec::new();
    File::open(path).and_then(|file| file.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes)).map_err(at)?;
    if bytes.len() as u64 > FILE_BYTES_MAX {
        return Err(pem_error(path, format!("is larger than {} KiB", FILE_BYTES_MAX >> 10)));
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tls_testing::{Made, days};

    fn refused(dir: &Path, chain: &str, key: &str) -> String {
        let (at, beside) = (dir.join("chain.pem"), dir.join("key.pem"));
        std::fs::write(&at, chain).unwrap();
        std::fs::write(&beside, key).unwrap();
        Certificate::load(&at, &beside).unwrap_err().to_string()
    }

    #[test]
    fn what_is_wrong_is_said_with_the_file_and_the_way_out() {
        let dir = tempfile::tempdir().unwrap();
        let (a, b) = (Made::new(&["a.test"]), Made::new(&["b.test"]));
        let encrypted = a.key.replace("PRIVATE KEY", "ENCRYPTED PRIVATE KEY");
        let broken = a.chain.replacen("MI", "!!", 1);
        let cases = [
            (refused(dir.path(), "", &a.key), "chain.pem: holds no certificate"),
            (refused(dir.path(), &broken, &a.key), "chain.pem: "),
            (refused(dir.path(), &a.chain, ""), "key.pem: holds no private key"),
            (refused(dir.path(), &a.chain, &encrypted), "`openssl pkey`"),
            (refused(dir.path(), &a.chain, &b.key), "key.pem: does not belong to the first certificate in "),
            (refused(dir.path(), &"x".repeat(2 << 20), &a.key), "chain.pem: is larger than 1024 KiB"),
            (Certificate::load(dir.path(), dir.path()).unwrap_err().to_string(), "directory"),
        ];
        for (said, wanted) in cases {
            assert!(said.contains(wanted), "{wanted} is not in: {said}");
        }
        // Issuer first is the mistake that is made most.
        let turned = format!("{}{}", b.chain, a.chain);
        assert!(refused(dir.path(), &turned, &a.key).contains("own certificate comes first"));
    }

    #[test]
    fn names_and_times_are_read_from_the_certificate() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("both.pem");
        let now = SystemTime::now();
        let made = Made::with_life(&["Chat.Test", "*.chat.test", "192.0.2.1"], now, days(90));
        // One file for both, as some tools write it.
        std::fs::write(&path, format!("{}{}", made.key, made.chain)).unwrap();
        let read = Certificate::load(&path, &path).unwrap();
        assert_eq!(
            (read.names.as_slice(), read.title()),
            (&["chat.test".into(), "*.chat.test".into()][..], "chat.test")
        );
        let left = read.left(now);
        assert!(left > days(89) && left <= days(90), "{left:?}");
        assert_eq!(read.left(now + days(91)), Duration::ZERO);
        for (name, covered) in [
            ("chat.test", true),
            ("CHAT.test", true),
            ("eu.chat.test", true),
            ("a.eu.chat.test", false),
            ("test", false),
            ("xchat.test", false),
        ] {
            assert_eq!(read.covers(name), covered, "{name}");
        }
    }

    proptest::proptest! {
        #[test]
        fn no_file_panics(chain in ".{0,200}", key in ".{0,200}", cut in 0_usize..800) {
            let dir = tempfile::tempdir().unwrap();
            refused(dir.path(), &chain, &key);
            let made = Made::new(&["a.test"]);
            let cut = cut.min(made.chain.len() - 40);
            refused(dir.path(), &made.chain[..cut], &made.key);
        }
    }
}
