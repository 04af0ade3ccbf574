//! Events on their way to the application, and what it has shown of the user's log.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::config::{Acks, Limits, Receive};
use crate::event::{Event, Message};

/// A bounded queue of events with the acknowledgement that follows from taking them.
///
/// Three positions of the user's log, `acked <= shown <= cursor`: the server was told, the application has shown,
/// the session has given. Own entries in between are shown as soon as everything in front of them is.
#[derive(Debug)]
pub(crate) struct Inbox {
    events: VecDeque<(Event, usize)>,
    bytes: usize,
    events_max: usize,
    bytes_max: usize,
    acks: Acks,
    receive: Receive,
    /// Position of the message that the application is looking at.
    handed: Option<u64>,
    cursor: u64,
    /// Position of the newest message that was queued for the application.
    last_message: u64,
    shown: u64,
    acked: u64,
    /// The last acknowledgement may have been lost with its connection.
    unsure: bool,
    ack_at: Option<Instant>,
    /// Time of the last input: taking an event tells no time.
    now: Instant,
}

impl Inbox {
    pub(crate) fn new(acks: Acks, receive: Receive, limits: &Limits, now: Instant) -> Self {
        Self {
            events: VecDeque::new(),
            bytes: 0,
            events_max: limits.events_max,
            bytes_max: limits.events_bytes_max,
            acks,
            receive,
            handed: None,
            cursor: 0,
            last_message: 0,
            shown: 0,
            acked: 0,
            unsure: false,
            ack_at: None,
            now,
        }
    }

    /// Whether there is room for more.
    pub(crate) fn has_room(&self) -> bool {
        self.events.len() < self.events_max && self.bytes < self.bytes_max
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.events.is_empty()
    }

    pub(crate) fn tick(&mut self, now: Instant) {
        self.now = now;
    }

    /// A login at `cursor`. With `resumed` the log goes on; otherwise positions start afresh. `acked`: the server
    /// itself named the cursor, so it needs no acknowledgement.
    pub(crate) fn start(&mut self, cursor: u64, resumed: bool, acked: bool) {
        if !resumed {
            (self.shown, self.last_message, self.handed) = (cursor, cursor, None);
            self.acked = if acked { cursor } else { 0 };
        }
        self.cursor = cursor;
        self.unsure = self.shown > 0 && !(acked && self.shown == self.acked);
    }

    /// A message at `position` for the application.
    pub(crate) fn message(&mut self, message: Message, bytes: usize) {
        self.cursor = message.position;
        self.last_message = message.position;
        if self.receive == Receive::Everything {
            self.push(Event::Message(message), bytes);
        }
    }

    /// An entry at `position` that the application knows: its own message.
    pub(crate) fn own_entry(&mut self, position: u64) {
        self.cursor = position;
        if self.shown >= self.last_message {
            self.show(position);
        }
    }

    /// An event without a position that an application may not want.
    pub(crate) fn hint(&mut self, event: Event, bytes: usize) {
        if self.receive == Receive::Everything {
            self.push(event, bytes);
        }
    }

    /// An event that the application always gets.
    pub(crate) fn tell(&mut self, event: Event) {
        // Nobody takes events, and the connection comes and goes: only the newest state is worth keeping.
        if !self.has_room() && is_state(&event) {
            while self.events.back().is_some_and(|(last, _)| is_state(last)) {
                self.events.pop_back();
            }
        }
        self.push(event, 0);
    }

    fn push(&mut self, event: Event, bytes: usize) {
        self.bytes += bytes;
        self.events.push_back((event, bytes));
    }

    /// The next event. Asking for it says that the message before it is shown, if acknowledgements are automatic.
    pub(crate) fn pop(&mut self) -> Option<Event> {
        self.shown_so_far();
        let (event, bytes) = self.events.pop_front()?;
        self.bytes -= bytes;
        if let (Event::Message(message), Acks::Auto { .. }) = (&event, self.acks) {
            self.handed = Some(message.position);
        }
        Some(event)
    }

    /// The message that was taken last is shown.
    pub(crate) fn shown_so_far(&mut self) {
        if let Some(position) = self.handed.take() {
            self.show(position);
        }
    }

    /// The application says that everything up to `position` is shown.
    pub(crate) fn acknowledge(&mut self, position: u64) {
        self.show(position);
    }

    fn show(&mut self, position: u64) {
        let mut shown = self.shown.max(position);
        if shown >= self.last_message {
            shown = self.cursor;
        }
        if shown > self.shown {
            self.shown = shown;
            self.plan_ack();
        }
    }

    fn plan_ack(&mut self) {
        let (every, within) = match self.acks {
            Acks::Auto { every, within } => (every, within),
            Acks::Manual => (1, Duration::ZERO),
        };
        let wait = if self.shown - self.acked >= u64::from(every) { Duration::ZERO } else { within };
        let at = self.now + wait;
        self.ack_at = Some(self.ack_at.map_or(at, |planned| planned.min(at)));
    }

    /// Position up to which the application has shown.
    pub(crate) fn shown(&self) -> u64 {
        self.shown
    }

    /// What is shown, for the server to know; 0 if it shall not.
    pub(crate) fn ack_position(&self) -> u64 {
        if self.receive == Receive::Everything { self.shown } else { 0 }
    }

    /// The position to acknowledge, if that is due; `at_once` does not wait for company.
    pub(crate) fn take_ack(&mut self, now: Instant, at_once: bool) -> Option<u64> {
        let news = self.ack_position() > self.acked || (self.unsure && self.ack_position() > 0);
        if !news {
            self.ack_at = None;
            return None;
        }
        if self.ack_at.is_none() {
            self.now = now;
            self.plan_ack();
        }
        if !at_once && self.ack_at.is_some_and(|at| now < at) {
            return None;
        }
        self.ack_at = None;
        self.unsure = false;
        self.acked = self.shown;
        Some(self.shown)
    }

    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        self.ack_at
    }
}

/// Events of which only the newest matters.
fn is_state(event: &Event) -> bool {
    matches!(
        event,
        Event::Connected { .. }
            | Event::CaughtUp
            | Event::GoAway { .. }
            | Event::Disconnected { .. }
            | Event::Stopped { .. }
    )
}
