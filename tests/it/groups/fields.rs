//! Section 5 of the contract's page on groups: the fields of a group and of a member, what they hold, who writes and who reads them.

use nearport_client::groups::GroupJoinOption::{
    GroupJoinApproval as Approval, GroupJoinClosed as Closed, GroupJoinFree as Free,
};
use nearport_client::groups::GroupReception::{Discard, Quiet};
use nearport_client::groups::GroupRole::Admin as TheAdmin;

use super::Row;
use super::act::Act::*;
use super::act::Get;
use super::act::Msg::{NoUnread, OnlineOnly, Plain};
use super::act::Of;
use super::act::Set::*;
use super::act::Which::Last;
use super::act::{Absent, Admin, Member, Owner, Stranger};
use crate::contract::Cell::{Code, Done, Is, Nobody, Says};
use crate::contract::Text::{self, Bytes, Wide};
use crate::contract::{BAD, NO};

const TOO_MANY: super::Cell = Code(10038);
const BAD_ID: super::Cell = Code(10015);
const YES: super::Cell = Says("yes");
const NEW: Text = Text::Of("new");
const VALUE: Text = Text::Of("v");
/// Turns round what stands behind it.
const RTL: Text = Text::Of("gnp.\u{202e}exe");
const ZERO_WIDTH: Text = Text::Of("\u{200b}\u{2060}");

#[rustfmt::skip]
pub(super) static ROWS: &[Row<5>] = &[
    //                                                            Work        Public      Meeting     AVChat      Community
    ("GroupId", &[(Owner, Look(Get::IdPrefix))],                  [Says("@TGS#1"), Says("@TGS#2"), Says("@TGS#3"), Says("@TGS#a"), Says("@TGS#_@TGS#c")]),
    ("GroupId", &[(Owner, Make(Id(Bytes(48))))],                  [Done,      Done,       Done,       Done,       Done]),
    ("GroupId", &[(Owner, Make(Id(Bytes(49))))],                  [BAD_ID,    BAD_ID,     BAD_ID,     BAD_ID,     BAD_ID]),
    ("GroupId", &[(Owner, Make(Id(Text::Of("@TGS#1A"))))],        [BAD_ID,    BAD_ID,     BAD_ID,     BAD_ID,     BAD_ID]),
    ("GroupId", &[(Owner, Make(Id(Text::Of("@TGS#_"))))],         [BAD_ID,    BAD_ID,     BAD_ID,     BAD_ID,     BAD_ID]),
    ("GroupId", &[(Owner, Make(Id(Wide(3))))],                    [BAD_ID,    BAD_ID,     BAD_ID,     BAD_ID,     BAD_ID]),
    ("GroupId", &[(Owner, Make(Id(ZERO_WIDTH)))],                 [BAD_ID,    BAD_ID,     BAD_ID,     BAD_ID,     BAD_ID]),

    ("Type", &[(Owner, Look(Get::Type))],                         [Says("Private"), Says("Public"), Says("ChatRoom"), Says("AVChatRoom"), Says("Community")]),
    ("Type", &[(Owner, Make(Type("Private")))],                   [Done,      Done,       Done,       Done,       Done]),
    ("Type", &[(Owner, Make(Type("Meeting")))],                   [Done,      Done,       Done,       Done,       Done]),
    ("Type", &[(Owner, Make(Type("BChatRoom")))],                 [BAD,       BAD,        BAD,        BAD,        BAD]),
    ("Type", &[(Owner, Make(Type("")))],                          [BAD,       BAD,        BAD,        BAD,        BAD]),

    ("Name", &[(Owner, Edit(Name(Wide(10))))],                    [Done,      Done,       Done,       Done,       Done]),
    ("Name", &[(Owner, Edit(Name(Bytes(30))))],                   [Done,      Done,       Done,       Done,       Done]),
    ("Name", &[(Owner, Edit(Name(Bytes(31))))],                   [BAD,       BAD,        BAD,        BAD,        BAD]),
    ("Name", &[(Owner, Edit(Name(Wide(11))))],                    [BAD,       BAD,        BAD,        BAD,        BAD]),
    ("Name", &[(Owner, Edit(Name(Text::Of(""))))],                [BAD,       BAD,        BAD,        BAD,        BAD]),
    ("Name", &[(Owner, Edit(Name(ZERO_WIDTH)))],                  [BAD,       BAD,        BAD,        BAD,        BAD]),
    ("Name", &[(Owner, Edit(Name(RTL)))],                         [BAD,       BAD,        BAD,        BAD,        BAD]),
    ("Name", &[(Owner, Edit(Name(Text::Of("a\u{0}"))))],          [BAD,       BAD,        BAD,        BAD,        BAD]),
    ("Name", &[(Owner, Make(Name(Bytes(31))))],                   [BAD,       BAD,        BAD,        BAD,        BAD]),
    ("Name", &[(Owner, Make(Name(Text::Of(""))))],                [BAD,       BAD,        BAD,        BAD,        BAD]),
    ("Name", &[(Owner, Edit(Name(Text::Of("مجموعة")))), (Member, Look(Get::Name))],
                                                                  [Says("مجموعة"), Says("مجموعة"), Says("مجموعة"), Says("مجموعة"), Says("مجموعة")]),
    ("Name", &[(Stranger, Look(Get::Name))],                      [NO,        Says("group"), Says("group"), Says("group"), Says("group")]),

    ("Introduction", &[(Owner, Edit(Introduction(Bytes(240))))],  [Done,      Done,       Done,       Done,       Done]),
    ("Introduction", &[(Owner, Edit(Introduction(Bytes(241))))],  [BAD,       BAD,        BAD,        BAD,        BAD]),
    ("Introduction", &[(Owner, Edit(Introduction(RTL)))],         [BAD,       BAD,        BAD,        BAD,        BAD]),
    ("Introduction", &[(Owner, Make(Introduction(Bytes(241))))],  [BAD,       BAD,        BAD,        BAD,        BAD]),
    ("Introduction", &[(Owner, Edit(Introduction(NEW))), (Member, Look(Get::Introduction))],
                                                                  [Says("new"), Says("new"), Says("new"), Says("new"), Says("new")]),
    ("Notification", &[(Owner, Edit(Notification(Bytes(300))))],  [Done,      Done,       Done,       Done,       Done]),
    ("Notification", &[(Owner, Edit(Notification(Bytes(301))))],  [BAD,       BAD,        BAD,        BAD,        BAD]),
    ("Notification", &[(Owner, Make(Notification(Bytes(301))))],  [BAD,       BAD,        BAD,        BAD,        BAD]),
    ("Notification", &[(Owner, Edit(Notification(Text::Of("a\nb")))), (Member, Look(Get::Notification))],
                                                                  [Says("a\nb"), Says("a\nb"), Says("a\nb"), Says("a\nb"), Says("a\nb")]),
    ("FaceUrl", &[(Owner, Edit(FaceUrl(Bytes(100))))],            [Done,      Done,       Done,       Done,       Done]),
    ("FaceUrl", &[(Owner, Edit(FaceUrl(Bytes(101))))],            [BAD,       BAD,        BAD,        BAD,        BAD]),
    ("FaceUrl", &[(Owner, Make(FaceUrl(Bytes(101))))],            [BAD,       BAD,        BAD,        BAD,        BAD]),
    ("FaceUrl", &[(Owner, Edit(FaceUrl(NEW))), (Member, Look(Get::FaceUrl))],
                                                                  [Says("new"), Says("new"), Says("new"), Says("new"), Says("new")]),

    ("Owner_Account", &[(Member, Look(Get::Owner))],              [Says("owner"), Says("owner"), Says("owner"), Says("owner"), Says("owner")]),
    ("Owner_Account", &[(Owner, Transfer(Member)), (Member, Look(Get::Owner))],
                                                                  [Says("member"), Says("member"), Says("member"), Says("owner"), Says("member")]),
    ("Owner_Account", &[(Owner, Quit), (Member, Look(Get::Owner))], [Says(""), Says("owner"), Says("owner"), Says("owner"), Says("owner")]),
    ("CreateTime", &[(Member, Look(Get::CreateTime))],            [YES,       YES,        YES,        YES,        YES]),
    ("InfoSeq", &[(Member, Look(Get::InfoSeq))],                  [Is(1),     Is(1),      Is(1),      Is(1),      Is(1)]),
    ("InfoSeq", &[(Owner, Edit(Name(NEW))), (Owner, Edit(Introduction(NEW))), (Member, Look(Get::InfoSeq))],
                                                                  [Is(3),     Is(3),      Is(3),      Is(3),      Is(3)]),
    ("InfoSeq", &[(Owner, Edit(Name(NEW))), (Owner, Edit(Name(NEW))), (Member, Look(Get::InfoSeq))],
                                                                  [Is(2),     Is(2),      Is(2),      Is(2),      Is(2)]),
    ("LastInfoTime", &[(Owner, Pass(2)), (Owner, Edit(Name(NEW))), (Member, Look(Get::LastInfoTime))],
                                                                  [YES,       YES,        YES,        YES,        YES]),
    ("LastMsgTime", &[(Member, Look(Get::LastMsgTime))],          [YES,       YES,        YES,        Says("none"), YES]),
    ("NextMsgSeq", &[(Owner, Say(Plain)), (Member, Look(Get::NextMsgSeq))], [Is(1), Is(1), Is(1),     Is(1),      Is(1)]),
    ("NextMsgSeq", &[(Owner, Say(Plain)), (Owner, Edit(Name(NEW))), (Member, Look(Get::NextMsgSeq))],
                                                                  [Is(2),     Is(2),      Is(2),      Is(1),      Is(2)]),
    ("MemberNum", &[(Member, Look(Get::MemberNum))],              [Is(4),     Is(4),      Is(4),      Is(2),      Is(4)]),
    ("MemberNum", &[(Member, Quit), (Owner, Look(Get::MemberNum))], [Is(3),   Is(3),      Is(3),      Is(1),      Is(3)]),
    ("MemberNum", &[(Owner, Kick(Absent)), (Owner, Look(Get::MemberNum))], [Is(3), Is(3), Is(3),      Is(2),      Is(3)]),

    ("MaxMemberNum", &[(Member, Look(Get::MaxMemberNum))],        [Is(2000),  Is(2000),   Is(2000),   Is(0),      Is(100_000)]),
    ("MaxMemberNum", &[(Owner, Edit(MaxMemberNum(2001)))],        [TOO_MANY,  TOO_MANY,   TOO_MANY,   Done,       Done]),
    ("MaxMemberNum", &[(Owner, Edit(MaxMemberNum(100_001)))],     [TOO_MANY,  TOO_MANY,   TOO_MANY,   Done,       TOO_MANY]),
    ("MaxMemberNum", &[(Owner, Edit(MaxMemberNum(0)))],           [TOO_MANY,  TOO_MANY,   TOO_MANY,   Done,       TOO_MANY]),
    ("MaxMemberNum", &[(Owner, Make(MaxMemberNum(2001)))],        [TOO_MANY,  TOO_MANY,   TOO_MANY,   Done,       Done]),
    ("MaxMemberNum", &[(Owner, Edit(MaxMemberNum(100))), (Member, Look(Get::MaxMemberNum))],
                                                                  [Is(100),   Is(100),    Is(100),    Is(0),      Is(100)]),
    ("MaxMemberNum", &[(Admin, Edit(MaxMemberNum(100)))],         [Nobody,    Done,       Done,       Nobody,     Done]),
    ("MaxMemberNum", &[(Owner, Edit(MaxMemberNum(4))), (Owner, Edit(InviteJoinOption(Free))), (Owner, Invite(Stranger))],
                                                                  [Code(10014), Code(10014), Code(10014), NO,     Code(10014)]),

    ("ApplyJoinOption", &[(Member, Look(Get::ApplyJoinOption))],
        [Says("DisableApply"), Says("NeedPermission"), Says("FreeAccess"), Says("FreeAccess"), Says("FreeAccess")]),
    ("ApplyJoinOption", &[(Owner, Edit(ApplyJoinOption(Free))), (Stranger, Join)], [NO, Done, Done,    Done,       Done]),
    ("ApplyJoinOption", &[(Owner, Edit(ApplyJoinOption(Closed))), (Stranger, Join)], [NO, NO, Done,    Done,       Done]),
    ("ApplyJoinOption", &[(Admin, Edit(ApplyJoinOption(Free)))],  [Nobody,    Done,       Done,       Nobody,     Done]),
    ("ApplyJoinOption", &[(Member, Edit(ApplyJoinOption(Free)))], [NO,        NO,         NO,         NO,         NO]),
    ("InviteJoinOption", &[(Member, Look(Get::InviteJoinOption))],
        [Says("FreeAccess"), Says("DisableInvite"), Says("DisableInvite"), Says("DisableInvite"), Says("FreeAccess")]),
    ("InviteJoinOption", &[(Owner, Edit(InviteJoinOption(Approval))), (Member, Look(Get::InviteJoinOption))],
        [Says("NeedPermission"), Says("NeedPermission"), Says("NeedPermission"), Says("DisableInvite"), Says("NeedPermission")]),
    ("InviteJoinOption", &[(Member, Edit(InviteJoinOption(Free)))], [NO,      NO,         NO,         NO,         NO]),
    ("ShutUpAllMember", &[(Member, Look(Get::ShutUpAllMember))],  [Says("Off"), Says("Off"), Says("Off"), Says("Off"), Says("Off")]),
    ("ShutUpAllMember", &[(Owner, Edit(ShutUpAllMember(true))), (Member, Look(Get::ShutUpAllMember))],
                                                                  [Says("Off"), Says("On"), Says("On"), Says("On"), Says("On")]),
    ("ShutUpAllMember", &[(Owner, Edit(ShutUpAllMember(true)))],  [NO,        Done,       Done,       Done,       Done]),
    ("ShutUpAllMember", &[(Admin, Edit(ShutUpAllMember(true)))],  [Nobody,    Done,       Done,       Nobody,     Done]),
    ("ShutUpAllMember", &[(Member, Edit(ShutUpAllMember(true)))], [NO,        NO,         NO,         NO,         NO]),

    ("AppDefinedData", &[(Member, Edit(Custom("open", VALUE)))],  [Done,      Done,       Done,       Done,       Done]),
    ("AppDefinedData", &[(Member, Edit(Custom("boss", VALUE)))],  [NO,        NO,         NO,         NO,         NO]),
    ("AppDefinedData", &[(Admin, Edit(Custom("boss", VALUE)))],   [Nobody,    NO,         NO,         Nobody,     NO]),
    ("AppDefinedData", &[(Owner, Edit(Custom("boss", VALUE)))],   [Done,      Done,       Done,       Done,       Done]),
    ("AppDefinedData", &[(Owner, Edit(Custom("root", VALUE)))],   [NO,        NO,         NO,         NO,         NO]),
    ("AppDefinedData", &[(Owner, Edit(Custom("mine", VALUE)))],   [BAD,       BAD,        BAD,        BAD,        BAD]),
    ("AppDefinedData", &[(Owner, Edit(Custom("undeclared", VALUE)))], [BAD,   BAD,        BAD,        BAD,        BAD]),
    ("AppDefinedData", &[(Owner, Edit(Custom("open", Bytes(512))))], [Done,   Done,       Done,       Done,       Done]),
    ("AppDefinedData", &[(Owner, Edit(Custom("open", Bytes(513))))], [BAD,    BAD,        BAD,        BAD,        BAD]),
    ("AppDefinedData", &[(Owner, Make(Custom("boss", VALUE)))],   [Done,      Done,       Done,       Done,       Done]),
    ("AppDefinedData", &[(Owner, Make(Custom("root", VALUE)))],   [NO,        NO,         NO,         NO,         NO]),
    ("AppDefinedData", &[(Owner, Edit(Custom("open", VALUE))), (Stranger, Look(Get::Custom("open")))],
                                                                  [NO,        Says("v"),  Says("v"),  Says("v"),  Says("v")]),
    ("AppDefinedData", &[(Owner, Edit(Custom("boss", VALUE))), (Member, Look(Get::Custom("boss")))],
                                                                  [Says("none"), Says("none"), Says("none"), Says("none"), Says("none")]),
    ("AppDefinedData", &[(Owner, Edit(Custom("boss", VALUE))), (Owner, Look(Get::Custom("boss")))],
                                                                  [Says("v"), Says("v"),  Says("v"),  Says("v"),  Says("v")]),
    ("AppDefinedData", &[(Owner, Edit(Custom("open", VALUE))), (Owner, Edit(Custom("open", Text::Of("")))), (Owner, Look(Get::Custom("open")))],
                                                                  [Says("none"), Says("none"), Says("none"), Says("none"), Says("none")]),

    // ---- members ----
    ("Member_Account", &[(Owner, LookAt(Member, Of::Account))],   [YES,       YES,        YES,        YES,        YES]),
    ("Role", &[(Member, LookAt(Owner, Of::Role))],                [Says("Owner"), Says("Owner"), Says("Owner"), Says("Owner"), Says("Owner")]),
    ("Role", &[(Owner, Role(Member, TheAdmin)), (Member, LookAt(Member, Of::Role))],
                                                                  [Says("Member"), Says("Admin"), Says("Admin"), Says("Member"), Says("Admin")]),
    ("Role", &[(Stranger, LookAt(Owner, Of::Role))],              [NO,        NO,         NO,         Says("Owner"), NO]),
    ("JoinTime", &[(Owner, LookAt(Member, Of::JoinTime))],        [YES,       YES,        YES,        Says("no"), YES]),
    ("MsgSeq", &[(Owner, Say(Plain)), (Member, MarkRead(Last)), (Member, ReadUpTo)], [Is(0), Is(0), Is(0), Nobody, Is(0)]),
    ("MsgSeq", &[(Member, MarkRead(Last)), (Owner, Say(Plain)), (Owner, Say(Plain)), (Member, ReadUpTo)], [Is(2), Is(2), Is(2), Nobody, Is(2)]),
    ("MsgFlag", &[(Member, Receive(Member, Quiet)), (Member, LookAt(Member, Of::MsgFlag))],
                                                                  [Says("AcceptNotNotify"), Says("AcceptNotNotify"), Says("AcceptNotNotify"), Says("none"), Says("AcceptNotNotify")]),
    ("MsgFlag", &[(Member, Receive(Member, Discard))],            [Done,      Done,       Done,       NO,         Done]),
    ("MsgFlag", &[(Owner, Receive(Member, Quiet))],               [NO,        NO,         NO,         NO,         NO]),
    ("ShutUpUntil", &[(Owner, LookAt(Member, Of::ShutUpUntil))],  [Says("no"), Says("no"), Says("no"), Says("no"), Says("no")]),
    ("ShutUpUntil", &[(Owner, Mute(Member, 60)), (Member, LookAt(Member, Of::ShutUpUntil))],
                                                                  [Says("no"), YES,       YES,        YES,        YES]),
    ("ShutUpUntil", &[(Owner, Mute(Member, u32::MAX)), (Member, LookAt(Member, Of::ShutUpUntil))],
                                                                  [Says("no"), YES,       YES,        YES,        YES]),
    ("NameCard", &[(Member, Card(Member, Bytes(50)))],            [Done,      Done,       Done,       NO,         Done]),
    ("NameCard", &[(Member, Card(Member, Bytes(51)))],            [BAD,       BAD,        BAD,        NO,         BAD]),
    ("NameCard", &[(Member, Card(Member, Wide(17)))],             [BAD,       BAD,        BAD,        NO,         BAD]),
    ("NameCard", &[(Member, Card(Member, RTL))],                  [BAD,       BAD,        BAD,        NO,         BAD]),
    ("NameCard", &[(Member, Card(Owner, VALUE))],                 [NO,        NO,         NO,         NO,         NO]),
    ("NameCard", &[(Owner, Card(Member, VALUE))],                 [Done,      Done,       Done,       NO,         Done]),
    ("NameCard", &[(Admin, Card(Member, VALUE))],                 [Nobody,    Done,       Done,       Nobody,     Done]),
    ("NameCard", &[(Stranger, Card(Stranger, VALUE))],            [NO,        NO,         NO,         NO,         NO]),
    ("NameCard", &[(Member, Card(Member, VALUE)), (Owner, LookAt(Member, Of::NameCard))],
                                                                  [Says("v"), Says("v"),  Says("v"),  Says(""),   Says("v")]),
    ("AppMemberDefinedData", &[(Member, SetOf(Member, "mine", VALUE))], [Done, Done,      Done,       NO,         Done]),
    ("AppMemberDefinedData", &[(Member, SetOf(Absent, "mine", VALUE))], [NO,  NO,         NO,         NO,         NO]),
    ("AppMemberDefinedData", &[(Member, SetOf(Member, "rank", VALUE))], [NO,  NO,         NO,         NO,         NO]),
    ("AppMemberDefinedData", &[(Owner, SetOf(Member, "rank", VALUE))],  [Done, Done,      Done,       NO,         Done]),
    ("AppMemberDefinedData", &[(Owner, SetOf(Member, "open", VALUE))],  [BAD, BAD,        BAD,        NO,         BAD]),
    ("AppMemberDefinedData", &[(Member, SetOf(Member, "mine", Bytes(64)))], [Done, Done,  Done,       NO,         Done]),
    ("AppMemberDefinedData", &[(Member, SetOf(Member, "mine", Bytes(65)))], [BAD, BAD,    BAD,        NO,         BAD]),
    ("AppMemberDefinedData", &[(Member, SetOf(Member, "mine", VALUE)), (Member, LookAt(Member, Of::Custom("mine")))],
                                                                  [Says("v"), Says("v"),  Says("v"),  Says("none"), Says("v")]),
    ("AppMemberDefinedData", &[(Owner, SetOf(Absent, "mine", VALUE)), (Member, LookAt(Absent, Of::Custom("mine")))],
                                                                  [Says("none"), Says("none"), Says("none"), Says("none"), Says("none")]),
    ("AppMemberDefinedData", &[(Owner, SetOf(Member, "rank", VALUE)), (Member, LookAt(Member, Of::Custom("rank")))],
                                                                  [Says("v"), Says("v"),  Says("v"),  Says("none"), Says("v")]),

    ("Unread of a member", &[(Member, MarkRead(Last)), (Owner, Say(Plain)), (Owner, Say(NoUnread)), (Member, Listed)],
                                                                  [Is(1),     Is(1),      Is(0),      Says("missing"), Is(1)]),
    ("Unread of a member", &[(Member, MarkRead(Last)), (Owner, Say(OnlineOnly)), (Member, Unread)],
                                                                  [Is(0),     Is(0),      Is(0),      Nobody,     Is(0)]),
];

/// What clients are not told, and where it is.
pub(super) static ELSEWHERE: &[(&str, &str)] = &[
    ("Appid", "REST only: get_group_info"),
    ("SupportTopic", "groups/topics.rs"),
    ("LastSendMsgTime", "REST only: get_group_member_info"),
];
