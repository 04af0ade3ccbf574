//! A server that speaks S3 (npm: `s3rver`), as another process: it checks signatures of version 4, takes objects in pieces, lists and
//! deletes them.
//!
//! Needs `npm` and its registry the first time: it goes into `npm-s3rver` in the target directory and stays there.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::sync_channel;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crate::node::{STUCK, output_within};

const PACKAGE: &str = "s3rver@3.7.1";
const INSTALL: Duration = Duration::from_secs(240);

/// The one key that it knows.
pub(crate) const KEY: &str = "S3RVER";

/// A running server with one bucket. Killed when it is dropped.
#[derive(Debug)]
pub(crate) struct Bucket {
    child: Child,
    pub(crate) address: SocketAddr,
    pub(crate) name: &'static str,
}

impl Bucket {
    /// Starts one whose objects lie in `dir`.
    pub(crate) fn start(dir: &Path) -> Self {
        let name = "files";
        let mut command = Command::new(program());
        command.args(["--address", "127.0.0.1", "--port", "0", "--configure-bucket", name]);
        command.arg("--directory").arg(dir).stdin(Stdio::null()).stdout(Stdio::piped());
        let mut child = command.stderr(Stdio::null()).spawn().unwrap();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        let (sender, said) = sync_channel(1);
        std::thread::spawn(move || {
            for line in stdout.lines().map_while(Result::ok) {
                if let Some(address) = line.strip_prefix("S3rver listening on ") {
                    let _ = sender.try_send(address.to_owned());
                }
            }
        });
        let Ok(address) = said.recv_timeout(STUCK) else {
            let _ = child.kill();
            panic!("s3rver does not listen: {:?}", child.wait());
        };
        Self { child, address: address.trim().parse().unwrap(), name }
    }
}

impl Drop for Bucket {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Where it is installed. Made aside and renamed, so that an interrupted run leaves nothing half done.
fn program() -> PathBuf {
    static ONE: Mutex<()> = Mutex::new(());
    let _one = ONE.lock().unwrap_or_else(PoisonError::into_inner);
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap();
    let (home, fresh) =
        (target.join("npm-s3rver"), target.join(format!("npm-s3rver.{}", std::process::id())));
    let program = |home: &Path| home.join("node_modules/.bin/s3rver");
    let installed = home.join("installed.txt");
    if fs::read_to_string(installed).is_ok_and(|found| found == PACKAGE) {
        return program(&home);
    }
    fs::create_dir_all(&fresh).unwrap();
    let mut npm = Command::new("npm");
    npm.args(["install", "--no-audit", "--no-fund", "--ignore-scripts", "--fetch-timeout=20000", PACKAGE]);
    let output = output_within(npm.current_dir(&fresh), INSTALL);
    let said = [&output.stdout[..], &output.stderr[..]].map(String::from_utf8_lossy).concat();
    assert!(output.status.success(), "npm: {}\n{said}", output.status);
    fs::write(fresh.join("installed.txt"), PACKAGE).unwrap();
    if home.exists() {
        fs::remove_dir_all(&home).unwrap();
    }
    fs::rename(&fresh, &home).unwrap();
    program(&home)
}
