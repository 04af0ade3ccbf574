//! What a back end sends, takes back and marks reaches clients as what clients do, under the key that it has been told.

use nearport_client::{Client, Event, Target};
use serde_json::{Value, json};

use super::{BackEnd, start};
use crate::sdk::{Access, message, next};

fn sent(back_end: &BackEnd, more: &Value) -> String {
    let mut body = json!({
        "From_Account": "alice", "To_Account": "bob", "MsgRandom": 9,
        "MsgBody": [{ "MsgType": "TIMTextElem", "MsgContent": { "Text": "hi" } }],
    });
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    back_end.done("openim/sendmsg", &body)["MsgKey"].as_str().unwrap().to_owned()
}

fn history(back_end: &BackEnd, of: &str, with: &str) -> Vec<Value> {
    let body = json!({ "Operator_Account": of, "Peer_Account": with, "MaxCnt": 100, "MinTime": 0, "MaxTime": 4_000_000_000_u32 });
    back_end.done("openim/admin_getroammsg", &body)["MsgList"].as_array().unwrap().clone()
}

async fn event(client: &Client, wanted: impl Fn(&Event) -> bool) -> Event {
    loop {
        let event = next(client).await;
        if wanted(&event) {
            return event;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_hear_of_what_a_back_end_does_in_their_names() {
    let (dir, node, back_end) = start(&[]);
    let access = Access::of(&node, dir.path());
    let (alice, bob) = (access.login("alice", &[]).await, access.login("bob", &[]).await);

    // Both sides, under one key.
    let key = sent(&back_end, &json!({ "MsgSeq": 5, "IsNeedReadReceipt": 1 }));
    let (at_alice, at_bob) = (message(&alice).await, message(&bob).await);
    assert_eq!((at_bob.text(), &*at_bob.from, &at_bob.msg_key), ("hi".into(), "alice", &key));
    assert_eq!((at_alice.seq, &at_alice.msg_key), (at_bob.seq, &key));
    // A repeat in the same second is the same message; whichever second it is, what comes next is one that only the receiver has.
    let only = sent(&back_end, &json!({ "MsgSeq": 6, "SyncOtherMachine": 2 }));
    let hidden = loop {
        let message = message(&bob).await;
        if message.msg_key == only {
            break message;
        }
    };
    assert_eq!(history(&back_end, "alice", "bob").len(), 1, "not in the sender's copy");
    assert_eq!(history(&back_end, "bob", "alice").len(), 2);
    assert_eq!(hidden.seq, 2);

    // A client's message has a key by the same rule, and back ends find it by that.
    let own = alice.send(nearport_client::user("bob"), nearport_client::text("own")).await.unwrap();
    assert_eq!(message(&bob).await.msg_key, own.msg_key);
    let listed = history(&back_end, "bob", "alice");
    assert_eq!(
        listed.iter().map(|one| one["MsgKey"].as_str().unwrap()).collect::<Vec<_>>(),
        [&*key, &*only, &*own.msg_key]
    );

    // A page at a time, newest first, each ascending.
    let page = |last: &str| {
        let mut body = json!({ "Operator_Account": "bob", "Peer_Account": "alice", "MaxCnt": 2, "MinTime": 0, "MaxTime": 4_000_000_000_u32 });
        if !last.is_empty() {
            body["LastMsgKey"] = last.into();
        }
        back_end.done("openim/admin_getroammsg", &body)
    };
    let first = page("");
    assert_eq!((&first["Complete"], &first["LastMsgKey"]), (&json!(0), &json!(only)));
    assert_eq!(first["MsgList"][1]["MsgKey"], json!(own.msg_key));
    let second = page(&only);
    assert_eq!(
        (&second["Complete"], &second["MsgCnt"], &second["LastMsgKey"]),
        (&json!(1), &json!(1), &json!(key))
    );

    // Edits, recalls, receipts, read cursors, deletions.
    let named = |key: &str| json!({ "From_Account": "alice", "To_Account": "bob", "MsgKey": key });
    let mut body = named(&own.msg_key);
    body["MsgBody"] = json!([{ "MsgType": "TIMTextElem", "MsgContent": { "Text": "changed" } }]);
    back_end.done("openim/modify_c2c_msg", &body);
    let Event::Edited(edited) = event(&bob, |event| matches!(event, Event::Edited(_))).await else {
        unreachable!()
    };
    assert_eq!((edited.text(), edited.seq), ("changed".into(), own.seq));
    let receipt = json!({ "Operator_Account": "bob", "Peer_Account": "alice", "C2CMsgInfo": [named(&key)] });
    back_end.done("openim/c2c_msg_read_receipt", &receipt);
    let receipts = event(&alice, |event| matches!(event, Event::Receipts { .. })).await;
    assert!(matches!(receipts, Event::Receipts { user, seqs, .. } if user == "bob" && seqs == [at_bob.seq]));
    back_end.done("openim/admin_set_msg_read", &json!({ "Report_Account": "bob", "Peer_Account": "alice" }));
    event(&alice, |event| matches!(event, Event::Read { .. })).await;
    back_end.done("openim/admin_msgwithdraw", &named(&key));
    let Event::Recalled(recalled) = event(&bob, |event| matches!(event, Event::Recalled(_))).await else {
        unreachable!()
    };
    assert_eq!(recalled.seq, at_bob.seq);
    let delete = json!({ "Operator_Account": "bob", "Peer_Account": "alice", "MsgKeyList": [only] });
    back_end.done("openim/delete_c2c_msg_ramble", &delete);
    let gone = event(&bob, |event| matches!(event, Event::Hidden { .. })).await;
    assert!(
        matches!(gone, Event::Hidden { with: Target::User(with), seqs } if with == "alice" && seqs == [hidden.seq])
    );
    let flags: Vec<_> =
        history(&back_end, "bob", "alice").iter().map(|one| one["MsgFlagBits"].clone()).collect();
    assert_eq!(flags, [json!(8), json!(0)]);

    // What is only for who is online is stored nowhere.
    sent(&back_end, &json!({ "OnlineOnlyFlag": 1 }));
    let transient = event(&bob, |event| matches!(event, Event::Transient(_))).await;
    assert!(matches!(transient, Event::Transient(message) if message.text() == "hi" && message.seq == 0));
    assert_eq!(history(&back_end, "bob", "alice").len(), 2);
    tokio::join!(alice.close(), bob.close());
}

/// Pages end before 13 KB, and five hundred at once are one batch with one bad name in the middle.
#[test]
fn long_pages_end_early_and_large_batches_tell_who_is_missing() {
    let (_dir, _node, back_end) = start(&[]);
    let names: Vec<String> = (0..500).map(|n| format!("crowd{n}")).collect();
    for some in names.chunks(100) {
        back_end.done("im_open_login_svc/multiaccount_import", &json!({ "Accounts": some }));
    }
    let mut to = names.clone();
    to[250] = "nobody".to_owned();
    let long = "x".repeat(6000);
    let send = |to: &[String], text: &str| {
        let body = json!({ "To_Account": to, "MsgRandom": 1,
            "MsgBody": [{ "MsgType": "TIMTextElem", "MsgContent": { "Text": text } }] });
        back_end.call("openim/batchsendmsg", &body)
    };
    let answer = send(&to, &long);
    assert_eq!(answer["ActionStatus"], "SomeError");
    assert_eq!(answer["ErrorList"], json!([{ "To_Account": "nobody", "ErrorCode": 70107 }]));
    to.push("one more".to_owned());
    assert_eq!(send(&to, "x")["ErrorCode"], 90011);
    for name in ["crowd0", "crowd249", "crowd251", "crowd499"] {
        assert_eq!(history(&back_end, name, "administrator").len(), 1, "{name}");
    }
    assert!(history(&back_end, "crowd250", "administrator").is_empty());
    for _ in 0..2 {
        assert_eq!(send(&names[..1], &long)["ErrorCode"], 0);
    }
    let body = json!({ "Operator_Account": "crowd0", "Peer_Account": "administrator", "MaxCnt": 10, "MinTime": 0, "MaxTime": 4_000_000_000_u32 });
    let page = back_end.done("openim/admin_getroammsg", &body);
    assert_eq!((&page["MsgCnt"], &page["Complete"]), (&json!(2), &json!(0)), "three would be 18 KB");
}
