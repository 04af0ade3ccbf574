//! Limits: of the fields of a group, of the App and its users, of free values, of requests.

use nearport_chat::{Config, group};
use nearport_wire::Kind;
use nearport_wire::body::{
    self, GroupAnswer, GroupCall, GroupCreate, GroupEdit, GroupField, GroupMemberEdit, GroupNewMember,
    group_answer::Answer, group_call::Call,
};
use prost::Message as _;

use super::scene::{ADMIN, Cell, DENIED, Done, MEMBER, NAMES, OWNER, STRANGER, Scene, world};
use crate::world::answer;

#[test]
fn fields_of_a_group_have_their_limits() {
    type Spoil = fn(&mut GroupCreate);
    let cases: Vec<(&str, Spoil, Cell)> = vec![
        ("30 bytes of name", |c| c.name = "家".repeat(10), Done),
        ("33 bytes of name", |c| c.name = "家".repeat(11), Cell::Code(10004)),
        ("no name", |c| c.name = String::new(), Cell::Code(10004)),
        ("a name of zero width", |c| c.name = "\u{200b}\u{2060}".into(), Cell::Code(10004)),
        ("a name that turns text round", |c| c.name = "a\u{202e}b".into(), Cell::Code(10004)),
        ("a name with a control character", |c| c.name = "a\u{7}".into(), Cell::Code(10004)),
        ("240 bytes of introduction", |c| c.introduction = "x".repeat(240), Done),
        ("241 bytes of introduction", |c| c.introduction = "x".repeat(241), Cell::Code(10004)),
        ("300 bytes of notification", |c| c.notification = "x\n".repeat(150), Done),
        ("301 bytes of notification", |c| c.notification = "x".repeat(301), Cell::Code(10004)),
        ("100 bytes of face", |c| c.face_url = "x".repeat(100), Done),
        ("101 bytes of face", |c| c.face_url = "x".repeat(101), Cell::Code(10004)),
        ("48 bytes of id", |c| c.group = "i".repeat(48), Done),
        ("49 bytes of id", |c| c.group = "i".repeat(49), Cell::Code(10015)),
        ("an id of the server's", |c| c.group = "@TGS#1A".into(), Cell::Code(10015)),
        ("an id of zero width", |c| c.group = "g\u{200b}".into(), Cell::Code(10015)),
        ("an unknown type", |c| c.r#type = "BChatRoom".into(), Cell::Code(10004)),
        ("more members than the type has", |c| c.members_max = 2001, Cell::Code(10038)),
        ("as many as it has", |c| c.members_max = 2000, Done),
        ("a member who does not exist", |c| c.members = vec![member("nobody")], Cell::Code(10019)),
        ("a member whose name cannot be", |c| c.members = vec![member("n\u{200b}")], Cell::Code(10019)),
        ("101 members", |c| c.members = vec![member("bob"); 101], Cell::Code(10005)),
        (
            "a limit below its first members",
            |c| {
                c.members = vec![member("bob")];
                c.members_max = 1
            },
            Cell::Code(10038),
        ),
        ("a field that is not declared", |c| c.fields = vec![field("none", b"1")], Cell::Code(10004)),
        ("a field of 512 bytes", |c| c.fields = vec![field("open", &[0xff; 512])], Done),
        ("a field of 513 bytes", |c| c.fields = vec![field("open", &[0xff; 513])], Cell::Code(10004)),
        ("a field of the app's", |c| c.fields = vec![field("root", b"1")], Cell::Code(10007)),
    ];
    let mut wrong = Vec::new();
    for (what, spoil, want) in cases {
        let mut scene = Scene::new("Public");
        let mut create = GroupCreate { r#type: "Public".into(), name: "n".into(), ..GroupCreate::default() };
        spoil(&mut create);
        let got = scene.cell(OWNER, Call::Create(create));
        if got != want {
            wrong.push(format!("{what}: want {want:?}, got {got:?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

fn member(name: &str) -> GroupNewMember {
    GroupNewMember { user: name.into(), ..GroupNewMember::default() }
}

fn field(key: &str, value: &[u8]) -> GroupField {
    GroupField { key: key.into(), value: value.to_vec().into() }
}

#[test]
fn an_id_is_taken_once_and_free_again_after_the_group() {
    let mut scene = Scene::new("Public");
    let create = |id: &str, kind: &str| {
        Call::Create(GroupCreate {
            r#type: kind.into(),
            name: "n".into(),
            group: id.into(),
            ..GroupCreate::default()
        })
    };
    assert_eq!(scene.cell(OWNER, create("mine", "Public")), Done);
    assert_eq!(scene.cell(OWNER, create("mine", "Public")), Cell::Code(10025));
    assert_eq!(scene.cell(MEMBER, create("mine", "Meeting")), Cell::Code(10021));
    assert_eq!(scene.cell(OWNER, create("plain", "Community")), Cell::Code(10015));
    assert_eq!(scene.cell(OWNER, create("@TGS#_", "Community")), Cell::Code(10015));
    assert_eq!(scene.cell(OWNER, create("@TGS#_x", "Community")), Done);
    assert_eq!(scene.cell(OWNER, Call::Dismiss(body::GroupRef { group: "mine".into() })), Done);
    assert_eq!(scene.cell(OWNER, Call::Dismiss(body::GroupRef { group: "mine".into() })), Cell::Code(10010));
    scene.id = "mine".into();
    scene.message(7);
    assert_eq!(scene.cell(MEMBER, create("mine", "Meeting")), Done);
    let info = match scene.ask(MEMBER, Call::Info(body::GroupNames { groups: vec!["mine".into()] })) {
        Ok(Answer::Infos(infos)) => infos.infos[0].clone(),
        other => panic!("{other:?}"),
    };
    let own = info.own.unwrap();
    assert!(own.history_after >= 1, "the history of the first group is not the second one's");
}

#[test]
fn limits_of_the_app_and_of_its_users() {
    let groups = group::GroupConfig {
        joined_max: 2,
        created_per_day: 3,
        communities_max: 1,
        ..group::GroupConfig::default()
    };
    let mut scene = Scene::new("Public");
    scene.world = world(Config { groups, ..Config::default() });
    scene.sessions = NAMES.map(|name| scene.world.login(name, "phone"));
    let create = |kind: &str| {
        Call::Create(GroupCreate { r#type: kind.into(), name: "n".into(), ..GroupCreate::default() })
    };
    assert_eq!(scene.cell(OWNER, create("Community")), Done);
    assert_eq!(scene.cell(MEMBER, create("Community")), Cell::Code(10036));
    assert_eq!(scene.cell(OWNER, create("Public")), Done);
    assert_eq!(scene.cell(OWNER, create("Public")), Cell::Code(10037));
    assert_eq!(scene.cell(MEMBER, create("Meeting")), Done);
    assert_eq!(scene.cell(MEMBER, create("Public")), Cell::Code(10006), "the fourth of a day");
    scene.world.now_ms += 86_400_000;
    assert_eq!(scene.cell(MEMBER, create("Public")), Done, "the next day");
}

#[test]
fn a_full_group_takes_nobody() {
    let mut scene = Scene::active("Meeting");
    let limit = GroupEdit { members_max: Some(3), ..scene.edit() };
    assert_eq!(scene.cell(ADMIN, Call::Edit(limit)), Done);
    let join = scene.join();
    assert_eq!(scene.cell(STRANGER, join.clone()), Cell::Code(10014));
    assert_eq!(
        scene.cell(ADMIN, Call::Edit(GroupEdit { members_max: Some(2001), ..scene.edit() })),
        Cell::Code(10038)
    );
    let kick = scene.kick(MEMBER);
    assert_eq!(scene.cell(ADMIN, kick), Done);
    assert_eq!(scene.cell(STRANGER, join), Done);
}

#[test]
fn custom_fields_are_read_and_written_by_rank() {
    let mut scene = Scene::active("Public");
    let write = |scene: &mut Scene, who, key: &str| {
        let edit = GroupEdit { fields: vec![field(key, b"1")], ..scene.edit() };
        scene.cell(who, Call::Edit(edit))
    };
    for (who, key, want) in [
        (MEMBER, "open", Done),
        (STRANGER, "open", DENIED),
        (MEMBER, "boss", DENIED),
        (ADMIN, "boss", DENIED),
        (OWNER, "boss", Done),
        (OWNER, "root", DENIED),
        (OWNER, "mine", Cell::Code(10004)),
    ] {
        assert_eq!(write(&mut scene, who, key), want, "{} {key}", NAMES[who]);
    }
    let read = |scene: &mut Scene, who| match scene
        .ask(who, Call::Info(body::GroupNames { groups: vec![scene.id.clone()] }))
    {
        Ok(Answer::Infos(infos)) => {
            infos.infos[0].fields.iter().map(|field| field.key.clone()).collect::<Vec<_>>()
        }
        other => panic!("{other:?}"),
    };
    assert_eq!(read(&mut scene, STRANGER), ["open"]);
    assert_eq!(read(&mut scene, OWNER), ["boss", "open"]);
    let own = |scene: &mut Scene, who: usize, of: usize, value: &[u8]| {
        let fields = vec![field("mine", value)];
        let user = NAMES[of].into();
        scene.cell(
            who,
            Call::EditMember(GroupMemberEdit {
                group: scene.id.clone(),
                user,
                fields,
                ..GroupMemberEdit::default()
            }),
        )
    };
    assert_eq!(own(&mut scene, MEMBER, MEMBER, b"1"), Done, "one's own");
    assert_eq!(own(&mut scene, MEMBER, ADMIN, b"1"), DENIED);
    assert_eq!(own(&mut scene, ADMIN, MEMBER, &[1; 64]), Done);
    assert_eq!(own(&mut scene, ADMIN, MEMBER, &[1; 65]), Cell::Code(10004));
    assert_eq!(own(&mut scene, ADMIN, OWNER, b"1"), DENIED, "above the writer");
    assert_eq!(own(&mut scene, ADMIN, MEMBER, b""), Done, "an empty value deletes");
}

#[test]
fn attributes_and_counters_have_their_limits() {
    use body::{
        GroupAttribute, GroupAttributesWrite, GroupCounter, GroupCountersWrite, group_attributes_write,
        group_counters_write,
    };
    let mut scene = Scene::active("AVChatRoom");
    let attributes =
        |scene: &mut Scene, how: group_attributes_write::How, items: Vec<(String, String)>, version| {
            let items = items.into_iter().map(|(key, value)| GroupAttribute { key, value }).collect();
            scene.world.now_ms += 1000;
            let write = GroupAttributesWrite { group: scene.id.clone(), how: how.into(), items, version };
            scene.cell(MEMBER, Call::WriteAttributes(write))
        };
    use group_attributes_write::How::{Clear, Delete, Merge, Replace};
    let one = |key: usize, value: usize| vec![("k".repeat(key), "v".repeat(value))];
    let many =
        |n: usize, value: usize| (0..n).map(|n| (format!("k{n}"), "v".repeat(value))).collect::<Vec<_>>();
    assert_eq!(attributes(&mut scene, Merge, one(32, 4000), None), Done);
    assert_eq!(attributes(&mut scene, Merge, one(33, 1), None), Cell::Code(10045));
    assert_eq!(attributes(&mut scene, Merge, one(1, 4001), None), Cell::Code(10046));
    assert_eq!(attributes(&mut scene, Merge, many(16, 1), None), Cell::Code(10047));
    assert_eq!(attributes(&mut scene, Replace, many(5, 3201), None), Cell::Code(10048));
    assert_eq!(attributes(&mut scene, Replace, many(16, 1000), Some(1)), Done);
    assert_eq!(attributes(&mut scene, Replace, many(1, 1), Some(1)), Cell::Code(10056));
    assert_eq!(attributes(&mut scene, Delete, many(1, 0), None), Done);
    assert_eq!(attributes(&mut scene, Delete, many(1, 0), None), Cell::Code(10050));
    assert_eq!(attributes(&mut scene, Clear, vec![], None), Done);
    scene.world.now_ms += 1000 - scene.world.now_ms % 1000;
    let write = GroupAttributesWrite { group: scene.id.clone(), ..GroupAttributesWrite::default() };
    let answers: Vec<_> = (0..6).map(|_| scene.cell(MEMBER, Call::WriteAttributes(write.clone()))).collect();
    assert_eq!(answers[4..], [Done, Cell::Code(10049)]);

    let counters = |scene: &mut Scene, how: group_counters_write::How, items: Vec<(&str, i64)>| {
        let items = items.into_iter().map(|(key, value)| GroupCounter { key: key.into(), value }).collect();
        scene.ask(
            MEMBER,
            Call::WriteCounters(GroupCountersWrite { group: scene.id.clone(), how: how.into(), items }),
        )
    };
    use group_counters_write::How as By;
    let value = |answer: Result<Answer, u32>| match answer {
        Ok(Answer::Counters(counters)) => {
            Ok(counters.items.iter().map(|item| item.value).collect::<Vec<_>>())
        }
        Err(code) => Err(code),
        other => panic!("{other:?}"),
    };
    assert_eq!(value(counters(&mut scene, By::Increase, vec![("likes", 3)])), Ok(vec![3]), "begins at 0");
    assert_eq!(value(counters(&mut scene, By::Decrease, vec![("likes", 5)])), Ok(vec![-2]));
    assert_eq!(value(counters(&mut scene, By::Set, vec![("likes", i64::MAX)])), Ok(vec![i64::MAX]));
    assert_eq!(
        value(counters(&mut scene, By::Increase, vec![("likes", 1)])),
        Ok(vec![i64::MAX]),
        "stays at the end"
    );
    let keys: Vec<_> = (0..20).map(|n| format!("c{n}")).collect();
    let more = keys.iter().map(|key| (key.as_str(), 1)).collect();
    assert_eq!(value(counters(&mut scene, By::Set, more)), Err(10063));
    let long = "k".repeat(129);
    assert_eq!(value(counters(&mut scene, By::Set, vec![(&long, 1)])), Err(10004));
    assert_eq!(value(counters(&mut scene, By::Delete, vec![])), Ok(vec![]));
}

#[test]
fn requests_that_cannot_be_are_refused() {
    let mut scene = Scene::active("Public");
    let many = |n: usize| (0..n).map(|n| format!("u{n}")).collect::<Vec<_>>();
    let id = scene.id.clone();
    let cases = [
        (
            Call::Invite(body::GroupInvite {
                group: id.clone(),
                users: many(301),
                ..body::GroupInvite::default()
            }),
            10005,
        ),
        (
            Call::Kick(body::GroupKick { group: id.clone(), users: many(501), ..body::GroupKick::default() }),
            10005,
        ),
        (
            Call::Ban(body::GroupBan {
                group: id.clone(),
                users: many(21),
                seconds: 1,
                reason: String::new(),
            }),
            10005,
        ),
        (
            Call::Ban(body::GroupBan {
                group: id.clone(),
                users: many(1),
                seconds: 0,
                reason: String::new(),
            }),
            10004,
        ),
        (Call::Mute(body::GroupMute { group: id.clone(), users: vec![], seconds: 1 }), 10004),
        (
            Call::Mute(body::GroupMute { group: id.clone(), users: vec!["\u{200b}".into()], seconds: 1 }),
            10004,
        ),
        (Call::Roles(body::GroupAccounts { group: id.clone(), users: many(501) }), 10005),
        (Call::Info(body::GroupNames { groups: many(51) }), 10054),
        (
            Call::Members(body::GroupMembersPage {
                group: id.clone(),
                limit: 201,
                ..body::GroupMembersPage::default()
            }),
            10054,
        ),
        (
            Call::Members(body::GroupMembersPage {
                group: "nowhere".into(),
                ..body::GroupMembersPage::default()
            }),
            10010,
        ),
        (
            Call::Members(body::GroupMembersPage {
                group: "\u{202e}".into(),
                ..body::GroupMembersPage::default()
            }),
            10015,
        ),
        (Call::Quit(body::GroupRef { group: String::new() }), 10015),
        (
            Call::Handle(body::GroupHandle {
                group: id.clone(),
                user: "dave".into(),
                agree: true,
                text: String::new(),
            }),
            10004,
        ),
    ];
    for (call, want) in cases {
        assert_eq!(scene.ask(OWNER, call.clone()), Err(want), "{call:?}");
    }
    let frame = scene.world.frame(scene.sessions[OWNER], Kind::GROUP, 9, vec![0xff; 40]);
    scene.world.desk(vec![frame]);
    assert!(answer::<GroupAnswer>(&scene.world.received(0)[0]).is_err());
    let frame =
        scene.world.frame(scene.sessions[OWNER], Kind::GROUP, 9, GroupCall::default().encode_to_vec());
    scene.world.desk(vec![frame]);
    assert_eq!(answer::<GroupAnswer>(&scene.world.received(0)[0]), Err(10003));
}
