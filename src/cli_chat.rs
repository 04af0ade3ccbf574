//! `nearport chat`: a conversation in the terminal, or between pipes.

use std::io::Write as _;
use std::time::Duration;

use anyhow::{Context as _, bail};
use clap::Args;
use nearport_client::{
    Client, Event, FROM_NOW, HistoryPage, PostError, RequestError, SendOptions, Target, group, text, user,
};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use crate::chat_ask;
use crate::chat_command::{Answer, Command, HISTORY_ON_ENTRY, Upload, Wanted};
use crate::chat_keys::Keys;
use crate::chat_screen::harmless;
use crate::chat_text::{attachment_text, shown_text};
use crate::chat_transfer::{self, Ended, Transfers, arrived};
use crate::chat_view::View;
use crate::cli::{Failure, runtime};
use crate::cli_client::LoginArgs;
use crate::terminal::{self, RawMode};
use crate::{duration, node};

/// Longest wait at the end for messages that the server has not acknowledged.
const FAREWELL: Duration = Duration::from_secs(5);

/// Messages in flight between pipes; then the next line waits, and so does whoever writes it.
const PIPE_WINDOW: usize = 64;

/// Chat in the terminal. Between pipes, each line of stdin is a message and each message to you a line of stdout.
#[derive(Debug, Args)]
pub(crate) struct Chat {
    #[command(flatten)]
    login: LoginArgs,
    /// Whom to talk to; in a terminal /to NAME changes it.
    #[arg(long, conflicts_with = "group")]
    to: Option<String>,
    /// Talk in a group; in a terminal /group ID changes it.
    #[arg(long)]
    group: Option<String>,
    /// The device; two terminals of one user need two names.
    #[arg(long, default_value = "cli-chat")]
    device: String,
    /// Between pipes: how long to go on receiving after the end of stdin.
    #[arg(long, default_value = "0s", value_parser = duration::parse)]
    linger: Duration,
}

impl Chat {
    pub(crate) fn run(self) -> Result<(), Failure> {
        let interactive = RawMode::possible();
        let peer = self.to.clone().map(user).or_else(|| self.group.clone().map(group));
        if peer.is_none() && !interactive {
            return Err(Failure::usage("without a terminal --to or --group says whom the lines are for"));
        }
        runtime()?.block_on(async {
            let me = self.login.user.clone();
            // The screen begins with a page of history, so the log is followed from now on only.
            let client =
                self.login.clone().login(&self.device, |config| config.cursor = Some(FROM_NOW)).await?;
            let outcome = if interactive {
                in_terminal(&client, View::new(&me, peer, terminal::size())).await
            } else {
                let peer = peer.unwrap_or_else(|| user(""));
                between_pipes(&client, &me, &peer, self.linger).await
            };
            client.close().await;
            Ok(outcome?)
        })
    }
}

/// What a background request came back with.
enum Done {
    History(Result<HistoryPage, RequestError>),
    Read(Target, u64),
    Asked(Answer),
    Confirmed,
    /// Where the words begin that may stand there, and the lines with them.
    Paths(usize, Vec<String>),
}

async fn in_terminal(client: &Client, mut view: View) -> anyhow::Result<()> {
    let mut terminal = Terminal::open()?;
    let mut requests = JoinSet::new();
    let mut transfers = Transfers::new(client);
    // Read marks and confirmations go out one at a time; the newest position covers those before it.
    let (mut told_read, mut telling, mut confirming) = ((user(""), 0), false, false);
    if view.peer().is_some() {
        let first = view.history(HISTORY_ON_ENTRY);
        carry_out(client, &mut view, first, &mut requests, &mut transfers);
    } else {
        view.note("/to NAME begins a conversation, /group ID enters a group, /help lists all commands");
    }
    loop {
        terminal.write(&view.take_output())?;
        if let (Some(peer), false, seq @ 1..) = (view.peer(), telling, view.shown_seq())
            && (peer, seq) != (&told_read.0, told_read.1)
        {
            telling = true;
            let (client, peer) = (client.clone(), peer.clone());
            requests.spawn(async move {
                // A lost mark is repeated with the next message; nothing depends on it.
                let _ = client.mark_read(peer.clone(), seq).await;
                Done::Read(peer, seq)
            });
        }
        if let (Some(peer), false) = (view.peer().cloned(), confirming) {
            let seqs = view.take_unconfirmed();
            if !seqs.is_empty() {
                confirming = true;
                let client = client.clone();
                requests.spawn(async move {
                    // Shown again, it is confirmed again.
                    let _ = client.confirm_read(peer, seqs).await;
                    Done::Confirmed
                });
            }
        }
        let command = tokio::select! {
            chunk = terminal.input.recv() => match chunk {
                None => Some(Command::Quit),
                Some(chunk) => {
                    let mut last = None;
                    for key in chunk.into_iter().filter_map(|byte| terminal.keys.feed(byte)).collect::<Vec<_>>() {
                        match view.key(key) {
                            Some(Command::Quit) => { last = Some(Command::Quit); break }
                            Some(Command::Cancel) => {
                                transfers.cancel().await;
                                view.cancelled();
                            }
                            Some(command) => carry_out(client, &mut view, command, &mut requests, &mut transfers),
                            None => {}
                        }
                    }
                    last
                }
            },
            event = client.next_event(), if view.wants_events() => match event {
                Some(event) => { view.event(event); None }
                None => {
                    terminal.write(&view.leave())?;
                    bail!("the session has ended");
                }
            },
            Some(done) = requests.join_next() => {
                match done.context("a background request")? {
                    Done::History(page) => view.page(page.map_err(|error| error.to_string())),
                    Done::Read(peer, seq) => (told_read, telling) = ((peer, seq), false),
                    Done::Confirmed => confirming = false,
                    Done::Paths(start, lines) => view.complete_with(start, &lines),
                    Done::Asked(answer) => {
                        if let Some(command) = view.answer(answer) {
                            carry_out(client, &mut view, command, &mut requests, &mut transfers);
                        }
                    }
                }
                None
            }
            Some((id, at, of)) = transfers.progress.recv() => { view.progress(id, at, of); None }
            Some(ended) = transfers.running.join_next() => {
                ended_transfer(client, &mut view, ended.context("a transfer")?);
                None
            }
            _ = terminal.resized.recv() => { view.resize(terminal::size()); None }
            _ = terminal.ended.recv() => Some(Command::Quit),
        };
        if command.is_some() {
            break;
        }
    }
    terminal.write(&view.leave())?;
    drop(terminal);
    match transfers.cancel().await {
        0 => {}
        cut => eprintln!("{cut} file(s) were on their way and are not sent or fetched"),
    }
    settle(client).await
}

/// Everything but [`Command::Quit`] and [`Command::Cancel`], which are the caller's.
fn carry_out(
    client: &Client,
    view: &mut View,
    command: Command,
    requests: &mut JoinSet<Done>,
    transfers: &mut Transfers,
) {
    match command {
        Command::Ask(ask) => {
            let client = client.clone();
            requests.spawn(async move { Done::Asked(chat_ask::carry_out(&client, ask).await) });
        }
        Command::Paths(typed) => {
            requests.spawn_blocking(move || {
                let (start, lines) = chat_transfer::paths(&typed);
                Done::Paths(start, lines)
            });
        }
        Command::Send(line) => {
            let Some(peer) = view.peer().cloned() else { return };
            match client.post_with(peer, text(line.clone()), view.options(&line)) {
                Ok(id) => view.posted(id, &line, node::now_ms()),
                Err(error) => view.note(&format!("not sent: {error}")),
            }
        }
        Command::History(query) => {
            let Some(peer) = view.peer().cloned() else { return };
            let client = client.clone();
            requests.spawn(async move { Done::History(client.history_of(peer, query).await) });
        }
        Command::Upload(upload) => {
            let Some(peer) = view.peer().cloned() else { return };
            if let Some(why) = transfers.refusal() {
                return view.note(&why);
            }
            let Upload { path, .. } = &upload;
            let name = path.file_name().map_or_else(|| path.to_string_lossy(), |name| name.to_string_lossy());
            let id = view.transfer(&format!("↑ {name}"));
            transfers.upload(id, peer, upload);
        }
        Command::Get(wanted, path) => {
            if let Some(why) = transfers.refusal() {
                return view.note(&why);
            }
            let what = match &wanted {
                Wanted::Shown(what) => attachment_text(what),
                Wanted::Numbered(_, seq) => format!("#{seq}"),
                Wanted::Uuid(uuid) => uuid.clone(),
            };
            let id = view.transfer(&format!("↓ {what}"));
            transfers.download(id, wanted, path);
        }
        Command::Cancel | Command::Quit => {}
    }
}

/// A file is there, or is not: an upload becomes a message.
fn ended_transfer(client: &Client, view: &mut View, ended: Ended) {
    match ended {
        Ended::Up { id, peer, content, label } => {
            let here = view.peer() == Some(&peer);
            let options = if here { view.options("") } else { SendOptions::default() };
            match client.post_with(peer.clone(), *content, options) {
                Ok(message) => {
                    view.transferred(id, &Ok("is with the server".to_owned()));
                    match here {
                        true => view.posted(message, &label, node::now_ms()),
                        false => view.note(&format!("{label} goes to {}", crate::chat_view::name_of(&peer))),
                    }
                }
                Err(error) => view.transferred(id, &Err(error.to_string())),
            }
        }
        Ended::Down { id, path, size } => view.transferred(id, &Ok(arrived(&path, size))),
        Ended::Failed { id, why } => view.transferred(id, &Err(why)),
    }
}

/// Waits for what was sent but not acknowledged yet.
async fn settle(client: &Client) -> anyhow::Result<()> {
    let waiting = async { while client.unacknowledged() > 0 && client.next_event().await.is_some() {} };
    if client.unacknowledged() > 0 {
        eprintln!("waiting up to {} for the server to store your last messages", duration::format(FAREWELL));
        let _ = tokio::time::timeout(FAREWELL, waiting).await;
    }
    match client.unacknowledged() {
        0 => Ok(()),
        left => bail!("{left} message(s) were not acknowledged: they may or may not be stored"),
    }
}

struct Terminal {
    input: mpsc::Receiver<Vec<u8>>,
    keys: Keys,
    resized: Signal,
    ended: Signal,
    _raw: RawMode,
}

impl Terminal {
    fn open() -> anyhow::Result<Self> {
        let (resized, ended) = (signal(SignalKind::window_change())?, signal(SignalKind::terminate())?);
        let raw = RawMode::enter().context("cannot put the terminal into raw mode")?;
        let input = terminal::stdin_chunks()?;
        Ok(Self { input, keys: Keys::default(), resized, ended, _raw: raw })
    }

    fn write(&self, output: &str) -> std::io::Result<()> {
        let mut stdout = std::io::stdout().lock();
        stdout.write_all(output.as_bytes())?;
        stdout.flush()
    }
}

/// Lines in, lines out, and at the end of stdin everything is on the server's disk.
async fn between_pipes(client: &Client, me: &str, peer: &Target, linger: Duration) -> anyhow::Result<()> {
    let mut input = terminal::stdin_chunks()?;
    let mut lines = Lines::default();
    let mut failed = 0_u64;
    let mut open = true;
    loop {
        while client.unacknowledged() < PIPE_WINDOW
            && let Some(line) = lines.next()
        {
            match client.post(peer.clone(), text(line)) {
                Ok(_) => {}
                // The window is far below the client's own bound; a very long line may reach it in bytes.
                Err(error @ PostError::QueueFull(_)) if client.unacknowledged() == 0 => bail!(error),
                Err(PostError::QueueFull(_)) => break,
                Err(error) => {
                    eprintln!("not sent: {error}");
                    failed += 1;
                }
            }
        }
        if !open && lines.is_empty() && client.unacknowledged() == 0 {
            break;
        }
        tokio::select! {
            chunk = input.recv(), if open && lines.is_empty() => match chunk {
                Some(chunk) => lines.feed(&chunk),
                None => { open = false; lines.end(); }
            },
            event = client.next_event() => failed += u64::from(show_in_pipe(event, me)?),
        }
    }
    let lingering = async {
        loop {
            show_in_pipe(client.next_event().await, me)?;
        }
    };
    match tokio::time::timeout(linger, lingering).await {
        Ok(ended) => ended,
        Err(_) if failed > 0 => bail!("{failed} message(s) were not sent"),
        Err(_) => Ok(()),
    }
}

/// Whether a message of ours has failed. `Err` if the session is over.
fn show_in_pipe(event: Option<Event>, me: &str) -> anyhow::Result<bool> {
    match event {
        Some(Event::Message(message) | Event::Transient(message)) if message.from != me => {
            let mut stdout = std::io::stdout().lock();
            let group = message.group().map(|id| format!(" in {id}")).unwrap_or_default();
            writeln!(stdout, "{}{}: {}", message.from, harmless(&group), harmless(&shown_text(&message)))?;
            stdout.flush()?;
        }
        Some(Event::Failed { failure, .. }) => {
            eprintln!("not sent: {failure}");
            return Ok(true);
        }
        Some(Event::Disconnected { reason, retry_in, .. }) => {
            eprintln!("connection lost ({reason}), next attempt in {}", duration::format(retry_in));
        }
        Some(Event::Stopped { code, reason }) => bail!("{code}: {reason}"),
        Some(_) => {}
        None => bail!("the session has ended"),
    }
    Ok(false)
}

/// Bytes to lines that can be sent. Empty lines are nothing to send; a line longer than a message may be is cut into
/// several.
#[derive(Debug, Default)]
struct Lines {
    waiting: std::collections::VecDeque<String>,
    partial: Vec<u8>,
}

impl Lines {
    fn feed(&mut self, chunk: &[u8]) {
        // Room for the rest of the message around the text.
        let longest = nearport_wire::CONTENT_BYTES_MAX - 64;
        for byte in chunk {
            // Cut before a character, never inside one.
            if self.partial.len() + 4 > longest && byte & 0xc0 != 0x80 {
                self.end();
            }
            if *byte == b'\n' { self.end() } else { self.partial.push(*byte) }
        }
    }

    fn end(&mut self) {
        let bytes = std::mem::take(&mut self.partial);
        let line = String::from_utf8_lossy(&bytes).trim_end_matches('\r').to_owned();
        if !line.is_empty() {
            self.waiting.push_back(line);
        }
    }

    fn next(&mut self) -> Option<String> {
        self.waiting.pop_front()
    }

    fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use nearport_client::Limits;

    #[test]
    fn lines_are_whole_non_empty_and_fit_a_message() {
        let mut lines = Lines::default();
        lines.feed(b"one\r\n\ntw");
        lines.feed(b"o\nrest");
        lines.end();
        let got: Vec<_> = std::iter::from_fn(|| lines.next()).collect();
        assert_eq!(got, ["one", "two", "rest"]);

        let long = "é".repeat(10_000);
        lines.feed(long.as_bytes());
        lines.end();
        let got: Vec<_> = std::iter::from_fn(|| lines.next()).collect();
        assert_eq!(got.concat(), long);
        assert!(got.iter().all(|line| line.len() < nearport_wire::CONTENT_BYTES_MAX - 60));
        assert!(PIPE_WINDOW < Limits::default().outbox_messages_max);
    }
}
