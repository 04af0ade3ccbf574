//! The files of an import, what tells it from others, and how far it has come.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use aws_lc_rs::digest;
use nearport_chat::directory::{Directory, DirectoryError};
use nearport_chat::key::AppId;
use nearport_rest::lines::Kind;
use serde::{Deserialize, Serialize};

/// Most files of one import: all of them stand in its mark.
pub(crate) const FILES_MAX: usize = 4096;

/// Ends of names that are files of an import where a directory is given.
const ENDINGS: [&str; 2] = ["jsonl", "ndjson"];

/// In what order kinds are stored: what others need comes first, and what somebody has not read is known when all messages are there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Phase {
    Accounts,
    Relations,
    Groups,
    Messages,
    Members,
    /// Groups again: the import of one has made a member of its owner.
    Owners,
}

impl Phase {
    pub(crate) const ALL: [Self; 6] =
        [Self::Accounts, Self::Relations, Self::Groups, Self::Messages, Self::Members, Self::Owners];

    /// What is stored in it.
    pub(crate) fn takes(self, kind: Kind) -> bool {
        matches!(
            (self, kind),
            (Self::Accounts, Kind::Account)
                | (Self::Relations, Kind::Friend | Kind::Block)
                | (Self::Groups | Self::Owners, Kind::Group)
                | (Self::Messages, Kind::GroupMessage | Kind::Message)
                | (Self::Members, Kind::Member)
        )
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Accounts => "accounts",
            Self::Relations => "relations",
            Self::Groups => "groups",
            Self::Messages => "messages",
            Self::Members => "members",
            Self::Owners => "owners",
        }
    }

    pub(crate) fn next(self) -> Option<Self> {
        Self::ALL.into_iter().find(|phase| *phase > self)
    }
}

/// A file as it was when the import began.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct File {
    pub(crate) path: PathBuf,
    bytes: u64,
    modified_ns: u64,
    /// SHA-256 of all of it and names of the kinds that are in it, once it was read to its end.
    #[serde(default)]
    pub(crate) read: Option<Read>,
}

/// What is known of a file that was read to its end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Read {
    pub(crate) digest: String,
    pub(crate) kinds: Vec<String>,
}

impl File {
    fn look(path: &Path) -> Result<Self, String> {
        let told = |error: std::io::Error| format!("{}: {error}", path.display());
        let metadata = path.metadata().map_err(told)?;
        if !metadata.is_file() {
            return Err(format!("{} is no file", path.display()));
        }
        let modified = metadata.modified().map_err(told)?.duration_since(UNIX_EPOCH).unwrap_or_default();
        let modified_ns = u64::try_from(modified.as_nanos()).unwrap_or(u64::MAX);
        Ok(Self { path: path.to_owned(), bytes: metadata.len(), modified_ns, read: None })
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Whether it is of the same name, size and time.
    fn is_same(&self, other: &Self) -> bool {
        (&self.path, self.bytes, self.modified_ns) == (&other.path, other.bytes, other.modified_ns)
    }

    /// Whether there may be something for `phase` in it.
    pub(crate) fn has(&self, phase: Phase) -> bool {
        let holds = |read: &Read| {
            Kind::ALL
                .into_iter()
                .any(|kind| phase.takes(kind) && read.kinds.iter().any(|name| name == kind.name()))
        };
        self.read.as_ref().is_none_or(holds)
    }
}

/// The files that arguments name, in the order in which they are read: as they are given, those of a directory by name.
///
/// # Errors
/// What is wrong with them.
pub(crate) fn find(arguments: &[PathBuf]) -> Result<Vec<File>, String> {
    let mut paths = Vec::new();
    for argument in arguments {
        let told = |error: std::io::Error| format!("{}: {error}", argument.display());
        if !argument.metadata().map_err(told)?.is_dir() {
            paths.push(argument.clone());
            continue;
        }
        let entries = argument.read_dir().map_err(told)?.map(|entry| entry.map(|entry| entry.path()));
        let mut found = entries.collect::<Result<Vec<_>, _>>().map_err(told)?;
        found.retain(|path| path.extension().is_some_and(|end| ENDINGS.iter().any(|known| end == *known)));
        if found.is_empty() {
            return Err(format!("{} holds no file that ends in .jsonl or .ndjson", argument.display()));
        }
        found.sort();
        paths.extend(found);
    }
    if paths.len() > FILES_MAX {
        return Err(format!("{} files: at most {FILES_MAX} are imported together", paths.len()));
    }
    for (at, path) in paths.iter().enumerate() {
        if paths[..at].contains(path) {
            return Err(format!("{} is named twice", path.display()));
        }
    }
    paths.iter().map(|path| File::look(path)).collect()
}

/// A place between two lines.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Place {
    /// Which file, from 0.
    pub(crate) file: usize,
    /// Bytes of it in front of the place.
    pub(crate) offset: u64,
    /// Lines of it in front of the place.
    pub(crate) line: u64,
    /// SHA-256 of those bytes.
    pub(crate) digest: String,
}

impl Place {
    /// In front of a file.
    pub(crate) fn start_of(file: usize) -> Self {
        Self { file, offset: 0, line: 0, digest: hex(digest::digest(&digest::SHA256, b"").as_ref()) }
    }
}

/// What became of the lines of a kind.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Count {
    pub(crate) read: u64,
    pub(crate) stored: u64,
    /// What stood there already.
    pub(crate) repeated: u64,
    pub(crate) rejected: u64,
}

/// How far an import has come. Everything in front of it is on disk; what stands behind it may be there too, and is found when it comes
/// again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Mark {
    version: u32,
    pub(crate) files: Vec<File>,
    /// `None`: all is stored.
    pub(crate) phase: Option<Phase>,
    pub(crate) place: Place,
    pub(crate) counts: BTreeMap<String, Count>,
    /// Lines that are of no known kind.
    pub(crate) unreadable: u64,
    /// Bytes of the file of rejected lines.
    pub(crate) rejected_bytes: u64,
}

const MARK_VERSION: u32 = 1;

impl Mark {
    /// Nothing is stored yet.
    pub(crate) fn new(files: Vec<File>) -> Self {
        Self {
            version: MARK_VERSION,
            files,
            phase: Some(Phase::Accounts),
            place: Place::start_of(0),
            counts: Kind::ALL.into_iter().map(|kind| (kind.name().to_owned(), Count::default())).collect(),
            unreadable: 0,
            rejected_bytes: 0,
        }
    }

    /// The mark of the import `job`, if it was begun.
    ///
    /// # Errors
    /// The store's, or the files are others than they were.
    pub(crate) fn find(
        directory: &dyn Directory,
        app: AppId,
        job: &[u8; 32],
        files: &[File],
    ) -> anyhow::Result<Option<Self>> {
        let mut text = None;
        directory.read_people(&mut |tx| {
            text = tx.import_mark(app, job)?;
            Ok(())
        })?;
        let Some(text) = text else { return Ok(None) };
        let mark: Self = serde_json::from_str(&text)?;
        anyhow::ensure!(
            mark.version == MARK_VERSION,
            "another version of this program has begun this import"
        );
        let begins_anew = "begin anew with --restart: what is stored already is found";
        for (was, is) in mark.files.iter().zip(files) {
            anyhow::ensure!(
                was.is_same(is),
                "{} has changed since this import began; {begins_anew}",
                is.path.display()
            );
        }
        anyhow::ensure!(
            mark.files.len() == files.len(),
            "this import began with {} files, now there are {}; {begins_anew}",
            mark.files.len(),
            files.len()
        );
        Ok(Some(mark))
    }

    /// Writes it, durably.
    pub(crate) fn save(
        &self,
        directory: &dyn Directory,
        app: AppId,
        job: &[u8; 32],
    ) -> Result<(), DirectoryError> {
        let text = serde_json::to_string(self).map_err(|error| DirectoryError::Engine(error.to_string()))?;
        directory.write_people(&mut |tx| tx.put_import_mark(app, job, &text))
    }

    pub(crate) fn count(&mut self, kind: Kind) -> &mut Count {
        self.counts.entry(kind.name().to_owned()).or_default()
    }
}

/// What tells an import from others: the App, and what was named.
pub(crate) fn job(app: AppId, arguments: &[PathBuf]) -> std::io::Result<[u8; 32]> {
    let mut paths = arguments.iter().map(|path| path.canonicalize()).collect::<Result<Vec<_>, _>>()?;
    paths.sort();
    let mut digest = digest::Context::new(&digest::SHA256);
    digest.update(&app.0.to_be_bytes());
    for path in paths {
        digest.update(path.as_os_str().as_encoded_bytes());
        digest.update(&[0]);
    }
    Ok(digest.finish().as_ref().try_into().expect("SHA-256 has 32 bytes"))
}

/// Bytes as people read them.
pub(crate) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}
