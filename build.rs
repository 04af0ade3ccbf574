//! Tells the program which commit it was built from, for the reports of `nearport load`. Without git, or outside of a
//! checkout, it does not know, and the reports say `null`.

use std::path::Path;
use std::process::Command;

fn main() {
    // Every commit and checkout appends to this log; without it (a shallow copy) HEAD has to do. Git says where they are: in a
    // work tree of a repository elsewhere `.git` is only a file.
    for name in ["logs/HEAD", "HEAD"] {
        if let Some(path) = git(&["rev-parse", "--git-path", name])
            && Path::new(&path).exists()
        {
            println!("cargo::rerun-if-changed={path}");
        }
    }
    println!("cargo::rerun-if-changed=build.rs");
    if let Some(commit) = git(&["rev-parse", "--short=12", "HEAD"]) {
        println!("cargo::rustc-env=NEARPORT_COMMIT={commit}");
    }
}

fn git(arguments: &[&str]) -> Option<String> {
    let output =
        Command::new("git").args(arguments).output().ok().filter(|output| output.status.success())?;
    Some(String::from_utf8(output.stdout).ok()?.trim().to_owned())
}
