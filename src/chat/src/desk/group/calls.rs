//! One request after the other: from the wire to an operation and back.

use std::collections::BTreeMap;

use nearport_wire::body::{self, Empty, group_answer::Answer, group_call::Call};
use nearport_wire::code::group as code;

use super::info::info;
use super::turn::{After, Turn};
use super::{heads, rooms, topics, unreadable};
use crate::actor::Actor;
use crate::desk::Caller;
use crate::directory::Counted;
use crate::downs::Downs;
use crate::group::{self, Counts, Ctx, Effects, Penalty, check_counts, check_id, page_limit};
use crate::key::{GroupKey, UserKey};
use crate::ledger::Heads;
use crate::reply::Failure;

/// Groups that one request asks for, of the public contract.
const INFOS_MAX: usize = 50;
/// Ids that are tried for a new group or topic. They hold the time and a number, so the first one is free.
const IDS_TRIED_MAX: u32 = 8;
const DAY_MS: u64 = 86_400_000;

pub(super) type Answered = Result<(Answer, Option<After>), Failure>;

/// Carries out a request.
pub(super) fn answer(turn: &mut Turn<'_>, caller: &Caller, call: Call, out: &mut Downs) -> Answered {
    let (app, actor) = (caller.app, caller.actor());
    let key = |id: &str| {
        GroupKey::new(app, id).map_err(|error| Failure::new(code::BAD_ID, format!("the group's id: {error}")))
    };
    let nobody = BTreeMap::new();
    if caller.is_guest() && !matches!(call, Call::Join(_) | Call::Quit(_)) {
        return Err(Failure::not_logged_in());
    }
    match call {
        Call::Create(asked) => create(turn, caller, &asked, None),
        Call::Info(asked) => infos(turn, caller, &asked),
        Call::Joined(asked) => joined(turn, caller, &asked),
        Call::Join(asked) => {
            let key = key(&asked.group)?;
            if let Some(rate_per_s) = rooms::rate(turn, &key)? {
                let live = rooms::join(turn, caller, &key, rate_per_s, out)?;
                let outcome = body::GroupJoinOutcome { pending: false, live: Some(live) };
                return seen(Answer::Join(outcome));
            }
            if caller.is_guest() {
                return Err(Failure::new(code::NO_PERMISSION, "guests only hear live rooms"));
            }
            let user = caller.user(code::BAD_PARAMETER)?;
            let people = people(turn, std::iter::once(user.clone()))?;
            let (pending, after) = turn
                .change(caller, &key, &people, |group, ctx, _, fx| group.join(ctx, user, &asked.text, fx))?;
            Ok((Answer::Join(body::GroupJoinOutcome { pending, live: None }), after))
        }
        Call::Handle(asked) => {
            let user = UserKey::new(app, &asked.user)
                .map_err(|error| Failure::new(code::BAD_PARAMETER, format!("the user: {error}")))?;
            let people = people(turn, std::iter::once(user.clone()))?;
            done(turn.change(caller, &key(&asked.group)?, &people, |group, ctx, actor, fx| {
                group.handle(ctx, actor, &user, asked.agree, &asked.text, fx)
            }))
        }
        Call::Invite(asked) => {
            let key = key(&asked.group)?;
            let people = named(turn, app, asked.users.iter())?;
            let (items, after) = turn.change(caller, &key, &people, |group, ctx, actor, fx| {
                group.invite(ctx, actor, &asked.users, &asked.text, asked.silent, fx)
            })?;
            Ok((Answer::Invited(body::GroupInvited { items }), after))
        }
        Call::Quit(asked) => {
            let key = key(&asked.group)?;
            if rooms::rate(turn, &key)?.is_some() {
                rooms::quit(turn, caller, &key, out)?;
                return seen(Answer::Done(Empty {}));
            }
            let user = caller.user(code::BAD_PARAMETER)?;
            done(turn.change(caller, &key, &nobody, |group, ctx, _, fx| group.quit(ctx, user, fx)))
        }
        Call::Kick(asked) => {
            done(turn.change(caller, &key(&asked.group)?, &nobody, |group, ctx, actor, fx| {
                group.kick(ctx, actor, &asked.users, &asked.reason, asked.silent, fx)
            }))
        }
        Call::Ban(asked) => {
            done(turn.change(caller, &key(&asked.group)?, &nobody, |group, ctx, actor, fx| {
                group.ban(ctx, actor, &asked.users, asked.seconds, &asked.reason, fx)
            }))
        }
        Call::Unban(asked) => {
            done(turn.change(caller, &key(&asked.group)?, &nobody, |group, ctx, actor, fx| {
                group.unban(ctx, actor, &asked.users, fx)
            }))
        }
        Call::Transfer(asked) => {
            done(turn.change(caller, &key(&asked.group)?, &nobody, |group, ctx, actor, fx| {
                group.transfer(ctx, actor, &asked.user, fx)
            }))
        }
        Call::Dismiss(asked) => {
            done(turn.change(caller, &key(&asked.group)?, &nobody, |group, ctx, actor, fx| {
                group.dismiss(ctx, actor, fx)
            }))
        }
        Call::Edit(asked) => {
            done(turn.change(caller, &key(&asked.group)?, &nobody, |group, ctx, actor, fx| {
                group.edit(ctx, actor, &asked, fx)
            }))
        }
        Call::EditMember(asked) if key(&asked.group)?.is_topic() => topics::receive(turn, caller, &asked),
        Call::EditMember(asked) => {
            done(turn.change(caller, &key(&asked.group)?, &nobody, |group, ctx, actor, fx| {
                group.edit_member(ctx, actor, &asked, fx)
            }))
        }
        Call::Mute(asked) => {
            done(turn.change(caller, &key(&asked.group)?, &nobody, |group, ctx, actor, fx| {
                group.mute(ctx, actor, &asked.users, asked.seconds, fx)
            }))
        }
        Call::WriteAttributes(asked) => {
            let (all, after) =
                turn.change(caller, &key(&asked.group)?, &nobody, |group, ctx, actor, fx| {
                    group.write_attributes(ctx, actor, &asked, fx)
                })?;
            Ok((Answer::Attributes(all), after))
        }
        Call::WriteCounters(asked) => {
            let (items, after) =
                turn.change(caller, &key(&asked.group)?, &nobody, |group, ctx, actor, fx| {
                    group.write_counters(ctx, actor, &asked, fx)
                })?;
            Ok((Answer::Counters(body::GroupCounters { items }), after))
        }
        Call::Banned(asked) => turn.look(caller, &key(&asked.group)?, |group, ctx| {
            seen(Answer::Penalties(group.penalties(ctx, actor, Penalty::Ban, &asked)?))
        }),
        Call::Muted(asked) => turn.look(caller, &key(&asked.group)?, |group, ctx| {
            seen(Answer::Penalties(group.penalties(ctx, actor, Penalty::Mute, &asked)?))
        }),
        Call::Members(asked) => {
            let key = key(&asked.group)?;
            if rooms::rate(turn, &key)?.is_some() {
                return seen(Answer::Members(rooms::members(turn, caller, &asked, &key)?));
            }
            turn.look(caller, &key, |group, ctx| {
                seen(Answer::Members(group.member_page(ctx, actor, &asked)?))
            })
        }
        Call::Roles(asked) => turn.look(caller, &key(&asked.group)?, |group, ctx| {
            seen(Answer::Roles(body::GroupRoles { items: group.roles(ctx, actor, &asked.users)? }))
        }),
        Call::Applications(asked) => turn.look(caller, &key(&asked.group)?, |group, ctx| {
            seen(Answer::Applications(group.application_page(ctx, actor, &asked)?))
        }),
        Call::Attributes(asked) => turn.look(caller, &key(&asked.group)?, |group, ctx| {
            seen(Answer::Attributes(group.attributes(ctx, actor, &asked.keys)?))
        }),
        Call::Counters(asked) => turn.look(caller, &key(&asked.group)?, |group, ctx| {
            seen(Answer::Counters(body::GroupCounters { items: group.counters(ctx, actor, &asked.keys)? }))
        }),
        Call::CreateTopic(asked) => topics::create(turn, caller, &key(&asked.group)?, &asked, None),
        Call::EditTopic(asked) => {
            let topic = key(&asked.topic)?;
            topics::enabled(turn, app)?;
            done(turn.change(caller, &topic.home(), &nobody, |group, _, actor, fx| {
                group.edit_topic(actor, &topic, &asked, fx)
            }))
        }
        Call::DestroyTopics(asked) => {
            topics::enabled(turn, app)?;
            let (items, after) =
                turn.change(caller, &key(&asked.group)?, &nobody, |group, _, actor, fx| {
                    group.destroy_topics(actor, &asked.topics, fx)
                })?;
            Ok((Answer::TopicsDestroyed(body::GroupTopicsDestroyed { items }), after))
        }
        Call::Topics(asked) => seen(Answer::Topics(topics::page(turn, caller, &key(&asked.group)?, &asked)?)),
        Call::Heads(asked) => seen(Answer::Heads(heads::answer(turn, caller, &asked)?)),
    }
}

pub(super) fn done(changed: Result<((), Option<After>), Failure>) -> Answered {
    changed.map(|((), after)| (Answer::Done(Empty {}), after))
}

fn seen(answer: Answer) -> Answered {
    Ok((answer, None))
}

/// Which of `users` have an account, and in how many groups each is.
pub(super) fn people(
    turn: &Turn<'_>,
    users: impl Iterator<Item = UserKey>,
) -> Result<BTreeMap<UserKey, u32>, Failure> {
    let users: Vec<_> = users.collect();
    let found = turn.shared.accounts.find(&users).map_err(|error| unreadable(&error))?;
    let known: Vec<_> =
        users.into_iter().zip(found.accounts).filter_map(|(user, known)| known.map(|_| user)).collect();
    // All of one App.
    let joined_max = |user: &UserKey| turn.shared.settings(user.app()).config.groups.joined_max;
    let counts = match known.first().map_or(0, joined_max) {
        0 => vec![0; known.len()],
        _ => turn.shared.directory.count_groups_of(&known).map_err(|error| unreadable(&error))?,
    };
    Ok(known.into_iter().zip(counts).collect())
}

/// The same for names of a request. Those that cannot be names belong to nobody; more than any request may have are not looked up.
pub(super) fn named<'n>(
    turn: &Turn<'_>,
    app: crate::key::AppId,
    names: impl Iterator<Item = &'n String>,
) -> Result<BTreeMap<UserKey, u32>, Failure> {
    const LOOKED_UP_MAX: usize = 301;
    people(turn, names.take(LOOKED_UP_MAX).filter_map(|name| UserKey::new(app, name).ok()))
}

/// A new group, or one that another system had since `imported_ms`: then nobody is told.
pub(super) fn create(
    turn: &mut Turn<'_>,
    caller: &Caller,
    asked: &body::GroupCreate,
    imported_ms: Option<u64>,
) -> Answered {
    let app = caller.app;
    // Users make groups of their own; the back end of the App says whose it is, or nobody's.
    let owner = match caller.actor() {
        Actor::User(user) => Some(user.clone()),
        Actor::Admin(_) if asked.owner.is_empty() => None,
        Actor::Admin(_) => Some(
            UserKey::new(app, &asked.owner)
                .map_err(|error| Failure::new(code::NO_ACCOUNT, format!("the owner: {error}")))?,
        ),
    };
    let rules = turn.shared.groups.rules().clone();
    let limits = turn.shared.settings(app).config.groups.limits();
    let kind = rules.types.find(&asked.r#type);
    let kind =
        kind.ok_or_else(|| Failure::new(code::BAD_PARAMETER, "there is no group type of this name"))?;
    let count = |which: Counted<'_>, limit: u32| match limit {
        0 => Ok(0),
        _ => turn.shared.directory.count_groups(app, which).map_err(|error| unreadable(&error)),
    };
    let of = |wanted: bool, limit: u32| {
        count(Counted { kind: Some(kind.name), since_ms: 0 }, if wanted { limit } else { 0 })
    };
    let counts = Counts {
        today: count(
            Counted { kind: None, since_ms: turn.now_ms - turn.now_ms % DAY_MS },
            limits.created_per_day,
        )?,
        groups: count(Counted::default(), limits.groups_max)?,
        communities: of(kind.community, limits.communities_max)?,
        rooms: of(!kind.stored_members, limits.rooms_max)?,
    };
    check_counts(&kind, &limits, counts)?;
    if imported_ms.is_some() && !kind.import {
        return Err(Failure::new(code::NO_PERMISSION, "groups of this type are not imported"));
    }
    if asked.topics {
        topics::enabled(turn, app)?;
        if !kind.community {
            return Err(Failure::new(code::NOT_ENABLED, "only communities have topics"));
        }
    }
    let key = match asked.group.as_str() {
        "" => free_id(turn, app, kind.id_prefix, |key| Ok(turn.find(key)?.is_some()))?,
        id => {
            let key = check_id(app, &kind, id, imported_ms.is_some())?;
            if let Some(taken) = turn.find(&key)? {
                let taken = taken.read().unwrap_or_else(std::sync::PoisonError::into_inner);
                let own = owner.is_some() && taken.info().owner == owner;
                return Err(match own {
                    true => Failure::new(code::ID_OWN, "the id is taken by a group of yours"),
                    false => Failure::new(code::ID_TAKEN, "the id is taken"),
                });
            }
            key
        }
    };
    let names = asked.members.iter().map(|member| &member.user).take(101);
    let mut people = named(turn, app, names)?;
    people.extend(self::people(turn, owner.iter().cloned())?);
    if owner.as_ref().is_some_and(|owner| !people.contains_key(owner)) {
        return Err(Failure::new(code::NO_ACCOUNT, "the owner does not exist"));
    }
    let head = turn.shared.groups.head(&key).map_err(|error| unreadable(&error))?;
    let mut fx = Effects::default();
    let group = {
        let ctx = turn.ctx(head, &people, false);
        let ctx = Ctx { now_ms: imported_ms.unwrap_or(ctx.now_ms), ..ctx };
        group::create(&ctx, key, caller.actor(), owner.as_ref(), asked, &mut fx)?
    };
    let id = group.key().id().to_owned();
    if imported_ms.is_some() {
        (fx.tips, fx.notices) = (Vec::new(), Vec::new());
    }
    let after = turn.add(caller, group, fx);
    Ok((Answer::Id(body::GroupRef { group: id }), Some(after)))
}

/// An id that the server makes: its prefix, then the time and a number in letters and digits. `taken`: whether it is there already.
pub(super) fn free_id(
    turn: &Turn<'_>,
    app: crate::key::AppId,
    prefix: &str,
    taken: impl Fn(&GroupKey) -> Result<bool, Failure>,
) -> Result<GroupKey, Failure> {
    for _ in 0..IDS_TRIED_MAX {
        let id = new_id(turn, prefix);
        let key = GroupKey::new(app, &id).map_err(|error| Failure::new(code::INTERNAL, error.to_string()))?;
        if !taken(&key)? {
            return Ok(key);
        }
    }
    Err(Failure::later(code::INTERNAL, "no free id was found, try again", 100))
}

/// An id that is most probably free.
fn new_id(turn: &Turn<'_>, prefix: &str) -> String {
    let number = turn.shared.groups.next_number() & 0xfff;
    format!("{prefix}{}", letters(turn.now_ms << 12 | number))
}

/// A number in base 32, without letters that look like digits.
fn letters(mut number: u64) -> String {
    const DIGITS: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";
    let mut out = Vec::new();
    while number > 0 {
        out.push(DIGITS[(number % 32) as usize]);
        number /= 32;
    }
    out.reverse();
    out.into_iter().map(char::from).collect()
}

fn infos(turn: &Turn<'_>, caller: &Caller, asked: &body::GroupNames) -> Answered {
    if asked.groups.len() > INFOS_MAX {
        return Err(Failure::new(code::PAGE, "at most 50 groups are asked for at once"));
    }
    let keys: Vec<_> = asked.groups.iter().map(|id| GroupKey::new(caller.app, id)).collect();
    let good: Vec<_> = keys.iter().flatten().cloned().collect();
    let mut newest = newest(turn, &good)?.into_iter();
    let infos = asked.groups.iter().zip(keys).map(|(id, key)| {
        let info = key
            .map_err(|error| Failure::new(code::BAD_ID, format!("the group's id: {error}")))
            .and_then(|key| {
                let newest = newest.next().unwrap_or_default();
                turn.look(caller, &key, |group, ctx| {
                    group.may_read(caller.actor(), ctx.present)?;
                    Ok(info(turn.shared, group, ctx, caller.actor(), newest))
                })
            });
        info.unwrap_or_else(|failure| body::GroupInfo {
            group: id.clone(),
            error: failure.code,
            ..body::GroupInfo::default()
        })
    });
    seen(Answer::Infos(body::GroupInfos { infos: infos.collect() }))
}

fn joined(turn: &Turn<'_>, caller: &Caller, asked: &body::GroupPage) -> Answered {
    const PAGE: usize = 50;
    const PAGE_MAX: usize = 100;
    let limit = page_limit(asked.limit, PAGE, PAGE_MAX)?;
    let user = caller.user(code::BAD_PARAMETER)?;
    let of = turn.shared.directory.groups_of(std::slice::from_ref(user));
    let mut keys: Vec<_> =
        of.map_err(|error| unreadable(&error))?.into_iter().flatten().map(|joined| joined.group).collect();
    keys.retain(|key| key.id() > asked.after.as_str());
    let more = keys.len() > limit;
    keys.truncate(limit);
    let next = keys.last().filter(|_| more).map(|key| key.id().to_owned()).unwrap_or_default();
    let mut infos = Vec::with_capacity(keys.len());
    for (key, newest) in keys.iter().zip(newest(turn, &keys)?) {
        let shown = turn.look(caller, key, |group, ctx| {
            // One that is hidden yet, or was left in this very turn.
            if group.may_read(caller.actor(), ctx.present).is_err() || group.member(user).is_none() {
                return Ok(None);
            }
            Ok(Some(info(turn.shared, group, ctx, caller.actor(), newest)))
        });
        match shown {
            Ok(info) => infos.extend(info),
            Err(failure) if failure.code == code::GONE => {}
            Err(failure) => return Err(failure),
        }
    }
    seen(Answer::Joined(body::GroupJoinedPage { infos, next }))
}

/// Where the conversations of groups stand. The groups are in memory then, or were changed by this turn: profiles of many take
/// one look into the directory and one into the ledger.
fn newest(turn: &Turn<'_>, keys: &[GroupKey]) -> Result<Vec<Heads>, Failure> {
    turn.shared.groups.find_all(keys).map_err(|error| unreadable(&error))?;
    heads::newest(turn, keys)
}

#[cfg(test)]
mod tests {
    use super::letters;

    #[test]
    fn numbers_become_letters_in_order_of_size() {
        assert_eq!(letters(33), "11");
        let (early, late) = (letters(1_700_000_000_000 << 12), letters(1_700_000_000_001 << 12));
        assert!(early < late && early.len() == late.len());
    }
}
