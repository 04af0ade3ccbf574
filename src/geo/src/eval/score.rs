//! From excess round trips to the figures of a policy.

use serde::Serialize;

use crate::dice::Dice;

/// Resamples of a bootstrap.
const RESAMPLES: usize = 10_000;

/// The seed of the bootstrap: the same figures from the same data.
const SEED: u64 = 1;

/// One client under one policy.
#[derive(Debug, Clone, Copy)]
pub(super) struct Outcome {
    /// Milliseconds beyond the best PoP.
    pub(super) excess: f64,
    /// The best PoP's round trip.
    pub(super) best: f64,
}

/// Figures of a policy over some clients; milliseconds are those beyond the best PoP of each client.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Figures {
    /// How many clients.
    pub clients: usize,
    /// Mean excess.
    pub mean_ms: f64,
    /// Excess that 90 % of clients stay at or below.
    pub p90_ms: f64,
    /// The same of 99 %.
    pub p99_ms: f64,
    /// Share of clients, 0 to 1, with at most 5 ms.
    pub within_5ms: f64,
    /// Share of clients with at most a tenth of the best round trip.
    pub within_10pct: f64,
}

/// A policy against another, client by client.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Paired {
    /// Mean excess minus that of the other: below 0 is better.
    pub mean_ms: f64,
    /// 95 % interval of it.
    pub mean_ms_interval: [f64; 2],
    /// Share within 5 ms minus that of the other: above 0 is better.
    pub within_5ms: f64,
    /// 95 % interval of it.
    pub within_5ms_interval: [f64; 2],
    /// Share of resamples with a lower mean excess than the other's.
    pub better: f64,
}

/// How much a figure depends on the way in which the clients were cut into parts.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Spread {
    /// Mean over the ways.
    pub mean: f64,
    /// Standard deviation over the ways.
    pub deviation: f64,
}

impl Spread {
    /// Of one figure by way; 0 of none.
    #[must_use]
    pub fn of(values: &[f64]) -> Self {
        let mean = mean(values.iter().copied());
        let variance = self::mean(values.iter().map(|value| (value - mean).powi(2)));
        Self { mean, deviation: variance.sqrt() }
    }
}

pub(super) fn figures(outcomes: &[Outcome]) -> Figures {
    let mut excess: Vec<f64> = outcomes.iter().map(|outcome| outcome.excess).collect();
    excess.sort_by(f64::total_cmp);
    let share =
        |good: &dyn Fn(&Outcome) -> bool| mean(outcomes.iter().map(|one| f64::from(u8::from(good(one)))));
    Figures {
        clients: outcomes.len(),
        mean_ms: mean(excess.iter().copied()),
        p90_ms: quantile(&excess, 90),
        p99_ms: quantile(&excess, 99),
        within_5ms: share(&near),
        within_10pct: share(&|one| one.excess <= one.best / 10.0),
    }
}

fn near(outcome: &Outcome) -> bool {
    outcome.excess <= 5.0
}

pub(super) fn paired(policy: &[Outcome], other: &[Outcome]) -> Paired {
    let differences: Vec<(f64, f64)> = policy
        .iter()
        .zip(other)
        .map(|(a, b)| (a.excess - b.excess, f64::from(u8::from(near(a))) - f64::from(u8::from(near(b)))))
        .collect();
    let mut dice = Dice::new(SEED);
    let (mut means, mut shares) = (Vec::with_capacity(RESAMPLES), Vec::with_capacity(RESAMPLES));
    for _ in 0..RESAMPLES {
        let (mut ms, mut share) = (0.0, 0.0);
        for _ in 0..differences.len() {
            let (one, two) = differences[dice.below(differences.len())];
            ms += one;
            share += two;
        }
        means.push(ms / length(&differences));
        shares.push(share / length(&differences));
    }
    let better = mean(means.iter().map(|mean| f64::from(u8::from(*mean < 0.0))));
    Paired {
        mean_ms: mean(differences.iter().map(|(ms, _)| *ms)),
        mean_ms_interval: interval(means),
        within_5ms: mean(differences.iter().map(|(_, share)| *share)),
        within_5ms_interval: interval(shares),
        better,
    }
}

fn interval(mut values: Vec<f64>) -> [f64; 2] {
    values.sort_by(f64::total_cmp);
    let at = |per_mille: usize| values.get(values.len() * per_mille / 1000).copied().unwrap_or(0.0);
    [at(25), at(975)]
}

/// The nearest rank of a sorted list; 0 of an empty one.
fn quantile(sorted: &[f64], percent: usize) -> f64 {
    let rank = (sorted.len() * percent).div_ceil(100);
    sorted.get(rank.saturating_sub(1)).copied().unwrap_or(0.0)
}

fn mean(values: impl Iterator<Item = f64>) -> f64 {
    let (sum, count) = values.fold((0.0, 0.0), |(sum, count), value| (sum + value, count + 1.0));
    if count > 0.0 { sum / count } else { 0.0 }
}

#[expect(clippy::cast_precision_loss, reason = "no list here has 2^52 entries")]
fn length<T>(list: &[T]) -> f64 {
    list.len() as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcomes(excess: &[f64]) -> Vec<Outcome> {
        excess.iter().map(|excess| Outcome { excess: *excess, best: 20.0 }).collect()
    }

    #[test]
    fn figures_are_those_of_the_list() {
        let mut list = vec![0.0; 90];
        list.extend([2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0, 10.0, 46.0]);
        let figures = figures(&outcomes(&list));
        assert_eq!((figures.clients, figures.mean_ms, figures.p90_ms, figures.p99_ms), (100, 1.0, 0.0, 10.0));
        assert!((figures.within_5ms - 0.94).abs() < 1e-9 && (figures.within_10pct - 0.91).abs() < 1e-9);
        assert_eq!(super::figures(&[]).mean_ms, 0.0);
    }

    #[test]
    fn a_paired_difference_is_surer_than_two_intervals() {
        // Every client gains a millisecond, while clients differ by fifty.
        let other: Vec<f64> = (0..100).map(|n| f64::from(n) / 2.0 + 1.0).collect();
        let policy: Vec<f64> = other.iter().map(|excess| excess - 1.0).collect();
        let paired = paired(&outcomes(&policy), &outcomes(&other));
        assert!((paired.mean_ms + 1.0).abs() < 1e-9 && (paired.better - 1.0).abs() < 1e-9);
        assert!((paired.mean_ms_interval[1] + 1.0).abs() < 1e-9);
        assert!(paired.within_5ms > 0.0);
    }
}
