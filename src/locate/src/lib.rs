//! The addressing service: where an address is, which PoPs are good for it, and what clients measured.
//!
//! [`Databases`] says where an address is, [`atlas::Atlas`] who is sent where, [`voices::Voices`] what clients measured;
//! [`Service`] is all of it together and [`router`] its HTTP shell. What a decision is made of is `nearport-geo`'s.

pub mod atlas;
pub mod databases;
pub mod explain;
pub mod forwarded;
mod http;
pub mod limit;
mod metrics;
pub mod mmdb;
pub mod network;
mod service;
mod signer;
pub mod token;
pub mod voices;

pub use databases::Databases;
pub use http::{REPORT_BYTES_MAX, router};
pub use network::Network;
pub use service::{Located, Now, Service, Settings, Trusted, Unheard};
pub use signer::{NoKey, Signer};
pub use token::TokenKeys;
