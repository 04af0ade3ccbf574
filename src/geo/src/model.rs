//! Predicted round trips: what a client of a place will see of each PoP, from what others saw.
//!
//! A distance line explains most of it; what is left over, the residual, belongs to how networks are joined, and
//! that is alike for neighbours, within a country, and on a continent. So a prediction is the line plus a residual
//! that is looked for from near to far: measured places around (weighted by distance), the country, the continent,
//! the PoP. Every level is drawn to its parent with n/(n+k), so that little evidence changes little.
//!
//! Two things bound what may be carried over. A client and a PoP of one country are joined at home: such pairs are
//! alike (12 ms under the line, whatever foreigners see of the PoP), and teach nothing about pairs across a border. And
//! what was seen over a much longer or shorter way says little: an African client's way to Frankfurt is not a German's.
//!
//! The same weights make [`Model::scenarios`]: not the mean residual but the whole rows of residuals of the places
//! that it came from. Residuals of PoPs go together (who reaches Singapore badly reaches Jakarta badly), and a set of
//! candidates is chosen for what may happen, not for the mean: see [`crate::choose`]. What a place did not measure is
//! filled in with what is expected, off by as much as what it did measure was. Every scenario is then doubted: any
//! PoP may turn out to be joined to this client straight, or by a detour, without anybody's having seen it.
//!
//! `docs/decisions/` has the figures for each of these, and what was tried besides.

use std::time::Duration;

use crate::dice::Dice;
use crate::place::{Continent, Coordinates, Country};
use crate::table::Pop;

mod line;

pub use line::Line;

/// Kilometres that light in fibre goes and comes back in a millisecond: no round trip is shorter.
const KM_PER_MS_MAX: f64 = 100.0;

/// A measurement over a way this many times longer or shorter ([`NEAR_KM`] added to both) says nothing.
const UNLIKE_TIMES: f64 = 8.0;

/// Below some such distance ways differ in everything but length.
const NEAR_KM: f64 = 200.0;

/// The round trip over a straight route: what three of four pairs within a country stay below, and two of three over
/// more than 8,000 km.
const STRAIGHT: Line = Line { base_ms: 4.0, ms_per_km: 0.0215 };

/// What a detour adds: the way from Africa, South Asia and the Middle East to a neighbour by way of Europe.
const DETOUR_MS: f32 = 100.0;

/// Ways in which each scenario is doubted; of each PoP, in …
const DOUBTS: usize = 16;

/// … this many it has a straight route, …
const STRAIGHT_IN: usize = 3;

/// … and in this many a detour.
const DETOUR_IN: usize = 1;

/// How a [`Model`] learns. Round numbers from the middle of a plateau, chosen by cross-validation over many ways of
/// halving 105 client cities: twice or half of any of them changes the figures less than another halving does.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Tuning {
    /// The distance over which the weight of a measured place falls to 1/e, in kilometres.
    pub kernel_km: f64,
    /// The k of n/(n+k) for mean residuals: how much evidence weighs as much as the parent.
    pub shrink: f64,
    /// The same for scenarios, by level: near places, country, continent, all. A continent is a poor likeness, and
    /// leaves more to the world and to the mean.
    pub shrink_levels: [f64; 4],
    /// The time in which a measurement loses half of its weight.
    pub half_life: Duration,
}

impl Default for Tuning {
    fn default() -> Self {
        Self {
            kernel_km: 400.0,
            shrink: 4.0,
            shrink_levels: [4.0, 4.0, 16.0, 4.0],
            half_life: Duration::from_hours(24),
        }
    }
}

/// The weight of a scenario that is too small to be doubted in every way where many cities stand for one cell.
const UNLIKELY: f64 = 0.01;

/// How a PoP is doubted.
#[derive(Debug, Clone, Copy)]
enum Doubt {
    Straight,
    Detour,
}

/// By way, which PoPs are doubted how: the same for every call, and one PoP's doubt tells nothing of another's.
fn doubts(pops: usize) -> Vec<Vec<(Doubt, usize)>> {
    let mut ways = vec![Vec::new(); DOUBTS];
    for (pop, seed) in (77_u64..).take(pops).enumerate() {
        let mut order: [usize; DOUBTS] = std::array::from_fn(|turn| turn);
        Dice::new(seed).shuffle(&mut order);
        for (way, turn) in ways.iter_mut().zip(order) {
            match turn {
                turn if turn < STRAIGHT_IN => way.push((Doubt::Straight, pop)),
                turn if turn < STRAIGHT_IN + DETOUR_IN => way.push((Doubt::Detour, pop)),
                _ => {}
            }
        }
    }
    ways
}

/// A PoP as far as the model needs it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Target {
    /// Where it is.
    pub at: Coordinates,
    /// The country it stands in.
    pub country: Country,
}

impl From<&Pop> for Target {
    fn from(pop: &Pop) -> Self {
        Self { at: pop.at, country: pop.country }
    }
}

/// What is known of one PoP at one [`Site`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Measured {
    /// The round trip, in milliseconds: a low quantile of what clients there saw.
    pub rtt_ms: f64,
    /// How many clients stand behind it.
    pub clients: f64,
    /// When it was last measured, on the caller's clock.
    pub at: Duration,
}

/// A place that measured, for example a city or the clients of a prefix.
#[derive(Debug, Clone, PartialEq)]
pub struct Site {
    /// Its country.
    pub country: Country,
    /// Its continent.
    pub continent: Continent,
    /// Where it is; of clients of which only the country is known, the country's mean position.
    pub at: Coordinates,
    /// By PoP, in the order of the table; shorter is as good as unknown.
    pub measured: Vec<Option<Measured>>,
}

/// A client as far as the model needs it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Origin {
    /// The country, if known.
    pub country: Option<Country>,
    /// The continent, if known.
    pub continent: Option<Continent>,
    /// Where it is, or may be.
    pub at: Coordinates,
}

/// What may happen to a client: a weight and the round trips to all PoPs, in milliseconds.
#[derive(Debug, Clone, PartialEq)]
pub struct Scenario {
    /// Above 0.
    pub weight: f32,
    /// By PoP.
    pub rtt_ms: Vec<f32>,
}

/// A mean that is drawn to its parent.
#[derive(Debug, Clone, Copy, Default)]
struct Mean {
    weight: f64,
    sum: f64,
}

impl Mean {
    fn add(&mut self, weight: f64, value: f64) {
        self.weight += weight;
        self.sum += weight * value;
    }

    fn shrunk(self, parent: f64, shrink: f64) -> f64 {
        (self.sum + shrink * parent) / (self.weight + shrink)
    }
}

#[derive(Debug, Clone)]
struct Fitted {
    country: Country,
    continent: Continent,
    at: Coordinates,
    /// By PoP.
    seen: Vec<Seen>,
    /// Mean evidence over the PoPs that were measured.
    weight: f64,
    /// By how much what was measured differs from what the region says, in the order of PoPs.
    surprises: Vec<f64>,
}

/// What a site knows of a PoP.
#[derive(Debug, Clone, Copy, Default)]
struct Seen {
    residual: f64,
    /// 0 for what was not measured, at most 1 a client.
    evidence: f64,
    /// See [`range`].
    range: f64,
    /// Whether both are in one country.
    home: bool,
}

/// A fitted model; see the module.
#[derive(Debug, Clone)]
pub struct Model {
    tuning: Tuning,
    line: Line,
    pops: Vec<Target>,
    /// By way: which PoPs are doubted.
    doubts: Vec<Vec<(Doubt, usize)>>,
    sites: Vec<Fitted>,
    /// The residual of pairs within a country.
    home: f64,
}

/// The model as seen from one origin; by PoP unless it says otherwise.
struct View {
    km: Vec<f64>,
    home: Vec<bool>,
    /// By site, 1 for one in the same place.
    near: Vec<f64>,
    /// By site and PoP, from 0 to 1: see [`alike`].
    alike: Vec<f64>,
    /// The residual of the country, drawn to its continent's, drawn to the PoP's, drawn to none.
    regional: Vec<f64>,
    /// The residual of the places around, drawn to that.
    predicted: Vec<f64>,
}

/// A distance as one compares them: by how many times they differ.
fn range(km: f64) -> f64 {
    (km + NEAR_KM).ln()
}

/// How much a measurement over one range says about another, from 1 for the same to 0.
fn alike(a: f64, b: f64) -> f64 {
    let apart = (a - b) / UNLIKE_TIMES.ln();
    (1.0 - apart * apart).max(0.0)
}

impl Model {
    /// Learns from sites; from none, the model is the line of the research (15 ms + 17 ms per 1000 km) alone.
    #[must_use]
    pub fn fit(pops: &[Target], sites: &[Site], tuning: Tuning, now: Duration) -> Self {
        let mut points = Vec::new();
        for site in sites {
            for (pop, measured) in pops.iter().zip(&site.measured) {
                if let Some(measured) = measured {
                    points.push((site.at.km_to(pop.at), measured.rtt_ms));
                }
            }
        }
        let line = Line::fit(&points);
        let mut fitted = Vec::with_capacity(sites.len());
        let mut at_home = Mean::default();
        for site in sites {
            let mut seen = vec![Seen::default(); pops.len()];
            for ((seen, pop), measured) in seen.iter_mut().zip(pops).zip(&site.measured) {
                let km = site.at.km_to(pop.at);
                seen.range = range(km);
                seen.home = pop.country == site.country;
                if let Some(measured) = measured {
                    seen.evidence = decayed(measured, tuning.half_life, now).min(1.0);
                    seen.residual = measured.rtt_ms - line.at(km);
                    if seen.home {
                        at_home.add(seen.evidence, seen.residual);
                    }
                }
            }
            let mut weight = Mean::default();
            seen.iter().filter(|seen| seen.evidence > 0.0).for_each(|seen| weight.add(1.0, seen.evidence));
            if weight.weight > 0.0 {
                let weight = weight.sum / weight.weight;
                let Site { country, continent, at, .. } = *site;
                fitted.push(Fitted { country, continent, at, seen, weight, surprises: Vec::new() });
            }
        }
        let mut model = Self {
            tuning,
            line,
            pops: pops.to_vec(),
            doubts: doubts(pops.len()),
            sites: fitted,
            home: at_home.shrunk(0.0, tuning.shrink),
        };
        for index in 0..model.sites.len() {
            let Fitted { country, continent, at, .. } = model.sites[index];
            let view = model.view(&Origin { country: Some(country), continent: Some(continent), at });
            let seen = model.sites[index].seen.iter().zip(&view.regional);
            let known = seen.filter(|(seen, _)| seen.evidence > 0.0);
            model.sites[index].surprises = known.map(|(seen, regional)| seen.residual - regional).collect();
        }
        model
    }

    /// The distance line.
    #[must_use]
    pub fn line(&self) -> Line {
        self.line
    }

    fn view(&self, origin: &Origin) -> View {
        let km: Vec<f64> = self.pops.iter().map(|pop| pop.at.km_to(origin.at)).collect();
        let ranges: Vec<f64> = km.iter().map(|km| range(*km)).collect();
        let home: Vec<bool> = self.pops.iter().map(|pop| origin.country == Some(pop.country)).collect();
        let near = self.near(origin);
        let count = self.pops.len();
        let mut alikes = Vec::with_capacity(count * self.sites.len());
        let mut levels = vec![[Mean::default(); 4]; count];
        for (site, near) in self.sites.iter().zip(&near) {
            let (same, close) =
                (origin.country == Some(site.country), origin.continent == Some(site.continent));
            for (pop, seen) in site.seen.iter().enumerate() {
                let like = alike(seen.range, ranges[pop]);
                alikes.push(like);
                let [all, continent, country, around] = &mut levels[pop];
                if same {
                    country.add(seen.evidence, seen.residual);
                }
                if seen.home == home[pop] {
                    around.add(near * seen.evidence, seen.residual);
                }
                if !seen.home {
                    all.add(like * seen.evidence, seen.residual);
                    if close {
                        continent.add(like * seen.evidence, seen.residual);
                    }
                }
            }
        }
        let shrink = self.tuning.shrink;
        let regional = levels.iter().zip(&home).map(|([all, continent, country, _], home)| {
            let abroad = continent.shrunk(all.shrunk(0.0, shrink), shrink);
            country.shrunk(if *home { self.home } else { abroad }, shrink)
        });
        let regional: Vec<f64> = regional.collect();
        let predicted =
            levels.iter().zip(&regional).map(|(level, regional)| level[3].shrunk(*regional, shrink));
        let predicted = predicted.collect();
        View { km, home, near, alike: alikes, regional, predicted }
    }

    /// Predicted round trips by PoP, in milliseconds.
    #[must_use]
    pub fn predict(&self, origin: &Origin) -> Vec<f64> {
        let view = self.view(origin);
        view.km.iter().zip(&view.predicted).map(|(km, residual)| self.rtt(*km, *residual)).collect()
    }

    /// How many clients' worth of evidence stands behind each prediction: near places and the country together.
    #[must_use]
    pub fn evidence(&self, origin: &Origin) -> Vec<f64> {
        let near = self.near(origin);
        let mut evidence = vec![0.0; self.pops.len()];
        for (site, weight) in self.sites.iter().zip(&near) {
            let same = f64::from(u8::from(origin.country == Some(site.country)));
            for (sum, seen) in evidence.iter_mut().zip(&site.seen) {
                *sum += seen.evidence * weight.max(same);
            }
        }
        evidence
    }

    /// What may happen to a client, the weights adding up to `share`; appended to `scenarios`.
    pub fn scenarios(&self, origin: &Origin, share: f64, scenarios: &mut Vec<Scenario>) {
        let view = self.view(origin);
        let (weights, local) = self.mixture(origin, &view.near);
        let mut residuals = vec![0.0; self.pops.len()];
        for (index, (weight, local)) in weights.iter().zip(&local).enumerate() {
            // What is less likely than this changes no choice and costs time.
            if *weight > 1e-4 {
                self.row(index, &view, local / weight, &mut residuals);
                self.doubt(&view, &residuals, *weight, share, scenarios);
            }
        }
        let left = 1.0 - weights.iter().sum::<f64>();
        if left > 1e-4 {
            self.doubt(&view, &view.predicted, left, share, scenarios);
        }
    }

    /// The residuals of an origin that is like a site, which it is for being near to `local`, from 0 to 1.
    fn row(&self, index: usize, view: &View, local: f64, residuals: &mut [f64]) {
        let site = &self.sites[index];
        for (pop, (residual, seen)) in residuals.iter_mut().zip(&site.seen).enumerate() {
            let expected = view.predicted[pop];
            *residual = if seen.evidence == 0.0 {
                expected + site.surprises[(index + 5 * pop) % site.surprises.len()]
            } else if seen.home == view.home[pop] {
                let like = local + (1.0 - local) * view.alike[index * self.pops.len() + pop];
                like * seen.residual + (1.0 - like) * expected
            } else {
                expected
            };
        }
    }

    /// A scenario in all the ways in which it may be wrong.
    fn doubt(&self, view: &View, residuals: &[f64], weight: f64, share: f64, scenarios: &mut Vec<Scenario>) {
        // What is unlikely stands with one doubt, in turn, for all of them: others like it have the other ones.
        let (ways, weight) = if share < 1.0 && weight < UNLIKELY {
            let way = scenarios.len() % DOUBTS;
            (way..way + 1, weight * share)
        } else {
            (0..DOUBTS, weight * share / 16.0)
        };
        let rtts: Vec<f32> =
            view.km.iter().zip(residuals).map(|(km, residual)| narrow(self.rtt(*km, *residual))).collect();
        let weight = narrow(weight);
        for way in ways {
            let mut rtt_ms = rtts.clone();
            for (doubt, pop) in &self.doubts[way] {
                match doubt {
                    Doubt::Straight => rtt_ms[*pop] = rtt_ms[*pop].min(narrow(STRAIGHT.at(view.km[*pop]))),
                    Doubt::Detour => rtt_ms[*pop] += DETOUR_MS,
                }
            }
            scenarios.push(Scenario { weight, rtt_ms });
        }
    }

    /// The weight of each site near an origin, 1 for one in the same place.
    fn near(&self, origin: &Origin) -> Vec<f64> {
        let weigh = |site: &Fitted| (-site.at.km_to(origin.at) / self.tuning.kernel_km).exp() * site.weight;
        self.sites.iter().map(weigh).collect()
    }

    /// How likely an origin is to be like each site, less than 1 in all; and how much of that is nearness.
    fn mixture(&self, origin: &Origin, near: &[f64]) -> (Vec<f64>, Vec<f64>) {
        let levels: [Vec<f64>; 4] = [
            near.to_vec(),
            self.level(|site| origin.country == Some(site.country)),
            self.level(|site| origin.continent == Some(site.continent)),
            self.level(|_| true),
        ];
        let mut left = 1.0;
        let mut mixture = vec![0.0; self.sites.len()];
        let mut local = Vec::new();
        for (index, (level, k)) in levels.into_iter().zip(self.tuning.shrink_levels).enumerate() {
            let weight: f64 = level.iter().sum();
            let each = left / (weight + k);
            mixture.iter_mut().zip(&level).for_each(|(sum, weight)| *sum += weight * each);
            left *= k / (weight + k);
            if index == 1 {
                local = mixture.clone();
            }
        }
        (mixture, local)
    }

    fn level(&self, like: impl Fn(&Fitted) -> bool) -> Vec<f64> {
        self.sites.iter().map(|site| if like(site) { site.weight } else { 0.0 }).collect()
    }

    fn rtt(&self, km: f64, residual: f64) -> f64 {
        (self.line.at(km) + residual).max(km / KM_PER_MS_MAX)
    }
}

/// The weight that is left of a measurement.
fn decayed(measured: &Measured, half_life: Duration, now: Duration) -> f64 {
    let age = now.saturating_sub(measured.at);
    let halvings = age.as_secs_f64() / half_life.as_secs_f64().max(1.0);
    measured.clients.max(0.0) * (-halvings).exp2()
}

/// Milliseconds and weights need no more than an `f32` holds.
#[expect(
    clippy::cast_possible_truncation,
    reason = "rounds; out of range becomes infinite, which no one chooses"
)]
fn narrow(value: f64) -> f32 {
    value as f32
}

#[cfg(test)]
mod tests;
