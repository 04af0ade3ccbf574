//! Histories by hand: each way to break the promise is found, and nothing else is.

use std::time::Duration;

use super::*;
use crate::checker::{Judgement, check};

#[derive(Default)]
struct History(Vec<Record>);

fn id(number: u8) -> MsgId {
    [number; 16]
}

fn who(name: &str) -> Who {
    let (user, device) = name.split_once('/').unwrap_or((name, "d"));
    Who { user: user.into(), device: device.into() }
}

fn says(content: &str, edit: u64) -> State {
    State { edit, recalled: false, content: Some(content.into()) }
}

impl History {
    fn then(mut self, name: &str, seen: Seen) -> Self {
        let what = What::Group { group: "g".into(), seen };
        self.0.push(Record { at: Duration::ZERO, who: who(name), what });
        self
    }

    fn resumed(mut self, name: &str) -> Self {
        self.0.push(Record { at: Duration::ZERO, who: who(name), what: What::Resumed { cursor: 0 } });
        self
    }

    /// Alice sends number 1, which is acknowledged and stored; bob shows it.
    fn good() -> Self {
        let mut history = Self::default();
        history.0.push(Record { at: Duration::ZERO, who: who("alice"), what: What::Fault { kind: "cut" } });
        history
            .then("alice", Seen::Invoke { id: id(1), content: "one".into() })
            .then("alice", Seen::Ok { id: id(1), seq: 1 })
            .then("bob", Seen::Shown { id: id(1), seq: 1, state: says("one", 0) })
    }

    fn stored(self, number: u8, seq: u64, state: State) -> Self {
        let readers = vec!["bob".into()];
        self.then("alice", Seen::Stored { id: id(number), seq, state, readers })
    }

    fn members(self) -> Self {
        self.then("alice", Seen::Member { joined: 0 }).then("bob", Seen::Member { joined: 0 })
    }

    fn found(&self) -> Vec<Verdict> {
        let complete = [who("alice"), who("bob")];
        check(&self.0, &complete).findings.iter().map(|finding| finding.verdict).collect()
    }
}

#[test]
fn a_good_history_passes() {
    let history = History::good()
        .then("bob", Seen::Confirmed { seq: 1 })
        .then("alice", Seen::Amended { seq: 1, recalled: false })
        .then("bob", Seen::Changed { seq: 1, state: says("uno", 1) })
        .then("alice", Seen::Changed { seq: 1, state: says("uno", 1) })
        .stored(1, 1, says("uno", 1))
        .members();
    let summary = check(&history.0, &[who("alice"), who("bob")]);
    assert_eq!((summary.judgement(), history.found()), (Judgement::Pass, vec![]));
}

#[test]
fn what_breaks_the_promise_is_found() {
    let lost = History::good().members();
    assert_eq!(lost.found(), [Verdict::Lost, Verdict::Lost], "acknowledged, and shown");
    let again = History::good().then("bob", Seen::Shown { id: id(1), seq: 1, state: says("one", 0) }).stored(
        1,
        1,
        says("one", 0),
    );
    assert_eq!(again.found(), [Verdict::Duplicated]);
    let twice = History::good().stored(1, 1, says("one", 0)).stored(1, 2, says("one", 0));
    assert_eq!(twice.found(), [Verdict::Duplicated, Verdict::Reordered]);
    let back = History::good()
        .then("carol", Seen::Invoke { id: id(2), content: "two".into() })
        .then("bob", Seen::Shown { id: id(2), seq: 3, state: says("two", 0) })
        .then("carol", Seen::Invoke { id: id(3), content: "three".into() })
        .then("bob", Seen::Shown { id: id(3), seq: 2, state: says("three", 0) })
        .stored(1, 1, says("one", 0))
        .stored(3, 2, says("three", 0))
        .stored(2, 3, says("two", 0));
    assert_eq!(back.found(), [Verdict::Reordered]);
    let hole = History::good()
        .then("carol", Seen::Invoke { id: id(2), content: "two".into() })
        .stored(1, 1, says("one", 0))
        .stored(2, 3, says("two", 0));
    assert_eq!(hole.found(), [Verdict::Gap]);
    let stranger = History::good().then("bob", Seen::Shown { id: id(9), seq: 2, state: says("x", 0) });
    assert!(stranger.found().contains(&Verdict::Unexpected));
    let never = History::good()
        .then("carol", Seen::Invoke { id: id(2), content: "two".into() })
        .stored(1, 1, says("one", 0))
        .stored(2, 2, says("two", 0))
        .members();
    assert_eq!(never.found(), [Verdict::Lost, Verdict::Lost], "two members, who had caught up");
}

#[test]
fn changes_and_receipts_must_agree_in_the_end() {
    let unheard = || History::good().stored(1, 1, says("uno", 1));
    assert_eq!(unheard().members().found(), [Verdict::Diverged]);
    assert_eq!(unheard().found(), [], "who is not in it hears nothing");
    let undone =
        History::good().then("alice", Seen::Amended { seq: 1, recalled: true }).stored(1, 1, says("one", 0));
    assert_eq!(undone.found(), [Verdict::Diverged]);
    let unread = History::good().then("carol", Seen::Confirmed { seq: 1 }).stored(1, 1, says("one", 0));
    assert_eq!(unread.found(), [Verdict::Diverged]);
    // A wiped device shows again, and need not know what became of what it has forgotten.
    let wiped = History::good()
        .then("bob", Seen::Remembered { seq: 0 })
        .then("bob", Seen::Shown { id: id(1), seq: 1, state: says("uno", 1) })
        .stored(1, 1, says("uno", 1))
        .members();
    assert_eq!(wiped.found(), []);
}

#[test]
fn a_live_room_accounts_for_everything() {
    let live = |number: u8, taken: u64, missed: u64| Seen::Live {
        id: Some(id(number)),
        since_ms: 7,
        taken,
        folded: 0,
        missed,
    };
    let sent = |history: History, number: u8| {
        history
            .then("alice", Seen::Invoke { id: id(number), content: "x".into() })
            .then("alice", Seen::Ok { id: id(number), seq: 0 })
    };
    let base = || (1..=3).fold(History::default().resumed("bob"), sent);
    let good = base().then("bob", live(1, 11, 0)).then("bob", live(3, 13, 1));
    assert_eq!(good.found(), []);
    let silent = base().then("bob", live(1, 11, 0)).then("bob", live(3, 13, 0));
    assert_eq!(silent.found(), [Verdict::Lost], "two was missed, and nobody says so");
    let again = base().then("bob", live(1, 11, 0)).then("bob", live(1, 12, 0));
    assert_eq!(again.found(), [Verdict::Duplicated]);
    let forgotten = base().then("bob", live(1, 1, 0));
    assert_eq!(forgotten.found(), [Verdict::Lost], "three were told that theirs was taken");
    let afresh = base().then("bob", live(1, 11, 0)).resumed("bob").then("bob", live(1, 12, 0));
    assert_eq!(afresh.found(), [], "the books begin with the session");
    let apart = base().then("bob", live(1, 11, 0)).then("alice", live(1, 12, 0));
    assert_eq!(apart.found(), [Verdict::Diverged], "bob has not heard of the last one");
    let invented = base()
        .then("alice", live(1, 11, 0))
        .resumed("bob")
        .then("bob", live(2, 13, 5))
        .then("alice", live(2, 13, 1));
    assert_eq!(invented.found(), [Verdict::Unexpected], "he was not there for so many");
    // A hand-over: the books begin anew with the answer to the join, and the last frames of the life before come behind it.
    let handed = |history: History, over: bool| {
        let mut history = history.then("bob", live(1, 11, 0));
        let what = What::Fault { kind: "hand-over" };
        history.0.extend(over.then(|| Record { at: Duration::ZERO, who: who("server"), what }));
        history.then("bob", live(2, 13, 0))
    };
    assert_eq!(handed(base(), true).found(), []);
    assert_eq!(handed(base(), false).found(), [Verdict::Lost]);
    // What was taken before the session came back: the answer says so, then the frames come that it has overtaken.
    let overtaken =
        base().then("bob", live(1, 11, 2)).then("bob", live(2, 12, 1)).then("bob", live(3, 13, 0));
    assert_eq!(overtaken.found(), []);
}
