//! Tells the program which commit it was built from, for the reports of `nearport load`. Without git, or outside of a
//! checkout, it does not know, and the reports say `null`.

use std::path::Path;
use std::process::Command;

fn main() {
    // Every commit and checkout appends to this log; without it (a shallow copy, a tarball) HEAD has to do.
    for path in [".git/logs/HEAD", ".git/HEAD"] {
        if Path::new(path).exists() {
            println!("cargo::rerun-if-changed={path}");
        }
    }
    println!("cargo::rerun-if-changed=build.rs");
    let commit = Command::new("git").args(["rev-parse", "--short=12", "HEAD"]).output();
    if let Ok(commit) = commit
        && commit.status.success()
        && let Ok(text) = String::from_utf8(commit.stdout)
    {
        println!("cargo::rustc-env=NEARPORT_COMMIT={}", text.trim());
    }
}
