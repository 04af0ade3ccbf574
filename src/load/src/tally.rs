//! What became of every message: the books that the promise is checked against.
//!
//! Each sender numbers its messages from 0 in the order in which they are due. A message is *scheduled*, then *posted* (the
//! client took it), then *acknowledged* (on the server's disk) and *delivered* (shown on the receiver's device), the
//! last two in any order. What went wrong is read at the end, because until then it may still come right: an
//! unanswered message of a server that was killed is sent again when it is back.

use std::collections::VecDeque;

/// The books of a run.
#[derive(Debug)]
pub(crate) struct Tally {
    senders: Vec<Sender>,
    /// Messages that still wait for something.
    open: u64,
    posted: u64,
    acked: u64,
    delivered: u64,
    duplicated: u64,
    reordered: u64,
}

/// One sender's messages from the oldest on that has not both its acknowledgement and its delivery.
#[derive(Debug, Default)]
struct Sender {
    /// Counter of the first entry; everything before it is acknowledged and delivered.
    base: u64,
    entries: VecDeque<Entry>,
    /// One more than the highest counter delivered.
    delivered_to: u64,
}

#[derive(Debug, Clone, Copy)]
struct Entry {
    due_ns: u64,
    posted: bool,
    acked: bool,
    delivered: bool,
    /// Nothing more will be tried for it.
    given_up: bool,
}

impl Entry {
    fn is_settled(self) -> bool {
        (self.acked && self.delivered) || self.given_up
    }
}

/// What a delivery was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Arrival {
    /// The first of its message, which was due at this time.
    First {
        /// As scheduled.
        due_ns: u64,
    },
    /// The message had been shown before.
    Duplicate,
    /// Nobody sent such a message.
    Unknown,
}

/// The books, closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Counts {
    /// Messages that the clients took.
    pub(crate) sent: u64,
    /// Messages with an acknowledgement.
    pub(crate) acked: u64,
    /// Messages that were shown, each counted once.
    pub(crate) delivered: u64,
    /// Acknowledged and not shown.
    pub(crate) lost: u64,
    /// Deliveries of a message that had been shown before.
    pub(crate) duplicated: u64,
    /// First deliveries behind one with a higher counter of the same sender.
    pub(crate) reordered: u64,
    /// Scheduled, and the client never took them.
    pub(crate) never_sent: u64,
    /// Given up by the client, and not shown.
    pub(crate) failed: u64,
    /// Neither an acknowledgement nor a failure nor a delivery.
    pub(crate) unanswered: u64,
}

impl Tally {
    pub(crate) fn new(senders: usize) -> Self {
        let senders = std::iter::repeat_with(Sender::default).take(senders).collect();
        Self { senders, open: 0, posted: 0, acked: 0, delivered: 0, duplicated: 0, reordered: 0 }
    }

    /// A message of `sender` is due; returns its counter.
    pub(crate) fn schedule(&mut self, sender: usize, due_ns: u64) -> u64 {
        self.open += 1;
        let sender = &mut self.senders[sender];
        sender.entries.push_back(Entry {
            due_ns,
            posted: false,
            acked: false,
            delivered: false,
            given_up: false,
        });
        sender.base + sender.entries.len() as u64 - 1
    }

    /// The client took it.
    pub(crate) fn post(&mut self, sender: usize, counter: u64) {
        let posted = self.change(sender, counter, |entry| !std::mem::replace(&mut entry.posted, true));
        self.posted += u64::from(posted.is_some_and(|(_, first)| first));
    }

    /// It is on the server's disk; returns when it was due, `None` for a second or an unexpected acknowledgement.
    pub(crate) fn ack(&mut self, sender: usize, counter: u64) -> Option<u64> {
        let (due_ns, first) =
            self.change(sender, counter, |entry| entry.posted && !std::mem::replace(&mut entry.acked, true))?;
        self.acked += u64::from(first);
        first.then_some(due_ns)
    }

    /// Nothing more will be tried for it: the client, or the load tool itself, gave up.
    pub(crate) fn give_up(&mut self, sender: usize, counter: u64) {
        self.change(sender, counter, |entry| entry.given_up = true);
    }

    /// It was shown on its receiver's device.
    pub(crate) fn deliver(&mut self, sender: usize, counter: u64) -> Arrival {
        if self.senders.get(sender).is_some_and(|sender| counter < sender.base) {
            self.duplicated += 1;
            return Arrival::Duplicate;
        }
        let seen = self.change(sender, counter, |entry| {
            (entry.posted, std::mem::replace(&mut entry.delivered, entry.posted))
        });
        match seen {
            None | Some((_, (false, _))) => Arrival::Unknown,
            Some((_, (true, true))) => {
                self.duplicated += 1;
                Arrival::Duplicate
            }
            Some((due_ns, (true, false))) => {
                self.delivered += 1;
                let sender = &mut self.senders[sender];
                self.reordered += u64::from(counter < sender.delivered_to);
                sender.delivered_to = sender.delivered_to.max(counter + 1);
                Arrival::First { due_ns }
            }
        }
    }

    /// Whether no message waits for anything: each is acknowledged and shown, or given up.
    pub(crate) fn is_settled(&self) -> bool {
        self.open == 0
    }

    /// Acknowledged so far.
    pub(crate) fn acked(&self) -> u64 {
        self.acked
    }

    /// The state of things now, as if nothing more came.
    pub(crate) fn counts(&self) -> Counts {
        let mut counts = Counts {
            sent: self.posted,
            acked: self.acked,
            delivered: self.delivered,
            duplicated: self.duplicated,
            reordered: self.reordered,
            ..Counts::default()
        };
        for entry in self.senders.iter().flat_map(|sender| &sender.entries) {
            let kind = match *entry {
                Entry { delivered: true, .. } => continue,
                Entry { acked: true, .. } => &mut counts.lost,
                Entry { posted: false, .. } => &mut counts.never_sent,
                Entry { given_up: true, .. } => &mut counts.failed,
                Entry { .. } => &mut counts.unanswered,
            };
            *kind += 1;
        }
        counts
    }

    /// Changes the entry, if there is one, and what follows from it. Returns when it was due, and `change`'s result.
    fn change<T>(
        &mut self,
        sender: usize,
        counter: u64,
        change: impl FnOnce(&mut Entry) -> T,
    ) -> Option<(u64, T)> {
        let sender = self.senders.get_mut(sender)?;
        let at = usize::try_from(counter.checked_sub(sender.base)?).ok()?;
        let entry = sender.entries.get_mut(at)?;
        let was_settled = entry.is_settled();
        let result = change(entry);
        let due_ns = entry.due_ns;
        self.open -= u64::from(!was_settled && entry.is_settled());
        // What is complete is forgotten: memory follows the messages under way, not the length of the run.
        while sender.entries.front().is_some_and(|entry| entry.acked && entry.delivered) {
            sender.entries.pop_front();
            sender.base += 1;
        }
        Some((due_ns, result))
    }
}

#[cfg(test)]
#[path = "tally_tests.rs"]
mod tests;
