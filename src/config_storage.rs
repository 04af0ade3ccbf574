//! `storage.*`: which engines keep what is kept.

use std::path::PathBuf;
use std::time::Duration;

use nearport_store::{PostgresOptions, url_without_password};
use serde::{Deserialize, Serialize, Serializer};

use crate::duration;

/// `storage.*`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Default)]
#[serde(default, deny_unknown_fields)]
#[expect(missing_docs, reason = "documented in KEYS, where `config explain` finds it")]
pub struct Storage {
    pub ledger: Engine,
    pub directory: Engine,
    pub postgres: Postgres,
}

/// Where something is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Default)]
#[serde(rename_all = "lowercase")]
pub enum Engine {
    /// In the data directory.
    #[default]
    Embedded,
    /// In PostgreSQL.
    Postgres,
}

/// `storage.postgres.*`
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[expect(missing_docs, reason = "documented in KEYS, where `config explain` finds it")]
pub struct Postgres {
    /// Written without its password: settings are written to be shown.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "without_password")]
    pub url: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub password_file: Option<PathBuf>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ca: Option<PathBuf>,
    pub connections: usize,
    #[serde(with = "duration::text")]
    pub connect_timeout: Duration,
    #[serde(with = "duration::text")]
    pub statement_timeout: Duration,
}

#[expect(clippy::ref_option, reason = "shape of `serialize_with`")]
fn without_password<S: Serializer>(url: &Option<String>, serializer: S) -> Result<S::Ok, S::Error> {
    url.as_deref().map(url_without_password).serialize(serializer)
}

impl std::fmt::Debug for Postgres {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // The URL may hold a password.
        f.debug_struct("Postgres").field("connections", &self.connections).finish_non_exhaustive()
    }
}

impl Default for Postgres {
    fn default() -> Self {
        let options = PostgresOptions::new("");
        Self {
            url: None,
            password_file: None,
            ca: None,
            connections: options.connections,
            connect_timeout: options.connect_timeout,
            statement_timeout: options.statement_timeout,
        }
    }
}

impl Storage {
    pub(crate) fn check(&self) -> Result<(), (&'static str, String)> {
        let uses = [("storage.ledger", self.ledger), ("storage.directory", self.directory)];
        let Some(url) = &self.postgres.url else {
            let user = uses.iter().find(|(_, engine)| *engine == Engine::Postgres);
            return match user {
                Some((key, _)) => Err((key, "postgres needs storage.postgres.url beside it".to_owned())),
                None => Ok(()),
            };
        };
        PostgresOptions::new(url).wants_tls().map_err(|error| ("storage.postgres.url", error.to_string()))?;
        if !(2..=1000).contains(&self.postgres.connections) {
            return Err(("storage.postgres.connections", "must be 2 to 1000".to_owned()));
        }
        let bounds = Duration::from_millis(100)..=Duration::from_mins(10);
        for (key, value) in [
            ("storage.postgres.connect_timeout", self.postgres.connect_timeout),
            ("storage.postgres.statement_timeout", self.postgres.statement_timeout),
        ] {
            if !bounds.contains(&value) {
                return Err((key, "must be 100ms to 10m".to_owned()));
            }
        }
        Ok(())
    }
}
