//! How the ledger uses fjall: sizes, threads, and the options of each keyspace.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use fjall::compaction::Leveled;
use fjall::config::{BloomConstructionPolicy, FilterPolicy, FilterPolicyEntry};
use fjall::{Database, Keyspace, KeyspaceCreateOptions};

/// Settings of a [`super::FjallLedger`]. The defaults suit 2 cores shared with a gateway; each says what it costs.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Options {
    /// Block cache in bytes. 64 MiB holds the recent end of some 10,000 conversations; history beyond it comes from
    /// the page cache, which costs a checksum and a system call per 4 KiB block.
    pub cache_bytes: u64,
    /// Row bytes in memory after which all keyspaces are flushed together. Larger means fewer and larger tables, so
    /// less compaction, for more memory (about 1.5 times this, and up to four times while flushes are late) and a
    /// longer start after a crash (a journal of this size is read again in about a second). 64 MiB is also where
    /// fjall changes to a new journal file.
    pub flush_bytes: u64,
    /// Conversations, and separately users, whose id and head are kept in memory: about 150 bytes each. A miss costs a
    /// lookup and a seek in the engine, tens of microseconds.
    pub owners_max: usize,
    /// Oldest watermark that may be unsynced: how much damage after a power loss can go unnoticed, against one
    /// fdatasync (0.2 ms) each time.
    pub watermark_sync: Duration,
    /// Opens a store although acknowledged commits are missing. For one start, after the operator decided so: what
    /// is missing stays missing. Unreadable journals are kept as `*.jnl.damaged`.
    pub accept_missing_commits: bool,
    /// fjall's flush and compaction threads. One, because with two or more fjall 3.1 keeps its first worker free for
    /// flushes by handing compactions back to the queue in a loop: it burns a whole core as long as another worker
    /// compacts (docs/decisions/0001-fjall.md). With one, a flush may wait for a compaction, which
    /// `flush_bytes` of room in memory hides.
    pub worker_threads: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            cache_bytes: 64 << 20,
            flush_bytes: 64 << 20,
            owners_max: 256 << 10,
            watermark_sync: Duration::from_millis(100),
            accept_missing_commits: false,
            worker_threads: 1,
        }
    }
}

/// All journals together. Journals go when every keyspace is flushed; as we flush them together, two or three of
/// 64 MB exist. This bound only matters if flushes fail to keep up, and makes fjall ask for more of them.
const JOURNAL_BYTES_MAX: u64 = 512 << 20;

/// Opens or makes the engine, without compression: bodies are short and the journal check reads raw items.
pub(crate) fn open_database(dir: &Path, options: &Options) -> fjall::Result<Database> {
    Database::builder(dir)
        .cache_size(options.cache_bytes)
        .worker_threads(options.worker_threads)
        .max_journaling_size(JOURNAL_BYTES_MAX)
        .journal_compression(fjall::CompressionType::None)
        // Each batch asks for its own sync; nothing is written without one.
        .manual_journal_persist(true)
        .open()
}

/// The keyspaces. Their options are stored when they are made: a change here affects new stores only.
#[derive(Clone)]
pub(super) struct Keyspaces {
    pub(super) ids: Keyspace,
    pub(super) messages: Keyspace,
    pub(super) idem: Keyspace,
    pub(super) logs: Keyspace,
    pub(super) cursors: Keyspace,
    pub(super) meta: Keyspace,
    pub(super) edits: Keyspace,
    pub(super) hides: Keyspace,
    pub(super) receipts: Keyspace,
    pub(super) skips: Keyspace,
    pub(super) recalls: Keyspace,
    pub(super) pairs: Keyspace,
    pub(super) floors: Keyspace,
    pub(super) outbox: Keyspace,
}

impl Keyspaces {
    pub(super) fn open(db: &Database) -> fjall::Result<Self> {
        let base = || {
            KeyspaceCreateOptions::default()
                // The ledger flushes by its own count. fjall's way queues one request per commit for as long as a
                // memtable is too large; a single worker that finds the queue full when it wants to add the flush
                // itself would wait for itself for ever.
                .max_memtable_size(u64::MAX)
                .compaction_strategy(Arc::new(Leveled::default()))
        };
        // Looked up by key only for rows that a log points at, so they exist: no filter on the last level.
        let hits = || base().expect_point_read_hits(true);
        // Read by range only, where filters do not help: save the hashing and the memory.
        let ranges = || base().filter_policy(FilterPolicy::disabled());
        // Asked for every message and nearly always for a key that does not exist: the filter is what makes this
        // cheap, so every level has a good one (10 bits per key, 1% false positives).
        let misses = || {
            base().filter_policy(FilterPolicy::new([
                FilterPolicyEntry::Bloom(BloomConstructionPolicy::FalsePositiveRate(0.0001)),
                FilterPolicyEntry::Bloom(BloomConstructionPolicy::BitsPerKey(10.0)),
            ]))
        };
        Ok(Self {
            ids: db.keyspace("ids", misses)?,
            messages: db.keyspace("messages", hits)?,
            idem: db.keyspace("idem", misses)?,
            logs: db.keyspace("logs", ranges)?,
            cursors: db.keyspace("cursors", misses)?,
            meta: db.keyspace("meta", hits)?,
            edits: db.keyspace("edits", ranges)?,
            hides: db.keyspace("hides", ranges)?,
            receipts: db.keyspace("receipts", misses)?,
            skips: db.keyspace("skips", ranges)?,
            recalls: db.keyspace("recalls", ranges)?,
            pairs: db.keyspace("pairs", ranges)?,
            // Asked for at every page, and nearly empty as long as conversations are younger than what is kept.
            floors: db.keyspace("floors", misses)?,
            outbox: db.keyspace("outbox", ranges)?,
        })
    }

    pub(super) fn all(&self) -> [&Keyspace; 14] {
        let Self {
            ids,
            messages,
            idem,
            logs,
            cursors,
            meta,
            edits,
            hides,
            receipts,
            skips,
            recalls,
            pairs,
            floors,
            outbox,
        } = self;
        [
            ids, messages, idem, logs, cursors, meta, edits, hides, receipts, skips, recalls, pairs, floors,
            outbox,
        ]
    }
}
