//! From the wire to JSON.

use std::borrow::Cow;

use nearport_wire::body::{
    Element, Image, ImageInfo, Message, MessageKey, Notice, Relay, Tip, Video, element::Element as Kind,
    target,
};
use serde::Serialize;
use serde_json::{Map, Value, json};
use utoipa::openapi::RefOr;
use utoipa::openapi::schema::Schema;
use utoipa::{PartialSchema, ToSchema};

use super::KINDS;

/// `MsgBody` of an answer.
#[derive(Debug, Clone, Default, Serialize)]
#[serde(transparent)]
pub(crate) struct MsgBodyOut(pub(crate) Vec<Value>);

impl PartialSchema for MsgBodyOut {
    fn schema() -> RefOr<Schema> {
        super::schema(&KINDS)
    }
}

impl ToSchema for MsgBodyOut {
    fn name() -> Cow<'static, str> {
        Cow::Borrowed("MsgBody")
    }
}

/// `MsgBody` of these elements. One of a kind that this server does not know is left out.
pub(crate) fn to_json(elements: &[Element]) -> MsgBodyOut {
    MsgBodyOut(elements.iter().filter_map(element).collect())
}

fn element(element: &Element) -> Option<Value> {
    let (kind, known) = match element.element.as_ref()? {
        Kind::Text(text) => (0, json!({ "Text": text.text })),
        Kind::Location(place) => {
            (1, json!({ "Desc": place.desc, "Latitude": place.latitude, "Longitude": place.longitude }))
        }
        Kind::Face(face) => (2, json!({ "Index": face.index, "Data": face.data })),
        Kind::Custom(custom) => {
            (3, json!({ "Data": custom.data, "Desc": custom.desc, "Ext": custom.ext, "Sound": custom.sound }))
        }
        Kind::Sound(sound) => (
            4,
            json!({
                "Url": sound.url, "UUID": sound.uuid, "Size": sound.size, "Second": sound.second,
                "Download_Flag": flag(sound.download_flag),
            }),
        ),
        Kind::Image(image) => (5, image_json(image)),
        Kind::File(file) => (
            6,
            json!({
                "Url": file.url, "UUID": file.uuid, "FileSize": file.size, "FileName": file.name,
                "Download_Flag": flag(file.download_flag),
            }),
        ),
        Kind::Video(video) => (7, video_json(video)),
        Kind::Relay(relay) => (8, relay_json(relay)),
        Kind::Tip(tip) => (9, tip_json(tip)),
        Kind::Notice(notice) => (10, notice_json(notice)),
    };
    // What came along and has no place on the wire; a field that has one is never taken from there.
    let mut content: Map<String, Value> = match element.extra.is_empty() {
        true => Map::new(),
        false => serde_json::from_str(&element.extra).unwrap_or_default(),
    };
    if let Value::Object(known) = known {
        content.extend(known);
    }
    Some(json!({ "MsgType": KINDS[kind], "MsgContent": content }))
}

/// Always 2 in the contract; clients leave it out.
fn flag(flag: u32) -> u32 {
    if flag == 0 { 2 } else { flag }
}

fn image_json(image: &Image) -> Value {
    let info = |ImageInfo { r#type, size, width, height, url }: &ImageInfo| json!({ "Type": r#type, "Size": size, "Width": width, "Height": height, "URL": url });
    json!({
        "UUID": image.uuid, "ImageFormat": image.format,
        "ImageInfoArray": image.infos.iter().map(info).collect::<Vec<_>>(),
    })
}

fn video_json(video: &Video) -> Value {
    json!({
        "VideoUrl": video.video_url, "VideoUUID": video.video_uuid, "VideoSize": video.video_size,
        "VideoSecond": video.video_second, "VideoFormat": video.video_format,
        "VideoDownloadFlag": flag(video.video_download_flag),
        "ThumbUrl": video.thumb_url, "ThumbUUID": video.thumb_uuid, "ThumbSize": video.thumb_size,
        "ThumbWidth": video.thumb_width, "ThumbHeight": video.thumb_height,
        "ThumbFormat": video.thumb_format, "ThumbDownloadFlag": flag(video.thumb_download_flag),
    })
}

fn relay_json(relay: &Relay) -> Value {
    let mut out = json!({
        "Title": relay.title, "MsgNum": relay.msg_num, "CompatibleText": relay.compatible_text,
        "AbstractList": relay.abstract_list,
    });
    // One of the two.
    match relay.json_msg_key.is_empty() {
        true => out["MsgList"] = relay.messages().flatten().map(|message| merged_json(&message)).collect(),
        false => out["JsonMsgKey"] = relay.json_msg_key.clone().into(),
    }
    out
}

fn merged_json(message: &Message) -> Value {
    let MessageKey { seq, random, time_s } = message.key.unwrap_or_else(|| MessageKey {
        random: message.client_msg_id.first_chunk().map_or(0, |bytes| u32::from_be_bytes(*bytes)),
        ..MessageKey::default()
    });
    let content = message.content.as_ref();
    let mut out = json!({
        "From_Account": message.from, "MsgSeq": seq, "MsgRandom": random, "MsgTimeStamp": time_s,
        "MsgBody": to_json(content.map_or(&[], |content| &content.elements)),
    });
    match message.to.as_ref().and_then(|to| to.target.as_ref()) {
        Some(target::Target::User(user)) => out["To_Account"] = user.clone().into(),
        Some(target::Target::Group(group)) => out["GroupId"] = group.clone().into(),
        Some(target::Target::Notices(_)) | None => {}
    }
    if let Some(content) = content.filter(|content| !content.cloud_custom_data.is_empty()) {
        out["CloudCustomData"] = content.cloud_custom_data.clone().into();
    }
    out
}

fn tip_json(tip: &Tip) -> Value {
    let changes = tip.changes.iter().map(|change| json!({ "Field": change.field, "Value": change.value }));
    let members = tip.member_changes.iter();
    let members =
        members.map(|change| json!({ "Member_Account": change.member, "ShutUpTime": change.mute_s }));
    json!({
        "OpType": tip.r#type, "Operator_Account": tip.operator, "MemberList": tip.members,
        "GroupInfo": changes.collect::<Vec<_>>(), "MemberInfo": members.collect::<Vec<_>>(),
        "MemberNum": tip.member_count,
    })
}

fn notice_json(notice: &Notice) -> Value {
    json!({
        "ReportType": notice.r#type, "GroupId": notice.group, "GroupName": notice.group_name,
        "Operator_Account": notice.operator, "RemarkInfo": notice.text, "UserDefinedField": notice.data,
        "Member_Account": notice.user,
    })
}
