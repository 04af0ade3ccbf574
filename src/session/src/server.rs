//! The server's end of a session.
//!
//! ```text
//!            HELLO             accept
//!  Hello ───────────► Opening ────────► Live ──► (closed)
//!    │ other frame       │ any but PING    │ CLOSE, broken rule, silence
//!    └──► OUT_OF_TURN    └──► OUT_OF_TURN  └──► its close code
//! ```
//!
//! Bytes come on one **main stream** and, where the transport has streams, on up to [`SIDES_MAX`] **side streams**, each
//! bound to a lane by its first frame ([`lanes`]). Datagrams are apart: what they hold may be lost, doubled and out
//! of order ([`hedges`]).

mod hedges;
mod lanes;
mod pace;

use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use nearport_wire::body;
use nearport_wire::close::CloseCode;
use nearport_wire::{Class, Decoder, Frame, FrameError, Kind, Lane, Limits, encode_into};
use prost::Message as _;

use crate::{Closing, Outbox};
use hedges::{Copies, Hedges};
pub use lanes::SIDES_MAX;
use lanes::{Reading, Sides};
use pace::Pace;

/// Bounds of a server session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerLimits {
    /// Largest frame body that a client may send.
    pub frame: Limits,
    /// Time for the hello after the transport is up, and for the rest of a frame after its first byte.
    pub frame_timeout: Duration,
    /// Silence after which a client counts as gone. Three heartbeats: two may be lost.
    pub idle_timeout: Duration,
    /// The same for a client in a browser, whose user is shown online no longer than that after its network has gone
    /// (`client-behaviour.md` §2 of the contract).
    pub web_idle_timeout: Duration,
    /// Requests without an answer; one more closes the session. A client that waits for replies never sees it.
    pub requests_max: u32,
    /// Largest frame of the chat lane that is copied for a datagram while [`Server::set_hedging`] is on: a copy has to fit a
    /// packet beside other things. 0: none is.
    pub hedge_bytes_max: usize,
    /// Requests in a second that reach the backend; those above are answered with 60018 and a time to come back. 0: any
    /// number.
    pub requests_per_s: u32,
    /// Requests at once after a silence.
    pub requests_burst: u32,
    /// Bytes waiting for a slow reader, above which pushes are dropped and the session is marked behind.
    pub push_bytes_max: usize,
    /// Bytes waiting, above which pushes of the live lane are left out and counted; by class, fewer and fewer from an eighth of it on.
    pub live_bytes_max: usize,
    /// Bytes waiting, answers included, above which the session is closed with SLOW.
    pub output_bytes_max: usize,
    /// Time without any progress in which something may wait, before the session is closed with SLOW.
    pub slow_timeout: Duration,
}

impl ServerLimits {
    /// These limits for a client in a browser.
    #[must_use]
    pub fn web(&self) -> Self {
        Self { idle_timeout: self.idle_timeout.min(self.web_idle_timeout), ..self.clone() }
    }
}

impl Default for ServerLimits {
    fn default() -> Self {
        Self {
            frame: Limits::default(),
            frame_timeout: Duration::from_secs(10),
            idle_timeout: Duration::from_secs(75),
            web_idle_timeout: Duration::from_secs(60),
            requests_max: 256,
            hedge_bytes_max: 900,
            // A person types a few; a device that comes back sends what it has kept, as many at once as it may.
            requests_per_s: 100,
            requests_burst: 256,
            push_bytes_max: 64 * 1024,
            live_bytes_max: 16 * 1024,
            // Four of the largest pages; the SDK asks for one at a time.
            output_bytes_max: 1 << 20,
            // Longer than a path that recovers takes; silence of the client ends the session at 75 s in any case.
            slow_timeout: Duration::from_secs(60),
        }
    }
}

/// What the edge has to do for a frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Ask the backend about this hello.
    Open(Bytes),
    /// Forward this request.
    Request(Frame),
    /// Forward this cumulative acknowledgement.
    Ack(u64),
}

/// What a datagram held.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Datagram {
    /// HEDGE frames.
    pub hedges: u32,
    /// Those of them whose request was carried out.
    pub hedges_used: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Hello,
    Opening,
    Live,
    Closed,
}

/// One session at the edge. See the module documentation for its states.
#[derive(Debug)]
pub struct Server {
    decoder: Decoder,
    outbox: Outbox,
    /// `None` while there is no side stream: most sessions never have one.
    sides: Option<Box<Sides>>,
    /// Which stream [`Self::poll_action`] reads.
    reading: Reading,
    hedges: Hedges,
    /// `None` while nothing is to be hedged.
    copies: Option<Box<Copies>>,
    state: State,
    /// Pushes were dropped; the client is told once there is room.
    behind: bool,
    requests: u32,
    pace: Pace,
    /// When the half frame, the hello or the silence runs out.
    deadline: Instant,
}

impl Server {
    /// A session whose transport has just come up.
    #[must_use]
    pub fn new(limits: &ServerLimits, now: Instant) -> Self {
        Self {
            decoder: Decoder::new(limits.frame),
            outbox: Outbox::default(),
            sides: None,
            reading: Reading::Main,
            hedges: Hedges::default(),
            copies: None,
            state: State::Hello,
            behind: false,
            requests: 0,
            pace: Pace::new(now),
            deadline: now + limits.frame_timeout,
        }
    }

    /// Whether the hello was accepted and the session has not ended.
    #[must_use]
    pub fn is_live(&self) -> bool {
        self.state == State::Live
    }

    /// Whether the backend knows the session: a hello went up.
    #[must_use]
    pub fn was_opened(&self) -> bool {
        matches!(self.state, State::Opening | State::Live)
    }

    /// Takes bytes of the main stream. Call [`Self::poll_action`] until `None` before the next.
    pub fn handle_bytes(&mut self, chunk: Bytes) {
        self.reading = Reading::Main;
        self.decoder.feed(chunk);
    }

    /// The next thing to do, or `None` if more bytes are needed.
    ///
    /// # Errors
    /// [`Closing`] if the client broke a rule or said good-bye: write what [`Self::close`] gives and end the
    /// transport with the code.
    pub fn poll_action(&mut self, limits: &ServerLimits, now: Instant) -> Result<Option<Action>, Closing> {
        loop {
            match self.next_frame() {
                Ok(Some(frame)) => {
                    self.heard_frame(limits, now);
                    if let Some(action) = self.handle_frame(frame, limits, now)? {
                        return Ok(Some(action));
                    }
                }
                Ok(None) => {
                    self.drained(limits, now);
                    return Ok(None);
                }
                Err(closing) => return Err(closing),
            }
        }
    }

    /// Takes a datagram: whole frames, of which a client may send PING, SEND and HEDGE. Everything else in it, and every
    /// datagram before the welcome, is dropped without a word: a datagram may be a late or a forged one of a path.
    pub fn handle_datagram(
        &mut self,
        datagram: Bytes,
        limits: &ServerLimits,
        now: Instant,
        mut act: impl FnMut(Action),
    ) -> Datagram {
        let mut taken = Datagram::default();
        if self.state != State::Live {
            return taken;
        }
        let mut frames = Decoder::new(limits.frame);
        frames.feed(datagram);
        while let Ok(Some(frame)) = frames.next_frame() {
            match frame.kind {
                Kind::PING => self.pong(&frame, limits),
                Kind::SEND => self.take_request(frame, limits, now).into_iter().for_each(&mut act),
                Kind::HEDGE => {
                    let request = self.take_hedge(frame, limits, now);
                    taken.hedges += 1;
                    taken.hedges_used += u32::from(request.is_some());
                    request.into_iter().for_each(&mut act);
                }
                _ => continue,
            }
            self.heard_datagram(limits, now);
        }
        taken
    }

    fn handle_frame(
        &mut self,
        frame: Frame,
        limits: &ServerLimits,
        now: Instant,
    ) -> Result<Option<Action>, Closing> {
        match (self.state, frame.kind) {
            (State::Closed, _) => Ok(None),
            (_, Kind::CLOSE) => Err(Closing::new(CloseCode::BYE, "client said good-bye")),
            (State::Hello, Kind::HELLO) => {
                self.state = State::Opening;
                Ok(Some(Action::Open(frame.body)))
            }
            (State::Hello, kind) => Err(out_of_turn(kind, "before the hello")),
            (_, Kind::HELLO) => Err(out_of_turn(frame.kind, "after the hello")),
            (_, Kind::PING) => {
                self.pong(&frame, limits);
                Ok(None)
            }
            (State::Opening, kind) => Err(out_of_turn(kind, "before the welcome")),
            (State::Live, Kind::PONG) => Ok(None),
            (State::Live, Kind::ACK) => Ok(Some(Action::Ack(frame.id))),
            (State::Live, kind) if kind.is_request() => {
                if frame.lane == Lane::Chat && !self.hedges.take_from_stream(frame.id) {
                    return Ok(None);
                }
                if let Some(wait) = self.over_rate(limits, now) {
                    self.refuse_early(frame.lane, frame.id, wait);
                    return Ok(None);
                }
                self.requests += 1;
                if self.requests > limits.requests_max {
                    let reason = format!("more than {} requests without an answer", limits.requests_max);
                    return Err(Closing::new(CloseCode::TOO_MANY_REQUESTS, reason));
                }
                Ok(Some(Action::Request(frame)))
            }
            (State::Live, kind) => {
                let reason = format!("frame kind {:#04x} is not for a client to send", kind.0);
                Err(Closing::new(CloseCode::BAD_KIND, reason))
            }
        }
    }

    /// The backend accepted: writes the welcome.
    pub fn accept(&mut self, welcome: &[u8]) {
        if self.state == State::Opening {
            self.state = State::Live;
            self.write(Lane::Control, Kind::WELCOME, 0, welcome);
        }
    }

    /// Writes the answer to a request.
    pub fn reply(&mut self, lane: Lane, kind: Kind, id: u64, body: &[u8]) {
        if self.state == State::Live {
            self.requests = self.requests.saturating_sub(1);
            let frame = self.write(lane, kind, id, body);
            self.copy(lane, &frame);
        }
    }

    /// Writes an already encoded push of `lane`, shared with other sessions, or drops it: in front of the welcome, and
    /// when too much waits already. A dropped push marks the session behind. Pushes of the live lane are of
    /// [`Self::push_live`], here as those of a chat. Returns whether it was taken.
    pub fn push(&mut self, lane: Lane, frame: &Bytes, limits: &ServerLimits) -> bool {
        if lane == Lane::Live {
            return self.push_live(Class::Chat, frame, limits);
        }
        let room = self.pushes_wait_behind() + frame.len() <= limits.push_bytes_max;
        let taken = self.state == State::Live && room && !self.behind;
        if taken {
            self.outbox_of(lane).push(frame.clone());
            self.copy(lane, frame);
        } else {
            self.behind = true;
        }
        taken
    }

    /// Pushes were lost before they came here; the client is told with the next output.
    pub fn mark_behind(&mut self) {
        self.behind = true;
    }

    /// Asks the client to leave, `slot` from now, for one of `targets`; none: for the same server.
    pub fn go_away(&mut self, reason: CloseCode, slot: Duration, targets: &[body::Endpoint]) {
        let slot_ms = u32::try_from(slot.as_millis()).unwrap_or(u32::MAX);
        let body = body::GoAway { reason: reason.0, slot_ms, targets: targets.to_vec() }.encode_to_vec();
        self.write(Lane::Control, Kind::GO_AWAY, 0, &body);
    }

    /// Says a window for coming back that is another than that of the welcome. Returns whether it did: not to a client
    /// that cannot be reading.
    pub fn tell_return_window(&mut self, window_ms: u32, limits: &ServerLimits) -> bool {
        self.hint(Kind::RETURN_WINDOW, window_ms.into(), limits)
    }

    /// Says that the backend is away, or back. Returns whether it did: not to a client that cannot be reading.
    pub fn tell_away(&mut self, away: bool, limits: &ServerLimits) -> bool {
        self.hint(Kind::AWAY, away.into(), limits)
    }

    /// Writes a frame without a body, unless the client cannot be reading. Returns whether it did.
    fn hint(&mut self, kind: Kind, id: u64, limits: &ServerLimits) -> bool {
        let reads = self.state == State::Live && self.queued_bytes() < limits.push_bytes_max;
        if reads {
            self.write(Lane::Control, kind, id, &[]);
        }
        reads
    }

    /// Ends the session: the last frame is CLOSE. Nothing is written after it.
    pub fn close(&mut self, closing: &Closing, retry_after: Duration) {
        if self.state == State::Closed {
            return;
        }
        // Who does not read gets no good-bye, which would stand behind all that it has not read: the transport tells.
        let unread = closing.code == CloseCode::SLOW && self.discard_output();
        if !unread {
            let retry_after_ms = u32::try_from(retry_after.as_millis()).unwrap_or(u32::MAX);
            let body = body::Close { code: closing.code.0, reason: closing.reason.clone(), retry_after_ms };
            self.write(Lane::Control, Kind::CLOSE, 0, &body.encode_to_vec());
        }
        self.state = State::Closed;
    }

    /// What waits to be written on the main stream. A session that is behind and has drained is told so here, once.
    pub fn poll_output(&mut self) -> &mut Outbox {
        if self.behind && self.state == State::Live && self.pushes_wait_behind() == 0 {
            self.behind = false;
            self.write(Lane::Control, Kind::BEHIND, 0, &[]);
        }
        self.tell_folded();
        &mut self.outbox
    }

    /// Bytes that wait to be written.
    #[must_use]
    pub fn output_bytes(&self) -> usize {
        self.outbox.bytes()
    }

    /// Whether [`Self::poll_output`] has something.
    #[must_use]
    pub fn has_output(&self) -> bool {
        !self.outbox.is_empty() || self.behind && self.state == State::Live || self.has_folded()
    }

    /// When [`Self::handle_timeout`] wants to be called, at the latest.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        (self.state != State::Closed)
            .then(|| self.slow_due().map_or(self.deadline, |due| due.min(self.deadline)))
    }

    /// How long ago the last frame came, or zero while half a frame is waited for on the only stream.
    #[must_use]
    pub fn silence(&self, limits: &ServerLimits, now: Instant) -> Duration {
        let due = match &self.sides {
            Some(sides) => sides.idle_due(),
            None if self.decoder.is_mid_frame() => return Duration::ZERO,
            None => self.deadline,
        };
        limits.idle_timeout.saturating_sub(due.saturating_duration_since(now))
    }

    /// Checks the deadline.
    ///
    /// # Errors
    /// [`Closing`] with TIMEOUT for half a frame or a missing hello, LOST for silence, SLOW for output that nobody takes.
    pub fn handle_timeout(&mut self, now: Instant) -> Result<(), Closing> {
        if self.state == State::Closed {
            return Ok(());
        }
        if self.slow_due().is_some_and(|due| due <= now) {
            return Err(Closing::new(CloseCode::SLOW, "nothing that waits was read for too long"));
        }
        if now < self.deadline {
            return Ok(());
        }
        Err(if self.state == State::Hello {
            Closing::new(CloseCode::TIMEOUT, "no hello in time")
        } else if self.is_half_frame_due(now) {
            Closing::new(CloseCode::TIMEOUT, "half a frame and then silence")
        } else {
            Closing::new(CloseCode::LOST, "no frame for too long, not even a ping")
        })
    }

    /// Answers a PING, unless so much waits already that the client cannot be reading: it would get no answer in time.
    fn pong(&mut self, ping: &Frame, limits: &ServerLimits) {
        if self.queued_bytes() < limits.push_bytes_max {
            self.write(ping.lane, Kind::PONG, ping.id, &[]);
        }
    }

    fn write(&mut self, lane: Lane, kind: Kind, id: u64, body: &[u8]) -> Bytes {
        let mut frame = BytesMut::new();
        encode_into(lane, kind, id, body, &mut frame);
        let frame = frame.freeze();
        self.outbox_of(lane).push(frame.clone());
        frame
    }
}

fn broken(error: &FrameError) -> Closing {
    let code = match error {
        FrameError::TooLong { .. } => CloseCode::FRAME_TOO_LONG,
        FrameError::Lane(_) => CloseCode::BAD_FRAME,
    };
    Closing::new(code, error.to_string())
}

fn out_of_turn(kind: Kind, when: &str) -> Closing {
    Closing::new(CloseCode::OUT_OF_TURN, format!("frame kind {:#04x} {when}", kind.0))
}

#[cfg(test)]
#[path = "server_tests.rs"]
mod tests;
