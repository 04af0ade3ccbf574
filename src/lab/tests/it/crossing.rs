//! The laboratory with real sockets: what is lost, told, translated and cleaned up below UDP and TCP.
//!
//! Needs root, as in CI; without it every test here says so and passes.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::process::Command;
use std::time::Duration;

use nearport_lab::{Lab, SERVER_ADDRESS, missing};

/// After this long something is stuck, and the test fails. Never a measure of speed.
const STUCK: Duration = Duration::from_secs(60);

/// Long enough for a packet that is not lost.
const SILENCE: Duration = Duration::from_millis(500);

fn lab(words: &str) -> Option<Lab> {
    if let Some(what) = missing() {
        assert!(!rustix::process::geteuid().is_root(), "root, and yet: {what}");
        eprintln!("skipped: {what}");
        return None;
    }
    let lab = Lab::new().unwrap();
    lab.set(words.parse().unwrap());
    Some(lab)
}

/// A socket on the server's side that answers nothing by itself, and one of a client.
fn udp(lab: &Lab) -> (UdpSocket, UdpSocket) {
    let server = lab.as_server(|| UdpSocket::bind((SERVER_ADDRESS, 4433)).unwrap()).unwrap();
    let client = lab.as_client(|| UdpSocket::bind("0.0.0.0:0").unwrap()).unwrap();
    client.connect((SERVER_ADDRESS, 4433)).unwrap();
    for socket in [&server, &client] {
        socket.set_read_timeout(Some(STUCK)).unwrap();
    }
    (server, client)
}

/// One datagram there; its text and where the server saw it come from.
fn receive(socket: &UdpSocket) -> (String, SocketAddr) {
    let mut buffer = [0; 2_000];
    // Unlike reads of files, this one is the caller's to repeat after a signal.
    let (length, from) = loop {
        match socket.recv_from(&mut buffer) {
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            received => break received.unwrap(),
        }
    };
    (String::from_utf8(buffer[..length].to_vec()).unwrap(), from)
}

fn tcp(lab: &Lab) -> (TcpStream, TcpStream) {
    let listener = lab.as_server(|| TcpListener::bind((SERVER_ADDRESS, 4433)).unwrap()).unwrap();
    let client =
        lab.as_client(|| TcpStream::connect_timeout(&(SERVER_ADDRESS, 4433).into(), STUCK).unwrap()).unwrap();
    let (server, _) = listener.accept().unwrap();
    for stream in [&server, &client] {
        stream.set_read_timeout(Some(STUCK)).unwrap();
        stream.set_write_timeout(Some(STUCK)).unwrap();
    }
    (server, client)
}

#[test]
fn datagrams_and_streams_cross_and_come_back() {
    let Some(lab) = lab("delay=2ms") else { return };
    let (server, client) = udp(&lab);
    for n in 0..100 {
        client.send(format!("{n}").as_bytes()).unwrap();
        let (text, from) = receive(&server);
        assert_eq!(text, format!("{n}"));
        server.send_to(b"back", from).unwrap();
        assert_eq!(receive(&client).0, "back");
    }
    let (mut server, mut client) = tcp(&lab);
    let sent: Vec<u8> = (0..300_000u32).map(|n| n.to_le_bytes()[0]).collect();
    let mut got = vec![0; sent.len()];
    std::thread::scope(|scope| {
        scope.spawn(|| client.write_all(&sent).unwrap());
        server.read_exact(&mut got).unwrap();
    });
    assert!(got == sent, "the stream differs");
    let counts = lab.counts();
    assert!(counts.up.sent > 300 && counts.up.sent == counts.up.arrived, "{counts:?}");
    assert_eq!((counts.overrun, counts.up.lost, counts.down.lost), (0, 0, 0), "{counts:?}");
}

#[test]
fn loss_is_below_both_and_a_stream_heals_it() {
    let Some(lab) = lab("loss=20%,seed=5") else { return };
    let (mut server, mut client) = tcp(&lab);
    let mut got = vec![0; 50_000];
    std::thread::scope(|scope| {
        scope.spawn(|| client.write_all(&[7; 50_000]).unwrap());
        server.read_exact(&mut got).unwrap();
    });
    let lost = lab.counts().up.lost;
    assert!(lost > 0, "segments were lost: {:?}", lab.counts());
    let (server, client) = udp(&lab);
    for n in 0..200u32 {
        client.send(&n.to_le_bytes()).unwrap();
    }
    server.set_read_timeout(Some(SILENCE)).unwrap();
    let mut buffer = [0; 10];
    let arrived = std::iter::from_fn(|| server.recv(&mut buffer).ok()).count();
    assert!((100..200).contains(&arrived), "{arrived} of 200 datagrams");
}

#[test]
fn a_black_hole_swallows_what_it_names() {
    let Some(lab) = lab("blackhole=udp") else { return };
    let (server, client) = udp(&lab);
    client.send(b"gone").unwrap();
    let (mut stream, mut other) = tcp(&lab);
    other.write_all(b"through").unwrap();
    stream.read_exact(&mut [0; 7]).unwrap();
    server.set_read_timeout(Some(SILENCE)).unwrap();
    assert!(server.recv(&mut [0; 10]).is_err());
    assert_eq!(lab.counts().up.closed, 1);
    lab.set("clean".parse().unwrap());
    client.send(b"again").unwrap();
    server.set_read_timeout(Some(STUCK)).unwrap();
    assert_eq!(receive(&server).0, "again");
}

#[test]
fn a_router_tells_streams_that_their_segments_are_too_long() {
    let Some(lab) = lab("mtu=1280") else { return };
    let (mut server, mut client) = tcp(&lab);
    let mut got = vec![0; 200_000];
    std::thread::scope(|scope| {
        scope.spawn(|| client.write_all(&[7; 200_000]).unwrap());
        server.read_exact(&mut got).unwrap();
    });
    let counts = lab.counts();
    assert!(counts.too_long_told > 0 && counts.too_long_told == counts.up.too_long, "{counts:?}");
}

#[test]
fn a_nat_that_forgets_moves_datagrams_and_breaks_streams() {
    let Some(lab) = lab("clean") else { return };
    let (server, client) = udp(&lab);
    let (mut accepted, mut stream) = tcp(&lab);
    stream.write_all(b"x").unwrap();
    accepted.read_exact(&mut [0]).unwrap();
    // From here on each round of the NAT is another address.
    lab.set("rebind=200ms".parse().unwrap());
    let mut seen = std::collections::BTreeSet::new();
    let begun = std::time::Instant::now();
    while seen.len() < 3 {
        assert!(begun.elapsed() < STUCK, "always from the same address");
        client.send(b"where am I?").unwrap();
        let (_, from) = receive(&server);
        server.send_to(b"there", from).unwrap();
        client.set_read_timeout(Some(SILENCE)).unwrap();
        // An answer to a mapping that is gone by now is lost, as in life.
        let _ = client.recv(&mut [0; 10]);
        seen.insert(from);
    }
    // The server has no connection from that address and says so: at once, or before if the client had to repeat what went first.
    let said = [stream.write_all(b"y").err(), stream.read(&mut [0; 1]).err()];
    let reset = |error: &std::io::Error| error.kind() == std::io::ErrorKind::ConnectionReset;
    assert!(said.iter().flatten().any(reset), "{said:?}");
}

#[test]
fn nothing_is_left_behind() {
    let Some(lab) = lab("clean") else { return };
    let mine = || {
        let list = Command::new("ip").args(["netns", "list"]).output().unwrap();
        let list = String::from_utf8(list.stdout).unwrap();
        list.lines().map(|line| line.split(' ').next().unwrap().to_owned()).collect::<Vec<_>>()
    };
    let mut sleeper = lab.on_server(std::path::Path::new("sleep")).arg("600").spawn().unwrap();
    let name = format!("{lab:?}");
    let ours: Vec<String> =
        mine().into_iter().filter(|other| name.contains(&format!("\"{other}\""))).collect();
    assert_eq!(ours.len(), 2, "{name}");
    drop(lab);
    assert!(mine().iter().all(|left| !ours.contains(left)));
    assert!(!sleeper.wait().unwrap().success(), "what ran in it was ended");

    // As a process leaves them that was killed: no process has this id.
    assert!(Command::new("ip").args(["netns", "add", "nplab-4194999-0s"]).status().unwrap().success());
    drop(Lab::new().unwrap());
    assert!(!mine().iter().any(|left| left == "nplab-4194999-0s"));
}

/// Each site is as far away as it is told to be, and all reach each other.
#[test]
fn sites_have_networks_of_their_own_to_the_clients_and_a_good_one_to_each_other() {
    let Some(mut lab) = lab("clean") else { return };
    let sites = [lab.add_site().unwrap(), lab.add_site().unwrap()];
    let sockets = sites.map(|site| {
        let at = (lab.site(site).address(), 4433);
        lab.site(site).inside(|| UdpSocket::bind(at).unwrap()).unwrap()
    });
    let addresses = sockets.each_ref().map(|socket| socket.local_addr().unwrap());
    sockets.iter().for_each(|socket| socket.set_read_timeout(Some(STUCK)).unwrap());
    lab.site(1).set("blackhole=all".parse().unwrap());
    let client = lab.as_client(|| UdpSocket::bind("0.0.0.0:0").unwrap()).unwrap();
    client.send_to(b"lost", addresses[1]).unwrap();
    client.send_to(b"near", addresses[0]).unwrap();
    assert_eq!(receive(&sockets[0]).0, "near");
    // Past the clients' network, by the first server: a packet of the site, and one of the first server.
    sockets[0].send_to(b"from a site", addresses[1]).unwrap();
    let (text, from) = receive(&sockets[1]);
    assert_eq!((text.as_str(), from.ip()), ("from a site", addresses[0].ip()));
    let hub = lab.as_server(|| UdpSocket::bind("0.0.0.0:0").unwrap()).unwrap();
    hub.send_to(b"from the hub", addresses[1]).unwrap();
    let (text, from) = receive(&sockets[1]);
    assert_eq!(text, "from the hub");
    hub.set_read_timeout(Some(STUCK)).unwrap();
    sockets[1].send_to(b"back", from).unwrap();
    assert_eq!(receive(&hub).0, "back");
    assert_eq!((lab.site(1).counts().up.closed, lab.site(0).counts().up.arrived), (1, 1));
}
