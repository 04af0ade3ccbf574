//! Why a client is sent where it is sent, in sentences.

use std::net::IpAddr;
use std::sync::Arc;

use nearport_geo::map::{Explained, Verdict, Why};
use nearport_geo::{Pop, PopTable, World};

use crate::current::{Current, Ingredients, client_of};
use crate::databases::{Databases, State};
use crate::network::Network;
use crate::service::{Located, key_of};

/// The same as [`explain`] for who has no service: by files alone, without what running services have measured.
#[must_use]
pub fn consider(
    databases: &Databases,
    world: World,
    table: PopTable,
    ip: Option<IpAddr>,
    app: Option<u32>,
) -> Vec<String> {
    let set = databases.set();
    let place = ip.map(|ip| set.look_up(ip)).unwrap_or_default();
    let mut from = Ingredients::new(set, Arc::new(table), Arc::new(world));
    from.wanted.push(client_of(ip, &place).place());
    let current = Current::build(from);
    let client = client_of(ip, &place);
    let key = ip.map_or(0, |ip| key_of(Network::of(ip)));
    let decision = current.decide(&client, key, app);
    let probe = current.probes(&client, app, &decision, key);
    let located =
        Located { place, client, key, app, decision, probe, current: Arc::new(current), token: None };
    explain(&located, &databases.states())
}

/// One sentence for each step of the decision, then one for each PoP that came into question, then what became of the others.
#[must_use]
pub fn explain(located: &Located, files: &[State]) -> Vec<String> {
    let (place, current) = (&located.place, &located.current);
    let table = current.table();
    let mut why = Vec::new();
    let mut known = Vec::new();
    known.extend(place.country_str().map(|country| format!("country {country}")));
    known.extend(place.continent.map(|continent| format!("continent {continent}")));
    known.extend(place.position.map(|(lat, lon)| format!("position {lat:.2}, {lon:.2}")));
    known.extend(place.asn.map(|asn| format!("AS{asn}")));
    why.push(match known.is_empty() {
        true => "nothing is known of the address: it is private, reserved, or in no database".to_owned(),
        false => format!("the address: {}, by its first {} bits", known.join(", "), place.bits),
    });
    if files.is_empty() {
        why.push("no database is loaded (locate.databases)".to_owned());
    }
    for file in files {
        if let Some(error) = &file.error {
            why.push(format!("{} is not in use as it lies there: {error}", file.path.display()));
        }
    }
    let explained = current.explain(&located.client, located.key, located.app);
    why.push(format!("decided by {}: {}", explained.level.name(), explained.cell));
    let policies = table.policies(located.app, located.client.country);
    why.extend(policies.map(|policy| format!("policy {} leaves {} PoPs", policy.name, policy.pops.len())));
    why.extend(
        match explained.decision.why {
            Why::Best => None,
            Why::Full => {
                Some("everything that is up has all the clients that it takes: answered all the same")
            }
            Why::Elsewhere => {
                Some("none of those that are good for it can be named: answered with the next ones")
            }
            Why::Static => Some("every PoP is said to be down: answered as if none were"),
        }
        .map(str::to_owned),
    );
    let line = |one: &Explained| {
        let pop = table.get(one.pop)?;
        let floor = current.floor_ms(&located.client, pop);
        Some(format!("{}{}", named(one, pop), figures(one, floor)))
    };
    let shown = |one: &&Explained| matches!(one.verdict, Verdict::Named(_)) || one.expected_ms.is_some();
    why.extend(explained.pops.iter().filter(shown).filter_map(line));
    for pop in &located.probe {
        why.extend(
            table.get(*pop).map(|pop| format!("probe {} ({}): too little is known of it", pop.id, pop.place)),
        );
    }
    let groups = [
        ("left out, down or drained", Verdict::Down),
        ("left out, full or of weight 0", Verdict::Full),
        ("left out, without endpoints", Verdict::NoEndpoint),
        ("left out by policy", Verdict::Forbidden),
        ("farther off", Verdict::Farther),
    ];
    for (what, verdict) in groups {
        let those = explained.pops.iter().filter(|one| one.verdict == verdict);
        let those = those.filter_map(|one| table.get(one.pop));
        let ids: Vec<_> = those.map(|pop| pop.id.as_str()).collect();
        if !ids.is_empty() {
            why.push(format!("{what}: {}", ids.join(", ")));
        }
    }
    why
}

fn named(one: &Explained, pop: &Pop) -> String {
    let (id, place) = (&pop.id, &pop.place);
    match one.verdict {
        Verdict::Named(rank) => format!("{rank}. {id} ({place})"),
        Verdict::Reserve => format!("in reserve: {id} ({place})"),
        Verdict::Withheld(share) => {
            format!("not for this client: {id} ({place}), named to {:.0} % of them now", share * 100.0)
        }
        Verdict::Down => format!("down or drained: {id} ({place})"),
        Verdict::Full => format!("full or of weight 0: {id} ({place})"),
        Verdict::Forbidden => format!("forbidden by policy: {id} ({place})"),
        Verdict::NoEndpoint | Verdict::Farther => format!("{id} ({place})"),
    }
}

fn figures(one: &Explained, floor_ms: Option<f64>) -> String {
    let mut figures = Vec::new();
    if let Some(ms) = one.expected_ms {
        let learned = one.residual_ms.map(|ms| format!(" ({ms:+.0} ms from the distance line)"));
        figures.push(format!("expected {ms:.0} ms on average{}", learned.unwrap_or_default()));
    }
    figures.extend((one.penalty_ms > 0.0).then(|| format!("load {:+.0} ms", one.penalty_ms)));
    figures.extend((one.bias_ms != 0.0).then(|| format!("bias {:+.0} ms", one.bias_ms)));
    figures.extend(floor_ms.map(|ms| format!("light allows {ms:.0} ms")));
    if figures.is_empty() { String::new() } else { format!(": {}", figures.join(", ")) }
}
