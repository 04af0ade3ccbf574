//! Packages of npm for tests that talk to other implementations.
//!
//! Needs `npm` and its registry the first time: each package goes into `npm-NAME` in the target directory and stays there.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crate::node::output_within;

/// An installation takes a few seconds. This is for a slow registry; a hung one must not hang the tests.
const INSTALL: Duration = Duration::from_secs(240);

/// The `node_modules` that holds `package`, pinned as `name@version`. It is made aside and renamed, so that an interrupted run
/// leaves nothing half done. Nothing that a package would run at its installation is run.
///
/// # Panics
/// If it cannot be made; the message has what npm said.
pub(crate) fn modules(name: &str, package: &str) -> PathBuf {
    // Tests of one package run at once; the first installs it.
    static ONE: Mutex<()> = Mutex::new(());
    let _one = ONE.lock().unwrap_or_else(PoisonError::into_inner);
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap();
    let home = target.join(format!("npm-{name}"));
    if fs::read_to_string(home.join("installed.txt")).is_ok_and(|found| found == package) {
        return home.join("node_modules");
    }
    let fresh = target.join(format!("npm-{name}.{}", std::process::id()));
    fs::create_dir_all(&fresh).unwrap();
    let mut npm = Command::new("npm");
    npm.args(["install", "--no-audit", "--no-fund", "--ignore-scripts", "--fetch-timeout=20000", package]);
    let output = output_within(npm.current_dir(&fresh), INSTALL);
    let said = [&output.stdout[..], &output.stderr[..]].map(String::from_utf8_lossy).concat();
    assert!(output.status.success(), "npm: {}\n{said}", output.status);
    fs::write(fresh.join("installed.txt"), package).unwrap();
    if home.exists() {
        fs::remove_dir_all(&home).unwrap();
    }
    fs::rename(&fresh, &home).unwrap();
    home.join("node_modules")
}
