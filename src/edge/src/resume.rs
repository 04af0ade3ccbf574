//! Resume tokens: the proof that a device has logged in before, so that no UserSig has to be checked again.
//!
//! The edge seals a token for each session that the backend accepts and opens it when the device comes back, here or at any
//! node that has the secret, without asking anybody. It proves who the device is; whether the App is still there and
//! whether the account was kicked since stays the backend's question.
//!
//! ```text
//! version u8 = 1 | app u32 | issued_s u64 | expires_s u64 | sealed_s u64 | ends_s u64 | user | device
//! ```
//!
//! in network order, names as a length octet and their bytes, all of it sealed as the private module `seal` says. `issued_s` and
//! `expires_s` are those of the UserSig of the first login, however often the token was renewed since; `ends_s` is the
//! earlier of `expires_s` and `sealed_s` + `edge.resume_ttl`.
//!
//! **Clocks.** A token is taken while the clock of the edge that opens it reads from 10 minutes before `sealed_s` to 10
//! minutes after `ends_s`. So a step of a clock, or a difference of two, by up to 10 minutes refuses nobody whose time
//! is not over, and lets nobody in at a reading later than that. A clock that is further off costs the UserSig check and
//! no more: the client sends its UserSig after a refusal.

use std::time::Duration;

use nearport_trunk::Identity;
use nearport_wire::code;

use crate::keys::{KeyRing, Purpose};
use crate::seal::OpenError;

/// Longest token. With names of 32 bytes a token has 132.
pub const TOKEN_BYTES_MAX: usize = 200;

/// How far apart the clocks of two nodes, or of one before and after a step, may be.
pub const SKEW: Duration = Duration::from_mins(10);

const VERSION: u8 = 1;

/// Octets in front of the names.
const HEAD: usize = 1 + 4 + 4 * 8;

/// A token for its client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Token {
    /// What the client sends back.
    pub bytes: Vec<u8>,
    /// How long it is good, in seconds: what the client is told.
    pub ttl_s: u32,
}

/// Why a token is not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// Its time is over.
    #[error("it has expired")]
    Expired,
    /// Sealed later than this edge's clock reads: one of the two clocks is wrong.
    #[error("it was made in the future of this server's clock")]
    Early,
    /// Sealed with a secret that is not in use any more, or not yet.
    #[error("its key is not in use here")]
    UnknownKey,
    /// Of a version that this edge does not know.
    #[error("its version is not known here")]
    Version,
    /// Cut short, changed, or not ours.
    #[error("it was changed on its way")]
    Broken,
    /// Made for another App.
    #[error("it was made for another app")]
    OtherApp,
    /// Made for another user or device.
    #[error("it was made for another user or device")]
    OtherUser,
}

impl Refusal {
    /// The error code of the public contract that stands in the close reason: that of a UserSig with the same fault.
    #[must_use]
    pub fn code(self) -> u32 {
        match self {
            Self::Expired | Self::Early | Self::UnknownKey | Self::Version => code::SIG_EXPIRED,
            Self::Broken => code::SIG_MALFORMED,
            Self::OtherApp => code::SIG_OTHER_APP,
            Self::OtherUser => code::SIG_OTHER_USER,
        }
    }
}

/// A token for `who`, good for `ttl` from `now_s` (Unix seconds), but never longer than the UserSig. `None` if that is
/// over or `ttl` is zero, and if names are too long for a token.
#[must_use]
pub fn seal(ring: &KeyRing, who: &Identity, ttl: Duration, now_s: u64) -> Option<Token> {
    let ends_s = now_s.saturating_add(ttl.as_secs()).min(who.expires_s);
    let ttl_s = ends_s.checked_sub(now_s).filter(|ttl_s| *ttl_s > 0)?;
    let mut plain = Vec::with_capacity(HEAD + 2 + who.user.len() + who.device.len());
    plain.push(VERSION);
    plain.extend_from_slice(&who.app.to_be_bytes());
    for seconds in [who.issued_s, who.expires_s, now_s, ends_s] {
        plain.extend_from_slice(&seconds.to_be_bytes());
    }
    for name in [&who.user, &who.device] {
        plain.push(u8::try_from(name.len()).ok()?);
        plain.extend_from_slice(name.as_bytes());
    }
    let bytes = ring.seal(Purpose::Resume, &plain).filter(|bytes| bytes.len() <= TOKEN_BYTES_MAX)?;
    Some(Token { bytes, ttl_s: u32::try_from(ttl_s).unwrap_or(u32::MAX) })
}

/// Whom a token was made for, if it is good at `now_s`.
///
/// # Errors
/// [`Refusal`], except for the two that need a hello to compare with: [`Claim::check`].
pub fn open(ring: &KeyRing, token: &[u8], now_s: u64) -> Result<Identity, Refusal> {
    if token.len() > TOKEN_BYTES_MAX {
        return Err(Refusal::Broken);
    }
    let plain = ring.open(Purpose::Resume, token).map_err(|error| match error {
        OpenError::UnknownEpoch(_) => Refusal::UnknownKey,
        OpenError::Malformed | OpenError::Broken => Refusal::Broken,
    })?;
    if plain.first() != Some(&VERSION) {
        return Err(Refusal::Version);
    }
    let (who, sealed_s, ends_s) = read(&plain[1..]).ok_or(Refusal::Broken)?;
    if now_s > ends_s.saturating_add(SKEW.as_secs()) {
        return Err(Refusal::Expired);
    }
    if now_s.saturating_add(SKEW.as_secs()) < sealed_s {
        return Err(Refusal::Early);
    }
    Ok(who)
}

/// The text behind the version: who, sealed when, good until when.
fn read(mut rest: &[u8]) -> Option<(Identity, u64, u64)> {
    let app = u32::from_be_bytes(*rest.split_off(..4)?.first_chunk()?);
    let mut second = || Some(u64::from_be_bytes(*rest.split_off(..8)?.first_chunk()?));
    let (issued_s, expires_s, sealed_s, ends_s) = (second()?, second()?, second()?, second()?);
    let mut name = || {
        let len = usize::from(*rest.split_off_first()?);
        String::from_utf8(rest.split_off(..len)?.to_vec()).ok()
    };
    let (user, device) = (name()?, name()?);
    rest.is_empty().then_some((Identity { app, user, device, issued_s, expires_s }, sealed_s, ends_s))
}

/// Who a hello says it is from, and the token that shall prove it.
#[derive(Debug, Clone, Copy)]
pub struct Claim<'a> {
    /// `Hello.app`.
    pub app: u32,
    /// `Hello.user`.
    pub user: &'a [u8],
    /// `Hello.device`.
    pub device: &'a [u8],
    /// `Hello.resume`.
    pub token: &'a [u8],
}

impl Claim<'_> {
    /// Opens the token and compares.
    ///
    /// # Errors
    /// [`Refusal`].
    pub fn check(&self, ring: &KeyRing, now_s: u64) -> Result<Identity, Refusal> {
        let who = open(ring, self.token, now_s)?;
        if who.app != self.app {
            return Err(Refusal::OtherApp);
        }
        if who.user.as_bytes() != self.user || who.device.as_bytes() != self.device {
            return Err(Refusal::OtherUser);
        }
        Ok(who)
    }
}

#[cfg(test)]
#[path = "resume_tests.rs"]
mod tests;
