//! Files of messages against the real program: uploads that are cut, killed, wrong, too much or lies; downloads; a bucket.

use std::collections::BTreeMap;
use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::time::Instant;

use aws_lc_rs::{hkdf, hmac};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use nearport_client::media::{self, MediaBegin, MediaError, MediaKind, MediaUpload};
use nearport_client::{Client, Failure, Network, NetworkConfig, RequestError, Transport};
use rustix::process::Signal;
use serde_json::Value;

use crate::node::{Node, STUCK};
use crate::s3::{Bucket, KEY};
use crate::sdk::Access;

mod elements;

/// An answer of the API.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    headers: BTreeMap<String, String>,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    fn code(&self) -> String {
        self.json()["code"].as_str().unwrap_or_default().to_owned()
    }

    fn offset(&self) -> u64 {
        self.headers["upload-offset"].parse().unwrap()
    }
}

/// Address and path of a URL.
fn parts(url: &str) -> (SocketAddr, &str) {
    let rest = url.strip_prefix("http://").unwrap();
    let (address, path) = rest.split_at(rest.find('/').unwrap());
    (address.parse().unwrap(), path)
}

/// One request on a connection of its own, by hand: what is sent is what stands here.
pub(crate) fn http(method: &str, url: &str, headers: &str, body: &[u8]) -> Answer {
    let (address, path) = parts(url);
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(STUCK)).unwrap();
    let length = match headers.contains("transfer-encoding") || method != "PUT" {
        true => String::new(),
        false => format!("content-length: {}\r\n", body.len()),
    };
    write!(stream, "{method} {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n{length}{headers}\r\n")
        .unwrap();
    // A server that refuses may close before it has read all.
    let _ = stream.write_all(body);
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    let end = answer.windows(4).position(|four| four == b"\r\n\r\n").unwrap_or_else(|| panic!("{answer:?}"));
    let head = String::from_utf8(answer[..end].to_vec()).unwrap();
    let mut lines = head.lines();
    let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
    let headers = lines.filter_map(|line| line.split_once(": "));
    let headers = headers.map(|(name, value)| (name.to_lowercase(), value.to_owned())).collect();
    Answer { status, headers, body: answer[end + 4..].to_vec() }
}

pub(crate) fn put(url: &str, headers: &str, body: &[u8]) -> Answer {
    http("PUT", url, headers, body)
}

fn range(first: usize, octets: &[u8], size: usize) -> String {
    format!("content-range: bytes {first}-{}/{size}\r\n", first + octets.len() - 1)
}

/// Octets that say nothing and repeat late.
pub(crate) fn octets(len: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_u32;
    let mut next = move || {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        state.to_le_bytes()[0]
    };
    (0..len).map(|_| next()).collect()
}

/// A PNG of that size in pixels: a slope of colours.
pub(crate) fn png(width: u32, height: u32) -> Vec<u8> {
    let colour = |x: u32, y: u32| image::Rgb([x.to_le_bytes()[0], y.to_le_bytes()[0], 77]);
    let mut out = std::io::Cursor::new(Vec::new());
    let picture = image::RgbImage::from_fn(width, height, colour);
    picture.write_to(&mut out, image::ImageFormat::Png).unwrap();
    out.into_inner()
}

fn announce(kind: MediaKind, content: &[u8]) -> MediaBegin {
    let hash = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, content);
    MediaBegin {
        kind: kind.into(),
        name: "a file.bin".into(),
        size: content.len() as u64,
        sha256: hash.as_ref().to_vec().into(),
        content_type: String::new(),
    }
}

pub(crate) async fn begin(client: &Client, kind: MediaKind, content: &[u8]) -> MediaUpload {
    media::begin(client, &announce(kind, content)).await.unwrap()
}

/// The code with which an upload is refused before it begins.
async fn refused(client: &Client, begin: MediaBegin) -> u32 {
    match media::begin(client, &begin).await.unwrap_err() {
        MediaError::Request(RequestError::Failed(Failure::Refused { code, .. })) => code,
        other => panic!("{other}"),
    }
}

pub(crate) async fn login(node: &Node, dir: &Path, name: &str) -> Client {
    Access::of(node, dir).login(name, &[Transport::Quic]).await
}

fn network(dir: &Path) -> Network {
    let ca = fs::read(dir.join("certs/dev/ca.pem")).unwrap();
    Network::new(NetworkConfig::from_ca_pem(&ca).unwrap()).unwrap()
}

/// Waits for an upload to be so far.
fn await_offset(url: &str, offset: u64) {
    let deadline = Instant::now() + STUCK;
    while http("HEAD", url, "", b"").offset() != offset {
        assert!(Instant::now() < deadline, "{:?}", http("HEAD", url, "", b""));
        std::thread::yield_now();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_image_comes_back_whole_in_parts_and_smaller() {
    let dir = tempfile::tempdir().unwrap();
    let node = Node::start(dir.path(), &[]);
    let alice = login(&node, dir.path(), "alice").await;
    let content = png(1600, 1000);
    let path = dir.path().join("slope.png");
    fs::write(&path, &content).unwrap();

    let begun = media::begin(&alice, &media::describe(&path, MediaKind::Image).await.unwrap()).await.unwrap();
    let mut seen = Vec::new();
    let done =
        media::upload(&network(dir.path()), &begun, &path, |at, of| seen.push((at, of))).await.unwrap();
    assert_eq!(seen.last(), Some(&(content.len() as u64, content.len() as u64)));
    assert_eq!((&*done.content_type, done.format, &*done.name), ("image/png", 3, "slope.png"));
    let forms: Vec<_> = done.infos.iter().map(|form| (form.kind, form.width, form.height)).collect();
    assert_eq!(forms, [(1, 1600, 1000), (2, 1152, 720), (3, 317, 198)]);
    assert_eq!(done.uuid, begun.uuid);

    let whole = http("GET", &done.url, "", b"");
    assert_eq!((whole.status, &whole.body), (200, &content));
    let headers = |name: &str| whole.headers[name].clone();
    assert_eq!(headers("content-type"), "image/png");
    assert_eq!(headers("x-content-type-options"), "nosniff");
    assert!(headers("content-security-policy").contains("sandbox"));
    assert!(headers("content-disposition").starts_with("inline; filename=\"slope.png\""));
    assert!(headers("cache-control").starts_with("private, max-age="));
    for (kind, size) in [(2, (1152, 720)), (3, (317, 198))] {
        let form = http("GET", &done.infos[kind - 1].url, "", b"");
        assert_eq!((form.status, &*form.headers["content-type"]), (200, "image/jpeg"));
        assert_eq!(form.body.len() as u64, done.infos[kind - 1].size);
        let picture = image::load_from_memory(&form.body).unwrap();
        assert_eq!((picture.width(), picture.height()), size);
    }

    let part = http("GET", &done.url, "range: bytes=10-19\r\n", b"");
    assert_eq!((part.status, &*part.body), (206, &content[10..20]));
    assert_eq!(part.headers["content-range"], format!("bytes 10-19/{}", content.len()));
    let tail = http("GET", &done.url, "range: bytes=-5\r\n", b"");
    assert_eq!(&*tail.body, &content[content.len() - 5..]);
    let beyond = http("GET", &done.url, "range: bytes=99999999-\r\n", b"");
    assert_eq!(
        (beyond.status, &*beyond.headers["content-range"]),
        (416, &*format!("bytes */{}", content.len()))
    );
    let same = http("GET", &done.url, &format!("if-none-match: {}\r\n", headers("etag")), b"");
    assert_eq!((same.status, same.body.len()), (304, 0));
    let other = http("GET", &done.url, "if-range: \"another\"\r\nrange: bytes=0-1\r\n", b"");
    assert_eq!((other.status, other.body.len()), (200, content.len()));
    let head = http("HEAD", &done.url, "", b"");
    assert_eq!(
        (head.status, &*head.headers["content-length"], head.body.len()),
        (200, &*content.len().to_string(), 0)
    );

    // Somebody else of the App, by the name in the element.
    let bob = login(&node, dir.path(), "bob").await;
    let urls = media::sign(&bob, &done.uuid).await.unwrap();
    let copy = dir.path().join("copy.png");
    let mut last = (0, 0);
    let got =
        media::download(&network(dir.path()), &urls.url, &copy, 1 << 20, |at, of| last = (at, of)).await;
    assert_eq!(got.unwrap(), content.len() as u64);
    assert_eq!((fs::read(&copy).unwrap(), last.0), (content.clone(), content.len() as u64));
    let long = media::download(&network(dir.path()), &urls.url, &copy, 100, |_, _| {}).await;
    assert!(matches!(long, Err(MediaError::TooLong(100))), "{long:?}");
    // The same once more is known, and the upload is over.
    let again = put(&begun.upload_url, "", &content);
    assert_eq!((again.status, again.json()["complete"].clone()), (200, true.into()));
    assert_eq!(http("DELETE", &begun.upload_url, "", b"").status, 409);
    let metrics = node.get("/metrics").1;
    assert!(metrics.contains("nearport_media_uploads_total{outcome=\"complete\"} 1"), "{metrics}");
    assert!(metrics.contains("nearport_media_uploads_underway 0"), "{metrics}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_goes_on_after_a_cut_and_after_kill_9() {
    let dir = tempfile::tempdir().unwrap();
    let mut node = Node::start(dir.path(), &[]);
    let alice = login(&node, dir.path(), "alice").await;
    let content = octets(3 << 20);
    let path = dir.path().join("content");
    fs::write(&path, &content).unwrap();
    let begun = begin(&alice, MediaKind::File, &content).await;
    let (url, size) = (&*begun.upload_url, content.len());
    let first = &content[..1 << 20];
    let answer = put(url, &range(0, first, size), first);
    assert_eq!((answer.status, answer.offset()), (202, 1 << 20));

    // A connection that breaks in the middle of the next part: what had come stays.
    let (address, target) = parts(url);
    let (next, cut) = (&content[1 << 20..2 << 20], 300_000);
    let mut stream = TcpStream::connect(address).unwrap();
    let head = format!(
        "PUT {target} HTTP/1.1\r\nhost: x\r\ncontent-length: {}\r\n{}\r\n",
        next.len(),
        range(1 << 20, next, size)
    );
    stream.write_all(head.as_bytes()).unwrap();
    stream.write_all(&next[..cut]).unwrap();
    stream.shutdown(std::net::Shutdown::Write).unwrap();
    let at = (1 << 20) + cut as u64;
    await_offset(url, at);
    drop(stream);

    // A gap is told, and where it begins.
    let gap = put(url, &range(size - 10, &content[size - 10..], size), &content[size - 10..]);
    assert_eq!((gap.status, gap.code(), gap.offset()), (409, "gap".to_owned(), at));

    let api = format!("api.listen={address}");
    let ports = [format!("edge.listen={}", node.edge), format!("ops.listen={}", node.ops), api];
    let again: Vec<_> = ports.iter().flat_map(|port| ["--set", port]).collect();
    node.kill();
    node = Node::start(dir.path(), &again);
    assert_eq!(http("HEAD", url, "", b"").offset(), at);
    // What it may still take is counted again.
    let metrics = node.get("/metrics").1;
    assert!(metrics.contains(&format!("nearport_media_uploads_underway_bytes {size}")), "{metrics}");
    // The rest by the SDK, from where the server is.
    let mut least = u64::MAX;
    let network = network(dir.path());
    let done = media::upload(&network, &begun, &path, |at, _| least = least.min(at)).await.unwrap();
    assert!(least >= at, "{least}");
    assert_eq!(http("GET", &done.url, "", b"").body, content);
    // Complete survives too.
    node.kill();
    node = Node::start(dir.path(), &again);
    let known = http("GET", url, "", b"");
    assert_eq!((known.status, &*known.headers["upload-complete"]), (200, "?1"));
    assert_eq!(http("GET", &done.url, "", b"").body, content);
    assert_eq!(node.get("/readyz").0, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_as_it_was_announced_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let node = Node::start(dir.path(), &[]);
    let alice = login(&node, dir.path(), "alice").await;
    let content = octets(100_000);

    // Another content of the same size.
    let begun = begin(&alice, MediaKind::File, &content).await;
    let mut other = content.clone();
    other[50_000] ^= 1;
    let answer = put(&begun.upload_url, "", &other);
    assert_eq!((answer.status, answer.code()), (422, "hash".to_owned()), "{answer:?}");
    assert_eq!(http("GET", &begun.urls.as_ref().unwrap().url, "", b"").status, 404);
    assert_eq!(http("HEAD", &begun.upload_url, "", b"").offset(), 0);

    // One octet too many: said in the head, and only found out.
    let long = [&content[..], b"x"].concat();
    let answer = put(&begun.upload_url, "", &long);
    assert_eq!((answer.status, answer.code()), (413, "size".to_owned()), "{answer:?}");
    let chunked = [format!("{:x}\r\n", long.len()).as_bytes(), &long, b"\r\n0\r\n\r\n"].concat();
    let answer = put(&begun.upload_url, "transfer-encoding: chunked\r\n", &chunked);
    assert_eq!((answer.status, answer.code(), answer.offset()), (413, "size".to_owned(), 0), "{answer:?}");
    let beyond =
        put(&begun.upload_url, &format!("content-range: bytes 0-100000/{}\r\n", content.len()), &long);
    assert_eq!((beyond.status, beyond.code()), (400, "malformed".to_owned()));
    // One too few, without saying that it is a part.
    let answer = put(&begun.upload_url, "", &content[1..]);
    assert_eq!((answer.status, answer.code()), (400, "size".to_owned()));
    // None of it stands in the way of the right one.
    assert_eq!(put(&begun.upload_url, "", &content).status, 201);

    // Lies about the type.
    let page = b"<html><script>alert(1)</script></html>".to_vec();
    for kind in [MediaKind::Image, MediaKind::Sound, MediaKind::Video] {
        let begun = begin(&alice, kind, &page).await;
        let answer = put(&begun.upload_url, "", &page);
        assert_eq!((answer.status, answer.code()), (415, "type".to_owned()), "{kind:?} {answer:?}");
    }
    let lie = MediaBegin { content_type: "image/png".into(), ..announce(MediaKind::File, &page) };
    let begun = media::begin(&alice, &lie).await.unwrap();
    assert_eq!(put(&begun.upload_url, "", &page).json()["content_type"], "application/octet-stream");
    let saved = http("GET", &begun.urls.unwrap().url, "", b"");
    assert_eq!(saved.headers["content-type"], "application/octet-stream");
    assert!(saved.headers["content-disposition"].starts_with("attachment;"), "{saved:?}");

    // 50,000 × 50,000 pixels in a few octets, and an image that is cut off.
    let mut bomb = png(2, 2);
    bomb[16..24].copy_from_slice(&[50_000_u32.to_be_bytes(), 50_000_u32.to_be_bytes()].concat());
    let crc = crc32(&bomb[12..29]);
    bomb[29..33].copy_from_slice(&crc.to_be_bytes());
    let begun = begin(&alice, MediaKind::Image, &bomb).await;
    let answer = put(&begun.upload_url, "", &bomb);
    assert_eq!((answer.status, answer.code()), (422, "image".to_owned()), "{answer:?}");
    assert!(answer.json()["error"].as_str().unwrap().contains("50000 × 50000"), "{answer:?}");
    let cut = png(500, 500)[..2_000].to_vec();
    let begun = begin(&alice, MediaKind::Image, &cut).await;
    assert_eq!(put(&begun.upload_url, "", &cut).code(), "image");

    // What cannot even begin.
    let good = announce(MediaKind::File, b"x");
    let cases = [
        (MediaBegin { size: 0, ..good.clone() }, 70402),
        (MediaBegin { size: 2 << 30, ..good.clone() }, 80002),
        (MediaBegin { size: u64::MAX, ..good.clone() }, 80002),
        (MediaBegin { size: (28 << 20) + 1, ..announce(MediaKind::Image, b"x") }, 80002),
        (MediaBegin { kind: 0, ..good.clone() }, 70402),
        (MediaBegin { kind: 99, ..good.clone() }, 70402),
        (MediaBegin { sha256: vec![1; 31].into(), ..good.clone() }, 70402),
        (MediaBegin { name: "n".repeat(256), ..good.clone() }, 70402),
        (MediaBegin { name: "a\nb".into(), ..good.clone() }, 70402),
        (MediaBegin { content_type: "text/html".into(), ..announce(MediaKind::Image, b"x") }, 70402),
        (MediaBegin { content_type: "a\r\nb: c".into(), ..good.clone() }, 70402),
    ];
    for (case, code) in cases {
        assert_eq!(refused(&alice, case.clone()).await, code, "{case:?}");
    }
    assert!(media::sign(&alice, "../../secret").await.is_err());
}

fn crc32(octets: &[u8]) -> u32 {
    let step = |crc: u32, _| if crc & 1 == 1 { crc >> 1 ^ 0xedb8_8320 } else { crc >> 1 };
    !octets.iter().fold(u32::MAX, |crc, octet| (0..8).fold(crc ^ u32::from(*octet), step))
}

/// Signs a download as docs/media.md says, with the secret of the node.
fn signed(dir: &Path, app: u32, uuid: &str, variant: &str, ends_s: u64) -> String {
    let secret = fs::read_to_string(dir.join("data/secret")).unwrap();
    let line = secret.lines().rfind(|line| !line.starts_with('#')).unwrap();
    let (epoch, digits) = line.split_once(' ').unwrap();
    let octet = |text: &str, at: usize| u8::from_str_radix(&text[2 * at..2 * at + 2], 16).unwrap();
    let secret: Vec<_> = (0..32).map(|at| octet(digits, at)).collect();
    let prk = hkdf::Salt::new(hkdf::HKDF_SHA256, b"nearport media 1").extract(&secret);
    let mut key = [0; 32];
    prk.expand(&[b"download"], hkdf::HKDF_SHA256).unwrap().fill(&mut key).unwrap();
    let epoch: u8 = epoch.parse().unwrap();
    let plain = uuid.replace('-', "");
    let id: Vec<_> = (0..16).map(|at| octet(&plain, at)).collect();
    let text =
        [&[1, epoch][..], &app.to_be_bytes(), &id, variant.as_bytes(), &[0], &ends_s.to_be_bytes()].concat();
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &key), &text);
    format!("/v1/media/{app}/{uuid}/{variant}?e={ends_s}&k={epoch}&s={}", URL_SAFE_NO_PAD.encode(tag))
}

#[tokio::test(flavor = "multi_thread")]
async fn urls_are_good_for_what_they_say_and_as_long_as_they_say() {
    let dir = tempfile::tempdir().unwrap();
    let node = Node::start(dir.path(), &[]);
    let alice = login(&node, dir.path(), "alice").await;
    let content = octets(1000);
    let begun = begin(&alice, MediaKind::File, &content).await;
    assert_eq!(put(&begun.upload_url, "", &content).status, 201);
    let url = begun.urls.unwrap().url;
    let (address, path) = parts(&url);
    let at = |path: &str| format!("http://{address}{path}");
    let get = |path: &str| http("GET", &at(path), "", b"").status;
    let app: u32 = path.split('/').nth(3).unwrap().parse().unwrap();
    let uuid = begun.uuid;
    let now_s = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();

    // The document is enough to sign.
    assert_eq!(get(&signed(dir.path(), app, &uuid, "original", now_s + 10)), 200);
    assert_eq!(get(&signed(dir.path(), app, &uuid, "original", now_s - 600)), 410);
    // A good signature for what is not there, and for an App that is another.
    assert_eq!(get(&signed(dir.path(), app, &uuid, "thumb", now_s + 10)), 404);
    assert_eq!(get(&signed(dir.path(), app + 1, &uuid, "original", now_s + 10)), 404);
    // What was uploaded nine days ago is over, whatever the URL says.
    let old_ms = (now_s - 9 * 86_400) * 1000;
    let old = format!("{:08x}-{:04x}-7000-8000-000000000000", old_ms >> 16, old_ms & 0xffff);
    assert_eq!(get(&signed(dir.path(), app, &old, "original", now_s + 10)), 410);

    let forged = [
        path.replace("/original?", "/thumb?"),
        path.replace("e=", "e=1"),
        path.replace("s=", "s=A"),
        path.replacen(&app.to_string(), "1", 1),
        path.split('?').next().unwrap().to_owned(),
        format!("{path}&e=99999999999"),
    ];
    for forged in &forged {
        assert_eq!(get(forged), 403, "{forged}");
    }
    // Nothing leads out of the store, and nothing is listed.
    let query = path.split_once('?').unwrap().1;
    for strange in [
        format!("/v1/media/{app}/..%2f..%2f..%2fsecret/original?{query}"),
        format!("/v1/media/{app}/../{app}/original?{query}"),
        format!("/v1/media/{app}/{uuid}/..%2fabout?{query}"),
        format!("/v1/media/{app}/{uuid}/about?{query}"),
        format!("/v1/media/{app}/{}/original?{query}", uuid.to_uppercase()),
        format!("/v1/media/%2e%2e/{uuid}/original?{query}"),
        format!("/v1/media/{app}/{uuid}/"),
        format!("/v1/media/{app}/"),
        "/v1/media/".to_owned(),
        "/v1/media/upload/".to_owned(),
    ] {
        assert_eq!(get(&strange), 404, "{strange}");
    }
    let token = begun.upload_url.rsplit('/').next().unwrap();
    for forged in [token.replacen('A', "B", 1), token[1..].to_owned(), format!("{token}AAAA"), "%00".into()] {
        let answer = http("HEAD", &at(&format!("/v1/media/upload/{forged}")), "", b"");
        assert_eq!(answer.status, 403, "{forged}");
    }
    assert_eq!(http("POST", &begun.upload_url, "", b"").status, 405);
    assert_eq!(http("DELETE", &url, "", b"").status, 405);

    // One rotation of the secret ends nothing, the second one does.
    for (round, want) in [(1, 200), (2, 403)] {
        assert!(node.nearport(&["secret", "rotate"]).status.success());
        node.signal(Signal::HUP);
        let deadline = Instant::now() + STUCK;
        let reloaded = format!("nearport_reloads_total{{what=\"media\",outcome=\"ok\"}} {round}");
        while !node.get("/metrics").1.contains(&reloaded) {
            assert!(Instant::now() < deadline, "{}", node.get("/metrics").1);
            std::thread::yield_now();
        }
        assert_eq!(get(path), want, "after rotation {round}");
    }
    assert_eq!(http("HEAD", &begun.upload_url, "", b"").status, 403);
}

#[tokio::test(flavor = "multi_thread")]
async fn many_requests_at_once_make_one_file() {
    let dir = tempfile::tempdir().unwrap();
    let node = Node::start(dir.path(), &[]);
    let alice = login(&node, dir.path(), "alice").await;
    let content = octets(1 << 20);
    let begun = begin(&alice, MediaKind::File, &content).await;
    let (url, size) = (begun.upload_url, content.len());
    let mut created = 0;
    std::thread::scope(|scope| {
        let work = || {
            // Each asks where the upload is and brings the next piece, as if it were alone.
            loop {
                let head = http("HEAD", &url, "", b"");
                let at = usize::try_from(head.offset()).unwrap();
                let piece = &content[at.min(size)..(at + 50_000).min(size)];
                if head.headers["upload-complete"] == "?1" {
                    return 0;
                }
                let answer = match piece.is_empty() {
                    true => put(&url, &format!("content-range: bytes */{size}\r\n"), b""),
                    false => put(&url, &range(at, piece, size), piece),
                };
                match answer.status {
                    201 => return 1,
                    200 | 202 | 409 => {}
                    other => panic!("{other}: {answer:?}"),
                }
            }
        };
        let workers: Vec<_> = (0..6).map(|_| scope.spawn(work)).collect();
        created = workers.into_iter().map(|worker| worker.join().unwrap()).sum();
    });
    assert_eq!(created, 1, "it is completed once");
    assert_eq!(http("GET", &begun.urls.unwrap().url, "", b"").body, content);
    assert!(node.get("/metrics").1.contains("nearport_media_uploads_underway_bytes 0"));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_under_way_is_bounded_and_pages_are_let_in_by_origin() {
    let dir = tempfile::tempdir().unwrap();
    let origins = "media.origins=[\"https://app.example.org\"]";
    let node = Node::start(dir.path(), &["--set", origins]);
    let alice = login(&node, dir.path(), "alice").await;
    let large = MediaBegin { size: 100 << 20, sha256: Vec::new().into(), ..announce(MediaKind::File, b"") };
    let first = media::begin(&alice, &large).await.unwrap();
    media::begin(&alice, &large).await.unwrap();
    assert_eq!(refused(&alice, large.clone()).await, 60018);
    let bob = login(&node, dir.path(), "bob").await;
    media::begin(&bob, &large).await.unwrap();
    assert_eq!(http("DELETE", &first.upload_url, "", b"").status, 204);
    media::begin(&alice, &large).await.unwrap();

    let page = "origin: https://app.example.org\r\n";
    let asked =
        http("OPTIONS", &first.upload_url, &format!("{page}access-control-request-method: PUT\r\n"), b"");
    assert_eq!(
        (asked.status, &*asked.headers["access-control-allow-origin"]),
        (204, "https://app.example.org")
    );
    assert!(asked.headers["access-control-allow-methods"].contains("PUT"));
    let head = http("HEAD", &first.upload_url, page, b"");
    assert!(head.headers["access-control-expose-headers"].contains("upload-offset"), "{head:?}");
    let stranger = http("HEAD", &first.upload_url, "origin: https://evil.example\r\n", b"");
    assert!(!stranger.headers.contains_key("access-control-allow-origin"), "{stranger:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_has_expired_is_removed_and_nothing_else() {
    let dir = tempfile::tempdir().unwrap();
    let objects = dir.path().join("data/media/objects");
    let place = |day: u64| objects.join(format!("{day}/7/0189d8f8-0000-7000-8000-000000000000/original"));
    let now_s = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    let (today, strange) = (now_s / 86_400, objects.join("readme/original"));
    for path in [place(100), place(today - 9), place(today - 6), strange.clone()] {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, "content").unwrap();
    }
    let node = Node::start(dir.path(), &[]);
    let deadline = Instant::now() + STUCK;
    while !node.get("/metrics").1.contains("nearport_media_expired_total{what=\"object\"} 2") {
        assert!(Instant::now() < deadline, "{}", node.get("/metrics").1);
        std::thread::yield_now();
    }
    assert!(!place(100).exists() && !place(today - 9).exists());
    assert!(place(today - 6).exists() && strange.exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn files_go_to_a_bucket_and_come_back_from_it() {
    let dir = tempfile::tempdir().unwrap();
    let bucket = Bucket::start(&dir.path().join("bucket"));
    let key = dir.path().join("key");
    fs::write(&key, format!("{KEY}\n")).unwrap();
    let settings = [
        format!("media.s3_endpoint=http://{}", bucket.address),
        format!("media.s3_bucket={}", bucket.name),
        format!("media.s3_access_key={KEY}"),
        format!("media.s3_secret_key_file={}", key.display()),
    ];
    let args: Vec<_> = settings.iter().flat_map(|setting| ["--set", setting]).collect();
    let node = Node::start(dir.path(), &args);
    let alice = login(&node, dir.path(), "alice").await;
    // In one piece, and in several.
    for (kind, content) in [(MediaKind::Image, png(800, 800)), (MediaKind::File, octets(12_000_000))] {
        let path = dir.path().join("content");
        fs::write(&path, &content).unwrap();
        let begun = begin(&alice, kind, &content).await;
        let done = media::upload(&network(dir.path()), &begun, &path, |_, _| {}).await.unwrap();
        let whole = http("GET", &done.url, "", b"");
        assert_eq!(whole.status, 200);
        assert!(whole.body == content);
        let part = http("GET", &done.url, "range: bytes=100-199\r\n", b"");
        assert_eq!((part.status, &*part.body), (206, &content[100..200]));
        if kind == MediaKind::Image {
            let thumb = http("GET", &done.infos[2].url, "", b"");
            assert_eq!(image::load_from_memory(&thumb.body).unwrap().width(), 198);
        }
        // Nothing is left here, and nothing but ours there.
        let staging = dir.path().join("data/media/staging");
        assert_eq!(fs::read_dir(staging).unwrap().count(), 0);
    }
    assert!(!dir.path().join("data/media/objects").exists());

    // A bucket that is away: the content stays, and the same request succeeds later.
    let content = octets(5_000);
    let begun = begin(&alice, MediaKind::File, &content).await;
    let (address, name) = (bucket.address, bucket.name);
    drop(bucket);
    let answer = put(&begun.upload_url, &range(0, &content, content.len()), &content);
    assert_eq!((answer.status, answer.code()), (503, "store".to_owned()), "{address} {name} {answer:?}");
}
