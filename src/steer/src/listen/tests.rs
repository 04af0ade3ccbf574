//! Both ends over real TLS on loopback, with certificates of a CA made here.

use std::io::Write as _;
use std::sync::Condvar;

use nearport_geo::map::Live;
use nearport_geo::{PopSet, PopTable};
use nearport_trunk::tls::{CORE_NAME, LOCATE_NAME};
use rcgen::ExtendedKeyUsagePurpose as Usage;

use super::*;
use crate::board::{Board, Row, Wish};
use crate::dial::{Dial, Dialers};
use crate::locator::{News, Sink, State};
use crate::message::{Hello, Report, Target};
use crate::order::tests::Word;
use crate::order::{Order, Seal, Sealed};
use crate::post::{self, Post};
use crate::tls;
use ca::{Ca, provider};

#[path = "../../../trunk/src/listen/tests/ca.rs"]
mod ca;

const STUCK: Duration = Duration::from_secs(60);
const SILENCE: Duration = Duration::from_secs(5);

impl Ca {
    fn locator(&self, name: &str) -> Host {
        let tls =
            tls::listen_config(provider(), self.roots.clone(), self.sign(name, Usage::ServerAuth)).unwrap();
        let said = Said::default();
        self.host(tls, Arc::new(Word(1)), Box::new(said.clone()), said)
    }

    /// A locator with a seal and a sink of a test's own.
    fn with(&self, seal: Arc<dyn Seal>, sink: Box<dyn Sink>) -> Host {
        let signed = self.sign(LOCATE_NAME, Usage::ServerAuth);
        let tls = tls::listen_config(provider(), self.roots.clone(), signed).unwrap();
        self.host(tls, seal, sink, Said::default())
    }

    fn host(&self, tls: Arc<ServerConfig>, seal: Arc<dyn Seal>, sink: Box<dyn Sink>, said: Said) -> Host {
        let table = table();
        let locator = Locator::new(Board::new(table.clone(), Vec::new(), seal), sink);
        let socket = TcpListener::bind("127.0.0.1:0").unwrap();
        let listener = Listener::start(socket, tls, locator.clone(), SILENCE).unwrap();
        Host { locator, listener, said, table }
    }

    /// An edge that shows a certificate for `name` and says that it is `node`.
    fn edge(&self, to: &[&str], node: u16, pop: &str, name: &str) -> Edge {
        let tls =
            tls::dial_config(provider(), self.roots.clone(), self.sign(name, Usage::ClientAuth)).unwrap();
        let post = Arc::new(Post::new(pop));
        let told = Told::default();
        let dial = Dial { tls, hello: hello_of(node, pop, u64::from(node)), silence: SILENCE };
        let to: Vec<_> = to.iter().map(|to| (*to).to_owned()).collect();
        let dialers = Dialers::start(dial, &to, post.clone(), Arc::new(told.clone())).unwrap();
        Edge { dialers, post, told }
    }
}

fn hello_of(node: u16, pop: &str, instance: u64) -> Hello {
    Hello { versions: (1, 1), program: "9.9".to_owned(), node, pop: pop.to_owned(), instance }
}

fn table() -> Arc<PopTable> {
    table_of(&["a", "b", "c"])
}

fn table_of(pops: &[&str]) -> Arc<PopTable> {
    let pop = |id: &&str| {
        format!(
            "[[pop]]\nid = \"{id}\"\nplace = \"{id}\"\ncountry = \"SG\"\ncontinent = \"AS\"\nlat = 1.0\nlon = 2.0\n\
             endpoints = {{ quic = \"127.0.0.1:1\" }}\n"
        )
    };
    Arc::new(PopTable::parse(&pops.iter().map(pop).collect::<String>()).unwrap())
}

/// What a sink heard.
#[derive(Debug, Clone, Default)]
struct Said(Arc<(Mutex<(PopSet, usize)>, Condvar)>);

impl Sink for Said {
    fn live(&self, live: Live, _: &Arc<PopTable>) {
        self.0.0.lock().unwrap().0 = live.up;
        self.0.1.notify_all();
    }

    fn orders(&self, orders: &[Sealed]) {
        self.0.0.lock().unwrap().1 = orders.len();
        self.0.1.notify_all();
    }
}

impl Said {
    fn until(&self, up: &[&str]) {
        let up: PopSet = up.iter().map(|id| table().find(id).unwrap()).collect();
        let said = self.0.0.lock().unwrap();
        let (said, late) = self.0.1.wait_timeout_while(said, STUCK, |said| said.0 != up).unwrap();
        assert!(!late.timed_out(), "{said:?}");
    }
}

struct Host {
    locator: Locator,
    listener: Listener,
    said: Said,
    table: Arc<PopTable>,
}

impl Host {
    fn address(&self) -> String {
        self.listener.local_addr().to_string()
    }

    fn until(&self, what: &str, done: impl Fn(&[Row]) -> bool) {
        let begun = Instant::now();
        while !done(&self.locator.rows()) {
            assert!(begun.elapsed() < STUCK, "no {what}: {:?}", self.locator.rows());
            self.locator.tick(&self.table, std::iter::empty());
            std::thread::park_timeout(Duration::from_millis(5));
        }
    }
}

type Heard = (Vec<Target>, Vec<Order>);

#[derive(Debug, Clone, Default)]
struct Told(Arc<(Mutex<Heard>, Condvar)>);

impl post::Listener for Told {
    fn table(&self, targets: Vec<Target>) {
        self.0.0.lock().unwrap().0 = targets;
        self.0.1.notify_all();
    }

    fn order(&self, order: &Order) {
        self.0.0.lock().unwrap().1.push(order.clone());
        self.0.1.notify_all();
    }
}

impl Told {
    fn until(&self, done: impl Fn(&[Target], &[Order]) -> bool) {
        let told = self.0.0.lock().unwrap();
        let (told, late) = self.0.1.wait_timeout_while(told, STUCK, |told| !done(&told.0, &told.1)).unwrap();
        assert!(!late.timed_out(), "{told:?}");
    }
}

struct Edge {
    dialers: Dialers,
    post: Arc<Post>,
    told: Told,
}

impl Edge {
    fn refused_for(&self, why: &str) {
        let begun = Instant::now();
        while !self.dialers.problems().values().any(|problem| problem.contains(why)) {
            assert!(begun.elapsed() < STUCK, "{:?} has no {why:?}", self.dialers.problems());
            std::thread::park_timeout(Duration::from_millis(5));
        }
        assert_eq!(self.dialers.linked(), 0);
    }
}

#[test]
fn an_order_at_one_locator_reaches_the_edges_and_through_them_the_other_locator() {
    let ca = Ca::new();
    let (one, other) = (ca.locator(LOCATE_NAME), ca.locator(LOCATE_NAME));
    let (first, second) = (one.address(), other.address());
    let a = ca.edge(&[&first, &second], 1, "a", &edge_name(1));
    let b = ca.edge(&[&first], 2, "b", &edge_name(2));
    a.told.until(|table, _| table.len() == 3);
    b.told.until(|table, _| table.len() == 3);
    a.post.report(Report { sessions: 12, capacity: Some(100), draining: false });
    one.until("report", |rows| rows[0].sessions == Some(12) && rows[0].edges == 1 && rows[1].edges == 1);
    other.until("report", |rows| rows[0].sessions == Some(12) && rows[1].edges == 0);

    one.locator.wish("b", Wish::Drain { force: false }, "ann", 1).unwrap();
    one.said.until(&["a", "c"]);
    b.told.until(|_, orders| orders.iter().any(|order| order.drained));
    other.said.until(&["a", "c"]);
    assert_eq!(other.locator.order("b").map(|order| order.by), Some("ann".to_owned()));
    a.told.until(|_, orders| orders.is_empty());

    // Back, given at the other one; what the first kept is the same in the end.
    other.locator.wish("b", Wish::Undrain, "bob", 1).unwrap();
    one.said.until(&["a", "b", "c"]);
    b.told.until(|_, orders| orders.len() == 2 && !orders[1].drained);
    assert_eq!(one.said.0.0.lock().unwrap().1, 1, "orders to be kept");

    // A locator that ends: its edges stay with the other one.
    drop(other);
    a.refused_none();
    one.until("both", |rows| rows[0].edges == 1 && rows[1].edges == 1);
    drop(a);
    one.until("one gone", |rows| rows[0].edges == 0);
}

impl Edge {
    fn refused_none(&self) {
        let begun = Instant::now();
        while self.dialers.linked() != 1 {
            assert!(begun.elapsed() < STUCK, "{:?}", self.dialers.problems());
            std::thread::park_timeout(Duration::from_millis(5));
        }
    }
}

#[test]
fn votes_take_a_pop_out_and_a_drain_of_its_own_does_so_at_once() {
    let ca = Ca::new();
    let host = ca.locator(LOCATE_NAME);
    let to = host.address();
    let edges = [("a", 1), ("b", 2)].map(|(pop, node)| ca.edge(&[&to], node, pop, &edge_name(node)));
    host.until("links", |rows| rows[0].edges == 1 && rows[1].edges == 1);
    let check = |good: bool| {
        for edge in &edges {
            edge.post.saw("a", true);
            edge.post.saw("b", true);
            edge.post.saw("c", good);
        }
    };
    check(true);
    host.until("votes", |rows| rows[2].votes == 2);
    (0..3).for_each(|_| check(false));
    host.said.until(&["a", "b"]);
    edges[0].post.report(Report { sessions: 0, capacity: None, draining: true });
    host.said.until(&["b"]);
}

#[test]
fn who_is_not_who_it_says_is_told_so() {
    let ca = Ca::new();
    let host = ca.locator(LOCATE_NAME);
    let to = host.address();
    ca.edge(&[&to], 3, "a", &edge_name(4)).refused_for("the certificate is not for node 3");
    ca.edge(&[&to], 3, "z", &edge_name(3)).refused_for("there is no PoP `z`; there are a, b, c");
    Ca::new().edge(&[&to], 3, "a", &edge_name(3)).refused_for("invalid peer certificate");
    let core = ca.locator(CORE_NAME);
    ca.edge(&[&core.address()], 3, "a", &edge_name(3)).refused_for("not valid for name");
    // A core's port: the application protocol is another one.
    let trunk = nearport_trunk::tls::core_config(
        provider(),
        ca.roots.clone(),
        ca.sign(LOCATE_NAME, Usage::ServerAuth),
    );
    let socket = TcpListener::bind("127.0.0.1:0").unwrap();
    let echo = Arc::new(nearport_trunk::echo::Echo::default());
    let timing = nearport_trunk::remote::Timing::between_hosts(SILENCE);
    let trunk = nearport_trunk::listen::Listener::start(socket, trunk.unwrap(), echo, timing).unwrap();
    ca.edge(&[&trunk.local_addr().to_string()], 3, "a", &edge_name(3)).refused_for("NoApplicationProtocol");
    assert_eq!(host.locator.edges(), 0);
}

#[test]
fn two_edges_of_one_number_are_told_apart() {
    let ca = Ca::new();
    let host = ca.locator(LOCATE_NAME);
    let to = host.address();
    let first = ca.edge(&[&to], 3, "a", &edge_name(3));
    host.until("link", |rows| rows[0].edges == 1);
    let tls =
        tls::dial_config(provider(), ca.roots.clone(), ca.sign(&edge_name(3), Usage::ClientAuth)).unwrap();
    let dial = Dial { tls, hello: hello_of(3, "b", 77), silence: SILENCE };
    let post = Arc::new(Post::new("b"));
    let dialers = Dialers::start(dial, &[to], post.clone(), Arc::new(Told::default())).unwrap();
    let second = Edge { dialers, post, told: Told::default() };
    second.refused_for("node 3 is linked already");
    drop(first);
    second.refused_none();
    host.until("the other", |rows| rows[0].edges == 0 && rows[1].edges == 1);
}

/// A side by hand: hello, then whatever a test writes.
fn by_hand(ca: &Ca, host: &Host, first: &[u8]) -> (Stream, TcpStream) {
    let tls =
        tls::dial_config(provider(), ca.roots.clone(), ca.sign(&edge_name(9), Usage::ClientAuth)).unwrap();
    let mut socket = TcpStream::connect(host.listener.local_addr()).unwrap();
    let connection =
        nearport_trunk::tls::connect(&mut socket, &tls, LOCATE_NAME, Instant::now() + HANDSHAKE_MAX).unwrap();
    let raw = socket.try_clone().unwrap();
    let mut stream = Stream::tls(socket, connection);
    stream.prepare(STUCK).unwrap();
    stream.write_all(first).unwrap();
    (stream, raw)
}

fn hello(versions: (u16, u16)) -> Vec<u8> {
    let hello = Hello { versions, ..hello_of(9, "a", 1) };
    crate::message::encode(&Up::Hello(hello)).unwrap()
}

#[test]
fn noise_other_versions_and_silence_end_at_their_bounds() {
    let ca = Ca::new();
    let host = ca.locator(LOCATE_NAME);
    // Not even TLS.
    for noise in [&b"GET / HTTP/1.1\r\n\r\n"[..], &[0; 600], &[0x16, 3, 1, 0xff, 0xff, 1]] {
        let mut socket = TcpStream::connect(host.listener.local_addr()).unwrap();
        socket.set_read_timeout(Some(STUCK)).unwrap();
        socket.write_all(noise).unwrap();
        let mut answer = Vec::new();
        // An alert or nothing, then the end.
        let _ = std::io::Read::read_to_end(&mut socket, &mut answer);
        assert!(answer.len() < 64, "{answer:?}");
    }
    let (mut later, _) = by_hand(&ca, &host, &hello((2, 3)));
    let said: Down = link::read(&mut later, STUCK).unwrap();
    assert!(
        matches!(&said, Down::Refused { reason } if reason.contains("speaks versions 2 to 3")),
        "{said:?}"
    );
    assert!(link::read::<Down>(&mut later, STUCK).is_err());
    // A report before the hello, frames that are too long, and what is no JSON.
    let report = crate::message::encode(&Up::Report(Report::default())).unwrap();
    for bad in [&report[..], &[0xff; 8], &[0, 0, 0, 3, b'{', b'{', b'{']] {
        let (mut stream, _) = by_hand(&ca, &host, bad);
        assert!(link::read::<Down>(&mut stream, STUCK).is_err(), "{bad:?}");
    }
    assert_eq!(host.locator.edges(), 0);
    // A good beginning, then a second hello, or noise.
    for bad in [&hello((1, 1))[..], &[0, 0, 0, 2, b'4', b'2']] {
        let (mut stream, _) = by_hand(&ca, &host, &hello((1, 1)));
        let said: Down = link::read(&mut stream, STUCK).unwrap();
        assert_eq!(said, Down::Welcome { version: 1 });
        stream.write_all(bad).unwrap();
        while link::read::<Down>(&mut stream, STUCK).is_ok() {}
        host.until("the end", |rows| rows[0].edges == 0);
    }
    // One that comes again while its former link still stands takes its place.
    let (mut former, _) = by_hand(&ca, &host, &hello((1, 1)));
    assert_eq!(link::read::<Down>(&mut former, STUCK).unwrap(), Down::Welcome { version: 1 });
    let (mut next, _) = by_hand(&ca, &host, &hello((1, 1)));
    assert_eq!(link::read::<Down>(&mut next, STUCK).unwrap(), Down::Welcome { version: 1 });
    while link::read::<Down>(&mut former, STUCK).is_ok() {}
    host.until("the new one", |rows| rows[0].edges == 1);
    // An edge that says nothing is missed; the locator stays with its others.
    let other = ca.edge(&[&host.address()], 2, "b", &edge_name(2));
    host.until("silence", |rows| rows[0].edges == 0 && rows[1].edges == 1);
    assert_eq!(other.dialers.linked(), 1);
}

#[test]
fn a_locator_that_does_not_read_is_left_and_the_other_one_hears_everything() {
    let ca = Ca::new();
    let good = ca.locator(LOCATE_NAME);
    // It welcomes and then neither reads nor speaks.
    let deaf = TcpListener::bind("127.0.0.1:0").unwrap();
    let at = deaf.local_addr().unwrap().to_string();
    let config =
        tls::listen_config(provider(), ca.roots.clone(), ca.sign(LOCATE_NAME, Usage::ServerAuth)).unwrap();
    let (sender, came) = std::sync::mpsc::sync_channel(8);
    std::thread::spawn(move || {
        let mut held = Vec::new();
        for socket in deaf.incoming().map_while(Result::ok) {
            let mut socket = socket;
            let connection = accept(&mut socket, &config, Instant::now() + HANDSHAKE_MAX).unwrap();
            let mut stream = Stream::tls(socket, connection);
            stream.prepare(STUCK).unwrap();
            let Ok(Up::Hello(_)) = link::read::<Up>(&mut stream, STUCK) else { return };
            link::write(&mut stream, &Down::Welcome { version: 1 }).unwrap();
            held.push(stream);
            if sender.send(()).is_err() {
                return;
            }
        }
    });
    let edge = ca.edge(&[&at, &good.address()], 1, "a", &edge_name(1));
    let b = ca.edge(&[&good.address()], 2, "b", &edge_name(2));
    came.recv_timeout(STUCK).unwrap();
    good.until("links", |rows| rows[0].edges == 1 && rows[1].edges == 1);
    // Meanwhile everything goes its way with the other one.
    for sessions in 1..=3 {
        edge.post.report(Report { sessions, capacity: None, draining: false });
        good.until("report", |rows| rows[0].sessions == Some(sessions));
    }
    for edge in [&edge, &b] {
        edge.post.saw("b", true);
        edge.post.saw("a", true);
        (0..3).for_each(|_| edge.post.saw("c", false));
    }
    good.said.until(&["a", "b"]);
    // The deaf one is given up after the silence, and dialled again.
    came.recv_timeout(STUCK).unwrap();
}

#[test]
fn messages_that_change_nothing_are_told_to_nobody() {
    let table = table();
    let board = || Board::new(table.clone(), Vec::new(), Arc::new(Word(1)));
    let (mut twin, board) = (board(), board());
    let mut state = State { told: board.versions(), board, last: None, streams: BTreeMap::new() };
    let mut hello = hello_of(1, "a", 1);
    let (link, _) = state.board.join(&hello).unwrap();
    twin.join(&hello).unwrap();
    let first = state.news(Duration::ZERO);
    assert!(first.live.is_some() && !first.orders && !first.links);
    let a = table.find("a").unwrap();
    for second in 1..30 {
        // A tick, in which answers are counted; then messages that come in the middle of the next second.
        let now = Duration::from_secs(second);
        let sessions = 9_000 * u32::try_from(second).unwrap();
        for board in [&mut state.board, &mut twin] {
            board.report(link, Report { sessions, capacity: Some(280_000), draining: false }, now);
            board.tick(now);
            board.sent(a, 8_000);
        }
        state.last = None;
        let live = state.news(now).live.expect("each tick");
        assert_eq!(format!("{live:?}"), format!("{:?}", twin.live(now)), "in second {second}");
        for board in [&mut state.board, &mut twin] {
            board.sent(a, 9_000);
        }
        for part in 1..4 {
            let now = now + Duration::from_millis(250) * part;
            state.board.saw("b", true, now);
            let News { live, orders, links } = state.news(now);
            assert!(live.is_none() && !orders && !links, "in second {second}");
        }
    }
    let now = Duration::from_secs(30);
    state.board.wish("b", Wish::Drain { force: false }, "ann", 1, now).unwrap();
    let News { live, orders, links } = state.news(now);
    assert!(live.is_some() && orders && links);
    state.board.wish("b", Wish::Weight { thousandths: 5, force: false }, "ann", 2, now).unwrap();
    let News { live, orders, links } = state.news(now);
    assert!(live.is_none() && orders && links);
    state.board.set_table(table_of(&["a", "b"]));
    assert!(state.news(now).links);
    hello.node = 2;
    state.board.join(&hello).unwrap();
    assert!(!state.news(now).links);
}

/// Stops in the middle of the first word about who is up, which a locator that is new says when its first edge joins.
#[derive(Debug)]
struct Held {
    joined: std::sync::mpsc::SyncSender<()>,
    go: Mutex<std::sync::mpsc::Receiver<()>>,
}

impl Sink for Held {
    fn live(&self, _: Live, _: &Arc<PopTable>) {
        let _ = self.joined.try_send(());
        let _ = self.go.lock().unwrap().recv_timeout(STUCK);
    }

    fn orders(&self, _: &[Sealed]) {}
}

#[test]
fn a_link_that_has_just_joined_is_cut_when_its_pop_leaves_the_table() {
    let ca = Ca::new();
    // Who comes first after the join is luck; so, often.
    for _ in 0..20 {
        let (joined, has_joined) = std::sync::mpsc::sync_channel(1);
        let (go, gone) = std::sync::mpsc::sync_channel(1);
        let host = ca.with(Arc::new(Word(1)), Box::new(Held { joined, go: Mutex::new(gone) }));
        let (mut edge, _) = by_hand(&ca, &host, &hello((1, 1)));
        has_joined.recv_timeout(STUCK).unwrap();
        let (locator, (ticks, ticking)) = (host.locator.clone(), std::sync::mpsc::sync_channel(1));
        let tick = std::thread::spawn(move || {
            ticks.send(()).unwrap();
            locator.tick(&table_of(&["b", "c"]), std::iter::empty());
        });
        ticking.recv_timeout(STUCK).unwrap();
        drop(go);
        tick.join().unwrap();
        // It goes on as edges do; the locator says each second that it is here to whoever is still linked.
        let mut heard = 0;
        while link::read::<Down>(&mut edge, STUCK).is_ok() {
            heard += 1;
            assert!(heard < 10, "a link that nobody knows of lives on");
            let _ = link::write(&mut edge, &Up::Report(Report::default()));
        }
        assert_eq!(host.locator.edges(), 0);
    }
}

/// Takes its time with each check, until a test lets it go on.
#[derive(Debug)]
struct Slow {
    begun: std::sync::mpsc::SyncSender<()>,
    go: Mutex<std::sync::mpsc::Receiver<()>>,
    let_go: Arc<Mutex<Vec<bool>>>,
}

impl Seal for Slow {
    fn seal(&self, text: &[u8]) -> Vec<u8> {
        Word(1).seal(text)
    }

    fn is_sealed(&self, text: &[u8], seal: &[u8]) -> bool {
        let _ = self.begun.try_send(());
        let let_go = self.go.lock().unwrap().recv_timeout(SILENCE).is_ok();
        self.let_go.lock().unwrap().push(let_go);
        Word(1).is_sealed(text, seal)
    }
}

#[test]
fn a_locator_goes_on_while_it_checks_seals() {
    let ca = Ca::new();
    let (begun, has_begun) = std::sync::mpsc::sync_channel(1);
    let (go, gone) = std::sync::mpsc::sync_channel(1);
    let let_go = Arc::new(Mutex::new(Vec::new()));
    let seal = Slow { begun, go: Mutex::new(gone), let_go: let_go.clone() };
    let host = ca.with(Arc::new(seal), Box::new(Said::default()));
    let (mut edge, _) = by_hand(&ca, &host, &hello((1, 1)));
    assert_eq!(link::read::<Down>(&mut edge, STUCK).unwrap(), Down::Welcome { version: 1 });
    let drained = |by: u8| {
        let order = Order { pop: "b".to_owned(), drained: true, weight: 7, at_ms: 1, by: "ann".to_owned() };
        Up::Orders(vec![Sealed::new(order, &Word(by))])
    };
    // Forged, then good, then known: that one is not checked any more.
    for (sessions, by, checks) in [(1, 2, 1), (2, 1, 2), (3, 1, 2)] {
        link::write(&mut edge, &drained(by)).unwrap();
        if let_go.lock().unwrap().len() < checks {
            has_begun.recv_timeout(STUCK).unwrap();
            assert!(host.locator.order("b").is_none(), "answers while the seal is being checked");
            go.send(()).unwrap();
        }
        // What comes after it is heard: so it was.
        let report = Report { sessions, capacity: None, draining: false };
        link::write(&mut edge, &Up::Report(report)).unwrap();
        host.until("report", |rows| rows[0].sessions == Some(sessions));
        assert_eq!(host.locator.rows()[1].drained, by == 1);
        assert_eq!(let_go.lock().unwrap().as_slice(), vec![true; checks]);
    }
}
