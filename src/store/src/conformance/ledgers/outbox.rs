//! What back ends are to be told.

use bytes::Bytes;
use nearport_chat::key::AppId;
use nearport_chat::ledger::{Batch, Ledger, Outbound, OutboxEntry, PageLimit, Settle, Settled, Shelf};

use super::{ALL, pair_message};

const APP: AppId = AppId(1);

pub(super) fn all(make: &impl Fn() -> Box<dyn Ledger>) {
    it_comes_with_its_message(&*make());
    it_leaves_when_it_was_told(&*make());
    what_is_given_up_is_kept_and_comes_back(&*make());
    apps_and_shelves_stay_apart(&*make());
    pages_are_bounded(&*make());
}

fn outbound(append: Option<usize>, body: &'static str) -> Outbound {
    Outbound { app: APP, append, time_ms: 7, body: Bytes::from_static(body.as_bytes()) }
}

fn page(ledger: &dyn Ledger, app: AppId, shelf: Shelf, after: u64) -> Vec<OutboxEntry> {
    ledger.outbox(app, shelf, after, ALL).expect("reads")
}

/// Numbers, sequence numbers and bodies.
fn shown(entries: &[OutboxEntry]) -> Vec<(u64, u64, &str)> {
    let text = |body| std::str::from_utf8(body).expect("text");
    entries.iter().map(|entry| (entry.number, entry.seq, text(&entry.body[..]))).collect()
}

fn tell(ledger: &dyn Ledger, outbox: Vec<Outbound>) {
    ledger.commit(&Batch { outbox, ..Batch::default() }).expect("commits");
}

fn settle(ledger: &dyn Ledger, settles: &[(u64, Settled)]) {
    let settles =
        settles.iter().map(|(number, what)| Settle { app: APP, number: *number, what: what.clone() });
    ledger.commit(&Batch { settles: settles.collect(), ..Batch::default() }).expect("commits");
}

fn it_comes_with_its_message(ledger: &dyn Ledger) {
    assert_eq!(page(ledger, APP, Shelf::Waiting, 0), []);
    assert_eq!(ledger.outbox_last(APP, Shelf::Waiting).expect("reads"), 0);
    let appends = vec![pair_message("alice", "bob", 1, "1"), pair_message("alice", "bob", 2, "2")];
    let outbox = vec![outbound(Some(1), "second"), outbound(None, "of none"), outbound(Some(0), "first")];
    ledger.commit(&Batch { appends, outbox, ..Batch::default() }).expect("commits");
    // A duplicate was told of with its first message.
    let appends = vec![pair_message("alice", "bob", 2, "2"), pair_message("alice", "bob", 3, "3")];
    let outbox = vec![outbound(Some(0), "again"), outbound(Some(1), "third")];
    ledger.commit(&Batch { appends, outbox, ..Batch::default() }).expect("commits");
    let found = page(ledger, APP, Shelf::Waiting, 0);
    assert_eq!(shown(&found), [(1, 2, "second"), (2, 0, "of none"), (3, 1, "first"), (4, 3, "third")]);
    assert!(found.iter().all(|entry| entry.time_ms == 7 && entry.died_ms == 0 && entry.reason.is_empty()));
    assert_eq!(shown(&page(ledger, APP, Shelf::Waiting, 3)), [(4, 3, "third")]);
    assert_eq!(page(ledger, APP, Shelf::Waiting, 4), []);
    assert_eq!(ledger.outbox_last(APP, Shelf::Waiting).expect("reads"), 4);
}

fn it_leaves_when_it_was_told(ledger: &dyn Ledger) {
    tell(ledger, vec![outbound(None, "a"), outbound(None, "b"), outbound(None, "c")]);
    settle(ledger, &[(2, Settled::Told), (9, Settled::Told), (2, Settled::Forgotten)]);
    assert_eq!(shown(&page(ledger, APP, Shelf::Waiting, 0)), [(1, 0, "a"), (3, 0, "c")]);
    settle(ledger, &[(1, Settled::Told), (3, Settled::Told), (2, Settled::Told)]);
    assert_eq!(page(ledger, APP, Shelf::Waiting, 0), []);
    // Whoever has read up to 3 does not miss what comes then.
    tell(ledger, vec![outbound(None, "d")]);
    assert_eq!(shown(&page(ledger, APP, Shelf::Waiting, 3)), [(4, 0, "d")]);
}

fn what_is_given_up_is_kept_and_comes_back(ledger: &dyn Ledger) {
    tell(ledger, vec![outbound(None, "a"), outbound(None, "b"), outbound(None, "c")]);
    let dead = |reason: &str| Settled::Dead { now_ms: 50, reason: reason.to_owned() };
    settle(ledger, &[(3, dead("status 500")), (1, dead("silent"))]);
    assert_eq!(shown(&page(ledger, APP, Shelf::Waiting, 0)), [(2, 0, "b")]);
    let mut found = page(ledger, APP, Shelf::Dead, 0);
    assert_eq!(found.len(), 2);
    found.sort_by(|a, b| a.body.cmp(&b.body));
    assert_eq!((&found[0].body[..], found[0].died_ms, found[0].reason.as_str()), (&b"a"[..], 50, "silent"));
    assert_eq!(found[1].time_ms, 7);
    assert_eq!(ledger.outbox_last(APP, Shelf::Dead).expect("reads"), 2);
    settle(ledger, &[(found[0].number, Settled::Again), (found[1].number, Settled::Forgotten)]);
    assert_eq!(page(ledger, APP, Shelf::Dead, 0), []);
    let waiting = page(ledger, APP, Shelf::Waiting, 0);
    assert_eq!(shown(&waiting), [(2, 0, "b"), (4, 0, "a")]);
    assert_eq!((waiting[1].died_ms, waiting[1].reason.as_str()), (0, ""));
}

fn apps_and_shelves_stay_apart(ledger: &dyn Ledger) {
    let other = AppId(2);
    tell(ledger, vec![outbound(None, "a"), Outbound { app: other, ..outbound(None, "b") }]);
    assert_eq!(shown(&page(ledger, APP, Shelf::Waiting, 0)), [(1, 0, "a")]);
    assert_eq!(shown(&page(ledger, other, Shelf::Waiting, 0)), [(1, 0, "b")]);
    settle(ledger, &[(1, Settled::Forgotten), (1, Settled::Again)]);
    assert_eq!(page(ledger, APP, Shelf::Waiting, 0).len(), 1, "it is not among the dead");
    settle(ledger, &[(1, Settled::Told)]);
    assert_eq!(page(ledger, other, Shelf::Waiting, 0).len(), 1);
}

fn pages_are_bounded(ledger: &dyn Ledger) {
    tell(ledger, (0..10).map(|_| outbound(None, "12345")).collect());
    let count = |entries, bytes| {
        ledger.outbox(APP, Shelf::Waiting, 0, PageLimit { entries, bytes }).expect("reads").len()
    };
    assert_eq!((count(3, usize::MAX), count(usize::MAX, 6), count(1, 0)), (3, 2, 1));
}
