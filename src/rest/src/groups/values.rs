//! Attributes of live rooms, and counters.

use nearport_wire::body::{
    self, group_answer::Answer, group_attributes_write, group_call::Call as GroupCall, group_counters_write,
};
use nearport_wire::code::group as code;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::shape::{GroupOnly, Signed, group_id};
use super::{ask, bad, done, gone};
use crate::answer::{Empty, Refusal};
use crate::field::{Field, Object, Text, Texts};
use crate::service::{GROUP_ATTRIBUTES, GROUPS};
use crate::table::{Call, Command, command};

const BAD: u32 = code::BAD_PARAMETER;

pub(super) fn commands() -> Vec<Command> {
    vec![
        command(GROUP_ATTRIBUTES, "get_group_attr", 200, "Attributes of a live room", attributes),
        command(GROUPS, "modify_group_attr", 200, "Writes some attributes", merge),
        command(GROUPS, "set_group_attr", 200, "Replaces all attributes", replace),
        command(GROUPS, "clear_group_attr", 200, "Deletes all attributes", clear),
        command(GROUPS, "get_group_counter", 200, "Counters of a group", counters),
        command(GROUPS, "update_group_counter", 200, "Writes counters", update_counters),
        command(GROUPS, "delete_group_counter", 200, "Deletes counters", delete_counters),
    ]
}

/// An attribute.
#[derive(Debug, Serialize, ToSchema)]
struct ShownAttribute {
    key: String,
    value: String,
}

#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
struct GroupAttributes {
    group_attr_ary: Vec<ShownAttribute>,
}

async fn attributes(call: Call, body: GroupOnly) -> Result<GroupAttributes, Refusal> {
    let names = body::GroupAttributeNames { group: group_id(body.group_id)?, keys: Vec::new() };
    let Answer::Attributes(all) = ask(&call, GroupCall::Attributes(names)).await? else { return Err(gone()) };
    let item = |item: body::GroupAttribute| ShownAttribute { key: item.key, value: item.value };
    Ok(GroupAttributes { group_attr_ary: all.items.into_iter().map(item).collect() })
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
struct WriteAttributes {
    #[serde(default)]
    group_id: Text,
    #[serde(default)]
    group_attr: AttributeItems,
}

type AttributeItems = Field<Vec<Object<AttributeItem>>>;

#[derive(Debug, Clone, PartialEq, Deserialize, ToSchema)]
struct AttributeItem {
    #[serde(default)]
    key: Text,
    #[serde(default)]
    value: Text,
}

async fn merge(call: Call, body: WriteAttributes) -> Result<Empty, Refusal> {
    write(call, body, group_attributes_write::How::Merge).await
}

async fn replace(call: Call, body: WriteAttributes) -> Result<Empty, Refusal> {
    write(call, body, group_attributes_write::How::Replace).await
}

async fn write(
    call: Call,
    body: WriteAttributes,
    how: group_attributes_write::How,
) -> Result<Empty, Refusal> {
    let items = body.group_attr.required("GroupAttr", BAD)?;
    let items = items.into_iter().map(|Object(item)| {
        let (key, value) = (item.key.required("key", BAD)?, item.value.required("value", BAD)?);
        Ok(body::GroupAttribute { key, value })
    });
    let write = body::GroupAttributesWrite {
        group: group_id(body.group_id)?,
        how: how.into(),
        items: items.collect::<Result<_, Refusal>>()?,
        version: None,
    };
    done(&call, GroupCall::WriteAttributes(write)).await
}

async fn clear(call: Call, body: GroupOnly) -> Result<Empty, Refusal> {
    let write = body::GroupAttributesWrite {
        group: group_id(body.group_id)?,
        how: group_attributes_write::How::Clear.into(),
        ..Default::default()
    };
    done(&call, GroupCall::WriteAttributes(write)).await
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
struct CounterNames {
    #[serde(default)]
    group_id: Text,
    /// Absent: all.
    #[serde(default)]
    group_counter_keys: Texts,
}

/// A counter.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
struct ShownCounter {
    key: String,
    value: i64,
}

#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
struct GroupCounters {
    group_counter: Vec<ShownCounter>,
}

impl GroupCounters {
    fn of(answer: Answer) -> Result<Self, Refusal> {
        let Answer::Counters(counters) = answer else { return Err(gone()) };
        let item = |item: body::GroupCounter| ShownCounter { key: item.key, value: item.value };
        Ok(Self { group_counter: counters.items.into_iter().map(item).collect() })
    }
}

async fn counters(call: Call, body: CounterNames) -> Result<GroupCounters, Refusal> {
    let keys = body.group_counter_keys.optional("GroupCounterKeys", BAD)?.unwrap_or_default();
    let names = body::GroupAttributeNames { group: group_id(body.group_id)?, keys };
    GroupCounters::of(ask(&call, GroupCall::Counters(names)).await?)
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
struct UpdateCounters {
    #[serde(default)]
    group_id: Text,
    #[serde(default)]
    group_counter: CounterItems,
    /// `Set` (if absent), `Increase` or `Decrease`.
    #[serde(default)]
    mode: Text,
}

type CounterItems = Field<Vec<Object<CounterItem>>>;

#[derive(Debug, Clone, PartialEq, Deserialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
struct CounterItem {
    #[serde(default)]
    key: Text,
    #[serde(default)]
    value: Signed,
}

async fn update_counters(call: Call, body: UpdateCounters) -> Result<GroupCounters, Refusal> {
    use group_counters_write::How;
    let how = match body.mode.optional("Mode", BAD)?.as_deref() {
        None | Some("Set") => How::Set,
        Some("Increase") => How::Increase,
        Some("Decrease") => How::Decrease,
        Some(_) => return Err(bad("Mode is Set, Increase or Decrease")),
    };
    let items = body.group_counter.required("GroupCounter", BAD)?;
    let items = items.into_iter().map(|Object(item)| {
        let (key, value) = (item.key.required("Key", BAD)?, item.value.required("Value", BAD)?);
        Ok(body::GroupCounter { key, value })
    });
    let write = body::GroupCountersWrite {
        group: group_id(body.group_id)?,
        how: how.into(),
        items: items.collect::<Result<_, Refusal>>()?,
    };
    GroupCounters::of(ask(&call, GroupCall::WriteCounters(write)).await?)
}

async fn delete_counters(call: Call, body: CounterNames) -> Result<Empty, Refusal> {
    let keys = body.group_counter_keys.optional("GroupCounterKeys", BAD)?.unwrap_or_default();
    let items = keys.into_iter().map(|key| body::GroupCounter { key, value: 0 }).collect();
    let how = group_counters_write::How::Delete.into();
    let write = body::GroupCountersWrite { group: group_id(body.group_id)?, how, items };
    done(&call, GroupCall::WriteCounters(write)).await
}
