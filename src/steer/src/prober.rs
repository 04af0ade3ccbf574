//! The shell of a [`Checker`]: sockets, names and a clock. One future on the runtime of the process.

use std::collections::BTreeMap;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs as _};
use std::sync::Arc;
use std::time::{Duration, Instant};

use metrics::{Counter, Gauge, counter, describe_counter, describe_gauge, gauge};
use tokio::net::{TcpStream, UdpSocket};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;

use crate::checker::{ANSWER_MAX, Action, Checker, Outcome, Place};
use crate::message::{ADDRESSES_MAX, Target};

/// How often names are looked up again.
const RESOLVE_EVERY: Duration = Duration::from_secs(60);

/// How soon names are looked up again of which one had no address.
const RESOLVE_AGAIN: Duration = Duration::from_secs(5);

/// A look-up that takes longer counts as one without a result. A system whose first resolver is away asks the next one after 5 s.
const LOOK_UP_MAX: Duration = Duration::from_secs(8);

/// Look-ups under way. The system's own cannot be given up and may take minutes, each of them with a thread; more wait for
/// their turn, as long as [`LOOK_UP_MAX`] lets them.
const LOOK_UPS_MAX: usize = 32;

/// Connections under way; more are left out of their check.
const CONNECTS_MAX: usize = 128;

/// What a PoP's checks came to, for whoever shows it.
#[derive(Debug)]
struct Figures {
    good: Counter,
    bad: Counter,
    rtt: Gauge,
}

impl Figures {
    fn of(pop: &str) -> Self {
        let counter = |outcome: &'static str| counter!("nearport_steer_checks_total", "pop" => pop.to_owned(), "outcome" => outcome);
        Self {
            good: counter("answered"),
            bad: counter("lost"),
            rtt: gauge!("nearport_steer_check_rtt_seconds", "pop" => pop.to_owned()),
        }
    }
}

/// Checks what `targets` says, for as long as it is polled. `saw` has each outcome at once.
///
/// Cancel safe: what is under way is forgotten.
///
/// # Errors
/// Of the operating system: there is no UDP socket to be had.
pub async fn run(
    mut targets: watch::Receiver<Vec<Target>>,
    mut saw: impl FnMut(&Outcome),
) -> io::Result<std::convert::Infallible> {
    describe_counter!("nearport_steer_checks_total", "Checks of PoPs, by outcome.");
    describe_gauge!(
        "nearport_steer_check_rtt_seconds",
        "Round trip of the last check of a PoP that was answered."
    );
    let four = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).await?;
    // A host without IPv6 checks the rest.
    let six = UdpSocket::bind((Ipv6Addr::UNSPECIFIED, 0)).await.ok();
    let begun = Instant::now();
    let mut checker = Checker::default();
    let mut figures: BTreeMap<String, Figures> = BTreeMap::new();
    let mut connects = JoinSet::new();
    let mut lookups = JoinSet::new();
    let turns = Arc::new(Semaphore::new(LOOK_UPS_MAX));
    let system = move |host, port| look_up(host, port, turns.clone());
    let mut resolve_at = Some(tokio::time::Instant::now());
    let (mut one, mut other) = ([0; 128], [0; 128]);
    let mut actions = Vec::new();
    loop {
        checker.poll(begun.elapsed(), random, &mut actions);
        for action in actions.drain(..) {
            match action {
                Action::Probe { to, probe } => {
                    let socket = if to.is_ipv4() { Some(&four) } else { six.as_ref() };
                    // What cannot be sent is a check that fails.
                    let _ = socket.map(|socket| socket.try_send_to(&probe.packet(), to));
                }
                Action::Connect { to, ticket } if connects.len() < CONNECTS_MAX => {
                    connects.spawn(async move {
                        let connecting = tokio::time::timeout(ANSWER_MAX, TcpStream::connect(to));
                        (ticket, matches!(connecting.await, Ok(Ok(_))))
                    });
                }
                Action::Connect { .. } => {}
            }
        }
        for outcome in checker.outcomes() {
            let figures = figures.entry(outcome.pop.clone()).or_insert_with(|| Figures::of(&outcome.pop));
            match outcome.rtt {
                Some(rtt) => {
                    figures.good.increment(1);
                    figures.rtt.set(rtt.as_secs_f64());
                }
                None => figures.bad.increment(1),
            }
            saw(&outcome);
        }
        let next = checker.next().map(|at| tokio::time::Instant::from_std(begun + at));
        tokio::select! {
            received = four.recv_from(&mut one) => if let Ok((count, from)) = received {
                checker.answered(from, &one[..count], begun.elapsed());
            },
            received = receive(six.as_ref(), &mut other) => if let Ok((count, from)) = received {
                checker.answered(from, &other[..count], begun.elapsed());
            },
            Some(connected) = connects.join_next() => if let Ok((ticket, worked)) = connected {
                checker.connected(ticket, worked, begun.elapsed());
            },
            Some(places) = lookups.join_next() => if let Ok(places) = places {
                let places: Vec<Place> = places;
                let missing = places.iter().any(|place| place.addresses.is_empty());
                resolve_at = Some(tokio::time::Instant::now() + if missing { RESOLVE_AGAIN } else { RESOLVE_EVERY });
                figures.retain(|pop, _| places.iter().any(|place| place.pop == *pop));
                checker.watch(places, begun.elapsed());
            },
            changed = targets.changed() => {
                if changed.is_err() {
                    // Whoever knows the PoPs has gone: nobody asks any more.
                    return std::future::pending().await;
                }
                lookups.shutdown().await;
                resolve_at = Some(tokio::time::Instant::now());
            },
            () = until(resolve_at) => {
                resolve_at = None;
                let targets = targets.borrow_and_update().clone();
                // Those that need no look-up wait for no resolver; the others stay where they were meanwhile.
                checker.watch(targets.iter().map(|target| place(target, literal(target))).collect(), begun.elapsed());
                lookups.spawn(resolve(targets, LOOK_UP_MAX, system.clone()));
            },
            () = until(next) => {}
        }
    }
}

/// Cancel safe.
async fn until(at: Option<tokio::time::Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}

/// Cancel safe.
async fn receive(socket: Option<&UdpSocket>, buffer: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
    match socket {
        Some(socket) => socket.recv_from(buffer).await,
        None => std::future::pending().await,
    }
}

fn random() -> [u8; 16] {
    let mut octets = [0; 16];
    // Without randomness there is no probe that could be believed; the system is beyond help then.
    if aws_lc_rs::rand::fill(&mut octets).is_err() {
        tracing::error!("the system gives no random octets");
    }
    octets
}

fn place(target: &Target, addresses: Option<Vec<SocketAddr>>) -> Place {
    let mut addresses = addresses.unwrap_or_default();
    addresses.truncate(ADDRESSES_MAX);
    Place { pop: target.pop.clone(), udp: target.udp, addresses }
}

/// The addresses that a target names itself.
fn literal(target: &Target) -> Option<Vec<SocketAddr>> {
    let (host, port) = split(&target.endpoint)?;
    let at = |ip| SocketAddr::new(ip, port);
    match target.addresses.is_empty() {
        false => Some(target.addresses.iter().copied().map(at).collect()),
        true => host.parse().ok().map(|ip| vec![at(ip)]),
    }
}

/// The addresses of all targets, by PoP: those that they name, or those of their names. All names are looked up at once, so that
/// one whose servers do not answer holds up none of the others.
async fn resolve<F>(targets: Vec<Target>, within: Duration, look_up: impl Fn(String, u16) -> F) -> Vec<Place>
where
    F: Future<Output = Vec<SocketAddr>> + Send + 'static,
{
    let (mut places, mut lookups) = (Vec::with_capacity(targets.len()), JoinSet::new());
    for target in targets {
        match (literal(&target), split(&target.endpoint)) {
            (None, Some((host, port))) => {
                let found = look_up(host.to_owned(), port);
                lookups.spawn(async move {
                    let found = tokio::time::timeout(within, found).await.ok();
                    place(&target, found)
                });
            }
            (known, _) => places.push(place(&target, known)),
        }
    }
    while let Some(looked) = lookups.join_next().await {
        places.extend(looked);
    }
    // In one order each time, so that each keeps its moment in the second.
    places.sort_by(|a, b| a.pop.cmp(&b.pop));
    places
}

/// By the system, sorted: its order is another one each time.
async fn look_up(host: String, port: u16, turns: Arc<Semaphore>) -> Vec<SocketAddr> {
    let Ok(turn) = turns.acquire_owned().await else { return Vec::new() };
    let looking = tokio::task::spawn_blocking(move || {
        // Given back when the system is done, however long ago somebody waited for it.
        let _turn = turn;
        let mut addresses = match (host.as_str(), port).to_socket_addrs() {
            Ok(addresses) => addresses.collect(),
            Err(error) => {
                tracing::debug!(host, %error, "a PoP's name has no address");
                Vec::new()
            }
        };
        addresses.sort_unstable();
        addresses.dedup();
        addresses
    });
    looking.await.unwrap_or_default()
}

/// Host and port of `HOST:PORT`, `[IPv6]:PORT`.
#[must_use]
pub fn split(endpoint: &str) -> Option<(&str, u16)> {
    let (host, port) = endpoint.rsplit_once(':')?;
    let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    Some((host, port.parse().ok()?)).filter(|(host, _)| !host.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    use nearport_wire::probe;

    const STUCK: Duration = Duration::from_secs(60);

    #[test]
    fn endpoints_are_taken_apart() {
        assert_eq!(split("sg.pop.example:4433"), Some(("sg.pop.example", 4433)));
        assert_eq!(split("[2001:db8::1]:4433"), Some(("2001:db8::1", 4433)));
        for bad in ["sg.pop.example", ":4433", "sg:99999", "[]:1"] {
            assert_eq!(split(bad), None, "{bad}");
        }
    }

    fn target(pop: &str, endpoint: &str, addresses: &[&str]) -> Target {
        Target {
            pop: pop.to_owned(),
            endpoint: endpoint.to_owned(),
            udp: true,
            addresses: addresses.iter().map(|ip| ip.parse().unwrap()).collect(),
        }
    }

    #[tokio::test]
    async fn a_name_whose_servers_do_not_answer_holds_up_nobody() {
        let targets = vec![
            target("d", "one.example:1", &[]),
            target("c", "192.0.2.3:1", &[]),
            target("b", "other.example:1", &[]),
            target("a", "named.example:1", &["192.0.2.1", "192.0.2.2"]),
            target("f", "nonsense", &[]),
        ];
        let at = |ip: &str| SocketAddr::new(ip.parse().unwrap(), 1);
        let (a, b, c) =
            (vec![at("192.0.2.1"), at("192.0.2.2")], vec![at("192.0.2.9")], vec![at("192.0.2.3")]);
        let found = |places: Vec<Place>| -> Vec<_> {
            places.into_iter().map(|place| (place.pop, place.addresses)).collect()
        };
        let expected = |b: &Vec<SocketAddr>| -> Vec<_> {
            let all =
                [("a", a.clone()), ("b", b.clone()), ("c", c.clone()), ("d", b.clone()), ("f", Vec::new())];
            all.map(|(pop, addresses)| (pop.to_owned(), addresses)).to_vec()
        };
        // Each of the two is found once the other one is looked up too.
        let both = Arc::new(tokio::sync::Barrier::new(2));
        let look_up = |_: String, _| {
            let (both, found) = (both.clone(), b.clone());
            async move {
                both.wait().await;
                found
            }
        };
        assert_eq!(found(resolve(targets.clone(), STUCK, look_up).await), expected(&b));
        let dead = |_: String, _| std::future::pending();
        let none = resolve(targets.clone(), Duration::from_millis(1), dead).await;
        assert_eq!(found(none), expected(&Vec::new()));
        let known: Vec<_> = targets.iter().map(literal).collect();
        assert_eq!(known, [None, Some(c), None, Some(a.clone()), None]);
    }

    #[tokio::test]
    async fn look_ups_that_go_on_keep_their_turns() {
        let turns = Arc::new(Semaphore::new(1));
        assert_eq!(look_up("127.0.0.1".to_owned(), 7, turns.clone()).await.len(), 1);
        let held = turns.clone().acquire_owned().await.unwrap();
        let waiting = look_up("127.0.0.1".to_owned(), 7, turns.clone());
        assert!(tokio::time::timeout(Duration::from_millis(1), waiting).await.is_err());
        drop(held);
        assert_eq!(look_up("127.0.0.1".to_owned(), 7, turns).await.len(), 1);
    }

    #[tokio::test]
    async fn a_pop_that_answers_is_seen_and_one_that_stops_is_missed() {
        let pop = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let target = target("a", &pop.local_addr().unwrap().to_string(), &[]);
        let (_sender, targets) = watch::channel(vec![target]);
        let answer = async {
            let mut datagram = [0; 2_000];
            // Two answers, then none.
            for _ in 0..2 {
                let (count, from) = pop.recv_from(&mut datagram).await.unwrap();
                let mut out = Vec::new();
                assert!(probe::answer(&datagram[..count], &mut out));
                pop.send_to(&out, from).await.unwrap();
            }
            std::future::pending::<()>().await;
        };
        let (seen, mut outcomes) = tokio::sync::mpsc::channel(16);
        let prober = run(targets, move |outcome| seen.try_send(outcome.rtt.is_some()).unwrap());
        tokio::select! {
            error = prober => panic!("{error:?}"),
            () = answer => {}
            () = async {
                for good in [true, true, false] {
                    assert_eq!(outcomes.recv().await, Some(good));
                }
            } => {}
        }
    }
}
