//! Files that the server makes itself: written to the staging directory as an upload is, then an object like any other.
//!
//! The order is that of `finish`: the content is on disk before it is moved, and `about` is written last, so that nobody is served a
//! part. A process that ends before leaves a labelled file in the staging directory, which the next one removes when its time is over, or
//! content without `about`, which goes with its day. Who notes the id before the file is published may remove both at
//! once ([`Media::remove_made`]).

use std::fmt;
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::sync::Arc;

use aws_lc_rs::digest;

use crate::about::About;
use crate::finish::hex;
use crate::id::{DAY_S, MediaId};
use crate::kind::Kind;
use crate::objects::{What, blocking};
use crate::service::Media;
use crate::sign::Variant;
use crate::staging::{Label, Staging};

/// What waits in memory of a file that is being written.
const BUFFER_BYTES: usize = 64 << 10;
/// How long a file may be in the making, in seconds: another process removes it then. No file of an hour takes a day.
const MAKING_MAX_S: u64 = DAY_S;

/// A file that the server makes itself. Dropping it without [`Media::publish_made`] removes what there is.
///
/// Writing, flushing and dropping block.
pub struct Making {
    staging: Arc<Staging>,
    app: u32,
    id: MediaId,
    file: BufWriter<File>,
    hash: digest::Context,
}

impl fmt::Debug for Making {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Making").field("app", &self.app).field("id", &self.id).finish_non_exhaustive()
    }
}

impl Making {
    /// Its name.
    #[must_use]
    pub fn id(&self) -> MediaId {
        self.id
    }

    /// Brings all of it to the disk. Gives its size, and the hash of what is there as hex. Blocks.
    fn sync(&mut self) -> io::Result<(u64, String)> {
        self.file.flush()?;
        let file = self.file.get_mut();
        file.sync_all()?;
        Ok((file.metadata()?.len(), hex(self.hash.clone().finish().as_ref())))
    }
}

impl Write for Making {
    fn write(&mut self, octets: &[u8]) -> io::Result<usize> {
        let written = self.file.write(octets)?;
        self.hash.update(&octets[..written]);
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl Drop for Making {
    fn drop(&mut self) {
        // Of one that is published its label, and its content where that was copied to a bucket.
        if let Err(error) = self.staging.remove(self.id) {
            tracing::warn!(id = %self.id, %error, "media: what is left of a made file cannot be removed");
        }
    }
}

/// Why a file that the server makes is not there, or is there still.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MakeError {
    /// The disk.
    #[error("staging directory: {0}")]
    Staging(#[from] io::Error),
    /// The object store.
    #[error("object store: {0}")]
    Store(#[from] object_store::Error),
}

impl Media {
    /// Begins a file of an App. Blocks.
    ///
    /// # Errors
    /// What the disk says; nothing is left.
    pub fn make(&self, app: u32, now_ms: u64) -> io::Result<Making> {
        let id = MediaId::new(now_ms).ok_or_else(|| io::Error::other("the system gives no random bytes"))?;
        // In the books of the process that finds it, it takes nothing from anybody.
        let (user, size) = (String::new(), 0);
        let label = Label { app, user, size, expires_s: now_ms / 1000 + MAKING_MAX_S };
        let file = BufWriter::with_capacity(BUFFER_BYTES, self.staging.create(id, &label)?);
        let hash = digest::Context::new(&digest::SHA256);
        Ok(Making { staging: self.staging.clone(), app, id, file, hash })
    }

    /// Makes an object of a file that is whole, which browsers save as `name`. Durable when it returns `Ok`. Gives its size in octets.
    ///
    /// Not cancel safe: content may be left without its `about`, which is served to nobody and goes with its day.
    ///
    /// # Errors
    /// [`MakeError`]; nothing is left, unless the store does not let go of it either.
    pub async fn publish_made(
        &self,
        making: Making,
        name: String,
        content_type: String,
    ) -> Result<u64, MakeError> {
        let synced = blocking(move || {
            let mut making = making;
            let (size, sha256) = making.sync()?;
            Ok((making, size, sha256))
        });
        let (making, size, sha256) = synced.await?;
        // Nothing of it is shown in place, whatever it is.
        let (kind, inline, picture) = (Kind::File, false, None);
        let about = About { kind, name, size, sha256, content_type, inline, picture };
        let stored = self.store_made(&making, &about).await;
        if stored.is_err() {
            self.clear_made(making.app, making.id).await;
        }
        let _ = blocking(move || {
            drop(making);
            Ok(())
        })
        .await;
        stored?;
        self.metrics.made_files.increment(1);
        self.metrics.made_bytes.increment(size);
        Ok(size)
    }

    async fn store_made(&self, making: &Making, about: &About) -> Result<(), MakeError> {
        let (app, id) = (making.app, making.id);
        let text = serde_json::to_vec(about).map_err(io::Error::from)?;
        self.objects.take(app, id, making.staging.part(id), about.size).await?;
        self.objects.put(app, id, What::About, text).await?;
        Ok(())
    }

    /// Removes what a failed attempt may have left in the store, each part whatever becomes of the other: nobody knows its name yet.
    async fn clear_made(&self, app: u32, id: MediaId) {
        for what in [What::About, What::Variant(Variant::Original)] {
            if let Err(error) = self.objects.remove(app, id, what).await {
                tracing::warn!(%id, ?what, %error, "media: what is left of a made file cannot be removed");
            }
        }
    }

    /// Removes a file with all that belongs to it, whether it is there or not, and whether it was published or not. One that is
    /// still in the making cannot be published any more.
    ///
    /// What is on its way goes on. After a crash of the machine the file may be there again: a removal may be repeated. Not
    /// cancel safe in the sense that the rest is left; repeat it.
    ///
    /// # Errors
    /// [`MakeError`]; a part may be left, which is served to nobody once the first step is done. Try again.
    pub async fn remove_made(&self, app: u32, id: MediaId) -> Result<(), MakeError> {
        // `about` first, so that nobody is served a part. Whoever remembers it still, another process or a download that has just
        // read it, finds no content.
        self.objects.remove(app, id, What::About).await?;
        self.forget(app, id);
        self.objects.remove(app, id, What::Variant(Variant::Original)).await?;
        self.objects.remove(app, id, What::Banned).await?;
        let staging = self.staging.clone();
        blocking(move || staging.remove(id)).await?;
        self.books().end(id);
        self.shown();
        Ok(())
    }

    /// A URL of a file and the Unix second at which it ends: good for the configured time, until `until_s` and until the
    /// file expires at the latest. It says nothing about whether the file is there.
    ///
    /// `None`: that second has come, or before [`Self::at`], or without any key.
    #[must_use]
    pub fn url_of(&self, app: u32, id: MediaId, until_s: u64, now_s: u64) -> Option<(String, u64)> {
        let ends_s = self.ends_s(id, now_s, self.config.url_ttl).min(until_s);
        if ends_s <= now_s {
            return None;
        }
        Some((self.url(app, id, Variant::Original, ends_s)?, ends_s))
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::net::Ipv4Addr;
    use std::path::{Path, PathBuf};
    use std::time::Duration;

    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::{TcpListener, TcpStream};

    use super::*;
    use crate::config::{Config, StorageConfig};
    use crate::service::{Begin, now_s};

    const APP: u32 = 7;
    const EXPIRY_S: u64 = 7 * DAY_S;
    const USER_BYTES_MAX: u64 = 1000;
    const NAME: &str = "2026-01-31_23.gz";
    const NOTHING: [PathBuf; 0] = [];
    /// For a server that does not answer.
    const STUCK: Duration = Duration::from_secs(30);

    fn open(dir: &Path) -> Arc<Media> {
        let config = Config {
            dir: dir.to_owned(),
            storage: StorageConfig::Directory,
            image_bytes_max: USER_BYTES_MAX,
            sound_bytes_max: USER_BYTES_MAX,
            video_bytes_max: USER_BYTES_MAX,
            file_bytes_max: USER_BYTES_MAX,
            user_bytes_max: USER_BYTES_MAX,
            app_bytes_max: USER_BYTES_MAX,
            upload_ttl: Duration::from_secs(DAY_S),
            expiry: Some(Duration::from_secs(EXPIRY_S)),
            url_ttl: Duration::from_secs(DAY_S),
            chunk_bytes: 1 << 20,
            origins: Vec::new(),
        };
        Arc::new(Media::open(config, &[(1, [1; 32])]).unwrap())
    }

    /// The same with its routes at a port of its own.
    async fn serve(dir: &Path) -> Arc<Media> {
        let media = open(dir);
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        media.at(&format!("http://{}", listener.local_addr().unwrap()));
        let router = media.router();
        tokio::spawn(async move { axum::serve(listener, router).await });
        media
    }

    /// One request: the head of its answer, and its content.
    async fn ask(method: &str, url: &str) -> (String, Vec<u8>) {
        let rest = url.strip_prefix("http://").unwrap();
        let (address, path) = rest.split_at(rest.find('/').unwrap());
        let asked = async {
            let mut stream = TcpStream::connect(address).await.unwrap();
            let request = format!("{method} {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
            stream.write_all(request.as_bytes()).await.unwrap();
            let mut answer = Vec::new();
            stream.read_to_end(&mut answer).await.unwrap();
            answer
        };
        let answer = tokio::time::timeout(STUCK, asked).await.expect("an answer in time");
        let end = answer.windows(4).position(|four| four == b"\r\n\r\n").unwrap();
        (String::from_utf8(answer[..end + 2].to_vec()).unwrap(), answer[end + 4..].to_vec())
    }

    async fn status(method: &str, url: &str) -> String {
        ask(method, url).await.0.split(' ').nth(1).unwrap().to_owned()
    }

    /// All files below a directory.
    fn files(dir: &Path) -> Vec<PathBuf> {
        let Ok(entries) = fs::read_dir(dir) else { return Vec::new() };
        let paths = entries.map(|entry| entry.unwrap().path());
        paths.flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] }).collect()
    }

    async fn publish(media: &Media, making: Making) -> Result<u64, MakeError> {
        media.publish_made(making, NAME.to_owned(), "application/gzip".to_owned()).await
    }

    async fn published(media: &Media, content: &[u8]) -> MediaId {
        let mut making = media.make(APP, now_s() * 1000).unwrap();
        // In pieces that fill no buffer evenly.
        content.chunks(1000).for_each(|piece| making.write_all(piece).unwrap());
        let id = making.id();
        assert_eq!(publish(media, making).await.unwrap(), u64::try_from(content.len()).unwrap());
        id
    }

    fn url(media: &Media, id: MediaId) -> String {
        media.url_of(APP, id, u64::MAX, now_s()).unwrap().0
    }

    /// How many uploads are in the books, and how much they take.
    fn booked(media: &Media) -> (usize, u64) {
        let books = media.books();
        (books.len(), books.bytes())
    }

    #[tokio::test]
    async fn what_was_made_is_saved_octet_for_octet_under_its_name() {
        let dir = tempfile::tempdir().unwrap();
        let media = serve(dir.path()).await;
        let content: Vec<u8> =
            (0..300_001_u32).map(|at| at.wrapping_mul(2_654_435_761).to_be_bytes()[0]).collect();
        for content in [&*content, b""] {
            let id = published(&media, content).await;
            let (head, got) = ask("GET", &url(&media, id)).await;
            assert!(head.starts_with("HTTP/1.1 200"), "{head}");
            assert!(got == content, "{} octets of {}", got.len(), content.len());
            let disposition =
                format!("content-disposition: attachment; filename=\"{NAME}\"; filename*=UTF-8''{NAME}\r\n");
            assert!(head.contains(&disposition), "{head}");
            assert!(head.contains("content-type: application/gzip\r\n"), "{head}");
            // It is the file that is compressed, not its transport: a browser would unpack it.
            assert!(!head.contains("content-encoding"), "{head}");
        }
        assert_eq!(files(&dir.path().join("staging")), NOTHING);
        assert_eq!(booked(&media), (0, 0));
    }

    #[tokio::test]
    async fn what_is_given_up_leaves_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let media = open(dir.path());
        let mut making = media.make(APP, now_s() * 1000).unwrap();
        making.write_all(&[1; 2 * BUFFER_BYTES]).unwrap();
        assert_eq!(files(dir.path()).len(), 2, "content and label");
        drop(making);
        assert_eq!(files(dir.path()), NOTHING);
    }

    #[tokio::test]
    async fn what_the_store_does_not_take_leaves_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let media = open(dir.path());
        let making = media.make(APP, now_s() * 1000).unwrap();
        let id = making.id();
        let object = dir.path().join(format!("objects/{}/{APP}/{id}", id.day()));
        // Where `about` goes is something else, so that the last step fails.
        fs::create_dir_all(object.join("about")).unwrap();
        fs::write(object.join("about/other"), b"x").unwrap();
        let refused = publish(&media, making).await;
        assert!(matches!(refused, Err(MakeError::Store(_))), "{refused:?}");
        assert_eq!(files(dir.path()), [object.join("about/other")]);
    }

    #[tokio::test]
    async fn what_is_removed_is_not_served_any_more() {
        let dir = tempfile::tempdir().unwrap();
        let media = serve(dir.path()).await;
        let (unread, read) = (published(&media, b"unread").await, published(&media, b"read").await);
        // From here on its `about` is remembered.
        assert_eq!(status("GET", &url(&media, read)).await, "200");
        media.ban(APP, &url(&media, read)).await.unwrap();
        for id in [unread, read] {
            media.remove_made(APP, id).await.unwrap();
            for method in ["GET", "HEAD"] {
                assert_eq!(status(method, &url(&media, id)).await, "404");
            }
            media.remove_made(APP, id).await.unwrap();
        }
        assert_eq!(files(dir.path()), NOTHING, "its ban is gone too");
    }

    #[tokio::test]
    async fn what_another_process_makes_is_left_alone_until_its_time_is_over() {
        let dir = tempfile::tempdir().unwrap();
        let older = open(dir.path());
        let now_s = now_s();
        let mut made: Vec<_> = (0..3).map(|_| older.make(APP, now_s * 1000).unwrap()).collect();
        made.iter_mut().for_each(|making| making.write_all(b"some of it").unwrap());
        let newer = serve(dir.path()).await;
        assert_eq!(booked(&newer), (3, 0), "found, and nobody's octets");
        let (kind, size) = (Kind::File, USER_BYTES_MAX);
        let all = Begin { kind, name: "a", size, sha256: &[], content_type: "" };
        newer.begin(APP, "alice", &all, now_s * 1000).unwrap();
        newer.sweep_uploads(now_s).await;

        let whole = made.remove(0);
        let id = whole.id();
        publish(&older, whole).await.unwrap();
        assert_eq!(ask("GET", &url(&newer, id)).await.1, b"some of it");

        // The older process is killed.
        let killed: Vec<_> = made.iter().map(Making::id).collect();
        made.into_iter().for_each(std::mem::forget);
        let staging = dir.path().join("staging");
        newer.remove_made(APP, killed[0]).await.unwrap();
        assert_eq!(files(&staging).len(), 2, "of the other one");
        newer.sweep_uploads(now_s + MAKING_MAX_S).await;
        assert_eq!(files(&staging).len(), 2);
        newer.sweep_uploads(now_s + MAKING_MAX_S + 1).await;
        assert_eq!(files(&staging), NOTHING);
        assert_eq!(booked(&newer), (0, 0));
        assert_eq!(status("GET", &url(&newer, id)).await, "200", "what is whole stays");
    }

    #[tokio::test]
    async fn a_url_ends_with_its_time_when_it_is_told_to_and_with_the_file() {
        let dir = tempfile::tempdir().unwrap();
        let media = open(dir.path());
        let now_s = now_s();
        let id = media.make(APP, now_s * 1000).unwrap().id();
        let url_of = |until_s, now_s| media.url_of(APP, id, until_s, now_s);
        let ends_s = |until_s, now_s| url_of(until_s, now_s).map(|(_, ends_s)| ends_s);
        assert_eq!(url_of(u64::MAX, now_s), None, "nobody knows where it is");
        media.at("http://127.0.0.1:1");
        assert_eq!(ends_s(u64::MAX, now_s), Some(now_s + DAY_S));
        let (url, ends) = url_of(now_s + 60, now_s).unwrap();
        assert_eq!(ends, now_s + 60);
        assert!(url.contains(&format!("/original?e={ends}&")), "{url}");
        assert_eq!(url_of(now_s, now_s), None);
        let over_s = now_s + EXPIRY_S;
        assert_eq!(ends_s(u64::MAX, over_s - 1), Some(over_s));
        assert_eq!(url_of(u64::MAX, over_s), None);
        assert_eq!(url_of(u64::MAX, over_s + 1), None);
        media.rotate(&[]);
        assert_eq!(url_of(u64::MAX, now_s), None, "nothing to sign with");
    }
}
