//! What a message of the load tool says: enough for its receiver to account for it.
//!
//! ```text
//! np-load {run:016x} {sender} {counter} {due_ns} xxxx…
//! ```
//!
//! Numbers are decimal but for the run; the rest of the wanted length is filled with `x`. `due_ns` counts from the
//! start of the run's clock, so only the process that sent a message can tell its latency.

use std::fmt::Write as _;

/// The longest header: three numbers of 20 digits, the run and the words.
pub(crate) const HEADER_BYTES_MAX: usize = MAGIC.len() + 16 + 3 * 20 + 4;

const MAGIC: &str = "np-load ";

/// One message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Payload {
    /// Random per run: messages of other runs are told apart.
    pub(crate) run: u64,
    /// Index of the sender.
    pub(crate) sender: u64,
    /// The sender's counter, from 0.
    pub(crate) counter: u64,
    /// Intended send time.
    pub(crate) due_ns: u64,
}

/// A text that is no message of this run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NotOurs {
    /// It came from somebody else, or from another run.
    Foreign,
    /// It begins like one of this run and goes on differently.
    Damaged,
}

impl Payload {
    /// The text, `bytes` long, or as long as the header if that is longer.
    pub(crate) fn encode(&self, bytes: usize) -> String {
        let mut text = String::with_capacity(bytes.max(HEADER_BYTES_MAX));
        let Self { run, sender, counter, due_ns } = self;
        write!(text, "{MAGIC}{run:016x} {sender} {counter} {due_ns} ")
            .expect("writing to a string cannot fail");
        let fill = bytes.saturating_sub(text.len());
        text.extend(std::iter::repeat_n('x', fill));
        text
    }

    /// Reads a text that [`Self::encode`] made for `run` with the same `bytes`.
    pub(crate) fn decode(text: &str, run: u64, bytes: usize) -> Result<Self, NotOurs> {
        let numbers = text
            .strip_prefix(MAGIC)
            .and_then(|rest| rest.strip_prefix(&format!("{run:016x} ")))
            .ok_or(NotOurs::Foreign)?;
        let mut fields = numbers.splitn(4, ' ');
        let mut number = || fields.next()?.parse().ok();
        let payload = match (number(), number(), number()) {
            (Some(sender), Some(counter), Some(due_ns)) => Self { run, sender, counter, due_ns },
            _ => return Err(NotOurs::Damaged),
        };
        // One comparison with what must have been sent finds every kind of damage.
        if payload.encode(bytes) == text { Ok(payload) } else { Err(NotOurs::Damaged) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn payload() -> impl Strategy<Value = Payload> {
        let fields = (any::<u64>(), any::<u64>(), any::<u64>(), any::<u64>());
        fields.prop_map(|(run, sender, counter, due_ns)| Payload { run, sender, counter, due_ns })
    }

    proptest! {
        #[test]
        fn round_trip(payload in payload(), bytes in 0usize..500) {
            let text = payload.encode(bytes);
            prop_assert!(text.len() == bytes || (text.len() > bytes && text.len() <= HEADER_BYTES_MAX));
            prop_assert_eq!(Payload::decode(&text, payload.run, bytes), Ok(payload));
            prop_assert_eq!(Payload::decode(&text, !payload.run, bytes), Err(NotOurs::Foreign));
        }

        #[test]
        fn any_change_is_seen(payload in payload(), at: prop::sample::Index, with in 33u8..127) {
            let text = payload.encode(120);
            let mut bytes = text.clone().into_bytes();
            let at = at.index(bytes.len());
            prop_assume!(bytes[at] != with);
            bytes[at] = with;
            let changed = Payload::decode(std::str::from_utf8(&bytes).unwrap(), payload.run, 120);
            // A changed digit is another message, which the accounts find; it is never this one.
            prop_assert_ne!(changed, Ok(payload));
        }

        #[test]
        fn other_texts_never_panic(run: u64, text: String) {
            let _ = Payload::decode(&text, run, 100);
            let _ = Payload::decode(&format!("{MAGIC}{run:016x} {text}"), run, 100);
        }
    }
}
