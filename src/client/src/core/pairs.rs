//! Which entries of the user's log are messages, and which say that an earlier one has changed.
//!
//! A recall or an edit of a message in a pair appends one more entry to both logs that points at the message, and whoever reads
//! the message gets it as it is now. So an entry is a change if its message was given before, and nothing at all if it was
//! given in that state. Messages of one conversation stand in the log in the order of their numbers, so one number for each says
//! what was given. The server says which entry of a changed message is the message's own, so that a process that begins in the middle
//! knows a message from a change of one that an earlier process has given.

use std::collections::BTreeMap;

/// Conversations and changed messages that are remembered. Beyond it all are forgotten: a change is then told as one although its
/// message may be new here, or told once more.
const REMEMBERED_MAX: usize = 4096;

/// What an entry is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Class {
    Message,
    /// Of one that was given before, or may have been, by an earlier process: of a server that is older nobody knows.
    Change,
    /// Given before as it is.
    Known,
}

/// See the module documentation.
#[derive(Debug, Default)]
pub(super) struct Pairs {
    /// Number of the newest message, by the other side's name.
    newest: BTreeMap<String, u64>,
    /// By message: the newest change that was given.
    states: BTreeMap<(String, u64), u64>,
    /// Everything since the begin of the log was given by this process.
    whole: bool,
}

impl Pairs {
    /// A log is followed from its begin (`whole`), or from somewhere else.
    pub(super) fn begin(&mut self, whole: bool) {
        *self = Self { whole, ..Self::default() };
    }

    /// An own message got this number.
    pub(super) fn own(&mut self, peer: &str, seq: u64) {
        self.note(peer, seq);
    }

    /// What the next entry of the log is. `first`: the server says that it is a message's own.
    pub(super) fn classify(&mut self, peer: &str, seq: u64, (edit, first): (u64, bool)) -> Class {
        if edit == 0 {
            self.note(peer, seq);
            return Class::Message;
        }
        let newest = self.newest.get(peer).copied().or_else(|| (self.whole || first).then_some(0));
        let before = self.states.get(&(peer.to_owned(), seq)).copied().unwrap_or(0);
        if before < edit {
            if self.states.len() >= REMEMBERED_MAX {
                self.states.clear();
            }
            self.states.insert((peer.to_owned(), seq), edit);
        }
        match newest {
            Some(newest) if seq > newest => {
                self.note(peer, seq);
                Class::Message
            }
            _ if before < edit => Class::Change,
            _ => Class::Known,
        }
    }

    fn note(&mut self, peer: &str, seq: u64) {
        if let Some(newest) = self.newest.get_mut(peer) {
            *newest = seq.max(*newest);
            return;
        }
        if self.newest.len() >= REMEMBERED_MAX {
            self.newest.clear();
            self.whole = false;
        }
        self.newest.insert(peer.to_owned(), seq);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_change_is_told_once_and_never_as_a_message() {
        let mut pairs = Pairs::default();
        pairs.begin(true);
        assert_eq!(pairs.classify("bob", 1, (0, false)), Class::Message);
        assert_eq!(pairs.classify("bob", 1, (1, false)), Class::Change);
        assert_eq!(pairs.classify("bob", 2, (3, false)), Class::Message, "changed before it was read here");
        assert_eq!(pairs.classify("bob", 2, (3, false)), Class::Known, "and that change");
        assert_eq!(pairs.classify("bob", 2, (4, false)), Class::Change);
        pairs.own("bob", 3);
        assert_eq!(pairs.classify("bob", 3, (5, false)), Class::Change);
        assert_eq!(pairs.classify("eve", 1, (1, false)), Class::Message);
        pairs.begin(false);
        assert_eq!(
            pairs.classify("bob", 1, (6, false)),
            Class::Change,
            "an earlier process may have shown it"
        );
        assert_eq!(pairs.classify("bob", 9, (0, false)), Class::Message);
        assert_eq!(pairs.classify("bob", 10, (7, false)), Class::Message);
        pairs.begin(false);
        assert_eq!(
            pairs.classify("bob", 11, (9, true)),
            Class::Message,
            "the server says that it is new here"
        );
        assert_eq!(pairs.classify("bob", 11, (9, false)), Class::Known);
        assert_eq!(pairs.classify("bob", 10, (8, false)), Class::Change);
    }

    proptest! {
        /// A log of messages and changes, read with delays and by one process after the other: what is read later is as it is then.
        #[test]
        fn every_message_once_with_its_last_state(
            steps in proptest::collection::vec((0usize..3, any::<bool>(), any::<u64>(), any::<bool>(), 0u8..8), 1..200),
        ) {
            let names = ["a", "b", "c"];
            let (mut pairs, mut log, mut read) = (Pairs::default(), Vec::new(), 0);
            pairs.begin(true);
            let (mut states, mut numbers) = (vec![Vec::<u64>::new(); 3], [0u64; 3]);
            let (mut given, mut since) = (BTreeMap::new(), BTreeMap::new());
            for (peer, new, at, reads, restart) in steps.into_iter().chain([(0, true, 0, true, 1)]) {
                let messages = &mut states[peer];
                let first = new || messages.is_empty();
                if first {
                    messages.push(0);
                    log.push((peer, messages.len(), true));
                } else {
                    let at = usize::try_from(at % messages.len() as u64).unwrap();
                    numbers[peer] += 1;
                    messages[at] = numbers[peer];
                    log.push((peer, at + 1, false));
                }
                if restart == 0 {
                    pairs.begin(read == 0);
                    since.clear();
                }
                while reads && read < log.len() {
                    let (peer, seq, first) = log[read];
                    let state = states[peer][seq - 1];
                    match pairs.classify(names[peer], seq as u64, (state, first && state > 0)) {
                        Class::Message => prop_assert_eq!(given.insert((peer, seq), state), None),
                        Class::Change => {
                            let before = given.insert((peer, seq), state);
                            // The state that an earlier process has given may be told again, once.
                            prop_assert!(before.is_some_and(|before| before <= state));
                            let again = since.get(&(peer, seq)).is_some_and(|before| *before == state);
                            prop_assert!(!again);
                        }
                        Class::Known => prop_assert_eq!(given.get(&(peer, seq)), Some(&state)),
                    }
                    since.insert((peer, seq), state);
                    read += 1;
                }
            }
            for (peer, messages) in states.iter().enumerate() {
                for (at, state) in messages.iter().enumerate() {
                    prop_assert_eq!(given.get(&(peer, at + 1)), Some(state));
                }
            }
        }
    }
}
