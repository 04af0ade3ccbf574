//! Groups of other systems.

use nearport_chat::admin::{ImportMember, ImportMessage};
use nearport_wire::body::{Content, Priority, group_answer::Answer};
use nearport_wire::code::group as code;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::members::MemberResults;
use super::profile::{CreateGroup, GroupCreated, admin_role};
use super::shape::{BigNumber, Number, flag, group_id};
use super::{bad, gone, topics};
use crate::answer::{Empty, Refusal};
use crate::elements::{self, BadBody, MsgBody};
use crate::field::{Field, Object, Text};
use crate::service::GROUPS;
use crate::table::{Call, Command, command};

const BAD: u32 = code::BAD_PARAMETER;
/// Messages of one call: the more generous of the contract's two numbers.
const MESSAGES_MAX: usize = 20;
/// Members of one call.
const MEMBERS_MAX: usize = 300;

pub(super) fn commands() -> Vec<Command> {
    vec![
        command(GROUPS, "import_group", 200, "Brings a group over", group),
        command(GROUPS, "import_group_msg", 200, "Brings messages over", messages),
        command(GROUPS, "import_group_member", 200, "Brings members over", members),
        command(GROUPS, "set_unread_msg_num", 200, "Says what a member has not read", unread),
    ]
}

async fn group(call: Call, body: CreateGroup) -> Result<GroupCreated, Refusal> {
    let (group, created_s) = body.read_import()?;
    match call.admin.import_group(&call.asker, group, created_s).await.ok_or_else(gone)?? {
        Answer::Id(id) => Ok(GroupCreated { group_id: id.group }),
        _ => Err(gone()),
    }
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
struct ImportGroupMsg {
    #[serde(default)]
    group_id: Text,
    /// Taken, and without effect: conversations are always as the newest message has them.
    #[serde(default)]
    recent_contact_flag: Number,
    #[serde(default)]
    msg_list: ImportedItems,
}

type ImportedItems = Field<Vec<Object<ImportedItem>>>;

#[derive(Debug, Clone, PartialEq, Deserialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct ImportedItem {
    #[serde(default, rename = "From_Account")]
    from: Text,
    /// Unix seconds.
    #[serde(default)]
    send_time: BigNumber,
    #[serde(default)]
    random: Number,
    #[serde(default)]
    msg_body: MsgBody,
    #[serde(default)]
    cloud_custom_data: Text,
}

#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
struct ImportedMsgs {
    import_msg_result: Vec<ImportedMsg>,
}

/// What became of a message.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
struct ImportedMsg {
    msg_seq: u64,
    msg_time: u64,
    /// 0: it is stored.
    result: u32,
}

/// What an item says beside its content.
pub(crate) struct Told {
    pub(crate) from: String,
    pub(crate) time_s: u64,
    pub(crate) random: Option<u32>,
}

impl ImportedItem {
    /// What is wrong with the content alone is the message's, not the call's.
    pub(crate) fn read(self) -> Result<(Told, Result<Content, Refusal>), Refusal> {
        let from = self.from.required("From_Account", BAD)?;
        let time_s = self.send_time.required("SendTime", BAD)?;
        let random = self.random.optional("Random", BAD)?;
        let content = elements::content(self.msg_body, self.cloud_custom_data).map_err(BadBody::in_groups);
        Ok((Told { from, time_s, random }, content))
    }
}

async fn messages(call: Call, body: ImportGroupMsg) -> Result<ImportedMsgs, Refusal> {
    let group = group_id(body.group_id)?;
    flag(body.recent_contact_flag, "RecentContactFlag")?;
    let items = body.msg_list.required("MsgList", BAD)?;
    if items.is_empty() || items.len() > MESSAGES_MAX {
        return Err(bad("MsgList has 1 to 20 messages"));
    }
    // Each message has an outcome of its own.
    let (mut results, mut good) = (Vec::with_capacity(items.len()), Vec::new());
    for Object(item) in items {
        let (told, content) = item.read()?;
        results.push(ImportedMsg {
            msg_seq: 0,
            msg_time: told.time_s,
            result: content.as_ref().err().map_or(0, |refusal| refusal.code),
        });
        if let Ok(content) = content {
            let Told { from, time_s, random } = told;
            good.push(ImportMessage { from, time_s, random, content, priority: Priority::Normal });
        }
    }
    let app = call.asker.app;
    let outcomes =
        call.blocking(code::INTERNAL, move |admin| admin.import_messages(app, &group, good)).await?;
    for (result, outcome) in results.iter_mut().filter(|result| result.result == 0).zip(outcomes) {
        match outcome {
            Ok(seq) => result.msg_seq = seq,
            Err(code) => result.result = code,
        }
    }
    Ok(ImportedMsgs { import_msg_result: results })
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
struct ImportGroupMember {
    #[serde(default)]
    group_id: Text,
    #[serde(default)]
    member_list: ImportedMembers,
}

type ImportedMembers = Field<Vec<Object<ImportedMember>>>;

#[derive(Debug, Clone, PartialEq, Deserialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct ImportedMember {
    #[serde(default, rename = "Member_Account")]
    account: Text,
    /// `Admin`, or absent.
    #[serde(default)]
    role: Text,
    /// Unix seconds.
    #[serde(default)]
    join_time: BigNumber,
    #[serde(default)]
    unread_msg_num: BigNumber,
}

impl ImportedMember {
    pub(crate) fn read(self) -> Result<ImportMember, Refusal> {
        Ok(ImportMember {
            user: self.account.required("Member_Account", BAD)?,
            admin: admin_role(self.role)?,
            joined_s: self.join_time.optional("JoinTime", BAD)?,
            unread: self.unread_msg_num.optional("UnreadMsgNum", BAD)?.unwrap_or_default(),
        })
    }
}

async fn members(call: Call, body: ImportGroupMember) -> Result<MemberResults, Refusal> {
    let group = group_id(body.group_id)?;
    let items = body.member_list.required("MemberList", BAD)?;
    if items.is_empty() {
        return Err(bad("MemberList names nobody"));
    }
    if items.len() > MEMBERS_MAX {
        return Err(Refusal::new(code::TOO_MANY_ACCOUNTS, "at most 300 members in one call"));
    }
    let members = items.into_iter().map(|Object(item)| item.read()).collect::<Result<Vec<_>, Refusal>>()?;
    let asker = call.asker.clone();
    let invited =
        call.blocking(code::INTERNAL, move |admin| admin.import_members(&asker, &group, members)).await?;
    Ok(MemberResults::of(invited))
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
struct SetUnread {
    #[serde(default)]
    group_id: Text,
    #[serde(default, rename = "Member_Account")]
    account: Text,
    #[serde(default)]
    unread_msg_num: BigNumber,
    /// In a topic of the community.
    #[serde(default)]
    topic_id: Text,
}

async fn unread(call: Call, body: SetUnread) -> Result<Empty, Refusal> {
    let (group, user) = (group_id(body.group_id)?, body.account.required("Member_Account", BAD)?);
    let group = topics::place(&call, group, body.topic_id, BAD)?;
    let unread = body.unread_msg_num.required("UnreadMsgNum", BAD)?;
    let app = call.asker.app;
    call.blocking(code::INTERNAL, move |admin| admin.set_unread_of_group(app, &group, &user, unread)).await?;
    Ok(Empty {})
}
