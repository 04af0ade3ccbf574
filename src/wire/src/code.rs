//! Error codes of the public contract, as far as the server gives them. The body of an ERROR frame carries one;
//! its `info` is free text for people.

/// UserSig: expired.
pub const SIG_EXPIRED: u32 = 70001;
/// UserSig: empty.
pub const SIG_EMPTY: u32 = 70002;
/// UserSig: damaged outside (alphabet, base64, length).
pub const SIG_MALFORMED: u32 = 70003;
/// UserSig: damaged inside (zlib, JSON, fields).
pub const SIG_DAMAGED: u32 = 70005;
/// UserSig: the signature does not verify.
pub const SIG_WRONG_KEY: u32 = 70009;
/// UserSig: made for another user.
pub const SIG_OTHER_USER: u32 = 70013;
/// UserSig: made for another App.
pub const SIG_OTHER_APP: u32 = 70014;
/// UserSig: no key of its kind is configured.
pub const SIG_NO_KEY: u32 = 70016;
/// The App does not exist.
pub const APP_NOT_FOUND: u32 = 70020;
/// The account does not exist.
pub const ACCOUNT_NOT_FOUND: u32 = 70107;
/// A parameter is missing or has the wrong form.
pub const BAD_PARAMETER: u32 = 70402;
/// The App is disabled.
pub const APP_DISABLED: u32 = 60016;
/// Not logged in: a guest asks for what needs an account. A code of clients in the public contract.
pub const NOT_LOGGED_IN: u32 = 6014;
/// 1:1: the request cannot be read.
pub const BAD_REQUEST: u32 = 20001;
/// 1:1: the session is not valid.
pub const BAD_SESSION: u32 = 20002;
/// 1:1: sender or receiver is not valid or not registered.
pub const BAD_PEER: u32 = 20003;
/// 1:1: try again.
pub const UNAVAILABLE: u32 = 20004;
/// 1:1: internal error, try again.
pub const INTERNAL: u32 = 20005;
/// The message is longer than 12 KiB.
pub const CONTENT_TOO_LONG: u32 = 80002;
/// The message body is not in the documented form.
pub const BAD_CONTENT: u32 = 90002;
/// Too many requests, try again later.
pub const TOO_MANY_REQUESTS: u32 = 60018;
/// The request kind is not known here.
pub const UNKNOWN_REQUEST: u32 = 60009;
/// Group: the command is not known or not offered.
pub const NO_GROUP: u32 = 10010;
/// 1:1: the receiver has the sender on the blocklist, and is not to be told as if it were sent.
pub const BLOCKED: u32 = 20007;
/// 1:1: neither is the other's friend.
pub const NOT_FRIENDS: u32 = 20009;
/// 1:1: the sender is not among the receiver's friends.
pub const NOT_THEIR_FRIEND: u32 = 20010;
/// 1:1: the receiver is not among the sender's friends.
pub const NOT_OWN_FRIEND: u32 = 20011;
/// 1:1: the sender is muted in the whole App.
pub const MUTED: u32 = 20012;
/// 1:1: the time for a recall, or for an edit, is over.
pub const RECALL_TOO_LATE: u32 = 20016;
/// 1:1: there is no such message of the sender.
pub const NO_MESSAGE: u32 = 20022;
/// 1:1: the message was recalled before.
pub const RECALLED: u32 = 20023;
/// A message lives longer than seven days.
pub const LIFE_TOO_LONG: u32 = 90026;

pub mod group;
