//! What a remote link runs on: a Unix socket, or TLS over TCP.
//!
//! A link reads in one thread and writes in another, so a TLS connection is shared between them behind a lock that is held for
//! the cryptography of one batch and never while a socket blocks. Only the writer writes to the socket: what reading has
//! to say (an answer to a key update, an alert) goes out with its next batch, a heartbeat's time later at most.

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rustls::Connection;

/// Sealed bytes read at once.
const READ_BYTES: usize = 64 * 1024;

/// An ordered byte stream to another process. Clones share it; one of them reads and one writes.
#[derive(Debug)]
pub struct Stream(Kind);

#[derive(Debug)]
enum Kind {
    Unix(UnixStream),
    Tls(Tls),
}

#[derive(Debug)]
struct Tls {
    socket: TcpStream,
    connection: Arc<Mutex<Connection>>,
    /// Sealed, from the socket.
    raw: Vec<u8>,
    /// Opened and not taken yet.
    plain: Vec<u8>,
    taken: usize,
    /// Sealed, for the socket.
    sealed: Vec<u8>,
}

impl Tls {
    fn new(socket: TcpStream, connection: Arc<Mutex<Connection>>) -> Self {
        Self { socket, connection, raw: Vec::new(), plain: Vec::new(), taken: 0, sealed: Vec::new() }
    }

    fn lock(&self) -> MutexGuard<'_, Connection> {
        self.connection.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        loop {
            let waiting = &self.plain[self.taken..];
            if !waiting.is_empty() {
                let count = waiting.len().min(out.len());
                out[..count].copy_from_slice(&waiting[..count]);
                self.taken += count;
                return Ok(count);
            }
            self.plain.clear();
            self.taken = 0;
            let mut connection = self.connection.lock().unwrap_or_else(PoisonError::into_inner);
            if drain(&mut connection, &mut self.plain)? {
                return Ok(0);
            }
            drop(connection);
            if !self.plain.is_empty() {
                continue;
            }
            self.raw.resize(READ_BYTES, 0);
            let count = self.socket.read(&mut self.raw)?;
            let mut connection = self.connection.lock().unwrap_or_else(PoisonError::into_inner);
            let mut left = &self.raw[..count];
            loop {
                // An empty read tells it that the socket has ended; the next drain says what to make of that.
                connection.read_tls(&mut left)?;
                connection.process_new_packets().map_err(io::Error::other)?;
                if left.is_empty() {
                    break;
                }
                if drain(&mut connection, &mut self.plain)? {
                    break;
                }
            }
        }
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.sealed.clear();
        let mut connection = self.connection.lock().unwrap_or_else(PoisonError::into_inner);
        let count = connection.writer().write(bytes)?;
        while connection.wants_write() {
            connection.write_tls(&mut self.sealed)?;
        }
        drop(connection);
        self.socket.write_all(&self.sealed)?;
        Ok(count)
    }

    /// Says that nothing follows, so that the other side can tell an end from a cut.
    fn say_end(&mut self) -> io::Result<()> {
        let mut sealed = Vec::new();
        let mut connection = self.lock();
        connection.send_close_notify();
        while connection.wants_write() {
            connection.write_tls(&mut sealed)?;
        }
        drop(connection);
        self.socket.write_all(&sealed)
    }
}

/// Takes what was opened. Returns whether the other side has said that nothing follows.
fn drain(connection: &mut Connection, plain: &mut Vec<u8>) -> io::Result<bool> {
    let mut reader = connection.reader();
    let start = plain.len();
    match reader.read_to_end(plain) {
        Ok(_) => Ok(plain.len() == start),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(false),
        Err(error) => Err(error),
    }
}

impl Stream {
    /// TLS whose handshake is over.
    pub(crate) fn tls(socket: TcpStream, connection: Connection) -> Self {
        Self(Kind::Tls(Tls::new(socket, Arc::new(Mutex::new(connection)))))
    }

    pub(crate) fn try_clone(&self) -> io::Result<Self> {
        Ok(Self(match &self.0 {
            Kind::Unix(stream) => Kind::Unix(stream.try_clone()?),
            Kind::Tls(tls) => Kind::Tls(Tls::new(tls.socket.try_clone()?, tls.connection.clone())),
        }))
    }

    /// Neither reading nor writing waits longer than `silence` from now on.
    pub(crate) fn prepare(&self, silence: Duration) -> io::Result<()> {
        match &self.0 {
            Kind::Unix(stream) => {
                stream.set_nonblocking(false)?;
                stream.set_read_timeout(Some(silence))?;
                stream.set_write_timeout(Some(silence))
            }
            Kind::Tls(tls) => {
                tls.socket.set_read_timeout(Some(silence))?;
                tls.socket.set_write_timeout(Some(silence))
            }
        }
    }

    /// Ends one direction or both. Only the thread that writes may end that direction alone.
    pub(crate) fn shutdown(&mut self, how: Shutdown) -> io::Result<()> {
        match &mut self.0 {
            Kind::Unix(stream) => stream.shutdown(how),
            Kind::Tls(tls) => {
                if how == Shutdown::Write {
                    tls.say_end()?;
                }
                tls.socket.shutdown(how)
            }
        }
    }

    /// Ends both directions at once, from any thread.
    pub(crate) fn cut(&self) {
        let _ = match &self.0 {
            Kind::Unix(stream) => stream.shutdown(Shutdown::Both),
            Kind::Tls(tls) => tls.socket.shutdown(Shutdown::Both),
        };
    }
}

impl From<UnixStream> for Stream {
    fn from(stream: UnixStream) -> Self {
        Self(Kind::Unix(stream))
    }
}

impl Read for Stream {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        match &mut self.0 {
            Kind::Unix(stream) => stream.read(out),
            Kind::Tls(tls) => tls.read(out),
        }
    }
}

impl Write for Stream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match &mut self.0 {
            Kind::Unix(stream) => stream.write(bytes),
            Kind::Tls(tls) => tls.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        // A write goes to the socket whole.
        Ok(())
    }
}
