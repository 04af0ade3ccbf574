//! `nearport trunk`: the certificates of the links between edges, their core and those that locate.

use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use clap::{Args, Subcommand, ValueEnum};

use crate::cli::Failure;
use crate::trunk_certs::{Holder, make, make_ca};

/// Certificates of the links between edges and their core.
#[derive(Debug, Subcommand)]
pub(crate) enum Trunk {
    /// Make the cluster's private CA; its key stays here and goes to no node.
    Ca(Dir),
    /// Make or renew the certificate of a core, of an edge or of a process that locates, and print where it is.
    Cert(Cert),
}

#[derive(Debug, Args)]
pub(crate) struct Dir {
    /// Directory of the CA.
    #[arg(long, value_name = "DIR", default_value = "certs/trunk")]
    dir: PathBuf,
}

#[derive(Debug, Args)]
pub(crate) struct Cert {
    /// What it is for.
    #[arg(value_enum)]
    role: Role,
    /// The edge's number, as in its edge.node. With `locate`: the process is that edge too (role all).
    #[arg(long, required_if_eq("role", "edge"))]
    node: Option<u16>,
    /// How many days it is good.
    #[arg(long, default_value_t = 365, value_parser = clap::value_parser!(u32).range(1..=3650))]
    days: u32,
    #[command(flatten)]
    dir: Dir,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Role {
    Core,
    Edge,
    Locate,
}

impl Trunk {
    pub(crate) fn run(self) -> Result<(), Failure> {
        let now = SystemTime::now();
        match self {
            Self::Ca(Dir { dir }) => println!("{}", make_ca(&dir, now)?.display()),
            Self::Cert(Cert { role, node, days, dir: Dir { dir } }) => {
                let holder = match role {
                    Role::Core => Holder::Core,
                    Role::Edge => Holder::Edge(node.unwrap_or_default()),
                    Role::Locate => Holder::Locate(node),
                };
                let life = Duration::from_hours(24 * u64::from(days));
                let (cert, key) = make(&dir, holder, life, now)?;
                println!("{}\n{}", cert.display(), key.display());
            }
        }
        Ok(())
    }
}
