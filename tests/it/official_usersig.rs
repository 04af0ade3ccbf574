//! UserSigs of the official signing libraries (PyPI and npm: `tls-sig-api-v2`) against the running program: a login and REST take
//! what they sign, and each way to spoil it has the 70xxx code of the contract at both doors.

use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use flate2::Compression;
use flate2::read::ZlibDecoder;
use flate2::write::ZlibEncoder;
use nearport_chat::usersig::sign_v1;
use nearport_client::{Config, ConnectError};
use serde_json::{Value, json};

use crate::node::{STUCK, output};
use crate::rest::{BackEnd, start};
use crate::sdk::Access;
use crate::{npm, python};

const PYTHON: [&str; 1] = ["tls-sig-api-v2==1.1"];
const NODE: &str = "tls-sig-api-v2@1.0.2";

const DAY_S: u64 = 86_400;

/// Throw-away key, public since the version 1 library carries it as its sample.
const PRIVATE_KEY: &str = "\
-----BEGIN PRIVATE KEY-----
MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgkTfHxPa8YusG+va8
1CRztNQBOEr90TBEjlQBZ5d1Y0ChRANCAAS9isP/xLib7EZ1vS5OUy+gOsYBwees
PMDvWiTygPAUsGZv1PHLoa0ciqsElkO1fMGwNrzOKJx1Oo194Ri+SypV
-----END PRIVATE KEY-----
";

/// What is asked of a library.
#[derive(Debug, Clone)]
struct Ask {
    app: u32,
    key: String,
    user: String,
    expire_s: u64,
    issued_s: u64,
    userbuf: Option<&'static str>,
}

impl Ask {
    fn json(&self) -> Value {
        json!({
            "app": self.app, "key": self.key, "user": self.user, "expire_s": self.expire_s, "issued_s": self.issued_s,
            "userbuf": self.userbuf,
        })
    }
}

/// What a row asks for, and what becomes of the text before it is sent.
struct Row {
    what: &'static str,
    /// Changes what the library is asked for.
    ask: fn(&mut Ask),
    /// Changes what it has answered.
    spoil: fn(String) -> String,
    /// 0: it is taken.
    code: u64,
}

const SAME: fn(&mut Ask) = |_| {};
const AS_IT_IS: fn(String) -> String = |usersig| usersig;

#[rustfmt::skip]
const ROWS: &[Row] = &[
    Row { what: "as it is",               ask: SAME, spoil: AS_IT_IS, code: 0 },
    Row { what: "with a userbuf",         ask: |ask| ask.userbuf = Some("a room and its rights"), spoil: AS_IT_IS, code: 0 },
    Row { what: "of yesterday",            ask: |ask| (ask.issued_s, ask.expire_s) = (ask.issued_s - DAY_S + 60, DAY_S), spoil: AS_IT_IS, code: 0 },
    Row { what: "expired",                ask: |ask| (ask.issued_s, ask.expire_s) = (ask.issued_s - DAY_S, DAY_S - 60), spoil: AS_IT_IS, code: 70001 },
    Row { what: "empty",                  ask: SAME, spoil: |_| String::new(), code: 70002 },
    Row { what: "cut short",              ask: SAME, spoil: |mut usersig| { usersig.truncate(usersig.len() - 3); usersig }, code: 70003 },
    Row { what: "a letter too many",      ask: SAME, spoil: |usersig| format!("{usersig}x"), code: 70003 },
    Row { what: "the alphabet of others", ask: SAME, spoil: |usersig| format!("+{}", &usersig[1..]), code: 70003 },
    Row { what: "very long",              ask: SAME, spoil: |usersig| usersig.repeat(30), code: 70003 },
    Row { what: "a letter changed",       ask: SAME, spoil: damaged, code: 70005 },
    Row { what: "half of it",             ask: SAME, spoil: |usersig| usersig[..usersig.len() / 8 * 4].to_owned(), code: 70005 },
    Row { what: "no fields",              ask: SAME, spoil: |_| pack(b"[]"), code: 70005 },
    Row { what: "no signature",           ask: SAME, spoil: |usersig| edit(&usersig, |fields| fields["TLS.sig"] = Value::Null), code: 70005 },
    Row { what: "of a later version",     ask: SAME, spoil: |usersig| edit(&usersig, |fields| fields["TLS.ver"] = "3.0".into()), code: 70005 },
    Row { what: "of another key",         ask: |ask| ask.key = "0".repeat(64), spoil: AS_IT_IS, code: 70009 },
    Row { what: "made to last longer",    ask: SAME, spoil: |usersig| edit(&usersig, |fields| fields["TLS.expire"] = (10 * DAY_S).into()), code: 70009 },
    Row { what: "made younger",           ask: SAME, spoil: |usersig| edit(&usersig, |fields| fields["TLS.time"] = (fields["TLS.time"].as_u64().unwrap() + 1).into()), code: 70009 },
    Row { what: "a userbuf put in",       ask: SAME, spoil: |usersig| edit(&usersig, |fields| fields["TLS.userbuf"] = "eA==".into()), code: 70009 },
    Row { what: "another signature",      ask: SAME, spoil: |usersig| edit(&usersig, |fields| fields["TLS.sig"] = STANDARD.encode([7; 32]).into()), code: 70009 },
    Row { what: "of another user",        ask: |ask| ask.user = "somebody".into(), spoil: AS_IT_IS, code: 70013 },
    Row { what: "of another App",         ask: |ask| ask.app += 1, spoil: AS_IT_IS, code: 70014 },
];

/// One letter of the compressed part is another one: a checksum notices.
fn damaged(usersig: String) -> String {
    let mut letters = usersig.into_bytes();
    let at = letters.len() / 2;
    letters[at] = if letters[at] == b'A' { b'B' } else { b'A' };
    String::from_utf8(letters).unwrap()
}

fn edit(usersig: &str, change: impl FnOnce(&mut Value)) -> String {
    let text = usersig.replace('*', "+").replace('-', "/").replace('_', "=");
    let mut json = Vec::new();
    ZlibDecoder::new(&STANDARD.decode(text).unwrap()[..]).read_to_end(&mut json).unwrap();
    let mut fields: Value = serde_json::from_slice(&json).unwrap();
    change(&mut fields);
    fields.as_object_mut().unwrap().retain(|_, value| !value.is_null());
    pack(fields.to_string().as_bytes())
}

fn pack(json: &[u8]) -> String {
    let mut packed = ZlibEncoder::new(Vec::new(), Compression::default());
    packed.write_all(json).unwrap();
    STANDARD.encode(packed.finish().unwrap()).replace('+', "*").replace('/', "-").replace('=', "_")
}

/// The two doors of a node.
struct Doors {
    back_end: BackEnd,
    access: Access,
    client: Config,
}

impl Doors {
    /// The code of REST. A user who is let in and no administrator is told so by the account service: 70403.
    fn rest(&self, app: u32, user: &str, usersig: &str) -> u64 {
        // By the rules of a query: a signing library's letters need no escape.
        let usersig: String = url::form_urlencoded::byte_serialize(usersig.as_bytes()).collect();
        let query = format!("sdkappid={app}&identifier={user}&usersig={usersig}&random=7&contenttype=json");
        let answer =
            self.back_end.ask("im_open_login_svc/account_check", &query, r#"{"CheckItem":[{"UserID":"x"}]}"#);
        answer["ErrorCode"].as_u64().unwrap()
    }

    /// The code of a login, 0 if it is one.
    async fn login(&self, app: u32, user: &str, usersig: &str) -> u64 {
        let config = Config { app, user: user.into(), usersig: usersig.into(), ..self.client.clone() };
        let client = self.access.connect(config);
        let code = match client.ready(STUCK).await {
            Ok(()) => 0,
            Err(ConnectError::Stopped { reason, .. }) => reason
                .split(' ')
                .next()
                .and_then(|code| code.parse().ok())
                .unwrap_or_else(|| panic!("{reason}")),
            Err(other) => panic!("{user}: {other}"),
        };
        client.close().await;
        code
    }
}

/// A library, and what runs it.
struct Library {
    name: &'static str,
    sign: fn(&str) -> Command,
}

fn script(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/interop/usersig").join(name)
}

const LIBRARIES: [Library; 2] = [
    Library {
        name: "py",
        sign: |asked| {
            let mut command = Command::new(python::python("usersig-v2", &PYTHON));
            command.arg(script("sign.py")).arg(asked);
            command
        },
    },
    Library {
        name: "js",
        sign: |asked| {
            let mut command = Command::new("node");
            command.arg(script("sign.js"));
            command.arg(npm::modules("usersig-v2", NODE).join("tls-sig-api-v2")).arg(asked);
            command
        },
    },
];

impl Library {
    fn sign(&self, asks: &[Ask]) -> Vec<String> {
        let asked = Value::from_iter(asks.iter().map(Ask::json)).to_string();
        let output = output(&mut (self.sign)(&asked));
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_slice(&output.stdout).unwrap()
    }
}

fn unix_s() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_official_libraries_sign_is_taken_and_what_is_changed_has_its_code() {
    let (dir, node, back_end) = start(&["--set", "chat.login_failures_max=3"]);
    let access = Access::of(&node, dir.path());
    let client: toml::Table =
        std::fs::read_to_string(dir.path().join("data/client.toml")).unwrap().parse().unwrap();
    let (app, key) = (back_end.app, client["key"].as_str().unwrap().to_owned());
    let client = access.config("alice", &[]);
    let doors = Doors { back_end, access, client };
    let ask = |user: String| Ask {
        app,
        key: key.clone(),
        user,
        expire_s: DAY_S,
        issued_s: unix_s(),
        userbuf: None,
    };
    for library in &LIBRARIES {
        // A user of its own for each row: refusals are counted by user.
        let name = |row: usize| format!("{}{row}", library.name);
        let asks: Vec<_> = ROWS
            .iter()
            .enumerate()
            .map(|(at, row)| {
                let mut ask = ask(name(at));
                (row.ask)(&mut ask);
                ask
            })
            .collect();
        for (at, (row, usersig)) in ROWS.iter().zip(library.sign(&asks)).enumerate() {
            let (user, usersig) = (name(at), (row.spoil)(usersig));
            let what = format!("{}: {}", library.name, row.what);
            assert_eq!(doors.login(app, &user, &usersig).await, row.code, "{what}: login");
            let want = if row.code == 0 { 70403 } else { row.code };
            assert_eq!(doors.rest(app, &user, &usersig), want, "{what}: REST");
        }

        let admin = library.sign(&[ask("administrator".into())]).remove(0);
        assert_eq!(doors.rest(app, "administrator", &admin), 0, "{}: an administrator", library.name);
        assert_eq!(doors.rest(app + 7, "administrator", &admin), 60006, "{}: no such App", library.name);
        assert_eq!(
            doors.login(app + 7, "administrator", &admin).await,
            70020,
            "{}: no such App",
            library.name
        );

        // A kick takes back what was signed in front of it.
        let kicked = format!("{}-kicked", library.name);
        let earlier = Ask { issued_s: unix_s() - 60, ..ask(kicked.clone()) };
        let later = Ask { issued_s: unix_s() + 60, ..ask(kicked.clone()) };
        let [before, after] = <[String; 2]>::try_from(library.sign(&[earlier, later])).unwrap();
        assert_eq!(doors.login(app, &kicked, &before).await, 0);
        doors.back_end.done("im_open_login_svc/kick", &json!({ "UserID": kicked }));
        assert_eq!(doors.login(app, &kicked, &before).await, 70001, "{}: kicked", library.name);
        assert_eq!(doors.login(app, &kicked, &after).await, 0, "{}: signed later", library.name);

        // Too many refusals keep the good one out too, for a minute at most.
        let tried = format!("{}-tried", library.name);
        let wrong = Ask { key: "0".repeat(64), ..ask(tried.clone()) };
        let [wrong, good] = <[String; 2]>::try_from(library.sign(&[wrong, ask(tried.clone())])).unwrap();
        let codes: Vec<_> = (0..7).map(|_| doors.rest(app, &tried, &wrong)).collect();
        assert_eq!(codes[0], 70009);
        // The counting minute may end once in between.
        assert!(codes.contains(&70050), "{}: {codes:?}", library.name);
        assert!([70050, 70403].contains(&doors.rest(app, &tried, &good)));
    }
    // Version 1 at an App that has no public key.
    let v1 = sign_v1(PRIVATE_KEY, app, "older", unix_s(), DAY_S, None).unwrap();
    assert_eq!((doors.login(app, "older", &v1).await, doors.rest(app, "older", &v1)), (70016, 70016));
}
