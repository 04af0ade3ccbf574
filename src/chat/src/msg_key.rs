//! `MsgKey` of the public contract: how back ends name a message.

use std::fmt;
use std::str::FromStr;

use aws_lc_rs::digest;
use nearport_wire::body::Message;

use crate::key::ConvKey;

/// Longest text, in bytes.
const BYTES_MAX: usize = 50;

/// `{MsgSeq}_{MsgRandom}_{MsgTimeStamp}`, unique inside a conversation.
///
/// One rule for all messages: one that a back end sent has the three in its body, for the back end chose them; any other has the
/// position in its conversation, the first four bytes of `client_msg_id` (big endian), and its time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct MsgKey {
    /// At most [`u32::MAX`] where a back end chose it.
    pub seq: u64,
    /// Random.
    pub random: u32,
    /// Unix seconds.
    pub time_s: u64,
}

impl MsgKey {
    /// Of a message at its place.
    #[must_use]
    pub fn of(message: &Message, seq: u64, time_ms: u64) -> Self {
        match message.key {
            Some(key) => Self { seq: key.seq.into(), random: key.random, time_s: key.time_s.into() },
            None => Self::of_client(&message.client_msg_id, seq, time_ms),
        }
    }

    /// Of a message that a client sent.
    #[must_use]
    pub fn of_client(client_msg_id: &[u8], seq: u64, time_ms: u64) -> Self {
        let random = client_msg_id.first_chunk().map_or(0, |bytes| u32::from_be_bytes(*bytes));
        Self { seq, random, time_s: time_ms / 1000 }
    }

    /// A `seq` for a message whose back end chose none.
    #[must_use]
    pub fn random_seq() -> u32 {
        let mut bytes = [0; 4];
        // Without entropy it stays 0: then the random of the back end keeps messages apart.
        let _ = aws_lc_rs::rand::fill(&mut bytes);
        u32::from_be_bytes(bytes)
    }

    /// The `client_msg_id` of a message that a back end sends with this key. It follows from the key, so what makes client sends
    /// idempotent finds a repeat and, later, the message by its key: there is no index of keys.
    #[must_use]
    pub fn client_msg_id(&self, conv: &ConvKey) -> [u8; 16] {
        let mut digest = digest::Context::new(&digest::SHA256);
        digest.update(conv.as_bytes());
        digest.update(&self.seq.to_be_bytes());
        digest.update(&self.random.to_be_bytes());
        digest.update(&self.time_s.to_be_bytes());
        let digest = digest.finish();
        let mut id = [0; 16];
        id[..4].copy_from_slice(&self.random.to_be_bytes());
        id[4..].copy_from_slice(&digest.as_ref()[..12]);
        id
    }
}

impl fmt::Display for MsgKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}_{}_{}", self.seq, self.random, self.time_s)
    }
}

/// Text that is no key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a message key is three numbers with _ between, of at most 50 bytes")]
pub struct BadMsgKey;

impl FromStr for MsgKey {
    type Err = BadMsgKey;

    fn from_str(text: &str) -> Result<Self, BadMsgKey> {
        let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        let mut parts = text.split('_');
        let mut next = || parts.next().filter(|text| digits(text)).ok_or(BadMsgKey);
        let (seq, random, time_s) = (next()?, next()?, next()?);
        if text.len() > BYTES_MAX || parts.next().is_some() {
            return Err(BadMsgKey);
        }
        Ok(Self {
            seq: seq.parse().map_err(|_| BadMsgKey)?,
            random: random.parse().map_err(|_| BadMsgKey)?,
            time_s: time_s.parse().map_err(|_| BadMsgKey)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use nearport_wire::body::MessageKey;

    use super::*;
    use crate::key::{AppId, UserKey};

    #[test]
    fn a_key_is_read_as_it_is_written_and_nothing_else_is() {
        let key = MsgKey { seq: u64::MAX, random: u32::MAX, time_s: 1_700_000_000 };
        assert_eq!(key.to_string().parse(), Ok(key));
        for bad in ["", "1_2", "1_2_3_4", "1__3", "+1_2_3", "1_4294967296_3", "1_2_x", " 1_2_3", "1_2_-3"] {
            assert_eq!(bad.parse::<MsgKey>(), Err(BadMsgKey), "{bad:?}");
        }
        let long = format!("{}_1_2", "0".repeat(50));
        assert_eq!(long.parse::<MsgKey>(), Err(BadMsgKey));
    }

    #[test]
    fn one_rule_for_clients_and_back_ends() {
        let user = |name| UserKey::new(AppId(1), name).unwrap();
        let conv = ConvKey::pair(&user("alice"), &user("bob"));
        let key = MsgKey { seq: 7, random: 0x0102_0304, time_s: 1_700_000_000 };
        let id = key.client_msg_id(&conv);
        assert_eq!(id[..4], [1, 2, 3, 4]);
        let message = Message { client_msg_id: id.to_vec().into(), ..Message::default() };
        assert_eq!(MsgKey::of(&message, 7, 1_700_000_000_999), key, "by its place");
        let chosen = MessageKey { seq: 9, random: 8, time_s: 7 };
        let message = Message { key: Some(chosen), ..message };
        assert_eq!(MsgKey::of(&message, 7, 1).to_string(), "9_8_7", "by what was chosen");
        let other = ConvKey::pair(&user("alice"), &user("carol"));
        assert_ne!(key.client_msg_id(&other), id, "one key for many receivers");
    }
}
