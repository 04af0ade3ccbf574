//! Attempts and their ends: when to connect, when to wait, when to give up.

use std::time::{Duration, Instant};

use nearport_session::Closing;
use nearport_wire::close::{CloseCode, Return};

use super::backoff::HEALTHY_AFTER;
use super::{Answer, Core, NEW_PATH_TIMEOUT, State};
use crate::event::{Event, Failure};

impl Core {
    /// As [`Self::handle_disconnected`], when nothing says that the server is gone: only the path is. What the server
    /// wished for the return of its crowd does not count then.
    pub fn handle_path_dead(&mut self, now: Instant, closing: Closing) {
        self.return_window = None;
        self.handle_disconnected(now, closing);
    }

    /// The path is silent: sends something that the server answers, so that silence means something. Nothing before
    /// the welcome.
    pub fn probe_path(&mut self, now: Instant) {
        if let Some(session) = &mut self.session {
            session.ping(now, self.config.limits.answer_timeout);
        }
    }

    /// The device has another network or another address. `survives`: the connection may go on from there, so the
    /// server is asked at once; otherwise it is given up and the next attempt begins at once.
    pub fn network_changed(&mut self, now: Instant, survives: bool) {
        self.crowded = false;
        match self.state {
            State::Live if survives => {
                if let Some(session) = &mut self.session {
                    session.ping(now, NEW_PATH_TIMEOUT);
                }
            }
            State::Live | State::Opening => {
                // It is this device that moves, and no crowd.
                self.return_window = None;
                self.disconnect = Some(CloseCode::BYE);
                self.part();
                self.forget_connection();
                let closing = Closing::new(CloseCode::LOST, "the network has changed");
                self.last_closing = Some(closing.clone());
                self.inbox.tell(Event::Disconnected {
                    code: closing.code,
                    reason: closing.reason,
                    retry_in: Duration::ZERO,
                });
                self.begin_attempt(now);
            }
            State::Connecting => {
                self.disconnect = Some(CloseCode::BYE);
                self.begin_attempt(now);
            }
            State::Backoff => self.reconnect_now(now),
            State::Stopped => {}
        }
    }

    /// Whether others try to come back to the same server at this moment: it is busy, so what it owes may come late.
    pub fn returns_with_crowd(&self) -> bool {
        self.crowded
    }

    pub(super) fn begin_attempt(&mut self, now: Instant) {
        self.session = None;
        self.state = State::Connecting;
        self.connect = true;
        self.deadline = Some(now + self.config.limits.connect_timeout);
    }

    /// This side gives up on the transport.
    pub(super) fn break_off(&mut self, now: Instant, closing: Closing) {
        self.return_window = None;
        self.disconnect = Some(closing.code);
        self.connect = false;
        self.end(now, closing, Duration::ZERO);
    }

    /// The session or the attempt is over.
    pub(super) fn end(&mut self, now: Instant, closing: Closing, retry_after: Duration) {
        self.part();
        self.count_good_session(now);
        // What the last server said counts for the attempt after it.
        if matches!(self.state, State::Connecting | State::Opening) {
            self.referrals.clear();
        }
        let returns = closing.code.returns();
        // A token that is refused says nothing about the UserSig: that is tried at once, and once.
        let with_usersig = closing.code == CloseCode::UNAUTHORIZED && self.resume.refused();
        if with_usersig {
            self.forget_connection();
            return self.back_off(now, closing, Duration::ZERO);
        }
        if matches!(returns, Return::No | Return::AfterChange) {
            return self.stop(closing);
        }
        self.forget_connection();
        // What ends the sessions of a whole crowd at once. A slow reader is sent away alone.
        let with_others = matches!(closing.code, CloseCode::LOST | CloseCode::GOING_AWAY);
        let window = self.return_window.take().filter(|_| with_others && retry_after.is_zero());
        self.crowded |= window.is_some();
        let retry_in = match window {
            Some(window) => self.backoff.next_within(window),
            None => self.backoff.next(returns, retry_after),
        };
        self.back_off(now, closing, retry_in);
    }

    pub(super) fn count_good_session(&mut self, now: Instant) {
        if self.live_since.is_some_and(|since| now >= since + HEALTHY_AFTER) {
            self.backoff.reset();
        }
    }

    pub(super) fn back_off(&mut self, now: Instant, closing: Closing, retry_in: Duration) {
        self.state = State::Backoff;
        self.deadline = Some(now + retry_in);
        self.last_closing = Some(closing.clone());
        self.inbox.tell(Event::Disconnected { code: closing.code, reason: closing.reason, retry_in });
    }

    /// No way back by itself. Where a change of credentials helps, the outbox waits for it.
    pub(super) fn stop(&mut self, closing: Closing) {
        self.forget_connection();
        self.state = State::Stopped;
        self.connect = false;
        self.deadline = None;
        if closing.code.returns() != Return::AfterChange {
            for (counter, item) in self.sends.take_all() {
                self.report(counter, &item, Err(Failure::Stopped));
            }
        }
        for id in self.requests.take_all() {
            self.answers.push_back(Answer::Request { id, result: Err(Failure::Stopped) });
        }
        self.last_closing = Some(closing.clone());
        self.inbox.tell(Event::Stopped { code: closing.code, reason: closing.reason });
    }

    pub(super) fn forget_connection(&mut self) {
        self.asked.clear();
        self.groups.connection_lost();
        self.live_rooms.forget();
        self.follows = false;
        self.live_since = None;
        self.leaving = None;
        self.prepare = false;
        self.paused_beat = None;
        self.session_rests_until = None;
        for (counter, item) in self.sends.connection_lost() {
            self.report(counter, &item, Err(Failure::Lost));
        }
        for id in self.requests.connection_lost() {
            self.answers.push_back(Answer::Request { id, result: Err(Failure::Lost) });
        }
    }
}
