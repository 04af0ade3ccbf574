//! What a request looks like: its query, its headers, its body.
//!
//! **Query**: `SdkAppid`, `CallbackCommand`, `contenttype=json`, and where a client's request stands behind the event `ClientIP` and
//! `OptPlatform`; with a token also `RequestTime` (Unix seconds) and `Sign`, the SHA-256 of token and `RequestTime` in hexadecimal digits.
//!
//! **Headers**: with a token `X-Nearport-Timestamp` (Unix seconds) and `X-Nearport-Signature`: `v1=` and the HMAC-SHA256, under the token,
//! of the time stamp, a dot and the body, in hexadecimal digits. Unlike `Sign` it covers what is said.

use std::fmt::Write as _;

use aws_lc_rs::{digest, hmac};
use bytes::Bytes;
use http::Uri;
use http::uri::PathAndQuery;
use nearport_chat::callback::{Command, Event};
use nearport_chat::key::AppId;
use nearport_wire::body::{Content, Element, Message, Target as To, target};
use prost::Message as _;
use serde_json::{Map, Value};

use crate::target::Target;

/// How elements are written and read as `MsgBody` of the public contract.
#[derive(Debug, Clone, Copy)]
pub struct Elements {
    /// From the wire.
    pub out: fn(&[Element]) -> Vec<Value>,
    /// To the wire: `MsgBody` and `CloudCustomData`. The error is for people.
    pub read: fn(Value, String) -> Result<Content, String>,
}

/// A request, ready to be sent.
#[derive(Debug, Clone)]
pub struct Rendered {
    /// Where to.
    pub uri: Uri,
    /// JSON.
    pub body: Bytes,
    /// Time stamp and signature.
    pub signature: Option<(String, String)>,
}

/// What is known of an event beside itself.
#[derive(Debug, Clone, Copy)]
pub struct About {
    /// Whose.
    pub app: AppId,
    /// Sequence number of its message, 0 for none.
    pub seq: u64,
    /// When it happened, milliseconds.
    pub time_ms: u64,
    /// The unread count that [`Event::unread_of`] asks for.
    pub unread: Option<u64>,
}

/// Renders an event for its target. `now_ms` is the time that is signed.
///
/// # Errors
/// What is wrong with it, for people: nothing that this version writes.
pub fn render(
    event: &Event,
    about: About,
    target: &Target,
    elements: Elements,
    now_ms: u64,
) -> Result<Rendered, String> {
    let body = body(event, about, elements)?;
    let body = Bytes::from(Value::Object(body).to_string());
    let now_s = now_ms / 1000;
    let mut query = String::new();
    let mut pair = |name: &str, value: &str| {
        if !query.is_empty() {
            query.push('&');
        }
        query.push_str(name);
        query.push('=');
        encode(value, &mut query);
    };
    pair("SdkAppid", &about.app.0.to_string());
    pair("CallbackCommand", &event.command);
    pair("contenttype", "json");
    if !event.ip.is_empty() {
        pair("ClientIP", &event.ip);
    }
    if !event.platform.is_empty() {
        pair("OptPlatform", &event.platform);
    }
    let signature = target.token.as_ref().map(|token| {
        let time = now_s.to_string();
        let sign = digest::digest(&digest::SHA256, format!("{token}{time}").as_bytes());
        pair("RequestTime", &time);
        pair("Sign", &hex(sign.as_ref()));
        let key = hmac::Key::new(hmac::HMAC_SHA256, token.as_bytes());
        let mut context = hmac::Context::with_key(&key);
        context.update(time.as_bytes());
        context.update(b".");
        context.update(&body);
        let signature = format!("v1={}", hex(context.sign().as_ref()));
        (time, signature)
    });
    let path = target.url.path_and_query().map_or("/", PathAndQuery::as_str);
    let joint = if path.contains('?') { '&' } else { '?' };
    let mut parts = target.url.clone().into_parts();
    let path = format!("{path}{joint}{query}").parse();
    parts.path_and_query = Some(path.map_err(|error| format!("the query: {error}"))?);
    let uri = Uri::from_parts(parts).map_err(|error| format!("the URL: {error}"))?;
    Ok(Rendered { uri, body, signature })
}

fn body(event: &Event, about: About, elements: Elements) -> Result<Map<String, Value>, String> {
    let mut body = event.fields();
    if !event.message.is_empty() {
        let message =
            Message::decode(event.message.clone()).map_err(|error| format!("the message: {error}"))?;
        let sent = event.command == Command::GroupAfterSend.name();
        add_message(&message, about, sent, elements, &mut body);
    }
    if !event.unread_of.is_empty()
        && let Some(unread) = about.unread
    {
        body.insert("UnreadMsgNum".into(), unread.into());
    }
    body.insert("CallbackCommand".into(), event.command.clone().into());
    body.insert("EventTime".into(), about.time_ms.into());
    Ok(body)
}

/// The fields of a message. Those of a group and of a pair have different names.
fn add_message(
    message: &Message,
    about: About,
    sent: bool,
    elements: Elements,
    body: &mut Map<String, Value>,
) {
    let random = message.client_msg_id.first_chunk::<4>().map_or(0, |id| u32::from_be_bytes(*id));
    let time_s = about.time_ms / 1000;
    let content = message.content.clone().unwrap_or_default();
    let mut put = |name: &str, value: Value| drop(body.insert(name.to_owned(), value));
    put("From_Account", message.from.clone().into());
    put("MsgBody", (elements.out)(&content.elements).into());
    put("CloudCustomData", content.cloud_custom_data.into());
    match &message.to {
        Some(To { target: Some(target::Target::User(to)) }) => {
            put("To_Account", to.clone().into());
            // One that a back end has sent has the key that it chose.
            let own = message.key.map(|key| (key.seq.into(), key.random, key.time_s.into()));
            let (seq, random, time_s) = own.unwrap_or((about.seq, random, time_s));
            put("MsgSeq", seq.into());
            put("MsgRandom", random.into());
            put("MsgTime", time_s.into());
            put("MsgKey", format!("{seq}_{random}_{time_s}").into());
        }
        _ => {
            put("Random", random.into());
            // It has a place only once it is sent.
            if sent {
                put("MsgSeq", about.seq.into());
                put("MsgTime", time_s.into());
            }
        }
    }
}

/// Percent-encodes all that is not unreserved (RFC 3986).
fn encode(value: &str, out: &mut String) {
    for byte in value.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            let _ = write!(out, "%{byte:02X}");
        }
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
pub(crate) mod tests {
    use std::sync::Arc;

    use nearport_chat::callback::{Commands, OnFailure, Origin, url};
    use nearport_wire::body::{Text, element};
    use serde_json::json;

    use super::*;

    pub(crate) const ELEMENTS: Elements = Elements { out, read };

    fn out(elements: &[Element]) -> Vec<Value> {
        let text = |element: &Element| match &element.element {
            Some(element::Element::Text(text)) => {
                json!({ "MsgType": "TIMTextElem", "MsgContent": { "Text": text.text } })
            }
            _ => Value::Null,
        };
        elements.iter().map(text).collect()
    }

    fn read(body: Value, cloud_custom_data: String) -> Result<Content, String> {
        let text = |value: &Value| {
            let text = value["MsgContent"]["Text"].as_str().ok_or("no text")?.to_owned();
            Ok(element::Element::Text(Text { text }).into())
        };
        let elements = body.as_array().ok_or("no array")?.iter().map(text);
        Ok(Content { elements: elements.collect::<Result<_, String>>()?, cloud_custom_data })
    }

    pub(crate) fn target(to: &str) -> Target {
        let provider = rustls::crypto::aws_lc_rs::default_provider();
        let tls = rustls::ClientConfig::builder_with_provider(provider.into())
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(rustls::RootCertStore::empty())
            .with_no_client_auth();
        Target {
            url: url(to).unwrap(),
            commands: Command::ALL.iter().copied().collect::<Commands>(),
            on_failure: OnFailure::Allow,
            retry: true,
            token: Some("secret".into()),
            allow_private: true,
            concurrency: 4,
            tls: Arc::new(tls),
        }
    }

    fn message(to: target::Target) -> Message {
        let text = element::Element::Text(Text { text: "hi".into() });
        Message {
            from: "alice".into(),
            to: Some(To { target: Some(to) }),
            client_msg_id: vec![0, 0, 1, 0, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9].into(),
            content: Some(Content { elements: vec![text.into()], cloud_custom_data: "cloud".into() }),
            ..Message::default()
        }
    }

    const ABOUT: About =
        About { app: AppId(1_400_000_001), seq: 7, time_ms: 1_500_000_000_123, unread: Some(3) };

    #[test]
    fn a_message_of_a_pair_has_the_contracts_fields_query_and_signature() {
        let origin = Origin { ip: Some("2001:db8::7".parse().unwrap()), platform: "iOS" };
        let fields = json!({ "SendMsgResult": 0, "ErrorInfo": "send msg succeed", "OnlineOnlyFlag": 0 });
        let event = Event::new(Command::PairAfterSend, b"key", origin, &fields)
            .about(&message(target::Target::User("bob".into())))
            .unread_of("bob");
        let target = target("https://example.org/cb?x=1");
        let rendered = render(&event, ABOUT, &target, ELEMENTS, 1_600_000_000_999).unwrap();
        let body: Value = serde_json::from_slice(&rendered.body).unwrap();
        assert_eq!(
            body,
            json!({
                "CallbackCommand": "C2C.CallbackAfterSendMsg", "EventTime": 1_500_000_000_123u64,
                "From_Account": "alice", "To_Account": "bob", "MsgSeq": 7, "MsgRandom": 256,
                "MsgTime": 1_500_000_000, "MsgKey": "7_256_1500000000", "OnlineOnlyFlag": 0,
                "MsgBody": [{ "MsgType": "TIMTextElem", "MsgContent": { "Text": "hi" } }],
                "CloudCustomData": "cloud", "SendMsgResult": 0, "ErrorInfo": "send msg succeed",
                "UnreadMsgNum": 3,
            })
        );
        // sha256("secret1600000000"), by sha256sum.
        let query = rendered.uri.query().unwrap();
        assert!(query.starts_with(
            "x=1&SdkAppid=1400000001&CallbackCommand=C2C.CallbackAfterSendMsg&contenttype=json\
             &ClientIP=2001%3Adb8%3A%3A7&OptPlatform=iOS&RequestTime=1600000000&Sign="
        ));
        let (time, signature) = rendered.signature.unwrap();
        let key = hmac::Key::new(hmac::HMAC_SHA256, b"secret");
        let want = hmac::sign(&key, &[b"1600000000.", &rendered.body[..]].concat());
        assert_eq!((time.as_str(), signature), ("1600000000", format!("v1={}", hex(want.as_ref()))));
    }

    #[test]
    fn a_message_of_a_group_has_other_names_and_nothing_is_said_of_clients_where_there_is_none() {
        let fields = json!({ "GroupId": "@TGS#1", "Type": "Public", "OnlineOnlyFlag": 0 });
        let event = Event::new(Command::GroupAfterSend, b"", Origin::NONE, &fields)
            .about(&message(target::Target::Group("@TGS#1".into())));
        let target = Target { token: None, ..target("http://127.0.0.1:80") };
        let rendered = render(&event, ABOUT, &target, ELEMENTS, 0).unwrap();
        let body: Value = serde_json::from_slice(&rendered.body).unwrap();
        assert_eq!(
            (&body["Random"], &body["MsgSeq"], &body["MsgTime"]),
            (&256.into(), &7.into(), &1_500_000_000.into())
        );
        assert!(body.get("To_Account").is_none() && body.get("UnreadMsgNum").is_none());
        assert_eq!(rendered.uri.path(), "/");
        let query = "SdkAppid=1400000001&CallbackCommand=Group.CallbackAfterSendMsg&contenttype=json";
        assert_eq!((rendered.uri.query(), rendered.signature), (Some(query), None));
    }
}
