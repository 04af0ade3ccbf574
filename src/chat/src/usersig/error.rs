//! Why a UserSig is refused, with the numbers of the public contract.

use super::envelope::{JSON_BYTES_MAX, USERSIG_BYTES_MAX};

/// Why a UserSig is refused.
///
/// Messages say what to do next and never repeat text from the UserSig, so they are safe to log and to send back.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SigError {
    /// No characters at all (70002).
    #[error("usersig is empty: send the text that the signing library returned")]
    Empty,
    /// Longer than [`USERSIG_BYTES_MAX`] (70003).
    #[error("usersig has {bytes} bytes, more than {USERSIG_BYTES_MAX}: use a smaller userbuf")]
    TooLong {
        /// Its length.
        bytes: usize,
    },
    /// A byte that no signing library produces (70003). `%` or `+` here: the text was changed on its way in a URL.
    #[error(
        "usersig holds the byte 0x{byte:02x} at position {at}, and may hold letters, digits, '*', '-', '_' only: \
         send it unchanged"
    )]
    Alphabet {
        /// The first such byte.
        byte: u8,
        /// Its position, from 0.
        at: usize,
    },
    /// Not whole base64: cut short, or characters lost (70003).
    #[error("usersig is not whole base64: it was cut short or changed on the way, send it unchanged")]
    Base64,
    /// Not one whole zlib stream (70005).
    #[error("usersig is damaged: its content cannot be inflated, send it unchanged")]
    Inflate,
    /// Inflates to more than [`JSON_BYTES_MAX`] (70005).
    #[error("usersig inflates to more than {JSON_BYTES_MAX} bytes: use a smaller userbuf")]
    InflateTooLarge,
    /// The content is not a flat JSON object of strings and whole numbers (70005).
    #[error("usersig content is not the JSON object of a signing library: {0}")]
    Json(&'static str),
    /// Neither `TLS.ver` = `"2.0"` nor the fields of version 1 (70005).
    #[error("usersig is of no known version: sign with version 2 (HMAC-SHA256) or version 1 (ECDSA-SHA256)")]
    UnknownVersion,
    /// A field that its version needs is not there (70005).
    #[error("usersig content has no {0}: sign again with a current library")]
    Missing(&'static str),
    /// A field has the wrong form (70005).
    #[error("usersig field {field} {problem}")]
    Field {
        /// Its name.
        field: &'static str,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// Made for another App (70014).
    #[error(
        "usersig was made for app {found}, the request names app {expected}: use the key and id of one app"
    )]
    WrongApp {
        /// The App it was made for.
        found: u64,
        /// The App of the request.
        expected: u32,
    },
    /// Made for another user (70013).
    #[error("usersig was made for another user: sign one for the user that the request names")]
    WrongUser,
    /// The App has no secret (70016).
    #[error("the app has no secret, so version 2 usersigs are off: configure one, or sign with version 1")]
    NoSecret,
    /// The App has no public key (70016).
    #[error(
        "the app has no public key, so version 1 usersigs are off: configure one, or sign with version 2"
    )]
    NoPublicKey,
    /// The signature does not fit the fields and the App's key (70009).
    #[error("usersig signature does not verify: sign with this app's own key")]
    BadSignature,
    /// It was good until `expired_s` (70001).
    #[error("usersig expired at unix second {expired_s}, it is {now_s} now: sign a new one")]
    Expired {
        /// The first Unix second at which it is no longer good.
        expired_s: u64,
        /// The time of the check.
        now_s: u64,
    },
}

impl SigError {
    /// The error code of the public contract, as REST answers and login rejections carry it.
    #[must_use]
    pub fn code(&self) -> u32 {
        match self {
            Self::Expired { .. } => 70001,
            Self::Empty => 70002,
            Self::TooLong { .. } | Self::Alphabet { .. } | Self::Base64 => 70003,
            Self::Inflate
            | Self::InflateTooLarge
            | Self::Json(_)
            | Self::UnknownVersion
            | Self::Missing(_)
            | Self::Field { .. } => 70005,
            Self::BadSignature => 70009,
            Self::WrongUser => 70013,
            Self::WrongApp { .. } => 70014,
            Self::NoSecret | Self::NoPublicKey => 70016,
        }
    }
}
