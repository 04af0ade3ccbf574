//! Names of what is uploaded: UUIDs of version 7 (RFC 9562 §5.7), so that a name says when it was given.
//!
//! 48 bits are milliseconds since the Unix epoch, 74 are random. Nobody guesses one, and no URL is good without a signature
//! anyway. The day in it is the folder of the object, so that a day that has expired is removed as a whole.

use std::fmt;
use std::str::FromStr;

use aws_lc_rs::rand;

/// Length of a name as text.
const CHARS: usize = 36;
/// Where its hyphens stand.
const HYPHENS: [usize; 4] = [8, 13, 18, 23];
/// Seconds of a day.
pub(crate) const DAY_S: u64 = 86_400;

/// The name of an upload and of what becomes of it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct MediaId([u8; 16]);

impl MediaId {
    /// A new one, given at `now_ms`. `None` only if the system gives no random bytes.
    #[must_use]
    pub fn new(now_ms: u64) -> Option<Self> {
        let mut bytes = [0; 16];
        rand::fill(&mut bytes).ok()?;
        bytes[..6].copy_from_slice(&now_ms.to_be_bytes()[2..]);
        bytes[6] = 0x70 | bytes[6] & 0x0f;
        bytes[8] = 0x80 | bytes[8] & 0x3f;
        Some(Self(bytes))
    }

    /// When it was given, Unix seconds.
    #[must_use]
    pub fn created_s(self) -> u64 {
        let [a, b, c, d, e, f, ..] = self.0;
        u64::from_be_bytes([0, 0, a, b, c, d, e, f]) / 1000
    }

    /// The day of that, counted from the Unix epoch.
    pub(crate) fn day(self) -> u64 {
        self.created_s() / DAY_S
    }

    pub(crate) fn bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

impl fmt::Display for MediaId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, byte) in self.0.iter().enumerate() {
            if matches!(at, 4 | 6 | 8 | 10) {
                f.write_str("-")?;
            }
            write!(f, "{byte:02x}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for MediaId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Not a name that was given here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a uuid of an upload")]
pub struct BadId;

impl FromStr for MediaId {
    type Err = BadId;

    /// Takes exactly what [`fmt::Display`] writes: one name has one form, so that no two paths lead to one object.
    fn from_str(text: &str) -> Result<Self, BadId> {
        let octets = text.as_bytes();
        if octets.len() != CHARS || HYPHENS.iter().any(|at| octets[*at] != b'-') {
            return Err(BadId);
        }
        let mut bytes = [0; 16];
        let mut digits = octets.iter().enumerate().filter(|(at, _)| !HYPHENS.contains(at));
        let mut digit = || match digits.next() {
            Some((_, octet @ b'0'..=b'9')) => Ok(octet - b'0'),
            Some((_, octet @ b'a'..=b'f')) => Ok(octet - b'a' + 10),
            _ => Err(BadId),
        };
        for byte in &mut bytes {
            *byte = digit()? << 4 | digit()?;
        }
        if bytes[6] >> 4 != 7 || bytes[8] >> 6 != 0b10 {
            return Err(BadId);
        }
        Ok(Self(bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_name_says_when_it_was_given_and_reads_back() {
        let id = MediaId::new(1_800_000_000_123).unwrap();
        assert_eq!(id.created_s(), 1_800_000_000);
        assert_eq!(id.to_string().parse(), Ok(id));
        assert_ne!(MediaId::new(1_800_000_000_123), Some(id));
    }

    #[test]
    fn another_form_of_a_name_is_none() {
        let id = MediaId::new(1_800_000_000_123).unwrap().to_string();
        for bad in [
            id.to_uppercase(),
            id.replace('-', ""),
            format!("{id} "),
            format!("../{}", &id[3..]),
            id.replacen("-7", "-4", 1),
            String::new(),
        ] {
            // A name of digits alone is its own upper case.
            assert!(bad == id || bad.parse::<MediaId>() == Err(BadId), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn no_text_panics(text in "[0-9a-f/.-]{30,40}|\\PC{0,50}") {
            if let Ok(id) = text.parse::<MediaId>() {
                prop_assert_eq!(id.to_string(), text);
            }
        }
    }
}
