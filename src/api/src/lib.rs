//! HTTP beside the gateway: liveness, readiness and metrics for the operator's machines, and the listener of the API.
//!
//! [`Health`] holds the checks behind `/readyz`, [`Recorder`] collects what the other crates count, and
//! [`OpsServer`] shows both on one loopback port; [`ApiServer`] is the bounded listener for routes that clients ask. Nothing
//! here is on the way of a message.

mod health;
mod ops;
mod process;
mod recorder;
mod serve;
mod server;

pub use health::{Check, Health, Outcome};
pub use ops::OpsServer;
pub use recorder::Recorder;
pub use server::ApiServer;

/// Why the operations server could not do its work.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The address is taken by another process.
    #[error("{0} is in use by another process")]
    AddrInUse(std::net::SocketAddr),
    /// The address cannot be bound for another reason.
    #[error("cannot listen on {addr}: {source}")]
    Bind {
        /// What was asked for.
        addr: std::net::SocketAddr,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// The server stopped by itself.
    #[error("operations server: {0}")]
    Serve(std::io::Error),
    /// A recorder is installed already: there is one per process.
    #[error("metrics recorder: {0}")]
    Recorder(String),
}
