//! Messages of groups: who may say what, how often, and what becomes of it afterwards.

use nearport_chat::key::{AppId, GroupKey};
use nearport_chat::ledger::{PageLimit, Range};
use nearport_trunk::{Down, SessionId};
use nearport_wire::Kind;
use nearport_wire::body::{
    self, Amend, Amended, Event, GroupAnswer, GroupCall, GroupCreate, GroupEdit, GroupJoin, GroupMute,
    GroupRef, History, HistoryPage, MarkRead, Mentions, Priority, ReadEvent, ReaderPage, Readers, Sent,
    Target, amend, event, group_call::Call, target,
};
use prost::Message as _;

use crate::world::{APP, Seen, World, answer, seen, send, text_content, user};

fn to_group(id: &str) -> Target {
    Target { target: Some(target::Target::Group(id.to_owned())) }
}

fn say(id: &str, n: u8) -> body::Send {
    body::Send { to: Some(to_group(id)), ..send("", n) }
}

fn key(id: &str) -> GroupKey {
    GroupKey::new(AppId(APP), id).unwrap()
}

/// Alice owns a group, bob is in it, carol is not. Alice is on link 0, the others on link 1.
struct Scene {
    world: World,
    alice: SessionId,
    bob: SessionId,
    carol: SessionId,
}

const GROUP: &str = "g";

impl Scene {
    fn new(kind: &str) -> Self {
        let mut world = World::new();
        let alice = world.login("alice", "phone");
        let hello = world.hello("bob", "phone");
        let (bob, _) = world.login_at(1, &hello);
        let hello = world.hello("carol", "phone");
        let (carol, _) = world.login_at(1, &hello);
        let mut scene = Self { world, alice, bob, carol };
        let create = GroupCreate {
            r#type: kind.into(),
            name: "name".into(),
            group: if kind == "Community" { format!("@TGS#_{GROUP}") } else { GROUP.into() },
            join: body::GroupJoinOption::GroupJoinFree.into(),
            // Members of a live room join themselves.
            members: Vec::from_iter(
                (kind != "AVChatRoom")
                    .then(|| body::GroupNewMember { user: "bob".into(), ..Default::default() }),
            ),
            ..GroupCreate::default()
        };
        scene.desk(alice, Call::Create(create)).unwrap();
        scene.quiet();
        scene
    }

    fn quiet(&mut self) {
        self.world.write(Vec::new());
        self.world.received(0);
        self.world.received(1);
    }

    fn both(&mut self) -> Vec<Down> {
        let mut downs = self.world.received(0);
        downs.extend(self.world.received(1));
        downs
    }

    fn desk(&mut self, session: SessionId, call: Call) -> Result<GroupAnswer, u32> {
        let frame = self.world.frame(session, Kind::GROUP, 8, GroupCall { call: Some(call) }.encode_to_vec());
        self.world.desk(vec![frame]);
        let downs = self.both();
        answer(downs.iter().find(|down| matches!(down, Down::Reply { .. })).unwrap())
    }

    fn ask<M: prost::Message + Default>(
        &mut self,
        session: SessionId,
        kind: Kind,
        body: &impl prost::Message,
    ) -> (Result<M, u32>, Vec<Down>) {
        let frame = self.world.frame(session, kind, 9, body.encode_to_vec());
        match kind {
            Kind::HISTORY | Kind::READERS => self.world.front(vec![frame]),
            _ => self.world.write(vec![frame]),
        }
        let downs = self.both();
        let mine = |down: &&Down| matches!(down, Down::Reply { session: to, .. } if *to == session);
        (answer(downs.iter().find(mine).unwrap()), downs)
    }

    fn say(&mut self, session: SessionId, send: &body::Send) -> Result<Sent, u32> {
        self.ask(session, Kind::SEND, send).0
    }

    fn amend(&mut self, session: SessionId, what: amend::Amend) -> (Result<Amended, u32>, Vec<Down>) {
        self.ask(session, Kind::AMEND, &Amend { amend: Some(what) })
    }

    fn history(&mut self, session: SessionId, request: History) -> Result<HistoryPage, u32> {
        let with = Some(to_group(GROUP));
        self.ask(session, Kind::HISTORY, &History { with, limit: 200, ..request }).0
    }

    fn seqs(&mut self, session: SessionId) -> Vec<u64> {
        let page = self.history(session, History { after: Some(0), ..History::default() }).unwrap();
        page.deliveries.iter().map(|delivery| delivery.seq).collect()
    }

    fn rows(&self) -> Vec<body::Message> {
        let limit = PageLimit { entries: 1000, bytes: usize::MAX };
        let rows = self.world.ledger.read(&key(GROUP).conv(), Range::After(0), limit).unwrap();
        rows.into_iter().map(|entry| body::Message::decode(entry.body).unwrap()).collect()
    }
}

fn recall(seq: u64) -> amend::Amend {
    amend::Amend::Recall(body::Recall { with: Some(to_group(GROUP)), seq, reason: String::new() })
}

fn edit(seq: u64) -> amend::Amend {
    let elements = text_content("changed").elements;
    amend::Amend::Edit(body::Edit { with: Some(to_group(GROUP)), seq, elements, cloud_custom_data: None })
}

fn published(downs: &[Down]) -> Vec<(Kind, u64, Option<SessionId>)> {
    let see = |down: &Down| match down {
        Down::Publish { topic, kind, id, except, .. } if topic.0[4] == 2 => Some((*kind, *id, *except)),
        _ => None,
    };
    downs.iter().filter_map(see).collect()
}

#[test]
fn a_message_is_one_row_and_one_copy_for_each_link() {
    let mut scene = Scene::new("Public");
    let (alice, bob) = (scene.alice, scene.bob);
    let hello = scene.world.hello("bob", "laptop");
    scene.world.login_at(1, &hello);
    scene.quiet();
    let (head, logs) = (scene.rows().len() as u64, ["alice", "bob"]);
    let before = logs.map(|name| scene.world.ledger.log_head(&user(name)).unwrap());
    let (sent, downs) = scene.ask::<Sent>(alice, Kind::SEND, &say(GROUP, 1));
    let sent = sent.unwrap();
    assert_eq!((sent.seq, sent.position, sent.duplicate), (head + 1, 0, false));
    let push = (Kind::GROUP_PUSH, sent.seq, Some(alice));
    assert_eq!(published(&downs), [push, push], "one for each link, the sender's own session left out");
    assert_eq!(logs.map(|name| scene.world.ledger.log_head(&user(name)).unwrap()), before);
    assert_eq!(scene.rows().len() as u64, head + 1);
    let again = scene.say(alice, &say(GROUP, 1)).unwrap();
    assert!(again.duplicate && again.seq == sent.seq);
    assert_eq!(scene.say(bob, &say(GROUP, 1)).unwrap().seq, sent.seq + 1, "another sender's id");
}

#[test]
fn who_may_not_say_something_is_told_why() {
    let mut scene = Scene::new("Public");
    let (alice, bob, carol) = (scene.alice, scene.bob, scene.carol);
    let mentions = |users: Vec<String>, all| Some(Mentions { users, all });
    assert_eq!(scene.say(carol, &say(GROUP, 1)), Err(10007));
    assert_eq!(scene.say(alice, &say("nowhere", 1)), Err(10010));
    assert_eq!(scene.say(alice, &say(&"x".repeat(49), 1)), Err(10015));
    assert_eq!(scene.say(alice, &say("", 1)), Err(10015));
    let many = body::Send { mentions: mentions(vec!["bob".into(); 31], false), ..say(GROUP, 1) };
    assert_eq!(scene.say(alice, &many), Err(10053));
    let nobody = body::Send { mentions: mentions(vec!["b\u{200b}ob".into()], false), ..say(GROUP, 1) };
    assert_eq!(scene.say(alice, &nobody), Err(10004));
    let thirty = body::Send { mentions: mentions(vec!["bob".into(); 30], true), ..say(GROUP, 1) };
    assert!(scene.say(alice, &thirty).is_ok());
    assert_eq!(scene.say(alice, &body::Send { priority: 9, ..say(GROUP, 2) }), Err(20001));
    assert_eq!(scene.say(alice, &body::Send { life_time_s: 604_801, ..say(GROUP, 2) }), Err(90026));
    let long = body::Send { content: Some(text_content(&"x".repeat(12_289))), ..say(GROUP, 2) };
    assert_eq!(scene.say(alice, &long), Err(80002));

    let mute = GroupMute { group: GROUP.into(), users: vec!["bob".into()], seconds: 60 };
    scene.desk(alice, Call::Mute(mute)).unwrap();
    assert_eq!(scene.say(bob, &say(GROUP, 3)), Err(10017));
    scene.world.now_ms += 61_000;
    assert!(scene.say(bob, &say(GROUP, 3)).is_ok());
    let all = GroupEdit { group: GROUP.into(), muted_all: Some(true), ..GroupEdit::default() };
    scene.desk(alice, Call::Edit(all)).unwrap();
    assert_eq!(scene.say(bob, &say(GROUP, 4)), Err(10017));
    assert!(scene.say(alice, &say(GROUP, 4)).is_ok(), "not the owner");
    scene.desk(alice, Call::Dismiss(GroupRef { group: GROUP.into() })).unwrap();
    assert_eq!(scene.say(alice, &say(GROUP, 5)), Err(10010));
    assert_eq!(scene.history(alice, History::default()), Err(10010));
    assert_eq!(scene.amend(alice, recall(1)).0, Err(10010));

    let mut community = Scene::new("Community");
    let id = format!("@TGS#_{GROUP}");
    let all = body::Send { mentions: mentions(Vec::new(), true), ..say(&id, 1) };
    assert_eq!(community.say(community.alice, &all), Err(10007), "no @all in a community");
    let receipt = body::Send { need_receipt: true, ..say(&id, 1) };
    assert_eq!(community.say(community.alice, &receipt), Err(10007), "and no receipts");
}

#[test]
fn above_the_rate_the_higher_class_goes_first_and_nobody_is_told() {
    let mut scene = Scene::new("Public");
    let (alice, bob) = (scene.alice, scene.bob);
    let before = scene.rows().len();
    let mut batch = Vec::new();
    for n in 0..90u8 {
        let priority = [Priority::Low, Priority::Normal, Priority::High][usize::from(n / 30)];
        let send = body::Send { priority: priority.into(), ..say(GROUP, n) };
        let from = if n % 2 == 0 { alice } else { bob };
        batch.push(scene.world.frame(from, Kind::SEND, u64::from(n) + 1, send.encode_to_vec()));
    }
    scene.world.write(batch);
    let downs = scene.both();
    let replies = downs.iter().filter(|down| matches!(down, Down::Reply { .. }));
    let sent: Vec<Sent> = replies.map(|down| answer(down).unwrap()).collect();
    assert_eq!(sent.len(), 90, "all senders hear that it was sent");
    assert_eq!(sent.iter().filter(|sent| sent.seq == 0).count(), 50);
    let rows = scene.rows();
    let stored = rows[before..].iter().map(|message| message.priority);
    let stored: Vec<_> = stored.fold(vec![0; 4], |mut counts, priority| {
        counts[usize::try_from(priority).unwrap()] += 1;
        counts
    });
    assert_eq!(stored, [0, 30, 10, 0]);
    let books = scene.world.writer.group_books(&key(GROUP)).unwrap();
    assert_eq!((books.taken, books.dropped), ([30, 10, 0, 0], [0, 20, 30, 0]));
    scene.world.now_ms += 1000;
    assert!(scene.say(alice, &say(GROUP, 100)).unwrap().seq > 0, "a second later there is room");
}

#[test]
fn above_the_rate_what_is_said_again_has_the_place_of_the_first() {
    let mut scene = Scene::new("Public");
    let alice = scene.alice;
    let batch =
        (0..90u8).map(|n| scene.world.frame(alice, Kind::SEND, 1, say(GROUP, n % 45).encode_to_vec()));
    let batch = batch.collect();
    scene.world.write(batch);
    let replies = |scene: &mut Scene| -> Vec<Sent> {
        let downs = scene.both();
        let replies = downs.iter().filter(|down| matches!(down, Down::Reply { .. }));
        replies.map(|down| answer(down).unwrap()).collect()
    };
    let sent = replies(&mut scene);
    let (first, again) = sent.split_at(45);
    assert_eq!(first.iter().filter(|sent| sent.seq > 0).count(), 40);
    let repeated = |first: &Sent| Sent { duplicate: first.seq > 0, position: 0, ..first.clone() };
    assert_eq!(again, first.iter().map(repeated).collect::<Vec<_>>(), "in the same batch");
    let rows = scene.rows().len();
    for n in [0, 44] {
        assert_eq!(scene.say(alice, &say(GROUP, n)), Ok(repeated(&first[usize::from(n)])), "later");
    }
    assert_eq!(scene.rows().len(), rows);
}

#[test]
fn a_work_group_hides_until_its_owner_speaks() {
    let mut scene = Scene::new("Work");
    let (alice, bob) = (scene.alice, scene.bob);
    assert_eq!(scene.say(bob, &say(GROUP, 1)), Err(10010));
    assert_eq!(scene.history(bob, History::default()), Err(10010));
    assert!(scene.say(alice, &say(GROUP, 1)).is_ok());
    assert!(scene.say(bob, &say(GROUP, 1)).is_ok());
    assert_eq!(scene.seqs(bob), [1, 2]);
}

#[test]
fn recalls_and_edits_are_numbered_and_told_to_the_group() {
    let mut scene = Scene::new("Public");
    let (alice, bob, carol) = (scene.alice, scene.bob, scene.carol);
    scene.desk(carol, Call::Join(GroupJoin { group: GROUP.into(), text: String::new() })).unwrap();
    scene.quiet();
    let tip = scene.rows().len() as u64;
    assert_eq!(scene.amend(alice, recall(tip)).0, Err(10032), "what the system says stays");
    let first = scene.say(bob, &say(GROUP, 1)).unwrap().seq;
    let second = scene.say(alice, &say(GROUP, 1)).unwrap().seq;
    assert_eq!(scene.amend(carol, recall(first)).0, Err(10007));
    assert_eq!(scene.amend(bob, recall(second)).0, Err(10007));
    assert_eq!(scene.amend(alice, edit(first)).0, Err(10007), "nobody puts words into another one's mouth");
    assert_eq!(scene.amend(bob, recall(second + 1)).0, Err(10030));
    assert_eq!(scene.amend(bob, recall(u64::MAX)).0, Err(10030));
    let (done, downs) = scene.amend(bob, edit(first));
    assert_eq!(done.unwrap().edit, 1);
    let told: Vec<_> = downs
        .iter()
        .filter_map(|down| match down {
            Down::Publish { kind: Kind::EVENT, body, except, .. } => {
                Some((Event::decode(body.clone()).unwrap(), *except))
            }
            _ => None,
        })
        .collect();
    assert_eq!(told.len(), 2, "one for each link");
    let (Event { event: Some(event::Event::GroupChange(change)) }, None) = &told[0] else {
        panic!("{told:?}")
    };
    let delivery = change.delivery.clone().unwrap();
    assert_eq!((change.group.as_str(), delivery.seq, delivery.edit), (GROUP, first, 1));
    assert_eq!(delivery.message.unwrap().content.unwrap(), text_content("changed"));
    assert_eq!(
        scene.amend(alice, recall(first)).0.unwrap().edit,
        2,
        "the owner takes a member's message back"
    );
    assert_eq!(scene.amend(bob, recall(first)).0, Err(10032));
    let changes = scene.history(bob, History { changes_after: Some(0), ..History::default() }).unwrap();
    let numbers: Vec<_> = changes.deliveries.iter().map(|delivery| (delivery.seq, delivery.edit)).collect();
    assert_eq!((numbers, changes.edit, changes.next), (vec![(first, 2)], 2, 2));
    scene.world.now_ms += 120_001;
    assert_eq!(scene.amend(alice, recall(second)).0, Err(10031));
}

#[test]
fn readers_come_in_pages_and_who_has_not_read_too() {
    let mut scene = Scene::new("Public");
    let (alice, bob, carol) = (scene.alice, scene.bob, scene.carol);
    let plain = scene.say(alice, &say(GROUP, 1)).unwrap().seq;
    let seq = scene.say(alice, &body::Send { need_receipt: true, ..say(GROUP, 2) }).unwrap().seq;
    scene.desk(carol, Call::Join(GroupJoin { group: GROUP.into(), text: String::new() })).unwrap();
    scene.quiet();
    let readers = |scene: &mut Scene, session, request: Readers| {
        let with = Some(to_group(GROUP));
        let (page, _) = scene.ask::<ReaderPage>(session, Kind::READERS, &Readers { with, ..request });
        page.map(|page| {
            (page.counts.iter().map(|count| (count.read, count.unread)).collect::<Vec<_>>(), page.names)
        })
    };
    let names = |unread| Readers { seqs: vec![seq], limit: 10, unread, ..Readers::default() };
    assert_eq!(
        readers(&mut scene, alice, names(true)),
        Ok((vec![(0, 1)], vec!["bob".into()])),
        "carol came later"
    );
    let receipt = |seqs| amend::Amend::Receipts(body::Receipts { with: Some(to_group(GROUP)), seqs });
    assert_eq!(
        scene.amend(carol, receipt(vec![seq])).0.unwrap().invalid,
        [seq],
        "it is from before she joined"
    );
    let (done, downs) = scene.amend(bob, receipt(vec![plain, seq]));
    assert_eq!(done.unwrap().invalid, [plain]);
    assert!(
        downs
            .iter()
            .any(|down| matches!(down, Down::Publish { topic, kind: Kind::EVENT, .. } if topic.0[4] == b'a'))
    );
    assert_eq!(readers(&mut scene, alice, names(false)), Ok((vec![(1, 0)], vec!["bob".into()])));
    let behind = Readers { after: "bob".into(), ..names(false) };
    assert_eq!(readers(&mut scene, alice, behind), Ok((vec![(1, 0)], vec![])));
    assert_eq!(readers(&mut scene, alice, Readers { seqs: vec![plain], ..names(false) }), Err(10062));
    assert_eq!(readers(&mut scene, bob, names(false)), Err(10062));
    let many = Readers { seqs: (1..=31).collect(), ..Readers::default() };
    assert_eq!(readers(&mut scene, alice, many), Err(10004));
    let page = scene.history(alice, History::default()).unwrap();
    assert_eq!(page.deliveries.iter().find(|delivery| delivery.seq == seq).unwrap().receipts, 1);
}

#[test]
fn cursors_of_a_group_are_the_readers_own() {
    let mut scene = Scene::new("Public");
    let (alice, bob, carol) = (scene.alice, scene.bob, scene.carol);
    let hello = scene.world.hello("bob", "laptop");
    scene.world.login_at(1, &hello);
    scene.quiet();
    let seq = scene.say(alice, &say(GROUP, 1)).unwrap().seq;
    let mark = MarkRead { with: Some(to_group(GROUP)), seq: u64::MAX };
    let (_, downs) = scene.ask::<body::Empty>(bob, Kind::MARK_READ, &mark);
    let Down::Publish { topic, kind: Kind::READ_EVENT, body, except, .. } = downs.last().unwrap() else {
        panic!("{downs:?}")
    };
    let want = ReadEvent { user: "bob".into(), group: GROUP.into(), seq, ..ReadEvent::default() };
    assert_eq!((topic.0[4], *except), (b'b', Some(bob)), "nobody else is told");
    assert_eq!(ReadEvent::decode(body.clone()).unwrap(), want, "cut to what there is");
    assert_eq!(scene.history(bob, History::default()).unwrap().read, seq);
    assert_eq!(scene.ask::<body::Empty>(carol, Kind::MARK_READ, &mark).0, Err(10007));

    let shown = |groups: Vec<(&str, u64)>| {
        let group = |(group, seq): (&str, u64)| body::ShownGroup { group: group.into(), seq };
        amend::Amend::Shown(body::Shown { groups: groups.into_iter().map(group).collect() })
    };
    assert!(scene.amend(bob, shown(vec![(GROUP, 99), ("nowhere", 1)])).0.is_ok());
    assert!(scene.amend(carol, shown(vec![(GROUP, 1)])).0.is_ok(), "kept for nobody who is not in it");
    let cursor = |name: &str, device: &str| {
        let name_of = nearport_chat::ledger::CursorName::Shown(device.into(), key(GROUP).conv());
        scene.world.ledger.cursor(&user(name), &name_of).unwrap()
    };
    assert_eq!(
        [cursor("bob", "phone"), cursor("bob", "laptop"), cursor("carol", "phone")],
        [Some(seq), None, None]
    );
    let head = |scene: &mut Scene, who: SessionId, group: &str| {
        let answer = scene.desk(who, Call::Heads(body::GroupHeadsCall::default())).unwrap().answer;
        let Some(body::group_answer::Answer::Heads(heads)) = answer else { panic!("{answer:?}") };
        let head = heads.items.into_iter().find(|head| head.group == group).unwrap();
        (head.known, head.shown)
    };
    assert_eq!(head(&mut scene, bob, GROUP), (true, seq));
    // Nothing was said there yet: that the device has been there is known all the same.
    let empty = GroupCreate {
        r#type: "Meeting".into(),
        name: "e".into(),
        group: "empty".into(),
        ..GroupCreate::default()
    };
    scene.desk(bob, Call::Create(empty)).unwrap();
    scene.quiet();
    assert_eq!(head(&mut scene, bob, "empty"), (false, 0));
    assert!(scene.amend(bob, shown(vec![("empty", 0)])).0.is_ok());
    assert_eq!(head(&mut scene, bob, "empty"), (true, 0));
    let many = shown(vec![(GROUP, 1); 101]);
    assert_eq!(scene.amend(bob, many).0, Err(10004));
}

#[test]
fn what_was_said_before_one_joined_shows_where_the_type_says_so() {
    for (kind, seen_before) in [("Public", false), ("Meeting", true)] {
        let mut scene = Scene::new(kind);
        let (alice, carol) = (scene.alice, scene.carol);
        let old = scene.say(alice, &say(GROUP, 1)).unwrap().seq;
        assert_eq!(scene.history(carol, History::default()), Err(10007), "{kind}");
        scene.desk(carol, Call::Join(GroupJoin { group: GROUP.into(), text: String::new() })).unwrap();
        scene.quiet();
        let new = scene.say(alice, &say(GROUP, 2)).unwrap().seq;
        let seqs = scene.seqs(carol);
        assert_eq!((seqs.contains(&old), seqs.contains(&new)), (seen_before, true), "{kind}");
    }
}

#[test]
fn what_is_not_stored_goes_out_and_leaves_nothing() {
    let mut scene = Scene::new("Public");
    let alice = scene.alice;
    let rows = scene.rows().len();
    let typing = body::Send { online_only: true, ..say(GROUP, 1) };
    let (sent, downs) = scene.ask::<Sent>(alice, Kind::SEND, &typing);
    assert_eq!(sent.unwrap().seq, 0);
    assert!(published(&downs).contains(&(Kind::GROUP_PUSH, 0, Some(alice))));
    assert_eq!(scene.rows().len(), rows);
}

#[test]
fn what_is_said_in_a_live_room_waits_for_no_commit() {
    let mut scene = Scene::new("AVChatRoom");
    let alice = scene.alice;
    scene.desk(alice, Call::Join(GroupJoin { group: GROUP.into(), text: String::new() })).unwrap();
    scene.quiet();
    let stored = scene.world.text(alice, "bob", 1, 1);
    let said = scene.world.frame(alice, Kind::SEND, 2, say(GROUP, 2).encode_to_vec());
    let World { writer, downs, now_ms, .. } = &mut scene.world;
    let prepared = writer.prepare(&mut vec![stored, said], *now_ms, downs);
    downs.flush();
    let out = scene.both();
    assert!(
        matches!(&out[..], [Down::Reply { id: 2, .. }, Down::Publish { kind: Kind::LIVE, .. }]),
        "{out:?}"
    );
    let committed = scene.world.ledger.commit(&prepared.batch).unwrap();
    scene.world.writer.finish(prepared, Ok(committed), &mut scene.world.downs);
    scene.world.downs.flush();
    let out = scene.both();
    assert!(
        matches!(&out[..], [Down::Reply { id: 1, .. }, Down::Publish { kind: Kind::PUSH, .. }]),
        "{out:?}"
    );
}

#[test]
fn one_deletes_for_oneself_what_there_is() {
    let mut scene = Scene::new("Public");
    let (alice, bob, carol) = (scene.alice, scene.bob, scene.carol);
    let seq = scene.say(alice, &say(GROUP, 1)).unwrap().seq;
    let hide = |seqs: Vec<u64>| amend::Amend::Hide(body::Hide { with: Some(to_group(GROUP)), seqs });
    assert_eq!(scene.amend(bob, hide((1..=31).collect())).0, Err(10051));
    assert_eq!(scene.amend(bob, hide(vec![seq + 1])).0, Err(10052));
    assert_eq!(scene.amend(carol, hide(vec![seq])).0, Err(10007));
    assert!(scene.amend(bob, hide(vec![seq])).0.is_ok());
    assert!(!scene.seqs(bob).contains(&seq) && scene.seqs(alice).contains(&seq));
    let clear = amend::Amend::Clear(body::Clear { with: Some(to_group(GROUP)), seq: 0 });
    assert!(scene.amend(alice, clear).0.is_ok());
    assert_eq!(scene.seqs(alice), [0; 0]);
}

#[test]
fn a_failed_commit_is_told_and_publishes_nothing() {
    let mut scene = Scene::new("Public");
    let alice = scene.alice;
    let frame = scene.world.frame(alice, Kind::SEND, 3, say(GROUP, 1).encode_to_vec());
    let prepared = scene.world.writer.prepare(&mut vec![frame], scene.world.now_ms, &mut scene.world.downs);
    let failed = Err(nearport_chat::ledger::LedgerError::Io("pulled out".into()));
    scene.world.writer.finish(prepared, failed, &mut scene.world.downs);
    scene.world.downs.flush();
    assert_eq!(seen(&scene.both()), [Seen::Error(alice, 3, 20005)]);
}

fn head_of(scene: &mut Scene, session: SessionId) -> body::GroupHead {
    match scene.desk(session, Call::Heads(body::GroupHeadsCall::default())).unwrap().answer {
        Some(body::group_answer::Answer::Heads(heads)) => heads.items[0].clone(),
        other => panic!("{other:?}"),
    }
}

/// Sends messages of which those with a number in `uncounted` are unread for nobody.
fn say_many(scene: &mut Scene, session: SessionId, ids: std::ops::RangeInclusive<u8>, uncounted: &[u8]) {
    for id in ids {
        scene.world.now_ms += 1_000;
        let no_unread = uncounted.contains(&id);
        let control = no_unread.then(|| body::SendControl { no_unread, ..body::SendControl::default() });
        scene.say(session, &body::Send { control, ..say(GROUP, id) }).unwrap();
    }
}

#[test]
fn heads_leave_out_what_is_not_counted_and_ones_own() {
    let mut scene = Scene::new("Public");
    let (alice, bob) = (scene.alice, scene.bob);
    let read = |scene: &mut Scene, session, seq| {
        let mark = MarkRead { with: Some(to_group(GROUP)), seq };
        scene.ask::<body::Empty>(session, Kind::MARK_READ, &mark).0.unwrap();
    };
    let start = head_of(&mut scene, bob).seq;
    for session in [alice, bob] {
        read(&mut scene, session, start);
    }
    // 5 of alice, of which 2 count for nobody; then 3 of bob, of which 1.
    say_many(&mut scene, alice, 1..=5, &[2, 5]);
    say_many(&mut scene, bob, 11..=13, &[12]);
    let unread = |scene: &mut Scene, session| {
        let head = head_of(scene, session);
        (head.seq - start, head.read - start, head.unread)
    };
    assert_eq!(unread(&mut scene, bob), (8, 0, 3));
    assert_eq!(unread(&mut scene, alice), (8, 0, 2));
    read(&mut scene, bob, start + 2);
    assert_eq!(unread(&mut scene, bob), (8, 2, 2));
    // One's own are looked for among 30 messages; what counts for nobody is known of any number.
    say_many(&mut scene, alice, 21..=43, &[21, 22, 23]);
    assert_eq!(unread(&mut scene, bob), (31, 2, 22), "of 29, 4 of alice and 3 of bob are left out");
    say_many(&mut scene, alice, 44..=45, &[]);
    assert_eq!(unread(&mut scene, bob), (33, 2, 26), "of 31, 5 that count for nobody");
    // What is taken back does not count any more, what did not count before is left out once.
    for seq in [33, 11] {
        scene.amend(alice, recall(start + seq)).0.unwrap();
    }
    assert_eq!(unread(&mut scene, bob), (33, 2, 25));
    read(&mut scene, bob, start + 4);
    assert_eq!(
        unread(&mut scene, bob),
        (33, 4, 21),
        "of 29, 3 of bob, 4 more that count for nobody, 1 taken back"
    );
}

#[test]
fn nothing_is_ever_unread_in_a_meeting() {
    let mut scene = Scene::new("Meeting");
    let (alice, bob) = (scene.alice, scene.bob);
    scene.say(alice, &say(GROUP, 1)).unwrap();
    let head = head_of(&mut scene, bob);
    assert!(head.seq > 0 && head.unread == 0, "{head:?}");
}

/// The answer was lost, and the sender has left before the client sent it again.
#[test]
fn what_was_stored_is_stored_though_its_sender_is_no_member_any_more() {
    let mut scene = Scene::new("Public");
    let bob = scene.bob;
    let first = scene.say(bob, &say(GROUP, 1)).unwrap();
    scene.desk(bob, Call::Quit(body::GroupRef { group: GROUP.into() })).unwrap();
    let again = scene.say(bob, &say(GROUP, 1)).unwrap();
    assert_eq!((again.seq, again.time_ms, again.duplicate), (first.seq, first.time_ms, true));
    assert_eq!(scene.say(bob, &say(GROUP, 2)).unwrap_err(), 10007);
}
