//! After the commit: answers, then publishes.

use bytes::{Bytes, BytesMut};
use nearport_trunk::local::LinkId;
use nearport_trunk::{Down, SessionId, Topic};
use nearport_wire::body::{Empty, RawDelivery, ReadEvent, Sent, encode_delivery};
use nearport_wire::{Kind, Lane, code};
use prost::Message as _;

use super::{Order, Prepared, What, Writer};
use crate::downs::Downs;
use crate::key::UserKey;
use crate::ledger::{Append, Appended, Committed, LedgerError};
use crate::registry::Registry;
use crate::reply::{Failure, ReplyTo};

/// When a client whose message could not be stored tries again. The ledger needs an operator or a restart.
const STORE_RETRY_MS: u32 = 5000;

impl Writer {
    /// Answers the requests of `prepared` and publishes what is new.
    ///
    /// After an error every request that had something to store gets ERROR 20005 and nothing of it is published: its
    /// messages may or may not exist, and the same `client_msg_id` later finds out. Online-only messages go out in
    /// either case, they promise nothing.
    pub fn finish(&mut self, prepared: Prepared, outcome: Result<Committed, LedgerError>, out: &mut Downs) {
        let Prepared { batch, orders, posts } = prepared;
        let metrics = &self.shared.metrics;
        let mut failed = None;
        let outcome = outcome.and_then(|Committed { appended, edited: _ }| {
            // An engine that answers less than it was asked must not leave a request without an answer.
            let (want, got) = (batch.appends.len(), appended.len());
            if want == got {
                Ok(appended)
            } else {
                Err(LedgerError::Io(format!("{got} outcomes for {want} appends")))
            }
        });
        let appended = match outcome {
            Ok(appended) => {
                let items = batch.items();
                if items > 0 {
                    metrics.commit_items.record(items as f64);
                }
                Some(appended)
            }
            Err(error) => {
                tracing::error!(%error, messages = batch.appends.len(), cursors = batch.cursors.len(), "commit failed");
                metrics.not_stored.increment(batch.appends.len() as u64);
                failed = Some(error);
                None
            }
        };
        let failure =
            Failure::later(code::INTERNAL, "the store takes no writes, try again later", STORE_RETRY_MS);
        let mut stored = batch.appends.iter().zip(appended.iter().flatten());
        let mut registry = self.shared.registry();
        let mut publisher = Publisher { registry: &mut registry, links: Vec::new(), count: 0, out };
        for Order { reply_to, what } in orders {
            match what {
                What::OnlineOnly { random, time_ms, owners, message } => {
                    metrics.online_only.increment(1);
                    let sent = Sent { time_ms, msg_key: msg_key(0, random, time_ms), ..Sent::default() };
                    reply_to.reply(sent.encode_to_vec().into(), publisher.out);
                    let mut delivery = Shared::new(&message, 0, time_ms);
                    owners
                        .iter()
                        .for_each(|owner| publisher.message(owner, 0, Some(reply_to.session), &mut delivery));
                }
                _ if appended.is_none() => {
                    #[cfg(nearport_bug = "ack_before_commit")]
                    if matches!(what, What::Send { .. }) {
                        continue;
                    }
                    reply_to.fail(&failure, metrics, publisher.out);
                }
                What::Send { random } => {
                    let (append, done) = stored.next().expect("one append per Send order, counted above");
                    if done.duplicate {
                        metrics.duplicates.increment(1)
                    } else {
                        metrics.stored.increment(1)
                    }
                    #[cfg(not(nearport_bug = "ack_before_commit"))]
                    reply_to.sent(random, done, publisher.out);
                    #[cfg(nearport_bug = "ack_before_commit")]
                    let _ = random;
                    publisher.appended(append, done, Some(reply_to.session));
                }
                What::MarkRead { reader, peer, seq } => {
                    reply_to.reply(Empty {}.encode_to_vec().into(), publisher.out);
                    if seq > 0 {
                        publisher.read(&reader, &peer, seq, Some(reply_to.session));
                    }
                }
                What::Flush => reply_to.reply(Bytes::new(), publisher.out),
            }
        }
        // Posts stand behind the messages of all requests.
        for done in posts {
            match (&failed, stored.next()) {
                (None, Some((append, outcome))) => {
                    if let Some(done) = done {
                        done(Ok(outcome));
                    }
                    publisher.appended(append, outcome, None);
                }
                (Some(error), _) => {
                    if let Some(done) = done {
                        done(Err(error));
                    }
                }
                (None, None) => unreachable!("as many outcomes as appends, counted above"),
            }
        }
        metrics.publishes.increment(publisher.count);
    }

    /// The planted bug: says "stored" before anything is. The numbers are guessed from what is stored now.
    #[cfg(nearport_bug = "ack_before_commit")]
    pub(super) fn answer_too_early(&self, prepared: &Prepared, out: &mut Downs) {
        use std::collections::BTreeMap;
        let (mut heads, mut log_heads) = (BTreeMap::new(), BTreeMap::new());
        let mut appends = prepared.batch.appends.iter();
        for Order { reply_to, what } in &prepared.orders {
            let What::Send { random } = what else { continue };
            let append = appends.next().expect("one append per Send order");
            let ledger = &self.shared.ledger;
            let head =
                heads.entry(append.conv.clone()).or_insert_with(|| ledger.head(&append.conv).unwrap_or(0));
            *head += 1;
            let owner = &append.logs[0];
            let log = log_heads.entry(owner.clone()).or_insert_with(|| ledger.log_head(owner).unwrap_or(0));
            *log += 1;
            let done =
                Appended { seq: *head, time_ms: append.time_ms, positions: vec![*log], duplicate: false };
            reply_to.sent(*random, &done, out);
        }
        out.flush();
    }
}

impl ReplyTo {
    /// The acknowledgement of a stored message.
    fn sent(self, random: u32, done: &Appended, out: &mut Downs) {
        let sent = Sent {
            seq: done.seq,
            time_ms: done.time_ms,
            msg_key: msg_key(done.seq, random, done.time_ms),
            duplicate: done.duplicate,
            position: done.positions.first().copied().unwrap_or_default(),
        };
        self.reply(sent.encode_to_vec().into(), out);
    }
}

/// `MsgKey` of the public contract. `random` is the first four bytes of `client_msg_id`.
fn msg_key(seq: u64, random: u32, time_ms: u64) -> String {
    format!("{seq}_{random}_{}", time_ms / 1000)
}

/// A `Delivery` that is encoded at the first use and then shared: often nobody is online.
struct Shared<'a> {
    message: &'a Bytes,
    seq: u64,
    time_ms: u64,
    encoded: Option<Bytes>,
}

impl<'a> Shared<'a> {
    fn new(message: &'a Bytes, seq: u64, time_ms: u64) -> Self {
        Self { message, seq, time_ms, encoded: None }
    }

    fn bytes(&mut self) -> Bytes {
        let encode = || {
            let mut out = BytesMut::new();
            let message = Some(self.message.clone());
            let (seq, time_ms) = (self.seq, self.time_ms);
            encode_delivery(&RawDelivery { seq, time_ms, message, ..RawDelivery::default() }, &mut out);
            out.freeze()
        };
        self.encoded.get_or_insert_with(encode).clone()
    }
}

/// Sends to topics, one copy per link with interest.
struct Publisher<'a> {
    registry: &'a mut Registry,
    links: Vec<LinkId>,
    count: u64,
    out: &'a mut Downs,
}

impl Publisher<'_> {
    /// A stored message, to the owner of each log. A duplicate was published when it was stored.
    fn appended(&mut self, append: &Append, done: &Appended, sender: Option<SessionId>) {
        if done.duplicate {
            return;
        }
        let mut delivery = Shared::new(&append.body, done.seq, done.time_ms);
        for (owner, position) in append.logs.iter().zip(&done.positions) {
            self.message(owner, *position, sender, &mut delivery);
        }
    }

    /// A message to all sessions of `owner` but the one that sent it, which has its reply.
    fn message(
        &mut self,
        owner: &UserKey,
        position: u64,
        sender: Option<SessionId>,
        delivery: &mut Shared<'_>,
    ) {
        if let Some(topic) = self.reach(owner, position, sender) {
            self.publish(&topic, Kind::PUSH, position, &delivery.bytes(), sender);
        }
    }

    /// A moved read cursor, to both sides.
    fn read(&mut self, reader: &UserKey, peer: &UserKey, seq: u64, by: Option<SessionId>) {
        let (user, peer_name) = (reader.name().to_owned(), peer.name().to_owned());
        let event = ReadEvent { user, peer: peer_name, seq, ..ReadEvent::default() };
        let body = Bytes::from(event.encode_to_vec());
        let sides = if reader == peer { &[reader][..] } else { &[reader, peer] };
        for side in sides {
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
