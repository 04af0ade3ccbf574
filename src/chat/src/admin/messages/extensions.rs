//! Message extensions: pairs of a key and a value on a message of two users.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, PoisonError};

use serde_json::json;

use super::super::{Admin, Asker, Pending};
use super::changes::Named;
use crate::callback::{Command, Event};
use crate::directory::extensions::{ExtensionHead, ExtensionRow};
use crate::key::ConvKey;
use crate::reply::{Failure, unreadable};

/// Codes of the contract.
const BAD: u32 = 10004;
const INTERNAL: u32 = 10002;
const NOT_EXTENSIBLE: u32 = 23002;
const TOO_OFTEN: u32 = 23003;
const NO_MESSAGE: u32 = 23004;

/// Pairs of a message.
const PAIRS_MAX: usize = 300;
/// Pairs of one change.
const CHANGED_MAX: usize = 20;
/// Pairs of one page.
const PAGE: u32 = 200;
/// Bytes of a key, and of a value.
const KEY_BYTES_MAX: usize = 100;
const VALUE_BYTES_MAX: usize = 1000;
/// Changes of a message in a minute.
const CHANGES_PER_MINUTE: u32 = 200;
/// Messages of which that is counted; those beyond are not.
const COUNTED_MAX: usize = 65_536;
const MINUTE_MS: u64 = 60_000;
const DAY_MS: u64 = 86_400_000;
/// Messages of which extensions are removed with one change, because they are as old as history gets.
const TRIMMED_AT_ONCE: u32 = 16;

/// How a change is meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ExtensionChange {
    /// These pairs stand on the message.
    Set(Vec<(String, String)>),
    /// The pairs with these keys do not.
    Delete(Vec<String>),
    /// None does.
    Clear,
}

/// A page of extensions.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Extensions {
    /// There is nothing behind it.
    pub complete: bool,
    /// Number of the newest change.
    pub latest: u64,
    /// What has this number or a smaller one was cleared.
    pub clear: u64,
    /// By number. An empty value: the pair was deleted.
    pub pairs: Vec<ExtensionRow>,
}

/// How often each message was changed in this minute.
#[derive(Debug, Default)]
pub(crate) struct ExtensionRates(Mutex<Counts>);

#[derive(Debug, Default)]
struct Counts {
    minute: u64,
    /// By conversation and place.
    changes: HashMap<(ConvKey, u64), u32>,
}

impl ExtensionRates {
    fn take(&self, message: (ConvKey, u64), now_ms: u64) -> bool {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if counts.minute != now_ms / MINUTE_MS {
            *counts = Counts { minute: now_ms / MINUTE_MS, changes: HashMap::new() };
        }
        if counts.changes.len() >= COUNTED_MAX && !counts.changes.contains_key(&message) {
            return true;
        }
        let count = counts.changes.entry(message).or_default();
        *count += 1;
        *count <= CHANGES_PER_MINUTE
    }
}

impl Admin {
    /// Changes extensions of a message and gives the pairs that changed, in the order of the change. An administrator's change needs no number.
    /// Blocks for a look at the message.
    ///
    /// # Errors
    /// 10002, 10004, 23002, 23003, 23004, here or in the outcome.
    pub fn change_extensions(
        &self,
        asker: &Asker,
        named: &Named,
        change: ExtensionChange,
    ) -> Result<Pending<Result<Vec<ExtensionRow>, Failure>>, Failure> {
        check(&change)?;
        let (conv, seq) = self.extensible(named)?;
        if !self.extension_rates.take((conv.clone(), seq), self.now_ms()) {
            return Err(Failure::later(TOO_OFTEN, "at most 200 changes of a message in a minute", 1000));
        }
        let (asker, named) = (asker.clone(), named.clone());
        Ok(self.on_desk(move |shared, now_ms, _| {
            let days = u64::from(shared.settings(asker.app).config.roaming_days);
            let (mut changed, mut latest) = (Vec::new(), 0);
            let (mut full, mut told) = (false, Vec::new());
            let wanted = shared.callbacks.wants(asker.app, Command::PairAfterExtension);
            let done = shared.directory.write_people(&mut |tx| {
                let head = tx.lock_extensions(&conv, seq, now_ms)?;
                let all = tx.extensions(&conv, seq, 0, u32::MAX)?;
                let (head, rows) = apply(head, all, &change);
                full = rows.is_none();
                let Some(rows) = rows else { return Ok(()) };
                if change == ExtensionChange::Clear {
                    tx.clear_extensions(&conv, seq)?;
                }
                for row in &rows {
                    tx.put_extension(&conv, seq, row)?;
                }
                tx.set_extension_head(&conv, seq, head)?;
                if days > 0 {
                    tx.trim_extensions(now_ms.saturating_sub(days * DAY_MS), TRIMMED_AT_ONCE)?;
                }
                (changed, latest) = (rows, head.latest);
                if wanted {
                    let event = event(&asker, &named, &conv, &change, (&changed, latest));
                    told = vec![event.pending(asker.app, now_ms)];
                    tx.add_events(&told)?;
                }
                Ok(())
            });
            done.map_err(|error| internal(&error))?;
            if full {
                return Err(Failure::new(BAD, "a message has at most 300 pairs"));
            }
            shared.callbacks.tell_pending(told);
            Ok(changed)
        }))
    }

    /// Pairs with a number above `after`. Blocks.
    ///
    /// # Errors
    /// 10002, 23002, 23004.
    pub fn extensions(&self, named: &Named, after: u64) -> Result<Extensions, Failure> {
        let (conv, seq) = self.extensible(named)?;
        let mut page = Extensions::default();
        let read = self.shared.directory.read_people(&mut |tx| {
            let ExtensionHead { latest, clear } = tx.extension_head(&conv, seq)?;
            let pairs = tx.extensions(&conv, seq, after, PAGE + 1)?;
            page = Extensions { complete: pairs.len() <= PAGE as usize, latest, clear, pairs };
            page.pairs.truncate(PAGE as usize);
            Ok(())
        });
        read.map_err(|error| internal(&error))?;
        Ok(page)
    }

    /// The place of a message that takes extensions, whichever of the two sent it.
    fn extensible(&self, named: &Named) -> Result<(ConvKey, u64), Failure> {
        let conv = ConvKey::pair(&named.from, &named.to);
        let found = self.message_by_key(&conv, &named.key).map_err(|error| unreadable(&error))?;
        let found = found.filter(|found| found.message.recalled.is_none());
        let found = found.ok_or_else(|| Failure::new(NO_MESSAGE, "there is no such message"))?;
        match found.message.extensible {
            true => Ok((conv, found.seq)),
            false => {
                Err(Failure::new(NOT_EXTENSIBLE, "the message was sent without SupportMessageExtension"))
            }
        }
    }
}

fn check(change: &ExtensionChange) -> Result<(), Failure> {
    let bad = |info: &'static str| Err(Failure::new(BAD, info));
    let (keys, values): (Vec<&String>, Vec<&String>) = match change {
        ExtensionChange::Set(pairs) => pairs.iter().map(|(key, value)| (key, value)).unzip(),
        ExtensionChange::Delete(keys) => (keys.iter().collect(), Vec::new()),
        ExtensionChange::Clear => return Ok(()),
    };
    if keys.is_empty() || keys.len() > CHANGED_MAX {
        return bad("ExtensionList has 1 to 20 pairs");
    }
    if keys.iter().any(|key| key.is_empty() || key.len() > KEY_BYTES_MAX || key.contains('\0')) {
        return bad("a key has 1 to 100 bytes, none of them zero");
    }
    if values.iter().any(|value| value.is_empty() || value.len() > VALUE_BYTES_MAX || value.contains('\0')) {
        return bad("a value has 1 to 1000 bytes, none of them zero");
    }
    Ok(())
}

/// What a change writes; `None`: there would be too many pairs. Each changed pair gets a number of its own.
fn apply(
    head: ExtensionHead,
    all: Vec<ExtensionRow>,
    change: &ExtensionChange,
) -> (ExtensionHead, Option<Vec<ExtensionRow>>) {
    let mut latest = head.latest;
    let mut row = |key: &String, value: &str| {
        latest += 1;
        ExtensionRow { key: key.clone(), value: value.to_owned(), seq: latest }
    };
    let rows: Vec<ExtensionRow> = match change {
        ExtensionChange::Set(pairs) => pairs.iter().map(|(key, value)| row(key, value)).collect(),
        ExtensionChange::Delete(keys) => {
            let there = |key: &&String| all.iter().any(|row| row.key == **key && !row.value.is_empty());
            keys.iter().filter(there).map(|key| row(key, "")).collect()
        }
        ExtensionChange::Clear => {
            let next = latest + 1;
            return (ExtensionHead { latest: next, clear: next }, Some(Vec::new()));
        }
    };
    let mut after: BTreeMap<&str, bool> =
        all.iter().map(|row| (row.key.as_str(), !row.value.is_empty())).collect();
    after.extend(rows.iter().map(|row| (row.key.as_str(), !row.value.is_empty())));
    // Deleted ones are still told of, so they count too: else whoever sets and deletes would fill the table.
    let fits = after.len() <= 2 * PAIRS_MAX && after.values().filter(|there| **there).count() <= PAIRS_MAX;
    let head = ExtensionHead { latest, ..head };
    (head, fits.then_some(rows))
}

/// What the back end hears of a change, whose newest number is `latest`.
fn event(
    asker: &Asker,
    named: &Named,
    conv: &ConvKey,
    change: &ExtensionChange,
    (rows, latest): (&[ExtensionRow], u64),
) -> Event {
    let operate = match change {
        ExtensionChange::Set(_) => 1,
        ExtensionChange::Delete(_) => 2,
        ExtensionChange::Clear => 3,
    };
    let list = rows.iter().map(|row| json!({ "Key": row.key, "Value": row.value, "Seq": row.seq }));
    let fields = json!({
        "From_Account": named.from.name(),
        "To_Account": named.to.name(),
        "MsgKey": named.key.to_string(),
        "OperateType": operate,
        "ExtensionList": list.collect::<Vec<_>>(),
        "Seq": latest,
    });
    Event::new(Command::PairAfterExtension, conv.as_bytes(), asker.origin(), &fields)
}

fn internal(error: &crate::directory::DirectoryError) -> Failure {
    tracing::error!(%error, "cannot reach message extensions");
    Failure::later(INTERNAL, "the store does not answer, try again", 1000)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key::{AppId, UserKey};

    fn set(keys: std::ops::Range<usize>) -> ExtensionChange {
        ExtensionChange::Set(keys.map(|n| (n.to_string(), "v".to_owned())).collect())
    }

    #[test]
    fn changes_are_numbered_and_a_message_has_three_hundred_pairs() {
        let (head, rows) = apply(ExtensionHead::default(), Vec::new(), &set(0..300));
        let rows = rows.unwrap();
        assert_eq!((head.latest, rows.len(), rows[299].seq), (300, 300, 300));
        assert_eq!(apply(head, rows.clone(), &set(300..301)).1, None);
        let again = apply(head, rows.clone(), &set(0..1)).1.unwrap();
        assert_eq!((again.len(), again[0].seq), (1, 301));
        let delete = ExtensionChange::Delete(vec!["0".to_owned(), "nothing".to_owned()]);
        let (head, gone) = apply(head, rows.clone(), &delete);
        assert_eq!(gone.unwrap(), [ExtensionRow { key: "0".to_owned(), value: String::new(), seq: 301 }]);
        let (head, none) = apply(head, rows, &ExtensionChange::Clear);
        assert_eq!((head, none), (ExtensionHead { latest: 302, clear: 302 }, Some(Vec::new())));
    }

    #[test]
    fn a_message_changes_two_hundred_times_in_a_minute() {
        let user = |name| UserKey::new(AppId(1), name).unwrap();
        let conv = ConvKey::pair(&user("a"), &user("b"));
        let rates = ExtensionRates::default();
        for _ in 0..CHANGES_PER_MINUTE {
            assert!(rates.take((conv.clone(), 1), 60_000));
        }
        assert!(!rates.take((conv.clone(), 1), 119_999) && rates.take((conv.clone(), 2), 119_999));
        assert!(rates.take((conv, 1), 120_000));
    }

    #[test]
    fn keys_and_values_have_limits_at_the_byte() {
        let one = |key: usize, value: usize| ExtensionChange::Set(vec![("k".repeat(key), "v".repeat(value))]);
        assert!(check(&one(100, 1000)).is_ok());
        for bad in [one(0, 1), one(101, 1), one(1, 0), one(1, 1001), set(0..0), set(0..21)] {
            assert_eq!(check(&bad).unwrap_err().code, BAD);
        }
    }
}
