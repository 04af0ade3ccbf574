//! A process after it has handed over: its clients leave, slot by slot, and then it ends.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use nearport_edge::Edge;
use nearport_edge::shard::Departure;

use crate::control::{Answer, Channel, ControlError, Order};
use crate::node::Error;
use crate::node_predecessor::take_links;

/// How often it is looked whether all have gone.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// How long the shards may take to park.
const PARK_MAX: Duration = Duration::from_secs(5);

/// What is left of a node.
#[derive(Debug)]
pub(crate) struct Retired {
    pub(crate) edge: Arc<Edge>,
    /// To the process that has taken over.
    pub(crate) channel: Channel,
    /// Time for the clients.
    pub(crate) within: Duration,
}

impl Retired {
    /// Runs until all clients have left, [`Self::within`] is over, `leave` is ready or the process that took over has died.
    ///
    /// # Errors
    /// [`Error::Orphaned`] in the last case: its clients were closed and come back to whoever is there.
    pub(crate) async fn run(self, leave: impl Future<Output = ()>) -> Result<(), Error> {
        let Self { edge, channel, within } = self;
        edge.close_listeners();
        let sessions = edge.sessions();
        tracing::info!(sessions, within = ?within, "handed over: the clients leave");
        edge.leave(&Departure { within: within / 2, accept: true, ..Departure::default() });

        let orphaned = Arc::new(AtomicBool::new(false));
        let (listening, gone) = (edge.clone(), orphaned.clone());
        // It ends with the process, at the latest.
        let obey = std::thread::Builder::new().name("handed-over".to_owned());
        obey.spawn(move || obey_orders(&listening, &channel, &gone))
            .map_err(|error| Error::Edge(nearport_edge::Error::Io("start a thread", error)))?;

        tokio::pin!(leave);
        let deadline = Instant::now() + within;
        loop {
            let waiting = edge.clone();
            let look =
                tokio::task::spawn_blocking(move || waiting.wait_for_empty(Instant::now() + LOOK_EVERY));
            let left = tokio::select! {
                left = look => left.map_err(|panic| Error::Unclean(panic.to_string()))?,
                () = &mut leave => {
                    tracing::info!(sessions = edge.sessions(), "leaving at once");
                    break;
                }
            };
            if orphaned.load(Ordering::Acquire) {
                tracing::error!(sessions = left, "the process that took over has gone: closing");
                stop(edge).await?;
                return Err(Error::Orphaned);
            }
            if left == 0 {
                break;
            }
            if Instant::now() >= deadline {
                tracing::warn!(sessions = left, "closing sessions that did not leave in time");
                break;
            }
        }
        stop(edge).await?;
        tracing::info!("left");
        Ok(())
    }
}

/// Closes what is left, and joins the shards.
async fn stop(edge: Arc<Edge>) -> Result<(), Error> {
    let stopping = tokio::task::spawn_blocking(move || edge.close());
    stopping.await.map_err(|panic| Error::Unclean(panic.to_string()))
}

/// Does what the process that has taken over says: another one may take over from it in turn.
fn obey_orders(edge: &Edge, channel: &Channel, gone: &AtomicBool) {
    loop {
        let answer = match channel.recv_forever() {
            Ok((Order::Park, _)) => match edge.park(Instant::now() + PARK_MAX) {
                Ok(()) => Answer::Parked,
                Err(error) => Answer::Failed { reason: error.to_string() },
            },
            Ok((Order::Attach, descriptors)) => match take_links(edge, descriptors) {
                Ok(()) => Answer::Attached,
                Err(reason) => Answer::Failed { reason },
            },
            // Said to all, new and old.
            Ok((Order::Serving, _)) => continue,
            Ok((Order::Release, _)) => Answer::Failed { reason: "there is nothing left to give".to_owned() },
            Err(ControlError::Garbled(error)) => Answer::Failed { reason: error },
            Err(error) => {
                tracing::debug!(%error, "control channel");
                return gone.store(true, Ordering::Release);
            }
        };
        tracing::info!(?answer, "order of the process that has taken over");
        // Whoever is gone by now is noticed by the next read.
        let _ = channel.send(&answer, &[]);
    }
}
