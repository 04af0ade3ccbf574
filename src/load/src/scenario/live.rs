//! `live`: a live room with many members, in which a few speak; beside it, if wanted, users in pairs who write to each other.
//!
//! Every member keeps books: what came, by class, and what the room says that it has taken and folded. In the end nothing may be
//! missing but what was folded there, or left out by the edge for a slow reader, which the edge counts. Those who speak are clients of
//! the SDK; the others are lean (`crowd`) where they can be. The pairs are
//! the scenario `chat` on a thread of its own, once before the room begins and once while it is busy: what matters is how much
//! slower their messages are.

mod ledger;
mod readers;
mod share;

use std::hash::{BuildHasher as _, RandomState};
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, TryLockError};
use std::time::{Duration, Instant};

use nearport_client::groups::GroupCreate;
use nearport_client::live::Class;
use nearport_client::{Client, Event, Failure, Priority, RequestError, SendOptions, group, text};
use tokio::sync::{Notify, oneshot};
use tokio::task::JoinSet;

use crate::Error;
use crate::clock::Clock;
use crate::crowd::Witness as _;
use crate::fleet::{Fleet, Listener};
use crate::latency::Latency;
use crate::open_loop::Target;
use crate::ops;
use crate::options::{LiveClass, Options, SPEAKERS_MAX, Scenario};
use crate::payload::Payload;
use crate::progress::Progress;
use crate::relay::Relay;
use crate::report::{LiveRoom, Report, rounded};
use crate::scenario::Run;
use ledger::Ledger;
use readers::Readers;
use share::{Reader, Share};

/// Joins under way at once.
const JOINS_MAX: usize = 256;

/// Codes of the public contract: the group's id is taken, by somebody else or by oneself.
const TAKEN: [u32; 2] = [10021, 10025];

/// The room and its members.
struct Live {
    clock: Clock,
    reader: Arc<Reader>,
    classes: Vec<LiveClass>,
    clients: OnceLock<Vec<Client>>,
    state: Mutex<State>,
    /// The books: those of the SDK's clients, then those of each thread of the others. Locked after the state, in their order.
    shares: Vec<Arc<Mutex<Share>>>,
    settled: Notify,
}

/// What is said.
struct State {
    offered: u64,
    /// Answered, by class.
    said: [u64; Class::COUNT],
    waiting: u64,
    /// Nothing more will be said.
    over: bool,
    failed: u64,
    first_error: Option<String>,
}

/// The open loop's end of it: owns the tasks that speak.
struct Speakers {
    live: Arc<Live>,
    tasks: Mutex<JoinSet<()>>,
}

pub(super) async fn run(run: &mut Run<'_>) -> Result<Report, Error> {
    let options = run.options;
    let mut speaking = options.clone();
    let parts = readers::parts(options, &run.credentials);
    speaking.connections -= u32::try_from(parts.iter().map(Range::len).sum::<usize>()).unwrap_or(0);
    let live = Arc::new(Live::new(run.clock, options, speaking.connections as usize, &parts));
    let server = run.relay.as_ref().map_or(run.credentials.server, Relay::address);
    let (stop, progress) = (&mut run.stop, run.progress);
    let (fleet, mut logins) =
        Fleet::log_in(&speaking, &run.credentials, server, &live, stop, progress).await?;
    let readers = Readers::start(&live, run, server, parts)?;
    if let Some(readers) = readers.as_ref().filter(|_| !logins.interrupted) {
        logins.add(&readers.crowd.log_in(&mut run.stop, run.progress).await?);
    }
    let clients = logins.all()?;
    let clients = live.clients.get_or_init(|| clients);
    live.create(&clients[0]).await?;
    let quiet = match options.chat_rate {
        0 => None,
        _ => Some(pairs(run, "quiet", options.quiet).await?),
    };
    let joined = join_everybody(&live, readers.as_ref(), run).await?;

    let left_out = left_out(options).await;
    let spent = readers.as_ref().map(|readers| readers.spent(&live));
    let speakers = Speakers { live: Arc::clone(&live), tasks: Mutex::new(JoinSet::new()) };
    let open_loop = run.open_loop();
    let mut stop = run.stop.clone();
    let busy = async {
        match options.chat_rate {
            0 => Ok(None),
            _ => pairs(run, "busy", options.warmup + options.duration).await.map(Some),
        }
    };
    let (window, busy) = tokio::join!(open_loop.offer_all(&speakers, &mut stop), busy);
    let (window, busy) = (window?, busy?);
    let mut report = run.report(&logins, &window);
    live.lock().over = true;
    open_loop.drain(&speakers, &mut stop).await;
    live.shares.iter().for_each(|share| lock(share).closed = true);
    let left_out = self::left_out(options).await.zip(left_out).map(|(now, then)| now.saturating_sub(then));
    let spent = readers.as_ref().zip(spent).and_then(|(readers, then)| readers.spent(&live).each_since(then));
    drop(speakers);
    let lean = readers.as_ref().map_or(0, |readers| readers.members);
    if let Some(readers) = readers {
        readers.crowd.leave(&mut run.stop, run.progress).await;
    }
    fleet.close(false, &mut run.stop, run.progress).await;

    let seconds = report.duration_s;
    live.fill(&mut report, left_out, joined, seconds);
    if let Some(live) = &mut report.live {
        (live.lean, live.lean_cpu_us) = (lean, spent.map(rounded));
        let p99 = |report: &Option<Report>| report.as_ref().and_then(|report| report.latency_ms.p99);
        live.chat_ratio = p99(&busy).zip(p99(&quiet)).map(|(busy, quiet)| rounded(busy / quiet));
        let unclean = [&quiet, &busy].into_iter().flatten().find(|report| !report.is_clean());
        live.chat_clean = busy.as_ref().map(|_| unclean.is_none());
        live.chat_quiet_ms = quiet.map(|report| report.latency_ms).unwrap_or_default();
        live.chat_busy_ms = busy.map(|report| report.latency_ms).unwrap_or_default();
    }
    Ok(report)
}

/// The clients of the SDK join, then the others. Returns how long it took, and the times of the joins.
async fn join_everybody(
    live: &Arc<Live>,
    readers: Option<&Readers>,
    run: &mut Run<'_>,
) -> Result<(Duration, Latency), Error> {
    let (mut took, mut latency) = join_all(live, run).await?;
    if let Some(readers) = readers {
        let joins = readers.crowd.join(run.options.join_rate, &mut run.stop, run.progress).await?;
        if let Some(reason) = &joins.first_failure {
            return Err(no_room(&format!("cannot join: {reason}")));
        }
        took += joins.took;
        latency.add(&joins.latency);
    }
    Ok((took, latency))
}

/// Lets users in pairs write to each other for so long, on a thread of their own.
async fn pairs(run: &Run<'_>, phase: &str, length: Duration) -> Result<Report, Error> {
    let options = Options {
        rate: run.options.chat_rate,
        duration: length,
        users: format!("{}-{phase}", run.options.users),
        connections: run.options.chat_connections,
        message_bytes: run.options.message_bytes,
        transport: run.options.transport,
        drain_timeout: run.options.drain_timeout,
        seed: run.options.seed,
        ..Options::new(Scenario::Chat)
    };
    let (credentials, stop) = (Arc::clone(&run.credentials), run.stop.clone());
    let (done, outcome) = oneshot::channel();
    let talk = move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let result = runtime.map_err(Error::Start).and_then(|runtime| {
            runtime.block_on(super::run(&options, credentials, &Progress::hidden(), stop))
        });
        let _ = done.send(result);
    };
    let thread = std::thread::Builder::new().name("load-pairs".into()).spawn(talk).map_err(Error::Start)?;
    let outcome = outcome.await;
    // It has said all that it had to say.
    let _ = thread.join();
    outcome.unwrap_or_else(|_| Err(Error::Start(std::io::Error::other("the pairs' thread ended"))))
}

/// All clients of the SDK join, at the rate that was asked for.
async fn join_all(live: &Arc<Live>, run: &mut Run<'_>) -> Result<(Duration, Latency), Error> {
    let count = live.clients.get().map_or(0, Vec::len);
    run.progress.begin("joins", count as u64);
    let (mut tasks, mut latency) = (JoinSet::new(), Latency::new());
    let begun = Instant::now();
    let mut next = 0;
    while next < count || !tasks.is_empty() {
        let due = match run.options.join_rate {
            0 => count,
            rate => {
                let due = begun.elapsed().as_millis() * u128::from(rate) / 1000 + 1;
                usize::try_from(due).unwrap_or(count)
            }
        };
        while next < count.min(due) && tasks.len() < JOINS_MAX {
            let (live, index) = (Arc::clone(live), next);
            tasks.spawn(async move { live.join(index).await });
            next += 1;
        }
        tokio::select! {
            biased;
            () = run.stop.asked(1) => return Err(Error::Interrupted),
            joined = tasks.join_next(), if !tasks.is_empty() => {
                let took = joined.and_then(Result::ok).unwrap_or_else(|| Err("a task ended".into()));
                latency.record(took.map_err(|reason| no_room(&format!("cannot join: {reason}")))?);
                run.progress.advance();
            }
            () = tokio::time::sleep(Duration::from_millis(1)), if next < count => {}
        }
    }
    Ok((begun.elapsed(), latency))
}

/// What the server's edge has left out for slow readers so far, if it is asked for.
async fn left_out(options: &Options) -> Option<u64> {
    match options.ops {
        Some(ops) => ops::left_out(ops).await,
        None => None,
    }
}

impl Live {
    /// `clients`: of the SDK. The others are in `parts`.
    fn new(clock: Clock, options: &Options, clients: usize, parts: &[Range<usize>]) -> Self {
        let reader = Arc::new(Reader {
            run: RandomState::new().hash_one(std::process::id()),
            room: format!("{}-room", options.users),
            text_bytes: options.text_bytes(),
        });
        let members = std::iter::once(clients).chain(parts.iter().map(Range::len));
        let share = |members| Arc::new(Mutex::new(Share::new(clock, &reader, members)));
        Self {
            clock,
            shares: members.map(share).collect(),
            classes: options.live_classes(),
            clients: OnceLock::new(),
            state: Mutex::new(State {
                offered: 0,
                said: [0; Class::COUNT],
                waiting: 0,
                over: false,
                failed: 0,
                first_error: None,
            }),
            reader,
            settled: Notify::new(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    /// The books of the SDK's clients.
    fn books(&self) -> MutexGuard<'_, Share> {
        lock(&self.shares[0])
    }

    /// Makes the room, unless it is there from an earlier run.
    async fn create(&self, client: &Client) -> Result<(), Error> {
        let create = GroupCreate {
            r#type: "AVChatRoom".into(),
            name: "load".into(),
            group: self.reader.room.clone(),
            ..GroupCreate::default()
        };
        match client.create_group(create).await {
            Ok(_) => Ok(()),
            Err(RequestError::Failed(Failure::Refused { code, .. })) if TAKEN.contains(&code) => Ok(()),
            Err(error) => Err(no_room(&format!("cannot make the room: {error}"))),
        }
    }

    /// Client `index` joins. Its books begin with the counts that it is answered.
    async fn join(&self, index: usize) -> Result<Duration, String> {
        let client = self.clients.get().and_then(|clients| clients.get(index)).ok_or("no client")?;
        let begun = Instant::now();
        let joined = client.join_live_room(&self.reader.room).await.map_err(|error| error.to_string())?;
        let took = begun.elapsed();
        let counts = joined.counts.unwrap_or_default();
        self.books().joined(index, &counts, true);
        Ok(took)
    }

    async fn speak(&self, counter: u64, due_ns: u64) {
        let Some(clients) = self.clients.get() else { return };
        let turn = usize::try_from(counter).unwrap_or(usize::MAX);
        let speaker = turn % clients.len().min(SPEAKERS_MAX);
        let class = self.classes[turn % self.classes.len()];
        let (class, priority) = match class {
            LiveClass::Gift => (Class::Gift, Priority::High),
            LiveClass::Chat => (Class::Chat, Priority::Normal),
            LiveClass::Like => (Class::Like, Priority::Low),
        };
        let payload = Payload { run: self.reader.run, sender: class.id(), counter, due_ns };
        let sending = SendOptions { priority, ..SendOptions::default() };
        let content = text(payload.encode(self.reader.text_bytes));
        let said = clients[speaker].send_with(group(self.reader.room.clone()), content, sending).await;
        let state = &mut *self.lock();
        state.waiting -= 1;
        match said {
            Ok(_) => state.said[class.index()] += 1,
            Err(error) => {
                state.failed += 1;
                state.first_error.get_or_insert_with(|| error.to_string());
            }
        }
        self.look(state);
    }

    /// Whoever waits learns that nothing is missing any more. The others' threads do not look: who waits does, now and then.
    fn look(&self, state: &State) {
        if state.waiting == 0 && self.is_settled(state) {
            self.settled.notify_waiters();
        }
    }

    /// Everything that was said is answered and counted by the room, and nobody misses any of it.
    fn is_settled(&self, state: &State) -> bool {
        if state.waiting > 0 {
            return false;
        }
        // A share that its thread is writing in is looked at next time. That thread yields the CPU to others, and nobody here may wait for it.
        let Some(mut shares) = self.shares.iter().map(|share| try_lock(share)).collect::<Option<Vec<_>>>()
        else {
            return false;
        };
        let mut known = Ledger::default();
        shares.iter().for_each(|share| known.learn(&share.ledger));
        let counted = Class::ALL[1..].iter().all(|class| known.taken(*class) >= state.said[class.index()]);
        let settled = counted
            && shares.iter_mut().all(|share| {
                let share = &mut **share;
                share.ledger.learn(&known);
                share.ledger.is_complete(&share.members)
            });
        if settled && state.over {
            // At this moment, before anybody hears more.
            shares.iter_mut().for_each(|share| share.closed = true);
        }
        settled
    }

    /// Closes the books: nothing is left in them.
    fn fill(
        &self,
        report: &mut Report,
        left_out: Option<u64>,
        (joining, joins): (Duration, Latency),
        seconds: f64,
    ) {
        let state = &mut *self.lock();
        let mut all = Share::new(self.clock, &self.reader, 0);
        self.shares.iter().for_each(|share| all.append(&mut lock(share)));
        let books = all.ledger.close(&all.members);
        let said: u64 = state.said.iter().sum();
        // What the room did not count of what it took from a sender would be lost, too.
        let uncounted: u64 = Class::ALL[1..]
            .iter()
            .map(|class| state.said[class.index()].abs_diff(all.ledger.taken(*class)))
            .sum();
        report.sent = Some(state.offered);
        report.acked = Some(said);
        report.delivered = Some(all.deliveries);
        report.lost = Some(books.missing.saturating_sub(left_out.unwrap_or(0)) + uncounted);
        report.duplicated = Some(books.duplicated);
        report.reordered = Some(books.reordered);
        report.latency_ms = all.latency.quantiles();
        report.error_counts.failed = state.failed + all.failed;
        report.error_counts.unanswered = state.waiting;
        report.error_counts.unexpected = all.unexpected;
        all.sessions.fill(report);
        // What was said until a member was back has passed it by, so each is one too many.
        report.error_counts.sessions = all.sessions.lost();
        report.errors = report.error_counts.total();
        let first = state.first_error.take().or_else(|| all.first_error.take());
        report.first_error = first.or_else(|| all.sessions.first_loss().map(str::to_owned));
        let (taken, folded) = all.ledger.since();
        let joins_per_s = all.members.len() as f64 / joining.as_secs_f64();
        report.live = Some(LiveRoom {
            joins_per_s: Some(rounded(joins_per_s)),
            join_ms: joins.quantiles(),
            taken,
            folded,
            left_out,
            missing: books.missing,
            deliveries_per_s: (seconds > 0.0).then(|| rounded(all.deliveries as f64 / seconds)),
            ..LiveRoom::default()
        });
    }
}

/// No holder leaves the books half written, so poison says nothing about them.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// `None` if somebody else holds it.
fn try_lock<T>(mutex: &Mutex<T>) -> Option<MutexGuard<'_, T>> {
    match mutex.try_lock() {
        Ok(guard) => Some(guard),
        Err(TryLockError::Poisoned(poisoned)) => Some(poisoned.into_inner()),
        Err(TryLockError::WouldBlock) => None,
    }
}

fn no_room(why: &str) -> Error {
    Error::Start(std::io::Error::other(why.to_owned()))
}

impl Listener for Live {
    fn event(&self, index: usize, event: Event) {
        match event {
            Event::Live { frame, .. } => {
                self.books().frame(index, &frame);
                self.look(&self.lock());
            }
            Event::LiveLeft { failure, .. } => self.books().failed(format!("cannot go back: {failure}")),
            event => self.books().session(index, &event),
        }
    }
}

impl Target for Speakers {
    fn offer(&self, _: usize, due_ns: u64) {
        let state = &mut *self.live.lock();
        let counter = state.offered;
        state.offered += 1;
        state.waiting += 1;
        let mut tasks = self.tasks.lock().unwrap_or_else(PoisonError::into_inner);
        while tasks.try_join_next().is_some() {}
        let live = Arc::clone(&self.live);
        tasks.spawn(async move { live.speak(counter, due_ns).await });
    }

    fn measure(&self, from_ns: u64, until_ns: u64) {
        self.live.shares.iter().for_each(|share| lock(share).window = (from_ns, until_ns));
    }

    fn done(&self) -> u64 {
        self.live.lock().said.iter().sum()
    }

    fn is_settled(&self) -> bool {
        self.live.is_settled(&self.live.lock())
    }

    fn settled(&self) -> &Notify {
        &self.live.settled
    }

    fn status(&self) -> String {
        format!("{} heard by those who speak", self.live.books().deliveries)
    }
}
