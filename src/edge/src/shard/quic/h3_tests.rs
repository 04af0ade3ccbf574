use proptest::prelude::*;

use super::*;

/// A HEADERS frame with literal field lines only (RFC 9204 §4.5.6), made by hand.
fn headers(fields: &[(&str, &str)]) -> Vec<u8> {
    let mut section = vec![0, 0];
    for (name, value) in fields {
        assert!((8..120).contains(&(name.len() + 1)) || name.len() < 7);
        match name.len().checked_sub(7) {
            Some(over) => section.extend_from_slice(&[0x27, u8::try_from(over).unwrap()]),
            None => section.push(0x20 | u8::try_from(name.len()).unwrap()),
        }
        section.extend_from_slice(name.as_bytes());
        section.push(u8::try_from(value.len()).unwrap());
        section.extend_from_slice(value.as_bytes());
    }
    let mut frame = vec![1];
    nearport_wire::encode_varint(section.len() as u64, &mut frame);
    [frame, section].concat()
}

fn connect(path: &str) -> Vec<u8> {
    headers(&[
        (":method", "CONNECT"),
        (":scheme", "https"),
        (":authority", "edge:4433"),
        (":path", path),
        (":protocol", "webtransport"),
        ("origin", "https://app.example"),
    ])
}

/// What a stream of these bytes is for, however they are cut.
fn is(bytes: &[u8], cut: usize) -> Result<Option<BidiIs>, Error> {
    let mut bidi = Bidi::default();
    let mut rest = bytes.chunks(cut);
    while let Some(chunk) = rest.next() {
        match bidi.feed(chunk)? {
            None => {}
            Some(is) => {
                let more: Vec<u8> = rest.flatten().copied().collect();
                let with_more = |rest: Bytes| Bytes::from([&rest[..], &more[..]].concat());
                return Ok(Some(match is {
                    BidiIs::WebTransport { session, rest } => {
                        BidiIs::WebTransport { session, rest: with_more(rest) }
                    }
                    BidiIs::Connect { rest } => BidiIs::Connect { rest: with_more(rest) },
                    refused @ BidiIs::Refused(_) => refused,
                }));
            }
        }
    }
    Ok(None)
}

fn uni(bytes: &[u8], cut: usize) -> Result<UniSays, Error> {
    let mut uni = Uni::new();
    for chunk in bytes.chunks(cut) {
        match uni.feed(chunk)? {
            UniSays::Nothing => {}
            says => return Ok(says),
        }
    }
    Ok(UniSays::Nothing)
}

const GREASE: &[u8] = &[0x40, 0x21 + 0x1f, 3, 1, 2, 3];

#[test]
fn every_stream_is_known_for_what_it_is_however_it_is_cut() {
    let get = headers(&[(":method", "GET"), (":scheme", "https"), (":authority", "edge"), (":path", "/np")]);
    let websocket = headers(&[
        (":method", "CONNECT"),
        (":scheme", "https"),
        (":authority", "edge"),
        (":path", "/np"),
        (":protocol", "websocket"),
    ]);
    let no_authority = headers(&[(":method", "CONNECT"), (":scheme", "https"), (":path", "/np")]);
    let too_long = [&[1, 0x80, 0, 0x40, 0][..], &[0; 9000]].concat();
    for cut in [1, 2, 3, 7, 10_000] {
        let web = is(&[0x40, 0x41, 0x04, b'h', b'i'], cut).unwrap().unwrap();
        assert_eq!(web, BidiIs::WebTransport { session: 4, rest: Bytes::from_static(b"hi") });
        let request = [GREASE, &connect("/np"), b"rest"].concat();
        assert_eq!(is(&request, cut), Ok(Some(BidiIs::Connect { rest: Bytes::from_static(b"rest") })));
        assert_eq!(
            is(&connect("/np?a=b"), cut),
            Ok(Some(BidiIs::Connect { rest: Bytes::new() })),
            "a query is the client's own affair"
        );
        for (request, status) in [
            (&connect("/other"), 404),
            (&get, 404),
            (&websocket, 404),
            (&no_authority, 400),
            (&too_long, 431),
        ] {
            assert_eq!(is(request, cut), Ok(Some(BidiIs::Refused(status))), "cut at {cut}");
        }
        assert_eq!(is(&connect("/np")[..20], cut), Ok(None));
        assert_eq!(is(&[0, 2, 1, 1], cut).unwrap_err().code, code::FRAME_UNEXPECTED);
        // An index into the dynamic table, which we do not offer.
        assert_eq!(is(&[1, 3, 0, 0, 0x80], cut).unwrap_err().code, code::QPACK_DECOMPRESSION_FAILED);

        assert_eq!(uni(&settings(), cut), Ok(UniSays::Settings { datagrams: true }));
        assert_eq!(uni(&[0, 4, 0], cut), Ok(UniSays::Settings { datagrams: false }));
        assert_eq!(uni(&[2, 0x3f, 0xe1, 1], cut), Ok(UniSays::Nothing));
        assert_eq!(uni(&[0x40, 0x54, 0, 1], cut), Ok(UniSays::WebTransport));
        assert_eq!(uni(&[0x21, 1, 2], cut), Ok(UniSays::Useless));
        assert_eq!(uni(&[1, 0], cut).unwrap_err().code, code::STREAM_CREATION_ERROR);
        assert_eq!(uni(&[0, 7, 1, 0], cut).unwrap_err().code, code::MISSING_SETTINGS);
        let endless = [&[0, 4, 0x80, 0, 0x40, 0][..], &[0; 9000]].concat();
        assert_eq!(uni(&endless, cut).unwrap_err().code, code::EXCESSIVE_LOAD);
    }
}

#[test]
fn a_capsule_ends_the_session_behind_anything_that_is_not_for_us() {
    let close = close_session(1000, "bye");
    let grease_capsule: &[u8] = &[0, 4, 0x17, 2, 9, 9]; // DATA, 4, GREASE, 2
    let drain: &[u8] = &[0, 5, 0x80, 0, 0x78, 0xae, 0];
    let split: &[u8] = &[0, 1, close[2]];
    for cut in [1, 2, 5, 100] {
        let mut capsules = Capsules::default();
        let mut feed = |bytes: &[u8]| {
            bytes.chunks(cut).any(|chunk| capsules.feed(Bytes::copy_from_slice(chunk)).unwrap())
        };
        assert!(!feed(&[GREASE, grease_capsule, drain].concat()));
        assert!(!feed(&[&[0x21, 0x80, 0, 0x27, 0x10][..], &[7; 10_000]].concat()), "a long frame is skipped");
        assert!(!feed(split), "a capsule over two frames");
        let mut rest = vec![0, u8::try_from(close.len() - 3).unwrap()];
        rest.extend_from_slice(&close[3..]);
        assert!(feed(&rest));
    }
    let mut capsules = Capsules::default();
    let endless = [&[0, 0x80, 0, 0x27, 0x10, 0x37, 0x80, 0, 0x27, 0][..], &[7; 5_000]].concat();
    assert_eq!(capsules.feed(endless.into()).unwrap_err().code, code::EXCESSIVE_LOAD);
}

#[test]
fn datagrams_carry_a_quarter_of_the_session() {
    assert_eq!(datagram(8, b"x")[..], [2, b'x']);
    assert_eq!(read_datagram(datagram(1 << 40, b"hello")), Ok((1 << 40, Bytes::from_static(b"hello"))));
    assert_eq!(read_datagram(Bytes::new()).unwrap_err().code, code::DATAGRAM_ERROR);
    assert_eq!(read_datagram(Bytes::from_static(&[0xff; 8])).unwrap_err().code, code::DATAGRAM_ERROR);
}

#[test]
fn a_reason_is_cut_between_characters() {
    let close = close_session(3000, &"ö".repeat(1000));
    assert!(close.len() < 1024 + 16 && close.len() > 1020);
    assert!(Capsules::default().feed(close.into()).unwrap());
}

proptest! {
    #[test]
    fn noise_never_panics_and_holds_no_more_than_its_bound(
        noise in proptest::collection::vec(any::<u8>(), 0..3_000), cut in 1usize..200,
    ) {
        let (mut bidi, mut uni, mut capsules) = (Bidi::default(), Uni::new(), Capsules::default());
        let mut open = (true, true, true);
        for chunk in noise.chunks(cut) {
            open.0 = open.0 && matches!(bidi.feed(chunk), Ok(None));
            open.1 = open.1 && uni.feed(chunk).is_ok();
            open.2 = open.2 && capsules.feed(Bytes::copy_from_slice(chunk)) == Ok(false);
            prop_assert!(bidi.0.len() <= HEADERS_BYTES_MAX + 200);
            prop_assert!(capsules.capsule.len() <= CAPSULE_BYTES_MAX + 200 && capsules.header.len() <= 16);
        }
    }
}
