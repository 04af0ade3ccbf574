//! What an ACME client keeps: `data/acme/HOST-HASH/`, one folder per directory, so that a change from a directory for
//! trying out to the real one and back loses neither account nor certificate.
//!
//! | file | mode | content |
//! | --- | --- | --- |
//! | `account.json` | 0600 | account key, its URL, and the address that was registered |
//! | `certificate.pem` | 0600 | chain and key in one file: it is replaced whole |

use std::path::{Path, PathBuf};

use aws_lc_rs::digest;
use instant_acme::AccountCredentials;
use serde::{Deserialize, Serialize};

use crate::files::{self, FileError};

/// The folder of one directory.
#[derive(Debug, Clone)]
pub(crate) struct Folder(PathBuf);

/// `account.json`
#[derive(Serialize, Deserialize)]
pub(crate) struct Account {
    /// Mail address that the directory knows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) email: Option<String>,
    pub(crate) credentials: AccountCredentials,
}

impl Folder {
    /// The folder of `directory` below `acme`. Nothing is made yet.
    pub(crate) fn new(acme: &Path, directory: &str) -> Self {
        let host = directory.split("://").last().unwrap_or_default().split(['/', '?', '#']).next();
        let plain = |c: char| if c.is_ascii_alphanumeric() || c == '.' || c == '-' { c } else { '_' };
        let host: String = host.unwrap_or_default().chars().take(100).map(plain).collect();
        let hash = digest::digest(&digest::SHA256, directory.as_bytes());
        let hash: String = hash.as_ref()[..4].iter().map(|byte| format!("{byte:02x}")).collect();
        Self(acme.join(format!("{host}-{hash}")))
    }

    /// Where the certificate is, once there is one.
    pub(crate) fn certificate(&self) -> PathBuf {
        self.0.join("certificate.pem")
    }

    fn account(&self) -> PathBuf {
        self.0.join("account.json")
    }

    /// `None` if there is no account yet.
    ///
    /// # Errors
    /// A sentence with the file.
    pub(crate) fn read_account(&self) -> Result<Option<Account>, String> {
        let path = self.account();
        let Some(bytes) = files::read_if_there(&path).map_err(|error| error.to_string())? else {
            return Ok(None);
        };
        serde_json::from_slice(&bytes).map(Some).map_err(|error| {
            format!("{}: {error}: restore it, or delete it to register a new account", path.display())
        })
    }

    pub(crate) fn write_account(&self, account: &Account) -> Result<(), FileError> {
        files::private_dir(&self.0)?;
        let json = serde_json::to_vec_pretty(account).expect("text and numbers");
        files::replace(&self.account(), &json, files::PRIVATE)
    }

    pub(crate) fn write_certificate(&self, chain: &str, key: &str) -> Result<(), FileError> {
        files::private_dir(&self.0)?;
        files::replace(&self.certificate(), format!("{chain}\n{key}").as_bytes(), files::PRIVATE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tls_pem::Certificate;
    use crate::tls_testing::Made;
    use std::os::unix::fs::PermissionsExt as _;

    #[test]
    fn each_directory_has_a_folder_with_a_plain_name() {
        let name =
            |url: &str| Folder::new(Path::new("a"), url).0.file_name().unwrap().to_str().unwrap().to_owned();
        let real = name("https://acme.example.org/directory");
        assert!(
            real.starts_with("acme.example.org-") && real.len() == "acme.example.org-".len() + 8,
            "{real}"
        );
        assert_ne!(real, name("https://acme.example.org/other"));
        assert_eq!(name("https://[::1]:14000/dir").split('-').next(), Some("___1__14000"));
        let odd = name("https://../../x y");
        assert!(odd.starts_with("..-"), "{odd}");
        assert!(name(&format!("https://{}/", "x".repeat(500))).len() < 120);
    }

    #[test]
    fn the_certificate_is_one_private_file_that_loads() {
        let dir = tempfile::tempdir().unwrap();
        let folder = Folder::new(dir.path(), "https://a.test/dir");
        assert!(folder.read_account().unwrap().is_none());
        let made = Made::new(&["a.test"]);
        folder.write_certificate(&made.chain, &made.key).unwrap();
        let path = folder.certificate();
        assert_eq!(Certificate::load(&path, &path).unwrap().names, ["a.test"]);
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        std::fs::write(folder.account(), "{").unwrap();
        let error = folder.read_account().err().unwrap();
        assert!(error.contains("account.json: ") && error.contains("delete it"), "{error}");
    }
}
