//! What clients measured, kept so that no single one of them decides anything.
//!
//! A **cell** is what the map decides for: a country, or a degree of latitude and longitude in it where positions are known. In a
//! cell each **network** has one voice, however many clients it has and however often they report: for each PoP, a low quantile of
//! what they saw. What a cell says of a PoP is the **median of its voices**, and nothing below [`VOICES_MIN`] of them. So a client or a
//! network that lies moves the value between those of its honest neighbours and no farther; to have it, more than half of a cell's
//! networks must lie.
//!
//! The voices of one autonomous system in a cell are a smaller crowd of the same kind, with the same rule. A network that has spoken
//! [`REPORTS_MIN`] times speaks for itself too: its word counts as one client's, and moves nobody else.
//!
//! A cell that is full takes no new voice until one has been silent for [`SILENT_S`]: a crowd of new networks does not push out those
//! that are there. All of it is bounded memory. It is kept over a restart ([`Voices::encode`]) and forgotten after a day.

use std::collections::HashMap;

use crate::network::Network;

mod kept;

pub use kept::Damaged;

/// Cells that are kept.
pub const CELLS_MAX: usize = 4_096;
/// Networks with a voice in a cell.
pub const VOICES_MAX: usize = 48;
/// PoPs that a voice tells of: a client's candidates and what it was asked to probe, over some answers.
pub const POPS_MAX: usize = 12;
/// Networks that must tell of a PoP before it counts.
pub const VOICES_MIN: usize = 3;
/// Reports after which a network speaks for itself.
pub const REPORTS_MIN: u8 = 3;
/// Networks that speak for themselves at once; the last to be heard are taken.
pub const PREFIXES_MAX: usize = 100_000;
/// A voice may lose its place after this silence, in seconds.
pub const SILENT_S: u64 = 3_600;
/// What a voice said is forgotten after this, in seconds.
pub const FORGOTTEN_S: u64 = 24 * 3_600;

/// The longest round trip that is told from another, in milliseconds: what is slower is bad in any case.
pub const RTT_MAX_MS: f32 = 5_000.0;

/// What the map decides for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Cell {
    /// ISO 3166-1 alpha-2.
    pub country: [u8; 2],
    /// Whole degrees of latitude and longitude, rounded down, where the position is known.
    pub degree: Option<(i16, i16)>,
}

/// What a cell says of a PoP.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Said {
    /// Index of the PoP in the table.
    pub pop: u8,
    /// The median of the voices, in milliseconds.
    pub rtt_ms: f32,
    /// How many voices.
    pub voices: usize,
    /// When the newest of them was heard, in seconds of the caller's clock.
    pub at_s: u64,
}

/// What the networks of one autonomous system in a cell say.
#[derive(Debug, Clone, PartialEq)]
pub struct OfNetwork {
    /// Its number.
    pub asn: u32,
    /// Where.
    pub cell: Cell,
    /// As of a cell.
    pub said: Vec<Said>,
}

/// What one network says of itself.
#[derive(Debug, Clone, PartialEq)]
pub struct OfPrefix {
    /// Which.
    pub network: Network,
    /// Where it is.
    pub cell: Cell,
    /// Whose it is, if that is known.
    pub asn: Option<u32>,
    /// Index of the PoP in the table, and milliseconds.
    pub said: Vec<(u8, f32)>,
}

/// All that is said at one moment.
#[derive(Debug, Clone, PartialEq)]
pub struct Everything {
    /// Cells that say anything, in their order.
    pub cells: Vec<(Cell, Vec<Said>)>,
    /// Autonomous systems that do.
    pub networks: Vec<OfNetwork>,
    /// Networks that speak for themselves, at most [`PREFIXES_MAX`].
    pub prefixes: Vec<OfPrefix>,
}

impl Everything {
    /// Nobody has said anything.
    pub const NOTHING: Self = Self { cells: Vec::new(), networks: Vec::new(), prefixes: Vec::new() };
}

/// What became of a report.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Heard {
    /// It counts.
    Taken,
    /// The cell has all its voices.
    Full,
}

#[derive(Debug, Clone, Copy, PartialEq)]
struct Word {
    pop: u8,
    rtt_ms: f32,
    at_s: u64,
    /// Reports that it was made of; more are not counted.
    reports: u8,
}

#[derive(Debug, PartialEq)]
struct Voice {
    network: Network,
    asn: Option<u32>,
    at_s: u64,
    words: Vec<Word>,
}

/// All cells.
#[derive(Debug, Default, PartialEq)]
pub struct Voices(HashMap<Cell, Vec<Voice>>);

impl Voices {
    /// One report of a client: round trips in milliseconds by PoP. At most [`POPS_MAX`] of them are read.
    pub fn hear(
        &mut self,
        cell: Cell,
        network: Network,
        asn: Option<u32>,
        rtts: &[(u8, f32)],
        now_s: u64,
    ) -> Heard {
        if !self.0.contains_key(&cell) && self.0.len() >= CELLS_MAX && !self.make_room(now_s) {
            return Heard::Full;
        }
        let voices = self.0.entry(cell).or_default();
        let at = match voices.iter().position(|voice| voice.network == network) {
            Some(at) => at,
            None if voices.len() < VOICES_MAX => {
                voices.push(Voice { network, asn, at_s: now_s, words: Vec::new() });
                voices.len() - 1
            }
            None => {
                let oldest = (0..voices.len()).min_by_key(|at| voices[*at].at_s).unwrap_or_default();
                if now_s.saturating_sub(voices[oldest].at_s) < SILENT_S {
                    return Heard::Full;
                }
                voices[oldest] = Voice { network, asn, at_s: now_s, words: Vec::new() };
                oldest
            }
        };
        let voice = &mut voices[at];
        voice.at_s = voice.at_s.max(now_s);
        voice.asn = asn.or(voice.asn);
        for (pop, rtt_ms) in rtts.iter().take(POPS_MAX) {
            voice.say(*pop, rtt_ms.clamp(0.0, RTT_MAX_MS), now_s);
        }
        Heard::Taken
    }

    /// Takes the cell that was silent for longest out, if it was silent for long enough.
    fn make_room(&mut self, now_s: u64) -> bool {
        let heard = |voices: &Vec<Voice>| voices.iter().map(|voice| voice.at_s).max().unwrap_or_default();
        let oldest = self.0.iter().map(|(cell, voices)| (heard(voices), *cell)).min();
        match oldest {
            Some((at_s, cell)) if now_s.saturating_sub(at_s) >= SILENT_S => self.0.remove(&cell).is_some(),
            _ => false,
        }
    }

    /// What is said. Forgets what is old.
    pub fn said(&mut self, now_s: u64) -> Everything {
        let fresh = |at_s: u64| now_s.saturating_sub(at_s) < FORGOTTEN_S;
        self.0.retain(|_, voices| {
            for voice in voices.iter_mut() {
                voice.words.retain(|word| fresh(word.at_s));
            }
            voices.retain(|voice| !voice.words.is_empty());
            !voices.is_empty()
        });
        let mut cells: Vec<_> = self.0.iter().map(|(cell, voices)| (*cell, medians(voices.iter()))).collect();
        cells.retain(|(_, said)| !said.is_empty());
        cells.sort_unstable_by_key(|(cell, _)| *cell);
        let mut networks: Vec<_> =
            self.0.iter().flat_map(|(cell, voices)| of_networks(*cell, voices)).collect();
        networks.sort_unstable_by_key(|of| (of.asn, of.cell));
        Everything { cells, networks, prefixes: self.prefixes() }
    }

    fn prefixes(&self) -> Vec<OfPrefix> {
        let of = |cell: Cell, voice: &Voice| {
            let words = voice.words.iter().filter(|word| word.reports >= REPORTS_MIN);
            let said: Vec<_> = words.map(|word| (word.pop, word.rtt_ms)).collect();
            let prefix = OfPrefix { network: voice.network, cell, asn: voice.asn, said };
            (!prefix.said.is_empty()).then_some((voice.at_s, prefix))
        };
        let all = self.0.iter().flat_map(|(cell, voices)| voices.iter().map(|voice| (*cell, voice)));
        let mut all: Vec<_> = all.filter_map(|(cell, voice)| of(cell, voice)).collect();
        if all.len() > PREFIXES_MAX {
            all.sort_unstable_by_key(|(at_s, of)| (std::cmp::Reverse(*at_s), of.network));
            all.truncate(PREFIXES_MAX);
        }
        all.sort_unstable_by_key(|(_, of)| (of.network, of.cell));
        all.into_iter().map(|(_, of)| of).collect()
    }

    /// Gives PoPs the places that they have in another table; what is said of those that are gone is forgotten.
    pub fn renumber(&mut self, to: impl Fn(u8) -> Option<u8>) {
        for voice in self.0.values_mut().flatten() {
            voice.words.retain_mut(|word| to(word.pop).map(|pop| word.pop = pop).is_some());
        }
    }

    /// Cells and voices in memory.
    #[must_use]
    pub fn len(&self) -> (usize, usize) {
        (self.0.len(), self.0.values().map(Vec::len).sum())
    }
}

impl Voice {
    /// A low quantile, as a step towards each sample: a faster one pulls at once, a slower one a little.
    fn say(&mut self, pop: u8, rtt_ms: f32, now_s: u64) {
        if let Some(word) = self.words.iter_mut().find(|word| word.pop == pop) {
            let step = if rtt_ms < word.rtt_ms { 0.5 } else { 0.1 };
            word.rtt_ms += step * (rtt_ms - word.rtt_ms);
            word.at_s = word.at_s.max(now_s);
            word.reports = word.reports.saturating_add(1);
            return;
        }
        let word = Word { pop, rtt_ms, at_s: now_s, reports: 1 };
        if self.words.len() < POPS_MAX {
            self.words.push(word);
        } else if let Some(oldest) = self.words.iter_mut().min_by_key(|word| word.at_s) {
            *oldest = word;
        }
    }
}

fn of_networks(cell: Cell, voices: &[Voice]) -> Vec<OfNetwork> {
    let mut known: Vec<&Voice> = voices.iter().filter(|voice| voice.asn.is_some()).collect();
    known.sort_unstable_by_key(|voice| voice.asn);
    let of_one = known.chunk_by(|a, b| a.asn == b.asn);
    let said = of_one.map(|voices| OfNetwork {
        asn: voices[0].asn.unwrap_or(0),
        cell,
        said: medians(voices.iter().copied()),
    });
    said.filter(|of| !of.said.is_empty()).collect()
}

fn medians<'a>(voices: impl Iterator<Item = &'a Voice>) -> Vec<Said> {
    let mut words: Vec<Word> = voices.flat_map(|voice| voice.words.iter().copied()).collect();
    words.sort_by(|a, b| a.pop.cmp(&b.pop).then(a.rtt_ms.total_cmp(&b.rtt_ms)));
    let of_pop = words.chunk_by(|a, b| a.pop == b.pop).filter(|words| words.len() >= VOICES_MIN);
    of_pop
        .map(|words| Said {
            pop: words[0].pop,
            // The lower of two middle ones.
            rtt_ms: words[(words.len() - 1) / 2].rtt_ms,
            voices: words.len(),
            at_s: words.iter().map(|word| word.at_s).max().unwrap_or_default(),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SG: Cell = Cell { country: *b"SG", degree: None };

    fn network(number: u32) -> Network {
        Network::of(std::net::Ipv4Addr::from_bits(number << 8).into())
    }

    #[test]
    fn a_cell_speaks_with_three_networks_and_forgets_in_a_day() {
        let mut voices = Voices::default();
        for number in 0..3 {
            assert!(voices.said(0).cells.is_empty(), "{number}");
            for _ in 0..100 {
                voices.hear(
                    SG,
                    network(number),
                    None,
                    &[(4, 30.0 + f32::from(u8::try_from(number).unwrap()))],
                    0,
                );
            }
        }
        let said = Said { pop: 4, rtt_ms: 31.0, voices: 3, at_s: 0 };
        assert_eq!(voices.said(FORGOTTEN_S - 1).cells, [(SG, vec![said])]);
        assert_eq!(voices.said(FORGOTTEN_S), Everything::NOTHING);
        assert_eq!(voices.len(), (0, 0));
    }

    #[test]
    fn a_faster_sample_pulls_at_once_and_a_slow_one_a_little() {
        let mut voice = Voice { network: network(0), asn: None, at_s: 0, words: Vec::new() };
        voice.say(1, 100.0, 0);
        voice.say(1, 50.0, 1);
        assert!((voice.words[0].rtt_ms - 75.0).abs() < 0.1);
        voice.say(1, 1_075.0, 2);
        assert!((voice.words[0].rtt_ms - 175.0).abs() < 0.1);
    }

    #[test]
    fn everything_is_bounded_and_the_old_stay() {
        let mut voices = Voices::default();
        let many: Vec<_> = (0..=255).map(|pop| (pop, 10.0)).collect();
        for number in 0..100 {
            let heard = voices.hear(SG, network(number), None, &many, 0);
            assert_eq!(heard == Heard::Taken, number < 48, "{number}");
        }
        assert_eq!(voices.len(), (1, VOICES_MAX));
        assert_eq!(voices.said(0).cells[0].1.len(), POPS_MAX);
        assert_eq!(voices.hear(SG, network(99), None, &[(0, 1.0)], SILENT_S), Heard::Taken);
        for degree in 0..5_000 {
            voices.hear(
                Cell { country: *b"US", degree: Some((degree, 0)) },
                network(1),
                None,
                &[(0, 1.0)],
                SILENT_S,
            );
        }
        assert_eq!(voices.len().0, CELLS_MAX);
    }

    #[test]
    fn an_operator_speaks_with_three_networks_and_a_network_for_itself() {
        let mut voices = Voices::default();
        for number in 0..6 {
            let asn = (number < 3).then_some(7_473);
            let rtt = if number < 3 { 100.0 } else { 10.0 };
            voices.hear(SG, network(number), asn, &[(4, rtt)], 0);
        }
        let all = voices.said(0);
        assert_eq!((all.networks.len(), all.prefixes.len()), (1, 0));
        let of = &all.networks[0];
        assert_eq!((of.asn, of.cell, of.said[0].pop, of.said[0].voices), (7_473, SG, 4, 3));
        assert!((of.said[0].rtt_ms - 100.0).abs() < 0.1);
        for _ in 1..REPORTS_MIN {
            voices.hear(SG, network(5), None, &[(4, 10.0), (6, 1.0)], 1);
        }
        let prefixes = voices.said(1).prefixes;
        let own = OfPrefix { network: network(5), cell: SG, asn: None, said: vec![(4, 10.0)] };
        assert_eq!(prefixes, [own], "and nothing of what it has said twice only");
    }

    #[test]
    fn other_places_in_the_table_keep_what_was_said() {
        let mut voices = Voices::default();
        for number in 0..3 {
            voices.hear(SG, network(number), None, &[(4, 30.0), (5, 50.0)], 0);
        }
        voices.renumber(|pop| (pop == 4).then_some(9));
        let said = voices.said(0).cells;
        assert_eq!(said[0].1.iter().map(|said| said.pop).collect::<Vec<_>>(), [9]);
    }

    proptest! {
        /// One liar among honest networks, however often and with whatever: the value stays among the honest ones.
        #[test]
        fn one_network_does_not_move_a_cell(
            honest in proptest::collection::vec(20.0..40.0f32, 3..20),
            lies in proptest::collection::vec((0.0..1.0f32, 0..100u32), 1..50),
            up_to in prop_oneof![Just(1.0f32), Just(30.0), Just(10_000.0)],
        ) {
            let mut voices = Voices::default();
            for (number, rtt) in (0..).zip(&honest) {
                voices.hear(SG, network(number), None, &[(7, *rtt)], 0);
            }
            for (rtt, client) in lies {
                let address = std::net::Ipv4Addr::from_bits((1_000 << 8) | client);
                voices.hear(SG, Network::of(address.into()), None, &[(7, rtt * up_to)], 1);
            }
            let rtt = voices.said(1).cells[0].1[0].rtt_ms;
            let (min, max) = honest.iter().fold((f32::MAX, f32::MIN), |(a, b), x| (a.min(*x), b.max(*x)));
            prop_assert!((min..=max).contains(&rtt), "{} not in {}..={}", rtt, min, max);
        }
    }
}
