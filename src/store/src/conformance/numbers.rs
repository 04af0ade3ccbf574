//! The suite of the trait `NumberStore`.

use std::collections::{BTreeMap, BTreeSet};

use nearport_chat::directory::numbers::{DayNumbers, NumbersAdd, NumbersBatch, ONLINE_MINUTES};
use nearport_chat::directory::{Account, Directory, Mutes};
use nearport_chat::key::{AppId, UserKey};
use nearport_chat::numbers::{Count, Crowd, DAY_MS, Sketch, hash};

pub(super) fn all(make: impl Fn() -> Box<dyn Directory>) {
    a_batch_is_added_once(&*make());
    processes_add_up(&*make());
    who_is_online_everywhere_is_the_sum_of_a_minute(&*make());
    old_days_are_forgotten(&*make());
    accounts_are_counted_by_when_they_were_made(&*make());
    random_batches_are_as_a_list_of_events(&*make());
}

const APP: AppId = AppId(u32::MAX);
const DAY: u32 = 20_000;
const MINUTE: u64 = DAY as u64 * 1_440;

fn sketch(names: impl IntoIterator<Item = u32>) -> Sketch {
    let mut sketch = Sketch::default();
    for name in names {
        sketch.add(hash(&name.to_be_bytes()));
    }
    sketch
}

fn batch(writer: u8, number: u64, adds: Vec<NumbersAdd>) -> NumbersBatch {
    NumbersBatch { writer: [writer; 16], number, day: DAY, adds, ..NumbersBatch::default() }
}

fn add(app: AppId, day: u32, counts: &[(Count, u64)], crowds: &[(Crowd, Sketch)]) -> NumbersAdd {
    NumbersAdd { app, day, counts: counts.to_vec(), crowds: crowds.to_vec(), online_most: 0 }
}

fn day(directory: &dyn Directory, app: AppId, day: u32) -> DayNumbers {
    let mut days = directory.numbers(app, day, day).expect("reads");
    days.pop().unwrap_or_else(|| DayNumbers::none(day))
}

fn a_batch_is_added_once(directory: &dyn Directory) {
    assert!(directory.numbers(APP, 0, u32::MAX).expect("reads").is_empty());
    let adds = vec![add(APP, DAY, &[(Count::PairUp, 3)], &[(Crowd::Active, sketch(0..3))])];
    for number in [1, 1, 2, 1, 2] {
        directory.add_numbers(&batch(1, number, adds.clone())).expect("adds");
    }
    directory.add_numbers(&batch(2, 1, adds)).expect("adds");
    let day = day(directory, APP, DAY);
    assert_eq!(day.counts[Count::PairUp as usize], 9, "two batches of one process, one of another");
    assert_eq!(day.counts.iter().sum::<u64>(), 9);
    assert_eq!(day.crowds[Crowd::Active as usize].count(), 3);
}

fn processes_add_up(directory: &dyn Directory) {
    let first = NumbersAdd {
        online_most: 5,
        ..add(APP, DAY, &[(Count::Logins, 1)], &[(Crowd::LoggedIn, sketch(0..700))])
    };
    let second = NumbersAdd {
        online_most: 4,
        ..add(APP, DAY, &[(Count::Logins, 2)], &[(Crowd::LoggedIn, sketch(600..1_400))])
    };
    let other = add(AppId(1), DAY, &[(Count::Logins, 9)], &[]);
    let before = add(APP, DAY - 1, &[(Count::Logins, 7)], &[]);
    directory.add_numbers(&batch(1, 1, vec![first, other])).expect("adds");
    directory.add_numbers(&batch(2, 1, vec![before, second])).expect("adds");
    let days = directory.numbers(APP, DAY - 1, DAY).expect("reads");
    assert_eq!(days.iter().map(|day| day.day).collect::<Vec<_>>(), [DAY - 1, DAY]);
    assert_eq!((days[0].counts[Count::Logins as usize], days[0].online_most), (7, 0));
    assert_eq!((days[1].counts[Count::Logins as usize], days[1].online_most), (3, 5));
    assert_eq!(days[1].crowds[Crowd::LoggedIn as usize], sketch(0..1_400));
    assert_eq!(directory.numbers(APP, DAY + 1, u32::MAX).expect("reads"), []);
}

fn who_is_online_everywhere_is_the_sum_of_a_minute(directory: &dyn Directory) {
    let online = |writer, number, minute, users| NumbersBatch {
        online: vec![(APP, minute, users)],
        ..batch(writer, number, Vec::new())
    };
    for (writer, number, minute, users, most) in [
        (1, 1, MINUTE, 10, 10),
        (2, 1, MINUTE, 5, 15),
        (2, 1, MINUTE, 5, 15),
        (1, 2, MINUTE + 1, 14, 15),
        (2, 2, MINUTE + 1, 2, 16),
        (1, 3, MINUTE + 40, 1, 16),
        // What was noted so long ago is not added to any more.
        (2, 3, MINUTE + 40 - ONLINE_MINUTES - 1, 1, 16),
    ] {
        directory.add_numbers(&online(writer, number, minute, users)).expect("adds");
        assert_eq!(day(directory, APP, DAY).online_most, most, "{writer} {number}");
    }
    let alone = NumbersAdd { online_most: 17, ..add(APP, DAY, &[], &[]) };
    directory.add_numbers(&batch(3, 1, vec![alone])).expect("adds");
    assert_eq!(day(directory, APP, DAY).online_most, 17, "one alone had more");
    assert_eq!(day(directory, APP, DAY + 1).online_most, 0);
}

fn old_days_are_forgotten(directory: &dyn Directory) {
    let one = |day| add(APP, day, &[(Count::PairUp, 1)], &[(Crowd::Active, sketch(0..1))]);
    let days: Vec<_> = (DAY - 40..=DAY).collect();
    directory.add_numbers(&batch(1, 1, days.iter().map(|day| one(*day)).collect())).expect("adds");
    let forget = NumbersBatch { forget_before: Some(DAY - 31), ..batch(1, 2, vec![one(DAY)]) };
    directory.add_numbers(&forget).expect("adds");
    let known = directory.numbers(APP, 0, u32::MAX).expect("reads");
    assert_eq!(known.iter().map(|day| day.day).collect::<Vec<_>>(), days[9..]);
    assert!(known.iter().all(|day| day.crowds[Crowd::Active as usize].count() == 1));
    // Its own last batch is not.
    directory.add_numbers(&forget).expect("adds nothing");
    assert_eq!(day(directory, APP, DAY).counts[Count::PairUp as usize], 2);
}

fn accounts_are_counted_by_when_they_were_made(directory: &dyn Directory) {
    let account = |name: &str, created_ms| Account {
        key: UserKey::new(APP, name).expect("a good name"),
        created_ms,
        valid_from_s: 0,
        mutes: Mutes::default(),
    };
    let other = Account { key: UserKey::new(AppId(1), "a").expect("a good name"), ..account("a", 1) };
    let all = [account("a", DAY_MS - 1), account("b", DAY_MS), account("c", 3 * DAY_MS), other];
    directory.register(&all).expect("registers");
    let made = |directory: &dyn Directory| {
        directory.accounts_made_before(APP, &[0, DAY_MS, 2 * DAY_MS, 4 * DAY_MS]).expect("reads")
    };
    assert_eq!(made(directory), [0, 1, 2, 3]);
    directory.delete_account(&all[1].key, 9).expect("deletes");
    assert_eq!(made(directory), [0, 1, 1, 2]);
    directory.import(&[account("b", 3 * DAY_MS)]).expect("imports");
    assert_eq!(made(directory), [0, 1, 1, 3]);
    assert!(directory.accounts_made_before(APP, &[]).expect("reads").is_empty());
}

/// Numbers that repeat late: SplitMix64.
struct Dice(u64);

impl Dice {
    fn below(&mut self, most: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ z >> 31) % most
    }
}

/// Batches of three processes on some days of two Apps, some of them repeated: what comes of them is what a list of all that happened
/// says.
fn random_batches_are_as_a_list_of_events(directory: &dyn Directory) {
    let mut dice = Dice(7);
    let mut counts: BTreeMap<(AppId, u32, usize), u64> = BTreeMap::new();
    let mut crowds: BTreeMap<(AppId, u32, usize), BTreeSet<u32>> = BTreeMap::new();
    let mut numbers = [0; 3];
    let mut sent: Vec<NumbersBatch> = Vec::new();
    for _ in 0..120 {
        if !sent.is_empty() && dice.below(4) == 0 {
            let again = usize::try_from(dice.below(sent.len() as u64)).expect("small");
            directory.add_numbers(&sent[again]).expect("adds nothing");
            continue;
        }
        let mut adds = Vec::new();
        for app in [AppId(1), APP] {
            for day in DAY..DAY + 1 + u32::try_from(dice.below(3)).expect("small") {
                let count = Count::ALL[usize::try_from(dice.below(13)).expect("small")];
                let crowd = Crowd::ALL[usize::try_from(dice.below(5)).expect("small")];
                let n = 1 + dice.below(100);
                let names: BTreeSet<_> =
                    (0..dice.below(300)).map(|_| u32::try_from(dice.below(2_000)).expect("small")).collect();
                *counts.entry((app, day, count as usize)).or_default() += n;
                crowds.entry((app, day, crowd as usize)).or_default().extend(&names);
                adds.push(add(app, day, &[(count, n)], &[(crowd, sketch(names))]));
            }
        }
        let writer = usize::try_from(dice.below(3)).expect("small");
        numbers[writer] += 1;
        let batch = batch(u8::try_from(writer).expect("small"), numbers[writer], adds);
        directory.add_numbers(&batch).expect("adds");
        sent.push(batch);
    }
    for app in [AppId(1), APP] {
        for known in directory.numbers(app, DAY, DAY + 3).expect("reads") {
            for (at, n) in known.counts.iter().enumerate() {
                let want = counts.remove(&(app, known.day, at)).unwrap_or_default();
                assert_eq!(*n, want, "{app:?} {} {at}", known.day);
            }
            for (at, crowd) in known.crowds.iter().enumerate() {
                let want = crowds.remove(&(app, known.day, at)).unwrap_or_default();
                assert_eq!(*crowd, sketch(want), "{app:?} {} {at}", known.day);
            }
        }
    }
    assert!(counts.is_empty() && crowds.is_empty(), "{counts:?}");
}
