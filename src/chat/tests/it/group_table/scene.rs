//! A group with everybody that the table asks for, and how a cell is found.

use nearport_chat::group::Rank;
use nearport_chat::key::GroupKey;
use nearport_chat::ledger::{Append, IdemKey};
use nearport_chat::posts::Post;
use nearport_chat::{Config, group};
use nearport_store::{MemoryDirectory, MemoryLedger};
use nearport_trunk::{Down, SessionId};
use nearport_wire::Kind;
use nearport_wire::body::{
    self, GroupAnswer, GroupCall, GroupCreate, GroupEdit, GroupInviteResult, GroupMemberEdit, GroupNewMember,
    GroupRole, group_answer::Answer, group_call::Call,
};
use prost::Message as _;

use crate::world::{APP, World, answer, directory, send, user};

/// What a cell of the table says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Cell {
    Done,
    /// It waits for somebody's approval.
    Waits,
    Code(u32),
    /// There is nobody who could try.
    Nobody,
}

pub(super) use Cell::{Done, Nobody, Waits};

pub(super) const DENIED: Cell = Cell::Code(10007);

pub(super) const TYPES: [&str; 5] = ["Work", "Public", "Meeting", "AVChatRoom", "Community"];

/// A group with its owner alice, its administrator bob, its member carol; dave is not in it.
pub(super) struct Scene {
    pub(super) world: World,
    pub(super) id: String,
    pub(super) sessions: [SessionId; 4],
    pub(super) admins: bool,
    /// Messages that [`Self::say`] has made.
    pub(super) said: u8,
}

pub(super) const OWNER: usize = 0;
pub(super) const ADMIN: usize = 1;
pub(super) const MEMBER: usize = 2;
pub(super) const STRANGER: usize = 3;
pub(super) const NAMES: [&str; 4] = ["alice", "bob", "carol", "dave"];

pub(super) fn config() -> Config {
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

pub(super) fn world(config: Config) -> World {
    let directory: MemoryDirectory = directory();
    World::over(std::sync::Arc::new(MemoryLedger::new()), std::sync::Arc::new(directory), config)
}

impl Scene {
    pub(super) fn new(kind: &str) -> Self {
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
        let mut scene = Self { world, id: String::new(), sessions, admins: row.admins, said: 0 };
        match scene.ask(OWNER, Call::Create(create)) {
            Ok(Answer::Id(id)) => scene.id = id.group,
            other => panic!("{kind}: {other:?}"),
        }
        scene
    }

    /// One that everybody sees: with a message.
    pub(super) fn active(kind: &str) -> Self {
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

    pub(super) fn key(&self) -> GroupKey {
        GroupKey::new(nearport_chat::key::AppId(APP), &self.id).unwrap()
    }

    /// A message of the group, as the writer stores one.
    pub(super) fn message(&mut self, n: u8) {
        let append = Append {
            conv: self.key().conv(),
            idem: IdemKey { sender: user("alice"), client_msg_id: [n; 16] },
            logs: Vec::new(),
            time_ms: self.world.now_ms,
            body: body::Message { from: "alice".into(), ..body::Message::default() }.encode_to_vec().into(),
            uncounted: false,
        };
        assert!(self.world.shared.posts().push(vec![Post { append, done: None }]).is_empty());
        self.world.write(Vec::new());
    }

    /// A new process: what is in memory of the group is read anew.
    pub(super) fn reload(&mut self) {
        self.world.restart();
        self.sessions = NAMES.map(|name| self.world.login(name, "phone"));
    }

    pub(super) fn ask(&mut self, who: usize, call: Call) -> Result<Answer, u32> {
        let call = GroupCall { call: Some(call) }.encode_to_vec();
        let frame = self.world.frame(self.sessions[who], Kind::GROUP, 9, call);
        self.world.desk(vec![frame]);
        let downs = self.world.received(0);
        let reply = downs.iter().find(|down| matches!(down, Down::Reply { .. }));
        answer::<GroupAnswer>(reply.expect("an answer")).map(|reply| reply.answer.expect("a known answer"))
    }

    pub(super) fn cell(&mut self, who: usize, call: Call) -> Cell {
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

    /// Asks the writer, or for history the front; what comes back is for who asked.
    pub(super) fn tell<M: prost::Message + Default>(
        &mut self,
        who: usize,
        kind: Kind,
        body: &impl prost::Message,
    ) -> Result<M, u32> {
        let session = self.sessions[who];
        let frame = self.world.frame(session, kind, 9, body.encode_to_vec());
        match kind {
            Kind::HISTORY => self.world.front(vec![frame]),
            _ => self.world.write(vec![frame]),
        }
        let downs = self.world.received(0);
        let mine = |down: &&Down| matches!(down, Down::Reply { session: to, .. } if *to == session);
        answer(downs.iter().find(mine).expect("an answer"))
    }

    pub(super) fn target(&self) -> body::Target {
        body::Target { target: Some(body::target::Target::Group(self.id.clone())) }
    }

    /// A message of `who`'s, as `change` makes it.
    pub(super) fn say(&mut self, who: usize, change: fn(&mut body::Send)) -> Result<body::Sent, u32> {
        self.said += 1;
        let mut message = body::Send { to: Some(self.target()), ..send("", 100 + self.said) };
        change(&mut message);
        self.tell(who, Kind::SEND, &message)
    }

    /// The same as a cell.
    pub(super) fn said(&mut self, who: usize, change: fn(&mut body::Send)) -> Cell {
        match who == ADMIN && !self.admins {
            true => Nobody,
            false => self.say(who, change).map_or_else(Cell::Code, |_| Done),
        }
    }

    pub(super) fn edit(&self) -> GroupEdit {
        GroupEdit { group: self.id.clone(), ..GroupEdit::default() }
    }

    pub(super) fn named(&self) -> Call {
        Call::Edit(GroupEdit { name: Some("new".into()), ..self.edit() })
    }

    pub(super) fn kick(&self, who: usize) -> Call {
        Call::Kick(body::GroupKick {
            group: self.id.clone(),
            users: vec![NAMES[who].into()],
            ..body::GroupKick::default()
        })
    }

    pub(super) fn mute(&self, who: usize) -> Call {
        Call::Mute(body::GroupMute { group: self.id.clone(), users: vec![NAMES[who].into()], seconds: 60 })
    }

    pub(super) fn ban(&self, who: usize) -> Call {
        let users = vec![NAMES[who].into()];
        Call::Ban(body::GroupBan { group: self.id.clone(), users, seconds: 60, reason: String::new() })
    }

    pub(super) fn invite(&self, who: usize) -> Call {
        let invite = body::GroupInvite {
            group: self.id.clone(),
            users: vec![NAMES[who].into()],
            ..body::GroupInvite::default()
        };
        Call::Invite(invite)
    }

    pub(super) fn join(&self) -> Call {
        Call::Join(body::GroupJoin { group: self.id.clone(), text: "please".into() })
    }

    pub(super) fn role(&self, who: usize, role: GroupRole) -> Call {
        Call::EditMember(GroupMemberEdit {
            group: self.id.clone(),
            user: NAMES[who].into(),
            role: role.into(),
            ..GroupMemberEdit::default()
        })
    }

    pub(super) fn myself(&self) -> body::GroupRef {
        body::GroupRef { group: self.id.clone() }
    }

    pub(super) fn members(&self) -> Call {
        Call::Members(body::GroupMembersPage { group: self.id.clone(), ..body::GroupMembersPage::default() })
    }

    pub(super) fn tips(&self) -> u64 {
        self.world.ledger.heads(&[self.key().conv()]).unwrap()[0].seq
    }
}

/// A row: what is tried, and what comes of it for each of [`TYPES`].
pub(super) type Row = (&'static str, fn(&mut Scene) -> Cell, [Cell; 5]);

/// Tries each row in a scene of its own for each type, and says which cells are wrong.
pub(super) fn check(rows: Vec<Row>) {
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
