//! What a data directory holds beside the store, and what the first start puts there.
//!
//! Every step looks first and then adds what is missing, so a start that was cut off at any point is finished by the
//! next one. `client.toml` is written last: as long as it is missing, the first run is not over.

use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};

use nearport_chat::directory::{App, AppKey, Directory, DirectoryError};
use nearport_chat::key::AppId;
use serde::{Deserialize, Serialize};

use crate::cli_client_locate::LocateFile;
use crate::files::{self, FileError};
use crate::secret::{SECRET_BYTES, SecretFile};

/// The first App's id. The public contract's ids of this kind begin at 1400000000.
pub(crate) const FIRST_APP: u32 = 1_400_000_000;
/// Name of the key that an App is made with.
pub(crate) const FIRST_KEY: &str = "first";
/// Its accounts, so that the first commands have somebody to write to.
pub(crate) const FIRST_USERS: [&str; 3] = ["administrator", "alice", "bob"];

/// What a client command needs to know: `client.toml`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ClientFile {
    /// Host and port of the edge; may be left out where `locate` finds one.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(crate) server: String,
    /// PEM file of the CA to trust.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) ca: Option<PathBuf>,
    /// App.
    pub(crate) app: u32,
    /// Its secret, to sign UserSigs with.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) key: Option<String>,
    /// Where to ask for the nearest of several edges.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) locate: Option<LocateFile>,
}

/// Where a running server is: `run.toml`. It stays when the server ends; `LOCK` says whether it runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct RunFile {
    /// Process id.
    pub(crate) pid: u32,
    /// Bound UDP address of the edge.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) edge: Option<SocketAddr>,
    /// Bound TCP address where a core takes its edges' links.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) trunk: Option<SocketAddr>,
    /// Bound TCP address of the operations server.
    pub(crate) ops: SocketAddr,
    /// Bound address of the HTTP API.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) api: Option<SocketAddr>,
    /// Bound addresses of the DNS responder.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) dns: Vec<SocketAddr>,
}

/// Something in the data directory that is not as it should be.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DataError {
    /// A file cannot be read or written.
    #[error(transparent)]
    File(#[from] FileError),
    /// A file's content makes no sense.
    #[error("{}: {reason}", path.display())]
    Content {
        /// Which file.
        path: PathBuf,
        /// What is wrong, and what to do.
        reason: String,
    },
    /// The directory of Apps said no.
    #[error(transparent)]
    Directory(#[from] DirectoryError),
    /// The operating system gives no random bytes.
    #[error("no random bytes from the operating system")]
    Random,
}

/// The paths in a data directory.
#[derive(Debug, Clone)]
pub(crate) struct Layout(pub(crate) PathBuf);

impl Layout {
    pub(crate) fn ledger(&self) -> PathBuf {
        self.0.join("ledger")
    }

    pub(crate) fn directory(&self) -> PathBuf {
        self.0.join("directory.db")
    }

    pub(crate) fn client_file(&self) -> PathBuf {
        self.0.join("client.toml")
    }

    pub(crate) fn run_file(&self) -> PathBuf {
        self.0.join("run.toml")
    }

    /// Makes the directory, readable by this user only.
    pub(crate) fn make(&self) -> Result<(), DataError> {
        Ok(files::private_dir(&self.0)?)
    }

    pub(crate) fn secret_file(&self) -> PathBuf {
        self.0.join("secret")
    }

    /// The cluster's secrets; the first one is made if there is none.
    pub(crate) fn secret(&self) -> Result<SecretFile, DataError> {
        let path = self.secret_file();
        match files::read_if_there(&path)? {
            Some(content) => SecretFile::parse(&content).map_err(|reason| DataError::Content {
                path,
                reason: format!("{reason}; restore it from another node, or delete it"),
            }),
            None => {
                let file = SecretFile::first(random()?);
                files::replace(&path, &file.encode(), files::PRIVATE)?;
                Ok(file)
            }
        }
    }

    /// Puts a fresh secret behind the current one, for the next start or reload.
    pub(crate) fn rotate_secret(&self) -> Result<(), DataError> {
        let path = self.secret_file();
        let rotated = self.secret()?.rotated(random()?).ok_or_else(|| DataError::Content {
            path: path.clone(),
            reason: "has the last epoch that there is".to_owned(),
        })?;
        Ok(files::replace(&path, &rotated.encode(), files::PRIVATE)?)
    }

    /// Counts this start, so that the edge knows packets of connections of an earlier one. Session ids hold the count modulo
    /// 8: it differs from those of `alive`, processes that still have sessions.
    pub(crate) fn next_generation(&self, alive: &[u32]) -> Result<u32, DataError> {
        let path = self.0.join("generation");
        let last = match files::read_if_there(&path)? {
            None => 0,
            Some(bytes) => std::str::from_utf8(&bytes)
                .ok()
                .and_then(|text| text.trim().parse().ok())
                .ok_or_else(|| DataError::Content {
                    path: path.clone(),
                    reason: "is not a number; delete it".to_owned(),
                })?,
        };
        let mut next: u32 = u32::wrapping_add(last, 1);
        while alive.len() < 8 && alive.iter().any(|generation| generation % 8 == next % 8) {
            next = next.wrapping_add(1);
        }
        files::replace(&path, format!("{next}\n").as_bytes(), files::PRIVATE)?;
        Ok(next)
    }

    /// Writes it anew; `locate` is the user's and stays. One that cannot be read is left alone, for what its user wrote would be
    /// gone. The server starts all the same: client commands read this file, not it, and each of them says what is wrong there.
    pub(crate) fn write_client_file(&self, file: &ClientFile) -> Result<(), DataError> {
        let before = match self.read_client_file() {
            Ok(before) => before.and_then(|before| before.locate),
            Err(error) => {
                tracing::warn!(%error, "file for clients is left as it is: mend it, or delete it and start again");
                return Ok(());
            }
        };
        let file = &ClientFile { locate: file.locate.clone().or(before), ..file.clone() };
        write_toml(
            &self.client_file(),
            file,
            "Written by `nearport serve` at each start; client commands read it.",
        )
    }

    pub(crate) fn write_run_file(&self, file: &RunFile) -> Result<(), DataError> {
        write_toml(&self.run_file(), file, "Written by `nearport serve` when it listens.")
    }

    pub(crate) fn read_client_file(&self) -> Result<Option<ClientFile>, DataError> {
        read_toml(&self.client_file())
    }

    pub(crate) fn read_run_file(&self) -> Result<Option<RunFile>, DataError> {
        read_toml(&self.run_file())
    }
}

fn write_toml<T: Serialize>(path: &Path, value: &T, title: &str) -> Result<(), DataError> {
    let text = toml::to_string(value).expect("plain structs of text and numbers");
    Ok(files::replace(path, format!("# {title}\n{text}").as_bytes(), files::PRIVATE)?)
}

fn read_toml<T: for<'de> Deserialize<'de>>(path: &Path) -> Result<Option<T>, DataError> {
    let text = match fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(FileError::at(path)(error).into()),
    };
    let parsed = toml::from_str(&text);
    let content = |error: toml::de::Error| DataError::Content {
        path: path.to_owned(),
        reason: error.message().to_owned(),
    };
    parsed.map(Some).map_err(content)
}

/// The App that `client.toml` names: the one with the smallest id that has a secret, or a new one.
pub(crate) fn first_app(directory: &dyn Directory, now_ms: u64) -> Result<App, DataError> {
    let apps = directory.apps()?;
    if let Some(app) = apps.iter().find(|app| app.secret().is_some() && !app.disabled) {
        return Ok(app.clone());
    }
    let id = (FIRST_APP..).find(|id| apps.iter().all(|app| app.id.0 != *id)).unwrap_or(u32::MAX);
    let app = new_app(id, "demo", now_ms)?;
    directory.create_app(&app)?;
    Ok(app)
}

/// A fresh secret: 64 hex characters.
pub(crate) fn new_secret() -> Result<String, DataError> {
    Ok(random()?.iter().map(|byte| format!("{byte:02x}")).collect())
}

/// An App with a fresh secret and the administrator of the contract's examples.
pub(crate) fn new_app(id: u32, name: &str, created_ms: u64) -> Result<App, DataError> {
    Ok(App {
        id: AppId(id),
        name: name.to_owned(),
        keys: vec![AppKey::hmac(FIRST_KEY, new_secret()?, created_ms)],
        proved_from_s: 0,
        admins: vec![FIRST_USERS[0].to_owned()],
        disabled: false,
        created_ms,
    })
}

/// The address that a client on this host dials to reach a listener at `bound`.
pub(crate) fn dialled(bound: SocketAddr) -> SocketAddr {
    let ip = match bound.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, bound.port())
}

/// For telling processes apart.
pub(crate) fn random_u64() -> Result<u64, DataError> {
    let bytes = random()?;
    Ok(bytes[..8].iter().fold(0, |value, byte| value << 8 | u64::from(*byte)))
}

fn random() -> Result<[u8; SECRET_BYTES], DataError> {
    let mut bytes = [0; SECRET_BYTES];
    aws_lc_rs::rand::fill(&mut bytes).map_err(|_| DataError::Random)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use nearport_store::MemoryDirectory;
    use std::os::unix::fs::PermissionsExt as _;

    #[test]
    fn the_second_start_finds_what_the_first_made() {
        let dir = tempfile::tempdir().unwrap();
        let layout = Layout(dir.path().join("data"));
        layout.make().unwrap();
        let secret = layout.secret().unwrap();
        assert_ne!(secret, SecretFile::first([0; 32]));
        assert_eq!(layout.secret().unwrap(), secret);
        layout.rotate_secret().unwrap();
        let ring = layout.secret().unwrap().ring().unwrap();
        assert_eq!(ring.fingerprints().map(|(epoch, _)| epoch).collect::<Vec<_>>(), [2, 1]);
        let mode = fs::metadata(layout.secret_file()).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert_eq!((layout.next_generation(&[]).unwrap(), layout.next_generation(&[]).unwrap()), (1, 2));
        assert_eq!(layout.next_generation(&[2, 11, 4]).unwrap(), 5, "3 and 4 are taken, modulo 8");

        assert_eq!(layout.read_client_file().unwrap(), None);
        let mut file = ClientFile {
            server: "127.0.0.1:1".into(),
            ca: None,
            app: 7,
            key: Some("k".into()),
            locate: None,
        };
        layout.write_client_file(&file).unwrap();
        assert_eq!(layout.read_client_file().unwrap(), Some(file.clone()));
        // What a user adds stays over the next start.
        let locate = Some(LocateFile { names: vec!["np.example".into()], ..LocateFile::default() });
        layout.write_client_file(&ClientFile { locate: locate.clone(), ..file.clone() }).unwrap();
        layout.write_client_file(&file).unwrap();
        file.locate = locate;
        assert_eq!(layout.read_client_file().unwrap(), Some(file));

        let directory = MemoryDirectory::new();
        let app = first_app(&directory, 5).unwrap();
        assert_eq!((app.id, app.secret().unwrap().len()), (AppId(FIRST_APP), 64));
        assert_eq!(first_app(&directory, 6).unwrap(), app);
    }

    #[test]
    fn damage_is_told_with_the_file() {
        let dir = tempfile::tempdir().unwrap();
        let layout = Layout(dir.path().to_owned());
        fs::write(dir.path().join("secret"), b"short").unwrap();
        let error = layout.secret().unwrap_err().to_string();
        assert!(error.contains("secret: line 1 must be") && !error.contains("short"), "{error}");
        assert!(layout.rotate_secret().is_err(), "what cannot be read is not overwritten");
        fs::write(dir.path().join("generation"), b"x").unwrap();
        assert!(layout.next_generation(&[]).is_err());
        fs::write(layout.client_file(), b"server = 1").unwrap();
        assert!(layout.read_client_file().unwrap_err().to_string().contains("client.toml"));
        // Its user's [locate] is not lost by a slip beside it.
        let slip = "server = \"a:1\"\napp = 1\nkey = \"k\"\nlocat = 1\n[locate]\nnames = [\"np.example\"]\n";
        fs::write(layout.client_file(), slip).unwrap();
        let file = ClientFile { server: "127.0.0.1:1".into(), ca: None, app: 7, key: None, locate: None };
        layout.write_client_file(&file).unwrap();
        assert_eq!(fs::read_to_string(layout.client_file()).unwrap(), slip);
    }
}
