//! Parts of requests and answers that several commands have.

use std::collections::BTreeSet;

use nearport_chat::admin::ListedMember;
use nearport_wire::body::{GroupField, GroupJoinOption, GroupReception, GroupRole};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::bad;
use crate::answer::Refusal;
use crate::field::{Field, Object, Text, Texts};

const BAD: u32 = nearport_wire::code::group::BAD_PARAMETER;

// Names without parameters, for the derive of `ToSchema`.

/// A number.
pub(super) type Number = Field<u32>;
/// A number of 64 bits.
pub(super) type BigNumber = Field<u64>;
/// A number with a sign.
pub(super) type Signed = Field<i64>;
/// Custom fields of a request.
pub(super) type DefinedFields = Field<Vec<Object<DefinedField>>>;
/// Accounts as objects.
pub(super) type MemberItems = Field<Vec<Object<MemberItem>>>;

#[derive(Debug, Clone, PartialEq, Deserialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
pub(super) struct DefinedField {
    #[serde(default)]
    pub(super) key: Text,
    #[serde(default)]
    pub(super) value: Text,
}

#[derive(Debug, Clone, PartialEq, Deserialize, ToSchema)]
pub(super) struct MemberItem {
    #[serde(default, rename = "Member_Account")]
    pub(super) account: Text,
}

/// A request that names a group, and nothing else.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
pub(super) struct GroupOnly {
    #[serde(default)]
    pub(super) group_id: Text,
}

/// `GroupId`.
pub(super) fn group_id(field: Text) -> Result<String, Refusal> {
    field.required("GroupId", BAD)
}

pub(super) fn fields(field: DefinedFields, name: &str) -> Result<Vec<GroupField>, Refusal> {
    let fields = field.optional(name, BAD)?.unwrap_or_default();
    let read = fields.into_iter().map(|Object(field)| {
        let key = field.key.required("Key", BAD)?;
        Ok(GroupField {
            key,
            value: field.value.optional("Value", BAD)?.unwrap_or_default().into_bytes().into(),
        })
    });
    read.collect()
}

/// The accounts of a list of objects.
pub(super) fn accounts(items: MemberItems, name: &str) -> Result<Vec<String>, Refusal> {
    let items = items.required(name, BAD)?;
    items.into_iter().map(|Object(item)| item.account.required("Member_Account", BAD)).collect()
}

/// A custom field of an answer. Values are text as REST has it; bytes that are none show as U+FFFD.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
pub(super) struct ShownField {
    key: String,
    value: String,
}

/// The fields of these keys; `None`: all.
pub(super) fn shown_fields(fields: Vec<GroupField>, wanted: Option<&BTreeSet<String>>) -> Vec<ShownField> {
    let wanted = fields.into_iter().filter(|field| wanted.is_none_or(|wanted| wanted.contains(&field.key)));
    wanted
        .map(|GroupField { key, value }| ShownField {
            key,
            value: String::from_utf8_lossy(&value).into_owned(),
        })
        .collect()
}

/// Which fields an answer has; `None`: all.
#[derive(Debug, Clone, Default)]
pub(super) struct Wanted(pub(super) Option<BTreeSet<String>>);

impl Wanted {
    /// Those that a filter names; all if it is absent.
    pub(super) fn of(field: Texts, name: &str) -> Result<Self, Refusal> {
        Ok(Self(field.optional(name, BAD)?.map(|names| names.into_iter().collect())))
    }

    /// Those that a filter names; none if it is absent.
    pub(super) fn only(field: Texts, name: &str) -> Result<Self, Refusal> {
        Ok(Self(Some(field.optional(name, BAD)?.unwrap_or_default().into_iter().collect())))
    }

    pub(super) fn has(&self, name: &str) -> bool {
        self.0.as_ref().is_none_or(|names| names.contains(name))
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.as_ref().is_some_and(BTreeSet::is_empty)
    }

    /// The value, if it is wanted.
    pub(super) fn get<T>(&self, name: &str, value: T) -> Option<T> {
        self.has(name).then_some(value)
    }
}

/// A member of an answer.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
pub(super) struct ShownMember {
    #[serde(rename = "Member_Account")]
    account: String,
    /// `Owner`, `Admin` or `Member`.
    #[serde(skip_serializing_if = "Option::is_none")]
    role: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    join_time: Option<u64>,
    /// How far the member has read.
    #[serde(skip_serializing_if = "Option::is_none")]
    msg_seq: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    msg_flag: Option<&'static str>,
    /// Of the newest 200 messages; 0: none is the member's.
    #[serde(skip_serializing_if = "Option::is_none")]
    last_send_msg_time: Option<u64>,
    /// 0: not muted; 4294967295: for ever.
    #[serde(skip_serializing_if = "Option::is_none")]
    shut_up_until: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    name_card: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    app_member_defined_data: Option<Vec<ShownField>>,
}

impl ShownMember {
    /// What is wanted of a member. `fields`: which custom ones, `None`: all.
    pub(super) fn of(listed: ListedMember, wanted: &Wanted, fields: Option<&BTreeSet<String>>) -> Self {
        let ListedMember { member, read, last_sent_ms } = listed;
        let all = fields.is_none();
        let data = shown_fields(member.fields.clone(), fields);
        Self {
            role: wanted.get("Role", role(member.role())),
            join_time: wanted.get("JoinTime", member.joined_ms / 1000),
            msg_seq: wanted.get("MsgSeq", read),
            msg_flag: wanted.get("MsgFlag", reception_name(member.reception())),
            last_send_msg_time: wanted.get("LastSendMsgTime", last_sent_ms / 1000),
            shut_up_until: (wanted.has("ShutUpUntil") || wanted.has("MuteUntil"))
                .then(|| until(member.muted_until_s)),
            name_card: wanted.get("NameCard", member.name_card),
            app_member_defined_data: (all || !data.is_empty()).then_some(data),
            account: member.user,
        }
    }
}

/// A second in which something ends, as the contract has it: what never ends is 2^32 - 1.
pub(super) fn until(until_s: u64) -> u64 {
    until_s.min(u64::from(u32::MAX))
}

pub(super) fn role(role: GroupRole) -> &'static str {
    match role {
        GroupRole::None => "NotMember",
        GroupRole::Member => "Member",
        GroupRole::Admin => "Admin",
        GroupRole::Owner => "Owner",
    }
}

pub(super) fn reception_name(reception: GroupReception) -> &'static str {
    match reception {
        GroupReception::Default | GroupReception::Notify => "AcceptAndNotify",
        GroupReception::Quiet => "AcceptNotNotify",
        GroupReception::Discard => "Discard",
    }
}

pub(super) fn reception(name: &str) -> Result<GroupReception, Refusal> {
    match name {
        "AcceptAndNotify" => Ok(GroupReception::Notify),
        "AcceptNotNotify" => Ok(GroupReception::Quiet),
        "Discard" => Ok(GroupReception::Discard),
        _ => Err(bad("MsgFlag is AcceptAndNotify, AcceptNotNotify or Discard")),
    }
}

/// `ApplyJoinOption` or `InviteJoinOption`; absent: as it is.
pub(super) fn join_option(field: Text, name: &str, closed: &str) -> Result<GroupJoinOption, Refusal> {
    match field.optional(name, BAD)?.as_deref() {
        None | Some("") => Ok(GroupJoinOption::GroupJoinDefault),
        Some("FreeAccess") => Ok(GroupJoinOption::GroupJoinFree),
        Some("NeedPermission") => Ok(GroupJoinOption::GroupJoinApproval),
        Some(other) if other == closed => Ok(GroupJoinOption::GroupJoinClosed),
        Some(_) => Err(bad(format!("{name} is FreeAccess, NeedPermission or {closed}"))),
    }
}

pub(super) fn join_option_name(option: GroupJoinOption, closed: &'static str) -> &'static str {
    match option {
        GroupJoinOption::GroupJoinFree => "FreeAccess",
        GroupJoinOption::GroupJoinDefault | GroupJoinOption::GroupJoinApproval => "NeedPermission",
        GroupJoinOption::GroupJoinClosed => closed,
    }
}

/// 0 or 1.
pub(super) fn flag(field: Number, name: &str) -> Result<bool, Refusal> {
    match field.optional(name, BAD)? {
        None | Some(0) => Ok(false),
        Some(1) => Ok(true),
        Some(_) => Err(bad(format!("{name} is 0 or 1"))),
    }
}

/// `On` or `Off`.
pub(super) fn on_off(field: Text, name: &str) -> Result<Option<bool>, Refusal> {
    match field.optional(name, BAD)?.as_deref() {
        None => Ok(None),
        Some("On") => Ok(Some(true)),
        Some("Off") => Ok(Some(false)),
        Some(_) => Err(bad(format!("{name} is On or Off"))),
    }
}
