use std::num::{NonZeroU16, NonZeroU32};

use super::*;
use crate::config::{
    Acme, Callback, Config, Dns, Edge, Hidden, Locate, Media, Postgres, Steer, Storage, Tls, Trunk,
};

fn leaves(table: &toml::Table, prefix: &str, out: &mut Vec<String>) {
    for (name, value) in table {
        let path = if prefix.is_empty() { name.clone() } else { format!("{prefix}.{name}") };
        match value {
            toml::Value::Table(inner) => leaves(inner, &path, out),
            _ => out.push(path),
        }
    }
}

#[test]
fn every_field_is_a_documented_key_and_the_other_way_round() {
    let full = Config {
        edge: Edge { shards: NonZeroU16::new(2), handshakes_per_s: NonZeroU32::new(1000), ..Edge::default() },
        tls: Tls { cert: Some("a".into()), key: Some("b".into()), dir: Some("c".into()), ..Tls::default() },
        acme: Acme {
            directory: Some("d".into()),
            email: Some("e".into()),
            ca: Some("f".into()),
            ..Acme::default()
        },
        trunk: Trunk {
            core: Some("g:1".into()),
            ca: Some("h".into()),
            cert: Some("i".into()),
            key: Some("j".into()),
            ..Trunk::default()
        },
        storage: Storage {
            postgres: Postgres {
                url: Some("x".into()),
                password_file: Some("y".into()),
                ca: Some("z".into()),
                ..Postgres::default()
            },
            ..Storage::default()
        },
        media: Media {
            url: Some("p".into()),
            dir: Some("q".into()),
            s3_endpoint: Some("r".into()),
            s3_bucket: Some("s".into()),
            s3_access_key: Some("t".into()),
            s3_secret_key: Some(Hidden("u".into())),
            s3_secret_key_file: Some("v".into()),
            s3_ca: Some("w".into()),
            ..Media::default()
        },
        callback: Callback {
            url: Some("a".into()),
            token: Some(Hidden("b".into())),
            ca: Some("c".into()),
            client_cert: Some("d".into()),
            client_key: Some("e".into()),
            ..Callback::default()
        },
        locate: Locate {
            databases: Some(vec!["k".into()]),
            pops: Some("l".into()),
            map_key: Some("m".into()),
            ..Locate::default()
        },
        steer: Steer {
            listen: Some(([127, 0, 0, 1], 1).into()),
            pop: Some("n".into()),
            capacity: Some(1),
            ..Steer::default()
        },
        dns: Dns {
            zone: Some("n".into()),
            contact: Some("o".into()),
            threads: NonZeroU16::new(2),
            ..Dns::default()
        },
        ..Config::default()
    };
    let mut fields = Vec::new();
    leaves(&toml::Table::try_from(full).unwrap(), "", &mut fields);
    fields.sort();
    let mut keys: Vec<_> = KEYS.iter().map(|key| key.name.to_owned()).collect();
    keys.sort();
    assert_eq!(fields, keys);
}
