//! Coming back: logins that the edge vouches for, and welcomes that hold what was missed.

use nearport_chat::Config;
use nearport_chat::directory::{App, AppKey};
use nearport_chat::key::AppId;
use nearport_trunk::{Down, Identity, SessionId, Up};
use nearport_wire::Kind;
use nearport_wire::body::{self, Hello, Sync, SyncPage, Welcome};
use nearport_wire::close::CloseCode;
use prost::Message as _;

use crate::world::{APP, World, app, send, text_content};

/// As the edge does it: the hello has a token instead of a UserSig, and `identity` was in the token.
fn come_back(world: &mut World, hello: &Hello, identity: &Identity) -> (SessionId, Vec<Down>) {
    let hello = Hello { usersig: String::new(), ..hello.clone() };
    let (session, (link, mut up)) = world.open_up(0, &hello);
    if let Up::Open { vouched, .. } = &mut up {
        *vouched = Some(Box::new(identity.clone()));
    }
    world.front(vec![(link, up)]);
    (session, world.received(0))
}

fn refused(downs: &[Down]) -> Option<(CloseCode, u32)> {
    downs.iter().find_map(|down| match down {
        Down::Reject { code, reason, .. } => Some((*code, reason.split(' ').next()?.parse().ok()?)),
        _ => None,
    })
}

fn accepted(downs: &[Down]) -> Option<Identity> {
    downs.iter().find_map(|down| match down {
        Down::Accept { identity, .. } => identity.as_deref().cloned(),
        _ => None,
    })
}

/// A login by UserSig, and what the edge may seal for it.
fn first_login(world: &mut World) -> (Hello, Identity) {
    let hello = world.hello("alice", "phone");
    let (_, downs) = world.open(0, &hello);
    let identity = accepted(&downs).unwrap();
    (hello, identity)
}

#[test]
fn a_login_names_who_it_is_and_when_the_usersig_ends() {
    let mut world = World::new();
    let (_, identity) = first_login(&mut world);
    // The UserSig was signed a minute ago, and checked now: what counts for a token is a minute before the check.
    let now_s = world.now_ms / 1000;
    let want = Identity {
        app: APP,
        user: "alice".into(),
        device: "phone".into(),
        issued_s: now_s - 60,
        expires_s: now_s - 60 + 86_400,
    };
    assert_eq!(identity, want);
    // Renewed as often as one likes, the end stays that of the UserSig, and no UserSig is asked for.
    world.now_ms += 80_000_000;
    let hello = world.hello("alice", "phone");
    let (_, downs) = come_back(&mut world, &hello, &identity);
    assert_eq!(accepted(&downs), Some(want));
}

#[test]
fn a_vouched_login_is_checked_for_everything_but_its_usersig() {
    let mut world = World::new();
    world.directory.create_app(&App { id: AppId(2), disabled: true, ..app() }).unwrap();
    let (hello, identity) = first_login(&mut world);
    type Spoil = fn(&mut Hello, &mut Identity);
    let cases: [(Spoil, CloseCode, u32); 8] = [
        (|h, _| h.user = "bob".into(), CloseCode::UNAUTHORIZED, 70013),
        (|h, _| h.device = "desk".into(), CloseCode::UNAUTHORIZED, 70013),
        (|_, i| i.app = 2, CloseCode::UNAUTHORIZED, 70013),
        (|h, i| (h.app, i.app) = (2, 2), CloseCode::NO_APP, 60016),
        (|h, i| (h.app, i.app) = (9, 9), CloseCode::NO_APP, 70020),
        (|h, i| (h.user, i.user) = ("a".repeat(33), "a".repeat(33)), CloseCode::BAD_BODY, 70402),
        (|h, i| (h.device, i.device) = (String::new(), String::new()), CloseCode::BAD_BODY, 70402),
        (|h, _| h.client = "c".repeat(65), CloseCode::BAD_BODY, 70402),
    ];
    for (spoil, close, number) in cases {
        let (mut hello, mut identity) = (hello.clone(), identity.clone());
        spoil(&mut hello, &mut identity);
        let (_, downs) = come_back(&mut world, &hello, &identity);
        assert_eq!(refused(&downs), Some((close, number)), "{hello:?}");
    }
    // Refused UserSigs of the same user and address shut the door for a minute, as for any login.
    let bad = Hello { usersig: "AAAA".into(), ..hello.clone() };
    for _ in 0..Config::default().login_failures_max {
        world.refused(&bad);
    }
    let (_, downs) = come_back(&mut world, &hello, &identity);
    assert_eq!(refused(&downs), Some((CloseCode::BUSY, 70050)));
}

#[test]
fn a_kick_withdraws_tokens_of_older_usersigs() {
    let mut world = World::new();
    let (hello, identity) = first_login(&mut world);
    world.shared.kick_user(AppId(APP), "alice", world.now_ms).unwrap();
    world.received(0);
    let (_, downs) = come_back(&mut world, &hello, &identity);
    assert_eq!(refused(&downs), Some((CloseCode::UNAUTHORIZED, 70001)));
    let newer = Identity { issued_s: world.now_ms / 1000 + 1, ..identity };
    let (_, downs) = come_back(&mut world, &hello, &newer);
    assert_eq!(accepted(&downs), Some(newer));
}

/// A kick in the second of a login takes back what that login proved, though it comes after the UserSig was issued.
#[test]
fn a_kick_in_the_second_of_the_login_withdraws_its_token() {
    let mut world = World::new();
    let (hello, identity) = first_login(&mut world);
    world.now_ms += 1;
    world.shared.kick_user(AppId(APP), "alice", world.now_ms).unwrap();
    world.received(0);
    let (_, downs) = come_back(&mut world, &hello, &identity);
    assert_eq!(refused(&downs), Some((CloseCode::UNAUTHORIZED, 70001)));
    // The UserSig itself is older than the kick too.
    world.refused(&hello);
}

#[test]
fn a_withdrawn_key_takes_back_the_tokens_that_it_may_have_proved() {
    let mut world = World::new();
    let (hello, identity) = first_login(&mut world);
    let act = nearport_chat::audit::Entry::default();
    let (app, now_s) = (AppId(APP), world.now_ms / 1000);
    world.directory.add_app_key(app, &AppKey::hmac("next", "another secret", 1), &act).unwrap();
    world.directory.withdraw_app_key(app, "first", now_s + 1, &act).unwrap();
    world.shared.apps().poll(world.now_ms);
    let (_, downs) = come_back(&mut world, &hello, &identity);
    assert_eq!(refused(&downs), Some((CloseCode::UNAUTHORIZED, 70001)));
    // It is no failed try of its user: however often, the door stays open.
    for _ in 0..=Config::default().login_failures_max {
        come_back(&mut world, &hello, &identity);
    }
    // With a UserSig beside the token, that decides.
    let signed = |secret| nearport_chat::usersig::sign_v2(secret, APP, "alice", now_s - 60, 86_400, None);
    let both = |world: &mut World, secret| {
        let hello = Hello { usersig: signed(secret), ..hello.clone() };
        let (_, (link, mut up)) = world.open_up(0, &hello);
        if let Up::Open { vouched, .. } = &mut up {
            *vouched = Some(Box::new(identity.clone()));
        }
        world.front(vec![(link, up)]);
        world.received(0)
    };
    assert_eq!(refused(&both(&mut world, crate::world::SECRET)), Some((CloseCode::UNAUTHORIZED, 70009)));
    world.now_ms += 62_000;
    let proved = accepted(&both(&mut world, "another secret")).unwrap();
    let (_, downs) = come_back(&mut world, &hello, &proved);
    assert_eq!(accepted(&downs), Some(proved), "what the new key proved is good");
}

/// A world in which bob has written `count` messages to alice, and what her welcome says behind `cursor`.
fn missed(count: u8, cursor: Option<u64>) -> (World, SessionId, Welcome) {
    let mut world = World::new();
    let bob = world.login("bob", "phone");
    let batch = (1..=count).map(|n| world.text(bob, "alice", n, n.into())).collect();
    world.write(batch);
    world.received(0);
    let hello = Hello { cursor, ..world.hello("alice", "phone") };
    let (session, welcome) = world.login_at(0, &hello);
    (world, session, welcome)
}

fn positions(page: &SyncPage) -> Vec<u64> {
    page.entries.iter().map(|entry| entry.position).collect()
}

#[test]
fn a_welcome_holds_what_lies_behind_the_cursor() {
    for (cursor, want) in [(Some(2), vec![3, 4, 5]), (None, vec![1, 2, 3, 4, 5]), (Some(4), vec![5])] {
        let (mut world, session, welcome) = missed(5, cursor);
        let page = welcome.missed.unwrap();
        assert_eq!((positions(&page), page.head, page.complete), (want, 5, true), "{cursor:?}");
        assert_eq!((welcome.head, welcome.cursor), (5, cursor.unwrap_or(0)));
        // To the byte what SYNC would have said.
        let asked = Sync { after: cursor.unwrap_or(0), limit: 100 };
        assert_eq!(world.ask::<SyncPage>(session, Kind::SYNC, &asked).unwrap(), page);
    }
    for cursor in [5, 9] {
        let (_, _, welcome) = missed(5, Some(cursor));
        assert_eq!((welcome.missed, welcome.cursor, welcome.head), (None, 5, 5), "nothing is missing");
    }
    assert_eq!(missed(0, None).2.missed, None);
}

#[test]
fn a_remembered_cursor_is_where_the_missed_entries_begin() {
    let (mut world, session, _) = missed(5, Some(0));
    let batch = vec![world.ack(session, 3), world.frame(session, Kind::FLUSH, 9, "")];
    world.write(batch);
    world.received(0);
    let hello = world.hello("alice", "phone");
    let (_, welcome) = world.login_at(0, &hello);
    assert_eq!(welcome.cursor, 3);
    assert_eq!(positions(&welcome.missed.unwrap()), [4, 5]);
}

#[test]
fn what_a_welcome_holds_is_bounded_in_entries_and_in_bytes() {
    let (_, _, welcome) = missed(120, Some(0));
    let page = welcome.missed.unwrap();
    assert_eq!((page.entries.len(), page.complete, page.head, welcome.head), (100, false, 120, 120));

    let mut world = World::new();
    let bob = world.login("bob", "phone");
    world.login("alice", "desk");
    let long = |n: u8| {
        let content = text_content(&"x".repeat(11_000));
        body::Send { content: Some(content), ..send("alice", n) }.encode_to_vec()
    };
    let batch = (1..=8).map(|n| world.frame(bob, Kind::SEND, n.into(), long(n))).collect();
    world.write(batch);
    world.received(0);
    let hello = Hello { cursor: Some(0), ..world.hello("alice", "phone") };
    let (_, welcome) = world.login_at(0, &hello);
    let page = welcome.missed.unwrap();
    assert_eq!((positions(&page), page.complete), (vec![1, 2, 3], false), "32 KiB and no more");
}
