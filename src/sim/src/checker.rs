//! Judges a history by the words of the promise.
//!
//! | word of the promise | verdict when broken |
//! | --- | --- |
//! | an acknowledged message is never lost | [`Verdict::Lost`] |
//! | each device shows it exactly once; sending again never duplicates it | [`Verdict::Duplicated`] |
//! | messages of one conversation have the same order on every device | [`Verdict::Reordered`] |
//! | a client that reconnects misses nothing | [`Verdict::Gap`] |
//! | (nothing appears that nobody sent, or for whom it was not sent) | [`Verdict::Unexpected`] |
//!
//! Definitions follow Jepsen's set checkers. What was not acknowledged may exist or not; once any device showed it, it
//! must exist. A run that acknowledged nothing, injected no fault or was never read back proves nothing:
//! [`Judgement::Unknown`], not a pass.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use crate::history::{EDITED, Message, MsgId, Record, What, Who, short};

mod groups;

pub use groups::{Seen, State};

/// How the promise was broken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verdict {
    /// Acknowledged or shown, and not there at the end; or there, and never shown to a device that is up to date.
    Lost,
    /// Shown or stored, and never sent, not with these words, or not to this user.
    Unexpected,
    /// Shown twice by one device, or stored twice.
    Duplicated,
    /// Two readers disagree about the order, or one reader saw it go back.
    Reordered,
    /// A number that was never filled, or an entry that a device jumped over.
    Gap,
    /// Of a group: an acknowledged change or confirmation that is not there, or a device that shows another state than the store has.
    Diverged,
}

/// One violation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// Which rule.
    pub verdict: Verdict,
    /// What was seen.
    pub text: String,
}

/// Whether the promise was kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Judgement {
    /// Kept.
    Pass,
    /// Broken: see the findings.
    Fail,
    /// The run cannot show either.
    Unknown(&'static str),
}

/// The result of [`check`].
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Summary {
    /// Messages that a user sent.
    pub attempted: u64,
    /// Of them acknowledged.
    pub acknowledged: u64,
    /// Never acknowledged, and stored nevertheless: legal.
    pub recovered: u64,
    /// Messages shown, over all devices.
    pub shown: u64,
    /// Entries that the final reader found.
    pub stored: u64,
    /// Faults injected.
    pub faults: u64,
    /// Violations, [`FINDINGS_MAX`] at most.
    pub findings: Vec<Finding>,
    /// Violations beyond those.
    pub further: u64,
}

/// Findings that are kept in words. One bug can break thousands of messages; the first ones tell the story.
pub const FINDINGS_MAX: usize = 40;

impl Summary {
    /// Whether the promise was kept.
    #[must_use]
    pub fn judgement(&self) -> Judgement {
        if !self.findings.is_empty() {
            Judgement::Fail
        } else if self.acknowledged == 0 {
            Judgement::Unknown("nothing was acknowledged")
        } else if self.faults == 0 {
            Judgement::Unknown("no fault was injected")
        } else if self.stored == 0 {
            Judgement::Unknown("the store was not read at the end")
        } else {
            Judgement::Pass
        }
    }

    /// Whether a rule was broken.
    #[must_use]
    pub fn has(&self, verdict: Verdict) -> bool {
        self.findings.iter().any(|finding| finding.verdict == verdict)
    }

    pub(crate) fn find(&mut self, verdict: Verdict, text: String) {
        if self.findings.len() < FINDINGS_MAX {
            self.findings.push(Finding { verdict, text });
        } else {
            self.further += 1;
        }
    }
}

/// Judges a history. `complete` names the devices that were online and had caught up when it ended: each must have
/// shown every entry of its user's log, except what it sent itself.
#[must_use]
pub fn check(history: &[Record], complete: &[Who]) -> Summary {
    let mut checker = Checker::default();
    for record in history {
        checker.take(record);
    }
    let mut summary = checker.finish(complete);
    groups::check(history, complete, &mut summary);
    summary
}

/// The two sides of a conversation, in order.
type Conv = (Arc<str>, Arc<str>);

#[derive(Debug)]
struct Attempt {
    who: Who,
    to: Arc<str>,
    content: Arc<str>,
    acknowledged: bool,
    refused: bool,
}

/// What one device has shown and still knows.
#[derive(Debug, Default)]
struct Display {
    shown: BTreeMap<u64, MsgId>,
    /// Sent and acknowledged since the software started: the device must not show it again as an incoming message.
    /// After a restart the device may learn of its own messages from the log.
    sent: BTreeSet<MsgId>,
    seqs: BTreeMap<Conv, u64>,
    restarted: bool,
}

/// A user's log as the final reader found it.
#[derive(Debug, Default)]
struct Log {
    entries: BTreeMap<u64, MsgId>,
    /// Positions that hold something else.
    others: BTreeSet<u64>,
    ids: BTreeSet<MsgId>,
}

#[derive(Debug, Default)]
struct Checker {
    summary: Summary,
    attempts: BTreeMap<MsgId, Attempt>,
    displays: BTreeMap<Who, Display>,
    /// Which message has which number of a conversation, by any witness.
    seqs: BTreeMap<(Conv, u64), MsgId>,
    places: BTreeMap<MsgId, (Conv, u64)>,
    /// Which message has which position of a user's log, by any witness.
    positions: BTreeMap<(Arc<str>, u64), MsgId>,
    logs: BTreeMap<Arc<str>, Log>,
    seen: BTreeMap<MsgId, Who>,
}

impl Checker {
    fn take(&mut self, Record { who, what, .. }: &Record) {
        match what {
            What::Invoke { id, to, content } => self.invoke(who, *id, to, content),
            What::Ok { id, seq } => self.acknowledge(who, *id, *seq),
            What::Fail { id, .. } => {
                if let Some(attempt) = self.attempts.get_mut(id) {
                    attempt.refused = true;
                }
            }
            What::Info { .. } => {}
            What::Shown { position, message } => self.show(who, *position, message),
            What::Changed { position, message } => self.change(who, *position, message),
            What::Restarted => self.displays.entry(who.clone()).or_default().restarted = true,
            What::Resumed { cursor } => self.displays.entry(who.clone()).or_default().resume(*cursor),
            What::Stored { position, message } => self.store(who, *position, message),
            What::Fault { .. } => self.summary.faults += 1,
            What::Group { .. } => {}
            What::Noticed { position } => {
                self.logs.entry(who.user.clone()).or_default().others.insert(*position);
            }
        }
    }

    fn invoke(&mut self, who: &Who, id: MsgId, to: &Arc<str>, content: &Arc<str>) {
        self.summary.attempted += 1;
        let (to, content) = (to.clone(), content.clone());
        let attempt = Attempt { who: who.clone(), to, content, acknowledged: false, refused: false };
        if self.attempts.insert(id, attempt).is_some() {
            let text = format!("{who} used the id {} for two messages", short(&id));
            self.summary.find(Verdict::Duplicated, text);
        }
    }

    fn acknowledge(&mut self, who: &Who, id: MsgId, seq: u64) {
        let Some(attempt) = self.attempts.get_mut(&id) else {
            let text = format!("{who} got an acknowledgement for {}, which nobody sent", short(&id));
            return self.summary.find(Verdict::Unexpected, text);
        };
        if std::mem::replace(&mut attempt.acknowledged, true) {
            let text = format!("{who} was told twice that {} is stored", short(&id));
            return self.summary.find(Verdict::Duplicated, text);
        }
        self.summary.acknowledged += 1;
        let conv = conv(&attempt.who.user, &attempt.to);
        self.displays.entry(who.clone()).or_default().sent.insert(id);
        self.learn_seq(conv, seq, id);
    }

    fn show(&mut self, who: &Who, position: u64, message: &Message) {
        self.summary.shown += 1;
        self.expect_sent(who, "shown", message);
        self.learn_position(&who.user, position, message.id);
        let conv = conv(&message.from, &message.to);
        self.learn_seq(conv.clone(), message.seq, message.id);
        self.seen.entry(message.id).or_insert_with(|| who.clone());

        let display = self.displays.entry(who.clone()).or_default();
        let again = display.shown.contains_key(&position) || display.sent.contains(&message.id);
        let last = display.shown.last_key_value().map_or(0, |(last, _)| *last);
        let last_seq = display.seqs.insert(conv, message.seq).unwrap_or(0);
        display.shown.insert(position, message.id);
        if again {
            let text = format!("{who} showed {message} (position {position}) again");
            self.summary.find(Verdict::Duplicated, text);
        } else if position < last {
            let text = format!("{who} showed position {position} ({message}) after position {last}");
            self.summary.find(Verdict::Reordered, text);
        } else if message.seq <= last_seq {
            let text = format!("{who} showed {message} after seq {last_seq} of the same conversation");
            self.summary.find(Verdict::Reordered, text);
        }
    }

    /// Only what the device has shown, or has sent itself, can be changed there.
    fn change(&mut self, who: &Who, position: u64, message: &Message) {
        self.expect_sent(who, "changed for", message);
        let own = self.attempts.get(&message.id).is_some_and(|attempt| attempt.who == *who);
        let known =
            self.displays.get(who).is_some_and(|display| display.shown.values().any(|id| *id == message.id));
        if !own && !known {
            let text =
                format!("{who} was told at {position} of a change of {message}, which it has not shown");
            self.summary.find(Verdict::Unexpected, text);
        }
    }

    fn store(&mut self, who: &Who, position: u64, message: &Message) {
        self.summary.stored += 1;
        self.expect_sent(who, "stored for", message);
        self.learn_position(&who.user, position, message.id);
        self.learn_seq(conv(&message.from, &message.to), message.seq, message.id);
        let log = self.logs.entry(who.user.clone()).or_default();
        log.entries.insert(position, message.id);
        if !log.ids.insert(message.id) {
            let text = format!("the log of {} holds {message} twice", who.user);
            self.summary.find(Verdict::Duplicated, text);
        }
    }

    /// The message was sent, with these words, by this sender, to a conversation that `who` is a side of.
    fn expect_sent(&mut self, who: &Who, how: &str, message: &Message) {
        let wrong = match self.attempts.get(&message.id) {
            None => "was never sent",
            Some(attempt) if attempt.refused => "was refused",
            Some(attempt) if !says(message, &attempt.content) => "was sent with other words",
            Some(attempt) if attempt.who.user != message.from || attempt.to != message.to => {
                "was sent between other users"
            }
            Some(_) if message.from != who.user && message.to != who.user => "is not for this user",
            Some(_) => return,
        };
        self.summary.find(Verdict::Unexpected, format!("{message}, {how} {who}, {wrong}"));
    }

    /// The first witness of a place counts; each that disagrees is a finding.
    fn learn_seq(&mut self, conv: Conv, seq: u64, id: MsgId) {
        let other = *self.seqs.entry((conv.clone(), seq)).or_insert(id);
        let place = self.places.entry(id).or_insert_with(|| (conv.clone(), seq));
        if *place != (conv.clone(), seq) {
            let text = format!(
                "{} has seq {} of {} and seq {seq} of {}",
                short(&id),
                place.1,
                pair(&place.0),
                pair(&conv)
            );
            self.summary.find(Verdict::Duplicated, text);
        }
        if other != id {
            let text = format!("seq {seq} of {} is {} and {}", pair(&conv), short(&other), short(&id));
            self.summary.find(Verdict::Reordered, text);
        }
    }

    fn learn_position(&mut self, user: &Arc<str>, position: u64, id: MsgId) {
        let other = *self.positions.entry((user.clone(), position)).or_insert(id);
        if other != id {
            let text = format!("position {position} of {user} is {} and {}", short(&other), short(&id));
            self.summary.find(Verdict::Reordered, text);
        }
    }

    fn finish(mut self, complete: &[Who]) -> Summary {
        self.find_lost();
        self.find_holes();
        for who in complete {
            self.find_not_shown(who);
        }
        self.summary
    }

    fn find_lost(&mut self) {
        let stored =
            |id: &MsgId, user: &Arc<str>| self.logs.get(user).is_some_and(|log| log.ids.contains(id));
        let mut lost = Vec::new();
        for (id, attempt) in &self.attempts {
            let missing = [&attempt.who.user, &attempt.to].into_iter().find(|user| !stored(id, user));
            let Some(user) = missing else {
                self.summary.recovered += u64::from(!attempt.acknowledged);
                continue;
            };
            let witness = match (attempt.acknowledged, self.seen.get(id)) {
                (true, _) => format!("acknowledged to {}", attempt.who),
                (false, Some(who)) => format!("shown by {who}"),
                // Half a message is not a legal state either: it is in both logs or in none.
                (false, None) if stored(id, &attempt.who.user) || stored(id, &attempt.to) => {
                    "stored for one side".to_owned()
                }
                (false, None) => continue,
            };
            let (name, content) = (short(id), &attempt.content);
            lost.push(format!("{name} {content:?}, {witness}, is not in the log of {user}"));
        }
        for text in lost {
            self.summary.find(Verdict::Lost, text);
        }
    }

    fn find_holes(&mut self) {
        let mut next: BTreeMap<&Conv, u64> = BTreeMap::new();
        let mut holes = Vec::new();
        for (conv, seq) in self.seqs.keys() {
            let want = next.entry(conv).or_insert(1);
            if *seq != *want {
                holes.push(format!("{} has no seq {want} but seq {seq}", pair(conv)));
            }
            *want = seq + 1;
        }
        for (user, log) in &self.logs {
            let mut want = 1;
            let mut positions: Vec<u64> = log.entries.keys().chain(&log.others).copied().collect();
            positions.sort_unstable();
            for position in positions {
                if position != want {
                    holes.push(format!("the log of {user} has no position {want} but {position}"));
                }
                want = position + 1;
            }
        }
        for text in holes {
            self.summary.find(Verdict::Gap, text);
        }
    }

    fn find_not_shown(&mut self, who: &Who) {
        let nothing = Display::default();
        let display = self.displays.get(who).unwrap_or(&nothing);
        let last = display.shown.last_key_value().map_or(0, |(last, _)| *last);
        let mut findings = Vec::new();
        for (position, id) in self.logs.get(&who.user).into_iter().flat_map(|log| &log.entries) {
            let sent_here = self.attempts.get(id).is_some_and(|attempt| attempt.who == *who);
            if sent_here || display.shown.contains_key(position) {
                continue;
            }
            let name = short(id);
            findings.push(if *position < last {
                (Verdict::Gap, format!("{who} showed position {last} and never position {position} ({name})"))
            } else {
                (Verdict::Lost, format!("{who} had caught up and never showed position {position} ({name})"))
            });
        }
        for (verdict, text) in findings {
            self.summary.find(verdict, text);
        }
    }
}

impl Display {
    /// A session begins. Only a restart may make a device forget; what it forgot it may show again.
    fn resume(&mut self, cursor: u64) {
        if std::mem::take(&mut self.restarted) {
            self.shown.split_off(&(cursor + 1));
            self.sent.clear();
            // Order across a restart is judged by position; the seq of what was forgotten comes again.
            self.seqs.clear();
        }
    }
}

/// Whether a message says what was sent, or something that it was edited to.
fn says(message: &Message, sent: &str) -> bool {
    message.content.strip_prefix(sent).is_some_and(|rest| rest.is_empty() || rest.starts_with(EDITED))
}

fn conv(a: &Arc<str>, b: &Arc<str>) -> Conv {
    if a <= b { (a.clone(), b.clone()) } else { (b.clone(), a.clone()) }
}

fn pair((a, b): &Conv) -> String {
    format!("{a}+{b}")
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {}", self.verdict, self.text)
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { attempted, acknowledged, recovered, shown, stored, faults, .. } = self;
        write!(f, "{attempted} sent, {acknowledged} acknowledged, {recovered} recovered, ")?;
        write!(f, "{shown} shown, {stored} stored, {faults} faults")?;
        for finding in &self.findings {
            write!(f, "\n  {finding}")?;
        }
        if self.further > 0 {
            write!(f, "\n  and {} more", self.further)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
