//! A key takes the place of another while the App goes on.

use std::time::{SystemTime, UNIX_EPOCH};

use nearport_chat::usersig::{sign_v1, sign_v2};
use nearport_client::{Client, Config};
use serde_json::{Value, json};

use super::Stage;
use crate::node::STUCK;
use crate::sdk::Access;

const CHECK: &str = "im_open_login_svc/account_check";

fn now_s() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

impl Stage {
    fn check(&self, usersig: &str) -> u64 {
        let query = format!("sdkappid={}&identifier=administrator&usersig={usersig}", self.app);
        let body = json!({ "CheckItem": [{ "UserID": "alice" }] }).to_string();
        self.back_end.ask(CHECK, &query, &body)["ErrorCode"].as_u64().unwrap()
    }

    fn signed(&self, secret: &str, user: &str) -> String {
        sign_v2(secret, self.back_end.app, user, now_s(), 3600, None)
    }

    /// The node reads keys when it is asked for settings by anybody who may ask.
    fn hear_by(&self, usersig: &str) {
        let query = format!("sdkappid={}&identifier=administrator&usersig={usersig}", self.app);
        let answer = self.back_end.ask("nearport/app_settings_get", &query, "{}");
        assert_eq!(answer["ErrorCode"], 0, "{answer}");
    }
}

/// Whether a login by this UserSig gets in, and what for it does not.
async fn login(access: &Access, config: Config) -> Result<Client, String> {
    let client = access.connect(config);
    match client.ready(STUCK).await {
        Ok(()) => Ok(client),
        Err(error) => Err(error.to_string()),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_keys_are_good_at_once_and_what_a_withdrawn_one_proved_falls() {
    let stage = Stage::start(&[]);
    let access = Access::of(&stage.node, stage.dir.path());
    let shown: Value = serde_json::from_str(&stage.app(&["show", &stage.app])).unwrap();
    let first = shown["key"].as_str().unwrap().to_owned();
    let old = stage.signed(&first, "administrator");
    // Verified, and remembered.
    assert_eq!(stage.check(&old), 0);

    let added: Value = serde_json::from_str(&stage.app(&["key", "add", &stage.app, "second"])).unwrap();
    let second = added["key"].as_str().unwrap().to_owned();
    assert_eq!((&added["name"], second.len()), (&json!("second"), 64));
    let third = stage.try_app(&["key", "add", &stage.app, "third"]);
    assert!(String::from_utf8_lossy(&third.stderr).contains("2 keys already"), "{third:?}");
    let listed = stage.app(&["key", "list", &stage.app]);
    assert_eq!(listed.lines().count(), 2);
    assert!(!listed.contains(&first) && !listed.contains(&second), "{listed}");

    stage.hear_by(&old);
    let new = stage.signed(&second, "administrator");
    assert_eq!((stage.check(&old), stage.check(&new)), (0, 0));
    let by =
        |secret: &str, user: &str| Config { usersig: stage.signed(secret, user), ..access.config(user, &[]) };
    let alice = login(&access, by(&first, "alice")).await.unwrap();
    let bob = login(&access, by(&second, "bob")).await.unwrap();
    let token = alice.resume_state();
    assert!(token.is_some());
    tokio::join!(alice.close(), bob.close());

    // A token alone comes back as long as the key is good.
    let resumed = |secret: &str| Config { resume: token.clone(), ..by(secret, "alice") };
    login(&access, resumed("nobody's")).await.unwrap().close().await;

    stage.app(&["key", "withdraw", &stage.app, "first"]);
    stage.hear_by(&new);
    assert_eq!((stage.check(&old), stage.check(&new)), (70009, 0));
    let refused = login(&access, by(&first, "alice")).await.unwrap_err();
    assert!(refused.contains("70009"), "{refused}");
    let refused = login(&access, resumed(&first)).await.unwrap_err();
    assert!(refused.contains("70009"), "what the token stands for has fallen: {refused}");
    login(&access, resumed(&second)).await.unwrap().close().await;

    // Commands in the directory go on, with the key that is left; and there is no App without one.
    let client = std::fs::read_to_string(stage.dir.path().join("data/client.toml")).unwrap();
    assert!(client.contains(&second) && !client.contains(&first));
    assert!(stage.node.nearport(&["send", "--user", "alice", "--to", "bob", "hi"]).status.success());
    let last = stage.try_app(&["key", "withdraw", &stage.app, "second"]);
    assert!(String::from_utf8_lossy(&last.stderr).contains("only key"), "{last:?}");

    let records = stage.exported(&["--app", &stage.app]);
    let acts: Vec<_> = records.iter().filter_map(|record| record["act"].as_str()).collect();
    assert!(acts.contains(&"app key add") && acts.contains(&"app key withdraw"), "{acts:?}");
    let text = json!(records).to_string();
    assert!(!text.contains(&first) && !text.contains(&second), "no secret is in the log");
}

#[test]
fn a_public_key_stands_beside_a_secret() {
    let stage = Stage::start(&[]);
    let pair = rcgen::KeyPair::generate().unwrap();
    let file = stage.dir.path().join("public.pem");
    std::fs::write(&file, pair.public_key_pem()).unwrap();
    let path = file.to_str().unwrap();
    let added: Value =
        serde_json::from_str(&stage.app(&["key", "add", &stage.app, "ec", "--public-key", path])).unwrap();
    assert_eq!(added["kind"], "ecdsa");
    stage.hear();
    let app = stage.back_end.app;
    let v1 = sign_v1(&pair.serialize_pem(), app, "administrator", now_s(), 3600, None).unwrap();
    assert_eq!((stage.check(&v1), stage.check(&stage.back_end.usersig("administrator"))), (0, 0));
    // A pair that is nobody's: refused by both.
    let other = rcgen::KeyPair::generate().unwrap();
    let forged = sign_v1(&other.serialize_pem(), app, "administrator", now_s(), 3600, None).unwrap();
    assert_eq!(stage.check(&forged), 70009);
    stage.app(&["key", "withdraw", &stage.app, "ec"]);
    stage.hear();
    assert_eq!(stage.check(&v1), 70016, "version 1 is off again");

    std::fs::write(&file, "no key").unwrap();
    let bad = stage.try_app(&["key", "add", &stage.app, "bad", "--public-key", path]);
    assert_eq!(bad.status.code(), Some(2), "{bad:?}");
    std::fs::write(&file, "short\n").unwrap();
    let bad = stage.try_app(&["key", "add", &stage.app, "bad", "--secret-file", path]);
    assert!(String::from_utf8_lossy(&bad.stderr).contains("16 to 256"), "{bad:?}");
    let own = "a secret that another system has signed with";
    std::fs::write(&file, format!("{own}\n")).unwrap();
    stage.app(&["key", "add", &stage.app, "own", "--secret-file", path]);
    stage.hear();
    assert_eq!(stage.check(&stage.signed(own, "administrator")), 0);
}
