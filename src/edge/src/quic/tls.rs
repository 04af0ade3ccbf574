//! TLS of the server's QUIC connections, which lets go of what an established connection does not need.
//!
//! quinn-proto's own session keeps the whole rustls connection for life: 5 KB of heap with buffers of the handshake
//! and two contexts for TLS records, which QUIC does not have. Once the handshake is complete and its last bytes
//! (tickets included) are handed over, a server needs nothing of it but the secrets for key updates (RFC 9001 §6)
//! and the protocol that was agreed upon. Nothing that a client may send as CRYPTO data after that is legal:
//! there is no client authentication, and TLS KeyUpdate is forbidden in QUIC.

use std::any::Any;
use std::fmt;
use std::io::Cursor;
use std::sync::Arc;

use aws_lc_rs::aead;
use quinn_proto::crypto::{
    self, ExportKeyingMaterialError, HeaderKey, KeyPair, Keys, PacketKey, UnsupportedVersion,
};
use quinn_proto::transport_parameters::TransportParameters;
use quinn_proto::{ConnectionId, Side, TransportError, TransportErrorCode};
use rustls::AlertDescription;
use rustls::quic::{KeyChange, Secrets, ServerConnection, Version};

use super::keys;
use crate::Error;

/// The one QUIC version that we speak (RFC 9000).
pub(super) const QUIC_V1: u32 = 1;

/// Key and nonce of the integrity tag of Retry packets, RFC 9001 §5.8.
const RETRY_KEY: [u8; 16] =
    [0xbe, 0x0c, 0x69, 0x0b, 0x9f, 0x66, 0x57, 0x5a, 0x1d, 0x76, 0x6b, 0x54, 0xe3, 0x68, 0xc8, 0x4e];
const RETRY_NONCE: [u8; 12] = [0x46, 0x15, 0x99, 0xd3, 0x5d, 0x63, 0x2b, 0xf2, 0x23, 0x98, 0x25, 0xbb];

/// What a client asked for by ALPN. `quinn_proto::crypto::Session::handshake_data` gives it as `Any`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// `np/1`: our frames on QUIC streams.
    Np1,
    /// `h3`: WebTransport.
    H3,
}

impl Protocol {
    /// Its name in ALPN.
    #[must_use]
    pub fn alpn(self) -> &'static [u8] {
        match self {
            Self::Np1 => nearport_wire::ALPN,
            Self::H3 => b"h3",
        }
    }

    fn from_alpn(name: &[u8]) -> Option<Self> {
        [Self::Np1, Self::H3].into_iter().find(|protocol| protocol.alpn() == name)
    }
}

/// TLS of all connections of a shard.
pub(super) struct ServerCrypto(Arc<rustls::ServerConfig>);

impl ServerCrypto {
    /// # Errors
    /// [`Error::Tls`] if `tls` is not TLS 1.3 without early data, or offers no QUIC.
    pub(super) fn new(tls: rustls::ServerConfig) -> Result<Self, Error> {
        let tls = Arc::new(tls);
        // What could fail later, per connection, fails here.
        ServerConnection::new(tls.clone(), Version::V1, Vec::new())
            .map_err(|error| Error::Tls(error.to_string()))?;
        Ok(Self(tls))
    }
}

impl crypto::ServerConfig for ServerCrypto {
    fn initial_keys(&self, version: u32, dst_cid: &ConnectionId) -> Result<Keys, UnsupportedVersion> {
        if version == QUIC_V1 { Ok(initial_keys(dst_cid, Side::Server)) } else { Err(UnsupportedVersion) }
    }

    fn retry_tag(&self, _version: u32, orig_dst_cid: &ConnectionId, packet: &[u8]) -> [u8; 16] {
        let id_len = u8::try_from(orig_dst_cid.len()).expect("a connection id has at most 20 bytes");
        let pseudo_packet = [&[id_len][..], orig_dst_cid, packet].concat();
        let key = aead::UnboundKey::new(&aead::AES_128_GCM, &RETRY_KEY).expect("16 bytes");
        let nonce = aead::Nonce::assume_unique_for_key(RETRY_NONCE);
        let tag = aead::LessSafeKey::new(key)
            .seal_in_place_separate_tag(nonce, aead::Aad::from(pseudo_packet), &mut [])
            .expect("nothing to seal");
        tag.as_ref().try_into().expect("a tag has 16 bytes")
    }

    fn start_session(
        self: Arc<Self>,
        _version: u32,
        params: &TransportParameters,
    ) -> Box<dyn crypto::Session> {
        let mut encoded = Vec::new();
        params.write(&mut encoded);
        let rustls = ServerConnection::new(self.0.clone(), Version::V1, encoded)
            .expect("this configuration has made a connection before");
        Box::new(Session { rustls: Some(Box::new(rustls)), secrets: None, protocol: None })
    }
}

impl fmt::Debug for ServerCrypto {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ServerCrypto")
    }
}

/// TLS of one connection.
struct Session {
    /// `None` once the handshake is complete and written.
    rustls: Option<Box<ServerConnection>>,
    /// For key updates, from the handshake's end.
    secrets: Option<Secrets>,
    /// Known from the client's hello on.
    protocol: Option<Protocol>,
}

impl crypto::Session for Session {
    fn initial_keys(&self, dst_cid: &ConnectionId, side: Side) -> Keys {
        initial_keys(dst_cid, side)
    }

    fn handshake_data(&self) -> Option<Box<dyn Any>> {
        self.protocol.map(|protocol| Box::new(protocol) as Box<dyn Any>)
    }

    /// Clients show no certificate.
    fn peer_identity(&self) -> Option<Box<dyn Any>> {
        None
    }

    /// There is no 0-RTT, see [`super::tls_config`].
    fn early_crypto(&self) -> Option<(Box<dyn HeaderKey>, Box<dyn PacketKey>)> {
        None
    }

    fn early_data_accepted(&self) -> Option<bool> {
        None
    }

    fn is_handshaking(&self) -> bool {
        self.rustls.as_ref().is_some_and(|rustls| rustls.is_handshaking())
    }

    fn read_handshake(&mut self, bytes: &[u8]) -> Result<bool, TransportError> {
        let Some(rustls) = &mut self.rustls else {
            // RFC 9001 §6 and §4.4 name this error for what could come.
            return Err(failure(AlertDescription::UnexpectedMessage, "nothing follows the handshake"));
        };
        if let Err(error) = rustls.read_hs(bytes) {
            // rustls has an alert for nearly all; the rest is still the client's bytes.
            let alert = rustls.alert().unwrap_or(AlertDescription::DecodeError);
            return Err(failure(alert, error.to_string()));
        }
        let was_known = self.protocol.is_some();
        self.protocol = rustls.alpn_protocol().and_then(Protocol::from_alpn);
        Ok(!was_known && self.protocol.is_some())
    }

    fn transport_parameters(&self) -> Result<Option<TransportParameters>, TransportError> {
        // Asked once, when the client's hello is in.
        let Some(encoded) = self.rustls.as_ref().and_then(|rustls| rustls.quic_transport_parameters()) else {
            return Ok(None);
        };
        Ok(Some(TransportParameters::read(Side::Server, &mut Cursor::new(encoded))?))
    }

    fn write_handshake(&mut self, out: &mut Vec<u8>) -> Option<Keys> {
        let rustls = self.rustls.as_mut()?;
        let written = out.len();
        let keys = match rustls.write_hs(out) {
            Some(KeyChange::Handshake { keys }) => keys,
            Some(KeyChange::OneRtt { keys, next }) => {
                self.secrets = Some(next);
                keys
            }
            None => {
                // rustls writes only in answer to what it reads; with the handshake behind it and nothing left to
                // write it would stay silent for ever.
                if out.len() == written && !rustls.is_handshaking() {
                    self.rustls = None;
                }
                return None;
            }
        };
        Some(quinn_keys(keys))
    }

    fn next_1rtt_keys(&mut self) -> Option<KeyPair<Box<dyn PacketKey>>> {
        let keys = self.secrets.as_mut()?.next_packet_keys();
        Some(KeyPair { local: Box::new(keys.local), remote: Box::new(keys.remote) })
    }

    /// Retry packets go to clients.
    fn is_valid_retry(&self, _orig_dst_cid: &ConnectionId, _header: &[u8], _payload: &[u8]) -> bool {
        false
    }

    /// Nobody here asks for it, and the secret goes with the rest.
    fn export_keying_material(
        &self,
        _output: &mut [u8],
        _label: &[u8],
        _context: &[u8],
    ) -> Result<(), ExportKeyingMaterialError> {
        Err(ExportKeyingMaterialError)
    }
}

fn initial_keys(dst_cid: &ConnectionId, side: Side) -> Keys {
    let side = match side {
        Side::Client => rustls::Side::Client,
        Side::Server => rustls::Side::Server,
    };
    quinn_keys(keys::initial_suite().keys(dst_cid, side, Version::V1))
}

fn quinn_keys(keys: rustls::quic::Keys) -> Keys {
    Keys {
        header: KeyPair { local: Box::new(keys.local.header), remote: Box::new(keys.remote.header) },
        packet: KeyPair { local: Box::new(keys.local.packet), remote: Box::new(keys.remote.packet) },
    }
}

fn failure(alert: AlertDescription, reason: impl Into<String>) -> TransportError {
    TransportError { code: TransportErrorCode::crypto(alert.into()), frame: None, reason: reason.into() }
}

#[cfg(test)]
#[path = "tls_tests.rs"]
mod tests;
