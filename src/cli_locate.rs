//! `nearport locate`

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::{Args, Subcommand};
use nearport_geo::eval::{self, Client, Data, PolicySpread, Report, Setting};
use nearport_geo::model::Tuning;
use nearport_geo::{Continent, World};
use serde::Serialize;

use crate::cli::Failure;
use crate::cli_client_locate::LocateClient;

/// Which PoP is best for whom.
#[derive(Debug, Subcommand)]
pub(crate) enum Locate {
    /// Judge how PoPs are chosen by measured round trips.
    Eval(Eval),
    Client(LocateClient),
}

/// Judge how PoPs are chosen by measured round trips.
///
/// Files are CSV with the columns client_city, client_country, client_lat, client_lon, pop_city, pop_country, pop_lat,
/// pop_lon, rtt_ms_min. Excess is the round trip of the best PoP that was named less that of the best of all.
#[derive(Debug, Args)]
pub(crate) struct Eval {
    /// Measurements to learn from.
    #[arg(long, value_name = "FILE")]
    train: PathBuf,
    /// Measurements of other clients to judge by.
    #[arg(long, value_name = "FILE", required_unless_present = "cross_validate")]
    test: Option<PathBuf>,
    /// Judge each part of the training file, cut into this many, by what the others teach.
    #[arg(long, value_name = "PARTS", value_parser = clap::value_parser!(u8).range(2..=20))]
    cross_validate: Option<u8>,
    /// Which way of cutting it.
    #[arg(long, value_name = "N", default_value_t = 1, requires = "cross_validate")]
    seed: u64,
    /// Cut it in this many ways, from that one on, and say how much the figures depend on it.
    #[arg(long, value_name = "WAYS", default_value_t = 1, requires = "cross_validate",
          value_parser = clap::value_parser!(u16).range(1..=1000))]
    cuttings: u16,
    /// Where to write all figures; - is stdout.
    #[arg(long, value_name = "FILE|-")]
    json: Option<PathBuf>,
}

#[derive(Serialize)]
struct Output {
    train: String,
    cross_validation: Option<CrossValidation>,
    test: Option<Report>,
}

#[derive(Serialize)]
struct CrossValidation {
    parts: u8,
    seed: u64,
    #[serde(flatten)]
    report: Report,
    cuttings: u16,
    over_cuttings: Vec<PolicySpread>,
}

impl Locate {
    /// Runs it.
    pub(crate) fn run(self) -> Result<(), Failure> {
        match self {
            Self::Eval(eval) => eval.run(),
            Self::Client(client) => client.run(),
        }
    }
}

impl Eval {
    fn run(self) -> Result<(), Failure> {
        let world = World::shipped().context("the countries of this program")?;
        let mut data = Data::default();
        let train = read(&self.train, &mut data, &world)?;
        let mut test = self.test.as_deref().map(|path| read(path, &mut data, &world)).transpose()?;
        if test.as_ref() == Some(&train) {
            if self.cross_validate.is_some() {
                test = None;
            } else {
                eprintln!("nearport: both files say the same: what is learned is judged by itself");
            }
        }
        let setting = Setting { pops: &data.pops, world: &world, tuning: Tuning::default() };
        let output = Output {
            train: self.train.display().to_string(),
            cross_validation: self.cross_validate.and_then(|parts| self.validate(setting, &train, parts)),
            test: test.map(|test| eval::evaluate(setting, &train, &test)),
        };
        if let Some(validation) = &output.cross_validation {
            show(&format!("{} parts of the training file", validation.parts), &validation.report);
            if validation.cuttings > 1 {
                show_spread(validation);
            }
        }
        if let Some(report) = &output.test {
            show("the test file", report);
        }
        if let Some(path) = &self.json {
            let mut json = serde_json::to_string_pretty(&output)?;
            json.push('\n');
            if path == Path::new("-") {
                print!("{json}");
            } else {
                std::fs::write(path, json).with_context(|| path.display().to_string())?;
            }
        }
        Ok(())
    }
}

impl Eval {
    fn validate(&self, setting: Setting<'_>, train: &[Client], parts: u8) -> Option<CrossValidation> {
        let seeds = (0..self.cuttings).map(|way| self.seed.wrapping_add(way.into()));
        let mut reports: Vec<Report> =
            seeds.map(|seed| eval::cross_validate(setting, train, parts.into(), seed)).collect();
        let over_cuttings = eval::spread(&reports);
        let report = (!reports.is_empty()).then(|| reports.swap_remove(0))?;
        Some(CrossValidation { parts, seed: self.seed, report, cuttings: self.cuttings, over_cuttings })
    }
}

fn show_spread(validation: &CrossValidation) {
    eprintln!("{} ways of cutting it, mean ± standard deviation", validation.cuttings);
    eprintln!("policy                          mean         <=5 ms  better than top3  <=1.5 ms and 95 %");
    for of in &validation.over_cuttings {
        eprintln!(
            "{:<23} {:>6.2} ± {:<4.2} {:>6.1} ± {:<4.1}% {:>16.0}% {:>17.0}%",
            of.policy.name(),
            of.mean_ms.mean,
            of.mean_ms.deviation,
            of.within_5ms.mean * 100.0,
            of.within_5ms.deviation * 100.0,
            of.better_than_top3 * 100.0,
            of.good * 100.0,
        );
    }
}

fn read(path: &Path, data: &mut Data, world: &World) -> Result<Vec<Client>, Failure> {
    let name = path.display();
    let text = std::fs::read_to_string(path).with_context(|| name.to_string())?;
    Ok(data.read(&text, world).with_context(|| name.to_string())?)
}

fn show(what: &str, report: &Report) {
    eprintln!("{} clients of {what}; milliseconds beyond the best PoP", report.clients);
    eprintln!("policy                    mean     p90     p99  <=5 ms  <=10 %  less than top3 [95 %]");
    for policy in &report.policies {
        let figures = &policy.overall;
        let [low, high] = policy.against_top3.mean_ms_interval;
        eprint!(
            "{:<23} {:>6.2} {:>7.1} {:>7.1} {:>6.1}% {:>6.1}%  {:>6.2} [{low:.2}, {high:.2}]",
            policy.policy.name(),
            figures.mean_ms,
            figures.p90_ms,
            figures.p99_ms,
            figures.within_5ms * 100.0,
            figures.within_10pct * 100.0,
            policy.against_top3.mean_ms,
        );
        for continent in Continent::ALL {
            if let Some(figures) = policy.continents.get(continent.code()) {
                eprint!("  {continent} {:.1}", figures.mean_ms);
            }
        }
        eprintln!();
    }
}
