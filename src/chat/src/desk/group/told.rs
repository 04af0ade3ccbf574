//! What back ends hear of changes of groups.

use std::collections::BTreeMap;

use nearport_wire::body::group_call::Call;
use serde_json::{Value, json};

use crate::callback::{Callbacks, Command, Event, Origin};
use crate::desk::Caller;
use crate::group::{Change, Group, GroupInfo, TopicInfo};
use crate::key::{GroupKey, UserKey};

/// Users that one event names: a group may have 100,000.
const USERS_MAX: usize = 1000;

/// A group as it was before a request, as far as events ask for it.
pub(super) struct Before {
    info: GroupInfo,
    members: Vec<UserKey>,
    count: usize,
    /// Topics that change.
    topics: BTreeMap<GroupKey, TopicInfo>,
}

impl Before {
    pub(super) fn new(group: &Group, changes: &[Change]) -> Self {
        // Only its end tells of all.
        let ends = changes.iter().any(|change| matches!(change, Change::Dismiss));
        let known = |user: &&UserKey| group.member(user).is_some();
        let members: Vec<_> = match ends {
            true => group.members().map(|(user, _)| user.clone()).take(USERS_MAX).collect(),
            false => put(changes).filter(known).cloned().collect(),
        };
        let topics = changes.iter().filter_map(|change| match change {
            Change::PutTopic(key, _) => Some((key.clone(), group.topic(key).ok()?.clone())),
            _ => None,
        });
        Self { info: group.info().clone(), members, count: group.member_count(), topics: topics.collect() }
    }

    fn has(&self, user: &UserKey) -> bool {
        self.members.contains(user)
    }
}

fn put(changes: &[Change]) -> impl Iterator<Item = &UserKey> {
    changes.iter().filter_map(|change| match change {
        Change::PutMember(user, _) => Some(user),
        _ => None,
    })
}

fn names<'u>(field: &'static str, users: impl Iterator<Item = &'u UserKey>) -> Value {
    users.take(USERS_MAX).map(|user| json!({ field: user.name() })).collect()
}

fn owner(info: &GroupInfo) -> &str {
    info.owner.as_ref().map_or("", UserKey::name)
}

/// The events of one request, on one group.
pub(super) struct Telling<'a> {
    pub(super) callbacks: &'a Callbacks,
    pub(super) caller: &'a Caller,
    pub(super) key: &'a GroupKey,
    pub(super) events: &'a mut Vec<Event>,
}

impl Telling<'_> {
    /// Whether anybody wants any of it: a request looks no further if nobody does.
    pub(super) fn is_wanted(callbacks: &Callbacks, key: &GroupKey) -> bool {
        const ANY: [Command; 10] = [
            Command::AfterCreateGroup,
            Command::AfterNewMember,
            Command::AfterMemberExit,
            Command::AfterGroupFull,
            Command::AfterGroupDestroyed,
            Command::AfterGroupInfoChanged,
            Command::AfterGroupAttrChanged,
            Command::AfterCreateTopic,
            Command::AfterTopicDestroyed,
            Command::AfterTopicInfoChanged,
        ];
        ANY.into_iter().any(|command| callbacks.wants(key.app(), command))
    }

    fn tell(&mut self, command: Command, kind: &str, mut fields: Value) {
        if !self.callbacks.wants(self.key.app(), command) {
            return;
        }
        fields["GroupId"] = self.key.id().into();
        if command != Command::AfterGroupFull {
            fields["Type"] = kind.into();
        }
        let event = Event::new(command, self.key.conv().as_bytes(), self.caller.origin, &fields);
        self.events.push(event);
    }

    /// A new group.
    pub(super) fn created(&mut self, group: &Group, changes: &[Change]) {
        let info = group.info();
        let own = info.fields.0.iter();
        let own = own.map(|(key, value)| json!({ "Key": key, "Value": String::from_utf8_lossy(value) }));
        let fields = json!({
            "Operator_Account": self.caller.actor().name(),
            "Owner_Account": owner(info),
            "Name": info.name,
            "MemberList": names("Member_Account", put(changes)),
            "UserDefinedDataList": own.collect::<Value>(),
        });
        self.tell(Command::AfterCreateGroup, &info.kind, fields);
    }

    /// A changed one, as it is now.
    pub(super) fn changed(&mut self, before: &Before, group: &Group, changes: &[Change]) {
        let (caller, kind) = (self.caller, before.info.kind.clone());
        let by = caller.actor().name();
        if changes.iter().any(|change| matches!(change, Change::Dismiss)) {
            let mut fields = json!({ "Owner_Account": owner(&before.info), "Name": before.info.name });
            if !group.kind().community {
                fields["MemberList"] = names("Member_Account", before.members.iter());
            }
            return self.tell(Command::AfterGroupDestroyed, &kind, fields);
        }
        let new: Vec<_> = put(changes).filter(|user| !before.has(user)).collect();
        if !new.is_empty() {
            // Who asked to come in has applied, also where somebody had to agree.
            let applied = |user: &&&UserKey| {
                let asked = |change: &Change| matches!(change, Change::PutApplication(by, _) | Change::RemoveApplication(by) if by == **user);
                caller.actor().is(user) || changes.iter().any(asked)
            };
            let (applied, invited): (Vec<_>, Vec<_>) = new.into_iter().partition(|user| applied(&user));
            for (how, users) in [("Apply", applied), ("Invited", invited)] {
                if !users.is_empty() {
                    let list = names("Member_Account", users.into_iter());
                    let fields = json!({ "JoinType": how, "Operator_Account": by, "NewMemberList": list });
                    self.tell(Command::AfterNewMember, &kind, fields);
                }
            }
            let most = group.info().members_max as usize;
            if most > 0 && before.count < most && group.member_count() >= most {
                self.tell(Command::AfterGroupFull, &kind, json!({}));
            }
        }
        let gone: Vec<_> = changes
            .iter()
            .filter_map(|change| match change {
                Change::RemoveMember(user) => Some(user),
                _ => None,
            })
            .collect();
        let (quit, kicked): (Vec<_>, Vec<_>) = gone.into_iter().partition(|user| caller.actor().is(user));
        for (how, users) in [("Quit", quit), ("Kicked", kicked)] {
            if !users.is_empty() {
                let list = names("Member_Account", users.into_iter());
                let fields = json!({ "ExitType": how, "Operator_Account": by, "ExitMemberList": list });
                self.tell(Command::AfterMemberExit, &kind, fields);
            }
        }
        self.profile(before, group.info(), &kind);
        self.topics(before, &kind, changes);
        let attributes: Vec<_> = changes
            .iter()
            .filter_map(|change| match change {
                Change::PutAttribute(key, value) => Some(json!({ "key": key, "value": value })),
                Change::RemoveAttribute(key) => Some(json!({ "key": key })),
                _ => None,
            })
            .collect();
        if !attributes.is_empty() {
            let fields = json!({ "Operator_Account": by, "GroupAttr": attributes });
            self.tell(Command::AfterGroupAttrChanged, &kind, fields);
        }
    }

    /// Topics that have come, have gone, or have another profile: of that only what has changed.
    fn topics(&mut self, before: &Before, kind: &str, changes: &[Change]) {
        let by = self.caller.actor().name();
        for change in changes {
            let Change::PutTopic(key, now) = change else { continue };
            let topic = json!({ "TopicId": key.id(), "Operator_Account": by });
            let Some(was) = before.topics.get(key) else {
                let mut fields = topic;
                fields["TopicName"] = now.name.as_str().into();
                self.tell(Command::AfterCreateTopic, kind, fields);
                continue;
            };
            let mut fields = topic;
            let all = [
                ("TopicName", &was.name, &now.name),
                ("Introduction", &was.introduction, &now.introduction),
                ("Notification", &was.notification, &now.notification),
                ("FaceUrl", &was.face_url, &now.face_url),
                ("CustomString", &was.custom, &now.custom),
            ];
            for (name, _, now) in all.into_iter().filter(|(_, was, now)| was != now) {
                fields[name] = now.as_str().into();
            }
            if was.muted_all != now.muted_all {
                fields["MuteAllMember"] = if now.muted_all { "On" } else { "Off" }.into();
            }
            self.tell(Command::AfterTopicInfoChanged, kind, fields);
        }
        let gone = changes.iter().filter_map(|change| match change {
            Change::RemoveTopic(key) => Some(Value::from(key.id())),
            _ => None,
        });
        let gone: Vec<_> = gone.collect();
        if !gone.is_empty() {
            self.tell(Command::AfterTopicDestroyed, kind, json!({ "TopicIdList": gone }));
        }
    }

    /// Somebody did not come in because it is full.
    pub(super) fn full(&mut self) {
        self.tell(Command::AfterGroupFull, "", json!({}));
    }

    /// Who came into a live room, or went out of it.
    pub(super) fn crossed(&mut self, kind: &str, how: Crossed, user: &UserKey) {
        let list = names("Member_Account", std::iter::once(user));
        let by = self.caller.actor().name();
        match how {
            Crossed::Came => {
                let fields = json!({ "JoinType": "Apply", "Operator_Account": by, "NewMemberList": list });
                self.tell(Command::AfterNewMember, kind, fields);
            }
            Crossed::CameBack => {
                if self.callbacks.wants(self.key.app(), Command::MemberStateChange) {
                    self.events.push(member_state(self.key, true, std::slice::from_ref(user)));
                }
            }
            Crossed::Quit => {
                let fields = json!({ "ExitType": "Quit", "Operator_Account": by, "ExitMemberList": list });
                self.tell(Command::AfterMemberExit, kind, fields);
            }
            Crossed::Banned => {
                let fields = json!({ "ExitType": "Kicked", "Operator_Account": by, "ExitMemberList": list });
                self.tell(Command::AfterMemberExit, kind, fields);
            }
        }
    }

    /// Only what has changed of its profile, and only what the contract tells of.
    fn profile(&mut self, before: &Before, now: &GroupInfo, kind: &str) {
        let was = &before.info;
        let all = [
            ("Name", &was.name, &now.name),
            ("Introduction", &was.introduction, &now.introduction),
            ("Notification", &was.notification, &now.notification),
            ("FaceUrl", &was.face_url, &now.face_url),
        ];
        let mut fields = json!({});
        for (name, was, now) in all {
            if was != now {
                fields[name] = now.as_str().into();
            }
        }
        if fields.as_object().is_some_and(|fields| !fields.is_empty()) {
            fields["Operator_Account"] = self.caller.actor().name().into();
            self.tell(Command::AfterGroupInfoChanged, kind, fields);
        }
    }
}

/// The group that somebody is to come into by a call.
pub(super) fn entered(call: &Call) -> Option<&str> {
    match call {
        Call::Join(asked) => Some(&asked.group),
        Call::Invite(asked) => Some(&asked.group),
        Call::Handle(asked) => Some(&asked.group),
        _ => None,
    }
}

/// How somebody came into a live room, or went out of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Crossed {
    Came,
    /// After having been away without a word.
    CameBack,
    Quit,
    Banned,
}

/// Members of a live room have gone without a word, or have come back.
pub(crate) fn member_state(room: &GroupKey, online: bool, users: &[UserKey]) -> Event {
    let fields = json!({
        "GroupId": room.id(),
        "EventType": if online { "Online" } else { "Offline" },
        "MemberList": names("Member_Account", users.iter()),
    });
    Event::new(Command::MemberStateChange, room.conv().as_bytes(), Origin::NONE, &fields)
}

/// What a back end is asked about a call of a client, before it is carried out.
pub(crate) fn question(
    caller: &Caller,
    call: &Call,
    (kind_of, kind_named): (impl Fn(&str) -> String, impl Fn(&str) -> String),
    own_groups: impl Fn(&str, &str) -> usize,
) -> Option<(Command, Event)> {
    let by = caller.actor().name();
    let (command, key, fields) = match call {
        Call::Create(asked) => {
            let members = asked.members.iter().take(USERS_MAX);
            let members: Value = members.map(|member| json!({ "Member_Account": member.user })).collect();
            let owner = if caller.actor().is_admin() { asked.owner.as_str() } else { by };
            let kind = kind_named(&asked.r#type);
            let fields = json!({
                "Operator_Account": by,
                "Owner_Account": owner,
                "Type": kind,
                "Name": asked.name,
                "CreateGroupNum": own_groups(owner, &kind),
                "MemberList": members,
            });
            (Command::BeforeCreateGroup, &asked.group, fields)
        }
        Call::Join(asked) => {
            let fields =
                json!({ "GroupId": asked.group, "Type": kind_of(&asked.group), "Requestor_Account": by });
            (Command::BeforeApplyJoin, &asked.group, fields)
        }
        Call::Invite(asked) => {
            let users = asked.users.iter().take(USERS_MAX);
            let users: Value = users.map(|user| json!({ "Member_Account": user })).collect();
            let fields = json!({
                "GroupId": asked.group,
                "Type": kind_of(&asked.group),
                "Operator_Account": by,
                "DestinationMembers": users,
            });
            (Command::BeforeInviteJoin, &asked.group, fields)
        }
        Call::CreateTopic(asked) => {
            // The caller, as after it, also where a back end makes it in somebody's name.
            let fields = json!({ "Operator_Account": by, "Type": kind_of(&asked.group), "Name": asked.name });
            (Command::BeforeCreateTopic, &asked.group, fields)
        }
        _ => return None,
    };
    Some((command, Event::new(command, key.as_bytes(), caller.origin, &fields)))
}
