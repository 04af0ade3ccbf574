//! Accounts that an administrator keeps from sending.

use nearport_chat::Error;
use nearport_trunk::{Down, SessionId};
use nearport_wire::Kind;
use nearport_wire::body::{
    self, Amend, Amended, GroupAnswer, GroupCall, GroupCreate, GroupNewMember, Sent, Target, amend,
    group_call::Call, target,
};
use prost::Message as _;

use crate::world::{START_MS, World, answer, send, text_content, to_user, user};

const USERS: u32 = 20012;
const GROUPS: u32 = 10017;

struct Scene {
    world: World,
    alice: SessionId,
    said: u8,
}

fn to_group(id: &str) -> Target {
    Target { target: Some(target::Target::Group(id.to_owned())) }
}

impl Scene {
    /// Alice with bob in the group "g", and in the live room "live".
    fn new() -> Self {
        let mut world = World::new();
        let alice = world.login("alice", "phone");
        let mut scene = Self { world, alice, said: 0 };
        for (id, kind, members) in [("g", "Public", vec!["bob"]), ("live", "AVChatRoom", vec![])] {
            let member = |name: &str| GroupNewMember { user: name.into(), ..GroupNewMember::default() };
            let members = members.into_iter().map(member).collect();
            let (group, r#type, name) = (id.into(), kind.into(), "name".into());
            scene.desk(Call::Create(GroupCreate { group, r#type, name, members, ..GroupCreate::default() }));
        }
        scene.desk(Call::Join(body::GroupJoin { group: "live".into(), ..body::GroupJoin::default() }));
        scene
    }

    fn desk(&mut self, call: Call) -> GroupAnswer {
        let body = GroupCall { call: Some(call) }.encode_to_vec();
        let frame = self.world.frame(self.alice, Kind::GROUP, 8, body);
        self.world.desk(vec![frame]);
        let downs = self.world.received(0);
        answer(downs.iter().find(|down| matches!(down, Down::Reply { .. })).unwrap()).unwrap()
    }

    fn ask<M: prost::Message + Default>(&mut self, kind: Kind, body: &impl prost::Message) -> Result<M, u32> {
        let frame = self.world.frame(self.alice, kind, 9, body.encode_to_vec());
        self.world.write(vec![frame]);
        let (downs, alice) = (self.world.received(0), self.alice);
        let mine = |down: &&Down| matches!(down, Down::Reply { session, .. } if *session == alice);
        answer(downs.iter().find(mine).expect("an answer"))
    }

    fn say(&mut self, to: Target, online_only: bool) -> Option<u32> {
        self.said += 1;
        let send = body::Send { to: Some(to), online_only, ..send("", self.said) };
        self.ask::<Sent>(Kind::SEND, &send).err()
    }

    /// Codes of messages to a user, a group and a live room.
    fn codes(&mut self) -> [Option<u32>; 3] {
        let codes = [to_user("bob"), to_group("g"), to_group("live")].map(|to| self.say(to, false));
        // What is not stored is a message too.
        assert_eq!(self.say(to_user("bob"), true), codes[0]);
        codes
    }

    fn amend(&mut self, with: Target, recalled: bool) -> Option<u32> {
        let with = Some(with);
        let amend = match recalled {
            true => amend::Amend::Recall(body::Recall { with, seq: 1, reason: String::new() }),
            false => {
                let elements = text_content("changed").elements;
                amend::Amend::Edit(body::Edit { with, seq: 1, elements, cloud_custom_data: None })
            }
        };
        self.ask::<Amended>(Kind::AMEND, &Amend { amend: Some(amend) }).err()
    }

    fn mute(&self, users_s: Option<u32>, groups_s: Option<u32>) {
        self.world.shared.set_account_mutes(&user("alice"), users_s, groups_s, self.world.now_ms).unwrap();
    }

    fn left(&self) -> (u32, u32) {
        self.world.shared.account_mutes(&user("alice"), self.world.now_ms).unwrap()
    }
}

#[test]
fn a_muted_account_says_nothing_until_its_time_is_over() {
    let mut scene = Scene::new();
    assert_eq!((scene.codes(), scene.left()), ([None; 3], (0, 0)));
    // Of users alone, of groups alone; what is not named stays.
    scene.mute(Some(10), None);
    assert_eq!((scene.codes(), scene.left()), ([Some(USERS), None, None], (10, 0)));
    scene.mute(None, Some(20));
    let both = [Some(USERS), Some(GROUPS), Some(GROUPS)];
    assert_eq!((scene.codes(), scene.left()), (both, (10, 20)));
    scene.world.now_ms += 9_999;
    assert_eq!((scene.codes(), scene.left()), (both, (1, 11)));
    scene.world.now_ms += 1;
    assert_eq!((scene.codes(), scene.left()), ([None, Some(GROUPS), Some(GROUPS)], (0, 10)));
    scene.mute(Some(u32::MAX), Some(0));
    scene.world.now_ms += 100 * 365 * 86_400 * 1000;
    assert_eq!((scene.codes(), scene.left()), ([Some(USERS), None, None], (u32::MAX, 0)));
    scene.mute(Some(u32::MAX - 1), None);
    assert_eq!(scene.left().0, u32::MAX - 1);
    scene.mute(Some(0), None);
    assert_eq!((scene.codes(), scene.left()), ([None; 3], (0, 0)));
}

#[test]
fn an_edit_is_a_message_and_a_recall_is_not() {
    let mut scene = Scene::new();
    assert_eq!(scene.codes(), [None; 3]);
    scene.mute(Some(10), Some(10));
    assert_eq!(scene.amend(to_user("bob"), false), Some(USERS));
    assert_eq!(scene.amend(to_group("g"), false), Some(GROUPS));
    assert_eq!(scene.amend(to_user("bob"), true), None);
}

#[test]
fn the_writer_asks_what_is_in_memory_and_a_restart_forgets_nothing() {
    let mut scene = Scene::new();
    // Behind the back of the process: nothing reads the directory again, message for message.
    let until_ms = Some(START_MS + 10_000);
    scene.world.directory.set_mutes(&user("alice"), until_ms, until_ms).unwrap();
    assert_eq!(scene.codes(), [None; 3]);
    scene.mute(Some(20), None);
    assert_eq!(scene.left(), (20, 10), "only what is named was written");
    scene.world.restart();
    scene.alice = scene.world.login("alice", "phone");
    assert_eq!([to_user("bob"), to_group("g")].map(|to| scene.say(to, false)), [Some(USERS), Some(GROUPS)]);
}

#[test]
fn nobody_else_is_muted_and_who_has_no_account_is_told() {
    let mut scene = Scene::new();
    scene.mute(Some(u32::MAX), Some(u32::MAX));
    scene.alice = scene.world.login("bob", "phone");
    scene.desk(Call::Join(body::GroupJoin { group: "live".into(), ..body::GroupJoin::default() }));
    let codes = [to_user("alice"), to_group("g"), to_group("live")].map(|to| scene.say(to, false));
    assert_eq!(codes, [None; 3]);
    let (nobody, now_ms) = (user("nobody"), scene.world.now_ms);
    let shared = &scene.world.shared;
    assert!(matches!(shared.set_account_mutes(&nobody, Some(1), None, now_ms), Err(Error::NoAccount)));
    assert!(matches!(shared.account_mutes(&nobody, now_ms), Err(Error::NoAccount)));
}
