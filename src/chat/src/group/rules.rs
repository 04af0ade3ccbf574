//! What an operator decides about groups: types, custom fields, limits.

use serde::{Deserialize, Serialize};

use super::types::{CustomType, Rank, Types};
use crate::key::AppId;

/// Settings of groups. [`Default`] has the limits of the public contract's flagship plan.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct GroupConfig {
    /// Types beside the presets.
    pub types: Vec<CustomType>,
    /// Custom fields that exist.
    pub fields: Vec<FieldRule>,
    /// Groups one user may be in; 0: no limit. Communities and live rooms count too as far as they store members.
    pub joined_max: u32,
    /// New groups of an App in a day (UTC), those that were dismissed again left out; 0: no limit.
    pub created_per_day: u32,
    /// Groups of an App; 0: no limit.
    pub groups_max: u32,
    /// Communities of an App; 0: no limit.
    pub communities_max: u32,
    /// Live rooms of an App; 0: no limit.
    pub rooms_max: u32,
    /// Communities may have topics.
    pub topics: bool,
    /// Topics of one community.
    pub topics_max: usize,
    /// Topics of an App; 0: no limit.
    pub app_topics_max: u32,
    /// Applications that a group keeps, handled ones included: the oldest handled one makes room, and if all are open a
    /// further one is refused with 10006.
    pub applications_max: usize,
    /// Dismissing tells each member by a notice of their own up to this many; in larger groups clients hear of it from the
    /// group's event or when they ask for its head. Each notice is a message in the ledger.
    pub notices_max: usize,
    /// Members of all groups that are held in memory, some 200 bytes each. The largest group is held whatever its size.
    pub members_cached: usize,
}

impl Default for GroupConfig {
    fn default() -> Self {
        Self {
            types: Vec::new(),
            fields: Vec::new(),
            joined_max: 1000,
            created_per_day: 10_000,
            groups_max: 0,
            communities_max: 100_000,
            rooms_max: 0,
            topics: true,
            topics_max: 200,
            app_topics_max: 0,
            applications_max: 200,
            notices_max: 6000,
            members_cached: 500_000,
        }
    }
}

/// What an App may have other than others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Limits {
    pub(crate) joined_max: u32,
    pub(crate) created_per_day: u32,
    pub(crate) groups_max: u32,
    pub(crate) communities_max: u32,
    pub(crate) rooms_max: u32,
    pub(crate) topics: bool,
    pub(crate) topics_max: usize,
    pub(crate) app_topics_max: u32,
    pub(crate) applications_max: usize,
    pub(crate) notices_max: usize,
}

impl GroupConfig {
    pub(crate) fn limits(&self) -> Limits {
        Limits {
            joined_max: self.joined_max,
            created_per_day: self.created_per_day,
            groups_max: self.groups_max,
            communities_max: self.communities_max,
            rooms_max: self.rooms_max,
            topics: self.topics,
            topics_max: self.topics_max,
            app_topics_max: self.app_topics_max,
            applications_max: self.applications_max,
            notices_max: self.notices_max,
        }
    }

    /// Checks that the values can work together.
    ///
    /// # Errors
    /// The name of the setting and what is wrong with it.
    pub fn check(&self) -> Result<(), (&'static str, String)> {
        Rules::new(self.clone()).map(drop)
    }
}

/// What a custom field belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum FieldOf {
    /// A group.
    Group,
    /// A member.
    Member,
}

/// A custom field that exists: it must be declared before anybody writes it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FieldRule {
    /// Its key: 1 to 16 letters, digits and `_`, not a digit first.
    pub name: String,
    /// Of a group or of its members.
    pub of: FieldOf,
    /// The App; absent: every App.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub app: Option<u32>,
    /// Types of groups that have it, by wire name; empty: all.
    #[serde(default)]
    pub types: Vec<String>,
    /// Who reads it.
    #[serde(default = "anyone")]
    pub read: Rank,
    /// Who writes it.
    #[serde(default = "admin")]
    pub write: Rank,
    /// Of a member: whether they may write their own, whatever `write` says.
    #[serde(default)]
    pub own: bool,
}

fn anyone() -> Rank {
    Rank::Anyone
}

fn admin() -> Rank {
    Rank::Admin
}

/// Fields of one class that an App has, of the public contract.
const GROUP_FIELDS_MAX: usize = 10;
const MEMBER_FIELDS_MAX: usize = 5;

/// The settings, checked.
#[derive(Debug, Clone, Default)]
pub(crate) struct Rules {
    pub(crate) config: GroupConfig,
    pub(crate) types: Types,
}

impl Rules {
    pub(crate) fn new(config: GroupConfig) -> Result<Self, (&'static str, String)> {
        let types = Types::new(&config.types).map_err(|why| ("chat.groups.types", why))?;
        let wrong = |why: String| Err(("chat.groups.fields", why));
        for (at, field) in config.fields.iter().enumerate() {
            let name = &field.name;
            let good = (1..=16).contains(&name.len())
                && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
                && !name.as_bytes()[0].is_ascii_digit();
            if !good {
                return wrong(format!(
                    "{name:?}: keys have 1 to 16 letters, digits and _, not a digit first"
                ));
            }
            let both = |other: &&FieldRule| {
                other.name == *name && (other.app.is_none() || field.app.is_none() || other.app == field.app)
            };
            if config.fields[..at].iter().any(|other| both(&other)) {
                return wrong(format!("{name:?} is declared twice"));
            }
            if let Some(unknown) = field.types.iter().find(|kind| types.find(kind).is_none()) {
                return wrong(format!("{name:?}: there is no group type {unknown:?}"));
            }
            let max = if field.of == FieldOf::Group { GROUP_FIELDS_MAX } else { MEMBER_FIELDS_MAX };
            let same = |other: &&FieldRule| {
                other.of == field.of && (other.app.is_none() || field.app.is_none() || other.app == field.app)
            };
            if config.fields[..=at].iter().filter(same).count() > max {
                return wrong(format!("{name:?}: an App has at most {max} of its kind"));
            }
        }
        if config.applications_max == 0 {
            return Err(("chat.groups.applications_max", "must be at least 1".into()));
        }
        Ok(Self { config, types })
    }

    /// The declared field of this key.
    pub(crate) fn field(&self, app: AppId, of: FieldOf, kind: &str, key: &str) -> Option<&FieldRule> {
        self.config.fields.iter().find(|field| {
            field.of == of
                && field.name == key
                && field.app.is_none_or(|id| id == app.0)
                && (field.types.is_empty()
                    || field
                        .types
                        .iter()
                        .any(|name| self.types.find(name).is_some_and(|row| row.name == kind)))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn field(name: &str, of: FieldOf, app: Option<u32>) -> FieldRule {
        FieldRule {
            name: name.into(),
            of,
            app,
            types: Vec::new(),
            read: anyone(),
            write: admin(),
            own: false,
        }
    }

    #[test]
    fn fields_that_cannot_be_are_refused() {
        let rules = |fields| Rules::new(GroupConfig { fields, ..GroupConfig::default() });
        let good = vec![
            field("level", FieldOf::Group, Some(1)),
            field("level", FieldOf::Member, Some(2)),
            field("_x9", FieldOf::Member, None),
        ];
        let good = rules(good).unwrap();
        assert!(good.field(AppId(1), FieldOf::Group, "Public", "level").is_some());
        assert!(good.field(AppId(2), FieldOf::Group, "Public", "level").is_none());
        for bad in [
            vec![field("9x", FieldOf::Group, None)],
            vec![field("", FieldOf::Group, None)],
            vec![field("seventeen_letters", FieldOf::Group, None)],
            vec![field("a", FieldOf::Group, None), field("a", FieldOf::Member, Some(1))],
            vec![FieldRule { types: vec!["Nothing".into()], ..field("a", FieldOf::Group, None) }],
            (0..6).map(|n| field(&format!("a{n}"), FieldOf::Member, None)).collect(),
        ] {
            assert_eq!(rules(bad).unwrap_err().0, "chat.groups.fields");
        }
    }
}
