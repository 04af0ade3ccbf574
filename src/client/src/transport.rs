//! Ways to carry a session. The frames are the same on each.

use std::fmt;
use std::str::FromStr;

/// What carries a session between a client and an edge. All use the same address and port of the edge.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Transport {
    /// QUIC version 1, ALPN `np/1`: the fastest, and the only one that survives a change of address.
    Quic,
    /// TLS 1.3 over TCP, ALPN `np/1`: the frames and nothing else.
    Tls,
    /// WebSocket over HTTPS: gets through what knows nothing but the web.
    WebSocket,
    /// WebTransport over HTTP/3. Meant for browsers; here for tests and measurements.
    WebTransport,
}

impl Transport {
    /// Every transport.
    pub const ALL: [Self; 4] = [Self::Quic, Self::Tls, Self::WebSocket, Self::WebTransport];

    /// The short name: `quic`, `tls`, `ws`, `wt`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Quic => "quic",
            Self::Tls => "tls",
            Self::WebSocket => "ws",
            Self::WebTransport => "wt",
        }
    }

    /// Whether it runs over UDP.
    #[must_use]
    pub fn is_udp(self) -> bool {
        matches!(self, Self::Quic | Self::WebTransport)
    }
}

impl fmt::Display for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Not the name of a transport.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown transport `{0}`: quic, tls, ws or wt")]
pub struct UnknownTransport(String);

impl FromStr for Transport {
    type Err = UnknownTransport;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        let found = Self::ALL.into_iter().find(|transport| transport.name() == name);
        found.ok_or_else(|| UnknownTransport(name.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_read_back() {
        for transport in Transport::ALL {
            assert_eq!(transport.name().parse(), Ok(transport));
        }
        assert!("udp".parse::<Transport>().is_err());
    }
}
