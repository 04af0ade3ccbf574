//! The fields of a group and of a member: what they hold from the beginning, and when they change.

use nearport_wire::body::{
    self, GroupEdit, GroupJoinOption, GroupMemberEdit, GroupReception, GroupRole, group_answer::Answer,
    group_call::Call,
};

use super::scene::{ADMIN, Done, MEMBER, OWNER, STRANGER, Scene, TYPES};

fn info(scene: &mut Scene, who: usize) -> body::GroupInfo {
    match scene.ask(who, Call::Info(body::GroupNames { groups: vec![scene.id.clone()] })) {
        Ok(Answer::Infos(infos)) => infos.infos[0].clone(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_group_begins_with_what_its_type_says_and_counts_what_happens() {
    use GroupJoinOption::{GroupJoinApproval as Approval, GroupJoinClosed as Closed, GroupJoinFree as Free};
    // The name on the wire, how ids begin, the most members, joining, inviting, messages before the first one of a user's.
    let rows = [
        ("Private", "@TGS#1", 2000, Closed, Free, 0),
        ("Public", "@TGS#2", 2000, Approval, Closed, 1),
        ("ChatRoom", "@TGS#3", 2000, Free, Closed, 0),
        ("AVChatRoom", "@TGS#a", 0, Free, Closed, 0),
        ("Community", "@TGS#_@TGS#c", 100_000, Free, Free, 1),
    ];
    for (kind, (name, prefix, members_max, join, invite, tips)) in TYPES.into_iter().zip(rows) {
        let mut scene = Scene::new(kind);
        let began_ms = scene.world.now_ms;
        let new = info(&mut scene, OWNER);
        let stored = kind != "AVChatRoom";
        assert_eq!((&*new.r#type, &*new.name, &*new.owner), (name, "group", "alice"));
        assert!(new.group.starts_with(prefix), "{kind}: {}", new.group);
        assert_eq!((new.created_ms, new.info_seq, new.info_ms), (began_ms, 1, began_ms), "{kind}");
        assert_eq!(new.members, if stored { 3 } else { 0 }, "{kind}");
        assert_eq!((new.members_max, new.join(), new.invite()), (members_max, join, invite), "{kind}");
        assert!(!new.muted_all && new.introduction.is_empty() && new.face_url.is_empty(), "{kind}");
        let last_ms = if tips > 0 { began_ms } else { 0 };
        assert_eq!((new.next_seq, new.last_message_ms), (tips + 1, last_ms), "{kind}");

        scene.world.now_ms += 5000;
        let edit = GroupEdit { introduction: Some("what it is".into()), ..scene.edit() };
        assert_eq!(scene.cell(OWNER, Call::Edit(edit)), Done);
        assert!(scene.said(OWNER, |_| ()) == Done || !stored, "{kind}");
        let now_ms = scene.world.now_ms;
        let changed = info(&mut scene, OWNER);
        assert_eq!((changed.info_seq, changed.info_ms, changed.created_ms), (2, now_ms, began_ms), "{kind}");
        assert_eq!(changed.next_seq, scene.tips() + 1, "{kind}");
        assert_eq!(changed.last_message_ms, if stored { now_ms } else { 0 }, "{kind}");

        // What the type leaves no choice about is kept as it is, and no mistake.
        let wanted = GroupEdit {
            join: Closed.into(),
            invite: Approval.into(),
            members_max: Some(100),
            ..scene.edit()
        };
        assert_eq!(scene.cell(OWNER, Call::Edit(wanted)), Done, "{kind}");
        let changed = info(&mut scene, OWNER);
        let choice = (changed.members_max, changed.join(), changed.invite());
        let want = match kind {
            "AVChatRoom" => (0, Free, Closed),
            "Public" => (100, Closed, Approval),
            _ => (100, join, Approval),
        };
        assert_eq!(choice, want, "{kind}");
        let muted = GroupEdit { muted_all: Some(true), ..scene.edit() };
        let may = scene.cell(OWNER, Call::Edit(muted)) == Done;
        assert_eq!((may, info(&mut scene, OWNER).muted_all), (kind != "Work", kind != "Work"), "{kind}");
    }
}

#[test]
fn a_group_without_an_owner_names_none() {
    let mut scene = Scene::active("Work");
    let quit = Call::Quit(scene.myself());
    assert_eq!(scene.cell(OWNER, quit), Done);
    let left = info(&mut scene, MEMBER);
    assert_eq!((&*left.owner, left.members), ("", 2));
}

#[test]
fn a_member_has_what_the_contract_says() {
    for kind in TYPES.into_iter().filter(|kind| *kind != "AVChatRoom") {
        let mut scene = Scene::active(kind);
        let members = |scene: &mut Scene| match scene.ask(OWNER, scene.members()) {
            Ok(Answer::Members(page)) => page.members,
            other => panic!("{other:?}"),
        };
        let began_ms = crate::world::START_MS;
        let second = if scene.admins { GroupRole::Admin } else { GroupRole::Member };
        let roles = [("alice", GroupRole::Owner), ("bob", second), ("carol", GroupRole::Member)];
        let want: Vec<_> = roles
            .into_iter()
            .map(|(user, role)| body::GroupMember {
                user: user.into(),
                role: role.into(),
                joined_ms: began_ms,
                reception: GroupReception::Notify.into(),
                ..body::GroupMember::default()
            })
            .collect();
        assert_eq!(members(&mut scene), want, "{kind}");

        scene.world.now_ms += 5000;
        let mine = GroupMemberEdit {
            group: scene.id.clone(),
            name_card: Some("C".into()),
            reception: GroupReception::Quiet.into(),
            ..GroupMemberEdit::default()
        };
        assert_eq!(scene.cell(MEMBER, Call::EditMember(mine)), Done, "{kind}");
        let mute = scene.mute(MEMBER);
        let muted = scene.cell(OWNER, mute) == Done;
        let carol = members(&mut scene).remove(2);
        let until_s = if muted { scene.world.now_ms / 1000 + 60 } else { 0 };
        assert_eq!((&*carol.name_card, carol.reception()), ("C", GroupReception::Quiet), "{kind}");
        assert_eq!((carol.muted_until_s, muted), (until_s, kind != "Work"), "{kind}");
        let asked =
            body::GroupAccounts { group: scene.id.clone(), users: vec!["alice".into(), "dave".into()] };
        let got = match scene.ask(ADMIN, Call::Roles(asked)) {
            Ok(Answer::Roles(roles)) => roles.items.iter().map(body::GroupRoleItem::role).collect::<Vec<_>>(),
            other => panic!("{other:?}"),
        };
        assert_eq!(got, [GroupRole::Owner, GroupRole::None], "{kind}");

        let late = match kind {
            "Work" => scene.invite(STRANGER),
            _ => scene.join(),
        };
        let who = if kind == "Work" { MEMBER } else { STRANGER };
        if scene.cell(who, late) == Done {
            let dave = members(&mut scene).remove(3);
            assert_eq!((&*dave.user, dave.joined_ms), ("dave", scene.world.now_ms), "{kind}");
        }
    }
}
