//! UserSigs of the official signing libraries verify here, and those libraries agree with ours.
//!
//! Needs `python3` with its `venv` module, and a Python package registry the first time: the libraries go into
//! `pyvenv-usersig` in the target directory and stay there.

use std::fs;
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use nearport_chat::usersig::{Expect, Keys, PublicKey, SigError, Version, sign_v1, sign_v2, verify};
use serde_json::{Value, json};

/// The version 1 library calls `OpenSSL.crypto.sign`, which later releases of pyOpenSSL have not.
const REQUIREMENTS: [&str; 4] =
    ["tls-sig-api-v2==1.1", "tls-sig-api==1.4", "pyOpenSSL==23.2.0", "cryptography==41.0.7"];

/// An installation from the registry takes 10 s. This is for a slow one; a hung one must not hang the tests.
const INSTALL_LIMIT: Duration = Duration::from_secs(240);
const RUN_LIMIT: Duration = Duration::from_secs(60);

const SECRET: &str = "5bd2850fff3ecb11d7c805251c51ee463a25727bddc2385f3fa8bfee1bb93b5e";
const ISSUED: u64 = 1_700_000_000;

/// Throw-away key pair, public since the version 1 library carries it as its sample.
const PRIVATE_KEY: &str = "\
-----BEGIN PRIVATE KEY-----
MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgkTfHxPa8YusG+va8
1CRztNQBOEr90TBEjlQBZ5d1Y0ChRANCAAS9isP/xLib7EZ1vS5OUy+gOsYBwees
PMDvWiTygPAUsGZv1PHLoa0ciqsElkO1fMGwNrzOKJx1Oo194Ri+SypV
-----END PRIVATE KEY-----
";
const PUBLIC_KEY: &str = "\
-----BEGIN PUBLIC KEY-----
MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEvYrD/8S4m+xGdb0uTlMvoDrGAcHn
rDzA71ok8oDwFLBmb9Txy6GtHIqrBJZDtXzBsDa8ziicdTqNfeEYvksqVQ==
-----END PUBLIC KEY-----
";

/// Runs to the end within `limit` and gives the output, or says what went wrong with all that was printed.
fn run(command: &mut Command, input: &str, limit: Duration) -> Result<String, String> {
    let (mut read_end, write_end) = std::io::pipe().map_err(|e| format!("pipe: {e}"))?;
    let errors = write_end.try_clone().map_err(|e| format!("pipe: {e}"))?;
    command.stdin(Stdio::piped()).stdout(write_end).stderr(errors);
    let shown = format!("{command:?}");
    let mut child = command.spawn().map_err(|e| format!("{shown}: {e}"))?;
    // Until the command lets go of its copies, this process holds write ends and the reader would never see the end.
    command.stdout(Stdio::null()).stderr(Stdio::null());
    let (done, output) = mpsc::sync_channel(1);
    let reader = std::thread::spawn(move || {
        let mut text = String::new();
        let read = read_end.read_to_string(&mut text);
        // The receiver is gone only after the limit has passed.
        let _ = done.send(read.map(|_| text));
    });
    let written = child.stdin.take().expect("piped above").write_all(input.as_bytes());
    let Ok(text) = output.recv_timeout(limit) else {
        child.kill().and_then(|()| child.wait()).map_err(|e| format!("{shown}: {e}"))?;
        return Err(format!("{shown}: no end within {limit:?}"));
    };
    reader.join().expect("the reader does not panic");
    let text = text.map_err(|e| format!("{shown}: {e}"))?;
    let status = child.wait().map_err(|e| format!("{shown}: {e}"))?;
    match (status.success(), written) {
        (true, Ok(())) => Ok(text),
        (true, Err(e)) => Err(format!("{shown}: {e}\n{text}")),
        (false, _) => Err(format!("{shown}: {status}\n{text}")),
    }
}

/// Makes the environment once. A new one is built aside and renamed, so that an interrupted run leaves nothing half done.
fn python() -> Result<PathBuf, String> {
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().expect("tmp lies in the target directory");
    let home = target.join("pyvenv-usersig");
    let stamp = REQUIREMENTS.join("\n");
    let python_of = |home: &Path| home.join("bin/python");
    // The import notices a system Python that has gone since.
    let ready = fs::read_to_string(home.join("installed.txt")).is_ok_and(|found| found == stamp)
        && run(Command::new(python_of(&home)).args(["-c", "import TLSSigAPI"]), "", RUN_LIMIT).is_ok();
    if ready {
        return Ok(python_of(&home));
    }
    let fresh = target.join(format!("pyvenv-usersig.{}", std::process::id()));
    install(&fresh).inspect_err(|_| drop(fs::remove_dir_all(&fresh)))?;
    let place = || {
        fs::write(fresh.join("installed.txt"), &stamp)?;
        if home.exists() {
            fs::remove_dir_all(&home)?;
        }
        fs::rename(&fresh, &home)
    };
    place().map_err(|e| format!("{}: {e}", home.display()))?;
    Ok(python_of(&home))
}

fn install(home: &Path) -> Result<(), String> {
    run(Command::new("python3").args(["-m", "venv"]).arg(home), "", RUN_LIMIT)?;
    let pip = ["-m", "pip", "install", "--quiet", "--no-input", "--disable-pip-version-check"];
    let patience = ["--timeout", "20", "--retries", "2"];
    let mut command = Command::new(home.join("bin/python"));
    run(command.args(pip).args(patience).args(REQUIREMENTS), "", INSTALL_LIMIT).map(drop)
}

/// What goes into one UserSig, for both sides.
struct Case {
    version: Version,
    sdkappid: u32,
    user: &'static str,
    expire_s: u64,
    userbuf: Option<&'static [u8]>,
}

impl Case {
    fn ours(&self) -> String {
        let Self { sdkappid, user, expire_s, userbuf, .. } = *self;
        match self.version {
            Version::V1 => sign_v1(PRIVATE_KEY, sdkappid, user, ISSUED, expire_s, userbuf)
                .expect("the sample key is good"),
            Version::V2 => sign_v2(SECRET, sdkappid, user, ISSUED, expire_s, userbuf),
        }
    }

    fn json(&self) -> Value {
        let (version, key) = match self.version {
            Version::V1 => (1, PRIVATE_KEY),
            Version::V2 => (2, SECRET),
        };
        json!({
            "version": version, "key": key, "public_key": PUBLIC_KEY, "sdkappid": self.sdkappid, "user": self.user,
            "issued_s": ISSUED, "expire_s": self.expire_s, "userbuf": self.userbuf.map(|b| STANDARD.encode(b)),
            "ours": self.ours(),
        })
    }

    fn check(&self, answer: &Value) {
        let name = format!("{:?} of {:?}", self.version, self.user);
        assert_eq!(answer["ours_agrees"], true, "{name}: {}", answer["why"]);
        let official = answer["official"].as_str().expect("the script puts a string there");
        let key = PublicKey::from_pem(PUBLIC_KEY).expect("the sample key is good");
        let keys = Keys { secret: Some(SECRET), public_key: Some(&key) };
        let expect = Expect { sdkappid: self.sdkappid, user: self.user };
        let end_s = ISSUED + self.expire_s;

        let verified = verify(official, expect, &keys, end_s - 1).unwrap_or_else(|e| panic!("{name}: {e}"));
        assert_eq!(
            (verified.version, verified.issued_s, verified.expires_s),
            (self.version, ISSUED, end_s),
            "{name}"
        );
        assert_eq!(verified.userbuf.as_deref(), self.userbuf, "{name}");
        let late = verify(official, expect, &keys, end_s);
        assert_eq!(late, Err(SigError::Expired { expired_s: end_s, now_s: end_s }), "{name}");
        let other = verify(official, Expect { user: "somebody", ..expect }, &keys, ISSUED);
        assert_eq!(other, Err(SigError::WrongUser), "{name}");
    }
}

#[test]
fn the_official_libraries_and_ours_agree() {
    let python = python().unwrap_or_else(|e| {
        panic!("the official UserSig libraries are not there; this needs python3 with venv and a package registry\n{e}")
    });
    let v2 = |user, userbuf| Case {
        version: Version::V2,
        sdkappid: 1_400_000_000,
        user,
        expire_s: 86_400,
        userbuf,
    };
    let v1 = |user| Case { version: Version::V1, ..v2(user, None) };
    let every_byte: &'static [u8] = (0..=255).collect::<Vec<u8>>().leak();
    let cases = [
        v2("xiaojun", None),
        v2("xiaojun", Some(b"abc")),
        v2("xiaojun", Some(b"")),
        v2("xiaojun", Some(every_byte)),
        v2("a \"quoted\" \\ name/with:signs~", None),
        v2("小军", None),
        v2("0123456789abcdef0123456789abcdef", None),
        Case { sdkappid: u32::MAX, expire_s: 1, ..v2("administrator", None) },
        Case { sdkappid: 0, expire_s: 1 << 40, ..v2("user_A-01", Some(b"\x00\xff")) },
        v1("xiaojun"),
        v1("a \"quoted\" \\ name/with:signs~"),
        Case { sdkappid: u32::MAX, expire_s: 1, ..v1("administrator") },
    ];
    let questions = Value::from_iter(cases.iter().map(Case::json)).to_string();
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/it/usersig_official.py");
    let answers =
        run(Command::new(python).arg(script), &questions, RUN_LIMIT).unwrap_or_else(|e| panic!("{e}"));
    let answers: Vec<Value> = serde_json::from_str(&answers).unwrap_or_else(|e| panic!("{e}: {answers}"));
    assert_eq!(answers.len(), cases.len());
    for (case, answer) in cases.iter().zip(&answers) {
        case.check(answer);
    }
}
