//! What holds for any input.

use super::*;

/// A good answer to a changed string is allowed in one case only: the change did not touch what it means (a bit of
/// padding after the last deflate block, an unsigned field such as `TLS.version`).
fn refused_or_the_same(vector: &vectors::Vector, changed: &str) -> Result<(), TestCaseError> {
    match verify(changed, vector.expect, &vector.keys(), vector.verified.issued_s) {
        Ok(verified) => prop_assert_eq!(&verified, &vector.verified, "{}: {}", vector.name, changed),
        Err(refused) => prop_assert!((70001..=70016).contains(&refused.code())),
    }
    Ok(())
}

/// Names as the chat service takes them.
fn name() -> impl Strategy<Value = String> {
    "[ -~]{1,32}"
}

/// JSON that looks like a UserSig but need not be one.
fn any_fields() -> impl Strategy<Value = String> {
    let names = prop_oneof![
        Just("TLS.ver"),
        Just("TLS.identifier"),
        Just("TLS.sdkappid"),
        Just("TLS.sdk_appid"),
        Just("TLS.time"),
        Just("TLS.expire"),
        Just("TLS.expire_after"),
        Just("TLS.appid_at_3rd"),
        Just("TLS.userbuf"),
        Just("TLS.sig"),
    ];
    let values = prop_oneof![
        Just(r#""2.0""#.to_owned()),
        Just(r#""alice""#.to_owned()),
        Just(APP.to_string()),
        any::<u64>().prop_map(|n| n.to_string()),
        any::<i64>().prop_map(|n| n.to_string()),
        any::<f64>().prop_map(|n| format!("{n:e}")),
        any::<String>().prop_map(|s| Value::from(s).to_string()),
        any::<[u8; 32]>().prop_map(|b| format!("\"{}\"", STANDARD.encode(b))),
    ];
    proptest::collection::vec((names, values), 0..9).prop_map(|fields| {
        let fields: Vec<_> = fields.into_iter().map(|(name, value)| format!("\"{name}\":{value}")).collect();
        format!("{{{}}}", fields.join(","))
    })
}

#[test]
fn no_flipped_bit_of_a_vector_changes_what_it_means() {
    for vector in vectors::all() {
        let zlib =
            STANDARD.decode(vector.usersig.replace('*', "+").replace('-', "/").replace('_', "=")).unwrap();
        let mut good = 0;
        for bit in 0..zlib.len() * 8 {
            let mut flipped = zlib.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            let flipped = seal_zlib(&flipped);
            refused_or_the_same(&vector, &flipped).unwrap();
            good += usize::from(verify(&flipped, vector.expect, &vector.keys(), 0).is_ok());
        }
        // A deflate stream ends inside a byte: at most 7 bits of it mean nothing.
        assert!(good <= 7, "{}: {good} flipped bits went unnoticed", vector.name);
    }
}

#[test]
fn no_flipped_bit_of_the_json_of_a_vector_verifies_as_something_else() {
    for vector in vectors::all() {
        let json = envelope::open(vector.usersig).unwrap();
        for bit in 0..json.len() * 8 {
            let mut flipped = json.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            refused_or_the_same(&vector, &envelope::seal(&flipped)).unwrap();
        }
    }
}

proptest! {
    #[test]
    fn a_changed_vector_never_verifies_as_something_else(
        index in 0usize..6,
        at in any::<prop::sample::Index>(),
        replacement in "[A-Za-z0-9*_-]{1,4}",
    ) {
        let vector = &vectors::all()[index];
        let start = at.index(vector.usersig.len() - replacement.len() + 1);
        let mut changed = vector.usersig.to_owned();
        changed.replace_range(start..start + replacement.len(), &replacement);
        refused_or_the_same(vector, &changed)?;
    }

    #[test]
    fn a_changed_signature_never_verifies(index in 0usize..6, bit in any::<prop::sample::Index>()) {
        let vector = &vectors::all()[index];
        let mut fields = fields_of(vector.usersig);
        let mut signature = STANDARD.decode(fields["TLS.sig"].as_str().unwrap()).unwrap();
        let bit = bit.index(signature.len() * 8);
        signature[bit / 8] ^= 1 << (bit % 8);
        fields["TLS.sig"] = STANDARD.encode(signature).into();
        let changed = envelope::seal(fields.to_string().as_bytes());
        let refused = verify(&changed, vector.expect, &vector.keys(), vector.verified.issued_s);
        prop_assert_eq!(refused, Err(SigError::BadSignature));
    }

    #[test]
    fn any_text_is_refused_without_a_panic(text in any::<String>()) {
        prop_assert!(verify(&text, ALICE, &secret_keys(), ISSUED).is_err());
    }

    #[test]
    fn any_bytes_behind_the_alphabet_are_refused(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
        prop_assert!(verify(&seal_zlib(&bytes), ALICE, &secret_keys(), ISSUED).is_err());
    }

    #[test]
    fn any_content_is_refused(content in proptest::collection::vec(any::<u8>(), 0..600)) {
        prop_assert!(verify(&envelope::seal(&content), ALICE, &secret_keys(), ISSUED).is_err());
    }

    #[test]
    fn any_fields_are_refused(json in any_fields(), now_s in any::<u64>()) {
        let key = public_key();
        let keys = Keys { secret: Some(SECRET), public_key: Some(&key) };
        prop_assert!(verify(&envelope::seal(json.as_bytes()), ALICE, &keys, now_s).is_err());
    }

    #[test]
    fn any_times_are_checked_without_a_panic(issued_s: u64, expire_s: u64, now_s: u64) {
        let usersig = sign_v2(SECRET, APP, "alice", issued_s, expire_s, None);
        let answer = verify(&usersig, ALICE, &secret_keys(), now_s);
        // The same in wider arithmetic, where nothing overflows.
        let end = u128::from(issued_s) + u128::from(expire_s);
        let expected = if end > u128::from(u64::MAX) { 70005 } else if end <= u128::from(now_s) { 70001 } else { 0 };
        prop_assert_eq!(answer.map_or_else(|refused| refused.code(), |_| 0), expected);
    }

    #[test]
    fn what_is_signed_verifies(
        sdkappid: u32,
        user in name(),
        issued_s in 0..1u64 << 40,
        expire_s in 1..1u64 << 40,
        userbuf in proptest::option::of(proptest::collection::vec(any::<u8>(), 0..256)),
        elapsed in any::<prop::sample::Index>(),
        use_v1: bool,
    ) {
        let (usersig, version) = if use_v1 {
            let usersig = sign_v1(SEC1, sdkappid, &user, issued_s, expire_s, userbuf.as_deref()).unwrap();
            (usersig, Version::V1)
        } else {
            (sign_v2(SECRET, sdkappid, &user, issued_s, expire_s, userbuf.as_deref()), Version::V2)
        };
        let key = public_key();
        let keys = Keys { secret: Some(SECRET), public_key: Some(&key) };
        let now_s = issued_s + elapsed.index(usize::try_from(expire_s).unwrap()) as u64;
        let verified = verify(&usersig, Expect { sdkappid, user: &user }, &keys, now_s);
        prop_assert_eq!(verified, Ok(Verified { issued_s, expires_s: issued_s + expire_s, userbuf, version }));
    }

    #[test]
    fn a_userbuf_of_two_kilobytes_fits(userbuf in proptest::collection::vec(any::<u8>(), 2048)) {
        // Random bytes: the worst case for zlib.
        let usersig = sign_v2(SECRET, APP, "alice", ISSUED, EXPIRE, Some(&userbuf));
        let verified = verify(&usersig, ALICE, &secret_keys(), ISSUED);
        prop_assert_eq!(verified.map(|v| v.userbuf), Ok(Some(userbuf)));
    }
}
