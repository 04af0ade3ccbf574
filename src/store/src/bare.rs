//! The yardstick: raw fjall with the least that a durable message needs, and a closed loop to drive it.
//!
//! One message is two rows: 300 incompressible bytes under (conversation, seq), and an index row (user,
//! conversation) → seq. No idempotency, no user logs, no watermark, sequence numbers from memory. What
//! [`crate::FjallLedger`] costs beyond this is the price of the promise.

use std::path::Path;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::{Duration, Instant};

use fjall::{Database, Keyspace, KeyspaceCreateOptions, OwnedWriteBatch, PersistMode};
use nearport_chat::ledger::{BATCH_ITEMS_MAX, LedgerError};

use crate::fjall_ledger::{Options, open_database};

/// Bytes of one message.
pub const BODY_BYTES: usize = 300;

/// Most conversations of a load, and the usual number.
pub const CONVERSATIONS: u32 = 100_000;

/// Raw fjall behind a group commit.
pub struct BareLedger {
    db: Database,
    messages: Keyspace,
    index: Keyspace,
    /// Last sequence number of each conversation.
    heads: Vec<u64>,
}

/// A message for [`BareLedger::commit`].
#[derive(Debug, Clone)]
pub struct BareMessage {
    /// Conversation, below [`CONVERSATIONS`].
    pub conversation: u32,
    /// The user of the index row.
    pub user: u32,
    /// The message.
    pub body: [u8; BODY_BYTES],
}

impl BareLedger {
    /// Opens an empty database in `dir` with fjall's defaults, as someone who has only read its first page would.
    ///
    /// # Errors
    /// Whatever fjall says, as [`LedgerError::Io`].
    pub fn open(dir: &Path) -> Result<Self, LedgerError> {
        Self::with(Database::builder(dir).open().map_err(failed)?)
    }

    /// The same with the cache, thread and journal settings of our ledger, to tell settings from rows.
    ///
    /// # Errors
    /// Whatever fjall says, as [`LedgerError::Io`].
    pub fn open_tuned(dir: &Path) -> Result<Self, LedgerError> {
        Self::with(open_database(dir, &Options::default()).map_err(failed)?)
    }

    fn with(db: Database) -> Result<Self, LedgerError> {
        let messages = db.keyspace("messages", KeyspaceCreateOptions::default).map_err(failed)?;
        let index = db.keyspace("index", KeyspaceCreateOptions::default).map_err(failed)?;
        Ok(Self { db, messages, index, heads: vec![0; CONVERSATIONS as usize] })
    }

    /// Writes the messages in one batch; on disk when this returns.
    ///
    /// # Errors
    /// Whatever fjall says, as [`LedgerError::Io`].
    pub fn commit<'a>(
        &mut self,
        messages: impl IntoIterator<Item = &'a BareMessage>,
    ) -> Result<(), LedgerError> {
        let mut batch = OwnedWriteBatch::with_capacity(self.db.clone(), 2 * BATCH_ITEMS_MAX)
            .durability(Some(PersistMode::SyncData));
        for message in messages {
            let (key, head) = self.place(message);
            batch.insert(&self.messages, key, &message.body[..]);
            let mut key = [0; 8];
            key[..4].copy_from_slice(&message.user.to_be_bytes());
            key[4..].copy_from_slice(&message.conversation.to_be_bytes());
            batch.insert(&self.index, key, head.to_be_bytes());
        }
        batch.commit().map_err(failed)
    }

    /// The same without index rows: one row for each message.
    ///
    /// # Errors
    /// Whatever fjall says, as [`LedgerError::Io`].
    pub fn insert<'a>(
        &mut self,
        messages: impl IntoIterator<Item = &'a BareMessage>,
    ) -> Result<(), LedgerError> {
        let mut batch = OwnedWriteBatch::with_capacity(self.db.clone(), BATCH_ITEMS_MAX)
            .durability(Some(PersistMode::SyncData));
        for message in messages {
            let (key, _) = self.place(message);
            batch.insert(&self.messages, key, &message.body[..]);
        }
        batch.commit().map_err(failed)
    }

    /// The next place of its conversation: the key of its row, and its number.
    fn place(&mut self, message: &BareMessage) -> ([u8; 12], u64) {
        let head = &mut self.heads[message.conversation as usize];
        *head += 1;
        let mut key = [0; 12];
        key[..4].copy_from_slice(&message.conversation.to_be_bytes());
        key[4..].copy_from_slice(&head.to_be_bytes());
        (key, *head)
    }

    /// Whether a compaction is running.
    #[must_use]
    pub fn compacting(&self) -> bool {
        self.db.active_compactions() > 0
    }
}

impl std::fmt::Debug for BareLedger {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("BareLedger").finish_non_exhaustive()
    }
}

#[expect(clippy::needless_pass_by_value, reason = "shape of `map_err`")]
fn failed(error: fjall::Error) -> LedgerError {
    LedgerError::Io(error.to_string())
}

/// Messages of the yardstick load, the same for the same seed.
#[derive(Debug)]
pub struct Messages {
    state: u64,
    conversations: u32,
}

impl Messages {
    /// A load from a seed: 80% of the messages go to 20% of `conversations`, which lie between 10 and
    /// [`CONVERSATIONS`].
    #[must_use]
    pub fn new(seed: u64, conversations: u32) -> Self {
        Self { state: seed, conversations: conversations.clamp(10, CONVERSATIONS) }
    }

    /// The next 64 random bits (splitmix64, Steele and others 2014).
    fn bits(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.state ^ (self.state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, end: u32) -> u32 {
        u32::try_from((u128::from(self.bits()) * u128::from(end)) >> 64).expect("below a u32")
    }
}

impl Iterator for Messages {
    type Item = BareMessage;

    fn next(&mut self) -> Option<BareMessage> {
        let hot = self.conversations / 5;
        let conversation =
            if self.below(5) < 4 { self.below(hot) } else { hot + self.below(self.conversations - hot) };
        let mut body = [0; BODY_BYTES];
        for chunk in body.chunks_mut(8) {
            chunk.copy_from_slice(&self.bits().to_le_bytes()[..chunk.len()]);
        }
        Some(BareMessage { conversation, user: conversation.wrapping_mul(2) + self.below(2), body })
    }
}

/// What a closed loop measured. CPU and bytes are those of the whole process.
#[derive(Debug, Clone)]
pub struct Figures {
    /// Messages acknowledged.
    pub messages: u64,
    /// Commits.
    pub commits: u64,
    /// Wall time.
    pub elapsed: Duration,
    /// User and system time (10 ms ticks).
    pub cpu: Duration,
    /// Bytes sent to the block layer (`write_bytes` of `/proc/self/io`).
    pub written_bytes: u64,
    /// Microseconds from hand-over to acknowledgement of each message, sorted.
    pub ack_us: Vec<u32>,
}

impl Figures {
    /// Messages per second.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "far below 2^53 messages")]
    pub fn rate(&self) -> f64 {
        self.messages as f64 / self.elapsed.as_secs_f64()
    }

    /// CPU microseconds per message.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "far below 2^53 messages")]
    pub fn cpu_us_per_message(&self) -> f64 {
        self.cpu.as_secs_f64() * 1e6 / self.messages as f64
    }

    /// Milliseconds within which `share` (0 to 1) of the messages were acknowledged.
    #[must_use]
    pub fn ack_ms(&self, share: f64) -> f64 {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            clippy::cast_precision_loss,
            reason = "an index into a vector that fits memory"
        )]
        let at = (self.ack_us.len().saturating_sub(1) as f64 * share) as usize;
        self.ack_us.get(at).map_or(f64::NAN, |us| f64::from(*us) / 1e3)
    }
}

struct Request<M> {
    message: M,
    since: Instant,
}

/// Drives a group commit: `in_flight` messages always wait for their acknowledgement, and each commit takes whatever
/// waits. Two threads: this one plays all the clients, the other one commits.
///
/// # Errors
/// The first error of `commit`, which ends the run.
pub fn closed_loop<M: Send>(
    in_flight: usize,
    duration: Duration,
    mut next: impl FnMut() -> M,
    commit: impl FnMut(&[M]) -> Result<(), LedgerError> + Send,
) -> Result<Figures, LedgerError> {
    let (cpu, written) = (process_cpu(), process_written());
    let started = Instant::now();
    let (to_writer, requests) = sync_channel(in_flight);
    let (to_clients, acks) = sync_channel(in_flight);
    let mut ack_us = Vec::new();
    let commits = std::thread::scope(|scope| {
        let writer =
            scope.spawn(move || group_commit(&requests, &to_clients, in_flight.min(BATCH_ITEMS_MAX), commit));
        let mut send = || to_writer.send(Request { message: next(), since: Instant::now() }).is_ok();
        let mut waiting = (0..in_flight).filter(|_| send()).count();
        let mut open = true;
        while waiting > 0 {
            let Ok(batch) = acks.recv() else { break };
            let now = Instant::now();
            open = open && now.duration_since(started) < duration;
            for since in batch {
                let waited = now.duration_since(since).as_micros();
                ack_us.push(u32::try_from(waited).unwrap_or(u32::MAX));
                waiting -= 1;
                if open && send() {
                    waiting += 1;
                }
            }
        }
        drop(to_writer);
        writer.join().expect("the writer returns its errors")
    })?;
    let elapsed = started.elapsed();
    ack_us.sort_unstable();
    Ok(Figures {
        messages: ack_us.len() as u64,
        commits,
        elapsed,
        cpu: process_cpu().saturating_sub(cpu),
        written_bytes: process_written() - written,
        ack_us,
    })
}

fn group_commit<M>(
    requests: &Receiver<Request<M>>,
    acks: &SyncSender<Vec<Instant>>,
    batch_max: usize,
    mut commit: impl FnMut(&[M]) -> Result<(), LedgerError>,
) -> Result<u64, LedgerError> {
    let mut commits = 0;
    let mut messages = Vec::with_capacity(batch_max);
    while let Ok(first) = requests.recv() {
        let waiting = std::iter::once(first).chain(requests.try_iter().take(batch_max - 1));
        let mut since = Vec::with_capacity(batch_max);
        messages.clear();
        for request in waiting {
            since.push(request.since);
            messages.push(request.message);
        }
        commit(&messages)?;
        commits += 1;
        if acks.send(since).is_err() {
            break;
        }
    }
    Ok(commits)
}

/// User and system time of this process so far.
#[must_use]
pub fn process_cpu() -> Duration {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    // Fields 14 and 15, counted behind the name, which may hold spaces. USER_HZ is 100 on every Linux platform.
    let fields = stat.rsplit_once(") ").map_or("", |(_, rest)| rest);
    let ticks = fields.split(' ').skip(11).take(2).filter_map(|field| field.parse::<u64>().ok()).sum::<u64>();
    Duration::from_millis(ticks * 10)
}

/// Bytes that this process sent to the block layer so far, compaction included.
#[must_use]
pub fn process_written() -> u64 {
    let io = std::fs::read_to_string("/proc/self/io").unwrap_or_default();
    io.lines().find_map(|line| line.strip_prefix("write_bytes: ")?.parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_message_is_acknowledged_once() {
        let dir = tempfile::tempdir().unwrap();
        let mut bare = BareLedger::open(dir.path()).unwrap();
        let mut load = Messages::new(1, 100);
        let mut committed = 0;
        let figures = closed_loop(
            8,
            Duration::ZERO,
            || load.next().unwrap(),
            |messages| {
                committed += messages.len();
                bare.commit(messages)
            },
        )
        .unwrap();
        assert_eq!((figures.messages, committed), (8, 8));
        assert_eq!(bare.heads.iter().sum::<u64>(), 8);
        assert!(figures.ack_ms(0.5) <= figures.ack_ms(0.99));
    }

    #[test]
    fn a_failed_commit_ends_the_loop() {
        let fail = |_: &[u32]| Err(LedgerError::Failed("on purpose".to_owned()));
        assert!(closed_loop(8, Duration::from_secs(3600), || 1, fail).is_err());
    }
}
