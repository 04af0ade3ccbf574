//! A group with everybody that the tables ask for, and what comes of an act.

use std::sync::atomic::{AtomicU64, Ordering};

use nearport_chat::group::{GroupType, Types};
use nearport_client::groups::{
    GroupAttribute, GroupAttributesWrite, GroupCounter, GroupCountersWrite, GroupCreate, GroupEdit,
    GroupField, GroupInviteResult, GroupMemberEdit, GroupNewMember, Joined,
};
use nearport_client::{
    Client, Event, HistoryRange, Message, Platform, Receive, RequestError, Target, group, text, user,
};
use nearport_wire::body::{group_attributes_write, group_counters_write};

use super::act::{Act, Set, Which, Who};
use super::look::role_name;
use crate::contract::stage::{Device, Stage, now_s};
use crate::contract::{Cell, Got};
use crate::node::STUCK;

/// Not a group: owner and member write to each other.
pub(crate) const PAIR: &str = "C2C";

/// In the order of the tables' columns.
pub(crate) const TYPES: [&str; 5] = ["Work", "Public", "Meeting", "AVChatRoom", "Community"];

/// The users of one type's table, each with a device; the member has a second one.
pub(crate) struct Cast {
    pub(crate) kind: &'static str,
    /// `None`: a pair.
    pub(crate) row: Option<std::sync::Arc<GroupType>>,
    devices: Vec<Device>,
    elsewhere: Device,
    absent: String,
    counter: AtomicU64,
}

impl Cast {
    pub(crate) async fn new(stage: &Stage, kind: &'static str) -> Self {
        // Those that an operator adds have a base.
        let row = Types::default().find(if ["Small", "Polite"].contains(&kind) { "Public" } else { kind });
        assert!(row.is_some() || kind == PAIR, "no type {kind}");
        let name = |who: &str| format!("{}-{who}", kind.to_lowercase());
        let mut devices = Vec::new();
        for who in ["owner", "admin", "member", "stranger"] {
            devices.push(stage.login(&name(who)).await);
        }
        let elsewhere = stage.login_on(&name("member"), "elsewhere", Platform::Windows).await;
        let absent = name("absent");
        let mut gone = stage.config(&absent);
        gone.receive = Receive::Nothing;
        stage.login_with(gone).await.close().await;
        Self { kind, row, devices, elsewhere, absent, counter: AtomicU64::new(1) }
    }

    pub(crate) fn device(&self, who: Who) -> &Device {
        match who {
            Who::Owner => &self.devices[0],
            Who::Admin => &self.devices[1],
            Who::Member => &self.devices[2],
            Who::Stranger => &self.devices[3],
            Who::Elsewhere => &self.elsewhere,
            Who::Absent => panic!("the absent one does nothing"),
        }
    }

    pub(crate) fn name(&self, who: Who) -> &str {
        match who {
            Who::Absent => &self.absent,
            who => &self.device(who).name,
        }
    }

    fn has_admins(&self) -> bool {
        self.row.as_ref().is_some_and(|row| row.admins)
    }

    /// Members are sessions.
    pub(super) fn is_room(&self) -> bool {
        self.row.as_ref().is_some_and(|row| !row.stored_members)
    }

    fn everybody(&self) -> impl Iterator<Item = &Device> {
        self.devices.iter().chain([&self.elsewhere])
    }

    pub(super) fn count(&self) -> u64 {
        self.counter.fetch_add(1, Ordering::Relaxed)
    }

    pub(crate) async fn close(self) {
        for device in self.devices {
            device.close().await;
        }
        self.elsewhere.close().await;
    }
}

/// A message as its sender knows it.
#[derive(Debug, Clone, Default)]
pub(super) struct Said {
    pub(super) by: String,
    pub(super) text: String,
    pub(super) seq: u64,
    pub(super) time_ms: u64,
    pub(super) msg_key: String,
    pub(super) client_msg_id: Vec<u8>,
}

/// One group of a cast.
pub(crate) struct Scene<'a> {
    pub(super) cast: &'a Cast,
    pub(super) id: String,
    pub(super) said: Said,
    /// Places of messages that were said at once.
    pub(super) flood: Vec<nearport_client::Sent>,
    /// Of a pair, which has been there before: only what comes behind it is of this scene.
    pub(super) since: u64,
    pub(super) began_s: u64,
}

impl<'a> Scene<'a> {
    /// With its owner, an administrator where there are some (else a plain member), a member and an absent one; of live rooms owner and
    /// member have come in. `fresh`: nobody has said anything.
    pub(crate) async fn new(cast: &'a Cast, fresh: bool) -> Self {
        cast.everybody().for_each(Device::forget);
        let (mut scene, owner) = (
            Self {
                cast,
                id: String::new(),
                said: Said::default(),
                flood: Vec::new(),
                since: 0,
                began_s: now_s(),
            },
            cast.device(Who::Owner),
        );
        match &cast.row {
            None => {
                for who in [Who::Owner, Who::Member] {
                    let with = scene.target_of(who);
                    scene.since = cast
                        .device(who)
                        .client
                        .history(with.clone(), HistoryRange::Newest, 1)
                        .await
                        .unwrap()
                        .head;
                    cast.device(who).client.mark_read(with, scene.since).await.unwrap();
                }
            }
            Some(row) => {
                let member =
                    |who, admin| GroupNewMember { user: cast.name(who).into(), admin, fields: Vec::new() };
                let members = match row.stored_members {
                    true => vec![
                        member(Who::Admin, row.admins),
                        member(Who::Member, false),
                        member(Who::Absent, false),
                    ],
                    false => Vec::new(),
                };
                let create = GroupCreate {
                    r#type: cast.kind.into(),
                    name: "group".into(),
                    members,
                    ..GroupCreate::default()
                };
                scene.id = owner.client.create_group(create).await.unwrap();
            }
        }
        if cast.is_room() {
            for who in [Who::Owner, Who::Member] {
                cast.device(who).client.join_live_room(&scene.id).await.unwrap();
            }
        }
        // What the making brought about is in front of all that is said.
        owner.client.flush().await.unwrap();
        if !fresh {
            assert_eq!(scene.act(Who::Owner, Act::Say(super::act::Msg::Plain), None).await, Got::Done);
        }
        scene
    }

    /// The group is gone for everybody: a session is in a few live rooms only.
    pub(crate) async fn end(self) {
        if self.cast.is_room() {
            let _ = self.client(Who::Owner).dismiss_group(&self.id).await;
            for device in &self.cast.devices {
                let _ = device.client.quit_group(&self.id).await;
            }
        }
    }

    pub(super) fn client(&self, who: Who) -> &Client {
        &self.cast.device(who).client
    }

    /// The conversation as `who` names it.
    pub(super) fn target_of(&self, who: Who) -> Target {
        match (&self.cast.row, who) {
            (Some(_), _) => group(&*self.id),
            (None, Who::Owner) => user(self.cast.name(Who::Member)),
            (None, _) => user(self.cast.name(Who::Owner)),
        }
    }

    pub(super) fn users(&self, who: Who) -> Vec<String> {
        vec![self.cast.name(who).to_owned()]
    }

    /// Tries something. `want` is what the table says, where the outcome is something that comes by itself: it is waited for, or seen not
    /// to have come.
    pub(crate) async fn act(&mut self, who: Who, act: Act, want: Option<Cell>) -> Got {
        if (who == Who::Admin && !self.cast.has_admins()) || (self.cast.row.is_none() && !act.is_talk()) {
            return Got::Nobody;
        }
        let (client, id) = (self.client(who).clone(), self.id.clone());
        match act {
            Act::Fresh => Got::Done,
            Act::Make(set) => self.make(&client, set).await,
            Act::Edit(set) => client.edit_group(edit(&id, set)).await.into(),
            Act::Look(get) => self.look(&client, get).await,
            Act::FindByName => self.info(&client, "group").await.map(|_| ()).into(),
            Act::Find => self.info(&client, &id).await.map(|_| ()).into(),
            Act::Members => client.group_members(&id, &[], "", 0).await.map(|page| page.items.len()).into(),
            Act::Join => match client.join_group(&id, "please").await {
                Ok(Joined::Pending) => Got::Waits,
                other => other.map(|_| ()).into(),
            },
            Act::Invite(whom) => match client.invite_to_group(&id, self.users(whom), "come").await {
                Ok(items) => match items[0].result() {
                    GroupInviteResult::GroupInviteAdded => Got::Done,
                    GroupInviteResult::GroupInviteWaiting => Got::Waits,
                    GroupInviteResult::GroupInviteKnown => "known".into(),
                    GroupInviteResult::GroupInviteFailed => "failed".into(),
                },
                Err(error) => Err::<(), _>(error).into(),
            },
            Act::Answer(whom, agree) => {
                client.handle_application(&id, self.cast.name(whom), agree, "so be it").await.into()
            }
            Act::Quit => client.quit_group(&id).await.into(),
            Act::Kick(whom) => client.kick_from_group(&id, self.users(whom), "").await.into(),
            Act::Ban(whom) => client.ban_from_group(&id, self.users(whom), 60, "").await.into(),
            Act::Unban(whom) => client.unban_from_group(&id, self.users(whom)).await.into(),
            Act::Mute(whom, seconds) => {
                client.mute_group_members(&id, self.users(whom), seconds).await.into()
            }
            Act::Role(whom, role) => client
                .edit_group_member(GroupMemberEdit { role: role.into(), ..self.edit_member(whom) })
                .await
                .into(),
            Act::Transfer(whom) => client.transfer_group(&id, self.cast.name(whom)).await.into(),
            Act::Dismiss => client.dismiss_group(&id).await.into(),
            Act::LookAt(whom, of) => match self.member(&client, whom).await {
                Ok(None) => "none".into(),
                Ok(Some(member)) => self.of(whom, member, of),
                Err(error) => Err::<(), _>(error).into(),
            },
            Act::RoleOf(whom) => {
                let roles = client.group_roles(&id, self.users(whom)).await;
                roles.map(|roles| role_name(roles[0].role())).into()
            }
            Act::Card(whom, card) => {
                let edit = GroupMemberEdit { name_card: Some(card.text()), ..self.edit_member(whom) };
                client.edit_group_member(edit).await.into()
            }
            Act::Receive(whom, how) => {
                let edit = GroupMemberEdit { reception: how.into(), ..self.edit_member(whom) };
                client.edit_group_member(edit).await.into()
            }
            Act::SetOf(whom, key, value) => {
                let fields = vec![field(key, value.text())];
                client.edit_group_member(GroupMemberEdit { fields, ..self.edit_member(whom) }).await.into()
            }
            Act::Muted => client.group_penalties(&id, false, "", 0).await.map(|page| page.items.len()).into(),
            Act::Banned => client.group_penalties(&id, true, "", 0).await.map(|page| page.items.len()).into(),
            Act::Applications => {
                let page = client.group_applications(&id, "", 0).await;
                page.map(|page| page.items.iter().filter(|one| one.handled_by.is_empty()).count()).into()
            }
            Act::Attribute(key, value) => {
                let items = vec![GroupAttribute { key: key.into(), value: value.text() }];
                let write = GroupAttributesWrite { group: id, items, ..GroupAttributesWrite::default() };
                client.write_group_attributes(write).await.map(|_| ()).into()
            }
            Act::Attributes => {
                client.group_attributes(&id, Vec::new()).await.map(|all| all.items.len()).into()
            }
            Act::DropAttribute(key) => {
                let items = vec![GroupAttribute { key: key.into(), value: String::new() }];
                let how = group_attributes_write::How::Delete.into();
                let write = GroupAttributesWrite { group: id, items, how, version: None };
                client.write_group_attributes(write).await.map(|_| ()).into()
            }
            Act::Count(key, value) => {
                let items = vec![GroupCounter { key: key.text(), value }];
                let how = group_counters_write::How::Increase.into();
                let write = GroupCountersWrite { group: id, items, how };
                client.write_group_counters(write).await.map(|_| ()).into()
            }
            Act::Counter(key) => {
                let counters = client.group_counters(&id, vec![key.into()]).await;
                let value = |all: Vec<GroupCounter>| {
                    all.first().map_or_else(|| "none".into(), |one| one.value.to_string())
                };
                counters.map(value).into()
            }
            Act::Empty
            | Act::Unknown
            | Act::NoText
            | Act::NoElement
            | Act::NoTextName
            | Act::MakeWithMany(_)
            | Act::InviteMany(_)
            | Act::KickMany(_)
            | Act::BanMany(_)
            | Act::RolesOfMany(_)
            | Act::InfosOfMany(_)
            | Act::MembersPage(_)
            | Act::AttributesMany(..)
            | Act::AttributesTwice(..)
            | Act::AttributeTimes(_)
            | Act::AttributeAt(_)
            | Act::CountersMany(_)
            | Act::MuteTimes(..)
            | Act::ShownFuture
            | Act::Holes => self.too_much(who, act).await,
            Act::Record(whom) => {
                let page = client.group_applications(&id, "", 0).await;
                page.map(|page| self.record(whom, page.items)).into()
            }
            act => self.talk(who, act, want).await,
        }
    }

    async fn make(&self, client: &Client, set: Set) -> Got {
        let mut create =
            GroupCreate { r#type: self.cast.kind.into(), name: "other".into(), ..GroupCreate::default() };
        let new = |user: &str, admin| vec![GroupNewMember { user: user.into(), admin, fields: Vec::new() }];
        match set {
            Set::Name(name) => create.name = name.text(),
            Set::Introduction(text) => create.introduction = text.text(),
            Set::Notification(text) => create.notification = text.text(),
            Set::FaceUrl(url) => create.face_url = url.text(),
            Set::MaxMemberNum(most) => create.members_max = most,
            Set::ApplyJoinOption(option) => create.join = option.into(),
            Set::InviteJoinOption(option) => create.invite = option.into(),
            Set::Custom(key, value) => create.fields = vec![field(key, value.text())],
            Set::Id(id) => create.group = id.text(),
            Set::Same => create.group.clone_from(&self.id),
            Set::Type(kind) => create.r#type = kind.into(),
            Set::With(who, admin) => create.members = new(self.cast.name(who), admin),
            Set::WithNobody => create.members = new("nobody-at-all", false),
            Set::ShutUpAllMember(_) => panic!("not when a group is made"),
        }
        let row = self.cast.row.as_ref().expect("a group");
        if let (Set::Id(_), Some(prefix)) = (set, row.own_id_prefix) {
            // The prefix of the type is part of the length that the table gives.
            if create.group.starts_with('x') {
                create.group.replace_range(..prefix.len(), prefix);
            }
        }
        // Ids of one's own are taken once: those that can be tell the table's types apart.
        if matches!(set, Set::Id(_)) && create.group.len() > 30 {
            let mark = format!("{}{:04}", &self.cast.kind[..2], self.cast.count());
            let at = create.group.len() - mark.len();
            create.group.replace_range(at.., &mark);
        }
        match client.create_group(create).await {
            Ok(id) => {
                let _ = client.dismiss_group(&id).await;
                Got::Done
            }
            Err(error) => Err::<(), _>(error).into(),
        }
    }

    fn edit_member(&self, whom: Who) -> GroupMemberEdit {
        let user = self.cast.name(whom).to_owned();
        GroupMemberEdit { group: self.id.clone(), user, ..GroupMemberEdit::default() }
    }

    /// All of a conversation of the scene that `client` may read, oldest first.
    pub(super) async fn history(&self, client: &Client, with: Target) -> Result<Vec<Message>, RequestError> {
        client.flush().await?;
        let mut all = Vec::new();
        let mut after = self.since;
        loop {
            let page = client.history(with.clone(), HistoryRange::After(after), 200).await?;
            all.extend(page.messages);
            if page.complete {
                return Ok(all);
            }
            after = page.next;
        }
    }

    pub(super) async fn seq(&self, which: Which) -> u64 {
        let of_tip = |message: &Message| message.tip().is_some();
        match which {
            Which::Last => self.said.seq.max(1),
            Which::Future => 999_999,
            Which::Unstored => 0,
            Which::First | Which::Tip => {
                let all = self
                    .history(self.client(Who::Owner), self.target_of(Who::Owner))
                    .await
                    .unwrap_or_default();
                let tips = matches!(which, Which::Tip);
                let mut found =
                    all.iter().filter(|message| of_tip(message) == tips).map(|message| message.seq);
                if tips { found.next_back() } else { found.next() }.unwrap_or(999_999)
            }
        }
    }

    /// Until the server's clock is so far past the last message: each round trip, which ends on the disk, takes a part of it.
    pub(super) async fn pass(&self, ms: u64) {
        let owner = self.cast.device(Who::Owner);
        let passed = async {
            loop {
                let sent = owner.client.send(user(&*owner.name), text("tick")).await.unwrap();
                if sent.time_ms > self.said.time_ms + ms {
                    return;
                }
            }
        };
        let passed = tokio::time::timeout(STUCK, passed).await;
        passed.unwrap_or_else(|_| panic!("the server's clock has not moved by {ms} ms"));
    }

    pub(super) fn is_here(&self, message: &Message) -> bool {
        match &self.cast.row {
            Some(_) => message.group() == Some(&self.id),
            // Fences are told apart by their text.
            None => message.group().is_none(),
        }
    }

    /// Whether `device` is told something, which `find` knows: waited for if `want` says that it is.
    pub(super) async fn comes(
        &self,
        who: Who,
        what: &str,
        want: Option<Cell>,
        find: impl Fn(&Event) -> bool,
    ) -> Got {
        let device = self.cast.device(who);
        if want == Some(Cell::Says("yes")) {
            device.until(what, |events| events.iter().any(&find).then_some(())).await;
            return true.into();
        }
        let sender = if who == Who::Owner { Who::Stranger } else { Who::Owner };
        device.fence(self.cast.device(sender)).await;
        device.events().iter().any(find).into()
    }
}

fn edit(group: &str, set: Set) -> GroupEdit {
    let mut edit = GroupEdit { group: group.into(), ..GroupEdit::default() };
    match set {
        Set::Name(name) => edit.name = Some(name.text()),
        Set::Introduction(text) => edit.introduction = Some(text.text()),
        Set::Notification(text) => edit.notification = Some(text.text()),
        Set::FaceUrl(url) => edit.face_url = Some(url.text()),
        Set::MaxMemberNum(most) => edit.members_max = Some(most),
        Set::ApplyJoinOption(option) => edit.join = option.into(),
        Set::InviteJoinOption(option) => edit.invite = option.into(),
        Set::ShutUpAllMember(on) => edit.muted_all = Some(on),
        Set::Custom(key, value) => edit.fields = vec![field(key, value.text())],
        Set::Id(_) | Set::Same | Set::Type(_) | Set::With(..) | Set::WithNobody => {
            panic!("only when a group is made")
        }
    }
    edit
}

fn field(key: &str, value: String) -> GroupField {
    GroupField { key: key.into(), value: value.into() }
}
