//! Messages of other systems, which keep the times that they have as far as times of a conversation do not go back.

use std::collections::{BTreeSet, HashMap, HashSet};

use super::orders::Ordered;
use super::{Prepared, Writer};
use crate::key::ConvKey;
use crate::ledger::{Append, Appended, Batch, IdemKey, LedgerError};
use crate::posts::Letter;
use crate::posts::orders::{Imported, Importing, Outcome};

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
    /// Whether a message is of an earlier second than the newest one of its conversation.
    fn is_behind(&self, append: &Append) -> bool {
        self.0.get(&append.conv).is_some_and(|newest| append.time_ms / 1000 < newest / 1000)
    }

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

    /// Messages of history, behind all else of the batch that is appended. What stands already is told its place, also where
    /// its conversation has gone on: an import that is repeated finds what the one before has done.
    pub(super) fn import_all(&self, imports: Vec<(Vec<Importing>, Imported)>, prepared: &mut Prepared) {
        if imports.is_empty() {
            return;
        }
        let messages = || imports.iter().flat_map(|(messages, _)| messages);
        let looked = self.newest(messages().map(|message| &message.append), &prepared.batch);
        let looked = looked.and_then(|newest| {
            // One that is younger finds itself at the commit, the other side of a pair does not.
            let older = messages().filter(|message| newest.is_behind(&message.append));
            let keys = older.map(|message| message.append.idem.clone());
            let keys: Vec<_> =
                keys.chain(messages().filter_map(|message| message.mirrored.clone())).collect();
            let found = self.shared.ledger.duplicates(&keys)?;
            let known: HashMap<_, _> =
                keys.into_iter().zip(found).filter_map(|(key, found)| Some((key, found?))).collect();
            Ok((newest, known))
        });
        let (mut newest, known) = match looked {
            Ok(looked) => looked,
            Err(error) => return imports.into_iter().for_each(|(_, done)| done(Err(&error))),
        };
        let mut in_batch = HashSet::new();
        for (messages, done) in imports {
            let places = messages.into_iter().map(|Importing { mut append, mirrored }| {
                let first = known.get(&append.idem).or_else(|| known.get(mirrored.as_ref()?));
                if let Some(first) = first {
                    return Some(Outcome::Stands(first.clone()));
                }
                let mirrors = mirrored.is_some_and(|key| key != append.idem && in_batch.contains(&key));
                if mirrors || newest.is_behind(&append) {
                    let again = mirrors || in_batch.contains(&append.idem);
                    // It has no place yet.
                    let place = || Outcome::Stands(Appended::duplicate_of(0, append.time_ms));
                    return Some(if again { place() } else { Outcome::Older });
                }
                append.time_ms = newest.time(&append, self.last_time_ms);
                in_batch.insert(append.idem.clone());
                prepared.batch.appends.push(append);
                None
            });
            let places = places.collect();
            prepared.ordered.push(Ordered::Imported(places, done));
        }
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
