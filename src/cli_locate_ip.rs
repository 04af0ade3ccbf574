//! `nearport locate`

use std::net::IpAddr;

use clap::Args;
use nearport_geo::PopTable;
use nearport_locate::explain::consider;

use crate::cli::{Failure, SettingsArgs};
use crate::{cli_locate, node_locate};

/// The PoPs that come with the product, for who has no table yet.
const POPS: &str = include_str!("../geo/pops.toml");

/// Where a client would be sent, and why: by the files that are configured, without what running services have measured.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct Locate {
    #[command(flatten)]
    settings: SettingsArgs,
    /// The client's address; without it, a client of which nothing is known.
    #[arg(long, value_name = "ADDR")]
    ip: Option<IpAddr>,
    /// The App whose client it is, for policies that hold for one App.
    #[arg(long, value_name = "SDKAPPID")]
    app: Option<u32>,
    #[command(subcommand)]
    other: Option<cli_locate::Locate>,
}

impl Locate {
    pub(crate) fn run(self) -> Result<(), Failure> {
        if let Some(other) = self.other {
            return other.run();
        }
        let config = self.settings.load()?.config;
        let databases = node_locate::databases(&config)?;
        let table = match node_locate::pops(&config)? {
            Some(table) => table,
            None => PopTable::parse(POPS)?,
        };
        let sentences = consider(&databases, node_locate::world()?, table, self.ip, self.app);
        match self.ip {
            Some(ip) => println!("{ip}"),
            None => println!("a client of which nothing is known (--ip ADDR asks for one)"),
        }
        for sentence in sentences {
            println!("  {sentence}");
        }
        Ok(())
    }
}
