//! One order at an ACME directory: account, proofs, certificate (RFC 8555 §7.4).

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use instant_acme::{
    Account, AuthorizationStatus, ChallengeType, Error, Identifier, Key, NewAccount, NewOrder, Order,
    OrderStatus, Problem, RetryPolicy,
};
use rcgen::{CertificateParams, DistinguishedName, KeyPair};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};

use crate::acme::Settings;
use crate::acme_challenge::{self, Shown, Tokens};
use crate::acme_http::Http;
use crate::acme_store::{self, Folder};
use crate::config::Challenge;
use crate::tls_pem::Certificate;
use crate::tls_resolver::{Answer, Resolver};

/// Directories check from several places and may take their time; a check that takes longer has failed.
const POLL_LIMIT: Duration = Duration::from_mins(3);
const POLL_FIRST: Duration = Duration::from_millis(500);
/// Everything together, whatever the directory does.
const ORDER_LIMIT: Duration = Duration::from_mins(10);

/// What an order needs.
#[derive(Debug)]
pub(crate) struct Orders {
    pub(crate) settings: Settings,
    pub(crate) folder: Folder,
    pub(crate) resolver: Arc<Resolver>,
}

/// Why there is no certificate.
#[derive(Debug)]
pub(crate) struct Failure {
    /// What and where.
    pub(crate) error: String,
    /// What to do.
    pub(crate) hint: &'static str,
    /// How long the directory wants to be left alone.
    pub(crate) retry_after: Option<Duration>,
    /// Label of the metric.
    pub(crate) outcome: &'static str,
}

impl Orders {
    /// Carries out one order and stores its certificate.
    ///
    /// # Errors
    /// [`Failure`]; nothing stored has changed then, but for an account that may have been registered.
    pub(crate) async fn order(&self) -> Result<Certificate, Failure> {
        let http = Http::new(self.settings.ca.as_deref()).map_err(Failure::local)?;
        let patience = http.patience();
        let done = tokio::time::timeout(ORDER_LIMIT, self.attempt(http)).await;
        let done = done.unwrap_or_else(|_| {
            Err(Failure::local(format!("no certificate within {} min", ORDER_LIMIT.as_secs() / 60)))
        });
        done.map_err(|failure| Failure { retry_after: patience.take(), ..failure })
    }

    async fn attempt(&self, http: Http) -> Result<Certificate, Failure> {
        // Bound for the time of the order. First, because no directory has to be asked to see that it cannot be.
        let tokens = Tokens::default();
        let answering = match self.settings.challenge {
            Challenge::Http01 => {
                let listener =
                    acme_challenge::bind(self.settings.http_listen).await.map_err(Failure::local)?;
                Some(acme_challenge::serve(listener, tokens.clone()))
            }
            Challenge::TlsAlpn01 => None,
        };
        let ordering = async {
            let account = self.account(http.clone()).await?;
            match self.place(&account, &tokens).await {
                // The directory has forgotten the account, or was set up anew behind the same address.
                Err(failure) if failure.outcome == "account_gone" => {
                    tracing::warn!(
                        directory = self.settings.directory,
                        "acme account is unknown there: registering again"
                    );
                    self.place(&self.register(http).await?, &tokens).await
                }
                placed => placed,
            }
        };
        match answering {
            Some(answering) => tokio::select! {
                () = answering => Err(Failure::local("the challenge port closed".to_owned())),
                ordered = ordering => ordered,
            },
            None => ordering.await,
        }
    }

    async fn account(&self, http: Http) -> Result<Account, Failure> {
        let Some(known) = self.folder.read_account().map_err(Failure::local)? else {
            return self.register(http).await;
        };
        let account = Account::builder_with_http(Box::new(http)).from_credentials(known.credentials).await?;
        if known.email != self.settings.email {
            match account.update_contacts(&refs(&self.contacts())).await.map_err(Failure::from) {
                // Placing the order meets the same answer, and knows what to do.
                Err(failure) if failure.outcome == "account_gone" => {}
                updated => {
                    updated?;
                    if let Some(account) = self.folder.read_account().map_err(Failure::local)? {
                        self.keep(acme_store::Account { email: self.settings.email.clone(), ..account })?;
                    }
                }
            }
        }
        Ok(account)
    }

    /// A new account, with the key of the one before if there was one.
    async fn register(&self, http: Http) -> Result<Account, Failure> {
        let (directory, contacts) = (self.settings.directory.clone(), self.contacts());
        let builder = Account::builder_with_http(Box::new(http));
        let contact = refs(&contacts);
        let (account, credentials) = match self.folder.read_account().map_err(Failure::local)? {
            Some(known) => {
                let der = known.credentials.private_key().secret_pkcs8_der().to_vec();
                let key = Key::from_pkcs8_der(PrivatePkcs8KeyDer::from(der.as_slice()))?;
                let key = (key, PrivateKeyDer::from(PrivatePkcs8KeyDer::from(der)));
                let made = builder.create_from_key(key, directory).await?;
                made.0.update_contacts(&contact).await?;
                made
            }
            None => {
                let new = NewAccount {
                    contact: &contact,
                    terms_of_service_agreed: true,
                    only_return_existing: false,
                };
                builder.create(&new, directory, None).await?
            }
        };
        tracing::info!(account = account.id(), "acme account registered");
        self.keep(acme_store::Account { email: self.settings.email.clone(), credentials })?;
        Ok(account)
    }

    fn keep(&self, account: acme_store::Account) -> Result<(), Failure> {
        self.folder.write_account(&account).map_err(|error| Failure::local(error.to_string()))
    }

    fn contacts(&self) -> Vec<String> {
        self.settings.email.iter().map(|email| format!("mailto:{email}")).collect()
    }

    async fn place(&self, account: &Account, tokens: &Tokens) -> Result<Certificate, Failure> {
        let names: Vec<_> = self.settings.names.iter().cloned().map(Identifier::Dns).collect();
        let mut order = account.new_order(&NewOrder::new(&names)).await?;
        let proofs = self.prove(&mut order, tokens).await?;
        let policy = RetryPolicy::new().initial_delay(POLL_FIRST).backoff(1.5).timeout(POLL_LIMIT);
        match order.poll_ready(&policy).await {
            Ok(OrderStatus::Ready) => {}
            Ok(status) => return Err(self.refused(&mut order, format!("the order is {status:?}")).await),
            Err(Error::Api(problem)) => return Err(self.refused(&mut order, problem.to_string()).await),
            Err(other) => return Err(other.into()),
        }
        drop(proofs);

        let key = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).map_err(Failure::made)?;
        let mut params = CertificateParams::new(self.settings.names.clone()).map_err(Failure::made)?;
        params.distinguished_name = DistinguishedName::new();
        let request = params.serialize_request(&key).map_err(Failure::made)?;
        order.finalize_csr(request.der()).await?;
        let chain = order.poll_certificate(&policy).await?;
        let key = key.serialize_pem();
        let certificate = accept(&chain, &key, &self.settings.names, SystemTime::now()).map_err(|why| {
            Failure::local(format!("the directory sent a certificate that is of no use: {why}"))
        })?;
        self.folder.write_certificate(&chain, &key).map_err(|error| Failure::local(error.to_string()))?;
        Ok(certificate)
    }

    /// Shows the proof of each name that the directory has not seen yet, and asks it to look.
    async fn prove(&self, order: &mut Order, tokens: &Tokens) -> Result<Vec<Proof>, Failure> {
        let kind = self.kind();
        let mut proofs = Vec::new();
        let mut authorizations = order.authorizations();
        while let Some(authorization) = authorizations.next().await {
            let mut authorization = authorization?;
            let name = authorization.identifier().to_string();
            match authorization.status {
                AuthorizationStatus::Pending => {}
                // From an order of the last days.
                AuthorizationStatus::Valid => continue,
                status => return Err(Failure::local(format!("{name}: the authorization is {status:?}"))),
            }
            let Some(mut challenge) = authorization.challenge(kind.clone()) else {
                return Err(Failure {
                    hint: "set acme.challenge to the other kind",
                    ..Failure::local(format!(
                        "{name}: the directory does not offer {}",
                        self.settings.challenge
                    ))
                });
            };
            let proof = challenge.key_authorization();
            proofs.push(match self.settings.challenge {
                Challenge::Http01 => Proof::Http { _shown: tokens.show(&challenge.token, proof.as_str()) },
                Challenge::TlsAlpn01 => {
                    let key =
                        acme_challenge::certificate(&name, proof.digest().as_ref()).map_err(Failure::made)?;
                    Proof::Tls { _answer: self.resolver.answer(&name, key) }
                }
            });
            match challenge.set_ready().await {
                Ok(()) => {}
                // A directory may look at once, and answer with what it has found.
                Err(Error::Api(problem)) => return Err(self.checked(&name, &problem)),
                Err(other) => return Err(other.into()),
            }
        }
        Ok(proofs)
    }

    /// What went wrong with an order that is no longer pending: the directory tells it at the challenges.
    async fn refused(&self, order: &mut Order, general: String) -> Failure {
        let mut authorizations = order.authorizations();
        while let Some(authorization) = authorizations.next().await {
            let Ok(mut authorization) = authorization else { break };
            if authorization.refresh().await.is_err() {
                break;
            }
            let name = authorization.identifier().to_string();
            let problem = authorization.challenges.iter().find_map(|challenge| challenge.error.clone());
            if let Some(problem) = problem {
                return self.checked(&name, &problem);
            }
        }
        Failure { hint: "the directory's documentation says what this means", ..Failure::local(general) }
    }

    /// A failure of a check that the directory made.
    fn checked(&self, name: &str, problem: &Problem) -> Failure {
        let general = Failure::from(Error::Api(problem.clone()));
        let error = format!("{name}: {} failed: {problem}", self.settings.challenge);
        if general.outcome != "refused" {
            return Failure { error, ..general };
        }
        let hint = match self.settings.challenge {
            Challenge::Http01 => {
                "the directory must reach http://NAME/.well-known/acme-challenge/ on port 80 at acme.http_listen: look at \
                 DNS, NAT and firewall"
            }
            Challenge::TlsAlpn01 => {
                "the directory must reach the edge's TCP port as port 443 of NAME, without anything that ends TLS \
                 between: look at DNS, NAT and firewall"
            }
        };
        Failure { error, hint, outcome: "unproven", ..general }
    }

    fn kind(&self) -> ChallengeType {
        match self.settings.challenge {
            Challenge::Http01 => ChallengeType::Http01,
            Challenge::TlsAlpn01 => ChallengeType::TlsAlpn01,
        }
    }
}

/// A proof that is shown as long as this lives.
enum Proof {
    Http { _shown: Shown },
    Tls { _answer: Answer },
}

fn refs(texts: &[String]) -> Vec<&str> {
    texts.iter().map(String::as_str).collect()
}

/// A directory's answer is used only if it fits: to our key, to every name, and to the clock.
fn accept(chain: &str, key: &str, names: &[String], now: SystemTime) -> Result<Certificate, String> {
    let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).map_err(|error| error.to_string())?;
    let certificate = Certificate::from_pem(chain, key)?;
    if let Some(name) = names.iter().find(|name| !certificate.covers(name)) {
        return Err(format!("it does not cover {name}"));
    }
    if certificate.left(now).is_zero() {
        return Err("it has ended: look at this machine's clock".to_owned());
    }
    Ok(certificate)
}

impl Failure {
    fn local(error: String) -> Self {
        Self { error, hint: "", retry_after: None, outcome: "failed" }
    }

    fn made(error: rcgen::Error) -> Self {
        Self::local(format!("certificate request: {error}"))
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        let kind = match &error {
            Error::Api(problem) => problem.r#type.as_deref().unwrap_or_default(),
            _ => {
                let hint = "is the directory reachable, and does acme.ca (or this system) trust it?";
                return Self { hint, outcome: "unreachable", ..Self::local(error.to_string()) };
            }
        };
        let (outcome, hint) = match kind.strip_prefix("urn:ietf:params:acme:error:").unwrap_or(kind) {
            "accountDoesNotExist" => {
                ("account_gone", "delete account.json in data/acme/ to register a new one")
            }
            "rateLimited" => {
                ("rate_limited", "nothing to do but wait; fewer names and fewer new nodes need fewer orders")
            }
            "externalAccountRequired" => (
                "refused",
                "this directory wants an account made elsewhere, which is not supported: use another one",
            ),
            "rejectedIdentifier" | "unsupportedIdentifier" | "caa" => (
                "refused",
                "the directory does not sign for a name in acme.names: look at the name and its CAA record",
            ),
            "invalidContact" | "unsupportedContact" => ("refused", "look at acme.email"),
            _ => ("refused", "the directory's documentation says what this means"),
        };
        Self { hint, outcome, ..Self::local(error.to_string()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tls_testing::{Made, days};

    #[test]
    fn a_certificate_is_used_only_if_it_fits() {
        let now = SystemTime::now();
        let names = ["a.test".to_owned(), "b.test".to_owned()];
        let good = Made::new(&["a.test", "b.test"]);
        assert!(accept(&good.chain, &good.key, &names, now).is_ok());
        let other = Made::new(&["a.test", "b.test"]);
        let one = Made::new(&["a.test"]);
        let ended = Made::with_life(&["a.test", "b.test"], now - days(9), days(8));
        for (chain, key, why) in [
            (&other.chain, &good.key, "for another key"),
            (&one.chain, &one.key, "does not cover b.test"),
            (&ended.chain, &ended.key, "has ended"),
            (&String::new(), &good.key, "no certificate in it"),
            (&"<html>".to_owned(), &good.key, "no certificate in it"),
        ] {
            let error = accept(chain, key, &names, now).unwrap_err();
            assert!(error.contains(why), "{error}");
        }
    }

    #[test]
    fn problems_are_told_apart() {
        let failure = |kind: &str| {
            let json =
                format!(r#"{{"type":"urn:ietf:params:acme:error:{kind}","detail":"why","status":400}}"#);
            Failure::from(Error::Api(serde_json::from_str(&json).unwrap()))
        };
        assert_eq!(failure("rateLimited").outcome, "rate_limited");
        assert_eq!(failure("accountDoesNotExist").outcome, "account_gone");
        assert_eq!(failure("caa").outcome, "refused");
        assert!(failure("caa").error.contains("why"));
        assert_eq!(Failure::from(Error::Str("x")).outcome, "unreachable");
    }
}
