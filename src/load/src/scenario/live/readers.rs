//! Members that only read along: lean ones, on threads of their own.

use std::net::SocketAddr;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use nearport_wire::body::{GroupCall, GroupJoin, group_call::Call};
use prost::Message as _;

use super::{JOINS_MAX, Live, lock};
use crate::Error;
use crate::crowd::{Crowd, Plan};
use crate::fleet::network_config;
use crate::options::{Credentials, Options, SPEAKERS_MAX};
use crate::scenario::Run;

/// Those who read along, and are not the SDK's.
pub(super) struct Readers {
    pub(super) crowd: Crowd,
    pub(super) members: usize,
}

/// What they have taken and got so far.
#[derive(Debug, Clone, Copy)]
pub(super) struct Spent {
    cpu: Duration,
    deliveries: u64,
}

impl Spent {
    /// CPU time for each delivery since then, in microseconds.
    pub(super) fn each_since(self, then: Self) -> Option<f64> {
        let (cpu, deliveries) = (self.cpu.saturating_sub(then.cpu), self.deliveries - then.deliveries);
        (deliveries > 0).then(|| cpu.as_secs_f64() * 1e6 / deliveries as f64)
    }
}

/// The members of each thread, by their numbers behind those of the speakers. None if all are to be the SDK's.
pub(super) fn parts(options: &Options, credentials: &Credentials) -> Vec<Range<usize>> {
    if !options.has_crowd(credentials) {
        return Vec::new();
    }
    let members = SPEAKERS_MAX..options.connections as usize;
    let threads = options.threads.min(members.len());
    let begin = |thread: usize| members.start + members.len() * thread / threads;
    (0..threads).map(|thread| begin(thread)..begin(thread + 1)).collect()
}

impl Readers {
    /// Starts their threads. `None` without `parts`.
    pub(super) fn start(
        live: &Live,
        run: &Run<'_>,
        server: SocketAddr,
        parts: Vec<Range<usize>>,
    ) -> Result<Option<Self>, Error> {
        if parts.is_empty() {
            return Ok(None);
        }
        let (options, members) = (run.options, parts.iter().map(Range::len).sum());
        let config = network_config(options, &run.credentials);
        let join = GroupJoin { group: live.reader.room.clone(), text: String::new() };
        let plan = Plan {
            server,
            server_name: run.credentials.server_name.clone(),
            quic: config.quic()?,
            datagrams: config.tuning.datagrams,
            credentials: Arc::clone(&run.credentials),
            users: options.users.clone(),
            join: GroupCall { call: Some(Call::Join(join)) }.encode_to_vec(),
            login_timeout: options.login_timeout,
            logins_max: options.logins_max,
            joins_max: JOINS_MAX,
        };
        let shares = live.shares[1..].iter().map(Arc::clone);
        let parts = parts.into_iter().zip(shares).collect();
        let crowd = Crowd::start(&Arc::new(plan), parts, options.sockets).map_err(Error::Start)?;
        Ok(Some(Self { crowd, members }))
    }

    /// What they have taken and got so far.
    pub(super) fn spent(&self, live: &Live) -> Spent {
        let deliveries = live.shares[1..].iter().map(|share| lock(share).deliveries).sum();
        Spent { cpu: self.crowd.cpu(), deliveries }
    }
}

#[cfg(test)]
mod tests {
    use nearport_client::NetworkConfig;
    use rustls::RootCertStore;

    use super::*;
    use crate::options::{Scenario, Transport};

    #[test]
    fn every_reader_is_on_one_thread() {
        let credentials = Credentials {
            server: ([127, 0, 0, 1], 1).into(),
            server_name: String::new(),
            locate: None,
            network: NetworkConfig::new(RootCertStore::empty()),
            app: 1,
            usersig: Box::new(str::to_owned),
        };
        let mut options = Options::new(Scenario::Live);
        for (connections, threads, sizes) in [
            (1_001, 1, vec![951]),
            (1_001, 2, vec![475, 476]),
            (52, 4, vec![1, 1]),
            (50, 2, vec![]),
            (3, 1, vec![]),
        ] {
            (options.connections, options.threads) = (connections, threads);
            let parts = parts(&options, &credentials);
            assert_eq!(parts.iter().map(Range::len).collect::<Vec<_>>(), sizes);
            assert!(parts.windows(2).all(|pair| pair[0].end == pair[1].start));
            assert!(parts.last().is_none_or(|last| last.end == connections as usize));
        }
        options = Options { transport: Transport::Tls, connections: 1_001, ..options };
        assert!(parts(&options, &credentials).is_empty());
    }
}
