//! Replays the hex vectors of `docs/protocol.md`: what the document says is what the code writes and reads.

use bytes::Bytes;
use nearport_wire::body::{
    self, Close, Content, Delivery, Element, Endpoint, GoAway, Hello, LogEntry, Message, Platform, Send,
    Sent, Sync, SyncPage, Target, Text, Welcome, element, target,
};
use nearport_wire::{Decoder, Frame, FrameError, Kind, Lane, Limits, close::CloseCode};
use prost::Message as _;

const PROTOCOL: &str = include_str!("../../../docs/protocol.md");

fn unhex(hex: &str) -> Vec<u8> {
    let hex: String = hex.split_whitespace().collect();
    (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).expect("hex")).collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Lines `name: hex` of the code block that starts with ```` ```vectors-KIND ````.
fn vectors(kind: &str) -> Vec<(&'static str, Vec<u8>)> {
    let block = PROTOCOL.split(&format!("```vectors-{kind}\n")).nth(1).expect("the block exists");
    let block = block.split("```").next().expect("split gives one part at least");
    block
        .lines()
        .map(|line| line.split_once(": ").map(|(name, hex)| (name, unhex(hex))).expect("name: hex"))
        .collect()
}

fn to(user: &str) -> Option<Target> {
    Some(Target { target: Some(target::Target::User(user.into())) })
}

fn text(text: &str) -> Content {
    let element = Some(element::Element::Text(Text { text: text.into() }));
    Content { elements: vec![Element { element, ..Element::default() }], ..Content::default() }
}

const CLIENT_MSG_ID: [u8; 16] = *b"0123456789abcdef";

fn message() -> Message {
    let client_msg_id = Bytes::from_static(&CLIENT_MSG_ID);
    Message {
        from: "alice".into(),
        to: to("bob"),
        client_msg_id,
        content: Some(text("hi")),
        ..Message::default()
    }
}

/// The meaning of every vector, in the order of the document.
fn meaning() -> Vec<(&'static str, Frame)> {
    let frame = |lane, kind, id, body: &dyn Fn() -> Vec<u8>| Frame::new(lane, kind, id, body().into());
    let hello = Hello {
        app: 1_400_000_000,
        user: "alice".into(),
        usersig: "eJw".into(),
        device: "phone".into(),
        platform: Platform::Iphone.into(),
        cursor: Some(7),
        client: "doc/1".into(),
        ..Hello::default()
    };
    let welcome = Welcome {
        session: 1,
        time_ms: 1_700_000_000_000,
        head: 9,
        cursor: 7,
        heartbeat_ms: 25_000,
        frame_bytes_max: 16_384,
        ..Welcome::default()
    };
    let again = Hello {
        app: 1_400_000_000,
        user: "alice".into(),
        device: "phone".into(),
        resume: Bytes::from_static(b"token"),
        ..Hello::default()
    };
    let send = Send {
        client_msg_id: Bytes::from_static(&CLIENT_MSG_ID),
        to: to("bob"),
        content: Some(text("hi")),
        ..Send::default()
    };
    let sent = Sent {
        seq: 3,
        time_ms: 1_700_000_000_123,
        msg_key: "3_808530483_1700000000".into(),
        duplicate: false,
        position: 10,
    };
    let delivery =
        Delivery { message: Some(message()), seq: 3, time_ms: 1_700_000_000_123, ..Delivery::default() };
    let entry = LogEntry { position: 10, delivery: Some(delivery.clone()) };
    let page = SyncPage { entries: vec![entry], head: 10, complete: true };
    let welcome_back = Welcome {
        session: 2,
        head: 10,
        cursor: 9,
        missed: Some(page.clone()),
        resume_token: Bytes::from_static(b"token"),
        resume_ttl_s: 86_400,
        ..welcome.clone()
    };
    let error = body::Error { code: 20003, info: "no account bob".into(), retry_after_ms: 0 };
    let close = Close { code: CloseCode::UNAUTHORIZED.0, reason: "70001 expired".into(), retry_after_ms: 0 };
    vec![
        ("hello", frame(Lane::Control, Kind::HELLO, 0, &|| hello.encode_to_vec())),
        ("welcome", frame(Lane::Control, Kind::WELCOME, 0, &|| welcome.encode_to_vec())),
        (
            "welcome with a window",
            frame(Lane::Control, Kind::WELCOME, 0, &|| {
                Welcome { return_window_ms: 3_000, ..welcome.clone() }.encode_to_vec()
            }),
        ),
        ("hello with a token", frame(Lane::Control, Kind::HELLO, 0, &|| again.encode_to_vec())),
        (
            "welcome with what was missed",
            frame(Lane::Control, Kind::WELCOME, 0, &|| welcome_back.encode_to_vec()),
        ),
        ("ping", frame(Lane::Control, Kind::PING, 5, &Vec::new)),
        ("pong", frame(Lane::Control, Kind::PONG, 5, &Vec::new)),
        ("send", frame(Lane::Chat, Kind::SEND, 1, &|| send.encode_to_vec())),
        (
            "hedge",
            frame(Lane::Chat, Kind::HEDGE, 1, &|| {
                frame(Lane::Chat, Kind::SEND, 2, &|| send.encode_to_vec()).encode().to_vec()
            }),
        ),
        ("sent", frame(Lane::Chat, Kind::REPLY, 1, &|| sent.encode_to_vec())),
        ("push", frame(Lane::Chat, Kind::PUSH, 10, &|| delivery.encode_to_vec())),
        ("ack", frame(Lane::Control, Kind::ACK, 10, &Vec::new)),
        ("behind", frame(Lane::Control, Kind::BEHIND, 0, &Vec::new)),
        ("sync", frame(Lane::Bulk, Kind::SYNC, 300, &|| Sync { after: 9, limit: 100 }.encode_to_vec())),
        ("sync page", frame(Lane::Bulk, Kind::REPLY, 300, &|| page.encode_to_vec())),
        ("error", frame(Lane::Chat, Kind::ERROR, 1, &|| error.encode_to_vec())),
        (
            "go away",
            frame(Lane::Control, Kind::GO_AWAY, 0, &|| {
                GoAway { reason: 2000, slot_ms: 1500, ..GoAway::default() }.encode_to_vec()
            }),
        ),
        (
            "go away to a place",
            frame(Lane::Control, Kind::GO_AWAY, 0, &|| {
                let place = Endpoint { address: "192.0.2.1:4433".into(), server_name: "b.example".into() };
                GoAway { reason: 2000, slot_ms: 1500, targets: vec![place] }.encode_to_vec()
            }),
        ),
        ("close", frame(Lane::Control, Kind::CLOSE, 0, &|| close.encode_to_vec())),
    ]
}

#[test]
fn the_document_and_the_code_agree_on_every_frame() {
    let (vectors, meaning) = (vectors("frames"), meaning());
    let wanted: Vec<_> = meaning.iter().map(|(name, frame)| (*name, hex(&frame.encode()))).collect();
    let written: Vec<_> = vectors.iter().map(|(name, bytes)| (*name, hex(bytes))).collect();
    assert_eq!(written, wanted);
    for ((_, bytes), (name, frame)) in vectors.into_iter().zip(meaning) {
        let mut decoder = Decoder::new(Limits::default());
        decoder.feed(bytes.into());
        assert_eq!(decoder.next_frame(), Ok(Some(frame)), "{name}");
    }
}

#[test]
fn the_document_and_the_code_agree_on_what_is_refused() {
    let want = [
        ("length above the limit", FrameError::TooLong { length: 16_385, limit: 16_384 }),
        ("lane out of range", FrameError::Lane(4)),
    ];
    let got: Vec<_> = vectors("refused")
        .into_iter()
        .map(|(name, bytes)| {
            let mut decoder = Decoder::new(Limits::default());
            decoder.feed(bytes.into());
            (name, decoder.next_frame().unwrap_err())
        })
        .collect();
    assert_eq!(got, want);
}

#[test]
fn the_document_lists_every_close_code() {
    for code in CloseCode::ALL {
        let row = format!("| {} | {} |", code.0, code.name());
        assert!(PROTOCOL.contains(&row), "{row}");
    }
}
