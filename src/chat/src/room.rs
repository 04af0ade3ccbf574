//! Live rooms: groups of any size without history.
//!
//! A room is in memory, and so is who is in it: sessions join, and are out of it when they end. It begins with the first one to join
//! and ends when nobody is left. What is said goes out at once or not at all ([`rate`]), as one copy for each link with members, and one
//! for all links of an edge that hands on ([`routes`]), so that a room of twenty thousand costs the core what one of twenty does.
//!
//! **The loss ledger.** Every LIVE frame counts in its class, and carries what the room has taken and folded by class since it began. A
//! member that compares two frames knows how many of which class went out between them; what it has not got of those,
//! its edge told it by FOLDED, or it was lost on the way. What was folded last is told by the next frame, and by a tally within a
//! second when nothing more is said.
//!
//! [`Rooms`] is a synchronous core behind one lock: joins come from the desk, messages from the writer, and [`Rooms::turn`] from whoever
//! keeps the time. What goes to a link is pushed while the lock is held, so that a join, the counts that it is answered with and the
//! frames after them stand in one order.

mod hall;
mod presence;
mod rate;
mod routes;
#[cfg(test)]
mod tests;

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::fmt;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use metrics::{Counter, Gauge, Unit, counter, describe_counter, describe_gauge, gauge};
use nearport_trunk::local::LinkId;
use nearport_trunk::{Down, SessionId};
use nearport_wire::{Class, body};

use crate::downs::{Downs, Links};
use crate::key::{AppId, GroupKey, UserKey};
use crate::registry::Registry;
use hall::Hall;
pub(crate) use presence::{Coming, MarkRefused, RoomPage};

/// Rooms of one session at once.
pub(crate) const ROOMS_PER_SESSION_MAX: usize = 16;

/// How often [`Rooms::turn`] has to be called while there are rooms.
pub(crate) const TICK: Duration = Duration::from_millis(250);

/// Most rooms that one turn looks after, and users that it counts out of one.
const ROOMS_PER_TURN: usize = 256;

/// How a room behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Settings {
    /// Messages that go out in a second; 0: any number.
    pub(crate) rate_per_s: u32,
    /// Messages kept for newcomers; of a room that is there, as the newest one to join has it.
    pub(crate) last_n: usize,
}

/// A session that wants to be in a room.
#[derive(Debug, Clone)]
pub(crate) struct Member {
    /// Whose.
    pub(crate) user: UserKey,
    /// Which.
    pub(crate) session: SessionId,
    /// Over which link.
    pub(crate) link: LinkId,
}

/// Why a session is not in a room now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum JoinRefused {
    /// The session has ended, or came by another link.
    Gone,
    /// It is in [`ROOMS_PER_SESSION_MAX`] rooms.
    TooMany,
}

/// What became of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Said {
    /// It went out.
    Out,
    /// It went to nobody, and is counted: more was said than the room's rate. The sender is told success (of the public contract).
    Folded,
    /// It was said before, under the same id.
    Again,
}

/// A message for a room.
#[derive(Debug)]
pub(crate) struct Saying<'a> {
    /// Who says it.
    pub(crate) from: &'a UserKey,
    /// How important it is.
    pub(crate) class: Class,
    /// It goes out whatever the rate: what an administrator of the App says.
    pub(crate) exempt: bool,
    /// The sender's id of it; one that is repeated within the last few hundred goes out once.
    pub(crate) client_msg_id: [u8; 16],
    /// What the members get.
    pub(crate) delivery: body::Delivery,
}

/// The class of what is said with this priority. What the system says is nobody's to send.
pub(crate) fn class_of(priority: body::Priority) -> Class {
    match priority {
        body::Priority::High => Class::Gift,
        body::Priority::Default | body::Priority::Normal => Class::Chat,
        body::Priority::Low | body::Priority::Lowest => Class::Like,
    }
}

/// All rooms. See the module documentation.
pub(crate) struct Rooms {
    state: Mutex<State>,
    /// Rooms began, or nothing comes any more.
    changed: Condvar,
    links: Links,
    metrics: Metrics,
}

#[derive(Debug, Default)]
struct State {
    halls: HashMap<GroupKey, Hall>,
    /// The rooms of each session that is in one.
    sessions: HashMap<SessionId, Vec<GroupKey>>,
    /// When which room wants to be looked after, each room at most once.
    due: BTreeSet<(u64, GroupKey)>,
    ended: bool,
}

#[derive(Debug)]
struct Metrics {
    rooms: Gauge,
    sessions: Gauge,
    said: [Counter; 3],
    frames: Counter,
    copies: Counter,
}

impl Metrics {
    fn new() -> Self {
        describe_gauge!("nearport_chat_live_rooms", Unit::Count, "Live rooms with members.");
        describe_gauge!("nearport_chat_live_sessions", Unit::Count, "Sessions in live rooms.");
        describe_counter!(
            "nearport_chat_live_messages_total",
            Unit::Count,
            "Messages to live rooms by what became of them."
        );
        describe_counter!("nearport_chat_live_frames_total", Unit::Count, "Frames that live rooms sent out.");
        describe_counter!("nearport_chat_live_copies_total", Unit::Count, "Copies of them for links.");
        Self {
            rooms: gauge!("nearport_chat_live_rooms"),
            sessions: gauge!("nearport_chat_live_sessions"),
            said: ["out", "folded", "again"]
                .map(|outcome| counter!("nearport_chat_live_messages_total", "outcome" => outcome)),
            frames: counter!("nearport_chat_live_frames_total"),
            copies: counter!("nearport_chat_live_copies_total"),
        }
    }
}

/// What a room needs to send something.
struct Outlet<'a> {
    metrics: &'a Metrics,
    out: &'a mut Downs,
}

impl Rooms {
    /// No rooms yet.
    pub(crate) fn new(links: Links) -> Self {
        let (state, changed, metrics) = (Mutex::default(), Condvar::new(), Metrics::new());
        Self { state, changed, links, metrics }
    }

    /// A session joins a room, which begins if nobody is in it, which behaves like this. A second time changes nothing; it is answered with the counts as they are.
    ///
    /// The registry is locked by the caller: a session that ends after this is heard of by [`Self::turn`].
    ///
    /// # Errors
    /// [`JoinRefused`].
    pub(crate) fn join(
        &self,
        registry: &mut Registry,
        (room, settings): (&GroupKey, Settings),
        member: &Member,
        now_ms: u64,
        out: &mut Downs,
    ) -> Result<(body::LiveJoined, Coming), JoinRefused> {
        let mut state = self.lock();
        let state = &mut *state;
        let of_session = state.sessions.get(&member.session).map_or(&[][..], Vec::as_slice);
        let new = !of_session.contains(room);
        if new && of_session.len() >= ROOMS_PER_SESSION_MAX {
            return Err(JoinRefused::TooMany);
        }
        if !registry.enter_rooms(member.session, member.link) {
            return Err(JoinRefused::Gone);
        }
        let first = state.halls.is_empty();
        let hall =
            state.halls.entry(room.clone()).or_insert_with(|| Hall::new(room.clone(), settings, now_ms));
        hall.keep(settings.last_n);
        let mut outlet = Outlet { metrics: &self.metrics, out };
        if new {
            state.sessions.entry(member.session).or_default().push(room.clone());
            let (session, topic) = (member.session, hall.topic().clone());
            outlet.out.push(member.link, Down::Join { session, topic });
            hall.enter(member, &self.links);
        }
        let coming = hall.come(&member.user, member.session, now_ms);
        let joined = hall.joined();
        if coming != Coming::Known {
            hall.note_joined(&member.user, now_ms, &mut outlet);
        }
        state.plan(room);
        self.count(state);
        outlet.out.flush();
        if first {
            self.changed.notify_all();
        }
        Ok((joined, coming))
    }

    /// A user leaves a room, with all sessions. `false`: they were not in it.
    pub(crate) fn leave(&self, room: &GroupKey, user: &UserKey, now_ms: u64, out: &mut Downs) -> bool {
        let mut state = self.lock();
        let state = &mut *state;
        let Some(hall) = state.halls.get_mut(room) else { return false };
        let Some(sessions) = hall.leave(user, now_ms) else { return false };
        for session in sessions {
            if let Some((_, link)) = hall.exit(session, &self.links) {
                out.push(link, Down::Leave { session, topic: hall.topic().clone() });
            }
            forget(&mut state.sessions, session, room);
        }
        hall.note_left(user, now_ms, &mut Outlet { metrics: &self.metrics, out });
        state.plan(room);
        self.count(state);
        out.flush();
        true
    }

    /// A room ends with its group: everybody is out of it.
    pub(crate) fn dismiss(&self, room: &GroupKey, out: &mut Downs) {
        let mut state = self.lock();
        let state = &mut *state;
        let Some(hall) = state.halls.remove(room) else { return };
        state.due.retain(|(_, due)| due != room);
        for (session, link) in hall.sessions() {
            out.push(link, Down::Leave { session, topic: hall.topic().clone() });
            forget(&mut state.sessions, session, room);
        }
        self.count(state);
        out.flush();
    }

    /// Somebody says something in a room; whether they may is asked before. A room without members hears nothing, which is success.
    pub(crate) fn say(&self, room: &GroupKey, saying: Saying<'_>, now_ms: u64, out: &mut Downs) -> Said {
        let mut state = self.lock();
        let said = match state.halls.get_mut(room) {
            Some(hall) => hall.say(saying, now_ms, &mut Outlet { metrics: &self.metrics, out }),
            None => Said::Out,
        };
        state.plan(room);
        out.flush();
        self.metrics.said[said as usize].increment(1);
        said
    }

    /// Something about the group has changed that is no message: everybody in the room is told of the event.
    pub(crate) fn hint(&self, room: &GroupKey, event: &Bytes, out: &mut Downs) {
        if let Some(hall) = self.lock().halls.get(room) {
            hall.hint(event, out);
            out.flush();
        }
    }

    /// Whether a user is in a room, or was until twenty seconds ago.
    pub(crate) fn is_in(&self, room: &GroupKey, user: &UserKey) -> bool {
        self.lock().halls.get(room).is_some_and(|hall| hall.is_in(user))
    }

    /// How many users are in a room, as it is shown.
    pub(crate) fn online(&self, room: &GroupKey) -> u32 {
        self.lock().halls.get(room).map_or(0, Hall::online)
    }

    /// Who is in a room: see [`RoomPage`].
    pub(crate) fn page(&self, room: &GroupKey, from: u64, mark: Option<u32>) -> RoomPage {
        self.lock().halls.get(room).map(|hall| hall.page(from, mark)).unwrap_or_default()
    }

    /// Sets or takes marks of users of a room, and gives those who are in it.
    ///
    /// # Errors
    /// [`MarkRefused`].
    pub(crate) fn mark(
        &self,
        room: &GroupKey,
        set: bool,
        users: &[(UserKey, Vec<u32>)],
        now_ms: u64,
    ) -> Result<Vec<UserKey>, MarkRefused> {
        self.lock().halls.get_mut(room).map_or(Ok(Vec::new()), |hall| hall.mark(set, users, now_ms))
    }

    /// The rooms of an App that have members, by name.
    pub(crate) fn of_app(&self, app: AppId) -> Vec<GroupKey> {
        let state = self.lock();
        let mut rooms: Vec<_> = state.halls.keys().filter(|room| room.app() == app).cloned().collect();
        rooms.sort_unstable();
        rooms
    }

    /// The rooms that sessions are in, by name.
    pub(crate) fn of_sessions(&self, sessions: &[SessionId]) -> Vec<GroupKey> {
        let state = self.lock();
        let rooms = sessions.iter().filter_map(|session| state.sessions.get(session)).flatten();
        rooms.cloned().collect::<BTreeSet<_>>().into_iter().collect()
    }

    /// Who joined a room last, newest first, at most 30.
    pub(crate) fn latest(&self, room: &GroupKey) -> Vec<UserKey> {
        self.lock().halls.get(room).map(Hall::latest).unwrap_or_default()
    }

    /// Looks after what is due: sessions that have ended, users whose time to come back is over, notices and tallies. Call it every
    /// [`TICK`] with what [`Registry::take_departed`] gives. Gives the users whose time is over, guests not among them.
    pub(crate) fn turn(
        &self,
        departed: Vec<SessionId>,
        now_ms: u64,
        out: &mut Downs,
    ) -> Vec<(GroupKey, Vec<UserKey>)> {
        let mut gone = Vec::new();
        let mut state = self.lock();
        let state = &mut *state;
        for session in departed {
            for room in state.sessions.remove(&session).unwrap_or_default() {
                if let Some(hall) = state.halls.get_mut(&room)
                    && let Some((user, _)) = hall.exit(session, &self.links)
                {
                    hall.lose(&user, session, now_ms);
                }
                state.plan(&room);
            }
        }
        for _ in 0..ROOMS_PER_TURN {
            let Some((at_ms, _)) = state.due.first() else { break };
            if *at_ms > now_ms {
                break;
            }
            let Some((_, room)) = state.due.pop_first() else { break };
            let Some(hall) = state.halls.get_mut(&room) else { continue };
            let mut expired = hall.due(now_ms, &mut Outlet { metrics: &self.metrics, out });
            expired.retain(|user| !user.is_guest());
            if !expired.is_empty() {
                gone.push((room.clone(), expired));
            }
            if hall.is_over() {
                state.halls.remove(&room);
            } else {
                state.plan(&room);
            }
        }
        self.count(state);
        out.flush();
        gone
    }

    /// Waits until it is time for a turn. `false`: none comes any more.
    pub(crate) fn wait(&self) -> bool {
        let state = self.lock();
        if !state.ended && state.halls.is_empty() {
            let idle = |state: &mut State| state.halls.is_empty() && !state.ended;
            return !self.changed.wait_while(state, idle).unwrap_or_else(PoisonError::into_inner).ended;
        }
        let waited = self.changed.wait_timeout_while(state, TICK, |state| !state.ended);
        !waited.unwrap_or_else(PoisonError::into_inner).0.ended
    }

    /// Ends who waits.
    pub(crate) fn end(&self) {
        self.lock().ended = true;
        self.changed.notify_all();
    }

    fn count(&self, state: &State) {
        self.metrics.rooms.set(state.halls.len() as f64);
        self.metrics.sessions.set(state.sessions.len() as f64);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Brings the time at which a room is looked after in step with the room.
    fn plan(&mut self, room: &GroupKey) {
        let Some(hall) = self.halls.get_mut(room) else { return };
        let due = hall.due_ms();
        let planned = std::mem::replace(&mut hall.planned, due);
        if planned != due {
            if let Some(planned) = planned {
                self.due.remove(&(planned, room.clone()));
            }
            self.due.extend(due.map(|due| (due, room.clone())));
        }
    }
}

/// A session is no longer in a room.
fn forget(sessions: &mut HashMap<SessionId, Vec<GroupKey>>, session: SessionId, room: &GroupKey) {
    if let Some(rooms) = sessions.get_mut(&session) {
        rooms.retain(|known| known != room);
        if rooms.is_empty() {
            sessions.remove(&session);
        }
    }
}

impl fmt::Debug for Rooms {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rooms").finish_non_exhaustive()
    }
}

/// What a room has said lately, by sender and id: a client that had no answer says it again.
#[derive(Debug, Default)]
struct Recent {
    known: std::collections::HashSet<(UserKey, [u8; 16])>,
    order: VecDeque<(UserKey, [u8; 16])>,
}

/// Ids that a room remembers: twelve seconds at the rate of the public contract.
const RECENT_MAX: usize = 512;

impl Recent {
    /// Notes an id. `false`: it is known.
    fn note(&mut self, from: &UserKey, id: [u8; 16]) -> bool {
        let entry = (from.clone(), id);
        if !self.known.insert(entry.clone()) {
            return false;
        }
        self.order.push_back(entry);
        if self.order.len() > RECENT_MAX
            && let Some(oldest) = self.order.pop_front()
        {
            self.known.remove(&oldest);
        }
        true
    }
}
