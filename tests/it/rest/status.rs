//! `openim`: who is online. What users with sessions look like is in [`super::people`].

use super::table::Row;

const QUERY: &str = "openim/query_online_status";
const STATE: &str = "openim/querystate";

const fn row(path: &'static str, body: &'static str, answer: &'static str) -> Row {
    Row { path, body, answer }
}

pub(super) const ROWS: &[Row] = &[
    row(
        "im_open_login_svc/account_import",
        r#"{"UserID":"st1"}"#,
        r#"{"ActionStatus":"OK","ErrorCode":0,"ErrorInfo":""}"#,
    ),
    row(
        QUERY,
        r#"{"To_Account":["st1","nobody",""],"IsNeedDetail":1}"#,
        r#"{"ActionStatus":"OK","ErrorCode":0,"ErrorInfo":"",
            "QueryResult":[{"To_Account":"st1","Status":"Offline","State":"Offline"}],
            "ErrorList":[{"To_Account":"nobody","ErrorCode":70107},{"To_Account":"","ErrorCode":70107}]}"#,
    ),
    row(
        STATE,
        r#"{"To_Account":["st1"]}"#,
        r#"{"ActionStatus":"OK","ErrorCode":0,"ErrorInfo":"",
            "QueryResult":[{"To_Account":"st1","Status":"Offline","State":"Offline"}],"ErrorList":[]}"#,
    ),
    row(QUERY, r#"{"To_Account":["nobody"]}"#, r#"{"ErrorCode":70107}"#),
    row(QUERY, r#"{"To_Account":[]}"#, r#"{"ErrorCode":90001}"#),
    row(QUERY, "not json", r#"{"ErrorCode":90001}"#),
    row(QUERY, r#"{"To_Account":["st1"],"IsNeedDetail":2}"#, r#"{"ErrorCode":90001}"#),
    row(QUERY, "{}", r#"{"ErrorCode":90003}"#),
    row(QUERY, r#"{"To_Account":[1]}"#, r#"{"ErrorCode":90003}"#),
    row(STATE, r#"{"To_Account":[]}"#, r#"{"ErrorCode":90001}"#),
    row(STATE, "{}", r#"{"ErrorCode":90003}"#),
];
