//! From Hello to Welcome.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use bytes::Bytes;
use nearport_trunk::local::LinkId;
use nearport_trunk::{Down, Identity, SessionId};
use nearport_wire::body::{Hello, Platform, Welcome, append_missed};
use nearport_wire::close::CloseCode;
use nearport_wire::code;
use prost::Message as _;

use super::Front;
use super::guests::Guest;
use super::pages::MISSED;
use super::topics::topics;
use crate::account::Standing;
use crate::apps::NoApp;
use crate::audit::Entry;
use crate::downs::Downs;
use crate::key::{AppId, UserKey, check_name};
use crate::ledger::{CursorName, LedgerError};
use crate::metrics::Proof;
use crate::registry::{AppFull, Session};
use crate::throttle::Throttle;
use crate::usersig::{self, Expect};

/// "Verifications too frequent; retry after 1 minute", of the public contract.
const TOO_MANY_FAILURES: u32 = 70050;
/// "Internal error; retry" of the account service, of the public contract.
const ACCOUNT_INTERNAL: u32 = 70500;

/// When a login that found its App full may try again: sessions end all the time.
const APP_FULL_RETRY_MS: u32 = 5_000;

/// The same for one that a batch of kicks got in the way of.
const KICKS_RETRY_MS: u32 = 1_000;

/// Longest `Hello.client`, bytes, as the protocol says.
const CLIENT_BYTES_MAX: usize = 64;

/// How often a batch of logins is checked again because an account was kicked meanwhile. Kicks come from
/// operators; three inside one batch are no coincidence any more, and the clients may come back later.
const CHECK_ROUNDS_MAX: usize = 3;

/// How far clocks of processes may differ, seconds.
const CLOCKS_S: u64 = 60;

/// What a hello says of its device and its program.
pub(super) fn check_client(hello: &Hello) -> Result<(), Refusal> {
    check_name(&hello.device).map_err(|error| Refusal::bad_hello(format!("device: {error}")))?;
    if hello.client.len() > CLIENT_BYTES_MAX {
        return Err(Refusal::bad_hello("client: name is longer than 64 bytes"));
    }
    Ok(())
}

/// A login whose UserSig is good, or for which the edge vouches.
pub(super) struct Candidate {
    link: LinkId,
    session: SessionId,
    user: UserKey,
    device: Arc<str>,
    platform: Platform,
    peer: IpAddr,
    /// `Hello.cursor`.
    cursor: Option<u64>,
    /// What the edge may seal into a token.
    identity: Box<Identity>,
    /// When the UserSig was issued, or what its token was sealed for.
    issued_s: u64,
    /// How it was proved.
    proof: Proof,
}

/// A login that may go on.
pub(super) enum Vetted {
    User(Candidate),
    Guest(Guest),
}

/// A login that is refused. The client reads the close code; people read the contract's number and the text.
#[derive(Debug, Clone)]
pub(super) struct Refusal {
    close: CloseCode,
    code: u32,
    info: String,
    retry_after_ms: u32,
}

impl Refusal {
    fn new(close: CloseCode, code: u32, info: impl Into<String>) -> Self {
        Self { close, code, info: info.into(), retry_after_ms: 0 }
    }

    /// It may be tried again after so long.
    pub(super) fn busy(code: u32, retry_after_ms: u32, info: impl Into<String>) -> Self {
        Self { retry_after_ms, ..Self::new(CloseCode::BUSY, code, info) }
    }

    pub(super) fn bad_hello(info: impl Into<String>) -> Self {
        Self::new(CloseCode::BAD_BODY, code::BAD_PARAMETER, info)
    }

    fn unavailable() -> Self {
        Self::new(
            CloseCode::UNAVAILABLE,
            ACCOUNT_INTERNAL,
            "the server's store does not answer, try again later",
        )
    }
}

impl Front {
    /// Checks all of a login that needs neither accounts nor sessions, cheapest first.
    pub(super) fn vet(
        &mut self,
        link: LinkId,
        session: SessionId,
        hello: Bytes,
        peer: SocketAddr,
        vouched: Option<Box<Identity>>,
        now_ms: u64,
    ) -> Result<Vetted, Refusal> {
        let hello = Hello::decode(hello).map_err(|error| Refusal::bad_hello(format!("hello: {error}")))?;
        let app = self.shared.apps.find(hello.app, now_ms).map_err(|none| match none {
            NoApp::Unknown => {
                let info = format!("app {} does not exist on this server", hello.app);
                Refusal::new(CloseCode::NO_APP, code::APP_NOT_FOUND, info)
            }
            NoApp::Unavailable => Refusal::unavailable(),
        })?;
        if app.app.disabled {
            let info = format!("app {} is disabled", hello.app);
            return Err(Refusal::new(CloseCode::NO_APP, code::APP_DISABLED, info));
        }
        if hello.user.is_empty() && self.shared.config.guests_max > 0 {
            return Guest::vet(link, session, &hello, peer.ip()).map(Vetted::Guest);
        }
        let user = UserKey::new(AppId(hello.app), &hello.user)
            .map_err(|error| Refusal::bad_hello(format!("user: {error}")))?;
        if user.is_guest() {
            return Err(Refusal::bad_hello("user: such a name is a guest's, who comes without one"));
        }
        check_client(&hello)?;
        if self.throttle.is_blocked(&user, peer.ip(), now_ms) {
            let info = "too many refused usersigs, try again in a minute";
            self.note_refused(&user, peer, TOO_MANY_FAILURES, now_ms);
            return Err(Refusal::busy(TOO_MANY_FAILURES, Throttle::ends_in_ms(now_ms), info));
        }
        // A token that stands for a UserSig whose key may have been withdrawn is none: then the UserSig decides.
        let token = vouched.is_some();
        let vouched = vouched.filter(|who| who.issued_s >= app.app.proved_from_s || who.app != hello.app);
        if token && vouched.is_none() && hello.usersig.is_empty() {
            let info = "a key of the app was withdrawn since: come with a usersig";
            return Err(Refusal::new(CloseCode::UNAUTHORIZED, code::SIG_EXPIRED, info));
        }
        let (identity, issued_s, proof) = match vouched {
            // The edge has compared them; a mistake there must not open somebody else's log.
            Some(who) if (who.app, &who.user, &who.device) != (hello.app, &hello.user, &hello.device) => {
                let info = "the resume token was made for another app, user or device";
                return Err(Refusal::new(CloseCode::UNAUTHORIZED, code::SIG_OTHER_USER, info));
            }
            Some(who) => {
                let issued_s = who.issued_s;
                (who, issued_s, Proof::ResumeToken)
            }
            None => {
                let expect = Expect { sdkappid: hello.app, user: &hello.user };
                let verified = usersig::verify_any(&hello.usersig, expect, &app.keys(), now_ms / 1000);
                let verified = verified.map_err(|error| {
                    self.throttle.failed(&user, peer.ip(), now_ms);
                    self.note_refused(&user, peer, error.code(), now_ms);
                    Refusal::new(CloseCode::UNAUTHORIZED, error.code(), error.to_string())
                })?;
                let (issued_s, expires_s) = (verified.issued_s, verified.expires_s);
                let (app, user, device) = (hello.app, hello.user, hello.device.clone());
                // What is proved now outlives what withdrew earlier proofs. The margin is for clocks of other processes, one of
                // which may kick: who comes after the kick has a UserSig issued after it.
                let proved_s = issued_s.max((now_ms / 1000).saturating_sub(CLOCKS_S));
                let identity = Identity { app, user, device, issued_s: proved_s, expires_s };
                (Box::new(identity), issued_s, Proof::UserSig)
            }
        };
        // A number that is not known here is that of a younger client.
        let platform = Platform::try_from(hello.platform).unwrap_or_default();
        let device = hello.device.into();
        let (from, cursor) = (peer.ip(), hello.cursor);
        Ok(Vetted::User(Candidate {
            link,
            session,
            user,
            device,
            platform,
            peer: from,
            cursor,
            identity,
            issued_s,
            proof,
        }))
    }

    /// A login with a UserSig that is not good goes into the audit log.
    fn note_refused(&self, user: &UserKey, peer: SocketAddr, code: u32, now_ms: u64) {
        self.shared.audit.refused(Entry {
            time_ms: now_ms,
            app: user.app().0,
            who: user.name().to_owned(),
            from: peer.ip().to_canonical().to_string(),
            act: "login refused".to_owned(),
            code,
            ..Entry::default()
        });
    }

    /// Refuses a login.
    pub(super) fn refuse(&self, link: LinkId, session: SessionId, refusal: &Refusal, out: &mut Downs) {
        self.shared.metrics.login(Some(refusal.close));
        tracing::debug!(?session, close = %refusal.close, code = refusal.code, info = refusal.info, "login refused");
        let Refusal { close: code, retry_after_ms, .. } = *refusal;
        let reason = format!("{} {}", refusal.code, refusal.info);
        out.push(link, Down::Reject { session, code, reason, retry_after_ms });
    }

    /// Registers new accounts and opens the sessions. The order is explained in the documentation of [`super`].
    pub(super) fn admit(&mut self, candidates: Vec<Candidate>, now_ms: u64, out: &mut Downs) {
        let joined = self.join(candidates, now_ms, out);
        let sessions: Vec<_> =
            joined.iter().map(|candidate| (candidate.session, candidate.user.clone())).collect();
        let heard = self.hear_groups(&sessions);
        if let Err(error) = &heard {
            tracing::error!(%error, "cannot read groups for a login");
        }
        let welcomes: Vec<_> = joined
            .into_iter()
            .map(|candidate| {
                let welcome = heard.is_ok().then(|| self.welcome(&candidate, now_ms));
                (candidate, welcome)
            })
            .collect();

        let mut registry = self.shared.registry();
        for (candidate, welcome) in welcomes {
            let (link, session) = (candidate.link, candidate.session);
            match welcome {
                Some(Ok((head, welcome))) => {
                    // One that was taken out meanwhile has its `Reject` already.
                    if registry.accept(session, head) {
                        self.shared.metrics.login(None);
                        self.shared.numbers.logged_in(&candidate.user, now_ms);
                        self.shared.metrics.proofs[candidate.proof as usize].increment(1);
                        // Joined already, unless the link's queue was so full that it dropped the `Join`.
                        let topics = topics(&registry, session, &candidate.user);
                        let identity = Some(candidate.identity);
                        out.push(link, Down::Accept { session, welcome, topics, identity });
                    }
                }
                failed => {
                    if let Some(Err(error)) = failed {
                        tracing::error!(%error, "cannot read the ledger for a login");
                    }
                    if registry.remove(session).is_some() {
                        self.refuse(link, session, &Refusal::unavailable(), out);
                    }
                }
            }
        }
        out.flush();
    }

    /// Step 1: accounts are there and not refused, sessions are registered, `Join` is on its way. Returns those that
    /// were not refused.
    fn join(&self, candidates: Vec<Candidate>, now_ms: u64, out: &mut Downs) -> Vec<Candidate> {
        for _ in 0..CHECK_ROUNDS_MAX {
            let (version, verdicts) = self.verdicts(&candidates, now_ms);
            let mut registry = self.shared.registry();
            if version.is_some_and(|version| !self.shared.accounts.is_current(version)) {
                // An account was kicked since it was looked up. From here on a kick waits for the registry and
                // then finds the sessions in it.
                continue;
            }
            let mut joined = Vec::with_capacity(candidates.len());
            for (candidate, verdict) in candidates.into_iter().zip(verdicts) {
                let Candidate { link, session, user, device, platform, peer, .. } = &candidate;
                if let Err(refusal) = verdict {
                    self.refuse(*link, *session, &refusal, out);
                    continue;
                }
                let entry = Session {
                    user: user.clone(),
                    device: device.clone(),
                    link: *link,
                    platform: *platform,
                    peer: Some(*peer),
                    accepted: false,
                    topics: BTreeSet::new(),
                    logged_out: false,
                };
                match registry.add(*session, entry, &self.shared.settings(user.app()).config) {
                    Ok(removed) => {
                        for removed in &removed {
                            self.shared.kick(removed, "another login took this session's place", out);
                        }
                    }
                    Err(AppFull) => {
                        self.shared.metrics.app_full.increment(1);
                        let info = "the app has as many sessions as it may: try again later";
                        let refusal = Refusal::busy(code::TOO_MANY_REQUESTS, APP_FULL_RETRY_MS, info);
                        self.refuse(*link, *session, &refusal, out);
                        continue;
                    }
                }
                let topic = registry.topic(user).expect("a session of this user was just added");
                out.push(*link, Down::Join { session: *session, topic });
                joined.push(candidate);
            }
            // Before the lock goes: a publish that sees the new interest must stand behind the `Join`.
            out.flush();
            return joined;
        }
        let refusal =
            Refusal::busy(ACCOUNT_INTERNAL, KICKS_RETRY_MS, "accounts are being changed, try again");
        for candidate in candidates {
            self.refuse(candidate.link, candidate.session, &refusal, out);
        }
        Vec::new()
    }

    /// Looks the accounts up, registers those that are new in one transaction, and says who is refused. The version
    /// is that of the look-up; `None` if nothing could be looked up.
    fn verdicts(&self, candidates: &[Candidate], now_ms: u64) -> (Option<u64>, Vec<Result<(), Refusal>>) {
        let accounts = &self.shared.accounts;
        let keys: Vec<_> = candidates.iter().map(|candidate| candidate.user.clone()).collect();
        let found = match accounts.find(&keys) {
            Ok(found) => found,
            Err(error) => {
                tracing::error!(%error, "cannot look accounts up");
                return (None, vec![Err(Refusal::unavailable()); candidates.len()]);
            }
        };
        let accounts_of = || keys.iter().zip(&found.accounts);
        let new: BTreeSet<_> =
            accounts_of().filter(|(_, known)| known.is_none()).map(|(key, _)| key.clone()).collect();
        let registered = if new.is_empty() { Ok(Vec::new()) } else { accounts.register(new, now_ms) };
        if let Err(error) = &registered {
            tracing::error!(%error, "cannot register accounts");
        }
        let verdict = |(candidate, account): (&Candidate, &Option<Standing>)| match account {
            Some(account) if candidate.issued_s < account.valid_from_s => {
                // The contract has no code of its own for it; 70001 tells clients what to do: get a new one.
                let info = "usersig was withdrawn by a kick: sign a new one";
                Err(Refusal::new(CloseCode::UNAUTHORIZED, code::SIG_EXPIRED, info))
            }
            None => match &registered {
                Err(_) => Err(Refusal::unavailable()),
                Ok(deleted) if deleted.contains(&candidate.user) => {
                    let info = "the account was deleted";
                    Err(Refusal::new(CloseCode::UNAUTHORIZED, code::ACCOUNT_NOT_FOUND, info))
                }
                Ok(_) => Ok(()),
            },
            Some(_) => Ok(()),
        };
        let verdicts = candidates.iter().zip(&found.accounts).map(verdict).collect();
        (Some(found.version), verdicts)
    }

    /// Step 2: where the session starts, and what it missed: the head and an encoded `Welcome`. A cursor beyond the
    /// head is cut to it and counted: it comes from a client that counted wrong, or from a ledger that lost commits.
    fn welcome(&self, candidate: &Candidate, now_ms: u64) -> Result<(u64, Bytes), LedgerError> {
        let (ledger, config) = (&self.shared.ledger, &self.shared.config);
        let mut head = ledger.log_head(&candidate.user)?;
        let cursor = match candidate.cursor {
            Some(cursor) => cursor,
            None => {
                let name = CursorName::Device(candidate.device.as_ref().into());
                ledger.cursor(&candidate.user, &name)?.unwrap_or_default()
            }
        };
        if cursor > head {
            self.shared.metrics.cursors_clamped.increment(1);
        }
        let cursor = cursor.min(head);
        let page = match cursor < head {
            true => {
                Some(self.log_page(&candidate.user, cursor, MISSED, now_ms)?).filter(|page| !page.is_empty())
            }
            false => None,
        };
        if let Some(page) = &page {
            // What came between the two reads is in the page or behind it; the welcome must not say less.
            head = page.head;
        }
        let welcome = Welcome {
            session: candidate.session.0,
            time_ms: now_ms,
            head,
            cursor,
            heartbeat_ms: config.heartbeat_ms,
            frame_bytes_max: config.frame_bytes_max,
            ..Welcome::default()
        };
        let welcome = welcome.encode_to_vec();
        let welcome = match page {
            Some(page) => append_missed(&welcome, &page.encode()),
            None => welcome.into(),
        };
        Ok((head, welcome))
    }
}
