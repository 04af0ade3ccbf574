//! What a message may hold: the rules of the public contract for elements, checked once, before it is stored.

use crate::body::{Content, Element, Mentions, Relay, element::Element as Kind};
use crate::code;

/// Largest encoded `Content`, in bytes (12 KB in the public contract's newer text).
pub const CONTENT_BYTES_MAX: usize = 12 * 1024;

/// Most users that one message may mention (public contract, 10053).
pub const MENTIONS_MAX: usize = 30;

/// Longest time for which devices that come later are still told of a message: seven days (public contract, 90026).
pub const LIFE_TIME_MAX_S: u32 = 604_800;

/// Deepest nesting of merged messages (client code 8005 of the contract has 100).
const RELAY_DEPTH_MAX: usize = 100;

/// Largest image or sound, and largest file or video, in bytes (public contract).
const SMALL_MEDIA_BYTES_MAX: u64 = 28 << 20;
const LARGE_MEDIA_BYTES_MAX: u64 = 100 << 20;

/// A message that is refused, with what to do about it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ContentError {
    /// Longer than [`CONTENT_BYTES_MAX`].
    #[error("message of {0} bytes exceeds 12288: send less text, or upload it as a file")]
    TooLong(usize),
    /// No element at all.
    #[error("message has no element")]
    Empty,
    /// An element of a kind that this server does not know, or with no kind.
    #[error("element {0} has no known kind")]
    UnknownElement(usize),
    /// A tip or a notice, which only the server makes.
    #[error("element {0} is one that only the server sends")]
    ServerElement(usize),
    /// Latitude or longitude is not a number, or out of range.
    #[error("element {0}: latitude must be -90..90 and longitude -180..180")]
    BadLocation(usize),
    /// The contract allows one custom element in a message.
    #[error("more than one custom element in a message")]
    SecondCustom,
    /// An image's format or the type of one of its sizes is not one of the contract's.
    #[error(
        "element {0}: the format of an image is 1, 2, 3, 4 or 255, and its sizes have the types 1, 2 and 3, each once"
    )]
    BadImage(usize),
    /// A sound, image, file or video beyond what the contract allows.
    #[error("element {0}: images and sounds have at most 28 MiB, files and videos 100 MiB")]
    TooLargeMedia(usize),
    /// A download flag that is neither absent nor 2.
    #[error("element {0}: a download flag is 2")]
    BadDownloadFlag(usize),
    /// A merged message that holds neither its messages nor their key, or both, or miscounts them.
    #[error("element {0}: merged messages come either as a list of msg_num messages or by their key")]
    BadRelay(usize),
    /// Merged messages nested too deep.
    #[error("merged messages are nested more than 100 deep")]
    TooDeep,
}

impl ContentError {
    /// The code of the public contract.
    #[must_use]
    pub fn code(&self) -> u32 {
        match self {
            Self::TooLong(_) => code::CONTENT_TOO_LONG,
            _ => code::BAD_CONTENT,
        }
    }
}

/// Checks a decoded content from a client whose encoding took `encoded_bytes`.
///
/// # Errors
/// [`ContentError`], the first rule that is broken.
pub fn check_content(content: &Content, encoded_bytes: usize) -> Result<(), ContentError> {
    if encoded_bytes > CONTENT_BYTES_MAX {
        return Err(ContentError::TooLong(encoded_bytes));
    }
    check_depth(content, 0)
}

/// Whether a message may mention so many.
///
/// # Errors
/// How many there are, if there are more than [`MENTIONS_MAX`].
pub fn check_mentions(mentions: &Mentions) -> Result<(), usize> {
    let count = mentions.users.len();
    if count > MENTIONS_MAX { Err(count) } else { Ok(()) }
}

fn check_depth(content: &Content, depth: usize) -> Result<(), ContentError> {
    if content.elements.is_empty() {
        return Err(ContentError::Empty);
    }
    let mut customs = 0;
    for (at, Element { element, .. }) in content.elements.iter().enumerate() {
        let kind = element.as_ref().ok_or(ContentError::UnknownElement(at))?;
        check_kind(kind, at)?;
        match kind {
            Kind::Custom(_) => {
                customs += 1;
                if customs > 1 {
                    return Err(ContentError::SecondCustom);
                }
            }
            Kind::Relay(relay) => {
                if depth == RELAY_DEPTH_MAX && !relay.msg_list.is_empty() {
                    return Err(ContentError::TooDeep);
                }
                for message in relay.messages() {
                    let content = message.ok().and_then(|message| message.content);
                    check_depth(&content.ok_or(ContentError::BadRelay(at))?, depth + 1)?;
                }
            }
            _ => {}
        }
    }
    Ok(())
}

/// The rules of one element. What clients in the field leave out (sizes, addresses, flags) may be absent.
fn check_kind(kind: &Kind, at: usize) -> Result<(), ContentError> {
    let (bytes, bytes_max) = match kind {
        Kind::Sound(sound) => (sound.size, SMALL_MEDIA_BYTES_MAX),
        Kind::Image(image) => {
            (image.infos.iter().map(|info| info.size).max().unwrap_or_default(), SMALL_MEDIA_BYTES_MAX)
        }
        Kind::File(file) => (file.size, LARGE_MEDIA_BYTES_MAX),
        Kind::Video(video) => (video.video_size.max(video.thumb_size), LARGE_MEDIA_BYTES_MAX),
        _ => (0, 0),
    };
    if bytes > bytes_max {
        return Err(ContentError::TooLargeMedia(at));
    }
    let flags = match kind {
        Kind::Sound(sound) => [sound.download_flag, 0],
        Kind::File(file) => [file.download_flag, 0],
        Kind::Video(video) => [video.video_download_flag, video.thumb_download_flag],
        _ => [0; 2],
    };
    if flags.iter().any(|flag| ![0, 2].contains(flag)) {
        return Err(ContentError::BadDownloadFlag(at));
    }
    match kind {
        Kind::Location(place) => {
            let valid = place.latitude.abs() <= 90.0 && place.longitude.abs() <= 180.0;
            if valid { Ok(()) } else { Err(ContentError::BadLocation(at)) }
        }
        Kind::Image(image) => {
            let types: Vec<_> = image.infos.iter().map(|info| info.r#type).collect();
            let valid = [0, 1, 2, 3, 4, 255].contains(&image.format)
                && types.iter().all(|kind| (1..=3).contains(kind))
                && (1..types.len()).all(|at| !types[..at].contains(&types[at]));
            if valid { Ok(()) } else { Err(ContentError::BadImage(at)) }
        }
        Kind::Relay(Relay { msg_list, json_msg_key, msg_num, .. }) => {
            let listed = !msg_list.is_empty();
            let valid = listed == json_msg_key.is_empty() && (!listed || *msg_num as usize == msg_list.len());
            if valid { Ok(()) } else { Err(ContentError::BadRelay(at)) }
        }
        Kind::Tip(_) | Kind::Notice(_) => Err(ContentError::ServerElement(at)),
        Kind::Text(_) | Kind::Face(_) | Kind::Custom(_) | Kind::Sound(_) | Kind::File(_) | Kind::Video(_) => {
            Ok(())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use prost::Message as _;

    use crate::body::{
        Custom, Delivery, File, Image, ImageInfo, Location, LogEntry, Message, Notice, Send, Sound, SyncPage,
        Text, Tip, Video,
    };

    fn content(kinds: Vec<Option<Kind>>) -> Content {
        Content {
            elements: kinds.into_iter().map(|element| Element { element, ..Element::default() }).collect(),
            ..Content::default()
        }
    }

    fn text() -> Option<Kind> {
        Some(Kind::Text(Text { text: "hi".into() }))
    }

    fn image(format: u32, infos: &[(u32, u64)]) -> Option<Kind> {
        let info =
            |(kind, size): &(u32, u64)| ImageInfo { r#type: *kind, size: *size, ..ImageInfo::default() };
        Some(Kind::Image(Image { format, infos: infos.iter().map(info).collect(), ..Image::default() }))
    }

    fn relay(inner: Vec<Content>, msg_num: u32, key: &str) -> Option<Kind> {
        let message = |content| Message { content: Some(content), ..Message::default() };
        let msg_list = inner.into_iter().map(|content| message(content).encode_to_vec().into()).collect();
        Some(Kind::Relay(Relay { msg_list, msg_num, json_msg_key: key.into(), ..Relay::default() }))
    }

    #[test]
    fn each_rule_has_its_error() {
        let custom = || Some(Kind::Custom(Custom::default()));
        let place =
            |latitude, longitude| Some(Kind::Location(Location { desc: String::new(), latitude, longitude }));
        let sound =
            |size, download_flag| Some(Kind::Sound(Sound { size, download_flag, ..Sound::default() }));
        let file = |size, download_flag| Some(Kind::File(File { size, download_flag, ..File::default() }));
        let video = |thumb_size, thumb_download_flag| {
            Some(Kind::Video(Video { thumb_size, thumb_download_flag, ..Video::default() }))
        };
        let (small, large) = (SMALL_MEDIA_BYTES_MAX, LARGE_MEDIA_BYTES_MAX);
        let plain = || content(vec![text()]);
        let cases = [
            (vec![text(), custom()], Ok(())),
            (vec![], Err(ContentError::Empty)),
            (vec![text(), None], Err(ContentError::UnknownElement(1))),
            (vec![custom(), custom()], Err(ContentError::SecondCustom)),
            (vec![place(90.0, -180.0)], Ok(())),
            (vec![place(90.1, 0.0)], Err(ContentError::BadLocation(0))),
            (vec![place(f64::NAN, 0.0)], Err(ContentError::BadLocation(0))),
            (vec![sound(small, 2)], Ok(())),
            (vec![sound(small + 1, 2)], Err(ContentError::TooLargeMedia(0))),
            (vec![sound(0, 1)], Err(ContentError::BadDownloadFlag(0))),
            (vec![text(), file(large, 0)], Ok(())),
            (vec![text(), file(large + 1, 0)], Err(ContentError::TooLargeMedia(1))),
            (vec![file(1, 3)], Err(ContentError::BadDownloadFlag(0))),
            (vec![video(large + 1, 2)], Err(ContentError::TooLargeMedia(0))),
            (vec![video(1, 9)], Err(ContentError::BadDownloadFlag(0))),
            (vec![image(255, &[(1, small), (3, 1)])], Ok(())),
            (vec![image(5, &[])], Err(ContentError::BadImage(0))),
            (vec![image(1, &[(4, 1)])], Err(ContentError::BadImage(0))),
            (vec![image(1, &[(1, 1), (1, 1)])], Err(ContentError::BadImage(0))),
            (vec![image(1, &[(1, small + 1)])], Err(ContentError::TooLargeMedia(0))),
            (vec![relay(vec![plain()], 1, "")], Ok(())),
            (vec![relay(vec![], 900, "key")], Ok(())),
            (vec![relay(vec![plain()], 1, "key")], Err(ContentError::BadRelay(0))),
            (vec![relay(vec![plain()], 2, "")], Err(ContentError::BadRelay(0))),
            (vec![relay(vec![], 0, "")], Err(ContentError::BadRelay(0))),
            (vec![relay(vec![content(vec![])], 1, "")], Err(ContentError::Empty)),
            (vec![Some(Kind::Tip(Tip::default()))], Err(ContentError::ServerElement(0))),
            (vec![text(), Some(Kind::Notice(Notice::default()))], Err(ContentError::ServerElement(1))),
        ];
        for (kinds, want) in cases {
            let content = content(kinds);
            assert_eq!(check_content(&content, 10), want, "{content:?}");
        }
        assert_eq!(check_content(&plain(), 12_289).unwrap_err().code(), 80002);
    }

    fn nest(depth: usize) -> Content {
        (0..depth).fold(content(vec![text()]), |inner, _| content(vec![relay(vec![inner], 1, "")]))
    }

    /// As they come over the wire, with what stands around them in a request and in a page.
    #[test]
    fn merged_messages_nest_a_hundred_deep_and_no_deeper() {
        for (depth, want) in
            [(1, Ok(())), (24, Ok(())), (25, Ok(())), (100, Ok(())), (101, Err(ContentError::TooDeep))]
        {
            let send = Send { content: Some(nest(depth)), ..Send::default() };
            let send = Send::decode(&send.encode_to_vec()[..]).unwrap();
            let content = send.content.unwrap();
            assert_eq!(check_content(&content, content.encoded_len()), want, "{depth}");
            let message = Some(Message { content: Some(content), ..Message::default() });
            let delivery = Some(Delivery { message, ..Delivery::default() });
            let entries = vec![LogEntry { delivery, ..LogEntry::default() }];
            let page = SyncPage { entries, ..SyncPage::default() };
            let page = SyncPage::decode(&page.encode_to_vec()[..]).unwrap();
            // A reader opens them one after the other.
            let (mut levels, mut content) =
                (0, page.entries[0].delivery.clone().unwrap().message.unwrap().content.unwrap());
            while let Some(Kind::Relay(relay)) = content.elements.remove(0).element {
                content = relay.messages().next().unwrap().unwrap().content.unwrap();
                levels += 1;
            }
            assert_eq!(levels, depth);
        }
        // As deep as a message of 12 KiB can be.
        let bytes = nest(600).encoded_len();
        assert!(bytes < CONTENT_BYTES_MAX, "{bytes}");
        assert_eq!(check_content(&nest(600), bytes), Err(ContentError::TooDeep));
    }

    #[test]
    fn what_is_merged_is_looked_at_at_every_level() {
        let wrapped = |inner: Content| content(vec![relay(vec![content(vec![text()]), inner], 2, "")]);
        let tip = content(vec![Some(Kind::Tip(Tip::default()))]);
        assert_eq!(check_content(&wrapped(wrapped(tip)), 1), Err(ContentError::ServerElement(0)));
        let noise = Relay { msg_list: vec![vec![0xff; 9].into()], msg_num: 1, ..Relay::default() };
        let noise = content(vec![text(), Some(Kind::Relay(noise))]);
        assert_eq!(check_content(&wrapped(noise), 1), Err(ContentError::BadRelay(1)));
    }

    #[test]
    fn thirty_may_be_meant() {
        let mentions = |count: usize| Mentions { users: vec!["bob".into(); count], all: true };
        assert_eq!(check_mentions(&mentions(MENTIONS_MAX)), Ok(()));
        assert_eq!(check_mentions(&mentions(MENTIONS_MAX + 1)), Err(31));
    }
}
