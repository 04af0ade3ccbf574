//! What a locator knows of its network: which edges are linked, what they say, what is ordered. Pure.
//!
//! It feeds [`nearport_geo::network::Network`], which decides, and keeps what that does not need: names, links, seals. Votes count from the
//! locator's own checker and from one edge of each PoP, the first that is linked: a PoP with many edges has one vote, and none about
//! itself, since what reaches it from inside says nothing. Without any edge a locator forgets what it saw: it may be the one that is
//! cut off, and names everybody as configured, but for what was ordered.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use nearport_geo::health::{CHECKERS_MAX, Standing};
use nearport_geo::map::Live;
use nearport_geo::network::{self, Network};
use nearport_geo::{PopIndex, PopSet, PopTable};
use serde::{Deserialize, Serialize};

use crate::message::{ADDRESSES_MAX, Hello, Report, Target, Vote};
use crate::order::{Merged, Order, Orders, Proven, Seal, Sealed, WHOLE};

/// Edges that are linked at once.
pub const EDGES_MAX: usize = 256;

/// Sessions that one edge may say it is good for.
const CAPACITY_MAX: u32 = 10_000_000;

/// The locator's own checker.
const OWN: usize = 0;

/// An edge that is linked.
#[derive(Debug)]
struct Edge {
    /// Which of its links.
    link: u64,
    instance: u64,
    pop: PopIndex,
    report: Option<Report>,
    /// It said so since the last tick.
    news: bool,
    /// Its number as a checker.
    checker: Option<usize>,
}

/// See the module. Times are those of one clock that does not go back.
#[derive(Debug)]
pub struct Board {
    table: Arc<PopTable>,
    network: Network,
    /// By node.
    edges: BTreeMap<u16, Edge>,
    links: u64,
    orders: Orders,
    seal: Arc<dyn Seal>,
    /// When a PoP's edges said something last, by its name.
    said: BTreeMap<String, Duration>,
    /// Rises with each change of the orders, and of the table.
    versions: (u64, u64),
}

/// What an operator wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Wish {
    /// Nobody is to be sent there, and its clients are to leave. Also of the last PoP that is up, if the second says so.
    Drain {
        /// Although it is the last.
        force: bool,
    },
    /// As usual.
    Undrain,
    /// How much of its capacity counts, in thousandths.
    Weight {
        /// At most [`WHOLE`]; 0 is as good as drained for new clients.
        thousandths: u16,
        /// Although it is the last.
        force: bool,
    },
}

/// A PoP as operators see it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Row {
    /// Its name.
    pub pop: String,
    /// Where it is, for people.
    pub place: String,
    /// `up`, `slow start`, `down` or `held`: down, and not up before some time has passed.
    pub state: State,
    /// How long it is held.
    pub held_ms: Option<u64>,
    /// Of the clients that would be sent there, how many are, 0 to 1.
    pub share: f32,
    /// Checkers that can say something of it.
    pub votes: u32,
    /// Those that see it down.
    pub votes_down: u32,
    /// Sessions of all its edges, if they said so of late.
    pub sessions: Option<u32>,
    /// What they are good for, the weight not counted.
    pub capacity: Option<u32>,
    /// All of its edges are leaving.
    pub draining: bool,
    /// It is ordered to be empty.
    pub drained: bool,
    /// How much of its capacity counts, 0 to 1.
    pub weight: f32,
    /// When that was ordered, in Unix milliseconds, and by whom.
    pub ordered: Option<(u64, String)>,
    /// Edges that are linked to this locator.
    pub edges: usize,
    /// How long ago one of them said something.
    pub said_ms: Option<u64>,
}

/// See [`Row::state`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "see Row::state")]
pub enum State {
    Up,
    SlowStart,
    Down,
    Held,
}

impl Board {
    /// The board of a locator that has just started, with the orders that it kept.
    #[must_use]
    pub fn new(table: Arc<PopTable>, kept: Vec<Sealed>, seal: Arc<dyn Seal>) -> Self {
        let mut board = Self {
            network: Network::new(table.len()),
            table,
            edges: BTreeMap::new(),
            links: 0,
            orders: Orders::default(),
            seal,
            said: BTreeMap::new(),
            versions: (1, 1),
        };
        board.merge(kept.into_iter().filter_map(|sealed| sealed.prove(&*board.seal)).collect());
        board
    }

    /// The table in use.
    #[must_use]
    pub fn table(&self) -> &Arc<PopTable> {
        &self.table
    }

    /// Another table. PoPs keep what is known of them by their names; edges of PoPs that it has not must go: their links.
    pub fn set_table(&mut self, table: Arc<PopTable>) -> Vec<u64> {
        self.network = self.network.renumbered(&self.table, &table);
        let before = std::mem::replace(&mut self.table, table);
        self.versions.1 += 1;
        let mut gone = Vec::new();
        self.edges.retain(|_, edge| {
            let pop = before.get(edge.pop).and_then(|pop| self.table.find(&pop.id));
            gone.extend(pop.is_none().then_some(edge.link));
            pop.map(|pop| edge.pop = pop).is_some()
        });
        self.said.retain(|pop, _| self.table.find(pop).is_some());
        self.forget_alone();
        self.order_all();
        gone
    }

    /// Without any edge what was seen counts no more.
    fn forget_alone(&mut self) {
        if self.edges.is_empty() {
            self.network = Network::new(self.table.len());
        }
    }

    /// An edge comes. Returns the number of its link, and that of a former one that it takes the place of.
    ///
    /// # Errors
    /// Why not, for both logs.
    pub fn join(&mut self, hello: &Hello) -> Result<(u64, Option<u64>), String> {
        let Hello { node, pop, instance, .. } = hello;
        let index = self.find(pop).map_err(|error| format!("steer.pop of node {node}: {error}"))?;
        let former = match self.edges.get(node) {
            Some(edge) if edge.instance != *instance => {
                return Err(format!(
                    "node {node} is linked already: each edge needs a number of its own (edge.node)"
                ));
            }
            Some(edge) => Some((edge.link, edge.checker, edge.report)),
            None if self.edges.len() >= EDGES_MAX => return Err(format!("{EDGES_MAX} edges are linked")),
            None => None,
        };
        self.links += 1;
        let (link, instance) = (self.links, *instance);
        let checker = former.and_then(|(_, checker, _)| checker);
        let report = former.and_then(|(_, _, report)| report);
        self.edges.insert(*node, Edge { link, instance, pop: index, report, news: false, checker });
        Ok((link, former.map(|(link, ..)| link)))
    }

    /// A link has ended. One that another has taken the place of changes nothing.
    pub fn leave(&mut self, link: u64) {
        let Some((node, pop)) = self.of(link).map(|(node, edge)| (node, edge.pop)) else { return };
        self.edges.remove(&node);
        if self.edges.is_empty() {
            self.forget_alone();
            self.order_all();
        } else if let Some(at) = self.table.get(pop).and_then(|pop| self.said.get(&pop.id)).copied() {
            // Those that stay, as of when they said so.
            self.sum_up(pop, at);
        }
    }

    /// An edge says how it is. It counts with the next [`Self::tick`]; at once if it is the first that it says, or if it begins or
    /// ceases to leave.
    pub fn report(&mut self, link: u64, report: Report, now: Duration) {
        let Some((node, pop)) = self.of(link).map(|(node, edge)| (node, edge.pop)) else { return };
        let Some(edge) = self.edges.get_mut(&node) else { return };
        let at_once = edge.report.is_none_or(|before| before.draining != report.draining);
        let capacity = report.capacity.map(|capacity| capacity.min(CAPACITY_MAX));
        edge.report = Some(Report { capacity, ..report });
        edge.news = true;
        if let Some(pop) = self.table.get(pop) {
            self.said.insert(pop.id.clone(), now);
        }
        if at_once {
            self.sum_up(pop, now);
        }
    }

    /// To be called about each second: sums up what edges said since. Growth is seen between two of these: were each report summed up
    /// by itself, those of many edges of one PoP would lie too close together to see any.
    pub fn tick(&mut self, now: Duration) {
        let said = |edge: &mut Edge| std::mem::take(&mut edge.news).then_some(edge.pop);
        let pops: PopSet = self.edges.values_mut().filter_map(said).collect();
        pops.iter().for_each(|pop| self.sum_up(pop, now));
    }

    /// An edge says what it saw. Returns whether it has a vote.
    pub fn votes(&mut self, link: u64, votes: &[Vote], now: Duration) -> bool {
        let Some((own, checker)) = self.checker(link) else { return false };
        for vote in votes {
            if let Some(pop) = self.table.find(&vote.pop).filter(|pop| *pop != own) {
                self.network.vote(checker, pop, vote.good, now);
            }
        }
        true
    }

    /// The locator's own checker saw a PoP. Says nothing while no edge is linked.
    pub fn saw(&mut self, pop: &str, good: bool, now: Duration) {
        if let Some(pop) = self.table.find(pop).filter(|_| !self.edges.is_empty()) {
            self.network.vote(OWN, pop, good, now);
        }
    }

    /// Of orders that somebody brings those that are later than what is known: the others need not be proven.
    #[must_use]
    pub fn news(&self, mut orders: Vec<Sealed>) -> Vec<Sealed> {
        let later =
            |order: &Order| self.orders.get(&order.pop).is_none_or(|known| order.is_later_than(known));
        orders.retain(|sealed| later(&sealed.order));
        orders
    }

    /// What proves that an order is one of this network.
    #[must_use]
    pub fn seal(&self) -> &Arc<dyn Seal> {
        &self.seal
    }

    /// Takes orders that somebody brings. Returns how many count now, and for how many there is no room.
    pub fn merge(&mut self, orders: Vec<Proven>) -> (usize, usize) {
        let (mut taken, mut refused) = (0, 0);
        for proven in orders {
            let merged = self.orders.merge(proven.into_sealed());
            taken += usize::from(merged == Merged::Taken);
            refused += usize::from(merged == Merged::Refused);
        }
        if taken > 0 {
            self.versions.0 += 1;
            self.order_all();
        }
        (taken, refused)
    }

    /// An operator wants something of a PoP.
    ///
    /// # Errors
    /// A sentence: there is no such PoP, or it is the last one that is up.
    pub fn wish(
        &mut self,
        pop: &str,
        wish: Wish,
        by: &str,
        unix_ms: u64,
        now: Duration,
    ) -> Result<(), String> {
        let index = self.find(pop)?;
        let before = self.orders.get(pop).cloned();
        let before = before.unwrap_or_else(|| Order {
            pop: pop.to_owned(),
            drained: false,
            weight: WHOLE,
            at_ms: 0,
            by: String::new(),
        });
        let (drained, weight, force) = match wish {
            Wish::Drain { force } => (true, before.weight, force),
            Wish::Undrain => (false, before.weight, true),
            Wish::Weight { thousandths, force } if thousandths <= WHOLE => {
                (before.drained, thousandths, force)
            }
            Wish::Weight { .. } => return Err("a weight is 0 to 1".to_owned()),
        };
        let empties = drained && !before.drained || weight == 0 && before.weight > 0;
        // One of no weight is up and gets nobody: it is no place to go.
        let takes = |other: &PopIndex| {
            let order = self.table.get(*other).and_then(|pop| self.orders.get(&pop.id));
            *other != index && order.is_none_or(|order| order.weight > 0)
        };
        if empties && !force && !self.up(now).iter().any(|other| takes(&other)) {
            return Err(format!(
                "{pop} is the last PoP that is up: nobody would be left to send clients to. Say --force if that is meant"
            ));
        }
        let order = Order {
            pop: pop.to_owned(),
            drained,
            weight,
            // Later than what is known, also where another locator's clock is ahead.
            at_ms: unix_ms.max(before.at_ms.saturating_add(1)),
            by: crate::order::by(by),
        };
        match self.orders.merge(Sealed::new(order, &*self.seal)) {
            Merged::Taken => {
                self.versions.0 += 1;
                self.order_all();
                Ok(())
            }
            Merged::Known | Merged::Refused => Err(format!("{pop}: the order was not taken")),
        }
    }

    /// Answers named a PoP first so many times.
    pub fn sent(&mut self, pop: PopIndex, answers: u32) {
        self.network.sent_many(pop, answers);
    }

    /// To whom clients are sent, by the indices of [`Self::table`].
    #[must_use]
    pub fn up(&self, now: Duration) -> PopSet {
        self.network.open(now)
    }

    /// What answers need to know, by the indices of [`Self::table`]. To be called about each second, see [`Network::live`].
    pub fn live(&mut self, now: Duration) -> Live {
        self.network.live(now)
    }

    /// Rises with each change of the orders, and of the table.
    #[must_use]
    pub fn versions(&self) -> (u64, u64) {
        self.versions
    }

    /// All orders.
    #[must_use]
    pub fn orders(&self) -> Vec<Sealed> {
        self.orders.all()
    }

    /// The order for the PoP of a link, or of any other.
    #[must_use]
    pub fn order(&self, pop: &str) -> Option<&Order> {
        self.orders.get(pop)
    }

    /// What edges are to check.
    #[must_use]
    pub fn targets(&self) -> Vec<Target> {
        let target = |pop: &nearport_geo::Pop| {
            let (endpoint, udp) = match (&pop.endpoints.quic, &pop.endpoints.tls) {
                (Some(quic), _) => (quic, true),
                (None, tls) => (tls.as_ref()?, false),
            };
            let addresses = pop.addresses.iter().copied().take(ADDRESSES_MAX).collect();
            Some(Target { pop: pop.id.clone(), endpoint: endpoint.clone(), udp, addresses })
        };
        self.table.pops().iter().filter_map(target).collect()
    }

    /// Edges that are linked, and those of them that have a vote.
    #[must_use]
    pub fn edges(&self) -> (usize, usize) {
        (self.edges.len(), self.edges.values().filter(|edge| edge.checker.is_some()).count())
    }

    /// The whole network, in the order of the table.
    #[must_use]
    pub fn rows(&self, now: Duration) -> Vec<Row> {
        let ms = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        let row = |(index, pop): (PopIndex, &nearport_geo::Pop)| {
            let state = self.network.state(index, now);
            let order = self.orders.get(&pop.id);
            let (named, held_ms) = match state.standing {
                Standing::Up => (State::Up, None),
                Standing::SlowStart(_) => (State::SlowStart, None),
                Standing::Down => (State::Down, None),
                Standing::Held(until) => (State::Held, Some(ms(until.saturating_sub(now)))),
            };
            Row {
                pop: pop.id.clone(),
                place: pop.place.clone(),
                state: named,
                held_ms,
                share: state.share,
                votes: state.votes.heard,
                votes_down: state.votes.down,
                sessions: state.report.map(|report| report.sessions),
                capacity: state.report.map(|report| report.capacity),
                draining: state.report.is_some_and(|report| report.draining),
                drained: order.is_some_and(|order| order.drained),
                weight: order.map_or(1.0, |order| f32::from(order.weight) / f32::from(WHOLE)),
                ordered: order.map(|order| (order.at_ms, order.by.clone())),
                edges: self.edges.values().filter(|edge| edge.pop == index).count(),
                said_ms: self.said.get(&pop.id).map(|at| ms(now.saturating_sub(*at))),
            }
        };
        self.table.iter().map(row).collect()
    }

    fn find(&self, pop: &str) -> Result<PopIndex, String> {
        self.table.find(pop).ok_or_else(|| {
            let ids: Vec<_> = self.table.pops().iter().map(|pop| pop.id.as_str()).collect();
            let shown: String = pop.chars().filter(char::is_ascii_graphic).take(32).collect();
            format!("there is no PoP `{shown}`; there are {}", ids.join(", "))
        })
    }

    fn of(&self, link: u64) -> Option<(u16, &Edge)> {
        self.edges.iter().find(|(_, edge)| edge.link == link).map(|(node, edge)| (*node, edge))
    }

    /// The PoP of a link and its number as a checker, which it is given now if it may have one.
    fn checker(&mut self, link: u64) -> Option<(PopIndex, usize)> {
        let (node, edge) = self.of(link)?;
        let pop = edge.pop;
        if let Some(checker) = edge.checker {
            return Some((pop, checker));
        }
        let voters = || self.edges.values().filter(|edge| edge.checker.is_some());
        if voters().any(|edge| edge.pop == pop) {
            return None;
        }
        let free =
            (OWN + 1..CHECKERS_MAX).find(|number| voters().all(|edge| edge.checker != Some(*number)))?;
        self.edges.get_mut(&node)?.checker = Some(free);
        Some((pop, free))
    }

    /// What all edges of a PoP say together.
    fn sum_up(&mut self, pop: PopIndex, now: Duration) {
        let reports: Vec<Report> =
            self.edges.values().filter(|edge| edge.pop == pop).filter_map(|edge| edge.report).collect();
        if reports.is_empty() {
            return;
        }
        let staying = || reports.iter().filter(|report| !report.draining);
        let sum = |values: &mut dyn Iterator<Item = u32>| values.fold(0_u32, u32::saturating_add);
        // One that does not say leaves the table's word for all.
        let said: Option<Vec<u32>> = staying().map(|report| report.capacity).collect();
        let by_table = self.table.get(pop).map_or(0, |pop| pop.capacity);
        let capacity = said.filter(|said| !said.is_empty()).map(|said| sum(&mut said.into_iter()));
        let report = network::Report {
            sessions: sum(&mut reports.iter().map(|report| report.sessions)),
            capacity: capacity.unwrap_or(by_table),
            draining: staying().next().is_none(),
        };
        self.network.report(pop, report, now);
    }

    fn order_all(&mut self) {
        for (index, pop) in self.table.iter() {
            let order = self.orders.get(&pop.id).map(|order| network::Order {
                drained: order.drained,
                weight: f32::from(order.weight) / f32::from(WHOLE),
            });
            self.network.order(index, order.unwrap_or_default());
        }
    }
}

#[cfg(test)]
mod tests;
