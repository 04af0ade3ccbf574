//! Groups on the real program: each row of the contract's comparison of types, each field, each limit, for every type, allowed and
//! refused.
//!
//! A row of a table is the name of a row of the contract, the steps, and what comes of the last one in a group of each of
//! [`TYPES`]. `Done` and codes are what is answered; where nothing is to be answered, the step says what is looked at.

pub(crate) mod act;
mod comparison;
mod fields;
mod limits;
mod look;
pub(crate) mod scene;
mod talk;
mod too_much;
mod topics;

use std::collections::BTreeSet;
use std::fmt;

use act::{Act, Steps};
use scene::{Cast, Scene, TYPES};

pub(crate) use crate::contract::Cell;
use crate::contract::Wrong;
use crate::contract::spec;
use crate::contract::stage::Stage;

/// The contract's row, what is tried, and what comes of it for each of some kinds of conversation.
pub(crate) type Row<const N: usize> = (&'static str, Steps, [Cell; N]);

/// Custom fields that the tables use.
pub(crate) const FIELDS: &str = r#"chat.groups.fields=[
    { name = "open", of = "group", write = "member" },
    { name = "boss", of = "group", read = "owner", write = "owner" },
    { name = "root", of = "group", write = "app" },
    { name = "mine", of = "member", read = "admin", own = true },
    { name = "rank", of = "member" },
]"#;

/// Tries each row in a conversation of its own of each kind; the kinds side by side.
pub(crate) async fn check<const N: usize>(stage: &Stage, kinds: [&'static str; N], rows: &'static [Row<N>]) {
    let mut columns = Vec::new();
    for (column, kind) in kinds.into_iter().enumerate() {
        let cast = Cast::new(stage, kind).await;
        columns.push(tokio::spawn(column_of(cast, column, rows)));
    }
    let mut wrong = Wrong::default();
    for column in columns {
        wrong.append(column.await.unwrap());
    }
    wrong.check();
}

async fn column_of<const N: usize>(cast: Cast, column: usize, rows: &'static [Row<N>]) -> Wrong {
    let mut wrong = Wrong::default();
    for (name, steps, cells) in rows {
        wrong.append(row(&cast, name, steps, cells[column]).await);
    }
    cast.close().await;
    wrong
}

async fn row(cast: &Cast, name: &str, steps: Steps, want: Cell) -> Wrong {
    let mut wrong = Wrong::default();
    let fresh = matches!(steps.first(), Some((_, Act::Fresh)));
    let mut scene = Scene::new(cast, fresh).await;
    let (last, before) = steps.split_last().expect("a row has a step");
    for (who, act) in before {
        // What comes by itself is waited for.
        scene.act(*who, *act, Some(Cell::Says("yes"))).await;
    }
    let got = scene.act(last.0, last.1, Some(want)).await;
    wrong.expect(&Shown { kind: cast.kind, name, steps }, &got, want);
    scene.end().await;
    wrong
}

struct Shown<'a> {
    kind: &'a str,
    name: &'a str,
    steps: Steps,
}

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, {}:", self.kind, self.name)?;
        self.steps.iter().try_for_each(|(who, act)| write!(f, " {who:?} {act:?};"))
    }
}

#[tokio::test]
async fn each_row_of_the_comparison_is_as_the_contract_has_it() {
    let stage = Stage::start(&[FIELDS]);
    check(&stage, TYPES, comparison::ROWS).await;
}

#[test]
fn no_row_of_the_contracts_comparison_is_left_out() {
    let Some(page) = spec::page("groups.md") else { return };
    let elsewhere = comparison::ELSEWHERE.iter().map(|(name, _)| *name);
    let cases: BTreeSet<_> = comparison::ROWS.iter().map(|(name, ..)| *name).chain(elsewhere).collect();
    spec::check("groups.md, 2", &spec::items(&page, "2"), &cases);
}

#[tokio::test]
async fn each_field_holds_what_the_contract_says_and_is_written_by_whom_it_says() {
    let stage = Stage::start(&[FIELDS]);
    check(&stage, TYPES, fields::ROWS).await;
}

#[test]
fn no_field_of_the_contract_is_left_out() {
    let Some(page) = spec::page("groups.md") else { return };
    let elsewhere = fields::ELSEWHERE.iter().map(|(name, _)| *name);
    let cases: BTreeSet<_> = fields::ROWS.iter().map(|(name, ..)| *name).chain(elsewhere).collect();
    spec::check("groups.md, 5", &spec::items(&page, "5"), &cases);
}

#[tokio::test]
async fn each_limit_of_requests_has_its_code() {
    let stage = Stage::start(&[FIELDS]);
    check(&stage, TYPES, limits::ROWS).await;
}

#[tokio::test]
async fn each_setting_of_an_app_and_each_window_has_its_code() {
    let mut wrong = Wrong::default();
    for rows in limits::SETTINGS.chunk_by(|one, other| one.1 == other.1) {
        let stage = Stage::start(rows[0].1);
        for rows in rows.chunk_by(|one, other| one.2 == other.2) {
            let cast = Cast::new(&stage, rows[0].2).await;
            for (name, _, _, steps, want) in rows {
                wrong.append(row(&cast, name, steps, *want).await);
            }
            cast.close().await;
        }
    }
    wrong.check();
}

/// Codes that the tables expect.
pub(crate) fn codes() -> BTreeSet<u32> {
    let rows = [comparison::ROWS, fields::ROWS, limits::ROWS].into_iter().flatten();
    let cells = rows.flat_map(|(_, _, cells)| cells);
    cells.chain(limits::SETTINGS.iter().map(|(.., cell)| cell)).filter_map(Cell::code).collect()
}
