//! Every callback that the contract names: one that is told or asked, with the exact shape of its body and what its query says of who is
//! behind it, or a line that says why it is not.

use std::collections::BTreeSet;
use std::sync::Arc;

use nearport_client::groups::{GroupCreate, GroupEdit, GroupTopicCreate};
use nearport_client::{Client, Transport, group, text, user};
use nearport_wire::body::{
    self, FriendAdd, FriendAddItem, FriendAddType, FriendApplicationAnswer, FriendApplicationAnswerType,
    GroupAttribute, GroupAttributesWrite, GroupJoinOption, TagValue, people_call::Call, tag_value,
};
use serde_json::{Value, json};

use super::back_end::{BackEnd, Heard, fine};
use super::configure;
use crate::contract::spec;
use crate::node::Node;
use crate::rest::BackEnd as Rest;
use crate::sdk::Access;

/// What is not told, or not seen in this test, and why.
const NOT_HERE: &[(&str, &str)] = &[
    ("Group.CallbackOnMemberStateChange", "twenty seconds have to pass: src/chat/tests/it/callbacks.rs"),
    ("Alert.RequestOverLimit", "the App has to call too often: the test beside"),
    ("Bot.OnC2CMessage", "there are no chatbots"),
    ("OfficialAccount.Callback…", "there are no official channels"),
];

/// Names of section 2, in which a row may have a second one in short.
fn named(page: &str) -> BTreeSet<String> {
    let section = page.split("\n## 2.").nth(1).unwrap().split("\n## ").next().unwrap();
    let mut found = BTreeSet::new();
    for row in section.lines().filter(|line| line.starts_with("| `")) {
        let mut first = String::new();
        for code in row.split('|').nth(1).unwrap().split('`').skip(1).step_by(2) {
            let name = match code.strip_prefix('…') {
                _ if code.contains('.') => code.to_owned(),
                Some(end) => format!("{}{end}", first.trim_end_matches("Add")),
                None => format!("Group.Callback{code}"),
            };
            first.clone_from(&name);
            found.insert(name);
        }
    }
    found
}

/// Who is behind an event, as the query says.
#[derive(Clone, Copy, PartialEq, Eq)]
enum By {
    Client,
    /// A client, and the address is left out.
    ClientSomewhere,
    Rest,
    RestSomewhere,
}

/// Calls away from the runtime on which the back end answers.
struct Calls(Arc<Rest>);

impl Calls {
    async fn call(&self, path: &'static str, body: Value) -> Value {
        let rest = self.0.clone();
        tokio::task::spawn_blocking(move || rest.call(path, &body)).await.unwrap()
    }

    async fn done(&self, path: &'static str, body: Value) -> Value {
        let answer = self.call(path, body).await;
        assert_eq!(answer["ErrorCode"], 0, "{path}: {answer}");
        answer
    }
}

struct Stage {
    back_end: BackEnd,
    /// Of what was heard, these were expected.
    taken: BTreeSet<usize>,
    seen: BTreeSet<String>,
}

impl Stage {
    /// Waits for a `command` that was not expected yet, of whose fields those of `body` that are not `"*"` are these; it has no others but
    /// `CallbackCommand` and `EventTime`. Gives the body.
    async fn hears(&mut self, command: &str, by: By, body: Value) -> Value {
        let wanted = |(at, heard): &(usize, &Heard), taken: &BTreeSet<usize>| {
            let fits = |(name, want): (&String, &Value)| *want == "*" || heard.body.get(name) == Some(want);
            heard.command() == command && !taken.contains(at) && body.as_object().unwrap().iter().all(fits)
        };
        let taken = &self.taken;
        let what = format!("{command} {body}");
        self.back_end.until(&what, |heard| heard.iter().enumerate().any(|one| wanted(&one, taken))).await;
        let (at, heard) = {
            let all = self.back_end.heard();
            let (at, heard) = all.iter().enumerate().find(|one| wanted(one, taken)).unwrap();
            (at, heard.clone())
        };
        self.taken.insert(at);
        self.seen.insert(command.to_owned());
        let names = |body: &Value| body.as_object().unwrap().keys().cloned().collect::<BTreeSet<_>>();
        let mut all = names(&body);
        all.extend(["CallbackCommand".to_owned(), "EventTime".to_owned()]);
        assert_eq!(names(&heard.body), all, "{command}");
        assert!(heard.body["EventTime"].is_u64(), "{command}");
        let query = |name: &str| heard.query.get(name).map(String::as_str);
        assert_eq!((query("CallbackCommand"), query("contenttype")), (Some(command), Some("json")));
        let (platform, ip) = match by {
            By::Client => (Some("Unknown"), Some("127.0.0.1")),
            By::ClientSomewhere => (Some("Unknown"), None),
            By::Rest => (Some("RESTAPI"), Some("127.0.0.1")),
            By::RestSomewhere => (Some("RESTAPI"), None),
        };
        assert_eq!((query("OptPlatform"), query("ClientIP")), (platform, ip), "{command}");
        heard.body
    }
}

async fn people(client: &Client, call: Call) {
    client.people_call(call).await.unwrap();
}

fn field(tag: &str, value: &str) -> TagValue {
    TagValue { tag: tag.into(), value: Some(tag_value::Value::Text(value.into())) }
}

fn adding(name: &str) -> Call {
    let item = FriendAddItem {
        user: name.into(),
        source: "AddSource_Type_Test".into(),
        wording: "hi".into(),
        ..FriendAddItem::default()
    };
    Call::FriendAdd(FriendAdd { items: vec![item], r#type: FriendAddType::Both.into() })
}

#[tokio::test]
async fn each_callback_of_the_contract_is_told_or_it_is_said_why_not() {
    let dir = tempfile::tempdir().unwrap();
    let mut back_end = BackEnd::new(|_| fine()).await;
    back_end.start().await;
    let events: Vec<&str> =
        nearport_chat::callback::Command::ALL.iter().map(|command| command.name()).collect();
    configure(dir.path(), back_end.addr, &events, "");
    let node = Node::start(dir.path(), &[]);
    let access = Access::of(&node, dir.path());
    let calls = Calls(Arc::new(Rest::of(dir.path())));
    let mut stage = Stage { back_end, taken: BTreeSet::new(), seen: BTreeSet::new() };
    let alice = access.login("alice", &[Transport::Tls]).await;
    let online =
        |name: &str| json!({ "Info": { "Action": "Login", "To_Account": name, "Reason": "Register" } });
    stage.hears("State.StateChange", By::Client, online("alice")).await;
    let bob = access.login("bob", &[Transport::Tls]).await;
    let carol = access.login("carol", &[Transport::Tls]).await;
    stage.hears("State.StateChange", By::Client, online("carol")).await;

    // People.
    let careful = vec![field("Tag_Profile_IM_AllowType", "AllowType_Type_NeedConfirm")];
    bob.set_profile(careful).await.unwrap();
    let item = json!([{ "Tag": "Tag_Profile_IM_AllowType", "Value": "AllowType_Type_NeedConfirm" }]);
    let set = json!({ "From_Account": "bob", "Operator_Account": "bob", "ProfileItem": item });
    stage.hears("Profile.CallbackPortraitSet", By::Client, set).await;
    let open = vec![field("Tag_Profile_IM_AllowType", "AllowType_Type_AllowAny")];
    carol.set_profile(open).await.unwrap();
    let friend = |to: &str| {
        json!({
            "Requester_Account": "alice", "From_Account": "alice", "AddType": "Add_Type_Both", "ForceAddFlags": 0,
            "FriendItem": [{
                "To_Account": to, "Remark": "", "GroupName": "", "AddSource": "AddSource_Type_Test", "AddWording": "hi",
            }],
        })
    };
    people(&alice, adding("carol")).await;
    stage.hears("Sns.CallbackPrevFriendAdd", By::Client, friend("carol")).await;
    let pair = |from: &str, to: &str| json!({ "From_Account": from, "To_Account": to });
    let made = |from: &str, to: &str, by: &str| json!({ "From_Account": from, "To_Account": to, "Initiator_Account": by });
    let added = |a: &str, b: &str, by: &str, how: &str| {
        json!({
            "PairList": [made(a, b, by), made(b, a, by)], "ClientCmd": how, "Admin_Account": "", "ForceFlag": 0,
        })
    };
    stage.hears("Sns.CallbackFriendAdd", By::Client, added("alice", "carol", "alice", "friend_add")).await;
    people(&alice, adding("bob")).await;
    let answer = FriendApplicationAnswer {
        users: vec!["alice".into()],
        r#type: FriendApplicationAnswerType::FriendApplicationAnswerAcceptAndAdd.into(),
        ..FriendApplicationAnswer::default()
    };
    people(&bob, Call::ApplicationAnswer(answer)).await;
    let response = json!({
        "Requester_Account": "bob", "From_Account": "bob",
        "ResponseFriendItem": [{
            "To_Account": "alice", "Remark": "", "TagName": "", "ResponseAction": "Response_Action_AgreeAndAdd",
        }],
    });
    stage.hears("Sns.CallbackPrevFriendResponse", By::Client, response).await;
    let responded = added("alice", "bob", "alice", "friend_response");
    stage.hears("Sns.CallbackFriendAdd", By::Client, responded).await;
    people(&alice, Call::FriendDelete(body::FriendDelete { users: vec!["bob".into()], both: false })).await;
    stage.hears("Sns.CallbackFriendDelete", By::Client, json!({ "PairList": [pair("alice", "bob")] })).await;
    people(&alice, Call::BlockAdd(body::BlockAdd { users: vec!["carol".into()] })).await;
    stage
        .hears("Sns.CallbackBlackListAdd", By::Client, json!({ "PairList": [pair("alice", "carol")] }))
        .await;
    people(&alice, Call::BlockDelete(body::BlockDelete { users: vec!["carol".into()] })).await;
    stage
        .hears("Sns.CallbackBlackListDelete", By::Client, json!({ "PairList": [pair("alice", "carol")] }))
        .await;

    // Messages of pairs.
    let says = |text: &str| json!([{ "MsgType": "TIMTextElem", "MsgContent": { "Text": text } }]);
    let sent = alice.send(user("bob"), text("hello")).await.unwrap();
    let before = json!({
        "From_Account": "alice", "To_Account": "bob", "MsgSeq": sent.seq, "MsgRandom": "*", "MsgTime": "*", "MsgKey": "*",
        "OnlineOnlyFlag": 0, "MsgBody": says("hello"), "CloudCustomData": "",
    });
    stage.hears("C2C.CallbackBeforeSendMsg", By::Client, before.clone()).await;
    let mut after = before;
    let more = json!({
        "MsgKey": sent.msg_key, "SendMsgResult": 0, "ErrorInfo": "send msg succeed", "UnreadMsgNum": 1,
    });
    after.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    stage.hears("C2C.CallbackAfterSendMsg", By::Client, after).await;
    bob.mark_read(user("alice"), sent.seq).await.unwrap();
    let read =
        json!({ "Report_Account": "bob", "Peer_Account": "alice", "LastReadTime": "*", "UnreadMsgNum": 0 });
    stage.hears("C2C.CallbackAfterMsgReport", By::Client, read).await;
    alice.recall(user("bob"), sent.seq, "").await.unwrap();
    let recalled =
        json!({ "From_Account": "alice", "To_Account": "bob", "MsgKey": sent.msg_key, "UnreadMsgNum": 0 });
    stage.hears("C2C.CallbackAfterMsgWithDraw", By::Client, recalled).await;
    let extensible = json!({
        "From_Account": "alice", "To_Account": "bob", "MsgRandom": 1, "SupportMessageExtension": 1, "MsgBody": says("vote"),
    });
    let key = calls.done("openim/sendmsg", extensible).await["MsgKey"].clone();
    let set = json!({
        "From_Account": "alice", "To_Account": "bob", "MsgKey": key, "OperateType": 1,
        "ExtensionList": [{ "Key": "k", "Value": "v" }],
    });
    calls.done("openim_msg_ext_http_svc/set_key_values", set).await;
    let changed = json!({
        "From_Account": "alice", "To_Account": "bob", "MsgKey": key, "OperateType": 1, "Seq": 1,
        "ExtensionList": [{ "Key": "k", "Value": "v", "Seq": 1 }],
    });
    stage.hears("C2C.CallbackAfterC2CMsgExtension", By::Rest, changed).await;

    groups(&mut stage, [&alice, &bob], &calls).await;
    tokio::join!(alice.close(), bob.close(), carol.close());

    let Some(page) = spec::page("callbacks.md") else { return };
    let named = named(&page);
    let excused: BTreeSet<String> = NOT_HERE.iter().map(|(name, _)| (*name).to_owned()).collect();
    let missing: Vec<_> =
        named.iter().filter(|name| !stage.seen.contains(*name) && !excused.contains(*name)).collect();
    let stale: Vec<_> =
        excused.iter().filter(|name| !named.contains(*name) || stage.seen.contains(*name)).collect();
    assert!(missing.is_empty() && stale.is_empty(), "not seen: {missing:#?}\nof nothing: {stale:#?}");
    assert!(named.is_superset(&stage.seen), "{:#?}", stage.seen.difference(&named));
}

async fn groups(stage: &mut Stage, [alice, bob]: [&Client; 2], calls: &Calls) {
    let says = |text: &str| json!([{ "MsgType": "TIMTextElem", "MsgContent": { "Text": text } }]);
    let member = |name: &str| json!([{ "Member_Account": name }]);
    let create =
        GroupCreate { r#type: "Work".into(), name: "w".into(), group: "w".into(), ..GroupCreate::default() };
    alice.create_group(create).await.unwrap();
    let before = json!({
        "Operator_Account": "alice", "Owner_Account": "alice", "Type": "Private", "Name": "w", "CreateGroupNum": 0,
        "MemberList": [],
    });
    stage.hears("Group.CallbackBeforeCreateGroup", By::Client, before).await;
    let after = json!({
        "GroupId": "w", "Operator_Account": "alice", "Owner_Account": "alice", "Type": "Private", "Name": "w",
        "MemberList": member("alice"), "UserDefinedDataList": [],
    });
    stage.hears("Group.CallbackAfterCreateGroup", By::Client, after).await;
    alice.invite_to_group("w", vec!["bob".into()], "").await.unwrap();
    let invite = json!({
        "GroupId": "w", "Type": "Private", "Operator_Account": "alice", "DestinationMembers": member("bob"),
    });
    stage.hears("Group.CallbackBeforeInviteJoinGroup", By::Client, invite).await;
    let invited = json!({
        "GroupId": "w", "Type": "Private", "JoinType": "Invited", "Operator_Account": "alice",
        "NewMemberList": member("bob"),
    });
    stage.hears("Group.CallbackAfterNewMemberJoin", By::Client, invited).await;
    // A group that is full with its second member.
    let create = GroupCreate {
        r#type: "Public".into(),
        name: "p".into(),
        group: "p".into(),
        join: GroupJoinOption::GroupJoinFree.into(),
        members_max: 2,
        ..GroupCreate::default()
    };
    alice.create_group(create).await.unwrap();
    bob.join_group("p", "").await.unwrap();
    let join = json!({ "GroupId": "p", "Type": "Public", "Requestor_Account": "bob" });
    stage.hears("Group.CallbackBeforeApplyJoinGroup", By::Client, join).await;
    let joined = json!({
        "GroupId": "p", "Type": "Public", "JoinType": "Apply", "Operator_Account": "bob",
        "NewMemberList": member("bob"),
    });
    stage.hears("Group.CallbackAfterNewMemberJoin", By::Client, joined).await;
    stage.hears("Group.CallbackAfterGroupFull", By::Client, json!({ "GroupId": "p" })).await;
    let one_more = json!({ "GroupId": "p", "MemberList": [{ "Member_Account": "carol" }] });
    assert_eq!(calls.call("group_open_http_svc/add_group_member", one_more).await["ErrorCode"], 10014);
    stage.hears("Group.CallbackAfterGroupFull", By::Rest, json!({ "GroupId": "p" })).await;

    let sent = bob.send(group("p"), text("hello")).await.unwrap();
    let before = json!({
        "GroupId": "p", "Type": "Public", "From_Account": "bob", "Operator_Account": "bob", "Random": "*",
        "OnlineOnlyFlag": 0, "MsgBody": says("hello"), "CloudCustomData": "",
    });
    stage.hears("Group.CallbackBeforeSendMsg", By::Client, before.clone()).await;
    let mut after = before.clone();
    let more = json!({ "MsgId": "*", "MsgSeq": sent.seq, "MsgTime": sent.time_ms / 1000 });
    after.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    stage.hears("Group.CallbackAfterSendMsg", By::Client, after).await;
    bob.recall(group("p"), sent.seq, "").await.unwrap();
    let recalled = json!({
        "GroupId": "p", "Type": "Public", "Operator_Account": "bob", "MsgSeqList": [{ "MsgSeq": sent.seq }],
        "TopicId": "",
    });
    stage.hears("Group.CallbackAfterRecallMsg", By::Client, recalled).await;
    // Who is muted is not asked about, and told of.
    alice.mute_group_members("p", vec!["bob".into()], 600).await.unwrap();
    bob.send(group("p"), text("muted")).await.unwrap_err();
    let mut refused = before;
    let more = json!({ "MsgBody": says("muted"), "ErrorCode": 10017, "ErrorInfo": "*" });
    refused.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    stage.hears("Group.CallbackSendMsgException", By::ClientSomewhere, refused).await;
    let asked = stage
        .back_end
        .heard()
        .iter()
        .any(|one| one.command() == "Group.CallbackBeforeSendMsg" && one.text() == "muted");
    assert!(!asked, "nobody is asked about what is refused");

    let edit = GroupEdit { group: "p".into(), name: Some("new".into()), ..GroupEdit::default() };
    alice.edit_group(edit).await.unwrap();
    let info = json!({ "GroupId": "p", "Type": "Public", "Operator_Account": "alice", "Name": "new" });
    stage.hears("Group.CallbackAfterGroupInfoChanged", By::Client, info).await;
    bob.quit_group("p").await.unwrap();
    let quit = json!({
        "GroupId": "p", "Type": "Public", "ExitType": "Quit", "Operator_Account": "bob",
        "ExitMemberList": member("bob"),
    });
    stage.hears("Group.CallbackAfterMemberExit", By::Client, quit).await;
    let kick = json!({ "GroupId": "w", "MemberToDel_Account": ["bob"] });
    calls.done("group_open_http_svc/delete_group_member", kick).await;
    let kicked = json!({
        "GroupId": "w", "Type": "Private", "ExitType": "Kicked", "Operator_Account": "administrator",
        "ExitMemberList": member("bob"),
    });
    stage.hears("Group.CallbackAfterMemberExit", By::Rest, kicked).await;

    // A live room.
    let create = GroupCreate {
        r#type: "AVChatRoom".into(),
        name: "l".into(),
        group: "l".into(),
        ..GroupCreate::default()
    };
    alice.create_group(create).await.unwrap();
    bob.join_live_room("l").await.unwrap();
    let came = json!({
        "GroupId": "l", "Type": "AVChatRoom", "JoinType": "Apply", "Operator_Account": "bob",
        "NewMemberList": member("bob"),
    });
    stage.hears("Group.CallbackAfterNewMemberJoin", By::Client, came).await;
    bob.send(group("l"), text("live")).await.unwrap();
    let live = json!({
        "GroupId": "l", "Type": "AVChatRoom", "From_Account": "bob", "Operator_Account": "bob", "Random": "*",
        "OnlineOnlyFlag": 0, "MsgBody": says("live"), "CloudCustomData": "", "MsgId": "*", "MsgSeq": 0, "MsgTime": "*",
    });
    stage.hears("Group.CallbackAfterSendMsg", By::Client, live).await;
    let items = vec![GroupAttribute { key: "k".into(), value: "v".into() }];
    let write = GroupAttributesWrite { group: "l".into(), items, ..GroupAttributesWrite::default() };
    alice.write_group_attributes(write).await.unwrap();
    let attributes = json!({
        "GroupId": "l", "Type": "AVChatRoom", "Operator_Account": "alice", "GroupAttr": [{ "key": "k", "value": "v" }],
    });
    stage.hears("Group.CallbackAfterGroupAttrChanged", By::Client, attributes).await;
    bob.quit_group("l").await.unwrap();
    let went = json!({
        "GroupId": "l", "Type": "AVChatRoom", "ExitType": "Quit", "Operator_Account": "bob",
        "ExitMemberList": member("bob"),
    });
    stage.hears("Group.CallbackAfterMemberExit", By::Client, went).await;

    // Topics of a community, and what is said there.
    let create = GroupCreate {
        r#type: "Community".into(),
        name: "c".into(),
        group: "@TGS#_c".into(),
        topics: true,
        ..GroupCreate::default()
    };
    alice.create_group(create).await.unwrap();
    let create = GroupTopicCreate {
        group: "@TGS#_c".into(),
        name: "t".into(),
        topic: "@TGS#_c@TOPIC#_t".into(),
        ..GroupTopicCreate::default()
    };
    let topic = alice.create_topic(create).await.unwrap();
    let before = json!({ "Operator_Account": "alice", "Type": "Community", "Name": "t" });
    stage.hears("Group.CallbackBeforeCreateTopic", By::Client, before).await;
    let made = json!({
        "GroupId": "@TGS#_c", "Type": "Community", "Operator_Account": "alice", "TopicId": topic, "TopicName": "t",
    });
    stage.hears("Group.CallbackAfterCreateTopic", By::Client, made).await;
    let edit = json!({ "GroupId": "@TGS#_c", "TopicId": topic, "TopicName": "u", "MuteAllMember": "On" });
    calls.done("million_group_open_http_svc/modify_topic", edit).await;
    let changed = json!({
        "GroupId": "@TGS#_c", "Type": "Community", "Operator_Account": "administrator", "TopicId": topic,
        "TopicName": "u", "MuteAllMember": "On",
    });
    stage.hears("Group.CallbackAfterTopicInfoChanged", By::Rest, changed).await;
    let sent = alice.send(group(&*topic), text("in a topic")).await.unwrap();
    let said = json!({
        "GroupId": "@TGS#_c", "TopicId": topic, "Type": "Community", "From_Account": "alice",
        "Operator_Account": "alice", "Random": "*", "OnlineOnlyFlag": 0, "MsgBody": says("in a topic"),
        "CloudCustomData": "", "MsgId": "*", "MsgSeq": sent.seq, "MsgTime": sent.time_ms / 1000,
    });
    stage.hears("Group.CallbackAfterSendMsg", By::Client, said).await;
    alice.recall(group(&*topic), sent.seq, "").await.unwrap();
    let recalled = json!({
        "GroupId": "@TGS#_c", "TopicId": topic, "Type": "Community", "Operator_Account": "alice",
        "MsgSeqList": [{ "MsgSeq": sent.seq }],
    });
    stage.hears("Group.CallbackAfterRecallMsg", By::Client, recalled).await;
    let end = json!({ "GroupId": "@TGS#_c", "TopicIdList": [topic] });
    calls.done("million_group_open_http_svc/destroy_topic", end).await;
    let destroyed = json!({ "GroupId": "@TGS#_c", "Type": "Community", "TopicIdList": [topic] });
    stage.hears("Group.CallbackAfterTopicDestroyed", By::Rest, destroyed).await;

    alice.dismiss_group("p").await.unwrap();
    let gone = json!({
        "GroupId": "p", "Type": "Public", "Owner_Account": "alice", "Name": "new", "MemberList": member("alice"),
    });
    stage.hears("Group.CallbackAfterGroupDestroyed", By::Client, gone).await;
}

/// An App that calls more often in a second than it may is told so, once for the second.
#[tokio::test]
async fn an_app_that_calls_too_often_hears_of_it() {
    let dir = tempfile::tempdir().unwrap();
    let mut back_end = BackEnd::new(|_| fine()).await;
    back_end.start().await;
    configure(dir.path(), back_end.addr, &["Alert.RequestOverLimit"], "");
    let _node = Node::start(dir.path(), &["--set", "rest.app_calls_per_s=2"]);
    let calls = Calls(Arc::new(Rest::of(dir.path())));
    // As often as it takes to have three in the same second.
    loop {
        let answer =
            calls.call("openconfigsvr/getnospeaking", json!({ "Get_Account": "administrator" })).await;
        if answer["ErrorCode"] == 60011 {
            break;
        }
    }
    let mut stage = Stage { back_end, taken: BTreeSet::new(), seen: BTreeSet::new() };
    let over = json!({
        "ServiceName": "openconfigsvr", "Command": "getnospeaking", "Request": 3, "Limit": 2,
    });
    stage.hears("Alert.RequestOverLimit", By::RestSomewhere, over).await;
}
