//! A core against the model server, with a network and a clock that the tests move.

use super::*;
use crate::config::Follow;
use crate::error::{PostError, QueueFull, RequestError};
use crate::event::{HistoryQuery, HistoryRange, SendOptions, text, user};
use nearport_wire::{Kind, Lane, body};

mod properties;
mod receiving;
mod returning;
mod rooms;
mod sending;

use super::model::{Ledger, Peer};

const SECOND: Duration = Duration::from_secs(1);

/// A core, the server's end of its connection if there is one, and a pretend network in between.
struct World {
    now: Instant,
    core: Core,
    ledger: Ledger,
    peer: Option<Peer>,
}

fn config() -> CoreConfig {
    CoreConfig {
        app: 1,
        user: "bob".into(),
        device: "d".into(),
        platform: Platform::Other,
        usersig: "sig".into(),
        client: String::new(),
        cursor: None,
        resume: None,
        follow: Follow::Nothing,
        groups: Vec::new(),
        acks: Acks::default(),
        receive: Receive::Everything,
        limits: Limits::default(),
        seed: 7,
    }
}

impl World {
    fn new(config: CoreConfig) -> Self {
        let now = Instant::now();
        Self { now, core: Core::new(config, now), ledger: Ledger::default(), peer: None }
    }

    /// A world whose core has just logged in; its first events are taken.
    fn live(config: CoreConfig) -> Self {
        let mut world = Self::new(config);
        world.connect();
        world.events();
        world
    }

    fn connect(&mut self) {
        if self.core.state() == State::Backoff {
            self.now = self.core.poll_timeout().unwrap();
            self.core.handle_timeout(self.now);
        }
        let asked = std::iter::from_fn(|| self.core.poll_transport()).last();
        assert_eq!(asked, Some(TransportAction::Connect));
        self.core.handle_connected(self.now, Path::one_stream(Transport::Quic));
        self.peer = Some(Peer::new(self.now));
        self.exchange();
        assert_eq!(self.core.state(), State::Live);
    }

    fn up(&mut self) -> bool {
        let mut chunks = self.core.take_parting();
        chunks.append(&mut self.core.poll_output().take());
        let Some(peer) = &mut self.peer else { return false };
        for chunk in &chunks {
            // A client that says good-bye is a closing too.
            let _ = peer.handle_bytes(&mut self.ledger, self.now, chunk.clone());
        }
        !chunks.is_empty()
    }

    fn down(&mut self) -> bool {
        let Some(peer) = &mut self.peer else { return false };
        let chunks = peer.server.poll_output().take();
        for chunk in &chunks {
            self.core.handle_bytes(self.now, chunk.clone());
        }
        !chunks.is_empty()
    }

    fn exchange(&mut self) {
        while self.up() | self.down() {}
    }

    fn lose(&mut self, code: CloseCode) {
        self.peer = None;
        self.core.handle_disconnected(self.now, Closing::new(code, "test"));
    }

    fn post(&mut self, what: &str) -> MsgId {
        self.core.send(self.now, user("alice"), text(what), false).unwrap()
    }

    /// Lets the clock run to the core's next deadline.
    fn wait(&mut self) {
        self.now = self.core.poll_timeout().expect("something is due");
        self.core.handle_timeout(self.now);
    }

    fn events(&mut self) -> Vec<Event> {
        std::iter::from_fn(|| self.core.poll_event()).collect()
    }

    fn shown(&mut self) -> Vec<String> {
        let events = self.events().into_iter();
        events.filter_map(|e| if let Event::Message(m) = e { Some(m.text()) } else { None }).collect()
    }

    fn incoming(&mut self, what: &str) {
        let push = self.ledger.incoming(what);
        if let Some(peer) = &mut self.peer {
            peer.push(&push);
        }
        self.exchange();
    }
}

fn sent_ids(events: &[Event]) -> Vec<MsgId> {
    events.iter().filter_map(|e| if let Event::Sent { id, .. } = e { Some(*id) } else { None }).collect()
}

fn refusal(retry_after_ms: u32) -> Option<body::Error> {
    Some(body::Error { code: 20004, info: "busy".into(), retry_after_ms })
}
