//! From the last octet of an upload to its object: is it what was announced, is it what it claims, what does it look like smaller.
//!
//! The order makes a crash harmless at each step: the content is on disk before it is moved, and `about` is written last. What is cut off
//! before that is done again when the client asks how far the upload is; its smaller forms are simply written once more.

use std::fs::File;
use std::io::{self, Read as _};
use std::sync::Arc;
use std::time::Instant;

use aws_lc_rs::digest;

use crate::about::About;
use crate::kind::{HEAD_BYTES, Judged, Lie, judge};
use crate::objects::{What, blocking};
use crate::pictures::{self, Bad, Forms, Picture};
use crate::service::{Media, PIXEL_MEMORY_MIB};
use crate::sign::Claims;
use crate::staging::Writing;

/// Read at once while the hash is taken.
const READ_BYTES: usize = 256 << 10;

/// Why an upload whose octets are all there is not taken.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Unfit {
    /// The client may send it again at once.
    #[error("the content is not what was announced: its sha256 is {0}")]
    Hash(String),
    #[error(transparent)]
    Lie(#[from] Lie),
    #[error("{0}")]
    Image(String),
    /// Its octets stay; the client asks again.
    #[error("the upload cannot be stored now, try again")]
    Store(String),
}

impl From<Bad> for Unfit {
    fn from(bad: Bad) -> Self {
        match bad {
            Bad::Io(error) => Self::Store(error.to_string()),
            bad => Self::Image(bad.to_string()),
        }
    }
}

impl From<io::Error> for Unfit {
    fn from(error: io::Error) -> Self {
        Self::Store(error.to_string())
    }
}

impl From<object_store::Error> for Unfit {
    fn from(error: object_store::Error) -> Self {
        Self::Store(error.to_string())
    }
}

impl Media {
    /// Examines an upload that has all its octets and makes an object of it. Content that is not taken is removed, so that the upload
    /// is at its beginning again.
    ///
    /// Not cancel safe in the sense that work is done twice; run it in a task of its own.
    pub(crate) async fn finish(&self, claims: &Claims, writing: Arc<Writing>) -> Result<Arc<About>, Unfit> {
        let begun = Instant::now();
        // Neither is ever closed.
        let _place = self.examining.acquire().await;
        let id = writing.id();
        let examined = self.examine(claims, &writing).await;
        let done = match examined {
            Ok(examined) => self.publish(claims, &writing, examined).await,
            Err(unfit) => Err(unfit),
        };
        self.metrics.examined.record(begun.elapsed().as_secs_f64());
        match &done {
            Ok(_) => self.books().end(id),
            Err(Unfit::Store(why)) => {
                tracing::error!(%id, why, "media: an upload cannot be stored");
                return done;
            }
            Err(_) => {}
        }
        self.shown();
        if let Err(error) = blocking(move || writing.remove()).await {
            tracing::warn!(%id, %error, "media: what is left of an upload cannot be removed");
        }
        done
    }

    async fn examine(&self, claims: &Claims, writing: &Writing) -> Result<(About, Forms), Unfit> {
        let path = writing.path();
        let (file, hash, head) = blocking(move || {
            let mut file = File::open(path)?;
            let (hash, head) = digest(&mut file)?;
            // What is acknowledged is on disk.
            file.sync_all()?;
            Ok((file, hash, head))
        })
        .await?;
        let sha256 = hex(&hash);
        if claims.sha256.is_some_and(|announced| announced != hash) {
            return Err(Unfit::Hash(sha256));
        }
        let Judged { content_type, inline } = judge(claims.kind, &claims.content_type, &head)?;
        let (picture, forms) = match claims.kind {
            crate::kind::Kind::Image => {
                let (picture, forms) = self.picture(file, content_type.clone()).await?;
                (Some(picture), forms)
            }
            _ => (None, Forms::new()),
        };
        let (kind, name, size) = (claims.kind, claims.name.clone(), claims.size);
        Ok((About { kind, name, size, sha256, content_type, inline, picture }, forms))
    }

    async fn picture(&self, file: File, content_type: String) -> Result<(Picture, Forms), Unfit> {
        let mut file = file;
        let (mut file, head) = blocking(move || {
            let head = pictures::head(&mut file, &content_type);
            Ok((file, head))
        })
        .await?;
        let head = head?;
        let mib = usize::try_from(head.bytes() >> 20).unwrap_or(usize::MAX).clamp(1, PIXEL_MEMORY_MIB);
        let memory = u32::try_from(mib).unwrap_or(u32::MAX);
        let _memory = self.pixels.acquire_many(memory).await;
        // A decoder that panics costs this upload and nothing else.
        let shrunk = tokio::task::spawn_blocking(move || pictures::shrink(&mut file, head)).await;
        let damaged = |_| Unfit::Image("the image cannot be decoded".to_owned());
        Ok(shrunk.map_err(damaged)??)
    }

    async fn publish(
        &self,
        claims: &Claims,
        writing: &Writing,
        (about, forms): (About, Forms),
    ) -> Result<Arc<About>, Unfit> {
        let (app, id) = (claims.app, claims.id);
        for (variant, bytes) in forms {
            self.objects.put(app, id, What::Variant(variant), bytes).await?;
        }
        let text = serde_json::to_vec(&about).map_err(|error| Unfit::Store(error.to_string()))?;
        // The content moves before `about` says that it is there. A process that ends in between leaves the content without it: the
        // client finds nothing of its upload and sends it again.
        self.objects.take(app, id, writing.path(), claims.size).await?;
        self.objects.put(app, id, What::About, text).await?;
        Ok(self.remember(app, id, about))
    }
}

fn digest(file: &mut File) -> io::Result<([u8; 32], Vec<u8>)> {
    let mut context = digest::Context::new(&digest::SHA256);
    let mut head = Vec::with_capacity(HEAD_BYTES);
    let mut buffer = vec![0; READ_BYTES];
    loop {
        let read = file.read(&mut buffer)?;
        if read == 0 {
            break;
        }
        let missing = HEAD_BYTES.saturating_sub(head.len()).min(read);
        head.extend_from_slice(&buffer[..missing]);
        context.update(&buffer[..read]);
    }
    let mut hash = [0; 32];
    hash.copy_from_slice(context.finish().as_ref());
    Ok((hash, head))
}

pub(crate) fn hex(hash: &[u8]) -> String {
    hash.iter().map(|octet| format!("{octet:02x}")).collect()
}
