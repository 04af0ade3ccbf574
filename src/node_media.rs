//! Files of messages in a node: the service, its signer for the backend, and its routes on the API.

use std::net::SocketAddr;
use std::sync::Arc;

use nearport_chat::key::{AppId, UserKey};
use nearport_chat::media::{Looking, MediaRefusal, MediaSigner, NoFile, Seen};
use nearport_media::{Begin, Config as MediaConfig, Found, Kind, Media, Refused, S3, StorageConfig, Urls};
use nearport_wire::body::{self, MediaKind};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::{ClientConfig, RootCertStore};

use crate::config::{self, Config};
use crate::files;
use crate::first_run::{Layout, dialled};
use crate::node::Error;
use crate::reload::Reloads;
use crate::tls;

/// Opens the service, if it is configured. Blocks; the data directory must be locked.
pub(crate) fn open(config: &Config, layout: &Layout) -> Result<Option<Arc<Media>>, Error> {
    let settings = &config.media;
    if !settings.enabled {
        return Ok(None);
    }
    let dir = settings.dir.clone().unwrap_or_else(|| layout.0.join("media"));
    let storage = match (&settings.s3_bucket, &settings.s3_endpoint) {
        (Some(bucket), Some(endpoint)) => StorageConfig::S3(s3(settings, bucket, endpoint)?),
        _ => StorageConfig::Directory,
    };
    let media = MediaConfig {
        dir,
        storage,
        image_bytes_max: settings.image_bytes_max,
        sound_bytes_max: settings.sound_bytes_max,
        video_bytes_max: settings.video_bytes_max,
        file_bytes_max: settings.file_bytes_max,
        user_bytes_max: settings.user_bytes_max,
        app_bytes_max: settings.app_bytes_max,
        upload_ttl: settings.upload_ttl,
        expiry: settings.expiry(),
        url_ttl: settings.url_ttl,
        chunk_bytes: settings.chunk_bytes,
        origins: settings.origins.clone(),
    };
    let media =
        Media::open(media, &layout.secret()?.used()).map_err(|error| Error::Media(error.to_string()))?;
    Ok(Some(Arc::new(media)))
}

fn s3(settings: &config::Media, bucket: &str, endpoint: &str) -> Result<S3, Error> {
    let secret_key = match (&settings.s3_secret_key, &settings.s3_secret_key_file) {
        (Some(key), _) => key.0.clone(),
        (None, Some(path)) => {
            let text = std::fs::read_to_string(path);
            let text = text.map_err(|error| Error::Media(format!("{}: {error}", path.display())))?;
            text.lines().next().unwrap_or_default().trim().to_owned()
        }
        (None, None) => return Err(Error::Missing("media.s3_secret_key", "media.s3_bucket")),
    };
    Ok(S3 {
        endpoint: endpoint.trim_end_matches('/').to_owned(),
        bucket: bucket.to_owned(),
        region: settings.s3_region.clone(),
        access_key: settings.s3_access_key.clone().unwrap_or_default(),
        secret_key,
        tls: Arc::new(store_tls(settings, endpoint)?),
    })
}

/// Whom the bucket's server is checked by.
fn store_tls(settings: &config::Media, endpoint: &str) -> Result<ClientConfig, Error> {
    let mut roots = RootCertStore::empty();
    match &settings.s3_ca {
        Some(path) => {
            let bad = |error: &dyn std::fmt::Display| Error::Media(format!("{}: {error}", path.display()));
            let pem = files::read_if_there(path).map_err(|error| Error::Data(error.into()))?;
            let pem = pem.ok_or_else(|| bad(&"is not there"))?;
            for certificate in CertificateDer::pem_slice_iter(&pem) {
                let certificate = certificate.map_err(|error| bad(&error))?;
                roots.add(certificate).map_err(|error| bad(&error))?;
            }
            if roots.is_empty() {
                return Err(bad(&"holds no certificate"));
            }
        }
        // No TLS, nobody to trust.
        None if endpoint.starts_with("http://") => {}
        None => roots = tls::system_roots().map_err(Error::Media)?,
    }
    let config = ClientConfig::builder_with_provider(tls::provider());
    let config =
        config.with_safe_default_protocol_versions().map_err(|error| Error::Media(error.to_string()))?;
    Ok(config.with_root_certificates(roots).with_no_client_auth())
}

/// Tells the service where clients reach it, and has a rotation of the secret reach it.
pub(crate) fn announce(
    media: &Arc<Media>,
    config: &Config,
    layout: &Layout,
    scheme: &str,
    addr: SocketAddr,
    reloads: &mut Reloads,
) {
    match &config.media.url {
        Some(url) => media.at(url),
        None => {
            if !addr.ip().is_loopback() {
                tracing::warn!(%addr, "media.url is not set: clients are told this address for files, which others may not reach");
            }
            media.at(&format!("{scheme}://{}", dialled(addr)));
        }
    }
    let (media, layout) = (Arc::downgrade(media), layout.clone());
    reloads.add("media", move || {
        let media = media.upgrade().ok_or("media has stopped")?;
        let secrets = layout.secret().map_err(|error| error.to_string())?.used();
        media.rotate(&secrets);
        Ok(format!("{} epochs", secrets.len()))
    });
}

/// The signer of the backend.
#[derive(Debug)]
pub(crate) struct Signer(pub(crate) Arc<Media>);

impl MediaSigner for Signer {
    fn begin(
        &self,
        user: &UserKey,
        call: &body::MediaBegin,
        now_ms: u64,
    ) -> Result<body::MediaUpload, MediaRefusal> {
        let kind = match call.kind() {
            MediaKind::Image => Kind::Image,
            MediaKind::Sound => Kind::Sound,
            MediaKind::Video => Kind::Video,
            MediaKind::File => Kind::File,
            MediaKind::Unspecified => {
                return Err(MediaRefusal::Malformed(
                    "say what the file is for: image, sound, video or file".into(),
                ));
            }
        };
        let (name, size, content_type) = (&*call.name, call.size, &*call.content_type);
        let begin = Begin { kind, name, size, sha256: &call.sha256, content_type };
        let begun = self.0.begin(user.app().0, user.name(), &begin, now_ms).map_err(refusal)?;
        Ok(body::MediaUpload {
            uuid: begun.urls.uuid.clone(),
            upload_url: begun.upload_url,
            expires_s: begun.expires_s,
            chunk_bytes: begun.chunk_bytes,
            urls: Some(urls(begun.urls)),
        })
    }

    fn sign(&self, user: &UserKey, uuid: &str, now_ms: u64) -> Result<body::MediaUrls, MediaRefusal> {
        self.0.sign(user.app().0, uuid, now_ms).map(urls).map_err(refusal)
    }

    fn url_of(&self, app: AppId, media: &str, until_s: u64, now_ms: u64) -> Option<(String, u64)> {
        self.0.url_of(app.0, media.parse().ok()?, until_s, now_ms / 1000)
    }

    fn ban(&self, app: AppId, url: String, banned: bool) -> Looking<Result<(), NoFile>> {
        let media = self.0.clone();
        Box::pin(async move {
            let done = if banned { media.ban(app.0, &url).await } else { media.unban(app.0, &url).await };
            done.map_err(no_file)
        })
    }

    fn look(&self, app: AppId, urls: Vec<String>) -> Looking<Vec<Result<Seen, NoFile>>> {
        let media = self.0.clone();
        let seen = |found| match found {
            Found::Served(url) => Seen::Served(url),
            Found::Banned => Seen::Banned,
        };
        Box::pin(async move {
            let found = media.look(app.0, urls).await;
            found.into_iter().map(|found| found.map(seen).map_err(no_file)).collect()
        })
    }
}

fn urls(urls: Urls) -> body::MediaUrls {
    let Urls { uuid, url, large_url, thumb_url, expires_s } = urls;
    body::MediaUrls { uuid, url, large_url, thumb_url, expires_s }
}

#[expect(clippy::needless_pass_by_value, reason = "shape of `map_err`")]
fn no_file(why: nearport_media::NoFile) -> NoFile {
    let text = why.to_string();
    match why {
        nearport_media::NoFile::Foreign => NoFile::Foreign(text),
        nearport_media::NoFile::Absent => NoFile::Absent(text),
        _ => NoFile::Unavailable(text),
    }
}

fn refusal(refused: Refused) -> MediaRefusal {
    let text = refused.to_string();
    match refused {
        Refused::Malformed(_) => MediaRefusal::Malformed(text),
        Refused::TooLarge { .. } => MediaRefusal::TooLarge(text),
        Refused::Busy(_) => MediaRefusal::Busy(text),
        _ => MediaRefusal::Unavailable(text),
    }
}
