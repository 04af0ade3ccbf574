//! The `ip` program of iproute2.

use std::process::{Command, Stdio};

use crate::Error;

/// Runs `ip` with words separated by spaces; returns its stdout.
pub(crate) fn ip(words: &str) -> Result<String, Error> {
    let command = format!("ip {words}");
    let output = Command::new("ip")
        .args(words.split_ascii_whitespace())
        .stdin(Stdio::null())
        .output()
        .map_err(|source| Error::Spawn { program: "ip".into(), source })?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        return Err(Error::Command { command, output: said });
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Whether a program is there and answers `--version` or `-V`.
pub(crate) fn is_there(program: &str, argument: &str) -> bool {
    let status = Command::new(program)
        .arg(argument)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    status.is_ok_and(|status| status.success())
}
