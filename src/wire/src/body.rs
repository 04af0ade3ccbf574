//! Protobuf bodies, generated from `proto/`, and those that the server builds without decoding
//! what it passes on.

#![expect(
    missing_docs,
    clippy::derive_partial_eq_without_eq,
    clippy::large_enum_variant,
    reason = "generated; documented in the .proto"
)]

use bytes::{BufMut, Bytes, BytesMut};
use prost::Message as _;
use prost::encoding::{WireType, encode_key, encode_varint, encoded_len_varint, key_len};

include!(concat!(env!("OUT_DIR"), "/nearport.v1.rs"));

impl From<element::Element> for Element {
    fn from(element: element::Element) -> Self {
        Self { element: Some(element), ..Self::default() }
    }
}

/// The fields of a `Hello` that say who comes, on what, and how that is proved. Reading these alone copies nothing.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct HelloClaim {
    #[prost(uint32, tag = "1")]
    pub app: u32,
    #[prost(bytes = "bytes", tag = "2")]
    pub user: Bytes,
    #[prost(bytes = "bytes", tag = "3")]
    pub usersig: Bytes,
    #[prost(bytes = "bytes", tag = "4")]
    pub device: Bytes,
    #[prost(int32, tag = "5")]
    pub platform: i32,
    #[prost(bytes = "bytes", tag = "8")]
    pub resume: Bytes,
}

impl Relay {
    /// The merged messages, in order. Those that they hold in turn stay closed.
    pub fn messages(&self) -> impl Iterator<Item = Result<Message, prost::DecodeError>> {
        self.msg_list.iter().map(|bytes| Message::decode(bytes.clone()))
    }

    /// With these messages, and their number.
    #[must_use]
    pub fn with_messages(self, messages: &[Message]) -> Self {
        let msg_list: Vec<Bytes> = messages.iter().map(|message| message.encode_to_vec().into()).collect();
        Self { msg_num: u32::try_from(msg_list.len()).unwrap_or(u32::MAX), msg_list, ..self }
    }
}

/// An encoded `Welcome` with two more fields: messages that stand behind each other are one message.
#[must_use]
pub fn append_resume(welcome: &[u8], resume_token: &[u8], resume_ttl_s: u32) -> Bytes {
    let mut out = BytesMut::with_capacity(welcome.len() + resume_token.len() + 16);
    out.put_slice(welcome);
    encode_key(8, WireType::LengthDelimited, &mut out);
    encode_varint(resume_token.len() as u64, &mut out);
    out.put_slice(resume_token);
    prost::encoding::uint32::encode(9, &resume_ttl_s, &mut out);
    out.freeze()
}

/// An encoded `Welcome` with a `return_window_ms`.
#[must_use]
pub fn append_return_window(welcome: &[u8], window_ms: u32) -> Bytes {
    let mut out = BytesMut::with_capacity(welcome.len() + 8);
    out.put_slice(welcome);
    prost::encoding::uint32::encode(10, &window_ms, &mut out);
    out.freeze()
}

/// An encoded `Welcome` with an encoded `SyncPage` as its `missed`.
#[must_use]
pub fn append_missed(welcome: &[u8], page: &[u8]) -> Bytes {
    let mut out = BytesMut::with_capacity(welcome.len() + page.len() + 16);
    out.put_slice(welcome);
    encode_key(7, WireType::LengthDelimited, &mut out);
    encode_varint(page.len() as u64, &mut out);
    out.put_slice(page);
    out.freeze()
}

/// The fields of a `Message` that decide who gets it and what it is for. Reading these alone copies nothing.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct MessageHead {
    #[prost(bytes = "bytes", tag = "1")]
    pub from: Bytes,
    #[prost(bool, tag = "6")]
    pub need_receipt: bool,
    /// Encoded `Mentions`.
    #[prost(bytes = "bytes", optional, tag = "7")]
    pub mentions: Option<Bytes>,
    #[prost(message, optional, tag = "8")]
    pub control: Option<SendControl>,
    #[prost(uint32, tag = "9")]
    pub life_time_s: u32,
    #[prost(bytes = "bytes", optional, tag = "10")]
    pub recalled: Option<Bytes>,
    /// Kept by a server, never sent: see [`append_audience`].
    #[prost(uint32, tag = "1000")]
    pub audience: u32,
}

/// An encoded `Message` with a number of the server's own behind it, which no client is to see: [`without_audience`] takes it
/// off again.
#[must_use]
pub fn append_audience(message: &[u8], audience: u32) -> Bytes {
    let mut out = BytesMut::with_capacity(message.len() + audience_len(audience));
    out.put_slice(message);
    prost::encoding::uint32::encode(AUDIENCE_TAG, &audience, &mut out);
    out.freeze()
}

/// The message that [`append_audience`] was given with this number.
#[must_use]
pub fn without_audience(message: &Bytes, audience: u32) -> Bytes {
    match audience {
        0 => message.clone(),
        _ => message.slice(..message.len().saturating_sub(audience_len(audience))),
    }
}

const AUDIENCE_TAG: u32 = 1000;

fn audience_len(audience: u32) -> usize {
    prost::encoding::uint32::encoded_len(AUDIENCE_TAG, &audience)
}

/// One message with its place, its `Message` still encoded.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RawDelivery {
    /// User log position; 0 outside a sync page.
    pub position: u64,
    /// Position in the conversation.
    pub seq: u64,
    /// Server time in milliseconds.
    pub time_ms: u64,
    /// Number of its newest change in the conversation's change log; 0: as it was sent.
    pub edit: u64,
    /// How many have confirmed to have read it, where its sender asks.
    pub receipts: u32,
    /// In a sync page, of a changed message: it stands here because it was sent, not because of a change.
    pub first: bool,
    /// An encoded `Message`. In a sync page `None` says that there is nothing to show at this position.
    pub message: Option<Bytes>,
}

/// Appends a `Delivery` around an already encoded `Message`.
pub fn encode_delivery(delivery: &RawDelivery, out: &mut BytesMut) {
    out.reserve(delivery_len(delivery));
    if let Some(message) = &delivery.message {
        encode_key(1, WireType::LengthDelimited, out);
        encode_varint(message.len() as u64, out);
        out.put_slice(message);
    }
    prost::encoding::uint64::encode(2, &delivery.seq, out);
    prost::encoding::uint64::encode(3, &delivery.time_ms, out);
    if delivery.edit > 0 {
        prost::encoding::uint64::encode(4, &delivery.edit, out);
    }
    if delivery.receipts > 0 {
        prost::encoding::uint32::encode(5, &delivery.receipts, out);
    }
    if delivery.first {
        prost::encoding::bool::encode(6, &delivery.first, out);
    }
}

fn delivery_len(delivery: &RawDelivery) -> usize {
    let message = delivery
        .message
        .as_ref()
        .map_or(0, |message| key_len(1) + encoded_len_varint(message.len() as u64) + message.len());
    let mut len = message
        + prost::encoding::uint64::encoded_len(2, &delivery.seq)
        + prost::encoding::uint64::encoded_len(3, &delivery.time_ms);
    if delivery.edit > 0 {
        len += prost::encoding::uint64::encoded_len(4, &delivery.edit);
    }
    if delivery.receipts > 0 {
        len += prost::encoding::uint32::encoded_len(5, &delivery.receipts);
    }
    if delivery.first {
        len += prost::encoding::bool::encoded_len(6, &delivery.first);
    }
    len
}

/// A `SyncPage` around already encoded messages.
#[must_use]
pub fn encode_sync_page(entries: &[RawDelivery], head: u64, complete: bool) -> Bytes {
    let mut out = BytesMut::new();
    for entry in entries {
        let position = prost::encoding::uint64::encoded_len(1, &entry.position);
        let delivery = delivery_len(entry);
        let inner = match entry.message {
            Some(_) => position + key_len(2) + encoded_len_varint(delivery as u64) + delivery,
            None => position,
        };
        encode_key(1, WireType::LengthDelimited, &mut out);
        encode_varint(inner as u64, &mut out);
        prost::encoding::uint64::encode(1, &entry.position, &mut out);
        if entry.message.is_some() {
            encode_key(2, WireType::LengthDelimited, &mut out);
            encode_varint(delivery as u64, &mut out);
            encode_delivery(entry, &mut out);
        }
    }
    prost::encoding::uint64::encode(2, &head, &mut out);
    prost::encoding::bool::encode(3, &complete, &mut out);
    out.freeze()
}

/// The fields of a `HistoryPage` beside its messages.
#[derive(Debug, Clone, Copy, Default)]
pub struct HistoryMarks {
    /// Nothing further in that direction.
    pub complete: bool,
    /// Newest seq of the conversation.
    pub head: u64,
    /// How far the asker has read.
    pub read: u64,
    /// How far the peer has read.
    pub peer_read: u64,
    /// Where the next page begins.
    pub next: u64,
    /// Newest number of the conversation's change log.
    pub edit: u64,
}

/// A `HistoryPage` around already encoded messages.
#[must_use]
pub fn encode_history_page(entries: &[RawDelivery], marks: HistoryMarks) -> Bytes {
    let mut out = BytesMut::new();
    for entry in entries {
        encode_key(1, WireType::LengthDelimited, &mut out);
        encode_varint(delivery_len(entry) as u64, &mut out);
        encode_delivery(entry, &mut out);
    }
    prost::encoding::bool::encode(2, &marks.complete, &mut out);
    prost::encoding::uint64::encode(3, &marks.head, &mut out);
    prost::encoding::uint64::encode(4, &marks.read, &mut out);
    prost::encoding::uint64::encode(5, &marks.peer_read, &mut out);
    prost::encoding::uint64::encode(6, &marks.next, &mut out);
    prost::encoding::uint64::encode(7, &marks.edit, &mut out);
    out.freeze()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_appended_to_a_welcome_reads_as_its_fields() {
        let welcome = Welcome { session: 7, time_ms: 1_700_000_000_000, head: 9, ..Welcome::default() };
        let page = SyncPage { head: 9, complete: true, ..SyncPage::default() };
        let encoded = append_missed(&welcome.encode_to_vec(), &page.encode_to_vec());
        let encoded = append_resume(&encoded, b"token", 86_400);
        let encoded = append_return_window(&encoded, 3_000);
        let want = Welcome {
            missed: Some(page),
            resume_token: Bytes::from_static(b"token"),
            resume_ttl_s: 86_400,
            return_window_ms: 3_000,
            ..welcome
        };
        assert_eq!(Welcome::decode(encoded).unwrap(), want);
    }

    #[test]
    fn a_claim_is_what_the_hello_says() {
        let hello = Hello {
            app: 7,
            user: "alice".into(),
            usersig: "sig".into(),
            device: "phone".into(),
            cursor: Some(3),
            platform: Platform::Web.into(),
            client: "test".into(),
            resume: Bytes::from_static(b"token"),
        };
        let claim = HelloClaim::decode(&hello.encode_to_vec()[..]).unwrap();
        let want = HelloClaim {
            app: 7,
            user: "alice".into(),
            usersig: "sig".into(),
            device: "phone".into(),
            platform: Platform::Web.into(),
            resume: "token".into(),
        };
        assert_eq!(claim, want);
    }

    #[test]
    fn hand_made_pages_read_as_the_generated_types() {
        let message = Message { from: "alice".into(), ..Message::default() };
        let raw = RawDelivery {
            position: 9,
            seq: 300,
            time_ms: 1_700_000_000_000,
            edit: 5,
            receipts: 2,
            first: true,
            message: Some(message.encode_to_vec().into()),
        };
        let (seq, time_ms) = (300, 1_700_000_000_000);
        let delivery = Delivery { message: Some(message), seq, time_ms, edit: 5, receipts: 2, first: true };
        let gone = RawDelivery { position: 10, ..RawDelivery::default() };

        let entries = [raw.clone(), gone, raw.clone()];
        let sync = SyncPage::decode(encode_sync_page(&entries, 10, true)).unwrap();
        let entry = LogEntry { position: 9, delivery: Some(delivery.clone()) };
        let gone = LogEntry { position: 10, delivery: None };
        assert_eq!(sync, SyncPage { entries: vec![entry.clone(), gone, entry], head: 10, complete: true });

        let marks = HistoryMarks { complete: true, head: 4, read: 2, peer_read: 3, next: 7, edit: 6 };
        let page = HistoryPage::decode(encode_history_page(&[raw], marks)).unwrap();
        let want = HistoryPage {
            deliveries: vec![delivery],
            complete: true,
            head: 4,
            read: 2,
            peer_read: 3,
            next: 7,
            edit: 6,
        };
        assert_eq!(page, want);
    }

    #[test]
    fn a_head_is_what_the_message_says() {
        let message = Message {
            from: "alice".into(),
            content: Some(Content { cloud_custom_data: "x".into(), ..Content::default() }),
            need_receipt: true,
            mentions: Some(Mentions { users: vec!["bob".into()], all: true }),
            control: Some(SendControl { no_unread: true, no_last_message: false }),
            life_time_s: 60,
            recalled: Some(Recalled { by: "alice".into(), ..Recalled::default() }),
            ..Message::default()
        };
        let head = MessageHead::decode(&message.encode_to_vec()[..]).unwrap();
        assert_eq!(&head.from[..], b"alice");
        assert!(head.need_receipt && head.recalled.is_some());
        assert_eq!((head.life_time_s, head.control, head.audience), (60, message.control, 0));
        assert_eq!(Mentions::decode(head.mentions.unwrap()).ok(), message.mentions);

        let encoded = Bytes::from(message.encode_to_vec());
        let kept = append_audience(&encoded, 2);
        let head = MessageHead::decode(kept.clone()).unwrap();
        assert_eq!(head.audience, 2);
        assert_eq!(without_audience(&kept, head.audience), encoded);
        assert_eq!(without_audience(&encoded, 0), encoded);
    }
}
