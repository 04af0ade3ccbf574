//! Why there is no report.

use std::io;

use nearport_client::NetworkError;

/// Why a run ended without a report.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The options contradict each other, or name something unknown. A mistake of the caller.
    #[error("{0}")]
    Options(String),
    /// No sockets, or certificates that cannot be read.
    #[error(transparent)]
    Network(#[from] NetworkError),
    /// No runtime or no thread.
    #[error("cannot start: {0}")]
    Start(#[source] io::Error),
    /// The process to watch cannot be read.
    #[error("process {pid} cannot be watched: {source}")]
    NoProcess {
        /// As given.
        pid: u32,
        /// What the kernel said.
        source: io::Error,
    },
    /// The server could not be started again.
    #[error("cannot run `{command}`: {source}")]
    Restart {
        /// As given.
        command: String,
        /// What the system said.
        source: io::Error,
    },
    /// Too few clients logged in to run the scenario.
    #[error("only {logged_in} of {wanted} clients logged in; the first failure: {first}")]
    Login {
        /// Clients that did.
        logged_in: usize,
        /// Clients that should have.
        wanted: usize,
        /// Why the first of the others did not.
        first: String,
    },
    /// What a scenario needs could not be made.
    #[error("cannot prepare the run: {0}")]
    Setup(String),
    /// The scenario `echo` against a server with another backend.
    #[error(
        "the server has no echo backend ({answer}): use scenario chat, or a server whose backend is echo"
    )]
    NoEcho {
        /// What the server answered to an echo request.
        answer: String,
    },
    /// The scenario `locate` against something that does not answer as the addressing service does.
    #[error("no answer to GET /v1/locate: {answer}")]
    NoLocate {
        /// What came instead.
        answer: String,
    },
    /// Ended by the user before there was anything to report.
    #[error("interrupted before all clients were logged in")]
    Interrupted,
}
