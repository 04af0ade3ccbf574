//! The addressing service with real files.

#![expect(clippy::unwrap_used, reason = "tests")]

mod http;
mod maxmind;
mod mmdb;
