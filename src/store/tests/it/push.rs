//! Random changes of tags, attributes and pushes, the same on a database and in memory: every answer is the same.

use std::sync::atomic::{AtomicU32, Ordering};

use nearport_chat::directory::people::PeopleTx;
use nearport_chat::directory::push::{PushPlace, PushRow};
use nearport_chat::directory::{Account, Accounts, Directory, DirectoryError, Mutes};
use nearport_chat::key::{AppId, UserKey};
use nearport_store::{MemoryDirectory, PgDirectory, Postgres, PostgresOptions, SqliteDirectory};
use proptest::prelude::*;
use proptest::test_runner::TestRunner;

use crate::postgres_server::PostgresServer;

const NAMES: [&str; 4] = ["alice", "Bob", "carol", "~dave"];
const TEXTS: [&str; 4] = ["vip", "VIP", "é", "%_'"];

#[derive(Debug, Clone)]
enum Op {
    Name { slot: u8, text: usize },
    SetAttrs(Vec<(usize, u8, usize)>),
    DeleteAttrs(Vec<(usize, u8)>),
    AddTags(Vec<(usize, usize)>),
    DeleteTags(Vec<(usize, usize)>),
    ClearTags(Vec<usize>),
    Erase(usize),
    Delete(usize),
    Import(usize),
    Members { after: usize, until: usize, made_ms: u64, limit: u32 },
    Push { random: u32 },
    Find { random: u32, back: u64 },
    Move { number: u64, from: u8, to: u8 },
    Trim { back: u64 },
    Open,
}

fn op() -> impl Strategy<Value = Op> {
    let user = || 0..NAMES.len();
    let text = || 0..TEXTS.len();
    let some = |most| proptest::collection::vec((0..NAMES.len(), 0..TEXTS.len()), 0..most);
    prop_oneof![
        2 => (0..3u8, text()).prop_map(|(slot, text)| Op::Name { slot, text }),
        2 => proptest::collection::vec((user(), 0..3u8, text()), 0..5).prop_map(Op::SetAttrs),
        1 => proptest::collection::vec((user(), 0..3u8), 0..3).prop_map(Op::DeleteAttrs),
        3 => some(5).prop_map(Op::AddTags),
        2 => some(3).prop_map(Op::DeleteTags),
        1 => proptest::collection::vec(user(), 0..3).prop_map(Op::ClearTags),
        1 => user().prop_map(Op::Erase),
        1 => user().prop_map(Op::Delete),
        1 => user().prop_map(Op::Import),
        2 => (user(), user(), 0..20u64, 0..4u32)
            .prop_map(|(after, until, made_ms, limit)| Op::Members { after, until, made_ms, limit }),
        4 => (0..4u32).prop_map(|random| Op::Push { random }),
        2 => (0..4u32, 0..8u64).prop_map(|(random, back)| Op::Find { random, back }),
        6 => (1..5u64, 0..4u8, 0..4u8).prop_map(|(number, from, to)| Op::Move { number, from, to }),
        1 => (0..8u64).prop_map(|back| Op::Trim { back }),
        2 => Just(Op::Open),
    ]
}

/// Where a push may be; at the last one it is over.
fn place(at: u8) -> PushPlace {
    let name = |at: u8| if at == 0 { String::new() } else { NAMES[usize::from(at) - 1].to_owned() };
    PushPlace { after: name(at), until: name(at + 1), sent: at.into(), done_ms: u64::from(at == 3) }
}

fn account(app: AppId, at: usize, made_ms: u64) -> Account {
    let key = UserKey::new(app, NAMES[at]).unwrap();
    Account { key, created_ms: made_ms, valid_from_s: 0, mutes: Mutes::default() }
}

fn write<T>(
    directory: &dyn Directory,
    mut work: impl FnMut(&mut dyn PeopleTx) -> Result<T, DirectoryError>,
) -> T {
    let mut value = None;
    directory
        .write_people(&mut |tx| {
            value = Some(work(tx)?);
            Ok(())
        })
        .unwrap();
    value.unwrap()
}

/// Carries it out at a moment and tells all that came of it.
fn run(directory: &dyn Directory, app: AppId, op: &Op, now_ms: u64) -> String {
    let users: Vec<_> = NAMES.iter().map(|name| UserKey::new(app, name).unwrap()).collect();
    let tags =
        |tags: &[(usize, usize)]| tags.iter().map(|(user, text)| (*user, TEXTS[*text])).collect::<Vec<_>>();
    match op {
        Op::Name { slot, text } => {
            write(directory, |tx| tx.set_attr_names(app, &[(*slot, TEXTS[*text].to_owned())].into()));
        }
        Op::SetAttrs(attrs) => {
            let rows: Vec<_> =
                attrs.iter().map(|(user, slot, text)| (&users[*user], *slot, TEXTS[*text])).collect();
            write(directory, |tx| tx.set_attrs(&rows));
        }
        Op::DeleteAttrs(attrs) => {
            let rows: Vec<_> = attrs.iter().map(|(user, slot)| (&users[*user], *slot)).collect();
            write(directory, |tx| tx.delete_attrs(&rows));
        }
        Op::AddTags(some) => {
            let rows: Vec<_> = tags(some).into_iter().map(|(user, tag)| (&users[user], tag)).collect();
            write(directory, |tx| tx.add_tags(&rows));
        }
        Op::DeleteTags(some) => {
            let rows: Vec<_> = tags(some).into_iter().map(|(user, tag)| (&users[user], tag)).collect();
            write(directory, |tx| tx.delete_tags(&rows));
        }
        Op::ClearTags(some) => {
            let some: Vec<_> = some.iter().map(|user| users[*user].clone()).collect();
            write(directory, |tx| tx.clear_tags(&some));
        }
        Op::Erase(user) => write(directory, |tx| tx.erase(&users[*user])),
        Op::Delete(user) => return format!("{:?}", directory.delete_account(&users[*user], now_ms).unwrap()),
        Op::Import(user) => directory.import(&[account(app, *user, now_ms)]).unwrap(),
        Op::Members { after, until, made_ms, limit } => {
            let names = (NAMES[*after], NAMES[*until]);
            return format!("{:?}", directory.members(app, names, *made_ms, *limit).unwrap());
        }
        Op::Push { random } => {
            return write(directory, |tx| {
                let number = tx.push_counts(app, 0)?.last + 1;
                let row = PushRow {
                    number,
                    random: *random,
                    created_ms: now_ms,
                    from: "admin".to_owned(),
                    life_time_s: 60,
                    condition: TEXTS[2].to_owned(),
                    message: vec![0, 255].into(),
                    place: place(0),
                };
                tx.add_push(app, &row)?;
                Ok(format!("{number}"))
            });
        }
        Op::Find { random, back } => {
            let since_ms = now_ms.saturating_sub(*back);
            return write(directory, |tx| Ok(format!("{:?}", tx.push_by_random(app, *random, since_ms)?)));
        }
        Op::Move { number, from, to } => {
            let (from, to) = (place(*from), place(*to));
            return write(directory, |tx| Ok(format!("{}", tx.move_push(app, *number, &from, &to)?)));
        }
        Op::Trim { back } => write(directory, |tx| tx.trim_pushes(app, now_ms.saturating_sub(*back))),
        Op::Open => return open(directory, app),
    }
    String::new()
}

/// The push of this App that is under way, however many others have some.
fn open(directory: &dyn Directory, app: AppId) -> String {
    let open = write(directory, |tx| tx.open_push(Some(AppId(app.0 - 1))));
    format!("{:?}", open.filter(|(of, _)| *of == app))
}

/// All that is kept of an App.
fn kept(directory: &dyn Directory, app: AppId) -> String {
    let users: Vec<_> = NAMES.iter().map(|name| UserKey::new(app, name).unwrap()).collect();
    let rows = write(directory, |tx| {
        Ok(format!(
            "{:?} {:?} {:?} {:?}",
            tx.attr_names(app)?,
            tx.attrs(&users)?,
            tx.tags(&users)?,
            tx.push_counts(app, 9)?
        ))
    });
    let members = directory.members(app, ("", "\u{7f}"), u64::MAX, 9).unwrap();
    format!("{rows} {members:?} {}", open(directory, app))
}

/// Five hundred sequences of changes, each in an App of its own.
fn five_hundred_sequences(tested: &dyn Directory) {
    let next = AtomicU32::new(1);
    let config = ProptestConfig { cases: 500, failure_persistence: None, ..ProptestConfig::default() };
    let ops = proptest::collection::vec(op(), 1..20);
    let outcome = TestRunner::new(config).run(&ops, |ops| {
        let app = AppId(next.fetch_add(1, Ordering::Relaxed));
        let model = MemoryDirectory::new();
        let accounts: Vec<_> = (0..3).map(|at| account(app, at, 1 + at as u64)).collect();
        tested.register(&accounts).unwrap();
        model.register(&accounts).unwrap();
        for (op, now_ms) in ops.iter().zip(3..) {
            prop_assert_eq!(run(tested, app, op, now_ms), run(&model, app, op, now_ms), "{:?}", op);
        }
        prop_assert_eq!(kept(tested, app), kept(&model, app));
        Ok(())
    });
    if let Err(error) = outcome {
        panic!("{error}");
    }
}

#[test]
fn sqlite_answers_five_hundred_sequences_as_memory_does() {
    let root = tempfile::tempdir().unwrap();
    five_hundred_sequences(&SqliteDirectory::open(&root.path().join("directory")).unwrap());
}

#[test]
fn postgres_answers_five_hundred_sequences_as_memory_does() {
    let server = PostgresServer::shared();
    let server = Postgres::new(&PostgresOptions::new(server.fresh())).unwrap();
    five_hundred_sequences(&PgDirectory::postgres(&server).unwrap());
}
