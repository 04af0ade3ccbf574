//! What was read.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{BAD_FORM, BAD_FROM, BAD_KEY, BAD_TO, NO_ACCOUNT, look, named, refusal, told, user};
use crate::answer::{Empty, Refusal};
use crate::field::{Field, Object, Text, Texts};
use crate::table::Call;

/// Messages of one call.
const MESSAGES_MAX: usize = 30;

/// Conversations of one call.
const PEERS_MAX: usize = 10;

type Long = Field<u64>;

#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
pub(super) struct MarkRead {
    /// Who has read.
    #[serde(default, rename = "Report_Account")]
    report: Text,
    #[serde(default, rename = "Peer_Account")]
    peer: Text,
    /// Unix seconds; absent: now.
    #[serde(default)]
    msg_read_time: Long,
}

pub(super) async fn mark_read(call: Call, body: MarkRead) -> Result<Empty, Refusal> {
    let app = call.asker.app;
    let reader = user(app, body.report, "Report_Account", BAD_FROM)?;
    let peer = user(app, body.peer, "Peer_Account", BAD_TO)?;
    let until_s = body.msg_read_time.optional("MsgReadTime", BAD_FORM)?;
    let (users, asker) = ([reader, peer], call.asker.clone());
    let marked = look(&call, move |admin| {
        let there = admin.exist(&users)?;
        let [reader, peer] = &users;
        Ok(match there[..] {
            [true, true] => Ok(admin.mark_read(&asker, reader, peer, until_s)?),
            [false, _] => Err(Refusal::new(BAD_FROM, "Report_Account is not registered")),
            _ => Err(Refusal::new(BAD_TO, "Peer_Account is not registered")),
        })
    })
    .await?;
    told(marked?).await?;
    Ok(Empty {})
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Unread {
    #[serde(default, rename = "To_Account")]
    to: Text,
    /// At most 10; absent: of all together.
    #[serde(default, rename = "Peer_Account")]
    peers: Texts,
}

#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
pub(super) struct UnreadCounts {
    #[serde(rename = "AllC2CUnreadMsgNum", skip_serializing_if = "Option::is_none")]
    all: Option<u64>,
    #[serde(rename = "C2CUnreadMsgNumList", skip_serializing_if = "Option::is_none")]
    list: Option<Vec<UnreadOf>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error_list: Option<Vec<NotCounted>>,
}

#[derive(Debug, Serialize, ToSchema)]
pub(super) struct UnreadOf {
    #[serde(rename = "Peer_Account")]
    peer: String,
    #[serde(rename = "C2CUnreadMsgNum")]
    count: u64,
}

#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
pub(super) struct NotCounted {
    #[serde(rename = "Peer_Account")]
    peer: String,
    error_code: u32,
}

pub(super) async fn unread(call: Call, body: Unread) -> Result<UnreadCounts, Refusal> {
    let app = call.asker.app;
    let whose = user(app, body.to, "To_Account", BAD_TO)?;
    let Some(peers) = body.peers.optional("Peer_Account", BAD_FORM)? else {
        let all = look(&call, move |admin| match admin.exist(std::slice::from_ref(&whose))?[..] {
            [true] => admin.pairs_unread(&whose).map(Ok),
            _ => Ok(Err(Refusal::new(BAD_TO, "To_Account is not registered"))),
        })
        .await??;
        return Ok(UnreadCounts { all: Some(all), list: None, error_list: None });
    };
    if peers.is_empty() || peers.len() > PEERS_MAX {
        return Err(Refusal::new(BAD_FORM, "Peer_Account has 1 to 10 users"));
    }
    let counted = look(&call, move |admin| {
        let mut users = vec![whose.clone()];
        users.extend(peers.iter().filter_map(|peer| named(app, peer, "", 0).ok()));
        let there = admin.exist(&users)?;
        if !there[0] {
            return Ok(Err(Refusal::new(BAD_TO, "To_Account is not registered")));
        }
        let good: Vec<_> = users.into_iter().zip(there).skip(1).filter(|(_, there)| *there).collect();
        let good: Vec<_> = good.into_iter().map(|(user, _)| user).collect();
        let counts = admin.unread_with(&whose, &good)?;
        let (mut list, mut errors) = (Vec::new(), Vec::new());
        for peer in peers {
            match good.iter().position(|user| user.name() == peer) {
                Some(at) => list.push(UnreadOf { peer, count: counts[at] }),
                None => errors.push(NotCounted { peer, error_code: NO_ACCOUNT }),
            }
        }
        Ok(Ok((list, errors)))
    })
    .await?;
    let (list, errors) = counted?;
    Ok(UnreadCounts { all: None, list: Some(list), error_list: Some(errors) })
}

#[derive(Debug, Deserialize, ToSchema)]
pub(super) struct Confirm {
    /// Who has read.
    #[serde(default, rename = "Operator_Account")]
    operator: Text,
    #[serde(default, rename = "Peer_Account")]
    peer: Text,
    #[serde(default, rename = "C2CMsgInfo")]
    messages: Messages,
}

type Messages = Field<Vec<Object<OneMessage>>>;

#[derive(Debug, Clone, PartialEq, Deserialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
struct OneMessage {
    /// `Peer_Account`.
    #[serde(default, rename = "From_Account")]
    from: Text,
    /// `Operator_Account`.
    #[serde(default, rename = "To_Account")]
    to: Text,
    #[serde(default)]
    msg_key: Text,
}

pub(super) async fn confirm(call: Call, body: Confirm) -> Result<Empty, Refusal> {
    let app = call.asker.app;
    let reader = user(app, body.operator, "Operator_Account", BAD_FROM)?;
    let peer = user(app, body.peer, "Peer_Account", BAD_TO)?;
    let messages = body.messages.required("C2CMsgInfo", BAD_FORM)?;
    if messages.is_empty() || messages.len() > MESSAGES_MAX {
        return Err(Refusal::new(BAD_FORM, "C2CMsgInfo has 1 to 30 messages"));
    }
    let mut keys = Vec::with_capacity(messages.len());
    for Object(message) in messages {
        let from = message.from.optional("From_Account", BAD_FROM)?;
        let to = message.to.optional("To_Account", BAD_TO)?;
        if from.is_some_and(|from| from != peer.name()) || to.is_some_and(|to| to != reader.name()) {
            return Err(Refusal::new(BAD_FORM, "C2CMsgInfo names a message of other users"));
        }
        let key = message.msg_key.required("MsgKey", BAD_KEY)?;
        keys.push(key.parse().map_err(|_| Refusal::new(BAD_KEY, "MsgKey is no key of a message"))?);
    }
    let pending = look(&call, move |admin| Ok(admin.confirm_read(&reader, &peer, &keys))).await?;
    told(pending.map_err(refusal)?).await?;
    Ok(Empty {})
}
