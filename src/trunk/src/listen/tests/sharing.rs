//! What is for several shards of an edge crosses the trunk once.

use super::*;
use crate::local::DownQueue;
use crate::{Backend, Sharing, Topic};

/// A backend that says what a test says.
#[derive(Debug, Default)]
struct Loud(Mutex<Vec<(Option<Sharing>, DownQueue)>>);

#[derive(Debug)]
struct Deaf(DownQueue);

impl Link for Deaf {
    fn send(&mut self, ups: &mut Vec<Up>) {
        ups.clear();
    }

    fn recv(&mut self, downs: &mut Vec<Down>, max: usize) -> Received {
        self.0.recv(downs, max)
    }
}

impl Loud {
    fn take(&self, sharing: Option<Sharing>, waker: Waker) -> Box<dyn Link> {
        let queue = DownQueue::new(waker);
        self.0.lock().unwrap().push((sharing, queue.clone()));
        Box::new(Deaf(queue))
    }
}

impl Backend for Loud {
    fn link(&self, waker: Waker) -> Box<dyn Link> {
        self.take(None, waker)
    }

    fn link_sharing(&self, waker: Waker, sharing: Sharing) -> Box<dyn Link> {
        self.take(Some(sharing), waker)
    }
}

/// Links of three shards, by shard, and what came by each.
type Shards = Arc<(Mutex<[Option<Box<dyn Link>>; 3]>, Condvar)>;

fn share(shards: u32, id: u64) -> Down {
    let topic = Topic::from(&b"room"[..]);
    Down::Share { shards, topic, lane: Lane::Live, kind: Kind::LIVE, id, body: vec![7; 9].into() }
}

#[test]
fn what_is_for_several_shards_crosses_once_and_reaches_those_it_is_for() {
    let (ca, backend) = (Ca::new(), Arc::new(Loud::default()));
    let own = ca.sign(tls::CORE_NAME, ExtendedKeyUsagePurpose::ServerAuth);
    let config = tls::core_config(provider(), ca.roots.clone(), own).unwrap();
    let socket = TcpListener::bind("127.0.0.1:0").unwrap();
    let core = Listener::start(socket, config, backend.clone(), timing()).unwrap();

    let own = ca.sign(&tls::edge_name(3), ExtendedKeyUsagePurpose::ClientAuth);
    let tls = tls::edge_config(provider(), ca.roots.clone(), own).unwrap();
    let at = core.local_addr().to_string();
    let dial = Dial { core: at, tls, node: 3, generation: 9, instance: 5, timing: timing() };
    let shards: Shards = Arc::default();
    let waker = || {
        let bell = shards.clone();
        Waker::new(move || bell.1.notify_all())
    };
    let taken = shards.clone();
    let attach: Attach = Arc::new(move |shard, link| taken.0.lock().unwrap()[shard] = Some(link));
    let wakers = (0..3).map(|_| waker()).collect();
    let _dialers = Dialers::start(dial, wakers, attach).unwrap();
    let begun = Instant::now();
    while core.links() < 3 || shards.0.lock().unwrap().iter().any(Option::is_none) {
        assert!(begun.elapsed() < STUCK, "no links");
        std::thread::park_timeout(Duration::from_millis(5));
    }

    let queues = backend.0.lock().unwrap().clone();
    let by = |shard| {
        let mut of = queues.iter().filter(|(sharing, _)| sharing.unwrap().shard == shard);
        of.next().unwrap().1.clone()
    };
    assert!(
        queues.iter().all(|(sharing, _)| sharing.unwrap().edge == crate::EdgeId { node: 3, instance: 5 })
    );
    // The second is for the two others, although it comes by the link of shard 0.
    by(0).push_batch(&mut vec![share(0b111, 1), share(0b110, 2), share(0b1, 3)]);
    by(1).push_batch(&mut vec![share(0b101, 4)]);
    let mut got: [Vec<u64>; 3] = Default::default();
    let mut links = shards.0.lock().unwrap();
    while got.iter().map(Vec::len).sum::<usize>() < 8 {
        assert!(begun.elapsed() < STUCK, "{got:?}");
        links = shards.1.wait_timeout(links, Duration::from_millis(20)).unwrap().0;
        for (link, got) in links.iter_mut().zip(&mut got) {
            let mut downs = Vec::new();
            link.as_mut().unwrap().recv(&mut downs, 64);
            got.extend(downs.into_iter().map(|down| match down {
                Down::Publish { kind: Kind::LIVE, id, except: None, .. } => id,
                other => panic!("{other:?}"),
            }));
        }
    }
    got.iter_mut().for_each(|ids| ids.sort_unstable());
    assert_eq!(got, [vec![1, 3, 4], vec![1, 2], vec![1, 2, 4]]);
}
