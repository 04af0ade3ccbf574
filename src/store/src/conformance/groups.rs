//! Groups.

use nearport_chat::directory::{Counted, Directory, Joined, JoinedTopic, ListPlace};
use nearport_chat::group::{
    Application, Change, Fields, GroupChange, GroupInfo, GroupRecord, Handled, JoinOption, Member, Penalty,
    Reception, Role, TopicInfo,
};
use nearport_chat::key::{AppId, GroupKey, UserKey};

pub(super) fn all(make: &impl Fn() -> Box<dyn Directory>) {
    a_group_comes_back_as_it_was_made(&*make());
    each_change_is_there_and_nothing_else(&*make());
    all_changes_or_none(&*make());
    a_dismissed_group_leaves_nothing_behind(&*make());
    groups_of_users_are_found_from_their_side(&*make());
    groups_are_counted_and_listed(&*make());
    topics_are_found_from_the_side_of_members(&*make());
}

pub(super) fn key(app: u32, id: &str) -> GroupKey {
    GroupKey::new(AppId(app), id).expect("a good id")
}

fn user(app: u32, name: &str) -> UserKey {
    UserKey::new(AppId(app), name).expect("a good name")
}

fn info(kind: &str, created_ms: u64) -> GroupInfo {
    GroupInfo {
        kind: kind.to_owned(),
        name: "家族 'n' \"co\"".to_owned(),
        introduction: "line\nline".to_owned(),
        notification: String::new(),
        face_url: "https://example.com/a.png".to_owned(),
        owner: Some(user(1, "alice")),
        created_ms,
        info_seq: 1,
        info_ms: created_ms,
        members_max: u32::MAX,
        join: JoinOption::Approval,
        invite: JoinOption::Closed,
        muted_all: true,
        first_seq: 7,
        attributes_version: 0,
        fields: Fields([("level".to_owned(), (&b"\0\xff"[..]).into())].into()),
        topics: kind == "Community",
    }
}

fn member(role: Role) -> Member {
    Member {
        role,
        joined_ms: 1_700_000_000_123,
        joined_seq: 9,
        reception: Reception::Quiet,
        name_card: "Ärzte".into(),
        fields: Fields([("x".to_owned(), (&b"1"[..]).into())].into()),
    }
}

fn put(app: u32, name: &str, role: Role) -> Change {
    Change::PutMember(user(app, name), Box::new(member(role)))
}

pub(super) fn change(group: &GroupKey, changes: Vec<Change>) -> GroupChange {
    GroupChange { group: group.clone(), changes }
}

pub(super) fn get(directory: &dyn Directory, key: &GroupKey) -> Option<GroupRecord> {
    directory.groups(std::slice::from_ref(key)).expect("reads").remove(0)
}

pub(super) fn create(kind: &str, created_ms: u64) -> Change {
    Change::Create(Box::new(info(kind, created_ms)))
}

fn a_group_comes_back_as_it_was_made(directory: &dyn Directory) {
    let (one, two, other) = (key(1, "@TGS#_@TGS#c1"), key(1, "a b"), key(2, "a b"));
    assert!(get(directory, &one).is_none());
    let changes = [
        change(&one, vec![create("Community", 5), put(1, "alice", Role::Owner)]),
        change(&two, vec![create("Public", 6)]),
    ];
    directory.change_groups(&changes).expect("writes");
    let mut want = GroupRecord::new(one.clone(), info("Community", 5));
    want.members.insert(user(1, "alice"), member(Role::Owner));
    let two_record = GroupRecord::new(two.clone(), info("Public", 6));
    let found = directory.groups(&[two.clone(), other, one.clone(), two]).expect("reads");
    assert_eq!(found, [Some(two_record.clone()), None, Some(want), Some(two_record)]);
    assert!(directory.groups(&[]).expect("reads").is_empty());
    directory.change_groups(&[]).expect("writes nothing");
}

fn each_change_is_there_and_nothing_else(directory: &dyn Directory) {
    let (group, other) = (key(1, "group"), key(1, "other"));
    let first = [create("Public", 5), put(1, "alice", Role::Owner), put(1, "bob", Role::Member)];
    let both = [change(&group, first.to_vec()), change(&other, first.to_vec())];
    directory.change_groups(&both).expect("writes");
    let mut want = GroupRecord::new(group.clone(), info("Public", 5));
    first.iter().for_each(|change| want.apply(change));
    let untouched = get(directory, &other);
    let application = |handled| Application {
        inviter: Some(user(1, "bob")),
        consent: true,
        time_ms: 3,
        text: "let me in".to_owned(),
        handled,
    };
    let handled = Handled { by: "alice".to_owned(), agreed: true, text: "yes".to_owned() };
    let changed = GroupInfo { owner: None, info_seq: 2, muted_all: false, ..info("Public", 5) };
    let steps = [
        vec![Change::Info(Box::new(changed))],
        vec![put(1, "bob", Role::Admin), put(1, "carol", Role::Member), put(1, "dave", Role::Member)],
        vec![Change::RemoveMember(user(1, "carol")), Change::RemoveMember(user(1, "nobody"))],
        vec![Change::PutAttribute("seat".into(), "one".into()), Change::PutAttribute("".into(), "".into())],
        vec![Change::PutAttribute("seat".into(), "two".into()), Change::RemoveAttribute("".into())],
        vec![Change::PutCounter("likes".into(), i64::MIN), Change::PutCounter("x".into(), 1)],
        vec![Change::PutCounter("likes".into(), i64::MAX), Change::RemoveCounter("x".into())],
        vec![
            Change::Penalty(Penalty::Mute, user(1, "bob"), 100),
            Change::Penalty(Penalty::Ban, user(1, "bob"), u64::MAX >> 1),
            Change::Penalty(Penalty::Ban, user(1, "mallory"), 5),
        ],
        vec![
            Change::Penalty(Penalty::Ban, user(1, "mallory"), 0),
            Change::Penalty(Penalty::Mute, user(1, "bob"), 7),
        ],
        vec![
            Change::PutApplication(user(1, "erin"), Box::new(application(None))),
            Change::PutApplication(
                user(1, "frank"),
                Box::new(Application { inviter: None, ..application(None) }),
            ),
        ],
        vec![
            Change::PutApplication(user(1, "erin"), Box::new(application(Some(handled)))),
            Change::RemoveApplication(user(1, "frank")),
        ],
    ];
    for changes in steps {
        changes.iter().for_each(|change| want.apply(change));
        directory.change_groups(&[change(&group, changes.clone())]).expect("writes");
        assert_eq!(get(directory, &group).as_ref(), Some(&want), "after {changes:?}");
    }
    assert_eq!(get(directory, &other), untouched);
    directory
        .change_groups(&[change(&key(1, "none"), vec![put(1, "bob", Role::Member)])])
        .expect("leaves it out");
    assert!(get(directory, &key(1, "none")).is_none());
}

fn all_changes_or_none(directory: &dyn Directory) {
    let (group, new) = (key(1, "group"), key(1, "new"));
    directory.change_groups(&[change(&group, vec![create("Public", 5)])]).expect("writes");
    let taken = [
        change(&new, vec![create("Public", 6), put(1, "bob", Role::Owner)]),
        change(&group, vec![put(1, "bob", Role::Member)]),
        change(&group, vec![create("Public", 7)]),
    ];
    directory.change_groups(&taken).expect_err("the id is taken");
    assert!(get(directory, &new).is_none());
    assert_eq!(get(directory, &group), Some(GroupRecord::new(group, info("Public", 5))));
    assert_eq!(directory.groups_of(&[user(1, "bob")]).expect("reads"), [vec![]]);
}

fn a_dismissed_group_leaves_nothing_behind(directory: &dyn Directory) {
    let group = key(1, "group");
    let full = vec![
        create("Public", 5),
        put(1, "alice", Role::Owner),
        Change::PutAttribute("a".into(), "b".into()),
        Change::PutCounter("c".into(), 1),
        Change::PutTopic(key(1, "group@TOPIC#_x"), Box::new(topic(1))),
        Change::Receive(user(1, "alice"), key(1, "group@TOPIC#_x"), Some(Reception::Discard)),
        Change::Penalty(Penalty::Mute, user(1, "bob"), 100),
        Change::PutApplication(
            user(1, "erin"),
            Box::new(Application {
                inviter: None,
                consent: false,
                time_ms: 3,
                text: String::new(),
                handled: None,
            }),
        ),
    ];
    directory.change_groups(&[change(&group, full)]).expect("writes");
    directory.change_groups(&[change(&group, vec![Change::Dismiss])]).expect("writes");
    assert!(get(directory, &group).is_none());
    assert_eq!(directory.groups_of(&[user(1, "alice")]).expect("reads"), [vec![]]);
    assert_eq!(directory.count_topics(AppId(1)).expect("reads"), 0);
    directory.change_groups(&[change(&group, vec![create("Public", 9)])]).expect("the id is free");
    assert_eq!(get(directory, &group), Some(GroupRecord::new(group, info("Public", 9))));
}

fn groups_of_users_are_found_from_their_side(directory: &dyn Directory) {
    let (a, b) = (key(1, "a"), key(1, "B"));
    let silent = Member { reception: Reception::Discard, ..member(Role::Member) };
    let changes = [
        change(&a, vec![create("Public", 5), put(1, "alice", Role::Owner)]),
        change(
            &b,
            vec![
                Change::Create(Box::new(GroupInfo { owner: None, ..info("Private", 5) })),
                Change::PutMember(user(1, "alice"), Box::new(silent)),
            ],
        ),
        change(&key(2, "a"), vec![create("Public", 5), put(2, "alice", Role::Member)]),
    ];
    directory.change_groups(&changes).expect("writes");
    let joined = |group: &GroupKey, kind: &str, owned, role, receives| Joined {
        group: group.clone(),
        kind: kind.to_owned(),
        info_seq: 1,
        first_seq: 7,
        owned,
        role,
        joined_seq: 9,
        receives,
    };
    let users = [user(1, "bob"), user(1, "alice"), user(2, "alice")];
    let want = [
        vec![],
        vec![
            joined(&b, "Private", false, Role::Member, false),
            joined(&a, "Public", true, Role::Owner, true),
        ],
        vec![joined(&key(2, "a"), "Public", true, Role::Member, true)],
    ];
    assert_eq!(directory.groups_of(&users).expect("reads"), want);
    assert_eq!(directory.count_groups_of(&users).expect("reads"), [0, 2, 1]);
    directory.change_groups(&[change(&a, vec![Change::RemoveMember(user(1, "alice"))])]).expect("writes");
    assert_eq!(directory.count_groups_of(&users).expect("reads"), [0, 1, 1]);
}

fn groups_are_counted_and_listed(directory: &dyn Directory) {
    let made = [("b", "Public", 5), ("a", "Public", 8), ("C", "Private", 9), ("d", "Public", 8)];
    let changes: Vec<_> = made
        .iter()
        .map(|(id, kind, created_ms)| change(&key(1, id), vec![create(kind, *created_ms)]))
        .collect();
    directory.change_groups(&changes).expect("writes");
    directory.change_groups(&[change(&key(2, "z"), vec![create("Public", 8)])]).expect("writes");
    let count = |kind, since_ms| directory.count_groups(AppId(1), Counted { kind, since_ms }).expect("reads");
    assert_eq!(
        [count(None, 0), count(Some("Public"), 0), count(None, 8), count(Some("Private"), 10)],
        [4, 3, 3, 0]
    );
    let list = |kind, created_ms, skip, limit| {
        let from = ListPlace { created_ms, skip };
        let listed = directory.list_groups(AppId(1), kind, from, limit).expect("reads");
        listed.into_iter().map(|group| (group.id, group.created_ms)).collect::<Vec<_>>()
    };
    let want = |groups: &[(&str, u64)]| {
        groups.iter().map(|(id, created_ms)| ((*id).to_owned(), *created_ms)).collect::<Vec<_>>()
    };
    assert_eq!(list(None, 0, 0, 9), want(&[("b", 5), ("a", 8), ("d", 8), ("C", 9)]));
    assert_eq!(list(None, 8, 1, 1), want(&[("d", 8)]));
    assert_eq!(list(Some("Public"), 0, 0, 2), want(&[("b", 5), ("a", 8)]));
    assert!(list(Some("Public"), 8, 2, 2).is_empty());
}

fn topic(number: u64) -> TopicInfo {
    TopicInfo {
        name: format!("Thema {number} 'n' \"ü\""),
        introduction: "line\nline".to_owned(),
        notification: String::new(),
        face_url: "https://example.com/t.png".to_owned(),
        custom: "{\"a\": 1}".to_owned(),
        created_ms: 1_700_000_000_000 + number,
        info_seq: number,
        muted_all: number % 2 == 1,
        first_seq: number * 3,
    }
}

fn topics_are_found_from_the_side_of_members(directory: &dyn Directory) {
    let (a, b) = (key(1, "@TGS#_a"), key(1, "@TGS#_b"));
    let [one, two, three] = ["@TGS#_a@TOPIC#_1", "@TGS#_a@TOPIC#_2", "@TGS#_b@TOPIC#_1"].map(|id| key(1, id));
    let silent = Member { reception: Reception::Discard, ..member(Role::Member) };
    let put = |key: &GroupKey, number| Change::PutTopic(key.clone(), Box::new(topic(number)));
    let changes = [
        change(
            &a,
            vec![
                create("Community", 5),
                self::put(1, "alice", Role::Owner),
                self::put(1, "bob", Role::Member),
                put(&two, 2),
                put(&one, 1),
                Change::Receive(user(1, "alice"), two.clone(), Some(Reception::Discard)),
            ],
        ),
        change(
            &b,
            vec![
                create("Community", 5),
                Change::PutMember(user(1, "alice"), Box::new(silent)),
                put(&three, 3),
                Change::Receive(user(1, "alice"), three.clone(), Some(Reception::Notify)),
            ],
        ),
        change(&key(2, "@TGS#_a"), vec![create("Community", 5), put(&key(2, "@TGS#_a@TOPIC#_1"), 1)]),
    ];
    directory.change_groups(&changes).expect("writes");
    let joined = |key: &GroupKey, number: u64, receives| {
        let TopicInfo { info_seq, first_seq, created_ms, .. } = topic(number);
        let joined_ms = member(Role::Member).joined_ms;
        JoinedTopic { topic: key.clone(), info_seq, first_seq, created_ms, joined_ms, receives }
    };
    let of = |name: &str, limit| directory.topics_of(&user(1, name), limit).expect("reads");
    // Their own `Notify` in a community that they receive by `Discard`.
    assert_eq!(of("alice", 9), [joined(&one, 1, true), joined(&two, 2, false), joined(&three, 3, false)]);
    assert_eq!(of("alice", 2), [joined(&one, 1, true), joined(&two, 2, false)]);
    assert_eq!(of("bob", 9), [joined(&one, 1, true), joined(&two, 2, true)]);
    assert!(of("carol", 9).is_empty());
    let count = |app| directory.count_topics(AppId(app)).expect("reads");
    assert_eq!([count(1), count(2), count(3)], [3, 1, 0]);
    let received = |reception| {
        let heard = Member { reception, ..member(Role::Member) };
        Change::PutMember(user(1, "alice"), Box::new(heard))
    };
    directory.change_groups(&[change(&b, vec![received(Reception::Quiet)])]).expect("writes");
    assert_eq!(of("alice", 9)[2], joined(&three, 3, true), "the community is received, and so is this");
    let silence = Change::Receive(user(1, "alice"), three.clone(), None);
    directory.change_groups(&[change(&b, vec![silence])]).expect("writes");
    assert_eq!(of("alice", 9)[2], joined(&three, 3, true), "as the community");
    directory.change_groups(&[change(&b, vec![received(Reception::Discard)])]).expect("writes");
    assert_eq!(of("alice", 9)[2], joined(&three, 3, false), "as the community");
    directory.change_groups(&[change(&a, vec![Change::RemoveTopic(one)])]).expect("writes");
    assert_eq!(of("bob", 9), [joined(&two, 2, true)]);
}
