//! The token that stands for the UserSig when a core comes back.

use std::fmt;
use std::time::{Duration, Instant};

use bytes::Bytes;
use nearport_wire::body::Welcome;

/// The token of the last welcome, as long as it is good.
#[derive(Default)]
pub(super) struct ResumeToken {
    token: Bytes,
    good_until: Option<Instant>,
    /// The hello that waits for its answer carries it.
    shown: bool,
}

impl ResumeToken {
    /// A token of an earlier life.
    pub(super) fn new(now: Instant, token: Bytes, good_for: Duration) -> Self {
        let good_until = now.checked_add(good_for).filter(|_| !token.is_empty());
        Self { token, good_until, shown: false }
    }

    /// The token and how long it is good from `now`.
    pub(super) fn good(&self, now: Instant) -> Option<(Bytes, Duration)> {
        let left = self.good_until?.saturating_duration_since(now);
        (!left.is_zero()).then(|| (self.token.clone(), left))
    }

    /// Keeps what a welcome brought, which may be nothing.
    pub(super) fn keep(&mut self, now: Instant, welcome: &Welcome) {
        let good_for = Duration::from_secs(welcome.resume_ttl_s.into());
        *self = Self::new(now, welcome.resume_token.clone(), good_for);
    }

    /// The token for the next hello; empty: a UserSig is needed.
    pub(super) fn show(&mut self, now: Instant) -> Bytes {
        self.shown = self.good_until.is_some_and(|until| now < until);
        if self.shown { self.token.clone() } else { Bytes::new() }
    }

    /// The login was refused for what it showed. `true`: that was a token, which is dropped, and the UserSig may still
    /// be good.
    pub(super) fn refused(&mut self) -> bool {
        let shown = self.shown;
        if shown {
            *self = Self::default();
        }
        shown
    }
}

impl fmt::Debug for ResumeToken {
    /// Without the token.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResumeToken").field("good_until", &self.good_until).finish_non_exhaustive()
    }
}
