//! Mutes and bans.

use nearport_chat::group::Penalty;
use nearport_wire::body::{self, group_call::Call as GroupCall};
use nearport_wire::code::group as code;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::shape::{GroupOnly, Number, group_id, until};
use super::{bad, done};
use crate::answer::{Empty, Refusal};
use crate::field::{Text, Texts};
use crate::service::GROUPS;
use crate::table::{Call, Command, command};

const BAD: u32 = code::BAD_PARAMETER;
const BANNED_PAGE_MAX: u32 = 100;

pub(super) fn commands() -> Vec<Command> {
    vec![
        command(GROUPS, "forbid_send_msg", 200, "Mutes users of a group, or ends it", mute),
        command(GROUPS, "get_group_shutted_uin", 200, "Who is muted", muted),
        command(GROUPS, "get_group_muted_account", 200, "Who is muted, by its newer name", muted_newer),
        command(GROUPS, "ban_group_member", 200, "Removes users and keeps them out", ban),
        command(GROUPS, "unban_group_member", 200, "Ends bans", unban),
        command(GROUPS, "get_group_ban_member", 200, "Who is banned", banned),
    ]
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
struct MuteMembers {
    #[serde(default)]
    group_id: Text,
    #[serde(default, rename = "Members_Account")]
    accounts: Texts,
    /// Seconds; 0: not muted any more; 4294967295: for ever.
    #[serde(default)]
    shut_up_time: Number,
    #[serde(default)]
    mute_time: Number,
}

async fn mute(call: Call, body: MuteMembers) -> Result<Empty, Refusal> {
    let mute = body::GroupMute {
        group: group_id(body.group_id)?,
        users: body.accounts.required("Members_Account", BAD)?,
        seconds: body.shut_up_time.or(body.mute_time).required("ShutUpTime", BAD)?,
    };
    done(&call, GroupCall::Mute(mute)).await
}

#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
struct MutedMembers {
    group_id: String,
    shutted_uin_list: Vec<MutedMember>,
}

/// Somebody who is muted.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
struct MutedMember {
    #[serde(rename = "Member_Account")]
    account: String,
    shutted_until: u64,
}

async fn muted(call: Call, body: GroupOnly) -> Result<MutedMembers, Refusal> {
    let group_id = group_id(body.group_id)?;
    let all = penalties(&call, &group_id, Penalty::Mute).await?;
    let item = |(account, until_s)| MutedMember { account, shutted_until: until(until_s) };
    Ok(MutedMembers { group_id, shutted_uin_list: all.into_iter().map(item).collect() })
}

#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
struct MutedAccounts {
    group_id: String,
    muted_account_list: Vec<MutedAccount>,
}

/// Somebody who is muted.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
struct MutedAccount {
    #[serde(rename = "Member_Account")]
    account: String,
    muted_until: u64,
}

async fn muted_newer(call: Call, body: GroupOnly) -> Result<MutedAccounts, Refusal> {
    let group_id = group_id(body.group_id)?;
    let all = penalties(&call, &group_id, Penalty::Mute).await?;
    let item = |(account, until_s)| MutedAccount { account, muted_until: until(until_s) };
    Ok(MutedAccounts { group_id, muted_account_list: all.into_iter().map(item).collect() })
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
struct BanMembers {
    #[serde(default)]
    group_id: Text,
    #[serde(default, rename = "Members_Account")]
    accounts: Texts,
    /// Seconds.
    #[serde(default)]
    duration: Number,
    #[serde(default)]
    description: Text,
}

async fn ban(call: Call, body: BanMembers) -> Result<Empty, Refusal> {
    let ban = body::GroupBan {
        group: group_id(body.group_id)?,
        users: body.accounts.required("Members_Account", BAD)?,
        seconds: body.duration.required("Duration", BAD)?,
        reason: body.description.optional("Description", BAD)?.unwrap_or_default(),
    };
    done(&call, GroupCall::Ban(ban)).await
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
struct UnbanMembers {
    #[serde(default)]
    group_id: Text,
    #[serde(default, rename = "Members_Account")]
    accounts: Texts,
}

async fn unban(call: Call, body: UnbanMembers) -> Result<Empty, Refusal> {
    let (group, users) = (group_id(body.group_id)?, body.accounts.required("Members_Account", BAD)?);
    done(&call, GroupCall::Unban(body::GroupAccounts { group, users })).await
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
struct BannedPage {
    #[serde(default)]
    group_id: Text,
    #[serde(default)]
    limit: Number,
    #[serde(default)]
    offset: Number,
}

#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
struct BannedMembers {
    banned_account_list: Vec<BannedMember>,
    /// 0: that was all.
    next_offset: usize,
}

/// Somebody who is banned.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
struct BannedMember {
    #[serde(rename = "Member_Account")]
    account: String,
    banned_until: u64,
}

async fn banned(call: Call, body: BannedPage) -> Result<BannedMembers, Refusal> {
    let limit = match body.limit.optional("Limit", BAD)? {
        None | Some(0) => BANNED_PAGE_MAX as usize,
        Some(limit) if limit <= BANNED_PAGE_MAX => limit as usize,
        Some(_) => return Err(bad("Limit is at most 100")),
    };
    let offset = body.offset.required("Offset", BAD)? as usize;
    let all = penalties(&call, &group_id(body.group_id)?, Penalty::Ban).await?;
    let next = offset.saturating_add(limit);
    let next_offset = if next < all.len() { next } else { 0 };
    let item = |(account, until_s)| BannedMember { account, banned_until: until(until_s) };
    let banned_account_list = all.into_iter().skip(offset).take(limit).map(item).collect();
    Ok(BannedMembers { banned_account_list, next_offset })
}

async fn penalties(call: &Call, group: &str, what: Penalty) -> Result<Vec<(String, u64)>, Refusal> {
    let (app, group) = (call.asker.app, group.to_owned());
    call.blocking(code::INTERNAL, move |admin| admin.group_penalties(app, &group, what)).await
}
