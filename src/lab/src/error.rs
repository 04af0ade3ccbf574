//! Why there is no laboratory.

use std::io;

/// Why a laboratory could not be built.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Something that it needs is not here.
    #[error("no network laboratory here: {0}")]
    Missing(String),
    /// A program could not be started.
    #[error("cannot run {program}: {source}")]
    Spawn {
        /// Which.
        program: String,
        /// What the system said.
        source: io::Error,
    },
    /// A command of `ip` failed.
    #[error("`{command}` failed: {output}")]
    Command {
        /// As it was run.
        command: String,
        /// What it wrote to stderr.
        output: String,
    },
    /// A thread cannot enter a namespace.
    #[error("namespace {name}: {source}")]
    Namespace {
        /// Its name.
        name: String,
        /// What the system said.
        source: io::Error,
    },
    /// No TUN device.
    #[error("tun device {name}: {source}")]
    Tun {
        /// Its name.
        name: String,
        /// What the system said.
        source: io::Error,
    },
    /// A server that did not get ready.
    #[error("the server did not get ready: {0}")]
    Node(String),
    /// No thread or no pipe for the emulator.
    #[error("emulator: {0}")]
    Emulator(#[source] io::Error),
}
