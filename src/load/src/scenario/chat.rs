//! `chat`: users in pairs write to each other, and every message is accounted for from the time it was due to its
//! display on the other user's device.
//!
//! The clients come back by themselves, so a server that dies and returns during the run costs latency, not errors:
//! what counts is what became of each message in the end. `weak`, `roam` and `storm` are this conversation on a bad network,
//! from changing addresses, and with a server that is killed.

use std::collections::BTreeMap;
use std::hash::{BuildHasher as _, RandomState};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use nearport_client::{Client, Event, Message, MsgId, PostError, text, user};
use tokio::sync::Notify;

use crate::Error;
use crate::clock::Clock;
use crate::fleet::{Listener, user_name};
use crate::open_loop::Target;
use crate::ops;
use crate::options::{Options, Scenario};
use crate::payload::{NotOurs, Payload};
use crate::relay::Relay;
use crate::report::{Report, Roam};
use crate::scenario::books::{Books, Waiting};
use crate::scenario::storm::{LoginCost, Returns, Strike};
use crate::scenario::{Run, roam, storm};
use crate::tally::Arrival;

/// The conversation of all pairs.
struct Chat {
    clock: Clock,
    /// Tells this run's messages from those of others.
    run: u64,
    text_bytes: usize,
    users: String,
    /// Clients are to come back after the server's death.
    is_storm: bool,
    /// Set once all are logged in.
    clients: OnceLock<Vec<Client>>,
    state: Mutex<State>,
    settled: Notify,
}

struct State {
    books: Books,
    /// By sender: messages that the client has and that have no outcome yet, with their counters.
    in_flight: Vec<BTreeMap<MsgId, u64>>,
    /// Since the server died.
    returns: Option<Returns>,
}

/// Users 0 and 1 write to each other, 2 and 3, and so on.
fn partner(index: usize) -> usize {
    index ^ 1
}

pub(super) async fn run(run: &mut Run<'_>) -> Result<Report, Error> {
    let (options, clock) = (run.options, run.clock);
    let chat = Arc::new(Chat::new(clock, options));
    let cost = LoginCost::begin(run);
    let (fleet, logins) = run.log_in(&chat).await?;
    let login_cpu_us = cost.end(run, &logins);
    let clients = logins.all()?;
    let clients = chat.clients.get_or_init(|| clients);

    let forwarded = handed_over(options).await;
    // In `roam`: not before, as no handshake survives a change of address (RFC 9000 §9).
    run.relay.iter().for_each(Relay::forget);
    let open_loop = run.open_loop();
    let mut stop = run.stop.clone();
    let mut rounds = 0;
    let (window, mut struck) = {
        let offer = open_loop.offer_all(&*chat, &mut stop);
        let strike = storm::strike(run, || chat.server_died());
        let walk = roam::walk(options, fleet.networks(), &mut rounds);
        let notice = storm::notice(options, clients);
        tokio::pin!(offer, strike, walk, notice);
        let mut struck: Option<Strike> = None;
        let mut look = tokio::time::interval(storm::LOOK);
        let window = loop {
            tokio::select! {
                window = &mut offer => break window?,
                strike = &mut strike, if struck.is_none() => struck = Some(strike?),
                () = &mut notice, if struck.is_some() => {}
                _ = look.tick(), if struck.as_ref().is_some_and(Strike::is_open) => {
                    if let Some(struck) = struck.as_mut().filter(|_| chat.all_back()) {
                        struck.close();
                    }
                }
                moved = &mut walk => moved?,
            }
        };
        (window, struck)
    };
    let mut report = run.report(&logins, &window);
    open_loop.drain(&*chat, &mut stop).await;
    let forwarded = handed_over(options).await.zip(forwarded).map(|(now, then)| now.saturating_sub(then));
    let complaint = struck.as_mut().and_then(Strike::complaint);
    fleet.close(true, &mut run.stop, run.progress).await;

    {
        let mut state = chat.lock();
        let State { books, returns, .. } = &mut *state;
        books.fill(&mut report, clock.now_ns());
        let counts = books.tally.counts();
        report.lost = Some(counts.lost);
        report.duplicated = Some(counts.duplicated);
        report.reordered = Some(counts.reordered);
        match options.scenario {
            Scenario::Roam => {
                report.roam = Some(Roam {
                    rebinds: options.rebinds,
                    rebinds_min: rounds, // a relay knows better, once it has ended
                    survived: books.sessions.survived(),
                    handed_over: forwarded,
                });
            }
            Scenario::Storm => {
                let clients = u64::from(options.connections);
                report.storm = Some(storm::report(clients, returns.as_ref(), struck.as_ref(), login_cpu_us));
            }
            _ => {}
        }
    }
    report.first_error = complaint.or(report.first_error);
    if let Some(struck) = struck {
        struck.end().await;
    }
    Ok(report)
}

/// Datagrams that shards gave to each other, if it is asked for.
async fn handed_over(options: &Options) -> Option<u64> {
    match options.ops {
        Some(ops) => ops::handed_over(ops).await,
        None => None,
    }
}

impl Chat {
    fn new(clock: Clock, options: &Options) -> Self {
        let clients = options.connections as usize;
        let in_flight = std::iter::repeat_with(BTreeMap::new).take(clients).collect();
        Self {
            clock,
            run: RandomState::new().hash_one(std::process::id()),
            text_bytes: options.text_bytes(),
            users: options.users.clone(),
            is_storm: options.scenario == Scenario::Storm,
            clients: OnceLock::new(),
            state: Mutex::new(State { books: Books::new(clients), in_flight, returns: None }),
            settled: Notify::new(),
        }
    }

    fn user_name(&self, index: usize) -> String {
        user_name(&self.users, index)
    }

    /// No holder leaves the books half written, so poison says nothing about them.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// From now on clients come back.
    fn server_died(&self) {
        let mut state = self.lock();
        state.returns = Some(Returns::new(state.in_flight.len(), self.clock.now_ns()));
    }

    fn all_back(&self) -> bool {
        self.lock().returns.as_ref().is_some_and(Returns::all_back)
    }

    fn watch_return(&self, state: &mut State, index: usize, event: &Event, now_ns: u64) {
        // Killed by hand: the first session that is lost tells.
        let lost = matches!(event, Event::Disconnected { .. });
        if lost && state.returns.is_none() && self.clients.get().is_some() {
            state.returns = Some(Returns::new(state.in_flight.len(), now_ns));
        }
        if let Some(returns) = &mut state.returns {
            returns.event(index, event, now_ns);
        }
    }

    /// Whether nothing is missing: no message, and no client after the server's death.
    fn rests(&self, state: &State) -> bool {
        state.books.tally.is_settled() && state.returns.as_ref().is_none_or(Returns::all_back)
    }

    /// Hands a message to its client. `false`: the client's outbox is full.
    fn post(&self, state: &mut State, sender: usize, message: Waiting) -> bool {
        let Waiting { counter, due_ns } = message;
        let Some(client) = self.clients.get().and_then(|clients| clients.get(sender)) else { return false };
        let payload = Payload { run: self.run, sender: sender as u64, counter, due_ns };
        let content = text(payload.encode(self.text_bytes));
        match client.post(user(self.user_name(partner(sender))), content) {
            Ok(id) => {
                state.in_flight[sender].insert(id, counter);
                state.books.posted(sender, message, self.clock.now_ns());
            }
            Err(PostError::QueueFull(_)) => return false,
            Err(error) => state.books.give_up(sender, counter, || format!("message not taken: {error}")),
        }
        true
    }

    /// An outcome makes room: what waits goes out in its order.
    fn feed(&self, state: &mut State, sender: usize) {
        while let Some(message) = state.books.front(sender) {
            if !self.post(state, sender, message) {
                return;
            }
            state.books.pop(sender);
        }
    }

    fn sent(&self, state: &mut State, sender: usize, id: MsgId) {
        let acked =
            state.in_flight[sender].remove(&id).and_then(|counter| state.books.tally.ack(sender, counter));
        match acked {
            Some(due_ns) => state.books.acked(due_ns, self.clock.now_ns()),
            None => state.books.unexpected(|| format!("acknowledgement of {id}, which waits for none")),
        }
    }

    fn shown(&self, state: &mut State, receiver: usize, message: &Message) {
        let books = &mut state.books;
        let payload = match Payload::decode(&message.text(), self.run, self.text_bytes) {
            Ok(payload) => payload,
            Err(NotOurs::Foreign) => return books.foreign(),
            Err(NotOurs::Damaged) => {
                return books.unexpected(|| format!("damaged message at {}", self.user_name(receiver)));
            }
        };
        let sender = partner(receiver);
        if payload.sender != sender as u64 || message.from != self.user_name(sender) {
            return books.unexpected(|| {
                format!("message {payload:?} from {} shown at {}", message.from, self.user_name(receiver))
            });
        }
        match books.tally.deliver(sender, payload.counter) {
            Arrival::First { due_ns } if due_ns == payload.due_ns => {
                books.arrived(due_ns, self.clock.now_ns());
            }
            Arrival::First { .. } | Arrival::Unknown => {
                books.unexpected(|| format!("message {payload:?}, which nobody sent"));
            }
            Arrival::Duplicate => {}
        }
    }
}

impl Listener for Chat {
    fn event(&self, index: usize, event: Event) {
        let mut state = self.lock();
        let state = &mut *state;
        let now_ns = self.clock.now_ns();
        state.books.session_event(index, &event, now_ns);
        if self.is_storm {
            self.watch_return(state, index, &event, now_ns);
        }
        match event {
            Event::Message(message) => self.shown(state, index, &message),
            Event::Sent { id, .. } => {
                self.sent(state, index, id);
                self.feed(state, index);
            }
            Event::Failed { id, failure } => {
                match state.in_flight[index].remove(&id) {
                    Some(counter) => {
                        state.books.give_up(index, counter, || format!("message failed: {failure}"));
                    }
                    None => state.books.unexpected(|| format!("failure of {id}, which waits for nothing")),
                }
                self.feed(state, index);
            }
            Event::Transient(_) => state.books.foreign(),
            _ => {}
        }
        if self.rests(state) {
            self.settled.notify_waiters();
        }
    }

    fn flush_failed(&self, index: usize, reason: String) {
        self.lock().books.flush_failed(|| format!("flush of {}: {reason}", self.user_name(index)));
    }
}

impl Target for Chat {
    fn offer(&self, sender: usize, due_ns: u64) {
        let mut state = self.lock();
        let state = &mut *state;
        let counter = state.books.schedule(sender, due_ns);
        let message = Waiting { counter, due_ns };
        if state.books.has_backlog(sender) || !self.post(state, sender, message) {
            state.books.hold_back(sender, message);
        }
    }

    fn measure(&self, from_ns: u64, until_ns: u64) {
        self.lock().books.measure(from_ns..until_ns);
    }

    fn done(&self) -> u64 {
        self.lock().books.tally.acked()
    }

    fn is_settled(&self) -> bool {
        self.rests(&self.lock())
    }

    fn settled(&self) -> &Notify {
        &self.settled
    }

    fn status(&self) -> String {
        self.lock().books.status()
    }
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, UdpSocket};
    use std::time::Duration;

    use nearport_client::{CloseCode, Config, Failure, Network, NetworkConfig, Sent};

    use super::*;

    /// Two clients of a server that never answers: nothing moves but what a test tells.
    fn chat() -> (UdpSocket, Chat) {
        let silent = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = silent.local_addr().unwrap();
        let certified = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let network = NetworkConfig::from_ca_pem(certified.cert.pem().as_bytes()).unwrap();
        let network = Network::new(network).unwrap();
        let client = |index| {
            Client::connect(&network, Config::new(address, "localhost", 1, user_name("load", index), "sig"))
        };
        let options = Options { connections: 2, message_bytes: 100, ..Options::new(Scenario::Chat) };
        let chat = Chat::new(Clock::start(), &options);
        chat.clients.set(vec![client(0), client(1)]).unwrap();
        (silent, chat)
    }

    fn ids(chat: &Chat, sender: usize) -> Vec<MsgId> {
        chat.lock().in_flight[sender].keys().copied().collect()
    }

    fn message(chat: &Chat, sender: usize, counter: u64, due_ns: u64) -> Message {
        let payload = Payload { run: chat.run, sender: sender as u64, counter, due_ns };
        Message {
            position: 1,
            seq: 1,
            time_ms: 1,
            from: user_name("load", sender),
            to: Some(user(user_name("load", partner(sender)))),
            content: text(payload.encode(chat.text_bytes)),
            msg_key: String::new(),
            client_msg_id: Vec::new(),
            ..Message::default()
        }
    }

    fn report(chat: &Chat) -> Report {
        let mut report = Report::new(&crate::Options::new(crate::Scenario::Chat));
        chat.lock().books.fill(&mut report, 0);
        report
    }

    #[tokio::test]
    async fn what_a_full_outbox_does_not_take_waits_in_order_and_counts_as_never_sent() {
        let (_silent, chat) = chat();
        for due_ns in 0..1_100 {
            chat.offer(0, due_ns);
        }
        chat.offer(1, 5);
        assert_eq!(ids(&chat, 0).len(), 1_000, "the SDK's default outbox");
        assert_eq!(ids(&chat, 1).len(), 1, "the other sender is not held up");
        assert_eq!(chat.lock().books.front(0), Some(Waiting { counter: 1_000, due_ns: 1_000 }));
        let report = report(&chat);
        assert_eq!((report.sent, report.errors), (Some(1_001), 1_101));
        assert_eq!((report.error_counts.never_sent, report.error_counts.unanswered), (100, 1_001));
    }

    #[tokio::test]
    async fn a_new_message_does_not_overtake_one_that_waits() {
        let (_silent, chat) = chat();
        {
            let mut state = chat.lock();
            for due_ns in 0..3 {
                let counter = state.books.tally.schedule(0, due_ns);
                state.books.hold_back(0, Waiting { counter, due_ns });
            }
        }
        chat.offer(0, 3);
        assert!(ids(&chat, 0).is_empty());
        chat.feed(&mut chat.lock(), 0);
        let in_order: Vec<u64> = chat.lock().in_flight[0].values().copied().collect();
        assert_eq!(in_order, [0, 1, 2, 3], "the client's ids rise in the order of posting");
        assert!(!chat.lock().books.has_backlog(0));
    }

    #[tokio::test]
    async fn what_comes_back_is_matched_with_what_went_out() {
        let (_silent, chat) = chat();
        chat.offer(0, 7);
        chat.offer(1, 9);
        let (first, second) = (ids(&chat, 0)[0], ids(&chat, 1)[0]);
        let sent = || Sent { seq: 1, time_ms: 1, msg_key: String::new(), duplicate: false };
        chat.event(1, Event::Message(message(&chat, 0, 0, 7)));
        chat.event(0, Event::Sent { id: first, sent: sent() });
        assert!(!chat.is_settled());
        chat.event(1, Event::Failed { id: second, failure: Failure::Expired });
        assert!(chat.is_settled());
        assert_eq!(report(&chat).error_counts.failed, 1);
        chat.event(0, Event::Message(message(&chat, 1, 0, 9)));
        let clean = report(&chat);
        assert_eq!((clean.errors, clean.acked, clean.delivered), (0, Some(1), Some(2)));

        // None of these belongs to anything.
        chat.event(0, Event::Sent { id: first, sent: sent() });
        chat.event(0, Event::Failed { id: second, failure: Failure::Expired });
        chat.event(0, Event::Message(message(&chat, 0, 0, 7))); // at its sender
        chat.event(1, Event::Message(message(&chat, 0, 1, 7))); // never sent
        chat.event(1, Event::Message(Message { from: "eve".into(), ..message(&chat, 0, 0, 7) }));
        let mut damaged = message(&chat, 0, 0, 7);
        damaged.content = text(format!("{}y", damaged.text()));
        chat.event(1, Event::Message(damaged));
        assert_eq!(report(&chat).error_counts.unexpected, 6);

        chat.event(1, Event::Message(Message { content: text("hi"), ..message(&chat, 0, 0, 7) }));
        assert_eq!(report(&chat).foreign, 1);
        chat.event(0, Event::Stopped { code: CloseCode::KICKED, reason: "elsewhere".into() });
        chat.flush_failed(1, "no answer".into());
        let errors = report(&chat).error_counts;
        assert_eq!((errors.sessions, errors.flushes, errors.total()), (1, 1, 8));
    }

    #[tokio::test]
    async fn latency_runs_from_the_intended_time_within_the_window() {
        let (_silent, chat) = chat();
        let long_ago = 1_000;
        chat.measure(long_ago, long_ago + 1);
        chat.offer(0, long_ago - 1);
        chat.offer(0, long_ago);
        let now = chat.clock.instant(0) + Duration::from_nanos(long_ago);
        for (counter, id) in (0..).zip(ids(&chat, 0)) {
            chat.event(1, Event::Message(message(&chat, 0, counter, long_ago - 1 + counter)));
            let sent = Sent { seq: 1, time_ms: 1, msg_key: String::new(), duplicate: false };
            chat.event(0, Event::Sent { id, sent });
        }
        let report = report(&chat);
        let at_most = now.elapsed().as_secs_f64() * 1e3 + 1.0;
        for quantiles in [report.latency_ms, report.ack_ms, report.send_lag_ms] {
            assert!(quantiles.max.unwrap() <= at_most, "from the intended time, no earlier");
            assert_eq!(quantiles.p50, quantiles.max, "one message of the two");
        }
    }
}
