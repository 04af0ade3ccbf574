//! The first words on a link between hosts: who comes, and whether it may. Pure.
//!
//! ```text
//! hello  = preamble node:u16 generation:u32 shard:u8 instance:u64      ; edge to core; preamble: see `codec`
//! answer = preamble verdict:u8 length:u16 reason                       ; core to edge; verdict 0: welcome
//! ```
//!
//! The preambles settle the version of everything that follows, so a core and edges of neighbouring releases work together in
//! either order of their updates.

use crate::codec::{self, CodecError, PREAMBLE_BYTES};
use crate::{Owner, SessionId};

/// Length of a hello.
pub const HELLO_BYTES: usize = PREAMBLE_BYTES + 15;

/// Length of an answer without its reason.
pub const ANSWER_BYTES: usize = PREAMBLE_BYTES + 3;

/// Longest reason.
pub const REASON_BYTES_MAX: usize = 512;

/// Who comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hello {
    /// Number of the edge's node, unique in its cluster.
    pub node: u16,
    /// Which start of that node's edge.
    pub generation: u32,
    /// Which of its shards, below 32.
    pub shard: u8,
    /// Drawn at random by each process: tells one that comes again from another one that claims the same number.
    pub instance: u64,
}

impl Hello {
    /// Whose sessions the link carries.
    #[must_use]
    pub fn owner(&self) -> Owner {
        Owner::new(self.node, self.generation, self.shard)
    }

    /// As bytes.
    #[must_use]
    pub fn encode(&self) -> [u8; HELLO_BYTES] {
        let mut out = [0; HELLO_BYTES];
        let (preamble, fields) = out.split_at_mut(PREAMBLE_BYTES);
        preamble.copy_from_slice(&codec::preamble());
        fields[..2].copy_from_slice(&self.node.to_be_bytes());
        fields[2..6].copy_from_slice(&self.generation.to_be_bytes());
        fields[6] = self.shard;
        fields[7..].copy_from_slice(&self.instance.to_be_bytes());
        out
    }

    /// Reads what [`Self::encode`] made.
    ///
    /// # Errors
    /// [`CodecError`], also for a shard that cannot be.
    pub fn decode(bytes: &[u8; HELLO_BYTES]) -> Result<Self, CodecError> {
        let (preamble, fields) = bytes.split_at(PREAMBLE_BYTES);
        codec::agree(preamble.try_into().expect("split there"))?;
        let number = |bytes: &[u8]| bytes.iter().fold(0, |value, byte| value << 8 | u64::from(*byte));
        let hello = Self {
            node: u16::from_be_bytes([fields[0], fields[1]]),
            generation: u32::from_be_bytes([fields[2], fields[3], fields[4], fields[5]]),
            shard: fields[6],
            instance: number(&fields[7..]),
        };
        // A shard above the bound would be another one's owner.
        let fits = SessionId::new(hello.owner(), 0, 0).owner() == hello.owner() && hello.shard < 32;
        if fits { Ok(hello) } else { Err(CodecError::NotATrunk) }
    }
}

/// The version that a core and the edge which said this hello speak with each other.
///
/// # Errors
/// [`CodecError`].
pub fn version(bytes: &[u8; HELLO_BYTES]) -> Result<u16, CodecError> {
    let (preamble, _) = bytes.split_at(PREAMBLE_BYTES);
    codec::agree(preamble.try_into().expect("split there"))
}

/// What the core answers: `Ok`, or why not, for the edge's log.
#[must_use]
pub fn answer(verdict: &Result<(), String>) -> Vec<u8> {
    let mut out = codec::preamble().to_vec();
    let reason = verdict.as_ref().err().map_or("", String::as_str);
    let mut end = reason.len().min(REASON_BYTES_MAX);
    while !reason.is_char_boundary(end) {
        end -= 1;
    }
    out.push(u8::from(verdict.is_err()));
    out.extend_from_slice(&u16::try_from(end).unwrap_or(0).to_be_bytes());
    out.extend_from_slice(&reason.as_bytes()[..end]);
    out
}

/// Reads the fixed part of an answer: the version to speak, whether it is a refusal, and how long its reason is.
///
/// # Errors
/// [`CodecError`].
pub fn read_answer(bytes: &[u8; ANSWER_BYTES]) -> Result<(u16, bool, usize), CodecError> {
    let (preamble, rest) = bytes.split_at(PREAMBLE_BYTES);
    let version = codec::agree(preamble.try_into().expect("split there"))?;
    let length = usize::from(u16::from_be_bytes([rest[1], rest[2]]));
    if length > REASON_BYTES_MAX {
        return Err(CodecError::Length(length));
    }
    Ok((version, rest[0] != 0, length))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn answers_say_why_and_stay_short() {
        let fixed = |bytes: &[u8]| bytes[..ANSWER_BYTES].try_into().unwrap();
        assert_eq!(read_answer(&fixed(&answer(&Ok(())))).unwrap(), (codec::VERSIONS.1, false, 0));
        let long = answer(&Err("ä".repeat(400)));
        assert_eq!(read_answer(&fixed(&long)).unwrap(), (codec::VERSIONS.1, true, REASON_BYTES_MAX));
        assert!(std::str::from_utf8(&long[ANSWER_BYTES..]).is_ok());
        let mut other = answer(&Ok(()));
        other[8..12].copy_from_slice(&[0, 9, 0, 9]);
        assert!(matches!(read_answer(&fixed(&other)), Err(CodecError::Version { oldest: 9, newest: 9 })));
    }

    proptest! {
        #[test]
        fn a_hello_comes_back_as_it_was(node: u16, generation: u32, shard in 0..32u8, instance: u64) {
            let hello = Hello { node, generation, shard, instance };
            prop_assert_eq!(Hello::decode(&hello.encode()), Ok(hello));
        }

        #[test]
        fn any_bytes_are_a_hello_or_an_error(bytes in proptest::collection::vec(any::<u8>(), HELLO_BYTES)) {
            let bytes: [u8; HELLO_BYTES] = bytes.try_into().unwrap();
            if let Ok(hello) = Hello::decode(&bytes) {
                prop_assert!(hello.shard < 32);
            }
        }
    }
}
