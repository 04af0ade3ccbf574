//! The addressing service: where an address is, which PoPs are good for it, and what clients measured.
//!
//! [`Databases`] says where an address is. The decision itself is `nearport-geo`'s.

pub mod databases;
pub mod forwarded;
pub mod limit;
pub mod mmdb;
pub mod network;
pub mod token;
pub mod voices;

pub use databases::Databases;
pub use network::Network;
