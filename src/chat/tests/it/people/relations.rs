//! Friends, applications, blocklists and friend groups.

use nearport_chat::actor::Actor;
use nearport_chat::directory::people::{FieldValue, FriendRow};
use nearport_chat::people::{AddFriend, AddFriends, Config as People, Effects, ImportFriend, Verdict};
use nearport_chat::people::{CustomField, FieldOf, Holds};
use nearport_chat::{Config, people};
use nearport_trunk::SessionId;
use nearport_wire::body::people_answer::Answer;
use nearport_wire::body::people_call::Call;
use nearport_wire::body::people_event::Event;
use nearport_wire::body::{self, FriendAddItem, FriendApplicationAnswerType, FriendRelation};
use prost::Message as _;

use super::{ask, ask_all, codes, names, text, world};
use crate::world::{APP, START_MS, World, user};

pub(crate) fn add(users: &[&str]) -> Call {
    let item = |user: &&str| FriendAddItem { user: (*user).to_owned(), ..FriendAddItem::default() };
    Call::FriendAdd(body::FriendAdd { items: users.iter().map(item).collect(), r#type: 0 })
}

fn add_one(item: FriendAddItem) -> Call {
    Call::FriendAdd(body::FriendAdd { items: vec![item], r#type: 0 })
}

fn single(name: &str) -> Call {
    let item = FriendAddItem { user: name.to_owned(), ..FriendAddItem::default() };
    Call::FriendAdd(body::FriendAdd { items: vec![item], r#type: body::FriendAddType::Single as i32 })
}

fn allow(world: &mut World, session: SessionId, kind: &str) {
    let fields = vec![text("Tag_Profile_IM_AllowType", &format!("AllowType_Type_{kind}"))];
    ask(world, session, Call::ProfileSet(body::ProfileSet { fields })).unwrap();
}

fn relation(world: &mut World, session: SessionId, name: &str) -> FriendRelation {
    let call = Call::FriendCheck(body::FriendCheck { users: names(&[name]), both: true });
    let Ok(Answer::FriendChecks(checks)) = ask(world, session, call) else { panic!() };
    checks.items[0].relation()
}

fn friends(world: &mut World, session: SessionId) -> body::FriendPage {
    match ask(world, session, Call::FriendList(body::FriendList::default())) {
        Ok(Answer::Friends(page)) => page,
        other => panic!("{other:?}"),
    }
}

fn respond(name: &str, kind: FriendApplicationAnswerType) -> Call {
    Call::ApplicationAnswer(body::FriendApplicationAnswer {
        users: names(&[name]),
        r#type: kind as i32,
        remark: String::new(),
        group: String::new(),
    })
}

fn applications(world: &mut World, session: SessionId, sent: bool) -> body::FriendApplicationPage {
    let call = Call::ApplicationList(body::FriendApplicationList { before: 0, limit: 0, sent });
    match ask(world, session, call) {
        Ok(Answer::Applications(page)) => page,
        other => panic!("{other:?}"),
    }
}

fn three(people: People) -> (World, [SessionId; 3]) {
    let mut world = world(Config { people, ..Config::default() });
    let sessions = [world.login("alice", "a"), world.login("bob", "b"), world.login("carol", "c")];
    (world, sessions)
}

#[test]
fn an_add_goes_by_the_peers_allow_type_and_both_sequences_move() {
    let (mut world, [alice, bob, carol]) = three(People::default());
    let (answer, events) = ask_all(&mut world, alice, add(&["bob", "alice", "nobody", "zw\u{200b}"]));
    let Ok(Answer::Results(results)) = answer else { panic!() };
    assert_eq!(results.items.iter().map(|item| item.code).collect::<Vec<_>>(), [0, 30001, 30003, 30003]);
    assert_eq!(results.sequences.unwrap().standard, 1);
    assert!(matches!(&events[..], [(name, Event::Relation(_))] if name == "bob"), "{events:?}");
    assert_eq!(relation(&mut world, alice, "bob"), FriendRelation::Both);
    assert_eq!(friends(&mut world, bob).sequences.unwrap().standard, 1);
    assert_eq!(codes(&mut world, alice, add(&["bob"])), Ok(vec![0]), "a friend already");
    assert_eq!(friends(&mut world, alice).sequences.unwrap().standard, 1, "nothing has changed");

    assert_eq!(codes(&mut world, carol, single("alice")), Ok(vec![0]));
    assert_eq!(relation(&mut world, carol, "alice"), FriendRelation::AWithB);
    assert_eq!(relation(&mut world, alice, "carol"), FriendRelation::BWithA);

    allow(&mut world, carol, "DenyAny");
    assert_eq!(codes(&mut world, alice, add(&["carol"])), Ok(vec![30516]));
    allow(&mut world, carol, "NeedConfirm");
    assert_eq!(codes(&mut world, alice, add(&["carol"])), Ok(vec![30539]));
    assert_eq!(relation(&mut world, alice, "carol"), FriendRelation::BWithA, "it waits");
}

#[test]
fn applications_are_listed_read_answered_and_taken_back() {
    let (mut world, [alice, bob, carol]) = three(People::default());
    allow(&mut world, carol, "NeedConfirm");
    let item = FriendAddItem {
        user: "carol".to_owned(),
        source: "AddSource_Type_Web".to_owned(),
        wording: "hi".to_owned(),
        remark: "Caro".to_owned(),
        group: "kin".to_owned(),
    };
    let (_, events) = ask_all(&mut world, alice, add_one(item));
    let told =
        |event: &Event| matches!(event, Event::Application(it) if it.user == "alice" && it.wording == "hi");
    assert!(events.iter().any(|(name, event)| name == "carol" && told(event)), "{events:?}");
    assert_eq!(codes(&mut world, bob, single("carol")), Ok(vec![30539]));

    let page = applications(&mut world, carol, false);
    let seen: Vec<_> = page.applications.iter().map(|it| (it.user.as_str(), it.single, it.read)).collect();
    assert_eq!(seen, [("bob", true, false), ("alice", false, false)]);
    assert_eq!(page.unread, 2);
    let read = Call::ApplicationRead(body::FriendApplicationRead { id: page.applications[1].id });
    ask(&mut world, carol, read).unwrap();
    assert_eq!(applications(&mut world, carol, false).unread, 1);
    assert_eq!(applications(&mut world, alice, true).applications[0].user, "carol");

    use FriendApplicationAnswerType as A;
    let accept_and_add = A::FriendApplicationAnswerAcceptAndAdd;
    assert_eq!(codes(&mut world, carol, respond("dave", accept_and_add)), Ok(vec![30003]));
    assert_eq!(
        codes(&mut world, alice, respond("carol", accept_and_add)),
        Ok(vec![30614]),
        "not hers to answer"
    );
    assert_eq!(codes(&mut world, carol, respond("alice", accept_and_add)), Ok(vec![0]));
    assert_eq!(codes(&mut world, carol, respond("alice", accept_and_add)), Ok(vec![30614]), "answered");
    assert_eq!(relation(&mut world, alice, "carol"), FriendRelation::Both);
    let friend = friends(&mut world, alice).friends.remove(0);
    assert_eq!((friend.remark.as_str(), &friend.groups[..]), ("Caro", &["kin".to_owned()][..]));
    assert_eq!(friends(&mut world, carol).friends[0].remark, "", "a remark is its owner's");

    assert_eq!(codes(&mut world, carol, respond("bob", A::FriendApplicationAnswerAccept)), Ok(vec![0]));
    assert_eq!(relation(&mut world, bob, "carol"), FriendRelation::AWithB);
    allow(&mut world, alice, "NeedConfirm");
    assert_eq!(codes(&mut world, bob, add(&["alice"])), Ok(vec![30539]));
    let delete =
        |sent| Call::ApplicationDelete(body::FriendApplicationDelete { users: names(&["alice"]), sent });
    assert_eq!(codes(&mut world, bob, delete(false)), Ok(vec![30614]));
    assert_eq!(codes(&mut world, bob, delete(true)), Ok(vec![0]));
    assert_eq!(codes(&mut world, alice, respond("bob", A::FriendApplicationAnswerReject)), Ok(vec![30614]));
    assert_eq!(codes(&mut world, bob, add(&["alice"])), Ok(vec![30539]));
    assert_eq!(codes(&mut world, alice, respond("bob", A::FriendApplicationAnswerReject)), Ok(vec![0]));
    assert_eq!(relation(&mut world, bob, "alice"), FriendRelation::None);
}

#[test]
fn who_became_a_friend_has_no_application_left_in_either_direction() {
    let (mut world, [alice, bob, carol]) = three(People::default());
    allow(&mut world, bob, "NeedConfirm");
    allow(&mut world, carol, "NeedConfirm");
    assert_eq!(codes(&mut world, bob, add(&["carol"])), Ok(vec![30539]));
    assert_eq!(codes(&mut world, carol, add(&["bob"])), Ok(vec![30539]));
    assert_eq!(codes(&mut world, bob, add(&["alice"])), Ok(vec![0]));
    assert_eq!(applications(&mut world, bob, false).applications.len(), 1);
    allow(&mut world, bob, "AllowAny");
    assert_eq!(codes(&mut world, carol, add(&["bob"])), Ok(vec![0]));
    for session in [alice, bob, carol] {
        assert!(applications(&mut world, session, false).applications.is_empty());
        assert!(applications(&mut world, session, true).applications.is_empty());
    }
}

#[test]
fn answers_end_before_what_a_client_reads() {
    let field = |n: u8, of| {
        let key = char::from(b'a' + n).to_string();
        CustomField { app: APP, of, key, holds: Holds::Text, app_reads: true, app_writes: true }
    };
    let of = |of| (0..20).map(move |n| field(n, of));
    let fields = of(FieldOf::Friend).chain(of(FieldOf::Profile)).collect();
    let (mut world, [alice, ..]) = three(People { fields, ..People::default() });
    let long = |prefix: &str| -> Vec<_> {
        let one = |n| text(&format!("{prefix}{}", char::from(b'a' + n)), &"x".repeat(500));
        (0..20).map(one).collect()
    };
    let all: Vec<_> = (10..40).map(|n| format!("u{n}")).collect();
    for name in &all {
        world.login(name, "d");
        world.received(0);
        assert_eq!(codes(&mut world, alice, add(&[name])), Ok(vec![0]));
        let item = body::FriendUpdateItem {
            user: name.clone(),
            fields: long("Tag_SNS_Custom_"),
            ..body::FriendUpdateItem::default()
        };
        let update = Call::FriendUpdate(body::FriendUpdate { items: vec![item] });
        assert_eq!(codes(&mut world, alice, update), Ok(vec![0]));
    }
    let (mut seen, mut start) = (Vec::new(), 0);
    loop {
        let call = Call::FriendList(body::FriendList { start, ..body::FriendList::default() });
        let Ok(Answer::Friends(page)) = ask(&mut world, alice, call) else { panic!() };
        assert!(page.encoded_len() < 256 * 1024, "{}", page.encoded_len());
        seen.extend(page.friends.into_iter().map(|friend| friend.user));
        start = page.next;
        if page.complete {
            break;
        }
    }
    assert_eq!(seen, all);
    let get = |count| {
        let users = all[..count].to_vec();
        Call::FriendGet(body::FriendGet { users, tags: Vec::new() })
    };
    assert!(ask(&mut world, alice, get(20)).is_ok());
    assert_eq!(ask(&mut world, alice, get(30)).unwrap_err(), 80002);
    ask(&mut world, alice, Call::ProfileSet(body::ProfileSet { fields: long("Tag_Profile_Custom_") }))
        .unwrap();
    let get = |count| {
        Call::ProfileGet(body::ProfileGet { users: vec!["alice".to_owned(); count], tags: Vec::new() })
    };
    assert!(ask(&mut world, alice, get(20)).is_ok());
    assert_eq!(ask(&mut world, alice, get(30)).unwrap_err(), 80002);
}

#[test]
fn lists_that_are_full_say_whose() {
    let people = People {
        friends_max: 1,
        blocks_max: 1,
        friend_groups_max: 1,
        applications_unread_max: 1,
        ..People::default()
    };
    let (mut world, [alice, bob, carol]) = three(people);
    allow(&mut world, carol, "NeedConfirm");
    assert_eq!(codes(&mut world, alice, add(&["carol"])), Ok(vec![30539]));
    assert_eq!(codes(&mut world, alice, add(&["carol"])), Ok(vec![30539]), "the same once more");
    assert_eq!(codes(&mut world, bob, add(&["carol"])), Ok(vec![30012]));
    assert_eq!(codes(&mut world, alice, add(&["bob"])), Ok(vec![0]));
    assert_eq!(codes(&mut world, alice, add(&["carol"])), Ok(vec![30010]));
    allow(&mut world, carol, "AllowAny");
    assert_eq!(codes(&mut world, carol, add(&["bob"])), Ok(vec![30014]));
    assert_eq!(codes(&mut world, carol, single("bob")), Ok(vec![0]), "bob's list does not change");
    let answer = FriendApplicationAnswerType::FriendApplicationAnswerAccept;
    assert_eq!(codes(&mut world, carol, respond("alice", answer)), Ok(vec![30014]));

    let block = |name| Call::BlockAdd(body::BlockAdd { users: names(&[name]) });
    assert_eq!(codes(&mut world, carol, block("alice")), Ok(vec![0]));
    assert_eq!(codes(&mut world, carol, block("bob")), Ok(vec![30013]));
    let group = |name| Call::FriendGroupAdd(body::FriendGroupAdd { names: names(&[name]), users: vec![] });
    assert_eq!(codes(&mut world, alice, group("one")), Ok(vec![]));
    assert_eq!(codes(&mut world, alice, group("one")), Ok(vec![]), "it is there");
    assert_eq!(codes(&mut world, alice, group("two")), Err(30011));
}

/// Field, what is said, and the code of the item.
#[test]
fn texts_are_measured_in_bytes() {
    let people = People { refused_words: vec!["bad".to_owned()], ..People::default() };
    let (mut world, [alice, ..]) = three(people);
    let base = FriendAddItem { user: "bob".to_owned(), ..FriendAddItem::default() };
    let item = |change: &dyn Fn(&mut FriendAddItem)| {
        let mut item = base.clone();
        change(&mut item);
        item
    };
    // 32 characters of three bytes.
    let remark = "€".repeat(32);
    let rows = [
        (item(&|it| it.remark = format!("{remark}x")), 30001),
        (item(&|it| it.wording = "x".repeat(257)), 30001),
        (item(&|it| it.source = "Web".to_owned()), 30001),
        (item(&|it| it.source = "AddSource_Type_".to_owned()), 30001),
        (item(&|it| it.source = "AddSource_Type_abcdefghi".to_owned()), 30001),
        (item(&|it| it.group = "x".repeat(31)), 30001),
        (item(&|it| it.remark = "so BAD".to_owned()), 30005),
        (item(&|it| it.remark = "\u{202e}bob".to_owned()), 30001),
        (item(&|it| it.group = "a\0b".to_owned()), 30001),
        (item(&|it| it.user = String::new()), 30003),
        (item(&|it| it.user = "x".repeat(33)), 30003),
        (
            item(&|it| {
                it.remark.clone_from(&remark);
                it.wording = "x".repeat(256);
                it.source = "AddSource_Type_abcdefgh".to_owned();
                it.group = "x".repeat(30);
            }),
            0,
        ),
    ];
    for (item, code) in rows {
        assert_eq!(codes(&mut world, alice, add_one(item.clone())), Ok(vec![code]), "{item:?}");
    }
    let update = |remark: &str| {
        let fields = vec![text("Tag_SNS_IM_Remark", remark)];
        let item =
            body::FriendUpdateItem { user: "bob".to_owned(), fields, ..body::FriendUpdateItem::default() };
        Call::FriendUpdate(body::FriendUpdate { items: vec![item] })
    };
    assert_eq!(codes(&mut world, alice, update(&"x".repeat(96))), Ok(vec![0]));
    assert_eq!(codes(&mut world, alice, update(&"x".repeat(97))), Ok(vec![30001]));
    assert_eq!(friends(&mut world, alice).friends[0].remark.len(), 96);
}

#[test]
fn a_block_ends_the_friendship_and_stops_both_from_asking() {
    let (mut world, [alice, bob, _]) = three(People::default());
    ask(&mut world, alice, add(&["bob"])).unwrap();
    let block = Call::BlockAdd(body::BlockAdd { users: names(&["bob", "bob", "alice", "nobody"]) });
    assert_eq!(codes(&mut world, alice, block), Ok(vec![0, 30001, 30001, 30003]));
    assert_eq!(relation(&mut world, alice, "bob"), FriendRelation::None);
    assert_eq!(codes(&mut world, alice, add(&["bob"])), Ok(vec![30515]));
    assert_eq!(codes(&mut world, bob, add(&["alice"])), Ok(vec![30525]));
    let check = |both| Call::BlockCheck(body::BlockCheck { users: names(&["bob"]), both });
    let found = |world: &mut World, session, call| match ask(world, session, call) {
        Ok(Answer::FriendChecks(checks)) => checks.items[0].relation(),
        other => panic!("{other:?}"),
    };
    assert_eq!(found(&mut world, alice, check(true)), FriendRelation::AWithB);
    assert_eq!(found(&mut world, alice, check(false)), FriendRelation::AWithB);
    let Ok(Answer::Blocks(page)) = ask(&mut world, alice, Call::BlockList(body::BlockList::default())) else {
        panic!()
    };
    assert_eq!((page.blocks.len(), page.next, page.total), (1, 0, 1));
    let known = body::BlockList { sequence: page.sequence, ..body::BlockList::default() };
    let Ok(Answer::Blocks(page)) = ask(&mut world, alice, Call::BlockList(known)) else { panic!() };
    assert!(page.blocks.is_empty(), "nothing has changed");
    let unblock = || Call::BlockDelete(body::BlockDelete { users: names(&["bob"]) });
    assert_eq!(codes(&mut world, alice, unblock()), Ok(vec![0]));
    assert_eq!(codes(&mut world, alice, unblock()), Ok(vec![30001]));
}

#[test]
fn friends_are_deleted_on_one_side_or_both() {
    let (mut world, [alice, bob, carol]) = three(People::default());
    ask(&mut world, alice, add(&["bob", "carol"])).unwrap();
    let delete =
        |names: &[&str], both| Call::FriendDelete(body::FriendDelete { users: super::names(names), both });
    assert_eq!(codes(&mut world, alice, delete(&["bob"], false)), Ok(vec![0]));
    assert_eq!(relation(&mut world, alice, "bob"), FriendRelation::BWithA);
    assert_eq!(codes(&mut world, alice, delete(&["bob"], false)), Ok(vec![31704]));
    assert_eq!(codes(&mut world, bob, delete(&["alice", "carol"], true)), Ok(vec![0, 31704]));
    assert_eq!(codes(&mut world, bob, delete(&[], true)), Err(30001));
    ask(&mut world, alice, Call::FriendDeleteAll(body::FriendDeleteAll { both: true })).unwrap();
    assert_eq!((friends(&mut world, alice).total, friends(&mut world, carol).total), (0, 0));
}

#[test]
fn groups_hold_friends_only_and_fields_have_their_own_sequence() {
    let field = CustomField {
        app: APP,
        of: FieldOf::Friend,
        key: "Pet".to_owned(),
        holds: Holds::Text,
        app_reads: true,
        app_writes: true,
    };
    let (mut world, [alice, ..]) = three(People { fields: vec![field], ..People::default() });
    ask(&mut world, alice, add(&["bob"])).unwrap();
    let group = Call::FriendGroupAdd(body::FriendGroupAdd {
        names: names(&["家族", "work"]),
        users: names(&["bob", "carol"]),
    });
    assert_eq!(codes(&mut world, alice, group), Ok(vec![0, 32216]));
    let members = |name: &str, add: &[&str], remove: &[&str]| {
        Call::FriendGroupMembers(body::FriendGroupMembers {
            name: name.to_owned(),
            add: names(add),
            remove: names(remove),
        })
    };
    assert_eq!(codes(&mut world, alice, members("none", &["bob"], &[])), Err(30001));
    assert_eq!(codes(&mut world, alice, members("work", &["carol"], &["bob"])), Ok(vec![32216, 0]));
    let rename = |name: &str, new: &str| {
        Call::FriendGroupRename(body::FriendGroupRename { name: name.to_owned(), new_name: new.to_owned() })
    };
    assert_eq!(codes(&mut world, alice, rename("家族", "work")), Err(30001));
    assert_eq!(codes(&mut world, alice, rename("家族", "kin")), Ok(vec![0]));
    let list =
        Call::FriendGroupList(body::FriendGroupList { members: true, ..body::FriendGroupList::default() });
    let Ok(Answer::FriendGroups(found)) = ask(&mut world, alice, list) else { panic!() };
    let seen: Vec<_> = found.groups.iter().map(|it| (it.name.as_str(), it.count, it.users.len())).collect();
    assert_eq!(seen, [("kin", 1, 1), ("work", 0, 0)]);

    let before = friends(&mut world, alice).sequences.unwrap();
    let update = |fields, groups: Option<&[&str]>| {
        let item = body::FriendUpdateItem {
            user: "bob".to_owned(),
            fields,
            set_groups: groups.is_some(),
            groups: names(groups.unwrap_or_default()),
        };
        Call::FriendUpdate(body::FriendUpdate { items: vec![item] })
    };
    let pet = || vec![text("Tag_SNS_Custom_Pet", "cat")];
    assert_eq!(codes(&mut world, alice, update(pet(), None)), Ok(vec![0]));
    let after = friends(&mut world, alice).sequences.unwrap();
    assert_eq!((after.standard, after.custom), (before.standard, before.custom + 1));
    for tag in ["Tag_SNS_Custom_None", "Tag_SNS_IM_AddTime", "Tag_Profile_IM_Nick"] {
        assert_eq!(codes(&mut world, alice, update(vec![text(tag, "x")], None)), Ok(vec![30001]), "{tag}");
    }
    assert_eq!(codes(&mut world, alice, update(vec![], Some(&["work", "new"]))), Ok(vec![0]));
    let known = body::FriendList { custom: after.custom, ..body::FriendList::default() };
    let Ok(Answer::Friends(page)) = ask(&mut world, alice, Call::FriendList(known)) else { panic!() };
    assert!(page.friends[0].custom.is_empty(), "the asker has them");
    assert_eq!(page.friends[0].groups, ["new", "work"]);
    let get = body::FriendGet { users: names(&["bob", "carol"]), tags: names(&["Tag_SNS_Custom_Pet"]) };
    let Ok(Answer::FriendInfos(infos)) = ask(&mut world, alice, Call::FriendGet(get)) else { panic!() };
    assert_eq!(infos.items[0].friend.as_ref().unwrap().custom, pet());
    assert_eq!(infos.items[1].code, 30001);
}

#[test]
fn an_admin_adds_without_asking_imports_and_is_the_only_one() {
    let (world, _) = three(People::default());
    let people = world.shared.people();
    let (alice, bob) = (user("alice"), user("bob"));
    let mut effects = Effects::default();
    let forbid =
        [("Tag_Profile_IM_AdminForbidType".to_owned(), FieldValue::Text("AdminForbid_Type_SendOut".into()))];
    people.set_profile(&Actor::Admin("admin"), &alice, &forbid, &mut effects).unwrap();
    let call = |force| AddFriends {
        items: vec![AddFriend { user: "bob".to_owned(), ..AddFriend::default() }],
        single: false,
        force,
    };
    let own = Actor::User(&alice);
    let code = |outcome: Result<people::Items, nearport_chat::Failure>| {
        outcome.map_or_else(|failure| failure.code, |items| items.items[0].code)
    };
    assert_eq!(code(people.add_friends(&own, &alice, &call(true), START_MS, &mut effects)), 30004);
    assert_eq!(code(people.add_friends(&own, &bob, &call(false), START_MS, &mut effects)), 30004);
    assert_eq!(code(people.add_friends(&own, &alice, &call(false), START_MS, &mut effects)), 30009);
    let deny = [("Tag_Profile_IM_AllowType".to_owned(), FieldValue::Text("AllowType_Type_DenyAny".into()))];
    people.set_profile(&Actor::Admin("admin"), &bob, &deny, &mut effects).unwrap();
    assert_eq!(
        code(people.add_friends(&Actor::Admin("admin"), &alice, &call(true), START_MS, &mut effects)),
        0
    );

    let import = [ImportFriend {
        user: "carol".to_owned(),
        row: FriendRow { added_s: 5, remark: "C".to_owned(), ..FriendRow::default() },
        groups: names(&["x", "y"]),
        custom: Vec::new(),
    }];
    assert_eq!(code(people.import_friends(&own, &alice, &import, START_MS, &mut effects)), 30004);
    assert_eq!(
        code(people.import_friends(&Actor::Admin("admin"), &alice, &import, START_MS, &mut effects)),
        0
    );
    let page = people.friends(&own, &alice, 0, 0, (0, 0)).unwrap();
    assert_eq!(page.friends[1].row.as_ref().unwrap().added_s, 5);
    assert_eq!((page.head.friends, page.friends[1].groups.len()), (2, 2));
}

#[test]
fn who_may_write_follows_every_change_at_once() {
    for (friend_check, block_silently) in [(false, true), (false, false), (true, true)] {
        let people = People { friend_check, block_silently, ..People::default() };
        let (mut world, [alice, bob, _]) = three(people);
        let verdict = |world: &World, from: &str, to: &str| {
            // Twice: what is remembered is the same as what was read.
            let once = world.shared.people().may_message(&user(from), &user(to)).unwrap();
            assert_eq!(world.shared.people().may_message(&user(from), &user(to)).unwrap(), once);
            once
        };
        let strangers = if friend_check { Verdict::Refused(20009) } else { Verdict::Allowed };
        assert_eq!(verdict(&world, "alice", "bob"), strangers);
        assert_eq!(verdict(&world, "alice", "alice"), Verdict::Allowed);
        ask(&mut world, alice, single("bob")).unwrap();
        if friend_check {
            assert_eq!(verdict(&world, "alice", "bob"), Verdict::Refused(20010));
            assert_eq!(verdict(&world, "bob", "alice"), Verdict::Refused(20011));
        }
        ask(&mut world, bob, single("alice")).unwrap();
        assert_eq!(verdict(&world, "alice", "bob"), Verdict::Allowed);
        let block = Call::BlockAdd(body::BlockAdd { users: names(&["alice"]) });
        ask(&mut world, bob, block).unwrap();
        let blocked = if block_silently { Verdict::Silently } else { Verdict::Refused(20007) };
        assert_eq!(verdict(&world, "alice", "bob"), blocked);
        assert_eq!(
            verdict(&world, "bob", "alice"),
            strangers,
            "the blocker still may, but they are no friends"
        );
        let unblock = Call::BlockDelete(body::BlockDelete { users: names(&["alice"]) });
        ask(&mut world, bob, unblock).unwrap();
        assert_eq!(verdict(&world, "alice", "bob"), strangers);
        // Deleted on one side: the tie is remembered under the other one, and forgotten all the same.
        ask(&mut world, alice, add(&["bob"])).unwrap();
        assert_eq!(verdict(&world, "alice", "bob"), Verdict::Allowed);
        ask(&mut world, alice, Call::FriendDeleteAll(body::FriendDeleteAll { both: false })).unwrap();
        if friend_check {
            assert_eq!(verdict(&world, "alice", "bob"), Verdict::Refused(20011));
        }
    }
}
