//! What `chat` shows and understands: events and keys in, commands and screen output out. No terminal, no network.

use std::collections::VecDeque;
use std::time::Duration;

use nearport_client::{Event, HistoryPage, Message, MsgId, Target};
use unicode_width::UnicodeWidthStr as _;

use crate::chat_keys::Key;
use crate::chat_line::{Edit, Editor};
use crate::chat_screen::{Place, Screen};
use crate::duration;

/// Messages shown when a conversation is entered.
pub(crate) const HISTORY_ON_ENTRY: u32 = 20;
/// Most messages of one `/history`; one page of the server.
const HISTORY_MAX: u32 = 200;
/// Own messages whose ticks may still change. Older ones have long scrolled away.
const OWN_MAX: usize = 1000;
/// Events kept while a page of history is on its way; beyond it the shell asks for no more.
const HELD_MAX: usize = 4096;

/// Column of the ticks: behind `12:34Z `.
const TICK_COLUMN: usize = 7;
const SENDING: &str = "… ";
const STORED: &str = "✓ ";
const READ: &str = "✓✓";
const FAILED: &str = "✗ ";

const HELP: &[&str] = &[
    "/to NAME     talk to somebody else",
    "/history N   show the last N messages again, at most 200",
    "/quit        leave (also Ctrl-D)",
    "//text       send a line that begins with a slash",
    "… sending   ✓ stored on the server   ✓✓ read by the other side   ✗ not sent",
];

/// What the person wants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Command {
    Send(String),
    /// Fetch this many messages of the conversation, then call [`View::page`].
    History(u32),
    Quit,
}

/// The conversation on the screen.
#[derive(Debug)]
pub(crate) struct View {
    screen: Screen,
    editor: Editor,
    me: String,
    peer: Option<String>,
    /// Why nothing goes through at the moment; empty when it does.
    trouble: String,
    own: VecDeque<Own>,
    /// Largest seq of the conversation that is on the screen.
    shown_seq: u64,
    /// How far the peer has read.
    peer_read: u64,
    /// Events wait until the page of history is drawn above them.
    held: Option<Vec<Event>>,
}

#[derive(Debug)]
struct Own {
    id: Option<MsgId>,
    /// 0 until it is stored.
    seq: u64,
    place: Place,
}

impl View {
    pub(crate) fn new(me: &str, peer: Option<&str>, size: (usize, usize)) -> Self {
        Self {
            screen: Screen::new(size),
            editor: Editor::default(),
            me: me.to_owned(),
            peer: peer.map(str::to_owned),
            trouble: String::new(),
            own: VecDeque::new(),
            shown_seq: 0,
            peer_read: 0,
            held: None,
        }
    }

    /// Who gets what is typed.
    pub(crate) fn peer(&self) -> Option<&str> {
        self.peer.as_deref()
    }

    /// How far to tell the server that this conversation was read.
    pub(crate) fn shown_seq(&self) -> u64 {
        self.shown_seq
    }

    /// Whether it makes sense to ask for another event now.
    pub(crate) fn wants_events(&self) -> bool {
        self.held.as_ref().is_none_or(|held| held.len() < HELD_MAX)
    }

    /// What to write to the terminal, the bottom row drawn.
    pub(crate) fn take_output(&mut self) -> String {
        let peer = self.peer.as_deref().unwrap_or("?");
        let trouble = if self.trouble.is_empty() { String::new() } else { format!(" ({})", self.trouble) };
        let editor = &self.editor;
        self.screen.bottom(&format!("{} → {peer}{trouble} > ", self.me), |columns| editor.view(columns));
        self.screen.take_output()
    }

    /// The last output: nothing is left on the bottom row.
    pub(crate) fn leave(&mut self) -> String {
        self.screen.clear_bottom();
        self.screen.take_output()
    }

    /// The terminal has another size now.
    pub(crate) fn resize(&mut self, size: (usize, usize)) {
        self.screen.resize(size);
    }

    /// Takes a key; gives what it asks for.
    pub(crate) fn key(&mut self, key: Key) -> Option<Command> {
        match self.editor.key(key) {
            Edit::Changed => None,
            Edit::Quit => Some(Command::Quit),
            Edit::Line(line) => self.line(line.trim()),
        }
    }

    fn line(&mut self, line: &str) -> Option<Command> {
        let Some(command) = line.strip_prefix('/') else {
            return match (line.is_empty(), &self.peer) {
                (true, _) => None,
                (false, None) => {
                    self.note("nobody to send it to: /to NAME first");
                    None
                }
                (false, Some(_)) => Some(Command::Send(line.to_owned())),
            };
        };
        if command.starts_with('/') {
            return self.peer.is_some().then(|| Command::Send(command.to_owned()));
        }
        let (name, rest) = command.split_once(' ').unwrap_or((command, ""));
        match (name, rest.trim()) {
            ("quit" | "q", "") => return Some(Command::Quit),
            ("help", "") => HELP.iter().for_each(|line| self.note(line)),
            ("to", peer) if !peer.is_empty() => return self.enter(peer),
            ("history", rest) if self.peer.is_some() => {
                let count = if rest.is_empty() { Some(HISTORY_ON_ENTRY) } else { rest.parse().ok() };
                match count.filter(|count| (1..=HISTORY_MAX).contains(count)) {
                    Some(count) => return Some(self.history(count)),
                    None => self.note("/history takes a number from 1 to 200"),
                }
            }
            ("history", _) => self.note("no conversation yet: /to NAME first"),
            _ => self.note(&format!("unknown command /{command}: /help lists all")),
        }
        None
    }

    fn enter(&mut self, peer: &str) -> Option<Command> {
        // A page on its way is the other conversation's; it will still be drawn, under its own heading.
        if self.held.is_some() {
            self.note("history is still on its way, try again");
            return None;
        }
        self.peer = Some(peer.to_owned());
        self.own.clear();
        (self.shown_seq, self.peer_read) = (0, 0);
        self.note(&format!("talking to {peer}"));
        Some(self.history(HISTORY_ON_ENTRY))
    }

    /// Asks for the last `count` messages; events wait until they are there.
    pub(crate) fn history(&mut self, count: u32) -> Command {
        self.held.get_or_insert_default();
        Command::History(count)
    }

    /// The page that [`Command::History`] asked for, newest first, or why there is none.
    pub(crate) fn page(&mut self, page: Result<HistoryPage, String>) {
        match page {
            Err(error) => self.note(&format!("no history: {error}")),
            Ok(page) => {
                self.peer_read = self.peer_read.max(page.peer_read);
                for message in page.messages.iter().rev() {
                    self.message(message);
                }
                self.shown_seq = self.shown_seq.max(page.head);
                if page.messages.is_empty() {
                    self.note("no messages yet");
                }
            }
        }
        for event in self.held.take().unwrap_or_default() {
            self.event(event);
        }
    }

    /// Shows a message that has just been queued. `now_ms` is this machine's clock; the server's is not known yet.
    pub(crate) fn posted(&mut self, id: MsgId, text: &str, now_ms: u64) {
        let place = self.draw(now_ms, SENDING, "you", text);
        self.remember(Own { id: Some(id), seq: 0, place });
    }

    /// A line that is nobody's message.
    pub(crate) fn note(&mut self, text: &str) {
        self.screen.print("-- ", text);
    }

    /// Takes what happened.
    pub(crate) fn event(&mut self, event: Event) {
        if let Some(held) = &mut self.held {
            held.push(event);
            return;
        }
        match event {
            Event::Connected { .. } => self.trouble.clear(),
            Event::Message(message) | Event::Transient(message) => self.incoming(&message),
            Event::Sent { id, sent } => {
                let mark = if sent.seq <= self.peer_read { READ } else { STORED };
                if let Some(own) = self.own.iter_mut().find(|own| own.id == Some(id)) {
                    own.seq = sent.seq;
                    self.screen.replace(own.place, TICK_COLUMN, mark);
                }
            }
            Event::Failed { id, failure } => {
                if let Some(own) = self.own.iter().find(|own| own.id == Some(id)) {
                    self.screen.replace(own.place, TICK_COLUMN, FAILED);
                }
                self.note(&format!("not sent: {failure}"));
            }
            Event::Read { user, peer, seq } if Some(&user) == self.peer.as_ref() && peer == self.me => {
                self.read_up_to(seq);
            }
            Event::Away => self.trouble = "the service is away, messages wait".to_owned(),
            Event::Back => self.trouble.clear(),
            Event::GoAway { .. } => self.trouble = "the server restarts".to_owned(),
            Event::Disconnected { reason, retry_in, .. } => {
                let wait = duration::format(retry_in.max(Duration::from_millis(1)));
                self.trouble = format!("reconnecting in {wait}: {reason}");
            }
            Event::Stopped { code, reason } => {
                self.note(&format!("the server ended this session: {code}: {reason}"))
            }
            _ => {}
        }
    }

    fn incoming(&mut self, message: &Message) {
        let to_me = matches!(&message.to, Some(Target::User(to)) if *to == self.me);
        let other = match &message.to {
            Some(Target::User(to)) if message.from == self.me => to,
            _ => &message.from,
        };
        let here = Some(other) == self.peer.as_ref();
        // What a page of history has shown is not shown again; online-only messages have no number.
        if here && (message.seq == 0 || message.seq > self.shown_seq) {
            self.message(message);
            self.shown_seq = self.shown_seq.max(message.seq);
        } else if !here && to_me {
            self.note(&format!(
                "{} wrote: {} (/to {} to answer)",
                message.from,
                shown_text(message),
                message.from
            ));
        }
    }

    fn message(&mut self, message: &Message) {
        let mine = message.from == self.me;
        let mark = match mine {
            false => "  ",
            true if message.seq <= self.peer_read => READ,
            true => STORED,
        };
        let name = if mine { "you" } else { &message.from };
        let place = self.draw(message.time_ms, mark, name, &shown_text(message));
        if mine {
            self.remember(Own { id: None, seq: message.seq, place });
        }
    }

    fn draw(&mut self, time_ms: u64, mark: &str, name: &str, text: &str) -> Place {
        // UTC, and says so: reading the time zone takes a library that nothing else here needs.
        let minutes = time_ms / 60_000;
        let head = format!("{:02}:{:02}Z {mark} ", minutes / 60 % 24, minutes % 60);
        debug_assert_eq!(head.width(), TICK_COLUMN + 3);
        self.screen.print(&head, &format!("{name}: {text}"))
    }

    fn read_up_to(&mut self, seq: u64) {
        let before = self.peer_read;
        self.peer_read = before.max(seq);
        for own in self.own.iter().filter(|own| own.seq > before && own.seq <= seq) {
            self.screen.replace(own.place, TICK_COLUMN, READ);
        }
    }

    fn remember(&mut self, own: Own) {
        if self.own.len() == OWN_MAX {
            self.own.pop_front();
        }
        self.own.push_back(own);
    }
}

/// What stands in a row for a message that is more than text.
pub(crate) fn shown_text(message: &Message) -> String {
    let text = message.text();
    if text.is_empty() {
        format!("[{} element(s) without text]", message.content.elements.len())
    } else {
        text
    }
}

#[cfg(test)]
#[path = "chat_view_tests.rs"]
mod tests;
