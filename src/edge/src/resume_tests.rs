//! What a token says, and when it is believed.

use super::*;
use crate::keys::Secret;
use proptest::prelude::*;

const NOW: u64 = 1_800_000_000;
const TTL: Duration = Duration::from_hours(24);

fn ring(epoch: u32) -> KeyRing {
    let secret = |epoch: u32| Secret { epoch, bytes: [epoch.to_be_bytes()[3] ^ 0x5a; 32] };
    let previous = epoch.checked_sub(1).map(secret);
    KeyRing::new(&secret(epoch), previous.as_ref()).unwrap()
}

fn alice() -> Identity {
    Identity {
        app: 1_400_000_000,
        user: "alice".into(),
        device: "phone".into(),
        issued_s: NOW - 1000,
        expires_s: NOW + 100 * TTL.as_secs(),
    }
}

fn token(ring: &KeyRing, who: &Identity) -> Vec<u8> {
    seal(ring, who, TTL, NOW).unwrap().bytes
}

#[test]
fn a_token_ends_with_its_time_or_with_the_usersig() {
    let day = TTL.as_secs();
    // (end of the UserSig, life of the token)
    let cases = [
        (NOW + 100 * day, Some(day)),
        (NOW + day, Some(day)),
        (NOW + 5, Some(5)),
        (NOW, None),
        (NOW - 1, None),
        (u64::MAX, Some(day)),
    ];
    for (expires_s, life) in cases {
        let who = Identity { expires_s, ..alice() };
        let sealed = seal(&ring(1), &who, TTL, NOW);
        assert_eq!(sealed.as_ref().map(|token| u64::from(token.ttl_s)), life, "{expires_s}");
        let (Some(sealed), Some(life)) = (sealed, life) else { continue };
        for (now_s, want) in [
            (NOW, Ok(who.clone())),
            (NOW + life + 600, Ok(who.clone())),
            (NOW + life + 601, Err(Refusal::Expired)),
            (NOW - 600, Ok(who.clone())),
            (NOW - 601, Err(Refusal::Early)),
            (0, Err(Refusal::Early)),
            (u64::MAX, Err(Refusal::Expired)),
        ] {
            assert_eq!(open(&ring(1), &sealed.bytes, now_s), want, "{expires_s} {now_s}");
        }
    }
    assert_eq!(seal(&ring(1), &alice(), Duration::ZERO, NOW), None, "turned off");
    assert_eq!(seal(&ring(1), &alice(), TTL, u64::MAX), None, "a clock gone mad");
}

#[test]
fn renewing_a_token_never_outlives_the_usersig() {
    let who = Identity { expires_s: NOW + 3 * TTL.as_secs(), ..alice() };
    let (mut now_s, mut renewals) = (NOW, 0);
    let mut sealed = seal(&ring(1), &who, TTL, now_s);
    while let Some(last) = sealed {
        now_s += u64::from(last.ttl_s);
        let opened = open(&ring(1), &last.bytes, now_s).unwrap();
        assert_eq!(opened, who, "what the first login said stays");
        sealed = seal(&ring(1), &opened, TTL, now_s);
        renewals += 1;
        assert!(renewals <= 3, "it goes on for ever");
    }
    assert_eq!((now_s, renewals), (who.expires_s, 3));
}

#[test]
fn a_token_is_good_for_who_it_was_made_for_and_for_one_rotation() {
    let sealed = token(&ring(4), &alice());
    let claim = |app, user: &'static str, device: &'static str| Claim {
        app,
        user: user.as_bytes(),
        device: device.as_bytes(),
        token: &sealed,
    };
    let app = alice().app;
    let mine = claim(app, "alice", "phone");
    assert_eq!(mine.check(&ring(4), NOW), Ok(alice()));
    assert_eq!(mine.check(&ring(5), NOW), Ok(alice()));
    for epoch in [3, 6, 7] {
        assert_eq!(mine.check(&ring(epoch), NOW), Err(Refusal::UnknownKey), "epoch {epoch}");
    }
    assert_eq!(claim(app + 1, "alice", "phone").check(&ring(4), NOW), Err(Refusal::OtherApp));
    assert_eq!(claim(app, "bob", "phone").check(&ring(4), NOW), Err(Refusal::OtherUser));
    assert_eq!(claim(app, "alice", "desk").check(&ring(4), NOW), Err(Refusal::OtherUser));
    assert_eq!(claim(app, "alicephone", "").check(&ring(4), NOW), Err(Refusal::OtherUser));
}

#[test]
fn another_version_is_told_from_damage() {
    let sealed = ring(1).seal(Purpose::Resume, &[2, 0, 0]).unwrap();
    assert_eq!(open(&ring(1), &sealed, NOW), Err(Refusal::Version));
    let sealed = ring(1).seal(Purpose::Resume, &[VERSION, 0, 0]).unwrap();
    assert_eq!(open(&ring(1), &sealed, NOW), Err(Refusal::Broken));
    assert_eq!((Refusal::Version.code(), Refusal::Broken.code()), (70001, 70003));
    let ticket = ring(1).seal(Purpose::Ticket, &[VERSION; 60]).unwrap();
    assert_eq!(open(&ring(1), &ticket, NOW), Err(Refusal::Broken), "a ticket is no token");
}

proptest! {
    #[test]
    fn tokens_say_what_was_sealed_and_nothing_once_changed(
        app: u32,
        user in "[ -~]{1,32}",
        device in "[ -~]{1,32}",
        issued_s: u64,
        life in 1u64..1_000_000_000,
        epoch in 0u32..600,
        bit: u16,
    ) {
        let who = Identity { app, user, device, issued_s, expires_s: NOW + life };
        let token = seal(&ring(epoch), &who, TTL, NOW).unwrap();
        prop_assert!(token.bytes.len() <= TOKEN_BYTES_MAX);
        prop_assert_eq!(u64::from(token.ttl_s), life.min(TTL.as_secs()));
        prop_assert_eq!(open(&ring(epoch), &token.bytes, NOW), Ok(who));
        for cut in 0..token.bytes.len() {
            prop_assert!(open(&ring(epoch), &token.bytes[..cut], NOW).is_err());
        }
        let mut flipped = token.bytes.clone();
        let at = usize::from(bit) % (8 * flipped.len());
        flipped[at / 8] ^= 1 << (at % 8);
        prop_assert!(open(&ring(epoch), &flipped, NOW).is_err(), "bit {}", at);
    }

    #[test]
    fn names_of_any_length_are_sealed_or_left_alone(user in ".{0,300}", device in ".{0,300}") {
        let who = Identity { user, device, ..alice() };
        if let Some(token) = seal(&ring(1), &who, TTL, NOW) {
            prop_assert!(token.bytes.len() <= TOKEN_BYTES_MAX);
            prop_assert_eq!(open(&ring(1), &token.bytes, NOW), Ok(who));
        }
    }

    #[test]
    fn no_text_panics_even_under_a_good_seal(text in proptest::collection::vec(any::<u8>(), 0..160), noise in any::<bool>()) {
        let token = if noise { text } else { ring(1).seal(Purpose::Resume, &text).unwrap() };
        let _ = open(&ring(1), &token, NOW);
    }
}
