//! Which cells there are, and how long each takes.

use std::fmt;
use std::time::Duration;

use nearport_impair::{Profile, Spec};

use crate::Args;

/// A column of the matrix.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Transport {
    Quic,
    Tls,
    Ws,
    Wt,
}

impl Transport {
    pub(crate) const ALL: [Self; 4] = [Self::Quic, Self::Tls, Self::Ws, Self::Wt];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Quic => "quic",
            Self::Tls => "tls",
            Self::Ws => "ws",
            Self::Wt => "wt",
        }
    }

    fn is_udp(self) -> bool {
        matches!(self, Self::Quic | Self::Wt)
    }
}

/// One transport on one network.
#[derive(Debug, Clone)]
pub(crate) struct Cell {
    pub(crate) transport: Transport,
    pub(crate) network: Profile,
    pub(crate) spec: Spec,
    /// Length of the measured window.
    pub(crate) window: Duration,
}

impl Cell {
    /// What the load tool is told. Where UDP vanishes, nothing that goes over UDP alone can pass: there the SDK chooses, as it does
    /// in an application.
    pub(crate) fn asked_transport(&self) -> &'static str {
        let no_udp = matches!(self.network, Profile::UdpBlackhole | Profile::UdpCut);
        if no_udp && self.transport.is_udp() { "auto" } else { self.transport.name() }
    }
}

impl fmt::Display for Cell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.network, self.transport.name())
    }
}

/// What was asked for, network by network.
pub(crate) fn cells(args: &Args) -> Vec<Cell> {
    let or_all =
        |given: &[Transport]| if given.is_empty() { Transport::ALL.to_vec() } else { given.to_vec() };
    let (transports, networks) = match args.quick {
        true => (vec![Transport::Quic, Transport::Tls], vec![Profile::Loss2]),
        false if args.networks.is_empty() => (or_all(&args.transports), Profile::ALL.to_vec()),
        false => (or_all(&args.transports), args.networks.clone()),
    };
    let pairs =
        networks.iter().flat_map(|network| transports.iter().map(move |transport| (*network, *transport)));
    let cell = |(network, transport)| Cell {
        transport,
        network,
        spec: Spec { seed: args.seed, ..network.spec() },
        window: if args.quick { Duration::from_secs(5) } else { window(network) },
    };
    pairs.map(cell).collect()
}

/// Long enough for what happens in it: a cut or a smaller MTU after 15 s, three changes of address, a minute of silence.
fn window(network: Profile) -> Duration {
    Duration::from_secs(match network {
        Profile::Outage60 => 90,
        Profile::UdpCut | Profile::Rebind10 | Profile::Mtu => 40,
        _ => 30,
    })
}

pub(crate) fn profile(name: &str) -> Result<Profile, String> {
    Profile::ALL.into_iter().find(|profile| profile.name() == name).ok_or_else(|| {
        let known = Profile::ALL.map(Profile::name).join(", ");
        format!("known are {known}")
    })
}
