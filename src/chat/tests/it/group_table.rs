//! The behaviour table: each row of the public contract's comparison of group types, each limit of its fields, for every type,
//! by asking the desk. A cell is what comes back: done, waiting, or a code.

use nearport_chat::group::{Joining, PRESETS, Rank, Reception};
use nearport_chat::key::GroupKey;
use nearport_chat::ledger::{Append, IdemKey};
use nearport_chat::posts::Post;
use nearport_chat::{Config, group};
use nearport_store::{MemoryDirectory, MemoryLedger};
use nearport_trunk::SessionId;
use nearport_wire::Kind;
use nearport_wire::body::{
    self, GroupAnswer, GroupCall, GroupCreate, GroupEdit, GroupField, GroupInviteResult, GroupMemberEdit,
    GroupNewMember, GroupRole, group_answer::Answer, group_call::Call,
};
use prost::Message as _;

use crate::world::{APP, World, answer, directory, user};

/// What a cell of the table says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Cell {
    Done,
    /// It waits for somebody's approval.
    Waits,
    Code(u32),
    /// There is nobody who could try.
    Nobody,
}

use Cell::{Done, Nobody, Waits};

const DENIED: Cell = Cell::Code(10007);

const TYPES: [&str; 5] = ["Work", "Public", "Meeting", "AVChatRoom", "Community"];

/// A group with its owner alice, its administrator bob, its member carol; dave is not in it.
struct Scene {
    world: World,
    id: String,
    sessions: [SessionId; 4],
    admins: bool,
}

const OWNER: usize = 0;
const ADMIN: usize = 1;
const MEMBER: usize = 2;
const STRANGER: usize = 3;
const NAMES: [&str; 4] = ["alice", "bob", "carol", "dave"];

fn config() -> Config {
    let field = |name: &str, of, read, write, own| group::FieldRule {
        name: name.into(),
        of,
        app: None,
        types: Vec::new(),
        read,
        write,
        own,
    };
    let fields = vec![
        field("open", group::FieldOf::Group, Rank::Anyone, Rank::Member, false),
        field("boss", group::FieldOf::Group, Rank::Owner, Rank::Owner, false),
        field("root", group::FieldOf::Group, Rank::App, Rank::App, false),
        field("mine", group::FieldOf::Member, Rank::Admin, Rank::Admin, true),
    ];
    Config { groups: group::GroupConfig { fields, ..group::GroupConfig::default() }, ..Config::default() }
}

fn world(config: Config) -> World {
    let directory: MemoryDirectory = directory();
    World::over(std::sync::Arc::new(MemoryLedger::new()), std::sync::Arc::new(directory), config)
}

impl Scene {
    fn new(kind: &str) -> Self {
        let mut world = world(config());
        let sessions = NAMES.map(|name| world.login(name, "phone"));
        let row = group::Types::default().find(kind).unwrap();
        let member = |name: &str, admin| GroupNewMember { user: name.into(), admin, fields: Vec::new() };
        let members = match row.stored_members {
            true => vec![member("bob", row.admins), member("carol", false)],
            false => Vec::new(),
        };
        let create =
            GroupCreate { r#type: kind.into(), name: "group".into(), members, ..GroupCreate::default() };
        let mut scene = Self { world, id: String::new(), sessions, admins: row.admins };
        match scene.ask(OWNER, Call::Create(create)) {
            Ok(Answer::Id(id)) => scene.id = id.group,
            other => panic!("{kind}: {other:?}"),
        }
        scene
    }

    /// One that everybody sees: with a message.
    fn active(kind: &str) -> Self {
        let mut scene = Self::new(kind);
        if kind != "AVChatRoom" {
            scene.message(1);
        }
        scene.reload();
        if kind == "AVChatRoom" {
            // Members of a live room are who has joined it.
            for who in [OWNER, MEMBER] {
                let join = scene.join();
                assert_eq!(scene.cell(who, join), Done);
            }
        }
        scene
    }

    fn key(&self) -> GroupKey {
        GroupKey::new(nearport_chat::key::AppId(APP), &self.id).unwrap()
    }

    /// A message of the group, as the writer stores one.
    fn message(&mut self, n: u8) {
        let append = Append {
            conv: self.key().conv(),
            idem: IdemKey { sender: user("alice"), client_msg_id: [n; 16] },
            logs: Vec::new(),
            time_ms: self.world.now_ms,
            body: body::Message { from: "alice".into(), ..body::Message::default() }.encode_to_vec().into(),
        };
        assert!(self.world.shared.posts().push(vec![Post { append, done: None }]).is_empty());
        self.world.write(Vec::new());
    }

    /// A new process: what is in memory of the group is read anew.
    fn reload(&mut self) {
        self.world.restart();
        self.sessions = NAMES.map(|name| self.world.login(name, "phone"));
    }

    fn ask(&mut self, who: usize, call: Call) -> Result<Answer, u32> {
        let call = GroupCall { call: Some(call) }.encode_to_vec();
        let frame = self.world.frame(self.sessions[who], Kind::GROUP, 9, call);
        self.world.desk(vec![frame]);
        let downs = self.world.received(0);
        let reply = downs.iter().find(|down| matches!(down, nearport_trunk::Down::Reply { .. }));
        answer::<GroupAnswer>(reply.expect("an answer")).map(|reply| reply.answer.expect("a known answer"))
    }

    fn cell(&mut self, who: usize, call: Call) -> Cell {
        if who == ADMIN && !self.admins {
            return Nobody;
        }
        match self.ask(who, call) {
            Ok(Answer::Join(outcome)) if outcome.pending => Waits,
            Ok(Answer::Infos(infos)) => match infos.infos[0].error {
                0 => Done,
                code => Cell::Code(code),
            },
            Ok(Answer::Invited(invited)) => match invited.items[0].result() {
                GroupInviteResult::GroupInviteAdded => Done,
                GroupInviteResult::GroupInviteWaiting => Waits,
                other => panic!("{other:?}"),
            },
            Ok(_) => Done,
            Err(code) => Cell::Code(code),
        }
    }

    fn edit(&self) -> GroupEdit {
        GroupEdit { group: self.id.clone(), ..GroupEdit::default() }
    }

    fn named(&self) -> Call {
        Call::Edit(GroupEdit { name: Some("new".into()), ..self.edit() })
    }

    fn kick(&self, who: usize) -> Call {
        Call::Kick(body::GroupKick {
            group: self.id.clone(),
            users: vec![NAMES[who].into()],
            ..body::GroupKick::default()
        })
    }

    fn mute(&self, who: usize) -> Call {
        Call::Mute(body::GroupMute { group: self.id.clone(), users: vec![NAMES[who].into()], seconds: 60 })
    }

    fn ban(&self, who: usize) -> Call {
        let users = vec![NAMES[who].into()];
        Call::Ban(body::GroupBan { group: self.id.clone(), users, seconds: 60, reason: String::new() })
    }

    fn invite(&self, who: usize) -> Call {
        let invite = body::GroupInvite {
            group: self.id.clone(),
            users: vec![NAMES[who].into()],
            ..body::GroupInvite::default()
        };
        Call::Invite(invite)
    }

    fn join(&self) -> Call {
        Call::Join(body::GroupJoin { group: self.id.clone(), text: "please".into() })
    }

    fn role(&self, who: usize, role: GroupRole) -> Call {
        Call::EditMember(GroupMemberEdit {
            group: self.id.clone(),
            user: NAMES[who].into(),
            role: role.into(),
            ..GroupMemberEdit::default()
        })
    }

    fn myself(&self) -> body::GroupRef {
        body::GroupRef { group: self.id.clone() }
    }

    fn members(&self) -> Call {
        Call::Members(body::GroupMembersPage { group: self.id.clone(), ..body::GroupMembersPage::default() })
    }

    fn tips(&self) -> u64 {
        self.world.ledger.heads(&[self.key().conv()]).unwrap()[0].seq
    }
}

type Try = fn(&mut Scene) -> Cell;

#[test]
fn each_row_of_the_comparison_is_as_the_contract_has_it() {
    let bad = Cell::Code(10004);
    let owner_stays = Cell::Code(10009);
    #[rustfmt::skip]
    let rows: Vec<(&str, Try, [Cell; 5])> = vec![
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
    let mut wrong = Vec::new();
    for (what, attempt, cells) in rows {
        for (kind, want) in TYPES.into_iter().zip(cells) {
            let got = attempt(&mut Scene::active(kind));
            if got != want {
                wrong.push(format!("{what}, {kind}: want {want:?}, got {got:?}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
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
fn fields_of_a_group_have_their_limits() {
    type Spoil = fn(&mut GroupCreate);
    let cases: Vec<(&str, Spoil, Cell)> = vec![
        ("30 bytes of name", |c| c.name = "家".repeat(10), Done),
        ("33 bytes of name", |c| c.name = "家".repeat(11), Cell::Code(10004)),
        ("no name", |c| c.name = String::new(), Cell::Code(10004)),
        ("a name of zero width", |c| c.name = "\u{200b}\u{2060}".into(), Cell::Code(10004)),
        ("a name that turns text round", |c| c.name = "a\u{202e}b".into(), Cell::Code(10004)),
        ("a name with a control character", |c| c.name = "a\u{7}".into(), Cell::Code(10004)),
        ("240 bytes of introduction", |c| c.introduction = "x".repeat(240), Done),
        ("241 bytes of introduction", |c| c.introduction = "x".repeat(241), Cell::Code(10004)),
        ("300 bytes of notification", |c| c.notification = "x\n".repeat(150), Done),
        ("301 bytes of notification", |c| c.notification = "x".repeat(301), Cell::Code(10004)),
        ("100 bytes of face", |c| c.face_url = "x".repeat(100), Done),
        ("101 bytes of face", |c| c.face_url = "x".repeat(101), Cell::Code(10004)),
        ("48 bytes of id", |c| c.group = "i".repeat(48), Done),
        ("49 bytes of id", |c| c.group = "i".repeat(49), Cell::Code(10015)),
        ("an id of the server's", |c| c.group = "@TGS#1A".into(), Cell::Code(10015)),
        ("an id of zero width", |c| c.group = "g\u{200b}".into(), Cell::Code(10015)),
        ("an unknown type", |c| c.r#type = "BChatRoom".into(), Cell::Code(10004)),
        ("more members than the type has", |c| c.members_max = 2001, Cell::Code(10038)),
        ("as many as it has", |c| c.members_max = 2000, Done),
        ("a member who does not exist", |c| c.members = vec![member("nobody")], Cell::Code(10019)),
        ("a member whose name cannot be", |c| c.members = vec![member("n\u{200b}")], Cell::Code(10019)),
        ("101 members", |c| c.members = vec![member("bob"); 101], Cell::Code(10005)),
        (
            "a limit below its first members",
            |c| {
                c.members = vec![member("bob")];
                c.members_max = 1
            },
            Cell::Code(10038),
        ),
        ("a field that is not declared", |c| c.fields = vec![field("none", b"1")], Cell::Code(10004)),
        ("a field of 512 bytes", |c| c.fields = vec![field("open", &[0xff; 512])], Done),
        ("a field of 513 bytes", |c| c.fields = vec![field("open", &[0xff; 513])], Cell::Code(10004)),
        ("a field of the app's", |c| c.fields = vec![field("root", b"1")], Cell::Code(10007)),
    ];
    let mut wrong = Vec::new();
    for (what, spoil, want) in cases {
        let mut scene = Scene::new("Public");
        let mut create = GroupCreate { r#type: "Public".into(), name: "n".into(), ..GroupCreate::default() };
        spoil(&mut create);
        let got = scene.cell(OWNER, Call::Create(create));
        if got != want {
            wrong.push(format!("{what}: want {want:?}, got {got:?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

fn member(name: &str) -> GroupNewMember {
    GroupNewMember { user: name.into(), ..GroupNewMember::default() }
}

fn field(key: &str, value: &[u8]) -> GroupField {
    GroupField { key: key.into(), value: value.to_vec().into() }
}

#[test]
fn an_id_is_taken_once_and_free_again_after_the_group() {
    let mut scene = Scene::new("Public");
    let create = |id: &str, kind: &str| {
        Call::Create(GroupCreate {
            r#type: kind.into(),
            name: "n".into(),
            group: id.into(),
            ..GroupCreate::default()
        })
    };
    assert_eq!(scene.cell(OWNER, create("mine", "Public")), Done);
    assert_eq!(scene.cell(OWNER, create("mine", "Public")), Cell::Code(10025));
    assert_eq!(scene.cell(MEMBER, create("mine", "Meeting")), Cell::Code(10021));
    assert_eq!(scene.cell(OWNER, create("plain", "Community")), Cell::Code(10015));
    assert_eq!(scene.cell(OWNER, create("@TGS#_", "Community")), Cell::Code(10015));
    assert_eq!(scene.cell(OWNER, create("@TGS#_x", "Community")), Done);
    assert_eq!(scene.cell(OWNER, Call::Dismiss(body::GroupRef { group: "mine".into() })), Done);
    assert_eq!(scene.cell(OWNER, Call::Dismiss(body::GroupRef { group: "mine".into() })), Cell::Code(10010));
    scene.id = "mine".into();
    scene.message(7);
    assert_eq!(scene.cell(MEMBER, create("mine", "Meeting")), Done);
    let info = match scene.ask(MEMBER, Call::Info(body::GroupNames { groups: vec!["mine".into()] })) {
        Ok(Answer::Infos(infos)) => infos.infos[0].clone(),
        other => panic!("{other:?}"),
    };
    let own = info.own.unwrap();
    assert!(own.history_after >= 1, "the history of the first group is not the second one's");
}

#[test]
fn limits_of_the_app_and_of_its_users() {
    let groups = group::GroupConfig {
        joined_max: 2,
        created_per_day: 3,
        communities_max: 1,
        ..group::GroupConfig::default()
    };
    let mut scene = Scene::new("Public");
    scene.world = world(Config { groups, ..Config::default() });
    scene.sessions = NAMES.map(|name| scene.world.login(name, "phone"));
    let create = |kind: &str| {
        Call::Create(GroupCreate { r#type: kind.into(), name: "n".into(), ..GroupCreate::default() })
    };
    assert_eq!(scene.cell(OWNER, create("Community")), Done);
    assert_eq!(scene.cell(MEMBER, create("Community")), Cell::Code(10036));
    assert_eq!(scene.cell(OWNER, create("Public")), Done);
    assert_eq!(scene.cell(OWNER, create("Public")), Cell::Code(10037));
    assert_eq!(scene.cell(MEMBER, create("Meeting")), Done);
    assert_eq!(scene.cell(MEMBER, create("Public")), Cell::Code(10006), "the fourth of a day");
    scene.world.now_ms += 86_400_000;
    assert_eq!(scene.cell(MEMBER, create("Public")), Done, "the next day");
}

#[test]
fn a_full_group_takes_nobody() {
    let mut scene = Scene::active("Meeting");
    let limit = GroupEdit { members_max: Some(3), ..scene.edit() };
    assert_eq!(scene.cell(ADMIN, Call::Edit(limit)), Done);
    let join = scene.join();
    assert_eq!(scene.cell(STRANGER, join.clone()), Cell::Code(10014));
    assert_eq!(
        scene.cell(ADMIN, Call::Edit(GroupEdit { members_max: Some(2001), ..scene.edit() })),
        Cell::Code(10038)
    );
    let kick = scene.kick(MEMBER);
    assert_eq!(scene.cell(ADMIN, kick), Done);
    assert_eq!(scene.cell(STRANGER, join), Done);
}

#[test]
fn custom_fields_are_read_and_written_by_rank() {
    let mut scene = Scene::active("Public");
    let write = |scene: &mut Scene, who, key: &str| {
        let edit = GroupEdit { fields: vec![field(key, b"1")], ..scene.edit() };
        scene.cell(who, Call::Edit(edit))
    };
    for (who, key, want) in [
        (MEMBER, "open", Done),
        (STRANGER, "open", DENIED),
        (MEMBER, "boss", DENIED),
        (ADMIN, "boss", DENIED),
        (OWNER, "boss", Done),
        (OWNER, "root", DENIED),
        (OWNER, "mine", Cell::Code(10004)),
    ] {
        assert_eq!(write(&mut scene, who, key), want, "{} {key}", NAMES[who]);
    }
    let read = |scene: &mut Scene, who| match scene
        .ask(who, Call::Info(body::GroupNames { groups: vec![scene.id.clone()] }))
    {
        Ok(Answer::Infos(infos)) => {
            infos.infos[0].fields.iter().map(|field| field.key.clone()).collect::<Vec<_>>()
        }
        other => panic!("{other:?}"),
    };
    assert_eq!(read(&mut scene, STRANGER), ["open"]);
    assert_eq!(read(&mut scene, OWNER), ["boss", "open"]);
    let own = |scene: &mut Scene, who: usize, of: usize, value: &[u8]| {
        let fields = vec![field("mine", value)];
        let user = NAMES[of].into();
        scene.cell(
            who,
            Call::EditMember(GroupMemberEdit {
                group: scene.id.clone(),
                user,
                fields,
                ..GroupMemberEdit::default()
            }),
        )
    };
    assert_eq!(own(&mut scene, MEMBER, MEMBER, b"1"), Done, "one's own");
    assert_eq!(own(&mut scene, MEMBER, ADMIN, b"1"), DENIED);
    assert_eq!(own(&mut scene, ADMIN, MEMBER, &[1; 64]), Done);
    assert_eq!(own(&mut scene, ADMIN, MEMBER, &[1; 65]), Cell::Code(10004));
    assert_eq!(own(&mut scene, ADMIN, OWNER, b"1"), DENIED, "above the writer");
    assert_eq!(own(&mut scene, ADMIN, MEMBER, b""), Done, "an empty value deletes");
}

#[test]
fn attributes_and_counters_have_their_limits() {
    use body::{
        GroupAttribute, GroupAttributesWrite, GroupCounter, GroupCountersWrite, group_attributes_write,
        group_counters_write,
    };
    let mut scene = Scene::active("AVChatRoom");
    let attributes =
        |scene: &mut Scene, how: group_attributes_write::How, items: Vec<(String, String)>, version| {
            let items = items.into_iter().map(|(key, value)| GroupAttribute { key, value }).collect();
            scene.world.now_ms += 1000;
            let write = GroupAttributesWrite { group: scene.id.clone(), how: how.into(), items, version };
            scene.cell(MEMBER, Call::WriteAttributes(write))
        };
    use group_attributes_write::How::{Clear, Delete, Merge, Replace};
    let one = |key: usize, value: usize| vec![("k".repeat(key), "v".repeat(value))];
    let many =
        |n: usize, value: usize| (0..n).map(|n| (format!("k{n}"), "v".repeat(value))).collect::<Vec<_>>();
    assert_eq!(attributes(&mut scene, Merge, one(32, 4000), None), Done);
    assert_eq!(attributes(&mut scene, Merge, one(33, 1), None), Cell::Code(10045));
    assert_eq!(attributes(&mut scene, Merge, one(1, 4001), None), Cell::Code(10046));
    assert_eq!(attributes(&mut scene, Merge, many(16, 1), None), Cell::Code(10047));
    assert_eq!(attributes(&mut scene, Replace, many(5, 3201), None), Cell::Code(10048));
    assert_eq!(attributes(&mut scene, Replace, many(16, 1000), Some(1)), Done);
    assert_eq!(attributes(&mut scene, Replace, many(1, 1), Some(1)), Cell::Code(10056));
    assert_eq!(attributes(&mut scene, Delete, many(1, 0), None), Done);
    assert_eq!(attributes(&mut scene, Delete, many(1, 0), None), Cell::Code(10050));
    assert_eq!(attributes(&mut scene, Clear, vec![], None), Done);
    scene.world.now_ms += 1000 - scene.world.now_ms % 1000;
    let write = GroupAttributesWrite { group: scene.id.clone(), ..GroupAttributesWrite::default() };
    let answers: Vec<_> = (0..6).map(|_| scene.cell(MEMBER, Call::WriteAttributes(write.clone()))).collect();
    assert_eq!(answers[4..], [Done, Cell::Code(10049)]);

    let counters = |scene: &mut Scene, how: group_counters_write::How, items: Vec<(&str, i64)>| {
        let items = items.into_iter().map(|(key, value)| GroupCounter { key: key.into(), value }).collect();
        scene.ask(
            MEMBER,
            Call::WriteCounters(GroupCountersWrite { group: scene.id.clone(), how: how.into(), items }),
        )
    };
    use group_counters_write::How as By;
    let value = |answer: Result<Answer, u32>| match answer {
        Ok(Answer::Counters(counters)) => {
            Ok(counters.items.iter().map(|item| item.value).collect::<Vec<_>>())
        }
        Err(code) => Err(code),
        other => panic!("{other:?}"),
    };
    assert_eq!(value(counters(&mut scene, By::Increase, vec![("likes", 3)])), Ok(vec![3]), "begins at 0");
    assert_eq!(value(counters(&mut scene, By::Decrease, vec![("likes", 5)])), Ok(vec![-2]));
    assert_eq!(value(counters(&mut scene, By::Set, vec![("likes", i64::MAX)])), Ok(vec![i64::MAX]));
    assert_eq!(
        value(counters(&mut scene, By::Increase, vec![("likes", 1)])),
        Ok(vec![i64::MAX]),
        "stays at the end"
    );
    let keys: Vec<_> = (0..20).map(|n| format!("c{n}")).collect();
    let more = keys.iter().map(|key| (key.as_str(), 1)).collect();
    assert_eq!(value(counters(&mut scene, By::Set, more)), Err(10063));
    let long = "k".repeat(129);
    assert_eq!(value(counters(&mut scene, By::Set, vec![(&long, 1)])), Err(10004));
    assert_eq!(value(counters(&mut scene, By::Delete, vec![])), Ok(vec![]));
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

#[test]
fn requests_that_cannot_be_are_refused() {
    let mut scene = Scene::active("Public");
    let many = |n: usize| (0..n).map(|n| format!("u{n}")).collect::<Vec<_>>();
    let id = scene.id.clone();
    let cases = [
        (
            Call::Invite(body::GroupInvite {
                group: id.clone(),
                users: many(301),
                ..body::GroupInvite::default()
            }),
            10005,
        ),
        (
            Call::Kick(body::GroupKick { group: id.clone(), users: many(501), ..body::GroupKick::default() }),
            10005,
        ),
        (
            Call::Ban(body::GroupBan {
                group: id.clone(),
                users: many(21),
                seconds: 1,
                reason: String::new(),
            }),
            10005,
        ),
        (
            Call::Ban(body::GroupBan {
                group: id.clone(),
                users: many(1),
                seconds: 0,
                reason: String::new(),
            }),
            10004,
        ),
        (Call::Mute(body::GroupMute { group: id.clone(), users: vec![], seconds: 1 }), 10004),
        (
            Call::Mute(body::GroupMute { group: id.clone(), users: vec!["\u{200b}".into()], seconds: 1 }),
            10004,
        ),
        (Call::Roles(body::GroupAccounts { group: id.clone(), users: many(501) }), 10005),
        (Call::Info(body::GroupNames { groups: many(51) }), 10054),
        (
            Call::Members(body::GroupMembersPage {
                group: id.clone(),
                limit: 201,
                ..body::GroupMembersPage::default()
            }),
            10054,
        ),
        (
            Call::Members(body::GroupMembersPage {
                group: "nowhere".into(),
                ..body::GroupMembersPage::default()
            }),
            10010,
        ),
        (
            Call::Members(body::GroupMembersPage {
                group: "\u{202e}".into(),
                ..body::GroupMembersPage::default()
            }),
            10015,
        ),
        (Call::Quit(body::GroupRef { group: String::new() }), 10015),
        (
            Call::Handle(body::GroupHandle {
                group: id.clone(),
                user: "dave".into(),
                agree: true,
                text: String::new(),
            }),
            10004,
        ),
    ];
    for (call, want) in cases {
        assert_eq!(scene.ask(OWNER, call.clone()), Err(want), "{call:?}");
    }
    let frame = scene.world.frame(scene.sessions[OWNER], Kind::GROUP, 9, vec![0xff; 40]);
    scene.world.desk(vec![frame]);
    assert!(answer::<GroupAnswer>(&scene.world.received(0)[0]).is_err());
    let frame =
        scene.world.frame(scene.sessions[OWNER], Kind::GROUP, 9, GroupCall::default().encode_to_vec());
    scene.world.desk(vec![frame]);
    assert_eq!(answer::<GroupAnswer>(&scene.world.received(0)[0]), Err(10003));
}
