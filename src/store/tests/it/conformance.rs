//! Every engine runs the suite of its trait.

use std::cell::{Cell, RefCell};
use std::path::PathBuf;

use nearport_store::{
    FjallLedger, MemoryDirectory, MemoryLedger, Options, PgDirectory, PgLedger, Postgres, PostgresOptions,
    SqliteDirectory, StoreLock, conformance,
};

use crate::postgres_server::PostgresServer;

/// Fresh paths in one directory that lives as long as the test.
fn fresh(root: &tempfile::TempDir) -> impl Fn() -> PathBuf {
    let (root, next) = (root.path().to_owned(), Cell::new(0));
    move || {
        next.set(next.get() + 1);
        root.join(next.get().to_string())
    }
}

#[test]
fn fjall_ledger() {
    let root = tempfile::tempdir().unwrap();
    let fresh = fresh(&root);
    conformance::ledger(|| Box::new(FjallLedger::open(&fresh(), Options::default()).unwrap()));
}

#[test]
fn fjall_ledger_that_forgets_heads_and_flushes_all_the_time() {
    let root = tempfile::tempdir().unwrap();
    let fresh = fresh(&root);
    let mut options = Options::default();
    options.owners_max = 2;
    options.flush_bytes = 1;
    conformance::ledger(|| Box::new(FjallLedger::open(&fresh(), options.clone()).unwrap()));
}

#[test]
fn postgres_ledger() {
    let server = PostgresServer::shared();
    conformance::ledger(|| {
        let server = Postgres::new(&PostgresOptions::new(server.fresh())).unwrap();
        Box::new(PgLedger::open(&server).unwrap())
    });
}

#[test]
fn memory_ledger() {
    conformance::ledger(|| Box::new(MemoryLedger::new()));
}

#[test]
fn sqlite_directory() {
    let root = tempfile::tempdir().unwrap();
    let fresh = fresh(&root);
    conformance::directory(|| Box::new(SqliteDirectory::open(&fresh()).unwrap()));
}

#[test]
fn postgres_directory() {
    let server = PostgresServer::shared();
    conformance::directory(|| {
        let server = Postgres::new(&PostgresOptions::new(server.fresh())).unwrap();
        Box::new(PgDirectory::postgres(&server).unwrap())
    });
}

#[test]
fn memory_directory() {
    conformance::directory(|| Box::new(MemoryDirectory::new()));
}

#[test]
fn a_sqlite_directory_is_the_same_after_opening_it_again() {
    use nearport_chat::directory::{Accounts as _, App};
    let root = tempfile::tempdir().unwrap();
    let path = root.path().join("directory.sqlite");
    let app = App {
        id: nearport_chat::key::AppId(1),
        name: "first".to_owned(),
        keys: Vec::new(),
        proved_from_s: 0,
        admins: vec!["root".to_owned()],
        disabled: false,
        created_ms: 1,
    };
    SqliteDirectory::open(&path).unwrap().create_app(&app).unwrap();
    for _ in 0..2 {
        assert!(SqliteDirectory::open(&path).unwrap().apps().unwrap() == [app.clone()]);
    }
}

#[test]
fn a_store_that_is_open_is_refused_and_the_holder_is_named() {
    let root = tempfile::tempdir().unwrap();
    let path = root.path().join("ledger");
    let held = RefCell::new(Some(FjallLedger::open(&path, Options::default()).unwrap()));
    let error = FjallLedger::open(&path, Options::default()).unwrap_err();
    assert!(matches!(error, nearport_chat::ledger::LedgerError::Locked(_)), "{error}");
    assert!(error.to_string().contains(&format!("process {}", std::process::id())), "{error}");
    assert!(StoreLock::acquire(&path).is_err());
    drop(held.take());
    FjallLedger::open(&path, Options::default()).unwrap();
}
