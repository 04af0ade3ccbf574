//! [`SqlDirectory`].

use nearport_chat::directory::DirectoryError;

use super::{Engine, Tx};

/// The directory in the tables of `migrations/`. Each area implements its trait in a file beside this one.
#[derive(Debug)]
pub struct SqlDirectory<E> {
    engine: E,
}

impl<E: Engine> SqlDirectory<E> {
    /// Over a database whose tables are up to date.
    pub(super) fn new(engine: E) -> Self {
        Self { engine }
    }

    /// [`Engine::read`] with a result.
    pub(crate) fn read<T>(
        &self,
        mut work: impl FnMut(&mut dyn Tx) -> Result<T, DirectoryError>,
    ) -> Result<T, DirectoryError> {
        let mut result = None;
        self.engine.read(&mut |tx| {
            result = Some(work(tx)?);
            Ok(())
        })?;
        Ok(result.expect("an engine that returns `Ok` has run the work"))
    }

    /// [`Engine::write`] with a result.
    pub(crate) fn write<T>(
        &self,
        mut work: impl FnMut(&mut dyn Tx) -> Result<T, DirectoryError>,
    ) -> Result<T, DirectoryError> {
        let mut result = None;
        self.engine.write(&mut |tx| {
            result = Some(work(tx)?);
            Ok(())
        })?;
        Ok(result.expect("an engine that returns `Ok` has run the work"))
    }
}
