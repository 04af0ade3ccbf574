//! Predicted round trips: what a client of a place will see of each PoP, from what others saw.
//!
//! A distance line explains most of it; what is left over, the residual, belongs to how networks are joined, and
//! that is alike for neighbours, within a country, and on a continent. So a prediction is the line plus a residual
//! that is looked for from near to far: measured places around (weighted by distance), the country, the continent,
//! the PoP. Every level is drawn to its parent with n/(n+k), so that little evidence changes little.
//!
//! The same weights make [`Model::scenarios`]: not the mean residual but the whole rows of residuals of the places
//! that it came from. Residuals of PoPs go together (who reaches Singapore badly reaches Jakarta badly), and a set of
//! candidates is chosen for what may happen, not for the mean: see [`crate::choose`].

use std::collections::BTreeMap;
use std::time::Duration;

use crate::dice::Dice;
use crate::place::{Continent, Coordinates, Country};

mod line;

pub use line::Line;

/// Kilometres that light in fibre goes and comes back in a millisecond: no round trip is shorter.
const KM_PER_MS_MAX: f64 = 100.0;

/// How a [`Model`] learns. Round numbers from the middle of a plateau, chosen by cross-validation over a dozen ways of
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
    /// How far off, in milliseconds, a prediction may be for a PoP that nobody on the continent has measured; less
    /// with the root of their number. It makes a set hedge, and asks for measurements where there are none.
    pub doubt_ms: f64,
    /// The time in which a measurement loses half of its weight.
    pub half_life: Duration,
}

impl Default for Tuning {
    fn default() -> Self {
        Self {
            kernel_km: 250.0,
            shrink: 4.0,
            shrink_levels: [4.0, 4.0, 16.0, 4.0],
            doubt_ms: 20.0,
            half_life: Duration::from_hours(24),
        }
    }
}

/// The weight of a scenario that is too small to be doubted in every way where many cities stand for one cell.
const UNLIKELY: f64 = 0.01;

/// Ways in which each scenario is doubted.
const DOUBTS: usize = 16;

/// Quantiles of a Laplace distribution of deviation 1, for each PoP in an order of its own: the same for every call,
/// without correlation between PoPs, and with a mean of 0 for each.
fn doubts(pops: usize) -> Vec<[f64; DOUBTS]> {
    let mut quantiles = [0.0; DOUBTS];
    for (index, quantile) in (0_u8..).zip(&mut quantiles) {
        let from_median = (f64::from(index) + 0.5) / 16.0 - 0.5;
        *quantile = -from_median.signum() * (1.0 - 2.0 * from_median.abs()).ln() / std::f64::consts::SQRT_2;
    }
    let shuffled = (77_u64..).take(pops).map(|seed| {
        let mut order = quantiles;
        Dice::new(seed).shuffle(&mut order);
        order
    });
    shuffled.collect()
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
    /// By PoP; what was not measured is what the levels above say.
    residual: Vec<f64>,
    /// By PoP: evidence, 0 for what was not measured, at most 1 a client and PoP.
    evidence: Vec<f64>,
    /// Mean of `evidence` over the PoPs that were measured.
    weight: f64,
}

/// A fitted model; see the module.
#[derive(Debug, Clone)]
pub struct Model {
    tuning: Tuning,
    line: Line,
    pops: Vec<Coordinates>,
    doubts: Vec<[f64; DOUBTS]>,
    sites: Vec<Fitted>,
    by_pop: Vec<Mean>,
    by_continent: BTreeMap<Continent, Vec<Mean>>,
    by_country: BTreeMap<Country, Vec<Mean>>,
}

impl Model {
    /// Learns from sites; from none, the model is the line of the research (15 ms + 17 ms per 1000 km) alone.
    #[must_use]
    pub fn fit(pops: &[Coordinates], sites: &[Site], tuning: Tuning, now: Duration) -> Self {
        let mut points = Vec::new();
        for site in sites {
            for (pop, measured) in pops.iter().zip(&site.measured) {
                if let Some(measured) = measured {
                    points.push((site.at.km_to(*pop), measured.rtt_ms));
                }
            }
        }
        let line = Line::fit(&points);
        let nothing = || vec![Mean::default(); pops.len()];
        let mut model = Self {
            tuning,
            line,
            pops: pops.to_vec(),
            doubts: doubts(pops.len()),
            sites: Vec::with_capacity(sites.len()),
            by_pop: nothing(),
            by_continent: BTreeMap::new(),
            by_country: BTreeMap::new(),
        };
        for site in sites {
            let mut fitted = Fitted {
                country: site.country,
                continent: site.continent,
                at: site.at,
                residual: vec![0.0; pops.len()],
                evidence: vec![0.0; pops.len()],
                weight: 0.0,
            };
            let continent = model.by_continent.entry(site.continent).or_insert_with(nothing);
            let country = model.by_country.entry(site.country).or_insert_with(nothing);
            for (index, measured) in site.measured.iter().take(pops.len()).enumerate() {
                let Some(measured) = measured else { continue };
                let evidence = decayed(measured, tuning.half_life, now).min(1.0);
                let residual = measured.rtt_ms - line.at(site.at.km_to(pops[index]));
                fitted.residual[index] = residual;
                fitted.evidence[index] = evidence;
                for level in [&mut model.by_pop, &mut *continent, &mut *country] {
                    level[index].add(evidence, residual);
                }
            }
            let known = fitted.evidence.iter().filter(|evidence| **evidence > 0.0);
            let (sum, count) = known.fold((0.0, 0.0), |(sum, count), evidence| (sum + evidence, count + 1.0));
            if count > 0.0 {
                fitted.weight = sum / count;
                model.sites.push(fitted);
            }
        }
        for index in 0..model.sites.len() {
            let (country, continent) = (model.sites[index].country, model.sites[index].continent);
            for pop in 0..pops.len() {
                if model.sites[index].evidence[pop] == 0.0 {
                    model.sites[index].residual[pop] = model.regional(Some(country), Some(continent), pop);
                }
            }
        }
        model
    }

    /// The distance line.
    #[must_use]
    pub fn line(&self) -> Line {
        self.line
    }

    /// Predicted round trips by PoP, in milliseconds.
    #[must_use]
    pub fn predict(&self, origin: &Origin) -> Vec<f64> {
        let near = self.near(origin);
        let mut predicted = Vec::with_capacity(self.pops.len());
        for (pop, at) in self.pops.iter().enumerate() {
            let mut mean = Mean::default();
            for (site, weight) in self.sites.iter().zip(&near) {
                mean.add(weight * site.evidence[pop], site.residual[pop]);
            }
            let parent = self.regional(origin.country, origin.continent, pop);
            let residual = mean.shrunk(parent, self.tuning.shrink);
            predicted.push(self.rtt(origin.at.km_to(*at), residual));
        }
        predicted
    }

    /// How many clients' worth of evidence stands behind each prediction: near places and the country together.
    #[must_use]
    pub fn evidence(&self, origin: &Origin) -> Vec<f64> {
        let near = self.near(origin);
        let mut evidence = vec![0.0; self.pops.len()];
        for (site, weight) in self.sites.iter().zip(&near) {
            let same = f64::from(u8::from(origin.country == Some(site.country)));
            for (sum, evidence) in evidence.iter_mut().zip(&site.evidence) {
                *sum += evidence * weight.max(same);
            }
        }
        evidence
    }

    /// What may happen to a client, the weights adding up to `share`; appended to `scenarios`.
    pub fn scenarios(&self, origin: &Origin, share: f64, scenarios: &mut Vec<Scenario>) {
        let weights = self.mixture(origin);
        let base: Vec<f64> = self.pops.iter().map(|pop| origin.at.km_to(*pop)).collect();
        let total: f64 = weights.iter().sum();
        let doubt = |pop: usize| {
            let level = origin.continent.and_then(|continent| self.by_continent.get(&continent));
            self.tuning.doubt_ms / (1.0 + level.map_or(0.0, |level| level[pop].weight)).sqrt()
        };
        let doubt: Vec<f64> = (0..self.pops.len()).map(doubt).collect();
        let mut push = |weight: f64, residual: &dyn Fn(usize) -> f64| {
            let rtts: Vec<f64> =
                base.iter().enumerate().map(|(pop, km)| self.rtt(*km, residual(pop))).collect();
            // What is unlikely stands with one doubt, in turn, for all of them: others like it have the other ones.
            let (ways, weight) = if share < 1.0 && weight < UNLIKELY {
                let way = scenarios.len() % DOUBTS;
                (way..way + 1, weight * share)
            } else {
                (0..DOUBTS, weight * share / 16.0)
            };
            for way in ways {
                let rtt = |pop: usize| rtts[pop] + self.doubts[pop][way] * doubt[pop];
                let floor = |pop: usize| base[pop] / KM_PER_MS_MAX;
                let rtt_ms = (0..base.len()).map(|pop| narrow(rtt(pop).max(floor(pop)))).collect();
                scenarios.push(Scenario { weight: narrow(weight), rtt_ms });
            }
        };
        for (site, weight) in self.sites.iter().zip(&weights) {
            // What is less likely than this changes no choice and costs time.
            if *weight > 1e-4 {
                push(*weight, &|pop| site.residual[pop]);
            }
        }
        if 1.0 - total > 1e-4 {
            push(1.0 - total, &|pop| self.regional(origin.country, origin.continent, pop));
        }
    }

    /// The weight of each site near an origin, 1 for one in the same place.
    fn near(&self, origin: &Origin) -> Vec<f64> {
        let weigh = |site: &Fitted| (-site.at.km_to(origin.at) / self.tuning.kernel_km).exp() * site.weight;
        self.sites.iter().map(weigh).collect()
    }

    /// How likely an origin is to be like each site; less than 1 in all.
    fn mixture(&self, origin: &Origin) -> Vec<f64> {
        let levels: [Vec<f64>; 4] = [
            self.near(origin),
            self.level(|site| origin.country == Some(site.country)),
            self.level(|site| origin.continent == Some(site.continent)),
            self.level(|_| true),
        ];
        let mut left = 1.0;
        let mut mixture = vec![0.0; self.sites.len()];
        for (level, k) in levels.into_iter().zip(self.tuning.shrink_levels) {
            let weight: f64 = level.iter().sum();
            let each = left / (weight + k);
            mixture.iter_mut().zip(&level).for_each(|(sum, weight)| *sum += weight * each);
            left *= k / (weight + k);
        }
        mixture
    }

    fn level(&self, like: impl Fn(&Fitted) -> bool) -> Vec<f64> {
        self.sites.iter().map(|site| if like(site) { site.weight } else { 0.0 }).collect()
    }

    /// The residual of a country, drawn to its continent's, drawn to the PoP's, drawn to none.
    fn regional(&self, country: Option<Country>, continent: Option<Continent>, pop: usize) -> f64 {
        let shrink = self.tuning.shrink;
        let mut residual = self.by_pop[pop].shrunk(0.0, shrink);
        if let Some(level) = continent.and_then(|continent| self.by_continent.get(&continent)) {
            residual = level[pop].shrunk(residual, shrink);
        }
        if let Some(level) = country.and_then(|country| self.by_country.get(&country)) {
            residual = level[pop].shrunk(residual, shrink);
        }
        residual
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
mod tests {
    use super::*;

    fn at(lat: f64, lon: f64) -> Coordinates {
        Coordinates::new(lat, lon).unwrap()
    }

    fn site(country: &str, place: Coordinates, rtts: &[f64]) -> Site {
        let measured =
            rtts.iter().map(|rtt_ms| Some(Measured { rtt_ms: *rtt_ms, clients: 1.0, at: Duration::ZERO }));
        Site {
            country: country.parse().unwrap(),
            continent: Continent::Asia,
            at: place,
            measured: measured.collect(),
        }
    }

    fn origin(country: &str, place: Coordinates) -> Origin {
        Origin { country: Some(country.parse().unwrap()), continent: Some(Continent::Asia), at: place }
    }

    #[test]
    fn a_detour_is_learned_near_it_and_forgotten_with_time() {
        let pops = [at(10.0, 106.0), at(22.0, 114.0)];
        let hanoi = at(21.0, 105.8);
        // Nearer and far slower: the second PoP.
        let sites: Vec<Site> = (0..8).map(|_| site("VN", hanoi, &[25.0, 280.0])).collect();
        let model = |now| Model::fit(&pops, &sites, Tuning::default(), now);
        let fresh = model(Duration::ZERO).predict(&origin("VN", hanoi));
        assert!(fresh[0] + 100.0 < fresh[1], "{fresh:?}");
        let elsewhere =
            model(Duration::ZERO).predict(&Origin { country: None, continent: None, at: at(50.0, 8.0) });
        assert!(elsewhere[1] - elsewhere[0] < fresh[1] - fresh[0], "{elsewhere:?}");
        let old = model(Duration::from_hours(24 * 12)).predict(&origin("VN", hanoi));
        assert!(old[1] < old[0] + 10.0, "{old:?}");
    }

    #[test]
    fn scenarios_weigh_their_share_and_no_round_trip_beats_light() {
        let pops = [at(10.0, 106.0), at(22.0, 114.0)];
        let sites = [site("VN", at(21.0, 105.8), &[25.0, 280.0]), site("TH", at(13.7, 100.5), &[1.0, 40.0])];
        let model = Model::fit(&pops, &sites, Tuning::default(), Duration::ZERO);
        let from = origin("VN", at(-30.0, -60.0));
        let mut scenarios = Vec::new();
        model.scenarios(&from, 0.25, &mut scenarios);
        let total: f32 = scenarios.iter().map(|scenario| scenario.weight).sum();
        assert!((total - 0.25).abs() < 1e-3, "{total}");
        for scenario in &scenarios {
            for (rtt, pop) in scenario.rtt_ms.iter().zip(pops) {
                assert!(f64::from(*rtt) >= from.at.km_to(pop) / KM_PER_MS_MAX - 0.01);
            }
        }
    }

    #[test]
    fn without_evidence_the_line_decides() {
        let pops = [at(10.0, 106.0), at(22.0, 114.0)];
        let model = Model::fit(&pops, &[], Tuning::default(), Duration::ZERO);
        let predicted = model.predict(&origin("VN", at(21.0, 105.8)));
        assert!(predicted[1] < predicted[0]);
        assert_eq!(model.evidence(&origin("VN", at(21.0, 105.8))), [0.0, 0.0]);
    }
}
