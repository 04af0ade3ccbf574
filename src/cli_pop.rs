//! `nearport pop`: the PoPs of the network, as the process that locates sees them, and what an operator wants of them.

use std::io::Write as _;
use std::time::Duration;

use anyhow::Context as _;
use clap::{Args, Subcommand};
use nearport_steer::{Row, State, Wish};

use crate::cli::{Failure, SettingsArgs};
use crate::control::{Answer, PopOrder, What};
use crate::control_server::{LOCATE_SOCKET_FILE, SOCKET_FILE, ask_at};

/// How long the process may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// PoPs of the network: who is up, how full, and what is ordered.
#[derive(Debug, Subcommand)]
pub(crate) enum Pop {
    /// Show all PoPs.
    List(List),
    /// Send nobody to a PoP any more, and its clients elsewhere.
    Drain(Drain),
    /// Take a drain back.
    Undrain(Undrain),
    /// Count only a part of a PoP's capacity, 0 to 1.
    Weight(Weight),
}

#[derive(Debug, Args)]
pub(crate) struct List {
    /// Print JSON.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    settings: SettingsArgs,
}

#[derive(Debug, Args)]
pub(crate) struct Drain {
    /// Its id, as `nearport pop list` shows it.
    pop: String,
    /// Even if it is the last PoP that is up.
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    settings: SettingsArgs,
}

#[derive(Debug, Args)]
pub(crate) struct Undrain {
    /// Its id.
    pop: String,
    #[command(flatten)]
    settings: SettingsArgs,
}

#[derive(Debug, Args)]
pub(crate) struct Weight {
    /// Its id.
    pop: String,
    /// Which part of its capacity counts; 0: no new clients.
    #[arg(value_parser = thousandths)]
    weight: u16,
    /// Even if nobody is left with a weight of 0.
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    settings: SettingsArgs,
}

/// `0.5` is 500.
fn thousandths(text: &str) -> Result<u16, String> {
    let weight: f64 = text.parse().map_err(|_| "write a number from 0 to 1, for example 0.5".to_owned())?;
    if !(0.0..=1.0).contains(&weight) {
        return Err("write a number from 0 to 1, for example 0.5".to_owned());
    }
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "0 to 1,000")]
    Ok((weight * 1000.0).round() as u16)
}

impl Pop {
    pub(crate) fn run(self) -> Result<(), Failure> {
        match self {
            Self::List(List { json, settings }) => {
                let (rows, edges) = asked(&settings, &What::Pops)?;
                let text = if json {
                    serde_json::to_string_pretty(&serde_json::json!({ "edges": edges, "pops": rows }))? + "\n"
                } else {
                    table(&rows, edges)
                };
                // Whoever pipes it into `head` has seen enough.
                let _ = std::io::stdout().write_all(text.as_bytes());
                Ok(())
            }
            Self::Drain(Drain { pop, force, settings }) => order(&settings, pop, Wish::Drain { force }),
            Self::Undrain(Undrain { pop, settings }) => order(&settings, pop, Wish::Undrain),
            Self::Weight(Weight { pop, weight, force, settings }) => {
                order(&settings, pop, Wish::Weight { thousandths: weight, force })
            }
        }
    }
}

fn asked(settings: &SettingsArgs, what: &What) -> Result<(Vec<Row>, usize), Failure> {
    let data = settings.load()?.config.data;
    // One that only locates has a socket of its own, beside that of a node on the same directory.
    let channel = ask_at(&data, LOCATE_SOCKET_FILE, what).or_else(|_| ask_at(&data, SOCKET_FILE, what))?;
    match channel.answer(PATIENCE)?.0 {
        Answer::Pops { rows, edges } => Ok((rows, edges)),
        other => Err(anyhow::anyhow!("not understood: {other:?}").into()),
    }
}

fn order(settings: &SettingsArgs, pop: String, wish: Wish) -> Result<(), Failure> {
    let user = std::env::var("USER").unwrap_or_else(|_| rustix::process::getuid().as_raw().to_string());
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let by = format!("{user}@{}", host.trim());
    let (rows, edges) = asked(settings, &What::Pop(PopOrder { pop: pop.clone(), wish, by }))?;
    let row = rows.iter().find(|row| row.pop == pop).context("it is gone from the table")?;
    let state = match (row.drained, row.weight) {
        (true, _) => "drained: nobody is sent there, and its clients are asked to leave".to_owned(),
        (false, weight) if weight < 1.0 => {
            format!("takes clients, for {} % of its capacity", percent(weight))
        }
        (false, _) => "takes clients".to_owned(),
    };
    let linked = match row.edges {
        0 => "; none of its edges is linked to this locator: they hear of it when they are".to_owned(),
        1 => "; 1 of its edges is linked".to_owned(),
        count => format!("; {count} of its edges are linked"),
    };
    let linked = if edges == 0 { "; no edge is linked to this locator".to_owned() } else { linked };
    eprintln!("{pop} {state}{linked}");
    Ok(())
}

fn percent(part: f32) -> String {
    format!("{:.0}", part * 100.0)
}

/// One line for each PoP under a heading.
fn table(rows: &[Row], edges: usize) -> String {
    const HEAD: [&str; 9] =
        ["POP", "STATE", "SHARE", "DOWN/VOTES", "SESSIONS", "CAPACITY", "ORDER", "EDGES", "SAID"];
    let line = |row: &Row| {
        let state = match (row.state, row.held_ms) {
            (State::Held, held) => format!("down, held {} s", held.unwrap_or(0).div_ceil(1_000)),
            (State::Down, _) => "down".to_owned(),
            (State::SlowStart, _) => "slow start".to_owned(),
            (State::Up, _) if row.draining && !row.drained => "draining".to_owned(),
            (State::Up, _) => "up".to_owned(),
        };
        let order = match (row.drained, row.weight) {
            (true, _) => "drained".to_owned(),
            (false, weight) if weight < 1.0 => format!("weight {weight}"),
            (false, _) => "-".to_owned(),
        };
        let number = |number: Option<u32>| number.map_or_else(|| "?".to_owned(), |number| number.to_string());
        let said = row.said_ms.map_or_else(|| "-".to_owned(), |ms| format!("{:.1} s", ms as f64 / 1_000.0));
        [
            row.pop.clone(),
            state,
            format!("{} %", percent(row.share)),
            format!("{}/{}", row.votes_down, row.votes),
            number(row.sessions),
            number(row.capacity),
            order,
            row.edges.to_string(),
            said,
        ]
    };
    let lines: Vec<_> = std::iter::once(HEAD.map(str::to_owned)).chain(rows.iter().map(line)).collect();
    let widths: Vec<usize> = (0..HEAD.len())
        .map(|column| lines.iter().map(|line| line[column].chars().count()).max().unwrap_or(0))
        .collect();
    let mut text = String::new();
    for line in &lines {
        let cells = line.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}"));
        let line = cells.collect::<Vec<_>>().join("  ");
        text.push_str(line.trim_end());
        text.push('\n');
    }
    if edges == 0 {
        text.push_str("no edge is linked to this locator: nothing is known of PoPs, and all are named that are not drained\n");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_are_numbers_from_0_to_1() {
        assert_eq!(
            (thousandths("0.5"), thousandths("1"), thousandths("0"), thousandths("0.0004")),
            (Ok(500), Ok(1000), Ok(0), Ok(0))
        );
        for bad in ["", "half", "1.01", "-0.1", "NaN", "50%"] {
            assert!(thousandths(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn the_table_shows_what_an_operator_looks_for() {
        let row = |pop: &str, state, held_ms, drained| Row {
            pop: pop.to_owned(),
            place: "Here".to_owned(),
            state,
            held_ms,
            share: 0.25,
            votes: 3,
            votes_down: 1,
            sessions: Some(7),
            capacity: None,
            draining: false,
            drained,
            weight: 0.5,
            ordered: None,
            edges: 2,
            said_ms: Some(1_240),
        };
        let rows = [row("a", State::Up, None, false), row("much-longer", State::Held, Some(1_001), true)];
        let text = table(&rows, 2);
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(
            lines[1],
            "a            up              25 %   1/3         7         ?         weight 0.5  2      1.2 s"
        );
        assert!(lines[2].starts_with("much-longer  down, held 2 s  25 %") && lines[2].contains("drained"));
        assert!(table(&rows, 0).contains("no edge is linked"));
    }
}
