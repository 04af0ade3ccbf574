//! What answers and requests of people have in common: outcomes of single users, and fields with a tag and a value.

use std::borrow::Cow;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use nearport_chat::Failure;
use nearport_chat::admin::Pending;
use nearport_chat::directory::people::FieldValue;
use nearport_chat::people::{Item, Items};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use crate::answer::Refusal;
use crate::field::{Described, Field, Lenient, Object, Text};

/// What became of one user.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct ResultItem {
    #[serde(rename = "To_Account")]
    pub(crate) user: String,
    /// 0: done.
    pub(crate) result_code: u32,
    pub(crate) result_info: String,
}

/// What became of each user, in the order of the request.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Results {
    pub(crate) result_item: Vec<ResultItem>,
    /// Those for whom it failed; not there if it failed for none.
    #[serde(rename = "Fail_Account", skip_serializing_if = "Vec::is_empty")]
    pub(crate) failed: Vec<String>,
}

/// A result that is no failure: the other one has to confirm.
const PENDING: u32 = 30539;

impl Results {
    pub(crate) fn new(items: Items) -> Self {
        Self::explained(items, |_, _| None)
    }

    /// With the contract's own text where `explain` knows one for a user's code.
    pub(crate) fn explained(items: Items, explain: impl Fn(&str, u32) -> Option<&'static str>) -> Self {
        let items = items.items.into_iter();
        let one = |Item { id, code, info }: Item| {
            let result_info = explain(&id, code).map_or(info, str::to_owned);
            ResultItem { user: id, result_code: code, result_info }
        };
        let result_item: Vec<_> = items.map(one).collect();
        let failed = result_item.iter().filter(|item| item.result_code != 0 && item.result_code != PENDING);
        let failed = failed.map(|item| item.user.clone()).collect();
        Self { result_item, failed }
    }
}

/// Waits for what the backend does on a thread of its own.
pub(crate) async fn done<T>(pending: Pending<Result<T, Failure>>, internal: u32) -> Result<T, Refusal> {
    match pending.await {
        Some(done) => Ok(done?),
        None => Err(Refusal::new(internal, "the server is shutting down, try again")),
    }
}

/// Anything: its type says what it is.
pub(crate) type Anything = Field<Value>;

/// A field to be set.
#[derive(Debug, Clone, PartialEq, Deserialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct TagToSet {
    #[serde(default)]
    pub(crate) tag: Text,
    #[serde(default)]
    pub(crate) value: Anything,
}

pub(crate) type TagsToSet = Field<Vec<Object<TagToSet>>>;

impl TagToSet {
    /// # Errors
    /// `bad` if something is missing.
    pub(crate) fn read(self, bad: u32) -> Result<(String, Value), Refusal> {
        Ok((self.tag.required("Tag", bad)?, self.value.required("Value", bad)?))
    }
}

/// A value of a field. Bytes come as text, and which fields hold bytes is known to the backend.
///
/// # Errors
/// `wrong_type` for what no field holds.
pub(crate) fn field_value(tag: &str, value: Value, wrong_type: u32) -> Result<FieldValue, Refusal> {
    let number =
        |number: &serde_json::Number| number.as_u64().filter(|number| i64::try_from(*number).is_ok());
    match value {
        Value::String(text) => Ok(FieldValue::Text(text)),
        Value::Number(ref given) if number(given).is_some() => {
            Ok(FieldValue::Number(number(given).unwrap_or_default()))
        }
        _ => Err(Refusal::new(wrong_type, format!("Value of {tag:?} is neither text nor a number"))),
    }
}

/// A field as it stands.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct TagValue {
    pub(crate) tag: String,
    /// Text, a number, or a list of texts, as the tag has it.
    pub(crate) value: Value,
}

impl TagValue {
    pub(crate) fn new(tag: impl Into<String>, value: impl Into<Value>) -> Self {
        Self { tag: tag.into(), value: value.into() }
    }

    /// Bytes that are text come as it, others in base64: JSON has no bytes.
    pub(crate) fn of((tag, value): (String, FieldValue)) -> Self {
        let value = match value {
            FieldValue::Number(number) => number.into(),
            FieldValue::Text(text) => text.into(),
            FieldValue::Data(data) => match std::str::from_utf8(&data) {
                Ok(text) => text.into(),
                Err(_) => STANDARD.encode(&data).into(),
            },
        };
        Self { tag, value }
    }
}

/// A list of names, also written as one name alone.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct OneOrMore(pub(crate) Vec<String>);

pub(crate) type Names = Field<OneOrMore>;

impl Lenient for OneOrMore {
    fn read(value: Value) -> Option<Self> {
        match value {
            Value::String(name) => Some(Self(vec![name])),
            value => Vec::read(value).map(Self),
        }
    }
}

impl Described for OneOrMore {
    fn named() -> Cow<'static, str> {
        Vec::<String>::named()
    }

    fn described() -> utoipa::openapi::RefOr<utoipa::openapi::schema::Schema> {
        Vec::<String>::described()
    }
}
