//! Python environments for tests that compare with independent implementations.
//!
//! Needs `python3` with its `venv` module, and a Python package registry the first time: each environment goes into
//! `pyvenv-NAME` in the target directory and stays there.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, PoisonError};

use crate::node::output_within;

/// An installation takes about 10 s. This is for a slow registry; a hung one must not hang the tests.
const INSTALL: std::time::Duration = std::time::Duration::from_secs(240);

/// The `python` of an environment that holds exactly `requirements`, pinned ones. It is made aside and renamed, so
/// that an interrupted run leaves nothing half done.
///
/// # Panics
/// If it cannot be made; the message has what pip said.
pub(crate) fn python(name: &str, requirements: &[&str]) -> PathBuf {
    // Tests of one environment run at once; the first makes it.
    static ONE: Mutex<()> = Mutex::new(());
    let _one = ONE.lock().unwrap_or_else(PoisonError::into_inner);
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap();
    let home = target.join(format!("pyvenv-{name}"));
    let stamp = requirements.join("\n");
    let python_of = |home: &Path| home.join("bin/python");
    // The call notices a system Python that has gone since.
    let works = |home: &Path| {
        Command::new(python_of(home)).arg("-V").output().is_ok_and(|output| output.status.success())
    };
    if fs::read_to_string(home.join("installed.txt")).is_ok_and(|found| found == stamp) && works(&home) {
        return python_of(&home);
    }
    let fresh = target.join(format!("pyvenv-{name}.{}", std::process::id()));
    run(Command::new("python3").args(["-m", "venv"]).arg(&fresh));
    let pip = ["-m", "pip", "install", "--quiet", "--no-input", "--disable-pip-version-check"];
    let patience = ["--timeout", "20", "--retries", "2"];
    run(Command::new(python_of(&fresh)).args(pip).args(patience).args(requirements));
    fs::write(fresh.join("installed.txt"), &stamp).unwrap();
    if home.exists() {
        fs::remove_dir_all(&home).unwrap();
    }
    fs::rename(&fresh, &home).unwrap();
    python_of(&home)
}

fn run(command: &mut Command) {
    let output = output_within(command, INSTALL);
    let said = [&output.stdout[..], &output.stderr[..]].map(String::from_utf8_lossy).concat();
    assert!(output.status.success(), "{command:?}: {}\n{said}", output.status);
}
