use proptest::prelude::*;

use super::*;

/// A client's frame, masked.
fn frame(first: u8, payload: &[u8], mask: [u8; 4]) -> Vec<u8> {
    let mut frame = vec![first];
    match payload.len() {
        0..126 => frame.push(MASKED | u8::try_from(payload.len()).unwrap()),
        126..65_536 => {
            frame.push(MASKED | 126);
            frame.extend(u16::try_from(payload.len()).unwrap().to_be_bytes());
        }
        _ => {
            frame.push(MASKED | 127);
            frame.extend((payload.len() as u64).to_be_bytes());
        }
    }
    frame.extend(mask);
    frame.extend(payload.iter().zip(mask.iter().cycle()).map(|(octet, mask)| octet ^ mask));
    frame
}

fn binary(payload: &[u8]) -> Vec<u8> {
    frame(FIN | opcode::BINARY, payload, [1, 2, 3, 4])
}

/// What a decoder gives for `bytes` in pieces of the given sizes.
#[derive(Debug, Default, PartialEq, Eq)]
struct Seen {
    stream: Vec<u8>,
    pings: Vec<Vec<u8>>,
    close: Option<Option<u16>>,
    broken: Option<Broken>,
}

fn decode(bytes: &[u8], cuts: &[usize]) -> Seen {
    let (mut decoder, mut seen, mut bytes) = (Decoder::default(), Seen::default(), bytes.to_vec());
    let mut rest = &mut bytes[..];
    for cut in cuts.iter().cycle() {
        if rest.is_empty() {
            break;
        }
        let (mut piece, behind) = rest.split_at_mut((*cut).min(rest.len()));
        rest = behind;
        loop {
            match decoder.next(&mut piece) {
                Ok(Some(Item::Data(data))) => seen.stream.extend_from_slice(data),
                Ok(Some(Item::Ping(payload))) => seen.pings.push(payload),
                Ok(Some(Item::Close(status))) => seen.close = Some(status),
                Ok(None) => break,
                Err(broken) => {
                    seen.broken = Some(broken);
                    return seen;
                }
            }
        }
        assert!(decoder.control.len() <= CONTROL_BYTES_MAX);
    }
    seen
}

fn all_at_once(bytes: &[u8]) -> Seen {
    decode(bytes, &[usize::MAX])
}

proptest! {
    #[test]
    fn any_cut_gives_the_same_stream(
        messages in proptest::collection::vec((
            proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..300), 1..4), // fragments
            any::<[u8; 4]>(),
            proptest::option::of(proptest::collection::vec(any::<u8>(), 0..=125)), // a ping in between
        ), 0..6),
        large in proptest::option::of(65_000usize..70_000),
        cuts in proptest::collection::vec(1usize..90, 1..20),
    ) {
        let (mut bytes, mut expected) = (Vec::new(), Seen::default());
        for (fragments, mask, ping) in messages {
            for (n, payload) in fragments.iter().enumerate() {
                let opcode = if n == 0 { opcode::BINARY } else { opcode::CONTINUATION };
                let fin = if n + 1 == fragments.len() { FIN } else { 0 };
                bytes.extend(frame(fin | opcode, payload, mask));
                expected.stream.extend(payload);
                if let (0, Some(ping)) = (n, &ping) {
                    bytes.extend(frame(FIN | opcode::PING, ping, mask));
                    expected.pings.push(ping.clone());
                }
            }
        }
        if let Some(length) = large {
            bytes.extend(binary(&vec![7; length]));
            expected.stream.extend(vec![7; length]);
        }
        bytes.extend(frame(FIN | opcode::CLOSE, &1000u16.to_be_bytes(), [9; 4]));
        bytes.extend(binary(b"after the close nothing counts"));
        expected.close = Some(Some(1000));
        prop_assert_eq!(&decode(&bytes, &cuts), &expected);
        prop_assert_eq!(all_at_once(&bytes), expected);
    }

    #[test]
    fn noise_never_panics_and_is_judged_alike_in_any_cut(
        noise in proptest::collection::vec(any::<u8>(), 0..400),
        cuts in proptest::collection::vec(1usize..40, 1..20),
    ) {
        prop_assert_eq!(decode(&noise, &cuts), all_at_once(&noise));
        let noise = [binary(b"x"), noise].concat();
        prop_assert_eq!(decode(&noise, &[1]), all_at_once(&noise));
    }

    #[test]
    fn what_we_write_has_the_form_that_clients_read(length in prop_oneof![0usize..300, 65_400usize..65_700]) {
        let mut out = Vec::new();
        message_header(length, |part| out.extend_from_slice(part));
        prop_assert!(out.len() <= HEADER_OUT_BYTES_MAX);
        prop_assert_eq!(out[0], FIN | opcode::BINARY);
        let read = match out[1] {
            126 => u64::from(u16::from_be_bytes([out[2], out[3]])),
            127 => u64::from_be_bytes(out[2..10].try_into().unwrap()),
            length => u64::from(length),
        };
        prop_assert_eq!(read, length as u64);
    }
}

#[test]
fn each_broken_rule_has_its_status_in_any_cut() {
    let mask = [1, 2, 3, 4];
    let unmasked = [FIN | opcode::BINARY, 1, b'x'];
    let long_16 = [&[FIN | opcode::BINARY, MASKED | 126, 0, 125][..], &mask, &[0; 125]].concat();
    let long_64 = [&[FIN | opcode::BINARY, MASKED | 127, 0, 0, 0, 0, 0, 0, 0xff, 0xff][..], &mask].concat();
    let huge = [&[FIN | opcode::BINARY, MASKED | 127, 0, 0, 0, 0, 0, 0x10, 0, 1][..], &mask].concat();
    let negative = [&[FIN | opcode::BINARY, MASKED | 127, 0x80, 0, 0, 0, 0, 0, 0, 0][..], &mask].concat();
    let cases: &[(&str, u16, Vec<u8>)] = &[
        ("no mask", 1002, unmasked.to_vec()),
        ("reserved bit 1", 1002, frame(FIN | 0x40 | opcode::BINARY, b"x", mask)),
        ("reserved bit 2", 1002, frame(FIN | 0x20 | opcode::BINARY, b"x", mask)),
        ("reserved bit 3", 1002, frame(FIN | 0x10 | opcode::PING, b"x", mask)),
        ("text", 1003, frame(FIN | opcode::TEXT, b"x", mask)),
        ("opcode 3", 1002, frame(FIN | 0x3, b"x", mask)),
        ("opcode 11", 1002, frame(FIN | 0xb, b"", mask)),
        ("continuation of nothing", 1002, frame(FIN | opcode::CONTINUATION, b"x", mask)),
        ("message in a message", 1002, [frame(opcode::BINARY, b"x", mask), binary(b"y")].concat()),
        (
            "continuation behind the end",
            1002,
            [
                frame(opcode::BINARY, b"x", mask),
                frame(FIN | opcode::CONTINUATION, b"y", mask),
                frame(FIN | opcode::CONTINUATION, b"z", mask),
            ]
            .concat(),
        ),
        ("fragmented ping", 1002, frame(opcode::PING, b"x", mask)),
        ("long ping", 1002, frame(FIN | opcode::PING, &[0; 126], mask)),
        ("length 125 in 16 bits", 1002, long_16),
        ("length 65,535 in 64 bits", 1002, long_64),
        ("1 MiB + 1", 1009, huge),
        ("top bit of the length", 1009, negative),
        ("half a close status", 1002, frame(FIN | opcode::CLOSE, &[3], mask)),
        ("status 1005", 1002, frame(FIN | opcode::CLOSE, &1005u16.to_be_bytes(), mask)),
        ("status 999", 1002, frame(FIN | opcode::CLOSE, &999u16.to_be_bytes(), mask)),
        ("reason is no text", 1007, frame(FIN | opcode::CLOSE, &[0x03, 0xe8, 0xff, 0xfe], mask)),
    ];
    for (name, status, bytes) in cases {
        for cut in [1, 2, 3, 7, usize::MAX] {
            let seen = decode(bytes, &[cut]);
            assert_eq!(seen.broken.map(|broken| broken.status), Some(*status), "{name}, cut {cut}: {seen:?}");
        }
    }
}

#[test]
fn a_length_is_refused_before_its_payload_comes() {
    let mut decoder = Decoder::default();
    let mut header = frame(FIN | opcode::TEXT, &[0; 300], [0; 4]);
    header.truncate(2);
    assert_eq!(decoder.next(&mut &mut header[..]).unwrap_err().status, 1003);
}

#[test]
fn a_frame_of_exactly_the_bound_is_taken() {
    let seen = all_at_once(&binary(&vec![5; 1 << 20]));
    assert_eq!((seen.stream.len(), seen.broken), (1 << 20, None));
}

#[test]
fn half_a_header_and_half_a_ping_are_owed_half_a_message_is_not() {
    let owed = |bytes: &[u8]| {
        let (mut decoder, mut bytes) = (Decoder::default(), bytes.to_vec());
        let mut rest = &mut bytes[..];
        while decoder.next(&mut rest).unwrap().is_some() {}
        decoder.is_mid_header()
    };
    assert!(owed(&binary(b"abc")[..1]) && owed(&binary(b"abc")[..5]));
    assert!(owed(&frame(FIN | opcode::PING, b"abc", [0; 4])[..7]));
    assert!(!owed(&binary(b"abc")[..7]) && !owed(&binary(b"abc")));
}

#[test]
fn control_frames_of_ours_fit() {
    let frame = close(STATUS_SESSION, &"ä".repeat(100));
    assert_eq!((frame[0], frame[1]), (FIN | opcode::CLOSE, 2 + 122));
    assert!(std::str::from_utf8(&frame[4..]).is_ok());
    assert_eq!(pong(b"abc"), [FIN | opcode::PONG, 3, b'a', b'b', b'c']);
}
