//! The PoP table: what there is to choose from.
//!
//! It comes from TOML, `[[pop]]` by `[[pop]]`:
//!
//! ```toml
//! [[pop]]
//! id = "sg-singapore"          # a-z, 0-9 and -, at most 32 bytes; the name on the wire and in metrics
//! place = "Singapore"
//! country = "SG"
//! continent = "AS"
//! lat = 1.3521
//! lon = 103.8198
//! capacity = 100000            # sessions; the default is 100000
//! capabilities = ["quic", "tls", "websocket"]   # default: these and "webtransport"
//! failure_domain = "sg"        # what fails together, for example a cable or a provider; default: the id
//! bias_ms = 5                  # added to its round trips when PoPs are compared, -1000 to 1000; default 0
//! region = "sg"                # where data of a pinned tenant may be: default none, no pin leads here
//! addresses = ["192.0.2.1", "2001:db8::1"]      # for A and AAAA answers
//! endpoints = { quic = "sg.pop.example:4433" }
//!
//! [[policy]]                   # who may be sent where; all that hold for a client hold together
//! name = "eu-data"             # for explanations
//! app = 1400000001             # clients of this App; default: of all
//! countries = ["DE", "FR"]     # clients in these; default: everywhere
//! region = "eu"                # only to PoPs of this region
//! allow = ["de-frankfurt"]     # only to these
//! deny = ["ru-moscow"]         # to none of these
//! ```

use std::collections::BTreeMap;
use std::net::IpAddr;

use serde::Deserialize;
use toml::Spanned;

use crate::place::{Continent, Coordinates, Country};

mod policy;

pub use policy::{POLICIES_MAX, Policy};
use policy::{Policies, RawPolicy};

/// PoPs in one table at most: a set of them is one 64-bit word.
pub const POPS_MAX: usize = 64;

/// Bytes of an id at most.
pub const ID_BYTES_MAX: usize = 32;

/// What an operator's bias may be at most, in milliseconds: as far as the other end of the world.
const BIAS_MS_MAX: f32 = 1_000.0;

/// Sessions that a PoP takes if its entry does not say.
const CAPACITY: u32 = 100_000;

/// A PoP's place in its table, and its bit in a [`PopSet`]. Means nothing beside another table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PopIndex(u8);

impl PopIndex {
    /// The first PoP of any table.
    pub(crate) const FIRST: Self = Self(0);

    /// An index, if it is below [`POPS_MAX`].
    #[must_use]
    pub fn new(index: usize) -> Option<Self> {
        (index < POPS_MAX).then(|| Self(u8::try_from(index).unwrap_or(0)))
    }

    /// As a number, for slices.
    #[must_use]
    pub fn get(self) -> usize {
        usize::from(self.0)
    }
}

/// A set of PoPs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct PopSet(u64);

impl PopSet {
    /// No PoP.
    pub const NONE: Self = Self(0);

    /// The first `count` PoPs of a table.
    #[must_use]
    pub fn first(count: usize) -> Self {
        Self(if count >= POPS_MAX { u64::MAX } else { (1 << count) - 1 })
    }

    /// Whether it is in the set.
    #[must_use]
    pub fn has(self, pop: PopIndex) -> bool {
        self.0 >> pop.0 & 1 == 1
    }

    /// Puts one in.
    pub fn insert(&mut self, pop: PopIndex) {
        self.0 |= 1 << pop.0;
    }

    /// Takes one out.
    pub fn remove(&mut self, pop: PopIndex) {
        self.0 &= !(1 << pop.0);
    }

    /// What is in both.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// What is in this one and not in the other.
    #[must_use]
    pub fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// Whether nothing is in it.
    #[must_use]
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// How many are in it.
    #[must_use]
    pub fn len(self) -> usize {
        self.0.count_ones() as usize
    }

    /// The members, lowest first.
    pub fn iter(self) -> impl Iterator<Item = PopIndex> {
        let mut left = self.0;
        std::iter::from_fn(move || {
            let index = u8::try_from(left.trailing_zeros()).ok().filter(|index| *index < 64)?;
            left &= left - 1;
            Some(PopIndex(index))
        })
    }
}

impl FromIterator<PopIndex> for PopSet {
    fn from_iter<I: IntoIterator<Item = PopIndex>>(pops: I) -> Self {
        let mut set = Self::NONE;
        pops.into_iter().for_each(|pop| set.insert(pop));
        set
    }
}

/// What a PoP can do for a client; the names are those of the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Capability {
    /// QUIC, ALPN `np/1`.
    Quic,
    /// TLS 1.3 over TCP.
    Tls,
    /// WebSocket over HTTPS.
    WebSocket,
    /// WebTransport over HTTP/3.
    WebTransport,
    /// Reachable over IPv6.
    Ipv6,
}

impl Capability {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Quic, Self::Tls, Self::WebSocket, Self::WebTransport, Self::Ipv6];

    /// The name in the table and in answers.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Quic => "quic",
            Self::Tls => "tls",
            Self::WebSocket => "websocket",
            Self::WebTransport => "webtransport",
            Self::Ipv6 => "ipv6",
        }
    }
}

/// Where a transport of a PoP listens.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Endpoints {
    /// `HOST:PORT` for QUIC.
    pub quic: Option<String>,
    /// `HOST:PORT` for TLS over TCP.
    pub tls: Option<String>,
    /// `wss://…`
    pub websocket: Option<String>,
    /// `https://…`
    pub webtransport: Option<String>,
}

impl Endpoints {
    /// Those that there are, by the name of their transport.
    pub fn by_name(&self) -> impl Iterator<Item = (&'static str, &str)> {
        let all = [
            ("quic", &self.quic),
            ("tls", &self.tls),
            ("websocket", &self.websocket),
            ("webtransport", &self.webtransport),
        ];
        all.into_iter().filter_map(|(name, endpoint)| Some((name, endpoint.as_deref()?)))
    }
}

/// One PoP.
#[derive(Debug, Clone, PartialEq)]
pub struct Pop {
    /// The name: unique in its table, `a-z0-9-`, at most 32 bytes.
    pub id: String,
    /// The city, for people.
    pub place: String,
    /// The country it stands in.
    pub country: Country,
    /// The continent it stands on.
    pub continent: Continent,
    /// Where it is.
    pub at: Coordinates,
    /// Where its transports listen.
    pub endpoints: Endpoints,
    /// Addresses for A and AAAA answers.
    pub addresses: Vec<IpAddr>,
    /// Sessions that it takes; at least 1.
    pub capacity: u32,
    /// What it can do, without duplicates, in their order.
    pub capabilities: Vec<Capability>,
    /// What fails together with it: PoPs of one domain do not stand in for each other.
    pub failure_domain: String,
    /// The region whose data may be here, for tenants that are pinned to one.
    pub region: Option<String>,
    /// Milliseconds that are added to its cost: whether it is dear, or to be preferred (below 0).
    pub bias_ms: f32,
}

/// Why a table was refused: what, where, and what to do about it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {message}")]
pub struct TableError {
    /// The line of the text, from 1.
    pub line: usize,
    /// What is wrong there and what would be right.
    pub message: String,
}

/// All PoPs, in the order of their ids' appearance. Between 1 and [`POPS_MAX`]. And who may be sent where.
#[derive(Debug, Clone, PartialEq)]
pub struct PopTable {
    pops: Vec<Pop>,
    policies: Policies,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawTable {
    #[serde(default)]
    pop: Vec<Spanned<RawPop>>,
    #[serde(default)]
    policy: Vec<Spanned<RawPolicy>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawPop {
    id: Spanned<String>,
    place: String,
    country: Spanned<String>,
    continent: Spanned<String>,
    lat: Spanned<f64>,
    lon: Spanned<f64>,
    capacity: Option<Spanned<u32>>,
    capabilities: Option<Vec<Capability>>,
    failure_domain: Option<Spanned<String>>,
    region: Option<Spanned<String>>,
    bias_ms: Option<Spanned<f32>>,
    #[serde(default)]
    addresses: Vec<Spanned<String>>,
    #[serde(default)]
    endpoints: Endpoints,
}

impl PopTable {
    /// Reads a table.
    ///
    /// # Errors
    /// What is no TOML, has unknown keys, a duplicate id, impossible coordinates, no PoP or more than [`POPS_MAX`].
    pub fn parse(text: &str) -> Result<Self, TableError> {
        let raw: RawTable = toml::from_str(text).map_err(|error| TableError {
            line: error.span().map_or(1, |span| line_of(text, span.start)),
            message: format!("{}; see the head of geo/pops.toml for the keys", error.message()),
        })?;
        let refuse = |at: usize, message: String| TableError { line: line_of(text, at), message };
        if raw.pop.is_empty() {
            return Err(refuse(0, "no PoP: write at least one [[pop]]".to_owned()));
        }
        if let Some(beyond) = raw.pop.get(POPS_MAX) {
            return Err(refuse(beyond.span().start, format!("more than {POPS_MAX} PoPs: take some out")));
        }
        let mut seen: BTreeMap<String, usize> = BTreeMap::new();
        let mut pops = Vec::with_capacity(raw.pop.len());
        for entry in raw.pop {
            let id_at = entry.get_ref().id.span().start;
            let pop = entry.into_inner().check().map_err(|(at, message)| refuse(at, message))?;
            if let Some(first) = seen.insert(pop.id.clone(), id_at) {
                let first = line_of(text, first);
                let message =
                    format!("id {:?} is taken by the PoP in line {first}: give this one another", pop.id);
                return Err(refuse(id_at, message));
            }
            pops.push(pop);
        }
        let mut table = Self { pops, policies: Policies::default() };
        let policies = Policies::read(raw.policy, &table);
        table.policies = policies.map_err(|(at, message)| refuse(at, message))?;
        Ok(table)
    }

    /// The PoPs that clients of an App in a country may be sent to. At least one of them has endpoints, if any PoP has. Does
    /// not allocate.
    #[must_use]
    pub fn allowed(&self, app: Option<u32>, country: Option<Country>) -> PopSet {
        self.policies.allowed(self.all(), app, country)
    }

    /// The policies that hold for clients of an App in a country.
    pub fn policies(&self, app: Option<u32>, country: Option<Country>) -> impl Iterator<Item = &Policy> {
        self.policies.that_hold(app, country)
    }

    /// PoPs that are in answers: those with an endpoint, or all when no PoP has one.
    #[must_use]
    pub fn listed(&self) -> PopSet {
        let listed = self.select(|pop| pop.endpoints.by_name().next().is_some());
        if listed.is_empty() { self.all() } else { listed }
    }

    /// The PoPs; a [`PopIndex`] is a place in this list.
    #[must_use]
    pub fn pops(&self) -> &[Pop] {
        &self.pops
    }

    /// One PoP; `None` for an index of another table.
    #[must_use]
    pub fn get(&self, index: PopIndex) -> Option<&Pop> {
        self.pops.get(index.get())
    }

    /// Index and PoP, in order.
    pub fn iter(&self) -> impl Iterator<Item = (PopIndex, &Pop)> {
        self.pops.iter().enumerate().filter_map(|(index, pop)| Some((PopIndex::new(index)?, pop)))
    }

    /// The PoP with this id.
    #[must_use]
    pub fn find(&self, id: &str) -> Option<PopIndex> {
        self.iter().find(|(_, pop)| pop.id == id).map(|(index, _)| index)
    }

    /// Where a PoP of this table is in another one; `None` if it is not there.
    #[must_use]
    pub fn place_in(&self, pop: PopIndex, other: &Self) -> Option<PopIndex> {
        other.find(&self.get(pop)?.id)
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.pops.len()
    }

    /// Never: a table has a PoP.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.pops.is_empty()
    }

    /// All of them.
    #[must_use]
    pub fn all(&self) -> PopSet {
        PopSet::first(self.pops.len())
    }

    /// Those that a predicate picks, for example all that speak IPv6.
    #[must_use]
    pub fn select(&self, pick: impl Fn(&Pop) -> bool) -> PopSet {
        self.iter().filter(|(_, pop)| pick(pop)).map(|(index, _)| index).collect()
    }
}

/// Byte offset and message.
type Refusal = (usize, String);

impl RawPop {
    fn check(self) -> Result<Pop, Refusal> {
        let id_at = self.id.span().start;
        let id = name(self.id, "id")?;
        let place = self.place;
        if place.is_empty() || place.len() > 64 || place.chars().any(char::is_control) {
            return Err((
                id_at,
                format!("{id}: place must have 1 to 64 bytes of text without control characters"),
            ));
        }
        let country = self.country.get_ref().parse().map_err(|_| {
            let message =
                format!("{id}: country {:?} is no ISO 3166 code of two letters", self.country.get_ref());
            (self.country.span().start, message)
        })?;
        let continent = self.continent.get_ref().parse().map_err(|_| {
            let codes = Continent::ALL.map(Continent::code).join(", ");
            let message = format!("{id}: continent {:?} is none of {codes}", self.continent.get_ref());
            (self.continent.span().start, message)
        })?;
        let at = Coordinates::new(*self.lat.get_ref(), *self.lon.get_ref()).ok_or_else(|| {
            let (lat, lon) = (self.lat.get_ref(), self.lon.get_ref());
            let wrong = if (-90.0..=90.0).contains(lat) { &self.lon } else { &self.lat };
            let hint = if (-90.0..=90.0).contains(lon) && (-180.0..=180.0).contains(lat) {
                "; are lat and lon swapped?"
            } else {
                ""
            };
            let message = format!(
                "{id}: {lat}, {lon} is no place on the earth: lat is -90 to 90, lon is -180 to 180{hint}"
            );
            (wrong.span().start, message)
        })?;
        let capacity = self.capacity.map_or(Ok(CAPACITY), |capacity| match *capacity.get_ref() {
            0 => Err((
                capacity.span().start,
                format!("{id}: capacity is at least 1; use drain to take a PoP out"),
            )),
            some => Ok(some),
        })?;
        let mut capabilities = self.capabilities.unwrap_or_else(|| {
            vec![Capability::Quic, Capability::Tls, Capability::WebSocket, Capability::WebTransport]
        });
        capabilities.sort_unstable();
        capabilities.dedup();
        let failure_domain = match self.failure_domain {
            Some(domain) => name(domain, "failure_domain")?,
            None => id.clone(),
        };
        let region = self.region.map(|region| name(region, "region")).transpose()?;
        let bias_ms = self.bias_ms.map_or(Ok(0.0), |bias| {
            let ms = *bias.get_ref();
            let wrong = format!("{id}: bias_ms {ms} must be -{BIAS_MS_MAX} to {BIAS_MS_MAX}");
            if ms.abs() <= BIAS_MS_MAX { Ok(ms) } else { Err((bias.span().start, wrong)) }
        })?;
        let mut addresses = Vec::with_capacity(self.addresses.len());
        for text in self.addresses {
            let address = text.get_ref().parse().map_err(|_| {
                let message =
                    format!("{id}: {:?} is no IP address; names belong in endpoints", text.get_ref());
                (text.span().start, message)
            })?;
            addresses.push(address);
        }
        let endpoints = self.endpoints;
        Ok(Pop {
            id,
            place,
            country,
            continent,
            at,
            endpoints,
            addresses,
            capacity,
            capabilities,
            failure_domain,
            region,
            bias_ms,
        })
    }
}

fn name(text: Spanned<String>, key: &str) -> Result<String, Refusal> {
    let at = text.span().start;
    let text = text.into_inner();
    if !is_id(&text) {
        return Err((at, format!("{key} {text:?} must be 1 to {ID_BYTES_MAX} of a-z, 0-9 and -")));
    }
    Ok(text)
}

/// Whether it may be the name of a PoP: 1 to [`ID_BYTES_MAX`] of a-z, 0-9 and -.
#[must_use]
pub fn is_id(text: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    (1..=ID_BYTES_MAX).contains(&text.len()) && text.bytes().all(plain)
}

/// The line of a byte offset, from 1.
fn line_of(text: &str, offset: usize) -> usize {
    1 + text.bytes().take(offset).filter(|byte| *byte == b'\n').count()
}

#[cfg(test)]
mod tests;
