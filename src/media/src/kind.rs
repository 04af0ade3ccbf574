//! What files are for, and whether their content is what they claim.
//!
//! Types are found out from the first octets by a library, never taken from a sender: a page that is said to be a picture would run
//! as a page in a browser. What is shown in place is only what browsers draw or play and cannot run; all else is saved as a file.

use serde::{Deserialize, Serialize};

/// How much of a file's beginning says what it is.
pub(crate) const HEAD_BYTES: usize = 8 << 10;

/// The type of what is not known, or not believed.
pub(crate) const OCTETS: &str = "application/octet-stream";

/// What browsers may show in place. No SVG, no XML, no HTML: those run scripts.
const SHOWN: [&str; 22] = [
    "audio/aac",
    "audio/amr",
    "audio/m4a",
    "audio/midi",
    "audio/mp4",
    "audio/mpeg",
    "audio/ogg",
    "audio/opus",
    "audio/webm",
    "audio/x-flac",
    "audio/x-wav",
    "image/avif",
    "image/bmp",
    "image/gif",
    "image/jpeg",
    "image/jxl",
    "image/png",
    "image/webp",
    "video/mp4",
    "video/quicktime",
    "video/webm",
    "video/x-m4v",
];

/// What a file is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// A picture; it gets two smaller forms.
    Image,
    /// A recording.
    Sound,
    /// A film.
    Video,
    /// Anything.
    File,
}

impl Kind {
    /// All, in the order of their metrics.
    pub const ALL: [Self; 4] = [Self::Image, Self::Sound, Self::Video, Self::File];

    /// Its word.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Image => "image",
            Self::Sound => "sound",
            Self::Video => "video",
            Self::File => "file",
        }
    }

    /// Whether a sender may claim this type for a file of this kind. Nothing claimed is always right.
    pub(crate) fn may_be(self, claimed: &str) -> bool {
        let family = claimed.split('/').next().unwrap_or_default();
        claimed.is_empty()
            || claimed == OCTETS
            || match self {
                Self::Image => family == "image",
                // Recorders write sound into the containers of films.
                Self::Sound => matches!(family, "audio" | "video"),
                Self::Video => family == "video",
                Self::File => true,
            }
    }
}

/// What a file turned out to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Judged {
    /// What it is served as.
    pub(crate) content_type: String,
    /// Whether a browser may show it in place.
    pub(crate) inline: bool,
}

/// Content of another type than its kind allows.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the content is {found}, which is no {}: send it as a file", kind.word())]
pub(crate) struct Lie {
    kind: Kind,
    found: String,
}

/// Judges a file by its first octets.
///
/// # Errors
/// [`Lie`] for an image, a sound or a video that is something else. Files are never refused: one that lies is served as octets.
pub(crate) fn judge(kind: Kind, claimed: &str, head: &[u8]) -> Result<Judged, Lie> {
    let found = infer::get(head).map(|found| found.mime_type());
    let lie = |found: Option<&str>| Err(Lie { kind, found: found.unwrap_or("of no known type").to_owned() });
    let served = |content_type: &str| {
        Ok(Judged { content_type: content_type.to_owned(), inline: SHOWN.contains(&content_type) })
    };
    let family = found.and_then(|found| found.split('/').next());
    match (kind, found) {
        (Kind::Image, Some(found)) if family == Some("image") => served(found),
        (Kind::Image, _) => lie(found),
        (Kind::Sound, Some("video/mp4" | "video/x-m4v" | "video/quicktime")) => served("audio/mp4"),
        (Kind::Sound, Some("video/webm")) => served("audio/webm"),
        (Kind::Sound, Some(found)) if family == Some("audio") => served(found),
        (Kind::Video, Some(found)) if family == Some("video") => served(found),
        // Codecs that the library does not know: kept, and saved as a file.
        (Kind::Sound | Kind::Video, None) => served(OCTETS),
        (Kind::Sound | Kind::Video, _) => lie(found),
        (Kind::File, found) => {
            let content_type = found.filter(|found| *found == claimed).unwrap_or(OCTETS);
            Ok(Judged { content_type: content_type.to_owned(), inline: false })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PNG: &[u8] = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR";
    const JPEG: &[u8] = b"\xff\xd8\xff\xe0\0\x10JFIF\0";
    const MP4: &[u8] = b"\0\0\0\x20ftypisom\0\0\x02\0isomiso2mp41";
    const HTML: &[u8] = b"<html><script>alert(1)</script>";
    const SVG: &[u8] = b"<svg xmlns='http://www.w3.org/2000/svg'><script/></svg>";
    const PROGRAM: &[u8] = b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0\x02\0\x3e\0\x01\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0";

    #[test]
    fn what_content_is_decides_how_it_is_served() {
        type Case = (Kind, &'static str, &'static [u8], Option<(&'static str, bool)>);
        let cases: [Case; 14] = [
            (Kind::Image, "image/png", PNG, Some(("image/png", true))),
            // The truth, whatever was claimed.
            (Kind::Image, "image/png", JPEG, Some(("image/jpeg", true))),
            (Kind::Image, "image/png", HTML, None),
            (Kind::Image, "image/svg+xml", SVG, None),
            (Kind::Image, "image/png", MP4, None),
            (Kind::Image, "", b"", None),
            (Kind::Sound, "audio/mp4", MP4, Some(("audio/mp4", true))),
            (Kind::Sound, "audio/silk", b"\x02#!SILK_V3", Some((OCTETS, false))),
            (Kind::Sound, "audio/mp4", PNG, None),
            (Kind::Video, "video/mp4", MP4, Some(("video/mp4", true))),
            (Kind::Video, "video/mp4", PROGRAM, None),
            (Kind::File, "image/png", PNG, Some(("image/png", false))),
            (Kind::File, "image/png", PROGRAM, Some((OCTETS, false))),
            (Kind::File, "text/plain", HTML, Some((OCTETS, false))),
        ];
        for (kind, claimed, head, want) in cases {
            let judged = judge(kind, claimed, head).ok();
            let got = judged.as_ref().map(|judged| (&*judged.content_type, judged.inline));
            assert_eq!(got, want, "{kind:?} {claimed} {:?}", &head[..head.len().min(8)]);
        }
    }

    #[test]
    fn claims_fit_their_kind() {
        assert!(
            Kind::Image.may_be("image/heic") && Kind::Image.may_be("") && !Kind::Image.may_be("text/html")
        );
        assert!(Kind::Sound.may_be("video/mp4") && !Kind::Sound.may_be("image/png"));
        assert!(!Kind::Video.may_be("audio/mp4") && Kind::File.may_be("x/y"));
    }
}
