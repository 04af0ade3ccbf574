//! `sns`.

use super::table::Row;

const OK: &str = r#"{"ActionStatus":"OK","ErrorCode":0,"ErrorInfo":"","ErrorDisplay":""}"#;
const ADD: &str = "sns/friend_add";
const IMPORT: &str = "sns/friend_import";
const UPDATE: &str = "sns/friend_update";
const DELETE: &str = "sns/friend_delete";
const DELETE_ALL: &str = "sns/friend_delete_all";
const CHECK: &str = "sns/friend_check";
const GET: &str = "sns/friend_get";
const GET_LIST: &str = "sns/friend_get_list";
const BLOCK: &str = "sns/black_list_add";
const UNBLOCK: &str = "sns/black_list_delete";
const BLOCKED: &str = "sns/black_list_get";
const BLOCK_CHECK: &str = "sns/black_list_check";
const GROUP_ADD: &str = "sns/group_add";
const GROUP_DELETE: &str = "sns/group_delete";
const GROUP_GET: &str = "sns/group_get";

const fn row(path: &'static str, body: &'static str, answer: &'static str) -> Row {
    Row { path, body, answer }
}

pub(super) const ROWS: &[Row] = &[
    row(
        "im_open_login_svc/multiaccount_import",
        r#"{"Accounts":["sn1","sn2","sn3","sn4","sn5","sn6","sn7"]}"#,
        r#"{"ActionStatus":"OK","ErrorCode":0,"ErrorInfo":"","FailAccounts":[]}"#,
    ),
    row(
        "profile/portrait_set",
        r#"{"From_Account":"sn3","ProfileItem":[{"Tag":"Tag_Profile_IM_AllowType","Value":"AllowType_Type_NeedConfirm"}]}"#,
        OK,
    ),
    row(
        "profile/portrait_set",
        r#"{"From_Account":"sn4","ProfileItem":[{"Tag":"Tag_Profile_IM_AllowType","Value":"AllowType_Type_DenyAny"}]}"#,
        OK,
    ),
    row(
        "profile/portrait_set",
        r#"{"From_Account":"sn7","ProfileItem":[{"Tag":"Tag_Profile_IM_AdminForbidType","Value":"AdminForbid_Type_SendOut"}]}"#,
        OK,
    ),
    // Friends at once, asked, refused, unknown; whoever waits for an answer has not failed.
    row(
        ADD,
        r#"{"From_Account":"sn1","AddType":"Add_Type_Both","AddFriendItem":[
            {"To_Account":"sn2","AddSource":"AddSource_Type_XX","Remark":"two","GroupName":"Work","AddWording":"hi"},
            {"To_Account":"sn3","AddSource":"AddSource_Type_XX"},
            {"To_Account":"sn4","AddSource":"AddSource_Type_XX"},
            {"To_Account":"nobody","AddSource":"AddSource_Type_XX"},
            {"To_Account":"sn5","AddSource":"somewhere"}]}"#,
        r#"{"ActionStatus":"OK","ErrorCode":0,"ErrorInfo":"","ErrorDisplay":"","ResultItem":[
            {"To_Account":"sn2","ResultCode":0,"ResultInfo":""},
            {"To_Account":"sn3","ResultCode":30539,"ResultInfo":"@string"},
            {"To_Account":"sn4","ResultCode":30516,"ResultInfo":"@string"},
            {"To_Account":"nobody","ResultCode":30003,"ResultInfo":"@string"},
            {"To_Account":"sn5","ResultCode":30001,"ResultInfo":"@string"}],
            "Fail_Account":["sn4","nobody","sn5"]}"#,
    ),
    row(
        ADD,
        r#"{"From_Account":"sn1","AddType":"Add_Type_Single","ForceAddFlags":1,"AddFriendItem":[
            {"To_Account":"sn4","AddSource":"AddSource_Type_XX"}]}"#,
        r#"{"ActionStatus":"OK","ErrorCode":0,"ErrorInfo":"","ErrorDisplay":"","ResultItem":[
            {"To_Account":"sn4","ResultCode":0,"ResultInfo":""}]}"#,
    ),
    row(
        ADD,
        r#"{"From_Account":"sn7","AddFriendItem":[{"To_Account":"sn5","AddSource":"AddSource_Type_XX"}]}"#,
        r#"{"ActionStatus":"OK","ErrorCode":0,"ErrorInfo":"","ErrorDisplay":"","ResultItem":[
            {"To_Account":"sn5","ResultCode":30009,"ResultInfo":"@string"}],"Fail_Account":["sn5"]}"#,
    ),
    row(
        ADD,
        r#"{"From_Account":"nobody","AddFriendItem":[{"To_Account":"sn2","AddSource":""}]}"#,
        r#"{"ErrorCode":30003}"#,
    ),
    row(ADD, r#"{"AddFriendItem":[{"To_Account":"sn2","AddSource":""}]}"#, r#"{"ErrorCode":30001}"#),
    row(ADD, r#"{"From_Account":"sn1"}"#, r#"{"ErrorCode":30001}"#),
    row(ADD, r#"{"From_Account":"sn1","AddFriendItem":[]}"#, r#"{"ErrorCode":30001}"#),
    row(ADD, r#"{"From_Account":"sn1","AddFriendItem":[{"To_Account":"sn2"}]}"#, r#"{"ErrorCode":30001}"#),
    row(
        ADD,
        r#"{"From_Account":"sn1","AddType":"Add_Type_X","AddFriendItem":[{"To_Account":"sn2","AddSource":""}]}"#,
        r#"{"ErrorCode":30001}"#,
    ),
    row(ADD, r#"{"From_Account":7}"#, r#"{"ErrorCode":30001}"#),
    // Imported: with its own times, in two groups; a bad one in the middle leaves the others alone.
    row(
        IMPORT,
        r#"{"From_Account":"sn1","AddFriendItem":[
            {"To_Account":"sn5","AddSource":"AddSource_Type_XX","Remark":"five","RemarkTime":1420000001,
                "GroupName":["Work","Home"],"AddWording":"w","AddTime":"1420000002"},
            {"To_Account":"sn6","AddSource":"AddSource_Type_XX","CustomItem":[{"Tag":"Tag_SNS_Custom_None","Value":"x"}]},
            {"To_Account":"sn7","AddSource":"AddSource_Type_XX","AddTime":1420000003}]}"#,
        r#"{"ActionStatus":"OK","ErrorCode":0,"ErrorInfo":"","ErrorDisplay":"","ResultItem":[
            {"To_Account":"sn5","ResultCode":0,"ResultInfo":""},
            {"To_Account":"sn6","ResultCode":30001,"ResultInfo":"@string"},
            {"To_Account":"sn7","ResultCode":0,"ResultInfo":""}],"Fail_Account":["sn6"]}"#,
    ),
    row(
        IMPORT,
        r#"{"From_Account":"sn1","AddFriendItem":[{"To_Account":"sn5","AddSource":"","AddTime":-1}]}"#,
        r#"{"ErrorCode":30001}"#,
    ),
    row(IMPORT, r#"{"From_Account":"sn1","AddFriendItem":{}}"#, r#"{"ErrorCode":30001}"#),
    row(
        IMPORT,
        r#"{"From_Account":"nobody","AddFriendItem":[{"To_Account":"sn5","AddSource":""}]}"#,
        r#"{"ErrorCode":30003}"#,
    ),
    // Changed.
    row(
        UPDATE,
        r#"{"From_Account":"sn1","UpdateItem":[
            {"To_Account":"sn7","SnsItem":[{"Tag":"Tag_SNS_IM_Remark","Value":"seven"},{"Tag":"Tag_SNS_IM_Group","Value":["Home"]}]},
            {"To_Account":"sn6","SnsItem":[{"Tag":"Tag_SNS_IM_Remark","Value":"six"}]},
            {"To_Account":"sn5","SnsItem":[{"Tag":"Tag_SNS_IM_AddTime","Value":5}]}]}"#,
        r#"{"ActionStatus":"OK","ErrorCode":0,"ErrorInfo":"","ErrorDisplay":"","ResultItem":[
            {"To_Account":"sn7","ResultCode":0,"ResultInfo":""},
            {"To_Account":"sn6","ResultCode":30001,"ResultInfo":"@string"},
            {"To_Account":"sn5","ResultCode":30001,"ResultInfo":"@string"}],"Fail_Account":["sn6","sn5"]}"#,
    ),
    row(UPDATE, r#"{"From_Account":"sn1","UpdateItem":[{"To_Account":"sn7"}]}"#, r#"{"ErrorCode":30001}"#),
    row(
        UPDATE,
        r#"{"From_Account":"sn1","UpdateItem":[{"To_Account":"sn7","SnsItem":[{"Tag":"Tag_SNS_IM_Group","Value":7}]}]}"#,
        r#"{"ErrorCode":30001}"#,
    ),
    row(UPDATE, "{}", r#"{"ErrorCode":30001}"#),
    // Read: sn2 (both ways), sn4 (one way), sn5 and sn7 (imported).
    row(
        GET,
        r#"{"From_Account":"sn1","StartIndex":0,"StandardSequence":0,"CustomSequence":0}"#,
        r#"{"ActionStatus":"OK","ErrorCode":0,"ErrorInfo":"","ErrorDisplay":"","UserDataItem":[
            {"To_Account":"sn2","ValueItem":[{"Tag":"Tag_SNS_IM_Group","Value":["Work"]},{"Tag":"Tag_SNS_IM_Remark","Value":"two"},
                {"Tag":"Tag_SNS_IM_AddSource","Value":"AddSource_Type_XX"},{"Tag":"Tag_SNS_IM_AddWording","Value":"hi"},
                {"Tag":"Tag_SNS_IM_AddTime","Value":"@int"}]},
            {"To_Account":"sn4","ValueItem":[{"Tag":"Tag_SNS_IM_AddSource","Value":"AddSource_Type_XX"},{"Tag":"Tag_SNS_IM_AddTime","Value":"@int"}]},
            {"To_Account":"sn5","ValueItem":[{"Tag":"Tag_SNS_IM_Group","Value":["Home","Work"]},{"Tag":"Tag_SNS_IM_Remark","Value":"five"},
                {"Tag":"Tag_SNS_IM_AddSource","Value":"AddSource_Type_XX"},{"Tag":"Tag_SNS_IM_AddWording","Value":"w"},
                {"Tag":"Tag_SNS_IM_AddTime","Value":1420000002}]},
            {"To_Account":"sn7","ValueItem":[{"Tag":"Tag_SNS_IM_Group","Value":["Home"]},{"Tag":"Tag_SNS_IM_Remark","Value":"seven"},
                {"Tag":"Tag_SNS_IM_AddSource","Value":"AddSource_Type_XX"},{"Tag":"Tag_SNS_IM_AddTime","Value":1420000003}]}],
            "StandardSequence":4,"CustomSequence":0,"FriendNum":4,"CompleteFlag":1,"NextStartIndex":0}"#,
    ),
    // Who has the standard fields gets the names alone.
    row(
        GET,
        r#"{"From_Account":"sn1","StartIndex":"2","StandardSequence":4}"#,
        r#"{"ActionStatus":"OK","ErrorCode":0,"ErrorInfo":"","ErrorDisplay":"","UserDataItem":[
            {"To_Account":"sn5","ValueItem":[]},{"To_Account":"sn7","ValueItem":[]}],
            "StandardSequence":4,"CustomSequence":0,"FriendNum":4,"CompleteFlag":1,"NextStartIndex":0}"#,
    ),
    row(GET, r#"{"From_Account":"sn1"}"#, r#"{"ErrorCode":30001}"#),
    row(GET, r#"{"From_Account":"sn1","StartIndex":-1}"#, r#"{"ErrorCode":30001}"#),
    row(GET, r#"{"From_Account":"nobody","StartIndex":0}"#, r#"{"ErrorCode":30003}"#),
    row(
        "profile/portrait_set",
        r#"{"From_Account":"sn5","ProfileItem":[{"Tag":"Tag_Profile_IM_Nick","Value":"Five"}]}"#,
        OK,
    ),
    row(
        GET_LIST,
        r#"{"From_Account":"sn1","To_Account":["sn5","sn3"],"TagList":["Tag_Profile_IM_Nick","Tag_Profile_IM_Gender","Tag_SNS_IM_Remark"]}"#,
        r#"{"ActionStatus":"OK","ErrorCode":0,"ErrorInfo":"","ErrorDisplay":"","InfoItem":[
            {"To_Account":"sn5","SnsProfileItem":[{"Tag":"Tag_Profile_IM_Nick","Value":"Five"},{"Tag":"Tag_SNS_IM_Remark","Value":"five"}],
                "ResultCode":0,"ResultInfo":""},
            {"To_Account":"sn3","ResultCode":30001,"ResultInfo":"Err_SNS_FriendGetList_Friend_Not_Exist"}],"Fail_Account":["sn3"]}"#,
    ),
    row(GET_LIST, r#"{"From_Account":"sn1","To_Account":["sn5"]}"#, r#"{"ErrorCode":30001}"#),
    row(GET_LIST, r#"{"From_Account":"sn1","To_Account":[],"TagList":[]}"#, r#"{"ErrorCode":30001}"#),
    row(GET_LIST, r#"{"From_Account":"nobody","To_Account":["sn5"],"TagList":[]}"#, r#"{"ErrorCode":30003}"#),
    row(
        CHECK,
        r#"{"From_Account":"sn4","To_Account":["sn1","sn2","nobody"],"CheckType":"CheckResult_Type_Both"}"#,
        r#"{"ActionStatus":"OK","ErrorCode":0,"ErrorInfo":"","ErrorDisplay":"","InfoItem":[
            {"To_Account":"sn1","Relation":"CheckResult_Type_BWithA","ResultCode":0,"ResultInfo":""},
            {"To_Account":"sn2","Relation":"CheckResult_Type_NoRelation","ResultCode":0,"ResultInfo":""},
            {"To_Account":"nobody","Relation":"CheckResult_Type_NoRelation","ResultCode":30003,"ResultInfo":"@string"}],
            "Fail_Account":["nobody"]}"#,
    ),
    row(
        CHECK,
        r#"{"From_Account":"sn1","To_Account":["sn2","sn4","sn3"],"CheckType":"CheckResult_Type_Both"}"#,
        r#"{"ActionStatus":"OK","ErrorCode":0,"ErrorInfo":"","ErrorDisplay":"","InfoItem":[
            {"To_Account":"sn2","Relation":"CheckResult_Type_BothWay","ResultCode":0,"ResultInfo":""},
            {"To_Account":"sn4","Relation":"CheckResult_Type_AWithB","ResultCode":0,"ResultInfo":""},
            {"To_Account":"sn3","Relation":"CheckResult_Type_NoRelation","ResultCode":0,"ResultInfo":""}]}"#,
    ),
    row(
        CHECK,
        r#"{"From_Account":"sn1","To_Account":["sn2"],"CheckType":"CheckResult_Type_Single"}"#,
        r#"{"ActionStatus":"OK","ErrorCode":0,"ErrorInfo":"","ErrorDisplay":"","InfoItem":[
            {"To_Account":"sn2","Relation":"CheckResult_Type_AWithB","ResultCode":0,"ResultInfo":""}]}"#,
    ),
    row(CHECK, r#"{"From_Account":"sn1","To_Account":["sn2"]}"#, r#"{"ErrorCode":30001}"#),
    row(CHECK, r#"{"From_Account":"sn1","To_Account":["sn2"],"CheckType":"x"}"#, r#"{"ErrorCode":30001}"#),
    row(
        CHECK,
        r#"{"From_Account":"nobody","To_Account":["sn2"],"CheckType":"CheckResult_Type_Both"}"#,
        r#"{"ErrorCode":30003}"#,
    ),
    // Friend groups: Work and Home are there.
    row(
        GROUP_ADD,
        r#"{"From_Account":"sn1","GroupName":["Club"],"To_Account":["sn2","sn3"]}"#,
        r#"{"ActionStatus":"OK","ErrorCode":0,"ErrorInfo":"","ErrorDisplay":"","ResultItem":[
            {"To_Account":"sn2","ResultCode":0,"ResultInfo":""},
            {"To_Account":"sn3","ResultCode":32216,"ResultInfo":"Err_SNS_GroupAdd_ToTinyId_Not_Friend"}],
            "Fail_Account":["sn3"],"CurrentSequence":4}"#,
    ),
    row(
        GROUP_ADD,
        r#"{"From_Account":"sn1","GroupName":["Empty"]}"#,
        r#"{"ActionStatus":"OK","ErrorCode":0,"ErrorInfo":"","ErrorDisplay":"","CurrentSequence":5}"#,
    ),
    row(GROUP_ADD, r#"{"From_Account":"sn1","GroupName":[]}"#, r#"{"ErrorCode":30001}"#),
    row(
        GROUP_ADD,
        r#"{"From_Account":"sn1","GroupName":["this name has more than 30 bytes"]}"#,
        r#"{"ErrorCode":30001}"#,
    ),
    row(GROUP_ADD, r#"{"GroupName":["x"]}"#, r#"{"ErrorCode":30001}"#),
    row(GROUP_ADD, r#"{"From_Account":"nobody","GroupName":["x"]}"#, r#"{"ErrorCode":30003}"#),
    row(
        GROUP_GET,
        r#"{"From_Account":"sn1","LastSequence":0,"NeedFriend":"Need_Friend_Type_Yes","GroupName":["Club","Empty"]}"#,
        r#"{"ActionStatus":"OK","ErrorCode":0,"ErrorInfo":"","ErrorDisplay":"","ResultItem":[
            {"GroupName":"Club","FriendNumber":1,"To_Account":["sn2"]},{"GroupName":"Empty","FriendNumber":0,"To_Account":[]}],
            "CurrentSequence":5}"#,
    ),
    row(
        GROUP_GET,
        r#"{"From_Account":"sn1"}"#,
        r#"{"ActionStatus":"OK","ErrorCode":0,"ErrorInfo":"","ErrorDisplay":"","ResultItem":[
            {"GroupName":"Club","FriendNumber":1},{"GroupName":"Empty","FriendNumber":0},{"GroupName":"Home","FriendNumber":2},
            {"GroupName":"Work","FriendNumber":2}],"CurrentSequence":5}"#,
    ),
    row(
        GROUP_GET,
        r#"{"From_Account":"sn1","LastSequence":5}"#,
        r#"{"ActionStatus":"OK","ErrorCode":0,"ErrorInfo":"","ErrorDisplay":"","ResultItem":[],"CurrentSequence":5}"#,
    ),
    row(GROUP_GET, r#"{"From_Account":"sn1","NeedFriend":"x"}"#, r#"{"ErrorCode":30001}"#),
    row(GROUP_GET, r#"{"From_Account":"nobody"}"#, r#"{"ErrorCode":30003}"#),
    row(
        GROUP_DELETE,
        r#"{"From_Account":"sn1","GroupName":["Club","Empty"]}"#,
        r#"{"ActionStatus":"OK","ErrorCode":0,"ErrorInfo":"","ErrorDisplay":"","CurrentSequence":6}"#,
    ),
    row(GROUP_DELETE, r#"{"From_Account":"sn1"}"#, r#"{"ErrorCode":30001}"#),
    row(GROUP_DELETE, r#"{"From_Account":"nobody","GroupName":["x"]}"#, r#"{"ErrorCode":30003}"#),
    // Blocklists: a block ends the friendship of both, and neither can ask the other.
    row(
        BLOCK,
        r#"{"From_Account":"sn2","To_Account":["sn1","sn6","sn2","nobody"]}"#,
        r#"{"ActionStatus":"OK","ErrorCode":0,"ErrorInfo":"","ErrorDisplay":"","ResultItem":[
            {"To_Account":"sn1","ResultCode":0,"ResultInfo":""},
            {"To_Account":"sn6","ResultCode":0,"ResultInfo":""},
            {"To_Account":"sn2","ResultCode":30001,"ResultInfo":"@string"},
            {"To_Account":"nobody","ResultCode":30003,"ResultInfo":"@string"}],"Fail_Account":["sn2","nobody"]}"#,
    ),
    row(
        BLOCK,
        r#"{"From_Account":"sn2","To_Account":["sn1"]}"#,
        r#"{"ActionStatus":"OK","ErrorCode":0,"ErrorInfo":"","ErrorDisplay":"","ResultItem":[
            {"To_Account":"sn1","ResultCode":30001,"ResultInfo":"Err_SNS_BlackListAdd_Already_Exist"}],"Fail_Account":["sn1"]}"#,
    ),
    row(BLOCK, r#"{"From_Account":"sn2"}"#, r#"{"ErrorCode":30001}"#),
    row(BLOCK, r#"{"From_Account":"sn2","To_Account":[]}"#, r#"{"ErrorCode":30001}"#),
    row(BLOCK, r#"{"From_Account":"nobody","To_Account":["sn2"]}"#, r#"{"ErrorCode":30003}"#),
    row(
        ADD,
        r#"{"From_Account":"sn1","AddFriendItem":[{"To_Account":"sn2","AddSource":"AddSource_Type_XX"}]}"#,
        r#"{"ActionStatus":"OK","ErrorCode":0,"ErrorInfo":"","ErrorDisplay":"","ResultItem":[
            {"To_Account":"sn2","ResultCode":30525,"ResultInfo":"@string"}],"Fail_Account":["sn2"]}"#,
    ),
    row(
        ADD,
        r#"{"From_Account":"sn2","ForceAddFlags":1,"AddFriendItem":[{"To_Account":"sn1","AddSource":"AddSource_Type_XX"}]}"#,
        r#"{"ActionStatus":"OK","ErrorCode":0,"ErrorInfo":"","ErrorDisplay":"","ResultItem":[
            {"To_Account":"sn1","ResultCode":30515,"ResultInfo":"@string"}],"Fail_Account":["sn1"]}"#,
    ),
    row(
        BLOCKED,
        r#"{"From_Account":"sn2","StartIndex":0,"MaxLimited":1,"LastSequence":0}"#,
        r#"{"ActionStatus":"OK","ErrorCode":0,"ErrorInfo":"","ErrorDisplay":"","BlackListItem":[
            {"To_Account":"sn1","AddBlackTimeStamp":"@int"}],"StartIndex":1,"CurruentSequence":1}"#,
    ),
    // The second page, asked as the documents say: with the sequence of the first.
    row(
        BLOCKED,
        r#"{"From_Account":"sn2","StartIndex":1,"MaxLimited":1,"LastSequence":1}"#,
        r#"{"ActionStatus":"OK","ErrorCode":0,"ErrorInfo":"","ErrorDisplay":"","BlackListItem":[
            {"To_Account":"sn6","AddBlackTimeStamp":"@int"}],"StartIndex":0,"CurruentSequence":1}"#,
    ),
    row(BLOCKED, r#"{"From_Account":"sn2","StartIndex":0,"MaxLimited":1}"#, r#"{"ErrorCode":30001}"#),
    row(
        BLOCKED,
        r#"{"From_Account":"nobody","StartIndex":0,"MaxLimited":1,"LastSequence":0}"#,
        r#"{"ErrorCode":30003}"#,
    ),
    row(
        BLOCK_CHECK,
        r#"{"From_Account":"sn1","To_Account":["sn2","sn6","nobody"],"CheckType":"BlackCheckResult_Type_Both"}"#,
        r#"{"ActionStatus":"OK","ErrorCode":0,"ErrorInfo":"","ErrorDisplay":"","BlackListCheckItem":[
            {"To_Account":"sn2","Relation":"BlackCheckResult_Type_BWithA","ResultCode":0,"ResultInfo":""},
            {"To_Account":"sn6","Relation":"BlackCheckResult_Type_NO","ResultCode":0,"ResultInfo":""},
            {"To_Account":"nobody","Relation":"BlackCheckResult_Type_NO","ResultCode":30003,"ResultInfo":"@string"}],
            "Fail_Account":["nobody"]}"#,
    ),
    row(
        BLOCK_CHECK,
        r#"{"From_Account":"sn2","To_Account":["sn1"],"CheckType":"BlackCheckResult_Type_Single"}"#,
        r#"{"ActionStatus":"OK","ErrorCode":0,"ErrorInfo":"","ErrorDisplay":"","BlackListCheckItem":[
            {"To_Account":"sn1","Relation":"BlackCheckResult_Type_AWithB","ResultCode":0,"ResultInfo":""}]}"#,
    ),
    row(BLOCK_CHECK, r#"{"From_Account":"sn2","To_Account":["sn1"]}"#, r#"{"ErrorCode":30001}"#),
    row(
        BLOCK_CHECK,
        r#"{"From_Account":"nobody","To_Account":["sn1"],"CheckType":"BlackCheckResult_Type_Both"}"#,
        r#"{"ErrorCode":30003}"#,
    ),
    row(
        UNBLOCK,
        r#"{"From_Account":"sn2","To_Account":["sn1","sn5"]}"#,
        r#"{"ActionStatus":"OK","ErrorCode":0,"ErrorInfo":"","ErrorDisplay":"","ResultItem":[
            {"To_Account":"sn1","ResultCode":0,"ResultInfo":""},
            {"To_Account":"sn5","ResultCode":30001,"ResultInfo":"@string"}],"Fail_Account":["sn5"]}"#,
    ),
    row(UNBLOCK, r#"{"From_Account":"sn2"}"#, r#"{"ErrorCode":30001}"#),
    row(UNBLOCK, r#"{"From_Account":"nobody","To_Account":["sn1"]}"#, r#"{"ErrorCode":30003}"#),
    // Deleted.
    row(
        DELETE,
        r#"{"From_Account":"sn1","To_Account":["sn4","sn6"],"DeleteType":"Delete_Type_Single"}"#,
        r#"{"ActionStatus":"OK","ErrorCode":0,"ErrorInfo":"","ErrorDisplay":"","ResultItem":[
            {"To_Account":"sn4","ResultCode":0,"ResultInfo":""},
            {"To_Account":"sn6","ResultCode":31704,"ResultInfo":"@string"}],"Fail_Account":["sn6"]}"#,
    ),
    row(DELETE, r#"{"From_Account":"sn1","To_Account":["sn5"],"DeleteType":"x"}"#, r#"{"ErrorCode":30001}"#),
    row(DELETE, r#"{"From_Account":"sn1","To_Account":[]}"#, r#"{"ErrorCode":30001}"#),
    row(DELETE, r#"{"From_Account":"nobody","To_Account":["sn5"]}"#, r#"{"ErrorCode":30003}"#),
    row(DELETE_ALL, r#"{"From_Account":"sn1","DeleteType":"Delete_Type_Both"}"#, OK),
    row(DELETE_ALL, r#"{"From_Account":"sn1"}"#, OK),
    row(DELETE_ALL, "{}", r#"{"ErrorCode":30001}"#),
    row(DELETE_ALL, r#"{"From_Account":"nobody"}"#, r#"{"ErrorCode":30003}"#),
    row(
        GET,
        r#"{"From_Account":"sn1","StartIndex":0}"#,
        r#"{"ActionStatus":"OK","ErrorCode":0,"ErrorInfo":"","ErrorDisplay":"","UserDataItem":[],
            "StandardSequence":"@int","CustomSequence":0,"FriendNum":0,"CompleteFlag":1,"NextStartIndex":0}"#,
    ),
];
