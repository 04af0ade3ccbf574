//! Slash commands: what there is, what each takes, and what a line means. No terminal, no network.

use std::path::PathBuf;
use std::time::Duration;

use nearport_client::groups::GroupRole;
use nearport_client::media::{Attachment, MediaKind};
use nearport_client::{HistoryQuery, HistoryRange, Target, group, user};

use crate::duration;

/// Messages shown when a conversation is entered.
pub(crate) const HISTORY_ON_ENTRY: u32 = 20;
/// Most messages of one page of the server.
const HISTORY_MAX: u32 = 200;
/// For ever, in seconds of a mute (public contract).
const FOR_EVER: u32 = u32::MAX;
/// Types of groups that `/create` takes in front of a name.
const TYPES: [&str; 5] = ["Work", "Public", "Meeting", "AVChatRoom", "Community"];

/// What the person wants.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Command {
    Send(String),
    /// Fetch these messages of the conversation, then call [`View::page`](crate::chat_view::View::page).
    History(HistoryQuery),
    /// Ask the server, then call [`View::answer`](crate::chat_view::View::answer).
    Ask(Ask),
    /// Send a file to the conversation.
    Upload(Upload),
    /// Fetch a file; without a path under the name that it has, here.
    Get(Wanted, Option<PathBuf>),
    /// Give up what is on its way.
    Cancel,
    /// Look which paths begin so, then call [`View::complete_with`](crate::chat_view::View::complete_with).
    Paths(String),
    Quit,
}

/// A file to send.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Upload {
    pub(crate) kind: MediaKind,
    pub(crate) path: PathBuf,
    pub(crate) second: u32,
    /// A picture of a video.
    pub(crate) cover: Option<PathBuf>,
}

/// A file to fetch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Wanted {
    /// On the screen.
    Shown(Attachment),
    /// Of a message that is not.
    Numbered(Target, u64),
    /// By its name.
    Uuid(String),
}

/// What the view itself does about a line.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Typed {
    Command(Command),
    Help,
    Enter(Target),
    /// So many messages before those that were shown, or behind them.
    Older(u32),
    Newer(u32),
    Numbers,
    Receipts(bool),
    /// Who has read the message; the view knows about pairs.
    Read(Target, u64),
    /// What the message with that number brings.
    Get(Target, u64, Option<PathBuf>),
}

/// What the server is asked beside messages and files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Ask {
    List,
    Pin(Target, bool),
    Quiet(Target, bool),
    Star(Target, bool),
    /// What was typed and not sent; empty: none.
    Draft(Target, String),
    /// Off the list, until its next message.
    Drop(Target),
    Recall(Target, u64, String),
    Edit(Target, u64, String),
    Delete(Target, Vec<u64>),
    Clear(Target),
    Readers(Target, u64),
    Groups,
    /// A new group of this type and name; it is entered.
    Create(String, String),
    Join(String, String),
    Leave(String),
    Dismiss(String),
    /// Topics of a community.
    Topics(String),
    /// A new topic of a community; it is entered.
    Topic(String, String),
    About(String),
    Members(String),
    Invite(String, Vec<String>),
    Kick(String, Vec<String>),
    /// For so many seconds.
    Ban(String, String, u32),
    Unban(String, Vec<String>),
    /// For so many seconds; 0: not any more.
    Mute(String, Vec<String>, u32),
    MuteAll(String, bool),
    Role(String, String, GroupRole),
    Transfer(String, String),
    Rename(String, String),
    Announce(String, String),
    Card(String, String),
    /// Of all groups if it is empty.
    Applications(String),
    /// Of whom, and whether it is agreed to.
    Decide(String, String, bool),
    Who(Vec<String>),
    Profile(String),
    SetProfile(String, String),
    Status(String),
    Friends,
    Friend(String, String),
    Unfriend(String),
    Requests,
    AnswerFriend(String, bool),
    Blocked,
    Block(String),
    Unblock(String),
}

/// What came of an [`Ask`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Answer {
    /// Lines, and names in them that Tab may complete: users, groups.
    Told(Vec<String>, Vec<String>, Vec<String>),
    /// Talk in this group from now on.
    Enter(String),
    Failed(String),
}

/// What the words behind a command are, for Tab.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Words {
    Other,
    Users,
    Groups,
    Paths,
}

/// A command, as `/help` shows it.
#[derive(Debug)]
pub(crate) struct Spec {
    pub(crate) name: &'static str,
    pub(crate) takes: &'static str,
    pub(crate) help: &'static str,
    pub(crate) words: Words,
}

const fn of(name: &'static str, takes: &'static str, words: Words, help: &'static str) -> Spec {
    Spec { name, takes, help, words }
}

/// Everything there is. A name of nothing is a heading; without help it is the opposite of the one before.
pub(crate) static COMMANDS: &[Spec] = &[
    of("", "", Words::Other, "conversations"),
    of("to", "NAME", Words::Users, "talk to somebody else"),
    of("group", "ID", Words::Groups, "talk in a group"),
    of("list", "", Words::Other, "your conversations, with what is unread and who means you by @"),
    of("pin", "", Words::Other, "keep this conversation on top of the list; /unpin"),
    of("unpin", "", Words::Other, ""),
    of("quiet", "", Words::Other, "announce nothing of this conversation; /loud"),
    of("loud", "", Words::Other, ""),
    of("star", "", Words::Other, "mark this conversation with a star; /unstar"),
    of("unstar", "", Words::Other, ""),
    of(
        "draft",
        "[TEXT]",
        Words::Other,
        "keep something for later with this conversation, on all your devices",
    ),
    of("drop", "", Words::Other, "take it off the list, until its next message"),
    of("", "", Words::Other, "messages; #N is the message of that number, without it your last one"),
    of("history", "[N]", Words::Other, "the last N messages again, at most 200"),
    of("older", "[N]", Words::Other, "messages before those that were shown"),
    of("newer", "[N]", Words::Other, "messages behind those that /older showed"),
    of("since", "TIME", Words::Other, "messages of the last TIME: 2h, 3d"),
    of("numbers", "", Words::Other, "show the numbers of messages, or not any more"),
    of("edit", "[#N] TEXT", Words::Other, "change what it says"),
    of("recall", "[#N] [REASON]", Words::Other, "take it back, for everybody"),
    of("delete", "#N …", Words::Other, "delete them, for yourself alone"),
    of("clear", "", Words::Other, "delete the whole history, for yourself alone"),
    of("read", "[#N]", Words::Other, "who has read it"),
    of("receipts", "on|off", Words::Other, "ask in groups who reads what you write from now on"),
    of("", "", Words::Other, "files"),
    of("file", "PATH", Words::Paths, "send a file"),
    of("image", "PATH", Words::Paths, "send a picture"),
    of("sound", "PATH [SECONDS]", Words::Paths, "send a sound"),
    of("video", "PATH [SECONDS [COVER]]", Words::Paths, "send a video, with a picture of it"),
    of("get", "N|UUID [PATH]", Words::Paths, "fetch the file of message N"),
    of("cancel", "", Words::Other, "give up files that are on their way"),
    of("", "", Words::Other, "groups; most are about the group that you talk in"),
    of("groups", "", Words::Other, "those that you are in"),
    of("create", "[TYPE] NAME", Words::Other, "make one: Work, Public, Meeting, AVChatRoom, Community"),
    of("join", "ID [TEXT]", Words::Groups, "join one, or apply for it"),
    of("leave", "", Words::Other, "leave it"),
    of("about", "", Words::Other, "what is known about it"),
    of("members", "", Words::Other, "who is in it"),
    of("invite", "NAME …", Words::Users, "bring others in"),
    of("kick", "NAME …", Words::Users, "remove members"),
    of("ban", "NAME [TIME]", Words::Users, "remove somebody and keep them out; /unban NAME …"),
    of("unban", "NAME …", Words::Users, ""),
    of("mute", "NAME … [TIME]", Words::Users, "let them not speak; /unmute NAME …"),
    of("unmute", "NAME …", Words::Users, ""),
    of("silence", "on|off", Words::Other, "let nobody but administrators speak"),
    of("admin", "NAME", Words::Users, "make somebody an administrator; /unadmin NAME"),
    of("unadmin", "NAME", Words::Users, ""),
    of("transfer", "NAME", Words::Users, "make somebody else the owner"),
    of("rename", "NAME", Words::Other, "give it another name"),
    of("announce", "TEXT", Words::Other, "change its announcement"),
    of("card", "NAME", Words::Other, "what you are called in it"),
    of("applications", "", Words::Other, "who wants in"),
    of("admit", "NAME [ID]", Words::Users, "let somebody in, or take an invitation; /refuse NAME [ID]"),
    of("refuse", "NAME [ID]", Words::Users, ""),
    of("dismiss", "", Words::Other, "end it"),
    of("topics", "", Words::Other, "topics of the community that is talked to"),
    of("topic", "NAME", Words::Other, "make one, and talk there"),
    of("", "", Words::Other, "people"),
    of("who", "NAME …", Words::Users, "whether they are online"),
    of("status", "[TEXT]", Words::Other, "a line beside your being online"),
    of("profile", "[NAME]", Words::Users, "what somebody says about themselves, or you"),
    of(
        "set",
        "FIELD [VALUE]",
        Words::Other,
        "change your profile: nick, gender, birthday, signature, allow …",
    ),
    of("friends", "", Words::Other, "your friends"),
    of("friend", "NAME [WORDS]", Words::Users, "ask for a friendship; /unfriend NAME"),
    of("unfriend", "NAME", Words::Users, ""),
    of("requests", "", Words::Other, "who asks for your friendship"),
    of("accept", "NAME", Words::Users, "be friends; /reject NAME"),
    of("reject", "NAME", Words::Users, ""),
    of("blocked", "", Words::Other, "of whom you hear nothing"),
    of("block", "NAME", Words::Users, "hear no more of somebody; /unblock NAME"),
    of("unblock", "NAME", Words::Users, ""),
    of("", "", Words::Other, "this program"),
    of("help", "", Words::Other, "this list"),
    of("quit", "", Words::Other, "leave (also Ctrl-D); Tab completes commands, names and paths"),
];

/// The command of that name.
pub(crate) fn spec(name: &str) -> Option<&'static Spec> {
    let name = if name == "q" { "quit" } else { name };
    COMMANDS.iter().find(|spec| spec.name == name && !name.is_empty())
}

/// What `/help` shows.
pub(crate) fn help() -> Vec<String> {
    let line = |spec: &Spec| match (spec.name, spec.help) {
        ("", heading) => format!("{heading}:"),
        (name, help) => format!("  {:<28} {help}", format!("/{name} {}", spec.takes)),
    };
    let lines = COMMANDS.iter().filter(|spec| !spec.help.is_empty()).map(line);
    let more = [
        "  //text                       send a line that begins with a slash".to_owned(),
        "… sending   ✓ stored on the server   ✓✓ read by the other side, in a group by somebody   ✗ not sent"
            .to_owned(),
    ];
    lines.chain(more).collect()
}

/// Where a line is typed.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Here<'a> {
    pub(crate) me: &'a str,
    pub(crate) peer: Option<&'a Target>,
    /// The last message of one's own that has a number.
    pub(crate) last: Option<u64>,
}

/// What a line without its slash means; what it lacks is said.
pub(crate) fn parse(line: &str, here: Here<'_>) -> Result<Typed, String> {
    let (name, rest) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
    let rest = rest.trim();
    let unknown = || format!("unknown command /{line}: /help lists all");
    let spec = spec(name).ok_or_else(unknown)?;
    if spec.takes.is_empty() && !rest.is_empty() {
        // More words are a slip, and nothing is done.
        return Err(unknown());
    }
    let takes = || format!("/{} {}: {}", spec.name, spec.takes, about(spec));
    let line = Line { rest, here, takes: &takes };
    match line.typed(spec.name)? {
        Some(typed) => Ok(typed),
        None => line.ask(spec.name).map(|ask| Typed::Command(Command::Ask(ask))),
    }
}

/// The help of a command, or of the one that it is the opposite of.
fn about(spec: &Spec) -> &'static str {
    if !spec.help.is_empty() {
        return spec.help;
    }
    let at = COMMANDS.iter().position(|one| std::ptr::eq(one, spec)).unwrap_or_default();
    COMMANDS[..at].iter().rev().map(|before| before.help).find(|help| !help.is_empty()).unwrap_or_default()
}

struct Line<'a> {
    rest: &'a str,
    here: Here<'a>,
    takes: &'a dyn Fn() -> String,
}

impl Line<'_> {
    /// What is no question to the server alone.
    fn typed(&self, name: &str) -> Result<Option<Typed>, String> {
        let command = |command| Ok(Some(Typed::Command(command)));
        match name {
            "quit" => command(Command::Quit),
            "cancel" => command(Command::Cancel),
            "help" => Ok(Some(Typed::Help)),
            "numbers" => Ok(Some(Typed::Numbers)),
            "to" => Ok(Some(Typed::Enter(user(self.one()?)))),
            "group" => Ok(Some(Typed::Enter(group(self.one()?)))),
            "history" => {
                self.peer()?;
                command(Command::History(HistoryQuery::new(HistoryRange::Newest, self.count(name)?)))
            }
            "older" => self.peer().and_then(|_| self.count(name)).map(|count| Some(Typed::Older(count))),
            "newer" => self.peer().and_then(|_| self.count(name)).map(|count| Some(Typed::Newer(count))),
            "since" => {
                self.peer()?;
                let back = duration::parse(&self.one()?)?;
                let from_ms =
                    crate::node::now_ms().saturating_sub(u64::try_from(back.as_millis()).unwrap_or(u64::MAX));
                // From the first message on, of those that are young enough.
                let query = HistoryQuery::new(HistoryRange::After(0), HISTORY_MAX);
                command(Command::History(HistoryQuery { from_ms, ..query }))
            }
            "receipts" => self.switch().map(|on| Some(Typed::Receipts(on))),
            "read" => {
                let (seq, rest) = self.message()?;
                self.nothing(rest)?;
                Ok(Some(Typed::Read(self.peer()?, seq)))
            }
            "file" | "image" | "sound" | "video" => self.upload(name).map(|it| Some(Typed::Command(it))),
            "get" => self.get().map(Some),
            _ => Ok(None),
        }
    }

    fn ask(&self, name: &str) -> Result<Ask, String> {
        let rest = self.rest.to_owned();
        Ok(match name {
            "list" => Ask::List,
            "pin" | "unpin" => Ask::Pin(self.peer()?, name == "pin"),
            "quiet" | "loud" => Ask::Quiet(self.peer()?, name == "quiet"),
            "star" | "unstar" => Ask::Star(self.peer()?, name == "star"),
            "draft" => Ask::Draft(self.peer()?, rest),
            "drop" => Ask::Drop(self.peer()?),
            "edit" => {
                let (seq, text) = self.message()?;
                Ask::Edit(self.peer()?, seq, self.some(text)?)
            }
            "recall" => {
                let (seq, reason) = self.message()?;
                Ask::Recall(self.peer()?, seq, reason.to_owned())
            }
            "delete" => {
                let seqs: Option<Vec<u64>> = self.rest.split_whitespace().map(number).collect();
                let seqs = seqs.filter(|seqs| !seqs.is_empty()).ok_or_else(self.takes)?;
                Ask::Delete(self.peer()?, seqs)
            }
            "clear" => Ask::Clear(self.peer()?),
            "groups" => Ask::Groups,
            "create" => {
                let rest = self.some(self.rest)?;
                match rest.split_once(' ').filter(|(kind, _)| TYPES.contains(kind)) {
                    Some((kind, name)) => Ask::Create(kind.to_owned(), name.trim().to_owned()),
                    None => Ask::Create("Work".to_owned(), rest),
                }
            }
            "join" => {
                let (id, text) = self.first()?;
                Ask::Join(id, text)
            }
            "leave" => Ask::Leave(self.group()?),
            "dismiss" => Ask::Dismiss(self.group()?),
            "topics" => Ask::Topics(self.group()?),
            "topic" => Ask::Topic(self.group()?, self.some(self.rest)?),
            "about" => Ask::About(self.group()?),
            "members" => Ask::Members(self.group()?),
            "invite" => Ask::Invite(self.group()?, self.names()?),
            "kick" => Ask::Kick(self.group()?, self.names()?),
            "ban" => {
                let (name, time) = self.first()?;
                let time = if time.is_empty() { FOR_EVER } else { seconds(duration::parse(&time)?) };
                Ask::Ban(self.group()?, name, time)
            }
            "unban" => Ask::Unban(self.group()?, self.names()?),
            "mute" => {
                let mut names = self.names()?;
                let time =
                    names.last().and_then(|last| duration::parse(last).ok()).filter(|_| names.len() > 1);
                if time.is_some() {
                    names.pop();
                }
                Ask::Mute(self.group()?, names, time.map_or(FOR_EVER, |time| seconds(time).max(1)))
            }
            "unmute" => Ask::Mute(self.group()?, self.names()?, 0),
            "silence" => Ask::MuteAll(self.group()?, self.switch()?),
            "admin" => Ask::Role(self.group()?, self.one()?, GroupRole::Admin),
            "unadmin" => Ask::Role(self.group()?, self.one()?, GroupRole::Member),
            "transfer" => Ask::Transfer(self.group()?, self.one()?),
            "rename" => Ask::Rename(self.group()?, self.some(self.rest)?),
            "announce" => Ask::Announce(self.group()?, self.some(self.rest)?),
            "card" => Ask::Card(self.group()?, self.some(self.rest)?),
            "applications" => Ask::Applications(self.group().unwrap_or_default()),
            "admit" | "refuse" => {
                let (applicant, id) = self.first()?;
                let id = if id.is_empty() { self.group()? } else { id };
                Ask::Decide(id, applicant, name == "admit")
            }
            "who" => Ask::Who(self.names()?),
            "status" => Ask::Status(rest),
            "profile" if rest.is_empty() => Ask::Profile(self.here.me.to_owned()),
            "profile" => Ask::Profile(self.one()?),
            "set" => {
                let (field, value) = self.first()?;
                Ask::SetProfile(field, value)
            }
            "friends" => Ask::Friends,
            "friend" => {
                let (name, words) = self.first()?;
                Ask::Friend(name, words)
            }
            "unfriend" => Ask::Unfriend(self.one()?),
            "requests" => Ask::Requests,
            "accept" | "reject" => Ask::AnswerFriend(self.one()?, name == "accept"),
            "blocked" => Ask::Blocked,
            "block" => Ask::Block(self.one()?),
            "unblock" => Ask::Unblock(self.one()?),
            _ => return Err((self.takes)()),
        })
    }

    fn upload(&self, name: &str) -> Result<Command, String> {
        self.peer()?;
        let mut words = words(self.rest).into_iter();
        let path = words.next().ok_or_else(self.takes)?;
        let kind = match name {
            "image" => MediaKind::Image,
            "sound" => MediaKind::Sound,
            "video" => MediaKind::Video,
            _ => MediaKind::File,
        };
        let timed = matches!(kind, MediaKind::Sound | MediaKind::Video);
        let second = match words.next() {
            None => 0,
            Some(second) if timed => second.parse().map_err(|_| (self.takes)())?,
            Some(_) => return Err(format!("{}; a path with spaces stands in quotes", (self.takes)())),
        };
        let cover = words.next().filter(|_| kind == MediaKind::Video).map(|path| expand(&path));
        match words.next() {
            None => Ok(Command::Upload(Upload { kind, path: expand(&path), second, cover })),
            Some(_) => Err((self.takes)()),
        }
    }

    fn get(&self) -> Result<Typed, String> {
        let mut words = words(self.rest).into_iter();
        let what = words.next().ok_or_else(self.takes)?;
        let path = words.next().map(|path| expand(&path));
        if words.next().is_some() {
            return Err(format!("{}; a path with spaces stands in quotes", (self.takes)()));
        }
        match number(&what) {
            Some(seq) => Ok(Typed::Get(self.peer()?, seq, path)),
            None => Ok(Typed::Command(Command::Get(Wanted::Uuid(what), path))),
        }
    }

    fn peer(&self) -> Result<Target, String> {
        self.here.peer.cloned().ok_or_else(|| "no conversation yet: /to NAME first".to_owned())
    }

    fn group(&self) -> Result<String, String> {
        match self.here.peer {
            Some(Target::Group(id)) => Ok(id.clone()),
            _ => Err("not in a group: /group ID first".to_owned()),
        }
    }

    fn some(&self, text: &str) -> Result<String, String> {
        if text.is_empty() { Err((self.takes)()) } else { Ok(text.to_owned()) }
    }

    fn nothing(&self, text: &str) -> Result<(), String> {
        if text.is_empty() { Ok(()) } else { Err((self.takes)()) }
    }

    /// One name and nothing else.
    fn one(&self) -> Result<String, String> {
        match self.names()?.as_slice() {
            [name] => Ok(name.clone()),
            _ => Err((self.takes)()),
        }
    }

    fn names(&self) -> Result<Vec<String>, String> {
        let names: Vec<String> = self.rest.split_whitespace().map(str::to_owned).collect();
        if names.is_empty() { Err((self.takes)()) } else { Ok(names) }
    }

    /// A word, and the rest.
    fn first(&self) -> Result<(String, String), String> {
        let (first, rest) = self.rest.split_once(char::is_whitespace).unwrap_or((self.rest, ""));
        Ok((self.some(first)?, rest.trim().to_owned()))
    }

    fn switch(&self) -> Result<bool, String> {
        match self.rest {
            "on" => Ok(true),
            "off" => Ok(false),
            _ => Err((self.takes)()),
        }
    }

    fn count(&self, name: &str) -> Result<u32, String> {
        let count = if self.rest.is_empty() { Some(HISTORY_ON_ENTRY) } else { self.rest.parse().ok() };
        let count = count.filter(|count| (1..=HISTORY_MAX).contains(count));
        count.ok_or_else(|| format!("/{name} takes a number from 1 to {HISTORY_MAX}"))
    }

    /// The message that is meant, and the words behind it.
    fn message(&self) -> Result<(u64, &str), String> {
        self.peer()?;
        if let Some(numbered) = self.rest.strip_prefix('#') {
            let (seq, rest) = numbered.split_once(char::is_whitespace).unwrap_or((numbered, ""));
            if let Some(seq) = number(seq) {
                return Ok((seq, rest.trim()));
            }
        }
        let last = self.here.last.ok_or_else(|| "you have written nothing here yet".to_owned())?;
        Ok((last, self.rest))
    }
}

/// The number of a message, with or without its sign.
fn number(text: &str) -> Option<u64> {
    text.strip_prefix('#').unwrap_or(text).parse().ok().filter(|seq| *seq > 0)
}

fn seconds(time: Duration) -> u32 {
    u32::try_from(time.as_secs()).unwrap_or(FOR_EVER)
}

/// Words as a shell would take them apart: quotes keep spaces, a backslash keeps what follows it.
pub(crate) fn words(text: &str) -> Vec<String> {
    let (mut words, mut word, mut quote) = (Vec::new(), None::<String>, None::<char>);
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' if quote != Some('\'') => word.get_or_insert_default().extend(chars.next()),
            c if quote == Some(c) => quote = None,
            '"' | '\'' if quote.is_none() => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            c if c.is_whitespace() && quote.is_none() => words.extend(word.take()),
            c => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    words
}

/// A path as it is typed: what [`words`] would take apart is kept together.
pub(crate) fn escape(path: &str) -> String {
    let special = |c: char| c.is_whitespace() || matches!(c, '\\' | '"' | '\'');
    path.chars().flat_map(|c| special(c).then_some('\\').into_iter().chain([c])).collect()
}

/// `~/` is home.
pub(crate) fn expand(path: &str) -> PathBuf {
    match (path.strip_prefix("~/"), std::env::var_os("HOME")) {
        (Some(rest), Some(home)) => PathBuf::from(home).join(rest),
        _ => PathBuf::from(path),
    }
}

#[cfg(test)]
#[path = "chat_command_tests.rs"]
mod tests;
