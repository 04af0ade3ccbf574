//! The integration tests: one binary, a module per theme.

// `cfg(test)` is always true here; it tells clippy that helpers of tests are tests, where `unwrap` is fine.
#[cfg(test)]
mod acme;
#[cfg(test)]
mod apps;
#[cfg(test)]
mod attack;
#[cfg(test)]
mod bootstrap;
#[cfg(test)]
mod browser;
#[cfg(test)]
mod callbacks;
#[cfg(test)]
mod chat;
#[cfg(test)]
mod cli;
#[cfg(test)]
mod contract;
#[cfg(test)]
mod crash;
#[cfg(test)]
mod dns;
#[cfg(test)]
mod edge;
#[cfg(test)]
mod edge_handover;
#[cfg(test)]
mod full_disk;
#[cfg(test)]
mod groups;
#[cfg(test)]
mod handover;
#[cfg(test)]
mod house;
#[cfg(test)]
mod import;
#[cfg(test)]
mod interop;
#[cfg(test)]
mod lab;
#[cfg(test)]
mod load;
#[cfg(test)]
mod locate;
mod locate_eval;
#[cfg(test)]
mod media;
#[cfg(test)]
mod messages;
#[cfg(test)]
mod node;
#[cfg(test)]
mod npm;
#[cfg(test)]
mod official_usersig;
#[cfg(test)]
mod pebble;
#[cfg(test)]
mod people;
#[cfg(test)]
mod people_calls;
#[cfg(test)]
mod pops;
#[cfg(test)]
#[path = "../postgres/server.rs"]
mod postgres_server;
#[cfg(test)]
mod prometheus;
#[cfg(test)]
mod pty;
#[cfg(test)]
mod python;
#[cfg(test)]
mod raw;
#[cfg(test)]
mod raw_stream;
#[cfg(test)]
mod rest;
#[cfg(test)]
mod resume;
#[cfg(test)]
mod rotation;
#[cfg(test)]
mod s3;
#[cfg(test)]
mod sdk;
#[cfg(test)]
mod sslyze;
#[cfg(test)]
mod steer;
#[cfg(test)]
mod storage;
mod store;
#[cfg(test)]
mod streams;
#[cfg(test)]
mod trunk;
#[cfg(test)]
mod webtransport;
