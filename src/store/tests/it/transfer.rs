//! A move to PostgreSQL that is stopped at every page, and what it refuses.

use std::path::Path;

use bytes::Bytes;
use nearport_chat::directory::events::PendingEvent;
use nearport_chat::directory::people::PeopleStore as _;
use nearport_chat::key::{AppId, ConvKey, UserKey};
use nearport_chat::ledger::{
    Append, Batch, CursorMove, CursorName, Edit, Hide, IdemKey, Ledger, PageLimit, Range, Receipt,
    TrimBudget, TrimPlace,
};
use nearport_store::{
    FjallLedger, Options, PgDirectory, PgLedger, Postgres, PostgresOptions, SqliteDirectory, TransferError,
    Transferred, copy_to_postgres,
};

use crate::postgres_server::PostgresServer;

const ALL: PageLimit = PageLimit { entries: usize::MAX, bytes: usize::MAX };
const USERS: u64 = 20;

fn user(number: u64) -> UserKey {
    UserKey::new(AppId(1), &format!("user{}", number % USERS)).unwrap()
}

/// Knows of cursors only.
fn silent() -> UserKey {
    UserKey::new(AppId(1), "silent").unwrap()
}

fn group() -> ConvKey {
    ConvKey::group(AppId(1), "group").unwrap()
}

/// Pairs, one with oneself, and a group.
fn conv(number: u64) -> ConvKey {
    if number.is_multiple_of(3) { group() } else { ConvKey::pair(&user(number), &user(number * 7)) }
}

fn append(number: u64) -> Append {
    let conv = conv(number);
    let mut id = [0; 16];
    id[..8].copy_from_slice(&number.to_be_bytes());
    let mut logs = vec![user(number), user(number * 7)];
    logs.dedup();
    if !conv.is_pair() {
        logs.clear();
    }
    let body = Bytes::from(format!("message {number}"));
    Append {
        conv,
        idem: IdemKey { sender: user(number), client_msg_id: id },
        logs,
        time_ms: number,
        body,
        uncounted: number.is_multiple_of(5),
    }
}

/// 4,000 messages in 20 commits, with everything that can be done to them, and the oldest hundred trimmed.
fn fill(dir: &Path) -> FjallLedger {
    let ledger = FjallLedger::open(&dir.join("ledger"), Options::default()).unwrap();
    for commit in 0..20 {
        let appends = (commit * 200..(commit + 1) * 200).map(append).collect();
        ledger.commit(&Batch { appends, ..Batch::default() }).unwrap();
        let numbers = || (0..20).map(|step| commit * 200 + step * 7);
        let on = |number| (conv(number), 1 + commit * 2 + number % 5);
        let edit = |number| {
            let (conv, seq) = on(number);
            Edit {
                conv,
                seq,
                body: Bytes::from(format!("changed {number}")),
                logs: vec![user(number)],
                uncounted: number.is_multiple_of(2),
            }
        };
        let hide = |number| {
            let (conv, seq) = on(number);
            Hide { user: user(number), conv, seq }
        };
        let receipt = |number| {
            let (conv, seq) = on(number);
            Receipt { conv, seq, user: user(number * 3) }
        };
        let cursors = numbers().flat_map(|number| {
            let device: Box<str> = "phone".into();
            let names = [
                CursorName::Device(device.clone()),
                CursorName::Read(conv(number)),
                CursorName::Shown(device, conv(number)),
                CursorName::Cleared(conv(number)),
            ];
            let whose = if number.is_multiple_of(2) { user(number) } else { silent() };
            names.map(|name| CursorMove { user: whose.clone(), name, position: number, append: None })
        });
        let batch = Batch {
            edits: numbers().map(edit).collect(),
            hides: numbers().map(hide).collect(),
            receipts: numbers().map(receipt).collect(),
            cursors: cursors.collect(),
            ..Batch::default()
        };
        ledger.commit(&batch).unwrap();
    }
    let budget = TrimBudget { rows: usize::MAX, time: std::time::Duration::from_secs(60) };
    let mut place = Some(TrimPlace::default());
    while let Some(from) = place {
        place = ledger.trim(&|_| 100, &from, budget).unwrap().next;
    }
    ledger
}

/// Rows of each table of the directory: several pages.
const APPS: u64 = 2_500;

/// Rows in every table there is, whatever it is; gives the names of the tables.
fn fill_directory(path: &Path) -> Vec<String> {
    drop(SqliteDirectory::open(path).unwrap());
    let file = rusqlite::Connection::open(path).unwrap();
    let names = "SELECT name FROM sqlite_master WHERE type = 'table' AND name <> 'refinery_schema_history'
        ORDER BY rowid";
    let mut names = file.prepare(names).unwrap();
    let names: Vec<String> = names.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect();
    assert!(names.len() > 20, "{names:?}");
    for name in &names {
        let mut columns =
            file.prepare("SELECT type, \"notnull\" FROM pragma_table_info(?1) ORDER BY cid").unwrap();
        let columns = columns.query_map([name], |row| Ok((row.get(0)?, row.get(1)?))).unwrap();
        let columns: Vec<(String, bool)> = columns.map(Result::unwrap).collect();
        // The first column tells rows apart. What else is a number is often 0 or 1.
        let value = |(index, (kind, needed)): (usize, &(String, bool))| match kind.as_str() {
            "BLOB" if index == 0 => "CAST(n AS BLOB)".to_owned(),
            _ if index == 0 => "n".to_owned(),
            "INTEGER" => "1".to_owned(),
            kind => {
                let value = if kind == "TEXT" { "'täxt ' || n" } else { "CAST(x'00ff' || n AS BLOB)" };
                if *needed { value.to_owned() } else { format!("CASE WHEN n % 2 THEN {value} END") }
            }
        };
        let values: Vec<_> = columns.iter().enumerate().map(value).collect();
        let sql = format!(
            "WITH RECURSIVE r (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM r WHERE n < {APPS})
             INSERT INTO {name} SELECT {} FROM r",
            values.join(", ")
        );
        file.execute(&sql, []).unwrap();
    }
    names
}

fn everything(ledger: &dyn Ledger) -> Vec<String> {
    let mut all = Vec::new();
    for number in 0..60 {
        let conv = conv(number);
        all.push(format!("{:?}", ledger.heads(std::slice::from_ref(&conv)).unwrap()));
        let entries = ledger.read(&conv, Range::After(0), ALL).unwrap();
        for entry in entries.iter().take(60) {
            all.push(format!("{:?}", ledger.receipts(&conv, entry.seq, None, usize::MAX).unwrap()));
            all.push(format!("{:?}", ledger.receipt_count(&conv, entry.seq).unwrap()));
        }
        all.push(format!("{entries:?} {:?}", ledger.edits(&conv, 0, usize::MAX).unwrap()));
    }
    for user in (0..USERS).map(user).chain([silent()]) {
        all.push(format!("{:?}", ledger.read_log(&user, 0, ALL).unwrap()));
        all.push(format!("{:?}", ledger.log_head(&user).unwrap()));
        all.push(format!("{:?}", ledger.conversations(&user, None, usize::MAX).unwrap()));
        all.push(format!("{:?}", ledger.cursor(&user, &CursorName::Device("phone".into())).unwrap()));
        for number in 0..60 {
            let conv = conv(number);
            all.push(format!("{:?}", ledger.hidden(&user, &conv, 0, u64::MAX).unwrap()));
            let names = [
                CursorName::Read(conv.clone()),
                CursorName::Shown("phone".into(), conv.clone()),
                CursorName::Cleared(conv),
            ];
            for name in names {
                all.push(format!("{:?}", ledger.cursor(&user, &name).unwrap()));
            }
        }
    }
    all
}

fn server(url: &str) -> Postgres {
    Postgres::new(&PostgresOptions::new(url)).unwrap()
}

fn copy(dir: &Path, ledger: &FjallLedger, url: &str, pages: usize) -> Result<Transferred, TransferError> {
    let mut left = pages;
    copy_to_postgres(ledger, &dir.join("directory.db"), &server(url), &mut |_| {
        left = left.saturating_sub(1);
        left > 0
    })
}

#[test]
fn a_copy_that_is_stopped_again_and_again_ends_with_the_same_ledger() {
    let dir = tempfile::tempdir().unwrap();
    let ledger = fill(dir.path());
    assert_eq!(ledger.check().unwrap().problems, 0);
    let tables = fill_directory(&dir.path().join("directory.db"));
    let url = PostgresServer::shared().fresh();

    // Three pages at a time until everything is written; a database in between is not opened.
    let mut stops = 0;
    let done = loop {
        match copy(dir.path(), &ledger, &url, if stops < 12 { 4 } else { usize::MAX }) {
            Err(TransferError::Stopped) => stops += 1,
            done => break done.unwrap(),
        }
        let error = PgLedger::open(&server(&url)).unwrap_err().to_string();
        assert!(error.contains("has not come to its end"), "{error}");
        assert!(PgDirectory::postgres(&server(&url)).is_err());
    };
    assert!(stops == 12 && done.resumed, "{stops}");
    let rows = |table: &str| done.tables.iter().find(|moved| moved.table == table).unwrap().rows;
    assert!(rows("ledger_messages") > 3_800 && rows("ledger_receipt_counts") > 10, "{done:?}");
    let schema = url.rsplit("%3D").next().unwrap();
    for table in &tables {
        assert_eq!(rows(table), APPS, "{table}");
        let there = PostgresServer::shared().sql(&format!("SELECT count(*) FROM {schema}.{table}"));
        assert_eq!(there, format!("{APPS};"), "{table}");
    }
    let last = "SELECT introduction, owner IS NULL, fields FROM";
    let last = PostgresServer::shared().sql(&format!("{last} {schema}.chat_groups WHERE app_id = {APPS}"));
    assert_eq!(last, "täxt 2500|t|\\x00ff32353030;");

    let target = PgLedger::open(&server(&url)).unwrap();
    let (theirs, ours) = (everything(&target), everything(&ledger));
    assert_eq!(theirs.len(), ours.len());
    for (theirs, ours) in theirs.iter().zip(&ours) {
        assert_eq!(theirs, ours);
    }
    // Keys are known, numbers go on, and new names get new ids.
    let again = target.commit(&Batch { appends: vec![append(3_999)], ..Batch::default() }).unwrap();
    assert!(again.appended[0].duplicate);
    let new = Append { conv: ConvKey::group(AppId(1), "new").unwrap(), ..append(50_000) };
    let sent = target.commit(&Batch { appends: vec![new, append(50_001)], ..Batch::default() }).unwrap();
    assert_eq!(sent.appended[0].seq, 1);
    let next = Batch { appends: vec![append(50_001)], ..Batch::default() };
    assert_eq!(sent.appended[1].seq, ledger.commit(&next).unwrap().appended[0].seq);
    let directory = PgDirectory::postgres(&server(&url)).unwrap();
    let event = PendingEvent { id: [1; 16], app: AppId(1), time_ms: 1, body: Bytes::from_static(b"event") };
    directory.write_people(&mut |tx| tx.add_events(std::slice::from_ref(&event))).unwrap();
    let number = format!("SELECT max(number) FROM {schema}.pending_events");
    assert_eq!(PostgresServer::shared().sql(&number), format!("{};", APPS + 1));

    let refused = copy(dir.path(), &ledger, &url, usize::MAX).unwrap_err().to_string();
    assert!(refused.contains("complete copy"), "{refused}");
}

#[test]
fn what_is_not_empty_or_has_changed_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let ledger = fill(dir.path());
    let used = PostgresServer::shared().fresh();
    let other = PgLedger::open(&server(&used)).unwrap();
    other.commit(&Batch { appends: vec![append(1)], ..Batch::default() }).unwrap();
    let refused = copy(dir.path(), &ledger, &used, usize::MAX).unwrap_err().to_string();
    assert!(refused.contains("holds data already"), "{refused}");
    // And is as usable as before.
    PgLedger::open(&server(&used)).unwrap();

    let begun = PostgresServer::shared().fresh();
    assert!(matches!(copy(dir.path(), &ledger, &begun, 4), Err(TransferError::Stopped)));
    let another = tempfile::tempdir().unwrap();
    let refused = copy(another.path(), &fill(another.path()), &begun, usize::MAX).unwrap_err().to_string();
    assert!(refused.contains("another store"), "{refused}");
    ledger.commit(&Batch { appends: vec![append(60_000)], ..Batch::default() }).unwrap();
    let refused = copy(dir.path(), &ledger, &begun, usize::MAX).unwrap_err().to_string();
    assert!(refused.contains("has changed"), "{refused}");
}

#[test]
fn a_target_that_was_changed_meanwhile_does_not_pass() {
    let dir = tempfile::tempdir().unwrap();
    let ledger = fill(dir.path());
    let schema = PostgresServer::shared().fresh();
    // As far as the cursors, so that messages are written.
    assert!(matches!(copy(dir.path(), &ledger, &schema, 16), Err(TransferError::Stopped)));
    let name = schema.rsplit("%3D").next().unwrap();
    PostgresServer::shared()
        .sql(&format!("UPDATE {name}.ledger_messages SET body = 'x' WHERE seq = 200 AND conv = 1"));
    let differs = copy(dir.path(), &ledger, &schema, usize::MAX).unwrap_err().to_string();
    assert!(differs.contains("ledger_messages: conv 1, seq 200"), "{differs}");

    let more = PostgresServer::shared().fresh();
    assert!(matches!(copy(dir.path(), &ledger, &more, 16), Err(TransferError::Stopped)));
    let name = more.rsplit("%3D").next().unwrap();
    PostgresServer::shared().sql(&format!("INSERT INTO {name}.ledger_pairs VALUES ('a', 'b')"));
    let differs = copy(dir.path(), &ledger, &more, usize::MAX).unwrap_err().to_string();
    assert!(differs.contains("ledger_pairs has"), "{differs}");
}
