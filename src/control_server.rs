//! The control socket of a running node: who may ask, and how the question gets to the node.

use std::fs;
use std::io;
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use rustix::net::sockopt::socket_peercred;
use rustix::process::geteuid;
use tokio::sync::mpsc;

use crate::control::{Answer, Ask, Channel, ControlError, What};
use crate::files::{self, FileError};

/// Name of the socket in the data directory.
pub(crate) const SOCKET_FILE: &str = "control.sock";

/// The same of a process that only locates: it may share the directory with a node.
pub(crate) const LOCATE_SOCKET_FILE: &str = "locate.sock";

/// Clients that are asking at once, and questions that wait for the node. More are refused.
const CLIENTS_MAX: usize = 8;

/// How long a client may take for its question.
const QUESTION_MAX: Duration = Duration::from_secs(5);

/// Longest path of a Unix socket (`sun_path` of unix(7), with its zero).
const PATH_BYTES_MAX: usize = 107;

/// A question that was understood.
#[derive(Debug)]
pub(crate) struct Request {
    pub(crate) what: What,
    /// Who asks.
    pub(crate) pid: u32,
    /// Where the answer goes.
    pub(crate) channel: Channel,
}

/// The listening socket and its thread. Dropping it stops the thread and leaves the file, which the next process
/// replaces.
#[derive(Debug)]
pub(crate) struct ControlServer {
    listener: Arc<UnixListener>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
    requests: mpsc::Receiver<Request>,
}

impl ControlServer {
    /// Listens in `data`. A socket of that name is replaced at once: whoever holds the store's lock is the one to ask.
    pub(crate) fn bind(data: &Path) -> Result<Self, FileError> {
        Self::bind_as(data, SOCKET_FILE)
    }

    /// The same under another name.
    pub(crate) fn bind_as(data: &Path, name: &str) -> Result<Self, FileError> {
        let path = data.join(name);
        let at = FileError::at(&path);
        let temporary = data.join(format!(".{name}.{}.tmp", std::process::id()));
        let _ = fs::remove_file(&temporary);
        let listener = with_short_path(&temporary, |short| UnixListener::bind(short)).map_err(&at)?;
        // Nobody finds it under its name before its mode is right.
        let private = fs::Permissions::from_mode(files::PRIVATE);
        let placed = fs::set_permissions(&temporary, private).and_then(|()| fs::rename(&temporary, &path));
        if placed.is_err() {
            let _ = fs::remove_file(&temporary);
        }
        placed.map_err(&at)?;

        let stop = Arc::new(AtomicBool::new(false));
        let (sender, requests) = mpsc::channel(CLIENTS_MAX);
        let listener = Arc::new(listener);
        let (accepting, stopping) = (listener.clone(), stop.clone());
        let thread = std::thread::Builder::new()
            .name("control".to_owned())
            .spawn(move || accept(&accepting, &sender, &stopping))
            .map_err(&at)?;
        Ok(Self { listener, stop, thread: Some(thread), requests })
    }

    /// The next question. Cancel safe.
    pub(crate) async fn next(&mut self) -> Request {
        match self.requests.recv().await {
            Some(request) => request,
            // The thread has ended, which it does only when it is stopped.
            None => std::future::pending().await,
        }
    }

    /// A question that waits already.
    #[cfg(test)]
    pub(crate) fn try_next(&mut self) -> Option<Request> {
        self.requests.try_recv().ok()
    }
}

impl Drop for ControlServer {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
        // Wakes the thread out of `accept`. Connecting would not do: the file may be another process's by now.
        let _ = rustix::net::shutdown(&*self.listener, rustix::net::Shutdown::Both);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Connects to the node that runs in `data` and asks.
pub(crate) fn ask(data: &Path, what: &What) -> Result<Channel, ControlError> {
    ask_at(data, SOCKET_FILE, what)
}

/// The same of a socket of another name.
pub(crate) fn ask_at(data: &Path, name: &str, what: &What) -> Result<Channel, ControlError> {
    let path = data.join(name);
    let stream = with_short_path(&path, |short| UnixStream::connect(short));
    let channel = Channel::new(stream.map_err(|error| match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => {
            ControlError::Refused(format!("no server runs in {}", data.display()))
        }
        _ => ControlError::Io(error),
    })?);
    channel.send(&Ask::new(what), &[])?;
    Ok(channel)
}

/// Calls `use_it` with a name of `path` that fits a socket address, however long `path` is.
fn with_short_path<T>(path: &Path, use_it: impl FnOnce(&Path) -> io::Result<T>) -> io::Result<T> {
    if path.as_os_str().len() <= PATH_BYTES_MAX {
        return use_it(path);
    }
    let (Some(directory), Some(name)) = (path.parent(), path.file_name()) else { return use_it(path) };
    let directory = fs::File::open(directory)?;
    use_it(&Path::new("/proc/self/fd").join(directory.as_raw_fd().to_string()).join(name))
}

fn accept(listener: &UnixListener, requests: &mpsc::Sender<Request>, stop: &AtomicBool) {
    let clients = Arc::new(AtomicUsize::new(0));
    for stream in listener.incoming() {
        if stop.load(Ordering::Acquire) {
            return;
        }
        let stream = match stream {
            Ok(stream) => stream,
            Err(error) => {
                tracing::warn!(%error, "control socket");
                // No descriptors, say: not again at once.
                std::thread::park_timeout(Duration::from_millis(100));
                continue;
            }
        };
        let channel = Channel::new(stream);
        if clients.fetch_add(1, Ordering::AcqRel) >= CLIENTS_MAX {
            clients.fetch_sub(1, Ordering::AcqRel);
            refuse(&channel, "too many ask at once: try again");
            continue;
        }
        let (requests, counted) = (requests.clone(), clients.clone());
        let serve = move || {
            listen(channel, &requests);
            counted.fetch_sub(1, Ordering::AcqRel);
        };
        if let Err(error) = std::thread::Builder::new().name("control-client".to_owned()).spawn(serve) {
            tracing::warn!(%error, "control client");
            clients.fetch_sub(1, Ordering::AcqRel);
        }
    }
}

/// Hears one client out and passes on what it wants.
fn listen(channel: Channel, requests: &mpsc::Sender<Request>) {
    let pid = match socket_peercred(&channel) {
        Ok(peer) if peer.uid == geteuid() || peer.uid.is_root() => peer.pid.as_raw_nonzero().get(),
        Ok(peer) => {
            tracing::warn!(uid = peer.uid.as_raw(), "control socket: another user's process was refused");
            return refuse(&channel, "only the user that the server runs as may ask");
        }
        Err(error) => return tracing::warn!(%error, "control socket: who is it?"),
    };
    let ask = match channel.recv::<Ask>(QUESTION_MAX) {
        Ok((ask, _)) => ask,
        Err(ControlError::Gone) => return,
        Err(error) => return refuse(&channel, &error.to_string()),
    };
    match ask.understood() {
        Ok(what) => {
            let pid = u32::try_from(pid).unwrap_or_default();
            match requests.try_send(Request { what, pid, channel }) {
                Ok(()) => {}
                Err(
                    mpsc::error::TrySendError::Full(request) | mpsc::error::TrySendError::Closed(request),
                ) => refuse(&request.channel, "the server is busy with another request: try again"),
            }
        }
        Err(reason) => refuse(&channel, &reason),
    }
}

/// Says no. Whoever is gone already does not mind.
pub(crate) fn refuse(channel: &Channel, reason: &str) {
    let _ = channel.send(&Answer::Refused { reason: reason.to_owned() }, &[]);
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOON: Duration = Duration::from_secs(60);

    #[test]
    fn a_question_gets_to_the_node_and_an_unknown_one_an_answer() {
        let dir = tempfile::tempdir().unwrap();
        let mut server = ControlServer::bind(dir.path()).unwrap();
        let mode = fs::metadata(dir.path().join(SOCKET_FILE)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();

        let client = ask(dir.path(), &What::Undrain).unwrap();
        let request = runtime.block_on(server.next());
        assert_eq!((request.what, request.pid), (What::Undrain, std::process::id()));
        request.channel.send(&Answer::Done { sessions: 3 }, &[]).unwrap();
        assert_eq!(client.answer(SOON).unwrap().0, Answer::Done { sessions: 3 });

        let stream = UnixStream::connect(dir.path().join(SOCKET_FILE)).unwrap();
        let client = Channel::new(stream);
        let mut question = Ask::new(&What::Undrain);
        question.protocol = 7;
        client.send(&question, &[]).unwrap();
        assert!(matches!(client.answer(SOON), Err(ControlError::Refused(no)) if no.contains("speaks 7")));
        assert!(server.try_next().is_none());
    }

    #[test]
    fn a_second_server_takes_the_name_and_a_dead_one_is_told() {
        // A path that no socket address holds.
        let dir = tempfile::tempdir().unwrap();
        let deep = dir.path().join("d".repeat(200));
        fs::create_dir(&deep).unwrap();
        assert!(
            matches!(ask(&deep, &What::Undrain), Err(ControlError::Refused(no)) if no.contains("no server"))
        );
        let first = ControlServer::bind(&deep).unwrap();
        let mut second = ControlServer::bind(&deep).unwrap();
        drop(first);
        let _client = ask(&deep, &What::Undrain).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        assert_eq!(runtime.block_on(second.next()).what, What::Undrain);
        drop(second);
        assert!(matches!(ask(&deep, &What::Undrain), Err(ControlError::Refused(_))));
    }
}
