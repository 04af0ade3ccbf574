//! `[locate]` of client.toml: how client commands find the nearest of several edges.

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use nearport_client::{LocateConfig, LocateError, Locator, Network, Server, Survey};
use serde::{Deserialize, Serialize};

use crate::cli::{Failure, runtime};
use crate::cli_client::{Access, AccessArgs};

/// How long a command that is about to end waits for its report and for the signed map.
pub(crate) const FAREWELL: Duration = Duration::from_millis(500);

/// `[locate]`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct LocateFile {
    /// Addressing services, `IP:PORT/NAME`.
    pub(crate) https: Vec<String>,
    /// Servers of DNS over HTTPS, `IP:PORT/NAME`.
    pub(crate) doh: Vec<String>,
    /// Names with ranked records.
    pub(crate) names: Vec<String>,
    /// Below which targets of records are believed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) zone: Option<String>,
    /// Of names that have addresses only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) port: Option<u16>,
    /// Whether the system's resolver is asked too.
    pub(crate) system_resolver: bool,
    /// Public keys of maps, in hex.
    pub(crate) map_keys: Vec<String>,
    /// Edges to try at last, `IP:PORT/NAME`.
    pub(crate) list: Vec<String>,
    /// Where what was found is kept; unset: `locate` beside client.toml.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) dir: Option<PathBuf>,
    /// Whether round trips are reported.
    pub(crate) report: bool,
}

impl Default for LocateFile {
    fn default() -> Self {
        Self {
            https: Vec::new(),
            doh: Vec::new(),
            names: Vec::new(),
            zone: None,
            port: None,
            system_resolver: true,
            map_keys: Vec::new(),
            list: Vec::new(),
            dir: None,
            report: true,
        }
    }
}

impl LocateFile {
    /// The servers that are named by their addresses and connected to over TCP.
    pub(crate) fn servers(&self) -> Result<Vec<Server>, LocateError> {
        Ok([all(&self.https)?, all(&self.list)?].concat())
    }

    /// A locator that keeps what it finds below `data`.
    pub(crate) fn locator(&self, data: &Path) -> Result<Locator, LocateError> {
        let defaults = LocateConfig::default();
        Locator::new(LocateConfig {
            https: all(&self.https)?,
            doh: all(&self.doh)?,
            names: self.names.clone(),
            zone: self.zone.clone(),
            port: self.port.unwrap_or(defaults.port),
            system_resolver: self.system_resolver,
            map_keys: self.map_keys.iter().map(|hex| LocateConfig::map_key(hex)).collect::<Result<_, _>>()?,
            list: all(&self.list)?,
            dir: Some(self.dir.clone().unwrap_or_else(|| data.join("locate"))),
            report: self.report,
        })
    }
}

fn all(texts: &[String]) -> Result<Vec<Server>, LocateError> {
    texts.iter().map(|text| text.parse()).collect()
}

/// What a client here would find: every step of client.toml's [locate], and the race of the PoPs.
#[derive(Debug, Args)]
pub(crate) struct LocateClient {
    #[command(flatten)]
    access: AccessArgs,
}

impl LocateClient {
    pub(crate) fn run(self) -> Result<(), Failure> {
        let survey = survey(self.access.resolve()?)?;
        for step in &survey.steps {
            let server = step.server.as_ref().map(|server| format!(" {server}")).unwrap_or_default();
            let ms = step.took.as_millis();
            match &step.outcome {
                Ok(pops) => println!("ok    {}{server}: {} ({ms} ms)", step.source, pops.join(", ")),
                // The reason begins with the server.
                Err(reason) if step.server.is_some() => println!("fail  {} {reason} ({ms} ms)", step.source),
                Err(reason) => println!("fail  {}: {reason} ({ms} ms)", step.source),
            }
        }
        for contestant in &survey.race {
            match contestant.rtt {
                Some(rtt) => println!("race  {contestant}: {:.1} ms", rtt.as_secs_f64() * 1_000.0),
                None => println!("race  {contestant}: no answer"),
            }
        }
        survey.verdict()?;
        Ok(())
    }
}

/// Asks every server of every step, through the proxy that a login would take.
pub(crate) fn survey(access: Access) -> Result<Survey, Failure> {
    let network = access.behind_proxy(None)?;
    let Some(locator) = access.locator else {
        let file = access.layout.client_file();
        return Err(Failure::usage(format!("there is no [locate] in {}", file.display())));
    };
    runtime()?.block_on(async {
        let network = Network::new(network)?;
        Ok(locator.survey(&network).await)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_section_is_read_and_what_makes_no_sense_named() {
        let dir = tempfile::tempdir().unwrap();
        let read = |text: &str| toml::from_str::<LocateFile>(text).unwrap().locator(dir.path());
        assert!(read("https = ['192.0.2.7:443/locate.example']").is_ok());
        assert!(read("names = ['np.example']\nzone = 'example'\nport = 443").is_ok());
        assert!(read(&format!("map_keys = ['{}']", "0f".repeat(32))).is_ok());
        for (text, why) in [
            ("", "nowhere to ask"),
            ("https = ['locate.example:443']", "write IP:PORT/NAME"),
            ("list = ['192.0.2.1:1']\nmap_keys = ['0f']", "64 hex digits"),
            ("doh = ['192.0.2.1:1']\nlist = ['192.0.2.1:1']", "names to ask for"),
        ] {
            assert!(read(text).unwrap_err().to_string().contains(why), "{text}");
        }
        assert!(toml::from_str::<LocateFile>("url = 'x'").is_err());
    }
}
