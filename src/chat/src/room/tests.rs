//! Rooms with links and a clock, without threads.

use nearport_trunk::local::DownQueue;
use nearport_trunk::{Topic, Waker};
use nearport_wire::Kind;
use nearport_wire::body::Platform;
use prost::Message as _;

use super::*;
use crate::Config;
use crate::key::AppId;
use crate::registry::Session;

/// Rooms, the sessions in them, and what each link got.
struct World {
    rooms: Rooms,
    registry: Registry,
    downs: Downs,
    queues: Vec<DownQueue>,
    settings: Settings,
    now_ms: u64,
}

fn room() -> GroupKey {
    GroupKey::new(AppId(1), "stage").unwrap()
}

fn user(n: u32) -> UserKey {
    UserKey::new(AppId(1), &format!("u{n}")).unwrap()
}

/// A LIVE frame as a link got it: its class and its body.
type Got = (Class, body::LiveFrame);

impl World {
    fn new(settings: Settings) -> Self {
        let links = Links::default();
        let queues: Vec<_> = (0..2).map(|_| DownQueue::new(Waker::noop())).collect();
        for queue in &queues {
            let _ = links.add(queue.clone());
        }
        let downs = Downs::new(links.clone());
        let rooms = Rooms::new(links);
        Self { rooms, registry: Registry::default(), downs, queues, settings, now_ms: 100_000 }
    }

    /// The session of user `n` on a link joins.
    fn join(&mut self, n: u32, link: usize) -> body::LiveJoined {
        let (session, link) = (SessionId(u64::from(n)), LinkId(link));
        if self.registry.session_on(session, link).is_none() {
            let entry = Session {
                user: user(n),
                device: "d".into(),
                platform: Platform::Other,
                link,
                accepted: true,
                topics: BTreeSet::new(),
                logged_out: false,
                peer: None,
            };
            self.registry.add(session, entry, &Config::default()).unwrap();
        }
        let member = Member { user: user(n), session, link };
        let room = (&room(), self.settings);
        self.rooms.join(&mut self.registry, room, &member, self.now_ms, &mut self.downs).unwrap().0
    }

    fn say(&mut self, n: u32, class: Class, id: u64) -> Said {
        let mut client_msg_id = [0; 16];
        client_msg_id[..8].copy_from_slice(&id.to_be_bytes());
        let delivery = body::Delivery { time_ms: id, ..body::Delivery::default() };
        let saying = Saying { from: &user(n), class, exempt: false, client_msg_id, delivery };
        self.rooms.say(&room(), saying, self.now_ms, &mut self.downs)
    }

    fn turn(&mut self) {
        let departed = self.registry.take_departed();
        self.rooms.turn(departed, self.now_ms, &mut self.downs);
    }

    fn pass(&mut self, ms: u64) {
        let until = self.now_ms + ms;
        while self.now_ms < until {
            self.now_ms = (self.now_ms + 250).min(until);
            self.turn();
        }
    }

    fn take(&mut self, link: usize) -> Vec<Down> {
        let mut downs = Vec::new();
        while self.queues[link].recv(&mut downs, 1000).more {}
        downs
    }

    fn frames(&mut self, link: usize) -> Vec<Got> {
        let of = |down| match down {
            Down::Publish { topic, kind: Kind::LIVE, id, body, except: None, .. } => {
                assert_eq!(topic, room().topic());
                Some((Class::of(id), body::LiveFrame::decode(body).unwrap()))
            }
            _ => None,
        };
        self.take(link).into_iter().filter_map(of).collect()
    }
}

const NO_RATE: Settings = Settings { rate_per_s: 0, last_n: 0 };

fn counts(frame: &body::LiveFrame) -> &body::LiveCounts {
    frame.counts.as_ref().unwrap()
}

#[test]
fn a_join_stands_before_what_follows_and_its_counts_before_what_is_counted() {
    let mut world = World::new(NO_RATE);
    let joined = world.join(1, 0);
    assert_eq!(joined.counts.as_ref().unwrap().taken, [0; 4]);
    assert_eq!(joined.latest, ["u1"]);
    world.say(1, Class::Gift, 7);
    let downs = world.take(0);
    let topic = |down: &Down| match down {
        Down::Join { topic, .. } | Down::Publish { topic, .. } => topic.clone(),
        other => panic!("{other:?}"),
    };
    assert!(downs.iter().map(topic).all(|topic: Topic| topic == room().topic()));
    assert!(matches!(
        downs[..],
        [Down::Join { .. }, Down::Publish { id: 0, .. }, Down::Publish { id: 1, .. }]
    ));
    let joined = world.join(2, 1);
    assert_eq!(joined.counts.unwrap().taken, [1, 1, 0, 0], "a notice and a gift");
    assert_eq!(joined.latest, ["u2", "u1"]);
    world.say(2, Class::Chat, 8);
    for link in 0..2 {
        let frames = world.frames(link);
        assert_eq!(frames.len(), 1, "one copy for each link, and no second notice in a second");
        assert_eq!((frames[0].0, &counts(&frames[0].1).taken[..]), (Class::Chat, &[1, 1, 1, 0][..]));
    }
}

#[test]
fn every_frame_and_every_fold_is_in_the_counts_and_silence_brings_a_tally() {
    let mut world = World::new(Settings { rate_per_s: 10, last_n: 0 });
    (1..=3).for_each(|n| drop(world.join(n, 0)));
    let first = world.join(1, 0).counts.unwrap();
    let (mut frames, mut said) = (Vec::new(), [0; Class::COUNT]);
    for id in 0..300u64 {
        let class = Class::of(id % 4);
        said[class.index()] += 1;
        world.say(1 + (id % 3) as u32, class, id);
        if id % 10 == 9 {
            world.pass(100);
        }
    }
    world.pass(1_000);
    frames.extend(world.frames(0));
    let mut got = [0; Class::COUNT];
    // What came before the counts of the join is not after it.
    let after =
        frames.iter().filter(|(_, frame)| counts(frame).taken.iter().sum::<u64>() > first.taken.iter().sum());
    after.for_each(|(class, _)| got[class.index()] += 1);
    let (_, last) = frames.last().unwrap();
    let own = frames.iter().filter(|(_, frame)| frame.delivery.is_none()).count() as u64 - 1;
    assert!(last.delivery.is_none() && last.notice.is_none(), "a tally");
    let last = counts(last);
    for class in Class::ALL {
        let at = class.index();
        let taken = last.taken[at] - first.taken[at];
        let folded = last.folded[at] - first.folded[at];
        assert_eq!(got[at], taken - folded, "{class:?}: what went out came");
        assert_eq!(taken, said[at] + if class == Class::System { own } else { 0 }, "{class:?}");
    }
    assert!(last.folded.iter().all(|folded| *folded > 0), "{:?}", last.folded);
    assert!(world.frames(0).is_empty());
    world.pass(5_000);
    assert!(world.frames(0).is_empty(), "nothing has changed since");
}

#[test]
fn what_is_said_twice_goes_out_once_and_the_sender_is_told_so() {
    let mut world = World::new(NO_RATE);
    world.join(1, 0);
    assert_eq!([world.say(1, Class::Chat, 5), world.say(1, Class::Chat, 5)], [Said::Out, Said::Again]);
    assert_eq!(world.say(2, Class::Chat, 5), Said::Out, "another sender's id");
    for id in 6..600 {
        world.say(1, Class::Chat, id);
    }
    assert_eq!(world.say(1, Class::Chat, 5), Said::Out, "long ago");
}

#[test]
fn who_is_cut_off_has_twenty_seconds_and_who_leaves_is_out_with_all_devices() {
    let mut world = World::new(NO_RATE);
    (1..=3).for_each(|n| drop(world.join(n, 0)));
    world.pass(2_000);
    world.frames(0);
    world.registry.remove(SessionId(1));
    world.pass(19_000);
    assert!(world.rooms.is_in(&room(), &user(1)));
    assert_eq!(world.rooms.online(&room()), 3);
    world.pass(2_000);
    assert!(!world.rooms.is_in(&room(), &user(1)));
    let frames = world.frames(0);
    assert_eq!(frames.len(), 1);
    let notice = frames[0].1.notice.clone().unwrap();
    assert_eq!(
        (&notice.left[..], notice.left_count, counts(&frames[0].1).online),
        (&["u1".to_owned()][..], 1, 2)
    );
    assert!(world.rooms.leave(&room(), &user(2), world.now_ms, &mut world.downs));
    assert!(!world.rooms.leave(&room(), &user(2), world.now_ms, &mut world.downs));
    assert!(matches!(world.take(0)[0], Down::Leave { session: SessionId(2), .. }));
    // The last one goes: nothing is kept.
    world.registry.remove(SessionId(3));
    world.pass(21_000);
    let state = world.rooms.lock();
    assert!(state.halls.is_empty() && state.sessions.is_empty() && state.due.is_empty(), "{state:?}");
}

#[test]
fn a_link_without_members_gets_nothing() {
    let mut world = World::new(NO_RATE);
    (1..=2).for_each(|n| drop(world.join(n, n as usize - 1)));
    world.registry.remove(SessionId(2));
    world.turn();
    (0..2).for_each(|link| drop(world.take(link)));
    world.say(1, Class::Chat, 1);
    assert_eq!((world.frames(0).len(), world.frames(1).len()), (1, 0));
}

#[test]
fn a_flood_of_joins_makes_few_notices_and_all_are_counted_in_them() {
    let mut world = World::new(NO_RATE);
    for n in 1..=2_000 {
        world.join(n, (n % 2) as usize);
        if n % 100 == 0 {
            world.pass(100);
        }
    }
    world.pass(20_000);
    let frames = world.frames(1);
    let notices: Vec<_> = frames.iter().filter_map(|(_, frame)| frame.notice.clone()).collect();
    assert!(notices.len() <= 5, "{}", notices.len());
    assert!(notices.iter().all(|notice| notice.joined.len() <= 10));
    assert_eq!(notices.iter().map(|notice| notice.joined_count).sum::<u32>(), 2_000);
    assert_eq!(counts(&frames.last().unwrap().1).online, 2_000);
    assert_eq!(world.rooms.latest(&room())[0], user(2_000));
}

#[test]
fn newcomers_get_the_last_messages_where_that_is_wanted_and_no_likes() {
    let mut world = World::new(Settings { rate_per_s: 0, last_n: 2 });
    world.join(1, 0);
    for (id, class) in [(1, Class::Chat), (2, Class::Gift), (3, Class::Like), (4, Class::Chat)] {
        world.say(1, class, id);
    }
    let last: Vec<_> = world.join(2, 1).last.iter().map(|delivery| delivery.time_ms).collect();
    assert_eq!(last, [2, 4]);
}

#[test]
fn a_session_that_has_ended_joins_nothing_and_one_is_in_a_bounded_number_of_rooms() {
    let mut world = World::new(NO_RATE);
    world.join(1, 0);
    let member = Member { user: user(9), session: SessionId(9), link: LinkId(0) };
    let World { rooms, registry, downs, now_ms, .. } = &mut world;
    assert_eq!(
        rooms.join(registry, (&room(), NO_RATE), &member, *now_ms, downs).unwrap_err(),
        JoinRefused::Gone
    );
    let other = Member { user: user(1), session: SessionId(1), link: LinkId(0) };
    for n in 1..=ROOMS_PER_SESSION_MAX {
        let room = GroupKey::new(AppId(1), &format!("room{n}")).unwrap();
        let joined = rooms.join(registry, (&room, NO_RATE), &other, *now_ms, downs);
        assert_eq!(joined.err(), (n == ROOMS_PER_SESSION_MAX).then_some(JoinRefused::TooMany));
    }
    rooms.dismiss(&room(), downs);
    assert!(!rooms.is_in(&room(), &user(1)));
    assert!(matches!(world.take(0).last(), Some(Down::Leave { session: SessionId(1), .. })));
}
