//! Back ends of single Apps: by the file of settings, by the operator and by the App's own administrators, while the server runs.

use nearport_chat::usersig::sign_v2;
use serde_json::{Value, json};

use super::back_end::{Answer, BackEnd, Heard, fine};
use crate::node::{Node, output, serve};
use crate::rest::BackEnd as Rest;

const AFTER: &str = "C2C.CallbackAfterSendMsg";
const EVENTS: &str = r#"["C2C.CallbackAfterSendMsg"]"#;

struct Stage {
    node: Node,
    rest: Rest,
    sent: u32,
    _dir: tempfile::TempDir,
}

impl Stage {
    fn new(args: &[&str]) -> Self {
        let (dir, node, rest) = crate::rest::start(args);
        Self { node, rest, sent: 0, _dir: dir }
    }

    /// `nearport app …`; what it prints.
    fn app(&self, args: &[&str]) -> String {
        let output = self.node.nearport(&[&["app"], args].concat());
        assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    /// As the operator, beside the server. Who asks over the API has it read.
    fn operator_sets(&self, name: &str, value: &str) {
        self.app(&["set", &self.rest.app.to_string(), name, value]);
        self.rest.done("nearport/app_settings_get", &json!({}));
    }

    /// As the App's own administrator.
    fn set(&self, settings: &[(&str, &str)], unset: &[&str]) -> Value {
        let list: Vec<_> =
            settings.iter().map(|(name, value)| json!({ "Name": name, "Value": value })).collect();
        self.calls("nearport/app_settings_set", &json!({ "SettingList": list, "UnsetList": unset }))
    }

    /// Again if it is more than one may call in a second.
    fn calls(&self, path: &str, body: &Value) -> Value {
        loop {
            let answer = self.rest.call(path, body);
            if answer["ErrorCode"] != 60007 {
                return answer;
            }
        }
    }

    fn done(&self, settings: &[(&str, &str)], unset: &[&str]) {
        let answer = self.set(settings, unset);
        assert_eq!(answer["ErrorCode"], 0, "{answer}");
    }

    /// Sends a message that says its number.
    fn send(&mut self) -> String {
        self.sent += 1;
        let says = self.sent.to_string();
        self.rest.done("openim/sendmsg", &message(&says, self.sent));
        says
    }
}

fn message(says: &str, random: u32) -> Value {
    json!({ "From_Account": "alice", "To_Account": "bob", "MsgRandom": random,
        "MsgBody": [{ "MsgType": "TIMTextElem", "MsgContent": { "Text": says } }] })
}

fn url(back_end: &BackEnd) -> String {
    format!("http://{}/cb", back_end.addr)
}

async fn back_end(answer: impl Fn(&Heard) -> Answer + Send + Sync + 'static) -> BackEnd {
    let mut back_end = BackEnd::new(answer).await;
    back_end.start().await;
    back_end
}

/// Waits until this text is the last that was heard, and gives what was heard then.
async fn last(back_end: &BackEnd, says: &str) -> Heard {
    back_end.until(says, |heard| heard.last().is_some_and(|last| last.text() == says)).await;
    back_end.heard().last().unwrap().clone()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_app_has_a_back_end_while_the_server_runs_and_each_change_counts_at_once() {
    let mut stage = Stage::new(&[]);
    let (first, second) = (back_end(|_| fine()).await, back_end(|_| fine()).await);
    stage.send();
    // Where it is, is the App's; which networks are reached is the operator's.
    for url in [url(&first), "http://localhost/".into(), "http://[::1]:9/".into()] {
        let answer = stage.set(&[("callback.events", EVENTS), ("callback.url", &url)], &[]);
        assert_eq!(answer["ErrorCode"], 60003, "{answer}");
        assert!(answer["ErrorInfo"].as_str().unwrap().contains("not public"), "{answer}");
    }
    for name in ["callback.allow_private", "callback.concurrency"] {
        assert_eq!(stage.set(&[(name, "1")], &[])["ErrorCode"], 60010);
    }
    stage.operator_sets("callback.allow_private", "true");
    stage.done(&[("callback.events", EVENTS), ("callback.url", &url(&first))], &[]);
    let says = stage.send();
    let heard = last(&first, &says).await;
    assert_eq!((heard.command(), heard.path.as_str()), (AFTER, "/cb"));
    assert!(!heard.query.contains_key("Sign") && !heard.headers.contains_key("x-nearport-signature"));

    // Another place, and a token.
    stage.done(&[("callback.url", &url(&second)), ("callback.token", "s3cret-1")], &[]);
    let says = stage.send();
    let signed = |heard: &Heard, token: &str| {
        let sign = aws_lc_rs::digest::digest(
            &aws_lc_rs::digest::SHA256,
            format!("{token}{}", heard.query["RequestTime"]).as_bytes(),
        );
        assert_eq!(heard.query["Sign"], super::hex(sign.as_ref()));
    };
    signed(&last(&second, &says).await, "s3cret-1");
    // The contract's own call for it.
    let token = |token: &str, on: bool| json!({ "Token": token, "IsTokenEnable": on });
    let answer = stage.calls("live_config/set_callback_token", &token("s3cret-2", true));
    assert_eq!(answer, json!({ "ActionStatus": "OK", "ErrorCode": 0, "ErrorInfo": "" }));
    let says = stage.send();
    signed(&last(&second, &says).await, "s3cret-2");
    let answer = stage.calls("live_config/set_callback_token", &token("s3cret-3", false));
    assert_eq!(answer["ErrorCode"], 0, "{answer}");
    let says = stage.send();
    assert!(!last(&second, &says).await.query.contains_key("Sign"), "it is there and not used");
    let answer = stage.rest.call("live_config/get_callback_token", &json!({}));
    assert_eq!(answer["Response"], json!({ "Token": "s3cret-3" }));

    // Nobody is told any more, of what has happened meanwhile neither.
    stage.done(&[("callback.events", "[]")], &[]);
    stage.send();
    stage.done(&[("callback.events", EVENTS)], &["callback.url"]);
    stage.send();
    stage.done(&[("callback.url", &url(&first))], &[]);
    let says = stage.send();
    last(&first, &says).await;
    assert_eq!((first.heard().len(), second.heard().len()), (2, 3));

    // No secret is printed, shown or written down; that one was set is.
    let app = stage.rest.app.to_string();
    let shown = [
        stage.app(&["settings", &app]),
        stage.app(&["show", &app]),
        stage.rest.done("nearport/app_settings_get", &json!({})).to_string(),
        String::from_utf8(stage.node.nearport(&["audit", "export"]).stdout).unwrap(),
    ];
    for text in shown {
        assert!(text.contains("callback.token") && text.contains("hidden"), "{text}");
        assert!(!text.contains("s3cret"), "{text}");
    }
}

/// How it is spoken to.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_app_decides_what_no_good_answer_means_and_whether_it_is_told_again() {
    let mut stage = Stage::new(&["--set", "callback.allow_private=true"]);
    let bad = back_end(|_| Answer::Status(500, "")).await;
    let before = r#"["C2C.CallbackBeforeSendMsg"]"#;
    stage.done(&[("callback.events", before), ("callback.url", &url(&bad))], &[]);
    stage.send();
    stage.done(&[("callback.before_failure", "refuse")], &[]);
    let refused = stage.rest.call("openim/sendmsg", &message("refused", 99));
    assert_eq!((refused["ErrorCode"].as_u64(), bad.heard().len()), (Some(80003), 2));
    stage.done(&[("callback.events", EVENTS), ("callback.retry_after", "false")], &[]);
    let says = stage.send();
    last(&bad, &says).await;
    while stage.node.nearport(&["callbacks", "list"]).stdout.is_empty() {}

    // One at a time: the second is not sent while the first has no answer.
    let late = back_end(|_| Answer::Late).await;
    stage.operator_sets("callback.concurrency", "1");
    stage.done(&[("callback.url", &url(&late))], &[]);
    for to in ["bob", "administrator"] {
        let mut message = message(to, 7);
        message["To_Account"] = to.into();
        stage.rest.done("openim/sendmsg", &message);
    }
    late.until("the first", |heard| heard.len() == 1).await;
    // Both were read.
    while crate::node::metric(&stage.node, "nearport_callback_waiting_events") == 0 {}
    assert_eq!(late.heard().len(), 1);
    late.answer_late();
    late.until("the second", |heard| heard.len() == 2).await;
    late.answer_late();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_waits_for_a_back_end_that_is_down_goes_to_where_it_is_now() {
    let mut stage = Stage::new(&["--set", "callback.allow_private=true"]);
    let nobody = BackEnd::new(|_| fine()).await;
    stage.done(&[("callback.events", EVENTS), ("callback.url", &url(&nobody))], &[]);
    let says: Vec<_> = (0..20).map(|_| stage.send()).collect();
    let open = "nearport_callback_open_breakers{kind=\"after\"}";
    while crate::node::metric(&stage.node, open) == 0 {}
    // Without one they wait, and are not lost.
    stage.done(&[], &["callback.url"]);
    let moved = back_end(|_| fine()).await;
    stage.done(&[("callback.url", &url(&moved))], &[]);
    last(&moved, says.last().unwrap()).await;
    let heard: Vec<_> = moved.heard().iter().map(|heard| heard.text().to_owned()).collect();
    assert_eq!(heard, says, "each, in order");
    while crate::node::metric(&stage.node, open) != 0 {}
}

/// In the file of settings; a secret of all Apps is not used for a URL that an App has of its own.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_app_of_the_file_has_its_own_back_end_and_another_app_that_of_all() {
    let (of_all, of_one) = (back_end(|_| fine()).await, back_end(|_| fine()).await);
    let dir = tempfile::tempdir().unwrap();
    let settings = format!(
        "[callback]\nurl = '{}'\nallow_private = true\nevents = {EVENTS}\ntoken = 'of all'\n\
         [[apps]]\napp = 1500000000\ncallback.url = '{}'\n[[apps]]\napp = 1600000000\ncallback.url = ''\n",
        url(&of_all),
        url(&of_one)
    );
    std::fs::write(dir.path().join("nearport.toml"), settings).unwrap();
    let node = Node::start(dir.path(), &[]);
    let rest = Rest::of(dir.path());
    let mut others = Vec::new();
    for id in [1_500_000_000u32, 1_600_000_000] {
        let made = node.nearport(&["app", "create", "--id", &id.to_string()]);
        let made: Value = serde_json::from_slice(&made.stdout).unwrap();
        let secret = made["key"].as_str().unwrap_or_else(|| panic!("{made}")).to_owned();
        others.push((id, secret));
    }
    let call = |(app, secret): &(u32, String), path: &str, body: &Value| {
        let now_s = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
        let usersig = sign_v2(secret, *app, "administrator", now_s, 86_400, None);
        let query =
            format!("sdkappid={app}&identifier=administrator&usersig={usersig}&random=1&contenttype=json");
        let answer = rest.ask(path, &query, &body.to_string());
        assert_eq!(answer["ErrorCode"], 0, "{answer}");
        answer
    };
    for app in &others {
        for user in ["alice", "bob"] {
            call(app, "im_open_login_svc/account_import", &json!({ "UserID": user }));
        }
    }
    call(&others[1], "openim/sendmsg", &message("unheard", 1));
    call(&others[0], "openim/sendmsg", &message("own", 1));
    rest.done("openim/sendmsg", &message("all", 1));
    let (own, all) = (last(&of_one, "own").await, last(&of_all, "all").await);
    assert_eq!((own.query["SdkAppid"].as_str(), own.query.contains_key("Sign")), ("1500000000", false));
    assert!(all.query.contains_key("Sign"));
    assert_eq!((of_one.heard().len(), of_all.heard().len()), (1, 1));
    // The token of all is not the App's to read.
    let token = call(&others[0], "live_config/get_callback_token", &json!({}));
    assert_eq!(token["Response"], json!({ "Token": "" }));
}

/// Where it once stood.
#[test]
fn tables_of_callbacks_are_refused_with_where_to_write_them() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("nearport.toml"), "[[callback.apps]]\napp = 7\nurl = 'http://x'\n")
        .unwrap();
    let output = output(&mut serve(dir.path(), &[]));
    assert_eq!(output.status.code(), Some(78), "{output:?}");
    assert!(String::from_utf8_lossy(&output.stderr).contains("did you mean `apps`"), "{output:?}");
}
