//! What is kept of a group, and the changes that a store writes row by row.

use std::collections::BTreeMap;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::key::{GroupKey, UserKey};

/// Whether one gets in: by applying, or by being invited.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum JoinOption {
    /// At once.
    Free,
    /// After somebody who may has agreed.
    Approval,
    /// Not at all.
    Closed,
}

/// How a member receives messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Reception {
    /// With a push notification.
    Notify,
    /// Without one.
    Quiet,
    /// Not at all.
    Discard,
}

/// What a member is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// A plain one.
    Member,
    /// An administrator.
    Admin,
    /// The owner, of whom there is one at most.
    Owner,
}

macro_rules! numbered {
    ($type:ident { $($name:ident = $number:literal),* }) => {
        impl $type {
            /// The number that stores keep.
            #[must_use]
            pub fn number(self) -> u8 {
                match self { $(Self::$name => $number),* }
            }

            /// What has this number.
            #[must_use]
            pub fn from_number(number: u8) -> Option<Self> {
                match number { $($number => Some(Self::$name),)* _ => None }
            }
        }
    };
}

numbered!(JoinOption { Free = 1, Approval = 2, Closed = 3 });
numbered!(Reception { Notify = 1, Quiet = 2, Discard = 3 });
numbered!(Role { Member = 1, Admin = 2, Owner = 3 });

/// Custom fields: declared keys and their values.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Fields(pub BTreeMap<String, Bytes>);

impl Fields {
    /// The bytes that a store keeps: of each field the length of its key (1 byte), the key, the length of its value (2 bytes, big
    /// endian), the value. Keys of more than 255 and values of more than 65,535 bytes are left out; the domain refuses far
    /// shorter ones.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        for (key, value) in &self.0 {
            let (Ok(key_len), Ok(value_len)) = (u8::try_from(key.len()), u16::try_from(value.len())) else {
                continue;
            };
            out.push(key_len);
            out.extend_from_slice(key.as_bytes());
            out.extend_from_slice(&value_len.to_be_bytes());
            out.extend_from_slice(value);
        }
        out
    }

    /// Reads back what [`Self::encode`] gave; `None` for other bytes.
    #[must_use]
    pub fn decode(mut bytes: &[u8]) -> Option<Self> {
        let mut fields = BTreeMap::new();
        while let Some((key_len, rest)) = bytes.split_first() {
            let (key, rest) = rest.split_at_checked(usize::from(*key_len))?;
            let (value_len, rest) = rest.split_first_chunk::<2>()?;
            let (value, rest) = rest.split_at_checked(usize::from(u16::from_be_bytes(*value_len)))?;
            fields.insert(std::str::from_utf8(key).ok()?.to_owned(), Bytes::copy_from_slice(value));
            bytes = rest;
        }
        Some(Self(fields))
    }
}

/// The profile of a group: one row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupInfo {
    /// Name of its type, a row of the capability table.
    pub kind: String,
    /// Shown to people.
    pub name: String,
    /// Introduction.
    pub introduction: String,
    /// Notification.
    pub notification: String,
    /// Address of its picture.
    pub face_url: String,
    /// The owner; a Work group may have none.
    pub owner: Option<UserKey>,
    /// Milliseconds since the Unix epoch.
    pub created_ms: u64,
    /// One more with every change of the profile.
    pub info_seq: u64,
    /// When that was, milliseconds.
    pub info_ms: u64,
    /// Most members; 0: no limit.
    pub members_max: u32,
    /// Joining on one's own.
    pub join: JoinOption,
    /// Inviting.
    pub invite: JoinOption,
    /// Plain members may not send.
    pub muted_all: bool,
    /// Messages of the conversation up to this one belong to an earlier group of the same id.
    pub first_seq: u64,
    /// One more with every change of the attributes.
    pub attributes_version: u64,
    /// Custom fields.
    pub fields: Fields,
    /// A community that may have topics.
    pub topics: bool,
}

/// A topic of a community: one row. Who is in the community is in all of its topics.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicInfo {
    /// Shown to people.
    pub name: String,
    /// Introduction.
    pub introduction: String,
    /// Notification.
    pub notification: String,
    /// Address of its picture.
    pub face_url: String,
    /// The App's own.
    pub custom: String,
    /// Milliseconds since the Unix epoch.
    pub created_ms: u64,
    /// One more with every change of the profile.
    pub info_seq: u64,
    /// Plain members may not send.
    pub muted_all: bool,
    /// Messages of the conversation up to this one belong to an earlier topic of the same id.
    pub first_seq: u64,
}

/// A member: one row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// What they are.
    pub role: Role,
    /// Since when, milliseconds.
    pub joined_ms: u64,
    /// Newest message when they joined: unread starts behind it, and history too where the type says so.
    pub joined_seq: u64,
    /// How they receive.
    pub reception: Reception,
    /// Their name in this group, "" if none.
    pub name_card: Box<str>,
    /// Custom fields.
    pub fields: Fields,
}

/// What may be withheld from a user, member or not, for a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Penalty {
    /// May not send.
    Mute,
    /// May not join.
    Ban,
}

numbered!(Penalty { Mute = 1, Ban = 2 });

/// Somebody wants in, or is wanted in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Application {
    /// Who invites; `None`: the applicant asks.
    pub inviter: Option<UserKey>,
    /// Waits for the invitee, not for an administrator.
    pub consent: bool,
    /// Milliseconds since the Unix epoch.
    pub time_ms: u64,
    /// What was said to it.
    pub text: String,
    /// What became of it.
    pub handled: Option<Handled>,
}

/// The end of an [`Application`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Handled {
    /// Who decided.
    pub by: String,
    /// How.
    pub agreed: bool,
    /// What was said to it.
    pub text: String,
}

/// All that is kept of a group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupRecord {
    /// App and id.
    pub key: GroupKey,
    /// The profile.
    pub info: GroupInfo,
    /// Members by name. Empty for live rooms.
    pub members: BTreeMap<UserKey, Member>,
    /// Free keys and values.
    pub attributes: BTreeMap<String, String>,
    /// Counters.
    pub counters: BTreeMap<String, i64>,
    /// Unix seconds until which they hold.
    pub penalties: BTreeMap<(Penalty, UserKey), u64>,
    /// By applicant.
    pub applications: BTreeMap<UserKey, Application>,
    /// Topics by id.
    pub topics: BTreeMap<GroupKey, TopicInfo>,
    /// How members receive a topic, who have said so: others receive it as the community.
    pub receptions: BTreeMap<(UserKey, GroupKey), Reception>,
}

/// One step of a [`GroupChange`]. Each is a row or a few: no step writes a group anew.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// The group comes to be. It must not exist.
    Create(Box<GroupInfo>),
    /// The group and all that belongs to it ends.
    Dismiss,
    /// The profile is this now.
    Info(Box<GroupInfo>),
    /// Somebody is a member, as this row says.
    PutMember(UserKey, Box<Member>),
    /// Somebody is no member any more.
    RemoveMember(UserKey),
    /// An attribute has this value.
    PutAttribute(String, String),
    /// An attribute ends.
    RemoveAttribute(String),
    /// A counter has this value.
    PutCounter(String, i64),
    /// A counter ends.
    RemoveCounter(String),
    /// Holds until this second; 0: ends.
    Penalty(Penalty, UserKey, u64),
    /// An application is this now.
    PutApplication(UserKey, Box<Application>),
    /// An application is forgotten.
    RemoveApplication(UserKey),
    /// A topic is this now.
    PutTopic(GroupKey, Box<TopicInfo>),
    /// A topic and what members have said of it ends.
    RemoveTopic(GroupKey),
    /// A member receives a topic so; `None`: as the community.
    Receive(UserKey, GroupKey, Option<Reception>),
}

/// What one request changes of a group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupChange {
    /// Which group.
    pub group: GroupKey,
    /// In this order.
    pub changes: Vec<Change>,
}

impl GroupRecord {
    /// A group that has nothing but a profile.
    #[must_use]
    pub fn new(key: GroupKey, info: GroupInfo) -> Self {
        Self {
            key,
            info,
            members: BTreeMap::new(),
            attributes: BTreeMap::new(),
            counters: BTreeMap::new(),
            penalties: BTreeMap::new(),
            applications: BTreeMap::new(),
            topics: BTreeMap::new(),
            receptions: BTreeMap::new(),
        }
    }

    /// Carries out a step. [`Change::Create`] and [`Change::Dismiss`] do nothing here: whoever keeps the records does.
    pub fn apply(&mut self, change: &Change) {
        match change {
            Change::Create(_) | Change::Dismiss => {}
            Change::Info(info) => self.info.clone_from(info),
            Change::PutMember(user, member) => {
                self.members.insert(user.clone(), (**member).clone());
            }
            Change::RemoveMember(user) => {
                self.members.remove(user);
            }
            Change::PutAttribute(key, value) => {
                self.attributes.insert(key.clone(), value.clone());
            }
            Change::RemoveAttribute(key) => {
                self.attributes.remove(key);
            }
            Change::PutCounter(key, value) => {
                self.counters.insert(key.clone(), *value);
            }
            Change::RemoveCounter(key) => {
                self.counters.remove(key);
            }
            Change::Penalty(what, user, 0) => {
                self.penalties.remove(&(*what, user.clone()));
            }
            Change::Penalty(what, user, until_s) => {
                self.penalties.insert((*what, user.clone()), *until_s);
            }
            Change::PutApplication(user, application) => {
                self.applications.insert(user.clone(), (**application).clone());
            }
            Change::RemoveApplication(user) => {
                self.applications.remove(user);
            }
            Change::PutTopic(topic, info) => {
                self.topics.insert(topic.clone(), (**info).clone());
            }
            Change::RemoveTopic(topic) => {
                self.topics.remove(topic);
                self.receptions.retain(|(_, of), _| of != topic);
            }
            Change::Receive(user, topic, None) => {
                self.receptions.remove(&(user.clone(), topic.clone()));
            }
            Change::Receive(user, topic, Some(reception)) => {
                self.receptions.insert((user.clone(), topic.clone()), *reception);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn fields_come_back(fields in proptest::collection::btree_map("[a-z]{0,20}", proptest::collection::vec(any::<u8>(), 0..600), 0..6)) {
            let fields = Fields(fields.into_iter().map(|(key, value)| (key, value.into())).collect());
            prop_assert_eq!(Fields::decode(&fields.encode()), Some(fields));
        }

        #[test]
        fn other_bytes_are_no_fields_and_never_a_panic(noise in proptest::collection::vec(any::<u8>(), 0..40)) {
            let _ = Fields::decode(&noise);
        }
    }
}
