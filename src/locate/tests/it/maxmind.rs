//! MaxMind's own test files: of the source package of `geoip2`, which has them under the Apache and MIT licences.
//!
//! Needs `python3` with pip and a Python package registry the first time; the files stay in the target directory.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, PoisonError};

/// The folder with the files.
///
/// # Panics
/// If they are not there and cannot be fetched; the message has what the script said.
pub(crate) fn folder() -> PathBuf {
    static ONE: Mutex<()> = Mutex::new(());
    let _one = ONE.lock().unwrap_or_else(PoisonError::into_inner);
    let home = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap().join("maxmind-4.8.0");
    if !home.exists() {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/maxmind.sh");
        let output = Command::new("sh").arg(script).arg(&home).output().unwrap();
        let said = [&output.stdout[..], &output.stderr[..]].map(String::from_utf8_lossy).concat();
        assert!(output.status.success(), "{said}");
    }
    home
}
