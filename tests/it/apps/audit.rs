//! The audit log: what is in it, that a forged one is found, and that a killed process leaves a whole one.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use serde_json::{Value, json};

use super::Stage;
use crate::node::{Node, metric, nearport};
use crate::rest::BackEnd;

const IMPORT: &str = "im_open_login_svc/account_import";

fn db(dir: &Path) -> PathBuf {
    dir.join("data/directory.db")
}

/// Changes the store as somebody with the file does.
fn forge(dir: &Path, sql: &str) -> usize {
    rusqlite::Connection::open(db(dir)).unwrap().execute(sql, []).unwrap()
}

fn verify(dir: &Path, args: &[&str]) -> Result<Value, String> {
    let output = nearport(dir, &[&["audit", "verify"], args].concat());
    match output.status.code() {
        Some(0) => Ok(serde_json::from_slice(&output.stdout).unwrap()),
        Some(1) => Err(String::from_utf8(output.stderr).unwrap()),
        _ => panic!("{output:?}"),
    }
}

#[test]
fn acts_are_in_the_log_with_who_from_where_and_how_it_went() {
    let stage = Stage::start(&[]);
    let back_end = &stage.back_end;
    back_end.done(IMPORT, &json!({ "UserID": "ann" }));
    assert_eq!(back_end.call("im_open_login_svc/kick", &json!({ "UserID": "nobody" }))["ErrorCode"], 70107);
    // Not in it: a question, and what was sent, which is counted.
    back_end.done("im_open_login_svc/account_check", &json!({ "CheckItem": [{ "UserID": "ann" }] }));
    let message = json!({ "From_Account": "alice", "To_Account": "bob", "MsgRandom": 1,
        "MsgBody": [{ "MsgType": "TIMTextElem", "MsgContent": { "Text": "a secret text" } }] });
    for _ in 0..3 {
        back_end.done("openim/sendmsg", &message);
    }
    // Refused at the door, of an App and of nobody's; the first ones by themselves, a flood as a count.
    let bad = |app: &str, user: &str| format!("sdkappid={app}&identifier={user}&usersig=x");
    for n in 0..40 {
        back_end.ask(IMPORT, &bad(&stage.app, &format!("eve{n}")), "{}");
        back_end.ask(IMPORT, &bad("77", &format!("mallory{n}")), "{}");
    }
    let alice = back_end.usersig("alice");
    let query = format!("sdkappid={}&identifier=alice&usersig={alice}", stage.app);
    assert_eq!(back_end.ask(IMPORT, &query, "{}")["ErrorCode"], 70403);

    let records = stage.exported(&[]);
    let of = |act: &str| -> Vec<&Value> { records.iter().filter(|record| record["act"] == act).collect() };
    let import = of("rest im_open_login_svc/account_import");
    assert_eq!(import.len(), 1, "{records:?}");
    assert_eq!(import[0]["detail"]["digest"].as_str().unwrap().len(), 64);
    assert_eq!(
        (&import[0]["who"], &import[0]["from"], &import[0]["code"], import[0]["app"].to_string()),
        (&json!("administrator"), &json!("127.0.0.1"), &json!(0), stage.app.clone())
    );
    assert_eq!(of("rest im_open_login_svc/kick")[0]["code"], 70107);
    assert!(of("rest im_open_login_svc/account_check").is_empty());
    let refused = of("rest login refused");
    // Ten of each; more where the minute has turned meanwhile.
    let of_app = refused.iter().filter(|record| record["app"] == back_end.app).count();
    let of_nobody = refused.iter().filter(|record| record["app"] == 0).count();
    assert!((10..=20).contains(&of_app) && (10..=20).contains(&of_nobody), "{of_app} {of_nobody}");
    assert!(metric(&stage.node, "nearport_audit_folded_total") >= 44);
    assert!(!json!(records).to_string().contains("a secret text"));
    assert_eq!(stage.exported(&["--app", "77"]).len(), 0);
    assert_eq!(stage.exported(&["--to", "1000"]).len(), 0);
    assert_eq!(
        stage.exported(&["--from", "1000", "--app", &stage.app]).len(),
        records.len() - refused.len() + 10
    );
    verify(stage.dir.path(), &[]).unwrap();

    // The counts are records when the process ends, or the minute.
    let Stage { dir, node, .. } = stage;
    node.signal(rustix::process::Signal::TERM);
    assert!(node.wait().success());
    let output = nearport(dir.path(), &["audit", "export"]);
    let text = String::from_utf8(output.stdout).unwrap();
    // A record stands for itself, or for as many as it counts.
    let told = |act: &str| -> u64 {
        let lines = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        let of = lines.filter(|record| record["act"] == act);
        of.map(|record| record["detail"]["count"].as_str().map_or(1, |count| count.parse::<u64>().unwrap()))
            .sum()
    };
    assert_eq!(told("rest openim/sendmsg"), 3);
    assert_eq!(told("rest login refused"), 81, "none is forgotten");
    verify(dir.path(), &[]).unwrap();
}

#[test]
fn messages_have_records_where_it_is_said_so() {
    let stage = Stage::start(&["--set", "audit.messages=true"]);
    let message = json!({ "From_Account": "alice", "To_Account": "bob", "MsgRandom": 1,
        "MsgBody": [{ "MsgType": "TIMTextElem", "MsgContent": { "Text": "a secret text" } }] });
    stage.back_end.done("openim/sendmsg", &message);
    let records = stage.exported(&[]);
    assert_eq!(records.iter().filter(|record| record["act"] == "rest openim/sendmsg").count(), 1);
    assert!(!json!(records).to_string().contains("a secret text"));
}

#[test]
fn a_forged_log_is_not_whole() {
    let stage = Stage::start(&[]);
    for n in 0..20 {
        stage.back_end.done(IMPORT, &json!({ "UserID": format!("u{n}") }));
    }
    let dir = stage.dir.path();
    let whole = verify(dir, &[]).unwrap();
    let head = whole["head"].as_str().unwrap().to_owned();
    assert_eq!(whole["records"], 20);
    verify(dir, &["--noted", &head]).unwrap();
    // Each is done to the whole log, found, and taken back.
    let save = "CREATE TABLE IF NOT EXISTS saved_r AS SELECT * FROM audit_records";
    forge(dir, save);
    forge(dir, "CREATE TABLE IF NOT EXISTS saved_m AS SELECT * FROM audit_marks");
    let restore = || {
        forge(dir, "DELETE FROM audit_records");
        forge(dir, "INSERT INTO audit_records SELECT * FROM saved_r");
        forge(dir, "DELETE FROM audit_marks");
        forge(dir, "INSERT INTO audit_marks SELECT * FROM saved_m");
    };
    let swap = "UPDATE audit_records SET seq = CASE seq WHEN 7 THEN 10008 ELSE 10007 END WHERE seq IN (7, 8)";
    let cases: &[(&[&str], &str)] = &[
        (
            &[
                "UPDATE audit_records SET record = CAST(replace(CAST(record AS TEXT), 'administrator', 'administratos') AS BLOB) WHERE seq = 7",
            ],
            "record 7: its text or its hash was changed",
        ),
        (
            &[
                "UPDATE audit_records SET record = CAST(replace(CAST(record AS TEXT), '127.0.0.1', '127.0.0.2') AS BLOB) WHERE seq = 20",
            ],
            "record 20: its text or its hash was changed",
        ),
        (&["UPDATE audit_records SET record = x'00' WHERE seq = 3"], "record 3: cannot be read"),
        (
            &["UPDATE audit_records SET hash = zeroblob(32) WHERE seq = 9"],
            "record 9: its text or its hash was changed",
        ),
        (
            &["UPDATE audit_records SET hash = x'00' WHERE seq = 9"],
            "record 9: its text or its hash was changed",
        ),
        (&["DELETE FROM audit_records WHERE seq = 12"], "record 12 is missing"),
        (&["DELETE FROM audit_records WHERE seq BETWEEN 5 AND 14"], "records 5 to 14 are missing"),
        (&["DELETE FROM audit_records WHERE seq < 3"], "records 1 to 2 are missing"),
        (&["DELETE FROM audit_records WHERE seq > 18"], "the end: the log is marked to end with 20:"),
        (&["DELETE FROM audit_records"], "the end: the log is marked to end with 20:"),
        (
            &[swap, "UPDATE audit_records SET seq = seq - 10000 WHERE seq > 10000"],
            "record 7: stands here and says that it is 8",
        ),
        (&["UPDATE audit_records SET seq = 21 WHERE seq = 20"], "the end"),
        (
            &[
                "DELETE FROM audit_records WHERE seq <= 4",
                "INSERT INTO audit_marks SELECT 'floor', 4, hash FROM saved_r WHERE seq = 4",
            ],
            "the beginning: records up to 4 are gone and no record says so",
        ),
        (&["UPDATE audit_marks SET seq = 19"], "the end"),
    ];
    for (statements, told) in cases {
        for sql in *statements {
            assert!(forge(dir, sql) > 0, "{sql}");
        }
        let error = verify(dir, &[]).unwrap_err();
        assert!(error.contains(told), "{statements:?}: {error}");
        restore();
        verify(dir, &[]).unwrap();
    }
    // The end cut off with its mark: only who has noted it knows.
    forge(dir, "DELETE FROM audit_records WHERE seq > 15");
    forge(dir, "UPDATE audit_marks SET seq = 15, hash = (SELECT hash FROM audit_records WHERE seq = 15)");
    verify(dir, &[]).unwrap();
    let error = verify(dir, &["--noted", &head]).unwrap_err();
    assert!(error.contains("record 20: is not the one that was noted"), "{error}");
    restore();
    let forged = format!("20:{}", "0".repeat(64));
    assert!(verify(dir, &["--noted", &forged]).is_err());
    assert_eq!(nearport(dir, &["audit", "verify", "--noted", "20"]).status.code(), Some(2));
    // What goes on is behind what was there.
    stage.back_end.done(IMPORT, &json!({ "UserID": "later" }));
    verify(dir, &["--noted", &head]).unwrap();
}

/// Back ends act at once while the process is killed: what was acknowledged is in the log, and the log is whole.
#[test]
fn a_killed_process_leaves_a_whole_log_with_all_that_was_acknowledged() {
    let rates = ["--set", "rest.command_rates=false"];
    let Stage { dir, mut node, back_end, .. } = Stage::start(&rates);
    let mut acknowledged = 0;
    for round in 0..3 {
        let acting = BackEnd::of(dir.path());
        let (done, stop) = (AtomicU64::new(0), AtomicBool::new(false));
        std::thread::scope(|scope| {
            for thread in 0..4 {
                let (acting, done, stop) = (&acting, &done, &stop);
                scope.spawn(move || {
                    for n in 0.. {
                        let body = json!({ "UserID": format!("r{round}t{thread}n{n}") });
                        let target = format!("/v4/{IMPORT}?{}", acting.query());
                        match acting.try_post(&target, body.to_string().as_bytes()) {
                            Some(answer) if answer.contains("\"ErrorCode\":0") => {
                                done.fetch_add(1, Ordering::Relaxed);
                            }
                            _ => return,
                        }
                        if stop.load(Ordering::Relaxed) {
                            return;
                        }
                    }
                });
            }
            while done.load(Ordering::Relaxed) < 50 {
                std::thread::yield_now();
            }
            node.signal(rustix::process::Signal::KILL);
            stop.store(true, Ordering::Relaxed);
        });
        acknowledged += done.load(Ordering::Relaxed);
        drop(node);
        verify(dir.path(), &[]).unwrap();
        let output = nearport(dir.path(), &["audit", "export"]);
        let text = String::from_utf8(output.stdout).unwrap();
        let kept = text.lines().filter(|line| line.contains(IMPORT) && line.contains("\"code\":0")).count();
        assert!(kept as u64 >= acknowledged, "{kept} records of {acknowledged} acts");
        node = Node::start(dir.path(), &rates);
    }
    drop(back_end);
    verify(dir.path(), &[]).unwrap();
}
