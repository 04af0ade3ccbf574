//! Whether a back end may speak for its App.

use std::net::IpAddr;

use nearport_wire::code;

use super::{Admin, Asker};
use crate::apps::NoApp;
use crate::key::{AppId, UserKey};
use crate::usersig::{self, Expect};

/// "Verifications too frequent; retry after 1 minute", of the public contract.
const TOO_MANY_FAILURES: u32 = 70050;
/// "SDKAppID not valid".
const APP_INVALID: u32 = 60006;
/// "Wrong account or signature in URL or body".
const BAD_IDENTIFIER: u32 = 60004;
/// "Internal error; retry" of the account service.
const ACCOUNT_INTERNAL: u32 = 70500;

/// What a request brings to say who it is.
#[derive(Debug, Clone, Copy)]
pub struct SignIn<'a> {
    /// `sdkappid`.
    pub app: u32,
    /// `identifier`.
    pub identifier: &'a str,
    /// `usersig`.
    pub usersig: &'a str,
    /// Where it comes from.
    pub peer: IpAddr,
}

/// Why a request may not speak for an App.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NotAdmin {
    /// By a code of the public contract, the same in all services.
    Code(u32, String),
    /// A good UserSig of somebody who is no administrator. Each service has a code of its own for it.
    User,
}

impl Admin {
    /// Checks a request's UserSig and that its user is an administrator of the App. Reads the directory at most once a second.
    ///
    /// # Errors
    /// [`NotAdmin`].
    pub fn sign_in(&self, request: SignIn<'_>) -> Result<Asker, NotAdmin> {
        let SignIn { app: id, identifier, usersig, peer } = request;
        let now_ms = self.now_ms();
        let refused = |code: u32, info: &str| NotAdmin::Code(code, info.to_owned());
        let user = UserKey::new(AppId(id), identifier)
            .map_err(|error| NotAdmin::Code(BAD_IDENTIFIER, format!("identifier: {error}")))?;
        let app = self.shared.apps.find(id, now_ms).map_err(|none| match none {
            NoApp::Unknown => {
                NotAdmin::Code(APP_INVALID, format!("sdkappid {id} does not exist on this server"))
            }
            NoApp::Unavailable => refused(ACCOUNT_INTERNAL, "the store does not answer, try again"),
        })?;
        if app.app.disabled {
            return Err(refused(code::APP_DISABLED, "this sdkappid is disabled"));
        }
        if self.door().throttle.is_blocked(&user, peer, now_ms) {
            return Err(refused(TOO_MANY_FAILURES, "too many refused usersigs, try again in a minute"));
        }
        // Without the lock: what is slow here must not keep others waiting.
        let issued_s = match self.seen.issued_s(usersig, &user, &app, now_ms / 1000) {
            Some(issued_s) => issued_s,
            None => {
                let expect = Expect { sdkappid: id, user: identifier };
                let verified = usersig::verify_any(usersig, expect, &app.keys(), now_ms / 1000);
                let verified = verified.map_err(|error| {
                    self.door().throttle.failed(&user, peer, now_ms);
                    NotAdmin::Code(error.code(), error.to_string())
                })?;
                self.seen.remember(usersig, &user, &app, (verified.issued_s, verified.expires_s));
                verified.issued_s
            }
        };
        if !app.app.admins.iter().any(|admin| admin == identifier) {
            return Err(NotAdmin::User);
        }
        // A kick takes an administrator's UserSigs back too, if there is such an account.
        if !self.seen.is_absent(&user, now_ms) {
            let found = self.shared.accounts.find(std::slice::from_ref(&user)).map_err(|error| {
                tracing::error!(%error, "cannot look an administrator up");
                refused(ACCOUNT_INTERNAL, "the store does not answer, try again")
            })?;
            match found.accounts[0] {
                Some(known) if issued_s < known.valid_from_s => {
                    return Err(refused(code::SIG_EXPIRED, "this usersig was taken back, make a new one"));
                }
                Some(_) => {}
                None => self.seen.absent(&user, now_ms),
            }
        }
        Ok(Asker { app: AppId(id), admin: identifier.into(), peer: Some(peer) })
    }
}
