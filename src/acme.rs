//! Certificates from an ACME directory (RFC 8555), ordered and renewed while the node runs.
//!
//! [`Acme::keep`] orders when there is no certificate, when it covers other names than are wanted, and when two thirds of
//! its life are over. What it gets it stores and gives to [`Certificates`]; until then the node serves what it has, at
//! the first start the development CA's. A failure is retried with growing pauses, and at once on SIGHUP.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_lc_rs::digest;
use metrics::{Unit, counter, describe_counter, describe_gauge, gauge};
use tokio::sync::{Notify, watch};

use crate::acme_order::{Failure, Orders};
use crate::acme_schedule::{renewal, wait};
use crate::acme_store::Folder;
use crate::config::{self, Challenge};
use crate::reload::Reloads;
use crate::tls::Certificates;
use crate::tls_pem::Certificate;

/// The longest sleep: a clock that was set, or a machine that slept, is noticed after that.
const LOOK: Duration = Duration::from_hours(1);

/// What is wanted, checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Settings {
    pub(crate) directory: String,
    pub(crate) email: Option<String>,
    /// At least one.
    pub(crate) names: Vec<String>,
    pub(crate) challenge: Challenge,
    pub(crate) http_listen: SocketAddr,
    pub(crate) ca: Option<PathBuf>,
}

impl Settings {
    /// `None` if no directory is configured.
    pub(crate) fn of(config: &config::Acme) -> Option<Self> {
        let config = config.clone();
        Some(Self {
            directory: config.directory?,
            email: config.email,
            names: config.names.iter().map(|name| name.to_ascii_lowercase()).collect(),
            challenge: config.challenge,
            http_listen: config.http_listen,
            ca: config.ca,
        })
    }
}

/// Where the certificate of `config` is kept below the data directory, if ACME is configured.
pub(crate) fn certificate_file(config: &config::Acme, data: &Path) -> Option<PathBuf> {
    Some(folder(config.directory.as_deref()?, data).certificate())
}

fn folder(directory: &str, data: &Path) -> Folder {
    Folder::new(&data.join("acme"), directory)
}

/// Whether orders are placed. A node that leaves, or is being taken over, stops: another one orders for the same names by
/// then, and a proof that leads here may not lead here any more.
#[derive(Debug, Clone)]
pub(crate) struct Gate(Arc<watch::Sender<bool>>);

impl Gate {
    /// Ends an order under way, and places none until [`Self::open`].
    pub(crate) fn close(&self) {
        self.0.send_replace(false);
    }

    /// Orders whatever is due.
    pub(crate) fn open(&self) {
        self.0.send_replace(true);
    }
}

impl Default for Gate {
    fn default() -> Self {
        Self(Arc::new(watch::Sender::new(true)))
    }
}

/// The ACME client of a node.
#[derive(Debug)]
pub(crate) struct Acme {
    orders: Orders,
    certificates: Arc<Certificates>,
    /// Somebody asks to look whether an order is due.
    asked: Arc<Notify>,
    gate: Gate,
}

/// When the next order is due, and how many have failed before it.
#[derive(Debug)]
struct Plan {
    due: SystemTime,
    failures: u32,
}

impl Acme {
    /// `None` if no directory is configured.
    pub(crate) fn new(config: &config::Acme, data: &Path, certificates: &Arc<Certificates>) -> Option<Self> {
        let settings = Settings::of(config)?;
        describe_counter!("nearport_acme_orders_total", "orders of certificates, by outcome");
        describe_counter!("nearport_acme_http_requests_total", "requests to the challenge port, by status");
        describe_gauge!(
            "nearport_acme_next_order_seconds",
            Unit::Seconds,
            "when the next order is due, as Unix time"
        );
        let folder = folder(&settings.directory, data);
        let orders = Orders { settings, folder, resolver: certificates.resolver() };
        let (asked, gate) = (Arc::default(), Gate::default());
        Some(Self { orders, certificates: Arc::clone(certificates), asked, gate })
    }

    /// To stop it.
    pub(crate) fn gate(&self) -> Gate {
        self.gate.clone()
    }

    /// On SIGHUP, whoever has mended what failed need not wait for the end of a pause.
    pub(crate) fn reload_with(&self, reloads: &mut Reloads) {
        let asked = Arc::clone(&self.asked);
        reloads.add("acme", move || {
            asked.notify_one();
            Ok("an order is placed now if one is due".to_owned())
        });
    }

    /// Orders whenever it is time and the gate is open, for as long as the future is polled. Dropping it ends an order
    /// under way, which the directory forgets by itself.
    pub(crate) async fn keep(self) -> Infallible {
        let mut gate = self.gate.0.subscribe();
        let mut plan = Plan { due: self.due(SystemTime::now()), failures: 0 };
        loop {
            // Waiting fails when the other end is gone, which `self` holds.
            let _ = gate.wait_for(|open| *open).await;
            tokio::select! {
                never = self.order_when_due(&mut plan) => match never {},
                _ = gate.wait_for(|open| !*open) => tracing::info!("no acme orders while the node leaves"),
            }
        }
    }

    /// Dropped in an order, it leaves that one due.
    async fn order_when_due(&self, plan: &mut Plan) -> Infallible {
        loop {
            gauge!("nearport_acme_next_order_seconds").set(unix_s(plan.due));
            let left = plan.due.duration_since(SystemTime::now()).unwrap_or_default();
            if left.is_zero() {
                plan.due = self.order(&mut plan.failures).await;
                continue;
            }
            tokio::select! {
                () = tokio::time::sleep(left.min(LOOK)) => {}
                () = self.asked.notified() => plan.due = self.due(SystemTime::now()),
            }
        }
    }

    /// When the stored certificate is to be renewed; in the past if there is none that fits.
    fn due(&self, now: SystemTime) -> SystemTime {
        let path = self.orders.folder.certificate();
        match Certificate::load(&path, &path) {
            Ok(stored) if self.orders.settings.names.iter().all(|name| stored.covers(name)) => {
                renewal_of(&stored)
            }
            Ok(_) => now,
            Err(error) => {
                if path.exists() {
                    tracing::warn!(%error, "stored acme certificate cannot be used: ordering a new one");
                }
                now
            }
        }
    }

    /// One order. When the next one is due.
    async fn order(&self, failures: &mut u32) -> SystemTime {
        let Settings { directory, names, .. } = &self.orders.settings;
        let names = names.join(" ");
        tracing::info!(directory, names, "acme order begins");
        let ordered = self.orders.order().await;
        let now = SystemTime::now();
        match ordered {
            Ok(certificate) => {
                *failures = 0;
                counter!("nearport_acme_orders_total", "outcome" => "issued").increment(1);
                let due = renewal_of(&certificate);
                let renewal_in = shown(due.duration_since(now).unwrap_or_default());
                tracing::info!(directory, names, renewal_in, "acme certificate issued");
                let certificates = Arc::clone(&self.certificates);
                let reloaded = tokio::task::spawn_blocking(move || certificates.reload(now)).await;
                if let Err(error) = reloaded {
                    tracing::error!(%error, "the look at certificates panicked");
                }
                due
            }
            Err(Failure { error, hint, retry_after, outcome }) => {
                *failures = failures.saturating_add(1);
                counter!("nearport_acme_orders_total", "outcome" => outcome).increment(1);
                let pause = wait(*failures, retry_after, dice());
                let retry_in = shown(pause);
                // With a certificate in use there is time; the warnings before its end count it.
                if self.orders.folder.certificate().exists() {
                    tracing::warn!(directory, names, error, hint, retry_in, "acme order failed");
                } else {
                    tracing::error!(
                        directory,
                        names,
                        error,
                        hint,
                        retry_in,
                        "acme order failed: no certificate yet"
                    );
                }
                now + pause
            }
        }
    }
}

fn renewal_of(certificate: &Certificate) -> SystemTime {
    // Of the certificate, so that a restart comes to the same time.
    let hash = digest::digest(&digest::SHA256, &certificate.key.cert[0]);
    let dice = hash.as_ref()[..4].iter().fold(0_u32, |sum, byte| sum << 8 | u32::from(*byte));
    renewal(certificate.not_before, certificate.not_after, f64::from(dice) / f64::from(u32::MAX))
}

fn dice() -> f64 {
    let mut bytes = [0; 4];
    // Without random bytes there would have been no key either.
    let _ = aws_lc_rs::rand::fill(&mut bytes);
    f64::from(u32::from_le_bytes(bytes)) / f64::from(u32::MAX)
}

fn unix_s(at: SystemTime) -> f64 {
    at.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64()
}

/// Whole units, for people.
fn shown(duration: Duration) -> String {
    let s = duration.as_secs();
    let (value, unit) = match s {
        0..120 => (s, "s"),
        120..7_200 => (s / 60, "m"),
        7_200..172_800 => (s / 3_600, "h"),
        _ => (s / 86_400, "d"),
    };
    format!("{value}{unit}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tls_testing::{Made, days};

    #[test]
    fn the_time_of_renewal_is_the_certificates_own() {
        let start = SystemTime::now();
        let make = || Made::with_life(&["a.test"], start, days(90)).certificate();
        let one = make();
        assert_eq!(renewal_of(&one), renewal_of(&one.clone()));
        assert_ne!(renewal_of(&one), renewal_of(&make()), "another one has another time");
        let after = renewal_of(&one).duration_since(start).unwrap();
        assert!(after > days(59) && after < days(65), "{after:?}");
    }

    #[test]
    fn what_is_stored_decides_when_to_order() {
        let dir = tempfile::tempdir().unwrap();
        let mut config = config::Acme {
            directory: Some("https://acme.test/dir".into()),
            names: vec!["A.test".into()],
            ..config::Acme::default()
        };
        let file = certificate_file(&config, dir.path()).unwrap();
        let now = SystemTime::now();
        let tls = config::Tls { dev_dir: dir.path().join("dev"), ..config::Tls::default() };
        let open = || Certificates::open(&tls, [127, 0, 0, 1].into(), Some(&file), now).unwrap();
        let due = |config: &config::Acme| Acme::new(config, dir.path(), &open()).unwrap().due(now);
        assert_eq!(due(&config), now, "nothing is stored");

        let made = Made::with_life(&["a.test", "b.test"], now, days(90));
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(&file, format!("{}{}", made.chain, made.key)).unwrap();
        assert!(due(&config) > now + days(59));
        config.names.push("c.test".into());
        assert_eq!(due(&config), now, "another name is wanted");
        config.names = vec!["b.test".into()];
        assert!(due(&config) > now + days(59));
        std::fs::write(&file, &made.chain).unwrap();
        assert_eq!(due(&config), now, "the key is lost");
        config.directory = None;
        assert!(Acme::new(&config, dir.path(), &open()).is_none());
    }

    #[test]
    fn waits_are_shown_in_whole_units() {
        let cases =
            [(59, "59s"), (119, "119s"), (120, "2m"), (7_199, "119m"), (7_200, "2h"), (172_800, "2d")];
        for (s, text) in cases {
            assert_eq!(shown(Duration::from_secs(s)), text);
        }
    }
}
