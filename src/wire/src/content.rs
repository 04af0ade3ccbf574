//! What a message may hold: the rules of the public contract for elements, checked once, before it is stored.

use crate::body::{Content, Element, element::Element as Kind};
use crate::code;

/// Largest encoded `Content`, in bytes (12 KB in the public contract's newer text).
pub const CONTENT_BYTES_MAX: usize = 12 * 1024;

/// Deepest nesting of merged messages (client code 8005 of the contract has 100; decoding stops there too).
const RELAY_DEPTH_MAX: usize = 100;

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
    /// Latitude or longitude is not a number, or out of range.
    #[error("element {0}: latitude must be -90..90 and longitude -180..180")]
    BadLocation(usize),
    /// The contract allows one custom element in a message.
    #[error("more than one custom element in a message")]
    SecondCustom,
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

/// Checks a decoded content whose encoding took `encoded_bytes`.
///
/// # Errors
/// [`ContentError`], the first rule that is broken.
pub fn check_content(content: &Content, encoded_bytes: usize) -> Result<(), ContentError> {
    if encoded_bytes > CONTENT_BYTES_MAX {
        return Err(ContentError::TooLong(encoded_bytes));
    }
    check_depth(content, 0)
}

fn check_depth(content: &Content, depth: usize) -> Result<(), ContentError> {
    if depth > RELAY_DEPTH_MAX {
        return Err(ContentError::TooDeep);
    }
    if content.elements.is_empty() {
        return Err(ContentError::Empty);
    }
    let mut customs = 0;
    for (at, Element { element }) in content.elements.iter().enumerate() {
        match element.as_ref().ok_or(ContentError::UnknownElement(at))? {
            Kind::Location(place) => {
                let valid = place.latitude.abs() <= 90.0 && place.longitude.abs() <= 180.0;
                if !valid {
                    return Err(ContentError::BadLocation(at));
                }
            }
            Kind::Custom(_) => {
                customs += 1;
                if customs > 1 {
                    return Err(ContentError::SecondCustom);
                }
            }
            Kind::Relay(relay) => {
                let inner = relay.msg_list.iter().filter_map(|message| message.content.as_ref());
                inner.into_iter().try_for_each(|content| check_depth(content, depth + 1))?;
            }
            _ => {}
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::body::{Custom, Location, Text};

    fn content(kinds: Vec<Option<Kind>>) -> Content {
        Content {
            elements: kinds.into_iter().map(|element| Element { element }).collect(),
            ..Content::default()
        }
    }

    #[test]
    fn each_rule_has_its_error() {
        let text = || Some(Kind::Text(Text { text: "hi".into() }));
        let custom = || Some(Kind::Custom(Custom::default()));
        let place =
            |latitude, longitude| Some(Kind::Location(Location { desc: String::new(), latitude, longitude }));
        let cases = [
            (vec![text(), custom()], Ok(())),
            (vec![], Err(ContentError::Empty)),
            (vec![text(), None], Err(ContentError::UnknownElement(1))),
            (vec![custom(), custom()], Err(ContentError::SecondCustom)),
            (vec![place(90.0, -180.0)], Ok(())),
            (vec![place(90.1, 0.0)], Err(ContentError::BadLocation(0))),
            (vec![place(f64::NAN, 0.0)], Err(ContentError::BadLocation(0))),
        ];
        for (kinds, want) in cases {
            assert_eq!(check_content(&content(kinds), 10), want);
        }
        assert_eq!(check_content(&content(vec![text()]), 12289).unwrap_err().code(), 80002);
    }
}
