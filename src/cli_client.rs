//! How client commands find a server and log in: `client.toml` of a data directory, and flags over it.

use std::net::{SocketAddr, ToSocketAddrs as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context as _;
use clap::Args;
use nearport_client::{
    BadProxy, Client, Config, Locator, Network, NetworkConfig, Platform, Proxy, Transport, UnknownTransport,
};
use rustls::RootCertStore;

use crate::cli::{Failure, SettingsArgs};
use crate::cli_app;
use crate::cli_client_locate::FAREWELL;
use crate::first_run::{ClientFile, Layout};
use crate::tls;

/// A chat may be left open for a week before its UserSig ends.
const USERSIG_LIFE: Duration = Duration::from_hours(24 * 7);

/// How long a command waits for its first login.
const LOGIN_TIMEOUT: Duration = Duration::from_secs(10);

/// Flags that say which server and which App. Each goes over what client.toml says.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct AccessArgs {
    /// Data directory whose client.toml is read [default: data].
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Host and port of the edge.
    #[arg(long, value_name = "HOST:PORT")]
    server: Option<String>,
    /// PEM file of the CA that the server's certificate is checked against, and nothing else [default: that of client.toml;
    /// with --server, or if it names none, those that this system trusts too].
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
    /// sdkappid.
    #[arg(long)]
    app: Option<u32>,
    /// The App's key, to sign UserSigs with.
    #[arg(long)]
    key: Option<String>,
}

/// Who logs in.
#[derive(Debug, Clone, Args)]
pub(crate) struct LoginArgs {
    #[command(flatten)]
    access: AccessArgs,
    /// Who you are.
    #[arg(long)]
    pub(crate) user: String,
    /// A UserSig from the App's back end [default: one signed with the App's key].
    #[arg(long, conflicts_with = "key")]
    usersig: Option<String>,
    /// What carries the session: quic, tls, ws, wt, or auto, which takes the first of the first three that works.
    #[arg(long, default_value = "auto", value_parser = parse_transports)]
    transport: Transports,
    /// Proxy for tls and ws, as http://, socks5:// or socks5h:// with [USER:PASSWORD@]HOST[:PORT]; `none` ignores the
    /// environment [default: ALL_PROXY or HTTPS_PROXY, unless the server is on this machine or in NO_PROXY; with [locate]: unless
    /// all of its https and list are].
    #[arg(long, value_name = "URL")]
    proxy: Option<String>,
}

/// The transports that a flag allows; none for the SDK's own choice.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Transports(Vec<Transport>);

fn parse_transports(text: &str) -> Result<Transports, UnknownTransport> {
    Ok(Transports(if text == "auto" { Vec::new() } else { vec![text.parse()?] }))
}

/// A server and an App.
#[derive(Debug)]
pub(crate) struct Access {
    pub(crate) addr: SocketAddr,
    pub(crate) name: String,
    /// Finds the edge; address and name are not looked at then.
    pub(crate) locator: Option<Locator>,
    /// Addresses and names of what is connected to, as far as they are known beforehand.
    servers: Vec<(SocketAddr, String)>,
    /// Whom to trust; without a proxy.
    pub(crate) network: NetworkConfig,
    pub(crate) app: u32,
    key: Option<String>,
    pub(crate) layout: Layout,
}

impl AccessArgs {
    /// Those of the client.toml in a data directory.
    pub(crate) fn of(layout: &Layout) -> Self {
        Self { data: Some(layout.0.clone()), ..Self::default() }
    }

    /// The data directory.
    pub(crate) fn layout(&self) -> Result<Layout, Failure> {
        let settings = SettingsArgs { data: self.data.clone(), ..SettingsArgs::default() };
        Ok(Layout(settings.load()?.config.data))
    }

    /// Reads `client.toml` and the CAs, and looks the server up.
    pub(crate) fn resolve(self) -> Result<Access, Failure> {
        let layout = self.layout()?;
        let file = layout.read_client_file()?;
        let missing = |flag| Failure::usage(cli_app::no_client_file(&layout, flag));

        let network = trust(self.ca.as_deref(), file.as_ref(), self.server.is_none(), tls::system_roots);
        let locate = file.as_ref().and_then(|file| file.locate.as_ref()).filter(|_| self.server.is_none());
        let in_file = || file.as_ref().map(|file| file.server.clone()).filter(|server| !server.is_empty());
        let server = self.server.or_else(in_file);
        let app = self.app.or_else(|| file.as_ref().map(|file| file.app)).ok_or_else(|| missing("--app"))?;
        let (addr, name, locator, servers) = match locate {
            Some(locate) => {
                let at = layout.client_file();
                let known = locate.locator(&layout.0).and_then(|locator| Ok((locator, locate.servers()?)));
                let (locator, servers) = known.with_context(|| at.display().to_string())?;
                let servers = servers.iter().map(|server| (server.address, server.name())).collect();
                let nobody = SocketAddr::from(([0, 0, 0, 0], 0));
                (nobody, "the nearest of several".to_owned(), Some(locator), servers)
            }
            None => {
                let server = server.ok_or_else(|| missing("--server, --app and --usersig"))?;
                let (addr, name) = look_up(&server)?;
                (addr, name.clone(), None, vec![(addr, name)])
            }
        };
        Ok(Access { addr, name, locator, servers, network: network?, app, key: self.key, layout })
    }
}

/// Whom to trust: the CA that is given, and nobody else; that of `client.toml` for its own server; else those that the
/// system trusts and that of `client.toml`, for its server may be meant by another name.
fn trust(
    given: Option<&Path>,
    file: Option<&ClientFile>,
    servers_own: bool,
    system: impl FnOnce() -> Result<RootCertStore, String>,
) -> Result<NetworkConfig, Failure> {
    let read = |path: &Path| {
        let pem = std::fs::read(path).map_err(anyhow::Error::from);
        let network = pem.and_then(|pem| Ok(NetworkConfig::from_ca_pem(&pem)?));
        network.with_context(|| format!("certificate authority {}", path.display()))
    };
    if let Some(given) = given {
        return Ok(read(given)?);
    }
    let named = file.and_then(|file| file.ca.as_deref()).map(read).transpose()?;
    match (named, servers_own) {
        (Some(named), true) => Ok(named),
        (Some(mut named), false) => {
            // A system that trusts nobody still has that one.
            if let Ok(system) = system() {
                named.roots.extend(system.roots);
            }
            Ok(named)
        }
        (None, _) => {
            let roots = system().map_err(|error| anyhow::anyhow!("{error}, or give --ca FILE"))?;
            Ok(NetworkConfig::new(roots))
        }
    }
}

impl Access {
    /// The App's key: as given, or from the data directory.
    pub(crate) fn key(&self) -> Result<String, Failure> {
        match &self.key {
            Some(key) => Ok(key.clone()),
            None => {
                let settings = SettingsArgs { data: Some(self.layout.0.clone()), ..SettingsArgs::default() };
                cli_app::key_of(&settings.load()?.config, self.app)
            }
        }
    }

    /// Whom to trust, and through which proxy: the one that is `given`, none if that says `none`, or the environment's.
    pub(crate) fn behind_proxy(&self, given: Option<&str>) -> Result<NetworkConfig, Failure> {
        let proxy = match given {
            Some("none") => None,
            Some(url) => {
                Some(url.parse().map_err(|error: BadProxy| Failure::usage(format!("--proxy: {error}")))?)
            }
            None => proxy_from(|name| std::env::var(name).ok(), &self.servers)?,
        };
        Ok(NetworkConfig { proxy, ..self.network.clone() })
    }
}

impl LoginArgs {
    /// Starts a client as `device`, changed by `tune`, and waits until it is logged in. Needs a runtime.
    pub(crate) async fn login(self, device: &str, tune: impl FnOnce(&mut Config)) -> Result<Client, Failure> {
        let access = self.access.resolve()?;
        let usersig = match self.usersig {
            Some(usersig) => usersig,
            None => cli_app::sign(access.app, &access.key()?, &self.user, USERSIG_LIFE)?,
        };
        let mut config = Config::new(access.addr, access.name.clone(), access.app, self.user, usersig);
        config.locate.clone_from(&access.locator);
        config.device = device.to_owned();
        config.platform = Platform::Linux;
        config.transports = self.transport.0;
        config.client = concat!("nearport-cli/", env!("CARGO_PKG_VERSION")).to_owned();
        tune(&mut config);
        let network = access.behind_proxy(self.proxy.as_deref())?;
        let around = config.transports.first().filter(|transport| transport.is_udp());
        if let (Some(proxy), Some(transport)) = (&network.proxy, around) {
            return Err(Failure::usage(format!(
                "{transport} does not go through a proxy ({proxy}): --proxy none goes without"
            )));
        }
        let network = Network::new(network)?;
        let client = Client::connect(&network, config);
        let logged_in = client.ready(LOGIN_TIMEOUT).await;
        logged_in.with_context(|| match access.locator {
            Some(_) => format!("cannot log in at {}", access.name),
            None => format!("cannot log in at {} ({})", access.name, access.addr),
        })?;
        Ok(client)
    }
}

/// Says good-bye, and lets what goes on beside the session end.
pub(crate) async fn farewell(client: &Client) {
    client.close().await;
    if let Some(locator) = client.locator() {
        locator.settled(FAREWELL).await;
    }
}

/// The proxy that the environment names for servers, by the habits of curl. There is one for all: if any of them needs it, or none
/// is known beforehand, it is used.
fn proxy_from(
    env: impl Fn(&str) -> Option<String>,
    servers: &[(SocketAddr, String)],
) -> Result<Option<Proxy>, Failure> {
    let get = |upper: &str| env(upper).or_else(|| env(&upper.to_lowercase())).filter(|text| !text.is_empty());
    let Some((variable, url)) =
        ["HTTPS_PROXY", "ALL_PROXY"].into_iter().find_map(|variable| Some((variable, get(variable)?)))
    else {
        return Ok(None);
    };
    let list = get("NO_PROXY").unwrap_or_default();
    let mut items: Vec<_> = list.split(',').map(|item| item.trim().trim_start_matches('.')).collect();
    items.retain(|item| !item.is_empty());
    let excepted = |(addr, name): &(SocketAddr, String)| {
        let named = |item: &&str| {
            let parent = name.strip_suffix(*item).is_some_and(|front| front.ends_with('.'));
            item == name || parent || **item == addr.ip().to_string()
        };
        addr.ip().is_loopback() || items.iter().any(named)
    };
    if items.contains(&"*") || (!servers.is_empty() && servers.iter().all(excepted)) {
        return Ok(None);
    }
    let proxy = url.parse().map_err(|error: BadProxy| Failure::usage(format!("{variable}: {error}")))?;
    Ok(Some(proxy))
}

/// `host:port` to an address, and to the name that the certificate must have.
fn look_up(server: &str) -> Result<(SocketAddr, String), Failure> {
    let (host, port) = server.rsplit_once(':').ok_or_else(|| {
        Failure::usage(format!("server `{server}`: write HOST:PORT, for example localhost:4433"))
    })?;
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let port: u16 =
        port.parse().map_err(|_| Failure::usage(format!("server `{server}`: `{port}` is not a port")))?;
    let addresses = (host, port).to_socket_addrs().with_context(|| format!("cannot look up {host}"))?;
    // The edge of a development server listens on IPv4, and `localhost` may name IPv6 first.
    let addresses: Vec<_> = addresses.collect();
    let addr = addresses.iter().find(|addr| addr.is_ipv4()).or_else(|| addresses.first());
    let addr = addr.ok_or_else(|| anyhow::anyhow!("{host} has no address"))?;
    Ok((*addr, host.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn transports_go_by_their_names() {
        assert_eq!(parse_transports("auto"), Ok(Transports(Vec::new())));
        assert_eq!(parse_transports("ws"), Ok(Transports(vec![Transport::WebSocket])));
        assert!(parse_transports("udp").is_err());
    }

    #[test]
    fn the_environment_names_a_proxy_except_for_what_is_near() {
        let addr = |ip: [u8; 4]| SocketAddr::from((ip, 4433));
        let far = addr([192, 0, 2, 7]);
        let among = |vars: &[(&str, &str)], servers: &[(SocketAddr, &str)]| {
            let get = |wanted: &str| {
                vars.iter().find(|(name, _)| *name == wanted).map(|(_, value)| (*value).to_owned())
            };
            let servers: Vec<_> = servers.iter().map(|(addr, name)| (*addr, (*name).to_owned())).collect();
            proxy_from(get, &servers).map(|proxy| proxy.map(|proxy| proxy.to_string()))
        };
        let with = |vars: &[(&str, &str)], name: &str, addr| among(vars, &[(addr, name)]);
        let set = ("https_proxy", "http://proxy:3128");
        assert_eq!(with(&[], "chat.example", far).unwrap(), None);
        assert_eq!(with(&[set], "chat.example", far).unwrap().as_deref(), Some("http://proxy:3128"));
        assert_eq!(with(&[set], "localhost", addr([127, 0, 0, 1])).unwrap(), None);
        for list in ["chat.example", "a, .example", "*", "192.0.2.7"] {
            assert_eq!(with(&[set, ("NO_PROXY", list)], "chat.example", far).unwrap(), None, "{list}");
        }
        assert!(with(&[set, ("no_proxy", "hat.example")], "chat.example", far).unwrap().is_some());
        assert!(with(&[("ALL_PROXY", "ftp://x")], "chat.example", far).is_err());

        // Of several: all of them, or nothing is saved.
        let (near, chat) = ((addr([127, 0, 0, 1]), "localhost"), (far, "chat.example"));
        let listed = [set, ("NO_PROXY", "chat.example")];
        assert_eq!(among(&listed, &[near, chat]).unwrap(), None);
        assert!(among(&[set], &[near, chat]).unwrap().is_some());
        assert!(among(&listed, &[chat, (addr([192, 0, 2, 8]), "other.example")]).unwrap().is_some());
        assert!(among(&listed, &[]).unwrap().is_some(), "nothing is known of them");
        assert_eq!(among(&[set, ("NO_PROXY", "a,*")], &[]).unwrap(), None);
    }

    #[test]
    fn a_ca_that_is_named_is_the_only_one_for_its_server_and_the_systems_are_for_others() {
        let dir = tempfile::tempdir().unwrap();
        let file = |name: &str| {
            let path = dir.path().join(format!("{name}.pem"));
            let made = rcgen::generate_simple_self_signed([name.to_owned()]).unwrap();
            std::fs::write(&path, made.cert.pem()).unwrap();
            path
        };
        let (own, given) = (file("own"), file("given"));
        let system =
            || Ok(NetworkConfig::from_ca_pem(&std::fs::read(file("system")).unwrap()).unwrap().roots);
        let none = || Err("this system trusts no CA".to_owned());
        let client = |ca| ClientFile { server: "localhost:1".into(), ca, app: 1, key: None, locate: None };
        let (named, nameless) = (client(Some(own.clone())), client(None));
        let count = |network: Result<NetworkConfig, Failure>| network.map(|network| network.roots.len());
        for own_server in [true, false] {
            assert_eq!(count(trust(Some(&given), Some(&named), own_server, system)).unwrap(), 1, "as told");
            assert_eq!(count(trust(None, Some(&nameless), own_server, system)).unwrap(), 1);
            assert!(trust(None, Some(&nameless), own_server, none).is_err());
        }
        assert_eq!(count(trust(None, Some(&named), true, system)).unwrap(), 1, "its own server");
        assert_eq!(
            count(trust(None, Some(&named), false, system)).unwrap(),
            2,
            "another, or the same by another name"
        );
        assert_eq!(count(trust(None, Some(&named), false, none)).unwrap(), 1);
        assert_eq!(count(trust(None, None, false, system)).unwrap(), 1);
        std::fs::write(&given, "no certificate").unwrap();
        assert!(trust(Some(&given), None, false, system).is_err(), "never another one instead");
    }

    #[test]
    fn a_server_has_a_host_and_a_port() {
        assert_eq!(
            look_up("127.0.0.1:4433").unwrap(),
            ("127.0.0.1:4433".parse().unwrap(), "127.0.0.1".to_owned())
        );
        assert_eq!(look_up("[::1]:1").unwrap(), ("[::1]:1".parse().unwrap(), "::1".to_owned()));
        assert!(look_up("127.0.0.1").is_err());
        assert!(look_up("localhost:x").is_err());
    }
}
