//! Who is online, on which link.

mod guests;
mod interest;
mod lingering;
mod online;
mod policy;
mod touched;

use std::collections::{BTreeSet, HashMap, HashSet};
use std::net::IpAddr;
use std::sync::Arc;

use nearport_trunk::local::LinkId;
use nearport_trunk::{SessionId, Topic};
use nearport_wire::body::Platform;

use crate::Config;
use crate::callback::Origin;
use crate::key::{AppId, UserKey};
use guests::Guests;
use interest::Interest;
use lingering::Lingering;
use online::OnlineUsers;
use policy::leaving;
use touched::TOUCHED_MAX;
pub(crate) use touched::Touched;

/// A live session: accepted, or about to be.
#[derive(Debug, Clone)]
pub(crate) struct Session {
    pub(crate) user: UserKey,
    pub(crate) device: Arc<str>,
    /// As the client says.
    pub(crate) platform: Platform,
    /// Where its client was at the login; unknown for one that was adopted.
    pub(crate) peer: Option<IpAddr>,
    pub(crate) link: LinkId,
    /// Whether `Accept` was sent. A session ended before that is answered with `Reject`, later with `Kick`.
    pub(crate) accepted: bool,
    /// Topics that it has joined beside its user's: its groups, which may be a thousand.
    pub(crate) topics: BTreeSet<Topic>,
    /// It has said that its device is logged out: nothing is left of it when it ends.
    pub(crate) logged_out: bool,
}

impl Session {
    /// Where its client is, for back ends.
    pub(crate) fn origin(&self) -> Origin {
        Origin::client(self.peer, self.platform)
    }
}

/// A session that was taken out to make room; somebody has to tell its client.
#[derive(Debug)]
pub(crate) struct Removed {
    pub(crate) id: SessionId,
    pub(crate) link: LinkId,
    pub(crate) accepted: bool,
}

/// The session's App has as many sessions as it may.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct AppFull;

#[derive(Debug)]
struct User {
    topic: Topic,
    /// Newest position of the user log that a session may have seen. Acks beyond it are wrong.
    head: u64,
    /// In the order of login, so that nothing depends on a hasher. Short: `Config::user_sessions_max`.
    live: Vec<Live>,
}

#[derive(Debug)]
struct Live {
    id: SessionId,
    link: LinkId,
    device: Arc<str>,
    platform: Platform,
    /// It logged in at another backend: it is older than all that logged in here.
    adopted: bool,
}

/// Live sessions, and per user the links that have interest in the user's topic; and who is online without one.
///
/// Maps are only asked for one key, never walked, but by those who count.
#[derive(Debug, Default)]
pub(crate) struct Registry {
    sessions: HashMap<SessionId, Session>,
    users: HashMap<UserKey, User>,
    /// Sessions of each App that has some.
    apps: HashMap<AppId, usize>,
    /// Users of each App that has or had some, guests aside.
    online: OnlineUsers,
    interest: Interest,
    lingering: Lingering,
    guests: Guests,
    /// In the order in which it happened.
    touched: Vec<Touched>,
    /// Sessions that have been in live rooms, and those of them that have ended since [`Self::take_departed`].
    in_rooms: HashSet<SessionId>,
    departed: Vec<SessionId>,
}

impl Registry {
    /// Adds a session that is not accepted yet. From here on, publishes to its user reach its link.
    ///
    /// Takes out the session of the same device, those beside which [`Config::multi_device`] does not allow this one and, if the
    /// user then has more than `user_sessions_max`, the oldest.
    ///
    /// # Errors
    /// [`AppFull`] if nothing is taken out and the App has `app_sessions_max`. One that takes another's place finds
    /// room in a full App, so that whoever is in can always come back.
    pub(crate) fn add(
        &mut self,
        id: SessionId,
        session: Session,
        config: &Config,
    ) -> Result<Vec<Removed>, AppFull> {
        let Session { user, device, platform, link, .. } = &session;
        let known = self.users.get(user).map_or(&[][..], |user| &user.live);
        let leaves = leaving(known, device, *platform, config);
        let app = self.apps.get(&user.app()).copied().unwrap_or_default();
        if leaves.is_empty() && config.app_sessions_max > 0 && app >= config.app_sessions_max {
            return Err(AppFull);
        }
        let live = Live { id, link: *link, device: device.clone(), platform: *platform, adopted: false };
        let user = user.clone();
        let removed = leaves.into_iter().filter_map(|id| self.end(id)).collect();
        self.user(user).live.push(live);
        self.insert(id, session);
        Ok(removed)
    }

    /// As [`Self::add`], for somebody without an account.
    ///
    /// # Errors
    /// [`AppFull`] also if there are as many guests as there may be, in all or from this network.
    pub(crate) fn add_guest(
        &mut self,
        id: SessionId,
        session: Session,
        network: IpAddr,
        config: &Config,
    ) -> Result<(), AppFull> {
        if !self.guests.has_room(network, config) {
            return Err(AppFull);
        }
        let removed = self.add(id, session, config)?;
        debug_assert!(removed.is_empty(), "each guest has a name of its own");
        self.guests.enter(id, network);
        Ok(())
    }

    /// Guests now.
    pub(crate) fn guests(&self) -> usize {
        self.guests.len()
    }

    fn insert(&mut self, id: SessionId, session: Session) {
        *self.apps.entry(session.user.app()).or_default() += 1;
        self.sessions.insert(id, session);
    }

    /// Adds a session that another backend had accepted. `false`: there is no place for it, because the device has a
    /// newer session or the user has `user_sessions_max`. A full App is no reason to end what is live. One that is known
    /// already, from a link that broke and whose end was not heard of, moves to this one.
    pub(crate) fn adopt(&mut self, id: SessionId, session: Session, user_sessions_max: usize) -> bool {
        if self.sessions.get(&id).is_some_and(|known| known.user == session.user) {
            self.remove(id);
        }
        let known = self.users.get(&session.user).map_or(&[][..], |known| &known.live);
        if known.len() >= user_sessions_max || known.iter().any(|live| live.device == session.device) {
            return false;
        }
        // In front of those that logged in here, behind those that were adopted before.
        let at = known.iter().take_while(|live| live.adopted).count();
        let (device, platform) = (session.device.clone(), session.platform);
        let live = Live { id, link: session.link, device, platform, adopted: true };
        self.user(session.user.clone()).live.insert(at, live);
        self.insert(id, session);
        true
    }

    fn user(&mut self, user: UserKey) -> &mut User {
        // Most users have one session: the four entries that a growing Vec starts with would be waste.
        let one = || Vec::with_capacity(1);
        if !self.users.contains_key(&user) {
            self.online.come(&user);
        }
        self.users.entry(user).or_insert_with_key(|user| User {
            topic: user.as_bytes().into(),
            head: 0,
            live: one(),
        })
    }

    /// Marks a session accepted, its client told that the log ends at `head`. `false`: it was taken out meanwhile.
    pub(crate) fn accept(&mut self, id: SessionId, head: u64) -> bool {
        let Some(session) = self.sessions.get_mut(&id) else { return false };
        session.accepted = true;
        if let Some(user) = self.users.get_mut(&session.user) {
            user.head = user.head.max(head);
        }
        let (user, platform, origin) = (session.user.clone(), session.platform, session.origin());
        self.lingering.forget(&user, platform);
        self.touch(Touched { user, platform, lost: false, came: true, kicked: false, silent: false, origin });
        true
    }

    fn touch(&mut self, touched: Touched) {
        if self.touched.len() < TOUCHED_MAX {
            self.touched.push(touched);
        }
    }

    /// Who came or went since the last call, those included whose time to come back is over.
    pub(crate) fn touched(&mut self, now_ms: u64) -> Vec<Touched> {
        for (user, platform) in self.lingering.expired(now_ms) {
            let (came, kicked, silent, origin) = (false, false, true, Origin::client(None, platform));
            self.touch(Touched { user, platform, lost: true, came, kicked, silent, origin });
        }
        std::mem::take(&mut self.touched)
    }

    /// Platforms on which the user is online, each once: those of accepted sessions, and those of sessions that went without a word
    /// not long ago.
    pub(crate) fn platforms(&self, user: &UserKey) -> Vec<Platform> {
        let mut platforms = Vec::new();
        for live in self.users.get(user).into_iter().flat_map(|user| &user.live) {
            let accepted = self.sessions.get(&live.id).is_some_and(|session| session.accepted);
            if accepted && !platforms.contains(&live.platform) {
                platforms.push(live.platform);
            }
        }
        for platform in self.lingering.platforms(user) {
            if !platforms.contains(&platform) {
                platforms.push(platform);
            }
        }
        platforms
    }

    /// The device of a session has logged out; the session itself ends when its client closes it.
    pub(crate) fn log_out(&mut self, id: SessionId) {
        if let Some(session) = self.sessions.get_mut(&id) {
            session.logged_out = true;
        }
    }

    /// As [`Self::remove`], because somebody wants it to end: its device counts as logged out.
    fn end(&mut self, id: SessionId) -> Option<Removed> {
        self.log_out(id);
        self.take(id, true)
    }

    /// Takes a session out whose client has not said that it goes; its user counts as online until then. Nothing happens if it is not
    /// there.
    pub(crate) fn lose(&mut self, id: SessionId, until_ms: u64) {
        let Some(session) = self.sessions.get(&id) else { return };
        // A guest who comes back is another one.
        let stays = session.accepted && !session.logged_out && !session.user.is_guest();
        if stays && self.lingering.keep(&session.user, session.platform, until_ms) {
            self.take_out(id);
        } else {
            self.remove(id);
        }
    }

    /// Takes a session out; publishes no longer count it. Nothing happens if it is not there.
    pub(crate) fn remove(&mut self, id: SessionId) -> Option<Removed> {
        self.take(id, false)
    }

    fn take(&mut self, id: SessionId, kicked: bool) -> Option<Removed> {
        let session = self.sessions.get(&id)?;
        if session.accepted {
            let lost = !session.logged_out;
            let (user, platform, origin) = (session.user.clone(), session.platform, session.origin());
            self.touch(Touched { user, platform, lost, came: false, kicked, silent: false, origin });
        }
        self.take_out(id)
    }

    fn take_out(&mut self, id: SessionId) -> Option<Removed> {
        let session = self.sessions.remove(&id)?;
        self.guests.leave(id);
        if self.in_rooms.remove(&id) {
            self.departed.push(id);
        }
        for topic in &session.topics {
            self.interest.lose(topic, session.link);
        }
        if let Some(user) = self.users.get_mut(&session.user) {
            user.live.retain(|live| live.id != id);
            if user.live.is_empty() {
                self.users.remove(&session.user);
                self.online.go(&session.user);
            }
        }
        if let Some(count) = self.apps.get_mut(&session.user.app()) {
            *count -= 1;
            if *count == 0 {
                self.apps.remove(&session.user.app());
            }
        }
        Some(Removed { id, link: session.link, accepted: session.accepted })
    }

    /// Takes out all sessions of a user, oldest first.
    pub(crate) fn remove_user(&mut self, user: &UserKey) -> Vec<Removed> {
        let ids: Vec<_> =
            self.users.get(user).into_iter().flat_map(|user| &user.live).map(|live| live.id).collect();
        let removed = ids.into_iter().filter_map(|id| self.end(id)).collect();
        for platform in self.lingering.platforms(user).collect::<Vec<_>>() {
            self.lingering.forget(user, platform);
            let (came, kicked, silent, origin) = (false, true, false, Origin::client(None, platform));
            self.touch(Touched { user: user.clone(), platform, lost: false, came, kicked, silent, origin });
        }
        removed
    }

    /// Notes that a session joins a topic that is not its user's, and gives the link that is to be told by `Down::Join`.
    /// `None`: the session has ended, or has joined already.
    pub(crate) fn join_topic(&mut self, id: SessionId, topic: &Topic) -> Option<LinkId> {
        let session = self.sessions.get_mut(&id)?;
        if !session.topics.insert(topic.clone()) {
            return None;
        }
        self.interest.gain(topic, session.link);
        Some(session.link)
    }

    /// Notes that a session leaves a topic, and gives the link that is to be told by `Down::Leave`. `None`: it had not joined.
    pub(crate) fn leave_topic(&mut self, id: SessionId, topic: &Topic) -> Option<LinkId> {
        let session = self.sessions.get_mut(&id)?;
        if !session.topics.remove(topic) {
            return None;
        }
        let link = session.link;
        self.interest.lose(topic, link);
        Some(link)
    }

    /// The topics that a session has joined beside its user's, in the order of their bytes.
    pub(crate) fn topics_of(&self, id: SessionId) -> impl Iterator<Item = &Topic> {
        self.sessions.get(&id).into_iter().flat_map(|session| &session.topics)
    }

    /// Puts into `links` every link with a session that joined `topic`, each once. A sender's own link too: it may have
    /// others, and the edge leaves out whom the publish excepts.
    pub(crate) fn reach_topic(&self, topic: &Topic, links: &mut Vec<LinkId>) {
        links.clear();
        links.extend(self.interest.links(topic));
    }

    /// The sessions of a user, oldest login first.
    pub(crate) fn sessions_of(&self, user: &UserKey) -> impl Iterator<Item = (SessionId, LinkId)> {
        self.users.get(user).into_iter().flat_map(|user| &user.live).map(|live| (live.id, live.link))
    }

    /// Notes that a session is in live rooms, so that [`Self::take_departed`] tells of its end. `false`: there is no such session on
    /// this link.
    pub(crate) fn enter_rooms(&mut self, id: SessionId, link: LinkId) -> bool {
        let known = self.session_on(id, link).is_some();
        if known {
            self.in_rooms.insert(id);
        }
        known
    }

    /// Sessions in live rooms that have ended since the last call, in the order in which they did.
    pub(crate) fn take_departed(&mut self) -> Vec<SessionId> {
        std::mem::take(&mut self.departed)
    }

    /// A live session, asked for over its link. What still comes over a link that broke, after its session has moved to another,
    /// is nobody's: its edge was told that it has no answer, and its client says it again in order.
    pub(crate) fn session_on(&self, id: SessionId, link: LinkId) -> Option<&Session> {
        self.sessions.get(&id).filter(|session| session.link == link)
    }

    /// Sessions now.
    pub(crate) fn len(&self) -> usize {
        self.sessions.len()
    }

    /// The topic of a user who is online.
    pub(crate) fn topic(&self, user: &UserKey) -> Option<Topic> {
        self.users.get(user).map(|user| user.topic.clone())
    }

    /// Newest position of the user's log that a session may have seen, 0 if the user is not online.
    pub(crate) fn head(&self, user: &UserKey) -> u64 {
        self.users.get(user).map_or(0, |user| user.head)
    }

    /// The user's log has grown to `position`: remembers it and puts into `links` every link with an interested
    /// session other than `except`, each once. Nothing happens if the user is not online.
    pub(crate) fn reach(
        &mut self,
        user: &UserKey,
        position: u64,
        except: Option<SessionId>,
        links: &mut Vec<LinkId>,
    ) {
        links.clear();
        let Some(user) = self.users.get_mut(user) else { return };
        user.head = user.head.max(position);
        for live in user.live.iter().filter(|live| Some(live.id) != except) {
            if !links.contains(&live.link) {
                links.push(live.link);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key::AppId;

    fn config(user_sessions_max: usize) -> Config {
        Config { user_sessions_max, ..Config::default() }
    }

    pub(super) fn session(name: &str, device: &str, link: usize) -> Session {
        let user = UserKey::new(AppId(1), name).unwrap();
        Session {
            user,
            device: device.into(),
            platform: Platform::Other,
            peer: None,
            link: LinkId(link),
            accepted: false,
            topics: BTreeSet::new(),
            logged_out: false,
        }
    }

    #[test]
    fn who_came_and_went_is_told_once_and_bounded() {
        let mut registry = Registry::default();
        registry.add(SessionId(1), session("alice", "a", 0), &config(9)).unwrap();
        registry.remove(SessionId(1));
        assert_eq!(registry.touched(0), [], "it was never accepted");
        let lost = |registry: &mut Registry| {
            registry.touched(0).iter().map(|touched| touched.lost).collect::<Vec<_>>()
        };
        registry.add(SessionId(2), session("alice", "a", 0), &config(9)).unwrap();
        registry.accept(SessionId(2), 0);
        registry.remove(SessionId(2));
        assert_eq!(lost(&mut registry), [false, true]);
        registry.add(SessionId(3), session("alice", "a", 0), &config(9)).unwrap();
        registry.accept(SessionId(3), 0);
        registry.log_out(SessionId(3));
        registry.remove(SessionId(3));
        assert_eq!(lost(&mut registry), [false, false]);
        for id in 0..TOUCHED_MAX as u64 {
            registry.add(SessionId(id), session("alice", "a", 0), &config(9)).unwrap();
            registry.accept(SessionId(id), 0);
        }
        assert_eq!(registry.touched(0).len(), TOUCHED_MAX);
    }

    #[test]
    fn the_same_device_makes_room_first_and_then_the_oldest() {
        let mut registry = Registry::default();
        let mut add = |id, device| {
            let removed = registry.add(SessionId(id), session("alice", device, 0), &config(2)).unwrap();
            removed.iter().map(|removed| removed.id.0).collect::<Vec<_>>()
        };
        assert_eq!(add(1, "phone"), Vec::<u64>::new());
        assert_eq!(add(2, "laptop"), Vec::<u64>::new());
        assert_eq!(add(3, "laptop"), [2]);
        assert_eq!(add(4, "tablet"), [1]);
        assert_eq!(registry.len(), 2);
    }

    #[test]
    fn an_adopted_session_is_older_than_all_logins_and_gives_way() {
        let mut registry = Registry::default();
        registry.add(SessionId(1), session("alice", "phone", 0), &config(3)).unwrap();
        assert!(!registry.adopt(SessionId(2), session("alice", "phone", 1), 3), "its device has come back");
        assert!(registry.adopt(SessionId(3), session("alice", "tablet", 1), 3));
        assert!(registry.adopt(SessionId(4), session("alice", "laptop", 1), 3));
        assert!(!registry.adopt(SessionId(5), session("alice", "watch", 1), 3), "no place is left");
        let mut oldest = |id, device| {
            registry.add(SessionId(id), session("alice", device, 0), &config(3)).unwrap()[0].id.0
        };
        assert_eq!([oldest(6, "a"), oldest(7, "b"), oldest(8, "c")], [3, 4, 1]);
    }

    #[test]
    fn a_session_that_moved_to_another_link_is_nobodys_on_the_former() {
        let mut registry = Registry::default();
        registry.add(SessionId(1), session("alice", "phone", 0), &config(3)).unwrap();
        registry.accept(SessionId(1), 5);
        assert!(registry.adopt(SessionId(1), session("alice", "phone", 7), 3), "it is its own successor");
        assert!(registry.session_on(SessionId(1), LinkId(0)).is_none());
        assert!(registry.session_on(SessionId(1), LinkId(7)).is_some());
        assert_eq!(registry.len(), 1);
        let mut links = Vec::new();
        registry.reach(&session("alice", "", 0).user, 6, Some(SessionId(9)), &mut links);
        assert_eq!(links, [LinkId(7)]);
    }

    #[test]
    fn a_full_app_takes_who_replaces_somebody_and_who_is_adopted_and_no_other() {
        let config = Config { user_sessions_max: 2, app_sessions_max: 3, ..Config::default() };
        let mut registry = Registry::default();
        let add = |registry: &mut Registry, id, name, device| {
            let removed = registry.add(SessionId(id), session(name, device, 0), &config);
            removed.map(|removed| removed.first().map(|removed| removed.id.0))
        };
        for (id, name, device) in [(1, "alice", "a"), (2, "alice", "b"), (3, "bob", "a")] {
            assert_eq!(add(&mut registry, id, name, device), Ok(None));
        }
        assert_eq!(add(&mut registry, 4, "carol", "a"), Err(AppFull));
        assert_eq!(registry.len(), 3, "nothing is left of it");
        assert_eq!(add(&mut registry, 5, "bob", "a"), Ok(Some(3)), "the same device");
        assert_eq!(add(&mut registry, 6, "alice", "c"), Ok(Some(1)), "the user's oldest");
        let other = Session { user: UserKey::new(AppId(2), "dave").unwrap(), ..session("dave", "a", 0) };
        assert!(registry.add(SessionId(7), other, &config).unwrap().is_empty(), "another App");
        assert!(registry.adopt(SessionId(8), session("erin", "a", 0), 2), "it is live already");
        registry.remove(SessionId(2));
        assert_eq!(add(&mut registry, 9, "carol", "a"), Err(AppFull), "the adopted one counts");
        registry.remove(SessionId(5));
        assert_eq!(add(&mut registry, 9, "carol", "a"), Ok(None));
    }

    #[test]
    fn a_topic_reaches_each_link_once_for_as_long_as_somebody_there_has_joined() {
        let mut registry = Registry::default();
        for (id, name, link) in [(1, "alice", 0), (2, "bob", 1), (3, "carol", 1)] {
            registry.add(SessionId(id), session(name, "a", link), &config(9)).unwrap();
        }
        let topic = Topic::from(&b"group"[..]);
        let reached = |registry: &Registry| {
            let mut links = vec![LinkId(9)];
            registry.reach_topic(&topic, &mut links);
            links
        };
        assert_eq!(reached(&registry), []);
        assert_eq!(registry.join_topic(SessionId(1), &topic), Some(LinkId(0)));
        assert_eq!(registry.join_topic(SessionId(1), &topic), None, "a second time");
        assert_eq!(registry.join_topic(SessionId(9), &topic), None, "nobody");
        registry.join_topic(SessionId(2), &topic);
        registry.join_topic(SessionId(3), &topic);
        assert_eq!(reached(&registry), [LinkId(0), LinkId(1)]);
        assert_eq!(registry.leave_topic(SessionId(1), &topic), Some(LinkId(0)));
        assert_eq!(registry.leave_topic(SessionId(1), &topic), None);
        registry.remove(SessionId(2));
        assert_eq!(reached(&registry), [LinkId(1)], "carol is still there");
        registry.remove(SessionId(3));
        assert_eq!(reached(&registry), []);
        assert!(registry.interest.is_empty(), "nothing is kept");
    }

    #[test]
    fn a_late_close_of_a_replaced_session_leaves_its_successor() {
        let mut registry = Registry::default();
        registry.add(SessionId(1), session("alice", "phone", 0), &config(2)).unwrap();
        registry.add(SessionId(2), session("alice", "phone", 1), &config(2)).unwrap();
        assert!(registry.remove(SessionId(1)).is_none());
        let mut links = Vec::new();
        registry.reach(&session("alice", "", 0).user, 7, Some(SessionId(9)), &mut links);
        assert_eq!(links, [LinkId(1)]);
    }

    #[test]
    fn each_link_is_reached_once_and_not_for_the_sender_alone() {
        let mut registry = Registry::default();
        for (id, device, link) in [(1, "a", 0), (2, "b", 1), (3, "c", 1)] {
            registry.add(SessionId(id), session("alice", device, link), &config(9)).unwrap();
        }
        let alice = session("alice", "", 0).user;
        let mut links = Vec::new();
        registry.reach(&alice, 1, Some(SessionId(1)), &mut links);
        assert_eq!(links, [LinkId(1)]);
        registry.reach(&alice, 2, Some(SessionId(2)), &mut links);
        assert_eq!(links, [LinkId(0), LinkId(1)]);
        assert_eq!(registry.head(&alice), 2);
        assert_eq!(registry.remove_user(&alice).len(), 3);
        assert!(registry.topic(&alice).is_none(), "nothing is kept for a user who is offline");
    }
}
