//! The writing half of the backend, and the only one that commits.
//!
//! [`Writer`] is a synchronous core. One turn has three steps, which [`Writer::turn`] takes in a row and a simulator
//! may take apart to let time pass, or a crash happen, in between:
//!
//! 1. [`Writer::prepare`] reads the requests into one ledger batch. What is refused is answered at once, and what is said in a
//!    live room, of which nothing is stored, goes out at once;
//! 2. the caller commits [`Prepared::batch`] if [`Prepared::needs_commit`];
//! 3. [`Writer::finish`] answers what the commit made true, then publishes it. Nothing of it leaves before.
//!
//! Requests do not wait for each other: one turn takes whatever is waiting, up to `Config::writer_batch_items`.

mod acks;
mod amend;
mod checks;
mod finish;
mod groups;
mod imports;
mod orders;
mod publish;
mod rates;
mod request;
mod told;

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use nearport_trunk::local::LinkId;
use nearport_trunk::{SessionId, Up};
use nearport_wire::body::{Amended, Event, Message};
use nearport_wire::{Kind, code};

use crate::callback::gate::Gate;
use crate::callback::{self, Origin, Verdict};
use crate::desk::group::SYSTEM;
use crate::directory::events::EventId;
use crate::downs::Downs;
use crate::group::SharedGroup;
use crate::kept::{Audience, seal};
use crate::key::{AppId, ConvKey, GroupKey, UserKey};
use crate::lately::Lately;
use crate::ledger::{Append, Appended, BATCH_ITEMS_MAX, Batch, Committed, CursorMove, CursorName, IdemKey};
use crate::msg_key::MsgKey;
use crate::posts::{Act, ActDone, ActWhat, Changed, Done, Letter};
use crate::reply::{Failure, ReplyTo, With, unreadable};
use crate::shared::Shared;

use acks::Acks;
use rates::Rates;
use request::{MarkRead, Request, Send, To};

pub(crate) use orders::may_say;
pub use rates::GroupBooks;
pub(crate) use request::edited;

/// Most items of one batch that requests ask for: one for each, and some that ask for many. What of those goes beyond is answered
/// with 60018. With as many acks as may wait there is room left for posts.
const REQUEST_ITEMS_MAX: usize = BATCH_ITEMS_MAX / 2 + 128;

/// AMENDs of one session in one group commit: each reads the messages that it is about.
const SESSION_AMENDS_PER_BATCH: u32 = 32;

/// Does all that writes: SEND, MARK_READ, AMEND, acks and FLUSH. See the module documentation.
#[derive(Debug)]
pub struct Writer {
    shared: Shared,
    acks: Acks,
    rates: Rates,
    /// What back ends have said of late of which nothing is stored.
    unstored: Lately<(UserKey, GroupKey, u32), ()>,
    /// Time of the newest message. Message times never go back, whatever the clock does; a restart forgets it.
    last_time_ms: u64,
    /// Requests that wait for back ends.
    gate: Gate<SessionId, Asked>,
}

/// A ledger batch with the answers that wait for it.
#[derive(Default)]
pub struct Prepared {
    /// To be committed before [`Writer::finish`].
    pub batch: Batch,
    orders: Vec<Order>,
    /// Of the first [`Batch::appends`]: who hears what became of them.
    posts: Vec<Posted>,
    /// Of the last [`Batch::edits`]: the same, of what administrators change.
    changes: Vec<(amend::Changing, Changed)>,
    /// What administrators do in the names of users.
    acts: Vec<(What, ActDone)>,
    /// What other threads have handed over to go out without being stored.
    unstored: Vec<(Append, Option<Done>)>,
    /// Of the last appends of all: what is told of them, and of what else back ends wanted written.
    ordered: Vec<orders::Ordered>,
    /// Messages as they will be after the edits so far: one request of a batch sees what the one before it does.
    changed: HashMap<(ConvKey, u64), Bytes>,
    /// What stands behind so many of [`Batch::outbox`], and all of [`Batch::settles`], has waited for any commit.
    told_from: usize,
    /// Names of those of [`Batch::outbox`] behind it.
    pending: Vec<Option<EventId>>,
    /// Requests of the batch that stand behind the present one, each with room for one item.
    to_come: usize,
}

impl Prepared {
    /// Whether there is anything to commit. If not, call [`Writer::finish`] with an empty outcome.
    #[must_use]
    pub fn needs_commit(&self) -> bool {
        !self.batch.is_empty()
    }

    /// Items that requests have asked for, and administrators. What back ends hear of them comes on top.
    fn requested(&self) -> usize {
        self.batch.items() - self.posts.len() - self.batch.events()
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

/// A message of another thread.
struct Posted {
    done: Option<Done>,
    /// Somebody has sent it now: it is no import, and the system did not say it.
    spoken: bool,
}

/// A decoded request and who asks.
#[derive(Debug)]
struct Asked {
    reply_to: ReplyTo,
    user: UserKey,
    device: Arc<str>,
    request: Request,
    /// Whom the message is for.
    audience: Audience,
    /// Where the asker is.
    origin: Origin,
    /// What the back end has said of it.
    verdict: Option<Verdict>,
}

/// A request that is answered after the commit.
#[derive(Debug)]
struct Order {
    reply_to: ReplyTo,
    what: What,
}

/// What the back end of an App hears.
type ToldOf = (AppId, Box<callback::Event>);

#[derive(Debug)]
enum What {
    /// The next of [`Batch::appends`].
    Send { random: u32 },
    /// The same, to a group.
    GroupSend { random: u32, group: SharedGroup },
    /// Goes out without being stored.
    OnlineOnly { random: u32, time_ms: u64, to: Online, message: Bytes, sender: UserKey },
    /// Above the rate of its group: the sender is told that it was sent. Or `refused`: somebody who sends again may have left the group
    /// meanwhile; with what the back end hears of that. With its key it may be one that was stored before.
    Dropped { random: u32, time_ms: u64, idem: Option<IdemKey>, refused: Option<(Failure, Option<ToldOf>)> },
    /// A read cursor moves.
    MarkRead { reader: UserKey, with: With, seq: u64 },
    /// The next of [`Batch::edits`].
    Change(amend::Changing),
    /// Marks on messages; who hears of them.
    Amended { amended: Amended, events: Vec<(UserKey, Event)> },
    /// Answered when the acks before it are stored.
    Flush,
}

/// Who gets a message that is not stored.
#[derive(Debug)]
enum Online {
    Users(Vec<UserKey>),
    Group(GroupKey),
}

impl Writer {
    /// A writer with nothing waiting.
    #[must_use]
    pub fn new(shared: Shared) -> Self {
        let acks = Acks::new(shared.config.ack_delay_ms);
        let (rates, unstored, gate) = (Rates::default(), Lately::default(), Gate::default());
        Self { shared, acks, rates, unstored, last_time_ms: 0, gate }
    }

    /// When [`Self::turn`] wants to be called even if nothing arrives, milliseconds; `None`: not before something does.
    #[must_use]
    pub fn deadline_ms(&self) -> Option<u64> {
        if !self.shared.posts.is_empty() {
            return Some(0);
        }
        let callbacks = self.shared.callbacks.deadline_ms(self.last_time_ms);
        self.acks.deadline_ms().into_iter().chain(callbacks).min()
    }

    /// What became of a group's messages by class, as far as it is remembered.
    #[must_use]
    pub fn group_books(&self, group: &GroupKey) -> Option<GroupBooks> {
        self.rates.books(group)
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

    /// Makes what waits for the outbox due, and says whether anything does. For a shutdown.
    pub(crate) fn expire_callbacks(&self) -> bool {
        self.shared.callbacks.expire()
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
        // Message times never go back.
        self.last_time_ms = self.last_time_ms.max(now_ms);
        let asked = self.requests(batch, now_ms, out);
        let asked = self.released(asked, out);
        let asked = self.accounts(asked, now_ms, out);
        let asked = self.allowed(asked, out);
        let asked = self.asked_back_ends(asked, now_ms, out);
        let mut places = self.places(&asked, now_ms);
        let mut prepared = Prepared { to_come: asked.len(), ..Prepared::default() };
        self.prepare_letters(&mut prepared);
        for (at, asked) in asked.into_iter().enumerate() {
            let place = places.get_mut(at).and_then(Option::take);
            let reply_to = asked.reply_to;
            prepared.to_come -= 1;
            if let Err(failure) = self.prepare_one(asked, place, now_ms, &mut prepared, out) {
                reply_to.fail(&failure, &self.shared.metrics, out);
            }
        }
        self.prepare_changes(&mut prepared);
        self.prepare_orders(now_ms, &mut prepared, out);
        note_speakers(&mut prepared.batch);
        let room = BATCH_ITEMS_MAX.saturating_sub(self.acks.len() + prepared.batch.items());
        prepared.told_from = prepared.batch.outbox.len();
        prepared.pending = self.shared.callbacks.take(room, now_ms, &mut prepared.batch);
        let flush = prepared.orders.iter().any(|order| matches!(order.what, What::Flush));
        if flush || prepared.needs_commit() || self.acks.is_due(now_ms) {
            self.acks.take(&mut prepared.batch.cursors);
        }
        #[cfg(nearport_bug = "ack_before_commit")]
        self.answer_too_early(&prepared, out);
        prepared
    }

    fn prepare_one(
        &self,
        asked: Asked,
        place: Option<Result<groups::Place, Failure>>,
        now_ms: u64,
        prepared: &mut Prepared,
        out: &mut Downs,
    ) -> Result<(), Failure> {
        let place = match (place, &asked.request) {
            (Some(Err(refused)), Request::Send(send)) if !send.online_only => {
                let (random, time_ms) = (send.random(), self.last_time_ms);
                let idem = IdemKey { sender: asked.user.clone(), client_msg_id: send.client_msg_id };
                let told =
                    self.refused_event(&asked, &refused).map(|event| (asked.user.app(), Box::new(event)));
                let what =
                    What::Dropped { random, time_ms, idem: Some(idem), refused: Some((refused, told)) };
                prepared.orders.push(Order { reply_to: asked.reply_to, what });
                return Ok(());
            }
            (Some(Err(refused)), _) => {
                self.tell_refused(&asked, &refused);
                return Err(refused);
            }
            (Some(Ok(place)), _) => Some(place),
            (None, _) => None,
        };
        let Asked { reply_to, user, device, request, audience, origin, verdict: _ } = asked;
        let what = match request {
            Request::Send(send) => match place {
                Some(place) if place.room => {
                    self.say(reply_to, (&user, origin), *send, prepared, out);
                    return Ok(());
                }
                Some(place) => self.group_send(user, *send, place, origin, prepared),
                None => self.pair_send(user, *send, audience, origin, prepared),
            },
            Request::MarkRead(mark) => self.mark_read(user, mark, origin, prepared)?,
            Request::Amend(amend) => {
                let asker = amend::Asker { user: &user, device: &device, origin };
                self.amend(asker, amend, place.map(|place| place.group), now_ms, prepared)?
            }
            Request::Flush => What::Flush,
        };
        prepared.orders.push(Order { reply_to, what });
        Ok(())
    }

    /// What other threads say, in front of the requests: whoever says something because of a change that was answered stands behind the
    /// tip of that change, which was posted before the answer.
    fn prepare_letters(&self, prepared: &mut Prepared) {
        // All acks that wait join a batch that has something. Half of what they and the requests leave is for what comes behind those.
        let room = (BATCH_ITEMS_MAX - REQUEST_ITEMS_MAX).saturating_sub(self.acks.len()) / 2;
        let letters = self.shared.posts.take(room);
        let mut imports = self.imports(&letters);
        for Letter { mut post, online_only, imported, told } in letters {
            let is_import = imported.is_some();
            post.append.time_ms = match (imported, &mut imports) {
                // Made on another thread's clock, some time ago.
                (None, _) => self.last_time_ms,
                (Some(mirrored), Ok(imports)) => match imports.known.contains(&mirrored) {
                    false => imports.newest.time(&post.append, self.last_time_ms),
                    // The other side's stands already.
                    true => {
                        if let Some(done) = post.done {
                            done(Ok(&Appended::duplicate_of(0, 0)));
                        }
                        continue;
                    }
                },
                (Some(_), Err(error)) => {
                    if let Some(done) = post.done {
                        done(Err(error));
                    }
                    continue;
                }
            };
            if let Some(event) = told {
                let (app, append) = (post.append.idem.sender.app(), prepared.batch.appends.len());
                let append = (!online_only).then_some(append);
                prepared.batch.outbox.push(event.outbound(app, append, self.last_time_ms));
            }
            if online_only {
                prepared.unstored.push((post.append, post.done));
                continue;
            }
            if let Ok(imports) = &mut imports {
                imports.note(&post.append);
            }
            let spoken = !is_import && post.append.conv.is_pair();
            prepared.batch.appends.push(post.append);
            prepared.posts.push(Posted { done: post.done, spoken });
        }
    }

    /// What administrators change and do, as far as the batch has room.
    fn prepare_changes(&self, prepared: &mut Prepared) {
        let room = BATCH_ITEMS_MAX.saturating_sub(self.acks.len() + prepared.batch.items());
        for change in self.shared.posts.take_changes(room) {
            self.admin_change(change, prepared);
        }
        self.prepare_acts(prepared);
    }

    /// What administrators do in the names of users, as far as the batch has room for what requests may ask for.
    fn prepare_acts(&self, prepared: &mut Prepared) {
        while prepared.requested() + request::SEQS_MAX <= REQUEST_ITEMS_MAX {
            let Some(Act { user, with, what, done }) = self.shared.posts.take_act() else { return };
            let what = match what {
                ActWhat::Read { seq, origin } => {
                    self.mark_read(user, MarkRead { with, seq }, origin, prepared)
                }
                ActWhat::Receipts(seqs) => self.receipts(&user, &with, seqs, None, prepared),
                ActWhat::Hide(seqs) => self.hide(&user, &with, seqs, None, prepared),
                ActWhat::Clear => self.clear(&user, &with, 0, prepared),
            };
            match what {
                Ok(what) => prepared.acts.push((what, done)),
                Err(failure) => done(Err(failure)),
            }
        }
    }

    /// Reads a batch: acks are noted, requests decoded. Frames of sessions that have ended are dropped and counted.
    fn requests(&mut self, batch: &mut Vec<(LinkId, Up)>, now_ms: u64, out: &mut Downs) -> Vec<Asked> {
        let metrics = self.shared.metrics.clone();
        let mut frames = Vec::with_capacity(batch.len());
        let registry = self.shared.registry();
        for (link, up) in batch.drain(..) {
            match up {
                Up::Frame { session, lane, kind, id, body } => match registry.session_on(session, link) {
                    Some(known) if known.user.is_guest() => {
                        let reply_to = ReplyTo { link, session, lane, id };
                        reply_to.fail(&Failure::not_logged_in(), &metrics, out);
                    }
                    Some(known) => {
                        let reply_to = ReplyTo { link, session, lane, id };
                        let origin = known.origin();
                        frames.push((reply_to, known.user.clone(), known.device.clone(), origin, kind, body));
                    }
                    None => metrics.strays.increment(1),
                },
                Up::Ack { session, position } => match registry.session_on(session, link) {
                    // Nothing is kept of guests.
                    Some(known) if known.user.is_guest() => {}
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

        // SENDs and AMENDs of each session.
        let mut counts: HashMap<SessionId, [u32; 2]> = HashMap::new();
        let most = [self.shared.config.session_sends_per_batch, SESSION_AMENDS_PER_BATCH];
        let mut asked = Vec::with_capacity(frames.len());
        for (reply_to, user, device, origin, kind, body) in frames {
            let mut within = |what: usize| {
                let count = &mut counts.entry(reply_to.session).or_default()[what];
                *count += 1;
                let later = || Failure::later(code::TOO_MANY_REQUESTS, "too many messages at once", 100);
                (*count <= most[what]).then_some(()).ok_or_else(later)
            };
            let request = match kind {
                Kind::SEND => within(0).and_then(|()| request::send(&user, body)).map(|mut send| {
                    // The switch is looked at only for those who ask.
                    send.need_receipt &=
                        !send.need_receipt || self.shared.settings(user.app()).config.receipts;
                    Request::Send(send)
                }),
                Kind::AMEND => within(1).and_then(|()| request::amend(&user, body)).map(Request::Amend),
                Kind::MARK_READ => request::mark_read(&user, body).map(Request::MarkRead),
                Kind::FLUSH => Ok(Request::Flush),
                Kind(kind) => {
                    Err(Failure::new(code::UNKNOWN_REQUEST, format!("unknown request kind {kind:#04x}")))
                }
            };
            match request {
                Ok(request) => {
                    let (audience, verdict) = (Audience::All, None);
                    asked.push(Asked { reply_to, user, device, request, audience, origin, verdict });
                }
                Err(failure) => reply_to.fail(&failure, &metrics, out),
            }
        }
        asked
    }

    fn pair_send(
        &self,
        sender: UserKey,
        send: Send,
        audience: Audience,
        origin: Origin,
        prepared: &mut Prepared,
    ) -> What {
        let time_ms = self.last_time_ms;
        let To::User(peer) = &send.to else { unreachable!("a message to a group has a place") };
        let (client_msg_id, random, online_only) = (send.client_msg_id, send.random(), send.online_only);
        let conv = ConvKey::pair(&sender, peer);
        let uncounted = send.is_uncounted();
        let append = (!send.online_only).then_some(prepared.batch.appends.len());
        prepared.batch.outbox.extend(self.tell_sent(&sender, &send, origin, append));
        // A note to oneself has one entry. The sender's log stands first: `finish` counts on it.
        let mut owners = vec![sender.clone()];
        if *peer != sender && audience != Audience::Sender {
            owners.push(peer.clone());
        }
        let body = seal(&send.into_message(&sender), audience);
        if online_only {
            return What::OnlineOnly { random, time_ms, to: Online::Users(owners), message: body, sender };
        }
        #[cfg(nearport_bug = "skip_dedup")]
        let client_msg_id = fresh_id();
        let idem = IdemKey { sender, client_msg_id };
        prepared.batch.appends.push(Append { conv, idem, logs: owners, time_ms, body, uncounted });
        What::Send { random }
    }

    fn mark_read(
        &self,
        reader: UserKey,
        mark: MarkRead,
        origin: Origin,
        prepared: &mut Prepared,
    ) -> Result<What, Failure> {
        let MarkRead { with, seq } = mark;
        let conv = with.conv(&reader);
        let head = self.shared.ledger.head(&conv).map_err(|error| unreadable(&error))?;
        if seq > head {
            self.shared.metrics.cursors_clamped.increment(1);
        }
        let seq = seq.min(head);
        if seq > 0 {
            let (user, name) = (reader.clone(), CursorName::Read(conv));
            prepared.batch.cursors.push(CursorMove { user, name, position: seq, append: None });
            if let With::User(peer) = &with {
                self.tell_read(&reader, peer, seq, origin, prepared);
            }
        }
        Ok(What::MarkRead { reader, with, seq })
    }
}

impl Send {
    /// `random` of the message key: the first four bytes of `client_msg_id`.
    fn random(&self) -> u32 {
        MsgKey::of_client(&self.client_msg_id, 0, 0).random
    }

    /// It is unread for nobody.
    fn is_uncounted(&self) -> bool {
        self.control.as_ref().is_some_and(|control| control.no_unread)
    }

    fn into_message(self, sender: &UserKey) -> Message {
        let to = match self.to {
            To::User(peer) => With::User(peer).target(),
            To::Group(group) => With::Group(group).target(),
        };
        Message {
            from: sender.name().to_owned(),
            to: Some(to),
            client_msg_id: self.client_msg_id.to_vec().into(),
            content: Some(self.content),
            priority: self.priority.into(),
            need_receipt: self.need_receipt,
            mentions: self.mentions,
            control: self.control,
            life_time_s: self.life_time_s,
            ..Message::default()
        }
    }
}

/// When users have spoken in groups last, with what they say: a row for each member, however much others say later. Of topics nobody
/// asks for it.
fn note_speakers(batch: &mut Batch) {
    let says = |append: &Append| {
        append.conv.is_group() && !append.conv.is_topic() && append.idem.sender.name() != SYSTEM
    };
    let spoken = batch.appends.iter().enumerate().filter(|(_, append)| says(append));
    let spoken = spoken.map(|(at, append)| CursorMove {
        user: append.idem.sender.clone(),
        name: CursorName::Spoke(append.conv.clone()),
        position: append.time_ms,
        append: Some(at),
    });
    batch.cursors.extend(spoken);
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
