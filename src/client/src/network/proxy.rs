//! Proxies for the TCP transports: HTTP CONNECT (RFC 9110 §9.3.6) and SOCKS5 (RFC 1928, RFC 1929).

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::str::FromStr;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use nearport_session::Closing;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::dial::{Edge, unavailable};

/// Time for a proxy to accept the connection and to open the tunnel. One that accepts and then says nothing is as good
/// as none.
const PROXY_TIMEOUT: Duration = Duration::from_secs(5);

/// Longest answer of an HTTP proxy.
const ANSWER_BYTES_MAX: usize = 8 * 1024;

/// Headers in it; more are refused.
const HEADERS_MAX: usize = 64;

/// A proxy that the TCP transports go through. It parses from a URL:
///
/// | URL | what it is | the edge is named to it by |
/// | --- | --- | --- |
/// | `http://[user:password@]host[:port]` | HTTP CONNECT, port 80 | host name |
/// | `socks5://[user:password@]host[:port]` | SOCKS5, port 1080 | IP address |
/// | `socks5h://[user:password@]host[:port]` | SOCKS5, port 1080 | host name |
///
/// User and password may be percent-encoded and have at most 255 bytes each. `Debug` and `Display` leave the password
/// out.
///
/// ```
/// use nearport_client::Proxy;
///
/// let proxy: Proxy = "http://alice:s%40fe@proxy.example:3128".parse()?;
/// assert_eq!(proxy.to_string(), "http://alice@proxy.example:3128");
/// # Ok::<(), nearport_client::BadProxy>(())
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct Proxy {
    kind: Kind,
    host: String,
    port: u16,
    login: Option<Login>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Http,
    Socks5,
    Socks5ByName,
}

#[derive(Clone, PartialEq, Eq)]
struct Login {
    user: String,
    password: String,
}

/// Not the URL of a proxy.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("proxy url: {0}")]
pub struct BadProxy(&'static str);

impl FromStr for Proxy {
    type Err = BadProxy;

    fn from_str(url: &str) -> Result<Self, Self::Err> {
        let (scheme, rest) = url.split_once("://").ok_or(BadProxy("write SCHEME://HOST:PORT"))?;
        let kind = match scheme.to_ascii_lowercase().as_str() {
            "http" => Kind::Http,
            "socks5" => Kind::Socks5,
            "socks5h" => Kind::Socks5ByName,
            _ => return Err(BadProxy("the scheme is http, socks5 or socks5h")),
        };
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        let (login, place) = match rest.rsplit_once('@') {
            Some((login, place)) => (Some(Login::parse(login)?), place),
            None => (None, rest),
        };
        let (host, port) = match place.rsplit_once(':').filter(|(host, _)| is_whole_host(host)) {
            Some((host, port)) => (host, Some(port.parse().map_err(|_| BadProxy("bad port"))?)),
            None => (place, None),
        };
        let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        if host.is_empty()
            || !host.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-_:".contains(&byte))
        {
            return Err(BadProxy("bad host"));
        }
        let port = port.unwrap_or(if kind == Kind::Http { 80 } else { 1080 });
        Ok(Self { kind, host: host.to_owned(), port, login })
    }
}

/// Whether a host in front of a port is complete: a name, an IPv4 address, or an IPv6 address in brackets.
fn is_whole_host(host: &str) -> bool {
    !host.contains(':') || host.starts_with('[') && host.ends_with(']')
}

impl Login {
    fn parse(login: &str) -> Result<Self, BadProxy> {
        let (user, password) = login.split_once(':').unwrap_or((login, ""));
        let login = Self { user: decode_percent(user)?, password: decode_percent(password)? };
        let fits = |text: &str| text.len() <= 255 && !text.contains(['\r', '\n']);
        // RFC 7617: a colon would end the user name.
        if login.user.is_empty() || login.user.contains(':') || !fits(&login.user) || !fits(&login.password) {
            return Err(BadProxy("bad user or password"));
        }
        Ok(login)
    }
}

fn decode_percent(text: &str) -> Result<String, BadProxy> {
    const BAD: BadProxy = BadProxy("bad percent-encoding");
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        rest = after;
        if *first != b'%' {
            bytes.push(*first);
            continue;
        }
        let (digits, after) = rest.split_at_checked(2).ok_or(BAD)?;
        let digits = std::str::from_utf8(digits).map_err(|_| BAD)?;
        bytes.push(u8::from_str_radix(digits, 16).map_err(|_| BAD)?);
        rest = after;
    }
    String::from_utf8(bytes).map_err(|_| BAD)
}

impl fmt::Display for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = match self.kind {
            Kind::Http => "http",
            Kind::Socks5 => "socks5",
            Kind::Socks5ByName => "socks5h",
        };
        write!(f, "{scheme}://")?;
        if let Some(login) = &self.login {
            write!(f, "{}@", login.user)?;
        }
        match self.host.contains(':') {
            true => write!(f, "[{}]:{}", self.host, self.port),
            false => write!(f, "{}:{}", self.host, self.port),
        }
    }
}

impl fmt::Debug for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Proxy({self})")
    }
}

impl Proxy {
    /// A TCP connection to `edge` through the proxy.
    pub(super) async fn connect(&self, edge: &Edge) -> Result<TcpStream, Closing> {
        let tunnel = async {
            let mut tcp = TcpStream::connect((self.host.as_str(), self.port)).await?;
            tcp.set_nodelay(true)?;
            match self.kind {
                Kind::Http => self.connect_http(&mut tcp, edge).await?,
                Kind::Socks5 | Kind::Socks5ByName => self.connect_socks5(&mut tcp, edge).await?,
            }
            Ok::<_, io::Error>(tcp)
        };
        match timeout(PROXY_TIMEOUT, tunnel).await {
            Ok(Ok(tcp)) => Ok(tcp),
            Ok(Err(error)) => Err(unavailable(format!("proxy {self}: {error}"))),
            Err(_) => Err(unavailable(format!("proxy {self}: no answer"))),
        }
    }

    async fn connect_http(&self, tcp: &mut TcpStream, edge: &Edge) -> io::Result<()> {
        let target = match edge.host_name() {
            Some(name) => format!("{name}:{}", edge.address.port()),
            None => edge.address.to_string(),
        };
        let mut request = format!("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n");
        if let Some(Login { user, password }) = &self.login {
            let credentials = STANDARD.encode(format!("{user}:{password}"));
            request.push_str(&format!("Proxy-Authorization: Basic {credentials}\r\n"));
        }
        request.push_str("\r\n");
        tcp.write_all(request.as_bytes()).await?;

        let mut answer = Vec::new();
        loop {
            // The edge says nothing before the client does, so nothing but the answer comes.
            if tcp.read_buf(&mut answer).await? == 0 {
                return Err(other("it closed the connection"));
            }
            let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
            let mut response = httparse::Response::new(&mut headers);
            match response.parse(&answer).map_err(|error| other(format!("not an http answer: {error}")))? {
                httparse::Status::Complete(length) if length == answer.len() => {
                    let code = response.code.unwrap_or_default();
                    return self.check_http(code, response.reason.unwrap_or_default());
                }
                httparse::Status::Complete(_) => {
                    // A page that explains a refusal may follow.
                    let code = response.code.unwrap_or_default();
                    self.check_http(code, response.reason.unwrap_or_default())?;
                    return Err(other("it sent data into the tunnel"));
                }
                httparse::Status::Partial if answer.len() >= ANSWER_BYTES_MAX => {
                    return Err(other("its answer has no end"));
                }
                httparse::Status::Partial => {}
            }
        }
    }

    fn check_http(&self, code: u16, reason: &str) -> io::Result<()> {
        match (code, &self.login) {
            (200..=299, _) => Ok(()),
            (407, None) => Err(other("it wants a user and a password")),
            (407, Some(_)) => Err(other("it does not accept the user and the password")),
            _ => Err(other(format!("it answered {code} {reason}"))),
        }
    }

    async fn connect_socks5(&self, tcp: &mut TcpStream, edge: &Edge) -> io::Result<()> {
        const VERSION: u8 = 5;
        const NO_LOGIN: u8 = 0;
        const USER_PASSWORD: u8 = 2;
        let greeting: &[u8] = match self.login {
            Some(_) => &[VERSION, 2, NO_LOGIN, USER_PASSWORD],
            None => &[VERSION, 1, NO_LOGIN],
        };
        tcp.write_all(greeting).await?;
        let mut answer = [0; 2];
        tcp.read_exact(&mut answer).await?;
        match (answer, &self.login) {
            ([VERSION, NO_LOGIN], _) => {}
            ([VERSION, USER_PASSWORD], Some(Login { user, password })) => {
                let mut login = vec![1];
                for text in [user, password] {
                    login.push(u8::try_from(text.len()).map_err(io::Error::other)?);
                    login.extend_from_slice(text.as_bytes());
                }
                tcp.write_all(&login).await?;
                tcp.read_exact(&mut answer).await?;
                if answer[1] != 0 {
                    return Err(other("it does not accept the user and the password"));
                }
            }
            ([VERSION, 0xff], None) => return Err(other("it wants a user and a password")),
            ([VERSION, _], _) => return Err(other("it accepts no way to log in that is known here")),
            _ => return Err(other("it does not speak socks5")),
        }
        let mut request = vec![VERSION, 1, 0];
        match (edge.host_name().filter(|_| self.kind == Kind::Socks5ByName), edge.address) {
            (Some(name), _) => {
                request.push(3);
                request.push(u8::try_from(name.len()).map_err(io::Error::other)?);
                request.extend_from_slice(name.as_bytes());
            }
            (None, SocketAddr::V4(address)) => {
                request.push(1);
                request.extend_from_slice(&address.ip().octets());
            }
            (None, SocketAddr::V6(address)) => {
                request.push(4);
                request.extend_from_slice(&address.ip().octets());
            }
        }
        request.extend_from_slice(&edge.address.port().to_be_bytes());
        tcp.write_all(&request).await?;
        let mut head = [0; 4];
        tcp.read_exact(&mut head).await?;
        if head[0] != VERSION {
            return Err(other("it does not speak socks5"));
        }
        if head[1] != 0 {
            return Err(other(format!("it refused: {}", socks5_refusal(head[1]))));
        }
        // The address that the proxy bound says nothing to us; its length does.
        let length = match head[3] {
            1 => 4,
            3 => usize::from(tcp.read_u8().await?),
            4 => 16,
            _ => return Err(other("it does not speak socks5")),
        };
        let mut bound = [0; 255 + 2];
        tcp.read_exact(&mut bound[..length + 2]).await?;
        Ok(())
    }
}

/// RFC 1928 §6.
fn socks5_refusal(code: u8) -> &'static str {
    match code {
        1 => "general failure",
        2 => "not allowed by its rules",
        3 => "network unreachable",
        4 => "host unreachable",
        5 => "connection refused",
        6 => "time to live expired",
        7 => "command not supported",
        8 => "address type not supported",
        _ => "unknown reason",
    }
}

fn other(reason: impl Into<String>) -> io::Error {
    io::Error::other(reason.into())
}

#[cfg(test)]
#[path = "proxy_tests.rs"]
mod tests;
