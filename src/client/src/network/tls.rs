//! TLS and QUIC settings. One base for all transports: the same roots, the same key exchange, and one store of
//! session tickets, so that a ticket from one transport resumes a session on another.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use nearport_wire::ALPN;
use quinn::crypto::rustls::QuicClientConfig;
use quinn::{AckFrequencyConfig, IdleTimeout, TransportConfig, VarInt};
use rustls::ClientConfig;
use rustls::crypto::{CryptoProvider, aws_lc_rs};

use super::{KeyExchange, NetworkConfig, Tuning};
use crate::error::NetworkError;

/// ALPN of HTTP/1.1, which carries the WebSocket.
pub(crate) const ALPN_HTTP: &[u8] = b"http/1.1";

/// ALPN of HTTP/2, which carries DNS.
const ALPN_H2: &[u8] = b"h2";

/// ALPN of HTTP/3, which carries WebTransport.
const ALPN_H3: &[u8] = b"h3";

/// Streams in one direction that an HTTP/3 server may open: its three, and some whose types mean nothing.
const H3_STREAMS: u32 = 8;

/// Silence after which QUIC gives up. Above the server's 75 s, so that the session protocol decides.
const IDLE_TIMEOUT_MS: u32 = 90_000;

/// Unread bytes that the server may have on the way on one stream. A page of 256 KiB takes two round trips; a hundred
/// thousand clients in one process stay small.
const STREAM_WINDOW: u32 = 128 * 1024;

/// The same on all streams: a page that is not read yet leaves the main stream its share.
const RECEIVE_WINDOW: u32 = 2 * STREAM_WINDOW;

/// Datagrams that wait to be read, and to be sent. They are small, few, and worth little once they are late.
const DATAGRAM_BYTES: usize = 32 * 1024;

/// Unacknowledged bytes of our own.
const SEND_WINDOW: u64 = 256 * 1024;

/// Bounds of a round trip that is known from the last visit: a first packet is repeated after three of it, so not
/// before 60 ms, which the server's own work fits in, and not after a second.
const INITIAL_RTT_MIN: Duration = Duration::from_millis(20);
const INITIAL_RTT_MAX: Duration = Duration::from_millis(333);

/// What connections are made with.
pub(crate) struct TlsConfigs {
    /// QUIC, ALPN `np/1`.
    pub(crate) quic: Arc<QuicClientConfig>,
    /// QUIC, ALPN `h3`, which carries WebTransport.
    pub(crate) h3: Arc<QuicClientConfig>,
    /// TLS over TCP, ALPN `np/1`.
    pub(crate) frames: Arc<ClientConfig>,
    /// TLS over TCP, ALPN `http/1.1`.
    pub(crate) https: Arc<ClientConfig>,
    /// TLS over TCP, ALPN `h2`, for DNS over HTTPS.
    pub(crate) dns: ClientConfig,
}

impl fmt::Debug for TlsConfigs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsConfigs").finish_non_exhaustive()
    }
}

impl TlsConfigs {
    pub(super) fn new(config: &NetworkConfig) -> Result<Self, NetworkError> {
        let mut provider = aws_lc_rs::default_provider();
        match config.key_exchange {
            KeyExchange::HybridFirst => {}
            KeyExchange::X25519 => provider.kx_groups = vec![aws_lc_rs::kx_group::X25519],
        }
        let mut base = ClientConfig::builder_with_provider(Arc::<CryptoProvider>::new(provider))
            .with_protocol_versions(&[&rustls::version::TLS13])?
            .with_root_certificates(config.roots.clone())
            .with_no_client_auth();
        if !config.resumption {
            base.resumption = rustls::client::Resumption::disabled();
        }
        // Clones share verifier and tickets.
        let with_alpn = |alpn: &[u8]| {
            let mut tls = base.clone();
            tls.alpn_protocols = vec![alpn.to_vec()];
            tls
        };
        let for_quic = |tls| {
            QuicClientConfig::try_from(tls)
                .map_err(|_| rustls::Error::General("no cipher suite for quic initial packets".into()))
        };
        Ok(Self {
            quic: Arc::new(for_quic(with_alpn(ALPN))?),
            h3: Arc::new(for_quic(with_alpn(ALPN_H3))?),
            frames: Arc::new(with_alpn(ALPN)),
            https: Arc::new(with_alpn(ALPN_HTTP)),
            dns: with_alpn(ALPN_H2),
        })
    }
}

/// Transport parameters of a QUIC connection to a server whose round trip was `rtt` at the last visit.
pub(super) fn transport(tuning: &Tuning, rtt: Option<Duration>, h3: bool) -> TransportConfig {
    let ack_delay = tuning.ack_delay.map(|max| {
        let mut frequency = AckFrequencyConfig::default();
        // As without the extension: what comes out of order is acknowledged at once.
        frequency.max_ack_delay(Some(max)).reordering_threshold(VarInt::from_u32(1));
        frequency
    });
    let mut transport = TransportConfig::default();
    // The client opens the streams of np/1. quinn allocates for every stream that the peer may open.
    transport
        .max_concurrent_bidi_streams(VarInt::from_u32(0))
        .max_concurrent_uni_streams(VarInt::from_u32(if h3 { H3_STREAMS } else { 0 }))
        .stream_receive_window(VarInt::from_u32(STREAM_WINDOW))
        .receive_window(VarInt::from_u32(RECEIVE_WINDOW))
        .send_window(SEND_WINDOW)
        .datagram_receive_buffer_size(tuning.datagrams.then_some(DATAGRAM_BYTES))
        .datagram_send_buffer_size(DATAGRAM_BYTES)
        .keep_alive_interval(None)
        .ack_frequency_config(ack_delay)
        .max_idle_timeout(Some(IdleTimeout::from(VarInt::from_u32(IDLE_TIMEOUT_MS))))
        .mtu_discovery_config(None);
    if let Some(guess) = first_guess(tuning, rtt) {
        transport.initial_rtt(guess);
    }
    transport
}

/// What is taken for the round trip until it is measured; `None`: quinn's guess.
fn first_guess(tuning: &Tuning, last_visit: Option<Duration>) -> Option<Duration> {
    let remembered = last_visit.filter(|_| tuning.remembered_rtt);
    remembered.map(|rtt| rtt.clamp(INITIAL_RTT_MIN, INITIAL_RTT_MAX)).or(tuning.initial_rtt)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_visit_is_the_first_guess_within_bounds() {
        let ms = Duration::from_millis;
        let on = Tuning::default();
        let forgetful = Tuning { remembered_rtt: false, ..on };
        let off = Tuning { initial_rtt: None, ..forgetful };
        for (tuning, last_visit, guess) in [
            (on, None, Some(ms(100))),
            (on, Some(ms(180)), Some(ms(180))),
            (on, Some(ms(1)), Some(INITIAL_RTT_MIN)),
            (on, Some(ms(4_000)), Some(INITIAL_RTT_MAX)),
            (forgetful, Some(ms(180)), Some(ms(100))),
            (off, Some(ms(180)), None),
        ] {
            assert_eq!(first_guess(&tuning, last_visit), guess, "{tuning:?} {last_visit:?}");
        }
    }
}
