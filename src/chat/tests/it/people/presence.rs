//! Presence.

use nearport_chat::people::Config as People;
use nearport_chat::{Config, MultiDevice};
use nearport_trunk::{Down, Identity, SessionId, Up};
use nearport_wire::body::people_answer::Answer;
use nearport_wire::body::people_call::Call;
use nearport_wire::body::people_event::Event;
use nearport_wire::body::{self, Platform, Presence};
use nearport_wire::close::CloseCode;

use super::{ask, desk, events, names, world};
use crate::world::World;

fn login(world: &mut World, name: &str, platform: Platform) -> SessionId {
    let hello = body::Hello { platform: platform as i32, ..world.hello(name, platform.as_str_name()) };
    world.login_at(0, &hello).0
}

fn close(world: &mut World, session: SessionId) {
    world.front(vec![(nearport_trunk::local::LinkId(0), Up::Close { session, lost_ms: None })]);
    look(world);
}

/// A turn of the desk without a request: presence is looked at.
fn look(world: &mut World) -> Vec<(String, body::UserStatus)> {
    desk(world, &mut Vec::new());
    let downs = world.received(0);
    let status = |(name, event)| match event {
        Event::Status(status) => Some((name, status)),
        _ => None,
    };
    events(&downs).into_iter().filter_map(status).collect()
}

fn status(world: &mut World, asker: SessionId, name: &str) -> body::UserStatus {
    let call = Call::StatusGet(body::StatusGet { users: names(&[name]) });
    match ask(world, asker, call) {
        Ok(Answer::Statuses(statuses)) => statuses.statuses[0].clone(),
        other => panic!("{other:?}"),
    }
}

fn presence(world: &mut World, asker: SessionId, name: &str) -> Presence {
    status(world, asker, name).presence()
}

#[test]
fn a_phone_that_goes_can_be_pushed_to_and_no_other() {
    let rows = [
        (Platform::Android, Presence::PushOnline),
        (Platform::Iphone, Presence::PushOnline),
        (Platform::Ipad, Presence::PushOnline),
        (Platform::Windows, Presence::Offline),
        (Platform::Mac, Presence::Offline),
        (Platform::Linux, Presence::Offline),
        (Platform::Web, Presence::Offline),
        (Platform::Other, Presence::Offline),
    ];
    for (platform, after) in rows {
        let mut world = world(Config::default());
        let bob = world.login("bob", "b");
        assert_eq!(presence(&mut world, bob, "alice"), Presence::Offline);
        let alice = login(&mut world, "alice", platform);
        let online = status(&mut world, bob, "alice");
        assert_eq!((online.presence(), online.platforms.len()), (Presence::Online, 1), "{platform:?}");
        close(&mut world, alice);
        assert_eq!(presence(&mut world, bob, "alice"), after, "{platform:?}");

        // The same after a crash: nobody is online, and who was a phone can still be pushed to, for seven days.
        login(&mut world, "alice", platform);
        look(&mut world);
        world.restart();
        let bob = world.login("bob", "b");
        assert_eq!(presence(&mut world, bob, "alice"), after, "{platform:?} after a crash");
        world.now_ms += 7 * 86_400_000 - 1;
        assert_eq!(presence(&mut world, bob, "alice"), after);
        world.now_ms += 1;
        assert_eq!(presence(&mut world, bob, "alice"), Presence::Offline, "{platform:?}");
    }
}

#[test]
fn a_log_out_and_a_kick_leave_nothing_to_push_to() {
    let mut world = world(Config::default());
    let bob = world.login("bob", "b");
    let alice = login(&mut world, "alice", Platform::Android);
    look(&mut world);
    ask(&mut world, alice, Call::LogOut(body::LogOut {})).unwrap();
    assert_eq!(presence(&mut world, bob, "alice"), Presence::Online, "as long as the session lives");
    close(&mut world, alice);
    assert_eq!(presence(&mut world, bob, "alice"), Presence::Offline);

    login(&mut world, "alice", Platform::Android);
    look(&mut world);
    world.shared.kick_user(nearport_chat::key::AppId(crate::world::APP), "alice", world.now_ms).unwrap();
    look(&mut world);
    assert_eq!(presence(&mut world, bob, "alice"), Presence::Offline);
}

/// The session ends without a word after so long a silence.
fn lose(world: &mut World, session: SessionId, lost_ms: u32) {
    let lost_ms = Some(lost_ms);
    world.front(vec![(nearport_trunk::local::LinkId(0), Up::Close { session, lost_ms })]);
    look(world);
}

#[test]
fn a_network_that_goes_without_a_word_leaves_its_user_online_for_a_while() {
    let rows = [
        (Platform::Android, 400, Presence::PushOnline),
        (Platform::Ipad, 400, Presence::PushOnline),
        (Platform::Windows, 400, Presence::Offline),
        (Platform::Other, 400, Presence::Offline),
        (Platform::Web, 60, Presence::Offline),
    ];
    for (platform, seconds, after) in rows {
        let mut world = world(Config::default());
        let bob = world.login("bob", "b");
        let watch =
            Call::StatusSubscribe(body::StatusSubscribe { users: names(&["alice"]), ..Default::default() });
        let alice = login(&mut world, "alice", platform);
        ask(&mut world, bob, watch).unwrap();
        look(&mut world);
        // Heard last 50 s ago: that long it has been gone already.
        lose(&mut world, alice, 50_000);
        world.now_ms += (seconds - 50) * 1000 - 1;
        assert_eq!(look(&mut world), [], "{platform:?}");
        assert_eq!(presence(&mut world, bob, "alice"), Presence::Online, "{platform:?}");
        world.now_ms += 1;
        let told: Vec<_> = look(&mut world).iter().map(|(_, status)| status.presence()).collect();
        assert_eq!(told, [after], "{platform:?}");
        assert_eq!(presence(&mut world, bob, "alice"), after, "{platform:?}");
    }
}

#[test]
fn a_silence_that_is_over_already_counts_at_once() {
    let config = Config { presence_native_s: 0, ..Config::default() };
    for (config, platform, lost_ms) in
        [(Config::default(), Platform::Web, 60_000), (config, Platform::Windows, 0)]
    {
        let mut world = world(config);
        let bob = world.login("bob", "b");
        let alice = login(&mut world, "alice", platform);
        lose(&mut world, alice, lost_ms);
        assert_eq!(presence(&mut world, bob, "alice"), Presence::Offline, "{platform:?}");
    }
}

/// Set while the session is there.
#[test]
fn an_app_has_times_of_its_own() {
    let set = |world: &World, name: &str, value: &str| {
        let act = nearport_chat::audit::Entry::default();
        let app = nearport_chat::key::AppId(crate::world::APP);
        world.directory.set_app_settings(app, &[(name, Some(value))], &act).unwrap();
        world.shared.apps().poll(world.now_ms);
    };
    let mut world = world(Config::default());
    let bob = world.login("bob", "b");
    for (platform, name) in [(Platform::Windows, "presence_native"), (Platform::Web, "presence_web")] {
        let alice = login(&mut world, "alice", platform);
        set(&world, name, "0s");
        lose(&mut world, alice, 0);
        assert_eq!(presence(&mut world, bob, "alice"), Presence::Offline, "{name}");
        set(&world, name, "100s");
        let alice = login(&mut world, "alice", platform);
        lose(&mut world, alice, 0);
        assert_eq!(presence(&mut world, bob, "alice"), Presence::Online, "{name}");
        world.now_ms += 100_000;
        look(&mut world);
        assert_eq!(presence(&mut world, bob, "alice"), Presence::Offline, "{name}");
    }
    let alice = login(&mut world, "alice", Platform::Android);
    look(&mut world);
    close(&mut world, alice);
    look(&mut world);
    assert_eq!(presence(&mut world, bob, "alice"), Presence::PushOnline);
    set(&world, "people.push_online", "0s");
    assert_eq!(presence(&mut world, bob, "alice"), Presence::Offline);
}

#[test]
fn who_comes_back_was_never_gone_and_then_leaves_at_once() {
    let mut world = world(Config::default());
    let bob = world.login("bob", "b");
    let alice = login(&mut world, "alice", Platform::Windows);
    let text = Call::StatusSet(body::StatusSet { text: "here".into() });
    ask(&mut world, alice, text).unwrap();
    lose(&mut world, alice, 75_000);
    assert_eq!(status(&mut world, bob, "alice").text, "here");
    world.now_ms += 300_000;
    let alice = login(&mut world, "alice", Platform::Windows);
    world.now_ms += 300_000;
    look(&mut world);
    assert_eq!(presence(&mut world, bob, "alice"), Presence::Online);
    close(&mut world, alice);
    assert_eq!(presence(&mut world, bob, "alice"), Presence::Offline);
}

#[test]
fn nobody_lingers_who_has_logged_out_or_was_kicked() {
    let mut world = world(Config::default());
    let bob = world.login("bob", "b");
    let alice = login(&mut world, "alice", Platform::Android);
    ask(&mut world, alice, Call::LogOut(body::LogOut {})).unwrap();
    lose(&mut world, alice, 0);
    assert_eq!(presence(&mut world, bob, "alice"), Presence::Offline);

    let alice = login(&mut world, "alice", Platform::Android);
    lose(&mut world, alice, 0);
    assert_eq!(presence(&mut world, bob, "alice"), Presence::Online);
    world.shared.kick_user(nearport_chat::key::AppId(crate::world::APP), "alice", world.now_ms).unwrap();
    look(&mut world);
    assert_eq!(presence(&mut world, bob, "alice"), Presence::Offline);
}

#[test]
fn an_adopted_session_keeps_its_platform() {
    let mut world = world(Config::default());
    let alice = login(&mut world, "alice", Platform::Iphone);
    world.restart();
    let bob = world.login("bob", "b");
    let now_s = world.now_ms / 1000;
    let (app, user, device) = (crate::world::APP, "alice".into(), "phone".into());
    let identity = Box::new(Identity { app, user, device, issued_s: now_s, expires_s: now_s + 60 });
    let adopt = Up::Adopt { session: alice, identity, platform: 2 };
    world.front(vec![(nearport_trunk::local::LinkId(0), adopt)]);
    world.received(0);
    look(&mut world);
    let platforms = status(&mut world, bob, "alice").platforms;
    assert_eq!(platforms[0].platform(), Platform::Iphone);
    close(&mut world, alice);
    assert_eq!(presence(&mut world, bob, "alice"), Presence::PushOnline);
}

#[test]
fn a_single_platform_ends_the_other_one_with_kicked() {
    let config = Config { multi_device: MultiDevice::Single, ..Config::default() };
    let mut world = world(config);
    let bob = world.login("bob", "b");
    let phone = login(&mut world, "alice", Platform::Android);
    let hello = body::Hello { platform: Platform::Web as i32, ..world.hello("alice", "tab") };
    let (_, downs) = world.open(0, &hello);
    let kicked = |down: &Down| matches!(down, Down::Kick { session, code: CloseCode::KICKED, .. } if *session == phone);
    assert!(downs.iter().any(kicked), "{downs:?}");
    look(&mut world);
    let status = status(&mut world, bob, "alice");
    let platforms: Vec<_> = status.platforms.iter().map(body::PlatformStatus::platform).collect();
    assert_eq!(platforms, [Platform::Web], "the phone that was sent away is not to be pushed to");
}

#[test]
fn who_watches_is_told_of_changes_only() {
    let mut world = world(Config::default());
    let bob = login(&mut world, "bob", Platform::Windows);
    let watch = |users: &[&str], stop: &[&str], stop_all| {
        Call::StatusSubscribe(body::StatusSubscribe { users: names(users), stop: names(stop), stop_all })
    };
    let Ok(Answer::Statuses(now)) = ask(&mut world, bob, watch(&["alice", "nobody"], &[], false)) else {
        panic!()
    };
    let seen: Vec<_> = now.statuses.iter().map(|it| (it.presence(), it.code)).collect();
    assert_eq!(seen, [(Presence::Offline, 0), (Presence::Offline, 70107)]);
    let phone = login(&mut world, "alice", Platform::Iphone);
    let tab = login(&mut world, "alice", Platform::Web);
    let told = look(&mut world);
    assert_eq!(told.len(), 1, "two logins, one look: {told:?}");
    assert_eq!((told[0].0.as_str(), told[0].1.platforms.len()), ("bob", 2));
    assert_eq!(look(&mut world), [], "nothing has changed");
    close(&mut world, tab);
    let text = Call::StatusSet(body::StatusSet { text: "at lunch".to_owned() });
    let (_, said) = super::ask_all(&mut world, phone, text);
    assert!(
        matches!(&said[..], [(name, Event::Status(status))] if name == "bob" && status.text == "at lunch")
    );
    let long = Call::StatusSet(body::StatusSet { text: "x".repeat(101) });
    assert_eq!(ask(&mut world, phone, long).unwrap_err(), 40001);
    world.front(vec![(nearport_trunk::local::LinkId(0), Up::Close { session: phone, lost_ms: None })]);
    let told = look(&mut world);
    assert_eq!(told[0].1.presence(), Presence::PushOnline);
    assert_eq!(told[0].1.text, "", "gone with the last session");

    ask(&mut world, bob, watch(&[], &["alice"], false)).unwrap();
    login(&mut world, "alice", Platform::Iphone);
    assert_eq!(look(&mut world), [], "not watched any more");
    ask(&mut world, bob, watch(&["alice"], &[], false)).unwrap();
    close(&mut world, bob);
    let bob = login(&mut world, "bob", Platform::Windows);
    look(&mut world);
    login(&mut world, "alice", Platform::Web);
    assert_eq!(look(&mut world), [], "watching ends with the last session");
    assert_eq!(ask(&mut world, bob, watch(&[], &[], false)).unwrap_err(), 40001);
}

/// Sessions come and go between two looks of the desk, while it carries out what others ask.
#[test]
fn what_happens_between_two_looks_is_told_and_leaves_nothing() {
    let mut world = world(Config::default());
    let (_, carol) =
        (login(&mut world, "bob", Platform::Windows), login(&mut world, "carol", Platform::Windows));
    look(&mut world);
    let watch = |world: &World, who: &str| {
        world.shared.watch(&crate::world::user(who), &names(&["alice"]), &[], false, world.now_ms).unwrap()
    };
    watch(&world, "bob");
    let alice = login(&mut world, "alice", Platform::Web);
    assert_eq!(watch(&world, "carol")[0].presence(), Presence::Online);
    let told: Vec<_> = look(&mut world).into_iter().map(|(name, _)| name).collect();
    assert!(told.contains(&"bob".to_owned()), "{told:?}");

    close(&mut world, alice);
    let key = crate::world::user("alice");
    let mut effects = nearport_chat::people::Effects::default();
    world.shared.set_status_text(&key, "late", world.now_ms, &mut effects).unwrap();
    login(&mut world, "alice", Platform::Web);
    assert_eq!(status(&mut world, carol, "alice").text, "", "said in a session that had ended");
}

#[test]
fn watching_is_bounded_on_both_sides() {
    let people = People { watched_max: 2, watchers_max: 1, ..People::default() };
    let mut world = world(Config { people, ..Config::default() });
    let (alice, bob) = (world.login("alice", "a"), world.login("bob", "b"));
    let watch = |users: &[&str]| {
        Call::StatusSubscribe(body::StatusSubscribe {
            users: names(users),
            ..body::StatusSubscribe::default()
        })
    };
    assert_eq!(ask(&mut world, alice, watch(&["alice", "bob", "carol"])).unwrap_err(), 40001);
    assert!(ask(&mut world, alice, watch(&["carol", "bob"])).is_ok());
    assert!(
        ask(&mut world, alice, watch(&["bob", "carol"])).is_ok(),
        "who is watched already takes no more room"
    );
    assert_eq!(ask(&mut world, alice, watch(&["alice"])).unwrap_err(), 40001);
    assert_eq!(ask(&mut world, bob, watch(&["carol"])).unwrap_err(), 60018);
    let turned = Call::StatusSet(body::StatusSet { text: "gnp.\u{202e}exe".to_owned() });
    assert_eq!(ask(&mut world, alice, turned).unwrap_err(), 40001);
    let many: Vec<_> = (0..501).map(|n| n.to_string()).collect();
    assert_eq!(ask(&mut world, bob, Call::StatusGet(body::StatusGet { users: many })).unwrap_err(), 40001);
}
