//! What back ends hear of, and decide about, what they do themselves.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde_json::{Value, json};

use super::back_end::{Answer, BackEnd, Heard, fine};
use super::configure;
use crate::node::Node;
use crate::rest::BackEnd as Rest;

const EVENTS: [&str; 12] = [
    "C2C.CallbackBeforeSendMsg",
    "C2C.CallbackAfterSendMsg",
    "Group.CallbackBeforeSendMsg",
    "Group.CallbackAfterSendMsg",
    "Group.CallbackSendMsgException",
    "Group.CallbackBeforeCreateGroup",
    "Group.CallbackAfterCreateGroup",
    "Group.CallbackBeforeInviteJoinGroup",
    "Group.CallbackAfterNewMemberJoin",
    "Profile.CallbackPortraitSet",
    "Sns.CallbackPrevFriendAdd",
    "Sns.CallbackFriendAdd",
];

/// Decides by what a message says and how a group is called.
fn script(heard: &Heard) -> Answer {
    let json = |text: &str| Answer::Json(text.to_owned());
    match (heard.command(), heard.text(), heard.body["Name"].as_str()) {
        ("C2C.CallbackBeforeSendMsg", "veto", _) => json(r#"{"ErrorCode":1}"#),
        ("C2C.CallbackBeforeSendMsg", "custom", _) => json(r#"{"ErrorCode":120001,"ErrorInfo":"no ads"}"#),
        ("Group.CallbackBeforeSendMsg", "veto", _) => json(r#"{"ErrorCode":1}"#),
        ("Group.CallbackBeforeSendMsg", "custom", _) => json(r#"{"ErrorCode":10123,"ErrorInfo":"no ads"}"#),
        (command, "drop", _) if command.contains("Before") => json(r#"{"ErrorCode":2}"#),
        (command, "replace", _) if command.contains("Before") => {
            json(r#"{"ErrorCode":0,"MsgBody":[{"MsgType":"TIMTextElem","MsgContent":{"Text":"***"}}]}"#)
        }
        ("Group.CallbackBeforeCreateGroup", _, Some("veto")) => json(r#"{"ErrorCode":1}"#),
        ("Group.CallbackBeforeInviteJoinGroup", ..) => {
            json(r#"{"ErrorCode":0,"RefusedMembers_Account":["carol"]}"#)
        }
        _ => fine(),
    }
}

struct Stage {
    back_end: BackEnd,
    rest: Arc<Rest>,
    /// Of what was heard, so much was looked at.
    seen: usize,
    random: u32,
    _node: Node,
    _dir: tempfile::TempDir,
}

impl Stage {
    async fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut back_end = BackEnd::new(script).await;
        back_end.start().await;
        configure(dir.path(), back_end.addr, &EVENTS, "");
        let node = Node::start(dir.path(), &[]);
        let rest = Arc::new(Rest::of(dir.path()));
        Self { back_end, rest, seen: 0, random: 0, _node: node, _dir: dir }
    }

    /// A call, away from the runtime on which the back end answers. Its code.
    async fn call(&self, path: &'static str, body: Value) -> u64 {
        let rest = self.rest.clone();
        let answer = tokio::task::spawn_blocking(move || rest.call(path, &body)).await.unwrap();
        answer["ErrorCode"].as_u64().unwrap_or_else(|| panic!("{path}: {answer}"))
    }

    fn message(&mut self, text: &str, more: Value) -> Value {
        self.random += 1;
        let mut body = json!({
            "Random": self.random, "MsgRandom": self.random,
            "MsgBody": [{ "MsgType": "TIMTextElem", "MsgContent": { "Text": text } }],
        });
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        body
    }

    /// A message to bob or to the group; its code, and what was heard of it: command and text. What is told afterwards has been told once
    /// what is told of a last message to the same place has.
    async fn send(&mut self, path: &'static str, to: &Value, text: &str, more: Value) -> (u64, Vec<String>) {
        let mut fields = to.clone();
        fields.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let body = self.message(text, fields);
        let code = self.call(path, body).await;
        let last = self.message("last", to.clone());
        assert_eq!(self.call(path, last).await, 0);
        let seen = self.seen;
        let is_last = |heard: &Heard| heard.text() == "last" && heard.command().contains("After");
        self.back_end.until("the last", |heard| heard[seen..].iter().any(is_last)).await;
        let heard = self.back_end.heard();
        self.seen = heard.len();
        let about_messages = |heard: &&Heard| heard.command().contains("SendMsg") && heard.text() != "last";
        let new = heard[seen..].iter().filter(about_messages);
        (code, new.map(|heard| format!("{} {}", heard.command(), heard.text())).collect())
    }
}

#[tokio::test]
async fn messages_of_back_ends_are_asked_about_and_told_of_unless_they_forbid_it() {
    const NO_BEFORE: &str = "ForbidBeforeSendMsgCallback";
    const NO_AFTER: &str = "ForbidAfterSendMsgCallback";
    let mut stage = Stage::new().await;
    let accounts = json!({ "Accounts": ["alice", "bob", "carol"] });
    assert_eq!(stage.call("im_open_login_svc/multiaccount_import", accounts).await, 0);
    let group = json!({ "Type": "Public", "Name": "g", "GroupId": "g", "Owner_Account": "alice" });
    assert_eq!(stage.call("group_open_http_svc/create_group", group).await, 0);
    for (path, to, of, refused, own) in [
        ("openim/sendmsg", json!({ "To_Account": "bob", "From_Account": "alice" }), "C2C", 20006, 120_001),
        (
            "group_open_http_svc/send_group_msg",
            json!({ "GroupId": "g", "From_Account": "alice" }),
            "Group",
            10016,
            10123,
        ),
    ] {
        let (before, after) = (format!("{of}.CallbackBeforeSendMsg"), format!("{of}.CallbackAfterSendMsg"));
        let told = |what: &[(&String, &str)]| -> Vec<String> {
            what.iter().map(|(command, text)| format!("{command} {text}")).collect()
        };
        let none = || json!({});
        let forbids = |what: &[&str]| json!({ "ForbidCallbackControl": what });
        let sent = stage.send(path, &to, "a", none()).await;
        assert_eq!(sent, (0, told(&[(&before, "a"), (&after, "a")])));
        let sent = stage.send(path, &to, "b", forbids(&[NO_BEFORE])).await;
        assert_eq!(sent, (0, told(&[(&after, "b")])));
        let sent = stage.send(path, &to, "c", forbids(&[NO_AFTER])).await;
        assert_eq!(sent, (0, told(&[(&before, "c")])));
        let sent = stage.send(path, &to, "d", forbids(&[NO_BEFORE, NO_AFTER])).await;
        assert_eq!(sent, (0, Vec::new()));
        let sent = stage.send(path, &to, "veto", none()).await;
        assert_eq!(sent, (refused, told(&[(&before, "veto")])), "what is refused is not told of");
        let sent = stage.send(path, &to, "veto", forbids(&[NO_BEFORE])).await;
        assert_eq!(sent, (0, told(&[(&after, "veto")])), "nobody was asked");
        let sent = stage.send(path, &to, "custom", none()).await;
        assert_eq!(sent, (own, told(&[(&before, "custom")])));
        let sent = stage.send(path, &to, "drop", none()).await;
        assert_eq!(sent, (0, told(&[(&before, "drop")])));
        let sent = stage.send(path, &to, "replace", none()).await;
        assert_eq!(sent, (0, told(&[(&before, "replace"), (&after, "***")])));
    }
    // By the administrator, in the name of alice.
    let heard = stage.back_end.heard().clone();
    let of_group = heard.iter().find(|heard| heard.command() == "Group.CallbackBeforeSendMsg").unwrap();
    assert_eq!(
        (&of_group.body["From_Account"], &of_group.body["Operator_Account"]),
        (&"alice".into(), &"administrator".into())
    );
    for heard in heard.iter().filter(|heard| heard.command() != "Group.CallbackSendMsgException") {
        let query = |name: &str| heard.query.get(name).map(String::as_str);
        assert_eq!(
            (query("OptPlatform"), query("ClientIP")),
            (Some("RESTAPI"), Some("127.0.0.1")),
            "{heard:?}"
        );
    }
}

#[tokio::test]
async fn batches_and_imports_are_told_of_to_nobody_and_the_muted_are_not_asked_about() {
    let mut stage = Stage::new().await;
    let accounts = json!({ "Accounts": ["alice", "bob", "carol"] });
    assert_eq!(stage.call("im_open_login_svc/multiaccount_import", accounts).await, 0);
    let nick = json!({ "UserID": "dave", "Nick": "Dave" });
    assert_eq!(stage.call("im_open_login_svc/account_import", nick).await, 0);
    let batch = stage.message("batch", json!({ "To_Account": ["bob", "carol"], "From_Account": "alice" }));
    assert_eq!(stage.call("openim/batchsendmsg", batch).await, 0);
    for how in [1, 2, 5] {
        let import = json!({
            "SyncFromOldSystem": how, "From_Account": "alice", "To_Account": "bob", "MsgTimeStamp": 1_700_000_000 + how,
        });
        let import = stage.message("import", import);
        assert_eq!(stage.call("openim/importmsg", import).await, 0);
    }
    let friends = json!({
        "From_Account": "alice", "AddFriendItem": [{ "To_Account": "bob", "AddSource": "AddSource_Type_XX" }],
    });
    assert_eq!(stage.call("sns/friend_import", friends).await, 0);
    let group = json!({ "Type": "Public", "Name": "g", "GroupId": "i", "Owner_Account": "alice" });
    assert_eq!(stage.call("group_open_http_svc/import_group", group).await, 0);
    let members = json!({ "GroupId": "i", "MemberList": [{ "Member_Account": "bob" }] });
    assert_eq!(stage.call("group_open_http_svc/import_group_member", members).await, 0);
    let message = json!({ "GroupId": "i", "MsgList": [{
        "From_Account": "alice", "SendTime": 1_700_000_000, "Random": 1,
        "MsgBody": [{ "MsgType": "TIMTextElem", "MsgContent": { "Text": "import" } }],
    }]});
    assert_eq!(stage.call("group_open_http_svc/import_group_msg", message).await, 0);
    // Bob is muted in the group: what is sent in his name is refused, without a question.
    let mute = json!({ "GroupId": "i", "Members_Account": ["bob"], "MuteTime": 600 });
    assert_eq!(stage.call("group_open_http_svc/forbid_send_msg", mute).await, 0);
    let muted = stage.message("muted", json!({ "GroupId": "i", "From_Account": "bob" }));
    assert_eq!(stage.call("group_open_http_svc/send_group_msg", muted).await, 10017);
    // A friend that a back end adds is told of, and not asked about.
    let add = json!({
        "From_Account": "alice", "AddFriendItem": [{ "To_Account": "carol", "AddSource": "AddSource_Type_XX" }],
        "AddType": "Add_Type_Both", "ForceAddFlags": 1,
    });
    assert_eq!(stage.call("sns/friend_add", add).await, 0);
    stage
        .back_end
        .until("the friend", |heard| heard.iter().any(|one| one.command() == "Sns.CallbackFriendAdd"))
        .await;
    stage
        .back_end
        .until("the muted", |heard| heard.iter().any(|one| one.command().ends_with("Exception")))
        .await;
    let heard = stage.back_end.heard().clone();
    let commands: BTreeSet<_> = heard.iter().map(Heard::command).collect();
    assert_eq!(commands, ["Group.CallbackSendMsgException", "Sns.CallbackFriendAdd"].into());
    let friend = heard.iter().find(|one| one.command() == "Sns.CallbackFriendAdd").unwrap();
    assert_eq!(
        (&friend.body["Admin_Account"], &friend.body["ForceFlag"]),
        (&"administrator".into(), &1.into())
    );
    let muted = heard.iter().find(|one| one.command().ends_with("Exception")).unwrap();
    assert_eq!((&muted.body["ErrorCode"], muted.text()), (&10017.into(), "muted"));
    assert!(!muted.query.contains_key("ClientIP"));
}

#[tokio::test]
async fn groups_that_back_ends_make_and_whom_they_add_are_asked_about() {
    let stage = Stage::new().await;
    let accounts = json!({ "Accounts": ["alice", "bob", "carol"] });
    assert_eq!(stage.call("im_open_login_svc/multiaccount_import", accounts).await, 0);
    let create = |name: &str, id: &str| json!({ "Type": "Private", "Name": name, "GroupId": id, "Owner_Account": "alice" });
    assert_eq!(stage.call("group_open_http_svc/create_group", create("veto", "v")).await, 10016);
    assert_eq!(stage.call("group_open_http_svc/create_group", create("g", "g")).await, 0);
    let rest = stage.rest.clone();
    let members = json!({
        "GroupId": "g", "MemberList": [{ "Member_Account": "bob" }, { "Member_Account": "carol" }],
    });
    let added =
        tokio::task::spawn_blocking(move || rest.done("group_open_http_svc/add_group_member", &members));
    let added = added.await.unwrap();
    let results: Vec<_> = added["MemberList"].as_array().unwrap().iter().map(|one| &one["Result"]).collect();
    assert_eq!(results, [1, 0], "{added}");
    let joined =
        |heard: &[Heard]| heard.iter().any(|one| one.command() == "Group.CallbackAfterNewMemberJoin");
    stage.back_end.until("bob", joined).await;
    let heard = stage.back_end.heard().clone();
    let of = |command: &str| heard.iter().filter(|one| one.command() == command).collect::<Vec<_>>();
    let asked = of("Group.CallbackBeforeCreateGroup");
    assert_eq!((asked.len(), &asked[1].body["Owner_Account"]), (2, &"alice".into()));
    assert_eq!(of("Group.CallbackAfterCreateGroup").len(), 1);
    let new = &of("Group.CallbackAfterNewMemberJoin")[0].body;
    assert_eq!((&new["JoinType"], &new["Operator_Account"]), (&"Invited".into(), &"administrator".into()));
    assert_eq!(new["NewMemberList"], json!([{ "Member_Account": "bob" }]));
}
