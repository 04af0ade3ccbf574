//! Members of a live room without the SDK: a few threads that drive thousands of connections each.
//!
//! The SDK has three tasks for a client (a QUIC connection, a driver, a reader), and with twenty thousand of them a message spends most of
//! its time on the way from one to the next: 35 µs of CPU for each delivery, more than twice what the server takes. A tool that
//! costs more than what it measures measures itself. Here a thread has a share of the members, a few sockets and nothing else: it reads
//! a batch of datagrams, and each goes through quinn-proto, the session (`nearport-session`, which the SDK runs, too) and
//! into the books in one pass.
//!
//! What these members are not: no race of transports, no outbox, no user log, no second copies on lossy paths, and after the first lost session
//! each comes back once. On the wire they show what the SDK shows: the same handshake, transport parameters, hello, streams and
//! heartbeats. Their threads have a lower priority than everything else: when the CPU is short they wait, which shows in the latencies
//! of the room, and not in those of the server or of the pairs.

mod agenda;
mod link;
mod part;
mod pipes;
mod thread;

use std::io;
use std::net::SocketAddr;
use std::ops::Range;
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use bytes::Bytes;
use nearport_session::Closing;
use nearport_wire::body::LiveCounts;
use tokio::sync::Notify;

use crate::Error;
use crate::latency::Latency;
use crate::options::Credentials;
use crate::progress::{Progress, REFRESH};
use crate::stop::Stop;
use part::Part;
use thread::{Inbox, Order, lock};

/// What is told of the members of one thread, from that thread. `member` counts from the thread's first.
pub(crate) trait Witness: Send + 'static {
    /// Logged in, for the first time or again.
    fn connected(&mut self, member: usize);

    /// The session has ended. It comes back once, unless it is `for_good`.
    fn lost(&mut self, member: usize, closing: &Closing, for_good: bool);

    /// In the room, which stands at `counts`; `first`: and was not before.
    fn joined(&mut self, member: usize, counts: &LiveCounts, first: bool);

    /// A frame of a room came: an encoded `LiveFrame`.
    fn heard(&mut self, member: usize, body: &Bytes);

    /// Something that must not happen.
    fn failed(&mut self, reason: String);
}

/// What all members have in common.
#[derive(Debug)]
pub(crate) struct Plan {
    /// The edge, or a relay before it.
    pub(crate) server: SocketAddr,
    /// Name in its certificate.
    pub(crate) server_name: String,
    pub(crate) quic: quinn_proto::ClientConfig,
    /// Whether the clients take datagrams.
    pub(crate) datagrams: bool,
    pub(crate) credentials: Arc<Credentials>,
    /// What the users' names begin with.
    pub(crate) users: String,
    /// The request that joins the room: an encoded `GroupCall`.
    pub(crate) join: Vec<u8>,
    pub(crate) login_timeout: Duration,
    /// Log-ins, and later good-byes, under way at once, over all threads; and joins.
    pub(crate) logins_max: usize,
    pub(crate) joins_max: usize,
}

/// What happened in a turn.
#[derive(Debug, Default)]
struct News {
    logins: Steps,
    joins: Steps,
    /// Said good-bye, or had nothing to say it on.
    left: usize,
}

/// Members that took a step.
#[derive(Debug, Default)]
struct Steps {
    took: Vec<Duration>,
    failed: usize,
    first_failure: Option<String>,
}

impl Steps {
    fn fail(&mut self, why: impl FnOnce() -> String) {
        self.failed += 1;
        self.first_failure.get_or_insert_with(why);
    }
}

/// Members that have taken a step so far.
#[derive(Debug, Clone)]
pub(crate) struct Count {
    pub(crate) done: usize,
    pub(crate) failed: usize,
    pub(crate) first_failure: Option<String>,
    pub(crate) latency: Latency,
    /// From the order to the last of them.
    pub(crate) took: Duration,
}

impl Count {
    fn new() -> Self {
        Self { done: 0, failed: 0, first_failure: None, latency: Latency::new(), took: Duration::ZERO }
    }

    fn add(&mut self, steps: Steps) {
        self.done += steps.took.len();
        self.failed += steps.failed;
        self.first_failure = self.first_failure.take().or(steps.first_failure);
        steps.took.into_iter().for_each(|took| self.latency.record(took));
    }
}

/// How far all threads are.
#[derive(Debug)]
struct Board {
    state: Mutex<Standing>,
    changed: Notify,
}

#[derive(Debug)]
struct Standing {
    logins: Count,
    joins: Count,
    left: usize,
    /// By thread.
    cpu: Vec<Duration>,
    /// Threads that have ended, and what of.
    ended: usize,
    error: Option<io::Error>,
}

impl Board {
    fn new(threads: usize) -> Self {
        let cpu = vec![Duration::ZERO; threads];
        let (logins, joins) = (Count::new(), Count::new());
        let state = Standing { logins, joins, left: 0, cpu, ended: 0, error: None };
        Self { state: Mutex::new(state), changed: Notify::new() }
    }

    fn tell(&self, news: News) {
        let News { logins, joins, left } = news;
        if logins.took.is_empty() && joins.took.is_empty() && logins.failed + joins.failed + left == 0 {
            return;
        }
        let state = &mut *lock(&self.state);
        state.logins.add(logins);
        state.joins.add(joins);
        state.left += left;
        self.changed.notify_one();
    }

    fn tell_cpu(&self, thread: usize, cpu: Duration) {
        lock(&self.state).cpu[thread] = cpu;
    }

    fn ended(&self, error: Option<io::Error>) {
        let state = &mut *lock(&self.state);
        state.ended += 1;
        state.error = state.error.take().or(error);
        self.changed.notify_one();
    }
}

/// The members, on their threads. Dropped, they are gone without a word.
#[derive(Debug)]
pub(crate) struct Crowd {
    members: usize,
    board: Arc<Board>,
    threads: Vec<(usize, Arc<Inbox>, JoinHandle<()>)>,
}

impl Crowd {
    /// Starts a thread for each of `parts`: the numbers of its members among all, and who is told of them. `sockets`: over all threads.
    ///
    /// # Errors
    /// The operating system gives no sockets, or no threads.
    pub(crate) fn start<W: Witness>(
        plan: &Arc<Plan>,
        parts: Vec<(Range<usize>, Arc<Mutex<W>>)>,
        sockets: usize,
    ) -> io::Result<Self> {
        let (count, members) = (parts.len(), parts.iter().map(|(members, _)| members.len()).sum());
        let board = Arc::new(Board::new(count));
        let mut crowd = Self { members, board, threads: Vec::new() };
        for (index, (members, witness)) in parts.into_iter().enumerate() {
            let pipes = sockets.div_ceil(count).clamp(1, members.len().clamp(1, usize::from(u16::MAX)));
            let sockets = (0..pipes).map(|_| pipes::bind(plan.server)).collect::<io::Result<Vec<_>>>()?;
            let (inbox, board) = (Arc::new(Inbox::new()?), Arc::clone(&crowd.board));
            let (len, orders, plan) = (members.len(), Arc::clone(&inbox), Arc::clone(plan));
            let work = move || {
                let part = Part::new(plan, members, pipes, count, Instant::now());
                thread::run(part, &sockets, &witness, &board, &orders, index)
            };
            let thread = std::thread::Builder::new().name(format!("load-crowd-{index}")).spawn(work)?;
            crowd.threads.push((len, inbox, thread));
        }
        Ok(crowd)
    }

    /// CPU time of the threads so far, as of a tenth of a second ago.
    pub(crate) fn cpu(&self) -> Duration {
        lock(&self.board.state).cpu.iter().sum()
    }

    /// Everybody logs in. Returns when each has succeeded or failed.
    ///
    /// # Errors
    /// [`Error::Interrupted`], or [`Error::Start`] if a thread has ended.
    pub(crate) async fn log_in(&self, stop: &mut Stop, progress: &Progress) -> Result<Count, Error> {
        progress.begin("logins", self.members as u64);
        self.order(|_| Order::LogIn);
        self.wait(|state| (state.logins.done + state.logins.failed, Some(&state.logins)), (stop, 1), progress)
            .await
    }

    /// Everybody joins the room, `rate` in a second, or as fast as the server answers if that is 0. Returns when each has succeeded or
    /// failed.
    ///
    /// # Errors
    /// As [`Self::log_in`].
    pub(crate) async fn join(&self, rate: u32, stop: &mut Stop, progress: &Progress) -> Result<Count, Error> {
        progress.begin("joins", self.members as u64);
        let share = |members: usize| f64::from(rate) * members as f64 / self.members as f64;
        self.order(|members| Order::Join((rate > 0).then(|| share(members))));
        self.wait(|state| (state.joins.done + state.joins.failed, Some(&state.joins)), (stop, 1), progress)
            .await
    }

    /// Everybody says good-bye. Returns when each has, or at the second wish to stop.
    pub(crate) async fn leave(self, stop: &mut Stop, progress: &Progress) {
        progress.begin("good-byes", self.members as u64);
        self.order(|_| Order::Leave);
        // A thread that has ended has nobody left; what its members lack stands in the books.
        let _ = self.wait(|state| (state.left, None), (stop, 2), progress).await;
    }

    fn order(&self, order: impl Fn(usize) -> Order) {
        self.threads.iter().for_each(|(members, inbox, _)| inbox.order(order(*members)));
    }

    /// Waits until all members have done what `look` counts.
    async fn wait(
        &self,
        look: impl Fn(&Standing) -> (usize, Option<&Count>),
        (stop, times): (&mut Stop, u32),
        progress: &Progress,
    ) -> Result<Count, Error> {
        let begun = Instant::now();
        loop {
            {
                let mut state = lock(&self.board.state);
                let (done, count) = look(&state);
                progress.set(done as u64, String::new());
                if done >= self.members {
                    let count = count.cloned().unwrap_or_else(Count::new);
                    return Ok(Count { took: begun.elapsed(), ..count });
                }
                if state.ended > 0 {
                    let ended = || io::Error::other("a thread of the members has ended");
                    return Err(Error::Start(state.error.take().unwrap_or_else(ended)));
                }
            }
            tokio::select! {
                biased;
                () = stop.asked(times) => return Err(Error::Interrupted),
                () = self.board.changed.notified() => {}
                () = tokio::time::sleep(REFRESH) => {}
            }
        }
    }
}

impl Drop for Crowd {
    fn drop(&mut self) {
        self.order(|_| Order::Quit);
        for (_, _, thread) in self.threads.drain(..) {
            // It only fails if the thread panicked, which has printed its message.
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_thread_that_cannot_go_on_says_why() {
        let board = Arc::new(Board::new(1));
        let crowd = Crowd { members: 5, board: Arc::clone(&board), threads: Vec::new() };
        board.ended(Some(io::Error::other("no descriptor is left")));
        let mut tasks = tokio::task::JoinSet::new();
        let mut stop = Stop::on_ctrl_c(&mut tasks);
        let error = crowd.log_in(&mut stop, &Progress::hidden()).await.unwrap_err();
        assert!(format!("{error:?}").contains("no descriptor is left"), "{error:?}");
    }
}
