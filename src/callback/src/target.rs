//! Back ends: where they are, and how they are spoken to.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use http::Uri;
use nearport_chat::callback::{Commands, OnFailure, Switches};
use rustls::ClientConfig;

/// One back end.
#[derive(Clone)]
pub struct Target {
    /// Where requests go. Of [`nearport_chat::callback::url`].
    pub url: Uri,
    /// What it hears of and is asked about.
    pub commands: Commands,
    /// See [`OnFailure`].
    pub on_failure: OnFailure,
    /// Whether what it could not be told is told again.
    pub retry: bool,
    /// Requests are signed with it.
    pub token: Option<String>,
    /// Whether it may stand in a network that is not public.
    pub allow_private: bool,
    /// Requests that tell it something, at once.
    pub concurrency: usize,
    /// Whom it is trusted as, and the certificate that is shown to it.
    pub tls: Arc<ClientConfig>,
}

impl fmt::Debug for Target {
    /// Without the token.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Target")
            .field("url", &self.url)
            .field("on_failure", &self.on_failure)
            .field("retry", &self.retry)
            .finish_non_exhaustive()
    }
}

/// By what it is configured; the same TLS configuration, not an equal one.
impl PartialEq for Target {
    fn eq(&self, other: &Self) -> bool {
        let Self { url, commands, on_failure, retry, token, allow_private, concurrency, tls } = self;
        (url, commands, on_failure, retry) == (&other.url, &other.commands, &other.on_failure, &other.retry)
            && (token, allow_private, concurrency) == (&other.token, &other.allow_private, &other.concurrency)
            && Arc::ptr_eq(tls, &other.tls)
    }
}

/// All back ends.
#[derive(Debug, Clone, Default)]
pub struct Targets {
    /// That of Apps that have none of their own.
    pub default: Option<Arc<Target>>,
    /// Those of single Apps; `None`: it has none.
    pub apps: BTreeMap<u32, Option<Arc<Target>>>,
}

impl Targets {
    /// Who hears of what.
    #[must_use]
    pub fn switches(&self) -> Switches {
        let commands = |target: &Option<Arc<Target>>| {
            target.as_ref().map_or_else(Commands::default, |target| target.commands)
        };
        let apps = self.apps.iter().map(|(app, target)| (*app, commands(target)));
        Switches { default: commands(&self.default), apps: apps.collect() }
    }
}
