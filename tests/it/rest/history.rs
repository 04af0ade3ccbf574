//! `open_msg_svc/get_history`: files of what was said in an hour.

use std::io::Read as _;
use std::time::{SystemTime, UNIX_EPOCH};

use flate2::read::GzDecoder;
use md5::{Digest as _, Md5};
use serde_json::{Value, json};

use super::table::{Row, matches};
use super::{BackEnd, start};
use crate::media::http;
use crate::node::{Node, STUCK};

const fn row(path: &'static str, body: &'static str, answer: &'static str) -> Row {
    Row { path, body, answer }
}

const PATH: &str = "open_msg_svc/get_history";

pub(super) const ROWS: &[Row] = &[
    row(PATH, "{", r#"{"ErrorCode":1001}"#),
    row(PATH, "[]", r#"{"ErrorCode":1001}"#),
    row(PATH, r#"{"MsgTime":"2015120121"}"#, r#"{"ErrorCode":1002}"#),
    row(PATH, r#"{"ChatType":"Room","MsgTime":"2015120121"}"#, r#"{"ErrorCode":1002}"#),
    row(PATH, r#"{"ChatType":"C2C"}"#, r#"{"ErrorCode":1002}"#),
    row(PATH, r#"{"ChatType":"C2C","MsgTime":2015120121}"#, r#"{"ErrorCode":1002}"#),
    row(PATH, r#"{"ChatType":"C2C","MsgTime":"2015120124"}"#, r#"{"ErrorCode":1002}"#),
    row(PATH, r#"{"ChatType":"C2C","MsgTime":"2015120121"}"#, r#"{"ErrorCode":1005}"#),
    row(PATH, r#"{"ChatType":"Group","MsgTime":"2115120121"}"#, r#"{"ErrorCode":1004}"#),
];

/// The name of an hour, by a way of its own.
fn name(hour: u64) -> String {
    let date = httpdate::fmt_http_date(UNIX_EPOCH + std::time::Duration::from_secs(hour * 3600));
    let parts: Vec<_> = date.split([' ', ':']).collect();
    let months = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let month = 1 + months.iter().position(|month| *month == parts[2]).unwrap();
    format!("{}{month:02}{}{}", parts[3], parts[1], parts[4])
}

fn text(text: &str) -> Value {
    json!([{ "MsgType": "TIMTextElem", "MsgContent": { "Text": text } }])
}

/// Asks until there is a file.
fn file(back_end: &BackEnd, chat_type: &str, hour: u64) -> Value {
    let begun = std::time::Instant::now();
    loop {
        let asked = json!({ "ChatType": chat_type, "MsgTime": name(hour) });
        let mut answer = back_end.call(PATH, &asked);
        match answer["ErrorCode"].as_u64() {
            Some(0) => {
                let files = answer["File"].as_array_mut().unwrap();
                assert_eq!(files.len(), 1, "{files:?}");
                return files.remove(0);
            }
            Some(1004) if begun.elapsed() < STUCK => std::thread::yield_now(),
            _ => panic!("{answer}"),
        }
    }
}

/// What a file says of itself is so; its text.
fn download(file: &Value) -> String {
    let shape = json!({ "URL": "@string", "ExpireTime": "@string", "FileSize": "@int", "FileMD5": "@string",
        "GzipSize": "@int", "GzipMD5": "@string" });
    assert!(matches(file, &shape), "{file}");
    let answer = http("GET", file["URL"].as_str().unwrap(), "", b"");
    assert_eq!(answer.status, 200);
    assert_eq!(answer.body.len() as u64, file["GzipSize"].as_u64().unwrap());
    let mut text = String::new();
    GzDecoder::new(&answer.body[..]).read_to_string(&mut text).unwrap();
    assert_eq!(text.len() as u64, file["FileSize"].as_u64().unwrap());
    let md5 =
        |octets: &[u8]| Md5::digest(octets).iter().map(|octet| format!("{octet:02x}")).collect::<String>();
    assert_eq!(file["FileMD5"], md5(text.as_bytes()));
    assert_eq!(file["GzipMD5"], md5(&answer.body));
    text
}

#[test]
fn an_hour_is_a_file_of_lines_which_a_kill_neither_loses_nor_doubles() {
    // Nothing is made while what was said is brought in.
    let args = ["--set", "chat.history_files=false", "--set", "rest.command_rates=false"];
    let (dir, mut node, back_end) = start(&args);
    let now_s = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let hour = now_s / 3600 - 3;
    let at_s = hour * 3600;
    back_end.done("im_open_login_svc/multiaccount_import", &json!({ "Accounts": ["hist-ann", "hist-ben"] }));
    for (from, to, seq, time_s, said) in [
        ("hist-ann", "hist-ben", 1, at_s - 1, "before"),
        ("hist-ann", "hist-ben", 2, at_s, "first"),
        ("hist-ben", "hist-ann", 3, at_s + 3599, "\u{fc}ber\n\"last\""),
        ("hist-ann", "hist-ben", 4, at_s + 3600, "after"),
    ] {
        let message = json!({ "SyncFromOldSystem": 2, "From_Account": from, "To_Account": to, "MsgSeq": seq,
            "MsgRandom": 7, "MsgTimeStamp": time_s, "MsgBody": text(said) });
        back_end.done("openim/importmsg", &message);
    }
    let group = json!({ "Type": "Public", "Name": "Old", "GroupId": "hist", "Owner_Account": "hist-ann",
        "CreateTime": at_s - 100 });
    back_end.done("group_open_http_svc/import_group", &group);
    let messages = json!({ "GroupId": "hist", "MsgList": [
        { "From_Account": "hist-ann", "SendTime": at_s + 1, "Random": 8, "MsgBody": text("to all") }] });
    back_end.done("group_open_http_svc/import_group_msg", &messages);
    let none = json!({ "ChatType": "C2C", "MsgTime": name(hour) });
    assert_eq!(back_end.call(PATH, &none)["ErrorCode"], 1004);

    node.kill();
    node = Node::start(dir.path(), &["--set", "rest.command_rates=false"]);
    let back_end = BackEnd::of(dir.path());
    let pairs = file(&back_end, "C2C", hour);
    let (app, hour_name) = (back_end.app, name(hour));
    let want = [
        format!(r#"{{"SdkAppId":{app},"ChatType":"C2C","MsgTime":"{hour_name}","MsgList":["#),
        format!(
            r#"{{"From_Account":"hist-ann","To_Account":"hist-ben","MsgTimestamp":{at_s},"MsgSeq":2,"MsgRandom":7,"MsgBody":{}}},"#,
            text("first")
        ),
        format!(
            r#"{{"From_Account":"hist-ben","To_Account":"hist-ann","MsgTimestamp":{},"MsgSeq":3,"MsgRandom":7,"MsgBody":{}}}"#,
            at_s + 3599,
            text("\u{fc}ber\n\"last\"")
        ),
        "]}".to_owned(),
    ];
    let lines = download(&pairs);
    let same = |(line, want): (&str, &String)| {
        let json = |text: &str| serde_json::from_str::<Value>(text.trim_end_matches(',')).ok();
        // The order of fields in what is inside of a message is nobody's business.
        line == want
            || line.ends_with(',') == want.ends_with(',') && json(line).is_some() && json(line) == json(want)
    };
    assert_eq!(lines.lines().count(), want.len(), "{lines}");
    assert!(lines.lines().zip(&want).all(same), "{lines}\n{want:#?}");
    let whole: Value = serde_json::from_str(&lines).unwrap();
    assert_eq!(whole["MsgList"].as_array().unwrap().len(), 2);
    let groups: Value = serde_json::from_str(&download(&file(&back_end, "Group", hour))).unwrap();
    let said = json!([{ "From_Account": "hist-ann", "GroupId": "hist", "MsgTimestamp": at_s + 1, "MsgSeq": "@int",
        "MsgBody": text("to all") }]);
    assert!(matches(&groups["MsgList"], &said), "{groups}");
    assert_eq!(groups["ChatType"], "Group");
    for (at, words) in [(hour - 1, "before"), (hour + 1, "after")] {
        let whole: Value = serde_json::from_str(&download(&file(&back_end, "C2C", at))).unwrap();
        assert_eq!(whole["MsgList"][0]["MsgBody"], text(words));
    }

    // The next process knows it, and makes it not again.
    node.kill();
    let _node = Node::start(dir.path(), &["--set", "rest.command_rates=false"]);
    let back_end = BackEnd::of(dir.path());
    let again = file(&back_end, "C2C", hour);
    assert_eq!((&again["GzipMD5"], &again["FileSize"]), (&pairs["GzipMD5"], &pairs["FileSize"]));
    assert_eq!(download(&again), lines);
}
