//! Groups through the cores: what changes, who is told, who hears.

use nearport_chat::key::{ConvKey, GroupKey};
use nearport_chat::ledger::{PageLimit, Range};
use nearport_trunk::{Down, SessionId};
use nearport_wire::Kind;
use nearport_wire::body::{
    self, GroupAnswer, GroupCall, GroupCreate, group_answer::Answer, group_call::Call,
};
use prost::Message as _;

use crate::world::{APP, World, answer, send, user};

fn key(id: &str) -> GroupKey {
    GroupKey::new(nearport_chat::key::AppId(APP), id).unwrap()
}

impl World {
    /// Asks the desk; everything else that came down on link 0 stands beside the answer.
    fn group(&mut self, session: SessionId, call: Call) -> (Result<Answer, u32>, Vec<Down>) {
        let frame = self.frame(session, Kind::GROUP, 9, GroupCall { call: Some(call) }.encode_to_vec());
        self.desk(vec![frame]);
        let mut downs = self.received(0);
        let at = downs.iter().position(|down| matches!(down, Down::Reply { .. })).expect("an answer");
        let reply = answer::<GroupAnswer>(&downs.remove(at));
        (reply.map(|reply| reply.answer.expect("an answer of a known kind")), downs)
    }

    fn ok(&mut self, session: SessionId, call: Call) -> Answer {
        self.group(session, call).0.unwrap()
    }

    fn create(&mut self, session: SessionId, kind: &str, id: &str) -> String {
        let create = GroupCreate {
            r#type: kind.into(),
            name: "name".into(),
            group: id.into(),
            join: body::GroupJoinOption::GroupJoinFree.into(),
            ..GroupCreate::default()
        };
        match self.ok(session, Call::Create(create)) {
            Answer::Id(id) => id.group,
            other => panic!("{other:?}"),
        }
    }

    fn elements(&self, conv: &ConvKey) -> Vec<body::element::Element> {
        let limit = PageLimit { entries: 100, bytes: usize::MAX };
        let entries = self.ledger.read(conv, Range::After(0), limit).unwrap();
        let message = |entry: nearport_chat::ledger::Entry| body::Message::decode(entry.body).unwrap();
        let elements = entries.into_iter().flat_map(|entry| message(entry).content.unwrap().elements);
        elements.map(|element| element.element.unwrap()).collect()
    }

    fn tips(&self, id: &str) -> Vec<(u32, String, Vec<String>)> {
        let elements = self.elements(&key(id).conv()).into_iter();
        elements
            .map(|element| match element {
                body::element::Element::Tip(tip) => (tip.r#type, tip.operator, tip.members),
                other => panic!("{other:?}"),
            })
            .collect()
    }

    fn notices(&self, name: &str) -> Vec<(u32, String)> {
        let elements = self.elements(&ConvKey::notices(&user(name))).into_iter();
        elements
            .map(|element| match element {
                body::element::Element::Notice(notice) => (notice.r#type, notice.operator),
                other => panic!("{other:?}"),
            })
            .collect()
    }
}

fn group(id: &str) -> body::GroupRef {
    body::GroupRef { group: id.into() }
}

fn join(id: &str) -> Call {
    Call::Join(body::GroupJoin { group: id.into(), text: String::new() })
}

#[test]
fn what_a_member_says_stands_behind_the_tip_that_brings_her() {
    let mut world = World::new();
    let (alice, bob) = (world.login("alice", "phone"), world.login("bob", "phone"));
    let id = world.create(alice, "Public", "");
    let call = GroupCall { call: Some(join(&id)) };
    let mut batch = vec![world.frame(bob, Kind::GROUP, 9, call.encode_to_vec())];
    world.received(0);
    world.desk.handle(&mut batch, world.now_ms, &mut world.downs);
    world.downs.flush();
    assert!(world.received(0).iter().any(|down| matches!(down, Down::Reply { .. })));
    // He says something before the writer has looked at what the desk has posted.
    let to = body::target::Target::Group(id.clone());
    let send = body::Send { to: Some(body::Target { target: Some(to) }), ..send("", 1) };
    world.write(vec![world.frame(bob, Kind::SEND, 10, send.encode_to_vec())]);
    let said = |down: &Down| match down {
        Down::Reply { kind: Kind::REPLY, body, .. } => Some(body::Sent::decode(body.clone()).unwrap().seq),
        _ => None,
    };
    let downs = world.received(0);
    assert_eq!(downs.iter().find_map(said), Some(2));
    let pushed: Vec<_> = downs
        .iter()
        .filter_map(|down| match down {
            Down::Publish { kind: Kind::GROUP_PUSH, id, .. } => Some(*id),
            _ => None,
        })
        .collect();
    assert_eq!(pushed, [1, 2], "in the order of the conversation");
    let elements = world.elements(&key(&id).conv());
    assert!(matches!(elements[..], [body::element::Element::Tip(_), body::element::Element::Text(_)]));
}

#[test]
fn who_joins_hears_the_group_and_who_quits_does_not() {
    let mut world = World::new();
    let (alice, bob) = (world.login("alice", "phone"), world.login("bob", "phone"));
    world.received(0);
    let id = world.create(alice, "Public", "");
    assert!(id.starts_with("@TGS#2"), "{id}");
    let topic = key(&id).topic();

    let (joined, downs) = world.group(bob, join(&id));
    assert_eq!(joined, Ok(Answer::Join(body::GroupJoinOutcome::default())));
    assert!(downs.iter().any(
        |down| matches!(down, Down::Join { session, topic: joined } if *session == bob && *joined == topic)
    ));
    assert_eq!(world.tips(&id), [(1, "bob".into(), vec!["bob".into()])]);
    // A second login finds the group by itself.
    let hello = world.hello("bob", "desk");
    let (desk, downs) = world.open(0, &hello);
    let accepted = downs.iter().find_map(|down| match down {
        Down::Accept { session, topics, .. } if *session == desk => Some(topics.clone()),
        _ => None,
    });
    assert!(accepted.unwrap().contains(&topic));

    let (quit, downs) = world.group(bob, Call::Quit(group(&id)));
    assert!(quit.is_ok());
    let left: Vec<_> = downs
        .iter()
        .filter_map(|down| match down {
            Down::Leave { session, topic: left } if *left == topic => Some(*session),
            _ => None,
        })
        .collect();
    assert_eq!(left, [bob, desk]);
    assert_eq!(world.tips(&id)[1], (3, "bob".into(), vec!["bob".into()]));
    assert_eq!(world.notices("bob"), [(8, "bob".into())]);
    assert_eq!(world.group(bob, Call::Quit(group(&id))).0, Err(10007));
}

#[test]
fn an_application_waits_for_an_administrator_and_is_handled_once() {
    let mut world = World::new();
    let (alice, bob) = (world.login("alice", "phone"), world.login("bob", "phone"));
    world.received(0);
    let create = GroupCreate {
        r#type: "Public".into(),
        name: "n".into(),
        group: "g".into(),
        ..GroupCreate::default()
    };
    world.ok(alice, Call::Create(create));
    assert_eq!(world.ok(bob, join("g")), Answer::Join(body::GroupJoinOutcome { pending: true, live: None }));
    assert_eq!(world.notices("alice"), [(6, "alice".into()), (1, "bob".into())]);
    let handle = Call::Handle(body::GroupHandle {
        group: "g".into(),
        user: "bob".into(),
        agree: true,
        text: String::new(),
    });
    assert_eq!(world.group(bob, handle.clone()).0, Err(10007));
    world.ok(alice, handle.clone());
    assert_eq!(world.group(alice, handle).0, Err(10024));
    assert_eq!(world.notices("bob"), [(2, "alice".into())]);
    assert_eq!(world.tips("g"), [(1, "bob".into(), vec!["bob".into()])]);
}

#[test]
fn a_work_group_is_hidden_until_its_first_message() {
    let mut world = World::new();
    let (alice, bob) = (world.login("alice", "phone"), world.login("bob", "phone"));
    world.received(0);
    let create = GroupCreate {
        r#type: "Work".into(),
        name: "n".into(),
        group: "g".into(),
        members: vec![body::GroupNewMember { user: "bob".into(), ..body::GroupNewMember::default() }],
        ..GroupCreate::default()
    };
    world.ok(alice, Call::Create(create));
    let heads = |world: &mut World, who| match world.ok(who, Call::Heads(body::GroupHeadsCall::default())) {
        Answer::Heads(heads) => heads.items.into_iter().map(|head| head.group).collect::<Vec<_>>(),
        other => panic!("{other:?}"),
    };
    assert_eq!(heads(&mut world, alice), ["g"]);
    assert!(heads(&mut world, bob).is_empty());
    assert_eq!(world.group(bob, Call::Quit(group("g"))).0, Err(10010));
    assert!(world.tips("g").is_empty() && world.notices("bob").is_empty());
}

#[test]
fn a_store_that_fails_refuses_the_whole_turn_and_nothing_of_it_is_seen() {
    use crate::login::Meddler;
    let directory = std::sync::Arc::new(Meddler::new());
    let ledger = std::sync::Arc::new(nearport_store::MemoryLedger::new());
    let mut world = World::over(ledger, directory.clone(), nearport_chat::Config::default());
    let (alice, bob) = (world.login("alice", "phone"), world.login("bob", "phone"));
    world.received(0);
    let id = world.create(alice, "Meeting", "");
    directory.read_only(true);
    let (refused, downs) = world.group(bob, join(&id));
    assert_eq!(refused, Err(10002));
    assert!(downs.is_empty(), "{downs:?}");
    directory.read_only(false);
    assert_eq!(world.group(bob, Call::Quit(group(&id))).0, Err(10007), "not a member in memory either");
    world.ok(bob, join(&id));
}

#[test]
fn a_live_room_takes_whoever_comes_writes_nothing_and_lets_go_of_who_is_banned() {
    let mut world = World::new();
    let (alice, bob) = (world.login("alice", "phone"), world.login("bob", "phone"));
    world.received(0);
    let id = world.create(alice, "AVChatRoom", "stage");
    let counts = |joined: Result<Answer, u32>| match joined {
        Ok(Answer::Join(body::GroupJoinOutcome { pending: false, live: Some(live) })) => {
            let counts = live.counts.unwrap();
            (counts.taken[0], counts.online, live.latest)
        }
        other => panic!("{other:?}"),
    };
    let (joined, downs) = world.group(alice, join(&id));
    assert_eq!(counts(joined), (0, 1, vec!["alice".to_owned()]), "its owner joins like everybody");
    let topic = key(&id).topic();
    assert!(
        matches!(&downs[..], [Down::Join { topic: to, .. }, Down::Publish { kind: Kind::LIVE, id: 0, .. }] if *to == topic)
    );
    assert_eq!(counts(world.group(bob, join(&id)).0).1, 2);
    assert_eq!(counts(world.group(bob, join(&id)).0).1, 2, "a second time is answered alike");
    assert_eq!(world.tips(&id), [], "nothing is written");

    let page = body::GroupMembersPage { group: id.clone(), ..body::GroupMembersPage::default() };
    let Answer::Members(members) = world.ok(bob, Call::Members(page)) else { panic!() };
    let names: Vec<_> = members.members.iter().map(|member| (&*member.user, member.role())).collect();
    assert_eq!(names, [("bob", body::GroupRole::Member), ("alice", body::GroupRole::Owner)]);

    let ban = body::GroupBan {
        group: id.clone(),
        users: vec!["bob".into()],
        seconds: 60,
        ..body::GroupBan::default()
    };
    assert_eq!(world.group(bob, Call::Ban(ban.clone())).0, Err(10007));
    let (banned, downs) = world.group(alice, Call::Ban(ban));
    assert!(banned.is_ok());
    assert!(downs.iter().any(|down| matches!(down, Down::Leave { session, .. } if *session == bob)));
    assert_eq!(world.group(bob, join(&id)).0, Err(10007));
    assert_eq!(world.group(bob, Call::Quit(group(&id))).0, Err(10007), "not in it any more");

    assert!(world.group(alice, Call::Dismiss(group(&id))).0.is_ok());
    assert_eq!(world.group(alice, join(&id)).0, Err(10010));
}

fn events(downs: &[Down]) -> Vec<(nearport_trunk::Topic, body::group_event::What)> {
    let event = |down: &Down| match down {
        Down::Publish { topic, kind: Kind::EVENT, body, .. } => {
            match body::Event::decode(body.clone()).unwrap().event {
                Some(body::event::Event::Group(event)) => Some((topic.clone(), event.what())),
                _ => None,
            }
        }
        _ => None,
    };
    downs.iter().filter_map(event).collect()
}

#[test]
fn a_live_room_hears_of_changes_and_who_is_not_in_it_reads_no_attributes() {
    use body::group_event::What;
    let mut world = World::new();
    let [alice, bob, carol] = ["alice", "bob", "carol"].map(|name| world.login(name, "phone"));
    world.received(0);
    let id = world.create(alice, "AVChatRoom", "stage");
    let topic = key(&id).topic();
    for who in [alice, bob] {
        world.ok(who, join(&id));
    }
    let seat = body::GroupAttributesWrite {
        group: id.clone(),
        items: vec![body::GroupAttribute { key: "seat".into(), value: "bob".into() }],
        ..body::GroupAttributesWrite::default()
    };
    let (written, downs) = world.group(bob, Call::WriteAttributes(seat));
    assert!(written.is_ok());
    assert_eq!(events(&downs), [(topic.clone(), What::Attributes)]);

    let attributes = Call::Attributes(body::GroupAttributeNames { group: id.clone(), keys: Vec::new() });
    let counters = Call::Counters(body::GroupAttributeNames { group: id.clone(), keys: Vec::new() });
    for call in [&attributes, &counters] {
        assert_eq!(world.group(carol, call.clone()).0, Err(10007), "not in the room");
        assert!(world.group(bob, call.clone()).0.is_ok());
    }

    let tips = |downs: &[Down]| {
        let tip = |down: &Down| match down {
            Down::Publish { kind: Kind::LIVE, id: 0, body, .. } => {
                let said =
                    body::LiveFrame::decode(body.clone()).unwrap().delivery?.message?.content?.elements;
                match said.into_iter().next()?.element? {
                    body::element::Element::Tip(tip) => Some((tip.r#type, tip.operator)),
                    _ => None,
                }
            }
            _ => None,
        };
        downs.iter().filter_map(tip).collect::<Vec<_>>()
    };
    let name = body::GroupEdit { group: id.clone(), name: Some("new".into()), ..body::GroupEdit::default() };
    let (edited, downs) = world.group(alice, Call::Edit(name));
    assert!(edited.is_ok());
    assert_eq!(
        (events(&downs), tips(&downs)),
        (vec![(topic.clone(), What::Info)], vec![(7, "alice".into())])
    );
    let mute = body::GroupMute { group: id.clone(), users: vec!["bob".into()], seconds: 60 };
    assert_eq!(tips(&world.group(alice, Call::Mute(mute)).1), [(8, "alice".into())]);
    assert_eq!(world.tips(&id), [], "nothing is written");

    let (dismissed, downs) = world.group(alice, Call::Dismiss(group(&id)));
    assert!(dismissed.is_ok());
    assert_eq!(events(&downs), [(topic, What::Gone)]);
    let place = |wanted: fn(&Down) -> bool| downs.iter().position(wanted).unwrap();
    let event = place(|down| matches!(down, Down::Publish { kind: Kind::EVENT, .. }));
    assert!(event < place(|down| matches!(down, Down::Leave { .. })), "while they still hear it");
}

#[test]
fn the_last_one_to_quit_ends_the_group_for_all_devices() {
    let mut world = World::new();
    let alice = world.login("alice", "phone");
    let id = world.create(alice, "Work", "g");
    let to = body::Target { target: Some(body::target::Target::Group(id.clone())) };
    let say = body::Send { to: Some(to), ..crate::world::send("", 1) };
    let frame = world.frame(alice, Kind::SEND, 1, say.encode_to_vec());
    world.write(vec![frame]);
    world.login("alice", "desk");
    world.received(0);
    let (quit, downs) = world.group(alice, Call::Quit(group(&id)));
    assert!(quit.is_ok());
    let hints: Vec<_> = events(&downs).into_iter().map(|(_, what)| what).collect();
    assert_eq!(hints, [body::group_event::What::Gone]);
    assert_eq!(world.group(alice, join(&id)).0, Err(10010));
}

#[test]
fn profiles_of_many_groups_take_one_look_into_the_directory() {
    use std::sync::atomic::Ordering;

    let directory = std::sync::Arc::new(crate::login::Meddler::new());
    let ledger = std::sync::Arc::new(nearport_store::MemoryLedger::new());
    let mut world = World::over(ledger, directory.clone(), nearport_chat::Config::default());
    let alice = world.login("alice", "phone");
    let ids: Vec<_> = (0..3).map(|_| world.create(alice, "Public", "")).collect();
    // What is in memory is read anew.
    world.restart();
    let alice = world.login("alice", "phone");
    world.received(0);
    let before = directory.group_looks.load(Ordering::Relaxed);
    let groups = vec![ids[0].clone(), "\u{202e}".into(), ids[1].clone(), "nowhere".into(), ids[2].clone()];
    let Answer::Infos(infos) = world.ok(alice, Call::Info(body::GroupNames { groups: groups.clone() }))
    else {
        panic!()
    };
    let got: Vec<_> =
        infos.infos.iter().map(|info| (info.group.clone(), info.error, info.next_seq)).collect();
    let want = [(0, 1), (10015, 0), (0, 1), (10010, 0), (0, 1)];
    let want: Vec<_> = groups.into_iter().zip(want).map(|(id, (error, next))| (id, error, next)).collect();
    assert_eq!(got, want);
    // One for all that are there, one for the one that is not.
    assert_eq!(directory.group_looks.load(Ordering::Relaxed) - before, 2);
}

#[test]
fn joining_a_community_of_100_000_writes_one_row_and_the_next_one_finds_it_full() {
    use std::sync::atomic::Ordering;

    use nearport_chat::directory::GroupStore as _;
    use nearport_chat::group::{Change, GroupChange, Member, Role};

    let directory = std::sync::Arc::new(crate::login::Meddler::new());
    let ledger = std::sync::Arc::new(nearport_store::MemoryLedger::new());
    let mut world = World::over(ledger, directory.clone(), nearport_chat::Config::default());
    let alice = world.login("alice", "phone");
    world.received(0);
    let id = world.create(alice, "Community", "");
    let known = directory.groups(&[key(&id)]).unwrap().remove(0).unwrap();
    let member = Member { role: Role::Member, ..known.members[&user("alice")].clone() };
    let others = (0..99_998).map(|n| Change::PutMember(user(&format!("u{n}")), Box::new(member.clone())));
    directory.change_groups(&[GroupChange { group: key(&id), changes: others.collect() }]).unwrap();
    // What is in memory is read anew.
    world.restart();
    let [alice, bob, carol] = ["alice", "bob", "carol"].map(|name| world.login(name, "phone"));
    world.received(0);

    let before = directory.rows.load(Ordering::Relaxed);
    world.ok(bob, join(&id));
    assert_eq!(directory.rows.load(Ordering::Relaxed) - before, 1);
    assert_eq!(world.group(carol, join(&id)).0, Err(10014));
    let page = body::GroupMembersPage {
        group: id.clone(),
        roles: vec![body::GroupRole::Owner.into()],
        ..body::GroupMembersPage::default()
    };
    match world.ok(alice, Call::Members(page)) {
        Answer::Members(page) => assert_eq!((page.members.len(), page.total), (1, 100_000)),
        other => panic!("{other:?}"),
    }
}
