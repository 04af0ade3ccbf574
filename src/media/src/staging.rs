//! Files of uploads that are not complete: `ID.part` with what has come, without a gap, and `ID.json` with whose it is.
//!
//! How far an upload is, is the length of its file, so there is nothing else to keep or to lose: after a crash of the process the
//! client goes on where the file ends. After a crash of the machine the file may hold less than it says, which the hash of
//! the whole finds.
//!
//! One request writes at a time. A client that comes again after its connection broke need not wait until the server has noticed: the
//! newer request displaces the older one, which stops at its next octet.
//!
//! Files that the server makes itself are here too until they are whole (`made`). Nobody goes on with those: what a process leaves of
//! them is found by the next one and goes when its time is over.

use std::collections::HashMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{DirBuilderExt as _, FileExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::sync::{Notify, OwnedMutexGuard};

use crate::id::MediaId;
use crate::sign::Claims;

/// How long a request waits for the one that it displaces: a write to a slow disk. While an upload is being examined, that is
/// not displaced.
const DISPLACE_MAX: Duration = Duration::from_secs(10);

/// Whose a part is, for the books of the next process.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Label {
    pub(crate) app: u32,
    /// Empty: the server's own.
    pub(crate) user: String,
    pub(crate) size: u64,
    pub(crate) expires_s: u64,
}

/// The directory.
#[derive(Debug)]
pub(crate) struct Staging {
    dir: PathBuf,
    /// Of requests that are there now.
    slots: Mutex<HashMap<MediaId, Arc<Slot>>>,
}

#[derive(Debug, Default)]
struct Slot {
    writer: Arc<tokio::sync::Mutex<()>>,
    /// Number of the newest request.
    newest: AtomicU64,
    displaced: Notify,
}

/// The right to write to an upload, until it is dropped.
#[derive(Debug)]
pub(crate) struct Writing {
    staging: Arc<Staging>,
    id: MediaId,
    slot: Arc<Slot>,
    number: u64,
    // Goes before `slot` is looked at in `drop`, see there.
    guard: Option<OwnedMutexGuard<()>>,
}

impl Staging {
    /// Makes the directory, readable by this user only.
    pub(crate) fn open(dir: PathBuf) -> io::Result<Self> {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(&dir)?;
        Ok(Self { dir, slots: Mutex::default() })
    }

    pub(crate) fn part(&self, id: MediaId) -> PathBuf {
        self.dir.join(format!("{id}.part"))
    }

    fn label(&self, id: MediaId) -> PathBuf {
        self.dir.join(format!("{id}.json"))
    }

    /// What earlier processes left, with what could not be read removed. Blocks.
    pub(crate) fn found(&self) -> io::Result<Vec<(MediaId, Label)>> {
        let mut found = Vec::new();
        for entry in fs::read_dir(&self.dir)? {
            let path = entry?.path();
            let name = path.file_stem().and_then(|stem| stem.to_str());
            let Some(id) = name.and_then(|name| name.parse::<MediaId>().ok()) else { continue };
            match fs::read(self.label(id)).ok().and_then(|text| serde_json::from_slice(&text).ok()) {
                Some(label) if path.extension().is_some_and(|extension| extension == "json") => {
                    found.push((id, label));
                }
                Some(_) => {}
                // Cut off between the two, or damaged: nobody can be asked for its bytes.
                None => self.remove(id)?,
            }
        }
        Ok(found)
    }

    /// How much of an upload is there; `None`: it has no file. Blocks for a moment.
    pub(crate) fn len(&self, id: MediaId) -> io::Result<Option<u64>> {
        match fs::metadata(self.part(id)) {
            Ok(meta) => Ok(Some(meta.len())),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Begins a file of a new name, which nobody else writes. On an error nothing is left. Blocks.
    pub(crate) fn create(&self, id: MediaId, label: &Label) -> io::Result<File> {
        let create = || {
            // The label first: another process that opens the directory removes what has none.
            write_private(&self.label(id), &serde_json::to_vec(label)?)?;
            OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(self.part(id))
        };
        create().inspect_err(|_| {
            // What cannot be removed now goes when its time is over.
            let _ = self.remove(id);
        })
    }

    /// Removes an upload's files. Blocks.
    pub(crate) fn remove(&self, id: MediaId) -> io::Result<()> {
        // The label last: what is cut off in between is found again.
        for path in [self.part(id), self.label(id)] {
            match fs::remove_file(path) {
                Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        Ok(())
    }

    /// Becomes the one that writes, in the place of whoever does. `None`: the other one did not stop in time.
    ///
    /// Cancel safe.
    pub(crate) async fn write(self: &Arc<Self>, id: MediaId) -> Option<Writing> {
        let slot = self.lock().entry(id).or_default().clone();
        let number = slot.newest.fetch_add(1, Ordering::AcqRel) + 1;
        slot.displaced.notify_waiters();
        let mut writing = Writing { staging: self.clone(), id, slot, number, guard: None };
        let lock = writing.slot.writer.clone().lock_owned();
        writing.guard = Some(tokio::time::timeout(DISPLACE_MAX, lock).await.ok()?);
        Some(writing)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<MediaId, Arc<Slot>>> {
        self.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }

    #[cfg(test)]
    fn slots(&self) -> usize {
        self.lock().len()
    }
}

impl Drop for Writing {
    fn drop(&mut self) {
        self.guard = None;
        let mut slots = self.staging.lock();
        // One in the map, one here: nobody else waits, and nobody else can come while the map is locked.
        if Arc::strong_count(&self.slot) == 2 {
            slots.remove(&self.id);
        }
    }
}

impl Writing {
    pub(crate) fn id(&self) -> MediaId {
        self.id
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.staging.part(self.id)
    }

    /// Ready when a newer request wants to write. Cancel safe.
    pub(crate) async fn displaced(&self) {
        let told = self.slot.displaced.notified();
        tokio::pin!(told);
        told.as_mut().enable();
        if self.slot.newest.load(Ordering::Acquire) == self.number {
            told.await;
        }
    }

    /// Opens the file, which is made with its label if it is not there. Gives its length too. Blocks.
    pub(crate) fn open(&self, claims: &Claims) -> io::Result<(File, u64)> {
        let label = self.staging.label(self.id);
        if !label.exists() {
            let (app, user) = (claims.app, claims.user.clone());
            let text = Label { app, user, size: claims.size, expires_s: claims.expires_s };
            write_private(&label, &serde_json::to_vec(&text)?)?;
        }
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(self.path())?;
        let len = file.metadata()?.len();
        Ok((file, len))
    }

    /// Writes at a place. Blocks.
    pub(crate) fn put(file: &File, bytes: &[u8], at: u64) -> io::Result<()> {
        file.write_all_at(bytes, at)
    }

    /// Removes the files. Blocks.
    pub(crate) fn remove(&self) -> io::Result<()> {
        self.staging.remove(self.id)
    }
}

fn write_private(path: &Path, bytes: &[u8]) -> io::Result<()> {
    // A half written one cannot be read and counts as none.
    let file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)?;
    file.write_all_at(bytes, 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kind::Kind;

    fn claims(id: MediaId) -> Claims {
        Claims {
            app: 7,
            user: "alice".into(),
            id,
            kind: Kind::File,
            size: 10,
            sha256: None,
            name: String::new(),
            content_type: String::new(),
            expires_s: 9,
        }
    }

    #[tokio::test]
    async fn the_newer_request_displaces_the_older_one() {
        let dir = tempfile::tempdir().unwrap();
        let staging = Arc::new(Staging::open(dir.path().join("staging")).unwrap());
        let id = MediaId::new(1).unwrap();
        let first = staging.write(id).await.unwrap();
        let second = tokio::spawn({
            let staging = staging.clone();
            async move { staging.write(id).await }
        });
        let told = tokio::time::timeout(Duration::from_secs(5), first.displaced()).await;
        assert!(told.is_ok(), "nobody told the older one");
        drop(first);
        let second = second.await.unwrap().unwrap();
        tokio::select! {
            () = second.displaced() => panic!("nobody is newer"),
            () = std::future::ready(()) => {}
        }
        assert_eq!(staging.slots(), 1);
        drop(second);
        assert_eq!(staging.slots(), 0);
    }

    #[tokio::test]
    async fn what_is_there_is_found_with_its_owner() {
        let dir = tempfile::tempdir().unwrap();
        let staging = Arc::new(Staging::open(dir.path().join("staging")).unwrap());
        let (id, orphan) = (MediaId::new(1).unwrap(), MediaId::new(1).unwrap());
        let writing = staging.write(id).await.unwrap();
        let (file, len) = writing.open(&claims(id)).unwrap();
        assert_eq!(len, 0);
        Writing::put(&file, b"hello", 0).unwrap();
        fs::write(staging.part(orphan), b"x").unwrap();
        fs::write(dir.path().join("staging/README"), b"not ours").unwrap();
        let found = staging.found().unwrap();
        assert_eq!(found.len(), 1);
        assert_eq!((found[0].0, &*found[0].1.user, found[0].1.size), (id, "alice", 10));
        assert_eq!(staging.len(orphan).unwrap(), None, "nobody's bytes are removed");
        assert_eq!(staging.len(id).unwrap(), Some(5));
        writing.remove().unwrap();
        assert_eq!(staging.len(id).unwrap(), None);
        assert!(staging.found().unwrap().is_empty());
    }
}
