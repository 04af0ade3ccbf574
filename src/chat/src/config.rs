//! Settings of the chat backend.

use std::collections::BTreeMap;

use nearport_trunk::queue::Bound;
use nearport_wire::body::Platform;
use serde::{Deserialize, Serialize};

use crate::Error;
use crate::apps::{AppSettings, RestLimits};
use crate::audit;
use crate::callback::CallbackSettings;
use crate::group::GroupConfig;
use crate::ledger::BATCH_ITEMS_MAX;
use crate::people;
use crate::pushes;

/// Settings of the chat backend. [`Default`] fits a node of 2 cores with some 10,000 sessions.
///
/// A full queue refuses: the shard answers the request with 60018 (busy) and the login with close code BUSY.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Clients send a ping after this long without sending anything, milliseconds. 25 s is below the 30 s after
    /// which common NATs forget a UDP flow (RFC 4787 asks for 2 minutes, many give 30 s).
    pub heartbeat_ms: u32,
    /// Told to clients: the largest frame body that the edge reads, bytes. Must be what the edge enforces.
    pub frame_bytes_max: u32,

    /// Logins and page requests waiting for the front thread. Two cores need two seconds for the TLS handshakes of
    /// 16,384 logins (238 µs each), so a reconnect storm meets the edge's bounds before this one.
    pub front_queue_items: usize,
    /// Bytes of the same. Worst case of memory.
    pub front_queue_bytes: usize,
    /// Most items that the front thread takes at once. It bounds how long a login waits behind pages.
    pub front_batch_items: usize,

    /// Requests that change groups and relations waiting for the desk thread: 10,000 joins of a live room in a burst.
    pub desk_queue_items: usize,
    /// Bytes of the same. Worst case of memory.
    pub desk_queue_bytes: usize,
    /// Most items that the desk thread takes at once.
    pub desk_batch_items: usize,

    /// Messages, acks and read marks waiting for the writer thread: half a second at 30,000 messages a second.
    pub writer_queue_items: usize,
    /// Bytes of the same. Worst case of memory.
    pub writer_queue_bytes: usize,
    /// Most items in one group commit, at most half of [`BATCH_ITEMS_MAX`]: as many acks may wait to join it.
    pub writer_batch_items: usize,
    /// Most SENDs of one session in one group commit. What goes beyond is answered with 60018 and a retry time, so
    /// that one client cannot fill the commits of all others.
    pub session_sends_per_batch: u32,
    /// An ack alone does not cost a commit: it waits for the next one, at most this long, milliseconds. A crash
    /// of the machine in that time makes a device without a memory of its own show those messages again; a
    /// client that must not sends FLUSH.
    pub ack_delay_ms: u64,

    /// How long after sending a message its sender may take it back, seconds; 0: not at all. An administrator may at any time.
    pub recall_window_s: u32,
    /// The same for changing what it says.
    pub edit_window_s: u32,
    /// How far back pages show messages, days; 0: as far as they are kept.
    pub roaming_days: u32,
    /// Senders may ask for read receipts; if not, messages go out without.
    pub receipts: bool,

    /// Sessions of one user. One more login ends the oldest session with close code KICKED.
    pub user_sessions_max: usize,
    /// How long a user counts as online after the last sign of a native client that went without a word, seconds; 0: not at all. The
    /// edge notices the silence after 75 s.
    pub presence_native_s: u32,
    /// The same of a client in a browser, whose silence is noticed after 60 s.
    pub presence_web_s: u32,
    /// Which platforms of one user are online together.
    pub multi_device: MultiDevice,
    /// Sessions of one user on the same native platform; 0: one for each device where all platforms may be online, else one.
    pub native_instances: usize,
    /// The same in browsers.
    pub web_instances: usize,
    /// Sessions of one App; 0: as many as the edges have room for. A login that would be one more is refused with close code BUSY and
    /// 60018, unless it takes the place of another session of its user. Sessions that were taken over stay in any case.
    pub app_sessions_max: usize,
    /// Sessions of guests: who comes in a browser, without an account, to hear live rooms. 0: none are let in.
    pub guests_max: usize,
    /// Those from one address, or one IPv6 network of 64 bits: a carrier or a school has one for many.
    pub guests_per_network: usize,
    /// Messages that a live room keeps for those who join it; 0: none. Each has up to 12 KiB.
    pub live_last_n: usize,
    /// Accounts remembered between look-ups, about 150 bytes each.
    pub accounts_cached: usize,
    /// Apps are read again after this long, milliseconds: how late a disabled App or a new key is noticed.
    pub apps_age_ms: u64,
    /// Refused UserSigs of one user from one address in one minute; beyond it logins are answered with 70050.
    pub login_failures_max: u32,
    /// Users and addresses of which failures are counted in one minute, about 120 bytes each.
    pub login_failures_tracked: usize,
    /// Types, custom fields and limits of groups.
    pub groups: GroupConfig,
    /// Profiles, relations, presence and the conversation list.
    pub people: people::Config,
    /// Files of what was said in each hour are made.
    pub history_files: bool,
    /// Pushes to all members.
    pub push: pushes::Config,
    /// Limits of calls over REST.
    pub rest: RestLimits,
    /// Back ends.
    #[serde(skip)]
    pub callback: CallbackSettings,
    /// What Apps have other than all this, by id: names and values as [`crate::apps::SETTINGS`] has them, in their order.
    pub apps: BTreeMap<u32, Vec<(String, String)>>,
    /// The audit log.
    pub audit: audit::log::Config,
}

/// Which platforms of one user are online together. A login that does not go with another session ends it with KICKED.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MultiDevice {
    /// All.
    #[default]
    All,
    /// One, whichever it is.
    Single,
    /// One native platform, and browsers.
    Two,
    /// One phone or tablet, one computer, and browsers.
    Three,
}

/// Most messages that a live room may keep: what a newcomer gets has to fit into one answer of 256 KiB.
pub const LIVE_LAST_N_MAX: usize = 20;

impl Default for Config {
    fn default() -> Self {
        Self {
            heartbeat_ms: 25_000,
            frame_bytes_max: 16 * 1024,
            front_queue_items: 16_384,
            front_queue_bytes: 16 << 20,
            front_batch_items: 128,
            desk_queue_items: 16_384,
            desk_queue_bytes: 16 << 20,
            desk_batch_items: 256,
            writer_queue_items: 16_384,
            writer_queue_bytes: 32 << 20,
            writer_batch_items: 1024,
            session_sends_per_batch: 128,
            ack_delay_ms: 1000,
            recall_window_s: 120,
            edit_window_s: 86_400,
            roaming_days: 7,
            receipts: true,
            user_sessions_max: 32,
            // Both of the public contract (`client-behaviour.md` §2).
            presence_native_s: 400,
            presence_web_s: 60,
            multi_device: MultiDevice::All,
            native_instances: 0,
            web_instances: 0,
            app_sessions_max: 0,
            guests_max: 0,
            guests_per_network: 32,
            live_last_n: 0,
            accounts_cached: 65_536,
            apps_age_ms: 10_000,
            login_failures_max: 20,
            login_failures_tracked: 16_384,
            groups: GroupConfig::default(),
            people: people::Config::default(),
            history_files: true,
            push: pushes::Config::default(),
            rest: RestLimits::default(),
            callback: CallbackSettings::default(),
            apps: BTreeMap::new(),
            audit: audit::log::Config::default(),
        }
    }
}

impl Config {
    /// Checks that the values can work together.
    ///
    /// # Errors
    /// [`Error::Config`] with the name of the value and what is allowed.
    pub fn check(&self) -> Result<(), Error> {
        let least_one = [
            ("front_queue_items", self.front_queue_items),
            ("front_batch_items", self.front_batch_items),
            ("desk_queue_items", self.desk_queue_items),
            ("desk_batch_items", self.desk_batch_items),
            ("writer_queue_items", self.writer_queue_items),
            ("writer_batch_items", self.writer_batch_items),
            ("session_sends_per_batch", self.session_sends_per_batch as usize),
            ("user_sessions_max", self.user_sessions_max),
            ("heartbeat_ms", self.heartbeat_ms as usize),
            ("push.accounts_per_s", self.push.accounts_per_s as usize),
        ];
        if let Some((name, _)) = least_one.iter().find(|(_, value)| *value == 0) {
            return Err(Error::Config(format!("{name} must be at least 1")));
        }
        if self.live_last_n > LIVE_LAST_N_MAX {
            return Err(Error::Config(format!("live_last_n must be at most {LIVE_LAST_N_MAX}")));
        }
        if self.writer_batch_items > BATCH_ITEMS_MAX / 2 {
            return Err(Error::Config(format!("writer_batch_items must be at most {}", BATCH_ITEMS_MAX / 2)));
        }
        // A frame that fits nowhere would be answered "busy" for ever.
        let frame = self.frame_bytes_max as usize + 1024;
        if self.front_queue_bytes.min(self.desk_queue_bytes).min(self.writer_queue_bytes) < frame {
            return Err(Error::Config(format!(
                "front_queue_bytes, desk_queue_bytes and writer_queue_bytes must be at least frame_bytes_max + 1024 ({frame})"
            )));
        }
        self.people.check().map_err(Error::Config)?;
        for (app, values) in &self.apps {
            let mut settings = AppSettings::of(self);
            for (name, value) in values {
                settings.set(name, value).map_err(|why| Error::Config(format!("apps: {app}: {why}")))?;
            }
        }
        Ok(())
    }

    /// How long a user counts as online after the last sign of a client on `platform`.
    pub(crate) fn presence_ms(&self, platform: Platform) -> u64 {
        let seconds = if platform == Platform::Web { self.presence_web_s } else { self.presence_native_s };
        u64::from(seconds) * 1000
    }

    /// Sessions of one user on `platform`; 0: as many as there are devices.
    pub(crate) fn instances(&self, platform: Platform) -> usize {
        let instances = if platform == Platform::Web { self.web_instances } else { self.native_instances };
        match (instances, self.multi_device) {
            (0, MultiDevice::All) => 0,
            (0, _) => 1,
            (instances, _) => instances,
        }
    }

    pub(crate) fn front_queue(&self) -> Bound {
        Bound { items: self.front_queue_items, bytes: self.front_queue_bytes }
    }

    pub(crate) fn desk_queue(&self) -> Bound {
        Bound { items: self.desk_queue_items, bytes: self.desk_queue_bytes }
    }

    pub(crate) fn writer_queue(&self) -> Bound {
        Bound { items: self.writer_queue_items, bytes: self.writer_queue_bytes }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_pass_and_each_bad_value_is_named() {
        Config::default().check().unwrap();
        type Spoil = fn(&mut Config);
        let bad: [(Spoil, &str); 4] = [
            (|c| c.writer_batch_items = 1025, "writer_batch_items"),
            (|c| c.front_batch_items = 0, "front_batch_items"),
            (|c| c.user_sessions_max = 0, "user_sessions_max"),
            (|c| c.writer_queue_bytes = 16 * 1024, "writer_queue_bytes"),
        ];
        for (spoil, name) in bad {
            let mut config = Config::default();
            spoil(&mut config);
            let error = config.check().unwrap_err().to_string();
            assert!(error.contains(name), "{error}");
        }
    }
}
