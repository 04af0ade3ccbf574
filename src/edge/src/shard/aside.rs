//! Datagrams that carry an acknowledgement and hardly more, while many wait.
//!
//! Whoever gets a message of a live room acknowledges it with a datagram of its own, so a room of thousands answers each message with
//! thousands of datagrams at once. Worked on in the order in which they came, they hold up what somebody else has to say for as long as the shard
//! needs for all of them: with 10,000 members on a shard the socket held 1.2 MB (p90; 1,600 datagrams), and a message between two users took
//! 22 ms at p90 and 54 ms at p99, where a quiet one takes 0.8 and 1.3 (decision 0008).
//!
//! So while the socket holds more than one batch, the shard reads on and lays aside what is short. What is longer is worked on at once, and when the answers
//! are at the socket, as many of the short ones as the turn has left. Reading one costs little beside working on it. QUIC does not mind the order: an acknowledgement holds for
//! whatever it names (RFC 9000 §13.2), and what else fits a short datagram (a heartbeat, more flow control) waits as long as it waited in the socket.

use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr};
use std::time::Instant;

use bytes::BytesMut;

use super::Shard;
use crate::socket::BATCH;

/// The longest datagram that is laid aside. A connection id of ours, a packet number and the tag take 35 to 38 bytes, an
/// acknowledgement 6 to 15; a request of a session names a conversation and is longer.
const SHORT_BYTES_MAX: usize = 56;

/// Datagrams that wait at most: 1.5 MB. Beyond it the socket is not read on, and what it holds waits there in its order.
const WAITING_MAX: usize = 16 * 1024;

/// Of those a turn works on so many at least, however much else it has.
const PER_TURN_MIN: usize = BATCH / 8;

/// Room that is kept when none waits.
const KEPT: usize = 1024;

/// A datagram, kept where it lies: none of them costs an allocation.
#[derive(Debug)]
pub(super) struct Short {
    pub(super) remote: SocketAddr,
    pub(super) local_ip: Option<IpAddr>,
    len: u8,
    bytes: [u8; SHORT_BYTES_MAX],
}

impl Short {
    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes[..usize::from(self.len)]
    }
}

/// See the module documentation.
#[derive(Debug, Default)]
pub(super) struct Aside {
    waiting: VecDeque<Short>,
    /// The socket held more than the last turn has read, or some wait here.
    crowded: bool,
    /// Datagrams that this turn has worked on at once.
    prompt: usize,
}

impl Aside {
    /// Takes a datagram of a connection that has a key. `false`: it is to be worked on now.
    pub(super) fn take(&mut self, remote: SocketAddr, local_ip: Option<IpAddr>, datagram: &[u8]) -> bool {
        if !self.crowded || datagram.len() > SHORT_BYTES_MAX || self.waiting.len() >= WAITING_MAX {
            return false;
        }
        let mut bytes = [0; SHORT_BYTES_MAX];
        bytes[..datagram.len()].copy_from_slice(datagram);
        let len = u8::try_from(datagram.len()).expect("it is short");
        self.waiting.push_back(Short { remote, local_ip, len, bytes });
        true
    }

    /// A datagram was not laid aside.
    pub(super) fn note_prompt(&mut self) {
        self.prompt += 1;
    }

    /// Whether the socket is to be read on in this turn, if it holds more.
    pub(super) fn reads_on(&self) -> bool {
        self.crowded && self.prompt < BATCH && self.waiting.len() < WAITING_MAX
    }

    /// How many of those that wait the turn works on, if it works on `batch` in all. A turn begins anew with it.
    pub(super) fn share(&mut self, batch: usize) -> usize {
        let prompt = std::mem::take(&mut self.prompt);
        batch.saturating_sub(prompt).max(PER_TURN_MIN).min(self.waiting.len())
    }

    pub(super) fn pop(&mut self) -> Option<Short> {
        self.waiting.pop_front()
    }

    /// The turn has read what it reads; `more`: the socket holds more. Returns whether any datagram waits, there or here.
    pub(super) fn settle(&mut self, more: bool) -> bool {
        self.crowded = more || !self.waiting.is_empty();
        if !self.crowded {
            self.waiting.shrink_to(KEPT);
        }
        self.crowded
    }

    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    pub(super) fn len(&self) -> usize {
        self.waiting.len()
    }
}

impl Shard {
    /// Whether more of what the socket holds is to be given to [`Self::handle_datagram`] before the turn, if it holds more.
    #[must_use]
    pub fn reads_on(&self) -> bool {
        self.aside.reads_on()
    }

    /// Says whether the socket holds more than was read. Call it once in each turn, behind the last datagram and before [`Self::turn`]. Returns whether datagrams
    /// wait, there or here: `backlog` of what comes behind the turn.
    pub fn settle_backlog(&mut self, more: bool) -> bool {
        self.aside.settle(more)
    }

    /// Works on short datagrams that wait, as many as the turn has left. Call it after the datagrams of [`Self::turn`] were sent, and send what it adds.
    pub fn take_aside(&mut self, now: Instant) {
        let share = self.aside.share(self.pace.batch(now));
        if share == 0 {
            return;
        }
        for _ in 0..share {
            let Some(short) = self.aside.pop() else { break };
            self.feed(now, short.remote, short.local_ip, BytesMut::from(short.bytes()), None);
        }
        self.turn.append(&mut self.prompt);
        self.step_turn(now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn remote() -> SocketAddr {
        ([127, 0, 0, 1], 9).into()
    }

    #[test]
    fn only_what_is_short_waits_and_only_in_a_crowd() {
        let mut aside = Aside::default();
        assert!(!aside.take(remote(), None, &[1; 40]));
        assert!(!aside.reads_on());
        assert_eq!(aside.share(BATCH), 0);
        assert!(aside.settle(true));
        assert!(aside.take(remote(), None, &[2; SHORT_BYTES_MAX]));
        assert!(!aside.take(remote(), None, &[3; SHORT_BYTES_MAX + 1]));
        assert!(aside.reads_on());
        assert_eq!(aside.share(BATCH), 1);
        assert_eq!(aside.pop().map(|short| short.bytes().to_vec()), Some(vec![2; SHORT_BYTES_MAX]));
        assert!(!aside.settle(false));
        assert!(!aside.take(remote(), None, &[1; 40]), "the crowd is gone");
    }

    #[test]
    fn a_turn_works_on_a_batch_in_all_and_never_leaves_the_short_ones_out() {
        let mut aside = Aside::default();
        aside.settle(true);
        (0..200).for_each(|_| assert!(aside.take(remote(), None, &[1; 40])));
        (0..20).for_each(|_| aside.note_prompt());
        assert_eq!(aside.share(BATCH), BATCH - 20);
        (0..BATCH).for_each(|_| aside.note_prompt());
        assert!(!aside.reads_on(), "a turn's work is there");
        assert_eq!(aside.share(BATCH), PER_TURN_MIN);
        assert!(aside.reads_on(), "the next turn begins with nothing");
    }

    #[test]
    fn at_the_limit_the_socket_keeps_the_rest_in_its_order() {
        let mut aside = Aside::default();
        aside.settle(true);
        (0..WAITING_MAX).for_each(|_| assert!(aside.take(remote(), None, &[1; 40])));
        assert!(!aside.reads_on());
        assert!(!aside.take(remote(), None, &[1; 40]));
        while aside.pop().is_some() {}
        assert!(!aside.settle(false));
        assert!(aside.waiting.capacity() < WAITING_MAX, "the room is given back");
    }
}
