//! A model of the server for tests: one user's log in memory behind `session::Server`, as small as the protocol
//! allows.

use std::collections::{HashMap, VecDeque};
use std::time::{Duration, Instant};

use bytes::Bytes;
use nearport_session::{Action, Closing, Server, ServerLimits};
use nearport_wire::body::{self, Delivery, Hello, LogEntry, Message, SyncPage, Welcome};
use nearport_wire::close::CloseCode;
use nearport_wire::{Frame, Kind, Lane};
use prost::Message as _;

/// The ledger: it outlives connections and restarts.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    pub(crate) log: Vec<Delivery>,
    places: HashMap<Bytes, u64>,
    /// What the client has acknowledged.
    pub(crate) acked: u64,
    /// Hellos so far.
    pub(crate) hellos: Vec<Hello>,
    /// Answers for the next sends, joins and changes instead of doing them; `None` lets one through.
    pub(crate) refusals: VecDeque<Option<body::Error>>,
    /// Live rooms that were asked for.
    pub(crate) joins: Vec<String>,
    /// Where live rooms stand.
    pub(crate) counts: Option<body::LiveCounts>,
    /// Attempts of sends that were seen, by their text.
    pub(crate) attempts: Vec<String>,
    /// Requests are carried out and not answered.
    pub(crate) mute: bool,
    /// Life of the token in each welcome; zero: there is none.
    pub(crate) token_ttl_s: u32,
    /// What each welcome says about coming back.
    pub(crate) return_window_ms: u32,
    /// Hellos with a token are refused.
    pub(crate) refuse_tokens: bool,
}

impl Ledger {
    pub(crate) fn head(&self) -> u64 {
        self.log.len() as u64
    }

    /// Appends a message; returns its position, and whether it is new.
    pub(crate) fn append(&mut self, message: Message) -> (u64, bool) {
        if let Some(position) = self.places.get(&message.client_msg_id) {
            return (*position, false);
        }
        let position = self.head() + 1;
        self.places.insert(message.client_msg_id.clone(), position);
        let time_ms = 1000 * position;
        self.log.push(Delivery { message: Some(message), seq: position, time_ms, ..Delivery::default() });
        (position, true)
    }

    /// A message from somebody else; returns the push.
    pub(crate) fn incoming(&mut self, text: &str) -> Bytes {
        let id = format!("peer-{}", self.head());
        let content = Some(text_content(text));
        let (from, to) = ("alice".into(), None);
        let (position, _) =
            self.append(Message { from, to, client_msg_id: id.into(), content, ..Message::default() });
        self.push(position)
    }

    pub(crate) fn push(&self, position: u64) -> Bytes {
        let delivery = self.log[usize::try_from(position).unwrap() - 1].encode_to_vec();
        Frame::new(Lane::Chat, Kind::PUSH, position, delivery.into()).encode()
    }

    pub(crate) fn is_from(&self, position: u64, user: &str) -> bool {
        let message = &self.log[usize::try_from(position).unwrap() - 1].message;
        message.as_ref().is_some_and(|message| message.from == user)
    }

    /// The texts in the log of messages from `from`.
    pub(crate) fn texts(&self, from: &str) -> Vec<String> {
        let messages = self.log.iter().filter_map(|delivery| delivery.message.as_ref());
        messages.filter(|message| message.from == from).map(text_of).collect()
    }
}

/// One connection's server end.
#[derive(Debug)]
pub(crate) struct Peer {
    pub(crate) server: Server,
    limits: ServerLimits,
    user: String,
}

impl Peer {
    pub(crate) fn new(now: Instant) -> Self {
        let limits = ServerLimits::default();
        Self { server: Server::new(&limits, now), limits, user: String::new() }
    }

    /// Takes bytes and does what they ask for.
    pub(crate) fn handle_bytes(
        &mut self,
        ledger: &mut Ledger,
        now: Instant,
        chunk: Bytes,
    ) -> Result<(), Closing> {
        self.server.handle_bytes(chunk);
        self.act(ledger, now)
    }

    /// Does what a datagram asks for.
    pub(crate) fn handle_datagram(&mut self, ledger: &mut Ledger, now: Instant, datagram: Bytes) {
        let (limits, mut actions) = (self.limits.clone(), Vec::new());
        self.server.handle_datagram(datagram, &limits, now, |action| actions.push(action));
        actions.into_iter().for_each(|action| self.carry_out(ledger, action));
    }

    /// Does what was read asks for.
    pub(crate) fn act(&mut self, ledger: &mut Ledger, now: Instant) -> Result<(), Closing> {
        while let Some(action) = self.server.poll_action(&self.limits, now)? {
            self.carry_out(ledger, action);
        }
        Ok(())
    }

    fn carry_out(&mut self, ledger: &mut Ledger, action: Action) {
        match action {
            Action::Open(hello) => self.open(ledger, &Hello::decode(hello).unwrap()),
            Action::Ack(position) => ledger.acked = ledger.acked.max(position),
            Action::Request(frame) => self.request(ledger, &frame),
        }
    }

    pub(crate) fn push(&mut self, frame: &Bytes) {
        self.server.push(nearport_wire::Lane::Chat, frame, &self.limits);
    }

    fn open(&mut self, ledger: &mut Ledger, hello: &Hello) {
        self.user.clone_from(&hello.user);
        let head = ledger.head();
        let cursor = hello.cursor.unwrap_or(ledger.acked).min(head);
        ledger.hellos.push(hello.clone());
        if ledger.refuse_tokens && !hello.resume.is_empty() {
            let closing = Closing::new(CloseCode::UNAUTHORIZED, "70001 resume token");
            return self.server.close(&closing, Duration::ZERO);
        }
        let missed = (cursor < head).then(|| page(ledger, body::Sync { after: cursor, limit: 3 }));
        let token = format!("token {}", ledger.hellos.len());
        let token = if ledger.token_ttl_s > 0 { token.into() } else { Bytes::new() };
        let welcome = Welcome {
            session: 1,
            time_ms: 5,
            head,
            cursor,
            heartbeat_ms: 25_000,
            frame_bytes_max: 16_384,
            missed,
            resume_token: token,
            resume_ttl_s: ledger.token_ttl_s,
            return_window_ms: ledger.return_window_ms,
        };
        self.server.accept(&welcome.encode_to_vec());
    }

    fn request(&mut self, ledger: &mut Ledger, frame: &Frame) {
        let answer = match frame.kind {
            Kind::SEND => self.send(ledger, body::Send::decode(frame.body.clone()).unwrap()),
            Kind::SYNC => Ok(page(ledger, body::Sync::decode(frame.body.clone()).unwrap()).encode_to_vec()),
            Kind::HISTORY => {
                let deliveries = ledger.log.iter().rev().cloned().collect();
                let page = body::HistoryPage {
                    deliveries,
                    complete: true,
                    head: ledger.head(),
                    ..Default::default()
                };
                Ok(page.encode_to_vec())
            }
            Kind::ECHO => Ok(frame.body.to_vec()),
            Kind::GROUP => join(ledger, body::GroupCall::decode(frame.body.clone()).unwrap()),
            Kind::AMEND => ledger.refusals.pop_front().flatten().map_or(Ok(Vec::new()), Err),
            _ => Ok(Vec::new()),
        };
        if ledger.mute {
            return;
        }
        match answer {
            Ok(body) => self.server.reply(frame.lane, Kind::REPLY, frame.id, &body),
            Err(error) => self.server.reply(frame.lane, Kind::ERROR, frame.id, &error.encode_to_vec()),
        }
    }

    fn send(&mut self, ledger: &mut Ledger, send: body::Send) -> Result<Vec<u8>, body::Error> {
        let message = Message {
            from: self.user.clone(),
            to: send.to,
            client_msg_id: send.client_msg_id,
            content: send.content,
            ..Message::default()
        };
        ledger.attempts.push(text_of(&message));
        // Idempotency comes first: what is stored is never refused.
        let stored = ledger.places.contains_key(&message.client_msg_id);
        if let Some(error) = ledger.refusals.pop_front().flatten().filter(|_| !stored) {
            return Err(error);
        }
        if send.online_only {
            return Ok(body::Sent::default().encode_to_vec());
        }
        let (position, new) = ledger.append(message);
        let sent = body::Sent {
            seq: position,
            time_ms: 1000 * position,
            msg_key: "key".into(),
            duplicate: !new,
            position: if new { position } else { 0 },
        };
        Ok(sent.encode_to_vec())
    }
}

fn join(ledger: &mut Ledger, call: body::GroupCall) -> Result<Vec<u8>, body::Error> {
    let Some(body::group_call::Call::Join(join)) = call.call else { return Ok(Vec::new()) };
    ledger.joins.push(join.group);
    match ledger.refusals.pop_front().flatten() {
        Some(error) => Err(error),
        None => {
            let live = body::LiveJoined { counts: ledger.counts.clone(), ..body::LiveJoined::default() };
            let outcome = body::GroupJoinOutcome { pending: false, live: Some(live) };
            let answer = Some(body::group_answer::Answer::Join(outcome));
            Ok(body::GroupAnswer { answer }.encode_to_vec())
        }
    }
}

fn page(ledger: &Ledger, sync: body::Sync) -> SyncPage {
    let after = usize::try_from(sync.after).unwrap().min(ledger.log.len());
    // Three at a time, so that tests see more than one page.
    let entries = ledger.log[after..].iter().take(3).zip(sync.after + 1..);
    let entries = entries.map(|(delivery, position)| LogEntry { position, delivery: Some(delivery.clone()) });
    let entries: Vec<LogEntry> = entries.collect();
    let complete = after + entries.len() == ledger.log.len();
    SyncPage { entries, head: ledger.head(), complete }
}

pub(crate) fn text_of(message: &Message) -> String {
    match message.content.as_ref().and_then(|content| content.elements.first()?.element.as_ref()) {
        Some(body::element::Element::Text(text)) => text.text.clone(),
        _ => String::new(),
    }
}

pub(crate) fn text_content(text: &str) -> body::Content {
    let element = body::element::Element::Text(body::Text { text: text.into() });
    body::Content { elements: vec![body::Element::from(element)], ..body::Content::default() }
}
