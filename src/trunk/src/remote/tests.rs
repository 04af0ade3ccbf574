//! Both ends over a socket pair, with backends that a test plays.

use std::os::unix::net::UnixStream;
use std::time::Instant;

use bytes::Bytes;
use nearport_wire::{Kind, Lane};

use super::*;
use crate::echo::Echo;
use crate::local::DOWN_BYTES_MAX;
use crate::queue::{self};
use crate::{Backend, SessionId, Sharing, Topic};

const STUCK: Duration = Duration::from_secs(60);

/// A waker that a test can wait for.
#[derive(Clone)]
struct Bell(Arc<(Mutex<bool>, std::sync::Condvar)>);

impl Bell {
    fn new() -> (Self, Waker) {
        let bell = Self(Arc::default());
        let rung = bell.clone();
        (bell, Waker::new(move || rung.ring()))
    }

    fn ring(&self) {
        *self.0.0.lock().unwrap() = true;
        self.0.1.notify_all();
    }

    fn wait(&self) {
        let rung = self.0.0.lock().unwrap();
        let (mut rung, timeout) = self.0.1.wait_timeout_while(rung, STUCK, |rung| !*rung).unwrap();
        assert!(!timeout.timed_out(), "stuck");
        *rung = false;
    }
}

/// Takes from `link` until `done` says so.
fn take_until(
    link: &mut dyn Link,
    bell: &Bell,
    mut done: impl FnMut(&[Down], Received) -> bool,
) -> Vec<Down> {
    let mut downs = Vec::new();
    loop {
        let received = link.recv(&mut downs, 64);
        if done(&downs, received) {
            return downs;
        }
        if !received.more {
            bell.wait();
        }
    }
}

/// A backend that keeps what comes up; the test speaks for it.
#[derive(Debug, Clone, Default)]
struct Script(Arc<Mutex<ScriptState>>);

#[derive(Debug, Default)]
struct ScriptState {
    ups: Vec<Up>,
    full: bool,
    down: Option<DownQueue>,
    seen: Option<queue::Sender<()>>,
}

impl Script {
    fn state(&self) -> std::sync::MutexGuard<'_, ScriptState> {
        self.0.lock().unwrap()
    }

    /// Waits until what came up satisfies `done`.
    fn wait_for(&self, mut done: impl FnMut(&[Up]) -> bool) {
        let bound = Bound { items: 1, bytes: 1 };
        let (sender, receiver) = queue::bounded(bound);
        self.state().seen = Some(sender);
        while !done(&self.state().ups) {
            assert_ne!(receiver.wait(&mut Vec::new(), 1, STUCK), Waited::Timeout, "stuck");
        }
    }
}

impl Backend for Script {
    fn link(&self, waker: Waker) -> Box<dyn Link> {
        let down = DownQueue::new(waker);
        self.state().down = Some(down.clone());
        Box::new(ScriptLink(self.clone(), down))
    }

    fn link_sharing(&self, waker: Waker, _: Sharing) -> Box<dyn Link> {
        self.link(waker)
    }
}

#[derive(Debug)]
struct ScriptLink(Script, DownQueue);

impl Link for ScriptLink {
    fn send(&mut self, ups: &mut Vec<Up>) {
        let mut state = self.0.state();
        if !state.full {
            state.ups.append(ups);
            if let Some(seen) = &state.seen {
                seen.push_batch(&mut [((), 1)].into());
            }
        }
    }

    fn recv(&mut self, downs: &mut Vec<Down>, max: usize) -> Received {
        self.1.recv(downs, max)
    }
}

fn open(session: u64) -> Up {
    let peer = "192.0.2.1:7".parse().unwrap();
    Up::Open { session: SessionId(session), hello: Bytes::from_static(b"hello"), peer, vouched: None }
}

fn frame(session: u64, kind: Kind, id: u64, bytes: usize) -> Up {
    Up::Frame { session: SessionId(session), lane: Lane::Chat, kind, id, body: vec![7; bytes].into() }
}

fn pair(backend: &dyn Backend) -> (RemoteLink, Served, Bell) {
    let (edge, core) = UnixStream::pair().unwrap();
    let served = serve(core, "core", backend).unwrap();
    let (bell, waker) = Bell::new();
    (RemoteLink::start(edge, "edge", waker).unwrap(), served, bell)
}

#[test]
fn requests_are_answered_in_order_and_a_finished_link_ends_after_the_last_answer() {
    let (mut link, served, bell) = pair(&Echo::default());
    let mut ups = vec![open(u64::MAX)];
    ups.extend((0..200).map(|id| frame(u64::MAX, Kind::ECHO, id, 100)));
    link.send(&mut ups);
    assert!(ups.is_empty());
    link.finish();
    assert!(served.wait_for_finish(Instant::now() + STUCK));
    served.finish();
    let downs = take_until(&mut link, &bell, |_, received| received.ended);
    assert!(matches!(&downs[0], Down::Accept { session: SessionId(u64::MAX), .. }));
    let ids: Vec<_> = downs[1..]
        .iter()
        .map(|down| match down {
            Down::Reply { kind: Kind::REPLY, id, body, .. } if body.len() == 100 => *id,
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(ids, (0..200).collect::<Vec<_>>());
}

#[test]
fn sessions_of_a_link_that_broke_are_closed_towards_the_backend() {
    let script = Script::default();
    let (edge, core) = UnixStream::pair().unwrap();
    let _served = serve(core, "core", &script).unwrap();
    let mut stream = edge.try_clone().unwrap();
    let mut out = BytesMut::from(&codec::preamble()[..]);
    for session in [1, 2, 3] {
        codec::encode_up(&open(session), codec::VERSIONS.1, &mut out);
    }
    codec::encode_up(&Up::Close { session: SessionId(2), lost_ms: None }, codec::VERSIONS.1, &mut out);
    stream.write_all(&out).unwrap();
    script.wait_for(|ups| ups.len() == 4);
    edge.shutdown(Shutdown::Both).unwrap();
    script.wait_for(|ups| ups.len() == 6);
    let closed = |up: &Up| matches!(up, Up::Close { session, .. } if session.0 == 1 || session.0 == 3);
    assert!(script.state().ups[4..].iter().all(closed));
}

#[test]
fn the_edge_learns_at_once_that_the_backend_has_died() {
    let (mut link, served, bell) = pair(&Echo::default());
    link.send(&mut vec![open(1)]);
    take_until(&mut link, &bell, |downs, _| !downs.is_empty());
    drop(served);
    take_until(&mut link, &bell, |_, received| received.ended);
    let mut ups = vec![frame(1, Kind::ECHO, 1, 1); 20_000];
    link.send(&mut ups);
    assert!(!ups.is_empty(), "nobody takes them any more");
}

#[test]
fn a_backend_without_room_stops_the_stream_and_the_shard_gets_the_rest_back() {
    let script = Script::default();
    script.state().full = true;
    let (mut link, _served, _bell) = pair(&script);
    let mut sent = 0u64;
    // What both ends and the stream hold is bounded, so this comes to an end.
    loop {
        let mut ups: Vec<_> = (sent..sent + 512).map(|id| frame(1, Kind::SEND, id, 8_000)).collect();
        link.send(&mut ups);
        sent += 512 - ups.len() as u64;
        if !ups.is_empty() {
            break;
        }
    }
    script.state().full = false;
    script.wait_for(|ups| ups.len() as u64 == sent);
    let ids = script
        .state()
        .ups
        .iter()
        .map(|up| if let Up::Frame { id, .. } = up { *id } else { 0 })
        .collect::<Vec<_>>();
    assert_eq!(ids, (0..sent).collect::<Vec<_>>(), "in order, none twice");
}

/// Whoever writes and whoever hands on, the shard or the writer, the reader or the pump: one order.
#[test]
fn nothing_overtakes_when_socket_and_backend_have_room_now_and_then() {
    const COUNT: u64 = 30_000;
    let script = Script::default();
    let (mut link, _served, _bell) = pair(&script);
    let (mut sent, mut dice) = (0u64, 0x9e37_79b9_7f4a_7c15_u64);
    let mut roll = |below: u64| {
        dice ^= dice << 13;
        dice ^= dice >> 7;
        dice ^= dice << 17;
        dice % below
    };
    while sent < COUNT {
        if roll(20) == 0 {
            let mut state = script.state();
            state.full = !state.full;
        }
        let batch = sent..COUNT.min(sent + 1 + roll(40));
        // Each of a session of its own: no credit ends it.
        let mut ups: Vec<_> =
            batch.map(|id| frame(id, Kind::SEND, id, usize::try_from(roll(6_000)).unwrap())).collect();
        let offered = ups.len() as u64;
        link.send(&mut ups);
        sent += offered - ups.len() as u64;
        if !ups.is_empty() {
            script.state().full = false;
            std::thread::yield_now();
        }
    }
    script.state().full = false;
    script.wait_for(|ups| ups.len() as u64 == COUNT);
    let ids = script.state().ups.iter().map(|up| up.session().0).collect::<Vec<_>>();
    assert_eq!(ids, (0..COUNT).collect::<Vec<_>>());
}

#[test]
fn a_shard_that_does_not_look_loses_publishes_and_is_told() {
    let script = Script::default();
    let (mut link, _served, bell) = pair(&script);
    link.send(&mut vec![open(1)]);
    script.wait_for(|ups| !ups.is_empty());
    let down = script.state().down.clone().unwrap();
    let bytes = 256 * 1024;
    let publish = |id| Down::Publish {
        topic: Topic::from(&b"t"[..]),
        lane: Lane::Chat,
        kind: Kind::PUSH,
        id,
        body: vec![0; bytes].into(),
        except: None,
    };
    // Twice what one queue holds, in portions that the first queue takes.
    let count = 2 * DOWN_BYTES_MAX / bytes;
    for id in 0..count {
        down.push_batch(&mut vec![publish(id as u64)]);
    }
    let mut lost = false;
    let last = Down::Kick {
        session: SessionId(1),
        code: nearport_wire::close::CloseCode::BYE,
        reason: "end".into(),
    };
    down.push_batch(&mut vec![last]);
    let downs = take_until(&mut link, &bell, |downs, received| {
        lost |= received.lost;
        matches!(downs.last(), Some(Down::Kick { .. }))
    });
    assert!(lost || downs.len() == count + 1, "{} of {count} and nobody said so", downs.len() - 1);
}

#[test]
fn another_protocol_or_version_ends_the_link() {
    for first in [&b"GET / HTTP/1.1\r\n\r\n"[..], b"nptrunk\0\x00\x09\x00\x09", b"nptr"] {
        let (edge, mut other) = UnixStream::pair().unwrap();
        let (bell, waker) = Bell::new();
        let mut link = RemoteLink::start(edge, "edge", waker).unwrap();
        other.write_all(first).unwrap();
        other.shutdown(Shutdown::Write).unwrap();
        take_until(&mut link, &bell, |_, received| received.ended);
        let (mut edge, core) = UnixStream::pair().unwrap();
        let served = serve(core, "core", &Echo::default()).unwrap();
        edge.write_all(first).unwrap();
        edge.shutdown(Shutdown::Write).unwrap();
        assert!(served.wait_for_finish(Instant::now() + STUCK));
        let mut rest = Vec::new();
        edge.read_to_end(&mut rest).unwrap();
        assert_eq!(rest, codec::preamble());
    }
}
