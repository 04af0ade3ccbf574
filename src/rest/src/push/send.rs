//! Pushes.

use nearport_chat::admin::{Chosen, Push};
use nearport_chat::key::UserKey;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::labels::{ByName, TextMap};
use super::{BAD, BAD_ATTR, INTERNAL};
use crate::answer::Refusal;
use crate::elements::{MsgBody, OfflinePush, content, offline_push};
use crate::field::{Field, Object, Text, Texts};
use crate::items::done;
use crate::table::Call;

const BAD_RANDOM: u32 = 90005;
const BAD_FROM: u32 = 90008;
const BAD_FORM: u32 = 90010;
const LIFE_TOO_LONG: u32 = 90026;
const BOTH: u32 = 90039;
const BAD_LIFE: u32 = 90044;

type Whole = Field<u32>;
type Long = Field<i64>;
type Choice = Field<Object<PushCondition>>;

#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
pub(super) struct PushToAll {
    #[serde(default, rename = "From_Account")]
    from: Text,
    /// Names the push for seven days: the same again is a repeat.
    #[serde(default)]
    msg_random: Whole,
    #[serde(default)]
    msg_body: MsgBody,
    /// Seconds; 0: only who is online.
    #[serde(default)]
    msg_life_time: Long,
    #[serde(default)]
    offline_push_info: OfflinePush,
    /// Tags or attributes; absent: everybody.
    #[serde(default)]
    condition: Choice,
}

/// A field that is not known is refused: without it the push might be for more than was meant.
#[derive(Debug, Clone, PartialEq, Deserialize, ToSchema)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct PushCondition {
    #[serde(default)]
    tags_or: Texts,
    #[serde(default)]
    tags_and: Texts,
    #[serde(default)]
    attrs_or: ByName,
    #[serde(default)]
    attrs_and: ByName,
}

impl PushCondition {
    fn read(self) -> Result<Chosen, Refusal> {
        let tags = [(self.tags_or, "TagsOr"), (self.tags_and, "TagsAnd")]
            .map(|(tags, name)| tags.optional(name, BAD_FORM).map(Option::unwrap_or_default));
        let attrs = [(self.attrs_or, "AttrsOr"), (self.attrs_and, "AttrsAnd")]
            .map(|(attrs, name)| attrs.optional(name, BAD_ATTR).map(Option::unwrap_or_default));
        let ([or, and], [TextMap(attrs_or), TextMap(attrs_and)]) = match (tags, attrs) {
            ([Ok(or), Ok(and)], [Ok(attrs_or), Ok(attrs_and)]) => ([or, and], [attrs_or, attrs_and]),
            ([Err(bad), _] | [_, Err(bad)], _) | (_, [Err(bad), _] | [_, Err(bad)]) => return Err(bad),
        };
        let by_tags = !(or.is_empty() && and.is_empty());
        let by_attrs = !(attrs_or.is_empty() && attrs_and.is_empty());
        match (by_tags, by_attrs) {
            (true, true) => Err(Refusal::new(BOTH, "a condition has tags or attributes, not both")),
            (true, false) => Ok(Chosen::Tags { or, and }),
            (false, true) => Ok(Chosen::Attrs { or: attrs_or, and: attrs_and }),
            (false, false) => {
                Err(Refusal::new(BAD_FORM, "Condition is empty: without it the push is for everybody"))
            }
        }
    }
}

#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Pushed {
    /// The same for a repeat.
    task_id: String,
}

pub(super) async fn push(call: Call, body: PushToAll) -> Result<Pushed, Refusal> {
    let random = body.msg_random.required("MsgRandom", BAD_RANDOM)?;
    let life_time_s = match body.msg_life_time.optional("MsgLifeTime", BAD_LIFE)?.unwrap_or_default() {
        seconds if seconds < 0 => return Err(Refusal::new(BAD_LIFE, "MsgLifeTime is negative")),
        seconds => u32::try_from(seconds)
            .map_err(|_| Refusal::new(LIFE_TOO_LONG, "MsgLifeTime is at most 604800, seven days"))?,
    };
    let content = content(body.msg_body, Field::Absent).map_err(|bad| bad.in_messages())?;
    let offline_push = offline_push(body.offline_push_info)?;
    let chosen = body.condition.optional("Condition", BAD_FORM)?;
    let chosen = chosen.map(|Object(condition)| condition.read()).transpose()?;
    let from = match body.from.optional("From_Account", BAD_FROM)? {
        Some(name) if *name != *call.asker.admin => {
            let bad = || Refusal::new(BAD_FROM, "From_Account is not registered");
            let from = UserKey::new(call.asker.app, &name).map_err(|_| bad())?;
            let there = call.exist(INTERNAL, std::slice::from_ref(&from)).await;
            if there.map_err(|refusal| Refusal { code: INTERNAL, ..refusal })? != [true] {
                return Err(bad());
            }
            from
        }
        _ => call.admin.own_user(&call.asker).map_err(|failure| Refusal::new(BAD, failure.info))?,
    };
    let push = Push { from, random, content, life_time_s, offline_push, chosen };
    let task_id = done(call.admin.push(push), INTERNAL).await?;
    Ok(Pushed { task_id })
}
