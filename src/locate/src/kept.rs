//! What clients measured, together with the table that numbers the PoPs in it.

use std::sync::Arc;

use nearport_geo::{PopIndex, PopTable};

use crate::voices::{Damaged, Voices};

/// See the module. During a turn the table is already the next one, while answers are still made of the last.
#[derive(Debug)]
pub struct Kept {
    pub(crate) table: Arc<PopTable>,
    pub(crate) voices: Voices,
}

impl Kept {
    /// Nothing measured yet.
    #[must_use]
    pub fn nothing(table: Arc<PopTable>) -> Self {
        Self { table, voices: Voices::default() }
    }

    /// What [`crate::Service::voices`] gave, also if other PoPs are in the table now. What is older than a day is forgotten when a
    /// map is compiled.
    ///
    /// # Errors
    /// The octets are damaged: nothing of them is taken.
    pub fn decode(table: Arc<PopTable>, octets: &[u8]) -> Result<Self, Damaged> {
        let voices = Voices::decode(octets, |id| u8::try_from(table.find(id)?.get()).ok())?;
        Ok(Self { table, voices })
    }

    /// How many networks have a voice.
    #[must_use]
    pub fn networks(&self) -> usize {
        self.voices.len().1
    }

    /// By ids, since places in the table change.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let ids: Vec<&str> = self.table.pops().iter().map(|pop| pop.id.as_str()).collect();
        self.voices.encode(&ids)
    }

    /// Counts by another table from now on.
    pub(crate) fn renumber(&mut self, table: &Arc<PopTable>) {
        if self.table == *table {
            return;
        }
        self.voices
            .renumber(|pop| u8::try_from(self.table.place_in(PopIndex::new(pop.into())?, table)?.get()).ok());
        self.table = table.clone();
    }
}
