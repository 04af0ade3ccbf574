//! `nearport import`: everything that files hold stands in the store once, whatever ends the import and however often it is begun,
//! and clients and back ends read it as if it had always been there.

use std::fmt::Write as _;
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{SystemTime, UNIX_EPOCH};

use nearport_client::{HistoryRange, group, user};
use rustix::process::Signal;
use serde_json::{Value, json};

use crate::node::{Node, PROGRAM, nearport, output};
use crate::postgres_server::PostgresServer;
use crate::rest::BackEnd;
use crate::sdk::Access;

const ACCOUNTS: usize = 40;
const GROUPS: usize = 8;
const MESSAGES: usize = 20_000;
/// Kills of one import, each at work.
const KILLS: usize = 2;

fn now_s() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

fn text(text: &str) -> Value {
    json!([{ "MsgType": "TIMTextElem", "MsgContent": { "Text": text } }])
}

/// The `n`th message: every second one of a group, the others of pairs, two in each second.
fn message(n: usize, began_s: u64) -> Value {
    let (from, time_s) = (format!("u{}", n % ACCOUNTS), began_s + n as u64 / 2);
    if n.is_multiple_of(2) {
        json!({
            "kind": "group_message", "GroupId": format!("g{}", n / 2 % GROUPS), "From_Account": from, "SendTime": time_s,
            "Random": n, "MsgBody": text(&format!("say {n}")),
        })
    } else {
        json!({
            "kind": "message", "From_Account": from, "To_Account": format!("u{}", (n + 7) % ACCOUNTS), "MsgSeq": n,
            "MsgRandom": n, "MsgTimeStamp": time_s, "MsgBody": text(&format!("write {n}")),
        })
    }
}

fn lines(values: impl IntoIterator<Item = Value>) -> String {
    values.into_iter().fold(String::new(), |mut lines, value| {
        writeln!(lines, "{value}").unwrap();
        lines
    })
}

/// A directory with a file for each kind, named so that what others need comes last: the import sorts that out.
fn write_files(dir: &Path, messages: usize) {
    std::fs::create_dir(dir).unwrap();
    let began_s = now_s() - 20_000;
    let accounts = (0..ACCOUNTS)
        .map(|n| json!({ "kind": "account", "UserID": format!("u{n}"), "Nick": format!("N{n}") }));
    let groups = (0..GROUPS).map(|n| {
        json!({
            "kind": "group", "GroupId": format!("g{n}"), "Type": "Public", "Name": format!("G{n}"),
            "Owner_Account": "u0", "CreateTime": began_s - 100,
        })
    });
    let members = (0..GROUPS * ACCOUNTS).map(|n| {
        let unread = if n.is_multiple_of(ACCOUNTS) { 3 } else { 0 };
        json!({
            "kind": "member", "GroupId": format!("g{}", n / ACCOUNTS), "Member_Account": format!("u{}", n % ACCOUNTS),
            "JoinTime": began_s - 50, "UnreadMsgNum": unread,
        })
    });
    let friends = (1..ACCOUNTS).map(|n| {
        json!({
            "kind": "friend", "From_Account": "u0", "To_Account": format!("u{n}"), "AddSource": "AddSource_Type_Old",
            "Remark": format!("r{n}"), "GroupName": ["old friends"],
        })
    });
    let block = json!({ "kind": "block", "From_Account": "u1", "To_Account": "u2" });
    std::fs::write(dir.join("1-members.jsonl"), lines(members)).unwrap();
    let messages = (0..messages).map(|n| message(n, began_s));
    std::fs::write(dir.join("2-messages.jsonl"), lines(messages)).unwrap();
    let rest = json!({ "kind": "format", "version": 1, "of": "a test" });
    let rest = std::iter::once(rest).chain(groups).chain(friends).chain([block]);
    std::fs::write(dir.join("3-rest.ndjson"), lines(rest)).unwrap();
    // A blank line in front, and no end of the last one.
    std::fs::write(dir.join("4-accounts.jsonl"), format!("\n{}", lines(accounts).trim_end())).unwrap();
    std::fs::write(dir.join("notes.txt"), "not of the import").unwrap();
}

/// A data directory whose node does not run.
fn store(dir: &Path) {
    Node::start(dir, &[]).kill();
}

/// Runs an import to its end; status and report.
fn import(dir: &Path, args: &[&str]) -> (Option<i32>, Value, String) {
    let output = output(Command::new(PROGRAM).arg("import").args(args).current_dir(dir));
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    let report = serde_json::from_slice(&output.stdout).unwrap_or(Value::Null);
    (output.status.code(), report, errors)
}

/// Kills an import when it has told of so many messages.
fn import_killed_at(dir: &Path, args: &[&str], messages: u64) {
    let mut command = Command::new(PROGRAM);
    let child = command.arg("import").args(args).current_dir(dir).stdin(Stdio::null()).stdout(Stdio::null());
    let mut child = child.stderr(Stdio::piped()).spawn().unwrap();
    let told = |line: &str| {
        let count = line.strip_prefix("messages: ")?.split(' ').next()?;
        count.parse::<u64>().ok()
    };
    let mut said = String::new();
    for line in BufReader::new(child.stderr.take().unwrap()).lines().map_while(Result::ok) {
        writeln!(said, "{line}").unwrap();
        if told(&line).is_some_and(|count| count >= messages) {
            break;
        }
    }
    child.kill().unwrap();
    let status = child.wait().unwrap();
    let by = std::os::unix::process::ExitStatusExt::signal(&status);
    assert_eq!(by, Some(Signal::KILL.as_raw()), "it was at work: {said}");
}

/// What became of a kind, in the order of the report.
fn count(report: &Value, kind: &str) -> [u64; 4] {
    ["read", "stored", "repeated", "rejected"].map(|what| report["kinds"][kind][what].as_u64().unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_import_that_is_killed_goes_on_and_everything_is_there_once() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    store(dir);
    write_files(&dir.join("old"), MESSAGES);
    for kill in 1..=KILLS {
        // What it tells of is on disk; what comes behind that is not told yet.
        import_killed_at(dir, &["old"], (kill * MESSAGES / 10) as u64);
    }
    let (status, report, errors) = import(dir, &["old", "--report", "report.json"]);
    assert_eq!(status, Some(0), "{report}\n{errors}");
    let written: Value = serde_json::from_slice(&std::fs::read(dir.join("report.json")).unwrap()).unwrap();
    assert_eq!(written, report);
    assert_eq!(
        (&report["resumed"], &report["rejects"], &report["unreadable"]),
        (&json!(true), &Value::Null, &json!(0))
    );
    let half = MESSAGES as u64 / 2;
    for (kind, read) in [
        ("group_message", half),
        ("message", half),
        ("account", ACCOUNTS as u64),
        ("group", GROUPS as u64),
        ("block", 1),
    ] {
        let [seen, stored, repeated, rejected] = count(&report, kind);
        assert_eq!((seen, stored + repeated, rejected), (read, read, 0), "{kind}: {report}");
    }
    // Of each group the owner was there already.
    let [seen, stored, repeated, rejected] = count(&report, "member");
    assert_eq!((seen, stored + repeated, rejected), ((GROUPS * ACCOUNTS) as u64, seen, 0));
    let verified = &report["verification"];
    assert_eq!(verified["equal"], true, "{report}");
    let whole = [MESSAGES as u64, 0, 0, 0, 0];
    assert_eq!(
        ["messages", "repeated", "changed", "others", "differing"]
            .map(|what| verified[what].as_u64().unwrap()),
        whole
    );
    assert_eq!(verified["digest_files"], verified["digest_store"]);
    let check = nearport(dir, &["store", "check"]);
    assert!(check.status.success(), "{}", String::from_utf8_lossy(&check.stderr));
    let checked: Value = serde_json::from_slice(&check.stdout).unwrap();
    assert_eq!(checked["messages"], MESSAGES, "once each: {checked}");

    // Once more, and anew: all of it is known.
    let (status, again, errors) = import(dir, &["old", "--restart"]);
    assert_eq!(status, Some(0), "{again}\n{errors}");
    assert_eq!(count(&again, "group_message"), [half, 0, half, 0]);
    assert_eq!(count(&again, "message"), [half, 0, half, 0]);
    assert_eq!(count(&again, "account"), [ACCOUNTS as u64, 0, ACCOUNTS as u64, 0]);
    assert_eq!(count(&again, "group"), [GROUPS as u64, 0, GROUPS as u64, 0]);
    assert_eq!(again["verification"]["digest_store"], verified["digest_store"]);

    // As clients see it.
    let node = Node::start(dir, &[]);
    let access = Access::of(&node, dir);
    let client = access.login("u7", &[]).await;
    let heads = client.group_heads().await.unwrap();
    assert_eq!(heads.len(), GROUPS);
    let of_group = half / GROUPS as u64;
    for head in &heads {
        assert_eq!((head.seq, head.unread), (of_group, 0), "{head:?}");
    }
    let page = client.history(group("g3"), HistoryRange::Newest, 2).await.unwrap();
    let texts: Vec<_> = page.messages.iter().map(|message| message.text().to_string()).collect();
    let newest = MESSAGES - 2 * GROUPS + 6;
    assert_eq!(texts, [format!("say {newest}"), format!("say {}", newest - 2 * GROUPS)]);
    assert_eq!(page.head, of_group);
    // 7 writes to 14, and 14 would write to 21: only odd ones write.
    let page = client.history(user("u14"), HistoryRange::Newest, 1).await.unwrap();
    assert_eq!(
        (page.messages[0].text().to_string(), page.head),
        (format!("write {}", MESSAGES - 33), MESSAGES as u64 / ACCOUNTS as u64)
    );
    assert_eq!(client.unread_total().await.unwrap(), 0);
    client.close().await;
    // What was not read of the owner's is what the line of the owner says.
    let owner = access.login("u0", &[]).await;
    for head in owner.group_heads().await.unwrap() {
        // One of the last three of this group the owner has said.
        let own = u64::from(head.group == "g4");
        assert_eq!(head.unread, 3 - own, "{head:?}");
    }
    owner.close().await;

    // And as back ends do.
    let back_end = BackEnd::of(dir);
    let asked = json!({ "Operator_Account": "u7", "Peer_Account": "u14", "MaxCnt": 100, "MinTime": 0, "MaxTime": u32::MAX });
    let roamed = back_end.done("openim/admin_getroammsg", &asked);
    let page = roamed["MsgList"].as_array().unwrap();
    let last = page.last().unwrap();
    assert_eq!(
        (&last["From_Account"], &last["MsgBody"]),
        (&json!("u7"), &text(&format!("write {}", MESSAGES - 33)))
    );
    let asked = json!({ "GroupId": "g3", "ReqMsgNumber": 1, "ReqMsgSeq": 1 });
    let history = back_end.done("group_open_http_svc/group_msg_get_simple", &asked);
    let first = &history["RspMsgList"][0];
    assert_eq!(
        (&first["MsgSeq"], &first["From_Account"], &first["MsgBody"]),
        (&json!(1), &json!("u6"), &text("say 6"))
    );
    let friends = back_end.done("sns/friend_get", &json!({ "From_Account": "u0", "StartIndex": 0 }));
    assert_eq!(friends["UserDataItem"].as_array().unwrap().len(), ACCOUNTS - 1, "{friends}");
}

#[test]
fn what_is_not_taken_is_told_with_its_place_and_stops_a_strict_import() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    store(dir);
    let now = now_s();
    let say = |from: &str, group: &str, time_s: u64, random: u64| {
        json!({
            "kind": "group_message", "GroupId": group, "From_Account": from, "SendTime": time_s, "Random": random,
            "MsgBody": text("x"),
        })
        .to_string()
    };
    let picture = json!({
        "kind": "group_message", "GroupId": "g", "From_Account": "ann", "SendTime": now - 50, "Random": 1,
        "MsgBody": [{ "MsgType": "TIMSoundElem", "MsgContent": { "Url": "x" } }],
    });
    let write = |from: &str, to: &str, time_s: u64, random: u64| {
        json!({
            "kind": "message", "From_Account": from, "To_Account": to, "MsgRandom": random, "MsgTimeStamp": time_s,
            "MsgBody": text("x"),
        })
        .to_string()
    };
    // A line, and the code and a part of the reason with which it is not taken.
    let lines: Vec<(String, u64, &str)> = vec![
        (r#"{"kind":"account","UserID":"ann"}"#.into(), 0, ""),
        (r#"{"kind":"account","UserID":"ben","later":{"a":[1]}}"#.into(), 0, ""),
        ("   ".into(), 0, ""),
        (
            r#"{"kind":"group","GroupId":"@TGS#1OLD","Type":"Private","Name":"n","Owner_Account":"ann"}"#
                .into(),
            0,
            "",
        ),
        (
            format!(
                r#"{{"kind":"group","GroupId":"g","Type":"Public","Name":"n","Owner_Account":"ann","CreateTime":{}}}"#,
                now - 100
            ),
            0,
            "",
        ),
        (r#"{"kind":"topic"}"#.into(), 60003, "no kind \"topic\""),
        (r#"{"UserID":"cat"}"#.into(), 60003, "has no kind"),
        (r#"{"kind":"account","#.into(), 60003, "no object of JSON"),
        (
            format!(r#"{{"kind":"account","UserID":"cat","Nick":"{}"}}"#, "x".repeat(1 << 20)),
            60003,
            "more than",
        ),
        (r#"{"kind":"account"}"#.into(), 70402, "Identifier is missing"),
        (format!(r#"{{"kind":"account","UserID":"{}"}}"#, "x".repeat(33)), 70402, "the user"),
        (
            r#"{"kind":"friend","From_Account":"ann","To_Account":"dan","AddSource":"AddSource_Type_X"}"#
                .into(),
            30003,
            "",
        ),
        (r#"{"kind":"block","From_Account":"ann","To_Account":"ann"}"#.into(), 30001, ""),
        (r#"{"kind":"group","GroupId":"r","Type":"AVChatRoom","Name":"n"}"#.into(), 10007, "not imported"),
        (r#"{"kind":"group","GroupId":"g","Type":"Private","Name":"n"}"#.into(), 10021, "taken"),
        (r#"{"kind":"group","Type":"Public","Name":"n"}"#.into(), 10004, "GroupId"),
        (say("ann", "g", now - 60, 1), 0, ""),
        (say("ann", "g", now - 60, 2), 0, ""),
        (say("ann", "g", now - 60, 1), 0, ""),
        (say("ann", "g", now - 61, 3), 10004, "older than the newest"),
        (say("ann", "g", now - 200, 3), 10004, "before the group was made"),
        (say("ann", "g", now + 200, 3), 10004, "in the future"),
        (say("cat", "g", now - 40, 3), 10004, "From_Account is not registered"),
        (say("ann", "h", now - 40, 3), 10010, ""),
        (picture.to_string(), 10004, "text, faces"),
        (write("ann", "ben", now - 60, 1), 0, ""),
        (write("ben", "ann", now - 60, 1), 0, ""),
        (write("ben", "ann", now - 61, 1), 10004, "older than the newest"),
        (write("ann", "cat", now - 60, 1), 20003, "To_Account is not registered"),
        (write("ann", "ben", now + 200, 1), 20003, "in the future"),
        (r#"{"kind":"member","GroupId":"g","Member_Account":"ben","UnreadMsgNum":1}"#.into(), 0, ""),
        (r#"{"kind":"member","GroupId":"g","Member_Account":"cat"}"#.into(), 10004, "not registered"),
        (
            format!(r#"{{"kind":"member","GroupId":"g","Member_Account":"ben","JoinTime":{}}}"#, now + 200),
            0,
            "",
        ),
        (r#"{"kind":"member","GroupId":"h","Member_Account":"ben"}"#.into(), 10010, ""),
        (r#"{"kind":"member","GroupId":"g","Member_Account":"ben","Role":"King"}"#.into(), 10004, "Role"),
    ];
    let file: String = lines.iter().map(|(line, _, _)| format!("{line}\n")).collect();
    std::fs::write(dir.join("old.jsonl"), file).unwrap();

    let (status, report, errors) = import(dir, &["old.jsonl", "--strict"]);
    assert_eq!((status, report), (Some(1), Value::Null));
    assert!(errors.contains("old.jsonl, line 6, byte "), "{errors}");

    let (status, report, errors) = import(dir, &["old.jsonl", "--rejects", "rejects.jsonl"]);
    assert_eq!(status, Some(0), "{report}\n{errors}");
    assert_eq!((&report["unreadable"], &report["rejects"]), (&json!(4), &json!("rejects.jsonl")));
    assert_eq!(report["verification"]["equal"], true, "{report}");
    assert_eq!(count(&report, "group_message"), [9, 2, 1, 6]);
    assert_eq!(count(&report, "message"), [5, 1, 1, 3]);
    let rejects = std::fs::read_to_string(dir.join("rejects.jsonl")).unwrap();
    let mut rejects: Vec<Value> = rejects.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    rejects.sort_by_key(|row| row["line"].as_u64());
    let wanted: Vec<_> = lines.iter().enumerate().filter(|(_, (_, code, _))| *code > 0).collect();
    assert_eq!(rejects.len(), wanted.len(), "{rejects:?}");
    let begins = |at: usize| lines[..at].iter().map(|(line, _, _)| line.len() + 1).sum::<usize>() as u64;
    for (row, (at, (line, code, reason))) in rejects.iter().zip(wanted) {
        assert_eq!(
            (row["line"].as_u64(), row["byte"].as_u64()),
            (Some(at as u64 + 1), Some(begins(at))),
            "{row}"
        );
        assert_eq!(row["code"].as_u64(), Some(*code), "{row}");
        assert!(row["reason"].as_str().unwrap().contains(reason), "{row}");
        let text = row["text"].as_str().unwrap();
        assert!(line.starts_with(text) && (text.len() == line.len() || text.len() == 1000), "{row}");
    }

    // The same again is done already, and only verifies.
    let (status, report, errors) = import(dir, &["old.jsonl", "--rejects", "rejects.jsonl"]);
    assert_eq!(
        (status, &report["resumed"], &report["messages"]),
        (Some(0), &json!(true), &json!(0)),
        "{errors}"
    );
    // A file that has changed since is no longer the one of this import.
    std::fs::write(dir.join("old.jsonl"), r#"{"kind":"account","UserID":"eve"}"#).unwrap();
    let (status, _, errors) = import(dir, &["old.jsonl", "--rejects", "rejects.jsonl"]);
    assert_eq!(status, Some(1));
    assert!(errors.contains("has changed since this import began"), "{errors}");
    let (status, report, errors) = import(dir, &["old.jsonl", "--restart"]);
    assert_eq!((status, count(&report, "account")), (Some(0), [1, 1, 0, 0]), "{errors}");
    std::fs::write(dir.join("later.jsonl"), r#"{"kind":"format","version":2}"#).unwrap();
    let (status, _, errors) = import(dir, &["later.jsonl"]);
    assert_eq!(status, Some(1));
    assert!(errors.contains("another version"), "{errors}");
}

#[test]
fn two_messages_of_one_key_are_told_apart_by_the_verification() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    store(dir);
    let time_s = now_s() - 60;
    let say = |words: &str| {
        json!({
            "kind": "message", "From_Account": "alice", "To_Account": "bob", "MsgRandom": 7, "MsgTimeStamp": time_s,
            "MsgBody": text(words),
        })
    };
    std::fs::write(dir.join("old.jsonl"), lines([say("one"), say("one"), say("two")])).unwrap();
    let (status, report, errors) = import(dir, &["old.jsonl"]);
    assert_eq!((status, count(&report, "message")), (Some(1), [3, 1, 2, 0]), "{errors}");
    let verified = &report["verification"];
    assert_eq!(
        (&verified["equal"], &verified["differing"], &verified["repeated"]),
        (&json!(false), &json!(1), &json!(2))
    );
    let difference = &verified["differences"][0];
    assert_eq!((&difference["conversation"], &difference["conflicts"]), (&json!("alice and bob"), &json!(1)));
    assert!(errors.contains("1 conversations differ"), "{errors}");
}

#[test]
fn a_store_in_postgresql_takes_an_import_too_and_a_running_node_keeps_its_store() {
    let database = PostgresServer::start();
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let url = format!("storage.postgres.url={}", database.url());
    let storage = ["--set", "storage.ledger=postgres", "--set", "storage.directory=postgres", "--set", &url];
    let node = Node::start(dir, &storage);
    write_files(&dir.join("old"), 400);
    let args = [&["old"][..], &storage].concat();
    let (status, _, errors) = import(dir, &args);
    assert_eq!(status, Some(1), "{errors}");
    node.kill();
    let (status, report, errors) = import(dir, &args);
    assert_eq!((status, &report["verification"]["equal"]), (Some(0), &json!(true)), "{report}\n{errors}");
    assert_eq!(database.sql("SELECT count(*) FROM ledger_messages"), "400;");
    assert_eq!(database.sql("SELECT count(*) FROM imports"), "1;");
}
