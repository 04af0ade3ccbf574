//! Limits and switches of profiles, relations, presence and the conversation list.

use serde::{Deserialize, Serialize};

/// Settings of [`People`](super::People). The defaults are the limits of the public contract.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Friends of one user (30010, of the other one: 30014).
    pub friends_max: u32,
    /// Users in one blocklist (30013).
    pub blocks_max: u32,
    /// Friend groups of one user (30011).
    pub friend_groups_max: u32,
    /// Users that one user may follow (30010). Followers are not counted.
    pub following_max: u32,
    /// Received applications that were not read (30012).
    pub applications_unread_max: u32,
    /// Received applications in all. One more takes the place of the oldest.
    pub applications_max: u32,
    /// How a user who has not said so takes applications.
    pub allow_type: AllowType,
    /// Fields beyond those of the contract, at most 20 of each kind for one App.
    pub fields: Vec<CustomField>,
    /// Texts that hold one of these, in whatever case, are refused (40005, 30005).
    pub refused_words: Vec<String>,

    /// 1:1 messages only among friends (20009 to 20011).
    pub friend_check: bool,
    /// A message to somebody who has blocked its sender looks sent and goes nowhere; else the sender gets 20007.
    pub block_silently: bool,
    /// Pairs and users of which it is remembered who may write, about 200 bytes each.
    pub cached: usize,

    /// A phone that lost its session counts as reachable by push for this long, seconds.
    pub push_online_s: u64,
    /// Users that one user may watch.
    pub watched_max: usize,
    /// Users that may watch one user.
    pub watchers_max: usize,

    /// Conversations in a list.
    pub conversations_max: usize,
    /// Pinned conversations (51012).
    pub pins_max: u32,
    /// Conversations with marks or groups (51008).
    pub marked_max: u32,
    /// Conversation groups (51010).
    pub conversation_groups_max: u32,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            friends_max: 3000,
            blocks_max: 1000,
            friend_groups_max: 32,
            following_max: 5000,
            applications_unread_max: 100,
            applications_max: 500,
            allow_type: AllowType::AllowAny,
            fields: Vec::new(),
            refused_words: Vec::new(),
            friend_check: false,
            block_silently: true,
            cached: 65_536,
            push_online_s: 7 * 86_400,
            watched_max: 200,
            watchers_max: 2000,
            conversations_max: 500,
            pins_max: 50,
            marked_max: 1000,
            conversation_groups_max: 20,
        }
    }
}

/// Longest list of fields of one kind and App.
const FIELDS_MAX: usize = 20;

/// Longest [`CustomField::key`].
const KEY_BYTES_MAX: usize = 8;

impl Config {
    /// Checks that the values can work together.
    ///
    /// # Errors
    /// The key and what is wrong with it.
    pub fn check(&self) -> Result<(), String> {
        if self.conversations_max == 0 || self.conversations_max > 3000 {
            return Err("people.conversations_max must be 1 to 3000".to_owned());
        }
        if self.applications_max < self.applications_unread_max {
            return Err("people.applications_max must be at least applications_unread_max".to_owned());
        }
        for field in &self.fields {
            let letters = field.key.bytes().all(|byte| byte.is_ascii_alphabetic());
            if field.key.is_empty() || field.key.len() > KEY_BYTES_MAX || !letters {
                return Err(format!("people.fields: key {:?} must be 1 to 8 letters", field.key));
            }
            let same = |other: &&CustomField| other.app == field.app && other.of == field.of;
            if self.fields.iter().filter(same).count() > FIELDS_MAX {
                return Err(format!("people.fields: more than 20 of one kind for app {}", field.app));
            }
            if self.fields.iter().filter(same).filter(|other| other.key == field.key).count() > 1 {
                return Err(format!("people.fields: {:?} stands twice for app {}", field.key, field.app));
            }
        }
        Ok(())
    }
}

/// How a user takes applications for a friendship.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AllowType {
    /// Friends at once.
    AllowAny,
    /// The user has to confirm.
    NeedConfirm,
    /// None.
    DenyAny,
}

/// A declared field of one App.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CustomField {
    /// `sdkappid`.
    pub app: u32,
    /// Whether it belongs to profiles or to friendships.
    pub of: FieldOf,
    /// 1 to 8 letters: `Shoe` for `Tag_Profile_Custom_Shoe`.
    pub key: String,
    /// Type of the value.
    #[serde(default)]
    pub holds: Holds,
    /// Clients may read it. Admins always may.
    #[serde(default = "yes")]
    pub app_reads: bool,
    /// Clients may write it. Admins always may.
    #[serde(default = "yes")]
    pub app_writes: bool,
}

fn yes() -> bool {
    true
}

/// What a custom field belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FieldOf {
    /// `Tag_Profile_Custom_…`
    Profile,
    /// `Tag_SNS_Custom_…`
    Friend,
}

/// Type of a custom field.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Holds {
    /// Text of at most 500 bytes.
    #[default]
    Text,
    /// At most 500 bytes.
    Bytes,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_pass_and_bad_fields_are_named() {
        Config::default().check().unwrap();
        let field = |key: &str| CustomField {
            app: 1,
            of: FieldOf::Profile,
            key: key.to_owned(),
            holds: Holds::Text,
            app_reads: true,
            app_writes: true,
        };
        for keys in [&["toolongkey"][..], &[""], &["a1"], &["a", "a"], &["Ä"]] {
            let fields = keys.iter().copied().map(field).collect();
            let error = Config { fields, ..Config::default() }.check().unwrap_err();
            assert!(error.contains("people.fields"), "{error}");
        }
        let many: Vec<_> = (0..21u8).map(|n| field(&char::from(b'a' + n).to_string())).collect();
        assert!(Config { fields: many[..20].to_vec(), ..Config::default() }.check().is_ok());
        assert!(Config { fields: many, ..Config::default() }.check().is_err());
    }
}
