//! What the requests of one batch share.

use std::collections::BTreeMap;
use std::sync::PoisonError;

use aws_lc_rs::digest;
use bytes::Bytes;
use nearport_trunk::{Down, SessionId, Topic};
use nearport_wire::body::{
    self, Content, Element, Event, GroupEvent, Target, element, event, group_event, target,
};
use nearport_wire::{Kind, Lane};
use prost::Message as _;

use super::told::{Before, Telling};
use super::unreadable;
use crate::actor::Actor;
use crate::callback;
use crate::desk::Caller;
use crate::directory::DirectoryError;
use crate::downs::Downs;
use crate::group::{Change, Ctx, Effects, Group, GroupChange, SharedGroup, gone};
use crate::key::{AppId, ConvKey, GroupKey, UserKey};
use crate::ledger::{Append, IdemKey};
use crate::numbers::Count;
use crate::posts::Post;
use crate::registry::Registry;
use crate::reply::Failure;
use crate::shared::Shared;

/// Who sends tips and notices, as the public contract has it.
pub(crate) const SYSTEM: &str = "@TIM#SYSTEM";

/// Users whose sessions join or leave a topic while the registry is locked once.
const USERS_PER_LOCK: usize = 256;

/// The requests of one batch, on the groups as they are after each other.
pub(super) struct Turn<'a> {
    pub(super) shared: &'a Shared,
    pub(super) now_ms: u64,
    /// Groups that were changed. Those that were dismissed say so.
    touched: BTreeMap<GroupKey, SharedGroup>,
    changes: Vec<GroupChange>,
    posts: Vec<Post>,
    /// For back ends, once the changes are on disk.
    events: Vec<(AppId, callback::Event)>,
    /// Back ends hear nothing: of imports.
    quiet: bool,
    /// Counted once the changes are on disk.
    counted: Vec<(AppId, Count, u64)>,
}

/// What is left to be done about a request once its changes are on disk.
pub(super) struct After {
    group: SharedGroup,
    effects: Effects,
}

/// What the system says, as a message.
pub(super) struct SystemMessage {
    pub(super) sender: UserKey,
    pub(super) client_msg_id: [u8; 16],
    pub(super) message: body::Message,
}

impl SystemMessage {
    fn post(self, conv: ConvKey, logs: Vec<UserKey>, time_ms: u64) -> Post {
        let idem = IdemKey { sender: self.sender, client_msg_id: self.client_msg_id };
        let append =
            Append { conv, idem, logs, time_ms, body: self.message.encode_to_vec().into(), uncounted: false };
        Post { append, done: None }
    }
}

impl<'a> Turn<'a> {
    pub(super) fn new(shared: &'a Shared, now_ms: u64) -> Self {
        Self {
            shared,
            now_ms,
            touched: BTreeMap::new(),
            changes: Vec::new(),
            posts: Vec::new(),
            events: Vec::new(),
            quiet: false,
            counted: Vec::new(),
        }
    }

    /// A group as the requests before have left it.
    pub(super) fn find(&self, key: &GroupKey) -> Result<Option<SharedGroup>, Failure> {
        // What can be done with a group cannot with a topic of one.
        if key.is_topic() {
            return Ok(None);
        }
        if let Some(group) = self.touched.get(key) {
            let dismissed = group.read().unwrap_or_else(PoisonError::into_inner).is_dismissed();
            return Ok((!dismissed).then(|| group.clone()));
        }
        self.shared.groups.find(key).map_err(|error| unreadable(&error))
    }

    /// What an operation knows beside the group. `present`: see [`Self::present`].
    pub(super) fn ctx<'b>(&'b self, head: u64, people: &'b BTreeMap<UserKey, u32>, present: bool) -> Ctx<'b> {
        let (rules, apps) = (self.shared.groups.rules(), self.shared.apps());
        Ctx { rules, apps, now_ms: self.now_ms, head, people, present }
    }

    /// Whether `caller` has joined the group, if it is a live room: of others the rows say who is in them.
    fn present(&self, group: &Group, caller: &Caller) -> bool {
        !group.kind().stored_members
            && caller.actor().user().is_some_and(|user| self.shared.rooms.is_in(group.key(), user))
    }

    /// Lets `ask` look at a group.
    pub(super) fn look<T>(
        &self,
        caller: &Caller,
        key: &GroupKey,
        ask: impl FnOnce(&Group, &Ctx<'_>) -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        let group = self.find(key)?.ok_or_else(gone)?;
        let group = group.read().unwrap_or_else(PoisonError::into_inner);
        ask(&group, &self.ctx(0, &BTreeMap::new(), self.present(&group, caller)))
    }

    /// Lets `operate` change a group. `people` are those whom the request would make members.
    pub(super) fn change<T>(
        &mut self,
        caller: &Caller,
        key: &GroupKey,
        people: &BTreeMap<UserKey, u32>,
        operate: impl FnOnce(&Group, &Ctx<'_>, Actor<'_>, &mut Effects) -> Result<T, Failure>,
    ) -> Result<(T, Option<After>), Failure> {
        let group = self.find(key)?.ok_or_else(gone)?;
        // Only who becomes a member asks where the conversation stands.
        let head = match people.is_empty() {
            true => 0,
            false => self.shared.groups.head(key).map_err(|error| unreadable(&error))?,
        };
        let mut effects = Effects::default();
        let value = {
            let group = group.read().unwrap_or_else(PoisonError::into_inner);
            let ctx = self.ctx(head, people, self.present(&group, caller));
            operate(&group, &ctx, caller.actor(), &mut effects)?
        };
        Ok((value, Some(self.take(caller, key, group, effects))))
    }

    /// Notes the changes of `effects`, which hold in memory from here on.
    fn take(&mut self, caller: &Caller, key: &GroupKey, group: SharedGroup, mut effects: Effects) -> After {
        let changes = std::mem::take(&mut effects.changes);
        if !changes.is_empty() {
            {
                let mut group = group.write().unwrap_or_else(PoisonError::into_inner);
                let wanted = !self.quiet && Telling::is_wanted(&self.shared.callbacks, key);
                let before = wanted.then(|| Before::new(&group, &changes));
                self.counted.extend(counted(&group, &changes));
                changes.iter().for_each(|change| group.apply(change, self.now_ms));
                if let Some(before) = before {
                    self.tell_back_end(caller, key, |telling| telling.changed(&before, &group, &changes));
                }
            }
            self.touched.insert(key.clone(), group.clone());
            self.changes.push(GroupChange { group: key.clone(), changes });
        }
        After { group, effects }
    }

    /// Collects events for the back end of the App.
    pub(super) fn tell_back_end(
        &mut self,
        caller: &Caller,
        key: &GroupKey,
        tell: impl FnOnce(&mut Telling<'_>),
    ) {
        let mut events = Vec::new();
        let callbacks = &self.shared.callbacks;
        tell(&mut Telling { callbacks, caller, key, events: &mut events });
        self.events.extend(events.into_iter().map(|event| (key.app(), event)));
    }

    /// Back ends hear nothing of the requests from here on, or hear of them again.
    pub(super) fn keep_quiet(&mut self, quiet: bool) {
        self.quiet = quiet;
    }

    /// Tells what has changed no row: what was refused, and who comes and goes in live rooms.
    fn send_events(&mut self) {
        for (app, event) in std::mem::take(&mut self.events) {
            self.shared.callbacks.tell(app, &event, self.now_ms);
        }
    }

    /// A new group.
    pub(super) fn add(&mut self, caller: &Caller, group: Group, mut effects: Effects) -> After {
        let (key, changes) = (group.key().clone(), std::mem::take(&mut effects.changes));
        debug_assert!(matches!(changes.first(), Some(Change::Create(_))), "a group begins with its creation");
        if !self.quiet && Telling::is_wanted(&self.shared.callbacks, &key) {
            self.tell_back_end(caller, &key, |telling| telling.created(&group, &changes));
        }
        self.counted.push((key.app(), Count::GroupsMade, 1));
        let group = SharedGroup::new(group.into());
        self.touched.insert(key.clone(), group.clone());
        self.changes.push(GroupChange { group: key, changes });
        After { group, effects }
    }

    /// Writes what has changed.
    pub(super) fn commit(&mut self) -> Result<(), DirectoryError> {
        let changes = std::mem::take(&mut self.changes);
        let touched = std::mem::take(&mut self.touched);
        if changes.is_empty() {
            self.send_events();
            return Ok(());
        }
        let events = std::mem::take(&mut self.events).into_iter();
        let events: Vec<_> = events.map(|(app, event)| event.pending(app, self.now_ms)).collect();
        let written = self.shared.directory.change_groups_and_tell(&changes, &events);
        for (key, group) in &touched {
            match &written {
                Ok(()) => self.shared.groups.settle(key, group),
                Err(_) => self.shared.groups.forget(key),
            }
        }
        let counted = std::mem::take(&mut self.counted);
        // Of what failed something may be there all the same: then its events are told after the next start.
        if written.is_ok() {
            for (app, count, n) in counted {
                self.shared.numbers.count(app, count, n, self.now_ms);
            }
            self.shared.callbacks.tell_pending(events);
        }
        written
    }

    /// Sessions of who has become a member hear the group; this stands before the reply and before any message.
    pub(super) fn subscribe(&self, after: &After, out: &mut Downs) {
        let topic = after.group.read().unwrap_or_else(PoisonError::into_inner).key().topic();
        for users in after.effects.joined.chunks(USERS_PER_LOCK) {
            let mut registry = self.shared.registry();
            let sessions: Vec<_> = users.iter().flat_map(|user| registry.sessions_of(user)).collect();
            for (session, _) in sessions {
                if let Some(link) = registry.join_topic(session, &topic) {
                    out.push(link, Down::Join { session, topic: topic.clone() });
                }
            }
            // Before the lock goes: what is published to the topic from here on must stand behind the `Join`.
            out.flush();
        }
    }

    /// Hints, then who left ceases to hear, then tips and notices.
    pub(super) fn tell(&mut self, caller: &Caller, after: After, out: &mut Downs) {
        let Effects { tips, topic_tips, topics, notices, event, behind, joined, left, .. } = after.effects;
        let group = after.group.read().unwrap_or_else(PoisonError::into_inner);
        let (key, topic, info_seq) = (group.key(), group.key().topic(), group.info().info_seq);
        let shown = group.is_active();
        let room = !group.kind().stored_members;
        if let Some(what) = event.filter(|_| shown) {
            let body = event_body(key, what, info_seq, Vec::new());
            match room {
                true => self.shared.rooms.hint(key, &body, out),
                false => self.publish(&topic, &body, caller.session(), out),
            }
        }
        if !topics.is_empty() {
            let body = event_body(key, group_event::What::Topics, info_seq, topics);
            // Who has caused it is told like all: their device has to follow the topic too.
            self.publish(&topic, &body, None, out);
        }
        if shown && event != Some(group_event::What::Gone) {
            // The last one to leave ends the group, and stays a member of what was.
            let what = |user: &UserKey| match group.member(user) {
                Some(_) if !group.is_dismissed() => group_event::What::Joined,
                _ => group_event::What::Gone,
            };
            let mut registry = self.shared.registry();
            for user in joined.iter().chain(&left).chain(&behind) {
                self.hint(&mut registry, user, event_body(key, what(user), info_seq, Vec::new()), out);
            }
        }
        for users in left.chunks(USERS_PER_LOCK) {
            let mut registry = self.shared.registry();
            let sessions: Vec<_> = users.iter().flat_map(|user| registry.sessions_of(user)).collect();
            for (session, _) in sessions {
                if let Some(link) = registry.leave_topic(session, &topic) {
                    out.push(link, Down::Leave { session, topic: topic.clone() });
                }
            }
            out.flush();
        }
        if room {
            super::rooms::tell(self, (caller, &group), &left, tips, out);
            self.send_events();
            if group.is_dismissed() {
                self.shared.rooms.dismiss(key, out);
            }
        } else {
            for tip in tips {
                let said = self.system_says(key, to_group(key), element::Element::Tip(tip));
                self.posts.extend(said.map(|said| said.post(key.conv(), Vec::new(), self.now_ms)));
            }
        }
        for (at, tip) in topic_tips {
            let said = self.system_says(&at, to_group(&at), element::Element::Tip(tip));
            self.posts.extend(said.map(|said| said.post(at.conv(), Vec::new(), self.now_ms)));
        }
        for (user, notice) in notices {
            let to = target::Target::User(user.name().to_owned());
            let said = self.system_says(key, to, element::Element::Notice(notice));
            let conv = ConvKey::notices(&user);
            self.posts.extend(said.map(|said| said.post(conv, vec![user], self.now_ms)));
        }
        drop(group);
        self.post();
    }

    /// A hint to all sessions that hear the group, but one.
    fn publish(&self, topic: &Topic, body: &Bytes, except: Option<SessionId>, out: &mut Downs) {
        let mut links = Vec::new();
        self.shared.registry().reach_topic(topic, &mut links);
        for link in links {
            out.push(link, publish(topic, body.clone(), except));
        }
    }

    /// A hint to all sessions of a user.
    fn hint(&self, registry: &mut Registry, user: &UserKey, body: Bytes, out: &mut Downs) {
        let Some(topic) = registry.topic(user) else { return };
        let mut links = Vec::new();
        registry.reach(user, 0, None, &mut links);
        for link in links {
            out.push(link, publish(&topic, body.clone(), None));
        }
    }

    /// A message of the system's about a group.
    pub(super) fn system_says(
        &self,
        group: &GroupKey,
        to: target::Target,
        element: element::Element,
    ) -> Option<SystemMessage> {
        // A name of printable ASCII, so this never fails.
        let sender = UserKey::new(group.app(), SYSTEM).ok()?;
        let content = Content { elements: vec![Element::from(element)], ..Content::default() };
        let client_msg_id = self.message_id(group, &content);
        let message = body::Message {
            from: SYSTEM.to_owned(),
            to: Some(Target { target: Some(to) }),
            client_msg_id: client_msg_id.to_vec().into(),
            content: Some(content),
            ..body::Message::default()
        };
        Some(SystemMessage { sender, client_msg_id, message })
    }

    /// An id that no other message of the system has: of the group, the time, a number of this process, and what is said, for
    /// the numbers begin again with the process.
    fn message_id(&self, group: &GroupKey, content: &Content) -> [u8; 16] {
        let mut digest = digest::Context::new(&digest::SHA256);
        digest.update(group.as_bytes());
        digest.update(&self.now_ms.to_be_bytes());
        digest.update(&self.shared.groups.next_number().to_be_bytes());
        digest.update(&content.encode_to_vec());
        let mut id = [0; 16];
        id.copy_from_slice(&digest.finish().as_ref()[..16]);
        id
    }

    /// Hands tips and notices to the writer. One that finds no room is lost, and counted: what it says can be read from the
    /// group, which is the truth about it.
    fn post(&mut self) {
        let posts = std::mem::take(&mut self.posts);
        if posts.is_empty() {
            return;
        }
        let lost = self.shared.posts.push(posts).len();
        if lost > 0 {
            tracing::warn!(lost, "tips and notices found no room at the writer");
            self.shared.metrics.posts_lost.increment(lost as u64);
        }
    }
}

/// What changes of a group count as, which has not changed yet.
fn counted(group: &Group, changes: &[Change]) -> Vec<(AppId, Count, u64)> {
    let (mut joins, mut quits, mut ends) = (0, 0, 0);
    for change in changes {
        match change {
            Change::PutMember(user, _) => joins += u64::from(group.member(user).is_none()),
            Change::RemoveMember(user) => quits += u64::from(group.member(user).is_some()),
            Change::Dismiss => ends += 1,
            _ => {}
        }
    }
    let app = group.key().app();
    let all = [(Count::GroupJoins, joins), (Count::GroupQuits, quits), (Count::GroupsEnded, ends)];
    all.into_iter().filter(|(_, n)| *n > 0).map(|(count, n)| (app, count, n)).collect()
}

pub(super) fn to_group(key: &GroupKey) -> target::Target {
    target::Target::Group(key.id().to_owned())
}

fn event_body(
    key: &GroupKey,
    what: group_event::What,
    info_seq: u64,
    topics: Vec<body::GroupTopicChange>,
) -> Bytes {
    let event = GroupEvent { group: key.id().to_owned(), what: what.into(), info_seq, topics };
    Event { event: Some(event::Event::Group(event)) }.encode_to_vec().into()
}

fn publish(topic: &Topic, body: Bytes, except: Option<SessionId>) -> Down {
    Down::Publish { topic: topic.clone(), lane: Lane::Chat, kind: Kind::EVENT, id: 0, body, except }
}
