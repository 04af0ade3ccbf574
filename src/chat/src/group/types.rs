//! The capability table: what groups of each type may do, and who in them.
//!
//! The four types of the public contract and communities are rows of [`PRESETS`]; an operator adds more by configuration, each
//! from a row that is there with some columns changed. No other code asks what type a group has: it asks a column.
//!
//! Sources: the comparison table and the limits of the public contract (restated in `docs/decisions/0006-chat-backend.md`
//! where two of its pages disagree).

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::record::{JoinOption, Reception};

/// How much somebody may do in a group, in ascending order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Rank {
    /// Not a member.
    Anyone,
    /// A plain member.
    Member,
    /// An administrator of the group.
    Admin,
    /// Its owner.
    Owner,
    /// An administrator of the App, who may do in every group what its owner may, and more.
    App,
}

impl Rank {
    /// Whether this rank has a capability of the table.
    #[must_use]
    pub fn has(self, least: Option<Self>) -> bool {
        least.is_some_and(|least| self >= least)
    }
}

/// How one becomes a member on one's own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Joining {
    /// Not at all: one is invited.
    Never,
    /// As the group's own option says.
    Option,
    /// Always at once.
    Free,
}

/// A row of the table. Every column is a capability; ranks say from where on somebody has it, `None`: nobody.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupType {
    /// The name on the wire and in the store.
    pub name: &'static str,
    /// Other names that are understood.
    pub aliases: &'static [&'static str],
    /// How ids begin that the server makes.
    pub id_prefix: &'static str,
    /// Ids that a client chooses begin with this; else they must not begin with `@TGS#`.
    pub own_id_prefix: Option<&'static str>,
    /// Members are stored. If not, the group is a live room: whoever is connected and has joined is a member.
    pub stored_members: bool,
    /// Counted by the limit of communities.
    pub community: bool,
    /// The owner may make members administrators.
    pub admins: bool,
    /// Who changes name, introduction, notification and face.
    pub edit_info: Rank,
    /// Members see who the members are.
    pub member_list: bool,
    /// Who dismisses the group.
    pub dismiss: Rank,
    /// Who is not a member finds the group by its exact id.
    pub find_by_id: bool,
    /// Joining on one's own.
    pub joining: Joining,
    /// [`Joining::Option`] for a group that was made without one.
    pub join_default: JoinOption,
    /// Whether and how members invite, for a group that was made without an option.
    pub invite_default: JoinOption,
    /// Whether a group may have another option than [`Self::invite_default`].
    pub invite_fixed: bool,
    /// Who is invited is asked first.
    pub invite_consent: bool,
    /// The owner may quit, which leaves the group without one.
    pub owner_may_quit: bool,
    /// Who removes members of lower rank.
    pub kick: Option<Rank>,
    /// Who mutes members of lower rank, and all.
    pub mute: Option<Rank>,
    /// Who bans members of lower rank: removes them and keeps them out for a time.
    pub ban: Option<Rank>,
    /// Messages are counted as unread.
    pub unread: bool,
    /// Members read what was written before they joined.
    pub history_before_joining: bool,
    /// Messages are stored.
    pub history: bool,
    /// Joining and leaving shows in the conversation.
    pub change_tips: bool,
    /// Nobody but the owner sees the group before its first message.
    pub hidden_until_message: bool,
    /// How members receive who have not said otherwise.
    pub reception: Reception,
    /// Messages wake nobody up: only who is online gets them.
    pub online_only: bool,
    /// Who is not logged in may receive.
    pub guests: bool,
    /// Groups, members and messages may be imported.
    pub import: bool,
    /// Messages may be recalled.
    pub recall: bool,
    /// Attributes: free keys and values.
    pub attributes: bool,
    /// Counters.
    pub counters: bool,
    /// Receipts with the list of readers.
    pub receipts: bool,
    /// `@all`.
    pub mention_all: bool,
    /// Messages without unread or last message, and messages that are not stored.
    pub message_controls: bool,
    /// The owner may hand the group over.
    pub transfer: bool,
    /// Custom fields of members.
    pub member_fields: bool,
    /// Most members; 0: no limit.
    pub members_max: u32,
    /// Most messages in a second.
    pub messages_per_s: u32,
    /// Groups of more members have no receipts.
    pub receipts_members_max: u32,
}

/// What the public contract has. Work and Meeting carry their older names on the wire, as REST and callbacks do.
pub static PRESETS: [GroupType; 5] = [
    WORK,
    GroupType {
        name: "Public",
        aliases: &[],
        id_prefix: "@TGS#2",
        admins: true,
        edit_info: Rank::Admin,
        dismiss: Rank::Owner,
        find_by_id: true,
        joining: Joining::Option,
        join_default: JoinOption::Approval,
        invite_default: JoinOption::Closed,
        owner_may_quit: false,
        kick: Some(Rank::Admin),
        mute: Some(Rank::Admin),
        ban: Some(Rank::Admin),
        hidden_until_message: false,
        ..WORK
    },
    MEETING,
    GroupType {
        name: "AVChatRoom",
        aliases: &[],
        id_prefix: "@TGS#a",
        stored_members: false,
        admins: false,
        edit_info: Rank::Owner,
        member_list: false,
        invite_fixed: true,
        kick: None,
        mute: Some(Rank::Owner),
        ban: Some(Rank::Owner),
        history_before_joining: false,
        history: false,
        change_tips: true,
        guests: true,
        import: false,
        recall: false,
        attributes: true,
        receipts: false,
        message_controls: false,
        transfer: false,
        member_fields: false,
        members_max: 0,
        receipts_members_max: 0,
        ..MEETING
    },
    GroupType {
        name: "Community",
        aliases: &[],
        id_prefix: "@TGS#_@TGS#c",
        own_id_prefix: Some("@TGS#_"),
        community: true,
        invite_default: JoinOption::Free,
        ban: None,
        unread: true,
        change_tips: true,
        online_only: false,
        counters: false,
        receipts: false,
        mention_all: false,
        members_max: 100_000,
        receipts_members_max: 0,
        ..MEETING
    },
];

const WORK: GroupType = GroupType {
    name: "Private",
    aliases: &["Work"],
    id_prefix: "@TGS#1",
    own_id_prefix: None,
    stored_members: true,
    community: false,
    admins: false,
    edit_info: Rank::Member,
    member_list: true,
    dismiss: Rank::App,
    find_by_id: false,
    joining: Joining::Never,
    join_default: JoinOption::Closed,
    invite_default: JoinOption::Free,
    invite_fixed: false,
    invite_consent: false,
    owner_may_quit: true,
    kick: Some(Rank::Owner),
    mute: None,
    ban: Some(Rank::Owner),
    unread: true,
    history_before_joining: false,
    history: true,
    change_tips: true,
    hidden_until_message: true,
    reception: Reception::Notify,
    online_only: false,
    guests: false,
    import: true,
    recall: true,
    attributes: false,
    counters: true,
    receipts: true,
    mention_all: true,
    message_controls: true,
    transfer: true,
    member_fields: true,
    members_max: 2000,
    messages_per_s: 40,
    receipts_members_max: 200,
};

const MEETING: GroupType = GroupType {
    name: "ChatRoom",
    aliases: &["Meeting"],
    id_prefix: "@TGS#3",
    admins: true,
    edit_info: Rank::Admin,
    dismiss: Rank::Owner,
    find_by_id: true,
    joining: Joining::Free,
    join_default: JoinOption::Free,
    invite_default: JoinOption::Closed,
    owner_may_quit: false,
    kick: Some(Rank::Admin),
    mute: Some(Rank::Admin),
    ban: Some(Rank::Admin),
    unread: false,
    history_before_joining: true,
    change_tips: false,
    hidden_until_message: false,
    online_only: true,
    ..WORK
};

/// A type that an operator adds: a row that is there with some columns changed. Columns as in [`GroupType`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "the columns are documented at GroupType")]
pub struct CustomType {
    /// Its name on the wire, 1 to 16 letters and digits.
    pub name: String,
    /// The row that it starts from, by name.
    pub base: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub admins: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub edit_info: Option<Rank>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub member_list: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dismiss: Option<Rank>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub find_by_id: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub joining: Option<Joining>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub join_default: Option<JoinOption>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub invite_default: Option<JoinOption>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub invite_fixed: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub invite_consent: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub owner_may_quit: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kick: Option<Rank>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mute: Option<Rank>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ban: Option<Rank>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unread: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub history_before_joining: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub change_tips: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hidden_until_message: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reception: Option<Reception>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub recall: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub attributes: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub counters: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub receipts: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mention_all: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub transfer: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub members_max: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub messages_per_s: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub receipts_members_max: Option<u32>,
}

impl CustomType {
    fn row(&self, base: &GroupType) -> GroupType {
        macro_rules! changed {
            ($($column:ident),*) => {
                GroupType { $($column: self.$column.unwrap_or(base.$column),)* ..base.clone() }
            };
        }
        let mut row = changed!(
            admins,
            edit_info,
            member_list,
            dismiss,
            find_by_id,
            joining,
            join_default,
            invite_default,
            invite_fixed,
            invite_consent,
            owner_may_quit,
            unread,
            history_before_joining,
            change_tips,
            hidden_until_message,
            reception,
            recall,
            attributes,
            counters,
            receipts,
            mention_all,
            transfer,
            members_max,
            messages_per_s,
            receipts_members_max
        );
        // `anyone` takes the capability away: nobody outside has it anyhow.
        let rank = |changed: Option<Rank>, base| match changed {
            Some(Rank::Anyone) => None,
            Some(rank) => Some(rank),
            None => base,
        };
        row.kick = rank(self.kick, base.kick);
        row.mute = rank(self.mute, base.mute);
        row.ban = rank(self.ban, base.ban);
        // Types are read once and live as long as the process.
        row.name = self.name.clone().leak();
        row.aliases = &[];
        row
    }
}

/// All rows: presets and what the operator added.
#[derive(Debug, Clone)]
pub struct Types(BTreeMap<String, Arc<GroupType>>);

/// Longest name of a custom type, bytes.
const NAME_BYTES_MAX: usize = 16;

impl Types {
    /// The presets and `custom`, each of which may start from an earlier one.
    ///
    /// # Errors
    /// A sentence that says which name is wrong.
    pub fn new(custom: &[CustomType]) -> Result<Self, String> {
        let mut types = Self(BTreeMap::new());
        for preset in &PRESETS {
            types.insert(preset.clone());
        }
        for wanted in custom {
            let name = &wanted.name;
            let good = (1..=NAME_BYTES_MAX).contains(&name.len())
                && name.bytes().all(|byte| byte.is_ascii_alphanumeric());
            if !good {
                return Err(format!(
                    "group type {name:?}: names have 1 to {NAME_BYTES_MAX} letters and digits"
                ));
            }
            if types.find(name).is_some() {
                return Err(format!("group type {name:?} exists already"));
            }
            let Some(base) = types.find(&wanted.base) else {
                return Err(format!("group type {name:?}: its base {:?} does not exist", wanted.base));
            };
            types.insert(wanted.row(&base));
        }
        Ok(types)
    }

    fn insert(&mut self, row: GroupType) {
        let row = Arc::new(row);
        for name in row.aliases.iter().copied().chain([row.name]) {
            self.0.insert(name.to_owned(), row.clone());
        }
    }

    /// The row of this name or alias.
    #[must_use]
    pub fn find(&self, name: &str) -> Option<Arc<GroupType>> {
        self.0.get(name).cloned()
    }

    /// Every row once, by name.
    pub fn rows(&self) -> impl Iterator<Item = &Arc<GroupType>> {
        self.0.iter().filter(|(name, row)| row.name == name.as_str()).map(|(_, row)| row)
    }
}

impl Default for Types {
    fn default() -> Self {
        Self::new(&[]).expect("no custom type, so no wrong one")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_names_of_a_type_find_its_row() {
        let types = Types::default();
        for (old, new) in [("Private", "Work"), ("ChatRoom", "Meeting"), ("Public", "Public")] {
            assert_eq!(types.find(old).unwrap(), types.find(new).unwrap());
            assert_eq!(types.find(new).unwrap().name, old);
        }
        assert!(types.find("BChatRoom").is_none());
        assert_eq!(types.rows().count(), PRESETS.len());
    }

    #[test]
    fn a_custom_type_is_its_base_with_some_columns_changed() {
        let class: CustomType = toml_like(
            r#"{"name": "Class", "base": "Public", "members_max": 50, "kick": "owner", "mute": "anyone", "recall": false}"#,
        );
        let small = toml_like(r#"{"name": "Small", "base": "Class", "members_max": 5}"#);
        let types = Types::new(&[class, small]).unwrap();
        let (base, row) = (types.find("Public").unwrap(), types.find("Small").unwrap());
        assert_eq!((row.members_max, row.kick, row.mute, row.recall), (5, Some(Rank::Owner), None, false));
        let same = GroupType {
            name: base.name,
            members_max: base.members_max,
            kick: base.kick,
            mute: base.mute,
            recall: base.recall,
            ..(*row).clone()
        };
        assert_eq!(same, *base);
    }

    #[test]
    fn a_custom_type_that_cannot_be_is_named() {
        for (json, why) in [
            (r#"{"name": "a b", "base": "Public"}"#, "a b"),
            (r#"{"name": "Work", "base": "Public"}"#, "exists"),
            (r#"{"name": "Class", "base": "Nothing"}"#, "Nothing"),
        ] {
            let error = Types::new(&[toml_like(json)]).unwrap_err();
            assert!(error.contains(why), "{error}");
        }
    }

    fn toml_like(json: &str) -> CustomType {
        serde_json::from_str(json).unwrap()
    }
}
