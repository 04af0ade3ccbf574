//! Elements with content: made of a file in one call, and fetched back in another.

use std::path::Path;

use nearport_wire::body::{self, element};

use super::download::fetch;
use super::{ImageInfo, MediaError, MediaKind, Uploaded, begin, describe, sign, upload};
use crate::client::Client;
use crate::error::RequestError;
use crate::event::{Element, Failure, Message};

/// Longest name of a file that is made of a sender's words.
const NAME_BYTES_MAX: usize = 200;

/// What an element names by its URL: what [`Client::download`] fetches.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attachment {
    /// What it is for.
    pub kind: MediaKind,
    /// Which form of it.
    pub form: Form,
    /// Its name with the server; empty if it lies elsewhere.
    pub uuid: String,
    /// Where the sender says that it is.
    pub url: String,
    /// Octets, as the sender says; 0: it does not say.
    pub size: u64,
    /// Images: pixels; 0: not known.
    pub width: u32,
    /// As `width`.
    pub height: u32,
    /// Sound and video: how long it lasts.
    pub second: u32,
    /// What the sender calls it. For people: [`Self::file_name`] is for disks.
    pub name: String,
}

/// Forms of a content.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Form {
    /// As it was uploaded.
    #[default]
    Original,
    /// Images: to fill a screen.
    Large,
    /// Images and videos: to stand in a list.
    Thumbnail,
}

impl Attachment {
    /// What an element brings, if it is one with content, in its original form.
    #[must_use]
    pub fn of(element: &Element) -> Option<Self> {
        Self::of_form(element, Form::Original)
    }

    /// What an element brings in a form; `None` if it has no such form.
    #[must_use]
    pub fn of_form(element: &Element, form: Form) -> Option<Self> {
        let original = form == Form::Original;
        let empty = Self {
            kind: MediaKind::File,
            form,
            uuid: String::new(),
            url: String::new(),
            size: 0,
            width: 0,
            height: 0,
            second: 0,
            name: String::new(),
        };
        Some(match element.element.as_ref()? {
            element::Element::Image(image) => {
                let number = match form {
                    Form::Original => 1,
                    Form::Large => 2,
                    Form::Thumbnail => 3,
                };
                let info = image.infos.iter().find(|info| info.r#type == number)?;
                let body::ImageInfo { size, width, height, url, .. } = info.clone();
                let uuid = image.uuid.clone();
                Self { kind: MediaKind::Image, uuid, url, size, width, height, ..empty }
            }
            element::Element::Sound(sound) if original => {
                let body::Sound { url, uuid, size, second, .. } = sound.clone();
                Self { kind: MediaKind::Sound, uuid, url, size, second, ..empty }
            }
            element::Element::File(file) if original => {
                let body::File { url, uuid, size, name, .. } = file.clone();
                Self { uuid, url, size, name, ..empty }
            }
            element::Element::Video(video) if original => Self {
                kind: MediaKind::Video,
                uuid: video.video_uuid.clone(),
                url: video.video_url.clone(),
                size: video.video_size,
                second: video.video_second,
                name: format!("video.{}", video.video_format),
                ..empty
            },
            element::Element::Video(video) if form == Form::Thumbnail => Self {
                kind: MediaKind::Image,
                // An upload of its own, of which this is the original.
                form: Form::Original,
                uuid: video.thumb_uuid.clone(),
                url: video.thumb_url.clone(),
                size: video.thumb_size,
                width: video.thumb_width,
                height: video.thumb_height,
                ..empty
            },
            _ => return None,
        })
    }

    /// A name for a file, made of the sender's: no path, nothing hidden, no control characters, at most 200 bytes.
    #[must_use]
    pub fn file_name(&self) -> String {
        let last = self.name.rsplit(['/', '\\']).next().unwrap_or_default();
        let turns =
            |c| matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{200e}' | '\u{200f}');
        let mut name: String = last.chars().filter(|c| !c.is_control() && !turns(*c)).collect();
        while name.len() > NAME_BYTES_MAX {
            name.pop();
        }
        let name = name.trim().trim_start_matches('.').trim_end_matches(['.', ' ']);
        let unnamed = match self.kind {
            MediaKind::Image => "image",
            MediaKind::Sound => "sound",
            MediaKind::Video => "video",
            MediaKind::File | MediaKind::Unspecified => "file",
        };
        if name.is_empty() { unnamed.to_owned() } else { name.to_owned() }
    }
}

impl Message {
    /// The contents that the message names, in the order of its elements.
    #[must_use]
    pub fn attachments(&self) -> Vec<Attachment> {
        self.content.elements.iter().filter_map(Attachment::of).collect()
    }
}

impl Uploaded {
    /// The content of a video element that lasts so many seconds, with a picture of it. `video` is an extension, as in `mp4`.
    #[must_use]
    pub fn video(&self, second: u32, video: &str, cover: Option<&Self>) -> body::Video {
        let mut element = body::Video {
            video_url: self.url.clone(),
            video_uuid: self.uuid.clone(),
            video_size: self.size,
            video_second: second,
            video_format: video.to_owned(),
            video_download_flag: 2,
            ..body::Video::default()
        };
        if let Some((cover, ImageInfo { size, width, height, url, .. })) =
            cover.and_then(|cover| Some((cover, cover.infos.first()?)))
        {
            element.thumb_url.clone_from(url);
            element.thumb_uuid.clone_from(&cover.uuid);
            (element.thumb_size, element.thumb_width, element.thumb_height) = (*size, *width, *height);
            element.thumb_format = cover.content_type.rsplit('/').next().unwrap_or_default().to_owned();
            element.thumb_download_flag = 2;
        }
        element
    }

    /// The element of a message for what was uploaded of `path` as this kind: a sound or a video of so many seconds, a video with a
    /// picture of it, if there is one.
    #[must_use]
    pub fn element(&self, kind: MediaKind, path: &Path, second: u32, cover: Option<&Self>) -> Element {
        let element = match kind {
            MediaKind::Image => element::Element::Image(self.image()),
            MediaKind::Sound => element::Element::Sound(self.sound(second)),
            MediaKind::Video => element::Element::Video(self.video(second, &extension(path), cover)),
            MediaKind::File | MediaKind::Unspecified => element::Element::File(self.file()),
        };
        Element { element: Some(element), ..Default::default() }
    }
}

/// # Files
///
/// Each upload reads its file twice (its hash is announced) and goes on by itself after cuts, as [`upload`] does; content is in memory a
/// piece at a time. `progress` hears how many octets the server, or the disk, has, and of how many; not more often than once
/// for each piece. Dropped early, an upload stays with the server until it expires, and [`begin`] with [`upload`] are for who wants to
/// take it up again; a download leaves its `.part`.
impl Client {
    /// Uploads an image; the element names the original and the two smaller forms that the server made.
    ///
    /// # Errors
    /// [`MediaError`].
    pub async fn upload_image(
        &self,
        path: &Path,
        progress: impl FnMut(u64, u64),
    ) -> Result<Element, MediaError> {
        let done = self.upload_as(path, MediaKind::Image, progress).await?;
        Ok(done.element(MediaKind::Image, path, 0, None))
    }

    /// Uploads a sound that lasts so many seconds.
    ///
    /// # Errors
    /// [`MediaError`].
    pub async fn upload_sound(
        &self,
        path: &Path,
        second: u32,
        progress: impl FnMut(u64, u64),
    ) -> Result<Element, MediaError> {
        let done = self.upload_as(path, MediaKind::Sound, progress).await?;
        Ok(done.element(MediaKind::Sound, path, second, None))
    }

    /// Uploads a video that lasts so many seconds, and before it an image of it, if there is one. `progress` hears of the video alone.
    ///
    /// # Errors
    /// [`MediaError`].
    pub async fn upload_video(
        &self,
        path: &Path,
        second: u32,
        cover: Option<&Path>,
        progress: impl FnMut(u64, u64),
    ) -> Result<Element, MediaError> {
        let cover = match cover {
            Some(cover) => Some(self.upload_as(cover, MediaKind::Image, |_, _| {}).await?),
            None => None,
        };
        let done = self.upload_as(path, MediaKind::Video, progress).await?;
        Ok(done.element(MediaKind::Video, path, second, cover.as_ref()))
    }

    /// Uploads a file of any kind.
    ///
    /// # Errors
    /// [`MediaError`].
    pub async fn upload_file(
        &self,
        path: &Path,
        progress: impl FnMut(u64, u64),
    ) -> Result<Element, MediaError> {
        let done = self.upload_as(path, MediaKind::File, progress).await?;
        Ok(done.element(MediaKind::File, path, 0, None))
    }

    async fn upload_as(
        &self,
        path: &Path,
        kind: MediaKind,
        progress: impl FnMut(u64, u64),
    ) -> Result<Uploaded, MediaError> {
        let begun = begin(self, &describe(path, kind).await?).await?;
        upload(self.network(), &begun, path, progress).await
    }

    /// Fetches what an element names into a file, which is there once it is whole and has the size that the element says. At most
    /// `most` octets are taken, whatever it says. Gives how many it has.
    ///
    /// The server is asked for a fresh URL by the `uuid`; only if it does not know such names, or the element has none, the URL of the
    /// element is used, which is its sender's: it may lead anywhere.
    ///
    /// # Errors
    /// [`MediaError`]; [`MediaError::Size`] if it is not what the element says.
    pub async fn download(
        &self,
        what: &Attachment,
        into: &Path,
        most: u64,
        progress: impl FnMut(u64, u64),
    ) -> Result<u64, MediaError> {
        if what.size > most {
            return Err(MediaError::TooLong(most));
        }
        let url = match what.uuid.is_empty() {
            true => what.url.clone(),
            false => match sign(self, &what.uuid).await {
                Ok(urls) => match what.form {
                    Form::Original => urls.url,
                    // Where an image is small, its own form stands for the others.
                    Form::Large => Some(urls.large_url).filter(|url| !url.is_empty()).unwrap_or(urls.url),
                    Form::Thumbnail => Some(urls.thumb_url).filter(|url| !url.is_empty()).unwrap_or(urls.url),
                },
                Err(MediaError::Request(RequestError::Failed(Failure::Refused { .. })))
                    if !what.url.is_empty() =>
                {
                    what.url.clone()
                }
                Err(error) => return Err(error),
            },
        };
        let exact = Some(what.size).filter(|size| *size > 0);
        fetch(self.network(), &url, into, most, exact, progress).await
    }
}

/// What stands behind the last dot of a name, in small letters; at most eight of them.
fn extension(path: &Path) -> String {
    let extension = path.extension().map(|extension| extension.to_string_lossy().to_lowercase());
    extension.filter(|extension| extension.len() <= 8).unwrap_or_else(|| "mp4".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn element(element: element::Element) -> Element {
        Element { element: Some(element), ..Default::default() }
    }

    fn named(name: &str) -> String {
        let file = body::File { name: name.into(), ..body::File::default() };
        Attachment::of(&element(element::Element::File(file))).unwrap().file_name()
    }

    #[test]
    fn a_senders_name_is_no_path() {
        assert_eq!(named("report.pdf"), "report.pdf");
        assert_eq!(named("../../etc/passwd"), "passwd");
        assert_eq!(named("C:\\Windows\\notepad.exe"), "notepad.exe");
        assert_eq!(named("..."), "file");
        assert_eq!(named(".bashrc"), "bashrc");
        assert_eq!(named("a\u{1b}[2Jb\u{202e}txt.exe"), "a[2Jbtxt.exe");
        assert_eq!(named(&"é".repeat(300)).len(), 200);
    }

    #[test]
    fn forms_of_an_image_and_the_cover_of_a_video() {
        let info =
            |kind: u32, size: u64| ImageInfo { kind, size, width: 9, height: 8, url: format!("u{kind}") };
        let done = Uploaded {
            uuid: "one".into(),
            name: "n".into(),
            size: 30,
            sha256: String::new(),
            content_type: "image/png".into(),
            url: "u1".into(),
            expires_s: 0,
            format: 3,
            infos: vec![info(1, 30), info(2, 20), info(3, 10)],
        };
        let image = done.element(MediaKind::Image, Path::new("n"), 0, None);
        let sizes = [Form::Original, Form::Large, Form::Thumbnail]
            .map(|form| Attachment::of_form(&image, form).map(|what| (what.form, what.size, what.url)));
        let form = |form, size, url: &str| Some((form, size, url.to_owned()));
        assert_eq!(
            sizes,
            [form(Form::Original, 30, "u1"), form(Form::Large, 20, "u2"), form(Form::Thumbnail, 10, "u3")]
        );
        let video = done.element(MediaKind::Video, Path::new("a.MP4"), 7, Some(&done));
        let cover = Attachment::of_form(&video, Form::Thumbnail).unwrap();
        assert_eq!((cover.kind, cover.form, &*cover.uuid), (MediaKind::Image, Form::Original, "one"));
        assert_eq!((cover.size, cover.width, cover.height), (30, 9, 8));
        assert_eq!(Attachment::of(&video).unwrap().file_name(), "video.mp4");
        assert_eq!(Attachment::of_form(&video, Form::Large), None);
        assert_eq!(Attachment::of(&crate::event::text("hi").elements[0]), None);
        nearport_wire::check_content(
            &body::Content { elements: vec![image, video], ..Default::default() },
            1,
        )
        .unwrap();
    }

    proptest! {
        #[test]
        fn no_name_leads_elsewhere(name in any::<String>()) {
            let name = named(&name);
            prop_assert!(!name.is_empty() && name.len() <= NAME_BYTES_MAX && !name.starts_with('.'));
            prop_assert!(!name.chars().any(|c| c == '/' || c == '\\' || c.is_control()));
        }
    }
}
