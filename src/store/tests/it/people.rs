//! Random calls about people, the same on a database and in memory: every answer is the same, and what is kept afterwards too.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use nearport_chat::Config;
use nearport_chat::actor::Actor;
use nearport_chat::directory::conversations::Peer;
use nearport_chat::directory::people::{FieldValue, FriendRow};
use nearport_chat::directory::{Account, Accounts, Directory, Mutes};
use nearport_chat::key::{AppId, UserKey};
use nearport_chat::people::{
    self, AddFriend, AddFriends, Answer, Effects, ImportFriend, People, UpdateFriend,
};
use nearport_chat::shared::Shared;
use nearport_store::{
    MemoryDirectory, MemoryLedger, PgDirectory, Postgres, PostgresOptions, SqliteDirectory,
};
use proptest::prelude::*;
use proptest::test_runner::TestRunner;

use crate::postgres_server::PostgresServer;

const NAMES: [&str; 4] = ["alice", "Bob", "carol", "~dave"];
const GROUPS: [&str; 3] = ["kin", "家族", "Work"];

/// Small limits, so that they are met.
fn config() -> Config {
    let people = people::Config {
        friends_max: 2,
        blocks_max: 2,
        friend_groups_max: 2,
        applications_unread_max: 2,
        applications_max: 2,
        pins_max: 1,
        marked_max: 2,
        conversation_groups_max: 2,
        ..people::Config::default()
    };
    Config { people, ..Config::default() }
}

#[derive(Debug, Clone)]
enum Op {
    Add { to: usize, single: bool, force: bool, group: Option<usize> },
    Import { of: usize, group: usize },
    Answer { to: usize, how: u8, group: Option<usize> },
    Withdraw { other: usize, sent: bool },
    Read { id: u64 },
    Delete { other: usize, both: bool },
    DeleteAll { both: bool },
    Update { other: usize, remark: String, groups: Option<Vec<usize>> },
    Block { other: usize },
    Unblock { other: usize },
    MakeGroup { group: usize, other: usize },
    DropGroup { group: usize },
    Rename { group: usize, new: usize },
    Members { group: usize, add: usize, remove: usize },
    Profile { allow: u8, nick: String },
    Pin { other: usize, pinned: bool },
    Mark { other: usize, set: u64, clear: u64 },
    Draft { other: usize, text: String },
    Hide { other: usize, head: u64 },
    ConversationGroup { group: usize, other: usize },
    ConversationMembers { group: usize, add: usize, remove: usize },
    DropConversationGroup { group: usize },
    RenameConversationGroup { group: usize, new: usize },
}

fn op() -> impl Strategy<Value = Op> {
    let user = || 0..NAMES.len();
    let group = || 0..GROUPS.len();
    let some = || proptest::option::of(0..GROUPS.len());
    // What makes friendships comes more often than what ends all of them.
    prop_oneof![
        6 => (user(), any::<bool>(), any::<bool>(), some())
            .prop_map(|(to, single, force, group)| Op::Add { to, single, force, group }),
        1 => (user(), group()).prop_map(|(of, group)| Op::Import { of, group }),
        4 => (user(), 0..3u8, some()).prop_map(|(to, how, group)| Op::Answer { to, how, group }),
        1 => (user(), any::<bool>()).prop_map(|(other, sent)| Op::Withdraw { other, sent }),
        1 => (0..9u64).prop_map(|id| Op::Read { id }),
        2 => (user(), any::<bool>()).prop_map(|(other, both)| Op::Delete { other, both }),
        1 => any::<bool>().prop_map(|both| Op::DeleteAll { both }),
        2 => (user(), ".{0,6}", proptest::option::of(proptest::collection::vec(0..GROUPS.len(), 0..3)))
            .prop_map(|(other, remark, groups)| Op::Update { other, remark, groups }),
        2 => user().prop_map(|other| Op::Block { other }),
        2 => user().prop_map(|other| Op::Unblock { other }),
        2 => (group(), user()).prop_map(|(group, other)| Op::MakeGroup { group, other }),
        1 => group().prop_map(|group| Op::DropGroup { group }),
        1 => (group(), group()).prop_map(|(group, new)| Op::Rename { group, new }),
        1 => (group(), user(), user()).prop_map(|(group, add, remove)| Op::Members { group, add, remove }),
        3 => (0..4u8, ".{0,6}").prop_map(|(allow, nick)| Op::Profile { allow, nick }),
        1 => (user(), any::<bool>()).prop_map(|(other, pinned)| Op::Pin { other, pinned }),
        1 => (user(), 0..4u64, 0..4u64).prop_map(|(other, set, clear)| Op::Mark { other, set, clear }),
        1 => (user(), ".{0,6}").prop_map(|(other, text)| Op::Draft { other, text }),
        1 => (user(), 0..4u64).prop_map(|(other, head)| Op::Hide { other, head }),
        1 => (group(), user()).prop_map(|(group, other)| Op::ConversationGroup { group, other }),
        1 => (group(), user(), user())
            .prop_map(|(group, add, remove)| Op::ConversationMembers { group, add, remove }),
        1 => group().prop_map(|group| Op::DropConversationGroup { group }),
        1 => (group(), group()).prop_map(|(group, new)| Op::RenameConversationGroup { group, new }),
    ]
}

/// Who does it, and what.
fn ops() -> impl Strategy<Value = Vec<(usize, Op)>> {
    proptest::collection::vec((0..NAMES.len(), op()), 1..16)
}

fn name(at: usize) -> String {
    NAMES[at].to_owned()
}

fn group(at: usize) -> String {
    GROUPS[at].to_owned()
}

fn peer(at: usize) -> Peer {
    Peer::User(name(at))
}

/// Carries it out and tells all that came of it.
fn run(people: &People, user: &UserKey, op: &Op, now_ms: u64) -> String {
    let (actor, mut effects) = (Actor::User(user), Effects::default());
    let events = &mut effects;
    let outcome = match op {
        Op::Add { to, single, force, group: into } => {
            let item = AddFriend {
                user: name(*to),
                source: "AddSource_Type_Test".to_owned(),
                wording: "please".to_owned(),
                remark: "r".to_owned(),
                group: into.map(group).unwrap_or_default(),
            };
            let call = AddFriends { items: vec![item], single: *single, force: *force };
            let actor = if *force { &Actor::Admin("admin") } else { &actor };
            format!("{:?}", people.add_friends(actor, user, &call, now_ms, events))
        }
        Op::Import { of, group: into } => {
            let friend = ImportFriend {
                user: name(*of),
                row: FriendRow { added_s: 7, ..FriendRow::default() },
                groups: vec![group(*into)],
                custom: Vec::new(),
            };
            format!("{:?}", people.import_friends(&Actor::Admin("admin"), user, &[friend], now_ms, events))
        }
        Op::Answer { to, how, group: into } => {
            let how = [Answer::Accept, Answer::AcceptAndAdd, Answer::Reject][usize::from(*how)];
            let into = into.map(group).unwrap_or_default();
            let answer = (how, "back", into.as_str());
            format!("{:?}", people.answer_applications(&actor, user, &[name(*to)], answer, now_ms, events))
        }
        Op::Withdraw { other, sent } => {
            format!("{:?}", people.delete_applications(&actor, user, &[name(*other)], *sent, events))
        }
        Op::Read { id } => format!("{:?}", people.read_applications(&actor, user, *id, events)),
        Op::Delete { other, both } => {
            format!("{:?}", people.delete_friends(&actor, user, &[name(*other)], *both, events))
        }
        Op::DeleteAll { both } => format!("{:?}", people.delete_all_friends(&actor, user, *both, events)),
        Op::Update { other, remark, groups } => {
            let update = UpdateFriend {
                user: name(*other),
                fields: vec![("Tag_SNS_IM_Remark".to_owned(), FieldValue::Text(remark.clone()))],
                groups: groups.as_ref().map(|groups| groups.iter().map(|at| group(*at)).collect()),
            };
            format!("{:?}", people.update_friends(&actor, user, &[update], now_ms, events))
        }
        Op::Block { other } => {
            format!("{:?}", people.add_blocks(&actor, user, &[name(*other)], now_ms, events))
        }
        Op::Unblock { other } => format!("{:?}", people.delete_blocks(&actor, user, &[name(*other)], events)),
        Op::MakeGroup { group: at, other } => {
            format!("{:?}", people.add_friend_groups(&actor, user, &[group(*at)], &[name(*other)], events))
        }
        Op::DropGroup { group: at } => {
            format!("{:?}", people.delete_friend_groups(&actor, user, &[group(*at)], events))
        }
        Op::Rename { group: at, new } => {
            format!("{:?}", people.rename_friend_group(&actor, user, (&group(*at), &group(*new)), events))
        }
        Op::Members { group: at, add, remove } => {
            let change = (&[name(*add)][..], &[name(*remove)][..]);
            format!("{:?}", people.set_friend_group_members(&actor, user, &group(*at), change, events))
        }
        Op::Profile { allow, nick } => {
            let allow = ["NeedConfirm", "AllowAny", "DenyAny", "Nonsense"][usize::from(*allow)];
            let fields = [
                ("Tag_Profile_IM_AllowType".to_owned(), FieldValue::Text(format!("AllowType_Type_{allow}"))),
                ("Tag_Profile_IM_Nick".to_owned(), FieldValue::Text(nick.clone())),
            ];
            format!("{:?}", people.set_profile(&actor, user, &fields, events))
        }
        Op::Pin { other, pinned } => {
            format!("{:?}", people.pin_conversations(user, &[peer(*other)], *pinned, now_ms, events))
        }
        Op::Mark { other, set, clear } => {
            format!("{:?}", people.mark_conversations(user, &[peer(*other)], (*set, *clear), events))
        }
        Op::Draft { other, text } => {
            format!("{:?}", people.set_draft(user, &peer(*other), text, now_ms, events))
        }
        Op::Hide { other, head } => {
            format!("{:?}", people.delete_conversations(user, &[(peer(*other), *head)], events))
        }
        Op::ConversationGroup { group: at, other } => {
            format!("{:?}", people.create_conversation_group(user, &group(*at), &[peer(*other)], events))
        }
        Op::ConversationMembers { group: at, add, remove } => {
            let change = (&[peer(*add)][..], &[peer(*remove)][..]);
            format!("{:?}", people.set_conversation_group_members(user, &group(*at), change, events))
        }
        Op::DropConversationGroup { group: at } => {
            format!("{:?}", people.delete_conversation_group(user, &group(*at), events))
        }
        Op::RenameConversationGroup { group: at, new } => {
            format!("{:?}", people.rename_conversation_group(user, (&group(*at), &group(*new)), events))
        }
    };
    format!("{outcome} {effects:?}")
}

/// All that is kept of a user.
fn kept(people: &People, user: &UserKey) -> String {
    let actor = Actor::User(user);
    let mut all = String::new();
    let page = people.friends(&actor, user, 0, 0, (0, 0)).unwrap();
    // What every engine must keep true, whatever came before.
    assert_eq!(page.head.friends as usize, page.friends.len(), "the count of friends is right");
    assert!(page.head.friends <= 2, "and within its limit");
    let blocks = people.blocks(&actor, user, 0, 0, 0).unwrap();
    assert_eq!(blocks.total as usize, blocks.blocks.len(), "the count of blocked users is right");
    for (blocked, _) in &blocks.blocks {
        assert!(page.friends.iter().all(|friend| friend.name != *blocked), "nobody is a friend and blocked");
    }
    let groups = people.friend_groups(&actor, user, &[], true, 0).unwrap();
    for member in groups.groups.iter().flat_map(|(_, _, members)| members) {
        assert!(page.friends.iter().any(|friend| friend.name == *member), "only friends are in groups");
    }
    let received = people.applications(&actor, user, 0, 0, false).unwrap();
    assert!(received.unread as usize <= received.applications.len());
    let mut add = |part: &dyn std::fmt::Debug| all.push_str(&format!("{part:?}\n"));
    add(&page);
    add(&blocks);
    add(&groups);
    add(&received);
    add(&people.applications(&actor, user, 0, 0, true).unwrap());
    let settings = people.conversation_settings(user).unwrap();
    assert!(settings.rows.values().filter(|row| row.pinned_ms > 0).count() <= 1);
    add(&settings);
    for other in NAMES {
        let other = UserKey::new(user.app(), other).unwrap();
        add(&people.may_message(user, &other).unwrap());
    }
    all
}

fn shared(directory: Arc<dyn Directory>) -> Shared {
    Shared::new(Arc::new(MemoryLedger::new()), directory, config()).unwrap()
}

/// A thousand sequences of calls, each in an App of its own.
fn a_thousand_sequences(directory: Arc<dyn Directory>) {
    let tested = shared(directory.clone());
    let next = AtomicU32::new(1);
    let config = ProptestConfig { cases: 1000, failure_persistence: None, ..ProptestConfig::default() };
    let outcome = TestRunner::new(config).run(&ops(), |ops| {
        let app = AppId(next.fetch_add(1, Ordering::Relaxed));
        let users = NAMES.map(|name| UserKey::new(app, name).unwrap());
        let accounts =
            users.clone().map(|key| Account { key, created_ms: 1, valid_from_s: 0, mutes: Mutes::default() });
        directory.register(&accounts).unwrap();
        // A new one each time: it copies all that it holds with each change.
        let memory = MemoryDirectory::new();
        let model = shared(Arc::new(memory.clone()));
        memory.register(&accounts).unwrap();
        for (at, (user, op)) in ops.iter().enumerate() {
            let now_ms = 1_700_000_000_000 + 1000 * at as u64;
            let got = run(tested.people(), &users[*user], op, now_ms);
            let want = run(model.people(), &users[*user], op, now_ms);
            prop_assert_eq!(got, want, "call {} of {}: {:?}", at, NAMES[*user], op);
        }
        for user in &users {
            prop_assert_eq!(kept(tested.people(), user), kept(model.people(), user));
        }
        Ok(())
    });
    if let Err(error) = outcome {
        panic!("{error}");
    }
}

#[test]
fn sqlite_answers_a_thousand_sequences_as_memory_does() {
    let root = tempfile::tempdir().unwrap();
    a_thousand_sequences(Arc::new(SqliteDirectory::open(&root.path().join("directory")).unwrap()));
}

#[test]
fn postgres_answers_a_thousand_sequences_as_memory_does() {
    let server = PostgresServer::shared();
    let server = Postgres::new(&PostgresOptions::new(server.fresh())).unwrap();
    a_thousand_sequences(Arc::new(PgDirectory::postgres(&server).unwrap()));
}
