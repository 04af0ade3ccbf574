//! Whose request it is: the socket's, or the one that a trusted forwarder names.
//!
//! A forwarder appends the address that it was called from to **one** header and passes others on as they came. So only the header
//! that the forwarders are known to write is read ([`Header`]), from its end, and only as far as trusted forwarders wrote it: what
//! stands before the first address that is not one of theirs came from somebody who may write anything.

use std::net::{IpAddr, SocketAddr};

/// Hops that are followed. A longer chain is no chain of ours.
pub const HOPS_MAX: usize = 16;

/// Octets of the header that are read, over all its lines.
pub const HEADER_BYTES_MAX: usize = 2_048;

/// The header that the forwarders write.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Header {
    /// `X-Forwarded-For: CLIENT, PROXY`
    #[default]
    XForwardedFor,
    /// `Forwarded: for=CLIENT;proto=https, for="[2001:db8::1]:4711"` (RFC 7239)
    Forwarded,
}

impl Header {
    /// The name, in lower case.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::XForwardedFor => "x-forwarded-for",
            Self::Forwarded => "forwarded",
        }
    }

    /// The other one.
    #[must_use]
    pub fn other(self) -> Self {
        match self {
            Self::XForwardedFor => Self::Forwarded,
            Self::Forwarded => Self::XForwardedFor,
        }
    }
}

/// Whose request it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Client {
    /// The socket's peer: it is no trusted forwarder, or it named nobody.
    Socket(IpAddr),
    /// A trusted forwarder named it.
    Forwarded(IpAddr),
    /// A trusted forwarder named somebody in a way that cannot be read, or that hides it (`unknown`, `_name`).
    Hidden,
}

impl Client {
    /// The address, if there is one.
    #[must_use]
    pub fn ip(self) -> Option<IpAddr> {
        match self {
            Self::Socket(ip) | Self::Forwarded(ip) => Some(ip),
            Self::Hidden => None,
        }
    }
}

/// Whose request it is that came from `peer` with these lines of the forwarders' header, in order. `trusted` says who is a
/// forwarder; lines of anybody else are not looked at.
#[must_use]
pub fn client<'a>(
    peer: IpAddr,
    header: Header,
    lines: impl DoubleEndedIterator<Item = &'a [u8]>,
    trusted: impl Fn(IpAddr) -> bool,
) -> Client {
    let peer = peer.to_canonical();
    if !trusted(peer) {
        return Client::Socket(peer);
    }
    let (mut last, mut hops, mut bytes) = (Client::Socket(peer), 0, 0);
    for line in lines.rev() {
        bytes += line.len();
        let Some(text) = std::str::from_utf8(line).ok().filter(|_| bytes <= HEADER_BYTES_MAX) else {
            return Client::Hidden;
        };
        let Some(parts) = split(text, ',') else { return Client::Hidden };
        for part in parts.into_iter().rev() {
            // An empty element counts as none (RFC 9110 §5.6.1).
            if part.is_empty() {
                continue;
            }
            hops += 1;
            let named = match header {
                Header::XForwardedFor => address(part),
                Header::Forwarded => forwarded_for(part),
            };
            match named {
                Some(ip) if hops > HOPS_MAX => return if trusted(ip) { Client::Hidden } else { last },
                Some(ip) if trusted(ip) => last = Client::Forwarded(ip),
                Some(ip) => return Client::Forwarded(ip),
                None => return Client::Hidden,
            }
        }
    }
    last
}

/// `for=` of one element of `Forwarded`.
fn forwarded_for(element: &str) -> Option<IpAddr> {
    let pairs = split(element, ';')?;
    let mut nodes = pairs.into_iter().filter_map(|pair| {
        let (name, value) = pair.split_once('=')?;
        name.trim().eq_ignore_ascii_case("for").then_some(value.trim())
    });
    let node = nodes.next()?;
    // Two in one element contradict each other.
    if nodes.next().is_some() {
        return None;
    }
    let node = match node.strip_prefix('"') {
        Some(quoted) => quoted.strip_suffix('"')?,
        // A colon must be quoted, but not everybody does.
        None => node,
    };
    address(node)
}

/// An address with or without port, IPv6 with or without brackets.
fn address(text: &str) -> Option<IpAddr> {
    let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(text);
    let ip = bare.parse().ok().or_else(|| text.parse::<SocketAddr>().ok().map(|at| at.ip()));
    ip.map(|ip: IpAddr| ip.to_canonical())
}

/// Trimmed parts between separators outside of quotes. `None` if a quote does not end, or if there are more parts than any
/// chain that is followed has.
fn split(text: &str, separator: char) -> Option<Vec<&str>> {
    let (mut parts, mut start, mut quoted, mut escaped) = (Vec::new(), 0, false, false);
    for (at, c) in text.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' if quoted => escaped = true,
            '"' => quoted = !quoted,
            _ if c == separator && !quoted => {
                parts.push(text[start..at].trim());
                start = at + c.len_utf8();
            }
            _ => {}
        }
    }
    parts.push(text[start..].trim());
    (!quoted).then_some(parts)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const PROXY: &str = "10.0.0.1";

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn ask(peer: &str, header: Header, lines: &[&str]) -> Client {
        let trusted = |ip: IpAddr| matches!(ip, IpAddr::V4(v4) if v4.octets()[0] == 10);
        client(ip(peer), header, lines.iter().map(|line| line.as_bytes()), trusted)
    }

    #[test]
    fn only_what_trusted_forwarders_wrote_counts() {
        use Header::XForwardedFor as X;
        let forwarded = |text| Client::Forwarded(ip(text));
        // Not a forwarder: it may say what it likes.
        assert_eq!(ask("192.0.2.9", X, &["198.51.100.7"]), Client::Socket(ip("192.0.2.9")));
        assert_eq!(ask(PROXY, X, &[]), Client::Socket(ip(PROXY)));
        assert_eq!(ask(PROXY, X, &["198.51.100.7"]), forwarded("198.51.100.7"));
        // What the client itself had put there stands in front and is not believed.
        assert_eq!(ask(PROXY, X, &["1.1.1.1, 198.51.100.7"]), forwarded("198.51.100.7"));
        assert_eq!(ask(PROXY, X, &["1.1.1.1, 198.51.100.7, 10.9.9.9"]), forwarded("198.51.100.7"));
        assert_eq!(ask(PROXY, X, &["1.1.1.1", "198.51.100.7 ,10.9.9.9", ""]), forwarded("198.51.100.7"));
        assert_eq!(ask(PROXY, X, &["garbage, 198.51.100.7"]), forwarded("198.51.100.7"));
        // All of ours: the farthest.
        assert_eq!(ask(PROXY, X, &["10.2.2.2, 10.9.9.9"]), forwarded("10.2.2.2"));
        for ported in ["198.51.100.7:4711", "::ffff:198.51.100.7", "[::ffff:198.51.100.7]:1"] {
            assert_eq!(ask(PROXY, X, &[ported]), forwarded("198.51.100.7"), "{ported}");
        }
        assert_eq!(ask(PROXY, X, &["[2001:db8::1]"]), forwarded("2001:db8::1"));
        for hidden in ["unknown", "198.51.100.7, unknown", "a\"b", "1.2.3", "198.51.100.7;"] {
            assert_eq!(ask(PROXY, X, &[hidden]), Client::Hidden, "{hidden}");
        }
    }

    #[test]
    fn forwarded_is_read_as_the_rfc_writes_it() {
        use Header::Forwarded as F;
        let forwarded = |text| Client::Forwarded(ip(text));
        for line in [
            "for=192.0.2.60;proto=http;by=203.0.113.43",
            "For=\"192.0.2.60:4711\"",
            "for=1.1.1.1, for=192.0.2.60",
            "proto=https ; for=192.0.2.60",
            "secret=\"a,b;for=1.2.3.4\";for=192.0.2.60, for=10.1.1.1",
        ] {
            assert_eq!(ask(PROXY, F, &[line]), forwarded("192.0.2.60"), "{line}");
        }
        assert_eq!(ask(PROXY, F, &["for=\"[2001:db8:cafe::17]:4711\""]), forwarded("2001:db8:cafe::17"));
        for line in [
            "for=unknown",
            "for=_hidden",
            "by=1.2.3.4",
            "for=\"1.2.3.4",
            "for=1.2.3.4;for=4.3.2.1",
            "192.0.2.60",
        ] {
            assert_eq!(ask(PROXY, F, &[line]), Client::Hidden, "{line}");
        }
    }

    #[test]
    fn long_chains_are_not_followed() {
        let hops = vec!["10.1.1.1"; HOPS_MAX].join(", ");
        assert_eq!(ask(PROXY, Header::XForwardedFor, &[&hops]), Client::Forwarded(ip("10.1.1.1")));
        let hops = vec!["10.1.1.1"; HOPS_MAX + 1].join(", ");
        assert_eq!(ask(PROXY, Header::XForwardedFor, &[&hops]), Client::Hidden);
        let long = format!("{}, 198.51.100.7", " ".repeat(HEADER_BYTES_MAX));
        assert_eq!(ask(PROXY, Header::XForwardedFor, &[&long]), Client::Hidden);
    }

    proptest! {
        #[test]
        fn no_header_panics_or_names_a_trusted_liar(
            line in proptest::collection::vec(any::<u8>(), 0..300), forwarded: bool,
        ) {
            let header = if forwarded { Header::Forwarded } else { Header::XForwardedFor };
            let _ = client(ip(PROXY), header, [&line[..]].into_iter(), |_| true);
            let socket = client(ip("192.0.2.1"), header, [&line[..]].into_iter(), |_| false);
            prop_assert_eq!(socket, Client::Socket(ip("192.0.2.1")));
        }

        /// Whatever stands in front of what our own forwarder appended changes nothing.
        #[test]
        fn nothing_in_front_of_a_forwarders_word_matters(before in "[ -~]{0,80}", client: [u8; 4]) {
            prop_assume!(client[0] != 10);
            let line = format!("{}, {}", before.replace('"', ""), IpAddr::from(client));
            prop_assert_eq!(ask(PROXY, Header::XForwardedFor, &[&line]), Client::Forwarded(client.into()));
        }
    }
}
