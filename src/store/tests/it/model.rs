//! A thousand random sequences of operations on each engine, compared with the model of the conformance suite, with the
//! store closed and opened in between.

use std::cell::{Cell, RefCell};

use nearport_chat::key::AppId;
use nearport_chat::ledger::{PageLimit, Range};
use nearport_store::conformance::ledger_model;
use nearport_store::conformance::model::{Op, Place, Store, TARGETS, USERS};
use nearport_store::{FjallLedger, MemoryLedger, Options, PgLedger, Postgres, PostgresOptions};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use crate::postgres_server::PostgresServer;

/// Sequences that share a store. A store of its own for each would test the making of stores.
const SEQUENCES_PER_STORE: u32 = 50;

fn op() -> impl Strategy<Value = Op> {
    let place = || (0..USERS, 0..TARGETS).prop_map(|(from, to)| Place { from, to });
    // Small numbers, so that much meets, and those at the ends.
    let seq = || prop_oneof![8 => 0..12u64, 1 => Just(u64::MAX)];
    let on_message = || (place(), seq(), 0..USERS);
    // Few client ids, so that many are used again.
    let append = (place(), 0..24u8, 0..120u16);
    let commit = (
        0..20u64,
        vec(append, 0..10),
        vec((place(), seq(), 0..40u8), 0..4),
        vec(on_message(), 0..4),
        vec(on_message(), 0..6),
        vec((place(), 0..4u8, 0..20u64), 0..4),
    );
    let commit = commit.prop_map(|(later_ms, appends, edits, hides, receipts, cursors)| Op::Commit {
        later_ms,
        appends,
        edits,
        hides,
        receipts,
        cursors,
    });
    let limit = || (0..6usize, prop_oneof![0..500usize, Just(usize::MAX)]);
    let limit = || limit().prop_map(|(entries, bytes)| PageLimit { entries, bytes });
    let range = prop_oneof![seq().prop_map(Range::After), seq().prop_map(Range::Before)];
    prop_oneof![
        60 => commit,
        20 => (place(), range, limit()).prop_map(|(place, range, limit)| Op::Read(place, range, limit)),
        10 => (0..USERS, seq(), limit()).prop_map(|(user, after, limit)| Op::ReadLog(user, after, limit)),
        5 => (0..80u64, 0..80u64, prop_oneof![1..20usize, Just(usize::MAX)]).prop_map(|(pairs, others, rows)| Op::Trim(pairs, others, rows)),
        1 => Just(Op::Reopen),
    ]
}

/// Runs the thousand sequences; `make` gives a new store each time.
pub(crate) fn thousand_sequences(make: impl Fn() -> Store) {
    sequences(1_000, make);
}

fn sequences(cases: u32, make: impl Fn() -> Store) {
    let (store, next) = (RefCell::new(make()), Cell::new(0));
    let mut runner = TestRunner::new(Config { cases, ..Config::default() });
    let result = runner.run(&vec(op(), 1..24), |ops| {
        next.set(next.get() + 1);
        if next.get() % SEQUENCES_PER_STORE == 0 {
            *store.borrow_mut() = make();
        }
        ledger_model(&mut store.borrow_mut(), AppId(next.get()), &ops);
        Ok(())
    });
    result.unwrap_or_else(|error| panic!("{error}"));
}

#[test]
fn fjall_does_what_the_model_does() {
    let root = tempfile::tempdir().unwrap();
    let stores = Cell::new(0u64);
    thousand_sequences(|| {
        stores.set(stores.get() + 1);
        let path = root.path().join(stores.get().to_string());
        let mut options = Options::default();
        // In turn: flushes every few commits, now and then, never.
        options.flush_bytes = [20_000, 200_000, 1 << 26][usize::try_from(stores.get() % 3).unwrap()];
        options.owners_max = 3;
        Store::new(move || Box::new(FjallLedger::open(&path, options.clone()).unwrap()))
    });
}

#[test]
fn memory_does_what_the_model_does() {
    thousand_sequences(|| {
        let ledger = MemoryLedger::new();
        Store::new(move || Box::new(ledger.clone()))
    });
}

#[test]
fn postgres_does_what_the_model_does() {
    let server = PostgresServer::shared();
    let make = || {
        let url = server.fresh();
        Store::new(move || {
            Box::new(PgLedger::open(&Postgres::new(&PostgresOptions::new(&url)).unwrap()).unwrap())
        })
    };
    // More than a million transactions, each a round trip or two: they wait beside each other.
    std::thread::scope(|scope| {
        (0..4).for_each(|_| drop(scope.spawn(|| sequences(250, make))));
    });
}
