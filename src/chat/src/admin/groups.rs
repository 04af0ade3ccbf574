//! Groups.

use nearport_wire::body::{group_answer::Answer, group_call::Call};
use nearport_wire::code::group as code;

use super::{Admin, Asker, Pending};
use crate::desk::{self, Caller, Who};
use crate::key::UserKey;
use crate::reply::Failure;
use crate::tasks::Task;

impl Admin {
    /// Carries out calls about groups by the rights of an administrator, in order; those of one call are written together. What is
    /// bound to a session (joining a live room, heads) is refused with 10004.
    pub fn groups(&self, asker: &Asker, calls: Vec<Call>) -> Vec<Pending<Result<Answer, Failure>>> {
        let who = Who::Admin(asker.admin.clone());
        self.call_groups(&Caller { app: asker.app, who, seat: None }, calls)
    }

    /// The same for a user, as if the user asked: what she may not, it may not.
    pub fn groups_as(&self, user: &UserKey, calls: Vec<Call>) -> Vec<Pending<Result<Answer, Failure>>> {
        self.call_groups(&Caller { app: user.app(), who: Who::User(user.clone()), seat: None }, calls)
    }

    fn call_groups(&self, caller: &Caller, calls: Vec<Call>) -> Vec<Pending<Result<Answer, Failure>>> {
        let (tasks, pending): (Vec<_>, Vec<_>) = calls
            .into_iter()
            .map(|call| {
                let (pending, done) = Pending::new();
                let answered = Box::new(move |answer| done.tell(answer));
                let call = desk::group::Call::of_back_end(caller.clone(), call, answered);
                (Task::Group(Box::new(call)), pending)
            })
            .unzip();
        match self.shared.tasks.push(tasks) {
            Ok(()) => pending,
            Err(_) => {
                let busy = || Failure::later(code::TOO_OFTEN, "too much is waiting, try again", 1000);
                pending.iter().map(|_| Pending::ready(Err(busy()))).collect()
            }
        }
    }
}
