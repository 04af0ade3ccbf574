//! Broadcasts to all connections of a swarm at an even rate.

use std::time::{Duration, Instant};

use anyhow::Result;

use crate::codec::Request;
use crate::process::ServerProcess;
use crate::swarm::Swarm;

/// Broadcasts of one window at least, however short.
const BROADCASTS_MIN: u32 = 3;

/// What the measured broadcasts came to; their latencies are in the tally of the swarm.
#[derive(Clone, Copy, Debug)]
pub(crate) struct FanOut {
    /// Of the server.
    pub(crate) cpu: Duration,
    pub(crate) datagrams: u64,
    /// To connections of the swarm.
    pub(crate) deliveries: u64,
}

/// One connection after the other asks for a broadcast, by `request`. The window ends one period after the last of them, when
/// everything has arrived and been acknowledged.
///
/// # Errors
/// A broadcast did not reach a connection of the swarm.
pub(crate) async fn fan_out(
    server: &ServerProcess,
    swarm: &mut Swarm,
    (request, per_s): (Request, u32),
    warm_up: Duration,
    window: Duration,
) -> Result<FanOut> {
    let period = Duration::from_secs(1) / per_s;
    let whole_periods =
        |time: Duration| u32::try_from(time.as_nanos() / period.as_nanos()).unwrap_or(u32::MAX);
    let warm_up = whole_periods(warm_up).max(1);
    let measured = whole_periods(window).max(BROADCASTS_MIN);
    let began = Instant::now();
    let (mut cpu, mut datagrams) = (Duration::ZERO, 0);
    for round in 0..warm_up + measured {
        if round == warm_up {
            swarm.settled().await?;
            let now = Instant::now();
            swarm.tally.open_window(now, now + period * (measured + 1));
            datagrams = swarm.datagrams();
            cpu = server.cpu()?;
        }
        let asking = &swarm.links[round as usize % swarm.links.len()];
        swarm.tally.expect(swarm.links.len());
        asking.say(request, swarm.tally.now_ns()).await?;
        tokio::time::sleep_until((began + period * (round + 1)).into()).await;
    }
    swarm.settled().await?;
    let (cpu, datagrams) = (server.cpu()? - cpu, swarm.datagrams() - datagrams);
    Ok(FanOut { cpu, datagrams, deliveries: u64::from(measured) * swarm.links.len() as u64 })
}
