//! What settings take: from text to a value and back, in one form.

use crate::callback::{self, Command, Commands, TOKEN_BYTES_MAX, Token};

/// Words that are refused in names: how many, and the bytes of one.
const WORDS_MAX: usize = 1000;
const WORD_BYTES_MAX: usize = 64;

/// What stands in place of a secret wherever values are shown or written down. No secret is this.
pub const HIDDEN: &str = "hidden";

/// What a setting takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// `true` or `false`.
    Switch,
    /// A whole number, from and up to.
    Number(u64, u64),
    /// A time as `30s`, `5m`, `2h`, `7d`, in whole seconds up to so many.
    Time(u64),
    /// One of these words.
    Choice(&'static [&'static str]),
    /// A list of words in JSON.
    Words,
    /// A list of events in JSON, by their names.
    Events,
    /// Where a back end is.
    Url,
    /// A text that is not shown.
    Secret,
}

impl Kind {
    /// For people: what may be given.
    #[must_use]
    pub fn takes(self) -> String {
        match self {
            Self::Switch => "true or false".to_owned(),
            Self::Number(from, to) => format!("a whole number from {from} to {to}"),
            Self::Time(most) => {
                format!("a time in whole seconds such as 30s, 5m, 2h, 7d, at most {}", Time(most))
            }
            Self::Choice(words) => format!("one of {}", words.join(", ")),
            Self::Words => format!(
                "a list such as [\"one\",\"two\"], of at most {WORDS_MAX} words of 1 to {WORD_BYTES_MAX} bytes"
            ),
            Self::Events => "a list of events such as [\"C2C.CallbackAfterSendMsg\"]".to_owned(),
            Self::Url => "a URL such as https://app.example.org/imcallback, or nothing at all".to_owned(),
            Self::Secret => {
                format!(
                    "a text of at most {TOKEN_BYTES_MAX} bytes without control characters, other than {HIDDEN:?}"
                )
            }
        }
    }

    pub(super) fn read(self, text: &str) -> Result<Value, String> {
        let read = match self {
            Self::Switch => text.parse().ok().map(Value::Switch),
            Self::Number(from, to) => digits(text).filter(|n| (from..=to).contains(n)).map(Value::Number),
            Self::Time(most) => seconds(text).filter(|n| *n <= most).map(Value::Time),
            Self::Choice(words) => words.iter().find(|word| **word == text).map(|word| Value::Choice(word)),
            Self::Words => serde_json::from_str(text)
                .ok()
                .filter(|words: &Vec<String>| {
                    let fits =
                        |word: &String| (1..=WORD_BYTES_MAX).contains(&word.len()) && !word.contains('\0');
                    words.len() <= WORDS_MAX && words.iter().all(fits)
                })
                .map(Value::Words),
            Self::Events => {
                let names: Option<Vec<String>> = serde_json::from_str(text).ok();
                names
                    .and_then(|names| names.iter().map(|name| Command::find(name)).collect())
                    .map(Value::Events)
            }
            Self::Url if text.is_empty() => Some(Value::Url(String::new())),
            Self::Url => {
                callback::url(text).map_err(|why| format!("{why}: nothing was changed"))?;
                Some(Value::Url(text.to_owned()))
            }
            Self::Secret => {
                let fits = text.len() <= TOKEN_BYTES_MAX
                    && text != HIDDEN
                    && !text.contains(|c: char| c.is_control());
                fits.then(|| Value::Secret(Token(text.to_owned())))
            }
        };
        read.ok_or_else(|| {
            let given: String = text.chars().take(40).collect();
            match self {
                Self::Secret => format!("takes {}: nothing was changed", self.takes()),
                _ => format!("takes {}, not {given:?}: nothing was changed", self.takes()),
            }
        })
    }
}

/// Digits and nothing else: `parse` takes a sign too.
fn digits(text: &str) -> Option<u64> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok())?
}

const UNITS: [(&str, u64); 4] = [("d", 86_400), ("h", 3600), ("m", 60), ("s", 1)];

fn seconds(text: &str) -> Option<u64> {
    let (unit, seconds) = UNITS.iter().find(|(unit, _)| text.ends_with(unit))?;
    digits(&text[..text.len() - unit.len()]).filter(|_| text.len() > 1)?.checked_mul(*seconds)
}

/// A value of a setting.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Value {
    Switch(bool),
    Number(u64),
    Time(u64),
    Choice(&'static str),
    Words(Vec<String>),
    Events(Commands),
    Url(String),
    Secret(Token),
}

impl std::fmt::Display for Value {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Switch(on) => write!(f, "{on}"),
            Self::Number(number) => write!(f, "{number}"),
            Self::Time(seconds) => Time(*seconds).fmt(f),
            Self::Choice(word) => f.write_str(word),
            Self::Words(words) => f.write_str(&serde_json::to_string(words).unwrap_or_default()),
            Self::Events(events) => {
                let names: Vec<_> = events.iter().map(Command::name).collect();
                f.write_str(&serde_json::to_string(&names).unwrap_or_default())
            }
            Self::Url(text) | Self::Secret(Token(text)) => f.write_str(text),
        }
    }
}

/// Seconds as people write them.
struct Time(u64);

impl std::fmt::Display for Time {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let whole = |(_, seconds): &&(&str, u64)| self.0 > 0 && self.0.is_multiple_of(*seconds);
        let (unit, seconds) = UNITS.iter().find(whole).unwrap_or(&UNITS[3]);
        write!(f, "{}{unit}", self.0 / seconds)
    }
}
