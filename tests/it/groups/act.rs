//! What the tables try in a group: an act of somebody, as data.

use nearport_client::groups::{GroupJoinOption, GroupReception, GroupRole};

use crate::contract::Text;

/// Who acts, or on whom.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Who {
    Owner,
    /// Nobody, where the type has no administrators.
    Admin,
    Member,
    /// Not in the group.
    Stranger,
    /// A member who is never online.
    Absent,
    /// The member, on another device.
    Elsewhere,
}

pub(crate) use Who::{Absent, Admin, Elsewhere, Member, Owner, Stranger};

/// A field of the group, with the value that somebody wants it to have.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Set {
    Name(Text),
    Introduction(Text),
    Notification(Text),
    FaceUrl(Text),
    MaxMemberNum(u32),
    ApplyJoinOption(GroupJoinOption),
    InviteJoinOption(GroupJoinOption),
    ShutUpAllMember(bool),
    /// A custom one.
    Custom(&'static str, Text),
    /// When the group is made only.
    Id(Text),
    /// The same: the id of the group of the scene.
    Same,
    /// The same: another type than the table's.
    Type(&'static str),
    /// The same: this user from the beginning, as an administrator or not.
    With(Who, bool),
    /// The same: a user who does not exist.
    WithNobody,
}

/// What is looked up about a group.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Get {
    /// What the id begins with, up to its last fixed character.
    IdPrefix,
    Type,
    Name,
    Introduction,
    Notification,
    FaceUrl,
    Owner,
    /// Whether it is of this minute.
    CreateTime,
    InfoSeq,
    /// Whether it has moved since the group was made.
    LastInfoTime,
    /// Whether it is that of the newest message; 0 of none.
    LastMsgTime,
    /// Whether it is the next one after the newest message.
    NextMsgSeq,
    MemberNum,
    MaxMemberNum,
    ApplyJoinOption,
    InviteJoinOption,
    ShutUpAllMember,
    Custom(&'static str),
}

/// What is looked up about a member.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Of {
    Account,
    Role,
    /// Whether it is of this minute.
    JoinTime,
    MsgFlag,
    /// Whether they are muted.
    ShutUpUntil,
    NameCard,
    Custom(&'static str),
}

/// A message, as far as it is not just text.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Msg {
    Plain,
    Saying(Text),
    All,
    Mentions(Who),
    /// So many, who need not exist.
    MentionsMany(usize),
    Receipt,
    OnlineOnly,
    NoUnread,
    Unlisted,
    High,
    Low,
    Lowest,
    /// Its life in seconds.
    Life(u32),
    /// The message before, once more: the same id.
    Again,
}

/// Which message.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Which {
    /// The one that was said last.
    Last,
    /// One that does not exist yet.
    Future,
    /// The newest tip.
    Tip,
    /// The first of the group.
    First,
    /// Number 0, as messages have it that are not stored.
    Unstored,
}

/// What is tried. The outcome of a step is done or a code, unless it says that it is a number or a text.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Act {
    // ---- the group ----
    /// Only as the first step: the group has had no message. Else its owner has said something.
    Fresh,
    /// Makes another group of the type.
    Make(Set),
    Edit(Set),
    /// Looks a field up.
    Look(Get),
    /// Asks for a group by its name.
    FindByName,
    /// Asks for the group by its id.
    Find,
    /// How many are in the list of members; of a live room: how many are online, up to 30 of which it names.
    Members,
    Join,
    Invite(Who),
    /// Decides about who applied or was invited.
    Answer(Who, bool),
    Quit,
    Kick(Who),
    Ban(Who),
    Unban(Who),
    /// For so many seconds.
    Mute(Who, u32),
    Role(Who, GroupRole),
    Transfer(Who),
    Dismiss,
    /// Looks a field of a member up.
    LookAt(Who, Of),
    /// What somebody is here.
    RoleOf(Who),
    Card(Who, Text),
    Receive(Who, GroupReception),
    SetOf(Who, &'static str, Text),
    /// How many are muted.
    Muted,
    /// How many are banned.
    Banned,
    /// Open applications that one sees.
    Applications,
    Attribute(&'static str, Text),
    /// How many there are.
    Attributes,
    DropAttribute(&'static str),
    /// Adds to a counter.
    Count(Text, i64),
    /// What a counter is.
    Counter(&'static str),

    // ---- too much, or nothing that can be read ----
    /// A request without a command.
    Empty,
    /// A request of a kind that does not exist.
    Unknown,
    /// A message of no element.
    NoElement,
    /// A message to the group whose text is no UTF-8.
    NoText,
    /// A name of the group that is no UTF-8.
    NoTextName,
    /// So many users, who do not exist.
    MakeWithMany(usize),
    InviteMany(usize),
    KickMany(usize),
    BanMany(usize),
    RolesOfMany(usize),
    /// So many times the group.
    InfosOfMany(usize),
    /// Members in pages of so many.
    MembersPage(u32),
    /// So many attributes at once, each with this value.
    AttributesMany(usize, Text),
    /// So many at once, and as many others after them.
    AttributesTwice(usize, Text),
    /// Writes an attribute so often, as fast as it goes, until it is refused.
    AttributeTimes(usize),
    /// Writes one if the version of all is this.
    AttributeAt(u64),
    CountersMany(usize),
    /// Mutes, or lets speak again, so often.
    MuteTimes(Who, usize),
    /// All notices that one is shown.
    NoticesAll,
    /// The device says that it has shown what does not exist yet.
    ShownFuture,
    /// Messages between two numbers that do not exist.
    Holes,

    // ---- messages ----
    Say(Msg),
    /// How many messages of users one reads, from the beginning.
    Read,
    /// The state of a message in history: "kept", "recalled", "changed", "missing".
    Shows(Which),
    Recall(Which),
    Change(Which),
    Delete(Which),
    Clear,
    Confirm(Which),
    /// How many have read the last message, and how many have not, as "R of N".
    Readers,
    MarkRead(Which),
    /// Messages that are unread, as the heads of groups say.
    Unread,
    /// The same, as the list of conversations says.
    Listed,
    /// How far one has read, counted from the message that was said last: 0 is up to it.
    ReadUpTo,
    /// Tips of this number in the history.
    Tips(u32),
    /// Notices of this number about this group.
    Notices(u32),
    /// What the newest tip of this number says: who, whom or what, and how many members there are then.
    TipSays(u32),
    /// What the newest notice of this number about this group says: who, and the text.
    NoticeSays(u32),
    /// The application of somebody, as who acts sees it.
    Record(Who),
    /// Whether the messages stand in the order of their numbers and times, without holes.
    Orders,
    /// Whether the key of the last message, as its sender was told it, is the one that who acts sees.
    MsgKey,
    /// How often the message that was said last has come to who acts, once something later has.
    Heard,
    /// Says so many things at once.
    Flood(usize),
    /// What has become of them: "all" are there, or as many as the rate of the group takes.
    InRate,
    /// Messages in pages of so many, newest first, each once.
    PagedBack(u32),
    /// Messages of one page of so many.
    Page(u32),
    /// Messages of the time of the last one, or later.
    FromLast,
    /// Messages of the time of the last one, or earlier.
    UpToLast,
    /// Whether the list of conversations shows the message that was said last as the last one.
    ListedLast,
    /// The first so many messages at once.
    ConfirmMany(u64),
    /// The same.
    DeleteMany(u64),
    /// How far the peer has read, counted from the message that was said last.
    PeerRead,
    /// Whether the last message means who acts: "me", "all", "others", "nobody".
    Mentioned,
    /// Whether the message that was said last reaches who acts.
    Hears,
    /// Whether an event about the group reaches who acts: what it says.
    Told(Hint),
    /// Until so many milliseconds have passed since the last message, by the server's clock.
    Pass(u64),
}

impl Act {
    /// Whether it is about messages, and so is there in a pair, too.
    pub(crate) fn is_talk(self) -> bool {
        use Act::*;
        matches!(
            self,
            Fresh
                | Say(_)
                | Read
                | Shows(_)
                | Recall(_)
                | Change(_)
                | Delete(_)
                | Clear
                | Confirm(_)
                | Readers
                | MarkRead(_)
                | Listed
                | Hears
                | Told(_)
                | Pass(_)
                | Orders
                | MsgKey
                | Heard
                | Flood(_)
                | InRate
                | PagedBack(_)
                | Page(_)
                | FromLast
                | UpToLast
                | ListedLast
                | ConfirmMany(_)
                | DeleteMany(_)
                | PeerRead
        )
    }
}

/// What a device is told of a group.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Hint {
    Recalled,
    Edited,
    Receipt,
    /// Another device of the same user has read.
    ReadElsewhere,
    /// The peer has.
    PeerRead,
    /// A tip of this number, as a message.
    Tip(u32),
    Hidden,
    Cleared,
    Attributes,
    Counters,
    /// In a live room somebody came.
    Came,
    /// In a live room somebody went.
    Went,
}

/// Steps of a case: the outcome of the last one counts.
pub(crate) type Steps = &'static [(Who, Act)];
