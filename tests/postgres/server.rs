//! A private PostgreSQL server for tests; `server.sh` beside this file starts it and does what it is told.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};

/// A server. It ends with this value, and with this process however that ends.
#[derive(Debug)]
pub(crate) struct PostgresServer {
    url: String,
    talk: Mutex<(Option<ChildStdin>, BufReader<ChildStdout>)>,
    child: Mutex<Child>,
    schemas: AtomicU32,
}

#[allow(dead_code, reason = "each test binary uses what it needs")]
impl PostgresServer {
    /// One for all tests of this binary that do not stop it.
    pub(crate) fn shared() -> &'static Self {
        static SHARED: OnceLock<PostgresServer> = OnceLock::new();
        SHARED.get_or_init(Self::start)
    }

    /// One of its own.
    pub(crate) fn start() -> Self {
        let script = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/postgres/server.sh"));
        let script = if script.exists() {
            script.to_owned()
        } else {
            Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/postgres/server.sh")
        };
        let mut child = Command::new("bash")
            .arg(script)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("bash is there");
        let stdin = child.stdin.take().expect("piped");
        let mut stdout = BufReader::new(child.stdout.take().expect("piped"));
        let mut line = String::new();
        stdout.read_line(&mut line).expect("the script says something");
        let url = line.trim().strip_prefix("ready ").expect("PostgreSQL starts, see stderr").to_owned();
        Self {
            url,
            talk: Mutex::new((Some(stdin), stdout)),
            child: Mutex::new(child),
            schemas: AtomicU32::new(0),
        }
    }

    /// URL of an empty schema.
    pub(crate) fn fresh(&self) -> String {
        let name = format!("t{}", self.schemas.fetch_add(1, Ordering::Relaxed));
        assert_eq!(self.tell(&format!("schema {name}")), "");
        format!("{}?options=-c%20search_path%3D{name}", self.url)
    }

    /// URL of the database.
    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// Runs one statement; rows are ended by `;`, columns by `|`.
    pub(crate) fn sql(&self, text: &str) -> String {
        self.tell(&format!("sql {text}"))
    }

    /// `stop`, `start` or `crash`; returns when it is done.
    pub(crate) fn tell(&self, command: &str) -> String {
        let mut talk = self.talk.lock().unwrap_or_else(PoisonError::into_inner);
        writeln!(talk.0.as_mut().expect("only a drop takes it"), "{command}").expect("the script listens");
        let mut line = String::new();
        talk.1.read_line(&mut line).expect("the script answers");
        let answer = line.trim_end().strip_prefix("ok").unwrap_or_else(|| panic!("{command}: {line:?}"));
        answer.trim().to_owned()
    }
}

impl Drop for PostgresServer {
    fn drop(&mut self) {
        // The script ends at the end of its input.
        drop(self.talk.get_mut().unwrap_or_else(PoisonError::into_inner).0.take());
        let _ = self.child.get_mut().unwrap_or_else(PoisonError::into_inner).wait();
    }
}
