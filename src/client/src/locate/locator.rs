//! The shell around chain, contest and book.

use std::fmt;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use tokio::task::JoinSet;
use tracing::debug;

use super::answer::{ADDRESSES_MAX, ANSWER_BYTES_MAX, Answer, Candidate};
use super::book::{Book, Outlook};
use super::chain::{Action, Chain, Source, Try};
use super::config::{LocateConfig, Server};
use super::probing::{Probing, Shown};
use super::store::Store;
use super::{LocateError, https, names};
use crate::client::random;
use crate::network::{Edge, Network};
use crate::tasks::{Task, first, until};

/// Finds PoPs for clients ([`Config::locate`](crate::Config::locate)) and remembers what it found. Clones share everything; so
/// should all clients of a process.
#[derive(Clone)]
pub struct Locator {
    pub(super) shared: Arc<Shared>,
}

pub(super) struct Shared {
    pub(super) config: LocateConfig,
    pub(super) store: Option<Store>,
    book: Mutex<Book>,
    /// Whoever asks or lets race, so that many clients ask once.
    turn: tokio::sync::Mutex<()>,
    /// Whoever writes the book. Held on blocking threads only.
    pub(super) keeping: Mutex<()>,
    /// Refreshes, reports, the map. Each ends by itself within seconds.
    pub(super) background: Mutex<JoinSet<()>>,
}

impl fmt::Debug for Locator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Locator").field("config", &self.shared.config).finish_non_exhaustive()
    }
}

/// What a step brought, and which server of it, where a report and a map can be had there.
pub(super) struct Found {
    pub(super) answer: Answer,
    pub(super) source: Source,
    pub(super) server: Option<Server>,
}

impl Locator {
    /// Reads what an earlier process has kept.
    ///
    /// # Errors
    /// [`LocateError::Setting`].
    pub fn new(config: LocateConfig) -> Result<Self, LocateError> {
        config.check()?;
        let store = config.dir.clone().map(|dir| Store::new(dir, config.map_keys.clone()));
        let book = Mutex::new(store.as_ref().map(Store::book).unwrap_or_default());
        let (turn, keeping, background) = (tokio::sync::Mutex::default(), Mutex::default(), Mutex::default());
        Ok(Self { shared: Arc::new(Shared { config, store, book, turn, keeping, background }) })
    }

    /// Where to go straight away in the present network, best first; `None`: [`Self::find`] has to be asked. `at` is the edge of the
    /// session before.
    pub(crate) fn ready(&self, network: &Network, at: Option<&Edge>) -> Option<Vec<Edge>> {
        let name = self.network_name(network);
        match self.book().outlook(&name, at, unix_s(), Instant::now()) {
            Outlook::Straight { edges, ask } if !edges.is_empty() => {
                if ask {
                    self.refresh(network);
                }
                Some(edges)
            }
            _ => None,
        }
    }

    /// Runs the chain and the contest, as far as need be. Best first; never empty.
    ///
    /// Cancel safe: what was found out is kept.
    ///
    /// # Errors
    /// [`LocateError::Nowhere`].
    pub(crate) async fn find(self, network: Network, at: Option<Edge>) -> Result<Vec<Edge>, LocateError> {
        let _turn = self.shared.turn.lock().await;
        let name = self.network_name(&network);
        // Another client may have found out in the meantime.
        let outlook = self.book().outlook(&name, at.as_ref(), unix_s(), Instant::now());
        let found = match outlook {
            Outlook::Straight { edges, .. } if !edges.is_empty() => return Ok(edges),
            Outlook::Race(answer) => Found { answer, source: Source::List, server: None },
            _ => match self.ask(&network, &name).await {
                Ok(found) => {
                    debug!(source = %found.source, pops = found.answer.candidates.len(), "located");
                    self.book().answered(&name, found.answer.clone(), unix_s(), Instant::now());
                    found
                }
                Err(error) => {
                    // Those that failed, or that were known long ago, may be back; where nobody names others they are all there is.
                    let edges = self.book().edges(&name, at.as_ref());
                    if edges.is_empty() {
                        return Err(error);
                    }
                    debug!(%error, pops = edges.len(), "not located: again to those that are remembered");
                    return Ok(edges);
                }
            },
        };
        Ok(self.contest(&network, &name, found).await)
    }

    /// Lets the candidates race. What comes after the winner is known goes on in the background.
    async fn contest(&self, network: &Network, name: &str, found: Found) -> Vec<Edge> {
        let edges = self.book().edges(name, None);
        // Probes would go around a proxy, and where there is one way there is nothing to decide.
        if network.has_proxy() || edges.len() < 2 {
            self.follow_up(network, found, None);
            return edges;
        }
        let mut probing = Probing::new(edges, |address| self.book().is_avoided(address));
        let winner = match probing.next().await {
            Shown::Won(at) => Some(probing.edges()[at].clone()),
            Shown::Over => None,
        };
        let order: Vec<_> = winner.iter().filter_map(|edge| pop_at(&found.answer, edge.address)).collect();
        debug!(winner = ?winner.as_ref().map(|edge| edge.address), "raced");
        self.book().raced(name, order, true);
        let edges = self.book().edges(name, winner.as_ref());
        self.follow_up(network, found, Some(probing));
        edges
    }

    /// Runs the chain.
    pub(super) async fn ask(&self, network: &Network, name: &str) -> Result<Found, LocateError> {
        let plan = self.plan();
        let steps: Vec<_> = plan.iter().map(|(source, servers)| (*source, servers.len())).collect();
        let mut chain = Chain::new(&steps, Instant::now());
        let mut asking: Vec<(Try, Task<Result<Answer, String>>)> = Vec::new();
        let server_of = |tried: Try| -> Option<Server> {
            let servers = &plan.iter().find(|(source, _)| *source == tried.source)?.1;
            servers.get(tried.server)?.clone()
        };
        let mut answer = None;
        loop {
            while let Some(action) = chain.poll_action() {
                match action {
                    Action::Start(tried) => {
                        let (this, network, name) = (self.clone(), network.clone(), name.to_owned());
                        let server = server_of(tried);
                        let step = async move { this.step(&network, &name, tried.source, server).await };
                        asking.push((tried, Box::pin(step)));
                    }
                    Action::Cancel(tried) => asking.retain(|(other, _)| *other != tried),
                    Action::Take(tried) => {
                        let server = server_of(tried).filter(|_| tried.source == Source::Https);
                        // Kept when it came.
                        let Some(answer) = answer.take() else {
                            return Err(LocateError::Nowhere(Vec::new()));
                        };
                        return Ok(Found { answer, source: tried.source, server });
                    }
                    Action::Fail(failures) => return Err(LocateError::Nowhere(failures)),
                }
            }
            let due = chain.poll_timeout();
            tokio::select! {
                biased;
                (tried, outcome) = first(&mut asking) => match outcome {
                    Ok(found) => {
                        answer = Some(found);
                        chain.answered(tried);
                    }
                    Err(reason) => {
                        debug!(source = %tried.source, reason, "not located");
                        chain.failed(Instant::now(), tried, reason);
                    }
                },
                () = until(due) => chain.handle_timeout(Instant::now()),
            }
        }
    }

    /// The steps that are configured, with their servers in the order in which they are to be tried; `None` where a step has none.
    pub(super) fn plan(&self) -> Vec<(Source, Vec<Option<Server>>)> {
        let mut steps = self.shared.config.steps();
        for (_, servers) in &mut steps {
            servers.sort_by_cached_key(|_| random::<8>());
        }
        steps
    }

    /// One server of one step. What it names can be dialled.
    pub(super) async fn step(
        &self,
        network: &Network,
        name: &str,
        source: Source,
        server: Option<Server>,
    ) -> Result<Answer, String> {
        let config = &self.shared.config;
        let told = |server: &Server, reason: String| format!("{server}: {reason}");
        let answer = match (source, &server) {
            (Source::Https, Some(server)) => {
                let body = https::get(network, server, "/v1/locate", ANSWER_BYTES_MAX).await;
                body.and_then(|body| Answer::parse(&body)).map_err(|reason| told(server, reason))
            }
            (Source::Doh | Source::Resolver, _) if network.has_proxy() => {
                Err("dns does not go through the proxy".to_owned())
            }
            (Source::Doh, Some(server)) => {
                let resolver = names::over_https(network, server).map_err(|reason| told(server, reason))?;
                names::look_up(&resolver, config).await.map_err(|reason| told(server, reason))
            }
            (Source::Resolver, _) => {
                // It reads files.
                let resolver = tokio::task::spawn_blocking(names::of_system);
                let resolver = resolver.await.map_err(|error| error.to_string())??;
                names::look_up(&resolver, config).await
            }
            (Source::Map, _) => {
                let this = self.clone();
                let map = tokio::task::spawn_blocking(move || match &this.shared.store {
                    Some(store) => store.map(),
                    None => Err("there is no directory for it".to_owned()),
                });
                let map = map.await.map_err(|error| error.to_string())??;
                let country = self.book().country(name);
                Answer::of_map(&map, country.as_deref())
            }
            (Source::List, _) => Answer::of_list(&config.list),
            (Source::Https | Source::Doh, None) => Err("no server".to_owned()),
        }?;
        // What there is no way to by itself there may be one to through the proxy.
        let proxy = network.has_proxy();
        reachable(answer, |address| proxy || Network::has_way_to(address)).await
    }

    /// The session was opened at `edge`.
    pub(crate) fn landed(&self, network: &Network, edge: &Edge) {
        self.book().landed(&self.network_name(network), edge);
        self.keep();
    }

    /// `edge` could not be reached.
    pub(crate) fn failed(&self, edge: &Edge) {
        self.book().avoid(edge.address, true, Instant::now());
    }

    /// `edge` has asked its clients to leave.
    pub(crate) fn left(&self, edge: &Edge) {
        self.book().avoid(edge.address, false, Instant::now());
    }

    /// No candidate could be reached: next time the chain is asked anew.
    pub(crate) fn exhausted(&self, network: &Network) {
        self.book().exhausted(&self.network_name(network));
    }

    /// Puts edges that are to be avoided behind the others.
    pub(crate) fn sort(&self, edges: &mut [Edge]) {
        self.book().sort(edges);
    }

    /// What the present network is called.
    pub(super) fn network_name(&self, network: &Network) -> Arc<str> {
        let config = &self.shared.config;
        let servers = config.https.iter().chain(&config.list).chain(&config.doh);
        network.fingerprint(servers.map(|server| server.address))
    }

    pub(super) fn book(&self) -> MutexGuard<'_, Book> {
        self.shared.book.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) async fn turn(&self) -> tokio::sync::MutexGuard<'_, ()> {
        self.shared.turn.lock().await
    }
}

/// An answer whose PoPs have addresses that there is a way to, as `has_way` knows. Where none of those that came with it is,
/// names are resolved by the system, all at once: behind a NAT64 it knows others.
///
/// # Errors
/// None has.
async fn reachable(mut answer: Answer, has_way: impl Fn(SocketAddr) -> bool) -> Result<Answer, String> {
    let keep = |candidate: &mut Candidate| {
        let port = candidate.endpoints.values().next().map_or(0, |at| at.port);
        candidate.addresses.retain(|ip| has_way(SocketAddr::new(*ip, port)));
    };
    answer.candidates.iter_mut().chain(&mut answer.probe).for_each(keep);
    let mut lookups = JoinSet::new();
    for (at, candidate) in answer.candidates.iter().chain(&answer.probe).enumerate() {
        if let Some((host, port)) = candidate.unresolved() {
            let host = host.to_owned();
            lookups.spawn(async move {
                let found = tokio::net::lookup_host((host.as_str(), port)).await;
                (at, found.map(|found| found.map(|address| address.ip()).collect::<Vec<_>>()))
            });
        }
    }
    let mut failure = None;
    while let Some(looked_up) = lookups.join_next().await {
        let Ok((at, found)) = looked_up else { continue };
        let candidate = answer.candidates.iter_mut().chain(&mut answer.probe).nth(at);
        match (candidate, found) {
            (Some(candidate), Ok(found)) => {
                candidate.addresses = found;
                keep(candidate);
                candidate.addresses.truncate(ADDRESSES_MAX);
            }
            (Some(candidate), Err(error)) => failure = Some(format!("{}: {error}", candidate.pop)),
            (None, _) => {}
        }
    }
    answer.candidates.retain(|candidate| !candidate.edges().is_empty());
    if answer.candidates.is_empty() {
        return Err(failure.unwrap_or_else(|| "there is no way to any of its PoPs from here".to_owned()));
    }
    Ok(answer)
}

/// The PoP of an answer at an address.
pub(super) fn pop_at(answer: &Answer, address: SocketAddr) -> Option<String> {
    let mut pops = answer.candidates.iter().chain(&answer.probe);
    pops.find(|candidate| candidate.is_at(address)).map(|candidate| candidate.pop.clone())
}

pub(super) fn unix_s() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO).as_secs()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(pops: &[(&str, &[&str])]) -> Answer {
        let candidate = |(host, addresses): &(&str, &[&str])| {
            let mut candidate = Candidate::at(host, SocketAddr::from(([192, 0, 2, 1], 4433)));
            candidate.pop = (*host).to_owned();
            candidate.addresses = addresses.iter().map(|ip| ip.parse().unwrap()).collect();
            candidate
        };
        Answer { candidates: pops.iter().map(candidate).collect(), ttl_s: 60, ..Answer::default() }
    }

    #[tokio::test]
    async fn names_are_resolved_where_no_address_helps() {
        let v6_only = |address: SocketAddr| address.is_ipv6() || address.ip().is_loopback();
        let pops: &[(&str, &[&str])] = &[
            ("kept.invalid", &["192.0.2.1", "2001:db8::1"]),
            ("localhost", &["192.0.2.1"]),
            ("nobody.invalid", &[]),
            ("gone.invalid", &["192.0.2.1"]),
        ];
        let answer = reachable(self::answer(pops), v6_only).await.unwrap();
        let left: Vec<_> = answer.candidates.iter().map(|one| one.pop.as_str()).collect();
        assert_eq!(left, ["kept.invalid", "localhost"]);
        assert_eq!(answer.candidates[0].addresses, ["2001:db8::1".parse::<std::net::IpAddr>().unwrap()]);
        assert!(answer.candidates[1].addresses.iter().all(std::net::IpAddr::is_loopback));
        let reason = reachable(self::answer(&pops[2..]), v6_only).await.unwrap_err();
        assert!(reason.contains(".invalid: "), "{reason}");
        let reason = reachable(self::answer(&[("192.0.2.1", &[])]), |_| true).await;
        assert!(reason.is_ok(), "an address needs none");
    }
}
