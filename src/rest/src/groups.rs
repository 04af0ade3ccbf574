//! `group_open_http_svc` and the three services beside it: groups.

mod history;
pub(crate) mod import;
mod lists;
mod members;
mod messages;
mod penalties;
pub(crate) mod profile;
mod rooms;
mod shape;
mod topics;
mod values;

use nearport_wire::body::{group_answer::Answer, group_call::Call as GroupCall};
use nearport_wire::code::group as code;

use crate::answer::{Empty, Refusal};
use crate::table::{Call, Command};

pub(crate) fn commands() -> Vec<Command> {
    [
        profile::commands(),
        lists::commands(),
        members::commands(),
        penalties::commands(),
        values::commands(),
        messages::commands(),
        history::commands(),
        import::commands(),
        rooms::commands(),
        topics::commands(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// Carries out a call about a group.
async fn ask(call: &Call, asked: GroupCall) -> Result<Answer, Refusal> {
    let pending = call.admin.groups(&call.asker, vec![asked]).pop().ok_or_else(gone)?;
    Ok(pending.await.ok_or_else(gone)??)
}

/// Carries out a call that says no more than that it was done.
async fn done(call: &Call, asked: GroupCall) -> Result<Empty, Refusal> {
    ask(call, asked).await.map(|_| Empty {})
}

/// The backend ends, or answers what was not asked.
fn gone() -> Refusal {
    Refusal::new(code::INTERNAL, "the server is shutting down, try again")
}

/// A parameter is wrong.
fn bad(info: impl Into<String>) -> Refusal {
    Refusal::new(code::BAD_PARAMETER, info)
}
