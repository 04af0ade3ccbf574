//! The engines that the settings name, opened.

use std::sync::Arc;

use nearport_chat::directory::{Directory, DirectoryError};
use nearport_chat::ledger::{Ledger, LedgerError};
use nearport_store::{
    BadUrl, FjallLedger, PgDirectory, PgLedger, Postgres, PostgresOptions, SqliteDirectory,
};
use rustls::ClientConfig;
use rustls::crypto::aws_lc_rs::default_provider;

use crate::config::{Config, Engine};
use crate::first_run::Layout;
use crate::{tls_pem, tls_roots};

/// Where things are kept; connections to a database are shared by all that is kept there.
#[derive(Debug)]
pub(crate) struct Storage<'a> {
    config: &'a Config,
    server: Option<Postgres>,
}

/// A ledger, and as what only the embedded one can do.
pub(crate) type Opened = (Arc<dyn Ledger>, Option<Arc<FjallLedger>>);

impl<'a> Storage<'a> {
    /// Connects to nothing yet.
    ///
    /// # Errors
    /// What is wrong with the settings of the database, or with files that they name.
    pub(crate) fn new(config: &'a Config) -> Result<Self, BadUrl> {
        let storage = &config.storage;
        let used = [storage.ledger, storage.directory].contains(&Engine::Postgres);
        let server = if used { Some(server(config)?) } else { None };
        Ok(Self { config, server })
    }

    /// Opens the directory; an embedded one is made if there is none.
    pub(crate) fn directory(&self, layout: &Layout) -> Result<Arc<dyn Directory>, DirectoryError> {
        Ok(match (self.config.storage.directory, &self.server) {
            (Engine::Postgres, Some(server)) => Arc::new(PgDirectory::postgres(server)?),
            _ => Arc::new(SqliteDirectory::open(&layout.directory())?),
        })
    }

    /// Opens the ledger; the second is the same, if it is the embedded one.
    pub(crate) fn ledger(&self, layout: &Layout) -> Result<Opened, LedgerError> {
        if let (Engine::Postgres, Some(server)) = (self.config.storage.ledger, &self.server) {
            return Ok((Arc::new(PgLedger::open(server)?), None));
        }
        let mut options = nearport_store::Options::default();
        options.cache_bytes = self.config.store.cache_bytes;
        options.flush_bytes = self.config.store.flush_bytes;
        options.accept_missing_commits = self.config.store.accept_missing_commits;
        let ledger = Arc::new(FjallLedger::open(&layout.ledger(), options)?);
        Ok((ledger.clone(), Some(ledger)))
    }

    /// Opens the directory for a command beside a server.
    pub(crate) fn directory_of(config: &Config) -> Result<Arc<dyn Directory>, DirectoryError> {
        let storage = Storage::new(config).map_err(|error| DirectoryError::Engine(error.to_string()))?;
        storage.directory(&Layout(config.data.clone()))
    }
}

/// The database of `storage.postgres`, whether an engine uses it or not. Connects to nothing yet.
pub(crate) fn server(config: &Config) -> Result<Postgres, BadUrl> {
    Postgres::new(&options(config)?)
}

fn options(config: &Config) -> Result<PostgresOptions, BadUrl> {
    let settings = &config.storage.postgres;
    let mut options = PostgresOptions::new(settings.url.clone().unwrap_or_default());
    options.connections = settings.connections;
    options.connect_timeout = settings.connect_timeout;
    options.statement_timeout = settings.statement_timeout;
    if let Some(path) = &settings.password_file {
        let text = std::fs::read_to_string(path)
            .map_err(|error| BadUrl(format!("storage.postgres.password_file {}: {error}", path.display())))?;
        options.password = Some(text.trim_end_matches(['\r', '\n']).to_owned());
    }
    if options.wants_tls()? {
        let roots = match &settings.ca {
            Some(path) => tls_pem::roots(path).map_err(|error| BadUrl(error.to_string()))?,
            None => tls_roots::system_roots().map_err(BadUrl)?,
        };
        let tls = ClientConfig::builder_with_provider(Arc::new(default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(|error| BadUrl(error.to_string()))?;
        options.tls = Some(Arc::new(tls.with_root_certificates(roots).with_no_client_auth()));
    }
    Ok(options)
}
