//! Guests: browsers that hear live rooms without an account (`groups.md` §2 of the contract).
//!
//! A hello without a user is a guest's, where guests are let in. It gets a name of its own for as long as its session lives; nothing is
//! registered, read or written for it, it gets no token, and no other core can take it over. Whatever it asks but joining and quitting
//! a live room is answered with 6014.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;

use nearport_trunk::local::LinkId;
use nearport_trunk::{Down, SessionId};
use nearport_wire::body::{Hello, Platform, Welcome};
use nearport_wire::code;
use prost::Message as _;

use super::Front;
use super::login::{Refusal, check_client};
use crate::downs::Downs;
use crate::key::{AppId, UserKey};
use crate::registry::{AppFull, Session};
use crate::throttle::network;

/// When a guest may try again for whom there was no room.
const FULL_RETRY_MS: u32 = 10_000;

/// A login without a user.
pub(super) struct Guest {
    link: LinkId,
    session: SessionId,
    app: AppId,
    device: Arc<str>,
    network: IpAddr,
}

impl Guest {
    /// Checks what a guest may say. That it has come over a transport of browsers, its edge has looked after.
    pub(super) fn vet(link: LinkId, session: SessionId, hello: &Hello, ip: IpAddr) -> Result<Self, Refusal> {
        if hello.platform() != Platform::Web {
            return Err(Refusal::bad_hello("user: only browsers come without one, as guests"));
        }
        if !(hello.usersig.is_empty() && hello.resume.is_empty()) {
            return Err(Refusal::bad_hello("user: a usersig and a token are somebody's"));
        }
        check_client(hello)?;
        let device = hello.device.as_str().into();
        Ok(Self { link, session, app: AppId(hello.app), device, network: network(ip) })
    }
}

impl Front {
    /// Opens sessions of guests. Nothing is published to them before they join a room, so no order matters.
    pub(super) fn admit_guests(&self, guests: Vec<Guest>, now_ms: u64, out: &mut Downs) {
        let config = &self.shared.config;
        let mut registry = self.shared.registry();
        for Guest { link, session, app, device, network } in guests {
            let entry = Session {
                user: UserKey::guest(app, session),
                device,
                platform: Platform::Web,
                peer: None,
                link,
                accepted: false,
                topics: BTreeSet::new(),
                logged_out: false,
            };
            if let Err(AppFull) =
                registry.add_guest(session, entry, network, &self.shared.settings(app).config)
            {
                self.shared.metrics.guests_full.increment(1);
                let info = "there are as many guests as there may be: try again later";
                let refusal = Refusal::busy(code::TOO_MANY_REQUESTS, FULL_RETRY_MS, info);
                self.refuse(link, session, &refusal, out);
                continue;
            }
            registry.accept(session, 0);
            self.shared.metrics.login(None);
            let welcome = Welcome {
                session: session.0,
                time_ms: now_ms,
                heartbeat_ms: config.heartbeat_ms,
                frame_bytes_max: config.frame_bytes_max,
                ..Welcome::default()
            };
            let welcome = welcome.encode_to_vec().into();
            out.push(link, Down::Accept { session, welcome, topics: Vec::new(), identity: None });
        }
        out.flush();
    }
}
