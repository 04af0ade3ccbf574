//! Where an import stands, so that one that was ended goes on.

use super::DirectoryError;
use crate::key::AppId;

/// The marks of imports, in a transaction of [`super::people::PeopleStore`].
pub trait ImportTx {
    /// The mark of an import of an App. `job`: 32 bytes that tell it from others; what the mark says is the importer's.
    ///
    /// # Errors
    /// [`DirectoryError`] of the engine, as for all methods here.
    fn import_mark(&mut self, app: AppId, job: &[u8; 32]) -> Result<Option<String>, DirectoryError>;

    /// Writes the mark over the one that there is.
    ///
    /// # Errors
    /// See [`Self::import_mark`].
    fn put_import_mark(&mut self, app: AppId, job: &[u8; 32], mark: &str) -> Result<(), DirectoryError>;
}
