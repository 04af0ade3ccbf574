//! `openim`: rows. What a key is for is in [`super::keys`].

use super::table::Row;

const OK: &str = r#"{"ActionStatus":"OK","ErrorCode":0,"ErrorInfo":""}"#;

const SENT: &str = r#"{"ActionStatus":"OK","ErrorCode":0,"ErrorInfo":"","MsgTime":"@int","MsgKey":"@string","MsgId":"@string"}"#;

const fn row(path: &'static str, body: &'static str, answer: &'static str) -> Row {
    Row { path, body, answer }
}

const SEND: &str = "openim/sendmsg";
const BATCH: &str = "openim/batchsendmsg";
const IMPORT: &str = "openim/importmsg";
const ROAM: &str = "openim/admin_getroammsg";
const RECALL: &str = "openim/admin_msgwithdraw";
const READ: &str = "openim/admin_set_msg_read";
const UNREAD: &str = "openim/get_c2c_unread_msg_num";
const MODIFY: &str = "openim/modify_c2c_msg";
const CONFIRM: &str = "openim/c2c_msg_read_receipt";
const SET: &str = "openim_msg_ext_http_svc/set_key_values";
const GET: &str = "openim_msg_ext_http_svc/get_key_values";
const DELETE: &str = "openim/delete_c2c_msg_ramble";

pub(super) const ROWS: &[Row] = &[
    row(
        "im_open_login_svc/multiaccount_import",
        r#"{"Accounts":["c2c_a","c2c_b","c2c_c","c2c_d"]}"#,
        r#"{"ActionStatus":"OK","ErrorCode":0,"ErrorInfo":"","FailAccounts":[]}"#,
    ),
    // sendmsg
    row(
        SEND,
        r#"{"SyncOtherMachine":1,"From_Account":"c2c_a","To_Account":"c2c_b","MsgLifeTime":60,"MsgSeq":93847636,
            "MsgRandom":1287657,"MsgTimeStamp":1557387418,
            "ForbidCallbackControl":["ForbidBeforeSendMsgCallback","ForbidAfterSendMsgCallback"],
            "SendMsgControl":["NoUnread","NoLastMsg","WithMuteNotifications"],
            "MsgBody":[{"MsgType":"TIMTextElem","MsgContent":{"Text":"hi, beauty"}}],
            "CloudCustomData":"your cloud custom data",
            "OfflinePushInfo":{"PushFlag":0,"Desc":"d","Ext":"e","AndroidInfo":{"Sound":"a.mp3"},"ApnsInfo":{"BadgeMode":1}},
            "SupportMessageExtension":1,"IsNeedReadReceipt":1,"OnlineOnlyFlag":0}"#,
        r#"{"ActionStatus":"OK","ErrorCode":0,"ErrorInfo":"","MsgTime":1557387418,
            "MsgKey":"93847636_1287657_1557387418","MsgId":"@string"}"#,
    ),
    // The same again is the same message, whatever it says.
    row(
        SEND,
        r#"{"From_Account":"c2c_a","To_Account":"c2c_b","MsgSeq":93847636,"MsgRandom":1287657,"MsgTimeStamp":1557387418,
            "MsgBody":[{"MsgType":"TIMTextElem","MsgContent":{"Text":"again"}}]}"#,
        r#"{"ActionStatus":"OK","ErrorCode":0,"ErrorInfo":"","MsgTime":1557387418,
            "MsgKey":"93847636_1287657_1557387418","MsgId":"@string"}"#,
    ),
    row(
        ROAM,
        r#"{"Operator_Account":"c2c_b","Peer_Account":"c2c_a","MaxCnt":100,"MinTime":0,"MaxTime":4000000000}"#,
        r#"{"ActionStatus":"OK","ErrorCode":0,"ErrorInfo":"","Complete":1,"MsgCnt":1,"LastMsgTime":1557387418,
            "LastMsgKey":"93847636_1287657_1557387418","MsgList":[{"From_Account":"c2c_a","To_Account":"c2c_b",
            "MsgSeq":93847636,"MsgRandom":1287657,"MsgTimeStamp":1557387418,"MsgClientTime":"@int","MsgFlagBits":0,
            "IsPeerRead":0,"IsNeedReadReceipt":1,"SupportMessageExtension":1,"MsgKey":"93847636_1287657_1557387418",
            "MsgId":"@string","MsgBody":[{"MsgType":"TIMTextElem","MsgContent":{"Text":"hi, beauty"}}],
            "CloudCustomData":"your cloud custom data"}]}"#,
    ),
    row(
        SEND,
        r#"{"To_Account":"c2c_b","MsgRandom":"7","MsgBody":[{"MsgType":"TIMCustomElem","MsgContent":{"Data":"x"}}]}"#,
        SENT,
    ),
    row(
        SEND,
        r#"{"To_Account":"c2c_b","MsgRandom":7,"MsgLifeTime":0,"MsgBody":[{"MsgType":"TIMFaceElem","MsgContent":{"Index":1}}]}"#,
        SENT,
    ),
    row(SEND, "nothing", r#"{"ErrorCode":90001}"#),
    row(SEND, "{}", r#"{"ErrorCode":90003}"#),
    row(SEND, r#"{"To_Account":["c2c_b"],"MsgRandom":1,"MsgBody":[]}"#, r#"{"ErrorCode":90003}"#),
    row(SEND, r#"{"To_Account":"c2c_b","MsgBody":[]}"#, r#"{"ErrorCode":90005}"#),
    row(SEND, r#"{"To_Account":"c2c_b","MsgRandom":-1,"MsgBody":[]}"#, r#"{"ErrorCode":90005}"#),
    row(
        SEND,
        r#"{"To_Account":"c2c_b","MsgRandom":1,"MsgTimeStamp":"x","MsgBody":[]}"#,
        r#"{"ErrorCode":90006}"#,
    ),
    row(SEND, r#"{"To_Account":"c2c_b","MsgRandom":1}"#, r#"{"ErrorCode":90002}"#),
    row(SEND, r#"{"To_Account":"c2c_b","MsgRandom":1,"MsgBody":{}}"#, r#"{"ErrorCode":90007}"#),
    row(
        SEND,
        r#"{"To_Account":"c2c_b","MsgRandom":1,"MsgBody":[{"MsgType":"TIMTextElem"}]}"#,
        r#"{"ErrorCode":90010}"#,
    ),
    row(
        SEND,
        r#"{"To_Account":"c2c_b","MsgRandom":1,"MsgLifeTime":"x","MsgBody":[{"MsgType":"TIMTextElem","MsgContent":{"Text":"x"}}]}"#,
        r#"{"ErrorCode":90044}"#,
    ),
    row(
        SEND,
        r#"{"To_Account":"c2c_b","MsgRandom":1,"SyncOtherMachine":"x","MsgBody":[{"MsgType":"TIMTextElem","MsgContent":{"Text":"x"}}]}"#,
        r#"{"ErrorCode":90031}"#,
    ),
    row(
        SEND,
        r#"{"To_Account":"c2c_b","MsgRandom":1,"OfflinePushInfo":[],"MsgBody":[{"MsgType":"TIMTextElem","MsgContent":{"Text":"x"}}]}"#,
        r#"{"ErrorCode":90043}"#,
    ),
    row(
        SEND,
        r#"{"To_Account":"c2c_nobody","MsgRandom":1,"MsgBody":[{"MsgType":"TIMTextElem","MsgContent":{"Text":"x"}}]}"#,
        r#"{"ErrorCode":90012}"#,
    ),
    row(
        SEND,
        r#"{"From_Account":"c2c_nobody","To_Account":"c2c_b","MsgRandom":1,"MsgBody":[{"MsgType":"TIMTextElem","MsgContent":{"Text":"x"}}]}"#,
        r#"{"ErrorCode":20003}"#,
    ),
    // batchsendmsg
    row(
        BATCH,
        r#"{"From_Account":"c2c_a","To_Account":["c2c_c","c2c_nobody","c2c_d"],"MsgSeq":5,"MsgRandom":6,
            "MsgBody":[{"MsgType":"TIMTextElem","MsgContent":{"Text":"all"}}]}"#,
        r#"{"ActionStatus":"SomeError","ErrorCode":0,"ErrorInfo":"","MsgKey":"@string","MsgId":"@string",
            "ErrorList":[{"To_Account":"c2c_nobody","ErrorCode":70107}]}"#,
    ),
    row(
        BATCH,
        r#"{"To_Account":["c2c_c","c2c_d"],"MsgRandom":6,"MsgBody":[{"MsgType":"TIMTextElem","MsgContent":{"Text":"all"}}]}"#,
        r#"{"ActionStatus":"OK","ErrorCode":0,"ErrorInfo":"","MsgKey":"@string","MsgId":"@string"}"#,
    ),
    row(
        BATCH,
        r#"{"To_Account":["c2c_nobody"],"MsgRandom":6,"MsgBody":[{"MsgType":"TIMTextElem","MsgContent":{"Text":"all"}}]}"#,
        r#"{"ActionStatus":"FAIL","ErrorCode":90012,"ErrorInfo":"invalid To_Account"}"#,
    ),
    row(BATCH, r#"{"To_Account":"c2c_c","MsgRandom":6}"#, r#"{"ErrorCode":90003}"#),
    row(BATCH, r#"{"To_Account":[],"MsgRandom":6}"#, r#"{"ErrorCode":90003}"#),
    // importmsg: the same key in the other direction is the same message.
    row(
        IMPORT,
        r#"{"SyncFromOldSystem":2,"From_Account":"c2c_c","To_Account":"c2c_d","MsgSeq":1,"MsgRandom":2,
            "MsgTimeStamp":1700000000,"MsgBody":[{"MsgType":"TIMTextElem","MsgContent":{"Text":"old"}}],"CloudCustomData":"c"}"#,
        OK,
    ),
    row(
        IMPORT,
        r#"{"SyncFromOldSystem":5,"From_Account":"c2c_d","To_Account":"c2c_c","MsgSeq":1,"MsgRandom":2,
            "MsgTimeStamp":1700000000,"MsgBody":[{"MsgType":"TIMTextElem","MsgContent":{"Text":"other"}}]}"#,
        OK,
    ),
    row(
        UNREAD,
        r#"{"To_Account":"c2c_c","Peer_Account":["c2c_d"]}"#,
        r#"{"ActionStatus":"OK","ErrorCode":0,"ErrorInfo":"","C2CUnreadMsgNumList":[{"Peer_Account":"c2c_d","C2CUnreadMsgNum":0}],"ErrorList":[]}"#,
    ),
    row(
        IMPORT,
        r#"{"SyncFromOldSystem":3,"From_Account":"c2c_c","To_Account":"c2c_d"}"#,
        r#"{"ErrorCode":90030}"#,
    ),
    row(IMPORT, r#"{"From_Account":"c2c_c","To_Account":"c2c_d"}"#, r#"{"ErrorCode":90030}"#),
    row(IMPORT, r#"{"SyncFromOldSystem":2,"To_Account":"c2c_d"}"#, r#"{"ErrorCode":90008}"#),
    row(IMPORT, r#"{"SyncFromOldSystem":2,"From_Account":"c2c_c"}"#, r#"{"ErrorCode":90003}"#),
    row(
        IMPORT,
        r#"{"SyncFromOldSystem":2,"From_Account":"c2c_c","To_Account":"c2c_d","MsgTimeStamp":1}"#,
        r#"{"ErrorCode":90005}"#,
    ),
    row(
        IMPORT,
        r#"{"SyncFromOldSystem":2,"From_Account":"c2c_c","To_Account":"c2c_d","MsgRandom":1}"#,
        r#"{"ErrorCode":90006}"#,
    ),
    row(
        IMPORT,
        r#"{"SyncFromOldSystem":2,"From_Account":"c2c_c","To_Account":"c2c_d","MsgRandom":1,"MsgTimeStamp":1}"#,
        r#"{"ErrorCode":90002}"#,
    ),
    // admin_getroammsg, by the older names too
    row(
        ROAM,
        r#"{"From_Account":"c2c_c","To_Account":"c2c_b","MaxCnt":10,"MinTime":0,"MaxTime":4000000000}"#,
        r#"{"ActionStatus":"OK","ErrorCode":0,"ErrorInfo":"","Complete":1,"MsgCnt":0,"LastMsgTime":0,"LastMsgKey":"","MsgList":[]}"#,
    ),
    row(ROAM, r#"{"To_Account":"c2c_b","MaxCnt":10,"MinTime":0,"MaxTime":1}"#, r#"{"ErrorCode":90008}"#),
    row(ROAM, r#"{"From_Account":"c2c_b","MaxCnt":10,"MinTime":0,"MaxTime":1}"#, r#"{"ErrorCode":90003}"#),
    row(
        ROAM,
        r#"{"From_Account":"c2c_b","To_Account":"c2c_nobody","MaxCnt":10,"MinTime":0,"MaxTime":1}"#,
        r#"{"ErrorCode":90003}"#,
    ),
    // admin_msgwithdraw
    row(
        RECALL,
        r#"{"From_Account":"c2c_b","To_Account":"c2c_a","MsgKey":"93847636_1287657_1557387418"}"#,
        r#"{"ErrorCode":20022}"#,
    ),
    row(
        RECALL,
        r#"{"From_Account":"c2c_a","To_Account":"c2c_b","MsgKey":"1_2_3"}"#,
        r#"{"ErrorCode":20022}"#,
    ),
    row(RECALL, r#"{"From_Account":"c2c_a","To_Account":"c2c_b","MsgKey":"x"}"#, r#"{"ErrorCode":90054}"#),
    row(RECALL, r#"{"From_Account":"c2c_a","To_Account":"c2c_b"}"#, r#"{"ErrorCode":90054}"#),
    row(RECALL, r#"{"To_Account":"c2c_b","MsgKey":"1_2_3"}"#, r#"{"ErrorCode":90008}"#),
    row(RECALL, r#"{"From_Account":"c2c_a","MsgKey":"1_2_3"}"#, r#"{"ErrorCode":90003}"#),
    // openim_msg_ext_http_svc
    row(
        SET,
        r#"{"From_Account":"c2c_a","To_Account":"c2c_b","MsgKey":"93847636_1287657_1557387418","OperateType":1,
            "ExtensionList":[{"Key":"k1","Value":"v1","Seq":0},{"Key":"k2","Value":"v2","Seq":0}]}"#,
        r#"{"ActionStatus":"OK","ErrorCode":0,"ErrorInfo":"","ExtensionList":[
            {"ErrorCode":0,"Extension":{"Key":"k1","Value":"v1","Seq":1}},{"ErrorCode":0,"Extension":{"Key":"k2","Value":"v2","Seq":2}}]}"#,
    ),
    row(
        SET,
        r#"{"From_Account":"c2c_a","To_Account":"c2c_b","MsgKey":"93847636_1287657_1557387418","OperateType":2,"ExtensionList":[{"Key":"k1"}]}"#,
        r#"{"ActionStatus":"OK","ErrorCode":0,"ErrorInfo":"","ExtensionList":[{"ErrorCode":0,"Extension":{"Key":"k1","Value":"","Seq":3}}]}"#,
    ),
    row(
        GET,
        r#"{"From_Account":"c2c_b","To_Account":"c2c_a","MsgKey":"93847636_1287657_1557387418","StartSeq":0}"#,
        r#"{"ActionStatus":"OK","ErrorCode":0,"ErrorInfo":"","CompleteFlag":1,"LatestSeq":3,"ClearSeq":0,"ExtensionList":[
            {"Key":"k2","Value":"v2","Seq":2},{"Key":"k1","Value":"","Seq":3}]}"#,
    ),
    row(
        SET,
        r#"{"From_Account":"c2c_a","To_Account":"c2c_b","MsgKey":"93847636_1287657_1557387418","OperateType":3}"#,
        r#"{"ActionStatus":"OK","ErrorCode":0,"ErrorInfo":"","ExtensionList":[]}"#,
    ),
    row(
        GET,
        r#"{"From_Account":"c2c_a","To_Account":"c2c_b","MsgKey":"93847636_1287657_1557387418"}"#,
        r#"{"ActionStatus":"OK","ErrorCode":0,"ErrorInfo":"","CompleteFlag":1,"LatestSeq":4,"ClearSeq":4,"ExtensionList":[]}"#,
    ),
    row(
        SET,
        r#"{"From_Account":"c2c_a","To_Account":"c2c_b","MsgKey":"93847636_1287657_1557387418"}"#,
        r#"{"ErrorCode":10004}"#,
    ),
    row(
        SET,
        r#"{"From_Account":"c2c_a","To_Account":"c2c_b","MsgKey":"93847636_1287657_1557387418","OperateType":1,"ExtensionList":[{"Key":"","Value":"v"}]}"#,
        r#"{"ErrorCode":10004}"#,
    ),
    row(GET, r#"{"From_Account":"c2c_a","To_Account":"c2c_b","MsgKey":"1_2_3"}"#, r#"{"ErrorCode":23004}"#),
    row(GET, r#"{"From_Account":"c2c_a","To_Account":"c2c_b","MsgKey":"x"}"#, r#"{"ErrorCode":10004}"#),
    row(
        GET,
        r#"{"From_Account":"c2c_c","To_Account":"c2c_d","MsgKey":"1_2_1700000000"}"#,
        r#"{"ErrorCode":23002}"#,
    ),
    // modify_c2c_msg
    row(
        MODIFY,
        r#"{"From_Account":"c2c_a","To_Account":"c2c_b","MsgKey":"93847636_1287657_1557387418",
            "MsgBody":[{"MsgType":"TIMTextElem","MsgContent":{"Text":"changed"}}]}"#,
        OK,
    ),
    row(
        MODIFY,
        r#"{"From_Account":"c2c_a","To_Account":"c2c_b","MsgKey":"93847636_1287657_1557387418","CloudCustomData":"new"}"#,
        OK,
    ),
    row(
        MODIFY,
        r#"{"From_Account":"c2c_a","To_Account":"c2c_b","MsgKey":"93847636_1287657_1557387418"}"#,
        r#"{"ErrorCode":90002}"#,
    ),
    row(
        MODIFY,
        r#"{"From_Account":"c2c_a","To_Account":"c2c_b","MsgKey":"93847636_1287657_1557387418","MsgBody":1}"#,
        r#"{"ErrorCode":90007}"#,
    ),
    // c2c_msg_read_receipt, admin_set_msg_read
    row(
        CONFIRM,
        r#"{"Operator_Account":"c2c_b","Peer_Account":"c2c_a",
            "C2CMsgInfo":[{"From_Account":"c2c_a","To_Account":"c2c_b","MsgKey":"93847636_1287657_1557387418"}]}"#,
        OK,
    ),
    row(
        CONFIRM,
        r#"{"Operator_Account":"c2c_b","Peer_Account":"c2c_a","C2CMsgInfo":[{"From_Account":"x","To_Account":"c2c_b","MsgKey":"1_2_3"}]}"#,
        r#"{"ErrorCode":90010}"#,
    ),
    row(
        CONFIRM,
        r#"{"Operator_Account":"c2c_b","Peer_Account":"c2c_a","C2CMsgInfo":[{"MsgKey":"x"}]}"#,
        r#"{"ErrorCode":90054}"#,
    ),
    row(CONFIRM, r#"{"Peer_Account":"c2c_a"}"#, r#"{"ErrorCode":90008}"#),
    row(
        ROAM,
        r#"{"From_Account":"c2c_a","To_Account":"c2c_b","MaxCnt":1,"MinTime":0,"MaxTime":4000000000}"#,
        r#"{"ActionStatus":"OK","ErrorCode":0,"ErrorInfo":"","Complete":1,"MsgCnt":1,"LastMsgTime":1557387418,
            "LastMsgKey":"93847636_1287657_1557387418","MsgList":[{"From_Account":"c2c_a","To_Account":"c2c_b",
            "MsgSeq":93847636,"MsgRandom":1287657,"MsgTimeStamp":1557387418,"MsgClientTime":"@int","MsgFlagBits":0,
            "IsPeerRead":1,"IsNeedReadReceipt":1,"SupportMessageExtension":1,"MsgKey":"93847636_1287657_1557387418",
            "MsgId":"@string","MsgBody":[{"MsgType":"TIMTextElem","MsgContent":{"Text":"changed"}}],
            "CloudCustomData":"new"}]}"#,
    ),
    row(
        RECALL,
        r#"{"From_Account":"c2c_a","To_Account":"c2c_b","MsgKey":"93847636_1287657_1557387418"}"#,
        OK,
    ),
    row(
        RECALL,
        r#"{"From_Account":"c2c_a","To_Account":"c2c_b","MsgKey":"93847636_1287657_1557387418"}"#,
        r#"{"ErrorCode":20023}"#,
    ),
    row(
        ROAM,
        r#"{"From_Account":"c2c_a","To_Account":"c2c_b","MaxCnt":1,"MinTime":0,"MaxTime":4000000000}"#,
        r#"{"ActionStatus":"OK","ErrorCode":0,"ErrorInfo":"","Complete":1,"MsgCnt":1,"LastMsgTime":1557387418,
            "LastMsgKey":"93847636_1287657_1557387418","MsgList":[{"From_Account":"c2c_a","To_Account":"c2c_b",
            "MsgSeq":93847636,"MsgRandom":1287657,"MsgTimeStamp":1557387418,"MsgClientTime":"@int","MsgFlagBits":8,
            "IsPeerRead":1,"IsNeedReadReceipt":1,"SupportMessageExtension":1,"MsgKey":"93847636_1287657_1557387418",
            "MsgId":"@string","MsgBody":[],"CloudCustomData":""}]}"#,
    ),
    // get_c2c_unread_msg_num, admin_set_msg_read
    row(
        UNREAD,
        r#"{"To_Account":"c2c_c"}"#,
        r#"{"ActionStatus":"OK","ErrorCode":0,"ErrorInfo":"","AllC2CUnreadMsgNum":2}"#,
    ),
    row(
        UNREAD,
        r#"{"To_Account":"c2c_c","Peer_Account":["c2c_a","c2c_nobody"]}"#,
        r#"{"ActionStatus":"OK","ErrorCode":0,"ErrorInfo":"","C2CUnreadMsgNumList":[{"Peer_Account":"c2c_a","C2CUnreadMsgNum":1}],
            "ErrorList":[{"Peer_Account":"c2c_nobody","ErrorCode":70107}]}"#,
    ),
    row(READ, r#"{"Report_Account":"c2c_c","Peer_Account":"c2c_a","MsgReadTime":"1"}"#, OK),
    row(
        UNREAD,
        r#"{"To_Account":"c2c_c","Peer_Account":["c2c_a"]}"#,
        r#"{"ActionStatus":"OK","ErrorCode":0,"ErrorInfo":"","C2CUnreadMsgNumList":[{"Peer_Account":"c2c_a","C2CUnreadMsgNum":1}],"ErrorList":[]}"#,
    ),
    row(READ, r#"{"Report_Account":"c2c_c","Peer_Account":"c2c_a"}"#, OK),
    row(
        UNREAD,
        r#"{"To_Account":"c2c_c","Peer_Account":["c2c_a"]}"#,
        r#"{"ActionStatus":"OK","ErrorCode":0,"ErrorInfo":"","C2CUnreadMsgNumList":[{"Peer_Account":"c2c_a","C2CUnreadMsgNum":0}],"ErrorList":[]}"#,
    ),
    row(READ, r#"{"Peer_Account":"c2c_a"}"#, r#"{"ErrorCode":90008}"#),
    row(READ, r#"{"Report_Account":"c2c_c"}"#, r#"{"ErrorCode":90003}"#),
    row(UNREAD, "{}", r#"{"ErrorCode":90003}"#),
    row(UNREAD, r#"{"To_Account":"c2c_nobody"}"#, r#"{"ErrorCode":90003}"#),
    // delete_c2c_msg_ramble
    row(
        DELETE,
        r#"{"Operator_Account":"c2c_b","Peer_Account":"c2c_a","MsgKeyList":["93847636_1287657_1557387418","x"]}"#,
        r#"{"ActionStatus":"OK","ErrorCode":0,"ErrorInfo":"","InvalidMsgKeyList":["x"]}"#,
    ),
    row(
        ROAM,
        r#"{"From_Account":"c2c_b","To_Account":"c2c_a","MaxCnt":10,"MinTime":0,"MaxTime":4000000000}"#,
        r#"{"ActionStatus":"OK","ErrorCode":0,"ErrorInfo":"","Complete":1,"MsgCnt":0,"LastMsgTime":0,"LastMsgKey":"","MsgList":[]}"#,
    ),
    row(DELETE, r#"{"Operator_Account":"c2c_b","Peer_Account":"c2c_a"}"#, r#"{"ErrorCode":90010}"#),
];
