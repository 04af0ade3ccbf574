//! A node as users run it: the real program in a directory of its own, on ports that the system chose.

use std::fs::File;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::mpsc::sync_channel;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

/// After this long a program is stuck, and the test fails. Never a measure of speed.
pub(crate) const STUCK: Duration = Duration::from_secs(60);

/// The program under test.
pub(crate) const PROGRAM: &str = env!("CARGO_BIN_EXE_nearport");

/// `nearport serve`, running. Killed when it is dropped.
#[derive(Debug)]
pub(crate) struct Node {
    child: Child,
    dir: PathBuf,
    /// What it printed when it was ready.
    pub(crate) greeting: String,
    /// Bound address of the edge.
    pub(crate) edge: SocketAddr,
    /// Bound address of the operations server.
    pub(crate) ops: SocketAddr,
}

impl Node {
    /// Starts a node in `dir` with `args` after `serve`, and waits until it is ready. Its log is `dir/serve.log`.
    ///
    /// Ports are chosen by the system unless `args` sets them.
    pub(crate) fn start(dir: &Path, args: &[&str]) -> Self {
        let log = File::options().create(true).append(true).open(dir.join("serve.log")).unwrap();
        let mut child = serve(dir, args).stdout(Stdio::piped()).stderr(log).spawn().unwrap();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        let (sender, greeted) = sync_channel(1);
        std::thread::spawn(move || {
            let mut greeting = String::new();
            // The last line of the greeting; or the end, if there is none.
            while !greeting.contains("Server, CA, app and key") {
                if stdout.read_line(&mut greeting).unwrap_or(0) == 0 {
                    break;
                }
            }
            let _ = sender.send(greeting);
        });
        let greeting = greeted.recv_timeout(STUCK).unwrap_or_default();
        let log = || std::fs::read_to_string(dir.join("serve.log")).unwrap_or_default();
        let Some((edge, ops)) = addresses(dir).filter(|_| greeting.contains("Server, CA, app and key"))
        else {
            let _ = child.kill();
            panic!("no greeting, status {:?}\n{greeting}\n{}", child.wait(), log());
        };
        let node = Self { child, dir: dir.to_owned(), greeting, edge, ops };
        assert_eq!(node.get("/readyz").0, 200, "{}", log());
        node
    }

    /// Process id.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The commands that the greeting shows.
    pub(crate) fn commands(&self) -> Vec<&str> {
        self.greeting.lines().filter_map(|line| line.strip_prefix("    ")).collect()
    }

    /// Asks the operations server; status and body.
    ///
    /// # Panics
    /// If it does not answer.
    pub(crate) fn get(&self, path: &str) -> (u16, String) {
        self.try_get(path).unwrap()
    }

    /// As [`Self::get`], for a server that may be gone.
    pub(crate) fn try_get(&self, path: &str) -> std::io::Result<(u16, String)> {
        let mut stream = TcpStream::connect_timeout(&self.ops, STUCK)?;
        stream.set_read_timeout(Some(STUCK))?;
        write!(stream, "GET {path} HTTP/1.1\r\nhost: test\r\nconnection: close\r\n\r\n")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        let status = answer.split(' ').nth(1).and_then(|status| status.parse().ok());
        let status = status.ok_or_else(|| std::io::Error::other(format!("not HTTP: {answer:?}")))?;
        Ok((status, answer.split_once("\r\n\r\n").map_or("", |(_, body)| body).to_owned()))
    }

    /// Sends a signal.
    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(pid_of(&self.child), signal).unwrap();
    }

    /// Waits for the end of the process.
    pub(crate) fn wait(mut self) -> ExitStatus {
        wait(&mut self.child)
    }

    /// `kill -9`: nothing in the process gets to run any more.
    pub(crate) fn kill(self) {
        self.signal(Signal::KILL);
        self.wait();
    }

    /// Runs `nearport` with `args` in the node's directory.
    pub(crate) fn nearport(&self, args: &[&str]) -> Output {
        nearport(&self.dir, args)
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// `nearport serve` on free ports, not started yet.
pub(crate) fn serve(dir: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(PROGRAM);
    command.current_dir(dir).stdin(Stdio::null()).arg("serve");
    command.args(["--set", "edge.listen=127.0.0.1:0", "--set", "ops.listen=127.0.0.1:0"]);
    command.args(["--set", "api.listen=127.0.0.1:0"]).args(args);
    command
}

/// Runs `nearport` with `args` in `dir` and takes its output.
pub(crate) fn nearport(dir: &Path, args: &[&str]) -> Output {
    output(Command::new(PROGRAM).args(args).current_dir(dir))
}

/// Runs a command to its end and takes its output; a stuck one is killed and fails the test.
pub(crate) fn output(command: &mut Command) -> Output {
    output_within(command, STUCK)
}

/// As [`output`], for what may take longer.
pub(crate) fn output_within(command: &mut Command, stuck: Duration) -> Output {
    let shown = format!("{command:?}");
    let child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let pid = pid_of(&child);
    let (sender, ended) = sync_channel(1);
    std::thread::spawn(move || sender.send(child.wait_with_output()));
    match ended.recv_timeout(stuck) {
        Ok(output) => output.unwrap(),
        Err(_) => {
            kill_process(pid, Signal::KILL).unwrap();
            panic!("stuck: {shown}: {:?}", ended.recv());
        }
    }
}

/// Waits for a child's end; a stuck one is killed and fails the test.
pub(crate) fn wait(child: &mut Child) -> ExitStatus {
    let pid = pid_of(child);
    std::thread::scope(|scope| {
        let (sender, ended) = sync_channel(1);
        scope.spawn(move || sender.send(child.wait()));
        match ended.recv_timeout(STUCK) {
            Ok(status) => status.unwrap(),
            Err(_) => {
                kill_process(pid, Signal::KILL).unwrap();
                panic!("stuck: process {pid:?}: {:?}", ended.recv());
            }
        }
    })
}

fn pid_of(child: &Child) -> Pid {
    Pid::from_child(child)
}

/// Where the node in `dir` said it listens.
fn addresses(dir: &Path) -> Option<(SocketAddr, SocketAddr)> {
    let text = std::fs::read_to_string(dir.join("data/run.toml")).ok()?;
    let table: toml::Table = text.parse().ok()?;
    let addr = |key| table.get(key)?.as_str()?.parse().ok();
    Some((addr("edge")?, addr("ops")?))
}

/// `load chat` on the node in `dir`, by the SDK: pairs of clients that keep books.
pub(crate) fn start_load(dir: &Path, connections: u32, rate: u32, seconds: u32) -> Child {
    Command::new(PROGRAM)
        .args(["load", "chat", "--json", "-"])
        .args(["--connections", &connections.to_string(), "--rate", &rate.to_string()])
        .args(["--duration", &format!("{seconds}s")])
        .current_dir(dir)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

/// Messages stored since the start of the process.
pub(crate) const STORED: &str = "nearport_chat_sends_total{outcome=\"stored\"";

/// Sum of a metric over its labels.
pub(crate) fn metric(node: &Node, name: &str) -> u64 {
    let metrics = node.get("/metrics").1;
    let lines = metrics.lines().filter(|line| line.starts_with(name) && !line.starts_with('#'));
    lines.filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok()).sum()
}

/// Returns once it is so large, or the load has ended.
pub(crate) fn wait_for_metric(node: &Node, load: &mut Child, name: &str, at_least: u64) {
    while load.try_wait().unwrap().is_none() && metric(node, name) < at_least {
        std::thread::park_timeout(Duration::from_millis(5));
    }
}
