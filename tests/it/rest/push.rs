//! `all_member_push`, and the same under `openim`.

use nearport_client::{Event, Transport};
use nearport_wire::body::target::Target;
use rustix::process::Signal;
use serde_json::{Value, json};

use super::table::{Row, matches};
use super::{BackEnd, start};
use crate::node::{Node, nearport};
use crate::sdk::{Access, message, next};

const fn row(path: &'static str, body: &'static str, answer: &'static str) -> Row {
    Row { path, body, answer }
}

const PUSHED: &str = r#"{"ActionStatus":"OK","ErrorCode":0,"ErrorInfo":"","TaskId":"@string"}"#;

const DONE: &str = r#"{"ActionStatus":"OK","ErrorCode":0,"ErrorInfo":""}"#;

pub(super) const ROWS: &[Row] = &[
    row(
        "im_open_login_svc/multiaccount_import",
        r#"{"Accounts":["push-ann","push-bob"]}"#,
        r#"{"ActionStatus":"OK","ErrorCode":0,"ErrorInfo":"","FailAccounts":[]}"#,
    ),
    // Names of attributes.
    row(
        "all_member_push/im_get_attr_name",
        "{}",
        r#"{"ActionStatus":"OK","ErrorCode":0,"ErrorInfo":"","AttrNames":{}}"#,
    ),
    row("all_member_push/im_set_attr_name", r#"{"AttrNames":{"0":"sex","1":"city"}}"#, DONE),
    row("openim/im_set_attr_name", r#"{"AttrNames":{"9":"country","0":"gender"}}"#, DONE),
    row(
        "openim/im_get_attr_name",
        "{}",
        r#"{"ActionStatus":"OK","ErrorCode":0,"ErrorInfo":"","AttrNames":{"0":"gender","1":"city","9":"country"}}"#,
    ),
    row("all_member_push/im_set_attr_name", r#"{"AttrNames":{"2":"city"}}"#, r#"{"ErrorCode":90033}"#),
    row("all_member_push/im_set_attr_name", r#"{"AttrNames":{"10":"x"}}"#, r#"{"ErrorCode":90033}"#),
    row("all_member_push/im_set_attr_name", r#"{"AttrNames":{"00":"x"}}"#, r#"{"ErrorCode":90033}"#),
    row("all_member_push/im_set_attr_name", r#"{"AttrNames":{"2":""}}"#, r#"{"ErrorCode":90030}"#),
    row("all_member_push/im_set_attr_name", r#"{"AttrNames":{"2":7}}"#, r#"{"ErrorCode":90001}"#),
    row("all_member_push/im_set_attr_name", "{}", r#"{"ErrorCode":90001}"#),
    row("all_member_push/im_set_attr_name", "[]", r#"{"ErrorCode":90001}"#),
    // Attributes.
    row(
        "all_member_push/im_set_attr",
        r#"{"UserAttrs":[{"To_Account":"push-ann","Attrs":{"gender":"f","city":"oslo"}},{"To_Account":"push-bob","Attrs":{"city":"rome"}}]}"#,
        DONE,
    ),
    row(
        "openim/im_set_attr",
        r#"{"UserAttrs":[{"To_Account":"push-bob","Attrs":{"country":"it"}},{"To_Account":"push-bob","Attrs":{"country":"va"}}]}"#,
        DONE,
    ),
    row(
        "all_member_push/im_get_attr",
        r#"{"To_Account":["push-bob","push-ann"]}"#,
        r#"{"ActionStatus":"OK","ErrorCode":0,"ErrorInfo":"","UserAttrs":[{"To_Account":"push-bob","Attrs":{"city":"rome","country":"va"}},{"To_Account":"push-ann","Attrs":{"city":"oslo","gender":"f"}}]}"#,
    ),
    row(
        "openim/im_get_attr",
        r#"{"To_Account":["push-ann"]}"#,
        r#"{"ActionStatus":"OK","ErrorCode":0,"ErrorInfo":"","UserAttrs":[{"To_Account":"push-ann","Attrs":{"city":"oslo","gender":"f"}}]}"#,
    ),
    row(
        "all_member_push/im_set_attr",
        r#"{"UserAttrs":[{"To_Account":"push-ann","Attrs":{"city":"kyiv"}},{"To_Account":"push-bob","Attrs":{"sex":"m"}}]}"#,
        r#"{"ErrorCode":90033}"#,
    ),
    row(
        "all_member_push/im_set_attr",
        r#"{"UserAttrs":[{"To_Account":"push-ann","Attrs":{"city":"kyiv"}},{"To_Account":"push-nobody","Attrs":{"city":"rome"}}]}"#,
        r#"{"ErrorCode":90048}"#,
    ),
    row(
        "all_member_push/im_set_attr",
        r#"{"UserAttrs":[{"To_Account":"push-ann","Attrs":{"city":""}}]}"#,
        r#"{"ErrorCode":90030}"#,
    ),
    row(
        "all_member_push/im_set_attr",
        r#"{"UserAttrs":[{"To_Account":"push-ann","Attrs":["city"]}]}"#,
        r#"{"ErrorCode":90033}"#,
    ),
    row("all_member_push/im_set_attr", r#"{"UserAttrs":[{"Attrs":{"city":"x"}}]}"#, r#"{"ErrorCode":90001}"#),
    row("all_member_push/im_set_attr", r#"{"UserAttrs":[]}"#, r#"{"ErrorCode":90001}"#),
    row("all_member_push/im_set_attr", r#"{"UserAttrs":{}}"#, r#"{"ErrorCode":90001}"#),
    row("all_member_push/im_get_attr", r#"{"To_Account":[]}"#, r#"{"ErrorCode":90001}"#),
    row("all_member_push/im_get_attr", r#"{"To_Account":["push-nobody"]}"#, r#"{"ErrorCode":90048}"#),
    row(
        "all_member_push/im_remove_attr",
        r#"{"UserAttrs":[{"To_Account":"push-ann","Attrs":["gender","country"]}]}"#,
        DONE,
    ),
    row("openim/im_remove_attr", r#"{"UserAttrs":[{"To_Account":"push-bob","Attrs":["country"]}]}"#, DONE),
    row(
        "all_member_push/im_get_attr",
        r#"{"To_Account":["push-ann","push-bob"]}"#,
        r#"{"ActionStatus":"OK","ErrorCode":0,"ErrorInfo":"","UserAttrs":[{"To_Account":"push-ann","Attrs":{"city":"oslo"}},{"To_Account":"push-bob","Attrs":{"city":"rome"}}]}"#,
    ),
    row(
        "all_member_push/im_remove_attr",
        r#"{"UserAttrs":[{"To_Account":"push-ann","Attrs":["city","sex"]}]}"#,
        r#"{"ErrorCode":90033}"#,
    ),
    row(
        "all_member_push/im_remove_attr",
        r#"{"UserAttrs":[{"To_Account":"push-ann","Attrs":{"city":"oslo"}}]}"#,
        r#"{"ErrorCode":90033}"#,
    ),
    // Tags.
    row(
        "all_member_push/im_add_tag",
        r#"{"UserTags":[{"To_Account":"push-ann","Tags":["b","A","b"]},{"To_Account":"push-bob","Tags":["b"]}]}"#,
        DONE,
    ),
    row("openim/im_add_tag", r#"{"UserTags":[{"To_Account":"push-ann","Tags":["ü","b"]}]}"#, DONE),
    row(
        "all_member_push/im_get_tag",
        r#"{"To_Account":["push-bob","push-ann"]}"#,
        r#"{"ActionStatus":"OK","ErrorCode":0,"ErrorInfo":"","UserTags":[{"To_Account":"push-bob","Tags":["b"]},{"To_Account":"push-ann","Tags":["A","b","ü"]}]}"#,
    ),
    row(
        "all_member_push/im_add_tag",
        r#"{"UserTags":[{"To_Account":"push-bob","Tags":["c"]},{"To_Account":"push-ann","Tags":[""]}]}"#,
        r#"{"ErrorCode":90034}"#,
    ),
    row(
        "all_member_push/im_add_tag",
        r#"{"UserTags":[{"To_Account":"push-bob","Tags":["0","1","2","3","4","5","6","7","8","9","10"]}]}"#,
        r#"{"ErrorCode":90032}"#,
    ),
    row(
        "all_member_push/im_add_tag",
        r#"{"UserTags":[{"To_Account":"push-bob","Tags":["c"]},{"To_Account":"push-nobody","Tags":["c"]}]}"#,
        r#"{"ErrorCode":90048}"#,
    ),
    row(
        "all_member_push/im_add_tag",
        r#"{"UserTags":[{"To_Account":"push-bob","Tags":"c"}]}"#,
        r#"{"ErrorCode":90001}"#,
    ),
    row(
        "all_member_push/im_remove_tag",
        r#"{"UserTags":[{"To_Account":"push-ann","Tags":["b","c"]}]}"#,
        DONE,
    ),
    row(
        "openim/im_get_tag",
        r#"{"To_Account":["push-ann","push-bob"]}"#,
        r#"{"ActionStatus":"OK","ErrorCode":0,"ErrorInfo":"","UserTags":[{"To_Account":"push-ann","Tags":["A","ü"]},{"To_Account":"push-bob","Tags":["b"]}]}"#,
    ),
    row("openim/im_remove_tag", r#"{"UserTags":[{"To_Account":"push-ann","Tags":["A"]}]}"#, DONE),
    row("all_member_push/im_remove_tag", r#"{"UserTags":[]}"#, r#"{"ErrorCode":90001}"#),
    row("all_member_push/im_remove_all_tags", r#"{"To_Account":["push-ann"]}"#, DONE),
    row(
        "all_member_push/im_get_tag",
        r#"{"To_Account":["push-ann","push-bob"]}"#,
        r#"{"ActionStatus":"OK","ErrorCode":0,"ErrorInfo":"","UserTags":[{"To_Account":"push-ann","Tags":[]},{"To_Account":"push-bob","Tags":["b"]}]}"#,
    ),
    row("openim/im_remove_all_tags", r#"{"To_Account":["push-bob","push-ann"]}"#, DONE),
    row("all_member_push/im_remove_all_tags", r#"{"To_Account":["push-nobody"]}"#, r#"{"ErrorCode":90048}"#),
    row("all_member_push/im_remove_all_tags", "{}", r#"{"ErrorCode":90001}"#),
    // Off unless it is switched on.
    row(
        "all_member_push/im_push",
        r#"{"MsgRandom":1,"MsgBody":[{"MsgType":"TIMTextElem","MsgContent":{"Text":"hi"}}]}"#,
        r#"{"ErrorCode":90045}"#,
    ),
    row(
        "openim/im_push",
        r#"{"MsgRandom":1,"MsgBody":[{"MsgType":"TIMTextElem","MsgContent":{"Text":"hi"}}]}"#,
        r#"{"ErrorCode":90045}"#,
    ),
    row("all_member_push/im_push", "{", r#"{"ErrorCode":90001}"#),
    row("all_member_push/im_nothing", "{}", r#"{"ErrorCode":60009}"#),
];

/// The code of an answer.
fn code(back_end: &BackEnd, path: &str, body: &Value) -> u64 {
    back_end.call(path, body)["ErrorCode"].as_u64().unwrap()
}

#[test]
fn tags_and_attributes_have_limits_at_the_byte_and_the_item_and_go_with_their_account() {
    let (_dir, _node, back_end) = start(&[]);
    let users: Vec<_> = (0..101).map(|n| format!("user{n}")).collect();
    back_end.done("im_open_login_svc/multiaccount_import", &json!({"Accounts": users[..100]}));
    back_end.done("im_open_login_svc/account_import", &json!({"UserID": users[100]}));

    // 50 bytes, and 51.
    let (fits, long) = ("ö".repeat(25), format!("{}x", "ö".repeat(25)));
    for (text, name, tag) in [(&fits, 0, 0), (&long, 90030, 90034)] {
        let names = json!({"AttrNames": {"3": text}});
        assert_eq!(code(&back_end, "all_member_push/im_set_attr_name", &names), name, "{text}");
        let attrs = json!({"UserAttrs": [{"To_Account": "user0", "Attrs": {&fits: text}}]});
        assert_eq!(code(&back_end, "all_member_push/im_set_attr", &attrs), name, "{text}");
        let tags = json!({"UserTags": [{"To_Account": "user0", "Tags": [text]}]});
        assert_eq!(code(&back_end, "all_member_push/im_add_tag", &tags), tag, "{text}");
    }
    let zero = json!({"UserTags": [{"To_Account": "user0", "Tags": ["a\u{0}b"]}]});
    assert_eq!(code(&back_end, "all_member_push/im_add_tag", &zero), 90034);

    // 100 users, and 101.
    for (count, want) in [(100, 0), (101, 90018)] {
        let users = &users[..count];
        let tags: Vec<_> = users.iter().map(|user| json!({"To_Account": user, "Tags": ["all"]})).collect();
        let attrs: Vec<_> =
            users.iter().map(|user| json!({"To_Account": user, "Attrs": {&fits: "all"}})).collect();
        let names: Vec<_> = users.iter().map(|user| json!({"To_Account": user, "Attrs": [fits]})).collect();
        for (command, body) in [
            ("im_add_tag", json!({"UserTags": tags})),
            ("im_set_attr", json!({"UserAttrs": attrs})),
            ("im_get_tag", json!({"To_Account": users})),
            ("im_get_attr", json!({"To_Account": users})),
            ("im_remove_attr", json!({"UserAttrs": names})),
            ("im_remove_tag", json!({"UserTags": tags})),
            ("im_remove_all_tags", json!({"To_Account": users})),
        ] {
            assert_eq!(code(&back_end, &format!("all_member_push/{command}"), &body), want, "{command}");
        }
    }

    // 100 tags of a user, ten at a time, and one more.
    for ten in 0..10 {
        let tags: Vec<_> = (0..10).map(|n| format!("tag{ten}-{n}")).collect();
        back_end.done(
            "all_member_push/im_add_tag",
            &json!({"UserTags": [{"To_Account": "user1", "Tags": tags}]}),
        );
    }
    let add = |tag: &str| json!({"UserTags": [{"To_Account": "user2", "Tags": [tag]}, {"To_Account": "user1", "Tags": [tag]}]});
    assert_eq!(code(&back_end, "all_member_push/im_add_tag", &add("one more")), 90032);
    assert_eq!(code(&back_end, "all_member_push/im_add_tag", &add("tag0-0")), 0, "it is there");
    let tags = |user: &str| {
        let found = back_end.done("all_member_push/im_get_tag", &json!({"To_Account": [user]}));
        found["UserTags"][0]["Tags"].as_array().unwrap().len()
    };
    assert_eq!((tags("user1"), tags("user2")), (100, 1), "a refused call changes nothing");

    // Whoever comes back under the name of an account that was deleted has none of it.
    back_end.done("im_open_login_svc/account_delete", &json!({"DeleteItem": [{"UserID": "user1"}]}));
    assert_eq!(code(&back_end, "all_member_push/im_get_tag", &json!({"To_Account": ["user1"]})), 90048);
    back_end.done("im_open_login_svc/account_import", &json!({"UserID": "user1"}));
    assert_eq!(tags("user1"), 0);
}

/// A push with this random, to who has the tag, or to all.
fn push(random: u32, text: &str, life_time_s: u32, tag: Option<&str>) -> Value {
    let mut body = json!({"MsgRandom": random, "MsgLifeTime": life_time_s,
        "MsgBody": [{"MsgType": "TIMTextElem", "MsgContent": {"Text": text}}]});
    if let Some(tag) = tag {
        body["Condition"] = json!({"TagsAnd": [tag]});
    }
    body
}

/// Pushes as soon as the time since the last one is over.
fn pushed(back_end: &BackEnd, body: &Value) -> String {
    loop {
        let answer = back_end.call("all_member_push/im_push", body);
        if answer["ErrorCode"] != 90024 {
            assert_eq!(answer["ErrorCode"], 0, "{answer}");
            return answer["TaskId"].as_str().unwrap().to_owned();
        }
        std::thread::yield_now();
    }
}

/// A node with pushes, where so many users go on at a time.
fn with_pushes(accounts_per_s: u32) -> (tempfile::TempDir, Node, BackEnd) {
    let rate = format!("chat.push.accounts_per_s={accounts_per_s}");
    // Who asks until a push may go asks more often than a command may be called.
    start(&["--set", "chat.push.enabled=true", "--set", &rate, "--set", "rest.command_rates=false"])
}

#[test]
fn what_is_wrong_with_a_push_has_its_code() {
    let (_dir, _node, back_end) = with_pushes(1000);
    back_end.done("im_open_login_svc/account_import", &json!({"UserID": "ann"}));
    back_end.done("all_member_push/im_set_attr_name", &json!({"AttrNames": {"0": "city"}}));
    let list = |count: usize| (0..count).map(|n| n.to_string()).collect::<Vec<_>>();
    let bad = [
        ("MsgRandom", Value::Null, 90005),
        ("MsgRandom", json!("x"), 90005),
        ("MsgBody", Value::Null, 90002),
        ("MsgBody", json!({}), 90007),
        ("MsgBody", json!([{"MsgType": "TIMNothingElem", "MsgContent": {}}]), 90010),
        ("MsgLifeTime", json!(604_801), 90026),
        ("MsgLifeTime", json!(9_000_000_000_u64), 90026),
        ("MsgLifeTime", json!("x"), 90044),
        ("MsgLifeTime", json!(-1), 90044),
        ("From_Account", json!("nobody"), 90008),
        ("From_Account", json!(7), 90008),
        ("OfflinePushInfo", json!("x"), 90043),
        ("Condition", json!({}), 90010),
        ("Condition", json!([]), 90010),
        ("Condition", json!({"TagOr": ["a"]}), 90010),
        ("Condition", json!({"TagsOr": ["a"], "More": 1}), 90010),
        ("Condition", json!({"TagsOr": "a"}), 90010),
        ("Condition", json!({"TagsOr": []}), 90010),
        ("Condition", json!({"TagsOr": ["a"], "AttrsAnd": {"city": "x"}}), 90039),
        ("Condition", json!({"TagsOr": list(11)}), 90032),
        ("Condition", json!({"TagsAnd": list(11)}), 90032),
        ("Condition", json!({"TagsOr": ["a", "b"], "TagsAnd": ["b"]}), 90022),
        ("Condition", json!({"TagsOr": ["x".repeat(51)]}), 90020),
        ("Condition", json!({"TagsAnd": [""]}), 90040),
        ("Condition", json!({"AttrsOr": {"town": "x"}}), 90033),
        ("Condition", json!({"AttrsAnd": {"city": ""}}), 90033),
        ("Condition", json!({"AttrsAnd": {"city": "x".repeat(51)}}), 90033),
        ("Condition", json!({"AttrsAnd": ["city"]}), 90033),
    ];
    let good = push(1, "hello", 604_800, None);
    for (field, value, want) in bad {
        let mut body = good.clone();
        body[field] = value;
        assert_eq!(code(&back_end, "all_member_push/im_push", &body), want, "{body}");
    }
    // What is allowed at the edge, and the exact answer; a repeat has the same, under the older path too.
    let mut body = good;
    body["Condition"] = json!({"TagsOr": list(10), "TagsAnd": ["x".repeat(50)]});
    body["From_Account"] = "ann".into();
    let first = back_end.done("all_member_push/im_push", &body);
    assert!(matches(&first, &serde_json::from_str(PUSHED).unwrap()), "{first}");
    assert_eq!(back_end.done("openim/im_push", &body), first);
    body["MsgRandom"] = 2.into();
    assert_eq!(code(&back_end, "all_member_push/im_push", &body), 90024);
}

#[tokio::test]
async fn users_get_it_as_a_message_online_or_later_and_no_history_has_it() {
    let (dir, node, back_end) = with_pushes(100_000);
    let users = ["ann", "bob", "cat", "dan"];
    back_end.done("im_open_login_svc/multiaccount_import", &json!({"Accounts": users}));
    back_end
        .done("all_member_push/im_add_tag", &json!({"UserTags": [{"To_Account": "cat", "Tags": ["vip"]}]}));
    let access = Access::of(&node, dir.path());
    let ann = access.login("ann", &[Transport::Quic]).await;

    // Only who is online, then everybody, then some.
    let mut online = push(1, "now", 0, None);
    online["From_Account"] = "dan".into();
    pushed(&back_end, &online);
    let got = loop {
        if let Event::Transient(message) = next(&ann).await {
            break message;
        }
    };
    assert_eq!((got.text().as_str(), got.from.as_str(), got.seq), ("now", "dan", 0));
    let task = pushed(&back_end, &push(2, "all", 3600, None));
    let got = message(&ann).await;
    assert_eq!((got.text().as_str(), got.from.as_str(), got.seq), ("all", "administrator", 0));
    assert_eq!(got.to, Some(Target::User("ann".to_owned())));
    assert_eq!(pushed(&back_end, &push(2, "something else", 3600, None)), task, "a repeat sends nothing");
    pushed(&back_end, &push(3, "some", 3600, Some("vip")));
    // It goes behind the others: whoever has it has had those.
    let cat = access.login("cat", &[Transport::Quic]).await;
    let texts = [message(&cat).await.text(), message(&cat).await.text()];
    assert_eq!(texts, ["all", "some"]);
    let bob = access.login("bob", &[Transport::Quic]).await;
    assert_eq!(message(&bob).await.text(), "all");

    // What is said now comes next: nobody has had anything twice.
    for (client, name) in [(&ann, "ann"), (&bob, "bob"), (&cat, "cat")] {
        let marker = json!({"From_Account": "dan", "To_Account": name, "MsgRandom": 1,
            "MsgBody": [{"MsgType": "TIMTextElem", "MsgContent": {"Text": "marker"}}]});
        back_end.done("openim/sendmsg", &marker);
        assert_eq!(message(client).await.text(), "marker", "{name}");
        let history = json!({"Operator_Account": name, "Peer_Account": "administrator", "MaxCnt": 9,
            "MinTime": 0, "MaxTime": 4_000_000_000_u32});
        assert_eq!(back_end.done("openim/admin_getroammsg", &history)["MsgCnt"], 0);
        let unread = back_end.done("openim/get_c2c_unread_msg_num", &json!({"To_Account": name}));
        assert_eq!(unread["AllC2CUnreadMsgNum"], 1, "the marker");
        let list = json!({"From_Account": name, "TimeStamp": 0, "StartIndex": 0, "TopTimeStamp": 0,
            "TopStartIndex": 0, "AssistFlags": 7});
        let list = back_end.done("recentcontact/get_list", &list);
        assert_eq!(list["SessionItem"].as_array().unwrap().len(), 1, "{list}");
        client.close().await;
    }

    // One whose life is over is for nobody who comes later. Two pushes after it the second has gone by.
    pushed(&back_end, &push(4, "short", 1, None));
    pushed(&back_end, &push(5, "between", 3600, Some("vip")));
    pushed(&back_end, &push(6, "last", 3600, None));
    let dan = access.login("dan", &[Transport::Quic]).await;
    let mut texts = Vec::new();
    while texts.last().is_none_or(|last| last != "last") {
        texts.push(message(&dan).await.text());
    }
    // With what was sent in the name of dan.
    assert_eq!(texts, ["all", "marker", "marker", "marker", "last"]);
    dan.close().await;
}

#[tokio::test]
async fn a_push_goes_on_after_a_kill_and_each_has_it_once() {
    let (dir, node, back_end) = with_pushes(1000);
    let users: Vec<_> = (0..1000).map(|n| format!("user{n:03}")).collect();
    for some in users.chunks(100) {
        back_end.done("im_open_login_svc/multiaccount_import", &json!({"Accounts": some}));
    }
    let access = Access::of(&node, dir.path());
    let first = access.login("user000", &[Transport::Quic]).await;
    let task = pushed(&back_end, &push(7, "to all", 3600, None));
    assert_eq!(message(&first).await.text(), "to all");
    // Seven of eight pages are to come.
    node.kill();
    drop(first);

    let node = Node::start(dir.path(), &["--set", "chat.push.enabled=true"]);
    let back_end = BackEnd::of(dir.path());
    let access = Access::of(&node, dir.path());
    let last = access.login("user999", &[Transport::Quic]).await;
    assert_eq!(message(&last).await.text(), "to all");
    assert_eq!(pushed(&back_end, &push(7, "to all", 3600, None)), task);
    let middle = access.login("user500", &[Transport::Quic]).await;
    assert_eq!(message(&middle).await.text(), "to all");
    tokio::join!(last.close(), middle.close());
    node.signal(Signal::TERM);
    assert!(node.wait().success());
    // One entry for each account: a thousand, those of the demonstration, and the administrator's.
    let check = nearport(dir.path(), &["store", "check"]);
    let seen: Value = serde_json::from_slice(&check.stdout).unwrap();
    let accounts = 1000 + 3;
    assert_eq!((&seen["log_entries"], &seen["problems"]), (&json!(accounts), &json!(0)), "{seen}");
}
