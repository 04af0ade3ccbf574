//! When the backend goes and another one comes: the shard keeps its sessions.
//!
//! ```text
//!             park, or the link ended            switch_link                 every session has its answer
//!  Attached ─────────────────────────► Parked ───────────────► Adopting ───────────────────────────────► Attached
//! ```
//!
//! While no backend is there, what clients send waits, in order and within bounds; at the bound it gets the usual busy
//! answer. A new backend first learns of every live session ([`Up::Adopt`]) and only then of what waited: a request of
//! a session that it does not know would be dropped. Each session is marked behind when the answer comes, because
//! nobody published to it meanwhile.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use nearport_session::Closing;
use nearport_trunk::remote::RETRY_AFTER;
use nearport_trunk::{Down, Identity, Link, SessionId, Up};
use nearport_wire::Kind;
use nearport_wire::close::CloseCode;

use super::Shard;

/// What may wait while there is no backend. A second of 8,000 requests, and the largest ones do not fill memory.
const PARKED_ITEMS_MAX: usize = 8_192;
const PARKED_BYTES_MAX: usize = 8 << 20;

/// Without a backend for this long, sessions are closed, where another process of this host is to bring one. Their clients
/// gave the first requests up after 10 s. An edge whose core is another host waits longer
/// ([`super::ShardConfig::backend_away_max`]).
pub const BACKEND_AWAY_MAX: Duration = Duration::from_secs(30);

/// When a link has broken, what clients send waits this long for the next one; then it is answered, and what still comes is
/// answered at once. Below the 10 s after which clients give a request up.
pub(super) const PATIENCE: Duration = Duration::from_secs(5);

/// When to come back to an edge whose core is away.
const AWAY_RETRY: Duration = Duration::from_secs(2);

/// A session whose adoption has no answer by then is closed resumably. Answers are lost only where a queue overflows.
const ADOPTION_MAX: Duration = Duration::from_secs(10);

/// Whether there is a backend.
#[derive(Debug)]
pub(super) enum Backing {
    /// The link takes messages.
    Attached,
    /// There is none, and by then it is too late.
    Parked {
        /// When to give up.
        until: Instant,
        /// When to answer what waits: not before another backend is there, if one has been announced.
        patience: Option<Instant>,
        /// Patience has ended.
        away: bool,
    },
    /// It is learning of the sessions.
    Adopting {
        /// Not sent yet.
        adoptions: Vec<Up>,
        /// Not answered yet.
        waiting: HashSet<SessionId>,
        /// When to give up on those.
        until: Instant,
    },
}

/// Sessions whose requests a broken link has refused. Their clients may have sent more before they heard of that, which must not
/// overtake what they will send again: it is refused, too, for as long as a client that has heard of it sends nothing.
#[derive(Debug, Default)]
pub(super) struct Interrupted {
    sessions: HashSet<SessionId>,
    until: Option<Instant>,
}

/// What waits for a backend.
#[derive(Debug, Default)]
pub(super) struct Parked {
    ups: Vec<Up>,
    bytes: usize,
}

impl Parked {
    /// Keeps `up`, unless there is no room and it may be refused.
    fn keep(&mut self, up: Up) -> Result<(), Up> {
        let cost = up.cost();
        let full = self.ups.len() >= PARKED_ITEMS_MAX || self.bytes + cost > PARKED_BYTES_MAX;
        if full && !matches!(up, Up::Close { .. } | Up::Adopt { .. }) {
            return Err(up);
        }
        self.bytes += cost;
        self.ups.push(up);
        Ok(())
    }
}

impl Shard {
    /// Sends nothing more to the backend, so that it can finish what it has and end. What it still answers is taken.
    /// What it had no room for waits for the next one.
    pub fn park(&mut self, now: Instant) {
        match self.backing {
            Backing::Attached => {
                self.link.send(&mut self.ups);
                self.link.finish();
            }
            Backing::Adopting { .. } => {}
            Backing::Parked { .. } => return,
        }
        let until = now + self.config.backend_away_max;
        self.backing = Backing::Parked { until, patience: None, away: false };
        self.park_ups();
    }

    /// Whether the backend takes messages and knows every session.
    #[must_use]
    pub fn is_attached(&self) -> bool {
        matches!(self.backing, Backing::Attached)
    }

    /// Goes on with another backend. Everything that the former one answered must be in its link: park, let it end, then
    /// switch. Sessions whose backend gave them no identity cannot be handed over; they are closed resumably.
    pub fn switch_link(&mut self, link: Box<dyn Link>, now: Instant) {
        self.now = now;
        self.park(now);
        self.more_downs = true;
        while self.more_downs {
            self.take_downs();
        }
        self.link = link;
        let (mut adoptions, mut waiting) = (Vec::new(), HashSet::new());
        for index in self.conns.indices() {
            let Some(mut conn) = self.conns.borrow(index) else { continue };
            // The new backend says what they listen to.
            self.leave_all(&mut conn);
            if conn.phase().live {
                match conn.identity.as_deref().and_then(Identity::unpack) {
                    Some(identity) => {
                        let (session, platform) = (conn.id, conn.platform);
                        adoptions.push(Up::Adopt { session, identity: Box::new(identity), platform });
                        waiting.insert(conn.id);
                    }
                    None => {
                        let closing = Closing::new(CloseCode::GOING_AWAY, "the backend was replaced");
                        conn.close(closing, Duration::ZERO, &mut self.ups);
                    }
                }
            }
            self.conns.put_back(index, conn);
            self.account(index);
            self.touch(index);
        }
        self.stats.adoptions += adoptions.len() as u64;
        self.backing = Backing::Adopting { adoptions, waiting, until: now + ADOPTION_MAX };
        self.park_ups();
        self.offer_adoptions(now);
    }

    /// The link is over, and these were its last words: remembers whom it refused something.
    pub(super) fn note_interrupted(&mut self, downs: &[Down]) {
        let refused = downs.iter().filter_map(|down| match down {
            Down::Reply { session, kind: Kind::ERROR, .. } => Some(*session),
            _ => None,
        });
        let refused: Vec<_> = refused.collect();
        // Those of an earlier link wait on with them: longer does no harm.
        if !refused.is_empty() {
            self.interrupted.sessions.extend(refused);
            self.interrupted.until = Some(self.now + RETRY_AFTER);
        }
    }

    /// Refuses what stands behind requests that were refused.
    pub(super) fn refuse_interrupted(&mut self, now: Instant) {
        match self.interrupted.until {
            None => {}
            Some(until) if until <= now => self.interrupted = Interrupted::default(),
            Some(_) => {
                let behind = |up: &Up| matches!(up, Up::Frame { session, .. } if self.interrupted.sessions.contains(session));
                let (refused, rest) = std::mem::take(&mut self.ups).into_iter().partition(behind);
                self.ups = rest;
                self.refuse_for(refused, RETRY_AFTER, "the core has gone: send it again");
            }
        }
    }

    /// Whether the backend has been gone for so long that requests are refused.
    fn is_away(&self) -> bool {
        matches!(self.backing, Backing::Parked { away: true, .. })
    }

    /// Tells a session that does not know whether the backend is away. One that joins or reads late hears it with its next output.
    pub(super) fn tell_away(&mut self, index: u32) {
        let away = self.is_away();
        if let Some(conn) = self.conns.get_mut(index)
            && conn.told.away != away
            && conn.session.tell_away(away, &self.config.session)
        {
            conn.told.away = away;
        }
    }

    /// The link is over: what came last has been taken.
    pub(super) fn link_ended(&mut self) {
        if !matches!(self.backing, Backing::Parked { .. }) {
            tracing::warn!(shard = self.config.index, "the backend has gone");
            self.stats.backend_losses += 1;
            self.backing = Backing::Parked {
                until: self.now + self.config.backend_away_max,
                patience: Some(self.now + PATIENCE),
                away: false,
            };
        }
    }

    /// Puts aside what clients sent meanwhile.
    pub(super) fn park_ups(&mut self) {
        if self.is_away() {
            let ups = std::mem::take(&mut self.ups);
            return self.answer_away(ups);
        }
        let refused = std::mem::take(&mut self.ups).into_iter().filter_map(|up| self.parked.keep(up).err());
        let refused: Vec<_> = refused.collect();
        self.refuse(refused);
    }

    /// Nobody is there to ask: requests are to come again, hellos later. What must not be lost is kept.
    fn answer_away(&mut self, ups: Vec<Up>) {
        let mut rest = Vec::new();
        for up in ups {
            match up {
                Up::Open { session, .. } => {
                    let closing = Closing::new(CloseCode::UNAVAILABLE, "the core is away: come back later");
                    self.close(session, closing, AWAY_RETRY);
                    // The backend never heard of it.
                    self.ups
                        .retain(|up| !matches!(up, Up::Close { session: closed, .. } if *closed == session));
                }
                Up::Close { .. } | Up::Adopt { .. } => {
                    let _ = self.parked.keep(up);
                }
                other => rest.push(other),
            }
        }
        self.refuse_for(rest, AWAY_RETRY, "the core is away: send again later");
    }

    /// Hands on what the backend has room for; the rest is offered again.
    pub(super) fn offer_adoptions(&mut self, now: Instant) {
        if let Backing::Adopting { adoptions, .. } = &mut self.backing {
            self.link.send(adoptions);
            self.retry_ups_at = (!adoptions.is_empty()).then(|| now + super::UPS_RETRY);
        }
        self.look_for_the_end_of_adoption();
    }

    /// The backend has answered an adoption, one way or the other.
    pub(super) fn adoption_answered(&mut self, session: SessionId) {
        if let Backing::Adopting { waiting, .. } = &mut self.backing {
            waiting.remove(&session);
            self.look_for_the_end_of_adoption();
        }
    }

    fn look_for_the_end_of_adoption(&mut self) {
        if matches!(&self.backing, Backing::Adopting { waiting, .. } if waiting.is_empty()) {
            self.backing = Backing::Attached;
            let Parked { mut ups, .. } = std::mem::take(&mut self.parked);
            ups.append(&mut self.ups);
            self.ups = ups;
        }
    }

    /// When patience with the backend ends.
    pub(super) fn backing_deadline(&self) -> Option<Instant> {
        match self.backing {
            Backing::Attached => None,
            Backing::Parked { until, patience, .. } => {
                Some(patience.map_or(until, |patience| patience.min(until)))
            }
            Backing::Adopting { until, .. } => Some(until),
        }
    }

    /// Ends patience when it is time.
    pub(super) fn check_backing(&mut self, now: Instant) {
        if self.backing_deadline().is_none_or(|at| now < at) {
            return;
        }
        match &mut self.backing {
            Backing::Attached => {}
            Backing::Parked { until, patience, away } if *until > now => {
                (*patience, *away) = (None, true);
                let Parked { ups, .. } = std::mem::take(&mut self.parked);
                tracing::warn!(shard = self.config.index, waiting = ups.len(), "the backend is away");
                self.answer_away(ups);
                for index in self.conns.indices() {
                    self.touch(index);
                }
            }
            Backing::Parked { until, .. } => {
                *until = now + self.config.backend_away_max;
                let closing = Closing::new(CloseCode::UNAVAILABLE, "the backend has gone: come back later");
                self.close_sessions(&closing);
            }
            Backing::Adopting { waiting, .. } => {
                let mut late: Vec<_> = std::mem::take(waiting).into_iter().collect();
                late.sort_unstable();
                tracing::warn!(sessions = late.len(), "no answer to adoptions");
                for session in late {
                    let closing = Closing::new(CloseCode::GOING_AWAY, "the backend was replaced");
                    self.close(session, closing, Duration::ZERO);
                }
                self.look_for_the_end_of_adoption();
            }
        }
    }
}
