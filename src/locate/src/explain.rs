//! Why a client is sent where it is sent, in sentences.

use nearport_geo::PopIndex;

use crate::atlas::{Answer, Atlas, Level};
use crate::databases::State;
use crate::mmdb::Place;

/// One sentence for each step of the decision.
#[must_use]
pub fn explain(place: &Place, answer: &Answer, atlas: &Atlas, files: &[State]) -> Vec<String> {
    let mut why = Vec::new();
    let mut known = Vec::new();
    known.extend(place.country_str().map(|country| format!("country {country}")));
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
    why.push(match answer.level {
        Level::Position => "decided by position, to a degree".to_owned(),
        Level::Country => format!("decided by country: {} PoPs that cover its cities", answer.pops.len()),
        Level::Everybody => "decided for everybody: PoPs that cover the people of the world".to_owned(),
    });
    if answer.fail_static {
        why.push("every PoP is said to be down: answered as if none were".to_owned());
    } else {
        let out =
            atlas.table().iter().filter(|(pop, _)| !atlas.live().has(*pop)).map(|(_, pop)| pop.id.as_str());
        let out: Vec<_> = out.collect();
        if !out.is_empty() {
            why.push(format!("left out, down or without endpoints: {}", out.join(", ")));
        }
    }
    let line = |rank: String, pop: PopIndex| {
        let row = atlas.table().get(pop)?;
        let rtt = answer.expected_ms.get(pop.get()).copied().unwrap_or_default();
        let floor =
            atlas.floor_ms(place, pop).map_or_else(String::new, |ms| format!(", light allows {ms:.0} ms"));
        Some(format!("{rank} {} ({}): expected {rtt:.0} ms on average{floor}", row.id, row.place))
    };
    let ranked = answer.pops.iter().zip(1..).filter_map(|(pop, rank)| line(format!("{rank}."), *pop));
    let probes = answer.probe.iter().filter_map(|pop| line("probe".to_owned(), *pop));
    why.extend(ranked.chain(probes));
    why
}
