//! Events on their way to the application, and what it has shown of the user's log.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::config::{Acks, Limits, Receive};
use crate::event::Event;

/// What it says about logs that an event was shown.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) enum Mark {
    /// Nothing.
    #[default]
    None,
    /// The user's log is shown up to this position.
    Log(u64),
    /// The group is shown up to this message.
    Group(Arc<str>, u64),
    /// The changes of the group are shown up to this one.
    Change(Arc<str>, u64),
}

/// A bounded queue of events with the acknowledgement that follows from taking them.
///
/// Three positions of the user's log, `acked <= shown <= cursor`: the server was told, the application has shown,
/// the session has given. Own entries in between are shown as soon as everything in front of them is.
#[derive(Debug)]
pub(crate) struct Inbox {
    events: VecDeque<(Event, usize, Mark)>,
    bytes: usize,
    events_max: usize,
    bytes_max: usize,
    acks: Acks,
    receive: Receive,
    /// What the application is looking at.
    handed: Mark,
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
            handed: Mark::None,
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
            (self.shown, self.last_message) = (cursor, cursor);
            if matches!(self.handed, Mark::Log(_)) {
                self.handed = Mark::None;
            }
            self.acked = if acked { cursor } else { 0 };
        }
        self.cursor = cursor;
        self.unsure = self.shown > 0 && !(acked && self.shown == self.acked);
    }

    /// What stands at `position`, for the application: a message, or the change of one.
    pub(crate) fn logged(&mut self, position: u64, event: Event, bytes: usize) {
        (self.cursor, self.last_message) = (position, position);
        if self.receive == Receive::Everything {
            self.push(event, bytes, Mark::Log(position));
        }
    }

    /// An event of a group. The core sees to what is shown there.
    pub(crate) fn of_group(&mut self, event: Event, bytes: usize, mark: Mark) {
        self.push(event, bytes, mark);
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
            self.push(event, bytes, Mark::None);
        }
    }

    /// An event that the application always gets.
    pub(crate) fn tell(&mut self, event: Event) {
        // Nobody takes events, and the connection comes and goes: only the newest state is worth keeping.
        if !self.has_room() && is_state(&event) {
            while self.events.back().is_some_and(|(last, ..)| is_state(last)) {
                self.events.pop_back();
            }
        }
        self.push(event, 0, Mark::None);
    }

    fn push(&mut self, event: Event, bytes: usize, mark: Mark) {
        self.bytes += bytes;
        self.events.push_back((event, bytes, mark));
    }

    /// The next event. Call [`Self::shown_so_far`] before: asking says that the event before it is shown, if
    /// acknowledgements are automatic.
    pub(crate) fn pop(&mut self) -> Option<Event> {
        let (event, bytes, mark) = self.events.pop_front()?;
        self.bytes -= bytes;
        if let Acks::Auto { .. } = self.acks {
            self.handed = mark;
        }
        Some(event)
    }

    /// What was taken last is shown. Gives back what that says about a group.
    pub(crate) fn shown_so_far(&mut self) -> Mark {
        let handed = std::mem::take(&mut self.handed);
        if let Mark::Log(position) = handed {
            self.show(position);
        }
        handed
    }

    /// Time of the last input.
    pub(crate) fn now(&self) -> Instant {
        self.now
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
