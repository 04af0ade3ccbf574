//! The behaviour table: each row of the public contract's comparison of group types, each limit of its fields, for every type,
//! by asking the cores. A cell is what comes back: done, waiting, or a code.

mod fields;
mod limits;
mod messages;
mod scene;

use nearport_chat::group::{Joining, PRESETS, Reception};
use nearport_wire::body::{
    self, GroupEdit, GroupMemberEdit, GroupRole, group_answer::Answer, group_call::Call,
};

use scene::{ADMIN, Cell, DENIED, Done, MEMBER, Nobody, OWNER, Row, STRANGER, Scene, Waits, check};

#[test]
fn each_row_of_the_comparison_is_as_the_contract_has_it() {
    let bad = Cell::Code(10004);
    let owner_stays = Cell::Code(10009);
    #[rustfmt::skip]
    let rows: Vec<Row> = vec![
        // Roles.
        ("the owner names an administrator", |s| { let c = s.role(MEMBER, GroupRole::Admin); s.cell(OWNER, c) }, [DENIED, Done, Done, DENIED, Done]),
        ("an administrator names one", |s| { let c = s.role(MEMBER, GroupRole::Admin); s.cell(ADMIN, c) }, [Nobody, DENIED, DENIED, Nobody, DENIED]),
        ("an administrator steps down by the owner", |s| { let c = s.role(ADMIN, GroupRole::Member); s.cell(OWNER, c) }, [DENIED, Done, Done, DENIED, Done]),
        ("an owner is made by hand-over only", |s| { let c = s.role(MEMBER, GroupRole::Owner); s.cell(OWNER, c) }, [bad, bad, bad, DENIED, bad]),
        // Profile.
        ("the owner edits the profile", |s| { let c = s.named(); s.cell(OWNER, c) }, [Done; 5]),
        ("an administrator edits it", |s| { let c = s.named(); s.cell(ADMIN, c) }, [Nobody, Done, Done, Nobody, Done]),
        ("a member edits it", |s| { let c = s.named(); s.cell(MEMBER, c) }, [Done, DENIED, DENIED, DENIED, DENIED]),
        ("a stranger edits it", |s| { let c = s.named(); s.cell(STRANGER, c) }, [DENIED; 5]),
        ("a member changes an option", |s| { let c = Call::Edit(GroupEdit { members_max: Some(9), ..s.edit() }); s.cell(MEMBER, c) }, [DENIED; 5]),
        // Members.
        ("a member sees who is in it", |s| { let c = s.members(); s.cell(MEMBER, c) }, [Done; 5]),
        ("a stranger sees who is in it", |s| { let c = s.members(); s.cell(STRANGER, c) }, [DENIED, DENIED, DENIED, Done, DENIED]),
        // The end.
        ("the owner dismisses it", |s| { let c = Call::Dismiss(s.myself()); s.cell(OWNER, c) }, [DENIED, Done, Done, Done, Done]),
        ("an administrator dismisses it", |s| { let c = Call::Dismiss(s.myself()); s.cell(ADMIN, c) }, [Nobody, DENIED, DENIED, Nobody, DENIED]),
        ("a member dismisses it", |s| { let c = Call::Dismiss(s.myself()); s.cell(MEMBER, c) }, [DENIED; 5]),
        // Finding, joining, inviting.
        ("a stranger finds it by its id", |s| { let c = Call::Info(body::GroupNames { groups: vec![s.id.clone()] }); s.cell(STRANGER, c) }, [DENIED, Done, Done, Done, Done]),
        ("nobody finds it by its name", |s| { let c = Call::Info(body::GroupNames { groups: vec!["group".into()] }); s.cell(MEMBER, c) }, [Cell::Code(10010); 5]),
        ("a stranger joins", |s| { let c = s.join(); s.cell(STRANGER, c) }, [DENIED, Waits, Done, Done, Done]),
        ("a member invites", |s| { let c = s.invite(STRANGER); s.cell(MEMBER, c) }, [Done, DENIED, DENIED, DENIED, Done]),
        ("the owner invites", |s| { let c = s.invite(STRANGER); s.cell(OWNER, c) }, [Done, DENIED, DENIED, DENIED, Done]),
        ("a stranger invites", |s| { let c = s.invite(STRANGER); s.cell(STRANGER, c) }, [DENIED; 5]),
        // Leaving.
        ("the owner quits", |s| { let c = Call::Quit(s.myself()); s.cell(OWNER, c) }, [Done, owner_stays, owner_stays, owner_stays, owner_stays]),
        ("the owner removes a member", |s| { let c = s.kick(MEMBER); s.cell(OWNER, c) }, [Done, Done, Done, bad, Done]),
        ("an administrator removes a member", |s| { let c = s.kick(MEMBER); s.cell(ADMIN, c) }, [Nobody, Done, Done, Nobody, Done]),
        ("an administrator removes the owner", |s| { let c = s.kick(OWNER); s.cell(ADMIN, c) }, [Nobody, DENIED, DENIED, Nobody, DENIED]),
        ("a member removes a member", |s| { let c = s.kick(MEMBER); s.cell(MEMBER, c) }, [DENIED, DENIED, DENIED, bad, DENIED]),
        ("who is none is removed", |s| { let c = s.kick(STRANGER); s.cell(OWNER, c) }, [Done, Done, Done, bad, Done]),
        // Muting.
        ("the owner mutes a member", |s| { let c = s.mute(MEMBER); s.cell(OWNER, c) }, [DENIED, Done, Done, Done, Done]),
        ("an administrator mutes a member", |s| { let c = s.mute(MEMBER); s.cell(ADMIN, c) }, [Nobody, Done, Done, Nobody, Done]),
        ("an administrator mutes the owner", |s| { let c = s.mute(OWNER); s.cell(ADMIN, c) }, [Nobody, DENIED, DENIED, Nobody, DENIED]),
        ("a member mutes a member", |s| { let c = s.mute(MEMBER); s.cell(MEMBER, c) }, [DENIED; 5]),
        ("the owner mutes all", |s| { let c = Call::Edit(GroupEdit { muted_all: Some(true), ..s.edit() }); s.cell(OWNER, c) }, [DENIED, Done, Done, Done, Done]),
        ("the owner sees who is muted", |s| { let c = Call::Muted(body::GroupPage { group: s.id.clone(), ..body::GroupPage::default() }); s.cell(OWNER, c) }, [DENIED, Done, Done, Done, Done]),
        // Bans.
        ("the owner bans a member", |s| { let c = s.ban(MEMBER); s.cell(OWNER, c) }, [Done, Done, Done, Done, DENIED]),
        ("a member bans a member", |s| { let c = s.ban(MEMBER); s.cell(MEMBER, c) }, [DENIED; 5]),
        ("who is banned comes back", |s| { let c = s.ban(STRANGER); s.cell(OWNER, c); let c = s.join(); s.cell(STRANGER, c) }, [DENIED, DENIED, DENIED, DENIED, Done]),
        // Free values.
        ("a member writes an attribute", |s| {
            let items = vec![body::GroupAttribute { key: "k".into(), value: "v".into() }];
            let c = Call::WriteAttributes(body::GroupAttributesWrite { group: s.id.clone(), items, ..body::GroupAttributesWrite::default() });
            s.cell(MEMBER, c)
        }, [DENIED, DENIED, DENIED, Done, DENIED]),
        ("a member writes a counter", |s| {
            let items = vec![body::GroupCounter { key: "k".into(), value: 1 }];
            let c = Call::WriteCounters(body::GroupCountersWrite { group: s.id.clone(), items, ..body::GroupCountersWrite::default() });
            s.cell(MEMBER, c)
        }, [Done, Done, Done, Done, DENIED]),
        // Hand-over.
        ("the owner hands it over", |s| { let c = Call::Transfer(body::GroupTransfer { group: s.id.clone(), user: "carol".into() }); s.cell(OWNER, c) }, [Done, Done, Done, DENIED, Done]),
        ("the owner hands it to a stranger", |s| { let c = Call::Transfer(body::GroupTransfer { group: s.id.clone(), user: "dave".into() }); s.cell(OWNER, c) }, [bad, bad, bad, DENIED, bad]),
        ("a member takes it over", |s| { let c = Call::Transfer(body::GroupTransfer { group: s.id.clone(), user: "carol".into() }); s.cell(MEMBER, c) }, [DENIED; 5]),
        // Own affairs.
        ("a member names a card", |s| { let c = Call::EditMember(GroupMemberEdit { group: s.id.clone(), name_card: Some("C".into()), ..GroupMemberEdit::default() }); s.cell(MEMBER, c) }, [Done, Done, Done, DENIED, Done]),
        ("a member names the owner's card", |s| { let c = Call::EditMember(GroupMemberEdit { group: s.id.clone(), user: "alice".into(), name_card: Some("C".into()), ..GroupMemberEdit::default() }); s.cell(MEMBER, c) }, [DENIED; 5]),
        ("the owner says how a member receives", |s| { let c = Call::EditMember(GroupMemberEdit { group: s.id.clone(), user: "carol".into(), reception: body::GroupReception::Quiet.into(), ..GroupMemberEdit::default() }); s.cell(OWNER, c) }, [DENIED; 5]),
    ];
    check(rows);
}

#[test]
fn joining_is_never_after_approval_or_free() {
    let cells = [DENIED, Waits, Done, Done];
    for (kind, want) in ["Work", "Public", "Meeting", "Community"].into_iter().zip(cells) {
        let mut scene = Scene::active(kind);
        let join = scene.join();
        assert_eq!(scene.cell(STRANGER, join.clone()), want, "{kind}");
        let again = if want == Done { Cell::Code(10013) } else { want };
        assert_eq!(scene.cell(STRANGER, join.clone()), again, "{kind}, a second time");
        let closed = GroupEdit { join: body::GroupJoinOption::GroupJoinClosed.into(), ..scene.edit() };
        assert_eq!(
            scene.cell(OWNER, Call::Edit(closed)),
            Done,
            "setting what means nothing here is no mistake"
        );
        scene.sessions[STRANGER] = scene.world.login("erin", "phone");
        let want = if kind == "Public" { DENIED } else { want };
        assert_eq!(scene.cell(STRANGER, join), want, "{kind}, closed");
    }
}

#[test]
fn unread_history_tips_and_hiding_follow_the_type() {
    // Unread for who was there; whether a newcomer sees what was before; tips of somebody quitting; seen before a message.
    let rows = [
        ("Work", true, false, 1, false),
        ("Public", true, false, 1, true),
        ("Meeting", false, true, 0, true),
        ("Community", true, true, 1, true),
    ];
    for (kind, counted, history, tips, seen) in rows {
        let mut scene = Scene::new(kind);
        let heads =
            |scene: &mut Scene, who| match scene.ask(who, Call::Heads(body::GroupHeadsCall::default())) {
                Ok(Answer::Heads(heads)) => heads.items,
                other => panic!("{other:?}"),
            };
        assert_eq!(!heads(&mut scene, MEMBER).is_empty(), seen, "{kind}, before any message");
        assert_eq!(heads(&mut scene, OWNER).len(), 1, "{kind}, the owner");
        let mut scene = Scene::active(kind);
        scene.message(2);
        let own = &heads(&mut scene, MEMBER)[0];
        assert_eq!(own.unread, if counted { scene.tips() } else { 0 }, "{kind}: nothing was read");
        let newcomer = match kind {
            "Work" => {
                let c = scene.invite(STRANGER);
                scene.cell(MEMBER, c)
            }
            "Public" => {
                let free = GroupEdit { join: body::GroupJoinOption::GroupJoinFree.into(), ..scene.edit() };
                scene.cell(OWNER, Call::Edit(free));
                let c = scene.join();
                scene.cell(STRANGER, c)
            }
            _ => {
                let c = scene.join();
                scene.cell(STRANGER, c)
            }
        };
        assert_eq!(newcomer, Done, "{kind}");
        let own = &heads(&mut scene, STRANGER)[0];
        assert_eq!(own.history_after == 0, history, "{kind}, history of a newcomer");
        assert!(own.unread <= 2, "{kind}: what was before is not unread, but the tip of joining may be");
        let head = scene.tips();
        let quit = Call::Quit(scene.myself());
        assert_eq!(scene.cell(MEMBER, quit), Done);
        assert_eq!(scene.tips() - head, tips, "{kind}, tips of quitting");
    }
}

#[test]
fn columns_that_other_parts_read_are_as_the_contract_has_them() {
    // Recall, receipts, @all, controls, import, guests, history, online only, messages a second.
    #[rustfmt::skip]
    let want = [
        ("Private",    true,  true,  true,  true,  true,  false, true,  false, 40),
        ("Public",     true,  true,  true,  true,  true,  false, true,  false, 40),
        ("ChatRoom",   true,  true,  true,  true,  true,  false, true,  true,  40),
        ("AVChatRoom", false, false, true,  false, false, true,  false, true,  40),
        ("Community",  true,  false, false, true,  true,  false, true,  false, 40),
    ];
    let got = PRESETS.each_ref().map(|row| {
        let (recall, receipts, all, controls) =
            (row.recall, row.receipts, row.mention_all, row.message_controls);
        (
            row.name,
            recall,
            receipts,
            all,
            controls,
            row.import,
            row.guests,
            row.history,
            row.online_only,
            row.messages_per_s,
        )
    });
    assert_eq!(got, want);
    assert!(PRESETS.iter().all(|row| row.reception == Reception::Notify));
    let joining = PRESETS.each_ref().map(|row| row.joining);
    assert_eq!(joining, [Joining::Never, Joining::Option, Joining::Free, Joining::Free, Joining::Free]);
    assert_eq!(PRESETS.each_ref().map(|row| row.members_max), [2000, 2000, 2000, 0, 100_000]);
}

#[test]
fn a_mute_outlives_leaving_and_ends_by_itself() {
    let mut scene = Scene::active("Meeting");
    let mute = scene.mute(MEMBER);
    assert_eq!(scene.cell(ADMIN, mute), Done);
    let quit = Call::Quit(scene.myself());
    assert_eq!(scene.cell(MEMBER, quit), Done);
    let join = scene.join();
    assert_eq!(scene.cell(MEMBER, join), Done);
    let muted = |scene: &mut Scene| match scene
        .ask(OWNER, Call::Muted(body::GroupPage { group: scene.id.clone(), ..body::GroupPage::default() }))
    {
        Ok(Answer::Penalties(muted)) => muted.items,
        other => panic!("{other:?}"),
    };
    let until_s = scene.world.now_ms / 1000 + 60;
    assert_eq!(muted(&mut scene), [body::GroupPenalty { user: "carol".into(), until_s }]);
    scene.world.now_ms += 60_000;
    assert!(muted(&mut scene).is_empty());
}
