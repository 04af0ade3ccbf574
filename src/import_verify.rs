//! Reads the messages of an import again, from the files and from the store, and compares them conversation by conversation.
//!
//! Each message of the files is looked for by its key and read. Of a conversation two chains of digests are made, in the order of the files:
//! of what was to be kept, and of what is. Equal chains and ascending places mean that all of them stand there, as they were, in order and
//! once. Where others stand in between, those are looked through for messages that stand twice.
//!
//! The table of conversations is bounded: if there are more, the files are read again for the next part of them.

use std::collections::{BTreeSet, HashMap};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::mpsc::sync_channel;

use aws_lc_rs::digest;
use nearport_chat::admin::{Admin, LookedFor};
use nearport_chat::key::{AppId, ConvKey, ConvKind};
use nearport_rest::lines::Line;

use crate::import::CHUNKS_WAITING;
use crate::import_files::{Mark, Phase, Place, hex};
use crate::import_lines::{Chunk, ReadError, read};
use crate::import_rejects::Rejects;
use crate::import_store::{Store, fatal};

/// Conversations of one pass: about 200 bytes each.
const CONVERSATIONS_MAX: usize = 200_000;

/// Conversations that differ, as they are told.
const TOLD_MAX: usize = 100;

type Digest = [u8; 32];

/// What was compared.
#[derive(Debug, Default)]
pub(crate) struct Verified {
    pub(crate) messages: u64,
    pub(crate) conversations: u64,
    pub(crate) differing: u64,
    /// Lines of messages that stand there by an earlier line.
    pub(crate) repeated: u64,
    /// Messages that were edited or recalled since.
    pub(crate) changed: u64,
    /// Messages that stand between the imported ones and are of elsewhere.
    pub(crate) others: u64,
    /// Over all conversations.
    pub(crate) input: Digest,
    pub(crate) store: Digest,
    pub(crate) differences: Vec<Difference>,
}

/// A conversation of which the store has something else.
#[derive(Debug)]
pub(crate) struct Difference {
    pub(crate) conversation: String,
    pub(crate) sum: Sum,
    pub(crate) doubled: u64,
}

/// A conversation.
#[derive(Debug, Clone, Default)]
pub(crate) struct Sum {
    pub(crate) messages: u64,
    pub(crate) input: Digest,
    pub(crate) store: Digest,
    /// Messages that are not there.
    pub(crate) missing: u64,
    /// Messages in whose place another one of the same key stands.
    pub(crate) conflicts: u64,
    repeated: u64,
    changed: u64,
    first: u64,
    last: u64,
}

impl Sum {
    fn add(&mut self, looked: &LookedFor) {
        match looked.found {
            None => {
                self.missing += 1;
                self.input = chained(&self.input, &looked.digest);
            }
            // The other side's was there first, or an earlier line had the same key.
            Some(found) if found.mirrored || found.seq <= self.last => {
                self.repeated += 1;
                let other = !found.changed && !found.mirrored && found.digest != looked.digest;
                self.conflicts += u64::from(other);
            }
            Some(found) => {
                if self.messages == 0 {
                    self.first = found.seq;
                }
                self.last = found.seq;
                self.messages += 1;
                self.changed += u64::from(found.changed);
                self.input = chained(&self.input, &looked.digest);
                let stands = if found.changed { &looked.digest } else { &found.digest };
                self.store = chained(&self.store, stands);
            }
        }
    }

    /// Messages between its first and its last one that are of elsewhere.
    fn others(&self) -> u64 {
        match self.messages {
            0 => 0,
            messages => (self.last - self.first + 1).saturating_sub(messages),
        }
    }
}

fn chained(before: &[u8], digest: &[u8]) -> Digest {
    let mut context = digest::Context::new(&digest::SHA256);
    context.update(before);
    context.update(digest);
    context.finish().as_ref().try_into().expect("SHA-256 has 32 bytes")
}

/// The part of the conversations whose numbers lie from `first` to in front of `end`; the last part has no end.
#[derive(Debug, Clone, Copy)]
struct Part {
    first: u64,
    end: Option<u64>,
}

impl Part {
    fn holds(&self, conv: &ConvKey) -> bool {
        let number = number(conv);
        number >= self.first && self.end.is_none_or(|end| number < end)
    }

    /// Half of it.
    fn halve(&mut self) {
        self.end = Some(self.first + (self.end.unwrap_or(u64::MAX) - self.first) / 2);
    }
}

/// The same in each pass.
fn number(conv: &ConvKey) -> u64 {
    let mut hasher = DefaultHasher::new();
    conv.as_bytes().hash(&mut hasher);
    hasher.finish()
}

/// Compares all messages that were not rejected.
///
/// # Errors
/// Files or store cannot be read, or a file has changed.
pub(crate) fn verify(store: &Store, mark: &Mark, rejects: &Rejects) -> anyhow::Result<Verified> {
    let mut verified = Verified::default();
    let mut part = Part { first: 0, end: None };
    loop {
        let (sums, end) = pass(store, mark, rejects, part, CONVERSATIONS_MAX)?;
        for (conv, sum) in sums {
            verified.take(&store.admin, &conv, sum)?;
        }
        match end {
            Some(end) => part = Part { first: end, end: None },
            None => return Ok(verified),
        }
    }
}

impl Verified {
    fn take(&mut self, admin: &Admin, conv: &ConvKey, sum: Sum) -> anyhow::Result<()> {
        self.conversations += 1;
        self.messages += sum.messages;
        self.repeated += sum.repeated;
        self.changed += sum.changed;
        let others = sum.others();
        self.others += others;
        let doubled = match others {
            0 => 0,
            _ => admin.doubled(conv, sum.first, sum.last).map_err(|failure| fatal(&failure))?,
        };
        for (all, one) in [(&mut self.input, &sum.input), (&mut self.store, &sum.store)] {
            let one = chained(conv.as_bytes(), one);
            all.iter_mut().zip(one).for_each(|(all, one)| *all ^= one);
        }
        if sum.input != sum.store || sum.missing + sum.conflicts + doubled > 0 {
            self.differing += 1;
            if self.differences.len() < TOLD_MAX {
                let conversation = match conv.kind() {
                    ConvKind::Pair(one, other) => format!("{} and {}", one.name(), other.name()),
                    ConvKind::Group(group) => group.id().to_owned(),
                    ConvKind::Notices(user) => user.name().to_owned(),
                    ConvKind::Pushes(_) => "pushes".to_owned(),
                };
                self.differences.push(Difference { conversation, sum, doubled });
            }
        }
        Ok(())
    }

    /// Whether the store has what the files have.
    pub(crate) fn is_equal(&self) -> bool {
        self.differing == 0
    }

    pub(crate) fn digests(&self) -> [String; 2] {
        [hex(&self.input), hex(&self.store)]
    }
}

type Sums = HashMap<ConvKey, Sum>;

/// Sums of the conversations of `part`, or of less if it has more than `max`: then where it ends.
fn pass(
    store: &Store,
    mark: &Mark,
    rejects: &Rejects,
    mut part: Part,
    max: usize,
) -> anyhow::Result<(Sums, Option<u64>)> {
    let mut sums = HashMap::new();
    let app: AppId = store.asker.app;
    std::thread::scope(|scope| {
        let (sender, chunks) = sync_channel::<Result<Chunk, ReadError>>(CHUNKS_WAITING);
        let name = std::thread::Builder::new().name("import-reader".to_owned());
        let from = Place::start_of(0);
        let reader =
            name.spawn_scoped(scope, move || read(app, &mark.files, Phase::Messages, &from, &sender))?;
        let mut rejected: Option<(usize, BTreeSet<u64>)> = None;
        for chunk in chunks {
            let chunk = chunk?;
            if rejected.as_ref().is_none_or(|(file, _)| *file != chunk.file) {
                rejected = Some((chunk.file, rejects.of_file(chunk.file)?));
            }
            let taken =
                |offset: &u64| rejected.as_ref().is_none_or(|(_, rejected)| !rejected.contains(offset));
            let messages = chunk.entries.into_iter().filter(|(entry, _)| taken(&entry.offset));
            let messages = messages.filter_map(|(_, read)| match read {
                Ok(Line::Message(message)) => Some(*message),
                _ => None,
            });
            let looked = store.admin.look_for_history(app, messages.collect(), |conv| part.holds(conv));
            for looked in looked.map_err(|failure| fatal(&failure))? {
                sums.entry(looked.conv.clone()).or_insert_with(Sum::default).add(&looked);
            }
            while sums.len() > max {
                part.halve();
                sums.retain(|conv, _| part.holds(conv));
            }
        }
        reader.join().map_err(|_| anyhow::anyhow!("the thread that reads the files panicked"))
    })?;
    Ok((sums, part.end))
}

#[cfg(test)]
mod tests {
    use nearport_chat::admin::Found;
    use nearport_chat::key::UserKey;

    use super::*;

    fn conv(n: u32) -> ConvKey {
        let user = |name: String| UserKey::new(AppId(1), &name).unwrap();
        ConvKey::pair(&user(format!("a{n}")), &user("b".to_owned()))
    }

    fn looked(digest: u8, found: Option<(u64, u8)>) -> LookedFor {
        let found =
            found.map(|(seq, digest)| Found { seq, digest: [digest; 32], changed: false, mirrored: false });
        LookedFor { conv: conv(1), digest: [digest; 32], found }
    }

    fn sum(looked: &[LookedFor]) -> Sum {
        let mut sum = Sum::default();
        looked.iter().for_each(|looked| sum.add(looked));
        sum
    }

    #[test]
    fn what_is_missing_another_or_in_between_is_seen() {
        let same = sum(&[looked(1, Some((5, 1))), looked(2, Some((6, 2)))]);
        assert_eq!((same.input, same.others(), same.missing), (same.store, 0, 0));
        let other = sum(&[looked(1, Some((5, 1))), looked(2, Some((6, 3)))]);
        assert_ne!(other.input, other.store);
        let missing = sum(&[looked(1, Some((5, 1))), looked(2, None)]);
        assert_eq!(missing.missing, 1);
        assert_ne!(missing.input, missing.store);
        let apart = sum(&[looked(1, Some((5, 1))), looked(2, Some((9, 2)))]);
        assert_eq!((apart.input, apart.others()), (apart.store, 3));
        let again = sum(&[looked(1, Some((5, 1))), looked(1, Some((5, 1)))]);
        assert_eq!((again.input, again.repeated, again.conflicts), (again.store, 1, 0));
        let conflict = sum(&[looked(1, Some((5, 1))), looked(2, Some((5, 1)))]);
        assert_eq!(conflict.conflicts, 1);
    }

    #[test]
    fn parts_hold_each_conversation_once() {
        let convs: Vec<_> = (0..1000).map(conv).collect();
        let mut part = Part { first: 0, end: None };
        let mut held = 0;
        loop {
            while convs.iter().filter(|conv| part.holds(conv)).count() > 100 {
                part.halve();
            }
            held += convs.iter().filter(|conv| part.holds(conv)).count();
            match part.end {
                Some(end) => part = Part { first: end, end: None },
                None => break,
            }
        }
        assert_eq!(held, 1000);
    }
}
