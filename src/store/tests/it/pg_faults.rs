//! What a lost connection may do to a commit: a relay stands between the ledger and the server and cuts it at a chosen place.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicU8, AtomicU32, Ordering};
use std::sync::{Arc, Barrier};

use bytes::Bytes;
use nearport_chat::key::ConvKey;
use nearport_chat::ledger::{
    Append, Batch, CursorMove, CursorName, Edit, Ledger, LedgerError, PageLimit, Range,
};
use nearport_store::{PgLedger, Postgres, PostgresOptions};

use crate::postgres_server::PostgresServer;
use crate::support::{ALL, pair_message, user};

/// Where the relay cuts the next COMMIT.
const NOWHERE: u8 = 0;
/// The server gets it, its answer is lost.
const BEHIND: u8 = 1;
/// The server never gets it.
const BEFORE: u8 = 2;

/// Relays connections of one ledger to the server.
struct Relay {
    url: String,
    cut: Arc<AtomicU8>,
    cuts: Arc<AtomicU32>,
}

impl Relay {
    fn start(url: &str) -> Self {
        let server = url.split_once('@').unwrap().1.split_once('/').unwrap().0.to_owned();
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let here = listener.local_addr().unwrap().to_string();
        let (cut, cuts) = (Arc::new(AtomicU8::new(NOWHERE)), Arc::new(AtomicU32::new(0)));
        let relay = Self { url: url.replace(&server, &here), cut: cut.clone(), cuts: cuts.clone() };
        std::thread::spawn(move || {
            for client in listener.incoming() {
                let (client, server) = (client.unwrap(), TcpStream::connect(&server).unwrap());
                let (back_from, back_to) = (server.try_clone().unwrap(), client.try_clone().unwrap());
                let (cut, cuts) = (cut.clone(), cuts.clone());
                let silent = Arc::new(AtomicU8::new(0));
                let heard = silent.clone();
                std::thread::spawn(move || up(client, server, &cut, &cuts, &silent));
                std::thread::spawn(move || back(back_from, back_to, &heard));
            }
        });
        relay
    }
}

/// From the ledger to the server; looks for COMMIT.
fn up(mut client: TcpStream, mut server: TcpStream, cut: &AtomicU8, cuts: &AtomicU32, silent: &AtomicU8) {
    let mut buffer = vec![0; 1 << 20];
    while let Ok(got @ 1..) = client.read(&mut buffer) {
        let bytes = &buffer[..got];
        let at = bytes.windows(7).position(|text| text == b"COMMIT\0").map(|at| at - 5);
        if let Some(at) = at {
            match cut.swap(NOWHERE, Ordering::SeqCst) {
                BEHIND => {
                    cuts.fetch_add(1, Ordering::SeqCst);
                    // Not one byte of an answer from here on.
                    silent.store(1, Ordering::SeqCst);
                    let _ = server.write_all(bytes);
                    let _ = server.shutdown(Shutdown::Write);
                    let _ = client.shutdown(Shutdown::Both);
                    return;
                }
                BEFORE => {
                    cuts.fetch_add(1, Ordering::SeqCst);
                    silent.store(1, Ordering::SeqCst);
                    let _ = server.write_all(&bytes[..at]);
                    let _ = server.shutdown(Shutdown::Both);
                    let _ = client.shutdown(Shutdown::Both);
                    return;
                }
                _ => {}
            }
        }
        if server.write_all(bytes).is_err() {
            break;
        }
    }
    let _ = server.shutdown(Shutdown::Both);
}

fn back(mut server: TcpStream, mut client: TcpStream, silent: &AtomicU8) {
    let mut buffer = vec![0; 1 << 16];
    while let Ok(got @ 1..) = server.read(&mut buffer) {
        if silent.load(Ordering::SeqCst) == 0 && client.write_all(&buffer[..got]).is_err() {
            break;
        }
    }
    let _ = client.shutdown(Shutdown::Both);
}

fn open(url: &str) -> PgLedger {
    PgLedger::open(&Postgres::new(&PostgresOptions::new(url)).unwrap()).unwrap()
}

fn message(id: u64) -> Append {
    pair_message(1, 2, id, Bytes::from(format!("message {id}")))
}

fn conv() -> ConvKey {
    ConvKey::pair(&user(1), &user(2))
}

#[test]
fn a_commit_whose_answer_is_lost_is_told_as_what_became_of_it() {
    let relay = Relay::start(&PostgresServer::shared().fresh());
    let ledger = open(&relay.url);
    let batch = |ids: std::ops::RangeInclusive<u64>| Batch {
        appends: ids.map(message).collect(),
        ..Batch::default()
    };
    ledger.commit(&batch(1..=3)).unwrap();
    for (round, place) in [(1, BEHIND), (2, BEFORE), (3, BEHIND), (4, BEFORE)] {
        relay.cut.store(place, Ordering::SeqCst);
        let first = 1 + round * 3;
        let done = ledger.commit(&batch(first..=first + 2)).unwrap();
        assert_eq!(relay.cuts.load(Ordering::SeqCst), u32::try_from(round).unwrap(), "it was cut");
        let seqs: Vec<_> = done.appended.iter().map(|done| (done.seq, done.duplicate)).collect();
        assert_eq!(seqs, [(first, false), (first + 1, false), (first + 2, false)], "cut at {place}");
        assert!(done.appended.iter().all(|done| done.positions.len() == 2), "positions are told too");
    }
    let bodies = ledger.read(&conv(), Range::After(0), ALL).unwrap();
    let bodies: Vec<_> = bodies.iter().map(|entry| entry.body.to_vec()).collect();
    assert_eq!(bodies, (1..=15).map(|id| format!("message {id}").into_bytes()).collect::<Vec<_>>());
    assert_eq!(ledger.log_head(&user(2)).unwrap(), 15);
}

#[test]
fn a_change_whose_answer_is_lost_is_made_once() {
    let relay = Relay::start(&PostgresServer::shared().fresh());
    let ledger = open(&relay.url);
    ledger.commit(&Batch { appends: vec![message(1)], ..Batch::default() }).unwrap();
    for (number, place) in [(1, BEHIND), (2, BEFORE)] {
        relay.cut.store(place, Ordering::SeqCst);
        let edit = Edit {
            conv: conv(),
            seq: 1,
            body: Bytes::from(format!("change {number}")),
            logs: vec![user(2)],
            uncounted: false,
        };
        let name = CursorName::Device("phone".into());
        let cursor = CursorMove { user: user(1), name, position: number, append: None };
        let done =
            ledger.commit(&Batch { edits: vec![edit], cursors: vec![cursor], ..Batch::default() }).unwrap();
        let edited = done.edited[0].clone().unwrap();
        assert_eq!((edited.edit, edited.positions), (number, vec![1 + number]), "cut at {place}");
    }
    assert_eq!(ledger.log_head(&user(2)).unwrap(), 3, "one entry for the message and one for each change");
    assert_eq!(ledger.cursor(&user(1), &CursorName::Device("phone".into())).unwrap(), Some(2));
}

#[test]
fn several_cores_share_it_without_holes_duplicates_or_deadlocks() {
    const CORES: u64 = 4;
    const COMMITS: u64 = 25;
    // Nobody looks for deadlocks before a statement has taken too long: one fails its commit, and is not just run again.
    let url = format!("{}%20-c%20deadlock_timeout%3D1min", PostgresServer::shared().fresh());
    let ready = Arc::new(Barrier::new(usize::try_from(CORES).unwrap()));
    let core = |core: u64| {
        let (url, ready) = (url.clone(), ready.clone());
        std::thread::spawn(move || {
            let ledger = open(&url);
            ready.wait();
            for commit in 0..COMMITS {
                // The same users and conversations from every core, in different orders; each message from two cores.
                let appends = (0..5).map(|part| {
                    let pair = if core.is_multiple_of(2) { part } else { 4 - part };
                    let id = (core / 2) * 10_000 + commit * 10 + pair;
                    pair_message(pair, (pair + 1) % 5, id, Bytes::from_static(b"text"))
                });
                let batch = Batch { appends: appends.collect(), ..Batch::default() };
                assert_eq!(ledger.commit(&batch).unwrap().appended.len(), 5);
            }
        })
    };
    let cores: Vec<_> = (0..CORES).map(core).collect();
    cores.into_iter().for_each(|core| core.join().unwrap());
    let ledger = open(&url);
    for pair in 0..5 {
        let conv = ConvKey::pair(&user(pair), &user((pair + 1) % 5));
        let seqs: Vec<_> =
            ledger.read(&conv, Range::After(0), ALL).unwrap().iter().map(|entry| entry.seq).collect();
        assert_eq!(seqs, (1..=CORES / 2 * COMMITS).collect::<Vec<_>>(), "no holes, every message once");
        let positions: Vec<_> =
            ledger.read_log(&user(pair), 0, ALL).unwrap().iter().map(|entry| entry.position).collect();
        assert_eq!(positions, (1..=CORES * COMMITS).collect::<Vec<_>>());
    }
}

#[test]
fn a_message_that_is_missing_is_damage() {
    let url = PostgresServer::shared().fresh();
    let ledger = open(&url);
    ledger.commit(&Batch { appends: (1..=4).map(message).collect(), ..Batch::default() }).unwrap();
    let schema = url.rsplit("%3D").next().unwrap();
    PostgresServer::shared().sql(&format!("DELETE FROM {schema}.ledger_messages WHERE seq = 3"));
    for outcome in [ledger.seq_at(&conv(), u64::MAX).map(drop), ledger.read_log(&user(1), 0, ALL).map(drop)] {
        let error = outcome.unwrap_err();
        assert!(matches!(&error, LedgerError::Damaged(text) if text.starts_with("message 3 of")), "{error}");
    }
    let before = PageLimit { entries: 2, ..ALL };
    assert_eq!(ledger.read_log(&user(1), 0, before).unwrap().len(), 2);
}

#[test]
fn a_commit_waits_for_the_disk_and_for_more_if_the_server_says_so() {
    let server = PostgresServer::shared();
    for (role, default, told, used) in [
        ("hasty", "off", "", "on"),
        ("remote", "remote_write", "", "on"),
        ("careful", "remote_apply", "", "remote_apply"),
        ("told", "on", "%20-c%20synchronous_commit%3Dlocal", "local"),
    ] {
        server.sql(&format!("CREATE ROLE {role} LOGIN SUPERUSER"));
        server.sql(&format!("ALTER ROLE {role} SET synchronous_commit = {default}"));
        let url = server.fresh();
        let schema = url.rsplit("%3D").next().unwrap();
        let ledger = open(&format!("{}{told}", url.replace("nearport@", &format!("{role}@"))));
        // What it is in the session that writes the row.
        server.sql(&format!(
            "ALTER TABLE {schema}.ledger_messages ADD COLUMN said TEXT DEFAULT current_setting('synchronous_commit')"
        ));
        ledger.commit(&Batch { appends: vec![message(1)], ..Batch::default() }).unwrap();
        let said = server.sql(&format!("SELECT said FROM {schema}.ledger_messages"));
        assert_eq!(said, format!("{used};"), "{role}");
    }
}

#[test]
fn without_a_server_commits_fail_clearly_and_with_it_they_go_on() {
    let server = PostgresServer::start();
    let ledger = open(&server.fresh());
    let batch = |id| Batch { appends: vec![message(id)], ..Batch::default() };
    ledger.commit(&batch(1)).unwrap();
    server.tell("stop");
    let error = ledger.commit(&batch(2)).unwrap_err();
    assert!(matches!(error, LedgerError::Unavailable(_)), "{error}");
    assert!(ledger.writable().is_err());
    assert!(matches!(ledger.head(&conv()), Err(LedgerError::Unavailable(_))));
    server.tell("start");
    assert_eq!(ledger.head(&conv()).unwrap(), 1, "every connection of the pool is replaced");
    assert_eq!(ledger.commit(&batch(2)).unwrap().appended[0].seq, 2);
    ledger.writable().unwrap();
    server.tell("crash");
    server.tell("start");
    assert_eq!(ledger.commit(&batch(3)).unwrap().appended[0].seq, 3);
}

#[test]
fn tables_of_a_newer_program_are_refused() {
    let server = PostgresServer::start();
    drop(open(server.url()));
    assert_eq!(
        server.sql(
            "INSERT INTO ledger_schema_history (version, name, applied_on, checksum) \
             VALUES (9999, 'from_the_future', '2030-01-01T00:00:00Z', '1')"
        ),
        ""
    );
    let again = Postgres::new(&PostgresOptions::new(server.url())).unwrap();
    let error = PgLedger::open(&again).unwrap_err().to_string();
    assert!(
        error.contains("(version 9999, from_the_future)") && error.contains("start the newer program"),
        "{error}"
    );
}
