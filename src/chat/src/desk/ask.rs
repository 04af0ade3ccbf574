//! What back ends are asked before something happens to groups and friendships.

use bytes::Bytes;
use nearport_wire::body::people_answer::Answer;
use nearport_wire::body::people_call::Call;
use nearport_wire::body::{
    self, FriendAddType, FriendApplicationAnswerType, GroupCall, PeopleAnswer, PeopleCall, PeopleResult,
    PeopleResults, group_call,
};
use nearport_wire::{Kind, code};
use prost::Message as _;
use serde_json::{Value, json};

use super::{Caller, Desk, group, people};
use crate::callback::{Command, Event, Question, Verdict};
use crate::downs::Downs;
use crate::group::Role;
use crate::key::{GroupKey, UserKey};
use crate::reply::{Failure, ReplyTo};
use crate::shared::Shared;

/// When a client tries again whose back end has too many open questions.
const BUSY_RETRY_MS: u32 = 500;

/// What a back end leaves out of what was asked for: names, codes, texts.
pub(crate) type Refused = Vec<(String, u32, String)>;

/// A request of a client.
#[derive(Debug)]
pub(super) struct Request {
    pub(super) caller: Caller,
    pub(super) reply_to: ReplyTo,
    pub(super) kind: Kind,
    pub(super) body: Bytes,
    /// What the back end has said of it.
    pub(super) verdict: Option<Verdict>,
}

fn busy() -> Failure {
    Failure::later(code::TOO_MANY_REQUESTS, "the app's back end is being asked too much", BUSY_RETRY_MS)
}

impl Desk {
    /// What waited for an answer that has come, with what stands behind it.
    pub(super) fn released(&mut self) -> Vec<Request> {
        let mut ready = Vec::new();
        for (ticket, verdict) in self.shared.callbacks.desk.take() {
            let mut verdict = Some(verdict);
            let held = self.gate.open(ticket).into_iter();
            ready.extend(held.map(|held| Request { verdict: verdict.take(), ..held }));
        }
        ready
    }

    /// Gives the request back if it is to be carried out now. Otherwise it waits, or was answered.
    pub(super) fn may_go(
        &mut self,
        request: Request,
        now_ms: u64,
        out: &mut Downs,
    ) -> Option<(Request, Refused)> {
        let (session, reply_to) = (request.reply_to.session, request.reply_to);
        if self.gate.holds(session) {
            if self.gate.hold(session, request).is_err() {
                reply_to.fail(&busy(), &self.shared.metrics, out);
            }
            return None;
        }
        match &request.verdict {
            Some(Verdict::Refuse { code, info }) => {
                reply_to.fail(&Failure::new(*code, info.clone()), &self.shared.metrics, out);
                return None;
            }
            // Only messages are dropped.
            Some(Verdict::Drop) => return Some((request, Refused::new())),
            Some(Verdict::Go { refused, .. }) => {
                let refused = refused.clone();
                return Some((request, refused));
            }
            None => {}
        }
        let Some((command, event)) = self.question(&request) else { return Some((request, Refused::new())) };
        let question = Question { app: request.caller.app, command, event, seq: 0, time_ms: now_ms };
        let asked = self.gate.ask(session, request).is_ok_and(|ticket| {
            let to = self.shared.callbacks.desk.clone();
            let asked = self.shared.callbacks.ask_for(&to, ticket, question);
            if !asked {
                self.gate.open(ticket);
            }
            asked
        });
        if !asked {
            reply_to.fail(&busy(), &self.shared.metrics, out);
        }
        None
    }

    /// Requests that wait for back ends are refused: the backend ends.
    pub(crate) fn let_go(&mut self, out: &mut Downs) {
        for request in self.gate.clear() {
            request.reply_to.fail(&busy(), &self.shared.metrics, out);
        }
    }

    fn question(&self, request: &Request) -> Option<(Command, Event)> {
        let caller = &request.caller;
        // Who has no account only hears live rooms.
        if caller.is_guest() {
            return None;
        }
        let question = match request.kind {
            Kind::GROUP if wants(&self.shared, caller, &GROUP_COMMANDS) => {
                group_question(&self.shared, caller, &GroupCall::decode(request.body.clone()).ok()?.call?)?
            }
            Kind::PEOPLE if wants(&self.shared, caller, &FRIEND_COMMANDS) => {
                friends(caller, PeopleCall::decode(request.body.clone()).ok()?.call?)?
            }
            _ => return None,
        };
        self.shared.callbacks.wants(caller.app, question.0).then_some(question)
    }
}

const GROUP_COMMANDS: [Command; 4] = [
    Command::BeforeCreateGroup,
    Command::BeforeApplyJoin,
    Command::BeforeInviteJoin,
    Command::BeforeCreateTopic,
];
const FRIEND_COMMANDS: [Command; 2] = [Command::PrevFriendAdd, Command::PrevFriendResponse];

fn wants(shared: &Shared, caller: &Caller, commands: &[Command]) -> bool {
    commands.iter().any(|command| shared.callbacks.wants(caller.app, *command))
}

/// What the back end is asked about a call, if it wants to be.
pub(crate) fn group_question(
    shared: &Shared,
    caller: &Caller,
    call: &group_call::Call,
) -> Option<(Command, Event)> {
    if !wants(shared, caller, &GROUP_COMMANDS) {
        return None;
    }
    let kind_of = |id: &str| {
        let key = GroupKey::new(caller.app, id);
        key.map_or_else(|_| String::new(), |key| shared.kind_of(&key).0)
    };
    let kind_named = |name: &str| {
        shared.groups.rules().types.find(name).map_or_else(String::new, |kind| kind.name.to_owned())
    };
    let own = |owner: &str, kind: &str| own_groups(shared, caller, owner, kind);
    let question = group::told::question(caller, call, (kind_of, kind_named), own)?;
    shared.callbacks.wants(caller.app, question.0).then_some(question)
}

/// Groups of a type that a user has made, about: those that she owns.
fn own_groups(shared: &Shared, caller: &Caller, owner: &str, kind: &str) -> usize {
    let Ok(user) = UserKey::new(caller.app, owner) else { return 0 };
    let joined = shared.directory.groups_of(std::slice::from_ref(&user)).unwrap_or_default();
    let own = joined.into_iter().flatten();
    own.filter(|joined| joined.kind == kind && joined.role == Role::Owner).count()
}

fn friends(caller: &Caller, call: Call) -> Option<(Command, Event)> {
    let by = caller.actor().name();
    let (command, fields) = match call {
        Call::FriendAdd(call) => {
            let kind = match call.r#type() {
                FriendAddType::Single => "Add_Type_Single",
                FriendAddType::Both => "Add_Type_Both",
            };
            let item = |item: &body::FriendAddItem| {
                json!({
                    "To_Account": item.user,
                    "Remark": item.remark,
                    "GroupName": item.group,
                    "AddSource": item.source,
                    "AddWording": item.wording,
                })
            };
            let items: Value = call.items.iter().map(item).collect();
            let fields = json!({
                "Requester_Account": by, "From_Account": by, "FriendItem": items, "AddType": kind, "ForceAddFlags": 0,
            });
            (Command::PrevFriendAdd, fields)
        }
        Call::ApplicationAnswer(call) => {
            let action = match call.r#type() {
                FriendApplicationAnswerType::FriendApplicationAnswerAcceptAndAdd => {
                    "Response_Action_AgreeAndAdd"
                }
                FriendApplicationAnswerType::FriendApplicationAnswerAccept => "Response_Action_Agree",
                FriendApplicationAnswerType::FriendApplicationAnswerReject => "Response_Action_Reject",
            };
            let item = |user: &String| {
                json!({
                    "To_Account": user, "Remark": call.remark, "TagName": call.group, "ResponseAction": action,
                })
            };
            let items: Value = call.users.iter().map(item).collect();
            let fields = json!({ "Requester_Account": by, "From_Account": by, "ResponseFriendItem": items });
            (Command::PrevFriendResponse, fields)
        }
        _ => return None,
    };
    let key = caller.actor().user()?.as_bytes().to_vec();
    Some((command, Event::new(command, &key, caller.origin, &fields)))
}

/// The call without those whom a back end refuses. `None`: nobody is left.
pub(super) fn without(call: &mut group_call::Call, refused: &Refused) -> Option<()> {
    if let group_call::Call::Invite(invite) = call
        && !refused.is_empty()
    {
        invite.users.retain(|user| !refused.iter().any(|(name, ..)| name == user));
        return (!invite.users.is_empty()).then_some(());
    }
    Some(())
}

/// Carries out a request of kind PEOPLE without those whom a back end refuses, who stand in its answer with their codes.
pub(super) fn people_without(
    desk: &Desk,
    caller: &Caller,
    body: Bytes,
    refused: Refused,
    now_ms: u64,
    out: &mut Downs,
) -> Result<Bytes, Failure> {
    let mut call: PeopleCall = crate::reply::decode(body, "people")?;
    let is_left = |user: &String| !refused.iter().any(|(name, ..)| name == user);
    let left = match &mut call.call {
        Some(Call::FriendAdd(call)) => {
            call.items.retain(|item| is_left(&item.user));
            call.items.len()
        }
        Some(Call::ApplicationAnswer(call)) => {
            call.users.retain(is_left);
            call.users.len()
        }
        _ => 1,
    };
    let mut results = match left {
        0 => PeopleResults::default(),
        _ => {
            let answer = people::answer(&desk.shared, caller, call.encode_to_vec().into(), now_ms, out)?;
            match PeopleAnswer::decode(answer.clone()).ok().and_then(|answer| answer.answer) {
                Some(Answer::Results(results)) => results,
                _ => return Ok(answer),
            }
        }
    };
    results.items.extend(refused.into_iter().map(|(id, code, info)| PeopleResult { id, code, info }));
    Ok(PeopleAnswer { answer: Some(Answer::Results(results)) }.encode_to_vec().into())
}
