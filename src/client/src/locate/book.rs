//! What a client knows about its PoPs, network by network: the last answer, which PoP was nearest, and whom to avoid for now. Pure:
//! the time comes in, as Unix seconds where it outlives the process.
//!
//! ```text
//!   outlook(network) ─► straight to the remembered winner     an answer, good or not, and a winner among its candidates
//!                    ─► race                                  an answer that is good, and no winner
//!                    ─► ask                                   nothing, too old, or all candidates have failed
//! ```
//!
//! What is remembered is not given up for a question that nobody answers: then its edges are what is left to dial.

use std::collections::{BTreeMap, HashMap};
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::answer::{Answer, CANDIDATES_MAX, Candidate};
use crate::network::Edge;

/// Networks that are remembered; the one that was used least recently makes room.
const NETWORKS_MAX: usize = 32;

/// Longest text that is read back, in octets.
pub(crate) const BOOK_BYTES_MAX: usize = 1 << 20;

/// For how long an answer that is out of date may still lead to its winner, in seconds. What is wrong about it by then costs the
/// time of some dials.
const STALE_S_MAX: u64 = 7 * 86_400;

/// For how long a PoP goes behind the others: after it asked to leave, and after it could not be reached.
const AVOID_LEFT: Duration = Duration::from_mins(10);
const AVOID_FAILED: Duration = Duration::from_mins(1);

/// PoPs that are avoided at a time.
const AVOIDED_MAX: usize = 64;

/// Least time between two runs of the chain while an answer is good: one that has just been given would come again.
const ASK_AGAIN: Duration = Duration::from_secs(5);

/// What to do in a network.
#[derive(Debug)]
pub(crate) enum Outlook {
    /// Dial these, in this order. `ask`: the answer is out of date, and a new one is wanted in the background.
    Straight { edges: Vec<Edge>, ask: bool },
    /// Let the candidates race.
    Race(Answer),
    /// Run the chain.
    Ask,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Entry {
    answer: Answer,
    got_s: u64,
    /// The PoP that was nearest.
    #[serde(default)]
    winner: Option<String>,
    /// Its address at which a session was opened: of two families one may lead nowhere.
    #[serde(default)]
    winner_ip: Option<IpAddr>,
    /// PoPs in the order in which they answered the last race.
    #[serde(default)]
    order: Vec<String>,
    used: u64,
    /// All candidates have failed since.
    #[serde(skip)]
    exhausted: bool,
    #[serde(skip)]
    asked: Option<Instant>,
}

#[derive(Debug, Clone, Copy)]
struct Avoided {
    until: Instant,
    /// It could not be reached; otherwise it asked to leave.
    failed: bool,
}

/// See the module documentation.
#[derive(Debug, Default)]
pub(crate) struct Book {
    entries: BTreeMap<String, Entry>,
    clock: u64,
    avoided: HashMap<SocketAddr, Avoided>,
    changed: bool,
}

/// What is kept on the disk.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Kept {
    version: u32,
    networks: BTreeMap<String, Entry>,
}

impl Kept {
    /// As [`Book::read`] reads it.
    ///
    /// # Errors
    /// None that is known: all of it has a form in JSON.
    pub(crate) fn text(&self) -> serde_json::Result<String> {
        serde_json::to_string(self)
    }
}

impl Book {
    /// Reads what [`Kept::text`] made; anything else is an empty book.
    pub(crate) fn read(text: &[u8]) -> Self {
        let kept = serde_json::from_slice::<Kept>(text).ok().filter(|kept| kept.version == 1);
        let mut networks = kept.map(|kept| kept.networks).unwrap_or_default();
        for entry in networks.values_mut() {
            entry.answer.candidates.truncate(CANDIDATES_MAX);
        }
        networks.retain(|_, entry| !entry.answer.candidates.is_empty());
        let clock = networks.values().map(|entry| entry.used).max().unwrap_or(0);
        let mut book = Self { entries: networks, clock, ..Self::default() };
        book.make_room(NETWORKS_MAX);
        book
    }

    /// What to keep, if something has changed since it was last asked for. A copy, so that its text can be made elsewhere.
    pub(crate) fn changes(&mut self) -> Option<Kept> {
        std::mem::take(&mut self.changed).then(|| Kept { version: 1, networks: self.entries.clone() })
    }

    pub(crate) fn has_changed(&self) -> bool {
        self.changed
    }

    /// What was taken by [`Self::changes`] could not be kept.
    pub(crate) fn not_kept(&mut self) {
        self.changed = true;
    }

    /// What to do in `network`. `at` is the edge of the session before, which is tried first unless it is to be avoided.
    pub(crate) fn outlook(&mut self, network: &str, at: Option<&Edge>, unix_s: u64, now: Instant) -> Outlook {
        self.avoided.retain(|_, avoided| now < avoided.until);
        self.clock += 1;
        let clock = self.clock;
        let Some(entry) = self.entries.get_mut(network) else { return Outlook::Ask };
        entry.used = clock;
        let (fresh, age) = (entry.is_fresh(unix_s), unix_s.saturating_sub(entry.got_s));
        let recent = entry.asked.is_some_and(|asked| now < asked + ASK_AGAIN);
        if entry.exhausted && !recent || age > STALE_S_MAX {
            return Outlook::Ask;
        }
        let Some(entry) = self.entries.get(network) else { return Outlook::Ask };
        let visited = at.filter(|at| entry.pop_at(at.address).is_some());
        let known = entry.winner.is_some() || entry.answer.candidates.len() == 1 || visited.is_some();
        let ask = !fresh && !recent;
        let outlook = match (known && !entry.exhausted, fresh) {
            (true, _) => Outlook::Straight { edges: self.edges(network, visited), ask },
            (false, true) => Outlook::Race(entry.answer.clone()),
            (false, false) => Outlook::Ask,
        };
        if let Some(entry) = self.entries.get_mut(network).filter(|_| ask) {
            // Somebody does now.
            entry.asked = Some(now);
        }
        outlook
    }

    /// The edges of the answer in `network`, in the order in which they are to be dialled: `first`, the winner, the others in the
    /// order of their answers, then of their ranks; those to be avoided behind them all.
    pub(crate) fn edges(&self, network: &str, first: Option<&Edge>) -> Vec<Edge> {
        let Some(entry) = self.entries.get(network) else { return Vec::new() };
        let place = |candidate: &Candidate| {
            let winner = entry.winner.as_ref() != Some(&candidate.pop);
            let answered = entry.order.iter().position(|pop| *pop == candidate.pop);
            (winner, answered.unwrap_or(usize::MAX))
        };
        let mut candidates: Vec<_> = entry.answer.candidates.iter().collect();
        candidates.sort_by_key(|candidate| place(candidate));
        let mut edges: Vec<_> = candidates.into_iter().flat_map(Candidate::edges).collect();
        edges.sort_by_key(|edge| entry.winner_ip != Some(edge.address.ip()));
        edges.sort_by_key(|edge| first.is_none_or(|first| first.address != edge.address));
        self.sort(&mut edges);
        edges
    }

    /// Puts those to be avoided behind the others, which stay in their order.
    pub(crate) fn sort(&self, edges: &mut [Edge]) {
        edges.sort_by_key(|edge| self.avoided.contains_key(&edge.address));
    }

    pub(crate) fn is_avoided(&self, address: SocketAddr) -> bool {
        self.avoided.contains_key(&address)
    }

    /// The chain has an answer. A winner that is not among its candidates is forgotten.
    pub(crate) fn answered(&mut self, network: &str, answer: Answer, unix_s: u64, now: Instant) {
        self.clock += 1;
        let before = self.entries.remove(network).filter(|before| !before.exhausted);
        let names = |pop: &String| answer.candidates.iter().any(|candidate| candidate.pop == *pop);
        let winner = before.as_ref().and_then(|before| before.winner.clone()).filter(names);
        let winner_ip = before.as_ref().and_then(|before| before.winner_ip).filter(|_| winner.is_some());
        let order = before.map(|before| before.order.into_iter().filter(names).collect()).unwrap_or_default();
        self.make_room(NETWORKS_MAX - 1);
        let entry = Entry {
            answer,
            got_s: unix_s,
            winner,
            winner_ip,
            order,
            used: self.clock,
            exhausted: false,
            asked: Some(now),
        };
        self.entries.insert(network.to_owned(), entry);
        self.changed = true;
    }

    /// A race has ended, or one has won it so far: PoPs in the order of their answers.
    pub(crate) fn raced(&mut self, network: &str, order: Vec<String>, decides: bool) {
        let Some(entry) = self.entries.get_mut(network) else { return };
        if decides {
            (entry.winner, entry.winner_ip) = (order.first().cloned(), None);
        }
        entry.order = order;
        self.changed = true;
    }

    /// A session was opened at `edge`. Nearer ones that could not be reached have lost their place.
    pub(crate) fn landed(&mut self, network: &str, edge: &Edge) {
        self.avoided.remove(&edge.address);
        let Some(entry) = self.entries.get_mut(network) else { return };
        entry.exhausted = false;
        let Some(pop) = entry.pop_at(edge.address).cloned() else { return };
        let failed = |pop: &String| {
            let candidate = entry.answer.candidates.iter().find(|candidate| candidate.pop == *pop);
            let mut edges = candidate.map(Candidate::edges).unwrap_or_default().into_iter();
            edges.any(|edge| self.avoided.get(&edge.address).is_some_and(|avoided| avoided.failed))
        };
        let winner = match &entry.winner {
            None => Some(pop.clone()),
            // The next visit looks anew.
            Some(winner) if *winner != pop && failed(winner) => None,
            Some(winner) => Some(winner.clone()),
        };
        let ip = match &winner {
            Some(winner) if *winner == pop => Some(edge.address.ip()),
            Some(_) => entry.winner_ip,
            None => None,
        };
        if (&winner, ip) != (&entry.winner, entry.winner_ip) {
            (entry.winner, entry.winner_ip) = (winner, ip);
            self.changed = true;
        }
    }

    /// `edge` could not be reached (`failed`), or has asked its clients to leave.
    pub(crate) fn avoid(&mut self, address: SocketAddr, failed: bool, now: Instant) {
        if self.avoided.len() >= AVOIDED_MAX && !self.avoided.contains_key(&address) {
            return;
        }
        let until = now + if failed { AVOID_FAILED } else { AVOID_LEFT };
        self.avoided.insert(address, Avoided { until, failed });
    }

    /// Every candidate has failed: the chain has to be asked anew.
    pub(crate) fn exhausted(&mut self, network: &str) {
        if let Some(entry) = self.entries.get_mut(network) {
            entry.exhausted = true;
        }
    }

    /// Where the last answer placed the client in `network`, or in any.
    pub(crate) fn country(&self, network: &str) -> Option<String> {
        let here = self.entries.get(network).and_then(|entry| entry.answer.country.clone());
        let others = self.entries.values().filter(|entry| entry.answer.country.is_some());
        here.or_else(|| others.max_by_key(|entry| entry.used)?.answer.country.clone())
    }

    fn make_room(&mut self, most: usize) {
        while self.entries.len() > most {
            let oldest = self.entries.iter().min_by_key(|(_, entry)| entry.used);
            let Some(oldest) = oldest.map(|(network, _)| network.clone()) else { return };
            self.entries.remove(&oldest);
        }
    }
}

/// Where a client that leaves goes: to the edges that its server names, then to the others that it knows. Of those named the ones that it
/// knows are taken in its own order, for it has measured them from where it is; the server has not. `known` comes in that order.
pub(crate) fn referred(named: Vec<Edge>, known: Vec<Edge>) -> Vec<Edge> {
    let is_in = |edges: &[Edge], edge: &Edge| edges.iter().any(|other| other.address == edge.address);
    let (mut own, others): (Vec<_>, Vec<_>) = known.into_iter().partition(|edge| is_in(&named, edge));
    own.reverse();
    let known: Vec<_> = own.iter().map(|edge| edge.address).collect();
    let named = named.into_iter().map(|edge| match known.contains(&edge.address) {
        true => own.pop().unwrap_or(edge),
        false => edge,
    });
    named.collect::<Vec<_>>().into_iter().chain(others).collect()
}

impl Entry {
    /// Whether its TTL runs. A clock that went back says no.
    fn is_fresh(&self, unix_s: u64) -> bool {
        (self.got_s..self.got_s.saturating_add(self.answer.ttl_s)).contains(&unix_s)
    }

    fn pop_at(&self, address: SocketAddr) -> Option<&String> {
        let mut candidates = self.answer.candidates.iter();
        candidates.find(|candidate| candidate.is_at(address)).map(|candidate| &candidate.pop)
    }
}

#[cfg(test)]
#[path = "book_tests.rs"]
mod tests;
