//! How fast the service steers on one core, and whether a turn of the slow loop holds it up: prints figures, asserts none.
//!
//! `cargo run --release -p nearport-locate --example steer [MMDB]`

use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use nearport_geo::map::Client;
use nearport_geo::{Dice, PopTable, World};
use nearport_locate::forwarded::Header;
use nearport_locate::{Databases, Kept, Now, Service, Settings, Signer, TokenKeys};

const ASKED: usize = 1 << 16;
const TIMES: usize = 2_000_000;

fn main() {
    let file = std::env::args_os().nth(1).map_or_else(|| PathBuf::from("geo/country.mmdb"), PathBuf::from);
    let databases =
        Databases::open(std::slice::from_ref(&file)).expect("an MMDB file, run in the repository");
    let mut dice = Dice::new(1);
    // Public addresses all over the space.
    let mut addresses: Vec<IpAddr> = Vec::with_capacity(ASKED);
    while addresses.len() < ASKED {
        let address = IpAddr::V4(Ipv4Addr::from_bits(u32::try_from(dice.roll() >> 32).unwrap_or(0)));
        if nearport_locate::databases::is_public(address) {
            addresses.push(address);
        }
    }
    let set = databases.set();
    let found = addresses.iter().filter(|address| set.look_up(**address).country.is_some()).count();
    println!("{}: knows {:.1} % of {ASKED} public addresses", file.display(), percent(found, ASKED));
    measure("look-ups in the databases", |n| usize::from(set.look_up(addresses[n % ASKED]).bits));

    let settings = Settings {
        trusted: Box::new(|_| false),
        header: Header::XForwardedFor,
        ttl: Duration::from_secs(300),
        pops: None,
    };
    let table = PopTable::parse(include_str!("../../../geo/pops.toml")).expect("the shipped table");
    let kept = Kept::nothing(Arc::new(table));
    let world = World::shipped().expect("the shipped world");
    let signer = Signer::generate().and_then(|key| Signer::new(&key).ok()).expect("random bytes");
    let now = Now { unix_s: 1_800_000_000, ms: 0 };
    let service = Service::new(
        settings,
        databases,
        world,
        kept,
        TokenKeys::new(&[(1, [7; 32])]),
        Arc::new(signer),
        now,
    );
    let current = service.current();
    let clients: Vec<Client> = addresses
        .iter()
        .map(|address| {
            let place = set.look_up(*address);
            let country = place.country_str().and_then(|code| code.parse().ok());
            Client { country, ..Client::new(*address) }
        })
        .collect();
    measure("decisions", |n| current.decide(&clients[n % ASKED], n as u64, None).ranked.len());
    let steer = |n: usize| service.steer(&service.current(), addresses[n % ASKED]).0.ranked.len();
    measure("steer: look-up and decision", steer);

    // The same while the map is compiled again and again.
    let turning = AtomicBool::new(true);
    std::thread::scope(|scope| {
        let turns = scope.spawn(|| {
            let mut turns = 0_u64;
            while turning.load(Ordering::Relaxed) {
                turns += 1;
                service.turn(Now { unix_s: now.unix_s + turns, ms: 0 }, false).expect("no file changes");
            }
            turns
        });
        measure("steer while maps are compiled", steer);
        turning.store(false, Ordering::Relaxed);
        println!("{} maps were compiled meanwhile", turns.join().unwrap_or(0));
    });
}

/// The rate over many calls, then the distribution over a tenth of them, with a clock around each.
fn measure(what: &str, call: impl Fn(usize) -> usize) {
    let started = Instant::now();
    let sum: usize = (0..TIMES).map(&call).sum();
    let rate = f64::from(u32::try_from(TIMES).unwrap_or(0)) / started.elapsed().as_secs_f64() / 1e6;
    let timed = |n: usize| {
        let started = Instant::now();
        let result = call(n);
        (started.elapsed(), result)
    };
    let mut times: Vec<Duration> = (0..TIMES / 10).map(|n| timed(n).0).collect();
    times.sort_unstable();
    let at = |thousandth: usize| times[(times.len() - 1) * thousandth / 1_000].as_nanos();
    println!(
        "{what}: {rate:.2} M/s on one core, p50 {} ns, p99 {} ns, p99.9 {} ns, longest {} us ({sum})",
        at(500),
        at(990),
        at(999),
        at(1_000) / 1_000,
    );
}

fn percent(part: usize, whole: usize) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "small")]
    let share = part as f64 / whole as f64;
    100.0 * share
}
