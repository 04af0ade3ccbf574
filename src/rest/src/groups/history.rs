//! Messages as they are kept, and who has read them.

use nearport_chat::admin::{InSlot, ReadCounts, Slot};
use nearport_wire::body::{Message, Priority};
use nearport_wire::code::group as code;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::messages::{SeqItems, seqs};
use super::shape::{BigNumber, Number, group_id};
use super::{bad, topics};
use crate::answer::Refusal;
use crate::elements::{self, MsgBodyOut};
use crate::field::Text;
use crate::service::GROUPS;
use crate::table::{Call, Command, command};

const BAD: u32 = code::BAD_PARAMETER;
/// Messages of one `get_group_msg_receipt`, and names of one page of its details.
const RECEIPTS_MAX: usize = 100;
const READERS_MAX: u32 = 200;

pub(super) fn commands() -> Vec<Command> {
    vec![
        command(GROUPS, "group_msg_get_simple", 200, "A page of a group's history", history),
        command(GROUPS, "get_group_msg_receipt", 200, "How many have read messages", receipts),
        command(GROUPS, "get_group_msg_receipt_detail", 200, "Who has read a message", readers),
    ]
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
struct GroupHistoryPage {
    #[serde(default)]
    group_id: Text,
    /// 20 are returned at most.
    #[serde(default)]
    req_msg_number: BigNumber,
    /// Absent: the newest.
    #[serde(default)]
    req_msg_seq: BigNumber,
    #[serde(default)]
    topic_id: Text,
}

#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
struct GroupHistoryRows {
    group_id: String,
    /// 1: all that was asked for; 0: cut; 2: cut, and there is nothing but holes.
    is_finished: u32,
    /// Newest first.
    rsp_msg_list: Vec<GroupHistoryRow>,
}

/// A message of a page.
#[derive(Debug, Default, Serialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
struct GroupHistoryRow {
    #[serde(rename = "From_Account")]
    from: String,
    /// 1: there is nothing any more; 2: taken back.
    is_place_msg: u32,
    msg_body: MsgBodyOut,
    msg_priority: u32,
    msg_random: u32,
    msg_seq: u64,
    msg_time_stamp: u64,
    cloud_custom_data: String,
}

async fn history(call: Call, body: GroupHistoryPage) -> Result<GroupHistoryRows, Refusal> {
    let group = group_id(body.group_id)?;
    let at = topics::place(&call, group.clone(), body.topic_id, BAD)?;
    let count = body.req_msg_number.required("ReqMsgNumber", BAD)?;
    if count == 0 {
        return Err(bad("ReqMsgNumber is at least 1"));
    }
    let newest = body.req_msg_seq.optional("ReqMsgSeq", BAD)?;
    let app = call.asker.app;
    let page =
        call.blocking(code::INTERNAL, move |admin| admin.group_history(app, &at, newest, count)).await?;
    let expired = page.slots.iter().all(|slot| matches!(slot.what, InSlot::Hole));
    let is_finished = match (page.whole, expired) {
        (true, _) => 1,
        (false, false) => 0,
        (false, true) => 2,
    };
    let rsp_msg_list = page.slots.into_iter().map(row).collect();
    Ok(GroupHistoryRows { group_id: group, is_finished, rsp_msg_list })
}

fn row(slot: Slot) -> GroupHistoryRow {
    let (message, is_place_msg) = match slot.what {
        InSlot::Message(message) => (*message, 0),
        InSlot::Recalled(message) => (*message, 2),
        InSlot::Hole => {
            return GroupHistoryRow {
                is_place_msg: 1,
                msg_priority: Priority::Normal as u32,
                msg_seq: slot.seq,
                ..GroupHistoryRow::default()
            };
        }
    };
    let msg_priority = match message.priority() {
        Priority::Default => Priority::Normal as u32,
        priority => priority as u32,
    };
    let msg_random = random(&message);
    let content = message.content.unwrap_or_default();
    GroupHistoryRow {
        from: message.from,
        is_place_msg,
        msg_body: elements::to_json(&content.elements),
        msg_priority,
        msg_random,
        msg_seq: slot.seq,
        msg_time_stamp: slot.time_ms / 1000,
        cloud_custom_data: content.cloud_custom_data,
    }
}

/// What a back end called random: of other messages the beginning of their id.
fn random(message: &Message) -> u32 {
    match (&message.key, message.client_msg_id.first_chunk::<4>()) {
        (Some(key), _) => key.random,
        (None, Some(bytes)) => u32::from_be_bytes(*bytes),
        (None, None) => 0,
    }
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
struct GroupReceiptsOf {
    #[serde(default)]
    group_id: Text,
    #[serde(default)]
    msg_seq_list: SeqItems,
}

#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
struct GroupReceipts {
    group_msg_receipt_list: Vec<GroupReceipt>,
}

/// How many have read a message.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
struct GroupReceipt {
    msg_seq: u64,
    /// 0, or 10062: it has no receipts.
    code: u32,
    read_num: usize,
    unread_num: usize,
}

async fn receipts(call: Call, body: GroupReceiptsOf) -> Result<GroupReceipts, Refusal> {
    let (group, seqs) = (group_id(body.group_id)?, seqs(body.msg_seq_list, RECEIPTS_MAX)?);
    let (app, asked) = (call.asker.app, seqs.clone());
    let found = call.blocking(code::INTERNAL, move |admin| admin.group_receipts(app, &group, &asked)).await?;
    let item = |(msg_seq, counts): (u64, Option<ReadCounts>)| match counts {
        Some(ReadCounts { read, unread }) => {
            GroupReceipt { msg_seq, code: 0, read_num: read, unread_num: unread }
        }
        None => GroupReceipt { msg_seq, code: code::NO_RECEIPTS, read_num: 0, unread_num: 0 },
    };
    Ok(GroupReceipts { group_msg_receipt_list: seqs.into_iter().zip(found).map(item).collect() })
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
struct GroupReadersOf {
    #[serde(default)]
    group_id: Text,
    #[serde(default)]
    msg_seq: BigNumber,
    /// 0: who has read; 1: who has not.
    #[serde(default)]
    filter: Number,
    /// "", then as the answer before said.
    #[serde(default)]
    cursor: Text,
    #[serde(default)]
    count: Number,
}

#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
struct GroupReaders {
    msg_seq: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    read_list: Option<Vec<ReadItem>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    unread_list: Option<Vec<UnreadItem>>,
    cursor: String,
    is_finish: u32,
    /// The same, by the name of the contract's table.
    is_finished: u32,
}

/// Somebody who has read.
#[derive(Debug, Serialize, ToSchema)]
struct ReadItem {
    #[serde(rename = "Read_Account")]
    account: String,
}

/// Somebody who has not.
#[derive(Debug, Serialize, ToSchema)]
struct UnreadItem {
    #[serde(rename = "Unread_Account")]
    account: String,
}

async fn readers(call: Call, body: GroupReadersOf) -> Result<GroupReaders, Refusal> {
    let group = group_id(body.group_id)?;
    let msg_seq = body.msg_seq.required("MsgSeq", BAD)?;
    let unread = match body.filter.required("Filter", BAD)? {
        0 => false,
        1 => true,
        _ => return Err(bad("Filter is 0 or 1")),
    };
    let after = body.cursor.required("Cursor", BAD)?;
    let count = body.count.required("Count", BAD)?;
    if count == 0 || count > READERS_MAX {
        return Err(bad("Count is 1 to 200"));
    }
    let app = call.asker.app;
    let (names, whole) = call
        .blocking(code::INTERNAL, move |admin| {
            admin.group_readers(app, &group, msg_seq, unread, (&after, count as usize))
        })
        .await?;
    let cursor = names.last().filter(|_| !whole).cloned().unwrap_or_default();
    let finished = u32::from(whole);
    let mut answer = GroupReaders {
        msg_seq,
        read_list: None,
        unread_list: None,
        cursor,
        is_finish: finished,
        is_finished: finished,
    };
    match unread {
        true => answer.unread_list = Some(names.into_iter().map(|account| UnreadItem { account }).collect()),
        false => answer.read_list = Some(names.into_iter().map(|account| ReadItem { account }).collect()),
    }
    Ok(answer)
}
