//! What is said on a steering link. Pure: no I/O, no clock.
//!
//! ```text
//! frame = length:u32 JSON            ; length in octets of the JSON, at most 64 KiB
//! ```
//!
//! An edge begins with [`Up::Hello`] and is answered with [`Down::Welcome`] or [`Down::Refused`], which all versions read, so that two
//! programs of different versions part with a sentence. From then on each side says something at least every second:
//! an edge its [`Report`], a locator [`Down::Alive`] if it has nothing else. JSON, because a link carries a few hundred octets a second,
//! and people will look at them.

use std::net::IpAddr;

use nearport_geo::ID_BYTES_MAX;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::order::{ORDERS_MAX, Sealed};

/// The versions that this code speaks, oldest and newest.
pub const VERSIONS: (u16, u16) = (1, 1);

/// Longest frame, without its length.
pub const FRAME_BYTES_MAX: usize = 64 * 1024;

/// Results of checks in one message.
pub const VOTES_MAX: usize = 256;

/// Addresses of one PoP that are checked.
pub const ADDRESSES_MAX: usize = 8;

/// Longest endpoint, `HOST:PORT`.
const ENDPOINT_BYTES_MAX: usize = 262;

/// Longest reason of a refusal.
const REASON_BYTES_MAX: usize = 512;

/// Edge to locator.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Up {
    /// First: who comes.
    Hello(Hello),
    /// Each second.
    Report(Report),
    /// What it saw of other PoPs since it said so last.
    Votes(Vec<Vote>),
    /// Orders that it knows.
    Orders(Vec<Sealed>),
}

/// Locator to edge.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Down {
    /// First: it may stay; what follows is in this version.
    Welcome {
        /// Within [`VERSIONS`] of both.
        version: u16,
    },
    /// First and last: it may not.
    Refused {
        /// For people.
        reason: String,
    },
    /// The PoPs to check, in place of those before.
    Table(Vec<Target>),
    /// Orders that it knows.
    Orders(Vec<Sealed>),
    /// Nothing to say, but here.
    Alive,
}

/// Who comes. Fields of later versions are ignored until the versions are compared.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Hello {
    /// Versions that the edge speaks, oldest and newest.
    pub versions: (u16, u16),
    /// Its program's version, for people.
    pub program: String,
    /// Number of its node, which its certificate proves.
    pub node: u16,
    /// The PoP that it belongs to.
    pub pop: String,
    /// Drawn by each process: tells an edge that comes again from another one that claims its number.
    pub instance: u64,
}

/// How an edge is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Report {
    /// Live sessions.
    pub sessions: u32,
    /// Sessions that it is good for; `None`: its part of what the table says of its PoP.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub capacity: Option<u32>,
    /// It takes no new ones.
    pub draining: bool,
}

/// One check of one PoP.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Vote {
    /// Which.
    pub pop: String,
    /// It answered in time.
    pub good: bool,
}

/// A PoP to check.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Target {
    /// Its name.
    pub pop: String,
    /// Where clients connect, `HOST:PORT`.
    pub endpoint: String,
    /// It speaks QUIC there; else TCP only.
    pub udp: bool,
    /// Addresses of that host; none: it is looked up.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub addresses: Vec<IpAddr>,
}

/// Why bytes are not this link's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MessageError {
    /// Above [`FRAME_BYTES_MAX`], or nothing.
    #[error("a frame of {0} bytes")]
    Length(usize),
    /// Not a message, or one with more in it than may be.
    #[error("not understood: {0}")]
    Garbled(String),
    /// No version in common.
    #[error("the other program ({program}) speaks versions {oldest} to {newest} of the steering link, this one {} to {}", VERSIONS.0, VERSIONS.1)]
    Version {
        /// The other side's oldest.
        oldest: u16,
        /// The other side's newest.
        newest: u16,
        /// Its version.
        program: String,
    },
}

/// The octets that follow this length.
///
/// # Errors
/// [`MessageError::Length`].
pub fn length(head: [u8; 4]) -> Result<usize, MessageError> {
    let length = u32::from_be_bytes(head) as usize;
    if (1..=FRAME_BYTES_MAX).contains(&length) { Ok(length) } else { Err(MessageError::Length(length)) }
}

/// A message as a frame. What is too long for one is [`MessageError::Length`]: nothing within the bounds of this module is.
///
/// # Errors
/// [`MessageError`].
pub fn encode<T: Serialize>(message: &T) -> Result<Vec<u8>, MessageError> {
    let mut out = vec![0; 4];
    serde_json::to_writer(&mut out, message).map_err(|error| MessageError::Garbled(error.to_string()))?;
    let length = out.len() - 4;
    let head = u32::try_from(length).map_err(|_| MessageError::Length(length))?.to_be_bytes();
    self::length(head)?;
    out[..4].copy_from_slice(&head);
    Ok(out)
}

/// Reads what stands behind a length.
///
/// # Errors
/// [`MessageError::Garbled`], also for lists that are longer than they may be.
pub fn decode<T: DeserializeOwned + Bounded>(json: &[u8]) -> Result<T, MessageError> {
    let message: T =
        serde_json::from_slice(json).map_err(|error| MessageError::Garbled(error.to_string()))?;
    message.check().map_err(|what| MessageError::Garbled(what.to_owned()))?;
    Ok(message)
}

/// A message with lists in it.
pub trait Bounded {
    /// Whether they are as long as they may be; else what is wrong.
    ///
    /// # Errors
    /// For people.
    fn check(&self) -> Result<(), &'static str>;
}

fn check_name(pop: &str) -> Result<(), &'static str> {
    if pop.len() > ID_BYTES_MAX { Err("a name of a PoP that is too long") } else { Ok(()) }
}

fn check_orders(orders: &[Sealed]) -> Result<(), &'static str> {
    if orders.len() > ORDERS_MAX { Err("too many orders") } else { Ok(()) }
}

impl Bounded for Up {
    fn check(&self) -> Result<(), &'static str> {
        match self {
            Self::Hello(hello) => check_name(&hello.pop),
            Self::Report(_) => Ok(()),
            Self::Votes(votes) if votes.len() > VOTES_MAX => Err("too many votes"),
            Self::Votes(votes) => votes.iter().try_for_each(|vote| check_name(&vote.pop)),
            Self::Orders(orders) => check_orders(orders),
        }
    }
}

impl Bounded for Down {
    fn check(&self) -> Result<(), &'static str> {
        match self {
            Self::Welcome { .. } | Self::Alive => Ok(()),
            Self::Refused { reason } if reason.len() > REASON_BYTES_MAX => Err("a reason that is too long"),
            Self::Refused { .. } => Ok(()),
            Self::Table(targets) if targets.len() > nearport_geo::POPS_MAX => Err("too many PoPs"),
            Self::Table(targets) => targets.iter().try_for_each(|target| {
                check_name(&target.pop)?;
                let long =
                    target.addresses.len() > ADDRESSES_MAX || target.endpoint.len() > ENDPOINT_BYTES_MAX;
                if long { Err("a PoP with too many addresses") } else { Ok(()) }
            }),
            Self::Orders(orders) => check_orders(orders),
        }
    }
}

impl Down {
    /// A refusal; the reason is cut to what a message holds.
    #[must_use]
    pub fn refused(reason: &str) -> Self {
        let mut end = reason.len().min(REASON_BYTES_MAX);
        while !reason.is_char_boundary(end) {
            end -= 1;
        }
        Self::Refused { reason: reason[..end].to_owned() }
    }
}

impl Hello {
    /// The version to speak with this edge: the newest in common.
    ///
    /// # Errors
    /// [`MessageError::Version`].
    pub fn agree(&self) -> Result<u16, MessageError> {
        let (oldest, newest) = self.versions;
        let common = newest.min(VERSIONS.1);
        if common < oldest || common < VERSIONS.0 {
            let program = self.program.chars().filter(char::is_ascii_graphic).take(32).collect();
            return Err(MessageError::Version { oldest, newest, program });
        }
        Ok(common)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::order::{Order, WHOLE};
    use proptest::prelude::*;

    fn through<T: Serialize + DeserializeOwned + Bounded>(message: &T) -> Result<T, MessageError> {
        let frame = encode(message)?;
        let (head, json) = frame.split_at(4);
        assert_eq!(length(head.try_into().unwrap()).unwrap(), json.len());
        decode(json)
    }

    fn sealed(number: usize) -> Sealed {
        let order = Order {
            pop: format!("{number:032}"),
            drained: true,
            weight: WHOLE,
            at_ms: u64::MAX,
            by: "b".repeat(64),
        };
        Sealed { order, seal: "00".repeat(64) }
    }

    #[test]
    fn the_longest_messages_fit_a_frame_and_longer_ones_are_refused() {
        let vote = |number: usize| Vote { pop: format!("{number:032}"), good: false };
        let target = |number: usize| Target {
            pop: format!("{number:032}"),
            endpoint: "h".repeat(262),
            udp: true,
            addresses: vec!["2001:db8:1111:2222:3333:4444:5555:6666".parse().unwrap(); ADDRESSES_MAX],
        };
        for more in [0, 1] {
            let good = more == 0;
            let votes = Up::Votes((0..VOTES_MAX + more).map(vote).collect());
            assert_eq!(through(&votes).is_ok(), good);
            let orders = (0..ORDERS_MAX + more).map(sealed).collect::<Vec<_>>();
            assert_eq!(through(&Up::Orders(orders.clone())).is_ok(), good);
            assert_eq!(through(&Down::Orders(orders)).is_ok(), good);
            assert_eq!(through(&Down::Table((0..64 + more).map(target).collect())).is_ok(), good);
        }
        assert!(through(&Down::refused(&"ä".repeat(1_000))).is_ok());
        assert_eq!(length([0, 0, 0, 0]), Err(MessageError::Length(0)));
        assert_eq!(length([0, 1, 0, 1]), Err(MessageError::Length(65_537)));
        assert_eq!(length(*b"GET "), Err(MessageError::Length(0x4745_5420)));
    }

    #[test]
    fn versions_are_settled_before_anything_else_counts() {
        let hello = |versions| Hello { versions, program: "9.1.0".to_owned(), ..Hello::default() };
        assert_eq!(hello((1, 1)).agree(), Ok(1));
        assert_eq!(hello((1, 7)).agree(), Ok(1));
        let said = hello((2, 3)).agree().unwrap_err().to_string();
        assert!(said.contains("(9.1.0) speaks versions 2 to 3") && said.contains("1 to 1"), "{said}");
        // An edge of another release: what it says besides is not looked at.
        let later = br#"{"hello": {"versions": [2, 3], "site": {"pop": "sg"}}}"#;
        let Up::Hello(later) = decode(later).unwrap() else { panic!("no hello") };
        assert!(later.agree().is_err());
    }

    proptest! {
        #[test]
        fn what_an_edge_says_comes_back_as_it_was(
            sessions: u32, capacity: Option<u32>, draining: bool, good: bool, pop in "[a-z-]{1,32}", node: u16, instance: u64,
        ) {
            let report = Up::Report(Report { sessions, capacity, draining });
            prop_assert_eq!(through(&report), Ok(report));
            let votes = Up::Votes(vec![Vote { pop: pop.clone(), good }]);
            prop_assert_eq!(through(&votes), Ok(votes));
            let hello = Up::Hello(Hello { versions: VERSIONS, program: "1".to_owned(), node, pop, instance });
            prop_assert_eq!(through(&hello), Ok(hello));
        }

        #[test]
        fn any_bytes_are_a_message_or_an_error(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = decode::<Up>(&bytes);
            let _ = decode::<Down>(&bytes);
        }

        #[test]
        fn any_json_is_a_message_or_an_error(
            name in prop_oneof![Just("hello"), Just("report"), Just("votes"), Just("orders"), Just("table"), Just("alive")],
            value in prop_oneof![Just("{}"), Just("[]"), Just("null"), Just("[[]]"), Just("[{\"pop\":1}]"), Just("1e999")],
        ) {
            let json = format!("{{\"{name}\": {value}}}");
            let _ = decode::<Up>(json.as_bytes());
            let _ = decode::<Down>(json.as_bytes());
        }
    }
}
