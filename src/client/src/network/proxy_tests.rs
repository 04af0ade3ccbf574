//! Small proxies over real sockets, good and bad ones.

use super::*;
use proptest::prelude::*;
use std::net::Ipv4Addr;
use tokio::net::TcpListener;

fn edge() -> Edge {
    Edge::new((Ipv4Addr::LOCALHOST, 4433).into(), "edge.example")
}

/// What a proxy expects to read, and what it says then.
type Script = Vec<(&'static [u8], &'static [u8])>;

/// A proxy that plays a script.
async fn scripted(url: &str, script: Script) -> Result<(), String> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let proxy: Proxy = url.replace("PORT", &port.to_string()).parse().unwrap();
    let play = async {
        let (mut tcp, _) = listener.accept().await.unwrap();
        for (expected, answer) in script {
            let mut got = vec![0; expected.len()];
            tcp.read_exact(&mut got).await.unwrap();
            assert_eq!(String::from_utf8_lossy(&got), String::from_utf8_lossy(expected));
            // In small pieces: answers come as they like.
            for piece in answer.chunks(5) {
                tcp.write_all(piece).await.unwrap();
            }
        }
        tcp
    };
    let (edge, _tcp) = (edge(), ());
    let (result, _open) = tokio::join!(proxy.connect(&edge), play);
    result.map(|_| ()).map_err(|closing| closing.reason)
}

const CONNECT: &[u8] = b"CONNECT edge.example:4433 HTTP/1.1\r\nHost: edge.example:4433\r\n\r\n";

#[tokio::test]
async fn http_opens_a_tunnel_or_says_why_not() {
    let table: [(&'static [u8], Result<(), &str>); 5] = [
        (b"HTTP/1.1 200 Connection established\r\nVia: x\r\n\r\n", Ok(())),
        (b"HTTP/1.1 407 Who\r\nContent-Length: 4\r\n\r\nnope", Err("wants a user and a password")),
        (b"HTTP/1.1 503 Busy\r\n\r\n", Err("it answered 503 Busy")),
        (b"HTTP/1.1 200 OK\r\n\r\nsurprise", Err("data into the tunnel")),
        (b"SSH-2.0-OpenSSH\r\n\r\n", Err("not an http answer")),
    ];
    for (answer, expected) in table {
        let outcome = scripted("http://127.0.0.1:PORT", vec![(CONNECT, answer)]).await;
        match expected {
            Ok(()) => assert_eq!(outcome, Ok(())),
            Err(words) => assert!(outcome.as_ref().is_err_and(|said| said.contains(words)), "{outcome:?}"),
        }
    }
    let with_login: &[u8] = b"CONNECT edge.example:4433 HTTP/1.1\r\nHost: edge.example:4433\r\n\
        Proxy-Authorization: Basic YWxpY2U6c0BmZQ==\r\n\r\n";
    let outcome =
        scripted("http://alice:s%40fe@127.0.0.1:PORT", vec![(with_login, b"HTTP/1.0 407 No\r\n\r\n")]);
    assert!(outcome.await.unwrap_err().contains("does not accept"));
}

#[tokio::test]
async fn an_endless_answer_is_cut() {
    const LINE: &[u8] = &[b'x'; 16 * 1024];
    let script: Script = vec![(CONNECT, b"HTTP/1.1 200 OK\r\nA: "), (b"", LINE)];
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let url = format!("http://127.0.0.1:{}", listener.local_addr().unwrap().port());
    let play = async {
        let (mut tcp, _) = listener.accept().await.unwrap();
        for (_, answer) in script {
            // The client leaves in the middle of it.
            let _ = tcp.write_all(answer).await;
        }
        let mut rest = Vec::new();
        let _ = tcp.read_to_end(&mut rest).await;
    };
    let (proxy, edge): (Proxy, _) = (url.parse().unwrap(), edge());
    let client = async { proxy.connect(&edge).await.unwrap_err().reason };
    let (reason, ()) = tokio::join!(client, play);
    assert!(reason.contains("no end"), "{reason}");
}

#[tokio::test]
async fn socks5_opens_a_tunnel_or_says_why_not() {
    let by_ip: &[u8] = &[5, 1, 0, 1, 127, 0, 0, 1, 0x11, 0x51];
    let by_name: &[u8] = b"\x05\x01\x00\x03\x0cedge.example\x11\x51";
    let granted: &[u8] = &[5, 0, 0, 1, 10, 0, 0, 1, 1, 2];
    let granted_by_name: &[u8] = b"\x05\x00\x00\x03\x03abc\x01\x02";
    let none: (&'static [u8], &'static [u8]) = (&[5, 1, 0], &[5, 0]);
    let outcome = scripted("socks5://127.0.0.1:PORT", vec![none, (by_ip, granted)]).await;
    assert_eq!(outcome, Ok(()));
    let outcome = scripted("socks5h://127.0.0.1:PORT", vec![none, (by_name, granted_by_name)]).await;
    assert_eq!(outcome, Ok(()));
    let login: (&'static [u8], &'static [u8]) = (&[5, 2, 0, 2], &[5, 2]);
    let password: &[u8] = b"\x01\x01u\x02pw";
    let url = "socks5://u:pw@127.0.0.1:PORT";
    let outcome = scripted(url, vec![login, (password, &[1, 0]), (by_ip, granted)]).await;
    assert_eq!(outcome, Ok(()));

    let refusals: [(&str, Script, &str); 5] = [
        (url, vec![login, (password, &[1, 1])], "does not accept"),
        ("socks5://127.0.0.1:PORT", vec![(&[5, 1, 0], &[5, 0xff])], "wants a user"),
        ("socks5://127.0.0.1:PORT", vec![(&[5, 1, 0], &[4, 0])], "does not speak socks5"),
        ("socks5://127.0.0.1:PORT", vec![none, (by_ip, &[5, 5, 0, 1])], "connection refused"),
        ("socks5://127.0.0.1:PORT", vec![none, (by_ip, &[5, 0, 0, 9])], "does not speak socks5"),
    ];
    for (url, script, words) in refusals {
        let outcome = scripted(url, script).await;
        assert!(outcome.as_ref().is_err_and(|said| said.contains(words)), "{outcome:?}, not {words}");
    }
}

#[test]
fn urls_read_and_print() {
    for (url, printed) in [
        ("http://proxy", "http://proxy:80"),
        ("HTTP://proxy:3128/", "http://proxy:3128"),
        ("socks5://10.0.0.1", "socks5://10.0.0.1:1080"),
        ("socks5h://u:p:q@[::1]:9", "socks5h://u@[::1]:9"),
        ("socks5://[::1]", "socks5://[::1]:1080"),
    ] {
        assert_eq!(url.parse::<Proxy>().unwrap().to_string(), printed);
    }
    let secret: Proxy = "http://u:hunter2@proxy:1".parse().unwrap();
    assert!(!format!("{secret:?} {secret}").contains("hunter2"));
    for bad in [
        "proxy:3128",
        "https://proxy:1",
        "http://",
        "http://proxy:x",
        "http://a b",
        "http://u%4:p@h",
        "http://:p@h",
        "http://u%0d%0a:p@h",
        "http://h/path",
    ] {
        assert!(bad.parse::<Proxy>().is_err(), "{bad}");
    }
}

proptest! {
    #[test]
    fn no_url_panics(url in "(http|socks5|socks5h)?(://)?[ -~]{0,40}") {
        let _ = url.parse::<Proxy>();
    }
}
