//! What clients measured, over a restart: a file in the data directory.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use nearport_locate::{Now, Service};

use crate::files;

/// Keeps the voices of a service: reads them when it is made, writes them when it is told to and when it is dropped.
#[derive(Debug)]
pub(crate) struct KeptVoices {
    service: Arc<Service>,
    path: PathBuf,
}

impl KeptVoices {
    /// Gives the service what was kept, and compiles a map with it. A file that is damaged is named in the log, and the service starts with nothing learnt:
    /// clients measure again within minutes.
    pub(crate) fn open(service: Arc<Service>, path: PathBuf, now: Now) -> Self {
        match recalled(&service, &path) {
            Ok(0) => {}
            Ok(networks) => {
                tracing::info!(networks, "addresses: what clients measured was kept");
                // Files that are wrong are named by the first turn of the loop.
                let _ = service.turn(now, false);
            }
            Err(error) => {
                let file = path.display();
                tracing::error!(%file, error, "addresses: what clients measured was not kept");
            }
        }
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

/// How many networks have a voice again.
fn recalled(service: &Service, path: &Path) -> Result<usize, String> {
    let kept = files::read_if_there(path).map_err(|error| error.to_string())?;
    let Some(kept) = kept else { return Ok(0) };
    service.recall(&kept).map_err(|error| error.to_string())
}
