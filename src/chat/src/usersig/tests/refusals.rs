//! Each way to be refused, with its code.

use super::vectors::{ECDSA_1, HMAC_1A};
use super::*;

fn good() -> String {
    sign_v2(SECRET, APP, "alice", ISSUED, EXPIRE, None)
}

fn refusal(usersig: &str) -> SigError {
    verify(usersig, ALICE, &secret_keys(), ISSUED).unwrap_err()
}

/// The refusal of a UserSig with this JSON.
fn refusal_of_json(json: &str) -> SigError {
    refusal(&envelope::seal(json.as_bytes()))
}

/// The refusal of a good version 2 UserSig in whose JSON `change` was made.
fn refusal_of_change(change: impl FnOnce(&mut Value)) -> SigError {
    let mut fields = fields_of(&good());
    change(&mut fields);
    refusal_of_json(&fields.to_string())
}

#[test]
fn each_failure_has_its_code() {
    let good = good();
    let table: Vec<(&str, u32, SigError)> = vec![
        ("empty", 70002, refusal("")),
        ("blank", 70003, refusal(" ")),
        ("line feed at the end", 70003, refusal(&format!("{good}\n"))),
        ("standard alphabet", 70003, refusal(&format!("{good}+/="))),
        ("not ASCII", 70003, refusal("eJé")),
        ("one character lost", 70003, refusal(&good[1..])),
        ("padding in the middle", 70003, refusal("eJ__eJ__")),
        ("padding only", 70003, refusal("____")),
        ("empty content", 70005, refusal_of_json("")),
        ("not JSON", 70005, refusal_of_json("TLS.ver=2.0")),
        ("not UTF-8", 70005, refusal(&envelope::seal(b"{\"TLS.ver\":\"\xff\"}"))),
        ("an array", 70005, refusal_of_json("[]")),
        ("two objects", 70005, refusal_of_json("{}{}")),
        ("no version", 70005, refusal_of_json("{}")),
        ("unknown version", 70005, refusal_of_change(|f| f["TLS.ver"] = "3.0".into())),
        ("user with a line feed", 70005, refusal(&signed_v2("alice\n", &ISSUED.into(), &EXPIRE.into()))),
        ("no user", 70005, refusal(&signed_v2("", &ISSUED.into(), &EXPIRE.into()))),
        ("validity overflows", 70005, refusal(&signed_v2("alice", &ISSUED.into(), &u64::MAX.into()))),
        ("other app", 70014, refusal(&sign_v2(SECRET, APP + 1, "alice", ISSUED, EXPIRE, None))),
        ("app beyond 32 bits", 70014, refusal_of_change(|f| f["TLS.sdkappid"] = ((1u64 << 32) + 7).into())),
        ("app equal modulo 2^32", 70014, {
            refusal_of_change(|f| f["TLS.sdkappid"] = ((1u64 << 32) + u64::from(APP)).into())
        }),
        ("other user", 70013, refusal(&sign_v2(SECRET, APP, "Alice", ISSUED, EXPIRE, None))),
        ("other user, same app", 70013, refusal(HMAC_1A)),
        ("other secret", 70009, refusal(&sign_v2("other", APP, "alice", ISSUED, EXPIRE, None))),
        ("no secret used", 70009, refusal(&sign_v2("", APP, "alice", ISSUED, EXPIRE, None))),
        ("later issue", 70009, refusal_of_change(|f| f["TLS.time"] = (ISSUED + 1).into())),
        ("longer validity", 70009, refusal_of_change(|f| f["TLS.expire"] = (EXPIRE + 1).into())),
        ("userbuf added", 70009, refusal_of_change(|f| f["TLS.userbuf"] = "".into())),
        ("short signature", 70009, refusal_of_change(|f| f["TLS.sig"] = "AAAA".into())),
        ("empty signature", 70009, refusal_of_change(|f| f["TLS.sig"] = "".into())),
        ("expired", 70001, refusal(&sign_v2(SECRET, APP, "alice", ISSUED - EXPIRE, EXPIRE, None))),
        ("never valid", 70001, refusal(&sign_v2(SECRET, APP, "alice", ISSUED, 0, None))),
    ];
    for (case, code, error) in table {
        assert_eq!(error.code(), code, "{case}: {error}");
        let message = error.to_string();
        assert!(message.starts_with("usersig "), "{case}: {message}");
        assert!(!message.ends_with('.') && message.len() < 200, "{case}: {message}");
    }
}

#[test]
fn a_version_without_a_key_is_off() {
    let v1 = sign_v1(PKCS8, APP, "alice", ISSUED, EXPIRE, None).unwrap();
    let key = public_key();
    let secret_only = secret_keys();
    let key_only = Keys { secret: None, public_key: Some(&key) };
    let empty_secret = Keys { secret: Some(""), public_key: None };
    let check = |usersig: &str, keys: &Keys<'_>| verify(usersig, ALICE, keys, ISSUED).map(|v| v.version);

    assert_eq!(check(&good(), &secret_only), Ok(Version::V2));
    assert_eq!(check(&v1, &key_only), Ok(Version::V1));
    assert_eq!(check(&v1, &secret_only), Err(SigError::NoPublicKey));
    assert_eq!(check(&good(), &key_only), Err(SigError::NoSecret));
    // Whoever knows that the secret is empty could sign with it.
    let forged = sign_v2("", APP, "alice", ISSUED, EXPIRE, None);
    assert_eq!(check(&forged, &empty_secret), Err(SigError::NoSecret));
    assert_eq!((SigError::NoSecret.code(), SigError::NoPublicKey.code()), (70016, 70016));
}

#[test]
fn the_first_failing_check_in_the_stated_order_answers() {
    // Wrong in every way that an intact UserSig can be, then repaired one check at a time.
    let other = sign_v2("other", APP + 1, "bob", ISSUED, 1, None);
    let late_s = ISSUED + 2;
    let no_keys = Keys::default();
    let bob = Expect { user: "bob", ..ALICE };
    let bob_next_app = Expect { sdkappid: APP + 1, user: "bob" };
    let alice_next_app = Expect { sdkappid: APP + 1, ..ALICE };
    let other_key = Keys { secret: Some("other"), public_key: None };
    let code = |expect, keys: &Keys<'_>| verify(&other, expect, keys, late_s).unwrap_err().code();
    assert_eq!(code(ALICE, &no_keys), 70014);
    assert_eq!(code(bob, &no_keys), 70014);
    assert_eq!(code(alice_next_app, &no_keys), 70013);
    assert_eq!(code(bob_next_app, &no_keys), 70016);
    assert_eq!(code(bob_next_app, &secret_keys()), 70009);
    assert_eq!(code(bob_next_app, &other_key), 70001);
}

#[test]
fn every_field_of_its_version_is_needed() {
    let v1 = sign_v1(PKCS8, APP, "alice", ISSUED, EXPIRE, None).unwrap();
    for (usersig, names) in [
        (good(), ["TLS.identifier", "TLS.sdkappid", "TLS.time", "TLS.expire", "TLS.sig"]),
        (v1, ["TLS.identifier", "TLS.sdk_appid", "TLS.time", "TLS.expire_after", "TLS.sig"]),
    ] {
        for name in names {
            let mut fields = fields_of(&usersig);
            assert!(fields.as_object_mut().unwrap().remove(name).is_some(), "{name} is there");
            assert_eq!(refusal_of_json(&fields.to_string()), SigError::Missing(name));
        }
    }
}

#[test]
fn numbers_have_one_form() {
    // Signed over exactly this text, so it is the form that is refused and not the signature.
    for (expire, problem) in [
        (json!("086400"), "leading zero"),
        (json!("+86400"), "sign"),
        (json!("-86400"), "negative string"),
        (json!(" 86400"), "blank"),
        (json!("86400\n"), "line feed"),
        (json!(""), "empty"),
        (json!("18446744073709551616"), "2^64"),
        (json!("٣"), "other digits"),
        (json!(-86_400), "negative"),
        (json!(86_400.0), "float"),
        (json!(1e300), "huge float"),
        (json!(null), "null"),
        (json!(true), "boolean"),
        (json!([86_400]), "array"),
        (json!({"s": 86_400}), "object"),
    ] {
        let refused = refusal(&signed_v2("alice", &ISSUED.into(), &expire));
        assert_eq!(refused.code(), 70005, "{problem}: {refused}");
    }
    for (expire, text) in [("1e3", "exponent"), ("-0", "minus zero"), ("1E400", "beyond a double")] {
        let json = fields_of(&good()).to_string().replace("86400", expire);
        assert!(matches!(refusal_of_json(&json), SigError::Json(_)), "{text}");
    }
    let as_text = signed_v2("alice", &json!("1700000000"), &json!("86400"));
    assert!(verify(&as_text, ALICE, &secret_keys(), ISSUED).is_ok(), "a string of digits is as good");
}

#[test]
fn a_key_may_occur_once_only() {
    let json = fields_of(&good()).to_string();
    assert!(verify(&envelope::seal(json.as_bytes()), ALICE, &secret_keys(), ISSUED).is_ok());
    // The doubled value is the same, and one of the keys is spelt with an escape.
    for twice in [r#""TLS.identifier":"alice","#, r#""TLS.identifie\u0072":"alice","#] {
        let doubled = json.replacen('{', &format!("{{{twice}"), 1);
        assert!(matches!(refusal_of_json(&doubled), SigError::Json(_)), "{doubled}");
    }
}

#[test]
fn an_unknown_field_is_ignored_when_flat() {
    let with_extra = |extra: Value| {
        let mut fields = fields_of(&good());
        fields["TLS.future"] = extra;
        verify(&envelope::seal(fields.to_string().as_bytes()), ALICE, &secret_keys(), ISSUED)
    };
    assert!(with_extra(json!("x")).is_ok());
    assert!(matches!(with_extra(json!({"deep": [1]})), Err(SigError::Json(_))));
}

#[test]
fn version_1_signs_the_text_form_of_whatever_the_library_wrote() {
    let key = key::private_key(PKCS8).unwrap();
    let public = public_key();
    let keys = Keys { secret: None, public_key: Some(&public) };
    let lines = lines::Lines {
        user: "alice",
        sdkappid: "1400000000",
        issued_s: "1700000000",
        expire_s: "86400",
        userbuf: Some("YWJj"),
    };
    let check = |appid_at_3rd: &str, account_type: &str, mut fields: Value| {
        let text = lines.v1(appid_at_3rd, account_type);
        let sig = key.sign(&aws_lc_rs::rand::SystemRandom::new(), text.as_bytes()).unwrap();
        fields["TLS.sig"] = STANDARD.encode(sig).into();
        verify(&envelope::seal(fields.to_string().as_bytes()), ALICE, &keys, ISSUED)
    };
    let numbers = json!({"TLS.identifier": "alice", "TLS.sdk_appid": APP, "TLS.time": ISSUED,
        "TLS.expire_after": EXPIRE, "TLS.userbuf": "YWJj", "TLS.version": 201_512_300_000u64});
    let with = |third: Value, kind: Value| {
        let mut fields = numbers.clone();
        fields["TLS.appid_at_3rd"] = third;
        fields["TLS.account_type"] = kind;
        fields
    };
    let verified = check("1400000000", "144", with(json!(APP), json!(144))).unwrap();
    assert_eq!(verified.userbuf.as_deref(), Some(&b"abc"[..]));
    assert!(check("", "0", with(json!(""), json!("0"))).is_ok());
    assert!(check("0", "0", numbers.clone()).is_ok(), "both absent stand for 0");
    assert_eq!(check("1", "0", with(json!("0"), json!("0"))), Err(SigError::BadSignature));
    assert_eq!(check("0", "1", with(json!("0"), json!("0"))), Err(SigError::BadSignature));

    // One signed text, two readings: refused before the signature is even looked at.
    let injected =
        "\nTLS.account_type:0\nTLS.identifier:alice\nTLS.sdk_appid:1400000000\nTLS.time:1700000000";
    assert_eq!(check(injected, "0", with(json!(injected), json!("0"))).unwrap_err().code(), 70005);
    assert_eq!(check("0", injected, with(json!("0"), json!(injected))).unwrap_err().code(), 70005);
}

#[test]
fn one_key_never_verifies_for_the_other_version() {
    // The public key is public: used as an HMAC secret by a forger, it must open nothing.
    let key = public_key();
    let keys = Keys { secret: Some(SECRET), public_key: Some(&key) };
    let forged = sign_v2(PUBLIC, APP, "alice", ISSUED, EXPIRE, None);
    assert_eq!(verify(&forged, ALICE, &keys, ISSUED), Err(SigError::BadSignature));
    let xiaojun = Expect { sdkappid: APP, user: "xiaojun" };
    assert_eq!(verify(ECDSA_1, xiaojun, &keys, ISSUED), Err(SigError::BadSignature), "another App's key");
}

#[test]
fn the_envelope_is_one_whole_zlib_stream() {
    let good = zlib(fields_of(&good()).to_string().as_bytes());
    assert!(verify(&seal_zlib(&good), ALICE, &secret_keys(), ISSUED).is_ok());
    for (case, zlib) in [
        ("a byte after it", [&good[..], &[0]].concat()),
        ("twice", good.repeat(2)),
        ("checksum cut off", good[..good.len() - 4].to_vec()),
        ("raw deflate", good[2..].to_vec()),
        ("a preset dictionary", [&[0x78, 0xbb], &good[2..]].concat()),
        ("one byte", good[..1].to_vec()),
    ] {
        assert_eq!(refusal(&seal_zlib(&zlib)), SigError::Inflate, "{case}");
    }
}

#[test]
fn a_long_usersig_is_not_even_decoded() {
    assert_eq!(refusal(&"A".repeat(USERSIG_BYTES_MAX)), SigError::Inflate, "decoded, and no zlib stream");
    let bytes = USERSIG_BYTES_MAX + 4;
    assert_eq!(refusal(&"A".repeat(bytes)), SigError::TooLong { bytes });
    assert_eq!(SigError::TooLong { bytes }.code(), 70003);
}

#[test]
fn an_inflate_bomb_stops_at_the_bound() {
    let bomb = seal_zlib(&zlib(&vec![b' '; 2 << 20]));
    assert!(bomb.len() <= USERSIG_BYTES_MAX, "short enough to be tried: {}", bomb.len());
    assert_eq!(refusal(&bomb), SigError::InflateTooLarge);

    let padded = |length: usize| {
        let json = fields_of(&good()).to_string();
        let blank = " ".repeat(length - json.len());
        verify(&seal_zlib(&zlib(format!("{json}{blank}").as_bytes())), ALICE, &secret_keys(), ISSUED)
    };
    assert!(padded(JSON_BYTES_MAX).is_ok());
    let buffer = envelope::open(&good()).unwrap().capacity();
    assert!(buffer <= JSON_BYTES_MAX + 1, "the buffer has its size before the first byte: {buffer}");
    assert_eq!(padded(JSON_BYTES_MAX + 1), Err(SigError::InflateTooLarge));
}

#[test]
fn messages_and_debug_output_never_repeat_the_input_or_the_secret() {
    for usersig in [
        envelope::seal(br#""hush-hush""#),
        envelope::seal(br#"{"hush-hush":null}"#),
        envelope::seal(br#"{"TLS.ver":"hush-hush"}"#),
        sign_v2(SECRET, APP, "hush-hush", ISSUED, EXPIRE, None),
    ] {
        let refused = refusal(&usersig);
        assert!(!format!("{refused} {refused:?}").contains("hush"), "{refused:?}");
    }
    assert!(!format!("{:?}", secret_keys()).contains(SECRET));
}

#[test]
fn keys_of_the_wrong_kind_are_told_apart() {
    let with_parameters =
        format!("-----BEGIN EC PARAMETERS-----\nBggqhkjOPQMBBw==\n-----END EC PARAMETERS-----\n{SEC1}");
    let crlf = PKCS8.replace('\n', "\r\n");
    for private in [PKCS8, SEC1, &with_parameters, &crlf] {
        let usersig = sign_v1(private, APP, "alice", ISSUED, EXPIRE, None).unwrap();
        let key = public_key();
        let keys = Keys { secret: None, public_key: Some(&key) };
        assert!(verify(&usersig, ALICE, &keys, ISSUED).is_ok(), "{private}");
    }
    let sign = |pem: &str| sign_v1(pem, APP, "alice", ISSUED, EXPIRE, None).unwrap_err();
    assert_eq!(sign(""), KeyError::NoPrivateKey);
    assert_eq!(sign(PUBLIC), KeyError::NoPrivateKey);
    assert_eq!(sign(PKCS8_P384), KeyError::NotP256);
    let read = |pem: &str| PublicKey::from_pem(pem).unwrap_err();
    assert_eq!(read(""), KeyError::NoPublicKey);
    assert_eq!(read(PKCS8), KeyError::NoPublicKey);
    assert_eq!(read(&PUBLIC[..PUBLIC.len() - 30]), KeyError::NoPublicKey);
    assert_eq!(read(PUBLIC_P384), KeyError::NotP256);
    assert_eq!(read("-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n"), KeyError::NotP256);
}
