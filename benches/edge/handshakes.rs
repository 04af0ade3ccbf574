//! Full handshakes, one after the other on each of many tasks: connect, get the application's first reply, close.
//!
//! The first reply (an echo of A and B, the welcome of N) makes sure that the server has done all of its part: a
//! client may close as soon as its own half is complete, and what a server then skips is a matter of timing.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use bytes::BytesMut;
use quinn::Endpoint;
use tokio::task::JoinSet;

use crate::codec::{Codec, Request, Unit};
use crate::plan::HANDSHAKES_IN_FLIGHT;
use crate::process::ServerProcess;
use crate::swarm::Link;
use crate::transport::{SERVER_NAME, client_endpoints};

/// Handshakes in a window, and what they cost the server.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Handshakes {
    pub(crate) count: u64,
    pub(crate) elapsed: Duration,
    pub(crate) server_cpu: Duration,
    /// Both ways, until the client closed.
    pub(crate) datagrams: u64,
}

/// Keeps [`HANDSHAKES_IN_FLIGHT`] handshakes under way and measures `window` of it.
///
/// # Errors
/// A handshake or a first reply failed.
pub(crate) async fn handshakes(
    server: &ServerProcess,
    codec: Arc<dyn Codec>,
    warm_up: Duration,
    window: Duration,
) -> Result<Handshakes> {
    let endpoints = client_endpoints(server.certificate.clone())?;
    let done = Arc::new(AtomicU64::new(0));
    let datagrams = Arc::new(AtomicU64::new(0));
    let stop = Arc::new(AtomicBool::new(false));
    let mut tasks = JoinSet::new();
    for task in 0..HANDSHAKES_IN_FLIGHT {
        let endpoint = endpoints[task % endpoints.len()].clone();
        let (codec, address) = (Arc::clone(&codec), server.address);
        let (done, datagrams, stop) = (Arc::clone(&done), Arc::clone(&datagrams), Arc::clone(&stop));
        tasks.spawn(async move {
            while !stop.load(Relaxed) {
                let used = login(&endpoint, address, Arc::clone(&codec), task).await?;
                datagrams.fetch_add(used, Relaxed);
                done.fetch_add(1, Relaxed);
            }
            Ok::<_, anyhow::Error>(())
        });
    }
    tokio::time::sleep(warm_up).await;
    let (count, sent, cpu, began) =
        (done.load(Relaxed), datagrams.load(Relaxed), server.cpu()?, Instant::now());
    tokio::time::sleep(window).await;
    let measured = Handshakes {
        count: done.load(Relaxed) - count,
        server_cpu: server.cpu()? - cpu,
        elapsed: began.elapsed(),
        datagrams: datagrams.load(Relaxed) - sent,
    };
    stop.store(true, Relaxed);
    while let Some(task) = tasks.join_next().await {
        task??;
    }
    Ok(measured)
}

/// One connection; returns its datagrams.
///
/// # Errors
/// The handshake or the first reply failed.
pub(crate) async fn login(
    endpoint: &Endpoint,
    address: SocketAddr,
    codec: Arc<dyn Codec>,
    index: usize,
) -> Result<u64> {
    let says_hello = codec.hello(index, &mut BytesMut::new());
    let connection = endpoint.connect(address, SERVER_NAME)?.await.context("handshake failed")?;
    let (link, mut inbox) = Link::open(connection, codec, index).await.context("no first reply")?;
    if !says_hello {
        link.say(Request::Echo, 0).await?;
        while !inbox.receive(|unit| Ok(matches!(unit, Unit::Payload(_)))).await? {}
    }
    link.close();
    Ok(link.datagrams())
}
