//! How good the choices are: policies judged by measured round trips.
//!
//! A client's *excess* is the round trip of the best PoP that a policy names, less that of the best PoP of all: what
//! the client loses by being told so little. A policy that names several is judged as the client uses it, which races
//! them at once.
//!
//! Learned policies see only the training clients. [`Policy::RealisticTop3`] sees even less of those, what a running
//! service would: each races the three that it was given, and pings the two that the service asked it to.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;

use crate::choose::{Ranked, choose};
use crate::dice::Dice;
use crate::map::{POOL, PROBES};
use crate::model::{Measured, Model, Origin, Scenario, Site, Target, Tuning};
use crate::place::{Continent, Coordinates, Country};
use crate::table::{PopIndex, PopSet};
use crate::world::World;

mod rows;
mod score;

pub use rows::{Client, Data, DataPop};
pub use score::{Figures, Paired, Spread};

/// Clients closer than this stay in one fold, so that no one is learned from its neighbour in the next street.
const NEIGHBOURS_KM: f64 = 50.0;

/// How a client is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Policy {
    /// The nearest PoP to its city.
    Nearest,
    /// The three nearest to its city, raced.
    Top3,
    /// Learned, city known, one PoP.
    LearnedTop1,
    /// Learned, city known, a set of three, raced.
    LearnedTop3,
    /// Learned, only the country known, a set of three, raced.
    CountrySet3,
    /// The same with five.
    CountrySet5,
    /// As [`Policy::LearnedTop3`], learned from what a running service sees.
    RealisticTop3,
    /// As [`Policy::CountrySet3`], learned from what a running service sees.
    RealisticCountrySet3,
}

impl Policy {
    /// All, in the order of a report.
    pub const ALL: [Self; 8] = [
        Self::Nearest,
        Self::Top3,
        Self::LearnedTop1,
        Self::LearnedTop3,
        Self::CountrySet3,
        Self::CountrySet5,
        Self::RealisticTop3,
        Self::RealisticCountrySet3,
    ];

    /// The name in a report.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Nearest => "nearest",
            Self::Top3 => "top3",
            Self::LearnedTop1 => "learned_top1",
            Self::LearnedTop3 => "learned_top3",
            Self::CountrySet3 => "country_set3",
            Self::CountrySet5 => "country_set5",
            Self::RealisticTop3 => "realistic_top3",
            Self::RealisticCountrySet3 => "realistic_country_set3",
        }
    }
}

/// One policy's part of a [`Report`].
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct PolicyReport {
    /// Which.
    pub policy: Policy,
    /// Over all clients.
    #[serde(flatten)]
    pub overall: Figures,
    /// Against [`Policy::Top3`].
    pub against_top3: Paired,
    /// By continent code.
    pub continents: BTreeMap<&'static str, Figures>,
}

/// The evaluation of all policies over the same clients.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Report {
    /// How many clients were judged.
    pub clients: usize,
    /// In the order of [`Policy::ALL`].
    pub policies: Vec<PolicyReport>,
}

impl Report {
    /// One policy's part.
    #[must_use]
    pub fn policy(&self, policy: Policy) -> Option<&PolicyReport> {
        self.policies.iter().find(|report| report.policy == policy)
    }
}

/// One policy over several ways of cutting the same clients: one way may be lucky.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct PolicySpread {
    /// Which.
    pub policy: Policy,
    /// Of [`Figures::mean_ms`].
    pub mean_ms: Spread,
    /// Of [`Figures::within_5ms`].
    pub within_5ms: Spread,
    /// Share of the ways with a lower mean excess than [`Policy::Top3`].
    pub better_than_top3: f64,
    /// Share of the ways with a mean excess of at most 1.5 ms and at least 95 % of the clients within 5 ms.
    pub good: f64,
}

/// All policies over several reports of the same clients.
#[must_use]
pub fn spread(reports: &[Report]) -> Vec<PolicySpread> {
    let policy = |policy: Policy| {
        let of: Vec<&PolicyReport> = reports.iter().filter_map(|report| report.policy(policy)).collect();
        let each = |figure: &dyn Fn(&PolicyReport) -> f64| -> Vec<f64> {
            of.iter().map(|report| figure(report)).collect()
        };
        let share = |holds: &dyn Fn(&PolicyReport) -> bool| {
            Spread::of(&each(&|report| f64::from(u8::from(holds(report))))).mean
        };
        PolicySpread {
            policy,
            mean_ms: Spread::of(&each(&|report| report.overall.mean_ms)),
            within_5ms: Spread::of(&each(&|report| report.overall.within_5ms)),
            better_than_top3: share(&|report| report.against_top3.mean_ms < 0.0),
            good: share(&|report| report.overall.mean_ms <= 1.5 && report.overall.within_5ms >= 0.95),
        }
    };
    Policy::ALL.map(policy).to_vec()
}

/// What an evaluation needs besides clients.
#[derive(Debug, Clone, Copy)]
pub struct Setting<'a> {
    /// The PoPs of the data.
    pub pops: &'a [DataPop],
    /// Countries and their cities.
    pub world: &'a World,
    /// How the model learns.
    pub tuning: Tuning,
}

/// Learns from some clients and judges by others.
#[must_use]
pub fn evaluate(setting: Setting<'_>, train: &[Client], test: &[Client]) -> Report {
    report(&judge(setting, train, test))
}

/// Judges every client by what was learned from the other folds. Folds are dealt by `seed`, each continent evenly,
/// neighbours together.
#[must_use]
pub fn cross_validate(setting: Setting<'_>, clients: &[Client], folds: usize, seed: u64) -> Report {
    let fold_of = folds_of(clients, folds.max(2), seed);
    let mut judged = Vec::new();
    for fold in 0..folds.max(2) {
        let part = |inside: bool| -> Vec<Client> {
            let chosen = clients.iter().zip(&fold_of).filter(|(_, of)| (**of == fold) == inside);
            chosen.map(|(client, _)| client.clone()).collect()
        };
        judged.extend(judge(setting, &part(false), &part(true)));
    }
    report(&judged)
}

/// A client with its outcome under each policy.
type Judged = (Continent, [score::Outcome; Policy::ALL.len()]);

fn report(judged: &[Judged]) -> Report {
    let outcomes = |index: usize, of: Option<Continent>| -> Vec<score::Outcome> {
        let wanted = judged.iter().filter(|(continent, _)| of.is_none_or(|of| of == *continent));
        wanted.map(|(_, outcomes)| outcomes[index]).collect()
    };
    let top3 = outcomes(1, None);
    let policies = Policy::ALL.into_iter().enumerate().map(|(index, policy)| {
        let all = outcomes(index, None);
        let mut continents = BTreeMap::new();
        for continent in Continent::ALL {
            let there = outcomes(index, Some(continent));
            if !there.is_empty() {
                continents.insert(continent.code(), score::figures(&there));
            }
        }
        PolicyReport {
            policy,
            overall: score::figures(&all),
            against_top3: score::paired(&all, &top3),
            continents,
        }
    });
    Report { clients: judged.len(), policies: policies.collect() }
}

fn judge(setting: Setting<'_>, train: &[Client], test: &[Client]) -> Vec<Judged> {
    let field = Field::new(setting);
    let whole: Vec<Site> = train.iter().map(|client| site(client, |_| true)).collect();
    let learned = field.fit(&whole);
    let realistic = field.fit(&field.feedback(train));
    let mut sets = BTreeMap::new();
    let mut judged = Vec::with_capacity(test.len());
    for client in test {
        let Some(best) = client.rtt_ms.iter().flatten().copied().min_by(f64::total_cmp) else { continue };
        let [three, five, lean] = *sets.entry(client.country).or_insert_with(|| {
            let whole = field.country(&learned, client);
            [field.set(&whole, 3), field.set(&whole, 5), field.set(&field.country(&realistic, client), 3)]
        });
        let outcomes = Policy::ALL.map(|policy| {
            let named = match policy {
                Policy::Nearest => field.nearest(client.at, 1),
                Policy::Top3 => field.nearest(client.at, 3),
                Policy::LearnedTop1 => field.set(&field.city(&learned, client), 1),
                Policy::LearnedTop3 => field.set(&field.city(&learned, client), 3),
                Policy::CountrySet3 => three,
                Policy::CountrySet5 => five,
                Policy::RealisticTop3 => field.set(&field.city(&realistic, client), 3),
                Policy::RealisticCountrySet3 => lean,
            };
            let rtts = named.iter().filter_map(|pop| client.rtt_ms.get(pop.get()).copied().flatten());
            // No measurement of any named PoP says nothing against the policy; six pairs of the data are absent.
            let reached = rtts.min_by(f64::total_cmp).unwrap_or(best);
            score::Outcome { excess: reached - best, best }
        });
        judged.push((client.continent, outcomes));
    }
    judged
}

fn site(client: &Client, revealed: impl Fn(usize) -> bool) -> Site {
    let measured = client.rtt_ms.iter().enumerate().map(|(pop, rtt)| {
        let rtt_ms = rtt.filter(|_| revealed(pop))?;
        Some(Measured { rtt_ms, clients: 1.0, at: Duration::ZERO })
    });
    Site { country: client.country, continent: client.continent, at: client.at, measured: measured.collect() }
}

/// The PoPs of the data, as the choice wants them; each is a failure domain of its own.
struct Field<'a> {
    setting: Setting<'a>,
    at: Vec<Coordinates>,
    targets: Vec<Target>,
    domains: Vec<u16>,
    no_bias: Vec<f32>,
}

impl<'a> Field<'a> {
    fn new(setting: Setting<'a>) -> Self {
        Self {
            at: setting.pops.iter().map(|pop| pop.at).collect(),
            targets: setting.pops.iter().map(|pop| Target { at: pop.at, country: pop.country }).collect(),
            domains: (0..setting.pops.len()).filter_map(|pop| u16::try_from(pop).ok()).collect(),
            no_bias: vec![0.0; setting.pops.len()],
            setting,
        }
    }

    fn fit(&self, sites: &[Site]) -> Model {
        Model::fit(&self.targets, sites, self.setting.tuning, Duration::ZERO)
    }

    fn nearest(&self, at: Coordinates, count: usize) -> Ranked {
        let mut order: Vec<PopIndex> = (0..self.at.len()).filter_map(PopIndex::new).collect();
        let km = |pop: &PopIndex| self.at[pop.get()].km_to(at);
        order.sort_by(|a, b| km(a).total_cmp(&km(b)));
        order.into_iter().take(count).collect()
    }

    fn set(&self, scenarios: &[Scenario], size: usize) -> Ranked {
        choose(scenarios, PopSet::first(self.at.len()), size, &self.no_bias, &self.domains)
    }

    fn city(&self, model: &Model, client: &Client) -> Vec<Scenario> {
        let mut scenarios = Vec::new();
        model.scenarios(&origin(client.country, client.continent, client.at), 1.0, &mut scenarios);
        scenarios
    }

    /// What may happen to a client of which only the country is known.
    fn country(&self, model: &Model, client: &Client) -> Vec<Scenario> {
        let mut scenarios = Vec::new();
        let Some(land) = self.setting.world.land(client.country) else { return self.city(model, client) };
        for city in &land.cities {
            model.scenarios(&origin(land.country, land.continent, city.at), city.share, &mut scenarios);
        }
        scenarios
    }

    /// What a service sees of clients that come one after another: each races the three that the model so far names,
    /// and pings two of the six that would come next, in turn. The map asks in the same way.
    fn feedback(&self, clients: &[Client]) -> Vec<Site> {
        let mut order: Vec<&Client> = clients.iter().collect();
        Dice::new(1).shuffle(&mut order);
        let mut sites: Vec<Site> = Vec::new();
        for client in order {
            let model = self.fit(&sites);
            let asked = self.asked(&model, client, sites.len());
            sites.push(site(client, |pop| PopIndex::new(pop).is_some_and(|pop| asked.has(pop))));
        }
        sites
    }

    fn asked(&self, model: &Model, client: &Client, turn: usize) -> PopSet {
        let from = origin(client.country, client.continent, client.at);
        let raced = self.set(&self.city(model, client), 3).set();
        let (predicted, known) = (model.predict(&from), model.evidence(&from));
        let mut next: Vec<PopIndex> = PopSet::first(self.at.len()).without(raced).iter().collect();
        next.sort_by(|a, b| predicted[a.get()].total_cmp(&predicted[b.get()]));
        next.truncate(POOL);
        next.sort_by(|a, b| known[a.get()].total_cmp(&known[b.get()]));
        let start = turn % next.len().max(1);
        let probed: PopSet = next.iter().copied().cycle().skip(start).take(PROBES.min(next.len())).collect();
        let both = raced.iter().chain(probed.iter());
        both.collect()
    }
}

fn origin(country: Country, continent: Continent, at: Coordinates) -> Origin {
    Origin { country: Some(country), continent: Some(continent), at }
}

fn folds_of(clients: &[Client], folds: usize, seed: u64) -> Vec<usize> {
    // Groups of neighbours, by the lowest index in each.
    let mut group: Vec<usize> = (0..clients.len()).collect();
    for a in 0..clients.len() {
        for b in 0..a {
            if group[a] != group[b] && clients[a].at.km_to(clients[b].at) < NEIGHBOURS_KM {
                let (from, to) = (group[a].max(group[b]), group[a].min(group[b]));
                group.iter_mut().filter(|of| **of == from).for_each(|of| *of = to);
            }
        }
    }
    let mut dice = Dice::new(seed);
    let mut fold_of = vec![0; clients.len()];
    let mut next = 0;
    for continent in Continent::ALL {
        let heads = (0..clients.len()).filter(|index| group[*index] == *index);
        let mut heads: Vec<usize> = heads.filter(|index| clients[*index].continent == continent).collect();
        dice.shuffle(&mut heads);
        for head in heads {
            (0..clients.len())
                .filter(|index| group[*index] == head)
                .for_each(|index| fold_of[index] = next % folds);
            next += 1;
        }
    }
    fold_of
}

#[cfg(test)]
mod tests;
