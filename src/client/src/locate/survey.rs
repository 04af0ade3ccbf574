//! Every step of the chain and a whole race, for people: `nearport locate --client`.

use std::time::{Duration, Instant};

use tokio::time::timeout;

use super::chain::{Source, TRY_MAX};
use super::config::Server;
use super::locator::{Locator, pop_at};
use super::probing::{Probing, Shown};
use super::{Contestant, LocateError};
use crate::network::Network;

/// What one server of one step said.
#[derive(Debug, Clone)]
pub struct SurveyStep {
    /// Which step.
    pub source: Source,
    /// Which of its servers, where it has some.
    pub server: Option<Server>,
    /// How long that took.
    pub took: Duration,
    /// PoPs, best first, or which server it was and what went wrong.
    pub outcome: Result<Vec<String>, String>,
}

/// See the module.
#[derive(Debug, Clone)]
pub struct Survey {
    /// Every server of every step that is configured, in the order of the chain.
    pub steps: Vec<SurveyStep>,
    /// The race among the PoPs of the first answer, nearest first.
    pub race: Vec<Contestant>,
}

impl Survey {
    /// Why a session would find no PoP; `Ok` if it would.
    ///
    /// # Errors
    /// [`LocateError::Nowhere`].
    pub fn verdict(&self) -> Result<(), LocateError> {
        if self.steps.iter().any(|step| step.outcome.is_ok()) {
            return Ok(());
        }
        let failures = self.steps.iter().filter_map(|step| {
            let reason = step.outcome.clone().err()?;
            Some(super::StepFailure { source: step.source, reason })
        });
        Err(LocateError::Nowhere(failures.collect()))
    }
}

impl Locator {
    /// Asks everybody, one after the other, also those whom the chain would not need, and lets the PoPs of the first answer race to
    /// the end. Nothing is kept.
    ///
    /// Cancel safe.
    pub async fn survey(&self, network: &Network) -> Survey {
        let name = self.network_name(network);
        let (mut steps, mut first) = (Vec::new(), None);
        for (source, servers) in self.plan() {
            for server in servers {
                let begun = Instant::now();
                let asked = timeout(TRY_MAX, self.step(network, &name, source, server.clone())).await;
                let outcome = asked
                    .unwrap_or_else(|_| Err(format!("no answer within {} s", TRY_MAX.as_secs())))
                    .map(|answer| {
                        let pops = answer.candidates.iter().map(|candidate| candidate.pop.clone()).collect();
                        first.get_or_insert(answer);
                        pops
                    });
                steps.push(SurveyStep { source, server, took: begun.elapsed(), outcome });
            }
        }
        let mut race = Vec::new();
        if let Some(answer) = first.filter(|_| !network.has_proxy()) {
            let edges = answer.candidates.iter().flat_map(super::answer::Candidate::edges).collect();
            let mut probing = Probing::new(edges, |_| false);
            while probing.next().await != Shown::Over {}
            let order = probing.order();
            let place = |at: &usize| order.iter().position(|(other, _)| other == at).unwrap_or(usize::MAX);
            let mut all: Vec<usize> = (0..probing.edges().len()).collect();
            all.sort_by_key(place);
            race.extend(all.into_iter().filter_map(|at| {
                let address = probing.edges()[at].address;
                let rtt = order.iter().find(|(other, _)| *other == at).map(|(_, rtt)| *rtt);
                Some(Contestant { pop: pop_at(&answer, address)?, address, rtt })
            }));
        }
        Survey { steps, race }
    }
}
