//! Pushes to all members: what is refused, and what is written down.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use nearport_wire::body::{Content, Message, MessageKey};
use nearport_wire::code;

use super::super::{Admin, Pending};
use super::labels::{BAD_ATTR, TEXT_BYTES_MAX, change, is_good, no_attr, slots};
use crate::directory::DirectoryError;
use crate::directory::people::PeopleTx;
use crate::directory::push::{Attrs, PushPlace, PushRow};
use crate::kept::{Audience, seal};
use crate::key::{AppId, ConvKey, UserKey};
use crate::msg_key::MsgKey;
use crate::numbers::DAY_MS;
use crate::pushes::condition::Condition;
use crate::pushes::{Config, LIFE_TIME_MAX_S};
use crate::reply::Failure;

/// Codes of the contract.
const OFF: u32 = 90045;
const TAG_TOO_LONG: u32 = 90020;
const TAG_TWICE: u32 = 90022;
const TOO_SOON: u32 = 90024;
const LIFE_TOO_LONG: u32 = 90026;
const TOO_MANY_TAGS: u32 = 90032;
const NO_TAG: u32 = 90040;
const DAY_FULL: u32 = 90047;

/// Tags of each list of a condition.
const TAGS_MAX: usize = 10;

/// A message for all members of an App, or for some.
#[derive(Debug, Clone, PartialEq)]
pub struct Push {
    /// In whose name; that the account exists is the caller's to check.
    pub from: UserKey,
    /// `MsgRandom`: a second push under it within seven days is a repeat of the first.
    pub random: u32,
    /// What it says, checked.
    pub content: Content,
    /// How long it waits for who is not online, seconds; 0: not at all.
    pub life_time_s: u32,
    /// `OfflinePushInfo`, JSON; empty: none.
    pub offline_push: String,
    /// For whom; `None`: for everybody.
    pub chosen: Option<Chosen>,
}

/// Some of the members: who has one of the first, where there are any, and all of the others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Chosen {
    /// By tags.
    Tags {
        /// One of these.
        or: Vec<String>,
        /// All of these.
        and: Vec<String>,
    },
    /// By attributes, whose names are those that the App has given.
    Attrs {
        /// One of these.
        or: BTreeMap<String, String>,
        /// All of these.
        and: BTreeMap<String, String>,
    },
}

impl Admin {
    /// Writes a push down, which then goes out by itself, and gives its `TaskId`. A repeat gives that of the first and changes nothing.
    ///
    /// The outcome may be 90045 (pushes are off), 90026, what is wrong with the choice (90020, 90022, 90032, 90033, 90040), 90024
    /// (too soon after the last one), 90047 (too many today), 60018 (too many are under way), 91000.
    pub fn push(&self, push: Push) -> Pending<Result<String, Failure>> {
        self.on_desk(move |shared, now_ms, _| {
            let app = push.from.app();
            let limits = shared.settings(app).config.push.clone();
            if !limits.enabled {
                return Err(Failure::new(OFF, "pushes to all members are off: the setting push.enabled"));
            }
            if push.life_time_s > LIFE_TIME_MAX_S {
                return Err(Failure::new(LIFE_TOO_LONG, "MsgLifeTime is at most 604800, seven days"));
            }
            if let Some(Chosen::Tags { or, and }) = &push.chosen {
                check_tags(or, and)?;
            }
            let task_id = change(shared, |tx| add(tx, app, &push, &limits, now_ms))?;
            shared.pushes.nudge();
            Ok(task_id)
        })
    }
}

fn add(
    tx: &mut dyn PeopleTx,
    app: AppId,
    push: &Push,
    limits: &Config,
    now_ms: u64,
) -> Result<Result<String, Failure>, DirectoryError> {
    let week_ms = now_ms.saturating_sub(u64::from(LIFE_TIME_MAX_S) * 1000);
    if let Some((number, created_ms)) = tx.push_by_random(app, push.random, week_ms)? {
        return Ok(Ok(task_id(app, number, push.random, created_ms)));
    }
    let condition = match &push.chosen {
        None => String::new(),
        Some(chosen) => match condition(tx, app, chosen)? {
            Ok(condition) => condition,
            Err(failure) => return Ok(Err(failure)),
        },
    };
    let counts = tx.push_counts(app, now_ms - now_ms % DAY_MS)?;
    let since_last_ms = now_ms.saturating_sub(counts.last_ms);
    let refused = |code, info, retry_ms| Ok(Err(Failure::later(code, info, retry_ms)));
    if counts.last > 0 && since_last_ms < limits.interval_s.saturating_mul(1000) {
        return refused(TOO_SOON, "too soon after the last push", 1000);
    }
    if counts.since >= u64::from(limits.per_day) {
        return refused(DAY_FULL, "as many pushes today as there may be", 3_600_000);
    }
    if counts.open >= u64::from(limits.waiting_max) {
        return refused(code::TOO_MANY_REQUESTS, "as many pushes are under way as there may be", 60_000);
    }
    tx.trim_pushes(app, week_ms)?;
    let number = counts.last + 1;
    let row = PushRow {
        number,
        random: push.random,
        created_ms: now_ms,
        from: push.from.name().to_owned(),
        life_time_s: push.life_time_s,
        condition,
        message: message(push, number, now_ms),
        place: PushPlace::default(),
    };
    tx.add_push(app, &row)?;
    Ok(Ok(task_id(app, number, push.random, now_ms)))
}

/// `TaskId`: nothing for others to read.
fn task_id(app: AppId, number: u64, random: u32, created_ms: u64) -> String {
    format!("{}_{number}_{random}_{}", app.0, created_ms / 1000)
}

/// As it is stored, without its receiver.
fn message(push: &Push, number: u64, now_ms: u64) -> Bytes {
    let (seq, time_s) = (u32::try_from(number).unwrap_or(u32::MAX), now_ms / 1000);
    let key = MsgKey { seq: seq.into(), random: push.random, time_s };
    let time_s = u32::try_from(time_s).unwrap_or(u32::MAX);
    let message = Message {
        from: push.from.name().to_owned(),
        client_msg_id: key.client_msg_id(&ConvKey::pushes(push.from.app())).to_vec().into(),
        content: Some(push.content.clone()),
        life_time_s: push.life_time_s,
        key: Some(MessageKey { seq, random: push.random, time_s }),
        offline_push: push.offline_push.clone(),
        ..Message::default()
    };
    seal(&message, Audience::All)
}

fn check_tags(or: &[String], and: &[String]) -> Result<(), Failure> {
    if or.len() > TAGS_MAX || and.len() > TAGS_MAX {
        return Err(Failure::new(TOO_MANY_TAGS, "at most 10 tags in each list"));
    }
    let mut all = or.iter().chain(and);
    if all.clone().any(String::is_empty) {
        return Err(Failure::new(NO_TAG, "a tag is empty"));
    }
    if !all.all(|tag| is_good(tag)) {
        return Err(Failure::new(TAG_TOO_LONG, "a tag has at most 50 bytes, none of them zero"));
    }
    let or: BTreeSet<_> = or.iter().collect();
    match and.iter().any(|tag| or.contains(tag)) {
        true => Err(Failure::new(TAG_TWICE, "TagsOr and TagsAnd share a tag")),
        false => Ok(()),
    }
}

/// A choice as it is stored.
fn condition(
    tx: &mut dyn PeopleTx,
    app: AppId,
    chosen: &Chosen,
) -> Result<Result<String, Failure>, DirectoryError> {
    let condition = match chosen {
        Chosen::Tags { or, and } => Condition::Tags { or: or.clone(), and: and.clone() },
        Chosen::Attrs { or, and } => {
            let slots = slots(tx, app)?;
            let numbered = |named: &BTreeMap<String, String>| {
                named
                    .iter()
                    .map(|(name, value)| {
                        if !is_good(value) {
                            let info = format!("the value of an attribute has 1 to {TEXT_BYTES_MAX} bytes");
                            return Err(Failure::new(BAD_ATTR, info));
                        }
                        slots.get(name).map(|slot| (*slot, value.clone())).ok_or_else(|| no_attr(name))
                    })
                    .collect::<Result<Attrs, _>>()
            };
            match (numbered(or), numbered(and)) {
                (Ok(or), Ok(and)) => Condition::Attrs { or, and },
                (Err(failure), _) | (_, Err(failure)) => return Ok(Err(failure)),
            }
        }
    };
    let text = serde_json::to_string(&condition);
    text.map(Ok).map_err(|error| DirectoryError::Engine(format!("a condition: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_of_a_choice_have_limits_at_the_byte_and_the_item() {
        let tags = |tags: &[&str]| tags.iter().map(|tag| (*tag).to_owned()).collect::<Vec<_>>();
        let code =
            |or: &[String], and: &[String]| check_tags(or, and).err().map_or(0, |failure| failure.code);
        let many: Vec<_> = (0..11).map(|n| n.to_string()).collect();
        assert_eq!((code(&many[..10], &tags(&["a"])), code(&many, &[]), code(&[], &many)), (0, 90032, 90032));
        let long = |bytes| vec!["x".repeat(bytes)];
        assert_eq!((code(&long(50), &[]), code(&long(51), &[]), code(&[], &long(51))), (0, 90020, 90020));
        assert_eq!((code(&tags(&[""]), &[]), code(&[], &tags(&["a", ""]))), (90040, 90040));
        assert_eq!(
            (code(&tags(&["a", "b"]), &tags(&["c", "b"])), code(&tags(&["a"]), &tags(&["b"]))),
            (90022, 0)
        );
    }
}
