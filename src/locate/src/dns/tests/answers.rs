//! What names answer.

use hickory_proto::op::{MessageType, OpCode};
use hickory_proto::rr::DNSClass;
use hickory_proto::rr::rdata::SVCB;

use super::*;

#[test]
fn the_best_pop_answers_for_the_steered_name() {
    let answer = ask(&query("im.pop.example.", RecordType::A));
    assert_eq!(addresses(&answer), [ip("198.51.100.1")]);
    assert_eq!((code(&answer), answer.answers[0].ttl), (ResponseCode::NoError, 30));
    assert!(answer.metadata.authoritative && !answer.metadata.truncation);
    assert_eq!(answer.edns, None, "none was asked for");
    let answer = ask_from(&query("im.pop.example.", RecordType::A), ip("10.0.0.1"));
    assert_eq!(addresses(&answer), [ip("192.0.2.1"), ip("192.0.2.2")]);
    for name in ["pop.example.", "deep.er.im.pop.example."] {
        assert_eq!(addresses(&ask(&query(name, RecordType::A))), [ip("198.51.100.1")], "{name}");
    }
    // Frankfurt has no IPv6: the best that has.
    let answer = ask(&query("im.pop.example.", RecordType::AAAA));
    assert_eq!(addresses(&answer), [ip("2001:db8::1")]);
    // Addresses of endpoints stand in for those that the table lacks.
    let answer = ask_from(&query("im.pop.example.", RecordType::AAAA), ip("2000::1"));
    assert_eq!(addresses(&answer), [ip("2001:db8::3")]);
}

#[test]
fn the_case_of_the_question_comes_back() {
    let asked = query("iM.pOp.eXaMpLe.", RecordType::A);
    let answer = ask(&asked);
    let name = |name: &Name| name.to_ascii();
    assert_eq!(name(answer.queries[0].name()), "iM.pOp.eXaMpLe.");
    assert_eq!(name(&answer.answers[0].name), "iM.pOp.eXaMpLe.");
    let negative = ask(&query("X.pOp.eXaMpLe.", RecordType::A));
    assert_eq!(name(&negative.authorities[0].name), "pOp.eXaMpLe.");
}

fn services(name: &str, kind: RecordType, source: &str) -> Vec<String> {
    let answer = ask_from(&with_edns(query(name, kind), 1_232), ip(source));
    assert_eq!(code(&answer), ResponseCode::NoError);
    let show = |svcb: &SVCB| {
        let text = svcb.to_string();
        text.split_whitespace().collect::<Vec<_>>().join(" ")
    };
    let of = |data: &RData| match data {
        RData::HTTPS(https) => show(&https.0),
        RData::SVCB(svcb) => show(svcb),
        other => panic!("{other:?}"),
    };
    answer.answers.iter().map(|record| of(&record.data)).collect()
}

#[test]
fn services_are_ranked() {
    let https = services("im.pop.example.", RecordType::HTTPS, "198.51.100.77");
    assert_eq!(
        https,
        [
            // Two places at the best PoP, one of which has no HTTP/1.1; then the next PoP. New York has no HTTPS.
            "1 de.edge.example. alpn=h3, no-default-alpn= port=8443 ipv4hint=198.51.100.1,",
            "1 de.edge.example. ipv4hint=198.51.100.1,",
            "2 sg.edge.example. alpn=h3, ipv4hint=192.0.2.1,192.0.2.2, ipv6hint=2001:db8::1,",
        ]
    );
    let udp = services("_np._udp.im.pop.example.", RecordType::SVCB, "10.0.0.1");
    assert_eq!(
        udp,
        [
            "1 sg.edge.example. alpn=np/1, port=4433 ipv4hint=192.0.2.1,192.0.2.2, ipv6hint=2001:db8::1,",
            // Frankfurt has no QUIC, and keeps no rank for it. New York's endpoints are addresses: its own name.
            "2 us.pop.example. alpn=np/1, port=4433 ipv4hint=203.0.113.1, ipv6hint=2001:db8::3,",
        ]
    );
    let tcp = services("_np._tcp.im.pop.example.", RecordType::SVCB, "10.0.0.1");
    assert_eq!(tcp.len(), 3);
    assert!(tcp[1].starts_with("2 de.edge.example. alpn=np/1, port=443"), "{tcp:?}");
    // Without a word about how: QUIC, and TLS where there is none.
    let any = services("im.pop.example.", RecordType::SVCB, "10.0.0.1");
    assert_eq!((any.len(), any[1] == tcp[1], any[0] == udp[0]), (3, true, true), "{any:?}");
    let own = services("de.pop.example.", RecordType::HTTPS, "10.0.0.1");
    assert_eq!(own, https[..2]);
    assert_eq!(services("us.pop.example.", RecordType::SVCB, "10.0.0.1").len(), 1);
}

#[test]
fn the_zone_tells_its_servers_and_itself() {
    let answer = ask(&query("pop.example.", RecordType::NS));
    let servers: Vec<_> = answer.answers.iter().map(|record| record.data.to_string()).collect();
    assert_eq!(servers, ["ns1.pop.example.", "ns2.pop.example.", "ns.provider.example."]);
    let glue: Vec<_> = answer.additionals.iter().map(|record| record.to_string()).collect();
    assert_eq!(
        glue,
        [
            "ns1.pop.example. 3600 IN A 192.0.2.53",
            "ns1.pop.example. 3600 IN AAAA 2001:db8::53",
            "ns2.pop.example. 3600 IN A 192.0.2.53",
        ]
    );
    assert_eq!(addresses(&ask(&query("ns1.pop.example.", RecordType::AAAA))), [ip("2001:db8::53")]);
    let answer = ask(&query("pop.example.", RecordType::SOA));
    let RData::SOA(soa) = &answer.answers[0].data else { panic!("{answer}") };
    assert_eq!(soa.mname.to_ascii(), "ns1.pop.example.");
    assert_eq!((soa.rname.to_ascii().as_str(), soa.minimum), ("hostmaster.pop.example.", 60));
    assert_eq!(answer.answers[0].ttl, 3_600);
    let pop = ask(&query("sg.pop.example.", RecordType::A));
    assert_eq!((addresses(&pop).len(), pop.answers[0].ttl), (2, 300));
}

#[test]
fn what_is_not_there_is_denied_with_the_soa() {
    for (name, kind, expected) in [
        ("im.pop.example.", RecordType::TXT, ResponseCode::NoError),
        ("pop.example.", RecordType::MX, ResponseCode::NoError),
        ("de.pop.example.", RecordType::AAAA, ResponseCode::NoError),
        ("ns2.pop.example.", RecordType::AAAA, ResponseCode::NoError),
        ("_np._udp.im.pop.example.", RecordType::A, ResponseCode::NoError),
        // Nothing but names below them.
        ("_udp.im.pop.example.", RecordType::A, ResponseCode::NoError),
        ("er.im.pop.example.", RecordType::A, ResponseCode::NoError),
        ("er.im.pop.example.", RecordType::ANY, ResponseCode::NoError),
        ("no.pop.example.", RecordType::A, ResponseCode::NXDomain),
        ("x.im.pop.example.", RecordType::A, ResponseCode::NXDomain),
        ("x.sg.pop.example.", RecordType::ANY, ResponseCode::NXDomain),
        ("*.pop.example.", RecordType::A, ResponseCode::NXDomain),
    ] {
        let answer = ask(&query(name, kind));
        assert_eq!(code(&answer), expected, "{name} {kind}");
        assert!(answer.answers.is_empty() && answer.metadata.authoritative, "{name} {kind}");
        let [soa] = &answer.authorities[..] else { panic!("{answer}") };
        assert_eq!((soa.name.to_ascii().as_str(), soa.ttl), ("pop.example.", 60), "{name}");
        assert!(matches!(soa.data, RData::SOA(_)), "{name}");
    }
}

#[test]
fn any_is_answered_with_as_good_as_nothing() {
    for name in ["im.pop.example.", "pop.example.", "sg.pop.example.", "ns1.pop.example."] {
        let answer = ask(&query(name, RecordType::ANY));
        let [one] = &answer.answers[..] else { panic!("{answer}") };
        assert_eq!(one.data.to_string(), "RFC8482 ", "{name}");
    }
}

#[test]
fn what_is_not_ours_is_refused() {
    for name in ["example.", "xpop.example.", "pop.example.org.", ".", "pop.example.im."] {
        let answer = ask(&with_subnet(query(name, RecordType::A), "10.0.0.0", 24));
        assert_eq!(code(&answer), ResponseCode::Refused, "{name}");
        assert!(!answer.metadata.authoritative && answer.authorities.is_empty());
        assert_eq!(subnet_of(&answer), None, "{name}: nothing was decided by it");
    }
    for kind in [RecordType::AXFR, RecordType::IXFR, RecordType::TSIG] {
        assert_eq!(code(&ask(&query("pop.example.", kind))), ResponseCode::Refused, "{kind}");
    }
    let mut chaos = query("version.bind.", RecordType::TXT);
    chaos.queries[0].set_query_class(DNSClass::CH);
    assert_eq!(code(&ask(&chaos)), ResponseCode::Refused);
    let mut chaos = query("im.pop.example.", RecordType::A);
    chaos.queries[0].set_query_class(DNSClass::CH);
    assert_eq!(code(&ask(&chaos)), ResponseCode::Refused);
}

#[test]
fn what_is_no_query_is_not_answered_as_one() {
    let mut update = query("pop.example.", RecordType::SOA);
    for op in [OpCode::Update, OpCode::Notify, OpCode::Status] {
        update.metadata.op_code = op;
        let answer = ask(&update);
        assert_eq!((code(&answer), answer.metadata.op_code), (ResponseCode::NotImp, op));
        assert!(answer.queries.is_empty());
    }
    let mut two = query("im.pop.example.", RecordType::A);
    two.add_query(Query::query(Name::from_ascii("pop.example.").unwrap(), RecordType::A));
    assert_eq!(code(&ask(&two)), ResponseCode::FormErr);
    let mut none = query("im.pop.example.", RecordType::A);
    none.queries.clear();
    assert_eq!(code(&ask(&none)), ResponseCode::FormErr);

    let mut answer = query("im.pop.example.", RecordType::A);
    answer.metadata.message_type = MessageType::Response;
    assert!(raw(&zone(), &answer.to_vec().unwrap(), SOURCE, Transport::Udp).is_none());
    assert!(raw(&zone(), &[0; 11], SOURCE, Transport::Udp).is_none());
    assert!(raw(&zone(), &[], SOURCE, Transport::Stream).is_none());
}

#[test]
fn malformed_packets_are_called_so() {
    let good = with_subnet(query("im.pop.example.", RecordType::A), "10.0.0.0", 24).to_vec().unwrap();
    let code_of = |packet: &[u8]| {
        let (bytes, answered) = raw(&zone(), packet, SOURCE, Transport::Udp).unwrap();
        assert_eq!(answered.outcome == Outcome::FormErr, bytes[3] & 0xf == 1);
        bytes[3] & 0xf
    };
    assert_eq!(code_of(&good), 0);
    for cut in 12..good.len() {
        assert_eq!(code_of(&good[..cut]), 1, "cut at {cut}");
    }
    assert_eq!(code_of(&[&good[..], &[0]].concat()), 1, "more than there should be");
    let changed = |at: usize, to: u8| {
        let mut packet = good.clone();
        packet[at] = to;
        packet
    };
    assert_eq!(code_of(&changed(12, 0xc0)), 1, "a pointer in the question, here to itself");
    assert_eq!(code_of(&changed(12, 0x40)), 1, "no such label");
    assert_eq!(code_of(&changed(5, 2)), 1, "two questions");
    assert_eq!(code_of(&changed(7, 1)), 1, "an answer that is none");
    assert_eq!(code_of(&changed(11, 2)), 1, "another additional record");
    // A second OPT.
    let opt = &good[12 + 16 + 4..];
    let mut twice = [&good[..], opt].concat();
    twice[11] = 2;
    assert_eq!(code_of(&twice), 1);
    // Pointers that run in circles elsewhere are skipped, never followed.
    let mut looping = good.clone();
    looping.extend([0xc0, u8::try_from(good.len()).unwrap(), 0, 1, 0, 1, 0, 0, 0, 0, 0, 0]);
    looping[11] = 2;
    assert_eq!(code_of(&looping), 0);
}

#[test]
fn edns_is_answered_in_kind() {
    let mut asked = with_edns(query("im.pop.example.", RecordType::A), 4_096);
    asked.edns.as_mut().unwrap().set_dnssec_ok(true);
    let answer = ask(&asked);
    let edns = answer.edns.as_ref().unwrap();
    assert_eq!((edns.max_payload(), edns.version(), edns.flags().dnssec_ok), (1_232, 0, true));
    assert!(edns.options().as_ref().is_empty());

    let mut later = with_subnet(query("im.pop.example.", RecordType::A), "10.0.0.0", 24);
    later.edns.as_mut().unwrap().set_version(1);
    let answer = ask(&later);
    // 16 means that in an answer with EDNS; hickory calls it by its other name.
    assert_eq!(u16::from(code(&answer)), 16);
    assert_eq!((answer.edns.as_ref().unwrap().version(), subnet_of(&answer)), (0, None));
    assert!(answer.answers.is_empty() && !answer.metadata.authoritative);
}

#[test]
fn what_does_not_fit_is_asked_for_over_tcp() {
    let asked = query("im.pop.example.", RecordType::HTTPS);
    let zone = wide();
    let bytes = asked.to_vec().unwrap();
    let read = |transport, packet: &[u8]| {
        let (bytes, answered) = raw(&zone, packet, SOURCE, transport).unwrap();
        (Message::from_vec(&bytes).unwrap(), answered, bytes.len())
    };
    let (short, answered, length) = read(Transport::Udp, &bytes);
    assert!(short.metadata.truncation && short.answers.is_empty() && length <= 512);
    assert_eq!((answered.outcome, answered.ttl_s), (Outcome::Truncated, None));
    let (small, _, _) = read(Transport::Udp, &with_edns(asked.clone(), 100).to_vec().unwrap());
    assert!(small.metadata.truncation, "less than 512 counts as 512");
    let (whole, answered, length) = read(Transport::Stream, &bytes);
    assert!(!whole.metadata.truncation && whole.answers.len() == 6 && length > 512);
    assert_eq!((answered.outcome, answered.ttl_s), (Outcome::Answer, Some(30)));
    let (whole, _, length) = read(Transport::Udp, &with_edns(asked.clone(), 65_535).to_vec().unwrap());
    assert!(!whole.metadata.truncation && (512..=1_232).contains(&length), "{length}");
    // Who asks too much is told the same, whatever there is to say.
    let (limited, _, _) =
        read(Transport::UdpLimited, &query("im.pop.example.", RecordType::A).to_vec().unwrap());
    assert!(limited.metadata.truncation && limited.answers.is_empty());
}

/// A zone whose services have more to say than 512 octets hold.
fn wide() -> Zone {
    let addresses: Vec<_> = (1..=9).map(|n| format!("\"2001:db8::{n}\"")).collect();
    let text = POPS.replace("\"2001:db8::1\"", &addresses.join(", "));
    let text =
        text.replace("addresses = [\"198.51.100.1\"]", &format!("addresses = [{}]", addresses.join(", ")));
    let text = text.replace(
        "quic = \"203.0.113.1:4433\"",
        "websocket = \"wss://us.edge.example/\", webtransport = \"https://us.edge.example:1/\"",
    );
    let text = text.replace("\"https://sg.edge.example/np\"", "\"https://sg.edge.example:2/np\"");
    Zone::compile(&setup(), Arc::new(PopTable::parse(&text).unwrap()))
}

#[test]
fn a_pop_never_takes_anothers_name() {
    let text = POPS.replace("id = \"us\"", "id = \"ns1\"").replace("id = \"de\"", "id = \"im\"");
    let zone = Zone::compile(&setup(), Arc::new(PopTable::parse(&text).unwrap()));
    assert_eq!(zone.taken(), ["im", "ns1"]);
    let packet = query("ns1.pop.example.", RecordType::A).to_vec().unwrap();
    let (bytes, _) = raw(&zone, &packet, SOURCE, Transport::Udp).unwrap();
    assert_eq!(addresses(&Message::from_vec(&bytes).unwrap()), [ip("192.0.2.53")]);
}
