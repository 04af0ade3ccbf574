//! Resume tokens at the seam: opened in a hello on its way up, sealed into a welcome on its way down.

use std::time::{Duration, Instant};

use bytes::Bytes;
use nearport_session::Closing;
use nearport_trunk::{Identity, SessionId, Up};
use nearport_wire::body::{HelloClaim, Platform, append_resume};
use nearport_wire::close::CloseCode;
use nearport_wire::code;
use prost::Message as _;

use super::Shard;
use super::stream::Carrier;
use crate::keys::{KeyRing, Keys};
use crate::resume::{self, Claim, Refusal};

/// What a shard needs for resume tokens.
#[derive(Debug, Clone)]
pub struct ResumeConfig {
    /// The cluster's keys.
    pub keys: Keys,
    /// How long a token is good; zero: none are given. Those of other nodes are taken in any case.
    pub ttl: Duration,
    /// The wall clock at the start of the shard, as time since the Unix epoch. [`Shard::set_unix_time`] keeps it right.
    pub unix_time: Duration,
}

/// The wall clock as far as a shard knows it: what it read at some instant.
#[derive(Debug, Clone, Copy)]
pub(super) struct WallClock {
    read_at: Instant,
    read: Duration,
}

impl WallClock {
    pub(super) fn new(read_at: Instant, read: Duration) -> Self {
        Self { read_at, read }
    }

    fn unix_s(self, now: Instant) -> u64 {
        self.read.saturating_add(now.saturating_duration_since(self.read_at)).as_secs()
    }
}

impl Shard {
    /// Tells what the wall clock reads. Call it as often as a step of that clock may go unnoticed: tokens expire by it.
    pub fn set_unix_time(&mut self, now: Instant, unix_time: Duration) {
        self.clock = WallClock::new(now, unix_time);
    }

    /// Opens the tokens of the hellos that are about to go up, and remembers their platforms. A guest, who names no user, ends here too unless it is in a browser. A bad token ends its session here, unless the hello has a
    /// UserSig too: then that decides.
    pub(super) fn vouch(&mut self, now: Instant) {
        if !self.ups.iter().any(|up| matches!(up, Up::Open { .. })) {
            return;
        }
        let (ring, now_s) = (self.config.resume.keys.ring(), self.clock.unix_s(now));
        let mut refused: Vec<(SessionId, String)> = Vec::new();
        let (stats, conns) = (&mut self.stats, &mut self.conns);
        self.ups.retain_mut(|up| {
            let Up::Open { session, hello, vouched, .. } = up else { return true };
            // A hello that cannot be read goes up as it is: the backend has the answer to that.
            let Ok(claim) = HelloClaim::decode(hello.clone()) else { return true };
            if let Some(conn) = conns.get_mut(session.connection()).filter(|conn| conn.id == *session) {
                conn.platform = u8::try_from(claim.platform).unwrap_or_default();
                let web = matches!(conn.phase().carrier, Some(Carrier::WebSocket | Carrier::WebTransport));
                if claim.user.is_empty() && claim.platform == Platform::Web as i32 && !web {
                    let reason =
                        format!("{} guests come over WebSocket or WebTransport", code::NOT_LOGGED_IN);
                    refused.push((*session, reason));
                    return false;
                }
            }
            if claim.resume.is_empty() {
                return true;
            }
            match open(&ring, &claim, now_s) {
                Ok(identity) => {
                    stats.resume_opened += 1;
                    *vouched = Some(Box::new(identity));
                    true
                }
                Err(refusal) => {
                    stats.resume_refused += 1;
                    let decided = claim.usersig.is_empty();
                    if decided {
                        refused.push((*session, format!("{} resume token: {refusal}", refusal.code())));
                    }
                    !decided
                }
            }
        });
        for (session, reason) in refused {
            self.close(session, Closing::new(CloseCode::UNAUTHORIZED, reason), Duration::ZERO);
            // The backend never heard of it.
            self.ups.retain(|up| !matches!(up, Up::Close { session: closed, .. } if *closed == session));
        }
    }

    /// The welcome with a token for next time, if the backend says who it is for.
    pub(super) fn with_token(&mut self, welcome: Bytes, identity: Option<&Identity>) -> Bytes {
        let resume = &self.config.resume;
        let token = identity.and_then(|identity| {
            resume::seal(&resume.keys.ring(), identity, resume.ttl, self.clock.unix_s(self.now))
        });
        let Some(token) = token else { return welcome };
        self.stats.resume_sealed += 1;
        append_resume(&welcome, &token.bytes, token.ttl_s)
    }
}

fn open(ring: &KeyRing, claim: &HelloClaim, now_s: u64) -> Result<Identity, Refusal> {
    let HelloClaim { app, user, device, resume, .. } = claim;
    Claim { app: *app, user, device, token: resume }.check(ring, now_s)
}
