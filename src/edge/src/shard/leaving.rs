//! Sending the clients away: each gets a slot and places to go to.

use std::sync::Arc;
use std::time::{Duration, Instant};

use nearport_session::Closing;
use nearport_wire::body::Endpoint;
use nearport_wire::close::CloseCode;

use super::Shard;

/// How clients are asked to leave.
#[derive(Debug, Clone, Default)]
pub struct Departure {
    /// Their slots are spread evenly over this time.
    pub within: Duration,
    /// Where to, best first; empty: the same server.
    pub targets: Arc<[Endpoint]>,
    /// Whether connections that are on their way in still get in, to be asked to leave like the others. For a process whose
    /// sockets another one reads: what comes here then is a handshake that had begun here.
    pub accept: bool,
}

/// A departure that goes on.
#[derive(Debug)]
pub(super) struct Leaving {
    until: Instant,
    targets: Arc<[Endpoint]>,
}

impl Shard {
    /// Asks every client to leave, and those that still come in.
    pub fn drain(&mut self, departure: &Departure, now: Instant) {
        self.draining = !departure.accept;
        let live = self.stats.sessions.max(1);
        let mut slot = 0u32;
        for index in self.conns.indices() {
            let Some(conn) = self.conns.get_mut(index).filter(|conn| conn.session.is_live()) else {
                continue;
            };
            let at = departure.within.mul_f64(f64::from(slot) / live as f64);
            conn.session.go_away(CloseCode::GOING_AWAY, at, &departure.targets);
            slot += 1;
            self.touch(index);
        }
        let (until, targets) = (now + departure.within, departure.targets.clone());
        self.leaving = Some(Leaving { until, targets });
    }

    /// Takes connections again. Who was asked to leave goes, and may come back.
    pub fn undrain(&mut self) {
        self.draining = false;
        self.leaving = None;
    }

    /// A session has become live: if the others were asked to leave, it comes too late to stay. Its slot is in the middle of
    /// the time that is left, in which the earlier ones thin out.
    pub(super) fn ask_to_leave(&mut self, index: u32) {
        let Some(Leaving { until, targets }) = &self.leaving else { return };
        let slot = until.saturating_duration_since(self.now) / 2;
        if let Some(conn) = self.conns.get_mut(index) {
            conn.session.go_away(CloseCode::GOING_AWAY, slot, targets);
        }
    }

    /// Closes every connection. Run turns until [`Self::is_empty`] or until patience ends.
    pub fn close_all(&mut self, closing: &Closing) {
        self.draining = true;
        self.close_sessions(closing);
    }

    /// Closes every connection that there is now.
    pub fn close_sessions(&mut self, closing: &Closing) {
        for index in self.conns.indices() {
            if let Some(conn) = self.conns.get_mut(index) {
                conn.close(closing.clone(), Duration::ZERO, &mut self.ups);
                self.account(index);
                self.touch(index);
            }
        }
    }
}
