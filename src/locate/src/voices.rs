//! What clients measured, kept so that no single one of them decides anything.
//!
//! A **cell** is what the map decides for: a country, or a degree of latitude and longitude in it where positions are known. In a
//! cell each **network** has one voice, however many clients it has and however often they report: for each PoP, a low quantile of
//! what they saw. What a cell says of a PoP is the **median of its voices**, and nothing below [`VOICES_MIN`] of them. So a client or a
//! network that lies moves the value between those of its honest neighbours and no farther; to have it, more than half of a cell's
//! networks must lie.
//!
//! A cell that is full takes no new voice until one has been silent for [`SILENT_S`]: a crowd of new networks does not push out those
//! that are there. All of it is bounded memory, forgotten with the process: measurements come again within minutes.

use std::collections::HashMap;

use crate::network::Network;

/// Cells that are kept.
pub const CELLS_MAX: usize = 4_096;
/// Networks with a voice in a cell.
pub const VOICES_MAX: usize = 48;
/// PoPs that a voice tells of: a client's candidates and what it was asked to probe, over some answers.
pub const POPS_MAX: usize = 12;
/// Networks that must tell of a PoP before it counts.
pub const VOICES_MIN: usize = 3;
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

/// What became of a report.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Heard {
    /// It counts.
    Taken,
    /// The cell has all its voices.
    Full,
}

#[derive(Debug, Clone, Copy)]
struct Word {
    pop: u8,
    rtt_ms: f32,
    at_s: u64,
}

#[derive(Debug)]
struct Voice {
    network: Network,
    at_s: u64,
    words: Vec<Word>,
}

/// All cells.
#[derive(Debug, Default)]
pub struct Voices(HashMap<Cell, Vec<Voice>>);

impl Voices {
    /// One report of a client: round trips in milliseconds by PoP. At most [`POPS_MAX`] of them are read.
    pub fn hear(&mut self, cell: Cell, network: Network, rtts: &[(u8, f32)], now_s: u64) -> Heard {
        if !self.0.contains_key(&cell) && self.0.len() >= CELLS_MAX && !self.make_room(now_s) {
            return Heard::Full;
        }
        let voices = self.0.entry(cell).or_default();
        let at = match voices.iter().position(|voice| voice.network == network) {
            Some(at) => at,
            None if voices.len() < VOICES_MAX => {
                voices.push(Voice { network, at_s: now_s, words: Vec::new() });
                voices.len() - 1
            }
            None => {
                let oldest = (0..voices.len()).min_by_key(|at| voices[*at].at_s).unwrap_or_default();
                if now_s.saturating_sub(voices[oldest].at_s) < SILENT_S {
                    return Heard::Full;
                }
                voices[oldest] = Voice { network, at_s: now_s, words: Vec::new() };
                oldest
            }
        };
        let voice = &mut voices[at];
        voice.at_s = voice.at_s.max(now_s);
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

    /// What the cells say, those that say anything, in their order. Forgets what is old.
    pub fn said(&mut self, now_s: u64) -> Vec<(Cell, Vec<Said>)> {
        let fresh = |at_s: u64| now_s.saturating_sub(at_s) < FORGOTTEN_S;
        self.0.retain(|_, voices| {
            for voice in voices.iter_mut() {
                voice.words.retain(|word| fresh(word.at_s));
            }
            voices.retain(|voice| !voice.words.is_empty());
            !voices.is_empty()
        });
        let mut cells: Vec<_> = self.0.iter().map(|(cell, voices)| (*cell, medians(voices))).collect();
        cells.retain(|(_, said)| !said.is_empty());
        cells.sort_unstable_by_key(|(cell, _)| *cell);
        cells
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
            return;
        }
        let word = Word { pop, rtt_ms, at_s: now_s };
        if self.words.len() < POPS_MAX {
            self.words.push(word);
        } else if let Some(oldest) = self.words.iter_mut().min_by_key(|word| word.at_s) {
            *oldest = word;
        }
    }
}

fn medians(voices: &[Voice]) -> Vec<Said> {
    let mut words: Vec<Word> = voices.iter().flat_map(|voice| voice.words.iter().copied()).collect();
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
            assert!(voices.said(0).is_empty(), "{number}");
            for _ in 0..100 {
                voices.hear(SG, network(number), &[(4, 30.0 + f32::from(u8::try_from(number).unwrap()))], 0);
            }
        }
        let said = Said { pop: 4, rtt_ms: 31.0, voices: 3, at_s: 0 };
        assert_eq!(voices.said(FORGOTTEN_S - 1), [(SG, vec![said])]);
        assert!(voices.said(FORGOTTEN_S).is_empty());
        assert_eq!(voices.len(), (0, 0));
    }

    #[test]
    fn a_faster_sample_pulls_at_once_and_a_slow_one_a_little() {
        let mut voice = Voice { network: network(0), at_s: 0, words: Vec::new() };
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
            let heard = voices.hear(SG, network(number), &many, 0);
            assert_eq!(heard == Heard::Taken, number < 48, "{number}");
        }
        assert_eq!(voices.len(), (1, VOICES_MAX));
        assert_eq!(voices.said(0)[0].1.len(), POPS_MAX);
        assert_eq!(voices.hear(SG, network(99), &[(0, 1.0)], SILENT_S), Heard::Taken);
        for degree in 0..5_000 {
            voices.hear(
                Cell { country: *b"US", degree: Some((degree, 0)) },
                network(1),
                &[(0, 1.0)],
                SILENT_S,
            );
        }
        assert_eq!(voices.len().0, CELLS_MAX);
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
                voices.hear(SG, network(number), &[(7, *rtt)], 0);
            }
            for (rtt, client) in lies {
                let address = std::net::Ipv4Addr::from_bits((1_000 << 8) | client);
                voices.hear(SG, Network::of(address.into()), &[(7, rtt * up_to)], 1);
            }
            let rtt = voices.said(1)[0].1[0].rtt_ms;
            let (min, max) = honest.iter().fold((f32::MAX, f32::MIN), |(a, b), x| (a.min(*x), b.max(*x)));
            prop_assert!((min..=max).contains(&rtt), "{} not in {}..={}", rtt, min, max);
        }
    }
}
