//! What messages hold: `MsgBody` of the public contract and elements of the wire, both ways.
//!
//! Inwards every field may be missing, for clients in the field leave some out, but one that is there has its type. What the wire has no
//! place for goes along in `Element::extra` and comes out again. Outwards fields that the wire has are always there.

mod inwards;
mod outwards;
mod push;
#[cfg(test)]
mod tests;

use std::borrow::Cow;

use nearport_wire::body::{Content, Element};
use nearport_wire::{ContentError, check_content};
use prost::Message as _;
use serde_json::Value;
use utoipa::openapi::RefOr;
use utoipa::openapi::schema::{ArrayBuilder, ObjectBuilder, Schema, SchemaType, Type};

use crate::answer::Refusal;
use crate::field::{Described, Field, Lenient, Text};

pub(crate) use outwards::{MsgBodyOut, to_json};
pub(crate) use push::{OfflinePush, offline_push};

/// The kinds of element by their names in the contract. The last two only come out.
pub(crate) const KINDS: [&str; 11] = [
    "TIMTextElem",
    "TIMLocationElem",
    "TIMFaceElem",
    "TIMCustomElem",
    "TIMSoundElem",
    "TIMImageElem",
    "TIMFileElem",
    "TIMVideoFileElem",
    "TIMRelayElem",
    "TIMGroupTipElem",
    "TIMGroupSystemNoticeElem",
];

/// `MsgBody` of a request, as it stands there.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct MsgBodyIn(Value);

/// The field `MsgBody`.
pub(crate) type MsgBody = Field<MsgBodyIn>;

impl Lenient for MsgBodyIn {
    /// Anything: what is wrong with it has codes of its own.
    fn read(value: Value) -> Option<Self> {
        Some(Self(value))
    }
}

impl Described for MsgBodyIn {
    fn named() -> Cow<'static, str> {
        Cow::Borrowed("MsgBodyIn")
    }

    fn described() -> RefOr<Schema> {
        schema(&KINDS[..9])
    }
}

/// The array of elements in the OpenAPI document.
fn schema(kinds: &[&'static str]) -> RefOr<Schema> {
    let kind = ObjectBuilder::new().schema_type(Type::String).enum_values(Some(kinds.iter().copied()));
    let content = ObjectBuilder::new()
        .schema_type(SchemaType::from(Type::Object))
        .description(Some("The fields of that kind of element."));
    let element = ObjectBuilder::new()
        .property("MsgType", kind)
        .property("MsgContent", content)
        .required("MsgType")
        .required("MsgContent");
    ArrayBuilder::new().items(element).into()
}

/// Why a body is refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum BadBody {
    /// There is none.
    Missing,
    /// It is no array.
    NotArray,
    /// An element has not the form that its kind has.
    Form(String),
    /// Against the rules for elements.
    Rule(ContentError),
    /// `CloudCustomData` is no text.
    CloudCustomData,
}

impl BadBody {
    fn info(&self) -> String {
        match self {
            Self::Missing => "MsgBody is missing".to_owned(),
            Self::NotArray => "MsgBody is no array".to_owned(),
            Self::Form(what) => format!("MsgBody: {what}"),
            Self::Rule(rule) => format!("MsgBody: {rule}"),
            Self::CloudCustomData => "CloudCustomData is no string".to_owned(),
        }
    }

    fn is_too_long(&self) -> bool {
        matches!(self, Self::Rule(ContentError::TooLong(_)))
    }

    /// By the numbers of the message service.
    pub(crate) fn in_messages(self) -> Refusal {
        let code = match &self {
            _ if self.is_too_long() => 93000,
            Self::Missing | Self::Rule(ContentError::Empty) => 90002,
            Self::NotArray => 90007,
            Self::Form(_) | Self::Rule(_) | Self::CloudCustomData => 90010,
        };
        Refusal::new(code, self.info())
    }

    /// By the numbers of groups.
    pub(crate) fn in_groups(self) -> Refusal {
        Refusal::new(if self.is_too_long() { 80002 } else { 10004 }, self.info())
    }
}

/// `MsgBody` of these elements, as callbacks say it. One of a kind that this server does not know is left out.
#[must_use]
pub fn msg_body(elements: &[Element]) -> Vec<Value> {
    to_json(elements).0
}

/// The content of a message whose `MsgBody` and `CloudCustomData` a back end gives.
///
/// # Errors
/// What is wrong with it, for people.
pub fn read_msg_body(body: Value, cloud_custom_data: String) -> Result<Content, String> {
    content(Field::Good(MsgBodyIn(body)), Field::Good(cloud_custom_data)).map_err(|bad| bad.info())
}

/// The elements of a body: at least one, and at most 12 KB as the wire has them.
///
/// # Errors
/// [`BadBody`].
pub(crate) fn elements(body: MsgBody) -> Result<Vec<Element>, BadBody> {
    Ok(content(body, Field::Absent)?.elements)
}

/// The elements of a body with `CloudCustomData`, together at most 12 KB as the wire has them.
///
/// # Errors
/// [`BadBody`].
pub(crate) fn content(body: MsgBody, cloud_custom_data: Text) -> Result<Content, BadBody> {
    let elements = match body {
        Field::Absent => return Err(BadBody::Missing),
        Field::Good(MsgBodyIn(Value::Array(elements))) => elements,
        Field::Good(_) | Field::Bad => return Err(BadBody::NotArray),
    };
    let cloud_custom_data = match cloud_custom_data {
        Field::Absent => String::new(),
        Field::Good(text) => text,
        Field::Bad => return Err(BadBody::CloudCustomData),
    };
    let elements = inwards::elements(elements).map_err(BadBody::Form)?;
    let content = Content { elements, cloud_custom_data };
    check_content(&content, content.encoded_len()).map_err(BadBody::Rule)?;
    Ok(content)
}
