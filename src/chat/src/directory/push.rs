//! Rows of pushes to all members: what an App says of its users to choose some of them.

use std::collections::BTreeMap;

use super::DirectoryError;
use crate::key::{AppId, UserKey};

/// Attributes that an App may name, numbered from 0.
pub const ATTRS_MAX: u8 = 10;

/// Attributes of a user by number.
pub type Attrs = BTreeMap<u8, String>;

/// Rows of tags and attributes, in a transaction of [`super::people::PeopleStore`].
pub trait PushTx {
    /// What an App calls its attributes, by number.
    ///
    /// # Errors
    /// [`DirectoryError`] of the engine, as for all methods here.
    fn attr_names(&mut self, app: AppId) -> Result<Attrs, DirectoryError>;

    /// Names some of them; the others stay as they are. What users have goes by number, so it stays too.
    ///
    /// # Errors
    /// See [`Self::attr_names`].
    fn set_attr_names(&mut self, app: AppId, names: &Attrs) -> Result<(), DirectoryError>;

    /// Attributes of each of `users`, in their order.
    ///
    /// # Errors
    /// See [`Self::attr_names`].
    fn attrs(&mut self, users: &[UserKey]) -> Result<Vec<Attrs>, DirectoryError>;

    /// Sets attributes.
    ///
    /// # Errors
    /// See [`Self::attr_names`].
    fn set_attrs(&mut self, attrs: &[(&UserKey, u8, &str)]) -> Result<(), DirectoryError>;

    /// Takes attributes away; one that is not there is none.
    ///
    /// # Errors
    /// See [`Self::attr_names`].
    fn delete_attrs(&mut self, attrs: &[(&UserKey, u8)]) -> Result<(), DirectoryError>;

    /// Tags of each of `users`, in their order, each list by its bytes.
    ///
    /// # Errors
    /// See [`Self::attr_names`].
    fn tags(&mut self, users: &[UserKey]) -> Result<Vec<Vec<String>>, DirectoryError>;

    /// Adds tags; one that is there stays.
    ///
    /// # Errors
    /// See [`Self::attr_names`].
    fn add_tags(&mut self, tags: &[(&UserKey, &str)]) -> Result<(), DirectoryError>;

    /// Takes tags away; one that is not there is none.
    ///
    /// # Errors
    /// See [`Self::attr_names`].
    fn delete_tags(&mut self, tags: &[(&UserKey, &str)]) -> Result<(), DirectoryError>;

    /// Takes all tags of `users` away.
    ///
    /// # Errors
    /// See [`Self::attr_names`].
    fn clear_tags(&mut self, users: &[UserKey]) -> Result<(), DirectoryError>;
}
