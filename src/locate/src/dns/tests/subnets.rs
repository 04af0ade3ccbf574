//! EDNS client subnet (RFC 7871).

use super::*;

fn asked(address: &str, source: u8) -> (Vec<IpAddr>, ClientSubnet) {
    let answer = ask(&with_subnet(query("im.pop.example.", RecordType::A), address, source));
    assert_eq!(code(&answer), ResponseCode::NoError);
    (addresses(&answer), subnet_of(&answer).unwrap())
}

#[test]
fn the_clients_network_decides_and_the_answer_says_how_much_of_it() {
    let (found, subnet) = asked("10.1.2.0", 24);
    assert_eq!(found, [ip("192.0.2.1"), ip("192.0.2.2")]);
    assert_eq!(subnet, ClientSubnet::new(ip("10.1.2.0"), 24, 8));
    let (found, subnet) = asked("198.51.100.0", 24);
    assert_eq!((found, subnet.scope_prefix()), (vec![ip("198.51.100.1")], 8));
    // Fewer bits than decide: the answer asks for more.
    let (_, subnet) = asked("10.0.0.0", 7);
    assert_eq!((subnet.source_prefix(), subnet.scope_prefix()), (7, 8));
    let (found, subnet) = asked("2000:1::", 48);
    assert_eq!(found, [ip("203.0.113.1")]);
    assert_eq!(subnet, ClientSubnet::new(ip("2000:1::"), 48, 8));
}

#[test]
fn no_scope_is_finer_than_a_network() {
    // Thirty bits decide: the first 24 do it for all in them.
    let (found, subnet) = asked("100.64.1.129", 32);
    assert_eq!(found, [ip("203.0.113.1")]);
    assert_eq!(subnet, ClientSubnet::new(ip("100.64.1.129"), 32, 24));
    let (_, subnet) = asked("fd00::1", 128);
    assert_eq!((subnet.source_prefix(), subnet.scope_prefix()), (128, 56));
}

#[test]
fn who_wants_nothing_of_the_client_to_be_used_gets_that() {
    for address in ["0.0.0.0", "::"] {
        let (found, subnet) = asked(address, 0);
        assert_eq!(found, [ip("198.51.100.1")], "the resolver's own place decides");
        assert_eq!(subnet, ClientSubnet::new(ip(address), 0, 0));
    }
    // As dig writes it: no family.
    let mut packet = with_edns(query("im.pop.example.", RecordType::A), 1_232).to_vec().unwrap();
    let length = packet.len();
    packet[length - 1] = 8;
    packet.extend([0, 8, 0, 4, 0, 0, 0, 0]);
    let (bytes, answered) = raw(&zone(), &packet, ip("10.0.0.1"), Transport::Udp).unwrap();
    assert!(answered.subnet && bytes.ends_with(&[0, 8, 0, 4, 0, 0, 0, 0]));
    assert_eq!(u16::from_be_bytes([bytes[6], bytes[7]]), 2, "Singapore's addresses");
}

#[test]
fn without_a_subnet_the_resolver_decides_and_none_is_answered() {
    let answer = ask_from(&with_edns(query("im.pop.example.", RecordType::A), 1_232), ip("10.9.9.9"));
    assert_eq!(addresses(&answer), [ip("192.0.2.1"), ip("192.0.2.2")]);
    assert_eq!(subnet_of(&answer), None);
}

#[test]
fn what_does_not_vary_has_no_scope() {
    for (name, kind) in [
        ("pop.example.", RecordType::NS),
        ("pop.example.", RecordType::SOA),
        ("sg.pop.example.", RecordType::A),
        ("ns1.pop.example.", RecordType::A),
        ("im.pop.example.", RecordType::ANY),
        ("im.pop.example.", RecordType::TXT),
        ("no.pop.example.", RecordType::A),
        ("_udp.im.pop.example.", RecordType::SVCB),
    ] {
        let answer = ask(&with_subnet(query(name, kind), "10.1.2.0", 24));
        assert_eq!(subnet_of(&answer).unwrap(), ClientSubnet::new(ip("10.1.2.0"), 24, 0), "{name} {kind}");
    }
    for kind in [RecordType::HTTPS, RecordType::SVCB, RecordType::A] {
        let answer = ask(&with_subnet(query("im.pop.example.", kind), "10.1.2.0", 24));
        assert_eq!(subnet_of(&answer).unwrap().scope_prefix(), 8, "{kind}");
    }
}

#[test]
fn malformed_subnets_are_refused_and_not_repeated() {
    let good = with_edns(query("im.pop.example.", RecordType::A), 1_232).to_vec().unwrap();
    let with = |options: &[u8]| {
        let mut packet = good.clone();
        let length = packet.len();
        packet[length - 1] = u8::try_from(options.len()).unwrap();
        packet.extend(options);
        let (bytes, answered) = raw(&zone(), &packet, SOURCE, Transport::Udp).unwrap();
        let answer = Message::from_vec(&bytes).unwrap();
        assert!(
            answer.edns.is_some() && subnet_of(&answer).is_none() || code(&answer) == ResponseCode::NoError
        );
        (code(&answer), answered.outcome)
    };
    let ok = (ResponseCode::NoError, Outcome::Answer);
    let bad = (ResponseCode::FormErr, Outcome::FormErr);
    assert_eq!(with(&[0, 8, 0, 7, 0, 1, 24, 0, 10, 0, 0]), ok);
    // An option that nobody knows, and an empty one.
    assert_eq!(with(&[0xff, 0, 0, 1, 9, 0, 3, 0, 0]), ok);
    for (options, why) in [
        (&[0, 8, 0, 7, 0, 1, 23, 0, 10, 0, 1][..], "a bit beyond the source"),
        (&[0, 8, 0, 8, 0, 1, 24, 0, 10, 0, 0, 0], "an octet too many"),
        (&[0, 8, 0, 6, 0, 1, 24, 0, 10, 0], "an octet too few"),
        (&[0, 8, 0, 7, 0, 1, 24, 24, 10, 0, 0], "a scope"),
        (&[0, 8, 0, 7, 0, 3, 24, 0, 10, 0, 0], "no such family"),
        (&[0, 8, 0, 9, 0, 1, 33, 0, 10, 0, 0, 0, 0], "longer than an address"),
        (&[0, 8, 0, 4, 0, 1, 0, 0, 0, 8, 0, 4, 0, 1, 0, 0], "twice"),
        (&[0, 8, 0, 9, 0, 1, 24, 0, 10, 0, 0], "an option longer than its record"),
        (&[0, 8, 0], "a length cut off"),
    ] {
        assert_eq!(with(options), bad, "{why}");
    }
}
