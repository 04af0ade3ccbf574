//! The session protocol, both ends, as pure state machines.
//!
//! A [`Server`] and a [`Client`] take bytes, frames and the time, change their own state, and offer frames to
//! write, events and a next deadline. They read no clock, open no socket and roll no dice, so the edge, the SDK and
//! the simulator run the same code. `docs/protocol.md` draws the states.
//!
//! Order of calls, for both: `handle_*` for input, then drain `poll_*` until `None`, then wait for input or
//! [`Client::poll_timeout`] / [`Server::poll_timeout`].

mod client;
mod outbox;
mod server;
mod tracker;

pub use client::{Client, ClientConfig, Event, Failure, REQUESTS_MAX};
pub use outbox::Outbox;
pub use server::{Action, Datagram, SIDES_MAX, Server, ServerLimits};
pub use tracker::{Arrival, Tracker};

use nearport_wire::close::CloseCode;

/// Why a machine ends its session: the code to close the transport with, and words for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Closing {
    /// The close code.
    pub code: CloseCode,
    /// What happened; short, without secrets.
    pub reason: String,
}

impl Closing {
    /// A closing with its reason.
    #[must_use]
    pub fn new(code: CloseCode, reason: impl Into<String>) -> Self {
        Self { code, reason: reason.into() }
    }
}
