//! Reading a [`Spec`].

use std::str::FromStr;
use std::time::Duration;

use crate::path::Protocol;
use crate::profile::Profile;
use crate::spec::{Burst, Chance, Closed, Conditions, MtuStep, Rate, Spec, WINDOWS_MAX};

/// A text that is no [`Spec`]: which word, where, and what is wrong with it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{word}`, from character {} on: {problem}", at + 1)]
pub struct ParseError {
    /// Bytes before the word.
    pub at: usize,
    /// The word.
    pub word: String,
    /// For people.
    pub problem: String,
}

/// Every word that has a direction.
const WORDS: [&str; 11] =
    ["loss", "burst", "delay", "jitter", "order", "reorder", "dup", "rate", "mtu", "blackhole", "outage"];

/// No packet stays longer on its way than this by one word.
const DELAY_MAX: Duration = Duration::from_secs(60);

/// A NAT that forgets more often would open a socket for every packet.
const REBIND_MIN: Duration = Duration::from_millis(100);

/// QUIC and IPv6 need 1,280, IPv4 576; below this not even a TCP header passes.
const MTU_MIN: u64 = 68;

impl FromStr for Spec {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        let mut spec = Self::default();
        let mut at = 0;
        for (number, item) in text.split(',').enumerate() {
            let word = item.trim();
            let start = at + item.find(word).unwrap_or(0);
            at += item.len() + 1;
            if word.is_empty() && text.trim().is_empty() {
                break; // nothing at all is a network that does nothing
            }
            read_word(&mut spec, word, number == 0).map_err(|problem| ParseError {
                at: start,
                word: word.to_owned(),
                problem,
            })?;
        }
        Ok(spec)
    }
}

fn read_word(spec: &mut Spec, word: &str, first: bool) -> Result<(), String> {
    let Some((key, value)) = word.split_once('=') else {
        return read_name(spec, word, first);
    };
    let (key, value) = (key.trim(), value.trim());
    match key {
        "rebind" => {
            let every = time(value, Duration::from_hours(1))?;
            if every < REBIND_MIN {
                return Err(format!(
                    "at least {} must lie between two mappings",
                    crate::spec::shown(REBIND_MIN)
                ));
            }
            spec.rebind = Some(every);
        }
        "seed" => {
            spec.seed = value.parse().map_err(|_| format!("`{value}` is no seed: write a whole number"))?;
        }
        _ => match key.split_once('.') {
            Some(("up", key)) => set(&mut spec.up, key, value)?,
            Some(("down", key)) => set(&mut spec.down, key, value)?,
            Some((other, _)) => return Err(format!("`{other}` is no direction: known are up and down")),
            None => {
                set(&mut spec.up, key, value)?;
                set(&mut spec.down, key, value)?;
            }
        },
    }
    Ok(())
}

fn read_name(spec: &mut Spec, name: &str, first: bool) -> Result<(), String> {
    match Profile::named(name) {
        // The words of a profile name none, so this ends.
        Some(profile) if first => *spec = profile.spec(),
        Some(_) => return Err("a profile stands first: what follows changes it".into()),
        None if name.is_empty() => return Err("a word is missing between commas".into()),
        None => {
            let profiles = Profile::ALL.map(Profile::name).join(", ");
            let words = WORDS.join(", ");
            return Err(format!(
                "no such profile (known are {profiles}), and no word=value (known are {words}, rebind, seed)"
            ));
        }
    }
    Ok(())
}

fn set(conditions: &mut Conditions, key: &str, value: &str) -> Result<(), String> {
    match key {
        "loss" => conditions.loss = chance(value)?,
        "burst" => conditions.burst = Some(burst(value)?),
        "delay" => conditions.delay = time(value, DELAY_MAX)?,
        "jitter" => conditions.jitter = time(value, DELAY_MAX)?,
        "order" => {
            conditions.order_free = match value {
                "free" => true,
                "keep" => false,
                _ => return Err(format!("`{value}` is no order: known are keep and free")),
            }
        }
        "reorder" => {
            let (share, hold_back) = halves(value, '/');
            conditions.reorder = chance(share)?;
            conditions.hold_back = match hold_back {
                Some(hold_back) => time(hold_back, DELAY_MAX)?,
                None => Conditions::HOLD_BACK,
            };
        }
        "dup" => {
            conditions.duplicate = chance(value)?;
            if conditions.duplicate != Chance::NEVER && conditions.hold_back.is_zero() {
                conditions.hold_back = Conditions::HOLD_BACK;
            }
        }
        "rate" => conditions.rate = Some(rate(value)?),
        "mtu" => {
            let (size, from) = halves(value, '@');
            let size = bytes(size)?;
            if size < MTU_MIN {
                return Err(format!("no IP packet is shorter than {MTU_MIN} bytes"));
            }
            let step = MtuStep { from: from_time(from)?, bytes: usize::try_from(size).unwrap_or(usize::MAX) };
            conditions.mtu.retain(|other| other.from != step.from);
            let place = conditions.mtu.partition_point(|other| other.from < step.from);
            conditions.mtu.insert(place, step);
            at_most(conditions.mtu.len())?;
        }
        "blackhole" => {
            let (which, when) = halves(value, '@');
            let protocol = match which {
                "udp" => Some(Protocol::Udp),
                "tcp" => Some(Protocol::Tcp),
                "other" => Some(Protocol::Other),
                "all" => None,
                _ => return Err(format!("`{which}` is no protocol: known are udp, tcp, other and all")),
            };
            let (from, until) = match when.and_then(|when| when.split_once("..")) {
                Some((from, until)) => (from_time(Some(from))?, Some(from_time(Some(until))?)),
                None => (from_time(when)?, None),
            };
            if until.is_some_and(|until| until <= from) {
                return Err("it ends before it begins".into());
            }
            conditions.closed.push(Closed { from, until, protocol });
            at_most(conditions.closed.len())?;
        }
        "outage" => {
            let (lasts, from) = halves(value, '@');
            let (lasts, from) = (from_time(Some(lasts))?, from_time(from)?);
            if lasts.is_zero() {
                return Err("an outage lasts longer than zero".into());
            }
            conditions.closed.push(Closed { from, until: Some(from + lasts), protocol: None });
            at_most(conditions.closed.len())?;
        }
        _ => return Err(format!("`{key}` is unknown: known are {}, rebind and seed", WORDS.join(", "))),
    }
    Ok(())
}

fn at_most(windows: usize) -> Result<(), String> {
    if windows > WINDOWS_MAX {
        return Err(format!("at most {WINDOWS_MAX} of these for one direction"));
    }
    Ok(())
}

fn halves(value: &str, by: char) -> (&str, Option<&str>) {
    match value.split_once(by) {
        Some((left, right)) => (left, Some(right)),
        None => (value, None),
    }
}

fn burst(value: &str) -> Result<Burst, String> {
    let mut parts = value.splitn(3, '/');
    let mean = chance(parts.next().unwrap_or_default())?;
    let packets = match parts.next() {
        Some(packets) => packets
            .parse()
            .map_err(|_| format!("`{packets}` is no number of packets: write for example {value}/8"))?,
        None => Burst::PACKETS,
    };
    let bad_loss = parts.next().map_or(Ok(Chance::ALWAYS), chance)?;
    Burst::new(mean, packets, bad_loss).ok_or_else(|| {
        format!("no bursts of {packets} packets that lose {bad_loss} each lose {mean} of all packets")
    })
}

fn chance(value: &str) -> Result<Chance, String> {
    let no = || format!("`{value}` is no share: write for example 2% or 0.5%");
    let number = value.strip_suffix('%').ok_or_else(no)?;
    let (whole, rest) = number.split_once('.').unwrap_or((number, ""));
    if whole.len() > 3 || rest.len() > 4 || ![whole, rest].iter().all(|part| digits(part)) || whole.is_empty()
    {
        return Err(no());
    }
    let ppm: u32 = format!("{whole}{rest:0<4}").parse().map_err(|_| no())?;
    if ppm > Chance::ALWAYS.as_ppm() { Err("more than all packets".into()) } else { Ok(Chance::ppm(ppm)) }
}

fn digits(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_digit())
}

/// A whole number and what follows.
fn number(value: &str) -> Option<(u64, &str)> {
    let end = value.find(|c: char| !c.is_ascii_digit()).unwrap_or(value.len());
    Some((value[..end].parse().ok()?, &value[end..]))
}

fn time(value: &str, longest: Duration) -> Result<Duration, String> {
    let no = || format!("`{value}` is no time: write for example 50ms or 10s");
    let (number, unit) = number(value).ok_or_else(no)?;
    let ns_per = match unit {
        "ns" => 1,
        "us" => 1_000,
        "ms" => 1_000_000,
        "s" => 1_000_000_000,
        "m" => 60_000_000_000,
        "" if number == 0 => 1,
        _ => return Err(no()),
    };
    let duration =
        number.checked_mul(ns_per).map(Duration::from_nanos).filter(|duration| *duration <= longest);
    duration.ok_or_else(|| format!("longer than {}", crate::spec::shown(longest)))
}

/// A time within a run.
fn from_time(value: Option<&str>) -> Result<Duration, String> {
    value.map_or(Ok(Duration::ZERO), |value| time(value, Duration::from_hours(24)))
}

fn rate(value: &str) -> Result<Rate, String> {
    let (speed, queue) = halves(value, '/');
    let no = || format!("`{speed}` is no rate: write for example 384kbit or 1mbit");
    let (count, unit) = number(speed).ok_or_else(no)?;
    let per = match unit {
        "bit" => 1,
        "kbit" => 1_000,
        "mbit" => 1_000_000,
        "gbit" => 1_000_000_000,
        _ => return Err(no()),
    };
    let bits_per_s = count.checked_mul(per).filter(|bits| (1_000..=1_000_000_000_000).contains(bits));
    let rate = Rate::new(bits_per_s.ok_or("a rate lies between 1kbit and 1000gbit")?);
    match queue {
        None => Ok(rate),
        Some(queue) => {
            let queue_bytes = bytes(queue)?;
            if queue_bytes < 1_500 {
                return Err("a queue holds at least one packet: 1500".into());
            }
            Ok(Rate { queue_bytes, ..rate })
        }
    }
}

fn bytes(value: &str) -> Result<u64, String> {
    let no = || format!("`{value}` is no size: write for example 1280 or 64kb");
    let (count, unit) = number(value).ok_or_else(no)?;
    let per = match unit {
        "" | "b" => 1,
        "kb" => 1 << 10,
        "mb" => 1 << 20,
        _ => return Err(no()),
    };
    count.checked_mul(per).filter(|bytes| *bytes <= 1 << 30).ok_or_else(|| "more than 1024mb".into())
}

#[cfg(test)]
#[path = "parse_tests.rs"]
mod tests;
