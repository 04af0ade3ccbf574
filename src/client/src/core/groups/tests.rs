//! Any schedule of messages, changes, losses and answers gives each message once, in order, and its last state.

use std::collections::{BTreeMap, VecDeque};

use proptest::prelude::*;

use super::telling::SHOWN_WITHIN;
use super::*;

/// A message of the model: its words, and the number of its last change.
#[derive(Debug, Clone)]
struct Stored {
    edit: u64,
    own: bool,
    hidden: bool,
}

#[derive(Debug, Clone, Default)]
struct Group {
    messages: Vec<Stored>,
    /// Which message each change was made to.
    changes: Vec<u64>,
    member: bool,
    joined: u64,
}

impl Group {
    fn head(&self) -> u64 {
        self.messages.len() as u64
    }

    fn entry(&self, seq: u64) -> Entry<u64> {
        let stored = &self.messages[usize::try_from(seq).unwrap() - 1];
        Entry { seq, edit: stored.edit, message: seq }
    }

    fn stored(&self, seq: u64) -> &Stored {
        &self.messages[usize::try_from(seq).unwrap() - 1]
    }

    /// Three at a time, so that there is more than one page.
    fn page(&self, after: u64) -> Page<u64> {
        let seqs: Vec<u64> = (after.max(self.joined) + 1..=self.head()).take(3).collect();
        let upto = seqs.last().copied().unwrap_or_else(|| self.head());
        let visible = seqs.iter().filter(|seq| !self.stored(**seq).hidden);
        Page { entries: visible.map(|seq| self.entry(*seq)).collect(), upto, complete: upto == self.head() }
    }

    /// A message that changed again stands at its last change.
    fn changes(&self, after: u64) -> Page<u64> {
        let head = self.changes.len() as u64;
        let newest = (1..).zip(&self.changes).filter(|(number, seq)| self.stored(**seq).edit == *number);
        let numbers: Vec<(u64, u64)> = newest
            .map(|(number, seq)| (number, *seq))
            .filter(|(number, _)| *number > after)
            .take(2)
            .collect();
        let last = numbers.last().map_or(head, |(number, _)| *number);
        let entries = numbers.iter().map(|(_, seq)| self.entry(*seq)).collect();
        Page { entries, upto: last, complete: last == head }
    }
}

#[derive(Debug, Clone)]
enum Step {
    Message(usize, bool),
    /// The reply comes before what was pushed in front of it.
    Own(usize, bool),
    Edit(usize, u64, bool),
    Hide(usize, u64),
    /// Pushes travel.
    Deliver(usize),
    Behind,
    Lose,
    /// The oldest question is read by the server now, or was when it was asked.
    Answer(bool),
    Refuse,
    Leave(usize),
    Join(usize),
    Wait(u64),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let group = 0usize..3;
    let step = prop_oneof![
        6 => (group.clone(), prop::bool::weighted(0.8)).prop_map(|(group, pushed)| Step::Message(group, pushed)),
        2 => (group.clone(), any::<bool>()).prop_map(|(group, early)| Step::Own(group, early)),
        3 => (group.clone(), any::<u64>(), any::<bool>()).prop_map(|(g, at, pushed)| Step::Edit(g, at, pushed)),
        1 => (group.clone(), any::<u64>()).prop_map(|(group, at)| Step::Hide(group, at)),
        6 => (1usize..6).prop_map(Step::Deliver),
        1 => Just(Step::Behind),
        1 => Just(Step::Lose),
        6 => any::<bool>().prop_map(Step::Answer),
        1 => Just(Step::Refuse),
        1 => group.clone().prop_map(Step::Leave),
        1 => group.prop_map(Step::Join),
        1 => (1u64..70_000).prop_map(Step::Wait),
    ];
    proptest::collection::vec(step, 1..200)
}

struct World {
    now: Instant,
    core: Groups<u64>,
    groups: Vec<Group>,
    /// On the way down: group, and the pushed entry or the place of an own one.
    down: VecDeque<(usize, u64, Option<Entry<u64>>)>,
    /// Asked, with the groups as they were then.
    asked: VecDeque<(Pull, Vec<Group>)>,
    /// Something was dropped on this connection, which BEHIND follows.
    owes_behind: bool,
    /// By group: seqs in the order in which they were given, since the user is in it.
    shown: Vec<Vec<u64>>,
    /// Last given state.
    states: Vec<BTreeMap<u64, u64>>,
}

fn name(group: usize) -> Arc<str> {
    format!("g{group}").into()
}

fn index(group: &str) -> usize {
    group[1..].parse().unwrap()
}

impl World {
    fn new() -> Self {
        let group = |member| Group { member, ..Group::default() };
        let mut core = Groups::new([], Begin::Joined);
        core.begin_session(false);
        Self {
            now: Instant::now(),
            core,
            groups: vec![group(true), group(true), group(false)],
            down: VecDeque::new(),
            asked: VecDeque::new(),
            owes_behind: false,
            shown: vec![Vec::new(); 3],
            states: vec![BTreeMap::new(); 3],
        }
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::Message(group, pushed) => self.message(group, false, pushed),
            Step::Own(group, early) if self.groups[group].member => {
                self.message(group, true, false);
                let seq = self.groups[group].head();
                let place = (group, seq, None);
                if early { self.down.push_front(place) } else { self.down.push_back(place) }
            }
            Step::Edit(group, at, pushed) if self.groups[group].head() > 0 => {
                let model = &mut self.groups[group];
                let seq = at % model.head() + 1;
                model.changes.push(seq);
                let number = model.changes.len() as u64;
                model.messages[usize::try_from(seq).unwrap() - 1].edit = number;
                let entry = model.entry(seq);
                if model.member {
                    if pushed {
                        self.down.push_back((group, seq, Some(entry)))
                    } else {
                        self.owes_behind = true
                    }
                }
            }
            // Only what was not pushed can be hidden from this device before it had it.
            Step::Hide(group, at) if self.groups[group].head() > 0 => {
                let seq = at % self.groups[group].head() + 1;
                let pushed = self.down.iter().any(|(g, s, _)| (*g, *s) == (group, seq));
                let shown = self.shown[group].contains(&seq);
                let stored = &mut self.groups[group].messages[usize::try_from(seq).unwrap() - 1];
                if !pushed && !shown && !stored.own && stored.edit == 0 {
                    stored.hidden = true;
                }
            }
            Step::Deliver(count) => (0..count).for_each(|_| self.deliver()),
            Step::Behind => self.behind(),
            Step::Lose => {
                self.down.clear();
                self.asked.clear();
                self.owes_behind = false;
                self.core.connection_lost();
                self.core.begin_session(true);
            }
            Step::Answer(old) => self.answer(old),
            Step::Refuse => match self.asked.pop_front() {
                Some((Pull::Heads, _)) => self.core.heads_failed(self.now, Duration::ZERO),
                Some((Pull::Messages { group, .. } | Pull::Changes { group, .. }, _)) => {
                    self.core.pull_failed(self.now, &group, Duration::ZERO, true);
                }
                None => {}
            },
            Step::Leave(group) => self.groups[group].member = false,
            Step::Join(group) if !self.groups[group].member => {
                let head = self.groups[group].head();
                (self.groups[group].member, self.groups[group].joined) = (true, head);
                self.shown[group].clear();
                self.states[group].clear();
                self.core.want_heads();
            }
            Step::Wait(ms) => {
                self.now += Duration::from_millis(ms);
                self.core.handle_timeout(self.now);
            }
            Step::Own(..) | Step::Edit(..) | Step::Hide(..) | Step::Join(_) => {}
        }
        self.pump();
    }

    fn message(&mut self, group: usize, own: bool, pushed: bool) {
        let model = &mut self.groups[group];
        model.messages.push(Stored { edit: 0, own, hidden: false });
        if model.member && !own {
            let seq = model.head();
            let entry = model.entry(seq);
            if pushed { self.down.push_back((group, seq, Some(entry))) } else { self.owes_behind = true }
        }
    }

    fn deliver(&mut self) {
        let Some((group, seq, entry)) = self.down.pop_front() else { return };
        match entry {
            Some(entry) if entry.edit > 0 => self.core.push_change(self.now, &name(group), entry),
            Some(entry) => self.core.push(self.now, &name(group), entry),
            None => self.core.own(self.now, &name(group), seq),
        }
        self.take();
    }

    fn behind(&mut self) {
        self.owes_behind = false;
        self.core.want_heads();
    }

    fn answer(&mut self, old: bool) {
        let Some((pull, then)) = self.asked.pop_front() else { return };
        let groups = if old { &then } else { &self.groups };
        match pull {
            Pull::Heads => {
                let mut members = (0..).zip(groups).filter(|(_, group)| group.member).peekable();
                let mut parts = Vec::new();
                while let Some((at, group)) = members.next() {
                    let (seq, edit) = (group.head(), group.changes.len() as u64);
                    let joined = group.joined;
                    let head = Head { group: name(at), seq, edit, shown: None, joined, discarded: false };
                    parts.push((vec![head], members.peek().is_none()));
                }
                if parts.is_empty() {
                    parts.push((Vec::new(), true));
                }
                for (heads, last) in parts {
                    self.core.take_heads(self.now, heads, last);
                }
            }
            Pull::Messages { group, after } => {
                let page = groups[index(&group)].page(after);
                self.core.take_page(self.now, &group, page);
            }
            Pull::Changes { group, after } => {
                let page = groups[index(&group)].changes(after);
                self.core.take_changes(self.now, &group, page);
            }
        }
        self.take();
    }

    fn pump(&mut self) {
        while let Some(pull) = self.core.next_pull(self.now) {
            self.asked.push_back((pull, self.groups.clone()));
        }
        assert!(self.asked.len() <= PULLS_MAX + 1);
        assert!(self.core.held <= HELD_MAX + HELD_MAX / 4);
    }

    fn take(&mut self) {
        while let Some((group, given)) = self.core.poll_given() {
            let group = index(&group);
            match given {
                Given::Message(entry) => {
                    let before = self.shown[group].last().copied().unwrap_or(0);
                    assert!(entry.seq > before, "group {group}: {} behind {before}", entry.seq);
                    self.shown[group].push(entry.seq);
                    self.states[group].insert(entry.seq, entry.edit);
                }
                Given::Changed(_, entry) => {
                    let before = self.states[group].insert(entry.seq, entry.edit);
                    assert!(before.is_none_or(|before| before <= entry.edit), "a change goes back");
                }
            }
        }
    }

    fn heal(&mut self) {
        for _ in 0..2000 {
            if self.owes_behind && self.down.is_empty() {
                self.behind();
            }
            self.step(Step::Deliver(10));
            for asked in 0.. {
                if self.asked.is_empty() {
                    break;
                }
                assert!(asked < 1000, "asks for ever: {:?}", self.core);
                self.step(Step::Answer(false));
            }
            if !self.core.is_behind() && self.down.is_empty() && !self.owes_behind {
                return;
            }
            self.step(Step::Wait(500));
        }
        panic!("not at rest: {:?}", self.core);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 3000, ..ProptestConfig::default() })]

    #[test]
    fn each_message_once_in_order_with_its_last_state(steps in steps()) {
        let mut world = World::new();
        world.pump();
        for step in steps {
            world.step(step);
        }
        world.heal();
        for (at, group) in world.groups.iter().enumerate().filter(|(_, group)| group.member) {
            let wanted = (1..).zip(&group.messages).filter(|(seq, m)| *seq > group.joined && !m.own && !m.hidden);
            let wanted: Vec<u64> = wanted.map(|(seq, _)| seq).collect();
            // A page may bring an own message whose answer was lost, and an early one what was hidden then.
            let counts = |seq: u64| seq > group.joined && !group.stored(seq).own && !group.stored(seq).hidden;
            let shown: Vec<u64> = world.shown[at].iter().copied().filter(|seq| counts(*seq)).collect();
            prop_assert_eq!(&shown, &wanted, "group {}: lost, doubled or out of order", at);
            for seq in wanted {
                let stored = &group.messages[usize::try_from(seq).unwrap() - 1];
                prop_assert_eq!(world.states[at].get(&seq), Some(&stored.edit), "group {} seq {}: stale", at, seq);
            }
        }
    }
}

fn head(group: &str, seq: u64, shown: u64, joined: u64) -> Head {
    let shown = Some(shown).filter(|shown| *shown > 0);
    Head { group: group.into(), seq, edit: 0, shown, joined, discarded: false }
}

fn entry(seq: u64) -> Entry<u64> {
    Entry { seq, edit: 0, message: seq }
}

fn begun(begin: Begin, known: bool, heads: Vec<Head>) -> (Groups<u64>, Vec<Pull>) {
    let (mut core, now) = (Groups::new([], begin), Instant::now());
    core.begin_session(known);
    assert_eq!(core.next_pull(now), Some(Pull::Heads));
    core.take_heads(now, heads, true);
    let pulls = std::iter::from_fn(|| core.next_pull(now)).collect();
    (core, pulls)
}

#[test]
fn a_device_begins_where_it_stood_or_at_the_head_or_where_its_user_joined() {
    let heads = || vec![head("a", 9, 5, 2), head("b", 9, 0, 2)];
    let after = |group: &str, after| Pull::Messages { group: group.into(), after };
    assert_eq!(begun(Begin::Remembered, false, heads()).1, [after("a", 5)], "a new device, at the head of b");
    assert_eq!(begun(Begin::Remembered, true, heads()).1, [after("a", 5), after("b", 2)]);
    assert_eq!(begun(Begin::Joined, false, heads()).1, [after("a", 5), after("b", 2)]);
    assert_eq!(begun(Begin::Now, true, heads()).1, []);
}

#[test]
fn a_group_that_is_joined_while_the_device_watches_begins_where_its_user_joined() {
    let (mut core, _) = begun(Begin::Now, false, vec![head("a", 9, 0, 0)]);
    let now = Instant::now();
    core.push(now, "b", entry(8));
    assert_eq!(core.next_pull(now), None, "heads were asked for a moment ago");
    let later = core.poll_timeout().unwrap();
    assert_eq!(core.next_pull(later), Some(Pull::Heads));
    core.take_heads(later, vec![head("a", 9, 0, 0), head("b", 8, 0, 6)], true);
    assert_eq!(core.next_pull(later), Some(Pull::Messages { group: "b".into(), after: 6 }));
}

#[test]
fn the_server_is_told_lazily_what_was_shown_and_at_once_where_a_new_device_begins() {
    let (mut core, _) = begun(Begin::Remembered, false, vec![head("a", 3, 0, 0)]);
    let now = Instant::now();
    let told = core.take_shown(now, false).unwrap();
    assert_eq!(told, [("a".into(), 3)]);
    core.told(now, &told, true);
    for seq in 4..=6 {
        core.push(now, "a", entry(seq));
        core.queued("a", seq);
    }
    assert!(!core.has_untold(), "received is not shown");
    core.show(now, "a", 4);
    core.own(now, "a", 7);
    assert_eq!(core.take_shown(now, false), None, "later");
    assert_eq!(core.poll_timeout(), Some(now + SHOWN_WITHIN));
    assert_eq!(core.take_shown(now, true).unwrap(), [("a".into(), 4)]);
    core.told(now, &[("a".into(), 4)], false);
    core.show(now, "a", 6);
    assert_eq!(
        core.take_shown(now + RETRY_MIN, false).unwrap(),
        [("a".into(), 7)],
        "the own one behind it too"
    );
}

#[test]
fn a_new_device_says_that_it_has_been_in_an_empty_group() {
    let (mut core, _) = begun(Begin::Remembered, false, vec![head("a", 0, 0, 0)]);
    let now = Instant::now();
    let told = core.take_shown(now, false).unwrap();
    assert_eq!(told, [("a".into(), 0)]);
    core.told(now, &told, true);
    assert!(!core.has_untold());
    // Its next life has no memory, and the user's log no entry that would say that the server has met it.
    let known = Head { shown: Some(0), ..head("a", 2, 0, 0) };
    let pulls = begun(Begin::Remembered, false, vec![known]).1;
    assert_eq!(pulls, [Pull::Messages { group: "a".into(), after: 0 }], "not at the head");
}

#[test]
fn another_store_begins_anew_and_old_heads_do_not() {
    let now = Instant::now();
    let (mut core, _) = begun(Begin::Joined, false, vec![head("a", 1, 1, 0)]);
    core.want_heads();
    assert_eq!(core.next_pull(now), Some(Pull::Heads));
    core.push(now, "a", entry(2));
    core.take_heads(now, vec![head("a", 1, 1, 0)], true);
    assert_eq!(core.stands().next().unwrap().seq, 2, "read before the push");
    core.want_heads();
    assert_eq!(core.next_pull(now), Some(Pull::Heads));
    core.take_heads(now, vec![head("a", 1, 0, 0)], true);
    assert_eq!(core.next_pull(now), Some(Pull::Messages { group: "a".into(), after: 0 }));
}

#[test]
fn a_group_that_the_user_discards_is_not_asked_for_until_it_is_wanted_again() {
    let now = Instant::now();
    let (mut core, _) = begun(Begin::Joined, false, vec![head("a", 3, 3, 0)]);
    let heads = |core: &mut Groups<u64>, discarded, seq| {
        core.want_heads();
        assert_eq!(core.next_pull(now), Some(Pull::Heads));
        core.take_heads(now, vec![Head { discarded, ..head("a", seq, 3, 0) }], true);
    };
    heads(&mut core, true, 9);
    core.own(now, "a", 10);
    assert_eq!((core.next_pull(now), core.poll_timeout()), (None, None));
    heads(&mut core, false, 12);
    assert_eq!(core.next_pull(now), Some(Pull::Messages { group: "a".into(), after: 3 }));
}

#[test]
fn what_a_held_up_answer_overtook_is_waited_for_and_then_pulled() {
    let now = Instant::now();
    let (mut core, _) = begun(Begin::Joined, false, vec![head("a", 0, 0, 0)]);
    core.own(now, "a", 2);
    assert_eq!(core.next_pull(now), None);
    // Before that it is told that the empty group is known.
    assert!(core.poll_timeout().is_some_and(|at| at <= now + PATIENCE));
    let at = now + PATIENCE;
    core.handle_timeout(at);
    assert_eq!(core.next_pull(at), Some(Pull::Messages { group: "a".into(), after: 0 }));

    let (mut core, _) = begun(Begin::Joined, false, vec![head("a", 0, 0, 0)]);
    core.own(now, "a", 2);
    core.push(now, "a", entry(1));
    assert!(!core.is_behind(), "{core:?}");
}

#[test]
fn a_topic_that_comes_to_be_is_followed_from_its_first_message_on_without_a_question() {
    let (mut core, pulls) = begun(Begin::Now, true, vec![head("c", 3, 3, 0)]);
    assert_eq!(pulls, []);
    let now = Instant::now();
    core.begin(now, "c@TOPIC#_x", 0);
    core.push(now, "c@TOPIC#_x", entry(1));
    assert_eq!(core.next_pull(now), None, "100,000 devices would ask at once");
    let given = core.poll_given().map(|(group, given)| (group.to_string(), given));
    assert_eq!(given, Some(("c@TOPIC#_x".to_owned(), Given::Message(entry(1)))));
    // Gone, and another one of the same id: it has messages that are not for this device, so the heads say where it begins.
    core.end("c@TOPIC#_x");
    core.begin(now, "c@TOPIC#_x", 1);
    assert_eq!(core.next_pull(now), Some(Pull::Heads));
    // What is asked for now may be older than the next topic.
    core.begin(now, "c@TOPIC#_y", 0);
    core.take_heads(now, vec![head("c", 3, 3, 0), head("c@TOPIC#_x", 1, 1, 1)], true);
    assert_eq!(core.next_pull(now), Some(Pull::Heads));
}

#[test]
fn what_is_not_wanted_of_a_topic_ends_here_and_comes_when_it_is_wanted_again() {
    let discarded = |discarded| Head { discarded, ..head("c@TOPIC#_x", 1, 1, 0) };
    let (mut core, _) = begun(Begin::Remembered, true, vec![discarded(true)]);
    let now = Instant::now();
    core.push(now, "c@TOPIC#_x", entry(2));
    assert_eq!((core.poll_given(), core.next_pull(now)), (None, None));
    assert!(core.discards("c@TOPIC#_x") && !core.discards("c@TOPIC#_y"));
    core.want_heads();
    assert_eq!(core.next_pull(now), Some(Pull::Heads));
    core.take_heads(now, vec![Head { seq: 2, ..discarded(false) }], true);
    assert_eq!(core.next_pull(now), Some(Pull::Messages { group: "c@TOPIC#_x".into(), after: 1 }));
    let (core, _) = begun(Begin::Remembered, true, vec![Head { discarded: true, ..head("g", 1, 1, 0) }]);
    assert!(!core.discards("g"), "what is not wanted of a group is not sent");
}

#[test]
fn what_comes_just_before_the_heads_that_say_that_it_is_wanted_again_is_asked_for() {
    let discarded = |discarded| Head { discarded, ..head("g", 1, 1, 0) };
    for changed in [false, true] {
        let (mut core, _) = begun(Begin::Remembered, true, vec![discarded(true)]);
        let now = Instant::now();
        core.want_heads();
        assert_eq!(core.next_pull(now), Some(Pull::Heads));
        match changed {
            false => core.push(now, "g", entry(2)),
            true => core.push_change(now, "g", Entry { edit: 1, ..entry(1) }),
        }
        assert_eq!((core.poll_given(), core.next_pull(now)), (None, None));
        // They are older than it.
        core.take_heads(now, vec![discarded(false)], true);
        let want = match changed {
            false => Pull::Messages { group: "g".into(), after: 1 },
            true => Pull::Changes { group: "g".into(), after: 0 },
        };
        assert_eq!(core.next_pull(now), Some(want));
    }
}

#[test]
fn a_push_of_a_topic_asks_for_nothing_where_the_heads_leave_topics_out() {
    let (mut core, _) = begun(Begin::Remembered, true, vec![head("c", 3, 3, 0)]);
    let now = Instant::now() + RETRY_MIN * 2;
    core.topics_are_cut(true);
    core.push(now, "c@TOPIC#_x", entry(1));
    core.push_change(now, "c@TOPIC#_x", entry(1));
    assert_eq!((core.next_pull(now), core.is_behind()), (None, false), "once a second, in vain");
    core.push(now, "d", entry(1));
    assert_eq!(core.next_pull(now), Some(Pull::Heads), "groups are all there");
    core.topics_are_cut(false);
    core.take_heads(now, vec![head("c", 3, 3, 0)], true);
    let now = now + RETRY_MIN * 2;
    core.push(now, "c@TOPIC#_x", entry(1));
    assert_eq!(core.next_pull(now), Some(Pull::Heads), "it is named now");
}
