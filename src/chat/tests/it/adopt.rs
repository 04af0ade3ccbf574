//! A backend takes over sessions that another one had accepted.

use nearport_trunk::local::LinkId;
use nearport_trunk::{Down, Identity, SessionId, Up};
use nearport_wire::Kind;
use nearport_wire::body::{Sent, Sync, SyncPage};
use nearport_wire::close::CloseCode;

use crate::world::{APP, World, answer};

fn adopt_up(world: &World, link: usize, session: SessionId, user: &str, device: &str) -> (LinkId, Up) {
    let now_s = world.now_ms / 1000;
    let (user, device) = (user.to_owned(), device.to_owned());
    let identity = Identity { app: APP, user, device, issued_s: now_s - 60, expires_s: now_s + 60 };
    let identity = Box::new(identity);
    (LinkId(link), Up::Adopt { session, identity, platform: 0 })
}

fn kicked(downs: &[Down], id: SessionId) -> Option<CloseCode> {
    downs.iter().find_map(|down| match down {
        Down::Kick { session, code, .. } if *session == id => Some(*code),
        _ => None,
    })
}

#[test]
fn an_adopted_session_goes_on_where_it_was() {
    let mut world = World::new();
    let alice = world.login("alice", "phone");
    let bob = world.login("bob", "phone");
    world.write(vec![world.text(alice, "bob", 1, 1)]);
    world.received(0);
    world.restart();

    // A message that nobody publishes: bob is not here yet.
    let batch = vec![adopt_up(&world, 0, alice, "alice", "phone")];
    world.front(batch);
    let downs = world.received(0);
    assert!(
        matches!(&downs[..], [Down::Join { .. }, Down::Adopted { session, topics }]
        if *session == alice && topics.len() == 1),
        "{downs:?}"
    );
    world.at_home(alice, 0);
    world.write(vec![world.text(alice, "bob", 2, 2)]);
    let downs = world.received(0);
    assert_eq!(answer::<Sent>(&downs[0]).unwrap().seq, 2, "the conversation goes on: {downs:?}");

    let batch = vec![adopt_up(&world, 1, bob, "bob", "phone")];
    world.front(batch);
    world.at_home(bob, 1);
    let downs = world.received(1);
    assert!(matches!(downs[1], Down::Adopted { .. }), "{downs:?}");
    let page: SyncPage = world.ask(bob, Kind::SYNC, &Sync { after: 1, limit: 10 }).unwrap();
    assert_eq!((page.entries.len(), page.complete), (1, true), "what came in the gap is in the log");
    world.write(vec![world.text(alice, "bob", 3, 3)]);
    assert!(matches!(world.received(1)[..], [Down::Publish { id: 3, .. }]));
    // The head was read at the adoption: an ack of everything is not cut.
    world.write(vec![world.ack(bob, 3), world.frame(bob, Kind::FLUSH, 9, "")]);
    let hello = world.hello("bob", "phone");
    assert_eq!(world.login_at(1, &hello).1.cursor, 3);
}

#[test]
fn an_adopted_session_gives_way_to_a_newer_one_of_its_device() {
    let mut world = World::new();
    let old = SessionId(77);
    let new = world.login("alice", "phone");
    let batch = vec![
        adopt_up(&world, 1, old, "alice", "phone"),
        adopt_up(&world, 1, SessionId(78), "alice", "tablet"),
    ];
    world.front(batch);
    let downs = world.received(1);
    assert_eq!(kicked(&downs, old), Some(CloseCode::KICKED), "{downs:?}");
    assert!(downs.iter().any(|down| matches!(down, Down::Adopted { session: SessionId(78), .. })));
    assert_eq!(world.received(0).len(), 0, "the newer one stays");
    world.write(vec![world.text(new, "alice", 1, 1)]);
    assert!(world.received(0).iter().any(|down| matches!(down, Down::Reply { .. })));
    // And the other way round: a login after the adoption.
    let hello = world.hello("alice", "tablet");
    world.login_at(0, &hello);
    assert_eq!(kicked(&world.received(1), SessionId(78)), Some(CloseCode::KICKED));
}

#[test]
fn a_withdrawn_usersig_or_a_made_up_user_ends_an_adopted_session() {
    let mut world = World::new();
    world.shared.kick_user(nearport_chat::key::AppId(APP), "alice", world.now_ms).unwrap();
    let batch = vec![
        adopt_up(&world, 0, SessionId(5), "alice", "phone"),
        adopt_up(&world, 0, SessionId(6), "nobody", "phone"),
        adopt_up(&world, 0, SessionId(7), "", "phone"),
        adopt_up(&world, 0, SessionId(8), "bob", "phone"),
    ];
    world.front(batch);
    let downs = world.received(0);
    assert_eq!(kicked(&downs, SessionId(5)), Some(CloseCode::UNAUTHORIZED));
    assert_eq!(kicked(&downs, SessionId(6)), Some(CloseCode::UNAUTHORIZED));
    assert_eq!(kicked(&downs, SessionId(7)), Some(CloseCode::GOING_AWAY));
    assert!(downs.iter().any(|down| matches!(down, Down::Adopted { session: SessionId(8), .. })));
}
