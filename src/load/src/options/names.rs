//! What is said on the command line and in the report, and what it stands for.

use std::fmt;
use std::str::FromStr;

use nearport_client::Tuning;

use super::{LiveClass, RebindBy, Scenario, Transport, Tuned};
use crate::Error;

impl Scenario {
    /// Every scenario.
    pub const ALL: [Self; 10] = [
        Self::Connect,
        Self::Idle,
        Self::Echo,
        Self::Chat,
        Self::Group,
        Self::Weak,
        Self::Roam,
        Self::Storm,
        Self::Live,
        Self::Locate,
    ];

    /// As on the command line and in the report.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Connect => "connect",
            Self::Idle => "idle",
            Self::Echo => "echo",
            Self::Chat => "chat",
            Self::Group => "group",
            Self::Weak => "weak",
            Self::Roam => "roam",
            Self::Storm => "storm",
            Self::Live => "live",
            Self::Locate => "locate",
        }
    }

    /// Whether users in pairs write to each other.
    pub(crate) fn is_chat(self) -> bool {
        matches!(self, Self::Chat | Self::Weak | Self::Roam | Self::Storm)
    }
}

impl fmt::Display for Scenario {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Scenario {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self, Error> {
        Self::ALL.into_iter().find(|scenario| scenario.name() == name).ok_or_else(|| {
            let known = Self::ALL.map(Self::name).join(", ");
            Error::Options(format!("unknown scenario {name:?}: known are {known}"))
        })
    }
}

impl Tuned {
    /// Every part.
    pub const ALL: [Self; 3] = [Self::Hedging, Self::RttMemory, Self::InitialRtt];

    /// As on the command line and in the report.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Hedging => "hedging",
            Self::RttMemory => "rtt-memory",
            Self::InitialRtt => "initial-rtt",
        }
    }

    /// Takes it out.
    pub(crate) fn remove_from(self, tuning: &mut Tuning) {
        match self {
            Self::Hedging => tuning.datagrams = false,
            Self::RttMemory => tuning.remembered_rtt = false,
            Self::InitialRtt => (tuning.remembered_rtt, tuning.initial_rtt) = (false, None),
        }
    }
}

impl FromStr for Tuned {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self, Error> {
        Self::ALL.into_iter().find(|part| part.name() == name).ok_or_else(|| {
            let known = Self::ALL.map(Self::name).join(", ");
            Error::Options(format!("unknown {name:?}: known are {known}"))
        })
    }
}

impl FromStr for RebindBy {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self, Error> {
        match name {
            "nat" => Ok(Self::Nat),
            "client" => Ok(Self::Client),
            _ => Err(Error::Options(format!("unknown {name:?}: known are nat, client"))),
        }
    }
}

impl Transport {
    /// Every way.
    pub const ALL: [Self; 5] = [Self::Quic, Self::Tls, Self::Ws, Self::Wt, Self::Auto];

    /// As on the command line and in the report.
    #[must_use]
    pub fn name(self) -> &'static str {
        self.only().map_or("auto", nearport_client::Transport::name)
    }

    /// Whether all of it goes over UDP.
    #[must_use]
    pub fn is_udp(self) -> bool {
        self.only().is_some_and(nearport_client::Transport::is_udp)
    }

    /// The one transport that clients may use; `None`: what the SDK uses by itself.
    pub(crate) fn only(self) -> Option<nearport_client::Transport> {
        use nearport_client::Transport as Sdk;
        match self {
            Self::Quic => Some(Sdk::Quic),
            Self::Tls => Some(Sdk::Tls),
            Self::Ws => Some(Sdk::WebSocket),
            Self::Wt => Some(Sdk::WebTransport),
            Self::Auto => None,
        }
    }
}

impl fmt::Display for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Transport {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self, Error> {
        Self::ALL.into_iter().find(|transport| transport.name() == name).ok_or_else(|| {
            let known = Self::ALL.map(Self::name).join(", ");
            Error::Options(format!("unknown transport {name:?}: known are {known}"))
        })
    }
}

impl FromStr for LiveClass {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self, Error> {
        match name {
            "gift" => Ok(Self::Gift),
            "chat" => Ok(Self::Chat),
            "like" => Ok(Self::Like),
            _ => Err(Error::Options(format!("unknown class {name:?}: known are gift, chat, like"))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_read_back() {
        for scenario in Scenario::ALL {
            assert_eq!(scenario.name().parse::<Scenario>().unwrap(), scenario);
        }
        for part in Tuned::ALL {
            assert_eq!(part.name().parse::<Tuned>().unwrap(), part);
        }
        for transport in Transport::ALL {
            assert_eq!(transport.name().parse::<Transport>().unwrap(), transport);
        }
        assert!(
            "Chat"
                .parse::<Scenario>()
                .unwrap_err()
                .to_string()
                .contains("connect, idle, echo, chat, group, weak")
        );
        assert!("udp".parse::<Transport>().unwrap_err().to_string().contains("quic, tls, ws, wt, auto"));
    }
}
