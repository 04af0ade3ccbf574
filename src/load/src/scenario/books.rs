//! What `echo` and `chat` write down: the tally, latencies, messages that wait for their client, and errors.

use std::collections::VecDeque;
use std::ops::Range;

use nearport_client::{CloseCode, Event, Transport};

use crate::latency::Latency;
use crate::report::{ErrorCounts, Report};
use crate::tally::Tally;
use crate::timeline::{ByTransport, Timeline};

/// Messages that wait because their client's own queue is full. One more is given up and counted as never sent.
const BACKLOG_MAX: usize = 1_000_000;

/// A message that has not gone out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Waiting {
    pub(super) counter: u64,
    pub(super) due_ns: u64,
}

/// The books of an open loop.
#[derive(Debug)]
pub(super) struct Books {
    pub(super) tally: Tally,
    pub(super) sessions: Sessions,
    timeline: Timeline,
    window: Range<u64>,
    latency: Latency,
    ack: Latency,
    lag: Latency,
    backlogs: Vec<VecDeque<Waiting>>,
    waiting: usize,
    unexpected: u64,
    flushes: u64,
    foreign: u64,
    first_error: Option<String>,
}

impl Books {
    pub(super) fn new(clients: usize) -> Self {
        Self {
            tally: Tally::new(clients),
            sessions: Sessions::new(clients),
            timeline: Timeline::new(),
            window: 0..0,
            latency: Latency::new(),
            ack: Latency::new(),
            lag: Latency::new(),
            backlogs: std::iter::repeat_with(VecDeque::new).take(clients).collect(),
            waiting: 0,
            unexpected: 0,
            flushes: 0,
            foreign: 0,
            first_error: None,
        }
    }

    /// Latencies are kept of messages that are due in this window.
    pub(super) fn measure(&mut self, window: Range<u64>) {
        self.timeline.measure(window.clone());
        self.window = window;
    }

    /// A message of `sender` is due; returns its counter.
    pub(super) fn schedule(&mut self, sender: usize, due_ns: u64) -> u64 {
        self.timeline.due(due_ns);
        self.tally.schedule(sender, due_ns)
    }

    /// Looks at the events that are about sessions.
    pub(super) fn session_event(&mut self, index: usize, event: &Event, now_ns: u64) {
        if let Event::Stopped { code, reason } = event
            && *code != CloseCode::BYE
        {
            self.note(|| format!("client {index} has stopped: {code}: {reason}"));
        }
        let before = (self.sessions.transport(index), self.sessions.reconnects());
        self.sessions.event(index, event, now_ns);
        let after = (self.sessions.transport(index), self.sessions.reconnects());
        if before != after {
            self.timeline.session(before.0, after.0, before.1 != after.1, now_ns);
        }
    }

    /// A message went out at `now_ns`.
    pub(super) fn posted(&mut self, sender: usize, message: Waiting, now_ns: u64) {
        self.tally.post(sender, message.counter);
        if self.window.contains(&message.due_ns) {
            self.lag.record_ns(message.due_ns, now_ns);
        }
    }

    /// A message that was due at `due_ns` was acknowledged.
    pub(super) fn acked(&mut self, due_ns: u64, now_ns: u64) {
        self.timeline.acked(now_ns);
        if self.window.contains(&due_ns) {
            self.ack.record_ns(due_ns, now_ns);
        }
    }

    /// A message that was due at `due_ns` reached its end.
    pub(super) fn arrived(&mut self, due_ns: u64, now_ns: u64) {
        self.timeline.arrived(due_ns, now_ns);
        if self.window.contains(&due_ns) {
            self.latency.record_ns(due_ns, now_ns);
        }
    }

    /// Something came that belongs to nothing.
    pub(super) fn unexpected(&mut self, what: impl FnOnce() -> String) {
        self.unexpected += 1;
        self.note(what);
    }

    /// A message of somebody else.
    pub(super) fn foreign(&mut self) {
        self.foreign += 1;
    }

    pub(super) fn flush_failed(&mut self, reason: impl FnOnce() -> String) {
        self.flushes += 1;
        self.note(reason);
    }

    /// A message comes to nothing.
    pub(super) fn give_up(&mut self, sender: usize, counter: u64, why: impl FnOnce() -> String) {
        self.tally.give_up(sender, counter);
        self.note(why);
    }

    fn note(&mut self, what: impl FnOnce() -> String) {
        self.first_error.get_or_insert_with(what);
    }

    /// Whether messages of `sender` wait: then a new one has to queue behind them.
    pub(super) fn has_backlog(&self, sender: usize) -> bool {
        !self.backlogs[sender].is_empty()
    }

    /// The message waits until its client takes it.
    pub(super) fn hold_back(&mut self, sender: usize, message: Waiting) {
        if self.waiting == BACKLOG_MAX {
            let why = || format!("{BACKLOG_MAX} messages wait for clients whose queues are full");
            return self.give_up(sender, message.counter, why);
        }
        self.waiting += 1;
        self.backlogs[sender].push_back(message);
    }

    /// The oldest message of `sender` that waits.
    pub(super) fn front(&self, sender: usize) -> Option<Waiting> {
        self.backlogs[sender].front().copied()
    }

    /// Takes what [`Self::front`] showed.
    pub(super) fn pop(&mut self, sender: usize) -> Option<Waiting> {
        let message = self.backlogs[sender].pop_front()?;
        self.waiting -= 1;
        Some(message)
    }

    /// For the progress bar.
    pub(super) fn status(&self) -> String {
        let away = match self.sessions.away() {
            0 => String::new(),
            away => format!(", {away} clients away"),
        };
        format!("acknowledged {}{away}", self.tally.acked())
    }

    /// Fills in what every open loop reports.
    pub(super) fn fill(&mut self, report: &mut Report, now_ns: u64) {
        let counts = self.tally.counts();
        report.sent = Some(counts.sent);
        report.acked = Some(counts.acked);
        report.delivered = Some(counts.delivered);
        report.latency_ms = self.latency.quantiles();
        report.ack_ms = self.ack.quantiles();
        report.send_lag_ms = self.lag.quantiles();
        report.latency_curve = self.latency.curve();
        report.timeline = self.timeline.slots(now_ns);
        self.sessions.fill(report);
        report.foreign = self.foreign;
        report.error_counts = ErrorCounts {
            never_sent: counts.never_sent,
            failed: counts.failed,
            unanswered: counts.unanswered,
            unexpected: self.unexpected,
            logins: 0,
            sessions: self.sessions.stopped(),
            flushes: self.flushes,
        };
        report.errors = report.error_counts.total();
        // A message that was given up and arrived all the same is no error; nor are the words about it.
        let first = self.first_error.as_deref().or_else(|| self.sessions.first_loss());
        report.first_error = first.filter(|_| report.errors > 0).map(str::to_owned);
    }
}

/// Which clients are logged in, over what, and how often that changed.
#[derive(Debug)]
pub(super) struct Sessions {
    states: Vec<Session>,
    reconnects: u64,
    lost: u64,
    stopped: u64,
    away: usize,
    away_for: Latency,
    logins: ByTransport,
    first_loss: Option<String>,
    /// By client: whether its session ended.
    ended: Vec<bool>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Session {
    Never,
    Live(Transport),
    Away { since_ns: u64 },
}

impl Sessions {
    pub(super) fn new(clients: usize) -> Self {
        Self {
            states: vec![Session::Never; clients],
            reconnects: 0,
            lost: 0,
            stopped: 0,
            away: 0,
            away_for: Latency::new(),
            logins: ByTransport::default(),
            first_loss: None,
            ended: vec![false; clients],
        }
    }

    /// Looks at the events that are about sessions.
    pub(super) fn event(&mut self, index: usize, event: &Event, now_ns: u64) {
        let state = &mut self.states[index];
        match event {
            Event::Connected { transport, .. } => {
                if let Session::Away { since_ns } = *state {
                    self.reconnects += 1;
                    self.away -= 1;
                    self.away_for.record_ns(since_ns, now_ns);
                }
                *self.logins.of(*transport) += 1;
                *state = Session::Live(*transport);
            }
            Event::Disconnected { code, reason, .. } | Event::Stopped { code, reason } => {
                // Attempts that fail before the first login, or between two, have no session to lose.
                if matches!(state, Session::Live(_)) {
                    *state = Session::Away { since_ns: now_ns };
                    self.away += 1;
                    self.lost += 1;
                    self.ended[index] = true;
                    self.first_loss.get_or_insert_with(|| format!("session ended: {code}: {reason}"));
                }
                self.stopped += u64::from(matches!(event, Event::Stopped { .. }));
            }
            _ => {}
        }
    }

    /// Adds those of other clients, behind these.
    pub(super) fn append(&mut self, other: Self) {
        self.states.extend(other.states);
        self.ended.extend(other.ended);
        self.reconnects += other.reconnects;
        self.lost += other.lost;
        self.stopped += other.stopped;
        self.away += other.away;
        self.away_for.add(&other.away_for);
        self.logins.add(&other.logins);
        self.first_loss = self.first_loss.take().or(other.first_loss);
    }

    /// Fills in what every scenario reports.
    pub(super) fn fill(&self, report: &mut Report) {
        report.reconnects = self.reconnects;
        report.away_ms = self.away_for.quantiles();
        report.logins_by_transport = self.logins;
    }

    /// What carries the session of a client.
    fn transport(&self, index: usize) -> Option<Transport> {
        match self.states[index] {
            Session::Live(transport) => Some(transport),
            Session::Never | Session::Away { .. } => None,
        }
    }

    /// Logins after the first, over all clients.
    pub(super) fn reconnects(&self) -> u64 {
        self.reconnects
    }

    /// Sessions that ended, whether or not their client came back.
    pub(super) fn lost(&self) -> u64 {
        self.lost
    }

    /// Clients whose session never ended.
    pub(super) fn survived(&self) -> u64 {
        self.ended.iter().filter(|ended| !**ended).count() as u64
    }

    /// Clients that do not come back.
    pub(super) fn stopped(&self) -> u64 {
        self.stopped
    }

    /// Clients that were logged in and are not.
    pub(super) fn away(&self) -> usize {
        self.away
    }

    /// Why the first session ended.
    pub(super) fn first_loss(&self) -> Option<&str> {
        self.first_loss.as_deref()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use nearport_client::CloseCode;

    use super::*;
    use crate::options::{Options, Scenario};

    fn connected() -> Event {
        Event::Connected {
            transport: nearport_client::Transport::Quic,
            resumed: true,
            cursor: 0,
            head: 0,
            time_ms: 0,
        }
    }

    fn disconnected() -> Event {
        Event::Disconnected { code: CloseCode::LOST, reason: "gone".into(), retry_in: Duration::ZERO }
    }

    #[test]
    fn only_a_session_can_be_lost() {
        let mut sessions = Sessions::new(2);
        sessions.event(0, &disconnected(), 0);
        assert_eq!((sessions.lost(), sessions.away()), (0, 0), "an attempt failed before the first login");
        sessions.event(0, &connected(), 2_000_000);
        sessions.event(1, &connected(), 0);
        assert_eq!(sessions.reconnects(), 0);
        sessions.event(0, &disconnected(), 0);
        sessions.event(0, &disconnected(), 0);
        assert_eq!((sessions.lost(), sessions.away()), (1, 1), "two failures, one session");
        sessions.event(0, &connected(), 2_000_000);
        assert_eq!((sessions.reconnects(), sessions.away()), (1, 0));
        assert_eq!((sessions.away_for.quantiles().max, sessions.logins.quic), (Some(2.0), 3));
        sessions.event(1, &Event::Stopped { code: CloseCode::KICKED, reason: "elsewhere".into() }, 0);
        assert_eq!((sessions.lost(), sessions.stopped(), sessions.away()), (2, 1, 1));
        assert_eq!(sessions.survived(), 0);
        assert_eq!(sessions.first_loss(), Some("session ended: 2001 LOST: gone"));
    }

    #[test]
    fn a_full_backlog_gives_up_the_newest() {
        let mut books = Books::new(1);
        books.waiting = BACKLOG_MAX;
        let counter = books.schedule(0, 5);
        books.hold_back(0, Waiting { counter, due_ns: 5 });
        assert!(!books.has_backlog(0));
        assert!(books.tally.is_settled());
        let mut report = Report::new(&Options::new(Scenario::Chat));
        books.fill(&mut report, 0);
        assert_eq!((report.errors, report.error_counts.never_sent), (1, 1));
        assert!(report.first_error.unwrap().contains("queues are full"));
    }

    #[test]
    fn words_of_an_error_that_came_right_are_not_reported() {
        let mut books = Books::new(1);
        books.measure(0..10);
        let counter = books.schedule(0, 5);
        books.posted(0, Waiting { counter, due_ns: 5 }, 1_000_005);
        books.give_up(0, counter, || "no answer".into());
        let mut report = Report::new(&Options::new(Scenario::Chat));
        books.fill(&mut report, 0);
        assert_eq!((report.errors, report.first_error.as_deref()), (1, Some("no answer")));
        assert_eq!(report.send_lag_ms.max, Some(1.0));
        books.tally.deliver(0, counter);
        books.fill(&mut report, 0);
        assert_eq!((report.errors, report.first_error.as_deref()), (0, None));
        assert!(report.is_clean());
    }
}
