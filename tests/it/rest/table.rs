//! Rows of a table, and what carries them out.

use serde_json::Value;

use super::BackEnd;

/// A request, and what its answer has to be.
#[derive(Debug, Clone, Copy)]
pub(super) struct Row {
    /// `service/command`.
    pub(super) path: &'static str,
    /// JSON.
    pub(super) body: &'static str,
    /// JSON of the whole answer. In it `"@int"`, `"@string"` and `"@array"` stand for any value of that type, `"@any"` for any, and
    /// `{"ErrorCode": 1}` alone for a refusal with that code.
    pub(super) answer: &'static str,
}

/// Carries rows out in order and says which differ.
pub(super) fn carry_out(back_end: &BackEnd, rows: &[Row]) {
    let mut wrong = Vec::new();
    for row in rows {
        let got = back_end.ask(row.path, &back_end.query(), row.body);
        let want: Value = serde_json::from_str(row.answer).unwrap_or_else(|error| panic!("{row:?}: {error}"));
        let refusal = want.as_object().is_some_and(|want| want.len() == 1) && want["ErrorCode"].is_u64();
        let same = match refusal {
            true => is_refusal(&got, &want["ErrorCode"]),
            false => matches(&got, &want),
        };
        if !same {
            wrong.push(format!("{} {}\n   want {want}\n   got  {got}", row.path, row.body));
        }
    }
    assert!(wrong.is_empty(), "{} of {} rows:\n{}", wrong.len(), rows.len(), wrong.join("\n"));
}

/// Typed clients fail if one of the three is missing or of another type.
fn is_refusal(got: &Value, code: &Value) -> bool {
    got["ErrorCode"] == *code && got["ErrorInfo"].is_string() && got["ActionStatus"] == "FAIL"
}

pub(super) fn matches(got: &Value, want: &Value) -> bool {
    match (got, want) {
        (got, Value::String(any)) if any.starts_with('@') => match any.as_str() {
            "@int" => got.is_u64() || got.is_i64(),
            "@string" => got.is_string(),
            "@array" => got.is_array(),
            "@any" => true,
            other => got == other,
        },
        (Value::Object(got), Value::Object(want)) => {
            got.len() == want.len()
                && want.iter().all(|(key, want)| got.get(key).is_some_and(|got| matches(got, want)))
        }
        (Value::Array(got), Value::Array(want)) => {
            got.len() == want.len() && got.iter().zip(want).all(|(got, want)| matches(got, want))
        }
        (got, want) => got == want,
    }
}
