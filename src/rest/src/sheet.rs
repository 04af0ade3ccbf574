//! The text of a history file: what was said in an hour, one message a line. docs/rest.md is the format for people.

use nearport_chat::history::{HistoryKey, Said};
use nearport_chat::key::{AppId, ConvKind, Talk};
use nearport_wire::body::{Target, target};
use serde::Serialize;

use crate::elements::{MsgBodyOut, to_json};
use crate::operations::dates::hour_text;

/// Behind the last message.
pub const END: &str = "\n]}";

/// Between two messages.
pub const BETWEEN: &str = ",\n";

fn chat_type(talk: Talk) -> &'static str {
    match talk {
        Talk::Pairs => "C2C",
        Talk::Groups => "Group",
    }
}

/// The first line, its end included.
#[must_use]
pub fn head(key: &HistoryKey) -> String {
    let (AppId(app), chat, hour) = (key.app, chat_type(key.talk), hour_text(key.hour));
    format!("{{\"SdkAppId\":{app},\"ChatType\":\"{chat}\",\"MsgTime\":\"{hour}\",\"MsgList\":[\n")
}

/// What a file is called where it is saved.
#[must_use]
pub fn name(key: &HistoryKey) -> String {
    format!("{}-{}-{}.gz", key.app.0, chat_type(key.talk), hour_text(key.hour))
}

#[derive(Serialize)]
struct Line {
    #[serde(rename = "From_Account")]
    from: String,
    #[serde(rename = "To_Account", skip_serializing_if = "Option::is_none")]
    to: Option<String>,
    #[serde(rename = "GroupId", skip_serializing_if = "Option::is_none")]
    group: Option<String>,
    #[serde(rename = "TopicId", skip_serializing_if = "Option::is_none")]
    topic: Option<String>,
    // As the contract spells it here.
    #[serde(rename = "MsgTimestamp")]
    time_s: u64,
    #[serde(rename = "MsgSeq")]
    seq: u64,
    #[serde(rename = "MsgRandom", skip_serializing_if = "Option::is_none")]
    random: Option<u32>,
    #[serde(rename = "MsgBody")]
    body: MsgBodyOut,
    #[serde(rename = "CloudCustomData", skip_serializing_if = "String::is_empty")]
    data: String,
}

/// A message: a line without its end.
#[must_use]
pub fn line(said: &Said) -> Vec<u8> {
    let Said { conv, key, message } = said;
    let (mut to, mut group, mut topic, mut random) = (None, None, None, None);
    match conv.kind() {
        ConvKind::Group(key) => {
            group = Some(key.home().id().to_owned());
            topic = key.is_topic().then(|| key.id().to_owned());
        }
        ConvKind::Pair(a, b) => {
            let other = if a.name() == message.from { b } else { a };
            let named = match &message.to {
                Some(Target { target: Some(target::Target::User(name)) }) => Some(name.clone()),
                _ => None,
            };
            to = Some(named.unwrap_or_else(|| other.name().to_owned()));
            random = Some(key.random);
        }
        ConvKind::Notices(_) | ConvKind::Pushes(_) => {}
    }
    let content = message.content.clone().unwrap_or_default();
    let line = Line {
        from: message.from.clone(),
        to,
        group,
        topic,
        time_s: key.time_s,
        seq: key.seq,
        random,
        body: to_json(&content.elements),
        data: content.cloud_custom_data,
    };
    serde_json::to_vec(&line).unwrap_or_default()
}
