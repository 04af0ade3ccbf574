//! Sections 3 to 8, 10 to 12 and 14 of the contract's page on what clients see, for pairs and for each type of group.

use nearport_client::groups::GroupJoinOption::{GroupJoinApproval as Approval, GroupJoinFree as Free};
use nearport_client::groups::GroupReception::{Discard, Notify, Quiet};
use nearport_client::groups::GroupRole::{Admin as TheAdmin, Member as TheMember};

use crate::contract::Cell::{Code, Done, Is, Nobody, Says};
use crate::contract::Text::{Bytes, Of};
use crate::contract::{BAD, Cell, GONE, NO};
use crate::groups::Row;
use crate::groups::act::Act::*;
use crate::groups::act::Hint;
use crate::groups::act::Hint::{
    Attributes as NewAttributes, Came, Cleared, Counters, Edited, Hidden, ReadElsewhere, Recalled,
    Receipt as Receipted, Went,
};
use crate::groups::act::Msg::*;
use crate::groups::act::Set::{ApplyJoinOption, InviteJoinOption, Name, ShutUpAllMember};
use crate::groups::act::Which::{First, Future, Last, Tip, Unstored};
use crate::groups::act::{Absent, Admin, Elsewhere, Member, Owner, Stranger};

const YES: Cell = Says("yes");
const NOT: Cell = Says("no");
const MUTED: Cell = Code(10017);
const TOO_LONG: Cell = Code(80002);
const NO_RECALL: Cell = Code(10033);
const NO_DELETE: Cell = Code(10035);
const AGAIN: Cell = Says("again");
const WHOLE: Cell = Says("within the rate");

#[rustfmt::skip]
pub(super) static SENDING: &[Row<6>] = &[
    // ---- 3: sending, ordering, dedupe ----                      C2C         Work        Public      Meeting     AVChat      Community
    ("One-to-one order", &[(Owner, Say(Plain)), (Member, Say(Plain)), (Owner, Orders)], [YES, YES,     YES,        YES,        NO,         YES]),
    ("MsgKey of a one-to-one", &[(Owner, Say(Plain)), (Member, MsgKey)], [YES,  YES,        YES,        YES,        NO,         YES]),
    ("Dedupe: group message", &[(Owner, Say(Plain)), (Owner, Say(Again))], [AGAIN, AGAIN,   AGAIN,      AGAIN,      Says("anew"), AGAIN]),
    ("Dedupe: group message", &[(Owner, Say(Plain)), (Owner, Say(Again)), (Member, Heard)], [Is(1), Is(1), Is(1),   Is(1),      Is(1),      Is(1)]),
    ("Dedupe: group message", &[(Owner, Say(Plain)), (Owner, Say(Again)), (Member, Read)], [Is(2), Is(2), Is(2),    Is(2),      NO,         Is(2)]),
    ("Rate: client one-to-one", &[(Owner, Flood(120)), (Member, InRate)], [Says("all"), WHOLE, WHOLE,   WHOLE,      WHOLE,      WHOLE]),
    ("Size 12 KB", &[(Owner, Say(Saying(Bytes(12_000))))],        [Done,        Done,       Done,       Done,       Done,       Done]),
    ("Size 12 KB", &[(Owner, Say(Saying(Bytes(12_278))))],        [Done,        Done,       Done,       Done,       Done,       Done]),
    ("Size 12 KB", &[(Owner, Say(Saying(Bytes(12_288))))],        [TOO_LONG,    TOO_LONG,   TOO_LONG,   TOO_LONG,   TOO_LONG,   TOO_LONG]),
    ("A muted sender gets", &[(Owner, Mute(Member, 60)), (Member, Say(Plain))], [Done, Done, MUTED,      MUTED,      MUTED,      MUTED]),
    ("A muted sender gets", &[(Owner, Edit(ShutUpAllMember(true))), (Member, Say(Plain))], [Done, Done, MUTED, MUTED, MUTED,    MUTED]),
    ("A muted sender gets", &[(Owner, Edit(ShutUpAllMember(true))), (Admin, Say(Plain))], [Nobody, Nobody, Done, Done, Nobody,  Done]),
    ("A muted sender gets", &[(Owner, Edit(ShutUpAllMember(true))), (Owner, Say(Plain))], [Done, Done, Done, Done,  Done,       Done]),
    ("A muted sender gets", &[(Owner, Edit(ShutUpAllMember(true))), (Owner, Edit(ShutUpAllMember(false))), (Member, Say(Plain))], [Done, Done, Done, Done, Done, Done]),
    ("A muted sender gets", &[(Owner, Mute(Member, 1)), (Owner, Pass(2000)), (Member, Say(Plain))], [Done, Done, Done, Done,   Done,       Done]),
    ("A muted sender gets", &[(Owner, Edit(ApplyJoinOption(Free))), (Owner, Mute(Member, 60)), (Member, Quit), (Member, Join), (Member, Say(Plain))],
                                                                  [Done,        NO,         MUTED,      MUTED,      MUTED,      MUTED]),
    ("A sender's own messages", &[(Member, Say(Plain)), (Elsewhere, Hears)], [YES, YES,     YES,        YES,        NOT,        YES]),
    ("A sender's own messages", &[(Member, Say(Plain)), (Owner, Hears)], [YES,  YES,        YES,        YES,        YES,        YES]),

    // ---- 4: priorities and online-only ----
    ("Group priorities", &[(Member, Say(High)), (Owner, Hears)],  [YES,         YES,        YES,        YES,        YES,        YES]),
    ("Group priorities", &[(Member, Say(Low)), (Owner, Hears)],   [YES,         YES,        YES,        YES,        YES,        YES]),
    ("Group priorities", &[(Member, Say(Lowest)), (Owner, Hears)], [YES,        YES,        YES,        YES,        YES,        YES]),
    ("Online-only", &[(Owner, Say(OnlineOnly))],                  [Done,        Done,       Done,       Done,       NO,         Done]),
    ("Online-only", &[(Owner, Say(OnlineOnly)), (Member, Hears)], [YES,         YES,        YES,        YES,        YES,        YES]),
    ("Online-only", &[(Owner, Say(OnlineOnly)), (Member, Read)],  [Is(1),       Is(1),      Is(1),      Is(1),      NO,         Is(1)]),
    ("Online-only", &[(Owner, Say(OnlineOnly)), (Member, Listed)], [Is(1),      Is(1),      Is(2),      Is(0),      Says("missing"), Is(2)]),
    ("Online-only", &[(Owner, Say(OnlineOnly)), (Owner, Recall(Unstored))], [Code(20022), Code(10030), Code(10030), Code(10030), NO_RECALL, Code(10030)]),
    ("MsgLifeTime", &[(Owner, Say(Life(604_800)))],               [Done,        Done,       Done,       Done,       Done,       Done]),
    ("MsgLifeTime", &[(Owner, Say(Life(604_801)))],               [Code(90026), Code(90026), Code(90026), Code(90026), Code(90026), Code(90026)]),

    // ---- 5: history ----
    ("group history", &[(Owner, Say(Plain)), (Member, Say(Plain)), (Owner, Say(Plain)), (Owner, Say(Plain)), (Member, PagedBack(2))],
                                                                  [Is(5),       Is(5),      Is(5),      Is(5),      NO,         Is(5)]),
    ("group history", &[(Owner, Recall(Last)), (Member, Shows(Last))], [Says("recalled"), Says("recalled"), Says("recalled"), Says("recalled"), NO, Says("recalled")]),
    ("group history", &[(Stranger, Read)],                        [Is(0),       NO,         NO,         NO,         NO,         NO]),
    ("pre-join history", &[(Owner, Edit(ApplyJoinOption(Free))), (Owner, Invite(Stranger)), (Stranger, Join), (Stranger, Read)],
                                                                  [Is(0),       Is(0),      Is(0),      Is(1),      NO,         Is(1)]),
    ("pre-join history", &[(Owner, Edit(ApplyJoinOption(Free))), (Owner, Invite(Stranger)), (Stranger, Join), (Stranger, Shows(First))],
                                                                  [Says("missing"), Says("missing"), Says("missing"), Says("kept"), NO, Says("kept")]),
    ("one-to-one history", &[(Owner, Pass(5)), (Member, Say(Plain)), (Owner, FromLast)], [Is(1), Is(1), Is(1),      Is(1),      NO,         Is(1)]),
    ("one-to-one history", &[(Owner, Pass(5)), (Member, Say(Plain)), (Owner, UpToLast)], [Is(2), Is(2), Is(2),      Is(2),      NO,         Is(2)]),
    ("SDK page size", &[(Owner, Say(Plain)), (Member, Page(1))],  [Is(1),       Is(1),      Is(1),      Is(1),      NO,         Is(1)]),
    ("SDK page size", &[(Owner, Say(Plain)), (Member, Page(u32::MAX))], [Is(2), Is(2),      Is(3),      Is(2),      NO,         Is(3)]),

    // ---- 6: unread ----
    ("Conversation unread excludes", &[(Owner, Say(Plain)), (Member, Listed)], [Is(2), Is(2), Is(3),    Is(0),      Says("missing"), Is(3)]),
    ("Conversation unread excludes", &[(Owner, Say(Plain)), (Owner, Listed)], [Is(0), Is(0), Is(1),     Is(0),      Says("missing"), Is(1)]),
    ("One-to-one read report", &[(Owner, Say(Plain)), (Member, MarkRead(Last)), (Member, Listed)], [Is(0), Is(0), Is(0), Is(0), Says("missing"), Is(0)]),
    ("One-to-one read report", &[(Member, MarkRead(Last)), (Owner, Told(Hint::PeerRead))], [YES, NOT,   NOT,        NOT,        NOT,        NOT]),
    ("Group read report", &[(Member, MarkRead(Last))],            [Done,        Done,       Done,       Done,       NO,         Done]),
    ("Group read report", &[(Stranger, MarkRead(Last))],          [Done,        NO,         NO,         NO,         NO,         NO]),
    ("Group read report", &[(Member, MarkRead(Last)), (Elsewhere, Told(ReadElsewhere))], [YES, YES, YES, YES,       NOT,        YES]),
    ("Group read report", &[(Member, MarkRead(Last)), (Member, MarkRead(First)), (Member, ReadUpTo)], [Nobody, Is(0), Is(0), Is(0), Nobody, Is(0)]),
    ("Group read report", &[(Member, MarkRead(Future)), (Owner, Say(Plain)), (Member, Listed)], [Is(1), Is(1), Is(1), Is(0), Says("missing"), Is(1)]),
    ("NoUnread / NoLastMsg", &[(Member, MarkRead(Last)), (Owner, Say(NoUnread)), (Member, Listed)], [Is(0), Is(0), Is(0), Is(0), Says("missing"), Is(0)]),
    ("NoUnread / NoLastMsg", &[(Member, MarkRead(Last)), (Owner, Say(Unlisted)), (Member, ListedLast)], [NOT, NOT, NOT, NOT, Says("missing"), NOT]),
    ("NoUnread / NoLastMsg", &[(Owner, Say(Plain)), (Member, ListedLast)], [YES, YES,       YES,        YES,        Says("missing"), YES]),

    // ---- 7: receipts ----
    ("Who", &[(Owner, Say(Receipt)), (Member, Confirm(Last))],    [Done,        Done,       Done,       Done,       NO,         NO]),
    ("Who", &[(Owner, Say(Receipt)), (Stranger, Confirm(Last))],  [Says("nothing"), NO,     NO,         NO,         NO,         NO]),
    ("Who", &[(Owner, Say(Receipt)), (Owner, Confirm(Last))],     [Says("nothing"), Says("nothing"), Says("nothing"), Says("nothing"), NO, NO]),
    ("Not for", &[(Owner, Say(Receipt))],                         [Done,        Done,       Done,       Done,       NO,         NO]),
    ("Flow", &[(Owner, Say(Receipt)), (Member, Confirm(Last)), (Owner, Told(Receipted))], [YES, YES, YES, YES,      NOT,        NOT]),
    ("Flow", &[(Owner, Say(Receipt)), (Owner, Readers)],          [Says("0 of 1"), Says("0 of 3"), Says("0 of 3"), Says("0 of 3"), NO, Code(10062)]),
    ("Flow", &[(Owner, Say(Receipt)), (Member, Confirm(Last)), (Member, Confirm(Last)), (Owner, Readers)],
                                                                  [Says("1 of 1"), Says("1 of 3"), Says("1 of 3"), Says("1 of 3"), NO, Code(10062)]),
    ("Batch limit for client calls", &[(Owner, Say(Receipt)), (Member, ConfirmMany(30))], [Says("nothing"), Says("nothing"), Says("nothing"), Says("nothing"), NO, NO]),
    ("Batch limit for client calls", &[(Owner, Say(Receipt)), (Member, ConfirmMany(31))], [Code(20001), BAD, BAD,    BAD,        BAD,        BAD]),
    ("Missing data", &[(Owner, Say(Plain)), (Owner, Readers)],    [Code(20022), Code(10062), Code(10062), Code(10062), NO,      Code(10062)]),
    ("Missing data", &[(Owner, Say(Receipt)), (Member, Readers)], [Code(20022), Code(10062), Code(10062), Code(10062), NO,      Code(10062)]),
    ("The older one-to-one", &[(Member, MarkRead(Last)), (Owner, PeerRead)], [Is(0), Nobody, Nobody,     Nobody,     Nobody,     Nobody]),

    // ---- 8: recall, delete, edit ----
    ("Window 2 minutes", &[(Owner, Recall(Last))],                [Done,        Done,       Done,       Done,       NO_RECALL,  Done]),
    ("Window 2 minutes", &[(Owner, Recall(Last)), (Owner, Recall(Last))], [Code(20023), Code(10032), Code(10032), Code(10032), NO_RECALL, Code(10032)]),
    ("Window 2 minutes", &[(Owner, Recall(Future))],              [Code(20022), Code(10030), Code(10030), Code(10030), NO_RECALL, Code(10030)]),
    ("Window 2 minutes", &[(Member, Recall(Last))],               [Code(20022), NO,         NO,         NO,         NO_RECALL,  NO]),
    ("Window 2 minutes", &[(Member, Say(Plain)), (Owner, Recall(Last))], [Code(20022), Done, Done,      Done,       NO_RECALL,  Done]),
    ("Window 2 minutes", &[(Owner, Edit(Name(Of("new")))), (Owner, Recall(Tip))], [Code(20022), Code(10032), Code(10032), Code(10032), NO_RECALL, Code(10032)]),
    ("Not recallable", &[(Owner, Recall(Unstored))],              [Code(20022), Code(10030), Code(10030), Code(10030), NO_RECALL, Code(10030)]),
    ("Receivers online get", &[(Member, Hears), (Owner, Recall(Last)), (Member, Told(Recalled))], [YES, YES, YES,        YES,        NOT,        YES]),
    ("Receivers online get", &[(Owner, Recall(Last)), (Stranger, Told(Recalled))], [NOT, NOT, NOT,      NOT,        NOT,        NOT]),
    ("Delete (one side)", &[(Member, Delete(Last)), (Member, Shows(Last))], [Says("missing"), Says("missing"), Says("missing"), Says("missing"), NO, Says("missing")]),
    ("Delete (one side)", &[(Member, Delete(Last)), (Owner, Shows(Last))], [Says("kept"), Says("kept"), Says("kept"), Says("kept"), NO, Says("kept")]),
    ("Delete (one side)", &[(Member, Delete(Last)), (Elsewhere, Told(Hidden))], [YES, YES,  YES,        YES,        NOT,        YES]),
    ("Delete (one side)", &[(Member, Delete(Last))],              [Done,        Done,       Done,       Done,       NO_DELETE,  Done]),
    ("Delete (one side)", &[(Member, Delete(Future))],            [Done,        Code(10052), Code(10052), Code(10052), NO_DELETE, Code(10052)]),
    ("Delete (one side)", &[(Member, DeleteMany(31))],            [Code(20001), Code(10051), Code(10051), Code(10051), Code(10051), Code(10051)]),
    ("Delete (one side)", &[(Stranger, Delete(Last))],            [Done,        NO,         NO,         NO,         NO_DELETE,  NO]),
    ("Delete (one side)", &[(Member, Clear), (Member, Read)],     [Is(0),       Is(0),      Is(0),      Is(0),      NO,         Is(0)]),
    ("Delete (one side)", &[(Member, Clear), (Owner, Read)],      [Is(1),       Is(1),      Is(1),      Is(1),      NO,         Is(1)]),
    ("Delete (one side)", &[(Member, Clear), (Elsewhere, Told(Cleared))], [YES,  YES,       YES,        YES,        NOT,        YES]),
    ("Delete (one side)", &[(Member, Clear)],                     [Done,        Done,       Done,       Done,       NO_DELETE,  Done]),
    ("Delete (one side)", &[(Owner, Change(Last)), (Member, Shows(Last))], [Says("changed"), Says("changed"), Says("changed"), Says("changed"), NO, Says("changed")]),
    ("Delete (one side)", &[(Member, Hears), (Owner, Change(Last)), (Member, Told(Edited))], [YES, YES,      YES,        YES,        NOT,        YES]),
    ("Delete (one side)", &[(Member, Change(Last))],              [Code(20022), NO,         NO,         NO,         NO_RECALL,  NO]),
    ("Delete (one side)", &[(Member, Say(Plain)), (Owner, Change(Last))], [Code(20022), NO, NO,         NO,         NO_RECALL,  NO]),
    ("Delete (one side)", &[(Owner, Recall(Last)), (Owner, Change(Last))], [Code(20023), Code(10032), Code(10032), Code(10032), NO_RECALL, Code(10032)]),
];

#[rustfmt::skip]
pub(super) static GROUPS: &[Row<5>] = &[
    // ---- 10: receive options ----                               Work        Public      Meeting     AVChat      Community
    ("AcceptAndNotify", &[(Member, Receive(Member, Notify)), (Owner, Say(Plain)), (Member, Hears)],  [YES, YES, YES,    YES,        YES]),
    ("AcceptAndNotify", &[(Member, Receive(Member, Quiet)), (Owner, Say(Plain)), (Member, Hears)],   [YES, YES, YES,    YES,        YES]),
    ("AcceptAndNotify", &[(Member, Receive(Member, Discard)), (Owner, Say(Plain)), (Member, Hears)], [NOT, NOT, NOT,    YES,        NOT]),
    ("AcceptAndNotify", &[(Member, Receive(Member, Discard)), (Owner, Say(Plain)), (Member, Read)],  [Is(2), Is(2), Is(2), NO,      Is(2)]),
    ("AcceptAndNotify", &[(Member, Receive(Member, Discard)), (Member, Receive(Member, Notify)), (Owner, Say(Plain)), (Member, Hears)], [YES, YES, YES, YES, YES]),
    ("AcceptAndNotify", &[(Member, Receive(Member, Quiet)), (Elsewhere, Notices(23))], [Is(1), Is(1), Is(1), Is(0),     Is(1)]),

    // ---- 11: mentions ----
    ("SDK and REST carry", &[(Owner, Say(Mentions(Member))), (Member, Mentioned)], [Says("me"), Says("me"), Says("me"), NO, Says("me")]),
    ("SDK and REST carry", &[(Owner, Say(Mentions(Absent))), (Member, Mentioned)], [Says("others"), Says("others"), Says("others"), NO, Says("others")]),
    ("SDK and REST carry", &[(Owner, Say(All)), (Member, Mentioned)], [Says("all"), Says("all"), Says("all"), NO,      Says("nobody")]),
    ("SDK and REST carry", &[(Owner, Say(MentionsMany(30)))],     [Done,       Done,       Done,       Done,       Done]),
    ("SDK and REST carry", &[(Owner, Say(MentionsMany(31)))],     [Code(10053), Code(10053), Code(10053), Code(10053), Code(10053)]),
    ("SDK and REST carry", &[(Owner, Say(All))],                  [Done,       Done,       Done,       Done,       NO]),

    // ---- 12: tips ----
    ("Two kinds: tips", &[(Owner, Edit(Name(Of("new")))), (Member, Tips(7))], [Is(1), Is(1),     Is(1),      NO,         Is(1)]),
    ("1 joined by themselves", &[(Owner, Edit(ApplyJoinOption(Free))), (Stranger, Join), (Owner, Tips(1))], [Is(0), Is(1), Is(0), NO, Is(1)]),
    ("1 joined by themselves", &[(Stranger, Join), (Owner, Answer(Stranger, true)), (Owner, Tips(1))], [Is(0), Is(1), Is(0), NO, Is(1)]),
    ("1 joined by themselves", &[(Stranger, Join), (Owner, Told(Came))], [NOT,        NOT,        NOT,        YES,        NOT]),
    ("2 invited/pulled in", &[(Owner, Edit(InviteJoinOption(Free))), (Member, Invite(Stranger)), (Owner, TipSays(2))],
                                                                  [Says("member: stranger, 5"), Says("member: stranger, 5"), Says("none"), NO, Says("member: stranger, 5")]),
    ("3 quit", &[(Member, Quit), (Owner, TipSays(3))],            [Says("member: member, 3"), Says("member: member, 3"), Says("none"), NO, Says("member: member, 3")]),
    ("3 quit", &[(Member, Quit), (Owner, Told(Went))],            [NOT,        NOT,        NOT,        YES,        NOT]),
    ("4 kicked", &[(Owner, Kick(Absent)), (Member, TipSays(4))],  [Says("owner: absent, 3"), Says("owner: absent, 3"), Says("none"), NO, Says("owner: absent, 3")]),
    ("5 admin set", &[(Owner, Role(Member, TheAdmin)), (Member, TipSays(5))], [Says("none"), Says("owner: member, 4"), Says("owner: member, 4"), NO, Says("owner: member, 4")]),
    ("6 admin removed", &[(Owner, Role(Member, TheAdmin)), (Owner, Role(Member, TheMember)), (Member, TipSays(6))],
                                                                  [Says("none"), Says("owner: member, 4"), Says("owner: member, 4"), NO, Says("owner: member, 4")]),
    ("7 profile changed", &[(Owner, Edit(Name(Of("new")))), (Member, TipSays(7))], [Says("owner: Name=new, 4"), Says("owner: Name=new, 4"), Says("owner: Name=new, 4"), NO, Says("owner: Name=new, 4")]),
    ("7 profile changed", &[(Owner, Edit(Name(Of("new")))), (Member, Told(Hint::Tip(7)))], [YES, YES, YES,   YES,        YES]),
    ("7 profile changed", &[(Owner, Edit(ShutUpAllMember(true))), (Member, TipSays(7))], [Says("none"), Says("owner: ShutUpAllMember=On, 4"), Says("owner: ShutUpAllMember=On, 4"), NO, Says("owner: ShutUpAllMember=On, 4")]),
    ("7 profile changed", &[(Owner, Transfer(Admin)), (Member, Tips(7))], [Is(1),   Is(1),      Is(1),      NO,         Is(1)]),
    ("7 profile changed", &[(Owner, Edit(Name(Of("group")))), (Member, Tips(7))], [Is(0), Is(0),  Is(0),      NO,         Is(0)]),
    ("8 member profile changed", &[(Owner, Mute(Member, 60)), (Member, TipSays(8))], [Says("none"), Says("owner: member muted 60, 4"), Says("owner: member muted 60, 4"), NO, Says("owner: member muted 60, 4")]),
    ("8 member profile changed", &[(Owner, Mute(Member, 60)), (Member, Told(Hint::Tip(8)))], [NOT, YES, YES, YES,        YES]),
    ("Common tip fields", &[(Owner, Kick(Absent)), (Member, TipSays(4))], [Says("owner: absent, 3"), Says("owner: absent, 3"), Says("none"), NO, Says("owner: absent, 3")]),

    // ---- 12: notices ----
    ("1 join application", &[(Stranger, Join), (Owner, NoticeSays(1))], [Says("none"), Says("stranger: please"), Says("none"), Says("none"), Says("none")]),
    ("1 join application", &[(Stranger, Join), (Admin, Notices(1))], [Nobody,     Is(1),      Is(0),      Nobody,     Is(0)]),
    ("1 join application", &[(Stranger, Join), (Member, Notices(1))], [Is(0),      Is(0),      Is(0),      Is(0),      Is(0)]),
    ("2 application accepted", &[(Stranger, Join), (Admin, Answer(Stranger, true)), (Stranger, NoticeSays(2))], [Says("none"), Says("admin: so be it"), Says("none"), Says("none"), Says("none")]),
    ("3 application refused", &[(Stranger, Join), (Owner, Answer(Stranger, false)), (Stranger, NoticeSays(3))], [Says("none"), Says("owner: so be it"), Says("none"), Says("none"), Says("none")]),
    ("4 kicked", &[(Owner, Kick(Member)), (Member, Notices(4))],  [Is(1),      Is(1),      Is(1),      Is(0),      Is(1)]),
    ("4 kicked", &[(Owner, Kick(Member)), (Owner, Notices(4))],   [Is(0),      Is(0),      Is(0),      Is(0),      Is(0)]),
    ("5 group dismissed", &[(Owner, Dismiss), (Member, Notices(5))], [Is(0),      Is(1),      Is(1),      Is(0),      Is(1)]),
    ("6 group created", &[(Owner, Notices(6))],                   [Is(1),      Is(1),      Is(1),      Is(1),      Is(1)]),
    ("7 pulled in without", &[(Owner, Edit(InviteJoinOption(Free))), (Member, Invite(Stranger)), (Stranger, NoticeSays(7))], [Says("member: come"), Says("member: come"), Says("member: come"), Says("none"), Says("member: come")]),
    ("8 quit", &[(Member, Quit), (Member, Notices(8))],           [Is(1),      Is(1),      Is(1),      Is(0),      Is(1)]),
    ("9 made admin", &[(Owner, Role(Member, TheAdmin)), (Member, Notices(9))], [Is(0), Is(1),    Is(1),      Is(0),      Is(1)]),
    ("10 admin taken away", &[(Owner, Role(Member, TheAdmin)), (Owner, Role(Member, TheMember)), (Member, Notices(10))], [Is(0), Is(1), Is(1), Is(0), Is(1)]),
    ("15 read-report sync", &[(Member, MarkRead(Last)), (Elsewhere, Told(ReadElsewhere))], [YES, YES, YES,      NOT,        YES]),
    ("later", &[(Owner, Ban(Member)), (Member, Notices(20))],     [Is(1),      Is(1),      Is(1),      Is(1),      Is(0)]),
    ("later", &[(Owner, Ban(Member)), (Owner, Unban(Member)), (Member, Notices(21))], [Is(1), Is(1), Is(1),  Is(1),      Is(0)]),
    ("later", &[(Owner, Mute(Member, 60)), (Member, Notices(22))], [Is(0),      Is(1),      Is(1),      Is(1),      Is(1)]),
    ("later", &[(Owner, Edit(InviteJoinOption(Approval))), (Member, Invite(Stranger)), (Owner, NoticeSays(24))], [Says("member: come"), Says("member: come"), Says("member: come"), Says("none"), Says("member: come")]),
    ("Public group application record", &[(Stranger, Join), (Owner, Record(Stranger))], [Says("none"), Says("please, open"), Says("none"), Says("none"), Says("none")]),
    ("Public group application record", &[(Stranger, Join), (Owner, Answer(Stranger, true)), (Admin, Record(Stranger))], [Nobody, Says("please, agreed by owner: so be it"), Says("none"), Nobody, Says("none")]),
    ("Public group application record", &[(Stranger, Join), (Owner, Answer(Stranger, false)), (Owner, Answer(Stranger, true))], [BAD, Code(10024), BAD, BAD, BAD]),
    ("Public group application record", &[(Stranger, Join), (Member, Record(Stranger))], [Says("none"), Says("none"), Says("none"), Says("none"), Says("none")]),
    ("Public group application record", &[(Stranger, Join), (Stranger, Record(Stranger))], [Says("none"), Says("please, open"), Says("none"), Says("none"), Says("none")]),

    // ---- 14: live rooms ----
    ("Web/mini-program may receive", &[(Elsewhere, Join), (Member, Quit), (Elsewhere, Say(Plain))], [NO, NO, NO, NO,      NO]),
    ("Web/mini-program may receive", &[(Elsewhere, Join), (Owner, Say(Plain)), (Elsewhere, Hears)], [YES, YES, YES, YES,   YES]),
    ("Web/mini-program may receive", &[(Stranger, Join), (Owner, Say(Plain)), (Stranger, Hears)], [NOT, NOT,   YES,        YES,        YES]),
    ("Web/mini-program may receive", &[(Owner, Attribute("k", Of("v"))), (Member, Told(NewAttributes))], [NOT, NOT, NOT, YES,       NOT]),
    ("Web/mini-program may receive", &[(Owner, Count(Of("k"), 1)), (Member, Told(Counters))], [YES, YES, YES, YES,      NOT]),
    ("Web/mini-program may receive", &[(Owner, Dismiss), (Owner, Say(Plain))], [Done,  GONE,       GONE,       GONE,       GONE]),
];

/// What is tried in tests of their own, or cannot be reached by clients.
pub(super) static ELSEWHERE: &[(u32, &str, &str)] = &[
    (3, "Before-send callback refusal", "callbacks are not there yet"),
    (3, "Permission switches", "people.rs: each is a setting of the server"),
    (5, "One-to-one: message to an offline", "a test of its own in messages.rs"),
    (5, "system messages", "groups/limits.rs"),
    (6, "Push badge", "no push of the system's is sent"),
    (8, "Admin REST recall", "administrators only, over REST"),
    (
        12,
        "9+ newer",
        "9, of topics: groups/topics.rs; pinned messages are not offered; the mute of all is tip 7",
    ),
    (12, "11 group reclaimed", "groups are not reclaimed"),
    (12, "12 invited, consent needed", "a custom type: groups/limits.rs"),
    (12, "13 invitation accepted", "the same"),
    (12, "14 invitation refused", "the same"),
    (12, "16 app-defined notice", "administrators only, over REST"),
];
