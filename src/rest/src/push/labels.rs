//! Tags and attributes of users.

use std::borrow::Cow;
use std::collections::BTreeMap;

use nearport_chat::admin::{AttrsOf, NamesOf};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;
use utoipa::openapi::schema::{AdditionalProperties, ObjectBuilder, Schema};
use utoipa::openapi::{RefOr, Type};

use super::{BAD, BAD_ATTR, INTERNAL};
use crate::answer::{Empty, Refusal};
use crate::field::{Described, Field, Lenient, Object, Text, Texts};
use crate::items::done;
use crate::table::Call;

/// Texts by names.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct TextMap(pub(super) BTreeMap<String, String>);

impl Lenient for TextMap {
    fn read(value: Value) -> Option<Self> {
        serde_json::from_value(value).ok().map(Self)
    }
}

impl Described for TextMap {
    fn named() -> Cow<'static, str> {
        Cow::Borrowed("TextMap")
    }

    fn described() -> RefOr<Schema> {
        let text: RefOr<Schema> = ObjectBuilder::new().schema_type(Type::String).into();
        ObjectBuilder::new()
            .schema_type(Type::Object)
            .additional_properties(Some(AdditionalProperties::RefOr(text)))
            .into()
    }
}

pub(super) type ByName = Field<TextMap>;
type AttrsToSet = Field<Vec<Object<UserAttrs>>>;
type NamesToRemove = Field<Vec<Object<UserAttrNames>>>;
type TagsOfUsers = Field<Vec<Object<UserTags>>>;

#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
pub(super) struct SetAttrNames {
    /// Names of 1 to 50 bytes by `"0"` to `"9"`.
    #[serde(default)]
    attr_names: ByName,
}

pub(super) async fn set_names(call: Call, body: SetAttrNames) -> Result<Empty, Refusal> {
    let TextMap(names) = body.attr_names.required("AttrNames", BAD)?;
    let bad = || Refusal::new(BAD_ATTR, "attributes have the numbers \"0\" to \"9\"");
    let numbered = |(number, name): (String, String)| match number.as_bytes() {
        [digit @ b'0'..=b'9'] => Ok((digit - b'0', name)),
        _ => Err(bad()),
    };
    let names = names.into_iter().map(numbered).collect::<Result<_, _>>()?;
    done(call.admin.set_attr_names(call.asker.app, names), INTERNAL).await?;
    Ok(Empty {})
}

#[derive(Debug, Deserialize, ToSchema)]
pub(super) struct AttrNamesGet {}

#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
pub(super) struct AttrNames {
    /// By `"0"` to `"9"`.
    attr_names: BTreeMap<String, String>,
}

pub(super) async fn names(call: Call, _: AttrNamesGet) -> Result<AttrNames, Refusal> {
    let app = call.asker.app;
    let names = call.blocking(INTERNAL, move |admin| admin.attr_names(app)).await?;
    Ok(AttrNames { attr_names: names.into_iter().map(|(slot, name)| (slot.to_string(), name)).collect() })
}

#[derive(Debug, Clone, PartialEq, Deserialize, ToSchema)]
struct UserAttrs {
    #[serde(default, rename = "To_Account")]
    user: Text,
    /// Values of 1 to 50 bytes by names.
    #[serde(default, rename = "Attrs")]
    attrs: ByName,
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
pub(super) struct SetAttrs {
    /// At most 100.
    #[serde(default)]
    user_attrs: AttrsToSet,
}

pub(super) async fn set(call: Call, body: SetAttrs) -> Result<Empty, Refusal> {
    let one = |UserAttrs { user, attrs }| {
        let user = user.required("To_Account", BAD)?;
        let TextMap(attrs) = attrs.required("Attrs", BAD_ATTR)?;
        Ok(AttrsOf { user, attrs })
    };
    let changes = listed(body.user_attrs, "UserAttrs", one)?;
    done(call.admin.set_attrs(call.asker.app, changes), INTERNAL).await?;
    Ok(Empty {})
}

#[derive(Debug, Deserialize, ToSchema)]
pub(super) struct NamedUsers {
    /// 1 to 100.
    #[serde(default, rename = "To_Account")]
    users: Texts,
}

impl NamedUsers {
    fn read(self) -> Result<Vec<String>, Refusal> {
        let users = self.users.required("To_Account", BAD)?;
        match users.is_empty() {
            true => Err(Refusal::new(BAD, "To_Account names nobody")),
            false => Ok(users),
        }
    }
}

#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
pub(super) struct FoundAttrs {
    user_attrs: Vec<FoundAttrsOf>,
}

#[derive(Debug, Serialize, ToSchema)]
struct FoundAttrsOf {
    #[serde(rename = "To_Account")]
    user: String,
    #[serde(rename = "Attrs")]
    attrs: BTreeMap<String, String>,
}

pub(super) async fn get(call: Call, body: NamedUsers) -> Result<FoundAttrs, Refusal> {
    let (app, users) = (call.asker.app, body.read()?);
    let found = call.blocking(INTERNAL, move |admin| admin.attrs(app, &users)).await?;
    let user_attrs = found.into_iter().map(|AttrsOf { user, attrs }| FoundAttrsOf { user, attrs }).collect();
    Ok(FoundAttrs { user_attrs })
}

#[derive(Debug, Clone, PartialEq, Deserialize, ToSchema)]
struct UserAttrNames {
    #[serde(default, rename = "To_Account")]
    user: Text,
    /// Names.
    #[serde(default, rename = "Attrs")]
    attrs: Texts,
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
pub(super) struct RemoveAttrs {
    /// At most 100.
    #[serde(default)]
    user_attrs: NamesToRemove,
}

pub(super) async fn remove(call: Call, body: RemoveAttrs) -> Result<Empty, Refusal> {
    let one = |UserAttrNames { user, attrs }| {
        let user = user.required("To_Account", BAD)?;
        Ok(NamesOf { user, names: attrs.required("Attrs", BAD_ATTR)? })
    };
    let changes = listed(body.user_attrs, "UserAttrs", one)?;
    done(call.admin.remove_attrs(call.asker.app, changes), INTERNAL).await?;
    Ok(Empty {})
}

#[derive(Debug, Clone, PartialEq, Deserialize, ToSchema)]
struct UserTags {
    #[serde(default, rename = "To_Account")]
    user: Text,
    /// At most 10, of 1 to 50 bytes.
    #[serde(default, rename = "Tags")]
    tags: Texts,
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
pub(super) struct ChangeTags {
    /// At most 100.
    #[serde(default)]
    user_tags: TagsOfUsers,
}

impl ChangeTags {
    fn read(self) -> Result<Vec<NamesOf>, Refusal> {
        let one = |UserTags { user, tags }| {
            let user = user.required("To_Account", BAD)?;
            Ok(NamesOf { user, names: tags.required("Tags", BAD)? })
        };
        listed(self.user_tags, "UserTags", one)
    }
}

pub(super) async fn add_tags(call: Call, body: ChangeTags) -> Result<Empty, Refusal> {
    done(call.admin.add_tags(call.asker.app, body.read()?), INTERNAL).await?;
    Ok(Empty {})
}

#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
pub(super) struct FoundTags {
    user_tags: Vec<FoundTagsOf>,
}

#[derive(Debug, Serialize, ToSchema)]
struct FoundTagsOf {
    #[serde(rename = "To_Account")]
    user: String,
    #[serde(rename = "Tags")]
    tags: Vec<String>,
}

pub(super) async fn tags(call: Call, body: NamedUsers) -> Result<FoundTags, Refusal> {
    let (app, users) = (call.asker.app, body.read()?);
    let found = call.blocking(INTERNAL, move |admin| admin.tags(app, &users)).await?;
    let user_tags =
        found.into_iter().map(|NamesOf { user, names }| FoundTagsOf { user, tags: names }).collect();
    Ok(FoundTags { user_tags })
}

pub(super) async fn remove_tags(call: Call, body: ChangeTags) -> Result<Empty, Refusal> {
    done(call.admin.remove_tags(call.asker.app, body.read()?), INTERNAL).await?;
    Ok(Empty {})
}

pub(super) async fn clear_tags(call: Call, body: NamedUsers) -> Result<Empty, Refusal> {
    done(call.admin.clear_tags(call.asker.app, body.read()?), INTERNAL).await?;
    Ok(Empty {})
}

/// What is asked for each user of a list that names somebody.
fn listed<T, R>(
    field: Field<Vec<Object<T>>>,
    name: &str,
    one: impl Fn(T) -> Result<R, Refusal>,
) -> Result<Vec<R>, Refusal> {
    let items = field.required(name, BAD)?;
    match items.is_empty() {
        true => Err(Refusal::new(BAD, format!("{name} names nobody"))),
        false => items.into_iter().map(|Object(item)| one(item)).collect(),
    }
}
