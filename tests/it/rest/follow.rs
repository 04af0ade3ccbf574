//! Follows, under both of their paths.

use super::table::Row;

const fn row(path: &'static str, body: &'static str, answer: &'static str) -> Row {
    Row { path, body, answer }
}

pub(super) const ROWS: &[Row] = &[
    row(
        "im_open_login_svc/multiaccount_import",
        r#"{"Accounts":["fo1","fo2","fo3","fo4"]}"#,
        r#"{"ActionStatus":"OK","ErrorCode":0,"ErrorInfo":"","FailAccounts":[]}"#,
    ),
    row(
        "sns/follow_add",
        r#"{"From_Account":"fo1","FollowItem":[{"To_Account":"fo2"},{"To_Account":"fo3"},{"To_Account":"fo1"},{"To_Account":"nobody"}]}"#,
        r#"{"ActionStatus":"OK","ErrorCode":0,"ErrorInfo":"","ErrorDisplay":"","ResultItem":[
            {"To_Account":"fo2","ResultCode":0,"ResultInfo":""},
            {"To_Account":"fo3","ResultCode":0,"ResultInfo":""},
            {"To_Account":"fo1","ResultCode":30001,"ResultInfo":"@string"},
            {"To_Account":"nobody","ResultCode":30003,"ResultInfo":"@string"}],"Fail_Account":["fo1","nobody"]}"#,
    ),
    row(
        "follow/follow_add",
        r#"{"From_Account":"fo2","FollowItem":[{"To_Account":"fo1"}]}"#,
        r#"{"ActionStatus":"OK","ErrorCode":0,"ErrorInfo":"","ErrorDisplay":"","ResultItem":[
            {"To_Account":"fo1","ResultCode":0,"ResultInfo":""}]}"#,
    ),
    row("sns/follow_add", r#"{"From_Account":"fo1","FollowItem":[]}"#, r#"{"ErrorCode":30001}"#),
    row("sns/follow_add", r#"{"From_Account":"fo1"}"#, r#"{"ErrorCode":30001}"#),
    row("sns/follow_add", r#"{"FollowItem":[{"To_Account":"fo1"}]}"#, r#"{"ErrorCode":30001}"#),
    row(
        "sns/follow_add",
        r#"{"From_Account":"nobody","FollowItem":[{"To_Account":"fo1"}]}"#,
        r#"{"ErrorCode":30003}"#,
    ),
    row(
        "sns/follow_get",
        r#"{"From_Account":"fo1","FollowType":2,"StartCursor":"","WantNum":1}"#,
        r#"{"ActionStatus":"OK","ErrorCode":0,"ErrorInfo":"","ErrorDisplay":"",
            "FollowItem":[{"To_Account":"fo2","FollowTime":"@int"}],"NextCursor":"fo2"}"#,
    ),
    row(
        "follow/follow_get",
        r#"{"From_Account":"fo1","FollowType":2,"StartCursor":"fo2"}"#,
        r#"{"ActionStatus":"OK","ErrorCode":0,"ErrorInfo":"","ErrorDisplay":"",
            "FollowItem":[{"To_Account":"fo3","FollowTime":"@int"}],"NextCursor":""}"#,
    ),
    row(
        "sns/follow_get",
        r#"{"From_Account":"fo1","FollowType":1}"#,
        r#"{"ActionStatus":"OK","ErrorCode":0,"ErrorInfo":"","ErrorDisplay":"",
            "FollowItem":[{"To_Account":"fo2","FollowTime":"@int"}],"NextCursor":""}"#,
    ),
    row(
        "sns/follow_get",
        r#"{"From_Account":"fo1","FollowType":"3"}"#,
        r#"{"ActionStatus":"OK","ErrorCode":0,"ErrorInfo":"","ErrorDisplay":"",
            "FollowItem":[{"To_Account":"fo2","FollowTime":"@int"}],"NextCursor":""}"#,
    ),
    row("sns/follow_get", r#"{"From_Account":"fo1","FollowType":4}"#, r#"{"ErrorCode":30001}"#),
    row("sns/follow_get", r#"{"From_Account":"fo1"}"#, r#"{"ErrorCode":30001}"#),
    row(
        "sns/follow_get",
        r#"{"From_Account":"fo1","FollowType":1,"WantNum":1001}"#,
        r#"{"ErrorCode":30001}"#,
    ),
    row("sns/follow_get", r#"{"From_Account":"nobody","FollowType":1}"#, r#"{"ErrorCode":30003}"#),
    row(
        "sns/follow_check",
        r#"{"From_Account":"fo1","To_Account":["fo2","fo3","fo4","nobody"]}"#,
        r#"{"ActionStatus":"OK","ErrorCode":0,"ErrorInfo":"","ErrorDisplay":"","ResultItem":[
            {"To_Account":"fo2","ResultCode":0,"ResultInfo":"","FollowType":3},
            {"To_Account":"fo3","ResultCode":0,"ResultInfo":"","FollowType":2},
            {"To_Account":"fo4","ResultCode":0,"ResultInfo":"","FollowType":0},
            {"To_Account":"nobody","ResultCode":30003,"ResultInfo":"@string","FollowType":0}],"Fail_Account":["nobody"]}"#,
    ),
    row(
        "follow/follow_check",
        r#"{"From_Account":"fo3","To_Account":["fo1"]}"#,
        r#"{"ActionStatus":"OK","ErrorCode":0,"ErrorInfo":"","ErrorDisplay":"","ResultItem":[
            {"To_Account":"fo1","ResultCode":0,"ResultInfo":"","FollowType":1}]}"#,
    ),
    row("sns/follow_check", r#"{"From_Account":"fo1"}"#, r#"{"ErrorCode":30001}"#),
    row("sns/follow_check", r#"{"From_Account":"nobody","To_Account":["fo1"]}"#, r#"{"ErrorCode":30003}"#),
    row(
        "sns/follow_get_info",
        r#"{"From_Account":"administrator","To_Account":["fo1","fo3","nobody"]}"#,
        r#"{"ActionStatus":"OK","ErrorCode":0,"ErrorInfo":"","ErrorDisplay":"","FollowInfo":[
            {"To_Account":"fo1","ResultCode":0,"ResultInfo":"","FollowerCount":1,"FollowingCount":2,"MutualFollowingCount":1},
            {"To_Account":"fo3","ResultCode":0,"ResultInfo":"","FollowerCount":1,"FollowingCount":0,"MutualFollowingCount":0},
            {"To_Account":"nobody","ResultCode":30003,"ResultInfo":"@string","FollowerCount":0,"FollowingCount":0,"MutualFollowingCount":0}],
            "Fail_Account":["nobody"]}"#,
    ),
    row("follow/follow_get_info", "{}", r#"{"ErrorCode":30001}"#),
    // A block ends a follow, and keeps from following again.
    row(
        "sns/black_list_add",
        r#"{"From_Account":"fo3","To_Account":["fo1"]}"#,
        r#"{"ActionStatus":"OK","ErrorCode":0,"ErrorInfo":"","ErrorDisplay":"","ResultItem":[
            {"To_Account":"fo1","ResultCode":0,"ResultInfo":""}]}"#,
    ),
    row(
        "sns/follow_add",
        r#"{"From_Account":"fo1","FollowItem":[{"To_Account":"fo3"}]}"#,
        r#"{"ActionStatus":"OK","ErrorCode":0,"ErrorInfo":"","ErrorDisplay":"","ResultItem":[
            {"To_Account":"fo3","ResultCode":30525,"ResultInfo":"@string"}],"Fail_Account":["fo3"]}"#,
    ),
    row(
        "sns/follow_delete",
        r#"{"From_Account":"fo1","FollowItem":[{"To_Account":"fo2"},{"To_Account":"fo3"}]}"#,
        r#"{"ActionStatus":"OK","ErrorCode":0,"ErrorInfo":"","ErrorDisplay":"","ResultItem":[
            {"To_Account":"fo2","ResultCode":0,"ResultInfo":""},{"To_Account":"fo3","ResultCode":0,"ResultInfo":""}]}"#,
    ),
    row("follow/follow_delete", r#"{"From_Account":"fo1"}"#, r#"{"ErrorCode":30001}"#),
    row(
        "follow/follow_delete",
        r#"{"From_Account":"nobody","FollowItem":[{"To_Account":"fo2"}]}"#,
        r#"{"ErrorCode":30003}"#,
    ),
    row(
        "sns/follow_get",
        r#"{"From_Account":"fo1","FollowType":2}"#,
        r#"{"ActionStatus":"OK","ErrorCode":0,"ErrorInfo":"","ErrorDisplay":"","FollowItem":[],"NextCursor":""}"#,
    ),
];
