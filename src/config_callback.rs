//! Settings of callbacks.

use std::path::PathBuf;

use nearport_chat::apps::canonical;
use nearport_chat::callback::{CONCURRENCY_MAX, CallbackSettings, Command, Commands, OnFailure, Token, url};
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
    pub before_failure: OnFailure,
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
    pub sign: bool,
    pub concurrency: usize,
    #[serde(with = "cidrs")]
    pub sends_from: Vec<Cidr>,
}

impl Default for Callback {
    fn default() -> Self {
        Self {
            url: None,
            events: Vec::new(),
            before_failure: OnFailure::Allow,
            retry_after: true,
            token: None,
            ca: None,
            client_cert: None,
            client_key: None,
            allow_private: false,
            sign: true,
            concurrency: CallbackSettings::default().concurrency,
            sends_from: Vec::new(),
        }
    }
}

/// The commands of these names.
///
/// # Errors
/// The first name that is none.
fn commands(events: &[String]) -> Result<Commands, String> {
    let find = |name: &String| Command::find(name).ok_or_else(|| format!("there is no event `{name}`"));
    events.iter().map(find).collect()
}

impl Callback {
    /// Of all Apps that have nothing else.
    pub(crate) fn backend(&self) -> CallbackSettings {
        CallbackSettings {
            url: self.url.clone().unwrap_or_default(),
            // Checked.
            events: commands(&self.events).unwrap_or_default(),
            before_failure: self.before_failure,
            retry_after: self.retry_after,
            token: Token(self.token.as_ref().map(|token| token.0.clone()).unwrap_or_default()),
            sign: self.sign,
            allow_private: self.allow_private,
            concurrency: self.concurrency,
        }
    }

    /// Rules beyond single types.
    pub(crate) fn check(&self) -> Result<(), (&'static str, String)> {
        if let Some(text) = &self.url {
            url(text).map_err(|why| ("callback.url", why.to_owned()))?;
        }
        commands(&self.events).map_err(|why| ("callback.events", why))?;
        if let Some(Hidden(token)) = &self.token {
            canonical("callback.token", token).map_err(|why| ("callback.token", why))?;
        }
        if !(1..=CONCURRENCY_MAX).contains(&self.concurrency) {
            return Err(("callback.concurrency", "must be 1 to 256".into()));
        }
        match (&self.client_cert, &self.client_key) {
            (Some(_), None) => Err(("callback.client_cert", "it needs callback.client_key beside it".into())),
            (None, Some(_)) => Err(("callback.client_key", "it needs callback.client_cert beside it".into())),
            _ => Ok(()),
        }
    }
}
