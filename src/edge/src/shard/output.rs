//! What waits to be read by clients: counted for each connection and for the shard, with what happens when it is too
//! much. See [`crate::budget`].

use std::time::{Duration, Instant};

use nearport_session::{Closing, ServerLimits};
use nearport_wire::close::CloseCode;

use super::Shard;
use crate::budget::Level;

/// Bytes that may wait for a session that still gets pushes while the shard holds back.
const HELD_BYTES_MAX: usize = 4096;

/// The bounds of sessions at the levels of the budget; those of the calm level are the configured ones.
#[derive(Debug)]
pub(super) struct Squeezed {
    thin: ServerLimits,
    hold: ServerLimits,
}

impl Squeezed {
    pub(super) fn new(limits: &ServerLimits) -> Self {
        let thin = ServerLimits { live_bytes_max: 0, ..limits.clone() };
        let hold = ServerLimits { push_bytes_max: limits.push_bytes_max.min(HELD_BYTES_MAX), ..thin.clone() };
        Self { thin, hold }
    }

    /// The bounds for pushes; `calm` are the configured ones.
    pub(super) fn at<'a>(&'a self, level: Level, calm: &'a ServerLimits) -> &'a ServerLimits {
        match level {
            Level::Calm => calm,
            Level::Thin => &self.thin,
            Level::Hold | Level::Shed => &self.hold,
        }
    }
}

impl Shard {
    /// Whether transports are to take little in advance.
    pub(super) fn is_squeezed(&self) -> bool {
        self.budget.level() > Level::Calm
    }

    /// Counts what the transport of a connection has left, and closes the session if it is too much for one.
    pub(super) fn settle(&mut self, index: u32, now: Instant) {
        let Some(conn) = self.conns.get_mut(index) else { return };
        let outcome = conn.session.settle(&self.config.session, now);
        self.stats.requests_limited += u64::from(conn.session.take_limited());
        if let (Err(closing), false) = (outcome, conn.ended) {
            self.stats.output_overflows += 1;
            conn.close(closing, Duration::ZERO, &mut self.ups);
            self.account(index);
            self.touch(index);
        }
        self.count_output(index);
        if self.budget.level() == Level::Shed {
            self.shed();
        }
    }

    /// Brings the budget in step with a connection.
    pub(super) fn count_output(&mut self, index: u32) {
        if let Some(conn) = self.conns.get_mut(index) {
            let cost = conn.output_cost();
            self.budget.change(conn.counted_output, cost);
            conn.counted_output = cost;
        }
    }

    /// Sends those away that cost most memory. They come back at once and sync.
    fn shed(&mut self) {
        let mut leaving = 0;
        let costs = self.conns.iter_mut().map(|(index, conn)| {
            // What the transport of a session that is over holds goes with the connection, in a second or so.
            let cost = if conn.ended { conn.session.output_cost() } else { conn.counted_output };
            leaving += conn.counted_output.saturating_sub(cost);
            (index, cost)
        });
        let costs: Vec<_> = costs.collect();
        for index in self.budget.shed(costs.into_iter(), leaving) {
            let Some(conn) = self.conns.get_mut(index) else { continue };
            if conn.ended {
                conn.session.discard();
            } else {
                self.stats.output_sheds += 1;
                let reason = "the server is short of memory for what waits to be read";
                conn.close(Closing::new(CloseCode::SLOW, reason), Duration::ZERO, &mut self.ups);
            }
            self.account(index);
            self.touch(index);
            self.count_output(index);
        }
    }
}
