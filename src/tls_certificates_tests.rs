use super::*;

use std::fs;
use std::os::unix::fs::symlink;

use tempfile::TempDir;

use crate::tls_testing::{Made, days as of_days, handshake};

const LOCAL: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

/// A directory with files that come and go, and a node's certificates over it.
struct World {
    dir: TempDir,
    config: Tls,
}

impl World {
    /// `tls.cert` and `tls.dir` are set if their files are there when the node opens.
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let config = Tls { dev_dir: dir.path().join("dev"), ..Tls::default() };
        Self { dir, config }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn write(&self, chain: &str, key: &str, made: &Made) {
        for (name, text) in [(chain, &made.chain), (key, &made.key)] {
            let path = self.path(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
    }

    fn with_cert(mut self, made: &Made) -> Self {
        self.write("own.pem", "own-key.pem", made);
        self.config.cert = Some(self.path("own.pem"));
        self.config.key = Some(self.path("own-key.pem"));
        self
    }

    fn with_dir(mut self) -> Self {
        fs::create_dir(self.path("pairs")).unwrap();
        self.config.dir = Some(self.path("pairs"));
        self
    }

    fn pair(&self, name: &str, made: &Made) {
        self.write(&format!("pairs/{name}.crt"), &format!("pairs/{name}.key"), made);
    }

    fn open(&self) -> Result<Arc<Certificates>, String> {
        let now = SystemTime::now();
        Certificates::open(&self.config, LOCAL, None, now).map_err(|error| error.to_string())
    }
}

fn served(certificates: &Certificates, name: &str) -> Vec<u8> {
    handshake(&certificates.resolver(), name, &[b"np/1"]).unwrap()
}

/// Names loaded, removed and failed.
fn poll(certificates: &Certificates) -> (Vec<String>, Vec<String>, Vec<String>) {
    let report = certificates.look(SystemTime::now(), false);
    let failed = report.failed.into_iter().map(|(name, _)| name).collect();
    (report.loaded, report.removed, failed)
}

fn none() -> Vec<String> {
    Vec::new()
}

fn told(certificates: &Certificates) -> Vec<String> {
    let state = certificates.lock();
    let held = state.held.iter().filter_map(|one| one.problem.as_ref());
    held.chain(&state.listing).filter(|problem| problem.told).map(|problem| problem.text.clone()).collect()
}

#[test]
fn a_replaced_certificate_is_served_after_the_next_look() {
    let (old, new) = (Made::new(&["a.test"]), Made::new(&["a.test"]));
    let world = World::new().with_cert(&old);
    let certificates = world.open().unwrap();
    assert_eq!(certificates.ca(), None);
    assert!(!world.config.dev_dir.exists(), "no development CA beside the operator's certificate");
    assert_eq!(poll(&certificates), (none(), none(), none()));
    world.write("own.pem", "own-key.pem", &new);
    assert_eq!(served(&certificates, "a.test"), old.der());
    assert_eq!(poll(&certificates), (vec!["tls.cert".into()], none(), none()));
    assert_eq!(served(&certificates, "a.test"), new.der());
}

#[test]
fn a_look_between_the_halves_of_a_renewal_keeps_the_old_one_and_tells_nobody() {
    let (old, new) = (Made::new(&["a.test"]), Made::new(&["a.test"]));
    let world = World::new().with_cert(&old);
    let certificates = world.open().unwrap();
    fs::write(world.path("own.pem"), &new.chain).unwrap();
    assert_eq!(poll(&certificates), (none(), none(), vec!["tls.cert".into()]));
    assert_eq!((served(&certificates, "a.test"), told(&certificates)), (old.der(), none()));
    fs::write(world.path("own-key.pem"), &new.key).unwrap();
    assert_eq!(poll(&certificates), (vec!["tls.cert".into()], none(), none()));
    assert_eq!(served(&certificates, "a.test"), new.der());
}

#[test]
fn a_failure_that_stays_is_told_once_and_to_whoever_asks() {
    let old = Made::new(&["a.test"]);
    let world = World::new().with_cert(&old);
    let certificates = world.open().unwrap();
    fs::write(world.path("own-key.pem"), "").unwrap();
    for (look, expected) in [(1, 0), (2, 1), (3, 1)] {
        poll(&certificates);
        assert_eq!(told(&certificates).len(), expected, "look {look}");
    }
    let text = &told(&certificates)[0];
    assert!(text.contains("own-key.pem: holds no private key"), "{text}");
    let asked = certificates.reload(SystemTime::now());
    assert_eq!(asked.failed, [("tls.cert".to_owned(), text.clone())]);
    assert_eq!(served(&certificates, "a.test"), old.der());
    // Asked at once, it is told at once.
    fs::remove_file(world.path("own.pem")).unwrap();
    certificates.reload(SystemTime::now());
    assert!(told(&certificates)[0].contains("own.pem: No such file"), "{:?}", told(&certificates));
    world.write("own.pem", "own-key.pem", &old);
    assert_eq!(poll(&certificates), (none(), none(), none()), "it is the one in use");
    assert_eq!(told(&certificates), none());
}

#[test]
fn a_kubernetes_mount_that_turns_its_link_is_seen() {
    let (old, new) = (Made::new(&["a.test"]), Made::new(&["a.test"]));
    let world = World::new().with_dir();
    for (version, made) in [("..1", &old), ("..2", &new)] {
        world.write(&format!("pairs/web/{version}/tls.crt"), &format!("pairs/web/{version}/tls.key"), made);
    }
    let mount = world.path("pairs/web");
    symlink("..1", mount.join("..data")).unwrap();
    for name in ["tls.crt", "tls.key"] {
        symlink(Path::new("..data").join(name), mount.join(name)).unwrap();
    }
    let certificates = world.open().unwrap();
    assert_eq!(served(&certificates, "a.test"), old.der());
    symlink("..2", mount.join("..data_tmp")).unwrap();
    fs::rename(mount.join("..data_tmp"), mount.join("..data")).unwrap();
    assert_eq!(poll(&certificates), (vec!["tls.dir/web".into()], none(), none()));
    assert_eq!(served(&certificates, "a.test"), new.der());
}

#[test]
fn pairs_come_and_go_and_a_bad_one_is_alone() {
    let (own, b, c) = (Made::new(&["a.test"]), Made::new(&["b.test"]), Made::new(&["*.c.test"]));
    let world = World::new().with_cert(&own).with_dir();
    world.pair("bad", &Made { chain: "nonsense".into(), key: String::new() });
    let certificates = world.open().unwrap();
    assert_eq!(told(&certificates).len(), 1, "told at the start");
    world.pair("b", &b);
    world.pair("c", &c);
    let loaded = vec!["tls.dir/b".into(), "tls.dir/c".into()];
    assert_eq!(poll(&certificates), (loaded, none(), vec!["tls.dir/bad".into()]));
    for (name, made) in
        [("a.test", &own), ("b.test", &b), ("x.c.test", &c), ("unknown.test", &own), ("::1", &own)]
    {
        assert_eq!(served(&certificates, name), made.der(), "{name}");
    }
    for name in ["b.crt", "b.key", "bad.crt", "bad.key"] {
        fs::remove_file(world.path("pairs").join(name)).unwrap();
    }
    assert_eq!(poll(&certificates), (none(), vec!["tls.dir/b".into(), "tls.dir/bad".into()], none()));
    assert_eq!(served(&certificates, "b.test"), own.der());
    // A directory that cannot be listed says nothing about what is in it.
    fs::rename(world.path("pairs"), world.path("aside")).unwrap();
    assert_eq!(poll(&certificates).2[0], "tls.dir");
    poll(&certificates);
    assert!(told(&certificates).iter().any(|text| text.contains("pairs: No such file")));
    assert_eq!(served(&certificates, "x.c.test"), c.der());
}

#[test]
fn the_last_certificate_stays_in_use_when_its_files_go() {
    let (a, b) = (Made::new(&["a.test"]), Made::new(&["b.test"]));
    let world = World::new().with_dir();
    world.pair("a", &a);
    let certificates = world.open().unwrap();
    assert_eq!(served(&certificates, "anything"), a.der(), "the first pair is for everybody");
    fs::remove_file(world.path("pairs/a.crt")).unwrap();
    fs::remove_file(world.path("pairs/a.key")).unwrap();
    for _ in 0..2 {
        assert_eq!(poll(&certificates), (none(), none(), vec!["tls.dir/a".into()]));
        assert_eq!(served(&certificates, "a.test"), a.der());
    }
    assert_eq!(told(&certificates).len(), 1);
    world.pair("b", &b);
    assert_eq!(poll(&certificates), (vec!["tls.dir/b".into()], vec!["tls.dir/a".into()], none()));
    assert_eq!(served(&certificates, "a.test"), b.der());
}

#[test]
fn a_certificate_that_clients_refuse_does_not_replace_a_good_one() {
    let now = SystemTime::now();
    let good = Made::new(&["a.test"]);
    let ended = Made::with_life(&["a.test"], now - of_days(100), of_days(90));
    let early = Made::with_life(&["a.test"], now + of_days(1), of_days(90));
    let world = World::new().with_cert(&good);
    let certificates = world.open().unwrap();
    for (made, why) in [(&ended, "has ended, while"), (&early, "is not good yet")] {
        world.write("own.pem", "own-key.pem", made);
        let report = certificates.reload(now);
        assert!(report.failed[0].1.contains(why), "{report:?}");
        assert_eq!(served(&certificates, "a.test"), good.der());
    }
    // With nothing better it is served: a client says more clearly what is wrong than a closed port.
    let world = World::new().with_cert(&ended);
    let certificates = world.open().unwrap();
    assert_eq!(served(&certificates, "a.test"), ended.der());
    world.write("own.pem", "own-key.pem", &good);
    assert_eq!(poll(&certificates).0, ["tls.cert"]);
}

#[test]
fn the_development_certificate_goes_when_there_is_a_real_one_and_is_renewed_until_then() {
    let now = SystemTime::now();
    let world = World::new();
    let acme = world.path("acme.pem");
    let open = || Certificates::open(&world.config, LOCAL, Some(&acme), now).unwrap();
    let certificates = open();
    let first = served(&certificates, "localhost");
    let ca = certificates.ca().unwrap();
    let verify = |leaf: &[u8]| crate::tls_pem::verify(&ca, &leaf.into(), &["localhost".into()], now);
    assert_eq!(verify(&first), Ok(()));
    assert_eq!(certificates.look(now + of_days(300), false), Report::default());
    let report = certificates.look(now + of_days(340), false);
    assert_eq!(report.loaded, ["dev"]);
    let second = served(&certificates, "localhost");
    assert!(second != first);

    let made = Made::new(&["chat.test"]);
    fs::write(&acme, format!("{}{}", made.chain, made.key)).unwrap();
    assert_eq!(poll(&certificates), (vec!["acme".into()], vec!["dev".into()], none()));
    assert_eq!(served(&certificates, "localhost"), made.der());
    assert_eq!(certificates.ca(), None);
    assert_eq!(open().ca(), None, "the same after a restart");
}

#[test]
fn a_start_refuses_what_the_configuration_names_and_cannot_be_used() {
    let made = Made::new(&["a.test"]);
    let world = World::new().with_cert(&Made { chain: made.chain.clone(), key: Made::new(&["b.test"]).key });
    let error = world.open().unwrap_err();
    assert!(error.contains("own-key.pem: does not belong"), "{error}");
    let world = World::new().with_dir();
    let error = world.open().unwrap_err();
    assert!(error.ends_with("pairs: holds no certificate to serve"), "{error}");
    world.pair("half", &Made { chain: made.chain, key: String::new() });
    let error = world.open().unwrap_err();
    assert!(error.contains("; tls.dir/half: "), "{error}");
}

#[test]
fn handshakes_during_reloads_always_get_one_of_the_certificates() {
    let versions = [Made::new(&["a.test"]), Made::new(&["a.test"])];
    let world = World::new().with_cert(&versions[0]);
    let certificates = world.open().unwrap();
    let ders = versions.each_ref().map(Made::der);
    std::thread::scope(|scope| {
        let served = scope.spawn(|| (0..200).map(|_| served(&certificates, "a.test")).collect::<Vec<_>>());
        for index in (0..2).cycle().take(50) {
            world.write("own.pem", "own-key.pem", &versions[index]);
            assert_eq!(certificates.reload(SystemTime::now()).failed, []);
        }
        assert!(served.join().unwrap().iter().all(|der| ders.contains(der)));
    });
}
