//! Requests of kind GROUP.
//!
//! A turn carries out all requests of a batch one after the other, each on the groups as the ones before have left them. Then
//! it writes what they change in one transaction. Then come what members see of it: whose sessions hear the group, hints, and tips and
//! notices, which the writer has before the reply goes out: a reply says that the change is on disk.
//!
//! If the transaction fails, every request of the turn is refused and the groups are read anew: what was read may have been
//! something that never came to be.

mod calls;
mod heads;
mod import;
mod info;
mod notify;
mod rooms;
pub(crate) mod told;
mod topics;
mod turn;

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use nearport_wire::body::{self, GroupAnswer, GroupCall, GroupInviteResult, group_answer, group_call};
use nearport_wire::code::group as code;
use prost::Message as _;

use super::ask::{self, Refused};
use super::{Caller, Who};
use crate::callback::{Command, Origin};
use crate::directory::DirectoryError;
use crate::downs::Downs;
use crate::key::{GroupKey, UserKey};
use crate::reply::{Failure, ReplyTo, decode};
use crate::shared::Shared;

pub(crate) use import::Import;
pub(crate) use info::info;
pub(crate) use notify::notify;
pub(crate) use turn::SYSTEM;
use turn::Turn;

/// A request with who asks.
pub(crate) struct Call {
    caller: Caller,
    call: Result<Wanted, Failure>,
    answer_to: AnswerTo,
    /// Whom a back end has refused.
    refused: Refused,
}

/// What is asked for.
#[allow(clippy::large_enum_variant, reason = "calls are what nearly all are")]
enum Wanted {
    Call(group_call::Call),
    Import(Import),
}

/// Hears how a call went.
pub(crate) type Answered = Box<dyn FnOnce(Result<group_answer::Answer, Failure>) + Send>;

enum AnswerTo {
    Client(ReplyTo),
    BackEnd(Answered),
}

impl Call {
    /// A request of a client.
    pub(crate) fn of_client(caller: Caller, reply_to: ReplyTo, body: Bytes, refused: Refused) -> Self {
        let call = decode::<GroupCall>(body, "group").and_then(|call| {
            let unknown = || Failure::new(code::UNKNOWN_COMMAND, "no known group command");
            call.call.map(Wanted::Call).ok_or_else(unknown)
        });
        Self { caller, call, answer_to: AnswerTo::Client(reply_to), refused }
    }

    /// A call of an App's back end.
    pub(crate) fn of_back_end(
        caller: Caller,
        call: group_call::Call,
        refused: Refused,
        answered: Answered,
    ) -> Self {
        let answer_to = AnswerTo::BackEnd(answered);
        Self { caller, call: Ok(Wanted::Call(call)), answer_to, refused }
    }

    /// What a back end brings over from another system.
    pub(crate) fn of_import(caller: Caller, import: Import, answered: Answered) -> Self {
        let answer_to = AnswerTo::BackEnd(answered);
        Self { caller, call: Ok(Wanted::Import(import)), answer_to, refused: Refused::new() }
    }
}

impl AnswerTo {
    fn fail(self, failure: Failure, shared: &Shared, out: &mut Downs) {
        match self {
            Self::Client(reply_to) => reply_to.fail(&failure, &shared.metrics, out),
            Self::BackEnd(answered) => answered(Err(failure)),
        }
    }

    fn reply(self, answer: group_answer::Answer, out: &mut Downs) {
        match self {
            Self::Client(reply_to) => {
                let answer = GroupAnswer { answer: Some(answer) };
                reply_to.reply(answer.encode_to_vec().into(), out);
            }
            Self::BackEnd(answered) => answered(Ok(answer)),
        }
    }
}

/// Carries out requests.
pub(crate) fn handle(shared: &Shared, calls: Vec<Call>, now_ms: u64, out: &mut Downs) {
    let mut turn = Turn::new(shared, now_ms);
    let mut answers = Vec::with_capacity(calls.len());
    for Call { caller, call, answer_to, refused } in calls {
        let wants_full = shared.callbacks.wants(caller.app, Command::AfterGroupFull);
        let entered = match &call {
            Ok(Wanted::Call(call)) if wants_full => told::entered(call).map(str::to_owned),
            _ => None,
        };
        let answer = call.and_then(|call| match call {
            Wanted::Call(mut call) => match ask::without(&mut call, &refused) {
                Some(()) => calls::answer(&mut turn, &caller, call, out),
                None => Ok((group_answer::Answer::Invited(body::GroupInvited::default()), None)),
            },
            Wanted::Import(import) => {
                turn.keep_quiet(true);
                let answer = import::answer(&mut turn, &caller, import);
                turn.keep_quiet(false);
                answer
            }
        });
        if let (Err(Failure { code: code::FULL, .. }), Some(group)) = (&answer, entered)
            && let Ok(key) = GroupKey::new(caller.app, &group)
        {
            turn.tell_back_end(&caller, &key, |telling| telling.full());
        }
        let answer = answer.map(|(answer, after)| (with_refused(answer, refused), after));
        answers.push((caller, answer_to, answer));
    }
    if let Err(error) = turn.commit() {
        tracing::error!(%error, "cannot write groups");
        let failure = Failure::later(code::INTERNAL, "groups cannot be written, try again", 1000);
        for (_, answer_to, _) in answers {
            answer_to.fail(failure.clone(), shared, out);
        }
        return;
    }
    for (caller, answer_to, answer) in answers {
        match answer {
            Ok((answer, after)) => {
                if let Some(after) = after {
                    turn.subscribe(&after, out);
                    turn.tell(&caller, after, out);
                }
                // The last of all: whoever has it finds tips and notices in front of what is asked for then.
                answer_to.reply(answer, out);
            }
            Err(failure) => answer_to.fail(failure, shared, out),
        }
    }
}

/// Groups that an account whose end it is leaves in one transaction: each may have to be read with all its members.
const LEFT_AT_ONCE: usize = 50;

/// Takes a user whose account ends out of some of her groups. Whether there may be more.
///
/// # Errors
/// 10002; she may be out of some, and the next call goes on.
pub(crate) fn leave_some(
    shared: &Shared,
    admin: &Arc<str>,
    user: &UserKey,
    now_ms: u64,
    out: &mut Downs,
) -> Result<bool, Failure> {
    let joined = shared.groups.of_users(std::slice::from_ref(user)).map_err(|error| unreadable(&error))?;
    let caller = Caller { app: user.app(), who: Who::Admin(admin.clone()), seat: None, origin: Origin::REST };
    let mut turn = Turn::new(shared, now_ms);
    let (mut afters, mut outcome) = (Vec::new(), Ok(false));
    for key in joined.into_iter().flatten() {
        if afters.len() == LEFT_AT_ONCE {
            outcome = Ok(true);
            break;
        }
        let left = turn.change(&caller, &key, &BTreeMap::new(), |group, ctx, _, fx| {
            group.forget_account(ctx, user, fx);
            Ok(())
        });
        match left {
            Ok(((), after)) => afters.extend(after),
            Err(failure) if failure.code == code::GONE => {}
            Err(failure) => {
                // Those that were changed before hold in memory: they are written all the same.
                outcome = Err(failure);
                break;
            }
        }
    }
    turn.commit().map_err(|error| unreadable(&error))?;
    for after in afters {
        turn.tell(&caller, after, out);
    }
    outcome
}

/// An answer with those whom a back end has refused.
fn with_refused(mut answer: group_answer::Answer, refused: Refused) -> group_answer::Answer {
    if let group_answer::Answer::Invited(invited) = &mut answer {
        let item = |(user, ..): (String, u32, String)| body::GroupInviteItem {
            user,
            result: GroupInviteResult::GroupInviteFailed.into(),
        };
        invited.items.extend(refused.into_iter().map(item));
    }
    answer
}

/// A read of the directory failed; the log has the reason.
fn unreadable(error: &DirectoryError) -> Failure {
    tracing::error!(%error, "cannot read groups");
    Failure::later(code::INTERNAL, "groups cannot be read, try again", 1000)
}
