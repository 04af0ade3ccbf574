//! Whether options make sense together.

use std::time::Duration;

use super::{MESSAGE_BYTES_MAX, Options, Scenario};
use crate::Error;

/// Below this the relay would make sockets faster than packets.
const REBIND_PERIOD_MIN: Duration = Duration::from_millis(200);

/// More than this is likely a typing mistake, and a process would run out of memory (about 40 KB each).
const CONNECTIONS_MAX: u32 = 200_000;

/// Beyond this networks would meet in one /24.
const NETWORKS_MAX: u32 = 1_000_000;

/// More than that no machine has to spare.
const THREADS_MAX: usize = 256;

impl Options {
    /// Whether the options make sense together; [`run`](crate::run) asks by itself.
    ///
    /// # Errors
    /// [`Error::Options`] with the first that does not.
    pub fn check(&self) -> Result<(), Error> {
        let scenario = self.scenario;
        let sends = matches!(scenario, Scenario::Echo | Scenario::Locate | Scenario::Group | Scenario::Live)
            || scenario.is_chat();
        let only_for =
            |option: &str, of: Scenario| format!("{option} belongs to scenario {of}, not {scenario}");
        let wrong = if !(1..=CONNECTIONS_MAX).contains(&self.connections) {
            format!("connections must be 1 to {CONNECTIONS_MAX}, not {}", self.connections)
        } else if scenario.is_chat() && !self.connections.is_multiple_of(2) {
            format!("scenario {scenario} works in pairs: connections must be even, not {}", self.connections)
        } else if sends && self.rate == 0 {
            "rate must be at least 1".into()
        } else if scenario != Scenario::Connect && self.duration.is_zero() {
            "duration must be longer than zero".into()
        } else if scenario != Scenario::Live && (self.chat_rate > 0 || self.join_rate > 0) {
            only_for("join_rate and chat_rate", Scenario::Live)
        } else if scenario != Scenario::Live && !self.classes.is_empty() {
            only_for("classes", Scenario::Live)
        } else if self.chat_rate > 0
            && (self.chat_connections == 0 || !self.chat_connections.is_multiple_of(2))
        {
            format!("chat_connections must be even, not {}", self.chat_connections)
        } else if self.chat_rate > 0 && self.quiet.is_zero() {
            "quiet must be longer than zero".into()
        } else if self.message_bytes > MESSAGE_BYTES_MAX {
            format!("message_bytes must be at most {MESSAGE_BYTES_MAX}, not {}", self.message_bytes)
        } else if self.logins_max == 0 || self.sockets == 0 {
            "logins_max and sockets must be at least 1".into()
        } else if !(1..=THREADS_MAX).contains(&self.threads) {
            format!("threads must be 1 to {THREADS_MAX}, not {}", self.threads)
        } else if scenario == Scenario::Group && (self.groups == 0 || self.online < 2) {
            "a group scenario has at least one group, and two of its members online".into()
        } else if scenario == Scenario::Group && self.members < self.online {
            format!("{} members online are more than there are members, {}", self.online, self.members)
        } else if scenario == Scenario::Group && self.connections != self.groups.saturating_mul(self.online) {
            "scenario group connects every member online: set groups and online instead of connections".into()
        } else if scenario == Scenario::Group && self.hot_rate == Some(0) {
            "hot_rate must be at least 1".into()
        } else if scenario != Scenario::Group && self.hot_rate.is_some() {
            only_for("hot_rate", Scenario::Group)
        } else if scenario != Scenario::Locate && self.api.is_some() {
            only_for("api", Scenario::Locate)
        } else if scenario != Scenario::Locate && self.networks.is_some() {
            only_for("networks", Scenario::Locate)
        } else if scenario == Scenario::Locate && self.impair.is_some() {
            "impair works on UDP, and scenario locate asks over TCP".into()
        } else if !(1..=NETWORKS_MAX).contains(&self.networks()) {
            format!("networks must be 1 to {NETWORKS_MAX}, not {}", self.networks())
        } else if self.impair.is_some() && !self.transport.is_udp() {
            format!(
                "impair works on UDP: a relay can lose no packets of {}, because TCP sends them again below it. Packets of TCP are \
                 lost in the laboratory: cargo bench --bench matrix",
                self.transport
            )
        } else if scenario == Scenario::Roam && !self.transport.is_udp() {
            format!(
                "scenario roam changes addresses, which no connection of {} survives: use quic or wt",
                self.transport
            )
        } else if scenario == Scenario::Roam && !(1..=1_000).contains(&self.rebinds) {
            format!("rebinds must be 1 to 1000, not {}", self.rebinds)
        } else if scenario == Scenario::Roam && self.rebind_period() < REBIND_PERIOD_MIN {
            format!(
                "{} rebinds in {:?} are more than one each {REBIND_PERIOD_MIN:?}",
                self.rebinds, self.duration
            )
        } else if scenario == Scenario::Roam && self.impair.as_ref().is_some_and(|spec| spec.rebind.is_some())
        {
            "scenario roam sets rebind by itself: leave it out of impair".into()
        } else if scenario != Scenario::Storm && self.kill_after.is_some() {
            only_for("kill_after", Scenario::Storm)
        } else if scenario != Scenario::Storm && self.restart_cmd.is_some() {
            only_for("restart_cmd", Scenario::Storm)
        } else if self.kill_after.is_some() && self.server_pid.is_none() {
            "kill_after needs server_pid, the process to kill".into()
        } else if self.kill_after.is_some_and(|after| after >= self.duration) {
            "kill_after must be shorter than duration".into()
        } else if self.restart_cmd.is_some() && self.kill_after.is_none() {
            "restart_cmd needs kill_after: who kills the server by hand also starts it".into()
        } else if self.notice.is_some() && self.kill_after.is_none() {
            "notice needs kill_after: it counts from there".into()
        } else {
            return Ok(());
        };
        Err(Error::Options(wrong))
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use nearport_client::core::{Core, CoreConfig};
    use nearport_client::{Acks, Limits, Platform, Receive, text, user};
    use nearport_impair::Spec;

    use super::*;
    use crate::Transport;

    #[test]
    fn each_mistake_has_its_words() {
        assert!(Scenario::ALL.into_iter().all(|scenario| Options::new(scenario).check().is_ok()));
        type Spoil = fn(&mut Options);
        let cases: [(Scenario, &str, Spoil); 26] = [
            (Scenario::Live, "threads must be", |o| o.threads = 0),
            (Scenario::Group, "two of its members", |o| o.set_groups(3, 9, 1)),
            (Scenario::Group, "more than there are members", |o| o.set_groups(3, 4, 5)),
            (Scenario::Group, "instead of connections", |o| o.connections = 7),
            (Scenario::Group, "hot_rate must be", |o| o.hot_rate = Some(0)),
            (Scenario::Chat, "hot_rate belongs to", |o| o.hot_rate = Some(1)),
            (Scenario::Chat, "connections must be 1", |o| o.connections = 0),
            (Scenario::Chat, "connections must be 1", |o| o.connections = CONNECTIONS_MAX + 1),
            (Scenario::Chat, "pairs", |o| o.connections = 3),
            (Scenario::Weak, "scenario weak works in pairs", |o| o.connections = 3),
            (Scenario::Chat, "rate", |o| o.rate = 0),
            (Scenario::Chat, "duration", |o| o.duration = Duration::ZERO),
            (Scenario::Chat, "message_bytes", |o| o.message_bytes = 12 * 1024),
            (Scenario::Chat, "sockets", |o| o.sockets = 0),
            (Scenario::Weak, "cargo bench --bench matrix", |o| {
                (o.transport, o.impair) = (Transport::Tls, Some(Spec::default()));
            }),
            (Scenario::Roam, "use quic or wt", |o| o.transport = Transport::Auto),
            (Scenario::Roam, "rebinds must be 1", |o| o.rebinds = 0),
            (Scenario::Roam, "more than one each 200ms", |o| o.rebinds = 1_000),
            (Scenario::Chat, "kill_after belongs to scenario storm, not chat", |o| {
                o.kill_after = Some(o.duration)
            }),
            (Scenario::Echo, "api belongs to scenario locate, not echo", |o| {
                o.api = Some(SocketAddr::from(([127, 0, 0, 1], 1)));
            }),
            (Scenario::Weak, "networks belongs to scenario locate, not weak", |o| o.networks = Some(5)),
            (Scenario::Locate, "networks must be 1 to 1000000, not 0", |o| o.networks = Some(0)),
            (Scenario::Storm, "needs server_pid", |o| o.kill_after = Some(o.duration)),
            (Scenario::Storm, "shorter than duration", |o| {
                (o.kill_after, o.server_pid) = (Some(o.duration), Some(1));
            }),
            (Scenario::Storm, "restart_cmd needs kill_after", |o| o.restart_cmd = Some("true".into())),
            (Scenario::Storm, "notice needs kill_after", |o| o.notice = Some(o.duration)),
        ];
        for (scenario, words, spoil) in cases {
            let mut options = Options::new(scenario);
            spoil(&mut options);
            let error = options.check().unwrap_err().to_string();
            assert!(error.contains(words), "{error}");
        }
    }

    #[test]
    fn the_sdk_takes_the_longest_text_and_only_a_little_more_is_refused() {
        let now = std::time::Instant::now();
        let core = CoreConfig {
            app: 1,
            user: "load-0".into(),
            device: "load".into(),
            platform: Platform::Other,
            usersig: String::new(),
            client: String::new(),
            cursor: None,
            resume: None,
            follow: nearport_client::Follow::Nothing,
            groups: Vec::new(),
            acks: Acks::default(),
            receive: Receive::default(),
            limits: Limits::default(),
            seed: 1,
        };
        let mut core = Core::new(core, now);
        let mut post = |bytes: usize| core.send(now, user("load-1"), text("x".repeat(bytes)), false);
        post(MESSAGE_BYTES_MAX).unwrap();
        post(MESSAGE_BYTES_MAX + 16).unwrap_err();
    }
}
