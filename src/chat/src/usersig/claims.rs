//! The fields of a UserSig, checked for form, not yet for truth.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::fields::Fields;
use super::lines::Lines;
use super::{SigError, Version};

/// What version 1 signs for `TLS.appid_at_3rd` and `TLS.account_type` when the JSON leaves them out, as one of the
/// official verifiers assumes.
pub(super) const V1_DEFAULT: &str = "0";

/// What a UserSig claims. Only the signature makes it true.
#[derive(Debug)]
pub(super) struct Claims<'a> {
    pub(super) version: Version,
    pub(super) sdkappid: u64,
    pub(super) user: &'a str,
    pub(super) issued_s: u64,
    pub(super) expires_s: u64,
    pub(super) userbuf: Option<Vec<u8>>,
    /// The text that [`Self::signature`] must fit.
    pub(super) signed_text: String,
    /// HMAC or DER.
    pub(super) signature: Vec<u8>,
}

impl<'a> Claims<'a> {
    pub(super) fn read(fields: &'a Fields) -> Result<Self, SigError> {
        let version = version(fields)?;
        let (sdkappid_name, expire_name) = match version {
            Version::V1 => ("TLS.sdk_appid", "TLS.expire_after"),
            Version::V2 => ("TLS.sdkappid", "TLS.expire"),
        };
        let lines = Lines {
            user: required(fields, "TLS.identifier")?,
            sdkappid: required(fields, sdkappid_name)?,
            issued_s: required(fields, "TLS.time")?,
            expire_s: required(fields, expire_name)?,
            userbuf: fields.get("TLS.userbuf").map(String::as_str),
        };
        if lines.user.is_empty() {
            return Err(SigError::Field { field: "TLS.identifier", problem: "is empty" });
        }
        one_line(lines.user, "TLS.identifier")?;
        let issued_s = number(lines.issued_s, "TLS.time")?;
        let expires_s =
            issued_s.checked_add(number(lines.expire_s, expire_name)?).ok_or(SigError::Field {
                field: expire_name,
                problem: "ends later than 2^64 seconds: sign with a validity of days or months",
            })?;
        Ok(Self {
            version,
            sdkappid: number(lines.sdkappid, sdkappid_name)?,
            user: lines.user,
            issued_s,
            expires_s,
            userbuf: lines.userbuf.map(|text| base64(text, "TLS.userbuf")).transpose()?,
            signed_text: match version {
                Version::V1 => lines.v1(
                    optional_line(fields, "TLS.appid_at_3rd")?,
                    optional_line(fields, "TLS.account_type")?,
                ),
                Version::V2 => lines.v2(),
            },
            signature: base64(required(fields, "TLS.sig")?, "TLS.sig")?,
        })
    }
}

fn version(fields: &Fields) -> Result<Version, SigError> {
    match fields.get("TLS.ver").map(String::as_str) {
        Some("2.0") => Ok(Version::V2),
        None if fields.contains_key("TLS.sdk_appid") || fields.contains_key("TLS.expire_after") => {
            Ok(Version::V1)
        }
        _ => Err(SigError::UnknownVersion),
    }
}

fn required<'a>(fields: &'a Fields, name: &'static str) -> Result<&'a str, SigError> {
    fields.get(name).map(String::as_str).ok_or(SigError::Missing(name))
}

fn optional_line<'a>(fields: &'a Fields, name: &'static str) -> Result<&'a str, SigError> {
    one_line(fields.get(name).map_or(V1_DEFAULT, String::as_str), name)
}

/// Refuses control characters: a line feed would let one signed text be read as two different sets of fields.
fn one_line<'a>(text: &'a str, field: &'static str) -> Result<&'a str, SigError> {
    if text.chars().any(char::is_control) {
        return Err(SigError::Field { field, problem: "holds a control character: use printable ones" });
    }
    Ok(text)
}

/// A whole number in the one form that every library writes: digits, no sign, no leading zero.
fn number(text: &str, field: &'static str) -> Result<u64, SigError> {
    let plain = text.bytes().all(|b| b.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
    let parsed = if plain { text.parse().ok() } else { None };
    parsed.ok_or(SigError::Field { field, problem: "is not a whole number below 2^64" })
}

fn base64(text: &str, field: &'static str) -> Result<Vec<u8>, SigError> {
    STANDARD.decode(text).map_err(|_| SigError::Field { field, problem: "is not standard base64" })
}
