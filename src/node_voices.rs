//! What clients measured, over a restart: a file in the data directory.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use nearport_geo::PopTable;
use nearport_locate::{Kept, Service};

use crate::files;

/// Keeps the voices of a service: writes them when it is told to and when it is dropped.
#[derive(Debug)]
pub(crate) struct KeptVoices {
    service: Arc<Service>,
    path: PathBuf,
}

impl KeptVoices {
    pub(crate) fn new(service: Arc<Service>, path: PathBuf) -> Self {
        Self { service, path }
    }

    /// Whose they are.
    pub(crate) fn service(&self) -> &Arc<Service> {
        &self.service
    }

    /// Writes them. Blocks.
    pub(crate) fn save(&self) {
        if let Err(error) = files::replace(&self.path, &self.service.voices(), files::PRIVATE) {
            tracing::error!(%error, "addresses: what clients measured cannot be kept");
        }
    }
}

impl Drop for KeptVoices {
    fn drop(&mut self) {
        self.save();
    }
}

/// What was kept, for a service to start with. A file that is damaged is named in the log, and the service starts with nothing learnt: clients
/// measure again within minutes.
pub(crate) fn read(path: &Path, table: Arc<PopTable>) -> Kept {
    let octets = files::read_if_there(path).map_err(|error| error.to_string());
    let decoded = octets.and_then(|octets| match octets {
        Some(octets) => Kept::decode(table.clone(), &octets).map(Some).map_err(|error| error.to_string()),
        None => Ok(None),
    });
    match decoded {
        Ok(Some(kept)) => {
            let networks = kept.networks();
            tracing::info!(networks, "addresses: what clients measured was kept");
            return kept;
        }
        Ok(None) => {}
        Err(error) => {
            let file = path.display();
            tracing::error!(%file, error, "addresses: what clients measured was not kept");
        }
    }
    Kept::nothing(table)
}
