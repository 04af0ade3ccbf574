//! What `roam` adds to `chat`, where the clients move by themselves: a part of them after the other takes new sockets.

use nearport_client::Network;
use tokio::time::{Instant, sleep_until};

use crate::Error;
use crate::options::Options;

/// Moves each of `networks` as often as `options` say, one after the other, evenly spread; counts the whole rounds. Never ends, so
/// that it can stand beside what does.
///
/// # Errors
/// [`Error::Network`]: no new socket could be made.
pub(super) async fn walk(options: &Options, networks: &[Network], rounds: &mut u64) -> Result<(), Error> {
    if !options.clients_move() {
        return std::future::pending().await;
    }
    let start = Instant::now() + options.warmup;
    let step = options.rebind_period() / u32::try_from(networks.len()).unwrap_or(u32::MAX).max(1);
    let mut due = start;
    for _ in 0..options.rebinds {
        for network in networks {
            sleep_until(due).await;
            network.rebind()?;
            due += step;
        }
        *rounds += 1;
    }
    std::future::pending().await
}
