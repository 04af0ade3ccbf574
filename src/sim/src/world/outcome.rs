//! The end of a run: the store is read back, the checker judges, and what happened is counted.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use nearport_chat::directory::GroupStore as _;
use nearport_chat::key::{AppId, ConvKey, GroupKey, UserKey};
use nearport_chat::ledger::{Ledger as _, PageLimit, Range};
use nearport_wire::body::{self, element, target};
use prost::Message as _;

use super::{APP, World};
use crate::checker::{Judgement, Seen, Summary, check};
use crate::device::{Device, GROUP, stored_state};
use crate::history::{Message, MsgId, What, Who};
use crate::network::Traffic;
use crate::node::{Node, SHARDS};
use crate::plan::Kind;

/// Counts of one run, or of many.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Totals {
    /// Messages stored.
    pub messages: u64,
    /// Commits that the disk refused.
    pub failed_commits: u64,
    /// Faults by kind.
    pub faults: BTreeMap<&'static str, u64>,
    /// What the network did.
    pub traffic: Traffic,
    /// Connections that the shards accepted.
    pub connections: u64,
    /// Retry packets that they sent.
    pub retries: u64,
    /// Pushes dropped for sessions that could not take them.
    pub pushes_dropped: u64,
    /// Requests that found the backend's queues full.
    pub busy: u64,
    /// Logins by a resume token.
    pub resumed: u64,
    /// Resume tokens that were not taken.
    pub tokens_refused: u64,
    /// Steps of a connection that panicked.
    pub panics: u64,
}

/// What became of a seed.
#[derive(Debug)]
pub struct Outcome {
    /// The seed.
    pub seed: u64,
    /// What the checker found.
    pub summary: Summary,
    /// How long after the last fault the world was at rest, or what never came to rest.
    pub rest: Result<Duration, String>,
    /// Counts.
    pub totals: Totals,
    /// Virtual time.
    pub simulated: Duration,
    /// Real time.
    pub real: Duration,
    /// Equal for two runs of one seed.
    pub trace_hash: u64,
    /// The event log, if it was kept.
    pub trace: Vec<String>,
}

impl Outcome {
    /// `Err` says in words why the run is not a pass: a broken promise, or no rest. Whether [`Totals::panics`] may be
    /// more than 0 is for the caller to say, who can see what they were.
    ///
    /// # Errors
    /// The reason, over several lines.
    pub fn verdict(&self) -> Result<Proof, String> {
        if let Err(why) = &self.rest {
            return Err(format!(
                "no rest within {:?} after the last fault: {why}\n{}",
                super::HEAL_MAX,
                self.summary
            ));
        }
        match self.summary.judgement() {
            Judgement::Pass => Ok(Proof::Kept),
            Judgement::Unknown(why) => Ok(Proof::Nothing(why)),
            Judgement::Fail => Err(format!("the promise was broken\n{}", self.summary)),
        }
    }
}

/// What a run without a failure shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Proof {
    /// The promise was kept under faults.
    Kept,
    /// Nothing, and why.
    Nothing(&'static str),
}

impl World {
    /// What the log of a user holds after a position.
    pub(super) fn log_after(&self, user: &str, position: u64) -> Vec<(u64, Message)> {
        let all = PageLimit { entries: usize::MAX, bytes: usize::MAX };
        let user = UserKey::new(AppId(APP), user).expect("names of a plan are short and plain");
        let log = self.ledger.read_log(&user, position, all).expect("reads from memory do not fail");
        let notices = ConvKey::notices(&user);
        let messages = log.into_iter().filter(|entry| entry.conv != notices && entry.first);
        messages.map(|entry| (entry.position, decode(entry.entry.seq, &entry.entry.body))).collect()
    }

    /// Where the log of a user holds something else than messages: system notices, changes.
    fn others(&self, user: &str) -> Vec<u64> {
        let all = PageLimit { entries: usize::MAX, bytes: usize::MAX };
        let user = UserKey::new(AppId(APP), user).expect("names of a plan are short and plain");
        let log = self.ledger.read_log(&user, 0, all).expect("reads from memory do not fail");
        let notices = ConvKey::notices(&user);
        let others = log.iter().filter(|entry| entry.conv == notices || !entry.first);
        others.map(|entry| entry.position).collect()
    }

    /// What devices still lack of groups and rooms. A device whose session died with the server knows that only later, and a member
    /// lacks what is beyond its cursors.
    pub(super) fn groups_unrest(&self) -> Option<String> {
        let late = |device: &&Device| device.connected().is_none_or(|at| at < self.started);
        if let Some(device) = self.devices.iter().find(late) {
            return Some(format!("{} does not know of the server's restart", device.who()));
        }
        if let Some(device) = self.devices.iter().find(|device| device.is_adrift()) {
            return Some(format!("{} has not been heard of at its new address", device.who()));
        }
        let key = GroupKey::new(AppId(APP), GROUP).expect("a plain name");
        let heads = self.ledger.heads(&[key.conv()]).expect("reads from memory do not fail").pop()?;
        let group = self.directory.groups(&[key]).expect("a directory in memory").pop()??;
        self.devices.iter().find_map(|device| {
            let user =
                UserKey::new(AppId(APP), &device.who().user).expect("names of a plan are short and plain");
            let (seq, edit) = device.group_cursor().unwrap_or_default();
            let behind = group.members.contains_key(&user) && (seq < heads.seq || edit < heads.edit);
            behind.then(|| format!("{} stands at {seq} and {edit} of {heads:?}", device.who()))
        })
    }

    /// What the group holds, and who is in it.
    fn read_group(&mut self) {
        let key = GroupKey::new(AppId(APP), GROUP).expect("a plain name");
        let conv = key.conv();
        let all = PageLimit { entries: usize::MAX, bytes: usize::MAX };
        let entries = self.ledger.read(&conv, Range::After(0), all).expect("reads from memory do not fail");
        let reader = || Who { user: "reader".into(), device: "1".into() };
        for entry in entries {
            let (id, state) = stored_state(entry.edit, &entry.body);
            let readers = self.ledger.receipts(&conv, entry.seq, None, usize::MAX);
            let readers = readers.expect("reads from memory do not fail");
            let readers = readers.iter().map(|user| user.name().into()).collect();
            let seen = Seen::Stored { id, seq: entry.seq, state, readers };
            self.record(reader(), What::Group { group: GROUP.into(), seen });
        }
        let groups = self.directory.groups(&[key]).expect("a directory in memory");
        let members: Vec<_> = groups.into_iter().flatten().flat_map(|group| group.members).collect();
        for (user, member) in members {
            let seen = Seen::Member { joined: member.joined_seq };
            let who = Who { user: user.name().into(), device: "any".into() };
            self.record(who, What::Group { group: GROUP.into(), seen });
        }
    }

    pub(super) fn finish(mut self, rest: Result<Duration, String>, real: Duration) -> Outcome {
        if let Some(node) = self.node.take() {
            self.totals.add_life(&node);
        }
        // The final reader is a restarted process: it sees what the disk has, and no more.
        self.ledger.crash();
        let complete: Vec<Who> = match &rest {
            Ok(_) => self.devices.iter().map(|device| device.who().clone()).collect(),
            Err(_) => Vec::new(),
        };
        let mut users: Vec<_> = self.devices.iter().map(|device| device.who().user.clone()).collect();
        users.sort();
        users.dedup();
        for user in users {
            for (position, message) in self.log_after(&user, 0) {
                let who = Who { user: user.clone(), device: "log".into() };
                self.record(who, What::Stored { position, message });
            }
            for position in self.others(&user) {
                let who = Who { user: user.clone(), device: "log".into() };
                self.record(who, What::Noticed { position });
            }
        }
        if self.plan.kind == Kind::Group {
            self.read_group();
        }
        let summary = check(&self.history, &complete);
        self.totals.add_faults(&self.history);
        self.totals.traffic = self.network.traffic();
        let simulated = self.agenda.now();
        let (trace_hash, trace) = self.trace.finish();
        Outcome { seed: self.seed, summary, rest, totals: self.totals, simulated, real, trace_hash, trace }
    }
}

fn decode(seq: u64, body: &[u8]) -> Message {
    let message = body::Message::decode(body).unwrap_or_default();
    let to = match message.to.and_then(|to| to.target) {
        Some(target::Target::User(user)) => user,
        other => format!("{other:?}"),
    };
    let elements = message.content.unwrap_or_default().elements;
    let texts = elements.into_iter().filter_map(|element| match element.element {
        Some(element::Element::Text(text)) => Some(text.text),
        _ => None,
    });
    Message {
        id: MsgId::try_from(&message.client_msg_id[..]).unwrap_or_default(),
        from: message.from.into(),
        to: to.into(),
        content: texts.collect::<String>().into(),
        seq,
    }
}

impl Totals {
    pub(super) fn add_life(&mut self, node: &Node) {
        for shard in 0..SHARDS {
            let stats = node.stats(shard);
            self.connections += stats.accepted;
            self.retries += stats.retries;
            self.pushes_dropped += stats.pushes_dropped;
            self.busy += stats.ups_refused;
            self.resumed += stats.resume_opened;
            self.tokens_refused += stats.resume_refused;
            self.panics += stats.panics;
        }
    }

    /// Adds the counts of another run.
    pub fn add(&mut self, other: &Self) {
        for (kind, count) in &other.faults {
            *self.faults.entry(kind).or_default() += count;
        }
        let pairs = [
            (&mut self.messages, other.messages),
            (&mut self.failed_commits, other.failed_commits),
            (&mut self.traffic.sent, other.traffic.sent),
            (&mut self.traffic.lost, other.traffic.lost),
            (&mut self.traffic.duplicated, other.traffic.duplicated),
            (&mut self.traffic.reordered, other.traffic.reordered),
            (&mut self.connections, other.connections),
            (&mut self.retries, other.retries),
            (&mut self.pushes_dropped, other.pushes_dropped),
            (&mut self.busy, other.busy),
            (&mut self.resumed, other.resumed),
            (&mut self.tokens_refused, other.tokens_refused),
            (&mut self.panics, other.panics),
        ];
        for (sum, more) in pairs {
            *sum += more;
        }
    }
}

impl fmt::Display for Totals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Traffic { sent, lost, duplicated, reordered } = self.traffic;
        writeln!(
            f,
            "{} messages stored, {} commits refused by the disk",
            self.messages, self.failed_commits
        )?;
        writeln!(f, "{sent} datagrams: {lost} lost, {duplicated} doubled, {reordered} held back")?;
        let (connections, retries) = (self.connections, self.retries);
        writeln!(
            f,
            "{connections} connections, {retries} retries, {} busy answers, {} pushes dropped",
            self.busy, self.pushes_dropped
        )?;
        writeln!(f, "{} logins by token, {} tokens refused", self.resumed, self.tokens_refused)?;
        write!(f, "{} faults:", self.faults.values().sum::<u64>())?;
        for (kind, count) in &self.faults {
            write!(f, " {count} {kind},")?;
        }
        Ok(())
    }
}
