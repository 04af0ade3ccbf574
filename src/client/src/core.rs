//! What outlives a connection, as a pure machine: the outbox, the cursor, when to come back.
//!
//! A [`Core`] drives one [`session::Client`] after the other. It knows no socket, no runtime and no clock; the
//! SDK's driver and the simulator run the same code.
//!
//! ```text
//!                    transport up           welcome
//!   Connecting ────────────────► Opening ───────────► Live ──── slot of a GoAway is over ──┐
//!    ▲   │ fails, takes too long    │ fails              │ lost, closed with a code        │
//!    │   ▼                          ▼                    ▼                                 │
//!    └─ Backoff ◄── 2xxx, 3xxx ─────┴────────────────────┴── 1xxx, 4xxx, 5xxx ──► Stopped  │
//!    ▲                                                                              │      │
//!    └────────────────────────────── reconnect_now ◄────────────────────────────────┴──────┘
//! ```
//!
//! Order of calls: give input (`handle_*`) or a command; then drain [`Core::poll_transport`], write what
//! [`Core::poll_output`] holds, drain [`Core::poll_answer`] and, as the application wants them,
//! [`Core::poll_event`]; then wait for input or [`Core::poll_timeout`]. Read from the transport only while
//! [`Core::wants_input`].

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use nearport_session::{self as session, Closing, Outbox};
use nearport_wire::body::{self, Hello};
use nearport_wire::close::CloseCode;

use crate::config::{Acks, Follow, GroupCursor, Limits, Platform, Receive};
use crate::event::{Event, Failure, MsgId, RequestId, Sent};
use crate::transport::Transport;

mod attempts;
mod backoff;
mod commands;
mod delivery;
mod groups;
mod inbox;
mod leaving;
mod live;
mod live_rooms;
mod pairs;
mod requests;
mod resume;
mod sends;

pub use leaving::Referral;
pub use requests::Reply;

use backoff::{Backoff, SplitMix};
use groups::Groups;
use inbox::Inbox;
use leaving::Leaving;
use live::PAUSED_HEARTBEAT;
use live_rooms::LiveRooms;
use pairs::Pairs;
use requests::Requests;
use resume::ResumeToken;
use sends::Sends;

/// How long the server may take to answer from a new path before the connection counts as lost.
const NEW_PATH_TIMEOUT: Duration = Duration::from_secs(3);

/// What a core is made from. The fields are those of [`Config`](crate::Config), without addresses.
#[derive(Clone)]
#[expect(missing_docs, reason = "documented at Config")]
pub struct CoreConfig {
    pub app: u32,
    pub user: String,
    pub device: String,
    pub platform: Platform,
    pub usersig: String,
    pub client: String,
    pub cursor: Option<u64>,
    /// A token of an earlier life, and how long it is good.
    pub resume: Option<(Bytes, Duration)>,
    pub follow: Follow,
    pub groups: Vec<GroupCursor>,
    pub acks: Acks,
    pub receive: Receive,
    pub limits: Limits,
    /// Seed of message ids and of the jitter; must differ between the cores of one user.
    pub seed: u64,
}

impl fmt::Debug for CoreConfig {
    /// Without the UserSig.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CoreConfig")
            .field("app", &self.app)
            .field("user", &self.user)
            .field("device", &self.device)
            .finish_non_exhaustive()
    }
}

/// What carries a session, and what it can do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Path {
    /// Which transport.
    pub transport: Transport,
    /// The bulk lane may have a stream of its own: [`Core::poll_bulk_output`], [`Core::handle_bulk_bytes`].
    pub bulk_stream: bool,
    /// Largest datagram that the transport takes; `None` without datagrams: [`Core::poll_datagram`],
    /// [`Core::handle_datagram`].
    pub datagram_bytes_max: Option<usize>,
}

impl Path {
    /// A path that carries all lanes on one stream.
    #[must_use]
    pub fn one_stream(transport: Transport) -> Self {
        Self { transport, bulk_stream: false, datagram_bytes_max: None }
    }
}

/// What the shell does with its transport.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TransportAction {
    /// Open a connection and a stream to the server; answer with [`Core::handle_connected`] or
    /// [`Core::handle_disconnected`].
    Connect,
    /// Write what [`Core::take_parting`] gives, as far as that goes without waiting for long, and close the
    /// connection, or the attempt, with this code. Do not call [`Core::handle_disconnected`] for it.
    Disconnect(CloseCode),
    /// Open another connection beside the present one, to one of [`Core::referrals`] or to the server; answer with
    /// [`Core::handle_prepared`] or [`Core::handle_prepare_failed`]. A shell without room for two may answer with the
    /// latter at once.
    Prepare,
    /// Close the present connection as for [`Self::Disconnect`] with BYE, and go on with the prepared one: the hello
    /// waits in [`Core::poll_output`].
    Switch,
}

/// Where a core stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// A transport is being opened.
    Connecting,
    /// The hello is out.
    Opening,
    /// Logged in.
    Live,
    /// Waiting for the next attempt.
    Backoff,
    /// Not coming back by itself.
    Stopped,
}

/// The outcome of a command that somebody waits for.
#[derive(Debug, Clone, PartialEq)]
pub enum Answer {
    /// Of [`Core::send_with`] with `awaited`.
    Send {
        /// What it returned.
        id: MsgId,
        /// The message's place, or why it has none.
        result: Result<Sent, Failure>,
    },
    /// Of a request.
    Request {
        /// What it returned.
        id: RequestId,
        /// The answer.
        result: Result<Reply, Failure>,
    },
}

/// Whose answer a session request brings.
#[derive(Debug, Clone)]
enum Asked {
    Send(u64),
    Request(RequestId),
    /// A page that the core wants for its groups.
    Pull(groups::Pull),
    /// A live room is joined again.
    Rejoin(String),
    /// What was shown of groups.
    Shown(Vec<(Arc<str>, u64)>),
}

/// See the module documentation.
#[derive(Debug)]
pub struct Core {
    config: CoreConfig,
    instance: [u8; 8],
    state: State,
    session: Option<session::Client>,
    /// What carries the session.
    path: Option<Path>,
    /// Output of a core without a session: always empty.
    no_output: Outbox,
    disconnect: Option<CloseCode>,
    connect: bool,
    prepare: bool,
    switch: bool,
    /// Last output of the session before, main stream.
    parting: Vec<Bytes>,
    sends: Sends,
    requests: Requests,
    /// Requests of the session in flight, by the session's id.
    asked: BTreeMap<u64, Asked>,
    inbox: Inbox,
    groups: Groups<body::Delivery>,
    /// Whether the present session still follows the groups: an older server does not know how.
    follows: bool,
    pairs: Pairs,
    live_rooms: LiveRooms,
    /// Own messages by their position in the log: the other side, and the number in the conversation.
    own_places: BTreeMap<u64, (String, u64)>,
    answers: VecDeque<Answer>,
    backoff: Backoff,
    /// Within which the server wants this client back, should the session be lost.
    return_window: Option<Duration>,
    /// The last session ended within a crowd, and none has begun since.
    crowded: bool,
    resume: ResumeToken,
    /// Position up to which the user's log was received; `None` before the first login without a cursor.
    cursor: Option<u64>,
    was_live: bool,
    last_closing: Option<Closing>,
    /// Why a send that is tried again was refused; `None` once one was acknowledged.
    last_refusal: Option<Failure>,
    /// End of the attempt (Connecting) or of the wait (Backoff).
    deadline: Option<Instant>,
    live_since: Option<Instant>,
    leaving: Option<Leaving>,
    referrals: Vec<Referral>,
    last_received: Instant,
    /// Next sign of life while input is paused.
    paused_beat: Option<Instant>,
    /// Input has just been resumed: answers that waited in the transport are not late yet.
    session_rests_until: Option<Instant>,
}

impl Core {
    /// A core that wants to connect at once.
    #[must_use]
    pub fn new(config: CoreConfig, now: Instant) -> Self {
        let mut dice = SplitMix(config.seed);
        let instance = dice.next().to_be_bytes();
        let inbox = Inbox::new(config.acks, config.receive, &config.limits, now);
        let mut core = Self {
            instance,
            state: State::Stopped,
            session: None,
            path: None,
            no_output: Outbox::default(),
            disconnect: None,
            connect: false,
            prepare: false,
            switch: false,
            parting: Vec::new(),
            sends: Sends::new(),
            requests: Requests::default(),
            asked: BTreeMap::new(),
            inbox,
            groups: delivery::groups(&config),
            follows: false,
            pairs: Pairs::default(),
            live_rooms: LiveRooms::default(),
            own_places: BTreeMap::new(),
            answers: VecDeque::new(),
            backoff: Backoff::new(dice),
            return_window: None,
            crowded: false,
            resume: config.resume.clone().map_or_else(ResumeToken::default, |(token, good_for)| {
                ResumeToken::new(now, token, good_for)
            }),
            cursor: config.cursor,
            was_live: false,
            last_closing: None,
            last_refusal: None,
            deadline: None,
            live_since: None,
            leaving: None,
            referrals: Vec::new(),
            last_received: now,
            paused_beat: None,
            session_rests_until: None,
            config,
        };
        core.begin_attempt(now);
        core
    }

    // ---- getters ----

    /// Where the core stands.
    #[must_use]
    pub fn state(&self) -> State {
        self.state
    }

    /// What carries the session, or carried the last one.
    #[must_use]
    pub fn path(&self) -> Option<Path> {
        self.path
    }

    /// Position up to which the user's log was received. What the application has shown may lie behind by the
    /// events that it has not taken.
    #[must_use]
    pub fn cursor(&self) -> Option<u64> {
        self.cursor
    }

    /// Whether something of the user's groups is missing and being asked for.
    #[must_use]
    pub fn lacks_groups(&self) -> bool {
        self.follows && self.groups.is_behind()
    }

    /// Where the application stands in the user's groups, by what it has shown.
    #[must_use]
    pub fn group_cursors(&self) -> Vec<GroupCursor> {
        let cursors = self.groups.stands();
        cursors
            .map(|at| GroupCursor { group: at.group.as_ref().into(), seq: at.seq, edit: at.edit })
            .collect()
    }

    /// Position up to which the application has shown the user's log.
    #[must_use]
    pub fn shown(&self) -> u64 {
        self.inbox.shown()
    }

    /// The token that opens the next session without a UserSig, and how long it is good from `now`.
    #[must_use]
    pub fn resume_token(&self, now: Instant) -> Option<(Bytes, Duration)> {
        self.resume.good(now)
    }

    /// Messages without an acknowledgement, waiting or in flight.
    #[must_use]
    pub fn unacknowledged(&self) -> usize {
        self.sends.len()
    }

    /// Why the server refused a message that will be tried again, if none was acknowledged since.
    #[must_use]
    pub fn last_refusal(&self) -> Option<&Failure> {
        self.last_refusal.as_ref()
    }

    /// Whether [`Self::poll_event`] has something to give.
    #[must_use]
    pub fn has_events(&self) -> bool {
        !self.inbox.is_empty()
    }

    /// Whether the session waits for an answer: then silence means something.
    #[must_use]
    pub fn awaits_answer(&self) -> bool {
        self.session.as_ref().is_some_and(session::Client::awaits_answer)
    }

    /// Why the last session or attempt ended.
    #[must_use]
    pub fn last_closing(&self) -> Option<&Closing> {
        self.last_closing.as_ref()
    }

    /// Whether to read from the transport: not while too many events wait for the application. The answer to the
    /// hello is always welcome, or a slow application would never get back in.
    #[must_use]
    pub fn wants_input(&self) -> bool {
        self.inbox.has_room() || self.state == State::Opening
    }

    // ---- input ----

    /// The transport that [`TransportAction::Connect`] asked for is up, with its stream.
    ///
    /// Also while the hello on an earlier transport waits for its answer: that session is forgotten, and the hello
    /// goes out again on this one.
    pub fn handle_connected(&mut self, now: Instant, path: Path) {
        if !matches!(self.state, State::Connecting | State::Opening) {
            return;
        }
        self.path = Some(path);
        let resume = self.resume.show(now);
        let usersig = if resume.is_empty() { self.config.usersig.clone() } else { String::new() };
        let hello = Hello {
            app: self.config.app,
            user: self.config.user.clone(),
            usersig,
            device: self.config.device.clone(),
            platform: self.config.platform.into(),
            cursor: self.cursor,
            client: self.config.client.clone(),
            resume,
        };
        let limits = session::ClientConfig {
            answer_timeout: self.config.limits.answer_timeout,
            bulk_stream: path.bulk_stream,
            datagram_bytes_max: path.datagram_bytes_max,
            ..session::ClientConfig::default()
        };
        self.state = State::Opening;
        self.deadline = None;
        self.last_received = now;
        self.session = Some(session::Client::new(limits, &hello, now));
    }

    /// Bytes of the main stream.
    pub fn handle_bytes(&mut self, now: Instant, chunk: Bytes) {
        self.hear(now, |session| session.handle_bytes(now, chunk));
    }

    /// Bytes of the bulk lane's own stream.
    pub fn handle_bulk_bytes(&mut self, now: Instant, chunk: Bytes) {
        self.hear(now, |session| session.handle_bulk_bytes(now, chunk));
    }

    /// A datagram of the connection.
    pub fn handle_datagram(&mut self, now: Instant, datagram: Bytes) {
        self.hear(now, |session| session.handle_datagram(now, datagram));
    }

    /// Says how the path is: its round trip, and whether it loses so much that small messages are to be sent twice.
    pub fn set_path(&mut self, rtt: Duration, lossy: bool) {
        if let Some(session) = &mut self.session {
            session.set_path(rtt, lossy);
        }
    }

    /// Whether the session has moved and its shell does not know yet: what the former connection does is of no account.
    pub fn has_moved(&self) -> bool {
        self.switch
    }

    fn hear(&mut self, now: Instant, input: impl FnOnce(&mut session::Client)) {
        self.resume(now);
        // What one read brought may have moved the session: the rest of it belongs to the former connection, and the page
        // of the new session brings it again.
        let hears = self.state != State::Stopped && !self.switch;
        let Some(session) = self.session.as_mut().filter(|_| hears) else { return };
        self.last_received = now;
        self.inbox.tick(now);
        input(session);
        self.drain_session(now);
        self.leave_when_drained(now);
        self.pump(now);
        if !self.inbox.has_room() && self.session.is_some() {
            self.paused_beat.get_or_insert(now + PAUSED_HEARTBEAT);
        }
    }

    /// The transport is gone, or could not be opened.
    pub fn handle_disconnected(&mut self, now: Instant, closing: Closing) {
        match self.state {
            State::Connecting => self.end(now, closing, Duration::ZERO),
            State::Opening | State::Live => {
                if let Some(session) = &mut self.session {
                    session.handle_disconnect(closing);
                }
                self.drain_session(now);
                // There is no transport to close any more.
                self.disconnect = None;
            }
            State::Backoff | State::Stopped => {}
        }
    }

    /// Does what is due. Harmless when nothing is.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.resume(now);
        if self.deadline.is_some_and(|deadline| deadline <= now) {
            if self.state == State::Backoff {
                self.begin_attempt(now);
            } else {
                self.break_off(now, Closing::new(CloseCode::LOST, "no connection in time"));
            }
        }
        self.handle_leaving_timeout(now);
        self.sends.handle_timeout(now);
        if self.state == State::Live {
            self.groups.handle_timeout(now);
        }
        self.handle_session_timeout(now);
        self.pump(now);
    }

    // ---- output ----

    /// What to do with the transport.
    pub fn poll_transport(&mut self) -> Option<TransportAction> {
        if let Some(code) = self.disconnect.take() {
            return Some(TransportAction::Disconnect(code));
        }
        let flags = [
            (&mut self.switch, TransportAction::Switch),
            (&mut self.connect, TransportAction::Connect),
            (&mut self.prepare, TransportAction::Prepare),
        ];
        flags.into_iter().find_map(|(flag, action)| std::mem::take(flag).then_some(action))
    }

    /// What the session that was left still has to say on its main stream.
    pub fn take_parting(&mut self) -> Vec<Bytes> {
        std::mem::take(&mut self.parting)
    }

    /// What waits to be written to the main stream. Empty without a session.
    pub fn poll_output(&mut self) -> &mut Outbox {
        self.session.as_mut().map_or(&mut self.no_output, session::Client::poll_output)
    }

    /// What waits to be written to the bulk lane's own stream, if that is in use.
    pub fn poll_bulk_output(&mut self) -> Option<&mut Outbox> {
        self.session.as_mut()?.poll_bulk_output()
    }

    /// The next datagram to send; what does not go out at once may be thrown away.
    pub fn poll_datagram(&mut self) -> Option<Bytes> {
        self.session.as_mut()?.poll_datagram()
    }

    /// The next event for the application. With [`Acks::Auto`] asking says that the message before it is shown.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.shown_so_far();
        self.inbox.pop()
    }

    /// The next outcome of a command that somebody waits for.
    pub fn poll_answer(&mut self) -> Option<Answer> {
        self.answers.pop_front()
    }

    /// When [`Self::handle_timeout`] wants to be called. Taking events may move it.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        let live = if self.state == State::Live {
            [
                self.leaving_timeout(),
                self.sends.poll_timeout(),
                self.inbox.poll_timeout(),
                self.groups_timeout(),
                self.live_rooms.poll_timeout(),
            ]
        } else {
            [None; 5]
        };
        live.into_iter().chain([self.deadline, self.session_timeout()]).flatten().min()
    }
}

#[cfg(test)]
pub(crate) mod model;
#[cfg(test)]
mod tests;
