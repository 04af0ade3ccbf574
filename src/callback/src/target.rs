//! Back ends: where they are, and how they are spoken to.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use http::Uri;
use nearport_chat::callback::{Commands, Switches};
use nearport_chat::key::AppId;
use rustls::ClientConfig;

/// Longest URL, bytes.
const URL_BYTES_MAX: usize = 2048;

/// What happens if a back end that is asked gives no good answer in time.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum OnFailure {
    /// It goes on, as if nobody were asked.
    #[default]
    Allow,
    /// It is refused.
    Refuse,
}

/// One back end.
#[derive(Clone)]
pub struct Target {
    /// Where requests go. Parsed by [`url`].
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

/// All back ends.
#[derive(Debug, Clone, Default)]
pub struct Targets {
    /// That of Apps that have none of their own.
    pub default: Option<Arc<Target>>,
    /// Those of single Apps; `None`: it has none.
    pub apps: BTreeMap<u32, Option<Arc<Target>>>,
}

impl Targets {
    /// The back end of an App.
    #[must_use]
    pub fn of(&self, app: AppId) -> Option<&Arc<Target>> {
        self.apps.get(&app.0).unwrap_or(&self.default).as_ref()
    }

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

/// Reads the URL of a back end, by the rules of the public contract: http or https, a host whose labels have at most 63 letters, digits
/// and single hyphens, or an address. Nothing before the host, no fragment.
///
/// # Errors
/// What is wrong with it, for people.
pub fn url(text: &str) -> Result<Uri, &'static str> {
    if text.len() > URL_BYTES_MAX {
        return Err("must have at most 2048 bytes");
    }
    if text.contains('#') {
        return Err("must have no fragment");
    }
    let url: Uri = text.parse().map_err(|_| "is no URL")?;
    if !matches!(url.scheme_str(), Some("http" | "https")) {
        return Err("must begin with http:// or https://");
    }
    let authority = url.authority().ok_or("has no host")?;
    if authority.as_str().contains('@') {
        return Err("must have no user in front of its host");
    }
    let host = authority.host();
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && !label.starts_with('-')
            && !label.ends_with('-')
            && !label.contains("--")
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
    };
    let is_name = host.len() <= 253 && host.split('.').all(label);
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    if !is_name && bare.parse::<std::net::IpAddr>().is_err() {
        return Err("must have a host of letters, digits and single hyphens, or an address");
    }
    Ok(url)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_follows_the_rules_of_the_contract() {
        let good = [
            "http://127.0.0.1:8000/imcallback",
            "https://callback.example.org",
            "https://[2606:4700::1]/x?a=1",
            "http://xn9-a.example/cb",
        ];
        for text in good {
            assert!(url(text).is_ok(), "{text}");
        }
        let long = format!("https://{}.example.org", "a".repeat(64));
        let bad = [
            "ftp://example.org",
            "example.org/x",
            "/x",
            "https://user:pass@example.org/",
            "https://a_b.example",
            "https://a--b.example",
            "https://-a.example",
            "https://example.org/#x",
            "https://",
            &long,
            "",
        ];
        for text in bad {
            assert!(url(text).is_err(), "{text}");
        }
    }
}
