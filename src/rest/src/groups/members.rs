//! Members.

use nearport_chat::Failure;
use nearport_chat::admin::{Admin, Asker, ListedMember, MemberQuery};
use nearport_chat::group::MemberPlace;
use nearport_wire::body::{self, GroupRole, group_answer::Answer, group_call::Call as GroupCall};
use nearport_wire::code::group as code;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use super::shape::{
    DefinedFields, MemberItems, Number, ShownMember, Wanted, accounts, fields, flag, group_id, reception,
    role,
};
use super::{ask, bad, done, gone};
use crate::answer::{Empty, Refusal};
use crate::field::{Field, Text, Texts};
use crate::items::Anything;
use crate::service::GROUPS;
use crate::table::{Call, Command, command};

const BAD: u32 = code::BAD_PARAMETER;
/// Members of one page of `get_group_member_info`.
const PAGE_MAX: u32 = 6000;

pub(super) fn commands() -> Vec<Command> {
    vec![
        command(GROUPS, "get_group_member_info", 200, "Members of a group", list),
        command(GROUPS, "add_group_member", 200, "Adds members", add),
        command(GROUPS, "delete_group_member", 200, "Removes members", remove),
        command(GROUPS, "modify_group_member_info", 200, "Changes a member", modify),
        command(GROUPS, "get_role_in_group", 200, "What users are in a group", roles),
    ]
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
struct GroupMemberInfo {
    #[serde(default)]
    group_id: Text,
    #[serde(default)]
    member_info_filter: Texts,
    #[serde(default)]
    member_role_filter: Texts,
    #[serde(default, rename = "AppDefinedDataFilter_GroupMember")]
    member_fields: Texts,
    /// Absent: all.
    #[serde(default)]
    limit: Number,
    #[serde(default)]
    offset: Number,
    /// Of communities, instead of `Offset`: "" or 0, then as the answer before said.
    #[serde(default)]
    next: Anything,
}

#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
struct GroupMemberList {
    /// Members of the group.
    member_num: u32,
    member_list: Vec<ShownMember>,
    /// Of communities; "": that was all.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<String>,
}

/// What stands before a name in `Next`: a user may be called 0.
const BEHIND: &str = "after:";

async fn list(call: Call, body: GroupMemberInfo) -> Result<GroupMemberList, Refusal> {
    let wanted = Wanted::of(body.member_info_filter, "MemberInfoFilter")?;
    let custom = match (&wanted.0, body.member_fields) {
        // With a filter of fields that says nothing of custom ones there are none.
        (Some(_), Field::Absent) => Wanted(Some(Default::default())),
        (_, named) => Wanted::of(named, "AppDefinedDataFilter_GroupMember")?,
    };
    let offset = body.offset.optional("Offset", BAD)?.unwrap_or_default() as usize;
    let place = match body.next.optional("Next", BAD)? {
        None => MemberPlace::Offset(offset),
        Some(Value::Number(number)) if number.as_u64() == Some(0) => MemberPlace::Offset(offset),
        Some(Value::String(text)) if text.is_empty() || text == "0" => MemberPlace::Offset(offset),
        Some(Value::String(text)) => match text.strip_prefix(BEHIND) {
            Some(name) => MemberPlace::After(name.to_owned()),
            None => return Err(bad("Next is not what an answer said")),
        },
        Some(_) => return Err(bad("Next is not what an answer said")),
    };
    let limit = match body.limit.optional("Limit", BAD)? {
        None | Some(0) => usize::MAX,
        Some(limit) if limit <= PAGE_MAX => limit as usize,
        Some(_) => return Err(bad("Limit is at most 6000")),
    };
    let roles = body.member_role_filter.optional("MemberRoleFilter", BAD)?.unwrap_or_default();
    let roles = roles.iter().map(|name| match name.as_str() {
        "Owner" => Ok(GroupRole::Owner),
        "Admin" => Ok(GroupRole::Admin),
        "Member" => Ok(GroupRole::Member),
        _ => Err(bad("MemberRoleFilter names Owner, Admin and Member")),
    });
    let query = MemberQuery {
        group: group_id(body.group_id)?,
        roles: roles.collect::<Result<_, _>>()?,
        place,
        limit,
        read: wanted.has("MsgSeq"),
        last_sent: wanted.has("LastSendMsgTime"),
    };
    let asker = call.asker.clone();
    let page = call.blocking(code::INTERNAL, move |admin| admin.group_members(&asker, &query)).await?;
    let last = page.members.last().filter(|_| page.more).map(|last| format!("{BEHIND}{}", last.member.user));
    Ok(GroupMemberList {
        member_num: page.total,
        next: page.community.then(|| last.unwrap_or_default()),
        member_list: page
            .members
            .into_iter()
            .map(|listed| ShownMember::of(listed, &wanted, custom.0.as_ref()))
            .collect(),
    })
}

/// The first members of a group for `get_group_info`. `None`: a live room, whose members are not stored.
pub(super) fn first(
    admin: &Admin,
    asker: &Asker,
    group: &str,
    wanted: &Wanted,
    limit: usize,
) -> Result<Option<Vec<ListedMember>>, Failure> {
    let query = MemberQuery {
        group: group.to_owned(),
        roles: Vec::new(),
        place: MemberPlace::Offset(0),
        limit,
        read: wanted.has("MsgSeq"),
        last_sent: wanted.has("LastSendMsgTime"),
    };
    match admin.group_members(asker, &query) {
        Ok(page) => Ok(Some(page.members)),
        Err(failure) if matches!(failure.code, code::NO_PERMISSION | code::GONE) => Ok(None),
        Err(failure) => Err(failure),
    }
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
struct AddMembers {
    #[serde(default)]
    group_id: Text,
    #[serde(default)]
    member_list: MemberItems,
    /// 1: nobody is told.
    #[serde(default)]
    silence: Number,
}

/// What became of each account.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
pub(super) struct MemberResults {
    pub(super) member_list: Vec<MemberResult>,
}

/// What became of an account.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
pub(super) struct MemberResult {
    #[serde(rename = "Member_Account")]
    account: String,
    /// 0 failed, 1 added, 2 was a member, 3 waits for the invitee.
    result: i32,
}

impl MemberResults {
    pub(super) fn of(invited: body::GroupInvited) -> Self {
        let result = |item: body::GroupInviteItem| MemberResult { result: item.result, account: item.user };
        Self { member_list: invited.items.into_iter().map(result).collect() }
    }
}

async fn add(call: Call, body: AddMembers) -> Result<MemberResults, Refusal> {
    let users = accounts(body.member_list, "MemberList")?;
    let invite = body::GroupInvite {
        group: group_id(body.group_id)?,
        users: users.clone(),
        text: String::new(),
        silent: flag(body.silence, "Silence")?,
    };
    let Answer::Invited(invited) = ask(&call, GroupCall::Invite(invite)).await? else { return Err(gone()) };
    if invited.items.iter().all(|item| item.result == body::GroupInviteResult::GroupInviteFailed as i32) {
        let app = call.asker.app;
        let exist = call.blocking(code::INTERNAL, move |admin| admin.accounts_exist(app, &users)).await?;
        if exist.iter().all(|exists| !exists) {
            return Err(Refusal::new(code::NO_ACCOUNT, "none of the accounts exists"));
        }
    }
    Ok(MemberResults::of(invited))
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
struct RemoveMembers {
    #[serde(default)]
    group_id: Text,
    #[serde(default, rename = "MemberToDel_Account")]
    accounts: Texts,
    /// 1: only who is removed is told.
    #[serde(default)]
    silence: Number,
    #[serde(default)]
    reason: Text,
}

async fn remove(call: Call, body: RemoveMembers) -> Result<Empty, Refusal> {
    let kick = body::GroupKick {
        group: group_id(body.group_id)?,
        users: body.accounts.required("MemberToDel_Account", BAD)?,
        reason: body.reason.optional("Reason", BAD)?.unwrap_or_default(),
        silent: flag(body.silence, "Silence")?,
    };
    done(&call, GroupCall::Kick(kick)).await
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
struct ModifyMember {
    #[serde(default)]
    group_id: Text,
    #[serde(default, rename = "Member_Account")]
    account: Text,
    /// `Admin` or `Member`.
    #[serde(default)]
    role: Text,
    #[serde(default)]
    msg_flag: Text,
    #[serde(default)]
    name_card: Text,
    #[serde(default)]
    app_member_defined_data: DefinedFields,
    /// Seconds; 0: not muted any more.
    #[serde(default)]
    shut_up_time: Number,
    #[serde(default)]
    mute_time: Number,
}

async fn modify(call: Call, body: ModifyMember) -> Result<Empty, Refusal> {
    let role = match body.role.optional("Role", BAD)?.as_deref() {
        None | Some("") => GroupRole::None,
        Some("Admin") => GroupRole::Admin,
        Some("Member") => GroupRole::Member,
        Some(_) => return Err(bad("Role is Admin or Member")),
    };
    let flag = body.msg_flag.optional("MsgFlag", BAD)?.filter(|flag| !flag.is_empty());
    let flag = flag.map(|flag| reception(&flag)).transpose()?.unwrap_or_default();
    let edit = body::GroupMemberEdit {
        group: group_id(body.group_id)?,
        user: body.account.required("Member_Account", BAD)?,
        role: role.into(),
        name_card: body.name_card.optional("NameCard", BAD)?,
        reception: flag.into(),
        mute_s: body.shut_up_time.or(body.mute_time).optional("ShutUpTime", BAD)?,
        fields: fields(body.app_member_defined_data, "AppMemberDefinedData")?,
    };
    done(&call, GroupCall::EditMember(edit)).await
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
struct RolesOf {
    #[serde(default)]
    group_id: Text,
    #[serde(default, rename = "User_Account")]
    accounts: Texts,
}

#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
struct RoleList {
    user_id_list: Vec<RoleItem>,
}

/// What a user is.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
struct RoleItem {
    #[serde(rename = "Member_Account")]
    account: String,
    /// `Owner`, `Admin`, `Member` or `NotMember`.
    role: &'static str,
}

async fn roles(call: Call, body: RolesOf) -> Result<RoleList, Refusal> {
    let (group, users) = (group_id(body.group_id)?, body.accounts.required("User_Account", BAD)?);
    let asked = GroupCall::Roles(body::GroupAccounts { group, users: users.clone() });
    let Answer::Roles(found) = ask(&call, asked).await? else { return Err(gone()) };
    let found: std::collections::HashMap<_, _> =
        found.items.into_iter().map(|item| (item.user.clone(), item.role())).collect();
    // In the order in which they were named.
    let item = |account: String| {
        let role = role(found.get(&account).copied().unwrap_or_default());
        RoleItem { account, role }
    };
    Ok(RoleList { user_id_list: users.into_iter().map(item).collect() })
}
