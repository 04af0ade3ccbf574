//! The shard's side of the seam: what goes up to the backend, what comes down, and what happens when there is no
//! room.

use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use nearport_session::Closing;
use nearport_trunk::{Down, SessionId, Topic, Up};
use nearport_wire::close::CloseCode;
use nearport_wire::{Class, Kind, Lane, body, code, encode_into};
use prost::Message as _;

use super::conn::{Conn, Touched};
use super::returning::millis;
use super::{Shard, UPS_RETRY};

/// Messages taken from the backend in one turn.
const DOWNS_PER_TURN: usize = 256;

/// When a request that the backend had no room for may be sent again.
const BUSY_RETRY: Duration = Duration::from_millis(500);

impl Shard {
    pub(super) fn send_ups(&mut self, now: Instant) {
        self.vouch(now);
        self.retry_ups_at = None;
        self.refuse_interrupted(now);
        if !self.is_attached() {
            self.park_ups();
            self.offer_adoptions(now);
            if !self.is_attached() {
                return;
            }
        }
        self.stats.ups += self.ups.len() as u64;
        self.pace.handed_on(now);
        self.link.send(&mut self.ups);
        let refused = std::mem::take(&mut self.ups);
        self.refuse(refused);
        if !self.ups.is_empty() {
            self.retry_ups_at = Some(now + UPS_RETRY);
        }
    }

    /// There is no room for these: answers them here, and keeps what must not be lost.
    pub(super) fn refuse(&mut self, refused: Vec<Up>) {
        self.refuse_for(refused, BUSY_RETRY, "the backend is busy: send again later");
    }

    /// As [`Self::refuse`], saying why and when to come again.
    pub(super) fn refuse_for(&mut self, refused: Vec<Up>, retry_after: Duration, why: &str) {
        self.stats.ups_refused += refused.len() as u64;
        for up in refused {
            match up {
                Up::Open { session, .. } => {
                    let closing = Closing::new(CloseCode::BUSY, "the backend is busy: come back later");
                    self.close(session, closing, retry_after);
                }
                Up::Frame { session, lane, id, .. } => {
                    let retry_after_ms = u32::try_from(retry_after.as_millis()).unwrap_or(u32::MAX);
                    let info = why.to_owned();
                    let error = body::Error { code: code::TOO_MANY_REQUESTS, info, retry_after_ms };
                    self.reply(session, lane, Kind::ERROR, id, &error.encode_to_vec());
                }
                Up::Ack { .. } => {}
                Up::Close { .. } | Up::Adopt { .. } => self.ups.push(up),
            }
        }
    }

    pub(super) fn take_downs(&mut self) {
        let mut downs = std::mem::take(&mut self.downs);
        let received = self.link.recv(&mut downs, DOWNS_PER_TURN);
        self.more_downs = received.more;
        self.stats.downs += downs.len() as u64;
        if downs.iter().any(|down| !matches!(down, Down::Publish { lane: Lane::Live, .. })) {
            self.pace.handed_on(self.now);
        }
        if received.ended {
            self.note_interrupted(&downs);
        }
        for down in downs.drain(..) {
            self.apply(down);
        }
        self.downs = downs;
        if received.ended {
            self.link_ended();
        }
        if received.lost {
            self.stats.link_losses += 1;
            for index in self.conns.indices() {
                if let Some(conn) = self.conns.get_mut(index) {
                    conn.session.mark_behind();
                    self.touch(index);
                }
            }
        }
    }

    fn apply(&mut self, down: Down) {
        match down {
            Down::Accept { session, welcome, topics, identity } => {
                for topic in topics {
                    self.apply(Down::Join { session, topic });
                }
                let Some((_, conn)) = self.find(session) else { return };
                let network = conn.prefix;
                let welcome = self.with_token(welcome, identity.as_deref());
                // It is not counted yet.
                let window = self.gate.return_window(self.stats.sessions + 1, network);
                let welcome = with_window(welcome, window);
                if let Some((index, conn)) = self.find(session) {
                    conn.told.welcomed(window);
                    conn.identity = identity.map(|identity| identity.pack());
                    conn.session.accept(&welcome);
                    self.ask_to_leave(index);
                    self.account(index);
                    self.touch(index);
                }
            }
            Down::Adopted { session, topics } => {
                for topic in topics {
                    self.apply(Down::Join { session, topic });
                }
                if let Some((index, conn)) = self.find(session) {
                    conn.session.mark_behind();
                    self.touch(index);
                }
                self.adoption_answered(session);
            }
            Down::Reject { session, code, reason, retry_after_ms } => {
                let retry_after = Duration::from_millis(retry_after_ms.into());
                self.close(session, Closing::new(code, reason), retry_after);
            }
            Down::Kick { session, code, reason } => {
                self.close(session, Closing::new(code, reason), Duration::ZERO);
                self.adoption_answered(session);
            }
            Down::Reply { session, lane, kind, id, body } => self.reply(session, lane, kind, id, &body),
            Down::Publish { topic, lane, kind, id, body, except } => {
                let mut frame = BytesMut::new();
                encode_into(lane, kind, id, &body, &mut frame);
                // What has no place in a log may be lost: a datagram waits for nothing that was lost before it.
                let loseable = kind == Kind::PUSH && id == 0;
                if lane == Lane::Live && !loseable && except.is_none() {
                    let class = if kind == Kind::LIVE { Class::of(id) } else { Class::Chat };
                    return self.publish_live(&topic, class, frame.freeze());
                }
                self.publish(&topic, lane, &frame.freeze(), except, loseable);
            }
            // For this shard alone, if it comes here: links hand it on before.
            Down::Share { topic, lane, kind, id, body, .. } => {
                self.apply(Down::Publish { topic, lane, kind, id, body, except: None });
            }
            Down::Join { session, topic } => {
                let found = self.find(session).map(|(index, conn)| (index, std::mem::take(&mut conn.joined)));
                if let Some((index, mut joined)) = found {
                    self.topics.join(index, &mut joined, topic);
                    if let Some((_, conn)) = self.find(session) {
                        conn.joined = joined;
                    }
                }
            }
            Down::Leave { session, topic } => {
                let found = self.find(session).map(|(index, conn)| (index, std::mem::take(&mut conn.joined)));
                if let Some((index, mut joined)) = found {
                    let conns = &mut self.conns;
                    self.topics.leave(&mut joined, &topic, |other, topic, place| {
                        if let Some(other) = conns.get_mut(other) {
                            other.joined.moved(topic, place);
                        }
                    });
                    if let Some(conn) = self.conns.get_mut(index) {
                        conn.joined = joined;
                    }
                }
            }
        }
    }

    /// Encoded once, shared by every member on this shard.
    fn publish(
        &mut self,
        topic: &Topic,
        lane: Lane,
        frame: &Bytes,
        except: Option<SessionId>,
        loseable: bool,
    ) {
        let limits = self.squeezed.at(self.budget.level(), &self.config.session);
        for index in self.topics.members(topic) {
            let Some(conn) = self.conns.get_mut(*index) else { continue };
            if except == Some(conn.id) {
                continue;
            }
            if loseable && conn.send_datagram(frame) {
                self.stats.pushes += 1;
                self.stats.pushes_as_datagrams += 1;
            } else if conn.session.push(lane, frame, limits) {
                self.stats.pushes += 1;
            } else if lane == Lane::Live {
                self.stats.pushes_folded += 1;
            } else {
                self.stats.pushes_dropped += 1;
            }
            if conn.touched == Touched::No {
                conn.touched = Touched::FanOut;
                self.fan_out.push_back(*index);
            }
        }
    }

    fn reply(&mut self, session: SessionId, lane: Lane, kind: Kind, id: u64, body: &[u8]) {
        if let Some((index, conn)) = self.find(session) {
            conn.session.reply(lane, kind, id, body);
            self.touch(index);
        }
    }

    pub(super) fn close(&mut self, session: SessionId, closing: Closing, retry_after: Duration) {
        let mut ups = std::mem::take(&mut self.ups);
        if let Some((index, conn)) = self.find(session) {
            tracing::debug!(session = ?session, code = %closing.code, reason = closing.reason, "session closed");
            conn.close(closing, retry_after, &mut ups);
            self.account(index);
            self.touch(index);
        }
        self.ups = ups;
    }

    pub(super) fn find(&mut self, session: SessionId) -> Option<(u32, &mut Conn)> {
        let index = session.connection();
        let conn = self.conns.get_mut(index)?;
        (conn.id == session).then_some((index, conn))
    }
}

/// The welcome with the time in which its client is to come back should the shard be lost.
fn with_window(welcome: Bytes, window: Duration) -> Bytes {
    match millis(window) {
        0 => welcome,
        window_ms => body::append_return_window(&welcome, window_ms),
    }
}
