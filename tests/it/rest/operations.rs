//! `openconfigsvr/getappinfo`, `im_cos_msg`, `ConfigSvc`.

use std::collections::BTreeMap;

use nearport_client::media::MediaKind;
use nearport_client::{Transport, text, user};
use serde_json::{Value, json};

use super::table::{Row, matches};
use super::{BackEnd, start};
use crate::media::{begin, http, login, png, put};
use crate::node::Node;
use crate::sdk::Access;

const fn row(path: &'static str, body: &'static str, answer: &'static str) -> Row {
    Row { path, body, answer }
}

/// A URL as this server gives them out, of nothing.
const NOWHERE: &str =
    r#"{"RawURL":"https://files.example.org/v1/media/1/01890a5d-ac96-774b-bcce-b302099a8057/original"}"#;

pub(super) const ROWS: &[Row] = &[
    row("openconfigsvr/getappinfo", "{", r#"{"ErrorCode":130001}"#),
    row("openconfigsvr/getappinfo", "[]", r#"{"ErrorCode":130001}"#),
    row("openconfigsvr/getappinfo", r#"{"RequestField":"Date"}"#, r#"{"ErrorCode":130001}"#),
    row("openconfigsvr/getappinfo", r#"{"RequestField":[1]}"#, r#"{"ErrorCode":130001}"#),
    row(
        "openconfigsvr/getappinfo",
        r#"{"RequestField":["Company"]}"#,
        r#"{"ActionStatus":"OK","ErrorCode":0,"ErrorInfo":"","Result":"@array"}"#,
    ),
    row(
        "ConfigSvc/GetIPList",
        "{}",
        r#"{"ActionStatus":"OK","ErrorCode":0,"ErrorInfo":"","IPList":"@array"}"#,
    ),
    row("ConfigSvc/GetIPList", "[]", r#"{"ErrorCode":60003}"#),
    row("im_cos_msg/forbid_illegal_object", "{}", r#"{"ErrorCode":60003}"#),
    row("im_cos_msg/forbid_illegal_object", r#"{"RawURL":7}"#, r#"{"ErrorCode":60003}"#),
    row("im_cos_msg/forbid_illegal_object", NOWHERE, r#"{"ErrorCode":60003}"#),
    row("im_cos_msg/allow_banned_object", r#"{"RawURL":"https://example.org/"}"#, r#"{"ErrorCode":60003}"#),
    row("im_cos_msg/allow_banned_object", "{", r#"{"ErrorCode":60003}"#),
    row("im_cos_msg/get_cos_sig", r#"{"RawURLs":{}}"#, r#"{"ErrorCode":60003}"#),
    row("im_cos_msg/get_cos_sig", r#"{"RawURLs":[{"RawURL":"x"}]}"#, r#"{"ErrorCode":60003}"#),
    row("im_cos_msg/get_cos_sig", r#"{"RawURLs":[{"ResourceID":1}]}"#, r#"{"ErrorCode":60003}"#),
    row(
        "im_cos_msg/get_cos_sig",
        r#"{"RawURLs":[]}"#,
        r#"{"ActionStatus":"OK","ErrorCode":0,"ErrorInfo":"","PreSigURLs":[]}"#,
    ),
    row(
        "im_cos_msg/get_cos_sig",
        r#"{"RawURLs":[{"ResourceID":"-3","RawURL":"https://example.org/a.png"}]}"#,
        r#"{"ActionStatus":"OK","ErrorCode":0,"ErrorInfo":"","PreSigURLs":[{"Code":60003,"Desc":"@string","ResourceID":-3,"PreSigURL":"","Status":2}]}"#,
    ),
];

/// What is said of some URLs.
fn seen(back_end: &BackEnd, urls: &[&str]) -> Value {
    let urls = urls.iter().enumerate().map(|(id, url)| json!({ "ResourceID": id, "RawURL": url }));
    let asked = json!({ "RawURLs": urls.collect::<Vec<_>>() });
    back_end.done("im_cos_msg/get_cos_sig", &asked)["PreSigURLs"].clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_banned_file_is_served_to_nobody_until_it_is_allowed_again() {
    let (dir, mut node, back_end) = start(&[]);
    let alice = login(&node, dir.path(), "alice").await;
    let picture = png(1000, 800);
    let begun = begin(&alice, MediaKind::Image, &picture).await;
    let urls = begun.urls.clone().unwrap();
    let forms = [&*urls.url, &*urls.large_url, &*urls.thumb_url];
    let absent = |id| json!({ "Code": 0, "Desc": "@string", "ResourceID": id, "PreSigURL": "", "Status": 2 });
    let before = seen(&back_end, &[forms[0]]);
    assert!(matches(&before, &json!([absent(0)])), "{before}");
    assert_eq!(put(&begun.upload_url, "", &picture).status, 201);

    // Signed anew, whatever signature it had and wherever it was served from.
    let bare = forms[0].split('?').next().unwrap().replace("http://", "https://files.example.org/");
    let signed = seen(&back_end, &[&bare, forms[2]]);
    let good = |id| json!({ "Code": 0, "Desc": "", "ResourceID": id, "PreSigURL": "@string", "Status": 0 });
    assert!(matches(&signed, &json!([good(0), good(1)])), "{signed}");
    let signed = signed[0]["PreSigURL"].as_str().unwrap().to_owned();
    assert_eq!(http("GET", &signed, "", b"").body, picture);
    let ends_s: u64 = signed.split(['=', '&']).nth(1).unwrap().parse().unwrap();
    assert!(ends_s < urls.expires_s, "{signed}");

    let named = json!({ "RawURL": forms[2] });
    back_end.done("im_cos_msg/forbid_illegal_object", &named);
    back_end.done("im_cos_msg/forbid_illegal_object", &named);
    let none_is_served = || {
        for url in forms.into_iter().chain([&*signed]) {
            for method in ["GET", "HEAD"] {
                assert_eq!(http(method, url, "if-none-match: *\r\n", b"").status, 451, "{method} {url}");
            }
        }
        assert_eq!(http("GET", &signed, "", b"").json()["code"], "banned");
    };
    none_is_served();
    let banned = json!([{ "Code": 0, "Desc": "@string", "ResourceID": 0, "PreSigURL": "", "Status": 1 }]);
    let told = seen(&back_end, &[forms[1]]);
    assert!(matches(&told, &banned), "{told}");

    // Who is killed does not forget it.
    let api = back_end.url();
    let api = format!("api.listen={}", api.strip_prefix("http://").unwrap());
    let ports = [format!("edge.listen={}", node.edge), format!("ops.listen={}", node.ops), api];
    let again: Vec<_> = ports.iter().flat_map(|port| ["--set", port]).collect();
    node.kill();
    node = Node::start(dir.path(), &again);
    none_is_served();
    assert!(node.get("/metrics").1.contains("nearport_media_downloads_total{outcome=\"banned\"} 9"));

    back_end.done("im_cos_msg/allow_banned_object", &named);
    back_end.done("im_cos_msg/allow_banned_object", &named);
    assert_eq!(http("GET", forms[0], "", b"").body, picture);
    assert!(matches(&seen(&back_end, &[forms[1]]), &json!([good(0)])));
    let many = vec![forms[0]; 101];
    let many: Vec<_> = many.iter().map(|url| json!({ "ResourceID": 1, "RawURL": url })).collect();
    assert_eq!(back_end.call("im_cos_msg/get_cos_sig", &json!({ "RawURLs": many }))["ErrorCode"], 60003);
}

#[test]
fn callbacks_come_from_where_the_operator_says_or_where_the_routes_say() {
    let list = |back_end: &BackEnd| back_end.done("ConfigSvc/GetIPList", &json!({}))["IPList"].clone();
    let said = r#"callback.sends_from=["192.0.2.0/24", "2001:db8::7/128"]"#;
    let (_dir, _node, back_end) = start(&["--set", said]);
    assert_eq!(list(&back_end), json!(["192.0.2.0/24", "2001:db8::7/128"]));
    let (_dir, _node, back_end) = start(&["--set", "callback.url=http://127.0.0.1:9/"]);
    assert_eq!(list(&back_end), json!(["127.0.0.1"]));
}

/// Fields of the contract, all values of which are text.
const FIELDS: [&str; 32] = [
    "AppName",
    "AppId",
    "Company",
    "Date",
    "ActiveUserNum",
    "RegistUserNumOneDay",
    "RegistUserNumTotal",
    "LoginTimes",
    "LoginUserNum",
    "MaxOnlineNum",
    "UpMsgNum",
    "DownMsgNum",
    "SendMsgUserNum",
    "APNSMsgNum",
    "C2CUpMsgNum",
    "C2CDownMsgNum",
    "C2CSendMsgUserNum",
    "C2CAPNSMsgNum",
    "ChainIncrease",
    "ChainDecrease",
    "GroupUpMsgNum",
    "GroupDownMsgNum",
    "GroupSendMsgUserNum",
    "GroupAPNSMsgNum",
    "GroupSendMsgGroupNum",
    "GroupJoinGroupTimes",
    "GroupQuitGroupTimes",
    "GroupNewGroupNum",
    "GroupAllGroupNum",
    "GroupDestroyGroupNum",
    "CallBackReq",
    "CallBackRsp",
];

/// The sum of all days: a test may run over midnight. What is no number is left out.
fn sums(days: &Value) -> BTreeMap<String, u64> {
    let mut sums = BTreeMap::new();
    for day in days.as_array().unwrap() {
        for (name, value) in day.as_object().unwrap() {
            *sums.entry(name.clone()).or_default() += value.as_str().unwrap().parse::<u64>().unwrap_or(0);
        }
    }
    sums
}

#[tokio::test(flavor = "multi_thread")]
async fn what_happens_is_counted_once_over_restarts() {
    let (dir, node, back_end) = start(&[]);
    let app_info = |fields: Value| {
        let asked = json!({ "RequestField": fields });
        back_end.done("openconfigsvr/getappinfo", &asked)["Result"].clone()
    };
    let before = sums(&app_info(json!([])));
    let access = Access::of(&node, dir.path());
    let alice = access.login("alice", &[Transport::Quic]).await;
    let bob = access.login("bob", &[Transport::Quic]).await;
    for words in ["one", "two", "three"] {
        alice.send(user("bob"), text(words)).await.unwrap();
    }
    back_end.done(
        "openim/sendmsg",
        &json!({ "From_Account": "bob", "To_Account": "alice", "MsgRandom": 1, "MsgSeq": 1, "MsgTimeStamp": 9,
            "MsgBody": [{ "MsgType": "TIMTextElem", "MsgContent": { "Text": "four" } }] }),
    );
    // Twice the same, and what another system had.
    for _ in 0..2 {
        back_end.done(
            "openim/importmsg",
            &json!({ "SyncFromOldSystem": 2, "From_Account": "bob", "To_Account": "alice", "MsgRandom": 1,
                "MsgTimeStamp": 9,
                "MsgBody": [{ "MsgType": "TIMTextElem", "MsgContent": { "Text": "old" } }] }),
        );
    }
    let group = json!({ "Type": "Public", "Name": "g", "GroupId": "numbers", "Owner_Account": "alice",
        "MemberList": [{ "Member_Account": "bob" }] });
    back_end.done("group_open_http_svc/create_group", &group);
    let gone = json!({ "Type": "Public", "Name": "g", "GroupId": "gone", "Owner_Account": "alice" });
    back_end.done("group_open_http_svc/create_group", &gone);
    back_end.done("group_open_http_svc/destroy_group", &json!({ "GroupId": "gone" }));
    let carol = json!({ "Identifier": "carol" });
    back_end.done("im_open_login_svc/account_import", &carol);
    back_end.done("im_open_login_svc/account_import", &carol);
    let join = json!({ "GroupId": "numbers", "MemberList": [{ "Member_Account": "carol" }] });
    back_end.done("group_open_http_svc/add_group_member", &join);
    let say = json!({ "GroupId": "numbers", "From_Account": "bob", "Random": 5,
        "MsgBody": [{ "MsgType": "TIMTextElem", "MsgContent": { "Text": "all" } }] });
    // The second one is known.
    back_end.done("group_open_http_svc/send_group_msg", &say);
    back_end.done("group_open_http_svc/send_group_msg", &say);
    let leave = json!({ "GroupId": "numbers", "MemberToDel_Account": ["carol"] });
    back_end.done("group_open_http_svc/delete_group_member", &leave);
    let friends = json!({ "From_Account": "alice", "AddFriendItem": [{ "To_Account": "bob", "AddSource": "AddSource_Type_X" }],
        "AddType": "Add_Type_Both", "ForceAddFlags": 1 });
    back_end.done("sns/friend_add", &friends);
    let parted = json!({ "From_Account": "alice", "To_Account": ["bob"], "DeleteType": "Delete_Type_Both" });
    back_end.done("sns/friend_delete", &parted);

    let want = [
        ("ActiveUserNum", 2),
        ("RegistUserNumOneDay", 1),
        ("LoginTimes", 2),
        ("LoginUserNum", 2),
        ("MaxOnlineNum", 2),
        ("UpMsgNum", 5),
        ("DownMsgNum", 6),
        ("SendMsgUserNum", 2),
        ("C2CUpMsgNum", 4),
        ("C2CDownMsgNum", 4),
        ("C2CSendMsgUserNum", 2),
        ("ChainIncrease", 2),
        ("ChainDecrease", 2),
        ("GroupUpMsgNum", 1),
        ("GroupDownMsgNum", 2),
        ("GroupSendMsgUserNum", 1),
        ("GroupSendMsgGroupNum", 1),
        ("GroupJoinGroupTimes", 1),
        ("GroupQuitGroupTimes", 1),
        ("GroupNewGroupNum", 2),
        ("GroupDestroyGroupNum", 1),
        ("APNSMsgNum", 0),
        ("CallBackReq", 0),
    ];
    let counted = |back_end: &BackEnd| {
        let days = back_end.done("openconfigsvr/getappinfo", &json!({}))["Result"].clone();
        let after = sums(&days);
        let wrong: Vec<_> = want
            .iter()
            .map(|(name, want)| (*name, *want, after[*name] - before[*name]))
            .filter(|(_, want, got)| want != got)
            .collect();
        assert!(wrong.is_empty(), "{wrong:?}");
        days
    };
    let days = counted(&back_end);
    let days = days.as_array().unwrap();
    assert_eq!(days.len(), 30);
    for day in days {
        let day = day.as_object().unwrap();
        assert!(day.values().all(Value::is_string), "{day:?}");
        assert!(day.len() == FIELDS.len() && FIELDS.iter().all(|name| day.contains_key(*name)), "{day:?}");
    }
    assert!(days.is_sorted_by_key(|day| day["Date"].as_str().unwrap().to_owned()));
    let today = &days[29];
    assert_eq!((&today["GroupAllGroupNum"], &days[0]["GroupAllGroupNum"]), (&json!("1"), &json!("0")));
    assert_eq!(today["AppId"], back_end.app.to_string());
    // The three of the first start, and one more.
    assert_eq!(today["RegistUserNumTotal"], "4");
    assert_eq!(
        app_info(json!(["MaxOnlineNum", "Nothing"]))[29],
        json!({ "Date": today["Date"], "MaxOnlineNum": "2" })
    );

    assert!(node.get("/metrics").1.contains("nearport_numbers_lost_total 0"));
    // What was answered is in the store.
    drop((alice, bob));
    let api = back_end.url();
    let api = format!("api.listen={}", api.strip_prefix("http://").unwrap());
    let ports = [format!("edge.listen={}", node.edge), format!("ops.listen={}", node.ops), api];
    let again: Vec<_> = ports.iter().flat_map(|port| ["--set", port]).collect();
    node.kill();
    let _again = Node::start(dir.path(), &again);
    counted(&back_end);
}
