//! Every code of the contract is expected by a row of a table, or stands here with the reason why clients do not meet it.

use std::collections::BTreeSet;
use std::ops::RangeInclusive;

use super::spec;
use crate::{groups, messages, people};

/// What clients of the SDK do not meet.
#[rustfmt::skip]
static NOT_HERE: &[(RangeInclusive<u32>, &str)] = &[
    (1001..=1005, "REST: history files"),
    (10_002..=10_002, "the store fails: crash and full-disk tests"),
    (10_008..=10_008, "plans, which there are none of"),
    (10_011..=10_012, "REST: the body, the operator"),
    (10_016..=10_016, "callbacks"),
    (10_018..=10_018, "answers have pages and bounds of their own"),
    (10_023..=10_023, "REST: clients are told success above the rate"),
    (10_026..=10_026, "REST: commands"),
    (10_034..=10_034, "every message can be deleted for oneself"),
    (20_002..=20_002, "the session ends with its connection"),
    (20_004..=20_006, "the store fails; callbacks"),
    (20_008..=20_008, "a session is of one App, and so is everybody that it can name"),
    (20_012..=20_012, "an administrator mutes: REST"),
    (20_018..=20_018, "the store fails"),
    (21_005..=22_006, "pushes of the system's: not offered"),
    (23_001..=23_004, "REST: extensions of messages"),
    (30_002..=30_002, "a session is of one App"),
    (30_004..=30_004, "nobody can name another one's relations: REST"),
    (30_006..=30_009, "the store fails; a conflict of writers; set by administrators"),
    (30_540..=30_540, "anti-abuse: no rule is named"),
    (31_707..=31_707, "anti-abuse: no rule is named"),
    (31_804..=31_804, "REST: deleting for an account that does not exist"),
    (40_004..=40_004, "nobody can name another one's profile to write: REST"),
    (40_006..=40_006, "the store fails"),
    (50_001..=50_001, "a session has an account"),
    (50_003..=50_005, "administrators; the store fails"),
    (51_008..=51_008, "a thousand marks: in-process table"),
    (51_013..=51_013, "plans"),
    (60_002..=60_008, "REST"),
    (60_010..=60_021, "REST; 60016 and 60018: tests of chat"),
    (70_004..=70_004, "older lists"),
    (70_051..=70_106, "account service: REST"),
    (70_114..=70_398, "account service: REST"),
    (70_403..=71_000, "account service: REST"),
    (80_001..=80_001, "no text filter"),
    (80_003..=80_003, "callbacks"),
    (90_001..=90_001, "REST"),
    (90_003..=90_025, "REST"),
    (90_030..=91_101, "REST; web long poll"),
    (93_000..=93_000, "REST"),
    (120_001..=130_014, "callbacks; REST"),
];

/// The codes of the contract's page: numbers in the first column of its tables, ranges and lists written out.
fn of_page(page: &str) -> Vec<u32> {
    let mut codes = Vec::new();
    for line in page.lines().filter(|line| line.starts_with('|')) {
        let cell = line.split('|').nth(1).unwrap_or_default();
        for part in cell.split([',', '/']) {
            let mut ends = part.trim().splitn(2, '-').map(|end| end.trim().parse::<u32>());
            match (ends.next(), ends.next()) {
                (Some(Ok(first)), None) => codes.push(first),
                (Some(Ok(first)), Some(Ok(last))) if last - first < 30 => codes.extend(first..=last),
                (Some(Ok(first)), Some(Ok(last))) => codes.extend([first, last]),
                _ => {}
            }
        }
    }
    codes
}

#[test]
fn every_code_of_the_contract_is_in_a_table_or_has_a_reason() {
    let Some(page) = spec::page("errors.md") else { return };
    let tables: BTreeSet<u32> =
        [groups::codes(), messages::codes(), people::codes()].into_iter().flatten().collect();
    let codes = of_page(&page);
    assert!(codes.len() > 150, "{codes:?}");
    let reason = |code: &u32| NOT_HERE.iter().any(|(range, _)| range.contains(code));
    // Nor the other way round: what a table expects needs no reason.
    let stale: Vec<_> = tables.iter().filter(|code| reason(code)).collect();
    assert!(stale.is_empty(), "clients do meet {stale:?}");
    let missing: Vec<_> = codes.iter().filter(|code| !tables.contains(code) && !reason(code)).collect();
    assert!(missing.is_empty(), "no row expects {missing:?}");
}
