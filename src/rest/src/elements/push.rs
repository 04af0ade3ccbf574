//! `OfflinePushInfo`.

use std::borrow::Cow;

use serde_json::{Map, Value};
use utoipa::openapi::RefOr;
use utoipa::openapi::schema::{ObjectBuilder, Schema, Type};

use crate::answer::Refusal;
use crate::field::{Described, Field, Lenient};

/// "`OfflinePushInfo` not in the documented form".
const BAD_PUSH: u32 = 90043;

/// Longest one, in bytes of JSON. It is kept with the message, and a stored message has at most 16 KiB.
const PUSH_BYTES_MAX: usize = 3584;

const TEXT: Type = Type::String;
const NUMBER: Type = Type::Integer;

const TOP: [(&str, Type); 4] = [("PushFlag", NUMBER), ("Title", TEXT), ("Desc", TEXT), ("Ext", TEXT)];
const ANDROID: [(&str, Type); 15] = [
    ("Sound", TEXT),
    ("HuaWeiChannelID", TEXT),
    ("XiaoMiChannelID", TEXT),
    ("OPPOChannelID", TEXT),
    ("GoogleChannelID", TEXT),
    ("VIVOClassification", NUMBER),
    ("HuaWeiImportance", TEXT),
    ("ExtAsHuaweiIntentParam", NUMBER),
    ("HuaWeiCategory", TEXT),
    ("VIVOCategory", TEXT),
    ("PushStyle", NUMBER),
    ("HuaWeiImage", TEXT),
    ("HonorImage", TEXT),
    ("GoogleImage", TEXT),
    ("HonorImportance", TEXT),
];
const APNS: [(&str, Type); 8] = [
    ("Sound", TEXT),
    ("BadgeMode", NUMBER),
    ("Title", TEXT),
    ("SubTitle", TEXT),
    ("Image", TEXT),
    ("MutableContent", NUMBER),
    ("InterruptionLevel", TEXT),
    ("ContentAvailable", NUMBER),
];
/// Switches and choices between two.
const ZERO_OR_ONE: [&str; 7] = [
    "PushFlag",
    "VIVOClassification",
    "ExtAsHuaweiIntentParam",
    "PushStyle",
    "BadgeMode",
    "MutableContent",
    "ContentAvailable",
];

/// `OfflinePushInfo` of a request, as it stands there.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct OfflinePushIn(Map<String, Value>);

/// The field `OfflinePushInfo`.
pub(crate) type OfflinePush = Field<OfflinePushIn>;

impl Lenient for OfflinePushIn {
    fn read(value: Value) -> Option<Self> {
        Map::read(value).map(Self)
    }
}

impl Described for OfflinePushIn {
    fn named() -> Cow<'static, str> {
        Cow::Borrowed("OfflinePushInfo")
    }

    fn described() -> RefOr<Schema> {
        let of = |object: ObjectBuilder, fields: &[(&str, Type)]| {
            fields.iter().fold(object, |object, (name, kind)| {
                object.property(*name, ObjectBuilder::new().schema_type(kind.clone()))
            })
        };
        of(ObjectBuilder::new(), &TOP)
            .property("AndroidInfo", of(ObjectBuilder::new(), &ANDROID))
            .property("ApnsInfo", of(ObjectBuilder::new(), &APNS))
            .into()
    }
}

/// What is kept with the message: JSON, empty if there is none. Fields that the contract does not know go along.
///
/// # Errors
/// 90043.
pub(crate) fn offline_push(info: OfflinePush) -> Result<String, Refusal> {
    let Some(OfflinePushIn(info)) = info.optional("OfflinePushInfo", BAD_PUSH)? else {
        return Ok(String::new());
    };
    check("", &info, &TOP)?;
    for (name, fields) in [("AndroidInfo", &ANDROID[..]), ("ApnsInfo", &APNS[..])] {
        match info.get(name) {
            None | Some(Value::Null) => {}
            Some(Value::Object(info)) => check(name, info, fields)?,
            Some(_) => return Err(bad(name, "has the wrong type")),
        }
    }
    let json = Value::Object(info).to_string();
    match json.len() {
        2 => Ok(String::new()),
        0..=PUSH_BYTES_MAX => Ok(json),
        len => Err(bad("", &format!("has {len} bytes, at most {PUSH_BYTES_MAX}"))),
    }
}

fn check(part: &str, info: &Map<String, Value>, fields: &[(&str, Type)]) -> Result<(), Refusal> {
    for (name, kind) in fields {
        let good = match info.get(*name) {
            None | Some(Value::Null) => true,
            Some(value) if *kind == NUMBER => {
                let number = i64::read(value.clone());
                number.is_some_and(|number| !ZERO_OR_ONE.contains(name) || [0, 1].contains(&number))
            }
            Some(value) => value.is_string(),
        };
        if !good {
            return Err(bad(part, &format!("{name} is not what it ought to be")));
        }
    }
    Ok(())
}

fn bad(part: &str, what: &str) -> Refusal {
    Refusal::new(BAD_PUSH, format!("OfflinePushInfo {part} {what}"))
}
