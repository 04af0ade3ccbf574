//! The checker checked: a good history passes, and each way to break it is found by its name.

use std::time::Duration;

use super::*;

/// Alice has a phone and a desk, Bob a phone. `m1` and `m2` go from Alice's phone to Bob, `m3` back.
struct Story {
    records: Vec<Record>,
}

fn who(name: &str) -> Who {
    let (user, device) = name.split_once('/').unwrap();
    Who { user: user.into(), device: device.into() }
}

fn id(number: u8) -> MsgId {
    let mut id = [7; 16];
    id[8..].copy_from_slice(&u64::from(number).to_be_bytes());
    id
}

fn message(number: u8, from: &str, to: &str, seq: u64) -> Message {
    let content = format!("m{number}").into();
    Message { id: id(number), from: from.into(), to: to.into(), content, seq }
}

impl Story {
    fn good() -> Self {
        let mut story = Self { records: Vec::new() };
        story.fault();
        for device in ["alice/phone", "alice/desk", "bob/phone"] {
            story.add(device, What::Resumed { cursor: 0 });
        }
        story.send("alice/phone", 1, "bob");
        story.ok("alice/phone", 1, 1);
        story.show("bob/phone", 1, message(1, "alice", "bob", 1));
        story.show("alice/desk", 1, message(1, "alice", "bob", 1));
        story.send("alice/phone", 2, "bob");
        story.ok("alice/phone", 2, 2);
        story.show("bob/phone", 2, message(2, "alice", "bob", 2));
        story.show("alice/desk", 2, message(2, "alice", "bob", 2));
        story.send("bob/phone", 3, "alice");
        story.ok("bob/phone", 3, 3);
        story.show("alice/phone", 3, message(3, "bob", "alice", 3));
        story.show("alice/desk", 3, message(3, "bob", "alice", 3));
        for user in ["alice/log", "bob/log"] {
            story.store(user, 1, message(1, "alice", "bob", 1));
            story.store(user, 2, message(2, "alice", "bob", 2));
            story.store(user, 3, message(3, "bob", "alice", 3));
        }
        story
    }

    fn add(&mut self, name: &str, what: What) {
        let at = Duration::from_millis(self.records.len() as u64);
        self.records.push(Record { at, who: who(name), what });
    }

    fn fault(&mut self) {
        self.add("server/1", What::Fault { kind: "crash" });
    }

    fn send(&mut self, name: &str, number: u8, to: &str) {
        self.add(name, What::Invoke { id: id(number), to: to.into(), content: format!("m{number}").into() });
    }

    fn ok(&mut self, name: &str, number: u8, seq: u64) {
        self.add(name, What::Ok { id: id(number), seq });
    }

    fn show(&mut self, name: &str, position: u64, message: Message) {
        self.add(name, What::Shown { position, message });
    }

    fn store(&mut self, name: &str, position: u64, message: Message) {
        self.add(name, What::Stored { position, message });
    }

    /// Puts a record in front of the final read.
    fn before_the_end(&mut self, name: &str, what: What) {
        let end = self.records.iter().position(|r| matches!(r.what, What::Stored { .. })).unwrap();
        self.records.insert(end, Record { at: Duration::ZERO, who: who(name), what });
    }

    fn remove(&mut self, which: impl Fn(&Record) -> bool) {
        let before = self.records.len();
        self.records.retain(|record| !which(record));
        assert!(self.records.len() < before, "nothing was removed");
    }

    fn check(&self) -> Summary {
        check(&self.records, &["alice/phone", "alice/desk", "bob/phone"].map(who))
    }

    fn must_break(&self, verdict: Verdict) {
        let summary = self.check();
        assert_eq!(summary.judgement(), Judgement::Fail);
        assert!(summary.has(verdict), "{verdict:?} not found: {summary}");
    }
}

fn is_stored(record: &Record, user: &str, number: u8) -> bool {
    let What::Stored { message, .. } = &record.what else { return false };
    &*record.who.user == user && message.id == id(number)
}

fn is_shown(record: &Record, name: &str, number: u8) -> bool {
    let What::Shown { message, .. } = &record.what else { return false };
    record.who == who(name) && message.id == id(number)
}

#[test]
fn a_good_history_passes() {
    let summary = Story::good().check();
    assert_eq!(summary.judgement(), Judgement::Pass, "{summary}");
    assert_eq!((summary.attempted, summary.acknowledged, summary.shown, summary.stored), (3, 3, 6, 6));
}

#[test]
fn lost_acknowledged_and_then_not_in_the_store() {
    let mut story = Story::good();
    story.remove(|record| is_stored(record, "alice", 3) || is_stored(record, "bob", 3));
    story.remove(|record| is_shown(record, "alice/phone", 3) || is_shown(record, "alice/desk", 3));
    story.must_break(Verdict::Lost);
}

#[test]
fn lost_in_one_of_the_two_logs() {
    let mut story = Story::good();
    story.remove(|record| is_stored(record, "bob", 3));
    story.must_break(Verdict::Lost);
}

#[test]
fn lost_shown_without_acknowledgement_and_then_gone() {
    let mut story = Story::good();
    story.remove(|record| record.what == What::Ok { id: id(3), seq: 3 });
    story.remove(|record| is_stored(record, "alice", 3) || is_stored(record, "bob", 3));
    story.must_break(Verdict::Lost);
}

#[test]
fn lost_never_shown_to_a_device_that_had_caught_up() {
    let mut story = Story::good();
    story.remove(|record| is_shown(record, "bob/phone", 2));
    story.must_break(Verdict::Lost);
    assert_eq!(
        check(&story.records, &[]).judgement(),
        Judgement::Pass,
        "a device that was offline may lack it"
    );
}

#[test]
fn unexpected_never_sent_changed_or_leaked() {
    let mut story = Story::good();
    story.before_the_end("bob/phone", What::Shown { position: 4, message: message(9, "alice", "bob", 4) });
    story.must_break(Verdict::Unexpected);

    let mut story = Story::good();
    for record in &mut story.records {
        if let What::Shown { message, .. } = &mut record.what {
            message.content = "m1".into();
        }
    }
    story.must_break(Verdict::Unexpected);

    let mut story = Story::good();
    story.before_the_end("eve/phone", What::Shown { position: 1, message: message(1, "alice", "bob", 1) });
    story.must_break(Verdict::Unexpected);
}

#[test]
fn unexpected_refused_and_stored_nevertheless() {
    let mut story = Story::good();
    story.remove(|record| record.what == What::Ok { id: id(3), seq: 3 });
    story.before_the_end("bob/phone", What::Fail { id: id(3), code: 20003 });
    story.must_break(Verdict::Unexpected);
}

#[test]
fn duplicated_shown_twice() {
    let mut story = Story::good();
    story.before_the_end("bob/phone", What::Shown { position: 2, message: message(2, "alice", "bob", 2) });
    story.must_break(Verdict::Duplicated);
}

#[test]
fn duplicated_the_sender_shows_its_own_message() {
    let mut story = Story::good();
    story.before_the_end("alice/phone", What::Shown { position: 2, message: message(2, "alice", "bob", 2) });
    story.must_break(Verdict::Duplicated);
}

#[test]
fn duplicated_stored_twice_by_a_second_attempt() {
    let mut story = Story::good();
    for user in ["alice/log", "bob/log"] {
        story.store(user, 4, message(3, "bob", "alice", 4));
    }
    story.must_break(Verdict::Duplicated);
}

#[test]
fn reordered_two_devices_disagree() {
    let mut story = Story::good();
    story.remove(|record| record.who == who("alice/desk") && matches!(record.what, What::Shown { .. }));
    for (position, number) in [(1, 2), (2, 1)] {
        let message = message(number, "alice", "bob", position);
        story.before_the_end("alice/desk", What::Shown { position, message });
    }
    story.before_the_end("alice/desk", What::Shown { position: 3, message: message(3, "bob", "alice", 3) });
    story.must_break(Verdict::Reordered);
}

#[test]
fn reordered_a_device_sees_the_log_go_back() {
    let mut story = Story::good();
    story.remove(|record| record.who == who("alice/desk") && matches!(record.what, What::Shown { .. }));
    for number in [2, 1] {
        let message = message(number, "alice", "bob", number.into());
        story.before_the_end("alice/desk", What::Shown { position: number.into(), message });
    }
    story.before_the_end("alice/desk", What::Shown { position: 3, message: message(3, "bob", "alice", 3) });
    story.must_break(Verdict::Reordered);
}

#[test]
fn gap_an_entry_is_jumped_over() {
    let mut story = Story::good();
    story.remove(|record| is_shown(record, "alice/desk", 2));
    story.must_break(Verdict::Gap);
}

#[test]
fn gap_a_number_is_never_filled() {
    let mut story = Story { records: Vec::new() };
    story.fault();
    story.send("alice/phone", 1, "bob");
    story.ok("alice/phone", 1, 2);
    for (user, position) in [("alice/log", 1), ("bob/log", 1)] {
        story.store(user, position, message(1, "alice", "bob", 2));
    }
    let summary = check(&story.records, &[]);
    assert!(summary.has(Verdict::Gap), "{summary}");
}

#[test]
fn what_a_restart_forgets_may_come_again_and_only_that() {
    let mut story = Story::good();
    story.before_the_end("alice/desk", What::Restarted);
    story.before_the_end("alice/desk", What::Resumed { cursor: 2 });
    let mut kept = Story { records: story.records.clone() };
    story.before_the_end("alice/desk", What::Shown { position: 3, message: message(3, "bob", "alice", 3) });
    assert_eq!(story.check().judgement(), Judgement::Pass, "{}", story.check());
    kept.before_the_end("alice/desk", What::Shown { position: 2, message: message(2, "alice", "bob", 2) });
    kept.must_break(Verdict::Duplicated);
    // A new session without a restart forgets nothing.
    let mut story = Story::good();
    story.before_the_end("alice/desk", What::Resumed { cursor: 2 });
    story.before_the_end("alice/desk", What::Shown { position: 3, message: message(3, "bob", "alice", 3) });
    story.must_break(Verdict::Duplicated);
}

#[test]
fn a_message_without_an_answer_may_exist_or_not() {
    let mut story = Story::good();
    story.remove(|record| record.what == What::Ok { id: id(3), seq: 3 });
    let summary = story.check();
    assert_eq!((summary.judgement(), summary.recovered), (Judgement::Pass, 1));
    story.remove(|record| is_shown(record, "alice/phone", 3) || is_shown(record, "alice/desk", 3));
    story.remove(|record| is_stored(record, "alice", 3) || is_stored(record, "bob", 3));
    let summary = story.check();
    assert_eq!((summary.judgement(), summary.recovered), (Judgement::Pass, 0), "{summary}");
}

#[test]
fn a_run_that_proves_nothing_is_not_a_pass() {
    let mut story = Story::good();
    story.remove(|record| matches!(record.what, What::Fault { .. }));
    assert_eq!(story.check().judgement(), Judgement::Unknown("no fault was injected"));
    let mut story = Story { records: Vec::new() };
    story.fault();
    story.send("alice/phone", 1, "bob");
    assert_eq!(story.check().judgement(), Judgement::Unknown("nothing was acknowledged"));
    story.ok("alice/phone", 1, 1);
    assert_eq!(story.check().judgement(), Judgement::Fail, "acknowledged, and no final read found it");
}

#[test]
fn a_change_is_told_of_what_is_known() {
    let edited = |content: &str| Message { content: content.into(), ..message(1, "alice", "bob", 1) };
    let change = |content: &str| What::Changed { position: 4, message: edited(content) };
    let mut story = Story::good();
    story.before_the_end("bob/phone", change("m1~1"));
    story.before_the_end("alice/phone", change("m1~1"));
    let at = story.records.iter().position(|record| is_shown(record, "alice/desk", 1)).unwrap();
    story.records[at].what = What::Shown { position: 1, message: edited("m1~1") };
    let summary = story.check();
    assert_eq!(summary.judgement(), Judgement::Pass, "{summary}");

    let mut story = Story::good();
    story.before_the_end("bob/phone", change("n1~1"));
    story.must_break(Verdict::Unexpected);

    let mut story = Story::good();
    story.remove(|record| is_shown(record, "bob/phone", 1));
    story.before_the_end("bob/phone", change("m1~1"));
    story.must_break(Verdict::Unexpected);
}
