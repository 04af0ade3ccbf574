//! `im_open_login_svc`.

use super::table::Row;

const OK: &str = r#"{"ActionStatus":"OK","ErrorCode":0,"ErrorInfo":""}"#;

const fn row(path: &'static str, body: &'static str, answer: &'static str) -> Row {
    Row { path, body, answer }
}

pub(super) const ROWS: &[Row] = &[
    row(
        "im_open_login_svc/account_import",
        r#"{"Identifier":"ann","Nick":"Ann","FaceUrl":"http://x/a.png"}"#,
        OK,
    ),
    row("im_open_login_svc/account_import", r#"{"UserID":"ben"}"#, OK),
    row("im_open_login_svc/account_import", r#"{"UserID":"ben","Nick":"Ben"}"#, OK),
    row("im_open_login_svc/account_import", "{}", r#"{"ErrorCode":70402}"#),
    row("im_open_login_svc/account_import", r#"{"UserID":7}"#, r#"{"ErrorCode":70402}"#),
    row("im_open_login_svc/account_import", r#"{"UserID":""}"#, r#"{"ErrorCode":70402}"#),
    row("im_open_login_svc/account_import", "not json", r#"{"ErrorCode":70402}"#),
    row("im_open_login_svc/account_import", "[]", r#"{"ErrorCode":70402}"#),
    row(
        "im_open_login_svc/multiaccount_import",
        r#"{"Accounts":["cat","dan"]}"#,
        r#"{"ActionStatus":"OK","ErrorCode":0,"ErrorInfo":"","FailAccounts":[]}"#,
    ),
    row(
        "im_open_login_svc/multiaccount_import",
        r#"{"AccountList":[{"UserID":"eve","Nick":"Eve"},{"UserID":""}]}"#,
        r#"{"ActionStatus":"OK","ErrorCode":0,"ErrorInfo":"","FailAccounts":[""]}"#,
    ),
    row("im_open_login_svc/multiaccount_import", r#"{"Accounts":[]}"#, r#"{"ErrorCode":70402}"#),
    row("im_open_login_svc/multiaccount_import", r#"{"Accounts":[1]}"#, r#"{"ErrorCode":70402}"#),
    row(
        "im_open_login_svc/account_check",
        r#"{"CheckItem":[{"UserID":"ann"},{"UserID":"nobody"}]}"#,
        r#"{"ActionStatus":"OK","ErrorCode":0,"ErrorInfo":"","ResultItem":[
            {"UserID":"ann","ResultCode":0,"ResultInfo":"","AccountStatus":"Imported"},
            {"UserID":"nobody","ResultCode":0,"ResultInfo":"","AccountStatus":"NotImported"}]}"#,
    ),
    row("im_open_login_svc/account_check", r#"{"CheckItem":{}}"#, r#"{"ErrorCode":70402}"#),
    // An array is no object, whatever stands in it.
    row("im_open_login_svc/account_check", r#"[[{"UserID":"ann"}]]"#, r#"{"ErrorCode":70402}"#),
    row(
        "im_open_login_svc/account_delete",
        r#"{"DeleteItem":[{"UserID":"dan"},{"UserID":"nobody"},{"UserID":""}]}"#,
        r#"{"ActionStatus":"OK","ErrorCode":0,"ErrorInfo":"","ResultItem":[
            {"UserID":"dan","ResultCode":0,"ResultInfo":""},
            {"UserID":"nobody","ResultCode":70107,"ResultInfo":"Err_TLS_PT_Open_Login_Account_Not_Exist"},
            {"UserID":"","ResultCode":70107,"ResultInfo":"Err_TLS_PT_Open_Login_Account_Not_Exist"}]}"#,
    ),
    row(
        "im_open_login_svc/account_check",
        r#"{"CheckItem":[{"UserID":"dan"}]}"#,
        r#"{"ActionStatus":"OK","ErrorCode":0,"ErrorInfo":"","ResultItem":[
            {"UserID":"dan","ResultCode":0,"ResultInfo":"","AccountStatus":"NotImported"}]}"#,
    ),
    row("im_open_login_svc/account_delete", r#"{"DeleteItem":[]}"#, r#"{"ErrorCode":70402}"#),
    row("im_open_login_svc/account_delete", r#"{"DeleteItem":[{}]}"#, r#"{"ErrorCode":70402}"#),
    row("im_open_login_svc/account_delete", "{}", r#"{"ErrorCode":70402}"#),
    row("im_open_login_svc/account_import", r#"{"UserID":"dan"}"#, OK),
    row("im_open_login_svc/kick", r#"{"Identifier":"ann"}"#, OK),
    row("im_open_login_svc/kick", r#"{"UserID":"nobody"}"#, r#"{"ErrorCode":70107}"#),
    row("im_open_login_svc/kick", "{}", r#"{"ErrorCode":70402}"#),
];
