//! Another backend takes over in the middle of everything.

use super::*;
use crate::shard::switch::{BACKEND_AWAY_MAX, PATIENCE};
use nearport_trunk::remote::RETRY_AFTER;

fn identity() -> Identity {
    let (user, device) = ("alice".to_owned(), "phone".to_owned());
    Identity { app: 1, user, device, issued_s: 2, expires_s: 3 }
}

impl World {
    /// A backend that says who its sessions are.
    fn known(session: ServerLimits) -> Self {
        let world = Self::new(session);
        world.script.state().identity = Some(identity());
        world
    }

    /// Another backend, which the shard is switched to.
    fn switch(&mut self) -> Script {
        let next = Script::default();
        self.shard.switch_link(Box::new(next.clone()), self.now);
        self.run();
        std::mem::replace(&mut self.script, next)
    }

    /// The backend answers every adoption it has heard of.
    fn adopt(&mut self) -> Vec<SessionId> {
        let mut adopted = Vec::new();
        {
            let mut state = self.script.state();
            for up in std::mem::take(&mut state.ups) {
                let Up::Adopt { session, identity: told, .. } = up else {
                    panic!("only adoptions so far: {up:?}")
                };
                assert_eq!(*told, identity());
                state.downs.push(Down::Adopted { session, topics: vec![Topic::from(&b"all"[..])] });
                adopted.push(session);
            }
        }
        self.run();
        adopted
    }
}

fn reply(session: SessionId, id: u64) -> Down {
    Down::Reply { session, lane: Lane::Chat, kind: Kind::REPLY, id, body: Bytes::new() }
}

#[test]
fn a_new_backend_learns_of_all_sessions_first_and_then_of_what_waited() {
    let mut world = World::known(ServerLimits::default());
    (1..=2).for_each(|port| world.login(port));
    let sessions = world.script.sessions();
    world.send(1, request(1));
    world.script.state().ups.clear();

    world.shard.park(world.now);
    assert!(world.script.state().finished, "the backend may end");
    world.send(1, request(2));
    world.send(2, request(3));
    assert!(world.script.state().ups.is_empty(), "nothing goes to a backend that ends");
    // It answers what it has, and that goes out.
    world.script.state().downs.push(reply(sessions[0], 1));
    world.run();
    assert_eq!(world.take(1), [Kind::REPLY]);

    // Its last words, seen only at the switch.
    world.script.state().downs.push(publish(7, None));
    world.switch();
    assert_eq!((world.take(1), world.take(2)), (vec![Kind::PUSH], vec![Kind::PUSH]));
    assert!(!world.shard.is_attached());
    assert_eq!(world.adopt(), sessions);
    assert!(world.shard.is_attached());
    let ids: Vec<_> = world
        .script
        .state()
        .ups
        .iter()
        .map(|up| match up {
            Up::Frame { id, .. } => *id,
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(ids, [2, 3], "once each, in order");
    assert_eq!((world.take(1), world.take(2)), (vec![Kind::BEHIND], vec![Kind::BEHIND]));
    world.script.state().downs.push(publish(8, None));
    world.run();
    assert_eq!((world.take(1), world.take(2)), (vec![Kind::PUSH], vec![Kind::PUSH]));
    assert_eq!((world.shard.stats().adoptions, world.shard.stats().topics), (2, 1));
}

#[test]
fn what_the_former_backend_publishes_to_goes_with_it() {
    let mut world = World::known(ServerLimits::default());
    world.login(1);
    let old = world.switch();
    // A topic that only the former one knew.
    old.state().downs.push(publish(1, None));
    world.script.state().downs.push(publish(2, None));
    world.run();
    assert_eq!(world.take(1), [], "not adopted yet, and joined to nothing");
    world.adopt();
    assert_eq!(world.take(1), [Kind::BEHIND]);
}

#[test]
fn a_backend_that_takes_few_adoptions_at_a_time_gets_them_all() {
    let mut world = World::known(ServerLimits::default());
    world.login(1);
    let next = Script::default();
    next.state().full = true;
    world.shard.switch_link(Box::new(next.clone()), world.now);
    world.script = next;
    world.run();
    world.send(1, request(1));
    assert!(world.script.state().ups.is_empty());
    world.script.state().full = false;
    world.pass(UPS_RETRY);
    assert_eq!(world.adopt().len(), 1);
    assert!(matches!(world.script.state().ups[..], [Up::Frame { id: 1, .. }]));
}

#[test]
fn a_session_that_the_new_backend_refuses_is_closed_and_holds_nobody_up() {
    let mut world = World::known(ServerLimits::default());
    (1..=2).for_each(|port| world.login(port));
    let sessions = world.script.sessions();
    world.switch();
    {
        let mut state = world.script.state();
        let kick = Down::Kick { session: sessions[0], code: CloseCode::KICKED, reason: "newer".into() };
        state.downs.extend([kick, Down::Adopted { session: sessions[1], topics: Vec::new() }]);
        state.ups.clear();
    }
    world.run();
    assert_eq!(world.close_code(1), Some(CloseCode::KICKED));
    assert!(world.shard.is_attached());
    assert_eq!(world.script.closed(), [sessions[0]]);
}

#[test]
fn a_login_and_a_close_in_the_gap_reach_the_new_backend_in_order() {
    let mut world = World::known(ServerLimits::default());
    world.login(1);
    let first = world.script.sessions();
    world.shard.park(world.now);
    // The welcome cannot come yet: `login` without its last line.
    world.hello(2, Bytes::new());
    world.send(1, Frame::new(Lane::Control, Kind::CLOSE, 0, Bytes::new()));
    world.switch();
    assert!(world.shard.is_attached(), "who has left is not announced");
    assert_eq!(world.take(2), [Kind::WELCOME]);
    assert_eq!(world.script.closed(), first);
}

#[test]
fn what_has_no_room_in_the_gap_is_answered_busy() {
    let mut world =
        World::known(ServerLimits { requests_max: 100_000, requests_per_s: 0, ..ServerLimits::default() });
    world.login(1);
    world.shard.park(world.now);
    let mut answered = 0;
    for id in 1.. {
        // Half the largest body: the bound in bytes comes first.
        world.send(1, Frame::new(Lane::Chat, Kind::ECHO, id, vec![0; 8_000].into()));
        let kinds = world.take(1);
        if !kinds.is_empty() {
            assert_eq!(kinds, [Kind::ERROR]);
            answered = id;
            break;
        }
    }
    assert!((1_000..1_100).contains(&answered), "{answered}");
    world.switch();
    world.adopt();
    assert_eq!(world.script.state().ups.len() as u64, answered - 1);
}

#[test]
fn a_link_that_ends_parks_the_shard_and_patience_has_an_end() {
    let mut world =
        World::known(ServerLimits { frame_timeout: 2 * BACKEND_AWAY_MAX, ..ServerLimits::default() });
    world.login(1);
    let sessions = world.script.sessions();
    world.script.state().ended = true;
    world.run();
    assert!(!world.shard.is_attached());
    world.pass(BACKEND_AWAY_MAX - Duration::from_secs(1));
    assert_eq!(world.close_code(1), None);
    world.pass(Duration::from_secs(2));
    assert_eq!(world.close_code(1), Some(CloseCode::UNAVAILABLE));
    world.switch();
    assert!(world.shard.is_attached());
    assert_eq!(world.script.closed(), sessions);
}

#[test]
fn while_the_core_is_away_clients_are_kept_and_answered() {
    let mut world = World::known(ServerLimits::default());
    world.login(1);
    let sessions = world.script.sessions();
    world.script.state().ended = true;
    world.send(1, request(1));
    world.pass(PATIENCE - Duration::from_secs(1));
    world.send(1, request(2));
    assert_eq!(world.take(1), [], "they wait for the next link");
    world.pass(Duration::from_secs(2));
    assert_eq!(world.take(1), [Kind::ERROR, Kind::ERROR, Kind::AWAY], "patience has an end");
    world.send(1, request(3));
    assert_eq!(world.take(1), [Kind::ERROR], "and then there is none, which is said once");
    world.hello(2, Bytes::new());
    world.run();
    assert_eq!(world.close_code(2), Some(CloseCode::UNAVAILABLE));

    world.switch();
    assert_eq!(world.adopt(), sessions, "who could not log in is not announced");
    let frames = std::mem::take(&mut world.peers.get_mut(&1).unwrap().frames);
    let told: Vec<_> = frames.iter().map(|frame| (frame.kind, frame.id)).collect();
    assert_eq!(told, [(Kind::AWAY, 0), (Kind::BEHIND, 0)]);
    world.send(1, request(3));
    let state = world.script.state();
    assert!(
        matches!(state.ups[..], [Up::Frame { id: 3, .. }]),
        "what was answered is not sent: {:?}",
        state.ups
    );
}

/// The link ends with the refusal of a request as its last word.
fn break_link(world: &mut World, session: SessionId, id: u64) {
    let mut state = world.script.state();
    let (lane, kind, body) = (Lane::Chat, Kind::ERROR, Bytes::new());
    state.downs.push(Down::Reply { session, lane, kind, id, body });
    state.ended = true;
}

#[test]
fn who_is_refused_by_a_second_link_is_held_back_as_long_as_who_was_by_the_first() {
    let mut world = World::known(ServerLimits::default());
    (1..=2).for_each(|port| world.login(port));
    let sessions = world.script.sessions();
    for (port, session) in (1..).zip(sessions) {
        world.send(port, request(1));
        break_link(&mut world, session, 1);
        world.run();
        world.switch();
        world.adopt();
        world.pass(RETRY_AFTER * 2 / 3);
        world.take(port);
    }
    world.send(2, request(2));
    assert_eq!(world.take(2), [Kind::ERROR]);
    world.pass(RETRY_AFTER);
    world.send(2, request(3));
    assert_eq!(world.take(2), []);
}

#[test]
fn what_stands_behind_a_request_that_a_broken_link_refused_does_not_overtake_it() {
    let mut world = World::known(ServerLimits::default());
    (1..=2).for_each(|port| world.login(port));
    let sessions = world.script.sessions();
    world.send(1, request(1));
    break_link(&mut world, sessions[0], 1);
    // Sent before the client has heard.
    world.send(1, request(2));
    world.send(2, request(1));
    world.switch();
    world.adopt();
    world.send(1, request(3));
    assert_eq!(world.take(1).iter().filter(|kind| **kind == Kind::ERROR).count(), 3);
    let sent = |world: &World| {
        let state = world.script.state();
        state.ups.iter().filter(|up| matches!(up, Up::Frame { .. })).map(Up::session).collect::<Vec<_>>()
    };
    assert_eq!(sent(&world), [sessions[1]], "who was refused nothing only waits");
    world.pass(RETRY_AFTER);
    world.send(1, request(4));
    assert_eq!(sent(&world), [sessions[1], sessions[0]]);
}

#[test]
fn a_backend_that_never_answers_an_adoption_costs_that_session_only() {
    let mut world = World::known(ServerLimits::default());
    (1..=2).for_each(|port| world.login(port));
    let sessions = world.script.sessions();
    world.switch();
    world.script.state().ups.clear();
    world.script.state().downs.push(Down::Adopted { session: sessions[1], topics: Vec::new() });
    world.send(2, request(1));
    world.pass(Duration::from_secs(11));
    assert_eq!((world.close_code(1), world.close_code(2)), (Some(CloseCode::GOING_AWAY), None));
    assert!(world.script.state().ups.iter().any(|up| matches!(up, Up::Frame { id: 1, .. })));
}

#[test]
fn the_next_backend_may_fail_as_well() {
    let mut world = World::known(ServerLimits::default());
    world.login(1);
    world.switch();
    world.send(1, request(4));
    // It dies before it has answered anything; a third one comes.
    world.script.state().ended = true;
    world.run();
    world.switch();
    assert_eq!(world.adopt().len(), 1);
    assert!(matches!(world.script.state().ups[..], [Up::Frame { id: 4, .. }]));
}

#[test]
fn a_session_without_an_identity_is_closed_resumably() {
    let mut world = World::new(ServerLimits::default());
    world.login(1);
    world.switch();
    assert_eq!(world.close_code(1), Some(CloseCode::GOING_AWAY));
    assert!(world.shard.is_attached());
}
