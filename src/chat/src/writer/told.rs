//! What back ends hear of messages, and what they are asked about them first.

use nearport_wire::body::Message;
use nearport_wire::code;
use serde_json::{Map, Value, json};

use super::request::{Request, Send, To};
use super::{Asked, Prepared, Writer};
use crate::callback::{Command, Event, Origin, Question, SUCCEEDED, group_fields};
use crate::downs::Downs;
use crate::key::{ConvKey, ConvKind, UserKey};
use crate::ledger::{IdemKey, Outbound};
use crate::reply::{Failure, unreadable};

/// When a client tries again whose back end has too many open questions.
const BUSY_RETRY_MS: u32 = 500;

fn busy() -> Failure {
    Failure::later(code::TOO_MANY_REQUESTS, "the app's back end is being asked too much", BUSY_RETRY_MS)
}

impl Send {
    /// The message as it would be stored.
    fn message(&self, sender: &UserKey) -> Message {
        let (content, mentions) = (self.content.clone(), self.mentions.clone());
        let whole = Self { to: self.to.clone(), content, mentions, control: self.control, ..*self };
        whole.into_message(sender)
    }

    fn conv(&self, sender: &UserKey) -> ConvKey {
        match &self.to {
            To::User(peer) => ConvKey::pair(sender, peer),
            To::Group(group) => group.conv(),
        }
    }

    fn commands(&self) -> [Command; 2] {
        match self.to {
            To::User(_) => [Command::PairBeforeSend, Command::PairAfterSend],
            To::Group(_) => [Command::GroupBeforeSend, Command::GroupAfterSend],
        }
    }
}

impl Writer {
    /// What was held and may go on, then what is new and has nothing of its session in front of it.
    pub(super) fn released(&mut self, asked: Vec<Asked>, out: &mut Downs) -> Vec<Asked> {
        let verdicts = self.shared.callbacks.writer.take();
        if verdicts.is_empty() && self.gate.is_empty() {
            return asked;
        }
        let mut ready = Vec::with_capacity(asked.len());
        for (ticket, verdict) in verdicts {
            let mut verdict = Some(verdict);
            // What stands behind it has none.
            ready.extend(
                self.gate.open(ticket).into_iter().map(|asked| Asked { verdict: verdict.take(), ..asked }),
            );
        }
        for asked in asked {
            self.hold_or(asked, &mut ready, out);
        }
        ready
    }

    /// Puts a request behind those of its session that wait, if some do; else to `ready`.
    fn hold_or(&mut self, asked: Asked, ready: &mut Vec<Asked>, out: &mut Downs) {
        let session = asked.reply_to.session;
        if !self.gate.holds(session) {
            ready.push(asked);
        } else if let Err(asked) = self.gate.hold(session, asked) {
            asked.reply_to.fail(&busy(), &self.shared.metrics, out);
        }
    }

    /// Asks back ends about messages, as far as they want to be asked; gives the requests that need not wait, and refuses or drops
    /// those about which the answer was no. Nobody is asked about what is refused anyway, nor again about a message that was stored before.
    pub(super) fn asked_back_ends(&mut self, asked: Vec<Asked>, now_ms: u64, out: &mut Downs) -> Vec<Asked> {
        let wants = |asked: &Asked| match &asked.request {
            Request::Send(send) => self.shared.callbacks.wants(asked.user.app(), send.commands()[0]),
            _ => false,
        };
        if self.gate.is_empty() && !asked.iter().any(|asked| asked.verdict.is_some() || wants(asked)) {
            return asked;
        }
        let questions: Vec<bool> =
            asked.iter().map(|asked| asked.verdict.is_none() && wants(asked)).collect();
        let idem = |asked: &Asked| match &asked.request {
            Request::Send(send) if !send.online_only => {
                Some(IdemKey { sender: asked.user.clone(), client_msg_id: send.client_msg_id })
            }
            _ => None,
        };
        let keys: Vec<_> =
            asked.iter().zip(&questions).map(|(asked, ask)| idem(asked).filter(|_| *ask)).collect();
        let known: Vec<_> = keys.iter().flatten().cloned().collect();
        let known = match self.shared.ledger.duplicates(&known) {
            Ok(known) => known,
            Err(error) => {
                // They are asked about again; the ledger says the same of their messages as before.
                let _ = unreadable(&error);
                Vec::new()
            }
        };
        let mut known = known.into_iter();
        let mut ready = Vec::with_capacity(asked.len());
        for ((asked, ask), key) in asked.into_iter().zip(questions).zip(keys) {
            let stored = key.is_some() && known.next().flatten().is_some();
            if self.gate.holds(asked.reply_to.session) {
                self.hold_or(asked, &mut ready, out);
            } else if ask && !stored {
                match self.taken_by_group(&asked, now_ms) {
                    Ok(()) => self.ask_about(asked, now_ms, out),
                    Err(failure) => {
                        self.tell_refused(&asked, &failure);
                        asked.reply_to.fail(&failure, &self.shared.metrics, out);
                    }
                }
            } else if let Some(asked) = self.decided(asked, out) {
                ready.push(asked);
            }
        }
        #[expect(clippy::cast_precision_loss, reason = "at most some thousands")]
        self.shared.metrics.held.set(self.gate.len() as f64);
        ready
    }

    fn ask_about(&mut self, asked: Asked, now_ms: u64, out: &mut Downs) {
        let (session, reply_to) = (asked.reply_to.session, asked.reply_to);
        let Request::Send(send) = &asked.request else { unreachable!("only messages are asked about") };
        let head = self.shared.ledger.head(&send.conv(&asked.user)).unwrap_or_default();
        let command = send.commands()[0];
        let event = self.message_event(command, &asked.user, send, asked.origin, Map::new());
        let question = Question { app: asked.user.app(), command, event, seq: head + 1, time_ms: now_ms };
        if let Ok(ticket) = self.gate.ask(session, asked) {
            if self.shared.callbacks.ask_for(&self.shared.callbacks.writer, ticket, question) {
                return;
            }
            // Nothing came behind it yet.
            self.gate.open(ticket);
        }
        reply_to.fail(&busy(), &self.shared.metrics, out);
    }

    /// Carries out a verdict. `None`: the request is answered.
    fn decided(&self, mut asked: Asked, out: &mut Downs) -> Option<Asked> {
        let (Some(verdict), Request::Send(send)) = (asked.verdict.take(), &mut asked.request) else {
            return Some(asked);
        };
        match verdict.on(&mut send.content) {
            Ok(true) => Some(asked),
            Ok(false) => {
                asked.reply_to.unstored(send.random(), self.last_time_ms, out);
                None
            }
            Err(failure) => {
                asked.reply_to.fail(&failure, &self.shared.metrics, out);
                None
            }
        }
    }

    /// Requests that wait for back ends are refused: the backend ends. Nothing of them was stored, so they may come again.
    pub(crate) fn let_go(&mut self, out: &mut Downs) {
        for asked in self.gate.clear() {
            asked.reply_to.fail(&busy(), &self.shared.metrics, out);
        }
    }

    /// An event about a message that is sent. `more` are fields beside those of the message.
    fn message_event(
        &self,
        command: Command,
        sender: &UserKey,
        send: &Send,
        origin: Origin,
        mut more: Map<String, Value>,
    ) -> Event {
        let fields = match &send.to {
            To::User(_) => {
                more.insert("OnlineOnlyFlag".into(), u8::from(send.online_only).into());
                Value::Object(more)
            }
            To::Group(group) => {
                let (kind, room) = self.shared.kind_of(group);
                group_fields(group, &kind, sender.name(), send.online_only && !room, more)
            }
        };
        let key = send.conv(sender);
        Event::new(command, key.as_bytes(), origin, &fields).about(&send.message(sender))
    }

    /// The back end hears of a message that is about to be stored as `append` of the batch, or goes out unstored.
    pub(super) fn tell_sent(
        &self,
        sender: &UserKey,
        send: &Send,
        origin: Origin,
        append: Option<usize>,
    ) -> Option<Outbound> {
        let [_, command] = send.commands();
        let app = sender.app();
        if !self.shared.callbacks.wants(app, command) {
            return None;
        }
        let mut more = Map::new();
        let mut event = match &send.to {
            To::User(peer) => {
                more.insert("SendMsgResult".into(), 0.into());
                more.insert("ErrorInfo".into(), SUCCEEDED.into());
                self.message_event(command, sender, send, origin, more).unread_of(peer.name())
            }
            To::Group(_) => {
                more.insert("MsgId".into(), hex(&send.client_msg_id).into());
                self.message_event(command, sender, send, origin, more)
            }
        };
        if append.is_none() {
            // Nothing of it is unread.
            event.unread_of.clear();
        }
        Some(event.outbound(app, append, self.last_time_ms))
    }

    /// The back end hears of a message that was refused.
    pub(super) fn tell_refused(&self, asked: &Asked, failure: &Failure) {
        if let Some(event) = self.refused_event(asked, failure) {
            self.shared.callbacks.tell(asked.user.app(), &event, self.last_time_ms);
        }
    }

    /// What it hears, if it wants to.
    pub(super) fn refused_event(&self, asked: &Asked, failure: &Failure) -> Option<Event> {
        let Request::Send(send) = &asked.request else { return None };
        let command = match &send.to {
            To::User(_) => Command::PairAfterSend,
            To::Group(_) => Command::GroupSendException,
        };
        if !self.shared.callbacks.wants(asked.user.app(), command) {
            return None;
        }
        let mut more = Map::new();
        let code = if command == Command::PairAfterSend { "SendMsgResult" } else { "ErrorCode" };
        more.insert(code.into(), failure.code.into());
        more.insert("ErrorInfo".into(), failure.info.clone().into_owned().into());
        let mut origin = asked.origin;
        match command {
            Command::PairAfterSend => {
                more.insert("UnreadMsgNum".into(), (-1).into());
            }
            // The contract has no address for it.
            _ => origin.ip = None,
        }
        Some(self.message_event(command, &asked.user, send, origin, more))
    }

    /// The back end hears that a user has read a conversation with another one up to `seq`.
    pub(super) fn tell_read(
        &self,
        reader: &UserKey,
        peer: &UserKey,
        seq: u64,
        origin: Origin,
        prepared: &mut Prepared,
    ) {
        let (command, app) = (Command::PairAfterReport, reader.app());
        if !self.shared.callbacks.wants(app, command) {
            return;
        }
        let conv = ConvKey::pair(reader, peer);
        let read = self.shared.ledger.entry(&conv, seq).ok().flatten();
        let fields = json!({
            "Report_Account": reader.name(),
            "Peer_Account": peer.name(),
            "LastReadTime": read.map_or(self.last_time_ms, |read| read.time_ms) / 1000,
        });
        let event = Event::new(command, conv.as_bytes(), origin, &fields).unread_of(reader.name());
        prepared.batch.outbox.push(event.outbound(app, None, self.last_time_ms));
    }

    /// The back end hears that a message was taken back.
    pub(super) fn tell_recalled(
        &self,
        conv: &ConvKey,
        (seq, time_ms): (u64, u64),
        message: &Message,
        (by, origin): (&str, Origin),
        prepared: &mut Prepared,
    ) {
        let command = if conv.is_group() { Command::GroupAfterRecall } else { Command::PairAfterWithdraw };
        let kind = conv.kind();
        let app = match &kind {
            ConvKind::Group(group) => group.app(),
            ConvKind::Pair(user, _) | ConvKind::Notices(user) => user.app(),
            ConvKind::Pushes(app) => *app,
        };
        if !self.shared.callbacks.wants(app, command) {
            return;
        }
        let event = match kind {
            ConvKind::Group(group) => {
                let topic = if group.is_topic() { group.id() } else { "" };
                let fields = json!({
                    "GroupId": group.home().id(),
                    "Type": self.shared.kind_of(&group).0,
                    "Operator_Account": by,
                    "MsgSeqList": [{ "MsgSeq": seq }],
                    "TopicId": topic,
                });
                Event::new(command, conv.as_bytes(), origin, &fields)
            }
            ConvKind::Pair(a, b) => {
                let to = if a.name() == message.from { b } else { a };
                let random = message.client_msg_id.first_chunk::<4>().map_or(0, |id| u32::from_be_bytes(*id));
                let (seq, random, time_ms) = message.key.map_or((seq, random, time_ms), |key| {
                    (key.seq.into(), key.random, u64::from(key.time_s) * 1000)
                });
                let fields = json!({
                    "From_Account": message.from,
                    "To_Account": to.name(),
                    "MsgKey": super::finish::msg_key(seq, random, time_ms),
                });
                Event::new(command, conv.as_bytes(), origin, &fields).unread_of(to.name())
            }
            ConvKind::Notices(_) | ConvKind::Pushes(_) => return,
        };
        prepared.batch.outbox.push(event.outbound(app, None, self.last_time_ms));
    }
}

pub(super) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}
