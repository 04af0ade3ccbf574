//! The suite of the trait `Ledger`.

mod amendments;
mod outbox;
mod trims;
mod walks;

use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use nearport_chat::key::{AppId, ConvKey, UserKey};
use nearport_chat::ledger::{
    Append, Appended, Batch, CursorMove, CursorName, Edit, Entry, Heads, IdemKey, Ledger, PageLimit, Range,
    Span,
};

pub(super) use walks::walk;

const ALL: PageLimit = PageLimit { entries: usize::MAX, bytes: usize::MAX };

/// Runs every check of the trait `Ledger`.
///
/// # Panics
/// When the engine breaks a guarantee.
pub fn ledger(make: impl Fn() -> Box<dyn Ledger>) {
    unknown_names_are_empty(&*make());
    numbers_start_at_one_without_holes(&*make());
    a_group_message_has_no_log_entry(&*make());
    a_known_key_returns_the_first_message(&*make());
    a_key_twice_in_one_batch_is_one_message(&*make());
    a_key_belongs_to_its_sender(&*make());
    single_messages_and_ends(&*make());
    pairs_are_listed_from_their_first_message_on(&*make());
    pages_go_both_ways(&*make());
    a_page_holds_one_entry_whatever_its_size(&*make());
    logs_return_their_messages(&*make());
    cursors_only_move_forward(&*make());
    a_reset_sets_a_cursor_where_it_says(&*make());
    a_cursor_moves_with_a_message_but_not_with_its_repeat(&*make());
    similar_names_stay_apart(&*make());
    what_counts_for_nobody_is_counted(&*make());
    several_cursors_come_in_the_order_asked(&*make());
    nothing_to_write_is_fine(&*make());
    readers_see_whole_commits_in_order(&*make());
    amendments::all(&make);
    outbox::all(&make);
    trims::all(&make);
    walks::all(&make);
}

fn user(name: &str) -> UserKey {
    UserKey::new(AppId(1), name).expect("a good name")
}

/// A message of the pair `from`, `to`; `id` becomes the client's message id.
fn pair_message(from: &str, to: &str, id: u32, body: &str) -> Append {
    let (from, to) = (user(from), user(to));
    let mut client_msg_id = [0; 16];
    client_msg_id[..4].copy_from_slice(&id.to_be_bytes());
    Append {
        conv: ConvKey::pair(&from, &to),
        logs: if from == to { vec![from.clone()] } else { vec![from.clone(), to] },
        idem: IdemKey { sender: from, client_msg_id },
        time_ms: 1_000 + u64::from(id),
        body: Bytes::copy_from_slice(body.as_bytes()),
        uncounted: false,
    }
}

fn commit(ledger: &dyn Ledger, appends: Vec<Append>) -> Vec<Appended> {
    ledger.commit(&Batch { appends, ..Batch::default() }).expect("commits").appended
}

fn read(ledger: &dyn Ledger, conv: &ConvKey, range: Range, limit: PageLimit) -> Vec<Entry> {
    ledger.read(conv, range, limit).expect("reads")
}

fn seqs(ledger: &dyn Ledger, conv: &ConvKey, range: Range, entries: usize) -> Vec<u64> {
    read(ledger, conv, range, PageLimit { entries, ..ALL }).iter().map(|entry| entry.seq).collect()
}

fn unknown_names_are_empty(ledger: &dyn Ledger) {
    let conv = ConvKey::pair(&user("alice"), &user("bob"));
    assert_eq!(ledger.head(&conv).expect("reads"), 0);
    assert_eq!(ledger.log_head(&user("alice")).expect("reads"), 0);
    assert_eq!(read(ledger, &conv, Range::After(0), ALL), []);
    assert_eq!(read(ledger, &conv, Range::Before(u64::MAX), ALL), []);
    assert_eq!(ledger.read_log(&user("alice"), 0, ALL).expect("reads"), []);
    assert_eq!(ledger.cursor(&user("alice"), &CursorName::Read(conv.clone())).expect("reads"), None);
    assert_eq!(ledger.entry(&conv, 1).expect("reads"), None);
    assert_eq!(ledger.heads(std::slice::from_ref(&conv)).expect("reads"), [Heads::default()]);
    assert_eq!(ledger.seq_at(&conv, 0).expect("reads"), 1);
    assert_eq!(ledger.edits(&conv, 0, 10).expect("reads"), []);
    assert_eq!(ledger.edit_head(&conv).expect("reads"), 0);
    assert_eq!(ledger.hidden(&user("alice"), &conv, 0, u64::MAX).expect("reads"), [0u64; 0]);
    assert_eq!(ledger.receipts(&conv, 1, None, 10).expect("reads"), []);
    assert_eq!(ledger.receipt_count(&conv, 1).expect("reads"), 0);
    assert_eq!(ledger.conversations(&user("alice"), None, 10).expect("reads"), []);
    assert_eq!(ledger.cursors(&user("alice"), &[]).expect("reads"), []);
    let span = Span { conv, first: 0, last: u64::MAX, own: true };
    assert_eq!(ledger.uncounted(&user("alice"), &[span]).expect("reads"), [0]);
    assert_eq!(ledger.uncounted(&user("alice"), &[]).expect("reads"), [0u64; 0]);
    ledger.writable().expect("takes writes");
}

fn numbers_start_at_one_without_holes(ledger: &dyn Ledger) {
    let first =
        commit(ledger, vec![pair_message("alice", "bob", 1, "1"), pair_message("bob", "alice", 2, "2")]);
    let rest =
        commit(ledger, vec![pair_message("alice", "carol", 3, "3"), pair_message("alice", "bob", 4, "4")]);
    let numbers = |outcomes: &[Appended]| -> Vec<_> {
        outcomes.iter().map(|outcome| (outcome.seq, outcome.positions.clone(), outcome.duplicate)).collect()
    };
    // Positions stand in the order of the logs given: sender, then recipient.
    assert_eq!(numbers(&first), [(1, vec![1, 1], false), (2, vec![2, 2], false)]);
    assert_eq!(numbers(&rest), [(1, vec![3, 1], false), (3, vec![4, 3], false)]);
    assert_eq!(first[0].time_ms, 1_001);
    assert_eq!(ledger.head(&ConvKey::pair(&user("bob"), &user("alice"))).expect("reads"), 3);
    assert_eq!(ledger.log_head(&user("alice")).expect("reads"), 4);
    assert_eq!(ledger.log_head(&user("carol")).expect("reads"), 1);
}

fn a_group_message_has_no_log_entry(ledger: &dyn Ledger) {
    let conv = ConvKey::group(AppId(1), "@TGS#1").expect("a good id");
    let message =
        Append { conv: conv.clone(), logs: Vec::new(), ..pair_message("alice", "bob", 1, "to the group") };
    assert_eq!(commit(ledger, vec![message])[0].positions, [0u64; 0]);
    assert_eq!(ledger.head(&conv).expect("reads"), 1);
    assert_eq!(ledger.log_head(&user("alice")).expect("reads"), 0);
    let note = commit(ledger, vec![pair_message("alice", "alice", 2, "a note to oneself")]);
    assert_eq!(note[0].positions, [1]);
}

fn a_known_key_returns_the_first_message(ledger: &dyn Ledger) {
    commit(ledger, vec![pair_message("alice", "bob", 1, "one"), pair_message("alice", "bob", 2, "two")]);
    let again = Append { time_ms: 9_999, ..pair_message("alice", "bob", 2, "changed") };
    let outcomes = commit(ledger, vec![pair_message("alice", "bob", 3, "three"), again]);
    assert_eq!(outcomes[1], Appended { seq: 2, time_ms: 1_002, positions: Vec::new(), duplicate: true });
    let keys = [("bob", 2), ("alice", 2), ("alice", 9), ("nobody", 2), ("alice", 1), ("alice", 2)];
    let keys = keys.map(|(from, id)| pair_message(from, "alice", id, "").idem);
    let (one, two) = (Appended::duplicate_of(1, 1_001), Appended::duplicate_of(2, 1_002));
    let found = ledger.duplicates(&keys).expect("reads");
    assert_eq!(found, [None, Some(two.clone()), None, None, Some(one), Some(two)]);
    assert_eq!(ledger.duplicates(&[]).expect("reads"), []);
    let conv = ConvKey::pair(&user("alice"), &user("bob"));
    let bodies = read(ledger, &conv, Range::After(0), ALL);
    let bodies: Vec<_> = bodies.iter().map(|entry| &entry.body[..]).collect();
    assert_eq!(bodies, [&b"one"[..], b"two", b"three"]);
    assert_eq!(ledger.log_head(&user("bob")).expect("reads"), 3);
}

fn a_key_twice_in_one_batch_is_one_message(ledger: &dyn Ledger) {
    let later = Append { time_ms: 9_999, ..pair_message("alice", "bob", 1, "changed") };
    let outcomes = commit(ledger, vec![pair_message("alice", "bob", 1, "one"), later]);
    assert_eq!(outcomes[0].positions, [1, 1]);
    assert_eq!(outcomes[1], Appended { seq: 1, time_ms: 1_001, positions: Vec::new(), duplicate: true });
    assert_eq!(ledger.log_head(&user("alice")).expect("reads"), 1);
}

fn a_key_belongs_to_its_sender(ledger: &dyn Ledger) {
    let outcomes =
        commit(ledger, vec![pair_message("alice", "bob", 1, "one"), pair_message("bob", "alice", 1, "one")]);
    assert_eq!(outcomes.iter().map(|outcome| outcome.duplicate).collect::<Vec<_>>(), [false, false]);
}

fn single_messages_and_ends(ledger: &dyn Ledger) {
    let (pair, other) = (ConvKey::pair(&user("alice"), &user("bob")), ConvKey::notices(&user("alice")));
    commit(ledger, (1..=3).map(|id| pair_message("alice", "bob", id, "text")).collect());
    let notice = Append { conv: other.clone(), ..pair_message("alice", "alice", 9, "you were invited") };
    assert_eq!(commit(ledger, vec![notice])[0].positions, [4]);
    let entry = ledger.entry(&pair, 2).expect("reads").expect("is there");
    assert_eq!((entry.seq, entry.time_ms, entry.edit, &entry.body[..]), (2, 1_002, 0, &b"text"[..]));
    for seq in [0, 4, u64::MAX] {
        assert_eq!(ledger.entry(&pair, seq).expect("reads"), None);
    }
    let unknown = ConvKey::group(AppId(1), "nothing").expect("a good id");
    let heads = ledger.heads(&[other, unknown, pair.clone()]).expect("reads");
    let ends = |seq, time_ms| Heads { seq, edit: 0, time_ms, floor: 0 };
    assert_eq!(heads, [ends(1, 1_009), ends(0, 0), ends(3, 1_003)]);
    for (time_ms, seq) in [(0, 1), (1_001, 1), (1_002, 2), (1_003, 3), (1_004, 4), (u64::MAX, 4)] {
        assert_eq!(ledger.seq_at(&pair, time_ms).expect("reads"), seq, "at {time_ms}");
    }
}

fn pairs_are_listed_from_their_first_message_on(ledger: &dyn Ledger) {
    let alice = user("alice");
    let group = ConvKey::group(AppId(1), "@TGS#1").expect("a good id");
    for (id, peer) in ["dave", "bob", "alice", "carol"].into_iter().enumerate() {
        let id = u32::try_from(id).expect("four");
        commit(ledger, vec![pair_message("alice", peer, id, "1"), pair_message(peer, "alice", 90 + id, "2")]);
    }
    let others = [group, ConvKey::notices(&alice)];
    let other =
        |conv: ConvKey| Append { logs: vec![alice.clone()], conv, ..pair_message("bob", "alice", 50, "") };
    for (id, conv) in (50..).zip(others) {
        let idem = pair_message("bob", "alice", id, "").idem;
        commit(ledger, vec![Append { idem, ..other(conv) }]);
    }
    let mut pairs: Vec<_> =
        ["alice", "bob", "carol", "dave"].iter().map(|peer| ConvKey::pair(&alice, &user(peer))).collect();
    pairs.sort();
    let read = |after: Option<&ConvKey>, limit| ledger.conversations(&alice, after, limit).expect("reads");
    assert_eq!(read(None, usize::MAX), pairs);
    assert_eq!(read(None, 0), pairs[..1]);
    assert_eq!(read(None, 2), pairs[..2]);
    assert_eq!(read(Some(&pairs[1]), 10), pairs[2..]);
    assert_eq!(read(Some(&pairs[3]), 10), []);
    let of_bob = ledger.conversations(&user("bob"), None, 10).expect("reads");
    assert_eq!(of_bob, [ConvKey::pair(&alice, &user("bob"))]);
}

fn pages_go_both_ways(ledger: &dyn Ledger) {
    let conv = ConvKey::pair(&user("alice"), &user("bob"));
    commit(ledger, (1..=10).map(|id| pair_message("alice", "bob", id, "text")).collect());
    assert_eq!(seqs(ledger, &conv, Range::After(0), 3), [1, 2, 3]);
    assert_eq!(seqs(ledger, &conv, Range::After(8), 3), [9, 10]);
    assert_eq!(seqs(ledger, &conv, Range::After(10), 3), [0u64; 0]);
    assert_eq!(seqs(ledger, &conv, Range::After(u64::MAX), 3), [0u64; 0]);
    assert_eq!(seqs(ledger, &conv, Range::Before(u64::MAX), 3), [10, 9, 8]);
    assert_eq!(seqs(ledger, &conv, Range::Before(3), 3), [2, 1]);
    assert_eq!(seqs(ledger, &conv, Range::Before(1), 3), [0u64; 0]);
    assert_eq!(seqs(ledger, &conv, Range::Before(0), 3), [0u64; 0]);
}

fn a_page_holds_one_entry_whatever_its_size(ledger: &dyn Ledger) {
    let conv = ConvKey::pair(&user("alice"), &user("bob"));
    commit(ledger, (1..=4).map(|id| pair_message("alice", "bob", id, "0123456789")).collect());
    for (bytes, entries) in [(0, 1), (1, 1), (10, 1), (11, 2), (20, 2), (1_000, 4)] {
        let limit = PageLimit { entries: 100, bytes };
        assert_eq!(read(ledger, &conv, Range::After(0), limit).len(), entries, "{bytes} bytes");
        assert_eq!(ledger.read_log(&user("bob"), 0, limit).expect("reads").len(), entries, "{bytes} bytes");
    }
    let none = PageLimit { entries: 0, bytes: usize::MAX };
    assert_eq!(read(ledger, &conv, Range::Before(u64::MAX), none).len(), 1);
}

fn logs_return_their_messages(ledger: &dyn Ledger) {
    commit(
        ledger,
        vec![
            pair_message("alice", "bob", 1, "one"),
            pair_message("carol", "bob", 1, "two"),
            pair_message("bob", "alice", 1, "three"),
        ],
    );
    let log = ledger.read_log(&user("bob"), 1, ALL).expect("reads");
    let seen: Vec<_> = log.iter().map(|item| (item.position, item.entry.seq, &item.entry.body[..])).collect();
    assert_eq!(seen, [(2, 1, &b"two"[..]), (3, 2, b"three")]);
    assert_eq!(log[0].conv, ConvKey::pair(&user("bob"), &user("carol")));
    assert_eq!(log[0].entry.time_ms, 1_001);
    assert_eq!(ledger.read_log(&user("bob"), u64::MAX, ALL).expect("reads"), []);
}

fn a_reset_sets_a_cursor_where_it_says(ledger: &dyn Ledger) {
    let read = CursorName::Read(ConvKey::pair(&user("alice"), &user("bob")));
    let to = |user: &UserKey, position: u64| {
        let (user, name) = (user.clone(), read.clone());
        CursorMove { user, name, position, append: None }
    };
    let at = |user: &UserKey| ledger.cursor(user, &read).expect("reads");
    let (alice, bob) = (user("alice"), user("bob"));
    ledger.commit(&Batch { resets: vec![to(&alice, 9)], ..Batch::default() }).expect("commits");
    assert_eq!((at(&alice), at(&bob)), (Some(9), None));
    // Behind the moves of its batch, of which the others count.
    let moves = vec![to(&alice, 12), to(&bob, 7)];
    let batch = Batch { cursors: moves, resets: vec![to(&alice, 4)], ..Batch::default() };
    assert_eq!(batch.items(), 3);
    ledger.commit(&batch).expect("commits");
    assert_eq!((at(&alice), at(&bob)), (Some(4), Some(7)));
    ledger.commit(&Batch { cursors: vec![to(&alice, 5)], ..Batch::default() }).expect("commits");
    assert_eq!(at(&alice), Some(5));
    ledger.commit(&Batch { resets: vec![to(&alice, 0)], ..Batch::default() }).expect("commits");
    assert_eq!(at(&alice), Some(0));
}

fn a_cursor_moves_with_a_message_but_not_with_its_repeat(ledger: &dyn Ledger) {
    let alice = user("alice");
    let name = CursorName::Spoke(ConvKey::group(AppId(1), "group").expect("a good id"));
    let said = |ids: &[u32], moves: &[(usize, u64)]| {
        let append = |id: &u32| pair_message("alice", "bob", *id, "words");
        let moved = |&(at, position): &(usize, u64)| {
            let (user, name) = (alice.clone(), name.clone());
            CursorMove { user, name, position, append: Some(at) }
        };
        let (appends, cursors) = (ids.iter().map(append).collect(), moves.iter().map(moved).collect());
        let batch = Batch { appends, cursors, ..Batch::default() };
        assert_eq!(batch.items(), ids.len(), "what moves with a message is no item of its own");
        ledger.commit(&batch).expect("commits");
        ledger.cursor(&alice, &name).expect("reads")
    };
    assert_eq!(said(&[1, 2], &[(0, 10)]), Some(10));
    assert_eq!(said(&[1, 2], &[(0, 20), (1, 30)]), Some(10), "nothing but repeats");
    assert_eq!(said(&[3, 1, 3], &[(0, 15), (1, 40), (2, 50)]), Some(15), "one of its own batch");
    assert_eq!(said(&[4], &[(0, 12)]), Some(15), "never back");
}

fn cursors_only_move_forward(ledger: &dyn Ledger) {
    let alice = user("alice");
    let phone = CursorName::Device("phone".into());
    let pair = ConvKey::pair(&alice, &user("bob"));
    let read = CursorName::Read(pair.clone());
    let moves = |positions: &[u64], name: &CursorName| {
        let of = |position: &u64| {
            let (user, name) = (alice.clone(), name.clone());
            CursorMove { user, name, position: *position, append: None }
        };
        Batch { cursors: positions.iter().map(of).collect(), ..Batch::default() }
    };
    let at = |name: &CursorName| ledger.cursor(&alice, name).expect("reads");
    for (positions, expected) in
        [(&[0][..], 0), (&[5, 9, 7], 9), (&[8], 9), (&[9], 9), (&[10], 10), (&[3, 12], 12)]
    {
        ledger.commit(&moves(positions, &phone)).expect("commits");
        assert_eq!(at(&phone), Some(expected), "after {positions:?}");
    }
    assert_eq!(at(&read), None);
    ledger.commit(&moves(&[u64::MAX], &read)).expect("commits");
    assert_eq!((at(&read), at(&phone)), (Some(u64::MAX), Some(12)));
    assert_eq!(ledger.cursor(&user("bob"), &phone).expect("reads"), None);
    let shown = |device: &str, conv: &ConvKey| CursorName::Shown(device.into(), conv.clone());
    let others = [
        shown("phone", &pair),
        shown("tablet", &pair),
        shown("phone", &ConvKey::notices(&alice)),
        CursorName::Cleared(pair.clone()),
    ];
    for (position, name) in (20..).zip(&others) {
        assert_eq!(at(name), None, "{name:?}");
        ledger.commit(&moves(&[position], name)).expect("commits");
    }
    for (position, name) in (20..).zip(&others) {
        assert_eq!(at(name), Some(position), "{name:?}");
    }
}

fn what_counts_for_nobody_is_counted(ledger: &dyn Ledger) {
    let conv = ConvKey::pair(&user("alice"), &user("bob"));
    let message = |from, to, id: u32, uncounted| Append { uncounted, ..pair_message(from, to, id, "") };
    // Seqs 1 to 6 over three commits, with a duplicate between them; 2, 3, 5 and 6 count for nobody, alice has sent 1, 3 and 6.
    commit(ledger, vec![message("alice", "bob", 1, false), message("bob", "alice", 2, true)]);
    let doubled = vec![message("alice", "bob", 3, true), message("alice", "bob", 3, true)];
    assert!(commit(ledger, doubled)[1].duplicate);
    let rest = [("bob", "alice", 4, false), ("bob", "alice", 5, true), ("alice", "bob", 6, true)];
    commit(ledger, rest.map(|(from, to, id, uncounted)| message(from, to, id, uncounted)).into());
    // What is said elsewhere is another conversation's.
    commit(ledger, vec![message("alice", "carol", 7, true), message("alice", "bob", 8, false)]);
    let count = |who, first, last, own| {
        let span = Span { conv: conv.clone(), first, last, own };
        let unknown = Span { conv: ConvKey::notices(&user(who)), ..span.clone() };
        let counts = ledger.uncounted(&user(who), &[unknown, span]).expect("reads");
        assert_eq!(counts[0], 0);
        counts[1]
    };
    for (first, last, plain, alice, bob) in [
        (0, u64::MAX, 4, 6, 5),
        (1, 7, 4, 6, 5),
        (1, 1, 0, 1, 0),
        (2, 3, 2, 2, 2),
        (3, 3, 1, 1, 1),
        (4, 4, 0, 0, 1),
        (4, 6, 2, 2, 3),
        (7, 7, 0, 1, 0),
        (5, 4, 0, 0, 0),
        (8, u64::MAX, 0, 0, 0),
    ] {
        let place = format!("{first} to {last}");
        assert_eq!(count("alice", first, last, false), plain, "{place}");
        assert_eq!(count("alice", first, last, true), alice, "{place}, alice");
        assert_eq!(count("bob", first, last, true), bob, "{place}, bob");
        assert_eq!(count("nobody", first, last, true), plain, "{place}, nobody");
    }
    // Taken back: 1 and 4, which counted, 3, which did not, and 7 by a change alone. Told twice, it is left out once.
    let change = |seq, uncounted| Edit { uncounted, ..amendments::change(&conv, seq, "", &[]) };
    let edits = vec![change(1, true), change(3, true), change(4, false), change(4, true), change(7, false)];
    ledger.commit(&Batch { edits, ..Batch::default() }).expect("commits");
    ledger.commit(&Batch { edits: vec![change(4, true)], ..Batch::default() }).expect("commits");
    for (first, last, plain, alice, bob) in
        [(0, u64::MAX, 6, 7, 6), (1, 1, 1, 1, 1), (2, 4, 3, 3, 3), (4, 4, 1, 1, 1), (5, 7, 2, 3, 2)]
    {
        let place = format!("{first} to {last}, some taken back");
        assert_eq!(count("alice", first, last, false), plain, "{place}");
        assert_eq!(count("alice", first, last, true), alice, "{place}, alice");
        assert_eq!(count("bob", first, last, true), bob, "{place}, bob");
    }
}

fn several_cursors_come_in_the_order_asked(ledger: &dyn Ledger) {
    let (alice, conv) = (user("alice"), ConvKey::pair(&user("alice"), &user("bob")));
    let [read, cleared] = [CursorName::Read(conv.clone()), CursorName::Cleared(conv)];
    let phone = CursorName::Device("phone".into());
    let moves = [(&read, 3), (&phone, 9)];
    let moves = moves.map(|(name, position)| {
        let (user, name) = (alice.clone(), name.clone());
        CursorMove { user, name, position, append: None }
    });
    ledger.commit(&Batch { cursors: moves.into(), ..Batch::default() }).expect("commits");
    let asked = [phone.clone(), cleared, read.clone(), phone];
    assert_eq!(ledger.cursors(&alice, &asked).expect("reads"), [Some(9), None, Some(3), Some(9)]);
    assert_eq!(ledger.cursors(&user("bob"), &asked).expect("reads"), [None; 4]);
}

fn similar_names_stay_apart(ledger: &dyn Ledger) {
    let names = ["a", "aa", "ab", "b", "a a", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"];
    let mut id = 0;
    for from in names {
        for to in names {
            id += 1;
            commit(ledger, vec![pair_message(from, to, id, "text")]);
        }
    }
    for from in names {
        // As a sender to everyone, as a recipient of everyone else.
        assert_eq!(ledger.log_head(&user(from)).expect("reads"), names.len() as u64 * 2 - 1, "{from}");
        let log = ledger.read_log(&user(from), 0, ALL).expect("reads");
        assert_eq!(log.len(), names.len() * 2 - 1, "{from}");
        for to in names {
            let conv = ConvKey::pair(&user(from), &user(to));
            assert_eq!(ledger.head(&conv).expect("reads"), if from == to { 1 } else { 2 }, "{from} {to}");
        }
    }
    let other_app = UserKey::new(AppId(2), "a").expect("a good name");
    assert_eq!(ledger.log_head(&other_app).expect("reads"), 0);
}

fn nothing_to_write_is_fine(ledger: &dyn Ledger) {
    assert_eq!(commit(ledger, Vec::new()), []);
    commit(ledger, vec![pair_message("alice", "bob", 1, "one")]);
    assert!(commit(ledger, vec![pair_message("alice", "bob", 1, "one")])[0].duplicate);
    assert_eq!(commit(ledger, vec![pair_message("alice", "bob", 2, "two")])[0].seq, 2);
}

fn readers_see_whole_commits_in_order(ledger: &dyn Ledger) {
    const COMMITS: u32 = 60;
    let conv = ConvKey::pair(&user("alice"), &user("bob"));
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut seen = 0;
            while !done.load(Ordering::Acquire) {
                let head = ledger.head(&conv).expect("reads");
                assert!(head >= seen, "a head went back from {seen} to {head}");
                seen = head;
                let log = ledger.read_log(&user("bob"), 0, ALL).expect("a log entry has its message");
                for (position, item) in (1..).zip(&log) {
                    assert_eq!((item.position, item.entry.seq), (position, position));
                }
            }
        });
        for id in 0..COMMITS {
            let batch = vec![
                pair_message("alice", "bob", id * 2, "text"),
                pair_message("bob", "alice", id * 2 + 1, "text"),
            ];
            let outcomes = commit(ledger, batch);
            // What a commit returned is readable at once.
            assert_eq!(ledger.head(&conv).expect("reads"), outcomes[1].seq);
            assert_eq!(ledger.log_head(&user("bob")).expect("reads"), outcomes[1].positions[0]);
        }
        done.store(true, Ordering::Release);
    });
}
