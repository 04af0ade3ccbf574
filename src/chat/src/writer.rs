//! The writing half of the backend, and the only one that commits.
//!
//! [`Writer`] is a synchronous core. One turn has three steps, which [`Writer::turn`] takes in a row and a simulator
//! may take apart to let time pass, or a crash happen, in between:
//!
//! 1. [`Writer::prepare`] reads the requests into one ledger batch. What is refused is answered at once;
//! 2. the caller commits [`Prepared::batch`] if [`Prepared::needs_commit`];
//! 3. [`Writer::finish`] answers what the commit made true, then publishes it. Nothing of it leaves before.
//!
//! Requests do not wait for each other: one turn takes whatever is waiting, up to `Config::writer_batch_items`.

mod acks;
mod finish;
mod request;

use std::collections::HashMap;
use std::fmt;

use bytes::Bytes;
use nearport_trunk::local::LinkId;
use nearport_trunk::{SessionId, Up};
use nearport_wire::body::Message;
use nearport_wire::{Kind, code};
use prost::Message as _;

use crate::downs::Downs;
use crate::key::{ConvKey, UserKey};
use crate::ledger::{Append, Batch, Committed, CursorMove, CursorName, IdemKey};
use crate::posts::Done;
use crate::reply::{Failure, ReplyTo};
use crate::shared::Shared;

use acks::Acks;
use request::{MarkRead, Request, Send};

/// Does all that writes: SEND, MARK_READ, acks and FLUSH. See the module documentation.
#[derive(Debug)]
pub struct Writer {
    shared: Shared,
    acks: Acks,
    /// Time of the newest message. Message times never go back, whatever the clock does; a restart forgets it.
    last_time_ms: u64,
}

/// A ledger batch with the answers that wait for it.
#[derive(Default)]
pub struct Prepared {
    /// To be committed before [`Writer::finish`].
    pub batch: Batch,
    orders: Vec<Order>,
    /// Of the last [`Batch::appends`]: who hears what became of them.
    posts: Vec<Option<Done>>,
}

impl Prepared {
    /// Whether there is anything to commit. If not, call [`Writer::finish`] with an empty outcome.
    #[must_use]
    pub fn needs_commit(&self) -> bool {
        !self.batch.is_empty()
    }
}

impl fmt::Debug for Prepared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Prepared")
            .field("batch", &self.batch)
            .field("orders", &self.orders)
            .finish_non_exhaustive()
    }
}

/// A request that is answered after the commit.
#[derive(Debug)]
struct Order {
    reply_to: ReplyTo,
    what: What,
}

#[derive(Debug)]
enum What {
    /// The next of [`Batch::appends`].
    Send { random: u32 },
    /// Goes out without being stored.
    OnlineOnly { random: u32, time_ms: u64, owners: Vec<UserKey>, message: Bytes },
    /// A read cursor of `reader` moves.
    MarkRead { reader: UserKey, peer: UserKey, seq: u64 },
    /// Answered when the acks before it are stored.
    Flush,
}

impl Writer {
    /// A writer with nothing waiting.
    #[must_use]
    pub fn new(shared: Shared) -> Self {
        let acks = Acks::new(shared.config.ack_delay_ms);
        Self { shared, acks, last_time_ms: 0 }
    }

    /// When [`Self::turn`] wants to be called even if nothing arrives, milliseconds; `None`: not before something does.
    #[must_use]
    pub fn deadline_ms(&self) -> Option<u64> {
        if self.shared.posts.is_empty() { self.acks.deadline_ms() } else { Some(0) }
    }

    /// Whether nobody posts any more and nothing posted waits.
    pub(crate) fn posts_ended(&self) -> bool {
        self.shared.posts.has_ended()
    }

    /// Waits for a post, or for the last thread that posts to end.
    pub(crate) fn wait_for_posts(&self, timeout: std::time::Duration) {
        self.shared.posts.wait(timeout);
    }

    /// Makes waiting acks due: the next turn commits them. For a shutdown.
    pub fn expire_acks(&mut self) {
        self.acks.expire();
    }

    /// One whole turn: prepare, commit, finish. `batch` is left empty.
    pub fn turn(&mut self, batch: &mut Vec<(LinkId, Up)>, now_ms: u64, out: &mut Downs) {
        let prepared = self.prepare(batch, now_ms, out);
        let outcome = if prepared.needs_commit() {
            self.shared.ledger.commit(&prepared.batch)
        } else {
            Ok(Committed::default())
        };
        self.finish(prepared, outcome, out);
    }

    /// Turns requests into a ledger batch and leaves `batch` empty. Refusals go to `out` at once; they promise nothing.
    ///
    /// Waiting acks join the batch if it has anything to commit, if somebody asked by FLUSH, or if they are due.
    /// Call it with at most `Config::writer_batch_items` items. A second call before [`Self::finish`] of the first
    /// is allowed as long as commits and finishes keep the order.
    pub fn prepare(&mut self, batch: &mut Vec<(LinkId, Up)>, now_ms: u64, out: &mut Downs) -> Prepared {
        if !batch.is_empty() {
            self.shared.metrics.writer_batch.record(batch.len() as f64);
        }
        let requests = self.requests(batch, now_ms, out);
        let requests = self.registered(requests, out);
        let mut prepared = Prepared::default();
        for (reply_to, user, request) in requests {
            match request {
                Request::Send(send) => self.prepare_send(reply_to, user, send, now_ms, &mut prepared),
                Request::MarkRead(mark) => {
                    if let Err(failure) = self.prepare_mark_read(reply_to, user, mark, &mut prepared) {
                        reply_to.fail(&failure, &self.shared.metrics, out);
                    }
                }
                Request::Flush => prepared.orders.push(Order { reply_to, what: What::Flush }),
            }
        }
        for post in self.shared.posts.take(self.shared.config.writer_batch_items) {
            prepared.batch.appends.push(post.append);
            prepared.posts.push(post.done);
        }
        let flush = prepared.orders.iter().any(|order| matches!(order.what, What::Flush));
        if flush || prepared.needs_commit() || self.acks.is_due(now_ms) {
            self.acks.take(&mut prepared.batch.cursors);
        }
        #[cfg(nearport_bug = "ack_before_commit")]
        self.answer_too_early(&prepared, out);
        prepared
    }

    /// Reads a batch: acks are noted, requests decoded. Frames of sessions that have ended are dropped and counted.
    fn requests(
        &mut self,
        batch: &mut Vec<(LinkId, Up)>,
        now_ms: u64,
        out: &mut Downs,
    ) -> Vec<(ReplyTo, UserKey, Request)> {
        let metrics = self.shared.metrics.clone();
        let mut frames = Vec::with_capacity(batch.len());
        let registry = self.shared.registry();
        for (link, up) in batch.drain(..) {
            match up {
                Up::Frame { session, lane, kind, id, body } => match registry.session_on(session, link) {
                    Some(known) => {
                        frames.push((ReplyTo { link, session, lane, id }, known.user.clone(), kind, body));
                    }
                    None => metrics.strays.increment(1),
                },
                Up::Ack { session, position } => match registry.session_on(session, link) {
                    Some(known) => {
                        // Beyond the end of the log an ack would hide messages that do not exist yet.
                        let head = registry.head(&known.user);
                        if position > head {
                            metrics.cursors_clamped.increment(1);
                        }
                        self.acks.add(&known.user, &known.device, position.min(head), now_ms);
                    }
                    None => metrics.strays.increment(1),
                },
                // Handled by the front.
                Up::Open { .. } | Up::Adopt { .. } | Up::Close { .. } => metrics.strays.increment(1),
            }
        }
        drop(registry);

        let mut sends: HashMap<SessionId, u32> = HashMap::new();
        let mut requests = Vec::with_capacity(frames.len());
        for (reply_to, user, kind, body) in frames {
            let request = match kind {
                Kind::SEND => {
                    let count = sends.entry(reply_to.session).or_default();
                    *count += 1;
                    if *count > self.shared.config.session_sends_per_batch {
                        Err(Failure::later(code::TOO_MANY_REQUESTS, "too many messages at once", 100))
                    } else {
                        request::send(&user, body).map(Request::Send)
                    }
                }
                Kind::MARK_READ => request::mark_read(&user, body).map(Request::MarkRead),
                Kind::FLUSH => Ok(Request::Flush),
                Kind(kind) => {
                    Err(Failure::new(code::UNKNOWN_REQUEST, format!("unknown request kind {kind:#04x}")))
                }
            };
            match request {
                Ok(request) => requests.push((reply_to, user, request)),
                Err(failure) => reply_to.fail(&failure, &metrics, out),
            }
        }
        requests
    }

    /// Refuses requests whose other side is not registered; one directory query for all that are not cached.
    fn registered(
        &self,
        requests: Vec<(ReplyTo, UserKey, Request)>,
        out: &mut Downs,
    ) -> Vec<(ReplyTo, UserKey, Request)> {
        let metrics = &self.shared.metrics;
        let peers: Vec<_> = requests.iter().filter_map(|(_, _, request)| request.peer()).cloned().collect();
        if peers.is_empty() {
            return requests;
        }
        let found = self.shared.accounts.find(&peers);
        if let Err(error) = &found {
            tracing::error!(%error, "cannot look accounts up");
        }
        let mut known = found.as_ref().map(|found| found.valid_from_s.iter());
        let mut kept = Vec::with_capacity(requests.len());
        for (reply_to, user, request) in requests {
            let verdict = match (&mut known, request.peer()) {
                (_, None) => Ok(()),
                (Ok(known), Some(_)) => match known.next() {
                    Some(Some(_)) => Ok(()),
                    _ => Err(Failure::new(code::BAD_PEER, "the other user is not registered")),
                },
                (Err(_), Some(_)) => {
                    Err(Failure::later(code::INTERNAL, "accounts cannot be looked up, try again", 1000))
                }
            };
            match verdict {
                Ok(()) => kept.push((reply_to, user, request)),
                Err(failure) => reply_to.fail(&failure, metrics, out),
            }
        }
        kept
    }

    fn prepare_send(
        &mut self,
        reply_to: ReplyTo,
        sender: UserKey,
        send: Send,
        now_ms: u64,
        prepared: &mut Prepared,
    ) {
        self.last_time_ms = self.last_time_ms.max(now_ms);
        let time_ms = self.last_time_ms;
        let Send { peer, client_msg_id, to, content, online_only } = send;
        let [a, b, c, d, ..] = client_msg_id;
        let random = u32::from_be_bytes([a, b, c, d]);
        let message = Message {
            from: sender.name().to_owned(),
            to: Some(to),
            client_msg_id: client_msg_id.to_vec().into(),
            content: Some(content),
            ..Message::default()
        };
        let message: Bytes = message.encode_to_vec().into();
        let conv = ConvKey::pair(&sender, &peer);
        // A note to oneself has one entry. The sender's log stands first: `finish` counts on it.
        let mut owners = vec![sender.clone()];
        if peer != sender {
            owners.push(peer);
        }
        let what = if online_only {
            What::OnlineOnly { random, time_ms, owners, message }
        } else {
            #[cfg(nearport_bug = "skip_dedup")]
            let client_msg_id = fresh_id();
            let idem = IdemKey { sender, client_msg_id };
            prepared.batch.appends.push(Append { conv, idem, logs: owners, time_ms, body: message });
            What::Send { random }
        };
        prepared.orders.push(Order { reply_to, what });
    }

    fn prepare_mark_read(
        &self,
        reply_to: ReplyTo,
        reader: UserKey,
        mark: MarkRead,
        prepared: &mut Prepared,
    ) -> Result<(), Failure> {
        let MarkRead { peer, seq } = mark;
        let conv = ConvKey::pair(&reader, &peer);
        let head = self.shared.ledger.head(&conv).map_err(|error| {
            tracing::error!(%error, "cannot read the ledger");
            Failure::unreadable()
        })?;
        if seq > head {
            self.shared.metrics.cursors_clamped.increment(1);
        }
        let seq = seq.min(head);
        if seq > 0 {
            let name = CursorName::Read(conv);
            prepared.batch.cursors.push(CursorMove { user: reader.clone(), name, position: seq });
        }
        prepared.orders.push(Order { reply_to, what: What::MarkRead { reader, peer, seq } });
        Ok(())
    }
}

/// A key that no message ever had: the ledger then finds no duplicates.
#[cfg(nearport_bug = "skip_dedup")]
fn fresh_id() -> [u8; 16] {
    use std::sync::atomic::{AtomicU64, Ordering};
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let mut id = [0xbb; 16];
    id[8..].copy_from_slice(&NEXT.fetch_add(1, Ordering::Relaxed).to_be_bytes());
    id
}
