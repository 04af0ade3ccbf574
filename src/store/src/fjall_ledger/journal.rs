//! Reads fjall's journals before fjall does, because fjall's own recovery destroys evidence.
//!
//! fjall 3 ends the replay of a journal at the first byte that it cannot read and *cuts the file there*, whatever
//! follows (its issue 311); for other damage it refuses to open for ever, even when only an unacknowledged tail is
//! torn. So this module looks first, changes nothing while looking, and decides:
//!
//! - every journal reads to its end: go on;
//! - only the end of the last journal is unreadable and everything acknowledged stands before it: a torn commit
//!   that nobody was told about. It is cut off here;
//! - anything else is damage: refuse, and leave the files as they are.
//!
//! The journal layout is part of fjall's disk format, which is stable within major version 3 (integers little
//! endian): a batch is a start `1, items u32, seqno u64`, items `2, type u8, compression u8, keyspace u64,
//! key length u16, value length u32, stored length u32, key, value`, and an end `3, XXH3-64 of all items, "FJL" 3`.
//! Behind the last batch the preallocated file is zero.
//!
//! Every commit of ours is one batch with one commit row, is synced before the next one starts, and is numbered
//! without holes. Hence an unreadable part that is followed by a whole commit of ours cannot be a torn write, and a
//! hole in the numbers is missing data even if every byte is readable. The store id in the commit row is random, so
//! that no message body can imitate a commit.

use std::fs::File;
use std::io::{self, Read};
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};

use xxhash_rust::xxh3::Xxh3;

use super::keys::{COMMIT_KEY, Commit, StoreId};

const TAG_START: u8 = 1;
const TAG_ITEM: u8 = 2;
const TAG_END: u8 = 3;
const TRAILER: [u8; 4] = *b"FJL\x03";
/// fjall keeps the upper half of its sequence numbers for itself.
const SEQNO_END: u64 = 1 << 63;

/// A journal file and what it holds.
#[derive(Debug)]
pub(super) struct Journal {
    pub(super) path: PathBuf,
    pub(super) content: Content,
}

/// What the bytes of a journal hold.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Content {
    /// Runs of consecutive commit numbers, in the order in which they stand.
    pub(super) commits: Vec<RangeInclusive<u64>>,
    /// Bytes up to the end of the last readable batch.
    pub(super) readable: usize,
    /// What stands behind them.
    pub(super) tail: Tail,
}

/// What stands behind the last readable batch.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Tail {
    /// Nothing, or the zeros of the preallocated file.
    Clean,
    /// Bytes that form no batch, and no commit behind them.
    Torn,
    /// Bytes that form no batch, and behind them a whole commit of ours.
    Buried,
}

struct Batch {
    len: usize,
    seqno: u64,
    commit: Option<(u64, StoreId)>,
}

/// Reads a little-endian field and moves past it.
fn take<'a>(rest: &mut &'a [u8], len: usize) -> Option<&'a [u8]> {
    let (field, after) = rest.split_at_checked(len)?;
    *rest = after;
    Some(field)
}

fn number<const N: usize>(rest: &mut &[u8]) -> Option<u64> {
    let mut wide = [0; 8];
    wide[..N].copy_from_slice(take(rest, N)?);
    Some(u64::from_le_bytes(wide))
}

/// The batch at the start of `bytes`, if it is whole and its checksum holds.
fn batch(bytes: &[u8]) -> Option<Batch> {
    let mut rest = bytes;
    if number::<1>(&mut rest)? != u64::from(TAG_START) {
        return None;
    }
    let items = number::<4>(&mut rest)?;
    let seqno = number::<8>(&mut rest).filter(|seqno| *seqno < SEQNO_END)?;
    let items_at = rest;
    let mut commit = None;
    for _ in 0..items {
        if number::<1>(&mut rest)? != u64::from(TAG_ITEM) {
            return None;
        }
        let (_value_type, compression) = (number::<1>(&mut rest)?, number::<1>(&mut rest)?);
        let _keyspace = number::<8>(&mut rest)?;
        let key_len = usize::try_from(number::<2>(&mut rest)?).ok()?;
        let (value_len, stored_len) = (number::<4>(&mut rest)?, number::<4>(&mut rest)?);
        // We switch compression off; fjall without its lz4 feature could not read such an item either.
        if compression != 0 || value_len != stored_len {
            return None;
        }
        let key = take(&mut rest, key_len)?;
        let value = take(&mut rest, usize::try_from(stored_len).ok()?)?;
        if key == COMMIT_KEY {
            commit = Commit::decode(value).map(|commit| (commit.number, commit.store));
        }
    }
    let items_len = items_at.len() - rest.len();
    if number::<1>(&mut rest)? != u64::from(TAG_END) {
        return None;
    }
    let checksum = number::<8>(&mut rest)?;
    if take(&mut rest, TRAILER.len())? != TRAILER {
        return None;
    }
    // Last, because it is the only costly check and `buried` comes here for many wrong starts.
    let mut hasher = Xxh3::new();
    hasher.update(&items_at[..items_len]);
    (hasher.digest() == checksum).then_some(Batch { len: bytes.len() - rest.len(), seqno, commit })
}

/// Whether a whole commit of this store stands anywhere in `bytes`.
fn buried(bytes: &[u8], store: &StoreId) -> bool {
    // The store id is rare, a start tag is not: without the id there is nothing to look for.
    if !bytes.windows(store.len()).any(|window| window == store) {
        return false;
    }
    (0..bytes.len())
        .filter(|&at| bytes[at] == TAG_START)
        .any(|at| batch(&bytes[at..]).is_some_and(|batch| batch.commit.is_some_and(|(_, id)| id == *store)))
}

/// Reads the bytes of one journal of the store.
pub(super) fn content(bytes: &[u8], store: &StoreId) -> Content {
    let used = bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
    let mut commits: Vec<RangeInclusive<u64>> = Vec::new();
    let mut readable = 0;
    let mut seqno = None;
    while let Some(batch) = batch(&bytes[readable..used]) {
        // The checksum leaves out fjall's sequence number, but it only ever grows. A wrong one would make fjall
        // take the batch for an old one and skip it.
        if seqno.is_some_and(|previous| batch.seqno <= previous) {
            break;
        }
        seqno = Some(batch.seqno);
        readable += batch.len;
        let Some((number, _)) = batch.commit.filter(|(_, id)| id == store) else { continue };
        match commits.last_mut() {
            Some(run) if run.end().checked_add(1) == Some(number) => *run = *run.start()..=number,
            _ => commits.push(number..=number),
        }
    }
    let rest = &bytes[readable..used];
    let tail = match rest {
        [] => Tail::Clean,
        _ if buried(rest, store) => Tail::Buried,
        _ => Tail::Torn,
    };
    Content { commits, readable, tail }
}

/// Reads all journals in `db`, oldest first. One is in memory at a time: a journal is rotated at the first flush
/// after 64 MB, so about 64 MB plus what is written during a flush.
pub(super) fn read_all(db: &Path, store: &StoreId) -> io::Result<Vec<Journal>> {
    let mut paths: Vec<(u64, PathBuf)> = Vec::new();
    for entry in std::fs::read_dir(db)? {
        let path = entry?.path();
        let id = path.file_stem().and_then(|stem| stem.to_str()).and_then(|stem| stem.parse().ok());
        if let (Some(id), true) = (id, path.extension().is_some_and(|extension| extension == "jnl")) {
            paths.push((id, path));
        }
    }
    paths.sort();
    let read = |(_, path): (u64, PathBuf)| Ok(Journal { content: content(&read_used(&path)?, store), path });
    paths.into_iter().map(read).collect()
}

/// The file without most of the zeros at its end: a fresh journal is 64 MiB of them.
fn read_used(path: &Path) -> io::Result<Vec<u8>> {
    const STEP_BYTES: usize = 1 << 20;
    let mut file = File::open(path)?;
    let (mut bytes, mut used) = (Vec::new(), 0);
    let zeros = vec![0; STEP_BYTES];
    let mut step = Vec::with_capacity(zeros.len());
    loop {
        step.clear();
        if file.by_ref().take(STEP_BYTES as u64).read_to_end(&mut step)? == 0 {
            return Ok(bytes);
        }
        used += step.len();
        if step != zeros[..step.len()] {
            bytes.resize(used - step.len(), 0);
            bytes.extend_from_slice(&step);
        }
    }
}

/// What to do about the journals.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Nothing.
    Sound,
    /// Cut the torn end of the last journal, an unacknowledged commit. When no journal holds a readable commit,
    /// `certain` is false: then only fjall's tables can tell what is missing, so the journal must be kept.
    Cut { certain: bool },
    /// Refuse to open, with the reason.
    Damaged(String),
}

/// Judges the journals against the watermark: commits after `base` must be without holes and reach `acknowledged`.
pub(super) fn judge(journals: &[Journal], base: u64, acknowledged: u64) -> Verdict {
    let mut last: Option<u64> = None;
    for (index, Journal { path, content }) in journals.iter().enumerate() {
        for run in &content.commits {
            if let Some(last) = last
                && run.start().checked_sub(1) != Some(last)
                && *run.start() > base
            {
                return Verdict::Damaged(format!(
                    "{}: commit {} follows commit {last}",
                    path.display(),
                    run.start()
                ));
            }
            last = Some(*run.end());
        }
        let newest = index + 1 == journals.len();
        if content.tail == Tail::Buried || (content.tail == Tail::Torn && !newest) {
            return Verdict::Damaged(format!(
                "{}: unreadable from byte {} on, with commits behind it (last readable commit {})",
                path.display(),
                content.readable,
                last.map_or_else(|| "unknown".to_owned(), |last| last.to_string()),
            ));
        }
    }
    if let Some(last) = last.filter(|last| *last < acknowledged) {
        return Verdict::Damaged(format!(
            "the journal ends at commit {last}, but commit {acknowledged} was acknowledged: {} commits are missing",
            acknowledged - last
        ));
    }
    match journals.last() {
        Some(journal) if journal.content.tail == Tail::Torn => Verdict::Cut { certain: last.is_some() },
        _ => Verdict::Sound,
    }
}

/// Keeps a copy of the journal beside it, as `N.jnl.damaged`, which fjall ignores.
pub(super) fn keep_copy(journal: &Journal) -> io::Result<()> {
    std::fs::copy(&journal.path, journal.path.with_extension("jnl.damaged"))?;
    Ok(())
}

/// Cuts the journal behind its last readable batch; durable when this returns.
pub(super) fn cut(journal: &Journal) -> io::Result<()> {
    let file = File::options().write(true).open(&journal.path)?;
    file.set_len(journal.content.readable as u64)?;
    file.sync_all()
}

#[cfg(test)]
mod tests;
