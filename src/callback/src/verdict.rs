//! What the answer of a back end means.

use std::ops::RangeInclusive;

use nearport_chat::callback::{Command, OnFailure, Replaced, Verdict};
use serde_json::Value;

use crate::render::Elements;

/// A back end refuses a message to a user.
const PAIR_REFUSED: u32 = 20006;
/// A back end refuses what happens in a group.
const GROUP_REFUSED: u32 = 10016;
/// A back end that must be asked about a message gives no answer.
const NO_ANSWER: u32 = 80003;
/// A back end refuses a friendship and gives no code of its own.
const FRIEND_REFUSED: u32 = 38000;

/// Codes that go through to the client as they are.
const PAIR_CODES: RangeInclusive<i64> = 120_001..=130_000;
const GROUP_CODES: RangeInclusive<i64> = 10_100..=10_200;
const FRIEND_CODES: RangeInclusive<i64> = 38_000..=39_000;

/// Longest text of a back end's that is passed on, in bytes.
const INFO_BYTES_MAX: usize = 512;

/// Which question it was, as far as its answers differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Pair,
    GroupSend,
    Group,
    Friend,
}

fn kind(command: Command) -> Kind {
    match command {
        Command::PairBeforeSend => Kind::Pair,
        Command::GroupBeforeSend => Kind::GroupSend,
        Command::PrevFriendAdd | Command::PrevFriendResponse => Kind::Friend,
        _ => Kind::Group,
    }
}

/// What is decided if no good answer has come.
#[must_use]
pub fn failed(command: Command, on_failure: OnFailure) -> Verdict {
    let code = match (on_failure, kind(command)) {
        (OnFailure::Allow, _) => return Verdict::GO,
        (OnFailure::Refuse, Kind::Pair | Kind::GroupSend) => NO_ANSWER,
        (OnFailure::Refuse, Kind::Group) => GROUP_REFUSED,
        (OnFailure::Refuse, Kind::Friend) => FRIEND_REFUSED,
    };
    Verdict::Refuse { code, info: "the app's back end does not answer".into() }
}

/// Whether the answer to an event is one: a JSON object. What it says does not matter.
///
/// # Errors
/// What is wrong with it, for people.
pub fn heard(body: &[u8]) -> Result<(), String> {
    match serde_json::from_slice(body) {
        Ok(Value::Object(_)) => Ok(()),
        Ok(_) => Err("no JSON object".into()),
        Err(error) => Err(format!("no JSON: {error}")),
    }
}

fn answer(body: &[u8]) -> Result<(Value, i64), String> {
    let answer: Value = serde_json::from_slice(body).map_err(|error| format!("no JSON: {error}"))?;
    let code = match answer.get("ErrorCode") {
        Some(Value::Number(code)) => code.as_i64(),
        // Back ends in the field answer like that.
        Some(Value::String(code)) => code.parse().ok(),
        _ => None,
    };
    let code = code.ok_or("ErrorCode is missing or no integer")?;
    Ok((answer, code))
}

/// What the answer to a question says.
///
/// # Errors
/// What is wrong with it, for people: then what is configured for a failure is decided. Also a message whose new content breaks the rules.
pub fn read(command: Command, body: &[u8], elements: Elements) -> Result<Verdict, String> {
    let (mut answer, code) = answer(body)?;
    let info = text(&answer, "ErrorInfo");
    let kind = kind(command);
    let (own, refused) = match kind {
        Kind::Pair => (PAIR_CODES, PAIR_REFUSED),
        Kind::GroupSend | Kind::Group => (GROUP_CODES, GROUP_REFUSED),
        Kind::Friend => {
            // Anything else says that the back end could not decide: then it happens.
            let refused = if code == 0 { refused_friends(&answer) } else { Vec::new() };
            return Ok(Verdict::Go { content: None, refused });
        }
    };
    match code {
        0 => {}
        2 if matches!(kind, Kind::Pair | Kind::GroupSend) => return Ok(Verdict::Drop),
        code if own.contains(&code) => {
            return Ok(Verdict::Refuse { code: u32::try_from(code).unwrap_or(refused), info });
        }
        _ => return Ok(Verdict::Refuse { code: refused, info: "the app's back end refuses it".into() }),
    }
    let refused = match answer.get("RefusedMembers_Account") {
        Some(Value::Array(names)) => names.iter().filter_map(Value::as_str).map(refused_member).collect(),
        _ => Vec::new(),
    };
    let (body, cloud) = (answer["MsgBody"].take(), answer["CloudCustomData"].take());
    if kind == Kind::Group || body.is_null() && cloud.is_null() {
        return Ok(Verdict::Go { content: None, refused });
    }
    let cloud_custom_data = match cloud {
        Value::Null => None,
        Value::String(cloud) => Some(cloud),
        _ => return Err("CloudCustomData is no string".into()),
    };
    let elements = match body {
        Value::Null => None,
        body => Some((elements.read)(body, cloud_custom_data.clone().unwrap_or_default())?.elements),
    };
    Ok(Verdict::Go { content: Some(Box::new(Replaced { elements, cloud_custom_data })), refused })
}

fn refused_member(name: &str) -> (String, u32, String) {
    (name.to_owned(), GROUP_REFUSED, String::new())
}

fn refused_friends(answer: &Value) -> Vec<(String, u32, String)> {
    let items = answer.get("ResultItem").and_then(Value::as_array);
    let refused = |item: &Value| {
        let name = item.get("To_Account")?.as_str()?.to_owned();
        let code = item.get("ResultCode")?.as_i64().filter(|code| *code != 0)?;
        let own = u32::try_from(code).ok().filter(|_| FRIEND_CODES.contains(&code));
        Some((name, own.unwrap_or(FRIEND_REFUSED), text(item, "ResultInfo")))
    };
    items.into_iter().flatten().filter_map(refused).collect()
}

fn text(value: &Value, name: &str) -> String {
    let text = value.get(name).and_then(Value::as_str).unwrap_or_default();
    let mut end = text.len().min(INFO_BYTES_MAX);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text[..end].to_owned()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::render::tests::ELEMENTS;

    fn verdict(command: Command, body: &str) -> Result<Verdict, String> {
        read(command, body.as_bytes(), ELEMENTS)
    }

    fn code(command: Command, code: i64) -> Option<u32> {
        match verdict(command, &format!(r#"{{"ErrorCode":{code},"ErrorInfo":"why"}}"#)) {
            Ok(Verdict::Refuse { code, .. }) => Some(code),
            Ok(Verdict::Go { .. }) => None,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn codes_mean_what_the_contract_says() {
        use Command::{BeforeCreateGroup, GroupBeforeSend, PairBeforeSend};
        let pair = [0, 1, 120_001, 130_000, 120_000, 130_001, -1].map(|n| code(PairBeforeSend, n));
        assert_eq!(
            pair,
            [None, Some(20006), Some(120_001), Some(130_000), Some(20006), Some(20006), Some(20006)]
        );
        for command in [GroupBeforeSend, BeforeCreateGroup] {
            let group = [0, 1, 10_100, 10_200, 10_099, 10_201].map(|n| code(command, n));
            assert_eq!(group, [None, Some(10016), Some(10_100), Some(10_200), Some(10016), Some(10016)]);
        }
        for command in [PairBeforeSend, GroupBeforeSend] {
            assert_eq!(verdict(command, r#"{"ErrorCode":2}"#), Ok(Verdict::Drop));
        }
        assert_eq!(code(BeforeCreateGroup, 2), Some(10016), "only messages are dropped");
        let refused =
            verdict(PairBeforeSend, r#"{"ActionStatus":"OK","ErrorCode":120005,"ErrorInfo":"no ads"}"#);
        assert_eq!(refused, Ok(Verdict::Refuse { code: 120_005, info: "no ads".into() }));
    }

    #[test]
    fn a_message_may_get_another_content() {
        let body = r#"{"ErrorCode":0,"CloudCustomData":"c","MsgBody":[{"MsgType":"TIMTextElem","MsgContent":{"Text":"***"}}]}"#;
        let Ok(Verdict::Go { content: Some(content), .. }) = verdict(Command::PairBeforeSend, body) else {
            panic!()
        };
        assert_eq!(content.elements.map(|elements| elements.len()), Some(1));
        assert_eq!(content.cloud_custom_data.as_deref(), Some("c"));
        let cloud = r#"{"ErrorCode":0,"CloudCustomData":"c"}"#;
        let Ok(Verdict::Go { content: Some(content), .. }) = verdict(Command::PairBeforeSend, cloud) else {
            panic!()
        };
        assert_eq!((content.elements, content.cloud_custom_data.as_deref()), (None, Some("c")));
        assert!(verdict(Command::GroupBeforeSend, r#"{"ErrorCode":0,"MsgBody":"x"}"#).is_err());
        assert!(
            verdict(Command::GroupBeforeSend, r#"{"ErrorCode":0,"MsgBody":[],"CloudCustomData":1}"#).is_err()
        );
        assert_eq!(verdict(Command::GroupBeforeSend, r#"{"ErrorCode":0,"MsgBody":null}"#), Ok(Verdict::GO));
    }

    #[test]
    fn single_members_and_friends_may_be_refused() {
        let invite =
            verdict(Command::BeforeInviteJoin, r#"{"ErrorCode":0,"RefusedMembers_Account":["bob",1]}"#);
        let refused = vec![("bob".to_owned(), 10016, String::new())];
        assert_eq!(invite, Ok(Verdict::Go { content: None, refused }));
        let items = r#"[{"To_Account":"a","ResultCode":0},{"To_Account":"b","ResultCode":38001,"ResultInfo":"no"},
            {"To_Account":"c","ResultCode":7}]"#;
        let friends = format!(r#"{{"ErrorCode":0,"ResultItem":{items}}}"#);
        let refused = vec![("b".to_owned(), 38001, "no".to_owned()), ("c".to_owned(), 38000, String::new())];
        assert_eq!(verdict(Command::PrevFriendAdd, &friends), Ok(Verdict::Go { content: None, refused }));
        let failed = format!(r#"{{"ErrorCode":1,"ResultItem":{items}}}"#);
        assert_eq!(verdict(Command::PrevFriendAdd, &failed), Ok(Verdict::GO), "it could not decide");
    }

    #[test]
    fn what_is_no_answer_takes_what_is_configured() {
        for body in ["", "x", "[]", "{}", r#"{"ErrorCode":null}"#, r#"{"ErrorCode":1.5}"#, "\u{0}"] {
            assert!(verdict(Command::PairBeforeSend, body).is_err(), "{body}");
            assert_eq!(heard(body.as_bytes()).is_ok(), body.starts_with('{'), "{body}");
        }
        let refuse = |command| match failed(command, OnFailure::Refuse) {
            Verdict::Refuse { code, .. } => code,
            other => panic!("{other:?}"),
        };
        assert_eq!(
            [
                Command::PairBeforeSend,
                Command::GroupBeforeSend,
                Command::BeforeApplyJoin,
                Command::PrevFriendAdd
            ]
            .map(refuse),
            [80003, 80003, 10016, 38000]
        );
        assert_eq!(failed(Command::PairBeforeSend, OnFailure::Allow), Verdict::GO);
    }

    proptest! {
        /// No answer, however odd, brings anything down.
        #[test]
        fn garbage_is_only_refused(body in proptest::collection::vec(any::<u8>(), 0..200)) {
            for command in Command::ALL {
                let _ = read(*command, &body, ELEMENTS);
            }
        }
    }
}
