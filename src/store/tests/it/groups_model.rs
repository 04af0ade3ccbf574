//! Random changes of groups against a database and the directory in memory.

use std::cell::Cell;

use nearport_chat::directory::{Counted, Directory, GroupStore as _, ListPlace};
use nearport_chat::group::{
    Application, Change, Fields, GroupChange, GroupInfo, Handled, JoinOption, Member, Penalty, Reception,
    Role, TopicInfo,
};
use nearport_chat::key::{AppId, GroupKey, UserKey};
use nearport_store::{MemoryDirectory, PgDirectory, Postgres, PostgresOptions, SqliteDirectory};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use crate::postgres_server::PostgresServer;

/// Sequences of changes that each engine is compared on.
const CASES: u32 = 1000;

const GROUPS: [&str; 3] = ["@TGS#_@TGS#c1", "group two", "Z"];
const USERS: [&str; 4] = ["alice", "Bob", "c", "dave"];
const TOPICS: [&str; 3] = ["@TOPIC#1", "a", "Z"];
const KEYS: [&str; 3] = ["k", "K", "ключ"];

/// A change without the App, which every case has of its own: so all share one database.
type Op = (usize, Vec<Step>);

#[derive(Debug, Clone)]
enum Step {
    Create(u64),
    Dismiss,
    Info(u64, Option<usize>),
    Put(usize, u8, u64),
    Remove(usize),
    Attribute(usize, Option<String>),
    Counter(usize, Option<i64>),
    Penalty(bool, usize, u64),
    Application(usize, Option<(Option<usize>, bool)>),
    Topic(usize, Option<u64>),
    Receive(usize, usize, Option<u8>),
}

fn step() -> impl Strategy<Value = Step> {
    let who = || 0..USERS.len();
    let key = || 0..KEYS.len();
    let number = || prop_oneof![0..5u64, Just(u64::MAX >> 1)];
    prop_oneof![
        1 => number().prop_map(Step::Create),
        1 => Just(Step::Dismiss),
        2 => (number(), proptest::option::of(who())).prop_map(|(seq, owner)| Step::Info(seq, owner)),
        5 => (who(), 1..4u8, number()).prop_map(|(user, role, seq)| Step::Put(user, role, seq)),
        3 => who().prop_map(Step::Remove),
        2 => (key(), proptest::option::of("[ -~é\n]{0,9}")).prop_map(|(key, value)| Step::Attribute(key, value)),
        2 => (key(), proptest::option::of(any::<i64>())).prop_map(|(key, value)| Step::Counter(key, value)),
        2 => (any::<bool>(), who(), number()).prop_map(|(ban, user, until)| Step::Penalty(ban, user, until)),
        2 => (who(), proptest::option::of((proptest::option::of(who()), any::<bool>())))
            .prop_map(|(user, application)| Step::Application(user, application)),
        3 => (0..TOPICS.len(), proptest::option::weighted(0.7, number()))
            .prop_map(|(topic, info)| Step::Topic(topic, info)),
        2 => (who(), 0..TOPICS.len(), proptest::option::of(1..4u8))
            .prop_map(|(user, topic, reception)| Step::Receive(user, topic, reception)),
    ]
}

fn ops() -> impl Strategy<Value = Vec<Vec<Op>>> {
    // Most batches create first, or nothing would exist to be changed.
    let op = || (0..GROUPS.len(), vec(step(), 1..5));
    let create = (0..GROUPS.len(), Just(vec![Step::Create(1)])).prop_map(|op| op);
    vec(prop_oneof![2 => create.prop_map(|op| vec![op]), 7 => vec(op(), 1..4)], 1..12)
}

fn user(app: u32, at: usize) -> UserKey {
    UserKey::new(AppId(app), USERS[at]).unwrap()
}

/// Type, time and first message of a group never change, so they follow from its place.
fn info(app: u32, at: usize, seq: u64, owner: Option<usize>) -> GroupInfo {
    let created_ms = at as u64;
    GroupInfo {
        kind: if at == 1 { "Private" } else { "Public" }.to_owned(),
        name: format!("名 {seq}"),
        introduction: "a\nb".to_owned(),
        notification: "%_'".to_owned(),
        face_url: String::new(),
        owner: owner.map(|at| user(app, at)),
        created_ms,
        info_seq: seq,
        info_ms: seq,
        members_max: 7,
        join: JoinOption::from_number(u8::try_from(seq % 3).unwrap() + 1).unwrap(),
        invite: JoinOption::Closed,
        muted_all: seq.is_multiple_of(2),
        first_seq: created_ms * 7,
        attributes_version: seq,
        fields: Fields([("f".to_owned(), vec![0, 1, u8::try_from(seq % 256).unwrap()].into())].into()),
        topics: seq.is_multiple_of(3),
    }
}

fn topic(app: u32, group: usize, at: usize) -> GroupKey {
    GroupKey::new(AppId(app), &format!("{}@TOPIC#_{}", GROUPS[group], TOPICS[at])).unwrap()
}

fn topic_info(number: u64) -> TopicInfo {
    TopicInfo {
        name: format!("名 {number}"),
        introduction: "a\nb".to_owned(),
        notification: "%_'".to_owned(),
        face_url: String::new(),
        custom: "{\"a\": 1}".to_owned(),
        created_ms: number,
        info_seq: number / 2,
        muted_all: number.is_multiple_of(2),
        first_seq: number / 3,
    }
}

fn change(app: u32, group: usize, step: &Step) -> Change {
    match step {
        Step::Create(seq) => Change::Create(Box::new(info(app, group, *seq, None))),
        Step::Dismiss => Change::Dismiss,
        Step::Info(seq, owner) => Change::Info(Box::new(info(app, group, *seq, *owner))),
        Step::Put(at, role, seq) => Change::PutMember(
            user(app, *at),
            Box::new(Member {
                role: Role::from_number(*role).unwrap(),
                joined_ms: seq / 3,
                joined_seq: *seq,
                reception: Reception::from_number(*role).unwrap(),
                name_card: USERS[*at].into(),
                fields: Fields::default(),
            }),
        ),
        Step::Remove(at) => Change::RemoveMember(user(app, *at)),
        Step::Attribute(key, Some(value)) => Change::PutAttribute(KEYS[*key].to_owned(), value.clone()),
        Step::Attribute(key, None) => Change::RemoveAttribute(KEYS[*key].to_owned()),
        Step::Counter(key, Some(value)) => Change::PutCounter(KEYS[*key].to_owned(), *value),
        Step::Counter(key, None) => Change::RemoveCounter(KEYS[*key].to_owned()),
        Step::Penalty(ban, at, until_s) => {
            Change::Penalty(if *ban { Penalty::Ban } else { Penalty::Mute }, user(app, *at), *until_s)
        }
        Step::Application(at, Some((inviter, handled))) => Change::PutApplication(
            user(app, *at),
            Box::new(Application {
                inviter: inviter.map(|at| user(app, at)),
                consent: *handled,
                time_ms: 5,
                text: "t".to_owned(),
                handled: handled.then(|| Handled {
                    by: "boss".to_owned(),
                    agreed: inviter.is_some(),
                    text: "ok".to_owned(),
                }),
            }),
        ),
        Step::Application(at, None) => Change::RemoveApplication(user(app, *at)),
        Step::Topic(at, Some(number)) => {
            Change::PutTopic(topic(app, group, *at), Box::new(topic_info(*number)))
        }
        Step::Topic(at, None) => Change::RemoveTopic(topic(app, group, *at)),
        Step::Receive(who, at, reception) => {
            let reception = reception.and_then(Reception::from_number);
            Change::Receive(user(app, *who), topic(app, group, *at), reception)
        }
    }
}

fn compare(directory: &dyn Directory) {
    let model = MemoryDirectory::new();
    let next_app = Cell::new(1);
    let mut runner = TestRunner::new(Config { cases: CASES, failure_persistence: None, ..Config::default() });
    let outcome = runner.run(&ops(), |batches| {
        let app = next_app.get();
        next_app.set(app + 1);
        let groups = GROUPS.map(|id| GroupKey::new(AppId(app), id).unwrap());
        let users: Vec<_> = (0..USERS.len()).map(|at| user(app, at)).collect();
        for batch in batches {
            let changes: Vec<_> = batch
                .iter()
                .map(|(at, steps)| {
                    // A creation stands first or not at all, as the desk has it; what follows a dismissal is another change.
                    let stray = |(at, step): &(usize, &Step)| *at == 0 || !matches!(step, Step::Create(..));
                    let steps = steps.iter().enumerate().filter(stray).map(|(_, step)| step);
                    let changes = steps.map(|step| change(app, *at, step)).collect();
                    GroupChange { group: groups[*at].clone(), changes }
                })
                .collect();
            let (got, want) = (directory.change_groups(&changes), model.change_groups(&changes));
            prop_assert_eq!(got.is_ok(), want.is_ok(), "{:?} {:?}", got, want);
            prop_assert_eq!(directory.groups(&groups).unwrap(), model.groups(&groups).unwrap());
            prop_assert_eq!(directory.groups_of(&users).unwrap(), model.groups_of(&users).unwrap());
            prop_assert_eq!(
                directory.count_groups_of(&users).unwrap(),
                model.count_groups_of(&users).unwrap()
            );
            for (user, limit) in users.iter().zip([1, 9, 9, 9]) {
                let topics = |directory: &dyn Directory| directory.topics_of(user, limit).unwrap();
                prop_assert_eq!(topics(directory), topics(&model));
            }
            let count = |directory: &dyn Directory| directory.count_topics(AppId(app)).unwrap();
            prop_assert_eq!(count(directory), count(&model));
            for which in [Counted::default(), Counted { kind: Some("Public"), since_ms: 2 }] {
                let count = |directory: &dyn Directory| directory.count_groups(AppId(app), which).unwrap();
                prop_assert_eq!(count(directory), count(&model));
            }
            for from in [ListPlace::default(), ListPlace { created_ms: 2, skip: 1 }] {
                let list =
                    |directory: &dyn Directory| directory.list_groups(AppId(app), None, from, 2).unwrap();
                prop_assert_eq!(list(directory), list(&model));
            }
        }
        Ok(())
    });
    outcome.unwrap();
}

#[test]
fn sqlite_does_what_the_model_does() {
    let root = tempfile::tempdir().unwrap();
    compare(&SqliteDirectory::open(&root.path().join("directory.sqlite")).unwrap());
}

#[test]
fn postgres_does_what_the_model_does() {
    let server = PostgresServer::shared();
    let database = Postgres::new(&PostgresOptions::new(server.fresh())).unwrap();
    compare(&PgDirectory::postgres(&database).unwrap());
}
