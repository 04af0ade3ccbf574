//! Sections 2, 9 and 13 of the contract's page on what clients see, and the codes of profiles, relations and conversations.

use nearport_client::Platform::{Android, Ipad, Iphone, Mac, Web, Windows};
use nearport_client::people::FriendApplicationAnswerType::{
    FriendApplicationAnswerAccept as Accept, FriendApplicationAnswerAcceptAndAdd as AcceptAndAdd,
    FriendApplicationAnswerReject as Reject,
};

use super::act::Act::*;
use super::act::Conv::{Group, Many, With};
use super::act::Held::{Nothing, Number, Words};
use super::act::{Ann, AnnToo, Ben, Cat, Nobody, Row, Zero};
use crate::contract::Cell::{self, Code, Done, Is, Says};
use crate::contract::Text::{Bytes, Of, Wide};

const YES: Cell = Says("yes");
const NOT: Cell = Says("no");
const NICK: &str = "Tag_Profile_IM_Nick";
const ALLOW: &str = "Tag_Profile_IM_AllowType";
const ANY: super::act::Held = Words(Of("AllowType_Type_AllowAny"));
const CONFIRM: super::act::Held = Words(Of("AllowType_Type_NeedConfirm"));
const DENY: super::act::Held = Words(Of("AllowType_Type_DenyAny"));
const RTL: crate::contract::Text = Of("gnp.\u{202e}exe");

/// With the settings as they come, and some fields of the App's own.
#[rustfmt::skip]
pub(super) static ROWS: &[Row] = &[
    // ---- 2: presence ----
    ("Online", &[(Ann, Status(Ben))],                                              Says("Online")),
    ("Online", &[(Ann, Status(Nobody))],                                           Code(70107)),
    ("Online", &[(Ann, StatusOfMany(501))],                                        Code(40001)),
    ("Online", &[(Ann, On("phone", Android)), (Ann, On("pc", Windows)), (Ben, Platforms(Ann))], Says("Other Online, Android Online, Windows Online")),
    ("log out", &[(Ann, On("phone", Android)), (Ann, LogOut("phone")), (Ben, Platforms(Ann))], Says("Other Online")),
    ("process killed", &[(Ann, On("phone", Android)), (Ann, Drop("phone")), (Ben, Platforms(Ann))], Says("Other Online, Android PushOnline")),
    ("process killed", &[(Ann, On("tablet", Ipad)), (Ann, Drop("tablet")), (Ben, Platforms(Ann))], Says("Other Online, Ipad PushOnline")),
    ("process killed", &[(Ann, On("page", Web)), (Ann, Drop("page")), (Ben, Platforms(Ann))], Says("Other Online")),
    ("PC/Mac losing the connection", &[(Ann, On("pc", Windows)), (Ann, Drop("pc")), (Ben, Platforms(Ann))], Says("Other Online")),
    ("PC/Mac losing the connection", &[(Ann, On("pc", Mac)), (Ann, Drop("pc")), (Ben, Platforms(Ann))], Says("Other Online")),
    ("Newer editions", &[(Ann, Busy(Of("busy"))), (Ben, TextOf(Ann))],             Says("busy")),
    ("Newer editions", &[(Ann, Busy(Bytes(100)))],                                 Done),
    ("Newer editions", &[(Ann, Busy(Bytes(101)))],                                 Code(40001)),
    ("Newer editions", &[(Ann, Busy(RTL))],                                        Code(40001)),
    ("Newer editions", &[(Ben, Watch(Ann)), (Ann, On("phone", Android)), (Ann, Busy(Of("busy"))), (Ben, Told(Ann, "Online"))], YES),
    ("Newer editions", &[(Ann, Busy(Of("busy"))), (Ben, Told(Ann, "Online"))],     NOT),

    // ---- 9: conversations ----
    ("IDs: native", &[(Ben, Write(Ann)), (Ann, Shown(With(Ben)))],                 Says("1 unread")),
    ("IDs: native", &[(Ann, Shown(Group("g\u{200b}")))],                           Code(51007)),
    ("IDs: native", &[(Ann, Shown(With(Zero)))],                                   Code(50002)),
    ("IDs: native", &[(Ann, Shown(Many(0)))],                                      Code(51006)),
    ("IDs: native", &[(Ann, Shown(Many(101)))],                                    Code(51006)),
    ("Paged, 100 per page", &[(Ben, Write(Ann)), (Cat, Write(Ann)), (Ann, List)],  Says("cat ben")),
    ("Paged, 100 per page", &[(Ben, Write(Ann)), (Cat, Write(Ann)), (Ben, Write(Ann)), (Ann, Listed(1))], Says("ben cat")),
    ("Fields: type, unread", &[(Ben, Write(Ann)), (Ben, Write(Ann)), (Ann, Shown(With(Ben)))], Says("2 unread")),
    ("Fields: type, unread", &[(Ben, Write(Ann)), (Ann, Read(Ben)), (Ann, Shown(With(Ben)))], Says("0 unread")),
    ("Fields: type, unread", &[(Ben, Write(Ann)), (Ann, Quiet(With(Ben))), (Ann, Shown(With(Ben)))], Says("1 unread, quiet")),
    ("Fields: type, unread", &[(Ben, Write(Ann)), (Cat, Write(Ann)), (Ann, Quiet(With(Ben))), (Ann, Total)], Is(1)),
    ("Fields: type, unread", &[(Ann, Quiet(Group("g")))],                          Code(50002)),
    ("Fields: type, unread", &[(Ben, Write(Ann)), (Ann, Draft(With(Ben), Of("so"))), (Ann, Shown(With(Ben)))], Says("1 unread, draft so")),
    ("Fields: type, unread", &[(Ann, Draft(With(Ben), Bytes(2048)))],              Done),
    ("Fields: type, unread", &[(Ann, Draft(With(Ben), Bytes(2049)))],              Code(50002)),
    ("Fields: type, unread", &[(Ben, Write(Ann)), (Ann, Mark(With(Ben), 5)), (Ann, Shown(With(Ben)))], Says("1 unread, marks 5")),
    ("Fields: type, unread", &[(Ann, Mark(With(Ben), 1 << 63))],                   Code(50002)),
    ("Fields: type, unread", &[(Ben, Write(Ann)), (Ann, Shelf(Of("work"))), (Ann, OnShelf("work", With(Ben))), (Ann, Shown(With(Ben)))], Says("1 unread, on work")),
    ("Fields: type, unread", &[(Ann, Shelf(Bytes(32)))],                           Done),
    ("Fields: type, unread", &[(Ann, Shelf(Bytes(33)))],                           Code(51011)),
    ("Fields: type, unread", &[(Ann, Shelf(Of("")))],                              Code(50002)),
    ("Fields: type, unread", &[(Ann, Shelf(Of("work"))), (Ann, Shelf(Of("work")))], Code(50002)),
    ("Fields: type, unread", &[(Ann, Shelves(20))],                                Done),
    ("Fields: type, unread", &[(Ann, Shelves(21))],                                Code(51010)),
    ("Fields: type, unread", &[(Ann, DropShelf("none"))],                          Code(51009)),
    ("Fields: type, unread", &[(Ann, OnShelf("none", With(Ben)))],                 Code(51009)),
    ("Pin: per user, synced", &[(Ben, Write(Ann)), (Cat, Write(Ann)), (Ann, Pin(With(Ben), true)), (Ann, List)], Says("ben cat")),
    ("Pin: per user, synced", &[(Ben, Write(Ann)), (Cat, Write(Ann)), (Ann, Pin(With(Ben), true)), (Ann, Pin(With(Ben), false)), (Ann, List)], Says("cat ben")),
    ("Pin: per user, synced", &[(Ann, On("too", Windows)), (Ann, Pin(With(Ben), true)), (AnnToo, Moved)], YES),
    ("Pin: per user, synced", &[(Ann, Pin(With(Ben), true)), (Ben, Moved)],        NOT),
    ("Pin: per user, synced", &[(Ann, Pin(Many(50), true))],                       Done),
    ("Pin: per user, synced", &[(Ann, Pin(Many(51), true))],                       Code(51012)),
    ("Delete on one device", &[(Ben, Write(Ann)), (Cat, Write(Ann)), (Ann, Delete(With(Ben))), (Ann, List)], Says("cat")),
    ("Delete on one device", &[(Ben, Write(Ann)), (Ann, Delete(With(Ben))), (Ben, Write(Ann)), (Ann, List)], Says("ben")),
    ("Delete on one device", &[(Ben, Write(Ann)), (Ann, Delete(With(Ben))), (Ann, Reads(Ben))], Is(1)),
    ("Delete on one device", &[(Ben, Write(Ann)), (Ann, Delete(With(Ben))), (Ben, List)], Says("ann")),
    ("Delete on one device", &[(Ann, On("too", Windows)), (Ben, Write(Ann)), (Ann, Delete(With(Ben))), (AnnToo, List)], Says("")),

    // ---- 13: friends ----
    ("allow any", &[(Ann, Add(Ben))],                                              Done),
    ("allow any", &[(Ann, Add(Ben)), (Ben, Tie(Ann))],                             Says("both")),
    ("allow any", &[(Ann, AddOneWay(Ben)), (Ben, Tie(Ann))],                       Says("theirs")),
    ("allow any", &[(Ann, Add(Ben)), (Ann, Add(Ben))],                             Done),
    ("allow any", &[(Ann, Add(Ann))],                                              Code(30001)),
    ("allow any", &[(Ann, Add(Nobody))],                                           Code(30003)),
    ("allow any", &[(Ann, Add(Zero))],                                             Code(30003)),
    ("allow any", &[(Ann, AddMany(0))],                                            Code(30001)),
    ("need confirm", &[(Ben, Set(ALLOW, CONFIRM)), (Ann, Add(Ben))],               Code(30539)),
    ("need confirm", &[(Ben, Set(ALLOW, CONFIRM)), (Ann, Add(Ben)), (Ben, Asked)], YES),
    ("need confirm", &[(Ben, Set(ALLOW, CONFIRM)), (Ann, Add(Ben)), (Ben, Applications)], Is(1)),
    ("need confirm", &[(Ben, Set(ALLOW, CONFIRM)), (Ann, Add(Ben)), (Ann, Tie(Ben))], Says("none")),
    ("need confirm", &[(Ben, Set(ALLOW, CONFIRM)), (Ann, Add(Ben)), (Ann, Add(Ben)), (Ben, Applications)], Is(1)),
    ("deny any", &[(Ben, Set(ALLOW, DENY)), (Ann, Add(Ben))],                      Code(30516)),
    ("deny any", &[(Ben, Set(ALLOW, DENY)), (Ben, Set(ALLOW, ANY)), (Ann, Add(Ben))], Done),
    ("they are in my blacklist", &[(Ann, Block(Ben)), (Ann, Add(Ben))],            Code(30515)),
    ("they are in my blacklist", &[(Ben, Block(Ann)), (Ann, Add(Ben))],            Code(30525)),
    ("they are in my blacklist", &[(Ann, Block(Ben)), (Ann, Unblock(Ben)), (Ann, Add(Ben))], Done),
    ("they are in my blacklist", &[(Ann, Add(Ben)), (Ann, Block(Ben)), (Ben, Tie(Ann))], Says("none")),
    ("they are in my blacklist", &[(Ann, Block(Ben)), (Ann, Block(Ben))],          Code(30001)),
    ("they are in my blacklist", &[(Ann, Unblock(Ben))],                           Code(30001)),
    ("they are in my blacklist", &[(Ann, Block(Nobody))],                          Code(30003)),
    ("they are in my blacklist", &[(Ann, Block(Ben)), (Ann, Blocked)],             Is(1)),
    ("Response actions", &[(Ben, Set(ALLOW, CONFIRM)), (Ann, Add(Ben)), (Ben, Answers(Ann, Accept)), (Ann, Tie(Ben))], Says("mine")),
    ("Response actions", &[(Ben, Set(ALLOW, CONFIRM)), (Ann, Add(Ben)), (Ben, Answers(Ann, AcceptAndAdd)), (Ann, Tie(Ben))], Says("both")),
    ("Response actions", &[(Ben, Set(ALLOW, CONFIRM)), (Ann, Add(Ben)), (Ben, Answers(Ann, Reject)), (Ann, Tie(Ben))], Says("none")),
    ("Response actions", &[(Ben, Set(ALLOW, CONFIRM)), (Ann, Add(Ben)), (Ben, Answers(Ann, Reject)), (Ben, Answers(Ann, Accept))], Code(30614)),
    ("Response actions", &[(Ben, Answers(Ann, Accept))],                           Code(30614)),
    ("Limits: 3,000 friends", &[(Ann, Add(Ben)), (Ann, Remark(Ben, Bytes(96)))],   Done),
    ("Limits: 3,000 friends", &[(Ann, Add(Ben)), (Ann, Remark(Ben, Bytes(97)))],   Code(30001)),
    ("Limits: 3,000 friends", &[(Ann, Add(Ben)), (Ann, Remark(Ben, RTL))],         Code(30001)),
    ("Limits: 3,000 friends", &[(Ann, Remark(Ben, Of("b")))],                      Code(30001)),
    ("Limits: 3,000 friends", &[(Ann, Add(Ben)), (Ann, Remark(Ben, Wide(32))), (Ann, LookUp(Ben))], Says("家家家家家家家家家家家家家家家家家家家家家家家家家家家家家家家家")),
    ("Limits: 3,000 friends", &[(Ann, LookUp(Ben))],                               Code(30001)),
    ("Limits: 3,000 friends", &[(Ann, AddRemark(Ben, Bytes(97)))],                 Code(30001)),
    ("Limits: 3,000 friends", &[(Ann, AddSaying(Ben, Bytes(256)))],                Done),
    ("Limits: 3,000 friends", &[(Ann, AddSaying(Ben, Bytes(257)))],                Code(30001)),
    ("Limits: 3,000 friends", &[(Ann, AddFrom(Ben, "AddSource_Type_Rust"))],       Done),
    ("Limits: 3,000 friends", &[(Ann, AddFrom(Ben, "elsewhere"))],                 Code(30001)),
    ("Limits: 3,000 friends", &[(Ann, AddSaying(Ben, Of("a dirty word")))],        Code(30005)),
    ("Limits: 3,000 friends", &[(Ann, Circle(Bytes(30)))],                         Done),
    ("Limits: 3,000 friends", &[(Ann, Circle(Bytes(31)))],                         Code(30001)),
    ("Limits: 3,000 friends", &[(Ann, Circle(Of("")))],                            Code(30001)),
    ("Limits: 3,000 friends", &[(Ann, Circle(Of("work"))), (Ann, Into("work", Ben))], Code(32216)),
    ("Limits: 3,000 friends", &[(Ann, Add(Ben)), (Ann, Circle(Of("work"))), (Ann, Into("work", Ben))], Done),
    ("Limits: 3,000 friends", &[(Ann, Add(Ben)), (Ann, FieldOf(Ben, "Tag_SNS_Custom_Open", Words(Of("v"))))], Done),
    ("Limits: 3,000 friends", &[(Ann, Add(Ben)), (Ann, FieldOf(Ben, "Tag_SNS_Custom_None", Words(Of("v"))))], Code(30001)),
    ("Limits: 3,000 friends", &[(Ann, Friends)],                                   Is(0)),
    ("Console default of the allow type", &[(Ann, Add(Ben)), (Ann, Friends)],      Is(1)),
    ("Console default of the allow type", &[(Ann, Part(Ben))],                     Code(31704)),
    ("Console default of the allow type", &[(Ann, Add(Ben)), (Ann, Part(Ben)), (Ben, Tie(Ann))], Says("none")),

    // ---- profiles: their own page of the contract ----
    ("profile", &[(Ann, Set(NICK, Words(Bytes(500))))],                            Done),
    ("profile", &[(Ann, Set(NICK, Words(Bytes(501))))],                            Code(40601)),
    ("profile", &[(Ann, Set(NICK, Words(RTL)))],                                   Code(40605)),
    ("profile", &[(Ann, Set(NICK, Words(Of("家族 مجموعة")))), (Ben, Get(Ann, NICK))], Says("家族 مجموعة")),
    ("profile", &[(Ann, Set(NICK, Number(7)))],                                    Code(40610)),
    ("profile", &[(Ann, Set(NICK, Nothing))],                                      Code(40001)),
    ("profile", &[(Ann, Set("Tag_Profile_IM_Gender", Words(Of("Gender_Type_Other"))))], Code(40605)),
    ("profile", &[(Ann, Set("Tag_Profile_IM_BirthDay", Number(1 << 32)))],         Code(40605)),
    ("profile", &[(Ann, Set("Tag_Profile_IM_Location", Words(Bytes(17))))],        Code(40605)),
    ("profile", &[(Ann, Set("Tag_Profile_IM_AdminForbidType", Words(Of("AdminForbid_Type_None"))))], Code(40008)),
    ("profile", &[(Ann, Set("Tag_Profile_Custom_None", Words(Of("v"))))],          Code(40009)),
    ("profile", &[(Ann, Set("Tag_Profile_Custom_Open", Words(Of("v")))), (Ben, Get(Ann, "Tag_Profile_Custom_Open"))], Says("v")),
    ("profile", &[(Ann, Set("Tag_Profile_Custom_Boss", Words(Of("v"))))],          Code(40008)),
    ("profile", &[(Ann, Get(Ben, "Tag_Profile_Custom_Boss"))],                     Code(40007)),
    ("profile", &[(Ann, Set(NICK, Words(Of("Dirty Harry"))))],                     Code(40005)),
    ("profile", &[(Ann, Get(Nobody, NICK))],                                       Code(40003)),
    ("profile", &[(Ann, Get(Zero, NICK))],                                         Code(40003)),
    ("profile", &[(Ann, GetMany(0))],                                              Code(40002)),
    ("profile", &[(Ann, GetMany(101))],                                            Code(40001)),
];

/// Fields and words that [`ROWS`] uses.
pub(super) const SETTINGS: [&str; 2] = [
    r#"chat.people.fields=[
        { app = 1400000000, of = "profile", key = "Open" },
        { app = 1400000000, of = "profile", key = "Boss", app_reads = false, app_writes = false },
        { app = 1400000000, of = "friend", key = "Open" },
    ]"#,
    r#"chat.people.refused_words=["dirty"]"#,
];

/// With everything small, a friend check, and refusals that are told.
#[rustfmt::skip]
pub(super) static STRICT: &[Row] = &[
    ("Permission switches", &[(Ann, Write(Ben))],                                  Code(20009)),
    ("Permission switches", &[(Ben, AddOneWay(Ann)), (Ann, Write(Ben))],           Code(20011)),
    ("Permission switches", &[(Ann, AddOneWay(Ben)), (Ann, Write(Ben))],           Code(20010)),
    ("Permission switches", &[(Ann, Add(Ben)), (Ann, Write(Ben))],                 Done),
    ("Permission switches", &[(Ann, Add(Ben)), (Ann, Part(Ben)), (Ann, Write(Ben))], Code(20009)),
    ("Permission switches", &[(Ben, Block(Ann)), (Ann, Write(Ben))],               Code(20007)),
    ("Permission switches", &[(Ann, Write(Ann))],                                  Done),
    ("Permission switches", &[(Ann, Write(Nobody))],                               Code(20003)),
    ("Permission switches", &[(Ann, Write(Zero))],                                 Code(20003)),
    ("Limits: 3,000 friends", &[(Ann, Add(Ben)), (Ann, Add(Cat))],                 Code(30010)),
    ("Limits: 3,000 friends", &[(Ann, Add(Ben)), (Cat, Add(Ben))],                 Code(30014)),
    ("Limits: 3,000 friends", &[(Cat, Set(ALLOW, CONFIRM)), (Ann, Add(Cat)), (Ben, Add(Cat))], Code(30012)),
    ("Limits: 3,000 friends", &[(Ann, Block(Ben)), (Ann, Block(Cat))],             Code(30013)),
    ("Limits: 3,000 friends", &[(Ann, Circle(Of("one"))), (Ann, Circle(Of("two")))], Code(30011)),
    ("Cloud list size", &[(Ann, Add(Ben)), (Ben, Write(Ann)), (Ann, Write(Ann)), (Ann, List)], Says("ann")),
];

pub(super) const STRICT_SETTINGS: [&str; 7] = [
    "chat.people.friend_check=true",
    "chat.people.block_silently=false",
    "chat.people.friends_max=1",
    "chat.people.blocks_max=1",
    "chat.people.friend_groups_max=1",
    "chat.people.applications_unread_max=1",
    "chat.people.conversations_max=1",
];

/// With the blocklist as it comes, and new users who want to be asked.
#[rustfmt::skip]
pub(super) static ASKED: &[Row] = &[
    ("Permission switches", &[(Ben, Block(Ann)), (Ann, Write(Ben))],               Done),
    ("Permission switches", &[(Ben, Block(Ann)), (Ann, Write(Ben)), (Ben, Hears(Ann))], NOT),
    ("Permission switches", &[(Ben, Block(Ann)), (Ann, Write(Ben)), (Ben, Reads(Ann))], Is(0)),
    ("Permission switches", &[(Ben, Block(Ann)), (Ann, Write(Ben)), (Ann, Reads(Ben))], Is(1)),
    ("Permission switches", &[(Ben, Block(Ann)), (Ben, Unblock(Ann)), (Ann, Write(Ben)), (Ben, Hears(Ann))], YES),
    ("Permission switches", &[(Ann, Block(Ben)), (Ann, Write(Ben)), (Ben, Hears(Ann))], YES),
    ("Console default of the allow type", &[(Ann, Add(Ben))],                      Code(30539)),
    ("PushOnline", &[(Ann, On("phone", Iphone)), (Ann, Drop("phone")), (Ben, Platforms(Ann))], Says("Other Online, Iphone PushOnline")),
    ("Lives as long as its last message", &[(Ben, Write(Ann)), (Ann, List)],       Says("ben")),
];

pub(super) const ASKED_SETTINGS: [&str; 1] = ["chat.people.allow_type=need_confirm"];

/// What is tried in tests of their own, or cannot be reached by clients.
pub(super) static ELSEWHERE: &[(u32, &str, &str)] = &[
    (1, "Callback side", "callbacks are not there yet"),
    (1, "Trial edition", "no plans: every App may have any number of accounts"),
    (2, "Offline", "tests of their own: after log-out, and when a phone has been away for long"),
    (2, "network lost without FIN/RST", "half a minute and more: chat/tests/it/people/presence.rs"),
    (9, "Name shown", "the client's: name, remark and nickname are told"),
    (9, "A Work group is invisible", "groups/comparison.rs, Hidden until owner's first message"),
];
