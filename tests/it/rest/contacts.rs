//! `recentcontact`: rows.

use super::table::Row;

const OK: &str = r#"{"ActionStatus":"OK","ErrorCode":0,"ErrorInfo":"","ErrorDisplay":""}"#;

const fn row(path: &'static str, body: &'static str, answer: &'static str) -> Row {
    Row { path, body, answer }
}

const LIST: &str = "recentcontact/get_list";
const DELETE: &str = "recentcontact/delete";
const CREATE: &str = "recentcontact/create_contact_group";
const UPDATE: &str = "recentcontact/update_contact_group";
const DROP: &str = "recentcontact/del_contact_group";
const MARK: &str = "recentcontact/mark_contact";
const SEARCH: &str = "recentcontact/search_contact_group";
const GET: &str = "recentcontact/get_contact_group";

pub(super) const ROWS: &[Row] = &[
    row(
        "im_open_login_svc/multiaccount_import",
        r#"{"Accounts":["rc_a","rc_b","rc_c"]}"#,
        r#"{"ActionStatus":"OK","ErrorCode":0,"ErrorInfo":"","FailAccounts":[]}"#,
    ),
    row(
        "openim/batchsendmsg",
        r#"{"From_Account":"rc_a","To_Account":["rc_b","rc_c"],"MsgRandom":6,"MsgBody":[{"MsgType":"TIMTextElem","MsgContent":{"Text":"x"}}]}"#,
        r#"{"ActionStatus":"OK","ErrorCode":0,"ErrorInfo":"","MsgKey":"@string","MsgId":"@string"}"#,
    ),
    row(
        LIST,
        r#"{"From_Account":"rc_b","TimeStamp":0,"StartIndex":0,"TopTimeStamp":0,"TopStartIndex":0,"AssistFlags":7}"#,
        r#"{"ActionStatus":"OK","ErrorCode":0,"ErrorInfo":"","ErrorDisplay":"","SessionItem":[
            {"Type":1,"To_Account":"rc_a","MsgTime":"@int","TopFlag":0}],"CompleteFlag":1,"TimeStamp":"@int",
            "StartIndex":1,"TopTimeStamp":0,"TopStartIndex":0}"#,
    ),
    row(LIST, r#"{"From_Account":"rc_b"}"#, r#"{"ErrorCode":50002}"#),
    row(LIST, r#"{"From_Account":"rc_nobody"}"#, r#"{"ErrorCode":50001}"#),
    row(
        CREATE,
        r#"{"From_Account":"rc_a","GroupContactItem":[{"GroupName":"work","ContactItem":[{"Type":1,"To_Account":"rc_b"},{"Type":3}]}]}"#,
        r#"{"ActionStatus":"OK","ErrorCode":0,"ErrorInfo":"","ErrorDisplay":"","GroupResultItem":[
            {"GroupItem":{"GroupName":"work","GroupId":"@int"},"ResultItem":[
            {"ContactItem":{"Type":1,"To_Account":"rc_b"},"ResultCode":0,"ResultInfo":""},
            {"ContactItem":{"Type":3},"ResultCode":50002,"ResultInfo":"@string"}]}]}"#,
    ),
    row(CREATE, r#"{"From_Account":"rc_a","GroupContactItem":[]}"#, r#"{"ErrorCode":50002}"#),
    row(
        CREATE,
        r#"{"From_Account":"rc_a","GroupContactItem":[{"GroupName":"012345678901234567890123456789012","ContactItem":[]}]}"#,
        r#"{"ErrorCode":51011}"#,
    ),
    row(
        UPDATE,
        r#"{"From_Account":"rc_a","UpdateType":1,"UpdateGroup":{"UpdateGroupType":1,"OldGroupName":"work","NewGroupName":"play"}}"#,
        r#"{"ActionStatus":"OK","ErrorCode":0,"ErrorInfo":"","ErrorDisplay":"","UpdateType":1,"UpdateGroupResult":
            {"UpdateGroupType":1,"GroupName":"play","GroupId":"@int","OldGroupName":"work","ContactResultItem":[]}}"#,
    ),
    row(
        UPDATE,
        r#"{"From_Account":"rc_a","UpdateType":1,"UpdateGroup":{"UpdateGroupType":2,"OldGroupName":"play","ContactUpdateItem":[
            {"ContactOptType":1,"ContactItem":{"Type":1,"To_Account":"rc_c"}},{"ContactOptType":2,"ContactItem":{"Type":1,"To_Account":"rc_b"}}]}}"#,
        r#"{"ActionStatus":"OK","ErrorCode":0,"ErrorInfo":"","ErrorDisplay":"","UpdateType":1,"UpdateGroupResult":
            {"UpdateGroupType":2,"GroupName":"play","GroupId":"@int","OldGroupName":"play","ContactResultItem":[
            {"ContactOptType":1,"ContactItem":{"Type":1,"To_Account":"rc_c"},"ResultCode":0,"ResultInfo":""},
            {"ContactOptType":2,"ContactItem":{"Type":1,"To_Account":"rc_b"},"ResultCode":0,"ResultInfo":""}]}}"#,
    ),
    row(
        UPDATE,
        r#"{"From_Account":"rc_a","UpdateType":1,"UpdateGroup":{"UpdateGroupType":1,"OldGroupName":"none","NewGroupName":"x"}}"#,
        r#"{"ErrorCode":51009}"#,
    ),
    row(
        MARK,
        r#"{"From_Account":"rc_a","MarkItem":[{"OptType":3,"ContactItem":{"Type":1,"To_Account":"rc_b"},"SetMark":[0,32],"CustomMark":"mine"},
            {"OptType":1,"ContactItem":{"Type":2,"ToGroupId":"club"},"SetMark":[64]}]}"#,
        r#"{"ActionStatus":"OK","ErrorCode":0,"ErrorInfo":"","ErrorDisplay":"","ResultItem":[
            {"OptType":3,"ContactItem":{"Type":1,"To_Account":"rc_b"},"ResultCode":0,"ResultInfo":""},
            {"OptType":1,"ContactItem":{"Type":2,"ToGroupId":"club"},"ResultCode":50002,"ResultInfo":"@string"}]}"#,
    ),
    row(MARK, r#"{"From_Account":"rc_a","MarkItem":[]}"#, r#"{"ErrorCode":51006}"#),
    row(
        SEARCH,
        r#"{"From_Account":"rc_a","ContactItem":[{"Type":1,"To_Account":"rc_b"}]}"#,
        r#"{"ActionStatus":"OK","ErrorCode":0,"ErrorInfo":"","ErrorDisplay":"","ContactResultItem":[{"Type":1,"To_Account":"rc_b",
            "StandardMark":"0000000000000000000000000000000100000000000000000000000000000001","CustomMark":"mine",
            "ContactGroupId":[],"Timestamp":"@int"}],"GroupItem":[{"GroupName":"play","GroupId":"@int"}]}"#,
    ),
    row(SEARCH, r#"{"From_Account":"rc_a","ContactItem":[]}"#, r#"{"ErrorCode":50002}"#),
    row(
        GET,
        r#"{"From_Account":"rc_a","StartIndex":0}"#,
        r#"{"ActionStatus":"OK","ErrorCode":0,"ErrorInfo":"","ErrorDisplay":"","ContactItem":[
            {"Type":1,"To_Account":"rc_b","StandardMark":"@string","CustomMark":"mine","ContactGroupId":[],"Timestamp":"@int"},
            {"Type":1,"To_Account":"rc_c","StandardMark":"@string","CustomMark":"","ContactGroupId":["@int"],"Timestamp":"@int"}],
            "GroupItem":[{"GroupName":"play","GroupId":"@int"}],"CompleteFlag":1,"NextStartIndex":2}"#,
    ),
    row(
        DROP,
        r#"{"From_Account":"rc_a","GroupName":["play"]}"#,
        r#"{"ActionStatus":"OK","ErrorCode":0,"ErrorInfo":"","ErrorDisplay":"","GroupItem":[{"GroupName":"play","GroupId":"@int"}]}"#,
    ),
    row(DROP, r#"{"From_Account":"rc_a","GroupName":["play"]}"#, r#"{"ErrorCode":51009}"#),
    row(DELETE, r#"{"From_Account":"rc_a","Type":1,"To_Account":"rc_b","ClearRamble":1}"#, OK),
    row(
        "openim/admin_getroammsg",
        r#"{"From_Account":"rc_a","To_Account":"rc_b","MaxCnt":10,"MinTime":0,"MaxTime":4000000000}"#,
        r#"{"ActionStatus":"OK","ErrorCode":0,"ErrorInfo":"","Complete":1,"MsgCnt":0,"LastMsgTime":0,"LastMsgKey":"","MsgList":[]}"#,
    ),
    row(DELETE, r#"{"From_Account":"rc_a","Type":2,"ToGroupid":"nobody"}"#, OK),
    row(DELETE, r#"{"From_Account":"rc_a","Type":9}"#, r#"{"ErrorCode":50002}"#),
    row(
        LIST,
        r#"{"From_Account":"rc_a","TimeStamp":0,"StartIndex":0,"TopTimeStamp":0,"TopStartIndex":0,"AssistFlags":0}"#,
        r#"{"ActionStatus":"OK","ErrorCode":0,"ErrorInfo":"","ErrorDisplay":"","SessionItem":[
            {"Type":1,"To_Account":"rc_c","MsgTime":"@int","TopFlag":0}],"CompleteFlag":1,"TimeStamp":"@int",
            "StartIndex":1,"TopTimeStamp":0,"TopStartIndex":0}"#,
    ),
];
