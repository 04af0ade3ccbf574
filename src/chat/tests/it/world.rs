//! A backend without threads, its stores in memory, and its links as plain lists.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use nearport_chat::desk::Desk;
use nearport_chat::directory::{Account, Accounts as _, App, AppKey, Directory, Mutes};
use nearport_chat::downs::Downs;
use nearport_chat::front::Front;
use nearport_chat::key::{AppId, UserKey};
use nearport_chat::ledger::Ledger;
use nearport_chat::shared::Shared;
use nearport_chat::writer::Writer;
use nearport_chat::{Config, usersig};
use nearport_store::{MemoryDirectory, MemoryLedger};
use nearport_trunk::local::{DownQueue, LinkId};
use nearport_trunk::{Down, SessionId, Up, Waker};
use nearport_wire::body::{self, Content, Element, Hello, Target, Text, Welcome, element, target};
use nearport_wire::close::CloseCode;
use nearport_wire::{Kind, Lane};
use prost::Message;

pub(crate) const APP: u32 = 1_400_000_000;
pub(crate) const SECRET: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
/// 2023-11-14, and the start of a minute, so that a test knows where counting windows begin.
pub(crate) const START_MS: u64 = 1_699_999_980_000;

pub(crate) struct World {
    pub(crate) ledger: Arc<dyn Ledger>,
    pub(crate) directory: Arc<dyn Directory>,
    pub(crate) shared: Shared,
    pub(crate) front: Front,
    pub(crate) writer: Writer,
    pub(crate) desk: Desk,
    pub(crate) downs: Downs,
    pub(crate) links: Vec<DownQueue>,
    pub(crate) now_ms: u64,
    config: Config,
    homes: HashMap<SessionId, LinkId>,
    next_session: u64,
}

pub(crate) fn app() -> App {
    App {
        id: AppId(APP),
        name: "test".to_owned(),
        keys: vec![AppKey::hmac("first", SECRET, START_MS)],
        proved_from_s: 0,
        admins: Vec::new(),
        disabled: false,
        created_ms: START_MS,
    }
}

pub(crate) fn user(name: &str) -> UserKey {
    UserKey::new(AppId(APP), name).unwrap()
}

/// A directory with the App and the accounts alice, bob and carol.
pub(crate) fn directory() -> MemoryDirectory {
    let directory = MemoryDirectory::new();
    directory.create_app(&app()).unwrap();
    let account =
        |name| Account { key: user(name), created_ms: START_MS, valid_from_s: 0, mutes: Mutes::default() };
    directory.register(&["alice", "bob", "carol"].map(account)).unwrap();
    directory
}

impl World {
    pub(crate) fn new() -> Self {
        Self::over(Arc::new(MemoryLedger::new()), Arc::new(directory()), Config::default())
    }

    pub(crate) fn over(ledger: Arc<dyn Ledger>, directory: Arc<dyn Directory>, config: Config) -> Self {
        let shared = Shared::new(ledger.clone(), directory.clone(), config.clone()).unwrap();
        let links = vec![DownQueue::new(Waker::noop()), DownQueue::new(Waker::noop())];
        for link in &links {
            let _ = shared.links().add(link.clone());
        }
        Self {
            ledger,
            directory,
            front: Front::new(shared.clone()),
            writer: Writer::new(shared.clone()),
            desk: Desk::new(shared.clone()),
            downs: Downs::new(shared.links().clone()),
            shared,
            links,
            now_ms: START_MS,
            config,
            homes: HashMap::new(),
            next_session: 1,
        }
    }

    /// A new process over the same stores.
    pub(crate) fn restart(&mut self) {
        let mut new = Self::over(self.ledger.clone(), self.directory.clone(), self.config.clone());
        new.now_ms = self.now_ms;
        new.next_session = self.next_session;
        *self = new;
    }

    pub(crate) fn hello(&self, name: &str, device: &str) -> Hello {
        Hello {
            app: APP,
            user: name.to_owned(),
            usersig: usersig::sign_v2(SECRET, APP, name, self.now_ms / 1000 - 60, 86_400, None),
            device: device.to_owned(),
            ..Hello::default()
        }
    }

    pub(crate) fn open_up(&mut self, link: usize, hello: &Hello) -> (SessionId, (LinkId, Up)) {
        let session = SessionId(self.next_session);
        self.next_session += 1;
        self.homes.insert(session, LinkId(link));
        let peer = "192.0.2.1:1000".parse().unwrap();
        (
            session,
            (LinkId(link), Up::Open { session, hello: hello.encode_to_vec().into(), peer, vouched: None }),
        )
    }

    pub(crate) fn front(&mut self, mut batch: Vec<(LinkId, Up)>) {
        self.front.handle(&mut batch, self.now_ms, &mut self.downs);
        assert!(batch.is_empty());
        self.downs.flush();
    }

    /// Opens a session and gives what came down on its link.
    pub(crate) fn open(&mut self, link: usize, hello: &Hello) -> (SessionId, Vec<Down>) {
        let (session, up) = self.open_up(link, hello);
        self.front(vec![up]);
        (session, self.received(link))
    }

    /// A login that must succeed.
    pub(crate) fn login_at(&mut self, link: usize, hello: &Hello) -> (SessionId, Welcome) {
        let (session, downs) = self.open(link, hello);
        let welcome = downs.iter().find_map(|down| match down {
            Down::Accept { session: accepted, welcome, .. } if *accepted == session => Some(welcome.clone()),
            _ => None,
        });
        (session, Welcome::decode(welcome.unwrap_or_else(|| panic!("not accepted: {downs:?}"))).unwrap())
    }

    /// A login on link 0 that must succeed.
    pub(crate) fn login(&mut self, name: &str, device: &str) -> SessionId {
        let hello = self.hello(name, device);
        self.login_at(0, &hello).0
    }

    /// A login on link 0 that must be refused.
    pub(crate) fn refused(&mut self, hello: &Hello) -> (CloseCode, u32) {
        let (_, downs) = self.open(0, hello);
        match &downs[..] {
            [Down::Reject { code, reason, .. }] => {
                (*code, reason.split(' ').next().unwrap().parse().unwrap())
            }
            other => panic!("not refused: {other:?}"),
        }
    }

    pub(crate) fn frame(
        &self,
        session: SessionId,
        kind: Kind,
        id: u64,
        body: impl Into<Bytes>,
    ) -> (LinkId, Up) {
        (self.homes[&session], Up::Frame { session, lane: Lane::Chat, kind, id, body: body.into() })
    }

    /// A text message; `id` is the request id.
    pub(crate) fn text(&self, from: SessionId, to: &str, client_msg_id: u8, id: u64) -> (LinkId, Up) {
        self.frame(from, Kind::SEND, id, send(to, client_msg_id).encode_to_vec())
    }

    pub(crate) fn ack(&self, session: SessionId, position: u64) -> (LinkId, Up) {
        (self.homes[&session], Up::Ack { session, position })
    }

    /// Frames of `session` come over `link`.
    pub(crate) fn at_home(&mut self, session: SessionId, link: usize) {
        self.homes.insert(session, LinkId(link));
    }

    /// One turn of the writer.
    pub(crate) fn write(&mut self, mut batch: Vec<(LinkId, Up)>) {
        self.writer.turn(&mut batch, self.now_ms, &mut self.downs);
        assert!(batch.is_empty());
        self.downs.flush();
    }

    /// Requests of the desk, in one batch, and what they post.
    pub(crate) fn desk(&mut self, mut batch: Vec<(LinkId, Up)>) {
        self.desk.handle(&mut batch, self.now_ms, &mut self.downs);
        assert!(batch.is_empty());
        self.downs.flush();
        self.write(Vec::new());
    }

    pub(crate) fn received(&mut self, link: usize) -> Vec<Down> {
        let mut downs = Vec::new();
        assert!(!self.links[link].recv(&mut downs, usize::MAX).lost);
        downs
    }

    /// Asks the front and gives its answer, decoded.
    pub(crate) fn ask<M: Message + Default>(
        &mut self,
        session: SessionId,
        kind: Kind,
        body: &impl Message,
    ) -> Result<M, u32> {
        let frame = self.frame(session, kind, 77, body.encode_to_vec());
        self.front(vec![frame]);
        let downs = self.received(self.homes[&session].0);
        assert_eq!(downs.len(), 1, "{downs:?}");
        answer(&downs[0])
    }
}

/// A `Send` of one text element.
pub(crate) fn send(to: &str, client_msg_id: u8) -> body::Send {
    body::Send {
        client_msg_id: vec![client_msg_id; 16].into(),
        to: Some(to_user(to)),
        content: Some(text_content("hi")),
        ..body::Send::default()
    }
}

pub(crate) fn to_user(name: &str) -> Target {
    Target { target: Some(target::Target::User(name.to_owned())) }
}

pub(crate) fn text_content(text: &str) -> Content {
    let element = element::Element::Text(Text { text: text.to_owned() });
    Content { elements: vec![Element::from(element)], ..Content::default() }
}

/// The body of a reply, or the code of an error.
pub(crate) fn answer<M: Message + Default>(down: &Down) -> Result<M, u32> {
    match down {
        Down::Reply { kind: Kind::REPLY, body, .. } => Ok(M::decode(body.clone()).unwrap()),
        Down::Reply { kind: Kind::ERROR, body, .. } => Err(body::Error::decode(body.clone()).unwrap().code),
        other => panic!("not an answer: {other:?}"),
    }
}

/// What a test reads of a message that came down.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Seen {
    /// REPLY to the session with this request id.
    Reply(SessionId, u64),
    /// ERROR to the session with this request id and code.
    Error(SessionId, u64, u32),
    /// Publish to the topic of the user whose name starts so, with kind, id and excepted session.
    Publish(char, Kind, u64, SessionId),
    Other,
}

pub(crate) fn seen(downs: &[Down]) -> Vec<Seen> {
    let see = |down: &Down| match down {
        Down::Reply { session, kind: Kind::REPLY, id, .. } => Seen::Reply(*session, *id),
        Down::Reply { session, id, .. } => {
            Seen::Error(*session, *id, answer::<body::Empty>(down).expect_err("an ERROR frame"))
        }
        Down::Publish { topic, kind, id, except, .. } => {
            Seen::Publish(char::from(topic.0[4]), *kind, *id, except.expect("publishes come from a session"))
        }
        _ => Seen::Other,
    };
    downs.iter().map(see).collect()
}
