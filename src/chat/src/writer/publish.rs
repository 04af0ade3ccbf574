//! What goes to topics once it is stored.

use bytes::{Bytes, BytesMut};
use nearport_trunk::local::LinkId;
use nearport_trunk::{Down, SessionId, Topic};
use nearport_wire::body::{
    Delivery, Event, GroupChange, Message, RawDelivery, ReadEvent, encode_delivery, event,
};
use nearport_wire::{Kind, Lane};
use prost::Message as _;

use super::Online;
use super::amend::Changing;
use crate::downs::Downs;
use crate::kept::{Kept, addressed};
use crate::key::{ConvKind, UserKey};
use crate::ledger::{Append, Appended, Edit, Edited};
use crate::registry::Registry;
use crate::reply::With;

/// A `Delivery` that is encoded at the first use and then shared: often nobody is online.
pub(super) struct Shared {
    delivery: RawDelivery,
    encoded: Option<Bytes>,
}

impl Shared {
    pub(super) fn new(message: Bytes, seq: u64, time_ms: u64, edit: u64) -> Self {
        let delivery = RawDelivery { seq, time_ms, edit, message: Some(message), ..RawDelivery::default() };
        Self { delivery, encoded: None }
    }

    fn bytes(&mut self) -> Bytes {
        let encode = || {
            let mut out = BytesMut::new();
            encode_delivery(&self.delivery, &mut out);
            out.freeze()
        };
        self.encoded.get_or_insert_with(encode).clone()
    }
}

/// Sends to topics, one copy per link with interest.
pub(super) struct Publisher<'a> {
    pub(super) registry: &'a mut Registry,
    pub(super) links: Vec<LinkId>,
    pub(super) count: u64,
    pub(super) out: &'a mut Downs,
}

impl Publisher<'_> {
    /// A stored message, to the owner of each log, or to its group. A duplicate was published when it was stored.
    pub(super) fn appended(&mut self, append: &Append, done: &Appended, sender: Option<SessionId>) {
        if done.duplicate {
            return;
        }
        if append.conv.is_pushes() {
            return self.pushed(append, &done.positions, done.time_ms);
        }
        let message = Kept::open(&append.body).message;
        let mut delivery = Shared::new(message, done.seq, done.time_ms, 0);
        if append.conv.is_group() {
            let topic = append.conv.topic();
            self.group(&topic, Kind::GROUP_PUSH, done.seq, &mut delivery, sender);
        }
        for (owner, position) in append.logs.iter().zip(&done.positions) {
            self.message(owner, *position, sender, &mut delivery);
        }
    }

    /// What is pushed to many, to each as if it were for her alone; it has a place in no conversation of theirs. Without positions it is not stored.
    pub(super) fn pushed(&mut self, append: &Append, positions: &[u64], time_ms: u64) {
        let message = Kept::open(&append.body).message;
        for (at, owner) in append.logs.iter().enumerate() {
            let position = positions.get(at).copied().unwrap_or_default();
            if let Some(topic) = self.reach(owner, position, None) {
                let mut delivery = Shared::new(addressed(&message, owner), 0, time_ms, 0);
                self.publish(&topic, Kind::PUSH, position, &delivery.bytes(), None);
            }
        }
    }

    /// A changed message, to all that have it, the session that asked included: its log has grown too.
    pub(super) fn changed(&mut self, edit: &Edit, changing: &Changing, done: &Edited) {
        let Changing { seq, time_ms, message, .. } = changing;
        if changing.silent {
            return;
        }
        if let ConvKind::Group(group) = edit.conv.kind() {
            self.registry.reach_topic(&group.topic(), &mut self.links);
            if self.links.is_empty() {
                return;
            }
            let message = Message::decode(message.clone()).ok();
            let (seq, time_ms, edit) = (*seq, *time_ms, done.edit);
            let delivery = Delivery { message, seq, time_ms, edit, ..Delivery::default() };
            let change = GroupChange { group: group.id().to_owned(), delivery: Some(delivery) };
            let event = Event { event: Some(event::Event::GroupChange(change)) };
            self.publish(&group.topic(), Kind::EVENT, 0, &event.encode_to_vec().into(), None);
            return;
        }
        let mut delivery = Shared::new(message.clone(), *seq, *time_ms, done.edit);
        for (owner, position) in edit.logs.iter().zip(&done.positions) {
            self.message(owner, *position, None, &mut delivery);
        }
    }

    /// A message to all sessions of `owner` but the one that sent it, which has its reply.
    pub(super) fn message(
        &mut self,
        owner: &UserKey,
        position: u64,
        sender: Option<SessionId>,
        delivery: &mut Shared,
    ) {
        if let Some(topic) = self.reach(owner, position, sender) {
            self.publish(&topic, Kind::PUSH, position, &delivery.bytes(), sender);
        }
    }

    /// A message that is not stored.
    pub(super) fn online(&mut self, to: &Online, delivery: &mut Shared, sender: SessionId) {
        match to {
            Online::Users(users) => {
                users.iter().for_each(|user| self.message(user, 0, Some(sender), delivery));
            }
            Online::Group(group) => {
                self.group(&group.topic(), Kind::GROUP_PUSH, 0, delivery, Some(sender));
            }
        }
    }

    /// A message to all sessions that hear a group, but one.
    pub(super) fn group(
        &mut self,
        topic: &Topic,
        kind: Kind,
        id: u64,
        delivery: &mut Shared,
        except: Option<SessionId>,
    ) {
        self.registry.reach_topic(topic, &mut self.links);
        if !self.links.is_empty() {
            self.publish(topic, kind, id, &delivery.bytes(), except);
        }
    }

    /// An event to all sessions of a user but one, if one has caused it.
    pub(super) fn event(&mut self, user: &UserKey, event: &Event, except: Option<SessionId>) {
        if let Some(topic) = self.reach(user, 0, except) {
            self.publish(&topic, Kind::EVENT, 0, &event.encode_to_vec().into(), except);
        }
    }

    /// A moved read cursor: of a pair to both sides, else to the reader's other sessions.
    pub(super) fn read(&mut self, reader: &UserKey, with: &With, seq: u64, by: Option<SessionId>) {
        let mut event = ReadEvent { user: reader.name().to_owned(), seq, ..ReadEvent::default() };
        let peer = match with {
            With::User(peer) => {
                peer.name().clone_into(&mut event.peer);
                Some(peer).filter(|peer| *peer != reader)
            }
            With::Group(group) => {
                group.id().clone_into(&mut event.group);
                None
            }
            With::Notices => {
                event.notices = true;
                None
            }
        };
        let body = Bytes::from(event.encode_to_vec());
        for side in std::iter::once(reader).chain(peer) {
            if let Some(topic) = self.reach(side, 0, by) {
                self.publish(&topic, Kind::READ_EVENT, 0, &body, by);
            }
        }
    }

    /// Finds the links; `None` if nobody but `except` is there.
    fn reach(&mut self, user: &UserKey, position: u64, except: Option<SessionId>) -> Option<Topic> {
        self.registry.reach(user, position, except, &mut self.links);
        if self.links.is_empty() { None } else { self.registry.topic(user) }
    }

    fn publish(&mut self, topic: &Topic, kind: Kind, id: u64, body: &Bytes, except: Option<SessionId>) {
        self.count += self.links.len() as u64;
        for link in &self.links {
            let (topic, body) = (topic.clone(), body.clone());
            let down = Down::Publish { topic, lane: Lane::Chat, kind, id, body, except };
            self.out.push(*link, down);
        }
    }
}
