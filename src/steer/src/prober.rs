//! The shell of a [`Checker`]: sockets, names and a clock. One future on the runtime of the process.

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::{Duration, Instant};

use metrics::{Counter, Gauge, counter, describe_counter, describe_gauge, gauge};
use tokio::net::{TcpStream, UdpSocket};
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::checker::{ANSWER_MAX, Action, Checker, Outcome, Place};
use crate::message::{ADDRESSES_MAX, Target};

/// How often names are looked up again.
const RESOLVE_EVERY: Duration = Duration::from_secs(60);

/// How soon names are looked up again of which one had no address.
const RESOLVE_AGAIN: Duration = Duration::from_secs(5);

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
                lookups.spawn(resolve(targets));
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

/// The addresses of all targets: those that they name, or those of their names.
async fn resolve(targets: Vec<Target>) -> Vec<Place> {
    let mut places = Vec::with_capacity(targets.len());
    for Target { pop, endpoint, udp, addresses } in targets {
        let addresses = match (split(&endpoint), addresses.is_empty()) {
            (Some((_, port)), false) => addresses.into_iter().map(|ip| SocketAddr::new(ip, port)).collect(),
            (Some((host, port)), true) => look_up(host, port).await,
            (None, _) => Vec::new(),
        };
        places.push(Place { pop, udp, addresses: addresses.into_iter().take(ADDRESSES_MAX).collect() });
    }
    places
}

async fn look_up(host: &str, port: u16) -> Vec<SocketAddr> {
    if let Ok(ip) = host.parse::<IpAddr>() {
        return vec![SocketAddr::new(ip, port)];
    }
    match tokio::net::lookup_host((host, port)).await {
        Ok(addresses) => addresses.collect(),
        Err(error) => {
            tracing::debug!(host, %error, "a PoP's name has no address");
            Vec::new()
        }
    }
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

    #[test]
    fn endpoints_are_taken_apart() {
        assert_eq!(split("sg.pop.example:4433"), Some(("sg.pop.example", 4433)));
        assert_eq!(split("[2001:db8::1]:4433"), Some(("2001:db8::1", 4433)));
        for bad in ["sg.pop.example", ":4433", "sg:99999", "[]:1"] {
            assert_eq!(split(bad), None, "{bad}");
        }
    }

    #[tokio::test]
    async fn a_pop_that_answers_is_seen_and_one_that_stops_is_missed() {
        let pop = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let target = Target {
            pop: "a".to_owned(),
            endpoint: pop.local_addr().unwrap().to_string(),
            udp: true,
            addresses: Vec::new(),
        };
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
