//! `[[apps]]`: what an App has other than the others, and `audit.*`.

use std::collections::BTreeMap;

use nearport_chat::apps::{AppSettings, shown};
use nearport_chat::audit::log;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// One `[[apps]]`: the App, and settings of `nearport app settings` by their names, `people.friend_check = true`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct AppEntry {
    /// `sdkappid`.
    pub app: u32,
    /// Values as text, by name.
    #[serde(flatten, serialize_with = "without_secrets")]
    pub settings: BTreeMap<String, String>,
}

fn without_secrets<S: Serializer>(
    settings: &BTreeMap<String, String>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.collect_map(settings.iter().map(|(name, value)| (name, shown(name, value))))
}

impl<'de> Deserialize<'de> for AppEntry {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut table = toml::Table::deserialize(deserializer)?;
        let app = table.remove("app").ok_or_else(|| D::Error::custom("it needs `app = SDKAPPID` in it"))?;
        let app = app.as_integer().and_then(|app| u32::try_from(app).ok());
        let app = app.ok_or_else(|| D::Error::custom("app is the number of an App"))?;
        let mut settings = BTreeMap::new();
        flatten("", table, &mut settings).map_err(D::Error::custom)?;
        Ok(Self { app, settings })
    }
}

fn flatten(prefix: &str, table: toml::Table, out: &mut BTreeMap<String, String>) -> Result<(), String> {
    for (name, value) in table {
        let name = format!("{prefix}{name}");
        let text = match value {
            toml::Value::Table(inner) => {
                flatten(&format!("{name}."), inner, out)?;
                continue;
            }
            toml::Value::String(text) => text,
            toml::Value::Integer(number) => number.to_string(),
            toml::Value::Boolean(on) => on.to_string(),
            toml::Value::Array(list) => serde_json::to_string(&list).map_err(|error| error.to_string())?,
            toml::Value::Float(_) | toml::Value::Datetime(_) => {
                return Err(format!("{name}: write true, false, a number, a text or a list of texts"));
            }
        };
        out.insert(name, text);
    }
    Ok(())
}

/// What the backend has of them.
pub(crate) fn backend(apps: &[AppEntry]) -> BTreeMap<u32, Vec<(String, String)>> {
    let of = |entry: &AppEntry| (entry.app, entry.settings.clone().into_iter().collect());
    apps.iter().map(of).collect()
}

/// Checks entries over what all Apps have.
pub(crate) fn check(apps: &[AppEntry], all: &nearport_chat::Config) -> Result<(), (&'static str, String)> {
    for (at, entry) in apps.iter().enumerate() {
        if apps[..at].iter().any(|other| other.app == entry.app) {
            return Err(("apps", format!("app {} stands twice: write one [[apps]] for it", entry.app)));
        }
        let mut settings = AppSettings::of(all);
        for (name, value) in &entry.settings {
            settings.set(name, value).map_err(|why| ("apps", format!("app {}: {why}", entry.app)))?;
        }
    }
    Ok(())
}

/// `audit.*`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[expect(missing_docs, reason = "documented in KEYS, where `config explain` finds it")]
pub struct Audit {
    pub messages: bool,
    pub retention_days: u32,
    pub records_max: u64,
}

impl Default for Audit {
    fn default() -> Self {
        let log::Config { messages, retention_days, records_max } = log::Config::default();
        Self { messages, retention_days, records_max }
    }
}

impl Audit {
    pub(crate) fn check(&self) -> Result<(), (&'static str, String)> {
        if self.records_max > 0 && self.records_max < 2 * log::SEGMENT {
            let least = 2 * log::SEGMENT;
            return Err((
                "audit.records_max",
                format!("must be 0, or at least {least}: the oldest go by {}", log::SEGMENT),
            ));
        }
        Ok(())
    }

    pub(crate) fn backend(&self) -> log::Config {
        let Self { messages, retention_days, records_max } = *self;
        log::Config { messages, retention_days, records_max }
    }
}

#[cfg(test)]
mod tests {
    use crate::config::Config;

    fn load(text: &str) -> Result<Config, String> {
        let config: Config = toml::from_str(text).map_err(|error| error.message().to_owned())?;
        config.check().map_err(|(key, why)| format!("{key}: {why}"))?;
        Ok(config)
    }

    #[test]
    fn an_app_has_what_its_entry_says_and_mistakes_are_named() {
        let text = "[[apps]]\napp = 7\nrecall_window = \"5m\"\npeople.friend_check = true\n\
                    \"groups.joined_max\" = 3\npeople.refused_words = [\"x\"]\n[[apps]]\napp = 8\n";
        let config = load(text).unwrap();
        let values: Vec<_> = config.apps[0].settings.iter().map(|(k, v)| format!("{k}={v}")).collect();
        assert_eq!(
            values,
            [
                "groups.joined_max=3",
                "people.friend_check=true",
                "people.refused_words=[\"x\"]",
                "recall_window=5m"
            ]
        );
        // What `config print` writes is the same again.
        assert_eq!(load(&toml::to_string(&config).unwrap()).unwrap(), config);
        let text = "[[apps]]\napp = 7\ncallback.url = \"https://example.org\"\ncallback.token = \"s3cret\"\n";
        let printed = toml::to_string(&load(text).unwrap()).unwrap();
        assert!(printed.contains("hidden") && !printed.contains("s3cret"), "{printed}");
        for (text, told) in [
            ("[[apps]]\napp = 7\ncallback.url = \"example.org\"\n", "must begin with http"),
            ("[[apps]]\napp = 7\ncallback.events = [\"C2C\"]\n", "takes a list of events"),
            ("[callback]\ntoken = \"hidden\"\n", "other than"),
            ("[[apps]]\nrecall_window = \"5m\"\n", "needs `app"),
            ("[[apps]]\napp = -1\n", "the number of an App"),
            ("[[apps]]\napp = 7\n[[apps]]\napp = 7\n", "stands twice"),
            ("[[apps]]\napp = 7\nrecall_windw = \"5m\"\n", "no such setting"),
            ("[[apps]]\napp = 7\nrecall_window = 5\n", "takes a time"),
            ("[[apps]]\napp = 7\nroaming_days = 1.5\n", "write true, false"),
            ("[audit]\nrecords_max = 10\n", "audit.records_max: must be 0, or at least"),
        ] {
            let error = load(text).unwrap_err();
            assert!(error.contains(told), "{error}");
        }
    }
}
