//! Networks with a name.

use std::fmt;

use crate::Spec;

/// A network that tests and users name in one word. Times are one way: the round trip is twice as long.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Profile {
    /// Nothing is wrong.
    Clean,
    /// 2 % loss, 50 ms.
    Loss2,
    /// 10 % loss, 200 ms.
    Loss10,
    /// 20 % loss in bursts of 5 packets.
    Burst20,
    /// Bandwidth and round trip of the "3G" profile of WebPageTest: 1.6 Mbit/s down, 768 kbit/s up, 300 ms. The radio link repeats
    /// what it loses, which shows as jitter, not as loss.
    ThreeG,
    /// UDP never passes.
    UdpBlackhole,
    /// UDP passes for 15 s and never again.
    UdpCut,
    /// A NAT forgets its mappings every 10 s.
    Rebind10,
    /// Nothing passes from 15 s to 75 s.
    Outage60,
    /// IP packets of 1,280 bytes pass, and after 15 s only those of 1,200. QUIC's first packets then do not fit (RFC 9000 §14: UDP
    /// payloads of 1,200 bytes), those of a session with small messages do.
    Mtu,
    /// A quarter of the packets comes 30 ms late.
    Reorder25,
}

impl Profile {
    /// All of them.
    pub const ALL: [Self; 11] = [
        Self::Clean,
        Self::Loss2,
        Self::Loss10,
        Self::Burst20,
        Self::ThreeG,
        Self::UdpBlackhole,
        Self::UdpCut,
        Self::Rebind10,
        Self::Outage60,
        Self::Mtu,
        Self::Reorder25,
    ];

    /// As it is written.
    #[must_use]
    pub const fn name(self) -> &'static str {
        self.entry().0
    }

    /// The words it stands for.
    #[must_use]
    pub const fn words(self) -> &'static str {
        self.entry().1
    }

    const fn entry(self) -> (&'static str, &'static str) {
        match self {
            Self::Clean => ("clean", ""),
            Self::Loss2 => ("loss2", "loss=2%,delay=50ms"),
            Self::Loss10 => ("loss10", "loss=10%,delay=200ms"),
            Self::Burst20 => ("burst20", "burst=20%/5,delay=25ms"),
            Self::ThreeG => ("3g", "delay=150ms,jitter=50ms,up.rate=768kbit,down.rate=1600kbit"),
            Self::UdpBlackhole => ("udp-blackhole", "delay=25ms,blackhole=udp"),
            Self::UdpCut => ("udp-cut", "delay=25ms,blackhole=udp@15s"),
            Self::Rebind10 => ("rebind10", "delay=25ms,rebind=10s"),
            Self::Outage60 => ("outage60", "delay=25ms,outage=60s@15s"),
            Self::Mtu => ("mtu", "delay=25ms,mtu=1280,mtu=1200@15s"),
            Self::Reorder25 => ("reorder25", "delay=25ms,reorder=25%/30ms"),
        }
    }

    /// The network.
    #[must_use]
    pub fn spec(self) -> Spec {
        self.words().parse().expect("every profile is read by a test")
    }

    pub(crate) fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|profile| profile.name() == name)
    }
}

impl fmt::Display for Profile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_profile_reads_by_its_name() {
        for profile in Profile::ALL {
            assert_eq!(profile.name().parse::<Spec>(), Ok(profile.spec()), "{profile}");
        }
        assert_eq!(Profile::Clean.spec(), Spec::default());
    }
}
