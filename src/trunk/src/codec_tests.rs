//! Round trips, cuts and noise.

use proptest::prelude::*;

use super::*;

fn session() -> impl Strategy<Value = SessionId> {
    any::<u64>().prop_map(SessionId)
}

fn bytes() -> impl Strategy<Value = Bytes> {
    proptest::collection::vec(any::<u8>(), 0..300).prop_map(Bytes::from)
}

fn topic() -> impl Strategy<Value = Topic> {
    proptest::collection::vec(any::<u8>(), 0..80).prop_map(|bytes| Topic::from(&bytes[..]))
}

fn head() -> impl Strategy<Value = (Lane, Kind, u64)> {
    (0u8..4, any::<u8>(), any::<u64>())
        .prop_map(|(lane, kind, id)| (Lane::from_u8(lane).unwrap(), Kind(kind), id))
}

fn identity() -> impl Strategy<Value = Identity> {
    (any::<u32>(), "[!-~]{0,32}", ".{0,32}", any::<u64>(), any::<u64>()).prop_map(
        |(app, user, device, issued_s, expires_s)| Identity { app, user, device, issued_s, expires_s },
    )
}

fn address() -> impl Strategy<Value = SocketAddr> {
    let ip = prop_oneof![any::<[u8; 4]>().prop_map(IpAddr::from), any::<[u8; 16]>().prop_map(IpAddr::from)];
    (ip, any::<u16>()).prop_map(|(ip, port)| SocketAddr::new(ip, port))
}

fn up() -> impl Strategy<Value = Up> {
    let boxed = |value: Option<Identity>| value.map(Box::new);
    prop_oneof![
        (session(), bytes(), address(), proptest::option::of(identity())).prop_map(
            move |(session, hello, peer, vouched)| Up::Open { session, hello, peer, vouched: boxed(vouched) }
        ),
        (session(), head(), bytes()).prop_map(|(session, (lane, kind, id), body)| Up::Frame {
            session,
            lane,
            kind,
            id,
            body
        }),
        (session(), any::<u64>()).prop_map(|(session, position)| Up::Ack { session, position }),
        (session(), proptest::option::of(0..u32::MAX))
            .prop_map(|(session, lost_ms)| Up::Close { session, lost_ms }),
        (session(), identity(), any::<u8>()).prop_map(|(session, identity, platform)| Up::Adopt {
            session,
            identity: Box::new(identity),
            platform
        }),
    ]
}

fn down() -> impl Strategy<Value = Down> {
    let topics = || proptest::collection::vec(topic(), 0..5);
    let end = || (session(), any::<u32>(), ".{0,60}");
    prop_oneof![
        (session(), bytes(), topics(), proptest::option::of(identity())).prop_map(
            |(session, welcome, topics, identity)| {
                Down::Accept { session, welcome, topics, identity: identity.map(Box::new) }
            }
        ),
        (session(), topics()).prop_map(|(session, topics)| Down::Adopted { session, topics }),
        (end(), any::<u32>()).prop_map(|((session, code, reason), retry_after_ms)| {
            Down::Reject { session, code: CloseCode(code), reason, retry_after_ms }
        }),
        end().prop_map(|(session, code, reason)| Down::Kick { session, code: CloseCode(code), reason }),
        (session(), head(), bytes()).prop_map(|(session, (lane, kind, id), body)| Down::Reply {
            session,
            lane,
            kind,
            id,
            body
        }),
        (topic(), head(), bytes(), proptest::option::of(session())).prop_map(
            |(topic, (lane, kind, id), body, except)| Down::Publish { topic, lane, kind, id, body, except }
        ),
        (any::<u32>(), topic(), head(), bytes()).prop_map(|(shards, topic, (lane, kind, id), body)| {
            Down::Share { shards, topic, lane, kind, id, body }
        }),
        (session(), topic()).prop_map(|(session, topic)| Down::Join { session, topic }),
        (session(), topic()).prop_map(|(session, topic)| Down::Leave { session, topic }),
    ]
}

fn message() -> impl Strategy<Value = Message> {
    prop_oneof![
        10 => up().prop_map(Message::Up),
        10 => down().prop_map(Message::Down),
        1 => Just(Message::Heartbeat),
        1 => Just(Message::Lost),
        1 => Just(Message::Finished),
    ]
}

/// Messages compare by what they print: all their fields.
fn shown(message: &Message) -> String {
    format!("{message:?}")
}

proptest! {
    #[test]
    fn any_messages_come_back_however_the_stream_is_cut(
        messages in proptest::collection::vec(message(), 0..20),
        cuts in proptest::collection::vec(1usize..400, 0..60),
    ) {
        let mut stream = BytesMut::new();
        messages.iter().for_each(|message| encode(message, &mut stream));
        let mut decoder = Decoder::default();
        let mut got = Vec::new();
        let mut cuts = cuts.into_iter();
        while !stream.is_empty() {
            let cut = cuts.next().unwrap_or(stream.len()).min(stream.len());
            decoder.buffer().extend_from_slice(&stream.split_to(cut));
            while let Some(message) = decoder.next_message().unwrap() {
                got.push(shown(&message));
            }
        }
        prop_assert_eq!(got, messages.iter().map(shown).collect::<Vec<_>>());
    }

    #[test]
    fn noise_never_panics(noise in proptest::collection::vec(any::<u8>(), 0..600)) {
        let mut decoder = Decoder::default();
        decoder.buffer().extend_from_slice(&noise);
        while let Ok(Some(_)) = decoder.next_message() {}
        let _ = Identity::unpack(&noise);
    }

    /// A message whose fields were cut off or lengthened is refused, not read as something else.
    #[test]
    fn a_message_of_another_length_is_refused_or_has_only_its_last_field_cut(message in message(), by in 1usize..40) {
        let mut whole = BytesMut::new();
        encode(&message, &mut whole);
        let length = whole.len() - 4;
        let short = length.saturating_sub(by);
        prop_assume!(short >= 1);
        let mut cut = BytesMut::new();
        cut.put_u32(u32::try_from(short).unwrap());
        cut.extend_from_slice(&whole[4..4 + short]);
        let mut decoder = Decoder::default();
        decoder.buffer().extend_from_slice(&cut);
        if let Ok(Some(read)) = decoder.next_message() {
            let mut again = BytesMut::new();
            encode(&read, &mut again);
            // Without the fields that a later version has added it is a message of an earlier one.
            if let (Message::Up(up), true) = (&read, again != cut) {
                again.clear();
                encode_up(up, LOST_SINCE - 1, &mut again);
            }
            prop_assert_eq!(&again[..], &cut[..], "what was read is not what was there");
        }
    }

    #[test]
    fn a_packed_identity_comes_back(identity in identity()) {
        let packed = identity.pack();
        prop_assert_eq!(Identity::unpack(&packed), Some(identity));
        prop_assert_eq!(Identity::unpack(&packed[..packed.len() - 1]), None);
    }
}

#[test]
fn lengths_out_of_bounds_and_unknown_kinds_end_the_stream() {
    for (bytes, error) in [
        (&[0, 0, 0, 0][..], CodecError::Length(0)),
        (&[0, 0x10, 0, 1], CodecError::Length(MESSAGE_BYTES_MAX + 1)),
        (&[0, 0, 0, 1, 0x7f], CodecError::Kind(0x7f)),
        (&[0, 0, 0, 1, CLOSE], CodecError::Malformed(CLOSE)),
        (&[0, 0, 0, 2, HEARTBEAT, 0], CodecError::Malformed(HEARTBEAT)),
    ] {
        let mut decoder = Decoder::default();
        decoder.buffer().extend_from_slice(bytes);
        assert_eq!(decoder.next_message().unwrap_err(), error);
    }
}

#[test]
fn sides_agree_on_the_newest_version_in_common() {
    assert_eq!(agree(&preamble()), Ok(3));
    assert_eq!(agree(&preamble_of((1, 9))), Ok(3));
    assert_eq!(agree(&preamble_of((1, 2))), Ok(2));
    assert_eq!(agree(&preamble_of((1, 1))), Ok(1));
    assert_eq!(agree(&preamble_of((4, 9))), Err(CodecError::Version { oldest: 4, newest: 9 }));
    assert_eq!(agree(&preamble_of((0, 0))), Err(CodecError::Version { oldest: 0, newest: 0 }));
    assert_eq!(agree(b"GET / HTTP/1"), Err(CodecError::NotATrunk));
}

#[test]
fn an_older_backend_hears_what_it_knows_and_an_older_edge_is_understood() {
    let identity = Box::new(Identity {
        app: 1,
        user: "alice".into(),
        device: "phone".into(),
        issued_s: 2,
        expires_s: 3,
    });
    let ups = [
        Up::Close { session: SessionId(7), lost_ms: Some(75_000) },
        Up::Close { session: SessionId(7), lost_ms: Some(u32::MAX) },
        Up::Close { session: SessionId(7), lost_ms: None },
        Up::Adopt { session: SessionId(7), identity, platform: 6 },
    ];
    let told = |version| {
        let mut decoder = Decoder::default();
        ups.iter().for_each(|up| encode_up(up, version, decoder.buffer()));
        let lengths = decoder.buffer().len();
        let mut next = || match decoder.next_message().unwrap() {
            Some(Message::Up(Up::Close { lost_ms, .. })) => lost_ms,
            Some(Message::Up(Up::Adopt { platform, .. })) => Some(u32::from(platform)),
            other => panic!("{other:?}"),
        };
        (lengths, [next(), next(), next(), next()])
    };
    let (new, old) = (told(3), told(2));
    assert_eq!(new.1, [Some(75_000), Some(u32::MAX - 1), None, Some(6)]);
    assert_eq!(old.1, [None, None, None, Some(0)]);
    assert_eq!(new.0 - old.0, 3 * 4 + 1, "an older one gets the bytes that it always got");
    assert_eq!(told(1), old);
}
