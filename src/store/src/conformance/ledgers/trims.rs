//! Removing what is too old.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use nearport_chat::key::ConvKey;
use nearport_chat::ledger::{
    Append, Batch, Edit, Heads, Hide, Ledger, Range, Receipt, Span, TrimBudget, TrimPlace, Trimmed,
};

use super::amendments::{change, group_message};
use super::{ALL, commit, pair_message, read, seqs, user};

pub(super) fn all(make: &impl Fn() -> Box<dyn Ledger>) {
    what_is_old_goes_and_the_heads_stay(&*make());
    counts_go_on_behind_what_is_gone(&*make());
    steps_are_bounded_and_come_to_the_end(&*make());
    each_conversation_has_its_own_retention(&*make());
    what_belonged_to_a_message_goes_with_it(&*make());
    a_log_leaves_out_what_is_gone(&*make());
    a_trim_runs_beside_commits(&*make());
}

pub(super) const WHOLE: TrimBudget = TrimBudget { rows: usize::MAX, time: Duration::from_secs(3600) };

/// Trims to the end; returns what was done and in how many steps.
pub(super) fn trim(
    ledger: &dyn Ledger,
    retention: &dyn Fn(&ConvKey) -> u64,
    budget: TrimBudget,
) -> (Trimmed, usize) {
    let (mut all, mut steps) = (Trimmed::default(), 0);
    let mut place = TrimPlace::default();
    loop {
        let step = ledger.trim(retention, &place, budget).expect("trims");
        steps += 1;
        assert!(steps < 10_000, "a trim that does not end");
        all.messages += step.messages;
        all.log_entries += step.log_entries;
        match step.next {
            Some(next) => place = next,
            None => return (all, steps),
        }
    }
}

fn done(messages: u64, log_entries: u64) -> Trimmed {
    Trimmed { next: None, messages, log_entries }
}

fn pair() -> ConvKey {
    ConvKey::pair(&user("alice"), &user("bob"))
}

/// Messages 1 to `last` of the pair, at 1,001 ms and so on.
fn write(ledger: &dyn Ledger, last: u32) {
    commit(ledger, (1..=last).map(|id| pair_message("alice", "bob", id, "text")).collect());
}

fn what_is_old_goes_and_the_heads_stay(ledger: &dyn Ledger) {
    write(ledger, 5);
    assert_eq!(trim(ledger, &|_| 0, WHOLE).0, done(0, 0), "nothing is to go");
    assert_eq!(trim(ledger, &|_| 1_001, WHOLE).0, done(0, 0), "nothing is old enough");
    assert_eq!(trim(ledger, &|_| 1_003, WHOLE).0, done(2, 4));
    assert_eq!(seqs(ledger, &pair(), Range::After(0), 9), [3, 4, 5]);
    assert_eq!(seqs(ledger, &pair(), Range::Before(u64::MAX), 9), [5, 4, 3]);
    assert_eq!(seqs(ledger, &pair(), Range::Before(3), 9), [0u64; 0]);
    assert_eq!(ledger.entry(&pair(), 2).expect("reads"), None);
    assert_eq!(ledger.seq_at(&pair(), 0).expect("reads"), 3);
    let heads = |ledger: &dyn Ledger| ledger.heads(&[pair()]).expect("reads")[0];
    assert_eq!(heads(ledger), Heads { seq: 5, edit: 0, time_ms: 1_005, floor: 2 });
    let positions = |ledger: &dyn Ledger| -> Vec<_> {
        ledger.read_log(&user("bob"), 0, ALL).expect("reads").iter().map(|item| item.position).collect()
    };
    assert_eq!(positions(ledger), [3, 4, 5]);

    assert_eq!(trim(ledger, &|_| u64::MAX, WHOLE).0, done(3, 6));
    assert_eq!(read(ledger, &pair(), Range::After(0), ALL), []);
    assert_eq!(heads(ledger), Heads { seq: 5, edit: 0, time_ms: 1_005, floor: 5 });
    assert_eq!(ledger.head(&pair()).expect("reads"), 5);
    assert_eq!(ledger.log_head(&user("bob")).expect("reads"), 5);
    assert_eq!(ledger.seq_at(&pair(), 0).expect("reads"), 6);
    assert_eq!(positions(ledger), [0u64; 0]);
    assert_eq!(ledger.conversations(&user("bob"), None, 9).expect("reads"), [pair()]);
    assert_eq!(trim(ledger, &|_| u64::MAX, WHOLE).0, done(0, 0));

    // The key went with its message, so it makes a new one; numbers go on.
    let again = commit(ledger, vec![pair_message("alice", "bob", 2, "sent again")]);
    assert_eq!((again[0].seq, again[0].duplicate, &again[0].positions[..]), (6, false, &[6, 6][..]));
    assert_eq!(seqs(ledger, &pair(), Range::After(0), 9), [6]);
    assert_eq!(positions(ledger), [6]);
}

fn steps_are_bounded_and_come_to_the_end(ledger: &dyn Ledger) {
    for id in 1..=20 {
        let peers = ["bob", "carol", "dave"];
        commit(ledger, peers.iter().map(|peer| pair_message(peer, "alice", id, "text")).collect());
    }
    let (all, steps) = trim(ledger, &|_| 1_016, TrimBudget { rows: 4, time: Duration::from_secs(3600) });
    assert_eq!(all, done(45, 90));
    assert!(steps >= 20, "{steps} steps of about four rows");
    for peer in ["bob", "carol", "dave"] {
        let conv = ConvKey::pair(&user(peer), &user("alice"));
        assert_eq!(seqs(ledger, &conv, Range::After(0), 9), [16, 17, 18, 19, 20], "{peer}");
    }
    // However little time there is, every step comes further.
    let hurry = TrimBudget { rows: 0, time: Duration::ZERO };
    assert_eq!(trim(ledger, &|_| u64::MAX, hurry).0, done(15, 30));
    assert_eq!(ledger.log_head(&user("alice")).expect("reads"), 60);
}

fn counts_go_on_behind_what_is_gone(ledger: &dyn Ledger) {
    let message = |id: u32| Append { uncounted: !id.is_multiple_of(3), ..group_message("alice", id, "text") };
    let group = message(1).conv;
    let count = |first, last| {
        let span = Span { conv: group.clone(), first, last, own: false };
        ledger.uncounted(&user("bob"), &[span]).expect("reads")[0]
    };
    commit(ledger, (1..=6).map(message).collect());
    assert_eq!((count(0, u64::MAX), count(4, 6)), (4, 2));
    let take_back = |seqs: &[u64]| {
        let edit = |seq: &u64| Edit { uncounted: true, ..change(&group, *seq, "", &[]) };
        let edits = seqs.iter().map(edit).collect();
        ledger.commit(&Batch { edits, ..Batch::default() }).expect("commits");
    };
    take_back(&[2, 3]);
    assert_eq!((count(0, u64::MAX), count(3, 3)), (5, 1));
    assert_eq!(trim(ledger, &|_| 1_004, WHOLE).0.messages, 3);
    assert_eq!((count(0, u64::MAX), count(1, 4), count(4, 6)), (2, 1, 2));
    commit(ledger, (7..=8).map(message).collect());
    take_back(&[6]);
    assert_eq!((count(0, u64::MAX), count(5, 7)), (5, 3));
    // Nothing is left that says how many there were.
    trim(ledger, &|_| u64::MAX, WHOLE);
    assert_eq!(count(0, u64::MAX), 0);
    commit(ledger, (9..=11).map(message).collect());
    assert_eq!((count(0, u64::MAX), count(10, 10), count(9, 9)), (2, 1, 0));
}

fn each_conversation_has_its_own_retention(ledger: &dyn Ledger) {
    write(ledger, 4);
    commit(ledger, (1..=4).map(|id| group_message("carol", id, "text")).collect());
    let retention = |conv: &ConvKey| if conv.is_group() { 1_004 } else { 1_002 };
    assert_eq!(trim(ledger, &retention, WHOLE).0, done(4, 2));
    let group = group_message("carol", 1, "").conv;
    assert_eq!(seqs(ledger, &group, Range::After(0), 9), [4]);
    assert_eq!(seqs(ledger, &pair(), Range::After(0), 9), [2, 3, 4]);
}

fn what_belonged_to_a_message_goes_with_it(ledger: &dyn Ledger) {
    commit(ledger, (1..=4).map(|id| group_message("alice", id, "text")).collect());
    let group = group_message("alice", 1, "").conv;
    let amend = |seqs: &[u64]| Batch {
        edits: seqs.iter().map(|seq| change(&group, *seq, "changed", &[])).collect(),
        hides: seqs.iter().map(|seq| Hide { user: user("carol"), conv: group.clone(), seq: *seq }).collect(),
        receipts: seqs
            .iter()
            .flat_map(|seq| ["bob", "carol"].map(|name| (seq, name)))
            .map(|(seq, name)| Receipt { user: user(name), conv: group.clone(), seq: *seq })
            .collect(),
        ..Batch::default()
    };
    ledger.commit(&amend(&[4, 2, 1])).expect("commits");
    let state = || {
        let edits = ledger.edits(&group, 0, 9).expect("reads");
        let hidden = ledger.hidden(&user("carol"), &group, 0, u64::MAX).expect("reads");
        let counts = [1, 2, 3, 4].map(|seq| ledger.receipt_count(&group, seq).expect("reads"));
        (edits, hidden, counts)
    };
    assert_eq!(state(), (vec![(1, 4), (2, 2), (3, 1)], vec![1, 2, 4], [2, 2, 0, 2]));
    assert_eq!(trim(ledger, &|_| 1_003, WHOLE).0, done(2, 0));
    assert_eq!(state(), (vec![(1, 4)], vec![4], [0, 0, 0, 2]));
    assert_eq!(ledger.receipts(&group, 2, None, 9).expect("reads"), []);
    assert_eq!(
        ledger.heads(std::slice::from_ref(&group)).expect("reads")[0],
        Heads { seq: 4, edit: 3, time_ms: 1_004, floor: 2 }
    );
    // What is gone cannot be amended, and numbers of changes go on.
    let edited = ledger.commit(&amend(&[2, 3])).expect("commits").edited;
    assert_eq!(
        edited.iter().map(|edit| edit.as_ref().map(|edit| edit.edit)).collect::<Vec<_>>(),
        [None, Some(4)]
    );
    assert_eq!(state(), (vec![(1, 4), (4, 3)], vec![3, 4], [0, 0, 2, 2]));
    trim(ledger, &|_| u64::MAX, WHOLE);
    assert_eq!(state(), (vec![], vec![], [0; 4]));
    assert_eq!(ledger.edit_head(&group).expect("reads"), 4);
}

fn a_log_leaves_out_what_is_gone(ledger: &dyn Ledger) {
    write(ledger, 3);
    let edits = vec![change(&pair(), 1, "changed", &["alice", "bob"])];
    ledger.commit(&Batch { edits, ..Batch::default() }).expect("commits");
    commit(ledger, vec![pair_message("alice", "bob", 9, "the last")]);
    // Position 4 points at message 1, which goes; 2 and 3 stay in front of it.
    assert_eq!(trim(ledger, &|_| 1_002, WHOLE).0, done(1, 2));
    let log = ledger.read_log(&user("bob"), 0, ALL).expect("reads");
    assert_eq!(
        log.iter().map(|item| (item.position, item.entry.seq)).collect::<Vec<_>>(),
        [(2, 2), (3, 3), (5, 4)]
    );
    assert_eq!(trim(ledger, &|_| 1_004, WHOLE).0, done(2, 6), "position 4 too now");
    assert_eq!(ledger.read_log(&user("bob"), 0, ALL).expect("reads").len(), 1);
    assert_eq!(ledger.log_head(&user("bob")).expect("reads"), 5);
}

fn a_trim_runs_beside_commits(ledger: &dyn Ledger) {
    const COMMITS: u32 = 60;
    let over = AtomicBool::new(false);
    let (trimmed, committed) = std::thread::scope(|scope| {
        let trimmer = scope.spawn(|| {
            let mut messages = 0;
            let mut place = TrimPlace::default();
            // The last pass begins when everything is written.
            let mut last = false;
            loop {
                let budget = TrimBudget { rows: 10, time: Duration::from_secs(1) };
                let step = ledger.trim(&|_| 1_000 + u64::from(COMMITS), &place, budget).expect("trims");
                messages += step.messages;
                place = step.next.unwrap_or_default();
                if place == TrimPlace::default() {
                    if last {
                        return messages;
                    }
                    last = over.load(Ordering::Acquire);
                }
            }
        });
        scope.spawn(|| {
            while !over.load(Ordering::Acquire) {
                let entries = read(ledger, &pair(), Range::After(0), ALL);
                assert!(entries.windows(2).all(|two| two[1].seq == two[0].seq + 1), "a hole in {entries:?}");
                ledger.read_log(&user("bob"), 0, ALL).expect("a log entry has its message or leaves it out");
            }
        });
        for id in 1..=COMMITS {
            let seq = commit(ledger, vec![pair_message("alice", "bob", id, "text")])[0].seq;
            assert_eq!(seq, u64::from(id));
            let batch = Batch {
                edits: vec![change(&pair(), seq.saturating_sub(3), "changed", &["alice", "bob"])],
                receipts: vec![Receipt { user: user("bob"), conv: pair(), seq: seq.saturating_sub(2) }],
                hides: vec![Hide { user: user("bob"), conv: pair(), seq: seq.saturating_sub(1) }],
                ..Batch::default()
            };
            ledger.commit(&batch).expect("commits");
        }
        over.store(true, Ordering::Release);
        (trimmer.join().expect("trims"), u64::from(COMMITS))
    });
    assert_eq!(trimmed, committed - 1, "all but the last, which is too new");
    // Nothing is left of what was amended while it went.
    let kept = ledger.heads(&[pair()]).expect("reads")[0].floor + 1;
    assert!(ledger.edits(&pair(), 0, 99).expect("reads").iter().all(|(_, seq)| *seq >= kept));
    assert!(ledger.hidden(&user("bob"), &pair(), 0, kept - 1).expect("reads").is_empty());
    for seq in 1..kept {
        assert_eq!(ledger.receipt_count(&pair(), seq).expect("reads"), 0, "of message {seq}");
        assert_eq!(ledger.receipts(&pair(), seq, None, 9).expect("reads"), []);
    }
}
