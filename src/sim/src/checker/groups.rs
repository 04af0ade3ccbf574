//! The promise in groups and live rooms.
//!
//! A group's message is one row, in no user's log: its place is its number in the group. Members are judged by what is stored behind
//! the place where they joined; who is no member at the end is owed nothing. Beside the words of the promise a group has states that
//! must agree in the end: [`Verdict::Diverged`] names a recall, an edit or a confirmation that was acknowledged and is not there, and a
//! device that shows another state of a message than the store has.
//!
//! A live room stores nothing and owes no message to anybody. What it owes is the account: what came and what the SDK says was missed
//! make up what the room has taken, and that is what senders were told is sent.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::{Summary, Verdict};
use crate::history::{MsgId, Record, What, Who, short};

/// One thing that happened in a group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Seen {
    /// The user pressed send.
    Invoke {
        /// The message.
        id: MsgId,
        /// What it says; unique in a run.
        content: Arc<str>,
    },
    /// The server acknowledged it. Place 0: it is not stored (above the group's rate, or in a live room).
    Ok {
        /// The message.
        id: MsgId,
        /// Its place.
        seq: u64,
    },
    /// Refused for good: it must not exist.
    Fail {
        /// The message.
        id: MsgId,
    },
    /// A device showed a message for the first time since its memory of the group began.
    Shown {
        /// The message; of a tip whatever the server chose.
        id: MsgId,
        /// Its place.
        seq: u64,
        /// As it stands.
        state: State,
    },
    /// A device heard that a message is another one now.
    Changed {
        /// Its place.
        seq: u64,
        /// As it stands.
        state: State,
    },
    /// The server acknowledged a recall or an edit.
    Amended {
        /// The message.
        seq: u64,
        /// Which of the two.
        recalled: bool,
    },
    /// The server acknowledged that the user has read a message.
    Confirmed {
        /// The message.
        seq: u64,
    },
    /// The software has started again and knows the group up to here; 0 without a memory.
    Remembered {
        /// Place of the last message that it has shown.
        seq: u64,
    },
    /// The final reader found this message.
    Stored {
        /// The message.
        id: MsgId,
        /// Its place.
        seq: u64,
        /// As it stands.
        state: State,
        /// Who has confirmed to have read it.
        readers: Vec<Arc<str>>,
    },
    /// The final reader found this user in the group.
    Member {
        /// Place of the newest message when the user joined.
        joined: u64,
    },
    /// A frame of a live room came.
    Live {
        /// The message that it brings, if it does.
        id: Option<MsgId>,
        /// Which life of the room.
        since_ms: u64,
        /// Frames that the room has taken, of all classes.
        taken: u64,
        /// Of them those that went to nobody.
        folded: u64,
        /// What the SDK says that this device has missed.
        missed: u64,
    },
}

/// A message as it stands.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct State {
    /// Number of its last change; 0: as it was sent.
    pub edit: u64,
    /// It was taken back.
    pub recalled: bool,
    /// What it says; `None`: nothing of a user's (a tip, or taken back).
    pub content: Option<Arc<str>>,
}

#[derive(Debug)]
struct Attempt {
    who: Who,
    content: Arc<str>,
    seq: Option<u64>,
    refused: bool,
}

#[derive(Debug)]
struct Stored {
    id: MsgId,
    state: State,
    readers: Vec<Arc<str>>,
}

/// What a device has shown of a group.
#[derive(Debug, Default)]
struct Display {
    /// As far as it knows, and in which state.
    shown: BTreeMap<u64, State>,
    /// In any of its lives.
    ever: BTreeSet<u64>,
    /// Last one of this life.
    last: u64,
    /// Own ones that were acknowledged in this life.
    own: BTreeSet<u64>,
}

#[derive(Debug, Default)]
struct Group {
    attempts: BTreeMap<MsgId, Attempt>,
    stored: BTreeMap<u64, Stored>,
    places: BTreeMap<MsgId, u64>,
    displays: BTreeMap<Who, Display>,
    members: BTreeMap<Arc<str>, u64>,
    amended: Vec<(Who, u64, bool)>,
    confirmed: Vec<(Who, u64)>,
    books: BTreeMap<Who, Book>,
    /// Of each life of a live room, by devices that have heard of it: the most that it had taken and folded.
    rooms: BTreeMap<u64, (u64, u64)>,
    /// Lives before a hand-over. Their last frames may come after the answer to a join of the next one, with which the books begin
    /// anew; so they are on nobody's account.
    over: BTreeSet<u64>,
}

/// What a session got of a live room.
///
/// When its account begins nobody hears but the SDK, by the answer to the join. What others had heard when the session began is not on it,
/// and the first frame that came is: so the rest of what was taken, which is not on the account, lies between the two, and is always
/// the same.
#[derive(Debug, Default)]
struct Book {
    since_ms: u64,
    former_ms: u64,
    /// Of each life of the room: what it had taken, as far as anybody had heard, when the session began.
    heard: BTreeMap<u64, u64>,
    /// What the room had taken before the first frame that came.
    first: Option<u64>,
    got: u64,
    missed: u64,
    taken: u64,
    ids: BTreeSet<MsgId>,
}

impl Book {
    /// What was taken and is not on the account.
    fn rest(&self) -> u64 {
        self.taken.saturating_sub(self.got + self.missed)
    }
}

/// Judges what a history tells of groups, into `summary`.
pub(super) fn check(history: &[Record], complete: &[Who], summary: &mut Summary) {
    let mut groups: BTreeMap<Arc<str>, Group> = BTreeMap::new();
    for Record { who, what, .. } in history {
        match what {
            What::Group { group, seen } => {
                groups.entry(group.clone()).or_default().take(group, who, seen, summary);
            }
            // The books of a live room begin with each session.
            What::Resumed { .. } => groups.values_mut().for_each(|group| {
                let heard = group.rooms.iter().map(|(since_ms, (taken, _))| (*since_ms, *taken)).collect();
                group.books.insert(who.clone(), Book { heard, ..Book::default() });
            }),
            What::Fault { kind: "hand-over" } => {
                groups.values_mut().for_each(|group| group.over.extend(group.rooms.keys()));
            }
            _ => {}
        }
    }
    for (name, group) in &groups {
        group.judge_store(name, summary);
        for who in complete {
            group.judge_device(name, who, summary);
        }
        group.judge_room(name, complete, summary);
    }
}

impl Group {
    fn take(&mut self, name: &str, who: &Who, seen: &Seen, summary: &mut Summary) {
        match seen {
            Seen::Invoke { id, content } => {
                summary.attempted += 1;
                let (who, content) = (who.clone(), content.clone());
                self.attempts.insert(*id, Attempt { who, content, seq: None, refused: false });
            }
            Seen::Ok { id, seq } => self.acknowledge(name, who, *id, *seq, summary),
            Seen::Fail { id } => {
                if let Some(attempt) = self.attempts.get_mut(id) {
                    attempt.refused = true;
                }
            }
            Seen::Shown { id, seq, state } => self.show(name, who, *id, *seq, state, summary),
            Seen::Changed { seq, state } => {
                let display = self.displays.entry(who.clone()).or_default();
                if display.shown.contains_key(seq) || display.own.contains(seq) {
                    display.shown.insert(*seq, state.clone());
                }
            }
            Seen::Amended { seq, recalled } => self.amended.push((who.clone(), *seq, *recalled)),
            Seen::Confirmed { seq } => self.confirmed.push((who.clone(), *seq)),
            Seen::Remembered { seq } => {
                let display = self.displays.entry(who.clone()).or_default();
                display.shown.split_off(&(seq + 1));
                display.own.clear();
                display.last = *seq;
                if *seq == 0 {
                    display.shown.clear();
                }
            }
            Seen::Stored { id, seq, state, readers } => {
                summary.stored += 1;
                let kept = Stored { id: *id, state: state.clone(), readers: readers.clone() };
                self.stored.insert(*seq, kept);
                if let Some(first) = self.places.insert(*id, *seq) {
                    let text = format!("{name} holds {} at {first} and at {seq}", short(id));
                    summary.find(Verdict::Duplicated, text);
                }
            }
            Seen::Member { joined } => {
                self.members.insert(who.user.clone(), *joined);
            }
            Seen::Live { .. } => self.live(name, who, seen, summary),
        }
    }

    fn acknowledge(&mut self, name: &str, who: &Who, id: MsgId, seq: u64, summary: &mut Summary) {
        let Some(attempt) = self.attempts.get_mut(&id) else {
            let text =
                format!("{who} got an acknowledgement of {name} for {}, which nobody sent", short(&id));
            return summary.find(Verdict::Unexpected, text);
        };
        if attempt.seq.replace(seq).is_some() {
            let text = format!("{who} was told twice that {} is in {name}", short(&id));
            return summary.find(Verdict::Duplicated, text);
        }
        summary.acknowledged += 1;
        if seq > 0 {
            self.displays.entry(who.clone()).or_default().own.insert(seq);
        }
    }

    fn show(&mut self, name: &str, who: &Who, id: MsgId, seq: u64, state: &State, summary: &mut Summary) {
        summary.shown += 1;
        let sent = self.attempts.get(&id);
        if let Some(content) = &state.content {
            let wrong = match sent {
                None => Some("was never sent"),
                Some(attempt) if attempt.refused => Some("was refused"),
                Some(attempt) if state.edit == 0 && attempt.content != *content => {
                    Some("was sent with other words")
                }
                Some(_) => None,
            };
            if let Some(wrong) = wrong {
                let text = format!("{who} showed {} of {name} ({content}), which {wrong}", short(&id));
                summary.find(Verdict::Unexpected, text);
            }
        }
        let display = self.displays.entry(who.clone()).or_default();
        if display.shown.insert(seq, state.clone()).is_some() || display.own.contains(&seq) {
            summary.find(Verdict::Duplicated, format!("{who} showed {seq} of {name} again"));
        } else if seq <= display.last {
            let text = format!("{who} showed {seq} of {name} after {}", display.last);
            summary.find(Verdict::Reordered, text);
        }
        display.last = display.last.max(seq);
        display.ever.insert(seq);
    }

    fn judge_store(&self, name: &str, summary: &mut Summary) {
        let mut want = 1;
        for seq in self.stored.keys() {
            if *seq != want {
                summary.find(Verdict::Gap, format!("{name} has no {want} but {seq}"));
            }
            want = seq + 1;
        }
        for (id, attempt) in &self.attempts {
            let place = self.places.get(id);
            let short = short(id);
            match (attempt.seq, place) {
                (Some(0), None) | (None, None) => {}
                (Some(seq), None) => {
                    let text =
                        format!("{short}, acknowledged to {} as {seq} of {name}, is not there", attempt.who);
                    summary.find(Verdict::Lost, text);
                }
                (Some(seq), Some(place)) if seq != *place && seq > 0 => {
                    let text = format!("{short} of {name} is at {place}, {} was told {seq}", attempt.who);
                    summary.find(Verdict::Reordered, text);
                }
                (_, Some(place)) if attempt.refused => {
                    summary.find(Verdict::Unexpected, format!("{short}, refused, is at {place} of {name}"));
                }
                (told, Some(_)) => summary.recovered += u64::from(told.is_none()),
            }
        }
        for (who, seq, recalled) in &self.amended {
            let stands = self.stored.get(seq).map(|stored| &stored.state);
            // Who takes a message back after an edit ends with a recall; the other way round is refused.
            if !stands.is_some_and(|state| state.edit > 0 && (state.recalled || !recalled)) {
                let what = if *recalled { "recall" } else { "edit" };
                let text = format!("the {what} of {seq} in {name}, acknowledged to {who}, left {stands:?}");
                summary.find(Verdict::Diverged, text);
            }
        }
        for (who, seq) in &self.confirmed {
            if !self.stored.get(seq).is_some_and(|stored| stored.readers.contains(&who.user)) {
                let text = format!("{who} has read {seq} of {name}, and is not among its readers");
                summary.find(Verdict::Diverged, text);
            }
        }
    }

    fn judge_device(&self, name: &str, who: &Who, summary: &mut Summary) {
        let nothing = Display::default();
        let display = self.displays.get(who).unwrap_or(&nothing);
        for seq in display.shown.keys().filter(|seq| !self.stored.contains_key(seq)) {
            summary.find(Verdict::Lost, format!("{who} showed {seq} of {name}, which is not there"));
        }
        // Who has left hears of no change, and who comes back not of those that were made meanwhile.
        let Some(joined) = self.members.get(&who.user) else { return };
        for (seq, state) in display.shown.range(joined + 1..) {
            if let Some(stored) = self.stored.get(seq).filter(|stored| stored.state != *state) {
                let text = format!("{who} shows {seq} of {name} as {state:?}, it is {:?}", stored.state);
                summary.find(Verdict::Diverged, text);
            }
        }
        for (seq, stored) in self.stored.range(joined + 1..) {
            let own = self.attempts.get(&stored.id).is_some_and(|attempt| attempt.who == *who);
            if !own && !display.ever.contains(seq) {
                let text =
                    format!("{who}, in {name} since {joined}, never showed {seq} ({})", short(&stored.id));
                summary.find(Verdict::Lost, text);
            }
        }
    }

    fn live(&mut self, name: &str, who: &Who, seen: &Seen, summary: &mut Summary) {
        let Seen::Live { id, since_ms, taken, folded, missed } = seen else { return };
        summary.shown += u64::from(id.is_some());
        let book = self.books.entry(who.clone()).or_default();
        if *since_ms == book.former_ms || self.over.contains(since_ms) {
            return;
        }
        if book.since_ms != *since_ms {
            let heard = std::mem::take(&mut book.heard);
            *book = Book { since_ms: *since_ms, former_ms: book.since_ms, heard, ..Book::default() };
        }
        book.got += 1;
        book.taken = book.taken.max(*taken);
        let room = self.rooms.entry(*since_ms).or_default();
        *room = (room.0.max(*taken), room.1.max(*folded));
        book.missed = *missed;
        // The answer to a second join may overtake frames: they count as missed until they come. So there may be more on the account than
        // this frame says, and never less.
        let before = book.taken.saturating_sub(1);
        let first = *book.first.get_or_insert(before);
        if book.rest() > first {
            let text = format!(
                "{who} got {} of {name} since {first} and missed {missed}, the room has taken {}",
                book.got, book.taken
            );
            summary.find(Verdict::Lost, text);
        }
        let Some(id) = id else { return };
        if !book.ids.insert(*id) {
            summary.find(Verdict::Duplicated, format!("{who} got {} of {name} again", short(id)));
        }
        if self.attempts.get(id).is_none_or(|attempt| attempt.refused) {
            let text = format!("{who} got {} of {name}, which nobody sent, or which was refused", short(id));
            summary.find(Verdict::Unexpected, text);
        }
    }

    /// In a room of one life the devices agree about what was taken, and it is at least what senders were told.
    fn judge_room(&self, name: &str, complete: &[Who], summary: &mut Summary) {
        if self.rooms.is_empty() {
            return;
        }
        // Nothing of a live room is read back: what its members heard stands for that.
        summary.stored += self.books.values().map(|book| book.ids.len() as u64).sum::<u64>();
        let last = self.rooms.last_key_value().filter(|(since_ms, _)| !self.over.contains(since_ms));
        let Some((last, (taken, _))) = last else { return };
        for who in complete {
            let Some(book) = self.books.get(who).filter(|book| book.since_ms == *last) else { continue };
            let heard = book.heard.get(last).copied().unwrap_or_default();
            if book.rest() < heard {
                let text = format!(
                    "{who} got {} of {name} and missed {} of {}, of which {heard} were none of its",
                    book.got, book.missed, book.taken
                );
                summary.find(Verdict::Unexpected, text);
            }
            if book.taken != *taken {
                let text = format!("{who} heard that {name} has taken {}, others {taken}", book.taken);
                summary.find(Verdict::Diverged, text);
            }
        }
        if self.rooms.len() > 1 {
            return;
        }
        let told = self.attempts.values().filter(|attempt| attempt.seq.is_some()).count() as u64;
        if *taken < told {
            let text =
                format!("{told} senders were told that {name} has their messages, it has taken {taken}");
            summary.find(Verdict::Lost, text);
        }
    }
}

#[cfg(test)]
mod tests;
