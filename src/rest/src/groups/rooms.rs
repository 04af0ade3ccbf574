//! Live rooms: who is there.

use nearport_wire::code::group as code;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::bad;
use super::shape::{BigNumber, GroupOnly, Number, group_id};
use crate::answer::Refusal;
use crate::field::{Field, Object, Text};
use crate::service::{GROUPS, LIVE_ROOMS};
use crate::table::{Call, Command, command};

const BAD: u32 = code::BAD_PARAMETER;
/// Accounts of one call.
const MARKED_MAX: usize = 500;

pub(super) fn commands() -> Vec<Command> {
    vec![
        command(GROUPS, "get_online_member_num", 200, "How many are in a live room", online),
        command(LIVE_ROOMS, "get_members", 200, "Who is in a live room", members),
        command(LIVE_ROOMS, "modify_user_info", 200, "Sets or takes marks of users", mark),
    ]
}

#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
struct OnlineMembers {
    online_member_num: u32,
}

async fn online(call: Call, body: GroupOnly) -> Result<OnlineMembers, Refusal> {
    let (app, group) = (call.asker.app, group_id(body.group_id)?);
    let online_member_num =
        call.blocking(code::INTERNAL, move |admin| admin.online_in_room(app, &group)).await?;
    Ok(OnlineMembers { online_member_num })
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
struct RoomMembersOf {
    #[serde(default)]
    group_id: Text,
    /// 0, then as the answer before said.
    #[serde(default)]
    timestamp: BigNumber,
    /// Only those with this mark.
    #[serde(default)]
    mark: Number,
}

#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
struct RoomMembers {
    member_list: Vec<RoomMember>,
    /// 0: that was all.
    next_timestamp: u64,
}

/// Somebody who is in a room.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
struct RoomMember {
    #[serde(rename = "Member_Account")]
    account: String,
    join_time: u64,
    nick_name: String,
    avatar: String,
}

async fn members(call: Call, body: RoomMembersOf) -> Result<RoomMembers, Refusal> {
    let (app, group) = (call.asker.app, group_id(body.group_id)?);
    let from = body.timestamp.required("Timestamp", BAD)?;
    let mark = body.mark.optional("Mark", BAD)?.filter(|mark| *mark > 0);
    let (members, next_timestamp) =
        call.blocking(code::INTERNAL, move |admin| admin.room_members(app, &group, from, mark)).await?;
    let item = |member: nearport_chat::admin::RoomMember| RoomMember {
        account: member.user,
        join_time: member.joined_ms / 1000,
        nick_name: member.nick,
        avatar: member.face_url,
    };
    Ok(RoomMembers { member_list: members.into_iter().map(item).collect(), next_timestamp })
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
struct MarkMembers {
    #[serde(default)]
    group_id: Text,
    /// 1: set; 2: take.
    #[serde(default)]
    command_type: Number,
    #[serde(default)]
    member_list: MarkedItems,
}

type MarkedItems = Field<Vec<Object<MarkedItem>>>;
type Marks = Field<Vec<u32>>;

#[derive(Debug, Clone, PartialEq, Deserialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
struct MarkedItem {
    #[serde(default, rename = "Member_Account")]
    account: Text,
    #[serde(default)]
    marks: Marks,
}

#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
struct MarkedMembers {
    command_type: u32,
    /// Those who are in the room.
    member_list: Vec<MarkedMember>,
}

/// Somebody whose marks were changed.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
struct MarkedMember {
    #[serde(rename = "Member_Account")]
    account: String,
    marks: Vec<u32>,
}

async fn mark(call: Call, body: MarkMembers) -> Result<MarkedMembers, Refusal> {
    let (app, group) = (call.asker.app, group_id(body.group_id)?);
    let command_type = body.command_type.required("CommandType", BAD)?;
    let set = match command_type {
        1 => true,
        2 => false,
        _ => return Err(bad("CommandType is 1 or 2")),
    };
    let items = body.member_list.required("MemberList", BAD)?;
    if items.is_empty() {
        return Err(bad("MemberList names nobody"));
    }
    if items.len() > MARKED_MAX {
        return Err(Refusal::new(code::TOO_MANY_ACCOUNTS, "at most 500 accounts in one call"));
    }
    let users = items.into_iter().map(|Object(item)| {
        Ok((item.account.required("Member_Account", BAD)?, item.marks.required("Marks", BAD)?))
    });
    let users = users.collect::<Result<Vec<_>, Refusal>>()?;
    let asked = users.clone();
    let marked =
        call.blocking(code::INTERNAL, move |admin| admin.mark_in_room(app, &group, set, &asked)).await?;
    if marked.is_empty() {
        return Err(bad("none of the accounts is in the room"));
    }
    let member_list = users
        .into_iter()
        .filter(|(account, _)| marked.contains(account))
        .map(|(account, marks)| MarkedMember { account, marks })
        .collect();
    Ok(MarkedMembers { command_type, member_list })
}
