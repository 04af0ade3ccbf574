//! Batches and stores for the tests.

use std::path::Path;

use bytes::Bytes;
use nearport_chat::key::{AppId, ConvKey, UserKey};
use nearport_chat::ledger::{
    Append, Batch, CursorMove, CursorName, IdemKey, Ledger, LedgerError, PageLimit, Range,
};
use nearport_store::{FjallLedger, Options};

pub(crate) const ALL: PageLimit = PageLimit { entries: usize::MAX, bytes: usize::MAX };

/// Users of the counting load.
const USERS: u64 = 5;

pub(crate) fn user(number: u64) -> UserKey {
    UserKey::new(AppId(1), &format!("user{number}")).unwrap()
}

pub(crate) fn open(dir: &Path) -> Result<FjallLedger, LedgerError> {
    FjallLedger::open(dir, Options::default())
}

pub(crate) fn pair_message(from: u64, to: u64, id: u64, body: Bytes) -> Append {
    let (from, to) = (user(from), user(to));
    let mut client_msg_id = [0; 16];
    client_msg_id[8..].copy_from_slice(&id.to_be_bytes());
    Append {
        conv: ConvKey::pair(&from, &to),
        logs: if from == to { vec![from.clone()] } else { vec![from.clone(), to] },
        idem: IdemKey { sender: from, client_msg_id },
        time_ms: id,
        body,
        uncounted: false,
    }
}

/// Batch `number` (from 1) of the counting load: two or three messages and a cursor. The load is a function of the
/// number, so that [`check`] knows what a store with `n` commits must hold.
pub(crate) fn counting_batch(number: u64) -> Batch {
    let messages = 2 + number % 2;
    let append = |part: u64| {
        let (from, to) = ((number + part) % USERS, (number * 3 + part) % USERS);
        let body = Bytes::from(
            format!("batch {number} part {part} ").repeat(usize::try_from(number % 7 + 1).unwrap()),
        );
        pair_message(from, to, number * 10 + part, body)
    };
    let name = CursorName::Device("phone".into());
    let cursor = CursorMove { user: user(0), name, position: number, append: None };
    Batch { appends: (0..messages).map(append).collect(), cursors: vec![cursor], ..Batch::default() }
}

/// Checks that the store holds exactly the first `commits` batches of the counting load, whole and in order.
pub(crate) fn check(ledger: &dyn Ledger, commits: u64) {
    let expected = nearport_store::MemoryLedger::new();
    for number in 1..=commits {
        expected.commit(&counting_batch(number)).unwrap();
    }
    for a in 0..USERS {
        let log = ledger.read_log(&user(a), 0, ALL).unwrap();
        assert_eq!(
            log,
            expected.read_log(&user(a), 0, ALL).unwrap(),
            "log of user {a} after {commits} commits"
        );
        for b in a..USERS {
            let conv = ConvKey::pair(&user(a), &user(b));
            let page = ledger.read(&conv, Range::After(0), ALL).unwrap();
            assert_eq!(
                page,
                expected.read(&conv, Range::After(0), ALL).unwrap(),
                "{conv:?} after {commits} commits"
            );
        }
    }
    let name = CursorName::Device("phone".into());
    assert_eq!(ledger.cursor(&user(0), &name).unwrap(), (commits > 0).then_some(commits));
}

/// Commits batches `numbers` of the counting load.
pub(crate) fn write(ledger: &dyn Ledger, numbers: std::ops::RangeInclusive<u64>) {
    for number in numbers {
        let outcomes = ledger.commit(&counting_batch(number)).unwrap();
        assert!(outcomes.appended.iter().all(|outcome| !outcome.duplicate), "batch {number}");
    }
}

/// Copies a directory of plain files and directories, leaving holes as holes.
pub(crate) fn copy_dir(from: &Path, to: &Path) {
    let status = std::process::Command::new("cp").args(["-r", "--sparse=always"]).arg(from).arg(to).status();
    assert!(status.unwrap().success());
}

/// The newest journal of a store.
pub(crate) fn journal(store: &Path) -> std::path::PathBuf {
    let entries = std::fs::read_dir(store.join("db")).unwrap().map(|entry| entry.unwrap().path());
    let journals = entries.filter(|path| path.extension().is_some_and(|extension| extension == "jnl"));
    let id = |path: &std::path::PathBuf| path.file_stem().unwrap().to_str().unwrap().parse::<u64>().unwrap();
    journals.max_by_key(id).unwrap()
}

/// Bytes of a journal up to the zeros that fjall allocated in advance.
pub(crate) fn used_bytes(journal: &Path) -> u64 {
    let mut bytes = std::fs::read(journal).unwrap();
    while bytes.ends_with(&[0; 4096]) {
        bytes.truncate(bytes.len() - 4096);
    }
    bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last as u64 + 1)
}
