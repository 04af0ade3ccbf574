//! The clients of D: users in pairs, each logged in on a connection of its own, who write to each other.
//!
//! A message is a text of 200 bytes: `stamp | number | filler`, both numbers in hexadecimal. The stamp is the intended
//! send time, as in [`crate::codec`]; the number counts the sender's messages from 1. So the partner sees at once if one
//! is missing, doubled or out of order, and such a run fails.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use bytes::BytesMut;
use nearport_wire::body::{
    Content, Delivery, Element, Hello, Platform, Send, Sent, Target, Text, element, target,
};
use nearport_wire::{Decoder, Frame, Kind, Lane, Limits, encode_into};
use prost::Message as _;
use quinn::{Connection, Endpoint, RecvStream, SendStream};
use tokio::task::JoinSet;

use crate::durable_server::{APP, user, usersig};
use crate::nearport::unit;
use crate::process::ServerProcess;
use crate::swarm::dial;
use crate::tally::Tally;
use crate::transport::client_endpoints;

/// Bytes of a text.
const TEXT: usize = 200;

/// Hexadecimal digits of each number in it.
const DIGITS: usize = 16;

/// What is shown is acknowledged after so many pushes, or so long after the first of them, as the SDK does it.
const SHOWN_MAX: u32 = 32;
const SHOWN_WITHIN: Duration = Duration::from_millis(500);

/// Most bytes taken from a stream at once.
const READ_MAX: usize = 16 * 1024;

/// What came back of all messages, and when. Both count from the same moment.
#[derive(Debug)]
pub(crate) struct Tallies {
    /// Replies at the sender: the message is on disk.
    pub(crate) acks: Arc<Tally>,
    /// Pushes at the partner.
    pub(crate) deliveries: Arc<Tally>,
}

impl Tallies {
    /// Forgets the latencies so far and keeps those of messages meant for `from..to`.
    pub(crate) fn open_window(&self, from: Instant, to: Instant) {
        self.acks.open_window(from, to);
        self.deliveries.open_window(from, to);
    }
}

/// Logged-in users; the partner of user `i` is `i ^ 1`.
#[derive(Debug)]
pub(crate) struct Pairs {
    pub(crate) members: Arc<Vec<Arc<Member>>>,
    pub(crate) tallies: Arc<Tallies>,
    /// Aborted when the pairs are dropped.
    readers: JoinSet<Result<()>>,
    _endpoints: Vec<Endpoint>,
}

impl Pairs {
    /// Logs in `count` users, an even number, and lets each send one message.
    pub(crate) async fn connect(server: &ServerProcess, count: usize) -> Result<Self> {
        let start = Instant::now();
        let tally = || Arc::new(Tally::since(start));
        let tallies = Arc::new(Tallies { acks: tally(), deliveries: tally() });
        let endpoints = client_endpoints(server.certificate.clone())?;
        let shared = Arc::clone(&tallies);
        let greet = move |connection, index| Member::login(connection, index, Arc::clone(&shared));
        let mut members = Vec::with_capacity(count);
        let mut readers = JoinSet::new();
        for (member, inbox) in dial(&endpoints, server.address, count, greet).await? {
            readers.spawn(read(Arc::clone(&member), inbox));
            members.push(member);
        }
        let mut pairs = Self { members: Arc::new(members), tallies, readers, _endpoints: endpoints };
        for member in pairs.members.iter() {
            member.say(pairs.tallies.acks.now_ns()).await?;
        }
        pairs.settled().await?;
        Ok(pairs)
    }

    /// Waits until every message is acknowledged and delivered.
    ///
    /// # Errors
    /// Some never were, or a connection ended.
    pub(crate) async fn settled(&mut self) -> Result<()> {
        let acks = self.tallies.acks.settled().await.context("acknowledgements");
        let deliveries = self.tallies.deliveries.settled().await.context("deliveries");
        if let Some(ended) = self.readers.try_join_next() {
            return ended?.and(acks).and(deliveries).context("a connection ended");
        }
        acks.and(deliveries)
    }

    /// UDP datagrams sent and received by all connections so far.
    pub(crate) fn datagrams(&self) -> u64 {
        let count = |member: &Arc<Member>| {
            let stats = member.connection.stats();
            stats.udp_tx.datagrams + stats.udp_rx.datagrams
        };
        self.members.iter().map(count).sum()
    }

    /// Ends every connection at once.
    pub(crate) fn close(&self) {
        for member in self.members.iter() {
            member.connection.close(0u32.into(), b"done");
        }
    }
}

/// One logged-in user.
#[derive(Debug)]
pub(crate) struct Member {
    index: usize,
    connection: Connection,
    tallies: Arc<Tallies>,
    outbox: tokio::sync::Mutex<Outbox>,
    /// Number and stamp of the messages without an acknowledgement, in the order of sending. The session allows 256.
    unacknowledged: Mutex<VecDeque<(u64, u64)>>,
}

#[derive(Debug)]
struct Outbox {
    stream: SendStream,
    /// Messages sent so far; the number of a message is also its request id.
    sent: u64,
    buffer: BytesMut,
}

impl Member {
    async fn login(
        connection: Connection,
        index: usize,
        tallies: Arc<Tallies>,
    ) -> Result<(Arc<Self>, Inbox)> {
        let (mut stream, recv) = connection.open_bi().await?;
        let mut inbox = Inbox { stream: recv, decoder: Decoder::new(Limits::client()) };
        let hello = Hello {
            app: APP,
            user: user(index),
            usersig: usersig(index),
            device: "bench".to_owned(),
            platform: Platform::Linux.into(),
            client: "nearport-bench".to_owned(),
            ..Hello::default()
        };
        let mut buffer = BytesMut::new();
        encode_into(Lane::Control, Kind::HELLO, 0, &hello.encode_to_vec(), &mut buffer);
        stream.write_all(&buffer).await?;
        while inbox.next_frame().await?.kind != Kind::WELCOME {}
        let outbox = tokio::sync::Mutex::new(Outbox { stream, sent: 0, buffer });
        let unacknowledged = Mutex::default();
        Ok((Arc::new(Self { index, connection, tallies, outbox, unacknowledged }), inbox))
    }

    /// Sends one message with this stamp to the partner. Waits when the server's window is full. Not cancel-safe:
    /// dropped in the middle, half a message is out.
    pub(crate) async fn say(&self, stamp_ns: u64) -> Result<()> {
        let mut outbox = self.outbox.lock().await;
        let Outbox { stream, sent, buffer } = &mut *outbox;
        *sent += 1;
        let send = message(self.index, *sent, stamp_ns);
        self.tallies.acks.expect(1);
        self.tallies.deliveries.expect(1);
        self.unacknowledged().push_back((*sent, stamp_ns));
        buffer.clear();
        encode_into(Lane::Chat, Kind::SEND, *sent, &send.encode_to_vec(), buffer);
        stream.write_all(buffer).await.context("cannot send")
    }

    /// Takes the reply to message `number`.
    fn acknowledged(&self, number: u64, sent: &Sent) -> Result<()> {
        ensure!(!sent.duplicate && sent.position > 0, "message {number} counts as sent before");
        let mut unacknowledged = self.unacknowledged();
        let at = unacknowledged.iter().position(|(waiting, _)| *waiting == number);
        let at = at.with_context(|| format!("message {number} is acknowledged, but does not wait"))?;
        let (_, stamp_ns) = unacknowledged.remove(at).context("it was there")?;
        drop(unacknowledged);
        self.tallies.acks.arrived(self.index, stamp_ns);
        Ok(())
    }

    /// Tells the server that everything up to `position` is shown.
    async fn shown(&self, position: u64) -> Result<()> {
        let mut outbox = self.outbox.lock().await;
        let Outbox { stream, buffer, .. } = &mut *outbox;
        buffer.clear();
        encode_into(Lane::Control, Kind::ACK, position, &[], buffer);
        stream.write_all(buffer).await.context("cannot acknowledge")
    }

    /// No holder of the lock can leave it half changed, so poison says nothing.
    fn unacknowledged(&self) -> std::sync::MutexGuard<'_, VecDeque<(u64, u64)>> {
        self.unacknowledged.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Receive side of a member.
#[derive(Debug)]
struct Inbox {
    stream: RecvStream,
    decoder: Decoder,
}

impl Inbox {
    /// The next frame. Cancel-safe.
    async fn next_frame(&mut self) -> Result<Frame> {
        loop {
            if let Some(frame) = self.decoder.next_frame()? {
                return Ok(frame);
            }
            let chunk = self.stream.read_chunk(READ_MAX, true).await?;
            self.decoder.feed(chunk.context("the server finished the stream")?.bytes);
        }
    }
}

/// What a member has been pushed.
#[derive(Debug, Default)]
struct Pushed {
    /// Number of the partner's last message.
    number: u64,
    position: u64,
    /// Pushes that are not acknowledged, and when they have to be.
    open: u32,
    due: Option<Instant>,
}

/// Reads one member's connection for its whole life.
async fn read(member: Arc<Member>, mut inbox: Inbox) -> Result<()> {
    let mut pushed = Pushed::default();
    loop {
        let frame = tokio::select! {
            frame = inbox.next_frame() => Some(frame?),
            () = reached(pushed.due) => None,
        };
        match frame {
            Some(frame) if frame.kind == Kind::REPLY => {
                let sent = Sent::decode(frame.body).context("unreadable reply")?;
                member.acknowledged(frame.id, &sent)?;
                if member.tallies.acks.closed_loop() {
                    member.say(member.tallies.acks.now_ns()).await?;
                }
            }
            Some(frame) if frame.kind == Kind::PUSH => {
                let stamp_ns = pushed.take(member.index ^ 1, frame)?;
                member.tallies.deliveries.arrived(member.index, stamp_ns);
            }
            Some(frame) => {
                unit(frame)?;
            }
            None => {}
        }
        let due = pushed.due.is_some_and(|due| due <= Instant::now());
        if due || pushed.open >= SHOWN_MAX {
            member.shown(pushed.position).await?;
            (pushed.open, pushed.due) = (0, None);
        }
    }
}

/// Waits for that time, for ever without one.
async fn reached(due: Option<Instant>) {
    match due {
        Some(due) => tokio::time::sleep_until(due.into()).await,
        None => std::future::pending().await,
    }
}

impl Pushed {
    /// Takes a push that must be the next message of `partner`; returns its stamp.
    fn take(&mut self, partner: usize, push: Frame) -> Result<u64> {
        let delivery = Delivery::decode(push.body).context("unreadable push")?;
        let message = delivery.message.context("a push without a message")?;
        ensure!(message.from == user(partner), "{} wrote to somebody else's partner", message.from);
        let elements = message.content.unwrap_or_default().elements;
        let text = match elements.into_iter().next().and_then(|element| element.element) {
            Some(element::Element::Text(text)) => text.text,
            other => anyhow::bail!("a text was sent, {other:?} came"),
        };
        let (stamp_ns, number) = parse(&text).with_context(|| format!("unreadable text {text:?}"))?;
        ensure!(
            number == self.number + 1 && push.id > self.position,
            "message {number} at position {} came after message {} at {}: lost, doubled or out of order",
            push.id,
            self.number,
            self.position,
        );
        (self.number, self.position) = (number, push.id);
        self.open += 1;
        self.due.get_or_insert_with(|| Instant::now() + SHOWN_WITHIN);
        Ok(stamp_ns)
    }
}

/// Message `number` of user `index`, to the partner.
fn message(index: usize, number: u64, stamp_ns: u64) -> Send {
    let mut text = format!("{stamp_ns:0DIGITS$x}{number:0DIGITS$x}");
    text.extend(std::iter::repeat_n('.', TEXT - text.len()));
    // Unique by its second half and, in front, as spread as the random ids of clients are (the multiplier is 2^64
    // divided by the golden ratio).
    let spread = (number ^ (index as u64) << 32).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    Send {
        client_msg_id: [spread.to_be_bytes(), number.to_be_bytes()].concat().into(),
        to: Some(Target { target: Some(target::Target::User(user(index ^ 1))) }),
        content: Some(Content {
            elements: vec![Element::from(element::Element::Text(Text { text }))],
            ..Content::default()
        }),
        ..Send::default()
    }
}

/// Stamp and number of a text.
fn parse(text: &str) -> Option<(u64, u64)> {
    let number = |range| u64::from_str_radix(text.get(range)?, 16).ok();
    (text.len() == TEXT).then_some(())?;
    Some((number(0..DIGITS)?, number(DIGITS..2 * DIGITS)?))
}
