//! The two headers that name parts of content (RFC 9110 §14): `Content-Range` of an upload, `Range` of a download.

use std::ops::Range;

/// What one request of an upload carries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Part {
    /// Everything, from the beginning.
    Whole,
    /// These octets.
    Octets(Range<u64>),
    /// Nothing: what is there is to be completed.
    Nothing,
}

/// Reads the `Content-Range` of an upload of `size` octets.
///
/// # Errors
/// For people.
pub(crate) fn content_range(header: Option<&str>, size: u64) -> Result<Part, &'static str> {
    let Some(header) = header else { return Ok(Part::Whole) };
    let malformed = "Content-Range must be `bytes FIRST-LAST/SIZE`, or `bytes */SIZE` without content";
    let (range, whole) =
        header.strip_prefix("bytes ").and_then(|rest| rest.split_once('/')).ok_or(malformed)?;
    if whole != "*" && whole.parse() != Ok(size) {
        return Err("Content-Range names another size than was announced");
    }
    if range == "*" {
        return Ok(Part::Nothing);
    }
    let (first, last) = range.split_once('-').ok_or(malformed)?;
    let (first, last) = (number(first).ok_or(malformed)?, number(last).ok_or(malformed)?);
    if first > last {
        return Err(malformed);
    }
    if last >= size {
        return Err("Content-Range goes beyond the size that was announced");
    }
    Ok(Part::Octets(first..last + 1))
}

/// The part of `size` octets that a `Range` asks for. `None`: all. Several ranges, other units and what cannot be read count as none,
/// as the RFC allows.
///
/// # Errors
/// A range that has no octet.
pub(crate) fn range(header: Option<&str>, size: u64) -> Result<Option<Range<u64>>, Unsatisfiable> {
    let Some(range) = header.and_then(|header| header.strip_prefix("bytes=")) else { return Ok(None) };
    let Some((first, last)) = range.trim().split_once('-') else { return Ok(None) };
    let range = match (first, last) {
        ("", last) => match number(last) {
            Some(0) => return Err(Unsatisfiable),
            Some(suffix) => size.saturating_sub(suffix)..size,
            None => return Ok(None),
        },
        (first, "") => match number(first) {
            Some(first) => first..size,
            None => return Ok(None),
        },
        (first, last) => match (number(first), number(last)) {
            (Some(first), Some(last)) if first <= last => first..last.saturating_add(1).min(size),
            _ => return Ok(None),
        },
    };
    if range.start >= size { Err(Unsatisfiable) } else { Ok(Some(range)) }
}

/// A range beyond the end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Unsatisfiable;

/// Digits only: `parse` would take a plus sign.
fn number(text: &str) -> Option<u64> {
    text.bytes().all(|octet| octet.is_ascii_digit()).then(|| text.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn parts_of_an_upload() {
        assert_eq!(content_range(None, 10), Ok(Part::Whole));
        assert_eq!(content_range(Some("bytes 0-9/10"), 10), Ok(Part::Octets(0..10)));
        assert_eq!(content_range(Some("bytes 3-3/*"), 10), Ok(Part::Octets(3..4)));
        assert_eq!(content_range(Some("bytes */10"), 10), Ok(Part::Nothing));
        for bad in [
            "bytes 0-10/10",
            "bytes 0-9/11",
            "bytes 5-4/10",
            "bytes 0-9",
            "0-9/10",
            "bytes -9/10",
            "bytes 0-/10",
            "bytes +1-2/10",
            "bytes 0-18446744073709551615/10",
            "bytes 0-99999999999999999999/10",
        ] {
            assert!(content_range(Some(bad), 10).is_err(), "{bad}");
        }
    }

    #[test]
    fn parts_of_a_download() {
        let cases = [
            ("bytes=0-0", Ok(Some(0..1))),
            ("bytes=2-", Ok(Some(2..10))),
            ("bytes=-3", Ok(Some(7..10))),
            ("bytes=-30", Ok(Some(0..10))),
            ("bytes=5-100", Ok(Some(5..10))),
            ("bytes=5-18446744073709551615", Ok(Some(5..10))),
            ("bytes=10-", Err(Unsatisfiable)),
            ("bytes=-0", Err(Unsatisfiable)),
            ("bytes=0-1,3-4", Ok(None)),
            ("bytes=5-4", Ok(None)),
            ("lines=1-2", Ok(None)),
            ("bytes=x-", Ok(None)),
        ];
        for (header, want) in cases {
            assert_eq!(range(Some(header), 10), want, "{header}");
        }
        assert_eq!(range(None, 10), Ok(None));
        assert_eq!(range(Some("bytes=0-"), 0), Err(Unsatisfiable));
    }

    proptest! {
        #[test]
        fn what_is_given_lies_inside(header in "bytes[ =][0-9*]{0,20}-?[0-9]{0,20}(/[0-9*]{0,3})?", size in 0..2000u64) {
            if let Ok(Some(range)) = range(Some(&header), size) {
                prop_assert!(range.start < range.end && range.end <= size);
            }
            if let Ok(Part::Octets(range)) = content_range(Some(&header), size) {
                prop_assert!(range.start < range.end && range.end <= size);
            }
        }
    }
}
