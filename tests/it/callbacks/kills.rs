//! What is no message, and the server killed while it happens.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use serde_json::{Value, json};

use super::back_end::{BackEnd, Heard, fine};
use super::configure;
use crate::node::{Node, STUCK};
use crate::rest;

/// What each of those who call does, one after the other.
const CALLS: usize = 100;

/// Who calls: which of them, and what for the n-th time.
type Calls = (&'static str, fn(usize) -> (&'static str, Value));

const CALLERS: [Calls; 3] = [
    ("group", |n| {
        let body = json!({ "GroupId": "told", "Name": n.to_string() });
        ("group_open_http_svc/modify_group_base_info", body)
    }),
    ("profile", |n| {
        let item = json!({ "Tag": "Tag_Profile_IM_Nick", "Value": n.to_string() });
        ("profile/portrait_set", json!({ "From_Account": "bob", "ProfileItem": [item] }))
    }),
    ("blocks", |n| {
        ("sns/black_list_add", json!({ "From_Account": "alice", "To_Account": [format!("peer{n}")] }))
    }),
];

/// Whose call an event tells of, and which.
fn told(heard: &Heard) -> (&'static str, usize) {
    let body = &heard.body;
    let (who, n) = match heard.command() {
        "Group.CallbackAfterGroupInfoChanged" => ("group", &body["Name"]),
        "Profile.CallbackPortraitSet" => ("profile", &body["ProfileItem"][0]["Value"]),
        _ => ("blocks", &body["PairList"][0]["To_Account"]),
    };
    (who, n.as_str().unwrap().trim_start_matches("peer").parse().unwrap())
}

/// Groups, profiles and relations are in another store than what back ends are to be told: whenever the server is killed between the
/// two, what has happened is told.
#[tokio::test(flavor = "multi_thread")]
async fn what_has_happened_is_told_whenever_the_server_is_killed() {
    let dir = tempfile::tempdir().unwrap();
    let mut back_end = BackEnd::new(|_| fine()).await;
    let events =
        ["Group.CallbackAfterGroupInfoChanged", "Profile.CallbackPortraitSet", "Sns.CallbackBlackListAdd"];
    configure(dir.path(), back_end.addr, &events, "");
    back_end.start().await;
    let free = ["--set", "rest.command_rates=false"];
    let mut node = Node::start(dir.path(), &free);
    let caller = rest::BackEnd::of(dir.path());
    let api = format!("api.listen={}", caller.url().strip_prefix("http://").unwrap());
    let ports = [format!("edge.listen={}", node.edge), format!("ops.listen={}", node.ops), api];
    let again: Vec<_> = free.into_iter().chain(ports.iter().flat_map(|port| ["--set", port])).collect();
    let peers: Vec<_> = (0..CALLS).map(|n| format!("peer{n}")).collect();
    caller.done("im_open_login_svc/multiaccount_import", &json!({ "Accounts": peers }));
    let create = json!({ "Type": "Public", "GroupId": "told", "Name": "told" });
    caller.done("group_open_http_svc/create_group", &create);

    let done = AtomicUsize::new(0);
    let calls = || -> Node {
        std::thread::scope(|scope| {
            for (_, call) in CALLERS {
                let (caller, done) = (&caller, &done);
                scope.spawn(move || {
                    for n in 0..CALLS {
                        let (path, body) = call(n);
                        let (target, begun) = (format!("/v4/{path}?{}", caller.query()), Instant::now());
                        // Who hears nothing asks again: it may have happened.
                        while caller
                            .try_post(&target, body.to_string().as_bytes())
                            .is_none_or(|answer| answer.is_empty())
                        {
                            assert!(begun.elapsed() < 2 * STUCK, "nobody answers");
                            std::thread::yield_now();
                        }
                        done.fetch_add(1, Ordering::Relaxed);
                    }
                });
            }
            for kill in 1..=5 {
                while done.load(Ordering::Relaxed) < CALLS * CALLERS.len() * kill / 6 {
                    std::thread::yield_now();
                }
                node.kill();
                node = Node::start(dir.path(), &again);
            }
            node
        })
    };
    let node = tokio::task::block_in_place(calls);

    let mut first = BTreeMap::<&str, Vec<usize>>::new();
    let mut looked_at = 0;
    back_end
        .until("all that has happened", |heard| {
            for (who, n) in heard[looked_at..].iter().map(told) {
                let known = first.entry(who).or_default();
                if !known.contains(&n) {
                    known.push(n);
                }
            }
            looked_at = heard.len();
            CALLERS.iter().all(|(who, _)| first.get(who).is_some_and(|known| known.len() == CALLS))
        })
        .await;
    for (who, known) in first {
        assert!(known.is_sorted(), "{who}: {known:?}");
    }
    drop(node);
}
