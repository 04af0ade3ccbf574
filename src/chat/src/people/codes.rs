//! Codes of the public contract for people (`errors.md`).

/// Profiles: the request cannot be carried out as it stands.
pub(crate) const PROFILE_BAD: u32 = 40001;
/// Profiles: nobody is named.
pub(crate) const PROFILE_NOBODY: u32 = 40002;
/// Profiles: no such account.
pub(crate) const PROFILE_NO_ACCOUNT: u32 = 40003;
/// Profiles: for admins only.
pub(crate) const PROFILE_ADMIN: u32 = 40004;
/// Profiles: a refused word.
pub(crate) const PROFILE_WORDS: u32 = 40005;
/// Profiles: internal, try again.
pub(crate) const PROFILE_INTERNAL: u32 = 40006;
/// The field is not for the asker to read.
pub(crate) const NO_READ_RIGHT: u32 = 40007;
/// The field is not for the asker to write.
pub(crate) const NO_WRITE_RIGHT: u32 = 40008;
/// There is no such field.
pub(crate) const NO_TAG: u32 = 40009;
/// Longer than 500 bytes.
pub(crate) const VALUE_TOO_LONG: u32 = 40601;
/// Not a value of this standard field.
pub(crate) const VALUE_NOT_ALLOWED: u32 = 40605;
/// The field has another type.
pub(crate) const VALUE_TYPE: u32 = 40610;

/// Relations: the request cannot be carried out as it stands; blocked already; not a friend.
pub(crate) const RELATION_BAD: u32 = 30001;
/// Relations: no such account.
pub(crate) const RELATION_NO_ACCOUNT: u32 = 30003;
/// Relations: for admins only.
pub(crate) const RELATION_ADMIN: u32 = 30004;
/// Relations: a refused word.
pub(crate) const RELATION_WORDS: u32 = 30005;
/// Relations: internal, try again.
pub(crate) const RELATION_INTERNAL: u32 = 30006;
/// Relations: somebody else changes the same, try again.
pub(crate) const RELATION_CONFLICT: u32 = 30008;
/// The sender may not send applications.
pub(crate) const FORBIDDEN_TO_APPLY: u32 = 30009;
/// The own friend list is full.
pub(crate) const FRIENDS_FULL: u32 = 30010;
/// No more friend groups.
pub(crate) const FRIEND_GROUPS_FULL: u32 = 30011;
/// The peer has too many applications that were not read.
pub(crate) const APPLICATIONS_FULL: u32 = 30012;
/// The blocklist is full.
pub(crate) const BLOCKS_FULL: u32 = 30013;
/// The peer's friend list is full.
pub(crate) const PEER_FRIENDS_FULL: u32 = 30014;
/// The peer is in the own blocklist.
pub(crate) const BLOCKED_BY_SELF: u32 = 30515;
/// The peer takes no applications.
pub(crate) const PEER_DENIES: u32 = 30516;
/// The asker is in the peer's blocklist.
pub(crate) const BLOCKED_BY_PEER: u32 = 30525;
/// Stored as an application: the peer must confirm.
pub(crate) const PENDING: u32 = 30539;
/// No application of that user.
pub(crate) const NO_APPLICATION: u32 = 30614;
/// Not a friend who could be deleted.
pub(crate) const NOT_A_FRIEND: u32 = 31704;
/// Not a friend who could be put into a friend group.
pub(crate) const GROUP_NOT_A_FRIEND: u32 = 32216;

/// Conversations: the request cannot be carried out as it stands.
pub(crate) const CONVERSATION_BAD: u32 = 50002;
/// Conversations: internal, try again.
pub(crate) const CONVERSATION_INTERNAL: u32 = 50004;
/// None, or more than 100, conversations in a change.
pub(crate) const CONVERSATION_COUNT: u32 = 51006;
/// The group id is none.
pub(crate) const CONVERSATION_NO_GROUP: u32 = 51007;
/// Too many conversations with marks or groups.
pub(crate) const CONVERSATION_MARKED_FULL: u32 = 51008;
/// No such conversation group.
pub(crate) const CONVERSATION_GROUP_MISSING: u32 = 51009;
/// Too many conversation groups.
pub(crate) const CONVERSATION_GROUPS_FULL: u32 = 51010;
/// The name of a conversation group is longer than 32 bytes.
pub(crate) const CONVERSATION_GROUP_NAME: u32 = 51011;
/// Too many pinned conversations.
pub(crate) const CONVERSATION_PINS_FULL: u32 = 51012;

/// Account service: no such account.
pub(crate) const STATUS_NO_ACCOUNT: u32 = 70107;
