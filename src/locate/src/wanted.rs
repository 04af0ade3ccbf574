//! Degrees of latitude and longitude that clients are in and the map has no cell for.
//!
//! Answers may neither wait nor allocate, so they only leave a note in a table of fixed size, and the slow loop compiles
//! a cell for each place that was noted. Until then, and where the table is full, the country answers.

use std::sync::atomic::{AtomicU32, Ordering};

use nearport_geo::map::Place;

/// Places in the table.
const PLACES: usize = 4_096;

/// Places that are looked at for one note.
const STEPS: usize = 8;

/// See the module.
#[derive(Debug)]
pub(crate) struct Wanted(Box<[AtomicU32]>);

impl Default for Wanted {
    fn default() -> Self {
        Self((0..PLACES).map(|_| AtomicU32::new(0)).collect())
    }
}

impl Wanted {
    /// Leaves a note. Does not allocate.
    pub(crate) fn note(&self, place: Place) {
        let number = place.number();
        let start = (number.wrapping_mul(0x9e37_79b1) >> 20) as usize;
        for step in 0..STEPS {
            let slot = &self.0[(start + step) % PLACES];
            // A number is all that a slot holds: nothing else is published by it.
            match slot.compare_exchange(0, number, Ordering::Relaxed, Ordering::Relaxed) {
                Ok(_) => return,
                Err(other) if other == number => return,
                Err(_) => {}
            }
        }
    }

    /// All that were noted.
    pub(crate) fn all(&self) -> Vec<Place> {
        let numbers = self.0.iter().map(|slot| slot.load(Ordering::Relaxed));
        numbers.filter(|number| *number != 0).map(Place::from_number).collect()
    }

    /// Forgets everything: what is still wanted is noted again.
    pub(crate) fn clear(&self) {
        self.0.iter().for_each(|slot| slot.store(0, Ordering::Relaxed));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use nearport_geo::Degree;

    #[test]
    fn a_place_is_noted_once_and_a_full_table_takes_no_more() {
        let wanted = Wanted::default();
        let place = |lat, lon| Place { country: "SG".parse().ok(), degree: Degree::new(lat, lon) };
        for _ in 0..2 {
            wanted.note(place(1, 103));
        }
        assert_eq!(wanted.all(), [place(1, 103)]);
        for lat in -90..90 {
            (-180..180).for_each(|lon| wanted.note(place(lat, lon)));
        }
        let all = wanted.all();
        assert!(all.len() <= PLACES && all.len() > PLACES / 2 && all.contains(&place(1, 103)));
        wanted.clear();
        assert!(wanted.all().is_empty());
    }
}
