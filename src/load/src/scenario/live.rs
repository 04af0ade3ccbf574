//! `live`: a live room with many members, in which a few speak; beside it, if wanted, users in pairs who write to each other.
//!
//! Every member keeps books: what came, by class, and what the room says that it has taken and folded. In the end nothing may be
//! missing but what was folded there, or left out by the edge for a slow reader, which the edge counts. The pairs are
//! the scenario `chat` on a thread of its own, once before the room begins and once while it is busy: what matters is how much
//! slower their messages are.

mod ledger;

use std::hash::{BuildHasher as _, RandomState};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use nearport_client::groups::GroupCreate;
use nearport_client::live::{Class, text_of};
use nearport_client::{Client, Event, Failure, LiveFrame, Priority, RequestError, SendOptions, group, text};
use tokio::sync::{Notify, oneshot};
use tokio::task::JoinSet;

use crate::Error;
use crate::clock::Clock;
use crate::fleet::Listener;
use crate::latency::{Latency, Quantiles};
use crate::open_loop::Target;
use crate::ops;
use crate::options::{LiveClass, Options, Scenario};
use crate::payload::Payload;
use crate::progress::Progress;
use crate::report::{LiveRoom, Report, rounded};
use crate::scenario::Run;
use crate::scenario::books::Sessions;
use ledger::{Ledger, Member};

/// Members that speak, in turn.
const SPEAKERS_MAX: usize = 50;

/// Joins under way at once.
const JOINS_MAX: usize = 256;

/// Codes of the public contract: the group's id is taken, by somebody else or by oneself.
const TAKEN: [u32; 2] = [10021, 10025];

/// The room and its members.
struct Live {
    clock: Clock,
    run: u64,
    room: String,
    text_bytes: usize,
    classes: Vec<LiveClass>,
    clients: OnceLock<Vec<Client>>,
    state: Mutex<State>,
    settled: Notify,
}

struct State {
    members: Vec<Member>,
    ledger: Ledger,
    latency: Latency,
    /// Due times that are measured.
    window: (u64, u64),
    offered: u64,
    /// Answered, by class.
    said: [u64; Class::COUNT],
    waiting: u64,
    failed: u64,
    unexpected: u64,
    deliveries: u64,
    sessions: Sessions,
    first_error: Option<String>,
}

/// The open loop's end of it: owns the tasks that speak.
struct Speakers {
    live: Arc<Live>,
    tasks: Mutex<JoinSet<()>>,
}

pub(super) async fn run(run: &mut Run<'_>) -> Result<Report, Error> {
    let options = run.options;
    let live = Arc::new(Live::new(run.clock, options));
    let (fleet, logins) = run.log_in(&live).await?;
    let clients = logins.all()?;
    let clients = live.clients.get_or_init(|| clients);
    live.create(&clients[0]).await?;
    let quiet = match options.chat_rate {
        0 => None,
        _ => Some(pairs(run, "quiet", options.quiet).await?),
    };
    let joined = join_all(&live, run).await?;

    let left_out = left_out(options).await;
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
    open_loop.drain(&speakers, &mut stop).await;
    let left_out = self::left_out(options).await.zip(left_out).map(|(now, then)| now.saturating_sub(then));
    drop(speakers);
    fleet.close(false, &mut run.stop, run.progress).await;

    let mut state = live.lock();
    let seconds = report.duration_s;
    state.fill(&mut report, left_out, joined, seconds);
    if let Some(live) = &mut report.live {
        let p99 = |report: &Option<Report>| report.as_ref().and_then(|report| report.latency_ms.p99);
        live.chat_ratio = p99(&busy).zip(p99(&quiet)).map(|(busy, quiet)| rounded(busy / quiet));
        let unclean = [&quiet, &busy].into_iter().flatten().find(|report| !report.is_clean());
        live.chat_clean = busy.as_ref().map(|_| unclean.is_none());
        live.chat_quiet_ms = quiet.map(|report| report.latency_ms).unwrap_or_default();
        live.chat_busy_ms = busy.map(|report| report.latency_ms).unwrap_or_default();
    }
    Ok(report)
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

/// All clients join, at the rate that was asked for. Returns how long it took, and the time of a join.
async fn join_all(live: &Arc<Live>, run: &mut Run<'_>) -> Result<(Duration, Quantiles), Error> {
    let count = run.options.connections as usize;
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
    Ok((begun.elapsed(), latency.quantiles()))
}

/// What the server's edge has left out for slow readers so far, if it is asked for.
async fn left_out(options: &Options) -> Option<u64> {
    match options.ops {
        Some(ops) => ops::left_out(ops).await,
        None => None,
    }
}

impl Live {
    fn new(clock: Clock, options: &Options) -> Self {
        let members = std::iter::repeat_with(Member::default).take(options.connections as usize).collect();
        Self {
            clock,
            run: RandomState::new().hash_one(std::process::id()),
            room: format!("{}-room", options.users),
            text_bytes: options.text_bytes(),
            classes: options.live_classes(),
            clients: OnceLock::new(),
            state: Mutex::new(State {
                members,
                ledger: Ledger::default(),
                latency: Latency::new(),
                window: (u64::MAX, u64::MAX),
                offered: 0,
                said: [0; Class::COUNT],
                waiting: 0,
                failed: 0,
                unexpected: 0,
                deliveries: 0,
                sessions: Sessions::new(options.connections as usize),
                first_error: None,
            }),
            settled: Notify::new(),
        }
    }

    /// No holder leaves the books half written, so poison says nothing about them.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes the room, unless it is there from an earlier run.
    async fn create(&self, client: &Client) -> Result<(), Error> {
        let create = GroupCreate {
            r#type: "AVChatRoom".into(),
            name: "load".into(),
            group: self.room.clone(),
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
        let joined = client.join_live_room(&self.room).await.map_err(|error| error.to_string())?;
        let took = begun.elapsed();
        let counts = joined.counts.unwrap_or_default();
        let state = &mut *self.lock();
        state.members[index].begin(&counts);
        state.ledger.hear(&counts);
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
        let payload = Payload { run: self.run, sender: class.id(), counter, due_ns };
        let sending = SendOptions { priority, ..SendOptions::default() };
        let content = text(payload.encode(self.text_bytes));
        let said = clients[speaker].send_with(group(self.room.clone()), content, sending).await;
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

    fn heard(&self, index: usize, frame: &LiveFrame) {
        let now_ns = self.clock.now_ns();
        let state = &mut *self.lock();
        let Some(counts) = &frame.counts else { return };
        let spoken = self.read(frame);
        let class = match (&frame.delivery, spoken) {
            (None, _) => Class::System,
            (Some(_), Some(payload)) => Class::of(payload.sender),
            (Some(_), None) => {
                state.unexpected += 1;
                return;
            }
        };
        if let Some(payload) = spoken {
            state.deliveries += 1;
            if (state.window.0..state.window.1).contains(&payload.due_ns) {
                state.latency.record(Duration::from_nanos(now_ns.saturating_sub(payload.due_ns)));
            }
        }
        state.members[index].take(class, spoken.map(|payload| payload.counter), counts);
        state.ledger.hear(counts);
        if state.waiting == 0 {
            self.look(state);
        }
    }

    fn read(&self, frame: &LiveFrame) -> Option<Payload> {
        Payload::decode(text_of(frame)?, self.run, self.text_bytes).ok()
    }

    fn look(&self, state: &mut State) {
        if state.is_settled() {
            self.settled.notify_waiters();
        }
    }
}

impl State {
    /// Everything that was said is answered and counted by the room, and nobody misses any of it.
    fn is_settled(&mut self) -> bool {
        let counted =
            Class::ALL[1..].iter().all(|class| self.ledger.taken(*class) >= self.said[class.index()]);
        self.waiting == 0 && counted && self.ledger.is_complete(&self.members)
    }

    fn fill(
        &mut self,
        report: &mut Report,
        left_out: Option<u64>,
        (joining, join_ms): (Duration, Quantiles),
        seconds: f64,
    ) {
        let books = self.ledger.close(&self.members);
        let said: u64 = self.said.iter().sum();
        // What the room did not count of what it took from a sender would be lost, too.
        let uncounted: u64 = Class::ALL[1..]
            .iter()
            .map(|class| self.said[class.index()].abs_diff(self.ledger.taken(*class)))
            .sum();
        report.sent = Some(self.offered);
        report.acked = Some(said);
        report.delivered = Some(self.deliveries);
        report.lost = Some(books.missing.saturating_sub(left_out.unwrap_or(0)) + uncounted);
        report.duplicated = Some(books.duplicated);
        report.reordered = Some(books.reordered);
        report.latency_ms = self.latency.quantiles();
        report.error_counts.failed = self.failed;
        report.error_counts.unanswered = self.waiting;
        report.error_counts.unexpected = self.unexpected;
        self.sessions.fill(report);
        // What was said until a member was back has passed it by, so each is one too many.
        report.error_counts.sessions = self.sessions.lost();
        report.errors = report.error_counts.total();
        report.first_error =
            self.first_error.take().or_else(|| self.sessions.first_loss().map(str::to_owned));
        let (taken, folded) = self.ledger.since();
        let joins_per_s = self.members.len() as f64 / joining.as_secs_f64();
        report.live = Some(LiveRoom {
            joins_per_s: Some(rounded(joins_per_s)),
            join_ms,
            taken,
            folded,
            left_out,
            missing: books.missing,
            deliveries_per_s: (seconds > 0.0).then(|| rounded(self.deliveries as f64 / seconds)),
            ..LiveRoom::default()
        });
    }
}

fn no_room(why: &str) -> Error {
    Error::Start(std::io::Error::other(why.to_owned()))
}

impl Listener for Live {
    fn event(&self, index: usize, event: Event) {
        match event {
            Event::Live { frame, .. } if frame.room == self.room => self.heard(index, &frame),
            Event::Live { .. } => {}
            Event::LiveLeft { failure, .. } => {
                let state = &mut *self.lock();
                state.failed += 1;
                state.first_error.get_or_insert_with(|| format!("cannot go back: {failure}"));
            }
            event => self.lock().sessions.event(index, &event, self.clock.now_ns()),
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
        self.live.lock().window = (from_ns, until_ns);
    }

    fn done(&self) -> u64 {
        self.live.lock().said.iter().sum()
    }

    fn is_settled(&self) -> bool {
        self.live.lock().is_settled()
    }

    fn settled(&self) -> &Notify {
        &self.live.settled
    }

    fn status(&self) -> String {
        let state = self.live.lock();
        format!("{} heard", state.deliveries)
    }
}
