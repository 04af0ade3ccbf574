//! What an App's back end is, as its settings say.

use std::fmt;
use std::net::IpAddr;

use http::Uri;
use serde::{Deserialize, Serialize};

use super::{Commands, guard};

/// Longest URL, bytes.
const URL_BYTES_MAX: usize = 2048;
/// Longest token, bytes.
pub(crate) const TOKEN_BYTES_MAX: usize = 256;
/// Requests that tell a back end something, at once.
pub const CONCURRENCY_MAX: usize = 256;

/// What happens if a back end that is asked gives no good answer in time.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OnFailure {
    /// It goes on, as if nobody were asked.
    #[default]
    Allow,
    /// It is refused.
    Refuse,
}

/// A secret that requests are signed with. It is not shown.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Token(pub String);

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(crate::apps::HIDDEN)
    }
}

/// `callback.*`, of the process or of an App.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CallbackSettings {
    /// Where the back end is; empty: there is none.
    pub url: String,
    /// What it hears of and is asked about.
    pub events: Commands,
    /// What happens if it gives no good answer in time.
    pub before_failure: OnFailure,
    /// Whether what it could not be told is told again.
    pub retry_after: bool,
    /// Requests are signed with it; empty: there is none.
    pub token: Token,
    /// Whether requests are signed, if there is a token.
    pub sign: bool,
    /// Whether it may stand in a network that is not public.
    pub allow_private: bool,
    /// Events that it is told of at once.
    pub concurrency: usize,
}

impl Default for CallbackSettings {
    fn default() -> Self {
        Self {
            url: String::new(),
            events: Commands::default(),
            before_failure: OnFailure::Allow,
            retry_after: true,
            token: Token::default(),
            sign: true,
            allow_private: false,
            // As many as a small back end answers without a queue.
            concurrency: 16,
        }
    }
}

impl CallbackSettings {
    /// Whether the URL names an address that the server would refuse to connect to. Names are judged by their addresses, when they are
    /// connected to.
    #[must_use]
    pub fn is_refused(&self) -> bool {
        let Ok(url) = url(&self.url) else { return false };
        let host = url.host().unwrap_or_default().trim_start_matches('[').trim_end_matches(']');
        let host = host.to_ascii_lowercase();
        let private = match host.parse::<IpAddr>() {
            Ok(ip) => !guard::is_public(ip),
            // Loopback on every system (RFC 6761).
            Err(_) => host == "localhost" || host.ends_with(".localhost"),
        };
        private && !self.allow_private
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

    #[test]
    fn an_address_of_a_network_of_the_servers_own_is_refused_unless_it_is_allowed() {
        for (url, refused) in [
            ("http://127.0.0.1:80/x", true),
            ("http://[::1]/x", true),
            ("https://169.254.169.254/latest", true),
            ("http://10.1.2.3", true),
            ("http://LocalHost:99/", true),
            ("http://x.localhost", true),
            ("https://8.8.8.8/x", false),
            ("https://[2606:4700::1]/x", false),
            ("https://localhost.example.org", false),
            ("", false),
        ] {
            let settings = CallbackSettings { url: url.into(), ..CallbackSettings::default() };
            assert_eq!(settings.is_refused(), refused, "{url}");
            assert!(!CallbackSettings { allow_private: true, ..settings }.is_refused(), "{url}");
        }
    }

    #[test]
    fn a_token_is_not_shown() {
        let settings = CallbackSettings { token: Token("abc".into()), ..CallbackSettings::default() };
        assert!(!format!("{settings:?}").contains("abc"));
    }
}
