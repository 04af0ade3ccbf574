//! `profile`.

use super::table::Row;

const OK: &str = r#"{"ActionStatus":"OK","ErrorCode":0,"ErrorInfo":"","ErrorDisplay":""}"#;
const SET: &str = "profile/portrait_set";
const GET: &str = "profile/portrait_get";

const fn row(path: &'static str, body: &'static str, answer: &'static str) -> Row {
    Row { path, body, answer }
}

pub(super) const ROWS: &[Row] = &[
    row(
        "im_open_login_svc/multiaccount_import",
        r#"{"Accounts":["pr1","pr2"]}"#,
        r#"{"ActionStatus":"OK","ErrorCode":0,"ErrorInfo":"","FailAccounts":[]}"#,
    ),
    row(
        SET,
        r#"{"From_Account":"pr1","ProfileItem":[{"Tag":"Tag_Profile_IM_Nick","Value":"Prune"},
            {"Tag":"Tag_Profile_IM_BirthDay","Value":20190419},
            {"Tag":"Tag_Profile_IM_AdminForbidType","Value":"AdminForbid_Type_SendOut"}]}"#,
        OK,
    ),
    // All or nothing: what stands before the bad field is not set.
    row(
        SET,
        r#"{"From_Account":"pr1","ProfileItem":[{"Tag":"Tag_Profile_IM_Nick","Value":"Other"},
            {"Tag":"Tag_Profile_IM_Gender","Value":"It"}]}"#,
        r#"{"ErrorCode":40605}"#,
    ),
    row(SET, r#"{"From_Account":"pr1"}"#, r#"{"ErrorCode":40001}"#),
    row(SET, r#"{"ProfileItem":[{"Tag":"Tag_Profile_IM_Nick","Value":"x"}]}"#, r#"{"ErrorCode":40001}"#),
    row(SET, r#"{"From_Account":"pr1","ProfileItem":[]}"#, r#"{"ErrorCode":40001}"#),
    row(SET, r#"{"From_Account":"pr1","ProfileItem":[7]}"#, r#"{"ErrorCode":40001}"#),
    row(
        SET,
        r#"{"From_Account":"pr1","ProfileItem":[{"Tag":"Tag_Profile_IM_Nick"}]}"#,
        r#"{"ErrorCode":40001}"#,
    ),
    row(SET, "[]", r#"{"ErrorCode":40001}"#),
    row(
        SET,
        r#"{"From_Account":"nobody","ProfileItem":[{"Tag":"Tag_Profile_IM_Nick","Value":"x"}]}"#,
        r#"{"ErrorCode":40003}"#,
    ),
    row(
        SET,
        r#"{"From_Account":"","ProfileItem":[{"Tag":"Tag_Profile_IM_Nick","Value":"x"}]}"#,
        r#"{"ErrorCode":40003}"#,
    ),
    row(
        SET,
        r#"{"From_Account":"pr1","ProfileItem":[{"Tag":"Tag_Profile_IM_Nothing","Value":"x"}]}"#,
        r#"{"ErrorCode":40009}"#,
    ),
    row(
        SET,
        r#"{"From_Account":"pr1","ProfileItem":[{"Tag":"Tag_Profile_IM_BirthDay","Value":"x"}]}"#,
        r#"{"ErrorCode":40610}"#,
    ),
    row(
        SET,
        r#"{"From_Account":"pr1","ProfileItem":[{"Tag":"Tag_Profile_IM_Nick","Value":{}}]}"#,
        r#"{"ErrorCode":40610}"#,
    ),
    row(
        SET,
        r#"{"From_Account":"pr1","ProfileItem":[{"Tag":"Tag_Profile_IM_Level","Value":1e300}]}"#,
        r#"{"ErrorCode":40610}"#,
    ),
    row(
        SET,
        r#"{"From_Account":"pr1","ProfileItem":[{"Tag":"Tag_Profile_IM_Level","Value":4294967296}]}"#,
        r#"{"ErrorCode":40605}"#,
    ),
    row(
        GET,
        r#"{"To_Account":["pr1","nobody","pr2"],"TagList":["Tag_Profile_IM_Nick","Tag_Profile_IM_BirthDay"]}"#,
        r#"{"ActionStatus":"OK","ErrorCode":0,"ErrorInfo":"","ErrorDisplay":"","UserProfileItem":[
            {"To_Account":"pr1","ProfileItem":[{"Tag":"Tag_Profile_IM_BirthDay","Value":20190419},
                {"Tag":"Tag_Profile_IM_Nick","Value":"Prune"}],"ResultCode":0,"ResultInfo":""},
            {"To_Account":"nobody","ResultCode":40003,"ResultInfo":"@string"},
            {"To_Account":"pr2","ProfileItem":[],"ResultCode":0,"ResultInfo":""}],"Fail_Account":["nobody"]}"#,
    ),
    row(
        GET,
        r#"{"To_Account":["pr1"],"TagList":[]}"#,
        r#"{"ActionStatus":"OK","ErrorCode":0,"ErrorInfo":"","ErrorDisplay":"","UserProfileItem":[
            {"To_Account":"pr1","ProfileItem":[
                {"Tag":"Tag_Profile_IM_AdminForbidType","Value":"AdminForbid_Type_SendOut"},
                {"Tag":"Tag_Profile_IM_BirthDay","Value":20190419},
                {"Tag":"Tag_Profile_IM_Nick","Value":"Prune"}],"ResultCode":0,"ResultInfo":""}]}"#,
    ),
    row(GET, r#"{"TagList":["Tag_Profile_IM_Nick"]}"#, r#"{"ErrorCode":40002}"#),
    row(GET, r#"{"To_Account":[],"TagList":["Tag_Profile_IM_Nick"]}"#, r#"{"ErrorCode":40002}"#),
    row(GET, r#"{"To_Account":"pr1","TagList":["Tag_Profile_IM_Nick"]}"#, r#"{"ErrorCode":40001}"#),
    row(GET, r#"{"To_Account":["pr1"]}"#, r#"{"ErrorCode":40001}"#),
    row(GET, r#"{"To_Account":["nobody"],"TagList":["Tag_Profile_IM_Nick"]}"#, r#"{"ErrorCode":40003}"#),
    row(GET, r#"{"To_Account":["pr1"],"TagList":["Tag_Profile_IM_Nothing"]}"#, r#"{"ErrorCode":40009}"#),
];
