//! What happens beside the session: the end of a race, a new answer for one that is out of date, reports, the signed map. None of it
//! delays anything, and whatever fails is only logged.

use std::io;
use std::sync::PoisonError;
use std::time::{Duration, Instant};

use nearport_geo::signed::MAP_BYTES_MAX;
use serde::Serialize;
use tokio::time::timeout;
use tracing::debug;

use super::answer::{Answer, Candidate};
use super::config::Server;
use super::https;
use super::locator::{Found, Locator, pop_at, unix_s};
use super::probing::{Probing, Shown};
use crate::network::{Edge, Network};

/// Tasks at a time; more are left out.
const TASKS_MAX: usize = 8;

/// Time for one request.
const REQUEST: Duration = Duration::from_secs(5);

/// How old a signed map becomes before a newer one is fetched, in seconds.
const MAP_AGE_S: u64 = 6 * 3_600;

/// Round trips in one report: as many as the service reads.
const REPORT_MAX: usize = 12;

#[derive(Serialize)]
struct Report<'a> {
    token: &'a str,
    rtt: Vec<Measured>,
}

#[derive(Serialize)]
struct Measured {
    pop: String,
    ms: f64,
}

impl Locator {
    /// Waits until nothing goes on beside sessions, for a program that is about to end; at most `within`.
    ///
    /// Cancel safe.
    pub async fn settled(&self, within: Duration) {
        let settled = async {
            self.idle().await;
            // What found no place beside the others.
            self.keep();
            self.idle().await;
        };
        let _ = timeout(within, settled).await;
    }

    /// Others may come and go; what is taken out here is still waited for, or aborted when this is dropped.
    async fn idle(&self) {
        loop {
            let mut tasks = std::mem::take(&mut *self.tasks());
            if tasks.is_empty() {
                return;
            }
            while tasks.join_next().await.is_some() {}
        }
    }

    /// Asks again, for sessions to come.
    pub(super) fn refresh(&self, network: &Network) {
        let (this, network) = (self.clone(), network.clone());
        self.spawn(async move {
            let name = this.network_name(&network);
            let found = {
                let _turn = this.turn().await;
                match this.ask(&network, &name).await {
                    Ok(found) => found,
                    Err(error) => return debug!(%error, "no new answer"),
                }
            };
            this.book().answered(&name, found.answer.clone(), unix_s(), Instant::now());
            let probing = (!network.has_proxy()).then(|| {
                let edges = this.book().edges(&name, None);
                Probing::new(edges, |_| false)
            });
            this.after(network, found, probing).await;
        });
    }

    /// What is left to do once a session knows where to go. `probing` is its race, which goes on.
    pub(super) fn follow_up(&self, network: &Network, found: Found, probing: Option<Probing>) {
        let (this, network) = (self.clone(), network.clone());
        self.spawn(async move { this.after(network, found, probing).await });
    }

    async fn after(self, network: Network, found: Found, probing: Option<Probing>) {
        self.keep();
        let Found { answer, server, .. } = found;
        let fetched = async {
            if let Some(server) = &server {
                self.fetch_map(&network, server).await;
            }
        };
        // Beside each other: answers to probes are stamped when they are read, so a contest that waited for a map would measure that.
        tokio::join!(fetched, self.measure(&network, &answer, server.as_ref(), probing));
    }

    /// Lets a race end, for the order of the reserves, and reports it with what the answer wants measured beside.
    async fn measure(
        &self,
        network: &Network,
        answer: &Answer,
        server: Option<&Server>,
        probing: Option<Probing>,
    ) {
        let mut measured = Vec::new();
        if let Some(probing) = probing {
            measured = finish(probing, answer).await;
            let order: Vec<_> = measured.iter().map(|one| one.pop.clone()).collect();
            if !order.is_empty() {
                self.book().raced(&self.network_name(network), order, false);
                self.keep();
            }
        }
        let token = answer.token.as_deref().filter(|_| self.shared.config.report);
        if let (Some(server), Some(token), false) = (server, token, network.has_proxy()) {
            let edges: Vec<Edge> = answer.probe.iter().flat_map(Candidate::edges).collect();
            if !edges.is_empty() {
                measured.extend(finish(Probing::new(edges, |_| false), answer).await);
            }
            report(network, server, token, measured).await;
        }
    }

    async fn fetch_map(&self, network: &Network, server: &Server) {
        if self.shared.store.is_none() || self.shared.config.map_keys.is_empty() {
            return;
        }
        let this = self.clone();
        let due = tokio::task::spawn_blocking(move || {
            let map = this.shared.store.as_ref().map(super::store::Store::map);
            map.is_none_or(|map| map.is_ok_and(|map| unix_s().abs_diff(map.made_s) < MAP_AGE_S))
        });
        if due.await.unwrap_or(true) {
            return;
        }
        let kept = match timeout(REQUEST, https::get(network, server, "/v1/map", MAP_BYTES_MAX)).await {
            Ok(Ok(text)) => {
                let this = self.clone();
                let keep = move || this.shared.store.as_ref().map_or(Ok(()), |store| store.keep_map(&text));
                tokio::task::spawn_blocking(keep).await.unwrap_or_else(|error| Err(error.to_string()))
            }
            Ok(Err(reason)) => Err(reason),
            Err(_) => Err("no answer in time".to_owned()),
        };
        match kept {
            Ok(()) => debug!("a signed map for later"),
            Err(reason) => debug!(reason, "no signed map"),
        }
    }

    /// Writes the book, if it has changed, beside everything else. What finds no place there, or fails, is written the next time.
    pub(super) fn keep(&self) {
        if self.shared.store.is_none() || !self.book().has_changed() {
            return;
        }
        let this = self.clone();
        self.spawn(async move {
            if let Ok(Err(error)) = tokio::task::spawn_blocking(move || this.write_book()).await {
                debug!(%error, "what is known of PoPs is not kept");
            }
        });
    }

    /// Blocks.
    fn write_book(&self) -> io::Result<()> {
        let Some(store) = &self.shared.store else { return Ok(()) };
        // Each writer takes what is known when its turn comes, so that no older book goes over a newer one.
        let _turn = self.shared.keeping.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(kept) = self.book().changes() else { return Ok(()) };
        let written = kept.text().map_err(io::Error::from).and_then(|text| store.keep_book(&text));
        if written.is_err() {
            self.book().not_kept();
        }
        written
    }

    fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        let mut tasks = self.tasks();
        while tasks.try_join_next().is_some() {}
        if tasks.len() < TASKS_MAX {
            tasks.spawn(task);
        }
    }

    fn tasks(&self) -> std::sync::MutexGuard<'_, tokio::task::JoinSet<()>> {
        self.shared.background.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Lets a contest end; PoPs in the order of their answers, each once.
async fn finish(mut probing: Probing, answer: &Answer) -> Vec<Measured> {
    while probing.next().await != Shown::Over {}
    let mut measured: Vec<Measured> = Vec::new();
    for (at, rtt) in probing.order() {
        let pop = probing.edges().get(at).and_then(|edge| pop_at(answer, edge.address));
        if let Some(pop) = pop.filter(|pop| measured.iter().all(|one| one.pop != *pop)) {
            measured.push(Measured { pop, ms: rtt.as_secs_f64() * 1_000.0 });
        }
    }
    measured
}

async fn report(network: &Network, server: &Server, token: &str, mut rtt: Vec<Measured>) {
    rtt.retain(|measured| measured.ms > 0.0);
    rtt.truncate(REPORT_MAX);
    if rtt.is_empty() {
        return;
    }
    let Ok(body) = serde_json::to_vec(&Report { token, rtt }) else { return };
    match timeout(REQUEST, https::post(network, server, "/v1/rtt", body.into())).await {
        Ok(Ok(())) => debug!("round trips reported"),
        Ok(Err(reason)) => debug!(reason, "round trips not taken"),
        Err(_) => debug!("round trips not taken in time"),
    }
}

#[cfg(test)]
#[path = "background_tests.rs"]
mod tests;
