//! What is known of a complete upload: the object `about` beside its content, and how clients are told.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::id::MediaId;
use crate::kind::Kind;
use crate::pictures::Picture;
use crate::service::Urls;
use crate::sign::Variant;

/// Objects that are remembered, so that a download costs one read: some 500 octets each.
const REMEMBERED: usize = 4_096;

/// Longest `about` that is read.
pub(crate) const ABOUT_BYTES_MAX: u64 = 64 << 10;

/// What a complete upload is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct About {
    pub(crate) kind: Kind,
    pub(crate) name: String,
    pub(crate) size: u64,
    /// Hex.
    pub(crate) sha256: String,
    pub(crate) content_type: String,
    pub(crate) inline: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) picture: Option<Picture>,
}

impl About {
    /// Which object a form is in, and its size and type: an image that is small already is its own smaller form.
    pub(crate) fn form(&self, variant: Variant) -> Option<(Variant, u64, &str)> {
        let original = (Variant::Original, self.size, &*self.content_type);
        let picture = match variant {
            Variant::Original => return Some(original),
            Variant::Large | Variant::Thumb => self.picture.as_ref()?,
        };
        let form = match variant {
            Variant::Large => picture.large.as_ref(),
            _ => picture.thumb.as_ref(),
        };
        Some(form.map_or(original, |form| (variant, form.size, &*form.content_type)))
    }

    /// What the uploader is told.
    pub(crate) fn told(&self, urls: &Urls) -> Value {
        let mut told = json!({
            "complete": true,
            "uuid": urls.uuid,
            "kind": self.kind.word(),
            "name": self.name,
            "size": self.size,
            "sha256": self.sha256,
            "content_type": self.content_type,
            "url": urls.url,
            "expires_s": urls.expires_s,
        });
        if let (Some(picture), Some(object)) = (&self.picture, told.as_object_mut()) {
            // As the contract's ImageInfoArray has them.
            let info = |(number, variant, url): (u32, Variant, &str)| {
                let size = self.form(variant).map_or(self.size, |(_, size, _)| size);
                let form = match variant {
                    Variant::Original => None,
                    Variant::Large => picture.large.as_ref(),
                    Variant::Thumb => picture.thumb.as_ref(),
                };
                let (width, height) =
                    form.map_or((picture.width, picture.height), |form| (form.width, form.height));
                json!({ "type": number, "size": size, "width": width, "height": height, "url": url })
            };
            let forms = [
                (1, Variant::Original, &*urls.url),
                (2, Variant::Large, &*urls.large_url),
                (3, Variant::Thumb, &*urls.thumb_url),
            ];
            object.insert("format".into(), picture.format.into());
            object.insert("infos".into(), forms.into_iter().map(info).collect::<Vec<_>>().into());
        }
        told
    }
}

/// What was read of late. Bounded: the oldest makes room.
#[derive(Debug, Default)]
pub(crate) struct Abouts(Mutex<Remembered>);

#[derive(Debug, Default)]
struct Remembered {
    known: HashMap<(u32, MediaId), Arc<About>>,
    order: VecDeque<(u32, MediaId)>,
}

impl Abouts {
    pub(crate) fn get(&self, app: u32, id: MediaId) -> Option<Arc<About>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).known.get(&(app, id)).cloned()
    }

    pub(crate) fn put(&self, app: u32, id: MediaId, about: Arc<About>) {
        let mut remembered = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if remembered.known.insert((app, id), about).is_none() {
            remembered.order.push_back((app, id));
        }
        while remembered.order.len() > REMEMBERED {
            if let Some(oldest) = remembered.order.pop_front() {
                remembered.known.remove(&oldest);
            }
        }
    }

    pub(crate) fn forget(&self, app: u32, id: MediaId) {
        let mut remembered = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if remembered.known.remove(&(app, id)).is_some() {
            // Else one that is remembered again would have two places, and go with the first.
            remembered.order.retain(|known| *known != (app, id));
        }
    }
}
