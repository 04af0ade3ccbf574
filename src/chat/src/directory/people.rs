//! Rows of profiles, relations and presence, as the domain in [`crate::people`] reads and writes them.
//!
//! The domain decides, engines keep: a [`PeopleTx`] knows rows and no rule. What belongs together is done in one
//! transaction, which sees its own writes.

use bytes::Bytes;

use super::DirectoryError;
use super::conversations::ConversationTx;
use super::events::EventTx;
use super::extensions::ExtensionTx;
use super::history::HistoryTx;
use super::imports::ImportTx;
use super::push::PushTx;
use crate::key::UserKey;

/// Value of a field of a profile or a friendship.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FieldValue {
    /// An unsigned number, at most 2^63 - 1.
    Number(u64),
    /// Text.
    Text(String),
    /// Bytes.
    Data(Bytes),
}

/// Counters of a user's relations. All zero for one who never had any.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RelationHead {
    /// Friends in the user's list.
    pub friends: u32,
    /// Grows with every change of friends or their standard fields.
    pub standard_seq: u64,
    /// The same for custom fields of friends.
    pub custom_seq: u64,
    /// Users in the blocklist.
    pub blocks: u32,
    /// Grows with every change of the blocklist.
    pub blocks_seq: u64,
    /// Grows with every change of friend groups or of who is in them.
    pub groups_seq: u64,
    /// Grows with every change of applications, sent or received; gives them their numbers.
    pub applications_seq: u64,
    /// Received applications up to this number are read.
    pub applications_read: u64,
}

/// One side of a friendship.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FriendRow {
    /// Unix seconds.
    pub added_s: u64,
    /// `AddSource_Type_…`, or empty.
    pub source: String,
    /// What was written with the request.
    pub wording: String,
    /// The user's own name for the friend.
    pub remark: String,
    /// When the remark was set, Unix seconds; 0: never.
    pub remark_s: u64,
}

/// An application for a friendship that waits for an answer.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ApplicationRow {
    /// Number in the receiver's list, from [`RelationHead::applications_seq`].
    pub id: u64,
    /// The same in the sender's list.
    pub sent_id: u64,
    /// Unix seconds.
    pub time_s: u64,
    /// `AddSource_Type_…`, or empty.
    pub source: String,
    /// What the sender wrote.
    pub wording: String,
    /// The remark that the sender wants for the receiver.
    pub remark: String,
    /// The friend group that the sender wants the receiver in, or empty.
    pub group: String,
    /// The sender wants the receiver as a friend, not the other way round.
    pub single: bool,
}

/// A phone that may still be pushed to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PhoneRow {
    /// Number of the platform on the wire.
    pub platform: u32,
    /// Start of the core that wrote the row, milliseconds since the Unix epoch.
    pub epoch: u64,
    /// When it was last known to have a session, Unix seconds.
    pub seen_s: u64,
}

/// A list of follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Follows {
    /// Who follows the user.
    Followers,
    /// Whom the user follows.
    Following,
    /// Who does both.
    Mutual,
}

/// Rows of one transaction. Names of users are of the App of the first argument.
pub trait PeopleTx: ConversationTx + EventTx + ExtensionTx + HistoryTx + ImportTx + PushTx {
    /// Fields of a profile, by tag.
    ///
    /// # Errors
    /// [`DirectoryError`] of the engine, as for all methods here.
    fn profile(&mut self, user: &UserKey) -> Result<Vec<(String, FieldValue)>, DirectoryError>;

    /// Sets a field of a profile.
    ///
    /// # Errors
    /// See [`Self::profile`].
    fn set_profile(&mut self, user: &UserKey, tag: &str, value: &FieldValue) -> Result<(), DirectoryError>;

    /// Counters of a user.
    ///
    /// # Errors
    /// See [`Self::profile`].
    fn relation_head(&mut self, user: &UserKey) -> Result<RelationHead, DirectoryError>;

    /// As [`Self::relation_head`], and no other transaction changes these relations before this one ends. Whoever locks
    /// several users does so in the order of their keys.
    ///
    /// # Errors
    /// See [`Self::profile`].
    fn lock_relations(&mut self, user: &UserKey) -> Result<RelationHead, DirectoryError>;

    /// Writes the counters of a user who is locked.
    ///
    /// # Errors
    /// See [`Self::profile`].
    fn set_relation_head(&mut self, user: &UserKey, head: &RelationHead) -> Result<(), DirectoryError>;

    /// One friend of `user`.
    ///
    /// # Errors
    /// See [`Self::profile`].
    fn friend(&mut self, user: &UserKey, friend: &str) -> Result<Option<FriendRow>, DirectoryError>;

    /// Adds or replaces a friend of `user`.
    ///
    /// # Errors
    /// See [`Self::profile`].
    fn put_friend(&mut self, user: &UserKey, friend: &str, row: &FriendRow) -> Result<(), DirectoryError>;

    /// Takes a friend out of the list of `user`, with the fields and groups. Whether there was one.
    ///
    /// # Errors
    /// See [`Self::profile`].
    fn delete_friend(&mut self, user: &UserKey, friend: &str) -> Result<bool, DirectoryError>;

    /// Friends of `user` by name, without the first `start`.
    ///
    /// # Errors
    /// See [`Self::profile`].
    fn friends(
        &mut self,
        user: &UserKey,
        start: u32,
        limit: u32,
    ) -> Result<Vec<(String, FriendRow)>, DirectoryError>;

    /// Custom fields of a friend, by tag.
    ///
    /// # Errors
    /// See [`Self::profile`].
    fn friend_fields(
        &mut self,
        user: &UserKey,
        friend: &str,
    ) -> Result<Vec<(String, FieldValue)>, DirectoryError>;

    /// Sets a custom field of a friend.
    ///
    /// # Errors
    /// See [`Self::profile`].
    fn set_friend_field(
        &mut self,
        user: &UserKey,
        friend: &str,
        tag: &str,
        value: &FieldValue,
    ) -> Result<(), DirectoryError>;

    /// Friend groups of `user`, by name.
    ///
    /// # Errors
    /// See [`Self::profile`].
    fn friend_groups(&mut self, user: &UserKey) -> Result<Vec<String>, DirectoryError>;

    /// Adds a friend group. Whether it is new.
    ///
    /// # Errors
    /// See [`Self::profile`].
    fn add_friend_group(&mut self, user: &UserKey, name: &str) -> Result<bool, DirectoryError>;

    /// Takes a friend group away. Whether there was one.
    ///
    /// # Errors
    /// See [`Self::profile`].
    fn delete_friend_group(&mut self, user: &UserKey, name: &str) -> Result<bool, DirectoryError>;

    /// Friends in a group, by name.
    ///
    /// # Errors
    /// See [`Self::profile`].
    fn friend_group_members(&mut self, user: &UserKey, name: &str) -> Result<Vec<String>, DirectoryError>;

    /// Groups that a friend is in, by name.
    ///
    /// # Errors
    /// See [`Self::profile`].
    fn groups_of_friend(&mut self, user: &UserKey, friend: &str) -> Result<Vec<String>, DirectoryError>;

    /// Puts a friend into a group or takes it out. Whether that changed anything.
    ///
    /// # Errors
    /// See [`Self::profile`].
    fn set_group_member(
        &mut self,
        user: &UserKey,
        name: &str,
        friend: &str,
        member: bool,
    ) -> Result<bool, DirectoryError>;

    /// When `user` has blocked `other`, Unix seconds.
    ///
    /// # Errors
    /// See [`Self::profile`].
    fn block(&mut self, user: &UserKey, other: &str) -> Result<Option<u64>, DirectoryError>;

    /// Adds to the blocklist. Whether it is new.
    ///
    /// # Errors
    /// See [`Self::profile`].
    fn add_block(&mut self, user: &UserKey, other: &str, added_s: u64) -> Result<bool, DirectoryError>;

    /// Takes off the blocklist. Whether it was on it.
    ///
    /// # Errors
    /// See [`Self::profile`].
    fn delete_block(&mut self, user: &UserKey, other: &str) -> Result<bool, DirectoryError>;

    /// The blocklist by name, without the first `start`.
    ///
    /// # Errors
    /// See [`Self::profile`].
    fn blocks(
        &mut self,
        user: &UserKey,
        start: u32,
        limit: u32,
    ) -> Result<Vec<(String, u64)>, DirectoryError>;

    /// The application of `sender` to `receiver`.
    ///
    /// # Errors
    /// See [`Self::profile`].
    fn application(
        &mut self,
        receiver: &UserKey,
        sender: &str,
    ) -> Result<Option<ApplicationRow>, DirectoryError>;

    /// Adds or replaces it.
    ///
    /// # Errors
    /// See [`Self::profile`].
    fn put_application(
        &mut self,
        receiver: &UserKey,
        sender: &str,
        row: &ApplicationRow,
    ) -> Result<(), DirectoryError>;

    /// Takes it away. Whether there was one.
    ///
    /// # Errors
    /// See [`Self::profile`].
    fn delete_application(&mut self, receiver: &UserKey, sender: &str) -> Result<bool, DirectoryError>;

    /// Received applications with the sender, numbers below `before`, largest first.
    ///
    /// # Errors
    /// See [`Self::profile`].
    fn applications(
        &mut self,
        receiver: &UserKey,
        before: u64,
        limit: u32,
    ) -> Result<Vec<(String, ApplicationRow)>, DirectoryError>;

    /// Sent applications with the receiver, `sent_id` below `before`, largest first.
    ///
    /// # Errors
    /// See [`Self::profile`].
    fn sent_applications(
        &mut self,
        sender: &UserKey,
        before: u64,
        limit: u32,
    ) -> Result<Vec<(String, ApplicationRow)>, DirectoryError>;

    /// Received applications in all, and those with a number above `read`.
    ///
    /// # Errors
    /// See [`Self::profile`].
    fn count_applications(&mut self, receiver: &UserKey, read: u64) -> Result<(u32, u32), DirectoryError>;

    /// When `user` began to follow `other`, Unix seconds.
    ///
    /// # Errors
    /// See [`Self::profile`].
    fn follow(&mut self, user: &UserKey, other: &str) -> Result<Option<u64>, DirectoryError>;

    /// Begins to follow. Whether it is new.
    ///
    /// # Errors
    /// See [`Self::profile`].
    fn add_follow(&mut self, user: &UserKey, other: &str, added_s: u64) -> Result<bool, DirectoryError>;

    /// Ceases to follow. Whether `user` followed.
    ///
    /// # Errors
    /// See [`Self::profile`].
    fn delete_follow(&mut self, user: &UserKey, other: &str) -> Result<bool, DirectoryError>;

    /// Followers, or whom `user` follows, or both, behind the name `after`, by name, with the time of the follow that is asked for
    /// (of `user`'s own where both follow).
    ///
    /// # Errors
    /// See [`Self::profile`].
    fn follows(
        &mut self,
        user: &UserKey,
        which: Follows,
        after: &str,
        limit: u32,
    ) -> Result<Vec<(String, u64)>, DirectoryError>;

    /// How many there are in [`Self::follows`].
    ///
    /// # Errors
    /// See [`Self::profile`].
    fn count_follows(&mut self, user: &UserKey, which: Follows) -> Result<u64, DirectoryError>;

    /// Others who have a relation with `user`, in either direction (friends, blocks, applications, follows), by name; at most
    /// `limit`.
    ///
    /// # Errors
    /// See [`Self::profile`].
    fn related(&mut self, user: &UserKey, limit: u32) -> Result<Vec<String>, DirectoryError>;

    /// Takes away what is a user's alone: profile, friend groups, phones, tags and attributes, and what was set for conversations.
    /// Counters stay, so that sequences never go back.
    ///
    /// # Errors
    /// See [`Self::profile`].
    fn erase(&mut self, user: &UserKey) -> Result<(), DirectoryError>;

    /// Phones of a user, by platform.
    ///
    /// # Errors
    /// See [`Self::profile`].
    fn phones(&mut self, user: &UserKey) -> Result<Vec<PhoneRow>, DirectoryError>;

    /// Adds a phone, or moves `seen_s` of a known one forward.
    ///
    /// # Errors
    /// See [`Self::profile`].
    fn put_phone(&mut self, user: &UserKey, row: &PhoneRow) -> Result<(), DirectoryError>;

    /// Forgets a phone: it has logged out.
    ///
    /// # Errors
    /// See [`Self::profile`].
    fn delete_phone(&mut self, user: &UserKey, platform: u32) -> Result<(), DirectoryError>;
}

/// What a [`PeopleStore`] runs in a transaction. It may be called again when the engine has to repeat the transaction, so it must
/// begin anew each time.
pub type PeopleWork<'a> = dyn FnMut(&mut dyn PeopleTx) -> Result<(), DirectoryError> + 'a;

/// The part of the directory that keeps people.
pub trait PeopleStore: Send + Sync {
    /// Runs `work` on one consistent view.
    ///
    /// # Errors
    /// That of `work`, or of the engine.
    fn read_people(&self, work: &mut PeopleWork<'_>) -> Result<(), DirectoryError>;

    /// Runs `work` in one transaction: durable when this returns `Ok`, undone otherwise.
    ///
    /// # Errors
    /// That of `work`, or of the engine.
    fn write_people(&self, work: &mut PeopleWork<'_>) -> Result<(), DirectoryError>;
}
