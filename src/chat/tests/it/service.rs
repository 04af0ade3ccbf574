//! The threads: what the cores do, through real queues and wake-ups.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, sync_channel};
use std::time::Duration;

use nearport_chat::ledger::{CursorName, Ledger as _, LedgerError};
use nearport_chat::{Chat, Clock, Config, Error, usersig};
use nearport_store::MemoryLedger;
use nearport_trunk::{Backend as _, Down, Link, SessionId, Up, Waker};
use nearport_wire::body::{Hello, Sent};
use nearport_wire::{Kind, Lane};
use prost::Message as _;

use crate::world::{APP, SECRET, START_MS, answer, directory, send, user};

/// How long a test waits for another thread before it gives up. No test passes because of it.
const PATIENCE: Duration = Duration::from_secs(60);

fn start(ledger: &MemoryLedger) -> Chat {
    let clock: Clock = Arc::new(|| START_MS);
    Chat::start(Arc::new(ledger.clone()), Arc::new(directory()), clock, Config::default()).unwrap()
}

/// A shard's end of the link.
struct Shard {
    link: Box<dyn Link>,
    woken: Receiver<()>,
    waiting: Vec<Down>,
}

impl Shard {
    fn new(chat: &Chat) -> Self {
        let (wake, woken) = sync_channel(1);
        let link = chat.link(Waker::new(move || {
            let _ = wake.try_send(());
        }));
        Self { link, woken, waiting: Vec::new() }
    }

    fn send(&mut self, up: Up) {
        let mut ups = vec![up];
        self.link.send(&mut ups);
        assert!(ups.is_empty(), "refused: {ups:?}");
    }

    fn open(&mut self, session: u64, name: &str) {
        let usersig = usersig::sign_v2(SECRET, APP, name, START_MS / 1000, 86_400, None);
        let hello =
            Hello { app: APP, user: name.into(), usersig, device: "phone".into(), ..Hello::default() };
        let hello = hello.encode_to_vec().into();
        self.send(Up::Open {
            session: SessionId(session),
            hello,
            peer: "192.0.2.1:1000".parse().unwrap(),
            vouched: None,
        });
        self.wait_for(|down| matches!(down, Down::Accept { session: got, .. } if got.0 == session));
    }

    fn request(&mut self, session: u64, kind: Kind, id: u64, body: Vec<u8>) {
        self.send(Up::Frame { session: SessionId(session), lane: Lane::Chat, kind, id, body: body.into() });
    }

    /// The first message that fits; earlier ones are dropped.
    fn wait_for(&mut self, fits: impl Fn(&Down) -> bool) -> Down {
        loop {
            if let Some(at) = self.waiting.iter().position(&fits) {
                let found = self.waiting.drain(..=at).next_back();
                return found.expect("the range has an item");
            }
            let received = self.link.recv(&mut self.waiting, 100);
            if self.waiting.is_empty() && !received.more {
                self.woken.recv_timeout(PATIENCE).expect("woken");
            }
        }
    }
}

fn is_reply(down: &Down, id: u64) -> bool {
    matches!(down, Down::Reply { id: got, .. } if *got == id)
}

#[test]
fn a_message_crosses_from_one_link_to_another() {
    let ledger = MemoryLedger::new();
    let chat = start(&ledger);
    chat.ready().unwrap();
    let (mut one, mut two) = (Shard::new(&chat), Shard::new(&chat));
    one.open(1, "alice");
    two.open(2, "bob");
    for id in 1..=50 {
        one.request(1, Kind::SEND, id, send("bob", u8::try_from(id).unwrap()).encode_to_vec());
    }
    for id in 1..=50 {
        let sent: Sent = answer(&one.wait_for(|down| is_reply(down, id))).unwrap();
        assert_eq!(sent.seq, id);
        two.wait_for(|down| matches!(down, Down::Publish { id: position, .. } if *position == id));
    }
    two.send(Up::Close { session: SessionId(2), lost_ms: None });
    chat.shutdown().unwrap();
    assert_eq!(ledger.log_head(&user("bob")).unwrap(), 50);
}

#[test]
fn a_shutdown_answers_what_is_queued_and_refuses_the_rest() {
    let ledger = MemoryLedger::new();
    let chat = start(&ledger);
    let mut shard = Shard::new(&chat);
    shard.open(1, "alice");
    shard.request(1, Kind::SEND, 1, send("bob", 1).encode_to_vec());
    shard.request(1, Kind::SYNC, 2, Vec::new());
    chat.shutdown().unwrap();
    let mut downs = Vec::new();
    shard.link.recv(&mut downs, 100);
    assert!([1, 2].iter().all(|id| downs.iter().any(|down| is_reply(down, *id))), "{downs:?}");
    assert_eq!(ledger.log_head(&user("bob")).unwrap(), 1);

    let mut late = vec![Up::Ack { session: SessionId(1), position: 2 }];
    shard.link.send(&mut late);
    assert_eq!(late.len(), 1, "the shard keeps what nobody takes");
    assert!(chat.ready().unwrap_err().contains("not running"));
    chat.shutdown().unwrap();
}

#[test]
fn a_shutdown_stores_waiting_acks() {
    let ledger = MemoryLedger::new();
    let chat = start(&ledger);
    let mut shard = Shard::new(&chat);
    shard.open(1, "alice");
    shard.request(1, Kind::SEND, 1, send("alice", 1).encode_to_vec());
    shard.wait_for(|down| is_reply(down, 1));
    // The clock stands still, so the ack never becomes due by itself.
    shard.send(Up::Ack { session: SessionId(1), position: 1 });
    chat.shutdown().unwrap();
    let stored = ledger.cursor(&user("alice"), &CursorName::Device("phone".into())).unwrap();
    assert_eq!(stored, Some(1));
}

#[test]
fn ready_says_when_the_ledger_takes_no_writes() {
    let ledger = MemoryLedger::new();
    let chat = start(&ledger);
    let mut shard = Shard::new(&chat);
    shard.open(1, "alice");
    ledger.fail_next(LedgerError::Full("no space".to_owned()));
    shard.request(1, Kind::SEND, 1, send("bob", 1).encode_to_vec());
    assert_eq!(answer::<Sent>(&shard.wait_for(|down| is_reply(down, 1))), Err(20005));
    assert!(chat.ready().unwrap_err().contains("full"));
}

#[test]
fn operators_register_and_kick() {
    let chat = start(&MemoryLedger::new());
    let app = nearport_chat::key::AppId(APP);
    chat.register(app, &["dave", "erin", "dave"]).unwrap();
    assert!(matches!(chat.register(app, &["frank", ""]), Err(Error::Name(_))));
    assert!(matches!(chat.kick(app, "frank"), Err(Error::NoAccount)), "none of them was registered");
    let mut shard = Shard::new(&chat);
    shard.open(1, "dave");
    assert_eq!(chat.kick(app, "dave").unwrap(), 1);
    shard.wait_for(|down| matches!(down, Down::Kick { session: SessionId(1), .. }));
}

#[test]
fn a_configuration_that_cannot_work_does_not_start() {
    let config = Config { writer_batch_items: 0, ..Config::default() };
    let clock: Clock = Arc::new(|| START_MS);
    let started = Chat::start(Arc::new(MemoryLedger::new()), Arc::new(directory()), clock, config);
    assert!(matches!(started, Err(Error::Config(_))));
}
