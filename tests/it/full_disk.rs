//! A disk that fills up under a running node: sends are refused with their code, the node says that it is not ready,
//! what was acknowledged can be read, and is there after the operator has made room.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::node::Node;

/// A small file system in memory, unmounted when dropped.
struct Mount(PathBuf);

impl Mount {
    /// `None` without the right to mount; the reason is printed.
    fn new(at: &Path, size: &str) -> Option<Self> {
        std::fs::create_dir_all(at).unwrap();
        let options = format!("size={size}");
        let mount = Command::new("mount").args(["-t", "tmpfs", "-o", &options, "tmpfs"]).arg(at).output();
        match mount {
            Ok(output) if output.status.success() => return Some(Self(at.to_owned())),
            Ok(output) => {
                println!("skipped, cannot mount: {}", String::from_utf8_lossy(&output.stderr).trim())
            }
            Err(error) => println!("skipped, cannot run mount: {error}"),
        }
        None
    }

    fn resize(&self, size: &str) {
        let options = format!("remount,size={size}");
        assert!(Command::new("mount").args(["-o", &options]).arg(&self.0).status().unwrap().success());
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(&self.0).status();
    }
}

#[test]
fn a_full_disk_refuses_sends_keeps_what_was_acknowledged_and_shows_in_readyz() {
    let dir = tempfile::tempdir().unwrap();
    let Some(mount) = Mount::new(&dir.path().join("data"), "96m") else { return };
    let node = Node::start(dir.path(), &[]);
    let sent = node.nearport(&["send", "--user", "alice", "--to", "bob", "before"]);
    assert!(sent.status.success(), "{}", String::from_utf8_lossy(&sent.stderr));

    // Somebody else takes the rest of the disk; the journal has a little room of its own left.
    let filler = dir.path().join("data/filler");
    let filled = std::fs::write(&filler, vec![0; 96 << 20]);
    assert!(filled.is_err(), "the disk was larger than meant");
    let text = "x".repeat(11_000);
    let refused = (0..10_000)
        .map(|_| node.nearport(&["send", "--user", "alice", "--to", "bob", "--timeout", "2s", &text]))
        .find(|output| !output.status.success())
        .expect("the journal cannot grow for ever on a full disk");
    let said = String::from_utf8_lossy(&refused.stderr);
    assert!(said.contains("20005"), "{said}");
    let (status, reasons) = node.get("/readyz");
    assert_eq!(status, 503);
    assert!(reasons.contains("full"), "{reasons}");
    assert_eq!(node.get("/livez").0, 200);

    // Reads go on.
    let received = node.nearport(&["recv", "--user", "bob", "--device", "reader", "--count", "1"]);
    assert!(String::from_utf8_lossy(&received.stdout).contains("before"), "{received:?}");

    node.kill();
    std::fs::remove_file(&filler).unwrap();
    mount.resize("256m");
    let node = Node::start(dir.path(), &[]);
    let received = node.nearport(&["recv", "--user", "bob", "--device", "fresh", "--count", "1"]);
    assert!(String::from_utf8_lossy(&received.stdout).contains("before"), "{received:?}");
    let sent = node.nearport(&["send", "--user", "alice", "--to", "bob", "after"]);
    assert!(sent.status.success(), "{}", String::from_utf8_lossy(&sent.stderr));
}
