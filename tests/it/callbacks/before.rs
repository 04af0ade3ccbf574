//! What a back end decides before a message is delivered.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use nearport_client::{Client, Event, Failure, SendError, Transport, text, user};
use tempfile::TempDir;

use super::back_end::{Answer, BackEnd, Heard, fine};
use super::configure;
use crate::node::{Node, metric};
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

/// A node and the back end that it asks.
struct Scene {
    back_end: BackEnd,
    access: Access,
    node: Node,
    _dir: TempDir,
}

impl Scene {
    async fn new(events: &[&str], more: &str) -> Self {
        Self::answering(script, events, more).await
    }

    async fn answering(
        answer: impl Fn(&Heard) -> Answer + Send + Sync + 'static,
        events: &[&str],
        more: &str,
    ) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut back_end = BackEnd::new(answer).await;
        back_end.start().await;
        configure(dir.path(), back_end.addr, events, more);
        let node = Node::start(dir.path(), &[]);
        Self { access: Access::of(&node, dir.path()), back_end, node, _dir: dir }
    }

    async fn login(&self, name: &str) -> Client {
        self.access.login(name, &[Transport::Tls]).await
    }
}

#[tokio::test]
async fn a_back_end_refuses_drops_and_replaces_and_who_gives_no_answer_is_passed_over() {
    let scene = Scene::new(&[BEFORE, AFTER], "").await;
    let alice = scene.login("alice").await;
    let bob = scene.login("bob").await;
    assert_eq!(outcome(&alice, "veto").await.map(|(code, _)| code), Some(20006));
    assert_eq!(outcome(&alice, "custom").await, Some((120_005, "no ads".into())));
    assert_eq!(outcome(&alice, "drop").await, None, "the sender is told that it was sent");
    assert_eq!(outcome(&alice, "replace").await, None);
    let replaced = message(&bob).await;
    assert_eq!((replaced.text(), replaced.seq), ("***".into(), 1), "nothing before it was stored");
    for says in ["garbage", "redirect", "error", "flood", "late", "hang", "plain"] {
        let begun = Instant::now();
        assert_eq!(outcome(&alice, says).await, None, "{says}");
        // For `benches/callbacks.sh`: one that does not answer costs two seconds.
        println!("{says}: {:.3} s until the acknowledgement", begun.elapsed().as_secs_f64());
        if says == "late" {
            // Nobody takes it for the answer to something else.
            scene.back_end.answer_late();
        }
        assert_eq!(message(&bob).await.text(), says);
    }
    assert!(scene.back_end.flooded() < 32 << 20, "it does not read 100 MB");
    scene
        .back_end
        .until("the events", |heard| heard.iter().filter(|heard| heard.command() == AFTER).count() == 8)
        .await;
    let heard = scene.back_end.heard().clone();
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
    let mut scene = Scene::new(&[BEFORE], "before_failure = 'refuse'").await;
    let alice = scene.login("alice").await;
    assert_eq!(outcome(&alice, "plain").await, None);
    for says in ["garbage", "error", "hang"] {
        assert_eq!(outcome(&alice, says).await.map(|(code, _)| code), Some(80003), "{says}");
    }
    scene.back_end.stop().await;
    assert_eq!(outcome(&alice, "nobody there").await.map(|(code, _)| code), Some(80003));
    alice.close().await;
}

/// The first five questions to a back end that hangs cost their two seconds. From then on what is configured is taken at once, but for a
/// probe now and then, until one is answered.
#[tokio::test]
async fn who_hangs_is_not_asked_again_and_again_and_is_found_when_it_is_back() {
    let well = Arc::new(AtomicBool::new(false));
    let is_well = well.clone();
    let answer = move |_: &Heard| if is_well.load(Ordering::SeqCst) { fine() } else { Answer::Hang };
    let scene = Scene::answering(answer, &[BEFORE], "before_failure = 'refuse'").await;
    let mut clients = Vec::new();
    for name in ["alice", "carol", "dave", "erin", "frank"] {
        clients.push(scene.login(name).await);
    }
    let alice = clients[0].clone();
    let count = |outcome: &str| {
        metric(&scene.node, &format!("nearport_callback_questions_total{{outcome=\"{outcome}\"}}"))
    };
    let open = || metric(&scene.node, "nearport_callback_open_breakers{kind=\"before\"}");
    assert_eq!((count("held"), open()), (0, 0));
    let mut asking = tokio::task::JoinSet::new();
    for client in clients.clone() {
        asking.spawn(async move { outcome(&client, "hello").await });
    }
    while let Some(refused) = asking.join_next().await {
        assert_eq!(refused.unwrap().map(|(code, _)| code), Some(80003));
    }
    assert_eq!((scene.back_end.heard().len(), count("unanswered"), open()), (5, 5, 1));
    // Between two probes: the pauses grow, so that comes some time.
    while count("held") == 0 {
        assert_eq!(outcome(&alice, "hello").await.map(|(code, _)| code), Some(80003));
    }
    let probes = count("unanswered") - 5;
    assert_eq!(scene.back_end.heard().len() as u64, 5 + probes, "what was held was not sent");
    well.store(true, Ordering::SeqCst);
    while outcome(&alice, "back").await.is_some() {}
    assert_eq!(open(), 0);
    // And everybody is asked about again.
    let (heard, held) = (scene.back_end.heard().len(), count("held"));
    for client in &clients {
        assert_eq!(outcome(client, "again").await, None);
    }
    assert_eq!((scene.back_end.heard().len(), count("held")), (heard + 5, held));
    for client in clients {
        client.close().await;
    }
}

/// While one message waits for the back end, others of its session wait behind it, and those of other sessions do not.
#[tokio::test]
async fn a_session_keeps_its_order_while_it_waits_and_nobody_else_waits() {
    let scene = Scene::new(&[BEFORE], "").await;
    let alice = scene.login("alice").await;
    let carol = scene.login("carol").await;
    let bob = scene.login("bob").await;
    alice.post(user("bob"), text("hang")).unwrap();
    scene.back_end.until("the question", |heard| !heard.is_empty()).await;
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
