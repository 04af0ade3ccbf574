//! What a back end hears after it happened.

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future as _;
use std::task::Poll;
use std::time::{Duration, Instant};

use aws_lc_rs::hmac;
use nearport_client::{Client, Target, Transport, group, text, user};
use nearport_wire::body::GroupCreate;

use super::back_end::{Answer, BackEnd, Heard, fine};
use super::{configure, hex};
use crate::node::Node;
use crate::sdk::Access;

const PAIR: &str = "C2C.CallbackAfterSendMsg";
const GROUP: &str = "Group.CallbackAfterSendMsg";

/// Messages that are on their way to the server at once.
const AT_ONCE: usize = 64;

/// Sends `count` messages round the conversations; notes what was stored where: texts by conversation and sequence number.
async fn send(
    client: &Client,
    to: &[Target],
    from: usize,
    count: usize,
    sent: &mut BTreeMap<(String, u64), String>,
) {
    let all: Vec<_> = (from..from + count).collect();
    for some in all.chunks(AT_ONCE) {
        let send = |n: &usize| {
            let (n, to) = (*n, to[n % to.len()].clone());
            Box::pin(async move {
                let stored = client.send(to.clone(), text(format!("{n}"))).await.unwrap();
                ((format!("{to:?}"), stored.seq), n.to_string())
            })
        };
        let mut under_way: Vec<_> = some.iter().map(send).collect();
        std::future::poll_fn(|cx| {
            under_way.retain_mut(|message| match message.as_mut().poll(cx) {
                Poll::Ready((place, text)) => {
                    sent.insert(place, text);
                    false
                }
                Poll::Pending => true,
            });
            if under_way.is_empty() { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
    }
}

/// Where an event of a message belongs.
fn place(heard: &Heard) -> (String, u64) {
    let to = match heard.command() {
        PAIR => user(heard.body["To_Account"].as_str().unwrap()),
        _ => group(heard.body["GroupId"].as_str().unwrap()),
    };
    (format!("{to:?}"), heard.body["MsgSeq"].as_u64().unwrap())
}

/// The target is down while messages are sent, and the server is killed twice: each event is heard at least once, and of each
/// conversation in order.
async fn nothing_is_lost(messages: usize, down: Duration) {
    let dir = tempfile::tempdir().unwrap();
    let mut back_end = BackEnd::new(|_| fine()).await;
    // Above the rate of a group of the contract's types nothing is stored.
    let fast = "[[chat.groups.types]]\nname = 'Fast'\nbase = 'Public'\nmessages_per_s = 1000000\n";
    configure(dir.path(), back_end.addr, &[PAIR, GROUP], fast);
    let mut node = Node::start(dir.path(), &[]);
    let ports = [format!("edge.listen={}", node.edge), format!("ops.listen={}", node.ops)];
    let again = ["--set", &ports[0], "--set", &ports[1]];
    let access = Access::of(&node, dir.path());
    let alice = access.login("alice", &[Transport::Tls]).await;
    let mut to = vec![user("bob"), user("administrator"), user("alice")];
    for id in ["one", "two"] {
        let create = GroupCreate {
            r#type: "Fast".into(),
            name: id.into(),
            group: id.into(),
            ..GroupCreate::default()
        };
        to.push(group(alice.create_group(create).await.unwrap()));
    }
    let (mut sent, part) = (BTreeMap::new(), messages / 3);
    let began = Instant::now();
    send(&alice, &to, 0, part, &mut sent).await;
    back_end.stay_down(down).await;
    node.kill();
    node = Node::start(dir.path(), &again);
    send(&alice, &to, part, part, &mut sent).await;
    // It hears some, and the server dies in the middle of it.
    let was_down = began.elapsed();
    back_end.start().await;
    back_end.until("some", |heard| heard.len() > part / 2).await;
    node.kill();
    back_end.stop().await;
    node = Node::start(dir.path(), &again);
    send(&alice, &to, 2 * part, messages - 2 * part, &mut sent).await;
    back_end.start().await;
    let back = Instant::now();
    let (mut left, mut looked_at) = (sent.keys().cloned().collect::<BTreeSet<_>>(), 0);
    back_end
        .until("all of them", |heard| {
            for event in &heard[looked_at..] {
                left.remove(&place(event));
            }
            looked_at = heard.len();
            left.is_empty()
        })
        .await;
    let back_for = back.elapsed();
    alice.close().await;

    let heard = back_end.heard().clone();
    let mut first = BTreeMap::<String, Vec<u64>>::new();
    let mut seen = BTreeSet::new();
    for event in &heard {
        let place = place(event);
        assert_eq!(event.text(), sent[&place], "{event:?}");
        if seen.insert(place.clone()) {
            first.entry(place.0).or_default().push(place.1);
        }
    }
    for (conversation, seqs) in first {
        assert!(seqs.is_sorted(), "{conversation}: {seqs:?}");
    }
    println!(
        "{messages} messages, the back end down for {:.1} s, the server killed twice: {} events heard, {} of them again, none lost, in \
         order in each of {} conversations; the last one {:.1} s after it was back",
        was_down.as_secs_f64(),
        heard.len(),
        heard.len() - seen.len(),
        to.len(),
        back_for.as_secs_f64(),
    );
    drop(node);
}

/// The outage is as long as a third of the messages and a restart take, and as `NEARPORT_OUTAGE_S` says: `benches/callbacks.sh`.
#[tokio::test]
async fn nothing_is_lost_while_the_back_end_is_down_and_the_server_is_killed_twice() {
    let outage_s = std::env::var("NEARPORT_OUTAGE_S").map_or(0, |seconds| seconds.parse().expect("seconds"));
    nothing_is_lost(10_000, Duration::from_secs(outage_s)).await;
}

#[tokio::test]
async fn an_event_has_its_fields_its_query_and_its_signature() {
    let dir = tempfile::tempdir().unwrap();
    let mut back_end = BackEnd::new(|_| fine()).await;
    back_end.start().await;
    let events = [PAIR, "C2C.CallbackAfterMsgReport", "C2C.CallbackAfterMsgWithDraw"];
    configure(dir.path(), back_end.addr, &events, "token = 'secret'");
    let node = Node::start(dir.path(), &[]);
    let access = Access::of(&node, dir.path());
    let alice = access.login("alice", &[Transport::Tls]).await;
    let bob = access.login("bob", &[Transport::Tls]).await;
    let sent = alice.send(user("bob"), text("hello")).await.unwrap();
    back_end.until("the message", |heard| heard.len() == 1).await;
    bob.mark_read(user("alice"), sent.seq).await.unwrap();
    back_end.until("the mark", |heard| heard.len() == 2).await;
    let heard = back_end.heard().clone();
    let (message, mark) = (&heard[0], &heard[1]);
    let key = sent.msg_key.clone();
    let parts: Vec<u64> = key.split('_').map(|part| part.parse().unwrap()).collect();
    let want = serde_json::json!({
        "CallbackCommand": PAIR, "From_Account": "alice", "To_Account": "bob", "MsgSeq": sent.seq, "MsgRandom": parts[1],
        "MsgTime": parts[2], "MsgKey": key, "OnlineOnlyFlag": 0, "CloudCustomData": "",
        "MsgBody": [{ "MsgType": "TIMTextElem", "MsgContent": { "Text": "hello" } }],
        "SendMsgResult": 0, "ErrorInfo": "send msg succeed", "UnreadMsgNum": 1, "EventTime": message.body["EventTime"],
    });
    assert_eq!(message.body, want);
    assert!(message.body["EventTime"].as_u64().unwrap() / 1000 == parts[2]);
    assert_eq!(message.path, "/imcallback");
    assert_eq!(message.headers["content-type"], "application/json");
    let query = |name: &str| message.query[name].as_str();
    assert_eq!((query("CallbackCommand"), query("contenttype")), (PAIR, "json"));
    assert_eq!((query("ClientIP"), query("OptPlatform")), ("127.0.0.1", "Unknown"));
    assert_eq!(query("SdkAppid").parse::<u32>().unwrap(), crate::rest::BackEnd::of(dir.path()).app);
    let time = &message.headers["x-nearport-timestamp"];
    assert_eq!(query("RequestTime"), time);
    let sign = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, format!("secret{time}").as_bytes());
    assert_eq!(query("Sign"), hex(sign.as_ref()));
    let signed = [time.as_bytes(), b".", &message.raw].concat();
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, b"secret"), &signed);
    assert_eq!(message.headers["x-nearport-signature"], format!("v1={}", hex(tag.as_ref())));
    assert_eq!(mark.command(), "C2C.CallbackAfterMsgReport");
    let field = |name: &str| mark.body[name].clone();
    assert_eq!((field("Report_Account"), field("Peer_Account")), ("bob".into(), "alice".into()));
    assert_eq!((field("LastReadTime"), field("UnreadMsgNum")), (parts[2].into(), 0.into()));
    tokio::join!(alice.close(), bob.close());
}

/// Without retries what finds the target wrong is given up, kept, shown, and told again by hand.
#[tokio::test]
async fn what_is_given_up_is_listed_and_told_again_by_hand() {
    let dir = tempfile::tempdir().unwrap();
    let well = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    let is_well = well.clone();
    let answer = move |_: &Heard| match is_well.load(std::sync::atomic::Ordering::SeqCst) {
        true => fine(),
        false => Answer::Status(500, ""),
    };
    let mut back_end = BackEnd::new(answer).await;
    back_end.start().await;
    configure(dir.path(), back_end.addr, &[PAIR], "retry_after = false");
    let node = Node::start(dir.path(), &[]);
    let access = Access::of(&node, dir.path());
    let alice = access.login("alice", &[Transport::Tls]).await;
    alice.send(user("bob"), text("1")).await.unwrap();
    back_end.until("the first try", |heard| heard.len() == 1).await;
    let list = |args: &[&str]| {
        let output = node.nearport(&[&["callbacks"], args].concat());
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let text = String::from_utf8(output.stdout).unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect::<Vec<serde_json::Value>>()
    };
    let dead = loop {
        let dead = list(&["list"]);
        if !dead.is_empty() {
            break dead;
        }
    };
    assert_eq!((dead.len(), dead[0]["command"].as_str()), (1, Some(PAIR)));
    assert_eq!(dead[0]["reason"], "status 500");
    let count = |outcome: &str, n: u32| {
        let line = format!("nearport_callback_events_total{{outcome=\"{outcome}\"}} {n}\n");
        let (_, metrics) = node.get("/metrics");
        assert!(metrics.contains(&line), "{line} {metrics}");
    };
    count("failed", 1);
    count("dead", 1);
    well.store(true, std::sync::atomic::Ordering::SeqCst);
    assert_eq!(list(&["replay", "--all"]), dead);
    back_end.until("it again", |heard| heard.len() == 2).await;
    assert_eq!(back_end.heard()[1].text(), "1");
    while !list(&["list"]).is_empty() || !list(&["list", "--waiting"]).is_empty() {}
    count("told", 1);
    alice.close().await;
}
