//! A client: the handle that an application holds.

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use nearport_wire::close::{CloseCode, Return};
use nearport_wire::{Kind, Lane};
use rustls::crypto::aws_lc_rs;
use tokio::sync::{Notify, oneshot};
use tracing::{Instrument as _, debug, debug_span};

use crate::config::{Config, ResumeState};
use crate::core::{Answer, Core, Reply, State};
use crate::driver::Driver;
use crate::error::{ConnectError, PostError, RequestError, SendError};
use crate::event::{
    Content, Event, Failure, HistoryPage, HistoryQuery, HistoryRange, MsgId, RequestId, SendOptions, Sent,
    Target,
};
use crate::locate::Locator;
use crate::network::{Edge, Network};

/// One device of one user. Clones are handles of the same client; with the last one it says good-bye.
///
/// Calls may be made from any task. Events go to whoever asks, each once: ask from one place.
#[derive(Clone)]
pub struct Client {
    handle: Arc<Handle>,
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("state", &self.state()).finish_non_exhaustive()
    }
}

/// Ends the client when the last [`Client`] is gone; the driver holds only what is shared.
struct Handle {
    shared: Arc<Shared>,
    network: Network,
    locator: Option<Locator>,
}

/// What handles and the driver share. Commands run the core under the lock and wake the driver, so a client needs
/// no channel and no second task.
pub(crate) struct Shared {
    inner: Mutex<Inner>,
    /// The driver has something to do.
    pub(crate) wake: Notify,
    /// An event, an answer or another state is there.
    pub(crate) changed: Notify,
}

pub(crate) struct Inner {
    pub(crate) core: Core,
    sends: BTreeMap<MsgId, oneshot::Sender<Result<Sent, Failure>>>,
    requests: BTreeMap<RequestId, oneshot::Sender<Result<Reply, Failure>>>,
    /// What the driver waits for: deadline, and whether it reads.
    pub(crate) armed: Option<Instant>,
    pub(crate) reading: bool,
    /// Where the last connection leads that a session was opened on, or is being opened.
    pub(crate) edge: Option<SocketAddr>,
    /// There is a connection, or an attempt.
    pub(crate) linked: bool,
    /// No handle is left.
    pub(crate) orphaned: bool,
    /// State and `linked` when waiters were last woken.
    told: (State, bool),
}

impl Shared {
    pub(crate) fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    /// Hands answers to who waits for them. An answer nobody waits for any more is dropped.
    pub(crate) fn settle(&mut self) {
        while let Some(answer) = self.core.poll_answer() {
            match answer {
                Answer::Send { id, result } => {
                    let _ = self.sends.remove(&id).map(|waiter| waiter.send(result));
                }
                Answer::Request { id, result } => {
                    let _ = self.requests.remove(&id).map(|waiter| waiter.send(result));
                }
            }
        }
        if self.core.state() == State::Stopped {
            // What stays in the outbox has no outcome for now; its waiters are told so by dropping their channel.
            self.sends.clear();
        }
    }

    /// Whether somebody who waits for an event or a state should look.
    pub(crate) fn take_change(&mut self) -> bool {
        let state = (self.core.state(), self.linked);
        std::mem::replace(&mut self.told, state) != state || self.core.has_events()
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        let mut inner = self.shared.lock();
        inner.orphaned = true;
        inner.core.close(Instant::now());
        drop(inner);
        self.shared.wake.notify_one();
    }
}

impl Client {
    /// Starts a client without an account, in the manner of a browser: [`Config::guest`]. It may join live rooms
    /// ([`Client::join_live_room`]) and hear them; everything else fails with 6014, and a server that lets no guests in refuses it.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    #[must_use]
    pub fn guest(network: &Network, server: SocketAddr, server_name: impl Into<String>, app: u32) -> Self {
        Self::connect(network, Config::guest(server, server_name, app))
    }

    /// Starts a client. It connects, and comes back after losses, until it is closed or the server says not to.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    #[must_use]
    pub fn connect(network: &Network, config: Config) -> Self {
        let seed = config.seed.unwrap_or_else(random_seed);
        let edge = Edge::new(config.server, config.server_name.as_str());
        let locator = config.locate.clone();
        let transports = config.transports();
        let span = debug_span!("client", user = config.user, device = config.device);
        let inner = Inner {
            core: Core::new(config.core(seed), Instant::now()),
            sends: BTreeMap::new(),
            requests: BTreeMap::new(),
            armed: None,
            reading: false,
            edge: None,
            linked: true,
            orphaned: false,
            told: (State::Connecting, true),
        };
        let shared =
            Arc::new(Shared { inner: Mutex::new(inner), wake: Notify::new(), changed: Notify::new() });
        let driver = Driver::new(Arc::clone(&shared), network.clone(), edge, locator.clone(), transports);
        tokio::spawn(driver.run().instrument(span));
        Self { handle: Arc::new(Handle { shared, network: network.clone(), locator }) }
    }

    /// Waits until the client is logged in.
    ///
    /// Cancel-safe.
    ///
    /// # Errors
    /// [`ConnectError::Stopped`] if the server refused; [`ConnectError::Timeout`] otherwise, and the client goes on
    /// trying.
    pub async fn ready(&self, within: Duration) -> Result<(), ConnectError> {
        let settled = self.until(|inner| match inner.core.state() {
            State::Live => Some(Ok(())),
            State::Stopped => {
                let (code, reason) = stopped(inner);
                Some(Err(ConnectError::Stopped { code, reason }))
            }
            State::Connecting | State::Opening | State::Backoff => None,
        });
        tokio::time::timeout(within, settled).await.unwrap_or_else(|_| {
            let inner = self.shared().lock();
            let last = inner.core.last_closing().map_or("no answer from the server", |last| &last.reason);
            Err(ConnectError::Timeout { waited: within, last: last.into() })
        })
    }

    /// Where the client stands.
    #[must_use]
    pub fn state(&self) -> State {
        self.shared().lock().core.state()
    }

    /// The network that it connects through.
    #[must_use]
    pub fn network(&self) -> &Network {
        &self.handle.network
    }

    /// What finds this client's edge ([`Config::locate`](crate::Config::locate)).
    #[must_use]
    pub fn locator(&self) -> Option<&Locator> {
        self.handle.locator.as_ref()
    }

    /// Address of the edge where the session is, or is being opened; of the last one while there is none, and `None` before the
    /// first connection.
    #[must_use]
    pub fn edge(&self) -> Option<SocketAddr> {
        self.shared().lock().edge
    }

    /// Position up to which the user's log was received; `None` before the first login. The application has seen
    /// it all only if no event waits: to keep a cursor, keep [`Message::position`](crate::Message::position).
    #[must_use]
    pub fn cursor(&self) -> Option<u64> {
        self.shared().lock().core.cursor()
    }

    /// What to keep for the next process of this user and device: [`Config::resume`](crate::Config::resume). `None`
    /// without a token that is good. It changes with every login; the cursor with every event that is shown.
    #[must_use]
    pub fn resume_state(&self) -> Option<ResumeState> {
        let inner = self.shared().lock();
        let (token, good_for) = inner.core.resume_token(Instant::now())?;
        let good_until = SystemTime::now().checked_add(good_for)?;
        Some(ResumeState {
            token: token.to_vec(),
            good_until,
            cursor: inner.core.shown(),
            groups: inner.core.group_cursors(),
        })
    }

    /// Messages without an acknowledgement.
    #[must_use]
    pub fn unacknowledged(&self) -> usize {
        self.shared().lock().core.unacknowledged()
    }

    /// Why the server refused a message that will be tried again, if none was acknowledged since: what to tell a
    /// user who waits.
    #[must_use]
    pub fn last_refusal(&self) -> Option<Failure> {
        self.shared().lock().core.last_refusal().cloned()
    }

    /// Sends a message and waits until it is on the server's disk, over reconnects if need be: put a
    /// [`tokio::time::timeout`] around it if the user waits.
    ///
    /// Dropped early, the message still goes out and its outcome is not told.
    ///
    /// # Errors
    /// [`SendError`].
    pub async fn send(&self, to: Target, content: Content) -> Result<Sent, SendError> {
        self.send_with(to, content, SendOptions::default()).await
    }

    /// As [`Self::send`], with more than a content.
    ///
    /// # Errors
    /// [`SendError`].
    pub async fn send_with(
        &self,
        to: Target,
        content: Content,
        options: SendOptions,
    ) -> Result<Sent, SendError> {
        let outcome = self.command(|inner, now| {
            let id = inner.core.send_with(now, to, content, options, true)?;
            let (waiter, outcome) = oneshot::channel();
            inner.sends.insert(id, waiter);
            Ok::<_, PostError>(outcome)
        })?;
        match outcome.await {
            Ok(result) => Ok(result?),
            Err(_) => {
                let (code, reason) = stopped(&self.shared().lock());
                Err(SendError::Stopped { code, reason })
            }
        }
    }

    /// Queues a message and does not wait: the outcome is [`Event::Sent`] or [`Event::Failed`].
    ///
    /// # Errors
    /// [`PostError`]; nothing was queued then.
    pub fn post(&self, to: Target, content: Content) -> Result<MsgId, PostError> {
        self.post_with(to, content, SendOptions::default())
    }

    /// As [`Self::post`], with more than a content.
    ///
    /// # Errors
    /// [`PostError`]; nothing was queued then.
    pub fn post_with(&self, to: Target, content: Content, options: SendOptions) -> Result<MsgId, PostError> {
        self.command(|inner, now| inner.core.send_with(now, to, content, options, false))
    }

    /// As [`Self::post`], for a message that is not stored and reaches only devices that are online: a typing
    /// notice, say. It is sent at most once.
    ///
    /// # Errors
    /// [`PostError`], [`PostError::Offline`] without a live session.
    pub fn post_online_only(&self, to: Target, content: Content) -> Result<MsgId, PostError> {
        self.command(|inner, now| inner.core.send(now, to, content, true))
    }

    /// Reads a page of a conversation, 1 to 200 messages. Waits for a connection if there is none.
    ///
    /// Cancel-safe.
    ///
    /// # Errors
    /// [`RequestError`].
    pub async fn history(
        &self,
        with: Target,
        range: HistoryRange,
        limit: u32,
    ) -> Result<HistoryPage, RequestError> {
        self.history_of(with, HistoryQuery::new(range, limit)).await
    }

    /// As [`Self::history`], within a time.
    ///
    /// Cancel-safe.
    ///
    /// # Errors
    /// [`RequestError`].
    pub async fn history_of(&self, with: Target, query: HistoryQuery) -> Result<HistoryPage, RequestError> {
        match self.ask(|core, now| Ok(core.request_history(now, with, query)?)).await? {
            Reply::History(page) => Ok(page),
            Reply::Done | Reply::Body(_) => unreachable!("a history request is answered by a page"),
        }
    }

    /// Tells everybody that this user has read a conversation up to `seq`; returns when that is on the server's disk.
    /// Waits for a connection if there is none.
    ///
    /// Cancel-safe.
    ///
    /// # Errors
    /// [`RequestError`].
    pub async fn mark_read(&self, with: Target, seq: u64) -> Result<(), RequestError> {
        self.ask(|core, now| Ok(core.mark_read(now, with, seq)?)).await.map(|_| ())
    }

    /// Returns when the server has on disk what this device has shown, so that its next login shows only what is
    /// new. With automatic acknowledgements every event that was taken counts as shown. Waits for a connection if
    /// there is none.
    ///
    /// Cancel-safe.
    ///
    /// # Errors
    /// [`RequestError`].
    pub async fn flush(&self) -> Result<(), RequestError> {
        self.ask(|core, now| Ok(core.flush(now)?)).await.map(|_| ())
    }

    /// Sends a request of any kind and waits for the body of its reply. It is not asked again after a lost
    /// connection.
    ///
    /// Dropped early, it may still be carried out.
    ///
    /// # Errors
    /// [`RequestError`].
    pub async fn request(&self, lane: Lane, kind: Kind, body: Bytes) -> Result<Bytes, RequestError> {
        self.request_other(lane, kind, body, false).await
    }

    async fn request_other(
        &self,
        lane: Lane,
        kind: Kind,
        body: Bytes,
        repeatable: bool,
    ) -> Result<Bytes, RequestError> {
        match self.ask(|core, now| core.request_other(now, lane, kind, body, repeatable)).await? {
            Reply::Body(body) => Ok(body),
            Reply::Done | Reply::History(_) => {
                unreachable!("a request of another kind is answered by its body")
            }
        }
    }

    /// A request whose bodies are encoded messages. `repeatable`: it does the same the second time.
    pub(crate) async fn call<A: prost::Message + Default>(
        &self,
        kind: Kind,
        call: &impl prost::Message,
        repeatable: bool,
    ) -> Result<A, RequestError> {
        // Answers may be long, and nothing waits behind them there.
        let lane = if kind == Kind::AMEND { Lane::Chat } else { Lane::Bulk };
        let answer = self.request_other(lane, kind, call.encode_to_vec().into(), repeatable).await?;
        A::decode(answer).map_err(|_| RequestError::Unreadable)
    }

    /// The user has just entered or left a group.
    pub(crate) fn groups_changed(&self) {
        self.command(|inner, now| inner.core.groups_changed(now));
    }

    /// The user is in a live room from now on, or wants to be. `false`: that was so before.
    pub(crate) fn enter_live_room(&self, room: &str) -> bool {
        self.command(|inner, _| inner.core.enter_live_room(room))
    }

    pub(crate) fn leave_live_room(&self, room: &str) {
        self.command(|inner, _| inner.core.leave_live_room(room));
    }

    /// Says that everything up to `position` is shown. Needed with [`Acks::Manual`](crate::Acks::Manual) only.
    pub fn acknowledge(&self, position: u64) {
        self.command(|inner, now| inner.core.acknowledge(now, position));
    }

    /// Says that a group is shown up to message `seq`. Needed with [`Acks::Manual`](crate::Acks::Manual) only.
    pub fn acknowledge_group(&self, group: &str, seq: u64) {
        self.command(|inner, now| inner.core.acknowledge_group(now, group, seq));
    }

    /// Waits for the next event; `None` once the client has stopped and everything was taken. With automatic
    /// acknowledgements asking says that the message before it is shown.
    ///
    /// Cancel-safe.
    pub async fn next_event(&self) -> Option<Event> {
        self.until(|inner| match inner.core.poll_event() {
            Some(event) => Some(Some(event)),
            None if inner.core.state() == State::Stopped => Some(None),
            None => None,
        })
        .await
    }

    /// The next event if one waits.
    #[must_use]
    pub fn try_next_event(&self) -> Option<Event> {
        let mut inner = self.shared().lock();
        let event = inner.core.poll_event();
        self.nudge(&inner);
        event
    }

    /// Ends the wait for the next attempt, because the application knows that the network is back; also starts a
    /// stopped client again. A live session is asked at once whether it lives, so that an application that comes to
    /// the front need not wait for the next heartbeat: without an answer within 3 s the client connects anew.
    pub fn reconnect(&self) {
        self.command(|inner, now| inner.core.reconnect_now(now));
    }

    /// Tells this client, and all others of its [`Network`], that the device is in another network or has another
    /// address: see [`Network::changed`]. A socket that cannot be made shows as a failed attempt.
    pub fn network_changed(&self, name: Option<&str>) {
        if let Err(error) = self.handle.network.changed(name) {
            debug!(%error, "no socket in the new network yet");
        }
    }

    /// Takes a new UserSig and starts again a client that has stopped because of the old one.
    pub fn renew_usersig(&self, usersig: impl Into<String>) {
        self.command(|inner, now| {
            inner.core.renew_usersig(usersig.into());
            let refused =
                inner.core.last_closing().map(|last| last.code.returns()) == Some(Return::AfterChange);
            if inner.core.state() == State::Stopped && refused {
                inner.core.reconnect_now(now);
            }
        });
    }

    /// Acknowledges what is shown, says good-bye and waits, for a second at most, for the server to do so too.
    /// Messages without an acknowledgement fail with [`Failure::Stopped`]. For acknowledgements that must be on
    /// disk call [`Self::flush`] before.
    ///
    /// Dropped early, the client closes all the same.
    pub async fn close(&self) {
        self.command(|inner, now| inner.core.close(now));
        self.until(|inner| (inner.core.state() == State::Stopped && !inner.linked).then_some(())).await;
    }

    fn shared(&self) -> &Arc<Shared> {
        &self.handle.shared
    }

    /// Runs a command and lets the driver see to what follows.
    fn command<T>(&self, command: impl FnOnce(&mut Inner, Instant) -> T) -> T {
        let mut inner = self.shared().lock();
        let result = command(&mut inner, Instant::now());
        inner.settle();
        drop(inner);
        self.shared().wake.notify_one();
        result
    }

    async fn ask(
        &self,
        request: impl FnOnce(&mut Core, Instant) -> Result<RequestId, RequestError>,
    ) -> Result<Reply, RequestError> {
        let outcome = self.command(|inner, now| {
            let id = request(&mut inner.core, now)?;
            let (waiter, outcome) = oneshot::channel();
            inner.requests.insert(id, waiter);
            Ok::<_, RequestError>(outcome)
        })?;
        Ok(outcome.await.unwrap_or(Err(Failure::Stopped))?)
    }

    /// Waits until `take` finds what it looks for. Cancel-safe if `take` changes something only when it finds it.
    async fn until<T>(&self, mut take: impl FnMut(&mut Inner) -> Option<T>) -> T {
        loop {
            let changed = self.shared().changed.notified();
            tokio::pin!(changed);
            // From here on no change is missed, though the look comes first.
            changed.as_mut().enable();
            {
                let mut inner = self.shared().lock();
                let found = take(&mut inner);
                self.nudge(&inner);
                if let Some(found) = found {
                    return found;
                }
            }
            changed.await;
        }
    }

    /// Wakes the driver if taking an event moved what it waits for: room for input, or an earlier acknowledgement.
    fn nudge(&self, inner: &Inner) {
        let deadline = inner.core.poll_timeout();
        let earlier = deadline.is_some_and(|at| inner.armed.is_none_or(|armed| at < armed));
        if earlier || inner.core.wants_input() != inner.reading {
            self.shared().wake.notify_one();
        }
    }
}

/// Why a stopped client stopped.
fn stopped(inner: &Inner) -> (CloseCode, String) {
    match inner.core.last_closing() {
        Some(last) => (last.code, last.reason.clone()),
        None => (CloseCode::BYE, "stopped".into()),
    }
}

/// Message ids must differ between clients, so the seed comes from the operating system.
fn random_seed() -> u64 {
    random()
        .map(u64::from_ne_bytes)
        .expect("the operating system gives random bytes, or nothing could be encrypted either")
}

/// Random octets of the operating system.
pub(crate) fn random<const N: usize>() -> Option<[u8; N]> {
    let mut octets = [0; N];
    aws_lc_rs::default_provider().secure_random.fill(&mut octets).ok()?;
    Some(octets)
}

#[cfg(test)]
#[path = "client_tests.rs"]
mod tests;
