//! Lists of groups: of the App, and of a user.

use nearport_chat::admin::{JoinedQuery, ListFrom};
use nearport_wire::code::group as code;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::bad;
use super::profile::ShownBase;
use super::shape::{BigNumber, Number, Wanted, flag, reception_name, role};
use crate::answer::Refusal;
use crate::field::{Field, Object, Text, Texts};
use crate::service::GROUPS;
use crate::table::{Call, Command, command};

const BAD: u32 = code::BAD_PARAMETER;
const LIST_MAX: u32 = 10_000;
const JOINED_MAX: u32 = 5000;

pub(super) fn commands() -> Vec<Command> {
    vec![
        command(GROUPS, "get_appid_group_list", 1, "Ids of all groups of the App", of_app),
        command(GROUPS, "get_joined_group_list", 200, "Groups of a user", joined),
    ]
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
struct GroupsOfApp {
    #[serde(default)]
    limit: Number,
    /// 0, then as the answer before said.
    #[serde(default)]
    next: BigNumber,
    #[serde(default)]
    group_type: Text,
}

/// An id.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
struct GroupIdItem {
    group_id: String,
}

#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
struct GroupIds {
    total_count: u64,
    group_id_list: Vec<GroupIdItem>,
    /// 0: that was all.
    next: u64,
}

async fn of_app(call: Call, body: GroupsOfApp) -> Result<GroupIds, Refusal> {
    let limit = limit(body.limit, LIST_MAX)?;
    let from = ListFrom(body.next.optional("Next", BAD)?.unwrap_or_default());
    let kind = body.group_type.optional("GroupType", BAD)?.filter(|kind| !kind.is_empty());
    let app = call.asker.app;
    let list = call
        .blocking(code::INTERNAL, move |admin| admin.list_groups(app, kind.as_deref(), from, limit))
        .await?;
    Ok(GroupIds {
        total_count: list.total,
        group_id_list: list.ids.into_iter().map(|group_id| GroupIdItem { group_id }).collect(),
        next: list.next.unwrap_or_default().0,
    })
}

/// `Limit`: absent or 0 is the most that there may be.
fn limit(field: Field<u32>, max: u32) -> Result<usize, Refusal> {
    match field.optional("Limit", BAD)? {
        None | Some(0) => Ok(max as usize),
        Some(limit) if limit <= max => Ok(limit as usize),
        Some(_) => Err(bad(format!("Limit is at most {max}"))),
    }
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
struct JoinedGroups {
    #[serde(default, rename = "Member_Account")]
    account: Text,
    /// 1: with live rooms that the user is in now.
    #[serde(default)]
    with_huge_groups: Number,
    /// 1: with Work groups that have had no message.
    #[serde(default)]
    with_no_active_groups: Number,
    #[serde(default)]
    limit: Number,
    #[serde(default)]
    offset: Number,
    #[serde(default)]
    group_type: Text,
    #[serde(default)]
    response_filter: JoinedFilters,
}

type JoinedFilters = Field<Object<JoinedFilter>>;

#[derive(Debug, Clone, PartialEq, Deserialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
struct JoinedFilter {
    #[serde(default)]
    group_base_info_filter: Texts,
    #[serde(default)]
    self_info_filter: Texts,
}

#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
struct JoinedList {
    total_count: u32,
    group_id_list: Vec<JoinedItem>,
}

/// A group of a user.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
struct JoinedItem {
    group_id: String,
    #[serde(flatten)]
    base: ShownBase,
    #[serde(skip_serializing_if = "Option::is_none")]
    self_info: Option<SelfInfo>,
}

/// How a user stands to a group.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
struct SelfInfo {
    #[serde(skip_serializing_if = "Option::is_none")]
    role: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    join_time: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    msg_flag: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    msg_seq: Option<u64>,
}

async fn joined(call: Call, body: JoinedGroups) -> Result<JoinedList, Refusal> {
    let filter = body.response_filter.optional("ResponseFilter", BAD)?;
    let (base, own) = match filter {
        None => (Wanted(Some(Default::default())), Wanted(Some(Default::default()))),
        Some(Object(filter)) => (
            Wanted::only(filter.group_base_info_filter, "GroupBaseInfoFilter")?,
            Wanted::only(filter.self_info_filter, "SelfInfoFilter")?,
        ),
    };
    let query = JoinedQuery {
        user: body.account.required("Member_Account", BAD)?,
        kind: body.group_type.optional("GroupType", BAD)?.filter(|kind| !kind.is_empty()),
        rooms: flag(body.with_huge_groups, "WithHugeGroups")?,
        inactive: flag(body.with_no_active_groups, "WithNoActiveGroups")?,
        offset: body.offset.optional("Offset", BAD)?.unwrap_or_default() as usize,
        limit: limit(body.limit, JOINED_MAX)?,
        profiles: !base.is_empty() || !own.is_empty(),
    };
    let asker = call.asker.clone();
    let page = call.blocking(code::INTERNAL, move |admin| admin.joined_groups(&asker, &query)).await?;
    let item = |joined: nearport_chat::admin::Joined| {
        let self_info = (!own.is_empty()).then(|| {
            let stands = joined.info.own.clone().unwrap_or_default();
            SelfInfo {
                role: own.get("Role", role(stands.role())),
                join_time: own.get("JoinTime", stands.joined_ms / 1000),
                msg_flag: own.get("MsgFlag", reception_name(stands.reception())),
                msg_seq: own.get("MsgSeq", joined.read),
            }
        });
        JoinedItem { group_id: joined.info.group.clone(), base: ShownBase::of(joined.info, &base), self_info }
    };
    Ok(JoinedList { total_count: page.total, group_id_list: page.groups.into_iter().map(item).collect() })
}
