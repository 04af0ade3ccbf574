//! Messages of other systems, which keep the times that they have as far as times of a conversation do not go back.

use std::collections::{BTreeSet, HashMap, HashSet};

use super::Writer;
use crate::key::ConvKey;
use crate::ledger::{Append, Batch, IdemKey, LedgerError};
use crate::posts::Letter;

/// What is there already of what a batch imports: one look for all.
#[derive(Default)]
pub(super) struct Imports {
    /// Messages that would be the same ones of the other side.
    pub(super) known: HashSet<IdemKey>,
    pub(super) newest: Newest,
}

/// When the newest message was sent of each conversation into which something is imported.
#[derive(Default)]
pub(super) struct Newest(HashMap<ConvKey, u64>);

impl Imports {
    /// A message is in the batch.
    pub(super) fn note(&mut self, append: &Append) {
        if let Some(newest) = self.newest.0.get_mut(&append.conv) {
            *newest = append.time_ms.max(*newest);
            self.known.insert(append.idem.clone());
        }
    }
}

impl Newest {
    /// When a message is said to have been sent: when it was, but neither in front of the newest one nor after now. It is the newest
    /// one then.
    pub(super) fn time(&mut self, append: &Append, now_ms: u64) -> u64 {
        let newest = self.0.entry(append.conv.clone()).or_default();
        *newest = append.time_ms.min(now_ms).max(*newest);
        *newest
    }
}

impl Writer {
    /// # Errors
    /// Those of the ledger: then nothing is imported.
    pub(super) fn imports(&self, letters: &[Letter]) -> Result<Imports, LedgerError> {
        let keys: Vec<_> = letters.iter().filter_map(|letter| letter.imported.clone()).collect();
        if keys.is_empty() {
            return Ok(Imports::default());
        }
        let found = self.shared.ledger.duplicates(&keys)?;
        let known = keys.into_iter().zip(found).filter_map(|(key, found)| found.map(|_| key)).collect();
        let imported = letters.iter().filter(|letter| letter.imported.is_some());
        let newest = self.newest(imported.map(|letter| &letter.post.append), &Batch::default())?;
        Ok(Imports { known, newest })
    }

    /// The newest of the conversations of `appends`, those in `batch` included.
    pub(super) fn newest<'a>(
        &self,
        appends: impl Iterator<Item = &'a Append>,
        batch: &Batch,
    ) -> Result<Newest, LedgerError> {
        let convs: BTreeSet<_> = appends.map(|append| append.conv.clone()).collect();
        let convs: Vec<_> = convs.into_iter().collect();
        let heads = self.shared.ledger.heads(&convs)?;
        let mut newest: HashMap<_, _> =
            convs.into_iter().zip(heads.iter().map(|heads| heads.time_ms)).collect();
        for append in &batch.appends {
            if let Some(newest) = newest.get_mut(&append.conv) {
                *newest = append.time_ms.max(*newest);
            }
        }
        Ok(Newest(newest))
    }
}
