//! `all_member_push`, and the same under `openim`.

use serde_json::json;

use super::table::Row;
use super::{BackEnd, start};

const fn row(path: &'static str, body: &'static str, answer: &'static str) -> Row {
    Row { path, body, answer }
}

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
    row("all_member_push/im_remove_tag", r#"{"UserTags":[{"To_Account":"push-ann","Tags":["b","c"]}]}"#, DONE),
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
    row("all_member_push/im_nothing", "{}", r#"{"ErrorCode":60009}"#),
];

/// The code of an answer.
fn code(back_end: &BackEnd, path: &str, body: &serde_json::Value) -> u64 {
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
        back_end.done("all_member_push/im_add_tag", &json!({"UserTags": [{"To_Account": "user1", "Tags": tags}]}));
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
