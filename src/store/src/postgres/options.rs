//! Where the database is, and what every session has set.

use std::sync::Arc;
use std::time::Duration;

use tokio_postgres::Config;
use tokio_postgres::config::{Host, SslMode};
use tokio_postgres_rustls::MakeRustlsConnect;

pub(super) type Tls = Option<MakeRustlsConnect>;

/// Key of the advisory lock under which tables are changed: `nearport` in ASCII.
pub(super) const MIGRATION_LOCK: i64 = i64::from_be_bytes(*b"nearport");

/// Nothing is acknowledged that a crash could undo, whatever the server's default is; one that waits for more stays.
/// Standbys named in `synchronous_standby_names` are waited for.
pub(crate) const DURABLE: &str = "SELECT set_config('synchronous_commit', 'on', false)
     WHERE current_setting('synchronous_commit') NOT IN ('on', 'remote_apply')";

/// Where the database is, and bounds.
#[derive(Clone)]
pub struct PostgresOptions {
    /// `postgres://user:password@host:port/database`, also with several hosts and `?host=/run/postgresql`. `sslmode` is
    /// `disable`, `require`, `verify-ca` or `verify-full`; the last three are one, since TLS here always verifies chain and
    /// name. Without it: none for this host (loopback, Unix sockets), TLS for all others.
    pub url: String,
    /// The password, instead of one in the URL.
    pub password: Option<String>,
    /// How TLS verifies the server. Needed where TLS is.
    pub tls: Option<Arc<rustls::ClientConfig>>,
    /// Most connections for reads and the directory, beside two for commits of the ledger. At least 2.
    pub connections: usize,
    /// Longest time to connect.
    pub connect_timeout: Duration,
    /// Longest time of one statement, waiting for locks included, and of waiting for a free connection.
    pub statement_timeout: Duration,
}

impl PostgresOptions {
    /// With the usual bounds.
    #[must_use]
    pub fn new(url: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            password: None,
            tls: None,
            // The chat backend has three threads that read; operators and health checks come on top.
            connections: 8,
            connect_timeout: Duration::from_secs(5),
            statement_timeout: Duration::from_secs(10),
        }
    }

    /// What a session of ours has set. Reasons:
    /// - `idle_in_transaction_session_timeout`: a core that hangs must not keep its locks.
    /// - `enable_seqscan`, `enable_hashjoin`, `enable_mergejoin`: everything here is a lookup by key. Statements are planned
    ///   once per connection, perhaps while tables are empty; then a scan looks cheap, and stays when they are not.
    /// - `plan_cache_mode`, `jit`: planning again for each batch costs more than the lookups, compiling more still.
    fn settings(&self) -> String {
        format!(
            "-c statement_timeout={} -c idle_in_transaction_session_timeout=30s \
             -c enable_seqscan=off -c enable_hashjoin=off -c enable_mergejoin=off \
             -c plan_cache_mode=force_generic_plan -c jit=off -c standard_conforming_strings=on",
            self.statement_timeout.as_millis()
        )
    }

    /// What a new session is told behind [`Self::settings`]: [`DURABLE`], unless the operator has decided in the URL.
    pub(super) fn durable(config: &Config) -> Option<&'static str> {
        let decided = config.get_options().is_some_and(|options| options.contains("synchronous_commit"));
        (!decided).then_some(DURABLE)
    }

    pub(super) fn config(&self) -> Result<Config, BadUrl> {
        let mut config = self.verified()?;
        let settings = self.settings();
        let own = config.get_options().map(str::to_owned);
        // What the operator wrote stands last, and wins.
        config.options(own.map_or_else(|| settings.clone(), |own| format!("{settings} {own}")));
        Ok(config)
    }

    /// For changes of the tables: no limit on how long a statement takes.
    pub(super) fn migrator(&self) -> Result<Config, BadUrl> {
        self.verified()
    }

    /// Whether connections are to have TLS, so that [`Self::tls`] is needed. Checks the URL.
    ///
    /// # Errors
    /// [`BadUrl`].
    pub fn wants_tls(&self) -> Result<bool, BadUrl> {
        Ok(self.parse()?.get_ssl_mode() == SslMode::Require)
    }

    fn verified(&self) -> Result<Config, BadUrl> {
        let config = self.parse()?;
        if config.get_ssl_mode() == SslMode::Require && self.tls.is_none() {
            return Err(BadUrl(
                "the PostgreSQL URL wants TLS, and there is nothing to verify with".to_owned(),
            ));
        }
        Ok(config)
    }

    fn parse(&self) -> Result<Config, BadUrl> {
        // Words of libpq that the client does not know and that mean what it does in any case.
        let url = self
            .url
            .replace("sslmode=verify-full", "sslmode=require")
            .replace("sslmode=verify-ca", "sslmode=require");
        if !url.starts_with("postgres://") && !url.starts_with("postgresql://") {
            return Err(BadUrl("a PostgreSQL URL begins with postgres://".to_owned()));
        }
        let mut config: Config = url.parse().map_err(|error: tokio_postgres::Error| {
            let why =
                std::error::Error::source(&error).map_or_else(|| error.to_string(), ToString::to_string);
            BadUrl(format!("the PostgreSQL URL makes no sense: {why}"))
        })?;
        if config.get_hosts().is_empty() && config.get_hostaddrs().is_empty() {
            return Err(BadUrl("the PostgreSQL URL names no host".to_owned()));
        }
        if let Some(password) = &self.password {
            config.password(password);
        }
        if !url.contains("sslmode=") {
            let here = config.get_hosts().iter().all(|host| match host {
                Host::Unix(_) => true,
                Host::Tcp(name) => {
                    name == "localhost" || name.parse().is_ok_and(|ip: std::net::IpAddr| ip.is_loopback())
                }
            });
            config.ssl_mode(if here { SslMode::Disable } else { SslMode::Require });
        }
        if config.get_ssl_mode() == SslMode::Prefer {
            return Err(BadUrl("sslmode=prefer protects from nobody: say disable or require".to_owned()));
        }
        if config.get_application_name().is_none() {
            config.application_name("nearport");
        }
        config.connect_timeout(self.connect_timeout);
        config.keepalives_idle(Duration::from_secs(30));
        config.tcp_user_timeout(self.statement_timeout);
        Ok(config)
    }

    /// How to verify the server, if its connections are to have TLS.
    pub(super) fn connector(&self, config: &Config) -> Tls {
        if config.get_ssl_mode() == SslMode::Disable {
            return None;
        }
        self.tls.as_ref().map(|tls| MakeRustlsConnect::new(tls.as_ref().clone()))
    }
}

impl std::fmt::Debug for PostgresOptions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Neither URL nor password: both hold the secret.
        f.debug_struct("PostgresOptions")
            .field("connections", &self.connections)
            .field("statement_timeout", &self.statement_timeout)
            .finish_non_exhaustive()
    }
}

/// How messages name the server: hosts and database, without user and password.
pub(super) fn server(config: &Config) -> String {
    let ports = config.get_ports();
    let host = |(index, host): (usize, &Host)| {
        let port = ports.get(index).or_else(|| ports.first()).copied().unwrap_or(5432);
        match host {
            Host::Tcp(name) => format!("{name}:{port}"),
            Host::Unix(path) => format!("{}:{port}", path.display()),
        }
    };
    let hosts: Vec<_> = config.get_hosts().iter().enumerate().map(host).collect();
    format!("{}/{}", hosts.join(","), config.get_dbname().or_else(|| config.get_user()).unwrap_or_default())
}

/// The URL as it may be shown: `***` for the password, wherever in it that stands.
#[must_use]
pub fn url_without_password(url: &str) -> String {
    let (scheme, rest) = url.split_once("://").unwrap_or(("", url));
    // As the client reads it: what is before the first `@` is who connects.
    let (who, place) = rest.split_once('@').map_or((None, rest), |(who, place)| (Some(who), place));
    let (place, query) = place.split_once('?').map_or((place, None), |(place, query)| (place, Some(query)));
    let mut shown = format!("{scheme}://");
    if let Some(who) = who {
        shown += who.split_once(':').map_or(who, |(user, _)| user);
        shown += if who.contains(':') { ":***@" } else { "@" };
    }
    shown += place;
    for (index, pair) in query.into_iter().flat_map(|query| query.split('&')).enumerate() {
        shown.push(if index == 0 { '?' } else { '&' });
        shown += if pair.starts_with("password=") { "password=***" } else { pair };
    }
    shown
}

/// A URL that cannot be used, with the reason.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct BadUrl(pub String);

#[cfg(test)]
mod tests {
    use super::*;

    fn mode(url: &str) -> Result<SslMode, BadUrl> {
        let mut options = PostgresOptions::new(url);
        let tls = rustls::ClientConfig::builder_with_provider(Arc::new(
            rustls::crypto::aws_lc_rs::default_provider(),
        ));
        let tls = tls.with_safe_default_protocol_versions().unwrap();
        options.tls =
            Some(Arc::new(tls.with_root_certificates(rustls::RootCertStore::empty()).with_no_client_auth()));
        options.config().map(|config| config.get_ssl_mode())
    }

    #[test]
    fn tls_is_what_another_host_gets_unless_the_url_says_otherwise() {
        for url in ["postgres://a@127.0.0.1/b", "postgres://a@[::1]/b", "postgres://a@%2Frun%2Fpostgresql/b"]
        {
            assert_eq!(mode(url), Ok(SslMode::Disable), "{url}");
        }
        for url in ["postgres://a@db.example/b", "postgres://a@127.0.0.1,db.example/b"] {
            assert_eq!(mode(url), Ok(SslMode::Require), "{url}");
        }
        assert_eq!(mode("postgresql://a@127.0.0.1/b?sslmode=verify-full"), Ok(SslMode::Require));
        assert_eq!(mode("postgres://a@db.example/b?sslmode=disable"), Ok(SslMode::Disable));
        for url in
            ["postgres://a@h/b?sslmode=prefer", "mysql://a@h/b", "postgres:///b", "postgres://a@h:port/b"]
        {
            assert!(mode(url).is_err(), "{url}");
        }
        assert!(
            PostgresOptions::new("postgres://a@db.example/b").config().is_err(),
            "nothing to verify with"
        );
    }

    #[test]
    fn neither_secret_nor_user_is_shown() {
        let options = PostgresOptions::new("postgres://usr:secret@127.0.0.1:5433/db");
        assert!(!format!("{options:?}").contains("secret"));
        assert_eq!(server(&options.config().unwrap()), "127.0.0.1:5433/db");
        for (url, shown) in [
            (
                "postgres://usr:secret@h:1/db?sslmode=disable&a=b",
                "postgres://usr:***@h:1/db?sslmode=disable&a=b",
            ),
            ("postgres://usr@h/db?a=b&password=secret", "postgres://usr@h/db?a=b&password=***"),
            ("postgres://usr:se%2Fcr:et@h,i/db", "postgres://usr:***@h,i/db"),
            ("postgres://usr:se/cr?et@h/db", "postgres://usr:***@h/db"),
            ("postgres:///db?host=%2Frun", "postgres:///db?host=%2Frun"),
        ] {
            assert_eq!(url_without_password(url), shown);
        }
    }
}
