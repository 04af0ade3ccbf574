//! `chat.push.*`.

use std::time::Duration;

use nearport_chat::pushes;
use serde::{Deserialize, Serialize};

use crate::duration;

/// Pushes to all members.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[expect(missing_docs, reason = "documented in KEYS, where `config explain` finds it")]
pub struct Push {
    pub enabled: bool,
    pub per_day: u32,
    #[serde(with = "duration::text")]
    pub interval: Duration,
    pub waiting_max: u32,
    pub accounts_per_s: u32,
}

impl Default for Push {
    fn default() -> Self {
        let push = pushes::Config::default();
        Self {
            enabled: push.enabled,
            per_day: push.per_day,
            interval: Duration::from_secs(push.interval_s),
            waiting_max: push.waiting_max,
            accounts_per_s: push.accounts_per_s,
        }
    }
}

impl Push {
    /// The backend's own settings.
    pub(crate) fn backend(&self) -> pushes::Config {
        pushes::Config {
            enabled: self.enabled,
            per_day: self.per_day,
            interval_s: self.interval.as_secs(),
            waiting_max: self.waiting_max,
            accounts_per_s: self.accounts_per_s,
        }
    }
}
