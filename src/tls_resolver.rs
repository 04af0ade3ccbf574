//! Which certificate a handshake gets: one resolver for QUIC, TLS and HTTPS, read by every shard.
//!
//! A handshake takes a read lock for the length of one reference count, against some 150 µs of cryptography, and never
//! waits for a reload: that builds its table aside and swaps it in. So a new table is seen by all shards at the same
//! instant, and sessions that live keep what they were opened with.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::SystemTime;

use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

use crate::tls_pem::Certificate;

/// ALPN of the handshakes that prove to an ACME directory that a name is ours (RFC 8737 §6.2).
pub(crate) const ACME_ALPN: &[u8] = b"acme-tls/1";

/// The certificates in use, and answers to challenges of an ACME directory while an order is under way.
#[derive(Debug)]
pub(crate) struct Resolver {
    table: RwLock<Arc<Table>>,
    /// By name. One entry for each name of the order under way.
    challenges: RwLock<HashMap<String, Arc<CertifiedKey>>>,
}

impl Resolver {
    pub(crate) fn new(table: Table) -> Self {
        Self { table: RwLock::new(Arc::new(table)), challenges: RwLock::default() }
    }

    /// From now on handshakes see `table`.
    pub(crate) fn replace(&self, table: Table) {
        *self.table.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(table);
    }

    /// Answers an ACME directory that asks for `name` with `key`, until the guard is dropped.
    pub(crate) fn answer(self: &Arc<Self>, name: &str, key: CertifiedKey) -> Answer {
        let name = name.to_ascii_lowercase();
        let mut challenges = self.challenges.write().unwrap_or_else(PoisonError::into_inner);
        challenges.insert(name.clone(), Arc::new(key));
        drop(challenges);
        Answer { resolver: Arc::clone(self), name }
    }

    /// What a client gets that asks for `name`, or for none.
    pub(crate) fn find(&self, name: Option<&str>) -> Arc<CertifiedKey> {
        self.table.read().unwrap_or_else(PoisonError::into_inner).find(name)
    }
}

impl ResolvesServerCert for Resolver {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        // rustls has checked the name and made it lower case; an address is no name, so it is `None` here.
        let name = hello.server_name();
        let mut alpn = hello.alpn().into_iter().flatten();
        // RFC 8737 §3: such a client offers this protocol and no other.
        if alpn.next() == Some(ACME_ALPN) && alpn.next().is_none() {
            let challenges = self.challenges.read().unwrap_or_else(PoisonError::into_inner);
            return challenges.get(name?).cloned();
        }
        Some(self.find(name))
    }
}

/// A challenge that is answered as long as this lives.
#[derive(Debug)]
pub(crate) struct Answer {
    resolver: Arc<Resolver>,
    name: String,
}

impl Drop for Answer {
    fn drop(&mut self) {
        self.resolver.challenges.write().unwrap_or_else(PoisonError::into_inner).remove(&self.name);
    }
}

/// Certificates by name.
#[derive(Debug)]
pub(crate) struct Table {
    /// For clients that ask for no name, or for one that nobody has: they say better than an alert what is wrong.
    fallback: Arc<CertifiedKey>,
    exact: HashMap<String, Held>,
    /// By what follows `*.`; a star stands for one label (RFC 9525 §6.3).
    below: HashMap<String, Held>,
}

#[derive(Debug)]
struct Held {
    not_after: SystemTime,
    key: Arc<CertifiedKey>,
}

impl Table {
    /// `first` is what a client without a name gets. Where several cover a name, the one that ends last is served: that
    /// is the new one.
    pub(crate) fn new<'a>(first: &'a Certificate, rest: impl IntoIterator<Item = &'a Certificate>) -> Self {
        let mut table =
            Self { fallback: Arc::clone(&first.key), exact: HashMap::new(), below: HashMap::new() };
        for certificate in std::iter::once(first).chain(rest) {
            for name in &certificate.names {
                let (map, name) = match name.strip_prefix("*.") {
                    Some(parent) => (&mut table.below, parent),
                    None => (&mut table.exact, name.as_str()),
                };
                let held = Held { not_after: certificate.not_after, key: Arc::clone(&certificate.key) };
                match map.entry(name.to_owned()) {
                    Entry::Vacant(entry) => drop(entry.insert(held)),
                    Entry::Occupied(mut entry) if entry.get().not_after < held.not_after => {
                        entry.insert(held);
                    }
                    Entry::Occupied(_) => {}
                }
            }
        }
        table
    }

    fn find(&self, name: Option<&str>) -> Arc<CertifiedKey> {
        let found = name.and_then(|name| {
            // The root may be written (`chat.example.org.`); certificates never have it.
            let name = name.strip_suffix('.').unwrap_or(name);
            let parent = || name.split_once('.').map(|(_, parent)| parent);
            self.exact.get(name).or_else(|| self.below.get(parent()?))
        });
        Arc::clone(found.map_or(&self.fallback, |held| &held.key))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tls_testing::{Made, days, handshake};

    #[test]
    fn a_name_gets_the_certificate_that_covers_it_best() {
        let certificates = [
            Made::new(&["first.test"]).certificate(),
            Made::new(&["chat.test", "*.chat.test"]).certificate(),
            Made::new(&["eu.chat.test"]).certificate(),
        ];
        let table = Table::new(&certificates[0], &certificates[1..]);
        for (name, index) in [
            (None, 0),
            (Some("first.test"), 0),
            (Some("chat.test"), 1),
            (Some("chat.test."), 1),
            (Some("us.chat.test"), 1),
            (Some("eu.chat.test"), 2),
            (Some("a.eu.chat.test"), 0),
            (Some("test"), 0),
            (Some(""), 0),
            (Some("."), 0),
            (Some("*.chat.test"), 1),
        ] {
            assert!(Arc::ptr_eq(&table.find(name), &certificates[index].key), "{name:?} gets {index}");
        }
    }

    #[test]
    fn of_two_for_one_name_the_one_that_ends_last_is_served() {
        let now = SystemTime::now();
        let short = Made::with_life(&["a.test", "*.b.test"], now, days(10)).certificate();
        let long = Made::with_life(&["a.test", "*.b.test"], now, days(20)).certificate();
        for table in [Table::new(&short, [&long]), Table::new(&long, [&short])] {
            assert!(Arc::ptr_eq(&table.find(Some("a.test")), &long.key));
            assert!(Arc::ptr_eq(&table.find(Some("x.b.test")), &long.key));
        }
        assert!(
            Arc::ptr_eq(&Table::new(&short, [&long]).find(None), &short.key),
            "the first stays the first"
        );
    }

    #[test]
    fn handshakes_get_their_certificate_and_see_a_swap_at_once() {
        let (a, b, new) = (Made::new(&["a.test"]), Made::new(&["*.b.test"]), Made::new(&["a.test"]));
        let resolver = Arc::new(Resolver::new(Table::new(&a.certificate(), [&b.certificate()])));
        let served = |name: &str| handshake(&resolver, name, &[b"np/1"]).unwrap();
        assert_eq!(served("a.test"), a.der());
        assert_eq!(served("A.TEST"), a.der());
        assert_eq!(served("x.b.test"), b.der());
        assert_eq!(served("unknown.test"), a.der());
        assert_eq!(served("127.0.0.1"), a.der(), "an address is no name");
        resolver.replace(Table::new(&new.certificate(), []));
        assert_eq!(served("a.test"), new.der());
        assert_eq!(served("x.b.test"), new.der());
    }

    #[test]
    fn a_challenge_is_answered_to_its_protocol_alone_and_only_while_it_is_open() {
        let (own, proof) = (Made::new(&["a.test"]), Made::new(&["a.test"]));
        let resolver = Arc::new(Resolver::new(Table::new(&own.certificate(), [])));
        assert!(handshake(&resolver, "a.test", &[ACME_ALPN]).is_err(), "no challenge is open");
        let answer = resolver.answer("A.test", CertifiedKey::clone(&proof.certificate().key));
        assert_eq!(handshake(&resolver, "a.test", &[ACME_ALPN]), Ok(proof.der()));
        assert_eq!(handshake(&resolver, "a.test", &[b"np/1"]), Ok(own.der()));
        assert_eq!(handshake(&resolver, "a.test", &[]), Ok(own.der()));
        assert_eq!(handshake(&resolver, "a.test", &[ACME_ALPN, b"np/1"]), Ok(own.der()));
        assert!(handshake(&resolver, "b.test", &[ACME_ALPN]).is_err(), "another name");
        assert!(handshake(&resolver, "127.0.0.1", &[ACME_ALPN]).is_err(), "no name");
        drop(answer);
        assert!(handshake(&resolver, "a.test", &[ACME_ALPN]).is_err());
    }
}
