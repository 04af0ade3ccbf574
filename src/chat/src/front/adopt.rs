//! Sessions that another backend had accepted, and that go on here.
//!
//! No login: their UserSig was checked, and they are live at their edge. The order is that of a login (see the
//! documentation of [`super`]): into the registry with a `Join` behind it, then the head of the log, then `Adopted`. What
//! was stored before the head is read is no loss: the edge marks the session behind, and its client asks.

use std::collections::BTreeSet;

use nearport_trunk::local::LinkId;
use nearport_trunk::{Down, Identity, SessionId};
use nearport_wire::body::Platform;
use nearport_wire::close::CloseCode;
use nearport_wire::code;

use super::Front;
use super::topics::topics;
use crate::downs::Downs;
use crate::key::{AppId, UserKey};
use crate::registry::Session;

/// How often a batch is looked at again because an account was kicked meanwhile.
const CHECK_ROUNDS_MAX: usize = 3;

struct Adoption {
    link: LinkId,
    session: SessionId,
    user: UserKey,
    device: String,
    issued_s: u64,
    platform: Platform,
}

impl Front {
    /// Takes sessions over, or ends those that have no right or no place any more.
    pub(super) fn adopt(&self, asked: Vec<(LinkId, SessionId, Box<Identity>, u8)>, out: &mut Downs) {
        let mut adoptions = Vec::with_capacity(asked.len());
        for (link, session, identity, platform) in asked {
            match UserKey::new(AppId(identity.app), &identity.user) {
                Ok(user) => adoptions.push(Adoption {
                    link,
                    session,
                    user,
                    device: identity.device,
                    issued_s: identity.issued_s,
                    platform: Platform::try_from(i32::from(platform)).unwrap_or_default(),
                }),
                Err(error) => {
                    let reason = format!("{} user: {error}", code::BAD_PARAMETER);
                    out.push(link, Down::Kick { session, code: CloseCode::GOING_AWAY, reason });
                }
            }
        }
        let joined = self.join_adopted(adoptions, out);
        let sessions: Vec<_> = joined.iter().map(|adopted| (adopted.session, adopted.user.clone())).collect();
        let heard = self.hear_groups(&sessions).map_err(|error| error.to_string());
        let head = |adopted: &Adoption| {
            heard.clone()?;
            self.shared.ledger.log_head(&adopted.user).map_err(|error| error.to_string())
        };
        let heads: Vec<Result<u64, String>> = joined.iter().map(head).collect();

        let mut registry = self.shared.registry();
        for (Adoption { link, session, user, .. }, head) in joined.into_iter().zip(heads) {
            match head {
                Ok(head) => {
                    // One that was taken out meanwhile is told so already.
                    if registry.accept(session, head) {
                        self.shared.metrics.adopted.increment(1);
                        let topics = topics(&registry, session, &user);
                        out.push(link, Down::Adopted { session, topics });
                    }
                }
                Err(error) => {
                    tracing::error!(error, "cannot read the store for an adopted session");
                    if registry.remove(session).is_some() {
                        let reason = "the server's store does not answer, try again later".to_owned();
                        out.push(link, Down::Kick { session, code: CloseCode::UNAVAILABLE, reason });
                    }
                }
            }
        }
        out.flush();
    }

    /// Puts into the registry who may stay, with their `Join` on its way, and returns them.
    fn join_adopted(&self, adoptions: Vec<Adoption>, out: &mut Downs) -> Vec<Adoption> {
        let keys: Vec<_> = adoptions.iter().map(|adoption| adoption.user.clone()).collect();
        for _ in 0..CHECK_ROUNDS_MAX {
            let found = match self.shared.accounts.find(&keys) {
                Ok(found) => found,
                Err(error) => {
                    tracing::error!(%error, "cannot look accounts up for adopted sessions");
                    break;
                }
            };
            let mut registry = self.shared.registry();
            if !self.shared.accounts.is_current(found.version) {
                continue;
            }
            let mut joined = Vec::with_capacity(adoptions.len());
            for (adoption, account) in adoptions.into_iter().zip(found.accounts) {
                let Adoption { link, session, user, device, issued_s, platform } = &adoption;
                let (link, session) = (*link, *session);
                if account.is_none_or(|account| *issued_s < account.valid_from_s) {
                    let reason = format!("{} usersig was withdrawn: sign a new one", code::SIG_EXPIRED);
                    out.push(link, Down::Kick { session, code: CloseCode::UNAUTHORIZED, reason });
                    continue;
                }
                let (user, device) = (user.clone(), device.as_str().into());
                // Accepted from the start: whatever ends it from here on is a `Kick`.
                let entry = Session {
                    user: user.clone(),
                    device,
                    platform: *platform,
                    peer: None,
                    link,
                    accepted: true,
                    topics: BTreeSet::new(),
                    logged_out: false,
                };
                if !registry.adopt(session, entry, self.shared.settings(user.app()).config.user_sessions_max)
                {
                    self.shared.metrics.kicks.increment(1);
                    let reason = "another login took this session's place".to_owned();
                    out.push(link, Down::Kick { session, code: CloseCode::KICKED, reason });
                    continue;
                }
                let topic = registry.topic(&user).expect("a session of this user was just added");
                out.push(link, Down::Join { session, topic });
                self.shared.numbers.came_over(&user);
                joined.push(adoption);
            }
            // Before the lock goes: a publish that sees the new interest must stand behind the `Join`.
            out.flush();
            return joined;
        }
        for Adoption { link, session, .. } in adoptions {
            let reason = "accounts cannot be looked up, try again later".to_owned();
            out.push(link, Down::Kick { session, code: CloseCode::UNAVAILABLE, reason });
        }
        Vec::new()
    }
}
