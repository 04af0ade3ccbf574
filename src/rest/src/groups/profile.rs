//! Groups come to be, are described, change, end.

use nearport_wire::body::{self, GroupInfo, group_answer::Answer, group_call::Call as GroupCall};
use nearport_wire::code::group as code;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::shape::{
    BigNumber, DefinedFields, GroupOnly, Number, ShownField, ShownMember, Wanted, fields, flag, group_id,
    join_option, join_option_name, on_off, shown_fields,
};
use super::{ask, bad, done, gone};
use crate::answer::{Empty, Refusal};
use crate::field::{Field, Object, Text, Texts};
use crate::service::GROUPS;
use crate::table::{Call, Command, command};

const BAD: u32 = code::BAD_PARAMETER;

/// Groups of one call of `get_group_info`.
const INFOS_MAX: usize = 50;

pub(super) fn commands() -> Vec<Command> {
    vec![
        command(GROUPS, "create_group", 200, "Makes a group", create),
        command(GROUPS, "get_group_info", 200, "Profiles of up to 50 groups", infos),
        command(GROUPS, "modify_group_base_info", 200, "Changes the profile of a group", modify),
        command(GROUPS, "destroy_group", 200, "Dismisses a group", destroy),
        command(GROUPS, "change_group_owner", 200, "Hands a group over", change_owner),
    ]
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct CreateGroup {
    #[serde(default, rename = "Type")]
    kind: Text,
    #[serde(default)]
    name: Text,
    #[serde(default, rename = "Owner_Account")]
    owner: Text,
    #[serde(default)]
    group_id: Text,
    #[serde(default)]
    introduction: Text,
    #[serde(default)]
    notification: Text,
    #[serde(default)]
    face_url: Text,
    #[serde(default)]
    max_member_count: Number,
    #[serde(default)]
    max_member_num: Number,
    #[serde(default)]
    apply_join_option: Text,
    #[serde(default)]
    invite_join_option: Text,
    #[serde(default)]
    app_defined_data: DefinedFields,
    #[serde(default)]
    member_list: FirstMembers,
    /// 1: a community with topics.
    #[serde(default)]
    support_topic: Number,
    /// Of an import: Unix seconds.
    #[serde(default)]
    create_time: BigNumber,
}

type FirstMembers = Field<Vec<Object<FirstMember>>>;

#[derive(Debug, Clone, PartialEq, Deserialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
struct FirstMember {
    #[serde(default, rename = "Member_Account")]
    account: Text,
    /// `Admin`, or absent.
    #[serde(default)]
    role: Text,
    #[serde(default)]
    app_member_defined_data: DefinedFields,
}

impl CreateGroup {
    pub(super) fn read(self) -> Result<body::GroupCreate, Refusal> {
        let text = |field: Text, name: &str| Ok::<_, Refusal>(field.optional(name, BAD)?.unwrap_or_default());
        let topics = flag(self.support_topic, "SupportTopic")?;
        let member = |Object(member): Object<FirstMember>| {
            Ok(body::GroupNewMember {
                user: member.account.required("Member_Account", BAD)?,
                admin: admin_role(member.role)?,
                fields: fields(member.app_member_defined_data, "AppMemberDefinedData")?,
            })
        };
        let members = self.member_list.optional("MemberList", BAD)?.unwrap_or_default();
        Ok(body::GroupCreate {
            r#type: self.kind.required("Type", BAD)?,
            name: self.name.required("Name", BAD)?,
            group: text(self.group_id, "GroupId")?,
            introduction: text(self.introduction, "Introduction")?,
            notification: text(self.notification, "Notification")?,
            face_url: text(self.face_url, "FaceUrl")?,
            members_max: self
                .max_member_count
                .or(self.max_member_num)
                .optional("MaxMemberCount", BAD)?
                .unwrap_or_default(),
            join: join_option(self.apply_join_option, "ApplyJoinOption", "DisableApply")?.into(),
            invite: join_option(self.invite_join_option, "InviteJoinOption", "DisableInvite")?.into(),
            fields: fields(self.app_defined_data, "AppDefinedData")?,
            members: members.into_iter().map(member).collect::<Result<_, Refusal>>()?,
            owner: text(self.owner, "Owner_Account")?,
            topics,
        })
    }
}

impl CreateGroup {
    /// A group of another system, and since when there is one. Its members come by themselves.
    pub(crate) fn read_import(mut self) -> Result<(body::GroupCreate, Option<u64>), Refusal> {
        let created_s = std::mem::take(&mut self.create_time).optional("CreateTime", BAD)?;
        self.member_list = Field::Absent;
        Ok((self.read()?, created_s))
    }
}

/// `Role` of somebody who becomes a member: whether it is an administrator.
pub(super) fn admin_role(field: Text) -> Result<bool, Refusal> {
    match field.optional("Role", BAD)?.as_deref() {
        None | Some("" | "Member") => Ok(false),
        Some("Admin") => Ok(true),
        Some(_) => Err(bad("Role is Admin, or absent")),
    }
}

/// The id of a group.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
pub(super) struct GroupCreated {
    pub(super) group_id: String,
}

async fn create(call: Call, body: CreateGroup) -> Result<GroupCreated, Refusal> {
    match ask(&call, GroupCall::Create(body.read()?)).await? {
        Answer::Id(id) => Ok(GroupCreated { group_id: id.group }),
        _ => Err(gone()),
    }
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
struct GetGroupInfo {
    #[serde(default)]
    group_id_list: Texts,
    #[serde(default)]
    response_filter: InfoFilters,
}

type InfoFilters = Field<Object<InfoFilter>>;

#[derive(Debug, Clone, PartialEq, Deserialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
struct InfoFilter {
    #[serde(default)]
    group_base_info_filter: Texts,
    #[serde(default)]
    member_info_filter: Texts,
    #[serde(default, rename = "AppDefinedDataFilter_Group")]
    group_fields: Texts,
    #[serde(default, rename = "AppDefinedDataFilter_GroupMember")]
    member_fields: Texts,
}

#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
struct GroupInfos {
    group_info: Vec<GroupItem>,
}

/// A group of an answer.
#[derive(Debug, Default, Serialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
struct GroupItem {
    error_code: u32,
    error_info: String,
    group_id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    appid: Option<u32>,
    #[serde(flatten)]
    base: ShownBase,
    #[serde(skip_serializing_if = "Option::is_none")]
    app_defined_data: Option<Vec<ShownField>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    member_list: Option<Vec<ShownMember>>,
}

/// The profile of a group in an answer.
#[derive(Debug, Default, Serialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
pub(super) struct ShownBase {
    #[serde(rename = "Type", skip_serializing_if = "Option::is_none")]
    kind: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    introduction: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    notification: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    face_url: Option<String>,
    /// Empty: nobody.
    #[serde(rename = "Owner_Account", skip_serializing_if = "Option::is_none")]
    owner: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    create_time: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    info_seq: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_info_time: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_msg_time: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_msg_seq: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    member_num: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_member_num: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    apply_join_option: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    invite_join_option: Option<&'static str>,
    /// `On` or `Off`.
    #[serde(skip_serializing_if = "Option::is_none")]
    shut_up_all_member: Option<&'static str>,
    /// The same, by its newer name.
    #[serde(skip_serializing_if = "Option::is_none")]
    mute_all_member: Option<&'static str>,
    /// 1: a community with topics; absent: none.
    #[serde(skip_serializing_if = "Option::is_none")]
    support_topic: Option<u32>,
}

impl ShownBase {
    /// What is wanted of a profile.
    pub(super) fn of(info: GroupInfo, wanted: &Wanted) -> Self {
        let muted = if info.muted_all { "On" } else { "Off" };
        Self {
            apply_join_option: wanted.get("ApplyJoinOption", join_option_name(info.join(), "DisableApply")),
            invite_join_option: wanted
                .get("InviteJoinOption", join_option_name(info.invite(), "DisableInvite")),
            support_topic: wanted.get("SupportTopic", 1).filter(|_| info.topics),
            kind: wanted.get("Type", info.r#type),
            name: wanted.get("Name", info.name),
            introduction: wanted.get("Introduction", info.introduction),
            notification: wanted.get("Notification", info.notification),
            face_url: wanted.get("FaceUrl", info.face_url),
            owner: wanted.get("Owner_Account", info.owner),
            create_time: wanted.get("CreateTime", info.created_ms / 1000),
            info_seq: wanted.get("InfoSeq", info.info_seq),
            last_info_time: wanted.get("LastInfoTime", info.info_ms / 1000),
            last_msg_time: wanted.get("LastMsgTime", info.last_message_ms / 1000),
            next_msg_seq: wanted.get("NextMsgSeq", info.next_seq),
            member_num: wanted.get("MemberNum", info.members),
            max_member_num: wanted.get("MaxMemberNum", info.members_max),
            shut_up_all_member: wanted.get("ShutUpAllMember", muted),
            mute_all_member: wanted.get("MuteAllMember", muted),
        }
    }
}

async fn infos(call: Call, body: GetGroupInfo) -> Result<GroupInfos, Refusal> {
    let ids = body.group_id_list.required("GroupIdList", BAD)?;
    if ids.is_empty() || ids.len() > INFOS_MAX {
        return Err(bad("GroupIdList names 1 to 50 groups"));
    }
    let filter = body.response_filter.optional("ResponseFilter", BAD)?;
    let (base, members, group_fields, member_fields) = match filter {
        None => Default::default(),
        Some(Object(filter)) => (
            Wanted::only(filter.group_base_info_filter, "GroupBaseInfoFilter")?,
            Wanted::only(filter.member_info_filter, "MemberInfoFilter")?,
            Wanted::only(filter.group_fields, "AppDefinedDataFilter_Group")?,
            Wanted::only(filter.member_fields, "AppDefinedDataFilter_GroupMember")?,
        ),
    };
    let (asker, app) = (call.asker.clone(), call.asker.app.0);
    let with_members = !members.is_empty() || !member_fields.is_empty();
    // Members share the room that an answer has; `get_group_member_info` has pages.
    let most = (MEMBERS_MAX / ids.len()).min(MEMBERS_OF_ONE_MAX);
    let group_info = call
        .blocking(code::INTERNAL, move |admin| {
            let infos = admin.group_infos(&asker, &ids)?;
            let mut items = Vec::with_capacity(infos.len());
            for (group_id, info) in ids.into_iter().zip(infos) {
                let mut info = match info {
                    Ok(info) => info,
                    Err(failure) => {
                        let (error_code, error_info) = (failure.code, failure.info.into_owned());
                        items.push(GroupItem { error_code, error_info, group_id, ..GroupItem::default() });
                        continue;
                    }
                };
                let listed = match with_members {
                    true => super::members::first(admin, &asker, &group_id, &members, most)?,
                    false => None,
                };
                let shown = |listed: Vec<_>| {
                    let of = |listed| ShownMember::of(listed, &members, member_fields.0.as_ref());
                    listed.into_iter().map(of).collect()
                };
                let data = shown_fields(std::mem::take(&mut info.fields), group_fields.0.as_ref());
                items.push(GroupItem {
                    error_code: 0,
                    error_info: String::new(),
                    group_id,
                    appid: base.get("Appid", app),
                    base: ShownBase::of(info, &base),
                    app_defined_data: (!group_fields.is_empty()).then_some(data),
                    member_list: listed.map(shown),
                });
            }
            Ok(items)
        })
        .await?;
    Ok(GroupInfos { group_info })
}

/// Members in one answer of `get_group_info`, of all groups and of one.
const MEMBERS_MAX: usize = 4000;
const MEMBERS_OF_ONE_MAX: usize = 500;

#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
struct ModifyGroup {
    #[serde(default)]
    group_id: Text,
    #[serde(default)]
    name: Text,
    #[serde(default)]
    introduction: Text,
    #[serde(default)]
    notification: Text,
    #[serde(default)]
    face_url: Text,
    #[serde(default)]
    max_member_num: Number,
    #[serde(default)]
    max_member_count: Number,
    #[serde(default)]
    apply_join_option: Text,
    #[serde(default)]
    invite_join_option: Text,
    /// `On` or `Off`.
    #[serde(default)]
    shut_up_all_member: Text,
    #[serde(default)]
    mute_all_member: Text,
    #[serde(default)]
    app_defined_data: DefinedFields,
}

async fn modify(call: Call, body: ModifyGroup) -> Result<Empty, Refusal> {
    let muted_all = on_off(body.shut_up_all_member.or(body.mute_all_member), "ShutUpAllMember")?;
    let edit = body::GroupEdit {
        group: group_id(body.group_id)?,
        name: body.name.optional("Name", BAD)?,
        introduction: body.introduction.optional("Introduction", BAD)?,
        notification: body.notification.optional("Notification", BAD)?,
        face_url: body.face_url.optional("FaceUrl", BAD)?,
        members_max: body.max_member_num.or(body.max_member_count).optional("MaxMemberNum", BAD)?,
        join: join_option(body.apply_join_option, "ApplyJoinOption", "DisableApply")?.into(),
        invite: join_option(body.invite_join_option, "InviteJoinOption", "DisableInvite")?.into(),
        muted_all,
        fields: fields(body.app_defined_data, "AppDefinedData")?,
    };
    done(&call, GroupCall::Edit(edit)).await
}

async fn destroy(call: Call, body: GroupOnly) -> Result<Empty, Refusal> {
    done(&call, GroupCall::Dismiss(body::GroupRef { group: group_id(body.group_id)? })).await
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
struct ChangeOwner {
    #[serde(default)]
    group_id: Text,
    #[serde(default, rename = "NewOwner_Account")]
    new_owner: Text,
}

async fn change_owner(call: Call, body: ChangeOwner) -> Result<Empty, Refusal> {
    let (group, user) = (group_id(body.group_id)?, body.new_owner.required("NewOwner_Account", BAD)?);
    done(&call, GroupCall::Transfer(body::GroupTransfer { group, user })).await
}
