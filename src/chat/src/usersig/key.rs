//! Keys of version 1, from PEM.

use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_ASN1, ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, ParsedPublicKey,
};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{PrivateKeyDer, SubjectPublicKeyInfoDer};

/// A key that cannot be used, or (last) a signature that could not be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KeyError {
    /// No public key in the text.
    #[error("the text holds no whole section '-----BEGIN PUBLIC KEY-----': give the public key in PEM")]
    NoPublicKey,
    /// No private key in the text, or an encrypted one.
    #[error(
        "the text holds no whole section '-----BEGIN PRIVATE KEY-----' or '-----BEGIN EC PRIVATE KEY-----': \
         give the private key in PEM, not encrypted"
    )]
    NoPrivateKey,
    /// A key of another kind or curve, or a damaged one.
    #[error("the key is not an elliptic curve key on P-256 (prime256v1): make one of that kind")]
    NotP256,
    /// The crypto library could not sign.
    #[error("the crypto library could not sign")]
    Sign,
}

/// The public key against which an App's version 1 UserSigs are checked. Parsed once, then shared.
#[derive(Debug)]
pub struct PublicKey(ParsedPublicKey);

impl PublicKey {
    /// Reads a P-256 key from PEM (`PUBLIC KEY`, the `SubjectPublicKeyInfo` of RFC 5280). Other sections and text
    /// around it are skipped.
    ///
    /// # Errors
    /// [`KeyError::NoPublicKey`], [`KeyError::NotP256`].
    pub fn from_pem(pem: &str) -> Result<Self, KeyError> {
        let spki =
            SubjectPublicKeyInfoDer::from_pem_slice(pem.as_bytes()).map_err(|_| KeyError::NoPublicKey)?;
        let key = ParsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, &spki).map_err(|_| KeyError::NotP256)?;
        Ok(Self(key))
    }

    /// Whether `signature` (DER) is one of `text`.
    pub(super) fn verifies(&self, text: &[u8], signature: &[u8]) -> bool {
        self.0.verify_sig(text, signature).is_ok()
    }
}

/// Reads a P-256 private key from PEM: PKCS#8 (`PRIVATE KEY`, RFC 5208) or SEC 1 (`EC PRIVATE KEY`, RFC 5915).
pub(super) fn private_key(pem: &str) -> Result<EcdsaKeyPair, KeyError> {
    let der = PrivateKeyDer::from_pem_slice(pem.as_bytes()).map_err(|_| KeyError::NoPrivateKey)?;
    EcdsaKeyPair::from_private_key_der(&ECDSA_P256_SHA256_ASN1_SIGNING, der.secret_der())
        .map_err(|_| KeyError::NotP256)
}
