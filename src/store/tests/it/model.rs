//! Random operations against fjall and the ledger in memory, with fjall closed and opened in between.

use bytes::Bytes;
use nearport_chat::key::ConvKey;
use nearport_chat::ledger::{Batch, CursorMove, CursorName, Ledger, PageLimit, Range};
use nearport_store::{FjallLedger, MemoryLedger, Options};
use proptest::collection::vec;
use proptest::prelude::*;

use crate::support::{pair_message, user};

const USERS: u64 = 4;

#[derive(Debug, Clone)]
enum Op {
    /// Messages (from, to, client id, body length) and cursor moves (user, device, position).
    Commit(Vec<(u64, u64, u64, usize)>, Vec<(u64, bool, u64)>),
    Read {
        a: u64,
        b: u64,
        range: Range,
        limit: PageLimit,
    },
    ReadLog {
        user: u64,
        after: u64,
        limit: PageLimit,
    },
    Reopen,
}

fn op() -> impl Strategy<Value = Op> {
    let who = || 0..USERS;
    // Few client ids, so that many are used again.
    let message = (who(), who(), 0..40u64, 0..200usize);
    let cursor = (who(), any::<bool>(), 0..20u64);
    let limit = || (0..6usize, prop_oneof![0..500usize, Just(usize::MAX)]);
    let limit = || limit().prop_map(|(entries, bytes)| PageLimit { entries, bytes });
    let number = || prop_oneof![0..30u64, Just(u64::MAX)];
    let range = prop_oneof![number().prop_map(Range::After), number().prop_map(Range::Before)];
    prop_oneof![
        6 => (vec(message, 0..12), vec(cursor, 0..4)).prop_map(|(messages, cursors)| Op::Commit(messages, cursors)),
        3 => (who(), who(), range, limit()).prop_map(|(a, b, range, limit)| Op::Read { a, b, range, limit }),
        2 => (who(), number(), limit()).prop_map(|(user, after, limit)| Op::ReadLog { user, after, limit }),
        1 => Just(Op::Reopen),
    ]
}

fn batch(messages: &[(u64, u64, u64, usize)], cursors: &[(u64, bool, u64)]) -> Batch {
    let append =
        |&(from, to, id, len): &(u64, u64, u64, usize)| pair_message(from, to, id, Bytes::from(vec![7; len]));
    let cursor = |&(owner, device, position): &(u64, bool, u64)| CursorMove {
        user: user(owner),
        name: if device {
            CursorName::Device("phone".into())
        } else {
            CursorName::Read(ConvKey::pair(&user(0), &user(1)))
        },
        position,
    };
    Batch {
        appends: messages.iter().map(append).collect(),
        cursors: cursors.iter().map(cursor).collect(),
        ..Batch::default()
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn fjall_does_what_the_model_does(ops in vec(op(), 1..40), flush_bytes in prop_oneof![1..4_000u64, Just(1 << 26)]) {
        let dir = tempfile::tempdir().unwrap();
        let mut options = Options::default();
        options.flush_bytes = flush_bytes;
        options.owners_max = 3;
        let model = MemoryLedger::new();
        let mut ledger = FjallLedger::open(dir.path(), options.clone()).unwrap();
        for op in ops {
            match op {
                Op::Commit(messages, cursors) => {
                    let batch = batch(&messages, &cursors);
                    prop_assert_eq!(ledger.commit(&batch).unwrap(), model.commit(&batch).unwrap());
                }
                Op::Read { a, b, range, limit } => {
                    let conv = ConvKey::pair(&user(a), &user(b));
                    prop_assert_eq!(ledger.read(&conv, range, limit).unwrap(), model.read(&conv, range, limit).unwrap());
                    prop_assert_eq!(ledger.head(&conv).unwrap(), model.head(&conv).unwrap());
                }
                Op::ReadLog { user: owner, after, limit } => {
                    let owner = user(owner);
                    prop_assert_eq!(
                        ledger.read_log(&owner, after, limit).unwrap(),
                        model.read_log(&owner, after, limit).unwrap()
                    );
                    prop_assert_eq!(ledger.log_head(&owner).unwrap(), model.log_head(&owner).unwrap());
                    for name in [CursorName::Device("phone".into()), CursorName::Read(ConvKey::pair(&user(0), &user(1)))] {
                        prop_assert_eq!(ledger.cursor(&owner, &name).unwrap(), model.cursor(&owner, &name).unwrap());
                    }
                }
                Op::Reopen => {
                    drop(ledger);
                    ledger = FjallLedger::open(dir.path(), options.clone()).unwrap();
                }
            }
        }
    }
}
