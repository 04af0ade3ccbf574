//! Engines against the conformance suites, a model, crashes and a full disk.
//!
//! Modules say `cfg(test)` so that clippy takes their helpers for test code.

#[cfg(test)]
mod conformance;
#[cfg(test)]
mod crash;
#[cfg(test)]
mod full_disk;
#[cfg(test)]
mod groups_model;
#[cfg(test)]
mod model;
#[cfg(test)]
mod people;
#[cfg(test)]
mod pg_faults;
#[cfg(test)]
#[path = "../../../../tests/postgres/server.rs"]
mod postgres_server;
#[cfg(test)]
mod push;
#[cfg(test)]
mod support;
#[cfg(test)]
mod transfer;
