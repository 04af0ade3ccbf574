//! What the trait costs: appends through `Ledger` beside a bare loop that writes the same rows in the same batches, on the
//! embedded engine and on PostgreSQL, in turn; then the last 50 messages of random conversations.
//!
//!     cargo run --release -p nearport-store --example ledger_rows -- [--messages 2000000] [--batch 64] [--seconds 10]
//!         [--rounds 5] [--dir DIR] [--postgres URL]
//!
//! `--messages` are stored first, by each of them, over 100,000 conversations. A round then gives each of them its time.
//! The bare loops know every number beforehand: no look-up, no idempotency check, no watermark.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use bytes::Bytes;
use fjall::{Database, Keyspace, KeyspaceCreateOptions, OwnedWriteBatch, PersistMode};
use nearport_chat::key::{AppId, ConvKey, UserKey};
use nearport_chat::ledger::{Append, Batch, IdemKey, Ledger, PageLimit, Range};
use nearport_store::bare::{BareMessage, CONVERSATIONS, Messages, process_cpu};
use nearport_store::{FjallLedger, Options, PgLedger, Postgres, PostgresOptions};

type Outcome<T> = Result<T, Box<dyn std::error::Error>>;

struct Args {
    messages: usize,
    batch: usize,
    seconds: u64,
    rounds: usize,
    dir: Option<PathBuf>,
    postgres: Option<String>,
}

impl Args {
    fn parse() -> Outcome<Self> {
        let mut args =
            Self { messages: 2_000_000, batch: 64, seconds: 10, rounds: 5, dir: None, postgres: None };
        let mut given = std::env::args().skip(1);
        while let Some(flag) = given.next() {
            let value = given.next().ok_or_else(|| format!("{flag} needs a value"))?;
            match flag.as_str() {
                "--messages" => args.messages = value.parse()?,
                "--batch" => args.batch = value.parse()?,
                "--seconds" => args.seconds = value.parse()?,
                "--rounds" => args.rounds = value.parse()?,
                "--dir" => args.dir = Some(value.into()),
                "--postgres" => args.postgres = Some(value),
                _ => return Err(format!("unknown flag {flag}").into()),
            }
        }
        Ok(args)
    }
}

/// Something that stores a batch durably.
trait Store {
    fn store(&mut self, batch: &[BareMessage]) -> Outcome<()>;
}

fn user(number: u32) -> UserKey {
    UserKey::new(AppId(1_400_000_000), &format!("user{number:08}")).expect("a good name")
}

fn conv(conversation: u32) -> ConvKey {
    ConvKey::pair(&user(conversation * 2), &user(conversation * 2 + 1))
}

fn message_id(count: u64) -> [u8; 16] {
    let mut id = [0; 16];
    // Spread as random ids of clients are.
    id[..8].copy_from_slice(&count.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes());
    id[8..].copy_from_slice(&count.to_be_bytes());
    id
}

/// Through the trait.
struct Through {
    ledger: Box<dyn Ledger>,
    count: u64,
}

impl Store for Through {
    fn store(&mut self, batch: &[BareMessage]) -> Outcome<()> {
        let append = |message: &BareMessage| {
            self.count += 1;
            let (alice, bob) = (user(message.conversation * 2), user(message.conversation * 2 + 1));
            let (from, to) = if message.user.is_multiple_of(2) { (alice, bob) } else { (bob, alice) };
            Append {
                conv: ConvKey::pair(&from, &to),
                idem: IdemKey { sender: from.clone(), client_msg_id: message_id(self.count) },
                logs: vec![from, to],
                time_ms: self.count,
                body: Bytes::copy_from_slice(&message.body),
                uncounted: false,
            }
        };
        let appends = batch.iter().map(append).collect();
        self.ledger.commit(&Batch { appends, ..Batch::default() })?;
        Ok(())
    }
}

/// The numbers that a bare loop gives out.
struct Numbers {
    heads: Vec<u64>,
    logs: Vec<u64>,
    count: u64,
}

impl Numbers {
    fn new() -> Self {
        Self { heads: vec![0; CONVERSATIONS as usize], logs: vec![0; 2 * CONVERSATIONS as usize], count: 0 }
    }

    /// Message number, seq, and the positions in the logs of both sides.
    fn next(&mut self, message: &BareMessage) -> (u64, u64, [u64; 2]) {
        let conversation = message.conversation as usize;
        self.count += 1;
        self.heads[conversation] += 1;
        let positions = [0, 1].map(|side| {
            self.logs[2 * conversation + side] += 1;
            self.logs[2 * conversation + side]
        });
        (self.count, self.heads[conversation], positions)
    }
}

/// The rows of our ledger on bare fjall, with its cache, threads and syncs; the rest is as fjall has it.
struct BareFjall {
    db: Database,
    ids: Keyspace,
    pairs: Keyspace,
    idem: Keyspace,
    messages: Keyspace,
    logs: Keyspace,
    meta: Keyspace,
    numbers: Numbers,
}

impl BareFjall {
    fn open(dir: &Path) -> Outcome<Self> {
        let options = Options::default();
        let db = Database::builder(dir)
            .cache_size(options.cache_bytes)
            .worker_threads(options.worker_threads)
            .manual_journal_persist(true)
            .open()?;
        let keyspace = |name| db.keyspace(name, KeyspaceCreateOptions::default);
        let (ids, pairs) = (keyspace("ids")?, keyspace("pairs")?);
        let (idem, messages) = (keyspace("idem")?, keyspace("messages")?);
        let (logs, meta) = (keyspace("logs")?, keyspace("meta")?);
        Ok(Self { db, ids, pairs, idem, messages, logs, meta, numbers: Numbers::new() })
    }
}

impl BareFjall {
    /// What the first message of a conversation brings: ids of both users and of the pair, and that they are one.
    fn names(&self, conversation: u32, rows: &mut OwnedWriteBatch) {
        let pair = conv(conversation);
        let mut id = [0; 8];
        id[..4].copy_from_slice(&conversation.to_be_bytes());
        rows.insert(&self.ids, [b"c", pair.as_bytes()].concat(), id);
        rows.insert(&self.ids, [&b"n"[..], &id].concat(), pair.as_bytes());
        for number in [2 * conversation, 2 * conversation + 1] {
            let id = number.to_be_bytes();
            rows.insert(&self.ids, [b"u", user(number).as_bytes()].concat(), id);
            rows.insert(&self.pairs, [&id[..], pair.as_bytes()].concat(), []);
        }
    }
}

impl Store for BareFjall {
    fn store(&mut self, batch: &[BareMessage]) -> Outcome<()> {
        let mut rows = OwnedWriteBatch::with_capacity(self.db.clone(), 4 * batch.len() + 1)
            .durability(Some(PersistMode::SyncData));
        for message in batch {
            let (count, seq, positions) = self.numbers.next(message);
            let id = message_id(count);
            if seq == 1 {
                self.names(message.conversation, &mut rows);
            }
            let (mut idem, mut place) = ([0; 20], [0; 16]);
            idem[..4].copy_from_slice(&message.user.to_be_bytes());
            idem[4..].copy_from_slice(&id);
            place[..8].copy_from_slice(&seq.to_be_bytes());
            place[8..].copy_from_slice(&count.to_be_bytes());
            rows.insert(&self.idem, idem, place);
            let (mut key, mut value) = ([0; 16], [0; 28 + 300]);
            key[..4].copy_from_slice(&message.conversation.to_be_bytes());
            key[8..].copy_from_slice(&seq.to_be_bytes());
            value[..8].copy_from_slice(&count.to_be_bytes());
            value[8..28].copy_from_slice(&idem);
            value[28..].copy_from_slice(&message.body);
            rows.insert(&self.messages, key, &value[..]);
            let mut entry = [0; 16];
            entry[..8].copy_from_slice(&seq.to_be_bytes());
            entry[8..12].copy_from_slice(&message.conversation.to_be_bytes());
            for (side, position) in (0u32..).zip(positions) {
                let mut key = [0; 12];
                key[..4].copy_from_slice(&(2 * message.conversation + side).to_be_bytes());
                key[4..].copy_from_slice(&position.to_be_bytes());
                rows.insert(&self.logs, key, entry);
            }
        }
        rows.insert(&self.meta, "commit", [0; 36]);
        rows.commit()?;
        Ok(())
    }
}

/// The same rows in bare tokio-postgres: one transaction of multi-row statements per batch, sent one after the other, as its
/// documentation shows. The tables are as the ledger's, with
/// their keys; conversations and users are there from the beginning, by number.
struct BarePostgres {
    client: tokio_postgres::Client,
    runtime: tokio::runtime::Runtime,
    statements: [tokio_postgres::Statement; 5],
    numbers: Numbers,
}

const BARE_TABLES: &str = "DROP TABLE IF EXISTS bare_messages, bare_logs, bare_pairs, bare_conversations, bare_users;
    CREATE TABLE bare_messages (conv BIGINT NOT NULL, seq BIGINT NOT NULL, time_ms BIGINT NOT NULL, edit BIGINT NOT NULL,
        sender BIGINT NOT NULL, client_msg_id BYTEA NOT NULL, body BYTEA NOT NULL, PRIMARY KEY (conv, seq));
    CREATE UNIQUE INDEX bare_messages_idem ON bare_messages (sender, client_msg_id);
    CREATE TABLE bare_logs (user_id BIGINT NOT NULL, position BIGINT NOT NULL, conv BIGINT NOT NULL, seq BIGINT NOT NULL,
        PRIMARY KEY (user_id, position));
    CREATE TABLE bare_pairs (user_key BYTEA NOT NULL, conv_key BYTEA NOT NULL, PRIMARY KEY (user_key, conv_key));
    CREATE TABLE bare_conversations (id BIGINT PRIMARY KEY, head BIGINT NOT NULL) WITH (fillfactor = 50);
    CREATE TABLE bare_users (id BIGINT PRIMARY KEY, head BIGINT NOT NULL) WITH (fillfactor = 50);
    INSERT INTO bare_conversations SELECT n, 0 FROM generate_series(0, 99999) AS n;
    INSERT INTO bare_users SELECT n, 0 FROM generate_series(0, 199999) AS n;
    SET synchronous_commit = on";

const BARE_STATEMENTS: [&str; 5] = [
    "INSERT INTO bare_messages SELECT c, s, t, 0, f, i, b FROM unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::bigint[],
     $5::bytea[], $6::bytea[]) AS r (c, s, t, f, i, b)",
    "INSERT INTO bare_logs SELECT * FROM unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::bigint[])",
    "INSERT INTO bare_pairs SELECT * FROM unnest($1::bytea[], $2::bytea[])",
    "UPDATE bare_conversations c SET head = r.h FROM unnest($1::bigint[], $2::bigint[]) AS r (i, h) WHERE c.id = r.i",
    "UPDATE bare_users c SET head = r.h FROM unnest($1::bigint[], $2::bigint[]) AS r (i, h) WHERE c.id = r.i",
];

impl BarePostgres {
    fn open(url: &str) -> Outcome<Self> {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
        let (client, connection) = runtime.block_on(tokio_postgres::connect(url, tokio_postgres::NoTls))?;
        runtime.spawn(connection);
        runtime.block_on(client.batch_execute(BARE_TABLES))?;
        let mut statements = Vec::new();
        for sql in BARE_STATEMENTS {
            statements.push(runtime.block_on(client.prepare(sql))?);
        }
        let statements = statements.try_into().map_err(|_| "five statements")?;
        Ok(Self { client, runtime, statements, numbers: Numbers::new() })
    }
}

impl Store for BarePostgres {
    fn store(&mut self, batch: &[BareMessage]) -> Outcome<()> {
        let (mut convs, mut seqs, mut times, mut senders) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        let (mut ids, mut bodies) = (Vec::new(), Vec::new());
        let (mut users, mut positions, mut log_convs, mut log_seqs) =
            (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        let mut pairs = (Vec::new(), Vec::new());
        let (mut conv_heads, mut user_heads) =
            (std::collections::BTreeMap::new(), std::collections::BTreeMap::new());
        for message in batch {
            let (count, seq, places) = self.numbers.next(message);
            let (conv, seq) = (i64::from(message.conversation), i64::try_from(seq)?);
            convs.push(conv);
            seqs.push(seq);
            times.push(i64::try_from(count)?);
            senders.push(i64::from(message.user));
            ids.push(message_id(count).to_vec());
            if seq == 1 {
                let pair = self::conv(message.conversation);
                for side in [0, 1] {
                    pairs.0.push(user(2 * message.conversation + side).as_bytes().to_vec());
                    pairs.1.push(pair.as_bytes().to_vec());
                }
            }
            bodies.push(&message.body[..]);
            conv_heads.insert(conv, seq);
            for (side, position) in (0i64..).zip(places) {
                let (user, position) = (2 * conv + side, i64::try_from(position)?);
                users.push(user);
                positions.push(position);
                log_convs.push(conv);
                log_seqs.push(seq);
                user_heads.insert(user, position);
            }
        }
        let (conv_ids, conv_values): (Vec<i64>, Vec<i64>) = conv_heads.into_iter().unzip();
        let (user_ids, user_values): (Vec<i64>, Vec<i64>) = user_heads.into_iter().unzip();
        let Self { client, runtime, statements: [messages, logs, firsts, conversations, owners], .. } = self;
        runtime.block_on(async {
            let transaction = client.transaction().await?;
            transaction.execute(messages, &[&convs, &seqs, &times, &senders, &ids, &bodies]).await?;
            transaction.execute(logs, &[&users, &positions, &log_convs, &log_seqs]).await?;
            if !pairs.0.is_empty() {
                transaction.execute(firsts, &[&pairs.0, &pairs.1]).await?;
            }
            transaction.execute(conversations, &[&conv_ids, &conv_values]).await?;
            transaction.execute(owners, &[&user_ids, &user_values]).await?;
            transaction.commit().await
        })?;
        Ok(())
    }
}

/// What one turn of a store measured.
#[derive(Clone, Copy)]
struct Turn {
    per_s: f64,
    cpu_us: f64,
}

#[expect(clippy::cast_precision_loss, reason = "far below 2^53 messages")]
fn turn(store: &mut dyn Store, load: &mut Messages, batch: usize, duration: Duration) -> Outcome<Turn> {
    let (cpu, started) = (process_cpu(), Instant::now());
    let mut count = 0;
    while started.elapsed() < duration {
        let messages: Vec<_> = load.by_ref().take(batch).collect();
        store.store(&messages)?;
        count += messages.len();
    }
    let (elapsed, cpu) = (started.elapsed(), process_cpu().saturating_sub(cpu));
    Ok(Turn { per_s: count as f64 / elapsed.as_secs_f64(), cpu_us: cpu.as_secs_f64() * 1e6 / count as f64 })
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

/// The two stores of one engine, in turn.
fn compare(
    name: &str,
    args: &Args,
    mut through: Through,
    mut bare: Box<dyn Store>,
) -> Outcome<Box<dyn Ledger>> {
    for store in [&mut through as &mut dyn Store, &mut *bare] {
        let mut load = Messages::new(42, CONVERSATIONS);
        let mut left = args.messages;
        while left > 0 {
            let messages: Vec<_> = load.by_ref().take(left.min(1024)).collect();
            store.store(&messages)?;
            left -= messages.len();
        }
    }
    let mut loads = [Messages::new(7, CONVERSATIONS), Messages::new(7, CONVERSATIONS)];
    let mut turns = [Vec::new(), Vec::new()];
    for _ in 0..args.rounds {
        let duration = Duration::from_secs(args.seconds);
        turns[0].push(turn(&mut through, &mut loads[0], args.batch, duration)?);
        turns[1].push(turn(&mut *bare, &mut loads[1], args.batch, duration)?);
        let [ours, theirs] = [0, 1].map(|at: usize| turns[at][turns[at].len() - 1]);
        println!(
            "{name}: trait {:.0}/s, {:.1} us of this process's CPU; bare {:.0}/s, {:.1} us; ratio {:.2}",
            ours.per_s,
            ours.cpu_us,
            theirs.per_s,
            theirs.cpu_us,
            ours.per_s / theirs.per_s
        );
    }
    let ratio = median(turns[0].iter().zip(&turns[1]).map(|(ours, theirs)| ours.per_s / theirs.per_s));
    println!("{name}: median ratio {ratio:.2} (target: at least 0.6)");
    Ok(through.ledger)
}

/// The newest 50 of random conversations.
fn read_last(name: &str, ledger: &dyn Ledger) -> Outcome<()> {
    let limit = PageLimit { entries: 50, bytes: usize::MAX };
    let mut load = Messages::new(1, CONVERSATIONS);
    let mut times = Vec::new();
    let mut entries = 0;
    for _ in 0..5000 {
        // Any one of all: the load itself prefers some.
        let message = load.next().expect("endless");
        let number =
            u32::from_le_bytes([message.body[0], message.body[1], message.body[2], 0]) % CONVERSATIONS;
        let started = Instant::now();
        entries += ledger.read(&conv(number), Range::Before(u64::MAX), limit)?.len();
        times.push(started.elapsed());
    }
    times.sort_unstable();
    let us = |share: usize| times[(times.len() - 1) * share / 100].as_micros();
    println!(
        "{name}: last 50 of a random conversation of {CONVERSATIONS}: p50 {} us, p99 {} us ({entries} messages)",
        us(50),
        us(99)
    );
    Ok(())
}

fn main() -> Outcome<()> {
    let args = Args::parse()?;
    println!("{} messages first, then batches of {}", args.messages, args.batch);
    let dir = tempfile::tempdir_in(args.dir.clone().unwrap_or_else(std::env::temp_dir))?;
    let ledger = FjallLedger::open(&dir.path().join("ledger"), Options::default())?;
    let through = Through { ledger: Box::new(ledger), count: 0 };
    let bare = Box::new(BareFjall::open(&dir.path().join("bare"))?);
    let ledger = compare("fjall", &args, through, bare)?;
    read_last("fjall", &*ledger)?;
    drop(ledger);
    if let Some(url) = &args.postgres {
        let server = Postgres::new(&PostgresOptions::new(url))?;
        let through = Through { ledger: Box::new(PgLedger::open(&server)?), count: 0 };
        let bare = Box::new(BarePostgres::open(url)?);
        let ledger = compare("PostgreSQL", &args, through, bare)?;
        read_last("PostgreSQL", &*ledger)?;
    }
    Ok(())
}
