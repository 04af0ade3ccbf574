//! [`GroupStore`]: the part of the directory that keeps groups.

use super::DirectoryError;
use super::events::PendingEvent;
use crate::group::{GroupChange, GroupRecord, Role};
use crate::key::{AppId, GroupKey, UserKey};

/// A group that a user is in, with what a login asks of it: no group is loaded for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Joined {
    /// Which.
    pub group: GroupKey,
    /// [`GroupInfo::kind`](crate::group::GroupInfo::kind) of the group.
    pub kind: String,
    /// [`GroupInfo::info_seq`](crate::group::GroupInfo::info_seq) of the group.
    pub info_seq: u64,
    /// [`GroupInfo::first_seq`](crate::group::GroupInfo::first_seq) of the group.
    pub first_seq: u64,
    /// Whether it has an owner.
    pub owned: bool,
    /// What the user is in it.
    pub role: Role,
    /// [`Member::joined_seq`](crate::group::Member::joined_seq) of the user.
    pub joined_seq: u64,
    /// Its messages are sent to the user's devices: the user has not said `Discard`.
    pub receives: bool,
}

/// A topic of a community that a user is in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JoinedTopic {
    /// Which.
    pub topic: GroupKey,
    /// [`TopicInfo::info_seq`](crate::group::TopicInfo::info_seq) of the topic.
    pub info_seq: u64,
    /// [`TopicInfo::first_seq`](crate::group::TopicInfo::first_seq) of the topic.
    pub first_seq: u64,
    /// [`TopicInfo::created_ms`](crate::group::TopicInfo::created_ms) of the topic.
    pub created_ms: u64,
    /// [`Member::joined_ms`](crate::group::Member::joined_ms) of the user in the community.
    pub joined_ms: u64,
    /// Its messages are meant for the user's devices: as the user has said of the topic, else of the community, whose `Discard`
    /// stops all.
    pub receives: bool,
}

/// Which groups [`GroupStore::count_groups`] counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counted<'a> {
    /// Those of this type; `None`: of every type.
    pub kind: Option<&'a str>,
    /// Those made at this time or later, milliseconds since the Unix epoch.
    pub since_ms: u64,
}

/// Where [`GroupStore::list_groups`] begins: groups stay where they are in its order, whatever is made or dismissed meanwhile.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ListPlace {
    /// With the groups that were made at this time, milliseconds since the Unix epoch.
    pub created_ms: u64,
    /// So many of them are left out.
    pub skip: u32,
}

/// A group of a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListedGroup {
    /// Its id.
    pub id: String,
    /// When it was made.
    pub created_ms: u64,
}

/// Groups and their members. All methods block; none is called on a shard's thread.
pub trait GroupStore: Send + Sync + std::fmt::Debug {
    /// The groups among `keys` with all that belongs to them, in the order of `keys`.
    ///
    /// # Errors
    /// [`DirectoryError`] of the engine.
    fn groups(&self, keys: &[GroupKey]) -> Result<Vec<Option<GroupRecord>>, DirectoryError>;

    /// The groups that each user is a member of, by name, in the order of `users`.
    ///
    /// # Errors
    /// [`DirectoryError`] of the engine.
    fn groups_of(&self, users: &[UserKey]) -> Result<Vec<Vec<Joined>>, DirectoryError>;

    /// How many groups each user is a member of, in the order of `users`.
    ///
    /// # Errors
    /// [`DirectoryError`] of the engine.
    fn count_groups_of(&self, users: &[UserKey]) -> Result<Vec<u32>, DirectoryError>;

    /// Topics of the communities that a user is a member of, by id, the first `limit`.
    ///
    /// # Errors
    /// [`DirectoryError`] of the engine.
    fn topics_of(&self, user: &UserKey, limit: usize) -> Result<Vec<JoinedTopic>, DirectoryError>;

    /// How many topics an App has.
    ///
    /// # Errors
    /// [`DirectoryError`] of the engine.
    fn count_topics(&self, app: AppId) -> Result<u64, DirectoryError>;

    /// Carries out all changes in one durable transaction, in order. What is to be changed of a group that does not exist, or
    /// removed and is not there, is left out; creating a group that exists is an error.
    ///
    /// # Errors
    /// [`DirectoryError`] of the engine; then nothing has changed.
    fn change_groups(&self, changes: &[GroupChange]) -> Result<(), DirectoryError> {
        self.change_groups_and_tell(changes, &[])
    }

    /// The same, with events for back ends in the same transaction ([`EventTx::add_events`](super::events::EventTx::add_events)).
    ///
    /// # Errors
    /// [`DirectoryError`] of the engine; then nothing has changed.
    fn change_groups_and_tell(
        &self,
        changes: &[GroupChange],
        events: &[PendingEvent],
    ) -> Result<(), DirectoryError>;

    /// How many groups an App has.
    ///
    /// # Errors
    /// [`DirectoryError`] of the engine.
    fn count_groups(&self, app: AppId, which: Counted<'_>) -> Result<u64, DirectoryError>;

    /// Groups of an App in the order of their creation, then of their ids, of one type or of all; at most `limit`.
    ///
    /// # Errors
    /// [`DirectoryError`] of the engine.
    fn list_groups(
        &self,
        app: AppId,
        kind: Option<&str>,
        from: ListPlace,
        limit: usize,
    ) -> Result<Vec<ListedGroup>, DirectoryError>;
}
