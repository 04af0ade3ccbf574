//! Rows of pushes to all members: what an App says of its users to choose some of them, and the pushes that are under way.

use std::collections::BTreeMap;

use bytes::Bytes;

use super::DirectoryError;
use crate::key::{AppId, UserKey};

/// Attributes that an App may name, numbered from 0.
pub const ATTRS_MAX: u8 = 10;

/// Attributes of a user by number.
pub type Attrs = BTreeMap<u8, String>;

/// A push: one message for all members, or for some.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PushRow {
    /// From 1, in the order of the App's pushes.
    pub number: u64,
    /// `MsgRandom`: what names the push to who repeats the call.
    pub random: u32,
    /// Milliseconds since the Unix epoch.
    pub created_ms: u64,
    /// Who sends it.
    pub from: String,
    /// How long it waits for who is not online, seconds; 0: not at all.
    pub life_time_s: u32,
    /// For whom, in JSON; empty: for everybody.
    pub condition: String,
    /// The message, encoded, without its receiver.
    pub message: Bytes,
    /// How far it has come.
    pub place: PushPlace,
}

/// How far a push has come. Accounts are gone through in the order of their names; the page that is being sent has its end written down
/// before it is sent, so that it is the same page after a crash.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PushPlace {
    /// All up to this name have it; empty: nobody has.
    pub after: String,
    /// The last name of the page that is being sent; empty: it is not known yet.
    pub until: String,
    /// To how many users it was sent.
    pub sent: u64,
    /// When it was over, milliseconds since the Unix epoch; 0: it is not.
    pub done_ms: u64,
}

/// What is known of an App's pushes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PushCounts {
    /// Number of the newest; 0: there is none.
    pub last: u64,
    /// When that was made.
    pub last_ms: u64,
    /// Those since the time that was asked for.
    pub since: u64,
    /// Those that are not over.
    pub open: u64,
}

/// Rows of pushes, tags and attributes, in a transaction of [`super::people::PeopleStore`].
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

    /// The newest push of an App under this `MsgRandom` since `since_ms`: its number, and when it was made.
    ///
    /// # Errors
    /// See [`Self::attr_names`].
    fn push_by_random(
        &mut self,
        app: AppId,
        random: u32,
        since_ms: u64,
    ) -> Result<Option<(u64, u64)>, DirectoryError>;

    /// How many pushes an App has had since `since_ms`, and what is known of all that are kept.
    ///
    /// # Errors
    /// See [`Self::attr_names`].
    fn push_counts(&mut self, app: AppId, since_ms: u64) -> Result<PushCounts, DirectoryError>;

    /// Adds a push under a number that is new.
    ///
    /// # Errors
    /// See [`Self::attr_names`].
    fn add_push(&mut self, app: AppId, push: &PushRow) -> Result<(), DirectoryError>;

    /// Forgets pushes that are over and were made before `before_ms`.
    ///
    /// # Errors
    /// See [`Self::attr_names`].
    fn trim_pushes(&mut self, app: AppId, before_ms: u64) -> Result<(), DirectoryError>;

    /// The oldest push that is not over of the first App behind `after`, by their ids, that has one.
    ///
    /// # Errors
    /// See [`Self::attr_names`].
    fn open_push(&mut self, after: Option<AppId>) -> Result<Option<(AppId, PushRow)>, DirectoryError>;

    /// Moves a push that is where `from` says. `false`: it is somewhere else, and nothing has changed.
    ///
    /// # Errors
    /// See [`Self::attr_names`].
    fn move_push(
        &mut self,
        app: AppId,
        number: u64,
        from: &PushPlace,
        to: &PushPlace,
    ) -> Result<bool, DirectoryError>;
}
