//! Databases: MaxMind's test files, the one that ships, and files that are damaged.

use std::net::IpAddr;
use std::path::{Path, PathBuf};

use nearport_locate::databases::Databases;
use nearport_locate::mmdb::{Database, Error, Place};

use crate::maxmind::folder;

fn shipped() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../geo/country.mmdb")
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

#[test]
fn the_shipped_file_is_flat_and_knows_countries() {
    let database = Database::load(&shipped()).unwrap();
    for (address, country) in [
        ("1.1.1.1", "AU"),
        ("114.114.114.114", "CN"),
        ("193.0.6.139", "NL"),
        ("200.160.2.3", "BR"),
        ("2001:67c:2e8:22::c100:68b", "NL"),
        ("::ffff:193.0.6.139", "NL"),
    ] {
        let place = database.look_up(ip(address));
        assert_eq!(place.country_str(), Some(country), "{address}");
        assert!(place.bits >= 8 && place.position.is_none() && place.asn.is_none(), "{place:?}");
    }
    // The last bit that decided really does: its neighbours in the same network answer alike.
    let place = database.look_up(ip("193.0.6.139"));
    let host = u32::MAX.checked_shr(place.bits.into()).unwrap_or(0);
    let IpAddr::V4(v4) = ip("193.0.6.139") else { unreachable!() };
    for other in [v4.to_bits() & !host, v4.to_bits() | host] {
        assert_eq!(database.look_up(std::net::Ipv4Addr::from_bits(other).into()), place);
    }
}

#[test]
fn nested_files_tell_countries_positions_and_networks() {
    let load = |name: &str| Database::load(&folder().join(name)).unwrap();
    let city = load("GeoIP2-City-Test.mmdb").look_up(ip("89.160.20.128"));
    assert_eq!((city.country_str(), city.bits), (Some("SE"), 25));
    let (latitude, longitude) = city.position.unwrap();
    assert!((latitude - 58.4167).abs() < 0.01 && (longitude - 15.6167).abs() < 0.01, "{city:?}");
    let country = load("GeoLite2-Country-Test.mmdb").look_up(ip("2a02:cf40::1"));
    assert_eq!((country.country_str(), country.bits), (Some("NO"), 29));
    let asn = load("GeoLite2-ASN-Test.mmdb").look_up(ip("1.128.0.1"));
    assert_eq!((asn.asn, asn.country, asn.bits), (Some(1221), None, 11));
    let isp = load("GeoIP2-ISP-Test.mmdb").look_up(ip("1.128.0.1"));
    assert_eq!(isp.asn, Some(1221));
    let enterprise = load("GeoIP2-Enterprise-Test.mmdb").look_up(ip("74.209.24.1"));
    assert_eq!((enterprise.country_str(), enterprise.asn), (Some("US"), Some(14671)));
}

#[test]
fn an_address_of_a_family_that_a_file_has_not_is_unknown() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("city.mmdb");
    std::fs::copy(folder().join("GeoLite2-City-Test.mmdb"), &path).unwrap();
    let databases = Databases::open(&[path, shipped()]).unwrap();
    // Unknown to the first, known to the second: values come from wherever they are.
    assert_eq!(databases.look_up(ip("193.0.6.139")).country_str(), Some("NL"));
    // Nothing is known of what nobody routes, and that of no other address.
    for (address, bits) in [("10.0.0.1", 32), ("::ffff:10.0.0.1", 32), ("fd00::1", 128)] {
        assert_eq!(databases.look_up(ip(address)), Place { bits, ..Place::default() });
    }
    assert_eq!(Databases::none().look_up(ip("1.1.1.1")), Default::default());
}

#[test]
fn several_files_answer_together_and_the_first_one_wins() {
    let at = |name: &str| folder().join(name);
    let files = [at("GeoLite2-ASN-Test.mmdb"), at("GeoLite2-City-Test.mmdb"), shipped()];
    let place = Databases::open(&files).unwrap().look_up(ip("89.160.20.128"));
    assert_eq!((place.country_str(), place.asn), (Some("SE"), Some(29518)));
    assert!(place.position.is_some());
    // 25 of the city, 17 of the network: who shares 17 bits need not share the answer.
    assert_eq!(place.bits, 25);
    let other_order = Databases::open(&[shipped(), at("GeoLite2-City-Test.mmdb")]).unwrap();
    assert_eq!(other_order.look_up(ip("1.1.1.1")).country_str(), Some("AU"));
}

#[test]
fn broken_and_useless_files_are_refused_by_name() {
    for (name, why) in [
        ("GeoIP2-City-Test-Broken-Double-Format.mmdb", "double of size"),
        ("GeoIP2-City-Test-Invalid-Node-Count.mmdb", "search tree"),
        ("MaxMind-DB-test-broken-pointers-24.mmdb", "pointer"),
        ("MaxMind-DB-test-broken-search-tree-24.mmdb", "data"),
        ("MaxMind-DB-test-ipv4-24.mmdb", "holds neither countries"),
        ("GeoIP2-Domain-Test.mmdb", "holds neither countries"),
        ("no-such-file.mmdb", "No such file"),
    ] {
        let error = Databases::open(&[folder().join(name)]).unwrap_err().to_string();
        assert!(error.contains(name) && error.contains(why), "{error}");
    }
    assert!(matches!(Database::from_bytes(Vec::new()), Err(Error::Damaged(_))));
}

#[test]
fn a_file_cut_short_anywhere_or_changed_never_panics() {
    let whole = std::fs::read(folder().join("GeoLite2-Country-Test.mmdb")).unwrap();
    for cut in (0..whole.len()).step_by(97) {
        assert!(Database::from_bytes(whole[..cut].to_vec()).is_err(), "cut at {cut}");
    }
    let mut taken = 0;
    for at in (0..whole.len()).step_by(31) {
        let mut changed = whole.clone();
        changed[at] ^= 0xff;
        if let Ok(database) = Database::from_bytes(changed) {
            taken += 1;
            for address in ["1.1.1.1", "2a02:cf40::1", "81.2.69.160", "ff02::1"] {
                let _ = database.look_up(ip(address));
            }
        }
    }
    // A changed letter of a name is still a database.
    assert!(taken > 0);
}

#[test]
fn a_file_is_replaced_while_it_is_asked_and_a_bad_one_keeps_the_old() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("here.mmdb");
    let country = folder().join("GeoLite2-Country-Test.mmdb");
    std::fs::copy(&country, &path).unwrap();
    let databases = Databases::open(&[path.clone(), shipped()]).unwrap();
    let asn = || databases.look_up(ip("1.128.0.1")).asn;
    assert_eq!((databases.reload(false).unwrap(), asn()), (0, None));

    // In place and half written, as some tools do.
    let new = std::fs::read(folder().join("GeoLite2-ASN-Test.mmdb")).unwrap();
    std::fs::write(&path, &new[..new.len() / 2]).unwrap();
    let error = databases.reload(false).unwrap_err().to_string();
    assert!(error.contains("here.mmdb"), "{error}");
    assert_eq!(databases.look_up(ip("2a02:cf40::1")).country_str(), Some("NO"), "the old one stays");
    let states = databases.states();
    assert_eq!(states[0].kind.as_deref(), Some("GeoLite2-Country"));
    assert!(states[0].error.is_some() && states[1].error.is_none());
    assert_eq!(databases.reload(false).unwrap(), 0, "a file that has not changed is not read again");

    std::fs::write(&path, &new).unwrap();
    assert_eq!((databases.reload(false).unwrap(), asn()), (1, Some(1221)));
    assert_eq!(databases.states()[0].error, None);

    // Gone: the old one goes on.
    std::fs::remove_file(&path).unwrap();
    assert!(databases.reload(false).is_err());
    assert_eq!(asn(), Some(1221));
    std::fs::copy(&country, &path).unwrap();
    assert_eq!((databases.reload(true).unwrap(), asn()), (2, None));
}
