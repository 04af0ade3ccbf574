//! What a back end decides before a message is delivered.

use nearport_client::{Client, Event, Failure, SendError, Transport, text, user};

use super::back_end::{Answer, BackEnd, Heard, fine};
use super::configure;
use crate::node::Node;
use crate::sdk::{Access, message, next};

const BEFORE: &str = "C2C.CallbackBeforeSendMsg";
const AFTER: &str = "C2C.CallbackAfterSendMsg";

/// Decides by what the message says.
fn script(heard: &Heard) -> Answer {
    if heard.command() != BEFORE {
        return fine();
    }
    let json = |text: &str| Answer::Json(text.to_owned());
    match heard.text() {
        "veto" => json(r#"{"ActionStatus":"FAIL","ErrorCode":1,"ErrorInfo":"no"}"#),
        "custom" => json(r#"{"ActionStatus":"FAIL","ErrorCode":120005,"ErrorInfo":"no ads"}"#),
        "drop" => json(r#"{"ActionStatus":"OK","ErrorCode":2,"ErrorInfo":""}"#),
        "replace" => json(
            r#"{"ActionStatus":"OK","ErrorCode":0,"ErrorInfo":"","CloudCustomData":"seen",
                "MsgBody":[{"MsgType":"TIMTextElem","MsgContent":{"Text":"***"}}]}"#,
        ),
        "garbage" => json("<html>"),
        "redirect" => Answer::Status(302, "location: /elsewhere\r\n"),
        "error" => Answer::Status(500, ""),
        "late" => Answer::Late,
        "hang" => Answer::Hang,
        "flood" => Answer::Flood,
        _ => fine(),
    }
}

/// What the sender is told: nothing, or a code and a text.
async fn outcome(client: &Client, says: &str) -> Option<(u32, String)> {
    match client.send(user("bob"), text(says)).await {
        Ok(_) => None,
        Err(SendError::Failed(Failure::Refused { code, info, .. })) => Some((code, info)),
        Err(error) => panic!("{error}"),
    }
}

#[tokio::test]
async fn a_back_end_refuses_drops_and_replaces_and_who_gives_no_answer_is_passed_over() {
    let dir = tempfile::tempdir().unwrap();
    let mut back_end = BackEnd::new(script).await;
    back_end.start().await;
    configure(dir.path(), back_end.addr, &[BEFORE, AFTER], "");
    let node = Node::start(dir.path(), &[]);
    let access = Access::of(&node, dir.path());
    let alice = access.login("alice", &[Transport::Tls]).await;
    let bob = access.login("bob", &[Transport::Tls]).await;
    assert_eq!(outcome(&alice, "veto").await.map(|(code, _)| code), Some(20006));
    assert_eq!(outcome(&alice, "custom").await, Some((120_005, "no ads".into())));
    assert_eq!(outcome(&alice, "drop").await, None, "the sender is told that it was sent");
    assert_eq!(outcome(&alice, "replace").await, None);
    let replaced = message(&bob).await;
    assert_eq!((replaced.text(), replaced.seq), ("***".into(), 1), "nothing before it was stored");
    for says in ["garbage", "redirect", "error", "flood", "late", "hang", "plain"] {
        assert_eq!(outcome(&alice, says).await, None, "{says}");
        assert_eq!(message(&bob).await.text(), says);
    }
    assert!(back_end.flooded() < 32 << 20, "it does not read 100 MB");
    back_end
        .until("the events", |heard| heard.iter().filter(|heard| heard.command() == AFTER).count() == 8)
        .await;
    let heard = back_end.heard().clone();
    assert!(heard.iter().all(|heard| heard.path == "/imcallback"), "nobody is led elsewhere");
    let told: Vec<_> = heard.iter().filter(|heard| heard.command() == AFTER).map(Heard::text).collect();
    // What was refused or dropped is not told of, and what was replaced as it was delivered.
    assert_eq!(told, ["***", "garbage", "redirect", "error", "flood", "late", "hang", "plain"]);
    let asked = heard.iter().find(|heard| heard.command() == BEFORE).unwrap();
    let field = |name: &str| asked.body[name].clone();
    assert_eq!((field("From_Account"), field("To_Account")), ("alice".into(), "bob".into()));
    assert!(asked.body["MsgSeq"].is_u64() && asked.body["MsgKey"].is_string());
    tokio::join!(alice.close(), bob.close());
}

#[tokio::test]
async fn where_no_answer_refuses_a_message_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let mut back_end = BackEnd::new(script).await;
    back_end.start().await;
    configure(dir.path(), back_end.addr, &[BEFORE], "before_failure = 'refuse'");
    let node = Node::start(dir.path(), &[]);
    let access = Access::of(&node, dir.path());
    let alice = access.login("alice", &[Transport::Tls]).await;
    assert_eq!(outcome(&alice, "plain").await, None);
    for says in ["garbage", "error", "hang"] {
        assert_eq!(outcome(&alice, says).await.map(|(code, _)| code), Some(80003), "{says}");
    }
    back_end.stop().await;
    assert_eq!(outcome(&alice, "nobody there").await.map(|(code, _)| code), Some(80003));
    alice.close().await;
}

/// While one message waits for the back end, others of its session wait behind it, and those of other sessions do not.
#[tokio::test]
async fn a_session_keeps_its_order_while_it_waits_and_nobody_else_waits() {
    let dir = tempfile::tempdir().unwrap();
    let mut back_end = BackEnd::new(script).await;
    back_end.start().await;
    configure(dir.path(), back_end.addr, &[BEFORE], "");
    let node = Node::start(dir.path(), &[]);
    let access = Access::of(&node, dir.path());
    let alice = access.login("alice", &[Transport::Tls]).await;
    let carol = access.login("carol", &[Transport::Tls]).await;
    let bob = access.login("bob", &[Transport::Tls]).await;
    alice.post(user("bob"), text("hang")).unwrap();
    back_end.until("the question", |heard| !heard.is_empty()).await;
    for says in ["1", "2", "3"] {
        alice.post(user("bob"), text(says)).unwrap();
    }
    // Answered while alice's wait.
    carol.send(user("bob"), text("note")).await.unwrap();
    let mut got = Vec::new();
    while got.len() < 5 {
        if let Event::Message(message) = next(&bob).await {
            got.push(message.text());
        }
    }
    assert_eq!(got, ["note", "hang", "1", "2", "3"]);
    tokio::join!(alice.close(), bob.close(), carol.close());
}

/// How long a back end that hangs holds a message up: `benches/callbacks.sh`.
#[tokio::test]
#[ignore = "a measurement"]
async fn a_hanging_back_end_costs_two_seconds() {
    let dir = tempfile::tempdir().unwrap();
    let mut back_end = BackEnd::new(script).await;
    back_end.start().await;
    configure(dir.path(), back_end.addr, &[BEFORE], "");
    let node = Node::start(dir.path(), &[]);
    let access = Access::of(&node, dir.path());
    let alice = access.login("alice", &[Transport::Tls]).await;
    for _ in 0..5 {
        let started = std::time::Instant::now();
        assert_eq!(outcome(&alice, "hang").await, None);
        println!("a hanging back end: {:.3} s until the acknowledgement", started.elapsed().as_secs_f64());
    }
    alice.close().await;
}
