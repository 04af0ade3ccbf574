//! A server that speaks S3 (npm: `s3rver`), as another process: it checks signatures of version 4, takes objects in pieces, lists and
//! deletes them.

use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::sync_channel;

use crate::node::STUCK;
use crate::npm;

const PACKAGE: &str = "s3rver@3.7.1";

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
        let mut command = Command::new(npm::modules("s3rver", PACKAGE).join(".bin/s3rver"));
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
