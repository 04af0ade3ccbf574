//! The service: databases, PoPs, the map, who is up, and what clients measured, behind one handle.
//!
//! [`Service::locate`] and [`Service::report`] are what the HTTP shell calls, [`Service::steer`] what DNS does; they take the
//! time and touch no socket. [`Service::turn`] is the slow loop's step: it looks at the files and compiles the next map.
//! [`Service::set_live`] is the fast one's: it says who is up and how loaded.
//!
//! All that answers are made of is one [`Current`], which is replaced as a whole. Its lock is held for as long as a pointer
//! is cloned or replaced: a map is compiled beside it, and what was replaced is kept until the next turn, so that no answer
//! has to free it.

use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Duration;

use nearport_geo::map::{Client, Decision, Live};
use nearport_geo::{PopIndex, PopTable, World};

use crate::current::{Current, Ingredients, cell_of, client_of};
use crate::databases::Databases;
use crate::forwarded::Header;
use crate::kept::Kept;
use crate::limit::Limiter;
use crate::metrics::Metrics;
use crate::mmdb::Place;
use crate::network::Network;
use crate::signer::Signer;
use crate::token::{Refusal, TokenKeys};
use crate::voices::{Heard, POPS_MAX, RTT_MAX_MS};
use crate::wanted::Wanted;

/// How long a signed map is good.
const MAP_GOOD: Duration = Duration::from_hours(24 * 30);

/// How many answers a network gets in a second, and at once.
const ASKS: (u16, u16) = (50, 500);
/// How many reports of a network are read in a second, and at once.
const REPORTS: (u16, u16) = (5, 100);
/// How many answers of a cell name probes in a second, and at once: 3,600 an hour tell as much as millions would.
const PROBED: (u16, u16) = (1, 60);
/// After so many turns places are forgotten for which a cell was wanted: who still comes from there wants it again.
const WANTED_TURNS: u64 = 360;

/// Who is a forwarder.
pub type Trusted = Box<dyn Fn(IpAddr) -> bool + Send + Sync>;

/// What a service is made with.
pub struct Settings {
    /// Forwarders whose word about a client's address counts.
    pub trusted: Trusted,
    /// The header that they write.
    pub header: Header,
    /// How long clients use an answer.
    pub ttl: Duration,
    /// The file of PoPs; `None`: the table does not change.
    pub pops: Option<PathBuf>,
}

impl std::fmt::Debug for Settings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Settings")
            .field("header", &self.header)
            .field("pops", &self.pops)
            .finish_non_exhaustive()
    }
}

/// The time, twice: a clock for people and one that does not go back.
#[derive(Debug, Clone, Copy)]
pub struct Now {
    /// Unix seconds.
    pub unix_s: u64,
    /// Milliseconds since any moment.
    pub ms: u64,
}

/// What a client is told.
#[derive(Debug)]
pub struct Located {
    /// What is known of its address.
    pub place: Place,
    /// The same, as the map knows it.
    pub client: Client,
    /// What orders equals for it.
    pub key: u64,
    /// The App whose client it says it is.
    pub app: Option<u32>,
    /// Where it is sent.
    pub decision: Decision,
    /// What it is asked to measure in the background: up, and not in the answer.
    pub probe: Vec<PopIndex>,
    /// What decided.
    pub current: Arc<Current>,
    /// What it reports with; `None` where there is no address to bind it to.
    pub token: Option<String>,
}

/// Why a report does not count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Unheard {
    /// Too many of this network.
    #[error("too many reports from this network")]
    TooMany,
    /// The token.
    #[error(transparent)]
    Token(#[from] Refusal),
    /// Light is slower: the address is not where it seems, or somebody lies.
    #[error("a round trip is shorter than light allows from where this address is")]
    Impossible,
    /// No PoP of ours, no number, or more of them than there are candidates and probes.
    #[error("round trips must be 1 to {POPS_MAX} positive numbers of milliseconds, of PoPs that there are")]
    Malformed,
    /// Nothing is known of the address, so there is nothing to learn from it.
    #[error("nothing is known about where this address is")]
    Nowhere,
    /// The cell has all the voices that it can have.
    #[error("enough is known about this place")]
    Full,
}

/// See the module.
#[derive(Debug)]
pub struct Service {
    settings: Settings,
    databases: Databases,
    current: RwLock<Arc<Current>>,
    /// Held during a turn: what was in use before the last one.
    turning: Mutex<Turning>,
    map: RwLock<Arc<str>>,
    kept: Mutex<Kept>,
    wanted: Wanted,
    /// By PoP: answers to clients, over HTTP, that named it first since they were last asked for. Those of DNS do not count: a datagram's
    /// sender may be forged, so counting would let anybody drain a PoP, and one resolver asks for many clients, three types each.
    sent: Vec<AtomicU32>,
    asks: Mutex<Limiter>,
    reports: Mutex<Limiter>,
    probed: Mutex<Limiter<u64>>,
    keys: RwLock<TokenKeys>,
    signer: Arc<Signer>,
    pub(crate) metrics: Metrics,
}

#[derive(Debug, Default)]
struct Turning {
    turns: u64,
    /// Kept so that it is freed here and not by the last answer that holds it.
    before: Option<Arc<Current>>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Service {
    /// A service that answers at once, by what was measured before it: the first map is compiled here, which takes some hundred
    /// milliseconds where many have.
    #[must_use]
    pub fn new(
        settings: Settings,
        databases: Databases,
        world: World,
        mut kept: Kept,
        keys: TokenKeys,
        signer: Arc<Signer>,
        now: Now,
    ) -> Self {
        let said = kept.voices.said(now.unix_s);
        let current = Current::build(Ingredients {
            said: &said,
            now: Duration::from_secs(now.unix_s),
            serial: now.unix_s * 1_000,
            ..Ingredients::new(databases.set(), kept.table.clone(), Arc::new(world))
        });
        let metrics = Metrics::new();
        metrics.built(&current, said.cells.len(), kept.voices.len());
        let map = signed(&current, &signer, now);
        Self {
            settings,
            databases,
            current: RwLock::new(Arc::new(current)),
            turning: Mutex::default(),
            map: RwLock::new(map),
            kept: Mutex::new(kept),
            wanted: Wanted::default(),
            sent: (0..nearport_geo::POPS_MAX).map(|_| AtomicU32::new(0)).collect(),
            asks: Mutex::new(Limiter::new(ASKS.0, ASKS.1)),
            reports: Mutex::new(Limiter::new(REPORTS.0, REPORTS.1)),
            probed: Mutex::new(Limiter::new(PROBED.0, PROBED.1)),
            keys: RwLock::new(keys),
            signer,
            metrics,
        }
    }

    /// Its settings.
    #[must_use]
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// What answers are made of now.
    #[must_use]
    pub fn current(&self) -> Arc<Current> {
        self.current.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The table of PoPs in use: what indices of a [`Live`] mean.
    #[must_use]
    pub fn table(&self) -> Arc<PopTable> {
        self.current().table.clone()
    }

    /// The signed map in use.
    #[must_use]
    pub fn map(&self) -> Arc<str> {
        self.map.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The public key of the map.
    #[must_use]
    pub fn map_key(&self) -> [u8; 32] {
        self.signer.public()
    }

    /// The databases.
    #[must_use]
    pub fn databases(&self) -> &Databases {
        &self.databases
    }

    /// Takes new secrets into use, see [`TokenKeys::new`].
    pub fn rotate(&self, keys: TokenKeys) {
        *self.keys.write().unwrap_or_else(PoisonError::into_inner) = keys;
    }

    /// Says who is up and how loaded, by the indices of `table`. Answers go by it from now on; when nobody is up, they are as if all
    /// were. Where the table changes, it is carried over by the PoPs' ids until it is set again. By another table than the one in
    /// use its indices mean nothing: it is not taken then. Returns whether it is.
    pub fn set_live(&self, live: Live, table: &Arc<PopTable>) -> bool {
        let next = {
            let mut current = self.current.write().unwrap_or_else(PoisonError::into_inner);
            // Asked here, since a turn may bring another table until it is locked.
            if !Arc::ptr_eq(&current.table, table) {
                return false;
            }
            *current = Arc::new(Current { live, ..(**current).clone() });
            current.clone()
        };
        self.metrics.live(&next.live);
        true
    }

    /// How many answers of [`Service::locate`] named each PoP first since the last call, by index, for [`nearport_geo::network::Network::sent_many`].
    pub fn take_sent(&self) -> impl Iterator<Item = (PopIndex, u32)> {
        let taken =
            self.sent.iter().enumerate().map(|(index, count)| (index, count.swap(0, Ordering::Relaxed)));
        taken
            .filter_map(|(index, count)| Some((PopIndex::new(index)?, count)))
            .filter(|(_, count)| *count > 0)
    }

    /// Whether a network may ask now. A client without an address shares the account of all such clients; loopback has none.
    #[must_use]
    pub fn may_ask(&self, client: Option<IpAddr>, now: Now) -> bool {
        unlimited(client) || lock(&self.asks).take(account(client), now.ms)
    }

    /// Where an address is sent, and how many bits of it decided, by what [`Service::current`] gave: every address with the same first
    /// bits, as many as that, is sent alike, so those bits are the key that orders equals. For DNS; nobody is counted as sent.
    ///
    /// Neither waits nor allocates; the look-up in the databases is part of it.
    #[must_use]
    pub fn steer(&self, current: &Current, address: IpAddr) -> (Decision, u8) {
        let place = current.set.look_up(address);
        let client = client_of(Some(address), &place);
        let scope = place.bits.max(current.map.scope(client.address));
        let bits = match address {
            IpAddr::V4(ip) => ip.to_ipv6_mapped().to_bits(),
            IpAddr::V6(ip) => ip.to_bits(),
        };
        let width = if address.is_ipv4() { 32 } else { 128_u32 };
        let kept = bits.checked_shr(width.saturating_sub(scope.into())).unwrap_or(0);
        // Two halves, both of which count; the map mixes them.
        let key = u64::try_from(kept >> 64).unwrap_or(0).rotate_left(32)
            ^ u64::try_from(kept & u128::from(u64::MAX)).unwrap_or(0);
        (self.decide(current, &client, key ^ u64::from(scope) << 56, None), scope)
    }

    fn decide(&self, current: &Current, client: &Client, key: u64, app: Option<u32>) -> Decision {
        if let Some(place) = current.map.wants(client) {
            self.wanted.note(place);
        }
        current.decide(client, key, app)
    }

    /// Where a client of an App is sent. With `own` the address is the client's own, and it gets a token to report with.
    #[must_use]
    pub fn locate(&self, client: Option<IpAddr>, own: bool, app: Option<u32>, now: Now) -> Located {
        let current = self.current();
        let place = client.map(|ip| current.set.look_up(ip)).unwrap_or_default();
        let key = key_of(account(client));
        let known = client_of(client, &place);
        let decision = self.decide(&current, &known, key, app);
        if let Some(first) = decision.ranked.first() {
            self.sent[first.get()].fetch_add(1, Ordering::Relaxed);
        }
        let probe = self.probes(&current, &known, app, &decision, key, now);
        let keys = self.keys.read().unwrap_or_else(PoisonError::into_inner);
        let token = client.filter(|_| own).and_then(|ip| keys.issue(Network::of(ip), now.unix_s));
        Located { place, client: known, key, app, decision, probe, current, token }
    }

    /// Others in each network and in each TTL; none where the cell has been asked enough.
    fn probes(
        &self,
        current: &Current,
        client: &Client,
        app: Option<u32>,
        decision: &Decision,
        key: u64,
        now: Now,
    ) -> Vec<PopIndex> {
        let turn = key.wrapping_add(now.unix_s / self.settings.ttl.as_secs().max(1));
        let probes = current.probes(client, app, decision, turn);
        if probes.is_empty() || lock(&self.probed).take(current.map.cell_number(client), now.ms) {
            return probes;
        }
        Vec::new()
    }

    /// Takes round trips, in milliseconds, by the names of PoPs.
    ///
    /// # Errors
    /// [`Unheard`]: then none of them counts.
    pub fn report(
        &self,
        client: Option<IpAddr>,
        token: &str,
        rtts: &[(String, f64)],
        now: Now,
    ) -> Result<(), Unheard> {
        let ip = client.ok_or(Unheard::Nowhere)?;
        let network = Network::of(ip);
        // Before the seal is checked, which costs something.
        if !unlimited(client) && !lock(&self.reports).take(network, now.ms) {
            return Err(Unheard::TooMany);
        }
        self.keys.read().unwrap_or_else(PoisonError::into_inner).check(token, network, now.unix_s)?;
        if !(1..=POPS_MAX).contains(&rtts.len()) {
            return Err(Unheard::Malformed);
        }
        let current = self.current();
        let place = current.set.look_up(ip);
        let client = client_of(Some(ip), &place);
        let mut kept = lock(&self.kept);
        let heard = heard(&kept.table, &current, &client, rtts)?;
        let cell = cell_of(&place).ok_or(Unheard::Nowhere)?;
        match kept.voices.hear(cell, network, place.asn, &heard, now.unix_s) {
            Heard::Taken => Ok(()),
            Heard::Full => Err(Unheard::Full),
        }
    }

    /// What clients measured, to be kept over a restart: see [`Kept::decode`].
    #[must_use]
    pub fn voices(&self) -> Vec<u8> {
        lock(&self.kept).encode()
    }

    /// The slow loop's step: looks at the files, then compiles the next map and signs it. Blocks for some milliseconds, and
    /// for as long as a file takes that has changed. Requests go on meanwhile. Turns wait for each other.
    ///
    /// # Errors
    /// What is wrong with a file; what was in use stays, and the map is new all the same.
    pub fn turn(&self, now: Now, all: bool) -> Result<(), String> {
        let mut turning = lock(&self.turning);
        turning.turns += 1;
        let databases = self.databases.reload(all).map(drop).map_err(|error| error.to_string());
        let before = self.current();
        let (table, read) = match self.read_table(&before.table) {
            Ok(table) => (table, Ok(())),
            Err(error) => (before.table.clone(), Err(error)),
        };
        let (said, size) = {
            let mut kept = lock(&self.kept);
            // Reports that come while the map is compiled are by this table.
            kept.renumber(&table);
            (kept.voices.said(now.unix_s), kept.voices.len())
        };
        let changed = !Arc::ptr_eq(&table, &before.table);
        let wanted = self.wanted.all();
        if turning.turns.is_multiple_of(WANTED_TURNS) {
            self.wanted.clear();
        }
        let next = Current::build(Ingredients {
            said: &said,
            wanted,
            previous: Some(&before),
            now: Duration::from_secs(now.unix_s),
            serial: (now.unix_s * 1_000).max(before.serial + 1),
            ..Ingredients::new(self.databases.set(), table, before.world.clone())
        });
        self.metrics.built(&next, said.cells.len(), size);
        let map = signed(&next, &self.signer, now);
        {
            let mut current = self.current.write().unwrap_or_else(PoisonError::into_inner);
            // Who is up may have changed while the map was compiled.
            let live = current.live_for(&next.table);
            *current = Arc::new(Current { live, ..next });
        }
        if changed {
            // What was sent is by place in the old table.
            self.take_sent().for_each(drop);
        }
        *self.map.write().unwrap_or_else(PoisonError::into_inner) = map;
        turning.before = Some(before);
        databases.and(read)
    }

    fn read_table(&self, current: &Arc<PopTable>) -> Result<Arc<PopTable>, String> {
        let Some(path) = &self.settings.pops else { return Ok(current.clone()) };
        let text = std::fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))?;
        let table = PopTable::parse(&text).map_err(|error| format!("{}: {error}", path.display()))?;
        if table == **current {
            return Ok(current.clone());
        }
        tracing::info!(pops = table.len(), "the table of PoPs has changed");
        Ok(Arc::new(table))
    }
}

/// A report by the places that the PoPs have in `table`.
fn heard(
    table: &PopTable,
    current: &Current,
    client: &Client,
    rtts: &[(String, f64)],
) -> Result<Vec<(u8, f32)>, Unheard> {
    let one = |(id, rtt_ms): &(String, f64)| {
        let pop = table.find(id).ok_or(Unheard::Malformed)?;
        let row = table.get(pop).ok_or(Unheard::Malformed)?;
        if !(rtt_ms.is_finite() && *rtt_ms > 0.0) {
            return Err(Unheard::Malformed);
        }
        // One impossible value and none is believed: they come from one place, which is not this one.
        let floor = current.floor_ms(client, row);
        if floor.is_some_and(|floor| *rtt_ms < floor) {
            return Err(Unheard::Impossible);
        }
        #[expect(clippy::cast_possible_truncation, reason = "clamped")]
        let rtt_ms = rtt_ms.min(RTT_MAX_MS.into()) as f32;
        Ok((u8::try_from(pop.get()).unwrap_or(u8::MAX), rtt_ms))
    };
    rtts.iter().map(one).collect()
}

/// The account of a client's network; those without an address share one.
fn account(client: Option<IpAddr>) -> Network {
    Network::of(client.unwrap_or(IpAddr::V4(std::net::Ipv4Addr::UNSPECIFIED)))
}

fn unlimited(client: Option<IpAddr>) -> bool {
    client.is_some_and(|ip| ip.is_loopback())
}

/// What orders equals for a network.
pub(crate) fn key_of(network: Network) -> u64 {
    let octets = network.octets();
    octets.iter().fold(0_u64, |sum, octet| sum.wrapping_mul(31).wrapping_add((*octet).into()))
}

fn signed(current: &Current, signer: &Signer, now: Now) -> Arc<str> {
    signer.sign(&current.export(now.unix_s, now.unix_s + MAP_GOOD.as_secs())).into()
}

#[cfg(test)]
mod tests;
