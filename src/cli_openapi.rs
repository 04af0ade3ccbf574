//! `nearport openapi`

use std::path::PathBuf;

use clap::Args;

use crate::cli::Failure;

/// Print the OpenAPI document of the commands that back ends of Apps call.
#[derive(Debug, Args)]
pub(crate) struct Openapi {
    /// Write it to a file instead.
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

impl Openapi {
    pub(crate) fn run(self) -> Result<(), Failure> {
        let text = nearport_rest::document().to_pretty_json()?;
        match self.out {
            Some(path) => std::fs::write(&path, text + "\n")
                .map_err(|error| Failure::usage(format!("{}: {error}", path.display())))?,
            None => println!("{text}"),
        }
        Ok(())
    }
}
