//! Files as administrators name them: by a URL. What is banned is served to nobody, however good a signature is.
//!
//! A ban is an object beside the content, so that every process on the store knows it at once and none forgets it. It goes with the
//! content. One costs each download a look for it: an entry of a directory, or a request to the bucket.

use std::sync::Arc;
use std::time::Duration;

use futures_util::{StreamExt as _, stream};

use crate::id::MediaId;
use crate::objects::What;
use crate::service::{Media, now_s};
use crate::sign::Variant;

/// How long a URL for an administrator is good, as the contract says.
const SIGNED_FOR: Duration = Duration::from_mins(15);
/// Looks into the store at once, of one call.
const LOOKS_AT_ONCE: usize = 16;

/// Why a URL leads to no file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NoFile {
    /// It is none of this server's, or of another App.
    #[error("this is no URL of a file of this App")]
    Foreign,
    /// There is none, not in this form, or it is not kept any more.
    #[error("there is no such file, or it is not kept any more")]
    Absent,
    /// The store does not answer.
    #[error("the store cannot be used now, try again")]
    Store,
}

/// What a URL leads to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Found {
    /// A file: a URL of it that is good for 15 minutes.
    Served(String),
    /// A file that is banned.
    Banned,
}

/// The file of this URL and which form of it is meant. Scheme, host and query say nothing: a server may have had others.
fn named(app: u32, url: &str) -> Result<(MediaId, Variant), NoFile> {
    let path = url.split(['?', '#']).next().unwrap_or_default();
    let (_, names) = path.rsplit_once("/v1/media/").ok_or(NoFile::Foreign)?;
    let mut names = names.split('/');
    let (Some(of), Some(id), Some(variant), None) = (names.next(), names.next(), names.next(), names.next())
    else {
        return Err(NoFile::Foreign);
    };
    // As it is written by us: other spellings of a number are other paths.
    if of != app.to_string() {
        return Err(NoFile::Foreign);
    }
    let id = id.parse().map_err(|_| NoFile::Foreign)?;
    Ok((id, Variant::of_word(variant).ok_or(NoFile::Foreign)?))
}

fn store(error: &object_store::Error) -> NoFile {
    tracing::error!(%error, "media: the store cannot be used");
    NoFile::Store
}

impl Media {
    /// Serves the file of a URL to nobody any more, in all its forms. Durable when it returns; what is on its way goes on.
    ///
    /// # Errors
    /// [`NoFile`].
    pub async fn ban(&self, app: u32, url: &str) -> Result<(), NoFile> {
        let id = self.kept(app, url).await?.0;
        self.objects.put(app, id, What::Banned, Vec::new()).await.map_err(|error| store(&error))?;
        tracing::info!(app, %id, "media: a file is banned");
        Ok(())
    }

    /// Serves it again. A crash of the machine within moments may undo that in a directory: the library does not sync removals.
    ///
    /// # Errors
    /// [`NoFile`].
    pub async fn unban(&self, app: u32, url: &str) -> Result<(), NoFile> {
        let id = self.kept(app, url).await?.0;
        self.objects.remove(app, id, What::Banned).await.map_err(|error| store(&error))?;
        tracing::info!(app, %id, "media: a file is not banned any more");
        Ok(())
    }

    /// What these URLs lead to, in their order.
    pub async fn look(self: &Arc<Self>, app: u32, urls: Vec<String>) -> Vec<Result<Found, NoFile>> {
        let looks = urls.into_iter().map(|url| {
            let media = self.clone();
            async move { media.look_at(app, &url).await }
        });
        stream::iter(looks).buffered(LOOKS_AT_ONCE).collect().await
    }

    async fn look_at(&self, app: u32, url: &str) -> Result<Found, NoFile> {
        let (id, variant) = self.kept(app, url).await?;
        if self.is_banned(app, id).await.map_err(|error| store(&error))? {
            return Ok(Found::Banned);
        }
        let ends_s = self.ends_s(id, now_s(), SIGNED_FOR);
        Ok(Found::Served(self.url(app, id, variant, ends_s).ok_or(NoFile::Store)?))
    }

    pub(crate) async fn is_banned(&self, app: u32, id: MediaId) -> object_store::Result<bool> {
        self.objects.has(app, id, What::Banned).await
    }

    /// The file of a URL, which is there.
    async fn kept(&self, app: u32, url: &str) -> Result<(MediaId, Variant), NoFile> {
        let (id, variant) = named(app, url)?;
        if self.is_over(id, now_s()) {
            return Err(NoFile::Absent);
        }
        let about = self.about(app, id).await.map_err(|error| store(&error))?.ok_or(NoFile::Absent)?;
        about.form(variant).ok_or(NoFile::Absent)?;
        Ok((id, variant))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_urls_as_they_are_given_out_name_a_file() {
        let id = MediaId::new(1).unwrap();
        for good in [
            format!("http://127.0.0.1:7443/v1/media/7/{id}/thumb?e=1&k=1&s=x"),
            format!("https://files.example.org/below/v1/media/7/{id}/thumb#there"),
            format!("/v1/media/7/{id}/thumb"),
        ] {
            assert_eq!(named(7, &good), Ok((id, Variant::Thumb)), "{good}");
        }
        for bad in [
            String::new(),
            format!("https://files.example.org/v1/media/8/{id}/thumb"),
            format!("https://files.example.org/v1/media/07/{id}/thumb"),
            format!("https://files.example.org/v1/media/7/{id}/banned"),
            format!("https://files.example.org/v1/media/7/{id}/thumb/"),
            format!("https://files.example.org/v1/media/7/../{id}/thumb"),
            format!("https://files.example.org/other?/v1/media/7/{id}/thumb"),
            "https://files.example.org/v1/media/7/x/thumb".to_owned(),
        ] {
            assert_eq!(named(7, &bad), Err(NoFile::Foreign), "{bad}");
        }
    }
}
