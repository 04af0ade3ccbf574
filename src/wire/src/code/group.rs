//! Codes of groups.

/// Internal error, try again.
pub const INTERNAL: u32 = 10002;
/// The command is not known.
pub const UNKNOWN_COMMAND: u32 = 10003;
/// A parameter is not valid.
pub const BAD_PARAMETER: u32 = 10004;
/// Too many accounts in one request.
pub const TOO_MANY_ACCOUNTS: u32 = 10005;
/// Operated too often; too many new groups today.
pub const TOO_OFTEN: u32 = 10006;
/// No permission, or the type of the group does not allow it.
pub const NO_PERMISSION: u32 = 10007;
/// The owner may not quit a group of this type.
pub const OWNER_MAY_NOT_QUIT: u32 = 10009;
/// The group does not exist, or was dismissed.
pub const GONE: u32 = 10010;
/// Already a member.
pub const ALREADY_MEMBER: u32 = 10013;
/// The group is full.
pub const FULL: u32 = 10014;
/// The id of the group is not valid.
pub const BAD_ID: u32 = 10015;
/// Muted: may not send.
pub const MUTED: u32 = 10017;
/// The account does not exist.
pub const NO_ACCOUNT: u32 = 10019;
/// The id is taken.
pub const ID_TAKEN: u32 = 10021;
/// More messages than the group may have in a second.
pub const MESSAGE_RATE: u32 = 10023;
/// The application or invitation was handled already.
pub const HANDLED: u32 = 10024;
/// The id is taken by a group of the asker.
pub const ID_OWN: u32 = 10025;
/// The message to recall does not exist.
pub const RECALL_NOT_FOUND: u32 = 10030;
/// The time in which a message may be recalled is over.
pub const RECALL_TOO_LATE: u32 = 10031;
/// The message cannot be recalled.
pub const RECALL_IMPOSSIBLE: u32 = 10032;
/// Groups of this type have no recall.
pub const RECALL_NOT_OFFERED: u32 = 10033;
/// Groups of this type keep no messages, so none are deleted.
pub const DELETE_NOT_OFFERED: u32 = 10035;
/// Too many live rooms, communities or topics.
pub const TOO_MANY_OF_TYPE: u32 = 10036;
/// The user is in too many groups.
pub const JOINED_TOO_MANY: u32 = 10037;
/// More members than the limit.
pub const MEMBERS_MAX: u32 = 10038;
/// Attribute: the key is longer than 32 bytes.
pub const ATTRIBUTE_KEY: u32 = 10045;
/// Attribute: the value is longer than 4,000 bytes.
pub const ATTRIBUTE_VALUE: u32 = 10046;
/// Attributes: more than 16 keys.
pub const ATTRIBUTE_KEYS: u32 = 10047;
/// Attributes: more than 16,000 bytes of values.
pub const ATTRIBUTE_TOTAL: u32 = 10048;
/// Attributes: more than 5 writes in a second.
pub const ATTRIBUTE_RATE: u32 = 10049;
/// Attributes: what is to be deleted does not exist.
pub const ATTRIBUTE_MISSING: u32 = 10050;
/// More than 30 users are mentioned.
pub const MENTIONS_MAX: u32 = 10053;
/// Too many members for one answer: ask for pages.
pub const PAGE: u32 = 10054;
/// Attributes: somebody else wrote meanwhile.
pub const ATTRIBUTE_CONFLICT: u32 = 10056;
/// The App has as many groups as it may.
pub const GROUPS_MAX: u32 = 10058;
/// No receipts of this message.
pub const NO_RECEIPTS: u32 = 10062;
/// Counters: more than 20 keys.
pub const COUNTER_KEYS: u32 = 10063;
/// The App has switched recalls off.
pub const RECALL_OFF: u32 = 10041;
/// Too many messages to delete at once.
pub const DELETE_TOO_MANY: u32 = 10051;
/// There is no message to delete.
pub const NOTHING_TO_DELETE: u32 = 10052;
/// Communities, or their topics, are not enabled.
pub const NOT_ENABLED: u32 = 11000;
/// A topic cannot be destroyed.
pub const TOPIC_NOT_DESTROYED: u32 = 110_002;
/// The topic does not exist, or no longer.
pub const TOPIC_GONE: u32 = 110_003;
