//! The addressing service: where an address is, which PoPs are good for it, and what clients measured.
//!
//! [`Databases`] says where an address is, [`voices::Voices`] what clients measured, and `nearport-geo`'s map who is sent where;
//! [`Service`] is all of it together, [`router`] its HTTP shell and [`dns`] the one for DNS.

mod current;
pub mod databases;
pub mod dns;
pub mod explain;
pub mod forwarded;
mod http;
mod kept;
pub mod limit;
mod metrics;
pub mod mmdb;
pub mod network;
mod service;
mod signer;
pub mod token;
pub mod voices;
mod wanted;

pub use current::{Current, POSITIONS_MAX};
pub use databases::Databases;
pub use http::{REPORT_BYTES_MAX, router};
pub use kept::Kept;
pub use network::Network;
pub use service::{Located, Now, Service, Settings, Trusted, Unheard};
pub use signer::{NoKey, Signer};
pub use token::TokenKeys;
