//! Server D: the node as `nearport serve` assembles it, with one App and its accounts in a fresh directory. Only the
//! operations port is missing, and its one regular duty is done here.

use std::path::Path;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, Result};
use nearport_api::Recorder;
use nearport_chat::directory::{Accounts as _, App, AppKey};
use nearport_chat::key::AppId;
use nearport_chat::usersig::sign_v2;
use nearport_chat::{Chat, Config};
use nearport_store::{FjallLedger, Options, SqliteDirectory};

use crate::nearport::start_edge;
use crate::plan::WAITING;
use crate::process;

/// The App of all accounts.
pub(crate) const APP: u32 = 1;

/// What its UserSigs are signed with. The server lives for seconds, on loopback.
const SECRET: &str = "6e6561727020727420626e63682061707020736563726574206f6e6c7920686572";

/// How long a UserSig is good: longer than any run.
const USERSIG_LIFE_S: u64 = 86_400;

/// Histogram samples are moved out of their buffers this often, as the operations server does it.
const UPKEEP: Duration = Duration::from_secs(5);

/// The name of account `index`.
pub(crate) fn user(index: usize) -> String {
    format!("user{index}")
}

/// A UserSig of account `index`.
pub(crate) fn usersig(index: usize) -> String {
    sign_v2(SECRET, APP, &user(index), now_ms() / 1000, USERSIG_LIFE_S, None)
}

/// Is the server, on an empty directory.
pub(crate) fn serve(dir: &Path) -> Result<()> {
    // First, because handles of metrics that are made earlier count into nothing.
    let recorder = Recorder::install()?;
    let directory = SqliteDirectory::open(&dir.join("directory.db"))?;
    directory.create_app(&App {
        id: AppId(APP),
        name: "bench".to_owned(),
        keys: vec![AppKey::hmac("first", SECRET, now_ms())],
        proved_from_s: 0,
        admins: Vec::new(),
        disabled: false,
        created_ms: now_ms(),
    })?;
    let ledger = FjallLedger::open(&dir.join("ledger"), Options::default())?;
    let chat = Chat::start(Arc::new(ledger), Arc::new(directory), Arc::new(now_ms), Config::default())?;
    let users: Vec<_> = (0..WAITING).map(user).collect();
    let users: Vec<_> = users.iter().map(String::as_str).collect();
    chat.register(AppId(APP), &users).context("cannot register the accounts")?;
    let (edge, certificate) = start_edge(&chat, false)?;
    process::announce(edge.local_addr(), &certificate)?;
    // The bench kills the process, or it ends when the bench closes our stdin.
    loop {
        thread::park_timeout(UPKEEP);
        recorder.run_upkeep();
    }
}

fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
