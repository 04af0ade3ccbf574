//! The HTTP request that a WebSocket begins with (RFC 6455 §4.2): read, judged, answered.
//!
//! There is one path, `/np`, and one subprotocol, `np.1`. No `Origin` is refused: a session is opened by the hello
//! inside, with credentials that a browser never adds by itself, so a foreign page gains nothing.

use aws_lc_rs::digest;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use nearport_wire::close::CloseCode;

/// Longest request head that is taken.
pub(crate) const REQUEST_BYTES_MAX: usize = 8 * 1024;

/// Most header lines of a request.
const HEADERS_MAX: usize = 64;

/// Where the WebSocket is.
const PATH: &str = "/np";

/// The subprotocol: the payloads of binary messages, concatenated, are the stream.
pub(crate) const SUBPROTOCOL: &str = "np.1";

/// RFC 6455 §1.3.
const ACCEPT_GUID: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// A request that is granted.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Upgrade {
    /// Octets of the request; what follows belongs to the WebSocket.
    pub(crate) bytes: usize,
    /// The answer.
    pub(crate) response: Vec<u8>,
}

/// A request that is answered and closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Refusal {
    status: u16,
    phrase: &'static str,
    /// Header lines that the status asks for, with their line ends.
    headers: &'static str,
    /// What is wrong and what to do.
    text: &'static str,
}

impl Refusal {
    const fn bad(text: &'static str) -> Self {
        Self { status: 400, phrase: "Bad Request", headers: "", text }
    }

    const fn upgrade(text: &'static str) -> Self {
        let headers = "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n";
        Self { status: 426, phrase: "Upgrade Required", headers, text }
    }

    const TOO_LARGE: Self = Self {
        status: 431,
        phrase: "Request Header Fields Too Large",
        headers: "",
        text: "the request head is limited to 8 KiB and 64 header lines",
    };
    const NOT_FOUND: Self =
        Self { status: 404, phrase: "Not Found", headers: "", text: "the WebSocket is at /np" };
    const METHOD: Self = Self {
        status: 405,
        phrase: "Method Not Allowed",
        headers: "Allow: GET\r\n",
        text: "open the WebSocket with GET",
    };

    /// The answer to a request that is not complete when its connection has to end.
    pub(crate) fn of(code: CloseCode) -> Self {
        if code == CloseCode::TIMEOUT {
            let text = "the request did not come in time";
            return Self { status: 408, phrase: "Request Timeout", headers: "", text };
        }
        let text = "the server goes away: try again";
        Self { status: 503, phrase: "Service Unavailable", headers: "Retry-After: 1\r\n", text }
    }

    pub(crate) fn status(&self) -> u16 {
        self.status
    }

    /// The whole answer. The connection closes after it.
    pub(crate) fn response(&self) -> Vec<u8> {
        let Self { status, phrase, headers, text } = self;
        let length = text.len() + 1;
        format!(
            "HTTP/1.1 {status} {phrase}\r\nConnection: close\r\n{headers}Content-Type: text/plain; charset=utf-8\r\n\
             Cache-Control: no-store\r\nContent-Length: {length}\r\n\r\n{text}\n"
        )
        .into_bytes()
    }
}

/// Reads the request in front of `bytes`; `None` if more octets are needed, which never exceed [`REQUEST_BYTES_MAX`].
///
/// # Errors
/// [`Refusal`] for a request that is not our WebSocket's.
pub(crate) fn parse(bytes: &[u8]) -> Result<Option<Upgrade>, Refusal> {
    let head = &bytes[..bytes.len().min(REQUEST_BYTES_MAX)];
    let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
    let mut request = httparse::Request::new(&mut headers);
    let length = match request.parse(head) {
        Ok(httparse::Status::Complete(length)) => length,
        Ok(httparse::Status::Partial) if head.len() == REQUEST_BYTES_MAX => return Err(Refusal::TOO_LARGE),
        Ok(httparse::Status::Partial) => return Ok(None),
        Err(httparse::Error::TooManyHeaders) => return Err(Refusal::TOO_LARGE),
        Err(_) => return Err(Refusal::bad("this is no HTTP/1.1 request")),
    };
    let response = judge(&request)?;
    Ok(Some(Upgrade { bytes: length, response }))
}

/// The answer that grants a request.
fn judge(request: &httparse::Request<'_, '_>) -> Result<Vec<u8>, Refusal> {
    let path = request.path.unwrap_or_default();
    if path.split('?').next() != Some(PATH) {
        return Err(Refusal::NOT_FOUND);
    }
    if request.method != Some("GET") {
        return Err(Refusal::METHOD);
    }
    if request.version != Some(1) {
        return Err(Refusal::bad("a WebSocket needs HTTP/1.1"));
    }
    let headers = Headers(request.headers);
    headers.one("host").ok_or(Refusal::bad("exactly one Host header is needed"))?;
    // A body would be read as the first frames.
    if headers.has("transfer-encoding") || headers.one("content-length").is_some_and(|length| length != "0") {
        return Err(Refusal::bad("the request must have no body"));
    }
    if !headers.lists("upgrade", |token| token.eq_ignore_ascii_case("websocket"))
        || !headers.lists("connection", |token| token.eq_ignore_ascii_case("upgrade"))
    {
        return Err(Refusal::upgrade(
            "this path is a WebSocket: send Connection: Upgrade and Upgrade: websocket",
        ));
    }
    if headers.one("sec-websocket-version") != Some("13") {
        return Err(Refusal::upgrade("only WebSocket version 13 (RFC 6455) is spoken here"));
    }
    let key = headers.one("sec-websocket-key").filter(|key| is_key(key));
    let key = key.ok_or(Refusal::bad("exactly one Sec-WebSocket-Key of 16 octets in base64 is needed"))?;
    // Names of subprotocols are compared as they are (RFC 6455 §4.1).
    if !headers.lists("sec-websocket-protocol", |token| token == SUBPROTOCOL) {
        return Err(Refusal::bad("offer the subprotocol: Sec-WebSocket-Protocol: np.1"));
    }
    let accept = accept_of(key);
    Ok(format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Accept: {accept}\r\nSec-WebSocket-Protocol: {SUBPROTOCOL}\r\n\r\n"
    )
    .into_bytes())
}

fn is_key(text: &str) -> bool {
    text.len() == 24 && BASE64.decode(text).is_ok_and(|key| key.len() == 16)
}

fn accept_of(key: &str) -> String {
    let mut hash = digest::Context::new(&digest::SHA1_FOR_LEGACY_USE_ONLY);
    hash.update(key.as_bytes());
    hash.update(ACCEPT_GUID);
    BASE64.encode(hash.finish())
}

/// The header lines of a request, by name in any case.
struct Headers<'a>(&'a [httparse::Header<'a>]);

impl<'a> Headers<'a> {
    fn all(&self, name: &str) -> impl Iterator<Item = &'a [u8]> {
        let same = move |header: &&httparse::Header<'a>| header.name.eq_ignore_ascii_case(name);
        self.0.iter().filter(same).map(|header| header.value)
    }

    fn has(&self, name: &str) -> bool {
        self.all(name).next().is_some()
    }

    /// The value, if there is exactly one and it is text.
    fn one(&self, name: &str) -> Option<&'a str> {
        let mut values = self.all(name);
        let value = values.next()?;
        if values.next().is_some() { None } else { std::str::from_utf8(value).ok().map(str::trim) }
    }

    /// Whether a list of tokens has one that `is`. A list may be spread over several lines.
    fn lists(&self, name: &str, is: impl Fn(&str) -> bool) -> bool {
        let values = self.all(name).filter_map(|value| std::str::from_utf8(value).ok());
        values.flat_map(|value| value.split(',')).any(|token| is(token.trim()))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The request of RFC 6455 §1.3 for our path and subprotocol.
    const REQUEST: &str = "GET /np HTTP/1.1\r\nHost: edge\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
        Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\
        Sec-WebSocket-Protocol: np.1\r\n\r\n";

    fn status(request: &str) -> u16 {
        parse(request.as_bytes()).unwrap_err().status
    }

    #[test]
    fn the_rfcs_example_is_granted_with_its_key() {
        let with_tail = format!("{REQUEST}frames");
        let upgrade = parse(with_tail.as_bytes()).unwrap().unwrap();
        assert_eq!(upgrade.bytes, REQUEST.len());
        let response = String::from_utf8(upgrade.response).unwrap();
        assert!(response.starts_with("HTTP/1.1 101 Switching Protocols\r\n"), "{response}");
        assert!(
            response.contains("\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"),
            "{response}"
        );
        assert!(response.contains("\r\nSec-WebSocket-Protocol: np.1\r\n"), "{response}");
        assert!(response.ends_with("\r\n\r\n"));
    }

    #[test]
    fn lists_names_and_queries_are_read_as_http_has_them() {
        let variants = [
            REQUEST.replace("GET /np ", "GET /np?v=1&x "),
            REQUEST.replace("Connection: Upgrade", "connection: keep-alive, UPGRADE"),
            REQUEST.replace("Upgrade: websocket", "upgrade: WebSocket"),
            REQUEST.replace("Protocol: np.1", "Protocol: np.9\r\nsec-websocket-protocol: x , np.1"),
            REQUEST.replace("Host: edge", "Host: edge\r\nSec-WebSocket-Extensions: permessage-deflate"),
            REQUEST.replace("Host: edge", "Host: edge\r\nOrigin: https://elsewhere.example"),
            REQUEST.replace("Host: edge", "Host: edge\r\nContent-Length: 0"),
        ];
        for request in variants {
            let upgrade = parse(request.as_bytes());
            assert!(matches!(upgrade, Ok(Some(_))), "{request}: {upgrade:?}");
            let response = String::from_utf8(upgrade.unwrap().unwrap().response).unwrap();
            assert!(!response.contains("Extensions"), "no extension is agreed");
        }
    }

    #[test]
    fn each_wrong_request_has_its_status() {
        let cases = [
            (404, REQUEST.replace("/np", "/")),
            (404, REQUEST.replace("/np", "/np/")),
            (404, REQUEST.replace("GET /np", "POST /x")),
            (405, REQUEST.replace("GET", "POST")),
            (400, REQUEST.replace("HTTP/1.1", "HTTP/1.0")),
            (400, REQUEST.replace("Host: edge\r\n", "")),
            (400, REQUEST.replace("Host: edge", "Host: edge\r\nHost: other")),
            (400, REQUEST.replace("Host: edge", "Host: edge\r\nContent-Length: 5")),
            (400, REQUEST.replace("Host: edge", "Host: edge\r\nTransfer-Encoding: chunked")),
            (426, REQUEST.replace("Upgrade: websocket\r\n", "")),
            (426, REQUEST.replace("Upgrade: websocket", "Upgrade: h2c")),
            (426, REQUEST.replace("Connection: Upgrade", "Connection: close")),
            (426, REQUEST.replace("Version: 13", "Version: 8")),
            (400, REQUEST.replace("dGhlIHNhbXBsZSBub25jZQ==", "dGhlIHNhbXBsZSBub25jZQ")),
            (400, REQUEST.replace("dGhlIHNhbXBsZSBub25jZQ==", "????????????????????????")),
            (400, REQUEST.replace("Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n", "")),
            (400, REQUEST.replace("np.1", "np.2")),
            (400, REQUEST.replace("np.1", "NP.1")),
            (400, "\x16\x03\x01 what\r\n\r\n".to_owned()),
            (400, REQUEST.replace("Host: edge", "Host : edge")),
            (431, REQUEST.replace("Host: edge\r\n", &"X: y\r\n".repeat(60))),
            (431, REQUEST.replace("edge", &"e".repeat(9000))),
        ];
        for (expected, request) in cases {
            assert_eq!(status(&request), expected, "{request:.200}");
        }
    }

    #[test]
    fn a_refusal_is_a_whole_response_that_closes() {
        let response = String::from_utf8(Refusal::METHOD.response()).unwrap();
        let (head, body) = response.split_once("\r\n\r\n").unwrap();
        assert!(
            head.starts_with("HTTP/1.1 405 Method Not Allowed\r\nConnection: close\r\nAllow: GET\r\n"),
            "{head}"
        );
        assert!(head.ends_with(&format!("Content-Length: {}", body.len())), "{head}");
        assert_eq!(body, "open the WebSocket with GET\n");
    }

    #[test]
    fn a_request_may_come_octet_by_octet() {
        for cut in 0..REQUEST.len() {
            assert_eq!(parse(&REQUEST.as_bytes()[..cut]), Ok(None), "cut at {cut}");
        }
    }

    proptest! {
        #[test]
        fn noise_never_panics(noise in proptest::collection::vec(any::<u8>(), 0..400), at in 0usize..REQUEST.len()) {
            let mut bytes = REQUEST.as_bytes().to_vec();
            bytes.splice(at..at, noise);
            if let Ok(Some(upgrade)) = parse(&bytes) {
                prop_assert!(upgrade.bytes <= bytes.len());
            }
        }
    }
}
