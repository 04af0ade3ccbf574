//! One group on this device.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use super::{Entry, Given, Page, Pull};

/// Messages of one group that are held because they came early.
const HELD_PER_GROUP_MAX: usize = 64;

/// Messages whose state is remembered because it is younger than the changes that were seen. What falls out is told as changed once
/// more, with the same words.
const STATES_MAX: usize = 256;

/// A message that came early.
#[derive(Debug)]
enum Early<T> {
    /// This device's own: its application has it. A change that came meanwhile.
    Own(Option<Entry<T>>),
    Message(Entry<T>),
}

/// What is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Asking {
    Nothing,
    /// It stands in the queue.
    Queued,
    /// Under way. `again`: what made another page necessary may be younger than this one.
    UnderWay {
        again: bool,
    },
}

/// See the module documentation of [`super`].
#[derive(Debug)]
pub(super) struct Room<T> {
    /// Everything up to here was given, or is not for this device.
    cursor: u64,
    /// Newest message that is known to exist.
    known: u64,
    held: BTreeMap<u64, Early<T>>,
    /// Changes up to here were given.
    edit: u64,
    known_edit: u64,
    /// Messages up to here come from pages only: a push of one may be older than the changes that this device begins behind.
    from_pages: u64,
    /// Last given states, as far as they are younger than `edit`.
    states: BTreeMap<u64, u64>,
    asking: Asking,
    pub(super) failures: u32,
    /// Nothing of it is sent to this user for now, and nothing is asked for.
    pub(super) discarded: bool,
    /// The newest message and change that came meanwhile.
    missed: (u64, u64),
    /// When the group is looked at again.
    pub(super) put_off: Option<Instant>,
    /// The cursor when the heads under way were asked for.
    pub(super) asked_at: Option<u64>,
    /// The newest message that the application got, or will get.
    pub(super) last_message: u64,
    shown: u64,
    /// What the server knows about `shown`; `None`: not even that this device has been here.
    pub(super) told: Option<u64>,
    /// The same for changes.
    pub(super) last_change: u64,
    pub(super) changes_shown: u64,
    /// As `held` counts in the sum over all groups.
    pub(super) counted: usize,
    given: Vec<Given<T>>,
}

impl<T> Room<T> {
    /// A group whose head is `head`, begun behind `cursor`.
    pub(super) fn new(cursor: u64, head: u64, edit: u64, told: Option<u64>) -> Self {
        Self {
            from_pages: head,
            cursor,
            known: cursor,
            held: BTreeMap::new(),
            edit,
            known_edit: edit,
            states: BTreeMap::new(),
            asking: Asking::Nothing,
            failures: 0,
            discarded: false,
            missed: (0, 0),
            put_off: None,
            asked_at: None,
            last_message: cursor,
            shown: cursor,
            told,
            last_change: edit,
            changes_shown: edit,
            counted: 0,
            given: Vec::new(),
        }
    }

    pub(super) fn cursor(&self) -> u64 {
        self.cursor
    }

    /// Changes up to here were shown.
    pub(super) fn changes_shown(&self) -> u64 {
        if self.changes_shown >= self.last_change { self.edit } else { self.changes_shown }
    }

    /// Since the heads under way were asked for.
    pub(super) fn has_moved(&self) -> bool {
        self.asked_at.is_some_and(|at| at != self.cursor)
    }

    pub(super) fn held(&self) -> usize {
        self.held.len()
    }

    /// A message came, or as `None` the place of an own one. Without `may_hold` it is only known to exist.
    pub(super) fn arrive(&mut self, seq: u64, entry: Option<Entry<T>>, may_hold: bool) {
        if seq <= self.cursor {
            return;
        }
        if cfg!(nearport_bug = "group_gap") && entry.is_some() {
            // What is missing in front of it is never asked for.
            self.cursor = seq - 1;
        }
        let room = may_hold && self.held.len() < HELD_PER_GROUP_MAX;
        let stale = entry.is_some() && seq <= self.from_pages;
        if !stale && (seq == self.cursor + 1 || room) {
            self.held.entry(seq).or_insert_with(|| entry.map_or(Early::Own(None), Early::Message));
        }
        self.know(seq, self.known_edit);
        self.release();
    }

    /// Messages and changes exist up to here.
    pub(super) fn know(&mut self, seq: u64, edit: u64) {
        let news = (seq > self.known && !self.held.contains_key(&seq)) || edit > self.known_edit;
        if let (true, Asking::UnderWay { again }) = (news, &mut self.asking) {
            *again = true;
        }
        self.known = self.known.max(seq);
        self.known_edit = self.known_edit.max(edit);
    }

    /// Something came that the user does not want. It is not held and not asked for: topics are sent with their community, wanted or
    /// not. But the heads that say that it is wanted again may be older than it.
    pub(super) fn miss(&mut self, seq: u64, edit: u64) {
        self.missed = (self.missed.0.max(seq), self.missed.1.max(edit));
    }

    /// It is wanted again.
    pub(super) fn know_missed(&mut self) {
        let (seq, edit) = std::mem::take(&mut self.missed);
        self.know(seq, edit);
    }

    /// A change was pushed. Without `may_hold` one of a message that was not given yet is only known to exist.
    pub(super) fn change(&mut self, entry: Entry<T>, may_hold: bool) {
        let number = entry.edit;
        if number != self.edit + 1 || !self.apply(entry, may_hold) {
            self.know(0, number);
        }
    }

    /// A change whose number follows those that were applied, apart from older ones of messages that changed once more.
    /// `false`: there is no room for it.
    fn apply(&mut self, entry: Entry<T>, may_hold: bool) -> bool {
        let (seq, number) = (entry.seq, entry.edit);
        if number <= self.edit {
            return true;
        }
        let room = may_hold && self.held.len() < HELD_PER_GROUP_MAX;
        if seq > self.cursor && !room && !self.held.contains_key(&seq) {
            return false;
        }
        self.edit = number;
        self.known_edit = self.known_edit.max(number);
        if seq <= self.cursor {
            if self.states.get(&seq).is_none_or(|state| *state < entry.edit) {
                self.remember(seq, entry.edit);
                self.given.push(Given::Changed(number, entry));
            }
        } else {
            match self.held.get_mut(&seq) {
                Some(Early::Message(early)) if early.edit < entry.edit => *early = entry,
                Some(Early::Own(change)) => *change = Some(entry),
                Some(Early::Message(_)) => {}
                // The page that is to bring the message may have been read before the change.
                None => {
                    self.held.insert(seq, Early::Message(entry));
                }
            }
            self.know(seq, 0);
            self.release();
        }
        let edit = self.edit;
        self.states.retain(|_, state| *state > edit);
        true
    }

    fn remember(&mut self, seq: u64, edit: u64) {
        if edit > self.edit && (self.states.len() < STATES_MAX || self.states.contains_key(&seq)) {
            self.states.insert(seq, edit);
        }
    }

    /// Pages are the conversation itself: what is missing in front of an entry is not for this device.
    pub(super) fn take_page(&mut self, page: Page<T>) {
        let again = self.asking == Asking::UnderWay { again: true };
        (self.asking, self.failures) = (Asking::Nothing, 0);
        for entry in page.entries {
            let seq = entry.seq;
            if seq <= self.cursor {
                continue;
            }
            self.known = self.known.max(seq);
            match self.held.get_mut(&seq) {
                Some(Early::Message(early)) if early.edit < entry.edit => *early = entry,
                Some(_) => {}
                None => {
                    self.held.insert(seq, Early::Message(entry));
                }
            }
            self.jump_to(seq - 1);
        }
        self.jump_to(page.upto);
        if page.complete && !again {
            let last = self.held.last_key_value().map_or(0, |(seq, _)| *seq);
            self.known = self.cursor.max(last);
        }
    }

    /// Nothing between the cursor and `seq` is for this device but what is held.
    fn jump_to(&mut self, seq: u64) {
        while let Some((first, _)) = self.held.first_key_value() {
            if *first > seq {
                break;
            }
            self.cursor = self.cursor.max(first - 1);
            self.release();
        }
        self.cursor = self.cursor.max(seq);
        self.release();
        self.known = self.known.max(self.cursor);
    }

    pub(super) fn take_changes(&mut self, page: Page<T>, may_hold: bool) {
        let again = self.asking == Asking::UnderWay { again: true };
        (self.asking, self.failures) = (Asking::Nothing, 0);
        for entry in page.entries {
            if !self.apply(entry, may_hold) {
                // The messages come first.
                self.known_edit = self.known_edit.max(page.upto);
                return;
            }
        }
        self.edit = self.edit.max(page.upto);
        let edit = self.edit;
        self.states.retain(|_, state| *state > edit);
        self.known_edit = if page.complete && !again { edit } else { self.known_edit.max(edit) };
    }

    fn release(&mut self) {
        while let Some(first) = self.held.first_entry() {
            if *first.key() != self.cursor + 1 {
                break;
            }
            self.cursor += 1;
            match first.remove() {
                Early::Own(None) => {}
                Early::Own(Some(change)) => {
                    self.remember(change.seq, change.edit);
                    self.given.push(Given::Changed(change.edit, change));
                }
                Early::Message(entry) => {
                    self.remember(entry.seq, entry.edit);
                    self.given.push(Given::Message(entry));
                }
            }
        }
    }

    pub(super) fn take_given(&mut self) -> Vec<Given<T>> {
        std::mem::take(&mut self.given)
    }

    // ---- what is missing ----

    pub(super) fn is_missing(&self) -> bool {
        self.known > self.cursor || self.known_edit > self.edit
    }

    pub(super) fn is_idle(&self) -> bool {
        self.asking == Asking::Nothing
    }

    pub(super) fn queue(&mut self) {
        self.asking = Asking::Queued;
    }

    /// The connection is gone, or the page cannot be had.
    pub(super) fn rest(&mut self) {
        (self.asking, self.asked_at) = (Asking::Nothing, None);
    }

    /// The group's turn in the queue: what is still missing is asked for.
    pub(super) fn begin_pull(&mut self, group: &Arc<str>) -> Option<Pull> {
        if self.asking != Asking::Queued {
            return None;
        }
        let group = Arc::clone(group);
        let pull = if self.known > self.cursor {
            Pull::Messages { group, after: self.cursor }
        } else if self.known_edit > self.edit {
            Pull::Changes { group, after: self.edit }
        } else {
            self.asking = Asking::Nothing;
            return None;
        };
        self.asking = Asking::UnderWay { again: false };
        Some(pull)
    }

    // ---- what was shown ----

    pub(super) fn show(&mut self, seq: u64) {
        self.shown = self.shown.max(seq.min(self.cursor));
    }

    /// Behind the last message that the application got stand only own ones, and places that are not for this device.
    pub(super) fn shown(&self) -> u64 {
        if self.is_all_shown() { self.cursor } else { self.shown }
    }

    pub(super) fn is_all_shown(&self) -> bool {
        self.shown >= self.last_message
    }

    pub(super) fn untold(&self) -> bool {
        self.told.is_none_or(|told| self.shown() > told)
    }
}
