//! Limits of requests, of Apps and of users, windows of time, and types that an operator adds.

use nearport_client::groups::GroupJoinOption::GroupJoinFree as Free;

use super::act::Act::*;
use super::act::Msg::Receipt;
use super::act::Set::{InviteJoinOption, Name, Same, WithNobody};
use super::act::Which::Last;
use super::act::{Admin, Member, Owner, Steps, Stranger};
use super::{Cell, Row};
use crate::contract::Cell::{Code, Done, Is, Nobody, Says, Waits};
use crate::contract::Text::{Bytes, Of};
use crate::contract::{BAD, GONE, NO};

const KEY: &str = "12345678901234567890123456789012";
const LONG_KEY: &str = "123456789012345678901234567890123";
const MANY: Cell = Code(10005);
const PAGE: Cell = Code(10054);
const TAKEN: Cell = Code(10021);

#[rustfmt::skip]
pub(super) static ROWS: &[Row<5>] = &[
    //                                                            Work        Public      Meeting     AVChat      Community
    ("an empty call", &[(Owner, Empty)],                          [Code(10003), Code(10003), Code(10003), Code(10003), Code(10003)]),
    ("an unknown kind", &[(Owner, Unknown)],                      [Code(60009), Code(60009), Code(60009), Code(60009), Code(60009)]),
    ("no element", &[(Owner, NoElement)],                         [Code(90002), Code(90002), Code(90002), Code(90002), Code(90002)]),
    ("bytes that are no text", &[(Owner, NoText)],                [Code(20001), Code(20001), Code(20001), Code(20001), Code(20001)]),
    ("a name that is no text", &[(Owner, NoTextName)],            [Code(20001), Code(20001), Code(20001), Code(20001), Code(20001)]),
    ("an id that is taken", &[(Owner, Make(Same))],               [BadId, BadId, BadId, BadId, Code(10025)]),
    ("an id that is taken", &[(Member, Make(Same))],              [BadId, BadId, BadId, BadId, TAKEN]),
    ("a member who does not exist", &[(Owner, Make(WithNobody))], [Code(10019), Code(10019), Code(10019), NO,     Code(10019)]),
    ("members of a new group", &[(Owner, MakeWithMany(101))],     [MANY,      MANY,       MANY,       NO,         MANY]),
    ("invitees", &[(Owner, Edit(InviteJoinOption(Free))), (Owner, InviteMany(300))], [Says("failed"), Says("failed"), Says("failed"), NO, Says("failed")]),
    ("invitees", &[(Owner, Edit(InviteJoinOption(Free))), (Owner, InviteMany(301))], [MANY, MANY, MANY,   NO,         MANY]),
    ("removed at once", &[(Owner, KickMany(500))],                [Done,      Done,       Done,       BAD,        Done]),
    ("removed at once", &[(Owner, KickMany(501))],                [MANY,      MANY,       MANY,       MANY,       MANY]),
    ("banned at once", &[(Owner, BanMany(21))],                   [MANY,      MANY,       MANY,       MANY,       MANY]),
    ("roles at once", &[(Owner, RolesOfMany(501))],               [MANY,      MANY,       MANY,       NO,         MANY]),
    ("groups at once", &[(Owner, InfosOfMany(50))],               [Is(50),    Is(50),     Is(50),     Is(50),     Is(50)]),
    ("groups at once", &[(Owner, InfosOfMany(51))],               [PAGE,      PAGE,       PAGE,       PAGE,       PAGE]),
    ("a page of members", &[(Owner, MembersPage(200))],           [Is(4),     Is(4),      Is(4),      Is(2),      Is(4)]),
    ("a page of members", &[(Owner, MembersPage(201))],           [PAGE,      PAGE,       PAGE,       Is(2),      PAGE]),
    ("a page of members", &[(Owner, MembersPage(2))],             [Is(4),     Is(4),      Is(4),      Is(2),      Is(4)]),

    ("attributes", &[(Owner, Attribute(KEY, Bytes(4000)))],       [NO,        NO,         NO,         Done,       NO]),
    ("attributes", &[(Owner, Attribute(LONG_KEY, Of("v")))],      [NO,        NO,         NO,         Code(10045), NO]),
    ("attributes", &[(Owner, Attribute("", Of("v")))],            [NO,        NO,         NO,         Code(10045), NO]),
    ("attributes", &[(Owner, Attribute("k", Bytes(4001)))],       [NO,        NO,         NO,         Code(10046), NO]),
    ("attributes", &[(Owner, AttributesMany(16, Of("v")))],       [NO,        NO,         NO,         Done,       NO]),
    ("attributes", &[(Owner, AttributesMany(17, Of("v")))],       [NO,        NO,         NO,         Code(10047), NO]),
    ("attributes", &[(Owner, AttributesMany(3, Bytes(4000)))],    [NO,        NO,         NO,         Done,       NO]),
    ("attributes", &[(Owner, AttributesTwice(4, Bytes(2001)))],   [NO,        NO,         NO,         Code(10048), NO]),
    ("attributes", &[(Owner, AttributeTimes(12))],                [NO,        NO,         NO,         Code(10049), NO]),
    ("attributes", &[(Owner, DropAttribute("k"))],                [NO,        NO,         NO,         Code(10050), NO]),
    ("attributes", &[(Owner, Attribute("k", Of("v"))), (Owner, AttributeAt(0))], [NO, NO, NO,          Code(10056), NO]),
    ("attributes", &[(Owner, Attribute("k", Of("v"))), (Owner, AttributeAt(1))], [NO, NO, NO,          Done,       NO]),
    ("counters", &[(Owner, Count(Bytes(128), 1))],                [Done,      Done,       Done,       Done,       NO]),
    ("counters", &[(Owner, Count(Bytes(129), 1))],                [BAD,       BAD,        BAD,        BAD,        NO]),
    ("counters", &[(Owner, CountersMany(20))],                    [Done,      Done,       Done,       Done,       NO]),
    ("counters", &[(Owner, CountersMany(21))],                    [Code(10063), Code(10063), Code(10063), Code(10063), NO]),
    ("counters", &[(Owner, Count(Of("k"), i64::MAX)), (Owner, Count(Of("k"), 1)), (Owner, Counter("k"))],
                                                                  [Says("9223372036854775807"), Says("9223372036854775807"), Says("9223372036854775807"), Says("9223372036854775807"), NO]),

    ("a dismissed group", &[(Owner, Dismiss), (Owner, Edit(Name(Of("x"))))], [Done, GONE, GONE,   GONE,       GONE]),
    ("a dismissed group", &[(Owner, Dismiss), (Member, Read)],    [Is(1),     GONE,       GONE,       GONE,       GONE]),
    ("a dismissed group", &[(Owner, Dismiss), (Member, MarkRead(Last))], [Done, GONE,     GONE,       GONE,       GONE]),
    ("a dismissed group", &[(Owner, Dismiss), (Stranger, Join)],  [NO,        GONE,       GONE,       GONE,       GONE]),
    ("a cursor from the future", &[(Member, ShownFuture)],        [Done,      Done,       Done,       Done,       Done]),
    ("holes in numbers", &[(Member, Holes)],                      [Is(0),     Is(0),      Is(0),      NO,         Is(0)]),
];

#[expect(non_upper_case_globals, reason = "reads as the other cells do")]
const BadId: Cell = Code(10015);

/// What is tried, the settings of the server, in which kind of conversation, and what comes of it. Rows with the same settings
/// stand together: they share a server.
pub(super) type Setting = (&'static str, &'static [&'static str], &'static str, Steps, Cell);

const SMALL: &[&str] = &[r#"chat.groups.types=[
        { name = "Small", base = "Public", receipts_members_max = 3 },
        { name = "Polite", base = "Public", invite_consent = true, invite_default = "free" },
    ]"#];
const WINDOW: &[&str] = &["chat.recall_window=1s", "chat.edit_window=1s"];
const NO_WINDOW: &[&str] = &["chat.recall_window=0s"];

#[rustfmt::skip]
pub(super) static SETTINGS: &[Setting] = &[
    ("groups of a user",       &["chat.groups.joined_max=1"],       "Public",     &[(Owner, Make(Name(Of("x"))))], Code(10037)),
    ("groups of an App",       &["chat.groups.groups_max=1"],       "Public",     &[(Owner, Make(Name(Of("x"))))], Code(10058)),
    ("new groups in a day",    &["chat.groups.created_per_day=1"],  "Public",     &[(Owner, Make(Name(Of("x"))))], Code(10006)),
    ("live rooms of an App",   &["chat.groups.rooms_max=1"],        "AVChatRoom", &[(Owner, Make(Name(Of("x"))))], Code(10036)),
    ("communities of an App",  &["chat.groups.communities_max=1"],  "Community",  &[(Owner, Make(Name(Of("x"))))], Code(10036)),
    ("applications of a group", &["chat.groups.applications_max=1"], "Public",    &[(Stranger, Join), (Member, Quit), (Member, Join)], Code(10006)),
    ("recall off",             NO_WINDOW, "Public",    &[(Owner, Recall(Last))], Code(10041)),
    ("recall off",             NO_WINDOW, "C2C",       &[(Owner, Recall(Last))], Code(20016)),
    ("recall too late",        WINDOW,    "Work",      &[(Owner, Pass(1000)), (Owner, Recall(Last))], Code(10031)),
    ("recall too late",        WINDOW,    "Public",    &[(Owner, Pass(1000)), (Admin, Recall(Last))], NO),
    ("recall too late",        WINDOW,    "Public",    &[(Owner, Pass(1000)), (Owner, Recall(Last))], Code(10031)),
    ("recall too late",        WINDOW,    "Meeting",   &[(Owner, Pass(1000)), (Owner, Recall(Last))], Code(10031)),
    ("recall too late",        WINDOW,    "Community", &[(Owner, Pass(1000)), (Owner, Recall(Last))], Code(10031)),
    ("recall too late",        WINDOW,    "C2C",       &[(Owner, Pass(1000)), (Owner, Recall(Last))], Code(20016)),
    ("edit too late",          WINDOW,    "Public",    &[(Owner, Pass(1000)), (Owner, Change(Last))], Code(10031)),
    ("edit too late",          WINDOW,    "C2C",       &[(Owner, Pass(1000)), (Owner, Change(Last))], Code(20016)),
    ("receipts of a large group", SMALL,  "Small",     &[(Owner, Say(Receipt)), (Owner, Readers)], Code(10062)),
    ("receipts of a large group", SMALL,  "Small",     &[(Owner, Say(Receipt)), (Member, Confirm(Last))], Says("nothing")),
    ("12 invited",             SMALL,     "Polite",    &[(Member, Invite(Stranger))], Waits),
    ("12 invited",             SMALL,     "Polite",    &[(Member, Invite(Stranger)), (Stranger, NoticeSays(12))], Says("member: come")),
    ("12 invited",             SMALL,     "Polite",    &[(Member, Invite(Stranger)), (Owner, Answer(Stranger, true))], NO),
    ("13 invitation accepted", SMALL,     "Polite",    &[(Member, Invite(Stranger)), (Stranger, Answer(Stranger, true)), (Member, NoticeSays(13))], Says("stranger: so be it")),
    ("13 invitation accepted", SMALL,     "Polite",    &[(Member, Invite(Stranger)), (Stranger, Answer(Stranger, true)), (Owner, RoleOf(Stranger))], Says("Member")),
    ("14 invitation refused",  SMALL,     "Polite",    &[(Member, Invite(Stranger)), (Stranger, Answer(Stranger, false)), (Member, NoticeSays(14))], Says("stranger: so be it")),
    ("14 invitation refused",  SMALL,     "Polite",    &[(Member, Invite(Stranger)), (Stranger, Answer(Stranger, false)), (Owner, RoleOf(Stranger))], Says("NotMember")),
    ("system messages",        SMALL,     "Public",    &[(Owner, MuteTimes(Member, 110)), (Member, NoticesAll)], Is(100)),
    ("nobody to try",          SMALL,     "Work",      &[(Admin, Edit(Name(Of("x"))))], Nobody),
];
