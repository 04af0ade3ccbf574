//! What becomes of stored messages: taken back, changed, deleted for one side.

use nearport_chat::admin::Named;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{BAD_FORM, BAD_FROM, BAD_TO, look, msg_key, refusal, told, user};
use crate::answer::{Empty, Refusal};
use crate::elements::{MsgBody, elements};
use crate::field::{Field, Text, Texts};
use crate::table::Call;

/// Keys of one call.
const KEYS_MAX: usize = 30;

/// `MsgBody` not as it ought to be, or nothing to change.
const BAD_BODY: u32 = 90002;

#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Recall {
    #[serde(default, rename = "From_Account")]
    from: Text,
    #[serde(default, rename = "To_Account")]
    to: Text,
    #[serde(default)]
    msg_key: Text,
}

pub(super) async fn recall(call: Call, body: Recall) -> Result<Empty, Refusal> {
    let named = of(&call, body.from, body.to, body.msg_key)?;
    let asker = call.asker.clone();
    let pending = look(&call, move |admin| Ok(admin.recall_message(&asker, &named))).await?;
    told(pending.map_err(refusal)?).await?;
    Ok(Empty {})
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Modify {
    #[serde(default, rename = "From_Account")]
    from: Text,
    #[serde(default, rename = "To_Account")]
    to: Text,
    #[serde(default)]
    msg_key: Text,
    #[serde(default)]
    msg_body: MsgBody,
    #[serde(default)]
    cloud_custom_data: Text,
}

pub(super) async fn modify(call: Call, body: Modify) -> Result<Empty, Refusal> {
    let named = of(&call, body.from, body.to, body.msg_key)?;
    let cloud_custom_data = body.cloud_custom_data.optional("CloudCustomData", BAD_FORM)?;
    let elements = match body.msg_body {
        Field::Absent => Vec::new(),
        given => elements(given).map_err(|bad| bad.in_messages())?,
    };
    if elements.is_empty() && cloud_custom_data.is_none() {
        return Err(Refusal::new(BAD_BODY, "neither MsgBody nor CloudCustomData is given"));
    }
    let asker = call.asker.clone();
    let edit = look(&call, move |admin| Ok(admin.edit_message(&asker, &named, elements, cloud_custom_data)));
    let pending = edit.await?;
    told(pending.map_err(refusal)?).await?;
    Ok(Empty {})
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Delete {
    /// For whom they are deleted.
    #[serde(default, rename = "Operator_Account")]
    operator: Text,
    #[serde(default, rename = "Peer_Account")]
    peer: Text,
    /// At most 30.
    #[serde(default)]
    msg_key_list: Texts,
}

#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Deleted {
    /// Those that are no keys.
    invalid_msg_key_list: Vec<String>,
}

pub(super) async fn delete(call: Call, body: Delete) -> Result<Deleted, Refusal> {
    let app = call.asker.app;
    let whose = user(app, body.operator, "Operator_Account", BAD_FROM)?;
    let peer = user(app, body.peer, "Peer_Account", BAD_TO)?;
    let texts = body.msg_key_list.required("MsgKeyList", BAD_FORM)?;
    if texts.is_empty() || texts.len() > KEYS_MAX {
        return Err(Refusal::new(BAD_FORM, "MsgKeyList has 1 to 30 keys"));
    }
    let (mut keys, mut invalid) = (Vec::with_capacity(texts.len()), Vec::new());
    for text in texts {
        match text.parse() {
            Ok(key) => keys.push(key),
            Err(_) => invalid.push(text),
        }
    }
    if !keys.is_empty() {
        let pending = look(&call, move |admin| Ok(admin.hide_messages(&whose, &peer, &keys))).await?;
        told(pending.map_err(refusal)?).await?;
    }
    Ok(Deleted { invalid_msg_key_list: invalid })
}

fn of(call: &Call, from: Text, to: Text, key: Text) -> Result<Named, Refusal> {
    let app = call.asker.app;
    Ok(Named {
        from: user(app, from, "From_Account", BAD_FROM)?,
        to: user(app, to, "To_Account", BAD_TO)?,
        key: msg_key(key)?,
    })
}
