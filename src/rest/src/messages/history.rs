//! `admin_getroammsg`.

use nearport_chat::admin::{Roamed, Roaming};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{BAD_FORM, BAD_FROM, BAD_KEY, BAD_TO, look, msg_id, user};
use crate::answer::Refusal;
use crate::elements::{MsgBodyOut, to_json};
use crate::field::{Field, Text};
use crate::table::Call;

/// Messages of a page.
const MESSAGES_MAX: u64 = 100;

/// Bytes of a page: beyond them it ends early. One message goes out whatever its size.
const PAGE_BYTES_MAX: usize = 13 * 1024;

/// `MsgFlagBits` of a message that was taken back.
const RECALLED: u32 = 8;

type Long = Field<u64>;

#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Roam {
    /// Whose copy is read.
    #[serde(default, rename = "Operator_Account")]
    operator: Text,
    /// The other side.
    #[serde(default, rename = "Peer_Account")]
    peer: Text,
    /// The older name of `Operator_Account`.
    #[serde(default, rename = "From_Account")]
    from: Text,
    /// The older name of `Peer_Account`.
    #[serde(default, rename = "To_Account")]
    to: Text,
    #[serde(default)]
    max_cnt: Long,
    /// Unix seconds, included.
    #[serde(default)]
    min_time: Long,
    /// Unix seconds, included.
    #[serde(default)]
    max_time: Long,
    #[serde(default)]
    last_msg_key: Text,
}

#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Page {
    /// 1: there is nothing in front of it.
    complete: u32,
    msg_cnt: usize,
    /// Of the oldest message of the page: `MaxTime` of the next one.
    last_msg_time: u64,
    /// Of the same.
    last_msg_key: String,
    /// Ascending.
    msg_list: Vec<RoamedMessage>,
}

#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
pub(super) struct RoamedMessage {
    #[serde(rename = "From_Account")]
    from: String,
    #[serde(rename = "To_Account")]
    to: String,
    msg_seq: u64,
    msg_random: u32,
    msg_time_stamp: u64,
    msg_client_time: u64,
    /// 8: taken back.
    msg_flag_bits: u32,
    is_peer_read: u32,
    is_need_read_receipt: u32,
    support_message_extension: u32,
    msg_key: String,
    msg_id: String,
    msg_body: MsgBodyOut,
    cloud_custom_data: String,
}

pub(super) async fn roaming(call: Call, body: Roam) -> Result<Page, Refusal> {
    let app = call.asker.app;
    let whose = user(app, body.operator.or(body.from), "Operator_Account", BAD_FROM)?;
    let peer = user(app, body.peer.or(body.to), "Peer_Account", BAD_TO)?;
    let limit = match body.max_cnt.required("MaxCnt", BAD_FORM)? {
        0 => return Err(Refusal::new(BAD_FORM, "MaxCnt is 0")),
        count => usize::try_from(count.min(MESSAGES_MAX)).unwrap_or_default(),
    };
    let last = match body.last_msg_key.optional("LastMsgKey", BAD_KEY)?.filter(|key| !key.is_empty()) {
        Some(key) => {
            Some(key.parse().map_err(|_| Refusal::new(BAD_KEY, "LastMsgKey is no key of a message"))?)
        }
        None => None,
    };
    let asked = Roaming {
        user: whose.clone(),
        peer: peer.clone(),
        from_s: body.min_time.required("MinTime", BAD_FORM)?,
        to_s: body.max_time.required("MaxTime", BAD_FORM)?,
        last,
        limit,
    };
    let users = [whose, peer];
    let (found, mut complete, there) = look(&call, move |admin| {
        let (found, complete) = admin.roaming(&asked)?;
        // Who is gone may have left messages.
        let there = if found.is_empty() { admin.exist(&users)? } else { vec![true; 2] };
        Ok((found, complete, there))
    })
    .await?;
    if let Some(at) = there.iter().position(|there| !there) {
        let (code, name) = [(BAD_FROM, "Operator_Account"), (BAD_TO, "Peer_Account")][at];
        return Err(Refusal::new(code, format!("{name} is not registered")));
    }
    let (mut bytes, mut msg_list) = (0, Vec::with_capacity(found.len()));
    for one in found {
        let one = item(one);
        bytes += serde_json::to_vec(&one).map_or(0, |json| json.len() + 1);
        if bytes > PAGE_BYTES_MAX && !msg_list.is_empty() {
            complete = false;
            break;
        }
        msg_list.push(one);
    }
    msg_list.reverse();
    let oldest = msg_list.first();
    Ok(Page {
        complete: complete.into(),
        msg_cnt: msg_list.len(),
        last_msg_time: oldest.map_or(0, |one| one.msg_time_stamp),
        last_msg_key: oldest.map(|one| one.msg_key.clone()).unwrap_or_default(),
        msg_list,
    })
}

fn item(Roamed { key, message, peer_read, .. }: Roamed) -> RoamedMessage {
    use nearport_wire::body::target::Target;
    let to = match message.to.and_then(|to| to.target) {
        Some(Target::User(user)) => user,
        _ => String::new(),
    };
    let content = message.content.unwrap_or_default();
    RoamedMessage {
        from: message.from,
        to,
        msg_seq: key.seq,
        msg_random: key.random,
        msg_time_stamp: key.time_s,
        msg_client_time: key.time_s,
        msg_flag_bits: if message.recalled.is_some() { RECALLED } else { 0 },
        is_peer_read: peer_read.into(),
        is_need_read_receipt: message.need_receipt.into(),
        support_message_extension: message.extensible.into(),
        msg_key: key.to_string(),
        msg_id: msg_id(&key),
        msg_body: to_json(&content.elements),
        cloud_custom_data: content.cloud_custom_data,
    }
}
