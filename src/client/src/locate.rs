//! Which PoP takes the session: whom to ask, which one is nearest, and what to remember.
//!
//! ```text
//!   chain (where are PoPs?) ──► contest (which is nearest?) ──► session: races its transports there
//!        │                           │                              │ GoAway, loss
//!        ▼                           ▼                              ▼
//!   book: answers by network ── winners and their order ── reserves, those to be avoided last
//! ```
//!
//! [`Locator`] is the shell; [`chain`], [`contest`] and [`book`] are pure. The first visit to a network runs the chain and the contest.
//! Later ones go straight to the winner, with the other candidates in reserve, and an answer that is out of date is renewed in the
//! background: a session that lives is never moved for the sake of milliseconds.

use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

mod answer;
mod background;
mod book;
mod chain;
mod config;
mod contest;
mod https;
mod locator;
mod names;
mod probing;
mod store;
mod survey;

pub(crate) use book::referred;
pub use chain::{Source, StepFailure};
pub use config::{LocateConfig, Server};
pub use locator::Locator;
pub use survey::{Survey, SurveyStep};

/// Why there is no PoP to go to.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LocateError {
    /// A setting that makes no sense.
    #[error("locate: {0}")]
    Setting(String),
    /// Every step of the chain failed.
    #[error("no PoP is known: {}", listed(.0))]
    Nowhere(Vec<StepFailure>),
}

fn listed(failures: &[StepFailure]) -> String {
    failures.iter().map(ToString::to_string).collect::<Vec<_>>().join(" | ")
}

/// A PoP in a survey's race.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Contestant {
    /// Its name.
    pub pop: String,
    /// Where it was asked.
    pub address: SocketAddr,
    /// Its round trip; `None`: no answer.
    pub rtt: Option<Duration>,
}

impl fmt::Display for Contestant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.pop, self.address)
    }
}
