//! Messages over a stream. Blocks; a thread reads, another writes.

use std::io::{self, Read as _, Write as _};
use std::time::{Duration, Instant};

use nearport_trunk::Stream;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::message::{self, Bounded};

/// How often each side says something.
pub(crate) const TICK: Duration = Duration::from_secs(1);

/// Longest handshake, hello and answer included.
pub(crate) const HANDSHAKE_MAX: Duration = Duration::from_secs(5);

/// Waits for the next message. A stream that says nothing for the silence it was prepared with is at an end, and so is one that takes
/// longer than `whole` for a message that it has begun.
pub(crate) fn read<T: DeserializeOwned + Bounded>(stream: &mut Stream, whole: Duration) -> io::Result<T> {
    let mut head = [0; 4];
    stream.read_exact(&mut head[..1])?;
    let deadline = Instant::now() + whole;
    fill(stream, &mut head[1..], deadline)?;
    let mut json = vec![0; message::length(head).map_err(io::Error::other)?];
    fill(stream, &mut json, deadline)?;
    message::decode(&json).map_err(io::Error::other)
}

fn fill(stream: &mut Stream, mut bytes: &mut [u8], deadline: Instant) -> io::Result<()> {
    while !bytes.is_empty() {
        if Instant::now() > deadline {
            return Err(io::Error::new(io::ErrorKind::TimedOut, "a message that does not end"));
        }
        match stream.read(bytes) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(count) => bytes = &mut bytes[count..],
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Sends a message whole. Waits at most the silence that the stream was prepared with for a side that does not read.
pub(crate) fn write<T: Serialize>(stream: &mut Stream, message: &T) -> io::Result<()> {
    stream.write_all(&message::encode(message).map_err(io::Error::other)?)
}

/// What ended a link, for people.
pub(crate) fn why(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => "the other side is silent".to_owned(),
        io::ErrorKind::UnexpectedEof | io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset => {
            "the other side has hung up".to_owned()
        }
        _ => error.to_string(),
    }
}
