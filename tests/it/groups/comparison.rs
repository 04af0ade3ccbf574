//! Section 2 of the contract's page on groups: what each type can do.

use nearport_client::groups::GroupJoinOption::{
    GroupJoinApproval as Approval, GroupJoinClosed as Closed, GroupJoinFree as Free,
};
use nearport_client::groups::GroupRole::{Admin as TheAdmin, Member as TheMember, Owner as TheOwner};

use super::Row;
use super::act::Act::*;
use super::act::Get::{self, MemberNum};
use super::act::Hint::{Came, Went};
use super::act::Msg::{All, NoUnread, OnlineOnly, Plain, Receipt, Unlisted};
use super::act::Of::{self, MsgFlag};
use super::act::Set::*;
use super::act::Which::{Future, Last, Tip};
use super::act::{Absent, Admin, Elsewhere, Member, Owner, Stranger};
use crate::contract::Cell::{Code, Done, Is, Nobody, Says, Waits};
use crate::contract::{BAD, GONE, NO, Text};

const STAYS: super::Cell = Code(10009);
const MUTED: super::Cell = Code(10017);
const NO_RECALL: super::Cell = Code(10033);
const NEW: super::act::Set = Name(Text::Of("new"));
const VALUE: Text = Text::Of("v");

#[rustfmt::skip]
pub(super) static ROWS: &[Row<5>] = &[
    //                                                                    Work     Public   Meeting  AVChat   Community
    ("Roles available", &[(Member, RoleOf(Owner))],                       [Says("Owner"), Says("Owner"), Says("Owner"), NO, Says("Owner")]),
    ("Roles available", &[(Member, RoleOf(Admin))],                       [Says("Member"), Says("Admin"), Says("Admin"), NO, Says("Admin")]),
    ("Roles available", &[(Owner, RoleOf(Stranger))],                     [Says("NotMember"), Says("NotMember"), Says("NotMember"), NO, Says("NotMember")]),
    ("Roles available", &[(Owner, Make(With(Admin, true)))],              [NO,      Done,    Done,    NO,      Done]),

    ("Who edits base profile", &[(Owner, Edit(NEW))],                     [Done,    Done,    Done,    Done,    Done]),
    ("Who edits base profile", &[(Admin, Edit(NEW))],                     [Nobody,  Done,    Done,    Nobody,  Done]),
    ("Who edits base profile", &[(Member, Edit(NEW))],                    [Done,    NO,      NO,      NO,      NO]),
    ("Who edits base profile", &[(Stranger, Edit(NEW))],                  [NO,      NO,      NO,      NO,      NO]),
    ("A Work member may change", &[(Member, Edit(Introduction(VALUE)))],  [Done,    NO,      NO,      NO,      NO]),
    ("A Work member may change", &[(Member, Edit(Notification(VALUE)))],  [Done,    NO,      NO,      NO,      NO]),
    ("A Work member may change", &[(Member, Edit(FaceUrl(VALUE)))],       [Done,    NO,      NO,      NO,      NO]),
    ("A Work member may change", &[(Member, Edit(MaxMemberNum(9)))],      [NO,      NO,      NO,      NO,      NO]),
    ("A Work member may change", &[(Member, Edit(InviteJoinOption(Closed)))], [NO,  NO,      NO,      NO,      NO]),

    ("Fetch member list", &[(Owner, Members)],                            [Is(4),   Is(4),   Is(4),   Is(2),   Is(4)]),
    ("Fetch member list", &[(Member, Members)],                           [Is(4),   Is(4),   Is(4),   Is(2),   Is(4)]),
    ("Fetch member list", &[(Stranger, Members)],                         [NO,      NO,      NO,      Is(2),   NO]),

    ("Who may destroy", &[(Owner, Dismiss)],                              [NO,      Done,    Done,    Done,    Done]),
    ("Who may destroy", &[(Admin, Dismiss)],                              [Nobody,  NO,      NO,      Nobody,  NO]),
    ("Who may destroy", &[(Member, Dismiss)],                             [NO,      NO,      NO,      NO,      NO]),
    ("Who may destroy", &[(Owner, Dismiss), (Member, Find)],              [Done,    GONE,    GONE,    GONE,    GONE]),
    ("Who may destroy", &[(Owner, Dismiss), (Owner, Dismiss)],            [NO,      GONE,    GONE,    GONE,    GONE]),

    ("Find by exact ID", &[(Stranger, Find)],                             [NO,      Done,    Done,    Done,    Done]),
    ("Find by exact ID", &[(Member, Find)],                               [Done,    Done,    Done,    Done,    Done]),
    ("Fuzzy search by name", &[(Stranger, FindByName)],                   [GONE,    GONE,    GONE,    GONE,    GONE]),
    ("Fuzzy search by name", &[(Member, FindByName)],                     [GONE,    GONE,    GONE,    GONE,    GONE]),

    ("Apply to join", &[(Stranger, Join)],                                [NO,      Waits,   Done,    Done,    Done]),
    ("Apply to join", &[(Stranger, Join), (Stranger, Join)],              [NO,      Waits,   Code(10013), Done, Code(10013)]),
    ("Apply to join", &[(Stranger, Join), (Owner, Applications)],         [Is(0),   Is(1),   Is(0),   Is(0),   Is(0)]),
    ("Apply to join", &[(Stranger, Join), (Owner, Answer(Stranger, true))],  [BAD,  Done,    BAD,     BAD,     BAD]),
    ("Apply to join", &[(Stranger, Join), (Admin, Answer(Stranger, true))],  [Nobody, Done,  BAD,     Nobody,  BAD]),
    ("Apply to join", &[(Stranger, Join), (Member, Answer(Stranger, true))], [NO,   NO,      NO,      NO,      NO]),
    ("Apply to join", &[(Stranger, Join), (Owner, Answer(Stranger, true)), (Owner, RoleOf(Stranger))],
                                                                          [Says("NotMember"), Says("Member"), Says("Member"), NO, Says("Member")]),
    ("Apply to join", &[(Stranger, Join), (Owner, Answer(Stranger, false)), (Owner, RoleOf(Stranger))],
                                                                          [Says("NotMember"), Says("NotMember"), Says("Member"), NO, Says("Member")]),
    ("Apply to join", &[(Stranger, Join), (Owner, Answer(Stranger, true)), (Admin, Answer(Stranger, true))],
                                                                          [Nobody,  Code(10024), BAD, Nobody,  BAD]),

    ("Member may invite others", &[(Member, Invite(Stranger))],           [Done,    NO,      NO,      NO,      Done]),
    ("Member may invite others", &[(Owner, Invite(Stranger))],            [Done,    NO,      NO,      NO,      Done]),
    ("Member may invite others", &[(Stranger, Invite(Stranger))],         [NO,      NO,      NO,      NO,      NO]),
    ("Member may invite others", &[(Member, Invite(Stranger)), (Stranger, Read)], [Is(0), NO, NO,     NO,      Is(1)]),
    ("Member may invite others", &[(Owner, Edit(InviteJoinOption(Free))), (Member, Invite(Stranger))],
                                                                          [Done,    Done,    Done,    NO,      Done]),
    ("Member may invite others", &[(Owner, Edit(InviteJoinOption(Approval))), (Member, Invite(Stranger))],
                                                                          [Waits,   Waits,   Waits,   NO,      Waits]),
    ("Member may invite others", &[(Owner, Edit(InviteJoinOption(Approval))), (Member, Invite(Stranger)), (Owner, Answer(Stranger, true)), (Stranger, Find)],
                                                                          [Done,    Done,    Done,    Done,    Done]),
    ("Member may invite others", &[(Owner, Edit(InviteJoinOption(Closed))), (Member, Invite(Stranger))],
                                                                          [NO,      NO,      NO,      NO,      NO]),
    ("Member may invite others", &[(Owner, Edit(InviteJoinOption(Free))), (Owner, Invite(Member))],
                                                                          [Says("known"), Says("known"), Says("known"), NO, Says("known")]),

    ("Set admins", &[(Owner, Role(Member, TheAdmin))],                    [NO,      Done,    Done,    NO,      Done]),
    ("Set admins", &[(Admin, Role(Member, TheAdmin))],                    [Nobody,  NO,      NO,      Nobody,  NO]),
    ("Set admins", &[(Member, Role(Member, TheAdmin))],                   [NO,      NO,      NO,      NO,      NO]),
    ("Set admins", &[(Owner, Role(Admin, TheMember))],                    [NO,      Done,    Done,    NO,      Done]),
    ("Set admins", &[(Owner, Role(Stranger, TheAdmin))],                  [BAD,     BAD,     BAD,     NO,      BAD]),
    ("Set admins", &[(Owner, Role(Member, TheOwner))],                    [BAD,     BAD,     BAD,     NO,      BAD]),
    ("Set admins", &[(Owner, Role(Member, TheAdmin)), (Member, Edit(NEW))], [Done,  Done,    Done,    NO,      Done]),

    ("Owner may quit", &[(Owner, Quit)],                                  [Done,    STAYS,   STAYS,   STAYS,   STAYS]),
    ("Owner may quit", &[(Owner, Quit), (Member, Look(Get::Owner))],      [Says(""), Says("owner"), Says("owner"), Says("owner"), Says("owner")]),
    ("Owner may quit", &[(Member, Quit)],                                 [Done,    Done,    Done,    Done,    Done]),
    ("Owner may quit", &[(Admin, Quit)],                                  [Nobody,  Done,    Done,    Nobody,  Done]),
    ("Owner may quit", &[(Stranger, Quit)],                               [NO,      NO,      NO,      NO,      NO]),
    ("Owner may quit", &[(Owner, Quit), (Member, Say(Plain))],            [Done,    Done,    Done,    Done,    Done]),

    ("Kick", &[(Owner, Kick(Member))],                                    [Done,    Done,    Done,    BAD,     Done]),
    ("Kick", &[(Owner, Kick(Admin))],                                     [Done,    Done,    Done,    BAD,     Done]),
    ("Kick", &[(Admin, Kick(Member))],                                    [Nobody,  Done,    Done,    Nobody,  Done]),
    ("Kick", &[(Owner, Role(Member, TheAdmin)), (Admin, Kick(Member))],   [Nobody,  NO,      NO,      Nobody,  NO]),
    ("Kick", &[(Admin, Kick(Owner))],                                     [Nobody,  NO,      NO,      Nobody,  NO]),
    ("Kick", &[(Member, Kick(Absent))],                                   [NO,      NO,      NO,      BAD,     NO]),
    ("Kick", &[(Owner, Kick(Owner))],                                     [NO,      NO,      NO,      BAD,     NO]),
    ("Kick", &[(Owner, Kick(Member)), (Member, Say(Plain))],              [NO,      NO,      NO,      Done,    NO]),

    ("Mute a member", &[(Owner, Mute(Member, 60))],                       [NO,      Done,    Done,    Done,    Done]),
    ("Mute a member", &[(Admin, Mute(Member, 60))],                       [Nobody,  Done,    Done,    Nobody,  Done]),
    ("Mute a member", &[(Owner, Mute(Admin, 60))],                        [NO,      Done,    Done,    Done,    Done]),
    ("Mute a member", &[(Owner, Role(Member, TheAdmin)), (Admin, Mute(Member, 60))], [Nobody, NO, NO,  Nobody,  NO]),
    ("Mute a member", &[(Admin, Mute(Owner, 60))],                        [Nobody,  NO,      NO,      Nobody,  NO]),
    ("Mute a member", &[(Member, Mute(Absent, 60))],                      [NO,      NO,      NO,      NO,      NO]),
    ("Mute a member", &[(Owner, Mute(Member, 60)), (Member, Say(Plain))], [Done,    MUTED,   MUTED,   MUTED,   MUTED]),
    ("Mute a member", &[(Owner, Mute(Member, 60)), (Owner, Mute(Member, 0)), (Member, Say(Plain))], [Done, Done, Done, Done, Done]),
    ("Mute a member", &[(Owner, Mute(Member, 60)), (Owner, Muted)],       [NO,      Is(1),   Is(1),   Is(1),   Is(1)]),

    ("Periodic removal of offline members", &[(Owner, Members)],          [Is(4),   Is(4),   Is(4),   Is(2),   Is(4)]),

    ("Unread count", &[(Member, Unread)],                                 [Is(1),   Is(2),   Is(0),   Nobody,  Is(2)]),
    ("Unread count", &[(Owner, Say(Plain)), (Owner, Say(Plain)), (Member, MarkRead(Last)), (Owner, Say(Plain)), (Member, Unread)],
                                                                          [Is(1),   Is(1),   Is(0),   Nobody,  Is(1)]),

    ("History before joining", &[(Owner, Edit(ApplyJoinOption(Free))), (Owner, Invite(Stranger)), (Stranger, Join), (Stranger, Read)],
                                                                          [Is(0),   Is(0),   Is(1),   NO,      Is(1)]),
    ("History before joining", &[(Owner, Edit(ApplyJoinOption(Free))), (Owner, Invite(Stranger)), (Stranger, Join), (Owner, Say(Plain)), (Stranger, Read)],
                                                                          [Is(1),   Is(1),   Is(2),   NO,      Is(2)]),
    ("Cloud history / roaming", &[(Member, Read)],                        [Is(1),   Is(1),   Is(1),   NO,      Is(1)]),
    ("Cloud history / roaming", &[(Stranger, Read)],                      [NO,      NO,      NO,      NO,      NO]),

    ("Member-change notice", &[(Member, Quit), (Owner, Tips(3))],         [Is(1),   Is(1),   Is(0),   NO,      Is(1)]),
    ("Member-change notice", &[(Owner, Kick(Member)), (Owner, Tips(4))],  [Is(1),   Is(1),   Is(0),   NO,      Is(1)]),
    ("Member-change notice", &[(Stranger, Join), (Owner, Tips(1))],       [Is(0),   Is(0),   Is(0),   NO,      Is(1)]),
    ("Member-change notice", &[(Stranger, Join), (Owner, Told(Came))],    [Says("no"), Says("no"), Says("no"), Says("yes"), Says("no")]),
    ("Member-change notice", &[(Member, Quit), (Owner, Told(Went))],      [Says("no"), Says("no"), Says("no"), Says("yes"), Says("no")]),

    ("Hidden until owner's first", &[(Owner, Fresh), (Member, Find)],     [GONE,    Done,    Done,    Done,    Done]),
    ("Hidden until owner's first", &[(Owner, Fresh), (Member, Say(Plain))], [GONE,  Done,    Done,    Done,    Done]),
    ("Hidden until owner's first", &[(Owner, Fresh), (Member, Unread)],   [Nobody,  Is(1),   Is(0),   Nobody,  Is(1)]),
    ("Hidden until owner's first", &[(Owner, Fresh), (Owner, Find)],      [Done,    Done,    Done,    Done,    Done]),
    ("Hidden until owner's first", &[(Owner, Fresh), (Owner, Say(Plain)), (Member, Find)], [Done, Done, Done, Done, Done]),
    ("Hidden until owner's first", &[(Owner, Fresh), (Owner, Say(OnlineOnly)), (Member, Find)], [GONE, Done, Done, Done, Done]),

    ("Default message reception", &[(Owner, LookAt(Member, MsgFlag))],
        [Says("AcceptAndNotify"), Says("AcceptAndNotify"), Says("AcceptAndNotify"), Says("none"), Says("AcceptAndNotify")]),
    ("Default message reception", &[(Owner, Say(Plain)), (Member, Hears)], [Says("yes"), Says("yes"), Says("yes"), Says("yes"), Says("yes")]),
    ("Default message reception", &[(Owner, Say(Plain)), (Elsewhere, Hears)], [Says("yes"), Says("yes"), Says("yes"), Says("no"), Says("yes")]),
    ("Default message reception", &[(Owner, Say(Plain)), (Stranger, Hears)], [Says("no"), Says("no"), Says("no"), Says("no"), Says("no")]),

    ("Message recall", &[(Member, Say(Plain)), (Member, Recall(Last))],   [Done,    Done,    Done,    NO_RECALL, Done]),
    ("Message recall", &[(Member, Say(Plain)), (Owner, Recall(Last))],    [Done,    Done,    Done,    NO_RECALL, Done]),
    ("Message recall", &[(Member, Say(Plain)), (Admin, Recall(Last))],    [Nobody,  Done,    Done,    Nobody,  Done]),
    ("Message recall", &[(Owner, Say(Plain)), (Admin, Recall(Last))],     [Nobody,  NO,      NO,      Nobody,  NO]),
    ("Message recall", &[(Owner, Say(Plain)), (Member, Recall(Last))],    [NO,      NO,      NO,      NO_RECALL, NO]),
    ("Message recall", &[(Stranger, Recall(Last))],                       [NO,      NO,      NO,      NO_RECALL, NO]),
    ("Message recall", &[(Owner, Recall(Future))],                        [Code(10030), Code(10030), Code(10030), NO_RECALL, Code(10030)]),
    ("Message recall", &[(Owner, Edit(NEW)), (Owner, Recall(Tip))],       [Code(10032), Code(10032), Code(10032), NO_RECALL, Code(10032)]),

    ("Custom group attributes", &[(Member, Attribute("k", VALUE))],       [NO,      NO,      NO,      Done,    NO]),
    ("Custom group attributes", &[(Stranger, Attribute("k", VALUE))],     [NO,      NO,      NO,      NO,      NO]),
    ("Custom group attributes", &[(Owner, Attribute("k", VALUE)), (Member, Attributes)], [NO, NO, NO,  Is(1),   NO]),

    ("Group counters", &[(Member, Count(Text::Of("k"), 1))],              [Done,    Done,    Done,    Done,    NO]),
    ("Group counters", &[(Stranger, Count(Text::Of("k"), 1))],            [NO,      NO,      NO,      NO,      NO]),
    ("Group counters", &[(Owner, Count(Text::Of("k"), 5)), (Member, Count(Text::Of("k"), -7)), (Owner, Counter("k"))],
                                                                          [Says("-2"), Says("-2"), Says("-2"), Says("-2"), NO]),

    ("Group read receipts", &[(Owner, Say(Receipt))],                     [Done,    Done,    Done,    NO,      NO]),
    ("Group read receipts", &[(Owner, Say(Receipt)), (Member, Confirm(Last))], [Done, Done,  Done,    NO,      NO]),
    ("Group read receipts", &[(Owner, Say(Receipt)), (Member, Confirm(Last)), (Owner, Readers)],
                                                                          [Says("1 of 3"), Says("1 of 3"), Says("1 of 3"), NO, Code(10062)]),
    ("Group read receipts", &[(Owner, Say(Receipt)), (Member, Readers)],  [Code(10062), Code(10062), Code(10062), NO, Code(10062)]),

    ("Ban (kick + block rejoin)", &[(Owner, Ban(Member))],                [Done,    Done,    Done,    Done,    NO]),
    ("Ban (kick + block rejoin)", &[(Admin, Ban(Member))],                [Nobody,  Done,    Done,    Nobody,  NO]),
    ("Ban (kick + block rejoin)", &[(Admin, Ban(Owner))],                 [Nobody,  NO,      NO,      Nobody,  NO]),
    ("Ban (kick + block rejoin)", &[(Member, Ban(Absent))],               [NO,      NO,      NO,      NO,      NO]),
    ("Ban (kick + block rejoin)", &[(Owner, Ban(Member)), (Member, Say(Plain))], [NO, NO,    NO,      NO,      Done]),
    ("Ban (kick + block rejoin)", &[(Owner, Ban(Stranger)), (Stranger, Join)], [NO, NO,      NO,      NO,      Done]),
    ("Ban (kick + block rejoin)", &[(Owner, Ban(Stranger)), (Owner, Unban(Stranger)), (Stranger, Join)], [NO, Waits, Done, Done, Done]),
    ("Ban (kick + block rejoin)", &[(Owner, Ban(Stranger)), (Owner, Edit(InviteJoinOption(Free))), (Owner, Invite(Stranger))],
                                                                          [Says("failed"), Says("failed"), Says("failed"), NO, Done]),
    ("Ban (kick + block rejoin)", &[(Owner, Ban(Stranger)), (Owner, Banned)], [Is(1), Is(1), Is(1),   Is(1),   NO]),

    ("@all", &[(Member, Say(All))],                                       [Done,    Done,    Done,    Done,    NO]),

    ("SendMsgControl, OnlineOnlyFlag", &[(Member, Say(NoUnread))],        [Done,    Done,    Done,    NO,      Done]),
    ("SendMsgControl, OnlineOnlyFlag", &[(Member, Say(Unlisted))],       [Done,    Done,    Done,    NO,      Done]),
    ("SendMsgControl, OnlineOnlyFlag", &[(Member, Say(OnlineOnly))],      [Done,    Done,    Done,    NO,      Done]),

    ("Transfer owner", &[(Owner, Transfer(Member))],                      [Done,    Done,    Done,    NO,      Done]),
    ("Transfer owner", &[(Admin, Transfer(Admin))],                       [Nobody,  NO,      NO,      Nobody,  NO]),
    ("Transfer owner", &[(Member, Transfer(Member))],                     [NO,      NO,      NO,      NO,      NO]),
    ("Transfer owner", &[(Owner, Transfer(Stranger))],                    [BAD,     BAD,     BAD,     NO,      BAD]),
    ("Transfer owner", &[(Owner, Transfer(Member)), (Owner, RoleOf(Member))],
                                                                          [Says("Owner"), Says("Owner"), Says("Owner"), NO, Says("Owner")]),
    ("Transfer owner", &[(Owner, Transfer(Member)), (Owner, Quit)],       [Done,    Done,    Done,    STAYS,   Done]),
    ("Transfer owner", &[(Owner, Quit), (Member, Look(MemberNum))],       [Is(3),   Is(4),   Is(4),   Is(2),   Is(4)]),
    ("Transfer owner", &[(Owner, Transfer(Member)), (Owner, LookAt(Owner, Of::Role))],
                                                                          [Says("Member"), Says("Member"), Says("Member"), Says("Owner"), Says("Member")]),
];

/// What clients cannot reach, and where it is tried.
pub(super) static ELSEWHERE: &[(&str, &str)] = &[
    ("Guest (not logged in)", "a setting, and transports of browsers: sdk.rs"),
    ("Import group/members/messages", "administrators only, over REST"),
    ("App admin: a special account", "administrators only, over REST"),
];
