//! Messages to groups: sent, told, taken back, changed.

use nearport_chat::admin::{Callbacks, GroupMessage};
use nearport_wire::body::{Mentions, Priority, SendControl};
use nearport_wire::code::group as code;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::shape::{BigNumber, Number, flag, group_id};
use super::{bad, gone, topics};
use crate::answer::{Empty, Refusal};
use crate::elements::{self, BadBody, MsgBody, OfflinePush};
use crate::field::{Field, Object, Text, Texts};
use crate::service::{GROUPS, MESSAGES};
use crate::table::{Call, Command, command};

const BAD: u32 = code::BAD_PARAMETER;
/// Messages of one `group_msg_recall`.
const RECALLS_MAX: usize = 10;

pub(super) fn commands() -> Vec<Command> {
    vec![
        command(GROUPS, "send_group_msg", 200, "Sends a message to a group", send),
        command(GROUPS, "send_group_system_notification", 200, "Tells members who are online", notify),
        command(GROUPS, "send_broadcast_msg", 1, "Says something in all live rooms", broadcast),
        command(GROUPS, "group_msg_recall", 200, "Takes messages back", recall),
        command(
            GROUPS,
            "delete_group_msg_by_sender",
            200,
            "Takes a sender's messages back silently",
            recall_of,
        ),
        command(MESSAGES, "modify_group_msg", 200, "Changes a message of a group", edit),
    ]
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
struct SendGroupMsg {
    #[serde(default)]
    group_id: Text,
    /// The same again within five minutes is the same message.
    #[serde(default)]
    random: Number,
    #[serde(default)]
    msg_body: MsgBody,
    /// Absent: the administrator.
    #[serde(default, rename = "From_Account")]
    from: Text,
    /// `High`, `Normal`, `Low` or `Lowest`.
    #[serde(default)]
    msg_priority: Text,
    #[serde(default)]
    offline_push_info: OfflinePush,
    /// `ForbidBeforeSendMsgCallback`, `ForbidAfterSendMsgCallback`.
    #[serde(default)]
    forbid_callback_control: Texts,
    /// 1: not stored, only for members who are online.
    #[serde(default)]
    online_only_flag: Number,
    /// `NoUnread`, `NoLastMsg`.
    #[serde(default)]
    send_msg_control: Texts,
    #[serde(default)]
    group_at_info: AtItems,
    #[serde(default)]
    cloud_custom_data: Text,
    #[serde(default)]
    support_message_extension: Number,
    /// Not offered.
    #[serde(default, rename = "To_Account")]
    to: Texts,
    /// In a topic of the community.
    #[serde(default)]
    topic_id: Text,
    #[serde(default)]
    is_need_read_receipt: Number,
}

type AtItems = Field<Vec<Object<AtItem>>>;

#[derive(Debug, Clone, PartialEq, Deserialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
struct AtItem {
    #[serde(default)]
    group_at_all_flag: Number,
    #[serde(default, rename = "GroupAt_Account")]
    account: Text,
}

#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
struct GroupMsgSent {
    /// Unix seconds.
    msg_time: u64,
    /// 0: it is not stored.
    msg_seq: u64,
}

async fn send(call: Call, body: SendGroupMsg) -> Result<GroupMsgSent, Refusal> {
    let group = topics::place(&call, group_id(body.group_id)?, body.topic_id, BAD)?;
    if body.to.optional("To_Account", BAD)?.is_some_and(|to| !to.is_empty()) {
        return Err(bad("To_Account: messages for some members only are not offered"));
    }
    let online_only = flag(body.online_only_flag, "OnlineOnlyFlag")?;
    let control = control(body.send_msg_control)?;
    if online_only && control.is_some() {
        return Err(bad("SendMsgControl does not go with OnlineOnlyFlag"));
    }
    let mut callbacks = Callbacks::default();
    for name in body.forbid_callback_control.optional("ForbidCallbackControl", BAD)?.unwrap_or_default() {
        match name.as_str() {
            "ForbidBeforeSendMsgCallback" => callbacks.no_before = true,
            "ForbidAfterSendMsgCallback" => callbacks.no_after = true,
            _ => {
                return Err(bad(
                    "ForbidCallbackControl names ForbidBeforeSendMsgCallback and ForbidAfterSendMsgCallback",
                ));
            }
        }
    }
    let message = GroupMessage {
        group,
        from: body.from.optional("From_Account", BAD)?.filter(|from| !from.is_empty()),
        random: body.random.required("Random", BAD)?,
        content: elements::content(body.msg_body, body.cloud_custom_data).map_err(BadBody::in_groups)?,
        priority: priority(body.msg_priority)?,
        online_only,
        need_receipt: flag(body.is_need_read_receipt, "IsNeedReadReceipt")?,
        mentions: mentions(body.group_at_info)?,
        control,
        offline_push: elements::offline_push(body.offline_push_info).map_err(|refusal| bad(refusal.info))?,
        extensible: flag(body.support_message_extension, "SupportMessageExtension")?,
        callbacks,
    };
    let asker = call.asker.clone();
    let pending = call.blocking(code::INTERNAL, move |admin| admin.send_to_group(&asker, message)).await?;
    let said = pending.await.ok_or_else(gone)??;
    Ok(GroupMsgSent { msg_time: said.time_ms / 1000, msg_seq: said.seq })
}

fn priority(field: Text) -> Result<Priority, Refusal> {
    match field.optional("MsgPriority", BAD)?.as_deref() {
        None | Some("" | "Normal") => Ok(Priority::Normal),
        Some("High") => Ok(Priority::High),
        Some("Low") => Ok(Priority::Low),
        Some("Lowest") => Ok(Priority::Lowest),
        Some(_) => Err(bad("MsgPriority is High, Normal, Low or Lowest")),
    }
}

fn control(field: Texts) -> Result<Option<SendControl>, Refusal> {
    let mut control = SendControl::default();
    for name in field.optional("SendMsgControl", BAD)?.unwrap_or_default() {
        match name.as_str() {
            "NoUnread" => control.no_unread = true,
            "NoLastMsg" => control.no_last_message = true,
            // Push notifications of muted conversations: a matter of who sends them.
            "WithMuteNotifications" => {}
            _ => return Err(bad("SendMsgControl names NoUnread and NoLastMsg")),
        }
    }
    Ok((control != SendControl::default()).then_some(control))
}

fn mentions(field: AtItems) -> Result<Option<Mentions>, Refusal> {
    let mut mentions = Mentions::default();
    let items = field.optional("GroupAtInfo", BAD)?.unwrap_or_default();
    if items.is_empty() {
        return Ok(None);
    }
    for Object(item) in items {
        match flag(item.group_at_all_flag, "GroupAtAllFlag")? {
            true => mentions.all = true,
            false => mentions.users.push(item.account.required("GroupAt_Account", BAD)?),
        }
    }
    Ok(Some(mentions))
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
struct NotifyGroup {
    #[serde(default)]
    group_id: Text,
    #[serde(default)]
    content: Text,
    /// Absent or empty: all members.
    #[serde(default, rename = "ToMembers_Account")]
    to: Texts,
}

/// Bytes of what a notification says: what a message has.
const NOTIFICATION_BYTES_MAX: usize = 12 << 10;
/// Accounts of one notification.
const NOTIFIED_MAX: usize = 500;

async fn notify(call: Call, body: NotifyGroup) -> Result<Empty, Refusal> {
    let (group, content) = (group_id(body.group_id)?, body.content.required("Content", BAD)?);
    let to = body.to.optional("ToMembers_Account", BAD)?.unwrap_or_default();
    if content.is_empty() || content.len() > NOTIFICATION_BYTES_MAX {
        return Err(bad("Content has 1 byte to 12 KB"));
    }
    if to.len() > NOTIFIED_MAX {
        return Err(Refusal::new(code::TOO_MANY_ACCOUNTS, "ToMembers_Account names at most 500 accounts"));
    }
    call.admin.notify_group(&call.asker, &group, content, to).await.ok_or_else(gone)??;
    Ok(Empty {})
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
struct BroadcastMsg {
    #[serde(default, rename = "From_Account")]
    from: Text,
    #[serde(default)]
    random: Number,
    #[serde(default)]
    msg_body: MsgBody,
    #[serde(default)]
    cloud_custom_data: Text,
}

async fn broadcast(call: Call, body: BroadcastMsg) -> Result<GroupMsgSent, Refusal> {
    let from = body.from.optional("From_Account", BAD)?.filter(|from| !from.is_empty());
    let random = body.random.required("Random", BAD)?;
    let content = elements::content(body.msg_body, body.cloud_custom_data).map_err(BadBody::in_groups)?;
    let asker = call.asker.clone();
    let said = call
        .blocking(code::INTERNAL, move |admin| admin.broadcast(&asker, from.as_deref(), random, &content))
        .await?;
    Ok(GroupMsgSent { msg_time: said.time_ms / 1000, msg_seq: said.seq })
}

/// Sequence numbers as objects.
pub(super) type SeqItems = Field<Vec<Object<SeqItem>>>;

#[derive(Debug, Clone, PartialEq, Deserialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
pub(super) struct SeqItem {
    #[serde(default)]
    msg_seq: BigNumber,
}

/// 1 to `max` sequence numbers.
pub(super) fn seqs(items: SeqItems, max: usize) -> Result<Vec<u64>, Refusal> {
    let items = items.required("MsgSeqList", BAD)?;
    if items.is_empty() || items.len() > max {
        return Err(bad(format!("MsgSeqList names 1 to {max} messages")));
    }
    items.into_iter().map(|Object(item)| item.msg_seq.required("MsgSeq", BAD)).collect()
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
struct RecallGroupMsg {
    #[serde(default)]
    group_id: Text,
    #[serde(default)]
    msg_seq_list: SeqItems,
    #[serde(default)]
    reason: Text,
    #[serde(default)]
    topic_id: Text,
}

#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
struct GroupMsgRecalled {
    recall_ret_list: Vec<RecallResult>,
}

/// What became of a message.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
struct RecallResult {
    msg_seq: u64,
    ret_code: u32,
}

/// Bytes of the reason of a recall.
const REASON_BYTES_MAX: usize = 256;

async fn recall(call: Call, body: RecallGroupMsg) -> Result<GroupMsgRecalled, Refusal> {
    let (group, seqs) = (group_id(body.group_id)?, seqs(body.msg_seq_list, RECALLS_MAX)?);
    let group = topics::place(&call, group, body.topic_id, BAD)?;
    let reason = body.reason.optional("Reason", BAD)?.unwrap_or_default();
    if reason.len() > REASON_BYTES_MAX {
        return Err(bad("Reason has at most 256 bytes"));
    }
    let (asker, asked) = (call.asker.clone(), seqs.clone());
    let outcomes = call
        .blocking(code::INTERNAL, move |admin| admin.recall_in_group(&asker, &group, &asked, &reason))
        .await?;
    let mut recall_ret_list = Vec::with_capacity(seqs.len());
    for (msg_seq, outcome) in seqs.into_iter().zip(outcomes) {
        let ret_code = in_groups(outcome.await.ok_or_else(gone)?.err().unwrap_or_default());
        recall_ret_list.push(RecallResult { msg_seq, ret_code });
    }
    Ok(GroupMsgRecalled { recall_ret_list })
}

/// What the writer says of changes by the numbers of groups.
fn in_groups(code: u32) -> u32 {
    match code {
        nearport_wire::code::INTERNAL => code::INTERNAL,
        code => code,
    }
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
struct RecallOfSender {
    #[serde(default)]
    group_id: Text,
    #[serde(default, rename = "Sender_Account")]
    sender: Text,
}

async fn recall_of(call: Call, body: RecallOfSender) -> Result<Empty, Refusal> {
    let (group, sender) = (group_id(body.group_id)?, body.sender.required("Sender_Account", BAD)?);
    let asker = call.asker.clone();
    let outcomes =
        call.blocking(code::INTERNAL, move |admin| admin.recall_of_sender(&asker, &group, &sender)).await?;
    for outcome in outcomes {
        // One that has gone meanwhile is as good as taken back.
        if let Err(code::INTERNAL | nearport_wire::code::INTERNAL) = outcome.await.ok_or_else(gone)? {
            return Err(Refusal::new(code::INTERNAL, "the store takes no writes, try again later"));
        }
    }
    Ok(Empty {})
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
struct ModifyGroupMsg {
    #[serde(default)]
    group_id: Text,
    #[serde(default)]
    msg_seq: BigNumber,
    #[serde(default)]
    msg_body: MsgBody,
    #[serde(default)]
    cloud_custom_data: Text,
    #[serde(default)]
    topic_id: Text,
}

/// Codes of the message service.
const BAD_JSON: u32 = 90010;
const BAD_PACKET: u32 = 20001;
const INTERNAL: u32 = 91000;

async fn edit(call: Call, body: ModifyGroupMsg) -> Result<Empty, Refusal> {
    let group = body.group_id.required("GroupId", BAD_JSON)?;
    let seq = body.msg_seq.required("MsgSeq", BAD_JSON)?;
    let group =
        topics::place(&call, group, body.topic_id, BAD_JSON).map_err(|refusal| match refusal.code {
            code::NOT_ENABLED => Refusal::new(BAD_PACKET, refusal.info),
            _ => refusal,
        })?;
    let elements = match body.msg_body {
        Field::Absent => Vec::new(),
        given => elements::elements(given).map_err(BadBody::in_messages)?,
    };
    let cloud_custom_data = body.cloud_custom_data.optional("CloudCustomData", BAD_JSON)?;
    if elements.is_empty() && cloud_custom_data.is_none() {
        return Err(Refusal::new(90002, "MsgBody or CloudCustomData has to be there"));
    }
    let asker = call.asker.clone();
    let edit = call.blocking(INTERNAL, move |admin| {
        admin.edit_in_group(&asker, &group, seq, elements, cloud_custom_data)
    });
    // The service has no codes for groups.
    let numbered = |code: u32, info: String| match code {
        code::INTERNAL | nearport_wire::code::INTERNAL | INTERNAL => Refusal::new(INTERNAL, info),
        _ => Refusal::new(BAD_PACKET, info),
    };
    let pending = edit.await.map_err(|refusal| numbered(refusal.code, refusal.info))?;
    match pending.await.ok_or_else(|| Refusal::new(INTERNAL, gone().info))? {
        Ok(_) => Ok(Empty {}),
        Err(code) => Err(numbered(code, format!("the message cannot be changed ({code})"))),
    }
}
