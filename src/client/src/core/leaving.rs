//! Leaving a server that asked for it, so that nobody notices: the next connection is made while the session goes on, then
//! what is in flight is waited for, then the session moves.
//!
//! ```text
//!   GoAway ──► slot ──► Prepare ──► prepared, or not ──► answers are in ──► good-bye here, hello there
//! ```

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use nearport_session::{self as session, Closing};
use nearport_wire::body::Endpoint;
use nearport_wire::close::CloseCode;

use super::{Core, Path, State};
use crate::event::Event;

/// How long answers may be waited for before the session moves. What has none then goes out again afterwards.
const DRAIN: Duration = Duration::from_secs(2);

/// Places that one GoAway may name; the rest is not looked at.
const REFERRALS_MAX: usize = 4;

/// Where a server sends its clients.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Referral {
    /// Address of the edge, for UDP and TCP alike.
    pub address: SocketAddr,
    /// Name in its certificate; `None`: the one that is in use.
    pub name: Option<String>,
}

impl Referral {
    fn parse(endpoint: Endpoint) -> Option<Self> {
        let name = Some(endpoint.server_name).filter(|name| !name.is_empty());
        Some(Self { address: endpoint.address.parse().ok()?, name })
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Leaving {
    /// Until the slot.
    Waiting(Instant),
    /// The next connection is being made, for so long at most.
    Preparing(Instant),
    /// What is in flight is waited for, for so long at most. The path is that of the next connection.
    Draining(Instant, Option<Path>),
}

impl Core {
    /// Where the next connection goes, best first, before the server of the configuration: what the last GoAway said.
    #[must_use]
    pub fn referrals(&self) -> &[Referral] {
        &self.referrals
    }

    /// The connection that [`TransportAction::Prepare`](super::TransportAction::Prepare) asked for is up.
    /// [`TransportAction::Switch`](super::TransportAction::Switch) follows when the session is ready to move.
    pub fn handle_prepared(&mut self, now: Instant, path: Path) {
        if let Some(Leaving::Preparing(_) | Leaving::Draining(_, Some(_))) = self.leaving {
            let until = match self.leaving {
                Some(Leaving::Draining(until, _)) => until,
                _ => now + DRAIN,
            };
            self.leaving = Some(Leaving::Draining(until, Some(path)));
            self.leave_when_drained(now);
        }
    }

    /// There is no such connection, or it is lost again: the session says good-bye first and connects then.
    pub fn handle_prepare_failed(&mut self, now: Instant) {
        if let Some(Leaving::Preparing(_) | Leaving::Draining(..)) = self.leaving {
            self.leaving = Some(Leaving::Draining(now + DRAIN, None));
            self.leave_when_drained(now);
        }
    }

    pub(super) fn go_away(
        &mut self,
        now: Instant,
        reason: CloseCode,
        slot: Duration,
        targets: Vec<Endpoint>,
    ) {
        self.count_good_session(now);
        // A server that asks again and again is left more and more slowly.
        let slot = slot + self.backoff.next_after_go_away();
        let at = match self.leaving {
            None => now + slot,
            Some(Leaving::Waiting(planned)) => planned.min(now + slot),
            Some(Leaving::Preparing(_) | Leaving::Draining(..)) => return,
        };
        self.leaving = Some(Leaving::Waiting(at));
        self.referrals = targets.into_iter().take(REFERRALS_MAX).filter_map(Referral::parse).collect();
        self.inbox.tell(Event::GoAway { code: reason, slot });
    }

    /// Whether new requests are held back for the next session.
    pub(super) fn is_draining(&self) -> bool {
        matches!(self.leaving, Some(Leaving::Draining(..)))
    }

    pub(super) fn leaving_timeout(&self) -> Option<Instant> {
        self.leaving.map(|(Leaving::Waiting(at) | Leaving::Preparing(at) | Leaving::Draining(at, _))| at)
    }

    pub(super) fn handle_leaving_timeout(&mut self, now: Instant) {
        match self.leaving {
            Some(Leaving::Waiting(at)) if at <= now => {
                self.leaving = Some(Leaving::Preparing(now + self.config.limits.connect_timeout));
                self.prepare = true;
            }
            Some(Leaving::Preparing(until)) if until <= now => self.handle_prepare_failed(now),
            _ => self.leave_when_drained(now),
        }
    }

    /// Moves the session once its requests are answered, or have had their time.
    pub(super) fn leave_when_drained(&mut self, now: Instant) {
        let Some(Leaving::Draining(until, next)) = self.leaving else { return };
        if !self.asked.is_empty() && now < until {
            return;
        }
        // It leaves in its slot, which is all the order that there is to be.
        self.return_window = None;
        self.inbox.shown_so_far();
        if let Some(session) = &mut self.session {
            if let Some(position) = self.inbox.take_ack(now, true) {
                session.acknowledge(now, position);
            }
            session.close(now);
        }
        self.part();
        match next {
            Some(path) => {
                self.forget_connection();
                self.switch = true;
                self.state = State::Connecting;
                self.handle_connected(now, path);
            }
            None => {
                self.disconnect = Some(CloseCode::BYE);
                self.forget_connection();
                let closing = Closing::new(CloseCode::GOING_AWAY, "the server asked to leave");
                self.last_closing = Some(closing.clone());
                let (code, reason) = (closing.code, closing.reason);
                self.inbox.tell(Event::Disconnected { code, reason, retry_in: Duration::ZERO });
                self.begin_attempt(now);
            }
        }
    }

    /// Lets the session go; its last output is kept for the transport.
    pub(super) fn part(&mut self) {
        if let Some(mut session) = self.session.take() {
            self.parting = session::Client::poll_output(&mut session).take();
        }
    }
}
