//! Whatever comes, it does not panic, and what goes out is DNS.

use proptest::prelude::*;

use super::*;

fn transport() -> impl Strategy<Value = Transport> {
    prop_oneof![Just(Transport::Udp), Just(Transport::UdpLimited), Just(Transport::Stream)]
}

fn names() -> impl Strategy<Value = String> {
    let label = prop_oneof![
        Just("im".to_owned()),
        Just("sg".to_owned()),
        Just("_np".to_owned()),
        Just("_udp".to_owned()),
        Just("ns1".to_owned()),
        "[a-zA-Z0-9_][a-zA-Z0-9_-]{0,18}[a-zA-Z0-9]",
    ];
    let zone = prop_oneof![4 => Just("pop.example."), 1 => Just("POP.Example."), 1 => Just("example.")];
    (prop::collection::vec(label, 0..4), zone)
        .prop_map(|(labels, zone)| labels.into_iter().map(|label| label + ".").collect::<String>() + zone)
}

fn kinds() -> impl Strategy<Value = RecordType> {
    prop_oneof![
        Just(RecordType::A),
        Just(RecordType::AAAA),
        Just(RecordType::HTTPS),
        Just(RecordType::SVCB),
        Just(RecordType::NS),
        Just(RecordType::SOA),
        Just(RecordType::ANY),
        any::<u16>().prop_map(RecordType::from),
    ]
}

fn messages() -> impl Strategy<Value = Message> {
    let subnet = prop_oneof![
        (any::<u32>(), 0..=32_u8).prop_map(|(bits, source)| {
            let mask = u32::MAX.checked_shl(32 - u32::from(source)).unwrap_or(0);
            (IpAddr::from((bits & mask).to_be_bytes()), source)
        }),
        (any::<u128>(), 0..=128_u8).prop_map(|(bits, source)| {
            let mask = u128::MAX.checked_shl(128 - u32::from(source)).unwrap_or(0);
            (IpAddr::from((bits & mask).to_be_bytes()), source)
        }),
    ];
    let edns = prop::option::of((any::<u16>(), any::<bool>(), prop::option::of(subnet)));
    (names(), kinds(), edns, any::<u16>()).prop_map(|(name, kind, edns, id)| {
        let mut message = query(&name, kind);
        message.metadata.id = id;
        if let Some((payload, ok, subnet)) = edns {
            message = with_edns(message, payload);
            let edns = message.edns.as_mut().unwrap();
            edns.set_dnssec_ok(ok);
            if let Some((address, source)) = subnet {
                edns.options_mut().insert(EdnsOption::Subnet(ClientSubnet::new(address, source, 0)));
            }
        }
        message
    })
}

/// What holds for every answer, whatever was asked.
fn sound(packet: &[u8], bytes: &[u8], answered: Answered) -> Message {
    let answer = Message::from_vec(bytes).unwrap_or_else(|error| panic!("{error}: {bytes:02x?}"));
    assert_eq!(bytes[..2], packet[..2], "the id");
    assert_eq!(answer.metadata.message_type, hickory_proto::op::MessageType::Response);
    assert_eq!(bytes.len(), answered.bytes);
    for record in &answer.answers {
        assert_eq!(Some(&record.name), answer.queries.first().map(|query| query.name()));
    }
    answer
}

proptest! {
    #[test]
    fn no_bytes_panic(packet in prop::collection::vec(any::<u8>(), 0..600), transport in transport()) {
        if let Some((bytes, answered)) = raw(&zone(), &packet, SOURCE, transport) {
            sound(&packet, &bytes, answered);
        }
    }

    #[test]
    fn queries_with_octets_changed_or_missing_are_answered_soundly(
        message in messages(),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
        cut in prop::option::weighted(0.2, any::<prop::sample::Index>()),
        transport in transport(),
    ) {
        let mut packet = message.to_vec().unwrap();
        for (at, to) in changes {
            let at = at.index(packet.len());
            packet[at] = to;
        }
        if let Some(cut) = cut {
            packet.truncate(cut.index(packet.len()));
        }
        if let Some((bytes, answered)) = raw(&zone(), &packet, SOURCE, transport) {
            sound(&packet, &bytes, answered);
            // What we take for a query, hickory does too, with the same question.
            if matches!(answered.outcome, Outcome::Answer | Outcome::NoData | Outcome::NxDomain)
                && let Ok(read) = Message::from_vec(&packet)
            {
                prop_assert_eq!(read.queries.len(), 1);
                prop_assert_eq!(&read.queries, &Message::from_vec(&bytes).unwrap().queries);
            }
        }
    }

    #[test]
    fn good_queries_get_what_they_asked_for(message in messages(), transport in transport()) {
        let packet = message.to_vec().unwrap();
        let (bytes, answered) = raw(&zone(), &packet, SOURCE, transport).unwrap();
        let answer = sound(&packet, &bytes, answered);
        prop_assert_eq!(&answer.queries, &message.queries);
        prop_assert_eq!(answer.edns.is_some(), message.edns.is_some());
        prop_assert!(!matches!(answered.outcome, Outcome::FormErr | Outcome::NotImp | Outcome::ServFail));
        if transport != Transport::Stream {
            let payload = message.edns.as_ref().map_or(512, Edns::max_payload);
            prop_assert!(bytes.len() <= usize::from(payload.clamp(512, 1_232)));
        }
        let (sent, got) = (subnet_of(&message), subnet_of(&answer));
        if answered.outcome == Outcome::Refused {
            prop_assert!(got.is_none() && answer.answers.is_empty());
        } else {
            prop_assert_eq!(
                sent.map(|sent| (sent.addr(), sent.source_prefix())),
                got.map(|got| (got.addr(), got.source_prefix()))
            );
            let longest = |ip: IpAddr| if ip.is_ipv4() { 24 } else { 56 };
            prop_assert!(got.is_none_or(|got| got.scope_prefix() <= longest(got.addr())));
        }
        for record in &answer.answers {
            let asked = message.queries[0].query_type();
            let minimal = asked == RecordType::ANY && record.record_type() == RecordType::HINFO;
            prop_assert!(record.record_type() == asked || minimal);
        }
    }

    /// Caches give an answer to everybody in its scope: so everybody in it must get the same.
    #[test]
    fn everybody_in_a_scope_gets_the_same(bits in any::<u32>(), other in any::<u32>()) {
        let of = |bits: u32| {
            let address = Ipv4Addr::from_bits(bits).to_string();
            let answer = ask(&with_subnet(query("im.pop.example.", RecordType::A), &address, 32));
            (addresses(&answer), subnet_of(&answer).unwrap().scope_prefix())
        };
        let (found, scope) = of(bits);
        let mask = u32::MAX.checked_shl(32 - u32::from(scope)).unwrap_or(0);
        prop_assert_eq!(of(bits & mask | other & !mask), (found, scope));
    }
}
