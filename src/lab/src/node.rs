//! A server and a load tool in a laboratory, as separate processes of the program under test.

use std::io::{BufRead as _, BufReader, Read as _};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::Error;
use crate::lab::{Lab, SERVER_ADDRESS};

/// Port of the server, for UDP and TCP.
const PORT: u16 = 4433;

/// How long a server may take to be ready, and to end.
const START_PATIENCE: Duration = Duration::from_secs(60);

/// What a program says on stderr is kept up to here.
const STDERR_BYTES_MAX: u64 = 64 * 1024;

/// The last line of what a server prints when it is ready.
const READY: &str = "Server, CA, app and key";

/// `nearport serve` on the server's side. Killed when dropped.
#[derive(Debug)]
pub struct Node {
    child: Child,
    program: PathBuf,
    dir: PathBuf,
}

/// How a load tool ended.
#[derive(Debug)]
pub struct Run {
    /// The JSON report; `None` if there is none.
    pub report: Option<Value>,
    /// Exit status; `None`: it did not end in its time and was killed.
    pub status: Option<ExitStatus>,
    /// What it said to people.
    pub stderr: String,
}

impl Node {
    /// Starts `program serve` with `args` in `dir`, an empty directory or one of a former node, and waits until it is ready.
    /// Its log is `dir/serve.log`.
    ///
    /// # Errors
    /// [`Error::Node`] if it does not get ready.
    pub fn start(lab: &Lab, program: &Path, dir: &Path, args: &[&str]) -> Result<Self, Error> {
        let spawn = |source| Error::Spawn { program: program.display().to_string(), source };
        let log =
            std::fs::File::options().create(true).append(true).open(dir.join("serve.log")).map_err(spawn)?;
        let mut command = lab.on_server(program);
        command.arg("serve").args(["--set", &format!("edge.listen={SERVER_ADDRESS}:{PORT}")]);
        command.args(["--set", "ops.listen=127.0.0.1:9090"]).args(args).current_dir(dir);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(log);
        let mut child = command.spawn().map_err(spawn)?;
        let stdout = child.stdout.take();
        let node = Self { child, program: program.to_owned(), dir: dir.to_owned() };
        let (ready, told) = sync_channel(1);
        std::thread::spawn(move || {
            let lines =
                stdout.into_iter().flat_map(|stdout| BufReader::new(stdout).lines()).map_while(Result::ok);
            // Reads on to the end, so that the server never writes to a closed pipe.
            lines.filter(|line| line.contains(READY)).for_each(|_| {
                let _ = ready.try_send(());
            });
        });
        match told.recv_timeout(START_PATIENCE) {
            Ok(()) => Ok(node),
            Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {
                let log = std::fs::read_to_string(dir.join("serve.log")).unwrap_or_default();
                let last: Vec<&str> = log.lines().rev().take(5).collect();
                Err(Error::Node(last.join(" | ")))
            }
        }
    }

    /// Address of the edge.
    #[must_use]
    pub fn edge(&self) -> SocketAddr {
        (SERVER_ADDRESS, PORT).into()
    }

    /// Process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Runs `program load` with `args` on the clients' side, for `patience` at most.
    ///
    /// # Errors
    /// [`Error::Spawn`]; a load tool that fails is a [`Run`].
    pub fn load(&self, lab: &Lab, args: &[&str], patience: Duration) -> Result<Run, Error> {
        let mut command = lab.on_clients(&self.program);
        command.arg("load").args(args).args(["--json", "-"]).current_dir(&self.dir);
        run(&mut command, patience)
            .map_err(|source| Error::Spawn { program: self.program.display().to_string(), source })
    }

    /// Ends it as an operator does and waits for it; killed if that takes too long.
    pub fn stop(mut self) {
        let _ = kill_process(Pid::from_child(&self.child), Signal::TERM);
        let (ended, told) = sync_channel(1);
        let pid = Pid::from_child(&self.child);
        std::thread::scope(|scope| {
            scope.spawn(move || {
                if told.recv_timeout(START_PATIENCE) == Err(RecvTimeoutError::Timeout) {
                    let _ = kill_process(pid, Signal::KILL);
                }
            });
            let _ = self.child.wait();
            let _ = ended.send(());
        });
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        // Both only fail for a process that is gone.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn run(command: &mut Command, patience: Duration) -> std::io::Result<Run> {
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    let (pid, stdout, stderr) = (Pid::from_child(&child), child.stdout.take(), child.stderr.take());
    let (ended, told) = sync_channel(1);
    let (out, err, killed, status) = std::thread::scope(|scope| {
        let out = scope.spawn(|| text(stdout, u64::MAX));
        let err = scope.spawn(|| text(stderr, STDERR_BYTES_MAX));
        let watch = scope.spawn(move || {
            let late = told.recv_timeout(patience) == Err(RecvTimeoutError::Timeout);
            late.then(|| kill_process(pid, Signal::KILL)).is_some()
        });
        let status = child.wait();
        let _ = ended.send(());
        let joined = |handle: std::thread::ScopedJoinHandle<'_, String>| handle.join().unwrap_or_default();
        (joined(out), joined(err), watch.join().unwrap_or_default(), status)
    });
    let status = Some(status?).filter(|_| !killed);
    Ok(Run { report: serde_json::from_str(&out).ok(), status, stderr: err })
}

/// All that a pipe gives; of more than `bytes_max` the first part.
fn text(pipe: Option<impl std::io::Read>, bytes_max: u64) -> String {
    let Some(mut pipe) = pipe else { return String::new() };
    let mut bytes = Vec::new();
    let _ = pipe.by_ref().take(bytes_max).read_to_end(&mut bytes);
    // Read on, or the writer would wait for ever.
    let _ = std::io::copy(&mut pipe, &mut std::io::sink());
    String::from_utf8_lossy(&bytes).into_owned()
}
