//! `nearport locate`

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use clap::Args;
use nearport_geo::PopTable;
use nearport_locate::atlas::Atlas;
use nearport_locate::explain::explain;

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
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let (world, all) = (Arc::new(node_locate::world()?), table.all());
        let atlas = Atlas::build(Arc::new(table), world, &[], all, Duration::from_secs(now.as_secs()), 0);
        let place = self.ip.map(|ip| databases.look_up(ip)).unwrap_or_default();
        let answer = atlas.answer(&place, 0);
        match self.ip {
            Some(ip) => println!("{ip}"),
            None => println!("a client of which nothing is known (--ip ADDR asks for one)"),
        }
        for sentence in explain(&place, &answer, &atlas, &databases.states()) {
            println!("  {sentence}");
        }
        Ok(())
    }
}
