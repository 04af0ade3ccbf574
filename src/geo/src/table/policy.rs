//! Who may be sent where: what an operator, a contract or a law asks, whatever is near.

use std::collections::BTreeSet;

use serde::Deserialize;
use toml::Spanned;

use super::{PopSet, PopTable, Refusal, name};
use crate::place::Country;

/// Policies in one table at most.
pub const POLICIES_MAX: usize = 256;

/// One rule. Where several hold for a client, a PoP must please all of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    /// For explanations.
    pub name: String,
    /// Clients of this App; `None`: of all.
    pub app: Option<u32>,
    /// Clients in these countries, ordered; none: everywhere, also where the country is unknown.
    pub countries: Vec<Country>,
    /// Where they may be sent.
    pub pops: PopSet,
}

impl Policy {
    fn holds(&self, app: Option<u32>, country: Option<Country>) -> bool {
        let ours = self.app.is_none() || self.app == app;
        let there = |country: Country| self.countries.binary_search(&country).is_ok();
        ours && (self.countries.is_empty() || country.is_some_and(there))
    }
}

/// All rules of a table.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct Policies {
    /// Those of an App last, by App.
    list: Vec<Policy>,
    /// How many are of no App.
    general: usize,
    /// What the general ones leave, by [`Country::number`], at the end where that is unknown; empty if there is none.
    by_country: Vec<PopSet>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawPolicy {
    name: Spanned<String>,
    app: Option<u32>,
    #[serde(default)]
    countries: Vec<Spanned<String>>,
    region: Option<Spanned<String>>,
    allow: Option<Vec<Spanned<String>>>,
    #[serde(default)]
    deny: Vec<Spanned<String>>,
}

impl Policies {
    pub(super) fn read(raw: Vec<Spanned<RawPolicy>>, table: &PopTable) -> Result<Self, Refusal> {
        if let Some(beyond) = raw.get(POLICIES_MAX) {
            return Err((beyond.span().start, format!("more than {POLICIES_MAX} policies: take some out")));
        }
        let mut read = Vec::with_capacity(raw.len());
        for raw in raw {
            let at = raw.span().start;
            read.push((raw.into_inner().check(at, table)?, at));
        }
        read.sort_by_key(|(policy, _)| policy.app);
        let places: Vec<usize> = read.iter().map(|(_, at)| *at).collect();
        let list: Vec<Policy> = read.into_iter().map(|(policy, _)| policy).collect();
        let general = list.iter().filter(|policy| policy.app.is_none()).count();
        let mut policies = Self { list, general, by_country: Vec::new() };
        if general > 0 {
            let countries = (0..=Country::NUMBERS).map(Country::from_number);
            let left = |country| holding(&policies.list[..general], None, country, table.all());
            policies.by_country = countries.map(left).collect();
        }
        policies.check(&places, table)?;
        Ok(policies)
    }

    /// Wherever a client is and whosever it is, somebody must be left to send it to.
    fn check(&self, places: &[usize], table: &PopTable) -> Result<(), Refusal> {
        let listed = table.listed();
        let apps: BTreeSet<Option<u32>> = self.list.iter().map(|policy| policy.app).collect();
        let countries: BTreeSet<Country> =
            self.list.iter().flat_map(|policy| policy.countries.iter().copied()).collect();
        for app in apps {
            for country in countries.iter().copied().map(Some).chain([None]) {
                if !self.allowed(table.all(), app, country).and(listed).is_empty() {
                    continue;
                }
                let holding = self.that_hold(app, country);
                let names: Vec<&str> = holding.map(|policy| policy.name.as_str()).collect();
                let last = self.list.iter().rposition(|policy| policy.holds(app, country));
                let whom = match (app, country) {
                    (Some(app), Some(country)) => format!("App {app} in {country}"),
                    (Some(app), None) => format!("App {app}"),
                    (None, Some(country)) => format!("clients in {country}"),
                    (None, None) => "everybody".to_owned(),
                };
                let at = last.and_then(|last| places.get(last)).copied().unwrap_or(0);
                let message = format!(
                    "{} leave no PoP with endpoints to {whom}: widen one of them",
                    names.join(" and ")
                );
                return Err((at, message));
            }
        }
        Ok(())
    }

    pub(super) fn allowed(&self, all: PopSet, app: Option<u32>, country: Option<Country>) -> PopSet {
        let number = country.map_or(Country::NUMBERS, Country::number);
        let general = self.by_country.get(number).copied().unwrap_or(all);
        if app.is_none() { general } else { holding(self.of(app), app, country, general) }
    }

    pub(super) fn that_hold(
        &self,
        app: Option<u32>,
        country: Option<Country>,
    ) -> impl Iterator<Item = &Policy> {
        let own = if app.is_some() { self.of(app) } else { &[] };
        self.list[..self.general].iter().chain(own).filter(move |policy| policy.holds(app, country))
    }

    /// Those of one App.
    fn of(&self, app: Option<u32>) -> &[Policy] {
        let own = &self.list[self.general..];
        let from = own.partition_point(|policy| policy.app < app);
        let to = own.partition_point(|policy| policy.app <= app);
        &own[from..to]
    }
}

fn holding(policies: &[Policy], app: Option<u32>, country: Option<Country>, all: PopSet) -> PopSet {
    let holding = policies.iter().filter(|policy| policy.holds(app, country));
    holding.fold(all, |left, policy| left.and(policy.pops))
}

impl RawPolicy {
    fn check(self, at: usize, table: &PopTable) -> Result<Policy, Refusal> {
        let policy = name(self.name, "name")?;
        let mut countries = Vec::with_capacity(self.countries.len());
        for country in self.countries {
            let code = country.get_ref().parse().map_err(|_| {
                let message = format!("{policy}: {:?} is no ISO 3166 code of two letters", country.get_ref());
                (country.span().start, message)
            })?;
            countries.push(code);
        }
        countries.sort_unstable();
        countries.dedup();
        let find = |id: &Spanned<String>| {
            let pop = table.find(id.get_ref());
            pop.ok_or_else(|| (id.span().start, format!("{policy}: there is no PoP {:?}", id.get_ref())))
        };
        let mut pops = table.all();
        if let Some(region) = &self.region {
            pops = table.select(|pop| pop.region.as_deref() == Some(region.get_ref()));
            if pops.is_empty() {
                let message = format!("{policy}: no PoP is of region {:?}", region.get_ref());
                return Err((region.span().start, message));
            }
        }
        if let Some(allow) = &self.allow {
            let allowed: Result<PopSet, Refusal> = allow.iter().map(find).collect();
            pops = pops.and(allowed?);
        }
        for id in &self.deny {
            pops.remove(find(id)?);
        }
        if pops.is_empty() {
            return Err((at, format!("{policy}: it leaves no PoP to anybody")));
        }
        Ok(Policy { name: policy, app: self.app, countries, pops })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const POPS: &str = r#"
[[pop]]
id = "de"
place = "Frankfurt"
country = "DE"
continent = "EU"
lat = 50.1
lon = 8.7
region = "eu"

[[pop]]
id = "fr"
place = "Paris"
country = "FR"
continent = "EU"
lat = 48.9
lon = 2.4
region = "eu"

[[pop]]
id = "us"
place = "New York"
country = "US"
continent = "NA"
lat = 40.7
lon = -74.0
"#;

    fn table(policies: &str) -> Result<PopTable, crate::TableError> {
        PopTable::parse(&format!("{POPS}{policies}"))
    }

    fn ids(table: &PopTable, app: Option<u32>, country: &str) -> Vec<&'static str> {
        let allowed = table.allowed(app, country.parse().ok());
        allowed.iter().map(|pop| ["de", "fr", "us"][pop.get()]).collect()
    }

    #[test]
    fn without_policies_everybody_may_go_everywhere() {
        let table = table("").unwrap();
        assert_eq!(ids(&table, Some(7), "DE"), ["de", "fr", "us"]);
        assert_eq!(table.policies(Some(7), None).count(), 0);
    }

    #[test]
    fn all_that_hold_hold_together() {
        let table = table(
            r#"
[[policy]]
name = "pinned"
app = 7
region = "eu"

[[policy]]
name = "no-fr"
countries = ["de", "CH"]
deny = ["fr"]

[[policy]]
name = "one"
app = 8
allow = ["us", "de"]
"#,
        )
        .unwrap();
        assert_eq!(ids(&table, None, "DE"), ["de", "us"]);
        assert_eq!(ids(&table, None, "SG"), ["de", "fr", "us"]);
        assert_eq!(ids(&table, None, ""), ["de", "fr", "us"]);
        assert_eq!(ids(&table, Some(7), "CH"), ["de"]);
        assert_eq!(ids(&table, Some(7), ""), ["de", "fr"]);
        assert_eq!(ids(&table, Some(8), "US"), ["de", "us"]);
        assert_eq!(ids(&table, Some(9), "US"), ["de", "fr", "us"]);
        let names: Vec<_> =
            table.policies(Some(7), "DE".parse().ok()).map(|policy| policy.name.as_str()).collect();
        assert_eq!(names, ["no-fr", "pinned"]);
    }

    #[test]
    fn what_leaves_nobody_or_names_nothing_is_refused_with_its_line() {
        let line = POPS.lines().count() + 1;
        for (policy, at, word) in [
            ("name = \"a\"\nregion = \"mars\"", 2, "region \"mars\""),
            ("name = \"a\"\nallow = [\"xx\"]", 2, "no PoP \"xx\""),
            ("name = \"a\"\ncountries = [\"D\"]", 2, "two letters"),
            ("name = \"a\"\nallow = []", 0, "nobody"),
            ("name = \"a\"\nregion = \"eu\"\nallow = [\"us\"]", 0, "leaves no PoP"),
            ("name = \"A B\"", 1, "a-z"),
            ("name = \"a\"\nappp = 1", 2, "appp"),
            // Two that are sound by themselves.
            (
                "name = \"a\"\napp = 1\nregion = \"eu\"\n[[policy]]\nname = \"b\"\ncountries = [\"US\"]\nallow = [\"us\"]",
                0,
                "b and a leave no PoP with endpoints to App 1 in US",
            ),
        ] {
            let error = table(&format!("[[policy]]\n{policy}\n")).unwrap_err();
            if word == "nobody" {
                assert!(error.message.contains("leaves no PoP"), "{error}");
            } else {
                assert!(error.message.contains(word), "{word}: {error}");
            }
            assert_eq!(error.line, line + at, "{error}");
        }
        let many: String = (0..=POLICIES_MAX).map(|n| format!("[[policy]]\nname = \"p{n}\"\n")).collect();
        assert!(table(&many).unwrap_err().message.contains("256"));
    }
}
