//! Rows of the conversation list. What a user has said about a conversation is kept here; messages, heads and
//! read cursors are the ledger's.

use super::DirectoryError;
use crate::key::UserKey;

/// The other side of a conversation, as a user names it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Peer {
    /// The pair with this user.
    User(String),
    /// The group with this id.
    Group(String),
}

impl Peer {
    /// 1 for a user, 2 for a group: how engines keep it, beside [`Self::name`].
    #[must_use]
    pub fn kind(&self) -> u8 {
        match self {
            Self::User(_) => 1,
            Self::Group(_) => 2,
        }
    }

    /// Name of the user or id of the group.
    #[must_use]
    pub fn name(&self) -> &str {
        match self {
            Self::User(name) | Self::Group(name) => name,
        }
    }

    /// From what engines keep.
    #[must_use]
    pub fn from_parts(kind: u8, name: String) -> Option<Self> {
        match kind {
            1 => Some(Self::User(name)),
            2 => Some(Self::Group(name)),
            _ => None,
        }
    }
}

/// What a user has set for a conversation. The default is that of one who has set nothing, and is not kept.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ConversationRow {
    /// When it was pinned, milliseconds; 0: it is not.
    pub pinned_ms: u64,
    /// Bit flags, at most 2^63 - 1.
    pub marks: u64,
    /// Do not disturb.
    pub quiet: bool,
    /// What is typed and not sent.
    pub draft: String,
    /// When, milliseconds; 0: there is none.
    pub draft_ms: u64,
    /// What the App says of it, at most 256 bytes.
    pub custom_mark: String,
    /// Off the list until the conversation has a message with a larger seq; 0: it is not.
    pub hidden_seq: u64,
}

/// Rows of the conversation list, in a transaction of [`super::people::PeopleStore`].
pub trait ConversationTx {
    /// How often the user's settings have changed.
    ///
    /// # Errors
    /// [`DirectoryError`] of the engine, as for all methods here.
    fn conversation_seq(&mut self, user: &UserKey) -> Result<u64, DirectoryError>;

    /// Counts a change and locks the user's settings until the transaction ends. Gives the new number.
    ///
    /// # Errors
    /// See [`Self::conversation_seq`].
    fn next_conversation_seq(&mut self, user: &UserKey) -> Result<u64, DirectoryError>;

    /// Settings of one conversation.
    ///
    /// # Errors
    /// See [`Self::conversation_seq`].
    fn conversation(&mut self, user: &UserKey, with: &Peer) -> Result<ConversationRow, DirectoryError>;

    /// All that are not the default, by peer.
    ///
    /// # Errors
    /// See [`Self::conversation_seq`].
    fn conversations(&mut self, user: &UserKey) -> Result<Vec<(Peer, ConversationRow)>, DirectoryError>;

    /// Writes settings; the default takes the row away.
    ///
    /// # Errors
    /// See [`Self::conversation_seq`].
    fn put_conversation(
        &mut self,
        user: &UserKey,
        with: &Peer,
        row: &ConversationRow,
    ) -> Result<(), DirectoryError>;

    /// Names of conversation groups, in order.
    ///
    /// # Errors
    /// See [`Self::conversation_seq`].
    fn conversation_groups(&mut self, user: &UserKey) -> Result<Vec<String>, DirectoryError>;

    /// Adds a group. Whether it is new.
    ///
    /// # Errors
    /// See [`Self::conversation_seq`].
    fn add_conversation_group(&mut self, user: &UserKey, name: &str) -> Result<bool, DirectoryError>;

    /// Takes a group away, its members stay in the list. Whether there was one.
    ///
    /// # Errors
    /// See [`Self::conversation_seq`].
    fn delete_conversation_group(&mut self, user: &UserKey, name: &str) -> Result<bool, DirectoryError>;

    /// Who is in which group, by group and peer.
    ///
    /// # Errors
    /// See [`Self::conversation_seq`].
    fn conversation_group_members(&mut self, user: &UserKey) -> Result<Vec<(String, Peer)>, DirectoryError>;

    /// Puts a conversation into a group or takes it out. Whether that changed anything.
    ///
    /// # Errors
    /// See [`Self::conversation_seq`].
    fn set_conversation_group_member(
        &mut self,
        user: &UserKey,
        name: &str,
        with: &Peer,
        member: bool,
    ) -> Result<bool, DirectoryError>;
}
