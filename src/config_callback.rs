//! Settings of callbacks.

use std::path::PathBuf;

use nearport_callback::{OnFailure, target};
use nearport_chat::callback::{Command, Commands};
use nearport_edge::Cidr;
use serde::{Deserialize, Serialize};

use crate::cidrs;
use crate::config::Hidden;

/// `callback.*`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[expect(missing_docs, reason = "documented in KEYS, where `config explain` finds it")]
pub struct Callback {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    pub events: Vec<String>,
    pub before_failure: BeforeFailure,
    pub retry_after: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub token: Option<Hidden>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ca: Option<PathBuf>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_cert: Option<PathBuf>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_key: Option<PathBuf>,
    pub allow_private: bool,
    pub concurrency: usize,
    #[serde(with = "cidrs")]
    pub sends_from: Vec<Cidr>,
    pub apps: Vec<CallbackApp>,
}

/// One of `callback.apps`: what an App has instead of what stands in `callback`. Certificates are those of all.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CallbackApp {
    /// `sdkappid`.
    pub app: u32,
    /// Its back end; absent: it has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// What is told to it, and asked of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub events: Option<Vec<String>>,
    /// What happens if it does not answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before_failure: Option<BeforeFailure>,
    /// Whether what it could not be told is told again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_after: Option<bool>,
    /// Its token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<Hidden>,
}

/// What happens if a back end that is asked does not answer.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum BeforeFailure {
    /// It goes on.
    #[default]
    Allow,
    /// It is refused.
    Refuse,
}

impl From<BeforeFailure> for OnFailure {
    fn from(failure: BeforeFailure) -> Self {
        match failure {
            BeforeFailure::Allow => Self::Allow,
            BeforeFailure::Refuse => Self::Refuse,
        }
    }
}

impl Default for Callback {
    fn default() -> Self {
        Self {
            url: None,
            events: Vec::new(),
            before_failure: BeforeFailure::Allow,
            retry_after: true,
            token: None,
            ca: None,
            client_cert: None,
            client_key: None,
            allow_private: false,
            // As many as a small back end answers without a queue.
            concurrency: 16,
            sends_from: Vec::new(),
            apps: Vec::new(),
        }
    }
}

/// The commands of these names.
///
/// # Errors
/// The first name that is none.
pub(crate) fn commands(events: &[String]) -> Result<Commands, String> {
    let find = |name: &String| Command::find(name).ok_or_else(|| format!("there is no event `{name}`"));
    events.iter().map(find).collect()
}

impl Callback {
    /// Rules beyond single types.
    pub(crate) fn check(&self) -> Result<(), (&'static str, String)> {
        let url = |url: &Option<String>| url.as_deref().map_or(Ok(()), |url| target::url(url).map(drop));
        url(&self.url).map_err(|why| ("callback.url", why.to_owned()))?;
        commands(&self.events).map_err(|why| ("callback.events", why))?;
        for app in &self.apps {
            let at = |why: String| ("callback.apps", format!("app {}: {why}", app.app));
            url(&app.url).map_err(|why| at(format!("url {why}")))?;
            commands(app.events.as_deref().unwrap_or_default()).map_err(at)?;
        }
        if !(1..=256).contains(&self.concurrency) {
            return Err(("callback.concurrency", "must be 1 to 256".into()));
        }
        match (&self.client_cert, &self.client_key) {
            (Some(_), None) => Err(("callback.client_cert", "it needs callback.client_key beside it".into())),
            (None, Some(_)) => Err(("callback.client_key", "it needs callback.client_cert beside it".into())),
            _ => Ok(()),
        }
    }
}
