//! `im_cos_msg`, `ConfigSvc`.

use nearport_client::media::MediaKind;
use serde_json::{Value, json};

use super::table::{Row, matches};
use super::{BackEnd, start};
use crate::media::{begin, http, login, png, put};
use crate::node::Node;

const fn row(path: &'static str, body: &'static str, answer: &'static str) -> Row {
    Row { path, body, answer }
}

/// A URL as this server gives them out, of nothing.
const NOWHERE: &str = r#"{"RawURL":"https://files.example.org/v1/media/1/01890a5d-ac96-774b-bcce-b302099a8057/original"}"#;

pub(super) const ROWS: &[Row] = &[
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
    let absent =
        |id| json!({ "Code": 0, "Desc": "@string", "ResourceID": id, "PreSigURL": "", "Status": 2 });
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
