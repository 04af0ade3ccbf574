//! Where certificates come from: files that others write, at any time and in any order.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use crate::config::Tls;
use crate::files::FileError;
use crate::tls::{TlsError, pem_error};
use crate::tls_pem::Certificate;

/// Pairs in `tls.dir`. A table of so many names is some MiB, and one look at their files some milliseconds.
const PAIRS_MAX: usize = 1_000;

/// Names of chain and key in a folder of `tls.dir`: a Kubernetes secret, or what certbot keeps.
const FOLDER: [(&str, &str); 2] = [("tls.crt", "tls.key"), ("fullchain.pem", "privkey.pem")];

/// One certificate that is wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Source {
    /// The setting that asks for it, `tls.dir/NAME` for a pair: label of its metrics, the same from start to start.
    pub(crate) name: String,
    chain: PathBuf,
    key: PathBuf,
}

/// What a file is like from outside. If none of it has changed, the content has not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct FileState {
    device: u64,
    inode: u64,
    bytes: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

/// The state of both files of a source; `None` for one that is not there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stamp([Option<FileState>; 2]);

impl Source {
    pub(crate) fn new(name: impl Into<String>, chain: &Path, key: &Path) -> Self {
        Self { name: name.into(), chain: chain.to_owned(), key: key.to_owned() }
    }

    /// Follows symbolic links: a Kubernetes mount changes where one points and touches no file.
    ///
    /// Take it before [`Self::load`], so that a change between the two is seen at the next look.
    pub(crate) fn stamp(&self) -> Stamp {
        let state = |path: &PathBuf| {
            fs::metadata(path).ok().map(|meta| FileState {
                device: meta.dev(),
                inode: meta.ino(),
                bytes: meta.len(),
                modified: (meta.mtime(), meta.mtime_nsec()),
                changed: (meta.ctime(), meta.ctime_nsec()),
            })
        };
        Stamp([state(&self.chain), state(&self.key)])
    }

    pub(crate) fn load(&self) -> Result<Certificate, TlsError> {
        Certificate::load(&self.chain, &self.key)
    }

    /// Says that what was loaded is not wanted.
    pub(crate) fn refuse(&self, reason: String) -> TlsError {
        pem_error(&self.chain, reason)
    }
}

/// Everything that `config` asks for but the development CA's, `tls.cert` first, then `acme` (a file with chain and key,
/// if there is one), then the pairs of `tls.dir` by name.
///
/// # Errors
/// [`TlsError`] if `tls.dir` cannot be listed or holds too many pairs.
pub(crate) fn list(config: &Tls, acme: Option<&Path>) -> Result<Vec<Source>, TlsError> {
    let mut sources = Vec::new();
    if let (Some(cert), Some(key)) = (&config.cert, &config.key) {
        sources.push(Source::new("tls.cert", cert, key));
    }
    if let Some(both) = acme.filter(|path| path.exists()) {
        sources.push(Source::new("acme", both, both));
    }
    if let Some(dir) = &config.dir {
        sources.extend(pairs(dir)?);
    }
    Ok(sources)
}

/// `NAME.crt` with `NAME.key`, and folders `NAME/`. What begins with a dot is skipped (a Kubernetes mount keeps its
/// versions there), and so is everything else.
fn pairs(dir: &Path) -> Result<Vec<Source>, TlsError> {
    let at = FileError::at(dir);
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(dir).map_err(&at)? {
        let path = entry.map_err(&at)?.path();
        let name = path.file_name().and_then(OsStr::to_str).unwrap_or_default();
        if name.starts_with('.') {
            continue;
        }
        let pair = match path.extension().and_then(OsStr::to_str) {
            // One half without the other is a mistake that loading tells.
            Some("crt" | "key") if !path.is_dir() => {
                Some((path.with_extension("crt"), path.with_extension("key")))
            }
            _ => {
                let pair = |(chain, key): &(&str, &str)| (path.join(chain), path.join(key));
                FOLDER.iter().map(pair).find(|(chain, key)| chain.exists() || key.exists())
            }
        };
        if let Some((chain, key)) = pair {
            let name =
                if path.is_dir() { name } else { name.rsplit_once('.').map_or(name, |(stem, _)| stem) };
            let name = format!("tls.dir/{name}");
            found.insert(name.clone(), Source::new(name, &chain, &key));
        }
        if found.len() > PAIRS_MAX {
            return Err(pem_error(dir, format!("holds more than {PAIRS_MAX} pairs: give each edge its own")));
        }
    }
    Ok(found.into_values().collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    fn config(dir: &Path) -> Tls {
        Tls {
            cert: Some("a.pem".into()),
            key: Some("a-key.pem".into()),
            dir: Some(dir.into()),
            ..Tls::default()
        }
    }

    fn names(dir: &Path) -> Vec<String> {
        list(&config(dir), None).unwrap().into_iter().map(|source| source.name).collect()
    }

    #[test]
    fn the_layouts_that_operators_have_are_found_in_order() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        for name in
            ["b.test.crt", "b.test.key", "half.crt", "alone.key", "README", "notes.txt", ".hidden.crt"]
        {
            fs::write(at(name), name).unwrap();
        }
        for (folder, files) in [
            ("kube", &["tls.crt", "tls.key", "ca.crt"][..]),
            ("certbot.test", &["fullchain.pem", "privkey.pem", "cert.pem", "chain.pem"]),
            ("empty", &[]),
            ("..2026_11_23", &["tls.crt", "tls.key"]),
        ] {
            fs::create_dir(at(folder)).unwrap();
            files.iter().for_each(|name| fs::write(at(folder).join(name), name).unwrap());
        }
        symlink("..2026_11_23", at("..data")).unwrap();
        let wanted = [
            "tls.cert",
            "tls.dir/alone",
            "tls.dir/b.test",
            "tls.dir/certbot.test",
            "tls.dir/half",
            "tls.dir/kube",
        ];
        assert_eq!(names(dir.path()), wanted);
        let acme = at("README");
        let sources = list(&config(dir.path()), Some(&acme)).unwrap();
        assert_eq!(sources[1], Source::new("acme", &acme, &acme));
        assert_eq!(sources[4].chain, at("certbot.test/fullchain.pem"));
        assert_eq!(sources[6].key, at("kube/tls.key"));
        assert!(list(&config(&at("none")), None).unwrap_err().to_string().contains("/none: "));
    }

    #[test]
    fn a_secret_mounted_as_the_directory_is_one_pair() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("..1")).unwrap();
        for name in ["tls.crt", "tls.key"] {
            fs::write(dir.path().join("..1").join(name), name).unwrap();
            symlink(Path::new("..data").join(name), dir.path().join(name)).unwrap();
        }
        symlink("..1", dir.path().join("..data")).unwrap();
        assert_eq!(names(dir.path()), ["tls.cert", "tls.dir/tls"]);
    }

    #[test]
    fn every_way_to_change_a_file_is_seen_and_a_look_is_not_one() {
        let dir = tempfile::tempdir().unwrap();
        let (chain, key) = (dir.path().join("a.crt"), dir.path().join("a.key"));
        let source = Source::new("x", &chain, &key);
        let absent = source.stamp();
        fs::write(&chain, "one").unwrap();
        let half = source.stamp();
        fs::write(&key, "one").unwrap();
        let whole = source.stamp();
        assert!(absent != half && half != whole);
        fs::read(&chain).unwrap();
        assert_eq!(source.stamp(), whole);
        // The same length and time: another file is moved to the place.
        let modified = fs::metadata(&chain).unwrap().modified().unwrap();
        let other = dir.path().join("new");
        fs::write(&other, "two").unwrap();
        fs::File::options().write(true).open(&other).unwrap().set_modified(modified).unwrap();
        fs::rename(&other, &chain).unwrap();
        assert_ne!(source.stamp(), whole);
        // In place, with the time set back as some copying tools do.
        let moved = source.stamp();
        fs::write(&chain, "and longer").unwrap();
        fs::File::options().write(true).open(&chain).unwrap().set_modified(modified).unwrap();
        assert_ne!(source.stamp(), moved);
    }

    #[test]
    fn too_many_pairs_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        for index in 0..=PAIRS_MAX {
            fs::write(dir.path().join(format!("{index}.crt")), "").unwrap();
        }
        let error = list(&config(dir.path()), None).unwrap_err().to_string();
        assert!(error.contains("more than 1000 pairs"), "{error}");
    }
}
