//! TLS session tickets from the cluster secret: a client resumes at any shard, any node and after any restart.
//!
//! A ticket holds what TLS needs to resume (RFC 8446 §4.6.1), so no server keeps anything. It is good for
//! [`LIFETIME`] and for as long as the key epoch in which it was made is in use, whichever ends first. rustls leaves
//! the first to the client and to rotation; here the ticket carries its time, so that a secret that is never rotated does
//! not make tickets that live for ever.
//!
//! A ticket that cannot be used costs its client nothing but the full handshake, which rustls falls back to by itself.

use std::sync::Arc;
use std::time::Duration;

use rustls::server::ProducesTickets;
use rustls::time_provider::{DefaultTimeProvider, TimeProvider};

use crate::keys::{Keys, Purpose};
use crate::seal::OVERHEAD;

/// How long a ticket is good. A client that comes back later than that makes a full handshake, 0.25 ms of CPU.
pub const LIFETIME: Duration = Duration::from_hours(12);

/// How far apart the clocks of two nodes, or of one before and after a step, may be.
const SKEW_S: u64 = 600;

/// Longest ticket that is looked at. Ours have about 150 bytes; a chain of client certificates would make them longer,
/// and we ask for none.
const TICKET_BYTES_MAX: usize = 1024;

/// Octets of the time in front of what TLS keeps.
const TIME_BYTES: usize = 8;

/// Makes `tls` hand out one ticket in each handshake and take those of the whole cluster. Needs 0-RTT to be off, which
/// rustls excludes beside such tickets.
pub fn install(tls: &mut rustls::ServerConfig, keys: &Keys) {
    install_with_clock(tls, keys, Arc::new(DefaultTimeProvider));
}

fn install_with_clock(tls: &mut rustls::ServerConfig, keys: &Keys, clock: Arc<dyn TimeProvider>) {
    metrics::describe_counter!(
        "nearport_edge_tickets_total",
        "Session tickets of TLS that were sent, that came back good, and that did not."
    );
    let count =
        |outcome: &'static str| metrics::counter!("nearport_edge_tickets_total", "outcome" => outcome);
    tls.ticketer = Arc::new(Ticketer {
        keys: keys.clone(),
        clock,
        sent: count("sent"),
        opened: count("opened"),
        refused: count("refused"),
    });
    // A client needs one to come back; each further one costs 200 bytes in every handshake.
    tls.send_tls13_tickets = 1;
}

#[derive(Debug)]
struct Ticketer {
    keys: Keys,
    clock: Arc<dyn TimeProvider>,
    sent: metrics::Counter,
    opened: metrics::Counter,
    refused: metrics::Counter,
}

impl Ticketer {
    fn open(&self, ticket: &[u8]) -> Option<Vec<u8>> {
        if ticket.len() > TICKET_BYTES_MAX {
            return None;
        }
        let mut plain = self.keys.ring().open(Purpose::Ticket, ticket).ok()?;
        let made_s = u64::from_be_bytes(*plain.first_chunk::<TIME_BYTES>()?);
        let now_s = self.clock.current_time()?.as_secs();
        let good = now_s + SKEW_S >= made_s && now_s <= made_s.saturating_add(LIFETIME.as_secs() + SKEW_S);
        plain.drain(..TIME_BYTES);
        good.then_some(plain)
    }
}

impl ProducesTickets for Ticketer {
    fn enabled(&self) -> bool {
        true
    }

    fn lifetime(&self) -> u32 {
        u32::try_from(LIFETIME.as_secs()).expect("half a day")
    }

    fn encrypt(&self, plain: &[u8]) -> Option<Vec<u8>> {
        if OVERHEAD + TIME_BYTES + plain.len() > TICKET_BYTES_MAX {
            return None;
        }
        let made_s = self.clock.current_time()?.as_secs();
        let plain = [&made_s.to_be_bytes(), plain].concat();
        self.sent.increment(1);
        self.keys.ring().seal(Purpose::Ticket, &plain)
    }

    fn decrypt(&self, cipher: &[u8]) -> Option<Vec<u8>> {
        let opened = self.open(cipher);
        if opened.is_some() {
            self.opened.increment(1)
        } else {
            self.refused.increment(1)
        }
        opened
    }
}

#[cfg(test)]
#[path = "tickets_tests.rs"]
mod tests;
