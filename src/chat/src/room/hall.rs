//! One room: who is in it, what it has counted, what it has still to say.

use std::collections::{HashMap, VecDeque};

use bytes::Bytes;
use nearport_trunk::local::LinkId;
use nearport_trunk::{SessionId, Topic};
use nearport_wire::{Class, Kind, Lane, body};
use prost::Message as _;

use super::presence::{Coming, MarkRefused, Presence, RoomPage, SHOWN_FOR_MS};
use super::rate::Rate;
use super::routes::Routes;
use super::{Member, Outlet, Recent, Said, Saying, Settings};
use crate::downs::{Downs, Links};
use crate::key::{GroupKey, UserKey};

/// When counts have changed and nothing else is said, they are told after so long.
const TALLY_MS: u64 = 700;

/// Who comes and goes is told so often at most; in a large room as often as the number of those online.
const NOTICE_EVERY_MS: u64 = 1_000;

/// Names in a notice; the others are a number.
const NOTICE_NAMES_MAX: usize = 10;

/// Users counted out in one turn.
const EXPIRED_PER_TURN: usize = 4_096;

/// A live room with members.
#[derive(Debug)]
pub(super) struct Hall {
    room: GroupKey,
    topic: Topic,
    settings: Settings,
    since_ms: u64,
    taken: [u64; Class::COUNT],
    folded: [u64; Class::COUNT],
    /// When the counts are told at the latest; `None`: the last frame told them.
    tally_ms: Option<u64>,
    rate: Rate,
    recent: Recent,
    routes: Routes,
    members: HashMap<SessionId, (UserKey, LinkId)>,
    presence: Presence,
    joined: Crowd,
    left: Crowd,
    /// When the last notice went out.
    noticed_ms: Option<u64>,
    last: VecDeque<body::Delivery>,
    /// What the table of rooms knows of [`Self::due_ms`].
    pub(super) planned: Option<u64>,
}

/// Users of whom a notice has to be.
#[derive(Debug, Default)]
struct Crowd {
    names: Vec<String>,
    count: u32,
}

impl Crowd {
    fn add(&mut self, user: &UserKey) {
        self.count += 1;
        if self.names.len() < NOTICE_NAMES_MAX && !user.is_guest() {
            self.names.push(user.name().to_owned());
        }
    }
}

impl Hall {
    pub(super) fn new(room: GroupKey, settings: Settings, now_ms: u64) -> Self {
        Self {
            topic: room.topic(),
            room,
            settings,
            since_ms: now_ms,
            taken: [0; Class::COUNT],
            folded: [0; Class::COUNT],
            tally_ms: None,
            rate: Rate::new(settings.rate_per_s, now_ms),
            recent: Recent::default(),
            routes: Routes::default(),
            members: HashMap::new(),
            presence: Presence::default(),
            joined: Crowd::default(),
            left: Crowd::default(),
            noticed_ms: None,
            last: VecDeque::new(),
            planned: None,
        }
    }

    pub(super) fn topic(&self) -> &Topic {
        &self.topic
    }

    /// A session is a member from here on.
    pub(super) fn enter(&mut self, member: &Member, links: &Links) {
        let Member { user, session, link } = member;
        if self.members.insert(*session, (user.clone(), *link)).is_none() {
            self.routes.add(*link, &self.topic, links);
        }
    }

    /// A session is no member any more; gives whose it was and its link, if it was one. Its user stays: [`Self::lose`].
    pub(super) fn exit(&mut self, session: SessionId, links: &Links) -> Option<(UserKey, LinkId)> {
        let (user, link) = self.members.remove(&session)?;
        self.routes.remove(link, &self.topic, links);
        Some((user, link))
    }

    /// Sessions that are members, in order.
    pub(super) fn sessions(&self) -> Vec<(SessionId, LinkId)> {
        let mut sessions: Vec<_> =
            self.members.iter().map(|(session, (_, link))| (*session, *link)).collect();
        sessions.sort_unstable();
        sessions
    }

    /// A user has come with a session.
    pub(super) fn come(&mut self, user: &UserKey, session: SessionId, now_ms: u64) -> Coming {
        self.presence.come(user, session, now_ms)
    }

    /// A session of a user has ended without a word.
    pub(super) fn lose(&mut self, user: &UserKey, session: SessionId, now_ms: u64) {
        self.presence.lose(user, session, now_ms);
    }

    /// A user leaves; gives their sessions, if they were here.
    pub(super) fn leave(&mut self, user: &UserKey, now_ms: u64) -> Option<Vec<SessionId>> {
        self.presence.leave(user, now_ms)
    }

    pub(super) fn is_in(&self, user: &UserKey) -> bool {
        self.presence.contains(user)
    }

    pub(super) fn online(&self) -> u32 {
        self.presence.shown()
    }

    pub(super) fn page(&self, from: u64, mark: Option<u32>) -> RoomPage {
        self.presence.page(from, mark)
    }

    pub(super) fn mark(
        &mut self,
        set: bool,
        users: &[(UserKey, Vec<u32>)],
        now_ms: u64,
    ) -> Result<Vec<UserKey>, MarkRefused> {
        self.presence.mark(set, users, now_ms)
    }

    pub(super) fn latest(&self) -> Vec<UserKey> {
        self.presence.latest().cloned().collect()
    }

    /// What a session is told that has joined.
    pub(super) fn joined(&self) -> body::LiveJoined {
        body::LiveJoined {
            counts: Some(self.counts()),
            last: self.last.iter().cloned().collect(),
            latest: self.presence.latest().map(|user| user.name().to_owned()).collect(),
        }
    }

    /// Tells of a user who came, now or with the next notice.
    pub(super) fn note_joined(&mut self, user: &UserKey, now_ms: u64, outlet: &mut Outlet<'_>) {
        self.joined.add(user);
        self.notice(now_ms, outlet);
    }

    /// Tells of a user who went.
    pub(super) fn note_left(&mut self, user: &UserKey, now_ms: u64, outlet: &mut Outlet<'_>) {
        self.left.add(user);
        self.notice(now_ms, outlet);
    }

    /// So many messages are kept for newcomers from now on.
    pub(super) fn keep(&mut self, last_n: usize) {
        self.settings.last_n = last_n;
        while self.last.len() > last_n {
            self.last.pop_front();
        }
    }

    /// Somebody says something.
    pub(super) fn say(&mut self, saying: Saying<'_>, now_ms: u64, outlet: &mut Outlet<'_>) -> Said {
        let Saying { from, class, exempt, client_msg_id, delivery } = saying;
        if !self.recent.note(from, client_msg_id) {
            return Said::Again;
        }
        if !exempt && !self.rate.offer(class, from, now_ms) {
            if cfg!(not(nearport_bug = "room_fold")) {
                self.taken[class.index()] += 1;
                self.folded[class.index()] += 1;
            }
            self.tally_ms.get_or_insert(now_ms + TALLY_MS);
            return Said::Folded;
        }
        if class != Class::Like && self.settings.last_n > 0 {
            self.last.push_back(delivery.clone());
            if self.last.len() > self.settings.last_n {
                self.last.pop_front();
            }
        }
        self.publish(
            class,
            body::LiveFrame { delivery: Some(delivery), ..body::LiveFrame::default() },
            outlet,
        );
        Said::Out
    }

    /// Tells all sessions of an event. It counts in no class: one that is lost is found by asking.
    pub(super) fn hint(&self, event: &Bytes, out: &mut Downs) {
        self.routes.publish(&self.topic, (Lane::Chat, Kind::EVENT, 0), event, out);
    }

    /// Does what is due. Gives the users whose time to come back is over.
    pub(super) fn due(&mut self, now_ms: u64, outlet: &mut Outlet<'_>) -> Vec<UserKey> {
        let expired = self.presence.expire(now_ms, EXPIRED_PER_TURN);
        expired.iter().for_each(|user| self.left.add(user));
        self.notice(now_ms, outlet);
        if self.tally_ms.is_some_and(|due| due <= now_ms) {
            self.publish(Class::System, body::LiveFrame::default(), outlet);
        }
        expired
    }

    /// When [`Self::due`] has something to do.
    pub(super) fn due_ms(&self) -> Option<u64> {
        let notice = (self.joined.count + self.left.count > 0).then(|| self.notice_ms());
        // One that is over is taken away at once.
        let over = self.is_over().then_some(0);
        [self.tally_ms, notice, self.presence.expires_ms(), over].into_iter().flatten().min()
    }

    /// Whether nobody is left.
    pub(super) fn is_over(&self) -> bool {
        self.members.is_empty() && self.presence.is_empty()
    }

    /// When the next notice may go out.
    fn notice_ms(&self) -> u64 {
        let Some(last) = self.noticed_ms else { return 0 };
        // In a large room with the number of those online, not just before it changes.
        self.presence.shows_ms().map_or(last + NOTICE_EVERY_MS, |shows| shows.max(last + SHOWN_FOR_MS))
    }

    fn notice(&mut self, now_ms: u64, outlet: &mut Outlet<'_>) {
        if self.joined.count + self.left.count == 0 || now_ms < self.notice_ms() {
            return;
        }
        self.noticed_ms = Some(now_ms);
        self.presence.show(now_ms);
        let (joined, left) = (std::mem::take(&mut self.joined), std::mem::take(&mut self.left));
        let notice = body::LiveNotice {
            joined: joined.names,
            joined_count: joined.count,
            left: left.names,
            left_count: left.count,
        };
        self.publish(
            Class::System,
            body::LiveFrame { notice: Some(notice), ..body::LiveFrame::default() },
            outlet,
        );
    }

    fn counts(&self) -> body::LiveCounts {
        body::LiveCounts {
            taken: self.taken.to_vec(),
            folded: self.folded.to_vec(),
            online: self.presence.shown(),
            since_ms: self.since_ms,
        }
    }

    /// Counts a frame and sends it to all links with members.
    fn publish(&mut self, class: Class, frame: body::LiveFrame, outlet: &mut Outlet<'_>) {
        self.taken[class.index()] += 1;
        self.tally_ms = None;
        let frame = body::LiveFrame { room: self.room.id().to_owned(), counts: Some(self.counts()), ..frame };
        let body = frame.encode_to_vec().into();
        let copies =
            self.routes.publish(&self.topic, (Lane::Live, Kind::LIVE, class.id()), &body, outlet.out);
        outlet.metrics.frames.increment(1);
        outlet.metrics.copies.increment(copies as u64);
    }
}
