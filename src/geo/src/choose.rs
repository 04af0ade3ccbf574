//! Which few PoPs to try at once.

use crate::model::Scenario;
use crate::table::{PopIndex, PopSet};

/// Candidates of one cell at most.
pub const CANDIDATES_MAX: usize = 8;

/// A short ranked list of PoPs, best first, without allocation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Ranked {
    pops: [u8; CANDIDATES_MAX],
    len: u8,
}

impl Ranked {
    /// Appends one; a full list stays as it is.
    pub fn push(&mut self, pop: PopIndex) {
        if let Some(place) = self.pops.get_mut(usize::from(self.len)) {
            *place = u8::try_from(pop.get()).unwrap_or(0);
            self.len += 1;
        }
    }

    /// The PoPs, best first.
    pub fn iter(&self) -> impl Iterator<Item = PopIndex> + '_ {
        self.pops.iter().take(self.len()).filter_map(|pop| PopIndex::new(usize::from(*pop)))
    }

    /// The best.
    #[must_use]
    pub fn first(&self) -> Option<PopIndex> {
        self.iter().next()
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        usize::from(self.len)
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// As a set.
    #[must_use]
    pub fn set(&self) -> PopSet {
        self.iter().collect()
    }
}

impl FromIterator<PopIndex> for Ranked {
    fn from_iter<I: IntoIterator<Item = PopIndex>>(pops: I) -> Self {
        let mut ranked = Self::default();
        pops.into_iter().for_each(|pop| ranked.push(pop));
        ranked
    }
}

/// What a client can feel: 5 ms more than the best, or less, matter more than what comes on top.
const FELT_MS: f32 = 5.0;

/// How many times more. Without it, the mean is bought with a few milliseconds of many.
const FELT_TIMES: f32 = 6.0;

/// How often a PoP is all that is left of its set: what chooses between those that add nothing otherwise.
const ALONE: f32 = 0.02;

/// Chooses up to `size` PoPs out of `allowed` whose best will be good in most of what may happen: each next one is
/// that which lowers the expected excess of the best round trip (plus `bias_ms` by PoP) over that of all allowed the
/// most, the first 5 ms counted six times. The last place of a set that is still in one failure domain goes to the best
/// of another, if there is one; `domains` numbers them by PoP.
#[must_use]
pub fn choose(
    scenarios: &[Scenario],
    allowed: PopSet,
    size: usize,
    bias_ms: &[f32],
    domains: &[u16],
) -> Ranked {
    let mut chosen = Ranked::default();
    let mut best = vec![f32::INFINITY; scenarios.len()];
    let barred = |pop: usize| PopIndex::new(pop).is_none_or(|pop| !allowed.has(pop));
    let least: Vec<f32> = bias_ms
        .iter()
        .enumerate()
        .map(|(pop, bias)| if barred(pop) { f32::INFINITY } else { *bias })
        .collect();
    let floor = |scenario: &Scenario| {
        let costs = scenario.rtt_ms.iter().zip(&least).map(|(rtt, bias)| rtt + bias);
        costs.fold(f32::INFINITY, |least, cost| if cost < least { cost } else { least })
    };
    let floors: Vec<f32> = scenarios.iter().map(floor).collect();
    let mut left = allowed;
    let domain = |pop: PopIndex| domains.get(pop.get()).copied().unwrap_or(0);
    let mut expected = vec![0.0_f32; bias_ms.len()];
    for place in 0..size.min(CANDIDATES_MAX) {
        let mut eligible = left;
        if place > 0 && place + 1 == size {
            let first = chosen.first().map(domain);
            if chosen.iter().all(|pop| Some(domain(pop)) == first) {
                let others: PopSet = left.iter().filter(|pop| Some(domain(*pop)) != first).collect();
                if !others.is_empty() {
                    eligible = others;
                }
            }
        }
        expected.fill(0.0);
        for ((scenario, best), floor) in scenarios.iter().zip(&best).zip(&floors) {
            for ((sum, rtt), bias) in expected.iter_mut().zip(&scenario.rtt_ms).zip(bias_ms) {
                let cost = rtt + bias;
                // Not `min`, which takes its time for what is no number.
                let excess = if cost < *best { cost } else { *best } - floor;
                let felt = excess + (FELT_TIMES - 1.0) * if excess < FELT_MS { excess } else { FELT_MS };
                *sum += scenario.weight * (felt + ALONE * cost);
            }
        }
        let cost = |pop: &PopIndex| expected.get(pop.get()).copied().unwrap_or(f32::INFINITY);
        let Some(next) = eligible.iter().min_by(|a, b| cost(a).total_cmp(&cost(b))) else { break };
        for (scenario, best) in scenarios.iter().zip(&mut best) {
            let cost = scenario.rtt_ms.get(next.get()).zip(bias_ms.get(next.get()));
            *best = best.min(cost.map_or(f32::INFINITY, |(rtt, bias)| rtt + bias));
        }
        chosen.push(next);
        left.remove(next);
    }
    chosen
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pops(ranked: Ranked) -> Vec<usize> {
        ranked.iter().map(PopIndex::get).collect()
    }

    fn scenario(weight: f32, rtt_ms: &[f32]) -> Scenario {
        Scenario { weight, rtt_ms: rtt_ms.to_vec() }
    }

    #[test]
    fn a_set_covers_a_country_with_two_coasts() {
        // Two PoPs in the east, one in the west; six people of ten in the east.
        let country = [scenario(0.6, &[10.0, 11.0, 80.0]), scenario(0.4, &[80.0, 79.0, 10.0])];
        let chosen = choose(&country, PopSet::first(3), 2, &[0.0; 3], &[0, 1, 2]);
        assert_eq!(pops(chosen), [0, 2], "not the two smallest means, which are both in the east");
    }

    #[test]
    fn the_last_place_leaves_the_failure_domain() {
        let here = [scenario(1.0, &[10.0, 11.0, 12.0, 90.0])];
        assert_eq!(pops(choose(&here, PopSet::first(4), 3, &[0.0; 4], &[7, 7, 7, 8])), [0, 1, 3]);
        assert_eq!(pops(choose(&here, PopSet::first(3), 3, &[0.0; 4], &[7, 7, 7, 8])), [0, 1, 2]);
        assert_eq!(pops(choose(&here, PopSet::first(4), 1, &[0.0; 4], &[7, 7, 7, 8])), [0]);
    }

    #[test]
    fn bias_and_permission_count() {
        let here = [scenario(1.0, &[10.0, 11.0, 30.0])];
        assert_eq!(pops(choose(&here, PopSet::first(3), 1, &[5.0, 0.0, 0.0], &[0, 1, 2])), [1]);
        let mut allowed = PopSet::first(3);
        allowed.remove(PopIndex::new(0).unwrap());
        assert_eq!(pops(choose(&here, allowed, 2, &[0.0; 3], &[0, 1, 2])), [1, 2]);
        assert!(choose(&here, PopSet::NONE, 3, &[0.0; 3], &[0, 1, 2]).is_empty());
    }

    #[test]
    fn a_few_milliseconds_for_many_are_worse_than_many_for_few() {
        // The first has the lesser mean in both.
        let few = [scenario(0.9, &[14.0, 10.0]), scenario(0.1, &[14.0, 70.0])];
        assert_eq!(pops(choose(&few, PopSet::first(2), 1, &[0.0; 2], &[0, 1])), [1]);
        let more = [scenario(0.6, &[14.0, 10.0]), scenario(0.4, &[14.0, 70.0])];
        assert_eq!(pops(choose(&more, PopSet::first(2), 1, &[0.0; 2], &[0, 1])), [0]);
    }

    #[test]
    fn who_adds_nothing_is_chosen_for_when_it_is_all_that_is_left() {
        let here = [scenario(1.0, &[200.0, 10.0, 90.0, 20.0])];
        assert_eq!(pops(choose(&here, PopSet::first(4), 3, &[0.0; 4], &[0, 1, 2, 3])), [1, 3, 2]);
    }
}
