//! Peer A: an echo server as most people would first write it with quinn. Multi-thread runtime, default transport,
//! one task per connection, one bounded channel per connection for what others send to it.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::{Context as _, Result};
use bytes::Bytes;
use quinn::{Endpoint, EndpointConfig, Incoming, ServerConfig, TokioRuntime};
use tokio::sync::mpsc;

use crate::codec::{Deframer, messages};
use crate::process;
use crate::transport::{Identity, server_tls, udp_socket};

/// Broadcasts that may wait for one connection. When it is full the broadcast is not delivered to that connection;
/// the generator notices and fails.
const WAITING_MAX: usize = 64;

/// Most bytes taken from a stream at once.
const READ_MAX: usize = 16 * 1024;

pub(crate) fn serve() -> Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(run())
}

async fn run() -> Result<()> {
    let identity = Identity::generate()?;
    let certificate = identity.certificate.clone();
    let config = ServerConfig::with_crypto(Arc::new(server_tls(identity)?));
    let socket = udp_socket(0, false)?;
    let address: SocketAddr = socket.local_addr()?;
    let endpoint = Endpoint::new(EndpointConfig::default(), Some(config), socket, Arc::new(TokioRuntime))?;
    process::announce(address, &certificate)?;

    let everyone = Arc::new(Everyone::default());
    while let Some(incoming) = endpoint.accept().await {
        let everyone = Arc::clone(&everyone);
        tokio::spawn(async move {
            // A client that goes away is the normal end of a connection.
            let _ = connection(incoming, &everyone).await;
        });
    }
    Ok(())
}

async fn connection(incoming: Incoming, everyone: &Everyone) -> Result<()> {
    let connection = incoming.await?;
    let (mut send, mut recv) = connection.accept_bi().await?;
    let (sender, mut broadcasts) = mpsc::channel(WAITING_MAX);
    let _member = everyone.join(sender);
    let mut deframer = Deframer::default();
    loop {
        tokio::select! {
            chunk = recv.read_chunk(READ_MAX, true) => {
                let run = deframer.push(&chunk?.context("stream finished")?.bytes);
                for (message, broadcast) in messages(&run) {
                    if broadcast {
                        everyone.send(&Bytes::copy_from_slice(message));
                    } else {
                        send.write_all(message).await?;
                    }
                }
            }
            message = broadcasts.recv() => {
                send.write_all(&message.context("nobody can broadcast any more")?).await?;
            }
        }
    }
}

/// All connections that have opened their stream.
#[derive(Debug, Default)]
struct Everyone {
    members: Mutex<(u64, HashMap<u64, mpsc::Sender<Bytes>>)>,
}

impl Everyone {
    fn join(&self, sender: mpsc::Sender<Bytes>) -> Member<'_> {
        let mut members = self.locked();
        members.0 += 1;
        let key = members.0;
        members.1.insert(key, sender);
        Member { everyone: self, key }
    }

    fn send(&self, message: &Bytes) {
        for member in self.locked().1.values() {
            // Full or gone: see WAITING_MAX.
            let _ = member.try_send(message.clone());
        }
    }

    fn locked(&self) -> MutexGuard<'_, (u64, HashMap<u64, mpsc::Sender<Bytes>>)> {
        self.members.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Leaves when dropped.
#[derive(Debug)]
struct Member<'a> {
    everyone: &'a Everyone,
    key: u64,
}

impl Drop for Member<'_> {
    fn drop(&mut self) {
        self.everyone.locked().1.remove(&self.key);
    }
}
