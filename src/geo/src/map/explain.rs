//! Why a client is answered as it is: for people, and for tests. Allocates.

use std::fmt;

use super::{Client, Decision, Level, Live, Map};
use crate::place::Coordinates;
use crate::prefixes::Prefix;
use crate::table::{PopIndex, PopSet, PopTable};
use crate::world::World;

/// What became of a PoP.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Verdict {
    /// In the answer, in this place from 1.
    Named(usize),
    /// Good enough, and there are better ones.
    Reserve,
    /// Not among those that the cell takes.
    Farther,
    /// Down or drained.
    Down,
    /// At its bound, or of weight 0.
    Full,
    /// Named to this share of its clients, and this is not one of them.
    Withheld(f32),
    /// Policy, residency or capabilities forbid it.
    Forbidden,
    /// It has no endpoint, and others have.
    NoEndpoint,
}

/// One PoP in an [`Explanation`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Explained {
    /// Which.
    pub pop: PopIndex,
    /// What became of it.
    pub verdict: Verdict,
    /// The round trip that its cell expects, in milliseconds, if it is one of the few that the cell keeps.
    pub expected_ms: Option<f32>,
    /// What is left of that when the distance line is taken away: what was learned.
    pub residual_ms: Option<f32>,
    /// What its load costs.
    pub penalty_ms: f32,
    /// What the operator adds.
    pub bias_ms: f32,
}

/// Why a client is answered as it is.
#[derive(Debug, Clone, PartialEq)]
pub struct Explanation {
    /// The kind of cell that decided.
    pub level: Level,
    /// Which one, in words.
    pub cell: String,
    /// The answer.
    pub decision: Decision,
    /// All PoPs: those of the answer first, then those of the cell, then by their places in the table.
    pub pops: Vec<Explained>,
}

impl Map {
    /// Explains [`Map::decide`] for a client.
    #[must_use]
    pub fn explain(
        &self,
        (table, world): (&PopTable, &World),
        client: &Client,
        key: u64,
        live: &Live,
        allowed: PopSet,
    ) -> Explanation {
        let cell = self.cell(client);
        let decision = self.decide(cell, key, live, allowed);
        let withheld = live.withheld(key);
        let land = client.country.and_then(|country| world.land(country));
        let at = client.at.or_else(|| land.map(|land| land.at));
        let one = |pop: PopIndex| {
            let expected_ms =
                cell.ranked.iter().zip(cell.rtt_ms).find(|(one, _)| *one == pop).map(|(_, rtt)| rtt);
            let place = decision.ranked.iter().position(|one| one == pop);
            let verdict = match place {
                Some(place) => Verdict::Named(place + 1),
                None if !self.pops.has(pop) => Verdict::NoEndpoint,
                None if !allowed.has(pop) => Verdict::Forbidden,
                None if !live.up.has(pop) => Verdict::Down,
                None if live.full.has(pop) => Verdict::Full,
                None if withheld.has(pop) => Verdict::Withheld(live.share(pop)),
                None if expected_ms.is_some() => Verdict::Reserve,
                None => Verdict::Farther,
            };
            let from_line = |at: Coordinates| Some(self.line.at(at.km_to(table.get(pop)?.at)));
            #[expect(clippy::cast_possible_truncation, reason = "for people")]
            let line = at.and_then(from_line).map(|ms| ms as f32);
            Explained {
                pop,
                verdict,
                expected_ms,
                residual_ms: expected_ms.zip(line).map(|(expected, line)| expected - line),
                penalty_ms: live.penalty_ms[pop.get()],
                bias_ms: self.bias_ms[pop.get()],
            }
        };
        let mut order: Vec<PopIndex> = decision.ranked.iter().collect();
        for pop in cell.ranked.iter().chain(table.all().iter()) {
            if !order.contains(&pop) {
                order.push(pop);
            }
        }
        Explanation {
            level: cell.level,
            cell: self.cell_name(client),
            decision,
            pops: order.into_iter().map(one).collect(),
        }
    }

    fn cell_name(&self, client: &Client) -> String {
        let country =
            client.country.map_or_else(|| "an unknown country".to_owned(), |country| country.to_string());
        let at = client.place().degree.map(|degree| {
            let (lat, lon) = degree.corner();
            format!(" at {lat}, {lon}")
        });
        let at = at.unwrap_or_default();
        match self.cell(client).level {
            Level::Prefix => {
                let index = self.prefixes.get(client.address).map_or(0, |cell| cell as usize);
                let prefix = index.checked_sub(self.first_prefix).and_then(|index| self.prefix_of.get(index));
                format!("prefix {}", prefix.map_or_else(String::new, Prefix::to_string))
            }
            Level::Asn => format!("AS{} in {country}{at}", client.asn.unwrap_or(0)),
            Level::Position => format!("{country}{at}"),
            Level::Country => format!("country {country}"),
            Level::Continent => {
                format!("continent {}", client.continent.map_or("unknown", |continent| continent.code()))
            }
            Level::Everybody => "everybody".to_owned(),
        }
    }
}

impl fmt::Display for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (address, bits) = self.network();
        write!(f, "{address}/{bits}")
    }
}
