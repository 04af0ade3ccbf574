//! The addressing service: where an address is, which PoPs are good for it, and what clients measured.
//!
//! [`Databases`] says where an address is. The decision itself is `nearport-geo`'s.

pub mod databases;
pub mod mmdb;

pub use databases::Databases;
