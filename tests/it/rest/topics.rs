//! Topics of communities, and messages in them.

use serde_json::json;

use super::start;
use super::table::{self, Row};

const OK: &str = r#"{"ActionStatus":"OK","ErrorCode":0,"ErrorInfo":""}"#;

const fn row(path: &'static str, body: &'static str, answer: &'static str) -> Row {
    Row { path, body, answer }
}

const GROUP: &str = "group_open_http_svc/create_group";
const INFO: &str = "group_open_http_svc/get_group_info";
const CREATE: &str = "million_group_open_http_svc/create_topic";
const GET: &str = "million_group_open_http_svc/get_topic";
const MODIFY: &str = "million_group_open_http_svc/modify_topic";
const DESTROY: &str = "million_group_open_http_svc/destroy_topic";
const IMPORT: &str = "million_group_open_http_svc/import_topic";
const SEND: &str = "group_open_http_svc/send_group_msg";
const HISTORY: &str = "group_open_http_svc/group_msg_get_simple";
const RECALL: &str = "group_open_http_svc/group_msg_recall";
const EDIT: &str = "openim/modify_group_msg";
const UNREAD: &str = "group_open_http_svc/set_unread_msg_num";

pub(super) const ROWS: &[Row] = &[
    row(
        "im_open_login_svc/multiaccount_import",
        r#"{"Accounts":["rt_ann","rt_ben","rt_cat"]}"#,
        r#"{"ActionStatus":"OK","ErrorCode":0,"ErrorInfo":"","FailAccounts":[]}"#,
    ),
    row(
        GROUP,
        r#"{"Type":"Community","Name":"City","GroupId":"@TGS#_rt","Owner_Account":"rt_ann","SupportTopic":1,
            "MemberList":[{"Member_Account":"rt_ben"}]}"#,
        r#"{"ActionStatus":"OK","ErrorCode":0,"ErrorInfo":"","GroupId":"@TGS#_rt"}"#,
    ),
    row(
        GROUP,
        r#"{"Type":"Community","Name":"Plain","GroupId":"@TGS#_rt_plain","Owner_Account":"rt_ann","SupportTopic":0}"#,
        r#"{"ActionStatus":"OK","ErrorCode":0,"ErrorInfo":"","GroupId":"@TGS#_rt_plain"}"#,
    ),
    row(
        INFO,
        r#"{"GroupIdList":["@TGS#_rt","@TGS#_rt_plain"],"ResponseFilter":{"GroupBaseInfoFilter":["SupportTopic"]}}"#,
        r#"{"ActionStatus":"OK","ErrorCode":0,"ErrorInfo":"","GroupInfo":[
            {"ErrorCode":0,"ErrorInfo":"","GroupId":"@TGS#_rt","SupportTopic":1},
            {"ErrorCode":0,"ErrorInfo":"","GroupId":"@TGS#_rt_plain"}]}"#,
    ),
    // Topics.
    row(
        CREATE,
        r#"{"GroupId":"@TGS#_rt","TopicName":"News","TopicId":"@TGS#_rt@TOPIC#_news","From_Account":"rt_ann",
            "CustomString":"c","FaceUrl":"http://x/f.png","Notification":"n","Introduction":"i"}"#,
        r#"{"ActionStatus":"OK","ErrorCode":0,"ErrorInfo":"","TopicId":"@TGS#_rt@TOPIC#_news"}"#,
    ),
    row(
        CREATE,
        r#"{"GroupId":"@TGS#_rt","TopicName":"123456789012345678901234567890"}"#,
        r#"{"ActionStatus":"OK","ErrorCode":0,"ErrorInfo":"","TopicId":"@string"}"#,
    ),
    row(
        CREATE,
        r#"{"GroupId":"@TGS#_rt","TopicName":"1234567890123456789012345678901"}"#,
        r#"{"ErrorCode":10004}"#,
    ),
    row(CREATE, r#"{"GroupId":"@TGS#_rt"}"#, r#"{"ErrorCode":10004}"#),
    row(CREATE, r#"{"GroupId":"@TGS#_rt","TopicName":""}"#, r#"{"ErrorCode":10004}"#),
    row(CREATE, r#"{"TopicName":"x"}"#, r#"{"ErrorCode":10004}"#),
    row(CREATE, "not json", r#"{"ErrorCode":10011}"#),
    row(CREATE, r#"{"GroupId":"@TGS#_none","TopicName":"x"}"#, r#"{"ErrorCode":10010}"#),
    row(CREATE, r#"{"GroupId":"@TGS#_rt_plain","TopicName":"x"}"#, r#"{"ErrorCode":11000}"#),
    row(
        CREATE,
        r#"{"GroupId":"@TGS#_rt","TopicName":"x","From_Account":"rt_nobody"}"#,
        r#"{"ErrorCode":10019}"#,
    ),
    row(
        CREATE,
        r#"{"GroupId":"@TGS#_rt","TopicName":"x","TopicId":"@TGS#_rt@TOPIC#_news"}"#,
        r#"{"ErrorCode":10025}"#,
    ),
    row(CREATE, r#"{"GroupId":"@TGS#_rt","TopicName":"x","TopicId":"news"}"#, r#"{"ErrorCode":10015}"#),
    row(
        CREATE,
        r#"{"GroupId":"@TGS#_rt","TopicName":"x","TopicId":"@TGS#_rt@TOPIC#_"}"#,
        r#"{"ErrorCode":10015}"#,
    ),
    row(
        CREATE,
        r#"{"GroupId":"@TGS#_rt","TopicName":"x","TopicId":"@TGS#_rt_plain@TOPIC#_x"}"#,
        r#"{"ErrorCode":10015}"#,
    ),
    row(
        CREATE,
        r#"{"GroupId":"@TGS#_rt","TopicName":"x","TopicId":"@TGS#_rt@TOPIC#_@TOPIC#x"}"#,
        r#"{"ErrorCode":10015}"#,
    ),
    row(
        GET,
        r#"{"GroupId":"@TGS#_rt","From_Account":"rt_ben","TopicIdList":["@TGS#_rt@TOPIC#_news","@TGS#_rt@TOPIC#_none",""]}"#,
        r#"{"ActionStatus":"OK","ErrorCode":0,"ErrorInfo":"","TopicAndSelfInfo":[
            {"ErrorCode":0,"ErrorInfo":"","SelfInfo":{"ShutUpTime":0,"MsgSeq":0,"MsgFlag":"AcceptAndNotify"},
             "TopicInfo":{"TopicId":"@TGS#_rt@TOPIC#_news","GroupID":"@TGS#_rt","TopicName":"News",
                "FaceUrl":"http://x/f.png","Notification":"n","Introduction":"i","NextMsgSeq":1,"CreateTime":"@int",
                "LastMsgTime":0,"MuteAllMember":"Off","CustomString":"c"}},
            {"ErrorCode":110003,"ErrorInfo":"@string",
             "TopicInfo":{"TopicId":"@TGS#_rt@TOPIC#_none","GroupID":"@TGS#_rt"}},
            {"ErrorCode":10015,"ErrorInfo":"@string","TopicInfo":{"TopicId":"","GroupID":"@TGS#_rt"}}]}"#,
    ),
    // All of them, as one who is no member stands to them.
    row(
        GET,
        r#"{"GroupId":"@TGS#_rt","From_Account":"rt_cat","ResponseFilter":["TopicName","MuteAllMember"]}"#,
        r#"{"ActionStatus":"OK","ErrorCode":0,"ErrorInfo":"","TopicAndSelfInfo":[
            {"ErrorCode":0,"ErrorInfo":"","TopicInfo":{"TopicId":"@string","GroupID":"@TGS#_rt",
                "TopicName":"123456789012345678901234567890","MuteAllMember":"Off"}},
            {"ErrorCode":0,"ErrorInfo":"","TopicInfo":{"TopicId":"@TGS#_rt@TOPIC#_news","GroupID":"@TGS#_rt",
                "TopicName":"News","MuteAllMember":"Off"}}]}"#,
    ),
    row(GET, r#"{"GroupId":"@TGS#_rt"}"#, r#"{"ErrorCode":10004}"#),
    row(GET, r#"{"GroupId":"@TGS#_none","From_Account":"rt_ben"}"#, r#"{"ErrorCode":10010}"#),
    row(GET, r#"{"GroupId":"@TGS#_rt_plain","From_Account":"rt_ben"}"#, r#"{"ErrorCode":11000}"#),
    row(
        MODIFY,
        r#"{"GroupId":"@TGS#_rt","TopicId":"@TGS#_rt@TOPIC#_news","TopicName":"New","MuteAllMember":"On"}"#,
        OK,
    ),
    row(
        GET,
        r#"{"GroupId":"@TGS#_rt","From_Account":"rt_ben","TopicIdList":["@TGS#_rt@TOPIC#_news"],
            "ResponseFilter":["TopicName","MuteAllMember","CustomString","MsgFlag"]}"#,
        r#"{"ActionStatus":"OK","ErrorCode":0,"ErrorInfo":"","TopicAndSelfInfo":[
            {"ErrorCode":0,"ErrorInfo":"","SelfInfo":{"MsgFlag":"AcceptAndNotify"},
             "TopicInfo":{"TopicId":"@TGS#_rt@TOPIC#_news","GroupID":"@TGS#_rt","TopicName":"New","MuteAllMember":"On",
                "CustomString":"c"}}]}"#,
    ),
    // The tip of the change is the topic's first message. Whoever is muted may not speak, the owner may.
    row(
        SEND,
        r#"{"GroupId":"@TGS#_rt","TopicId":"@TGS#_rt@TOPIC#_news","Random":1,"From_Account":"rt_ben",
            "MsgBody":[{"MsgType":"TIMTextElem","MsgContent":{"Text":"one"}}]}"#,
        r#"{"ErrorCode":10017}"#,
    ),
    row(
        SEND,
        r#"{"GroupId":"@TGS#_rt","TopicId":"@TGS#_rt@TOPIC#_news","Random":1,"From_Account":"rt_ann",
            "MsgBody":[{"MsgType":"TIMTextElem","MsgContent":{"Text":"one"}}]}"#,
        r#"{"ActionStatus":"OK","ErrorCode":0,"ErrorInfo":"","MsgTime":"@int","MsgSeq":2}"#,
    ),
    row(MODIFY, r#"{"GroupId":"@TGS#_rt","TopicId":"@TGS#_rt@TOPIC#_news","MuteAllMember":"Off"}"#, OK),
    row(
        MODIFY,
        r#"{"GroupId":"@TGS#_rt","TopicId":"@TGS#_rt@TOPIC#_news","MuteAllMember":"Perhaps"}"#,
        r#"{"ErrorCode":10004}"#,
    ),
    row(MODIFY, r#"{"GroupId":"@TGS#_rt","TopicName":"x"}"#, r#"{"ErrorCode":10004}"#),
    row(
        MODIFY,
        r#"{"GroupId":"@TGS#_rt","TopicId":"@TGS#_rt_plain@TOPIC#_x","TopicName":"x"}"#,
        r#"{"ErrorCode":10004}"#,
    ),
    row(
        MODIFY,
        r#"{"GroupId":"@TGS#_rt","TopicId":"@TGS#_rt@TOPIC#_none","TopicName":"x"}"#,
        r#"{"ErrorCode":110003}"#,
    ),
    // Messages: a sequence of its own.
    row(
        SEND,
        r#"{"GroupId":"@TGS#_rt","TopicId":"@TGS#_rt@TOPIC#_news","Random":1,"From_Account":"rt_ben",
            "MsgBody":[{"MsgType":"TIMTextElem","MsgContent":{"Text":"two"}}]}"#,
        r#"{"ActionStatus":"OK","ErrorCode":0,"ErrorInfo":"","MsgTime":"@int","MsgSeq":4}"#,
    ),
    row(
        SEND,
        r#"{"GroupId":"@TGS#_rt","TopicId":"@TGS#_rt@TOPIC#_none","Random":1,"From_Account":"rt_ben",
            "MsgBody":[{"MsgType":"TIMTextElem","MsgContent":{"Text":"two"}}]}"#,
        r#"{"ErrorCode":110003}"#,
    ),
    row(
        SEND,
        r#"{"GroupId":"@TGS#_rt","TopicId":"@TGS#_rt_plain@TOPIC#_x","Random":1,"From_Account":"rt_ben",
            "MsgBody":[{"MsgType":"TIMTextElem","MsgContent":{"Text":"two"}}]}"#,
        r#"{"ErrorCode":10004}"#,
    ),
    row(
        HISTORY,
        r#"{"GroupId":"@TGS#_rt","TopicId":"@TGS#_rt@TOPIC#_news","ReqMsgNumber":1}"#,
        r#"{"ActionStatus":"OK","ErrorCode":0,"ErrorInfo":"","GroupId":"@TGS#_rt","IsFinished":1,"RspMsgList":[
            {"From_Account":"rt_ben","IsPlaceMsg":0,"MsgBody":[{"MsgType":"TIMTextElem","MsgContent":{"Text":"two"}}],
             "MsgPriority":2,"MsgRandom":1,"MsgSeq":4,"MsgTimeStamp":"@int","CloudCustomData":""}]}"#,
    ),
    row(
        EDIT,
        r#"{"GroupId":"@TGS#_rt","TopicId":"@TGS#_rt@TOPIC#_news","MsgSeq":4,
            "MsgBody":[{"MsgType":"TIMTextElem","MsgContent":{"Text":"three"}}]}"#,
        OK,
    ),
    row(
        RECALL,
        r#"{"GroupId":"@TGS#_rt","TopicId":"@TGS#_rt@TOPIC#_news","MsgSeqList":[{"MsgSeq":4},{"MsgSeq":99}]}"#,
        r#"{"ActionStatus":"OK","ErrorCode":0,"ErrorInfo":"","RecallRetList":[{"MsgSeq":4,"RetCode":0},{"MsgSeq":99,"RetCode":10030}]}"#,
    ),
    row(
        HISTORY,
        r#"{"GroupId":"@TGS#_rt","TopicId":"@TGS#_rt@TOPIC#_news","ReqMsgNumber":1}"#,
        r#"{"ActionStatus":"OK","ErrorCode":0,"ErrorInfo":"","GroupId":"@TGS#_rt","IsFinished":1,"RspMsgList":[
            {"From_Account":"rt_ben","IsPlaceMsg":2,"MsgBody":[],
             "MsgPriority":2,"MsgRandom":1,"MsgSeq":4,"MsgTimeStamp":"@int","CloudCustomData":""}]}"#,
    ),
    row(
        UNREAD,
        r#"{"GroupId":"@TGS#_rt","TopicId":"@TGS#_rt@TOPIC#_news","Member_Account":"rt_ben","UnreadMsgNum":1}"#,
        OK,
    ),
    row(
        GET,
        r#"{"GroupId":"@TGS#_rt","From_Account":"rt_ben","TopicIdList":["@TGS#_rt@TOPIC#_news"],
            "ResponseFilter":["MsgSeq","NextMsgSeq","LastMsgTime"]}"#,
        r#"{"ActionStatus":"OK","ErrorCode":0,"ErrorInfo":"","TopicAndSelfInfo":[
            {"ErrorCode":0,"ErrorInfo":"","SelfInfo":{"MsgSeq":3},
             "TopicInfo":{"TopicId":"@TGS#_rt@TOPIC#_news","GroupID":"@TGS#_rt","NextMsgSeq":5,"LastMsgTime":"@int"}}]}"#,
    ),
    // What can be done with a group cannot with a topic.
    row(
        "group_open_http_svc/modify_group_base_info",
        r#"{"GroupId":"@TGS#_rt@TOPIC#_news","Name":"x"}"#,
        r#"{"ErrorCode":10010}"#,
    ),
    row(
        "group_open_http_svc/add_group_member",
        r#"{"GroupId":"@TGS#_rt@TOPIC#_news","MemberList":[{"Member_Account":"rt_cat"}]}"#,
        r#"{"ErrorCode":10010}"#,
    ),
    row(
        "group_open_http_svc/destroy_group",
        r#"{"GroupId":"@TGS#_rt@TOPIC#_news"}"#,
        r#"{"ErrorCode":10010}"#,
    ),
    // Imports.
    row(
        IMPORT,
        r#"{"GroupId":"@TGS#_rt","TopicName":"Old","TopicId":"@TGS#_rt@TOPIC#_@TOPIC#old","CreateTime":1700000000}"#,
        r#"{"ActionStatus":"OK","ErrorCode":0,"ErrorInfo":"","TopicId":"@TGS#_rt@TOPIC#_@TOPIC#old"}"#,
    ),
    row(
        IMPORT,
        r#"{"GroupId":"@TGS#_rt","TopicName":"Old","TopicId":"@TGS#_rt@TOPIC#_@TOPIC#old","CreateTime":1700000000}"#,
        r#"{"ErrorCode":10025}"#,
    ),
    row(
        IMPORT,
        r#"{"GroupId":"@TGS#_rt","TopicName":"Old","CreateTime":4000000000}"#,
        r#"{"ErrorCode":10004}"#,
    ),
    row(
        GET,
        r#"{"GroupId":"@TGS#_rt","From_Account":"rt_ben","TopicIdList":["@TGS#_rt@TOPIC#_@TOPIC#old"],
            "ResponseFilter":["CreateTime"]}"#,
        r#"{"ActionStatus":"OK","ErrorCode":0,"ErrorInfo":"","TopicAndSelfInfo":[
            {"ErrorCode":0,"ErrorInfo":"","SelfInfo":{},
             "TopicInfo":{"TopicId":"@TGS#_rt@TOPIC#_@TOPIC#old","GroupID":"@TGS#_rt","CreateTime":1700000000}}]}"#,
    ),
    // The end: each topic has its outcome.
    row(
        DESTROY,
        r#"{"GroupId":"@TGS#_rt","TopicIdList":["@TGS#_rt@TOPIC#_news","@TGS#_rt@TOPIC#_none","@TGS#_rt@TOPIC#_news"]}"#,
        r#"{"ActionStatus":"OK","ErrorCode":0,"ErrorInfo":"","DestroyResultItem":[
            {"TopicId":"@TGS#_rt@TOPIC#_news","ErrorCode":0,"ErrorInfo":""},
            {"TopicId":"@TGS#_rt@TOPIC#_none","ErrorCode":110003,"ErrorInfo":"@string"},
            {"TopicId":"@TGS#_rt@TOPIC#_news","ErrorCode":110003,"ErrorInfo":"@string"}]}"#,
    ),
    row(DESTROY, r#"{"GroupId":"@TGS#_rt","TopicIdList":[]}"#, r#"{"ErrorCode":10004}"#),
    row(DESTROY, r#"{"GroupId":"@TGS#_rt"}"#, r#"{"ErrorCode":10004}"#),
    row(DESTROY, r#"{"GroupId":"@TGS#_none","TopicIdList":["x"]}"#, r#"{"ErrorCode":10010}"#),
    row(
        HISTORY,
        r#"{"GroupId":"@TGS#_rt","TopicId":"@TGS#_rt@TOPIC#_news","ReqMsgNumber":1}"#,
        r#"{"ErrorCode":110003}"#,
    ),
    // One of the same id has nothing of the one before, and goes on counting.
    row(
        CREATE,
        r#"{"GroupId":"@TGS#_rt","TopicName":"News","TopicId":"@TGS#_rt@TOPIC#_news"}"#,
        r#"{"ActionStatus":"OK","ErrorCode":0,"ErrorInfo":"","TopicId":"@TGS#_rt@TOPIC#_news"}"#,
    ),
    row(
        HISTORY,
        r#"{"GroupId":"@TGS#_rt","TopicId":"@TGS#_rt@TOPIC#_news","ReqMsgNumber":9}"#,
        r#"{"ActionStatus":"OK","ErrorCode":0,"ErrorInfo":"","GroupId":"@TGS#_rt","IsFinished":1,"RspMsgList":[]}"#,
    ),
    row(
        RECALL,
        r#"{"GroupId":"@TGS#_rt","TopicId":"@TGS#_rt@TOPIC#_news","MsgSeqList":[{"MsgSeq":2}]}"#,
        r#"{"ActionStatus":"OK","ErrorCode":0,"ErrorInfo":"","RecallRetList":[{"MsgSeq":2,"RetCode":10030}]}"#,
    ),
    // A community takes its topics along.
    row("group_open_http_svc/destroy_group", r#"{"GroupId":"@TGS#_rt"}"#, OK),
    row(GET, r#"{"GroupId":"@TGS#_rt","From_Account":"rt_ben"}"#, r#"{"ErrorCode":10010}"#),
    row(
        SEND,
        r#"{"GroupId":"@TGS#_rt","TopicId":"@TGS#_rt@TOPIC#_news","Random":7,"From_Account":"rt_ann",
            "MsgBody":[{"MsgType":"TIMTextElem","MsgContent":{"Text":"x"}}]}"#,
        r#"{"ErrorCode":110003}"#,
    ),
    row(
        GROUP,
        r#"{"Type":"Community","Name":"City","GroupId":"@TGS#_rt","Owner_Account":"rt_ann","SupportTopic":1}"#,
        r#"{"ActionStatus":"OK","ErrorCode":0,"ErrorInfo":"","GroupId":"@TGS#_rt"}"#,
    ),
    row(
        GET,
        r#"{"GroupId":"@TGS#_rt","From_Account":"rt_ann"}"#,
        r#"{"ActionStatus":"OK","ErrorCode":0,"ErrorInfo":"","TopicAndSelfInfo":[]}"#,
    ),
];

const COMMUNITY: &str = r#"{"Type":"Community","Name":"City","GroupId":"@TGS#_c","SupportTopic":1}"#;
const MADE: &str = r#"{"ActionStatus":"OK","ErrorCode":0,"ErrorInfo":"","GroupId":"@TGS#_c"}"#;

#[test]
fn topics_have_quotas() {
    let (_dir, _node, back_end) =
        start(&["--set", "chat.groups.topics_max=2", "--set", "chat.groups.app_topics_max=3"]);
    let community = |id: &str| json!({"Type": "Community", "Name": "x", "GroupId": id, "SupportTopic": 1});
    for id in ["@TGS#_a", "@TGS#_b"] {
        back_end.done(GROUP, &community(id));
    }
    let create =
        |id: &str| back_end.call(CREATE, &json!({"GroupId": id, "TopicName": "x"}))["ErrorCode"].clone();
    let got = ["@TGS#_a", "@TGS#_a", "@TGS#_a", "@TGS#_b", "@TGS#_b"].map(create);
    assert_eq!(got, [0, 0, 10037, 0, 10036].map(serde_json::Value::from));
    // 3000 bytes are the App's own, 3001 are none.
    let topics = back_end.done(GET, &json!({"GroupId": "@TGS#_a", "From_Account": "x"}));
    let topic = topics["TopicAndSelfInfo"][0]["TopicInfo"]["TopicId"].clone();
    for (bytes, code) in [(3000, 0), (3001, 10004)] {
        let body = json!({"GroupId": "@TGS#_a", "TopicId": topic, "CustomString": "c".repeat(bytes)});
        assert_eq!(back_end.call(MODIFY, &body)["ErrorCode"], code, "{bytes} bytes");
    }
}

#[test]
fn an_app_may_have_no_topics() {
    let (_dir, _node, back_end) = start(&["--set", "chat.groups.topics=false"]);
    let rows = [
        row(GROUP, COMMUNITY, r#"{"ErrorCode":11000}"#),
        row(GROUP, r#"{"Type":"Community","Name":"City","GroupId":"@TGS#_c"}"#, MADE),
        row(CREATE, r#"{"GroupId":"@TGS#_c","TopicName":"x"}"#, r#"{"ErrorCode":11000}"#),
        row(IMPORT, r#"{"GroupId":"@TGS#_c","TopicName":"x"}"#, r#"{"ErrorCode":11000}"#),
        row(GET, r#"{"GroupId":"@TGS#_c","From_Account":"x"}"#, r#"{"ErrorCode":11000}"#),
        row(MODIFY, r#"{"GroupId":"@TGS#_c","TopicId":"@TGS#_c@TOPIC#_x"}"#, r#"{"ErrorCode":11000}"#),
        row(DESTROY, r#"{"GroupId":"@TGS#_c","TopicIdList":["@TGS#_c@TOPIC#_x"]}"#, r#"{"ErrorCode":11000}"#),
        row(
            HISTORY,
            r#"{"GroupId":"@TGS#_c","TopicId":"@TGS#_c@TOPIC#_x","ReqMsgNumber":1}"#,
            r#"{"ErrorCode":11000}"#,
        ),
        row(
            EDIT,
            r#"{"GroupId":"@TGS#_c","TopicId":"@TGS#_c@TOPIC#_x","MsgSeq":1,"CloudCustomData":"x"}"#,
            r#"{"ErrorCode":20001}"#,
        ),
    ];
    table::carry_out(&back_end, &rows);
}
