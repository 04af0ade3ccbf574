//! Variable-length integers, as QUIC has them (RFC 9000 §16): the two top bits of the first byte say whether the
//! integer takes 1, 2, 4 or 8 bytes. The shortest form is written; any form is read.

use bytes::BufMut;

/// Largest value: 2^62 - 1.
pub const VARINT_MAX: u64 = (1 << 62) - 1;

/// Appends `value`.
///
/// # Panics
/// If `value` exceeds [`VARINT_MAX`]; lengths, request ids and positions never come near it.
#[expect(clippy::cast_possible_truncation, reason = "each arm is guarded by its range")]
pub fn encode(value: u64, out: &mut impl BufMut) {
    match value {
        0..0x40 => out.put_u8(value as u8),
        0x40..0x4000 => out.put_u16(value as u16 | 0x4000),
        0x4000..0x4000_0000 => out.put_u32(value as u32 | 0x8000_0000),
        0x4000_0000..=VARINT_MAX => out.put_u64(value | 0xC000_0000_0000_0000),
        _ => panic!("varint above 2^62 - 1"),
    }
}

/// Reads one integer from the front of `bytes`: its value and how many bytes it took. `None`: needs more bytes.
#[must_use]
pub fn decode(bytes: &[u8]) -> Option<(u64, usize)> {
    let first = *bytes.first()?;
    let len = 1usize << (first >> 6);
    let rest = bytes.get(1..len)?;
    let value = rest.iter().fold(u64::from(first & 0x3f), |value, byte| value << 8 | u64::from(*byte));
    Some((value, len))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn samples_of_rfc_9000_appendix_a1() {
        for (hex, value) in [
            (&[0xc2, 0x19, 0x7c, 0x5e, 0xff, 0x14, 0xe8, 0x8c][..], 151_288_809_941_952_652),
            (&[0x9d, 0x7f, 0x3e, 0x7d], 494_878_333),
            (&[0x7b, 0xbd], 15_293),
            (&[0x25], 37),
            (&[0x40, 0x25], 37),
        ] {
            assert_eq!(decode(hex), Some((value, hex.len())));
        }
    }

    proptest! {
        #[test]
        fn round_trip(value in 0..=VARINT_MAX, tail in proptest::collection::vec(any::<u8>(), 0..4)) {
            let mut bytes = Vec::new();
            encode(value, &mut bytes);
            let len = bytes.len();
            prop_assert!((0..len).all(|cut| decode(&bytes[..cut]).is_none()));
            bytes.extend(tail);
            prop_assert_eq!(decode(&bytes), Some((value, len)));
        }
    }
}
