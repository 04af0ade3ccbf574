//! `chat.people.*`.

use std::time::Duration;

use nearport_chat::people;
use serde::{Deserialize, Serialize};

use crate::duration;

/// Limits and switches of profiles, relations, presence and the conversation list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[expect(missing_docs, reason = "documented in KEYS, where `config explain` finds it")]
pub struct People {
    pub friends_max: u32,
    pub blocks_max: u32,
    pub friend_groups_max: u32,
    pub following_max: u32,
    pub applications_unread_max: u32,
    pub allow_type: people::AllowType,
    pub fields: Vec<people::CustomField>,
    pub refused_words: Vec<String>,
    pub friend_check: bool,
    pub block_silently: bool,
    #[serde(with = "duration::text")]
    pub push_online: Duration,
    pub watched_max: usize,
    pub watchers_max: usize,
    pub conversations_max: usize,
    pub pins_max: u32,
}

impl Default for People {
    fn default() -> Self {
        let people = people::Config::default();
        Self {
            friends_max: people.friends_max,
            blocks_max: people.blocks_max,
            friend_groups_max: people.friend_groups_max,
            following_max: people.following_max,
            applications_unread_max: people.applications_unread_max,
            allow_type: people.allow_type,
            fields: people.fields,
            refused_words: people.refused_words,
            friend_check: people.friend_check,
            block_silently: people.block_silently,
            push_online: Duration::from_secs(people.push_online_s),
            watched_max: people.watched_max,
            watchers_max: people.watchers_max,
            conversations_max: people.conversations_max,
            pins_max: people.pins_max,
        }
    }
}

impl People {
    /// The backend's own settings.
    pub(crate) fn backend(&self) -> people::Config {
        people::Config {
            friends_max: self.friends_max,
            blocks_max: self.blocks_max,
            friend_groups_max: self.friend_groups_max,
            following_max: self.following_max,
            applications_unread_max: self.applications_unread_max,
            // Those that were read stay a while beside those that were not.
            applications_max: self.applications_unread_max.saturating_mul(5),
            allow_type: self.allow_type,
            fields: self.fields.clone(),
            refused_words: self.refused_words.clone(),
            friend_check: self.friend_check,
            block_silently: self.block_silently,
            push_online_s: self.push_online.as_secs(),
            watched_max: self.watched_max,
            watchers_max: self.watchers_max,
            conversations_max: self.conversations_max,
            pins_max: self.pins_max,
            ..people::Config::default()
        }
    }
}
