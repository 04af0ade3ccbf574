//! Requests of kind GROUP.
//!
//! A turn carries out all requests of a batch one after the other, each on the groups as the ones before have left them. Then
//! it writes what they change in one transaction, and only then it answers: a reply says that the change is on disk. Last
//! come what members see of it: whose sessions hear the group, hints, tips and notices.
//!
//! If the transaction fails, every request of the turn is refused and the groups are read anew: what was read may have been
//! something that never came to be.

mod calls;
mod heads;
mod rooms;
mod turn;

use bytes::Bytes;
use nearport_wire::body::{GroupAnswer, GroupCall};
use nearport_wire::code::group as code;
use prost::Message as _;

use super::Caller;
use crate::directory::DirectoryError;
use crate::downs::Downs;
use crate::reply::{Failure, ReplyTo, decode};
use crate::shared::Shared;

use turn::Turn;

/// A request with who asks.
pub(crate) struct Call {
    pub(crate) caller: Caller,
    pub(crate) reply_to: ReplyTo,
    pub(crate) body: Bytes,
}

/// Carries out requests.
pub(crate) fn handle(shared: &Shared, calls: Vec<Call>, now_ms: u64, out: &mut Downs) {
    let mut turn = Turn::new(shared, now_ms);
    let mut answers = Vec::with_capacity(calls.len());
    for Call { caller, reply_to, body } in calls {
        let answer = decode::<GroupCall>(body, "group").and_then(|call| {
            let call = call.call.ok_or_else(|| Failure::new(code::UNKNOWN_COMMAND, "no known group command"));
            calls::answer(&mut turn, &caller, call?, out)
        });
        answers.push((caller, reply_to, answer));
    }
    if let Err(error) = turn.commit() {
        tracing::error!(%error, "cannot write groups");
        let failure = Failure::later(code::INTERNAL, "groups cannot be written, try again", 1000);
        for (_, reply_to, _) in answers {
            reply_to.fail(&failure, &shared.metrics, out);
        }
        return;
    }
    for (caller, reply_to, answer) in answers {
        match answer {
            Ok((answer, after)) => {
                if let Some(after) = &after {
                    turn.subscribe(after, out);
                }
                let answer = GroupAnswer { answer: Some(answer) };
                reply_to.reply(answer.encode_to_vec().into(), out);
                if let Some(after) = after {
                    turn.tell(&caller, after, out);
                }
            }
            Err(failure) => reply_to.fail(&failure, &shared.metrics, out),
        }
    }
    turn.post();
}

/// A read of the directory failed; the log has the reason.
fn unreadable(error: &DirectoryError) -> Failure {
    tracing::error!(%error, "cannot read groups");
    Failure::later(code::INTERNAL, "groups cannot be read, try again", 1000)
}
