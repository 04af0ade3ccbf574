//! The way down.

use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use http::header::{CONTENT_LENGTH, IF_RANGE, RANGE};
use http::{HeaderValue, Request, StatusCode};
use http_body_util::{BodyExt as _, Full};

use super::exchange::{Exchange, Place, again, number, told};
use super::{Fault, MediaError, Patience, blocking};
use crate::network::Network;

/// Longest silence of a server that sends content.
const STALL_MAX: Duration = Duration::from_secs(20);
/// Written to disk at once.
const WRITE_BYTES: usize = 256 << 10;

/// Fetches a URL into a file of at most `most` octets, which is there once it is whole. `progress` hears how many octets came, and of how
/// many. Gives how many it has.
///
/// Cancel safe: what has come lies beside the file, with `.part` behind its name, until the next download there.
///
/// # Errors
/// [`MediaError`].
pub async fn download(
    network: &Network,
    url: &str,
    into: &Path,
    most: u64,
    progress: impl FnMut(u64, u64),
) -> Result<u64, MediaError> {
    fetch(network, url, into, most, None, progress).await
}

/// As [`download`], of exactly so many octets, if that is known.
pub(super) async fn fetch(
    network: &Network,
    url: &str,
    into: &Path,
    most: u64,
    exact: Option<u64>,
    mut progress: impl FnMut(u64, u64),
) -> Result<u64, MediaError> {
    let mut part = into.as_os_str().to_owned();
    part.push(".part");
    let (into, part) = (into.to_owned(), std::path::PathBuf::from(part));
    let opened = part.clone();
    let open = move || OpenOptions::new().write(true).create(true).truncate(true).open(opened);
    let file = Arc::new(blocking(open).await?);
    let exchange = Exchange::new(network, Place::parse(url)?);
    let mut download =
        Download { exchange, file: Arc::clone(&file), at: 0, size: None, etag: None, most, exact };
    let mut patience = Patience::default();
    let mut best = 0;
    loop {
        match download.fetch(&mut progress).await {
            Ok(()) => break,
            Err(Fault::Again(why, rest)) => {
                if download.at > best {
                    best = download.at;
                    patience.renew();
                }
                download.exchange.hang_up();
                patience.rest(why, rest).await?;
            }
            Err(Fault::Final(error)) => return Err(error),
        }
    }
    blocking(move || {
        file.sync_all()?;
        fs::rename(part, into)
    })
    .await?;
    Ok(download.at)
}

struct Download<'a> {
    exchange: Exchange<'a>,
    file: Arc<File>,
    /// Octets that are there.
    at: u64,
    size: Option<u64>,
    etag: Option<HeaderValue>,
    most: u64,
    exact: Option<u64>,
}

impl Download<'_> {
    /// One request, until all is there.
    async fn fetch(&mut self, progress: &mut impl FnMut(u64, u64)) -> Result<(), Fault> {
        let mut request = Request::get("/");
        if let (Some(etag), true) = (&self.etag, self.at > 0) {
            request = request.header(RANGE, format!("bytes={}-", self.at)).header(IF_RANGE, etag);
        }
        let request = request.body(Full::default());
        let request = request.map_err(|error| Fault::Final(MediaError::Address(error.to_string())))?;
        let answer = self.exchange.send(request).await?;
        match answer.status() {
            StatusCode::OK => {
                self.at = 0;
                self.size = number(answer.headers(), CONTENT_LENGTH.as_str());
            }
            StatusCode::PARTIAL_CONTENT => {}
            _ => return Err(self.exchange.refusal(answer).await),
        }
        self.etag = answer.headers().get("etag").cloned();
        let size = self.size.ok_or_else(|| MediaError::Answer("it does not say how long it is".into()));
        let size = size.map_err(Fault::Final)?;
        if let Some(said) = self.exact.filter(|exact| *exact != size) {
            return Err(Fault::Final(MediaError::Size { said, is: size }));
        }
        if size > self.most {
            return Err(Fault::Final(MediaError::TooLong(self.most)));
        }
        let mut body = answer.into_body();
        let mut buffer = BytesMut::new();
        loop {
            let frame = tokio::time::timeout(STALL_MAX, body.frame()).await;
            let stop = match frame {
                Ok(Some(Ok(frame))) => {
                    buffer.extend_from_slice(frame.data_ref().map_or(&[][..], |octets| octets));
                    None
                }
                Ok(None) => Some("the answer ended early".to_owned()),
                Ok(Some(Err(error))) => Some(told(&error)),
                Err(_) => Some("the content stopped coming".to_owned()),
            };
            let here = self.at + u64::try_from(buffer.len()).unwrap_or(u64::MAX);
            if here > size {
                return Err(Fault::Final(MediaError::Answer("more came than it said".into())));
            }
            if buffer.len() >= WRITE_BYTES || stop.is_some() || here == size {
                let (file, octets, at) = (Arc::clone(&self.file), buffer.split(), self.at);
                blocking(move || file.write_all_at(&octets, at)).await?;
                self.at = here;
                progress(here, size);
            }
            match stop {
                _ if here == size => return Ok(()),
                Some(why) => return Err(again(&why)),
                None => {}
            }
        }
    }
}
