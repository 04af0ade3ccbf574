//! Guests: browsers without an account.

use std::sync::Arc;

use nearport_chat::Config;
use nearport_chat::ledger::CursorName;
use nearport_store::MemoryLedger;
use nearport_trunk::{Down, SessionId, Up};
use nearport_wire::body::{
    self, GroupAnswer, GroupCall, GroupCreate, GroupJoin, GroupRef, Hello, LiveFrame, Platform, Sent, Target,
    group_answer::Answer, group_call::Call, target,
};
use nearport_wire::close::CloseCode;
use nearport_wire::{Kind, Lane};
use prost::Message as _;

use crate::world::{World, answer, directory, send, user};

fn hello() -> Hello {
    Hello { app: crate::world::APP, device: "tab".into(), platform: Platform::Web.into(), ..Hello::default() }
}

fn with(config: Config) -> World {
    World::over(Arc::new(MemoryLedger::new()), Arc::new(directory()), config)
}

/// Alice's live room and group on link 0; guests are on link 1.
fn scene(config: Config) -> (World, SessionId) {
    let mut world = with(config);
    let alice = world.login("alice", "phone");
    for (group, kind) in [("live", "AVChatRoom"), ("g", "Public")] {
        let create = GroupCreate {
            group: group.into(),
            r#type: kind.into(),
            name: "name".into(),
            join: body::GroupJoinOption::GroupJoinFree.into(),
            ..GroupCreate::default()
        };
        call(&mut world, 0, alice, Call::Create(create)).unwrap();
    }
    call(&mut world, 0, alice, join("live")).unwrap();
    (world, alice)
}

fn open_to_all() -> Config {
    Config { guests_max: 10, ..Config::default() }
}

fn join(group: &str) -> Call {
    Call::Join(GroupJoin { group: group.into(), text: String::new() })
}

fn call(world: &mut World, link: usize, session: SessionId, call: Call) -> Result<Answer, u32> {
    let body = GroupCall { call: Some(call) }.encode_to_vec();
    let frame = world.frame(session, Kind::GROUP, 8, body);
    world.desk(vec![frame]);
    let downs = world.received(link);
    let mine = |down: &&Down| matches!(down, Down::Reply { session: to, .. } if *to == session);
    answer::<GroupAnswer>(downs.iter().find(mine).unwrap()).map(|answer| answer.answer.unwrap())
}

fn to_group(id: &str) -> Target {
    Target { target: Some(target::Target::Group(id.to_owned())) }
}

#[test]
fn nobody_is_a_guest_where_guests_are_not_let_in_and_no_hello_is_half_a_guests() {
    let mut world = with(Config::default());
    assert_eq!(world.refused(&hello()), (CloseCode::BAD_BODY, 70402), "off by default");
    let mut world = with(open_to_all());
    type Spoil = fn(&mut Hello);
    let spoils: [(Spoil, CloseCode, u32); 6] = [
        (|hello| hello.platform = Platform::Android.into(), CloseCode::BAD_BODY, 70402),
        (|hello| hello.platform = Platform::Other.into(), CloseCode::BAD_BODY, 70402),
        (|hello| hello.usersig = "sig".into(), CloseCode::BAD_BODY, 70402),
        (|hello| hello.resume = "token".into(), CloseCode::BAD_BODY, 70402),
        (|hello| hello.device = String::new(), CloseCode::BAD_BODY, 70402),
        (|hello| hello.app = 1, CloseCode::NO_APP, 70020),
    ];
    for (spoil, close, code) in spoils {
        let mut hello = hello();
        spoil(&mut hello);
        assert_eq!(world.refused(&hello), (close, code), "{hello:?}");
    }
    // A guest's name is nobody's, whatever the signature is worth.
    let named = world.hello("@GUEST#0000000000000001", "tab");
    assert_eq!(world.refused(&named), (CloseCode::BAD_BODY, 70402));
}

#[test]
fn a_guest_hears_a_live_room_and_is_counted_and_not_named() {
    let (mut world, alice) = scene(open_to_all());
    let (guest, downs) = world.open(1, &hello());
    let accepted = |down: &Down| matches!(down, Down::Accept { identity: None, topics, session, .. } if topics.is_empty() && *session == guest);
    assert!(matches!(&downs[..], [down] if accepted(down)), "{downs:?}");
    let Ok(Answer::Join(joined)) = call(&mut world, 1, guest, join("live")) else { panic!() };
    let live = joined.live.unwrap();
    assert_eq!((live.counts.unwrap().online, live.latest), (2, vec!["alice".to_owned()]));
    world.received(0);

    let said = body::Send { to: Some(to_group("live")), ..send("", 1) };
    let frame = world.frame(alice, Kind::SEND, 9, said.encode_to_vec());
    world.write(vec![frame]);
    let heard = |downs: Vec<Down>| {
        let live = downs.into_iter().filter_map(|down| match down {
            Down::Publish { lane: Lane::Live, body, .. } => LiveFrame::decode(body).unwrap().delivery,
            _ => None,
        });
        live.count()
    };
    assert_eq!(heard(world.received(1)), 1);
    assert_eq!(
        call(&mut world, 1, guest, Call::Quit(GroupRef { group: "live".into() })),
        Ok(Answer::Done(body::Empty {}))
    );
    let frame = world.frame(
        alice,
        Kind::SEND,
        9,
        body::Send { client_msg_id: vec![2; 16].into(), ..said }.encode_to_vec(),
    );
    world.write(vec![frame]);
    assert_eq!(heard(world.received(1)), 0);
    // Nothing is left of it: no account, no log.
    assert_eq!(world.directory.accounts(&[user(&format!("@GUEST#{:016x}", guest.0))]).unwrap(), [None]);
}

#[test]
fn whatever_else_a_guest_asks_needs_an_account() {
    let (mut world, _) = scene(open_to_all());
    let (guest, _) = world.open(1, &hello());
    call(&mut world, 1, guest, join("live")).unwrap();
    assert_eq!(call(&mut world, 1, guest, join("g")), Err(10007), "no live room");
    assert_eq!(call(&mut world, 1, guest, join("nowhere")), Err(10010));
    assert_eq!(call(&mut world, 1, guest, Call::Quit(GroupRef { group: "g".into() })), Err(10007));
    let create = GroupCreate { r#type: "Work".into(), name: "n".into(), ..GroupCreate::default() };
    let calls = [
        Call::Create(create),
        Call::Info(body::GroupNames::default()),
        Call::Heads(body::GroupHeadsCall::default()),
        Call::Dismiss(GroupRef { group: "live".into() }),
    ];
    for one in calls {
        assert_eq!(call(&mut world, 1, guest, one), Err(6014));
    }
    let said = body::Send { to: Some(to_group("live")), ..send("", 1) };
    let private = send("alice", 2);
    let writes = [
        (Kind::SEND, said.encode_to_vec()),
        (Kind::SEND, private.encode_to_vec()),
        (Kind::MARK_READ, Vec::new()),
        (Kind::AMEND, Vec::new()),
        (Kind::FLUSH, Vec::new()),
    ];
    for (kind, body) in writes {
        let frame = world.frame(guest, kind, 9, body);
        world.write(vec![frame]);
        assert_eq!(answer::<Sent>(&world.received(1)[0]), Err(6014), "{kind:?}");
    }
    for kind in [Kind::SYNC, Kind::HISTORY, Kind::READERS, Kind::MEDIA] {
        let frame = world.frame(guest, kind, 9, Vec::new());
        world.front(vec![frame]);
        assert_eq!(answer::<Sent>(&world.received(1)[0]), Err(6014), "{kind:?}");
    }
    let frame = world.frame(guest, Kind::PEOPLE, 9, Vec::new());
    world.desk(vec![frame]);
    assert_eq!(answer::<Sent>(&world.received(1)[0]), Err(6014));
    // What it has shown is nobody's business.
    let ack = world.ack(guest, 5);
    world.write(vec![ack]);
    world.now_ms += 10_000;
    world.write(Vec::new());
    let name = user(&format!("@GUEST#{:016x}", guest.0));
    assert_eq!(world.ledger.cursor(&name, &CursorName::Device("tab".into())).unwrap(), None);
}

#[test]
fn guests_are_bounded_and_who_leaves_makes_room() {
    let config = Config { guests_max: 10, guests_per_network: 2, ..Config::default() };
    let (mut world, _) = scene(config);
    let (first, _) = world.open(1, &hello());
    let (_, _) = world.open(1, &hello());
    let (_, downs) = world.open(1, &hello());
    let busy = |down: &Down| matches!(down, Down::Reject { code: CloseCode::BUSY, retry_after_ms: 10_000, reason, .. } if reason.starts_with("60018"));
    assert!(downs.iter().any(busy), "{downs:?}");
    call(&mut world, 1, first, join("live")).unwrap();
    // Without a word: a guest does not linger.
    let close = (nearport_trunk::local::LinkId(1), Up::Close { session: first, lost_ms: Some(0) });
    world.front(vec![close]);
    let (_, downs) = world.open(1, &hello());
    assert!(matches!(downs[..], [Down::Accept { .. }]), "{downs:?}");
}
