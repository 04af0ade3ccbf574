//! The QUIC streams of a session: the main one, and one for each lane that the client gave a stream of its own.

use bytes::Bytes;
use nearport_session::{Closing, Outbox, SIDES_MAX, Server};
use nearport_wire::Lane;
use nearport_wire::close::CloseCode;
use quinn_proto::{Connection, ReadError, StreamId, VarInt, WriteError};

use crate::shard::conn::{End, Sink};

/// Unacknowledged bytes that QUIC takes from a session.
pub(crate) const SEND_WINDOW: u64 = 256 * 1024;

/// How much of it may be filled when the bulk lane gets to write, so that a message always finds room. QUIC counts what is
/// written against the client's credit for the connection at once, sent or not; of 128 KiB credit this leaves half.
const SEND_WINDOW_BULK: u64 = 64 * 1024;

/// How much QUIC takes while the shard is short of memory for what waits.
const SEND_WINDOW_SQUEEZED: u64 = 32 * 1024;

/// Unacknowledged bytes of a connection that nobody counts. What most of them have in flight stays below, and of the order of
/// what a connection costs anyway.
const SEND_UNCOUNTED: u64 = 4 * 1024;

/// Streams of a session. The client opens all of them.
#[derive(Debug, Default)]
pub(super) struct Lanes {
    main: Option<StreamId>,
    /// The main stream took no more bytes; wait for `Writable`.
    blocked: bool,
    /// Bytes written since QUIC held less than [`SEND_UNCOUNTED`]: it holds so many more at most.
    held: u32,
    /// QUIC holds more, and will say when it does not: its send window is at that mark between writes.
    watching: bool,
    sides: Vec<Side>,
    /// One of those has ended, and the client may not know it yet.
    ending: bool,
}

#[derive(Debug)]
struct Side {
    id: StreamId,
    /// What the session calls it.
    number: u8,
    blocked: bool,
    /// The priority of its lane is set.
    ranked: bool,
}

/// What a stream's bytes are worth when there is a choice: acknowledgements and messages first, history last.
fn priority(lane: Lane) -> i32 {
    match lane {
        Lane::Control | Lane::Chat => 2,
        Lane::Live => 1,
        Lane::Bulk => 0,
    }
}

impl Lanes {
    /// Takes a stream that the client opened: the first is the main stream.
    ///
    /// # Errors
    /// BAD_STREAM if there is no lane left to bind.
    pub(super) fn open(
        &mut self,
        quic: &mut Connection,
        id: StreamId,
        sink: &mut Sink<'_>,
    ) -> Result<(), End> {
        if self.main.is_none() {
            self.main = Some(id);
            // Fails only for a stream that is closed already, which the next read finds out.
            let _ = quic.send_stream(id).set_priority(priority(Lane::Control));
            return Ok(());
        }
        let free = (0..SIDES_MAX).map(|number| u8::try_from(number).expect("few"));
        let free = free.into_iter().find(|number| self.sides.iter().all(|side| side.number != *number));
        let Some(number) = free else {
            return Err(Closing::new(CloseCode::BAD_STREAM, "more streams than lanes").into());
        };
        self.sides.reserve_exact(1);
        self.sides.push(Side { id, number, blocked: false, ranked: false });
        sink.session.open_side(number, sink.limits, sink.now);
        Ok(())
    }

    fn side_mut(&mut self, id: StreamId) -> Option<&mut Side> {
        self.sides.iter_mut().find(|side| side.id == id)
    }

    /// Whether the session has its main stream.
    pub(super) fn has_main(&self) -> bool {
        self.main.is_some()
    }

    /// Whether the client may not know yet that a stream has ended. It opens another one when it does.
    pub(super) fn is_ending(&self) -> bool {
        self.ending
    }

    /// The client has acknowledged all that was sent.
    pub(super) fn all_known(&mut self) {
        self.ending = false;
    }

    /// Whether a stream is the session's.
    pub(super) fn has(&self, id: StreamId) -> bool {
        self.main == Some(id) || self.sides.iter().any(|side| side.id == id)
    }

    /// Takes bytes of a stream that were read elsewhere.
    pub(super) fn take(
        &mut self,
        quic: &Connection,
        id: StreamId,
        bytes: Bytes,
        sink: &mut Sink<'_>,
    ) -> Result<(), End> {
        let side = self.side_mut(id).map(|side| side.number);
        Ok(sink.take_from(side, bytes, quic.remote_address())?)
    }

    /// Reads what came on a stream. `Ok` too for a stream that is not the session's any more.
    pub(super) fn read(
        &mut self,
        quic: &mut Connection,
        id: StreamId,
        sink: &mut Sink<'_>,
    ) -> Result<(), End> {
        if sink.is_ended() || !self.has(id) {
            return Ok(());
        }
        let side = self.side_mut(id).map(|side| side.number);
        let peer = quic.remote_address();
        let mut stream = quic.recv_stream(id);
        let Ok(mut chunks) = stream.read(true) else { return Ok(()) };
        // The stream's window bounds what this loop can read.
        let outcome = loop {
            match chunks.next(usize::MAX) {
                Ok(Some(chunk)) => {
                    if let Err(closing) = sink.take_from(side, chunk.bytes, peer) {
                        break Err(closing);
                    }
                }
                Err(ReadError::Blocked) => break Ok(()),
                Ok(None) => match side {
                    None => break Err(Closing::new(CloseCode::BYE, "the client finished its stream")),
                    Some(number) => break sink.session.end_side(number, false),
                },
                Err(ReadError::Reset(_)) => match side {
                    None => break Err(Closing::new(CloseCode::LOST, "the client reset its stream")),
                    Some(number) => break sink.session.end_side(number, true),
                },
            }
        };
        // A window update goes out with the next transmit in any case.
        let _ = chunks.finalize();
        outcome.map_err(End::from)
    }

    /// A stream takes bytes again.
    pub(super) fn unblock(&mut self, id: StreamId) {
        if std::mem::take(&mut self.watching) {
            self.held = 0;
        }
        if self.main == Some(id) {
            self.blocked = false;
        } else if let Some(side) = self.side_mut(id) {
            side.blocked = false;
        }
    }

    /// The client reads a stream no more.
    pub(super) fn stopped(
        &mut self,
        quic: &mut Connection,
        id: StreamId,
        session: &mut Server,
    ) -> Result<(), End> {
        if self.main == Some(id) {
            return Err(Closing::new(CloseCode::LOST, "the client stopped reading its stream").into());
        }
        if let Some(at) = self.sides.iter().position(|side| side.id == id) {
            let side = self.sides.remove(at);
            self.ending = true;
            // Both fail only if that half is closed already.
            let _ = quic.send_stream(id).reset(VarInt::from_u32(0));
            let _ = quic.recv_stream(id).stop(VarInt::from_u32(0));
            session.close_side(side.number);
        }
        Ok(())
    }

    fn is_blocked(&self) -> bool {
        self.blocked || self.sides.iter().any(|side| side.blocked)
    }

    /// Bytes that QUIC holds because they are not acknowledged, at most, but for [`SEND_UNCOUNTED`]. It does not say how
    /// many: as long as it takes no more, its whole window counts, else what was written since it held little.
    pub(super) fn held_bytes(&self) -> usize {
        let window = usize::try_from(SEND_WINDOW).unwrap_or(usize::MAX);
        match (self.is_blocked(), self.watching) {
            (true, _) => window,
            (false, true) => window.min(self.held as usize),
            (false, false) => 0,
        }
    }

    /// Lets QUIC take what others write beside the lanes. [`Self::write`] or [`Self::watch`] ends that.
    pub(super) fn lift(&self, quic: &mut Connection) {
        if self.watching {
            quic.set_send_window(SEND_WINDOW);
        }
    }

    /// Goes on to wait for QUIC to hold little.
    pub(super) fn watch(&self, quic: &mut Connection) {
        if self.watching {
            quic.set_send_window(SEND_UNCOUNTED);
        }
    }

    /// Brings the count in step after so many bytes were written.
    fn count(&mut self, quic: &mut Connection, main: StreamId, written: usize) {
        self.held = self.held.saturating_add(u32::try_from(written).unwrap_or(u32::MAX));
        if self.is_blocked() {
            // QUIC says when it takes more, at its whole window.
            self.watching = false;
            return;
        }
        // Only behind other bytes: QUIC sends an empty frame for an empty write that it takes.
        if written > 0 && !self.watching && u64::from(self.held) > SEND_UNCOUNTED {
            quic.set_send_window(SEND_UNCOUNTED);
            // One that it refuses makes it say when it holds less.
            self.watching = quic.send_stream(main).write(&[]) == Err(WriteError::Blocked);
            if !self.watching {
                self.held = 0;
                quic.set_send_window(SEND_WINDOW);
            }
        }
        self.watch(quic);
    }

    /// Writes what the session has to say. `squeezed`: QUIC is to take little in advance.
    pub(super) fn write(&mut self, quic: &mut Connection, session: &mut Server, squeezed: bool) {
        let Some(main) = self.main else { return };
        let window = if squeezed { SEND_WINDOW_SQUEEZED } else { SEND_WINDOW };
        quic.set_send_window(window);
        let mut written =
            write_stream(quic, main, &mut self.blocked, session, |session| Some(session.poll_output()));
        if !self.sides.is_empty() {
            written += self.write_sides(quic, session, window);
            // Streams that have drained may be what the session waited for to say BEHIND.
            written +=
                write_stream(quic, main, &mut self.blocked, session, |session| Some(session.poll_output()));
        }
        self.count(quic, main, written);
    }

    fn write_sides(&mut self, quic: &mut Connection, session: &mut Server, window: u64) -> usize {
        let mut written = 0;
        for side in &mut self.sides {
            let Some(lane) = session.lane_of_side(side.number) else { continue };
            if !std::mem::replace(&mut side.ranked, true) {
                let _ = quic.send_stream(side.id).set_priority(priority(lane));
            }
            if lane == Lane::Bulk {
                quic.set_send_window(window.min(SEND_WINDOW_BULK));
            }
            let number = side.number;
            written += write_stream(quic, side.id, &mut side.blocked, session, |session| {
                session.poll_side_output(number)
            });
            quic.set_send_window(window);
        }
        let ending = &mut self.ending;
        self.sides.retain(|side| {
            let done = session.is_side_done(side.number);
            if done {
                let _ = quic.send_stream(side.id).finish();
                *ending = true;
                session.close_side(side.number);
            }
            !done
        });
        if self.sides.is_empty() {
            self.sides = Vec::new();
        }
        written
    }
}

/// Writes one stream until it has no more to say or takes no more. Returns how many bytes it took.
fn write_stream(
    quic: &mut Connection,
    id: StreamId,
    blocked: &mut bool,
    session: &mut Server,
    output: impl Fn(&mut Server) -> Option<&mut Outbox>,
) -> usize {
    let mut taken = 0;
    while !*blocked {
        let Some(outbox) = output(session).filter(|outbox| !outbox.is_empty()) else { break };
        match quic.send_stream(id).write_chunks(outbox.chunks()) {
            // Only a write that is refused makes QUIC say when there is room again: try until then.
            Ok(written) => {
                taken += written.bytes;
                outbox.written(written.chunks, written.bytes);
            }
            Err(WriteError::Blocked) => *blocked = true,
            // Stopped or closed: the event that says so ends the session or the stream.
            Err(_) => drop(outbox.take()),
        }
    }
    taken
}
