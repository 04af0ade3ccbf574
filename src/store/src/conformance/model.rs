//! Random operations, and what a ledger must answer to them.
//!
//! [`ledger_model`] runs one sequence of [`Op`]s on an engine and on a model that is as plain as can be: lists from which
//! nothing is ever removed, and floors. Sequences of different Apps may share a store. Strategies for them stand in the
//! tests of this crate.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Duration;

use bytes::Bytes;
use nearport_chat::key::{AppId, ConvKey, ConvKind, Talk, UserKey};
use nearport_chat::ledger::{
    Append, Appended, Batch, Committed, CursorMove, CursorName, Edit, Edited, Entry, Heads, Hide, IdemKey,
    Ledger, LogEntry, PageLimit, Range, Receipt, Span, TrimBudget, TrimPlace,
};

use super::ledgers::walk;

/// Users of a sequence, numbered from 0.
pub const USERS: u8 = 4;

/// What one of them may write to, numbered from 0: each user (a pair), two groups, the notices of two users, what is pushed
/// to all of them.
pub const TARGETS: u8 = USERS + 5;

/// Which conversation: who writes, and to which target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// A user.
    pub from: u8,
    /// A target.
    pub to: u8,
}

/// One step of a sequence.
#[derive(Debug, Clone)]
pub enum Op {
    /// A commit. What happens to messages is (place, seq, user); the user of an edit is the length of its body.
    Commit {
        /// Milliseconds since the last one.
        later_ms: u64,
        /// Place, client's message id, length of the body.
        appends: Vec<(Place, u8, u16)>,
        /// Changes.
        edits: Vec<(Place, u64, u8)>,
        /// Deletions for oneself.
        hides: Vec<(Place, u64, u8)>,
        /// Read receipts.
        receipts: Vec<(Place, u64, u8)>,
        /// Place, kind of cursor (0 to 4), position; the cursor is that of [`Place::from`].
        cursors: Vec<(Place, u8, u64)>,
    },
    /// A page of a conversation, and everything else about it; also a walk since then.
    Read(Place, Range, PageLimit),
    /// A page of the log of a user.
    ReadLog(u8, u64, PageLimit),
    /// A whole trim in steps of so many rows: pairs older than the first, all else older than the second age in
    /// milliseconds.
    Trim(u64, u64, usize),
    /// Close the store and open it again.
    Reopen,
}

/// A store that can be closed and opened again.
pub struct Store {
    open: Box<dyn Fn() -> Box<dyn Ledger>>,
    /// `None` only while it is opened again.
    ledger: Option<Box<dyn Ledger>>,
}

impl Store {
    /// What `open` opens, whenever it is called.
    pub fn new(open: impl Fn() -> Box<dyn Ledger> + 'static) -> Self {
        let ledger = Some(open());
        Self { open: Box::new(open), ledger }
    }

    fn reopen(&mut self) {
        // Closed before it is opened: a store has one holder.
        self.ledger = None;
        self.ledger = Some((self.open)());
    }
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Store").field("ledger", &self.ledger).finish_non_exhaustive()
    }
}

/// Runs `ops` on a store and compares every answer with the model; at the end, everything that is stored. `app` must be
/// new to the store.
///
/// # Panics
/// When the engine differs from the model.
pub fn ledger_model(store: &mut Store, app: AppId, ops: &[Op]) {
    let mut run = Run { store, app, model: Model::default(), now_ms: 1_000 };
    ops.iter().for_each(|op| run.step(op));
    run.compare_all();
}

struct Run<'a> {
    store: &'a mut Store,
    app: AppId,
    model: Model,
    now_ms: u64,
}

impl Run<'_> {
    fn ledger(&self) -> &dyn Ledger {
        &**self.store.ledger.as_ref().expect("open between steps")
    }

    fn user(&self, number: u8) -> UserKey {
        UserKey::new(self.app, &format!("user{}", number % USERS)).expect("a good name")
    }

    fn conv(&self, place: Place) -> ConvKey {
        match place.to % TARGETS {
            to if to < USERS => ConvKey::pair(&self.user(place.from), &self.user(to)),
            to if to < USERS + 2 => ConvKey::group(self.app, &format!("group{to}")).expect("a good id"),
            to if to < USERS + 4 => ConvKey::notices(&self.user(to)),
            _ => ConvKey::pushes(self.app),
        }
    }

    /// Who has the messages of a conversation in the log.
    fn logs(&self, conv: &ConvKey) -> Vec<UserKey> {
        match conv.kind() {
            ConvKind::Pair(a, b) if a == b => vec![a],
            ConvKind::Pair(a, b) => vec![a, b],
            ConvKind::Group(_) => Vec::new(),
            ConvKind::Notices(user) => vec![user],
            ConvKind::Pushes(_) => (0..USERS).map(|number| self.user(number)).collect(),
        }
    }

    fn cursor(&self, place: Place, kind: u8) -> CursorName {
        match kind % 5 {
            0 => CursorName::Device("phone".into()),
            1 => CursorName::Read(self.conv(place)),
            2 => CursorName::Shown("phone".into(), self.conv(place)),
            3 => CursorName::Cleared(self.conv(place)),
            _ => CursorName::Spoke(self.conv(place)),
        }
    }

    fn batch(&self, op: &Op) -> Batch {
        let Op::Commit { appends, edits, hides, receipts, cursors, .. } = op else { return Batch::default() };
        let append = |(index, &(place, id, length)): (usize, &(Place, u8, u16))| {
            let conv = self.conv(place);
            let idem = IdemKey { sender: self.user(place.from), client_msg_id: [id; 16] };
            let body = Bytes::from(vec![u8::try_from(index % 251).expect("below 251"); usize::from(length)]);
            // Some of them are unread for nobody, as their ids have it.
            let uncounted = id % 3 == 1;
            Append { logs: self.logs(&conv), conv, idem, time_ms: self.now_ms, body, uncounted }
        };
        let edit = |&(place, seq, length): &(Place, u64, u8)| {
            let conv = self.conv(place);
            let body = Bytes::from(vec![b'e'; usize::from(length)]);
            Edit { logs: self.logs(&conv), conv, seq, body, uncounted: length.is_multiple_of(3) }
        };
        let cursor = |&(place, kind, position): &(Place, u8, u64)| CursorMove {
            user: self.user(place.from),
            name: self.cursor(place, kind),
            position,
            // When somebody has spoken, with a message where there is one.
            append: usize::try_from(position)
                .ok()
                .filter(|_| kind % 5 == 4)
                .and_then(|at| at.checked_rem(appends.len())),
        };
        let hide = |&(place, seq, user): &(Place, u64, u8)| Hide {
            user: self.user(user),
            conv: self.conv(place),
            seq,
        };
        let receipt = |&(place, seq, user): &(Place, u64, u8)| Receipt {
            user: self.user(user),
            conv: self.conv(place),
            seq,
        };
        Batch {
            appends: appends.iter().enumerate().map(append).collect(),
            edits: edits.iter().map(edit).collect(),
            hides: hides.iter().map(hide).collect(),
            receipts: receipts.iter().map(receipt).collect(),
            cursors: cursors.iter().map(cursor).collect(),
            ..Batch::default()
        }
    }

    fn step(&mut self, op: &Op) {
        match op {
            Op::Commit { later_ms, .. } => {
                self.now_ms += later_ms;
                let batch = self.batch(op);
                let done = self.ledger().commit(&batch).expect("commits");
                assert_eq!(done, self.model.commit(&batch), "{op:?}");
            }
            Op::Read(place, range, limit) => {
                self.compare_conv(&self.conv(*place), *range, *limit);
                let (Range::After(number) | Range::Before(number)) = *range;
                self.compare_walks(1_000 + number.min(1_000), limit.entries);
            }
            Op::ReadLog(user, after, limit) => self.compare_log(&self.user(*user), *after, *limit),
            Op::Trim(pairs_ms, others_ms, rows) => self.trim(*pairs_ms, *others_ms, *rows),
            Op::Reopen => self.store.reopen(),
        }
    }

    fn trim(&mut self, pairs_ms: u64, others_ms: u64, rows: usize) {
        // Whatever else is in the store stays.
        let (app, now_ms) = (self.app.0.to_be_bytes(), self.now_ms);
        let retention = move |conv: &ConvKey| match conv.is_pair() {
            _ if conv.as_bytes()[..4] != app => 0,
            true => now_ms.saturating_sub(pairs_ms),
            false => now_ms.saturating_sub(others_ms),
        };
        let mut place = TrimPlace::default();
        let mut trimmed = (0, 0);
        loop {
            let budget = TrimBudget { rows, time: Duration::from_secs(60) };
            let step = self.ledger().trim(&retention, &place, budget).expect("trims");
            trimmed = (trimmed.0 + step.messages, trimmed.1 + step.log_entries);
            match step.next {
                Some(next) => place = next,
                None => break,
            }
        }
        assert_eq!(trimmed, self.model.trim(&retention), "messages and log entries trimmed");
    }

    fn compare_conv(&self, conv: &ConvKey, range: Range, limit: PageLimit) {
        let (ledger, model) = (self.ledger(), &self.model);
        let context = || format!("{conv:?} {range:?} {limit:?}");
        assert_eq!(
            ledger.read(conv, range, limit).expect("reads"),
            model.read(conv, range, limit),
            "{}",
            context()
        );
        assert_eq!(ledger.head(conv).expect("reads"), model.heads(conv).seq, "{}", context());
        assert_eq!(ledger.edit_head(conv).expect("reads"), model.heads(conv).edit, "{}", context());
        let heads = ledger.heads(std::slice::from_ref(conv)).expect("reads");
        assert_eq!(heads, [model.heads(conv)], "{}", context());
        let (Range::After(number) | Range::Before(number)) = range;
        assert_eq!(ledger.entry(conv, number).expect("reads"), model.entry(conv, number), "{}", context());
        let changes = ledger.edits(conv, number, limit.entries).expect("reads");
        assert_eq!(changes, model.edits(conv, number, limit.entries), "changes of {}", context());
        let readers = ledger.receipts(conv, number, None, limit.entries).expect("reads");
        assert_eq!(readers, model.readers(conv, number, None, limit.entries), "readers of {}", context());
        let behind = ledger.receipts(conv, number, Some(&self.user(1)), 9).expect("reads");
        assert_eq!(behind, model.readers(conv, number, Some(&self.user(1)), 9), "readers of {}", context());
        let count = ledger.receipt_count(conv, number).expect("reads");
        assert_eq!(count, model.readers(conv, number, None, 99).len() as u64, "readers of {}", context());
        // Towards either end, and about the user who is in every pair of the sequence or in few.
        let spans = [(0, number, true), (number, u64::MAX, true), (0, number, false), (number, 9, false)];
        let spans = spans.map(|(first, last, own)| Span { conv: conv.clone(), first, last, own });
        let want: Vec<_> = spans.iter().map(|span| model.uncounted(&self.user(1), span)).collect();
        assert_eq!(ledger.uncounted(&self.user(1), &spans).expect("reads"), want, "{}", context());
        let since = 1_000 + number.min(1_000);
        assert_eq!(ledger.seq_at(conv, since).expect("reads"), model.seq_at(conv, since), "{}", context());
    }

    fn compare_log(&self, user: &UserKey, after: u64, limit: PageLimit) {
        let (ledger, model) = (self.ledger(), &self.model);
        let log = ledger.read_log(user, after, limit).expect("reads");
        assert_eq!(log, model.read_log(user, after, limit), "log of {user:?} after {after} {limit:?}");
        assert_eq!(ledger.log_head(user).expect("reads"), model.log_head(user), "log of {user:?}");
    }

    fn compare_walks(&self, since_ms: u64, looks: usize) {
        for talk in Talk::ALL {
            let walked = walk(self.ledger(), self.app, talk, since_ms, looks);
            let want = self.model.walk(talk, since_ms);
            assert_eq!(walked, want, "{talk:?} since {since_ms}, {looks} at a time");
        }
    }

    fn compare_all(&self) {
        self.compare_walks(0, 3);
        self.compare_walks(self.now_ms, 99);
        let known: Vec<_> = self.model.idem.keys().cloned().collect();
        let places = known.iter().map(|key| self.model.idem[key]);
        let want: Vec<_> = places.map(|(seq, time_ms)| Some(Appended::duplicate_of(seq, time_ms))).collect();
        assert_eq!(self.ledger().duplicates(&known).expect("reads"), want, "idempotency keys");
        let all = PageLimit { entries: 99_999, bytes: usize::MAX };
        let users: Vec<_> = (0..USERS).map(|number| self.user(number)).collect();
        for user in &users {
            self.compare_log(user, 0, all);
            let pairs = self.ledger().conversations(user, None, 99).expect("reads");
            assert_eq!(pairs, self.model.pairs(user), "pairs of {user:?}");
            if let Some(first) = pairs.first() {
                let rest = self.ledger().conversations(user, Some(first), 99).expect("reads");
                assert_eq!(rest, pairs[1..], "pairs of {user:?}");
            }
        }
        for from in 0..USERS {
            for to in 0..TARGETS {
                let place = Place { from, to };
                let conv = self.conv(place);
                self.compare_conv(&conv, Range::After(0), all);
                for seq in 1..=self.model.heads(&conv).seq {
                    let one = PageLimit { entries: 1, bytes: 0 };
                    self.compare_conv(&conv, Range::Before(seq), one);
                }
                for user in &users {
                    let hidden = self.ledger().hidden(user, &conv, 0, u64::MAX).expect("reads");
                    // What was trimmed may be named or not.
                    let kept = self.model.heads(&conv).floor + 1;
                    let hidden: Vec<_> = hidden.into_iter().filter(|seq| *seq >= kept).collect();
                    assert_eq!(hidden, self.model.hidden(user, &conv), "hidden from {user:?} in {conv:?}");
                }
                let (user, names) = (self.user(from), [0, 1, 2, 3, 4].map(|kind| self.cursor(place, kind)));
                let want = names.clone().map(|name| self.model.cursors.get(&(user.clone(), name)).copied());
                let stored = self.ledger().cursors(&user, &names).expect("reads");
                assert_eq!(stored, want, "{place:?}");
                for (name, want) in names.iter().zip(want) {
                    assert_eq!(self.ledger().cursor(&user, name).expect("reads"), want, "{place:?} {name:?}");
                }
            }
        }
    }
}

/// What a ledger is: numbers are places in lists.
#[derive(Default)]
struct Model {
    convs: BTreeMap<ConvKey, Conv>,
    logs: BTreeMap<UserKey, Log>,
    idem: HashMap<IdemKey, (u64, u64)>,
    cursors: BTreeMap<(UserKey, CursorName), u64>,
}

#[derive(Default)]
struct Conv {
    messages: Vec<Message>,
    /// Messages up to here are gone.
    floor: usize,
    /// The message of each change.
    changes: Vec<u64>,
}

struct Message {
    time_ms: u64,
    idem: IdemKey,
    edit: u64,
    body: Bytes,
    uncounted: bool,
    hidden_from: BTreeSet<UserKey>,
    readers: BTreeSet<UserKey>,
}

#[derive(Default)]
struct Log {
    /// Message, and whether the entry is its own.
    entries: Vec<(ConvKey, u64, bool)>,
    /// Entries up to here are gone.
    floor: usize,
}

fn number(len: usize) -> u64 {
    len as u64
}

impl Conv {
    /// The message, if it is there.
    fn kept(&self, seq: u64) -> Option<&Message> {
        let index = usize::try_from(seq).ok()?.checked_sub(1)?;
        (index >= self.floor).then(|| self.messages.get(index)).flatten()
    }

    fn entry(&self, seq: u64) -> Option<Entry> {
        let message = self.kept(seq)?;
        Some(Entry { seq, time_ms: message.time_ms, edit: message.edit, body: message.body.clone() })
    }
}

impl Model {
    fn commit(&mut self, batch: &Batch) -> Committed {
        let before: BTreeMap<_, _> =
            self.convs.iter().map(|(conv, of)| (conv.clone(), number(of.messages.len()))).collect();
        let there = |conv: &ConvKey, seq: u64| before.get(conv).is_some_and(|head| seq <= *head);
        let appended: Vec<_> = batch.appends.iter().map(|append| self.append(append)).collect();
        let edited = batch.edits.iter().map(|edit| {
            let of = self.convs.get_mut(&edit.conv).filter(|_| there(&edit.conv, edit.seq))?;
            of.kept(edit.seq)?;
            of.changes.push(edit.seq);
            let change = number(of.changes.len());
            let message = &mut of.messages[usize::try_from(edit.seq).expect("small") - 1];
            (message.edit, message.body) = (change, edit.body.clone());
            message.uncounted |= edit.uncounted;
            let positions = point(&mut self.logs, &edit.logs, (&edit.conv, edit.seq, false));
            Some(Edited { edit: change, positions })
        });
        let edited = edited.collect();
        for Hide { user, conv, seq } in batch.hides.iter().filter(|hide| there(&hide.conv, hide.seq)) {
            if let Some(message) = self.message(conv, *seq) {
                message.hidden_from.insert(user.clone());
            }
        }
        for Receipt { user, conv, seq } in batch.receipts.iter().filter(|of| there(&of.conv, of.seq)) {
            if let Some(message) = self.message(conv, *seq) {
                message.readers.insert(user.clone());
            }
        }
        for CursorMove { user, name, position, append } in &batch.cursors {
            if append.is_some_and(|at| appended[at].duplicate) {
                continue;
            }
            let stored = self.cursors.entry((user.clone(), name.clone())).or_insert(*position);
            *stored = (*stored).max(*position);
        }
        Committed { appended, edited }
    }

    fn append(&mut self, append: &Append) -> Appended {
        if let Some(&(seq, time_ms)) = self.idem.get(&append.idem) {
            return Appended::duplicate_of(seq, time_ms);
        }
        let of = self.convs.entry(append.conv.clone()).or_default();
        of.messages.push(Message {
            time_ms: append.time_ms,
            idem: append.idem.clone(),
            edit: 0,
            body: append.body.clone(),
            uncounted: append.uncounted,
            hidden_from: BTreeSet::new(),
            readers: BTreeSet::new(),
        });
        let seq = number(of.messages.len());
        self.idem.insert(append.idem.clone(), (seq, append.time_ms));
        let positions = point(&mut self.logs, &append.logs, (&append.conv, seq, true));
        Appended { seq, time_ms: append.time_ms, positions, duplicate: false }
    }

    fn message(&mut self, conv: &ConvKey, seq: u64) -> Option<&mut Message> {
        let of = self.convs.get_mut(conv)?;
        of.kept(seq)?;
        of.messages.get_mut(usize::try_from(seq).ok()?.checked_sub(1)?)
    }

    fn kept(&self, conv: &ConvKey) -> impl DoubleEndedIterator<Item = Entry> {
        let of = self.convs.get(conv);
        let seqs = of.map_or(1..1, |of| number(of.floor) + 1..number(of.messages.len()) + 1);
        seqs.filter_map(move |seq| of?.entry(seq))
    }

    fn entry(&self, conv: &ConvKey, seq: u64) -> Option<Entry> {
        self.convs.get(conv)?.entry(seq)
    }

    fn heads(&self, conv: &ConvKey) -> Heads {
        let Some(of) = self.convs.get(conv) else { return Heads::default() };
        Heads {
            seq: number(of.messages.len()),
            edit: number(of.changes.len()),
            time_ms: of.messages.last().map_or(0, |message| message.time_ms),
            floor: number(of.floor),
        }
    }

    fn read(&self, conv: &ConvKey, range: Range, limit: PageLimit) -> Vec<Entry> {
        let size = |entry: &Entry| entry.body.len();
        match range {
            Range::After(after) => page(self.kept(conv).filter(|entry| entry.seq > after), limit, size),
            Range::Before(before) => {
                page(self.kept(conv).rev().filter(|entry| entry.seq < before), limit, size)
            }
        }
    }

    fn seq_at(&self, conv: &ConvKey, time_ms: u64) -> u64 {
        let found = self.kept(conv).find(|entry| entry.time_ms >= time_ms);
        found.map_or_else(|| self.heads(conv).seq + 1, |entry| entry.seq)
    }

    fn edits(&self, conv: &ConvKey, after: u64, limit: usize) -> Vec<(u64, u64)> {
        let Some(of) = self.convs.get(conv) else { return Vec::new() };
        let changes = (1..).zip(&of.changes).filter(|(edit, _)| *edit > after);
        let last = changes.filter(|(edit, seq)| of.kept(**seq).is_some_and(|message| message.edit == *edit));
        last.map(|(edit, seq)| (edit, *seq)).take(limit.max(1)).collect()
    }

    fn readers(&self, conv: &ConvKey, seq: u64, after: Option<&UserKey>, limit: usize) -> Vec<UserKey> {
        let message = self.convs.get(conv).and_then(|of| of.kept(seq));
        let readers = message.into_iter().flat_map(|message| &message.readers);
        readers.filter(|user| after.is_none_or(|after| *user > after)).take(limit.max(1)).cloned().collect()
    }

    fn hidden(&self, user: &UserKey, conv: &ConvKey) -> Vec<u64> {
        let of = self.convs.get(conv);
        let hidden =
            |seq: &u64| of.and_then(|of| of.kept(*seq)).is_some_and(|m| m.hidden_from.contains(user));
        (1..=self.heads(conv).seq).filter(hidden).collect()
    }

    fn uncounted(&self, user: &UserKey, span: &Span) -> u64 {
        let Some(of) = self.convs.get(&span.conv) else { return 0 };
        let not = |message: &Message| message.uncounted || (span.own && message.idem.sender == *user);
        let seqs = span.first..=span.last.min(number(of.messages.len()));
        seqs.filter_map(|seq| of.kept(seq)).filter(|message| not(message)).count() as u64
    }

    fn pairs(&self, user: &UserKey) -> Vec<ConvKey> {
        let with = |conv: &&ConvKey| matches!(conv.kind(), ConvKind::Pair(a, b) if a == *user || b == *user);
        self.convs.keys().filter(with).cloned().collect()
    }

    fn walk(&self, talk: Talk, since_ms: u64) -> Vec<ConvKey> {
        let is_of = |conv: &&ConvKey| match talk {
            Talk::Pairs => conv.is_pair(),
            Talk::Groups => conv.is_group(),
        };
        let convs = self.convs.keys().filter(is_of);
        convs.filter(|conv| self.heads(conv).time_ms >= since_ms).cloned().collect()
    }

    fn log_head(&self, user: &UserKey) -> u64 {
        self.logs.get(user).map_or(0, |log| number(log.entries.len()))
    }

    fn read_log(&self, user: &UserKey, after: u64, limit: PageLimit) -> Vec<LogEntry> {
        let entries = self.logs.get(user).into_iter().flat_map(|log| (1..).zip(&log.entries));
        let entries = entries.filter(|(position, _)| *position > after);
        let kept = entries.filter_map(|(position, (conv, seq, first))| {
            Some(LogEntry { position, first: *first, conv: conv.clone(), entry: self.entry(conv, *seq)? })
        });
        page(kept, limit, |item| item.entry.body.len())
    }

    /// How many messages, and entries at the front of logs, went.
    fn trim(&mut self, retention: &dyn Fn(&ConvKey) -> u64) -> (u64, u64) {
        let mut gone = (0, 0);
        for (conv, of) in &mut self.convs {
            let cutoff_ms = retention(conv);
            while let Some(message) = of.messages.get(of.floor)
                && message.time_ms < cutoff_ms
            {
                self.idem.remove(&message.idem);
                of.floor += 1;
                gone.0 += 1;
            }
        }
        for log in self.logs.values_mut() {
            while let Some((conv, seq, _)) = log.entries.get(log.floor)
                && self.convs[conv].kept(*seq).is_none()
            {
                log.floor += 1;
                gone.1 += 1;
            }
        }
        gone
    }
}

/// Adds an entry to each log; returns where it stands.
fn point(
    logs: &mut BTreeMap<UserKey, Log>,
    users: &[UserKey],
    (conv, seq, first): (&ConvKey, u64, bool),
) -> Vec<u64> {
    let add = |user: &UserKey| {
        let log = logs.entry(user.clone()).or_default();
        log.entries.push((conv.clone(), seq, first));
        number(log.entries.len())
    };
    users.iter().map(add).collect()
}

fn page<T>(items: impl Iterator<Item = T>, limit: PageLimit, size: impl Fn(&T) -> usize) -> Vec<T> {
    let mut bytes = 0;
    let mut page = Vec::new();
    for item in items {
        bytes += size(&item);
        page.push(item);
        if page.len() >= limit.entries || bytes >= limit.bytes {
            break;
        }
    }
    page
}
