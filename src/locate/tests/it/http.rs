//! The HTTP contract, over sockets, with the files that ship.

use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use nearport_geo::map::Live;
use nearport_geo::signed::Map;
use nearport_geo::{PopSet, PopTable, World};
use nearport_locate::forwarded::Header;
use nearport_locate::{Databases, Kept, Now, Service, Settings, Signer, TokenKeys, router};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

const POPS: &str = include_str!("../../../../geo/pops.toml");

/// Singapore, twice in different networks, and Brazil.
const SG: [&str; 4] = ["202.156.1.1", "202.166.1.1", "118.189.1.1", "165.21.1.1"];
const BR: &str = "200.160.2.3";

fn shipped() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../geo/country.mmdb")
}

struct World1 {
    service: Arc<Service>,
    addr: SocketAddr,
}

/// A service that trusts loopback, where the tests ask from.
async fn start(trusted: bool, pops: Option<PathBuf>) -> World1 {
    let settings = Settings {
        trusted: Box::new(move |ip: IpAddr| trusted && ip.is_loopback()),
        header: Header::XForwardedFor,
        ttl: Duration::from_secs(300),
        pops,
    };
    let databases = Databases::open(&[shipped()]).unwrap();
    let signer = Signer::new(&Signer::generate().unwrap()).unwrap();
    let keys = TokenKeys::new(&[(1, [7; 32])]);
    let kept = Kept::nothing(Arc::new(PopTable::parse(POPS).unwrap()));
    let now = Now { unix_s: 1_800_000_000, ms: 0 };
    let service = Arc::new(Service::new(
        settings,
        databases,
        World::shipped().unwrap(),
        kept,
        keys,
        Arc::new(signer),
        now,
    ));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    let app = router(service.clone()).into_make_service_with_connect_info::<SocketAddr>();
    tokio::spawn(async move { axum::serve(listener, app).await });
    World1 { service, addr }
}

impl World1 {
    /// Status and body.
    async fn ask(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> (u16, Value) {
        let mut stream = tokio::net::TcpStream::connect(self.addr).await.unwrap();
        let mut request = format!("{method} {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n");
        for (name, value) in headers {
            request.push_str(&format!("{name}: {value}\r\n"));
        }
        request.push_str(&format!("content-length: {}\r\n\r\n{body}", body.len()));
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        (status, serde_json::from_str(body).unwrap_or(Value::Null))
    }

    async fn locate(&self, path: &str, from: &str) -> Value {
        let (status, body) = self.ask("GET", path, &[("x-forwarded-for", from)], "").await;
        assert_eq!(status, 200, "{body}");
        body
    }

    async fn report(&self, from: &str, body: &Value) -> u16 {
        let (status, said) =
            self.ask("POST", "/v1/rtt", &[("x-forwarded-for", from)], &body.to_string()).await;
        assert!(status < 300 || said["error"].is_string(), "{status} {said}");
        status
    }

    fn turn(&self) {
        self.service.turn(now(), false).unwrap();
    }
}

fn now() -> Now {
    let unix_s = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    Now { unix_s, ms: 0 }
}

fn pops(list: &Value) -> Vec<&str> {
    list.as_array().unwrap().iter().map(|pop| pop["pop"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn a_client_is_sent_to_what_covers_its_country() {
    let world = start(true, None).await;
    let sg = world.locate("/v1/locate", SG[0]).await;
    assert_eq!(sg["country"], "SG");
    assert_eq!(pops(&sg["candidates"])[0], "sg-singapore");
    assert_eq!(pops(&sg["candidates"]).len(), 3);
    assert_eq!(pops(&sg["probe"]).len(), 2);
    assert!(pops(&sg["probe"]).iter().all(|pop| !pops(&sg["candidates"]).contains(pop)));
    assert_eq!((sg["ttl_s"].as_u64(), sg.get("explain")), (Some(300), None));
    let us = world.locate("/v1/locate?explain=1", "12.0.0.1").await;
    assert_eq!((us["country"].as_str(), pops(&us["candidates"]).len()), (Some("US"), 5), "wide: five");
    let why = us["explain"].as_array().unwrap();
    assert!(why[0].as_str().unwrap().contains("country US") && why.len() > 5, "{why:?}");
}

#[tokio::test]
async fn who_is_unknown_gets_what_covers_the_world() {
    let world = start(true, None).await;
    let mut answers = Vec::new();
    for from in ["10.1.2.3", "fd00::1", "unknown", "192.0.2.1"] {
        let answer = world.locate("/v1/locate", from).await;
        assert_eq!((pops(&answer["candidates"]).len(), &answer["country"]), (5, &Value::Null), "{from}");
        assert_eq!(answer["token"].is_string(), from != "unknown", "no address, no token");
        let mut named: Vec<_> = pops(&answer["candidates"]).into_iter().map(str::to_owned).collect();
        // Equals are in the order of the client's own key.
        named.sort_unstable();
        answers.push(named);
    }
    assert!(answers.windows(2).all(|pair| pair[0] == pair[1]));
}

#[tokio::test]
async fn strangers_may_not_speak_for_others() {
    let world = start(false, None).await;
    let spoofed = world.locate("/v1/locate", SG[0]).await;
    assert_eq!(spoofed["country"], Value::Null, "the socket's address counts, which is loopback");
    let (status, _) = world.ask("GET", "/v1/locate?ip=202.156.1.1", &[], "").await;
    assert_eq!(status, 403);

    let world = start(true, None).await;
    let (status, asked) = world.ask("GET", "/v1/locate?ip=200.160.2.3", &[], "").await;
    assert_eq!((status, &asked["country"]), (200, &json!("BR")));
    assert_eq!(asked.get("token"), None, "nobody gets tokens of other networks");
    // A client behind a forwarder is no forwarder.
    let (status, _) = world.ask("GET", "/v1/locate?ip=1.1.1.1", &[("x-forwarded-for", BR)], "").await;
    assert_eq!(status, 403);
    // The header that the forwarders do not write is not read, wherever it comes from.
    let both = [("forwarded", "for=1.1.1.1"), ("x-forwarded-for", BR)];
    assert_eq!(world.ask("GET", "/v1/locate", &both, "").await.1["country"], "BR");
    assert_eq!(world.ask("GET", "/v1/locate?ip=nonsense", &[], "").await.0, 400);
    assert_eq!(world.ask("POST", "/v1/locate", &[], "").await.0, 405);
    assert_eq!(world.ask("GET", "/v1/else", &[], "").await.0, 404);
}

#[tokio::test]
async fn what_is_down_is_left_out_until_everything_is() {
    let world = start(true, None).await;
    let before = world.locate("/v1/locate", SG[0]).await;
    let table = world.service.table();
    let mut live = Live::all(table.all());
    live.up.remove(table.find("sg-singapore").unwrap());
    assert!(world.service.set_live(live.clone(), &table));
    let after = world.locate("/v1/locate?explain=1", SG[0]).await;
    assert_eq!(pops(&after["candidates"]).len(), 3);
    assert!(!pops(&after["candidates"]).contains(&"sg-singapore"));
    assert!(!pops(&after["probe"]).contains(&"sg-singapore"));
    assert!(after["explain"].to_string().contains("left out, down or drained: sg-singapore"));
    // A new map does not forget it.
    world.turn();
    let turned = world.locate("/v1/locate", SG[0]).await;
    assert!(turned["serial"].as_u64() > before["serial"].as_u64());
    assert_eq!(turned["candidates"], after["candidates"]);

    live.up = PopSet::NONE;
    // Its indices are those of a table that is not in use.
    let other = Arc::new((*table).clone());
    assert!(!world.service.set_live(live.clone(), &other));
    let still = world.locate("/v1/locate?explain=1", SG[0]).await;
    assert_eq!(still["candidates"], after["candidates"]);
    assert!(!still["explain"].to_string().contains("every PoP is said to be down"));
    assert!(world.service.set_live(live, &table));
    let all_down = world.locate("/v1/locate?explain=1", SG[0]).await;
    assert_eq!(all_down["candidates"], before["candidates"], "as if none were down");
    assert!(all_down["explain"].to_string().contains("every PoP is said to be down"));
}

#[tokio::test]
async fn reports_count_when_three_networks_agree() {
    let world = start(true, None).await;
    let first = pops(&world.locate("/v1/locate", SG[0]).await["candidates"])[0].to_owned();
    assert_eq!(first, "sg-singapore");
    for (at, from) in SG.iter().enumerate() {
        let token = world.locate("/v1/locate", from).await["token"].clone();
        // Singapore is far from itself by their networks, and Tokyo near.
        let rtt = json!([{"pop": "sg-singapore", "ms": 240.0}, {"pop": "jp-tokyo", "ms": 60.0}]);
        assert_eq!(world.report(from, &json!({"token": token, "rtt": rtt})).await, 204);
        world.turn();
        let first = pops(&world.locate("/v1/locate", BR).await["candidates"])[0].to_owned();
        assert!(first.starts_with("br-"), "{first}");
        let now_first = pops(&world.locate("/v1/locate", SG[0]).await["candidates"])[0].to_owned();
        assert_eq!(now_first != "sg-singapore", at >= 2, "after {} networks: {now_first}", at + 1);
    }
}

#[tokio::test]
async fn a_network_that_insists_speaks_for_itself_and_for_nobody_else() {
    let world = start(true, None).await;
    let neighbour = world.locate("/v1/locate", SG[1]).await;
    for round in 0..3 {
        let before = world.locate("/v1/locate?explain=1", SG[0]).await;
        assert!(before["explain"].to_string().contains("decided by country: country SG"), "round {round}");
        let rtt = json!([{"pop": "sg-singapore", "ms": 600.0}, {"pop": "jp-tokyo", "ms": 60.0}]);
        assert_eq!(world.report(SG[0], &json!({"token": before["token"], "rtt": rtt})).await, 204);
        world.turn();
    }
    let own = world.locate("/v1/locate?explain=1", SG[0]).await;
    assert!(own["explain"].to_string().contains("decided by prefix: prefix 202.156.1.0/24"), "{own}");
    assert!(!pops(&own["candidates"]).contains(&"sg-singapore"), "{own}");
    let after = world.locate("/v1/locate", SG[1]).await;
    assert_eq!(after["candidates"], neighbour["candidates"]);
}

#[tokio::test]
async fn reports_that_lie_or_make_no_sense_are_refused() {
    let world = start(true, None).await;
    let token = world.locate("/v1/locate", SG[0]).await["token"].clone();
    let report = |pop: &str, ms: Value| json!({"token": token, "rtt": [{"pop": pop, "ms": ms}]});
    assert_eq!(world.report(SG[0], &report("sg-singapore", json!(3.0))).await, 204);
    // London in 20 ms.
    assert_eq!(world.report(SG[0], &report("gb-london", json!(20.0))).await, 422);
    for (pop, ms) in [
        ("no-such", json!(20.0)),
        ("gb-london", json!(0.0)),
        ("gb-london", json!(-1.0)),
        ("gb-london", json!("fast")),
        ("gb-london", Value::Null),
    ] {
        assert_eq!(world.report(SG[0], &report(pop, ms.clone())).await, 400, "{pop} {ms}");
    }
    let many: Vec<_> = (0..13).map(|_| json!({"pop": "sg-singapore", "ms": 3.0})).collect();
    assert_eq!(world.report(SG[0], &json!({"token": token, "rtt": many})).await, 400);
    assert_eq!(world.report(SG[0], &json!({"token": token, "rtt": []})).await, 400);
    // Another network's token, somebody's invention, none.
    assert_eq!(world.report(SG[1], &report("sg-singapore", json!(3.0))).await, 401);
    let invented = json!({"token": "A".repeat(56), "rtt": [{"pop": "sg-singapore", "ms": 3.0}]});
    assert_eq!(world.report(SG[0], &invented).await, 401);
    let headers = [("x-forwarded-for", SG[0])];
    assert_eq!(world.ask("POST", "/v1/rtt", &headers, "{").await.0, 400);
    assert_eq!(world.ask("POST", "/v1/rtt", &headers, &" ".repeat(4_097)).await.0, 413);
    // A private address has a token and nothing to teach.
    let token = world.locate("/v1/locate", "10.0.0.1").await["token"].clone();
    let rtt = json!([{"pop": "gb-london", "ms": 20.0}]);
    assert_eq!(world.report("10.0.0.1", &json!({"token": token, "rtt": rtt})).await, 204);
}

#[tokio::test]
async fn one_network_has_its_rate() {
    let world = start(true, None).await;
    let body = json!({"token": "x", "rtt": []});
    let mut said = Vec::new();
    for _ in 0..150 {
        said.push(world.report(SG[0], &body).await);
    }
    assert!(said[..100].iter().all(|status| *status == 401) && said.contains(&429), "{said:?}");
    assert_eq!(world.report(SG[1], &body).await, 401, "another network's is its own");
}

#[tokio::test]
async fn the_map_is_signed_and_says_what_the_service_says() {
    let world = start(true, None).await;
    let (status, _) = world.ask("GET", "/v1/map", &[], "").await;
    assert_eq!(status, 200);
    let map = Map::verify(world.service.map().as_bytes(), &[world.service.map_key()]).unwrap();
    let sg = world.locate("/v1/locate", SG[0]).await;
    let mut listed: Vec<_> = map.candidates(Some("SG")).map(|pop| pop.id.as_str()).collect();
    let mut named = pops(&sg["candidates"]);
    assert_eq!(listed[0], named[0]);
    listed.sort_unstable();
    named.sort_unstable();
    assert_eq!(listed, named);
    assert_eq!(map.pops.len(), 32);
    assert!(map.countries.len() > 200 && map.good_until_s > map.made_s);
    assert!(Map::verify(world.service.map().as_bytes(), &[[1; 32]]).is_err());
}

#[tokio::test]
async fn a_bad_table_of_pops_keeps_the_old_one() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("pops.toml");
    std::fs::write(&path, POPS).unwrap();
    let world = start(true, Some(path.clone())).await;
    world.turn();
    let twice = POPS.replace("id = \"gb-london\"", "id = \"sg-singapore\"");
    for bad in [twice.as_str(), "", "[[pop]]", &POPS.replace("lat = 1.3521", "lat = 91.0")] {
        std::fs::write(&path, bad).unwrap();
        let error = world.service.turn(now(), false).unwrap_err();
        assert!(error.contains("pops.toml"), "{error}");
        let sg = world.locate("/v1/locate", SG[0]).await;
        assert_eq!(pops(&sg["candidates"])[0], "sg-singapore");
    }
    // One with endpoints: only those that have any are sent to.
    let end =
        "lon = 103.8198\nendpoints = { quic = \"sg.example:4433\", websocket = \"wss://sg.example/np\" }\n";
    std::fs::write(&path, POPS.replace("lon = 103.8198\n", end)).unwrap();
    world.turn();
    let br = world.locate("/v1/locate", BR).await;
    assert_eq!(pops(&br["candidates"]), ["sg-singapore"]);
    let endpoints = json!({"quic": "sg.example:4433", "websocket": "wss://sg.example/np"});
    assert_eq!(br["candidates"][0]["endpoints"], endpoints);
}

#[tokio::test]
async fn a_policy_keeps_an_app_where_it_may_be() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("pops.toml");
    let text = POPS.replace("id = \"sg-singapore\"\n", "id = \"sg-singapore\"\nregion = \"sg\"\n");
    let policies = "\n[[policy]]\nname = \"pinned\"\napp = 7\nregion = \"sg\"\n\n[[policy]]\nname = \"not-there\"\n\
        countries = [\"BR\"]\ndeny = [\"br-saopaulo\"]\n";
    std::fs::write(&path, text + policies).unwrap();
    let world = start(true, Some(path)).await;
    world.turn();
    let pinned = world.locate("/v1/locate?app=7&explain=1", BR).await;
    assert_eq!(pops(&pinned["candidates"]), ["sg-singapore"]);
    assert_eq!(pops(&pinned["probe"]), Vec::<&str>::new());
    let why = pinned["explain"].to_string();
    assert!(why.contains("policy pinned leaves 1 PoPs") && why.contains("left out by policy: "), "{why}");
    let other = world.locate("/v1/locate?app=8", BR).await;
    assert!(!pops(&other["candidates"]).contains(&"br-saopaulo"));
    let elsewhere = world.locate("/v1/locate", SG[0]).await;
    assert_eq!(pops(&elsewhere["candidates"]).len(), 3);
    assert_eq!(world.ask("GET", "/v1/locate?app=x", &[], "").await.0, 400);
    // Also in the map for who cannot ask, as far as it holds for all Apps.
    let map = Map::verify(world.service.map().as_bytes(), &[world.service.map_key()]).unwrap();
    assert!(map.candidates(Some("BR")).all(|pop| pop.id != "br-saopaulo"));
}

#[tokio::test]
async fn a_cell_is_asked_for_probes_no_more_than_it_needs() {
    let world = start(true, None).await;
    let mut probed = 0;
    for number in 0..200 {
        // Of one country, each from a network of its own.
        let answer = world.locate("/v1/locate", &format!("202.156.{number}.1")).await;
        assert_eq!(answer["country"], "SG");
        probed += usize::from(!pops(&answer["probe"]).is_empty());
    }
    assert!((60..150).contains(&probed), "{probed}");
    assert_eq!(pops(&world.locate("/v1/locate", BR).await["probe"]).len(), 2, "another cell's are its own");
}
