//! Which cases are run on which servers.

use std::collections::BTreeSet;

use crate::Server;
use crate::cases::Group;
use crate::plan::Case;

/// The cases that were asked for, on the servers that were asked for, and whatever those need.
#[derive(Debug)]
pub(crate) struct Selection {
    asked: BTreeSet<Case>,
    runs: BTreeSet<(Case, Server)>,
}

impl Selection {
    /// A case that none of `servers` takes part in is left out.
    pub(crate) fn new(cases: &[Case], servers: &[Server]) -> Self {
        let asked_of = |case: &Case| case.servers().iter().filter(|server| servers.contains(server)).copied();
        let mut open: Vec<_> =
            cases.iter().flat_map(|case| asked_of(case).map(|server| (*case, server))).collect();
        let asked = open.iter().map(|(case, _)| *case).collect();
        let mut runs = BTreeSet::new();
        while let Some(run) = open.pop() {
            if runs.insert(run) {
                open.extend(run.0.needs());
            }
        }
        Self { asked, runs }
    }

    /// What the report shows; the rest is only run because these need it.
    pub(crate) fn asked(&self) -> &BTreeSet<Case> {
        &self.asked
    }

    /// The servers that `group` is run on.
    pub(crate) fn servers(&self, group: Group) -> Vec<Server> {
        let runs = |server: &Server| !self.cases(group, *server).is_empty();
        Server::ALL.into_iter().filter(runs).collect()
    }

    /// The cases of `group` that are run on `server`.
    pub(crate) fn cases(&self, group: Group, server: Server) -> Vec<Case> {
        group.cases().iter().copied().filter(|case| self.runs.contains(&(*case, server))).collect()
    }
}
