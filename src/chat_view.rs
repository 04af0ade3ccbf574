//! What `chat` shows and understands: events and keys in, commands and screen output out. No terminal, no network.

use std::collections::VecDeque;
use std::time::Duration;

use nearport_client::{Event, HistoryPage, Message, MsgId, Notice, Target, Tip, group, user};
use unicode_width::UnicodeWidthStr as _;

use crate::chat_keys::Key;
use crate::chat_line::{Edit, Editor};
use crate::chat_screen::{Place, Screen};
use crate::duration;

/// Messages shown when a conversation is entered.
pub(crate) const HISTORY_ON_ENTRY: u32 = 20;
/// Most messages of one `/history`; one page of the server.
const HISTORY_MAX: u32 = 200;
/// Messages whose ticks or words may still change. Older ones have long scrolled away.
const LINES_MAX: usize = 1000;
/// Events kept while a page of history is on its way; beyond it the shell asks for no more.
const HELD_MAX: usize = 4096;

/// Column of the ticks: behind `12:34Z `.
const TICK_COLUMN: usize = 7;
const SENDING: &str = "… ";
const STORED: &str = "✓ ";
const READ: &str = "✓✓";
const FAILED: &str = "✗ ";

const HELP: &[&str] = &[
    "/to NAME        talk to somebody else",
    "/group ID       talk in a group",
    "/groups         the groups that you are in",
    "/create NAME    make a group and talk in it",
    "/join ID        join a group, or apply for it",
    "/leave          leave this group",
    "/invite NAME …  bring others into this group",
    "/members        who is in this group",
    "/history N      show the last N messages again, at most 200",
    "/edit TEXT      change your last message",
    "/recall         take your last message back",
    "/read           who has read your last message",
    "/who NAME       whether somebody is online",
    "/profile NAME   what somebody says about themselves",
    "/friend NAME    ask for a friendship",
    "/block NAME     hear no more of somebody; /unblock NAME",
    "/quit           leave (also Ctrl-D); Tab completes commands",
    "//text          send a line that begins with a slash",
    "… sending   ✓ stored on the server   ✓✓ read by the other side   ✗ not sent",
];

/// What Tab completes.
const COMMANDS: &[&str] = &[
    "/block", "/create", "/edit", "/friend", "/group", "/groups", "/help", "/history", "/invite", "/join",
    "/leave", "/members", "/profile", "/quit", "/read", "/recall", "/to", "/unblock", "/who",
];

/// What the person wants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Command {
    Send(String),
    /// Fetch this many messages of the conversation, then call [`View::page`].
    History(u32),
    /// Ask the server, then call [`View::answer`].
    Ask(Ask),
    Quit,
}

/// What the server is asked beside messages.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Ask {
    Groups,
    /// A new group of this name; it is entered.
    Create(String),
    Join(String),
    Leave(String),
    Invite(String, Vec<String>),
    Members(String),
    Recall(Target, u64),
    Edit(Target, u64, String),
    Readers(Target, u64),
    Who(String),
    Profile(String),
    Friend(String),
    Block(String),
    Unblock(String),
}

/// What came of an [`Ask`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Answer {
    Lines(Vec<String>),
    /// Talk in this group from now on.
    Enter(String),
    Failed(String),
}

/// The conversation on the screen.
#[derive(Debug)]
pub(crate) struct View {
    screen: Screen,
    editor: Editor,
    me: String,
    peer: Option<Target>,
    /// Why nothing goes through at the moment; empty when it does.
    trouble: String,
    lines: VecDeque<Line>,
    /// Largest seq of the conversation that is on the screen.
    shown_seq: u64,
    /// How far the peer has read.
    peer_read: u64,
    /// Events wait until the page of history is drawn above them.
    held: Option<Vec<Event>>,
}

/// A message on the screen.
#[derive(Debug)]
struct Line {
    /// Of an own one that has no number yet.
    id: Option<MsgId>,
    /// 0 until it is stored.
    seq: u64,
    mine: bool,
    place: Place,
}

impl View {
    pub(crate) fn new(me: &str, peer: Option<Target>, size: (usize, usize)) -> Self {
        Self {
            screen: Screen::new(size),
            editor: Editor::default(),
            me: me.to_owned(),
            peer,
            trouble: String::new(),
            lines: VecDeque::new(),
            shown_seq: 0,
            peer_read: 0,
            held: None,
        }
    }

    /// Who gets what is typed.
    pub(crate) fn peer(&self) -> Option<&Target> {
        self.peer.as_ref()
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
        let peer = self.peer.as_ref().map_or_else(|| "?".to_owned(), name_of);
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
        if key == Key::Ctrl('i') {
            let fit = self.editor.complete(COMMANDS);
            if !fit.is_empty() {
                self.note(&fit.join("  "));
            }
            return None;
        }
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
            ("to", peer) if !peer.is_empty() => return self.enter(user(peer)),
            ("group", id) if !id.is_empty() => return self.enter(group(id)),
            ("history", rest) if self.peer.is_some() => {
                let count = if rest.is_empty() { Some(HISTORY_ON_ENTRY) } else { rest.parse().ok() };
                match count.filter(|count| (1..=HISTORY_MAX).contains(count)) {
                    Some(count) => return Some(self.history(count)),
                    None => self.note("/history takes a number from 1 to 200"),
                }
            }
            ("history", _) => self.note("no conversation yet: /to NAME first"),
            // Those take nothing: more words are a slip, and nothing is done.
            ("quit" | "q" | "help", _) => self.note(&format!("unknown command /{command}: /help lists all")),
            (name, rest) if COMMANDS.iter().any(|known| known[1..] == *name) => {
                return self.ask(name, rest).map(Command::Ask);
            }
            _ => self.note(&format!("unknown command /{command}: /help lists all")),
        }
        None
    }

    /// A command for the server; what it lacks is said.
    fn ask(&mut self, name: &str, rest: &str) -> Option<Ask> {
        let one = || Some(rest.to_owned()).filter(|rest| !rest.is_empty());
        let here = match &self.peer {
            Some(Target::Group(id)) => Some(id.clone()),
            _ => None,
        };
        let last = self.lines.iter().rev().find(|line| line.mine && line.seq > 0).map(|line| line.seq);
        let last = self.peer.clone().zip(last);
        let ask = match name {
            "groups" => Some(Ask::Groups),
            "create" => one().map(Ask::Create),
            "join" => one().map(Ask::Join),
            "who" => one().map(Ask::Who),
            "profile" => one().map(Ask::Profile),
            "friend" => one().map(Ask::Friend),
            "block" => one().map(Ask::Block),
            "unblock" => one().map(Ask::Unblock),
            "leave" | "members" | "invite" => {
                let Some(id) = here else {
                    self.note("not in a group: /group ID first");
                    return None;
                };
                match name {
                    "leave" => Some(Ask::Leave(id)),
                    "members" => Some(Ask::Members(id)),
                    _ => one()
                        .map(|users| Ask::Invite(id, users.split_whitespace().map(str::to_owned).collect())),
                }
            }
            "recall" | "edit" | "read" => {
                let Some((with, seq)) = last else {
                    self.note("you have written nothing here yet");
                    return None;
                };
                match name {
                    "recall" => Some(Ask::Recall(with, seq)),
                    "read" => Some(Ask::Readers(with, seq)),
                    _ => one().map(|text| Ask::Edit(with, seq, text)),
                }
            }
            _ => None,
        };
        if ask.is_none() {
            self.note(&format!("/{name} lacks something: see /help"));
        }
        ask
    }

    /// What came of [`Command::Ask`]; gives what follows from it.
    pub(crate) fn answer(&mut self, answer: Answer) -> Option<Command> {
        match answer {
            Answer::Lines(lines) => lines.iter().for_each(|line| self.note(line)),
            Answer::Failed(why) => self.note(&format!("not done: {why}")),
            Answer::Enter(id) => return self.enter(group(id)),
        }
        None
    }

    fn enter(&mut self, peer: Target) -> Option<Command> {
        // A page on its way is the other conversation's; it will still be drawn, under its own heading.
        if self.held.is_some() {
            self.note("history is still on its way, try again");
            return None;
        }
        self.note(&format!("talking to {}", name_of(&peer)));
        self.peer = Some(peer);
        self.lines.clear();
        (self.shown_seq, self.peer_read) = (0, 0);
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
        self.remember(Line { id: Some(id), seq: 0, mine: true, place });
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
                if let Some(own) = self.lines.iter_mut().find(|own| own.id == Some(id)) {
                    own.seq = sent.seq;
                    self.screen.replace(own.place, TICK_COLUMN, mark);
                }
            }
            Event::Failed { id, failure } => {
                if let Some(own) = self.lines.iter().find(|own| own.id == Some(id)) {
                    self.screen.replace(own.place, TICK_COLUMN, FAILED);
                }
                self.note(&format!("not sent: {failure}"));
            }
            Event::Edited(message) | Event::Recalled(message) => self.changed(&message),
            Event::Notice { notice, .. } => self.note(&notice_text(&notice)),
            Event::Read { user: reader, with: Target::User(with), seq }
                if self.is_peer(&reader) && with == self.me =>
            {
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
        let here = self.is_here(message);
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
        } else if let (false, Some(id), None) = (here, message.group(), message.tip()) {
            self.note(&format!(
                "{} wrote in {id}: {} (/group {id} to answer)",
                message.from,
                shown_text(message)
            ));
        }
    }

    fn is_peer(&self, name: &str) -> bool {
        matches!(&self.peer, Some(Target::User(peer)) if peer == name)
    }

    fn is_here(&self, message: &Message) -> bool {
        let conversation = match &message.to {
            Some(Target::User(to)) if message.from == self.me => user(to.as_str()),
            Some(Target::Group(id)) => group(id.as_str()),
            _ => user(message.from.as_str()),
        };
        self.peer == Some(conversation)
    }

    /// A message was changed or taken back: its line is written anew, or what happened is said.
    fn changed(&mut self, message: &Message) {
        if !self.is_here(message) {
            return;
        }
        let name = if message.from == self.me { "you" } else { &message.from };
        let what = shown_text(message);
        let line = self.lines.iter().find(|line| line.seq == message.seq);
        let head = head(message.time_ms, self.mark(message));
        let rewritten =
            line.is_some_and(|line| self.screen.rewrite(line.place, &head, &format!("{name}: {what}")));
        if !rewritten {
            self.note(&format!("an earlier message of {name} now says: {what}"));
        }
    }

    fn message(&mut self, message: &Message) {
        if let Some(tip) = message.tip() {
            self.note(&tip_text(tip));
            return;
        }
        let mine = message.from == self.me;
        let name = if mine { "you" } else { &message.from };
        let place = self.draw(message.time_ms, self.mark(message), name, &shown_text(message));
        self.remember(Line { id: None, seq: message.seq, mine, place });
    }

    fn mark(&self, message: &Message) -> &'static str {
        match message.from == self.me {
            false => "  ",
            true if message.seq <= self.peer_read => READ,
            true => STORED,
        }
    }

    fn draw(&mut self, time_ms: u64, mark: &str, name: &str, text: &str) -> Place {
        self.screen.print(&head(time_ms, mark), &format!("{name}: {text}"))
    }

    fn read_up_to(&mut self, seq: u64) {
        let before = self.peer_read;
        self.peer_read = before.max(seq);
        for own in self.lines.iter().filter(|own| own.mine && own.seq > before && own.seq <= seq) {
            self.screen.replace(own.place, TICK_COLUMN, READ);
        }
    }

    fn remember(&mut self, line: Line) {
        if self.lines.len() == LINES_MAX {
            self.lines.pop_front();
        }
        self.lines.push_back(line);
    }
}

/// Time and mark in front of a message.
fn head(time_ms: u64, mark: &str) -> String {
    // UTC, and says so: reading the time zone takes a library that nothing else here needs.
    let minutes = time_ms / 60_000;
    let head = format!("{:02}:{:02}Z {mark} ", minutes / 60 % 24, minutes % 60);
    debug_assert_eq!(head.width(), TICK_COLUMN + 3);
    head
}

fn name_of(peer: &Target) -> String {
    match peer {
        Target::User(name) => name.clone(),
        Target::Group(id) => format!("#{id}"),
        Target::Notices(_) => "notices".to_owned(),
    }
}

/// What happened in a group, in words.
pub(crate) fn tip_text(tip: &Tip) -> String {
    let (who, whom) = (&tip.operator, tip.members.join(", "));
    match tip.r#type {
        1 => format!("{whom} joined"),
        2 => format!("{who} brought {whom}"),
        3 => format!("{who} left"),
        4 => format!("{who} removed {whom}"),
        5 => format!("{who} made {whom} administrator"),
        6 => format!("{who} made {whom} a plain member"),
        7 => {
            let changes =
                tip.changes.iter().map(|change| format!("{} is now {}", change.field, change.value));
            format!("{who} changed the group: {}", changes.collect::<Vec<_>>().join(", "))
        }
        8 => format!("{who} changed how long {whom} may not speak"),
        _ => "something happened in the group".to_owned(),
    }
}

/// A system notice, in words.
fn notice_text(notice: &Notice) -> String {
    let (group, who) = (&notice.group, &notice.operator);
    match notice.r#type {
        1 => format!("{who} wants to join {group}: {}", notice.text),
        2 => format!("you are a member of {group} now"),
        3 => format!("{group} does not take you: {}", notice.text),
        4 => format!("{who} removed you from {group}"),
        5 => format!("{group} is no more"),
        7 => format!("{who} brought you into {group} (/group {group})"),
        9 => format!("you are administrator of {group}"),
        10 => format!("you are a plain member of {group}"),
        12 => format!("{who} invites you to {group}"),
        _ => format!("news of {group}: {}", notice.text),
    }
}

/// What stands in a row for a message that is more than text.
pub(crate) fn shown_text(message: &Message) -> String {
    let text = message.text();
    if let Some(recalled) = &message.recalled {
        let by = if recalled.by.is_empty() { "an administrator" } else { &recalled.by };
        return format!("[taken back by {by}]");
    }
    if let Some(tip) = message.tip() {
        return format!("[{}]", tip_text(tip));
    }
    if message.changed.is_some() && !text.is_empty() {
        return format!("{text} (edited)");
    }
    if text.is_empty() {
        format!("[{} element(s) without text]", message.content.elements.len())
    } else {
        text
    }
}

#[cfg(test)]
#[path = "chat_view_tests.rs"]
mod tests;
