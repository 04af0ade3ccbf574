//! The window for coming back that each client knows (`docs/protocol.md` §3, "Coming back"), told anew as the crowd changes.
//!
//! The welcome says it for the sessions that there are at that moment. The early ones of a growing crowd would all come
//! back within the first part of the time that the whole crowd needs: of 10,000 that arrived one after the other, 43 % would
//! come in the first of seven seconds. So a session whose window has changed is told, together with something else that is on
//! its way to it, a PONG at the latest: that costs five bytes and no packet.

use std::time::Duration;

use super::Shard;

/// What a client was told.
#[derive(Debug, Default)]
pub(super) struct Told {
    window_ms: u32,
    /// The shard's tick at which it was last compared with what it should be.
    tick: u8,
    /// That the backend is away.
    pub(super) away: bool,
}

impl Told {
    /// By the welcome.
    pub(super) fn welcomed(&mut self, window: Duration) {
        self.window_ms = millis(window);
    }

    /// Whether another window is worth saying: a longer one soon, for the sake of the crowd, a shorter one at half.
    fn differs(&self, window_ms: u32) -> bool {
        window_ms > self.window_ms + self.window_ms / 4 || window_ms < self.window_ms / 2
    }
}

pub(super) fn millis(window: Duration) -> u32 {
    u32::try_from(window.as_millis()).unwrap_or(u32::MAX)
}

impl Shard {
    /// Lets sessions compare their windows again.
    pub(super) fn tick_return_windows(&mut self) {
        self.returns_tick = self.returns_tick.wrapping_add(1);
    }

    /// Puts a new window beside what a session is about to write, if there is one. Looks at most once a tick.
    pub(super) fn tell_return_window(&mut self, index: u32) {
        let tick = self.returns_tick;
        let Some(conn) = self.conns.get_mut(index) else { return };
        if conn.told.tick == tick || !conn.session.has_output() {
            return;
        }
        conn.told.tick = tick;
        let network = conn.prefix;
        let window_ms = millis(self.gate.return_window(self.stats.sessions, network));
        if let Some(conn) = self.conns.get_mut(index)
            && conn.told.differs(window_ms)
            && conn.session.tell_return_window(window_ms, &self.config.session)
        {
            conn.told.window_ms = window_ms;
        }
    }
}
