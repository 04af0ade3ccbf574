//! `echo`: requests that the `echo` backend answers on the shard's own thread. What is measured is the edge, the
//! transport and the SDK, without storage.

use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use bytes::Bytes;
use nearport_client::{Client, Event, Kind, Lane, RequestError};
use tokio::sync::Notify;
use tokio::task::JoinSet;

use crate::Error;
use crate::clock::Clock;
use crate::fleet::Listener;
use crate::open_loop::Target;
use crate::payload::Payload;
use crate::report::Report;
use crate::scenario::Run;
use crate::scenario::books::{Books, Waiting};

/// Requests of one client under way at once; what is due beyond waits in the load tool. The SDK's own bound
/// (`Limits::requests_max`).
const REQUESTS_MAX: u32 = 64;

/// All clients and their books.
struct Echo {
    clock: Clock,
    text_bytes: usize,
    clients: OnceLock<Vec<Client>>,
    state: Mutex<State>,
    settled: Notify,
}

struct State {
    books: Books,
    /// Requests under way, by client.
    under_way: Vec<u32>,
}

/// The open loop's end of it: owns the tasks of the requests.
struct Requests {
    echo: Arc<Echo>,
    tasks: Mutex<JoinSet<()>>,
}

pub(super) async fn run(run: &mut Run<'_>) -> Result<Report, Error> {
    let echo = Arc::new(Echo::new(run.clock, run.options.connections as usize, run.options.text_bytes()));
    let (fleet, logins) = run.log_in(&echo).await?;
    let clients = logins.all()?;
    probe(&clients[0]).await?;
    echo.clients.get_or_init(|| clients);

    let requests = Requests { echo: Arc::clone(&echo), tasks: Mutex::new(JoinSet::new()) };
    let open_loop = run.open_loop();
    let window = open_loop.offer_all(&requests, &mut run.stop).await?;
    let mut report = run.report(&logins, &window);
    open_loop.drain(&requests, &mut run.stop).await;
    drop(requests);
    fleet.close(false, &mut run.stop, run.progress).await;

    echo.lock().books.fill(&mut report, run.clock.now_ns());
    Ok(report)
}

/// Asks for one echo, so that a server with another backend is found before thousands of requests fail.
async fn probe(client: &Client) -> Result<(), Error> {
    let body = Bytes::from_static(b"is there an echo?");
    match client.request(Lane::Chat, Kind::ECHO, body.clone()).await {
        Ok(reply) if reply == body => Ok(()),
        Ok(_) => Err(Error::NoEcho { answer: "the reply differs from the request".into() }),
        Err(error) => Err(Error::NoEcho { answer: error.to_string() }),
    }
}

impl Echo {
    fn new(clock: Clock, clients: usize, text_bytes: usize) -> Self {
        let state = State { books: Books::new(clients), under_way: vec![0; clients] };
        Self { clock, text_bytes, clients: OnceLock::new(), state: Mutex::new(state), settled: Notify::new() }
    }

    /// No holder leaves the books half written, so poison says nothing about them.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sends `message`, and then what waits behind it, one after the other.
    async fn converse(&self, sender: usize, mut message: Waiting) {
        let Some(client) = self.clients.get().and_then(|clients| clients.get(sender)) else { return };
        loop {
            let Waiting { counter, due_ns } = message;
            let payload = Payload { run: 0, sender: sender as u64, counter, due_ns };
            let body = Bytes::from(payload.encode(self.text_bytes));
            self.lock().books.posted(sender, message, self.clock.now_ns());
            let result = client.request(Lane::Chat, Kind::ECHO, body.clone()).await;
            match self.finish(sender, message, &body, result) {
                Some(next) => message = next,
                None => return,
            }
        }
    }

    /// Writes down the outcome; returns the next message that waits for this client.
    fn finish(
        &self,
        sender: usize,
        message: Waiting,
        body: &Bytes,
        result: Result<Bytes, RequestError>,
    ) -> Option<Waiting> {
        let mut state = self.lock();
        let State { books, under_way } = &mut *state;
        match result {
            Ok(reply) if reply == *body => {
                let now_ns = self.clock.now_ns();
                books.tally.ack(sender, message.counter);
                books.tally.deliver(sender, message.counter);
                books.arrived(message.due_ns, now_ns);
            }
            Ok(_) => {
                books.give_up(sender, message.counter, || "the reply differs from the request".into());
            }
            Err(error) => books.give_up(sender, message.counter, || format!("request failed: {error}")),
        }
        if books.tally.is_settled() {
            self.settled.notify_waiters();
        }
        let next = books.pop(sender);
        under_way[sender] -= u32::from(next.is_none());
        next
    }
}

impl Listener for Echo {
    fn event(&self, index: usize, event: Event) {
        let mut state = self.lock();
        state.books.session_event(index, &event, self.clock.now_ns());
        if matches!(event, Event::Message(_) | Event::Transient(_)) {
            state.books.foreign();
        }
    }
}

impl Target for Requests {
    fn offer(&self, sender: usize, due_ns: u64) {
        let mut state = self.echo.lock();
        let State { books, under_way } = &mut *state;
        let message = Waiting { counter: books.schedule(sender, due_ns), due_ns };
        if under_way[sender] == REQUESTS_MAX {
            return books.hold_back(sender, message);
        }
        under_way[sender] += 1;
        drop(state);
        let mut tasks = self.tasks.lock().unwrap_or_else(PoisonError::into_inner);
        while tasks.try_join_next().is_some() {}
        let echo = Arc::clone(&self.echo);
        tasks.spawn(async move { echo.converse(sender, message).await });
    }

    fn measure(&self, from_ns: u64, until_ns: u64) {
        self.echo.lock().books.measure(from_ns..until_ns);
    }

    fn done(&self) -> u64 {
        self.echo.lock().books.tally.acked()
    }

    fn is_settled(&self) -> bool {
        self.echo.lock().books.tally.is_settled()
    }

    fn settled(&self) -> &Notify {
        &self.echo.settled
    }

    fn status(&self) -> String {
        self.echo.lock().books.status()
    }
}
