use std::collections::BTreeSet;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::{Arc, Mutex};

use nearport_wire::probe;
use socket2::{Domain, Socket, Type};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

use super::*;
use crate::house::House;
use crate::locate::{LocateConfig, LocateError, Server};

/// After this long something is stuck.
const STUCK: Duration = Duration::from_secs(30);

/// An addressing service with two PoPs. It gives its map away when it has a report; PoP b answers when the map is asked for.
struct Service {
    address: SocketAddr,
    house: House,
    /// What came, in its order: paths, and `given up`.
    seen: Arc<Mutex<Vec<String>>>,
    _tasks: JoinSet<()>,
}

impl Service {
    async fn start() -> Self {
        let (asked, reported) = (watch::Sender::new(false), watch::Sender::new(false));
        let mut tasks = JoinSet::new();
        let mut pops = Vec::new();
        for pop in ["a", "b"] {
            let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
            let at = socket.local_addr().unwrap();
            pops.push(format!("{{\"pop\":\"{pop}\",\"endpoints\":{{\"quic\":\"{at}\"}}}}"));
            let mut asked = asked.subscribe();
            tasks.spawn(async move {
                loop {
                    let (mut packet, mut answer) = ([0; 2_000], Vec::new());
                    let (length, from) = socket.recv_from(&mut packet).await.unwrap();
                    if pop == "b" {
                        asked.wait_for(|asked| *asked).await.unwrap();
                    }
                    assert!(probe::answer(&packet[..length], &mut answer));
                    let _ = socket.send_to(&answer, from).await;
                }
            });
        }
        let located = format!("{{\"candidates\":[{}],\"ttl_s\":60,\"token\":\"t\"}}", pops.join(","));
        let (house, seen) = (House::new(), Arc::<Mutex<Vec<String>>>::default());
        let tls = TlsAcceptor::from(Arc::new(house.tls(&[b"http/1.1"])));
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let told = Arc::clone(&seen);
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            loop {
                let (tcp, _) = listener.accept().await.unwrap();
                let (tls, located, told) = (tls.clone(), located.clone(), Arc::clone(&told));
                let (asked, reported) = (asked.clone(), reported.clone());
                connections.spawn(serve(tcp, tls, located, told, asked, reported));
            }
        });
        Self { address, house, seen, _tasks: tasks }
    }
}

async fn serve(
    tcp: TcpStream,
    tls: TlsAcceptor,
    located: String,
    told: Arc<Mutex<Vec<String>>>,
    asked: watch::Sender<bool>,
    reported: watch::Sender<bool>,
) {
    let mut tls = tls.accept(tcp).await.unwrap();
    let (mut head, mut octet) = (Vec::new(), [0]);
    while !head.ends_with(b"\r\n\r\n") {
        tls.read_exact(&mut octet).await.unwrap();
        head.push(octet[0]);
    }
    let head = String::from_utf8(head).unwrap();
    let path = head.split(' ').nth(1).unwrap().to_owned();
    told.lock().unwrap().push(path.clone());
    let body = match path.as_str() {
        "/v1/locate" => located,
        "/v1/rtt" => {
            reported.send_replace(true);
            String::new()
        }
        _ => {
            asked.send_replace(true);
            let mut heard = reported.subscribe();
            tokio::select! {
                _ = heard.wait_for(|reported| *reported) => {}
                _ = tls.read(&mut octet) => told.lock().unwrap().push("given up".to_owned()),
            }
            "no map".to_owned()
        }
    };
    let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}", body.len());
    let _ = tls.write_all(answer.as_bytes()).await;
}

fn kept(dir: &Path) -> LocateConfig {
    LocateConfig { dir: Some(dir.to_owned()), map_keys: vec![[0; 32]], ..LocateConfig::default() }
}

/// An answer with PoPs that nobody asks.
fn answer(hosts: &[u8]) -> Answer {
    let at = |host: &u8| Candidate::at("pop.example", SocketAddr::from(([192, 0, 2, *host], 4433)));
    Answer { candidates: hosts.iter().map(at).collect(), ttl_s: 600, ..Answer::default() }
}

#[tokio::test]
async fn a_race_is_heard_to_its_end_while_the_map_comes() {
    for session in [true, false] {
        let (service, dir) = (Service::start().await, tempfile::tempdir().unwrap());
        let https = vec![Server::new(service.address, "localhost")];
        let locator = Locator::new(LocateConfig { https, ..kept(dir.path()) }).unwrap();
        let network = service.house.network();
        if session {
            let edges = locator.clone().find(network.clone(), None).await.unwrap();
            assert_eq!(edges.len(), 2);
        } else {
            locator.refresh(&network);
        }
        locator.settled(STUCK).await;
        let seen: BTreeSet<_> = service.seen.lock().unwrap().drain(..).collect();
        assert_eq!(seen, ["/v1/locate", "/v1/map", "/v1/rtt"].map(str::to_owned).into(), "{session}");
    }
}

#[tokio::test]
async fn edges_that_failed_once_are_all_there_is_while_nobody_names_others() {
    // Nobody listens there.
    let taken = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    taken.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into()).unwrap();
    let https = vec![Server::new(taken.local_addr().unwrap().as_socket().unwrap(), "localhost")];
    let locator = Locator::new(LocateConfig { https, ..LocateConfig::default() }).unwrap();
    let network = House::new().network();
    let nowhere = locator.clone().find(network.clone(), None).await;
    assert!(matches!(nowhere, Err(LocateError::Nowhere(_))), "nothing is remembered");

    let before = Instant::now().checked_sub(Duration::from_mins(1)).unwrap();
    locator.book().answered(&locator.network_name(&network), answer(&[1, 2]), unix_s(), before);
    locator.exhausted(&network);
    assert!(locator.ready(&network, None).is_none(), "the service is asked first");
    let edges = locator.clone().find(network.clone(), None).await.unwrap();
    let addresses: Vec<_> = edges.iter().map(|edge| edge.address.to_string()).collect();
    assert_eq!(addresses, ["192.0.2.1:4433", "192.0.2.2:4433"]);
    assert!(locator.ready(&network, None).is_none(), "and is asked again the next time");
}

#[tokio::test]
async fn what_finds_no_place_or_fails_is_kept_later() {
    let dir = tempfile::tempdir().unwrap();
    let kept_dir = dir.path().join("kept");
    let locator = Locator::new(kept(&kept_dir)).unwrap();
    let learn = |network: &str| locator.book().answered(network, answer(&[1]), unix_s(), Instant::now());
    let file = || std::fs::read_to_string(kept_dir.join("places.json")).unwrap_or_default();

    // Every place is taken.
    let gate = Arc::new(Semaphore::new(0));
    for _ in 0..TASKS_MAX {
        let gate = Arc::clone(&gate);
        locator.spawn(async move { drop(gate.acquire().await) });
    }
    learn("first");
    locator.keep();
    gate.add_permits(1);
    locator.settled(STUCK).await;
    assert!(file().contains("\"first\""), "{}", file());

    // There is no directory for it, and then there is.
    std::fs::remove_dir_all(&kept_dir).unwrap();
    std::fs::write(&kept_dir, "").unwrap();
    learn("second");
    locator.keep();
    locator.settled(STUCK).await;
    std::fs::remove_file(&kept_dir).unwrap();
    locator.keep();
    locator.settled(STUCK).await;
    assert!(file().contains("\"second\""), "{}", file());
}
