//! What `chat` shows and understands: events and keys in, commands and screen output out. No terminal, no network.

use std::collections::{BTreeSet, VecDeque};
use std::time::Duration;

use nearport_client::media::Attachment;
use nearport_client::{
    Event, HistoryPage, HistoryQuery, HistoryRange, Mentions, Message, MsgId, SendOptions, Target, group,
    user,
};
use unicode_width::UnicodeWidthStr as _;

use crate::chat_command::{
    Answer, Ask, COMMANDS, Command, HISTORY_ON_ENTRY, Here, Typed, Wanted, Words, help, parse, spec,
};
use crate::chat_keys::Key;
use crate::chat_line::{Edit, Editor};
use crate::chat_pages::Pages;
use crate::chat_rows::TransferRows;
use crate::chat_screen::{Place, Screen};
use crate::chat_text::{notice_text, shown_text, tip_text};
use crate::duration;

/// Messages whose ticks or words may still change. Older ones have long scrolled away.
const LINES_MAX: usize = 1000;

/// Column of the ticks: behind `12:34Z `.
const TICK_COLUMN: usize = 7;
const SENDING: &str = "… ";
const STORED: &str = "✓ ";
const READ: &str = "✓✓";
const FAILED: &str = "✗ ";

/// Names that Tab completes, of users and of groups each.
const NAMES_MAX: usize = 512;
/// Messages that want a confirmation and have none yet. More are not confirmed; the sender can only guess in any case.
const UNCONFIRMED_MAX: usize = 300;
/// Most of them in one request.
const CONFIRMED_AT_ONCE: usize = 30;
/// Users whom a message may mean (public contract).
const MENTIONS_MAX: usize = 30;

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
    pages: Pages,
    /// How far the peer has read.
    peer_read: u64,
    /// Messages are shown with their numbers.
    numbers: bool,
    /// In groups it is asked who reads.
    receipts: bool,
    /// Messages of this conversation whose senders want to know.
    unconfirmed: Vec<u64>,
    users: BTreeSet<String>,
    groups: BTreeSet<String>,
    /// Files on their way.
    transfers: TransferRows,
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
    attachment: Option<Attachment>,
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
            pages: Pages::new(),
            peer_read: 0,
            numbers: false,
            receipts: false,
            unconfirmed: Vec::new(),
            users: BTreeSet::new(),
            groups: BTreeSet::new(),
            transfers: TransferRows::default(),
        }
    }

    /// Who gets what is typed.
    pub(crate) fn peer(&self) -> Option<&Target> {
        self.peer.as_ref()
    }

    /// How far to tell the server that this conversation was read.
    pub(crate) fn shown_seq(&self) -> u64 {
        self.pages.shown_seq()
    }

    /// Whether it makes sense to ask for another event now.
    pub(crate) fn wants_events(&self) -> bool {
        self.pages.wants_events()
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
            return self.complete();
        }
        match self.editor.key(key) {
            Edit::Changed => None,
            Edit::Quit => Some(Command::Quit),
            Edit::Line(line) => self.line(line.trim()),
        }
    }

    /// Tab: ends a command, or a name or path behind one.
    fn complete(&mut self) -> Option<Command> {
        let typed = self.editor.before_cursor();
        let Some((name, _)) = typed.strip_prefix('/')?.split_once(' ') else {
            let names: Vec<String> = COMMANDS
                .iter()
                .filter(|spec| !spec.name.is_empty())
                .map(|spec| format!("/{}", spec.name))
                .collect();
            self.complete_with(0, &names);
            return None;
        };
        // The word that is being typed begins behind the last space.
        let start = typed.rfind(' ').map_or(0, |at| at + 1);
        match spec(name)?.words {
            Words::Other => return None,
            Words::Paths => return Some(Command::Paths(typed)),
            Words::Users => self.complete_names(&typed, start, &self.users.clone()),
            Words::Groups => self.complete_names(&typed, start, &self.groups.clone()),
        }
        None
    }

    fn complete_names(&mut self, typed: &str, start: usize, names: &BTreeSet<String>) {
        let lines: Vec<String> = names.iter().map(|name| format!("{}{name}", &typed[..start])).collect();
        self.complete_with(start, &lines);
    }

    /// Lines that what is typed may become, and from where on they differ from it.
    pub(crate) fn complete_with(&mut self, start: usize, lines: &[String]) {
        let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
        let fit = self.editor.complete(&lines);
        if !fit.is_empty() {
            let fit: Vec<&str> = fit.iter().filter_map(|line| line.get(start..)).collect();
            self.note(&fit.join("  "));
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
        let last = self.lines.iter().filter(|line| line.mine && line.seq > 0).map(|line| line.seq).max();
        let here = Here { me: &self.me, peer: self.peer.as_ref(), last };
        match parse(command, here) {
            Ok(typed) => self.typed(typed),
            Err(why) => {
                self.note(&why);
                None
            }
        }
    }

    fn typed(&mut self, typed: Typed) -> Option<Command> {
        match typed {
            Typed::Command(Command::History(query)) => return self.look(query),
            Typed::Command(command) => return Some(command),
            Typed::Help => help().iter().for_each(|line| self.note(line)),
            Typed::Enter(peer) => return self.enter(peer),
            Typed::Older(count) => match self.pages.older(count) {
                Ok(query) => return self.look(query),
                Err(why) => self.note(why),
            },
            Typed::Newer(count) => match self.pages.newer(count) {
                Ok(query) => return self.look(query),
                Err(why) => self.note(why),
            },
            Typed::Numbers => {
                self.numbers = !self.numbers;
                let what = if self.numbers { "from here on with their numbers" } else { "without numbers" };
                self.note(&format!("messages are shown {what}"));
            }
            Typed::Receipts(on) => {
                self.receipts = on;
                let what = if on { "asked who reads them: /read" } else { "not asked who reads them" };
                self.note(&format!("of messages in groups it is {what}"));
            }
            Typed::Read(with @ Target::Group(_), seq) => return Some(Command::Ask(Ask::Readers(with, seq))),
            Typed::Read(with, seq) => {
                let what = if seq <= self.peer_read { "has read it" } else { "has not read it" };
                self.note(&format!("{} {what}", name_of(&with)));
            }
            Typed::Get(with, seq, path) => {
                let shown = self.lines.iter().rev().find(|line| line.seq == seq);
                return Some(Command::Get(
                    match shown.and_then(|line| line.attachment.clone()) {
                        Some(what) => Wanted::Shown(what),
                        None => Wanted::Numbered(with, seq),
                    },
                    path,
                ));
            }
        }
        None
    }

    /// What a line is sent with.
    pub(crate) fn options(&self, line: &str) -> SendOptions {
        if !matches!(self.peer, Some(Target::Group(_))) {
            return SendOptions::default();
        }
        // Who is called by a name that was seen here is meant.
        let called = line.split_whitespace().filter_map(|word| word.strip_prefix('@'));
        let called = called.map(|name| name.trim_end_matches([',', '.', ':', '!', '?']));
        let users: BTreeSet<&str> = called.clone().filter(|name| self.users.contains(*name)).collect();
        let users: Vec<String> = users.into_iter().take(MENTIONS_MAX).map(str::to_owned).collect();
        let all = called.clone().any(|name| name == "all");
        let mentions = (all || !users.is_empty()).then_some(Mentions { users, all });
        SendOptions { need_receipt: self.receipts, mentions, ..SendOptions::default() }
    }

    /// Messages of this conversation whose senders are to hear that they were read.
    pub(crate) fn take_unconfirmed(&mut self) -> Vec<u64> {
        let count = self.unconfirmed.len().min(CONFIRMED_AT_ONCE);
        self.unconfirmed.drain(..count).collect()
    }

    /// What came of [`Command::Ask`]; gives what follows from it.
    pub(crate) fn answer(&mut self, answer: Answer) -> Option<Command> {
        match answer {
            Answer::Told(lines, users, groups) => {
                lines.iter().for_each(|line| self.note(line));
                users.iter().for_each(|name| remember_name(&mut self.users, name));
                groups.iter().for_each(|id| remember_name(&mut self.groups, id));
            }
            Answer::Failed(why) => self.note(&format!("not done: {why}")),
            Answer::Enter(id) => return self.enter(group(id)),
        }
        None
    }

    // ---- files ----

    /// A file is on its way; `label` says which. Gives its number.
    pub(crate) fn transfer(&mut self, label: &str) -> u64 {
        self.transfers.begin(&mut self.screen, label)
    }

    /// So much of it is there.
    pub(crate) fn progress(&mut self, id: u64, at: u64, of: u64) {
        self.transfers.progress(&mut self.screen, id, at, of);
    }

    /// It is there, or why it is not.
    pub(crate) fn transferred(&mut self, id: u64, outcome: &Result<String, String>) {
        self.transfers.end(&mut self.screen, id, outcome);
    }

    /// All were given up.
    pub(crate) fn cancelled(&mut self) {
        if !self.transfers.end_all(&mut self.screen) {
            self.note("no file is on its way");
        }
    }

    fn enter(&mut self, peer: Target) -> Option<Command> {
        // A page on its way is the other conversation's; it will still be drawn, under its own heading.
        if self.pages.is_waiting() {
            self.note("history is still on its way, try again");
            return None;
        }
        self.note(&format!("talking to {}", name_of(&peer)));
        match &peer {
            Target::User(name) => remember_name(&mut self.users, name),
            Target::Group(id) => remember_name(&mut self.groups, id),
            Target::Notices(_) => {}
        }
        self.peer = Some(peer);
        self.lines.clear();
        self.unconfirmed.clear();
        self.pages.clear();
        self.peer_read = 0;
        Some(self.history(HISTORY_ON_ENTRY))
    }

    /// Asks for the last `count` messages; events wait until they are there.
    pub(crate) fn history(&mut self, count: u32) -> Command {
        self.pages.ask(HistoryRange::Newest);
        Command::History(HistoryQuery::new(HistoryRange::Newest, count))
    }

    fn look(&mut self, query: HistoryQuery) -> Option<Command> {
        if self.pages.is_waiting() {
            self.note("history is still on its way, try again");
            return None;
        }
        self.pages.ask(query.range);
        Some(Command::History(query))
    }

    /// The page that [`Command::History`] asked for, or why there is none.
    pub(crate) fn page(&mut self, page: Result<HistoryPage, String>) {
        match page {
            Err(error) => self.note(&format!("no history: {error}")),
            Ok(page) => self.draw_page(page),
        }
        for event in self.pages.release() {
            self.event(event);
        }
    }

    fn draw_page(&mut self, mut page: HistoryPage) {
        self.peer_read = self.peer_read.max(page.peer_read);
        let (above, below) = self.pages.turn(&mut page);
        above.into_iter().for_each(|words| self.note(words));
        for message in &page.messages {
            self.message(message);
        }
        below.into_iter().for_each(|words| self.note(words));
    }

    /// Shows a message that has just been queued. `now_ms` is this machine's clock; the server's is not known yet.
    pub(crate) fn posted(&mut self, id: MsgId, text: &str, now_ms: u64) {
        let place = self.draw(now_ms, SENDING, "you", text);
        self.remember(Line { id: Some(id), seq: 0, mine: true, place, attachment: None });
    }

    /// A line that is nobody's message.
    pub(crate) fn note(&mut self, text: &str) {
        self.screen.print("-- ", text);
    }

    /// Takes what happened.
    pub(crate) fn event(&mut self, event: Event) {
        let Some(event) = self.pages.hold(event) else { return };
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
            Event::Receipts { with, seqs, .. } if self.peer.as_ref() == Some(&with) => {
                for own in self.lines.iter().filter(|own| own.mine && seqs.contains(&own.seq)) {
                    self.screen.replace(own.place, TICK_COLUMN, READ);
                }
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
        remember_name(&mut self.users, &message.from);
        if let Some(id) = message.group() {
            remember_name(&mut self.groups, id);
        }
        // What a page of history has shown is not shown again.
        if here && self.pages.is_new(message.seq) {
            self.message(message);
            self.pages.arrive(message.seq);
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
        // A page may have shown it a second time; that one is nearer.
        let line = self.lines.iter().rev().find(|line| line.seq == message.seq);
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
        let number = if self.numbers { format!("  #{}", message.seq) } else { String::new() };
        let text = format!("{}{number}", shown_text(message));
        let place = self.draw(message.time_ms, self.mark(message), name, &text);
        let attachment = message.attachments().into_iter().next();
        self.remember(Line { id: None, seq: message.seq, mine, place, attachment });
        remember_name(&mut self.users, &message.from);
        if message.need_receipt && !mine && self.unconfirmed.len() < UNCONFIRMED_MAX {
            self.unconfirmed.push(message.seq);
        }
    }

    fn mark(&self, message: &Message) -> &'static str {
        match message.from == self.me {
            false => "  ",
            true if message.seq <= self.peer_read || message.receipts > 0 => READ,
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

fn remember_name(names: &mut BTreeSet<String>, name: &str) {
    if names.len() < NAMES_MAX && !name.is_empty() && !names.contains(name) {
        names.insert(name.to_owned());
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

pub(crate) fn name_of(peer: &Target) -> String {
    match peer {
        Target::User(name) => name.clone(),
        Target::Group(id) => format!("#{id}"),
        Target::Notices(_) => "notices".to_owned(),
    }
}

#[cfg(test)]
#[path = "chat_view_tests.rs"]
mod tests;
