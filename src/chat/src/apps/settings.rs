//! What an App may have other than the process: one line of [`SETTINGS`] for each setting.
//!
//! Names are those of the file of settings without `chat.`; values are text as in such a file, of one form each, so that what is
//! stored, shown and written into the audit log is the same. [`AppSettings::set`] refuses what is wrong with the setting, what it takes
//! and what was given.

mod kind;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::callback::{CONCURRENCY_MAX, CallbackSettings, OnFailure, Token};
use crate::config::{Config, LIVE_LAST_N_MAX, MultiDevice};
use crate::people::AllowType;

use kind::Value;
pub use kind::{HIDDEN, Kind};

/// A hundred years.
const DAYS_MAX: u64 = 36_500;
const SECONDS_MAX: u64 = DAYS_MAX * 86_400;

/// Limits of calls over REST.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RestLimits {
    /// Calls in a second of one App; 0: no limit but those of the commands.
    pub app_calls_per_s: u32,
    /// Calls in a second of one command are limited as the contract says.
    pub command_rates: bool,
}

impl Default for RestLimits {
    fn default() -> Self {
        Self { app_calls_per_s: 0, command_rates: true }
    }
}

/// What holds for one App: the settings of the process, with what the App has of its own. Only what [`SETTINGS`] names differs
/// between Apps.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AppSettings {
    pub(crate) config: Config,
}

impl AppSettings {
    /// Of an App without any of its own.
    #[must_use]
    pub fn of(config: &Config) -> Self {
        // Not what other Apps have.
        Self { config: Config { apps: BTreeMap::new(), ..config.clone() } }
    }

    /// Of its calls over REST.
    #[must_use]
    pub fn rest(&self) -> RestLimits {
        self.config.rest
    }

    /// Of its back end.
    #[must_use]
    pub fn callback(&self) -> &CallbackSettings {
        &self.config.callback
    }

    /// These, with what an App has of its own over them: names and values, of which later ones count. Gives what is wrong too; that is
    /// left out. A token goes with its URL: an App that has a URL of its own has a token of its own or none, for whoever may set the URL would
    /// otherwise have the server sign with the token of another back end.
    #[must_use]
    pub fn with_own<'a>(&self, own: impl IntoIterator<Item = (&'a str, &'a str)>) -> (Self, Vec<String>) {
        let (mut settings, mut wrong, mut signed) = (self.clone(), Vec::new(), false);
        for (name, value) in own {
            match settings.set(name, value) {
                Ok(()) => signed |= name == CALLBACK_TOKEN,
                Err(why) => wrong.push(why),
            }
        }
        if !signed && settings.config.callback.url != self.config.callback.url {
            settings.config.callback.token = Token::default();
        }
        (settings, wrong)
    }

    /// Sets one by its name.
    ///
    /// # Errors
    /// What is wrong, and what is taken; then nothing has changed.
    pub fn set(&mut self, name: &str, value: &str) -> Result<(), String> {
        let setting = setting(name)?;
        let value = setting.kind.read(value).map_err(|why| format!("{name}: {why}"))?;
        (setting.set)(&mut self.config, value);
        Ok(())
    }

    /// One by its line, as text.
    #[must_use]
    pub fn get(&self, setting: &Setting) -> String {
        (setting.get)(&self.config).to_string()
    }

    /// The same for people: a secret is [`HIDDEN`].
    #[must_use]
    pub fn shown(&self, setting: &Setting) -> String {
        shown(setting.name, &self.get(setting)).to_owned()
    }
}

/// A setting that Apps may have of their own.
#[derive(Debug)]
pub struct Setting {
    /// Its key.
    pub name: &'static str,
    /// What it takes.
    pub kind: Kind,
    /// What it is for.
    pub doc: &'static str,
    /// The App's administrators may change it; else only the operator.
    pub by_app: bool,
    get: fn(&Config) -> Value,
    set: fn(&mut Config, Value),
}

/// A line whose value is a field of [`Config`].
macro_rules! row {
    ($who:ident $name:literal, $($path:ident).+, switch, $doc:literal) => {
        Setting {
            name: $name, kind: Kind::Switch, doc: $doc, by_app: row!(@by $who),
            get: |config| Value::Switch(config.$($path).+),
            set: |config, value| if let Value::Switch(value) = value { config.$($path).+ = value; },
        }
    };
    ($who:ident $name:literal, $($path:ident).+, number $from:expr, $to:expr, $doc:literal) => {
        Setting {
            name: $name, kind: Kind::Number($from, $to), doc: $doc, by_app: row!(@by $who),
            get: |config| Value::Number(config.$($path).+.try_into().unwrap_or(u64::MAX)),
            set: |config, value| if let Value::Number(value) = value {
                config.$($path).+ = value.try_into().unwrap_or_default();
            },
        }
    };
    ($who:ident $name:literal, $($path:ident).+, time $to:expr, $doc:literal) => {
        Setting {
            name: $name, kind: Kind::Time($to), doc: $doc, by_app: row!(@by $who),
            get: |config| Value::Time(config.$($path).+.into()),
            set: |config, value| if let Value::Time(value) = value {
                config.$($path).+ = value.try_into().unwrap_or_default();
            },
        }
    };
    (@by app) => { true };
    (@by operator) => { false };
}

const U32: u64 = u32::MAX as u64;

/// Secret: see [`Kind::Secret`].
pub(crate) const CALLBACK_TOKEN: &str = "callback.token";
/// What an App's administrators set as far as its network is permitted.
pub(crate) const CALLBACK_URL: &str = "callback.url";
/// Whether [`CALLBACK_TOKEN`] is used.
pub(crate) const CALLBACK_SIGN: &str = "callback.sign";

/// All of them. What an App's administrators may not change keeps one App from taking what others need.
pub const SETTINGS: &[Setting] = &[
    row!(app "recall_window", recall_window_s, time SECONDS_MAX, "how long after sending it a message may be taken back by its sender; 0s: not at all"),
    row!(app "edit_window", edit_window_s, time SECONDS_MAX, "the same for changing what a message says"),
    row!(app "roaming_days", roaming_days, number 0, DAYS_MAX, "how many days back history and sync show messages; 0: all that are kept"),
    row!(app "receipts", receipts, switch, "whether senders may ask for read receipts; if not, messages go out without"),
    Setting {
        name: "multi_device",
        kind: Kind::Choice(&["all", "single", "two", "three"]),
        doc: "which platforms of one user are online together",
        by_app: true,
        get: |config| {
            Value::Choice(match config.multi_device {
                MultiDevice::All => "all",
                MultiDevice::Single => "single",
                MultiDevice::Two => "two",
                MultiDevice::Three => "three",
            })
        },
        set: |config, value| {
            config.multi_device = match value {
                Value::Choice("single") => MultiDevice::Single,
                Value::Choice("two") => MultiDevice::Two,
                Value::Choice("three") => MultiDevice::Three,
                _ => MultiDevice::All,
            };
        },
    },
    row!(app "native_instances", native_instances, number 0, 64, "sessions of one user on the same native platform; 0: one for each device with multi_device all, else one"),
    row!(app "web_instances", web_instances, number 0, 64, "the same in browsers"),
    row!(app "user_sessions_max", user_sessions_max, number 1, 64, "devices of one user that are online; one more ends the oldest"),
    row!(operator "app_sessions_max", app_sessions_max, number 0, U32, "sessions of the App; a login above is refused with 60018; 0: unlimited"),
    row!(app "presence_native", presence_native_s, time 86_400, "how long a user counts as online after the last sign of a client that went without a word"),
    row!(app "presence_web", presence_web_s, time 86_400, "the same of a client in a browser"),
    row!(operator "live_last_n", live_last_n, number 0, LIVE_LAST_N_MAX as u64, "messages that a live room keeps for newcomers; 0: none"),
    row!(app "people.friend_check", people.friend_check, switch, "1:1 messages only among friends (20009, 20010, 20011)"),
    row!(app "people.block_silently", people.block_silently, switch, "a message to somebody who has blocked its sender looks sent and goes nowhere; false: 20007"),
    Setting {
        name: "people.allow_type",
        kind: Kind::Choice(&["allow_any", "need_confirm", "deny_any"]),
        doc: "how a user who has not said so takes applications",
        by_app: true,
        get: |config| {
            Value::Choice(match config.people.allow_type {
                AllowType::AllowAny => "allow_any",
                AllowType::NeedConfirm => "need_confirm",
                AllowType::DenyAny => "deny_any",
            })
        },
        set: |config, value| {
            config.people.allow_type = match value {
                Value::Choice("need_confirm") => AllowType::NeedConfirm,
                Value::Choice("deny_any") => AllowType::DenyAny,
                _ => AllowType::AllowAny,
            };
        },
    },
    Setting {
        name: "people.refused_words",
        kind: Kind::Words,
        doc: "words that names, signatures, remarks and wordings must not hold (40005, 30005)",
        by_app: true,
        get: |config| Value::Words(config.people.refused_words.clone()),
        set: |config, value| {
            if let Value::Words(words) = value {
                config.people.refused_words = words;
            }
        },
    },
    row!(operator "people.friends_max", people.friends_max, number 0, 100_000, "friends of one user (30010, 30014)"),
    row!(operator "people.blocks_max", people.blocks_max, number 0, 100_000, "users in one blocklist (30013)"),
    row!(operator "people.friend_groups_max", people.friend_groups_max, number 0, 1000, "friend groups of one user (30011)"),
    row!(operator "people.following_max", people.following_max, number 0, 100_000, "users that one user may follow (30010)"),
    row!(operator "people.applications_unread_max", people.applications_unread_max, number 0, 500, "applications for a friendship that one user has not read (30012)"),
    row!(app "people.push_online", people.push_online_s, time SECONDS_MAX, "how long a phone that lost its session counts as reachable by push"),
    row!(operator "people.watched_max", people.watched_max, number 0, 10_000, "users whose presence one user may watch"),
    row!(operator "people.watchers_max", people.watchers_max, number 0, 100_000, "users that may watch the presence of one user"),
    row!(operator "people.conversations_max", people.conversations_max, number 1, 3000, "conversations in a user's list"),
    row!(operator "people.pins_max", people.pins_max, number 0, 3000, "pinned conversations of one user (51012)"),
    row!(app "history_files", history_files, switch, "files of what was said in each hour, for `get_history`; if not, 1004"),
    row!(app "push.enabled", push.enabled, switch, "pushes to all members; if not, 90045"),
    row!(operator "push.per_day", push.per_day, number 0, 10_000, "pushes in a day, UTC (90047); 0: none"),
    row!(operator "push.interval", push.interval_s, time 86_400, "the least time from one push to the next one (90024)"),
    row!(operator "push.waiting_max", push.waiting_max, number 1, 1000, "pushes that are under way or wait for that (60018)"),
    row!(operator "groups.joined_max", groups.joined_max, number 0, U32, "groups that one user may be in (10037); 0: unlimited"),
    row!(operator "groups.created_per_day", groups.created_per_day, number 0, U32, "new groups in a day, UTC (10006); 0: unlimited"),
    row!(operator "groups.groups_max", groups.groups_max, number 0, U32, "groups of the App (10058); 0: unlimited"),
    row!(operator "groups.communities_max", groups.communities_max, number 0, U32, "communities of the App (10036); 0: unlimited"),
    row!(operator "groups.rooms_max", groups.rooms_max, number 0, U32, "live rooms of the App (10036); 0: unlimited"),
    row!(app "groups.topics", groups.topics, switch, "whether communities may have topics (11000); off: none is made, changed or named, those that there are stay"),
    row!(operator "groups.topics_max", groups.topics_max, number 0, 1000, "topics of one community (10037)"),
    row!(operator "groups.app_topics_max", groups.app_topics_max, number 0, U32, "topics of the App (10036); 0: unlimited"),
    row!(operator "groups.applications_max", groups.applications_max, number 1, 10_000, "applications that a group keeps"),
    row!(operator "groups.notices_max", groups.notices_max, number 0, 1_000_000, "members that are each told by a notice when their group is dismissed"),
    row!(operator "rest.app_calls_per_s", rest.app_calls_per_s, number 0, U32, "calls over REST in a second, above which 60011 is answered; 0: no limit"),
    row!(operator "rest.command_rates", rest.command_rates, switch, "whether the rates that the contract has for each command count (60007)"),
    Setting {
        name: CALLBACK_URL,
        kind: Kind::Url,
        doc: "where the App's back end hears what happens, in a public network unless callback.allow_private says otherwise; empty: nowhere",
        by_app: true,
        get: |config| Value::Url(config.callback.url.clone()),
        set: |config, value| {
            if let Value::Url(url) = value {
                config.callback.url = url;
            }
        },
    },
    Setting {
        name: "callback.events",
        kind: Kind::Events,
        doc: "what it hears of, and is asked about before it happens; []: nothing",
        by_app: true,
        get: |config| Value::Events(config.callback.events),
        set: |config, value| {
            if let Value::Events(events) = value {
                config.callback.events = events;
            }
        },
    },
    Setting {
        name: "callback.before_failure",
        kind: Kind::Choice(&["allow", "refuse"]),
        doc: "what happens if it does not answer a question within 2 s",
        by_app: true,
        get: |config| {
            Value::Choice(match config.callback.before_failure {
                OnFailure::Allow => "allow",
                OnFailure::Refuse => "refuse",
            })
        },
        set: |config, value| {
            config.callback.before_failure = match value {
                Value::Choice("refuse") => OnFailure::Refuse,
                _ => OnFailure::Allow,
            };
        },
    },
    row!(app "callback.retry_after", callback.retry_after, switch, "whether what it could not be told is told again until it was; else it is given up at once"),
    Setting {
        name: CALLBACK_TOKEN,
        kind: Kind::Secret,
        doc: "secret that requests to it are signed with, never shown; empty: they are not. An App with a URL of its own has none of all Apps'",
        by_app: true,
        get: |config| Value::Secret(config.callback.token.clone()),
        set: |config, value| {
            if let Value::Secret(token) = value {
                config.callback.token = token;
            }
        },
    },
    row!(app "callback.sign", callback.sign, switch, "whether requests are signed, if there is a token"),
    row!(operator "callback.allow_private", callback.allow_private, switch, "whether its address may be one that is not public: loopback, private networks, link-local"),
    row!(operator "callback.concurrency", callback.concurrency, number 1, CONCURRENCY_MAX as u64, "events that it is told of at once"),
];

/// A value of this setting for people: a secret that is there is [`HIDDEN`]. Others, and those of names that are not known, stay.
#[must_use]
pub fn shown<'a>(name: &str, value: &'a str) -> &'a str {
    let secret = SETTINGS.iter().any(|setting| setting.name == name && setting.kind == Kind::Secret);
    if secret && !value.is_empty() { HIDDEN } else { value }
}

/// The line of this name.
///
/// # Errors
/// That there is none, and which name is near.
pub fn setting(name: &str) -> Result<&'static Setting, String> {
    SETTINGS.iter().find(|setting| setting.name == name).ok_or_else(|| {
        let shown: String = name.chars().take(60).collect();
        let last = |name: &str| name.rsplit('.').next().unwrap_or_default().to_owned();
        let near = SETTINGS.iter().find(|setting| last(setting.name) == last(name));
        match near {
            Some(near) => format!("{shown}: no such setting of an app: did you mean {}?", near.name),
            None => format!("{shown}: no such setting of an app: `nearport app settings` lists them"),
        }
    })
}

/// Where a value is from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// The settings of the process: built in, or from its file.
    Process,
    /// `[[apps]]` in its file.
    File,
    /// The directory: set while it runs.
    Live,
}

impl Origin {
    /// As people read it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Process => "process",
            Self::File => "file",
            Self::Live => "live",
        }
    }
}

/// A setting of an App as it holds now.
#[derive(Debug, Clone)]
pub struct Shown {
    /// Which.
    pub setting: &'static Setting,
    /// As text; a secret is [`HIDDEN`].
    pub value: String,
    /// Where it is from.
    pub origin: Origin,
}

impl Shown {
    pub(super) fn of(
        setting: &'static Setting,
        now: &AppSettings,
        file: &[(String, String)],
        live: &BTreeMap<String, String>,
    ) -> Self {
        let origin = if live.contains_key(setting.name) {
            Origin::Live
        } else if file.iter().any(|(name, _)| name == setting.name) {
            Origin::File
        } else {
            Origin::Process
        };
        Self { setting, value: now.shown(setting), origin }
    }
}

/// A value in the form that is stored.
///
/// # Errors
/// As [`AppSettings::set`].
pub fn canonical(name: &str, value: &str) -> Result<String, String> {
    let setting = setting(name)?;
    let read = setting.kind.read(value).map_err(|why| format!("{name}: {why}"))?;
    Ok(read.to_string())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;
    use crate::callback::Commands;

    #[test]
    fn each_stands_once_and_its_default_is_within_its_bounds() {
        let names: BTreeSet<_> = SETTINGS.iter().map(|setting| setting.name).collect();
        assert_eq!(names.len(), SETTINGS.len());
        let mut settings = AppSettings::of(&Config::default());
        let defaults = settings.clone();
        for setting in SETTINGS {
            let value = settings.get(setting);
            settings.set(setting.name, &value).unwrap();
            assert_eq!(settings, defaults, "{}", setting.name);
        }
        settings.config.check().unwrap();
    }

    /// Two values of each setting that are not its default: both are taken, shown as given, and change nothing else.
    #[test]
    fn each_is_set_by_itself() {
        let defaults = AppSettings::of(&Config::default());
        for setting in SETTINGS {
            let values = match setting.kind {
                Kind::Switch => vec!["true".to_owned(), "false".to_owned()],
                Kind::Number(from, to) => vec![from.to_string(), to.to_string()],
                Kind::Time(_) => vec!["7s".to_owned(), "1h".to_owned()],
                Kind::Choice(words) => words.iter().map(ToString::to_string).collect(),
                Kind::Words => vec![r#"["a","ü"]"#.to_owned(), "[]".to_owned()],
                Kind::Events => vec![r#"["State.StateChange"]"#.to_owned(), "[]".to_owned()],
                Kind::Url => vec!["http://[::1]:9/x?y=z".to_owned(), String::new()],
                Kind::Secret => vec!["a secret".to_owned(), String::new()],
            };
            let mut changed = false;
            for value in values {
                let mut settings = defaults.clone();
                settings.set(setting.name, &value).unwrap();
                assert_eq!(settings.get(setting), value, "{}", setting.name);
                for other in SETTINGS.iter().filter(|other| other.name != setting.name) {
                    assert_eq!(
                        settings.get(other),
                        defaults.get(other),
                        "{} by {}",
                        other.name,
                        setting.name
                    );
                }
                settings.config.check().unwrap();
                changed |= settings != defaults;
            }
            assert!(changed, "{}", setting.name);
        }
    }

    #[test]
    fn what_is_wrong_is_told_with_what_is_taken_and_changes_nothing() {
        let mut settings = AppSettings::of(&Config::default());
        for (name, value, told) in [
            ("people.friend_chek", "true", "no such setting"),
            ("friend_check", "true", "did you mean people.friend_check?"),
            ("people.friend_check", "yes", "true or false"),
            ("recall_window", "5", "30s, 5m"),
            ("recall_window", "s", "30s, 5m"),
            ("recall_window", "1ms", "30s, 5m"),
            ("recall_window", "99999999d", "at most 36500d"),
            ("recall_window", "-1s", "30s, 5m"),
            ("roaming_days", "+1", "from 0 to 36500"),
            ("roaming_days", "36501", "from 0 to 36500"),
            ("user_sessions_max", "0", "from 1 to 64"),
            ("live_last_n", "21", "from 0 to 20"),
            ("multi_device", "four", "all, single, two, three"),
            ("people.refused_words", "word", "a list"),
            ("people.refused_words", r#"[""]"#, "1 to 64 bytes"),
            ("people.refused_words", r#"["a\u0000"]"#, "1 to 64 bytes"),
            ("callback.url", "ftp://example.org", "must begin with http"),
            ("callback.events", r#"["C2C.callbackafterSendMsg"]"#, "a list of events"),
            ("callback.events", "C2C.CallbackAfterSendMsg", "a list of events"),
            ("callback.before_failure", "deny", "allow, refuse"),
            ("callback.token", "hidden", "other than"),
            ("callback.token", "a\nb", "without control"),
            ("callback.concurrency", "257", "from 1 to 256"),
        ] {
            let error = settings.set(name, value).unwrap_err();
            assert!(error.contains(told) && error.contains(name), "{error}");
            assert_eq!(settings, AppSettings::of(&Config::default()));
        }
        assert_eq!(canonical("recall_window", "120s").unwrap(), "2m");
        assert_eq!(canonical("recall_window", "0m").unwrap(), "0s");
        // In the order of the contract, each once.
        let events = r#"["Sns.CallbackFriendAdd","State.StateChange","Sns.CallbackFriendAdd"]"#;
        assert_eq!(
            canonical("callback.events", events).unwrap(),
            r#"["State.StateChange","Sns.CallbackFriendAdd"]"#
        );
    }

    #[test]
    fn a_secret_is_neither_shown_nor_told_of_in_an_error() {
        let mut settings = AppSettings::of(&Config::default());
        let token = setting(CALLBACK_TOKEN).unwrap();
        assert_eq!(settings.shown(token), "");
        settings.set(CALLBACK_TOKEN, "s3cret").unwrap();
        assert_eq!((settings.shown(token), settings.get(token)), ("hidden".into(), "s3cret".into()));
        let long = "s3cret".repeat(100);
        assert!(!settings.set(CALLBACK_TOKEN, &long).unwrap_err().contains("s3cret"));
        assert_eq!((shown(CALLBACK_TOKEN, "x"), shown("nothing", "x")), (HIDDEN, "x"));
    }

    #[test]
    fn a_token_goes_with_its_url() {
        let mut all = AppSettings::of(&Config::default());
        all.set(CALLBACK_URL, "https://all.example").unwrap();
        all.set(CALLBACK_TOKEN, "of all").unwrap();
        let own = |own: &[(&str, &str)]| {
            let (settings, wrong) = all.with_own(own.iter().copied());
            assert!(wrong.is_empty(), "{wrong:?}");
            settings.callback().token.0.clone()
        };
        let (url, events) = ((CALLBACK_URL, "https://own.example"), ("callback.events", "[]"));
        assert_eq!(own(&[events]), "of all");
        assert_eq!(own(&[url]), "", "it is not signed by what another back end is told by");
        assert_eq!(own(&[(CALLBACK_TOKEN, "own"), url]), "own");
        assert_eq!(own(&[(CALLBACK_TOKEN, "of all"), url]), "of all", "whoever names it knows it");
        assert_eq!(own(&[(CALLBACK_TOKEN, "own"), url, (CALLBACK_URL, "https://again.example")]), "own");
        let (settings, wrong) = all.with_own([("nothing", "1"), events]);
        assert_eq!((wrong.len(), settings.callback().events), (1, Commands::default()));
    }

    proptest! {
        #[test]
        fn any_text_is_taken_or_refused_and_what_is_taken_has_one_form(at in 0..SETTINGS.len(), text in ".{0,12}|[0-9]{1,8}[smhd]?") {
            let name = SETTINGS[at].name;
            if let Ok(once) = canonical(name, &text) {
                prop_assert_eq!(canonical(name, &once), Ok(once.clone()));
            }
        }
    }
}
