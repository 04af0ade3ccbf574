//! `live_config`.

use super::table::Row;

const fn row(path: &'static str, body: &'static str, answer: &'static str) -> Row {
    Row { path, body, answer }
}

const DONE: &str = r#"{"ActionStatus":"OK","ErrorCode":0,"ErrorInfo":""}"#;
const REFUSED: &str = r#"{"ErrorCode":60003}"#;
const SET: &str = "live_config/set_callback_token";
const GET: &str = "live_config/get_callback_token";

/// What is signed with it: [`crate::callbacks`].
#[rustfmt::skip]
pub(super) const ROWS: &[Row] = &[
    row(GET, "{}", r#"{"ActionStatus":"OK","ErrorCode":0,"ErrorInfo":"","Response":{"Token":""}}"#),
    row(SET, r#"{"Token":"a token","IsTokenEnable":true}"#, DONE),
    row(GET, "{}", r#"{"ActionStatus":"OK","ErrorCode":0,"ErrorInfo":"","Response":{"Token":"a token"}}"#),
    row(SET, r#"{"Token":"another","IsTokenEnable":false}"#, DONE),
    row(GET, "{}", r#"{"ActionStatus":"OK","ErrorCode":0,"ErrorInfo":"","Response":{"Token":"another"}}"#),
    row(SET, r#"{"Token":"","IsTokenEnable":false}"#, DONE),
    row(GET, "{}", r#"{"ActionStatus":"OK","ErrorCode":0,"ErrorInfo":"","Response":{"Token":""}}"#),
    row(SET, r#"{"Token":"","IsTokenEnable":true}"#, REFUSED),
];

/// More of the same than one may call in a second.
#[rustfmt::skip]
pub(super) const MISTAKES: &[&str] = &[
    "{}", r#"{"Token":"x"}"#, r#"{"IsTokenEnable":true}"#, r#"{"Token":7,"IsTokenEnable":true}"#,
    r#"{"Token":"x","IsTokenEnable":"yes"}"#, r#"{"Token":"a\nb","IsTokenEnable":true}"#, r#"{"Token":"hidden","IsTokenEnable":true}"#, "{",
];

/// Each is refused, and the token stays.
pub(super) fn mistakes(back_end: &super::BackEnd) {
    let long = format!(r#"{{"Token":"{}","IsTokenEnable":true}}"#, "x".repeat(257));
    for body in MISTAKES.iter().copied().chain([&*long]) {
        let mut answer = back_end.ask(SET, &back_end.query(), body);
        // Five in a second.
        while answer["ErrorCode"] == 60007 {
            answer = back_end.ask(SET, &back_end.query(), body);
        }
        assert_eq!(answer["ErrorCode"], 60003, "{body}: {answer}");
    }
    let answer = back_end.ask(GET, &back_end.query(), "{}");
    assert_eq!(answer["Response"], serde_json::json!({ "Token": "" }), "{answer}");
}
