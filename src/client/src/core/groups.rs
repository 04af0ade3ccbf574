//! What this device has of the user's groups: turns pushes, heads and pages into each message once, in order, per group.
//!
//! A group's messages are numbered from 1 without holes, and so are the changes (edits, recalls) that were made to them. A device
//! has a cursor in both. Pushes are hints: the one that follows the cursor is given, an older one dropped, and in front
//! of a later one something is missing, so that a page is pulled. After each login and after BEHIND the heads of all
//! groups say where pages are missing. A group that comes up later begins where its user joined; a device that the server has never
//! heard of begins at the heads.
//!
//! The machine knows no frames: [`super::Core`] asks for heads, pages and changes as [`Groups::next_pull`] says, and brings
//! the answers. `T` is a message; its state is the number of the last change to it, 0 as it was sent.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use room::Room;
use telling::Telling;

mod room;
mod telling;
#[cfg(test)]
mod tests;

/// Pages under way at once. More would not come sooner: the server reads them one after the other.
const PULLS_MAX: usize = 4;

/// Messages that came early, over all groups; the page brings those that are not held.
const HELD_MAX: usize = 1024;

/// Groups that a device follows; of more it shows nothing. Ten times what a user of the contract may be in.
const GROUPS_MAX: usize = 10_000;

/// Groups that were left and whose cursors are remembered, should the user come back.
const LEFT_MAX: usize = 1024;

/// An answer to an own send may overtake the pushes in front of it by as much, without anything being missing.
const PATIENCE: Duration = Duration::from_millis(200);

/// Wait before a pull that failed is tried again; it doubles up to [`RETRY_MAX`].
const RETRY_MIN: Duration = Duration::from_secs(1);
const RETRY_MAX: Duration = Duration::from_mins(1);

/// Stands in ids of topics, behind that of their community (public contract).
const TOPIC_MARK: &str = "@TOPIC#_";

/// What a group's newest message and change are, and where this device begins if it does not know the group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Head {
    pub(crate) group: Arc<str>,
    /// Newest message.
    pub(crate) seq: u64,
    /// Newest change.
    pub(crate) edit: u64,
    /// How far this device has shown the group; `None`: the server has never heard of it.
    pub(crate) shown: Option<u64>,
    /// The last message before the user could see any: what came behind it is for this user.
    pub(crate) joined: u64,
    /// The user wants nothing of it sent for now.
    pub(crate) discarded: bool,
}

/// Where a device begins in the groups that it does not know itself, at its first login.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Begin {
    /// At the head, whatever it has shown before.
    Now,
    /// Where the server says that it stands; a new device at the head.
    Remembered,
    /// Where the server says that it stands, or else where the user joined.
    Joined,
}

/// Where a device stands in a group.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Stand {
    pub(crate) group: Arc<str>,
    pub(crate) seq: u64,
    pub(crate) edit: u64,
}

/// A message with its place in the group, or a change of one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry<T> {
    pub(crate) seq: u64,
    /// Number of the last change to the message.
    pub(crate) edit: u64,
    pub(crate) message: T,
}

/// A page, which may have fewer entries than there are places: what is left out is not for this device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Page<T> {
    pub(crate) entries: Vec<Entry<T>>,
    /// The page speaks for everything up to here.
    pub(crate) upto: u64,
    /// Nothing lay behind that.
    pub(crate) complete: bool,
}

/// What comes out, in order within a group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Given<T> {
    /// A message, the first and only time.
    Message(Entry<T>),
    /// A message that was given before, as it is now, with the number of the change.
    Changed(u64, Entry<T>),
}

/// What to ask the server for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Pull {
    /// The heads of all groups: answer with [`Groups::take_heads`] for each part.
    Heads,
    /// Messages behind `after`, oldest first: [`Groups::take_page`].
    Messages { group: Arc<str>, after: u64 },
    /// Changes behind `after`, oldest first: [`Groups::take_changes`].
    Changes { group: Arc<str>, after: u64 },
}

/// How it stands with the heads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Heads {
    Known,
    /// To be asked for.
    Wanted,
    /// Under way. `again`: they may be older than what made them wanted.
    Asked {
        again: bool,
    },
}

/// See the module documentation.
#[derive(Debug)]
pub(crate) struct Groups<T> {
    rooms: BTreeMap<Arc<str>, Room<T>>,
    heads: Heads,
    /// Nothing is asked for before.
    heads_at: Option<Instant>,
    heads_failures: u32,
    heads_asked: Option<Instant>,
    /// Groups of the heads that come in parts.
    named: BTreeSet<Arc<str>>,
    /// The heads name only so many topics: there are others.
    topics_cut: bool,
    /// Groups that the user is not in any more, and what this device had of them.
    left: BTreeMap<Arc<str>, u64>,
    /// Heads have come before: a group that is new now was joined since.
    settled: bool,
    begin: Begin,
    /// Groups in which something is missing, in the order in which they are asked for.
    queue: VecDeque<Arc<str>>,
    /// Groups that are to be looked at later.
    later: BTreeSet<(Instant, Arc<str>)>,
    under_way: usize,
    held: usize,
    given: VecDeque<(Arc<str>, Given<T>)>,
    telling: Telling,
}

impl<T> Groups<T> {
    /// A device that stands where `stands` says.
    pub(crate) fn new(stands: impl IntoIterator<Item = Stand>, begin: Begin) -> Self {
        let rooms = stands.into_iter().take(GROUPS_MAX);
        let rooms: BTreeMap<_, _> =
            rooms.map(|stand| (stand.group, Room::new(stand.seq, stand.seq, stand.edit, Some(0)))).collect();
        Self {
            settled: !rooms.is_empty(),
            rooms,
            heads: Heads::Known,
            heads_at: None,
            heads_failures: 0,
            heads_asked: None,
            named: BTreeSet::new(),
            topics_cut: false,
            left: BTreeMap::new(),
            begin,
            queue: VecDeque::new(),
            later: BTreeSet::new(),
            under_way: 0,
            held: 0,
            given: VecDeque::new(),
            telling: Telling::default(),
        }
    }

    // ---- input ----

    /// A session begins. `known`: the server has met this device before, so a group without a cursor was joined since, or had
    /// no message.
    pub(crate) fn begin_session(&mut self, known: bool) {
        self.settled |= known && self.begin != Begin::Now;
        self.want_heads();
    }

    /// Pushes were dropped, or the user is in another group: the heads say what is missing.
    pub(crate) fn want_heads(&mut self) {
        self.heads = match self.heads {
            Heads::Known | Heads::Wanted => Heads::Wanted,
            Heads::Asked { .. } => Heads::Asked { again: true },
        };
    }

    /// The session is over, and what was asked for with it.
    pub(crate) fn connection_lost(&mut self) {
        self.heads = Heads::Known;
        (self.heads_at, self.heads_failures) = (None, 0);
        self.named.clear();
        self.queue.clear();
        self.later.clear();
        self.under_way = 0;
        self.telling.done();
        for room in self.rooms.values_mut() {
            room.rest();
            (room.put_off, room.failures) = (None, 0);
        }
    }

    /// A message was pushed.
    pub(crate) fn push(&mut self, now: Instant, group: &str, entry: Entry<T>) {
        let may_hold = self.held < HELD_MAX;
        let Some((group, room)) = self.room(group) else { return self.push_of_stranger(now, group) };
        if room.discarded {
            return room.miss(entry.seq, 0);
        }
        room.arrive(entry.seq, Some(entry), may_hold);
        self.look(now, &group, Duration::ZERO);
    }

    /// A change of a message was pushed, with the message as it is now.
    pub(crate) fn push_change(&mut self, now: Instant, group: &str, entry: Entry<T>) {
        let may_hold = self.held < HELD_MAX;
        let Some((group, room)) = self.room(group) else { return self.push_of_stranger(now, group) };
        if room.discarded {
            return room.miss(0, entry.edit);
        }
        room.change(entry, may_hold);
        self.look(now, &group, Duration::ZERO);
    }

    /// A topic has come to be: its community is followed, so it is, from its first message on. One that has messages of an earlier
    /// topic is looked at as the heads name it.
    pub(crate) fn begin(&mut self, now: Instant, topic: &str, seq: u64) {
        if seq > 0 || self.heads != Heads::Known {
            return self.want_heads();
        }
        if self.rooms.len() >= GROUPS_MAX || self.rooms.contains_key(topic) {
            return;
        }
        let topic: Arc<str> = topic.into();
        self.rooms.insert(Arc::clone(&topic), Room::new(0, 0, 0, None));
        self.telling.note(topic, now);
    }

    /// A topic is gone.
    pub(crate) fn end(&mut self, topic: &str) {
        self.forget(&topic.into());
        // The next one of its id begins anew.
        self.left.remove(topic);
    }

    /// The user is in a group that this device has not heard of: the heads name it. Not more often than every so often, should
    /// they not; and not for a topic where they leave some out.
    fn push_of_stranger(&mut self, now: Instant, group: &str) {
        if self.rooms.len() >= GROUPS_MAX
            || self.topics_cut && group.contains(TOPIC_MARK)
            || matches!(self.heads, Heads::Asked { again: true } | Heads::Wanted)
        {
            return;
        }
        self.want_heads();
        self.heads_at = self.heads_asked.map(|at| at + RETRY_MIN).filter(|at| *at > now);
    }

    /// The answer to an own send named its place.
    pub(crate) fn own(&mut self, now: Instant, group: &str, seq: u64) {
        // In a group that is not followed nothing can be missing either.
        let Some((group, room)) = self.room(group).filter(|(_, room)| !room.discarded) else { return };
        room.arrive(seq, None, true);
        self.look(now, &group, PATIENCE);
    }

    /// What the heads say about whether they leave topics out: in front of [`Self::take_heads`].
    pub(crate) fn topics_are_cut(&mut self, cut: bool) {
        self.topics_cut = cut;
    }

    /// A part of the heads; `last`: there is no further one.
    pub(crate) fn take_heads(&mut self, now: Instant, heads: Vec<Head>, last: bool) {
        // Whether this device is new shows only when all parts are there, and nothing may be missed meanwhile: a part that comes
        // later is decided by itself.
        for head in heads {
            if self.named.len() >= GROUPS_MAX {
                break;
            }
            self.named.insert(Arc::clone(&head.group));
            self.take_head(now, &head);
        }
        if !last {
            return;
        }
        let named = std::mem::take(&mut self.named);
        if self.heads != (Heads::Asked { again: true }) {
            let left = self.rooms.iter().filter(|(group, _)| !named.contains(*group));
            // Left, or dismissed; unless something came since the heads were asked for: then they may be too old.
            let (alive, left): (Vec<_>, Vec<_>) =
                left.map(|(group, room)| (Arc::clone(group), room)).partition(|(_, room)| room.has_moved());
            if !alive.is_empty() {
                self.heads = Heads::Asked { again: true };
            }
            let left: Vec<_> = left.into_iter().map(|(group, _)| group).collect();
            left.iter().for_each(|group| self.forget(group));
        }
        self.rooms.values_mut().for_each(|room| room.asked_at = None);
        self.settled = true;
        self.heads_failures = 0;
        self.heads = match self.heads {
            Heads::Asked { again: true } | Heads::Wanted => Heads::Wanted,
            Heads::Asked { again: false } | Heads::Known => Heads::Known,
        };
    }

    fn take_head(&mut self, now: Instant, head: &Head) {
        let forgets = self.begin == Begin::Now && !self.settled;
        let begin = match head.shown {
            _ if forgets => head.seq,
            None if self.settled || self.begin == Begin::Joined => head.joined,
            None => head.seq,
            Some(shown) => shown.max(head.joined),
        };
        // Whoever was in the group before has seen what there was then.
        let begin = self.left.remove(&head.group).map_or(begin, |left| begin.max(left.min(head.seq)));
        let room = self.rooms.entry(Arc::clone(&head.group)).or_insert_with(|| {
            Room::new(
                begin.min(head.seq),
                head.seq,
                head.edit,
                if forgets { Some(begin) } else { head.shown },
            )
        });
        // Shorter than what was seen before it was asked for: the store is another one, and all of it is new.
        if room.asked_at.is_some_and(|seen| seen > head.seq) {
            self.held -= room.counted;
            *room = Room::new(begin.min(head.seq), head.seq, head.edit, None);
        }
        room.discarded = head.discarded;
        if head.discarded {
            // What is said meanwhile comes when the user wants the group again.
            return;
        }
        room.know(head.seq, head.edit);
        room.know_missed();
        if room.untold() {
            // So that the next life of a new device does not begin at a later head.
            self.telling.note_for(Arc::clone(&head.group), now);
        }
        self.look(now, &head.group, Duration::ZERO);
    }

    /// The heads cannot be had: again after a while.
    pub(crate) fn heads_failed(&mut self, now: Instant, retry_after: Duration) {
        self.named.clear();
        self.heads = Heads::Wanted;
        self.heads_at = Some(now + retry_after.max(backoff(&mut self.heads_failures)));
    }

    /// A page of messages.
    pub(crate) fn take_page(&mut self, now: Instant, group: &str, page: Page<T>) {
        self.under_way = self.under_way.saturating_sub(1);
        let Some((group, room)) = self.room(group) else { return };
        room.take_page(page);
        self.look(now, &group, Duration::ZERO);
    }

    /// A page of changes: the messages as they are now, in the order of their numbers.
    pub(crate) fn take_changes(&mut self, now: Instant, group: &str, page: Page<T>) {
        self.under_way = self.under_way.saturating_sub(1);
        let may_hold = self.held < HELD_MAX;
        let Some((group, room)) = self.room(group) else { return };
        room.take_changes(page, may_hold);
        self.look(now, &group, Duration::ZERO);
    }

    /// A page cannot be had: again after a while, and `gone`: the group may not be there any more.
    pub(crate) fn pull_failed(&mut self, now: Instant, group: &str, retry_after: Duration, gone: bool) {
        self.under_way = self.under_way.saturating_sub(1);
        if let Some((group, room)) = self.room(group) {
            let wait = retry_after.max(backoff(&mut room.failures));
            room.rest();
            self.put_off(&group, now + wait);
        }
        if gone && self.heads == Heads::Known {
            self.heads = Heads::Wanted;
            let at = now + backoff(&mut self.heads_failures);
            self.heads_at = Some(self.heads_at.map_or(at, |planned| planned.max(at)));
        }
    }

    /// A message of the group waits for the application.
    pub(crate) fn queued(&mut self, group: &str, seq: u64) {
        if let Some((_, room)) = self.room(group) {
            room.last_message = seq;
        }
    }

    /// A message that was given is one of this device's own: there is nothing to show.
    pub(crate) fn settled(&mut self, now: Instant, group: &str) {
        if let Some((group, _)) = self.room(group) {
            self.look(now, &group, Duration::ZERO);
        }
    }

    /// Change `number` of a message of the group waits for the application.
    pub(crate) fn queued_change(&mut self, group: &str, number: u64) {
        if let Some((_, room)) = self.room(group) {
            room.last_change = number;
        }
    }

    /// The application has shown the changes up to `number`.
    pub(crate) fn show_change(&mut self, group: &str, number: u64) {
        if let Some((_, room)) = self.room(group) {
            room.changes_shown = number;
        }
    }

    /// The application has shown the group up to `seq`.
    pub(crate) fn show(&mut self, now: Instant, group: &str, seq: u64) {
        let Some((group, room)) = self.room(group) else { return };
        room.show(seq);
        if room.untold() {
            self.telling.note(group, now);
        }
    }

    // ---- output ----

    /// The next message or change for the application.
    pub(crate) fn poll_given(&mut self) -> Option<(Arc<str>, Given<T>)> {
        self.given.pop_front()
    }

    /// What to ask for now. It counts as under way from here on.
    pub(crate) fn next_pull(&mut self, now: Instant) -> Option<Pull> {
        if self.heads == Heads::Wanted && self.heads_at.is_none_or(|at| at <= now) {
            (self.heads, self.heads_at) = (Heads::Asked { again: false }, None);
            self.heads_asked = Some(now);
            self.rooms.values_mut().for_each(|room| room.asked_at = Some(room.cursor()));
            return Some(Pull::Heads);
        }
        while self.under_way < PULLS_MAX {
            let group = self.queue.pop_front()?;
            let Some(pull) = self.rooms.get_mut(&group).and_then(|room| room.begin_pull(&group)) else {
                continue;
            };
            self.under_way += 1;
            return Some(pull);
        }
        None
    }

    /// A pull that [`Self::next_pull`] gave cannot be asked for at the moment: it comes again.
    pub(crate) fn put_back(&mut self, pull: &Pull) {
        match pull {
            Pull::Heads => self.heads = Heads::Wanted,
            Pull::Messages { group, .. } | Pull::Changes { group, .. } => {
                self.under_way = self.under_way.saturating_sub(1);
                if let Some(room) = self.rooms.get_mut(group) {
                    room.queue();
                    self.queue.push_front(Arc::clone(group));
                }
            }
        }
    }

    /// Whether heads or pages are missing or under way: with none of them everything was given.
    pub(crate) fn is_behind(&self) -> bool {
        self.heads != Heads::Known || self.under_way > 0 || !self.queue.is_empty() || !self.later.is_empty()
    }

    /// Whether it is a topic of which the user wants nothing for now. Groups are not sent then at all, and when they are again, this
    /// may come before the heads that say so.
    pub(crate) fn discards(&self, group: &str) -> bool {
        group.contains(TOPIC_MARK) && self.rooms.get(group).is_some_and(|room| room.discarded)
    }

    /// Where this device stands, by what was shown: for its next life.
    pub(crate) fn stands(&self) -> impl Iterator<Item = Stand> + '_ {
        self.rooms.iter().map(|(group, room)| Stand {
            group: Arc::clone(group),
            seq: room.shown(),
            edit: room.changes_shown(),
        })
    }

    /// When [`Self::handle_timeout`] wants to be called.
    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        let later = self.later.first().map(|(at, _)| *at);
        let heads = self.heads_at.filter(|_| self.heads == Heads::Wanted);
        [later, heads, self.telling.poll_timeout()].into_iter().flatten().min()
    }

    pub(crate) fn handle_timeout(&mut self, now: Instant) {
        while let Some((at, group)) = self.later.first().cloned() {
            if at > now {
                break;
            }
            self.later.pop_first();
            if let Some(room) = self.rooms.get_mut(&group) {
                room.put_off = None;
            }
            self.look(now, &group, Duration::ZERO);
        }
    }

    // ---- details ----

    fn room(&mut self, group: &str) -> Option<(Arc<str>, &mut Room<T>)> {
        let group = Arc::clone(self.rooms.get_key_value(group)?.0);
        let room = self.rooms.get_mut(&group)?;
        Some((group, room))
    }

    /// Gives what is ready, and sees whether something is missing: then a page is asked for after `patience`.
    fn look(&mut self, now: Instant, group: &Arc<str>, patience: Duration) {
        let Some(room) = self.rooms.get_mut(group) else { return };
        let given = room.take_given();
        self.given.extend(given.into_iter().map(|given| (Arc::clone(group), given)));
        self.held = self.held + room.held() - room.counted;
        room.counted = room.held();
        // Whether what was given is to be shown, its receiver says.
        if self.given.is_empty() && room.untold() && room.is_all_shown() {
            // Own messages, and places where nothing is for this device.
            self.telling.note(Arc::clone(group), now);
        }
        if room.is_missing() && room.is_idle() {
            if patience.is_zero() {
                if let Some(at) = room.put_off.filter(|_| room.failures == 0) {
                    // What was waited for patiently is missing after all.
                    self.later.remove(&(at, Arc::clone(group)));
                    room.put_off = None;
                }
                if room.put_off.is_none() {
                    room.queue();
                    self.queue.push_back(Arc::clone(group));
                }
            } else if room.put_off.is_none() {
                self.put_off(group, now + patience);
            }
        } else if !room.is_missing()
            && let Some(at) = room.put_off.take()
        {
            self.later.remove(&(at, Arc::clone(group)));
        }
    }

    fn put_off(&mut self, group: &Arc<str>, at: Instant) {
        if let Some(room) = self.rooms.get_mut(group)
            && room.put_off.is_none()
        {
            room.put_off = Some(at);
            self.later.insert((at, Arc::clone(group)));
        }
    }

    fn forget(&mut self, group: &Arc<str>) {
        let Some(room) = self.rooms.remove(group) else { return };
        if self.left.len() >= LEFT_MAX {
            self.left.pop_first();
        }
        self.left.insert(Arc::clone(group), room.cursor());
        self.held -= room.counted;
        self.telling.forget(group);
        if let Some(at) = room.put_off {
            self.later.remove(&(at, Arc::clone(group)));
        }
    }
}

/// The wait after so many failures in a row.
fn backoff(failures: &mut u32) -> Duration {
    let wait = (RETRY_MIN * (1 << (*failures).min(6))).min(RETRY_MAX);
    *failures = failures.saturating_add(1);
    wait
}
