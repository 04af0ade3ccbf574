//! A backend without storage: it accepts every hello, answers ECHO with the same body and sends BROADCAST to all
//! sessions of all shards. It serves the benchmarks and shows the least that a backend has to do. It runs on the
//! shard's own thread, so a figure measured with it is the edge's alone.

use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use nearport_wire::body::{Hello, Welcome};
use nearport_wire::{Class, Kind, Lane, code};
use prost::Message as _;

use crate::local::DownQueue;
use crate::{Backend, Down, Identity, Link, Received, Sharing, Topic, Up, Waker};

/// The backend; see the module documentation.
#[derive(Debug, Clone, Default)]
pub struct Echo {
    /// The shared ways down, for broadcasts that cross shards.
    shards: Arc<Mutex<Vec<DownQueue>>>,
}

impl Backend for Echo {
    fn link(&self, waker: Waker) -> Box<dyn Link> {
        let down = DownQueue::new(waker);
        self.shards.lock().unwrap_or_else(PoisonError::into_inner).push(down.clone());
        Box::new(EchoLink { echo: self.clone(), everyone: Topic::from(&b"*"[..]), answers: Vec::new(), down })
    }

    fn link_sharing(&self, waker: Waker, _: Sharing) -> Box<dyn Link> {
        self.link(waker)
    }
}

#[derive(Debug)]
struct EchoLink {
    echo: Echo,
    everyone: Topic,
    answers: Vec<Down>,
    down: DownQueue,
}

impl Link for EchoLink {
    fn send(&mut self, ups: &mut Vec<Up>) {
        for up in ups.drain(..) {
            match up {
                Up::Open { session, hello, vouched, .. } => {
                    // Whoever somebody says to be: but the same one when the edge's token comes back.
                    let identity = vouched.or_else(|| identify(hello).map(Box::new));
                    let welcome = Welcome { session: session.0, heartbeat_ms: 25_000, ..Welcome::default() };
                    let welcome = welcome.encode_to_vec().into();
                    self.answers.push(Down::Accept {
                        session,
                        welcome,
                        topics: vec![self.everyone.clone()],
                        identity,
                    });
                }
                Up::Adopt { session, .. } => {
                    let topics = vec![self.everyone.clone()];
                    self.answers.push(Down::Adopted { session, topics });
                }
                Up::Frame { session, lane, kind: Kind::ECHO, id, body } => {
                    self.answers.push(Down::Reply { session, lane, kind: Kind::REPLY, id, body });
                }
                Up::Frame { session, lane, kind: Kind::BROADCAST, id, body } => {
                    self.broadcast(lane, &body);
                    self.answers.push(Down::Reply {
                        session,
                        lane,
                        kind: Kind::REPLY,
                        id,
                        body: Bytes::new(),
                    });
                }
                Up::Frame { session, lane, kind, id, .. } => {
                    let info = format!("the echo backend does not know request kind {:#04x}", kind.0);
                    let error =
                        nearport_wire::body::Error { code: code::UNKNOWN_REQUEST, info, retry_after_ms: 0 };
                    let body = error.encode_to_vec().into();
                    self.answers.push(Down::Reply { session, lane, kind: Kind::ERROR, id, body });
                }
                Up::Ack { .. } | Up::Close { .. } => {}
            }
        }
    }

    fn recv(&mut self, downs: &mut Vec<Down>, max: usize) -> Received {
        downs.append(&mut self.answers);
        self.down.recv(downs, max)
    }
}

fn identify(hello: Bytes) -> Option<Identity> {
    let Hello { app, user, device, .. } = Hello::decode(hello).ok()?;
    Some(Identity { app, user, device, issued_s: 0, expires_s: u64::MAX })
}

impl EchoLink {
    /// To everybody, as a message of a live room if it was asked for on that lane.
    fn broadcast(&self, lane: Lane, body: &Bytes) {
        let shards = self.echo.shards.lock().unwrap_or_else(PoisonError::into_inner);
        for shard in shards.iter() {
            // A copy per shard: two threads that clone one `Bytes` fight for its counter (79 ns a clone against 11
            // ns for copying 200 bytes, our own figure).
            let body = Bytes::copy_from_slice(body);
            let topic = self.everyone.clone();
            let (lane, kind, id) = match lane {
                Lane::Live => (lane, Kind::LIVE, Class::Chat.id()),
                _ => (Lane::Chat, Kind::PUSH, 0),
            };
            shard.push_batch(&mut vec![Down::Publish { topic, lane, kind, id, body, except: None }]);
        }
    }
}
