//! The zone as an operator writes it, checked.

use std::net::IpAddr;

use hickory_proto::rr::Name;
use hickory_proto::serialize::binary::BinEncodable as _;

/// Name servers of a zone at most.
pub const SERVERS_MAX: usize = 8;
/// Names that are steered at most.
pub const NAMES_MAX: usize = 16;
/// Addresses of one name server, and of one PoP, of each family, that answers name at most.
pub const ADDRESSES_MAX: usize = 8;

/// What cannot be a zone: the setting, and why.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("dns.{key}: {reason}")]
pub struct SetupError {
    /// The setting, without its section.
    pub key: &'static str,
    /// What is wrong with it.
    pub reason: String,
}

/// A zone, before there are PoPs in it. Names are relative to the zone unless they end in a dot, `@` is the zone itself.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Text<'a> {
    /// The zone's own name.
    pub zone: &'a str,
    /// Its name servers, and the addresses of those that are inside of it.
    pub servers: Vec<(&'a str, &'a [IpAddr])>,
    /// The names that are steered.
    pub names: Vec<&'a str>,
    /// The mailbox of who is responsible, as a name; `None`: `hostmaster`.
    pub contact: Option<&'a str>,
    /// How long a steered answer is kept, in seconds.
    pub ttl_s: u32,
    /// How long name servers and the SOA are kept, in seconds.
    pub zone_ttl_s: u32,
}

/// A zone that is checked: names in wire form, lower case.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Setup {
    pub(crate) zone: Vec<u8>,
    pub(crate) servers: Vec<(Vec<u8>, Vec<IpAddr>)>,
    pub(crate) names: Vec<Vec<u8>>,
    pub(crate) contact: Vec<u8>,
    pub(crate) ttl_s: u32,
    pub(crate) zone_ttl_s: u32,
}

impl Setup {
    /// Checks a zone.
    ///
    /// # Errors
    /// [`SetupError`], the first one found.
    pub fn new(text: &Text<'_>) -> Result<Self, SetupError> {
        let error = |key, reason: String| SetupError { key, reason };
        let zone = Name::from_ascii(text.zone)
            .ok()
            .filter(|zone| zone.num_labels() > 0 && zone.len() < 128)
            .ok_or_else(|| error("zone", format!("`{}` is no name of a zone", text.zone)))?;
        let zone = absolute(zone);
        let full = |key, name: &str| -> Result<Vec<u8>, SetupError> {
            let full = match name {
                "@" => Ok(zone.clone()),
                // An empty one would be the zone too, by accident.
                "" => Err("empty".into()),
                _ if name.ends_with('.') => Name::from_ascii(name),
                _ => Name::from_ascii(name).and_then(|name| name.append_domain(&zone)),
            };
            full.ok().and_then(|name| wire(&name)).ok_or_else(|| error(key, format!("`{name}` is no name")))
        };
        let zone_wire = wire(&zone).ok_or_else(|| error("zone", "too long".to_owned()))?;
        let inside = |name: &[u8]| suffix_at(name, &zone_wire).is_some();
        if !(1..=SERVERS_MAX).contains(&text.servers.len()) {
            return Err(error("ns", format!("a zone has 1 to {SERVERS_MAX} name servers")));
        }
        let mut servers: Vec<(Vec<u8>, Vec<IpAddr>)> = Vec::new();
        for (name, addresses) in &text.servers {
            let full = full("ns", name)?;
            if servers.iter().any(|(other, _)| *other == full) {
                return Err(error("ns", format!("`{name}` stands there twice")));
            }
            if inside(&full) == addresses.is_empty() {
                let reason = match addresses.is_empty() {
                    true => "it is inside the zone and needs addresses: nobody else could tell them",
                    false => "it is not inside the zone, so its addresses are for others to tell",
                };
                return Err(error("ns", format!("`{name}`: {reason}")));
            }
            if addresses.len() > ADDRESSES_MAX {
                return Err(error("ns", format!("`{name}`: at most {ADDRESSES_MAX} addresses")));
            }
            servers.push((full, addresses.to_vec()));
        }
        if !(1..=NAMES_MAX).contains(&text.names.len()) {
            return Err(error("names", format!("1 to {NAMES_MAX} names are steered")));
        }
        let mut names: Vec<Vec<u8>> = Vec::new();
        for name in &text.names {
            let full = full("names", name)?;
            if !inside(&full) {
                return Err(error("names", format!("`{name}` is not inside the zone")));
            }
            if names.contains(&full) || servers.iter().any(|(server, _)| *server == full) {
                return Err(error("names", format!("`{name}` stands there twice, or is a name server")));
            }
            names.push(full);
        }
        let contact = full("contact", text.contact.unwrap_or("hostmaster"))?;
        let (ttl_s, zone_ttl_s) = (text.ttl_s, text.zone_ttl_s);
        Ok(Self { zone: zone_wire, servers, names, contact, ttl_s, zone_ttl_s })
    }
}

fn absolute(mut name: Name) -> Name {
    name.set_fqdn(true);
    name
}

/// A name in wire form, lower case.
pub(crate) fn wire(name: &Name) -> Option<Vec<u8>> {
    let bytes = absolute(name.to_lowercase()).to_bytes().ok()?;
    (bytes.len() <= super::query::NAME_BYTES_MAX).then_some(bytes)
}

/// Where `suffix` begins in `name`, both in wire form and lower case.
pub(crate) fn suffix_at(name: &[u8], suffix: &[u8]) -> Option<usize> {
    let start = name.len().checked_sub(suffix.len())?;
    let mut at = 0;
    while at < start {
        at += 1 + usize::from(name[at]);
    }
    // Only between labels.
    (at == start && name[start..] == *suffix).then_some(start)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ips(texts: &[&str]) -> Vec<IpAddr> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    fn text<'a>(servers: Vec<(&'a str, &'a [IpAddr])>, names: Vec<&'a str>) -> Text<'a> {
        Text { zone: "pop.example", servers, names, contact: None, ttl_s: 30, zone_ttl_s: 3600 }
    }

    #[test]
    fn names_are_of_the_zone_unless_they_end_in_a_dot() {
        let glue = ips(&["192.0.2.53"]);
        let servers = vec![("NS1", &glue[..]), ("ns.provider.example.", &[])];
        let setup = Setup::new(&text(servers, vec!["im", "@"])).unwrap();
        assert_eq!(setup.zone, b"\x03pop\x07example\x00");
        assert_eq!(setup.servers[0].0, b"\x03ns1\x03pop\x07example\x00");
        assert_eq!(setup.servers[1].0, b"\x02ns\x08provider\x07example\x00");
        assert_eq!(setup.names, [&b"\x02im\x03pop\x07example\x00"[..], b"\x03pop\x07example\x00"]);
        assert_eq!(setup.contact, b"\x0ahostmaster\x03pop\x07example\x00");
    }

    #[test]
    fn what_is_no_zone_is_refused_by_its_setting() {
        let glue = ips(&["192.0.2.53"]);
        let many = vec![glue[0]; ADDRESSES_MAX + 1];
        let ns = || vec![("ns1", &glue[..])];
        let no: &[IpAddr] = &[];
        for (text, said) in [
            (Text { zone: "", ..text(ns(), vec!["im"]) }, "dns.zone"),
            (Text { zone: ".", ..text(ns(), vec!["im"]) }, "dns.zone"),
            (Text { zone: "a..b", ..text(ns(), vec!["im"]) }, "dns.zone"),
            (text(vec![], vec!["im"]), "dns.ns"),
            (text(vec![("ns1", no)], vec!["im"]), "needs addresses"),
            (text(vec![("ns.else.", &glue)], vec!["im"]), "not inside the zone"),
            (text(vec![("ns1", &glue), ("NS1", &glue)], vec!["im"]), "twice"),
            (text(vec![("ns1", &many)], vec!["im"]), "at most 8"),
            (text(ns(), vec![]), "dns.names"),
            (text(ns(), vec!["im.else."]), "not inside"),
            (text(ns(), vec!["im", "IM"]), "twice"),
            (text(ns(), vec!["ns1"]), "is a name server"),
            (text(ns(), vec![""]), "no name"),
            (text(ns(), vec!["a..b"]), "no name"),
            (Text { contact: Some("a..b"), ..text(ns(), vec!["im"]) }, "dns.contact"),
        ] {
            let error = Setup::new(&text).unwrap_err().to_string();
            assert!(error.contains(said), "{error}");
        }
    }

    #[test]
    fn a_suffix_begins_between_labels() {
        let zone = b"\x03pop\x00";
        assert_eq!(suffix_at(b"\x01a\x03pop\x00", zone), Some(2));
        assert_eq!(suffix_at(zone, zone), Some(0));
        assert_eq!(suffix_at(b"\x05a\x03pop\x00", zone), None, "inside a label");
        assert_eq!(suffix_at(b"\x00", zone), None);
    }
}
