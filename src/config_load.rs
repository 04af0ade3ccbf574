//! Layers of settings: flags, then the environment, then a file, then defaults.
//!
//! [`load`] is a pure function of its [`Sources`], so tests feed it whatever they like. Every refusal says where the
//! value stands: file and line, variable or flag.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;

use serde::Deserialize as _;
use toml::de::{DeTable, DeValue};

use crate::config::{Config, KEYS};

/// Environment variables of ours begin with this; `__` separates section and key.
pub const ENV_PREFIX: &str = "NEARPORT__";

/// What [`load`] reads.
#[derive(Debug, Clone, Copy)]
pub struct Sources<'a> {
    /// Key and value of each flag, in their order; the last one of a key wins.
    pub flags: &'a [(String, String)],
    /// The environment; names without [`ENV_PREFIX`] are skipped.
    pub env: &'a BTreeMap<String, String>,
    /// Name and text of the file, if there is one.
    pub file: Option<(&'a str, &'a str)>,
}

/// Where a value came from.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Origin {
    /// Built in.
    Default,
    /// A file and the line in it, from 1.
    File(String, usize),
    /// A variable.
    Env(String),
    /// A flag, named as `--set KEY`.
    Flag(String),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File(name, line) => write!(f, "{name}:{line}"),
            Self::Env(name) => write!(f, "environment {name}"),
            Self::Flag(key) => write!(f, "--set {key}"),
        }
    }
}

/// Settings that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// A key that does not exist.
    #[error("{at}: unknown key `{key}`{}", hint(*nearest))]
    Unknown {
        /// Where it stands.
        at: Origin,
        /// The key as written.
        key: String,
        /// The key that was probably meant.
        nearest: Option<&'static str>,
    },
    /// A value of the wrong type, out of range, or against a rule.
    #[error("{at}: `{key}`: {reason}")]
    Value {
        /// Where it stands.
        at: Origin,
        /// The key.
        key: String,
        /// What is wrong.
        reason: String,
    },
    /// The file is not TOML.
    #[error("{at}: {reason}")]
    Syntax {
        /// Where reading stopped.
        at: Origin,
        /// What the parser expected.
        reason: String,
    },
}

fn hint(nearest: Option<&str>) -> String {
    match nearest {
        Some(key) => format!(": did you mean `{key}`?"),
        None => ": `nearport config explain` lists all keys".to_owned(),
    }
}

/// Settings and where each came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Loaded {
    /// The settings.
    pub config: Config,
    /// Origin of every key that is not at its default.
    origins: BTreeMap<&'static str, Origin>,
}

impl Loaded {
    /// Where the value of `key` came from.
    #[must_use]
    pub fn origin(&self, key: &str) -> Origin {
        self.origins.get(key).cloned().unwrap_or(Origin::Default)
    }

    /// The value of `key` as TOML; `None` if it is unset.
    #[must_use]
    pub fn value(&self, key: &str) -> Option<String> {
        let table = toml::Table::try_from(&self.config).expect("settings are plain tables");
        let mut parts = key.split('.');
        let first = table.get(parts.next()?)?;
        parts.try_fold(first, |value, part| value.get(part)).map(ToString::to_string)
    }
}

/// Merges the layers.
///
/// # Errors
/// [`ConfigError`], the first one found, lowest layer first: a mistake in the file is reported even when a flag
/// overrides it.
pub fn load(sources: Sources<'_>) -> Result<Loaded, ConfigError> {
    let mut merge = Merge::default();
    if let Some((name, text)) = sources.file {
        merge.file(name, text)?;
    }
    for (name, raw) in sources.env {
        if let Some(rest) = name.strip_prefix(ENV_PREFIX) {
            merge.text(&rest.to_lowercase().replace("__", "."), raw, Origin::Env(name.clone()))?;
        }
    }
    for (key, raw) in sources.flags {
        merge.text(key, raw, Origin::Flag(key.clone()))?;
    }
    let config: Config = merge.table.try_into().expect("every value was tried alone when it was merged");
    let loaded = Loaded { config, origins: merge.origins };
    match loaded.config.check() {
        Ok(()) => Ok(loaded),
        Err((key, reason)) => Err(ConfigError::Value { at: loaded.origin(key), key: key.to_owned(), reason }),
    }
}

#[derive(Default)]
struct Merge {
    table: toml::Table,
    origins: BTreeMap<&'static str, Origin>,
}

impl Merge {
    fn file(&mut self, name: &str, text: &str) -> Result<(), ConfigError> {
        let at = |span: Option<Range<usize>>| {
            let end = span.map_or(text.len(), |span| span.start.min(text.len()));
            Origin::File(name.to_owned(), 1 + text.as_bytes()[..end].iter().filter(|b| **b == b'\n').count())
        };
        let syntax = |error: toml::de::Error| ConfigError::Syntax {
            at: at(error.span()),
            reason: error.message().to_owned(),
        };
        // The first parse knows where things stand, the second one what they are.
        let spans = DeTable::parse(text).map_err(syntax)?;
        let values: toml::Table = toml::from_str(text).map_err(syntax)?;
        self.section(spans.get_ref(), &values, "", &|span| at(Some(span)))
    }

    fn section(
        &mut self,
        spans: &DeTable<'_>,
        values: &toml::Table,
        prefix: &str,
        at: &dyn Fn(Range<usize>) -> Origin,
    ) -> Result<(), ConfigError> {
        for (name, value) in spans {
            let key = format!("{prefix}{}", name.get_ref());
            let at_key = at(name.span());
            let plain = &values[name.get_ref().as_ref()];
            match (value.get_ref(), plain) {
                (DeValue::Table(inner), toml::Value::Table(table)) if is_section(&key) => {
                    self.section(inner, table, &format!("{key}."), at)?;
                }
                _ => self.value(&key, plain.clone(), at_key)?,
            }
        }
        Ok(())
    }

    /// A value without a type of its own: what TOML makes of it, and if that does not fit, a string.
    fn text(&mut self, key: &str, raw: &str, at: Origin) -> Result<(), ConfigError> {
        let typed = format!("v = {raw}").parse::<toml::Table>().ok().and_then(|mut table| table.remove("v"));
        match typed.map(|value| self.value(key, value, at.clone())) {
            Some(Ok(())) => Ok(()),
            _ => self.value(key, toml::Value::String(raw.to_owned()), at),
        }
    }

    fn value(&mut self, key: &str, value: toml::Value, at: Origin) -> Result<(), ConfigError> {
        let Some(known) = KEYS.iter().find(|known| known.name == key) else {
            if is_section(key) {
                let reason = "this is a section, not a value".to_owned();
                return Err(ConfigError::Value { at, key: key.to_owned(), reason });
            }
            return Err(ConfigError::Unknown { at, key: key.to_owned(), nearest: nearest(key) });
        };
        // Alone on top of the defaults, so that an error is about this value and no other.
        let mut alone = toml::Table::new();
        insert(&mut alone, key, value.clone());
        if let Err(error) = Config::deserialize(alone) {
            return Err(ConfigError::Value { at, key: key.to_owned(), reason: error.message().to_owned() });
        }
        insert(&mut self.table, key, value);
        self.origins.insert(known.name, at);
        Ok(())
    }
}

fn is_section(key: &str) -> bool {
    KEYS.iter().any(|known| known.name.strip_prefix(key).is_some_and(|rest| rest.starts_with('.')))
}

fn insert(table: &mut toml::Table, key: &str, value: toml::Value) {
    match key.split_once('.') {
        None => {
            table.insert(key.to_owned(), value);
        }
        Some((section, rest)) => {
            let inner = table.entry(section).or_insert_with(|| toml::Table::new().into());
            insert(
                inner.as_table_mut().expect("sections hold tables: KEYS has no key that is one"),
                rest,
                value,
            );
        }
    }
}

/// The key that `written` was probably meant to be: by its whole path, or by its last part in another section.
fn nearest(written: &str) -> Option<&'static str> {
    let last = |key: &str| key.rsplit('.').next().unwrap_or_default().to_owned();
    let score = |known: &str| {
        let moved = 1 + edit_distance(&last(written), &last(known));
        edit_distance(written, known).min(moved)
    };
    let best = KEYS.iter().min_by_key(|known| score(known.name))?;
    // More than a third of the letters changed is another word.
    (score(best.name) <= (last(written).chars().count() / 3).max(2)).then_some(best.name)
}

/// Letters to insert, remove or replace to get from `a` to `b` (Levenshtein).
fn edit_distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], i + 1);
        for (j, y) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(x != *y);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
#[path = "config_load_tests.rs"]
mod tests;
