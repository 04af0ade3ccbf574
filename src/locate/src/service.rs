//! The service: databases, PoPs, the atlas, and what clients measured, behind one handle.
//!
//! [`Service::locate`] and [`Service::report`] are what the HTTP shell calls; they take the time and touch no socket.
//! [`Service::turn`] is the slow loop's step: it looks at the files and builds the next atlas.

use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Duration;

use nearport_geo::signed::Map;
use nearport_geo::{PopSet, PopTable, World};

use crate::atlas::{Answer, Atlas};
use crate::databases::Databases;
use crate::forwarded::Header;
use crate::limit::Limiter;
use crate::metrics::Metrics;
use crate::mmdb::Place;
use crate::network::Network;
use crate::signer::Signer;
use crate::token::{Refusal, TokenKeys};
use crate::voices::{Heard, POPS_MAX, RTT_MAX_MS, Voices};

/// How long a signed map is good.
const MAP_GOOD: Duration = Duration::from_hours(24 * 30);

/// How many answers a network gets in a second, and at once.
const ASKS: (u16, u16) = (50, 500);
/// How many reports of a network are read in a second, and at once.
const REPORTS: (u16, u16) = (5, 100);

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
    /// Where it is sent.
    pub answer: Answer,
    /// The atlas that decided.
    pub atlas: Arc<Atlas>,
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
    world: Arc<World>,
    table: Mutex<Arc<PopTable>>,
    /// PoPs that are not to be sent to, by name: names outlive a change of the table.
    down: Mutex<Vec<String>>,
    atlas: RwLock<Arc<Atlas>>,
    map: RwLock<Arc<str>>,
    voices: Mutex<Voices>,
    asks: Mutex<Limiter>,
    reports: Mutex<Limiter>,
    keys: RwLock<TokenKeys>,
    signer: Signer,
    pub(crate) metrics: Metrics,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Service {
    /// A service that answers at once: the first atlas is built here, which takes some milliseconds.
    #[must_use]
    pub fn new(
        settings: Settings,
        databases: Databases,
        world: World,
        table: PopTable,
        keys: TokenKeys,
        signer: Signer,
        now: Now,
    ) -> Self {
        let (world, table) = (Arc::new(world), Arc::new(table));
        let now_s = Duration::from_secs(now.unix_s);
        let atlas = Atlas::build(table.clone(), world.clone(), &[], table.all(), now_s, now.unix_s * 1_000);
        let map = signed(&atlas, &signer, now);
        Self {
            settings,
            databases,
            world,
            table: Mutex::new(table),
            down: Mutex::default(),
            atlas: RwLock::new(Arc::new(atlas)),
            map: RwLock::new(map),
            voices: Mutex::default(),
            asks: Mutex::new(Limiter::new(ASKS.0, ASKS.1)),
            reports: Mutex::new(Limiter::new(REPORTS.0, REPORTS.1)),
            keys: RwLock::new(keys),
            signer,
            metrics: Metrics::new(),
        }
    }

    /// Its settings.
    #[must_use]
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// The atlas in use.
    #[must_use]
    pub fn atlas(&self) -> Arc<Atlas> {
        self.atlas.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The signed map of the atlas in use.
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

    /// From the next turn on nobody is sent to these. When it is all of them, everybody is sent as if it were none.
    pub fn set_down(&self, pops: Vec<String>) {
        *lock(&self.down) = pops;
    }

    /// Whether a network may ask now. A client without an address shares the account of all such clients; loopback has none.
    #[must_use]
    pub fn may_ask(&self, client: Option<IpAddr>, now: Now) -> bool {
        unlimited(client) || lock(&self.asks).take(account(client), now.ms)
    }

    /// Where a client is sent. With `own` the address is the client's own, and it gets a token to report with.
    #[must_use]
    pub fn locate(&self, client: Option<IpAddr>, own: bool, now: Now) -> Located {
        let place = client.map(|ip| self.databases.look_up(ip)).unwrap_or_default();
        let atlas = self.atlas();
        // Other probes in each network and in each TTL.
        let octets = account(client).octets();
        let spread =
            octets.iter().fold(0_u64, |sum, octet| sum.wrapping_mul(31).wrapping_add((*octet).into()));
        let turn = spread.wrapping_add(now.unix_s / self.settings.ttl.as_secs().max(1));
        let answer = atlas.answer(&place, turn);
        let keys = self.keys.read().unwrap_or_else(PoisonError::into_inner);
        let token = client.filter(|_| own).and_then(|ip| keys.issue(Network::of(ip), now.unix_s));
        Located { place, answer, atlas, token }
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
        let (place, atlas) = (self.databases.look_up(ip), self.atlas());
        let mut heard = Vec::with_capacity(rtts.len());
        for (id, rtt_ms) in rtts {
            let pop = atlas.table().find(id).ok_or(Unheard::Malformed)?;
            if !(rtt_ms.is_finite() && *rtt_ms > 0.0) {
                return Err(Unheard::Malformed);
            }
            // One impossible value and none is believed: they come from one place, which is not this one.
            if atlas.floor_ms(&place, pop).is_some_and(|floor| *rtt_ms < floor) {
                return Err(Unheard::Impossible);
            }
            #[expect(clippy::cast_possible_truncation, reason = "clamped")]
            let rtt_ms = rtt_ms.min(RTT_MAX_MS.into()) as f32;
            heard.push((u8::try_from(pop.get()).unwrap_or(u8::MAX), rtt_ms));
        }
        let cell = atlas.cell(&place).ok_or(Unheard::Nowhere)?;
        match lock(&self.voices).hear(cell, network, &heard, now.unix_s) {
            Heard::Taken => Ok(()),
            Heard::Full => Err(Unheard::Full),
        }
    }

    /// The slow loop's step: looks at the files, then builds the next atlas and signs its map. Blocks for some milliseconds, and
    /// for as long as a file takes that has changed. Requests go on meanwhile.
    ///
    /// # Errors
    /// What is wrong with a file; what was in use stays, and the atlas is new all the same.
    pub fn turn(&self, now: Now, all: bool) -> Result<(), String> {
        let databases = self.databases.reload(all).map(drop).map_err(|error| error.to_string());
        let table = self.read_table();
        let table_now = lock(&self.table).clone();
        let down: PopSet = lock(&self.down).iter().filter_map(|id| table_now.find(id)).collect();
        let live = table_now.all().without(down);
        let (said, size) = {
            let mut voices = lock(&self.voices);
            (voices.said(now.unix_s), voices.len())
        };
        let serial = (now.unix_s * 1_000).max(self.atlas().serial() + 1);
        let now_s = Duration::from_secs(now.unix_s);
        let atlas = Atlas::build(table_now, self.world.clone(), &said, live, now_s, serial);
        self.metrics.built(&atlas, said.len(), size);
        let map = signed(&atlas, &self.signer, now);
        *self.atlas.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(atlas);
        *self.map.write().unwrap_or_else(PoisonError::into_inner) = map;
        databases.and(table)
    }

    fn read_table(&self) -> Result<(), String> {
        let Some(path) = &self.settings.pops else { return Ok(()) };
        let text = std::fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))?;
        let table = PopTable::parse(&text).map_err(|error| format!("{}: {error}", path.display()))?;
        let mut current = lock(&self.table);
        if table != **current {
            tracing::info!(pops = table.len(), "the table of PoPs has changed");
            // What was measured is by place in the table.
            *lock(&self.voices) = Voices::default();
            *current = Arc::new(table);
        }
        Ok(())
    }
}

/// The account of a client's network; those without an address share one.
fn account(client: Option<IpAddr>) -> Network {
    Network::of(client.unwrap_or(IpAddr::V4(std::net::Ipv4Addr::UNSPECIFIED)))
}

fn unlimited(client: Option<IpAddr>) -> bool {
    client.is_some_and(|ip| ip.is_loopback())
}

fn signed(atlas: &Atlas, signer: &Signer, now: Now) -> Arc<str> {
    let map: Map = atlas.map(now.unix_s, now.unix_s + MAP_GOOD.as_secs());
    signer.sign(&map).into()
}
