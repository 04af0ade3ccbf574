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
    /// Keeps what a welcome brought, which may be nothing.
    pub(super) fn keep(&mut self, now: Instant, welcome: &Welcome) {
        let ttl = Duration::from_secs(welcome.resume_ttl_s.into());
        self.token.clone_from(&welcome.resume_token);
        self.good_until = now.checked_add(ttl).filter(|_| !self.token.is_empty());
        self.shown = false;
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
