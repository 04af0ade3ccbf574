//! The services of groups: lifecycle, members, mutes and bans, attributes and counters.

use super::table::Row;

const OK: &str = r#"{"ActionStatus":"OK","ErrorCode":0,"ErrorInfo":""}"#;

const fn row(path: &'static str, body: &'static str, answer: &'static str) -> Row {
    Row { path, body, answer }
}

const fn code(path: &'static str, body: &'static str, answer: &'static str) -> Row {
    Row { path, body, answer }
}

const CREATE: &str = "group_open_http_svc/create_group";
const INFO: &str = "group_open_http_svc/get_group_info";
const MODIFY: &str = "group_open_http_svc/modify_group_base_info";
const DESTROY: &str = "group_open_http_svc/destroy_group";
const OWNER: &str = "group_open_http_svc/change_group_owner";
const LIST: &str = "group_open_http_svc/get_appid_group_list";
const JOINED: &str = "group_open_http_svc/get_joined_group_list";
const MEMBERS: &str = "group_open_http_svc/get_group_member_info";
const ADD: &str = "group_open_http_svc/add_group_member";
const REMOVE: &str = "group_open_http_svc/delete_group_member";
const MEMBER: &str = "group_open_http_svc/modify_group_member_info";
const ROLES: &str = "group_open_http_svc/get_role_in_group";
const MUTE: &str = "group_open_http_svc/forbid_send_msg";
const MUTED: &str = "group_open_http_svc/get_group_shutted_uin";
const MUTED_NEWER: &str = "group_open_http_svc/get_group_muted_account";
const BAN: &str = "group_open_http_svc/ban_group_member";
const UNBAN: &str = "group_open_http_svc/unban_group_member";
const BANNED: &str = "group_open_http_svc/get_group_ban_member";
const ATTRIBUTES: &str = "group_open_attr_http_svc/get_group_attr";
const COUNTERS: &str = "group_open_http_svc/get_group_counter";
const COUNT: &str = "group_open_http_svc/update_group_counter";

pub(super) const ROWS: &[Row] = &[
    row(
        "im_open_login_svc/multiaccount_import",
        r#"{"Accounts":["rg_ann","rg_ben","rg_cat","rg_dan"]}"#,
        r#"{"ActionStatus":"OK","ErrorCode":0,"ErrorInfo":"","FailAccounts":[]}"#,
    ),
    // Lifecycle.
    row(
        CREATE,
        r#"{"Type":"Public","Name":"Talk","Owner_Account":"rg_ann","GroupId":"rg_talk","Introduction":"in",
            "Notification":"no","FaceUrl":"http://x/f.png","MaxMemberCount":500,"ApplyJoinOption":"FreeAccess",
            "MemberList":[{"Member_Account":"rg_ben","Role":"Admin"},{"Member_Account":"rg_cat"}]}"#,
        r#"{"ActionStatus":"OK","ErrorCode":0,"ErrorInfo":"","GroupId":"rg_talk"}"#,
    ),
    row(
        CREATE,
        r#"{"Type":"Work","Name":"Team","Owner_Account":"rg_ann"}"#,
        r#"{"ActionStatus":"OK","ErrorCode":0,"ErrorInfo":"","GroupId":"@string"}"#,
    ),
    row(
        CREATE,
        r#"{"Type":"AVChatRoom","Name":"Live","GroupId":"rg_live"}"#,
        r#"{"ActionStatus":"OK","ErrorCode":0,"ErrorInfo":"","GroupId":"rg_live"}"#,
    ),
    row(
        CREATE,
        r#"{"Type":"Community","Name":"All","GroupId":"@TGS#_rg","Owner_Account":"rg_ann",
            "MemberList":[{"Member_Account":"rg_ben"},{"Member_Account":"rg_cat"}]}"#,
        r#"{"ActionStatus":"OK","ErrorCode":0,"ErrorInfo":"","GroupId":"@TGS#_rg"}"#,
    ),
    code(CREATE, "not json", r#"{"ErrorCode":10011}"#),
    code(CREATE, r#"{"Name":"x"}"#, r#"{"ErrorCode":10004}"#),
    code(CREATE, r#"{"Type":"Public"}"#, r#"{"ErrorCode":10004}"#),
    code(CREATE, r#"{"Type":"Nothing","Name":"x"}"#, r#"{"ErrorCode":10004}"#),
    // 30 bytes are a name, 31 are none.
    code(CREATE, r#"{"Type":"Public","Name":"1234567890123456789012345678901"}"#, r#"{"ErrorCode":10004}"#),
    row(
        CREATE,
        r#"{"Type":"Public","Name":"123456789012345678901234567890","GroupId":"rg_long"}"#,
        r#"{"ActionStatus":"OK","ErrorCode":0,"ErrorInfo":"","GroupId":"rg_long"}"#,
    ),
    code(CREATE, r#"{"Type":"Public","Name":"x","GroupId":"@TGS#mine"}"#, r#"{"ErrorCode":10015}"#),
    code(CREATE, r#"{"Type":"Public","Name":"x","GroupId":"rg_talk"}"#, r#"{"ErrorCode":10021}"#),
    code(
        CREATE,
        r#"{"Type":"Public","Name":"x","GroupId":"rg_talk","Owner_Account":"rg_ann"}"#,
        r#"{"ErrorCode":10025}"#,
    ),
    code(CREATE, r#"{"Type":"Public","Name":"x","Owner_Account":"rg_nobody"}"#, r#"{"ErrorCode":10019}"#),
    code(
        CREATE,
        r#"{"Type":"AVChatRoom","Name":"x","MemberList":[{"Member_Account":"rg_ben"}]}"#,
        r#"{"ErrorCode":10007}"#,
    ),
    code(CREATE, r#"{"Type":"Public","Name":"x","MaxMemberCount":6001}"#, r#"{"ErrorCode":10038}"#),
    code(CREATE, r#"{"Type":"Public","Name":"x","ApplyJoinOption":"Maybe"}"#, r#"{"ErrorCode":10004}"#),
    code(CREATE, r#"{"Type":"Public","Name":"x","SupportTopic":1}"#, r#"{"ErrorCode":11000}"#),
    code(CREATE, r#"{"Type":"Community","Name":"x","SupportTopic":2}"#, r#"{"ErrorCode":10004}"#),
    code(CREATE, r#"{"Type":"Public","Name":"x","GroupId":"a@TOPIC#_b"}"#, r#"{"ErrorCode":10015}"#),
    row(
        INFO,
        r#"{"GroupIdList":["rg_talk","rg_nothing",""]}"#,
        r#"{"ActionStatus":"OK","ErrorCode":0,"ErrorInfo":"","GroupInfo":[
            {"ErrorCode":0,"ErrorInfo":"","GroupId":"rg_talk","Appid":"@int","Type":"Public","Name":"Talk",
             "Introduction":"in","Notification":"no","FaceUrl":"http://x/f.png","Owner_Account":"rg_ann",
             "CreateTime":"@int","InfoSeq":1,"LastInfoTime":"@int","LastMsgTime":"@int","NextMsgSeq":"@int",
             "MemberNum":3,"MaxMemberNum":500,"ApplyJoinOption":"FreeAccess","InviteJoinOption":"DisableInvite",
             "ShutUpAllMember":"Off","MuteAllMember":"Off","AppDefinedData":[],"MemberList":[
                {"Member_Account":"rg_ann","Role":"Owner","JoinTime":"@int","MsgSeq":0,"MsgFlag":"AcceptAndNotify",
                 "LastSendMsgTime":0,"ShutUpUntil":0,"NameCard":"","AppMemberDefinedData":[]},
                {"Member_Account":"rg_ben","Role":"Admin","JoinTime":"@int","MsgSeq":0,"MsgFlag":"AcceptAndNotify",
                 "LastSendMsgTime":0,"ShutUpUntil":0,"NameCard":"","AppMemberDefinedData":[]},
                {"Member_Account":"rg_cat","Role":"Member","JoinTime":"@int","MsgSeq":0,"MsgFlag":"AcceptAndNotify",
                 "LastSendMsgTime":0,"ShutUpUntil":0,"NameCard":"","AppMemberDefinedData":[]}]},
            {"ErrorCode":10010,"ErrorInfo":"@string","GroupId":"rg_nothing"},
            {"ErrorCode":10015,"ErrorInfo":"@string","GroupId":""}]}"#,
    ),
    row(
        INFO,
        r#"{"GroupIdList":["rg_talk"],"ResponseFilter":{"GroupBaseInfoFilter":["Type","Name"],
            "MemberInfoFilter":["Account","Role"]}}"#,
        r#"{"ActionStatus":"OK","ErrorCode":0,"ErrorInfo":"","GroupInfo":[
            {"ErrorCode":0,"ErrorInfo":"","GroupId":"rg_talk","Type":"Public","Name":"Talk","MemberList":[
                {"Member_Account":"rg_ann","Role":"Owner"},{"Member_Account":"rg_ben","Role":"Admin"},
                {"Member_Account":"rg_cat","Role":"Member"}]}]}"#,
    ),
    code(INFO, r#"{"GroupIdList":[]}"#, r#"{"ErrorCode":10004}"#),
    code(INFO, r#"{"GroupIdList":"rg_talk"}"#, r#"{"ErrorCode":10004}"#),
    row(
        MODIFY,
        r#"{"GroupId":"rg_talk","Name":"Talk 2","MaxMemberNum":"300","ShutUpAllMember":"On","ApplyJoinOption":"NeedPermission"}"#,
        OK,
    ),
    row(
        INFO,
        r#"{"GroupIdList":["rg_talk"],"ResponseFilter":{"GroupBaseInfoFilter":["Name","MaxMemberNum","ShutUpAllMember","ApplyJoinOption","Introduction"]}}"#,
        r#"{"ActionStatus":"OK","ErrorCode":0,"ErrorInfo":"","GroupInfo":[{"ErrorCode":0,"ErrorInfo":"","GroupId":"rg_talk",
            "Name":"Talk 2","MaxMemberNum":300,"ShutUpAllMember":"On","ApplyJoinOption":"NeedPermission","Introduction":"in"}]}"#,
    ),
    row(MODIFY, r#"{"GroupId":"rg_talk","ShutUpAllMember":"Off"}"#, OK),
    code(MODIFY, r#"{"GroupId":"rg_talk","ShutUpAllMember":"Maybe"}"#, r#"{"ErrorCode":10004}"#),
    code(MODIFY, r#"{"GroupId":"rg_nothing","Name":"x"}"#, r#"{"ErrorCode":10010}"#),
    code(MODIFY, r#"{"Name":"x"}"#, r#"{"ErrorCode":10004}"#),
    code(
        MODIFY,
        r#"{"GroupId":"rg_talk","AppDefinedData":[{"Key":"x","Value":"y"}]}"#,
        r#"{"ErrorCode":10004}"#,
    ),
    row(OWNER, r#"{"GroupId":"rg_talk","NewOwner_Account":"rg_ben"}"#, OK),
    code(OWNER, r#"{"GroupId":"rg_talk","NewOwner_Account":"rg_dan"}"#, r#"{"ErrorCode":10004}"#),
    code(OWNER, r#"{"GroupId":"rg_live","NewOwner_Account":"rg_ben"}"#, r#"{"ErrorCode":10007}"#),
    row(OWNER, r#"{"GroupId":"rg_talk","NewOwner_Account":"rg_ann"}"#, OK),
    // Lists.
    row(
        LIST,
        r#"{"Limit":2,"GroupType":"Public"}"#,
        r#"{"ActionStatus":"OK","ErrorCode":0,"ErrorInfo":"","TotalCount":2,
            "GroupIdList":[{"GroupId":"rg_talk"},{"GroupId":"rg_long"}],"Next":0}"#,
    ),
    row(
        JOINED,
        r#"{"Member_Account":"rg_ann"}"#,
        r#"{"ActionStatus":"OK","ErrorCode":0,"ErrorInfo":"","TotalCount":2,
            "GroupIdList":[{"GroupId":"@TGS#_rg"},{"GroupId":"rg_talk"}]}"#,
    ),
    row(
        JOINED,
        r#"{"Member_Account":"rg_ann","WithNoActiveGroups":1,"Limit":1,"GroupType":"Private"}"#,
        r#"{"ActionStatus":"OK","ErrorCode":0,"ErrorInfo":"","TotalCount":1,"GroupIdList":[{"GroupId":"@string"}]}"#,
    ),
    row(
        JOINED,
        r#"{"Member_Account":"rg_ben","Offset":1,"ResponseFilter":{"GroupBaseInfoFilter":["Name","Type"],
            "SelfInfoFilter":["Role","MsgFlag","MsgSeq","JoinTime"]}}"#,
        r#"{"ActionStatus":"OK","ErrorCode":0,"ErrorInfo":"","TotalCount":2,"GroupIdList":[
            {"GroupId":"rg_talk","Name":"Talk 2","Type":"Public",
             "SelfInfo":{"Role":"Member","MsgFlag":"AcceptAndNotify","MsgSeq":0,"JoinTime":"@int"}}]}"#,
    ),
    code(JOINED, r#"{"Member_Account":"rg_nobody"}"#, r#"{"ErrorCode":10019}"#),
    code(JOINED, r#"{"Member_Account":"rg_ann","Limit":5001}"#, r#"{"ErrorCode":10004}"#),
    code(JOINED, "{}", r#"{"ErrorCode":10004}"#),
    // Members.
    row(
        ADD,
        r#"{"GroupId":"rg_talk","Silence":1,"MemberList":[{"Member_Account":"rg_dan"},{"Member_Account":"rg_cat"},
            {"Member_Account":"rg_nobody"}]}"#,
        r#"{"ActionStatus":"OK","ErrorCode":0,"ErrorInfo":"","MemberList":[{"Member_Account":"rg_dan","Result":1},
            {"Member_Account":"rg_cat","Result":2},{"Member_Account":"rg_nobody","Result":0}]}"#,
    ),
    code(
        ADD,
        r#"{"GroupId":"rg_talk","MemberList":[{"Member_Account":"rg_nobody"}]}"#,
        r#"{"ErrorCode":10019}"#,
    ),
    code(
        ADD,
        r#"{"GroupId":"rg_live","MemberList":[{"Member_Account":"rg_dan"}]}"#,
        r#"{"ErrorCode":10007}"#,
    ),
    code(ADD, r#"{"GroupId":"rg_talk","MemberList":[]}"#, r#"{"ErrorCode":10004}"#),
    code(ADD, r#"{"GroupId":"rg_talk","MemberList":["rg_dan"]}"#, r#"{"ErrorCode":10004}"#),
    row(
        MEMBER,
        r#"{"GroupId":"rg_talk","Member_Account":"rg_ben","Role":"Admin","NameCard":"Benny","MsgFlag":"AcceptNotNotify"}"#,
        OK,
    ),
    row(
        MEMBERS,
        r#"{"GroupId":"rg_talk","MemberInfoFilter":["Role","NameCard","MsgFlag"],"MemberRoleFilter":["Owner","Admin"]}"#,
        r#"{"ActionStatus":"OK","ErrorCode":0,"ErrorInfo":"","MemberNum":4,"MemberList":[
            {"Member_Account":"rg_ann","Role":"Owner","NameCard":"","MsgFlag":"AcceptAndNotify"},
            {"Member_Account":"rg_ben","Role":"Admin","NameCard":"Benny","MsgFlag":"AcceptNotNotify"}]}"#,
    ),
    row(
        MEMBERS,
        r#"{"GroupId":"rg_talk","Limit":1,"Offset":1}"#,
        r#"{"ActionStatus":"OK","ErrorCode":0,"ErrorInfo":"","MemberNum":4,"MemberList":[
            {"Member_Account":"rg_ben","Role":"Admin","JoinTime":"@int","MsgSeq":0,"MsgFlag":"AcceptNotNotify",
             "LastSendMsgTime":0,"ShutUpUntil":0,"NameCard":"Benny","AppMemberDefinedData":[]}]}"#,
    ),
    row(
        MEMBERS,
        r#"{"GroupId":"@TGS#_rg","Limit":2,"Next":"","MemberInfoFilter":["Role"]}"#,
        r#"{"ActionStatus":"OK","ErrorCode":0,"ErrorInfo":"","MemberNum":3,"MemberList":[
            {"Member_Account":"rg_ann","Role":"Owner"},{"Member_Account":"rg_ben","Role":"Member"}],"Next":"after:rg_ben"}"#,
    ),
    row(
        MEMBERS,
        r#"{"GroupId":"@TGS#_rg","Limit":2,"Next":"after:rg_ben","MemberInfoFilter":["Role"]}"#,
        r#"{"ActionStatus":"OK","ErrorCode":0,"ErrorInfo":"","MemberNum":3,"MemberList":[
            {"Member_Account":"rg_cat","Role":"Member"}],"Next":""}"#,
    ),
    code(MEMBERS, r#"{"GroupId":"rg_live"}"#, r#"{"ErrorCode":10007}"#),
    code(MEMBERS, r#"{"GroupId":"rg_talk","MemberRoleFilter":["Boss"]}"#, r#"{"ErrorCode":10004}"#),
    code(
        MEMBER,
        r#"{"GroupId":"rg_talk","Member_Account":"rg_ben","Role":"Owner"}"#,
        r#"{"ErrorCode":10004}"#,
    ),
    code(
        MEMBER,
        r#"{"GroupId":"rg_live","Member_Account":"rg_ben","NameCard":"x"}"#,
        r#"{"ErrorCode":10007}"#,
    ),
    code(
        MEMBER,
        r#"{"GroupId":"rg_talk","Member_Account":"rg_nobody","NameCard":"x"}"#,
        r#"{"ErrorCode":10004}"#,
    ),
    row(
        ROLES,
        r#"{"GroupId":"rg_talk","User_Account":["rg_nobody","rg_ben","rg_ann"]}"#,
        r#"{"ActionStatus":"OK","ErrorCode":0,"ErrorInfo":"","UserIdList":[{"Member_Account":"rg_nobody","Role":"NotMember"},
            {"Member_Account":"rg_ben","Role":"Admin"},{"Member_Account":"rg_ann","Role":"Owner"}]}"#,
    ),
    code(ROLES, r#"{"GroupId":"rg_live","User_Account":["rg_ben"]}"#, r#"{"ErrorCode":10007}"#),
    row(
        REMOVE,
        r#"{"GroupId":"rg_talk","MemberToDel_Account":["rg_dan","rg_nobody"],"Silence":1,"Reason":"why"}"#,
        OK,
    ),
    code(REMOVE, r#"{"GroupId":"rg_live","MemberToDel_Account":["rg_dan"]}"#, r#"{"ErrorCode":10004}"#),
    code(REMOVE, r#"{"GroupId":"rg_talk"}"#, r#"{"ErrorCode":10004}"#),
    // Mutes and bans.
    row(MUTE, r#"{"GroupId":"rg_talk","Members_Account":["rg_cat"],"ShutUpTime":4294967295}"#, OK),
    row(MUTE, r#"{"GroupId":"rg_talk","Members_Account":["rg_dan"],"MuteTime":100}"#, OK),
    code(MUTE, r#"{"GroupId":"rg_talk","Members_Account":["rg_cat"]}"#, r#"{"ErrorCode":10004}"#),
    row(
        MUTED,
        r#"{"GroupId":"rg_talk"}"#,
        r#"{"ActionStatus":"OK","ErrorCode":0,"ErrorInfo":"","GroupId":"rg_talk","ShuttedUinList":[
            {"Member_Account":"rg_cat","ShuttedUntil":4294967295},{"Member_Account":"rg_dan","ShuttedUntil":"@int"}]}"#,
    ),
    row(MUTE, r#"{"GroupId":"rg_talk","Members_Account":["rg_cat","rg_dan"],"ShutUpTime":0}"#, OK),
    row(
        MUTED_NEWER,
        r#"{"GroupId":"rg_talk"}"#,
        r#"{"ActionStatus":"OK","ErrorCode":0,"ErrorInfo":"","GroupId":"rg_talk","MutedAccountList":[]}"#,
    ),
    code(MUTED, r#"{"GroupId":"rg_nothing"}"#, r#"{"ErrorCode":10010}"#),
    row(
        BAN,
        r#"{"GroupId":"rg_talk","Members_Account":["rg_cat"],"Duration":1000,"Description":"loud"}"#,
        OK,
    ),
    row(
        BANNED,
        r#"{"GroupId":"rg_talk","Limit":1,"Offset":0}"#,
        r#"{"ActionStatus":"OK","ErrorCode":0,"ErrorInfo":"","BannedAccountList":[
            {"Member_Account":"rg_cat","BannedUntil":"@int"}],"NextOffset":0}"#,
    ),
    code(BANNED, r#"{"GroupId":"rg_talk","Limit":1}"#, r#"{"ErrorCode":10004}"#),
    row(
        ADD,
        r#"{"GroupId":"rg_talk","MemberList":[{"Member_Account":"rg_cat"}]}"#,
        r#"{"ActionStatus":"OK","ErrorCode":0,"ErrorInfo":"","MemberList":[{"Member_Account":"rg_cat","Result":0}]}"#,
    ),
    row(UNBAN, r#"{"GroupId":"rg_talk","Members_Account":["rg_cat"]}"#, OK),
    code(
        BAN,
        r#"{"GroupId":"@TGS#_rg","Members_Account":["rg_cat"],"Duration":1}"#,
        r#"{"ErrorCode":10007}"#,
    ),
    code(BAN, r#"{"GroupId":"rg_talk","Members_Account":["rg_cat"],"Duration":0}"#, r#"{"ErrorCode":10004}"#),
    code(
        BAN,
        r#"{"GroupId":"rg_talk","Duration":1,"Members_Account":["1","2","3","4","5","6","7","8","9","10","11","12","13",
            "14","15","16","17","18","19","20","21"]}"#,
        r#"{"ErrorCode":10005}"#,
    ),
    // Attributes.
    row(
        "group_open_http_svc/set_group_attr",
        r#"{"GroupId":"rg_live","GroupAttr":[{"key":"a","value":"1"},{"key":"b","value":"2"}]}"#,
        OK,
    ),
    row(
        "group_open_http_svc/modify_group_attr",
        r#"{"GroupId":"rg_live","GroupAttr":[{"key":"b","value":"3"}]}"#,
        OK,
    ),
    row(
        ATTRIBUTES,
        r#"{"GroupId":"rg_live"}"#,
        r#"{"ActionStatus":"OK","ErrorCode":0,"ErrorInfo":"","GroupAttrAry":[{"key":"a","value":"1"},{"key":"b","value":"3"}]}"#,
    ),
    row("group_open_http_svc/clear_group_attr", r#"{"GroupId":"rg_live"}"#, OK),
    code(ATTRIBUTES, r#"{"GroupId":"rg_talk"}"#, r#"{"ErrorCode":10007}"#),
    code(
        "group_open_http_svc/set_group_attr",
        r#"{"GroupId":"rg_live","GroupAttr":[{"key":"123456789012345678901234567890123","value":""}]}"#,
        r#"{"ErrorCode":10045}"#,
    ),
    code("group_open_http_svc/set_group_attr", r#"{"GroupId":"rg_live"}"#, r#"{"ErrorCode":10004}"#),
    // Counters.
    row(
        COUNT,
        r#"{"GroupId":"rg_talk","GroupCounter":[{"Key":"x","Value":5},{"Key":"y","Value":-2}],"Mode":"Set"}"#,
        r#"{"ActionStatus":"OK","ErrorCode":0,"ErrorInfo":"","GroupCounter":[{"Key":"x","Value":5},{"Key":"y","Value":-2}]}"#,
    ),
    row(
        COUNT,
        r#"{"GroupId":"rg_talk","GroupCounter":[{"Key":"x","Value":3}],"Mode":"Increase"}"#,
        r#"{"ActionStatus":"OK","ErrorCode":0,"ErrorInfo":"","GroupCounter":[{"Key":"x","Value":8}]}"#,
    ),
    row("group_open_http_svc/delete_group_counter", r#"{"GroupId":"rg_talk","GroupCounterKeys":["y"]}"#, OK),
    row(
        COUNTERS,
        r#"{"GroupId":"rg_talk"}"#,
        r#"{"ActionStatus":"OK","ErrorCode":0,"ErrorInfo":"","GroupCounter":[{"Key":"x","Value":8}]}"#,
    ),
    code(
        COUNT,
        r#"{"GroupId":"rg_talk","GroupCounter":[{"Key":"x","Value":3}],"Mode":"Add"}"#,
        r#"{"ErrorCode":10004}"#,
    ),
    code(COUNTERS, r#"{"GroupId":"@TGS#_rg"}"#, r#"{"ErrorCode":10007}"#),
    // The end.
    row(DESTROY, r#"{"GroupId":"rg_long"}"#, OK),
    code(DESTROY, r#"{"GroupId":"rg_long"}"#, r#"{"ErrorCode":10010}"#),
    code(DESTROY, "{}", r#"{"ErrorCode":10004}"#),
];
