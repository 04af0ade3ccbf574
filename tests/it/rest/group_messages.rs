//! The services of groups: messages, history, receipts, imports, live rooms.

use nearport_client::{Client, Event, Transport};
use serde_json::{Value, json};

use super::table::Row;
use super::{BackEnd, start};
use crate::sdk::{Access, next};

const OK: &str = r#"{"ActionStatus":"OK","ErrorCode":0,"ErrorInfo":""}"#;

const fn row(path: &'static str, body: &'static str, answer: &'static str) -> Row {
    Row { path, body, answer }
}

const CREATE: &str = "group_open_http_svc/create_group";
const SEND: &str = "group_open_http_svc/send_group_msg";
const NOTIFY: &str = "group_open_http_svc/send_group_system_notification";
const BROADCAST: &str = "group_open_http_svc/send_broadcast_msg";
const RECALL: &str = "group_open_http_svc/group_msg_recall";
const RECALL_OF: &str = "group_open_http_svc/delete_group_msg_by_sender";
const EDIT: &str = "openim/modify_group_msg";
const HISTORY: &str = "group_open_http_svc/group_msg_get_simple";
const RECEIPTS: &str = "group_open_http_svc/get_group_msg_receipt";
const READERS: &str = "group_open_http_svc/get_group_msg_receipt_detail";
const IMPORT: &str = "group_open_http_svc/import_group";
const IMPORT_MSG: &str = "group_open_http_svc/import_group_msg";
const IMPORT_MEMBER: &str = "group_open_http_svc/import_group_member";
const UNREAD: &str = "group_open_http_svc/set_unread_msg_num";
const ONLINE: &str = "group_open_http_svc/get_online_member_num";
const ROOM: &str = "group_open_avchatroom_http_svc/get_members";
const MARK: &str = "group_open_avchatroom_http_svc/modify_user_info";

pub(super) const ROWS: &[Row] = &[
    row(
        "im_open_login_svc/multiaccount_import",
        r#"{"Accounts":["rm_ann","rm_ben","rm_cat","rm_dan"]}"#,
        r#"{"ActionStatus":"OK","ErrorCode":0,"ErrorInfo":"","FailAccounts":[]}"#,
    ),
    row(
        CREATE,
        r#"{"Type":"Meeting","Name":"Talk","Owner_Account":"rm_ann","GroupId":"rm_talk","MemberList":[
            {"Member_Account":"rm_ben"},{"Member_Account":"rm_cat"}]}"#,
        r#"{"ActionStatus":"OK","ErrorCode":0,"ErrorInfo":"","GroupId":"rm_talk"}"#,
    ),
    row(
        CREATE,
        r#"{"Type":"AVChatRoom","Name":"Live","GroupId":"rm_live"}"#,
        r#"{"ActionStatus":"OK","ErrorCode":0,"ErrorInfo":"","GroupId":"rm_live"}"#,
    ),
    // Sends. A meeting has no tips of its members, so its messages count from 1.
    row(
        SEND,
        r#"{"GroupId":"rm_talk","Random":1,"From_Account":"rm_ben","MsgBody":[
            {"MsgType":"TIMTextElem","MsgContent":{"Text":"one"}}],"MsgPriority":"High","CloudCustomData":"c"}"#,
        r#"{"ActionStatus":"OK","ErrorCode":0,"ErrorInfo":"","MsgTime":"@int","MsgSeq":1}"#,
    ),
    // The same again, and the same from another.
    row(
        SEND,
        r#"{"GroupId":"rm_talk","Random":1,"From_Account":"rm_ben","MsgBody":[
            {"MsgType":"TIMTextElem","MsgContent":{"Text":"one"}}]}"#,
        r#"{"ActionStatus":"OK","ErrorCode":0,"ErrorInfo":"","MsgTime":"@int","MsgSeq":1}"#,
    ),
    row(
        SEND,
        r#"{"GroupId":"rm_talk","Random":"1","From_Account":"rm_dan","MsgBody":[
            {"MsgType":"TIMTextElem","MsgContent":{"Text":"no member"}}],"IsNeedReadReceipt":1,
            "GroupAtInfo":[{"GroupAtAllFlag":1},{"GroupAtAllFlag":0,"GroupAt_Account":"rm_ann"}],
            "SendMsgControl":["NoUnread","NoLastMsg"],"ForbidCallbackControl":["ForbidAfterSendMsgCallback"],
            "OfflinePushInfo":{"PushFlag":1}}"#,
        r#"{"ActionStatus":"OK","ErrorCode":0,"ErrorInfo":"","MsgTime":"@int","MsgSeq":2}"#,
    ),
    row(
        SEND,
        r#"{"GroupId":"rm_talk","Random":2,"OnlineOnlyFlag":1,"MsgBody":[
            {"MsgType":"TIMTextElem","MsgContent":{"Text":"only now"}}]}"#,
        r#"{"ActionStatus":"OK","ErrorCode":0,"ErrorInfo":"","MsgTime":"@int","MsgSeq":0}"#,
    ),
    row(
        SEND,
        r#"{"GroupId":"rm_live","Random":3,"MsgPriority":"Low","MsgBody":[
            {"MsgType":"TIMCustomElem","MsgContent":{"Data":"like"}}]}"#,
        r#"{"ActionStatus":"OK","ErrorCode":0,"ErrorInfo":"","MsgTime":"@int","MsgSeq":0}"#,
    ),
    row(
        SEND,
        r#"{"GroupId":"rm_talk","Random":4,"MsgBody":[{"MsgType":"TIMTextElem","MsgContent":{"Text":"three"}}]}"#,
        r#"{"ActionStatus":"OK","ErrorCode":0,"ErrorInfo":"","MsgTime":"@int","MsgSeq":3}"#,
    ),
    row(SEND, r#"{"GroupId":"rm_talk","Random":5}"#, r#"{"ErrorCode":10004}"#),
    row(
        SEND,
        r#"{"GroupId":"rm_talk","MsgBody":[{"MsgType":"TIMTextElem","MsgContent":{"Text":"x"}}]}"#,
        r#"{"ErrorCode":10004}"#,
    ),
    row(
        SEND,
        r#"{"GroupId":"rm_talk","Random":5,"MsgPriority":"high","MsgBody":[{"MsgType":"TIMTextElem","MsgContent":{"Text":"x"}}]}"#,
        r#"{"ErrorCode":10004}"#,
    ),
    row(
        SEND,
        r#"{"GroupId":"rm_talk","Random":5,"OnlineOnlyFlag":1,"SendMsgControl":["NoUnread"],"MsgBody":[
            {"MsgType":"TIMTextElem","MsgContent":{"Text":"x"}}]}"#,
        r#"{"ErrorCode":10004}"#,
    ),
    row(
        SEND,
        r#"{"GroupId":"rm_talk","Random":5,"To_Account":["rm_ben"],"MsgBody":[{"MsgType":"TIMTextElem","MsgContent":{"Text":"x"}}]}"#,
        r#"{"ErrorCode":10004}"#,
    ),
    row(
        SEND,
        r#"{"GroupId":"rm_talk","Random":5,"From_Account":"rm_nobody","MsgBody":[
            {"MsgType":"TIMTextElem","MsgContent":{"Text":"x"}}]}"#,
        r#"{"ErrorCode":10019}"#,
    ),
    row(
        SEND,
        r#"{"GroupId":"rm_nothing","Random":5,"MsgBody":[{"MsgType":"TIMTextElem","MsgContent":{"Text":"x"}}]}"#,
        r#"{"ErrorCode":10010}"#,
    ),
    row(
        SEND,
        r#"{"GroupId":"rm_live","Random":5,"SendMsgControl":["NoUnread"],"MsgBody":[
            {"MsgType":"TIMTextElem","MsgContent":{"Text":"x"}}]}"#,
        r#"{"ErrorCode":10007}"#,
    ),
    row(
        "group_open_http_svc/forbid_send_msg",
        r#"{"GroupId":"rm_talk","Members_Account":["rm_cat"],"ShutUpTime":100}"#,
        OK,
    ),
    row(
        SEND,
        r#"{"GroupId":"rm_talk","Random":6,"From_Account":"rm_cat","MsgBody":[{"MsgType":"TIMTextElem","MsgContent":{"Text":"x"}}]}"#,
        r#"{"ErrorCode":10017}"#,
    ),
    // The tip of the mute stands at 4.
    row(
        HISTORY,
        r#"{"GroupId":"rm_talk","ReqMsgNumber":2,"ReqMsgSeq":2}"#,
        r#"{"ActionStatus":"OK","ErrorCode":0,"ErrorInfo":"","GroupId":"rm_talk","IsFinished":1,"RspMsgList":[
            {"From_Account":"rm_dan","IsPlaceMsg":0,"MsgBody":[{"MsgType":"TIMTextElem","MsgContent":{"Text":"no member"}}],
             "MsgPriority":2,"MsgRandom":1,"MsgSeq":2,"MsgTimeStamp":"@int","CloudCustomData":""},
            {"From_Account":"rm_ben","IsPlaceMsg":0,"MsgBody":[{"MsgType":"TIMTextElem","MsgContent":{"Text":"one"}}],
             "MsgPriority":1,"MsgRandom":1,"MsgSeq":1,"MsgTimeStamp":"@int","CloudCustomData":"c"}]}"#,
    ),
    row(
        EDIT,
        r#"{"GroupId":"rm_talk","MsgSeq":1,"MsgBody":[{"MsgType":"TIMTextElem","MsgContent":{"Text":"two"}}]}"#,
        OK,
    ),
    row(EDIT, r#"{"GroupId":"rm_talk","MsgSeq":1}"#, r#"{"ErrorCode":90002}"#),
    row(EDIT, r#"{"GroupId":"rm_talk","MsgSeq":99,"CloudCustomData":"x"}"#, r#"{"ErrorCode":20001}"#),
    row(EDIT, r#"{"MsgSeq":1,"CloudCustomData":"x"}"#, r#"{"ErrorCode":90010}"#),
    // Of a topic, of which the group has none: not the group's message of that number.
    row(
        EDIT,
        r#"{"GroupId":"rm_talk","MsgSeq":1,"TopicId":"rm_talk@TOPIC#_x","CloudCustomData":"x"}"#,
        r#"{"ErrorCode":20001}"#,
    ),
    row(
        RECALL,
        r#"{"GroupId":"rm_talk","MsgSeqList":[{"MsgSeq":3},{"MsgSeq":99}],"Reason":"r"}"#,
        r#"{"ActionStatus":"OK","ErrorCode":0,"ErrorInfo":"","RecallRetList":[{"MsgSeq":3,"RetCode":0},{"MsgSeq":99,"RetCode":10030}]}"#,
    ),
    row(
        RECALL,
        r#"{"GroupId":"rm_talk","MsgSeqList":[{"MsgSeq":3}]}"#,
        r#"{"ActionStatus":"OK","ErrorCode":0,"ErrorInfo":"","RecallRetList":[{"MsgSeq":3,"RetCode":10032}]}"#,
    ),
    row(
        RECALL,
        r#"{"GroupId":"rm_live","MsgSeqList":[{"MsgSeq":3}]}"#,
        r#"{"ActionStatus":"OK","ErrorCode":0,"ErrorInfo":"","RecallRetList":[{"MsgSeq":3,"RetCode":10033}]}"#,
    ),
    row(
        RECALL,
        r#"{"GroupId":"rm_talk","MsgSeqList":[{"MsgSeq":1},{"MsgSeq":2},{"MsgSeq":3},{"MsgSeq":4},{"MsgSeq":5},{"MsgSeq":6},
            {"MsgSeq":7},{"MsgSeq":8},{"MsgSeq":9},{"MsgSeq":10},{"MsgSeq":11}]}"#,
        r#"{"ErrorCode":10004}"#,
    ),
    row(
        HISTORY,
        r#"{"GroupId":"rm_talk","ReqMsgNumber":30,"ReqMsgSeq":3}"#,
        r#"{"ActionStatus":"OK","ErrorCode":0,"ErrorInfo":"","GroupId":"rm_talk","IsFinished":1,"RspMsgList":[
            {"From_Account":"@string","IsPlaceMsg":2,"MsgBody":[],"MsgPriority":2,"MsgRandom":4,"MsgSeq":3,
             "MsgTimeStamp":"@int","CloudCustomData":""},
            {"From_Account":"rm_dan","IsPlaceMsg":0,"MsgBody":"@array","MsgPriority":2,"MsgRandom":1,"MsgSeq":2,
             "MsgTimeStamp":"@int","CloudCustomData":""},
            {"From_Account":"rm_ben","IsPlaceMsg":0,"MsgBody":[{"MsgType":"TIMTextElem","MsgContent":{"Text":"two"}}],
             "MsgPriority":1,"MsgRandom":1,"MsgSeq":1,"MsgTimeStamp":"@int","CloudCustomData":"c"}]}"#,
    ),
    row(HISTORY, r#"{"GroupId":"rm_talk"}"#, r#"{"ErrorCode":10004}"#),
    row(
        RECEIPTS,
        r#"{"GroupId":"rm_talk","MsgSeqList":[{"MsgSeq":1},{"MsgSeq":2}]}"#,
        r#"{"ActionStatus":"OK","ErrorCode":0,"ErrorInfo":"","GroupMsgReceiptList":[
            {"MsgSeq":1,"Code":10062,"ReadNum":0,"UnreadNum":0},{"MsgSeq":2,"Code":0,"ReadNum":0,"UnreadNum":3}]}"#,
    ),
    row(
        READERS,
        r#"{"GroupId":"rm_talk","MsgSeq":2,"Filter":1,"Cursor":"","Count":2}"#,
        r#"{"ActionStatus":"OK","ErrorCode":0,"ErrorInfo":"","MsgSeq":2,"UnreadList":[{"Unread_Account":"rm_ann"},
            {"Unread_Account":"rm_ben"}],"Cursor":"rm_ben","IsFinish":0,"IsFinished":0}"#,
    ),
    row(
        READERS,
        r#"{"GroupId":"rm_talk","MsgSeq":2,"Filter":0,"Cursor":"","Count":200}"#,
        r#"{"ActionStatus":"OK","ErrorCode":0,"ErrorInfo":"","MsgSeq":2,"ReadList":[],"Cursor":"","IsFinish":1,"IsFinished":1}"#,
    ),
    row(
        READERS,
        r#"{"GroupId":"rm_talk","MsgSeq":1,"Filter":0,"Cursor":"","Count":9}"#,
        r#"{"ErrorCode":10062}"#,
    ),
    row(
        READERS,
        r#"{"GroupId":"rm_talk","MsgSeq":2,"Filter":0,"Cursor":"","Count":201}"#,
        r#"{"ErrorCode":10004}"#,
    ),
    row(RECEIPTS, r#"{"GroupId":"rm_live","MsgSeqList":[{"MsgSeq":1}]}"#, r#"{"ErrorCode":10007}"#),
    row(RECALL_OF, r#"{"GroupId":"rm_talk","Sender_Account":"rm_dan"}"#, OK),
    row(RECALL_OF, r#"{"GroupId":"rm_live","Sender_Account":"rm_dan"}"#, OK),
    row(RECALL_OF, r#"{"GroupId":"rm_talk"}"#, r#"{"ErrorCode":10004}"#),
    row(
        HISTORY,
        r#"{"GroupId":"rm_talk","ReqMsgNumber":1,"ReqMsgSeq":2}"#,
        r#"{"ActionStatus":"OK","ErrorCode":0,"ErrorInfo":"","GroupId":"rm_talk","IsFinished":1,"RspMsgList":[
            {"From_Account":"rm_dan","IsPlaceMsg":2,"MsgBody":[],"MsgPriority":2,"MsgRandom":1,"MsgSeq":2,
             "MsgTimeStamp":"@int","CloudCustomData":""}]}"#,
    ),
    row(NOTIFY, r#"{"GroupId":"rm_talk","Content":"hello"}"#, OK),
    row(NOTIFY, r#"{"GroupId":"rm_talk","Content":"hello","ToMembers_Account":["rm_ann","rm_dan"]}"#, OK),
    row(NOTIFY, r#"{"GroupId":"rm_live","Content":"hello"}"#, OK),
    row(
        NOTIFY,
        r#"{"GroupId":"rm_live","Content":"x","ToMembers_Account":["rm_ann"]}"#,
        r#"{"ErrorCode":10004}"#,
    ),
    row(NOTIFY, r#"{"GroupId":"rm_talk"}"#, r#"{"ErrorCode":10004}"#),
    row(NOTIFY, r#"{"GroupId":"rm_nothing","Content":"x"}"#, r#"{"ErrorCode":10010}"#),
    row(
        BROADCAST,
        r#"{"Random":1,"MsgBody":[{"MsgType":"TIMTextElem","MsgContent":{"Text":"all"}}]}"#,
        r#"{"ActionStatus":"OK","ErrorCode":0,"ErrorInfo":"","MsgTime":"@int","MsgSeq":0}"#,
    ),
    // Imports.
    row(
        IMPORT,
        r#"{"Type":"Public","Name":"Old","Owner_Account":"rm_ann","GroupId":"rm_old","CreateTime":1500000000}"#,
        r#"{"ActionStatus":"OK","ErrorCode":0,"ErrorInfo":"","GroupId":"rm_old"}"#,
    ),
    row(IMPORT, r#"{"Type":"AVChatRoom","Name":"Old"}"#, r#"{"ErrorCode":10007}"#),
    row(IMPORT, r#"{"Type":"Public","Name":"Old","CreateTime":4000000000}"#, r#"{"ErrorCode":10004}"#),
    row(IMPORT, r#"{"Type":"Public","Name":"Old","GroupId":"rm_old"}"#, r#"{"ErrorCode":10021}"#),
    row(
        IMPORT_MSG,
        r#"{"GroupId":"rm_old","MsgList":[
            {"From_Account":"rm_ann","SendTime":1500000010,"Random":7,"MsgBody":[{"MsgType":"TIMTextElem","MsgContent":{"Text":"a"}}]},
            {"From_Account":"rm_ben","SendTime":1500000020,"Random":8,"MsgBody":[{"MsgType":"TIMTextElem","MsgContent":{"Text":"b"}}]},
            {"From_Account":"rm_ben","SendTime":1500000005,"Random":9,"MsgBody":[{"MsgType":"TIMTextElem","MsgContent":{"Text":"c"}}]},
            {"From_Account":"rm_ben","SendTime":1500000030,"Random":9,"MsgBody":[]},
            {"From_Account":"rm_nobody","SendTime":1500000030,"Random":9,"MsgBody":[{"MsgType":"TIMTextElem","MsgContent":{"Text":"c"}}]}]}"#,
        r#"{"ActionStatus":"OK","ErrorCode":0,"ErrorInfo":"","ImportMsgResult":[
            {"MsgSeq":1,"MsgTime":1500000010,"Result":0},{"MsgSeq":2,"MsgTime":1500000020,"Result":0},
            {"MsgSeq":0,"MsgTime":1500000005,"Result":10004},{"MsgSeq":0,"MsgTime":1500000030,"Result":10004},
            {"MsgSeq":0,"MsgTime":1500000030,"Result":10004}]}"#,
    ),
    row(
        IMPORT_MSG,
        r#"{"GroupId":"rm_live","MsgList":[{"From_Account":"rm_ann","SendTime":1500000010,"Random":7,
        "MsgBody":[{"MsgType":"TIMTextElem","MsgContent":{"Text":"a"}}]}]}"#,
        r#"{"ErrorCode":10007}"#,
    ),
    row(IMPORT_MSG, r#"{"GroupId":"rm_old"}"#, r#"{"ErrorCode":10004}"#),
    row(
        IMPORT_MEMBER,
        r#"{"GroupId":"rm_old","MemberList":[{"Member_Account":"rm_ben","Role":"Admin","JoinTime":1500000001,"UnreadMsgNum":1},
            {"Member_Account":"rm_ann"},{"Member_Account":"rm_nobody"},{"Member_Account":"rm_cat","JoinTime":1400000000}]}"#,
        r#"{"ActionStatus":"OK","ErrorCode":0,"ErrorInfo":"","MemberList":[{"Member_Account":"rm_ben","Result":1},
            {"Member_Account":"rm_ann","Result":2},{"Member_Account":"rm_nobody","Result":0},{"Member_Account":"rm_cat","Result":0}]}"#,
    ),
    row(
        "group_open_http_svc/get_group_member_info",
        r#"{"GroupId":"rm_old","MemberInfoFilter":["Role","MsgSeq","JoinTime","LastSendMsgTime"]}"#,
        r#"{"ActionStatus":"OK","ErrorCode":0,"ErrorInfo":"","MemberNum":2,"MemberList":[
            {"Member_Account":"rm_ann","Role":"Owner","JoinTime":1500000000,"MsgSeq":2,"LastSendMsgTime":1500000010},
            {"Member_Account":"rm_ben","Role":"Admin","JoinTime":1500000001,"MsgSeq":1,"LastSendMsgTime":1500000020}]}"#,
    ),
    row(UNREAD, r#"{"GroupId":"rm_old","Member_Account":"rm_ann","UnreadMsgNum":1}"#, OK),
    row(
        "group_open_http_svc/get_group_member_info",
        r#"{"GroupId":"rm_old","MemberInfoFilter":["MsgSeq"],"Limit":1}"#,
        r#"{"ActionStatus":"OK","ErrorCode":0,"ErrorInfo":"","MemberNum":2,"MemberList":[{"Member_Account":"rm_ann","MsgSeq":1}]}"#,
    ),
    row(
        UNREAD,
        r#"{"GroupId":"rm_old","Member_Account":"rm_dan","UnreadMsgNum":1}"#,
        r#"{"ErrorCode":10004}"#,
    ),
    // More than there are, none, and again some: a cursor goes where it is set.
    row(UNREAD, r#"{"GroupId":"rm_old","Member_Account":"rm_ann","UnreadMsgNum":9}"#, OK),
    row(
        "group_open_http_svc/get_group_member_info",
        r#"{"GroupId":"rm_old","MemberInfoFilter":["MsgSeq"],"Limit":1}"#,
        r#"{"ActionStatus":"OK","ErrorCode":0,"ErrorInfo":"","MemberNum":2,"MemberList":[{"Member_Account":"rm_ann","MsgSeq":0}]}"#,
    ),
    row(
        IMPORT_MSG,
        r#"{"GroupId":"rm_old","MsgList":[{"From_Account":"rm_ann","SendTime":1500000040,"Random":11,
            "MsgBody":[{"MsgType":"TIMTextElem","MsgContent":{"Text":"d"}}]}]}"#,
        r#"{"ActionStatus":"OK","ErrorCode":0,"ErrorInfo":"","ImportMsgResult":[{"MsgSeq":3,"MsgTime":1500000040,"Result":0}]}"#,
    ),
    // An import leaves nothing unread.
    row(
        "group_open_http_svc/get_group_member_info",
        r#"{"GroupId":"rm_old","MemberInfoFilter":["MsgSeq"]}"#,
        r#"{"ActionStatus":"OK","ErrorCode":0,"ErrorInfo":"","MemberNum":2,"MemberList":[
            {"Member_Account":"rm_ann","MsgSeq":3},{"Member_Account":"rm_ben","MsgSeq":3}]}"#,
    ),
    row(UNREAD, r#"{"GroupId":"rm_live","Member_Account":"rm_dan","UnreadMsgNum":1}"#, OK),
    // Live rooms without anybody.
    row(
        ONLINE,
        r#"{"GroupId":"rm_live"}"#,
        r#"{"ActionStatus":"OK","ErrorCode":0,"ErrorInfo":"","OnlineMemberNum":0}"#,
    ),
    row(ONLINE, r#"{"GroupId":"rm_talk"}"#, r#"{"ErrorCode":10007}"#),
    row(
        ROOM,
        r#"{"GroupId":"rm_live","Timestamp":0}"#,
        r#"{"ActionStatus":"OK","ErrorCode":0,"ErrorInfo":"","MemberList":[],"NextTimestamp":0}"#,
    ),
    row(ROOM, r#"{"GroupId":"rm_live"}"#, r#"{"ErrorCode":10004}"#),
    row(ROOM, r#"{"GroupId":"rm_talk","Timestamp":0}"#, r#"{"ErrorCode":10007}"#),
    row(
        MARK,
        r#"{"GroupId":"rm_live","CommandType":1,"MemberList":[{"Member_Account":"rm_ann","Marks":[1000]}]}"#,
        r#"{"ErrorCode":10004}"#,
    ),
    // Always online, who is not there; and a mark that there is not.
    row(
        MARK,
        r#"{"GroupId":"rm_live","CommandType":1,"MemberList":[{"Member_Account":"rm_ann","Marks":[501]}]}"#,
        r#"{"ErrorCode":10004}"#,
    ),
    row(
        MARK,
        r#"{"GroupId":"rm_live","CommandType":3,"MemberList":[{"Member_Account":"rm_ann","Marks":[1000]}]}"#,
        r#"{"ErrorCode":10004}"#,
    ),
];

/// What a client hears next, leaving out what is not about messages.
async fn heard(client: &Client) -> Event {
    loop {
        let event = next(client).await;
        if matches!(
            event,
            Event::Message(_)
                | Event::Edited(_)
                | Event::Recalled(_)
                | Event::Transient(_)
                | Event::Live { .. }
        ) {
            return event;
        }
    }
}

fn say(back_end: &BackEnd, group: &str, random: u32, text: &str) -> Value {
    let element = json!({ "MsgType": "TIMTextElem", "MsgContent": { "Text": text } });
    let body = json!({ "GroupId": group, "Random": random, "From_Account": "bob", "MsgBody": [element] });
    back_end.done(SEND, &body)
}

#[tokio::test]
async fn clients_hear_what_back_ends_do_with_messages_of_groups() {
    let (dir, node, back_end) = start(&[]);
    let access = Access::of(&node, dir.path());
    let alice = access.login("alice", &[Transport::Quic]).await;
    back_end.done("im_open_login_svc/account_import", &json!({ "UserID": "bob" }));
    back_end.done(
        CREATE,
        &json!({ "Type": "Meeting", "Name": "Talk", "GroupId": "talk", "MemberList": [{ "Member_Account": "alice" }] }),
    );
    let sent = say(&back_end, "talk", 1, "one");
    let Event::Message(message) = heard(&alice).await else { panic!("a message comes first") };
    assert_eq!((message.from.as_str(), message.seq), ("bob", sent["MsgSeq"].as_u64().unwrap()));
    // Said again it is the same message: the next one is the next that is heard.
    assert_eq!(say(&back_end, "talk", 1, "one")["MsgSeq"], sent["MsgSeq"]);
    let element = json!({ "MsgType": "TIMTextElem", "MsgContent": { "Text": "two" } });
    back_end.done(EDIT, &json!({ "GroupId": "talk", "MsgSeq": message.seq, "MsgBody": [element] }));
    let Event::Edited(edited) = heard(&alice).await else { panic!("the edit comes next") };
    assert_eq!(edited.seq, message.seq);
    back_end.done(RECALL, &json!({ "GroupId": "talk", "MsgSeqList": [{ "MsgSeq": message.seq }] }));
    let Event::Recalled(recalled) = heard(&alice).await else { panic!("the recall comes next") };
    assert_eq!(recalled.seq, message.seq);
    // All members, and some of them.
    for to in [json!([]), json!(["alice", "bob"])] {
        back_end.done(NOTIFY, &json!({ "GroupId": "talk", "Content": "hello", "ToMembers_Account": to }));
        let Event::Transient(told) = heard(&alice).await else { panic!("what is told comes next") };
        assert_eq!((told.from.as_str(), told.seq), ("@TIM#SYSTEM", 0));
    }
    // A live room with somebody in it.
    back_end.done(CREATE, &json!({ "Type": "AVChatRoom", "Name": "Live", "GroupId": "live" }));
    alice.join_group("live", "").await.unwrap();
    assert_eq!(back_end.done(ONLINE, &json!({ "GroupId": "live" }))["OnlineMemberNum"], 1);
    let marked = json!({ "GroupId": "live", "CommandType": 1, "MemberList": [
        { "Member_Account": "alice", "Marks": [1000] }, { "Member_Account": "bob", "Marks": [1000] }] });
    let marked = back_end.done(MARK, &marked);
    assert_eq!(marked["MemberList"], json!([{ "Member_Account": "alice", "Marks": [1000] }]));
    let members = back_end.done(ROOM, &json!({ "GroupId": "live", "Timestamp": 0, "Mark": 1000 }));
    assert_eq!(
        (&members["MemberList"][0]["Member_Account"], &members["NextTimestamp"]),
        (&json!("alice"), &json!(0))
    );
    let joined = back_end.done(
        "group_open_http_svc/get_joined_group_list",
        &json!({ "Member_Account": "alice", "WithHugeGroups": 1 }),
    );
    assert_eq!(joined["TotalCount"], 2);
    say(&back_end, "live", 2, "live");
    say(&back_end, "live", 2, "live");
    let element = json!({ "MsgType": "TIMTextElem", "MsgContent": { "Text": "all" } });
    back_end.done(BROADCAST, &json!({ "Random": 3, "From_Account": "bob", "MsgBody": [element] }));
    // What was said twice is heard once.
    let mut said = Vec::new();
    while said.len() < 2 {
        if let Event::Live { frame, .. } = heard(&alice).await
            && let Some(message) = frame.delivery.and_then(|delivery| delivery.message)
        {
            said.push(message.client_msg_id[..4].to_vec());
        }
    }
    assert_eq!(said[0], 2u32.to_be_bytes());
    assert_ne!(said[1], said[0]);
}

#[test]
fn when_a_member_spoke_last_is_known_however_much_follows() {
    let (dir, node, back_end) = start(&[]);
    for name in ["carol", "dave"] {
        back_end.done("im_open_login_svc/account_import", &json!({ "Identifier": name }));
    }
    let members = ["alice", "bob", "carol", "dave"].map(|name| json!({ "Member_Account": name }));
    let group = json!({ "Type": "Public", "GroupId": "long", "Name": "g", "Owner_Account": "alice",
        "CreateTime": 1_500_000_000 });
    back_end.done(IMPORT, &group);
    back_end.done(IMPORT_MEMBER, &json!({ "GroupId": "long", "MemberList": members[1..] }));
    let message = |from: &str, at: u64| {
        json!({ "From_Account": from, "SendTime": 1_500_000_000 + at, "Random": at,
            "MsgBody": [{ "MsgType": "TIMTextElem", "MsgContent": { "Text": "t" } }] })
    };
    let first = json!({ "GroupId": "long", "MsgList": [message("bob", 1), message("carol", 2)] });
    back_end.done(IMPORT_MSG, &first);
    for page in 0..12 {
        let list: Vec<_> = (0..20).map(|at| message("alice", 3 + 20 * page + at)).collect();
        back_end.done(IMPORT_MSG, &json!({ "GroupId": "long", "MsgList": list }));
    }
    // Said again: an older time is no later one.
    back_end.done(IMPORT_MSG, &first);
    let said = back_end.done(
        SEND,
        &json!({ "GroupId": "long", "From_Account": "carol", "Random": 7,
            "MsgBody": [{ "MsgType": "TIMTextElem", "MsgContent": { "Text": "now" } }] }),
    );
    let times = |back_end: &BackEnd| {
        let asked = json!({ "GroupId": "long", "MemberInfoFilter": ["LastSendMsgTime"] });
        back_end.done("group_open_http_svc/get_group_member_info", &asked)["MemberList"].clone()
    };
    let want = json!([
        { "Member_Account": "alice", "LastSendMsgTime": 1_500_000_242 },
        { "Member_Account": "bob", "LastSendMsgTime": 1_500_000_001 },
        { "Member_Account": "carol", "LastSendMsgTime": said["MsgTime"] },
        { "Member_Account": "dave", "LastSendMsgTime": 0 },
    ]);
    assert_eq!(times(&back_end), want);
    node.kill();
    let _node = crate::node::Node::start(dir.path(), &[]);
    assert_eq!(times(&BackEnd::of(dir.path())), want);
}
