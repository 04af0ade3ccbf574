//! How our QUIC endpoints are set up, and why.

mod contexts;
mod keys;
mod tls;

use std::sync::Arc;
use std::time::Duration;

use quinn_proto::{
    AckFrequencyConfig, EndpointConfig, IdleTimeout, NoneTokenLog, ServerConfig, TransportConfig,
    ValidationTokenConfig, VarInt,
};
use rustls::server::ResolvesServerCert;

use crate::Error;
use crate::cid::{Owner, ShardCids};
use crate::keys::Keys;
use crate::shard::SEND_WINDOW;
pub(crate) use contexts::PARTS as CONTEXT_PARTS;
#[cfg(test)]
pub(crate) use keys::drop_all_contexts;
pub(crate) use keys::{SmallPacketKey, sweep_contexts};
pub use tls::Protocol;
use tls::{QUIC_V1, ServerCrypto};

/// TLS for the edge: TLS 1.3 only, ALPN `np/1`, no early data.
///
/// 0-RTT is off: it excludes tickets that every PoP can read (rustls 0.23), and a replayed hello costs the backend.
/// `provider` chooses key exchange and ciphers; the default of aws-lc-rs prefers the hybrid X25519MLKEM768.
///
/// # Errors
/// [`Error::Tls`] if the provider lacks TLS 1.3.
pub fn tls_config(
    provider: Arc<rustls::crypto::CryptoProvider>,
    certificates: Arc<dyn ResolvesServerCert>,
) -> Result<rustls::ServerConfig, Error> {
    let builder = rustls::ServerConfig::builder_with_provider(Arc::new(keys::with_small_keys(&provider)))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(|error| Error::Tls(error.to_string()))?;
    let mut config = builder.with_no_client_auth().with_cert_resolver(certificates);
    config.alpn_protocols = vec![nearport_wire::ALPN.to_vec()];
    config.max_early_data_size = 0;
    // Tickets come with the cluster's keys, see [`crate::tickets::install`]. Without those a ticket would only cost 200
    // bytes in each handshake and a cache that holds 256 sessions for everybody.
    config.send_tls13_tickets = 0;
    Ok(config)
}

/// Bytes of datagrams that wait, in each direction of a connection. Beyond it the oldest is dropped.
const DATAGRAM_BUFFER: usize = 16 * 1024;

/// The transport parameters of a chat connection. `ack_delay`: how long clients are asked to wait with an acknowledgement
/// (the ACK frequency extension, in the draft's form that quinn has), zero for as long as they like. It is a part of the time
/// after which a lost last packet is sent again (RFC 9002 §6.2.1), and a lone push is always the last packet.
fn transport(ack_delay: Duration) -> TransportConfig {
    let ack_frequency = (ack_delay > Duration::ZERO).then(|| {
        let mut frequency = AckFrequencyConfig::default();
        // As without the extension: what comes out of order is acknowledged at once.
        frequency.max_ack_delay(Some(ack_delay)).reordering_threshold(VarInt::from_u32(1));
        frequency
    });
    let mut transport = TransportConfig::default();
    let idle = IdleTimeout::from(VarInt::from_u32(90_000));
    transport
        // quinn allocates for each permitted stream when a connection starts: 100 + 100 cost 9.6 KB (our figure).
        .max_concurrent_bidi_streams(VarInt::from_u32(4))
        // What HTTP/3 asks for (RFC 9114 §6.2). Seven streams fit the table that six would have.
        .max_concurrent_uni_streams(VarInt::from_u32(3))
        .stream_receive_window(VarInt::from_u32(64 * 1024))
        .receive_window(VarInt::from_u32(256 * 1024))
        .send_window(SEND_WINDOW)
        // Datagrams are small and read in the turn that brings them; what is sent waits for the congestion window only.
        .datagram_receive_buffer_size(Some(DATAGRAM_BUFFER))
        .datagram_send_buffer_size(DATAGRAM_BUFFER)
        // Messages are smaller than the smallest MTU; probing each connection costs two datagrams of 1,452 bytes.
        .mtu_discovery_config(None)
        // A PoP is near: a lost first flight is repeated after 3 × 100 ms instead of a second.
        .initial_rtt(Duration::from_millis(100))
        .ack_frequency_config(ack_frequency)
        // Three client heartbeats of 25 s and a margin. The smaller of both sides' values counts.
        .max_idle_timeout(Some(idle))
        // One datagram per `Transmit`: the socket makes trains of those that fit together, and can take them apart again.
        .enable_segmentation_offload(false);
    transport
}

/// Configuration of new connections, the same for all shards. `ack_delay`: see
/// [`crate::Config::ack_delay`].
///
/// # Errors
/// [`Error::Tls`] if the provider lacks the cipher suite of QUIC's initial packets.
pub fn server_config(
    mut tls: rustls::ServerConfig,
    keys: &Keys,
    ack_delay: Duration,
) -> Result<ServerConfig, Error> {
    tls.alpn_protocols = [Protocol::Np1, Protocol::H3].map(|protocol| protocol.alpn().to_vec()).to_vec();
    let crypto = Arc::new(ServerCrypto::new(tls)?);
    let mut config = ServerConfig::new(crypto, keys.token_key());
    let mut no_tokens = ValidationTokenConfig::default();
    no_tokens.sent(0).log(Arc::new(NoneTokenLog));
    config
        .transport_config(Arc::new(transport(ack_delay)))
        // No NEW_TOKEN frames: they would save returning clients a Retry, which only a flood asks for, and cost two
        // key derivations per handshake and a 10 MiB filter against their reuse.
        .validation_token_config(no_tokens)
        // An Incoming is decided upon in the turn that brings it, so few ever wait; the defaults are 65,536 and 100
        // MiB.
        .max_incoming(1024)
        .incoming_buffer_size(16 * 1024)
        .incoming_buffer_size_total(8 << 20);
    Ok(config)
}

/// Configuration of one shard's endpoint. `seed` makes a simulated endpoint repeatable.
#[must_use]
pub fn endpoint_config(keys: &Keys, owner: Owner, seed: Option<[u8; 32]>) -> EndpointConfig {
    let mut config = EndpointConfig::new(keys.reset_key());
    let cids = ShardCids::new(keys, owner, 0);
    config
        .supported_versions(vec![QUIC_V1])
        .cid_generator(move || Box::new(cids.clone()))
        // Resets go only to ids that decrypt to a dead connection of ours and are smaller than what they answer, so
        // there is nothing to ration; at the default of 20 ms, 10,000 clients of a crashed process would take
        // minutes to learn of it.
        .min_reset_interval(Duration::ZERO)
        .rng_seed(seed);
    config
}
