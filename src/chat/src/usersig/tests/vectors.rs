//! Strings made by the official libraries with a fixed clock, and checks that ours mean the same.

use super::*;

const SAMPLE_SECRET: &str = "5bd2850fff3ecb11d7c805251c51ee463a25727bddc2385f3fa8bfee1bb93b5e";
const SAMPLE_ISSUED: u64 = 1_700_000_000;
const HALF_YEAR: u64 = 15_552_000;

const HMAC_1_SIG: &str = "LvA7d/Iw7gSsnskvVzBDPOCCDbuNCw4GHwTC0bip+B4=";
pub(super) const HMAC_1A: &str = "eJyrVgrxCdYrSy1SslJQMtIzUNJRAItkpqTmlWSmZUIkKjIT87NK82CSxSnZiQUFmSlAKUMTAyiAyqVWFGQWpYJkTE1NjRDiJZm5YFFzNPXFmekgG3zKHM1T9D3LzdODi-OKs8vCqpxcAvydnV2SSv2cy03cPcpDnA2SMgu0nUxslWoBHdYzUg__";
pub(super) const HMAC_1B: &str = "eJyrVgrxCdYrSy1SslIy0jNQ0gHzM1NS80oy0zLBwhWZiflZpXlQqeKU7MSCgswUJStDEwMogMiUZOamKlkZmqOKplYUZBaBxE1NTY3gosWZ6UpWSj5ljuYp*p7l5unBxXnF2WVhVU4uAf7Ozi5JpX7O5SbuHuUhzgZJmQXaTia2SrUAohcx8g__";
pub(super) const HMAC_2: &str = "eJyrVgrxCdYrSy1SslJQMtIzUNJRAItkpqTmlWSmZUIkElNyM-Myi0uKEkvyi2BKilOyEwsKMlOACiygACqTWlGQWZQKEjczMTCACpZk5oKEDM0MoABmTGY6yIqQ4nTPTEOnJDNt57RyU0v3fOdw13Bzf*ec5HynVK*kCg8nL8-EML-8bN9sW6VaAPicNQc_";
pub(super) const HMAC_3: &str = "eJyrVgrxCdYrSy1SslJQMtIzUNJRAItkpqTmlWSmZUIkSotTi*IddQ0MYdLFKdmJBQWZKUBJQxMDCDCEyqVWFGQWpQJlzAxMLAwMoKIlmbkgMUMLS2MTUzMDuHhxZjrIhmBLI7Pk-Ex9x0Jf-QjzoCIPzxyjooLkZFPjNCfLZKcU88CS5BTfTCN-ExNbpVoAxUMyOg__";
pub(super) const HMAC_4: &str = "eJyrVgrxCdYrSy1SslJQMtIzUNJRAItkpqTmlWSmZUIkKjIT87NK82CSxSnZiQUFmSlAKUMTAyiAyqVWFGQWpYJkTE1NjRDiJZm5YFFzNPWlxalFSaVpIFsiw72y4FZkpoOEArNCjAwMKwKyI7L1E30NU7UrDcoSs6OSDLyNMgOK3EpTtbUNik0rzZLcfG2VagHdkjl6";
pub(super) const ECDSA_1: &str = "eJxdzFFvgjAUhuG-YnrrMilCL5bsZmwmKDPicCI3TSeFHRfaptQOXPzvS50kZufyfXK*H5Qlb-dsv5dHYajpFUcPI*Shu9EFoOTCQAVcu9wBk4ejGJApBSVlhk516XjobflFL*YiDrzrDcw7BZpTVpm-VRyGoX-jlusWpHDkezjEvhcMZKDh15d-oy3UDl5fNlGcPud91-Q9OTXFNLdRRk7j1UKUCYCdLTpbC5kmQVQUWs3SuM7JRzaxy4ik68qS-NCo721s1xbPJ*pT7nT29L5ZzXdLOQ4e0fkXRlFatQ__";
const ECDSA_1_PUBLIC: &str = "-----BEGIN PUBLIC KEY-----
MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEPx42GIfCJIKujzyibo8Fzw98O1nu
a8nYn0pCr4LwMdAygKrra7QNhQbn/HMe8yi1w2uUxExqCipDI8XVenIuEg==
-----END PUBLIC KEY-----
";

/// One string of an official library, with everything needed to check it.
pub(super) struct Vector {
    pub(super) name: &'static str,
    pub(super) usersig: &'static str,
    pub(super) secret: &'static str,
    pub(super) public_key: Option<PublicKey>,
    pub(super) expect: Expect<'static>,
    pub(super) verified: Verified,
}

impl Vector {
    pub(super) fn keys(&self) -> Keys<'_> {
        Keys { secret: Some(self.secret), public_key: self.public_key.as_ref() }
    }
}

fn hmac_vector(
    name: &'static str,
    usersig: &'static str,
    secret: &'static str,
    expect: Expect<'static>,
    (issued_s, expire_s): (u64, u64),
    userbuf: Option<&[u8]>,
) -> Vector {
    let userbuf = userbuf.map(<[u8]>::to_vec);
    let verified = Verified { issued_s, expires_s: issued_s + expire_s, userbuf, version: Version::V2 };
    Vector { name, usersig, secret, public_key: None, expect, verified }
}

pub(super) fn all() -> Vec<Vector> {
    let xiaojun = Expect { sdkappid: 1_400_000_000, user: "xiaojun" };
    let admin = Expect { sdkappid: 88_888_888, user: "administrator" };
    let user_a = Expect { sdkappid: 1_400_000_001, user: "user_A-01" };
    let sample = (SAMPLE_ISSUED, HALF_YEAR);
    vec![
        hmac_vector("HMAC-1 (a)", HMAC_1A, SAMPLE_SECRET, xiaojun, sample, None),
        hmac_vector("HMAC-1 (b)", HMAC_1B, SAMPLE_SECRET, xiaojun, sample, None),
        hmac_vector("HMAC-2", HMAC_2, SECRET, admin, (1_600_000_000, 86_400), None),
        hmac_vector("HMAC-3", HMAC_3, SECRET, user_a, (1_893_456_000, 604_800), None),
        hmac_vector("HMAC-4", HMAC_4, SAMPLE_SECRET, xiaojun, sample, Some(b"abc")),
        Vector {
            name: "ECDSA-1",
            usersig: ECDSA_1,
            secret: SECRET,
            public_key: Some(PublicKey::from_pem(ECDSA_1_PUBLIC).unwrap()),
            expect: xiaojun,
            verified: Verified {
                issued_s: 1_550_000_000,
                expires_s: 1_550_000_000 + HALF_YEAR,
                userbuf: None,
                version: Version::V1,
            },
        },
    ]
}

#[test]
fn every_official_vector_verifies_until_its_last_second() {
    for vector in all() {
        let Vector { name, usersig, expect, verified, .. } = &vector;
        let check = |now_s| verify(usersig, *expect, &vector.keys(), now_s);
        for good_s in [0, verified.issued_s, verified.issued_s + 100, verified.expires_s - 1] {
            assert_eq!(check(good_s).as_ref(), Ok(verified), "{name} at {good_s}");
        }
        for late_s in [verified.expires_s, verified.expires_s + 1, u64::MAX] {
            let expired = SigError::Expired { expired_s: verified.expires_s, now_s: late_s };
            assert_eq!(check(late_s), Err(expired), "{name} at {late_s}");
        }
    }
}

#[test]
fn our_signatures_are_those_of_the_vectors() {
    let signatures = [
        HMAC_1_SIG,
        HMAC_1_SIG,
        "TsgIi1Bb6+Cfw59GoCWEW7OClcoBeJbxHBJIaVNokMk=",
        "S926coi/AqM/X7RrHIl2rpcc53fB9cBd7QtcdMi2O44=",
        "QjT201xPkXk/aM1e+y0vakZb0K2iPrFue++0s5y6bFM=",
    ];
    for (vector, signature) in all().iter().zip(signatures) {
        let Vector { name, usersig, secret, expect, verified, .. } = vector;
        let ours = sign_v2(
            secret,
            expect.sdkappid,
            expect.user,
            verified.issued_s,
            verified.expires_s - verified.issued_s,
            verified.userbuf.as_deref(),
        );
        assert_eq!(fields_of(&ours)["TLS.sig"], signature, "{name}");
        assert_eq!(fields_of(&ours), fields_of(usersig), "{name}");
    }
}

#[test]
fn every_vector_cut_anywhere_is_refused() {
    for vector in all() {
        for length in 0..vector.usersig.len() {
            let refused = verify(&vector.usersig[..length], vector.expect, &vector.keys(), 0).unwrap_err();
            let expected = if length == 0 { &[70002][..] } else { &[70003, 70005] };
            assert!(expected.contains(&refused.code()), "{} cut at {length}: {refused}", vector.name);
        }
    }
}
