//! The certificate authorities that this system trusts: for ACME directories, and for client commands that are told no
//! other.

use rustls::RootCertStore;

/// Reads them.
///
/// # Errors
/// Says why there are none, and how to get some.
pub(crate) fn system_roots() -> Result<RootCertStore, String> {
    let found = rustls_native_certs::load_native_certs();
    let mut roots = RootCertStore::empty();
    // Some systems carry roots that no verifier can read.
    roots.add_parsable_certificates(found.certs);
    if roots.is_empty() {
        let why = found.errors.first().map(|error| format!(" ({error})")).unwrap_or_default();
        return Err(format!("this system trusts no CA{why}: install ca-certificates"));
    }
    Ok(roots)
}
