//! The books of some of the members: those of one thread.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use nearport_client::live::{Class, LiveCounts, text_of};
use nearport_client::{Event, LiveFrame, Transport};
use nearport_session::Closing;
use prost::Message as _;

use super::ledger::{Ledger, Member};
use crate::clock::Clock;
use crate::crowd::Witness;
use crate::latency::Latency;
use crate::payload::Payload;
use crate::scenario::books::Sessions;

/// Frames that are kept read: as many as are on their way to the members of a busy room at once, or nearly.
const FRAMES: usize = 8;

/// What a frame has to look like to be one of this run.
#[derive(Debug)]
pub(super) struct Reader {
    pub(super) run: u64,
    pub(super) room: String,
    pub(super) text_bytes: usize,
}

/// A frame, read.
#[derive(Debug, Clone)]
enum Heard {
    /// Of another room, or without counts: nothing to account for.
    Nothing,
    /// A message that nobody of this run said.
    Unexpected,
    Frame {
        class: Class,
        spoken: Option<Payload>,
        counts: LiveCounts,
    },
    /// It cannot be read.
    Damaged,
}

impl Reader {
    fn read(&self, frame: &LiveFrame) -> Heard {
        let Some(counts) = frame.counts.clone().filter(|_| frame.room == self.room) else {
            return Heard::Nothing;
        };
        let spoken = text_of(frame).and_then(|text| Payload::decode(text, self.run, self.text_bytes).ok());
        match (&frame.delivery, spoken) {
            (None, _) => Heard::Frame { class: Class::System, spoken, counts },
            (Some(_), Some(payload)) => Heard::Frame { class: Class::of(payload.sender), spoken, counts },
            (Some(_), None) => Heard::Unexpected,
        }
    }
}

/// See the module documentation.
#[derive(Debug)]
pub(super) struct Share {
    clock: Clock,
    reader: Arc<Reader>,
    /// The last frames, read: everybody gets the same bytes.
    read: [(Bytes, Heard); FRAMES],
    /// Which of them goes next.
    oldest: usize,
    /// The run is over. What the room still says (a tally, once it is quiet) reaches some before they leave, and is nobody's loss.
    pub(super) closed: bool,
    /// Due times that are measured.
    pub(super) window: (u64, u64),
    pub(super) members: Vec<Member>,
    pub(super) ledger: Ledger,
    pub(super) latency: Latency,
    pub(super) deliveries: u64,
    pub(super) unexpected: u64,
    pub(super) failed: u64,
    pub(super) sessions: Sessions,
    pub(super) first_error: Option<String>,
}

impl Share {
    pub(super) fn new(clock: Clock, reader: &Arc<Reader>, members: usize) -> Self {
        Self {
            clock,
            reader: Arc::clone(reader),
            read: std::array::from_fn(|_| (Bytes::new(), Heard::Nothing)),
            oldest: 0,
            closed: false,
            window: (u64::MAX, u64::MAX),
            members: std::iter::repeat_with(Member::default).take(members).collect(),
            ledger: Ledger::default(),
            latency: Latency::new(),
            deliveries: 0,
            unexpected: 0,
            failed: 0,
            sessions: Sessions::new(members),
            first_error: None,
        }
    }

    /// Takes over the books of others, behind these. Nothing is left there.
    pub(super) fn append(&mut self, other: &mut Self) {
        let empty = Self::new(other.clock, &other.reader, 0);
        let other = std::mem::replace(other, empty);
        self.members.extend(other.members);
        self.ledger.learn(&other.ledger);
        self.latency.add(&other.latency);
        self.deliveries += other.deliveries;
        self.unexpected += other.unexpected;
        self.failed += other.failed;
        self.sessions.append(other.sessions);
        self.first_error = self.first_error.take().or(other.first_error);
    }

    pub(super) fn frame(&mut self, member: usize, frame: &LiveFrame) {
        let heard = self.reader.read(frame);
        self.take(member, &heard);
    }

    pub(super) fn session(&mut self, member: usize, event: &Event) {
        self.sessions.event(member, event, self.clock.now_ns());
    }

    fn take(&mut self, member: usize, heard: &Heard) {
        match heard {
            Heard::Nothing => {}
            Heard::Unexpected => self.unexpected += 1,
            Heard::Damaged => self.failed("a frame that cannot be read".into()),
            Heard::Frame { spoken, .. } if self.closed => {
                spoken.iter().for_each(|payload| self.members[member].late(payload.counter));
            }
            Heard::Frame { class, spoken, counts } => {
                if let Some(payload) = spoken {
                    self.deliveries += 1;
                    if (self.window.0..self.window.1).contains(&payload.due_ns) {
                        let late_ns = self.clock.now_ns().saturating_sub(payload.due_ns);
                        self.latency.record(Duration::from_nanos(late_ns));
                    }
                }
                self.members[member].take(*class, spoken.map(|payload| payload.counter), counts);
                self.ledger.hear(counts);
            }
        }
    }
}

impl Witness for Share {
    fn connected(&mut self, member: usize) {
        let (transport, resumed) = (Transport::Quic, false);
        self.session(member, &Event::Connected { transport, resumed, cursor: 0, head: 0, time_ms: 0 });
    }

    fn lost(&mut self, member: usize, closing: &Closing, for_good: bool) {
        let (code, reason) = (closing.code, closing.reason.clone());
        let event = match for_good {
            true => Event::Stopped { code, reason },
            false => Event::Disconnected { code, reason, retry_in: Duration::ZERO },
        };
        self.session(member, &event);
    }

    fn joined(&mut self, member: usize, counts: &LiveCounts, first: bool) {
        // What was said while it was away stays what it misses.
        if first {
            self.members[member].begin(counts);
        }
        self.ledger.hear(counts);
    }

    fn heard(&mut self, member: usize, body: &Bytes) {
        let at = self.read.iter().position(|(known, _)| known == body).unwrap_or_else(|| {
            let at = self.oldest;
            self.oldest = (at + 1) % FRAMES;
            let frame = LiveFrame::decode(body.clone());
            let heard = frame.map_or(Heard::Damaged, |frame| self.reader.read(&frame));
            self.read[at] = (body.clone(), heard);
            at
        });
        let heard = std::mem::replace(&mut self.read[at].1, Heard::Nothing);
        self.take(member, &heard);
        self.read[at].1 = heard;
    }

    fn failed(&mut self, reason: String) {
        self.failed += 1;
        self.first_error.get_or_insert(reason);
    }
}

#[cfg(test)]
mod tests {
    use nearport_client::text;
    use nearport_wire::body::{Delivery, Message};

    use super::*;

    /// The frame of message `counter`, when the room has sent `taken` in all.
    fn frame(room: &str, run: u64, counter: u64, taken: u64) -> Bytes {
        let payload = Payload { run, sender: Class::Chat.id(), counter, due_ns: 5 };
        let message = Message { content: Some(text(payload.encode(100))), ..Message::default() };
        let frame = LiveFrame {
            room: room.into(),
            delivery: Some(Delivery { message: Some(message), ..Delivery::default() }),
            notice: None,
            counts: Some(LiveCounts { taken: vec![0, 0, taken, 0], ..LiveCounts::default() }),
        };
        frame.encode_to_vec().into()
    }

    #[test]
    fn a_frame_counts_for_everybody_who_got_it_and_is_missing_where_it_was_dropped() {
        let reader = Arc::new(Reader { run: 7, room: "r".into(), text_bytes: 100 });
        let mut share = Share::new(Clock::start(), &reader, 3);
        share.window = (0, 10);
        for member in 0..3 {
            share.joined(member, &LiveCounts::default(), true);
        }
        for counter in 0..4 {
            let body = frame("r", 7, counter, counter + 1);
            (0..3)
                .filter(|member| (*member, counter) != (1, 2))
                .for_each(|member| share.heard(member, &body));
        }
        share.heard(0, &frame("another", 7, 9, 9));
        share.heard(0, &frame("r", 8, 9, 4));
        share.heard(0, &Bytes::from_static(&[0xff; 9]));
        let books = share.ledger.close(&share.members);
        assert_eq!((books.missing, books.duplicated, books.reordered), (1, 0, 0));
        assert_eq!((share.deliveries, share.unexpected, share.failed), (11, 1, 1));
        // The same bytes again are the same message again.
        share.heard(2, &frame("r", 7, 3, 4));
        let mut all = Share::new(share.clock, &reader, 0);
        all.append(&mut share);
        assert_eq!(
            (all.ledger.close(&all.members).duplicated, all.deliveries, all.members.len()),
            (1, 12, 3)
        );
        assert_eq!((share.members.len(), all.latency.quantiles().p50.is_some()), (0, true));
    }

    #[test]
    fn what_comes_after_the_end_is_nobodys_loss_and_a_second_copy_is_seen() {
        let reader = Arc::new(Reader { run: 7, room: "r".into(), text_bytes: 100 });
        let mut share = Share::new(Clock::start(), &reader, 2);
        (0..2).for_each(|member| share.joined(member, &LiveCounts::default(), true));
        (0..2).for_each(|member| share.heard(member, &frame("r", 7, 0, 1)));
        share.closed = true;
        share.heard(0, &frame("r", 7, 1, 2));
        share.heard(1, &frame("r", 7, 0, 1));
        let books = share.ledger.close(&share.members);
        assert_eq!((books.missing, books.duplicated, share.deliveries), (0, 1, 2));
    }

    #[test]
    fn lost_sessions_count_as_those_of_the_sdk() {
        let reader = Arc::new(Reader { run: 7, room: "r".into(), text_bytes: 100 });
        let mut share = Share::new(Clock::start(), &reader, 2);
        (0..2).for_each(|member| share.connected(member));
        let gone = Closing::new(nearport_client::CloseCode::LOST, "gone");
        share.lost(1, &gone, false);
        share.connected(1);
        share.lost(1, &gone, true);
        let sessions = &share.sessions;
        assert_eq!(
            (sessions.lost(), sessions.reconnects(), sessions.stopped(), sessions.away()),
            (2, 1, 1, 1)
        );
    }
}
