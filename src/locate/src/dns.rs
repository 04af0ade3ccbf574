//! The authoritative DNS responder: names of a zone that lead everybody to the PoP that is good for them.
//!
//! [`respond`] is the core: a packet and where it came from go in, an answer comes out, without a socket, a clock or an allocation.
//! [`Setup`] is the zone as an operator writes it, [`Zone`] the same compiled for a table of PoPs. [`Server`] is the shell for UDP and
//! TCP, [`doh`] that for HTTPS. What answers say is in `docs/dns.md`.
//!
//! The wire is read and written by hand, because that is what a query costs: names and records are compiled once, with hickory, and
//! copied. hickory reads every answer in the tests.

pub mod doh;
mod metrics;
mod query;
mod respond;
mod responder;
mod server;
mod setup;
mod tcp;
mod udp;
mod zone;

pub use respond::{Answered, Outcome, Ranking, STREAM_BYTES_MAX, Steer, Transport, UDP_BYTES_MAX, respond};
pub use responder::Responder;
pub use server::{BindError, Bound, Server, THREADS_MAX};
pub use setup::{ADDRESSES_MAX, NAMES_MAX, SERVERS_MAX, Setup, SetupError, Text};
pub use zone::Zone;

#[cfg(test)]
mod tests;
