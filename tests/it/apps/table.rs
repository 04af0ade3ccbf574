//! Each setting of an App is set on a running node, and what it says happens: [`BY_REST`] by what back ends call, [`BY_CLIENTS`] by
//! what clients do. Those that need a network to fail, or time to go by, are in [`ELSEWHERE`],
//! against the backend itself.

use std::collections::BTreeSet;
use std::pin::Pin;

use nearport_chat::apps::SETTINGS;
use nearport_client::groups::GroupCreate;
use nearport_client::{Client, Config, Event, Platform, group, text, user};
use nearport_wire::close::CloseCode;
use serde_json::{Value, json};

use super::Stage;
use crate::sdk::{Access, next};

/// A setting and its value; what is called, with `N` a number that differs at each call; where in the answer to look, and what is there
/// before and after.
type Row = (&'static str, &'static str, &'static str, &'static str, &'static str, u64, u64);

const FRIEND: &str =
    r#"{"From_Account":"uN","AddFriendItem":[{"To_Account":"vN","AddSource":"AddSource_Type_XX"}]}"#;
const FOLLOW: &str = r#"{"From_Account":"uN","FollowItem":[{"To_Account":"vN"}]}"#;
const NICK: &str = r#"{"From_Account":"uN","ProfileItem":[{"Tag":"Tag_Profile_IM_Nick","Value":"a Zebra"}]}"#;
const OLD: &str =
    r#"{"Operator_Account":"old1","Peer_Account":"old2","MaxCnt":10,"MinTime":0,"MaxTime":4000000000}"#;
const GROUP: &str = "group_open_http_svc/create_group";
const TOPIC: (&str, &str) =
    ("million_group_open_http_svc/create_topic", r#"{"GroupId":"@TGS#_talk","TopicName":"x"}"#);
const ITEM: &str = "/ResultItem/0/ResultCode";

#[rustfmt::skip]
const BY_REST: &[Row] = &[
    ("people.allow_type", "need_confirm", "sns/friend_add", FRIEND, ITEM, 0, 30539),
    ("people.allow_type", "deny_any", "sns/friend_add", FRIEND, ITEM, 0, 30516),
    ("people.refused_words", r#"["zebra"]"#, "profile/portrait_set", NICK, "/ErrorCode", 0, 40005),
    ("people.friends_max", "0", "sns/friend_add", FRIEND, ITEM, 0, 30010),
    ("people.blocks_max", "0", "sns/black_list_add", r#"{"From_Account":"uN","To_Account":["vN"]}"#, ITEM, 0, 30013),
    ("people.friend_groups_max", "0", "sns/group_add", r#"{"From_Account":"uN","GroupName":["g"]}"#, "/ErrorCode", 0, 30011),
    ("people.following_max", "0", "sns/follow_add", FOLLOW, ITEM, 0, 30010),
    ("roaming_days", "1", "openim/admin_getroammsg", OLD, "/MsgCnt", 1, 0),
    ("groups.groups_max", "1", GROUP, r#"{"Owner_Account":"u0","Type":"Public","Name":"x"}"#, "/ErrorCode", 0, 10058),
    ("groups.created_per_day", "1", GROUP, r#"{"Owner_Account":"u0","Type":"Public","Name":"x"}"#, "/ErrorCode", 0, 10006),
    ("groups.joined_max", "1", GROUP, r#"{"Owner_Account":"u0","Type":"Public","Name":"x"}"#, "/ErrorCode", 0, 10037),
    ("groups.communities_max", "1", GROUP, r#"{"Owner_Account":"u0","Type":"Community","Name":"x"}"#, "/ErrorCode", 0, 10036),
    ("groups.rooms_max", "1", GROUP, r#"{"Owner_Account":"u0","Type":"AVChatRoom","Name":"x"}"#, "/ErrorCode", 0, 10036),
    ("groups.topics", "false", GROUP, r#"{"Owner_Account":"u1","Type":"Community","Name":"x","SupportTopic":1}"#, "/ErrorCode", 0, 11000),
    ("groups.topics_max", "1", TOPIC.0, TOPIC.1, "/ErrorCode", 0, 10037),
    ("groups.app_topics_max", "1", TOPIC.0, TOPIC.1, "/ErrorCode", 0, 10036),
    ("people.conversations_max", "1", "recentcontact/get_list",
     r#"{"From_Account":"lister","TimeStamp":0,"StartIndex":0,"TopTimeStamp":0,"TopStartIndex":0,"AssistFlags":7}"#, "/SessionItem", 2, 1),
];

/// In the tests of the backend, `src/chat/tests/it/people/presence.rs`: a client has to be lost without a word; and
/// `src/chat/tests/it/history.rs`: an hour has to go by. And those of back ends, in `tests/it/callbacks/settings.rs`.
const ELSEWHERE: &[&str] = &[
    "presence_native",
    "presence_web",
    "people.push_online",
    "history_files",
    "callback.url",
    "callback.events",
    "callback.before_failure",
    "callback.retry_after",
    "callback.token",
    "callback.sign",
    "callback.allow_private",
    "callback.concurrency",
];

fn number(answer: &Value, at: &str) -> u64 {
    let found = answer.pointer(at).unwrap_or_else(|| panic!("{at} of {answer}"));
    found.as_array().map_or_else(|| found.as_u64().unwrap(), |list| list.len() as u64)
}

fn message(from: &str, to: &str) -> Value {
    json!({ "From_Account": from, "To_Account": to, "MsgRandom": 7,
        "MsgBody": [{ "MsgType": "TIMTextElem", "MsgContent": { "Text": "hi" } }] })
}

#[test]
fn each_setting_that_back_ends_see_counts_at_once() {
    let stage = Stage::start(&["--set", "chat.push.accounts_per_s=1"]);
    let back_end = &stage.back_end;
    let names: Vec<_> = (0..40).flat_map(|n| [format!("u{n}"), format!("v{n}")]).collect();
    for some in names.chunks(100) {
        back_end.done("im_open_login_svc/multiaccount_import", &json!({ "Accounts": some }));
    }
    for name in ["old1", "old2", "lister"] {
        back_end.done("im_open_login_svc/account_import", &json!({ "UserID": name }));
    }
    let two_days_ago =
        std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs() - 2 * 86_400;
    let mut old = message("old1", "old2");
    (old["SyncFromOldSystem"], old["MsgTimeStamp"], old["MsgSeq"]) =
        (2.into(), two_days_ago.into(), 1.into());
    back_end.done("openim/importmsg", &old);
    for peer in ["old1", "old2"] {
        back_end.done("openim/sendmsg", &message("lister", peer));
    }
    let talk = json!({ "GroupId": "@TGS#_talk", "Owner_Account": "u2", "Type": "Community", "Name": "x", "SupportTopic": 1 });
    back_end.done(GROUP, &talk);
    let mut n = 0;
    let mut wrong = Vec::new();
    for (setting, value, path, body, at, before, after) in BY_REST {
        let mut call = || {
            n += 1;
            let body = body.replace("uN", &format!("u{n}")).replace("vN", &format!("v{n}"));
            number(&back_end.ask(path, &back_end.query(), &body), at)
        };
        let first = call();
        stage.set(setting, value);
        let second = call();
        stage.unset(setting);
        let third = call();
        if (first, second, third) != (*before, *after, *before) {
            wrong.push(format!(
                "{setting} {value}: {first}, {second}, {third}, not {before}, {after}, {before}"
            ));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");

    // Applications that wait: none has room.
    stage.set("people.allow_type", "need_confirm");
    stage.set("people.applications_unread_max", "0");
    assert_eq!(
        number(&back_end.ask("sns/friend_add", &back_end.query(), &FRIEND.replace('N', "39")), ITEM),
        30012
    );

    // Pushes, of which one is sent and the others wait: a user in a second.
    let mut random = 0;
    let mut push = || {
        random += 1;
        let mut body = message("lister", "");
        (body["MsgRandom"], body["MsgLifeTime"]) = (random.into(), 60.into());
        back_end.call("all_member_push/im_push", &body)["ErrorCode"].as_u64().unwrap()
    };
    assert_eq!(push(), 90045);
    stage.set("push.enabled", "true");
    assert_eq!(push(), 0);
    stage.set("push.interval", "1h");
    assert_eq!(push(), 90024);
    stage.set("push.interval", "0s");
    assert_eq!(push(), 0);
    stage.set("push.per_day", "2");
    assert_eq!(push(), 90047);
    stage.unset("push.per_day");
    stage.set("push.waiting_max", "1");
    assert!((0..9).any(|_| push() == 60018), "more than one waits");

    // How often the App may call.
    let code = |path: &str| back_end.call(path, &json!({}))["ErrorCode"].as_u64().unwrap();
    stage.set("rest.app_calls_per_s", "1");
    // Two calls of one second come some time.
    while code("im_open_login_svc/kick") != 60011 {}
    stage.unset("rest.app_calls_per_s");
    assert_eq!(code("im_open_login_svc/kick"), 70402);
    while code("nearport/app_settings_set") != 60007 {}
    stage.set("rest.command_rates", "false");
    assert!((0..60).all(|_| code("nearport/app_settings_set") == 60003));
}

type Case = fn(Scene) -> Pin<Box<dyn Future<Output = ()> + Send>>;

/// A node of its own for each, since they leave sessions and relations behind.
struct Scene {
    stage: Stage,
    access: Access,
}

impl Scene {
    fn new() -> Self {
        let stage = Stage::start(&[]);
        let access = Access::of(&stage.node, stage.dir.path());
        stage
            .back_end
            .done("im_open_login_svc/multiaccount_import", &json!({ "Accounts": ["carol", "dave"] }));
        Self { stage, access }
    }

    async fn login(&self, name: &str) -> Client {
        self.access.login(name, &[]).await
    }

    /// A device of its own.
    fn device(&self, name: &str, device: &str, platform: Platform) -> Client {
        self.access.connect(Config { device: device.into(), platform, ..self.access.config(name, &[]) })
    }

    async fn online(&self, name: &str, device: &str, platform: Platform) -> Client {
        let client = self.device(name, device, platform);
        client.ready(crate::node::STUCK).await.unwrap();
        client
    }
}

/// A session that another one has ended.
async fn kicked(client: &Client) {
    loop {
        if let Event::Stopped { code, .. } = next(client).await {
            assert_eq!(code, CloseCode::KICKED);
            return;
        }
    }
}

macro_rules! case {
    (|$scene:ident| $body:block) => {
        |$scene: Scene| Box::pin(async move { $body })
    };
}

/// The code in an error of the SDK.
fn says<T: std::fmt::Debug, E: std::fmt::Display>(outcome: Result<T, E>, code: u32) {
    let error = outcome.map(|done| format!("{done:?}")).map_err(|error| error.to_string());
    assert!(error.as_ref().is_err_and(|error| error.contains(&code.to_string())), "{error:?}, not {code}");
}

#[rustfmt::skip]
const BY_CLIENTS: &[(&str, Case)] = &[
    ("people.friend_check", case!(|scene| {
        let alice = scene.login("alice").await;
        alice.send(user("bob"), text("a")).await.unwrap();
        scene.stage.set("people.friend_check", "true");
        says(alice.send(user("bob"), text("b")).await, 20009);
        scene.stage.unset("people.friend_check");
        alice.send(user("bob"), text("c")).await.unwrap();
    })),
    ("people.block_silently", case!(|scene| {
        let (alice, bob) = (scene.login("alice").await, scene.login("bob").await);
        bob.block("alice").await.unwrap();
        alice.send(user("bob"), text("a")).await.unwrap();
        scene.stage.set("people.block_silently", "false");
        says(alice.send(user("bob"), text("b")).await, 20007);
        // What is remembered of the pair is whole: the other switch finds that they are no friends.
        bob.unblock("alice").await.unwrap();
        bob.block("carol").await.unwrap();
        alice.send(user("bob"), text("c")).await.unwrap();
        scene.stage.set("people.friend_check", "true");
        says(alice.send(user("bob"), text("d")).await, 20009);
    })),
    ("recall_window", case!(|scene| {
        let alice = scene.login("alice").await;
        let (first, second) = (alice.send(user("bob"), text("a")).await.unwrap(), alice.send(user("bob"), text("b")).await.unwrap());
        alice.recall(user("bob"), first.seq, "").await.unwrap();
        scene.stage.set("recall_window", "0s");
        says(alice.recall(user("bob"), second.seq, "").await, 20016);
    })),
    ("edit_window", case!(|scene| {
        let alice = scene.login("alice").await;
        let sent = alice.send(user("bob"), text("a")).await.unwrap();
        alice.edit(user("bob"), sent.seq, text("b").elements).await.unwrap();
        scene.stage.set("edit_window", "0s");
        says(alice.edit(user("bob"), sent.seq, text("c").elements).await, 20016);
    })),
    ("receipts", case!(|scene| {
        let bob = scene.login("bob").await;
        let asks = |scene: &Scene, random: u32| {
            let mut asking = message("alice", "bob");
            (asking["IsNeedReadReceipt"], asking["MsgRandom"]) = (1.into(), random.into());
            scene.stage.back_end.done("openim/sendmsg", &asking);
        };
        asks(&scene, 1);
        assert!(crate::sdk::message(&bob).await.need_receipt);
        scene.stage.set("receipts", "false");
        asks(&scene, 2);
        assert!(!crate::sdk::message(&bob).await.need_receipt);
    })),
    ("multi_device", case!(|scene| {
        let phone = scene.online("alice", "a", Platform::Android).await;
        let desk = scene.online("alice", "b", Platform::Windows).await;
        phone.flush().await.unwrap();
        scene.stage.set("multi_device", "single");
        let mac = scene.online("alice", "c", Platform::Mac).await;
        kicked(&phone).await;
        kicked(&desk).await;
        mac.flush().await.unwrap();
    })),
    ("native_instances", case!(|scene| {
        let first = scene.online("alice", "a", Platform::Android).await;
        scene.stage.set("native_instances", "1");
        let _second = scene.online("alice", "b", Platform::Android).await;
        kicked(&first).await;
    })),
    ("web_instances", case!(|scene| {
        let first = scene.online("alice", "a", Platform::Web).await;
        scene.stage.set("web_instances", "1");
        let _second = scene.online("alice", "b", Platform::Web).await;
        kicked(&first).await;
    })),
    ("user_sessions_max", case!(|scene| {
        let first = scene.online("alice", "a", Platform::Android).await;
        let second = scene.online("alice", "b", Platform::Windows).await;
        scene.stage.set("user_sessions_max", "1");
        let _third = scene.online("alice", "c", Platform::Mac).await;
        kicked(&first).await;
        kicked(&second).await;
    })),
    ("app_sessions_max", case!(|scene| {
        let _alice = scene.login("alice").await;
        scene.stage.set("app_sessions_max", "1");
        let bob = scene.device("bob", "b", Platform::Android);
        loop {
            if let Event::Disconnected { code, reason, .. } = next(&bob).await {
                assert!(code == CloseCode::BUSY && reason.contains("60018"), "{code} {reason}");
                break;
            }
        }
        // It comes as soon as there is room.
        scene.stage.unset("app_sessions_max");
        bob.ready(crate::node::STUCK).await.unwrap();
    })),
    ("live_last_n", case!(|scene| {
        let (alice, bob) = (scene.login("alice").await, scene.login("bob").await);
        let create = GroupCreate { group: "room".into(), r#type: "AVChatRoom".into(), name: "r".into(), ..GroupCreate::default() };
        alice.create_group(create).await.unwrap();
        alice.join_live_room("room").await.unwrap();
        alice.send(group("room"), text("before")).await.unwrap();
        scene.stage.set("live_last_n", "5");
        // A room that is there takes it from the next one who joins.
        assert_eq!(bob.join_live_room("room").await.unwrap().last.len(), 0);
        alice.send(group("room"), text("after")).await.unwrap();
        let carol = scene.login("carol").await;
        assert_eq!(carol.join_live_room("room").await.unwrap().last.len(), 1);
    })),
    ("people.watched_max", case!(|scene| {
        let alice = scene.login("alice").await;
        alice.subscribe_statuses(vec!["bob".into()]).await.unwrap();
        scene.stage.set("people.watched_max", "1");
        says(alice.subscribe_statuses(vec!["carol".into()]).await, 40001);
    })),
    ("people.watchers_max", case!(|scene| {
        let (alice, bob) = (scene.login("alice").await, scene.login("bob").await);
        alice.subscribe_statuses(vec!["carol".into()]).await.unwrap();
        scene.stage.set("people.watchers_max", "1");
        says(bob.subscribe_statuses(vec!["carol".into()]).await, 60018);
    })),
    ("people.pins_max", case!(|scene| {
        let alice = scene.login("alice").await;
        for peer in ["bob", "carol"] {
            alice.send(user(peer), text("a")).await.unwrap();
        }
        alice.pin_conversation(user("bob"), true).await.unwrap();
        scene.stage.set("people.pins_max", "1");
        says(alice.pin_conversation(user("carol"), true).await, 51012);
    })),
    ("groups.applications_max", case!(|scene| {
        let (alice, bob) = (scene.login("alice").await, scene.login("bob").await);
        let create = GroupCreate { group: "club".into(), r#type: "Public".into(), name: "c".into(), ..GroupCreate::default() };
        alice.create_group(create).await.unwrap();
        scene.stage.back_end.done("group_open_http_svc/modify_group_base_info",
            &json!({ "GroupId": "club", "ApplyJoinOption": "NeedPermission" }));
        bob.join_group("club", "please").await.unwrap();
        scene.stage.set("groups.applications_max", "1");
        let carol = scene.login("carol").await;
        says(carol.join_group("club", "please").await, 10006);
    })),
    ("groups.notices_max", case!(|scene| {
        let (alice, bob) = (scene.login("alice").await, scene.login("bob").await);
        let create = |id: &str| GroupCreate { group: id.into(), r#type: "Public".into(), name: id.into(), ..GroupCreate::default() };
        for id in ["told", "silent"] {
            alice.create_group(create(id)).await.unwrap();
            scene.stage.back_end.done("group_open_http_svc/add_group_member",
                &json!({ "GroupId": id, "MemberList": [{ "Member_Account": "bob" }] }));
        }
        scene.stage.set("groups.notices_max", "0");
        alice.dismiss_group("silent").await.unwrap();
        scene.stage.unset("groups.notices_max");
        alice.dismiss_group("told").await.unwrap();
        // In one order: what comes first is of the second.
        loop {
            if let Event::Notice { notice, .. } = next(&bob).await
                // A dismissal.
                && notice.r#type == 5
            {
                assert_eq!(notice.group, "told");
                break;
            }
        }
    })),
];

#[tokio::test(flavor = "multi_thread")]
async fn each_setting_that_clients_see_counts_at_once() {
    for (name, case) in BY_CLIENTS {
        eprintln!("{name}");
        case(Scene::new()).await;
    }
}

#[test]
fn each_setting_has_its_case() {
    let pushes = ["push.enabled", "push.interval", "push.per_day", "push.waiting_max"];
    let also = ["people.applications_unread_max", "rest.app_calls_per_s", "rest.command_rates"];
    let by_rest = BY_REST.iter().map(|row| row.0).chain(also).chain(pushes);
    let all: BTreeSet<_> =
        by_rest.chain(BY_CLIENTS.iter().map(|case| case.0)).chain(ELSEWHERE.iter().copied()).collect();
    let known: BTreeSet<_> = SETTINGS.iter().map(|setting| setting.name).collect();
    assert_eq!(all, known);
}
