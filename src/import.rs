//! `nearport import`: brings accounts, relations, groups, members and messages of another system over, from files of JSON lines.
//!
//! Files are read once for each [`Phase`] in which they have something, by a thread that makes chunks of items
//! (`import_lines`); this thread stores a chunk while the next one is read, by the calls that back ends have (`import_store`), so
//! the rules are theirs. Messages go to the writer in orders of a thousand, two of them under way.
//!
//! How far it has come stands in the directory ([`Mark`]), written behind what it speaks of: after an end of any kind the same command goes on
//! from there. What had been stored behind the mark comes again and is found by its own keys: a message by its idempotency
//! key, an account, a group, a member by its name. So nothing is doubled, and nothing that was read is left out.
//!
//! At the end all messages are read again, from the files and from the store, and compared (`import_verify`).

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::sync_channel;
use std::time::{Duration, Instant};

use nearport_chat::admin::{Asker, Bringing};
use nearport_chat::directory::Directory;
use nearport_chat::key::AppId;
use nearport_chat::{Chat, Clock};
use nearport_rest::lines::{Kind, Line};
use nearport_store::StoreLock;

use crate::config::Config;
use crate::first_run::Layout;
use crate::import_files::{self, Count, File, Mark, Phase, Place, hex};
use crate::import_lines::{Chunk, Entry, ReadError, read};
use crate::import_rejects::Rejects;
use crate::import_store::{Done, Store, fatal};
use crate::import_verify::{Verified, verify};
use crate::node::now_ms;
use crate::node_storage::Storage;

/// Chunks that wait to be stored.
pub(crate) const CHUNKS_WAITING: usize = 4;

/// Orders of messages that are under way.
const UNDER_WAY: usize = 2;

/// A mark is written after so many lines or so long a time, whichever comes first.
const MARK_LINES: u64 = 10_000;
const MARK_TIME: Duration = Duration::from_secs(1);

/// What is asked for.
#[derive(Debug)]
pub(crate) struct Order {
    pub(crate) app: AppId,
    pub(crate) files: Vec<PathBuf>,
    /// Where lines go that are not taken; `None`: beside the store.
    pub(crate) rejects: Option<PathBuf>,
    /// The first line that is not taken ends it.
    pub(crate) strict: bool,
    /// A mark of an earlier run does not count.
    pub(crate) restart: bool,
}

/// What was done.
#[derive(Debug)]
pub(crate) struct Report {
    /// An earlier run had begun it.
    pub(crate) resumed: bool,
    pub(crate) mark: Mark,
    /// Where rejected lines are, if there are some.
    pub(crate) rejects: Option<PathBuf>,
    /// Messages that this run has stored or found, and what time that took.
    pub(crate) messages: u64,
    pub(crate) messages_took: Duration,
    pub(crate) took: Duration,
    pub(crate) verified: Verified,
    pub(crate) verify_took: Duration,
}

/// Carries an order out on a store that no node serves.
///
/// # Errors
/// What ended it. Another call goes on.
pub(crate) fn run(config: &Config, order: &Order) -> anyhow::Result<Report> {
    let began = Instant::now();
    let layout = Layout(config.data.clone());
    let _lock = StoreLock::acquire(&config.data)?;
    let storage = Storage::new(config).map_err(|error| anyhow::anyhow!("{error}"))?;
    let directory = storage.directory(&layout)?;
    let apps = directory.apps()?;
    let app = apps.iter().find(|app| app.id == order.app);
    let app =
        app.ok_or_else(|| anyhow::anyhow!("app {} does not exist: nearport app create", order.app.0))?;
    let admin = app.admins.first().map_or("administrator", String::as_str).into();
    let files = import_files::find(&order.files).map_err(anyhow::Error::msg)?;
    let job = import_files::job(order.app, &order.files)?;
    let found = match order.restart {
        true => None,
        false => Mark::find(&*directory, order.app, &job, &files)?,
    };
    let resumed = found.is_some();
    let mark = found.unwrap_or_else(|| Mark::new(files));
    let path = order
        .rejects
        .clone()
        .unwrap_or_else(|| layout.0.join(format!("import-rejects-{}.jsonl", &hex(&job)[..8])));
    let rejects = Rejects::open(&path, mark.rejected_bytes)?;
    let (ledger, _) = storage.ledger(&layout)?;
    let clock: Clock = Arc::new(now_ms);
    let chat = Chat::start(ledger, directory.clone(), clock, config.backend())?;
    let store = Store { admin: chat.admin(), asker: Asker { app: order.app, admin, peer: None } };
    let mut running = Running {
        order,
        job,
        directory: &*directory,
        store,
        mark,
        rejects,
        under_way: VecDeque::new(),
        ahead: None,
        lines: 0,
        marked: Instant::now(),
        messages: 0,
    };
    let mut messages_took = Duration::ZERO;
    while let Some(phase) = running.mark.phase {
        let phase_began = Instant::now();
        running.phase(phase)?;
        if phase == Phase::Messages {
            messages_took = phase_began.elapsed();
        }
        running.mark.phase = phase.next();
        running.ahead = Some(Place::start_of(0));
        running.save()?;
    }
    let took = began.elapsed();
    let Running { store, mark, rejects, messages, .. } = running;
    eprintln!("verifying messages");
    let verify_began = Instant::now();
    let verified = verify(&store, &mark, &rejects)?;
    let verify_took = verify_began.elapsed();
    drop(store);
    chat.shutdown()?;
    let rejects = (mark.rejected_bytes > 0).then_some(path);
    Ok(Report { resumed, mark, rejects, messages, messages_took, took, verified, verify_took })
}

/// An import under way.
struct Running<'a> {
    order: &'a Order,
    job: [u8; 32],
    directory: &'a dyn Directory,
    store: Store,
    mark: Mark,
    rejects: Rejects,
    /// Messages that wait for the disk, oldest first.
    under_way: VecDeque<(usize, Vec<Entry>, Bringing)>,
    /// Where the mark may go once they are there.
    ahead: Option<Place>,
    /// Lines since the last mark.
    lines: u64,
    marked: Instant,
    /// Messages that this run has stored, or found.
    messages: u64,
}

impl Running<'_> {
    fn phase(&mut self, phase: Phase) -> anyhow::Result<()> {
        let (app, from) = (self.order.app, self.mark.place.clone());
        let files: Vec<File> = self.mark.files.clone();
        std::thread::scope(|scope| {
            let (sender, chunks) = sync_channel::<Result<Chunk, ReadError>>(CHUNKS_WAITING);
            let (files, from) = (&files, &from);
            let name = std::thread::Builder::new().name("import-reader".to_owned());
            let reader = name.spawn_scoped(scope, move || read(app, files, phase, from, &sender))?;
            for chunk in chunks {
                // An error lets go of the channel, which ends the reader.
                self.take(phase, chunk?)?;
            }
            self.drain()?;
            reader.join().map_err(|_| anyhow::anyhow!("the thread that reads the files panicked"))
        })
    }

    fn take(&mut self, phase: Phase, chunk: Chunk) -> anyhow::Result<()> {
        let Chunk { file, entries, next, ended } = chunk;
        self.lines += entries.len() as u64;
        let (mut good, mut lines) = (Vec::with_capacity(entries.len()), Vec::with_capacity(entries.len()));
        for (entry, read) in entries {
            match read {
                Ok(line) => {
                    good.push(entry);
                    lines.push(line);
                }
                // The phase of groups has said so.
                Err(_) if phase == Phase::Owners => {}
                Err(bad) => {
                    anyhow::ensure!(!bad.fatal, "{}: {bad}", self.place_of(file, &entry));
                    let done = Done::Rejected { code: bad.code, reason: bad.reason };
                    self.note(file, &entry, &done)?;
                }
            }
        }
        match phase {
            Phase::Messages => {
                let message = |line| if let Line::Message(message) = line { Some(*message) } else { None };
                let messages: Vec<_> = lines.into_iter().filter_map(message).collect();
                if !messages.is_empty() {
                    let brought = self.store.admin.bring_history(self.order.app, messages);
                    let brought = brought.map_err(|failure| fatal(&failure))?;
                    self.under_way.push_back((file, good, brought));
                }
                while self.under_way.len() > UNDER_WAY {
                    self.settle()?;
                }
            }
            Phase::Owners => self.store.owners(lines)?,
            _ => {
                let done = self.store.store(lines)?;
                anyhow::ensure!(done.len() == good.len(), "{} outcomes for {} lines", done.len(), good.len());
                for (entry, done) in good.iter().zip(&done) {
                    self.note(file, entry, done)?;
                }
            }
        }
        if let Some(read) = ended {
            self.mark.files[file].read.get_or_insert(read);
        }
        self.ahead = Some(next);
        if self.lines >= MARK_LINES || self.marked.elapsed() >= MARK_TIME {
            self.save()?;
        }
        Ok(())
    }

    /// Waits for the oldest messages that are under way.
    fn settle(&mut self) -> anyhow::Result<()> {
        let Some((file, entries, brought)) = self.under_way.pop_front() else { return Ok(()) };
        let outcomes = brought.wait().map_err(|failure| fatal(&failure))?;
        for (entry, outcome) in entries.iter().zip(outcomes) {
            self.note(file, entry, &Done::brought(outcome))?;
        }
        self.messages += entries.len() as u64;
        Ok(())
    }

    fn drain(&mut self) -> anyhow::Result<()> {
        while !self.under_way.is_empty() {
            self.settle()?;
        }
        Ok(())
    }

    /// Counts what became of a line.
    fn note(&mut self, file: usize, entry: &Entry, done: &Done) -> anyhow::Result<()> {
        let mut none = Count::default();
        let count = match entry.kind {
            Some(kind) => self.mark.count(kind),
            None => &mut none,
        };
        count.read += 1;
        match done {
            Done::Stored => count.stored += 1,
            Done::Repeated => count.repeated += 1,
            Done::Rejected { code, reason } => {
                count.rejected += 1;
                if entry.kind.is_none() {
                    self.mark.unreadable += 1;
                }
                anyhow::ensure!(!self.order.strict, "{}: {reason} ({code})", self.place_of(file, entry));
                self.rejects.note(file, &self.mark.files[file].path, entry, *code, reason)?;
            }
        }
        Ok(())
    }

    fn place_of(&self, file: usize, entry: &Entry) -> String {
        let Entry { line, offset, .. } = entry;
        format!("{}, line {line}, byte {offset}", self.mark.files[file].path.display())
    }

    /// Writes the mark, behind everything that it speaks of.
    fn save(&mut self) -> anyhow::Result<()> {
        self.drain()?;
        self.mark.rejected_bytes = self.rejects.sync()?;
        if let Some(ahead) = self.ahead.take() {
            self.mark.place = ahead;
        }
        self.mark.save(self.directory, self.order.app, &self.job)?;
        (self.lines, self.marked) = (0, Instant::now());
        self.tell();
        Ok(())
    }

    /// Says how far it is: what it says is on disk.
    fn tell(&mut self) {
        let Some(phase) = self.mark.phase else { return };
        let all: u64 = self.mark.files.iter().map(File::bytes).sum();
        let before: u64 = self.mark.files[..self.mark.place.file].iter().map(File::bytes).sum();
        let percent = (before + self.mark.place.offset) * 100 / all.max(1);
        let kinds = Kind::ALL.into_iter().filter(|kind| phase.takes(*kind));
        let read: u64 = kinds.map(|kind| self.mark.count(kind).read).sum();
        eprintln!("{}: {read} lines, {percent} % of the files", phase.name());
    }
}
