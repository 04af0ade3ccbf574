//! Peer B: quinn tuned as far as its API allows. Two threads, each with a single-threaded runtime and its own endpoint
//! on a `SO_REUSEPORT` socket; classic BPF steers each datagram by a bit of its connection id, so a connection
//! never meets the other thread. Few streams, small windows, no datagrams, no MTU discovery. A broadcast is written
//! straight to the streams, with no channel and no second task per connection.

use std::collections::HashMap;
use std::net::UdpSocket;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

use anyhow::{Context as _, Result, anyhow};
use bytes::Bytes;
use nix::sys::socket::{setsockopt, sockopt};
use quinn::{ConnectionId, ConnectionIdGenerator};
use quinn::{
    Endpoint, EndpointConfig, Incoming, SendStream, ServerConfig, TokioRuntime, TransportConfig, VarInt,
};
use quinn_proto::RandomConnectionIdGenerator;
use tokio::sync::mpsc;

use crate::codec::{Deframer, messages};
use crate::process;
use crate::transport::{Identity, SHARDS, server_tls, udp_socket};

/// Broadcasts that may wait for a shard. When it is full the asking connection waits.
const WAITING_MAX: usize = 64;

/// Most bytes taken from a stream at once.
const READ_MAX: usize = 16 * 1024;

/// Bytes of a connection id, as quinn's default.
const CID_LEN: usize = 8;

type Stream = Arc<tokio::sync::Mutex<SendStream>>;

pub(crate) fn serve() -> Result<()> {
    let identity = Identity::generate()?;
    let certificate = identity.certificate.clone();
    let mut config = ServerConfig::with_crypto(Arc::new(server_tls(identity)?));
    config.transport_config(Arc::new(transport()));

    // Index in the group = order of binding = shard. One program steers the whole group.
    let first = udp_socket(0, true)?;
    let address = first.local_addr()?;
    let mut sockets = vec![first];
    for _ in 1..SHARDS {
        sockets.push(udp_socket(address.port(), true)?);
    }
    steer_by_connection_id(&sockets[0])?;

    let (senders, receivers): (Vec<_>, Vec<_>) = sockets.iter().map(|_| mpsc::channel(WAITING_MAX)).unzip();
    let mut threads = Vec::new();
    for ((shard, socket), broadcasts) in (0..SHARDS).zip(sockets).zip(receivers) {
        let (config, senders) = (config.clone(), senders.clone());
        let body = move || run_shard(shard, socket, config, senders, broadcasts);
        threads.push(thread::Builder::new().name(format!("shard-{shard}")).spawn(body)?);
    }
    process::announce(address, &certificate)?;
    for thread in threads {
        thread.join().map_err(|_| anyhow!("a shard panicked"))??;
    }
    Ok(())
}

fn transport() -> TransportConfig {
    let mut transport = TransportConfig::default();
    transport
        .max_concurrent_bidi_streams(VarInt::from_u32(4))
        .max_concurrent_uni_streams(VarInt::from_u32(2))
        .stream_receive_window(VarInt::from_u32(64 << 10))
        .receive_window(VarInt::from_u32(256 << 10))
        .send_window(256 << 10)
        .datagram_receive_buffer_size(None)
        .mtu_discovery_config(None);
    transport
}

fn run_shard(
    shard: u8,
    socket: UdpSocket,
    config: ServerConfig,
    shards: Vec<mpsc::Sender<Bytes>>,
    broadcasts: mpsc::Receiver<Bytes>,
) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async move {
        let mut endpoint_config = EndpointConfig::default();
        endpoint_config.cid_generator(move || {
            Box::new(ShardCid { shard, random: RandomConnectionIdGenerator::new(CID_LEN) })
        });
        let endpoint = Endpoint::new(endpoint_config, Some(config), socket, Arc::new(TokioRuntime))?;
        let everyone = Arc::new(Everyone::default());
        tokio::spawn(broadcast(broadcasts, Arc::clone(&everyone)));
        while let Some(incoming) = endpoint.accept().await {
            let (everyone, shards) = (Arc::clone(&everyone), shards.clone());
            tokio::spawn(async move {
                // A client that goes away is the normal end of a connection.
                let _ = connection(incoming, &everyone, &shards).await;
            });
        }
        Ok(())
    })
}

async fn connection(incoming: Incoming, everyone: &Everyone, shards: &[mpsc::Sender<Bytes>]) -> Result<()> {
    let connection = incoming.await?;
    let (send, mut recv) = connection.accept_bi().await?;
    // Only this thread locks it: never contended, held across a wait only when the client's window is full.
    let send: Stream = Arc::new(tokio::sync::Mutex::new(send));
    let _member = everyone.join(Arc::clone(&send));
    let mut deframer = Deframer::default();
    loop {
        let chunk = recv.read_chunk(READ_MAX, true).await?.context("stream finished")?;
        let run = deframer.push(&chunk.bytes);
        for (message, broadcast) in messages(&run) {
            if broadcast {
                for shard in shards {
                    shard.send(Bytes::copy_from_slice(message)).await?;
                }
            } else {
                send.lock().await.write_all(message).await?;
            }
        }
    }
}

/// Writes each message to every stream of this shard. A client whose window is full stops the others, which a product
/// must not do; here every client reads.
async fn broadcast(mut messages: mpsc::Receiver<Bytes>, everyone: Arc<Everyone>) {
    while let Some(message) = messages.recv().await {
        let streams: Vec<_> = everyone.locked().1.values().cloned().collect();
        for stream in streams {
            // A connection that closed meanwhile needs no message.
            let _ = stream.lock().await.write_all(&message).await;
        }
    }
}

/// The connections of one shard that have opened their stream.
#[derive(Debug, Default)]
struct Everyone {
    members: Mutex<(u64, HashMap<u64, Stream>)>,
}

impl Everyone {
    fn join(&self, stream: Stream) -> Member<'_> {
        let mut members = self.locked();
        members.0 += 1;
        let key = members.0;
        members.1.insert(key, stream);
        Member { everyone: self, key }
    }

    fn locked(&self) -> MutexGuard<'_, (u64, HashMap<u64, Stream>)> {
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

/// Random ids whose first byte, modulo [`SHARDS`], is the shard.
#[derive(Debug)]
struct ShardCid {
    shard: u8,
    random: RandomConnectionIdGenerator,
}

impl ConnectionIdGenerator for ShardCid {
    fn generate_cid(&mut self) -> ConnectionId {
        let mut bytes = [0; CID_LEN];
        bytes.copy_from_slice(&self.random.generate_cid());
        bytes[0] = bytes[0] - bytes[0] % SHARDS + self.shard;
        ConnectionId::new(&bytes)
    }

    fn cid_len(&self) -> usize {
        CID_LEN
    }

    fn cid_lifetime(&self) -> Option<std::time::Duration> {
        None
    }
}

/// Attaches the program that picks a socket by the first byte of the destination connection id. The program sees the
/// UDP payload: the id starts at byte 1 behind a short header and at byte 6 behind a long one (RFC 9000 §17). A
/// client's first id is random, so new connections spread; a datagram too short to hold an id goes to shard 0.
fn steer_by_connection_id(socket: &UdpSocket) -> Result<()> {
    const LOAD_BYTE: u32 = libc::BPF_LD | libc::BPF_B | libc::BPF_ABS;
    let op = |code: u32, jump_true: u8, jump_false: u8, k: u32| -> Result<libc::sock_filter> {
        Ok(libc::sock_filter { code: u16::try_from(code)?, jt: jump_true, jf: jump_false, k })
    };
    let mut program = [
        op(LOAD_BYTE, 0, 0, 0)?,
        op(libc::BPF_JMP | libc::BPF_JSET | libc::BPF_K, 2, 0, 0x80)?,
        op(LOAD_BYTE, 0, 0, 1)?,
        op(libc::BPF_JMP | libc::BPF_JA, 0, 0, 1)?,
        op(LOAD_BYTE, 0, 0, 6)?,
        op(libc::BPF_ALU | libc::BPF_MOD | libc::BPF_K, 0, 0, u32::from(SHARDS))?,
        op(libc::BPF_RET | libc::BPF_A, 0, 0, 0)?,
    ];
    let filter = libc::sock_fprog { len: u16::try_from(program.len())?, filter: program.as_mut_ptr() };
    setsockopt(socket, sockopt::AttachReusePortCbpf, &filter).context("cannot attach the steering program")
}
