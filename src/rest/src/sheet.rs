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
struct Line<'a> {
    #[serde(rename = "From_Account")]
    from: &'a str,
    #[serde(rename = "To_Account", skip_serializing_if = "Option::is_none")]
    to: Option<&'a str>,
    #[serde(rename = "GroupId", skip_serializing_if = "Option::is_none")]
    group: Option<&'a str>,
    #[serde(rename = "TopicId", skip_serializing_if = "Option::is_none")]
    topic: Option<&'a str>,
    // As the contract spells it here.
    #[serde(rename = "MsgTimestamp")]
    time_s: u64,
    #[serde(rename = "MsgSeq")]
    seq: u64,
    #[serde(rename = "MsgRandom", skip_serializing_if = "Option::is_none")]
    random: Option<u32>,
    #[serde(rename = "MsgBody")]
    body: MsgBodyOut,
    #[serde(rename = "CloudCustomData", skip_serializing_if = "str::is_empty")]
    data: &'a str,
}

/// A message: a line without its end.
#[must_use]
pub fn line(said: &Said) -> Vec<u8> {
    let Said { conv, key, message } = said;
    let (mut to, mut group, mut topic, mut random) = (None, None, None, None);
    let kind = conv.kind();
    let home;
    match &kind {
        ConvKind::Group(key) => {
            home = key.home();
            group = Some(home.id());
            topic = key.is_topic().then(|| key.id());
        }
        ConvKind::Pair(a, b) => {
            let other = if a.name() == message.from { b } else { a };
            to = Some(match &message.to {
                Some(Target { target: Some(target::Target::User(name)) }) => name,
                _ => other.name(),
            });
            random = Some(key.random);
        }
        ConvKind::Notices(_) | ConvKind::Pushes(_) => {}
    }
    let (elements, data) =
        message.content.as_ref().map_or((&[][..], ""), |it| (&it.elements, &it.cloud_custom_data));
    let line = Line {
        from: &message.from,
        to,
        group,
        topic,
        time_s: key.time_s,
        seq: key.seq,
        random,
        body: to_json(elements),
        data,
    };
    serde_json::to_vec(&line).unwrap_or_default()
}
