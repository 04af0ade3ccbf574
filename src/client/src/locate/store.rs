//! What is kept between processes, in a directory: the signed map and the book. Files are whole or absent, and readable by this user
//! only: where somebody is, is his business.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use nearport_geo::signed::{MAP_BYTES_MAX, Map};

use super::book::{BOOK_BYTES_MAX, Book};

/// The signed map, as the service sent it.
const MAP: &str = "map.json";

/// What was nearest in which network.
const BOOK: &str = "places.json";

/// Whoever writes: a temporary is named after the process, in which several stores may be of one directory.
static WRITING: Mutex<()> = Mutex::new(());

/// See the module documentation. Every call reads or writes a file: not for a thread that must not wait.
#[derive(Debug)]
pub(crate) struct Store {
    dir: PathBuf,
    keys: Vec<[u8; 32]>,
}

impl Store {
    pub(crate) fn new(dir: PathBuf, keys: Vec<[u8; 32]>) -> Self {
        Self { dir, keys }
    }

    /// The book; one that cannot be read is empty.
    pub(crate) fn book(&self) -> Book {
        read(&self.dir.join(BOOK), BOOK_BYTES_MAX).map(|text| Book::read(&text)).unwrap_or_default()
    }

    pub(crate) fn keep_book(&self, text: &str) -> io::Result<()> {
        self.replace(BOOK, text.as_bytes())
    }

    /// The map, if it is there and signed by a known key.
    ///
    /// # Errors
    /// For people.
    pub(crate) fn map(&self) -> Result<Map, String> {
        let path = self.dir.join(MAP);
        let text = read(&path, MAP_BYTES_MAX).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => "none was fetched yet".to_owned(),
            _ => format!("{}: {error}", path.display()),
        })?;
        Map::verify(&text, &self.keys).map_err(|error| format!("{}: {error}", path.display()))
    }

    /// Takes a map that was fetched, unless it is older than the one that is there.
    ///
    /// # Errors
    /// For people: the signature, its age, the disk.
    pub(crate) fn keep_map(&self, text: &[u8]) -> Result<(), String> {
        let new = Map::verify(text, &self.keys).map_err(|error| error.to_string())?;
        if let Ok(old) = self.map()
            && new.serial < old.serial
        {
            return Err(format!("number {} is older than number {}, which is here", new.serial, old.serial));
        }
        self.replace(MAP, text).map_err(|error| format!("{}: {error}", self.dir.display()))
    }

    fn replace(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        let _turn = WRITING.lock().unwrap_or_else(PoisonError::into_inner);
        make_dir(&self.dir)?;
        // Several processes may share the directory; what has this name is of one that is dead.
        let temporary = self.dir.join(format!(".{name}.{}.tmp", std::process::id()));
        let _ = fs::remove_file(&temporary);
        let written = create(&temporary).and_then(|mut file| {
            file.write_all(bytes)?;
            file.sync_all()
        });
        let renamed = written.and_then(|()| fs::rename(&temporary, self.dir.join(name)));
        if renamed.is_err() {
            let _ = fs::remove_file(&temporary);
        }
        renamed
    }
}

/// A directory that is there already keeps its mode: it is the application's.
fn make_dir(dir: &Path) -> io::Result<()> {
    let mut builder = fs::DirBuilder::new();
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.recursive(true).create(dir)
}

fn create(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.write(true).create_new(true).open(path)
}

fn read(path: &Path, most: usize) -> io::Result<Vec<u8>> {
    let limit = u64::try_from(most).unwrap_or(u64::MAX).saturating_add(1);
    let mut bytes = Vec::new();
    File::open(path)?.take(limit).read_to_end(&mut bytes)?;
    if bytes.len() > most { Err(io::Error::other(format!("longer than {most} bytes"))) } else { Ok(bytes) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
    use nearport_geo::signed::MapPop;

    fn map(serial: u64) -> Map {
        Map {
            version: 1,
            serial,
            made_s: 1_000,
            good_until_s: 2_000,
            pops: vec![MapPop {
                id: "a".into(),
                place: "A".into(),
                country: "SG".into(),
                lat: 1.0,
                lon: 103.0,
                endpoints: [("quic".to_owned(), "192.0.2.1:4433".to_owned())].into(),
                addresses: Vec::new(),
            }],
            countries: Default::default(),
            everywhere: vec![0],
        }
    }

    #[test]
    fn a_map_is_kept_if_it_is_signed_and_not_older() {
        let dir = tempfile::tempdir().unwrap();
        let pair = Ed25519KeyPair::from_seed_unchecked(&[1; 32]).unwrap();
        let stranger = Ed25519KeyPair::from_seed_unchecked(&[2; 32]).unwrap();
        let key: [u8; 32] = pair.public_key().as_ref().try_into().unwrap();
        let store = Store::new(dir.path().join("deep/locate"), vec![key]);
        assert_eq!(store.map().unwrap_err(), "none was fetched yet");
        assert!(store.keep_map(map(5).sign(&stranger).as_bytes()).unwrap_err().contains("not signed"));
        store.keep_map(map(5).sign(&pair).as_bytes()).unwrap();
        assert!(store.keep_map(map(4).sign(&pair).as_bytes()).unwrap_err().contains("older than number 5"));
        assert_eq!(store.map().unwrap().serial, 5);
        store.keep_map(map(6).sign(&pair).as_bytes()).unwrap();
        // Nothing is left beside it.
        assert_eq!(fs::read_dir(&store.dir).unwrap().count(), 1);

        // Somebody else writes there.
        let path = store.dir.join(MAP);
        let changed = fs::read_to_string(&path).unwrap().replacen("map\":\"e", "map\":\"f", 1);
        fs::write(&path, changed).unwrap();
        assert!(store.map().unwrap_err().contains("not signed"));
        fs::write(&path, vec![b' '; MAP_BYTES_MAX + 1]).unwrap();
        assert!(store.map().unwrap_err().contains("longer than"));
        // What cannot be read stands in nobody's way.
        store.keep_map(map(1).sign(&pair).as_bytes()).unwrap();
        assert_eq!(store.map().unwrap().serial, 1);
    }

    #[cfg(unix)]
    #[test]
    fn nobody_else_reads_it_in_a_directory_that_others_may_read_and_no_litter_stays() {
        use std::os::unix::fs::PermissionsExt as _;
        let dir = tempfile::tempdir().unwrap();
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let store = Store::new(dir.path().to_owned(), Vec::new());
        // An earlier process of this number ended in the middle, and an earlier program was careless.
        fs::write(dir.path().join(format!(".{BOOK}.{}.tmp", std::process::id())), "half of i").unwrap();
        fs::write(dir.path().join(BOOK), "").unwrap();
        let written = "{\"version\":1,\"networks\":{}}";
        store.keep_book(written).unwrap();
        assert_eq!(fs::read_to_string(dir.path().join(BOOK)).unwrap(), written);
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&dir.path().join(BOOK)), mode(dir.path())), (0o600, 0o755));
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_book_that_cannot_be_read_is_an_empty_one() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::new(dir.path().to_owned(), Vec::new());
        let _ = store.book();
        store.keep_book("{\"version\":1,\"networks\":{}}").unwrap();
        let _ = store.book();
        fs::write(dir.path().join(BOOK), "garbage").unwrap();
        assert!(!store.book().has_changed());
    }
}
