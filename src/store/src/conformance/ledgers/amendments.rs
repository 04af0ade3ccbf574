//! Changes, hides and receipts.

use bytes::Bytes;
use nearport_chat::key::{AppId, ConvKey, UserKey};
use nearport_chat::ledger::{
    Append, Batch, CursorMove, CursorName, Deleted, Edit, Edited, Heads, Hide, Ledger, PageLimit, Range,
    Receipt,
};

use super::{ALL, commit, pair_message, read, user};

pub(super) fn all(make: &impl Fn() -> Box<dyn Ledger>) {
    a_change_takes_the_place_of_the_message(&*make());
    a_change_is_told_in_user_logs(&*make());
    the_change_log_names_each_message_once(&*make());
    what_is_not_there_cannot_be_changed(&*make());
    hidden_messages_are_one_users(&*make());
    receipts_count_each_reader_once(&*make());
    everything_at_once(&*make());
}

fn pair() -> ConvKey {
    ConvKey::pair(&user("alice"), &user("bob"))
}

fn group() -> ConvKey {
    ConvKey::group(AppId(1), "a-group-whose-id-has-all-of-48-bytes-----------.").expect("a good id")
}

pub(super) fn group_message(from: &str, id: u32, body: &str) -> Append {
    Append { conv: group(), logs: Vec::new(), ..pair_message(from, from, id, body) }
}

pub(super) fn change(conv: &ConvKey, seq: u64, body: &str, logs: &[&str]) -> Edit {
    let logs = logs.iter().map(|name| user(name)).collect();
    Edit { conv: conv.clone(), seq, body: Bytes::copy_from_slice(body.as_bytes()), logs, uncounted: false }
}

fn edit(ledger: &dyn Ledger, edits: Vec<Edit>) -> Vec<Option<Edited>> {
    ledger.commit(&Batch { edits, ..Batch::default() }).expect("commits").edited
}

fn edited(edit: u64, positions: &[u64]) -> Option<Edited> {
    Some(Edited { edit, positions: positions.to_vec() })
}

/// Sequence number, number of the last change and body of everything in a conversation.
fn content(ledger: &dyn Ledger, conv: &ConvKey) -> Vec<(u64, u64, String)> {
    let text = |body: &[u8]| String::from_utf8(body.to_vec()).expect("text");
    let entries = read(ledger, conv, Range::After(0), ALL).into_iter();
    entries.map(|entry| (entry.seq, entry.edit, text(&entry.body))).collect()
}

fn a_change_takes_the_place_of_the_message(ledger: &dyn Ledger) {
    commit(ledger, (1..=3).map(|id| group_message("alice", id, "as sent")).collect());
    assert_eq!(edit(ledger, vec![change(&group(), 2, "changed", &[])]), [edited(1, &[])]);
    let want =
        [(1, 0, "as sent"), (2, 1, "changed"), (3, 0, "as sent")].map(|(s, e, b)| (s, e, b.to_owned()));
    assert_eq!(content(ledger, &group()), want);
    let entry = ledger.entry(&group(), 2).expect("reads").expect("is there");
    assert_eq!((entry.edit, entry.time_ms), (1, 1_002), "its time stays");
    let ends = Heads { seq: 3, edit: 1, time_ms: 1_003, floor: 0 };
    assert_eq!(ledger.heads(&[group()]).expect("reads"), [ends]);
    assert!(commit(ledger, vec![group_message("alice", 2, "sent again")])[0].duplicate);
    assert_eq!(commit(ledger, vec![group_message("alice", 4, "the next")])[0].seq, 4);
    assert_eq!(edit(ledger, vec![change(&group(), 2, "", &[])]), [edited(2, &[])], "nothing left of it");
    assert_eq!(content(ledger, &group())[1], (2, 2, String::new()));
    let page = read(ledger, &group(), Range::Before(3), PageLimit { entries: 1, ..ALL });
    assert_eq!((page[0].seq, page[0].edit), (2, 2));
}

fn a_change_is_told_in_user_logs(ledger: &dyn Ledger) {
    commit(ledger, vec![pair_message("alice", "bob", 1, "one"), pair_message("bob", "alice", 2, "two")]);
    let changes = vec![change(&pair(), 1, "one, changed", &["alice", "bob"])];
    assert_eq!(edit(ledger, changes), [edited(1, &[3, 3])]);
    commit(ledger, vec![pair_message("alice", "bob", 3, "three")]);
    let log = ledger.read_log(&user("bob"), 0, ALL).expect("reads");
    let seen: Vec<_> = log
        .iter()
        .map(|item| (item.position, item.entry.seq, item.entry.edit, &item.entry.body[..]))
        .collect();
    // Who reads late finds the message as it is now, at both places.
    let now = &b"one, changed"[..];
    assert_eq!(seen, [(1, 1, 1, now), (2, 2, 0, b"two"), (3, 1, 1, now), (4, 3, 0, b"three")]);
}

fn the_change_log_names_each_message_once(ledger: &dyn Ledger) {
    commit(ledger, (1..=4).map(|id| group_message("alice", id, "as sent")).collect());
    edit(ledger, vec![change(&group(), 4, "a", &[]), change(&group(), 1, "b", &[])]);
    let last = edit(ledger, vec![change(&group(), 2, "c", &[]), change(&group(), 4, "d", &[])]);
    assert_eq!(last, [edited(3, &[]), edited(4, &[])]);
    let log = |after, limit| ledger.edits(&group(), after, limit).expect("reads");
    assert_eq!(log(0, 10), [(2, 1), (3, 2), (4, 4)]);
    assert_eq!(log(2, 10), [(3, 2), (4, 4)]);
    assert_eq!(log(0, 0), [(2, 1)]);
    assert_eq!(log(0, 2), [(2, 1), (3, 2)]);
    assert_eq!(log(4, 10), []);
    assert_eq!(log(u64::MAX, 10), []);
    // One message twice in one batch, and its number of before.
    let twice = vec![change(&group(), 4, "e", &[]), change(&group(), 4, "f", &[])];
    assert_eq!(edit(ledger, twice), [edited(5, &[]), edited(6, &[])]);
    assert_eq!(log(0, 10), [(2, 1), (3, 2), (6, 4)]);
    assert_eq!(ledger.edit_head(&group()).expect("reads"), 6);
    assert_eq!(content(ledger, &group())[3], (4, 6, "f".to_owned()));
}

fn what_is_not_there_cannot_be_changed(ledger: &dyn Ledger) {
    commit(ledger, vec![pair_message("alice", "bob", 1, "one")]);
    let changes = vec![
        change(&pair(), 0, "x", &["alice"]),
        change(&pair(), 2, "x", &["alice"]),
        change(&group(), 1, "x", &["alice"]),
        change(&pair(), 1, "y", &["alice"]),
    ];
    assert_eq!(edit(ledger, changes), [None, None, None, edited(1, &[2])]);
    let nothing = Batch {
        hides: vec![Hide { user: user("alice"), conv: pair(), seq: 2 }],
        receipts: vec![
            Receipt { user: user("bob"), conv: pair(), seq: 2 },
            Receipt { user: user("bob"), conv: group(), seq: 1 },
        ],
        ..Batch::default()
    };
    ledger.commit(&nothing).expect("commits");
    assert_eq!(ledger.hidden(&user("alice"), &pair(), 0, 9).expect("reads"), [0u64; 0]);
    assert_eq!(ledger.receipt_count(&pair(), 2).expect("reads"), 0);
    assert_eq!(ledger.head(&group()).expect("reads"), 0);
    // Nor can what comes with the same batch: who asks has not heard of it yet.
    let early = Batch {
        appends: vec![pair_message("alice", "bob", 2, "two")],
        edits: vec![change(&pair(), 2, "x", &["alice"])],
        hides: nothing.hides.clone(),
        receipts: nothing.receipts.clone(),
        ..Batch::default()
    };
    assert_eq!(ledger.commit(&early).expect("commits").edited, [None]);
    assert_eq!(content(ledger, &pair())[1], (2, 0, "two".to_owned()));
    assert_eq!(ledger.hidden(&user("alice"), &pair(), 0, 9).expect("reads"), [0u64; 0]);
    assert_eq!(ledger.receipt_count(&pair(), 2).expect("reads"), 0);
}

fn hidden_messages_are_one_users(ledger: &dyn Ledger) {
    commit(ledger, (1..=6).map(|id| group_message("alice", id, "text")).collect());
    let hide = |name: &str, seq| Hide { user: user(name), conv: group(), seq };
    let hides = vec![hide("carol", 5), hide("carol", 2), hide("carol", 5), hide("alice", 3)];
    for _ in 0..2 {
        ledger.commit(&Batch { hides: hides.clone(), ..Batch::default() }).expect("commits");
    }
    let hidden = |name: &str, first, last| ledger.hidden(&user(name), &group(), first, last).expect("reads");
    assert_eq!(hidden("carol", 0, u64::MAX), [2, 5]);
    assert_eq!(hidden("carol", 2, 4), [2]);
    assert_eq!(hidden("carol", 5, 5), [5]);
    assert_eq!(hidden("carol", 6, 1), [0u64; 0]);
    assert_eq!(hidden("alice", 1, 6), [3]);
    assert_eq!(hidden("bob", 1, 6), [0u64; 0]);
    assert_eq!(ledger.hidden(&user("carol"), &pair(), 0, u64::MAX).expect("reads"), [0u64; 0]);
    let name = CursorName::Cleared(group());
    let cleared = CursorMove { user: user("carol"), name, position: 1, append: None };
    ledger.commit(&Batch { cursors: vec![cleared], ..Batch::default() }).expect("commits");
    let deleted = |cleared, hidden: &[u64]| Deleted { cleared, hidden: hidden.to_vec() };
    let ranges = [(group(), 2, 4), (pair(), 0, 9), (group(), 3, u64::MAX), (group(), 9, 2)];
    let of = |name: &str| ledger.deleted(&user(name), &ranges).expect("reads");
    assert_eq!(of("carol"), [deleted(1, &[2]), deleted(0, &[]), deleted(1, &[5]), deleted(1, &[])]);
    assert_eq!(of("alice"), [deleted(0, &[3]), deleted(0, &[]), deleted(0, &[3]), deleted(0, &[])]);
    assert_eq!(of("nobody"), vec![Deleted::default(); 4]);
    assert_eq!(ledger.deleted(&user("carol"), &[]).expect("reads"), []);
    assert_eq!(content(ledger, &group()).len(), 6, "the others see them");
}

fn receipts_count_each_reader_once(ledger: &dyn Ledger) {
    commit(ledger, (1..=3).map(|id| group_message("alice", id, "text")).collect());
    let receipt = |name: &str, seq| Receipt { user: user(name), conv: group(), seq };
    let readers = ["dave", "bob", "carol", "bob", "bo"];
    let receipts: Vec<_> =
        readers.iter().map(|name| receipt(name, 2)).chain([receipt("bob", 3), receipt("alice", 2)]).collect();
    for _ in 0..2 {
        ledger.commit(&Batch { receipts: receipts.clone(), ..Batch::default() }).expect("commits");
    }
    let count = |seq| ledger.receipt_count(&group(), seq).expect("reads");
    assert_eq!([count(1), count(2), count(3), count(4)], [0, 5, 1, 0]);
    let page = |seq, after: Option<&UserKey>, limit| {
        let users = ledger.receipts(&group(), seq, after, limit).expect("reads");
        users.iter().map(|user| user.name().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(page(2, None, 9), ["alice", "bo", "bob", "carol", "dave"]);
    assert_eq!(page(2, None, 0), ["alice"]);
    assert_eq!(page(2, Some(&user("bo")), 2), ["bob", "carol"]);
    assert_eq!(page(2, Some(&user("boa")), 1), ["bob"], "also behind one who has not read it");
    assert_eq!(page(2, Some(&user("dave")), 9), [""; 0]);
    assert_eq!(page(3, None, 9), ["bob"]);
    assert_eq!(page(1, None, 9), [""; 0]);
}

fn everything_at_once(ledger: &dyn Ledger) {
    commit(ledger, vec![pair_message("alice", "bob", 1, "one"), group_message("alice", 7, "hello")]);
    let batch = Batch {
        appends: vec![pair_message("bob", "alice", 2, "two"), pair_message("alice", "bob", 1, "again")],
        edits: vec![change(&pair(), 1, "one, changed", &["alice", "bob"])],
        hides: vec![Hide { user: user("bob"), conv: pair(), seq: 1 }],
        receipts: vec![Receipt { user: user("bob"), conv: group(), seq: 1 }],
        ..Batch::default()
    };
    assert_eq!(batch.items(), 5);
    let done = ledger.commit(&batch).expect("commits");
    assert_eq!((done.appended[0].seq, &done.appended[0].positions[..]), (2, &[2, 2][..]));
    assert!(done.appended[1].duplicate);
    assert_eq!(done.edited, [edited(1, &[3, 3])], "positions follow those of the messages");
    assert_eq!(ledger.hidden(&user("bob"), &pair(), 0, 9).expect("reads"), [1]);
    assert_eq!(ledger.receipt_count(&group(), 1).expect("reads"), 1);
}
