//! What a remote link runs on: a Unix socket, or TLS over TCP.
//!
//! A link reads in one thread and writes in another, so a TLS connection is shared between them behind a lock that is held for
//! the cryptography of one batch and never while a socket blocks. Only who writes touches the socket's way out: what reading
//! has to say (an answer to a key update, an alert) goes out with the next batch, a heartbeat's time later at most.

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::os::fd::{AsFd as _, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rustix::net::SendFlags;
use rustls::Connection;

/// Sealed bytes read at once.
const READ_BYTES: usize = 64 * 1024;

/// An ordered byte stream to another process. Clones share it; one of them reads and one writes.
#[derive(Debug)]
pub struct Stream {
    kind: Kind,
    /// For the socket, of a [`Stream::write_now`] that it had no room for.
    left: Vec<u8>,
}

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

    /// Seals `bytes`, or their beginning, onto the end of `sealed`. Returns how many.
    fn seal(&self, bytes: &[u8], sealed: &mut Vec<u8>) -> io::Result<usize> {
        let mut connection = self.lock();
        let count = connection.writer().write(bytes)?;
        while connection.wants_write() {
            connection.write_tls(sealed)?;
        }
        Ok(count)
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut sealed = std::mem::take(&mut self.sealed);
        sealed.clear();
        let count = self.seal(bytes, &mut sealed)?;
        let outcome = self.socket.write_all(&sealed);
        self.sealed = sealed;
        outcome.map(|()| count)
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
    fn of(kind: Kind) -> Self {
        Self { kind, left: Vec::new() }
    }

    /// TLS whose handshake is over.
    #[must_use]
    pub fn tls(socket: TcpStream, connection: Connection) -> Self {
        Self::of(Kind::Tls(Tls::new(socket, Arc::new(Mutex::new(connection)))))
    }

    /// The same stream once more: one is for reading, the other for writing.
    ///
    /// # Errors
    /// Of the operating system: no descriptor.
    pub fn try_clone(&self) -> io::Result<Self> {
        Ok(Self::of(match &self.kind {
            Kind::Unix(stream) => Kind::Unix(stream.try_clone()?),
            Kind::Tls(tls) => Kind::Tls(Tls::new(tls.socket.try_clone()?, tls.connection.clone())),
        }))
    }

    /// Neither reading nor writing waits longer than `silence` from now on.
    ///
    /// # Errors
    /// Of the operating system.
    pub fn prepare(&self, silence: Duration) -> io::Result<()> {
        match &self.kind {
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

    /// Writes without waiting. What the socket has no room for is kept and goes out before anything else, with the next
    /// [`Write::write`] or [`Self::write_left`]. Returns whether all is out.
    pub(crate) fn write_now(&mut self, mut bytes: &[u8]) -> io::Result<bool> {
        let mut left = std::mem::take(&mut self.left);
        match &self.kind {
            Kind::Unix(_) => left.extend_from_slice(bytes),
            Kind::Tls(tls) => {
                while !bytes.is_empty() {
                    let count = tls.seal(bytes, &mut left)?;
                    bytes = &bytes[count..];
                }
            }
        }
        let mut sent = 0;
        while sent < left.len() {
            match rustix::net::send(self.socket(), &left[sent..], SendFlags::DONTWAIT | SendFlags::NOSIGNAL) {
                Ok(count) => sent += count,
                Err(rustix::io::Errno::INTR) => {}
                Err(rustix::io::Errno::AGAIN) => break,
                Err(error) => return Err(error.into()),
            }
        }
        left.drain(..sent);
        self.left = left;
        Ok(self.left.is_empty())
    }

    /// Whether a [`Self::write_now`] has left something.
    pub(crate) fn has_left(&self) -> bool {
        !self.left.is_empty()
    }

    /// Writes what a [`Self::write_now`] has left, and waits for it.
    pub(crate) fn write_left(&mut self) -> io::Result<()> {
        let left = std::mem::take(&mut self.left);
        match &mut self.kind {
            Kind::Unix(stream) => stream.write_all(&left),
            Kind::Tls(tls) => tls.socket.write_all(&left),
        }
    }

    fn socket(&self) -> BorrowedFd<'_> {
        match &self.kind {
            Kind::Unix(stream) => stream.as_fd(),
            Kind::Tls(tls) => tls.socket.as_fd(),
        }
    }

    /// Ends one direction or both. Only the thread that writes may end that direction alone.
    ///
    /// # Errors
    /// Of the operating system: it has ended already.
    pub fn shutdown(&mut self, how: Shutdown) -> io::Result<()> {
        match &mut self.kind {
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
    pub fn cut(&self) {
        let _ = match &self.kind {
            Kind::Unix(stream) => stream.shutdown(Shutdown::Both),
            Kind::Tls(tls) => tls.socket.shutdown(Shutdown::Both),
        };
    }
}

impl From<UnixStream> for Stream {
    fn from(stream: UnixStream) -> Self {
        Self::of(Kind::Unix(stream))
    }
}

impl Read for Stream {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        match &mut self.kind {
            Kind::Unix(stream) => stream.read(out),
            Kind::Tls(tls) => tls.read(out),
        }
    }
}

impl Write for Stream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.has_left() {
            self.write_left()?;
        }
        match &mut self.kind {
            Kind::Unix(stream) => stream.write(bytes),
            Kind::Tls(tls) => tls.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        // A write goes to the socket whole.
        Ok(())
    }
}
