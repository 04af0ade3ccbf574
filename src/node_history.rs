//! History files in a node: compressed as they are written, and kept where files of messages are.

use std::io::{self, Write};
use std::sync::Arc;

use flate2::Compression;
use flate2::write::GzEncoder;
use md5::{Digest as _, Md5};
use nearport_chat::history::{Files, HistoryKey, Made, Said, Sheet};
use nearport_chat::key::AppId;
use nearport_media::{Making, Media, MediaId};
use nearport_rest::sheet;
use tokio::runtime::Handle;

use crate::import_files::hex;

/// What browsers and back ends are told that it is.
const CONTENT_TYPE: &str = "application/gzip";

/// Where history files go.
#[derive(Debug)]
pub(crate) struct History {
    media: Arc<Media>,
    /// Of the runtime that asks the store: the thread that makes files is not one of its own.
    runtime: Handle,
}

impl History {
    pub(crate) fn new(media: Arc<Media>, runtime: Handle) -> Self {
        Self { media, runtime }
    }
}

impl Files for History {
    fn begin(&self, key: &HistoryKey, now_ms: u64) -> io::Result<Box<dyn Sheet>> {
        let file = Summed::new(self.media.make(key.app.0, now_ms)?);
        // Written once an hour and read once: time counts more than space.
        let mut text = Summed::new(GzEncoder::new(file, Compression::fast()));
        text.write_all(sheet::head(key).as_bytes())?;
        let (media, runtime) = (self.media.clone(), self.runtime.clone());
        Ok(Box::new(Page { media, runtime, name: sheet::name(key), text, is_first: true }))
    }

    fn remove(&self, app: AppId, media: &str) -> io::Result<()> {
        let id: MediaId = media.parse().map_err(io::Error::other)?;
        self.runtime.block_on(self.media.remove_made(app.0, id)).map_err(io::Error::other)
    }
}

/// A file under way.
struct Page {
    media: Arc<Media>,
    runtime: Handle,
    name: String,
    text: Summed<GzEncoder<Summed<Making>>>,
    is_first: bool,
}

impl Sheet for Page {
    fn media(&self) -> String {
        self.text.inner.get_ref().inner.id().to_string()
    }

    fn add(&mut self, said: &Said) -> io::Result<()> {
        if !std::mem::take(&mut self.is_first) {
            self.text.write_all(sheet::BETWEEN.as_bytes())?;
        }
        self.text.write_all(&sheet::line(said))
    }

    fn finish(self: Box<Self>) -> io::Result<Made> {
        let Self { media, runtime, name, mut text, .. } = *self;
        text.write_all(sheet::END.as_bytes())?;
        let (gzip, bytes, md5) = text.end();
        let (making, gzip_bytes, gzip_md5) = gzip.finish()?.end();
        let published = media.publish_made(making, name, CONTENT_TYPE.to_owned());
        runtime.block_on(published).map_err(io::Error::other)?;
        Ok(Made { bytes, md5, gzip_bytes, gzip_md5 })
    }
}

/// Counts what is written, and takes its MD5: back ends compare it, nothing here trusts it.
struct Summed<W> {
    inner: W,
    bytes: u64,
    md5: Md5,
}

impl<W> Summed<W> {
    fn new(inner: W) -> Self {
        Self { inner, bytes: 0, md5: Md5::new() }
    }

    /// With the length, and the sum in hexadecimal digits.
    fn end(self) -> (W, u64, String) {
        (self.inner, self.bytes, hex(&self.md5.finalize()))
    }
}

impl<W: Write> Write for Summed<W> {
    fn write(&mut self, octets: &[u8]) -> io::Result<usize> {
        let written = self.inner.write(octets)?;
        self.bytes += written as u64;
        self.md5.update(&octets[..written]);
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}
