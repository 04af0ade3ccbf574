//! `group`: groups with many members, of whom some are online and write; every delivery to every member online is accounted for.
//!
//! Each group is made anew by its first member online, who invites the others. Members who are not online log in once, which makes
//! their accounts. A message of a group is due at its other members online; those above the group's rate are told as sent and
//! have no number, which is how they are told apart.

use std::collections::BTreeMap;
use std::hash::{BuildHasher as _, RandomState};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use nearport_client::groups::{GroupCreate, GroupInviteResult, GroupJoinOption};
use nearport_client::{Client, Event, Message, MsgId, group, text};
use tokio::sync::Notify;
use tokio::task::JoinSet;

use crate::Error;
use crate::clock::Clock;
use crate::fleet::{Fleet, Listener, user_name};
use crate::latency::Latency;
use crate::open_loop::Target;
use crate::ops;
use crate::options::Options;
use crate::payload::{NotOurs, Payload};
use crate::report::{Grouped, Report, rounded};
use crate::scenario::Run;
use crate::scenario::books::Sessions;

/// Members whom one request invites.
const INVITED: usize = 100;

/// The conversation of all groups.
struct Talk {
    clock: Clock,
    run: u64,
    text_bytes: usize,
    users: String,
    online: usize,
    /// Which group a unit of the rate belongs to.
    slots: Vec<usize>,
    /// Set once all are logged in and the groups are made.
    ready: OnceLock<(Vec<Client>, Vec<String>)>,
    state: Mutex<State>,
    settled: Notify,
}

struct State {
    groups: Vec<Books>,
    sessions: Sessions,
    /// By client: messages without an outcome, by their number in the group's books.
    in_flight: Vec<BTreeMap<MsgId, usize>>,
    window: std::ops::Range<u64>,
    latency: Latency,
    ack: Latency,
    lag: Latency,
    sent: u64,
    acked: u64,
    failed: u64,
    never_sent: u64,
    delivered: u64,
    duplicated: u64,
    reordered: u64,
    unexpected: u64,
    flushes: u64,
    foreign: u64,
    folded: u64,
    /// Deliveries that are due and have not come.
    missing: u64,
    /// Messages without an outcome.
    open: u64,
    first_error: Option<String>,
}

/// One group.
#[derive(Debug, Default)]
struct Books {
    messages: Vec<Entry>,
    /// By member online: the number of the newest message that it was shown.
    shown: Vec<u64>,
}

#[derive(Debug)]
struct Entry {
    due_ns: u64,
    sender: usize,
    outcome: Outcome,
    /// Which members online were shown it.
    seen: Vec<u64>,
    seen_count: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outcome {
    Waits,
    Stored,
    /// Above the group's rate: nobody gets it.
    Folded,
    Failed,
}

pub(super) async fn run(run: &mut Run<'_>) -> Result<Report, Error> {
    let options = run.options;
    register(run).await?;
    let talk = Arc::new(Talk::new(run.clock, options));
    let (fleet, logins) = run.log_in(&talk).await?;
    let clients = logins.all()?;
    let groups = make(run, &clients).await?;
    let _ = talk.ready.set((clients.clone(), groups.clone()));

    let rows = rows(options).await;
    let open_loop = run.open_loop();
    let mut stop = run.stop.clone();
    let window = open_loop.offer_all(&*talk, &mut stop).await?;
    let mut report = run.report(&logins, &window);
    open_loop.drain(&*talk, &mut stop).await;
    let rows = self::rows(options).await.zip(rows).map(|(now, then)| now.saturating_sub(then));
    for (at, id) in groups.iter().enumerate() {
        // Its members would be asked about it at every later login.
        let _ = clients[at * options.online as usize].dismiss_group(id).await;
    }
    fleet.close(true, &mut run.stop, run.progress).await;
    talk.lock().fill(&mut report, options, rows);
    Ok(report)
}

/// Messages in the server's ledger so far, if it says so.
async fn rows(options: &Options) -> Option<u64> {
    match options.ops {
        Some(ops) => ops::messages_stored(ops).await,
        None => None,
    }
}

/// Accounts of the members who are not online: a login makes one.
async fn register(run: &mut Run<'_>) -> Result<(), Error> {
    let options = run.options;
    let away = options.members.saturating_sub(options.online);
    if away == 0 {
        return Ok(());
    }
    let options = Options { connections: away, users: away_users(&options.users), ..options.clone() };
    let server = run.credentials.server;
    let nobody = Arc::new(Nobody);
    let (fleet, logins) =
        Fleet::log_in(&options, &run.credentials, server, &nobody, &mut run.stop, run.progress).await?;
    let all = logins.all().map(|_| ());
    fleet.close(false, &mut run.stop, run.progress).await;
    all
}

fn away_users(users: &str) -> String {
    format!("{users}-away")
}

struct Nobody;

impl Listener for Nobody {
    fn event(&self, _: usize, _: Event) {}
}

/// Makes the groups, all at once; returns their ids.
async fn make(run: &Run<'_>, clients: &[Client]) -> Result<Vec<String>, Error> {
    let options = run.options;
    run.progress.begin("groups", options.groups.into());
    let mut tasks = JoinSet::new();
    for (at, members) in clients.chunks(options.online as usize).enumerate() {
        let owner = members[0].clone();
        let online = (1..members.len()).map(|i| user_name(&options.users, at * members.len() + i));
        let away = options.members.saturating_sub(options.online) as usize;
        let away = (0..away).map(|i| user_name(&away_users(&options.users), i));
        let users: Vec<String> = online.chain(away).collect();
        tasks.spawn(async move { (at, make_one(&owner, users).await) });
    }
    let mut ids = vec![String::new(); tasks.len()];
    while let Some(done) = tasks.join_next().await {
        let (at, id) = done.map_err(|error| Error::Setup(error.to_string()))?;
        ids[at] = id.map_err(Error::Setup)?;
        run.progress.advance();
    }
    Ok(ids)
}

async fn make_one(owner: &Client, users: Vec<String>) -> Result<String, String> {
    let create = GroupCreate {
        r#type: "Public".into(),
        name: "load".into(),
        members_max: u32::try_from(users.len() + 1).unwrap_or(u32::MAX),
        invite: GroupJoinOption::GroupJoinFree.into(),
        join: GroupJoinOption::GroupJoinFree.into(),
        ..GroupCreate::default()
    };
    let id = owner.create_group(create).await.map_err(|error| format!("cannot make a group: {error}"))?;
    for users in users.chunks(INVITED) {
        let invited = owner.invite_to_group(&id, users.to_vec(), "").await;
        let invited = invited.map_err(|error| format!("cannot invite to a group: {error}"))?;
        let outside = invited.iter().find(|item| {
            !matches!(
                item.result(),
                GroupInviteResult::GroupInviteAdded | GroupInviteResult::GroupInviteKnown
            )
        });
        if let Some(item) = outside {
            return Err(format!("{} is not in the group: {:?}", item.user, item.result()));
        }
    }
    Ok(id)
}

impl Talk {
    fn new(clock: Clock, options: &Options) -> Self {
        let online = options.online as usize;
        let slots = (0..options.groups as usize).flat_map(|group| {
            let rate = options.hot_rate.filter(|_| group == 0).unwrap_or(options.rate);
            std::iter::repeat_n(group, rate as usize)
        });
        Self {
            clock,
            run: RandomState::new().hash_one(std::process::id()),
            text_bytes: options.text_bytes(),
            users: options.users.clone(),
            online,
            slots: slots.collect(),
            ready: OnceLock::new(),
            state: Mutex::new(State::new(options.groups as usize, online)),
            settled: Notify::new(),
        }
    }

    /// No holder leaves the books half written, so poison says nothing about them.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn shown(&self, state: &mut State, index: usize, message: &Message) {
        let (at, member) = (index / self.online, index % self.online);
        let ours = self.ready.get().is_some_and(|(_, ids)| message.group() == Some(&ids[at]));
        if !ours || message.tip().is_some() {
            state.foreign += u64::from(message.tip().is_none());
            return;
        }
        let payload = match Payload::decode(&message.text(), self.run, self.text_bytes) {
            Ok(payload) => payload,
            Err(NotOurs::Foreign) => return state.foreign += 1,
            Err(NotOurs::Damaged) => return state.unexpected(|| "damaged message".into()),
        };
        let from = usize::try_from(payload.sender).unwrap_or(usize::MAX);
        if message.from != user_name(&self.users, from) {
            return state.unexpected(|| format!("message {payload:?} from {}", message.from));
        }
        let now_ns = self.clock.now_ns();
        state.deliver(at, member, &payload, message.seq, now_ns, self.online);
    }
}

impl State {
    fn new(groups: usize, online: usize) -> Self {
        let books = || Books { messages: Vec::new(), shown: vec![0; online] };
        Self {
            groups: std::iter::repeat_with(books).take(groups).collect(),
            sessions: Sessions::new(groups * online),
            in_flight: std::iter::repeat_with(BTreeMap::new).take(groups * online).collect(),
            window: 0..0,
            latency: Latency::new(),
            ack: Latency::new(),
            lag: Latency::new(),
            sent: 0,
            acked: 0,
            failed: 0,
            never_sent: 0,
            delivered: 0,
            duplicated: 0,
            reordered: 0,
            unexpected: 0,
            flushes: 0,
            foreign: 0,
            folded: 0,
            missing: 0,
            open: 0,
            first_error: None,
        }
    }

    fn note(&mut self, what: impl FnOnce() -> String) {
        self.first_error.get_or_insert_with(what);
    }

    fn unexpected(&mut self, what: impl FnOnce() -> String) {
        self.unexpected += 1;
        self.note(what);
    }

    fn deliver(&mut self, at: usize, member: usize, payload: &Payload, seq: u64, now_ns: u64, online: usize) {
        let books = &mut self.groups[at];
        let known = usize::try_from(payload.counter).ok().and_then(|counter| books.messages.get_mut(counter));
        let Some(entry) = known.filter(|entry| entry.due_ns == payload.due_ns) else {
            return self.unexpected(|| format!("message {payload:?}, which nobody sent"));
        };
        let (word, bit) = (member / 64, 1u64 << (member % 64));
        if entry.sender == at * online + member || entry.seen[word] & bit != 0 {
            self.duplicated += 1;
            return;
        }
        entry.seen[word] |= bit;
        entry.seen_count += 1;
        let (folded, stored) = (entry.outcome == Outcome::Folded, entry.outcome == Outcome::Stored);
        let due_ns = entry.due_ns;
        self.reordered += u64::from(seq <= books.shown[member]);
        books.shown[member] = books.shown[member].max(seq);
        self.delivered += 1;
        self.missing -= u64::from(stored);
        if folded {
            self.unexpected(|| format!("message {payload:?} was left out, and came"));
        }
        if self.window.contains(&due_ns) {
            self.latency.record_ns(due_ns, now_ns);
        }
    }

    /// What became of a message, as its sender is told.
    fn settle(&mut self, at: usize, counter: usize, outcome: Outcome, now_ns: u64, online: usize) {
        let entry = &mut self.groups[at].messages[counter];
        entry.outcome = outcome;
        self.open -= 1;
        let (due_ns, due) = (entry.due_ns, (online - 1 - entry.seen_count) as u64);
        match outcome {
            Outcome::Stored => {
                self.acked += 1;
                self.missing += due;
                if self.window.contains(&due_ns) {
                    self.ack.record_ns(due_ns, now_ns);
                }
            }
            Outcome::Folded => {
                self.acked += 1;
                self.folded += 1;
            }
            Outcome::Failed => self.failed += 1,
            Outcome::Waits => {}
        }
    }

    fn fill(&self, report: &mut Report, options: &Options, rows: Option<u64>) {
        report.sent = Some(self.sent);
        report.acked = Some(self.acked);
        report.delivered = Some(self.delivered);
        report.lost = Some(self.missing);
        report.duplicated = Some(self.duplicated);
        report.reordered = Some(self.reordered);
        report.latency_ms = self.latency.quantiles();
        report.ack_ms = self.ack.quantiles();
        report.send_lag_ms = self.lag.quantiles();
        report.latency_curve = self.latency.curve();
        report.foreign = self.foreign;
        self.sessions.fill(report);
        report.error_counts = crate::report::ErrorCounts {
            never_sent: self.never_sent,
            failed: self.failed,
            unanswered: self.open,
            unexpected: self.unexpected,
            logins: 0,
            sessions: self.sessions.stopped(),
            flushes: self.flushes,
        };
        report.errors = report.error_counts.total();
        let first = self.first_error.as_deref().or_else(|| self.sessions.first_loss());
        report.first_error = first.filter(|_| report.errors > 0).map(str::to_owned);
        let stored = self.acked - self.folded;
        let seconds = report.duration_s;
        report.group = Some(Grouped {
            groups: options.groups,
            members: options.members,
            online: options.online,
            rate: options.rate,
            hot_rate: options.hot_rate,
            stored,
            folded: self.folded,
            deliveries_per_s: (seconds > 0.0).then(|| rounded(self.delivered as f64 / seconds)),
            rows,
            rows_per_message: rows.filter(|_| stored > 0).map(|rows| rounded(rows as f64 / stored as f64)),
        });
    }
}

impl Listener for Talk {
    fn event(&self, index: usize, event: Event) {
        let mut state = self.lock();
        let state = &mut *state;
        let now_ns = self.clock.now_ns();
        if let Event::Stopped { code, reason } = &event
            && *code != nearport_client::CloseCode::BYE
        {
            state.note(|| format!("client {index} has stopped: {code}: {reason}"));
        }
        state.sessions.event(index, &event, now_ns);
        match event {
            Event::Message(message) => self.shown(state, index, &message),
            Event::Sent { id, sent } => match state.in_flight[index].remove(&id) {
                Some(counter) => {
                    let outcome = if sent.seq > 0 { Outcome::Stored } else { Outcome::Folded };
                    state.settle(index / self.online, counter, outcome, now_ns, self.online);
                }
                None => state.unexpected(|| format!("acknowledgement of {id}, which waits for none")),
            },
            Event::Failed { id, failure } => match state.in_flight[index].remove(&id) {
                Some(counter) => {
                    state.note(|| format!("message failed: {failure}"));
                    state.settle(index / self.online, counter, Outcome::Failed, now_ns, self.online);
                }
                None => state.unexpected(|| format!("failure of {id}, which waits for nothing")),
            },
            _ => {}
        }
        if state.open == 0 && state.missing == 0 {
            self.settled.notify_waiters();
        }
    }

    fn flush_failed(&self, index: usize, reason: String) {
        let mut state = self.lock();
        state.flushes += 1;
        state.note(|| format!("flush of {}: {reason}", user_name(&self.users, index)));
    }
}

impl Target for Talk {
    /// `slot` is a unit of the rate: it says which group. Its members write in turn.
    fn offer(&self, slot: usize, due_ns: u64) {
        let Some((clients, ids)) = self.ready.get() else { return };
        let at = self.slots[slot];
        let mut state = self.lock();
        let state = &mut *state;
        let counter = state.groups[at].messages.len();
        let sender = at * self.online + counter % self.online;
        let payload = Payload { run: self.run, sender: sender as u64, counter: counter as u64, due_ns };
        let seen = vec![0; self.online.div_ceil(64)];
        let entry = Entry { due_ns, sender, outcome: Outcome::Waits, seen, seen_count: 0 };
        state.groups[at].messages.push(entry);
        match clients[sender].post(group(ids[at].as_str()), text(payload.encode(self.text_bytes))) {
            Ok(id) => {
                state.in_flight[sender].insert(id, counter);
                state.sent += 1;
                state.open += 1;
                if state.window.contains(&due_ns) {
                    state.lag.record_ns(due_ns, self.clock.now_ns());
                }
            }
            Err(error) => {
                state.groups[at].messages[counter].outcome = Outcome::Failed;
                state.never_sent += 1;
                state.note(|| format!("message not taken: {error}"));
            }
        }
    }

    fn measure(&self, from_ns: u64, until_ns: u64) {
        self.lock().window = from_ns..until_ns;
    }

    fn done(&self) -> u64 {
        self.lock().acked
    }

    fn is_settled(&self) -> bool {
        let state = self.lock();
        state.open == 0 && state.missing == 0
    }

    fn settled(&self) -> &Notify {
        &self.settled
    }

    fn status(&self) -> String {
        let state = self.lock();
        format!("acknowledged {}, delivered {}", state.acked, state.delivered)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::options::Scenario;

    fn payload(counter: u64, due_ns: u64) -> Payload {
        Payload { run: 1, sender: 0, counter, due_ns }
    }

    /// One group of three, with two messages of the first member.
    fn books() -> State {
        let mut state = State::new(1, 3);
        for due_ns in [5, 6] {
            let entry = Entry { due_ns, sender: 0, outcome: Outcome::Waits, seen: vec![0], seen_count: 0 };
            state.groups[0].messages.push(entry);
            (state.sent, state.open) = (state.sent + 1, state.open + 1);
        }
        state
    }

    fn report(state: &State) -> Report {
        let options = Options { groups: 1, members: 3, online: 3, ..Options::new(Scenario::Group) };
        let mut report = Report::new(&options);
        state.fill(&mut report, &options, Some(2));
        report
    }

    #[test]
    fn what_is_stored_is_due_at_every_other_member() {
        let mut state = books();
        state.settle(0, 0, Outcome::Stored, 9, 3);
        state.deliver(0, 1, &payload(0, 5), 1, 9, 3);
        assert_eq!(report(&state).lost, Some(1), "the third one");
        state.deliver(0, 2, &payload(0, 5), 1, 9, 3);
        // Shown before its sender was told.
        state.deliver(0, 1, &payload(1, 6), 2, 9, 3);
        state.settle(0, 1, Outcome::Stored, 9, 3);
        state.deliver(0, 2, &payload(1, 6), 2, 9, 3);
        let report = report(&state);
        assert!(report.is_clean(), "{report:?}");
        assert_eq!((report.delivered, report.group.unwrap().rows_per_message), (Some(4), Some(1.0)));
    }

    #[test]
    fn every_kind_of_wrong_delivery_is_counted() {
        let mut state = books();
        state.settle(0, 0, Outcome::Stored, 9, 3);
        state.settle(0, 1, Outcome::Folded, 9, 3);
        state.deliver(0, 1, &payload(0, 5), 7, 9, 3);
        state.deliver(0, 1, &payload(0, 5), 7, 9, 3);
        state.deliver(0, 0, &payload(0, 5), 7, 9, 3);
        assert_eq!(report(&state).duplicated, Some(2), "twice, and to its sender");
        state.deliver(0, 1, &payload(1, 6), 3, 9, 3);
        assert_eq!(report(&state).reordered, Some(1));
        assert_eq!(report(&state).error_counts.unexpected, 1, "what was left out came");
        state.deliver(0, 1, &payload(9, 6), 8, 9, 3);
        state.deliver(0, 1, &payload(0, 6), 8, 9, 3);
        let report = report(&state);
        assert_eq!((report.error_counts.unexpected, report.lost), (3, Some(1)));
        assert_eq!(report.group.unwrap().folded, 1);
    }
}
