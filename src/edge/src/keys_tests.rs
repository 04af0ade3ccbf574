//! Rings, and what of the old one is still good in the new one.

use super::*;
use proptest::prelude::*;

fn secret(epoch: u32) -> Secret {
    Secret { epoch, bytes: [epoch.to_be_bytes()[3].wrapping_mul(3); 32] }
}

fn ring(epoch: u32) -> KeyRing {
    let previous = epoch.checked_sub(1).map(secret);
    KeyRing::new(&secret(epoch), previous.as_ref()).unwrap()
}

#[test]
fn a_ring_takes_two_epochs_in_order() {
    assert_eq!(ring(7).epoch(), 7);
    assert_eq!(ring(7).fingerprints().map(|(epoch, _)| epoch).collect::<Vec<_>>(), [7, 6]);
    let refused = |current, previous| KeyRing::new(&secret(current), Some(&secret(previous))).unwrap_err();
    assert_eq!(refused(3, 3), RingError::Order { previous: 3, next: 3 });
    assert_eq!(refused(3, 4), RingError::Order { previous: 4, next: 3 });
    assert_eq!(refused(11, 3), RingError::Same { previous: 3, next: 11 });
    assert!(KeyRing::new(&secret(11), Some(&secret(4))).is_ok());
}

#[test]
fn only_a_successor_takes_the_place_of_a_ring() {
    let keys = Keys::new(ring(5));
    assert_eq!(keys.replace(ring(4)), Err(RingError::Older { current: 5, next: 4 }));
    let other = |epoch| Secret { epoch, bytes: [0xee; 32] };
    assert_eq!(keys.replace(KeyRing::new(&other(5), None).unwrap()), Err(RingError::Changed(5)));
    let disguised = KeyRing::new(&secret(6), Some(&other(5))).unwrap();
    assert_eq!(keys.replace(disguised), Err(RingError::Changed(5)));
    assert_eq!(keys.ring().epoch(), 5, "a refused ring changes nothing");
    for epoch in [5, 6, 8] {
        keys.replace(ring(epoch)).unwrap();
        assert_eq!(keys.ring().epoch(), epoch);
    }
    assert_eq!(keys.version(), 3);
}

#[test]
fn keys_of_one_purpose_open_nothing_of_another() {
    let ring = ring(1);
    let sealed = ring.seal(Purpose::Ticket, b"text").unwrap();
    assert_eq!(ring.open(Purpose::Ticket, &sealed).unwrap(), b"text");
    assert_eq!(ring.open(Purpose::Resume, &sealed), Err(OpenError::Broken));
    let fingerprints: Vec<_> = ring.fingerprints().map(|(_, fingerprint)| fingerprint).collect();
    assert!(fingerprints.iter().all(|text| text.len() == 16) && fingerprints[0] != fingerprints[1]);
}

#[test]
fn a_retry_token_opens_before_and_after_one_rotation() {
    let keys = Keys::new(ring(3));
    let key = keys.token_key();
    let mut sealed = b"address".to_vec();
    key.aead_from_hkdf(b"random").seal(&mut sealed, &[]).unwrap();
    let opens = |random: &[u8]| {
        let mut copy = sealed.clone();
        key.aead_from_hkdf(random).open(&mut copy, &[]).map(|plain| plain.to_vec()).ok()
    };
    assert_eq!(opens(b"random").as_deref(), Some(&b"address"[..]));
    assert_eq!(opens(b"another"), None);
    keys.replace(ring(4)).unwrap();
    assert_eq!(opens(b"random").as_deref(), Some(&b"address"[..]));
    assert_eq!(opens(b"another"), None);
    keys.replace(ring(5)).unwrap();
    assert_eq!(opens(b"random"), None);
}

#[test]
fn a_reset_token_follows_the_epoch_of_its_id() {
    let keys = Keys::new(ring(3));
    let key = keys.reset_key();
    let sign = |cid: &[u8]| {
        let mut out = [0; 32];
        key.sign(cid, &mut out);
        key.verify(cid, &out).unwrap();
        out
    };
    let old = [&[3 << 5 | 1][..], &[9; 16]].concat();
    let before = sign(&old);
    keys.replace(ring(4)).unwrap();
    assert_eq!(sign(&old), before);
    let new = [&[4 << 5 | 1][..], &[9; 16]].concat();
    assert_ne!(sign(&new), before);
    keys.replace(ring(5)).unwrap();
    assert_ne!(sign(&old), before, "the key is gone");
}

proptest! {
    #[test]
    fn what_was_sealed_opens_for_one_rotation_and_only_unchanged(
        plain in proptest::collection::vec(any::<u8>(), 0..200),
        epoch in 0u32..1000,
        bit: u16,
        cut: u16,
    ) {
        let sealed = ring(epoch).seal(Purpose::Resume, &plain).unwrap();
        prop_assert_eq!(sealed.len(), plain.len() + crate::seal::OVERHEAD);
        for later in 0..2 {
            let opened = ring(epoch + later).open(Purpose::Resume, &sealed);
            prop_assert_eq!(opened.as_deref(), Ok(&plain[..]));
        }
        let gone = ring(epoch + 2).open(Purpose::Resume, &sealed);
        prop_assert_eq!(gone, Err(OpenError::UnknownEpoch(sealed[0])));

        let mut flipped = sealed.clone();
        let at = usize::from(bit) % (8 * sealed.len());
        flipped[at / 8] ^= 1 << (at % 8);
        prop_assert!(ring(epoch).open(Purpose::Resume, &flipped).is_err());
        let shorter = &sealed[..usize::from(cut) % sealed.len()];
        prop_assert!(ring(epoch).open(Purpose::Resume, shorter).is_err());
    }

    #[test]
    fn noise_never_opens(noise in proptest::collection::vec(any::<u8>(), 0..300)) {
        prop_assert!(ring(1).open(Purpose::Ticket, &noise).is_err());
    }
}
