//! From JSON to the wire.

use bytes::Bytes;
use nearport_wire::body::{
    Content, Custom, Element, Face, File, Image, ImageInfo, Location, Message, MessageKey, Relay, Sound,
    Target, Text, Video, element::Element as Kind, target,
};
use serde_json::{Map, Value};

use crate::field::Lenient;

/// What stands in `MsgBody`.
pub(super) fn elements(values: Vec<Value>) -> Result<Vec<Element>, String> {
    values.into_iter().enumerate().map(|(at, value)| element(at, value)).collect()
}

fn element(at: usize, value: Value) -> Result<Element, String> {
    let Value::Object(mut element) = value else { return Err(format!("element {at} is no object")) };
    let kind = match element.remove("MsgType") {
        Some(Value::String(kind)) => kind,
        _ => return Err(format!("element {at}: MsgType is missing or no string")),
    };
    let content = match element.remove("MsgContent") {
        Some(Value::Object(content)) => content,
        _ => return Err(format!("element {at}: MsgContent is missing or no object")),
    };
    let mut fields = Fields { at, fields: content };
    let kind = fields.kind(&kind)?;
    let extra = match fields.fields.is_empty() {
        true => String::new(),
        false => Value::Object(fields.fields).to_string(),
    };
    Ok(Element { extra, ..Element::from(kind) })
}

/// The fields of one `MsgContent`, of which what has a place is taken out.
struct Fields {
    at: usize,
    fields: Map<String, Value>,
}

impl Fields {
    fn take<T: Lenient>(&mut self, name: &str) -> Result<Option<T>, String> {
        match self.fields.remove(name) {
            None | Some(Value::Null) => Ok(None),
            Some(value) => match T::read(value) {
                Some(value) => Ok(Some(value)),
                None => Err(format!("element {}: {name} has the wrong type", self.at)),
            },
        }
    }

    fn text(&mut self, name: &str) -> Result<String, String> {
        Ok(self.take(name)?.unwrap_or_default())
    }

    fn value<T: Lenient + Default>(&mut self, name: &str) -> Result<T, String> {
        Ok(self.take(name)?.unwrap_or_default())
    }

    fn list(&mut self, name: &str) -> Result<Vec<Self>, String> {
        let objects: Vec<Map<String, Value>> = self.take(name)?.unwrap_or_default();
        Ok(objects.into_iter().map(|fields| Self { at: self.at, fields }).collect())
    }

    fn kind(&mut self, kind: &str) -> Result<Kind, String> {
        Ok(match kind {
            "TIMTextElem" => match self.take("Text")? {
                Some(text) => Kind::Text(Text { text }),
                None => return Err(format!("element {}: Text is missing", self.at)),
            },
            "TIMLocationElem" => Kind::Location(Location {
                desc: self.text("Desc")?,
                latitude: self.value("Latitude")?,
                longitude: self.value("Longitude")?,
            }),
            "TIMFaceElem" => Kind::Face(Face { index: self.value("Index")?, data: self.text("Data")? }),
            "TIMCustomElem" => Kind::Custom(Custom {
                data: self.text("Data")?,
                desc: self.text("Desc")?,
                ext: self.text("Ext")?,
                sound: self.text("Sound")?,
            }),
            "TIMSoundElem" => Kind::Sound(Sound {
                url: self.text("Url")?,
                uuid: self.text("UUID")?,
                size: self.value("Size")?,
                second: self.value("Second")?,
                download_flag: self.value("Download_Flag")?,
            }),
            "TIMImageElem" => Kind::Image(Image {
                uuid: self.text("UUID")?,
                format: self.value("ImageFormat")?,
                infos: self
                    .list("ImageInfoArray")?
                    .iter_mut()
                    .map(Self::image_info)
                    .collect::<Result<_, _>>()?,
            }),
            "TIMFileElem" => Kind::File(File {
                url: self.text("Url")?,
                uuid: self.text("UUID")?,
                size: self.value("FileSize")?,
                name: self.text("FileName")?,
                download_flag: self.value("Download_Flag")?,
            }),
            "TIMVideoFileElem" => Kind::Video(self.video()?),
            "TIMRelayElem" => Kind::Relay(self.relay()?),
            other => return Err(format!("element {}: no message is sent with {other:?}", self.at)),
        })
    }

    fn image_info(&mut self) -> Result<ImageInfo, String> {
        Ok(ImageInfo {
            r#type: self.value("Type")?,
            size: self.value("Size")?,
            width: self.value("Width")?,
            height: self.value("Height")?,
            url: self.text("URL")?,
        })
    }

    fn video(&mut self) -> Result<Video, String> {
        Ok(Video {
            video_url: self.text("VideoUrl")?,
            video_uuid: self.text("VideoUUID")?,
            video_size: self.value("VideoSize")?,
            video_second: self.value("VideoSecond")?,
            video_format: self.text("VideoFormat")?,
            video_download_flag: self.value("VideoDownloadFlag")?,
            thumb_url: self.text("ThumbUrl")?,
            thumb_uuid: self.text("ThumbUUID")?,
            thumb_size: self.value("ThumbSize")?,
            thumb_width: self.value("ThumbWidth")?,
            thumb_height: self.value("ThumbHeight")?,
            thumb_format: self.text("ThumbFormat")?,
            thumb_download_flag: self.value("ThumbDownloadFlag")?,
        })
    }

    fn relay(&mut self) -> Result<Relay, String> {
        let messages = self.list("MsgList")?.into_iter().map(Self::merged);
        let messages = messages.collect::<Result<Vec<_>, _>>()?;
        Ok(Relay {
            title: self.text("Title")?,
            compatible_text: self.text("CompatibleText")?,
            abstract_list: self.value("AbstractList")?,
            json_msg_key: self.text("JsonMsgKey")?,
            msg_num: self.value("MsgNum")?,
            ..Relay::default().with_messages(&messages)
        })
    }

    /// One of the messages that are merged.
    fn merged(mut self) -> Result<Message, String> {
        let (user, group) = (self.take("To_Account")?, self.take("GroupId")?);
        let target = group.map(target::Target::Group).or_else(|| user.map(target::Target::User));
        let body: Vec<Value> = self.value("MsgBody")?;
        let random: u32 = self.value("MsgRandom")?;
        let content = Content { elements: elements(body)?, cloud_custom_data: self.text("CloudCustomData")? };
        Ok(Message {
            from: self.text("From_Account")?,
            to: target.map(|target| Target { target: Some(target) }),
            client_msg_id: Bytes::new(),
            content: Some(content),
            key: Some(MessageKey { seq: self.value("MsgSeq")?, random, time_s: self.value("MsgTimeStamp")? }),
            ..Message::default()
        })
    }
}

impl Lenient for Map<String, Value> {
    fn read(value: Value) -> Option<Self> {
        if let Value::Object(fields) = value { Some(fields) } else { None }
    }
}

impl Lenient for i32 {
    fn read(value: Value) -> Option<Self> {
        i64::read(value)?.try_into().ok()
    }
}

impl Lenient for f64 {
    /// A number, also as text.
    fn read(value: Value) -> Option<Self> {
        let number = match value {
            Value::Number(number) => number.as_f64()?,
            Value::String(text) => text.parse().ok()?,
            _ => return None,
        };
        number.is_finite().then_some(number)
    }
}
