//! Which fields there are, what they hold and who may do what with them (`profile.md` and `relation.md` of the
//! contract).

use super::config::{AllowType, FieldOf, Holds};
use super::{Limits, codes};
use crate::Failure;
use crate::actor::Actor;
use crate::directory::people::FieldValue;
use crate::key::AppId;
use crate::text::{check_line, check_text};

/// Longest text or bytes of any field.
pub(crate) const VALUE_BYTES_MAX: usize = 500;

/// Longest remark.
pub(crate) const REMARK_BYTES_MAX: usize = 96;

/// Longest wording of an application.
const WORDING_BYTES_MAX: usize = 256;

/// Longest name of a friend group.
const GROUP_NAME_BYTES_MAX: usize = 30;

const LOCATION_BYTES_MAX: usize = 16;

/// How somebody takes applications.
pub(crate) const ALLOW_TYPE: &str = "Tag_Profile_IM_AllowType";
/// Whether somebody may send applications.
pub(crate) const ADMIN_FORBID_TYPE: &str = "Tag_Profile_IM_AdminForbidType";
/// The value of it that says no.
pub(crate) const FORBID_SEND_OUT: &str = "AdminForbid_Type_SendOut";
/// The one standard field of a friend that is changed like a profile's.
pub(crate) const REMARK: &str = "Tag_SNS_IM_Remark";

const PROFILE_CUSTOM: &str = "Tag_Profile_Custom_";
const FRIEND_CUSTOM: &str = "Tag_SNS_Custom_";

/// What a standard field holds.
#[derive(Debug, Clone, Copy)]
enum Standard {
    /// One line of at most so many bytes, in any script, which shows as it was written.
    Line(usize),
    /// The same with several lines.
    Text(usize),
    /// One of these texts.
    OneOf(&'static [&'static str]),
    /// A number below 2^32.
    Number,
}

/// Name, what it holds, and whether clients may write it. Everybody may read all of them.
const STANDARD: [(&str, Standard, bool); 12] = [
    ("Tag_Profile_IM_Nick", Standard::Line(VALUE_BYTES_MAX), true),
    (
        "Tag_Profile_IM_Gender",
        Standard::OneOf(&["Gender_Type_Unknown", "Gender_Type_Female", "Gender_Type_Male"]),
        true,
    ),
    ("Tag_Profile_IM_BirthDay", Standard::Number, true),
    ("Tag_Profile_IM_Location", Standard::Text(LOCATION_BYTES_MAX), true),
    ("Tag_Profile_IM_SelfSignature", Standard::Text(VALUE_BYTES_MAX), true),
    (
        ALLOW_TYPE,
        Standard::OneOf(&["AllowType_Type_NeedConfirm", "AllowType_Type_AllowAny", "AllowType_Type_DenyAny"]),
        true,
    ),
    ("Tag_Profile_IM_Language", Standard::Number, true),
    ("Tag_Profile_IM_Image", Standard::Text(VALUE_BYTES_MAX), true),
    ("Tag_Profile_IM_MsgSettings", Standard::Number, true),
    (ADMIN_FORBID_TYPE, Standard::OneOf(&["AdminForbid_Type_None", FORBID_SEND_OUT]), false),
    ("Tag_Profile_IM_Level", Standard::Number, true),
    ("Tag_Profile_IM_Role", Standard::Number, true),
];

impl AllowType {
    /// The value of [`ALLOW_TYPE`].
    pub(crate) fn from_value(value: &FieldValue) -> Option<Self> {
        match value {
            FieldValue::Text(text) => match text.as_str() {
                "AllowType_Type_AllowAny" => Some(Self::AllowAny),
                "AllowType_Type_NeedConfirm" => Some(Self::NeedConfirm),
                "AllowType_Type_DenyAny" => Some(Self::DenyAny),
                _ => None,
            },
            _ => None,
        }
    }
}

/// Fields and words of one App.
#[derive(Debug, Clone)]
pub(crate) struct Tags {
    pub(crate) limits: Limits,
    pub(crate) app: AppId,
}

impl Tags {
    /// Whether `actor` may read a field of a profile.
    pub(crate) fn readable(&self, actor: &Actor<'_>, tag: &str) -> Result<(), Failure> {
        if STANDARD.iter().any(|(name, ..)| *name == tag) {
            return Ok(());
        }
        match self.custom(FieldOf::Profile, tag) {
            None => Err(unknown(tag)),
            Some(field) if !field.app_reads && !actor.is_admin() => {
                Err(Failure::new(codes::NO_READ_RIGHT, format!("{tag} is not for clients to read")))
            }
            Some(_) => Ok(()),
        }
    }

    /// Checks a field of a profile that `actor` wants to write.
    pub(crate) fn check_profile(
        &self,
        actor: &Actor<'_>,
        tag: &str,
        value: &FieldValue,
    ) -> Result<(), Failure> {
        let no_right = || Failure::new(codes::NO_WRITE_RIGHT, format!("{tag} is not for clients to write"));
        if let Some((_, holds, writes)) = STANDARD.iter().find(|(name, ..)| *name == tag) {
            if !writes && !actor.is_admin() {
                return Err(no_right());
            }
            check_standard(tag, *holds, value)?;
        } else {
            let field = self.custom(FieldOf::Profile, tag).ok_or_else(|| unknown(tag))?;
            if !field.app_writes && !actor.is_admin() {
                return Err(no_right());
            }
            check_custom(field.holds, tag, value)?;
        }
        self.check_words(value, codes::PROFILE_WORDS)
    }

    /// Checks a custom field of a friend that `actor` wants to write.
    pub(crate) fn check_friend(
        &self,
        actor: &Actor<'_>,
        tag: &str,
        value: &FieldValue,
    ) -> Result<(), Failure> {
        let bad = |info: String| Failure::new(codes::RELATION_BAD, info);
        let field = self.custom(FieldOf::Friend, tag);
        let field = field.ok_or_else(|| bad(format!("{tag} is not a field of friends that can be set")))?;
        if !field.app_writes && !actor.is_admin() {
            return Err(bad(format!("{tag} is not for clients to write")));
        }
        check_custom(field.holds, tag, value).map_err(|failure| bad(failure.info.into_owned()))?;
        self.check_words(value, codes::RELATION_WORDS)
    }

    /// A value as it came in JSON, which has no bytes: text for a field that holds bytes is its bytes, and a number for a friend's
    /// field that holds text is its digits (the contract's samples have one).
    pub(crate) fn declared(&self, tag: &str, value: FieldValue) -> FieldValue {
        let holds = |of| self.custom(of, tag).map(|field| field.holds);
        match (value, holds(FieldOf::Profile), holds(FieldOf::Friend)) {
            (FieldValue::Text(text), Some(Holds::Bytes), _)
            | (FieldValue::Text(text), _, Some(Holds::Bytes)) => FieldValue::Data(text.into()),
            (FieldValue::Number(number), _, Some(Holds::Text)) => FieldValue::Text(number.to_string()),
            (value, ..) => value,
        }
    }

    /// Whether `actor` may read a custom field of a friend. What is not declared any more is not shown.
    pub(crate) fn friend_readable(&self, actor: &Actor<'_>, tag: &str) -> bool {
        self.custom(FieldOf::Friend, tag).is_some_and(|field| field.app_reads || actor.is_admin())
    }

    pub(crate) fn check_remark(&self, remark: &str) -> Result<(), Failure> {
        self.check_text("the remark", remark, REMARK_BYTES_MAX)
    }

    pub(crate) fn check_wording(&self, wording: &str) -> Result<(), Failure> {
        self.check_text("the wording", wording, WORDING_BYTES_MAX)
    }

    /// `AddSource_Type_` and 1 to 8 letters; empty from clients that do not say.
    pub(crate) fn check_source(&self, source: &str) -> Result<(), Failure> {
        let good = source.is_empty()
            || source.strip_prefix("AddSource_Type_").is_some_and(|key| {
                (1..=8).contains(&key.len()) && key.bytes().all(|byte| byte.is_ascii_alphabetic())
            });
        let bad =
            || Failure::new(codes::RELATION_BAD, "the source must be AddSource_Type_ and 1 to 8 letters");
        if good { Ok(()) } else { Err(bad()) }
    }

    /// A name of a friend group.
    pub(crate) fn check_group(&self, name: &str) -> Result<(), Failure> {
        if name.is_empty() {
            return Err(Failure::new(codes::RELATION_BAD, "a friend group needs a name"));
        }
        self.check_text("the name of a friend group", name, GROUP_NAME_BYTES_MAX)
    }

    fn check_text(&self, what: &str, text: &str, bytes_max: usize) -> Result<(), Failure> {
        let bad = |error| Failure::new(codes::RELATION_BAD, format!("{what} {error}"));
        check_line(text, bytes_max).map_err(bad)?;
        self.check_word(text, codes::RELATION_WORDS)
    }

    fn check_words(&self, value: &FieldValue, code: u32) -> Result<(), Failure> {
        match value {
            FieldValue::Text(text) => {
                let bad = if code == codes::PROFILE_WORDS { codes::PROFILE_BAD } else { codes::RELATION_BAD };
                check_no_nul(text, bad)?;
                self.check_word(text, code)
            }
            FieldValue::Number(_) | FieldValue::Data(_) => Ok(()),
        }
    }

    fn check_word(&self, text: &str, code: u32) -> Result<(), Failure> {
        if self.limits.refused_words.is_empty() {
            return Ok(());
        }
        let text = text.to_lowercase();
        let refused = |word: &String| !word.is_empty() && text.contains(&word.to_lowercase());
        match self.limits.refused_words.iter().any(refused) {
            // Which one is not said: it would help to get around it.
            true => Err(Failure::new(code, "the text holds a word that is refused here")),
            false => Ok(()),
        }
    }

    fn custom(&self, of: FieldOf, tag: &str) -> Option<&super::config::CustomField> {
        let prefix = match of {
            FieldOf::Profile => PROFILE_CUSTOM,
            FieldOf::Friend => FRIEND_CUSTOM,
        };
        let key = tag.strip_prefix(prefix)?;
        let fields = &self.limits.fields;
        fields.iter().find(|field| field.app == self.app.0 && field.of == of && field.key == key)
    }
}

/// U+0000 is no text for PostgreSQL.
fn check_no_nul(text: &str, code: u32) -> Result<(), Failure> {
    match text.contains('\0') {
        true => Err(Failure::new(code, "text must not hold U+0000")),
        false => Ok(()),
    }
}

fn unknown(tag: &str) -> Failure {
    // Shortened: it comes from a client and goes into an answer.
    let shown: String = tag.chars().take(64).collect();
    Failure::new(codes::NO_TAG, format!("there is no field {shown:?}"))
}

fn check_standard(tag: &str, holds: Standard, value: &FieldValue) -> Result<(), Failure> {
    let not_allowed = |info: &str| Err(Failure::new(codes::VALUE_NOT_ALLOWED, format!("{tag}: {info}")));
    match (holds, value) {
        (_, FieldValue::Text(text)) if text.len() > VALUE_BYTES_MAX => Err(too_long(tag, text.len())),
        (Standard::Text(bytes_max), FieldValue::Text(text)) => {
            check_text(text, bytes_max).or_else(|error| not_allowed(&error.to_string()))
        }
        (Standard::Line(bytes_max), FieldValue::Text(text)) => {
            check_line(text, bytes_max).or_else(|error| not_allowed(&error.to_string()))
        }
        (Standard::OneOf(allowed), FieldValue::Text(text)) => match allowed.contains(&text.as_str()) {
            true => Ok(()),
            false => not_allowed(&format!("must be one of {}", allowed.join(", "))),
        },
        (Standard::Number, FieldValue::Number(number)) => match u32::try_from(*number) {
            Ok(_) => Ok(()),
            Err(_) => not_allowed("must be below 2^32"),
        },
        (Standard::Number, _) => Err(wrong_type(tag, "a number")),
        (Standard::Line(_) | Standard::Text(_) | Standard::OneOf(_), _) => Err(wrong_type(tag, "text")),
    }
}

fn check_custom(holds: Holds, tag: &str, value: &FieldValue) -> Result<(), Failure> {
    let (length, fits) = match value {
        FieldValue::Text(text) => (text.len(), holds == Holds::Text),
        FieldValue::Data(data) => (data.len(), holds == Holds::Bytes),
        FieldValue::Number(_) => (0, false),
    };
    match (fits, length > VALUE_BYTES_MAX) {
        (false, _) => Err(wrong_type(tag, if holds == Holds::Text { "text" } else { "bytes" })),
        (true, true) => Err(too_long(tag, length)),
        (true, false) => Ok(()),
    }
}

fn too_long(tag: &str, length: usize) -> Failure {
    Failure::new(codes::VALUE_TOO_LONG, format!("{tag} has {length} bytes: at most {VALUE_BYTES_MAX}"))
}

fn wrong_type(tag: &str, holds: &str) -> Failure {
    Failure::new(codes::VALUE_TYPE, format!("{tag} holds {holds}"))
}
