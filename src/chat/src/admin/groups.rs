//! Groups.

mod history;
mod import;
mod lists;
mod members;
mod messages;
mod rooms;

use std::collections::BTreeMap;

use nearport_wire::body::{group_answer::Answer, group_call::Call};
use nearport_wire::code::group as code;

use super::{Admin, Asker, Pending};
pub use history::{GroupHistory, InSlot, ReadCounts, Slot};
pub use import::{ImportMember, ImportMessage};
pub use lists::{GroupList, Joined, JoinedPage, JoinedQuery, ListFrom};
pub use members::{ListedMember, MemberPage, MemberQuery};
pub use messages::GroupMessage;
pub use rooms::RoomMember;

use crate::callback::{Command, Event, Origin, Question, Verdict};
use crate::desk::{self, Caller, Who, ask};
use crate::group::{Ctx, SharedGroup, gone, gone_at};
use crate::key::{AppId, GroupKey, UserKey};
use crate::reply::{Failure, no_groups};
use crate::tasks::Task;

impl Admin {
    /// Carries out calls about groups by the rights of an administrator, in order; those of one call are written together. What is
    /// bound to a session (joining a live room, heads) is refused with 10004.
    pub fn groups(&self, asker: &Asker, calls: Vec<Call>) -> Vec<Pending<Result<Answer, Failure>>> {
        let who = Who::Admin(asker.admin.clone());
        self.call_groups(&Caller { app: asker.app, who, seat: None, origin: asker.origin() }, calls)
    }

    /// The same for a user, as if the user asked: what she may not, it may not.
    pub fn groups_as(&self, user: &UserKey, calls: Vec<Call>) -> Vec<Pending<Result<Answer, Failure>>> {
        let who = Who::User(user.clone());
        self.call_groups(&Caller { app: user.app(), who, seat: None, origin: Origin::REST }, calls)
    }

    fn call_groups(&self, caller: &Caller, calls: Vec<Call>) -> Vec<Pending<Result<Answer, Failure>>> {
        // Back ends ask for one group or one list of members at a time; nobody is asked about what stands in a row.
        if let [call] = &calls[..]
            && let Some(question) = ask::group_question(&self.shared, caller, call)
        {
            let call = call.clone();
            return vec![self.ask_and_call(caller, call, question)];
        }
        let (tasks, pending): (Vec<_>, Vec<_>) = calls
            .into_iter()
            .map(|call| {
                let (pending, done) = Pending::new();
                let answered = Box::new(move |answer| done.tell(answer));
                let nobody = ask::Refused::new();
                let call = desk::group::Call::of_back_end(caller.clone(), call, nobody, answered);
                (Task::Group(Box::new(call)), pending)
            })
            .unzip();
        match self.shared.tasks.push(tasks) {
            Ok(()) => pending,
            Err(_) => pending.iter().map(|_| Pending::ready(Err(too_often()))).collect(),
        }
    }

    /// Lets the App's back end decide about a call first.
    fn ask_and_call(
        &self,
        caller: &Caller,
        call: Call,
        (command, event): (Command, Event),
    ) -> Pending<Result<Answer, Failure>> {
        let (pending, done) = Pending::new();
        let (tasks, caller, app) = (self.shared.tasks.clone(), caller.clone(), caller.app);
        let decided = move |verdict: Verdict| {
            let refused = match verdict {
                Verdict::Refuse { code: nearport_wire::code::TOO_MANY_REQUESTS, .. } => {
                    return done.tell(Err(too_often()));
                }
                Verdict::Refuse { code, info } => return done.tell(Err(Failure::new(code, info))),
                // Only messages are dropped.
                Verdict::Drop => ask::Refused::new(),
                Verdict::Go { refused, .. } => refused,
            };
            let answered = Box::new(move |answer| done.tell(answer));
            let call = desk::group::Call::of_back_end(caller, call, refused, answered);
            // There is no room: whoever waits hears that nobody answers.
            let _ = tasks.push(vec![Task::Group(Box::new(call))]);
        };
        self.ask(Question { app, command, event, seq: 0, time_ms: self.now_ms() }, Box::new(decided));
        pending
    }

    /// A group that exists.
    ///
    /// # Errors
    /// 10015, 10010, 10002.
    pub(super) fn group(&self, key: &GroupKey) -> Result<SharedGroup, Failure> {
        self.shared.groups.find(key).map_err(|error| no_groups(&error))?.ok_or_else(gone)
    }

    /// The group in whose conversation, or in that of whose topic, something is said.
    ///
    /// # Errors
    /// 10010, 110003, 10002.
    pub(super) fn home(&self, at: &GroupKey) -> Result<SharedGroup, Failure> {
        self.shared.groups.find_home(at).map_err(|error| no_groups(&error))?.ok_or_else(|| gone_at(at))
    }

    /// Whether communities of an App may have topics.
    pub fn has_topics(&self, app: AppId) -> bool {
        self.shared.settings(app).config.groups.topics
    }

    /// Lets `look` see things as they are now, by all rights.
    pub(super) fn with_ctx<T>(&self, look: impl FnOnce(&Ctx<'_>) -> T) -> T {
        let nobody = BTreeMap::new();
        let rules = self.shared.groups.rules();
        let apps = self.shared.apps();
        look(&Ctx { rules, apps, now_ms: self.now_ms(), head: 0, people: &nobody, present: false })
    }
}

fn too_often() -> Failure {
    Failure::later(code::TOO_OFTEN, "too much is waiting, try again", 1000)
}

/// The key of a group that a back end names.
///
/// # Errors
/// 10015.
pub(super) fn group_key(app: AppId, id: &str) -> Result<GroupKey, Failure> {
    GroupKey::new(app, id).map_err(|error| Failure::new(code::BAD_ID, format!("GroupId: {error}")))
}

/// The key of a user that a back end names.
///
/// # Errors
/// 10004.
pub(super) fn user_key(app: AppId, name: &str) -> Result<UserKey, Failure> {
    UserKey::new(app, name).map_err(|error| Failure::new(code::BAD_PARAMETER, format!("the user: {error}")))
}
