//! Topics of communities: calls about them.

use std::collections::BTreeMap;

use nearport_wire::body::{self, group_answer::Answer};
use nearport_wire::code::group as code;

use super::calls::{Answered, done, free_id, people};
use super::turn::Turn;
use super::{heads, unreadable};
use crate::actor::Actor;
use crate::desk::Caller;
use crate::group::{check_topic_counts, check_topic_id, page_limit};
use crate::key::{AppId, GroupKey, TOPIC_MARK, UserKey};
use crate::ledger::CursorName;
use crate::reply::Failure;

/// What the part of its own begins with in an id that the server makes.
const PREFIX: &str = "@TOPIC#";
/// Topics of one answer to a client, some 4 KB each: a frame has 256 KiB.
const PAGE_MAX: usize = 50;
/// The same to a back end.
const ALL_MAX: usize = 1000;

/// Refuses topics where the App has none.
///
/// # Errors
/// 11000.
pub(super) fn enabled(turn: &Turn<'_>, app: AppId) -> Result<(), Failure> {
    match turn.shared.settings(app).config.groups.topics {
        true => Ok(()),
        false => Err(Failure::new(code::NOT_ENABLED, "topics of communities are not enabled in this app")),
    }
}

/// A new topic, or one that another system had since `imported_ms`: then nobody is told.
pub(super) fn create(
    turn: &mut Turn<'_>,
    caller: &Caller,
    community: &GroupKey,
    asked: &body::GroupTopicCreate,
    imported_ms: Option<u64>,
) -> Answered {
    let app = caller.app;
    enabled(turn, app)?;
    if imported_ms.is_some_and(|created_ms| created_ms > turn.now_ms) {
        return Err(Failure::new(code::BAD_PARAMETER, "CreateTime is in the future"));
    }
    let limits = turn.shared.settings(app).config.groups.limits();
    // Whoever may not, hears of nothing else.
    let topics = turn.look(caller, community, |group, _| {
        group.check_topics(caller.actor()).map(|()| group.topics().len())
    })?;
    let in_app = match limits.app_topics_max {
        0 => 0,
        _ => turn.shared.directory.count_topics(app).map_err(|error| unreadable(&error))?,
    };
    check_topic_counts(&limits, in_app, topics)?;
    if let Actor::Admin(_) = caller.actor()
        && !asked.by.is_empty()
    {
        let by = UserKey::new(app, &asked.by).ok();
        let known = by.map_or_else(|| Ok(BTreeMap::new()), |by| people(turn, std::iter::once(by)))?;
        if known.is_empty() {
            return Err(Failure::new(
                code::NO_ACCOUNT,
                "the account in whose name the topic is made does not exist",
            ));
        }
    }
    let key = match asked.topic.as_str() {
        "" => {
            let prefix = format!("{}{TOPIC_MARK}{PREFIX}", community.id());
            free_id(turn, app, &prefix, |key| exists(turn, caller, community, key))?
        }
        id => {
            let key = check_topic_id(community, id, imported_ms.is_some())?;
            if exists(turn, caller, community, &key)? {
                return Err(Failure::new(code::ID_OWN, "the community has a topic of this id"));
            }
            key
        }
    };
    let head = turn.shared.groups.head(&key).map_err(|error| unreadable(&error))?;
    let mut asked = asked.clone();
    if let Actor::User(_) = caller.actor() {
        asked.by.clear();
    }
    let ((), after) = turn.change(caller, community, &BTreeMap::new(), |group, ctx, actor, fx| {
        let created_ms = imported_ms.unwrap_or(ctx.now_ms);
        group.create_topic(actor, (&key, head, created_ms), &asked, fx)?;
        if imported_ms.is_some() {
            fx.tips.clear();
        }
        Ok(())
    })?;
    Ok((Answer::Id(body::GroupRef { group: key.id().to_owned() }), after))
}

fn exists(turn: &Turn<'_>, caller: &Caller, community: &GroupKey, key: &GroupKey) -> Result<bool, Failure> {
    turn.look(caller, community, |group, _| Ok(group.topic(key).is_ok()))
}

/// How a member receives a topic.
pub(super) fn receive(turn: &mut Turn<'_>, caller: &Caller, asked: &body::GroupMemberEdit) -> Answered {
    let topic = GroupKey::new(caller.app, &asked.group)
        .map_err(|error| Failure::new(code::BAD_ID, format!("the topic's id: {error}")))?;
    let only = body::GroupMemberEdit {
        group: asked.group.clone(),
        user: asked.user.clone(),
        reception: asked.reception,
        ..body::GroupMemberEdit::default()
    };
    if only != *asked {
        let info = "members of a topic are those of its community: only how one receives it can be changed";
        return Err(Failure::new(code::BAD_PARAMETER, info));
    }
    let user = match (asked.user.as_str(), caller.actor()) {
        ("", Actor::User(user)) => user.clone(),
        (name, _) => UserKey::new(caller.app, name)
            .map_err(|error| Failure::new(code::BAD_PARAMETER, format!("the user: {error}")))?,
    };
    let wanted = asked.reception();
    done(turn.change(caller, &topic.home(), &BTreeMap::new(), |group, _, actor, fx| {
        group.visible(actor)?;
        group.receive_topic(actor, &topic, &user, wanted, fx)
    }))
}

/// Topics of a community, as the asker, or somebody for whom an administrator of the App asks, stands to them.
pub(super) fn page(
    turn: &Turn<'_>,
    caller: &Caller,
    community: &GroupKey,
    asked: &body::GroupTopicsPage,
) -> Result<body::GroupTopics, Failure> {
    let app = caller.app;
    enabled(turn, app)?;
    let user = match caller.actor() {
        Actor::User(user) => Some(user.clone()),
        Actor::Admin(_) if asked.user.is_empty() => None,
        Actor::Admin(_) => Some(
            UserKey::new(app, &asked.user)
                .map_err(|error| Failure::new(code::NO_ACCOUNT, format!("the user: {error}")))?,
        ),
    };
    let max = match caller.actor() {
        // One answer may have all that a community can have.
        Actor::Admin(_) => ALL_MAX,
        Actor::User(_) => PAGE_MAX,
    };
    let limit = match asked.topics.is_empty() {
        true => page_limit(asked.limit, max, max)?,
        false => max,
    };
    if asked.topics.len() > limit {
        return Err(Failure::new(code::PAGE, format!("at most {limit} topics are asked for at once")));
    }
    let (keys, next) = turn.look(caller, community, |group, ctx| {
        group.may_read(caller.actor(), ctx.present)?;
        if !group.info().topics {
            return Err(Failure::new(code::NOT_ENABLED, "the group is no community with topics"));
        }
        if !asked.topics.is_empty() {
            let keys = asked.topics.iter().map(|id| GroupKey::new(app, id).ok());
            return Ok((keys.collect::<Vec<_>>(), false));
        }
        let mut keys = group.topics().map(|(key, _)| key).filter(|key| key.id() > asked.after.as_str());
        let page: Vec<_> = keys.by_ref().take(limit).cloned().map(Some).collect();
        Ok((page, keys.next().is_some()))
    })?;
    let next = keys.last().filter(|_| next).and_then(|key| Some(key.as_ref()?.id().to_owned()));
    let known: Vec<GroupKey> = keys.iter().flatten().cloned().collect();
    let newest = heads::newest(turn, &known)?;
    let reads = match &user {
        Some(user) => {
            let names: Vec<_> = known.iter().map(|key| CursorName::Read(key.conv())).collect();
            turn.shared.ledger.cursors(user, &names).map_err(|error| heads::unread(&error))?
        }
        None => vec![None; known.len()],
    };
    let mut stands = newest.into_iter().zip(reads);
    let items = turn.look(caller, community, |group, ctx| {
        let item = |(at, key): (usize, Option<GroupKey>)| {
            let found = key.ok_or_else(|| Failure::new(code::BAD_ID, "")).and_then(|key| {
                let (newest, read) = stands.next().unwrap_or_default();
                group.topic_body(&key, newest, (user.as_ref(), read.unwrap_or_default()), ctx.now_ms)
            });
            found.unwrap_or_else(|failure| body::GroupTopic {
                topic: asked.topics.get(at).cloned().unwrap_or_default(),
                error: failure.code,
                ..body::GroupTopic::default()
            })
        };
        Ok(keys.into_iter().enumerate().map(item).collect())
    })?;
    Ok(body::GroupTopics { items, next: next.unwrap_or_default() })
}
