//! Both ends over real TLS on loopback, with certificates of a CA made here.

use std::sync::Condvar;

use nearport_wire::{Kind, Lane};
use rcgen::ExtendedKeyUsagePurpose;

use super::*;
use crate::dial::{Attach, Dial, Dialers};
use crate::echo::Echo;
use crate::{Down, Link, Received, SessionId, Up, Waker};
use ca::{Ca, provider};

mod ca;
mod sharing;

const STUCK: Duration = Duration::from_secs(60);

impl Ca {
    fn core(&self) -> Listener {
        let own = self.sign(tls::CORE_NAME, ExtendedKeyUsagePurpose::ServerAuth);
        let config = tls::core_config(provider(), self.roots.clone(), own).unwrap();
        let socket = TcpListener::bind("127.0.0.1:0").unwrap();
        Listener::start(socket, config, Arc::new(Echo::default()), timing()).unwrap()
    }

    /// An edge that shows a certificate for `name` and says that it is `node`.
    fn edge(&self, core: SocketAddr, node: u16, name: &str, usage: ExtendedKeyUsagePurpose) -> Edge {
        let tls = tls::edge_config(provider(), self.roots.clone(), self.sign(name, usage)).unwrap();
        let dial = Dial { core: core.to_string(), tls, node, generation: 9, instance: 1, timing: timing() };
        let inner: Arc<(Mutex<Inner>, Condvar)> = Arc::default();
        let (bell, taken) = (inner.clone(), inner.clone());
        let waker = Waker::new(move || bell.1.notify_all());
        let attach: Attach = Arc::new(move |_, link| {
            taken.0.lock().unwrap().links.push(link);
            taken.1.notify_all();
        });
        let dialers = Dialers::start(dial, vec![waker], attach).unwrap();
        Edge { dialers, inner }
    }
}

fn timing() -> Timing {
    Timing::between_hosts(Duration::from_secs(30))
}

#[derive(Debug, Default)]
struct Inner {
    links: Vec<Box<dyn Link>>,
    downs: Vec<Down>,
}

struct Edge {
    dialers: Dialers,
    inner: Arc<(Mutex<Inner>, Condvar)>,
}

impl Edge {
    /// Takes from the newest link until `done` says so. A wake-up may come between looking and waiting, so it looks often.
    fn until(&self, mut done: impl FnMut(&mut Inner, Received) -> bool) {
        let begun = Instant::now();
        let mut inner = self.inner.0.lock().unwrap();
        loop {
            let Inner { links, downs } = &mut *inner;
            let received = links.last_mut().map(|link| link.recv(downs, 64)).unwrap_or_default();
            if done(&mut inner, received) {
                return;
            }
            assert!(begun.elapsed() < STUCK, "stuck: {:?}", self.dialers.ready());
            inner = self.inner.1.wait_timeout(inner, Duration::from_millis(20)).unwrap().0;
        }
    }

    fn send(&self, up: Up) {
        let mut ups = vec![up];
        self.inner.0.lock().unwrap().links.last_mut().unwrap().send(&mut ups);
        assert!(ups.is_empty());
    }

    fn refused_for(&self, why: &str) {
        let begun = Instant::now();
        while !self.dialers.ready().unwrap_err().contains(why) {
            assert!(begun.elapsed() < STUCK, "{:?} has no {why:?}", self.dialers.ready());
            std::thread::park_timeout(Duration::from_millis(5));
        }
    }
}

fn open(session: SessionId) -> Up {
    Up::Open { session, hello: bytes::Bytes::new(), peer: "[::1]:1".parse().unwrap(), vouched: None }
}

fn octet(id: u64) -> u8 {
    id.to_le_bytes()[0]
}

fn echo(session: SessionId, id: u64, bytes: usize) -> Up {
    Up::Frame { session, lane: Lane::Chat, kind: Kind::ECHO, id, body: vec![octet(id); bytes].into() }
}

#[test]
fn a_link_carries_more_than_any_buffer_holds_and_comes_again_when_it_is_cut() {
    let ca = Ca::new();
    let core = ca.core();
    let edge = ca.edge(core.local_addr(), 3, &tls::edge_name(3), ExtendedKeyUsagePurpose::ClientAuth);
    edge.until(|inner, _| inner.links.len() == 1);
    let session = SessionId::new(Owner::new(3, 9, 0), 1, 1);
    edge.send(open(session));
    // One after the other in flight, 8 MiB each way.
    for id in 0..64 {
        (0..8).for_each(|part| edge.send(echo(session, id * 8 + part, 16_000)));
        edge.until(|inner, _| inner.downs.len() as u64 == 1 + 8 * (id + 1));
    }
    let ids: Vec<_> = std::mem::take(&mut edge.inner.0.lock().unwrap().downs)
        .into_iter()
        .filter_map(|down| match down {
            Down::Reply { kind: Kind::REPLY, id, body, .. } => {
                assert!(body.len() == 16_000 && body.iter().all(|byte| *byte == octet(id)));
                Some(id)
            }
            _ => None,
        })
        .collect();
    assert_eq!(ids, (0..512).collect::<Vec<_>>());

    // The core loses the link; the edge hears of it and makes another.
    let owner = session.owner();
    let served = core.shared.links().get(&owner).unwrap().served.clone();
    assert!(served.break_off(Instant::now() + STUCK));
    drop(served);
    edge.until(|inner, _| inner.links.len() == 2);
    assert_eq!((core.links(), edge.dialers.made()), (1, 2));
}

#[test]
fn an_edge_is_what_its_certificate_says_and_speaks_for_its_own_sessions_only() {
    let ca = Ca::new();
    let core = ca.core();
    let at = core.local_addr();
    let client = || ExtendedKeyUsagePurpose::ClientAuth;
    ca.edge(at, 4, &tls::edge_name(3), client()).refused_for("the certificate is not for node 4");
    // A core's certificate may not dial, whatever name it has.
    ca.edge(at, 3, &tls::edge_name(3), ExtendedKeyUsagePurpose::ServerAuth).refused_for("alert");
    // A CA of one's own, with the right name in it.
    let mut foreign = Ca::new();
    foreign.roots = ca.roots.clone();
    foreign.edge(at, 3, &tls::edge_name(3), client()).refused_for("alert");

    let edge = ca.edge(at, 3, &tls::edge_name(3), client());
    edge.until(|inner, _| inner.links.len() == 1);
    edge.send(open(SessionId::new(Owner::new(5, 9, 0), 1, 1)));
    edge.until(|inner, received| received.ended || inner.links.len() > 1);
    assert!(edge.inner.0.lock().unwrap().downs.iter().all(|down| matches!(down, Down::Reject { .. })));
}

#[test]
fn one_that_does_not_shake_hands_or_trickles_is_dropped_and_holds_nobody_up() {
    let ca = Ca::new();
    let core = ca.core();
    let silent: Vec<_> = (0..8).map(|_| TcpStream::connect(core.local_addr()).unwrap()).collect();
    let mut garbage = TcpStream::connect(core.local_addr()).unwrap();
    garbage.write_all(&[0x55; 500]).unwrap();
    let edge = ca.edge(core.local_addr(), 3, &tls::edge_name(3), ExtendedKeyUsagePurpose::ClientAuth);
    edge.until(|inner, _| inner.links.len() == 1);
    // An answer or a reset; and then the end.
    let mut rest = Vec::new();
    let _ = garbage.read_to_end(&mut rest);
    assert!(core.counts().1 >= 1);
    drop(silent);
}
